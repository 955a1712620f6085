package docstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// The mongo engine keeps each document as
//
//	{_id, version, seq, body: {...}, outbox: [events that wait], pending: since when}
//
// Every operation is one command on one document, acknowledged by a majority;
// nothing needs a transaction, a change stream or an update pipeline. A document
// that is deleted while events of it wait stays with version 0 and no body until
// they are settled; every read leaves such remains out.

const (
	reachMongo = 10 * time.Second // unless the address says another serverSelectionTimeoutMS

	keptVersion = "version"
	keptPending = "pending"
	keptOutbox  = "outbox"
	inBody      = "body."

	pendingIndex = "masar_pending"
	indexPrefix  = "masar_ix_" // of the declared indexes' names

	indexOptionsConflict  = 85 // codes of the server
	indexKeySpecsConflict = 86
)

type mongoEngine struct {
	client *mongo.Client
	db     *mongo.Database
	log    *slog.Logger
	watch  watchers

	mu          sync.RWMutex
	collections map[string]*mongoCollection
}

type mongoCollection struct {
	*mongo.Collection
	settled *mongo.Collection // reads only what a majority has: what is published must not be rolled back
	schema  Schema
	indexes map[string]*compiled
}

// kept is a document as MongoDB keeps it.
type kept struct {
	ID      string         `bson:"_id"`
	Version int64          `bson:"version"`
	Seq     int64          `bson:"seq"`
	Body    bson.Raw       `bson:"body,omitempty"`
	Outbox  []Event        `bson:"outbox"`
	Pending *bson.DateTime `bson:"pending,omitempty"`
}

func (k kept) record() Record {
	return Record{ID: k.ID, Version: k.Version, Seq: k.Seq, Body: k.Body}
}

func openMongo(ctx context.Context, uri string, o settings) (Engine, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, errors.New("docstore: the mongodb address cannot be read: give mongodb://HOST/DATABASE") // the cause would show its password
	}
	name := strings.TrimPrefix(u.Path, "/")
	if name == "" {
		return nil, errors.New("docstore: the mongodb address names no database: give mongodb://HOST/DATABASE")
	}
	conf := options.Client().ApplyURI(uri).SetAppName("masar").SetWriteConcern(writeconcern.Majority())
	if conf.ServerSelectionTimeout == nil {
		conf.SetServerSelectionTimeout(reachMongo)
	}
	client, err := mongo.Connect(conf)
	if err != nil {
		return nil, fmt.Errorf("docstore: mongodb: %w", err)
	}
	e := &mongoEngine{client: client, db: client.Database(name), log: o.log, collections: map[string]*mongoCollection{}}
	if err := e.Ping(ctx); err != nil {
		return nil, errors.Join(err, client.Disconnect(context.WithoutCancel(ctx)))
	}
	return e, nil
}

// mongoError gives an error of the driver its meaning, without the text of the
// server, which quotes values.
func mongoError(collection string, err error) error {
	var (
		cmd    mongo.CommandError
		server mongo.ServerError
	)
	switch {
	case err == nil:
		return nil
	case mongo.IsDuplicateKeyError(err):
		return &Taken{Collection: collection, Index: takenIndex(err)}
	case errors.As(err, &cmd):
		return fmt.Errorf("%w: mongodb: %s: server error %d %s", ErrUnavailable, collection, cmd.Code, cmd.Name)
	case errors.As(err, &server):
		return fmt.Errorf("%w: mongodb: %s: server error %v", ErrUnavailable, collection, server.ErrorCodes())
	}
	return fmt.Errorf("%w: mongodb: %s: %w", ErrUnavailable, collection, err)
}

var indexInError = regexp.MustCompile(`index: (\S+)`)

// takenIndex reads from a duplicate-key error which index it is about, "" for
// the id's.
func takenIndex(err error) string {
	m := indexInError.FindStringSubmatch(err.Error())
	if m == nil {
		return "?"
	}
	if i := strings.LastIndex(m[1], indexPrefix); i >= 0 {
		return m[1][i+len(indexPrefix):]
	}
	return ""
}

