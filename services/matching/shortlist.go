package matching

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
)

// ShortlistRecord is the document of one shortlist: everything that it was made
// from, so that it can be made again (replay.go), and a digest of the answer. It
// names people and what they are by ids and states of the log alone.
//
// Its id is a digest of all that it was made from. To ask again when nothing has
// changed gives the same shortlist with the same id, and writes nothing.
type ShortlistRecord struct {
	Asked `bson:",inline"`
	Basis `bson:",inline"`
	// Sum is the SHA-256 of the answer, byte by byte as it was given, in
	// hexadecimal.
	Sum       string    `bson:"sum"`
	CreatedAt time.Time `bson:"created_at"` // when it was made first
}

// Asked is the question of a shortlist.
type Asked struct {
	// One of the two: the candidates of an offer, or the offers of a candidate.
	OfferID     string `bson:"offer_id,omitempty"`
	CandidateID string `bson:"candidate_id,omitempty"`
	// The scope of who asked. Employer: one asked, and the answer has its pseudonyms.
	Governorates []string `bson:"governorates,omitempty"`
	Schemes      []string `bson:"schemes,omitempty"`
	Employer     string   `bson:"employer,omitempty"`
	K            int      `bson:"k"`
	Day          string   `bson:"day"`
	Seed         string   `bson:"seed"`
}

// Basis is what a shortlist was made from.
type Basis struct {
	Weights   string `bson:"weights"`   // version
	Reference string `bson:"reference"` // version
	Program   string `bson:"program"`   // version, which the texts and the schemes are part of
	// Of an offer's candidates: the offer, and the roster of the people looked at.
	OfferSeq    int64  `bson:"offer_seq,omitempty"`
	EmployerSeq int64  `bson:"employer_seq,omitempty"`
	People      string `bson:"people,omitempty"`
	Left        int    `bson:"left,omitempty"` // posts that were left
	// Of a candidate's offers: the stamp of the candidate (an unsigned number), and
	// the roster of the offers looked at.
	Stamp  int64  `bson:"stamp,omitempty"`
	Offers string `bson:"offers,omitempty"`

	Looked     int         `bson:"looked"`     // people or offers in the roster
	Considered int         `bson:"considered"` // in the scope; who is not in the roster has no fitting occupation
	Cases      []CaseState `bson:"cases,omitempty"`
}

// CaseState is the state of the case with a candidate or an offer.
type CaseState struct {
	ID    string `bson:"id"`
	State string `bson:"state"`
}

var shortlistsSchema = docstore.Schema{Collection: "shortlists"}

// ask is the question to the index.
func (a *Asked) ask(b *Basis) Ask {
	out := Ask{
		Scope: Scope{Governorates: a.Governorates, Schemes: a.Schemes, Employer: a.Employer},
		K:     a.K, Today: ParseDay(a.Day), Seed: a.Seed, States: map[string]string{}, Left: -1,
	}
	if a.OfferID != "" {
		out.Left = b.Left
	}
	for _, c := range b.Cases {
		out.States[c.ID] = c.State
	}
	return out
}

// asked is the question of a principal, about what is filled in by the caller.
func (s *service) asked(who access.Principal, about, seed string, k int) Asked {
	in := scope(who)
	a := Asked{
		Governorates: slices.Clone(in.Governorates), Schemes: slices.Clone(in.Schemes), Employer: in.Employer,
		K: k, Day: DayOf(s.now()).String(), Seed: seed,
	}
	slices.Sort(a.Governorates)
	slices.Sort(a.Schemes)
	if seed == "" {
		a.Seed = about + "/" + a.Day
	}
	return a
}

// basis is what is known before the index is asked.
func (s *service) basis(states map[string]string) Basis {
	b := Basis{Weights: s.rules.Weights.Version, Reference: s.rules.Reference, Program: s.program}
	for _, id := range slices.Sorted(maps.Keys(states)) {
		b.Cases = append(b.Cases, CaseState{id, states[id]})
	}
	return b
}

