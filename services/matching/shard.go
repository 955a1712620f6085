package matching

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/oklog/ulid/v2"
)

// shard holds a part of the people, each in a row: what the hard conditions ask
// as bitmaps of rows, what the score asks as columns. What many people share (a
// list of languages, of licences, of wishes, of pathways' stages) is held once
// and referred to by number; what nearly nobody shares (occupations with their
// months, competences) is packed into a few bytes.
//
// A reader holds the lock of one shard at a time, for some microseconds, so that
// neither readers nor writers wait long. A person is in one shard, and so is seen
// by a question in one state only. Rows are never given up: people are not
// removed, they change.
type shard struct {
	mu      sync.RWMutex
	codes   *codes
	changes *changes // of the index
	table   []uint32 // hash table of rows by id: row + 1, 0 is free
	who     []identity
	rows    []row
	sets    map[setKey]*roaring.Bitmap

	languages facets[[]Level]
	licences  facets[licences]
	wishes    facets[wishes]
	tracks    facets[[]Track]

	// packed has the record of each row; a new record is put at the end, so that
	// what a clone shares never changes.
	packed []byte
	waste  int // bytes of records that are no longer used
}

// identity is what a row is called, and of which documents it was made.
type identity struct {
	id      ulid.ULID
	version int64 // of the document
	seq     int64 // of the candidate
	stamp   uint64
}

// row is one person; the numbers are those of facets and codes.
type row struct {
	from, to    Day
	packed      uint32 // where the record of occupations and competences is
	governorate uint32
	languages   uint32
	licences    uint32
	wishes      uint32
	tracks      uint32
}

// licences is a list of licences and which of the required ones it meets.
type licences struct {
	held []string
	meet []string
}

// wishes are the schemes and regions that people wish.
type wishes struct{ schemes, regions []string }

// setKey names a set of rows.
type setKey struct {
	kind    setKind
	a, b, c string
	rank    int8
}

type setKind uint8

// Sets of rows, and what names each.
const (
	setOccupation  setKind = iota // a: exercised
	setGovernorate                // a: lives in it
	setWish                       // a: wishes the scheme
	setNoWish                     // wishes no scheme in particular
	setTrack                      // a: has an open pathway in the scheme
	setAt                         // a, b, c: the pathway is at stage b of version c of scheme a
	setTakes                      // a: the scheme lets the pathway's stage take a shortlist
	setEngaged                    // hired or placed
	setMatching                   // consents to be matched
	setDisclosure                 // consents to be shown to employers
	setLanguage                   // a, rank: knows the language at this level or above
	setLicence                    // a: holds the required licence, or one that covers it
	setDated                      // says from when or until when they are available
)

// facets are values that many rows share.
type facets[T any] struct {
	number map[string]uint32 // by key
	values []T
	keys   []string
	users  []uint32 // how many rows have the value; 0: it is free
	free   []uint32
}

// take gives the number of a value, and counts one user more.
func (f *facets[T]) take(key []byte, value func() T) uint32 {
	n, ok := f.number[string(key)]
	switch {
	case ok:
	case len(f.free) > 0:
		n = f.free[len(f.free)-1]
		f.free = f.free[:len(f.free)-1]
	default:
		n = uint32(len(f.values))
		var none T
		f.values, f.keys, f.users = append(f.values, none), append(f.keys, ""), append(f.users, 0)
	}
	if !ok {
		if f.number == nil {
			f.number = map[string]uint32{}
		}
		f.keys[n], f.values[n] = string(key), value()
		f.number[f.keys[n]] = n
	}
	f.users[n]++
	return n
}

// drop counts one user less; a value without users is given up.
func (f *facets[T]) drop(n uint32) {
	f.users[n]--
	if f.users[n] > 0 {
		return
	}
	delete(f.number, f.keys[n])
	var none T
	f.keys[n], f.values[n] = "", none
	f.free = append(f.free, n)
}

// codes number the codes of occupations and governorates, once for all shards.
// Codes are never given up: there are as many as reference data has.
type codes struct {
	mu     sync.RWMutex
	number map[string]uint32
	names  []string
}

func newCodes() *codes { return &codes{number: map[string]uint32{}} }

