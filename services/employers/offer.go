package employers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
	employersv1 "masar.local/proto/masar/employers/v1"
)

// eventData is the payload of an event.
type eventData = proto.Message

// Where offers come from.
const (
	OriginFranceTravail = "france_travail"
	OriginAPI           = "api"
	OriginKafka         = "kafka"
)

// States of an offer, and why it closed.
const (
	OfferOpen   = "open"
	OfferClosed = "closed"

	ReasonFilled    = "filled"
	ReasonWithdrawn = "withdrawn"
	ReasonExpired   = "expired"
)

// Offer is a job offer as stored: what it says, and what became of it.
type Offer struct {
	Origin string `bson:"origin"`
	// Identity names the offer where it comes from; unique, empty when it has
	// no name there.
	Identity string  `bson:"identity,omitempty"`
	Content  Content `bson:"content"`

	Status      string    `bson:"status"`
	CloseReason string    `bson:"close_reason,omitempty"`
	Fills       []Fill    `bson:"fills,omitempty"` // one for each post that is or was filled, or waits to be
	OpenedAt    time.Time `bson:"opened_at"`       // in the world
	ClosedAt    time.Time `bson:"closed_at,omitempty"`
	RecordedAt  time.Time `bson:"recorded_at"` // when we learned of it
	UpdatedAt   time.Time `bson:"updated_at"`

	// SourceDigest is of the row as it last came from its source, so that the
	// same row again is known again, whatever was edited here since.
	SourceDigest string `bson:"source_digest,omitempty"`
	Fingerprint  string `bson:"fingerprint,omitempty"` // of the body that made it, under an Idempotency-Key
}

// Content is what an offer says.
type Content struct {
	SourceID     string `bson:"source_id,omitempty"` // at its origin
	EmployerID   string `bson:"employer_id,omitempty"`
	EmployerName string `bson:"employer_name,omitempty"` // as published; empty for an anonymous offer
	Title        string `bson:"title"`
	Description  string `bson:"description,omitempty"`
	ROME         string `bson:"rome,omitempty"` // as published, in the table or not
	ROMELabel    string `bson:"rome_label,omitempty"`
	JobTitle     string `bson:"job_title,omitempty"` // ROME appellation
	Sector       string `bson:"sector"`
	Scheme       string `bson:"scheme,omitempty"`
	SchemeGiven  bool   `bson:"scheme_given,omitempty"` // by a person, not by the rule
	NAF          string `bson:"naf,omitempty"`

	Place      Place      `bson:"place"`
	Contract   Contract   `bson:"contract"`
	Posts      int32      `bson:"posts"`
	Experience Experience `bson:"experience"`
	Hours      Hours      `bson:"hours"`
	Pay        Pay        `bson:"pay"`
	Languages  []Language `bson:"languages,omitempty"`
	Licences   []Licence  `bson:"licences,omitempty"`
	Training   []Training `bson:"training,omitempty"`
	Skills     []Skill    `bson:"skills,omitempty"`

	StartsOn string `bson:"starts_on,omitempty"` // YYYY-MM-DD
	EndsOn   string `bson:"ends_on,omitempty"`

	PublishedAt time.Time `bson:"published_at"`
	RevisedAt   time.Time `bson:"revised_at"` // at the source
	Notes       []Note    `bson:"notes,omitempty"`
}

// Place is where the work is.
type Place struct {
	Text        string  `bson:"text,omitempty"` // as published: "01 - CONFRANCON"
	Commune     string  `bson:"commune,omitempty"`
	Postcode    string  `bson:"postcode,omitempty"`
	Departement string  `bson:"departement,omitempty"`
	Region      string  `bson:"region,omitempty"`
	Latitude    float64 `bson:"latitude,omitempty"`
	Longitude   float64 `bson:"longitude,omitempty"`
}

// Language is one that the offer asks for.
type Language struct {
	Code     string `bson:"code,omitempty" json:"code"` // ISO 639-1; empty when the text is not understood
	CEFR     string `bson:"cefr,omitempty" json:"cefr,omitempty"`
	Required bool   `bson:"required,omitempty" json:"required"`
	Text     string `bson:"text,omitempty" json:"text,omitempty"`
}