func (e *mongoEngine) Ensure(ctx context.Context, schemas ...Schema) error {
	for _, s := range schemas {
		if err := s.check(); err != nil {
			return err
		}
		c := &mongoCollection{
			Collection: e.db.Collection(s.Collection),
			settled:    e.db.Collection(s.Collection, options.Collection().SetReadConcern(readconcern.Majority())),
			schema:     s, indexes: map[string]*compiled{},
		}
		models := []mongo.IndexModel{{
			Keys:    bson.D{{Key: keptPending, Value: 1}},
			Options: options.Index().SetName(pendingIndex).SetSparse(true),
		}}
		for _, ix := range s.Indexes {
			c.indexes[ix.Name] = compile(ix)
			models = append(models, mongoModel(ix))
		}
		for _, m := range models {
			if err := c.build(ctx, m); err != nil {
				return err
			}
		}
		if err := e.warnUndeclared(ctx, c); err != nil {
			return err
		}
		e.mu.Lock()
		e.collections[s.Collection] = c
		e.mu.Unlock()
	}
	return nil
}

func mongoModel(ix Index) mongo.IndexModel {
	var keys bson.D
	var full bson.D // what holds of a document that a unique index has
	for _, f := range ix.Fields {
		keys = append(keys, bson.E{Key: inBody + f.Path, Value: 1})
		full = append(full, bson.E{Key: inBody + f.Path, Value: notEmpty(f.Kind)})
	}
	keys = append(keys, bson.E{Key: "_id", Value: 1})
	o := options.Index().SetName(indexPrefix + ix.Name)
	if ix.Unique {
		keys = keys[:len(keys)-1]
		o.SetUnique(true).SetPartialFilterExpression(full)
	}
	return mongo.IndexModel{Keys: keys, Options: o}
}

// notEmpty is the condition that a value is there, and no empty string.
func notEmpty(k Kind) bson.D {
	if k == String {
		return bson.D{{Key: "$gt", Value: ""}}
	}
	return present(k)
}

// present is the condition that a value is there. A comparison sees values of
// its own type only.
func present(k Kind) bson.D {
	return bson.D{{Key: "$gte", Value: map[Kind]any{
		String: "", Int: int64(math.MinInt64), Time: time.Time{}, Bool: false, // no time is before year 1
	}[k]}}
}

// build creates an index, instead of the one of that name if it was declared
// otherwise.
func (c *mongoCollection) build(ctx context.Context, m mongo.IndexModel) error {
	name := c.schema.Collection
	_, err := c.Indexes().CreateOne(ctx, m)
	var server mongo.ServerError
	if errors.As(err, &server) && (server.HasErrorCode(indexOptionsConflict) || server.HasErrorCode(indexKeySpecsConflict)) {
		var o options.IndexOptions
		for _, set := range m.Options.Opts {
			if err := set(&o); err != nil {
				return fmt.Errorf("docstore: %s: %w", name, err)
			}
		}
		if err := c.Indexes().DropOne(ctx, *o.Name); err != nil {
			return mongoError(name, err)
		}
		_, err = c.Indexes().CreateOne(ctx, m)
	}
	return mongoError(name, err)
}

func (e *mongoEngine) warnUndeclared(ctx context.Context, c *mongoCollection) error {
	have, err := c.Indexes().ListSpecifications(ctx)
	if err != nil {
		return mongoError(c.schema.Collection, err)
	}
	for _, ix := range have {
		name, ours := strings.CutPrefix(ix.Name, indexPrefix)
		if _, declared := c.indexes[name]; ours && !declared {
			e.log.Warn("an index is not declared any more: drop it when no older replica runs",
				"collection", c.schema.Collection, "index", ix.Name)
		}
	}
	return nil
}

func (e *mongoEngine) collection(name string) (*mongoCollection, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	c, ok := e.collections[name]
	if !ok {
		return nil, undeclared(name)
	}
	return c, nil
}

// live is the condition that a document is not the remains of a deleted one.
var live = bson.E{Key: keptVersion, Value: bson.D{{Key: "$gt", Value: 0}}}

// inRecord leaves out the outbox, which is the relay's.
var inRecord = bson.D{{Key: keptOutbox, Value: 0}}

