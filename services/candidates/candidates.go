// Package candidates keeps the people of the programme and their pathways.
//
// Two aggregates: a Candidate (who the person is; personal data stays here) and
// a Pathway (where the person stands under one scheme). What may be written in
// them is decided in this file, identity.go and pathway.go, without any I/O;
// service.go holds the use cases, store.go the collections, http.go and
// events.go the ways in.
package candidates

import (
	"fmt"
	"net/mail"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"masar.local/pkg/api"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// Purposes of a person's consents.
const (
	ConsentMatching     = "matching"
	ConsentNotification = "notification"
	ConsentDisclosure   = "employer_disclosure"
	ConsentTransfer     = "transfer"
	ConsentStatistics   = "statistics"
)

// adult is the least age, in years, at which a person may be registered
// (DOMAIN §5: registration of minors is refused by default).
const adult = 18

// Limits of a record; they only keep nonsense out.
const (
	maxText        = 100 // runes of a name, a reference, an e-mail address
	maxItems       = 20  // entries of a list
	maxCompetences = 100 // competences; the longest sheet of ROME v460 has 135
	maxExperience  = 720 // months: sixty years
	maxAge         = 100 // years
	isoDate        = time.DateOnly
	defaultContact = "fr"
)

// Record is what the outside tells of a person: the body of a registration or an
// update, a row of an import, a message on masar.in.candidates.v1. A field that
// is nil was not given.
type Record struct {
	Ref          *string         `json:"ref,omitempty"`
	NationalID   *string         `json:"national_id,omitempty"`
	Passport     *string         `json:"passport,omitempty"`
	FamilyName   *string         `json:"family_name,omitempty"`
	GivenName    *string         `json:"given_name,omitempty"`
	FamilyNameAR *string         `json:"family_name_ar,omitempty"`
	GivenNameAR  *string         `json:"given_name_ar,omitempty"`
	Sex          *string         `json:"sex,omitempty"`
	BirthDate    *string         `json:"birth_date,omitempty"`
	Governorate  *string         `json:"governorate,omitempty"`
	Email        *string         `json:"email,omitempty"`
	Phone        *string         `json:"phone,omitempty"`
	Language     *string         `json:"language,omitempty"`
	Diploma      *string         `json:"diploma_level,omitempty"`
	Occupations  []Occupation    `json:"occupations,omitempty"`
	Languages    []LanguageLevel `json:"languages,omitempty"`
	Licences     []string        `json:"licences,omitempty"`
	Competences  []string        `json:"competences,omitempty"` // OGR codes of ROME items
	From         *string         `json:"available_from,omitempty"`
	To           *string         `json:"available_to,omitempty"`
	Schemes      []string        `json:"schemes,omitempty"`
	Regions      []string        `json:"regions,omitempty"`
	Consents     []string        `json:"consents,omitempty"`
}

// Occupation is one the person can exercise.
type Occupation struct {
	ROME             string `json:"rome" bson:"rome"`
	ExperienceMonths int    `json:"experience_months" bson:"experience_months"`
}

// LanguageLevel is a tested or declared level.
type LanguageLevel struct {
	Code string `json:"code" bson:"code"` // ISO 639-1
	CEFR string `json:"cefr" bson:"cefr"` // "A1" to "C2"
}

// Candidate is a person as stored. Identity numbers are sealed with the person's
// data key; everything else of the record is in clear, in this service only.
type Candidate struct {
	Ref          string          `bson:"ref,omitempty"`
	FamilyName   string          `bson:"family_name,omitempty"`
	GivenName    string          `bson:"given_name,omitempty"`
	FamilyNameAR string          `bson:"family_name_ar,omitempty"`
	GivenNameAR  string          `bson:"given_name_ar,omitempty"`
	Sex          string          `bson:"sex,omitempty"`
	BirthDate    string          `bson:"birth_date"` // YYYY-MM-DD
	Governorate  string          `bson:"governorate"`
	Email        string          `bson:"email,omitempty"`
	Phone        string          `bson:"phone,omitempty"` // E.164
	Language     string          `bson:"language"`
	Diploma      string          `bson:"diploma_level,omitempty"`
	Occupations  []Occupation    `bson:"occupations,omitempty"`
	Languages    []LanguageLevel `bson:"languages,omitempty"`
	Licences     []string        `bson:"licences,omitempty"`
	Competences  []string        `bson:"competences,omitempty"` // OGR codes, sorted
	From         string          `bson:"available_from,omitempty"`
	To           string          `bson:"available_to,omitempty"`
	Schemes      []string        `bson:"schemes,omitempty"`
	Regions      []string        `bson:"regions,omitempty"`
	Consents     []string        `bson:"consents,omitempty"`

	NationalID []byte `bson:"national_id,omitempty"` // sealed
	Passport   []byte `bson:"passport,omitempty"`    // sealed

	// Identity are the digests by which the person is recognised; each belongs
	// to one person only.
	Identity []string `bson:"identity"`
	// NameKeys are the prefixes under which the person is found by name.
	NameKeys []string `bson:"name_keys"`

	RegisteredAt time.Time `bson:"registered_at"`
	UpdatedAt    time.Time `bson:"updated_at"`

	// Fingerprint of the registration's body, when it came with an
	// Idempotency-Key: the same key must come with the same body.
	Fingerprint string `bson:"fingerprint,omitempty"`
}

// with gives the candidate as it stands after the record: what is given
// replaces, what is not given stays. Identity numbers are not touched here.
func (c Candidate) with(r *Record) Candidate {
	text := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	text(&c.Ref, r.Ref)
	text(&c.FamilyName, r.FamilyName)
	text(&c.GivenName, r.GivenName)
	text(&c.FamilyNameAR, r.FamilyNameAR)
	text(&c.GivenNameAR, r.GivenNameAR)
	text(&c.Sex, r.Sex)
	text(&c.BirthDate, r.BirthDate)
	text(&c.Governorate, r.Governorate)
	text(&c.Email, r.Email)
	text(&c.Phone, r.Phone)
	text(&c.Language, r.Language)
	text(&c.Diploma, r.Diploma)
	text(&c.From, r.From)
	text(&c.To, r.To)
	c.Occupations = list(c.Occupations, r.Occupations)
	c.Languages = list(c.Languages, r.Languages)
	c.Licences = list(c.Licences, r.Licences)
	c.Competences = list(c.Competences, r.Competences)
	c.Schemes = list(c.Schemes, r.Schemes)
	c.Regions = list(c.Regions, r.Regions)
	c.Consents = list(c.Consents, r.Consents)
	if c.Language == "" {
		c.Language = defaultContact
	}
	c.NameKeys = nameKeys(&c)
	return c
}

func list[T any](stored, given []T) []T {
	switch {
	case given == nil:
		return stored
	case len(given) == 0:
		return nil // as it comes back from the store
	default:
		return given
	}
}

// same says whether two states of a person differ in nothing but the moment
// they were written.
func (c Candidate) same(other Candidate) bool {
	other.UpdatedAt, other.RegisteredAt, other.Fingerprint = c.UpdatedAt, c.RegisteredAt, c.Fingerprint
	return reflect.DeepEqual(c, other)
}

// birthYear is the year of birth; 0 when the date is not one.
func (c *Candidate) birthYear() int {
	t, err := time.Parse(isoDate, c.BirthDate)
	if err != nil {
		return 0
	}
	return t.Year()
}

// profile is what other services may know of the person.
func (c *Candidate) profile() *candidatesv1.Profile {
	p := &candidatesv1.Profile{
		Sex: c.Sex, Governorate: c.Governorate, BirthYear: int32(c.birthYear()), DiplomaLevel: c.Diploma,
		Licences: c.Licences, Competences: c.Competences, AvailableFrom: c.From, AvailableTo: c.To,
		Schemes: c.Schemes, Regions: c.Regions, Consents: c.Consents,
	}
	for _, o := range c.Occupations {
		p.Occupations = append(p.Occupations, &candidatesv1.Occupation{Rome: o.ROME, ExperienceMonths: int32(o.ExperienceMonths)})
	}
	for _, l := range c.Languages {
		p.Languages = append(p.Languages, &candidatesv1.Language{Code: l.Code, Cefr: l.CEFR})
	}
	return p
}

// check reports what a whole candidate must fulfil, whatever brought it there.
func (c *Candidate) check(now time.Time) []api.Field {
	var f faults
	if c.FamilyName == "" && c.FamilyNameAR == "" {
		f.add("family_name", "required", "give the family name, in Latin or Arabic letters")
	}
	if c.GivenName == "" && c.GivenNameAR == "" {
		f.add("given_name", "required", "give the given name, in Latin or Arabic letters")
	}
	if c.Governorate == "" {
		f.add("governorate", "required", "give the governorate of residence, such as TN-71")
	}
	if c.BirthDate == "" {
		f.add("birth_date", "required", "give the date of birth as YYYY-MM-DD")
	} else if born, err := time.Parse(isoDate, c.BirthDate); err == nil {
		switch {
		case born.AddDate(adult, 0, 0).After(now):
			f.add("birth_date", "minor", fmt.Sprintf("the person is under %d: minors are not registered", adult))
		case born.AddDate(maxAge, 0, 0).Before(now):
			f.add("birth_date", "range", fmt.Sprintf("the date is more than %d years ago", maxAge))
		}
	}
	if c.From != "" && c.To != "" && c.To < c.From {
		f.add("available_to", "order", "the end of the availability is before its start")
	}
	return f
}

// faults collects everything that is wrong with a record. Reasons never repeat
// a value: they are logged and answered, values are personal data.
type faults []api.Field

func (f *faults) add(path, code, reason string) {
	*f = append(*f, api.Field{Path: path, Code: code, Reason: reason})
}

var (
	reNationalID = regexp.MustCompile(`^[0-9]{8}$`)
	rePassport   = regexp.MustCompile(`^[A-Z0-9]{5,20}$`)
	rePhone      = regexp.MustCompile(`^\+[1-9][0-9]{7,14}$`)
	reROME       = regexp.MustCompile(`^[A-Z][0-9]{4}$`)
	reLanguage   = regexp.MustCompile(`^[a-z]{2}$`)
)

var consentPurposes = []string{ConsentMatching, ConsentNotification, ConsentDisclosure, ConsentTransfer, ConsentStatistics}

// clean brings the given fields of a record to the form in which they are
// stored (spaces, case, phone numbers, governorates by name) and reports every
// one that cannot be. Competences are those of jobs, any where it knows none.
func (r *Record) clean(jobs *reference.Occupations) []api.Field {
	var f faults
	f.text(r.Ref, "ref", maxText)
	r.cleanNumbers(&f)
	r.cleanNames(&f)
	r.cleanPerson(&f)
	r.cleanWishes(&f)
	r.cleanCompetences(&f, jobs)
	return f
}

// dropBlanks forgets texts that are empty: in a list, an empty cell says nothing.
func (r *Record) dropBlanks() {
	for _, p := range []**string{
		&r.Ref, &r.NationalID, &r.Passport, &r.FamilyName, &r.GivenName, &r.FamilyNameAR, &r.GivenNameAR, &r.Sex,
		&r.BirthDate, &r.Governorate, &r.Email, &r.Phone, &r.Language, &r.Diploma, &r.From, &r.To,
	} {
		if *p != nil && strings.TrimSpace(**p) == "" {
			*p = nil
		}
	}
}

func (r *Record) cleanNumbers(f *faults) {
	if f.text(r.NationalID, "national_id", maxText) {
		*r.NationalID = strings.ReplaceAll(*r.NationalID, " ", "")
		if !reNationalID.MatchString(*r.NationalID) {
			f.add("national_id", "format", "a national identity number (CIN) has 8 digits")
		}
	}
	if f.text(r.Passport, "passport", maxText) {
		*r.Passport = strings.ToUpper(strings.ReplaceAll(*r.Passport, " ", ""))
		if !rePassport.MatchString(*r.Passport) {
			f.add("passport", "format", "a passport number has 5 to 20 letters and digits")
		}
	}
}

func (r *Record) cleanNames(f *faults) {
	for _, n := range []struct {
		path  string
		value *string
	}{
		{"family_name", r.FamilyName},
		{"given_name", r.GivenName},
		{"family_name_ar", r.FamilyNameAR},
		{"given_name_ar", r.GivenNameAR},
	} {
		if !f.text(n.value, n.path, maxText) {
			continue
		}
		switch {
		case !strings.ContainsFunc(*n.value, unicode.IsLetter):
			f.add(n.path, "format", "a name has letters")
		case strings.ContainsFunc(*n.value, unicode.IsDigit):
			f.add(n.path, "format", "a name has no digits")
		case strings.HasSuffix(n.path, "_ar") && !isArabic(*n.value):
			f.add(n.path, "script", "write this name in Arabic letters, or leave it out")
		}
	}
	// Lists often put Arabic names in the only column they have.
	r.FamilyName, r.FamilyNameAR = byScript(r.FamilyName, r.FamilyNameAR)
	r.GivenName, r.GivenNameAR = byScript(r.GivenName, r.GivenNameAR)
}

func byScript(latin, arabic *string) (*string, *string) {
	if latin != nil && arabic == nil && isArabic(*latin) {
		return nil, latin
	}
	return latin, arabic
}

func (r *Record) cleanPerson(f *faults) {
	if f.text(r.Sex, "sex", maxText) {
		*r.Sex = strings.ToUpper(*r.Sex)
		f.oneOf("sex", *r.Sex, []string{"F", "M"})
	}
	f.date(r.BirthDate, "birth_date")
	if f.text(r.Governorate, "governorate", maxText) {
		if g, ok := reference.FindGovernorate(*r.Governorate); ok {
			*r.Governorate = g.Code
		} else {
			f.add("governorate", "unknown", "not one of the 24 governorates; give its ISO 3166-2 code, such as TN-71, or its name")
		}
	}
	if f.text(r.Email, "email", maxText) {
		at := strings.LastIndexByte(*r.Email, '@')
		if a, err := mail.ParseAddress(*r.Email); err != nil || a.Address != *r.Email || !strings.Contains((*r.Email)[at+1:], ".") {
			f.add("email", "format", "not an e-mail address, such as name@example.tn")
		} else {
			*r.Email = (*r.Email)[:at] + strings.ToLower((*r.Email)[at:])
		}
	}
	if f.text(r.Phone, "phone", maxText) {
		*r.Phone = phone(*r.Phone)
		if !rePhone.MatchString(*r.Phone) {
			f.add("phone", "format", "not a phone number: give it with its country code, such as +216 20 123 456")
		}
	}
	if f.text(r.Language, "language", maxText) {
		*r.Language = strings.ToLower(*r.Language)
		f.oneOf("language", *r.Language, []string{"fr", "ar"})
	}
	if f.text(r.Diploma, "diploma_level", maxText) {
		if d, ok := reference.FindDiploma(*r.Diploma); ok {
			*r.Diploma = d.Code
		} else {
			f.add("diploma_level", "unknown", "not a diploma of the reference list; give its code, such as cap or bac, or its French level")
		}
	}
}

func (r *Record) cleanWishes(f *faults) {
	if f.items("occupations", len(r.Occupations)) {
		seen := map[string]bool{}
		for i := range r.Occupations {
			o := &r.Occupations[i]
			path := fmt.Sprintf("occupations[%d]", i)
			o.ROME = strings.ToUpper(strings.TrimSpace(o.ROME))
			if !reROME.MatchString(o.ROME) {
				f.add(path+".rome", "format", "a ROME code is a letter and four digits, such as A1401")
			} else if seen[o.ROME] {
				f.add(path+".rome", "duplicate", "the occupation is named twice")
			}
			seen[o.ROME] = true
			if o.ExperienceMonths < 0 || o.ExperienceMonths > maxExperience {
				f.add(path+".experience_months", "range", fmt.Sprintf("experience is given in months, 0 to %d", maxExperience))
			}
		}
	}
	if f.items("languages", len(r.Languages)) {
		seen := map[string]bool{}
		for i := range r.Languages {
			l := &r.Languages[i]
			path := fmt.Sprintf("languages[%d]", i)
			l.Code, l.CEFR = strings.ToLower(strings.TrimSpace(l.Code)), strings.ToUpper(strings.TrimSpace(l.CEFR))
			if !reLanguage.MatchString(l.Code) {
				f.add(path+".code", "format", "a language code has two letters (ISO 639-1), such as fr")
			} else if seen[l.Code] {
				f.add(path+".code", "duplicate", "the language is named twice")
			}
			seen[l.Code] = true
			if _, ok := reference.CEFR(l.CEFR); !ok {
				f.add(path+".cefr", "unknown", "a CEFR level is one of A1, A2, B1, B2, C1, C2")
			}
		}
	}
	r.Licences = f.codes("licences", r.Licences, reference.Licence, "not a driving licence category, such as B or CE")
	f.date(r.From, "available_from")
	f.date(r.To, "available_to")
	schemes := reference.Schemes().Codes()
	r.Schemes = f.codes("schemes", r.Schemes, among(schemes), "not a scheme; known are "+strings.Join(schemes, ", "))
	r.Regions = f.codes("regions", r.Regions, region, "not the INSEE code of a French region, such as 84")
	r.Consents = f.codes("consents", r.Consents, among(consentPurposes), "not a purpose of consent; known are "+strings.Join(consentPurposes, ", "))
}

func (r *Record) cleanCompetences(f *faults, jobs *reference.Occupations) {
	if r.Competences == nil || !f.atMost(maxCompetences, "competences", len(r.Competences)) {
		return
	}
	out := make([]string, 0, len(r.Competences))
	for i, s := range r.Competences {
		path := fmt.Sprintf("competences[%d]", i)
		code, ok := reference.ItemCode(s)
		if !ok {
			f.add(path, "format", "the OGR code of a ROME competence has digits only, such as 100023")
		} else if _, known := jobs.Item(code); !known && len(jobs.Items) > 0 {
			f.add(path, "unknown", "not a competence of ROME "+jobs.Version)
		}
		out = append(out, code)
	}
	slices.Sort(out)
	r.Competences = slices.Compact(out)
}

// text trims a given text and brings it to one Unicode form. It reports whether
// there is anything left to look at.
func (f *faults) text(p *string, path string, most int) bool {
	if p == nil {
		return false
	}
	*p = strings.Join(strings.Fields(norm.NFC.String(strings.Map(invisible, *p))), " ")
	switch {
	case *p == "":
		return false
	case utf8.RuneCountInString(*p) > most:
		f.add(path, "too_long", fmt.Sprintf("at most %d characters", most))
		return false
	}
	return true
}

// invisible removes what can be copied from a document and never be seen:
// direction marks, zero-width signs, control characters.
func invisible(r rune) rune {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return ' '
	case unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Cc, r):
		return -1
	}
	return r
}

