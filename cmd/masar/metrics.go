package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"masar.local/services/indicators/promapi"
)

// history keeps what the metrics page of this process has said, so that the boards
// of `masar up` have a past without a Prometheus beside it: its storage and its
// engine, in the data directory.
type history struct {
	http.Handler // Prometheus' query API
	db           *tsdb.DB
	page         http.Handler // the metrics
	labels       []labels.Label
	log          *slog.Logger
}

const (
	scrapeEvery = 15 * time.Second
	historyKept = 15 * 24 * time.Hour // Prometheus' own default
)

func openHistory(dir string, page http.Handler, instance string, log *slog.Logger) (*history, error) {
	o := tsdb.DefaultOptions()
	o.RetentionDuration = historyKept.Milliseconds()
	db, err := tsdb.Open(dir, slog.New(slog.DiscardHandler), nil, o, nil)
	if err != nil {
		return nil, fmt.Errorf("history of metrics in %s (it may be deleted, nothing else is in it): %w", dir, err)
	}
	h := &history{
		db: db, page: page, log: log,
		labels: []labels.Label{{Name: "job", Value: "masar"}, {Name: "instance", Value: instance}},
	}
	h.Handler = (&promapi.API{
		Engine: promapi.NewEngine(5 * time.Minute), Now: now,
		Source: func(*http.Request) (storage.Queryable, error) { return db, nil },
	}).Handler()
	return h, nil
}

// run reads the metrics page until ctx ends.
func (h *history) run(ctx context.Context) {
	tick := time.NewTicker(scrapeEvery)
	defer tick.Stop()
	for {
		if err := h.scrape(ctx, now()); err != nil && ctx.Err() == nil {
			h.log.Warn("the metrics were not kept", "cause", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// scrape keeps what the page says now.
func (h *history) scrape(ctx context.Context, at time.Time) error {
	answer := httptest.NewRecorder()
	h.page.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1/metrics", nil))
	if answer.Code != http.StatusOK {
		return fmt.Errorf("the metrics page answers %d", answer.Code)
	}
	p, err := textparse.New(answer.Body.Bytes(), answer.Header().Get("Content-Type"), labels.NewSymbolTable(), textparse.ParserOptions{FallbackContentType: "text/plain"})
	if err != nil {
		return fmt.Errorf("the metrics page: %w", err)
	}
	to := h.db.Appender(ctx)
	builder := labels.NewBuilder(labels.EmptyLabels())
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return to.Commit()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("the metrics page: %w", err), to.Rollback())
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var series labels.Labels
		_, _, value := p.Series()
		p.Labels(&series)
		builder.Reset(series)
		for _, l := range h.labels {
			builder.Set(l.Name, l.Value)
		}
		if _, err := to.Append(0, builder.Labels(), at.UnixMilli(), value); err != nil {
			return errors.Join(fmt.Errorf("keep the metrics: %w", err), to.Rollback())
		}
	}
}
