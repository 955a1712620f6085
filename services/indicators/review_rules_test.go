package indicators

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
)

// reviewer is the service without its transports, on a store.
func reviewer(t testing.TB, e docstore.Engine, now func() time.Time) *service {
	t.Helper()
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	dims := Dimensions()
	columns := NewColumns(dims, defs)
	log := slog.New(slog.DiscardHandler)
	s := &service{
		defs: defs, dims: dims, schemes: reference.Schemes(), columns: columns, smallCell: DefaultSmallCell, now: now, log: log,
		facts: newFactStore(e, columns, now, log), reviews: newReviewStore(e), keys: docstore.NewCollection[storedKey](e, keysSchema),
		lag: func(context.Context) ([]bus.PartitionLag, error) { return nil, nil },
	}
	if err := errors.Join(s.facts.docs.Ensure(t.Context()), s.reviews.ensure(t.Context()), s.keys.Ensure(t.Context())); err != nil {
		t.Fatal(err)
	}
	s.facts.ready.Store(true)
	return s
}

// few leaves one indicator of each measure, where many reviews are made.
func few(s *service) *service {
	var kept Definitions
	for _, code := range []string{"people_followed", "people_by_stage", "stage_days", "offers_open", "posts_offered", "placed_per_followed", "pathways_exited"} {
		if d, ok := s.defs.Get(code); ok {
			kept = append(kept, d)
		}
	}
	s.defs = kept
	return s
}

// fold brings the events into memory; reviews need no stored facts.
func fold(t testing.TB, s *service, events ...event.Event) {
	t.Helper()
	for _, e := range events {
		f, err := NewFact(e, s.schemes)
		if err != nil {
			t.Fatal(err)
		}
		s.columns.Add(f)
	}
}

func inApril(t testing.TB) func() time.Time {
	now := at(t, "2026-04-15 12:00").UTC()
	return func() time.Time { return now }
}

// bg is a context of the principal.
func bg(t testing.TB, p access.Principal) context.Context { return access.With(t.Context(), p) }

// documents is everything that is stored in a collection, byte for byte.
func documents(t testing.TB, e docstore.Engine, collection string) map[string]string {
	t.Helper()
	all := map[string]string{}
	records, err := e.Scan(t.Context(), collection, "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		all[r.ID] = string(r.Body)
	}
	return all
}

// TestPeriodsOfReviews reads periods by name and by first day.
func TestPeriodsOfReviews(t *testing.T) {
	for _, test := range []struct {
		text, grain, want string
	}{
		{"2026-03", "", "month 2026-03 2026-03-01 2026-03-31"},
		{"2026-02", "month", "month 2026-02 2026-02-01 2026-02-28"},
		{"2026-Q3", "", "quarter 2026-Q3 2026-07-01 2026-09-30"},
		{"2026-04-01", "quarter", "quarter 2026-Q2 2026-04-01 2026-06-30"},
		{"2026-S2", "half_year", "half_year 2026-S2 2026-07-01 2026-12-31"},
		{"2026-01-01", "half_year", "half_year 2026-S1 2026-01-01 2026-06-30"},
		{"2024", "year", "year 2024 2024-01-01 2024-12-31"},
		{"2024-02-01", "month", "month 2024-02 2024-02-01 2024-02-29"},
		{"2026-02-01", "quarter", "error"},
		{"2026-03-02", "month", "error"},
		{"2026-03-01", "", "error"},
		{"2026-Q3", "month", "error"},
		{"2026-Q5", "", "error"},
		{"2026-13", "", "error"},
		{"1999", "", "error"},
		{"2026-03", "day", "error"},
		{"", "", "error"},
	} {
		p, err := ParseReviewPeriod(test.text, Grain(test.grain))
		got := fmt.Sprintf("%s %s %s %s", p.Grain, p.Label, p.First, p.Last)
		var field api.Field
		if err != nil {
			got = "error"
			if !errors.As(err, &field) {
				t.Errorf("%s: %v is not a field", test.text, err)
			}
		}
		if got != test.want {
			t.Errorf("%q %q: %s, want %s", test.text, test.grain, got, test.want)
		}
	}
}

