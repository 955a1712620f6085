package matching

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/event"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
)

// Seeker is the document of a person: what the candidates topic says that
// matching needs. Sex and birth year come with the events and are left there.
//
// One document takes the events of several aggregates, the candidate's and each
// of their pathways'. Each has its own part of the document with its own last
// seq, and no part reads another: so events of different aggregates may come in
// any order, and repeats change nothing.
type Seeker struct {
	Seq           int64        `bson:"seq"` // last event of the candidate; 0: only pathways are known yet
	Governorate   string       `bson:"governorate"`
	Occupations   []Occupation `bson:"occupations"`
	Languages     []Language   `bson:"languages"`
	Licences      []string     `bson:"licences"`
	Competences   []string     `bson:"competences"` // OGR codes of ROME items
	AvailableFrom string       `bson:"available_from"`
	AvailableTo   string       `bson:"available_to"`
	Schemes       []string     `bson:"schemes"`
	Regions       []string     `bson:"regions"`
	Consents      []string     `bson:"consents"`
	Pathways      []Pathway    `bson:"pathways"` // by id
	Logged        bool         `bson:"logged"`   // there is a log of all changes: see Learned
	UpdatedAt     time.Time    `bson:"updated_at"`
}

// Occupation is one the person can exercise.
type Occupation struct {
	Rome   string `bson:"rome"`
	Months int32  `bson:"months"`
}

// Language is a language the person knows.
type Language struct {
	Code string `bson:"code"`
	CEFR string `bson:"cefr"`
}

// Pathway is where one pathway of a person stands.
type Pathway struct {
	ID        string    `bson:"id"`
	Seq       int64     `bson:"seq"`
	Scheme    string    `bson:"scheme"`
	Version   string    `bson:"version"`
	Stage     string    `bson:"stage"`
	EnteredAt time.Time `bson:"entered_at"` // when the stage was entered, in the world
	Open      bool      `bson:"open"`
	// Round is how many times the placement was reached: the seasons that are
	// over when the scheme lets the person be shortlisted for another.
	Round int `bson:"round,omitempty"`
}

// Offer is the document of an offer, as the employers topic last told it.
type Offer struct {
	Seq         int64            `bson:"seq"`
	EmployerID  string           `bson:"employer_id"`
	Rome        string           `bson:"rome"`
	Scheme      string           `bson:"scheme"`
	Region      string           `bson:"region"`
	Months      int32            `bson:"months"` // length of the contract, 0 when open-ended or not stated
	Posts       int32            `bson:"posts"`
	Filled      int32            `bson:"filled"` // as the employers service counts
	Experience  int32            `bson:"experience"`
	Languages   []LanguageNeed   `bson:"languages"`
	Licences    []LicenceNeed    `bson:"licences"`
	Competences []CompetenceNeed `bson:"competences"`
	StartsOn    string           `bson:"starts_on"`
	EndsOn      string           `bson:"ends_on"`
	Open        bool             `bson:"open"`
	// Counted are our decisions that Filled includes; the rest of Filled was
	// filled without us.
	Counted   []string  `bson:"counted"`
	Logged    bool      `bson:"logged"` // there is a log of all changes: see Learned
	UpdatedAt time.Time `bson:"updated_at"`
}

// LanguageNeed is a language that an offer asks for.
type LanguageNeed struct {
	Code     string `bson:"code"`
	CEFR     string `bson:"cefr"`
	Required bool   `bson:"required"`
}

// LicenceNeed is a driving licence that an offer asks for.
type LicenceNeed struct {
	Category string `bson:"category"`
	Required bool   `bson:"required"`
}

// CompetenceNeed is a competence that an offer asks for.
type CompetenceNeed struct {
	Code     string `bson:"code"` // OGR code of the ROME item
	Required bool   `bson:"required"`
}

// Employer is the document of an employer.
type Employer struct {
	Seq       int64     `bson:"seq"`
	Suspended bool      `bson:"suspended"`
	Logged    bool      `bson:"logged"` // there is a log of all changes: see Learned
	UpdatedAt time.Time `bson:"updated_at"`
}

// ErrUnusable is wrapped by the error of an event that matching can never
// apply.
var ErrUnusable = errors.New("the event cannot be applied")

func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnusable, fmt.Sprintf(format, args...))
}

