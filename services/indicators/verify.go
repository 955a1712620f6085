package indicators

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// Verify compares what this replica serves with a recount of the stored facts.
// Facts that come in meanwhile are on neither side: the served figures are of one
// moment, and of the stored facts those are left out that this replica has got
// since. A fact that is stored and never got here stays, and shows.
func (s *service) Verify(ctx context.Context) (Verification, error) {
	if err := s.loading(); err != nil {
		return Verification{}, err
	}
	if p := access.From(ctx); len(p.Governorates)+len(p.Schemes) > 0 {
		return Verification{}, api.Forbidden("The recount is of the whole programme, and your scope is a part of it.")
	}
	began := time.Now()
	view := s.columns.View()
	stored, err := s.storedBy(ctx, view)
	if err != nil {
		return Verification{}, err
	}
	out, err := verify(ctx, s.defs, s.dims, stored, s.today(), view)
	out.Served = view.facts
	out.Seconds = math.Round(time.Since(began).Seconds()*1000) / 1000
	return out, err
}

// storedBy reads the stored facts that a view should hold.
func (s *service) storedBy(ctx context.Context, view *view) (*ledger, error) {
	late := func(f Fact) bool {
		n, here := s.columns.arrival(f.ID)
		return here && n >= view.facts
	}
	stored := newLedger()
	var unseen []Fact
	for f, err := range s.facts.all(ctx, "") {
		if err != nil {
			return nil, err
		}
		if !s.columns.Has(f.ID) {
			unseen = append(unseen, f)
		} else if !late(f) {
			stored.add(f)
		}
	}
	if len(unseen) == 0 {
		return stored, nil
	}
	// Written a moment ago, here or by another replica, and on its way to memory?
	if err := s.facts.catchUp(ctx); err != nil {
		return nil, err
	}
	for _, f := range unseen {
		if !late(f) {
			stored.add(f)
		}
	}
	return stored, nil
}

// verify recounts every check of every definition and compares it with what is
// served; the definitions are shared out among the processors.
func verify(ctx context.Context, defs Definitions, dims []Dimension, facts *ledger, today string, served *view) (Verification, error) {
	parts := make([]Verification, len(defs))
	errs := make([]error, len(defs))
	todo := make(chan int, len(defs))
	for i := range defs {
		todo <- i
	}
	close(todo)
	var working sync.WaitGroup
	for range min(len(defs), runtime.GOMAXPROCS(0)) {
		working.Go(func() {
			for i := range todo {
				parts[i], errs[i] = verifyOne(ctx, defs[i], dims, facts, today, served)
			}
		})
	}
	working.Wait()
	out := Verification{Facts: len(facts.entries), Differences: []Difference{}}
	for _, p := range parts {
		out.Queries += p.Queries
		out.Cells += p.Cells
		out.Different += len(p.Differences)
		out.Differences = append(out.Differences, p.Differences[:min(len(p.Differences), mostDifferences-len(out.Differences))]...)
	}
	out.Clean = out.Different == 0
	return out, errors.Join(errs...)
}

func verifyOne(ctx context.Context, d *Definition, dims []Dimension, facts *ledger, today string, served *view) (out Verification, err error) {
	evidence := facts.evidence(d, dims).knownAt(time.Time{})
	for _, q := range Checks(d, today, served.season) {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		cells, err := served.Cells(d, q)
		if err != nil {
			return out, err
		}
		recounted := evidence.recount(q)
		out.Queries++
		out.Cells += max(len(cells), len(recounted))
		out.Differences = append(out.Differences, Compare(d, q, cells, recounted)...)
	}
	return out, nil
}
