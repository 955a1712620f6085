package employers

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
)

// Endpoints are the use cases as typed go-kit endpoints; transports are built
// on them.
type Endpoints struct {
	Register       api.Endpoint[RegisterRequest, Registered]
	Employer       api.Endpoint[IDRequest, EmployerView]
	Employers      api.Endpoint[EmployersRequest, api.Page[EmployerView]]
	UpdateEmployer api.Endpoint[UpdateEmployerRequest, EmployerView]
	Post           api.Endpoint[PostRequest, Posted]
	Offer          api.Endpoint[IDRequest, OfferView]
	Offers         api.Endpoint[OffersRequest, api.Page[OfferView]]
	UpdateOffer    api.Endpoint[UpdateOfferRequest, OfferView]
	Close          api.Endpoint[CloseRequest, OfferView]
	Fill           api.Endpoint[FillRequest, OfferView]
	Import         api.Endpoint[ImportRequest, ImportResult]
	Receive        api.Endpoint[Inbound, RowResult]
	Hired          api.Endpoint[Decision, struct{}]
	Released       api.Endpoint[Decision, struct{}]
}

// NewEndpoints makes the endpoints of a service.
func NewEndpoints(s Service) Endpoints {
	return Endpoints{
		Register: s.Register, Employer: s.Employer, Employers: s.Employers, UpdateEmployer: s.UpdateEmployer,
		Post: s.Post, Offer: s.Offer, Offers: s.Offers, UpdateOffer: s.UpdateOffer, Close: s.Close, Fill: s.Fill,
		Import: s.Import, Receive: s.Receive,
		Hired:    func(ctx context.Context, d Decision) (struct{}, error) { return struct{}{}, s.Hired(ctx, d) },
		Released: func(ctx context.Context, d Decision) (struct{}, error) { return struct{}{}, s.Released(ctx, d) },
	}
}

// IDRequest names one employer or offer.
type IDRequest struct {
	ID string `path:"id"`
}

// RegisterRequest registers an employer.
type RegisterRequest struct {
	EmployerRecord
}

// UpdateEmployerRequest replaces an employer's record.
type UpdateEmployerRequest struct {
	ID      string `path:"id"`
	IfMatch string `header:"If-Match"`
	EmployerRecord
}

// EmployersRequest searches employers.
type EmployersRequest struct {
	Name  string `query:"name"` // beginning of the legal name; case and accents do not matter
	SIRET string `query:"siret"`
	api.Paging
}

// EmployerView is an employer as answered.
type EmployerView struct {
	ID string `json:"id"`
	EmployerRecord
	SIREN        string    `json:"siren"`
	RegisteredAt time.Time `json:"registered_at"`
	UpdatedAt    time.Time `json:"updated_at"`
	Version      int64     `json:"version"`
}

// ETag is the version.
func (v EmployerView) ETag() string { return api.ETag(v.Version) }

// Registered is an employer that was just registered.
type Registered struct{ EmployerView }

// Status is 201 Created.
func (Registered) Status() int { return http.StatusCreated }

// Location is the employer's address.
func (r Registered) Location() string { return "/api/employers/employers/" + r.ID }

// viewEmployer shows an employer; its contact only to who keeps the register,
// and to the employer itself.
func (s *service) viewEmployer(ctx context.Context, d *docstore.Doc[Employer]) EmployerView {
	e := d.Body
	v := EmployerView{
		ID: d.ID, SIREN: e.SIRET[:min(9, len(e.SIRET))], RegisteredAt: e.RegisteredAt.UTC(), UpdatedAt: e.UpdatedAt.UTC(), Version: d.Version,
		EmployerRecord: EmployerRecord{LegalName: e.LegalName, SIRET: e.SIRET, NAF: e.NAF, Address: e.Address, Status: e.Status},
	}
	who := access.From(ctx)
	if who.Can(access.EmployersWrite) || who.Role == access.Employer && who.Employer == d.ID {
		v.Contact = &e.Contact
	}
	return v
}

// PostRequest opens an offer.
type PostRequest struct {
	OfferRecord
}

