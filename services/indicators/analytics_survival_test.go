package indicators

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func closeTo(t testing.TB, what string, got, want, within float64) {
	t.Helper()
	if !(math.Abs(got-want) <= within) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// TestKaplanMeierOfFreireich compares with the published life table of the
// children with leukaemia who got 6-mercaptopurine: times in remission in weeks of
// E. J. Freireich et al., "The Effect of 6-Mercaptopurine on the Duration of
// Steroid-Induced Remissions in Acute Leukemia", Blood 21, 1963, 699-716; the
// estimates and standard errors as in D. Collett, "Modelling Survival Data in
// Medical Research", and the log(-log) intervals as in the tables of Kleinbaum
// and Klein, "Survival Analysis" (chapter 2, Stata's sts list).
func TestKaplanMeierOfFreireich(t *testing.T) {
	s := stays{
		went:  []uint32{6, 6, 6, 7, 10, 13, 16, 22, 23},
		waits: []uint32{6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35},
	}
	s.sort()
	steps := slices.Collect(s.estimate)
	published := []struct {
		week                    uint32
		risk, left              int
		still, error, low, high float64
	}{
		{6, 21, 3, .8571, .0764, .6197, .9516},
		{7, 17, 1, .8067, .0869, .5631, .9228},
		{10, 15, 1, .7529, .0963, .5032, .8894},
		{13, 12, 1, .6902, .1068, .4316, .8491},
		{16, 11, 1, .6275, .1141, .3675, .8049},
		{22, 7, 1, .5378, .1282, .2678, .7468},
		{23, 6, 1, .4482, .1346, .1881, .6801},
	}
	if len(steps) != len(published) {
		t.Fatalf("%d steps, want %d", len(steps), len(published))
	}
	for i, want := range published {
		got := steps[i]
		if got.seconds != want.week || got.risk != want.risk || got.went != want.left {
			t.Errorf("step %d: %+v, want %+v", i, got, want)
		}
		closeTo(t, "still", got.still, want.still, .00005)
		closeTo(t, "standard error", got.still*math.Sqrt(got.spread), want.error, .00005)
		low, high, ok := got.interval()
		if !ok {
			t.Error("no interval")
		}
		closeTo(t, "low", low, want.low, .00005)
		closeTo(t, "high", high, want.high, .00005)
	}
	if c := s.read(nil, 0); c.median != (quantile{23, true}) || c.p90.seen {
		t.Errorf("median and p90 %+v, want 23 and that nine tenths are never reached", c)
	}
}

// TestEstimatesAsLifelines compares with figures that the Python library lifelines
// 0.30.3 (KaplanMeierFitter, AalenJohansenFitter) computed on data drawn with
// numpy's generator 20260701: different times with two ways to leave, and times
// with ties.
func TestEstimatesAsLifelines(t *testing.T) {
	times := []uint32{76, 192, 323, 283, 222, 140, 10, 4, 163, 261, 242, 315, 231, 151, 281, 213, 232, 181, 328, 343, 240, 54, 252, 60, 385, 210, 162, 233, 196, 290, 342, 95, 84, 79, 35, 236, 235, 311, 149, 57, 137, 345, 39, 88, 114, 383, 363, 49, 73, 287, 112, 18, 255, 147, 293, 269, 202, 227, 165, 357}
	kinds := []int{1, 1, 1, 2, 2, 1, 1, 1, 1, 0, 1, 1, 2, 1, 0, 2, 1, 2, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 2, 1, 1, 1, 2, 2, 1, 1, 0, 1, 1, 0, 1, 0, 1, 2, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0, 1}
	s := staysOf(times, kinds)
	c := s.read([]uint32{10, 50, 100, 200, 300, 390}, 0)
	for i, want := range []struct {
		at                            uint32
		still, low, high, cameOn, out float64
	}{
		{10, 0.9666666666666667, 0.8732247988830113, 0.9915577022326196, 0.03333333333333334, 0},
		{50, 0.933333333333334, 0.8320515247189744, 0.9744430285429341, 0.06666666666666668, 0},
		{100, 0.8256410256410261, 0.6998223524639438, 0.9022658532834215, 0.17435897435897446, 0.017948717948717958},
		{200, 0.6559949489634854, 0.5142143087496823, 0.7654858426324984, 0.33976147883124647, 0.036839594514013134},
		{300, 0.3906736669525954, 0.23613698122744978, 0.542245189982663, 0.5478288740898867, 0.1666920581470514},
		{390, 0, 0, 0, 0.8073552993290338, 0.19264470067096617},
	} {
		got := c.at[i]
		closeTo(t, "still", got.still, want.still, 1e-12)
		closeTo(t, "gone on", got.cameOn, want.cameOn, 1e-12)
		closeTo(t, "exited", got.out, want.out, 1e-12)
		low, high, ok := got.interval()
		if ok != (want.low > 0) {
			t.Errorf("at %d: interval %t", want.at, ok)
		}
		closeTo(t, "low", low, want.low, 1e-9)
		closeTo(t, "high", high, want.high, 1e-9)
	}
	if c.median != (quantile{269, true}) || c.p90 != (quantile{383, true}) {
		t.Errorf("median and p90 %+v", c)
	}

	times = []uint32{1, 9, 17, 14, 4, 5, 6, 4, 7, 20, 25, 21, 26, 7, 19, 4, 12, 2, 6, 18, 15, 21, 28, 11, 13, 2, 1, 16, 21, 4, 18, 23, 4, 26, 9, 8, 13, 23, 10, 3, 27, 14, 13, 11, 23, 20, 2, 7, 10, 4, 19, 4, 26, 23, 19, 1, 4, 12, 8, 23, 21, 25, 12, 17, 25, 11, 6, 25, 11, 2, 9, 20, 8, 25, 27, 18, 3, 1, 18, 16, 22, 20, 24, 28, 4, 29, 23, 19, 4, 29, 24, 24, 7, 28, 5, 18, 7, 4, 4, 17, 13, 23, 2, 26, 28, 22, 10, 6, 20, 22, 3, 25, 1, 19, 1, 26, 11, 10, 22, 23}
	kinds = []int{1, 1, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1}
	s = staysOf(times, kinds)
	c = s.read([]uint32{1, 5, 10, 20, 28}, 0)
	for i, want := range [][4]float64{
		{1, 0.9833333333333338, 0.9350050773201726, 0.99580546943769},
		{5, 0.8838229989139087, 0.808133301679943, 0.9309073453819016},
		{10, 0.8044279431412908, 0.7154450347496455, 0.8681101133614706},
		{20, 0.5803606130570914, 0.4692541583536089, 0.676186973884217},
		{28, 0.07974481120882516, 0.023192799374279763, 0.18283881762945808},
	} {
		got := c.at[i]
		closeTo(t, "still, ties", got.still, want[1], 1e-12)
		low, high, _ := got.interval()
		closeTo(t, "low, ties", low, want[2], 1e-9)
		closeTo(t, "high, ties", high, want[3], 1e-9)
	}
	if c.median != (quantile{22, true}) || c.p90 != (quantile{28, true}) {
		t.Errorf("median and p90 of ties %+v", c)
	}
}

// staysOf sorts durations by how they ended: 0 waiting, 1 went on, 2 exited.
func staysOf(times []uint32, kinds []int) (s stays) {
	for i, at := range times {
		list := []*[]uint32{&s.waits, &s.went, &s.exited}[kinds[i]]
		*list = append(*list, at)
	}
	s.sort()
	return s
}

// TestEstimatesOfDrawnStays: with nobody waiting and nobody exiting the estimate is
// the plain share, its quantiles are those by nearest rank; whatever is drawn, the
// shares that wait, went on and exited add up, and the order of arrival is nothing.
func TestEstimatesOfDrawnStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 60).Draw(t, "n")
		times := rapid.SliceOfN(rapid.Uint32Range(0, 40), n, n).Draw(t, "times")
		kinds := rapid.SliceOfN(rapid.IntRange(0, 2), n, n).Draw(t, "kinds")
		s := staysOf(times, kinds)
		steps := slices.Collect(s.estimate)
		order := rapid.Permutation(indices(n)).Draw(t, "order")
		var times2 []uint32
		var kinds2 []int
		for _, i := range order {
			times2, kinds2 = append(times2, times[i]), append(kinds2, kinds[i])
		}
		s2 := staysOf(times2, kinds2)
		if !slices.Equal(steps, slices.Collect(s2.estimate)) {
			t.Fatal("the order in which they came counts")
		}
		last := 1.0
		there := 1.0
		for _, p := range steps {
			if p.still > last || p.still < 0 || p.cameOn+p.out > 1+1e-12 {
				t.Fatalf("%+v after %v", p, last)
			}
			if low, high, ok := p.interval(); ok && !(low <= p.still && p.still <= high && low >= 0 && high <= 1) {
				t.Fatalf("%+v: interval %v to %v", p, low, high)
			}
			// At any moment everybody is gone on, exited, or counted as there.
			there *= 1 - float64(p.went+p.exited)/float64(p.risk)
			if math.Abs(p.cameOn+p.out+there-1) > 1e-12 {
				t.Fatalf("%+v: the shares do not add up", p)
			}
			last = p.still
		}

		// Without anybody who waits or exits.
		var went []int64
		for _, at := range times {
			went = append(went, int64(at))
		}
		slices.Sort(went)
		all := staysOf(times, slices.Repeat([]int{1}, n))
		var moments []uint32
		for at := range uint32(42) {
			moments = append(moments, at)
		}
		c := all.read(moments, 0)
		for at := range uint32(42) {
			left := 0
			for _, w := range went {
				if w <= int64(at) {
					left++
				}
			}
			want := 1.0
			if n > 0 {
				want = 1 - float64(left)/float64(n)
			}
			if got := c.at[at].still; math.Abs(got-want) > 1e-12 {
				t.Fatalf("at %d: %v, want %v", at, got, want)
			}
			if got := c.at[at].cameOn; math.Abs(got-(1-want)) > 1e-12 {
				t.Fatalf("at %d: gone on %v, want %v", at, got, 1-want)
			}
		}
		if n > 0 {
			if !c.p90.seen || float64(c.p90.seconds) != percentile90(went) {
				t.Fatalf("p90 %+v, want %v", c.p90, percentile90(went))
			}
			if !c.median.seen || int64(c.median.seconds) != went[(n+1)/2-1] {
				t.Fatalf("median %+v of %v", c.median, went)
			}
		}
	})
}

func indices(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestSortSeconds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 10, 5000}).Draw(t, "n")
		seed, most := rapid.Uint32().Draw(t, "seed"), rapid.SampledFrom([]uint32{1, 100, 5000, 1 << 22, math.MaxUint32}).Draw(t, "most")
		list := make([]uint32, n)
		for i := range list {
			seed = seed*1664525 + 1013904223
			list[i] = seed % most
		}
		want := slices.Sorted(slices.Values(list))
		sortSeconds(list)
		if !slices.Equal(list, want) {
			t.Fatal("not sorted")
		}
	})
}
