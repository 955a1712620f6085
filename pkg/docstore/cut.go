package docstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Kept is a document whole, with the events that wait in its outbox, as a backup
// holds it. Version 0, without a body, is a document that was deleted while events
// of it wait.
type Kept struct {
	Collection string   `bson:"collection"`
	ID         string   `bson:"id"`
	Version    int64    `bson:"version"`
	Seq        int64    `bson:"seq"`
	Body       bson.Raw `bson:"body,omitempty"`
	Outbox     []Event  `bson:"outbox,omitempty"`
}

// Cut is what several databases held at one moment, for a backup: where one
// service's documents tell of another's events, no event is missing and none is
// ahead. Reading it disturbs nobody.
type Cut struct {
	At    time.Time // the moment
	Exact bool      // false where a server gives no snapshots (a single MongoDB, none of a replica set): what is written meanwhile is there or not, document by document
	views []view
}

// view is one database of a cut.
type view interface {
	each(ctx context.Context, yield func(Kept) bool) error
	close() error
}

// OpenCut opens the databases with these addresses (as for Open), which must be
// there, and holds on to their contents at one moment until Close.
//
// Files of SQLite are read in one transaction each, begun while none of them
// changed. Databases of one MongoDB replica set or sharded cluster are read at one
// cluster time; the server keeps that for minSnapshotHistoryWindowInSeconds (5
// minutes), and a reading that takes longer fails.
func OpenCut(ctx context.Context, uris ...string) (*Cut, error) {
	var paths, servers []string
	for _, uri := range uris {
		if path, ok := strings.CutPrefix(uri, "sqlite:"); ok {
			paths = append(paths, path)
		} else {
			servers = append(servers, uri)
		}
	}
	switch {
	case len(uris) == 0:
		return nil, errors.New("docstore: a cut of no database")
	case len(servers) == 0:
		return cutFiles(ctx, paths)
	case len(paths) == 0:
		return cutServers(ctx, servers)
	}
	return nil, errors.New("docstore: a cut is of files of SQLite or of databases of MongoDB, not of both")
}

// Documents yields every document of the i-th database, collection by collection.
func (c *Cut) Documents(ctx context.Context, i int) iter.Seq2[Kept, error] {
	return func(yield func(Kept, error) bool) {
		if err := c.views[i].each(ctx, func(k Kept) bool { return yield(k, nil) }); err != nil {
			yield(Kept{}, err)
		}
	}
}

// Close lets go of the databases.
func (c *Cut) Close() error {
	var all []error
	for _, v := range c.views {
		all = append(all, v.close())
	}
	return errors.Join(all...)
}

// Fill writes the documents of a backup into the engine's database, which must hold
// none, and gives how many they were. It may have written some when it fails; then
// begin again with an empty database. Indexes are built by the service, at its start.
func Fill(ctx context.Context, e Engine, docs iter.Seq2[Kept, error]) (n int64, err error) {
	const page = 500
	collection := ""
	var plain []Record // without events
	flush := func() error {
		if len(plain) == 0 {
			return nil
		}
		err := e.File(ctx, collection, plain)
		plain = plain[:0]
		return err
	}
	known := map[string]bool{}
	for k, err := range docs {
		if err != nil {
			return n, err
		}
		if k.Collection != collection {
			if err := flush(); err != nil {
				return n, err
			}
			collection = k.Collection
			if !known[collection] {
				known[collection] = true
				if err := e.Ensure(ctx, Schema{Collection: collection}); err != nil {
					return n, err
				}
				if there, err := e.Count(ctx, collection); err != nil || there > 0 {
					return n, errors.Join(err, fmt.Errorf("docstore: %s holds %d documents already: a backup goes into an empty database", collection, there))
				}
			}
		}
		n++
		r := Record{ID: k.ID, Version: k.Version, Seq: k.Seq, Body: k.Body}
		switch {
		case len(k.Outbox) == 0:
			if plain = append(plain, r); len(plain) == page {
				err = flush()
			}
		case k.Version == 0: // deleted, and its events are not published yet
			r.Version, r.Body = 1, emptyBody
			if err = e.Insert(ctx, collection, r, k.Outbox); err == nil {
				err = e.Delete(ctx, collection, k.ID, 1)
			}
		default:
			err = e.Insert(ctx, collection, r, k.Outbox)
		}
		if err != nil {
			return n, err
		}
	}
	return n, flush()
}

