package indicators

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/services/indicators/shortage"
)

// ShortageQuery asks which occupations are short.
type ShortageQuery struct {
	Zone string `query:"zone"` // TN, TN-71, FR, FR-84 (région), FR-D01 (département)
	// Period is a year or a quarter; the latest when absent. Of a quarter for which
	// there is nothing, the latest year that is not after it is given, as a year.
	Period       string   `query:"period"`
	Nomenclature string   `query:"nomenclature"` // ROME, FAP2009, FAP2021, ISCO08, RTMC; all that there are when absent
	Occupation   []string `query:"occupation"`   // codes; all when absent
	// Source keeps to these sources. Absent, it is all official ones; our own events
	// ("masar") are taken only where they are named.
	Source []string `query:"source"`
}

// Shortage is the answer: a table for each nomenclature.
type Shortage struct {
	Zone    shortage.Zone `json:"zone"`
	LabelFR string        `json:"label_fr"`
	LabelAR string        `json:"label_ar"`
	Method  string        `json:"method"` // version of the method
	// Weights of the components c1 (offers ÷ inflow of seekers), c2 (exits ÷ stock)
	// and c3 (difficult ÷ all recruitment projects).
	Weights       [3]float64      `json:"weights"`
	Complementary []string        `json:"complementary"` // names of a row's levels, in their order
	Tables        []ShortageTable `json:"tables"`
	// Available are the tables that there are for the zone.
	Available []shortage.Sheet `json:"available"`
	// Campaign is what the last campaign of matching said of occupations; absent
	// when there was none.
	Campaign *ShortageCampaign `json:"campaign,omitempty"`
	// Datasets are the versions of the files that the tables are made of.
	Datasets []ShortageDataset `json:"datasets"`
	// FlagTexts say what the flags of the tables mean.
	FlagTexts map[shortage.Flag]ShortageText `json:"flag_texts"`
}

// ShortageText is a text in both languages.
type ShortageText struct {
	FR string `json:"fr"`
	AR string `json:"ar"`
}

// ShortageTable is a table whose rows know how scarce people are in our campaign.
type ShortageTable struct {
	shortage.Table
	Rows []ShortageRow `json:"rows"`
}

// ShortageRow is an occupation.
type ShortageRow struct {
	shortage.Row
	Scarcity []Scarcity `json:"scarcity,omitempty"` // of the sheets of ROME that it is linked with
}

// Scarcity is how an occupation fares in the last campaign of matching.
type Scarcity struct {
	ROME   string `json:"rome"`
	Label  string `json:"label,omitempty"`
	Posts  int64  `json:"posts"`
	Filled int64  `json:"filled"`
	// Candidates who are eligible, and those of them whom the campaign places
	// nowhere; null when it is so few people that they could be recognised.
	Candidates *int64 `json:"candidates"`
	Unplaced   *int64 `json:"unplaced"`
	Suppressed bool   `json:"suppressed,omitempty"`
	// How many more would be placed with one more candidate, and one more post.
	OneMoreCandidate int64 `json:"one_more_candidate"`
	OneMorePost      int64 `json:"one_more_post"`
	// France is what is published of the occupation in France, or in the French
	// zone that was asked for.
	France []ShortageInFrance `json:"france,omitempty"`
}

// ShortageInFrance is an occupation of a French nomenclature that a sheet of ROME
// is linked with.
type ShortageInFrance struct {
	shortage.Occupation
	Label     string          `json:"label,omitempty"`
	Zone      shortage.Zone   `json:"zone"`
	Period    shortage.Period `json:"period"`
	T         *float64        `json:"t"`
	Class     *int            `json:"class"`
	Published bool            `json:"published"`
	Difficult *float64        `json:"difficult"` // share of recruitment projects expected to be difficult
}

// ShortageCampaign is the last campaign.
type ShortageCampaign struct {
	ID          string     `json:"id"`
	Objective   string     `json:"objective"`
	OccurredAt  time.Time  `json:"occurred_at"`
	SmallCell   int        `json:"small_cell,omitempty"` // people below which a number is hidden here
	Occupations []Scarcity `json:"occupations"`
}

