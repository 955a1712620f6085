package matching

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
)

// town is a small world for many decisions: two replicas of the service on one
// store, and stand-ins for the services of candidates and employers, which follow
// the decisions whenever they are told to.
type town struct {
	replicas [2]*service
	posts    map[string]int32  // by offer
	schemes  map[string]string // by offer
	seqs     map[string]int64
	ways     map[string]*way
	followed map[string]int // steps of a case that pathways have followed
	filled   map[string]int // steps of a case that employers have followed
	standing map[string][]string
	closed   map[string]bool
}

// way is a pathway as the candidates service keeps it.
type way struct {
	candidate, scheme, stage string
	holders                  []string // decisions that took it and have not given it back
}

func newTown(ctx context.Context, engine docstore.Engine) (*town, error) {
	w := &town{
		posts: map[string]int32{}, schemes: map[string]string{}, seqs: map[string]int64{}, ways: map[string]*way{},
		followed: map[string]int{}, filled: map[string]int{}, standing: map[string][]string{}, closed: map[string]bool{},
	}
	for i := range w.replicas {
		documents, err := openStore(ctx, engine)
		if err != nil {
			return nil, err
		}
		rules := testRules()
		w.replicas[i] = &service{
			store: documents, index: NewIndex(rules), rules: rules, ready: func() error { return nil },
			now: func() time.Time { return at("2026-03-01") },
		}
	}
	return w, nil
}

// tell lets a replica learn of something.
func (w *town) tell(ctx context.Context, e event.Event) error {
	w.seqs[e.Subject]++
	e.Seq = w.seqs[e.Subject]
	_, err := w.replicas[0].Learn(ctx, e)
	return err
}

func (w *town) offer(ctx context.Context, offer, scheme string, posts int32) error {
	w.posts[offer], w.schemes[offer] = posts, scheme
	return w.tell(ctx, event.New("/test", offer, at("2026-02-01"), at("2026-02-01"), &employersv1.OfferOpened{Terms: w.terms(offer)}))
}

func (w *town) terms(offer string) *employersv1.Terms {
	t := termsOf(id(500), w.posts[offer])
	t.Scheme, t.PostsFilled = w.schemes[offer], int32(len(w.standing[offer]))
	return t
}

// person makes a person with a pathway in each of the schemes, at the stage of the
// employer's interview.
func (w *town) person(ctx context.Context, who string, schemes ...string) error {
	p := profileOf("TN-71", bothConsents...)
	p.Schemes = nil
	err := w.tell(ctx, event.New("/test", who, at("2026-02-01"), at("2026-02-01"), &candidatesv1.CandidateRegistered{Profile: p}))
	for _, scheme := range schemes {
		v := &way{candidate: who, scheme: scheme, stage: "P07"}
		pathway := wayID(who, scheme)
		w.ways[pathway] = v
		err = errors.Join(err, w.tell(ctx, event.New("/test", pathway, at("2026-02-01"), at("2026-02-01"),
			&candidatesv1.PathwayOpened{CandidateId: who, Scheme: scheme, SchemeVersion: "1", Stage: "P07"})))
	}
	return err
}

func wayID(who, scheme string) string { return nameFrom("way", who, scheme) }

