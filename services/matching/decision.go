package matching

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// tolerance is how far two clocks may differ.
const tolerance = 2 * time.Minute

// Case is the document of one offer and one candidate: everything that people
// decided about the two, one after the other. A case only moves forward:
//
//	(nothing) -> shortlisted -> interview -> hired
//	                  \------------------->/
//	refused, at any time before hired; hired and refused are final.
//
// A decision is one write of this document: the step, the guards below and the
// event that tells of it, together or not at all. Two unique indexes on its
// fields are what makes a hire safe, whichever replica writes and whenever one
// dies; nothing is reserved beforehand and so nothing is left behind.
//
//   - Seat: a hire takes a numbered seat of the offer, "<offer>/000003", from 0
//     on without gaps, and below the number of posts that are left to us. Two
//     hires can never have one seat, so an offer never has more hires than posts.
//   - HiredIn: a hire takes the person's pathway. Two offers can never hire one
//     person in one pathway, even while the pathway has not followed yet.
type Case struct {
	OfferID     string    `bson:"offer_id"`
	CandidateID string    `bson:"candidate_id"`
	EmployerID  string    `bson:"employer_id"`
	Scheme      string    `bson:"scheme"`      // the offer's
	Governorate string    `bson:"governorate"` // the candidate's at the last decision: whose scope the case is in
	State       string    `bson:"state"`       // the kind of the last step
	PathwayID   string    `bson:"pathway_id"`  // of the last step
	Steps       []Step    `bson:"steps"`
	Seat        string    `bson:"seat,omitempty"`
	HiredIn     string    `bson:"hired_in,omitempty"`
	Keys        []string  `bson:"keys,omitempty"` // those of Steps
	CreatedAt   time.Time `bson:"created_at"`
}

// Step is one decision, with what it was made from.
type Step struct {
	ID         string    `bson:"id"`
	Kind       string    `bson:"kind"`
	Actor      string    `bson:"actor"` // role
	By         string    `bson:"by"`    // subject of the token
	OccurredAt time.Time `bson:"occurred_at"`
	RecordedAt time.Time `bson:"recorded_at"`
	PathwayID  string    `bson:"pathway_id"`
	// To is the stage that the pathway is led to, "" for a refusal. PathwaySeq
	// is the pathway's last event that was known: until another one comes, the
	// pathway is taken to be at To.
	To           string     `bson:"to"`
	PathwaySeq   int64      `bson:"pathway_seq"`
	CandidateSeq int64      `bson:"candidate_seq"`
	OfferSeq     int64      `bson:"offer_seq"`
	Score        int32      `bson:"score"`
	Parts        []StepPart `bson:"parts"`
	Weights      string     `bson:"weights"`
	Reference    string     `bson:"reference"`
	Key          string     `bson:"key,omitempty"` // made from the Idempotency-Key and its principal
	Fingerprint  string     `bson:"fingerprint,omitempty"`
}

// StepPart is one part of the score that a decision was made with.
type StepPart struct {
	Name   string `bson:"name"`
	Value  int32  `bson:"value"`
	Weight int32  `bson:"weight"`
}

// CaseID names the case of an offer and a candidate.
func CaseID(offer, candidate string) string { return nameFrom("case", offer, candidate) }

// decisionID names the decision of a kind in a case; there is one at most.
func decisionID(caseID, kind string) string { return nameFrom("decision", caseID, kind) }

// nameFrom makes an id in the shape of a ULID from what it names.
func nameFrom(parts ...string) string {
	sum := sha256.Sum256([]byte("masar/matching\x00" + strings.Join(parts, "\x00")))
	return ulid.ULID(sum[:16]).String()
}

// Command is a decision that somebody wants to record.
type Command struct {
	Kind        string
	OccurredAt  time.Time // zero: now
	Now         time.Time
	Actor       access.Role
	By          string
	Key         string // "" when it has none
	Fingerprint string
}

// DecisionBasis is what is known of the two when a decision is made.
type DecisionBasis struct {
	CaseID, OfferID, CandidateID string

	Offer     *Offer
	Seeker    *Seeker
	Suspended bool // the offer's employer is
	Seat      int  // the lowest free seat of the offer
	Taken     bool // the person was hired in the pathway by another case
}