// ShortageImport asks to import a file.
type ShortageImport struct {
	DryRun bool `query:"dry_run" json:"-"` // check everything, store nothing
	// Name of the dataset: a later file of the same name replaces it. Absent, it is
	// made of the source and the periods.
	Name string `json:"name,omitempty"`
	// File as it is, packed with gzip or not: a series (see shortage.Read), BMO,
	// DARES, or a passage between nomenclatures.
	File []byte `json:"file"`
}

// Outcomes of an import.
const (
	ImportCreated   = "created"   // a dataset that was not there
	ImportReplaced  = "replaced"  // a new version of one; the version before is kept
	ImportUnchanged = "unchanged" // these values are there already, in the version that is given
	ImportRefused   = "refused"   // cells are wrong: nothing of the file was taken
)

// ShortageImported says what became of a file.
type ShortageImported struct {
	Outcome string           `json:"outcome"`
	DryRun  bool             `json:"dry_run"`
	Dataset *ShortageDataset `json:"dataset"` // null when refused
	// InForce is the version of the dataset's name that counts now; another than
	// the dataset's when an old file came again.
	InForce int             `json:"in_force,omitempty"`
	Report  shortage.Report `json:"report"`
}

// Status is 201 when something was stored.
func (i ShortageImported) Status() int {
	if !i.DryRun && (i.Outcome == ImportCreated || i.Outcome == ImportReplaced) {
		return 201
	}
	return 200
}

var datasetName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// ImportShortage takes in a file: all of it, or nothing when a cell is wrong. The
// same values again change nothing; others under the same name make a new version.
func (s *service) ImportShortage(ctx context.Context, q ShortageImport) (ShortageImported, error) {
	if q.Name != "" && !datasetName.MatchString(q.Name) {
		return ShortageImported{}, api.Invalid(api.Field{Path: "name", Code: "form", Reason: "up to 64 small letters, digits, points, - and _ expected"})
	}
	if len(q.File) == 0 {
		return ShortageImported{}, api.Invalid(api.Field{Path: "file", Code: "required", Reason: "the file in base64 expected"})
	}
	d, report, err := shortage.Read(bytes.NewReader(q.File))
	var whole *shortage.FileError
	if errors.As(err, &whole) {
		return ShortageImported{}, api.Invalid(api.Field{Path: "file", Code: "file", Reason: whole.Error()})
	}
	if err != nil {
		return ShortageImported{}, err
	}
	out := ShortageImported{Outcome: ImportRefused, DryRun: q.DryRun, Report: report}
	if d == nil {
		return out, nil
	}
	p := access.From(ctx)
	h := ShortageDataset{
		Name: q.Name, Kind: d.Kind, Source: d.Source, Rows: d.Rows, Values: len(d.Observations) + len(d.Links),
		ImportedAt: s.now().UTC().Truncate(time.Millisecond), Subject: p.Subject, Role: string(p.Role),
	}
	if h.Name == "" {
		h.Name = d.Name()
	}
	h.First, h.Last = d.Periods()
	head, outcome, err := s.shortages.put(ctx, h, d, q.DryRun)
	if err != nil {
		return ShortageImported{}, err
	}
	out.Dataset, out.InForce, out.Outcome = &head, head.Version, outcome
	if out.Outcome == ImportUnchanged {
		all, err := s.shortages.all(ctx)
		if err != nil {
			return ShortageImported{}, err
		}
		for _, d := range inForce(all) {
			if d.Name == head.Name {
				out.InForce = d.Version
			}
		}
	}
	return out, nil
}

// ShortageDatasets lists every version of every imported file, the last first.
func (s *service) ShortageDatasets(ctx context.Context) ([]ShortageDataset, error) {
	all, err := s.shortages.all(ctx)
	slices.Reverse(all)
	if all == nil {
		all = []ShortageDataset{}
	}
	return all, err
}

// settings are the programme's, for the method.
func (s *service) shortageSettings() shortage.Settings {
	p := s.programme.Shortage
	return shortage.Settings{
		Minimum:       shortage.Minimum{Offers: p.MinimumOffers, Seekers: p.MinimumSeekers, Projects: p.MinimumProjects},
		ReferenceFrom: p.ReferenceFrom, ReferenceTo: p.ReferenceTo,
	}
}