// cases reads every case.
func (w *town) cases(ctx context.Context) ([]*docstore.Doc[Case], error) {
	var out []*docstore.Doc[Case]
	for d, err := range w.replicas[0].store.cases.All(ctx) {
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// follow does what the candidates service does with the next decision of a case.
func (w *town) follow(ctx context.Context, d *docstore.Doc[Case]) error {
	n := w.followed[d.ID]
	if n == len(d.Body.Steps) {
		return nil
	}
	w.followed[d.ID]++
	step := d.Body.Steps[n]
	v := w.ways[step.PathwayID]
	if v == nil || v.stage == "" {
		return nil
	}
	scheme, _ := reference.Schemes().Get(v.scheme, "1")
	to, ok := scheme.Decide(v.stage, step.Kind, step.HeldBy != "")
	switch {
	case (step.Kind == Accepted || step.Kind == Hired) && step.HeldBy == "" && ok:
		v.holders = append(v.holders, step.ID)
	case (step.Kind == Refused || step.Kind == NoShow) && step.HeldBy != "":
		v.holders = slices.DeleteFunc(v.holders, func(id string) bool { return id == step.HeldBy })
		ok = ok && len(v.holders) == 0
	}
	if !ok || to == v.stage {
		return nil
	}
	return w.move(ctx, step.PathwayID, to)
}

// move takes a pathway to a stage, as a counsellor may by hand.
func (w *town) move(ctx context.Context, pathway, to string) error {
	v := w.ways[pathway]
	from := v.stage
	v.stage = to
	return w.tell(ctx, event.New("/test", pathway, at("2026-02-01"), at("2026-02-01"),
		&candidatesv1.StageEntered{CandidateId: v.candidate, Scheme: v.scheme, SchemeVersion: "1", From: from, To: to}))
}

// fill does what the employers service does with the next decision of a case.
func (w *town) fill(ctx context.Context, d *docstore.Doc[Case]) error {
	n := w.filled[d.ID]
	if n == len(d.Body.Steps) {
		return nil
	}
	step, offer := d.Body.Steps[n], d.Body.OfferID
	tell := func(data interface{ GetTerms() *employersv1.Terms }) error {
		e := event.Event{}
		switch data := data.(type) {
		case *employersv1.PostFilled:
			e = event.New("/test", offer, at("2026-02-01"), at("2026-02-01"), data)
		case *employersv1.PostReleased:
			e = event.New("/test", offer, at("2026-02-01"), at("2026-02-01"), data)
		case *employersv1.OfferClosed:
			e = event.New("/test", offer, at("2026-02-01"), at("2026-02-01"), data)
		}
		return w.tell(ctx, e)
	}
	switch {
	case (step.Kind == Accepted || step.Kind == Hired) && step.HeldBy == "":
		if len(w.standing[offer]) == int(w.posts[offer]) {
			return nil // it waits until a post is given back
		}
		w.standing[offer] = append(w.standing[offer], step.ID)
		w.filled[d.ID]++
		err := tell(&employersv1.PostFilled{Terms: w.terms(offer), DecisionId: step.ID})
		if len(w.standing[offer]) == int(w.posts[offer]) {
			err = errors.Join(err, tell(&employersv1.OfferClosed{Terms: w.terms(offer), Reason: "filled"}))
		}
		return err
	case (step.Kind == Refused || step.Kind == NoShow) && step.HeldBy != "":
		w.standing[offer] = slices.DeleteFunc(w.standing[offer], func(id string) bool { return id == step.HeldBy })
		w.filled[d.ID]++
		return tell(&employersv1.PostReleased{Terms: w.terms(offer), DecisionId: step.HeldBy})
	}
	w.filled[d.ID]++
	return nil
}

// command is one decision that somebody tries.
type command struct {
	replica          int
	offer, who, kind string
}

func (w *town) decide(ctx context.Context, c command) error {
	ctx = access.With(ctx, counsellor)
	_, err := w.replicas[c.replica].Decide(ctx, DecideRequest{OfferID: c.offer, CandidateID: c.who, Kind: c.kind})
	return err
}

// check says what must always hold, and gives who holds what.
func (w *town) check(ctx context.Context) error {
	cases, err := w.cases(ctx)
	if err != nil {
		return err
	}
	seats, held := map[string][]string{}, map[string]string{}
	for _, d := range cases {
		c := &d.Body
		holding := c.State == Accepted || c.State == Hired
		if holding != (c.Seat != "") || holding != (c.HiredIn != "") || holding != (len(c.Holds) > 0) {
			return fmt.Errorf("case %s is %s with seat %q, held in %q and %v", d.ID, c.State, c.Seat, c.HiredIn, c.Holds)
		}
		if !holding {
			continue
		}
		if slices.Contains(seats[c.OfferID], c.Seat) {
			return fmt.Errorf("seat %s is held twice", c.Seat)
		}
		seats[c.OfferID] = append(seats[c.OfferID], c.Seat)
		if w.ways[c.PathwayID].stage == "" {
			continue // the pathway has ended; the post stays taken until somebody says otherwise
		}
		if other := held[c.CandidateID]; other != "" {
			return fmt.Errorf("%s is held by %s and %s", c.CandidateID, other, c.OfferID)
		}
		held[c.CandidateID] = c.OfferID
	}
	for offer, list := range seats {
		if len(list) > int(w.posts[offer]) {
			return fmt.Errorf("%d hold %d posts of %s: %v", len(list), w.posts[offer], offer, list)
		}
	}
	return nil
}

// The rule of seats by itself, in every order of looking and taking: whoever looks
// sees how many are held and the lowest free number; whoever takes gets it unless
// somebody has it by then. Seats are given back at any time, and the number of
// posts changes while nobody is between looking and taking, never below what is held.
func TestSeatsInEveryOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		posts := rapid.IntRange(1, 5).Draw(t, "posts")
		var held []int
		looked := map[int]int{} // what each who has looked would take
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			who := rapid.IntRange(0, 4).Draw(t, "who")
			number, ready := looked[who]
			switch rapid.SampledFrom([]string{"look", "take", "take", "give back", "posts"}).Draw(t, "does") {
			case "look":
				delete(looked, who)
				if len(held) < posts {
					looked[who] = lowestFree(held)
				}
			case "take":
				if at, taken := slices.BinarySearch(held, number); ready && !taken {
					held = slices.Insert(held, at, number)
				}
				delete(looked, who)
			case "give back":
				if len(held) > 0 {
					at := rapid.IntRange(0, len(held)-1).Draw(t, "seat")
					held = slices.Delete(held, at, at+1)
				}
			case "posts":
				if len(looked) == 0 {
					posts = max(1, len(held), rapid.IntRange(1, 5).Draw(t, "posts now"))
				}
			}
			if len(held) > posts {
				t.Fatalf("%v hold %d posts", held, posts)
			}
		}
	})
}

