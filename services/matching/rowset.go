package matching

import (
	mathbits "math/bits"

	"github.com/RoaringBitmap/roaring/v2"
)

// rowset is a set of rows of one shard as plain words, one bit a row. The sets that
// a shard keeps are RoaringBitmaps, which are small; those that a question works on
// are rowsets, whose room is used again for the next one: a shard of a million
// people's index has 62,500 rows, 8 kB, which stay in the cache.
type rowset []uint64

// sized makes a cleared set of so many words in the room that there is.
func (r *rowset) sized(words int) rowset {
	if cap(*r) < words {
		*r = make(rowset, words+words/8)
	}
	*r = (*r)[:words]
	clear(*r)
	return *r
}

// dense writes a set of the shard into a rowset of so many words.
func (s *shard) dense(k setKey, room *rowset, words int) rowset {
	out := room.sized(words)
	s.in(k).WriteDenseTo(out)
	return out
}

// add adds the rows of a set; room is for the set.
func (r rowset) add(set *roaring.Bitmap, room *rowset) {
	from := room.sized(len(r))
	set.WriteDenseTo(from)
	for i, w := range from {
		r[i] |= w
	}
}

func (r rowset) and(o rowset) {
	for i, w := range o[:len(r)] {
		r[i] &= w
	}
}

func (r rowset) andNot(o rowset) {
	for i, w := range o[:len(r)] {
		r[i] &^= w
	}
}

// split leaves those that are in o, and gives the others, in lost.
func (r rowset) split(o, lost rowset) rowset {
	for i, w := range o[:len(r)] {
		lost[i] = r[i] &^ w
		r[i] &= w
	}
	return lost
}

// count is how many rows there are.
func (r rowset) count() int {
	n := 0
	for _, w := range r {
		n += mathbits.OnesCount64(w)
	}
	return n
}

// common is how many rows are in both.
func (r rowset) common(o rowset) int {
	n := 0
	for i, w := range o[:len(r)] {
		n += mathbits.OnesCount64(r[i] & w)
	}
	return n
}

// remove takes a row out, and says whether it was there.
func (r rowset) remove(at uint32) bool {
	bit := uint64(1) << (at % 64)
	was := r[at/64]&bit != 0
	r[at/64] &^= bit
	return was
}

// each visits the rows in order. visit may take out the row that it visits.
func (r rowset) each(visit func(at uint32)) {
	for i, w := range r {
		for ; w != 0; w &= w - 1 {
			visit(uint32(i*64 + mathbits.TrailingZeros64(w)))
		}
	}
}
