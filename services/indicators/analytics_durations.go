package indicators

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"masar.local/pkg/api"
)

// DurationsQuery asks how long stages take; with two stages, how long it takes from
// entering the one to entering the other.
type DurationsQuery struct {
	PathwayQuery
	FromStage string `query:"from_stage"`
	ToStage   string `query:"to_stage"`
	// At are the days after which the share that still waits is told.
	At []int `query:"at"`
}

// defaultDays are the days that are told when none are asked for: a grid to read
// the curve by, no targets.
var defaultDays = []int{7, 14, 30, 60, 90, 180}

// Bounds of At.
const (
	mostPoints = 50
	mostDays   = 3660 // ten years
)

// Durations tells of each group how long its people stayed, or had to wait.
type Durations struct {
	PathwaysAbout
	FromStage string           `json:"from_stage,omitempty"`
	ToStage   string           `json:"to_stage,omitempty"`
	Groups    []DurationsGroup `json:"groups"`
}

// DurationsGroup are those of one group: of its stages in the scheme's order, or of
// the one delay that was asked for.
type DurationsGroup struct {
	PathwayGroup
	Durations []Duration `json:"durations"`
}

// Duration tells of one stage, or of one delay. A stay begins when the stage is
// entered and ends when another is entered or the pathway is completed; a delay
// begins when the first stage is entered, unless it is running, and ends when the
// second is, or one that comes after it. What ends otherwise is an exit; what has not ended waits.
type Duration struct {
	StageLabel
	// To is the stage that ends a delay; absent of a stay.
	To *StageLabel `json:"to,omitempty"`
	// People are different people; the other counts are stays.
	People  *int `json:"people"`
	Ended   *int `json:"ended"`
	Exited  *int `json:"exited"`
	Waiting *int `json:"waiting"`
	// LeftOut are stays whose end is dated before their beginning.
	LeftOut int `json:"left_out,omitempty"`
	// MedianDays and P90Days are of those that have ended (the median, and the 90th
	// percentile by nearest rank). Who waits longest is not in them yet: see Estimate.
	MedianDays *float64 `json:"median_days"`
	P90Days    *float64 `json:"p90_days"`
	Estimate   Estimate `json:"kaplan_meier"`
	Points     []Point  `json:"points"`
}

// Estimate is what the Kaplan-Meier curve says: the days within which half, and nine
// tenths, have gone on. Null when that was never reached.
type Estimate struct {
	MedianDays *float64 `json:"median_days"`
	P90Days    *float64 `json:"p90_days"`
}

