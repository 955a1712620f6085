package employers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"masar.local/pkg/reference"
)

const (
	maxPosts = 10_000 // of one offer; more is a mistake
	maxID    = 100    // characters of an id at France Travail; seven at present
)

var (
	romePattern     = regexp.MustCompile(`^[A-Z]\d{4}$`)
	languagePattern = regexp.MustCompile(`^[a-z]{2,3}$`)
)

// languages are the ISO 639-1 codes of the languages as France Travail names
// them, folded. Source: its reference list of languages, the part that matters here.
var languages = map[string]string{
	"francais": "fr", "anglais": "en", "arabe": "ar", "allemand": "de", "espagnol": "es", "italien": "it",
	"portugais": "pt", "neerlandais": "nl", "neerlandais flamand": "nl", "flamand": "nl", "polonais": "pl", "roumain": "ro", "russe": "ru", "turc": "tr",
	"chinois": "zh", "chinois mandarin": "zh", "mandarin": "zh", "japonais": "ja", "ukrainien": "uk", "grec": "el", "bulgare": "bg",
	"tcheque": "cs", "hongrois": "hu", "suedois": "sv", "danois": "da", "norvegien": "no", "finnois": "fi", "hebreu": "he", "coreen": "ko",
	"hindi": "hi", "persan": "fa", "vietnamien": "vi", "serbo croate": "sh", "catalan": "ca", "breton": "br", "basque": "eu", "corse": "co",
}

// readFranceTravail reads an offer in the form of France Travail's "Offres
// d'emploi v2". The form grows and its fields are all optional, so unknown
// fields are passed over, and a field that cannot be taken is noted and left
// out. Only a row without a usable id, title or date is refused: then wrong
// says why. The contact of an offer (name, mail, telephone) is not read, and
// addresses and numbers in its description are taken out.
func readFranceTravail(raw []byte) (c Content, wrong []Note) {
	var n notes
	top, err := object(raw)
	if err != nil {
		n.add("", "json", string(raw), "not a JSON object: "+err.Error())
		return c, n.list
	}
	f := fields{top, "", &n}

	var refused notes
	switch c.SourceID = f.text("id", maxLine); {
	case c.SourceID == "":
		refused.add("id", "required", raw2text(top["id"]), "every offer of France Travail has an id")
	case utf8.RuneCountInString(c.SourceID) > maxID:
		refused.add("id", "length", c.SourceID, "not an id of France Travail, which has seven characters")
	}
	c.Title = f.text("intitule", maxLine)
	if c.Title == "" {
		refused.add("intitule", "required", raw2text(top["intitule"]), "every offer has a title")
	}
	c.PublishedAt = f.instant("dateCreation", &refused)
	c.RevisedAt = f.instant("dateActualisation", &refused)
	switch {
	case len(refused.list) > 0:
	case c.PublishedAt.IsZero() && c.RevisedAt.IsZero():
		refused.add("dateCreation", "required", "", "neither dateCreation nor dateActualisation is given: the order of its versions is unknown")
	case c.RevisedAt.IsZero():
		c.RevisedAt = c.PublishedAt
	case c.PublishedAt.IsZero():
		n.add("dateCreation", "missing", "", "not given; dateActualisation is taken")
		c.PublishedAt = c.RevisedAt
	}
	if len(refused.list) > 0 {
		return c, refused.list
	}

	c.Description = withoutContacts(f.text("description", maxText))
	c.ROME, c.ROMELabel, c.JobTitle = strings.ToUpper(f.text("romeCode", maxCode)), f.text("romeLibelle", maxLine), f.text("appellationlibelle", maxLine)
	if !romePattern.MatchString(c.ROME) {
		n.add("romeCode", "rome", c.ROME, "not a ROME code (a letter and four digits); kept as it is")
	}
	c.NAF = f.text("codeNAF", maxCode)
	c.EmployerName = f.child("entreprise").text("nom", maxName)

	c.Place = readPlace(f.child("lieuTravail"))
	c.Contract = readContract(f.text("typeContrat", maxCode), f.text("typeContratLibelle", maxLine), f.text("natureContrat", maxName), &n)
	c.Posts = f.posts()
	c.Experience = readExperience(f.text("experienceExige", maxCode), f.text("experienceLibelle", maxLine), &n)
	c.Hours = readHours(f.text("dureeTravailLibelle", maxLine), f.text("dureeTravailLibelleConverti", maxLine), &n)

	pay := f.child("salaire")
	c.Pay = readPay(pay.text("libelle", maxLine), c.Hours, &n)
	c.Pay.Comment = pay.text("commentaire", maxLine)
	for _, name := range []string{"complement1", "complement2"} {
		if extra := pay.text(name, maxLine); extra != "" {
			c.Pay.Extras = append(c.Pay.Extras, extra)
		}
	}
	f.needs(&c)
	c.classify()
	c.Notes = n.list
	return c, nil
}