// Shortage says which occupations are short in a zone.
func (s *service) Shortage(ctx context.Context, q ShortageQuery) (Shortage, error) {
	var faults []api.Field
	zone, err := shortage.ParseZone(q.Zone)
	if err != nil {
		faults = append(faults, api.Field{Path: "query.zone", Code: "zone", Reason: err.Error()})
	}
	if q.Period != "" {
		if _, err := shortage.ParsePeriod(q.Period); err != nil {
			faults = append(faults, api.Field{Path: "query.period", Code: "period", Reason: err.Error()})
		}
	}
	if q.Nomenclature != "" && !slices.Contains(shortage.Nomenclatures, shortage.Nomenclature(q.Nomenclature)) {
		faults = append(faults, api.Field{Path: "query.nomenclature", Code: "unknown", Reason: fmt.Sprintf("one of %v expected", shortage.Nomenclatures)})
	}
	if len(faults) > 0 {
		return Shortage{}, api.Invalid(faults...)
	}
	book, heads, err := s.shortages.load(ctx)
	if err != nil {
		return Shortage{}, err
	}
	if slices.Contains(q.Source, shortage.SourceMasar) {
		own, err := s.ownOffers(ctx)
		if err != nil {
			return Shortage{}, err
		}
		if len(own.Observations) > 0 {
			if book, err = book.With(own); err != nil {
				return Shortage{}, err
			}
		}
	}
	out := Shortage{
		Zone: zone, Method: shortage.MethodVersion, Weights: shortage.Weights, Complementary: shortage.Complementary[:],
		Tables: []ShortageTable{}, Datasets: []ShortageDataset{}, FlagTexts: map[shortage.Flag]ShortageText{},
		Available: slices.Concat([]shortage.Sheet{}, book.Sheets(zone, q.Source)),
	}
	out.LabelFR, out.LabelAR, _ = zone.Labels()
	until := s.now()
	if q.Period != "" {
		until = periodEnd(shortage.Period(q.Period))
	}
	if out.Campaign, err = s.scarcity(ctx, book, zone, until); err != nil {
		return Shortage{}, err
	}
	used := map[string]bool{}
	for _, sheet := range book.Pick(zone, shortage.Period(q.Period), shortage.Nomenclature(q.Nomenclature), q.Source) {
		ask := shortage.Query{Zone: zone, Nomenclature: sheet.Nomenclature, Period: sheet.Period, Sources: q.Source}
		t := book.Table(ask, s.shortageSettings())
		book.WithBefore(&t, ask, s.shortageSettings())
		table := ShortageTable{Table: t, Rows: []ShortageRow{}}
		for _, r := range t.Rows {
			for _, f := range r.Flags {
				out.FlagTexts[f] = ShortageText{f.Text("fr"), f.Text("ar")}
			}
			if len(q.Occupation) == 0 || slices.Contains(q.Occupation, r.Code) {
				table.Rows = append(table.Rows, ShortageRow{r, out.Campaign.of(t.Nomenclature, r)})
			}
		}
		for _, f := range t.Flags {
			out.FlagTexts[f] = ShortageText{f.Text("fr"), f.Text("ar")}
		}
		for _, source := range t.Sources {
			used[source] = true
		}
		out.Tables = append(out.Tables, table)
	}
	for _, h := range heads { // passages give names, and lead to the campaign's sheets
		if used[h.Source] && h.Kind != shortage.KindPassage || h.Kind == shortage.KindPassage && (len(used) > 0 || out.Campaign != nil) {
			out.Datasets = append(out.Datasets, h)
		}
	}
	return out, nil
}

// periodEnd is the first instant after a period, in Africa/Tunis.
func periodEnd(p shortage.Period) time.Time {
	if p.Quarterly() {
		return time.Date(p.Year(), time.Month(3*int(p[6]-'0')+1), 1, 0, 0, 0, 0, tunis)
	}
	return time.Date(p.Year()+1, 1, 1, 0, 0, 0, 0, tunis)
}

// of are what the campaign says of a row's sheets of ROME.
func (c *ShortageCampaign) of(n shortage.Nomenclature, r shortage.Row) (out []Scarcity) {
	if c == nil {
		return nil
	}
	sheets := r.ROME
	if n == shortage.ROME {
		sheets = []string{r.Code}
	}
	for _, o := range c.Occupations {
		if slices.Contains(sheets, o.ROME) {
			o.France = nil
			out = append(out, o)
		}
	}
	return out
}

