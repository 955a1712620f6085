package matching

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
)

// A shortlist is made again from what its record names: the states of people,
// offers and employers as the log of what was learned has them, the same versions
// of weights and reference data, the same day, seed and scope. They are put into
// an index of their own, which is asked the same question.

// ReplayAnswer is a shortlist, or the result of a campaign, made again.
type ReplayAnswer struct {
	ID      string `json:"id"`
	Same    bool   `json:"same"`            // byte by byte
	Sum     string `json:"sha256"`          // of the answer as it was given, its line end included
	Remade  string `json:"sha256_remade"`   // of the answer as it was made now
	Program string `json:"program_version"` // that gave it
	Now     string `json:"program_version_now"`
	// Answer is the answer as it was made now: the same bytes but for the line end.
	Answer json.RawMessage `json:"answer"`
}

// replayed compares an answer that was made again with the digest of the one that
// was given.
func (s *service) replayed(id, sum, program string, answer any) (ReplayAnswer, error) {
	made, err := answerBytes(answer)
	if err != nil {
		return ReplayAnswer{}, err
	}
	remade := sumOf(made)
	return ReplayAnswer{
		ID: id, Same: sum == remade, Sum: sum, Remade: remade, Program: program, Now: s.program,
		Answer: bytes.TrimSuffix(made, []byte("\n")),
	}, nil
}

// Replay implements Service.
func (s *service) Replay(ctx context.Context, req ShortlistRequest) (ReplayAnswer, error) {
	none := ReplayAnswer{}
	r, err := s.record(ctx, req.ID)
	if err != nil {
		return none, err
	}
	answer, shown, err := s.remake(ctx, r, req.ID)
	if err != nil {
		return none, missing(err)
	}
	if access.From(ctx).Role == access.Employer {
		// What an employer may see is what people consent to now.
		for _, id := range shown {
			if p, ok := s.index.Person(id); !ok || !p.Matching || !p.Disclosure {
				return none, api.Forbidden("Somebody on this shortlist no longer consents to be shown to employers; the programme can still repeat it.")
			}
		}
	}
	return s.replayed(req.ID, r.Sum, r.Program, answer)
}

// missing says to a caller which input is not there any more.
func missing(err error) error {
	var lost *lostError
	if errors.As(err, &lost) || errors.Is(err, ErrForgotten) || errors.Is(err, docstore.ErrNotFound) {
		return api.Conflict("It cannot be made again: %s.", strings.TrimPrefix(err.Error(), "matching: ")).Because(err)
	}
	return err
}

// lostError says which version of weights or reference data is not there.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

// remake makes a shortlist again. shown are the people whom the answer shows.
func (s *service) remake(ctx context.Context, r *ShortlistRecord, id string) (answer any, shown []string, err error) {
	rules, err := s.past.of(r.Weights, r.Reference)
	if err != nil {
		return nil, nil, err
	}
	x := NewIndex(rules)
	if r.OfferID != "" {
		offer := SeenOffer{r.OfferID, r.OfferSeq, r.EmployerSeq}
		if err := s.putOffers(ctx, x, []SeenOffer{offer}); err != nil {
			return nil, nil, err
		}
		people, err := s.rosters.load(ctx, r.People)
		if err != nil {
			return nil, nil, err
		}
		if err := s.putSeekers(ctx, x, people); err != nil {
			return nil, nil, err
		}
		list, _ := x.Candidates(r.OfferID, r.ask(&r.Basis))
		x.rest(list, r)
		for i := range list.Matches {
			shown = append(shown, list.Matches[i].ID)
		}
		return candidatesAnswer(s.lookOf(r.Employer))(r, id, list), shown, nil
	}
	offers, err := s.rosters.loadOffers(ctx, r.Offers)
	if err != nil {
		return nil, nil, err
	}
	if err := s.putOffers(ctx, x, offers); err != nil {
		return nil, nil, err
	}
	seeker, err := s.seekerAt(ctx, r.CandidateID, uint64(r.Stamp))
	if err != nil {
		return nil, nil, err
	}
	x.PutSeeker(r.CandidateID, 1, seeker)
	list, ok := x.Offers(r.CandidateID, r.ask(&r.Basis))
	if !ok {
		return nil, nil, fmt.Errorf("matching: nothing is known of the candidate %s at that state: %w", r.CandidateID, ErrForgotten)
	}
	return offersAnswer(s.lookOf(r.Employer))(r, id, list), []string{r.CandidateID}, nil
}