// about says what an event is about.
type about int

const (
	aboutNothing about = iota // nothing that matching learns from
	aboutPerson
	aboutOffer
	aboutEmployer
)

func kindOf(e event.Event) about {
	switch e.Data.(type) {
	case *candidatesv1.CandidateRegistered, *candidatesv1.CandidateUpdated, *candidatesv1.PathwayOpened,
		*candidatesv1.StageEntered, *candidatesv1.PathwayExited, *candidatesv1.PathwayCompleted,
		*candidatesv1.EntryCorrected, *candidatesv1.EntryRetracted:
		return aboutPerson
	case *employersv1.OfferOpened, *employersv1.OfferUpdated, *employersv1.PostFilled,
		*employersv1.PostReleased, *employersv1.OfferClosed:
		return aboutOffer
	case *employersv1.EmployerRegistered, *employersv1.EmployerUpdated:
		return aboutEmployer
	}
	return aboutNothing
}

// person says which seeker's document an event changes.
func person(e event.Event) (string, error) {
	id := e.Subject
	switch data := e.Data.(type) {
	case *candidatesv1.PathwayOpened:
		id = data.GetCandidateId()
	case *candidatesv1.StageEntered:
		id = data.GetCandidateId()
	case *candidatesv1.PathwayExited:
		id = data.GetCandidateId()
	case *candidatesv1.PathwayCompleted:
		id = data.GetCandidateId()
	case *candidatesv1.EntryCorrected:
		id = data.GetNow().GetCandidateId()
	case *candidatesv1.EntryRetracted:
		id = data.GetNow().GetCandidateId()
	}
	// Pseudonyms are made from the 16 bytes of a ULID.
	if parsed, err := ulid.ParseStrict(id); err != nil || parsed.String() != id {
		return "", unusable("the candidate's id is not a ULID")
	}
	return id, nil
}

// apply folds an event of the candidates topic. It reports whether anything
// changed: a repeat changes nothing.
func (s *Seeker) apply(e event.Event) bool {
	switch data := e.Data.(type) {
	case *candidatesv1.CandidateRegistered:
		return s.profile(e.Seq, data.GetProfile())
	case *candidatesv1.CandidateUpdated:
		return s.profile(e.Seq, data.GetProfile())
	case *candidatesv1.PathwayOpened:
		return s.pathway(Pathway{e.Subject, e.Seq, data.GetScheme(), data.GetSchemeVersion(), data.GetStage(), e.OccurredAt, true, 0})
	case *candidatesv1.StageEntered:
		placed := 0
		if data.GetPlacement() {
			placed = 1
		}
		return s.pathway(Pathway{e.Subject, e.Seq, data.GetScheme(), data.GetSchemeVersion(), data.GetTo(), e.OccurredAt, true, placed})
	case *candidatesv1.PathwayExited:
		return s.pathway(Pathway{e.Subject, e.Seq, data.GetScheme(), data.GetSchemeVersion(), data.GetStage(), e.OccurredAt, false, 0})
	case *candidatesv1.PathwayCompleted:
		return s.pathway(Pathway{e.Subject, e.Seq, data.GetScheme(), data.GetSchemeVersion(), data.GetStage(), e.OccurredAt, false, 0})
	case *candidatesv1.EntryCorrected:
		return s.pathway(standing(e, data.GetNow(), 0))
	case *candidatesv1.EntryRetracted:
		placed := 0
		if data.GetPlacement() {
			placed = -1
		}
		return s.pathway(standing(e, data.GetNow(), placed))
	}
	return false
}

// standing is where a pathway stands after something was put right.
func standing(e event.Event, now *candidatesv1.PathwayState, placed int) Pathway {
	entered, err := time.Parse(time.RFC3339Nano, now.GetStageEnteredAt())
	if err != nil {
		entered = e.OccurredAt
	}
	return Pathway{e.Subject, e.Seq, now.GetScheme(), now.GetSchemeVersion(), now.GetStage(), entered.UTC(), now.GetOpen(), placed}
}

