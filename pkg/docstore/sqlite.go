package docstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"modernc.org/sqlite" // also the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The sqlite engine keeps a collection c in the tables
//
//	c        r, id, version, seq, body
//	c:out    the events that wait, in order: n, id of the document, since when (at), event
//	c:ix:i   one for each index i: the entries k0, k1 ..., with id and r of the
//	         document; the primary key is the sort order, so that a table of
//	         entries is what other stores call an index, arrays included
//
// and in masar:indexes how each index was declared. One goroutine writes
// (sqlite_write.go); readers have connections of their own, which the
// write-ahead log never makes wait.
const sqliteFormat = 1

const readers = 8

type sqliteEngine struct {
	path  string
	reads *sql.DB
	write *writer
	watch watchers

	mu          sync.RWMutex
	collections map[string]*sqliteCollection
	statements  map[string]*sql.Stmt // of readers, by their text
}

// sqliteCollection is what the engine knows of a collection. It does not change.
type sqliteCollection struct {
	schema  Schema
	indexes map[string]*compiled

	get, insert, replace, current, remove, scan, count string
	emit, pending, settle, backlog                     string
	entries                                            []indexTable
}

// indexTable is the table of an index and its statements.
type indexTable struct {
	*compiled
	insert, remove, taken string
}

func openSQLite(ctx context.Context, path string) (*sqliteEngine, error) {
	path = strings.TrimPrefix(path, "//")
	if path == "" || strings.ContainsAny(path, "?#\x00") {
		return nil, fmt.Errorf("docstore: sqlite:%s is not sqlite:PATH", path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("docstore: %w", err)
	}
	// Only the owner reads what is in there.
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("docstore: cannot make the directory of the database: %w", err)
	}
	// A file that is there is left alone: closing a descriptor of it would free
	// the locks of every connection that this process has on it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("docstore: cannot create the database: %w", err)
	}

	e := &sqliteEngine{path: path, collections: map[string]*sqliteCollection{}, statements: map[string]*sql.Stmt{}}
	if e.write, err = startWriter(ctx, path, &e.watch); err != nil {
		return nil, err
	}
	err = e.write.do(ctx, func(t *tx) error {
		format, err := t.number("PRAGMA user_version")
		if err != nil {
			return err
		}
		if format > sqliteFormat {
			return fmt.Errorf("docstore: %s was written by a newer version (format %d, this one knows %d)", path, format, sqliteFormat)
		}
		return t.script(fmt.Sprintf("PRAGMA user_version = %d", sqliteFormat),
			`CREATE TABLE IF NOT EXISTS "masar:indexes" (collection TEXT, name TEXT, declared TEXT, PRIMARY KEY (collection, name)) WITHOUT ROWID`)
	})
	if err == nil {
		e.reads, err = sql.Open("sqlite", sqliteDSN(path, "_pragma=query_only(1)"))
	}
	if err != nil {
		e.write.close()
		return nil, err
	}
	e.reads.SetMaxOpenConns(readers)
	e.reads.SetMaxIdleConns(readers)
	return e, nil
}

// sqliteDSN is the address for the driver: the write-ahead log, with a sync at
// every commit, so that a power cut loses nothing that was acknowledged.
func sqliteDSN(path string, more ...string) string {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), OmitHost: true}
	u.RawQuery = strings.Join(append([]string{
		"_pragma=busy_timeout(10000)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)",
		"_pragma=cache_size(-32768)", "_pragma=temp_store(MEMORY)", "_pragma=journal_size_limit(67108864)",
	}, more...), "&")
	return u.String()
}

