package indicators

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
)

// Where reviews are: one head for each, and its figures in documents of their
// own, at least one for each indicator, for a document has a bound. Both are only
// ever inserted. The figures come first and the head last: a review whose writing
// broke off has no head, and is not there. What it left behind is under its
// attempt's own id and in nobody's way.
const (
	reviewCollection  = "reviews"
	figuresCollection = "review_figures"

	byNumber = "number" // one review for each number of a period
	byFrozen = "frozen"
)

var reviewSchemas = []docstore.Schema{
	{Collection: reviewCollection, Indexes: []docstore.Index{
		{Name: byNumber, Unique: true, Fields: []docstore.Field{{Path: "grain"}, {Path: "period"}, {Path: "number", Kind: docstore.Int}}},
		{Name: byFrozen, Fields: []docstore.Field{{Path: "frozen_at", Kind: docstore.Time}}},
	}},
	{Collection: figuresCollection},
}

// maxPart is the most text that one document of figures holds, in bytes; the
// store takes 8 MiB.
const maxPart = 4 << 20

// figuresPart is one document of figures: lines as FrozenCell.storedLine writes
// them. The first part has the definition.
type figuresPart struct {
	Review     string `bson:"review"`
	Definition string `bson:"definition,omitempty"`
	Lines      string `bson:"lines"`
}

type reviewStore struct {
	heads   *docstore.Collection[Review]
	figures *docstore.Collection[figuresPart]
	part    int // most bytes of a part
}

func newReviewStore(e docstore.Engine) *reviewStore {
	return &reviewStore{
		heads:   docstore.NewCollection[Review](e, reviewSchemas[0]),
		figures: docstore.NewCollection[figuresPart](e, reviewSchemas[1]),
		part:    maxPart,
	}
}

// ensure creates the collections.
func (s *reviewStore) ensure(ctx context.Context) error {
	return errors.Join(s.heads.Ensure(ctx), s.figures.Ensure(ctx))
}

func newAttempt() string { return ulid.Make().String() }

func partID(attempt, code string, part int) string {
	return fmt.Sprintf("%s/%s/%04d", attempt, code, part)
}

// putFigures writes one indicator and says in how many documents.
func (s *reviewStore) putFigures(ctx context.Context, review, attempt string, f FrozenIndicator) (parts int, err error) {
	next := figuresPart{Review: review, Definition: f.DefinitionJSON}
	var lines strings.Builder
	flush := func() error {
		next.Lines = lines.String()
		err := s.figures.Insert(ctx, &docstore.Doc[figuresPart]{ID: partID(attempt, f.Code, parts), Body: next})
		parts++
		next = figuresPart{Review: review}
		lines.Reset()
		return err
	}
	for _, c := range f.Cells {
		line := c.storedLine() + "\n"
		if lines.Len() > 0 && lines.Len()+len(line) > s.part {
			if err := flush(); err != nil {
				return parts, err
			}
		}
		lines.WriteString(line)
	}
	return parts, flush()
}

// nextNumber is one more than the highest number of the period's reviews.
func (s *reviewStore) nextNumber(ctx context.Context, g Grain, period string) (int, error) {
	last, _, err := s.heads.Find(ctx, docstore.Query{Index: byNumber, Eq: []any{string(g), period}, Desc: true, Limit: 1})
	if err != nil || len(last) == 0 {
		return 1, err
	}
	return last[0].Body.Number + 1, nil
}

// complete1 gives a review back what its document keeps elsewhere.
func complete1(d *docstore.Doc[Review]) Review {
	r := d.Body
	r.ID = d.ID
	return r.named()
}

var reviewName = regexp.MustCompile(`^(20[0-9QS-]{2,6}?)(?:-v([1-9][0-9]{0,8}))?$`)

