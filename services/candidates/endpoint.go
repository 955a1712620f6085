package candidates

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
)

// Endpoints are the use cases as typed go-kit endpoints; transports are built
// on them.
type Endpoints struct {
	Register    api.Endpoint[RegisterRequest, Card]
	Candidate   api.Endpoint[IDRequest, Card]
	Candidates  api.Endpoint[CandidatesRequest, api.Page[Card]]
	Update      api.Endpoint[UpdateRequest, Card]
	Contact     api.Endpoint[IDRequest, Contact]
	Import      api.Endpoint[ImportRequest, ImportResult]
	Place       api.Endpoint[[]byte, RowResult]
	OpenPathway api.Endpoint[OpenRequest, Way]
	Pathway     api.Endpoint[IDRequest, Way]
	Pathways    api.Endpoint[PathwaysRequest, api.Page[Way]]
	Move        api.Endpoint[MoveRequest, Way]
	Exit        api.Endpoint[ExitRequest, Way]
	Complete    api.Endpoint[CompleteRequest, Way]
	Correct     api.Endpoint[CorrectRequest, Way]
	Retract     api.Endpoint[RetractRequest, Way]
	Schemes     api.Endpoint[SchemesRequest, SchemeList]
}

// NewEndpoints makes the endpoints of a service.
func NewEndpoints(s Service) Endpoints {
	return Endpoints{
		Register: s.Register, Candidate: s.Candidate, Candidates: s.Candidates, Update: s.Update, Contact: s.Contact,
		Import: s.Import, Place: s.Place,
		OpenPathway: s.OpenPathway, Pathway: s.Pathway, Pathways: s.Pathways,
		Move: s.Move, Exit: s.Exit, Complete: s.Complete, Correct: s.Correct, Retract: s.Retract, Schemes: s.Schemes,
	}
}

// IDRequest names one document.
type IDRequest struct {
	ID string `path:"id"`
}

// RegisterRequest is a new person.
type RegisterRequest struct {
	Record
}

// UpdateRequest replaces a person's record. Identity numbers, which are never
// shown, stay when they are not given; an empty text removes them.
type UpdateRequest struct {
	ID      string `path:"id"`
	IfMatch string `header:"If-Match"`
	Record
}

// CandidatesRequest lists people: by name, or what changed since, or all, newest
// first. A scope of several governorates is listed one governorate after the
// other.
type CandidatesRequest struct {
	api.Paging
	// Name is the beginning of a name: any words of it that follow each other,
	// Latin or Arabic, the last perhaps only begun.
	Name         string    `query:"name"`
	Governorate  string    `query:"governorate"`
	UpdatedSince time.Time `query:"updated_since"`
}

// Validate implements api.Validator.
func (r *CandidatesRequest) Validate() error {
	var f faults
	if r.Name != "" && normalise(r.Name) == "" {
		f.add("query.name", "format", "a name has letters")
	}
	if r.Name != "" && !r.UpdatedSince.IsZero() {
		f.add("query.updated_since", "combination", "search by name or by time, not both")
	}
	f.governorate(&r.Governorate)
	return f.invalid()
}

// governorate reads a governorate of the query.
func (f *faults) governorate(p *string) {
	if *p == "" {
		return
	}
	if g, ok := reference.FindGovernorate(*p); ok {
		*p = g.Code
	} else {
		f.add("query.governorate", "unknown", "not one of the 24 governorates; give its ISO 3166-2 code, such as TN-71")
	}
}

func (f faults) invalid() error {
	if len(f) == 0 {
		return nil
	}
	return api.Invalid(f...)
}

// ImportRequest is a batch of records.
type ImportRequest struct {
	DryRun bool `query:"dry_run"`
	Rows   Rows `json:"rows"`
}

// Validate implements api.Validator.
func (r *ImportRequest) Validate() error {
	if len(r.Rows) == 0 {
		return api.Invalid(api.Field{Path: "rows", Code: "required", Reason: "there is no row"})
	}
	return nil
}

