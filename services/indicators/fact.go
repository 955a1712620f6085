package indicators

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"

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
	Retracted           Kind = "retracted" // takes another fact away; is itself never counted
	EmployerRegistered  Kind = "employer_registered"
	EmployerUpdated     Kind = "employer_updated"
	OfferOpened         Kind = "offer_opened"
	OfferUpdated        Kind = "offer_updated"
	PostFilled          Kind = "post_filled"
	PostReleased        Kind = "post_released"
	OfferClosed         Kind = "offer_closed"
	DecisionRecorded    Kind = "decision_recorded"
	CampaignCompleted   Kind = "campaign_completed"
	MessageSent         Kind = "message_sent"
	MessageFailed       Kind = "message_failed"
)

// source is one topic and the kinds of facts that come from it.
type source struct {
	Topic string
	Kinds []Kind
}

// sources are the topics that are folded.
var sources = [...]source{
	{event.TopicCandidates, []Kind{CandidateRegistered, CandidateUpdated, PathwayOpened, StageEntered, PathwayExited, PathwayCompleted, Retracted}},
	{event.TopicEmployers, []Kind{EmployerRegistered, EmployerUpdated, OfferOpened, OfferUpdated, PostFilled, PostReleased, OfferClosed}},
	{event.TopicMatching, []Kind{DecisionRecorded, CampaignCompleted}},
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

// durations are those of them that are seconds.
var durations = []string{StaySeconds}

// Codes are what an event said in codes, raw; "" where it said nothing. The names
// are those of Dimensions, and some more that are kept for later.
type Codes struct {
	Scheme        string `bson:"scheme,omitempty" json:"scheme,omitempty"`
	SchemeVersion string `bson:"scheme_version,omitempty" json:"scheme_version,omitempty"`
	Sector        string `bson:"sector,omitempty" json:"sector,omitempty"`
	Governorate   string `bson:"governorate,omitempty" json:"governorate,omitempty"`
	Sex           string `bson:"sex,omitempty" json:"sex,omitempty"`
	Age           string `bson:"age,omitempty" json:"age,omitempty"` // group, see ageGroups
	Diploma       string `bson:"diploma,omitempty" json:"diploma,omitempty"`
	Stage         string `bson:"stage,omitempty" json:"stage,omitempty"`
	FromStage     string `bson:"from_stage,omitempty" json:"from_stage,omitempty"`
	Placement     string `bson:"placement,omitempty" json:"placement,omitempty"` // "yes" or "no"
	Exit          string `bson:"exit,omitempty" json:"exit,omitempty"`
	Decision      string `bson:"decision,omitempty" json:"decision,omitempty"`
	Reason        string `bson:"reason,omitempty" json:"reason,omitempty"`
	Actor         string `bson:"actor,omitempty" json:"actor,omitempty"`           // a role
	RefusedBy     string `bson:"refused_by,omitempty" json:"refused_by,omitempty"` // candidate, employer or programme
	Status        string `bson:"status,omitempty" json:"status,omitempty"`
	Region        string `bson:"region,omitempty" json:"region,omitempty"`
	Rome          string `bson:"rome,omitempty" json:"rome,omitempty"`
	Contract      string `bson:"contract,omitempty" json:"contract,omitempty"`
	Template      string `bson:"template,omitempty" json:"template,omitempty"`
	Language      string `bson:"language,omitempty" json:"language,omitempty"`
	Channel       string `bson:"channel,omitempty" json:"channel,omitempty"`
}

// codeFields finds a code by its name.
var codeFields = map[string]func(*Codes) *string{
	"scheme":         func(c *Codes) *string { return &c.Scheme },
	"scheme_version": func(c *Codes) *string { return &c.SchemeVersion },
	"sector":         func(c *Codes) *string { return &c.Sector },
	"governorate":    func(c *Codes) *string { return &c.Governorate },
	"sex":            func(c *Codes) *string { return &c.Sex },
	"age":            func(c *Codes) *string { return &c.Age },
	"diploma":        func(c *Codes) *string { return &c.Diploma },
	"stage":          func(c *Codes) *string { return &c.Stage },
	"from_stage":     func(c *Codes) *string { return &c.FromStage },
	"placement":      func(c *Codes) *string { return &c.Placement },
	"exit":           func(c *Codes) *string { return &c.Exit },
	"decision":       func(c *Codes) *string { return &c.Decision },
	"reason":         func(c *Codes) *string { return &c.Reason },
	"closing":        func(c *Codes) *string { return &c.Reason }, // the reason of an offer_closed
	"failure":        func(c *Codes) *string { return &c.Reason }, // the reason of a message_failed
	"actor":          func(c *Codes) *string { return &c.Actor },
	"refused_by":     func(c *Codes) *string { return &c.RefusedBy },
	"status":         func(c *Codes) *string { return &c.Status },
	"region":         func(c *Codes) *string { return &c.Region },
	"rome":           func(c *Codes) *string { return &c.Rome },
	"contract":       func(c *Codes) *string { return &c.Contract },
	"template":       func(c *Codes) *string { return &c.Template },
	"language":       func(c *Codes) *string { return &c.Language },
	"channel":        func(c *Codes) *string { return &c.Channel },
}

// Fact is one event, reduced to what figures need. It never changes once it is
// stored: a correction is another fact, which supersedes it.
type Fact struct {
	ID      string `bson:"-" json:"id"` // the event's id, also the document's
	Kind    Kind   `bson:"kind" json:"kind"`
	Subject string `bson:"subject" json:"subject"`                   // the aggregate's id
	Person  string `bson:"person,omitempty" json:"person,omitempty"` // the candidate's id, pseudonymous; "" when the fact is about nobody
	Offer   string `bson:"offer,omitempty" json:"offer,omitempty"`   // the offer's id, where there is one
	// Employer is the id of the employer whose offer the fact is about.
	Employer string `bson:"employer,omitempty" json:"employer,omitempty"`
	Seq      int64  `bson:"seq,omitempty" json:"seq,omitempty"` // the event's place within the subject, from 1; 0: not said
	// EventSeq is the event's own place within the subject where Seq is that of the
	// fact which it supersedes; 0: the same.
	EventSeq int64 `bson:"event_seq,omitempty" json:"event_seq,omitempty"`
	// Supersedes is the id of the fact that this one replaces or, when it is
	// Retracted, takes away. It must be one of the same subject, and counts no more
	// from the moment on at which this one was recorded. What replaces a fact has
	// its Seq, so that the subject's own order stays as it was.
	Supersedes string `bson:"supersedes,omitempty" json:"supersedes,omitempty"`
	// OccurredAt is when it happened in the world, RecordedAt when Masar learned
	// of it. Both are UTC, to the millisecond, as the documents keep them.
	OccurredAt time.Time `bson:"occurred_at" json:"occurred_at"`
	RecordedAt time.Time `bson:"recorded_at" json:"recorded_at"`
	// StoredAt is when the fact entered the store, by the clock of the replica
	// that wrote it: how the other replicas find it.
	StoredAt time.Time `bson:"stored_at" json:"-"`
	Codes    Codes     `bson:"codes" json:"codes"`
	// Terms are the posts of an offer, or those of a campaign and how many it
	// proposes somebody for; nil when the fact is about neither. Stay is
	// how many seconds the stage that was left had been held, nil when unknown.
	Terms *Terms `bson:"terms,omitempty" json:"terms,omitempty"`
	Stay  *int64 `bson:"stay_seconds,omitempty" json:"stay_seconds,omitempty"`
}

// Terms are the quantities of an offer.
type Terms struct {
	Posts  int64 `bson:"posts" json:"posts"`
	Filled int64 `bson:"filled" json:"filled"`
}

// Number is one of the fact's numbers; ok is false when it has none.
func (f *Fact) Number(name string) (n int64, ok bool) {
	switch {
	case name == StaySeconds && f.Stay != nil:
		return *f.Stay, true
	case name == Posts && f.Terms != nil:
		return f.Terms.Posts, true
	case name == PostsFilled && f.Terms != nil:
		return f.Terms.Filled, true
	case name == PostsOpen && f.Terms != nil:
		return max(f.Terms.Posts-f.Terms.Filled, 0), true
	}
	return 0, false
}

// Code is one of the fact's raw codes by name, "" when it has none.
func (f *Fact) Code(name string) string {
	if field, ok := codeFields[name]; ok {
		return *field(&f.Codes)
	}
	return ""
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
	}
	if y := f.OccurredAt.Year(); y < firstYear || y >= lastYear {
		return Fact{}, fmt.Errorf("%w: it occurred in the year %d, want %d to %d", ErrNotAFact, y, firstYear, lastYear-1)
	}
	data := e.Data
	switch d := e.Data.(type) {
	case *candidatesv1.EntryCorrected:
		data = f.replaces(d)
	case *candidatesv1.EntryRetracted:
		f.Kind, f.Person = Retracted, d.GetNow().GetCandidateId()
		f.Supersedes, f.Codes.Reason, f.Codes.Actor = d.GetEventId(), coded(d.GetReason()), coded(d.GetActor())
		f.Codes.Scheme = coded(d.GetNow().GetScheme())
		f.EventSeq, f.Seq = e.Seq, d.GetEntrySeq()
	}
	switch d := data.(type) {
	case *candidatesv1.EntryRetracted:
	case *candidatesv1.CandidateRegistered:
		f.Kind, f.Person = CandidateRegistered, e.Subject
		f.profile(d.GetProfile())
	case *candidatesv1.CandidateUpdated:
		f.Kind, f.Person = CandidateUpdated, e.Subject
		f.profile(d.GetProfile())
	case *candidatesv1.PathwayOpened:
		f.Kind, f.Person = PathwayOpened, d.GetCandidateId()
		f.pathway(d, schemes)
		f.Codes.Stage = coded(d.GetStage())
	case *candidatesv1.StageEntered:
		f.Kind, f.Person, f.Offer = StageEntered, d.GetCandidateId(), d.GetOfferId()
		f.pathway(d, schemes)
		f.Codes.FromStage = coded(d.GetFrom())
		f.Codes.Stage = coded(d.GetTo())
		f.Codes.Actor = coded(d.GetActor())
		f.Codes.Reason = coded(d.GetReason())
		f.Codes.Placement = "no"
		if d.GetPlacement() {
			f.Codes.Placement = "yes"
		}
		f.stay(d.GetFromEnteredAt(), e.OccurredAt)
	case *candidatesv1.PathwayExited:
		f.Kind, f.Person, f.Offer = PathwayExited, d.GetCandidateId(), d.GetOfferId()
		f.pathway(d, schemes)
		f.Codes.FromStage = coded(d.GetStage())
		f.Codes.Stage = coded(d.GetStage())
		f.Codes.Exit = coded(d.GetExit())
		f.Codes.Actor = coded(d.GetActor())
		f.stay(d.GetStageEnteredAt(), e.OccurredAt)
	case *candidatesv1.PathwayCompleted:
		f.Kind, f.Person = PathwayCompleted, d.GetCandidateId()
		f.pathway(d, schemes)
		f.Codes.FromStage = coded(d.GetStage())
		f.Codes.Stage = coded(d.GetStage())
		f.stay(d.GetStageEnteredAt(), e.OccurredAt)
	case *employersv1.EmployerRegistered:
		f.Kind = EmployerRegistered
		f.Codes.Status = coded(d.GetStatus())
	case *employersv1.EmployerUpdated:
		f.Kind = EmployerUpdated
		f.Codes.Status = coded(d.GetStatus())
	case *employersv1.OfferOpened:
		f.Kind = OfferOpened
		f.terms(d.GetTerms())
	case *employersv1.OfferUpdated:
		f.Kind = OfferUpdated
		f.terms(d.GetTerms())
	case *employersv1.PostFilled:
		f.Kind = PostFilled
		if d.GetAttributed() {
			f.Kind = OfferUpdated // the post was counted when it was filled
		}
		f.terms(d.GetTerms())
	case *employersv1.PostReleased:
		f.Kind = PostReleased
		f.terms(d.GetTerms())
	case *employersv1.OfferClosed:
		f.Kind = OfferClosed
		f.terms(d.GetTerms())
		f.Codes.Reason = coded(d.GetReason())
	case *matchingv1.DecisionRecorded:
		f.Kind, f.Person, f.Offer = DecisionRecorded, d.GetCandidateId(), d.GetOfferId()
		f.Codes.Decision = coded(d.GetKind())
		f.Codes.Actor = coded(d.GetActor())
		f.Codes.RefusedBy, f.Codes.Reason = coded(d.GetRefusedBy()), coded(d.GetReason())
	case *matchingv1.CampaignCompleted:
		f.Kind = CampaignCompleted
		f.Terms = &Terms{Posts: int64(d.GetPosts()), Filled: int64(d.GetFilled())}
	case *notificationsv1.MessageSent:
		f.Kind, f.Person = MessageSent, d.GetCandidateId()
		f.message(d)
	case *notificationsv1.MessageFailed:
		f.Kind, f.Person = MessageFailed, d.GetCandidateId()
		f.message(d)
		f.Codes.Reason = coded(d.GetReason())
	default:
		return Fact{}, fmt.Errorf("%w: type %s is not one that is folded", ErrNotAFact, e.Type)
	}
	if (f.Kind == Retracted || f.EventSeq != 0) && f.Supersedes == "" {
		return Fact{}, fmt.Errorf("%w: a %s does not name the event that it puts right", ErrNotAFact, e.Type)
	}
	if f.Person == "" && f.aboutSomebody() {
		return Fact{}, fmt.Errorf("%w: a %s names no candidate", ErrNotAFact, f.Kind)
	}
	if len(f.Person) > maxID || len(f.Offer) > maxID || len(f.Employer) > maxID || len(f.Supersedes) > maxID {
		return Fact{}, fmt.Errorf("%w: an id of a %s is longer than %d bytes", ErrNotAFact, f.Kind, maxID)
	}
	return f, nil
}

