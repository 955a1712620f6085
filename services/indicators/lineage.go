package indicators

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
)

// LineageQuery asks what one figure is made of.
type LineageQuery struct {
	Code   string   `query:"code"`
	Grain  Grain    `query:"grain"`  // default all
	Period string   `query:"period"` // the label of the period; of the grain all: none, or "all"
	By     []string `query:"by"`
	Codes  []string `query:"codes"` // one for each of By
	// AsOf asks for what was known then. Review asks for the figure of a review, by
	// id or name: its period, and what was known at its moment.
	AsOf   time.Time `query:"as_of"`
	Review string    `query:"review"`
	After  string    `query:"after"` // event id of the last fact that was read
	Limit  int       `query:"limit" default:"100" min:"1" max:"1000"`
}

// Lineage is what one figure is made of: its definition, and its facts by event id.
type Lineage struct {
	Definition LineageDefinition `json:"definition"`
	Grain      Grain             `json:"grain"`
	Period     string            `json:"period"`
	By         []string          `json:"by"`
	Codes      []string          `json:"codes"`
	AsOf       time.Time         `json:"as_of,omitzero"`
	// Scope is what the figure is restricted to, as the principal is.
	Scope   map[string][]string `json:"scope,omitempty"`
	KnownTo time.Time           `json:"known_to,omitzero"`
	// Figure is what is served. Recomputed is the same counted again from the
	// stored facts below by other code; null on later pages, and where there are
	// more than MostRecomputed facts.
	Figure     FrozenFigure  `json:"figure"`
	Recomputed *FrozenFigure `json:"recomputed"`
	// Frozen is the review's figure, and FrozenDefinitionHash its definition's; the
	// figure above is by the present definition.
	Review               string        `json:"review,omitempty"`
	Frozen               *FrozenFigure `json:"frozen,omitempty"`
	FrozenDefinitionHash string        `json:"frozen_definition_hash,omitempty"`
	Facts                int           `json:"facts"` // how many there are behind the figure
	Items                []LineageFact `json:"items"` // one page of them
	Next                 string        `json:"next_after,omitempty"`
}

// LineageDefinition says what is counted.
type LineageDefinition struct {
	Code      string  `json:"code"`
	Version   int     `json:"version"`
	LabelFR   string  `json:"label_fr"`
	LabelAR   string  `json:"label_ar"`
	LabelEN   string  `json:"label_en"`
	MeaningFR string  `json:"meaning_fr"`
	MeaningAR string  `json:"meaning_ar"`
	Unit      string  `json:"unit"`
	Measure   Measure `json:"measure"`
	// JSON is the whole definition and Hash the SHA-256 of these bytes, as in a review.
	JSON string `json:"definition_json"`
	Hash string `json:"definition_hash"`
}

// MostRecomputed is how many facts a figure is counted again from in one answer.
const MostRecomputed = 20_000

// LineageFact is one fact behind a figure. It names nobody and nothing by an id
// that another service knows, but for the event's own, which only who may read
// facts gets to see.
//
// Person and Subject are pseudonyms: 80 bits of an HMAC-SHA256, under a key of this
// installation, over the reader's own subject and the id. One reader meets one
// person under one pseudonym in every figure and at any time, so that different
// people can be counted; two readers' lists cannot be joined, and without the key
// no pseudonym can be made from an id.
type LineageFact struct {
	ID         string    `json:"id"`             // the event's
	Part       string    `json:"part,omitempty"` // of a ratio: numerator, denominator, or both
	Kind       Kind      `json:"kind"`
	Person     string    `json:"person,omitempty"`
	Subject    string    `json:"subject"`
	Seq        int64     `json:"seq,omitempty"`
	OccurredAt time.Time `json:"occurred_at"`
	RecordedAt time.Time `json:"recorded_at"`
	Codes      Codes     `json:"codes"`
	Terms      *Terms    `json:"terms,omitempty"`
	Stay       *int64    `json:"stay_seconds,omitempty"`
}

