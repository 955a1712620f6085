package indicators

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// PreviewRequest asks what a definition would count before it takes effect.
type PreviewRequest struct {
	// Definition is one definition as in definitions/*.yaml; its tests may be left
	// out.
	Definition string   `json:"definition"`
	Grain      Grain    `json:"grain,omitempty"` // month, if left out
	By         []string `json:"by,omitempty"`
	From       api.Date `json:"from,omitzero"` // first local day, included
	To         api.Date `json:"to,omitzero"`   // last local day, included
}

// Preview is a definition as it is in force beside one that is not, on the history
// that there is. Nothing of it is stored.
type Preview struct {
	Code    string `json:"code"`
	LabelFR string `json:"label_fr"`
	LabelAR string `json:"label_ar"`
	LabelEN string `json:"label_en"`
	Unit    string `json:"unit"`
	// OldVersion is that of the definition in force; 0 when the code is new.
	OldVersion int     `json:"old_version"`
	NewVersion int     `json:"new_version"`
	Measure    Measure `json:"measure"`
	// Changed says that it counts something else; then RaiseVersion says that its
	// version must be raised before it may take effect.
	Changed      bool                `json:"changed"`
	RaiseVersion bool                `json:"raise_version"`
	Tests        int                 `json:"tests"`       // that the new definition carries
	TestFaults   []string            `json:"test_faults"` // what is not as they expect
	Grain        Grain               `json:"grain"`
	By           []string            `json:"by"`
	Scope        map[string][]string `json:"scope,omitempty"`
	SmallCell    int                 `json:"small_cell,omitempty"`
	// Facts that both definitions look at, that only the new one does, and that
	// only the old one does; of the days asked for.
	Kept     *int         `json:"facts_kept"`
	Entering *int         `json:"facts_entering"`
	Leaving  *int         `json:"facts_leaving"`
	Rows     []PreviewRow `json:"rows"`
	Totals   []PreviewRow `json:"totals,omitempty"` // without the cut
}

// PreviewRow is one cell. Old is null where the old definition has no figure, or
// cannot be cut so; New where the new one has none. What is suppressed is null.
type PreviewRow struct {
	Period     string            `json:"period"`
	Dimensions map[string]string `json:"dimensions,omitempty"`
	Old        *float64          `json:"old"`
	New        *float64          `json:"new"`
	Difference *float64          `json:"difference"` // new minus old; what has no figure is 0
	Entering   *int              `json:"facts_entering"`
	Leaving    *int              `json:"facts_leaving"`
	Suppressed bool              `json:"suppressed,omitempty"`
}

// Preview compares the definition with the one in force. The figures are of the
// principal's scope. From whoever may not read facts, figures of few people are
// hidden even when they are totals, because a selector can be written that only
// few people satisfy; and so is every new figure of a period in which the change
// itself concerns few people, because old and new stand side by side. Several
// previews can still be subtracted from each other; each of them is in the log.
func (s *service) Preview(ctx context.Context, r PreviewRequest) (Preview, error) {
	if err := s.loading(); err != nil {
		return Preview{}, err
	}
	r.Grain = cmp.Or(r.Grain, Month)
	p := access.From(ctx)
	d, err := s.previewed(p, r)
	if err != nil {
		return Preview{}, err
	}
	out := Preview{
		Code: d.Code, LabelFR: d.LabelFR, LabelAR: d.LabelAR, LabelEN: d.LabelEN, Unit: d.Unit, Measure: d.Measure,
		NewVersion: d.Version, Changed: true, Tests: len(d.Tests), TestFaults: []string{}, Grain: r.Grain, By: append([]string{}, r.By...),
		Scope: scope(p, d), SmallCell: s.least(p, d),
	}
	var tests Checked
	tests.fault(d.RunTests(s.dims))
	for _, fault := range tests.Faults[:min(len(tests.Faults), mostTestFaults)] {
		out.TestFaults = append(out.TestFaults, fault.Error())
	}
	old, _ := s.defs.Get(d.Code)
	if old != nil {
		out.OldVersion, out.Changed = old.Version, old.hash() != d.hash()
		out.RaiseVersion = out.Changed && d.Version <= old.Version
	}
	asked := ValuesQuery{Grain: r.Grain, By: r.By, From: r.From, To: r.To}
	if out.SmallCell > 0 && len(r.By)+len(out.Scope) > 0 { // what cannot be asked cannot be previewed either
		for _, one := range []*Definition{d, old} {
			if one == nil {
				continue
			}
			if err := askable(one, asked, s.columns.View().season); err != nil {
				return Preview{}, err
			}
		}
	}
	c := previewing{service: s, asked: asked, old: old, new: d, least: out.SmallCell, query: Query{
		Grain: r.Grain, By: r.By, From: r.From.String(), To: r.To.String(), Today: s.today(), Only: out.Scope,
	}}
	if err := c.prepare(); err != nil {
		return Preview{}, err
	}
	if out.Rows, err = c.rows(r.By); err == nil && len(r.By) > 0 {
		out.Totals, err = c.rows(nil)
	}
	if err != nil {
		return Preview{}, err
	}
	out.Kept, out.Entering, out.Leaving = c.facts()
	s.log.InfoContext(ctx, "audit: a definition was previewed", "request", api.RequestID(ctx), "role", string(p.Role), "indicator", d.Code,
		"hash", d.hash(), "grain", string(r.Grain), "by", strings.Join(r.By, ","))
	return out, nil
}

