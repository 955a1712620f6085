package indicators

import (
	"context"
	"fmt"
	"strconv"

	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
	"masar.local/pkg/runtime"
)

// New builds the service: documents -> facts in memory -> use cases -> endpoints
// -> HTTP and Kafka. Authorisation, traces and request metrics are the router's.
func New(ctx context.Context, p runtime.Platform) (*runtime.Service, error) {
	out, _, err := build(ctx, p)
	return out, err
}

func build(ctx context.Context, p runtime.Platform) (*runtime.Service, *service, error) {
	smallCell, err := readSmallCell(p.Getenv)
	if err != nil {
		return nil, nil, err
	}
	verifyEvery, err := readVerifyEvery(p.Getenv)
	if err != nil {
		return nil, nil, err
	}
	programme, err := LoadProgramme(p.Getenv)
	if err != nil {
		return nil, nil, err
	}
	defs, err := Embedded()
	if err != nil {
		return nil, nil, err
	}
	if defs, err = programme.Apply(defs); err != nil {
		return nil, nil, err
	}
	shapes, err := loadBorders(p.Getenv, p.Log)
	if err != nil {
		return nil, nil, err
	}
	dims := Dimensions()

	columns := NewColumns(dims, defs)
	columns.SeasonStarts(programme.SeasonStarts)
	facts := newFactStore(p.Store, columns, p.Now, p.Log)
	if err := facts.docs.Ensure(ctx); err != nil {
		return nil, nil, fmt.Errorf("the collection of facts: %w", err)
	}
	reviews := newReviewStore(p.Store)
	if err := reviews.ensure(ctx); err != nil {
		return nil, nil, fmt.Errorf("the collections of reviews: %w", err)
	}
	shortages := newShortageStore(p.Store)
	if err := shortages.ensure(ctx); err != nil {
		return nil, nil, fmt.Errorf("the collections of shortage occupations: %w", err)
	}
	keys := docstore.NewCollection[storedKey](p.Store, keysSchema)
	if err := keys.Ensure(ctx); err != nil {
		return nil, nil, fmt.Errorf("the collection of keys: %w", err)
	}
	s := &service{
		defs: defs, dims: dims, schemes: reference.Schemes(), facts: facts, columns: columns,
		smallCell: smallCell, programme: programme, borders: shapes, now: p.Now, log: p.Log,
		reviews: reviews, keys: keys, shortages: shortages,
		lag: func(ctx context.Context) ([]bus.PartitionLag, error) { return p.Bus.Lag(ctx, Group, topics()...) },
	}
	if err := publish(s, p.Meter); err != nil {
		return nil, nil, err
	}
	if err := publishFreshness(s, p.Meter); err != nil {
		return nil, nil, err
	}
	recounts := &drift{
		service: s, engine: p.Store, docs: docstore.NewCollection[lastVerification](p.Store, driftSchema), every: verifyEvery, holder: p.Holder,
	}
	if err := recounts.docs.Ensure(ctx); err != nil {
		return nil, nil, fmt.Errorf("the collection of verifications: %w", err)
	}
	if err := recounts.publish(p.Meter); err != nil {
		return nil, nil, err
	}
	if err := publishBudgets(s, p.Meter); err != nil {
		return nil, nil, err
	}
	if err := publishBottlenecks(s, p.Meter); err != nil {
		return nil, nil, err
	}
	endpoints := NewEndpoints(s)
	router := p.Router()
	shown, err := places(shapes)
	if err != nil {
		return nil, nil, err
	}
	mount(router, endpoints, s.prometheusAPI(), shown)

	out := &runtime.Service{
		Name:   "indicators",
		Router: router,
		Actors: []runtime.Actor{
			{Name: "facts", Run: facts.run},
			{Name: "recount", Run: recounts.run},
			{Name: "consumer", Run: func(ctx context.Context) error {
				// After what is stored is in memory: repeats are then seen there.
				select {
				case <-ctx.Done():
					return nil
				case <-facts.loaded:
				}
				return p.Bus.Consume(ctx, consumer(endpoints))
			}},
		},
		Ready: func(context.Context) error { return s.loading() },
	}
	for _, topic := range topics() {
		out.Topics = append(out.Topics, bus.Topic{Name: topic})
	}
	return out, s, nil
}

// readSmallCell reads MASAR_SMALL_CELL, the number of people below which a cell
// is hidden.
func readSmallCell(getenv func(string) string) (int, error) {
	text := ""
	if getenv != nil {
		text = getenv("MASAR_SMALL_CELL")
	}
	if text == "" {
		return DefaultSmallCell, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("MASAR_SMALL_CELL is %q: want a whole number of people, from 0 (hide nothing); the default is %d", text, DefaultSmallCell)
	}
	return n, nil
}