func (e *mongoEngine) Get(ctx context.Context, collection, id string) (Record, error) {
	c, err := e.collection(collection)
	if err != nil {
		return Record{}, err
	}
	var k kept
	err = c.FindOne(ctx, bson.D{{Key: "_id", Value: id}, live}, options.FindOne().SetProjection(inRecord)).Decode(&k)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return Record{}, notFound(collection)
	}
	return k.record(), mongoError(collection, err)
}

// check makes sure that the body fits the indexes, as the other engine does.
func (c *mongoCollection) check(body bson.Raw) error {
	for _, ix := range c.indexes {
		if _, err := ix.entries(body); err != nil {
			return fmt.Errorf("%s: %w", c.schema.Collection, err)
		}
	}
	return nil
}

func (e *mongoEngine) Insert(ctx context.Context, collection string, r Record, events []Event) error {
	c, err := e.writable(ctx, collection, r.Body)
	if err != nil {
		return err
	}
	k := kept{ID: r.ID, Version: r.Version, Seq: r.Seq, Body: r.Body, Outbox: events}
	if len(events) > 0 {
		now := bson.NewDateTimeFromTime(time.Now())
		k.Pending = &now
	} else {
		k.Outbox = []Event{}
	}
	_, err = c.InsertOne(ctx, k)
	if err != nil {
		err = mongoError(collection, err)
		var by *Taken
		if errors.As(err, &by) && by.Index == "" {
			// Perhaps it is the remains of a deleted document.
			revived, errUpdate := c.UpdateOne(ctx, bson.D{{Key: "_id", Value: r.ID}, {Key: keptVersion, Value: 0}}, writeOf(r, events))
			switch {
			case errUpdate != nil:
				return mongoError(collection, errUpdate)
			case revived.MatchedCount > 0:
				err = nil
			}
		}
	}
	e.wrote(events, err)
	return err
}

// writable gives the collection to write a body to.
func (e *mongoEngine) writable(ctx context.Context, collection string, body bson.Raw) (*mongoCollection, error) {
	c, err := e.collection(collection)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, cancelled(ctx)
	}
	return c, c.check(body)
}

func (e *mongoEngine) wrote(events []Event, err error) {
	if err == nil && len(events) > 0 {
		e.watch.wake()
	}
}

// writeOf is the update that writes a record over a document and appends events.
func writeOf(r Record, events []Event) bson.D {
	u := bson.D{{Key: "$set", Value: bson.D{
		{Key: keptVersion, Value: r.Version}, {Key: "seq", Value: r.Seq}, {Key: "body", Value: r.Body},
	}}}
	if len(events) > 0 {
		u = append(u,
			bson.E{Key: "$push", Value: bson.D{{Key: keptOutbox, Value: bson.D{{Key: "$each", Value: events}}}}},
			// Sets it where it is absent.
			bson.E{Key: "$min", Value: bson.D{{Key: keptPending, Value: time.Now()}}})
	}
	return u
}

func (e *mongoEngine) Replace(ctx context.Context, collection string, r Record, events []Event) error {
	c, err := e.writable(ctx, collection, r.Body)
	if err != nil {
		return err
	}
	done, err := c.UpdateOne(ctx, bson.D{{Key: "_id", Value: r.ID}, {Key: keptVersion, Value: r.Version - 1}}, writeOf(r, events))
	switch {
	case err != nil:
		err = mongoError(collection, err)
	case done.MatchedCount == 0:
		err = e.missed(ctx, c, r.ID)
	}
	e.wrote(events, err)
	return err
}

// missed says why no document had the id and version that a write asked for.
func (e *mongoEngine) missed(ctx context.Context, c *mongoCollection, id string) error {
	name := c.schema.Collection
	n, err := c.CountDocuments(ctx, bson.D{{Key: "_id", Value: id}, live})
	switch {
	case err != nil:
		return mongoError(name, err)
	case n == 0:
		return notFound(name)
	}
	return stale(name)
}