// Licence is a driving licence that the offer asks for.
type Licence struct {
	Category string `bson:"category,omitempty" json:"category"` // empty when the text is not understood
	Required bool   `bson:"required,omitempty" json:"required"`
	Text     string `bson:"text,omitempty" json:"text,omitempty"`
}

// Training is a diploma or a field of training that the offer asks for.
type Training struct {
	Code     string `bson:"code,omitempty" json:"code,omitempty"`
	Field    string `bson:"field,omitempty" json:"field,omitempty"`
	Text     string `bson:"text,omitempty" json:"text,omitempty"`   // level, as published
	Level    int32  `bson:"level,omitempty" json:"level,omitempty"` // of the French framework; 0 when none or not understood
	Comment  string `bson:"comment,omitempty" json:"comment,omitempty"`
	Required bool   `bson:"required,omitempty" json:"required"`
}

// Skill is one that the offer asks for.
type Skill struct {
	Code     string `bson:"code,omitempty" json:"code,omitempty"` // OGR code of a ROME item; as published, so not always one
	Text     string `bson:"text" json:"text"`
	Required bool   `bson:"required,omitempty" json:"required"`
}

// Fill is one post that was filled; it stays when the post is given back, so that
// a repeated message is known.
type Fill struct {
	DecisionID  string    `bson:"decision_id,omitempty" json:"decision_id,omitempty"`
	CandidateID string    `bson:"candidate_id,omitempty" json:"candidate_id,omitempty"`
	Key         string    `bson:"key,omitempty" json:"-"` // of the command, when it is to be repeatable
	Fingerprint string    `bson:"fingerprint,omitempty" json:"-"`
	At          time.Time `bson:"at" json:"at"`
	// ReleasedAt is when the post was given back, zero while it is filled.
	ReleasedAt time.Time `bson:"released_at,omitempty" json:"released_at,omitzero"`
	// Waiting says that a decision found no post left. Decisions about different
	// people come in any order: the one that gives a post back may follow.
	Waiting bool `bson:"waiting,omitempty" json:"waiting,omitempty"`
}

// stands says whether the fill takes a post.
func (f *Fill) stands() bool { return !f.Waiting && f.ReleasedAt.IsZero() }

// classify sets what follows from the rest: region, sector, and the scheme where
// nobody named one. Source of the rule: reference.SchemeOf.
func (c *Content) classify() {
	c.Place.Region = reference.Region(c.Place.Departement)
	c.Sector = reference.Sector(c.ROME)
	if !c.SchemeGiven {
		c.Scheme = reference.SchemeOf(c.Sector, c.Contract.Code)
	}
}

// digest tells one row of a source from another.
func (c *Content) digest() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("employers: content cannot be encoded: %v", err)) // it holds only texts, numbers and times
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// Terms is what others may know of the offer.
func (o *Offer) Terms() *employersv1.Terms {
	c := &o.Content
	t := &employersv1.Terms{
		EmployerId: c.EmployerID, Rome: c.ROME, Sector: c.Sector, Scheme: c.Scheme,
		Commune: c.Place.Commune, Departement: c.Place.Departement, Region: c.Place.Region,
		Contract: c.Contract.Code, ContractMonths: c.Contract.Months,
		Posts: c.Posts, PostsFilled: o.filled(), ExperienceMonths: c.Experience.required(),
		StartsOn: c.StartsOn, EndsOn: c.EndsOn,
		PayMonthMinCents: c.Pay.FullTimeMinCents, PayMonthMaxCents: c.Pay.FullTimeMaxCents,
		HoursWeekHundredths: c.Hours.Week, Origin: o.Origin,
	}
	for _, l := range c.Languages {
		if l.Code != "" {
			t.Languages = append(t.Languages, &employersv1.LanguageNeed{Code: l.Code, Cefr: l.CEFR, Required: l.Required})
		}
	}
	for _, l := range c.Licences {
		if l.Category != "" {
			t.Licences = append(t.Licences, &employersv1.LicenceNeed{Category: l.Category, Required: l.Required})
		}
	}
	for _, s := range c.competences() {
		t.Competences = append(t.Competences, &employersv1.CompetenceNeed{Code: s.Code, Required: s.Required})
	}
	return t
}

