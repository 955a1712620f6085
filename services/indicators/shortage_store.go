package indicators

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shopspring/decimal"

	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	matchingv1 "masar.local/proto/masar/matching/v1"
	"masar.local/services/indicators/shortage"
)

// Where imported series are. Each version of a file is a head and, in documents of
// their own, its values; both are only ever inserted, the head last, so that an
// import that broke off is not there. The highest version of a name is in force.
const (
	datasetCollection  = "shortage_datasets"
	valuesCollection   = "shortage_values"
	campaignCollection = "shortage_campaigns"

	byVersion  = "version"
	byOccurred = "occurred"
)

var shortageSchemas = []docstore.Schema{
	{Collection: datasetCollection, Indexes: []docstore.Index{
		{Name: byVersion, Unique: true, Fields: []docstore.Field{{Path: "name"}, {Path: "version", Kind: docstore.Int}}},
	}},
	{Collection: valuesCollection},
	{Collection: campaignCollection, Indexes: []docstore.Index{
		{Name: byOccurred, Fields: []docstore.Field{{Path: "occurred_at", Kind: docstore.Time}}},
	}},
}

// ShortageDataset is one version of an imported file.
type ShortageDataset struct {
	ID      string        `bson:"-" json:"id"`
	Name    string        `bson:"name" json:"name"`
	Version int           `bson:"version" json:"version"` // of the name, from 1; the highest is in force
	Kind    shortage.Kind `bson:"kind" json:"kind"`
	Source  string        `bson:"source" json:"source"`
	// Hash is of the values, however the file writes them: SHA-256, hexadecimal.
	Hash       string          `bson:"hash" json:"hash"`
	Rows       int             `bson:"rows" json:"rows"`     // lines of the file
	Values     int             `bson:"values" json:"values"` // observations, or links of a passage
	First      shortage.Period `bson:"first,omitempty" json:"first,omitempty"`
	Last       shortage.Period `bson:"last,omitempty" json:"last,omitempty"`
	ImportedAt time.Time       `bson:"imported_at" json:"imported_at"`
	Subject    string          `bson:"subject" json:"-"`
	Role       string          `bson:"role" json:"role"`
	Parts      int             `bson:"parts" json:"-"`
	Attempt    string          `bson:"attempt" json:"-"`
}

type shortagePart struct {
	Packed []byte `bson:"packed"` // a piece of the values as lines, packed with gzip
}

// shortageCampaign is what a campaign of matching said of occupations, by the id
// of its event.
type shortageCampaign struct {
	Campaign    string                `bson:"campaign"`
	Objective   string                `bson:"objective"`
	OccurredAt  time.Time             `bson:"occurred_at"`
	RecordedAt  time.Time             `bson:"recorded_at"`
	Occupations []campaignsOccupation `bson:"occupations"`
}

type campaignsOccupation struct {
	ROME             string `bson:"rome"`
	Posts            int64  `bson:"posts"`
	Filled           int64  `bson:"filled"`
	Candidates       int64  `bson:"candidates"`
	Unplaced         int64  `bson:"unplaced"`
	OneMoreCandidate int64  `bson:"one_more_candidate"`
	OneMorePost      int64  `bson:"one_more_post"`
}

type shortageStore struct {
	heads     *docstore.Collection[ShortageDataset]
	values    *docstore.Collection[shortagePart]
	campaigns *docstore.Collection[shortageCampaign]

	mu    sync.Mutex
	key   string // of the datasets that book holds
	book  *shortage.Book
	known map[string]*shortage.Dataset // those in force, by id
}

func newShortageStore(e docstore.Engine) *shortageStore {
	return &shortageStore{
		heads:     docstore.NewCollection[ShortageDataset](e, shortageSchemas[0]),
		values:    docstore.NewCollection[shortagePart](e, shortageSchemas[1]),
		campaigns: docstore.NewCollection[shortageCampaign](e, shortageSchemas[2]),
	}
}

func (s *shortageStore) ensure(ctx context.Context) error {
	return errors.Join(s.heads.Ensure(ctx), s.values.Ensure(ctx), s.campaigns.Ensure(ctx))
}