func newSQLiteCollection(s Schema) *sqliteCollection {
	c := s.Collection
	out := &sqliteCollection{
		schema:  s,
		indexes: map[string]*compiled{},
		get:     fmt.Sprintf(`SELECT id, version, seq, body FROM "%s" WHERE id = ?`, c),
		insert:  fmt.Sprintf(`INSERT INTO "%s" (id, version, seq, body) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`, c),
		replace: fmt.Sprintf(`UPDATE "%s" SET version = ?, seq = ?, body = ? WHERE r = ?`, c),
		current: fmt.Sprintf(`SELECT r, version, body FROM "%s" WHERE id = ?`, c),
		remove:  fmt.Sprintf(`DELETE FROM "%s" WHERE r = ?`, c),
		scan:    fmt.Sprintf(`SELECT id, version, seq, body FROM "%s" WHERE id > ? ORDER BY id LIMIT ?`, c),
		count:   fmt.Sprintf(`SELECT count(*) FROM "%s"`, c),
		emit:    fmt.Sprintf(`INSERT INTO "%s:out" (id, at, event) VALUES (?, ?, ?)`, c),
		pending: fmt.Sprintf(`SELECT n, id, event FROM "%s:out" ORDER BY n LIMIT ?`, c),
		settle:  fmt.Sprintf(`DELETE FROM "%s:out" WHERE n = ?`, c),
		backlog: fmt.Sprintf(`SELECT count(DISTINCT id), min(at) FROM (SELECT id, at FROM "%s:out" ORDER BY n LIMIT %d)`, c, backlogLimit),
	}
	for _, ix := range s.Indexes {
		t := indexTable{compiled: compile(ix)}
		out.indexes[ix.Name] = t.compiled
		keys := columns("k%d", len(ix.Fields))
		match := columns("k%d = ?", len(ix.Fields))
		name := tableOf(c, ix.Name)
		t.insert = fmt.Sprintf(`INSERT INTO %s (%s, id, r) VALUES (%s?, ?)`, name, strings.Join(keys, ", "), strings.Repeat("?, ", len(keys)))
		t.remove = fmt.Sprintf(`DELETE FROM %s WHERE %s AND id = ?`, name, strings.Join(match, " AND "))
		if ix.Unique {
			t.taken = fmt.Sprintf(`SELECT count(*) FROM %s WHERE %s AND id <> ?`, name, strings.Join(match, " AND "))
		}
		out.entries = append(out.entries, t)
	}
	return out
}

func tableOf(collection, index string) string {
	return `"` + collection + ":ix:" + index + `"`
}

func columns(format string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return out
}

func (e *sqliteEngine) Ensure(ctx context.Context, schemas ...Schema) error {
	for _, s := range schemas {
		if err := s.check(); err != nil {
			return err
		}
		c := newSQLiteCollection(s)
		err := e.write.do(ctx, func(t *tx) error {
			return t.whole(func(t *tx) error { return ensure(t, c) })
		})
		if err != nil {
			return err
		}
		e.mu.Lock()
		e.collections[s.Collection] = c
		e.mu.Unlock()
	}
	return nil
}

// ensure makes the tables of a collection what its schema says.
func ensure(t *tx, c *sqliteCollection) error {
	name := c.schema.Collection
	err := t.script(
		fmt.Sprintf(`CREATE TABLE IF NOT EXISTS "%s" (r INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL)`, name),
		// AUTOINCREMENT: a number is never used again, so that settling is by number.
		fmt.Sprintf(`CREATE TABLE IF NOT EXISTS "%s:out" (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, at INTEGER NOT NULL, event BLOB NOT NULL)`, name))
	if err != nil {
		return err
	}
	have := map[string]string{}
	err = t.each(`SELECT name, declared FROM "masar:indexes" WHERE collection = ?`, []any{name}, func(rows *sql.Rows) error {
		var index, declared string
		err := rows.Scan(&index, &declared)
		have[index] = declared
		return err
	})
	if err != nil {
		return err
	}
	for _, ix := range c.entries {
		b, err := json.Marshal(ix.Index)
		if err != nil {
			return err
		}
		declared := string(b)
		if have[ix.Name] != declared {
			if err := buildIndex(t, c, ix, declared); err != nil {
				return err
			}
		}
		delete(have, ix.Name)
	}
	for index := range have {
		if err := t.script(`DROP TABLE IF EXISTS ` + tableOf(name, index)); err != nil {
			return err
		}
		if _, _, err := t.exec(`DELETE FROM "masar:indexes" WHERE collection = ? AND name = ?`, name, index); err != nil {
			return err
		}
	}
	return nil
}

