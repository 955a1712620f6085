package docstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"pgregory.net/rapid"

	"masar.local/pkg/docstore/storetest"
	"masar.local/pkg/telemetry"
)

type account struct {
	N     int    `bson:"n"`
	Email string `bson:"email,omitempty"`
	Group string `bson:"group,omitempty"`
	Any   any    `bson:"any,omitempty"`
}

var accounts = Schema{Collection: "accounts", Indexes: []Index{
	{Name: "email", Fields: []Field{{Path: "email"}}, Unique: true},
	{Name: "group", Fields: []Field{{Path: "group"}, {Path: "n", Kind: Int}}},
	{Name: "any", Fields: []Field{{Path: "any"}}},
}}

func open(t testing.TB, uri string, opts ...Option) *Collection[account] {
	t.Helper()
	e, err := Open(t.Context(), uri, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	c := NewCollection[account](e, accounts)
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func event(d *Doc[account]) Event {
	return Event{ID: fmt.Sprintf("%s-%d", d.ID, d.Seq+1), Topic: "t", Key: d.ID, Value: []byte("{}"), RecordedAt: time.Now()}
}

// The test that a server with lost updates does not pass: 8 writers, each 50
// increments of one document. "apart" gives each writer a connection of its own,
// as replicas have, so that nothing but the version in the write keeps them
// apart.
func TestConcurrentIncrements(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		for _, apart := range []bool{false, true} {
			t.Run(fmt.Sprintf("apart=%v", apart), func(t *testing.T) {
				shared := open(t, uri)
				id := fmt.Sprintf("counter-%v", apart)
				if err := shared.Insert(t.Context(), &Doc[account]{ID: id}); err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				for range 8 {
					c := shared
					if apart {
						c = open(t, uri)
					}
					wg.Go(func() {
						for range 50 {
							_, err := c.Update(t.Context(), id, func(d *Doc[account]) error { d.Body.N++; return nil })
							if err != nil {
								t.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				d, err := shared.Get(t.Context(), id)
				if err != nil || d.Body.N != 400 || d.Version != 401 {
					t.Fatalf("%+v, %v; want 400 increments", d, err)
				}
			})
		}
	})
}

// Replicas that change the same documents at once: no event is lost, doubled or
// out of order in the outboxes.
func TestConcurrentEvents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		const writers, writes, docs = 6, 20, 3
		var wg sync.WaitGroup
		for range writers {
			c := open(t, uri)
			wg.Go(func() {
				for i := range writes {
					_, err := c.Upsert(t.Context(), fmt.Sprintf("doc-%d", i%docs), func(d *Doc[account]) error {
						for range 1 + i%2 {
							d.Emit(event(d))
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		c := open(t, uri)
		var all int64
		for d, err := range c.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			checkOutbox(t, c.e, d.ID, d.Seq)
			all += d.Seq
		}
		if all != writers*writes*3/2 {
			t.Errorf("%d events", all)
		}
	})
}

// checkOutbox checks that the events 1 ... n of a document wait, in this order.
func checkOutbox(t *testing.T, e Engine, id string, n int64) {
	t.Helper()
	ps, err := e.Pending(t.Context(), accounts.Collection, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var seq int64
	for _, p := range ps {
		if p.ID != id {
			continue
		}
		for _, ev := range p.Events {
			if seq++; ev.Seq != seq || ev.ID != fmt.Sprintf("%s-%d", id, seq) {
				t.Fatalf("outbox of %s: %d at place %d", id, ev.Seq, seq)
			}
		}
	}
	if seq != n {
		t.Fatalf("outbox of %s: %d of %d events", id, seq, n)
	}
}

// Upserts of one new document from everywhere: one inserts, the others update.
func TestConcurrentUpserts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		var wg sync.WaitGroup
		for range 6 {
			c := open(t, uri)
			wg.Go(func() {
				for i := range 10 {
					_, err := c.Upsert(t.Context(), fmt.Sprintf("new-%d", i), func(d *Doc[account]) error {
						d.Body.N++
						d.Body.Email = fmt.Sprintf("%d@example.org", i)
						d.Emit(event(d))
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		c := open(t, uri)
		for i := range 10 {
			id := fmt.Sprintf("new-%d", i)
			d, err := c.Get(t.Context(), id)
			if err != nil || d.Body.N != 6 || d.Version != 6 {
				t.Fatalf("%+v, %v", d, err)
			}
			checkOutbox(t, c.e, id, 6)
		}
	})
}

// Many writers want the same values of a unique index: each goes to one, and
// nobody's refusal undoes what another wrote in the same transaction.
func TestConcurrentUniqueValues(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		const writers, values = 8, 25
		won := make([][]string, writers)
		var wg sync.WaitGroup
		for w := range writers {
			c := open(t, uri)
			wg.Go(func() {
				for _, v := range rand.Perm(values) {
					id := fmt.Sprintf("w%d-%d", w, v)
					d := &Doc[account]{ID: id, Body: account{Email: fmt.Sprintf("%d@example.org", v), Group: "g"}}
					d.Emit(event(d))
					switch err := c.Insert(t.Context(), d); {
					case err == nil:
						won[w] = append(won[w], id)
					case !errors.Is(err, ErrExists):
						t.Error(err)
					default:
						var by *Taken
						if !errors.As(err, &by) || by.Index != "email" || by.Collection != "accounts" || strings.Contains(err.Error(), "example.org") {
							t.Errorf("%v: %#v", err, by)
						}
					}
				}
			})
		}
		wg.Wait()
		c := open(t, uri)
		all := slices.Concat(won...)
		slices.Sort(all)
		var got []string
		for d, err := range c.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, d.ID)
			checkOutbox(t, c.e, d.ID, 1)
		}
		if len(all) != values || !slices.Equal(all, got) {
			t.Fatalf("%d winners of %d values, %d documents", len(all), values, len(got))
		}
		found, _, err := c.Find(t.Context(), Query{Index: "group", Eq: []any{"g"}, Limit: 1000})
		if err != nil || len(found) != values {
			t.Fatalf("%d in the other index: %v", len(found), err)
		}
	})
}

func TestTakenNamesTheIndex(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		c := open(t, uri)
		for id, email := range map[string]string{"a": "a@example.org", "b": "b@example.org"} {
			if err := c.Insert(t.Context(), &Doc[account]{ID: id, Body: account{Email: email}}); err != nil {
				t.Fatal(err)
			}
		}
		var by *Taken
		if err := c.Insert(t.Context(), &Doc[account]{ID: "a"}); !errors.As(err, &by) || by.Index != "" {
			t.Errorf("%v: %#v", err, by)
		}
		_, err := c.Update(t.Context(), "a", func(d *Doc[account]) error { d.Body.Email = "b@example.org"; return nil })
		if !errors.As(err, &by) || by.Index != "email" {
			t.Errorf("%v: %#v", err, by)
		}
		// An email that was given up is free.
		for _, step := range []struct{ id, email string }{{"a", ""}, {"b", "a@example.org"}, {"a", "b@example.org"}} {
			if _, err := c.Update(t.Context(), step.id, func(d *Doc[account]) error { d.Body.Email = step.email; return nil }); err != nil {
				t.Fatalf("%+v: %v", step, err)
			}
		}
	})
}

// fillTime bounds the filling on an engine too slow to write 100,000 documents.
const fillTime = 25 * time.Second

// A look-up by index costs in a large collection what it costs in a small one.
// FerretDB took 0.1 s at 1,000 documents.
func TestLookUpsDoNotGrow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		small, large := 1_000, 100_000
		e, err := Open(t.Context(), uri)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		fill := func(name string, n int) (int, func()) {
			s := accounts
			s.Collection = name
			c := NewCollection[account](e, s)
			if err := c.Ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			var rs []Record
			start := time.Now()
			for i := range n {
				if i%1000 == 0 && i >= 20*small && time.Since(start) > fillTime {
					t.Logf("the engine took %s to write %d documents: no more are tried", time.Since(start).Round(time.Second), i)
					n = i
					break
				}
				body, err := encode(account{N: i, Email: fmt.Sprintf("%d@example.org", i), Group: fmt.Sprint("g", i/10)})
				if err != nil {
					t.Fatal(err)
				}
				if rs = append(rs, Record{ID: fmt.Sprintf("%08d", i), Version: 1, Body: body}); len(rs) == 1000 {
					if err := e.File(t.Context(), name, rs); err != nil {
						t.Fatal(err)
					}
					rs = rs[:0]
				}
			}
			return n, func() {
				i := rand.IntN(n)
				docs, _, err := c.Find(t.Context(), Query{Index: "email", Eq: []any{fmt.Sprintf("%d@example.org", i)}})
				if err != nil || len(docs) != 1 || docs[0].Body.N != i {
					t.Fatalf("look-up of %d: %v, %v", i, docs, err)
				}
				docs, _, err = c.Find(t.Context(), Query{Index: "group", Eq: []any{fmt.Sprint("g", i/10)}, From: i, Limit: 1})
				if err != nil || len(docs) != 1 || docs[0].Body.N != i {
					t.Fatalf("range from %d: %v, %v", i, docs, err)
				}
			}
		}
		_, inFew := fill("few", small)
		large, inMany := fill("many", large)
		lookUps := []func(){inFew, inMany}
		// In turns, so that whatever else the machine does hits both; medians, so
		// that it hardly counts.
		times := make([][]time.Duration, 2)
		for range 600 {
			for i, lookUp := range lookUps {
				start := time.Now()
				lookUp()
				times[i] = append(times[i], time.Since(start))
			}
		}
		median := func(d []time.Duration) time.Duration { slices.Sort(d); return d[len(d)/2] }
		few, many := median(times[0]), median(times[1])
		t.Logf("median of two look-ups: %s at %d documents, %s at %d", few, small, many, large)
		if many > 3*few {
			t.Errorf("look-ups cost %s at %d documents and %s at %d: more than 3 times as much", few, small, many, large)
		}
	})
}

func TestACancelledWriteDidNotHappen(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		c := open(t, uri)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errNo)
		err := c.Insert(ctx, &Doc[account]{ID: "a"})
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrNothingWritten) || !errors.Is(err, errNo) {
			t.Errorf("%v", err)
		}
		if _, err := c.Get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
		if _, err := c.Get(ctx, "a"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%v", err)
		}
	})
}

