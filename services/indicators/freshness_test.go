package indicators

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"masar.local/pkg/access"
	"masar.local/pkg/runtime/runtimetest"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// TestGapsAreWhatNeverCame: whatever the order and the repeats, what is missing is
// what a count of the numbers says.
func TestGapsAreWhatNeverCame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, columns := newGaps(), NewColumns(Dimensions(), nil)
		numbers := map[string]map[int64]bool{}
		for i, n := range rapid.SliceOfN(rapid.Int64Range(0, 9), 0, 40).Draw(t, "numbers") {
			subject := fmt.Sprintf("s%d", rapid.IntRange(0, 3).Draw(t, "subject"))
			f := Fact{ID: fmt.Sprintf("%s-%d", subject, n), Kind: PathwayOpened, Subject: subject, Seq: n, OccurredAt: time.UnixMilli(int64(i))}
			if rapid.Bool().Draw(t, "a correction") {
				f.Seq, f.EventSeq = 1, n
			}
			if n == 0 {
				f.ID, f.Seq = fmt.Sprint(i), 0 // does not say
			}
			if columns.Add(f) {
				g.add(f)
			}
			if n > 0 {
				if numbers[subject] == nil {
					numbers[subject] = map[int64]bool{}
				}
				numbers[subject][n] = true
			}
		}
		var want gap
		for _, seen := range numbers {
			missing := int64(0)
			for n := range seen {
				missing = max(missing, n)
			}
			missing -= int64(len(seen))
			want.missing += missing
			want.incomplete += min(missing, 1)
		}
		if got := g.count()[0]; got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
}

// TestWatermark: what never came shows, in the answer and as a metric, until it
// comes; and what a correction changes is there at once and as of before.
func TestWatermark(t *testing.T) {
	r := newRig(t, nil)
	s := newStory(t)
	p := person{"c1", "F", "TN-71"}
	s.opened("2026-01-10 09:00", "w1", "agri", p)
	s.moved("2026-02-27 09:00", "w1", "agri", p, "P02", "2026-01-10 09:00", "P04")
	s.moved("2026-03-20 09:00", "w1", "agri", p, "P04", "2026-02-27 09:00", "P05")
	r.publish(s.events[0], s.events[2])
	r.folded(2)
	f := ask[Freshness](r, as(access.Manager), "/api/indicators/freshness")
	if f.Missing != 1 || f.Sources[0].Missing != 1 || f.Sources[0].Incomplete != 1 || f.Sources[1].Missing != 0 {
		t.Errorf("an event has not come: %+v", f)
	}
	runtimetest.Eventually(t, "the missing event is a metric", func() bool {
		_, _, body := r.get(as(access.Admin), "/metrics")
		return strings.Contains(body, `masar_figures_missing{messaging_destination_name="masar.candidates.v1"`) && strings.Contains(body, "masar_figures_behind")
	})
	r.publish(s.events[1])
	r.folded(3)
	runtimetest.Eventually(t, "everything has come", func() bool {
		f = ask[Freshness](r, as(access.Manager), "/api/indicators/freshness")
		return f.Missing == 0 && !f.CompleteTo.IsZero() && f.Sources[0].LagMessages != nil && *f.Sources[0].LagMessages == 0
	})
	if want := r.now(); !f.CompleteTo.Equal(want) {
		t.Errorf("complete to %s, want %s", f.CompleteTo, want)
	}

	// The counsellor meant February the 3rd.
	s.add("2026-02-03 09:00", "w1", &candidatesv1.EntryCorrected{
		EventId: s.events[1].ID, EntrySeq: 2, Reason: "SAISIE", Actor: "counsellor",
		Entry: &candidatesv1.EntryCorrected_Entered{Entered: &candidatesv1.StageEntered{
			CandidateId: "c1", Scheme: "agri", SchemeVersion: "1", From: "P02", To: "P04",
			FromEnteredAt: at(t, "2026-01-10 09:00").Format(time.RFC3339), Person: p.proto(),
		}},
		Now: &candidatesv1.PathwayState{CandidateId: "c1", Scheme: "agri", SchemeVersion: "1", Stage: "P05", Open: true},
	})
	s.add("2026-03-20 09:00", "w1", &candidatesv1.EntryRetracted{
		EventId: s.events[2].ID, EntrySeq: 3, Now: &candidatesv1.PathwayState{CandidateId: "c1", Scheme: "agri", SchemeVersion: "1", Stage: "P04", Open: true},
	})
	for i := range s.events[3:] {
		s.events[3+i].RecordedAt = at(t, "2026-04-10 12:00")
	}
	r.publish(s.events[4], s.events[3], s.events[3])
	r.folded(5)
	days := func(asOf string) string {
		series := ask[Series](r, as(access.Admin), "/api/indicators/values?code=stage_days&by=stage"+asOf)
		return strings.Join(text(series.Rows), "; ")
	}
	if got := days(""); got != "all P02 24" {
		t.Errorf("after the correction: %s", got)
	}
	if got := days("&as_of=2026-04-09"); got != "all P02 48; all P04 21" {
		t.Errorf("as was known the day before: %s", got)
	}
	if f := ask[Freshness](r, as(access.Manager), "/api/indicators/freshness"); f.Missing != 0 {
		t.Errorf("corrections are no gaps: %+v", f)
	}
	if v := ask[Verification](r, as(access.Admin), "/api/indicators/verify"); !v.Clean {
		t.Errorf("%+v", v.Differences)
	}
}

// TestDriftIsAnAlert: the service recounts by itself, and tells what it finds.
func TestDriftIsAnAlert(t *testing.T) {
	r := newRig(t, map[string]string{"MASAR_VERIFY_EVERY": "20ms"})
	r.stop()
	clock := runtimetest.NewClock(r.now())
	r.now = clock.Now
	r.start()
	wrong := func() string {
		status, _, body := r.get(as(access.Admin), "/metrics")
		if status != http.StatusOK {
			t.Fatalf("metrics: %d", status)
		}
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "masar_figures_wrong") {
				fields := strings.Fields(line)
				return fields[len(fields)-1]
			}
		}
		return ""
	}
	runtimetest.Eventually(t, "the first recount is clean", func() bool { return wrong() == "0" })
	// A fact that no document holds: memory and store have drifted apart.
	r.service.columns.Add(Fact{
		ID: "ghost", Kind: PathwayOpened, Subject: "w9", Person: "c9", Seq: 1, OccurredAt: at(t, "2026-02-01 09:00"), Codes: Codes{Scheme: "agri"},
	})
	clock.Advance(time.Second)
	runtimetest.Eventually(t, "the drift is told", func() bool { n := wrong(); return n != "0" && n != "" })
}
