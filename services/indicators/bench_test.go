package indicators

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.mongodb.org/mongo-driver/v2/bson"
	_ "modernc.org/sqlite" // the driver below docstore

	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/embedded"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	"masar.local/pkg/runtime/runtimetest"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// benchEvents is how many events one round folds.
const benchEvents = 20_000

// BenchmarkFold measures the durable fold rate: events on a topic -> facts in the
// store, offsets committed. Beside the service it runs, on the same broker, disk
// and events, the bare loop of DESIGN §6 (kafka-go read + bare store write, one
// after the other) and, harder, the same loop that writes a hundred at a time in
// one transaction. Run it with -benchtime 1x.
func BenchmarkFold(b *testing.B) {
	broker, err := embedded.Start(b.Context(), embedded.Config{Dir: b.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = broker.Close() })
	client, err := bus.New(bus.Config{Brokers: []string{broker.Addr()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	fillTopics(b, client)

	rates := map[string]float64{}
	for _, way := range []struct {
		name string
		fold func(b *testing.B, client *bus.Client, addr string, round int)
	}{
		{"bare", foldBare(1)},
		{"bare_batch_100", foldBare(100)},
		{"service", foldService},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.StopTimer()
			b.ResetTimer()
			for i := range b.N {
				way.fold(b, client, broker.Addr(), i)
			}
			rate := float64(b.N*benchEvents) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "events/s")
			rates[way.name] = rate
		})
	}
	if rates["bare"] > 0 && rates["service"] > 0 {
		fmt.Printf("fold: service %.0f events/s, bare %.0f events/s (ratio %.2f, bar 0.5), bare in batches of 100 %.0f events/s (ratio %.2f)\n",
			rates["service"], rates["bare"], rates["service"]/rates["bare"], rates["bare_batch_100"], rates["service"]/rates["bare_batch_100"])
	}
}

// fillTopics publishes the events: five to a pathway.
func fillTopics(b *testing.B, client *bus.Client) {
	var list []bus.Topic
	for _, name := range topics() {
		list = append(list, bus.Topic{Name: name})
	}
	if err := client.EnsureTopics(b.Context(), list...); err != nil {
		b.Fatal(err)
	}
	var messages []bus.Message
	start := time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)
	stages := []string{"P02", "P04", "P05", "P07", "P08", "P09"}
	for i := range benchEvents {
		at := start.Add(time.Duration(i) * time.Minute)
		e := event.New("/candidates", fmt.Sprintf("01JPATHWAY%016d", i/5), at, at.Add(time.Second), &candidatesv1.StageEntered{
			CandidateId: fmt.Sprintf("01JCANDIDATE%014d", i/10), Scheme: "agri", SchemeVersion: "1", From: stages[i%5], To: stages[i%5+1],
			FromEnteredAt: at.Add(-50 * time.Hour).Format(time.RFC3339), Actor: "counsellor",
			Person: &candidatesv1.Person{Sex: "F", Governorate: "TN-71", BirthYear: 1998},
		})
		e.Seq = int64(i%5 + 1)
		messages = append(messages, runtimetest.Message(b.Context(), topicOf(e), e))
	}
	if err := client.Publish(b.Context(), messages...); err != nil {
		b.Fatal(err)
	}
}

// foldService folds with what the service folds with.
func foldService(b *testing.B, client *bus.Client, _ string, round int) {
	b.StopTimer()
	engine, err := docstore.Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "facts.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	defs, err := Embedded()
	if err != nil {
		b.Fatal(err)
	}
	columns := NewColumns(Dimensions(), defs)
	store := newFactStore(engine, columns, time.Now, slog.New(slog.DiscardHandler))
	if err := store.docs.Ensure(b.Context()); err != nil {
		b.Fatal(err)
	}
	s := &service{defs: defs, schemes: reference.Schemes(), facts: store, columns: columns, now: time.Now, log: store.log}
	ctx, cancel := context.WithCancel(b.Context())
	go func() { _ = store.run(ctx) }()
	<-store.loaded
	k := consumer(NewEndpoints(s))
	k.Group = fmt.Sprintf("service-%d-%d", b.N, round)
	handle := k.Handle
	var done atomic.Int64
	var first sync.Once
	k.Handle = func(ctx context.Context, m bus.Message) error {
		first.Do(b.StartTimer) // joining the group is no part of the rate
		err := handle(ctx, m)
		if err == nil && done.Add(1) == benchEvents {
			cancel() // the rest is the clean stop with its last commit
		}
		return err
	}
	if err := client.Consume(ctx, k); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if columns.Len() != benchEvents {
		b.Fatalf("%d facts", columns.Len())
	}
}

