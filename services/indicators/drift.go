package indicators

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"masar.local/pkg/access"
	"masar.local/pkg/docstore"
	"masar.local/pkg/telemetry"
)

// Every figure is counted again by the naive path now and then, by the replica that
// holds a lease. A difference is an alert: an error in its log, and a metric that
// is not 0. The outcome is a document, so that a restart does not begin again.

// DefaultVerifyEvery is how long a recount holds; MASAR_VERIFY_EVERY changes it,
// and 0 never recounts but when it is asked for.
const DefaultVerifyEvery = 24 * time.Hour

const (
	driftCollection = "verifications"
	driftID         = "last"
	driftLease      = "indicators.verify"
	driftLeaseTTL   = 30 * time.Second
	driftLook       = time.Minute // how often is looked whether it is time
)

var driftSchema = docstore.Schema{Collection: driftCollection}

// lastVerification is the outcome of the last recount.
type lastVerification struct {
	At        time.Time `bson:"at"`
	Facts     int       `bson:"facts"`
	Cells     int       `bson:"cells"`
	Different int       `bson:"different"`
}

// drift recounts in time, and knows the outcome.
type drift struct {
	service *service
	engine  docstore.Engine
	docs    *docstore.Collection[lastVerification]
	every   time.Duration
	holder  string

	mu   sync.Mutex
	last lastVerification
}

// run recounts as long as ctx lives, one replica at a time.
func (d *drift) run(ctx context.Context) error {
	if d.every == 0 {
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-d.service.facts.loaded:
	}
	for ctx.Err() == nil {
		err := docstore.Hold(ctx, d.engine, driftLease, d.holder, driftLeaseTTL, d.loop)
		if err != nil && ctx.Err() == nil {
			d.service.log.WarnContext(ctx, "the recount of the figures is put off", "cause", err.Error())
			rest(ctx, driftLook)
		}
	}
	return nil
}

func (d *drift) loop(ctx context.Context) error {
	for ctx.Err() == nil {
		last, err := d.read(ctx)
		if err != nil {
			return err
		}
		if d.service.now().Sub(last.At) >= d.every {
			if err := d.recount(ctx); err != nil {
				return err
			}
		}
		rest(ctx, min(driftLook, d.every))
	}
	return nil
}

// read is the outcome of the last recount; zero when there was none.
func (d *drift) read(ctx context.Context) (lastVerification, error) {
	doc, err := d.docs.Get(ctx, driftID)
	if errors.Is(err, docstore.ErrNotFound) {
		return lastVerification{}, nil
	}
	if err != nil {
		return lastVerification{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = doc.Body
	return doc.Body, nil
}

// recount verifies, tells, and keeps the outcome.
func (d *drift) recount(ctx context.Context) error {
	// It recounts the whole programme, whoever asks for figures.
	v, err := d.service.Verify(access.With(ctx, access.Principal{Subject: driftLease, Role: access.Service}))
	if err != nil {
		return fmt.Errorf("recount: %w", err)
	}
	now := lastVerification{At: d.service.now().UTC().Truncate(time.Millisecond), Facts: v.Facts, Cells: v.Cells, Different: v.Different}
	if v.Different > 0 {
		// The difference names an indicator, a period and codes; no value.
		first := v.Differences[0]
		d.service.log.ErrorContext(ctx, "figures differ from a recount of the stored facts; run masar verify",
			"different", v.Different, "cells", v.Cells, "facts", v.Facts, "indicator", first.Indicator, "grain", string(first.Grain), "what", first.What)
	} else {
		d.service.log.InfoContext(ctx, "figures agree with a recount of the stored facts", "cells", v.Cells, "facts", v.Facts, "seconds", v.Seconds)
	}
	if _, err := d.docs.Upsert(ctx, driftID, func(doc *docstore.Doc[lastVerification]) error {
		doc.Body = now
		return nil
	}); err != nil {
		return fmt.Errorf("the outcome of the recount: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = now
	return nil
}

// publish registers the metrics of the last recount.
func (d *drift) publish(meter metric.Meter) error {
	wrong, err := meter.Int64ObservableGauge(telemetry.FiguresWrong,
		metric.WithDescription("Figures that the last recount of the stored facts found to be wrong"), metric.WithUnit("{figure}"))
	if err != nil {
		return fmt.Errorf("metric %s: %w", telemetry.FiguresWrong, err)
	}
	age, err := meter.Float64ObservableGauge(telemetry.FiguresVerified,
		metric.WithDescription("Time since the last recount of the stored facts"), metric.WithUnit("s"))
	if err != nil {
		return fmt.Errorf("metric %s: %w", telemetry.FiguresVerified, err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		d.mu.Lock()
		last := d.last
		d.mu.Unlock()
		if !last.At.IsZero() {
			o.ObserveInt64(wrong, int64(last.Different))
			o.ObserveFloat64(age, d.service.now().Sub(last.At).Seconds())
		}
		return nil
	}, wrong, age)
	return err
}

// readVerifyEvery reads MASAR_VERIFY_EVERY.
func readVerifyEvery(getenv func(string) string) (time.Duration, error) {
	text := ""
	if getenv != nil {
		text = getenv("MASAR_VERIFY_EVERY")
	}
	if text == "" {
		return DefaultVerifyEvery, nil
	}
	every, err := time.ParseDuration(text)
	if err != nil || every < 0 {
		return 0, fmt.Errorf("MASAR_VERIFY_EVERY is %q: want a duration such as 24h, or 0 for never; the default is %s", text, DefaultVerifyEvery)
	}
	return every, nil
}
