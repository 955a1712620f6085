// Package employers keeps French employers and their job offers.
//
// Two aggregates: an Employer (who offers work) and an Offer (which work, where,
// on which terms, and how many posts are left). What may be written in them is
// decided without I/O in employers.go, offer.go, francetravail.go, pay.go and
// wording.go; service.go holds the use cases, store.go the collections, http.go
// and events.go the ways in. A company's name and contacts never leave the
// service: events carry ids, codes and quantities.
package employers

import (
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
	employersv1 "masar.local/proto/masar/employers/v1"
)

// source is the ce_source of our events.
const source = "/employers"

// States of an employer.
const (
	StatusActive    = "active"
	StatusSuspended = "suspended"
)

// Limits of what is taken in, in characters; they only keep nonsense out.
const (
	maxName = 200
	maxCode = 20
	maxLine = 500
	maxText = 20_000
	maxList = 100
)

// EmployerRecord is what the outside tells of an employer: the body of a
// registration and of an update, which replaces all of it.
type EmployerRecord struct {
	LegalName string   `json:"legal_name"`
	SIRET     string   `json:"siret"`
	NAF       string   `json:"naf,omitempty"`
	Address   Address  `json:"address,omitzero"`
	Status    string   `json:"status,omitempty"` // StatusActive when empty
	Contact   *Contact `json:"contact,omitempty"`
}

// Address is a place in France.
type Address struct {
	Street      string `json:"street,omitempty" bson:"street,omitempty"`
	Postcode    string `json:"postcode,omitempty" bson:"postcode,omitempty"`
	City        string `json:"city,omitempty" bson:"city,omitempty"`
	Commune     string `json:"commune,omitempty" bson:"commune,omitempty"` // INSEE code
	Departement string `json:"departement,omitempty" bson:"departement,omitempty"`
}

// Contact is whom to write to at the employer. Personal data: it stays here.
type Contact struct {
	Name  string `json:"name,omitempty" bson:"name,omitempty"`
	Email string `json:"email,omitempty" bson:"email,omitempty"`
	Phone string `json:"phone,omitempty" bson:"phone,omitempty"`
}

// Employer is an employer as stored.
type Employer struct {
	LegalName    string    `bson:"legal_name"`
	NameKey      string    `bson:"name_key"` // the name folded, to search by its beginning
	SIRET        string    `bson:"siret"`
	NAF          string    `bson:"naf,omitempty"`
	Address      Address   `bson:"address"`
	Status       string    `bson:"status"`
	Contact      Contact   `bson:"contact"`
	RegisteredAt time.Time `bson:"registered_at"`
	UpdatedAt    time.Time `bson:"updated_at"`
	// Fingerprint of the registration's body when it came with an Idempotency-Key.
	Fingerprint string `bson:"fingerprint,omitempty"`
}

var nafPattern = regexp.MustCompile(`^(\d{2})\.?(\d{2})([A-Z])$`)

// clean puts the record in one form and says what is wrong with it.
func (r *EmployerRecord) clean() (wrong []api.Field) {
	add := func(path, code, reason string) {
		wrong = append(wrong, api.Field{Path: path, Code: code, Reason: reason})
	}
	r.LegalName = strings.Join(strings.Fields(r.LegalName), " ")
	switch {
	case r.LegalName == "":
		add("legal_name", "required", "the company's legal name is needed")
	case utf8.RuneCountInString(r.LegalName) > maxName:
		add("legal_name", "length", "at most 200 characters")
	}
	r.SIRET = digits(r.SIRET)
	if reason := checkSIRET(r.SIRET); reason != "" {
		add("siret", "siret", reason)
	}
	if r.NAF != "" {
		m := nafPattern.FindStringSubmatch(strings.ToUpper(strings.ReplaceAll(r.NAF, " ", "")))
		if m == nil {
			add("naf", "naf", "a NAF rev. 2 code expected, as in 01.21Z")
		} else {
			r.NAF = m[1] + "." + m[2] + m[3]
		}
	}
	switch r.Status {
	case "":
		r.Status = StatusActive
	case StatusActive, StatusSuspended:
	default:
		add("status", "unknown", "active or suspended expected")
	}
	wrong = append(wrong, r.Address.clean("address.")...)
	if r.Contact != nil {
		wrong = append(wrong, r.Contact.clean()...)
	}
	return wrong
}

func (a *Address) clean(path string) (wrong []api.Field) {
	a.Street, a.City = strings.TrimSpace(a.Street), strings.TrimSpace(a.City)
	for name, text := range map[string]string{"street": a.Street, "city": a.City} {
		if utf8.RuneCountInString(text) > maxName {
			wrong = append(wrong, api.Field{Path: path + name, Code: "length", Reason: "at most 200 characters"})
		}
	}
	return append(wrong, cleanPlace(path, &a.Commune, &a.Postcode, &a.Departement)...)
}

