package indicators

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
	matchingv1 "masar.local/proto/masar/matching/v1"
	notificationsv1 "masar.local/proto/masar/notifications/v1"
)

// Kind says what happened.
type Kind string

// The kinds of facts, one for each event type.
const (
	CandidateRegistered Kind = "candidate_registered"
	CandidateUpdated    Kind = "candidate_updated"
	PathwayOpened       Kind = "pathway_opened"
	StageEntered        Kind = "stage_entered"
	PathwayExited       Kind = "pathway_exited"
	PathwayCompleted    Kind = "pathway_completed"
	EmployerRegistered  Kind = "employer_registered"
	EmployerUpdated     Kind = "employer_updated"
	OfferOpened         Kind = "offer_opened"
	OfferUpdated        Kind = "offer_updated"
	PostFilled          Kind = "post_filled"
	OfferClosed         Kind = "offer_closed"
	DecisionRecorded    Kind = "decision_recorded"
	MessageSent         Kind = "message_sent"
	MessageFailed       Kind = "message_failed"
)

// source is one topic and the kinds of facts that come from it.
type source struct {
	Topic string
	Kinds []Kind
}

// sources are the topics that are folded.
var sources = []source{
	{event.TopicCandidates, []Kind{CandidateRegistered, CandidateUpdated, PathwayOpened, StageEntered, PathwayExited, PathwayCompleted}},
	{event.TopicEmployers, []Kind{EmployerRegistered, EmployerUpdated, OfferOpened, OfferUpdated, PostFilled, OfferClosed}},
	{event.TopicMatching, []Kind{DecisionRecorded}},
	{event.TopicNotifications, []Kind{MessageSent, MessageFailed}},
}

// kinds lists every kind.
func kinds() (all []Kind) {
	for _, s := range sources {
		all = append(all, s.Kinds...)
	}
	return all
}

// Names of a fact's numbers.
const (
	Posts       = "posts"        // posts of the offer
	PostsFilled = "posts_filled" // of them, filled
	PostsOpen   = "posts_open"   // of them, still to be filled, never below 0
	StaySeconds = "stay_seconds" // time spent in the stage that was left
)

// numbers lists them.
var numbers = []string{Posts, PostsFilled, PostsOpen, StaySeconds}

// Fact is one event, reduced to what figures need. It never changes once it is
// stored: a correction is another fact of the same subject with a higher Seq.
type Fact struct {
	ID      string `bson:"-" json:"id"` // the event's id, also the document's
	Kind    Kind   `bson:"kind" json:"kind"`
	Subject string `bson:"subject" json:"subject"`                   // the aggregate's id
	Person  string `bson:"person,omitempty" json:"person,omitempty"` // the candidate's id, pseudonymous; "" when the fact is about nobody
	Offer   string `bson:"offer,omitempty" json:"offer,omitempty"`   // the offer's id, where there is one
	Seq     int64  `bson:"seq,omitempty" json:"seq,omitempty"`       // the event's place within the subject, from 1; 0: not said
	// OccurredAt is when it happened in the world, RecordedAt when Masar learned
	// of it. Both are UTC, to the millisecond, as the documents keep them.
	OccurredAt time.Time `bson:"occurred_at" json:"occurred_at"`
	RecordedAt time.Time `bson:"recorded_at" json:"recorded_at"`
	// StoredAt is when the fact entered the store, by the clock of the replica
	// that wrote it: how the other replicas find it.
	StoredAt time.Time `bson:"stored_at" json:"-"`
	// Codes are the raw codes of the event by name (see Dimensions); Numbers its
	// quantities. What the event did not say is absent.
	Codes   map[string]string `bson:"codes,omitempty" json:"codes,omitempty"`
	Numbers map[string]int64  `bson:"numbers,omitempty" json:"numbers,omitempty"`
}

// ErrNotAFact is wrapped by every error of NewFact: the event can never be
// counted, however often it is tried.
var ErrNotAFact = errors.New("the event cannot be counted")

// Years in which facts may have happened. Anything else is a mistyped date; a
// bound keeps one such date from stretching every series over centuries.
const (
	firstYear = 2000
	lastYear  = 2100
)

