package shortage

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// values with many that are the same.
func someValues(t *rapid.T) []float64 {
	few := rapid.SliceOfN(rapid.Float64Range(-3, 3), 2, 8).Draw(t, "different")
	return rapid.OneOf(
		rapid.SliceOfN(rapid.Float64Range(-3, 3), 5, 200),
		rapid.SliceOfN(rapid.SampledFrom(few), 5, 200),
	).Draw(t, "values")
}

func below(values []float64, cut float64) (n int) {
	for _, v := range values {
		if v < cut {
			n++
		}
	}
	return n
}

// Classes are of equal size as far as values that are the same allow, and grow
// with the value.
func TestQuintiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := someValues(t)
		cuts, tied, ok := Quintiles(v)
		if low, high := slices.Min(v), slices.Max(v); low == high {
			if ok {
				t.Fatal("values that are all the same were cut")
			}
			return
		}
		if !ok || !slices.IsSorted(cuts[:]) {
			t.Fatalf("cuts %v, %v", cuts, ok)
		}
		// No other cut would come nearer to each fifth.
		for k, cut := range cuts {
			aim := float64(k+1) * float64(len(v)) / 5
			got := math.Abs(float64(below(v, cut)) - aim)
			for _, other := range append(slices.Clone(v), math.Inf(1)) {
				if best := math.Abs(float64(below(v, other)) - aim); best < got-1e-9 {
					t.Fatalf("cut %d at %v is %v from a fifth, %v would be %v", k+1, cut, got, other, best)
				}
			}
		}
		var sizes [6]int
		for _, x := range v {
			sizes[cuts.Class(x)]++
			for _, y := range v {
				if x < y && cuts.Class(x) > cuts.Class(y) {
					t.Fatalf("%v is above %v in class", x, y)
				}
			}
		}
		distinct := len(slices.Compact(slices.Sorted(slices.Values(v)))) == len(v)
		if distinct && (slices.Max(sizes[1:])-slices.Min(sizes[1:]) > 1 || tied) {
			t.Fatalf("classes of %v different values have sizes %v", len(v), sizes[1:])
		}
	})
}

func someReference(t *rapid.T) []Components {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Components {
		var c Components
		for k := range components {
			c.C[k], c.Have[k] = rapid.Float64Range(0, 10).Draw(t, "c"), rapid.IntRange(0, 9).Draw(t, "have") > 0
		}
		return c
	}), 6, 60).Draw(t, "reference")
}

// Measured on another scale, everything stays the same.
func TestScoresDoNotDependOnTheScale(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := someReference(t)
		factor, shift := [components]float64{}, [components]float64{}
		for k := range components {
			factor[k], shift[k] = rapid.Float64Range(0.01, 100).Draw(t, "factor"), rapid.Float64Range(-50, 50).Draw(t, "shift")
		}
		other := slices.Clone(points)
		for i := range other {
			for k := range components {
				other[i].C[k] = factor[k]*other[i].C[k] + shift[k]
			}
		}
		a, b := NewReference(points), NewReference(other)
		for k := range components {
			if a.SD[k] > 0 && a.SD[k] < 1e-3 {
				t.Skip("all but the same: rounding decides")
			}
		}
		for i := range points {
			x, y := a.Score(points[i]), b.Score(other[i])
			if x.OK != y.OK || x.Have != y.Have || math.Abs(x.T-y.T) > 1e-6*(1+math.Abs(x.T)) {
				t.Fatalf("%+v became %+v", x, y)
			}
		}
	})
}

// What is missing is made up for by the others, in proportion to their weights.
func TestPartialWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := someReference(t)
		r := NewReference(points)
		c := points[rapid.IntRange(0, len(points)-1).Draw(t, "which")]
		s := r.Score(c)
		sum, whole := 0.0, 0.0
		for k := range components {
			if s.Have[k] {
				whole += Weights[k]
			} else if s.Weights[k] != 0 {
				t.Fatal("what is missing has a weight")
			}
		}
		want := 0.0
		for k, w := range s.Weights {
			sum += w
			if s.Have[k] {
				if math.Abs(w-Weights[k]/whole) > 1e-12 {
					t.Fatalf("weights %v of %v", s.Weights, s.Have)
				}
				want += Weights[k] / whole * (c.C[k] - r.Mean[k]) / r.SD[k]
			}
		}
		partial := s.Have != [components]bool{true, true, true}
		switch {
		case !s.OK:
			if whole != 0 || !slices.Contains(s.Flags, NothingKnown) {
				t.Fatalf("no index: %+v", s)
			}
		case math.Abs(sum-1) > 1e-12 || math.Abs(want-s.T) > 1e-9 || partial != slices.Contains(s.Flags, Partial):
			t.Fatalf("%+v, want T %v", s, want)
		}
	})
}