// decide records a decision in the case. It returns the step, which is an older
// one when the very same decision was recorded before; fresh says whether it is
// new. Nothing is changed when there is an error.
func (c *Case) decide(r *Rules, b DecisionBasis, cmd Command) (step *Step, fresh bool, err error) {
	if step, err := c.repeated(cmd); step != nil || err != nil {
		return step, false, err
	}
	if err := c.follows(cmd.Kind); err != nil {
		return nil, false, err
	}
	cmd.Now = cmd.Now.UTC().Truncate(time.Millisecond) // as every store keeps it
	if cmd.OccurredAt.IsZero() {
		cmd.OccurredAt = cmd.Now
	}
	cmd.OccurredAt = cmd.OccurredAt.UTC().Truncate(time.Millisecond)
	if cmd.OccurredAt.After(cmd.Now.Add(tolerance)) {
		return nil, false, api.Invalid(api.Field{Path: "occurred_at", Code: "future", Reason: "the moment is in the future"})
	}
	if n := len(c.Steps); n > 0 && cmd.OccurredAt.Before(c.Steps[n-1].OccurredAt) {
		return nil, false, api.Invalid(api.Field{
			Path: "occurred_at", Code: "order",
			Reason: "before the decision that it follows, which was made at " + c.Steps[n-1].OccurredAt.UTC().Format(time.RFC3339),
		})
	}

	person, demand := r.Person(b.Seeker), r.Demand(b.Offer, b.Suspended)
	track, pathway, pending := c.expected(r, b.Seeker, &person, b.Offer.Scheme)
	step = &Step{
		ID: decisionID(b.CaseID, cmd.Kind), Kind: cmd.Kind, Actor: string(cmd.Actor), By: cmd.By,
		OccurredAt: cmd.OccurredAt, RecordedAt: cmd.Now,
		CandidateSeq: b.Seeker.Seq, OfferSeq: b.Offer.Seq,
		Weights: r.Weights.Version, Reference: r.Reference, Key: cmd.Key, Fingerprint: cmd.Fingerprint,
	}
	if track != nil {
		step.PathwayID, step.PathwaySeq = track.Pathway, pathway.Seq
	}
	if cmd.Kind != Refused {
		pair := Pair{
			Offer: &demand, Person: &person, Today: DayOf(cmd.OccurredAt), Kind: cmd.Kind,
			Disclose: cmd.Actor == access.Employer, State: c.State,
		}
		if out := Failures(&pair); len(out) > 0 {
			return nil, false, notEligible(out)
		}
		if step.To, err = r.enter(track, cmd); err != nil {
			return nil, false, err
		}
		if !pending && pathway.EnteredAt.After(cmd.OccurredAt.Add(tolerance)) {
			return nil, false, notEligible([]Failure{{CondPathway, Reason{Key: "stage_later", A: pathway.Stage}}})
		}
	}
	parts := Score(r.Weights, &demand, &person.Profile, DayOf(cmd.OccurredAt))
	step.Score = parts.Total()
	for _, p := range parts {
		step.Parts = append(step.Parts, StepPart{p.Name, p.Value, p.Weight})
	}
	if cmd.Kind == Hired {
		if b.Taken {
			return nil, false, notEligible([]Failure{{CondFree, Reason{Key: "already_hire"}}})
		}
		if b.Seat >= b.Offer.seats() {
			return nil, false, notEligible([]Failure{{CondPosts, Reason{Key: "posts_left"}}})
		}
		c.Seat, c.HiredIn = seat(b.OfferID, b.Seat), step.PathwayID
	}

	if len(c.Steps) == 0 {
		c.OfferID, c.CandidateID, c.CreatedAt = b.OfferID, b.CandidateID, cmd.Now
	}
	c.EmployerID, c.Scheme, c.Governorate = b.Offer.EmployerID, b.Offer.Scheme, b.Seeker.Governorate
	c.State, c.PathwayID = cmd.Kind, step.PathwayID
	c.Steps = append(c.Steps, *step)
	if cmd.Key != "" {
		c.Keys = append(c.Keys, cmd.Key)
	}
	return step, true, nil
}