// UpdateOfferRequest replaces an offer's record.
type UpdateOfferRequest struct {
	ID      string `path:"id"`
	IfMatch string `header:"If-Match"`
	OfferRecord
}

// CloseRequest closes an offer.
type CloseRequest struct {
	ID         string     `path:"id"`
	Reason     string     `json:"reason"`
	OccurredAt *time.Time `json:"occurred_at,omitempty"`
}

// FillRequest fills one post.
type FillRequest struct {
	ID          string     `path:"id"`
	CandidateID string     `json:"candidate_id,omitempty"`
	OccurredAt  *time.Time `json:"occurred_at,omitempty"`
}

// OffersRequest lists offers; every given filter must fit.
type OffersRequest struct {
	Status      string `query:"status"`
	Sector      string `query:"sector"`
	Scheme      string `query:"scheme"`
	ROME        string `query:"rome"`
	Departement string `query:"departement"`
	Employer    string `query:"employer"`
	api.Paging
}

// Validate checks the status.
func (r *OffersRequest) Validate() error {
	if r.Status != "" && r.Status != OfferOpen && r.Status != OfferClosed {
		return api.Invalid(api.Field{Path: "query.status", Code: "unknown", Reason: "open or closed expected"})
	}
	return nil
}

// query is the index that narrows most, as far as it goes.
func (r *OffersRequest) query() docstore.Query {
	q := docstore.Query{Index: byPublished, After: r.Cursor, Limit: r.Limit, Desc: true}
	for _, choice := range []struct{ value, index string }{
		{r.Employer, byEmployer}, {r.ROME, byROME}, {r.Departement, byPlace}, {r.Scheme, bySchemeCode}, {r.Sector, bySector},
	} {
		if choice.value != "" {
			q.Index, q.Eq = choice.index, []any{choice.value}
			break
		}
	}
	if q.Index == byPublished && r.Status != "" {
		q.Index, q.Eq = byStatus, []any{r.Status}
	}
	return q
}

// matches checks all filters, also the one that the index answered.
func (r *OffersRequest) matches(o *Offer) bool {
	for _, f := range []struct{ want, have string }{
		{r.Status, o.Status},
		{r.Sector, o.Content.Sector},
		{r.Scheme, o.Content.Scheme},
		{r.ROME, o.Content.ROME},
		{r.Departement, o.Content.Place.Departement},
		{r.Employer, o.Content.EmployerID},
	} {
		if f.want != "" && f.want != f.have {
			return false
		}
	}
	return true
}

// OfferView is an offer as answered. Its first part can be sent back as an
// update; what only the source gives stands under as_published.
type OfferView struct {
	ID string `json:"id"`
	OfferRecord
	Status      string `json:"status"`
	CloseReason string `json:"close_reason,omitempty"`
	// EmployerSuspended: the employer is; an open offer is then proposed to nobody.
	EmployerSuspended bool       `json:"employer_suspended,omitempty"`
	PostsFilled       int32      `json:"posts_filled"`
	Fills             []Fill     `json:"fills,omitempty"`
	Origin            string     `json:"origin"`
	Sector            string     `json:"sector"`
	Region            string     `json:"region,omitempty"`
	PayMonth          *PayMonth  `json:"pay_month,omitempty"`
	Published         *Published `json:"as_published,omitempty"`
	Notes             []Note     `json:"notes,omitempty"`
	OpenedAt          time.Time  `json:"opened_at"`
	ClosedAt          *time.Time `json:"closed_at,omitempty"`
	RecordedAt        time.Time  `json:"recorded_at"`
	UpdatedAt         time.Time  `json:"updated_at"`
	Version           int64      `json:"version"`
}

// PayMonth is gross pay by the month, in euro cents: at the offer's own hours,
// and for full time, which is what offers are compared by.
type PayMonth struct {
	MinCents         int64 `json:"min_cents"`
	MaxCents         int64 `json:"max_cents"`
	FullTimeMinCents int64 `json:"full_time_min_cents"`
	FullTimeMaxCents int64 `json:"full_time_max_cents"`
}