// competences are the skills that have an OGR code, sorted by it, each once: it
// is required when it is so anywhere.
func (c *Content) competences() []CompetenceRecord {
	var out []CompetenceRecord
	for _, s := range c.Skills {
		code, ok := reference.ItemCode(s.Code)
		if !ok {
			continue
		}
		at, known := slices.BinarySearchFunc(out, code, func(have CompetenceRecord, code string) int { return strings.Compare(have.Code, code) })
		if !known {
			out = slices.Insert(out, at, CompetenceRecord{Code: code})
		}
		out[at].Required = out[at].Required || s.Required
	}
	return out
}

// filled counts the posts that are filled.
func (o *Offer) filled() (n int32) {
	for i := range o.Fills {
		if o.Fills[i].stands() {
			n++
		}
	}
	return n
}

// openOffer fills a new document.
func openOffer(emit emitter, d *docstore.Doc[Offer], origin, identity string, c Content, now time.Time) {
	d.Body = Offer{
		Origin: origin, Identity: identity, Content: c, Status: OfferOpen,
		OpenedAt: c.PublishedAt, RecordedAt: now, UpdatedAt: now,
	}
	d.Emit(emit(d.ID, c.PublishedAt, now, &employersv1.OfferOpened{Terms: d.Body.Terms()}))
}

// Outcomes of a row.
const (
	OutcomeCreated   = "created"
	OutcomeUpdated   = "updated"
	OutcomeUnchanged = "unchanged"
	OutcomeRefused   = "refused"
)

// incoming is a row of a source, read.
type incoming struct {
	id        string // of the document that it is about
	origin    string
	identity  string
	content   Content
	digest    string // tells one version of the row from another
	revisedIn string // the field that orders the versions
}

// take brings a row of a source into the offer that it is about, new or not.
// The same row again changes nothing; neither does an older one. Nothing that
// was decided here is undone by a newer row: a closed offer stays closed, a
// filled post stays filled, and an employer or a scheme that a person set stays set.
func take(emit emitter, d *docstore.Doc[Offer], in incoming, now time.Time) (outcome string, about []Note, err error) {
	c := in.content
	if d.Version == 0 && d.Body.Status == "" {
		openOffer(emit, d, in.origin, in.identity, c, now)
		d.Body.SourceDigest = in.digest
		return OutcomeCreated, nil, nil
	}
	o := &d.Body
	if o.SourceDigest == in.digest {
		return OutcomeUnchanged, nil, docstore.Unchanged
	}
	if c.RevisedAt.Before(o.Content.RevisedAt) {
		return OutcomeUnchanged, []Note{{
			Path: in.revisedIn, Code: "older", Value: c.RevisedAt.Format(time.RFC3339),
			Reason: "older than what is known of this offer (" + o.Content.RevisedAt.Format(time.RFC3339) + "); ignored",
		}}, docstore.Unchanged
	}
	if c.EmployerID == "" {
		c.EmployerID = o.Content.EmployerID
	}
	if !c.SchemeGiven && o.Content.SchemeGiven {
		c.Scheme, c.SchemeGiven = o.Content.Scheme, true
	}
	if o.Status == OfferClosed {
		about = append(about, Note{Path: "status", Code: "closed", Reason: "the offer was closed here (" + o.CloseReason + ") and stays closed"})
	}
	o.SourceDigest = in.digest
	o.revise(emit, d, c, c.RevisedAt, now)
	return OutcomeUpdated, about, nil
}

