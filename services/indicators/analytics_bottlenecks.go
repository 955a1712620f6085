package indicators

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"masar.local/pkg/reference"
	"masar.local/pkg/telemetry"
)

// Bottlenecks are the stages at which most time is lost, the worst first.
type Bottlenecks struct {
	PathwaysAbout
	// LostDays are the person-days lost at all stages together; null when hidden.
	LostDays *float64     `json:"lost_days"`
	Stages   []Bottleneck `json:"stages"`
}

// Bottleneck is one stage of one group. Lost is what a stay lasted beyond its
// reference, whether it has ended, was broken off or goes on.
type Bottleneck struct {
	Rank *int `json:"rank"` // from 1; null when hidden
	PathwayGroup
	StageLabel
	Reference Wished `json:"reference"`
	// LatePeople are those who stayed, or have been waiting, beyond it; LostDays how
	// many days together; of these LostWaiting by those who wait now.
	LatePeople  *int     `json:"late_people"`
	LostDays    *float64 `json:"lost_days"`
	LostWaiting *float64 `json:"lost_days_waiting"`
	// Share is LostDays as a part of all that are lost.
	Share *float64 `json:"share"`
	// Waiting are the people who are at the stage now, OldestWait how long the one
	// who came first has been, in days.
	Waiting    *int     `json:"waiting"`
	OldestWait *float64 `json:"oldest_wait_days"`
}

// What a stay is measured by.
const (
	wishedTarget = "target" // target_days of the scheme's stage
	wishedBudget = "budget" // a configured delay budget from this stage to one that may follow it
	wishedMedian = "median" // nothing is configured: the stage's own median of ended stays
	wishedNone   = "none"   // nothing is configured, and no stay has ended
)

// Wished is what a stay is measured by.
type Wished struct {
	Kind    string   `json:"kind"`
	LabelFR string   `json:"label_fr"`
	LabelAR string   `json:"label_ar"`
	Days    *float64 `json:"days"`
	Budget  string   `json:"budget,omitempty"` // code of the delay budget
	seconds int64
}

func wished(kind string, seconds int64) Wished {
	fr := map[string]string{
		wishedTarget: "Durée cible de l'étape dans le dispositif", wishedBudget: "Budget de délai configuré",
		wishedMedian: "Aucune durée configurée : médiane des séjours terminés de l'étape", wishedNone: "Aucune référence : à configurer",
	}
	ar := map[string]string{
		wishedTarget: "المدة المستهدفة للمرحلة في البرنامج", wishedBudget: "أجل مضبوط في الإعدادات",
		wishedMedian: "لا توجد مدة مضبوطة: وسيط الإقامات المنتهية في المرحلة", wishedNone: "لا مرجع: يُضبط لاحقا",
	}
	w := Wished{Kind: kind, LabelFR: fr[kind], LabelAR: ar[kind], seconds: seconds}
	if kind != wishedNone {
		w.Days = new(days(float64(seconds)))
	}
	return w
}

// references says for every stage of a scheme what its stays are measured by. The
// stage's own median is that of all the reader's pathways of the scheme, so that the
// groups of a table are measured alike.
func (t *table) references(p *plan, budgets []DelayBudget, ended [][]uint32) []Wished {
	all := make([]Wished, len(p.stages))
	for place, label := range p.stages {
		all[place] = wished(wishedNone, 0)
		if target := p.target(label.Stage); target != nil {
			all[place] = wished(wishedTarget, int64(*target)*86400)
			continue
		}
		if b, ok := stageBudget(p.shown, label.Stage, budgets); ok {
			all[place] = wished(wishedBudget, int64(*b.Days)*86400)
			all[place].Budget = b.Code
			continue
		}
		if len(ended[place]) > 0 {
			sortSeconds(ended[place])
			all[place] = wished(wishedMedian, int64(medianSeconds(ended[place])))
		}
	}
	return all
}

// stageBudget is the budget of one stage: from it to a stage that may follow it.
func stageBudget(scheme *reference.Scheme, stage string, budgets []DelayBudget) (DelayBudget, bool) {
	if scheme == nil {
		return DelayBudget{}, false
	}
	for _, b := range budgets {
		if b.Configured() && (b.Scheme == "" || b.Scheme == scheme.Code) && b.From == stage && scheme.Allows(stage, b.To) {
			return b, true
		}
	}
	return DelayBudget{}, false
}

