package indicators

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// DifferencesQuery asks what became of a review's figures.
type DifferencesQuery struct {
	ID      string   `path:"id"`       // as in ReviewQuery
	Against string   `query:"against"` // another review of the same period, by id or name; "" or "now": the present figures
	Code    []string `query:"code"`    // only these indicators
	All     bool     `query:"all"`     // also figures that do not differ
}

// ReviewDifferences compares a review with the present figures of its period, or
// with another review of it.
type ReviewDifferences struct {
	Review  Review  `json:"review"`
	Against *Review `json:"against"` // null: the present figures
	// KnownTo is when we learned of the last fact in the figures compared with.
	KnownTo    time.Time              `json:"known_to,omitzero"`
	Scope      map[string][]string    `json:"scope,omitempty"` // as in FrozenReview
	Compared   int                    `json:"compared"`        // figures, without hidden ones
	Different  int                    `json:"different"`       // of them
	Hidden     int                    `json:"suppressed"`      // figures that are hidden on one of the two sides: nothing is said of them
	Indicators []IndicatorDifferences `json:"indicators"`      // those with a difference, or all
}

// IndicatorDifferences is the same of one indicator.
type IndicatorDifferences struct {
	Code    string `json:"code"`
	LabelFR string `json:"label_fr"`
	LabelAR string `json:"label_ar"`
	LabelEN string `json:"label_en"`
	Unit    string `json:"unit"`
	// Version and AgainstVersion are those of the two definitions; 0: that side has
	// no such indicator. DefinitionChanged compares their content.
	Version           int              `json:"version"`
	AgainstVersion    int              `json:"against_version"`
	DefinitionChanged bool             `json:"definition_changed"`
	Compared          int              `json:"compared"`
	Different         int              `json:"different"`
	Hidden            int              `json:"suppressed"`
	Cells             []CellDifference `json:"cells"`
}

// Cause says why a figure differs.
type Cause string

// The causes.
const (
	// ByFacts: facts that were learned of, corrected or taken back in between. The
	// facts that were known at the frozen moment still give the frozen figure.
	ByFacts Cause = "facts"
	// ByDefinition: the indicator is defined otherwise.
	ByDefinition Cause = "definition"
	// ByLateArrival: facts that another service had recorded by the frozen moment,
	// and that had not come here yet; see the lag of the review's sources.
	ByLateArrival Cause = "late_arrival"
)

// CellDifference is one figure on the two sides.
type CellDifference struct {
	By      []string     `json:"by"`
	Codes   []string     `json:"codes"`
	Frozen  FrozenFigure `json:"frozen"`
	Against FrozenFigure `json:"against"`
	// Difference is Against less Frozen; null where one of them has no value.
	Difference *float64 `json:"difference"`
	Because    []Cause  `json:"because,omitempty"`
	Hidden     bool     `json:"suppressed,omitempty"`
}

// FrozenFigure is what a figure is made of.
type FrozenFigure struct {
	Value       *float64 `json:"value"`
	Numerator   *float64 `json:"numerator,omitempty"`
	Denominator *float64 `json:"denominator,omitempty"`
	P90         *float64 `json:"p90,omitempty"`
	Count       *int     `json:"count,omitempty"`
	People      *int     `json:"people,omitempty"`
}

func (c FrozenCell) figure() FrozenFigure {
	return FrozenFigure{c.Value, c.Numerator, c.Denominator, c.P90, c.Count, c.People}
}

// side is the figures of one indicator on one side of a comparison.
type side struct {
	FrozenIndicator
	there bool
	cells map[string]FrozenCell
}

func newSide(f FrozenIndicator, there bool) side {
	s := side{FrozenIndicator: f, there: there, cells: make(map[string]FrozenCell, len(f.Cells))}
	for _, c := range f.Cells {
		s.cells[c.place()] = c
	}
	return s
}

// place tells the cells of an indicator apart.
func (c FrozenCell) place() string {
	return strings.Join(c.By, ",") + "\t" + strings.Join(c.Codes, ",")
}