// buildIndex makes the table of an index from the bodies.
func buildIndex(t *tx, c *sqliteCollection, ix indexTable, declared string) error {
	name := c.schema.Collection
	keys := strings.Join(columns("k%d", len(ix.Fields)), ", ")
	primary := keys + ", id"
	if ix.Unique {
		primary = keys // the last defence, should a check ever be missed
	}
	// Columns have no type: what is bound is what is compared.
	err := t.script(
		`DROP TABLE IF EXISTS `+tableOf(name, ix.Name),
		fmt.Sprintf(`CREATE TABLE %s (%s, id TEXT NOT NULL, r INTEGER NOT NULL, PRIMARY KEY (%s)) WITHOUT ROWID`, tableOf(name, ix.Name), keys, primary))
	if err != nil {
		return err
	}
	const page = 500
	for last := int64(-1); ; {
		type doc struct {
			r    int64
			id   string
			body []byte
		}
		var docs []doc
		err := t.each(fmt.Sprintf(`SELECT r, id, body FROM "%s" WHERE r > ? ORDER BY r LIMIT ?`, name), []any{last, page}, func(rows *sql.Rows) error {
			var d doc
			err := rows.Scan(&d.r, &d.id, &d.body)
			docs = append(docs, d)
			return err
		})
		if err != nil {
			return err
		}
		for _, d := range docs {
			entries, err := ix.entries(d.body)
			if err != nil {
				return err
			}
			for _, entry := range entries {
				if err := ix.free(t, c, entry, d.id); err != nil {
					return err
				}
				if _, _, err := t.exec(ix.insert, args(entry, d.id, d.r)...); err != nil {
					return err
				}
			}
			last = d.r
		}
		if len(docs) < page {
			break
		}
	}
	_, _, err = t.exec(`INSERT OR REPLACE INTO "masar:indexes" (collection, name, declared) VALUES (?, ?, ?)`, name, ix.Name, declared)
	return err
}

// free checks that no other document has the entry, where that is forbidden.
func (ix indexTable) free(t *tx, c *sqliteCollection, entry []any, id string) error {
	if !ix.Unique {
		return nil
	}
	n, err := t.number(ix.taken, args(entry, id)...)
	if err != nil {
		return err
	}
	if n > 0 {
		return &Taken{Collection: c.schema.Collection, Index: ix.Name}
	}
	return nil
}

func args(entry []any, more ...any) []any {
	return append(append(make([]any, 0, len(entry)+len(more)), entry...), more...)
}

func (e *sqliteEngine) collection(name string) (*sqliteCollection, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	c, ok := e.collections[name]
	if !ok {
		return nil, undeclared(name)
	}
	return c, nil
}

func undeclared(collection string) error {
	return fmt.Errorf("docstore: the collection %q is not declared: call Ensure with its schema at start", collection)
}

// statement prepares a reader's statement once.
func (e *sqliteEngine) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	e.mu.RLock()
	s, ok := e.statements[text]
	e.mu.RUnlock()
	if ok {
		return s, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if s, ok := e.statements[text]; ok {
		return s, nil
	}
	s, err := e.reads.PrepareContext(ctx, text)
	if err != nil {
		return nil, sqliteError(err)
	}
	e.statements[text] = s
	return s, nil
}

// sqliteError hides the driver's error behind ErrUnavailable. SQLite's texts
// name tables and columns, never values.
func sqliteError(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: sqlite: %w", ErrUnavailable, err)
}

// each calls row for every row of the answer.
func (e *sqliteEngine) each(ctx context.Context, text string, args []any, row func(*sql.Rows) error) (err error) {
	s, err := e.statement(ctx, text)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return sqliteError(err)
	}
	return eachRow(rows, row)
}

// errEnough ends a walk over rows without being an error.
var errEnough = errors.New("enough")

func eachRow(rows *sql.Rows, row func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			if err == errEnough {
				return nil
			}
			return err
		}
	}
	return sqliteError(rows.Err())
}

func scanRecord(rows *sql.Rows, r *Record, more ...any) error {
	var body []byte
	if err := rows.Scan(append([]any{&r.ID, &r.Version, &r.Seq, &body}, more...)...); err != nil {
		return sqliteError(err)
	}
	r.Body = body
	return nil
}

func (e *sqliteEngine) Get(ctx context.Context, collection, id string) (Record, error) {
	c, err := e.collection(collection)
	if err != nil {
		return Record{}, err
	}
	var r Record
	err = e.each(ctx, c.get, []any{id}, func(rows *sql.Rows) error { return scanRecord(rows, &r) })
	if err == nil && r.Version == 0 {
		err = notFound(collection)
	}
	return r, err
}

func notFound(collection string) error { return fmt.Errorf("%w in %s", ErrNotFound, collection) }

func stale(collection string) error { return fmt.Errorf("%w in %s", ErrStale, collection) }