// FuzzPeriodOfReview: whatever is typed, there is a period or an error, and a
// period is read back from its own label.
func FuzzPeriodOfReview(f *testing.F) {
	for _, s := range []string{"2026-Q1", "2026-01-01", "2026", "2026-S3", "20"} {
		f.Add(s, "quarter")
	}
	f.Fuzz(func(t *testing.T, text, grain string) {
		p, err := ParseReviewPeriod(text, Grain(grain))
		if err != nil {
			return
		}
		again, err := ParseReviewPeriod(p.Label, "")
		if err != nil || again != p || p.Last.Before(p.First.Time) {
			t.Fatalf("%q %q: %+v, then %+v, %v", text, grain, p, again, err)
		}
	})
}

// TestWhatCannotBeFrozen goes through wrong requests.
func TestWhatCannotBeFrozen(t *testing.T) {
	s := reviewer(t, openStore(t), inApril(t))
	manager := bg(t, as(access.Manager))
	for _, q := range []FreezeRequest{
		{Period: "2026-Q2"},
		{Period: "2026-04"},
		{Period: "2026"},                 // not over
		{Period: "2026-05", Early: true}, // has not begun
		{Period: "yesterday"},
		{Period: ""},
		{Period: "2026-Q1", Title: strings.Repeat("é", maxTitle+1)},
		{Period: "2026-Q1", Note: strings.Repeat("é", maxNote+1)},
		{Period: "2026-Q1", Title: "two\nlines"},
		{Period: "2026-Q1", Note: "bell\a"},
		{Period: "2026-Q1", Grain: "month"},
	} {
		if _, err := s.Freeze(manager, q); !errors.Is(err, &api.Error{Kind: api.KindInvalid}) {
			t.Errorf("%.60v: %v", q, err)
		}
	}
	for _, p := range []access.Principal{{Subject: "x", Role: access.Manager, Governorates: []string{"TN-71"}}, {Subject: "x", Role: access.Manager, Schemes: []string{"agri"}}} {
		if _, err := s.Freeze(bg(t, p), FreezeRequest{Period: "2026-Q1"}); !errors.Is(err, &api.Error{Kind: api.KindForbidden}) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if r, err := s.Freeze(manager, FreezeRequest{Period: "2026-Q2", Early: true}); err != nil || !r.Early {
		t.Errorf("early: %+v, %v", r, err)
	}
	// The first quarter ended in Tunis an hour before it did in UTC.
	late := reviewer(t, openStore(t), func() time.Time { return time.Date(2026, 3, 31, 23, 30, 0, 0, time.UTC) })
	if r, err := late.Freeze(manager, FreezeRequest{Period: "2026-Q1"}); err != nil || r.Early {
		t.Errorf("an hour after the end: %+v, %v", r, err)
	}
	for _, id := range []string{"2026-Q1-v9", "2026-Q9", "nothing", "2026-Q1-v0", strings.Repeat("x", 600), "20"} {
		if _, err := s.Review(manager, ReviewQuery{ID: id}); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
			t.Errorf("review %.20q: %v", id, err)
		}
	}
}

