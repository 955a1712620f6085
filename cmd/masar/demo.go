package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"masar.local/cmd/masar/cohort"
	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/reference"
)

// demoCmd loads a synthetic cohort through the API, as its users would. Every
// command carries a key drawn from the seed, so that loading the same cohort
// twice changes nothing.
type demoCmd struct {
	target
	People      int    `default:"2500" help:"How many people." placeholder:"N"`
	Seed        uint64 `default:"1" help:"Another seed gives another cohort." placeholder:"N"`
	Until       string `help:"Last day of the history (default: today)." placeholder:"YYYY-MM-DD"`
	Listen      string `default:"127.0.0.1:8080" help:"Where to listen when the demonstration starts the platform itself."`
	KafkaListen string `default:"127.0.0.1:9092" help:"Where the broker listens in that case."`
}

// demoWorkers is how many commands are under way at once: enough for the store
// to write many of them with one sync to disk.
const demoWorkers = 32

func (c demoCmd) Run(ctx context.Context) error {
	until := time.Now()
	if c.Until != "" {
		var err error
		if until, err = time.Parse(time.DateOnly, c.Until); err != nil {
			return fmt.Errorf("--until %q is not a date YYYY-MM-DD", c.Until)
		}
	}
	if _, err := c.find(); errors.Is(err, errNoInstance) && c.URL == "" {
		fmt.Fprintf(os.Stderr, "No platform runs on %s: starting one.\n", c.Data)
		return c.withPlatform(ctx, func(ctx context.Context) error { return c.load(ctx, until) })
	}
	return c.load(ctx, until)
}

// withPlatform runs the platform, does the work, and leaves it running until
// the user stops it.
func (c demoCmd) withPlatform(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up := upCmd{Data: c.Data, Listen: c.Listen, KafkaListen: c.KafkaListen, LogLevel: slog.LevelWarn, StopTimeout: 25 * time.Second}
	ready := make(chan struct{})
	stopped := make(chan error, 1)
	go func() { stopped <- up.run(ctx, func() { close(ready) }) }()
	select {
	case err := <-stopped:
		return err
	case <-ready:
	}
	if err := work(ctx); err != nil {
		cancel()
		<-stopped
		return err
	}
	return <-stopped
}

// load writes the cohort: offers first, then each person with the whole pathway.
func (c demoCmd) load(ctx context.Context, until time.Time) error {
	client, err := c.client(access.Admin)
	if err != nil {
		return err
	}
	var schemes []*reference.Scheme
	for _, code := range reference.Schemes().Codes() {
		if s, ok := reference.Schemes().Current(code, until); ok {
			schemes = append(schemes, s)
		}
	}
	// Known here when the platform's own list is; elsewhere nobody has competences.
	jobs, err := reference.Load(c.Data)
	if err != nil {
		return err
	}
	drawn := cohort.New(cohort.Config{People: c.People, Seed: c.Seed, Now: until, Jobs: jobs}, schemes)
	d := &demo{cmd: c, client: client, until: until}
	started := time.Now()

	offers := drawn.Offers()
	bar := newProgress(int64(len(offers)), "offers")
	d.offers = make([]string, len(offers))
	err = parallel(ctx, demoWorkers, func(yield func(func(context.Context) error) bool) {
		for i, o := range offers {
			if !yield(func(ctx context.Context) error { defer bar.Add(1); return d.offer(ctx, i, o) }) {
				return
			}
		}
	})
	bar.Finish()
	if err != nil {
		return err
	}

	bar = newProgress(int64(c.People), "people and pathways")
	err = parallel(ctx, demoWorkers, func(yield func(func(context.Context) error) bool) {
		for i, p := range drawn.People() {
			if !yield(func(ctx context.Context) error { defer bar.Add(1); return d.person(ctx, i, p) }) {
				return
			}
		}
	})
	bar.Finish()
	if err != nil {
		return err
	}
	fmt.Printf("%d people, %d offers, %d commands in %s. Figures follow within seconds; `masar verify` recounts them.\n",
		c.People, len(offers), d.commands.Load(), time.Since(started).Round(100*time.Millisecond))
	return nil
}

