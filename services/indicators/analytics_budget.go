package indicators

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/telemetry"
)

// Delay budgets: "a visa within 30 days for 90 % of the people" leaves 10 % of the
// delays as a budget that may be late. How much of it is spent, and how fast, says
// earlier than the share itself whether the promise will hold. The mathematics is
// that of service level objectives (B. Beyer et al., "The Site Reliability Workbook",
// O'Reilly 2018, chapter 2 "Implementing SLOs" and chapter 5 "Alerting on SLOs",
// method 5: a burn rate over a long and a short window), with days in the place of
// hours and delays in the place of requests.

// Configured says whether the budget has its numbers.
func (b DelayBudget) Configured() bool { return b.Days != nil && b.Share != nil }

// Budgets tells of every delay budget.
type Budgets struct {
	PathwaysAbout
	Budgets []Budget `json:"budgets"`
}

// Budget is one delay budget of the programme's settings, with its state in each
// group.
type Budget struct {
	Code    string     `json:"code"`
	LabelFR string     `json:"label_fr"`
	LabelAR string     `json:"label_ar"`
	LabelEN string     `json:"label_en"`
	Scheme  string     `json:"scheme,omitempty"` // "": every scheme
	From    StageLabel `json:"from"`
	To      StageLabel `json:"to"`
	Days    *int       `json:"days"`
	Share   *float64   `json:"share"`
	// Status is "à configurer" while there are no numbers, and then there are no
	// groups either.
	Status string        `json:"status,omitempty"`
	Source string        `json:"source"`
	Groups []BudgetGroup `json:"groups"`
}

// BudgetGroup is the state of a budget in one group. A delay is of a person who
// entered From. It is good once To, or a stage after it, is entered within the days, and late from the day
// on by which it was not, whatever comes then. Who exited before that day is neither,
// and counted apart; so is who waits and is not late yet.
type BudgetGroup struct {
	PathwayGroup
	Delays   *int `json:"delays"`
	Eligible *int `json:"eligible"` // good and late
	Good     *int `json:"good"`
	Late     *int `json:"late"`
	// LateWaiting are those of the late who wait still.
	LateWaiting *int `json:"late_waiting"`
	Pending     *int `json:"pending"` // waiting, not late yet
	Exited      *int `json:"exited"`
	// Attained is Good/Eligible; it is to be no less than the budget's share.
	Attained *float64 `json:"attained"`
	// Allowed is (1-share)*Eligible, the delays that may be late; Remaining is what is
	// left of it, below 0 when it is overspent; RemainingShare its part of Allowed.
	Allowed        *float64 `json:"allowed"`
	Remaining      *float64 `json:"remaining"`
	RemainingShare *float64 `json:"remaining_share"`
	// Windows are burn rates: how many times faster than it may the budget is spent.
	Windows []BurnWindow `json:"windows"`
	// State is "ok", "watch" (one window burns faster than 1), "alert" (both do: it is
	// more than an incident, and goes on), "exhausted", or "unknown" (nothing known yet).
	State   string `json:"state"`
	StateFR string `json:"state_fr"`
	StateAR string `json:"state_ar"`
	// Exhausted is the day on which nothing will be left if the last 90 days go on;
	// null when it would never be, or is already.
	Exhausted *api.Date `json:"exhausted_on"`
}

// BurnWindow is a burn rate over the delays that were decided in the last days: those
// that were good, on the day on which they were; those that were late, on the day on
// which they became so. (By the day of entry a recent window would hold good ones
// only: nobody who entered yesterday can be late yet.)
type BurnWindow struct {
	Days    int      `json:"days"` // 0: since the start
	Decided *int     `json:"decided"`
	Late    *int     `json:"late"`
	Burn    *float64 `json:"burn_rate"`
}

// burnDays are the windows: the short and the long one, and everything.
var burnDays = []int{30, 90, 0}