func (s *Seeker) profile(seq int64, p *candidatesv1.Profile) bool {
	if seq <= s.Seq {
		return false
	}
	s.Seq = seq
	s.Governorate = p.GetGovernorate()
	s.Occupations, s.Languages = nil, nil
	for _, o := range p.GetOccupations() {
		s.Occupations = append(s.Occupations, Occupation{o.GetRome(), o.GetExperienceMonths()})
	}
	for _, l := range p.GetLanguages() {
		s.Languages = append(s.Languages, Language{l.GetCode(), l.GetCefr()})
	}
	s.Licences = slices.Clone(p.GetLicences())
	s.Competences = slices.Clone(p.GetCompetences())
	s.AvailableFrom, s.AvailableTo = p.GetAvailableFrom(), p.GetAvailableTo()
	s.Schemes, s.Regions = slices.Clone(p.GetSchemes()), slices.Clone(p.GetRegions())
	s.Consents = slices.Clone(p.GetConsents())
	return true
}

// pathway puts a pathway as its event left it; p.Round is what the event adds.
func (s *Seeker) pathway(p Pathway) bool {
	i, found := slices.BinarySearchFunc(s.Pathways, p.ID, func(have Pathway, id string) int { return cmp.Compare(have.ID, id) })
	switch {
	case !found:
		s.Pathways = slices.Insert(s.Pathways, i, p)
	case p.Seq <= s.Pathways[i].Seq:
		return false
	default:
		p.Round = max(0, p.Round+s.Pathways[i].Round)
		s.Pathways[i] = p
	}
	return true
}

// apply folds an event of an offer; every one carries the whole terms.
func (o *Offer) apply(e event.Event) bool {
	if e.Seq <= o.Seq {
		return false
	}
	switch data := e.Data.(type) {
	case *employersv1.OfferOpened:
		o.terms(data.GetTerms())
		o.Open = true
	case *employersv1.OfferUpdated:
		o.terms(data.GetTerms())
		if o.Seq == 0 { // the topic no longer holds its opening
			o.Open = true
		}
	case *employersv1.PostFilled:
		o.terms(data.GetTerms())
		if o.Seq == 0 {
			o.Open = true
		}
		if id := data.GetDecisionId(); id != "" && !slices.Contains(o.Counted, id) {
			o.Counted = append(o.Counted, id)
		}
	case *employersv1.PostReleased:
		o.terms(data.GetTerms())
		o.Open = true // when it is closed, that follows
		o.Counted = slices.DeleteFunc(o.Counted, func(id string) bool { return id == data.GetDecisionId() })
	case *employersv1.OfferClosed:
		o.terms(data.GetTerms())
		o.Open = false
	default:
		return false
	}
	o.Seq = e.Seq
	return true
}

func (o *Offer) terms(t *employersv1.Terms) {
	o.EmployerID, o.Rome, o.Scheme, o.Region = t.GetEmployerId(), t.GetRome(), t.GetScheme(), t.GetRegion()
	o.Months, o.Posts, o.Filled = t.GetContractMonths(), t.GetPosts(), t.GetPostsFilled()
	o.Experience, o.StartsOn, o.EndsOn = t.GetExperienceMonths(), t.GetStartsOn(), t.GetEndsOn()
	o.Languages, o.Licences, o.Competences = nil, nil, nil
	for _, l := range t.GetLanguages() {
		o.Languages = append(o.Languages, LanguageNeed{l.GetCode(), l.GetCefr(), l.GetRequired()})
	}
	for _, l := range t.GetLicences() {
		o.Licences = append(o.Licences, LicenceNeed{l.GetCategory(), l.GetRequired()})
	}
	for _, c := range t.GetCompetences() {
		o.Competences = append(o.Competences, CompetenceNeed{c.GetCode(), c.GetRequired()})
	}
}

// seats is how many people may be hired through decisions in all: the posts,
// less those that were filled without us.
func (o *Offer) seats() int {
	return int(o.Posts) - max(0, int(o.Filled)-len(o.Counted))
}

// apply folds an event of an employer.
func (m *Employer) apply(e event.Event) bool {
	if e.Seq <= m.Seq {
		return false
	}
	switch data := e.Data.(type) {
	case *employersv1.EmployerRegistered:
		m.Suspended = data.GetStatus() == suspended
	case *employersv1.EmployerUpdated:
		m.Suspended = data.GetStatus() == suspended
	default:
		return false
	}
	m.Seq = e.Seq
	return true
}

const suspended = "suspended"