// TestReviewNeverChanges draws a history, freezes its first quarter in the middle
// of it, and lets the rest come in any order: neither the stored bytes nor what is
// read back changes, whatever is frozen after it.
func TestReviewNeverChanges(t *testing.T) {
	e := openStore(t)
	rapid.Check(t, func(rt *rapid.T) {
		s := few(reviewer(t, e, inApril(t)))
		events := slices.Clone(year(t).events)
		order := rapid.Permutation(events).Draw(rt, "order")
		cut := rapid.IntRange(0, len(order)).Draw(rt, "frozen after")
		fold(t, s, order[:cut]...)
		manager := bg(t, as(access.Manager))
		r, err := s.Freeze(manager, FreezeRequest{Period: "2026-Q1", Note: "une note"})
		if err != nil {
			rt.Fatal(err)
		}
		bytes := func() (all []string) {
			docs := [][2]string{{reviewCollection, r.ID}}
			for _, i := range r.Indicators {
				docs = append(docs, [2]string{figuresCollection, partID(r.Attempt, i.Code, 0)})
			}
			for _, d := range docs {
				stored, err := e.Get(t.Context(), d[0], d[1])
				if err != nil {
					rt.Fatal(err)
				}
				all = append(all, string(stored.Body))
			}
			return all
		}
		before := bytes()
		read := func() string {
			got, err := s.Review(bg(t, as(access.Statistician)), ReviewQuery{ID: r.ID})
			if err != nil {
				rt.Fatal(err)
			}
			text, err := json.Marshal(got)
			if err != nil {
				rt.Fatal(err)
			}
			return string(text)
		}
		first := read()
		fold(t, s, order[cut:]...)
		if _, err := s.Freeze(manager, FreezeRequest{Period: "2026-Q1"}); err != nil {
			rt.Fatal(err)
		}
		if read() != first {
			rt.Fatal("the review reads otherwise")
		}
		if !slices.Equal(bytes(), before) {
			rt.Fatal("the stored documents changed")
		}
	})
}

// --- the hash, made again by other code from what is exported ---

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// field is a value of the JSON export as the canonical text has it.
func field(m map[string]any, name string) string {
	switch v := m[name].(type) {
	case nil:
		return ""
	case []any:
		var parts []string
		for _, p := range v {
			parts = append(parts, p.(string))
		}
		return strings.Join(parts, ",")
	default:
		return fmt.Sprint(v)
	}
}

func joined(m map[string]any, names ...string) string {
	var parts []string
	for _, n := range names {
		parts = append(parts, field(m, n))
	}
	return strings.Join(parts, "\t")
}

// rehash makes the hashes of a review again from its JSON export alone, following
// the description in review_text.go.
func rehash(t testing.TB, export string) {
	t.Helper()
	from := json.NewDecoder(strings.NewReader(export))
	from.UseNumber()
	var r map[string]any
	if err := from.Decode(&r); err != nil {
		t.Fatal(err)
	}
	figures := map[string]string{}
	for _, f := range r["figures"].([]any) {
		f := f.(map[string]any)
		if hexSum(field(f, "definition_json")) != field(f, "definition_hash") {
			t.Errorf("%s: the definition's hash", field(f, "code"))
		}
		text := "masar-review-figures\t1\ndefinition\t" + joined(f, "code", "version", "definition_hash") + "\n"
		for _, c := range f["cells"].([]any) {
			c := c.(map[string]any)
			line := "cell\t" + joined(c, "by", "codes", "value", "numerator", "denominator", "p90", "count", "people")
			if c["suppressed"] != true {
				text += line + "\n"
				continue
			}
			text += "hidden\t" + joined(c, "by", "codes", "commitment") + "\n"
			if salt := field(c, "salt"); salt != "" && hexSum(salt+"\t"+line) != field(c, "commitment") {
				t.Errorf("%s: the commitment of %s", field(f, "code"), line)
			}
		}
		figures[field(f, "code")] = hexSum(text)
	}
	text := "masar-review\t1\nid\t" + field(r, "id") + "\nnonce\t" + field(r, "nonce") + "\nperiod\t" + joined(r, "grain", "period") +
		"\nnumber\t" + field(r, "number") + "\nearly\t" + field(r, "early") + "\ntitle\t" + hexSum(field(r, "title")) + "\nnote\t" + hexSum(field(r, "note")) +
		"\nby\t" + joined(r, "subject", "role") + "\nfrozen_at\t" + field(r, "frozen_at") + "\nas_of\t" + field(r, "as_of") + "\nknown_to\t" + field(r, "known_to") +
		"\nsmall_cell\t" + field(r, "small_cell") + "\nfacts\t" + field(r, "facts") + "\n"
	for _, s := range r["sources"].([]any) {
		text += "source\t" + joined(s.(map[string]any), "topic", "facts", "last_recorded_at", "last_occurred_at", "lag_messages", "lag_seconds") + "\n"
	}
	for _, i := range r["indicators"].([]any) {
		i := i.(map[string]any)
		if figures[field(i, "code")] != field(i, "hash") {
			t.Errorf("%s: made again %s, in the review %s", field(i, "code"), figures[field(i, "code")], field(i, "hash"))
		}
		text += "indicator\t" + joined(i, "code", "version", "cells", "hidden", "hash") + "\n"
	}
	if hexSum(text) != field(r, "hash") {
		t.Errorf("the review's hash, made again from\n%s", text)
	}
}

