package matching

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"

	"masar.local/pkg/docstore"
)

// A roster is a list of people and of the states in which they were: what a
// shortlist or a campaign was made from. It is kept under a digest of what it
// says, so that equal rosters are kept once.
//
// It is cut into parts, each of them kept in the same way. Where it is cut depends
// on the ids alone: when one person changes, one part does, and two rosters of a
// million people that differ in ten share all but ten parts of about partSize.
// The order of writing is parts, roster, and then whatever names the roster: what
// can be found can be read.

// Roster is the document of a roster, or of a part of one.
type Roster struct {
	Count int `bson:"count"` // people in it
	// Parts are the digests of its parts, 16 bytes each, in order; none in a part.
	Parts []byte `bson:"parts,omitempty"`
	// Entries are the people of a part, by id: 16 bytes of id, 8 of stamp, big-endian.
	Entries []byte `bson:"entries,omitempty"`
}

const (
	entrySize  = 24
	digestSize = 16
	// A roster is cut after each id that draws 0 of partSize, and after partMost:
	// parts of 24 kB on average, and below 800 kB always.
	partSize = 1024
	partMost = 1 << 15
	// What is written in one go.
	fileBytes = 4 << 20
	// How many parts are remembered to be stored.
	knownMost = 1 << 16
)

var rostersSchema = docstore.Schema{Collection: "rosters"}

// rosters keeps rosters. It is safe for concurrent use.
type rosters struct {
	e docstore.Engine

	mu    sync.Mutex
	known map[string]bool // documents that are there for certain: none is ever removed
}

func newRosters(e docstore.Engine) *rosters { return &rosters{e: e, known: map[string]bool{}} }

// rosterName is the name of the people, which are in the order of their ids, and
// documents are what is kept under it: the parts, and the roster last. Nothing is
// read or written.
func rosterDocuments(people []Seen) (name string, documents []namedRoster) {
	parts := make([]byte, 0, digestSize*(1+len(people)/partSize))
	for len(people) > 0 {
		n := 1
		for n < len(people) && n < partMost && !cut(&people[n-1]) {
			n++
		}
		entries := make([]byte, 0, entrySize*n)
		for _, p := range people[:n] {
			entries = append(entries, p.ID[:]...)
			entries = binary.BigEndian.AppendUint64(entries, p.Stamp)
		}
		digest := sha256.Sum256(entries)
		parts = append(parts, digest[:digestSize]...)
		documents = append(documents, namedRoster{"part-" + hex.EncodeToString(digest[:digestSize]), Roster{Count: n, Entries: entries}})
		people = people[n:]
	}
	digest := sha256.Sum256(parts)
	whole := namedRoster{"roster-" + hex.EncodeToString(digest[:digestSize]), Roster{Parts: parts}}
	for _, d := range documents {
		whole.Count += d.Count
	}
	return whole.name, append(documents, whole)
}

// cut says whether a part ends after somebody.
func cut(p *Seen) bool {
	return mix(binary.BigEndian.Uint64(p.ID[:8])^mix(binary.BigEndian.Uint64(p.ID[8:])))%partSize == 0
}

type namedRoster struct {
	name string
	Roster
}

// store keeps people, who are sorted by id, each once, and gives the name of
// their roster. To keep the same again writes nothing.
func (r *rosters) store(ctx context.Context, people []Seen) (name string, err error) {
	for i := 1; i < len(people); i++ {
		if people[i-1].ID.Compare(people[i].ID) >= 0 {
			return "", errors.New("matching: a roster is not sorted by id, or has somebody twice")
		}
	}
	name, documents := rosterDocuments(people)
	return name, r.file(ctx, documents)
}

// file writes those documents that are not known to be there.
func (r *rosters) file(ctx context.Context, documents []namedRoster) error {
	var batch []docstore.Record
	var names []string
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := r.e.File(ctx, rostersSchema.Collection, batch); err != nil {
			return fmt.Errorf("matching: keep a roster: %w", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.known)+len(names) > knownMost {
			clear(r.known)
		}
		for _, n := range names {
			r.known[n] = true
		}
		batch, names, size = nil, nil, 0
		return nil
	}
	for _, d := range documents {
		r.mu.Lock()
		known := r.known[d.name]
		r.mu.Unlock()
		if known {
			continue
		}
		body, err := bson.Marshal(d.Roster)
		if err != nil {
			return fmt.Errorf("matching: encode a roster: %w", err)
		}
		if size += len(body); size > fileBytes {
			if err := flush(); err != nil {
				return err
			}
			size = len(body)
		}
		batch, names = append(batch, docstore.Record{ID: d.name, Version: 1, Body: body}), append(names, d.name)
	}
	return flush()
}

// load gives the people of a roster, by id. What is not there is
// docstore.ErrNotFound; what is there and was not written by store is an error
// too.
func (r *rosters) load(ctx context.Context, name string) ([]Seen, error) {
	whole, err := r.get(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(whole.Parts)%digestSize != 0 {
		return nil, fmt.Errorf("matching: the roster %s is damaged: its list of parts has %d bytes", name, len(whole.Parts))
	}
	people := make([]Seen, 0, max(0, whole.Count))
	for digests := whole.Parts; len(digests) > 0; digests = digests[digestSize:] {
		digest := digests[:digestSize]
		part, err := r.get(ctx, "part-"+hex.EncodeToString(digest))
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(part.Entries); string(sum[:digestSize]) != string(digest) || len(part.Entries)%entrySize != 0 {
			return nil, fmt.Errorf("matching: the part %x of the roster %s is damaged", digest, name)
		}
		for e := part.Entries; len(e) > 0; e = e[entrySize:] {
			people = append(people, Seen{ID: [16]byte(e), Stamp: binary.BigEndian.Uint64(e[16:])})
		}
	}
	if len(people) != whole.Count {
		return nil, fmt.Errorf("matching: the roster %s is damaged: it says %d people and has %d", name, whole.Count, len(people))
	}
	return people, nil
}

func (r *rosters) get(ctx context.Context, name string) (*Roster, error) {
	found, err := r.e.Get(ctx, rostersSchema.Collection, name)
	if err != nil {
		return nil, fmt.Errorf("matching: read %s of the rosters: %w", name, err)
	}
	var out Roster
	if err := bson.Unmarshal(found.Body, &out); err != nil {
		return nil, fmt.Errorf("matching: %s of the rosters is damaged: %w", name, err)
	}
	return &out, nil
}