// Point is the state a number of days after the beginning.
type Point struct {
	Days   int  `json:"days"`
	AtRisk *int `json:"at_risk"` // still there and still seen, after that day
	// What is beyond the longest stay that was seen is null, for it is not known.
	// Still is the Kaplan-Meier share that has not gone on, exits being taken as no
	// longer seen; Low and High its 95 % interval, null where there is none.
	Still *float64 `json:"still"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
	// WentOn and Exited are the Aalen-Johansen shares that have gone on and that have
	// exited by then: what is left to 1 is still there.
	WentOn *float64 `json:"went_on"`
	Exited *float64 `json:"exited"`
}

// How a stay was seen to end.
const (
	stayWent uint8 = iota
	stayExited
	stayWaits
	stayBroken // its end is dated before its beginning
)

// stay is one of them.
type stay struct {
	place   uint8 // of the plan; 0 of a delay
	how     uint8
	since   uint32 // when it began
	seconds uint32 // how long it lasted
}

// staysIn gives every stay of a pathway.
func (t *tracks) staysIn(tr *track, p *plan, into []stay) []stay {
	into = into[:0]
	at, since := uint8(noPlace), uint32(0)
	end := func(when uint32, how uint8) {
		if at == noPlace {
			return
		}
		if when < since {
			into = append(into, stay{at, stayBroken, since, 0})
		} else {
			into = append(into, stay{at, how, since, when - since})
		}
	}
	for _, m := range t.of(tr) {
		switch {
		case m.enters():
			end(m.at, stayWent)
			at, since = p.place[m.stage], m.at
		case m.kind == moveExited:
			end(m.at, stayExited)
			at = noPlace
		default:
			end(m.at, stayWent)
			at = noPlace
		}
	}
	end(t.seconds, stayWaits)
	return into
}

// ends are the two ends of a delay, as moves of one scheme have them.
type ends struct {
	from, to uint8
	// past are the places beyond the second stage, known ones only: who skipped it is
	// past it all the same. None when the second stage comes before the first.
	past, known int
	plan        *plan
}

// endsOf gives the ends of a delay for every version of every scheme.
func (t *tracks) endsOf(from, to string) []ends {
	all := make([]ends, len(t.versions))
	for i, v := range t.versions {
		p := t.plans[v.scheme]
		e := ends{from: t.stageNumber(from), to: t.stageNumber(to), past: noPlace, plan: p}
		at := func(code string) int {
			return slices.IndexFunc(p.stages[:p.known], func(l StageLabel) bool { return l.Stage == code })
		}
		if first, second := at(from), at(to); first >= 0 && second > first {
			e.past, e.known = second, p.known
		}
		all[i] = e
	}
	return all
}

// reached says whether the move ends the delay.
func (e *ends) reached(m move) bool {
	place := int(e.plan.place[m.stage])
	return m.stage == e.to || place > e.past && place < e.known
}

// delaysIn gives every delay of a pathway from one stage to another. A delay that is
// running when its first stage is entered again goes on: who is sent back has waited
// since the beginning.
func (t *tracks) delaysIn(tr *track, e *ends, into []stay) []stay {
	into = into[:0]
	running, since := false, uint32(0)
	end := func(when uint32, how uint8) {
		if !running {
			return
		}
		running = false
		if when < since {
			into = append(into, stay{0, stayBroken, since, 0})
		} else {
			into = append(into, stay{0, how, since, when - since})
		}
	}
	for _, m := range t.of(tr) {
		switch {
		case m.enters() && running && e.reached(m):
			end(m.at, stayWent)
		case m.enters() && m.stage == e.from && !running:
			running, since = true, m.at
		case !m.enters():
			end(m.at, stayExited)
		}
	}
	end(t.seconds, stayWaits)
	return into
}

// held are the stays of a stage, or the delays, of one cell.
type held struct {
	stays
	people, went, exited, waits tallied
	broken                      int
}

func (h *held) add(s stay, person uint32) {
	switch s.how {
	case stayWent:
		h.stays.went = append(h.stays.went, s.seconds)
		h.went.add(person)
	case stayExited:
		h.stays.exited = append(h.stays.exited, s.seconds)
		h.exited.add(person)
	case stayWaits:
		h.stays.waits = append(h.stays.waits, s.seconds)
		h.waits.add(person)
	default:
		h.broken++
		return
	}
	h.people.add(person)
}

// durations gathers them, by cell and place; of a delay place 0 is the only one.
func (t *table) durations(from, to string) [][]held {
	all := make([][]held, len(t.cells))
	for i, c := range t.cells {
		all[i] = make([]held, len(c.plan.stages))
		if from != "" {
			all[i] = make([]held, 1)
		}
	}
	var buffer []stay
	between := t.endsOf(from, to)
	for i := range t.list {
		if t.of[i] == noRow {
			continue
		}
		tr := &t.list[i]
		if from != "" {
			buffer = t.delaysIn(tr, &between[tr.version], buffer)
		} else {
			buffer = t.staysIn(tr, t.cells[t.of[i]].plan, buffer)
		}
		cell := all[t.of[i]]
		for _, s := range buffer {
			cell[s.place].add(s, tr.person)
		}
	}
	return all
}

// stageNumber is the number of a stage; one that no event names has that of no move.
func (t *tracks) stageNumber(code string) uint8 {
	if i := slices.Index(t.stages, code); i > 0 {
		return uint8(i)
	}
	return noPlace
}

// Durations answers how long stages, or a delay, take.
func (s *service) Durations(ctx context.Context, q DurationsQuery) (Durations, error) {
	if err := s.checkDurations(&q); err != nil {
		return Durations{}, err
	}
	t, about, err := s.pathways(ctx, &q.PathwayQuery, q.cuts())
	if err != nil {
		return Durations{}, err
	}
	out := Durations{PathwaysAbout: about, FromStage: q.FromStage, ToStage: q.ToStage, Groups: []DurationsGroup{}}
	out.Notes = append(out.Notes,
		Told{
			"median_days et p90_days portent sur les séjours terminés seulement. kaplan_meier compte aussi ceux qui attendent encore (censurés à la date as_of) ; une sortie y est traitée comme une fin d'observation (censure). went_on et exited (Aalen-Johansen) traitent la sortie comme une issue concurrente. Intervalle à 95 % : Greenwood, échelle log(-log).",
			"median_days و p90_days تخصّ الإقامات المنتهية فقط. kaplan_meier يحتسب أيضا من لا يزال ينتظر (حتى تاريخ as_of)؛ الخروج يُعتبر فيه نهاية للملاحظة. went_on و exited (Aalen-Johansen) يعتبران الخروج مآلا منافسا. مجال الثقة 95٪: Greenwood بسلّم log(-log).",
		},
		Told{
			"Sources : Kaplan et Meier 1958 ; Greenwood 1926 ; Aalen et Johansen 1978.",
			"المصادر: Kaplan & Meier 1958؛ Greenwood 1926؛ Aalen & Johansen 1978.",
		})
	all := t.durations(q.FromStage, q.ToStage)
	hidden := t.hideDurations(all, about.SmallCell, q.FromStage != "")
	for _, i := range t.order() {
		g := DurationsGroup{PathwayGroup: t.group(i, hidden.group[i]), Durations: []Duration{}}
		for place := range all[i] {
			if g.Suppressed {
				break
			}
			label := t.cells[i].plan.stages
			var d Duration
			if q.FromStage != "" {
				from, ok := t.label(i, q.FromStage)
				to, also := t.label(i, q.ToStage)
				if !ok || !also {
					continue // not a delay of this scheme
				}
				d.StageLabel, d.To = from, &to
			} else {
				d.StageLabel = label[place]
			}
			if q.FromStage == "" && all[i][place].len()+all[i][place].broken == 0 {
				continue // nobody was ever there
			}
			all[i][place].tell(&d, hidden.rows[i][place], about.SmallCell, q.At)
			g.Durations = append(g.Durations, d)
		}
		out.Groups = append(out.Groups, g)
	}
	return out, nil
}

func (t *table) label(cell int, stage string) (StageLabel, bool) {
	for _, l := range t.cells[cell].plan.stages {
		if l.Stage == stage {
			return l, true
		}
	}
	return StageLabel{}, false
}

func (s *service) checkDurations(q *DurationsQuery) error {
	var faults []api.Field
	if (q.FromStage == "") != (q.ToStage == "") {
		faults = append(faults, api.Field{Path: "query.to_stage", Code: "required", Reason: "from_stage and to_stage go together: a delay has two ends"})
	}
	for path, code := range map[string]string{"query.from_stage": q.FromStage, "query.to_stage": q.ToStage} {
		if code != "" && !s.hasStage(code) {
			faults = append(faults, api.Field{Path: path, Code: "unknown", Reason: fmt.Sprintf("no scheme has a stage %q", clip(code))})
		}
	}
	if q.FromStage != "" && q.FromStage == q.ToStage {
		faults = append(faults, api.Field{Path: "query.to_stage", Code: "range", Reason: "another stage than from_stage expected"})
	}
	if len(q.At) > mostPoints {
		faults = append(faults, api.Field{Path: "query.at", Code: "range", Reason: fmt.Sprintf("at most %d days", mostPoints)})
	}
	for _, d := range q.At {
		if d < 0 || d > mostDays {
			faults = append(faults, api.Field{Path: "query.at", Code: "range", Reason: fmt.Sprintf("whole days from 0 to %d expected", mostDays)})
			break
		}
	}
	if len(faults) > 0 {
		slices.SortFunc(faults, func(a, b api.Field) int { return strings.Compare(a.Path, b.Path) })
		return api.Invalid(faults...)
	}
	if len(q.At) == 0 {
		q.At = defaultDays
	}
	q.At = slices.Compact(slices.Sorted(slices.Values(q.At)))
	return nil
}

// hasStage says whether any version of any scheme has the stage.
func (s *service) hasStage(code string) bool {
	for _, scheme := range s.schemes.All() {
		if _, ok := scheme.Stage(code); ok {
			return true
		}
	}
	return false
}

// rowHidden says what of a duration is hidden.
type rowHidden struct{ all, went, exited, waits bool }

type durationsHidden struct {
	group []bool
	rows  [][]rowHidden
}

func (t *table) hideDurations(all [][]held, least int, delay bool) durationsHidden {
	h := durationsHidden{group: t.hide(least), rows: make([][]rowHidden, len(all))}
	rows, ways := newGuard(least), newGuard(least)
	code := t.stageCodes()
	if delay {
		code = func(int, int) int { return 0 }
	}
	for i := range all {
		h.rows[i] = make([]rowHidden, len(all[i]))
		if least <= 1 {
			continue
		}
		for place := range all[i] {
			rows.add(all[i][place].people.count(), secretIf(h.group[i]), code(i, place), t.lines[i], alone)
		}
	}
	if least <= 1 {
		return h
	}
	rows.solve()
	n := 0
	for i := range all {
		for place := range all[i] {
			d := &all[i][place]
			h.rows[i][place].all = rows.hidden[n]
			for way, c := range []tallied{d.went, d.exited, d.waits} {
				ways.add(c.count(), secretIf(rows.hidden[n]), 1<<16+code(i, place)*3+way, t.lines[i], own(code(i, place), i))
			}
			n++
		}
	}
	ways.solve()
	n = 0
	for i := range all {
		for place := range all[i] {
			r := &h.rows[i][place]
			r.went, r.exited, r.waits = ways.hidden[n], ways.hidden[n+1], ways.hidden[n+2]
			n += 3
		}
	}
	return h
}

// tell fills in the figures.
func (h *held) tell(d *Duration, hidden rowHidden, least int, at []int) {
	d.Points = []Point{}
	if hidden.all {
		return
	}
	h.sort()
	d.People, d.Ended = new(h.people.count()), shown(hidden.went, len(h.stays.went))
	d.Exited, d.Waiting = shown(hidden.exited, len(h.stays.exited)), shown(hidden.waits, len(h.stays.waits))
	if least <= 1 {
		d.LeftOut = h.broken
	}
	if h.went.count() < least {
		return // medians of too few
	}
	if n := len(h.stays.went); n > 0 {
		d.MedianDays = new(days(medianSeconds(h.stays.went)))
		d.P90Days = new(days(float64(h.stays.went[(9*n+9)/10-1])))
	}
	if h.len() == 0 {
		return
	}
	moments := make([]uint32, len(at))
	for i, day := range at {
		moments[i] = uint32(day) * secondsOfDay
	}
	c := h.read(moments, least)
	d.Estimate.MedianDays, d.Estimate.P90Days = c.median.days(), c.p90.days()
	longest := h.longest()
	for i, day := range at {
		moment, step := moments[i], c.at[i]
		p := Point{Days: day}
		// Nothing is known of days that nobody was seen to reach, unless nobody is left.
		seen := moment <= longest
		if seen || step.still == 0 {
			p.Still = new(round4(step.still))
			if low, high, ok := step.interval(); ok {
				p.Low, p.High = new(round4(low)), new(round4(high))
			}
		}
		if seen || step.cameOn+step.out > 1-tolerance {
			p.WentOn = new(round4(step.cameOn))
			if !hidden.exited || h.exited.count() >= least {
				p.Exited = new(round4(step.out))
			}
		}
		if least <= 1 {
			p.AtRisk = new(h.after(moment))
		}
		d.Points = append(d.Points, p)
	}
}

// after counts the stays that are longer.
func (s *stays) after(seconds uint32) (n int) {
	for _, list := range [][]uint32{s.went, s.exited, s.waits} {
		at, _ := slices.BinarySearch(list, seconds+1)
		n += len(list) - at
	}
	return n
}

// longest is the longest of sorted stays.
func (s *stays) longest() (most uint32) {
	for _, list := range [][]uint32{s.went, s.exited, s.waits} {
		if n := len(list); n > 0 {
			most = max(most, list[n-1])
		}
	}
	return most
}

func (q quantile) days() *float64 {
	if !q.seen {
		return nil
	}
	return new(days(float64(q.seconds)))
}

// medianSeconds of sorted durations: the middle one, or the mean of the two.
func medianSeconds(sorted []uint32) float64 {
	n := len(sorted)
	return (float64(sorted[(n-1)/2]) + float64(sorted[n/2])) / 2
}

func (a Durations) csv(w io.Writer) error {
	head := append([]string{"cohort"}, a.By...)
	to := newTableCSV(w, append(head, "group_people", "stage", "to", "people", "ended", "exited", "waiting",
		"median_days", "p90_days", "km_median_days", "km_p90_days", "days", "at_risk", "still", "low", "high", "went_on", "exited_share", "suppressed")...)
	for _, g := range a.Groups {
		start := groupCells(g.PathwayGroup, a.By)
		if g.Suppressed {
			to.write(append(start, slices.Concat(slices.Repeat([]string{""}, 17), []string{"true"})...)...)
		}
		for _, d := range g.Durations {
			until := ""
			if d.To != nil {
				until = d.To.Stage
			}
			line := append(slices.Clone(start), plain(d.Stage), plain(until), countText(d.People), countText(d.Ended), countText(d.Exited), countText(d.Waiting),
				number(d.MedianDays), number(d.P90Days), number(d.Estimate.MedianDays), number(d.Estimate.P90Days))
			if len(d.Points) == 0 {
				to.write(append(line, "", "", "", "", "", "", "", strconv.FormatBool(d.People == nil))...)
			}
			for _, p := range d.Points {
				to.write(append(slices.Clone(line), strconv.Itoa(p.Days), countText(p.AtRisk), number(p.Still), number(p.Low), number(p.High),
					number(p.WentOn), number(p.Exited), "false")...)
			}
		}
	}
	return to.flush()
}