// lostAt is what is lost at a stage in one cell.
type lostAt struct {
	late, waiting     tallied
	lost, lostWaiting int64 // seconds
	oldest            uint32
	stays             int
}

// bottlenecks adds up every cell.
func (t *table) bottlenecks(budgets []DelayBudget) (all [][]lostAt, refs map[*plan][]Wished) {
	ended := map[*plan][][]uint32{}
	for _, c := range t.cells {
		if ended[c.plan] == nil {
			ended[c.plan] = make([][]uint32, len(c.plan.stages))
		}
	}
	var buffer []stay
	for i := range t.list {
		if t.of[i] == noRow {
			continue
		}
		p := t.cells[t.of[i]].plan
		buffer = t.staysIn(&t.list[i], p, buffer)
		lists := ended[p]
		for _, s := range buffer {
			if s.how == stayWent {
				lists[s.place] = append(lists[s.place], s.seconds)
			}
		}
	}
	refs = map[*plan][]Wished{}
	for p, lists := range ended {
		refs[p] = t.references(p, budgets, lists)
	}
	all = make([][]lostAt, len(t.cells))
	for i, c := range t.cells {
		all[i] = make([]lostAt, len(c.plan.stages))
	}
	for i := range t.list {
		if t.of[i] == noRow {
			continue
		}
		tr, c := &t.list[i], t.of[i]
		p := t.cells[c].plan
		buffer = t.staysIn(tr, p, buffer)
		for _, s := range buffer {
			if s.how == stayBroken {
				continue
			}
			l, ref := &all[c][s.place], &refs[p][s.place]
			l.stays++
			if s.how == stayWaits {
				l.waiting.add(tr.person)
				l.oldest = max(l.oldest, s.seconds)
			}
			if beyond := int64(s.seconds) - ref.seconds; ref.Kind != wishedNone && beyond > 0 {
				l.late.add(tr.person)
				l.lost += beyond
				if s.how == stayWaits {
					l.lostWaiting += beyond
				}
			}
		}
	}
	return all, refs
}