// NewFact reduces an event to its fact.
func NewFact(e event.Event, schemes reference.SchemeSet) (Fact, error) {
	f := Fact{
		ID: e.ID, Subject: e.Subject, Seq: e.Seq,
		OccurredAt: e.OccurredAt.UTC().Truncate(time.Millisecond),
		RecordedAt: e.RecordedAt.UTC().Truncate(time.Millisecond),
		Codes:      map[string]string{}, Numbers: map[string]int64{},
	}
	if y := f.OccurredAt.Year(); y < firstYear || y >= lastYear {
		return Fact{}, fmt.Errorf("%w: it occurred in the year %d, want %d to %d", ErrNotAFact, y, firstYear, lastYear-1)
	}
	switch d := e.Data.(type) {
	case *candidatesv1.CandidateRegistered:
		f.Kind, f.Person = CandidateRegistered, e.Subject
		f.profile(d.GetProfile())
	case *candidatesv1.CandidateUpdated:
		f.Kind, f.Person = CandidateUpdated, e.Subject
		f.profile(d.GetProfile())
	case *candidatesv1.PathwayOpened:
		f.Kind, f.Person = PathwayOpened, d.GetCandidateId()
		f.pathway(d, schemes)
		f.set("stage", d.GetStage())
	case *candidatesv1.StageEntered:
		f.Kind, f.Person, f.Offer = StageEntered, d.GetCandidateId(), d.GetOfferId()
		f.pathway(d, schemes)
		f.set("from_stage", d.GetFrom())
		f.set("stage", d.GetTo())
		f.set("actor", d.GetActor())
		f.set("reason", d.GetReason())
		f.set("placement", "no")
		if d.GetPlacement() {
			f.set("placement", "yes")
		}
		f.stay(d.GetFromEnteredAt(), e.OccurredAt)
	case *candidatesv1.PathwayExited:
		f.Kind, f.Person, f.Offer = PathwayExited, d.GetCandidateId(), d.GetOfferId()
		f.pathway(d, schemes)
		f.set("from_stage", d.GetStage())
		f.set("stage", d.GetStage())
		f.set("exit", d.GetExit())
		f.set("actor", d.GetActor())
		f.stay(d.GetStageEnteredAt(), e.OccurredAt)
	case *candidatesv1.PathwayCompleted:
		f.Kind, f.Person = PathwayCompleted, d.GetCandidateId()
		f.pathway(d, schemes)
		f.set("from_stage", d.GetStage())
		f.set("stage", d.GetStage())
		f.stay(d.GetStageEnteredAt(), e.OccurredAt)
	case *employersv1.EmployerRegistered:
		f.Kind = EmployerRegistered
		f.set("status", d.GetStatus())
	case *employersv1.EmployerUpdated:
		f.Kind = EmployerUpdated
		f.set("status", d.GetStatus())
	case *employersv1.OfferOpened:
		f.Kind = OfferOpened
		f.terms(d.GetTerms())
	case *employersv1.OfferUpdated:
		f.Kind = OfferUpdated
		f.terms(d.GetTerms())
	case *employersv1.PostFilled:
		f.Kind = PostFilled
		f.terms(d.GetTerms())
	case *employersv1.OfferClosed:
		f.Kind = OfferClosed
		f.terms(d.GetTerms())
		f.set("reason", d.GetReason())
	case *matchingv1.DecisionRecorded:
		f.Kind, f.Person, f.Offer = DecisionRecorded, d.GetCandidateId(), d.GetOfferId()
		f.set("decision", d.GetKind())
		f.set("actor", d.GetActor())
	case *notificationsv1.MessageSent:
		f.Kind, f.Person = MessageSent, d.GetCandidateId()
		f.message(d)
	case *notificationsv1.MessageFailed:
		f.Kind, f.Person = MessageFailed, d.GetCandidateId()
		f.message(d)
		f.set("reason", d.GetReason())
	default:
		return Fact{}, fmt.Errorf("%w: type %s is not one that is folded", ErrNotAFact, e.Type)
	}
	if f.Person == "" && f.aboutSomebody() {
		return Fact{}, fmt.Errorf("%w: a %s names no candidate", ErrNotAFact, f.Kind)
	}
	if len(f.Person) > maxID || len(f.Offer) > maxID {
		return Fact{}, fmt.Errorf("%w: an id of a %s is longer than %d bytes", ErrNotAFact, f.Kind, maxID)
	}
	return f, nil
}