func (e *mongoEngine) Delete(ctx context.Context, collection, id string, version int64) error {
	c, err := e.collection(collection)
	if err != nil {
		return err
	}
	if version < 1 {
		return e.missed(ctx, c, id)
	}
	this := bson.D{{Key: "_id", Value: id}, {Key: keptVersion, Value: version}}
	gone, err := c.DeleteOne(ctx, append(this, bson.E{Key: keptPending, Value: bson.D{{Key: "$exists", Value: false}}}))
	if err != nil || gone.DeletedCount > 0 {
		return mongoError(collection, err)
	}
	emptied, err := c.UpdateOne(ctx, this, bson.D{
		{Key: "$set", Value: bson.D{{Key: keptVersion, Value: int64(0)}}},
		{Key: "$unset", Value: bson.D{{Key: "body", Value: ""}}},
	})
	switch {
	case err != nil:
		return mongoError(collection, err)
	case emptied.MatchedCount == 0:
		return e.missed(ctx, c, id)
	}
	return nil
}

func (e *mongoEngine) Scan(ctx context.Context, collection, after string, limit int) ([]Record, error) {
	c, err := e.collection(collection)
	if err != nil {
		return nil, err
	}
	cursor, err := c.Collection.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: after}}}, live},
		options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(limit)).SetProjection(inRecord))
	if err != nil {
		return nil, mongoError(collection, err)
	}
	var ks []kept
	if err := cursor.All(ctx, &ks); err != nil {
		return nil, mongoError(collection, err)
	}
	return records(ks), nil
}

func records(ks []kept) []Record {
	out := make([]Record, len(ks))
	for i, k := range ks {
		out[i] = k.record()
	}
	return out
}

func (e *mongoEngine) Count(ctx context.Context, collection string) (int64, error) {
	c, err := e.collection(collection)
	if err != nil {
		return 0, err
	}
	n, err := c.CountDocuments(ctx, bson.D{live})
	return n, mongoError(collection, err)
}

func (e *mongoEngine) Find(ctx context.Context, collection string, q Query) ([]Record, string, error) {
	c, err := e.collection(collection)
	if err != nil {
		return nil, "", err
	}
	p, err := q.plan(collection, c.indexes)
	if err != nil || p.none {
		return nil, "", err
	}
	if q.many && p.rest() < len(p.index.Fields) {
		return c.findByElement(ctx, p)
	}
	cursor, err := c.Collection.Find(ctx, append(p.filter(q.many), p.beyond(p.bodyPath)...),
		options.Find().SetSort(p.order(p.bodyPath)).SetLimit(int64(p.limit)+1).SetProjection(inRecord))
	if err != nil {
		return nil, "", mongoError(collection, err)
	}
	var ks []kept
	if err := cursor.All(ctx, &ks); err != nil {
		return nil, "", mongoError(collection, err)
	}
	if len(ks) <= p.limit {
		return records(ks), "", nil
	}
	ks = ks[:p.limit]
	last := ks[p.limit-1]
	entries, err := p.index.entries(last.Body)
	if err != nil {
		return nil, "", err
	}
	at := slices.IndexFunc(entries, p.matches)
	if at < 0 {
		return nil, "", fmt.Errorf("docstore: %s: index %s: the database found a document that the query does not match", collection, p.index.Name)
	}
	return records(ks), p.cursor(entries[at], last.ID), nil
}

// bodyPath is where field i of the index is in a document.
func (p *plan) bodyPath(i int) string { return inBody + p.index.Fields[i].Path }

// filter is the query but for the part of its cursor that beyond gives, as one
// condition for each path: simpler servers than MongoDB use an index for those
// only.
func (p *plan) filter(many bool) bson.D {
	all := bson.D{live}
	last := len(p.index.Fields) - 1
	for i, f := range p.index.Fields {
		switch {
		case i >= len(p.eq):
			var ops bson.D
			if p.index.Unique {
				ops = notEmpty(f.Kind) // what its index is declared with
			}
			if i == p.rest() {
				ops = append(ops, p.bounds(true)...)
			}
			if len(ops) > 0 {
				all = append(all, bson.E{Key: p.bodyPath(i), Value: distinct(ops)})
			}
		case p.eq[i] == missing && many && i == last:
			all = append(all, bson.E{Key: p.bodyPath(i), Value: bson.D{{Key: "$in", Value: bson.A{nil, bson.A{}}}}})
		default:
			all = append(all, equal(p.bodyPath(i), p.eq[i], f.Kind))
		}
	}
	return all
}