func known(pairs ...any) Inputs {
	in := Inputs{}
	for i := 0; i < len(pairs); i += 2 {
		in[pairs[i].(Measure)] = Value{Number: float64(pairs[i+1].(int)), Rows: 1}
	}
	return in
}

func TestComponents(t *testing.T) {
	for _, x := range []struct {
		name  string
		in    Inputs
		have  [components]bool
		flags []Flag
	}{
		{"all", known(Offers, 10, SeekersIn, 20, Exits, 5, SeekersStock, 50, Difficult, 3, Projects, 4), [components]bool{true, true, true}, nil},
		{"nothing", Inputs{}, [components]bool{}, nil},
		{"no seekers at all", known(Offers, 10, SeekersIn, 0, Exits, 5, SeekersStock, 50), [components]bool{false, true, false}, []Flag{ZeroDenominator}},
		{"more difficult than all", known(Difficult, 5, Projects, 4), [components]bool{}, []Flag{Incoherent}},
		{"confidential", Inputs{Offers: {HiddenRows: 1}, SeekersIn: {Number: 4, Rows: 1}}, [components]bool{}, []Flag{Confidential}},
		{"more exits than stock is possible", known(Exits, 60, SeekersStock, 50), [components]bool{false, true, false}, nil},
	} {
		c := NewComponents(x.in)
		if c.Have != x.have || !slices.Equal(c.Flags, x.flags) {
			t.Errorf("%s: %v %v", x.name, c.Have, c.Flags)
		}
	}
}

// A component that is the same everywhere says nothing, and is left out.
func TestNoVariance(t *testing.T) {
	var points []Components
	for i := range 10 {
		points = append(points, Components{C: [3]float64{0.1, float64(i), 0}, Have: [3]bool{true, true, false}})
	}
	r := NewReference(points)
	s := r.Score(Components{C: [3]float64{0.1, 9, 0.5}, Have: [3]bool{true, true, true}})
	if !s.OK || s.Have != [3]bool{false, true, false} || s.Weights[C2] != 1 || !slices.Equal(s.Flags, []Flag{NoReference, ZeroVariance, Partial}) {
		t.Errorf("%+v", s)
	}
	if _, _, ok := r.Cuts([3]bool{false, true, false}); !ok {
		t.Error("there are no cuts of what there is")
	}
}

// Without a minimum nothing is withheld; with one, what is below has no class.
func TestMinimum(t *testing.T) {
	least := 30
	all := [components]bool{true, true, true}
	in := known(Offers, 10, SeekersIn, 100, SeekersStock, 100, Exits, 1, Projects, 40, Difficult, 5)
	for _, x := range []struct {
		m    Minimum
		have [components]bool
		want bool
	}{
		{Minimum{}, all, true},
		{Minimum{Offers: &least}, all, false},
		{Minimum{Offers: &least}, [components]bool{false, true, true}, true}, // no index of offers, no need of offers
		{Minimum{Seekers: &least, Projects: &least}, all, true},
	} {
		if got := x.m.Enough(in, x.have); got != x.want {
			t.Errorf("%+v: %v", x, got)
		}
	}
}

func TestDuncan(t *testing.T) {
	for _, x := range []struct {
		o, d []float64
		want float64
		ok   bool
	}{
		{[]float64{1, 2, 3}, []float64{2, 4, 6}, 0, true},
		{[]float64{5, 0}, []float64{0, 7}, 1, true},
		{[]float64{3, 1}, []float64{1, 1}, 0.25, true},
		{[]float64{0, 0}, []float64{1, 1}, 0, false},
		{nil, nil, 0, false},
	} {
		if got, ok := Duncan(x.o, x.d); ok != x.ok || math.Abs(got-x.want) > 1e-12 {
			t.Errorf("%v: %v, %v", x, got, ok)
		}
	}
}

// A cut belongs to the class above it, for written numbers as for computed ones.
func TestCutsBelongAbove(t *testing.T) {
	for i, text := range []string{"-0.5644", "-0.2597", "0.1305", "0.50968"} {
		at, err := number(text)
		if err != nil {
			t.Fatal(err)
		}
		before, err := number(text + "0000001")
		if err != nil {
			t.Fatal(err)
		}
		if at.IsNegative() { // more digits are further from nought
			if FrenchClass(before) != i+1 {
				t.Errorf("%s is in class %d", before, FrenchClass(before))
			}
		}
		if FrenchClass(at) != i+2 || FrenchCuts.Class(at.InexactFloat64()) != i+2 {
			t.Errorf("%s is in class %d", text, FrenchClass(at))
		}
	}
}