// maxID is the longest id that a fact takes, in bytes; ours have 26.
const maxID = 512

func (f *Fact) aboutSomebody() bool {
	switch f.Kind {
	case EmployerRegistered, EmployerUpdated, OfferOpened, OfferUpdated, PostFilled, OfferClosed:
		return false
	}
	return true
}

// set keeps a code. What does not look like a code is counted as Other and
// never stored: it might be free text, and free text may be personal.
func (f *Fact) set(name, code string) {
	if code == "" {
		return
	}
	if !codeLike(code) {
		code = Other
	}
	f.Codes[name] = code
}

// codeLike says whether s has the form of a code: up to 40 letters, digits and
// a few signs, beginning with a letter or a digit.
func codeLike(s string) bool {
	const most = 40
	if len(s) > most {
		return false
	}
	for i, r := range s {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || i > 0 && strings.ContainsRune("_-.+/", r) {
			continue
		}
		return false
	}
	return true
}

func (f *Fact) profile(p *candidatesv1.Profile) {
	f.person(p.GetSex(), p.GetGovernorate(), p.GetBirthYear())
}

func (f *Fact) person(sex, governorate string, birthYear int32) {
	f.set("sex", sex)
	f.set("governorate", governorate)
	f.set("age", ageGroup(f.OccurredAt, birthYear))
}

// pathwayEvent is what the events of a pathway have in common.
type pathwayEvent interface {
	GetScheme() string
	GetSchemeVersion() string
	GetPerson() *candidatesv1.Person
}

func (f *Fact) pathway(d pathwayEvent, schemes reference.SchemeSet) {
	f.set("scheme", d.GetScheme())
	f.set("scheme_version", d.GetSchemeVersion())
	p := d.GetPerson()
	f.person(p.GetSex(), p.GetGovernorate(), p.GetBirthYear())
	// The sector is the scheme's own; a version that this program does not know
	// yet is in the same sector as the present one.
	scheme, ok := schemes.Get(d.GetScheme(), d.GetSchemeVersion())
	if !ok {
		scheme, ok = schemes.Current(d.GetScheme(), f.OccurredAt)
	}
	if ok {
		f.set("sector", scheme.Sector)
	}
}

// stay keeps how long the stage that is left here was held. An entry that is
// unknown, or later than the leaving (a date was corrected in between), gives no
// stay: a wrong duration is worse than none.
func (f *Fact) stay(enteredAt string, left time.Time) {
	entered, err := time.Parse(time.RFC3339Nano, enteredAt)
	if err != nil || entered.After(left) || entered.Year() < firstYear {
		return
	}
	f.Numbers[StaySeconds] = int64(left.Sub(entered) / time.Second)
}

func (f *Fact) terms(t *employersv1.Terms) {
	f.set("scheme", t.GetScheme())
	f.set("sector", t.GetSector())
	f.set("region", t.GetRegion())
	f.set("rome", t.GetRome())
	f.set("contract", t.GetContract())
	posts, filled := int64(max(t.GetPosts(), 0)), int64(max(t.GetPostsFilled(), 0))
	f.Numbers[Posts], f.Numbers[PostsFilled], f.Numbers[PostsOpen] = posts, filled, max(posts-filled, 0)
}

type messageEvent interface {
	GetTemplate() string
	GetLanguage() string
	GetChannel() string
}

func (f *Fact) message(d messageEvent) {
	f.set("template", d.GetTemplate())
	f.set("language", d.GetLanguage())
	f.set("channel", d.GetChannel())
}

// ageGroups are the age groups of the logframe's disaggregations (DOMAIN §2,
// our own reading, to be confirmed).
func ageGroups() []string { return []string{"0-14", "15-24", "25-29", "30-35", "36+"} }

// ageGroup is the group of the age that the person reached in the year of the
// event. Events carry the year of birth only, so the age may be one too high
// for those whose birthday was still to come.
func ageGroup(at time.Time, birthYear int32) string {
	age := at.In(tunis).Year() - int(birthYear)
	switch {
	case birthYear <= 0 || age < 0 || age > 120:
		return ""
	case age < 15:
		return "0-14"
	case age < 25:
		return "15-24"
	case age < 30:
		return "25-29"
	case age <= 35:
		return "30-35"
	}
	return "36+"
}