// rest counts those in the scope who are not in the index, because what they can
// do does not fit: they are out for the first condition that the offer itself
// fails, or for the occupation.
func (x *Index) rest(list *Shortlist, r *ShortlistRecord) {
	others := r.Considered - list.Considered
	if others == 0 {
		return
	}
	d, _, _ := x.demand(r.OfferID)
	d.Left = min(d.Left, r.Left)
	condition := CondOccupation
	if whole := x.question(&d, r.ask(&r.Basis)).whole; whole >= 0 {
		condition = Conditions[whole].Name
	}
	list.Considered += others
	list.Out[condition] += others
}

// putOffers puts offers and their employers, as they were, into an index.
func (s *service) putOffers(ctx context.Context, x *Index, offers []SeenOffer) error {
	var mu sync.Mutex
	employers := map[string]int64{}
	err := concurrently(ctx, len(offers), func(ctx context.Context, i int) error {
		o, err := s.offerAt(ctx, offers[i].ID, offers[i].Seq)
		if err != nil {
			return err
		}
		x.PutOffer(offers[i].ID, 1, o)
		mu.Lock()
		defer mu.Unlock()
		if seq, ok := employers[o.EmployerID]; ok && seq != offers[i].EmployerSeq {
			return fmt.Errorf("matching: the employer %s is named at seq %d and at seq %d: %w", o.EmployerID, seq, offers[i].EmployerSeq, ErrForgotten)
		}
		employers[o.EmployerID] = offers[i].EmployerSeq
		return nil
	})
	if err != nil {
		return err
	}
	for id, seq := range employers {
		m, err := s.employerAt(ctx, id, seq)
		if err != nil {
			return err
		}
		x.PutEmployer(id, 1, m)
	}
	return nil
}

// putSeekers puts people, as they were, into an index.
func (s *service) putSeekers(ctx context.Context, x *Index, people []Seen) error {
	return concurrently(ctx, len(people), func(ctx context.Context, i int) error {
		id := people[i].ID.String()
		d, err := s.seekerAt(ctx, id, people[i].Stamp)
		if err != nil {
			return err
		}
		x.PutSeeker(id, 1, d)
		return nil
	})
}

// reading is how many documents are read at a time.
const reading = 8

// concurrently calls do for 0 to n-1, a few at a time, until the first error.
func concurrently(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	for worker := range reading {
		work.Go(func() {
			for i := worker; i < n && ctx.Err() == nil; i += reading {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	work.Wait()
	return context.Cause(ctx)
}

// pastRules gives the rules of any version of weights and reference data that is
// kept. It is safe for concurrent use.
type pastRules struct {
	dataDir string
	present *Rules

	mu    sync.Mutex
	known map[[2]string]*Rules
}

// of gives the rules of two versions, or says which version is not there, and
// which are.
func (p *pastRules) of(weights, occupations string) (*Rules, error) {
	if p.present.Weights.Version == weights && p.present.Reference == occupations {
		return p.present, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.known[[2]string{weights, occupations}]; r != nil {
		return r, nil
	}
	w, err := WeightsVersion(weights)
	if err != nil {
		return nil, &lostError{err}
	}
	jobs, err := reference.LoadVersion(p.dataDir, occupations)
	if err != nil {
		return nil, &lostError{err}
	}
	r := NewRules(w, reference.Schemes(), jobs)
	if p.known == nil || len(p.known) >= pastMost {
		p.known = map[[2]string]*Rules{}
	}
	p.known[[2]string{weights, occupations}] = r
	return r, nil
}

// pastMost bounds how many past rules are kept in memory: a few MB each.
const pastMost = 4

// programVersion names the program: its module's version, and the revision of the
// source when it is known.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	out := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && !strings.Contains(out, s.Value[:min(12, len(s.Value))]) {
			out += "+" + s.Value[:min(12, len(s.Value))]
		}
		if s.Key == "vcs.modified" && s.Value == "true" && !strings.HasSuffix(out, "dirty") {
			out += "+dirty"
		}
	}
	return strings.TrimPrefix(out, "+")
}