// cell is the figure at a place. What has no cell is 0, or has no value when it is
// a median or a ratio.
func (s side) cell(like FrozenCell) FrozenCell {
	if c, ok := s.cells[like.place()]; ok {
		return c
	}
	c := FrozenCell{By: like.By, Codes: like.Codes}
	if s.there {
		var zero float64
		var none int
		c.Count, c.People = &none, &none
		if s.Measure != MedianDays && s.Measure != Ratio {
			c.Value = &zero
		}
	}
	return c
}

// Differences compares a review with the present, or with another review. What is
// hidden on one of the two sides is hidden in the comparison, and whether it
// differs is not said either.
func (s *service) Differences(ctx context.Context, q DifferencesQuery) (ReviewDifferences, error) {
	if err := s.loading(); err != nil {
		return ReviewDifferences{}, err
	}
	r, figures, err := s.reviews.read(ctx, q.ID, q.Code)
	if err != nil {
		return ReviewDifferences{}, err
	}
	p := access.From(ctx)
	out := ReviewDifferences{Review: r.shown(p), Scope: reviewScope(p), Indicators: []IndicatorDifferences{}}
	c := comparison{service: s, review: r, period: r.period(), view: s.columns.View(), principal: p, all: q.All}
	others := map[string]FrozenIndicator{}
	if q.Against == "" || q.Against == "now" {
		out.KnownTo = s.knownTo(nil)
	} else {
		other, list, err := s.reviews.read(ctx, q.Against, nil)
		if err != nil {
			return ReviewDifferences{}, err
		}
		if other.Grain != r.Grain || other.Period != r.Period {
			return ReviewDifferences{}, api.Invalid(api.Field{Path: "query.against", Code: "mismatch", Reason: fmt.Sprintf("a review of %s expected; %s is of %s", r.Period, other.Name, other.Period)})
		}
		for _, f := range list {
			others[f.Code] = f
		}
		c.other = &other
		seen := other.shown(p)
		out.Against, out.KnownTo = &seen, other.KnownTo
	}
	pairs := figures
	if len(q.Code) == 0 { // what the review has not, and the other side has
		have := func(code string) bool {
			return slices.ContainsFunc(pairs, func(f FrozenIndicator) bool { return f.Code == code })
		}
		if c.other == nil {
			for _, d := range s.defs {
				if !have(d.Code) {
					pairs = append(pairs, FrozenIndicator{Code: d.Code})
				}
			}
		} else {
			for _, i := range c.other.Indicators {
				if !have(i.Code) {
					pairs = append(pairs, FrozenIndicator{Code: i.Code})
				}
			}
		}
	}
	for _, f := range pairs {
		against, there := others[f.Code]
		if c.other == nil {
			if against, there, err = c.present(ctx, f.Code, time.Time{}); err != nil {
				return ReviewDifferences{}, err
			}
		}
		if err := s.hideInScope(p, c.period, &f); err != nil {
			return ReviewDifferences{}, err
		}
		if err := s.hideInScope(p, c.period, &against); err != nil {
			return ReviewDifferences{}, err
		}
		one, err := c.compare(ctx, newSide(f, f.Version > 0), newSide(against, there))
		if err != nil {
			return ReviewDifferences{}, err
		}
		out.Compared, out.Different, out.Hidden = out.Compared+one.Compared, out.Different+one.Different, out.Hidden+one.Hidden
		if q.All || one.Different > 0 || one.DefinitionChanged {
			out.Indicators = append(out.Indicators, one)
		}
	}
	return out, nil
}

// comparison is one call of Differences.
type comparison struct {
	*service
	review    Review
	other     *Review // nil: the present
	period    ReviewPeriod
	view      *view
	principal access.Principal
	all       bool
}

// present computes an indicator as it is defined now, from what was known at a
// moment; zero: from everything.
func (c comparison) present(ctx context.Context, code string, asOf time.Time) (f FrozenIndicator, there bool, err error) {
	d, ok := c.defs.Get(code)
	if !ok {
		return f, false, nil
	}
	text, err := json.Marshal(d)
	if err != nil {
		return f, false, err
	}
	f = FrozenIndicator{
		Code: d.Code, Version: d.Version, LabelFR: d.LabelFR, LabelAR: d.LabelAR, LabelEN: d.LabelEN, Unit: d.Unit, Measure: d.Measure,
		DefinitionHash: sha(string(text)), dimensions: d.Dimensions,
	}
	f.Cells, err = c.reviewCells(ctx, c.view, d, c.period, asOf)
	return f, err == nil, err
}

