package candidates

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"masar.local/pkg/docstore"
)

// Collections of the service.
const (
	candidateCollection = "candidates"
	keyCollection       = "candidate_keys"
	pathwayCollection   = "pathways"
)

// Indexes, by the question they answer.
const (
	byIdentity           = "identity"           // is this person known?
	byNameKey            = "name"               // who is called so?
	byGovernorateName    = "governorate_name"   // ... in this governorate
	byUpdate             = "update"             // what changed since?
	byGovernorateUpdate  = "governorate_update" // ... in this governorate
	byCandidate          = "candidate"          // which pathways has this person?
	byOpenKey            = "open"               // the one open pathway of a person and scheme
	bySchemeStage        = "scheme_stage"       // who is at this stage, longest first?
	byGovernorateStage   = "governorate_stage"  // ... in this governorate
	bySchemeUpdate       = "scheme_update"
	byGovernorateSchemes = "governorate_scheme_update"
)

var candidateSchema = docstore.Schema{Collection: candidateCollection, Indexes: []docstore.Index{
	{Name: byIdentity, Fields: []docstore.Field{{Path: "identity"}}, Unique: true},
	{Name: byNameKey, Fields: []docstore.Field{{Path: "name_keys"}}},
	{Name: byGovernorateName, Fields: []docstore.Field{{Path: "governorate"}, {Path: "name_keys"}}},
	{Name: byUpdate, Fields: []docstore.Field{{Path: "updated_at", Kind: docstore.Time}}},
	{Name: byGovernorateUpdate, Fields: []docstore.Field{{Path: "governorate"}, {Path: "updated_at", Kind: docstore.Time}}},
}}

var keySchema = docstore.Schema{Collection: keyCollection}

var pathwaySchema = docstore.Schema{Collection: pathwayCollection, Indexes: []docstore.Index{
	{Name: byCandidate, Fields: []docstore.Field{{Path: "candidate_id"}, {Path: "opened_at", Kind: docstore.Time}}},
	{Name: byOpenKey, Fields: []docstore.Field{{Path: "open_key"}}, Unique: true},
	{Name: bySchemeStage, Fields: []docstore.Field{
		{Path: "scheme"}, {Path: "state"}, {Path: "stage"}, {Path: "entered_at", Kind: docstore.Time},
	}},
	{Name: byGovernorateStage, Fields: []docstore.Field{
		{Path: "person.governorate"}, {Path: "scheme"}, {Path: "state"}, {Path: "stage"}, {Path: "entered_at", Kind: docstore.Time},
	}},
	{Name: bySchemeUpdate, Fields: []docstore.Field{{Path: "scheme"}, {Path: "updated_at", Kind: docstore.Time}}},
	{Name: byGovernorateSchemes, Fields: []docstore.Field{
		{Path: "person.governorate"}, {Path: "scheme"}, {Path: "updated_at", Kind: docstore.Time},
	}},
}}

// collections are the service's documents.
type collections struct {
	candidates *docstore.Collection[Candidate]
	keys       *docstore.Collection[dataKey]
	pathways   *docstore.Collection[Pathway]
}

func openCollections(ctx context.Context, e docstore.Engine) (collections, error) {
	c := collections{
		candidates: docstore.NewCollection[Candidate](e, candidateSchema),
		keys:       docstore.NewCollection[dataKey](e, keySchema),
		pathways:   docstore.NewCollection[Pathway](e, pathwaySchema),
	}
	if err := c.candidates.Ensure(ctx); err != nil {
		return c, fmt.Errorf("candidates: preparing the store: %w", err)
	}
	if err := c.keys.Ensure(ctx); err != nil {
		return c, fmt.Errorf("candidates: preparing the store: %w", err)
	}
	if err := c.pathways.Ensure(ctx); err != nil {
		return c, fmt.Errorf("candidates: preparing the store: %w", err)
	}
	return c, nil
}

// dataKey is one person's data key, wrapped by the master key. Deleting the
// document makes everything that is sealed with it unreadable, for ever and in
// every backup that does not hold it.
type dataKey struct {
	Wrapped   []byte    `bson:"wrapped"`
	CreatedAt time.Time `bson:"created_at"`
}

// masterCheck is the document that says which master key a store belongs to.
const masterCheck = "master"

// claim makes sure that the store was written with this master key: starting
// with another one would make every identity unknown and double the register.
func (k *Keyring) claim(ctx context.Context, keys *docstore.Collection[dataKey], now time.Time) error {
	mine := []byte(k.digest("check", "masar"))
	err := keys.Insert(ctx, &docstore.Doc[dataKey]{ID: masterCheck, Body: dataKey{Wrapped: mine, CreatedAt: now}})
	if err == nil || !errors.Is(err, docstore.ErrExists) {
		return err
	}
	d, err := keys.Get(ctx, masterCheck)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(d.Body.Wrapped, mine) != 1 {
		return errors.New("candidates: this store was written with another master key: give the service that one (MASAR_MASTER_KEY, or " + keyFile + " in MASAR_DATA_DIR)")
	}
	return nil
}

// vault seals and opens identity numbers with each person's own key.
type vault struct {
	ring *Keyring
	keys *docstore.Collection[dataKey]
}

// key gives the person's data key, made at the first use.
func (v vault) key(ctx context.Context, person string, now time.Time) ([]byte, error) {
	d, err := v.keys.Get(ctx, person)
	if errors.Is(err, docstore.ErrNotFound) {
		key, wrapped, err := v.ring.newDataKey(person)
		if err != nil {
			return nil, err
		}
		err = v.keys.Insert(ctx, &docstore.Doc[dataKey]{ID: person, Body: dataKey{Wrapped: wrapped, CreatedAt: now}})
		if !errors.Is(err, docstore.ErrExists) {
			return key, err
		}
		// Somebody made it at the same time; theirs counts.
		if d, err = v.keys.Get(ctx, person); err != nil {
			return nil, err
		}
		return v.ring.dataKey(person, d.Body.Wrapped)
	}
	if err != nil {
		return nil, err
	}
	return v.ring.dataKey(person, d.Body.Wrapped)
}

// walk reads one page over several index ranges, one range after the other:
// first everything of the first range, then of the second. Nothing is read that
// is not answered, so a scope of several governorates costs what one costs.
func walk[T any](ctx context.Context, c *docstore.Collection[T], ranges []docstore.Query, cursor string, limit int) (docs []*docstore.Doc[T], next string, err error) {
	at, after, err := parseCursor(cursor, len(ranges))
	if err != nil {
		return nil, "", err
	}
	for ; at < len(ranges); at, after = at+1, "" {
		if len(docs) == limit {
			return docs, makeCursor(at, ""), nil
		}
		q := ranges[at]
		q.After, q.Limit = after, limit-len(docs)
		found, more, err := c.Find(ctx, q)
		if err != nil {
			return nil, "", err
		}
		docs = append(docs, found...)
		if more != "" {
			return docs, makeCursor(at, more), nil
		}
	}
	return docs, "", nil
}

func makeCursor(at int, after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(at) + ":" + after))
}

func parseCursor(cursor string, ranges int) (at int, after string, err error) {
	if cursor == "" {
		return 0, "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, "", docstore.ErrInvalidCursor
	}
	number, after, _ := strings.Cut(string(text), ":")
	at, err = strconv.Atoi(number)
	if err != nil || at < 0 || at >= ranges {
		return 0, "", docstore.ErrInvalidCursor
	}
	return at, after, nil
}