// distinct keeps the last of each operator, which is the tighter one.
func distinct(ops bson.D) bson.D {
	var out bson.D
	for i, op := range ops {
		if !slices.ContainsFunc(ops[i+1:], func(later bson.E) bool { return later.Key == op.Key }) {
			out = append(out, op)
		}
	}
	return out
}

// bounds is the range of the query on the first field that it does not fix; with
// the cursor, which is the tighter bound on its side, if told so.
func (p *plan) bounds(cursor bool) bson.D {
	if p.rest() == len(p.index.Fields) {
		return nil
	}
	kind := p.index.Fields[p.rest()].Kind
	var ops bson.D
	add := func(op string, v any) { ops = append(ops, bson.E{Key: op, Value: mongoValue(v, kind)}) }
	if p.lo != nil {
		add("$gte", p.lo)
	}
	if p.hi != nil {
		add("$lt", p.hi)
	}
	if !cursor || p.after == nil || p.after[p.rest()] == missing {
		return ops
	}
	switch {
	case !p.desc:
		add("$gte", p.after[p.rest()])
	case p.ranged(): // otherwise what is missing follows
		add("$lte", p.after[p.rest()])
	}
	return ops
}

// order sorts by what the query does not fix; what it fixes is left out, so that
// an index over it and an array still gives the order. In a unique index the
// fields are order enough, and its keys end with them.
func (p *plan) order(path func(int) string) bson.D {
	way := 1
	if p.desc {
		way = -1
	}
	var s bson.D
	for i := p.rest(); i < len(p.index.Fields); i++ {
		s = append(s, bson.E{Key: path(i), Value: way})
	}
	if p.index.Unique && len(s) > 0 {
		return s
	}
	return append(s, bson.E{Key: "_id", Value: way})
}

// beyond is the condition to come after the cursor: after it in the first field
// that is not fixed, or equal there and after it in the next, and so on.
func (p *plan) beyond(path func(int) string) bson.D {
	if p.after == nil {
		return nil
	}
	than := "$gt"
	if p.desc {
		than = "$lt"
	}
	last := bson.E{Key: "_id", Value: bson.D{{Key: than, Value: p.afterID}}}
	if p.rest() == len(p.index.Fields) {
		return bson.D{last}
	}
	var ways bson.A
	var same bson.D
	for i := p.rest(); i < len(p.index.Fields); i++ {
		v, kind := p.after[i], p.index.Fields[i].Kind
		further := bson.E{Key: path(i), Value: bson.D{{Key: than, Value: mongoValue(v, kind)}}}
		switch {
		case v == missing && !p.desc:
			ways = append(ways, append(slices.Clone(same), bson.E{Key: path(i), Value: present(kind)}))
		case v == missing: // nothing comes after it
		case p.desc:
			ways = append(ways,
				append(slices.Clone(same), further),
				append(slices.Clone(same), bson.E{Key: path(i), Value: nil})) // missing comes last
		default:
			ways = append(ways, append(slices.Clone(same), further))
		}
		same = append(same, equal(path(i), v, kind))
	}
	return bson.D{{Key: "$or", Value: append(ways, append(same, last))}}
}

func equal(path string, v any, kind Kind) bson.E {
	if v == missing {
		return bson.E{Key: path, Value: nil} // absent or null
	}
	return bson.E{Key: path, Value: mongoValue(v, kind)}
}

func mongoValue(v any, kind Kind) any {
	switch n, _ := v.(int64); kind {
	case Time:
		return bson.DateTime(n)
	case Bool:
		return n == 1
	default:
		return v
	}
}