// foldBare is the loop that anybody would write: read, write, commit.
func foldBare(batch int) func(*testing.B, *bus.Client, string, int) {
	return func(b *testing.B, _ *bus.Client, addr string, round int) {
		b.StopTimer()
		// As durable as the service: WAL, synced at every commit.
		db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		db.SetMaxOpenConns(1)
		if _, err := db.ExecContext(b.Context(), "CREATE TABLE facts (id TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID"); err != nil {
			b.Fatal(err)
		}
		reader := kafka.NewReader(kafka.ReaderConfig{
			Brokers: []string{addr}, GroupID: fmt.Sprintf("bare-%d-%d-%d", batch, b.N, round), GroupTopics: topics(),
			StartOffset: kafka.FirstOffset, MaxBytes: 10 << 20,
		})
		defer reader.Close()
		var first sync.Once
		for done := 0; done < benchEvents; {
			tx, err := db.BeginTx(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			var read []kafka.Message
			for range min(batch, benchEvents-done) {
				m, err := reader.FetchMessage(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				first.Do(b.StartTimer) // joining the group is no part of the rate
				id := ""
				for _, h := range m.Headers {
					if h.Key == "ce_id" {
						id = string(h.Value)
					}
				}
				body, err := bson.Marshal(bson.D{{Key: "key", Value: m.Key}, {Key: "value", Value: m.Value}})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := tx.ExecContext(b.Context(), "INSERT INTO facts VALUES (?, ?)", id, body); err != nil {
					b.Fatal(err)
				}
				read = append(read, m)
			}
			if err := tx.Commit(); err != nil {
				b.Fatal(err)
			}
			done += len(read)
			if done%1000 == 0 { // commits in batches, as DESIGN §5 says
				if err := reader.CommitMessages(b.Context(), read...); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.StopTimer()
	}
}

// benchFacts is a programme of so many pathways, with six facts for each, two
// years long.
func benchFacts(pathways int) []Fact {
	start := time.Date(2024, 1, 1, 9, 0, 0, 0, time.UTC)
	var governorates []string
	for _, g := range reference.Governorates() {
		governorates = append(governorates, g.Code)
	}
	stages := []string{"P02", "P04", "P05", "P07", "P08", "P16"}
	var facts []Fact
	for i := range pathways {
		at := start.Add(time.Duration(i%500) * 24 * time.Hour)
		codes := Codes{
			Scheme: []string{"agri", "soin"}[i%2], Sector: []string{"agriculture", "soin"}[i%2], SchemeVersion: "1",
			Governorate: governorates[i%24], Sex: []string{"F", "M", "M"}[i%3], Age: ageGroups()[i%5], Placement: "no",
		}
		f := Fact{
			ID: fmt.Sprintf("%020d0", i), Kind: PathwayOpened, Subject: fmt.Sprintf("w%d", i), Person: fmt.Sprintf("p%d", i*9/10),
			Seq: 1, OccurredAt: at, RecordedAt: at, Codes: codes,
		}
		f.Codes.Stage = stages[0]
		facts = append(facts, f)
		for n := 1; n < len(stages); n++ {
			stay := int64(i%40+1) * 86400
			f.ID, f.Kind, f.Seq, f.Stay = fmt.Sprintf("%020d%d", i, n), StageEntered, int64(n+1), &stay
			f.OccurredAt = f.OccurredAt.Add(time.Duration(stay) * time.Second)
			f.Codes.FromStage, f.Codes.Stage = stages[n-1], stages[n]
			if stages[n] == "P16" {
				f.Codes.Placement = "yes"
			}
			facts = append(facts, f)
		}
	}
	return facts
}

// BenchmarkValues measures questions to 600,000 facts of 100,000 pathways.
func BenchmarkValues(b *testing.B) {
	defs, err := Embedded()
	if err != nil {
		b.Fatal(err)
	}
	columns := NewColumns(Dimensions(), defs)
	for _, f := range benchFacts(100_000) {
		columns.Add(f)
	}
	view := columns.View()
	for _, q := range []struct {
		code  string
		query Query
	}{
		{"people_followed", Query{Grain: All}},
		{"people_followed", Query{Grain: Month, By: []string{"governorate"}}},
		{"people_by_stage", Query{Grain: All, By: []string{"stage"}}},
		{"people_by_stage", Query{Grain: Month, By: []string{"stage", "governorate"}}},
		{"stage_days", Query{Grain: Month, By: []string{"stage", "scheme"}}},
	} {
		d, _ := defs.Get(q.code)
		q.query.Today = "2026-04-15"
		b.Run(fmt.Sprintf("%s_%s_%v", q.code, q.query.Grain, q.query.By), func(b *testing.B) {
			for range b.N {
				if _, err := view.Cells(d, q.query); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("every_gauge", func(b *testing.B) {
		s := &service{defs: defs, dims: Dimensions(), columns: columns, facts: &factStore{}, smallCell: 5, now: time.Now}
		s.facts.ready.Store(true)
		for range b.N {
			p := &publisher{service: s}
			for _, d := range defs {
				for _, by := range append([][]string{nil}, d.Gauges...) {
					p.gauges = append(p.gauges, gauge{definition: d, by: by})
				}
			}
			if _, err := p.now(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkVerify recounts 60,000 facts in every way.
func BenchmarkVerify(b *testing.B) {
	defs, err := Embedded()
	if err != nil {
		b.Fatal(err)
	}
	columns, stored := NewColumns(Dimensions(), defs), newLedger()
	for _, f := range benchFacts(10_000) {
		columns.Add(f)
		stored.add(f)
	}
	for range b.N {
		v, err := verify(b.Context(), defs, Dimensions(), stored, "2026-04-15", columns.View())
		if err != nil || !v.Clean {
			b.Fatalf("%+v, %v", v, err)
		}
	}
}
