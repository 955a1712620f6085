package matching

import (
	"slices"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
)

// Endpoints are the use cases as typed go-kit endpoints; transports are built
// on them.
type Endpoints struct {
	Candidates api.Endpoint[CandidatesRequest, CandidatesAnswer]
	Offers     api.Endpoint[OffersRequest, OffersAnswer]
	Pair       api.Endpoint[PairRequest, PairAnswer]
	Decide     api.Endpoint[DecideRequest, Decision]
	Decisions  api.Endpoint[DecisionsRequest, api.Page[CaseView]]
	Refusals   api.Endpoint[RefusalsRequest, RefusalList]
	Shortlist  api.Endpoint[ShortlistRequest, ShortlistView]
	Replay     api.Endpoint[ShortlistRequest, ReplayAnswer]
	Learn      api.Endpoint[event.Event, struct{}]
}

// NewEndpoints makes the endpoints of a service.
func NewEndpoints(s Service) Endpoints {
	return Endpoints{
		Candidates: s.Candidates, Offers: s.Offers, Pair: s.Pair, Decide: s.Decide, Decisions: s.Decisions, Refusals: refusals,
		Shortlist: s.Shortlist, Replay: s.Replay, Learn: s.Learn,
	}
}

// maxSeed bounds a seed that is asked for, in bytes.
const maxSeed = 128

// CandidatesRequest asks for the best candidates of an offer.
type CandidatesRequest struct {
	OfferID string `path:"id"`
	K       int    `query:"k" default:"20" min:"1" max:"200"`
	// Seed repeats the order of equals of an earlier answer; by default it is the
	// offer's id and the day.
	Seed string `query:"seed"`
}

// Validate implements api.Validator.
func (r *CandidatesRequest) Validate() error { return checkSeed(r.Seed) }

// OffersRequest asks for the best offers of a candidate.
type OffersRequest struct {
	CandidateID string `path:"id"`
	K           int    `query:"k" default:"20" min:"1" max:"200"`
	Seed        string `query:"seed"`
}

// Validate implements api.Validator.
func (r *OffersRequest) Validate() error { return checkSeed(r.Seed) }

// PairRequest asks about one candidate for one offer.
type PairRequest struct {
	OfferID     string `path:"id"`
	CandidateID string `path:"candidate"` // for an employer: the id that its shortlist shows
}

func checkSeed(seed string) error {
	if len(seed) > maxSeed {
		return api.Invalid(api.Field{Path: "query.seed", Code: "length", Reason: "the seed of an earlier answer expected"})
	}
	return nil
}

// DecideRequest is a decision to be recorded.
type DecideRequest struct {
	OfferID     string    `json:"offer_id"`
	CandidateID string    `json:"candidate_id"` // for an employer: the id that its shortlist shows
	Kind        string    `json:"kind"`
	OccurredAt  time.Time `json:"occurred_at"` // default: now
	// By says who refuses: candidate, employer or programme. Default: employer when
	// an employer asks, programme otherwise. Only for a refusal, as Reason is.
	By string `json:"by"`
	// Reason is a code of reference.Refusals for By. Default: not given.
	Reason string `json:"reason"`
}

// Validate implements api.Validator.
func (r *DecideRequest) Validate() error {
	var fields []api.Field
	if r.OfferID == "" {
		fields = append(fields, api.Field{Path: "offer_id", Code: "required", Reason: "say which offer it is about"})
	}
	if r.CandidateID == "" {
		fields = append(fields, api.Field{Path: "candidate_id", Code: "required", Reason: "say whom it is about"})
	}
	if !slices.Contains(Kinds, r.Kind) {
		fields = append(fields, api.Field{Path: "kind", Code: "unknown", Reason: "one of " + strings.Join(Kinds, ", ")})
	}
	if r.Kind != Refused {
		if r.By != "" {
			fields = append(fields, api.Field{Path: "by", Code: "refused_only", Reason: "only a refusal says by whom; who decides is in the token"})
		}
		if r.Reason != "" {
			fields = append(fields, api.Field{Path: "reason", Code: "refused_only", Reason: "only a refusal has a reason"})
		}
	}
	if len(fields) > 0 {
		return api.Invalid(fields...)
	}
	return nil
}

