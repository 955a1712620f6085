package docstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"masar.local/pkg/docstore/storetest"
)

// pathway is a body like those of the services, about 600 bytes.
type pathway struct {
	CandidateID string    `bson:"candidate_id"`
	Scheme      string    `bson:"scheme"`
	Stage       string    `bson:"stage"`
	Governorate string    `bson:"governorate"`
	OpenKey     string    `bson:"open_key"`
	OpenedAt    time.Time `bson:"opened_at"`
	UpdatedAt   time.Time `bson:"updated_at"`
	History     []move    `bson:"history"`
}

type move struct {
	Stage string    `bson:"stage"`
	At    time.Time `bson:"at"`
	By    string    `bson:"by"`
}

var pathways = Schema{Collection: "pathways", Indexes: []Index{
	{Name: "candidate", Fields: []Field{{Path: "candidate_id"}, {Path: "opened_at", Kind: Time}}},
	{Name: "open", Fields: []Field{{Path: "open_key"}}, Unique: true},
	{Name: "stage", Fields: []Field{{Path: "scheme"}, {Path: "stage"}, {Path: "updated_at", Kind: Time}}},
	{Name: "governorate", Fields: []Field{{Path: "governorate"}, {Path: "updated_at", Kind: Time}}},
}}

var stages = []string{"P02", "P04", "P05", "P07", "P08", "P10", "P13"}

func newPathway(id string, n int64) pathway {
	at := time.UnixMilli(1_700_000_000_000 + n*1000).UTC()
	p := pathway{
		CandidateID: id[len(id)-10:], Scheme: "agri", Stage: stages[n%7], Governorate: fmt.Sprintf("TN-%d", 11+n%24),
		OpenKey: "agri/" + id, OpenedAt: at, UpdatedAt: at,
	}
	for i := range 6 {
		p.History = append(p.History, move{Stage: stages[i], At: at, By: "counsellor-0123456789"})
	}
	return p
}

func pathwayEvent(id string) Event {
	return Event{
		ID: ulid.Make().String(), Topic: "masar.candidates.v1", Key: id, RecordedAt: time.Now(),
		Headers: []Header{
			{"ce_specversion", "1.0"},
			{"ce_id", id},
			{"ce_source", "/candidates"},
			{"ce_type", "masar.candidates.v1.StageEntered"},
			{"ce_time", "2026-01-01T00:00:00Z"},
			{"content-type", "application/json"},
		},
		Value: []byte(`{"pathwayId":"` + id + `","stage":"P04","scheme":"agri","governorate":"TN-71","occurredAt":"2026-01-01T00:00:00Z"}`),
	}
}

// bare does with the driver alone what a Collection does: the same document with
// its event in one row, the same indexes on columns, one statement and so one
// transaction for each write, the same pragmas.
type bare struct {
	insert, update, get *sql.Stmt
}

