package indicators

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
)

// A review is the figures of a period as they stood at one moment, frozen for a
// steering committee: it never changes and is never deleted, whatever facts come
// later. Several reviews of one period are numbered from 1.

// FreezeRequest asks for a review.
type FreezeRequest struct {
	// Period is its name ("2026-03", "2026-Q1", "2026-S1", "2026"), or its first
	// day when Grain says how long it is.
	Period string `json:"period"`
	Grain  Grain  `json:"grain,omitempty"`
	// Early allows a period that is not over yet.
	Early bool   `json:"early,omitempty"`
	Title string `json:"title,omitempty"` // plain text, one line, at most maxTitle characters
	Note  string `json:"note,omitempty"`  // plain text, at most maxNote characters
}

// Bounds of what people write about a review, in characters.
const (
	maxTitle = 200
	maxNote  = 4000
)

// freezeTime bounds the work of one freeze.
const freezeTime = 15 * time.Minute

// Review is everything of a review but its figures.
type Review struct {
	ID     string `bson:"-" json:"id"`
	Name   string `bson:"-" json:"name"` // "2026-Q1-v2"
	Grain  Grain  `bson:"grain" json:"grain"`
	Period string `bson:"period" json:"period"`
	Number int    `bson:"number" json:"number"` // among the reviews of the period, from 1
	Early  bool   `bson:"early" json:"early"`   // the period was not over
	Title  string `bson:"title,omitempty" json:"title,omitempty"`
	Note   string `bson:"note,omitempty" json:"note,omitempty"`
	// Subject and Role say who froze it: the token's subject, not a name.
	Subject  string    `bson:"subject" json:"subject"`
	Role     string    `bson:"role" json:"role"`
	FrozenAt time.Time `bson:"frozen_at" json:"frozen_at"`
	// AsOf asks for the same facts later: the moment of the freeze, or KnownTo
	// where a clock was ahead of ours. KnownTo is when we learned of the last fact.
	AsOf       time.Time         `bson:"as_of" json:"as_of"`
	KnownTo    time.Time         `bson:"known_to,omitempty" json:"known_to,omitzero"`
	SmallCell  int               `bson:"small_cell" json:"small_cell"` // people below which a cell was hidden; 0: nothing was
	Facts      int               `bson:"facts" json:"facts"`           // that were known
	Sources    []ReviewSource    `bson:"sources" json:"sources"`
	Indicators []ReviewIndicator `bson:"indicators" json:"indicators"`
	Nonce      string            `bson:"nonce" json:"nonce,omitempty"` // see review_text.go; only for who sees all figures
	Hash       string            `bson:"hash" json:"hash"`             // SHA-256 of the canonical text
	// Altered says that the stored review is no longer the one that was frozen.
	Altered bool `bson:"-" json:"altered,omitempty"`

	Attempt     string `bson:"attempt" json:"-"`               // under which the figures are stored
	Fingerprint string `bson:"fingerprint,omitempty" json:"-"` // of the request
	repeated    bool
}

// ReviewSource is how far a topic had come.
type ReviewSource struct {
	Topic        string    `bson:"topic" json:"topic"`
	Facts        int64     `bson:"facts" json:"facts"`
	LastRecorded time.Time `bson:"last_recorded_at,omitempty" json:"last_recorded_at,omitzero"`
	LastOccurred time.Time `bson:"last_occurred_at,omitempty" json:"last_occurred_at,omitzero"`
	// What waited in the topic, and since when; null when the broker could not be asked.
	LagMessages *int64   `bson:"lag_messages" json:"lag_messages"`
	LagSeconds  *float64 `bson:"lag_seconds" json:"lag_seconds"`
}

// ReviewIndicator names one indicator of a review.
type ReviewIndicator struct {
	Code    string `bson:"code" json:"code"`
	Version int    `bson:"version" json:"version"`
	Cells   int    `bson:"cells" json:"cells"`   // figures, hidden ones included
	Hidden  int    `bson:"hidden" json:"hidden"` // of them, hidden
	Hash    string `bson:"hash" json:"hash"`     // SHA-256 of its canonical text

	Parts int `bson:"parts" json:"-"` // documents that hold it
}