// cleanPlace checks the codes of a place against each other and derives the
// department where it is not given: from the commune, else from the postal code.
func cleanPlace(path string, commune, postcode, departement *string) (wrong []api.Field) {
	add := func(name, code, reason string) {
		wrong = append(wrong, api.Field{Path: path + name, Code: code, Reason: reason})
	}
	*commune, *postcode, *departement = strings.ToUpper(strings.TrimSpace(*commune)), strings.TrimSpace(*postcode), strings.ToUpper(strings.TrimSpace(*departement))
	if *postcode != "" && (len(*postcode) != 5 || digits(*postcode) != *postcode) {
		add("postcode", "postcode", "five digits expected")
	}
	from := reference.DepartementOfCommune(*commune)
	if *commune != "" && from == "" {
		add("commune", "commune", "an INSEE commune code expected, as in 01053 or 2A004")
	}
	if *departement != "" {
		if _, ok := reference.FindDepartement(*departement); !ok {
			add("departement", "departement", "an INSEE department code expected, as in 01, 2A or 974")
		} else if from != "" && from != *departement {
			add("departement", "mismatch", "the commune is in department "+from)
		}
		return wrong
	}
	if *departement = from; from == "" {
		*departement = reference.DepartementOfPostalCode(*postcode)
	}
	return wrong
}

var e164Pattern = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)

func (c *Contact) clean() (wrong []api.Field) {
	add := func(name, code, reason string) {
		wrong = append(wrong, api.Field{Path: "contact." + name, Code: code, Reason: reason})
	}
	c.Name, c.Email = strings.TrimSpace(c.Name), strings.TrimSpace(c.Email)
	if utf8.RuneCountInString(c.Name) > maxName {
		add("name", "length", "at most 200 characters")
	}
	if c.Email != "" {
		if a, err := mail.ParseAddress(c.Email); err != nil || a.Address != c.Email || len(c.Email) > maxName {
			add("email", "email", "an e-mail address expected, as in rh@example.fr")
		}
	}
	if c.Phone != "" {
		c.Phone = strings.NewReplacer(" ", "", ".", "", "-", "", "(0)", "").Replace(c.Phone)
		if !e164Pattern.MatchString(c.Phone) {
			add("phone", "phone", "an international number expected, as in +33 4 74 00 00 00")
		}
	}
	return wrong
}

// digits takes the white space out of a number as people write it.
func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '\u202f' {
			return -1
		}
		return r
	}, s)
}

// laPoste is the SIREN of La Poste, whose establishments are numbered past what
// the check digit allows.
const laPoste = "356000000"

// checkSIRET says what is wrong with a SIRET, "" when nothing is: 14 digits,
// the first 9 (the SIREN) and the whole both of check sum 0 by Luhn's formula
// (ISO/IEC 7812-1 annex B). La Poste's establishments need only a sum of digits
// that 5 divides (INSEE, Sirene documentation).
func checkSIRET(siret string) string {
	if len(siret) != 14 || strings.ContainsFunc(siret, func(r rune) bool { return r < '0' || r > '9' }) {
		return "14 digits expected"
	}
	switch {
	case siret[:9] == "000000000":
		return "not a company's number"
	case !luhn(siret[:9]):
		return "the check digit of the SIREN (first 9 digits) does not fit: a digit was mistyped"
	case luhn(siret) || siret[:9] == laPoste && digitSum(siret)%5 == 0:
		return ""
	}
	return "the check digit does not fit: a digit was mistyped"
}

func luhn(number string) bool {
	sum := 0
	for i := range len(number) {
		d := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

func digitSum(number string) (sum int) {
	for _, c := range []byte(number) {
		sum += int(c - '0')
	}
	return sum
}

// with gives the employer as it stands after the record. A record without a
// contact leaves the contact as it is: who may not see it cannot send it back.
func (e Employer) with(r *EmployerRecord) Employer {
	e.LegalName, e.NameKey = r.LegalName, reference.Fold(r.LegalName)
	e.SIRET, e.NAF, e.Address, e.Status = r.SIRET, r.NAF, r.Address, r.Status
	if r.Contact != nil {
		e.Contact = *r.Contact
	}
	return e
}

// registerEmployer fills a new document.
func registerEmployer(emit emitter, d *docstore.Doc[Employer], r *EmployerRecord, fingerprint string, now time.Time) {
	d.Body = Employer{RegisteredAt: now, UpdatedAt: now, Fingerprint: fingerprint}.with(r)
	d.Emit(emit(d.ID, now, now, &employersv1.EmployerRegistered{
		Naf: d.Body.NAF, Departement: d.Body.Address.Departement, Status: d.Body.Status,
	}))
}

// updateEmployer replaces what is known of an employer; the same record again changes nothing.
func updateEmployer(emit emitter, d *docstore.Doc[Employer], r *EmployerRecord, now time.Time) error {
	before := d.Body
	after := before.with(r)
	if after == before {
		return docstore.Unchanged
	}
	after.UpdatedAt = now
	d.Body = after
	// Name and contact are nobody else's business.
	if after.NAF != before.NAF || after.Status != before.Status || after.Address.Departement != before.Address.Departement {
		d.Emit(emit(d.ID, now, now, &employersv1.EmployerUpdated{Naf: after.NAF, Departement: after.Address.Departement, Status: after.Status}))
	}
	return nil
}

// emitter makes outbox entries of events of the employers topic.
type emitter func(subject string, occurredAt, recordedAt time.Time, data eventData) docstore.Event

// knownScheme reports whether there is a scheme of this code.
func knownScheme(code string) bool { return slices.Contains(reference.Schemes().Codes(), code) }