// view is the part of an answer that says what it was made from.
func (r *ShortlistRecord) view(id string, seq int64) AnswerBasis {
	return AnswerBasis{
		ShortlistID: id, Seq: seq, AsOf: r.Day, Weights: r.Weights, Reference: r.Reference, Seed: r.Seed,
	}
}

// id digests what a shortlist was made from.
func (r *ShortlistRecord) id() (string, error) {
	made := *r
	made.Sum, made.CreatedAt = "", time.Time{}
	body, err := bson.Marshal(made) // fields in their order, lists sorted
	if err != nil {
		return "", fmt.Errorf("matching: encode a shortlist: %w", err)
	}
	sum := sha256.Sum256(append([]byte("masar/matching/shortlist\x00"), body...))
	return ulid.ULID(sum[:16]).String(), nil
}

// keep completes the record of a shortlist (its People and Looked may be known
// already) and keeps it before anybody gets the
// answer, which is made by the function given, once its id is known.
func keep[T any](ctx context.Context, s *service, r *ShortlistRecord, list *Shortlist, answer func(r *ShortlistRecord, id string, list *Shortlist) T) (T, error) {
	var none T
	var looked roster
	var err error
	if r.OfferID != "" {
		posted := list.SeenOffers[0]
		r.OfferSeq, r.EmployerSeq = posted.Seq, posted.EmployerSeq
		if r.People == "" {
			if looked, err = s.rosters.ofPeople(list.Seen); err != nil {
				return none, err
			}
			r.People, r.Looked = looked.name, len(list.Seen)
		}
	} else {
		looked = s.rosters.ofOffers(list.SeenOffers)
		r.Stamp, r.Offers, r.Looked = int64(list.Seen[0].Stamp), looked.name, len(list.SeenOffers)
	}
	r.Considered = list.Considered
	id, err := r.id()
	if err != nil {
		return none, err
	}
	out := answer(r, id, list)
	if s.shortlists.has(id) {
		s.looked.put(list.Among, keptRoster{r.People, r.Looked})
		return out, nil
	}
	bytes, err := answerBytes(out)
	if err != nil {
		return none, err
	}
	r.Sum, r.CreatedAt = sumOf(bytes), s.clock()
	// Side by side: nobody knows the id before both are there.
	filed := make(chan error, 1)
	go func() { filed <- s.rosters.file(ctx, looked.documents) }()
	err = s.shortlists.file(ctx, []named{{id, *r}})
	if err = errors.Join(<-filed, err); err != nil {
		return none, err
	}
	s.looked.put(list.Among, keptRoster{r.People, r.Looked})
	return out, nil
}

// keptRoster is a roster of people that is in the store.
type keptRoster struct {
	name   string
	people int
}

// keptRosters remembers the rosters of Shortlist.Among, so that as long as nobody
// of an occupation changes, its people are listed once. It is safe for concurrent
// use.
type keptRosters struct {
	mu    sync.Mutex
	known map[string]keptRoster
}

func (k *keptRosters) get(among string) (keptRoster, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, ok := k.known[among]
	return r, ok
}

func (k *keptRosters) put(among string, r keptRoster) {
	if among == "" || r.name == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || len(k.known) == keptMost {
		k.known = map[string]keptRoster{}
	}
	k.known[among] = r
}

const keptMost = 4096

// answerBytes is an answer as the router sends it.
func answerBytes(answer any) ([]byte, error) {
	var out bytes.Buffer
	to := json.NewEncoder(&out)
	to.SetEscapeHTML(false)
	if err := to.Encode(answer); err != nil {
		return nil, fmt.Errorf("matching: encode an answer: %w", err)
	}
	return out.Bytes(), nil
}

func sumOf(answer []byte) string {
	sum := sha256.Sum256(answer)
	return hex.EncodeToString(sum[:])
}