// mostTestFaults bounds what is said of tests in one answer.
const mostTestFaults = 20

// previewed reads the definition of a request and checks that its figures can be
// computed, and shown to the principal.
func (s *service) previewed(p access.Principal, r PreviewRequest) (*Definition, error) {
	invalid := func(path, code, format string, args ...any) error {
		return api.Invalid(api.Field{Path: path, Code: code, Reason: fmt.Sprintf(format, args...)})
	}
	d, err := ParseDefinition([]byte(r.Definition), s.dims)
	if err != nil {
		return nil, invalid("body.definition", "definition", "%v", err)
	}
	if !slices.Contains(d.Grains, r.Grain) {
		return nil, invalid("body.grain", "unknown", "there is no grain %q; %s has %s", clip(string(r.Grain)), d.Code, list(d.Grains))
	}
	for i, name := range r.By {
		if !slices.Contains(d.Dimensions, name) || slices.Index(r.By, name) != i {
			return nil, invalid("body.by", "unknown", "%s cannot be cut by %q, but by each once of %s", d.Code, clip(name), list(d.Dimensions))
		}
	}
	for path, day := range map[string]api.Date{"body.from": r.From, "body.to": r.To} {
		if !day.IsZero() && (day.Year() < firstYear || day.Year() >= lastYear) {
			return nil, invalid(path, "range", "a day from %d to %d expected", firstYear, lastYear-1)
		}
	}
	if !r.From.IsZero() && !r.To.IsZero() && r.To.Before(r.From.Time) {
		return nil, invalid("body.to", "range", "a day not before from expected")
	}
	var held []string // the codes that are in memory
	for _, known := range s.defs {
		held = append(held, known.Columns()...)
	}
	for _, name := range d.Columns() {
		if !slices.Contains(held, name) {
			return nil, invalid("body.definition", "not_held", "no definition in force reads %q yet, and it is not in memory: it can be counted from the next start on, with the definition in the program", name)
		}
	}
	// A scope holds through the dimensions of a definition, and this one is the
	// principal's own.
	for name, codes := range map[string][]string{"governorate": p.Governorates, "scheme": p.Schemes} {
		if len(codes) == 0 || !d.ofPeople() {
			continue
		}
		moved := slices.ContainsFunc(d.Parts(), func(p Part) bool { return p.Column(name) != name })
		if !slices.Contains(d.Dimensions, name) || moved {
			return nil, api.Forbidden("Your scope is a part of the programme by %s: a definition that you preview must have %s among its dimensions, read from itself.", name, name)
		}
	}
	return d, nil
}

