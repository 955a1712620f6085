package indicators

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strconv"

	"masar.local/pkg/access"
)

// Funnel tells of each group how many people came how far.
type Funnel struct {
	PathwaysAbout
	Groups []FunnelGroup `json:"groups"`
}

// FunnelGroup is the funnel of one group, by the scheme's stages in their order.
type FunnelGroup struct {
	PathwayGroup
	Stages []FunnelStage `json:"stages"`
	Loops  []Loop        `json:"loops"`
}

// FunnelStage is one stage of a funnel. Every figure counts different people, once
// each, however many pathways they have and however often they come to the stage;
// it is null when it is hidden.
type FunnelStage struct {
	StageLabel
	// Reached came to the stage or to one after it in the scheme's order; Entered
	// were ever at it; Again more than once.
	Reached *int `json:"reached"`
	Entered *int `json:"entered"`
	Again   *int `json:"again"`
	// What became of those who entered: WentOn came later to a stage further on, Back
	// left it for one before, Waiting are at it now, Completed finished from it,
	// Exited ended early from it, by Exits.
	WentOn    *int   `json:"went_on"`
	Back      *int   `json:"back"`
	Waiting   *int   `json:"waiting"`
	Completed *int   `json:"completed"`
	Exited    *int   `json:"exited"`
	Exits     []Left `json:"exits"`
	// ConversionNext is WentOn/Entered, ConversionStart Entered/people of the group.
	ConversionNext  *float64 `json:"conversion_next"`
	ConversionStart *float64 `json:"conversion_start"`
}

// Left are those who ended early for one reason.
type Left struct {
	Exit    string `json:"exit"`
	LabelFR string `json:"label_fr"`
	LabelAR string `json:"label_ar"`
	People  *int   `json:"people"`
}

// Loop is a move from a stage to one before it: a new season, another employer.
type Loop struct {
	From   string `json:"from"`
	To     string `json:"to"`
	People *int   `json:"people"`
	Times  *int   `json:"times"` // each person as often as it happened
}

// flowOf are the counts of a stage in one cell.
type flowOf struct {
	reached, entered, again, wentOn, back, waiting, completed, exited tallied
	exits                                                             map[uint8]*tallied
}

// loopOf are those of one loop.
type loopOf struct {
	people tallied
	times  int
}

// flows are those of one cell, by the places of the plan.
type flows struct {
	stages []flowOf
	loops  map[[2]uint8]*loopOf
}

// walk is one pathway on its way through the plan; it is filled again for each.
type walk struct {
	visits []uint8 // places in the order of entering
	exits  []walkExit
	times  [noPlace]uint16 // visits by place
	// now is the place that the pathway is at, noPlace once it has ended.
	now       uint8
	completed uint8 // place from which it was finished; noPlace: it was not
	furthest  int   // the furthest place of a known stage; -1: none
}

type walkExit struct{ place, exit uint8 }

func (w *walk) follow(t *tracks, tr *track, p *plan) {
	for _, place := range w.visits {
		w.times[place] = 0
	}
	w.visits, w.exits, w.now, w.completed, w.furthest = w.visits[:0], w.exits[:0], noPlace, noPlace, -1
	for _, m := range t.of(tr) {
		place := p.place[m.stage]
		switch {
		case m.enters():
			if place == noPlace {
				continue // the event names no stage
			}
			w.visits = append(w.visits, place)
			if w.times[place] < 1<<16-1 {
				w.times[place]++
			}
			if int(place) < p.known {
				w.furthest = max(w.furthest, int(place))
			}
			w.now = place
		case m.kind == moveExited:
			if w.now != noPlace {
				place = w.now // where it was, whatever the event says
			}
			if place != noPlace {
				w.exits = append(w.exits, walkExit{place, m.exit})
			}
			w.now = noPlace
		default:
			if w.now != noPlace {
				place = w.now
			}
			w.completed, w.now = place, noPlace
		}
	}
}