func openBare(b *testing.B) *bare {
	db, err := sql.Open("sqlite", sqliteDSN(strings.TrimPrefix(storetest.SQLite(b), "sqlite:")))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1) // SQLite has one writer; more only wait for each other
	for _, text := range []string{
		`CREATE TABLE pathways (id TEXT PRIMARY KEY, version INTEGER, seq INTEGER, body BLOB, outbox BLOB, pending INTEGER,
			candidate_id TEXT, opened_at INTEGER, open_key TEXT, scheme TEXT, stage TEXT, updated_at INTEGER, governorate TEXT)`,
		`CREATE INDEX candidate ON pathways (candidate_id, opened_at, id)`,
		`CREATE UNIQUE INDEX open ON pathways (open_key) WHERE open_key > ''`,
		`CREATE INDEX stage ON pathways (scheme, stage, updated_at, id)`,
		`CREATE INDEX governorate ON pathways (governorate, updated_at, id)`,
		`CREATE INDEX pending ON pathways (pending) WHERE pending IS NOT NULL`,
	} {
		if _, err := db.Exec(text); err != nil {
			b.Fatal(err)
		}
	}
	prepare := func(text string) *sql.Stmt {
		s, err := db.Prepare(text)
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	return &bare{
		insert: prepare(`INSERT INTO pathways VALUES (?, 1, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
		update: prepare(`UPDATE pathways SET version = version + 1, seq = seq + 1, body = ?, outbox = ?, pending = ?, stage = ?, updated_at = ? WHERE id = ? AND version = ?`),
		get:    prepare(`SELECT version, body FROM pathways WHERE id = ?`),
	}
}

func (w *bare) Insert(ctx context.Context, id string, n int64) error {
	p := newPathway(id, n)
	body, err := bson.Marshal(p)
	if err != nil {
		return err
	}
	event, err := bson.Marshal(pathwayEvent(id))
	if err != nil {
		return err
	}
	_, err = w.insert.ExecContext(ctx, id, body, event, time.Now().UnixMilli(), p.CandidateID, p.OpenedAt.UnixMilli(),
		p.OpenKey, p.Scheme, p.Stage, p.UpdatedAt.UnixMilli(), p.Governorate)
	return err
}

func (w *bare) Update(ctx context.Context, id string, n int64) error {
	var (
		version int64
		raw     []byte
		p       pathway
	)
	if err := w.get.QueryRowContext(ctx, id).Scan(&version, &raw); err != nil {
		return err
	}
	if err := bson.Unmarshal(raw, &p); err != nil {
		return err
	}
	p.Stage, p.UpdatedAt = stages[n%7], p.UpdatedAt.Add(time.Minute)
	body, err := bson.Marshal(p)
	if err != nil {
		return err
	}
	event, err := bson.Marshal(pathwayEvent(id))
	if err != nil {
		return err
	}
	_, err = w.update.ExecContext(ctx, body, event, time.Now().UnixMilli(), p.Stage, p.UpdatedAt.UnixMilli(), id, version)
	return err
}

type ours struct{ c *Collection[pathway] }

func openOurs(b *testing.B) *ours {
	e, err := Open(b.Context(), storetest.SQLite(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	c := NewCollection[pathway](e, pathways)
	if err := c.Ensure(b.Context()); err != nil {
		b.Fatal(err)
	}
	return &ours{c}
}

func (w *ours) Insert(ctx context.Context, id string, n int64) error {
	d := &Doc[pathway]{ID: id, Body: newPathway(id, n)}
	d.Emit(pathwayEvent(id))
	return w.c.Insert(ctx, d)
}

func (w *ours) Update(ctx context.Context, id string, n int64) error {
	_, err := w.c.Update(ctx, id, func(d *Doc[pathway]) error {
		d.Body.Stage, d.Body.UpdatedAt = stages[n%7], d.Body.UpdatedAt.Add(time.Minute)
		d.Emit(pathwayEvent(id))
		return nil
	})
	return err
}

type durable interface {
	Insert(ctx context.Context, id string, n int64) error
	Update(ctx context.Context, id string, n int64) error
}

// BenchmarkDurableWrites measures how many documents with one event each are
// safe on the disk per second, beside the bare driver in the same run: bare/s,
// masar/s and their ratio. Half as fast would do.
func BenchmarkDurableWrites(b *testing.B) {
	for _, op := range []string{"insert", "update"} {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", op, callers), func(b *testing.B) {
				stores := []durable{openBare(b), openOurs(b)}
				const rounds = 4 // in turns, so that what else the machine does hits both
				per := b.N/rounds + 1
				var ids [2][]string
				for s, store := range stores {
					for i := range per * rounds {
						ids[s] = append(ids[s], ulid.Make().String())
						if op == "update" && i < 2000 {
							if err := store.Insert(b.Context(), ids[s][i], int64(i)); err != nil {
								b.Fatal(err)
							}
						}
					}
					if op == "update" {
						ids[s] = ids[s][:min(len(ids[s]), 2000)]
					}
				}
				var took [2]time.Duration
				b.ResetTimer()
				for round := range rounds {
					for s, store := range stores {
						var next atomic.Int64
						start := time.Now()
						var wg sync.WaitGroup
						for range callers {
							wg.Go(func() {
								for {
									i := next.Add(1) - 1
									if i >= int64(per) {
										return
									}
									n := int64(round*per) + i
									id := ids[s][n%int64(len(ids[s]))]
									var err error
									if op == "insert" {
										err = store.Insert(b.Context(), id, n)
									} else {
										err = store.Update(b.Context(), id, n)
									}
									if err != nil {
										b.Error(err)
										return
									}
								}
							})
						}
						wg.Wait()
						took[s] += time.Since(start)
					}
				}
				rate := func(s int) float64 { return float64(per*rounds) / took[s].Seconds() }
				b.ReportMetric(0, "ns/op") // would be the sum of both
				b.ReportMetric(rate(0), "bare/s")
				b.ReportMetric(rate(1), "masar/s")
				b.ReportMetric(rate(1)/rate(0), "ratio")
			})
		}
	}
}

// BenchmarkFind measures pages of 50 at 100,000 documents.
func BenchmarkFind(b *testing.B) {
	w := openOurs(b)
	var rs []Record
	for n := range int64(100_000) {
		id := ulid.Make().String()
		body, err := encode(newPathway(id, n))
		if err != nil {
			b.Fatal(err)
		}
		if rs = append(rs, Record{ID: id, Version: 1, Body: body}); len(rs) == 2000 {
			if err := w.c.e.File(b.Context(), pathways.Collection, rs); err != nil {
				b.Fatal(err)
			}
			rs = rs[:0]
		}
	}
	for _, limit := range []int{1, 50} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				q := Query{Index: "governorate", Eq: []any{fmt.Sprintf("TN-%d", 11+i%24)}, Desc: true, Limit: limit}
				docs, _, err := w.c.Find(b.Context(), q)
				if err != nil || len(docs) != limit {
					b.Fatal(len(docs), err)
				}
			}
		})
	}
}
