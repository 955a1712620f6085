package indicators

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"masar.local/pkg/telemetry"
)

// The present values as metrics. The total of an indicator is one series without
// labels, masar_kpi_<code>; each cut that its definition declares is an
// instrument of its own, masar_kpi_<code>_by_<dimension>..., with the dimensions
// as labels. So no sum over one name counts anything twice, and the total of
// what does not add up (different people, a median) is there and is right. A
// target is masar_kpi_<code>_target, milestones are masar_kpi_<code>_milestone by
// date; what a figure lacks of the last milestone whose day has passed is
// masar_kpi_behind_milestone by indicator, below 0 when there is more.
//
// A metric has no reader whose role could be asked. Cuts by what describes a
// person (Dimension.Protected) therefore leave out small cells for everybody;
// cuts by what describes the programme only (scheme, stage, decision) are whole,
// so that they can be compared with a count by hand.

// scrapeAge is how old figures may be when they are scraped: less than the time
// within which an event must be on a board (DESIGN §6: 5 s).
const scrapeAge = 2 * time.Second

// scrapeShare is how many times longer figures stand than it took to compute them:
// however many facts there are, at most a tenth of one processor goes into metrics.
const scrapeShare = 9

// standFor is how long figures that took so long to compute are given again.
func standFor(cost time.Duration) time.Duration { return max(scrapeAge, scrapeShare*cost) }

// gauge is one instrument.
type gauge struct {
	name       string
	definition *Definition
	by         []string
	instrument metric.Float64Observable
}

// gaugeName is the name of the instrument of a cut, in OpenTelemetry's form.
func gaugeName(d *Definition, by []string) string {
	name := telemetry.KPIPrefix + d.Code
	if len(by) > 0 {
		name += "_by_" + strings.Join(by, "_")
	}
	return name
}

// seriesBound is the largest number of series that the definitions can make: for
// each cut the product of its dimensions' codes, with Unknown and Other.
func seriesBound(defs Definitions, dims []Dimension) int {
	set, bound := newDimensionSet(dims), 0
	for _, d := range defs {
		bound++
		if d.Target != nil {
			bound++
		}
		if len(d.Milestones) > 0 {
			bound += len(d.Milestones) + 1 // what is lacking
		}
		for _, by := range d.Gauges {
			product := 1
			for _, name := range by {
				most := 0
				for _, p := range d.Parts() {
					most = max(most, len(set[p.Column(name)].Codes))
				}
				product *= most + 2
			}
			bound += product
		}
	}
	return bound
}

// observation is one series as it was last computed.
type observation struct {
	instrument metric.Float64Observable
	value      float64
	labels     metric.MeasurementOption
}

// publisher computes the present values when they are collected.
type publisher struct {
	service *service
	gauges  []gauge
	behind  metric.Float64Observable

	mu    sync.Mutex
	taken time.Time
	cost  time.Duration // of computing them
	facts int
	day   string
	last  []observation
}

// publish registers the instruments of every definition.
func publish(s *service, meter metric.Meter) error {
	p := &publisher{service: s}
	var instruments []metric.Observable
	add := func(name, unit, text string) (metric.Float64Observable, error) {
		// In braces, as UCUM has it for what is counted; it adds nothing to the name.
		g, err := meter.Float64ObservableGauge(name, metric.WithDescription(text), metric.WithUnit("{"+unit+"}"))
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
		instruments = append(instruments, g)
		return g, nil
	}
	type constant struct {
		gauge  metric.Float64Observable
		value  float64
		labels []metric.ObserveOption
	}
	var constants []constant
	for _, d := range s.defs {
		for _, by := range append([][]string{nil}, d.Gauges...) {
			text := d.LabelEN + " (" + d.Unit + "), since the start"
			if !d.Flow() {
				text = d.LabelEN + " (" + d.Unit + "), now"
			}
			if len(by) > 0 {
				text += ", by " + strings.Join(by, " and ")
			}
			g, err := add(gaugeName(d, by), d.Unit, text)
			if err != nil {
				return err
			}
			p.gauges = append(p.gauges, gauge{gaugeName(d, by), d, by, g})
		}
		if d.Target != nil {
			g, err := add(gaugeName(d, nil)+"_target", d.Unit, d.LabelEN+" ("+d.Unit+"), target")
			if err != nil {
				return err
			}
			constants = append(constants, constant{g, d.Target.Value, nil})
		}
		if len(d.Milestones) > 0 {
			g, err := add(gaugeName(d, nil)+"_milestone", d.Unit, d.LabelEN+" ("+d.Unit+"), to be reached by the date")
			if err != nil {
				return err
			}
			for _, m := range d.Milestones {
				constants = append(constants, constant{g, m.Value, []metric.ObserveOption{metric.WithAttributes(attribute.String(telemetry.MilestoneDate, m.Date))}})
			}
		}
	}
	var err error
	if p.behind, err = add(telemetry.BehindMilestone, "of the indicator's unit", "What an indicator lacks of the last milestone whose day has passed"); err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		for _, c := range constants {
			o.ObserveFloat64(c.gauge, c.value, c.labels...)
		}
		observations, err := p.now()
		for _, ob := range observations {
			o.ObserveFloat64(ob.instrument, ob.value, ob.labels)
		}
		return err
	}, instruments...)
	return err
}

// now gives every series. Nothing is given before the stored facts are loaded: a
// figure that is too low is worse than none.
func (p *publisher) now() ([]observation, error) {
	s := p.service
	if !s.facts.ready.Load() {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	facts, day := s.columns.Len(), s.today()
	if p.last != nil && day == p.day && (facts == p.facts || time.Since(p.taken) < standFor(p.cost)) {
		return p.last, nil
	}
	begun := time.Now()
	view := s.columns.View()
	set := newDimensionSet(s.dims)
	last := []observation{}
	for _, g := range p.gauges {
		cells, err := view.Cells(g.definition, Query{Grain: All, By: g.by, Today: day})
		if err != nil {
			return nil, err
		}
		least := 0
		for _, name := range g.by {
			for _, part := range g.definition.Parts() {
				if set[part.Column(name)].Protected && g.definition.About == AboutPeople {
					least = s.smallCell
				}
			}
		}
		hidden := make([]bool, len(cells))
		if least > 1 {
			spans, err := view.periods(g.definition, Query{Grain: All, By: g.by, Today: day})
			if err != nil {
				return nil, err
			}
			if cells, hidden, err = s.disclose(view, g.definition, nil).cover(g.by, All, "", spans, cells); err != nil {
				return nil, err
			}
		}
		for n, c := range cells {
			if hidden[n] {
				continue
			}
			if due, ok := g.definition.due(day); ok && len(g.by) == 0 {
				last = append(last, observation{p.behind, due.Value - c.Value, metric.WithAttributes(attribute.String(telemetry.Indicator, g.definition.Code))})
			}
			var labels []attribute.KeyValue
			for k, name := range g.by {
				labels = append(labels, attribute.String(name, c.Codes[k]))
			}
			last = append(last, observation{g.instrument, c.Value, metric.WithAttributeSet(attribute.NewSet(labels...))})
		}
	}
	p.last, p.facts, p.day, p.taken = last, facts, day, time.Now()
	p.cost = p.taken.Sub(begun)
	return last, nil
}