// keep stores what a campaign said, once for each event. Other events are nothing
// to it.
func (s *shortageStore) keep(ctx context.Context, e event.Event) error {
	d, ok := e.Data.(*matchingv1.CampaignCompleted)
	if !ok {
		return nil
	}
	c := shortageCampaign{
		Campaign: coded(d.GetCampaignId()), Objective: coded(d.GetObjective()),
		OccurredAt: e.OccurredAt.UTC().Truncate(time.Millisecond), RecordedAt: e.RecordedAt.UTC().Truncate(time.Millisecond),
	}
	for _, o := range d.GetOccupations() {
		c.Occupations = append(c.Occupations, campaignsOccupation{
			coded(o.GetRome()), int64(o.GetPosts()), int64(o.GetFilled()), int64(o.GetCandidates()), int64(o.GetUnplaced()),
			int64(o.GetOneMoreCandidate()), int64(o.GetOneMorePost()),
		})
	}
	err := s.campaigns.Insert(ctx, &docstore.Doc[shortageCampaign]{ID: e.ID, Body: c})
	if errors.Is(err, docstore.ErrExists) {
		return nil
	}
	return err
}

// lastCampaign is the last one that had occurred before an instant, nil when there
// was none. Of two at the same instant, the one with the greater event id.
func (s *shortageStore) lastCampaign(ctx context.Context, before time.Time) (*shortageCampaign, error) {
	docs, _, err := s.campaigns.Find(ctx, docstore.Query{Index: byOccurred, Below: before, Desc: true, Limit: 1})
	if err != nil || len(docs) == 0 {
		return nil, err
	}
	return &docs[0].Body, nil
}

