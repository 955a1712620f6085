package indicators

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/reference"
)

// Conformance compares pathways with the version of the scheme that they opened
// under: a replay of each history against the stages and what may follow them.
type Conformance struct {
	PathwaysAbout
	Groups []ConformanceGroup `json:"groups"`
}

// ConformanceGroup is that of one group. Conforming pathways have no finding that
// is a deviation; Rate is their share.
type ConformanceGroup struct {
	PathwayGroup
	Conforming *int      `json:"conforming"`
	Rate       *float64  `json:"rate"`
	Findings   []Finding `json:"findings"`
}

// Finding is what was found, of one kind at one stage.
type Finding struct {
	Kind      string `json:"kind"`
	LabelFR   string `json:"label_fr"`
	LabelAR   string `json:"label_ar"`
	Deviation bool   `json:"deviation"` // false: worth knowing, but foreseen by the scheme
	// Stage is where: the stage that was entered, skipped or repeated. From is the
	// stage before, of a move.
	Stage    string `json:"stage,omitempty"`
	From     string `json:"from,omitempty"`
	People   *int   `json:"people"`
	Pathways *int   `json:"pathways"`
	Times    *int   `json:"times"`
}

// Kinds of findings.
const (
	foundVersion uint8 = iota
	foundOpening
	foundStart
	foundStage
	foundMove
	foundSkipped
	foundRepeated
	foundGap
	foundDates
	foundExit
	foundCompletion
	foundAfterEnd
)

var findingKinds = []struct {
	code, fr, ar string
	deviation    bool
}{
	foundVersion:    {"unknown_version", "Dispositif ou version inconnus : le reste n'a pas pu être comparé", "برنامج أو نسخة غير معروفة: تعذّرت مقارنة الباقي", true},
	foundOpening:    {"no_opening", "Ouverture du parcours inconnue", "لا يُعرف تاريخ فتح المسار", true},
	foundStart:      {"start", "Parcours ouvert à une autre étape que la première", "مسار فُتح في مرحلة غير الأولى", true},
	foundStage:      {"unknown_stage", "Étape absente de la version du dispositif", "مرحلة غير موجودة في نسخة البرنامج", true},
	foundMove:       {"move", "Passage non prévu par le dispositif", "انتقال لا ينص عليه البرنامج", true},
	foundSkipped:    {"skipped", "Étape obligatoire sautée", "مرحلة إلزامية لم يقع المرور بها", true},
	foundRepeated:   {"repeated", "Étape reprise, comme le dispositif le prévoit", "مرحلة أُعيدت كما ينص البرنامج", false},
	foundGap:        {"gap", "L'événement part d'une autre étape que celle où se trouvait le parcours", "الحدث ينطلق من مرحلة غير التي كان فيها المسار", true},
	foundDates:      {"dates", "Date antérieure à celle de l'étape précédente", "تاريخ سابق لتاريخ المرحلة التي قبلها", true},
	foundExit:       {"exit", "Motif de sortie non prévu à cette étape", "سبب خروج غير منصوص عليه في هذه المرحلة", true},
	foundCompletion: {"completion", "Parcours achevé avant la dernière étape", "مسار أُنهي قبل المرحلة الأخيرة", true},
	foundAfterEnd:   {"after_end", "Étape après la fin du parcours", "مرحلة بعد نهاية المسار", true},
}

// rules are a scheme's version by stage numbers, to compare ten million moves.
type rules struct {
	scheme      *reference.Scheme
	known       [256]bool
	allowed     [256][256]bool
	exits       map[[2]uint8]bool // exit and stage
	first, last uint8
}

func (t *tracks) rulesOf(scheme *reference.Scheme) *rules {
	r := &rules{scheme: scheme, exits: map[[2]uint8]bool{}}
	r.first, r.last = t.stageNumber(scheme.First().Code), t.stageNumber(scheme.Last().Code)
	for i, code := range t.stages {
		if _, ok := scheme.Stage(code); !ok || i == 0 {
			continue
		}
		r.known[i] = true
		for _, next := range scheme.Following(code) {
			if n := t.stageNumber(next); n != noPlace {
				r.allowed[i][n] = true
			}
		}
		for e, exit := range t.exits {
			if x, ok := scheme.Exit(exit); ok && x.At(code) {
				r.exits[[2]uint8{uint8(e), uint8(i)}] = true
			}
		}
	}
	return r
}

