package employers

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"masar.local/pkg/access"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	employersv1 "masar.local/proto/masar/employers/v1"
)

// day is the clock of the tests.
var day = time.Date(2026, 3, 10, 9, 0, 0, 0, time.UTC)

func clock() time.Time { return day }

func protoJSON(o *Offer) ([]byte, error) { return protojson.Marshal(o.Terms()) }

// openStore opens a real store in a directory of the test.
func openStore(t testing.TB) docstore.Engine {
	t.Helper()
	e, err := docstore.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "employers.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// newService is the service on a real store.
func newService(t testing.TB, now func() time.Time) *service {
	t.Helper()
	return newServiceOn(t, openStore(t), now)
}

// newServiceOn is the service on this store.
func newServiceOn(t testing.TB, e docstore.Engine, now func() time.Time) *service {
	t.Helper()
	s, err := NewService(t.Context(), e, slog.New(slog.DiscardHandler), now)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*service)
}

// officer is a context in which an officer asks.
func officer(t testing.TB) context.Context {
	return access.With(t.Context(), access.Principal{Subject: "officer-1", Role: access.Officer})
}

// register makes an employer known and returns its id.
func register(t testing.TB, s Service, name, siret string) string {
	t.Helper()
	e, err := s.Register(officer(t), RegisterRequest{EmployerRecord{LegalName: name, SIRET: siret}})
	if err != nil {
		t.Fatal(err)
	}
	return e.ID
}

// post opens an offer and returns its id.
func post(t testing.TB, s Service, change func(*OfferRecord)) string {
	t.Helper()
	r := OfferRecord{Title: "Cueillette de pommes", ROME: "A1401", Contract: "SAI", ContractMonths: 4, Posts: 1, Commune: "13004"}
	if change != nil {
		change(&r)
	}
	o, err := s.Post(officer(t), PostRequest{r})
	if err != nil {
		t.Fatal(err)
	}
	return o.ID
}

// importAll imports rows in requests of at most maxRows and counts the outcomes.
func importAll(t testing.TB, s Service, rows []json.RawMessage) map[string]int {
	t.Helper()
	count := map[string]int{}
	for len(rows) > 0 {
		n := min(len(rows), maxRows)
		res, err := s.Import(officer(t), ImportRequest{Rows: rows[:n]})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range res.Rows {
			if r.Index != i || r.Outcome == OutcomeRefused && len(r.Fields) == 0 {
				t.Fatalf("row %d is answered by %+v", i, r)
			}
			count[r.Outcome]++
		}
		rows = rows[n:]
	}
	return count
}

// state is every offer as stored, as text by id, and how many events there were.
func state(t testing.TB, s *service) (offers map[string]string, events int64) {
	t.Helper()
	offers = map[string]string{}
	for d, err := range s.offers.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(d.Body)
		if err != nil {
			t.Fatal(err)
		}
		offers[d.ID] = fmt.Sprintf("v%d %s", d.Version, text)
		events += d.Seq
	}
	return offers, events
}

// offer reads an offer as stored.
func offer(t testing.TB, s *service, id string) *docstore.Doc[Offer] {
	t.Helper()
	d, err := s.offers.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// told is what others have heard of an offer: each event with the posts filled,
// and the decision of a filled post.
func told(t testing.TB, e docstore.Engine, id string) string {
	t.Helper()
	pending, err := e.Pending(t.Context(), offerCollection, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range pending {
		if p.ID != id {
			continue
		}
		for _, x := range p.Events {
			var headers []bus.Header
			for _, h := range x.Headers {
				headers = append(headers, bus.Header{Key: h.Key, Value: []byte(h.Value)})
			}
			ev, err := event.Decode(bus.Message{Topic: x.Topic, Key: []byte(x.Key), Value: x.Value, Headers: headers})
			if err != nil {
				t.Fatal(err)
			}
			line := fmt.Sprintf("%s %d", ev.Data.ProtoReflect().Descriptor().Name(), ev.Data.(interface{ GetTerms() *employersv1.Terms }).GetTerms().GetPostsFilled())
			if f, ok := ev.Data.(*employersv1.PostFilled); ok && f.DecisionId != "" {
				line += " " + f.DecisionId
				if f.Attributed {
					line += " attributed"
				}
			}
			all = append(all, line)
		}
	}
	return strings.Join(all, ", ")
}