// all lists every version of every dataset, in the order of import.
func (s *shortageStore) all(ctx context.Context) ([]ShortageDataset, error) {
	var out []ShortageDataset
	for d, err := range s.heads.All(ctx) {
		if err != nil {
			return nil, err
		}
		out = append(out, completeDataset(d))
	}
	slices.SortFunc(out, func(a, b ShortageDataset) int {
		return cmp.Or(a.ImportedAt.Compare(b.ImportedAt), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

func completeDataset(d *docstore.Doc[ShortageDataset]) ShortageDataset {
	h := d.Body
	h.ID, h.ImportedAt = d.ID, h.ImportedAt.UTC()
	return h
}

// inForce keeps the highest version of each name.
func inForce(all []ShortageDataset) []ShortageDataset {
	highest := map[string]int{}
	for _, d := range all {
		highest[d.Name] = max(highest[d.Name], d.Version)
	}
	return slices.DeleteFunc(slices.Clone(all), func(d ShortageDataset) bool { return d.Version != highest[d.Name] })
}

// load gives everything in force as a book. What does not change is read from the
// store once.
func (s *shortageStore) load(ctx context.Context) (*shortage.Book, []ShortageDataset, error) {
	all, err := s.all(ctx)
	if err != nil {
		return nil, nil, err
	}
	heads := inForce(all)
	key := ""
	for _, h := range heads {
		key += h.ID + " "
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.book != nil && s.key == key {
		return s.book, heads, nil
	}
	book, known := shortage.NewBook(), map[string]*shortage.Dataset{}
	for _, h := range heads {
		d := s.known[h.ID]
		if d == nil {
			if d, err = s.read(ctx, h); err != nil {
				return nil, nil, err
			}
		}
		known[h.ID] = d
		if err := book.Add(d); err != nil {
			return nil, nil, fmt.Errorf("the imported dataset %s, version %d: %w", h.Name, h.Version, err)
		}
	}
	s.key, s.book, s.known = key, book, known
	return book, heads, nil
}

func (s *shortageStore) read(ctx context.Context, h ShortageDataset) (*shortage.Dataset, error) {
	var packed bytes.Buffer
	for part := range h.Parts {
		d, err := s.values.Get(ctx, partID(h.Attempt, "values", part))
		if err != nil {
			return nil, fmt.Errorf("the values of the imported dataset %s, version %d: %w", h.Name, h.Version, err)
		}
		packed.Write(d.Body.Packed)
	}
	unpacked, err := gzip.NewReader(&packed)
	if err == nil {
		var d *shortage.Dataset
		if d, err = readDataset(unpacked); err == nil {
			d.Kind, d.Source, d.Rows = h.Kind, h.Source, h.Rows
			return d, nil
		}
	}
	return nil, fmt.Errorf("the stored values of the imported dataset %s, version %d, cannot be read: %w", h.Name, h.Version, err)
}

// put stores a dataset as the next version of its name. The head that has these
// values already is given as it is, ImportUnchanged, and nothing is stored.
func (s *shortageStore) put(ctx context.Context, h ShortageDataset, d *shortage.Dataset, dryRun bool) (head ShortageDataset, outcome string, err error) {
	var packed bytes.Buffer
	digest := sha256.New()
	to := gzip.NewWriter(&packed)
	if err := writeDataset(io.MultiWriter(to, digest), d); err != nil {
		return h, "", err
	}
	if err := to.Close(); err != nil {
		return h, "", err
	}
	h.Hash = hex.EncodeToString(digest.Sum(nil))
	h.ID, h.Attempt = h.Name+"@"+h.Hash[:32], newAttempt()
	wrote := false
	for {
		old, err := s.heads.Get(ctx, h.ID)
		if err == nil {
			return completeDataset(old), ImportUnchanged, nil
		}
		if !errors.Is(err, docstore.ErrNotFound) {
			return h, "", err
		}
		last, _, err := s.heads.Find(ctx, docstore.Query{Index: byVersion, Eq: []any{h.Name}, Desc: true, Limit: 1})
		if err != nil {
			return h, "", err
		}
		h.Version, outcome = 1, ImportCreated
		if len(last) > 0 {
			h.Version, outcome = last[0].Body.Version+1, ImportReplaced
		}
		if dryRun {
			return h, outcome, nil
		}
		if !wrote {
			for piece := range slices.Chunk(packed.Bytes(), maxPart) {
				err := s.values.Insert(ctx, &docstore.Doc[shortagePart]{ID: partID(h.Attempt, "values", h.Parts), Body: shortagePart{piece}})
				if err != nil {
					return h, "", err
				}
				h.Parts++
			}
			wrote = true
		}
		err = s.heads.Insert(ctx, &docstore.Doc[ShortageDataset]{ID: h.ID, Body: h})
		if !errors.Is(err, docstore.ErrExists) { // another took the version, or stored the same
			return h, outcome, err
		}
	}
}

// writeDataset writes a dataset as lines of fields between tabs: "o" an
// observation, "l" a link, "n" a name. The same values give the same lines.
func writeDataset(to io.Writer, d *shortage.Dataset) error {
	w := bufio.NewWriter(to)
	line := func(fields ...string) {
		_, _ = w.WriteString(strings.Join(fields, "\t")) // Flush reports it
		_ = w.WriteByte('\n')
	}
	for _, o := range d.Observations {
		line("o", string(o.Zone), string(o.Occupation.Nomenclature), o.Occupation.Code, string(o.Period), string(o.Measure),
			o.Value.String(), strconv.Itoa(o.Rows), strconv.Itoa(o.HiddenRows))
	}
	for _, l := range d.Links {
		line("l", string(l.From.Nomenclature), l.From.Code, string(l.To.Nomenclature), l.To.Code, strconv.FormatFloat(l.Weight, 'g', -1, 64))
	}
	names := make([]shortage.Occupation, 0, len(d.Labels))
	for o := range d.Labels {
		names = append(names, o)
	}
	slices.SortFunc(names, func(a, b shortage.Occupation) int {
		return cmp.Or(cmp.Compare(a.Nomenclature, b.Nomenclature), cmp.Compare(a.Code, b.Code))
	})
	for _, o := range names {
		line("n", string(o.Nomenclature), o.Code, plainLine(d.Labels[o]))
	}
	return w.Flush()
}

// readDataset reads what writeDataset wrote.
func readDataset(from io.Reader) (*shortage.Dataset, error) {
	d := &shortage.Dataset{Labels: map[shortage.Occupation]string{}}
	texts := map[string]string{} // a code that comes often is kept once
	one := func(text string) string {
		if kept, ok := texts[text]; ok {
			return kept
		}
		text = strings.Clone(text)
		texts[text] = text
		return text
	}
	occupation := func(n, code string) shortage.Occupation {
		return shortage.Occupation{Nomenclature: shortage.Nomenclature(one(n)), Code: one(code)}
	}
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		f := strings.Split(lines.Text(), "\t")
		switch {
		case f[0] == "o" && len(f) == 9:
			value, err1 := decimal.NewFromString(f[6])
			rows, err2 := strconv.Atoi(f[7])
			hidden, err3 := strconv.Atoi(f[8])
			if err := errors.Join(err1, err2, err3); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			d.Observations = append(d.Observations, shortage.Observation{
				Zone: shortage.Zone(one(f[1])), Occupation: occupation(f[2], f[3]), Period: shortage.Period(one(f[4])),
				Measure: shortage.Measure(one(f[5])), Value: value, Rows: rows, HiddenRows: hidden,
			})
		case f[0] == "l" && len(f) == 6:
			weight, err := strconv.ParseFloat(f[5], 64)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			d.Links = append(d.Links, shortage.Link{From: occupation(f[1], f[2]), To: occupation(f[3], f[4]), Weight: weight})
		case f[0] == "n" && len(f) == 4:
			d.Labels[occupation(f[1], f[2])] = one(f[3])
		default:
			return nil, fmt.Errorf("line %d is neither a value, nor a link, nor a name", n)
		}
	}
	return d, lines.Err()
}