// of gives the number of a code, a new one when it has none yet.
func (c *codes) of(code string) uint32 {
	c.mu.RLock()
	n, ok := c.number[code]
	c.mu.RUnlock()
	if ok {
		return n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok = c.number[code]; !ok {
		n = uint32(len(c.names))
		c.names = append(c.names, code)
		c.number[code] = n
	}
	return n
}

// all gives the codes there are by now, by their numbers. They do not change.
func (c *codes) all() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.names
}

// hash spreads ids over shards and tables.
func hash(id ulid.ULID) uint64 {
	return mix(binary.BigEndian.Uint64(id[8:]) ^ mix(binary.BigEndian.Uint64(id[:8])))
}

// find gives the row of a person, -1 when the shard does not have them.
func (s *shard) find(id ulid.ULID) int {
	if len(s.table) == 0 {
		return -1
	}
	mask := uint64(len(s.table) - 1)
	for i := hash(id) & mask; s.table[i] != 0; i = (i + 1) & mask {
		if at := s.table[i] - 1; s.who[at].id == id {
			return int(at)
		}
	}
	return -1
}

// enter puts the last row into the table.
func (s *shard) enter() {
	if 4*len(s.who) > 3*len(s.table) { // at most three quarters full
		s.table = make([]uint32, max(64, 2*len(s.table)))
		for at := range s.who {
			s.seat(uint32(at))
		}
		return
	}
	s.seat(uint32(len(s.who) - 1))
}

func (s *shard) seat(at uint32) {
	mask := uint64(len(s.table) - 1)
	i := hash(s.who[at].id) & mask
	for s.table[i] != 0 {
		i = (i + 1) & mask
	}
	s.table[i] = at + 1
}

// put takes a person as a document has them, unless the shard has a newer one.
// needs are the licences that have sets. It says whether the person is new.
func (s *shard) put(who identity, p *Person, needs []string) (added bool) {
	governorate := s.codes.of(p.Governorate)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.find(who.id)
	if at >= 0 && s.who[at].version >= who.version {
		return false
	}
	s.changes.add(p.Occupations)
	fresh := row{from: p.From, to: p.To, governorate: governorate}
	s.share(&fresh, p, needs)
	if at < 0 {
		at = len(s.rows)
		fresh.packed = s.pack(p)
		s.who, s.rows = append(s.who, who), append(s.rows, fresh)
		s.enter()
		for _, k := range s.keys(nil, &s.rows[at], p) {
			s.set(k).Add(uint32(at))
		}
		return true
	}
	old := s.rows[at]
	before := Person{}
	s.person(uint32(at), &before)
	s.changes.add(before.Occupations)
	was := s.keys(nil, &old, &before)
	if slices.Equal(before.Occupations, p.Occupations) && slices.Equal(before.Competences, p.Competences) {
		fresh.packed = old.packed
	} else {
		s.waste += s.recordSize(old.packed)
		fresh.packed = s.pack(p)
	}
	now := s.keys(nil, &fresh, p)
	for _, k := range was {
		if !slices.Contains(now, k) {
			s.unset(k, uint32(at))
		}
	}
	for _, k := range now {
		if !slices.Contains(was, k) {
			s.set(k).Add(uint32(at))
		}
	}
	s.who[at], s.rows[at] = who, fresh
	s.languages.drop(old.languages)
	s.licences.drop(old.licences)
	s.wishes.drop(old.wishes)
	s.tracks.drop(old.tracks)
	if s.waste > 1<<16 && s.waste > len(s.packed)/3 {
		s.repack()
	}
	return false
}

// has says whether the shard has a person as this version of the document, or a
// newer one, has them.
func (s *shard) has(id ulid.ULID, version int64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at := s.find(id)
	return at >= 0 && s.who[at].version >= version
}

