package importer

import (
	"fmt"
	"math"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"masar.local/pkg/reference"
)

// builder gathers a row's cells into a candidate record.
type builder struct {
	Candidate
	list   *List
	rome   []string
	months []int
	// experience is where the last experience stood, to say so when it does not
	// fit the occupations.
	experience *cell
}

// cell is one filled cell of a known column.
type cell struct {
	column Column
	raw    string // as in the file
	text   string // tidy
}

// fault is what is wrong with a cell.
type fault struct {
	code, reason string
	warning      bool
}

// reader takes a cell into the record.
type reader func(b *builder, c *cell) *fault

func wrong(code, format string, args ...any) *fault {
	return &fault{code: code, reason: fmt.Sprintf(format, args...)}
}

func warn(code, format string, args ...any) *fault {
	return &fault{code: code, reason: fmt.Sprintf(format, args...), warning: true}
}

// Longest texts that are taken, in characters.
const (
	longestText = 200
	longestName = 100
)

func readText(field func(*builder) *string) reader {
	return func(b *builder, c *cell) *fault {
		if len([]rune(c.text)) > longestText {
			return wrong("length", "the text has more than %d characters", longestText)
		}
		*field(b) = c.text
		return nil
	}
}

func readName(field func(*builder) *string) reader {
	return func(b *builder, c *cell) *fault {
		switch {
		case len([]rune(c.text)) > longestName:
			return wrong("length", "the name has more than %d characters", longestName)
		case !strings.ContainsFunc(c.text, unicode.IsLetter):
			return wrong("name", "a name has letters")
		case strings.ContainsRune(c.text, unicode.ReplacementChar):
			return wrong("encoding", "the text was damaged when the file was saved: save the list again in UTF-8 or as .xlsx")
		case strings.Contains(c.text, "??"):
			return wrong("encoding", "the letters were lost when the file was saved: save the list again in UTF-8 or as .xlsx")
		}
		*field(b) = c.text
		return nil
	}
}

func readSex(b *builder, c *cell) *fault {
	sex, ok := sexes[reference.Fold(c.text)]
	if !ok {
		return wrong("sex", "want F, M, H, Femme, Homme, أنثى or ذكر")
	}
	b.Sex = sex
	return nil
}

func readDate(field func(*builder) *string) reader {
	return func(b *builder, c *cell) *fault {
		date, f := b.list.date(c.text)
		if f == nil {
			*field(b) = date
		}
		return f
	}
}

// date reads a date as people and spreadsheets write it.
func (l *List) date(text string) (string, *fault) {
	const want = "want YYYY-MM-DD or DD/MM/YYYY"
	text = digits(text)
	if numeric(strings.Replace(text, ".", "", 1)) {
		// A cell with nothing but a year looks like a day in 1905.
		if year, err := strconv.Atoi(text); err == nil && year >= 1900 && year <= 2100 {
			return "", wrong("date", "only a year: %s", want)
		}
		date, ok := l.table.serial(text)
		if !ok {
			return "", wrong("date", "a number that is not a date: %s", want)
		}
		return date, nil
	}
	// What other programs write behind the day.
	if i := strings.IndexAny(text, "T "); i >= 8 && strings.Contains(text[i:], ":") {
		text = text[:i]
	}
	parts := strings.FieldsFunc(text, func(c rune) bool { return c == '-' || c == '/' || c == '.' || c == ' ' })
	if len(parts) != 3 {
		return "", wrong("date", "not a date: %s", want)
	}
	if len(parts[0]) == 4 {
		parts[0], parts[2] = parts[2], parts[0]
	}
	for _, p := range parts {
		if !numeric(p) {
			return "", wrong("date", "not a date: %s", want)
		}
	}
	if len(parts[2]) != 4 || len(parts[0]) > 2 || len(parts[1]) > 2 {
		return "", wrong("date", "the year needs four digits: %s", want)
	}
	day, _ := strconv.Atoi(parts[0])
	month, _ := strconv.Atoi(parts[1])
	year, _ := strconv.Atoi(parts[2])
	at := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if at.Day() != day || int(at.Month()) != month || at.Year() != year {
		return "", wrong("date", "there is no day %d of month %d in %d (day first, then month)", day, month, year)
	}
	if year < 1900 || year > 2100 {
		return "", wrong("date", "the year %d is not between 1900 and 2100", year)
	}
	return at.Format(time.DateOnly), nil
}

func readGovernorate(b *builder, c *cell) *fault {
	g, ok := reference.FindGovernorate(digits(c.text))
	if !ok {
		return wrong("governorate", "not one of the 24 governorates, in French, Arabic or as a code such as TN-71")
	}
	b.Governorate = g.Code
	return nil
}