// head finds a review by id, by name, or by period.
func (s *reviewStore) head(ctx context.Context, id string) (Review, error) {
	missing := func() error { return api.NotFound("There is no review %q.", clip(id)) }
	if m := reviewName.FindStringSubmatch(id); m != nil {
		period, err := ParseReviewPeriod(m[1], "")
		if err != nil {
			return Review{}, missing()
		}
		q := docstore.Query{Index: byNumber, Eq: []any{string(period.Grain), period.Label}, Desc: true, Limit: 1}
		if m[2] != "" {
			n, _ := strconv.ParseInt(m[2], 10, 64) // nine digits at most
			q.Eq = append(q.Eq, n)
		}
		docs, _, err := s.heads.Find(ctx, q)
		if err != nil {
			return Review{}, err
		}
		if len(docs) == 0 {
			return Review{}, missing()
		}
		return complete1(docs[0]), nil
	}
	if id == "" || len(id) > 64 {
		return Review{}, missing()
	}
	d, err := s.heads.Get(ctx, id)
	if errors.Is(err, docstore.ErrNotFound) {
		return Review{}, missing()
	}
	if err != nil {
		return Review{}, err
	}
	return complete1(d), nil
}

// altered is the error of a review whose documents are not those that were
// frozen.
func altered(r Review, format string, args ...any) error {
	return api.Conflict("The stored review %s is not the one that was frozen: %s. It cannot be relied on; restore the store from a backup.", r.Name, fmt.Sprintf(format, args...))
}

// checkedHead reads a head and checks its hash.
func (s *reviewStore) checkedHead(ctx context.Context, id string) (Review, error) {
	r, err := s.head(ctx, id)
	if err != nil {
		return r, err
	}
	if sha(r.text()) != r.Hash {
		return r, altered(r, "its head does not have the hash %s", r.Hash)
	}
	return r, nil
}

// read reads a review and the figures of the named indicators (none: of all), and
// checks everything that it reads against the frozen hashes.
func (s *reviewStore) read(ctx context.Context, id string, codes []string) (Review, []FrozenIndicator, error) {
	r, err := s.checkedHead(ctx, id)
	if err != nil {
		return r, nil, err
	}
	for _, code := range codes {
		if !slices.ContainsFunc(r.Indicators, func(i ReviewIndicator) bool { return i.Code == code }) {
			return r, nil, api.NotFound("The review %s has no indicator %q.", r.Name, clip(code))
		}
	}
	all := []FrozenIndicator{}
	for _, i := range r.Indicators {
		if len(codes) > 0 && !slices.Contains(codes, i.Code) {
			continue
		}
		f, err := s.readFigures(ctx, r, i)
		if err != nil {
			return r, nil, err
		}
		all = append(all, f)
	}
	return r, all, nil
}

func (s *reviewStore) readFigures(ctx context.Context, r Review, i ReviewIndicator) (FrozenIndicator, error) {
	f := FrozenIndicator{Code: i.Code, Version: i.Version, Hash: i.Hash, Cells: make([]FrozenCell, 0, i.Cells)}
	for part := range i.Parts {
		d, err := s.figures.Get(ctx, partID(r.Attempt, i.Code, part))
		if errors.Is(err, docstore.ErrNotFound) {
			return f, altered(r, "figures of %s are missing", i.Code)
		}
		if err != nil {
			return f, err
		}
		if part == 0 {
			f.DefinitionJSON, f.DefinitionHash = d.Body.Definition, sha(d.Body.Definition)
		}
		for line := range strings.Lines(d.Body.Lines) {
			c, err := readStored(strings.TrimSuffix(line, "\n"))
			if err != nil {
				return f, altered(r, "figures of %s cannot be read", i.Code)
			}
			f.Cells = append(f.Cells, c)
		}
	}
	if figuresHash(f.Code, f.Version, f.DefinitionHash, f.Cells) != i.Hash {
		return f, altered(r, "the figures of %s do not have the hash %s", i.Code, i.Hash)
	}
	var d struct {
		LabelFR    string   `json:"label_fr"`
		LabelAR    string   `json:"label_ar"`
		LabelEN    string   `json:"label_en"`
		Unit       string   `json:"unit"`
		Measure    Measure  `json:"measure"`
		About      string   `json:"about"`
		Dimensions []string `json:"dimensions"`
	}
	if err := json.Unmarshal([]byte(f.DefinitionJSON), &d); err != nil {
		return f, fmt.Errorf("the frozen definition of %s: %w", f.Code, err)
	}
	f.LabelFR, f.LabelAR, f.LabelEN, f.Unit, f.Measure, f.about, f.dimensions = d.LabelFR, d.LabelAR, d.LabelEN, d.Unit, d.Measure, d.About, d.Dimensions
	return f, nil
}
