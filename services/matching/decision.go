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
// decided about the two, one after the other. A case only moves forward; steps in
// between may be passed over where the pathway's scheme allows it:
//
//	shortlisted -> disclosed -> interview -> offered -> accepted -> hired
//
//	refused   from the start and after all but hired: by the candidate, the
//	          employer or the programme, with a reason of reference.Refusals
//	no_show   after interview, accepted or hired: the person did not come
//
// refused and no_show are final. What each decision does to the pathway is data:
// see the `decisions` of pkg/reference/schemes.
//
//   - disclosed: the profile is shown to the employer. It needs the person's
//     consent to that in force, and the step records it.
//   - accepted takes a post of the offer and the person's pathway. hired, after it,
//     confirms and takes nothing more; without it, hired takes both at once. So
//     from accepted or hired on the offer holds the person.
//   - refused after accepted, and no_show after accepted or hired, give the post and
//     the pathway back, in the same write.
//
// A decision is one write of this document: the step, the guards below and the
// event that tells of it, together or not at all. Two unique indexes on its
// fields make it safe to take a person, whichever replica writes and whenever one
// dies; nothing is reserved beforehand and so nothing is left behind. Another
// offer that would take the same person is refused (409) as long as the first
// holds them.
//
//   - Seat: who is taken has a numbered seat of the offer, "<offer>/000003": the
//     lowest number that is free, while fewer people hold seats than there are
//     posts for us. No two cases can have one seat. That is enough, whoever takes
//     and gives back in the meantime: of the seats that are held, look at the one
//     with the highest number n among those taken under the present number of
//     posts. When it was chosen all lower numbers were held, and n plus the seats
//     above it were fewer than the posts. Those above it now were above it then
//     (they are left from when there were more posts, and can only be given back),
//     and below it there are n numbers. So at most n, it and those above it are
//     held: never more than posts.
//   - HiredIn and Holds: who is taken has their pathway in the one, and all pathways
//     that they have open, of whatever scheme, in the other. Two offers can never
//     hold one person, even while the pathways have not followed yet: of two
//     pathways one was opened first, so whoever takes the person in the other knows
//     of it. A scheme that goes round each season has one hold for each round. A
//     hold whose own pathway has ended, or is in another round, is over; whoever
//     meets it takes it away.
type Case struct {
	OfferID     string    `bson:"offer_id"`
	CandidateID string    `bson:"candidate_id"`
	EmployerID  string    `bson:"employer_id"`
	Scheme      string    `bson:"scheme"`      // the offer's
	Governorate string    `bson:"governorate"` // the candidate's at the last decision: whose scope the case is in
	State       string    `bson:"state"`       // the kind of the last step
	PathwayID   string    `bson:"pathway_id"`  // of the last step
	Steps       []Step    `bson:"steps"`
	Seat        string    `bson:"seat,omitempty"`     // "" when the offer does not hold the person
	HiredIn     string    `bson:"hired_in,omitempty"` // see hold; "" when Seat is
	Holds       []string  `bson:"holds,omitempty"`
	Round       int       `bson:"round,omitempty"` // of the pathway, when HiredIn was taken
	Keys        []string  `bson:"keys,omitempty"`  // those of Steps
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
	// RefusedBy and Reason say of a refusal who refuses, and why as a code of
	// reference.Refusals.
	RefusedBy string `bson:"refused_by,omitempty"`
	Reason    string `bson:"reason,omitempty"`
	// HeldBy is the step by which the offer held the person when this one was
	// made, "" when it did not.
	HeldBy string `bson:"held_by,omitempty"`
	// Consent is the purpose of the consent in force, at CandidateSeq, that the
	// step rests on; "" when it needs none of its own.
	Consent string `bson:"consent,omitempty"`
	// From is the stage that the pathway was taken to be at, "" without pathway.
	From string `bson:"from,omitempty"`
	// To is the stage that the pathway is led to, "" when it is not moved by a
	// decision that ends the case. PathwaySeq is the pathway's last event that was
	// known: until another one comes, the pathway is taken to be at To.
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
	RefusedBy   string    // of a refusal
	Reason      string    // of a refusal
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
	Holders   int  // people that hold a seat of the offer
	Seat      int  // the lowest free seat of the offer
	Taken     bool // another case holds the person
	// Freed is the stage that the person's pathway is on its way to because another
	// offer has just given it back; "" when none has.
	Freed string
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
	heldBy := c.heldBy()
	track, pathway, pending := c.expected(r, b, &person)
	if heldBy != "" && (track == nil || track.Pathway != c.PathwayID) {
		track, pathway = nil, nil // the pathway that is held has ended; one opened since is not meant
	}
	step = &Step{
		ID: decisionID(b.CaseID, cmd.Kind), Kind: cmd.Kind, Actor: string(cmd.Actor), By: cmd.By,
		OccurredAt: cmd.OccurredAt, RecordedAt: cmd.Now, RefusedBy: cmd.RefusedBy, Reason: cmd.Reason, HeldBy: heldBy,
		CandidateSeq: b.Seeker.Seq, OfferSeq: b.Offer.Seq,
		Weights: r.Weights.Version, Reference: r.Reference, Key: cmd.Key, Fingerprint: cmd.Fingerprint,
	}
	if track != nil {
		step.PathwayID, step.PathwaySeq, step.From = track.Pathway, pathway.Seq, track.Stage
	} else if heldBy != "" {
		step.PathwayID = c.PathwayID
	}
	takes := (cmd.Kind == Accepted || cmd.Kind == Hired) && heldBy == ""
	ends := cmd.Kind == Refused || cmd.Kind == NoShow
	switch {
	case ends:
		// Whatever the conditions say: what is over is over.
	case heldBy != "":
		// The contract of whom the offer holds already. Offer and posts were asked
		// about when it took them; the post it filled may have closed the offer.
		if track == nil {
			return nil, false, notEligible([]Failure{{CondPathway, Reason{Key: "pathway_other"}}})
		}
	default:
		pair := Pair{
			Offer: &demand, Person: &person, Today: DayOf(cmd.OccurredAt), Kind: cmd.Kind,
			Disclose: cmd.Actor == access.Employer || cmd.Kind == Disclosed, State: c.State,
		}
		if out := Failures(&pair); len(out) > 0 {
			return nil, false, notEligible(out)
		}
	}
	if track != nil && (track.Known || !ends) {
		if step.To, err = r.enter(track, cmd, heldBy != ""); err != nil {
			return nil, false, err
		}
		moves := step.To != track.Stage
		if ends && !moves {
			step.To = ""
		}
		if (moves || !ends) && !pending && pathway.EnteredAt.After(cmd.OccurredAt.Add(tolerance)) {
			return nil, false, notEligible([]Failure{{CondPathway, Reason{Key: "stage_later", A: pathway.Stage}}})
		}
	}
	if cmd.Kind == Disclosed {
		step.Consent = ConsentDisclosure
	}
	parts := Score(r.Weights, &demand, &person.Profile, DayOf(cmd.OccurredAt))
	step.Score = parts.Total()
	for _, p := range parts {
		step.Parts = append(step.Parts, StepPart{p.Name, p.Value, p.Weight})
	}
	switch {
	case takes && b.Taken:
		return nil, false, notEligible([]Failure{{CondFree, Reason{Key: "already_hire"}}})
	case takes && b.Holders >= b.Offer.seats():
		return nil, false, notEligible([]Failure{{CondPosts, Reason{Key: "posts_left"}}})
	case takes:
		c.Seat, c.HiredIn, c.Holds, c.Round = seat(b.OfferID, b.Seat), hold(pathway), holds(b.Seeker), pathway.Round
	case ends:
		c.Seat, c.HiredIn, c.Holds = "", "", nil
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
		Shortlisted: {Disclosed, Interview, Offered, Accepted, Hired, Refused},
		Disclosed:   {Interview, Offered, Accepted, Hired, Refused},
		Interview:   {Offered, Accepted, Hired, Refused, NoShow},
		Offered:     {Accepted, Hired, Refused},
		Accepted:    {Hired, Refused, NoShow},
		Hired:       {NoShow},
	}
	if slices.Contains(allowed[c.State], kind) {
		return nil
	}
	if c.State == "" {
		return refuse("order", "nothing was decided about this person for this offer: shortlisted comes first", Reason{Key: "order_first", B: kind})
	}
	return refuse("order", c.State+" already: "+kind+" cannot follow", Reason{Key: "order_after", B: kind, C: c.State})
}