// skips are the mandatory stages that no way from one stage to another avoids: who
// moves there directly has skipped them. None when the move goes back, or when there
// is no way at all. Stages that no event names have no number; they are told with the
// others by their code.
func (r *rules) skips(t *tracks, from, to uint8) []string {
	start := ""
	if from != 0 {
		start = t.stages[from]
	}
	end := t.stages[to]
	if start == "" && end == r.scheme.First().Code {
		return nil
	}
	var out []string
	for _, st := range r.scheme.Stages {
		if st.Code == end || st.Code == start || st.Optional {
			continue
		}
		if !reaches(r.scheme, start, end, st.Code) && reaches(r.scheme, start, end, "") {
			out = append(out, st.Code)
		}
	}
	return out
}

// reaches says whether there is a way between two stages that avoids a third. From ""
// is from before the first stage.
func reaches(s *reference.Scheme, from, to, without string) bool {
	var queue []string
	if from == "" {
		queue = []string{s.First().Code}
	} else if st, ok := s.Stage(from); ok {
		queue = slices.Clone(st.Next)
	}
	seen := map[string]bool{}
	for ; len(queue) > 0; queue = queue[1:] {
		code := queue[0]
		if code == without || seen[code] {
			continue
		}
		if code == to {
			return true
		}
		seen[code] = true
		if st, ok := s.Stage(code); ok {
			queue = append(queue, st.Next...)
		}
	}
	return false
}

// found is one finding in one pathway.
type found struct {
	kind        uint8
	stage, from string
	at          uint32
}

// checker replays pathways against their versions.
type checker struct {
	t       *tracks
	rules   []*rules // by version; nil: not known
	skipped []map[[2]uint8][]string
}

func newChecker(t *tracks) *checker {
	c := &checker{t: t}
	for _, v := range t.versions {
		var r *rules
		if v.rules != nil {
			r = t.rulesOf(v.rules)
		}
		c.rules, c.skipped = append(c.rules, r), append(c.skipped, map[[2]uint8][]string{})
	}
	return c
}

// check gives the findings of a pathway, in its own order.
func (c *checker) check(tr *track, into []found) []found {
	into = into[:0]
	t, r := c.t, c.rules[tr.version]
	add := func(kind uint8, stage, from uint8, at uint32) {
		into = append(into, found{kind, t.stages[stage], t.stages[from], at})
	}
	moves := t.of(tr)
	if r == nil {
		add(foundVersion, 0, 0, moves[0].at)
	}
	if tr.opened == 0 {
		add(foundOpening, 0, 0, moves[0].at)
	}
	var been [256]bool
	now, ended, last := uint8(0), false, uint32(0)
	for i, m := range moves {
		if i > 0 && m.at < last {
			add(foundDates, m.stage, now, m.at)
		}
		last = m.at
		if i > 0 && m.from != 0 && now != 0 && m.from != now && !ended {
			add(foundGap, m.stage, m.from, m.at)
		}
		switch {
		case m.enters():
			if ended {
				add(foundAfterEnd, m.stage, now, m.at)
			}
			switch {
			case r == nil:
			case !r.known[m.stage]:
				add(foundStage, m.stage, now, m.at)
			case now == 0 && m.kind == moveOpened:
				if m.stage != r.first {
					add(foundStart, m.stage, 0, m.at)
					c.skip(&into, tr.version, r, 0, m)
				}
			case now == 0 || !r.known[now] || ended:
				// Where it came from is not known, or told already.
			case !r.allowed[now][m.stage]:
				add(foundMove, m.stage, now, m.at)
				c.skip(&into, tr.version, r, now, m)
			case been[m.stage]:
				add(foundRepeated, m.stage, now, m.at)
			}
			been[m.stage], now, ended = true, m.stage, false
		case m.kind == moveExited:
			where := m.stage
			if now != 0 {
				where = now
			}
			if r != nil && r.known[where] && !r.exits[[2]uint8{m.exit, where}] {
				add(foundExit, where, 0, m.at)
			}
			ended = true
		default:
			if r != nil && now != r.last {
				add(foundCompletion, now, 0, m.at)
			}
			ended = true
		}
	}
	return into
}

func (c *checker) skip(into *[]found, version uint16, r *rules, from uint8, m move) {
	key := [2]uint8{from, m.stage}
	stages, ok := c.skipped[version][key]
	if !ok {
		stages = r.skips(c.t, from, m.stage)
		c.skipped[version][key] = stages
	}
	for _, stage := range stages {
		*into = append(*into, found{foundSkipped, stage, c.t.stages[from], m.at})
	}
}

// foundKey is what findings are counted by.
type foundKey struct {
	kind        uint8
	stage, from string
}

type foundOf struct {
	people   tallied
	pathways int
	times    int
	last     int // the pathway that was counted last, from 1
}