// States of a budget.
const (
	budgetOK        = "ok"
	budgetWatch     = "watch"
	budgetAlert     = "alert"
	budgetExhausted = "exhausted"
	budgetUnknown   = "unknown"
)

var budgetStates = map[string]Told{
	budgetOK:        {"Dans le budget", "ضمن الأجل"},
	budgetWatch:     {"À surveiller : une des deux fenêtres dépasse le rythme permis", "للمتابعة: إحدى الفترتين تتجاوز النسق المسموح"},
	budgetAlert:     {"Alerte : le budget se consomme trop vite sur 30 et sur 90 jours", "إنذار: الرصيد يُستهلك بسرعة مفرطة خلال 30 و90 يوما"},
	budgetExhausted: {"Budget épuisé", "استُنفد الرصيد"},
	budgetUnknown:   {"Aucun délai n'est encore connu", "لا يُعرف أي أجل بعد"},
}

// spending is what is known of a budget in one cell. Counts are of delays.
type spending struct {
	good, late, lateWaiting, pending, exited            int
	goodPeople, latePeople, pendingPeople, exitedPeople tallied
	people                                              tallied
	decided, decidedLate                                [3]int // by burnDays
	first                                               uint32 // when the first was decided
}

const secondsOfDay = 86400

// add counts a delay that began at since and was seen to end, or is seen to wait, at
// until. It says what became of it.
func (c *spending) add(person uint32, since, until uint32, how uint8, limit uint32, now uint32) {
	c.people.add(person)
	deadline := uint64(since) + uint64(limit)
	decide := func(at uint64, late bool) {
		if c.first == 0 || uint32(at) < c.first {
			c.first = uint32(at)
		}
		for i, n := range burnDays {
			if n == 0 || at+uint64(n)*secondsOfDay > uint64(now) {
				c.decided[i]++
				if late {
					c.decidedLate[i]++
				}
			}
		}
	}
	switch {
	case how == stayWent && uint64(until) <= deadline:
		c.good++
		c.goodPeople.add(person)
		decide(uint64(until), false)
	case uint64(until) > deadline: // went, exited or waits: all too late
		c.late++
		c.latePeople.add(person)
		if how == stayWaits {
			c.lateWaiting++
		}
		decide(deadline, true)
	case how == stayExited:
		c.exited++
		c.exitedPeople.add(person)
	default:
		c.pending++
		c.pendingPeople.add(person)
	}
}

// spend adds up one budget in every cell.
func (t *table) spend(b DelayBudget) []spending {
	all := make([]spending, len(t.cells))
	between, limit := t.endsOf(b.From, b.To), uint32(*b.Days)*secondsOfDay
	var buffer []stay
	for i := range t.list {
		if t.of[i] == noRow {
			continue
		}
		tr := &t.list[i]
		if b.Scheme != "" && t.versions[tr.version].scheme != b.Scheme {
			continue
		}
		buffer = t.delaysIn(tr, &between[tr.version], buffer)
		for _, d := range buffer {
			if d.how == stayBroken {
				continue
			}
			all[t.of[i]].add(tr.person, d.since, d.since+d.seconds, d.how, limit, t.seconds)
		}
	}
	return all
}

// burn is how many times faster than it may the budget is spent in a window; nil when
// nothing was decided in it.
func (c *spending) burn(window int, share float64) *float64 {
	if c.decided[window] == 0 {
		return nil
	}
	return new(float64(c.decidedLate[window]) / float64(c.decided[window]) / (1 - share))
}

// state of the budget, from exact figures.
func (c *spending) state(share float64) string {
	eligible := c.good + c.late
	if eligible == 0 {
		return budgetUnknown
	}
	if float64(c.late) > (1-share)*float64(eligible)+tolerance {
		return budgetExhausted
	}
	burning := 0
	for i, n := range burnDays {
		if b := c.burn(i, share); n != 0 && b != nil && *b > 1+tolerance {
			burning++
		}
	}
	return []string{budgetOK, budgetWatch, budgetAlert}[burning]
}

