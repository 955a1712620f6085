package candidates

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the bare driver that the service is measured against

	"masar.local/pkg/access"
	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
)

// benchSize is how many people and pathways lists are measured on: MASAR_BENCH_N,
// default 20,000.
func benchSize(b *testing.B) int {
	b.Helper()
	text := os.Getenv("MASAR_BENCH_N")
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("MASAR_BENCH_N is %q, want a number from 1", text)
	}
	return n
}

// populate fills the register with people of all governorates and a pathway for
// each, at every stage.
func populate(b *testing.B, h *house, n int) {
	b.Helper()
	ring, err := OpenKeyring(env(), h.dir)
	if err != nil {
		b.Fatal(err)
	}
	c, err := openCollections(b.Context(), h.store)
	if err != nil {
		b.Fatal(err)
	}
	families := []string{"Ben Ali", "Trabelsi", "Ben Salah", "Bouazizi", "Gharbi", "Hammami", "Jlassi", "Khelifi", "Mejri", "Zouari"}
	givens := []string{"Amina", "Mohamed", "Ali", "Salah", "Fatma", "Hédi", "Ines", "Khaled", "Leïla", "Nour", "Olfa", "Rim"}
	places := reference.Governorates()
	agri, soin := mustScheme(b, "agri"), mustScheme(b, "soin")
	err = together(b.Context(), n, func(ctx context.Context, i int) error {
		scheme := agri
		if i%3 == 0 {
			scheme = soin
		}
		stage := scheme.Stages[i/7%len(scheme.Stages)].Code
		rec := &Record{
			FamilyName: ptr(families[i/3%len(families)]), GivenName: ptr(givens[i/31%len(givens)] + " " + letterName(i)),
			BirthDate: ptr("1990-01-01"), Governorate: ptr(places[i/5%len(places)].Code), Ref: ptr(fmt.Sprint("b", i)),
			Occupations: []Occupation{{ROME: "A1401", ExperienceMonths: i % 100}}, Consents: []string{ConsentMatching},
		}
		person := Candidate{}.with(rec)
		person.Identity = ring.identities(&person, nil, nil, nil)
		person.RegisteredAt = testNow
		person.UpdatedAt = testNow.Add(time.Duration(i) * time.Second)
		id := newID(testNow)
		if err := c.candidates.Insert(ctx, &docstore.Doc[Candidate]{ID: id, Body: person}); err != nil {
			return err
		}
		p, _, err := openPathway(scheme, id, Person{Sex: "F", Governorate: person.Governorate, BirthYear: 1990}, by(access.Counsellor, day(i%150)))
		if err != nil {
			return err
		}
		p.Stage, p.UpdatedAt = stage, person.UpdatedAt
		return c.pathways.Insert(ctx, &docstore.Doc[Pathway]{ID: newID(testNow), Body: p})
	})
	if err != nil {
		b.Fatal(err)
	}
}

func ptr(s string) *string { return &s }

// letterName spells a number in letters, so that names differ.
func letterName(i int) string {
	return strings.Map(func(r rune) rune { return 'a' + r - '0' }, strconv.Itoa(i))
}

