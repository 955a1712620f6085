package candidates

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// TestACounsellorPutsRight: a date and a move typed by mistake, over HTTP.
func TestACounsellorPutsRight(t *testing.T) {
	h := newHouse(t)
	me := h.as(access.Counsellor)
	id := h.openWay(h.register(), "agri")
	path := waysPath + "/" + id
	for i, to := range []string{"P04", "P05", "P07"} {
		h.want(200, me, "POST", path+"/moves", map[string]any{"to": to, "occurred_at": day(10 * (i + 1))})
	}
	correct := func(entry int, at time.Time) map[string]any {
		return map[string]any{"entry": entry, "occurred_at": at, "reason": "SAISIE", "note": "mauvais mois"}
	}

	h.want(422, me, "POST", path+"/corrections", correct(2, day(25))) // after the next one
	h.want(422, me, "POST", path+"/corrections", correct(9, day(12)))
	h.want(422, me, "POST", path+"/corrections", `{"entry":2}`)
	h.want(409, me, "POST", path+"/corrections", correct(2, day(10))) // the date that it has
	h.want(403, h.as(access.Statistician), "POST", path+"/corrections", correct(2, day(12)))
	h.want(404, h.as(access.Counsellor, "TN-11"), "POST", path+"/corrections", correct(2, day(12)))
	h.want(412, me, "POST", path+"/corrections", correct(2, day(12)), "If-Match", `"1"`)
	before := len(h.events(id))
	first := h.want(200, me, "POST", path+"/corrections", correct(2, day(12)), "Idempotency-Key", "c1")
	again := h.want(200, me, "POST", path+"/corrections", correct(2, day(12)), "Idempotency-Key", "c1")
	if string(first.body) != string(again.body) {
		t.Errorf("the second answer differs:\n%s\n%s", first.body, again.body)
	}
	w := h.way(id)
	if e := w.History[1]; !e.OccurredAt.Equal(day(12)) {
		t.Errorf("entry 2 is of %s", e.OccurredAt)
	}
	if e := w.History[4]; e.Kind != entryCorrected || e.Entry != 2 || e.Was == nil || !e.Was.Equal(day(10)) || e.Note != "mauvais mois" {
		t.Errorf("the history does not say what was: %+v", e)
	}
	events := h.events(id)
	if n := len(events) - before; n != 2 {
		t.Fatalf("%d events of a correction, want that of the entry and that of the next", n)
	}
	for i, want := range []struct {
		seq     int64
		at      time.Time
		entered time.Time
	}{{2, day(12), day(0)}, {3, day(20), day(12)}} {
		e, c := events[before+i], events[before+i].Data.(*candidatesv1.EntryCorrected)
		if e.Seq != int64(before+i+1) || c.GetEntrySeq() != want.seq || c.GetEventId() != events[want.seq-1].ID ||
			!e.OccurredAt.Equal(want.at) || c.GetEntered().GetFromEnteredAt() != stamp(want.entered) || c.GetReason() != "SAISIE" {
			t.Errorf("event %d: %v %v", i, e.OccurredAt, c)
		}
	}

	// The last entry is taken back, and nothing else can be.
	h.want(409, me, "POST", path+"/retractions", `{"entry":3}`)
	h.want(409, me, "POST", path+"/retractions", `{"entry":5}`)
	h.want(200, me, "POST", path+"/retractions", `{"entry":4,"reason":"SAISIE"}`)
	h.want(409, me, "POST", path+"/retractions", `{"entry":4}`)
	if w := h.way(id); w.Stage != "P05" || !w.EnteredAt.Equal(day(20)) || !w.History[3].Retracted {
		t.Errorf("the pathway stands at %s since %s", w.Stage, w.EnteredAt)
	}

	// An end is taken back, unless another pathway was opened meanwhile.
	h.want(200, me, "POST", path+"/exit", map[string]any{"exit": "DESISTEMENT", "occurred_at": day(40)})
	ended := len(h.way(id).History)
	other := h.want(201, me, "POST", waysPath, map[string]any{"candidate_id": w.CandidateID, "scheme": "agri", "occurred_at": day(41)}).text("id")
	h.want(409, me, "POST", path+"/retractions", map[string]any{"entry": ended})
	h.want(200, me, "POST", waysPath+"/"+other+"/exit", map[string]any{"exit": "DESISTEMENT", "occurred_at": day(42)})
	h.want(200, me, "POST", path+"/retractions", map[string]any{"entry": ended})
	if w := h.way(id); w.State != Open || w.Exit != "" || w.EndedAt != nil {
		t.Errorf("the pathway is %s (%s)", w.State, w.Exit)
	}
	h.want(200, me, "POST", path+"/moves", map[string]any{"to": "P07", "occurred_at": day(50)})
}

func TestADecisionsEntryIsNotTakenBack(t *testing.T) {
	p, s := walked(t, "agri", "P04", "P05")
	if _, known := p.decide(s, Decision{ID: "d1", Kind: reference.DecisionInterview, CandidateID: "c1", Actor: access.Counsellor, OccurredAt: day(20), Now: testNow}); known || p.Stage != "P07" {
		t.Fatalf("at %s", p.Stage)
	}
	if _, err := p.retract(s, len(p.History), by(access.Counsellor, day(21))); kindOf(err) != api.KindConflict {
		t.Errorf("got %v", err)
	}
}