// exhaustion is the day on which the budget will be spent if the last 90 days go on:
// each day adds (1-share) of the delays that are decided, and takes the late ones.
func (c *spending) exhaustion(share float64, now uint32) *api.Date {
	const window = 1 // 90 days
	left := (1-share)*float64(c.good+c.late) - float64(c.late)
	span := math.Min(float64(burnDays[window]), float64(now-min(c.first, now))/secondsOfDay)
	if left <= tolerance || span < 1 {
		return nil
	}
	loss := (float64(c.decidedLate[window]) - (1-share)*float64(c.decided[window])) / span
	if loss <= tolerance || left/loss > 100*365 {
		return nil
	}
	day, err := api.ParseDate(localDay(int64(float64(now)+left/loss*secondsOfDay) * 1000))
	if err != nil {
		return nil
	}
	return &day
}

// delayBudgets are those of the programme's settings.
func (s *service) delayBudgets() []DelayBudget {
	if s.programme == nil {
		return nil
	}
	return s.programme.DelayBudgets
}

// Budgets answers how the delay budgets stand.
func (s *service) Budgets(ctx context.Context, q PathwayQuery) (Budgets, error) {
	by := q.cuts()
	if len(q.Scheme) == 0 && !slices.Contains(q.By, "scheme") {
		by = slices.DeleteFunc(by, func(name string) bool { return name == "scheme" }) // a budget may be of all schemes
	}
	t, about, err := s.pathways(ctx, &q, by)
	if err != nil {
		return Budgets{}, err
	}
	out := Budgets{PathwaysAbout: about, Budgets: []Budget{}}
	out.Notes = append(out.Notes, Told{
		"Éligibles : délais dont l'issue est connue, ou déjà en retard. Un délai est en retard le jour où l'échéance est passée, même s'il attend encore. Les sorties avant l'échéance et les attentes dans les temps sont comptées à part. Rythme 1 = le budget se consomme exactement comme prévu (Google, The Site Reliability Workbook, 2018, ch. 5, transposé aux jours).",
		"المؤهّلون: آجال عُرف مآلها أو تأخّرت بالفعل. يُعتبر الأجل متأخرا يوم تجاوز الموعد ولو كان الانتظار متواصلا. يُحتسب على حدة الخروج قبل الموعد والانتظار ضمن الأجل. النسق 1 = استهلاك الرصيد كما هو مقرّر تماما (Google, The Site Reliability Workbook 2018، الفصل 5، منقولا إلى الأيام).",
	})
	if len(s.delayBudgets()) == 0 {
		out.Notes = append(out.Notes, Told{"Aucun budget de délai n'est défini : à configurer dans le fichier du programme (delay_budgets).", "لم يُحدّد أي أجل: يُضبط في ملف البرنامج (delay_budgets)."})
	}
	for _, b := range s.delayBudgets() {
		out.Budgets = append(out.Budgets, s.budget(t, b, about.SmallCell))
	}
	return out, nil
}

func (s *service) stageLabel(scheme, code string) StageLabel {
	label := StageLabel{Stage: code, LabelFR: code, LabelAR: code}
	for _, v := range s.schemes.All() {
		if st, ok := v.Stage(code); ok && (scheme == "" || v.Code == scheme) {
			label = StageLabel{Stage: code, LabelFR: st.LabelFR, LabelAR: st.LabelAR, Optional: st.Optional}
		}
	}
	return label
}