// Bottlenecks answers where time is lost.
func (s *service) Bottlenecks(ctx context.Context, q PathwayQuery) (Bottlenecks, error) {
	t, about, err := s.pathways(ctx, &q, q.cuts())
	if err != nil {
		return Bottlenecks{}, err
	}
	out := Bottlenecks{PathwaysAbout: about, Stages: []Bottleneck{}}
	out.Notes = append(out.Notes, Told{
		"Jours-personnes perdus : somme, sur tous les séjours, des jours au-delà de la référence de l'étape. La référence est dite à chaque ligne ; sans durée configurée, c'est la médiane de l'étape elle-même : la moitié des séjours la dépasse alors par construction.",
		"أيام الانتظار الضائعة: مجموع الأيام التي تتجاوز مرجع المرحلة لكل الإقامات. المرجع مذكور في كل سطر؛ في غياب مدة مضبوطة يكون وسيط المرحلة نفسها، فيتجاوزه نصف الإقامات بحكم تعريفه.",
	})
	all, refs := t.bottlenecks(s.delayBudgets())
	hiddenGroup := t.hide(about.SmallCell)
	late, waiting := newGuard(about.SmallCell), newGuard(about.SmallCell)
	code := t.stageCodes()
	for i := range all {
		for place := range t.cells[i].plan.stages {
			late.add(all[i][place].late.count(), secretIf(hiddenGroup[i]), 1+code(i, place), t.lines[i], own(0, i))
			waiting.add(all[i][place].waiting.count(), secretIf(hiddenGroup[i]), 1+code(i, place), t.lines[i], own(0, i))
		}
	}
	late.solve()
	waiting.solve()
	total := int64(0)
	n := 0
	var shownStages []Bottleneck
	for i := range all {
		for place, label := range t.cells[i].plan.stages {
			l := all[i][place]
			hide, hideWaiting := late.hidden[n], waiting.hidden[n]
			n++
			if !t.cells[i].wanted || l.stays == 0 {
				continue
			}
			total += l.lost
			b := Bottleneck{
				PathwayGroup: t.group(i, hiddenGroup[i]), StageLabel: label, Reference: refs[t.cells[i].plan][place],
				LatePeople: shown(hide, l.late.count()), Waiting: shown(hideWaiting, l.waiting.count()),
			}
			b.Suppressed = hide || hideWaiting
			if b.Reference.Kind == wishedNone {
				b.LatePeople = nil
			} else if !hide {
				b.LostDays = new(days(float64(l.lost)))
				if !hideWaiting {
					b.LostWaiting = new(days(float64(l.lostWaiting)))
				}
			}
			if !hideWaiting && l.waiting.count() > 0 {
				b.OldestWait = new(days(float64(l.oldest)))
			}
			shownStages = append(shownStages, b)
		}
	}
	// What is hidden comes last, in the order of the stages, so that its place says
	// nothing of it.
	slices.SortStableFunc(shownStages, func(a, b Bottleneck) int {
		switch {
		case a.LostDays == nil || b.LostDays == nil:
			return cmp.Compare(boolRank(a.LostDays == nil), boolRank(b.LostDays == nil))
		}
		return cmp.Compare(*b.LostDays, *a.LostDays)
	})
	allShown := !slices.ContainsFunc(shownStages, func(b Bottleneck) bool { return b.Suppressed })
	if allShown || about.SmallCell == 0 {
		out.LostDays = new(days(float64(total)))
	}
	for i := range shownStages {
		b := &shownStages[i]
		if b.LostDays == nil {
			continue
		}
		b.Rank = new(i + 1)
		if total > 0 {
			b.Share = new(round4(*b.LostDays * 86400 / float64(total)))
		}
	}
	out.Stages = append(out.Stages, shownStages...)
	return out, nil
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (a Bottlenecks) csv(w io.Writer) error {
	head := append([]string{"rank", "cohort"}, a.By...)
	to := newTableCSV(w, append(head, "group_people", "stage", "label_fr", "label_ar", "reference", "reference_days", "late_people", "lost_days", "lost_days_waiting", "share", "waiting", "oldest_wait_days", "suppressed")...)
	for _, b := range a.Stages {
		line := append([]string{countText(b.Rank)}, groupCells(b.PathwayGroup, a.By)...)
		to.write(append(line, plain(b.Stage), plain(b.LabelFR), plain(b.LabelAR), b.Reference.Kind, number(b.Reference.Days), countText(b.LatePeople),
			number(b.LostDays), number(b.LostWaiting), number(b.Share), countText(b.Waiting), number(b.OldestWait), strconv.FormatBool(b.Suppressed))...)
	}
	return to.flush()
}

// lostDays is the metric of the person-days lost at each stage of each scheme.
type lostDays struct {
	service *service

	mu    sync.Mutex
	taken time.Time
	cost  time.Duration // of computing them
	last  []lostSeries
}

type lostSeries struct {
	days   float64
	labels metric.MeasurementOption
}

// publishBottlenecks registers the person-days lost. A stage at which fewer people
// than a small cell were late has no series.
func publishBottlenecks(s *service, meter metric.Meter) error {
	gauge, err := meter.Float64ObservableGauge(telemetry.PathwaysLost,
		metric.WithDescription("Days that people stayed at a stage beyond its reference, all together"), metric.WithUnit("d"))
	if err != nil {
		return fmt.Errorf("metric %s: %w", telemetry.PathwaysLost, err)
	}
	l := &lostDays{service: s}
	_, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		if s.loading() != nil {
			return nil
		}
		list, err := l.now(ctx)
		for _, series := range list {
			o.ObserveFloat64(gauge, series.days, series.labels)
		}
		return err
	}, gauge)
	return err
}

func (l *lostDays) now(ctx context.Context) ([]lostSeries, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last != nil && time.Since(l.taken) < standFor(l.cost) {
		return l.last, nil
	}
	began := time.Now()
	t, err := l.service.tracks(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	schemes, err := t.table(PathwayQuery{Cohort: All}, []string{"scheme"}, nil)
	if err != nil {
		return nil, err
	}
	all, refs := schemes.bottlenecks(l.service.delayBudgets())
	l.last = []lostSeries{}
	for i, c := range schemes.cells {
		for place, stage := range c.plan.stages {
			lost := all[i][place]
			small := lost.late.count() > 0 && lost.late.count() < l.service.smallCell
			if lost.stays > 0 && refs[c.plan][place].Kind != wishedNone && !small {
				l.last = append(l.last, lostSeries{days(float64(lost.lost)), metric.WithAttributes(attribute.String(telemetry.Scheme, c.codes[0]), attribute.String(telemetry.Stage, stage.Stage))})
			}
		}
	}
	l.taken = time.Now()
	l.cost = l.taken.Sub(began)
	return l.last, nil
}