// OpenRequest opens a pathway.
type OpenRequest struct {
	CandidateID string    `json:"candidate_id"`
	Scheme      string    `json:"scheme"`
	OccurredAt  time.Time `json:"occurred_at"` // default: now
	Note        string    `json:"note"`
}

// Validate implements api.Validator.
func (r *OpenRequest) Validate() error {
	var f faults
	if r.CandidateID == "" {
		f.add("candidate_id", "required", "say whose pathway it is")
	}
	if r.Scheme == "" {
		f.add("scheme", "required", "say under which scheme, such as agri")
	}
	return f.invalid()
}

// PathwaysRequest lists pathways: a person's; or those at a stage, longest there
// first; or those changed since. A scope of several governorates or schemes is
// listed one after the other.
type PathwaysRequest struct {
	api.Paging
	CandidateID  string    `query:"candidate_id"`
	Governorate  string    `query:"governorate"`
	Scheme       string    `query:"scheme"`
	Stage        string    `query:"stage"`
	State        string    `query:"state"` // open (default), exited, completed
	UpdatedSince time.Time `query:"updated_since"`
}

// Validate implements api.Validator.
func (r *PathwaysRequest) Validate() error {
	var f faults
	f.governorate(&r.Governorate)
	if r.State != "" && !slices.Contains([]State{Open, Exited, Completed}, State(r.State)) {
		f.add("query.state", "unknown", "one of open, exited, completed")
	}
	if r.Scheme != "" && !slices.Contains(reference.Schemes().Codes(), r.Scheme) {
		f.add("query.scheme", "unknown", "not a scheme; see /api/candidates/schemes")
	}
	if !r.UpdatedSince.IsZero() && (r.Stage != "" || r.State != "" || r.CandidateID != "") {
		f.add("query.updated_since", "combination", "what changed since a moment is listed in every state and stage; it goes with governorate and scheme only")
	}
	return f.invalid()
}

// MoveRequest takes a pathway to a stage.
type MoveRequest struct {
	ID         string    `path:"id"`
	IfMatch    string    `header:"If-Match"` // optional
	To         string    `json:"to"`
	OccurredAt time.Time `json:"occurred_at"` // default: now
	Reason     string    `json:"reason"`      // a code, it goes into the event
	Note       string    `json:"note"`        // free text, it stays here
	OfferID    string    `json:"offer_id"`
}

// Validate implements api.Validator.
func (r *MoveRequest) Validate() error {
	if r.To == "" {
		return api.Invalid(api.Field{Path: "to", Code: "required", Reason: "say which stage is entered"})
	}
	return nil
}

// ExitRequest ends a pathway early.
type ExitRequest struct {
	ID         string    `path:"id"`
	IfMatch    string    `header:"If-Match"` // optional
	Exit       string    `json:"exit"`
	OccurredAt time.Time `json:"occurred_at"` // default: now
	Note       string    `json:"note"`
	OfferID    string    `json:"offer_id"`
}

// CorrectRequest gives an entry of the history another date.
type CorrectRequest struct {
	ID         string    `path:"id"`
	IfMatch    string    `header:"If-Match"` // optional
	Entry      int       `json:"entry"`      // its number, from 1
	OccurredAt time.Time `json:"occurred_at"`
	Reason     string    `json:"reason"` // a code, it goes into the event
	Note       string    `json:"note"`   // free text, it stays here
}

// RetractRequest takes back the last thing that happened, by its number in the
// history, so that nothing else is taken back by mistake.
type RetractRequest struct {
	ID      string `path:"id"`
	IfMatch string `header:"If-Match"` // optional
	Entry   int    `json:"entry"`
	Reason  string `json:"reason"`
	Note    string `json:"note"`
}

// CompleteRequest ends a pathway from its last stage.
type CompleteRequest struct {
	ID         string    `path:"id"`
	IfMatch    string    `header:"If-Match"` // optional
	OccurredAt time.Time `json:"occurred_at"`
	Note       string    `json:"note"`
}

// SchemesRequest asks for the schemes.
type SchemesRequest struct{}