// share finds the numbers of what a person shares with others.
func (s *shard) share(r *row, p *Person, needs []string) {
	var room [256]byte
	key := room[:0]
	for _, l := range p.Languages {
		key = append(text(key, l.Code), byte(l.Rank))
	}
	r.languages = s.languages.take(key, func() []Level { return p.Languages })

	key = texts8(room[:0], p.Licences)
	r.licences = s.licences.take(key, func() licences {
		l := licences{held: p.Licences}
		for _, need := range needs {
			if licenceHeld(p.Licences, need) {
				l.meet = append(l.meet, need)
			}
		}
		return l
	})

	key = texts8(texts8(room[:0], p.Schemes), p.Regions)
	r.wishes = s.wishes.take(key, func() wishes { return wishes{p.Schemes, p.Regions} })

	key = room[:0]
	for i := range p.Tracks {
		key = text(text(text(key, p.Tracks[i].Scheme), p.Tracks[i].Version), p.Tracks[i].Stage)
	}
	r.tracks = s.tracks.take(key, func() []Track {
		shared := slices.Clone(p.Tracks)
		for i := range shared {
			shared[i].Pathway = "" // everybody has their own
		}
		return shared
	})
}

// text appends a text to a key, texts8 a list of them, so that no two differing
// lists have one key.
func text(key []byte, s string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(s))), s...)
}

func texts8(key []byte, list []string) []byte {
	key = binary.AppendUvarint(key, uint64(len(list)))
	for _, s := range list {
		key = text(key, s)
	}
	return key
}

// keys appends the names of every set that a row is in.
func (s *shard) keys(out []setKey, r *row, p *Person) []setKey {
	for _, o := range p.Occupations {
		out = append(out, setKey{kind: setOccupation, a: o.Rome})
	}
	out = append(out, setKey{kind: setGovernorate, a: p.Governorate})
	if len(p.Schemes) == 0 {
		out = append(out, setKey{kind: setNoWish})
	}
	for i, scheme := range p.Schemes {
		if !slices.Contains(p.Schemes[:i], scheme) {
			out = append(out, setKey{kind: setWish, a: scheme})
		}
	}
	engaged := false
	for i := range p.Tracks {
		t := &p.Tracks[i]
		if engaged = engaged || t.Engaged; trackIn(p, t.Scheme) != t {
			continue // another one counts in this scheme
		}
		out = append(out, setKey{kind: setTrack, a: t.Scheme}, setKey{kind: setAt, a: t.Scheme, b: t.Stage, c: t.Version})
		if t.Known && t.Takes.has(Shortlisted) {
			out = append(out, setKey{kind: setTakes, a: t.Scheme})
		}
	}
	if engaged {
		out = append(out, setKey{kind: setEngaged})
	}
	if p.Matching {
		out = append(out, setKey{kind: setMatching})
	}
	if p.Disclosure {
		out = append(out, setKey{kind: setDisclosure})
	}
	for _, l := range p.Languages {
		for rank := range l.Rank + 1 {
			out = append(out, setKey{kind: setLanguage, a: l.Code, rank: rank})
		}
	}
	for _, need := range s.licences.values[r.licences].meet {
		out = append(out, setKey{kind: setLicence, a: need})
	}
	if p.From != 0 || p.To != 0 {
		out = append(out, setKey{kind: setDated})
	}
	return out
}

// set gives a set of rows to add to.
func (s *shard) set(k setKey) *roaring.Bitmap {
	b := s.sets[k]
	if b == nil {
		if s.sets == nil {
			s.sets = map[setKey]*roaring.Bitmap{}
		}
		b = roaring.New()
		s.sets[k] = b
	}
	return b
}

func (s *shard) unset(k setKey, at uint32) {
	b := s.sets[k]
	b.Remove(at)
	if b.IsEmpty() {
		delete(s.sets, k)
	}
}

// none is the set without rows.
var none = roaring.New()

// in gives a set of rows to read.
func (s *shard) in(k setKey) *roaring.Bitmap {
	if b := s.sets[k]; b != nil {
		return b
	}
	return none
}

// require makes a set for a licence that an offer asks for.
func (s *shard) require(need string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	meets := make([]bool, len(s.licences.values))
	for i := range meets {
		if l := &s.licences.values[i]; s.licences.users[i] > 0 && licenceHeld(l.held, need) {
			meets[i] = true
			l.meet = append(slices.Clip(l.meet), need) // a clone may share the old one
		}
	}
	for at := range s.rows {
		if meets[s.rows[at].licences] {
			s.set(setKey{kind: setLicence, a: need}).Add(uint32(at))
		}
	}
}