// whole reads a number that a spreadsheet may have written as 1.2345678E7 or
// 12345678.0, as its digits.
func whole(text string) string {
	if !strings.ContainsAny(text, ".eE") {
		return text
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n != math.Trunc(n) || n < 0 || n >= 1e15 {
		return text
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

func readCIN(b *builder, c *cell) *fault {
	text := whole(strings.NewReplacer(" ", "", "-", "").Replace(digits(c.text)))
	switch {
	case !numeric(text), len(text) > 8, strings.Trim(text, "0") == "":
		return wrong("cin", "a CIN has 8 digits")
	case len(text) < 5:
		return wrong("cin", "a CIN has 8 digits, this has %d: too few to be leading zeros lost", len(text))
	case len(text) < 8:
		b.NationalID = strings.Repeat("0", 8-len(text)) + text
		return warn("cin_padded", "leading zeros, which spreadsheets take away, were put back: %s", b.NationalID)
	}
	b.NationalID = text
	return nil
}

func readPassport(b *builder, c *cell) *fault {
	text := strings.ToUpper(whole(strings.NewReplacer(" ", "", "-", "").Replace(digits(c.text))))
	if len(text) < 5 || len(text) > 20 || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return wrong("passport", "a passport number has 5 to 20 letters and digits")
	}
	b.Passport = text
	return nil
}

func readEmail(b *builder, c *cell) *fault {
	parsed, err := mail.ParseAddress(c.text)
	if err != nil || parsed.Address != c.text || !strings.Contains(c.text[strings.LastIndexByte(c.text, '@'):], ".") {
		return wrong("email", "not one e-mail address")
	}
	b.Email = c.text
	return nil
}

// readPhone brings a number to E.164. Eight digits are Tunisian.
func readPhone(b *builder, c *cell) *fault {
	text := whole(digits(c.text))
	plus := strings.HasPrefix(text, "+")
	text = strings.NewReplacer(" ", "", ".", "", "-", "", "/", "", "(", "", ")", "", "+", "").Replace(text)
	if !numeric(text) {
		return wrong("phone", "one telephone number is wanted, such as 98 123 456 or +216 98 123 456")
	}
	switch {
	case plus:
	case strings.HasPrefix(text, "00"):
		text = text[2:]
	case len(text) == 8:
		text = "216" + text
	case len(text) == 11 && strings.HasPrefix(text, "216"):
	default:
		return wrong("phone", "the country is not clear: write + and the country code, or the 8 digits of a Tunisian number")
	}
	if len(text) < 8 || len(text) > 15 || text[0] == '0' || strings.HasPrefix(text, "216") && len(text) != 11 {
		return wrong("phone", "not a telephone number of that country: a Tunisian one has 8 digits after +216, any has 8 to 15")
	}
	b.Phone = "+" + text
	return nil
}

func readPreferredLanguage(b *builder, c *cell) *fault {
	code, ok := preferred[reference.Fold(c.text)]
	if !ok {
		return wrong("language", "messages are written in French (fr) or Arabic (ar)")
	}
	b.Language = code
	return nil
}

func readDiploma(b *builder, c *cell) *fault {
	d, ok := reference.FindDiploma(c.text)
	if !ok {
		return wrong("diploma", "not a known diploma or level")
	}
	b.DiplomaLevel = d.Code
	return nil
}

// several cuts a cell that holds several things.
func several(text string) []string {
	parts := strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(";/,|؛،\n", c) })
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return slices.DeleteFunc(parts, func(s string) bool { return s == "" })
}

func readOccupations(b *builder, c *cell) *fault {
	// An occupation's own label may hold what would cut it.
	if code, ok := b.list.occupation(c.text); ok {
		b.rome = append(b.rome, code)
		return nil
	}
	var codes []string
	for _, part := range several(c.text) {
		code, ok := b.list.occupation(part)
		if !ok {
			return wrong("rome", "%q is neither a ROME code such as A1401 nor an occupation known by that name", clip(part))
		}
		codes = append(codes, code)
	}
	b.rome = append(b.rome, codes...)
	return nil
}

// occupation reads "A1401", "a1401 - Aide agricole" or a label.
func (l *List) occupation(text string) (string, bool) {
	first, _, _ := strings.Cut(text, " ")
	if first = strings.ToUpper(strings.TrimRight(first, ":.-–")); len(first) == 5 &&
		first[0] >= 'A' && first[0] <= 'Z' && numeric(first[1:]) {
		return first, true
	}
	code, ok := l.labels()[reference.Fold(text)]
	return code, ok
}

