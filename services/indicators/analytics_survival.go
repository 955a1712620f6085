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

// estimate yields the steps of sorted stays in the order of time. Whoever stops being
// seen at the very moment at which another leaves counts as still there for it (the
// convention of Kaplan and Meier).
func (s *stays) estimate(yield func(step) bool) {
	went, exited, waits := s.went, s.exited, s.waits
	now := step{risk: s.len(), still: 1}
	there := 1.0 // neither gone on nor exited
	for len(went)+len(exited) > 0 {
		switch {
		case len(went) == 0:
			now.seconds = exited[0]
		case len(exited) == 0:
			now.seconds = went[0]
		default:
			now.seconds = min(went[0], exited[0])
		}
		now.risk -= now.went + now.exited
		now.went, now.exited = 0, 0
		for len(waits) > 0 && waits[0] < now.seconds {
			waits = waits[1:]
			now.risk--
		}
		for len(went) > 0 && went[0] == now.seconds {
			went = went[1:]
			now.went++
		}
		for len(exited) > 0 && exited[0] == now.seconds {
			exited = exited[1:]
			now.exited++
		}
		n, d, e := float64(now.risk), float64(now.went), float64(now.exited)
		if d > 0 {
			now.still *= 1 - d/n // 0 with the last one
			now.spread += d / (n * (n - d))
		}
		now.cameOn += there * d / n
		now.out += there * e / n
		there *= 1 - (d+e)/n
		if !yield(now) {
			return
		}
	}
}

// tolerance is what a share may be above a bound by rounding alone. With a million
// people a true step is a hundred times larger.
const tolerance = 1e-9

// curve is what is told of the steps.
type curve struct {
	median, p90 quantile // the first moments at which no more than 0.5, and 0.1, still wait
	at          []step   // the last steps not after the moments that were asked for
}

// quantile is a moment that may never have been seen.
type quantile struct {
	seconds uint32
	seen    bool
}

// read walks through the steps once. The moments are in the order of time. Where groups
// below least are hidden, the shares change only when so many have left in their way
// since they last did, and so many, or nobody, are left: no share is then further from
// the true one than that many people. It is a property of the stays, so that no choice
// of moments shows more.
func (s *stays) read(moments []uint32, least int) curve {
	var c curve
	told := step{risk: s.len(), still: 1}
	went, exited := 0, 0
	for st := range s.estimate {
		for len(c.at) < len(moments) && moments[len(c.at)] < st.seconds {
			c.at = append(c.at, told)
		}
		if !c.median.seen && st.still <= .5+tolerance {
			c.median = quantile{st.seconds, true}
		}
		if !c.p90.seen && st.still <= .1+tolerance {
			c.p90 = quantile{st.seconds, true}
		}
		went, exited = went+st.went, exited+st.exited
		left := st.risk - st.went - st.exited
		enough := left == 0 || left >= least
		if went >= least && enough {
			told.still, told.spread, told.cameOn, went = st.still, st.spread, st.cameOn, 0
		}
		if exited >= least && enough {
			told.out, exited = st.out, 0
		}
	}
	for len(c.at) < len(moments) {
		c.at = append(c.at, told)
	}
	return c
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