// revise replaces the content. Others hear of it when the terms have changed
// and the offer is open.
func (o *Offer) revise(emit emitter, d *docstore.Doc[Offer], c Content, occurredAt, now time.Time) {
	before := o.Terms()
	if filled := o.filled(); c.Posts < filled {
		c.Notes = append(slices.Clone(c.Notes), Note{Path: "posts", Code: "filled", Reason: fmt.Sprintf("%d posts are filled already: there cannot be fewer", filled), Value: fmt.Sprint(c.Posts)})
		c.Posts = filled
	}
	o.Content, o.UpdatedAt = c, now
	if o.Status != OfferOpen {
		return
	}
	if after := o.Terms(); !proto.Equal(before, after) {
		d.Emit(emit(d.ID, occurredAt, now, &employersv1.OfferUpdated{Terms: after}))
	}
	if o.filled() > 0 && o.filled() >= o.Content.Posts {
		o.close(emit, d, ReasonFilled, occurredAt, now)
	}
}

// close ends the offer.
func (o *Offer) close(emit emitter, d *docstore.Doc[Offer], reason string, occurredAt, now time.Time) {
	o.Status, o.CloseReason, o.ClosedAt, o.UpdatedAt = OfferClosed, reason, occurredAt, now
	d.Emit(emit(d.ID, occurredAt, now, &employersv1.OfferClosed{Terms: o.Terms(), Reason: reason}))
}

// closeBy closes the offer on somebody's word; once closed for the same reason
// it stays as it is.
func (o *Offer) closeBy(emit emitter, d *docstore.Doc[Offer], reason string, occurredAt, now time.Time) error {
	switch {
	case o.Status == OfferOpen:
		o.close(emit, d, reason, occurredAt, now)
		return nil
	case o.CloseReason == reason:
		return docstore.Unchanged
	}
	return api.Conflict("The offer is closed already (%s).", o.CloseReason)
}

// errNoPost says that a post cannot be filled.
var errNoPost = errors.New("no post to fill")

// fill fills one post. What filled one already (the same decision, candidate or
// command) changes nothing. A decision that was taken before the offer was
// withdrawn or expired still counts; one that finds no post left waits for one.
func (o *Offer) fill(emit emitter, d *docstore.Doc[Offer], f Fill, now time.Time) error {
	for i := range o.Fills {
		known := &o.Fills[i]
		switch {
		case f.Key != "" && f.Key == known.Key:
			if f.Fingerprint != known.Fingerprint {
				return api.KeyReused()
			}
			return docstore.Unchanged
		case f.DecisionID != "" && f.DecisionID == known.DecisionID:
			return docstore.Unchanged
		case f.CandidateID != "" && f.CandidateID == known.CandidateID && known.stands():
			if f.DecisionID == "" || known.DecisionID != "" {
				return docstore.Unchanged
			}
			// Filled by hand first; now we know by which decision. Others count
			// posts by decision and by hand, so they must know it too.
			o.Fills = slices.Clone(o.Fills)
			o.Fills[i].DecisionID = f.DecisionID
			o.UpdatedAt = now
			d.Emit(emit(d.ID, known.At, now, &employersv1.PostFilled{Terms: o.Terms(), DecisionId: f.DecisionID, Attributed: true}))
			o.closedStill(emit, d, now)
			return nil
		}
	}
	switch {
	case o.full() && f.DecisionID != "":
		f.Waiting = true
		o.Fills = append(slices.Clone(o.Fills), f)
		o.UpdatedAt = now
		return nil
	case o.full():
		return fmt.Errorf("%w: all %d posts are filled", errNoPost, o.Content.Posts)
	case o.Status == OfferClosed && (f.DecisionID == "" || f.At.After(o.ClosedAt)):
		return fmt.Errorf("%w: the offer is closed (%s)", errNoPost, o.CloseReason)
	}
	o.Fills = append(slices.Clone(o.Fills), f)
	o.tellFilled(emit, d, f.DecisionID, f.At, now)
	return nil
}

