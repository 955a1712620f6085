package docstore

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

const defaultLimit = 50

// plan is a checked query: which entries of an index, in which order, from where.
type plan struct {
	index *compiled
	eq    []any // values of the first fields
	lo    any   // lo <= the next field, nil: no bound
	hi    any   // the next field < hi, nil: no bound
	desc  bool
	limit int
	none  bool // no document can match

	after   []any // entry and id of the last document of the page before
	afterID string
	query   []byte // names the query in its cursors
}

// ranged reports whether the field after the equal ones is bounded.
func (p *plan) ranged() bool { return p.lo != nil || p.hi != nil }

// rest is the number of the first field that is not fixed.
func (p *plan) rest() int { return len(p.eq) }

// matches reports whether the query, without its cursor, asks for the entry.
func (p *plan) matches(entry []any) bool {
	for i, v := range p.eq {
		if entry[i] != v {
			return false
		}
	}
	if !p.ranged() {
		return true
	}
	v := entry[p.rest()]
	return v != missing &&
		(p.lo == nil || compareValues(v, p.lo) >= 0) &&
		(p.hi == nil || compareValues(v, p.hi) < 0)
}

// leads reports whether the entry is the first, in the order of the query, of
// those in the body that it asks for: where a document shows up.
func (p *plan) leads(entry []any, body bson.Raw) (bool, error) {
	all, err := p.index.entries(body)
	if err != nil {
		return false, err
	}
	if p.desc {
		slices.Reverse(all)
	}
	for _, e := range all {
		if p.matches(e) {
			return slices.Equal(e, entry), nil
		}
	}
	return false, nil
}

// plan checks the query against the indexes of a collection.
func (q Query) plan(collection string, indexes map[string]*compiled) (*plan, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("docstore: %s: query on index %q: %w", collection, q.Index, fmt.Errorf(format, args...))
	}
	ix, ok := indexes[q.Index]
	if !ok {
		return nil, bad("no such index is declared")
	}
	if len(q.Eq) > len(ix.Fields) {
		return nil, bad("%d values for %d fields", len(q.Eq), len(ix.Fields))
	}
	if q.Limit < 0 {
		return nil, bad("a limit of %d", q.Limit)
	}
	p := &plan{index: ix, desc: q.Desc, limit: q.Limit}
	if p.limit == 0 {
		p.limit = defaultLimit
	}
	for i, v := range q.Eq {
		k, err := value(v, ix.Fields[i].Kind)
		if err != nil {
			return nil, bad("%s: %w", ix.Fields[i].Path, err)
		}
		p.eq = append(p.eq, k)
		p.none = p.none || ix.Unique && empty(k)
	}
	if q.Prefix != "" || q.From != nil || q.Below != nil {
		if len(q.Eq) == len(ix.Fields) {
			return nil, bad("a range after all fields are fixed")
		}
		next := ix.Fields[len(q.Eq)]
		switch {
		case q.Prefix != "" && (q.From != nil || q.Below != nil):
			return nil, bad("a prefix and a range")
		case q.Prefix != "" && next.Kind != String:
			return nil, bad("a prefix on %s, which is no string", next.Path)
		case q.Prefix != "":
			p.lo = q.Prefix
			if s := successor(q.Prefix); s != "" {
				p.hi = s
			}
		default:
			for _, bound := range []struct {
				from any
				to   *any
			}{{q.From, &p.lo}, {q.Below, &p.hi}} {
				if bound.from == nil {
					continue
				}
				k, err := value(bound.from, next.Kind)
				if err != nil {
					return nil, bad("%s: %w", next.Path, err)
				}
				*bound.to = k
			}
		}
	}
	p.query = p.fingerprint(collection)
	if q.After != "" {
		if err := p.resume(q.After); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// fingerprint names the query, without cursor and limit.
func (p *plan) fingerprint(collection string) []byte {
	b, err := bson.Marshal(bson.D{
		{Key: "c", Value: collection},
		{Key: "i", Value: p.index.Name},
		{Key: "e", Value: bson.A(p.eq)},
		{Key: "l", Value: p.lo},
		{Key: "h", Value: p.hi},
		{Key: "d", Value: p.desc},
	})
	if err != nil {
		panic(fmt.Sprintf("docstore: strings and numbers do not encode: %v", err)) // they always do
	}
	sum := sha256.Sum256(b)
	return sum[:8]
}

// position is the content of a cursor: which query, and where it stopped.
type position struct {
	Query []byte `bson:"q"`
	Rest  bson.A `bson:"k"` // the values that the query does not fix
	ID    string `bson:"i"`
}

// cursor gives the cursor of the page that follows this document.
func (p *plan) cursor(entry []any, id string) string {
	b, err := bson.Marshal(position{Query: p.query, Rest: bson.A(entry[p.rest():]), ID: id})
	if err != nil {
		panic(fmt.Sprintf("docstore: strings and numbers do not encode: %v", err))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// resume reads a cursor into the plan.
func (p *plan) resume(cursor string) error {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return fmt.Errorf("%w: it is not base64", ErrInvalidCursor)
	}
	var pos position
	if bson.Raw(b).Validate() != nil || bson.Unmarshal(b, &pos) != nil {
		return fmt.Errorf("%w: it cannot be read", ErrInvalidCursor)
	}
	if !slices.Equal(pos.Query, p.query) {
		return fmt.Errorf("%w: it is of another query", ErrInvalidCursor)
	}
	entry := slices.Concat(p.eq, []any(pos.Rest))
	if len(entry) != len(p.index.Fields) || pos.ID == "" {
		return fmt.Errorf("%w: it cannot be read", ErrInvalidCursor)
	}
	for i, v := range entry {
		_, isString := v.(string)
		_, isInt := v.(int64)
		if !(isString && p.index.Fields[i].Kind == String) && !(isInt && (v == missing || p.index.Fields[i].Kind != String)) {
			return fmt.Errorf("%w: it cannot be read", ErrInvalidCursor)
		}
	}
	if !p.matches(entry) {
		return fmt.Errorf("%w: it is outside the query", ErrInvalidCursor)
	}
	p.after, p.afterID = entry, pos.ID
	return nil
}