// funnel counts every cell.
func (t *table) funnel() []flows {
	all := make([]flows, len(t.cells))
	for i, c := range t.cells {
		all[i] = flows{stages: make([]flowOf, len(c.plan.stages)), loops: map[[2]uint8]*loopOf{}}
	}
	var w walk
	for i := range t.list {
		if t.of[i] == noRow {
			continue
		}
		tr, c := &t.list[i], t.cells[t.of[i]]
		f := &all[t.of[i]]
		w.follow(t.tracks, tr, c.plan)
		for place := range w.furthest + 1 {
			f.stages[place].reached.add(tr.person)
		}
		after := -1 // the furthest stage that was entered later
		for n, place := range slices.Backward(w.visits) {
			st := &f.stages[place]
			st.entered.add(tr.person)
			if w.times[place] > 1 {
				st.again.add(tr.person)
			}
			if after > int(place) {
				st.wentOn.add(tr.person)
			}
			if int(place) < c.plan.known {
				after = max(after, int(place))
			} else {
				st.reached.add(tr.person)
			}
			if n > 0 && w.visits[n-1] > place {
				from := w.visits[n-1]
				f.stages[from].back.add(tr.person)
				l := f.loops[[2]uint8{from, place}]
				if l == nil {
					l = &loopOf{}
					f.loops[[2]uint8{from, place}] = l
				}
				l.people.add(tr.person)
				l.times++
			}
		}
		for _, e := range w.exits {
			st := &f.stages[e.place]
			st.exited.add(tr.person)
			if st.exits == nil {
				st.exits = map[uint8]*tallied{}
			}
			if st.exits[e.exit] == nil {
				st.exits[e.exit] = &tallied{}
			}
			st.exits[e.exit].add(tr.person)
		}
		if w.completed != noPlace {
			f.stages[w.completed].completed.add(tr.person)
		}
		if w.now != noPlace {
			f.stages[w.now].waiting.add(tr.person)
		}
	}
	return all
}

// funnelHidden says which figures of the funnels are hidden, by cell; the slices are
// empty where nothing is.
type funnelHidden struct {
	group []bool
	stage [][]bool            // by place: the stage altogether
	way   [][]bool            // by place*ways + way
	exit  []map[[2]uint8]bool // place and exit
	loop  []map[[2]uint8]bool
}

// hideFunnel finds out what a reader to whom groups below least are hidden may see.
func (t *table) hideFunnel(all []flows, least int) funnelHidden {
	h := funnelHidden{group: t.hide(least)}
	if least <= 1 {
		return h
	}
	code := t.stageCodes()
	// The stages of each funnel, and those of one stage across the groups.
	stages := newGuard(least)
	var counts []int
	for i, f := range all {
		counts = append(counts[:0], t.cells[i].people.count())
		for _, st := range f.stages {
			counts = append(counts, st.reached.count())
		}
		chain := stages.chain(counts)[1:]
		for place, st := range f.stages {
			past := st.reached.count() - st.entered.count()
			because := secretIf(h.group[i])
			if because == open && (past > 0 && past < least || place < t.cells[i].plan.known && chain[place]) {
				because = quiet
			}
			stages.add(st.entered.count(), because, code(i, place), t.lines[i], alone)
		}
	}
	stages.solve()
	// The ways on from each stage; who came again is not one of them.
	split := newGuard(least)
	n := 0
	for i, f := range all {
		h.stage = append(h.stage, stages.hidden[n:n+len(f.stages)])
		for place, st := range f.stages {
			because := stages.because(n + place)
			for way, c := range [ways]tallied{st.wentOn, st.back, st.waiting, st.completed, st.exited, st.again} {
				line := own(code(i, place), i)
				if way == wayAgain {
					line = alone
				}
				split.add(c.count(), because, 1<<16+code(i, place)*ways+way, t.lines[i], line)
			}
		}
		n += len(f.stages)
	}
	split.solve()
	n = 0
	for _, f := range all {
		h.way = append(h.way, split.hidden[n:n+len(f.stages)*ways])
		n += len(f.stages) * ways
	}
	exits, loops := newGuard(least), newGuard(least)
	for i, f := range all {
		for place, st := range f.stages {
			for _, e := range sortedKeys(st.exits) {
				exits.add(st.exits[e].count(), secretIf(h.way[i][place*ways+wayExited]), 1<<16+code(i, place)<<8+int(e), t.lines[i], own(code(i, place), i))
			}
		}
		for _, l := range sortedLoops(f.loops) {
			from, to := int(l[0]), int(l[1])
			forced := h.way[i][from*ways+wayBack] || h.stage[i][to]
			loops.add(f.loops[l].people.count(), secretIf(forced), 1<<16+code(i, from)<<8+code(i, to), t.lines[i], own(code(i, from), i))
		}
	}
	exits.solve()
	loops.solve()
	n, m := 0, 0
	for _, f := range all {
		hiddenExits, hiddenLoops := map[[2]uint8]bool{}, map[[2]uint8]bool{}
		for place, st := range f.stages {
			for _, e := range sortedKeys(st.exits) {
				hiddenExits[[2]uint8{uint8(place), e}] = exits.hidden[n]
				n++
			}
		}
		for _, l := range sortedLoops(f.loops) {
			hiddenLoops[l] = loops.hidden[m]
			m++
		}
		h.exit, h.loop = append(h.exit, hiddenExits), append(h.loop, hiddenLoops)
	}
	return h
}