// refusal completes and checks who refuses and why. An employer speaks for itself
// alone.
func (r *DecideRequest) refusal(role access.Role) (by, reason string, err error) {
	by, reason = r.By, r.Reason
	if by == "" && role == access.Employer {
		by = reference.ByEmployer
	} else if by == "" {
		by = reference.ByProgramme
	}
	if reason == "" {
		reason = reference.RefusalUnspecified
	}
	allowed := reference.RefusalBy()
	if role == access.Employer {
		allowed = []string{reference.ByEmployer}
	}
	if !slices.Contains(allowed, by) {
		return "", "", api.Invalid(api.Field{Path: "by", Code: "unknown", Reason: "one of " + strings.Join(allowed, ", ")})
	}
	if _, ok := reference.RefusalOf(by, reason); !ok {
		return "", "", api.Invalid(api.Field{Path: "reason", Code: "unknown", Reason: "one of " + strings.Join(reference.RefusalCodes(by), ", ")})
	}
	return by, reason, nil
}

// DecisionsRequest lists cases, newest first: of an offer, of a candidate, or
// all.
type DecisionsRequest struct {
	api.Paging
	Offer     string `query:"offer"`
	Candidate string `query:"candidate"`
}

// CandidatesAnswer is the shortlist of an offer, with what it was made from:
// asked again with the same seed, over documents of the same seqs and on the
// same day, it is the same.
type CandidatesAnswer struct {
	OfferID string `json:"offer_id"`
	AnswerBasis
	Considered int          `json:"considered"`   // candidates in the scope of who asks
	Eligible   int          `json:"eligible"`     // of them, those that meet every condition
	Out        []OutView    `json:"filtered_out"` // the others, by the first condition that fails
	Candidates []MatchedOne `json:"candidates"`
}

// AnswerBasis is what an answer was made from.
type AnswerBasis struct {
	// ShortlistID names this very answer: what it was made from is kept, and it can
	// be made again.
	ShortlistID string `json:"shortlist_id"`

	Seq       int64  `json:"seq"`               // last event of whom or what was asked about
	AsOf      string `json:"as_of"`             // the day that availability is judged on
	Weights   string `json:"weights_version"`   // of the weights
	Reference string `json:"reference_version"` // of the list of occupations
	Seed      string `json:"seed"`              // orders equal scores
}

// OutView says how many do not meet a condition.
type OutView struct {
	Condition string `json:"condition"`
	LabelFR   string `json:"label_fr"`
	LabelAR   string `json:"label_ar"`
	Count     int    `json:"count"`
	// Details say of how many what exactly is missing, the most first; only where
	// that can be told apart.
	Details []OutDetail `json:"details,omitempty"`
}

// OutDetail says how many miss the same thing.
type OutDetail struct {
	Code     string `json:"code"`
	About    string `json:"about,omitempty"`    // language, licence or scheme
	Required string `json:"required,omitempty"` // level or day
	Has      string `json:"has,omitempty"`      // level, or stage of the pathway
	Count    int    `json:"count"`
	ReasonFR string `json:"reason_fr"`
	ReasonAR string `json:"reason_ar"`
}

// MatchedOne is one candidate of a shortlist.
type MatchedOne struct {
	Rank        int    `json:"rank"`
	CandidateID string `json:"candidate_id"`
	Seq         int64  `json:"seq"`
	Scored
	Decision string `json:"decision,omitempty"` // what was decided already
}

// Scored is a score and what it is made of.
type Scored struct {
	Score int32      `json:"score"` // thousandths
	Parts []PartView `json:"parts"`
}

// PartView is one part of a score.
type PartView struct {
	Name     string `json:"name"`
	LabelFR  string `json:"label_fr"`
	LabelAR  string `json:"label_ar"`
	Value    int32  `json:"value"`  // thousandths
	Weight   int32  `json:"weight"` // thousandths of the score
	ReasonFR string `json:"reason_fr"`
	ReasonAR string `json:"reason_ar"`
}

// OffersAnswer is the offers that fit a candidate, and those that nearly do.
type OffersAnswer struct {
	CandidateID string `json:"candidate_id"`
	AnswerBasis
	Considered int            `json:"considered"` // open offers in the scope of who asks
	Eligible   int            `json:"eligible"`
	Out        []OutView      `json:"filtered_out"`
	Offers     []MatchedOffer `json:"offers"`
	NearMisses []MatchedOffer `json:"near_misses"` // with a fitting occupation, the fewest failures first
}

// MatchedOffer is one offer for a candidate.
type MatchedOffer struct {
	Rank    int    `json:"rank"`
	OfferID string `json:"offer_id"`
	Seq     int64  `json:"seq"`
	Scored
	Decision string       `json:"decision,omitempty"`
	Failed   []FailedView `json:"failed,omitempty"`
	Changes  []ChangeView `json:"changes,omitempty"` // the fewest after which the candidate would fit
}