// FrozenCell is one figure of a review.
type FrozenCell struct {
	By          []string `json:"by"`    // dimensions of the cut; none: the total
	Codes       []string `json:"codes"` // one for each of By
	Value       *float64 `json:"value"` // null when hidden
	Numerator   *float64 `json:"numerator,omitempty"`
	Denominator *float64 `json:"denominator,omitempty"`
	P90         *float64 `json:"p90,omitempty"`
	Count       *int     `json:"count,omitempty"`  // facts, or subjects of a stock
	People      *int     `json:"people,omitempty"` // different people
	Hidden      bool     `json:"suppressed,omitempty"`
	Commitment  string   `json:"commitment,omitempty"` // of a hidden figure, see review_text.go
	Salt        string   `json:"salt,omitempty"`       // of a hidden figure, for who may see it
}

// FrozenIndicator is one indicator of a review with its figures.
type FrozenIndicator struct {
	Code    string  `json:"code"`
	Version int     `json:"version"`
	LabelFR string  `json:"label_fr"`
	LabelAR string  `json:"label_ar"`
	LabelEN string  `json:"label_en"`
	Unit    string  `json:"unit"`
	Measure Measure `json:"measure"`
	// DefinitionJSON is the definition as it was, and DefinitionHash the SHA-256
	// of these bytes.
	DefinitionJSON string       `json:"definition_json"`
	DefinitionHash string       `json:"definition_hash"`
	Hash           string       `json:"hash"` // as in Review.Indicators
	Cells          []FrozenCell `json:"cells"`

	about      string
	dimensions []string
}

// FrozenReview is a review with its figures, as far as its reader may see them.
type FrozenReview struct {
	Review
	// Scope is what the figures are restricted to: only cells of cuts by these
	// dimensions, with these codes.
	Scope   map[string][]string `json:"scope,omitempty"`
	Figures []FrozenIndicator   `json:"figures"`
}

// ReviewQuery asks for a review.
type ReviewQuery struct {
	// ID is the review's id, its name ("2026-Q1-v2"), or a period: its last review.
	ID   string   `path:"id"`
	Code []string `query:"code"` // only these indicators
}

// ReviewsQuery asks for the list of reviews, the last first.
type ReviewsQuery struct {
	api.Paging
	Period string `query:"period"` // only of this one; its label
}

// check reads the request.
func (q *FreezeRequest) check(today string) (ReviewPeriod, error) {
	var faults []api.Field
	period, err := ParseReviewPeriod(q.Period, q.Grain)
	var f api.Field
	switch {
	case errors.As(err, &f):
		faults = append(faults, f)
	case period.First.String() > today:
		faults = append(faults, api.Field{Path: "period", Code: "range", Reason: period.Label + " has not begun"})
	case period.Last.String() >= today && !q.Early:
		faults = append(faults, api.Field{Path: "early", Code: "required", Reason: fmt.Sprintf("%s lasts until %s: wait for its end, or say early: true", period.Label, period.Last)})
	}
	q.Title, q.Note = strings.TrimSpace(q.Title), strings.TrimSpace(strings.ReplaceAll(q.Note, "\r\n", "\n"))
	for _, t := range []struct {
		path, text, allowed string
		most                int
	}{{"title", q.Title, "", maxTitle}, {"note", q.Note, "\n", maxNote}} {
		if utf8.RuneCountInString(t.text) > t.most {
			faults = append(faults, api.Field{Path: t.path, Code: "length", Reason: fmt.Sprintf("at most %d characters expected", t.most)})
		}
		if !utf8.ValidString(t.text) || strings.ContainsFunc(t.text, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune(t.allowed, r) }) {
			faults = append(faults, api.Field{Path: t.path, Code: "text", Reason: "plain text without control characters expected"})
		}
	}
	if len(faults) > 0 {
		return ReviewPeriod{}, api.Invalid(faults...)
	}
	return period, nil
}