// ShortlistRequest asks for a shortlist that was given before.
type ShortlistRequest struct {
	ID string `path:"id"`
}

// ShortlistView shows what a shortlist was made from.
type ShortlistView struct {
	ID           string    `json:"shortlist_id"`
	OfferID      string    `json:"offer_id,omitempty"`     // whose candidates were asked for, or
	CandidateID  string    `json:"candidate_id,omitempty"` // whose offers
	CreatedAt    time.Time `json:"created_at"`             // when it was given first
	K            int       `json:"k"`
	AsOf         string    `json:"as_of"`
	Seed         string    `json:"seed"`
	Governorates []string  `json:"governorates"` // the scope of who asked; empty: all
	Schemes      []string  `json:"schemes"`
	Employer     string    `json:"employer_id,omitempty"` // who asked, when it was an employer
	Weights      string    `json:"weights_version"`
	Reference    string    `json:"reference_version"`
	Program      string    `json:"program_version"`
	Considered   int       `json:"considered"`             // in the scope
	Looked       int       `json:"looked_at"`              // of them, those with a fitting occupation (offers: all)
	Decided      int       `json:"decided"`                // cases that were there
	PostsLeft    *int      `json:"posts_left,omitempty"`   // of the offer
	OfferSeq     int64     `json:"offer_seq,omitempty"`    // last event of the offer that was known
	EmployerSeq  int64     `json:"employer_seq,omitempty"` // last event of its employer that was known
	Sum          string    `json:"sha256"`                 // of the answer, byte by byte
}

func noShortlist() error { return api.NotFound("There is no such shortlist, or not for you.") }

// record finds the record of a shortlist that the principal may see: an employer
// those that it was given itself, everybody else those for a scope inside their
// own.
func (s *service) record(ctx context.Context, id string) (*ShortlistRecord, error) {
	who := access.From(ctx)
	d, err := s.store.shortlistRecords.Get(ctx, id)
	if errors.Is(err, docstore.ErrNotFound) {
		return nil, noShortlist()
	}
	if err != nil {
		return nil, err
	}
	r := &d.Body
	own := who.Role != access.Employer || cmp.Or(r.Employer, "-") == who.Employer
	if !own || !inside(r.Governorates, who.Governorates) || !inside(r.Schemes, who.Schemes) {
		return nil, noShortlist()
	}
	return r, nil
}

// inside says whether a scope lies inside another; an empty one is everything.
func inside(scope, other []string) bool {
	if len(other) == 0 {
		return true
	}
	return len(scope) > 0 && !slices.ContainsFunc(scope, func(code string) bool { return !slices.Contains(other, code) })
}

// Shortlist implements Service.
func (s *service) Shortlist(ctx context.Context, req ShortlistRequest) (ShortlistView, error) {
	r, err := s.record(ctx, req.ID)
	if err != nil {
		return ShortlistView{}, err
	}
	v := ShortlistView{
		ID: req.ID, OfferID: r.OfferID, CreatedAt: r.CreatedAt.UTC(), K: r.K, AsOf: r.Day, Seed: r.Seed,
		Governorates: append([]string{}, r.Governorates...), Schemes: append([]string{}, r.Schemes...), Employer: r.Employer,
		Weights: r.Weights, Reference: r.Reference, Program: r.Program, Considered: r.Considered, Looked: r.Looked,
		Decided: len(r.Cases), OfferSeq: r.OfferSeq, EmployerSeq: r.EmployerSeq, Sum: r.Sum,
	}
	if r.OfferID != "" {
		v.PostsLeft = &r.Left
	} else {
		v.CandidateID = s.lookOf(r.Employer).candidate(r.CandidateID)
	}
	return v, nil
}

// lookOf is how an employer sees people, or everybody else when it is "".
func (s *service) lookOf(employer string) look {
	if employer == "" {
		return look{}
	}
	return look{func(id string) string { return s.names.mask(employer, id) }}
}
