package matching

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"masar.local/pkg/docstore"
	"masar.local/pkg/docstore/storetest"
)

// people makes n people with stamps.
func seenPeople(n int, stamp func(int) uint64) []Seen {
	out := make([]Seen, n)
	for i := range out {
		binary.BigEndian.PutUint64(out[i].ID[:], mix(uint64(i)))
		out[i].Stamp = stamp(i)
	}
	slices.SortFunc(out, bySeen)
	return out
}

func rosterStore(t testing.TB, uri string) rosters {
	t.Helper()
	e, err := docstore.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	if err := e.Ensure(t.Context(), rostersSchema); err != nil {
		t.Fatal(err)
	}
	return newRosters(e)
}

func TestRostersAreKeptOnceAndShareTheirParts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		r := rosterStore(t, uri)
		count := func() int64 {
			n, err := r.e.Count(t.Context(), rostersSchema.Collection)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		people := seenPeople(20_000, func(i int) uint64 { return uint64(i) })
		name, err := r.store(t.Context(), people)
		if err != nil {
			t.Fatal(err)
		}
		first := count()
		if first < 10 || first > 60 {
			t.Errorf("a roster of 20,000 took %d documents, want about 20", first)
		}
		// Again, also by a process that remembers nothing.
		for _, again := range []rosters{r, newRosters(r.e)} {
			if same, err := again.store(t.Context(), people); err != nil || same != name {
				t.Fatalf("again: %s, %v; want %s", same, err, name)
			}
		}
		if count() != first {
			t.Errorf("the same roster again wrote %d documents", count()-first)
		}
		changed := slices.Clone(people)
		changed[7000].Stamp++
		other, err := r.store(t.Context(), changed)
		if err != nil || other == name {
			t.Fatalf("another roster has the name %s, %v", other, err)
		}
		if got := count() - first; got != 2 {
			t.Errorf("one changed person took %d new documents, want the part and the roster", got)
		}
		for want, name := range map[*[]Seen]string{&people: name, &changed: other} {
			if got, err := newRosters(r.e).load(t.Context(), name); err != nil || !slices.Equal(got, *want) {
				t.Errorf("%s: read %d people, %v", name, len(got), err)
			}
		}
	})
}

func TestRosterFaults(t *testing.T) {
	r := rosterStore(t, storetest.SQLite(t))
	if _, err := r.load(t.Context(), "roster-00"); !errors.Is(err, docstore.ErrNotFound) {
		t.Errorf("a roster that is not there: %v", err)
	}
	a, b := Seen{ID: ulid.ULID{1}}, Seen{ID: ulid.ULID{2}}
	for _, bad := range [][]Seen{{b, a}, {a, a}} {
		if _, err := r.store(t.Context(), bad); err == nil {
			t.Errorf("%v was stored", bad)
		}
	}
	name, err := r.store(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.load(t.Context(), name); err != nil || len(got) != 0 {
		t.Errorf("the empty roster: %v, %v", got, err)
	}
}

// Whatever the list, it is cut into parts that are small enough, it reads back,
// and its name says it and nothing else.
func TestRosterParts(t *testing.T) {
	r := rosterStore(t, storetest.SQLite(t))
	names := map[string][]Seen{}
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.Uint64(), 0, 50, rapid.ID[uint64]).Draw(t, "ids")
		var people []Seen
		for _, n := range ids {
			p := Seen{Stamp: rapid.Uint64().Draw(t, "stamp")}
			binary.BigEndian.PutUint64(p.ID[8:], n)
			people = append(people, p)
		}
		slices.SortFunc(people, bySeen)
		name, err := r.store(t.Context(), people)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.load(t.Context(), name)
		if err != nil || !slices.Equal(got, people) {
			t.Fatalf("read %v, %v; want %v", got, err, people)
		}
		if before, ok := names[name]; ok && !slices.Equal(before, people) {
			t.Fatalf("%v and %v have one name", before, people)
		}
		names[name] = people
	})
	// Ids that never draw the end of a part are cut all the same.
	var ids []Seen
	for n := uint64(0); len(ids) < partMost+10; n++ {
		var p Seen
		binary.BigEndian.PutUint64(p.ID[:], n)
		if !cutAfter(&p) {
			ids = append(ids, p)
		}
	}
	made, err := newRosters(nil).ofPeople(ids)
	if err != nil {
		t.Fatal(err)
	}
	if d := made.documents; len(d) != 3 || d[0].body.(Roster).Count != partMost || d[1].body.(Roster).Count != 10 {
		t.Errorf("%d documents", len(d))
	}
}

func TestPeopleAreSortedById(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, shared := rapid.IntRange(0, 1500).Draw(t, "people"), rapid.IntRange(0, 15).Draw(t, "bytes in common")
		salt := rapid.Uint64().Draw(t, "salt")
		people := make([]Seen, n)
		for i := range people {
			binary.BigEndian.PutUint64(people[i].ID[:], mix(salt+uint64(i)))
			binary.BigEndian.PutUint64(people[i].ID[8:], mix(salt-uint64(i)))
			clear(people[i].ID[:shared])
			people[i].Stamp = uint64(i)
		}
		want := slices.Clone(people)
		slices.SortStableFunc(want, func(a, b Seen) int { return bytes.Compare(a.ID[:], b.ID[:]) })
		sortSeen(people)
		for i := range people {
			if people[i].ID != want[i].ID {
				t.Fatalf("at %d is %v, want %v", i, people[i], want[i])
			}
		}
		slices.SortFunc(people, func(a, b Seen) int { return cmp.Compare(a.Stamp, b.Stamp) })
		for i := range people {
			if people[i].Stamp != uint64(i) {
				t.Fatalf("%d got lost", i)
			}
		}
	})
}

func TestRosterOfOffers(t *testing.T) {
	r := rosterStore(t, storetest.SQLite(t))
	rapid.Check(t, func(t *rapid.T) {
		offers := rapid.SliceOf(rapid.Custom(func(t *rapid.T) SeenOffer {
			return SeenOffer{rapid.String().Draw(t, "id"), rapid.Int64().Draw(t, "seq"), rapid.Int64().Draw(t, "employer seq")}
		})).Draw(t, "offers")
		name, err := r.storeOffers(t.Context(), offers)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.loadOffers(t.Context(), name); err != nil || !slices.Equal(got, offers) {
			t.Fatalf("read %v, %v; want %v", got, err, offers)
		}
		if len(offers) > 0 {
			if _, err := r.load(t.Context(), name); err == nil && sizeOf(offers) != 24*len(offers) {
				t.Fatal("offers were read as people")
			}
		}
	})
}

func sizeOf(offers []SeenOffer) (n int) {
	for _, o := range offers {
		n += 18 + len(o.ID)
	}
	return n
}

func BenchmarkRoster(b *testing.B) {
	r := rosterStore(b, storetest.SQLite(b))
	people := seenPeople(25_000, func(i int) uint64 { return uint64(i) })
	b.Run("same", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.store(b.Context(), people); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one-changed", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			people[(n*7919)%len(people)].Stamp++
			if _, err := r.store(b.Context(), people); err != nil {
				b.Fatal(err)
			}
		}
	})
}