// Freeze keeps the figures of a period as they stand. The same Idempotency-Key
// again gives the review that it made.
func (s *service) Freeze(ctx context.Context, q FreezeRequest) (Review, error) {
	if err := s.loading(); err != nil {
		return Review{}, err
	}
	p := access.From(ctx)
	if len(p.Governorates)+len(p.Schemes) > 0 {
		return Review{}, api.Forbidden("A review is of the whole programme, and your scope is a part of it.")
	}
	asked, err := json.Marshal(q)
	if err != nil {
		return Review{}, err
	}
	fingerprint, id := api.Fingerprint(asked), api.NewID(ctx)
	if api.Key(ctx) != "" {
		if made, err := s.repeated(ctx, id, fingerprint); !errors.Is(err, docstore.ErrNotFound) {
			return made, err
		}
	}
	period, err := q.check(s.today())
	if err != nil {
		return Review{}, err
	}
	r := Review{
		ID: id, Grain: period.Grain, Period: period.Label, Early: period.Last.String() >= s.today(), Title: q.Title, Note: q.Note,
		Subject: plainLine(p.Subject), Role: string(p.Role), Fingerprint: fingerprint,
	}
	if api.Key(ctx) != "" {
		// A large programme takes longer than a caller may wait: the work goes on, and
		// the command, repeated, finds what it made.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), freezeTime)
		defer cancel()
	}
	figures, err := s.photograph(ctx, &r, period)
	if err != nil {
		return Review{}, err
	}
	for i := range figures {
		if r.Indicators[i].Parts, err = s.reviews.putFigures(ctx, r.ID, r.Attempt, figures[i]); err != nil {
			return Review{}, err
		}
	}
	for {
		if r.Number, err = s.reviews.nextNumber(ctx, r.Grain, r.Period); err != nil {
			return Review{}, err
		}
		r.Hash = sha(r.text())
		err = s.reviews.heads.Insert(ctx, &docstore.Doc[Review]{ID: r.ID, Body: r})
		if !errors.Is(err, docstore.ErrExists) {
			return r.named(), err
		}
		// Either the same command was faster on another replica, or another review
		// of the period took the number.
		if made, err := s.repeated(ctx, id, fingerprint); !errors.Is(err, docstore.ErrNotFound) {
			return made, err
		}
	}
}

// repeated is the review that the same command made before, or
// docstore.ErrNotFound.
func (s *service) repeated(ctx context.Context, id, fingerprint string) (Review, error) {
	d, err := s.reviews.heads.Get(ctx, id)
	if err != nil {
		return Review{}, err
	}
	if d.Body.Fingerprint != fingerprint {
		return Review{}, api.KeyReused()
	}
	r := complete1(d)
	r.repeated = true
	return r, nil
}

// sources says what the view holds from each topic: of the same moment as its
// figures, which Columns.Sources, asked before or after, is not.
func (v *view) sources() []SourceCount { return slices.Clone(v.bySource) }