var emptyBody = bson.Raw{5, 0, 0, 0, 0}

// fileView is one file of SQLite, in a transaction.
type fileView struct {
	db          *sql.DB
	read, watch *sql.Conn
}

func cutFiles(ctx context.Context, paths []string) (c *Cut, err error) {
	c = &Cut{Exact: true}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	var files []*fileView
	for _, path := range paths {
		path, err := filepath.Abs(strings.TrimPrefix(path, "//"))
		if err != nil {
			return c, fmt.Errorf("docstore: %w", err)
		}
		if _, err := os.Stat(path); err != nil {
			return c, fmt.Errorf("docstore: %w", err)
		}
		f := &fileView{}
		if f.db, err = sql.Open("sqlite", sqliteDSN(path, "_pragma=query_only(1)")); err != nil {
			return c, err
		}
		files, c.views = append(files, f), append(c.views, f)
		if f.read, err = f.db.Conn(ctx); err == nil {
			f.watch, err = f.db.Conn(ctx)
		}
		if err != nil {
			return c, fmt.Errorf("docstore: %s: %w", path, err)
		}
	}
	// Begun one after the other while nothing was committed in any is begun at one
	// moment.
	for range 10_000 {
		before, err := changes(ctx, files)
		if err != nil {
			return c, err
		}
		c.At = time.Now().UTC()
		for _, f := range files {
			if _, err := f.read.ExecContext(ctx, "BEGIN"); err != nil {
				return c, sqliteProblem(err)
			}
			var n int64 // the first reading fixes what the transaction sees
			if err := f.read.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&n); err != nil {
				return c, sqliteProblem(err)
			}
		}
		after, err := changes(ctx, files)
		if err != nil {
			return c, err
		}
		if slices.Equal(before, after) {
			return c, nil
		}
		for _, f := range files {
			if _, err := f.read.ExecContext(ctx, "ROLLBACK"); err != nil {
				return c, sqliteProblem(err)
			}
		}
	}
	return c, fmt.Errorf("%w: sqlite: the files change all the time", ErrUnavailable)
}

// changes tells, of each file, a number that changes with every commit.
func changes(ctx context.Context, files []*fileView) ([]int64, error) {
	out := make([]int64, len(files))
	for i, f := range files {
		if err := f.watch.QueryRowContext(ctx, "PRAGMA data_version").Scan(&out[i]); err != nil {
			return nil, sqliteProblem(err)
		}
	}
	return out, nil
}

func sqliteProblem(err error) error { return fmt.Errorf("%w: sqlite: %w", ErrUnavailable, err) }

func (f *fileView) each(ctx context.Context, yield func(Kept) bool) error {
	var collections []string
	if err := f.rows(ctx, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%:%' AND name NOT LIKE 'sqlite_%' ORDER BY name`, func(rows *sql.Rows) (bool, error) {
		var name string
		err := rows.Scan(&name)
		collections = append(collections, name)
		return true, err
	}); err != nil {
		return err
	}
	for _, c := range collections {
		waiting := map[string][]Event{}
		if err := f.rows(ctx, fmt.Sprintf(`SELECT id, event FROM "%s:out" ORDER BY n`, c), func(rows *sql.Rows) (bool, error) {
			var (
				id  string
				raw []byte
				e   Event
			)
			if err := rows.Scan(&id, &raw); err != nil {
				return false, err
			}
			err := bson.Unmarshal(raw, &e)
			waiting[id] = append(waiting[id], e)
			return true, err
		}); err != nil {
			return err
		}
		more := true
		if err := f.rows(ctx, fmt.Sprintf(`SELECT id, version, seq, body FROM "%s" ORDER BY id`, c), func(rows *sql.Rows) (bool, error) {
			k := Kept{Collection: c}
			var body []byte
			if err := rows.Scan(&k.ID, &k.Version, &k.Seq, &body); err != nil {
				return false, err
			}
			k.Body, k.Outbox = body, waiting[k.ID]
			delete(waiting, k.ID)
			more = yield(k)
			return more, nil
		}); err != nil || !more {
			return err
		}
		for id, events := range waiting {
			if !yield(Kept{Collection: c, ID: id, Outbox: events}) {
				return nil
			}
		}
	}
	return nil
}