// findByElement answers a query that does not fix the array field of its index.
// A find would sort a document by the smallest of all elements; it has to come
// at the first one that the query matches.
func (c *mongoCollection) findByElement(ctx context.Context, p *plan) ([]Record, string, error) {
	name := c.schema.Collection
	last := len(p.index.Fields) - 1
	key := func(i int) string { return fmt.Sprintf("k%d", i) }
	first := "$min"
	if p.desc {
		first = "$max"
	}
	take := bson.D{}
	group := bson.D{{Key: "_id", Value: "$_id"}}
	for i := p.rest(); i <= last; i++ {
		take = append(take, bson.E{Key: p.bodyPath(i), Value: 1})
		of := "$first"
		if i == last {
			of = first
		}
		group = append(group, bson.E{Key: key(i), Value: bson.D{{Key: of, Value: "$" + p.bodyPath(i)}}})
	}
	stages := mongo.Pipeline{
		{{Key: "$match", Value: p.filter(true)}},
		{{Key: "$project", Value: take}},
	}
	// Whichever part of the path the array is at: what is none is left as it is.
	for i := range p.index.paths[last] {
		stages = append(stages, bson.D{{Key: "$unwind", Value: bson.D{
			{Key: "path", Value: "$" + inBody + strings.Join(p.index.paths[last][:i+1], ".")},
			{Key: "preserveNullAndEmptyArrays", Value: true},
		}}})
	}
	if p.rest() == last && p.ranged() {
		stages = append(stages, bson.D{{Key: "$match", Value: bson.D{{Key: p.bodyPath(last), Value: p.bounds(false)}}}})
	}
	stages = append(stages, bson.D{{Key: "$group", Value: group}})
	if after := p.beyond(key); after != nil {
		stages = append(stages, bson.D{{Key: "$match", Value: after}})
	}
	stages = append(stages,
		bson.D{{Key: "$sort", Value: p.order(key)}},
		bson.D{{Key: "$limit", Value: int64(p.limit) + 1}})

	cursor, err := c.Aggregate(ctx, stages)
	if err != nil {
		return nil, "", mongoError(name, err)
	}
	var found []bson.Raw
	if err := cursor.All(ctx, &found); err != nil {
		return nil, "", mongoError(name, err)
	}
	more := len(found) > p.limit
	found = found[:min(len(found), p.limit)]
	ids := make([]string, len(found))
	for i, f := range found {
		ids[i] = f.Lookup("_id").StringValue()
	}
	if cursor, err = c.Collection.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}, live}, options.Find().SetProjection(inRecord)); err != nil {
		return nil, "", mongoError(name, err)
	}
	var ks []kept
	if err := cursor.All(ctx, &ks); err != nil {
		return nil, "", mongoError(name, err)
	}
	slices.SortFunc(ks, func(a, b kept) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) })
	if !more {
		return records(ks), "", nil
	}
	entry := slices.Clone(p.eq)
	for i := p.rest(); i <= last; i++ {
		v, _, err := collect(nil, found[p.limit-1].Lookup(key(i)), nil, p.index.Fields[i].Kind)
		if err != nil {
			return nil, "", fmt.Errorf("docstore: %s: index %s: %w", name, p.index.Name, err)
		}
		entry = append(entry, append(v, missing)[0])
	}
	return records(ks), p.cursor(entry, ids[p.limit-1]), nil
}

func (e *mongoEngine) Pending(ctx context.Context, collection string, limit int) ([]Pending, error) {
	c, err := e.collection(collection)
	if err != nil {
		return nil, err
	}
	cursor, err := c.settled.Find(ctx, bson.D{{Key: keptPending, Value: present(Time)}},
		options.Find().SetSort(bson.D{{Key: keptPending, Value: 1}}).SetLimit(int64(limit)).SetProjection(bson.D{{Key: keptOutbox, Value: 1}}))
	if err != nil {
		return nil, mongoError(collection, err)
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	var out []Pending
	for events, size := 0, 0; events < limit && size < pendingBytes && cursor.Next(ctx); {
		var k kept
		if err := cursor.Decode(&k); err != nil {
			return nil, fmt.Errorf("docstore: %s: an outbox cannot be read: %w", collection, err)
		}
		out = append(out, Pending{ID: k.ID, Events: k.Outbox})
		events += len(k.Outbox)
		size += len(cursor.Current)
	}
	return out, mongoError(collection, cursor.Err())
}

func (e *mongoEngine) Settle(ctx context.Context, collection string, done []Pending) error {
	c, err := e.collection(collection)
	if err != nil || len(done) == 0 {
		return err
	}
	// Usually nothing came meanwhile, and the outbox is emptied.
	models := make([]mongo.WriteModel, len(done))
	ids := make([]string, len(done))
	for i, p := range done {
		ids[i] = p.ID
		filter := bson.D{{Key: "_id", Value: p.ID}, {Key: keptOutbox, Value: bson.D{{Key: "$size", Value: len(p.Events)}}}}
		if n := len(p.Events); n > 0 {
			filter = append(filter,
				bson.E{Key: keptOutbox + ".0.id", Value: p.Events[0].ID},
				bson.E{Key: fmt.Sprintf("%s.%d.id", keptOutbox, n-1), Value: p.Events[n-1].ID})
		}
		models[i] = mongo.NewUpdateOneModel().SetFilter(filter).SetUpdate(bson.D{
			{Key: "$set", Value: bson.D{{Key: keptOutbox, Value: bson.A{}}}},
			{Key: "$unset", Value: bson.D{{Key: keptPending, Value: ""}}},
		})
	}
	unordered := options.BulkWrite().SetOrdered(false)
	res, err := c.BulkWrite(ctx, models, unordered)
	if err != nil {
		return mongoError(collection, err)
	}
	if res.MatchedCount < int64(len(done)) {
		// Where something came, only these go; pending stays, and says then that
		// the rest waits longer than it does.
		for i, p := range done {
			events := make([]string, len(p.Events))
			for j, ev := range p.Events {
				events[j] = ev.ID
			}
			models[i] = mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: p.ID}}).SetUpdate(bson.D{
				{Key: "$pull", Value: bson.D{{Key: keptOutbox, Value: bson.D{{Key: "id", Value: bson.D{{Key: "$in", Value: events}}}}}}},
			})
		}
		if _, err := c.BulkWrite(ctx, models, unordered); err != nil {
			return mongoError(collection, err)
		}
	}
	_, err = c.DeleteMany(ctx, bson.D{
		{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}},
		{Key: keptVersion, Value: 0},
		{Key: keptPending, Value: bson.D{{Key: "$exists", Value: false}}},
	})
	return mongoError(collection, err)
}

