package indicators

import (
	"math"
	"slices"
)

// How long people wait, of whom many wait still. The durations of those only that
// have ended are too short an answer: who waits longest is missing from them. The
// estimators here count everybody for as long as they were seen:
//
//   - the product-limit estimator of the share that still waits after a time
//     (E. L. Kaplan, P. Meier, "Nonparametric Estimation from Incomplete
//     Observations", J. Am. Stat. Assoc. 53, 1958, 457-481);
//   - its variance (M. Greenwood, "The Natural Duration of Cancer", Reports on
//     Public Health and Medical Subjects 33, HMSO, 1926), with the interval on
//     the log(-log) scale, which never leaves 0 to 1 (J. D. Kalbfleisch, R. L.
//     Prentice, "The Statistical Analysis of Failure Time Data", 1980);
//   - the share that has left in either of two ways (O. Aalen, S. Johansen, "An
//     Empirical Transition Matrix for Non-Homogeneous Markov Chains Based on
//     Censored Observations", Scand. J. Statist. 5, 1978, 141-150).

// stays are durations in whole seconds, by how each was seen to end.
type stays struct {
	went   []uint32 // went on: what is waited for happened
	exited []uint32 // the pathway ended before
	waits  []uint32 // still waiting when we looked
}

// most seconds that a duration can have, 136 years.
const mostSeconds = math.MaxUint32

func (s *stays) len() int { return len(s.went) + len(s.exited) + len(s.waits) }

func (s *stays) sort() {
	sortSeconds(s.went)
	sortSeconds(s.exited)
	sortSeconds(s.waits)
}

// sortSeconds sorts in place: short lists by comparing, long ones by the digits of
// base 2048 (a radix sort), which is several times faster for a million.
func sortSeconds(list []uint32) {
	const bits, short = 11, 4096
	if len(list) < short {
		slices.Sort(list)
		return
	}
	from, to := list, make([]uint32, len(list))
	for shift := 0; shift < 32; shift += bits {
		var place [1 << bits]int
		for _, v := range from {
			place[v>>shift&(1<<bits-1)]++
		}
		if place[from[0]>>shift&(1<<bits-1)] == len(from) {
			continue // all have the same digit
		}
		next := 0
		for d, n := range place {
			place[d], next = next, next+n
		}
		for _, v := range from {
			d := v >> shift & (1<<bits - 1)
			to[place[d]] = v
			place[d]++
		}
		from, to = to, from
	}
	if &from[0] != &list[0] {
		copy(list, from)
	}
}

// step is a moment at which somebody left.
type step struct {
	seconds      uint32
	risk         int     // who was still there just before
	went, exited int     // who left at that moment
	still        float64 // Kaplan-Meier: share that has not gone on, exits being taken as no longer seen
	spread       float64 // Greenwood's sum of d/(n(n-d)) up to here; +Inf when nobody is left
	cameOn, out  float64 // Aalen-Johansen: share that has gone on, and that has exited
}

// curve is the estimate over time: the steps in the order of time.
type curve struct {
	n     int
	steps []step
}

// estimate walks through sorted stays once. Whoever stops being seen at the very
// moment at which another leaves counts as still there for it (the convention of
// Kaplan and Meier).
func estimate(s *stays) curve {
	c := curve{n: s.len()}
	went, exited, waits := s.went, s.exited, s.waits
	risk := c.n
	still, spread := 1.0, 0.0
	there, cameOn, out := 1.0, 0.0, 0.0 // there: neither gone on nor exited
	for len(went)+len(exited) > 0 {
		var t uint32
		switch {
		case len(went) == 0:
			t = exited[0]
		case len(exited) == 0:
			t = went[0]
		default:
			t = min(went[0], exited[0])
		}
		for len(waits) > 0 && waits[0] < t {
			waits = waits[1:]
			risk--
		}
		d, e := 0, 0
		for len(went) > 0 && went[0] == t {
			went = went[1:]
			d++
		}
		for len(exited) > 0 && exited[0] == t {
			exited = exited[1:]
			e++
		}
		n := float64(risk)
		if d > 0 {
			still *= 1 - float64(d)/n
			spread += float64(d) / (n * (n - float64(d))) // +Inf with the last one
			if d == risk {
				still = 0
			}
		}
		cameOn += there * float64(d) / n
		out += there * float64(e) / n
		there *= 1 - float64(d+e)/n
		c.steps = append(c.steps, step{t, risk, d, e, still, spread, cameOn, out})
		risk -= d + e
	}
	return c
}

// tolerance is what a share may be above a bound by rounding alone. With a million
// people a true step is a hundred times larger.
const tolerance = 1e-9

// quantile is the first moment at which no more than the share still waits, in
// seconds; ok is false when that is never seen.
func (c curve) quantile(still float64) (seconds uint32, ok bool) {
	for _, s := range c.steps {
		if s.still <= still+tolerance {
			return s.seconds, true
		}
	}
	return 0, false
}

// at is the last step not after the moment; before the first it is a step at which
// nobody left.
func (c curve) at(seconds uint32) step {
	i, found := slices.BinarySearchFunc(c.steps, seconds, func(s step, t uint32) int {
		switch {
		case s.seconds < t:
			return -1
		case s.seconds > t:
			return 1
		}
		return 0
	})
	if found {
		return c.steps[i]
	}
	if i == 0 {
		return step{risk: c.n, still: 1}
	}
	return c.steps[i-1]
}

// normal95 is the 97.5 % quantile of the normal distribution.
const normal95 = 1.959963984540054

// interval is the 95 % confidence interval of the share that still waits. ok is
// false where it is 0 or 1: the log(-log) scale has no point there.
func (s step) interval() (low, high float64, ok bool) {
	if s.still <= 0 || s.still >= 1 || math.IsInf(s.spread, 0) {
		return 0, 0, false
	}
	width := normal95 * math.Sqrt(s.spread) / math.Abs(math.Log(s.still))
	return math.Pow(s.still, math.Exp(width)), math.Pow(s.still, math.Exp(-width)), true
}
