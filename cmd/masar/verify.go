package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/runtime"
	"masar.local/services/indicators"
)

// verifyCmd follows every figure back to its source in three steps: the journals
// of the services against the stored facts (nothing lost, nothing invented), the
// facts against the figures served (recounted by the naive path), and the main
// figures against a count of the journals' events that uses neither.
type verifyCmd struct {
	target
	Wait time.Duration `default:"60s" help:"How long figures may take to catch up with the events before a difference counts."`
}

func (c verifyCmd) Run(ctx context.Context) error {
	// A recount of a large programme takes minutes: no time limit but ours.
	client, err := c.client(access.Admin, api.WithHTTP(&http.Client{}))
	if err != nil {
		return err
	}
	a := &audit{client: client, ends: map[string]string{}, unfolded: map[string]string{}, unknown: map[string]bool{}, tally: newTally()}
	if err := a.begin(ctx); err != nil {
		return err
	}
	// Events are under way for a moment after a command: a difference that goes
	// away is not one.
	deadline := time.Now().Add(c.Wait)
	for {
		differences, err := a.compare(ctx)
		if err != nil {
			return err
		}
		if len(differences) == 0 {
			fmt.Printf("clean: %d events in the journals, %d facts, %d figures recounted\n", a.events, a.facts, a.cells)
			return nil
		}
		if !time.Now().Before(deadline) {
			for _, d := range differences[:min(50, len(differences))] {
				fmt.Println(d)
			}
			fmt.Printf("%d differences: %d events in the journals, %d facts, %d figures recounted\n", len(differences), a.events, a.facts, a.cells)
			return errFailed
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		if err := a.goOn(ctx); err != nil {
			return err
		}
	}
}

// audit is one verification. Reading a large programme takes minutes in which
// events keep coming, so it goes on from where it stopped.
type audit struct {
	client   *api.Client
	ends     map[string]string // of each service, the last event of its journal that was read
	unfolded map[string]string // events that have no fact yet, and their topics
	unknown  map[string]bool   // facts of the first reading whose event was not met yet
	tally    *tally

	events, facts, cells int
}

// begin reads every fact and every journal.
func (a *audit) begin(ctx context.Context) error {
	err := lines(ctx, a.client, "/api/indicators/facts", func(f indicators.Fact) error {
		a.facts++
		a.unknown[f.ID] = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("facts: %w", err)
	}
	return a.journals(ctx)
}

// goOn reads what has come since, in the journals and then as facts.
func (a *audit) goOn(ctx context.Context) error {
	if err := a.journals(ctx); err != nil || len(a.unfolded) == 0 {
		return err
	}
	// Facts come by the ids of their events: from just before the first that is missing.
	first := slices.Min(slices.Collect(maps.Keys(a.unfolded)))
	err := lines(ctx, a.client, "/api/indicators/facts?after="+url.QueryEscape(first[:len(first)-1]), func(f indicators.Fact) error {
		if _, missed := a.unfolded[f.ID]; missed {
			a.facts++
			delete(a.unfolded, f.ID)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("facts: %w", err)
	}
	return nil
}

// journals reads what the journals hold after what was read of them.
func (a *audit) journals(ctx context.Context) error {
	for _, service := range publishers() {
		err := journal(ctx, a.client, service, a.ends[service], func(line runtime.JournalLine) error {
			a.events++
			a.ends[service] = line.ID
			a.tally.add(line)
			if a.unknown[line.ID] {
				delete(a.unknown, line.ID)
			} else {
				a.unfolded[line.ID] = line.Topic
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("journal of %s: %w", service, err)
		}
	}
	return nil
}

// compare lists what does not agree at this moment.
func (a *audit) compare(ctx context.Context) (differences []string, err error) {
	differ := func(format string, args ...any) { differences = append(differences, fmt.Sprintf(format, args...)) }
	for id, topic := range a.unfolded {
		differ("event %s of %s has no fact", id, topic)
	}
	for id := range a.unknown {
		differ("fact %s has no event in any journal", id)
	}
	for code, counted := range a.tally.figures() {
		served, err := total(ctx, a.client, code)
		if err != nil {
			return nil, fmt.Errorf("figure %s: %w", code, err)
		}
		if served != counted {
			differ("%s: served %v, counted in the journals %v", code, served, counted)
		}
	}
	slices.Sort(differences)
	if len(differences) > 0 {
		return differences, nil // the recount, which takes longest, comes once these agree
	}
	var recount indicators.Verification
	if err := a.client.Get(ctx, "/api/indicators/verify", &recount); err != nil {
		return nil, fmt.Errorf("recount of the facts: %w", err)
	}
	a.cells = recount.Cells + len(a.tally.figures())
	for _, d := range recount.Differences {
		differ("%s", d)
	}
	return differences, nil
}

// total is the served figure without a cut, since the start.
func total(ctx context.Context, client *api.Client, code string) (float64, error) {
	var series indicators.Series
	if err := client.Get(ctx, "/api/indicators/values?grain=all&code="+url.QueryEscape(code), &series); err != nil {
		return 0, err
	}
	if len(series.Rows) == 0 {
		return 0, nil
	}
	if series.Rows[0].Value == nil {
		return 0, errors.New("it is hidden from this role")
	}
	return *series.Rows[0].Value, nil
}

// tally counts a few figures from the journals with nothing but maps.
type tally struct {
	// People by the event that says so, and exits; what is put right goes, and what
	// stands in its place comes.
	followed, placed map[string]string
	exited           map[string]bool
	gone             map[string]bool // events that were put right
	offers           map[string]offerState
}

type offerState struct {
	seq    int64
	closed bool  // whatever is updated or filled late
	said   int64 // the last event that opened or closed it
	left   float64
}

func newTally() *tally {
	return &tally{
		followed: map[string]string{}, placed: map[string]string{}, exited: map[string]bool{}, gone: map[string]bool{},
		offers: map[string]offerState{},
	}
}

func (t *tally) add(line runtime.JournalLine) {
	var data struct {
		CandidateID string `json:"candidateId"`
		Placement   bool   `json:"placement"`
		EventID     string `json:"eventId"` // that is put right
		Opened      *struct {
			CandidateID string `json:"candidateId"`
		} `json:"opened"`
		Entered *struct {
			CandidateID string `json:"candidateId"`
			Placement   bool   `json:"placement"`
		} `json:"entered"`
		Exited *struct{} `json:"exited"`
		Terms  struct {
			Posts  float64 `json:"posts"`
			Filled float64 `json:"postsFilled"`
		} `json:"terms"`
	}
	if json.Unmarshal(line.Value, &data) != nil {
		return
	}
	kind := ""
	for _, h := range line.Headers {
		if h.Key == "ce_type" {
			kind = h.Value
		}
	}
	switch kind {
	case "masar.candidates.v1.PathwayOpened":
		t.followed[line.ID] = data.CandidateID
	case "masar.candidates.v1.StageEntered":
		if data.Placement {
			t.placed[line.ID] = data.CandidateID
		}
	case "masar.candidates.v1.PathwayExited":
		t.exited[line.ID] = true
	case "masar.candidates.v1.EntryCorrected", "masar.candidates.v1.EntryRetracted":
		t.gone[data.EventID] = true
		switch {
		case data.Opened != nil:
			t.followed[line.ID] = data.Opened.CandidateID
		case data.Entered != nil && data.Entered.Placement:
			t.placed[line.ID] = data.Entered.CandidateID
		case data.Exited != nil:
			t.exited[line.ID] = true
		}
	case "masar.employers.v1.OfferOpened", "masar.employers.v1.OfferUpdated", "masar.employers.v1.PostFilled",
		"masar.employers.v1.PostReleased", "masar.employers.v1.OfferClosed":
		o := t.offers[line.Key]
		switch kind {
		case "masar.employers.v1.OfferOpened", "masar.employers.v1.PostReleased", "masar.employers.v1.OfferClosed":
			if line.Seq > o.said {
				o.said, o.closed = line.Seq, kind == "masar.employers.v1.OfferClosed"
			}
		}
		if line.Seq > o.seq {
			o.seq, o.left = line.Seq, max(data.Terms.Posts-data.Terms.Filled, 0)
		}
		t.offers[line.Key] = o
	}
}

func (t *tally) figures() map[string]float64 {
	open, posts := 0.0, 0.0
	for _, o := range t.offers {
		if !o.closed {
			open++
			posts += o.left
		}
	}
	people := func(events map[string]string) float64 {
		different := map[string]bool{}
		for id, person := range events {
			if !t.gone[id] {
				different[person] = true
			}
		}
		return float64(len(different))
	}
	exited := 0.0
	for id := range t.exited {
		if !t.gone[id] {
			exited++
		}
	}
	return map[string]float64{
		"people_followed": people(t.followed), "people_placed": people(t.placed),
		"pathways_exited": exited, "offers_open": open, "posts_open": posts,
	}
}

// publishers names the services that emit events: all but indicators.
func publishers() []string {
	return slices.DeleteFunc(serviceNames(), func(name string) bool { return name == "indicators" })
}

// journal reads a service's journal after the event with an id ("": from its
// beginning), a page at a time, until each fails.
func journal(ctx context.Context, client *api.Client, service, after string, each func(runtime.JournalLine) error) error {
	const page = 10_000
	for {
		n := 0
		err := lines(ctx, client, fmt.Sprintf("/api/%s/journal?limit=%d&after=%s", service, page, after), func(l runtime.JournalLine) error {
			n, after = n+1, l.ID
			return each(l)
		})
		if err != nil || n < page {
			return err
		}
	}
}

// lines reads an NDJSON answer, until each fails.
func lines[T any](ctx context.Context, client *api.Client, path string, each func(T) error) error {
	body, err := client.Stream(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	decoder := json.NewDecoder(bufio.NewReaderSize(body, 64<<10))
	for {
		var v T
		if err := decoder.Decode(&v); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := each(v); err != nil {
			return err
		}
	}
}
