package docstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"masar.local/pkg/docstore/storetest"
)

// thing is a body with every kind of indexed value, each of which may be absent.
type thing struct {
	S *string    `bson:"s,omitempty"`
	N *int64     `bson:"n,omitempty"`
	T *time.Time `bson:"t,omitempty"`
	B *bool      `bson:"b,omitempty"`
	U string     `bson:"u"`
	K []string   `bson:"k,omitempty"`
	P struct {
		S string `bson:"s,omitempty"`
		L []item `bson:"l,omitempty"`
	} `bson:"p"`
	Q []string `bson:"q"`
}

type item struct {
	Code string `bson:"code"`
}

var thingIndexes = []Index{
	{Name: "s", Fields: []Field{{Path: "s"}}},
	{Name: "n", Fields: []Field{{Path: "n", Kind: Int}}},
	{Name: "s_n", Fields: []Field{{Path: "s"}, {Path: "n", Kind: Int}}},
	{Name: "b_t_s", Fields: []Field{{Path: "b", Kind: Bool}, {Path: "t", Kind: Time}, {Path: "p.s"}}},
	{Name: "u", Fields: []Field{{Path: "u"}}, Unique: true},
	{Name: "p_n", Fields: []Field{{Path: "p.s"}, {Path: "n", Kind: Int}}, Unique: true},
	{Name: "k", Fields: []Field{{Path: "k"}}},
	{Name: "s_code", Fields: []Field{{Path: "s"}, {Path: "p.l.code"}}},
	{Name: "q", Fields: []Field{{Path: "q"}}, Unique: true},
}

// plainEntries is what the index of that name should have of a body, written
// down without the code under test: nil is missing.
func (b thing) plainEntries(index string) [][]any {
	s, n, ps := any(nil), any(nil), any(nil)
	if b.S != nil {
		s = *b.S
	}
	if b.N != nil {
		n = *b.N
	}
	if b.P.S != "" {
		ps = b.P.S
	}
	each := func(first []any, vs []string, emptyIsNone bool) (out [][]any) {
		slices.Sort(vs)
		for _, v := range slices.Compact(vs) {
			out = append(out, append(slices.Clone(first), v))
		}
		if len(out) == 0 && !emptyIsNone {
			out = append(out, append(slices.Clone(first), nil))
		}
		return out
	}
	switch index {
	case "s":
		return [][]any{{s}}
	case "n":
		return [][]any{{n}}
	case "s_n":
		return [][]any{{s, n}}
	case "b_t_s":
		var flag, at any
		if b.B != nil {
			flag = *b.B
		}
		if b.T != nil {
			at = *b.T
		}
		return [][]any{{flag, at, ps}}
	case "u":
		if b.U == "" {
			return nil
		}
		return [][]any{{b.U}}
	case "p_n":
		if ps == nil || n == nil {
			return nil
		}
		return [][]any{{ps, n}}
	case "k":
		return each(nil, slices.Clone(b.K), false)
	case "s_code":
		var codes []string
		for _, i := range b.P.L {
			codes = append(codes, i.Code)
		}
		return each([]any{s}, codes, false)
	case "q":
		return each(nil, slices.Clone(b.Q), true)
	}
	panic(index)
}