func (s *service) budget(t *table, b DelayBudget, least int) Budget {
	out := Budget{
		Code: b.Code, LabelFR: b.LabelFR, LabelAR: b.LabelAR, LabelEN: b.LabelEN, Scheme: b.Scheme,
		From: s.stageLabel(b.Scheme, b.From), To: s.stageLabel(b.Scheme, b.To),
		Days: b.Days, Share: b.Share, Source: b.Source, Groups: []BudgetGroup{},
	}
	if !b.Configured() {
		out.Status = "à configurer"
		return out
	}
	all := t.spend(b)
	hidden := t.hide(least)
	total, ways := newGuard(least), newGuard(least)
	for i := range all {
		total.add(all[i].people.count(), secretIf(hidden[i]), 0, t.lines[i], alone)
	}
	total.solve()
	for i := range all {
		for way, c := range []tallied{all[i].goodPeople, all[i].latePeople, all[i].pendingPeople, all[i].exitedPeople} {
			ways.add(c.count(), secretIf(total.hidden[i]), 1+way, t.lines[i], own(0, i))
		}
	}
	ways.solve()
	for _, i := range t.order() {
		c := &all[i]
		if c.people.count() == 0 { // of another scheme
			continue
		}
		g := BudgetGroup{PathwayGroup: t.group(i, hidden[i] || total.hidden[i]), Windows: []BurnWindow{}}
		if !g.Suppressed {
			g.tell(c, *b.Share, t.seconds, ways.hidden[4*i:4*i+4], least)
		}
		out.Groups = append(out.Groups, g)
	}
	return out
}

// tell fills in the figures of a group.
func (g *BudgetGroup) tell(c *spending, share float64, now uint32, hidden []bool, least int) {
	good, late, pending, exited := hidden[0], hidden[1], hidden[2], hidden[3]
	eligible := c.good + c.late
	g.Delays = new(eligible + c.pending + c.exited)
	g.Good, g.Late, g.Pending, g.Exited = shown(good, c.good), shown(late, c.late), shown(pending, c.pending), shown(exited, c.exited)
	decided := good || late
	g.Eligible = shown(decided, eligible)
	if least <= 1 || c.lateWaiting == 0 && !late || c.lateWaiting >= least && !late && (c.late == c.lateWaiting || c.late-c.lateWaiting >= least) {
		g.LateWaiting = new(c.lateWaiting)
	}
	if !decided && eligible > 0 {
		allowed := (1 - share) * float64(eligible)
		g.Attained = new(round4(float64(c.good) / float64(eligible)))
		g.Allowed, g.Remaining = new(round4(allowed)), new(round4(allowed-float64(c.late)))
		g.RemainingShare = new(round4((allowed - float64(c.late)) / allowed))
		g.Exhausted = c.exhaustion(share, now)
	}
	// Windows lie in each other: from the longest on, what is shown differs by nobody
	// or by enough.
	chain := newGuard(least)
	var decidedOf, lateOf []int
	for i := range slices.Backward(burnDays) {
		decidedOf, lateOf = append(decidedOf, c.decided[i]-c.decidedLate[i]), append(lateOf, c.decidedLate[i])
	}
	hiddenGood, hiddenLate := chain.chain(decidedOf), chain.chain(lateOf)
	for i, n := range burnDays {
		at := len(burnDays) - 1 - i
		hide := decided || hiddenGood[at] || hiddenLate[at]
		w := BurnWindow{Days: n, Decided: shown(hide, c.decided[i]), Late: shown(hide, c.decidedLate[i])}
		if b := c.burn(i, share); b != nil && !hide {
			w.Burn = new(round4(*b))
		}
		g.Windows = append(g.Windows, w)
	}
	g.State = c.state(share)
	g.StateFR, g.StateAR = budgetStates[g.State].FR, budgetStates[g.State].AR
}