// demo is one loading.
type demo struct {
	cmd      demoCmd
	client   *api.Client
	until    time.Time
	offers   []string
	commands atomic.Int64
}

type created struct {
	ID string `json:"id"`
}

// post sends one command under a key that the seed determines.
func (d *demo) post(ctx context.Context, path, key string, body, answer any) error {
	d.commands.Add(1)
	return d.client.Post(ctx, path, body, answer, api.WithKey(fmt.Sprintf("demo-%d-%d-%s", d.cmd.Seed, d.cmd.People, key)))
}

func (d *demo) offer(ctx context.Context, i int, o cohort.Offer) error {
	var made created
	if err := d.post(ctx, "/api/employers/offers", fmt.Sprintf("offer-%d", i), o.Record, &made); err != nil {
		return fmt.Errorf("offer %d: %w", i, err)
	}
	d.offers[i] = made.ID
	return nil
}

func (d *demo) person(ctx context.Context, i int, p cohort.Person) error {
	var person, pathway created
	if err := d.post(ctx, "/api/candidates/candidates", fmt.Sprintf("person-%d", i), p.Record, &person); err != nil {
		return fmt.Errorf("person %d: %w", i, err)
	}
	open := map[string]any{"candidate_id": person.ID, "scheme": p.Scheme, "occurred_at": p.Opened}
	if err := d.post(ctx, "/api/candidates/pathways", fmt.Sprintf("pathway-%d", i), open, &pathway); err != nil {
		return fmt.Errorf("pathway of person %d: %w", i, err)
	}
	for n, m := range p.Moves {
		move := map[string]any{"to": m.To, "occurred_at": m.At}
		if p.OfferNo >= 0 {
			move["offer_id"] = d.offers[p.OfferNo]
		}
		if err := d.post(ctx, "/api/candidates/pathways/"+pathway.ID+"/moves", fmt.Sprintf("move-%d-%d", i, n), move, nil); err != nil {
			return fmt.Errorf("move %d of person %d to %s: %w", n, i, m.To, err)
		}
	}
	if p.OfferNo >= 0 {
		fill := map[string]any{"candidate_id": person.ID}
		err := d.post(ctx, "/api/employers/offers/"+d.offers[p.OfferNo]+"/fill", fmt.Sprintf("fill-%d", i), fill, nil)
		// People are drawn one by one: an offer may have no post left for the last.
		var refused *api.Error
		if err != nil && !(errors.As(err, &refused) && refused.Kind == api.KindConflict) {
			return fmt.Errorf("post of person %d: %w", i, err)
		}
	}
	if p.Exit == "" {
		return nil
	}
	exit := map[string]any{"exit": p.Exit, "occurred_at": p.ExitAt}
	if err := d.post(ctx, "/api/candidates/pathways/"+pathway.ID+"/exit", fmt.Sprintf("exit-%d", i), exit, nil); err != nil {
		return fmt.Errorf("exit of person %d: %w", i, err)
	}
	return nil
}

// parallel runs the functions of work, at most n at once, and stops at the first error.
func parallel(ctx context.Context, n int, work func(yield func(func(context.Context) error) bool)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs := make(chan func(context.Context) error)
	var wg sync.WaitGroup
	for range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for job := range jobs {
				if ctx.Err() != nil {
					continue
				}
				if err := job(ctx); err != nil {
					cancel(err)
				}
			}
		}()
	}
	work(func(job func(context.Context) error) bool {
		select {
		case jobs <- job:
			return true
		case <-ctx.Done():
			return false
		}
	})
	close(jobs)
	wg.Wait()
	return context.Cause(ctx)
}