var (
	mailPattern  = regexp.MustCompile(`[\w.+-]+@[\w-]+(?:\.[\w-]+)+`)
	phonePattern = regexp.MustCompile(`^(?:\+33|0033|0)[\s\x{00a0}]?[1-9](?:[\s\x{00a0}.-]?\d{2}){4}\b`)
)

// longestPhone is a French number with a sign between all its parts, in bytes.
const longestPhone = 32

// withoutContacts takes the e-mail addresses and French telephone numbers out of
// a free text: they are somebody's personal data, and nothing here needs them.
func withoutContacts(text string) string {
	const gone = "[retiré]"
	if strings.Contains(text, "@") {
		text = mailPattern.ReplaceAllString(text, gone)
	}
	var b strings.Builder
	kept := 0
	for i := 0; i < len(text); i++ {
		// A number begins with 0 or +, and not within another word or number.
		if text[i] != '0' && text[i] != '+' || text[i] == '0' && i > 0 && isWord(text[i-1]) {
			continue
		}
		at := phonePattern.FindStringIndex(text[i:min(len(text), i+longestPhone)])
		if at == nil {
			continue
		}
		b.WriteString(text[kept:i])
		b.WriteString(gone)
		kept = i + at[1]
		i = kept - 1
	}
	if kept == 0 {
		return text
	}
	return b.String() + text[kept:]
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

var placePattern = regexp.MustCompile(`^\s*(\d{2,3}|2[ABab])\s*-\s*\S`)

func readPlace(f fields) Place {
	p := Place{
		Text: f.text("libelle", maxLine), Commune: strings.ToUpper(f.text("commune", maxCode)), Postcode: f.text("codePostal", maxCode),
		Latitude: f.number("latitude", -90, 90), Longitude: f.number("longitude", -180, 180),
	}
	if p.Departement = reference.DepartementOfCommune(p.Commune); p.Commune != "" && p.Departement == "" {
		f.notes.add(f.path+"commune", "commune", p.Commune, "not the code of a commune in a department of France; left out")
		p.Commune = ""
	}
	if p.Departement == "" {
		if m := placePattern.FindStringSubmatch(p.Text); m != nil {
			d, _ := reference.FindDepartement(m[1])
			p.Departement = d.Code
		}
	}
	if p.Departement == "" {
		p.Departement = reference.DepartementOfPostalCode(p.Postcode)
	}
	if p.Departement == "" {
		f.notes.add(strings.TrimSuffix(f.path, "."), "departement", p.Text, "the department cannot be told")
	}
	return p
}

// posts reads nombrePostes. France Travail gives 1 when an employer gives none.
func (f fields) posts() int32 {
	raw, ok := f.members["nombrePostes"]
	if !ok || isNull(raw) {
		f.notes.add("nombrePostes", "missing", "", "not given; taken as 1")
		return 1
	}
	text := raw2text(raw)
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || number != math.Trunc(number) || number < 1 || number > maxPosts {
		f.notes.add("nombrePostes", "range", text, fmt.Sprintf("a number from 1 to %d expected; taken as 1", maxPosts))
		return 1
	}
	return int32(number)
}

// needs reads what the offer asks for; the same need twice is one.
func (f fields) needs(c *Content) {
	for e := range f.each("langues") {
		l := Language{Text: e.text("libelle", maxName), Required: e.required()}
		if l.Text == "" {
			continue
		}
		if l.Code = languages[reference.Fold(l.Text)]; l.Code == "" {
			f.notes.add(e.path+"libelle", "language", l.Text, "an unknown language; kept as text")
		}
		c.Languages = once(c.Languages, l)
	}
	for e := range f.each("permis") {
		l := Licence{Text: e.text("libelle", maxName), Required: e.required()}
		if l.Text == "" {
			continue
		}
		var ok bool
		if l.Category, ok = reference.Licence(l.Text); !ok {
			l.Category = ""
			f.notes.add(e.path+"libelle", "licence", l.Text, "not a category of driving licence; kept as text")
		}
		c.Licences = once(c.Licences, l)
	}
	for e := range f.each("formations") {
		t := Training{
			Code: e.text("codeFormation", maxCode), Field: e.text("domaineLibelle", maxLine), Text: e.text("niveauLibelle", maxLine),
			Comment: e.text("commentaire", maxLine), Required: e.required(),
		}
		if t == (Training{Required: t.Required}) {
			continue
		}
		if level, ok := reference.DiplomaLevel(t.Text); ok {
			t.Level = int32(level)
		} else if t.Text != "" {
			f.notes.add(e.path+"niveauLibelle", "diploma", t.Text, "not a level of the reference list; kept as text")
		}
		c.Training = once(c.Training, t)
	}
	skills, words, first := 0, []string{}, ""
	for e := range f.each("competences") {
		s := Skill{Code: e.text("code", maxCode), Text: e.text("libelle", maxLine), Required: e.required()}
		if s.Code == "" && s.Text == "" {
			continue
		}
		c.Skills = once(c.Skills, s)
		skills++
		if _, ok := reference.ItemCode(s.Code); !ok {
			words, first = append(words, cmp.Or(s.Text, s.Code)), cmp.Or(first, e.path+"libelle")
		}
	}
	if len(words) > 0 {
		f.notes.add(first, "competence", strings.Join(words, "; "),
			fmt.Sprintf("%d of %d competences have no OGR code of ROME; kept as text, and not matched", len(words), skills))
	}
}

func once[T comparable](list []T, item T) []T {
	for _, known := range list {
		if known == item {
			return list
		}
	}
	return append(list, item)
}

// fields reads the members of a JSON object of the source, forgivingly: what is
// not of the expected type is noted and left out.
type fields struct {
	members map[string]json.RawMessage
	path    string // with a dot at its end
	notes   *notes
}

func object(raw []byte) (map[string]json.RawMessage, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) && json.Valid(raw) {
		return nil, fmt.Errorf("an object expected, %s found", kindOf(raw))
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, err
	}
	return members, nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func kindOf(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0:
		return "nothing"
	case raw[0] == '{':
		return "an object"
	case raw[0] == '[':
		return "a list"
	case raw[0] == '"':
		return "a text"
	case raw[0] == 't' || raw[0] == 'f':
		return "true or false"
	case raw[0] == 'n':
		return "null"
	}
	return "a number"
}