// scarcity is the last campaign before an instant, with what is published of its
// occupations in France; nil when there was none.
func (s *service) scarcity(ctx context.Context, book *shortage.Book, zone shortage.Zone, before time.Time) (*ShortageCampaign, error) {
	c, err := s.shortages.lastCampaign(ctx, before)
	if err != nil || c == nil {
		return nil, err
	}
	if zone.Country() != "FR" {
		zone = "FR"
	}
	var tables []shortage.Table
	for _, sheet := range book.Pick(zone, "", "", nil) {
		tables = append(tables, book.Table(shortage.Query{Zone: zone, Nomenclature: sheet.Nomenclature, Period: sheet.Period}, s.shortageSettings()))
	}
	out := &ShortageCampaign{ID: c.Campaign, Objective: c.Objective, OccurredAt: c.OccurredAt.UTC(), Occupations: []Scarcity{}}
	if !access.From(ctx).Can(access.IndicatorsFacts) && s.smallCell > 1 {
		out.SmallCell = s.smallCell
	}
	for _, o := range c.Occupations {
		rome := shortage.Occupation{Nomenclature: shortage.ROME, Code: o.ROME}
		x := Scarcity{
			ROME: o.ROME, Label: occupationLabel(book, rome), Posts: o.Posts, Filled: o.Filled, Candidates: &o.Candidates, Unplaced: &o.Unplaced,
			OneMoreCandidate: o.OneMoreCandidate, OneMorePost: o.OneMorePost,
		}
		few := func(n int64) bool { return 0 < n && n < int64(out.SmallCell) }
		if few(o.Candidates) || few(o.Unplaced) {
			x.Candidates, x.Unplaced, x.Suppressed = nil, nil, true
		}
		for _, t := range tables {
			linked := book.Linked(rome, t.Nomenclature)
			for _, r := range t.Rows {
				if o := (shortage.Occupation{Nomenclature: t.Nomenclature, Code: r.Code}); slices.Contains(linked, o) {
					x.France = append(x.France, ShortageInFrance{o, r.Label, t.Zone, t.Period, r.T, r.Class, r.Published, r.Components[shortage.C3]})
				}
			}
		}
		out.Occupations = append(out.Occupations, x)
	}
	return out, nil
}

// ownOffers are the offers that reached the programme, by quarter and sheet of
// ROME, for France and its régions, as the source "masar". Events say nothing of
// the occupation that a candidate looks for, so there are no seekers.
func (s *service) ownOffers(ctx context.Context) (*shortage.Dataset, error) {
	d := &shortage.Dataset{Kind: shortage.KindSeries, Source: shortage.SourceMasar, Labels: map[shortage.Occupation]string{}}
	if err := s.loading(); err != nil {
		return nil, err
	}
	def, ok := s.defs.Get("offers_received")
	if !ok {
		return nil, errors.New("there is no indicator offers_received")
	}
	cells, err := s.columns.View().Cells(def, Query{Grain: Month, By: []string{"rome", "region"}, Today: s.today(), Only: scope(access.From(ctx), def)})
	if err != nil {
		return nil, err
	}
	type place struct {
		zone   shortage.Zone
		rome   shortage.Occupation
		period shortage.Period
	}
	sums := map[place]int64{}
	for _, c := range cells {
		rome, err := shortage.ParseOccupation(shortage.ROME, c.Codes[0])
		if err != nil {
			continue // unknown, or of another nomenclature
		}
		month, err := time.Parse("2006-01", c.Period)
		if err != nil {
			return nil, fmt.Errorf("the month %q of an offer: %w", c.Period, err)
		}
		year := shortage.Period(c.Period[:4])
		quarter := year + shortage.Period(fmt.Sprintf("-Q%d", (int(month.Month())+2)/3))
		zones := []shortage.Zone{"FR"}
		if z, err := shortage.ParseZone("FR-" + c.Codes[1]); err == nil {
			zones = append(zones, z)
		}
		for _, z := range zones {
			sums[place{z, rome, quarter}] += int64(c.Value)
			sums[place{z, rome, year}] += int64(c.Value)
		}
	}
	for p, n := range sums {
		d.Observations = append(d.Observations, shortage.Observation{
			Zone: p.zone, Occupation: p.rome, Period: p.period, Measure: shortage.Offers, Value: decimal.NewFromInt(n), Rows: 1,
		})
	}
	return d, nil
}