// pack appends the record of a person: the number of occupations and each with
// its months, the number of competences and each by how much it is more than the
// one before.
func (s *shard) pack(p *Person) uint32 {
	if len(s.packed) > math.MaxUint32-1<<20 {
		// Forty times as many people as the index is made for.
		panic("matching: the records of a shard take more than 4 GB")
	}
	at := uint32(len(s.packed))
	b := binary.AppendUvarint(s.packed, uint64(len(p.Occupations)))
	for _, o := range p.Occupations {
		b = binary.AppendUvarint(b, uint64(s.codes.of(o.Rome)))
		b = binary.AppendUvarint(b, uint64(o.Months))
	}
	b = binary.AppendUvarint(b, uint64(len(p.Competences)))
	last := Item(0)
	for _, i := range p.Competences {
		b = binary.AppendUvarint(b, uint64(i-last))
		last = i
	}
	s.packed = b
	return at
}

// record reads the bytes of a record one number after the other.
type record struct {
	bytes []byte
	at    uint32
}

func (r *record) next() uint32 {
	b := r.bytes[r.at]
	r.at++
	if b < 0x80 {
		return uint32(b)
	}
	x, shift := uint32(b&0x7f), 7
	for {
		b = r.bytes[r.at]
		r.at++
		x |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return x
		}
		shift += 7
	}
}

func (s *shard) recordSize(at uint32) int {
	r := record{s.packed, at}
	for range 2 * r.next() {
		r.next()
	}
	for range r.next() {
		r.next()
	}
	return int(r.at - at)
}

// repack drops the records that are no longer used.
func (s *shard) repack() {
	packed := make([]byte, 0, len(s.packed)-s.waste+(len(s.packed)-s.waste)/8)
	for i := range s.rows {
		at := s.rows[i].packed
		s.rows[i].packed = uint32(len(packed))
		packed = append(packed, s.packed[at:int(at)+s.recordSize(at)]...)
	}
	s.packed, s.waste = packed, 0
}

// profile unpacks what the score sees of a row, into the room that p has for lists
// of its own.
func (s *shard) profile(at uint32, p *Profile) {
	r := &s.rows[at]
	occupations, competences := p.Occupations[:0], p.Competences[:0]
	*p = Profile{
		Languages: s.languages.values[r.languages], Licences: s.licences.values[r.licences].held,
		From: r.from, To: r.to, Schemes: s.wishes.values[r.wishes].schemes, Regions: s.wishes.values[r.wishes].regions,
	}
	rec, names := record{s.packed, r.packed}, s.codes.all()
	n := int(rec.next())
	p.Occupations = slices.Grow(occupations, n)[:n]
	for i := range p.Occupations {
		p.Occupations[i].Rome = names[rec.next()]
		p.Occupations[i].Months = int32(rec.next())
	}
	n = int(rec.next())
	p.Competences = slices.Grow(competences, n)[:n]
	last := Item(0)
	for i := range p.Competences {
		last += Item(rec.next())
		p.Competences[i] = last
	}
}

// person unpacks a row. Its tracks have no ids.
func (s *shard) person(at uint32, p *Person) {
	s.profile(at, &p.Profile)
	r := &s.rows[at]
	p.Governorate = s.codes.all()[r.governorate]
	p.Matching = s.in(setKey{kind: setMatching}).Contains(at)
	p.Disclosure = s.in(setKey{kind: setDisclosure}).Contains(at)
	p.Tracks = s.tracks.values[r.tracks]
}

// clone copies a shard as it stands, for those who need it for long. The caller
// holds the lock.
func (s *shard) clone() *shard {
	c := &shard{
		codes: s.codes, table: slices.Clone(s.table), who: slices.Clone(s.who), rows: slices.Clone(s.rows),
		sets: make(map[setKey]*roaring.Bitmap, len(s.sets)), packed: slices.Clip(s.packed),
	}
	for k, b := range s.sets {
		c.sets[k] = b.Clone()
	}
	c.languages.values = slices.Clone(s.languages.values)
	c.licences.values = slices.Clone(s.licences.values)
	c.wishes.values = slices.Clone(s.wishes.values)
	c.tracks.values = slices.Clone(s.tracks.values)
	return c
}
