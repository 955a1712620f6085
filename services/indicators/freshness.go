package indicators

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"masar.local/pkg/telemetry"
)

// Freshness is the watermark of the figures: how far they have come, and what is
// missing in them, topic by topic.
type Freshness struct {
	Loaded bool `json:"loaded"` // whether all stored facts are in memory
	Facts  int  `json:"facts"`
	// CompleteTo is the least of those of the sources; absent when one is unknown.
	CompleteTo time.Time         `json:"complete_to,omitzero"`
	Missing    int64             `json:"missing"` // events, of all sources
	Sources    []SourceFreshness `json:"sources"`
}

// SourceFreshness says it of one topic.
type SourceFreshness struct {
	Topic        string    `json:"topic"`
	Facts        int64     `json:"facts"`
	LastRecorded time.Time `json:"last_recorded_at,omitzero"` // when we learned of the latest
	LastOccurred time.Time `json:"last_occurred_at,omitzero"` // the latest day that anything is known of
	// LagMessages and LagSeconds say how much waits in the topic and since when;
	// null when the broker cannot be asked.
	LagMessages *int64   `json:"lag_messages"`
	LagSeconds  *float64 `json:"lag_seconds"`
	// CompleteTo is the moment up to which everything that was published is in the
	// figures; absent when the broker cannot be asked.
	CompleteTo time.Time `json:"complete_to,omitzero"`
	// Missing is how many events have never come: every aggregate numbers its
	// events from 1, so the highest number says how many there are. Incomplete is
	// how many aggregates are concerned. What waits in the topic is among them for
	// as long as it waits, what went to the dead letters stays.
	Missing    int64 `json:"missing"`
	Incomplete int64 `json:"incomplete"`
}

// Freshness implements Service.
func (s *service) Freshness(ctx context.Context) (Freshness, error) {
	out := Freshness{Loaded: s.facts.ready.Load(), Facts: s.columns.Len()}
	gaps := s.facts.gaps.count()
	// The broker may be down, and that is when this is asked.
	asking, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	now := s.now().UTC().Truncate(time.Millisecond)
	lags, err := s.lag(asking)
	if err != nil {
		s.log.WarnContext(ctx, "the lag cannot be asked for", "cause", err.Error())
	}
	for i, c := range s.columns.Sources() {
		f := SourceFreshness{
			Topic: c.Topic, Facts: c.Facts, LastRecorded: c.LastRecorded, LastOccurred: c.LastOccurred,
			Missing: gaps[i].missing, Incomplete: gaps[i].incomplete,
		}
		if err == nil {
			var messages int64
			var oldest time.Duration
			for _, l := range lags {
				if l.Topic == c.Topic {
					messages, oldest = messages+l.Lag, max(oldest, l.Time)
				}
			}
			seconds := math.Round(oldest.Seconds()*1000) / 1000
			f.LagMessages, f.LagSeconds = &messages, &seconds
			f.CompleteTo = now.Add(-oldest).Truncate(time.Millisecond)
		}
		if i == 0 || f.CompleteTo.Before(out.CompleteTo) {
			out.CompleteTo = f.CompleteTo
		}
		out.Missing += f.Missing
		out.Sources = append(out.Sources, f)
	}
	return out, nil
}

// gaps counts the events that have never come. It sees each fact once.
type gaps struct {
	mu   sync.Mutex
	seed maphash.Seed
	// runs are, of each aggregate by the hash of its id, the highest number of an
	// event and how many events there are. Two aggregates of one hash would make a
	// count wrong by a few; at ten million that has a chance of one in 400,000.
	runs    map[uint64]run
	sources [len(sources)]gap
}

type run struct{ highest, events uint32 }

type gap struct{ missing, incomplete int64 }

func newGaps() *gaps { return &gaps{seed: maphash.MakeSeed(), runs: map[uint64]run{}} }

// add counts a fact. One without a number says nothing.
func (g *gaps) add(f Fact) {
	number := f.Seq
	if f.EventSeq != 0 {
		number = f.EventSeq
	}
	at, known := sourceOf[f.Kind]
	if number <= 0 || number > math.MaxUint32 || !known {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	key := maphash.String(g.seed, f.Subject)
	was := g.runs[key]
	now := run{max(was.highest, uint32(number)), was.events + 1}
	g.runs[key] = now
	before, after := was.missing(), now.missing()
	s := &g.sources[at]
	s.missing += after - before
	s.incomplete += min(after, 1) - min(before, 1)
}

// missing is how many events of an aggregate have not come; two events under one
// number are the fault of who sent them.
func (r run) missing() int64 { return max(0, int64(r.highest)-int64(r.events)) }

// count gives the gaps of each source, in the order of sources.
func (g *gaps) count() [len(sources)]gap {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sources
}

// lagAge is how old the answer of the broker may be that a scrape uses.
const lagAge = 2 * time.Second

// publishFreshness registers the metrics of the watermark.
func publishFreshness(s *service, meter metric.Meter) error {
	behind, err := meter.Float64ObservableGauge(telemetry.FiguresBehind,
		metric.WithDescription("How old the newest moment is up to which everything published on a topic is in the figures"), metric.WithUnit("s"))
	if err != nil {
		return fmt.Errorf("metric %s: %w", telemetry.FiguresBehind, err)
	}
	missing, err := meter.Int64ObservableGauge(telemetry.FiguresMissing,
		metric.WithDescription("Events of a topic that have never come"), metric.WithUnit("{event}"))
	if err != nil {
		return fmt.Errorf("metric %s: %w", telemetry.FiguresMissing, err)
	}
	var mu sync.Mutex
	var asked time.Time
	var last Freshness
	_, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		if s.loading() != nil {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if time.Since(asked) > lagAge {
			found, err := s.Freshness(ctx)
			if err != nil {
				return err
			}
			last, asked = found, time.Now()
		}
		for _, f := range last.Sources {
			topic := metric.WithAttributes(attribute.String(telemetry.MessagingDestination, f.Topic))
			if f.LagSeconds != nil {
				o.ObserveFloat64(behind, *f.LagSeconds, topic)
			}
			o.ObserveInt64(missing, f.Missing, topic)
		}
		return nil
	}, behind, missing)
	return err
}