// TestWhatStandsIsWhatWasRight: whatever is corrected and taken back in whatever
// order, the events that stand at last, each in the place of the first that told
// its entry, are those of a pathway on which everything was typed right at once.
func TestWhatStandsIsWhatWasRight(t *testing.T) {
	s := mustScheme(t, "agri")
	rapid.Check(t, func(t *rapid.T) {
		type sent struct {
			at      time.Time
			message proto.Message
		}
		log, over := map[string]sent{}, map[string]bool{}
		p, opened, err := openPathway(s, "c1", Person{Sex: "F", Governorate: "TN-71", BirthYear: 1995}, by(access.Admin, day(0)))
		if err != nil {
			t.Fatal(err)
		}
		d := &docstore.Doc[Pathway]{ID: "w1", Body: p}
		record := func(i int) {
			e := d.Body.History[i]
			log[e.EventID] = sent{at: e.OccurredAt}
		}
		told := func(i int, m proto.Message) {
			record(i)
			x := log[d.Body.History[i].EventID]
			x.message = m
			log[d.Body.History[i].EventID] = x
			switch c := m.(type) {
			case *candidatesv1.EntryCorrected:
				over[c.GetEventId()] = true
			case *candidatesv1.EntryRetracted:
				over[c.GetEventId()] = true
			}
		}
		emit(t.Context(), d, opened)
		told(0, opened)
		for range rapid.IntRange(1, 25).Draw(t, "acts") {
			act := by(access.Admin, day(rapid.IntRange(0, 60).Draw(t, "day")))
			number := rapid.IntRange(1, len(d.Body.History)).Draw(t, "entry")
			was := fmt.Sprintf("%+v", d.Body)
			var err error
			switch rapid.SampledFrom([]string{"move", "move", "move", "leave", "correct", "correct", "retract"}).Draw(t, "act") {
			case "move", "leave":
				var m proto.Message
				if following := s.Following(d.Body.Stage); len(following) > 0 && rapid.IntRange(0, 5).Draw(t, "goes on") > 0 {
					m, err = d.Body.move(s, following[0], act)
				} else {
					m, err = d.Body.leave(s, "DESISTEMENT", act)
				}
				if err == nil {
					emit(t.Context(), d, m)
					told(len(d.Body.History)-1, m)
				}
			case "correct", "retract":
				put := d.Body.correct
				if rapid.Bool().Draw(t, "back") {
					put = d.Body.retract
				}
				events, fault := put(s, number, act)
				err = fault
				for _, e := range events {
					tell(t.Context(), d, e, act.Now)
					told(e.entry, e.event)
				}
			}
			if err != nil && fmt.Sprintf("%+v", d.Body) != was {
				t.Fatalf("refused (%v), and changed the pathway", err)
			}
		}

		// The same, typed right at once.
		var right *Pathway
		var want []sent
		for i, e := range d.Body.History {
			if !e.happened() || e.Retracted {
				continue
			}
			var m proto.Message
			var err error
			act := by(access.Admin, e.OccurredAt)
			switch e.Kind {
			case entryOpened:
				var fresh Pathway
				fresh, m, err = openPathway(s, "c1", d.Body.Person, act)
				right = &fresh
			case entryMoved:
				m, err = right.move(s, e.To, act)
			case entryExited:
				m, err = right.leave(s, e.Exit, act)
			}
			if err != nil {
				t.Fatalf("entry %d cannot have happened: %v", i+1, err)
			}
			want = append(want, sent{act.OccurredAt, m})
		}
		var got []sent
		for _, e := range d.Body.History {
			if !e.happened() || e.Retracted {
				continue
			}
			x := log[e.EventID]
			if over[e.EventID] {
				t.Fatalf("the event of entry %s was superseded", e.To)
			}
			if c, ok := x.message.(*candidatesv1.EntryCorrected); ok {
				x.message = c.ProtoReflect().Get(c.ProtoReflect().WhichOneof(c.ProtoReflect().Descriptor().Oneofs().ByName("entry"))).Message().Interface()
			}
			got = append(got, x)
		}
		if len(got) != len(want) {
			t.Fatalf("%d events stand, want %d", len(got), len(want))
		}
		for i := range got {
			if !got[i].at.Equal(want[i].at) || !proto.Equal(got[i].message, want[i].message) {
				t.Fatalf("event %d:\n%v %v, want\n%v %v", i, got[i].at, got[i].message, want[i].at, want[i].message)
			}
		}
		b := d.Body
		if b.State != right.State || b.Stage != right.Stage || !b.EnteredAt.Equal(right.EnteredAt) || !b.EndedAt.Equal(right.EndedAt) ||
			b.Exit != right.Exit || b.Placed != right.Placed || b.OpenKey != right.OpenKey || !b.OpenedAt.Equal(right.OpenedAt) {
			t.Fatalf("stands at %+v, want %+v", b, *right)
		}
	})
}