// rehashCSV makes the hash of each indicator again from the CSV export.
func rehashCSV(t testing.TB, export string, want map[string]string) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(export)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, row := range rows[1:] {
		code := row[2]
		if texts[code] == "" {
			texts[code] = "masar-review-figures\t1\ndefinition\t" + strings.Join(row[2:5], "\t") + "\n"
		}
		if row[14] == "true" {
			texts[code] += "hidden\t" + row[6] + "\t" + row[7] + "\t" + row[15] + "\n"
		} else {
			texts[code] += "cell\t" + strings.Join(row[6:14], "\t") + "\n"
		}
	}
	if len(texts) == 0 {
		t.Fatal("no figures")
	}
	for code, text := range texts {
		if hexSum(text) != want[code] {
			t.Errorf("%s: from the CSV %s, in the review %s", code, hexSum(text), want[code])
		}
	}
}

// TestHashIsMadeAgainFromTheExport: by a manager, from whom cells are hidden, and
// by a statistician, who sees all of them.
func TestHashIsMadeAgainFromTheExport(t *testing.T) {
	r := newRig(t, nil)
	s := crowd(t, map[string][2]int{"TN-11": {9, 20}, "TN-12": {7, 6}, "TN-71": {3, 12}})
	s.events = append(s.events, year(t).events...)
	r.publish(s.events...)
	r.folded(len(s.events))
	made := r.freeze(FreezeRequest{Period: "2026-Q1", Title: "Comité\tn° 3"[:8], Note: "L'été à 40 °C <&>\nfin"}, "")
	hashes := map[string]string{}
	hidden := 0
	for _, i := range made.Indicators {
		hashes[i.Code] = i.Hash
		hidden += i.Hidden
	}
	if hidden == 0 {
		t.Error("nothing is hidden: the test is of no use")
	}
	for _, role := range []access.Role{access.Manager, access.Statistician} {
		status, _, export := r.get(as(role), "/api/indicators/reviews/"+made.ID)
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, export)
		}
		rehash(t, export)
		_, header, lines := r.get(as(role), "/api/indicators/reviews/"+made.ID+"?format=csv")
		if !strings.HasPrefix(header.Get("Content-Type"), "text/csv") {
			t.Errorf("%v", header)
		}
		rehashCSV(t, lines, hashes)
		if strings.Contains(export, `"salt"`) != (role == access.Statistician) {
			t.Errorf("%s: the salts of hidden cells", role)
		}
	}
}