// Card is a person as shown: the record without identity numbers.
type Card struct {
	ID           string    `json:"id"`
	Version      int64     `json:"version"`
	RegisteredAt time.Time `json:"registered_at"`
	UpdatedAt    time.Time `json:"updated_at"`
	// Whether the numbers are known; they are never shown.
	HasNationalID bool `json:"has_national_id"`
	HasPassport   bool `json:"has_passport"`
	Record

	status   int
	location string
}

// ETag is the person's version.
func (c Card) ETag() string { return api.ETag(c.Version) }

// Status is 201 for a new person.
func (c Card) Status() int { return c.status }

// Location is the address of a new person.
func (c Card) Location() string { return c.location }

func (c Card) created() Card {
	c.status, c.location = 201, "/api/candidates/candidates/"+c.ID
	return c
}

func card(d *docstore.Doc[Candidate]) Card {
	c := &d.Body
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	return Card{
		ID: d.ID, Version: d.Version, RegisteredAt: c.RegisteredAt.UTC(), UpdatedAt: c.UpdatedAt.UTC(),
		HasNationalID: len(c.NationalID) > 0, HasPassport: len(c.Passport) > 0,
		Record: Record{
			Ref: text(c.Ref), FamilyName: text(c.FamilyName), GivenName: text(c.GivenName),
			FamilyNameAR: text(c.FamilyNameAR), GivenNameAR: text(c.GivenNameAR), Sex: text(c.Sex),
			BirthDate: text(c.BirthDate), Governorate: text(c.Governorate), Email: text(c.Email), Phone: text(c.Phone),
			Language: text(c.Language), Diploma: text(c.Diploma), Occupations: c.Occupations, Languages: c.Languages,
			Licences: c.Licences, Competences: c.Competences, From: text(c.From), To: text(c.To), Schemes: c.Schemes, Regions: c.Regions, Consents: c.Consents,
		},
	}
}

// Contact is what is needed to write to a person, and whether one may.
type Contact struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	NameAR   string   `json:"name_ar"`
	Email    string   `json:"email,omitempty"`
	Phone    string   `json:"phone,omitempty"`
	Language string   `json:"language"`
	Consents []string `json:"consents"`
}

func contact(d *docstore.Doc[Candidate]) Contact {
	c := &d.Body
	join := func(given, family string) string { return strings.TrimSpace(given + " " + family) }
	k := Contact{
		ID: d.ID, Email: c.Email, Phone: c.Phone, Language: c.Language, Consents: c.Consents,
		// A name that is known in one script only is better than none.
		Name:   join(cmp.Or(c.GivenName, c.GivenNameAR), cmp.Or(c.FamilyName, c.FamilyNameAR)),
		NameAR: join(cmp.Or(c.GivenNameAR, c.GivenName), cmp.Or(c.FamilyNameAR, c.FamilyName)),
	}
	if k.Consents == nil {
		k.Consents = []string{}
	}
	return k
}