// Published is what the source says beyond our own record, as it says it.
type Published struct {
	ROMELabel  string     `json:"rome_label,omitempty"`
	JobTitle   string     `json:"job_title,omitempty"`
	NAF        string     `json:"naf,omitempty"`
	Place      string     `json:"place,omitempty"`
	Latitude   float64    `json:"latitude,omitempty"`
	Longitude  float64    `json:"longitude,omitempty"`
	Contract   string     `json:"contract,omitempty"`
	Nature     string     `json:"contract_nature,omitempty"`
	Days       int32      `json:"contract_days,omitempty"`
	Experience string     `json:"experience,omitempty"`
	Need       string     `json:"experience_need,omitempty"`
	Hours      string     `json:"hours,omitempty"`
	PartTime   bool       `json:"part_time,omitempty"`
	Pay        string     `json:"pay,omitempty"`
	PayComment string     `json:"pay_comment,omitempty"`
	PayExtras  []string   `json:"pay_extras,omitempty"`
	Languages  []Language `json:"languages,omitempty"`
	Licences   []Licence  `json:"licences,omitempty"`
	Training   []Training `json:"training,omitempty"`
	Skills     []Skill    `json:"skills,omitempty"`
	RevisedAt  time.Time  `json:"revised_at"`
}

// ETag is the version.
func (v OfferView) ETag() string { return api.ETag(v.Version) }

// Posted is an offer that was just opened.
type Posted struct{ OfferView }

// Status is 201 Created.
func (Posted) Status() int { return http.StatusCreated }

// Location is the offer's address.
func (p Posted) Location() string { return "/api/employers/offers/" + p.ID }

// viewOffer shows an offer.
func viewOffer(d *docstore.Doc[Offer]) OfferView {
	o, c := &d.Body, &d.Body.Content
	v := OfferView{
		ID: d.ID, OfferRecord: c.record(), Status: o.Status, CloseReason: o.CloseReason, PostsFilled: o.filled(), Fills: o.Fills,
		Origin: o.Origin, Sector: c.Sector, Region: c.Place.Region, Notes: c.Notes,
		OpenedAt: o.OpenedAt.UTC(), RecordedAt: o.RecordedAt.UTC(), UpdatedAt: o.UpdatedAt.UTC(), Version: d.Version,
	}
	if !o.ClosedAt.IsZero() {
		at := o.ClosedAt.UTC()
		v.ClosedAt = &at
	}
	if p := c.Pay; p.MonthMaxCents > 0 || p.FullTimeMaxCents > 0 {
		v.PayMonth = &PayMonth{p.MonthMinCents, p.MonthMaxCents, p.FullTimeMinCents, p.FullTimeMaxCents}
	}
	if o.Origin == OriginFranceTravail {
		v.Published = &Published{
			ROMELabel: c.ROMELabel, JobTitle: c.JobTitle, NAF: c.NAF, Place: c.Place.Text, Latitude: c.Place.Latitude, Longitude: c.Place.Longitude,
			Contract: c.Contract.Text, Nature: c.Contract.Nature, Days: c.Contract.Days, Experience: c.Experience.Text, Need: c.Experience.Need,
			Hours: c.Hours.Text, PartTime: c.Hours.PartTime, Pay: c.Pay.Text, PayComment: c.Pay.Comment, PayExtras: c.Pay.Extras,
			Languages: c.Languages, Licences: c.Licences, Training: c.Training, Skills: c.Skills, RevisedAt: c.RevisedAt.UTC(),
		}
	}
	return v
}

// view shows offers as they stand, with what is known of their employers now.
func (s *service) view(ctx context.Context, docs ...*docstore.Doc[Offer]) ([]OfferView, error) {
	suspended := map[string]bool{}
	views := make([]OfferView, 0, len(docs))
	for _, d := range docs {
		id := d.Body.Content.EmployerID
		if _, known := suspended[id]; !known && id != "" {
			e, err := s.employers.Get(ctx, id)
			if err != nil && !errors.Is(err, docstore.ErrNotFound) {
				return nil, err
			}
			suspended[id] = err == nil && e.Body.Status == StatusSuspended
		}
		v := viewOffer(d)
		v.EmployerSuspended = suspended[id]
		views = append(views, v)
	}
	return views, nil
}