func (f *faults) oneOf(path, value string, known []string) {
	if !slices.Contains(known, value) {
		f.add(path, "unknown", "one of "+strings.Join(known, ", "))
	}
}

func (f *faults) date(p *string, path string) {
	if !f.text(p, path, maxText) {
		return
	}
	if _, err := time.Parse(isoDate, *p); err != nil {
		f.add(path, "date", "not a date of the calendar in the form YYYY-MM-DD")
	}
}

func (f *faults) items(path string, n int) bool { return f.atMost(maxItems, path, n) }

func (f *faults) atMost(most int, path string, n int) bool {
	if n > most {
		f.add(path, "too_many", fmt.Sprintf("at most %d entries", most))
		return false
	}
	return true
}

// codes cleans a set of codes: each read and known, each once, sorted.
func (f *faults) codes(path string, in []string, read func(string) (string, bool), reason string) []string {
	if in == nil || !f.items(path, len(in)) {
		return in
	}
	out := make([]string, 0, len(in))
	for i, s := range in {
		code, ok := read(s)
		if !ok {
			f.add(fmt.Sprintf("%s[%d]", path, i), "unknown", reason)
		}
		out = append(out, code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// among reads one of a few codes, in any case.
func among(known []string) func(string) (string, bool) {
	return func(s string) (string, bool) {
		code := strings.ToLower(strings.TrimSpace(s))
		return code, slices.Contains(known, code)
	}
}

// region reads the INSEE code of a region of France.
func region(s string) (string, bool) {
	s = strings.TrimSpace(s)
	return s, slices.ContainsFunc(reference.Regions(), func(r reference.InseeRegion) bool { return r.Code == s })
}

// phone brings a number to E.164: a number of 8 digits is a Tunisian one.
func phone(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" .-()/\u00a0", r) {
			return -1
		}
		return r
	}, s)
	if rest, ok := strings.CutPrefix(s, "00"); ok {
		s = "+" + rest
	}
	if len(s) == 8 && reNationalID.MatchString(s) {
		s = "+216" + s
	}
	return s
}