func (a Budgets) csv(w io.Writer) error {
	head := append([]string{"budget", "from", "to", "days", "share", "cohort"}, a.By...)
	to := newTableCSV(w, append(head, "group_people", "delays", "eligible", "good", "late", "late_waiting", "pending", "exited", "attained", "allowed", "remaining",
		"burn_30", "burn_90", "burn_all", "state", "exhausted_on", "suppressed")...)
	for _, b := range a.Budgets {
		start := []string{plain(b.Code), b.From.Stage, b.To.Stage, countText(b.Days), number(b.Share)}
		if b.Status != "" {
			to.write(slices.Concat(start, slices.Repeat([]string{""}, 1+len(a.By)+14), []string{plain(b.Status), "", ""})...)
		}
		for _, g := range b.Groups {
			var burns []string
			for i := range burnDays {
				text := ""
				if len(g.Windows) > i {
					text = number(g.Windows[i].Burn)
				}
				burns = append(burns, text)
			}
			exhausted := ""
			if g.Exhausted != nil {
				exhausted = g.Exhausted.String()
			}
			to.write(slices.Concat(start, groupCells(g.PathwayGroup, a.By),
				[]string{countText(g.Delays), countText(g.Eligible), countText(g.Good), countText(g.Late), countText(g.LateWaiting), countText(g.Pending), countText(g.Exited), number(g.Attained), number(g.Allowed), number(g.Remaining)},
				burns, []string{g.State, exhausted, strconv.FormatBool(g.Suppressed)})...)
		}
	}
	return to.flush()
}

// LateQuery asks who of a budget will be late next.
type LateQuery struct {
	PathwayQuery
	api.Paging
	Budget string `query:"budget"`
	// Late asks for those who are late already, instead of those who will be.
	Late bool `query:"late"`
}

// Due is a pathway that waits for a budget's second stage.
type Due struct {
	Pathway   string    `json:"pathway"`
	Scheme    string    `json:"scheme"`
	EnteredAt time.Time `json:"entered_at"`
	DueAt     time.Time `json:"due_at"`
	DaysLeft  float64   `json:"days_left"` // below 0: late
}

// Late lists the pathways that wait, by the instant at which they are due.
func (s *service) Late(ctx context.Context, q LateQuery) (api.Page[Due], error) {
	none := api.Page[Due]{}
	if err := s.loading(); err != nil {
		return none, err
	}
	var codes []string
	for _, b := range s.delayBudgets() {
		codes = append(codes, b.Code)
	}
	at := slices.Index(codes, q.Budget)
	if at < 0 {
		if q.Budget == "" {
			return none, api.Invalid(api.Field{Path: "query.budget", Code: "required", Reason: "the code of a delay budget expected; there are " + listOrNone(codes)})
		}
		return none, api.NotFound("There is no delay budget %q; there are %s.", clip(q.Budget), listOrNone(codes))
	}
	b := s.delayBudgets()[at]
	if !b.Configured() {
		return none, api.Conflict("The delay budget %s has no days yet (à configurer): nobody can be late by it.", b.Code)
	}
	if err := s.checkPathways(&q.PathwayQuery); err != nil {
		return none, err
	}
	if len(q.By) > 0 || q.Cohort != All {
		return none, api.Invalid(api.Field{Path: "query.by", Code: "unknown", Reason: "a list of pathways has no cuts; by and cohort are not for it"})
	}
	after, err := parseDueCursor(q.Cursor)
	if err != nil {
		return none, err
	}
	t, err := s.tracksAsOf(ctx, q.AsOf)
	if err != nil {
		return none, err
	}
	scope, filters := t.keeper(pathwayScope(access.From(ctx))), t.keeper(q.filters())
	between, limit := t.endsOf(b.From, b.To), uint32(*b.Days)*secondsOfDay
	var hits []dueAt
	var buffer []stay
	for i := range t.list {
		tr := &t.list[i]
		// Like the figures: what has no opening is in none.
		if tr.opened == 0 || b.Scheme != "" && t.versions[tr.version].scheme != b.Scheme || !scope(tr) || !filters(tr) {
			continue
		}
		buffer = t.delaysIn(tr, &between[tr.version], buffer)
		if len(buffer) == 0 {
			continue
		}
		d := buffer[len(buffer)-1]
		hit := dueAt{due: int64(d.since) + int64(limit), track: tr, pathway: tr.pathway}
		if d.how == stayWaits && (hit.due < int64(t.seconds)) == q.Late && hit.compare(after) > 0 {
			hits = append(hits, hit)
		}
	}
	slices.SortFunc(hits, dueAt.compare)
	next := ""
	if len(hits) > q.Limit {
		hits = hits[:q.Limit]
		next = hits[len(hits)-1].cursor()
	}
	var items []Due
	for _, h := range hits {
		items = append(items, Due{
			Pathway: h.pathway, Scheme: t.code(h.track, "scheme"),
			EnteredAt: time.Unix(h.due-int64(limit), 0).UTC(), DueAt: time.Unix(h.due, 0).UTC(), DaysLeft: days(float64(h.due - int64(t.seconds))),
		})
	}
	return api.NewPage(items, next), nil
}