// tellFilled tells that a post was filled, and closes the offer with its last one.
func (o *Offer) tellFilled(emit emitter, d *docstore.Doc[Offer], decision string, occurredAt, now time.Time) {
	o.UpdatedAt = now
	d.Emit(emit(d.ID, occurredAt, now, &employersv1.PostFilled{Terms: o.Terms(), DecisionId: decision}))
	if o.closedStill(emit, d, now); o.Status == OfferOpen && o.filled() == o.Content.Posts {
		o.close(emit, d, ReasonFilled, occurredAt, now)
	}
}

// full says whether no post is left.
func (o *Offer) full() bool {
	return o.Status == OfferClosed && o.CloseReason == ReasonFilled || o.filled() >= o.Content.Posts
}

// release gives back the post that a decision filled. An offer that was closed
// because it was full is open again; whoever waits for a post gets this one. What
// was given back before, or never filled a post, changes nothing more.
func (o *Offer) release(emit emitter, d *docstore.Doc[Offer], decision string, at, now time.Time) error {
	i := slices.IndexFunc(o.Fills, func(f Fill) bool { return f.DecisionID == decision && f.ReleasedAt.IsZero() })
	if i < 0 {
		return docstore.Unchanged
	}
	o.Fills = slices.Clone(o.Fills)
	stood := o.Fills[i].stands()
	o.Fills[i].ReleasedAt, o.Fills[i].Waiting, o.UpdatedAt = at, false, now
	if !stood {
		return nil
	}
	if o.Status == OfferClosed && o.CloseReason == ReasonFilled {
		o.Status, o.CloseReason, o.ClosedAt = OfferOpen, "", time.Time{}
	}
	d.Emit(emit(d.ID, at, now, &employersv1.PostReleased{Terms: o.Terms(), DecisionId: decision}))
	o.closedStill(emit, d, now)
	next := slices.IndexFunc(o.Fills, func(f Fill) bool {
		return f.Waiting && !(o.Status == OfferClosed && f.At.After(o.ClosedAt))
	})
	if next < 0 || o.full() {
		return nil
	}
	o.Fills[next].Waiting = false
	occurred := o.Fills[next].At
	if occurred.Before(at) {
		occurred = at // there was no post for them before
	}
	o.tellFilled(emit, d, o.Fills[next].DecisionID, occurred, now)
	return nil
}

// closedStill says again that a closed offer is closed, so that this is the last
// word on it.
func (o *Offer) closedStill(emit emitter, d *docstore.Doc[Offer], now time.Time) {
	if o.Status == OfferClosed {
		d.Emit(emit(d.ID, o.ClosedAt, now, &employersv1.OfferClosed{Terms: o.Terms(), Reason: o.CloseReason}))
	}
}

// expires is the moment at which the offer is over, zero when no end is known:
// the end of its last day.
func (o *Offer) expires() time.Time {
	day, err := time.Parse(time.DateOnly, o.Content.EndsOn)
	if err != nil {
		return time.Time{}
	}
	return day.AddDate(0, 0, 1)
}

// OfferRecord is what the outside tells of an offer of its own: the body of a
// posting and of an update, which replaces all of it, and a record on the
// inbound topic.
type OfferRecord struct {
	// Ref is the sender's own name for the offer; unique for its employer.
	Ref              string             `json:"ref,omitempty"`
	EmployerID       string             `json:"employer_id,omitempty"`
	EmployerName     string             `json:"employer_name,omitempty"`
	Title            string             `json:"title"`
	Description      string             `json:"description,omitempty"`
	ROME             string             `json:"rome"`
	Scheme           string             `json:"scheme,omitempty"`   // by the rule when empty
	Contract         string             `json:"contract,omitempty"` // CDI, CDD, SAI ...
	ContractMonths   int32              `json:"contract_months,omitempty"`
	Posts            int32              `json:"posts,omitempty"` // 1 when empty
	Commune          string             `json:"commune,omitempty"`
	Postcode         string             `json:"postcode,omitempty"`
	Departement      string             `json:"departement,omitempty"`
	ExperienceMonths int32              `json:"experience_months,omitempty"`
	Languages        []LanguageRecord   `json:"languages,omitempty"`
	Licences         []LicenceRecord    `json:"licences,omitempty"`
	Competences      []CompetenceRecord `json:"competences,omitempty"`
	HoursWeek        float64            `json:"hours_week,omitempty"`
	Pay              *PayRecord         `json:"pay,omitempty"`
	StartsOn         api.Date           `json:"starts_on,omitzero"`
	EndsOn           api.Date           `json:"ends_on,omitzero"`
	// PublishedOn is the day on which the offer was made; today when empty.
	PublishedOn api.Date `json:"published_on,omitzero"`
}