// heldBy is the step by which the offer holds the person, "" when it does not.
func (c *Case) heldBy() string {
	if c.Seat == "" {
		return ""
	}
	for i := range c.Steps {
		if s := &c.Steps[i]; s.Kind == Accepted || s.Kind == Hired {
			return s.ID
		}
	}
	return ""
}

// hold names what is taken of a pathway, in its present round.
func hold(p *Pathway) string {
	if p.Round == 0 {
		return p.ID
	}
	return p.ID + "/" + strconv.Itoa(p.Round)
}

// holds names all open pathways of a person.
func holds(s *Seeker) []string {
	var out []string
	for i := range s.Pathways {
		if s.Pathways[i].Open {
			out = append(out, hold(&s.Pathways[i]))
		}
	}
	return out
}

// over says whether the case's hold has ended by itself: its own pathway has
// ended, or is in a later round. Both are for ever, so it does not matter how old
// what is known of the person is.
func (c *Case) over(s *Seeker) bool {
	i := slices.IndexFunc(s.Pathways, func(w Pathway) bool { return w.ID == c.PathwayID })
	return i >= 0 && (!s.Pathways[i].Open || s.Pathways[i].Round > c.Round)
}

// freed is the stage that a pathway is on its way to because this case gave it
// back, "" when it did not or the pathway has followed.
func (c *Case) freed(p *Pathway) string {
	if len(c.Steps) == 0 {
		return ""
	}
	last := &c.Steps[len(c.Steps)-1]
	if last.HeldBy == "" || last.PathwayID != p.ID || last.To == "" {
		return ""
	}
	// The steps made from one state of the pathway move it one after the other.
	arrives := last.PathwaySeq
	for i := range c.Steps {
		if s := &c.Steps[i]; s.PathwaySeq == last.PathwaySeq && s.To != "" && s.To != s.From {
			arrives++
		}
	}
	if p.Seq >= arrives {
		return ""
	}
	return last.To
}