// plainLine keeps a subject on one line of the canonical text.
func plainLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// photograph computes every figure of the period from one view, and fills in the
// review but for its number and hash.
func (s *service) photograph(ctx context.Context, r *Review, period ReviewPeriod) ([]FrozenIndicator, error) {
	// The moment comes first: what was recorded by then and is not in the view was
	// still on its way here.
	r.FrozenAt = s.now().UTC().Truncate(time.Millisecond)
	r.AsOf = r.FrozenAt
	view := s.columns.View()
	freshness, err := s.Freshness(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range view.sources() {
		from := ReviewSource{Topic: c.Topic, Facts: c.Facts, LastRecorded: c.LastRecorded, LastOccurred: c.LastOccurred}
		for _, f := range freshness.Sources {
			if f.Topic == c.Topic {
				from.LagMessages, from.LagSeconds = f.LagMessages, f.LagSeconds
			}
		}
		r.Sources = append(r.Sources, from)
		r.Facts += int(c.Facts)
		if c.LastRecorded.After(r.KnownTo) {
			r.KnownTo = c.LastRecorded
		}
	}
	if r.KnownTo.After(r.AsOf) {
		r.AsOf = r.KnownTo
	}
	r.SmallCell, r.Nonce, r.Attempt = s.smallCell, salt(), newAttempt()
	if r.SmallCell <= 1 {
		r.SmallCell = 0
	}
	var all []FrozenIndicator
	for _, d := range s.defs {
		cells, err := s.reviewCells(ctx, view, d, period, time.Time{})
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("the definition of %s: %w", d.Code, err)
		}
		hidden := 0
		for i := range cells {
			if cells[i].Hidden {
				hidden++
				cells[i].Salt = salt()
				cells[i].Commitment = cells[i].commit()
			}
		}
		f := FrozenIndicator{Code: d.Code, Version: d.Version, DefinitionJSON: string(text), DefinitionHash: sha(string(text)), Cells: cells}
		f.Hash = figuresHash(f.Code, f.Version, f.DefinitionHash, cells)
		all = append(all, f)
		r.Indicators = append(r.Indicators, ReviewIndicator{Code: d.Code, Version: d.Version, Cells: len(cells), Hidden: hidden, Hash: f.Hash})
	}
	return all, nil
}

// reviewCells are the figures of one indicator in the period, the total first,
// then every declared cut; asOf is zero for everything that the view holds.
// Which cells are hidden is decided for who may see no facts, as it is of the live
// figures (disclosure.go); of a moment in the past nothing is: no reader sees it.
func (s *service) reviewCells(ctx context.Context, view *view, d *Definition, period ReviewPeriod, asOf time.Time) ([]FrozenCell, error) {
	var out []FrozenCell
	for _, by := range reviewCuts(d) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		query := period.query(by, asOf)
		cells, err := view.Cells(d, query)
		if err != nil {
			return nil, err
		}
		hidden := make([]bool, len(cells))
		if d.About == AboutPeople && s.smallCell > 1 && asOf.IsZero() {
			spans, err := view.periods(d, query)
			if err != nil {
				return nil, err
			}
			if cells, hidden, err = s.disclose(view, d, nil).cover(by, period.Grain, period.Label, spans, cells); err != nil {
				return nil, err
			}
		}
		if len(out)+len(cells) > mostCells {
			return nil, fmt.Errorf("indicator %s has more than %d figures in %s: declare fewer cuts", d.Code, mostCells, period.Label)
		}
		for i, c := range cells {
			f := frozen(d, by, c)
			f.Hidden = hidden[i]
			out = append(out, f)
		}
	}
	return out, nil
}

// reviewCuts are the declared cuts of an indicator: none, which is the total, each
// dimension, and those of several dimensions that it names.
func reviewCuts(d *Definition) [][]string {
	cuts := [][]string{{}}
	for _, name := range d.Dimensions {
		cuts = append(cuts, []string{name})
	}
	for _, cut := range d.Cuts {
		if len(cut) > 1 {
			cuts = append(cuts, cut)
		}
	}
	return cuts
}

func frozen(d *Definition, by []string, c Cell) FrozenCell {
	f := FrozenCell{By: by, Codes: append([]string{}, c.Codes...), Value: &c.Value, Count: &c.N, People: &c.People}
	switch {
	case c.N == 0 && len(by) > 0 && (d.Measure == MedianDays || d.Measure == Ratio): // hidden, and nobody is in it
		f.Value = nil
	case d.Measure == MedianDays:
		f.P90 = &c.P90
	case d.Measure == Ratio:
		f.Numerator, f.Denominator = &c.Numerator, &c.Denominator
	}
	return f
}