// previewing is an old and a new definition over the same facts.
type previewing struct {
	service  *service
	view     *view
	old, new *Definition // old is nil for a new code
	query    Query
	asked    ValuesQuery
	least    int
	// Facts that only the new definition looks at, only the old one, and both; nil
	// where there can be none.
	entering, leaving, kept *Definition
	hideAll                 bool
}

// selection is everything that a definition looks at, as one expression.
func selection(d *Definition) string {
	var all []string
	for _, p := range d.Parts() {
		for _, s := range p.selectors() {
			all = append(all, "("+s.plain+")")
		}
	}
	slices.Sort(all)
	return "(" + strings.Join(slices.Compact(all), " || ") + ")"
}

// counting is a definition that counts the facts of an expression, with the cuts
// of another; nil when there can be none.
func (c *previewing) counting(expression string) (*Definition, error) {
	s := &Selector{text: expression}
	if err := s.compile(c.service.dims); errors.Is(err, errNoFact) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("facts that enter and leave: %w", err)
	}
	parts := c.new.Parts()
	return &Definition{
		Code: c.new.Code, Measure: Count, About: c.new.About, Select: Select{Facts: s}, From: parts[len(parts)-1].From,
		Dimensions: c.new.Dimensions, Cuts: c.new.Cuts, Grains: Grains,
	}, nil
}

func (c *previewing) prepare() (err error) {
	c.view = c.service.columns.View()
	spans, err := c.view.periods(c.new, c.query)
	if err != nil {
		return err
	}
	if len(spans) > mostPeriods {
		return tooMuch("%d periods", len(spans))
	}
	if len(spans) > 0 { // the same periods for both
		c.query.From, c.query.To = localDay(spans[0].start), localDay(spans[len(spans)-1].end-1)
	}
	if c.old == nil {
		c.entering, err = c.counting(selection(c.new))
		return err
	}
	a, b := selection(c.new), selection(c.old)
	if c.entering, err = c.counting(a + " && !" + b); err != nil {
		return err
	}
	if c.leaving, err = c.counting(b + " && !" + a); err != nil {
		return err
	}
	if c.kept, err = c.counting(a + " && " + b); err != nil {
		return err
	}
	if c.least > 0 && (c.few(c.whole(c.entering)) || c.few(c.whole(c.leaving))) && !c.new.Flow() {
		c.hideAll = true // what enters a stock stays in it
	}
	return nil
}

// few says whether a figure stands for some people, and for too few.
func (c *previewing) few(cell Cell) bool { return cell.People > 0 && cell.People < c.least }

// whole is the total of a count over all days of the query.
func (c *previewing) whole(d *Definition) Cell {
	if d == nil {
		return Cell{}
	}
	q := c.query
	q.Grain, q.By = All, nil
	cells, err := c.view.Cells(d, q)
	if err != nil || len(cells) == 0 {
		return Cell{}
	}
	return cells[0]
}

// facts are the totals of what both look at, of what enters and of what leaves;
// all hidden when one of them is of few people, whom the other two would tell.
func (c *previewing) facts() (kept, entering, leaving *int) {
	counts := [3]Cell{c.whole(c.kept), c.whole(c.entering), c.whole(c.leaving)}
	if c.least > 0 && slices.ContainsFunc(counts[:], c.few) {
		return nil, nil, nil
	}
	return &counts[0].N, &counts[1].N, &counts[2].N
}

// only is the scope of the query, as far as a definition can be cut by it.
func (c *previewing) only(d *Definition) map[string][]string {
	only := map[string][]string{}
	for name, codes := range c.query.Only {
		if slices.Contains(d.Dimensions, name) {
			only[name] = codes
		}
	}
	return only
}

// cells are those of one definition, nil when it cannot be cut so.
func (c *previewing) cells(d *Definition, by []string) (map[string]Cell, []Cell, error) {
	if d == nil || slices.ContainsFunc(by, func(name string) bool { return !slices.Contains(d.Dimensions, name) }) {
		return nil, nil, nil
	}
	q := c.query
	q.By, q.Only = by, c.only(d)
	cells, err := c.view.Cells(d, q)
	if err != nil {
		return nil, nil, err
	}
	if len(cells) > mostCells {
		return nil, nil, tooMuch("%d figures", len(cells))
	}
	byKey := map[string]Cell{}
	for _, cell := range cells {
		byKey[cellKey(cell.Period, cell.Codes)] = cell
	}
	return byKey, cells, nil
}