// However decisions come, alone or many at once, through two replicas, with the
// pathways and the posts following late: no offer ever holds more people than it
// has posts, and no person is held twice. And nobody is turned away for nothing:
// at the end, when all have followed, a free person can take a free post.
func TestHoldsUnderManyDecisions(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		ctx := context.Background()
		engine, err := docstore.Open(ctx, "sqlite:"+filepath.Join(dir, fmt.Sprint(run, ".db")))
		if err != nil {
			t.Fatal(err)
		}
		defer engine.Close()
		w, err := newTown(ctx, engine)
		if err != nil {
			t.Fatal(err)
		}
		var offers, people []string
		for n := range rapid.IntRange(1, 3).Draw(t, "offers") {
			offers = append(offers, id(100+n))
			scheme := rapid.SampledFrom([]string{"agri", "agri", "soin"}).Draw(t, "scheme")
			if err := w.offer(ctx, id(100+n), scheme, rapid.Int32Range(1, 3).Draw(t, "posts")); err != nil {
				t.Fatal(err)
			}
		}
		for n := range rapid.IntRange(1, 4).Draw(t, "people") {
			people = append(people, id(n))
			if err := w.person(ctx, id(n), "agri", "soin"); err != nil {
				t.Fatal(err)
			}
		}
		kinds := []string{Shortlisted, Interview, Offered, Accepted, Accepted, Accepted, Hired, Hired, Refused, NoShow, NoShow}
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			var batch []command
			for range rapid.IntRange(1, 5).Draw(t, "at once") {
				batch = append(batch, command{
					replica: rapid.IntRange(0, 1).Draw(t, "replica"), offer: rapid.SampledFrom(offers).Draw(t, "offer"),
					who: rapid.SampledFrom(people).Draw(t, "who"), kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
				})
			}
			failed := make([]error, len(batch))
			var all sync.WaitGroup
			for i, c := range batch {
				all.Go(func() { failed[i] = w.decide(ctx, c) })
			}
			all.Wait()
			for i, err := range failed {
				if err != nil && !errors.Is(err, &api.Error{Kind: api.KindConflict}) {
					t.Fatalf("%+v: %v", batch[i], err)
				}
			}
			if err := w.check(ctx); err != nil {
				t.Fatalf("after %+v: %v", batch, err)
			}
			cases, err := w.cases(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range cases {
				for range rapid.IntRange(0, 2).Draw(t, "pathway follows") {
					err = errors.Join(err, w.follow(ctx, d))
				}
				for range rapid.IntRange(0, 2).Draw(t, "posts follow") {
					err = errors.Join(err, w.fill(ctx, d))
				}
			}
			for _, pathway := range slices.Sorted(maps.Keys(w.ways)) {
				if w.ways[pathway].stage == "P04" && rapid.Bool().Draw(t, "language test passed") {
					err = errors.Join(err, w.move(ctx, pathway, "P07"))
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 3).Draw(t, "an employer thinks again") == 0 {
				// Fewer posts than are filled cannot be; the employers service sees to it.
				w.settle(ctx, t)
				offer := rapid.SampledFrom(offers).Draw(t, "its offer")
				if n := len(w.standing[offer]); n < int(w.posts[offer]) {
					w.posts[offer] = max(1, int32(n), rapid.Int32Range(1, 4).Draw(t, "its posts"))
					if err := w.tell(ctx, event.New("/test", offer, at("2026-02-01"), at("2026-02-01"), &employersv1.OfferUpdated{Terms: w.terms(offer)})); err != nil {
						t.Fatal(err)
					}
					if len(w.standing[offer]) == int(w.posts[offer]) {
						if err := w.tell(ctx, event.New("/test", offer, at("2026-02-01"), at("2026-02-01"), &employersv1.OfferClosed{Terms: w.terms(offer), Reason: "filled"})); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
		w.settle(ctx, t)
		newcomer := id(99)
		if err := w.person(ctx, newcomer, "agri", "soin"); err != nil {
			t.Fatal(err)
		}
		for _, offer := range offers {
			free := int(w.posts[offer]) - len(w.standing[offer])
			err := w.decide(ctx, command{offer: offer, who: newcomer, kind: Shortlisted})
			if err == nil {
				w.settle(ctx, t)
				err = errors.Join(w.move(ctx, wayID(newcomer, w.schemes[offer]), "P07"),
					w.decide(ctx, command{offer: offer, who: newcomer, kind: Accepted}))
			}
			if (err == nil) != (free > 0) {
				t.Fatalf("%d posts of %s are free, and a free person is told: %v", free, offer, err)
			}
			if err == nil {
				w.settle(ctx, t)
				if err := w.decide(ctx, command{offer: offer, who: newcomer, kind: NoShow}); err != nil {
					t.Fatal(err)
				}
				w.settle(ctx, t)
			}
		}
	})
}

// settle lets everything follow everything.
func (w *town) settle(ctx context.Context, t *rapid.T) {
	t.Helper()
	cases, err := w.cases(ctx)
	for range 3 * (len(cases) + 1) { // whoever waits for a post comes in a later turn
		for _, d := range cases {
			for range d.Body.Steps {
				err = errors.Join(err, w.follow(ctx, d), w.fill(ctx, d))
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range cases {
		if w.filled[d.ID] != len(d.Body.Steps) {
			t.Fatalf("a decision found no post in the end: %+v", d.Body)
		}
	}
	// The documents now say what the cases say.
	for offer := range w.posts {
		held, _, err := w.replicas[0].store.seats(ctx, offer)
		if err != nil {
			t.Fatal(err)
		}
		d, err := w.replicas[0].store.offers.Get(ctx, offer)
		if err != nil {
			t.Fatal(err)
		}
		if int(d.Body.Filled) != held || d.Body.seats() != int(w.posts[offer]) || d.Body.Open != (held < int(w.posts[offer])) {
			t.Fatalf("%d seats of %s are held; its document says %+v", held, offer, d.Body)
		}
	}
}

// A post that is given back is counted by nobody, and opens the offer that it had
// closed; what is told after that decides.
func TestReleasedPostsAreFolded(t *testing.T) {
	terms := termsOf(id(500), 2)
	tell := func(o *Offer, filled int32, data proto.Message) {
		e := event.New("/test", id(100), at("2026-02-01"), at("2026-02-01"), data)
		e.Seq = o.Seq + 1
		terms.PostsFilled = filled
		if !o.apply(e) || o.apply(e) {
			t.Fatalf("%T is not applied once", data)
		}
	}
	var o Offer
	tell(&o, 0, &employersv1.OfferOpened{Terms: terms})
	tell(&o, 1, &employersv1.PostFilled{Terms: terms, DecisionId: "d1"})
	tell(&o, 2, &employersv1.PostFilled{Terms: terms}) // by hand
	tell(&o, 2, &employersv1.OfferClosed{Terms: terms, Reason: "filled"})
	if o.Open || o.seats() != 1 {
		t.Errorf("full: %+v", o)
	}
	tell(&o, 1, &employersv1.PostReleased{Terms: terms, DecisionId: "d1"})
	if !o.Open || o.seats() != 1 || o.Filled != 1 || len(o.Counted) != 0 {
		t.Errorf("given back: %+v", o)
	}
	tell(&o, 1, &employersv1.OfferClosed{Terms: terms, Reason: "withdrawn"})
	if o.Open {
		t.Error("withdrawn, and open")
	}
	late := Offer{Seq: 0}
	tell(&late, 1, &employersv1.PostReleased{Terms: terms, DecisionId: "d1"})
	if !late.Open {
		t.Error("an offer of which the release is the first that is heard is not open")
	}
}
