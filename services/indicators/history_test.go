package indicators

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	"masar.local/pkg/runtime/runtimetest"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
	matchingv1 "masar.local/proto/masar/matching/v1"
	notificationsv1 "masar.local/proto/masar/notifications/v1"
)

// telling draws the events of a few aggregates as the services would tell them: each
// in its own sequence without gaps, with dates that come late and go back and forth.
type telling struct {
	t      *rapid.T
	seq    map[string]int64
	events []event.Event
}

// worldBegins and worldDays bound when things happen: over two years, so that a
// stay may have many hundreds of days.
var worldBegins = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

const worldDays = 900

func (w *telling) moment(name string) time.Time {
	day := rapid.IntRange(0, worldDays).Draw(w.t, name)
	// Around midnight in Tunis, which is 23:00 in UTC, and at noon.
	second := rapid.SampledFrom([]int{0, 12 * 3600, 23*3600 - 1, 23 * 3600, 24*3600 - 1}).Draw(w.t, name+" time")
	return worldBegins.AddDate(0, 0, day).Add(time.Duration(second) * time.Second)
}

func (w *telling) pick(name string, of ...string) string {
	return rapid.SampledFrom(of).Draw(w.t, name)
}

// chance is true once in n times.
func (w *telling) chance(name string, n int) bool { return rapid.IntRange(1, n).Draw(w.t, name) == n }

// tell adds the next event of a subject; recorded when it happened, or any time
// later.
func (w *telling) tell(subject string, occurred time.Time, data proto.Message) event.Event {
	recorded := occurred.Add(time.Minute)
	if w.chance("late", 3) {
		recorded = recorded.AddDate(0, 0, rapid.IntRange(1, 400).Draw(w.t, "days late"))
	}
	w.seq[subject]++
	e := event.New("/test", subject, occurred, recorded, data)
	e.ID, e.Seq = fmt.Sprintf("%s-%d", subject, w.seq[subject]), w.seq[subject]
	w.events = append(w.events, e)
	return e
}

func (w *telling) about() *candidatesv1.Person {
	return &candidatesv1.Person{
		Sex: w.pick("sex", "F", "M", ""), Governorate: w.pick("governorate", "TN-71", "TN-11", "nowhere"),
		BirthYear: rapid.SampledFrom([]int32{0, 1980, 1996, 2004}).Draw(w.t, "born"),
	}
}

func (w *telling) scheme() string { return w.pick("scheme", "agri", "soin", "agri", "invented", "") }

// entry draws what may be told next of a pathway.
func (w *telling) entry(person, kind string) proto.Message {
	stage := func(name string) string { return w.pick(name, "P02", "P04", "P07", "P15", "P16") }
	since := ""
	if !w.chance("stay is unknown", 5) {
		since = w.moment("since").Format(time.RFC3339)
	}
	switch kind {
	case "opened":
		return &candidatesv1.PathwayOpened{CandidateId: person, Scheme: w.scheme(), SchemeVersion: "1", Stage: "P02", Person: w.about()}
	case "exited":
		return &candidatesv1.PathwayExited{CandidateId: person, Scheme: w.scheme(), SchemeVersion: "1", Stage: stage("at"), StageEnteredAt: since, Exit: w.pick("exit", "DESISTEMENT", "REFUS_VISA"), Person: w.about()}
	case "completed":
		return &candidatesv1.PathwayCompleted{CandidateId: person, Scheme: w.scheme(), SchemeVersion: "1", Stage: stage("at"), StageEnteredAt: since, Person: w.about()}
	}
	to := stage("to")
	return &candidatesv1.StageEntered{CandidateId: person, Scheme: w.scheme(), SchemeVersion: "1", From: stage("from"), To: to, FromEnteredAt: since, Person: w.about(), Placement: to == "P16"}
}

// corrected says that an entry was otherwise than told.
func corrected(of event.Event, place int64, now proto.Message) proto.Message {
	c := &candidatesv1.EntryCorrected{EventId: of.ID, EntrySeq: place, Reason: "SAISIE"}
	switch e := now.(type) {
	case *candidatesv1.PathwayOpened:
		c.Entry = &candidatesv1.EntryCorrected_Opened{Opened: e}
	case *candidatesv1.StageEntered:
		c.Entry = &candidatesv1.EntryCorrected_Entered{Entered: e}
	case *candidatesv1.PathwayExited:
		c.Entry = &candidatesv1.EntryCorrected_Exited{Exited: e}
	case *candidatesv1.PathwayCompleted:
		c.Entry = &candidatesv1.EntryCorrected_Completed{Completed: e}
	}
	return c
}