// expected finds the person's pathway in the scheme, at the stage where it will
// be once the case's own last decision has reached it. The pathway follows by
// events, a moment later: whoever shortlists and calls to an interview in one
// go must not be told to wait. Events of one case keep their order, so the
// pathway will take them one after the other.
func (c *Case) expected(r *Rules, b DecisionBasis, p *Person) (track *Track, pathway *Pathway, pending bool) {
	track = trackIn(p, b.Offer.Scheme)
	if track == nil {
		return nil, nil, false
	}
	i := slices.IndexFunc(b.Seeker.Pathways, func(w Pathway) bool { return w.ID == track.Pathway })
	pathway = &b.Seeker.Pathways[i]
	ahead := *pathway
	if n := len(c.Steps); n > 0 {
		if last := c.Steps[n-1]; last.To != "" && last.PathwayID == pathway.ID && last.PathwaySeq == pathway.Seq {
			ahead.Stage = last.To
		}
	}
	if ahead.Stage == pathway.Stage && b.Freed != "" {
		ahead.Stage = b.Freed
	}
	if ahead.Stage == pathway.Stage {
		return track, pathway, false
	}
	*track = r.track(ahead)
	return track, pathway, true
}

// enter gives the stage that a decision leads a pathway to, and says whether
// the scheme allows it there and lets this role lead it there. held says that the
// offer holds the pathway.
func (r *Rules) enter(t *Track, cmd Command, held bool) (stage string, err error) {
	scheme, ok := r.schemes.Get(t.Scheme, t.Version)
	if !ok {
		return "", notEligible([]Failure{{CondPathway, Reason{Key: "pathway_unknown", A: t.Stage, B: t.Version}}})
	}
	to, ok := scheme.Decide(t.Stage, cmd.Kind, held)
	if !ok {
		return "", notEligible([]Failure{{CondPathway, Reason{Key: "pathway_stage", A: t.Stage, B: cmd.Kind}}})
	}
	if cmd.Actor == access.Admin {
		return to, nil
	}
	if roles, ok := scheme.MayDecide(string(cmd.Actor), t.Stage, cmd.Kind, held); !ok {
		return "", api.Forbidden("in scheme %s %s is decided by %s, not by %s", t.Scheme, cmd.Kind, strings.Join(roles, ", "), cmd.Actor)
	}
	// A way back is not an entry: whoever may end the case leads it there.
	if cmd.Kind == Refused || cmd.Kind == NoShow || to == t.Stage {
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

// lowestFree is the lowest number that is not among the seats, which are sorted.
func lowestFree(seats []int) (free int) {
	for _, n := range seats {
		if n == free {
			free++
		}
	}
	return free
}

// seatNumber is the number of a seat.
func seatNumber(name string) (int, error) {
	_, number, _ := strings.Cut(name, "/")
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0, fmt.Errorf("matching: seat %q is not <offer>/<number>", name)
	}
	return n, nil
}