// Way is a pathway as shown.
type Way struct {
	ID            string     `json:"id"`
	Version       int64      `json:"version"`
	CandidateID   string     `json:"candidate_id"`
	Scheme        string     `json:"scheme"`
	SchemeVersion string     `json:"scheme_version"`
	State         State      `json:"state"`
	Stage         string     `json:"stage"`
	EnteredAt     time.Time  `json:"entered_at"`
	OpenedAt      time.Time  `json:"opened_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	EndedAt       *time.Time `json:"ended_at,omitempty"`
	Exit          string     `json:"exit,omitempty"`
	Placed        bool       `json:"placed"`
	Person        Person     `json:"person"`
	// Next are the stages that may follow now; Exits the ways out.
	Next    []string `json:"next"`
	Exits   []string `json:"exits"`
	History []Entry  `json:"history,omitempty"`

	status   int
	location string
}

// ETag is the pathway's version.
func (w Way) ETag() string { return api.ETag(w.Version) }

// Status is 201 for a new pathway.
func (w Way) Status() int { return w.status }

// Location is the address of a new pathway.
func (w Way) Location() string { return w.location }

func (w Way) created() Way {
	w.status, w.location = 201, "/api/candidates/pathways/"+w.ID
	return w
}

func (s *service) way(d *docstore.Doc[Pathway]) Way {
	p := &d.Body
	w := Way{
		ID: d.ID, Version: d.Version, CandidateID: p.CandidateID, Scheme: p.Scheme, SchemeVersion: p.SchemeVersion,
		State: p.State, Stage: p.Stage, EnteredAt: p.EnteredAt.UTC(), OpenedAt: p.OpenedAt.UTC(), UpdatedAt: p.UpdatedAt.UTC(),
		Exit: p.Exit, Placed: p.Placed, Person: p.Person, Next: []string{}, Exits: []string{}, History: p.History,
	}
	if !p.EndedAt.IsZero() {
		at := p.EndedAt.UTC()
		w.EndedAt = &at
	}
	if scheme, ok := s.schemes.Get(p.Scheme, p.SchemeVersion); ok && p.State == Open {
		w.Next = append(w.Next, scheme.Following(p.Stage)...)
		w.Exits = exitCodes(scheme, p.Stage)
	}
	return w
}

// SchemeList is every version of every scheme.
type SchemeList struct {
	Items []SchemeView `json:"items"`
}

// SchemeView is a scheme as shown.
type SchemeView struct {
	Code           string      `json:"code"`
	Version        string      `json:"version"`
	LabelFR        string      `json:"label_fr"`
	LabelAR        string      `json:"label_ar"`
	LabelEN        string      `json:"label_en"`
	Sector         string      `json:"sector"`
	Placement      string      `json:"placement"`
	LanguageTarget string      `json:"language_target,omitempty"`
	ValidFrom      string      `json:"valid_from"`
	Status         string      `json:"status"`
	Source         string      `json:"source"`
	Stages         []StageView `json:"stages"`
	Exits          []ExitView  `json:"exits"`
}

// StageView is a stage as shown. Next are the stages that may be entered from
// it, those after an optional one included.
type StageView struct {
	Code       string   `json:"code"`
	LabelFR    string   `json:"label_fr"`
	LabelAR    string   `json:"label_ar"`
	LabelEN    string   `json:"label_en"`
	Actors     []string `json:"actors"`
	Next       []string `json:"next"`
	Optional   bool     `json:"optional"`
	TargetDays *int     `json:"target_days"`
	Notify     bool     `json:"notify"`
	Decisions  []string `json:"decisions,omitempty"` // of matching, that lead here
}

// ExitView is an exit as shown; no stages means at any.
type ExitView struct {
	Code    string   `json:"code"`
	LabelFR string   `json:"label_fr"`
	LabelAR string   `json:"label_ar"`
	LabelEN string   `json:"label_en"`
	Stages  []string `json:"stages"`
}

func schemeList(set reference.SchemeSet) SchemeList {
	list := SchemeList{Items: []SchemeView{}}
	for _, s := range set.All() {
		v := SchemeView{
			Code: s.Code, Version: s.Version, LabelFR: s.LabelFR, LabelAR: s.LabelAR, LabelEN: s.LabelEN,
			Sector: s.Sector, Placement: s.Placement, LanguageTarget: s.LanguageTarget,
			ValidFrom: s.ValidFrom, Status: s.Status, Source: s.Source,
		}
		for _, st := range s.Stages {
			v.Stages = append(v.Stages, StageView{
				Code: st.Code, LabelFR: st.LabelFR, LabelAR: st.LabelAR, LabelEN: st.LabelEN, Actors: st.Actors,
				Next: append([]string{}, s.Following(st.Code)...), Optional: st.Optional, TargetDays: st.TargetDays,
				Notify: st.Notify, Decisions: s.Leading(st.Code),
			})
		}
		for _, x := range s.Exits {
			v.Exits = append(v.Exits, ExitView{
				Code: x.Code, LabelFR: x.LabelFR, LabelAR: x.LabelAR, LabelEN: x.LabelEN, Stages: append([]string{}, x.Stages...),
			})
		}
		list.Items = append(list.Items, v)
	}
	return list
}

func newID(now time.Time) string {
	return ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String()
}
