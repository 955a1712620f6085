package indicators

import (
	"cmp"
	"encoding/binary"
	"math"
	"strings"

	"github.com/oklog/ulid/v2"
)

// idSet numbers ids in the order in which they come, from 0. Ids that are ULIDs,
// as Masar's own, take 16 bytes and a share of the index; others are kept as they
// are. What was numbered never changes, so that a copy of the struct can be read
// while the set grows.
type idSet struct {
	n      uint32
	chunks [][]idKey         // of idChunk each
	index  []uint32          // open addressing by hash: number+1, 0 is free
	odd    map[string]uint32 // numbers of ids that are no ULIDs
	texts  []string          // these ids
}

const idChunk = 1 << 12

// idKey is an id of 128 bits. Where the first half is oddID, which no ULID is until
// the year 10889, the second is a place in texts.
type idKey struct{ high, low uint64 }

const oddID = math.MaxUint64

// parseID reads the canonical form of a ULID.
func parseID(text string) (id idKey, ok bool) {
	u, err := ulid.ParseStrict(text)
	if err != nil {
		return id, false
	}
	var canonical [ulid.EncodedSize]byte
	if err := u.MarshalTextTo(canonical[:]); err != nil || string(canonical[:]) != text {
		return id, false // in small letters: another text
	}
	id = idKey{binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])}
	return id, id.high != oddID
}

func (u idKey) String() string {
	var id ulid.ULID
	binary.BigEndian.PutUint64(id[:8], u.high)
	binary.BigEndian.PutUint64(id[8:], u.low)
	return id.String()
}

func (u idKey) hash() uint64 {
	h := (u.high ^ u.low*0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9
	return h ^ h>>29
}

// find gives the number of an id.
func (s *idSet) find(text string) (n uint32, ok bool) {
	u, ok := parseID(text)
	if !ok {
		n, ok = s.odd[text]
		return n, ok
	}
	if len(s.index) == 0 {
		return 0, false
	}
	mask := uint64(len(s.index) - 1)
	for at := u.hash() & mask; s.index[at] != 0; at = (at + 1) & mask {
		if n := s.index[at] - 1; s.at(n) == u {
			return n, true
		}
	}
	return 0, false
}

// number gives the number of an id, and whether it is a new one.
func (s *idSet) number(text string) (n uint32, fresh bool) {
	if n, ok := s.find(text); ok {
		return n, false
	}
	u, ok := parseID(text)
	if !ok {
		if s.odd == nil {
			s.odd = map[string]uint32{}
		}
		text = strings.Clone(text)
		s.odd[text] = s.n
		s.texts = append(s.texts, text)
		u = idKey{oddID, uint64(len(s.texts) - 1)}
	}
	if s.n%idChunk == 0 {
		s.chunks = append(s.chunks, make([]idKey, 0, idChunk))
	}
	last := &s.chunks[len(s.chunks)-1]
	*last = append(*last, u)
	n = s.n
	s.n++
	if ok {
		if len(s.index) == 0 || uint64(s.n)*10 > uint64(len(s.index))*8 {
			s.grow()
		} else {
			s.place(n, u)
		}
	}
	return n, true
}

func (s *idSet) place(n uint32, u idKey) {
	mask := uint64(len(s.index) - 1)
	at := u.hash() & mask
	for s.index[at] != 0 {
		at = (at + 1) & mask
	}
	s.index[at] = n + 1
}

func (s *idSet) grow() {
	s.index = make([]uint32, max(64, 2*len(s.index)))
	for n := range s.n {
		if u := s.at(n); u.high != oddID {
			s.place(n, u)
		}
	}
}

func (s *idSet) at(n uint32) idKey { return s.chunks[n/idChunk][n%idChunk] }

// names is what can be read of an idSet while it grows.
type names struct {
	chunks [][]idKey
	texts  []string
}

// names of the ids that are numbered by now. The last chunk is copied by its
// header, so that what is appended to it later is not looked at.
func (s *idSet) names() names {
	return names{append([][]idKey(nil), s.chunks...), s.texts}
}

func (s names) at(n uint32) idKey { return s.chunks[n/idChunk][n%idChunk] }

// text is an id as it was given.
func (s names) text(n uint32) string {
	u := s.at(n)
	if u.high == oddID {
		return s.texts[u.low]
	}
	return u.String()
}

// compare orders two ids as texts.
func (s names) compare(a, b uint32) int {
	x, y := s.at(a), s.at(b)
	if x.high != oddID && y.high != oddID {
		return cmp.Or(cmp.Compare(x.high, y.high), cmp.Compare(x.low, y.low))
	}
	return strings.Compare(s.text(a), s.text(b))
}