// replaces takes a corrected entry for what it replaces: the event that it now is.
func (f *Fact) replaces(d *candidatesv1.EntryCorrected) proto.Message {
	f.Supersedes = d.GetEventId()
	f.EventSeq, f.Seq = f.Seq, d.GetEntrySeq()
	switch e := d.GetEntry().(type) {
	case *candidatesv1.EntryCorrected_Opened:
		return e.Opened
	case *candidatesv1.EntryCorrected_Entered:
		return e.Entered
	case *candidatesv1.EntryCorrected_Exited:
		return e.Exited
	case *candidatesv1.EntryCorrected_Completed:
		return e.Completed
	}
	return d // of a later version
}

// maxID is the longest id that a fact takes, in bytes; ours have 26.
const maxID = 512

func (f *Fact) aboutSomebody() bool {
	switch f.Kind {
	case EmployerRegistered, EmployerUpdated, OfferOpened, OfferUpdated, PostFilled, PostReleased, OfferClosed, CampaignCompleted:
		return false
	}
	return true
}

// coded is a code as a fact keeps it. What does not look like a code is counted as Other and
// never stored: it might be free text, and free text may be personal.
func coded(code string) string {
	if code != "" && !codeLike(code) {
		return Other
	}
	return code
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
	f.Codes.Diploma = coded(p.GetDiplomaLevel())
}