// LanguageRecord is a language that an offer asks for.
type LanguageRecord struct {
	Code     string `json:"code"` // ISO 639-1
	CEFR     string `json:"cefr,omitempty"`
	Required bool   `json:"required,omitempty"`
}

// LicenceRecord is a driving licence that an offer asks for.
type LicenceRecord struct {
	Category string `json:"category"`
	Required bool   `json:"required,omitempty"`
}

// CompetenceRecord is a competence that an offer asks for.
type CompetenceRecord struct {
	Code     string `json:"code"` // OGR code of a ROME item
	Required bool   `json:"required,omitempty"`
}

// PayRecord is gross pay, in euro cents for the period.
type PayRecord struct {
	Period   string  `json:"period"` // hour, month or year
	MinCents int64   `json:"min_cents"`
	MaxCents int64   `json:"max_cents,omitempty"` // the same as the least when empty
	Months   float64 `json:"months,omitempty"`    // monthly payments in a year
}

// contracts are the codes of France Travail's reference list of contracts.
var contracts = []string{"CDI", "CDD", "SAI", "MIS", "DIN", "DDI", "LIB", "FRA", "CCE", "REP", "TTI"}

// content checks the record and gives what the offer says.
func (r *OfferRecord) content(now time.Time) (c Content, wrong []api.Field) {
	add := func(path, code, format string, args ...any) {
		wrong = append(wrong, api.Field{Path: path, Code: code, Reason: fmt.Sprintf(format, args...)})
	}
	text := func(path, s string, most int) string {
		s = strings.TrimSpace(s)
		if n := len([]rune(s)); n > most {
			add(path, "length", "at most %d characters, %d found", most, n)
		}
		return s
	}
	count := func(path string, n, least, most int32) int32 {
		if n < least || n > most {
			add(path, "range", "%d to %d expected", least, most)
		}
		return n
	}
	c = Content{
		SourceID: text("ref", r.Ref, maxName), EmployerID: text("employer_id", r.EmployerID, maxCode*2),
		EmployerName: text("employer_name", r.EmployerName, maxName),
		Title:        text("title", r.Title, maxLine), Description: text("description", r.Description, maxText),
		ROME: strings.ToUpper(strings.TrimSpace(r.ROME)), Scheme: strings.TrimSpace(r.Scheme), SchemeGiven: strings.TrimSpace(r.Scheme) != "",
		Contract:   Contract{Code: strings.ToUpper(strings.TrimSpace(r.Contract)), Months: count("contract_months", r.ContractMonths, 0, longestContract)},
		Posts:      count("posts", r.Posts, 0, maxPosts),
		Experience: Experience{Months: count("experience_months", r.ExperienceMonths, 0, longestExperience)},
		Place:      Place{Commune: r.Commune, Postcode: r.Postcode, Departement: r.Departement},
		StartsOn:   r.StartsOn.String(), EndsOn: r.EndsOn.String(),
		PublishedAt: now, RevisedAt: now,
	}
	if c.Title == "" {
		add("title", "required", "the offer needs a title")
	}
	if !romePattern.MatchString(c.ROME) {
		add("rome", "rome", "a ROME code expected, as in A1401")
	}
	if c.SchemeGiven && !knownScheme(c.Scheme) {
		add("scheme", "unknown", "one of %s expected", strings.Join(reference.Schemes().Codes(), ", "))
	}
	if c.Contract.Code != "" && !slices.Contains(contracts, c.Contract.Code) {
		add("contract", "unknown", "one of %s expected", strings.Join(contracts, ", "))
	}
	if c.Posts == 0 {
		c.Posts = 1
	}
	if c.Experience.Months > 0 {
		c.Experience.Need = needRequired
	}
	wrong = append(wrong, cleanPlace("", &c.Place.Commune, &c.Place.Postcode, &c.Place.Departement)...)
	if r.HoursWeek < 0 || r.HoursWeek > longestWeek {
		add("hours_week", "range", "0 to %d hours expected", longestWeek)
	} else {
		c.Hours.Week = int32(r.HoursWeek*100 + 0.5)
	}
	if r.Pay != nil {
		wrong = append(wrong, r.Pay.into(&c)...)
	}
	if c.StartsOn != "" && c.EndsOn != "" && c.EndsOn < c.StartsOn {
		add("ends_on", "order", "before starts_on")
	}
	if !r.PublishedOn.IsZero() {
		if r.PublishedOn.After(now) {
			add("published_on", "future", "not yet come")
		}
		c.PublishedAt = r.PublishedOn.Time
	}
	if len(r.Languages) > maxList || len(r.Licences) > maxList {
		add("languages", "length", "at most %d languages and licences", maxList)
		return c, wrong
	}
	if len(r.Competences) > maxList {
		add("competences", "length", "at most %d competences", maxList)
		return c, wrong
	}
	for i, l := range r.Languages {
		path := fmt.Sprintf("languages[%d]", i)
		need := Language{Code: strings.ToLower(strings.TrimSpace(l.Code)), CEFR: strings.ToUpper(strings.TrimSpace(l.CEFR)), Required: l.Required}
		if !languagePattern.MatchString(need.Code) {
			add(path+".code", "language", "an ISO 639-1 code expected, as in fr")
		}
		if _, ok := reference.CEFR(need.CEFR); need.CEFR != "" && !ok {
			add(path+".cefr", "cefr", "A1, A2, B1, B2, C1 or C2 expected")
		}
		c.Languages = append(c.Languages, need)
	}
	for i, l := range r.Licences {
		category, ok := reference.Licence(l.Category)
		if !ok {
			add(fmt.Sprintf("licences[%d].category", i), "licence", "a category of Directive 2006/126/EC expected, as in B or CE")
		}
		c.Licences = append(c.Licences, Licence{Category: category, Required: l.Required})
	}
	for i, s := range r.Competences {
		code, ok := reference.ItemCode(s.Code)
		if !ok {
			add(fmt.Sprintf("competences[%d].code", i), "competence", "the OGR code of a ROME competence expected, digits only as in 100023")
		}
		c.Skills = append(c.Skills, Skill{Code: code, Required: s.Required})
	}
	c.classify()
	return c, wrong
}