// check reads the query.
func (s *service) checkLineage(ctx context.Context, q *LineageQuery) (*Definition, Query, error) {
	d, ok := s.defs.Get(q.Code)
	if !ok {
		_, err := s.check(ValuesQuery{Code: q.Code})
		return nil, Query{}, err
	}
	var faults []api.Field
	if q.Grain == "" {
		q.Grain = All
	}
	if q.Grain == All && q.Period == "" {
		q.Period = string(All)
	}
	query, err := s.lineagePeriod(q.Grain, q.Period)
	var f api.Field
	if errors.As(err, &f) {
		faults = append(faults, f)
	}
	for i, name := range q.By {
		switch {
		case !slices.Contains(d.Dimensions, name):
			faults = append(faults, api.Field{Path: "query.by", Code: "unknown", Reason: fmt.Sprintf("%s cannot be cut by %q, but by %s", d.Code, clip(name), list(d.Dimensions))})
		case slices.Index(q.By, name) != i:
			faults = append(faults, api.Field{Path: "query.by", Code: "duplicate", Reason: fmt.Sprintf("%q is named twice", name)})
		}
	}
	if len(q.Codes) != len(q.By) {
		faults = append(faults, api.Field{Path: "query.codes", Code: "length", Reason: fmt.Sprintf("one code for each dimension of by expected: %d, found %d", len(q.By), len(q.Codes))})
	}
	if len(faults) > 0 {
		return nil, Query{}, api.Invalid(faults...)
	}
	query.By, query.Only, query.AsOf = q.By, scope(access.From(ctx), d), q.AsOf
	return d, query, nil
}

// lineagePeriod is the query of one period, as one figure.
func (s *service) lineagePeriod(g Grain, label string) (Query, error) {
	wrong := api.Field{Path: "query.period", Code: "period", Reason: fmt.Sprintf("the label of a %s expected, as the figures have it", clip(string(g)))}
	switch {
	case g == All:
		if label != string(All) {
			return Query{}, api.Field{Path: "query.period", Code: "period", Reason: "all expected, or a grain with the period"}
		}
		return Query{Grain: All, Today: s.today()}, nil
	case g == Day:
		day, err := api.ParseDate(label)
		if err != nil || day.Year() < firstYear || day.Year() >= lastYear {
			return Query{}, wrong
		}
		return Query{Grain: All, From: label, To: label, Today: label}, nil
	}
	if g == Season {
		// Its first day is in the year that its label begins with.
		begins, err := seasonStart(s.columns.View().season)
		if err != nil {
			return Query{}, err
		}
		year, err := strconv.Atoi(label[:min(4, len(label))])
		if err != nil || year < firstYear || year >= lastYear {
			return Query{}, wrong
		}
		first := time.Date(year, begins.Month(), begins.Day(), 0, 0, 0, 0, tunis)
		name, next := around(Season, first, begins)
		if name != label {
			return Query{}, wrong
		}
		last := next.AddDate(0, 0, -1).Format(time.DateOnly)
		return Query{Grain: All, From: first.Format(time.DateOnly), To: last, Today: last}, nil
	}
	p, err := ParseReviewPeriod(label, g)
	if err != nil || p.Label != label {
		return Query{}, wrong
	}
	return p.query(nil, time.Time{}), nil
}

// Lineage says which definition and which facts a figure is made of. Every call
// leaves a line in the log.
func (s *service) Lineage(ctx context.Context, q LineageQuery) (Lineage, error) {
	if err := s.loading(); err != nil {
		return Lineage{}, err
	}
	p := access.From(ctx)
	var review *Review
	var frozen []FrozenIndicator
	if q.Review != "" {
		r, figures, err := s.reviews.read(ctx, q.Review, []string{q.Code})
		if err != nil {
			return Lineage{}, err
		}
		if !q.AsOf.IsZero() || q.Grain != "" && q.Grain != r.Grain || q.Period != "" && q.Period != r.Period {
			return Lineage{}, api.Invalid(api.Field{Path: "query.review", Code: "mismatch", Reason: "with a review, its own period and moment are taken: leave as_of, grain and period out"})
		}
		review, frozen = &r, figures
		q.Grain, q.Period, q.AsOf = r.Grain, r.Period, r.AsOf
	}
	d, query, err := s.checkLineage(ctx, &q)
	if err != nil {
		return Lineage{}, err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return Lineage{}, err
	}
	out := Lineage{
		Definition: LineageDefinition{
			Code: d.Code, Version: d.Version, LabelFR: d.LabelFR, LabelAR: d.LabelAR, LabelEN: d.LabelEN,
			MeaningFR: d.MeaningFR, MeaningAR: d.MeaningAR, Unit: d.Unit, Measure: d.Measure, JSON: string(text), Hash: sha(string(text)),
		},
		Grain: q.Grain, Period: q.Period,
		By: append([]string{}, q.By...), Codes: append([]string{}, q.Codes...), AsOf: q.AsOf, Scope: query.Only,
		KnownTo: s.knownTo(d), Items: []LineageFact{},
	}
	if review != nil {
		out.Review, out.FrozenDefinitionHash = review.Name, frozen[0].DefinitionHash
		place := FrozenCell{By: out.By, Codes: out.Codes}
		if visible(p, frozen[0].dimensions, out.By, out.Codes) {
			f := newSide(frozen[0], true).cell(place).figure()
			out.Frozen = &f
		}
	}
	view := s.columns.View()
	cells, err := view.Cells(d, query)
	if err != nil {
		return Lineage{}, err
	}
	out.Figure = figureAt(d, cells, out.By, out.Codes)
	ids, err := view.Behind(d, query, string(All), q.Codes) // the period is one span
	if err != nil {
		return Lineage{}, err
	}
	out.Facts = len(ids)
	key, err := s.pseudonyms(ctx)
	if err != nil {
		return Lineage{}, err
	}
	start, found := slices.BinarySearch(ids, q.After)
	if found {
		start++
	}
	end := min(start+q.Limit, len(ids))
	read := ids[start:end]
	if q.After == "" && len(ids) <= MostRecomputed {
		read = ids
	}
	facts := make([]Fact, 0, len(read))
	for _, id := range read {
		doc, err := s.facts.docs.Get(ctx, id)
		if err != nil {
			return Lineage{}, fmt.Errorf("fact %s, which is behind a figure: %w", id, err)
		}
		facts = append(facts, complete(doc.Body, doc.ID))
	}
	if len(read) == len(ids) && q.After == "" {
		f := figureAt(d, Recount(d, s.dims, slices.Values(facts), query), out.By, out.Codes)
		out.Recomputed = &f
	}
	for _, f := range facts[:end-start] {
		item := lineageFact(f, key.of(p.Subject))
		item.Part = s.partOf(d, &f)
		out.Items = append(out.Items, item)
	}
	if end < len(ids) {
		out.Next = ids[end-1]
	}
	s.log.InfoContext(ctx, "audit: the facts behind a figure were read",
		"request", api.RequestID(ctx), "role", string(p.Role), "reader", key.of("")("reader", p.Subject),
		"indicator", d.Code, "grain", string(q.Grain), "period", q.Period, "by", strings.Join(q.By, ","), "facts", len(out.Items))
	return out, nil
}