// BenchmarkLists measures every list and search, as answered: first pages and a
// page far inside. p95-ms is what DESIGN §6 asks for (below 50 at 1,000,000).
func BenchmarkLists(b *testing.B) {
	h := newHouse(b)
	n := benchSize(b)
	populate(b, h, n)
	everywhere := access.Principal{Subject: "x", Role: access.Counsellor}
	three := access.Principal{Subject: "y", Role: access.Counsellor, Governorates: []string{"TN-11", "TN-71", "TN-61"}, Schemes: []string{"agri"}}
	lists := []struct {
		name string
		who  access.Principal
		path string
	}{
		{"people", everywhere, peoplePath},
		{"people/scoped", three, peoplePath},
		{"people/changed", everywhere, peoplePath + "?updated_since=" + testNow.Add(time.Duration(n/2)*time.Second).Format(time.RFC3339)},
		{"people/name common", everywhere, peoplePath + "?name=ben"},
		{"people/name common scoped", three, peoplePath + "?name=ben"},
		{"people/name full", everywhere, peoplePath + "?name=trabelsi+mohamed"},
		{"people/name none", everywhere, peoplePath + "?name=zzz"},
		{"pathways", everywhere, waysPath},
		{"pathways/stage", everywhere, waysPath + "?stage=P10"},
		{"pathways/stage scoped", three, waysPath + "?stage=P10"},
		{"pathways/governorate", everywhere, waysPath + "?governorate=TN-71&scheme=soin"},
		{"pathways/changed scoped", three, waysPath + "?updated_since=" + testNow.Add(time.Duration(n/2)*time.Second).Format(time.RFC3339)},
	}
	for _, l := range lists {
		b.Run(l.name, func(b *testing.B) {
			took := make([]time.Duration, 0, b.N)
			items := 0
			for b.Loop() {
				start := time.Now()
				a := serve(h, l.who, "GET", l.path, "")
				took = append(took, time.Since(start))
				if a.Code != http.StatusOK {
					b.Fatalf("%d %s", a.Code, a.Body)
				}
				items = strings.Count(a.Body.String(), `"version":`)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			b.ReportMetric(float64(items), "items")
		})
	}
}

func serve(h *house, who access.Principal, method, path, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	a := httptest.NewRecorder()
	h.service.Router.ServeHTTP(a, req.WithContext(access.With(req.Context(), who)))
	return a
}

const (
	benchWriters  = 32  // callers at the same time
	benchPathways = 500 // on as many pathways
)

// BenchmarkDurableCommands compares, in one run, a move through the whole
// service (HTTP, token, rules, one write of document and event) with the bare
// driver that writes the same bytes, durably too. DESIGN §6: at least half.
func BenchmarkDurableCommands(b *testing.B) {
	var body, value []byte
	b.Run("service", func(b *testing.B) {
		h := newHouse(b)
		token := h.as(access.Counsellor)
		ids := make([]string, benchPathways)
		for i := range ids {
			ids[i] = h.openWay(h.register("national_id", fmt.Sprintf(`"%08d"`, i)), "agri")
			h.want(200, token, "POST", waysPath+"/"+ids[i]+"/moves", `{"to":"P04"}`)
		}
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchWriters}}
		var turn atomic.Int64
		b.SetParallelism(benchWriters / 2) // times GOMAXPROCS, 2 here
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				n := turn.Add(1)
				// From P04 to P07, and back for another offer.
				id, to := ids[n%benchPathways], []string{"P07", "P04"}[n/benchPathways%2]
				req, err := http.NewRequest("POST", h.url+waysPath+"/"+id+"/moves", strings.NewReader(`{"to":"`+to+`"}`))
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+token)
				res, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, res.Body) // or the connection is not used again
				res.Body.Close()
				if err != nil {
					b.Error(err)
					return
				}
				// Two writers may meet on one pathway and one be refused: rare.
				if res.StatusCode != 200 && res.StatusCode != 409 {
					b.Errorf("status %d", res.StatusCode)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
		b.StopTimer()
		d, err := h.store.Get(b.Context(), pathwayCollection, ids[0])
		if err != nil {
			b.Fatal(err)
		}
		body = d.Body
		pending := h.pending()[ids[0]]
		value = pending[len(pending)-1].Value
	})
	b.Run("driver", func(b *testing.B) {
		if body == nil {
			b.Skip("run it with the service: it writes the same document")
		}
		db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		db.SetMaxOpenConns(1) // one writer at a time, as SQLite has it
		for _, s := range []string{
			`CREATE TABLE doc (id TEXT PRIMARY KEY, version INTEGER, stage TEXT, body BLOB)`,
			`CREATE INDEX doc_stage ON doc (stage, id)`,
			`CREATE TABLE outbox (n INTEGER PRIMARY KEY, id TEXT, value BLOB)`,
		} {
			if _, err := db.Exec(s); err != nil {
				b.Fatal(err)
			}
		}
		for i := range benchPathways {
			if _, err := db.Exec(`INSERT INTO doc VALUES (?, 0, 'P04', ?)`, strconv.Itoa(i), body); err != nil {
				b.Fatal(err)
			}
		}
		var turn atomic.Int64
		b.SetParallelism(benchWriters / 2)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				id := strconv.Itoa(int(turn.Add(1) % benchPathways))
				if err := bareMove(db, id, body, value); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	})
}

// bareMove is the same effect without us: read, write if unchanged, remember the
// event, one transaction.
func bareMove(db *sql.DB, id string, body, value []byte) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	var version int64
	var old []byte
	if err := tx.QueryRow(`SELECT version, body FROM doc WHERE id = ?`, id).Scan(&version, &old); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE doc SET version = version + 1, stage = ?, body = ? WHERE id = ? AND version = ?`,
		[]string{"P04", "P07"}[version%2], body, id, version); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO outbox (id, value) VALUES (?, ?)`, id, value); err != nil {
		return err
	}
	return tx.Commit()
}
