package indicators

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"masar.local/pkg/api"
	"masar.local/pkg/reference"
	"masar.local/pkg/telemetry"
	"masar.local/services/indicators/shortage"
)

// What the KPI endpoint offers beside the indicators, each as it is now, held over
// every day that is asked for:
//
//	masar_shortage_class{zone, nomenclature, occupation, period}  1 to 5, where there is one
//	masar_shortage_index{...}                                     the same's index
//	masar_scarcity_<number>{rome}                                 posts, filled, candidates, unplaced,
//	                                                              one_more_candidate and one_more_post of
//	                                                              the last campaign of matching
//	masar_review_frozen{review, indicator}                        an indicator, whole, in the last review
//	masar_review_now{review, indicator}                           the same period's figure now
//	masar_code_zone{zone}                                         what zones are called
//
// Zones are Tunisia, its governorates, France and its régions.

// besideNames are their names; fr and ar say what the labels before them are called.
func besideNames() (all []kpiName) {
	add := func(kind kpiKind, name, variant string, by ...string) {
		all = append(all, kpiName{name: strings.ReplaceAll(name, ".", "_") + variant, by: by, kind: kind, variant: variant})
	}
	add(ofShortage, telemetry.ShortageClass, "", "zone", "nomenclature", "occupation", "period", "fr", "ar", "zone_fr", "zone_ar")
	add(ofShortage, telemetry.ShortageIndex, "", "zone", "nomenclature", "occupation", "period", "fr", "ar", "zone_fr", "zone_ar")
	add(ofShortage, telemetry.CodePrefix+"zone", "", "zone", "fr", "ar")
	for _, number := range []string{"posts", "filled", "candidates", "unplaced", "one_more_candidate", "one_more_post"} {
		add(ofScarcity, telemetry.ScarcityPrefix, number, "rome", "fr", "ar")
	}
	for _, side := range []string{"frozen", "now"} {
		add(ofReview, telemetry.ReviewPrefix, side, "review", "indicator", "fr", "ar")
	}
	return all
}

var besideHelp = map[kpiKind]string{
	ofCodes:    "Libellés des codes · تسميات الرموز",
	ofShortage: "Métiers en tension · المهن التي تشهد نقصا",
	ofScarcity: "Rareté dans la dernière campagne d'appariement · الندرة في آخر حملة مطابقة",
	ofReview:   "Dernière revue et chiffres actuels de sa période · آخر مراجعة وأرقام فترتها الحالية",
}

// zones are those that boards can show.
func zones() (all []shortage.Zone) {
	all = []shortage.Zone{"TN", "FR"}
	for _, g := range reference.Governorates() {
		all = append(all, shortage.Zone(g.Code))
	}
	for _, r := range reference.Regions() {
		all = append(all, shortage.Zone("FR-"+r.Code))
	}
	return all
}

// shortage adds the latest table of each nomenclature in each zone that fits.
func (q *kpiQuerier) shortage(ctx context.Context, f kpiName, list *kpiList, today int64, matchers []*labels.Matcher) error {
	book, _, err := q.s.shortages.load(ctx)
	if err != nil {
		return err
	}
	for _, zone := range zones() {
		if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return m.Name == "zone" && !m.Matches(string(zone)) }) {
			continue
		}
		sheets := book.Pick(zone, "", "", nil)
		fr, ar, _ := zone.Labels()
		if len(f.by) == 3 {
			if len(sheets) > 0 {
				list.held([]string{string(zone), fr, ar}, today, 1)
			}
			continue
		}
		for _, sheet := range sheets {
			table := book.Table(shortage.Query{Zone: zone, Nomenclature: sheet.Nomenclature, Period: sheet.Period}, q.s.shortageSettings())
			for _, r := range table.Rows {
				name := cmp.Or(r.Label, r.Code) // as the nomenclature has it
				codes := []string{string(zone), string(sheet.Nomenclature), r.Code, string(sheet.Period), name, name, fr, ar}
				if f.name == strings.ReplaceAll(telemetry.ShortageClass, ".", "_") {
					if r.Class != nil {
						list.held(codes, today, float64(*r.Class))
					}
				} else if r.T != nil {
					list.held(codes, today, *r.T)
				}
			}
		}
	}
	return nil
}

// scarcity adds a number of the last campaign for each of its occupations.
func (q *kpiQuerier) scarcity(ctx context.Context, f kpiName, list *kpiList, today int64) error {
	book, _, err := q.s.shortages.load(ctx)
	if err != nil {
		return err
	}
	c, err := q.s.scarcity(ctx, book, "FR", q.s.now())
	if err != nil || c == nil {
		return err
	}
	for _, o := range c.Occupations {
		var n *int64
		switch f.variant {
		case "posts":
			n = &o.Posts
		case "filled":
			n = &o.Filled
		case "candidates":
			n = o.Candidates
		case "unplaced":
			n = o.Unplaced
		case "one_more_candidate":
			n = &o.OneMoreCandidate
		case "one_more_post":
			n = &o.OneMorePost
		}
		if n != nil {
			name := cmp.Or(o.Label, o.ROME)
			list.held([]string{o.ROME, name, name}, today, float64(*n))
		}
	}
	return nil
}

// review adds the whole figure of each indicator in the last review, as it was frozen
// or as it is now.
func (q *kpiQuerier) review(ctx context.Context, f kpiName, list *kpiList, today int64) error {
	last, err := q.s.Reviews(ctx, ReviewsQuery{Paging: api.Paging{Limit: 1}})
	if err != nil || len(last.Items) == 0 {
		return err
	}
	frozen, err := q.s.Review(ctx, ReviewQuery{ID: last.Items[0].ID})
	if err != nil {
		return err
	}
	period := frozen.period()
	for _, i := range frozen.Figures {
		at := slices.IndexFunc(i.Cells, func(c FrozenCell) bool { return len(c.By) == 0 })
		d, known := q.s.defs.Get(i.Code)
		if at < 0 || i.Cells[at].Value == nil || !known {
			continue
		}
		codes := []string{frozen.Name, i.Code, d.LabelFR, d.LabelAR}
		if f.variant == "frozen" {
			list.held(codes, today, *i.Cells[at].Value)
			continue
		}
		values, err := q.s.Values(ctx, ValuesQuery{Code: i.Code, Grain: All, From: period.First, To: period.Last})
		if err != nil {
			return err
		}
		if len(values.Rows) == 1 && values.Rows[0].Value != nil {
			list.held(codes, today, *values.Rows[0].Value)
		}
	}
	return nil
}
