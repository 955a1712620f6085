package matching

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"masar.local/pkg/docstore"
	"masar.local/pkg/telemetry"
)

// fairnessEvery is how long a report stands: what is known of people may be put
// right after the campaign.
const fairnessEvery = time.Hour

// fairnessGauges publish how even the last campaign is: by attribute, the lowest
// selection rate by that of the group that its report compares with. They say no
// more than the report does.
type fairnessGauges struct {
	fairnessReports
	campaign string    // that the ratios are of; only look uses it
	until    time.Time // they stand

	mu     sync.Mutex
	ratios map[string]float64 // by attribute
}

func newFairnessGauges(c *campaigns) *fairnessGauges {
	return &fairnessGauges{fairnessReports: fairnessReports{c, c.fairness}}
}

// publish registers the metric.
func (f *fairnessGauges) publish(meter metric.Meter) error {
	gauge, err := meter.Float64ObservableGauge(telemetry.MatchingImpactRatio,
		metric.WithDescription("Lowest selection rate of a group in the last campaign by that of the group compared with; absent where the report hides it"), metric.WithUnit("{ratio}"))
	if err != nil {
		return fmt.Errorf("metric %s: %w", telemetry.MatchingImpactRatio, err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		for name, ratio := range f.ratios {
			o.ObserveFloat64(gauge, ratio, metric.WithAttributes(attribute.String(telemetry.FairnessAttribute, name)))
		}
		return nil
	}, gauge)
	return err
}

// run makes the report of each campaign that is done, until ctx ends.
func (f *fairnessGauges) run(ctx context.Context) error {
	return f.campaigns.keepLooking(ctx, "the ratios of the last campaign", f.look)
}

// look makes the report of the last campaign that is done, if there is a new one or
// the old one has stood long enough.
func (f *fairnessGauges) look(ctx context.Context) error {
	c := f.campaigns
	done, _, err := c.docs.Find(ctx, docstore.Query{Index: byStatus, Eq: []any{CampaignDone}, Desc: true, Limit: 1})
	if err != nil {
		return fmt.Errorf("matching: the last campaign: %w", err)
	}
	if len(done) == 0 || done[0].ID == f.campaign && time.Now().Before(f.until) {
		return nil
	}
	report, err := f.of(ctx, done[0].ID)
	if err != nil {
		return err
	}
	ratios := map[string]float64{}
	for i := range report.Cuts {
		if ratio, told := report.Cuts[i].impactRatio(); told {
			ratios[report.Cuts[i].Attribute] = ratio
		}
	}
	f.campaign, f.until = done[0].ID, time.Now().Add(fairnessEvery)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ratios = ratios
	return nil
}

// impactRatio is the lowest of a cut's ratios. It is told where nothing that is
// hidden can be lower, or leaves open what the others are compared with; and not
// where there is nothing to compare.
func (c *FairnessCut) impactRatio() (ratio float64, told bool) {
	ref := slices.IndexFunc(c.Lines, func(l FairnessLine) bool { return l.Reference })
	if ref < 0 {
		return 0, false
	}
	least, most := math.Inf(1), math.Inf(1) // what it can be
	for i := range c.Lines {
		if l := &c.Lines[i]; l.Ratio != nil {
			from, to := l.ratioTo(&c.Lines[ref])
			least, most = min(least, from), min(most, to)
		}
	}
	if math.IsInf(least, 1) || least != most {
		return 0, false
	}
	return fourDigits(least), true
}