type conformity struct {
	conforming       int
	conformingPeople tallied
	deviating        tallied // people
	found            map[foundKey]*foundOf
}

func (t *table) conformance() []conformity {
	all := make([]conformity, len(t.cells))
	for i := range all {
		all[i].found = map[foundKey]*foundOf{}
	}
	c := newChecker(t.tracks)
	var buffer []found
	for i := range t.list {
		if t.of[i] == noRow {
			continue
		}
		tr, cell := &t.list[i], &all[t.of[i]]
		buffer = c.check(tr, buffer)
		conforms := true
		for _, f := range buffer {
			conforms = conforms && !findingKinds[f.kind].deviation
			key := foundKey{f.kind, f.stage, f.from}
			if f.kind == foundSkipped {
				key.from = "" // which move skipped it is told by the moves
			}
			o := cell.found[key]
			if o == nil {
				o = &foundOf{}
				cell.found[key] = o
			}
			o.people.add(tr.person)
			o.times++
			if o.last != i+1 {
				o.last = i + 1
				o.pathways++
			}
		}
		if conforms {
			cell.conforming++
			cell.conformingPeople.add(tr.person)
		} else {
			cell.deviating.add(tr.person)
		}
	}
	return all
}

// Conformance answers how far pathways keep to their scheme.
func (s *service) Conformance(ctx context.Context, q PathwayQuery) (Conformance, error) {
	if !slices.Contains(q.By, "scheme_version") {
		q.By = append(slices.Clone(q.By), "scheme_version") // each is compared with its own
	}
	t, about, err := s.pathways(ctx, &q, q.cuts())
	if err != nil {
		return Conformance{}, err
	}
	out := Conformance{PathwaysAbout: about, Groups: []ConformanceGroup{}}
	out.Notes = append(out.Notes, Told{
		"Chaque parcours est rejoué contre la version du dispositif sous laquelle il a été ouvert. Un saut d'étape est aussi un passage non prévu ; une étape reprise par une boucle du dispositif n'est pas un écart.",
		"تُعاد قراءة كل مسار وفق نسخة البرنامج التي فُتح في إطارها. القفز على مرحلة هو أيضا انتقال غير منصوص عليه؛ والمرحلة المعادة عبر حلقة في البرنامج ليست انحرافا.",
	})
	all := t.conformance()
	hidden := t.hide(about.SmallCell)
	split, findings := newGuard(about.SmallCell), newGuard(about.SmallCell)
	keys := make([][]foundKey, len(all))
	for i := range all {
		split.add(all[i].conformingPeople.count(), secretIf(hidden[i]), 1, t.lines[i], own(0, i))
		split.add(all[i].deviating.count(), secretIf(hidden[i]), 2, t.lines[i], own(0, i))
		for k := range all[i].found {
			keys[i] = append(keys[i], k)
		}
		slices.SortFunc(keys[i], func(a, b foundKey) int {
			return cmp.Or(cmp.Compare(a.kind, b.kind), strings.Compare(a.stage, b.stage), strings.Compare(a.from, b.from))
		})
	}
	split.solve()
	kinds := map[foundKey]int{}
	for i := range all {
		for _, k := range keys[i] {
			forced := hidden[i] || findingKinds[k.kind].deviation && split.hidden[2*i+1]
			what, ok := kinds[k]
			if !ok {
				what = len(kinds)
				kinds[k] = what
			}
			findings.add(all[i].found[k].people.count(), secretIf(forced), what, t.lines[i], alone)
		}
	}
	findings.solve()
	places := make([]int, len(all))
	for i, n := 0, 0; i < len(all); i++ {
		places[i] = n
		n += len(keys[i])
	}
	for _, i := range t.order() {
		g := ConformanceGroup{PathwayGroup: t.group(i, hidden[i]), Findings: []Finding{}}
		if !g.Suppressed {
			g.Conforming = shown(split.hidden[2*i] || split.hidden[2*i+1], all[i].conforming)
			if g.Conforming != nil {
				g.Rate = share(*g.Conforming, t.cells[i].tracks)
			}
			for n, k := range keys[i] {
				kind, o, hide := findingKinds[k.kind], all[i].found[k], findings.hidden[places[i]+n]
				g.Findings = append(g.Findings, Finding{
					Kind: kind.code, LabelFR: kind.fr, LabelAR: kind.ar, Deviation: kind.deviation, Stage: k.stage, From: k.from,
					People: shown(hide, o.people.count()), Pathways: shown(hide, o.pathways), Times: shown(hide, o.times),
				})
			}
		}
		out.Groups = append(out.Groups, g)
	}
	return out, nil
}

