package matching

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
)

// While many write, every answer is whole: everybody is counted once, in one
// state. Afterwards the index is as if it had been made from the last documents.
func TestIndexWhileOthersWrite(t *testing.T) {
	rules := benchRules()
	x, last := NewIndex(rules), NewIndex(rules)
	const people, writers, readers, rounds = 300, 3, 3, 2000
	var work sync.WaitGroup
	for w := range writers { // each has its own people
		work.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for n := range rounds {
				name, s := benchID(r.IntN(people)*writers+w), synthetic(r, true)
				x.PutSeeker(name, int64(n+1), s)
				last.PutSeeker(name, int64(n+1), s)
				if p, ok := x.Person(name); !ok || len(p.Occupations) == 0 {
					t.Errorf("%s is not there at once", name)
				}
				if n%50 == 0 {
					o := benchOffer(r)
					o.Licences = []LicenceNeed{{[]string{"A", "BE", "C1", "D1", "DE", "B", "CE"}[r.IntN(7)], true}}
					x.PutOffer(id(w), int64(n+1), o)
					last.PutOffer(id(w), int64(n+1), o)
				}
			}
		})
	}
	for range readers {
		work.Go(func() {
			for n := range rounds / 10 {
				list, ok := x.Candidates(id(n%writers), Ask{K: 20, Today: today, Left: -1, Witness: true})
				if !ok {
					continue
				}
				sum := list.Eligible
				for _, out := range list.Out {
					sum += out
				}
				if sum != list.Considered || len(list.Matches) > list.Eligible {
					t.Errorf("%d considered, %d counted", list.Considered, sum)
				}
				if n%20 == 0 {
					x.Pairs([]string{id(0), id(1)}, Ask{Today: today}, func(string, string, int32) bool { return true })
				}
			}
		})
	}
	work.Wait()
	for w := range writers {
		got, _ := x.Candidates(id(w), Ask{K: 1000, Today: today, Left: -1})
		want, _ := last.Candidates(id(w), Ask{K: 1000, Today: today, Left: -1})
		if fmt.Sprint(got.Matches) != fmt.Sprint(want.Matches) || !maps.Equal(got.Out, want.Out) || got.Considered != want.Considered {
			t.Errorf("offer %d: %v, want %v", w, got.Out, want.Out)
		}
	}
}

// Offers may ask for more kinds of licences than there are sets for.
func TestMoreLicencesThanSets(t *testing.T) {
	x := NewIndex(testRules())
	x.PutSeeker(id(1), 1, aSeeker())
	odd := aSeeker()
	odd.Licences = []string{fmt.Sprint("L", maxNeeds+5)}
	x.PutSeeker(id(2), 1, odd)
	for n := range maxNeeds + 10 {
		o := anOffer()
		o.Licences = []LicenceNeed{{fmt.Sprint("L", n), true}}
		x.PutOffer(id(100), int64(n+1), o)
		list, _ := x.Candidates(id(100), Ask{K: 5, Today: today, Left: -1})
		want := 0
		if n == maxNeeds+5 {
			want = 1
		}
		if list.Eligible != want || list.Out[CondLicence] != 2-want {
			t.Fatalf("licence %d: %d eligible, out %v", n, list.Eligible, list.Out)
		}
	}
}
