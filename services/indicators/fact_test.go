package indicators

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"masar.local/pkg/bus"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	"masar.local/pkg/runtime/runtimetest"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
)

// TestFreeTextNeverBecomesACode: what is not code-like is counted as other, and
// is nowhere in the document.
func TestFreeTextNeverBecomesACode(t *testing.T) {
	const secret = "Mme Ben Salah a téléphoné"
	s := newStory(t)
	s.add("2026-01-01 10:00", "p1", &candidatesv1.StageEntered{CandidateId: "c", Scheme: secret, From: secret, To: secret, Reason: secret, Actor: secret, Person: &candidatesv1.Person{Sex: secret, Governorate: secret}})
	s.add("2026-01-01 10:00", "o1", &employersv1.OfferClosed{Terms: &employersv1.Terms{Rome: secret, Sector: secret, Posts: -3}, Reason: secret})
	for _, e := range s.events {
		f, err := NewFact(e, reference.Schemes())
		if err != nil {
			t.Fatal(err)
		}
		doc, err := bson.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(doc, []byte("Salah")) {
			t.Errorf("the document of %s holds free text", f.Kind)
		}
		if len(doc) > 600 {
			t.Errorf("the document of %s has %d bytes", f.Kind, len(doc))
		}
	}
}

// TestStays: the time at a stage, and when there is none.
func TestStays(t *testing.T) {
	left := at(t, "2026-03-10 10:00")
	for _, test := range []struct {
		entered string
		want    int64 // -1: none
	}{
		{"2026-03-09T09:00:00Z", 86400},
		{"2026-03-10T10:00:00+01:00", 0},
		{"2026-03-10T09:00:00.9Z", -1},
		{"2026-03-11T09:00:00Z", -1},
		{"0001-01-01T00:00:00Z", -1},
		{"yesterday", -1},
		{"", -1},
	} {
		e := event.New("/test", "p", left, left, &candidatesv1.StageEntered{CandidateId: "c", From: "P02", To: "P04", FromEnteredAt: test.entered})
		f, err := NewFact(e, reference.Schemes())
		if err != nil {
			t.Fatal(err)
		}
		got := int64(-1)
		if f.Stay != nil {
			got = *f.Stay
		}
		if got != test.want {
			t.Errorf("entered %q: %d seconds, want %d", test.entered, got, test.want)
		}
	}
}

// TestAPostIsCountedOnce: a post that was filled by hand is not counted again
// when its decision becomes known.
func TestAPostIsCountedOnce(t *testing.T) {
	s := newStory(t)
	s.add("2026-01-05 08:00", "o1", &employersv1.OfferOpened{Terms: terms("agri", 2, 0)})
	s.add("2026-01-06 08:00", "o1", &employersv1.PostFilled{Terms: terms("agri", 2, 1)})
	s.add("2026-01-06 08:00", "o1", &employersv1.PostFilled{Terms: terms("agri", 2, 1), DecisionId: "d1", Attributed: true})
	columns, _ := columnsOf(t, s.events)
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]string{"posts_filled": "all = 1", "posts_open": "all = 1", "offers_open": "all = 1"} {
		d, _ := defs.Get(code)
		cells, err := columns.View().Cells(d, Query{Grain: All, Today: "2026-04-15"})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(lines(cells), "; "); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
}

func TestAgeGroups(t *testing.T) {
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for year, want := range map[int32]string{
		0: "", 1800: "", 2030: "", 2012: "0-14", 2011: "15-24", 2002: "15-24", 2001: "25-29", 1997: "25-29",
		1996: "30-35", 1991: "30-35", 1990: "36+", 1950: "36+",
	} {
		if got := ageGroup(at, year); got != want {
			t.Errorf("born %d: %q, want %q", year, got, want)
		}
	}
}

// FuzzFold takes any message: it becomes a fact that can be stored, read back and
// counted, or a permanent error (dead letter), and never a panic.
func FuzzFold(f *testing.F) {
	for _, e := range year(f).events {
		m := runtimetest.Message(f.Context(), topicOf(e), e)
		var headers []string
		for _, h := range m.Headers {
			headers = append(headers, h.Key+"="+string(h.Value))
		}
		f.Add(strings.Join(headers, "\n"), m.Value)
	}
	f.Add("content-type=application/cloudevents+json", []byte(`{"specversion":"1.0","id":"1","source":"/x","type":"masar.candidates.v1.PathwayOpened","subject":"s","time":"2026-01-01T00:00:00Z","data":{"candidateId":"c"}}`))
	f.Add("ce_specversion=1.0\nce_id=1\nce_source=/x\nce_type=masar.candidates.v1.Profile\nce_subject=s\nce_time=9999-12-31T23:59:59Z", []byte(`{}`))
	defs, err := Embedded()
	if err != nil {
		f.Fatal(err)
	}
	dims := Dimensions()
	f.Fuzz(func(t *testing.T, headers string, value []byte) {
		m := bus.Message{Topic: event.TopicCandidates, Value: value}
		for line := range strings.SplitSeq(headers, "\n") {
			key, v, _ := strings.Cut(line, "=")
			m.Headers = append(m.Headers, bus.Header{Key: key, Value: []byte(v)})
		}
		e, err := decode(t.Context(), m)
		if err != nil {
			if !bus.IsPermanent(err) {
				t.Fatalf("an error of decoding is not permanent: %v", err)
			}
			return
		}
		fact, err := NewFact(e, reference.Schemes())
		if err != nil {
			if !errors.Is(err, ErrNotAFact) || !bus.IsPermanent(verdict(err)) {
				t.Fatalf("not permanent: %v", err)
			}
			return
		}
		body, err := bson.Marshal(fact)
		if err != nil {
			t.Fatalf("the fact cannot be stored: %v", err)
		}
		var read Fact
		if err := bson.Unmarshal(body, &read); err != nil {
			t.Fatal(err)
		}
		read = complete(read, fact.ID)
		columns := NewColumns(dims, defs)
		columns.Add(read)
		for _, d := range defs {
			if !slices.Contains(d.Kinds(), fact.Kind) {
				continue // as if it were not there
			}
			for _, q := range Checks(d, "2026-01-01", "") {
				cells, err := columns.View().Cells(d, q)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range cells {
					if c.Value < 0 || !utf8.ValidString(strings.Join(c.Codes, "")) {
						t.Fatalf("%s: %+v", d.Code, c)
					}
				}
				if q.Grain == All {
					if diff := Compare(d, q, cells, Recount(d, dims, func(yield func(Fact) bool) { yield(fact) }, q)); len(diff) > 0 {
						t.Fatalf("stored and read back it counts otherwise: %v", diff)
					}
				}
			}
		}
	})
}