func (a Conformance) csv(w io.Writer) error {
	head := append([]string{"cohort"}, a.By...)
	to := newTableCSV(w, append(head, "group_people", "pathways", "conforming", "rate", "kind", "deviation", "stage", "from", "people", "finding_pathways", "times", "suppressed")...)
	for _, g := range a.Groups {
		start := append(groupCells(g.PathwayGroup, a.By), countText(g.Pathways), countText(g.Conforming), number(g.Rate))
		to.write(append(slices.Clone(start), "", "", "", "", "", "", "", strconv.FormatBool(g.Conforming == nil))...)
		for _, f := range g.Findings {
			to.write(append(slices.Clone(start), f.Kind, strconv.FormatBool(f.Deviation), plain(f.Stage), plain(f.From),
				countText(f.People), countText(f.Pathways), countText(f.Times), strconv.FormatBool(f.People == nil))...)
		}
	}
	return to.flush()
}

// DeviationsQuery asks for pathways with findings.
type DeviationsQuery struct {
	PathwayQuery
	api.Paging
	Kind  string `query:"kind"`  // of findings; none: every deviation
	Stage string `query:"stage"` // where it was found; none: anywhere
}

// DeviatingPathway is one of them, with what was found, in its own order.
type DeviatingPathway struct {
	Pathway       string         `json:"pathway"`
	Scheme        string         `json:"scheme"`
	SchemeVersion string         `json:"scheme_version"`
	Findings      []FindingPlace `json:"findings"`
}

// FindingPlace is one finding in a pathway.
type FindingPlace struct {
	Kind       string    `json:"kind"`
	LabelFR    string    `json:"label_fr"`
	LabelAR    string    `json:"label_ar"`
	Stage      string    `json:"stage,omitempty"`
	From       string    `json:"from,omitempty"`
	OccurredAt time.Time `json:"occurred_at"`
}

// Deviations lists the pathways of the reader's scope with findings, by id.
func (s *service) Deviations(ctx context.Context, q DeviationsQuery) (api.Page[DeviatingPathway], error) {
	none := api.Page[DeviatingPathway]{}
	var kinds []string
	for _, k := range findingKinds {
		kinds = append(kinds, k.code)
	}
	if q.Kind != "" && !slices.Contains(kinds, q.Kind) {
		return none, api.Invalid(api.Field{Path: "query.kind", Code: "unknown", Reason: fmt.Sprintf("there is no kind %q; there are %s", clip(q.Kind), strings.Join(kinds, ", "))})
	}
	if err := s.loading(); err != nil {
		return none, err
	}
	if err := s.checkPathways(&q.PathwayQuery); err != nil {
		return none, err
	}
	if len(q.By) > 0 || q.Cohort != All {
		return none, api.Invalid(api.Field{Path: "query.by", Code: "unknown", Reason: "a list of pathways has no cuts; by and cohort are not for it"})
	}
	t, err := s.tracksAsOf(ctx, q.AsOf)
	if err != nil {
		return none, err
	}
	scope, filters := t.keeper(pathwayScope(access.From(ctx))), t.keeper(q.filters())
	c := newChecker(t)
	asked := func(f found) bool {
		k := findingKinds[f.kind]
		return (q.Kind == k.code || q.Kind == "" && k.deviation) && (q.Stage == "" || q.Stage == f.stage)
	}
	var buffer []found
	var hits []*track
	for i := range t.list {
		tr := &t.list[i]
		if tr.pathway <= q.Cursor || !scope(tr) || !filters(tr) {
			continue
		}
		buffer = c.check(tr, buffer)
		if slices.ContainsFunc(buffer, asked) {
			hits = append(hits, tr)
		}
	}
	slices.SortFunc(hits, func(a, b *track) int { return strings.Compare(a.pathway, b.pathway) })
	next := ""
	if len(hits) > q.Limit {
		hits = hits[:q.Limit]
		next = hits[len(hits)-1].pathway
	}
	var items []DeviatingPathway
	for _, tr := range hits {
		d := DeviatingPathway{Pathway: tr.pathway, Scheme: t.code(tr, "scheme"), SchemeVersion: t.code(tr, "scheme_version")}
		for _, f := range c.check(tr, buffer) {
			if asked(f) {
				k := findingKinds[f.kind]
				d.Findings = append(d.Findings, FindingPlace{k.code, k.fr, k.ar, f.stage, f.from, time.Unix(int64(f.at), 0).UTC()})
			}
		}
		items = append(items, d)
	}
	return api.NewPage(items, next), nil
}