// ChangeView is one thing that would have to be otherwise.
type ChangeView struct {
	Condition string `json:"condition"`
	LabelFR   string `json:"label_fr"`
	LabelAR   string `json:"label_ar"`
	About     string `json:"about,omitempty"` // language, licence, scheme, occupation
	From      string `json:"from,omitempty"`  // level, code or day; absent: none
	To        string `json:"to,omitempty"`
	By        string `json:"by,omitempty"` // candidate, employer or programme can change it; absent: nobody
	TextFR    string `json:"text_fr"`
	TextAR    string `json:"text_ar"`
}

// PairAnswer says whether one candidate fits one offer.
type PairAnswer struct {
	OfferID     string `json:"offer_id"`
	CandidateID string `json:"candidate_id"`
	OfferSeq    int64  `json:"offer_seq"` // last event of each that was seen
	Seq         int64  `json:"seq"`
	AsOf        string `json:"as_of"` // the day that availability is judged on
	Weights     string `json:"weights_version"`
	Reference   string `json:"reference_version"`
	Eligible    bool   `json:"eligible"` // every condition holds
	Scored
	Decision string       `json:"decision,omitempty"`
	Failed   []FailedView `json:"failed,omitempty"`
	// Changes are the fewest after which the candidate would fit; Possible says
	// that each is in the hands of the candidate, the employer or the programme.
	Changes  []ChangeView `json:"changes,omitempty"`
	Possible bool         `json:"possible"`
}

// FailedView is a condition that does not hold.
type FailedView struct {
	Condition string `json:"condition"`
	LabelFR   string `json:"label_fr"`
	LabelAR   string `json:"label_ar"`
	Code      string `json:"code"`
	ReasonFR  string `json:"reason_fr"`
	ReasonAR  string `json:"reason_ar"`
}

// Decision is one recorded decision.
type Decision struct {
	ID          string `json:"decision_id"`
	CaseID      string `json:"case_id"`
	OfferID     string `json:"offer_id"`
	CandidateID string `json:"candidate_id"`
	PathwayID   string `json:"pathway_id,omitempty"`
	Kind        string `json:"kind"`
	LabelFR     string `json:"label_fr"`
	LabelAR     string `json:"label_ar"`
	Actor       string `json:"actor"`
	// By says of a refusal who refuses, Reason why.
	By       string `json:"by,omitempty"`
	Reason   string `json:"reason,omitempty"`
	ReasonFR string `json:"reason_fr,omitempty"`
	ReasonAR string `json:"reason_ar,omitempty"`
	// Consent is the purpose of the consent that the decision rests on.
	Consent string `json:"consent,omitempty"`
	// Stage is where the pathway is led to; it follows a moment later.
	Stage        string      `json:"stage,omitempty"`
	OccurredAt   time.Time   `json:"occurred_at"`
	RecordedAt   time.Time   `json:"recorded_at"`
	Score        int32       `json:"score"`
	Parts        []PlainPart `json:"parts"`
	Weights      string      `json:"weights_version"`
	Reference    string      `json:"reference_version"`
	CandidateSeq int64       `json:"candidate_seq"`
	OfferSeq     int64       `json:"offer_seq"`

	status int
}

// PlainPart is one part of a score as it was recorded.
type PlainPart struct {
	Name   string `json:"name"`
	Value  int32  `json:"value"`
	Weight int32  `json:"weight"`
}

// Status is 201: a decision that was recorded before gets the answer that it
// got then.
func (d Decision) Status() int { return d.status }

// CaseView is a case with its decisions, first to last.
type CaseView struct {
	ID          string     `json:"case_id"`
	OfferID     string     `json:"offer_id"`
	CandidateID string     `json:"candidate_id"`
	PathwayID   string     `json:"pathway_id,omitempty"`
	Scheme      string     `json:"scheme,omitempty"`
	Kind        string     `json:"kind"` // of the last decision
	LabelFR     string     `json:"label_fr"`
	LabelAR     string     `json:"label_ar"`
	OccurredAt  time.Time  `json:"occurred_at"` // of the last decision
	CreatedAt   time.Time  `json:"created_at"`
	Decisions   []Decision `json:"decisions"`
}

func scored(m *Match) Scored {
	s := Scored{Score: m.Score}
	for _, p := range m.Parts {
		if p.Weight == 0 { // not a part in this version of the weights
			continue
		}
		label, why := Label(p.Name), p.Why.Text()
		s.Parts = append(s.Parts, PartView{p.Name, label.FR, label.AR, p.Value, p.Weight, why.FR, why.AR})
	}
	return s
}