func (e *mongoEngine) Backlog(ctx context.Context, collection string) (b Backlog, err error) {
	c, err := e.collection(collection)
	if err != nil {
		return b, err
	}
	waits := bson.D{{Key: keptPending, Value: present(Time)}}
	if b.Documents, err = c.CountDocuments(ctx, waits, options.Count().SetLimit(backlogLimit)); err != nil || b.Documents == 0 {
		return b, mongoError(collection, err)
	}
	var k kept
	err = c.FindOne(ctx, waits, options.FindOne().SetSort(bson.D{{Key: keptPending, Value: 1}}).SetProjection(bson.D{{Key: keptPending, Value: 1}})).Decode(&k)
	if errors.Is(err, mongo.ErrNoDocuments) { // settled meanwhile
		return Backlog{}, nil
	}
	if k.Pending != nil {
		b.Oldest = k.Pending.Time().UTC()
	}
	return b, mongoError(collection, err)
}

func (e *mongoEngine) File(ctx context.Context, collection string, rs []Record) error {
	c, err := e.collection(collection)
	if err != nil || len(rs) == 0 {
		return err
	}
	docs := make([]kept, len(rs))
	for i, r := range rs {
		if err := c.check(r.Body); err != nil {
			return err
		}
		docs[i] = kept{ID: r.ID, Version: r.Version, Seq: r.Seq, Body: r.Body, Outbox: []Event{}}
	}
	_, err = c.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
	var bulk mongo.BulkWriteException
	if errors.As(err, &bulk) && bulk.WriteConcernError == nil {
		err = nil
		for _, w := range bulk.WriteErrors {
			if !mongo.IsDuplicateKeyError(w.WriteError) {
				return mongoError(collection, w.WriteError)
			}
			if by := takenIndex(w.WriteError); by != "" {
				return &Taken{Collection: collection, Index: by}
			}
		}
	}
	return mongoError(collection, err)
}

func (e *mongoEngine) Watch() (<-chan struct{}, func()) { return e.watch.add() }

func (e *mongoEngine) Hold(ctx context.Context, name, holder string, ttl time.Duration, run func(context.Context) error) error {
	return holdByDocument(ctx, e, name, holder, ttl, run)
}

func (e *mongoEngine) Ping(ctx context.Context) error {
	return mongoError(e.db.Name(), e.client.Ping(ctx, nil))
}

// closing bounds how long Close waits for connections in use.
const closing = 5 * time.Second

func (e *mongoEngine) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	return mongoError(e.db.Name(), e.client.Disconnect(ctx))
}