// pathway draws the history of one, with entries that are put right, once or again,
// and such that are taken back.
func (w *telling) pathway(id, person string) {
	type told struct {
		event event.Event
		place int64
		kind  string
	}
	first := w.tell(id, w.moment("opened"), w.entry(person, "opened"))
	entries := []told{{first, 1, "opened"}}
	for range rapid.IntRange(0, 7).Draw(w.t, "steps") {
		switch step := w.pick("step", "entered", "entered", "entered", "corrected", "retracted", "exited", "completed"); step {
		case "corrected":
			if len(entries) == 0 {
				continue
			}
			e := &entries[rapid.IntRange(0, len(entries)-1).Draw(w.t, "which")]
			e.event = w.tell(id, w.moment("corrected"), corrected(e.event, e.place, w.entry(person, e.kind)))
		case "retracted":
			if len(entries) == 0 {
				continue
			}
			e := entries[len(entries)-1]
			entries = entries[:len(entries)-1]
			w.tell(id, w.moment("retracted"), &candidatesv1.EntryRetracted{EventId: e.event.ID, EntrySeq: e.place, Reason: "ERREUR", Now: &candidatesv1.PathwayState{CandidateId: person}})
		default:
			e := w.tell(id, w.moment("entered"), w.entry(person, step))
			entries = append(entries, told{e, e.Seq, step})
		}
	}
}

func (w *telling) offer(id string) {
	posts, filled := rapid.Int32Range(0, 5).Draw(w.t, "posts"), int32(0)
	terms := func() *employersv1.Terms {
		return &employersv1.Terms{EmployerId: w.pick("employer", "", "e1", "e2"), Scheme: w.scheme(), Sector: "agriculture", Region: w.pick("region", "76", "93"), Rome: "A1401", Contract: "SAI", Posts: posts, PostsFilled: filled}
	}
	w.tell(id, w.moment("opened"), &employersv1.OfferOpened{Terms: terms()})
	for range rapid.IntRange(0, 5).Draw(w.t, "steps") {
		switch w.pick("offer step", "filled", "filled", "released", "updated", "closed") {
		case "filled":
			filled++
			w.tell(id, w.moment("filled"), &employersv1.PostFilled{Terms: terms(), Attributed: w.chance("attributed", 4)})
		case "released":
			filled = max(filled-1, 0)
			w.tell(id, w.moment("released"), &employersv1.PostReleased{Terms: terms()})
		case "updated":
			posts = rapid.Int32Range(0, 5).Draw(w.t, "posts")
			w.tell(id, w.moment("updated"), &employersv1.OfferUpdated{Terms: terms()})
		case "closed":
			w.tell(id, w.moment("closed"), &employersv1.OfferClosed{Terms: terms(), Reason: "filled"})
		}
	}
}

