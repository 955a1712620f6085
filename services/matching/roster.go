package matching

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"

	"masar.local/pkg/docstore"
)

// A roster is a list of people, or of offers, and of the states in which they
// were: what a shortlist or a campaign was made from. It is kept under a digest of
// what it says, so that equal rosters are kept once.
//
// It is cut into parts, each of them kept in the same way. Where it is cut depends
// on the ids alone: when one person changes, one part does, and two rosters of a
// million people that differ in ten share all but ten parts of about partSize.

// Roster is the document of a roster, or of a part of one.
type Roster struct {
	Count int `bson:"count"` // people or offers in it
	// Parts are the digests of its parts, 16 bytes each, in order; none in a part.
	Parts []byte `bson:"parts,omitempty"`
	// Entries are what a part lists, by id; numbers are big-endian. A person: 16
	// bytes of id, 8 of stamp. An offer: 8 bytes of its seq, 8 of its employer's, 2
	// of the length of its id, the id.
	Entries []byte `bson:"entries,omitempty"`
}

const (
	digestSize = 16
	// A roster is cut after each id that draws 0 of partSize, and after partMost:
	// parts of 24 kB on average, and below 800 kB always (an id of an offer may be
	// long, but is not).
	partSize = 1024
	partMost = 1 << 14
	// What is written in one go.
	fileBytes = 4 << 20
)

var rostersSchema = docstore.Schema{Collection: "rosters"}

// keeper writes documents that never change, under names that are made from what
// they say. It is safe for concurrent use.
type keeper struct {
	e          docstore.Engine
	collection string

	mu    sync.Mutex
	known map[string]bool // documents that are there for certain: none is ever removed
}

func newKeeper(e docstore.Engine, s docstore.Schema) *keeper {
	return &keeper{e: e, collection: s.Collection, known: map[string]bool{}}
}

// knownMost bounds how many documents a keeper remembers.
const knownMost = 1 << 16

// has says whether a document is known to be there.
func (k *keeper) has(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known[name]
}

// file writes those documents that are not known to be there.
func (k *keeper) file(ctx context.Context, documents []named) error {
	var batch []docstore.Record
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := k.e.File(ctx, k.collection, batch); err != nil {
			return fmt.Errorf("matching: keep %s: %w", k.collection, err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.known)+len(batch) > knownMost {
			clear(k.known)
		}
		for _, r := range batch {
			k.known[r.ID] = true
		}
		batch, size = nil, 0
		return nil
	}
	for _, d := range documents {
		if k.has(d.name) {
			continue
		}
		body, err := bson.Marshal(d.body)
		if err != nil {
			return fmt.Errorf("matching: encode %s: %w", k.collection, err)
		}
		if size > 0 && size+len(body) > fileBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		size += len(body)
		batch = append(batch, docstore.Record{ID: d.name, Version: 1, Body: body})
	}
	return flush()
}

// named is a document and its id.
type named struct {
	name string
	body any
}

// rosters keeps rosters.
type rosters struct{ *keeper }

func newRosters(e docstore.Engine) rosters { return rosters{newKeeper(e, rostersSchema)} }

// roster is one that may be kept: its name, and the documents of it.
type roster struct {
	name      string
	documents []named
}

// rosterOf makes a roster of n entries. entry appends the i-th; cut says whether a
// part ends after it; there names documents that need not be made, as they are
// kept already.
func rosterOf(n int, entry func(to []byte, i int) []byte, cut func(i int) bool, there func(name string) bool) roster {
	var out roster
	parts := make([]byte, 0, digestSize*(1+n/partSize))
	entries := make([]byte, 0, 32*partSize)
	for i := 0; i < n; {
		entries = entries[:0]
		first := i
		for {
			entries = entry(entries, i)
			if i++; i == n || i-first == partMost || cut(i-1) {
				break
			}
		}
		digest := sha256.Sum256(entries)
		parts = append(parts, digest[:digestSize]...)
		if name := "part-" + hex.EncodeToString(digest[:digestSize]); !there(name) {
			out.documents = append(out.documents, named{name, Roster{Count: i - first, Entries: slices.Clone(entries)}})
		}
	}
	digest := sha256.Sum256(parts)
	out.name = "roster-" + hex.EncodeToString(digest[:digestSize])
	if !there(out.name) {
		out.documents = append(out.documents, named{out.name, Roster{Count: n, Parts: parts}})
	}
	return out
}

// ofPeople makes the roster of people, who are sorted by id, each once: those of its
// documents that are not known to be kept.
func (r rosters) ofPeople(people []Seen) (roster, error) {
	for i := 1; i < len(people); i++ {
		if people[i-1].ID.Compare(people[i].ID) >= 0 {
			return roster{}, errors.New("matching: a roster is not sorted by id, or has somebody twice")
		}
	}
	return rosterOf(len(people), func(to []byte, i int) []byte {
		return binary.BigEndian.AppendUint64(append(to, people[i].ID[:]...), people[i].Stamp)
	}, func(i int) bool { return cutAfter(&people[i]) }, r.has), nil
}

func cutAfter(p *Seen) bool {
	return mix(binary.BigEndian.Uint64(p.ID[:8])^mix(binary.BigEndian.Uint64(p.ID[8:])))%partSize == 0
}