// raw2text gives a JSON text or number as it reads, anything else as JSON.
func raw2text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return strings.TrimSpace(s)
	}
	return string(bytes.TrimSpace(raw))
}

// text reads a text of at most a number of characters; a number is taken for one.
func (f fields) text(name string, most int) string {
	raw, ok := f.members[name]
	if !ok || isNull(raw) {
		return ""
	}
	switch kindOf(raw) {
	case "a text":
	case "a number":
		f.notes.add(f.path+name, "type", string(raw), "a number found where a text belongs; taken as text")
	default:
		f.notes.add(f.path+name, "type", string(raw), "a text expected, "+kindOf(raw)+" found; left out")
		return ""
	}
	s := strings.ReplaceAll(raw2text(raw), "\x00", "")
	if utf8.RuneCountInString(s) > most {
		f.notes.add(f.path+name, "length", "", fmt.Sprintf("longer than %d characters; cut", most))
		s = short(s, most)
	}
	return s
}

func (f fields) number(name string, least, most float64) float64 {
	raw, ok := f.members[name]
	if !ok || isNull(raw) {
		return 0
	}
	number, err := strconv.ParseFloat(raw2text(raw), 64)
	if err != nil || !(number >= least && number <= most) {
		f.notes.add(f.path+name, "range", string(raw), fmt.Sprintf("a number from %g to %g expected; left out", least, most))
		return 0
	}
	return number
}