// TestAlteredReviewIsNotRead changes stored documents in every place: reading says
// so, and never shows the figures.
func TestAlteredReviewIsNotRead(t *testing.T) {
	change := func(t *testing.T, e docstore.Engine, collection, id string, alter func(bson.M)) {
		t.Helper()
		r, err := e.Get(t.Context(), collection, id)
		if err != nil {
			t.Fatal(err)
		}
		var m bson.M
		if err := bson.Unmarshal(r.Body, &m); err != nil {
			t.Fatal(err)
		}
		alter(m)
		if r.Body, err = bson.Marshal(m); err != nil {
			t.Fatal(err)
		}
		r.Version++
		if err := e.Replace(t.Context(), collection, r, nil); err != nil {
			t.Fatal(err)
		}
	}
	replace := func(name, from, to string) func(bson.M) {
		return func(m bson.M) {
			text := m[name].(string)
			if !strings.Contains(text, from) {
				panic("there is no " + from + " in " + text)
			}
			m[name] = strings.Replace(text, from, to, 1)
		}
	}
	for what, alter := range map[string]func(t *testing.T, e docstore.Engine, r Review){
		"a figure": func(t *testing.T, e docstore.Engine, r Review) {
			change(t, e, figuresCollection, partID(r.Attempt, "people_followed", 0), replace("lines", "cell\t\t\t57", "cell\t\t\t58"))
		},
		"a hidden figure": func(t *testing.T, e docstore.Engine, r Review) {
			change(t, e, figuresCollection, partID(r.Attempt, "people_followed", 0), replace("lines", "cell\tgovernorate\tTN-71\t4", "cell\tgovernorate\tTN-71\t5"))
		},
		"a line that is none": func(t *testing.T, e docstore.Engine, r Review) {
			change(t, e, figuresCollection, partID(r.Attempt, "people_followed", 0), replace("lines", "cell", "sell"))
		},
		"a definition": func(t *testing.T, e docstore.Engine, r Review) {
			change(t, e, figuresCollection, partID(r.Attempt, "people_followed", 0), replace("definition", "OG", "OS"))
		},
		"who": func(t *testing.T, e docstore.Engine, r Review) {
			change(t, e, reviewCollection, r.ID, replace("subject", "test", "somebody"))
		},
		"the title": func(t *testing.T, e docstore.Engine, r Review) {
			change(t, e, reviewCollection, r.ID, replace("title", "T1", "T2"))
		},
		"an indicator that is gone": func(t *testing.T, e docstore.Engine, r Review) {
			d, err := e.Get(t.Context(), figuresCollection, partID(r.Attempt, "people_followed", 0))
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Delete(t.Context(), figuresCollection, d.ID, d.Version); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			e := openStore(t)
			s := reviewer(t, e, inApril(t))
			fold(t, s, crowd(t, map[string][2]int{"TN-11": {9, 20}, "TN-12": {12, 12}, "TN-71": {2, 2}}).events...)
			manager := bg(t, as(access.Manager))
			r, err := s.Freeze(manager, FreezeRequest{Period: "2026-Q1", Title: "T1"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Review(manager, ReviewQuery{ID: r.ID}); err != nil {
				t.Fatal(err)
			}
			alter(t, e, r)
			_, err = s.Review(manager, ReviewQuery{ID: r.ID})
			if !errors.Is(err, &api.Error{Kind: api.KindConflict}) || !strings.Contains(err.Error(), "2026-Q1-v1 is not the one that was frozen") {
				t.Errorf("read: %v", err)
			}
			if _, err = s.Differences(manager, DifferencesQuery{ID: r.ID}); !errors.Is(err, &api.Error{Kind: api.KindConflict}) {
				t.Errorf("compared: %v", err)
			}
			list, err := s.Reviews(manager, ReviewsQuery{})
			if err != nil || len(list.Items) != 1 || list.Items[0].Altered != (what == "who" || what == "the title") {
				t.Errorf("listed: %+v, %v", list, err)
			}
		})
	}
}

// crashing is a store whose process ends at one of its writes: nothing is written
// from then on.
type crashing struct {
	docstore.Engine
	left int
}

var errCrash = errors.New("killed")

func (c *crashing) Insert(ctx context.Context, collection string, r docstore.Record, events []docstore.Event) error {
	if c.left--; c.left < 0 {
		return errCrash
	}
	return c.Engine.Insert(ctx, collection, r, events)
}

// TestCrashLeavesNoHalfReview: whichever write is the last, there is no review, or
// all of it; and the command, repeated, makes it.
func TestCrashLeavesNoHalfReview(t *testing.T) {
	e := openStore(t)
	healthy := few(reviewer(t, e, inApril(t)))
	fold(t, healthy, year(t).events...)
	writes := len(healthy.defs) + 1
	for left := range writes {
		s := few(reviewer(t, &crashing{e, left}, inApril(t)))
		s.columns = healthy.columns
		ctx := api.ContextWithKey(bg(t, as(access.Manager)), fmt.Sprintf("key-%d", left))
		if _, err := s.Freeze(ctx, FreezeRequest{Period: "2026-Q1"}); !errors.Is(err, errCrash) {
			t.Fatalf("after %d writes: %v", left, err)
		}
		list, err := healthy.Reviews(ctx, ReviewsQuery{})
		if err != nil || len(list.Items) != left {
			t.Fatalf("after %d writes there are %d reviews, %v", left, len(list.Items), err)
		}
		r, err := healthy.Freeze(ctx, FreezeRequest{Period: "2026-Q1"})
		if err != nil || r.Number != left+1 {
			t.Fatalf("repeated: %+v, %v", r, err)
		}
		if _, err := healthy.Review(ctx, ReviewQuery{ID: r.ID}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTwoReplicasFreezeAtOnce: commands of their own make reviews with numbers of
// their own; one command that reaches both makes one review.
func TestTwoReplicasFreezeAtOnce(t *testing.T) {
	e := openStore(t)
	replicas := []*service{few(reviewer(t, e, inApril(t))), few(reviewer(t, e, inApril(t)))}
	for _, s := range replicas {
		fold(t, s, year(t).events...)
	}
	const each = 6
	var mu sync.Mutex
	var working sync.WaitGroup
	ids := map[string]int{}
	for n := range each {
		for i, s := range replicas {
			for _, key := range []string{fmt.Sprintf("own-%d-%d", i, n), fmt.Sprintf("shared-%d", n)} {
				working.Go(func() {
					r, err := s.Freeze(api.ContextWithKey(bg(t, as(access.Manager)), key), FreezeRequest{Period: "2026-Q1"})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if n, twice := ids[r.ID]; twice && n != r.Number {
						t.Errorf("%s has the numbers %d and %d", r.ID, n, r.Number)
					}
					ids[r.ID] = r.Number
				})
			}
		}
	}
	working.Wait()
	var numbers []int
	for _, n := range ids {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != i+1 {
			t.Fatalf("numbers %v", numbers)
		}
	}
	if len(numbers) != 3*each {
		t.Errorf("%d reviews, want %d", len(numbers), 3*each)
	}
	// Paged, the last number first.
	var listed []int
	for q := (ReviewsQuery{Paging: api.Paging{Limit: 5}, Period: "2026-Q1"}); ; {
		page, err := replicas[0].Reviews(bg(t, as(access.Manager)), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Items {
			listed = append(listed, r.Number)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	slices.Reverse(listed)
	if !slices.Equal(listed, numbers) {
		t.Errorf("listed %v", listed)
	}
}

// TestLargeIndicatorIsInSeveralDocuments: a document is never larger than the bound.
func TestLargeIndicatorIsInSeveralDocuments(t *testing.T) {
	e := openStore(t)
	s := reviewer(t, e, inApril(t))
	s.reviews.part = 300
	fold(t, s, year(t).events...)
	manager := bg(t, as(access.Manager))
	r, err := s.Freeze(manager, FreezeRequest{Period: "2026-Q1"})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(documents(t, e, figuresCollection)); n <= len(s.defs) {
		t.Errorf("%d documents", n)
	}
	got, err := s.Review(manager, ReviewQuery{ID: r.ID})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range got.Figures {
		if len(f.Cells) != r.Indicators[i].Cells {
			t.Errorf("%s: %d of %d figures", f.Code, len(f.Cells), r.Indicators[i].Cells)
		}
	}
}