// drawEvents draws the events of everybody.
func drawEvents(t *rapid.T) []event.Event {
	w := &telling{t: t, seq: map[string]int64{}}
	for i := range rapid.IntRange(0, 3).Draw(t, "people") {
		p := fmt.Sprintf("c%d", i)
		about := w.about()
		profile := &candidatesv1.Profile{Sex: about.Sex, Governorate: about.Governorate, BirthYear: about.BirthYear, DiplomaLevel: "5"}
		w.tell(p, w.moment("registered"), &candidatesv1.CandidateRegistered{Profile: profile})
		if w.chance("updated", 3) {
			w.tell(p, w.moment("updated"), &candidatesv1.CandidateUpdated{Profile: profile})
		}
		for n := range rapid.IntRange(0, 2).Draw(t, "pathways") {
			w.pathway(fmt.Sprintf("%s-p%d", p, n), p)
		}
		for n := range rapid.IntRange(0, 2).Draw(t, "decisions") {
			w.tell(fmt.Sprintf("%s-d%d", p, n), w.moment("decided"), &matchingv1.DecisionRecorded{
				CandidateId: p, OfferId: "o0", Kind: w.pick("decision", "shortlisted", "hired", "refused"), RefusedBy: w.pick("refused by", "", "candidate", "employer"), Reason: "LIEU",
			})
		}
		for n := range rapid.IntRange(0, 2).Draw(t, "messages") {
			id := fmt.Sprintf("%s-m%d", p, n)
			if w.chance("failed", 3) {
				w.tell(id, w.moment("failed"), &notificationsv1.MessageFailed{CandidateId: p, Template: "visa", Language: "ar", Channel: "sms", Reason: "no_address"})
			} else {
				w.tell(id, w.moment("sent"), &notificationsv1.MessageSent{CandidateId: p, Template: "visa", Language: w.pick("language", "fr", "ar"), Channel: "sms"})
			}
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "offers") {
		w.offer(fmt.Sprintf("o%d", i))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "employers") {
		id := fmt.Sprintf("e%d", i)
		w.tell(id, w.moment("registered"), &employersv1.EmployerRegistered{Status: "active"})
		if w.chance("suspended", 2) {
			w.tell(id, w.moment("suspended"), &employersv1.EmployerUpdated{Status: w.pick("status", "suspended", "active")})
		}
	}
	return w.events
}

// TestHistoriesEqualBruteForce draws histories of events and brings them to two
// replicas on one store as Kafka would: in any order, some of them twice, some to
// both, with restarts. Both must serve what a count from the list of events gives.
func TestHistoriesEqualBruteForce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		events := drawEvents(rt)
		facts := make([]Fact, len(events))
		for i, e := range events {
			facts[i] = overTheWire(t, e)
		}
		both := deliver(t, rt, facts)
		views := [2]*view{both[0].columns.View(), both[1].columns.View()}
		moments := []time.Time{{}}
		for range 2 {
			if len(events) > 0 {
				moments = append(moments, rapid.SampledFrom(events).Draw(rt, "as of").RecordedAt)
			}
		}
		today := rapid.SampledFrom([]string{"2024-01-01", "2025-06-30", "2026-12-31"}).Draw(rt, "today")
		defs, err := Embedded()
		if err != nil {
			t.Fatal(err)
		}
		equal := func(what string, d *Definition, q Query, want []Cell) {
			for n, v := range views {
				served, err := v.Cells(d, q)
				if err != nil {
					rt.Fatal(err)
				}
				if diff := Compare(d, q, served, want); len(diff) > 0 {
					rt.Fatalf("replica %d, %s as of %v against the %s: %v", n, d.Code, q.AsOf, what, diff[0])
				}
			}
		}
		for code, count := range bruteForce {
			d, _ := defs.Get(code)
			for _, asOf := range moments {
				for _, grain := range []Grain{Day, Month, All} {
					from, to := "2024-03-15", "2026-04-02"
					if grain == Day {
						from, to = "2024-12-20", "2025-02-03"
					}
					q := Query{Grain: grain, Today: today, From: from, To: to, AsOf: asOf}
					equal("events", d, q, bruteCells(standing(events, asOf), q, count))
				}
			}
		}
		everything := newLedger()
		for _, f := range facts {
			everything.add(f)
		}
		for _, d := range rapid.SliceOfNDistinct(rapid.SampledFrom(defs), 2, 2, func(d *Definition) string { return d.Code }).Draw(rt, "indicators") {
			e := everything.evidence(d, Dimensions())
			checks := Checks(d, today, "")
			for _, by := range d.Cuts {
				checks = append(checks, Query{Grain: Quarter, By: by, Today: today})
			}
			for _, q := range checks {
				for _, q.AsOf = range moments {
					equal("recount", d, q, e.recount(q))
				}
			}
		}
	})
}