// compareAny orders values as the contract says.
func compareAny(a, b any) int {
	switch {
	case a == nil || b == nil:
		return cmp.Compare(btoi(a != nil), btoi(b != nil))
	}
	switch x := a.(type) {
	case string:
		return strings.Compare(x, b.(string))
	case int64:
		return cmp.Compare(x, b.(int64))
	case bool:
		return cmp.Compare(btoi(x), btoi(b.(bool)))
	case time.Time:
		return x.Compare(b.(time.Time))
	}
	panic(fmt.Sprintf("%T", a))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// plainDoc is a document of the model.
type plainDoc struct {
	version, seq int64
	body         thing
}

// machine holds an engine against a model in plain maps.
type machine struct {
	uri    string
	e      Engine
	c      *Collection[thing]
	schema Schema

	docs    map[string]*plainDoc
	waits   map[string][]int64 // sequence numbers of the events that wait
	deleted map[string]bool
	next    int
}

var machines atomic.Int64

func newMachine(t *rapid.T, uri string) *machine {
	m := &machine{
		uri: uri, docs: map[string]*plainDoc{}, waits: map[string][]int64{}, deleted: map[string]bool{},
		schema: Schema{Collection: fmt.Sprintf("things_%d", machines.Add(1)), Indexes: thingIndexes},
	}
	m.reopen(t)
	return m
}

func (m *machine) reopen(t *rapid.T) {
	if m.e != nil {
		if err := m.e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e, err := Open(context.Background(), m.uri)
	if err != nil {
		t.Fatal(err)
	}
	m.e, m.c = e, NewCollection[thing](e, m.schema)
	if err := m.c.Ensure(context.Background()); err != nil {
		t.Fatal(err)
	}
}

var (
	words  = []string{"", "a", "ab", "abc", "a\u007f", "b", "ba", "é", "éa", "ا", "\ud7ff", "\U0010ffff", "\U0010ffffa"}
	drawS  = rapid.SampledFrom(words)
	drawN  = rapid.Int64Range(-2, 2)
	drawT  = rapid.Map(rapid.Int64Range(-2, 3), func(n int64) time.Time { return time.UnixMilli(n * 7).UTC() })
	drawID = rapid.SampledFrom([]string{"", "x", "y", "é", "ا"})
)

func drawThing(t *rapid.T) thing {
	var b thing
	b.S = rapid.Ptr(drawS, true).Draw(t, "s")
	b.N = rapid.Ptr(drawN, true).Draw(t, "n")
	b.T = rapid.Ptr(drawT, true).Draw(t, "t")
	b.B = rapid.Ptr(rapid.Bool(), true).Draw(t, "b")
	b.U = rapid.SampledFrom([]string{"", "", "one", "two", "three", "four"}).Draw(t, "u")
	b.K = rapid.SliceOfN(drawS, 0, 3).Draw(t, "k")
	b.P.S = drawS.Draw(t, "p.s")
	for _, code := range rapid.SliceOfN(drawS, 0, 2).Draw(t, "p.l") {
		b.P.L = append(b.P.L, item{code})
	}
	b.Q = rapid.SliceOfN(rapid.SampledFrom([]string{"q1", "q2", "q3", "q4", "q5", "q6"}), 0, 2).Draw(t, "q")
	return b
}

// conflict reports whether another document has an entry of a unique index.
func (m *machine) conflict(id string, body thing) bool {
	for _, ix := range m.schema.Indexes {
		if !ix.Unique {
			continue
		}
		for other, d := range m.docs {
			if other == id {
				continue
			}
			for _, theirs := range d.body.plainEntries(ix.Name) {
				for _, ours := range body.plainEntries(ix.Name) {
					if slices.Equal(theirs, ours) {
						return true
					}
				}
			}
		}
	}
	return false
}

// someID draws an id that is there, mostly.
func (m *machine) someID(t *rapid.T) string {
	ids := slices.Sorted(maps.Keys(m.docs))
	if len(ids) == 0 || rapid.IntRange(0, 9).Draw(t, "absent") == 0 {
		return "absent"
	}
	return rapid.SampledFrom(ids).Draw(t, "id")
}

func (m *machine) emit(t *rapid.T, d *Doc[thing]) {
	for range rapid.IntRange(0, 2).Draw(t, "events") {
		d.Emit(Event{
			ID: fmt.Sprintf("%s-%d-%d", d.ID, d.Version, d.Seq+1), Topic: "t", Key: d.ID, Value: []byte("{}"),
			Headers: []Header{{"h", "v"}}, RecordedAt: time.UnixMilli(d.Seq).UTC(),
		})
	}
}

// wrote notes a write in the model.
func (m *machine) wrote(id string, version, seq int64, body thing) {
	var before int64
	if d := m.docs[id]; d != nil {
		before = d.seq
	}
	for s := before + 1; s <= seq; s++ {
		m.waits[id] = append(m.waits[id], s)
	}
	m.docs[id] = &plainDoc{version, seq, body}
}

func (m *machine) Insert(t *rapid.T) {
	id := fmt.Sprintf("%s%d", drawID.Draw(t, "prefix"), m.next)
	switch rapid.IntRange(0, 9).Draw(t, "id is") {
	case 0, 1:
		id = m.someID(t)
	case 2: // of a deleted one, whose events may wait
		if gone := slices.Sorted(maps.Keys(m.deleted)); len(gone) > 0 {
			id = rapid.SampledFrom(gone).Draw(t, "deleted")
		}
	}
	m.next++
	d := &Doc[thing]{ID: id, Body: drawThing(t)}
	m.emit(t, d)
	err := m.c.Insert(t.Context(), d)
	if m.docs[id] != nil || m.conflict(id, d.Body) {
		if !errors.Is(err, ErrExists) || d.Version != 0 {
			t.Fatalf("insert of what is taken: %v, version %d", err, d.Version)
		}
		return
	}
	if err != nil || d.Version != 1 {
		t.Fatalf("insert: %v, version %d", err, d.Version)
	}
	m.wrote(id, 1, d.Seq, d.Body)
}

func (m *machine) Update(t *rapid.T) {
	id := m.someID(t)
	body := drawThing(t)
	d, err := m.c.Update(t.Context(), id, func(d *Doc[thing]) error {
		if was := m.docs[id]; was == nil || d.Version != was.version || d.Seq != was.seq || !same(d.Body, was.body) {
			t.Fatalf("update of %s begins with %+v", id, d)
		}
		d.Body = body
		m.emit(t, d)
		return nil
	})
	was := m.docs[id]
	switch {
	case was == nil:
		if !errors.Is(err, ErrNotFound) {
			t.Fatalf("update of nothing: %v", err)
		}
	case m.conflict(id, body):
		if !errors.Is(err, ErrExists) {
			t.Fatalf("update to what is taken: %v", err)
		}
	case err != nil || d.Version != was.version+1:
		t.Fatalf("update: %v", err)
	default:
		m.wrote(id, d.Version, d.Seq, body)
	}
}

func (m *machine) Upsert(t *rapid.T) {
	id := m.someID(t)
	if rapid.Bool().Draw(t, "new") {
		id = fmt.Sprintf("u%d", m.next)
		m.next++
	}
	body := drawThing(t)
	d, err := m.c.Upsert(t.Context(), id, func(d *Doc[thing]) error {
		if (m.docs[id] == nil) != (d.Version == 0) {
			t.Fatalf("upsert of %s begins with version %d", id, d.Version)
		}
		d.Body = body
		m.emit(t, d)
		return nil
	})
	if m.conflict(id, body) {
		if !errors.Is(err, ErrExists) {
			t.Fatalf("upsert to what is taken: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("upsert: %v", err)
	}
	m.wrote(id, d.Version, d.Seq, body)
}

var errNo = errors.New("no")

func (m *machine) UpdateThatWritesNothing(t *rapid.T) {
	id := m.someID(t)
	for _, give := range []error{Unchanged, fmt.Errorf("wrapped: %w", Unchanged), errNo} {
		d, err := m.c.Update(t.Context(), id, func(d *Doc[thing]) error {
			m.emit(t, d)
			return give
		})
		switch {
		case m.docs[id] == nil:
			if !errors.Is(err, ErrNotFound) {
				t.Fatalf("update of nothing: %v", err)
			}
		case give == errNo:
			if err != errNo {
				t.Fatalf("refused update: %v", err)
			}
		case err != nil || d.Version != m.docs[id].version:
			t.Fatalf("unchanged update: %v", err)
		}
	}
}

// Stale writes over versions that the document does not have.
func (m *machine) Stale(t *rapid.T) {
	id := m.someID(t)
	was := m.docs[id]
	version := int64(1)
	want := ErrNotFound
	if was != nil {
		version = was.version + rapid.SampledFrom([]int64{-1, 1, 5}).Draw(t, "off by")
		want = ErrStale
	}
	d := &Doc[thing]{ID: id, Version: version, Body: drawThing(t)}
	m.emit(t, d)
	if err := m.c.write(t.Context(), d, m.e.Replace); !errors.Is(err, want) {
		t.Fatalf("stale write: %v", err)
	}
	if err := m.c.Delete(t.Context(), id, version); !errors.Is(err, want) {
		t.Fatalf("stale delete: %v", err)
	}
}

func (m *machine) Delete(t *rapid.T) {
	id := m.someID(t)
	was := m.docs[id]
	if was == nil {
		return
	}
	if err := m.c.Delete(t.Context(), id, was.version); err != nil {
		t.Fatalf("delete: %v", err)
	}
	delete(m.docs, id)
	m.deleted[id] = true
}

// Find asks one question and reads all its pages.
func (m *machine) Find(t *rapid.T) {
	ix := rapid.SampledFrom(m.schema.Indexes).Draw(t, "index")
	q := Query{Index: ix.Name, Desc: rapid.Bool().Draw(t, "desc"), Limit: rapid.IntRange(1, 4).Draw(t, "limit")}
	draw := func(f Field) any {
		switch f.Kind {
		case Int:
			return drawN.Draw(t, f.Path)
		case Time:
			return drawT.Draw(t, f.Path)
		case Bool:
			return rapid.Bool().Draw(t, f.Path)
		}
		if ix.Name == "u" || ix.Name == "q" {
			return rapid.SampledFrom([]string{"", "one", "two", "q1", "q2"}).Draw(t, f.Path)
		}
		return drawS.Draw(t, f.Path)
	}
	for _, f := range ix.Fields[:rapid.IntRange(0, len(ix.Fields)).Draw(t, "eq")] {
		v := draw(f)
		if rapid.IntRange(0, 5).Draw(t, "missing") == 0 {
			v = nil
		}
		q.Eq = append(q.Eq, v)
	}
	if len(q.Eq) < len(ix.Fields) {
		next := ix.Fields[len(q.Eq)]
		switch kind := rapid.IntRange(0, 4).Draw(t, "range"); {
		case kind == 0 && next.Kind == String:
			q.Prefix = draw(next).(string)
		case kind == 1:
			q.From = draw(next)
		case kind == 2:
			q.Below = draw(next)
		case kind == 3:
			q.From, q.Below = draw(next), draw(next)
		}
	}
	want := m.answer(q)
	var got []string
	for {
		docs, next, err := m.c.Find(t.Context(), q)
		if err != nil {
			t.Fatalf("find %+v: %v", q, err)
		}
		for _, d := range docs {
			got = append(got, d.ID)
			if was := m.docs[d.ID]; was == nil || was.version != d.Version || !same(was.body, d.Body) {
				t.Fatalf("find %+v: %+v is not as written", q, d)
			}
		}
		if len(got) > len(want) || (next == "") != (len(got) >= len(want)) || next != "" && len(docs) != q.Limit {
			t.Fatalf("find %+v: %q, more: %v; want %q", q, got, next != "", want)
		}
		if next == "" {
			break
		}
		other := q
		other.Desc, other.After = !q.Desc, next
		if _, _, err := m.c.Find(t.Context(), other); !errors.Is(err, ErrInvalidCursor) {
			t.Fatalf("cursor of another query: %v", err)
		}
		q.After = next
	}
	if !slices.Equal(got, want) {
		t.Fatalf("find %+v: %q, want %q", q, got, want)
	}
}

// answer gives the ids that a query should find.
func (m *machine) answer(q Query) []string {
	type hit struct {
		entry []any
		id    string
	}
	var hits []hit
	order := func(a, b hit) int {
		c := slices.CompareFunc(a.entry, b.entry, compareAny)
		if c == 0 {
			c = strings.Compare(a.id, b.id)
		}
		if q.Desc {
			c = -c
		}
		return c
	}
	for id, d := range m.docs {
		var mine []hit
		for _, entry := range d.body.plainEntries(q.Index) {
			ok := true
			for i, v := range q.Eq {
				ok = ok && compareAny(entry[i], v) == 0
			}
			if ok && (q.Prefix != "" || q.From != nil || q.Below != nil) {
				v := entry[len(q.Eq)]
				ok = v != nil &&
					(q.From == nil || compareAny(v, q.From) >= 0) &&
					(q.Below == nil || compareAny(v, q.Below) < 0) &&
					(q.Prefix == "" || strings.HasPrefix(v.(string), q.Prefix))
			}
			if ok {
				mine = append(mine, hit{entry, id})
			}
		}
		if len(mine) > 0 {
			hits = append(hits, slices.MinFunc(mine, order))
		}
	}
	slices.SortFunc(hits, order)
	ids := make([]string, len(hits))
	for i, h := range hits {
		ids[i] = h.id
	}
	return ids
}

// Relay reads what waits, lets more come, and settles what it read, twice.
func (m *machine) Relay(t *rapid.T) {
	ps, err := m.e.Pending(t.Context(), m.schema.Collection, rapid.SampledFrom([]int{1, 3, 1000}).Draw(t, "limit"))
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]int{}
	for _, p := range ps {
		for i, e := range p.Events {
			if i >= len(m.waits[p.ID]) || e.Seq != m.waits[p.ID][i] || e.Key != p.ID || len(e.Headers) != 1 || e.RecordedAt != time.UnixMilli(e.Seq-1).UTC() {
				t.Fatalf("of %s waits %+v, want %v", p.ID, p.Events, m.waits[p.ID])
			}
		}
		read[p.ID] = len(p.Events)
	}
	if len(ps) == 0 && len(m.waits) > 0 {
		t.Fatalf("nothing waits, but %v should", m.waits)
	}
	m.Update(t)
	for range 2 {
		if err := m.e.Settle(t.Context(), m.schema.Collection, ps); err != nil {
			t.Fatal(err)
		}
	}
	for id, n := range read {
		if m.waits[id] = m.waits[id][n:]; len(m.waits[id]) == 0 {
			delete(m.waits, id)
		}
	}
}

func (m *machine) File(t *rapid.T) {
	var rs []Record
	fresh := map[string]thing{}
	for range rapid.IntRange(0, 3).Draw(t, "n") {
		id := m.someID(t)
		if rapid.Bool().Draw(t, "new") {
			id = fmt.Sprintf("f%d", m.next)
			m.next++
		}
		if m.deleted[id] { // the journal, for which this is, deletes nothing
			continue
		}
		body := thing{K: []string{"f"}}
		raw, err := encode(body)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, Record{ID: id, Version: 1, Body: raw})
		if _, twice := fresh[id]; m.docs[id] == nil && !twice {
			fresh[id] = body
		}
	}
	if err := m.e.File(t.Context(), m.schema.Collection, rs); err != nil {
		t.Fatal(err)
	}
	for id, body := range fresh {
		m.wrote(id, 1, 0, body)
	}
}

// Reindex declares fewer indexes and then all again: they are built from the
// bodies.
func (m *machine) Reindex(t *rapid.T) {
	some := m.schema
	some.Indexes = slices.DeleteFunc(slices.Clone(some.Indexes), func(ix Index) bool { return !ix.Unique && rapid.Bool().Draw(t, "drop "+ix.Name) })
	changed := slices.IndexFunc(some.Indexes, func(ix Index) bool { return !ix.Unique })
	if changed >= 0 && rapid.Bool().Draw(t, "change") {
		some.Indexes[changed] = Index{Name: some.Indexes[changed].Name, Fields: []Field{{Path: "u"}, {Path: "p.s"}}}
	}
	if err := m.e.Ensure(t.Context(), some); err != nil {
		t.Fatal(err)
	}
	if changed >= 0 && some.Indexes[changed].Fields[0].Path == "u" {
		want := slices.SortedFunc(maps.Keys(m.docs), func(a, b string) int {
			x, y := m.docs[a].body, m.docs[b].body
			return cmp.Or(strings.Compare(x.U, y.U), strings.Compare(x.P.S, y.P.S), strings.Compare(a, b))
		})
		rs, _, err := m.e.Find(t.Context(), m.schema.Collection, Query{Index: some.Indexes[changed].Name, Limit: len(want) + 1})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rs {
			got = append(got, r.ID)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("an index that is declared otherwise gives %q, want %q", got, want)
		}
	}
	if err := m.e.Ensure(t.Context(), m.schema); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) Reopen(t *rapid.T) { m.reopen(t) }

// Restore reads everything as a backup does, also the events of deleted documents,
// and goes on with what is restored from it.
func (m *machine) Restore(t *rapid.T) {
	cut, err := OpenCut(t.Context(), m.uri)
	if err != nil {
		t.Fatal(err)
	}
	was := m.schema.Collection
	m.schema.Collection = fmt.Sprintf("things_%d", machines.Add(1))
	_, err = Fill(t.Context(), m.e, func(yield func(Kept, error) bool) {
		for k, err := range cut.Documents(t.Context(), 0) {
			if err == nil && k.Collection != was {
				continue
			}
			k.Collection = m.schema.Collection
			if !yield(k, err) {
				return
			}
		}
	})
	if err := errors.Join(err, cut.Close()); err != nil {
		t.Fatal(err)
	}
	m.reopen(t)
}

// Check compares everything that is there.
func (m *machine) Check(t *rapid.T) {
	ids := slices.Sorted(maps.Keys(m.docs))
	var got []string
	for d, err := range m.c.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, d.ID)
		if was := m.docs[d.ID]; was == nil || was.version != d.Version || was.seq != d.Seq || !same(was.body, d.Body) {
			t.Fatalf("%+v is not as written: %+v", d, was)
		}
	}
	if !slices.Equal(got, ids) {
		t.Fatalf("all: %q, want %q", got, ids)
	}
	if n, err := m.c.Count(t.Context()); err != nil || n != int64(len(ids)) {
		t.Fatalf("count: %d, want %d: %v", n, len(ids), err)
	}
	for id := range m.deleted {
		if _, err := m.c.Get(t.Context(), id); m.docs[id] == nil && !errors.Is(err, ErrNotFound) {
			t.Fatalf("a deleted document: %v", err)
		}
	}
	b, err := m.e.Backlog(t.Context(), m.schema.Collection)
	if err != nil || b.Documents != int64(len(m.waits)) || b.Oldest.IsZero() != (len(m.waits) == 0) {
		t.Fatalf("backlog: %+v, want %d: %v", b, len(m.waits), err)
	}
}

func same(a, b thing) bool {
	x, errX := encode(a)
	y, errY := encode(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// modelTime bounds the cases on a slow engine; a fast one gets all that
// -rapid.checks asks for.
const modelTime = 20 * time.Second

func TestModel(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		start, cases := time.Now(), 0
		rapid.Check(t, func(t *rapid.T) {
			if time.Since(start) > modelTime {
				return
			}
			cases++
			m := newMachine(t, uri)
			defer func() { m.e.Close() }()
			t.Repeat(map[string]func(*rapid.T){
				"":          m.Check,
				"insert":    m.Insert,
				"insert2":   m.Insert,
				"update":    m.Update,
				"upsert":    m.Upsert,
				"unchanged": m.UpdateThatWritesNothing,
				"stale":     m.Stale,
				"delete":    m.Delete,
				"find":      m.Find,
				"find2":     m.Find,
				"find3":     m.Find,
				"relay":     m.Relay,
				"file":      m.File,
				"reindex":   m.Reindex,
				"reopen":    m.Reopen,
				"restore":   m.Restore,
			})
		})
		t.Logf("%d cases in %s", cases, time.Since(start).Round(time.Second))
	})
}