// rows compares every cell of a cut.
func (c *previewing) rows(by []string) ([]PreviewRow, error) {
	before, old, err := c.cells(c.old, by)
	if err != nil {
		return nil, err
	}
	after, current, err := c.cells(c.new, by)
	if err != nil {
		return nil, err
	}
	in, _, err := c.cells(c.entering, by)
	if err != nil {
		return nil, err
	}
	gone, _, err := c.cells(c.leaving, by)
	if err != nil {
		return nil, err
	}
	// What is hidden of each table for itself.
	hiddenOld, hiddenNew := map[string]bool{}, map[string]bool{}
	leastOld := c.least
	if len(by) == 0 && len(c.query.Only) == 0 {
		leastOld = 0 // it is published already
	}
	for i, hide := range Suppress(old, leastOld) {
		hiddenOld[cellKey(old[i].Period, old[i].Codes)] = hide
	}
	for i, hide := range Suppress(current, c.least) {
		hiddenNew[cellKey(current[i].Period, current[i].Codes)] = hide && current[i].People > 0
	}
	// What the live figures hide of the old one, which the new one may be the same as.
	if c.old != nil && leastOld > 0 && old != nil {
		spans, err := c.view.periods(c.old, c.query)
		if err != nil {
			return nil, err
		}
		grain, label, _ := rangeOf(c.asked, c.view.season)
		covered, hidden, err := c.service.disclose(c.view, c.old, c.only(c.old)).cover(by, grain, label, spans, old)
		if err != nil {
			return nil, err
		}
		for i, cell := range covered {
			if key := cellKey(cell.Period, cell.Codes); hidden[i] {
				hiddenOld[key], hiddenNew[key] = true, true
			}
		}
	}
	var places []Cell
	seen := map[string]bool{}
	for _, cell := range slices.Concat(old, current) {
		if key := cellKey(cell.Period, cell.Codes); !seen[key] {
			seen[key] = true
			places = append(places, cell)
		}
	}
	slices.SortFunc(places, func(a, b Cell) int {
		return cmp.Or(cmp.Compare(a.Period, b.Period), slices.Compare(a.Codes, b.Codes))
	})
	// And the whole of a period in which the change is one of few people.
	few := map[string]bool{}
	if c.least > 0 && c.old != nil {
		counted := c.new.Measure != Ratio && c.new.Measure != MedianDays
		for _, cell := range places {
			key := cellKey(cell.Period, cell.Codes)
			difference := max(after[key].Value-before[key].Value, before[key].Value-after[key].Value)
			if c.few(in[key]) || c.few(gone[key]) || counted && difference > 0 && difference < float64(c.least) {
				few[cell.Period] = true
			}
		}
		for _, part := range []map[string]Cell{in, gone} {
			for _, cell := range part { // of a cell that has no figure
				few[cell.Period] = few[cell.Period] || c.few(cell)
			}
		}
	}
	out := make([]PreviewRow, 0, len(places))
	for _, cell := range places {
		key := cellKey(cell.Period, cell.Codes)
		r := PreviewRow{Period: cell.Period}
		if len(by) > 0 {
			r.Dimensions = map[string]string{}
			for i, name := range by {
				r.Dimensions[name] = cell.Codes[i]
			}
		}
		hide := c.hideAll || few[cell.Period] || hiddenNew[key]
		r.Suppressed = hide || hiddenOld[key]
		if o, ok := before[key]; ok && !hiddenOld[key] {
			r.Old = &o.Value
		}
		if n, ok := after[key]; ok && !hide {
			r.New = &n.Value
		}
		if !r.Suppressed {
			difference := after[key].Value - before[key].Value
			entering, leaving := in[key].N, gone[key].N
			r.Difference, r.Entering, r.Leaving = &difference, &entering, &leaving
		}
		out = append(out, r)
	}
	return out, nil
}