// viewOne is view of one offer.
func (s *service) viewOne(ctx context.Context, d *docstore.Doc[Offer]) (OfferView, error) {
	views, err := s.view(ctx, d)
	if err != nil {
		return OfferView{}, err
	}
	return views[0], nil
}

// brief leaves out what a list does not need.
func (v OfferView) brief() OfferView {
	v.Description, v.Published, v.Notes, v.Fills = "", nil, nil, nil
	return v
}

// record is the content in the form in which it can be sent.
func (c *Content) record() OfferRecord {
	r := OfferRecord{
		Ref: c.SourceID, EmployerID: c.EmployerID, EmployerName: c.EmployerName, Title: c.Title, Description: c.Description,
		ROME: c.ROME, Scheme: c.Scheme, Contract: c.Contract.Code, ContractMonths: c.Contract.Months, Posts: c.Posts,
		Commune: c.Place.Commune, Postcode: c.Place.Postcode, Departement: c.Place.Departement,
		ExperienceMonths: c.Experience.required(), HoursWeek: float64(c.Hours.Week) / 100,
		PublishedOn: api.DateOf(c.PublishedAt),
	}
	r.StartsOn, _ = api.ParseDate(c.StartsOn) // written by us, or empty
	r.EndsOn, _ = api.ParseDate(c.EndsOn)
	if c.Pay.Period != "" && c.Pay.MaxCents > 0 {
		r.Pay = &PayRecord{Period: c.Pay.Period, MinCents: c.Pay.MinCents, MaxCents: c.Pay.MaxCents, Months: c.Pay.Months}
	}
	for _, l := range c.Languages {
		if l.Code != "" {
			r.Languages = append(r.Languages, LanguageRecord{Code: l.Code, CEFR: l.CEFR, Required: l.Required})
		}
	}
	for _, l := range c.Licences {
		if l.Category != "" {
			r.Licences = append(r.Licences, LicenceRecord{Category: l.Category, Required: l.Required})
		}
	}
	r.Competences = c.competences()
	return r
}

// editedTo is the content after somebody's edit: what a record can say is taken
// from it, the rest stays as the source published it, and so does what the edit
// leaves as it was.
func (c Content) editedTo(edit Content, samePublication bool) Content {
	was, is := c.record(), edit.record()
	edit.SourceID, edit.RevisedAt = c.SourceID, c.RevisedAt
	edit.NAF, edit.Training = c.NAF, c.Training
	if samePublication || was.PublishedOn == is.PublishedOn {
		edit.PublishedAt = c.PublishedAt
	}
	if was.ROME == is.ROME {
		edit.ROMELabel, edit.JobTitle = c.ROMELabel, c.JobTitle
	}
	if was.Commune == is.Commune && was.Postcode == is.Postcode && was.Departement == is.Departement {
		edit.Place = c.Place
	}
	if was.Contract == is.Contract && was.ContractMonths == is.ContractMonths {
		edit.Contract = c.Contract
	}
	if was.ExperienceMonths == is.ExperienceMonths {
		edit.Experience = c.Experience
	}
	if sameHours := was.HoursWeek == is.HoursWeek; sameHours {
		edit.Hours = c.Hours
		if was.Pay == nil && is.Pay == nil || was.Pay != nil && is.Pay != nil && *was.Pay == *is.Pay {
			edit.Pay = c.Pay
		}
	}
	if slices.Equal(was.Languages, is.Languages) {
		edit.Languages = c.Languages
	}
	if slices.Equal(was.Licences, is.Licences) {
		edit.Licences = c.Licences
	}
	if slices.Equal(was.Competences, is.Competences) {
		edit.Skills = c.Skills
	} else {
		for i, s := range edit.Skills {
			if at := slices.IndexFunc(c.Skills, func(have Skill) bool { return have.Code == s.Code }); at >= 0 {
				edit.Skills[i].Text = c.Skills[at].Text
			}
		}
		for _, s := range c.Skills {
			if _, ok := reference.ItemCode(s.Code); !ok {
				edit.Skills = append(edit.Skills, s) // a record has no place for it
			}
		}
	}
	edit.Notes = append(slices.Clone(c.Notes), edit.Notes...)
	return edit
}