// figureAt is the figure of one cell; see side.cell for one that is not there.
func figureAt(d *Definition, cells []Cell, by, codes []string) FrozenFigure {
	s := side{FrozenIndicator: FrozenIndicator{Measure: d.Measure}, there: true}
	place := FrozenCell{By: by, Codes: codes}
	for _, c := range cells {
		if slices.Equal(c.Codes, codes) {
			return frozen(d, by, c).figure()
		}
	}
	return s.cell(place).figure()
}

// partOf says of which part of a ratio the fact is, "" of any other figure.
func (s *service) partOf(d *Definition, f *Fact) string {
	if d.Measure != Ratio {
		return ""
	}
	above, below := matches(s.dims, f, d.Numerator.Facts), matches(s.dims, f, d.Denominator.Facts)
	switch {
	case above && below:
		return "both"
	case above:
		return "numerator"
	}
	return "denominator"
}

func lineageFact(f Fact, pseudonym func(kind, id string) string) LineageFact {
	return LineageFact{
		ID: f.ID, Kind: f.Kind, Person: pseudonym("person", f.Person), Subject: pseudonym("subject", f.Subject), Seq: f.Seq,
		OccurredAt: f.OccurredAt, RecordedAt: f.RecordedAt, Codes: f.Codes, Terms: f.Terms, Stay: f.Stay,
	}
}

// keysCollection holds the installation's keys; each is written once.
const keysCollection = "indicator_keys"

var keysSchema = docstore.Schema{Collection: keysCollection}

// storedKey is a document of keysCollection.
type storedKey struct {
	Secret []byte `bson:"secret"`
}

// pseudonymKey makes pseudonyms.
type pseudonymKey []byte

// pseudonyms is the installation's key for pseudonyms, the same in every replica:
// the first that needs it writes it.
func (s *service) pseudonyms(ctx context.Context) (pseudonymKey, error) {
	const id = "pseudonyms"
	d, err := s.keys.Get(ctx, id)
	if errors.Is(err, docstore.ErrNotFound) {
		var secret [32]byte
		_, _ = rand.Read(secret[:]) // never fails, see crypto/rand
		if err = s.keys.Insert(ctx, &docstore.Doc[storedKey]{ID: id, Body: storedKey{Secret: secret[:]}}); err == nil || errors.Is(err, docstore.ErrExists) {
			d, err = s.keys.Get(ctx, id)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the key of pseudonyms: %w", err)
	}
	return d.Body.Secret, nil
}

// of gives the pseudonyms that one reader sees.
func (k pseudonymKey) of(reader string) func(kind, id string) string {
	return func(kind, id string) string {
		if id == "" {
			return ""
		}
		mac := hmac.New(sha256.New, k)
		fmt.Fprintf(mac, "%d:%s%d:%s%s", len(reader), reader, len(kind), kind, id)
		return kind[:1] + "-" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(mac.Sum(nil)[:10]))
	}
}