// rows calls row for each row of an answer, until it gives false or fails.
func (f *fileView) rows(ctx context.Context, text string, row func(*sql.Rows) (bool, error)) error {
	rows, err := f.read.QueryContext(ctx, text)
	if err != nil {
		return sqliteProblem(err)
	}
	defer rows.Close()
	for rows.Next() {
		if more, err := row(rows); err != nil || !more {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return sqliteProblem(err)
	}
	return nil
}

func (f *fileView) close() error {
	for _, c := range []*sql.Conn{f.read, f.watch} {
		if c != nil {
			c.Close() // the transaction, which wrote nothing, ends with it
		}
	}
	return f.db.Close()
}

// serverView is one database of MongoDB, in a snapshot where the server has them.
type serverView struct {
	client  *mongo.Client
	db      *mongo.Database
	session *mongo.Session // nil: none
}

// hello is what a server says of itself.
type hello struct {
	SetName       string         `bson:"setName"`
	Msg           string         `bson:"msg"` // "isdbgrid": the router of a sharded cluster
	Hosts         []string       `bson:"hosts"`
	OperationTime bson.Timestamp `bson:"operationTime"`
}

func (h hello) snapshots() bool { return h.SetName != "" || h.Msg == "isdbgrid" }

func cutServers(ctx context.Context, uris []string) (c *Cut, err error) {
	c = &Cut{At: time.Now().UTC(), Exact: true}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	var first hello
	for i, uri := range uris {
		e, err := openMongo(ctx, uri, settings{})
		if err != nil {
			return c, err
		}
		m := e.(*mongoEngine)
		v := &serverView{client: m.client, db: m.db}
		c.views = append(c.views, v)
		var h hello
		if err := v.db.Client().Database("admin").RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&h); err != nil {
			return c, mongoError("hello", err)
		}
		if i == 0 {
			first = h
		}
		u, _ := url.Parse(uri) // openMongo has read it
		zero, _ := url.Parse(uris[0])
		same := h.snapshots() && first.OperationTime.T > 0 && (h.SetName != "" && slices.Equal(h.Hosts, first.Hosts) || u.Host == zero.Host)
		c.Exact = c.Exact && same
		if !h.snapshots() {
			continue
		}
		o := options.Session().SetSnapshot(true)
		if same {
			o.SetSnapshotTime(first.OperationTime)
			c.At = time.Unix(int64(first.OperationTime.T), 0).UTC()
		}
		if v.session, err = v.client.StartSession(o); err != nil {
			return c, mongoError("session", err)
		}
	}
	return c, nil
}

func (v *serverView) each(ctx context.Context, yield func(Kept) bool) error {
	collections, err := v.db.ListCollectionNames(ctx, bson.D{{Key: "type", Value: "collection"}})
	if err != nil {
		return mongoError("collections", err)
	}
	slices.Sort(collections)
	if v.session != nil {
		ctx = mongo.NewSessionContext(ctx, v.session)
	}
	more := true
	for _, name := range collections {
		if strings.HasPrefix(name, "system.") {
			continue
		}
		found, err := v.db.Collection(name).Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
		if err != nil {
			return mongoError(name, err)
		}
		for more && found.Next(ctx) {
			var k kept
			if err = found.Decode(&k); err != nil {
				err = fmt.Errorf("docstore: a document of %s is none of ours: %w", name, err)
				break
			}
			more = yield(Kept{Collection: name, ID: k.ID, Version: k.Version, Seq: k.Seq, Body: k.Body, Outbox: k.Outbox})
		}
		if err == nil {
			err = mongoError(name, found.Err())
		}
		if err := errors.Join(err, found.Close(context.WithoutCancel(ctx))); err != nil || !more {
			return err
		}
	}
	return nil
}

func (v *serverView) close() error {
	ctx := context.Background()
	if v.session != nil {
		v.session.EndSession(ctx)
	}
	return v.client.Disconnect(ctx)
}