func (f *Fact) person(sex, governorate string, birthYear int32) {
	f.Codes.Sex = coded(sex)
	f.Codes.Governorate = coded(governorate)
	f.Codes.Age = ageGroup(f.OccurredAt, birthYear)
}

// pathwayEvent is what the events of a pathway have in common.
type pathwayEvent interface {
	GetScheme() string
	GetSchemeVersion() string
	GetPerson() *candidatesv1.Person
}

func (f *Fact) pathway(d pathwayEvent, schemes reference.SchemeSet) {
	f.Codes.Scheme = coded(d.GetScheme())
	f.Codes.SchemeVersion = coded(d.GetSchemeVersion())
	p := d.GetPerson()
	f.person(p.GetSex(), p.GetGovernorate(), p.GetBirthYear())
	f.Codes.Diploma = coded(p.GetDiplomaLevel())
	// The sector is the scheme's own; a version that this program does not know
	// yet is in the same sector as the present one.
	scheme, ok := schemes.Get(d.GetScheme(), d.GetSchemeVersion())
	if !ok {
		scheme, ok = schemes.Current(d.GetScheme(), f.OccurredAt)
	}
	if ok {
		f.Codes.Sector = scheme.Sector
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
	seconds := int64(left.Sub(entered) / time.Second)
	f.Stay = &seconds
}

func (f *Fact) terms(t *employersv1.Terms) {
	f.Codes.Scheme = coded(t.GetScheme())
	f.Codes.Sector = coded(t.GetSector())
	f.Codes.Region = coded(t.GetRegion())
	f.Codes.Rome = coded(t.GetRome())
	f.Codes.Contract = coded(t.GetContract())
	f.Employer = t.GetEmployerId()
	f.Terms = &Terms{Posts: int64(max(t.GetPosts(), 0)), Filled: int64(max(t.GetPostsFilled(), 0))}
}

type messageEvent interface {
	GetTemplate() string
	GetLanguage() string
	GetChannel() string
}

func (f *Fact) message(d messageEvent) {
	f.Codes.Template = coded(d.GetTemplate())
	f.Codes.Language = coded(d.GetLanguage())
	f.Codes.Channel = coded(d.GetChannel())
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