func failedViews(failed []Failure) []FailedView {
	var out []FailedView
	for _, f := range failed {
		label, why := Label(f.Condition), f.Why.Text()
		out = append(out, FailedView{f.Condition, label.FR, label.AR, f.Why.Key, why.FR, why.AR})
	}
	return out
}

func changeViews(changes []Change) []ChangeView {
	var out []ChangeView
	for _, c := range changes {
		label, why := Label(c.Condition), c.Why.Text()
		out = append(out, ChangeView{c.Condition, label.FR, label.AR, c.About, c.From, c.To, c.By, why.FR, why.AR})
	}
	return out
}

// possible says whether somebody can make every change.
func possible(changes []Change) bool {
	return !slices.ContainsFunc(changes, func(c Change) bool { return c.By == "" })
}

func outViews(counts map[string]int, details []Detail) []OutView {
	out := []OutView{}
	for _, c := range Conditions {
		n := counts[c.Name]
		if n == 0 {
			continue
		}
		label := Label(c.Name)
		v := OutView{Condition: c.Name, LabelFR: label.FR, LabelAR: label.AR, Count: n}
		for _, d := range details {
			if d.Condition == c.Name {
				v.Details = append(v.Details, d.view())
			}
		}
		out = append(out, v)
	}
	return out
}

func (d *Detail) view() OutDetail {
	why := d.Why.Text()
	v := OutDetail{Code: d.Why.Key, Count: d.Count, ReasonFR: why.FR, ReasonAR: why.AR}
	switch d.Condition {
	case CondLanguage:
		v.About, v.Required, v.Has = d.Why.A, d.Why.B, d.Why.C
	case CondPathway:
		if d.Why.Key == "pathway_none" {
			v.About = d.Why.A
		} else {
			v.Has = d.Why.A
		}
	case CondLicence:
		v.About = d.Why.A
	case CondDates:
		v.Required = d.Why.To.String()
	}
	return v
}

// look is how an asker sees people and their decisions.
type look struct {
	mask func(candidate string) string // nil: sees everything
}

// candidate gives the id under which the asker knows a candidate.
func (l look) candidate(id string) string {
	if l.mask == nil {
		return id
	}
	return l.mask(id)
}

// pathway gives a pathway's id, but not to those who see pseudonyms: it is the
// same for everybody and would tie them together.
func (l look) pathway(id string) string {
	if l.mask == nil {
		return id
	}
	return ""
}

// decision shows a step of a case.
func (l look) decision(caseID, offer, candidate string, s *Step) Decision {
	label := Label(s.Kind)
	d := Decision{
		ID: s.ID, CaseID: caseID, OfferID: offer, CandidateID: l.candidate(candidate), PathwayID: l.pathway(s.PathwayID),
		Kind: s.Kind, LabelFR: label.FR, LabelAR: label.AR, Actor: s.Actor, Stage: s.To,
		OccurredAt: s.OccurredAt.UTC(), RecordedAt: s.RecordedAt.UTC(), Score: s.Score, Parts: []PlainPart{},
		Weights: s.Weights, Reference: s.Reference, CandidateSeq: s.CandidateSeq, OfferSeq: s.OfferSeq,
	}
	for _, p := range s.Parts {
		d.Parts = append(d.Parts, PlainPart(p))
	}
	d.By, d.Reason, d.Consent = s.RefusedBy, s.Reason, s.Consent
	if r, ok := reference.RefusalOf(s.RefusedBy, s.Reason); ok {
		d.ReasonFR, d.ReasonAR = r.LabelFR, r.LabelAR
	}
	return d
}

// view shows a case.
func (l look) view(id string, c *Case) CaseView {
	label := Label(c.State)
	v := CaseView{
		ID: id, OfferID: c.OfferID, CandidateID: l.candidate(c.CandidateID), PathwayID: l.pathway(c.PathwayID), Scheme: c.Scheme,
		Kind: c.State, LabelFR: label.FR, LabelAR: label.AR, CreatedAt: c.CreatedAt.UTC(), Decisions: []Decision{},
	}
	for i := range c.Steps {
		v.Decisions = append(v.Decisions, l.decision(id, c.OfferID, c.CandidateID, &c.Steps[i]))
		v.OccurredAt = c.Steps[i].OccurredAt.UTC()
	}
	return v
}
