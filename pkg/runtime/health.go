package runtime

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	checkTimeout = 3 * time.Second // for all checks together
	checkAge     = time.Second     // a report may be so old: probes must not load the store
)

// Report is what /healthz/ready answers.
type Report struct {
	Ready  bool    `json:"ready"`
	Reason string  `json:"reason,omitempty"` // when it is not a check: starting, stopping
	Checks []Check `json:"checks,omitempty"`
}

// Check is one thing that must be so for the process to be ready.
type Check struct {
	Name   string `json:"name"` // "candidates/store"
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// live says that the process can answer at all, and nothing more: a restart would
// not bring back a store or a broker.
func (r *run) live(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]bool{"live": true})
}

// ready says whether the process gets on with its work, and if not, why not.
func (r *run) ready(w http.ResponseWriter, req *http.Request) {
	report := r.readiness(req.Context())
	status := http.StatusOK
	if !report.Ready {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, report)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the prober is gone: it will ask again
}

func (r *run) readiness(ctx context.Context) Report {
	switch {
	case r.stopping.Load():
		return Report{Reason: "stopping"}
	case !r.started.Load():
		return Report{Reason: "starting: waiting for the broker"}
	}
	r.checking.Lock()
	defer r.checking.Unlock()
	if now := time.Now(); now.Sub(r.checked) >= checkAge {
		// Not the prober's own context: others get this report too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
		defer cancel()
		r.report, r.checked = r.check(ctx), now
	}
	return r.report
}

// check asks everything at once.
func (r *run) check(ctx context.Context) Report {
	var mu sync.Mutex
	var checks []Check
	note := func(name string, err error) {
		c := Check{Name: name, OK: err == nil}
		if err != nil {
			c.Reason = err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		checks = append(checks, c)
	}
	var asking sync.WaitGroup
	for _, s := range r.services {
		if s.platform.Store != nil {
			asking.Go(func() { note(s.Name+"/store", within(ctx, s.platform.Store.Ping)) })
		}
		if s.Ready != nil {
			asking.Go(func() { note(s.Name+"/service", within(ctx, s.Ready)) })
		}
		if s.Relay != nil {
			note(s.Name+"/outbox", r.outbox(s))
		}
	}
	now := r.Now()
	for _, c := range r.consumers() {
		var err error
		if still := now.Sub(c.LastMove); still > r.StuckAfter {
			err = fmt.Errorf("%d messages wait and nothing has moved for %s", c.Lag, still.Round(time.Second))
			if c.Lag == 0 { // or the broker is gone: see bus.ConsumerProgress
				err = fmt.Errorf("the broker has not told for %s whether messages wait", still.Round(time.Second))
			}
			if c.LastError != "" {
				err = fmt.Errorf("%w; last error: %s", err, c.LastError)
			}
		}
		note("consumer "+c.Group, err)
	}
	asking.Wait()
	slices.SortFunc(checks, func(a, b Check) int { return cmp.Compare(a.Name, b.Name) })
	return Report{Ready: !slices.ContainsFunc(checks, func(c Check) bool { return !c.OK }), Checks: checks}
}

// within does not wait for a check that ignores its context.
func within(ctx context.Context, check func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- check(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %s", checkTimeout)
	}
}

func (r *run) outbox(s *Service) error {
	p := s.Relay.Progress()
	if p.OldestAge <= r.OutboxMaxAge {
		return nil
	}
	err := fmt.Errorf("an event has waited for %s", p.OldestAge.Round(time.Second))
	if p.LastError != "" {
		err = fmt.Errorf("%w; last error: %s", err, p.LastError)
	}
	return err
}