// dueAt is a pathway's place in the list.
type dueAt struct {
	due     int64
	pathway string
	track   *track
}

func (d dueAt) compare(o dueAt) int {
	return cmp.Or(cmp.Compare(d.due, o.due), strings.Compare(d.pathway, o.pathway))
}

func (d dueAt) cursor() string { return strconv.FormatInt(d.due, 10) + "." + d.pathway }

func parseDueCursor(text string) (dueAt, error) {
	if text == "" {
		return dueAt{due: math.MinInt64}, nil
	}
	due, pathway, ok := strings.Cut(text, ".")
	n, err := strconv.ParseInt(due, 10, 64)
	if !ok || err != nil {
		return dueAt{}, api.Invalid(api.Field{Path: "query.cursor", Code: "type", Reason: "the next_cursor of the page before expected"})
	}
	return dueAt{due: n, pathway: pathway}, nil
}

func listOrNone(codes []string) string {
	if len(codes) == 0 {
		return "none, they are to be configured (delay_budgets)"
	}
	return strings.Join(codes, ", ")
}

// publishBudgets registers the metrics of the configured budgets: what is left, and
// the burn rate over each window; three series for a budget. A budget is of the
// programme, not of people alike: nothing in it is hidden.
func publishBudgets(s *service, meter metric.Meter) error {
	var budgets []DelayBudget
	for _, b := range s.delayBudgets() {
		if b.Configured() {
			budgets = append(budgets, b)
		}
	}
	if len(budgets) == 0 {
		return nil
	}
	remaining, err := meter.Float64ObservableGauge(telemetry.KPIPrefix+"delay_budget_remaining",
		metric.WithDescription("Part of the delay budget that is left, below 0 when it is overspent"), metric.WithUnit("{share}"))
	if err != nil {
		return fmt.Errorf("metric delay_budget_remaining: %w", err)
	}
	burn, err := meter.Float64ObservableGauge(telemetry.KPIPrefix+"delay_budget_burn_rate",
		metric.WithDescription("How many times faster than it may the delay budget is spent"), metric.WithUnit("{times}"))
	if err != nil {
		return fmt.Errorf("metric delay_budget_burn_rate: %w", err)
	}
	_, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		if s.loading() != nil {
			return nil
		}
		t, err := s.tracks(ctx, time.Time{})
		if err != nil {
			return err
		}
		all := t.together()
		for _, b := range budgets {
			c := all.spend(b)[0]
			code := attribute.String(telemetry.Budget, b.Code)
			if eligible := float64(c.good + c.late); eligible > 0 {
				allowed := (1 - *b.Share) * eligible
				o.ObserveFloat64(remaining, (allowed-float64(c.late))/allowed, metric.WithAttributes(code))
			}
			for i, n := range burnDays {
				if rate := c.burn(i, *b.Share); n > 0 && rate != nil {
					o.ObserveFloat64(burn, *rate, metric.WithAttributes(code, attribute.String(telemetry.Window, strconv.Itoa(n)+"d")))
				}
			}
		}
		return nil
	}, remaining, burn)
	return err
}

// together puts every pathway whose opening is known into one cell.
func (t *tracks) together() *table {
	out := &table{tracks: t, cells: []*cell{{}}, of: make([]int32, len(t.list))}
	for i := range t.list {
		if t.list[i].opened == 0 {
			out.of[i] = noRow
		}
	}
	return out
}