// overTheWire is the fact of an event as it comes from its topic.
func overTheWire(t *testing.T, e event.Event) Fact {
	t.Helper()
	got, err := event.Decode(runtimetest.Message(t.Context(), topicOf(e), e))
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFact(got, reference.Schemes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// deliver brings the facts to two replicas on one store, each at least once to one
// of them, and lets both follow.
func deliver(t *testing.T, rt *rapid.T, facts []Fact) [2]*factStore {
	e := openStore(t)
	fresh := func() *factStore {
		r := replica(t, e, time.Now)
		r.position = time.Now().Add(-settle)
		r.columns.mergeAt = rapid.IntRange(1, 40).Draw(rt, "merge at")
		return r
	}
	both := [2]*factStore{fresh(), fresh()}
	must := func(err error) {
		if err != nil {
			rt.Fatal(err)
		}
	}
	twice := rapid.IntRange(0, len(facts)).Draw(rt, "told twice")
	for _, f := range rapid.Permutation(append(slices.Clone(facts), facts[:twice]...)).Draw(rt, "order") {
		n := rapid.IntRange(0, 1).Draw(rt, "replica")
		must(both[n].put(t.Context(), f))
		switch rapid.IntRange(0, 19).Draw(rt, "then") {
		case 0:
			must(both[1-n].catchUp(t.Context()))
		case 1:
			both[n].columns.View()
		case 2: // it is started again
			both[n] = fresh()
			must(both[n].load(t.Context()))
		}
	}
	for n := range both {
		must(both[n].catchUp(t.Context()))
		if got := both[n].columns.Len(); got != len(facts) {
			rt.Fatalf("replica %d holds %d of %d facts", n, got, len(facts))
		}
	}
	return both
}

// stands is an entry that was not put right by the moment: when and where in its
// subject's order, and what was told.
type stands struct {
	subject string
	place   int64
	at      time.Time
	data    proto.Message
}

func (s stands) day() string { return s.at.Add(time.Hour).Format("2006-01-02") } // Tunis has no summer time

// standing lists what was known at a moment; zero: everything.
func standing(events []event.Event, asOf time.Time) (list []stands) {
	known := func(e event.Event) bool { return asOf.IsZero() || !e.RecordedAt.After(asOf) }
	gone := map[string]bool{}
	for _, e := range events {
		if p, is := e.Data.(interface{ GetEventId() string }); is && known(e) {
			gone[p.GetEventId()] = true
		}
	}
	for _, e := range events {
		if !known(e) || gone[e.ID] {
			continue
		}
		s := stands{e.Subject, e.Seq, e.OccurredAt, e.Data}
		switch d := e.Data.(type) {
		case *candidatesv1.EntryRetracted:
			continue
		case *candidatesv1.EntryCorrected:
			s.place = d.EntrySeq
			for _, now := range []proto.Message{d.GetOpened(), d.GetEntered(), d.GetExited(), d.GetCompleted()} {
				if now.ProtoReflect().IsValid() {
					s.data = now
				}
			}
		}
		list = append(list, s)
	}
	return list
}

// bruteForce counts some indicators from what stands: flows from that of one
// period, stocks from all up to its end.
var bruteForce = map[string]struct {
	stock bool
	count func([]stands) (Cell, bool)
}{
	"people_followed": {count: func(list []stands) (Cell, bool) {
		who := map[string]bool{}
		n := 0
		for _, s := range list {
			if d, is := s.data.(*candidatesv1.PathwayOpened); is {
				who[d.CandidateId] = true
				n++
			}
		}
		return Cell{Value: float64(len(who)), N: n, People: len(who)}, true
	}},
	"stage_entries": {count: func(list []stands) (Cell, bool) {
		who := map[string]bool{}
		n := 0
		for _, s := range list {
			switch d := s.data.(type) {
			case *candidatesv1.PathwayOpened:
				who[d.CandidateId] = true
			case *candidatesv1.StageEntered:
				who[d.CandidateId] = true
			default:
				continue
			}
			n++
		}
		return Cell{Value: float64(n), N: n, People: len(who)}, true
	}},
	"stage_days": {count: func(list []stands) (Cell, bool) {
		who := map[string]bool{}
		var stays []int
		for _, s := range list {
			since, person := "", ""
			switch d := s.data.(type) {
			case *candidatesv1.StageEntered:
				since, person = d.FromEnteredAt, d.CandidateId
			case *candidatesv1.PathwayExited:
				since, person = d.StageEnteredAt, d.CandidateId
			case *candidatesv1.PathwayCompleted:
				since, person = d.StageEnteredAt, d.CandidateId
			}
			if from, err := time.Parse(time.RFC3339, since); err == nil && !from.After(s.at) {
				stays, who[person] = append(stays, int(s.at.Sub(from).Seconds())), true
			}
		}
		n := len(stays)
		if n == 0 {
			return Cell{}, false
		}
		slices.Sort(stays)
		days := func(seconds float64) float64 { return math.Round(seconds/86400*100) / 100 }
		middle := float64(stays[(n-1)/2]+stays[n/2]) / 2
		return Cell{Value: days(middle), P90: days(float64(stays[(9*n+9)/10-1])), N: n, People: len(who)}, true
	}},
	"fill_rate": {count: func(list []stands) (Cell, bool) {
		var filled, posts int32
		n := 0
		for _, s := range list {
			if d, is := s.data.(*employersv1.OfferClosed); is {
				filled, posts = filled+d.Terms.PostsFilled, posts+d.Terms.Posts
				n++
			}
		}
		return Cell{Value: float64(filled) / float64(posts), N: n}, posts > 0
	}},
	"people_by_stage": {stock: true, count: func(list []stands) (Cell, bool) {
		who := map[string]bool{}
		n := 0
		for _, h := range bySubject(list) {
			isEnter := func(s stands) bool { _, is := s.data.(*candidatesv1.PathwayOpened); return is }
			last, there := lastPresent(h, isEnter, func(s stands) bool {
				switch s.data.(type) {
				case *candidatesv1.PathwayExited, *candidatesv1.PathwayCompleted:
					return true
				}
				return false
			})
			switch d := last.data.(type) {
			case *candidatesv1.PathwayOpened:
				who[d.CandidateId] = there
			case *candidatesv1.StageEntered:
				who[d.CandidateId] = there
			default:
				continue
			}
			n++
		}
		return Cell{Value: float64(len(who)), N: n, People: len(who)}, true
	}},
	"offers_open": {stock: true, count: func(list []stands) (Cell, bool) {
		n := 0
		for _, h := range bySubject(list) {
			switch h[0].data.(type) {
			case *candidatesv1.PathwayOpened, *candidatesv1.StageEntered, *candidatesv1.PathwayExited, *candidatesv1.PathwayCompleted:
				continue
			}
			_, there := lastPresent(h, func(s stands) bool {
				switch s.data.(type) {
				case *employersv1.OfferOpened, *employersv1.PostReleased:
					return true
				}
				return false
			}, func(s stands) bool { _, is := s.data.(*employersv1.OfferClosed); return is })
			if there {
				n++
			}
		}
		return Cell{Value: float64(n), N: n}, true
	}},
}

// bySubject are the pathways and offers, each in its own order.
func bySubject(list []stands) map[string][]stands {
	of := map[string][]stands{}
	for _, s := range list {
		switch s.data.(type) {
		case *candidatesv1.PathwayOpened, *candidatesv1.StageEntered, *candidatesv1.PathwayExited, *candidatesv1.PathwayCompleted,
			*employersv1.OfferOpened, *employersv1.OfferUpdated, *employersv1.PostFilled, *employersv1.PostReleased, *employersv1.OfferClosed:
			of[s.subject] = append(of[s.subject], s)
		}
	}
	for _, h := range of {
		slices.SortFunc(h, func(a, b stands) int { return cmp.Compare(a.place, b.place) })
	}
	return of
}

// lastPresent is what describes a subject: the last of what was told since it last
// left and came back.
func lastPresent(h []stands, enters, leaves func(stands) bool) (stands, bool) {
	slices.Reverse(h)
	if left := slices.IndexFunc(h, leaves); left >= 0 {
		h = h[:left]
		if !slices.ContainsFunc(h, enters) {
			return stands{}, false
		}
	}
	if len(h) == 0 {
		return stands{}, false
	}
	return h[0], true
}

// bruteCells counts period by period, day by day through the years.
func bruteCells(list []stands, q Query, by struct {
	stock bool
	count func([]stands) (Cell, bool)
},
) (cells []Cell) {
	last := map[string]string{} // by period, its last day
	from, _ := time.Parse("2006-01-02", q.From)
	for day := from; day.Format("2006-01-02") <= q.To; day = day.AddDate(0, 0, 1) {
		text := day.Format("2006-01-02")
		last[bruteLabel(q.Grain, text)] = text
	}
	for _, label := range slices.Sorted(maps.Keys(last)) {
		var in []stands
		for _, s := range list {
			day := s.day()
			if by.stock && day <= last[label] || !by.stock && day >= q.From && day <= q.To && bruteLabel(q.Grain, day) == label {
				in = append(in, s)
			}
		}
		if c, has := by.count(in); has {
			c.Period = label
			cells = append(cells, c)
		}
	}
	return cells
}

func bruteLabel(g Grain, day string) string {
	switch g {
	case Day:
		return day
	case Month:
		return strings.Join(strings.Split(day, "-")[:2], "-")
	}
	return "all"
}