// The ways on from a stage, as hideFunnel numbers them.
const (
	wayOn = iota
	wayBack
	wayWaiting
	wayCompleted
	wayExited
	wayAgain
	ways
)

func sortedKeys[V any](m map[uint8]V) []uint8 {
	keys := make([]uint8, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func sortedLoops(m map[[2]uint8]*loopOf) [][2]uint8 {
	keys := make([][2]uint8, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b [2]uint8) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return keys
}

// Funnel answers how far the pathways came.
func (s *service) Funnel(ctx context.Context, q PathwayQuery) (Funnel, error) {
	t, about, err := s.pathways(ctx, &q, q.cuts())
	if err != nil {
		return Funnel{}, err
	}
	out := Funnel{PathwaysAbout: about, Groups: []FunnelGroup{}}
	out.Notes = append(out.Notes,
		Told{
			"Chaque chiffre compte des personnes différentes, une fois chacune. « reached » : venues à l'étape ou plus loin ; « entered » : passées par l'étape. Une cohorte récente n'a pas encore eu le temps d'aller loin : voir « waiting ».",
			"كل رقم يحتسب أشخاصا مختلفين، مرة واحدة لكل شخص. «reached»: بلغوا المرحلة أو تجاوزوها؛ «entered»: مرّوا بالمرحلة. الفوج الحديث لم يتسنّ له الوقت بعد للتقدّم: انظر «waiting».",
		})
	all := t.funnel()
	hidden := t.hideFunnel(all, about.SmallCell)
	for _, i := range t.order() {
		out.Groups = append(out.Groups, t.funnelGroup(i, &all[i], &hidden))
	}
	return out, nil
}

func (t *table) funnelGroup(i int, f *flows, h *funnelHidden) FunnelGroup {
	c := t.cells[i]
	g := FunnelGroup{PathwayGroup: t.group(i, h.group[i]), Stages: []FunnelStage{}, Loops: []Loop{}}
	if g.Suppressed {
		return g
	}
	way := func(place, way int) bool { return h.way != nil && h.way[i][place*ways+way] }
	for place := range f.stages {
		st := &f.stages[place]
		gone := h.stage != nil && h.stage[i][place]
		row := FunnelStage{
			StageLabel: c.plan.stages[place],
			Reached:    shown(gone, st.reached.count()), Entered: shown(gone, st.entered.count()),
			Again: shown(way(place, wayAgain), st.again.count()), WentOn: shown(way(place, wayOn), st.wentOn.count()),
			Back: shown(way(place, wayBack), st.back.count()), Waiting: shown(way(place, wayWaiting), st.waiting.count()),
			Completed: shown(way(place, wayCompleted), st.completed.count()), Exited: shown(way(place, wayExited), st.exited.count()),
			Exits: []Left{},
		}
		if row.Entered != nil {
			row.ConversionStart = share(*row.Entered, c.people.count())
			if row.WentOn != nil && place != c.plan.known-1 { // nothing comes after the last
				row.ConversionNext = share(*row.WentOn, *row.Entered)
			}
		}
		for _, e := range sortedKeys(st.exits) {
			l := Left{Exit: t.exits[e], People: shown(h.exit != nil && h.exit[i][[2]uint8{uint8(place), e}], st.exits[e].count())}
			l.LabelFR, l.LabelAR = c.plan.exitLabels(l.Exit)
			row.Exits = append(row.Exits, l)
		}
		slices.SortFunc(row.Exits, func(a, b Left) int { return cmp.Compare(a.Exit, b.Exit) })
		g.Stages = append(g.Stages, row)
	}
	for _, l := range sortedLoops(f.loops) {
		hide := h.loop != nil && h.loop[i][l]
		g.Loops = append(g.Loops, Loop{
			From: c.plan.stages[l[0]].Stage, To: c.plan.stages[l[1]].Stage,
			People: shown(hide, f.loops[l].people.count()), Times: shown(hide, f.loops[l].times),
		})
	}
	return g
}

// share is part/whole to four places; nil of nobody.
func share(part, whole int) *float64 {
	if whole == 0 {
		return nil
	}
	return new(round4(float64(part) / float64(whole)))
}

// pathways is what every question about pathways begins with.
func (s *service) pathways(ctx context.Context, q *PathwayQuery, by []string) (*table, PathwaysAbout, error) {
	if err := s.loading(); err != nil {
		return nil, PathwaysAbout{}, err
	}
	if err := s.checkPathways(q); err != nil {
		return nil, PathwaysAbout{}, err
	}
	tracks, err := s.tracksAsOf(ctx, q.AsOf)
	if err != nil {
		return nil, PathwaysAbout{}, err
	}
	p := access.From(ctx)
	t, err := tracks.table(*q, by, pathwayScope(p))
	if err != nil {
		return nil, PathwaysAbout{}, err
	}
	about := s.about(p, tracks)
	about.Cohort, about.By = q.Cohort, t.by
	return t, about, nil
}

func (a Funnel) csv(w io.Writer) error {
	head := append([]string{"cohort"}, a.By...)
	to := newTableCSV(w, append(head, "people", "stage", "optional", "reached", "entered", "again", "went_on", "back", "waiting", "completed", "exited", "exit", "exit_people", "conversion_next", "conversion_start", "suppressed")...)
	for _, g := range a.Groups {
		start := groupCells(g.PathwayGroup, a.By)
		if g.Suppressed {
			to.write(append(start, "", "", "", "", "", "", "", "", "", "", "", "", "", "", "true")...)
		}
		for _, st := range g.Stages {
			line := append(slices.Clone(start), plain(st.Stage), strconv.FormatBool(st.Optional),
				countText(st.Reached), countText(st.Entered), countText(st.Again), countText(st.WentOn), countText(st.Back), countText(st.Waiting), countText(st.Completed), countText(st.Exited))
			to.write(append(slices.Clone(line), "", "", number(st.ConversionNext), number(st.ConversionStart), strconv.FormatBool(st.Entered == nil))...)
			for _, e := range st.Exits {
				blank := append(slices.Clone(start), plain(st.Stage), strconv.FormatBool(st.Optional), "", "", "", "", "", "", "", "")
				to.write(append(blank, plain(e.Exit), countText(e.People), "", "", strconv.FormatBool(e.People == nil))...)
			}
		}
	}
	return to.flush()
}