// into checks the pay and sets it in the content, whose hours are known already.
func (r *PayRecord) into(c *Content) (wrong []api.Field) {
	p := Pay{Period: r.Period, MinCents: r.MinCents, MaxCents: r.MaxCents, Months: r.Months}
	if p.MaxCents == 0 {
		p.MaxCents = p.MinCents
	}
	bounds, ok := plausible[p.Period]
	switch {
	case !ok:
		return []api.Field{{Path: "pay.period", Code: "unknown", Reason: "hour, month or year expected"}}
	case p.MinCents < bounds[0] || p.MaxCents > bounds[1]:
		return []api.Field{{Path: "pay.min_cents", Code: "range", Reason: fmt.Sprintf("%d to %d cents expected for a gross pay by the %s", bounds[0], bounds[1], p.Period)}}
	case p.MinCents > p.MaxCents:
		return []api.Field{{Path: "pay.max_cents", Code: "order", Reason: "less than min_cents"}}
	case p.Months != 0 && (p.Months < 1 || p.Months > 18):
		return []api.Field{{Path: "pay.months", Code: "range", Reason: "1 to 18 expected"}}
	}
	var n notes
	p.convert(c.Hours, &n)
	c.Pay, c.Notes = p, append(c.Notes, n.list...)
	return nil
}