// repeated finds the step that the same command made before: by its key, or by
// its content. The error says that the key came with another body.
func (c *Case) repeated(cmd Command) (*Step, error) {
	for i := range c.Steps {
		if s := &c.Steps[i]; cmd.Key != "" && s.Key == cmd.Key {
			if s.Fingerprint != cmd.Fingerprint {
				return nil, api.KeyReused()
			}
			return s, nil
		}
	}
	for i := range c.Steps {
		if s := &c.Steps[i]; s.Kind == cmd.Kind && (cmd.OccurredAt.IsZero() || cmd.OccurredAt.Truncate(time.Millisecond).Equal(s.OccurredAt)) {
			return s, nil
		}
	}
	return nil, nil
}

// follows says whether a decision of this kind may follow what was decided.
func (c *Case) follows(kind string) error {
	allowed := map[string][]string{
		"":          {Shortlisted, Refused},
		Shortlisted: {Interview, Hired, Refused},
		Interview:   {Hired, Refused},
	}
	if slices.Contains(allowed[c.State], kind) {
		return nil
	}
	if c.State == "" {
		return refuse("order", "nothing was decided about this person for this offer: shortlisted comes first", Reason{Key: "order_first", B: kind})
	}
	return refuse("order", c.State+" already: "+kind+" cannot follow", Reason{Key: "order_after", B: kind, C: c.State})
}

// expected finds the person's pathway in the scheme, at the stage where it will
// be once the case's own last decision has reached it. The pathway follows by
// events, a moment later: whoever shortlists and calls to an interview in one
// go must not be told to wait. Events of one case keep their order, so the
// pathway will take them one after the other.
func (c *Case) expected(r *Rules, s *Seeker, p *Person, scheme string) (track *Track, pathway *Pathway, pending bool) {
	track = trackIn(p, scheme)
	if track == nil {
		return nil, nil, false
	}
	i := slices.IndexFunc(s.Pathways, func(w Pathway) bool { return w.ID == track.Pathway })
	pathway = &s.Pathways[i]
	if n := len(c.Steps); n > 0 {
		if last := c.Steps[n-1]; last.To != "" && last.PathwayID == pathway.ID && last.PathwaySeq == pathway.Seq {
			ahead := *pathway
			ahead.Stage = last.To
			*track = r.track(ahead)
			return track, pathway, true
		}
	}
	return track, pathway, false
}

// enter gives the stage that a decision leads a pathway to, and says whether
// the scheme lets this role lead it there.
func (r *Rules) enter(t *Track, cmd Command) (stage string, err error) {
	scheme, _ := r.schemes.Get(t.Scheme, t.Version)
	to, _ := scheme.Decide(t.Stage, cmd.Kind, false) // the conditions have asked the same
	if to == t.Stage || cmd.Actor == access.Admin {
		return to, nil
	}
	if st, ok := scheme.Stage(to); ok && !slices.Contains(st.Actors, string(cmd.Actor)) {
		return "", api.Forbidden("%s leads to stage %s of scheme %s, which is entered by %s, not by %s",
			cmd.Kind, to, t.Scheme, strings.Join(st.Actors, ", "), cmd.Actor)
	}
	return to, nil
}

// notEligible says which conditions do not hold: their names in the detail,
// which may be logged, the reasons in the fields, which never are.
func notEligible(failed []Failure) *api.Error {
	var names []string
	var fields []api.Field
	for _, f := range failed {
		names = append(names, f.Condition)
		fields = append(fields, field(f.Condition, f.Why))
	}
	e := api.Conflict("The decision is not possible now; conditions that do not hold: %s.", strings.Join(names, ", "))
	e.Fields = fields
	return e
}

func refuse(path, detail string, why Reason) *api.Error {
	e := api.Conflict("%s", detail)
	e.Fields = []api.Field{field(path, why)}
	return e
}

func field(path string, why Reason) api.Field {
	text := why.Text()
	return api.Field{Path: path, Code: why.Key, Reason: text.FR + " | " + text.AR}
}

// seat names one seat of an offer, so that names sort as numbers do.
func seat(offer string, n int) string { return fmt.Sprintf("%s/%06d", offer, n) }

// nextSeat is the seat after one, 0 after none.
func nextSeat(name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	_, number, _ := strings.Cut(name, "/")
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0, fmt.Errorf("matching: seat %q is not <offer>/<number>", name)
	}
	return n + 1, nil
}