// Reviews lists the reviews, the last first.
func (s *service) Reviews(ctx context.Context, q ReviewsQuery) (api.Page[Review], error) {
	find := docstore.Query{Index: byFrozen, Desc: true, Limit: q.Limit, After: q.Cursor}
	if q.Period != "" {
		period, err := ParseReviewPeriod(q.Period, "")
		if err != nil {
			return api.Page[Review]{}, api.Invalid(api.Field{Path: "query.period", Code: "period", Reason: errPeriod.Reason})
		}
		find.Index, find.Eq = byNumber, []any{string(period.Grain), period.Label}
	}
	docs, next, err := s.reviews.heads.Find(ctx, find)
	if err != nil {
		return api.Page[Review]{}, err
	}
	items := make([]Review, len(docs))
	for i, d := range docs {
		r := complete1(d)
		r.Altered = sha(r.text()) != r.Hash
		items[i] = r.shown(access.From(ctx))
	}
	return api.NewPage(items, next), nil
}

// Review gives a review with its figures. It refuses one that is not as it was
// frozen.
func (s *service) Review(ctx context.Context, q ReviewQuery) (FrozenReview, error) {
	r, figures, err := s.reviews.read(ctx, q.ID, q.Code)
	if err != nil {
		return FrozenReview{}, err
	}
	p := access.From(ctx)
	out := FrozenReview{Review: r.shown(p), Scope: reviewScope(p), Figures: figures}
	for i := range figures {
		f := &figures[i]
		f.Cells = slices.DeleteFunc(f.Cells, func(c FrozenCell) bool { return !visible(p, f.dimensions, c.By, c.Codes) })
		if err := s.hideInScope(p, r.period(), f); err != nil {
			return FrozenReview{}, err
		}
		for n := range f.Cells {
			f.Cells[n] = f.Cells[n].shown(p.Can(access.IndicatorsFacts))
		}
	}
	return out, nil
}

// visible says whether a cell is within the principal's scope: where the
// indicator can be cut by what the scope restricts, the cell must be of a cut by
// it, and of its codes.
func visible(p access.Principal, dimensions, by, codes []string) bool {
	for name, only := range map[string][]string{"governorate": p.Governorates, "scheme": p.Schemes} {
		if len(only) == 0 || !slices.Contains(dimensions, name) {
			continue
		}
		i := slices.Index(by, name)
		if i < 0 || !slices.Contains(only, codes[i]) {
			return false
		}
	}
	return true
}

// hideInScope hides what the live figures of a principal's scope hide as well: they
// are another family of tables, decided for themselves, and what one of the two
// shows must not tell what the other hides.
func (s *service) hideInScope(p access.Principal, period ReviewPeriod, f *FrozenIndicator) error {
	d, ok := s.defs.Get(f.Code)
	if !ok || s.least(p, d) == 0 || len(scope(p, d)) == 0 {
		return nil
	}
	hidden, err := s.disclose(s.columns.View(), d, scope(p, d)).hiddenIn(period)
	if err != nil {
		return err
	}
	for i, c := range f.Cells {
		cut := slices.Sorted(slices.Values(c.By))
		codes := make([]string, len(cut))
		for n, name := range c.By {
			codes[slices.Index(cut, name)] = c.Codes[n]
		}
		f.Cells[i].Hidden = c.Hidden || hidden[keyOf(cut, codes)]
	}
	return nil
}

// shown is the cell as a reader sees it.
func (c FrozenCell) shown(all bool) FrozenCell {
	if c.Hidden && !all {
		return FrozenCell{By: c.By, Codes: c.Codes, Hidden: true, Commitment: c.Commitment}
	}
	return c
}

// shown is the review as a principal sees it: who sees a part of the figures gets
// no nonce, see review_text.go.
func (r Review) shown(p access.Principal) Review {
	if len(p.Governorates)+len(p.Schemes) > 0 {
		r.Nonce = ""
	}
	return r.named()
}

func (r Review) named() Review {
	r.Name = fmt.Sprintf("%s-v%d", r.Period, r.Number)
	return r
}