// ofOffers makes the roster of offers, in the order given, as ofPeople does.
func (r rosters) ofOffers(offers []SeenOffer) roster {
	return rosterOf(len(offers), func(to []byte, i int) []byte {
		to = binary.BigEndian.AppendUint64(to, uint64(offers[i].Seq))
		to = binary.BigEndian.AppendUint64(to, uint64(offers[i].EmployerSeq))
		to = binary.BigEndian.AppendUint16(to, uint16(len(offers[i].ID))) // at most docstore.MaxID
		return append(to, offers[i].ID...)
	}, func(i int) bool { return draw(0, offers[i].ID)%partSize == 0 }, r.has)
}

// store keeps people, who are sorted by id, each once, and gives the name of
// their roster. To keep the same again writes nothing.
func (r rosters) store(ctx context.Context, people []Seen) (name string, err error) {
	made, err := r.ofPeople(people)
	if err != nil {
		return "", err
	}
	return made.name, r.file(ctx, made.documents)
}

// storeOffers keeps offers in the order given, and gives the name of their roster.
func (r rosters) storeOffers(ctx context.Context, offers []SeenOffer) (name string, err error) {
	made := r.ofOffers(offers)
	return made.name, r.file(ctx, made.documents)
}

// load gives the people of a roster, by id. What is not there is
// docstore.ErrNotFound; what is there and was not written by store is an error
// too.
func (r rosters) load(ctx context.Context, name string) ([]Seen, error) {
	var people []Seen
	err := r.entries(ctx, name, func(e []byte) (int, bool) {
		if len(e) < 24 {
			return 0, false
		}
		people = append(people, Seen{ID: [16]byte(e), Stamp: binary.BigEndian.Uint64(e[16:])})
		return 24, true
	})
	return people, err
}

// loadOffers gives the offers of a roster, as load does people.
func (r rosters) loadOffers(ctx context.Context, name string) ([]SeenOffer, error) {
	var offers []SeenOffer
	err := r.entries(ctx, name, func(e []byte) (int, bool) {
		if len(e) < 18 {
			return 0, false
		}
		size := 18 + int(binary.BigEndian.Uint16(e[16:]))
		if len(e) < size {
			return 0, false
		}
		offers = append(offers, SeenOffer{
			ID: string(e[18:size]), Seq: int64(binary.BigEndian.Uint64(e)), EmployerSeq: int64(binary.BigEndian.Uint64(e[8:])),
		})
		return size, true
	})
	return offers, err
}

// entries reads a roster: take reads one entry and says how long it is, or that
// it is none.
func (r rosters) entries(ctx context.Context, name string, take func([]byte) (int, bool)) error {
	whole, err := r.get(ctx, name)
	if err != nil {
		return err
	}
	damaged := fmt.Errorf("matching: the roster %s is damaged", name)
	if len(whole.Parts)%digestSize != 0 {
		return damaged
	}
	n := 0
	for digests := whole.Parts; len(digests) > 0; digests = digests[digestSize:] {
		digest := digests[:digestSize]
		part, err := r.get(ctx, "part-"+hex.EncodeToString(digest))
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(part.Entries); string(sum[:digestSize]) != string(digest) {
			return damaged
		}
		for e := part.Entries; len(e) > 0; n++ {
			size, ok := take(e)
			if !ok {
				return damaged
			}
			e = e[size:]
		}
	}
	if n != whole.Count {
		return damaged
	}
	return nil
}

func (r rosters) get(ctx context.Context, name string) (*Roster, error) {
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

// sortSeen sorts people by id. From some hundreds on it looks at each byte of the
// moments in the ids once (a radix sort), which takes a third of the time of
// comparing them; a byte that all have in common, as the first of ids made in one
// year, costs nothing. Those of one moment are then put in order one by one.
func sortSeen(people []Seen) {
	if len(people) < 512 {
		slices.SortFunc(people, bySeen)
		return
	}
	const moment = 6 // bytes of a ULID
	var counts [moment][256]int32
	for i := range people {
		for at, b := range people[i].ID[:moment] {
			counts[at][b]++
		}
	}
	room := sortRooms.Get().(*[]Seen)
	defer sortRooms.Put(room)
	*room = slices.Grow((*room)[:0], len(people))
	from, to := people, (*room)[:len(people)]
	for at := moment - 1; at >= 0; at-- {
		count := &counts[at]
		if int(count[from[0].ID[at]]) == len(people) {
			continue
		}
		next := int32(0) // where those with a byte begin
		for b, n := range count {
			count[b], next = next, next+n
		}
		for i := range from {
			b := from[i].ID[at]
			to[count[b]] = from[i]
			count[b]++
		}
		from, to = to, from
	}
	if &from[0] != &people[0] {
		copy(people, from)
	}
	for i := 0; i < len(people); {
		end := i + 1
		for end < len(people) && [moment]byte(people[end].ID[:]) == [moment]byte(people[i].ID[:]) {
			end++
		}
		if end > i+1 {
			slices.SortFunc(people[i:end], bySeen)
		}
		i = end
	}
}

var sortRooms = sync.Pool{New: func() any { return new([]Seen) }}