func (f fields) child(name string) fields {
	at := fields{path: f.path + name + ".", notes: f.notes}
	raw, ok := f.members[name]
	if !ok || isNull(raw) {
		return at
	}
	members, err := object(raw)
	if err != nil {
		f.notes.add(f.path+name, "type", string(raw), "an object expected, "+kindOf(raw)+" found; left out")
		return at
	}
	at.members = members
	return at
}

// each goes through a list of objects; one object alone is taken for a list of one.
func (f fields) each(name string) func(yield func(fields) bool) {
	return func(yield func(fields) bool) {
		raw, ok := f.members[name]
		if !ok || isNull(raw) {
			return
		}
		list := []json.RawMessage{raw}
		switch kindOf(raw) {
		case "a list":
			if err := json.Unmarshal(raw, &list); err != nil {
				return // it was valid JSON as part of the row
			}
		case "an object":
			f.notes.add(f.path+name, "type", "", "a list expected, an object found; taken as a list of one")
		default:
			f.notes.add(f.path+name, "type", string(raw), "a list expected, "+kindOf(raw)+" found; left out")
			return
		}
		if len(list) > maxList {
			f.notes.add(f.path+name, "length", "", fmt.Sprintf("more than %d entries; the rest is left out", maxList))
			list = list[:maxList]
		}
		for i, item := range list {
			at := fmt.Sprintf("%s%s[%d]", f.path, name, i)
			members, err := object(item)
			if err != nil {
				f.notes.add(at, "type", string(item), "an object expected, "+kindOf(item)+" found; left out")
				continue
			}
			if !yield(fields{members, at + ".", f.notes}) {
				return
			}
		}
	}
}

// required reads exigence: E (required) or S (wished).
func (f fields) required() bool {
	switch code := strings.ToUpper(f.text("exigence", maxCode)); code {
	case needRequired:
		return true
	case needWished, "":
	default:
		f.notes.add(f.path+"exigence", "unknown", code, "neither E nor S; taken as wished")
	}
	return false
}

// instantLayouts are the forms in which the API, its exports and spreadsheets
// made from them give a moment; those without a zone are taken as UTC.
var instantLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", time.DateOnly,
}

// instant reads a moment, zero when it is not given. One that is given and is
// none refuses the row.
func (f fields) instant(name string, refused *notes) time.Time {
	raw, ok := f.members[name]
	if !ok || isNull(raw) {
		return time.Time{}
	}
	text := raw2text(raw)
	if text == "" {
		return time.Time{}
	}
	if kindOf(raw) == "a text" {
		for _, layout := range instantLayouts {
			t, err := time.Parse(layout, text)
			if err != nil {
				continue
			}
			if t.Year() < 2000 || t.Year() > 2100 {
				refused.add(f.path+name, "date", text, "not a date of our time")
				return time.Time{}
			}
			return t.UTC().Truncate(time.Millisecond)
		}
	}
	refused.add(f.path+name, "date", text, "a date that exists expected, as in 2025-08-21T06:32:43.000Z")
	return time.Time{}
}