// Under cancellations at any moment, what returned nil is there, and what says
// that nothing was written is not.
func TestCancellationsTellTheTruth(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		c := open(t, uri)
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(4*time.Millisecond))
					id := fmt.Sprintf("%d-%d", w, i)
					err := c.Insert(ctx, &Doc[account]{ID: id})
					cancel()
					_, got := c.Get(t.Context(), id)
					switch {
					case err == nil && got != nil:
						t.Errorf("%s was acknowledged: %v", id, got)
					case errors.Is(err, ErrNothingWritten) && !errors.Is(got, ErrNotFound):
						t.Errorf("%s was not written: %v", id, got)
					case err != nil && !errors.Is(err, ErrUnavailable):
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestMistakesOfTheProgram(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		c := open(t, uri)
		ctx := t.Context()
		undeclared := NewCollection[account](c.e, Schema{Collection: "nowhere"})
		ghost := &Doc[account]{ID: "x"}
		ghost.Emit(Event{Topic: "t"})
		large := &Doc[account]{ID: "x"}
		large.Emit(Event{ID: "e", Topic: "t", Value: make([]byte, MaxEvent+1)})
		find := func(q Query) error { _, _, err := c.Find(ctx, q); return err }
		for what, err := range map[string]error{
			"collection not declared":  undeclared.Insert(ctx, &Doc[account]{ID: "x"}),
			"find in it":               func() error { _, _, err := undeclared.Find(ctx, Query{}); return err }(),
			"no id":                    c.Insert(ctx, &Doc[account]{}),
			"a long id":                c.Insert(ctx, &Doc[account]{ID: strings.Repeat("x", MaxID+1)}),
			"a version":                c.Insert(ctx, &Doc[account]{ID: "x", Version: 1}),
			"another kind":             c.Insert(ctx, &Doc[account]{ID: "x", Body: account{Any: 1}}),
			"an array in an array":     c.Insert(ctx, &Doc[account]{ID: "x", Body: account{Any: [][]string{{"a"}}}}),
			"an array in the middle":   NewCollection[bson.M](c.e, accounts).Insert(ctx, &Doc[bson.M]{ID: "x", Body: bson.M{"group": []string{"a", "b"}}}),
			"one of one element":       NewCollection[bson.M](c.e, accounts).Insert(ctx, &Doc[bson.M]{ID: "x", Body: bson.M{"group": []string{"a"}}}),
			"an empty unique element":  NewCollection[bson.M](c.e, accounts).Insert(ctx, &Doc[bson.M]{ID: "x", Body: bson.M{"email": []string{"", "a"}}}),
			"a large body":             c.Insert(ctx, &Doc[account]{ID: "x", Body: account{Group: strings.Repeat("x", MaxBody)}}),
			"an event without id":      c.Insert(ctx, ghost),
			"a large event":            c.Insert(ctx, large),
			"index not declared":       find(Query{Index: "nope"}),
			"too many values":          find(Query{Index: "email", Eq: []any{"a", "b"}}),
			"value of another kind":    find(Query{Index: "email", Eq: []any{1}}),
			"bound of another kind":    find(Query{Index: "group", Eq: []any{"g"}, From: "x"}),
			"range after the last":     find(Query{Index: "email", Eq: []any{"a"}, From: "x"}),
			"prefix and range":         find(Query{Index: "email", Prefix: "a", From: "x"}),
			"prefix of a number":       find(Query{Index: "group", Eq: []any{"g"}, Prefix: "1"}),
			"negative limit":           find(Query{Index: "email", Limit: -1}),
			"collection name":          c.e.Ensure(ctx, Schema{Collection: "a b"}),
			"index name":               c.e.Ensure(ctx, Schema{Collection: "a", Indexes: []Index{{Name: "", Fields: []Field{{Path: "x"}}}}}),
			"index twice":              c.e.Ensure(ctx, Schema{Collection: "a", Indexes: []Index{accounts.Indexes[0], accounts.Indexes[0]}}),
			"index without fields":     c.e.Ensure(ctx, Schema{Collection: "a", Indexes: []Index{{Name: "x"}}}),
			"a path with a hole":       c.e.Ensure(ctx, Schema{Collection: "a", Indexes: []Index{{Name: "x", Fields: []Field{{Path: "a..b"}}}}}),
			"a lease with a bad name":  Hold(ctx, c.e, "a/b", "h", time.Second, nil),
			"a lease without duration": Hold(ctx, c.e, "a", "h", 0, nil),
		} {
			if err == nil {
				t.Errorf("%s: no error", what)
			}
			for _, known := range []error{ErrNotFound, ErrExists, ErrStale, ErrUnavailable, ErrInvalidCursor} {
				if errors.Is(err, known) {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
		if n, err := c.Count(ctx); n != 0 || err != nil {
			t.Errorf("%d documents were written by mistake: %v", n, err)
		}
		for _, cursor := range []string{"garbage!", "Z2FyYmFnZQ", "AAAA"} {
			if err := find(Query{Index: "email", After: cursor}); !errors.Is(err, ErrInvalidCursor) {
				t.Errorf("cursor %q: %v", cursor, err)
			}
		}
		if _, err := c.Update(ctx, "absent", nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

// A unique index that the documents do not allow is refused, and what was there
// before still works.
func TestEnsureRefusesWhatIsNotUnique(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		c := open(t, uri)
		for _, id := range []string{"a", "b"} {
			if err := c.Insert(t.Context(), &Doc[account]{ID: id, Body: account{Group: "same"}}); err != nil {
				t.Fatal(err)
			}
		}
		s := accounts
		s.Indexes = append(slices.Clone(s.Indexes), Index{Name: "only", Fields: []Field{{Path: "group"}}, Unique: true})
		if err := c.e.Ensure(t.Context(), s); !errors.Is(err, ErrExists) {
			t.Fatalf("%v", err)
		}
		if err := c.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		if docs, _, err := c.Find(t.Context(), Query{Index: "group", Eq: []any{"same"}}); len(docs) != 2 || err != nil {
			t.Fatalf("%v %v", docs, err)
		}
		if err := c.Insert(t.Context(), &Doc[account]{ID: "c", Body: account{Group: "same"}}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestClosed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e, err := Open(t.Context(), uri)
		if err != nil {
			t.Fatal(err)
		}
		c := NewCollection[account](e, accounts)
		if err := c.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.Insert(t.Context(), &Doc[account]{ID: "x"}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%v", err)
		}
		if _, err := c.Get(t.Context(), "x"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%v", err)
		}
		if err := e.Ping(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%v", err)
		}
	})
}

func TestAddresses(t *testing.T) {
	for _, uri := range []string{"", "sqlite:", "sqlite:x?mode=ro", "mongodb://127.0.0.1:1", "mongodb://user:secret@%zz/x", "postgres://user:secret@host/x"} {
		if e, err := Open(t.Context(), uri); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v", uri, e, err)
		}
	}
	_, err := Open(t.Context(), "mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=50")
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

func TestOnlyTheOwnerReads(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "é #1", "deep", "store%41.db")
	if _, err := Open(t.Context(), "sqlite:"+path); err == nil {
		t.Error("a path that SQLite would cut at # was accepted")
	}
	path = filepath.Join(dir, "é 1", "deep", "store%41.db")
	c := open(t, "sqlite:"+path)
	if err := c.Insert(t.Context(), &Doc[account]{ID: "x"}); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Join(dir, "é 1"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestANewerFormatIsRefused(t *testing.T) {
	uri := storetest.SQLite(t)
	e, err := openSQLite(t.Context(), strings.TrimPrefix(uri, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.write.do(t.Context(), func(t *tx) error { return t.script("PRAGMA user_version = 99") }); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), uri); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("%v", err)
	}
}

// A failure of the database in one write of a group stays that write's own.
func TestAFailureInAGroupStaysItsOwn(t *testing.T) {
	e, err := openSQLite(t.Context(), strings.TrimPrefix(storetest.SQLite(t), "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := NewCollection[account](e, accounts)
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				id := fmt.Sprintf("%d-%d", w, i)
				if w%4 == 0 {
					err := e.write.do(t.Context(), func(t *tx) error {
						_, _, err := t.exec(`INSERT INTO accounts (id) VALUES (?)`, id) // breaks NOT NULL
						return err
					})
					if !errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrNothingWritten) {
						t.Errorf("%s: %v", id, err)
					}
				} else if err := c.Insert(t.Context(), &Doc[account]{ID: id}); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
	wg.Wait()
	if n, err := c.Count(t.Context()); n != 6*20 || err != nil {
		t.Errorf("%d documents: %v", n, err)
	}
}

func TestOperationsAreTimed(t *testing.T) {
	reader := metric.NewManualReader()
	meter := metric.NewMeterProvider(metric.WithReader(reader)).Meter("test")
	c := open(t, storetest.SQLite(t), WithMeter(meter))
	if err := c.Insert(t.Context(), &Doc[account]{ID: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "absent"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, m := range all.ScopeMetrics[0].Metrics {
		for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
			op, _ := p.Attributes.Value(telemetry.DBOperation)
			kind, _ := p.Attributes.Value(telemetry.ErrorType)
			got[m.Name+" "+op.AsString()+" "+kind.AsString()] += p.Count
		}
	}
	if got[telemetry.DBDuration+" insert "] != 1 || got[telemetry.DBDuration+" get not_found"] != 1 {
		t.Errorf("%v", got)
	}
}

func TestSuccessorEndsAPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.StringN(1, 4, -1).Draw(t, "prefix")
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.String(), func(s string) string { return prefix + s })).Draw(t, "s")
		end := successor(prefix)
		if in := s >= prefix && (end == "" || s < end); in != strings.HasPrefix(s, prefix) {
			t.Fatalf("%q: in [%q, %q): %v", s, prefix, end, in)
		}
	})
}

// Whatever comes as a cursor is refused or is a place in the query.
func FuzzCursor(f *testing.F) {
	ixs := map[string]*compiled{}
	for _, ix := range thingIndexes {
		ixs[ix.Name] = compile(ix)
	}
	at := time.UnixMilli(5)
	for _, q := range []Query{
		{Index: "s"}, {Index: "s_n", Eq: []any{"a"}}, {Index: "b_t_s", Eq: []any{true}, From: at, Desc: true}, {Index: "k", Prefix: "a"},
	} {
		p, err := q.plan("things", ixs)
		if err != nil {
			f.Fatal(err)
		}
		full := []any{"ab", int64(1), "x"}
		if q.Index == "b_t_s" {
			full = []any{int64(1), int64(7), "x"}
		}
		f.Add(p.cursor(full[:len(p.index.Fields)], "id"))
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, cursor string) {
		for _, q := range []Query{
			{Index: "s"}, {Index: "s_n", Eq: []any{"a"}}, {Index: "b_t_s", Eq: []any{true}, From: at, Desc: true}, {Index: "k", Prefix: "a"},
		} {
			q.After = cursor
			p, err := q.plan("things", ixs)
			switch {
			case err != nil:
				if !errors.Is(err, ErrInvalidCursor) {
					t.Fatal(err)
				}
			case cursor != "" && (len(p.after) != len(p.index.Fields) || !p.matches(p.after) || p.afterID == ""):
				t.Fatalf("%q leads to %v", cursor, p.after)
			}
		}
	})
}