func (e *sqliteEngine) Scan(ctx context.Context, collection, after string, limit int) ([]Record, error) {
	c, err := e.collection(collection)
	if err != nil {
		return nil, err
	}
	var out []Record
	err = e.each(ctx, c.scan, []any{after, limit}, func(rows *sql.Rows) error {
		var r Record
		err := scanRecord(rows, &r)
		out = append(out, r)
		return err
	})
	return out, err
}

func (e *sqliteEngine) Count(ctx context.Context, collection string) (n int64, err error) {
	c, err := e.collection(collection)
	if err != nil {
		return 0, err
	}
	err = e.each(ctx, c.count, nil, func(rows *sql.Rows) error { return sqliteError(rows.Scan(&n)) })
	return n, err
}

func (e *sqliteEngine) Find(ctx context.Context, collection string, q Query) ([]Record, string, error) {
	c, err := e.collection(collection)
	if err != nil {
		return nil, "", err
	}
	p, err := q.plan(collection, c.indexes)
	if err != nil || p.none {
		return nil, "", err
	}
	text, args := p.sqlite(collection)
	var (
		out   []Record
		entry []any // of the last document in out
		more  bool
	)
	keys := make([]any, len(p.index.Fields))
	into := make([]any, len(keys))
	for i := range keys {
		into[i] = &keys[i]
	}
	err = e.each(ctx, text, args, func(rows *sql.Rows) error {
		var r Record
		if err := scanRecord(rows, &r, into...); err != nil {
			return err
		}
		leads, err := p.leads(keys, r.Body)
		switch {
		case err != nil:
			return err
		case !leads: // an array: the document has its place elsewhere
			return nil
		case len(out) == p.limit:
			more = true
			return errEnough
		}
		out = append(out, r)
		entry = append(entry[:0], keys...)
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	if !more {
		return out, "", nil
	}
	return out, p.cursor(entry, out[len(out)-1].ID), nil
}

// sqlite gives the statement of a plan. Its text depends only on the shape of
// the query, so that it is prepared once.
func (p *plan) sqlite(collection string) (string, []any) {
	var (
		b    strings.Builder
		args []any
	)
	keys := columns("x.k%d", len(p.index.Fields))
	// CROSS JOIN: the entries are walked in order, the documents looked up.
	fmt.Fprintf(&b, `SELECT d.id, d.version, d.seq, d.body, %s FROM %s x CROSS JOIN "%s" d ON d.r = x.r WHERE 1`,
		strings.Join(keys, ", "), tableOf(collection, p.index.Name), collection)
	for i, v := range p.eq {
		fmt.Fprintf(&b, " AND x.k%d = ?", i)
		args = append(args, v)
	}
	// A cursor is the tighter bound on its side.
	lo, hi := p.lo, p.hi
	if lo == nil && hi != nil {
		lo = missing + 1
	}
	if lo != nil && (p.after == nil || p.desc) {
		fmt.Fprintf(&b, " AND x.k%d >= ?", p.rest())
		args = append(args, lo)
	}
	if hi != nil && (p.after == nil || !p.desc) {
		fmt.Fprintf(&b, " AND x.k%d < ?", p.rest())
		args = append(args, hi)
	}
	way, beyond := "ASC", ">"
	if p.desc {
		way, beyond = "DESC", "<"
	}
	order := append(keys[p.rest():len(keys):len(keys)], "x.id")
	if p.after != nil {
		fmt.Fprintf(&b, " AND (%s) %s (%s?)", strings.Join(order, ", "), beyond, strings.Repeat("?, ", len(order)-1))
		args = append(args, p.after[p.rest():]...)
		args = append(args, p.afterID)
	}
	fmt.Fprintf(&b, " ORDER BY %s %s", strings.Join(order, " "+way+", "), way)
	return b.String(), args
}

func (e *sqliteEngine) Insert(ctx context.Context, collection string, r Record, events []Event) error {
	c, err := e.collection(collection)
	if err != nil {
		return err
	}
	entries, err := c.all(r.Body)
	if err != nil {
		return err
	}
	out, err := encodeEvents(events)
	if err != nil {
		return err
	}
	err = e.write.do(ctx, func(t *tx) error {
		fresh, err := c.add(t, r, entries)
		if err == nil && !fresh {
			err = &Taken{Collection: collection}
		}
		if err != nil {
			return err
		}
		return c.queue(t, r.ID, out)
	})
	return err
}

// all gives the entries of a body in every index, in the order of c.entries.
func (c *sqliteCollection) all(body bson.Raw) ([][][]any, error) {
	out := make([][][]any, len(c.entries))
	for i, ix := range c.entries {
		var err error
		if out[i], err = ix.compiled.entries(body); err != nil {
			return nil, fmt.Errorf("%s: %w", c.schema.Collection, err)
		}
	}
	return out, nil
}

// add inserts a document and its entries, and reports whether its id was free.
// Whatever may be refused is checked before the first write, so that a refusal
// leaves nothing behind in the transaction that it shares with others.
func (c *sqliteCollection) add(t *tx, r Record, entries [][][]any) (fresh bool, err error) {
	for i, ix := range c.entries {
		for _, entry := range entries[i] {
			if err := ix.free(t, c, entry, r.ID); err != nil {
				return false, err
			}
		}
	}
	n, row, err := t.exec(c.insert, r.ID, r.Version, r.Seq, []byte(r.Body))
	if err != nil || n == 0 {
		return false, err
	}
	for i, ix := range c.entries {
		for _, entry := range entries[i] {
			if _, _, err := t.exec(ix.insert, args(entry, r.ID, row)...); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// queue puts encoded events into the outbox.
func (c *sqliteCollection) queue(t *tx, id string, events [][]byte) error {
	now := time.Now().UnixMilli()
	for _, e := range events {
		if _, _, err := t.exec(c.emit, id, now, e); err != nil {
			return err
		}
		t.emitted = true
	}
	return nil
}

func encodeEvents(events []Event) ([][]byte, error) {
	out := make([][]byte, len(events))
	for i, e := range events {
		var err error
		if out[i], err = bson.Marshal(e); err != nil {
			return nil, fmt.Errorf("docstore: the event %s cannot be encoded: %w", e.ID, err)
		}
	}
	return out, nil
}

func (e *sqliteEngine) Replace(ctx context.Context, collection string, r Record, events []Event) error {
	c, err := e.collection(collection)
	if err != nil {
		return err
	}
	entries, err := c.all(r.Body)
	if err != nil {
		return err
	}
	out, err := encodeEvents(events)
	if err != nil {
		return err
	}
	return e.write.do(ctx, func(t *tx) error {
		row, before, err := c.at(t, r.ID, r.Version-1)
		if err != nil {
			return err
		}
		type change struct {
			ix    indexTable
			entry []any
		}
		var add, remove []change
		for i, ix := range c.entries {
			for _, entry := range entries[i] {
				if contains(before[i], entry) {
					continue
				}
				if err := ix.free(t, c, entry, r.ID); err != nil {
					return err
				}
				add = append(add, change{ix, entry})
			}
			for _, entry := range before[i] {
				if !contains(entries[i], entry) {
					remove = append(remove, change{ix, entry})
				}
			}
		}
		if _, _, err := t.exec(c.replace, r.Version, r.Seq, []byte(r.Body), row); err != nil {
			return err
		}
		for _, x := range remove {
			if _, _, err := t.exec(x.ix.remove, args(x.entry, r.ID)...); err != nil {
				return err
			}
		}
		for _, x := range add {
			if _, _, err := t.exec(x.ix.insert, args(x.entry, r.ID, row)...); err != nil {
				return err
			}
		}
		return c.queue(t, r.ID, out)
	})
}

// at gives the row and the entries of a document that has this version.
func (c *sqliteCollection) at(t *tx, id string, version int64) (row int64, entries [][][]any, err error) {
	var (
		have int64
		body []byte
	)
	err = t.each(c.current, []any{id}, func(rows *sql.Rows) error { return rows.Scan(&row, &have, &body) })
	switch {
	case err != nil:
		return 0, nil, err
	case have == 0:
		return 0, nil, notFound(c.schema.Collection)
	case have != version:
		return 0, nil, stale(c.schema.Collection)
	}
	entries, err = c.all(body)
	return row, entries, err
}

func contains(entries [][]any, entry []any) bool {
next:
	for _, e := range entries {
		for i := range e {
			if e[i] != entry[i] {
				continue next
			}
		}
		return true
	}
	return false
}

func (e *sqliteEngine) Delete(ctx context.Context, collection, id string, version int64) error {
	c, err := e.collection(collection)
	if err != nil {
		return err
	}
	return e.write.do(ctx, func(t *tx) error {
		row, entries, err := c.at(t, id, version)
		if err != nil {
			return err
		}
		for i, ix := range c.entries {
			for _, entry := range entries[i] {
				if _, _, err := t.exec(ix.remove, args(entry, id)...); err != nil {
					return err
				}
			}
		}
		_, _, err = t.exec(c.remove, row)
		return err
	})
}

func (e *sqliteEngine) File(ctx context.Context, collection string, rs []Record) error {
	c, err := e.collection(collection)
	if err != nil {
		return err
	}
	entries := make([][][][]any, len(rs))
	for i, r := range rs {
		if entries[i], err = c.all(r.Body); err != nil {
			return err
		}
	}
	return e.write.do(ctx, func(t *tx) error {
		for i, r := range rs {
			if _, err := c.add(t, r, entries[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// pendingBytes bounds what Pending reads at once, beside the number.
const pendingBytes = 4 << 20

func (e *sqliteEngine) Pending(ctx context.Context, collection string, limit int) ([]Pending, error) {
	c, err := e.collection(collection)
	if err != nil {
		return nil, err
	}
	var out []Pending
	at := map[string]int{} // where in out a document is
	size := 0
	err = e.each(ctx, c.pending, []any{limit}, func(rows *sql.Rows) error {
		var (
			n   int64
			id  string
			raw []byte
			ev  Event
		)
		if err := rows.Scan(&n, &id, &raw); err != nil {
			return sqliteError(err)
		}
		if err := bson.Unmarshal(raw, &ev); err != nil {
			return fmt.Errorf("docstore: %s: an event in the outbox cannot be read: %w", collection, err)
		}
		i, ok := at[id]
		if !ok {
			i = len(out)
			at[id] = i
			out = append(out, Pending{ID: id})
		}
		out[i].Events = append(out[i].Events, ev)
		out[i].marks = append(out[i].marks, n)
		if size += len(raw); size > pendingBytes {
			return errEnough
		}
		return nil
	})
	return out, err
}

func (e *sqliteEngine) Settle(ctx context.Context, collection string, done []Pending) error {
	c, err := e.collection(collection)
	if err != nil {
		return err
	}
	return e.write.do(ctx, func(t *tx) error {
		for _, p := range done {
			for _, n := range p.marks {
				if _, _, err := t.exec(c.settle, n); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (e *sqliteEngine) Backlog(ctx context.Context, collection string) (b Backlog, err error) {
	c, err := e.collection(collection)
	if err != nil {
		return b, err
	}
	err = e.each(ctx, c.backlog, nil, func(rows *sql.Rows) error {
		var at sql.NullInt64
		if err := rows.Scan(&b.Documents, &at); err != nil {
			return sqliteError(err)
		}
		if at.Valid {
			b.Oldest = time.UnixMilli(at.Int64).UTC()
		}
		return nil
	})
	return b, err
}

func (e *sqliteEngine) Watch() (<-chan struct{}, func()) { return e.watch.add() }

func (e *sqliteEngine) Ping(ctx context.Context) error {
	return e.each(ctx, `SELECT count(*) FROM "masar:indexes"`, nil, func(*sql.Rows) error { return nil })
}

func (e *sqliteEngine) Close() error {
	err := e.write.close()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.statements {
		_ = s.Close() // the connections are closed next
	}
	return errors.Join(err, e.reads.Close())
}

// Hold waits for an exclusive lock on a small file beside the database. The
// operating system gives it free when the process dies, so that a restart does
// not wait for a lease to run out, and nobody else can have it while we live:
// ttl is not needed here.
func (e *sqliteEngine) Hold(ctx context.Context, name, _ string, ttl time.Duration, run func(context.Context) error) error {
	if err := checkLease(name, ttl); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.ToSlash(e.path)}).EscapedPath()+"."+name+".lease")
	if err != nil {
		return sqliteError(err)
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return sqliteError(err)
	}
	defer conn.Close()
	for {
		_, err := conn.ExecContext(ctx, "BEGIN EXCLUSIVE")
		if err == nil {
			break
		}
		var busy *sqlite.Error
		if ctx.Err() == nil && (!errors.As(err, &busy) || busy.Code()&0xff != sqlite3.SQLITE_BUSY) {
			return sqliteError(err)
		}
		if err := sleep(ctx, leasePoll); err != nil {
			return err
		}
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") //nolint:errcheck // closing the connection does it too
	return run(ctx)
}

// leasePoll is how often somebody who waits for a lock looks again.
const leasePoll = 50 * time.Millisecond