// labelsOf maps an occupation's names to its code. A name of several
// occupations is nobody's.
func labelsOf(o *reference.Occupations) map[string]string {
	labels := map[string]string{}
	for _, code := range o.Codes() {
		job := o.Jobs[code]
		for _, name := range append([]string{job.LabelFR, job.FormerLabel}, job.Names...) {
			key := reference.Fold(name)
			if other, taken := labels[key]; key == "" || taken && other == code {
				continue
			} else if taken {
				code = "" // ambiguous
			}
			labels[key] = code
			code = job.Code
		}
	}
	for key, code := range labels {
		if code == "" {
			delete(labels, key)
		}
	}
	return labels
}

// readExperience reads lengths of time; unit is months per number without a
// unit of its own, 0 when the column does not say.
func readExperience(unit float64) reader {
	return func(b *builder, c *cell) *fault {
		parts := several(strings.ReplaceAll(digits(c.text), ",", "."))
		months := make([]int, 0, len(parts))
		for _, part := range parts {
			n, f := duration(part, unit)
			if f != nil {
				return f
			}
			months = append(months, n)
		}
		b.months = append(b.months, months...)
		b.experience = c
		return nil
	}
}

// duration reads "24", "2 ans", "18 mois", "2.5".
func duration(text string, unit float64) (int, *fault) {
	end := strings.IndexFunc(text, func(c rune) bool { return c != '.' && (c < '0' || c > '9') })
	if end < 0 {
		end = len(text)
	}
	number, err := strconv.ParseFloat(text[:end], 64)
	if err != nil {
		return 0, wrong("experience", "%q is not a length of time such as 24 mois or 2 ans", clip(text))
	}
	if word := reference.Fold(text[end:]); word != "" {
		per, ok := units[word]
		if !ok {
			return 0, wrong("experience", "%q: the unit is neither months nor years", clip(text))
		}
		unit = per
	}
	if unit == 0 && number != 0 {
		return 0, wrong("experience", "%q: months or years? name the column \"Expérience (mois)\" or \"Expérience (années)\"", clip(text))
	}
	months := math.Round(number * unit)
	if months < 0 || months > 720 {
		return 0, wrong("experience", "%q is more than 60 years", clip(text))
	}
	return int(months), nil
}

func readLevel(code string) reader {
	return func(b *builder, c *cell) *fault {
		if none[reference.Fold(c.text)] {
			return nil
		}
		// "b1", "Niveau B1", "B1 (TCF 2026)": one level among the words.
		level := ""
		for word := range strings.FieldsSeq(strings.ToUpper(reference.Fold(c.text))) {
			if _, ok := reference.CEFR(word); !ok {
				continue
			}
			if level != "" && level != word {
				return wrong("cefr", "%s or %s? one level is wanted", level, word)
			}
			level = word
		}
		if level == "" {
			return wrong("cefr", "want a level of the CEFR: %s", strings.Join(reference.CEFRLevels(), ", "))
		}
		b.Languages = append(b.Languages, Language{Code: code, CEFR: level})
		return nil
	}
}

func readLicences(b *builder, c *cell) *fault {
	if none[reference.Fold(c.text)] {
		return nil
	}
	text := strings.ReplaceAll(c.text, "+", ";")
	var found []string
	for _, part := range several(text) {
		for word := range strings.FieldsSeq(part) {
			switch reference.Fold(word) {
			case "permis", "categorie", "cat", "et", "licence", "رخصه", "صنف", "و":
				continue
			case "oui", "yes", "نعم":
				return wrong("licence", "which category? such as B, C or CE")
			}
			category, ok := reference.Licence(word)
			if !ok {
				return wrong("licence", "%q is not a licence category such as B, C, CE or D", clip(word))
			}
			found = append(found, category)
		}
	}
	b.Licences = union(b.Licences, found)
	return nil
}

// readCompetences reads OGR codes, each alone or before its label: "100023;
// 100063", "100023 - Abattre un arbre | 100063". What is none is text in somebody's
// own words: it is told and not kept, and the row is used all the same.
func readCompetences(b *builder, c *cell) *fault {
	if none[reference.Fold(c.text)] {
		return nil
	}
	var found, other []string
	for _, part := range strings.FieldsFunc(digits(c.text), func(r rune) bool { return strings.ContainsRune(";|؛", r) }) {
		words := strings.FieldsFunc(part, func(r rune) bool { return r == ' ' || r == ',' || r == '،' || r == '/' })
		switch {
		case len(words) == 0:
			continue
		case strings.ContainsFunc(part, unicode.IsLetter):
			words = words[:1] // a label may hold commas and numbers
		}
		for _, word := range words {
			if code, ok := reference.ItemCode(strings.TrimRight(whole(word), ":.-–")); ok {
				found = append(found, code)
			} else {
				other = append(other, clip(strings.TrimSpace(part)))
				break
			}
		}
	}
	b.Competences = union(b.Competences, found)
	if len(other) > 0 {
		return warn("competence", "%q is not the OGR code of a ROME competence, such as 100023: not kept", strings.Join(other, "; "))
	}
	return nil
}

var schemeNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	for _, s := range reference.Schemes().All() {
		for _, name := range []string{s.Code, s.LabelFR, s.LabelAR, s.LabelEN} {
			names[reference.Fold(name)] = s.Code
		}
	}
	return names
})

func readSchemes(b *builder, c *cell) *fault {
	found, f := lookUp(c.text, schemeNames())
	if f != nil {
		return wrong("scheme", "%s is not a scheme: %s", f.reason, strings.Join(reference.Schemes().Codes(), ", "))
	}
	b.Schemes = union(b.Schemes, found)
	return nil
}

var regionNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	for _, r := range reference.Regions() {
		names[r.Code], names[reference.Fold(r.LabelFR)] = r.Code, r.Code
		names[strings.TrimPrefix(r.Code, "0")] = r.Code
	}
	return names
})

func readRegions(b *builder, c *cell) *fault {
	found, f := lookUp(c.text, regionNames())
	if f != nil {
		return wrong("region", "%s is not a region of France, by name or INSEE code", f.reason)
	}
	b.Regions = union(b.Regions, found)
	return nil
}

// lookUp finds every part of a cell in a list of folded names; the fault's
// reason is the part that is not there.
func lookUp(text string, names map[string]string) ([]string, *fault) {
	if code, ok := names[reference.Fold(text)]; ok {
		return []string{code}, nil
	}
	var found []string
	for _, part := range several(text) {
		code, ok := names[reference.Fold(part)]
		if !ok {
			return nil, wrong("", "%q", clip(part))
		}
		found = append(found, code)
	}
	return found, nil
}

// Purposes of consent, in the order of the record.
var allPurposes = []string{"matching", "employer_disclosure", "transfer", "notification", "statistics"}

func readConsents(b *builder, c *cell) *fault {
	text := reference.Fold(c.text)
	switch {
	case none[text]:
		return nil
	case everyPurpose[text]:
		b.Consents = union(b.Consents, allPurposes)
		return nil
	}
	if yes, ok := yesNo[text]; ok && yes {
		return wrong("consent", "to what? a consent is given for a purpose: %s, or \"tous\"", strings.Join(allPurposes, ", "))
	}
	found, f := lookUp(c.text, purposes)
	if f != nil {
		return wrong("consent", "%s is not a purpose: %s", f.reason, strings.Join(allPurposes, ", "))
	}
	b.Consents = union(b.Consents, found)
	return nil
}

func readConsent(purpose string) reader {
	return func(b *builder, c *cell) *fault {
		yes, ok := yesNo[reference.Fold(c.text)]
		if !ok {
			return wrong("consent", "want oui or non")
		}
		if yes {
			b.Consents = union(b.Consents, []string{purpose})
		}
		return nil
	}
}

// union adds what is not there yet.
func union(have, more []string) []string {
	for _, s := range more {
		if !slices.Contains(have, s) {
			have = append(have, s)
		}
	}
	return have
}

// finish puts together what came from several cells.
func (b *builder) finish() *fault {
	if arabic(b.FamilyName) && b.FamilyNameAR == "" {
		b.FamilyName, b.FamilyNameAR = "", b.FamilyName
	}
	if arabic(b.GivenName) && b.GivenNameAR == "" {
		b.GivenName, b.GivenNameAR = "", b.GivenName
	}
	if len(b.rome) == 0 && len(b.months) > 0 {
		return warn("experience_unused", "experience without an occupation is not kept")
	}
	if len(b.months) > 1 && len(b.months) != len(b.rome) {
		return wrong("experience", "%d lengths of experience for %d occupations: give one for each, or one for all", len(b.months), len(b.rome))
	}
	for i, code := range b.rome {
		o := Occupation{ROME: code}
		switch len(b.months) {
		case 0:
		case 1:
			o.ExperienceMonths = b.months[0]
		default:
			o.ExperienceMonths = b.months[i]
		}
		if !slices.ContainsFunc(b.Occupations, func(have Occupation) bool { return have.ROME == code }) {
			b.Occupations = append(b.Occupations, o)
		}
	}
	return nil
}