func (c comparison) compare(ctx context.Context, a, b side) (IndicatorDifferences, error) {
	named := a.FrozenIndicator
	if !a.there {
		named = b.FrozenIndicator
	}
	out := IndicatorDifferences{
		Code: named.Code, LabelFR: named.LabelFR, LabelAR: named.LabelAR, LabelEN: named.LabelEN, Unit: named.Unit,
		Version: a.Version, AgainstVersion: b.Version, DefinitionChanged: a.DefinitionHash != b.DefinitionHash, Cells: []CellDifference{},
	}
	places := slices.Clone(a.Cells)
	for _, cell := range b.Cells {
		if _, both := a.cells[cell.place()]; !both {
			places = append(places, cell)
		}
	}
	slices.SortStableFunc(places, func(x, y FrozenCell) int {
		return cmp.Or(cmp.Compare(len(x.By), len(y.By)), slices.Compare(x.By, y.By), slices.Compare(x.Codes, y.Codes))
	})
	var why func(frozen, against FrozenCell) []Cause // made when the first difference is met
	for _, place := range places {
		if !visible(c.principal, named.dimensions, place.By, place.Codes) {
			continue
		}
		x, y := a.cell(place), b.cell(place)
		if (x.Hidden || y.Hidden) && !c.principal.Can(access.IndicatorsFacts) {
			out.Hidden++
			if c.all {
				out.Cells = append(out.Cells, CellDifference{By: place.By, Codes: place.Codes, Hidden: true})
			}
			continue
		}
		out.Compared++
		d := CellDifference{By: place.By, Codes: place.Codes, Frozen: x.figure(), Against: y.figure()}
		if x.Value != nil && y.Value != nil {
			diff := math.Round((*y.Value-*x.Value)*1e9) / 1e9 // 8.58, not 8.579999999999998
			d.Difference = &diff
		}
		if x.cellLine() != y.cellLine() {
			out.Different++
			if why == nil {
				var err error
				if why, err = c.causes(ctx, a, b); err != nil {
					return out, err
				}
			}
			d.Because = why(x, y)
		} else if !c.all {
			continue
		}
		out.Cells = append(out.Cells, d)
	}
	return out, nil
}

// causes says why figures of the two sides differ: it asks the present definition
// what the facts known at each side's moment give.
func (c comparison) causes(ctx context.Context, a, b side) (func(x, y FrozenCell) []Cause, error) {
	now, there, err := c.present(ctx, cmp.Or(a.Code, b.Code), c.review.AsOf)
	if err != nil {
		return nil, err
	}
	same := a.DefinitionHash == b.DefinitionHash
	if !there || same && now.DefinitionHash != a.DefinitionHash {
		// The facts cannot be counted again as they were counted then.
		cause := ByDefinition
		if same {
			cause = ByFacts
		}
		return func(FrozenCell, FrozenCell) []Cause { return []Cause{cause} }, nil
	}
	thenA, thenB := newSide(now, true), b
	if c.other != nil {
		later, _, err := c.present(ctx, now.Code, c.other.AsOf)
		if err != nil {
			return nil, err
		}
		thenB = newSide(later, true)
	}
	return func(x, y FrozenCell) (because []Cause) {
		atX, atY := thenA.cell(x).cellLine(), thenB.cell(y).cellLine()
		if atX != atY {
			because = append(because, ByFacts)
		}
		if again := atX == x.cellLine() && atY == y.cellLine(); !again && !same {
			because = append(because, ByDefinition)
		} else if !again {
			because = append(because, ByLateArrival)
		}
		return because
	}, nil
}

// period is the review's, read back from its name.
func (r Review) period() ReviewPeriod {
	p, _ := ParseReviewPeriod(r.Period, "") // it was made by ParseReviewPeriod
	return p
}

// reviewScope is what a principal's figures of a review are restricted to.
func reviewScope(p access.Principal) map[string][]string {
	only := map[string][]string{}
	if len(p.Governorates) > 0 {
		only["governorate"] = p.Governorates
	}
	if len(p.Schemes) > 0 {
		only["scheme"] = p.Schemes
	}
	return only
}
