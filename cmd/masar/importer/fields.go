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

// wrong refuses a cell. The reason is for the reader of the list: "French | Arabic".
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
			return wrong("length", "le texte dépasse %[1]d caractères | يتجاوز النص %[1]d حرفا", longestText)
		}
		*field(b) = c.text
		return nil
	}
}

func readName(field func(*builder) *string) reader {
	return func(b *builder, c *cell) *fault {
		switch {
		case len([]rune(c.text)) > longestName:
			return wrong("length", "le nom dépasse %[1]d caractères | يتجاوز الاسم %[1]d حرفا", longestName)
		case !strings.ContainsFunc(c.text, unicode.IsLetter):
			return wrong("name", "un nom s'écrit avec des lettres | يُكتب الاسم بالحروف")
		case strings.ContainsRune(c.text, unicode.ReplacementChar):
			return wrong("encoding", "le texte a été abîmé à l'enregistrement du fichier : enregistrez la liste de nouveau, en UTF-8 ou en .xlsx | تلف النص عند تسجيل الملف: أعيدوا تسجيل القائمة في صيغة UTF-8 أو .xlsx")
		case strings.Contains(c.text, "??"):
			return wrong("encoding", "des lettres ont été perdues à l'enregistrement du fichier : enregistrez la liste de nouveau, en UTF-8 ou en .xlsx | ضاعت حروف عند تسجيل الملف: أعيدوا تسجيل القائمة في صيغة UTF-8 أو .xlsx")
		}
		*field(b) = c.text
		return nil
	}
}

func readSex(b *builder, c *cell) *fault {
	sex, ok := sexes[reference.Fold(c.text)]
	if !ok {
		return wrong("sex", "écrivez F, M, H, Femme, Homme, أنثى ou ذكر | اكتبوا أنثى أو ذكر، أو F أو M")
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
	const (
		want   = "écrivez AAAA-MM-JJ ou JJ/MM/AAAA"
		wantAR = "اكتبوا اليوم/الشهر/السنة"
	)
	text = digits(text)
	if numeric(strings.Replace(text, ".", "", 1)) {
		// A cell with nothing but a year looks like a day in 1905.
		if year, err := strconv.Atoi(text); err == nil && year >= 1900 && year <= 2100 {
			return "", wrong("date", "seulement une année : %s | سنة فقط: %s", want, wantAR)
		}
		date, ok := l.table.serial(text)
		if !ok {
			return "", wrong("date", "un nombre qui n'est pas une date : %s | رقم لا يمثل تاريخا: %s", want, wantAR)
		}
		return date, nil
	}
	// What other programs write behind the day.
	if i := strings.IndexAny(text, "T "); i >= 8 && strings.Contains(text[i:], ":") {
		text = text[:i]
	}
	parts := strings.FieldsFunc(text, func(c rune) bool { return c == '-' || c == '/' || c == '.' || c == ' ' })
	if len(parts) != 3 {
		return "", wrong("date", "ce n'est pas une date : %s | ليس تاريخا: %s", want, wantAR)
	}
	if len(parts[0]) == 4 {
		parts[0], parts[2] = parts[2], parts[0]
	}
	for _, p := range parts {
		if !numeric(p) {
			return "", wrong("date", "ce n'est pas une date : %s | ليس تاريخا: %s", want, wantAR)
		}
	}
	if len(parts[2]) != 4 || len(parts[0]) > 2 || len(parts[1]) > 2 {
		return "", wrong("date", "l'année s'écrit avec quatre chiffres : %s | تُكتب السنة بأربعة أرقام: %s", want, wantAR)
	}
	day, _ := strconv.Atoi(parts[0])
	month, _ := strconv.Atoi(parts[1])
	year, _ := strconv.Atoi(parts[2])
	at := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if at.Day() != day || int(at.Month()) != month || at.Year() != year {
		return "", wrong("date", "il n'y a pas de jour %[1]d du mois %[2]d en %[3]d (le jour d'abord, puis le mois) | لا وجود لليوم %[1]d من الشهر %[2]d في سنة %[3]d (اليوم أولا ثم الشهر)", day, month, year)
	}
	if year < 1900 || year > 2100 {
		return "", wrong("date", "l'année %[1]d n'est pas entre 1900 et 2100 | السنة %[1]d ليست بين 1900 و2100", year)
	}
	return at.Format(time.DateOnly), nil
}

func readGovernorate(b *builder, c *cell) *fault {
	g, ok := reference.FindGovernorate(digits(c.text))
	if !ok {
		return wrong("governorate", "ce n'est pas l'un des 24 gouvernorats, en français, en arabe ou par un code tel que TN-71 | ليست من الولايات الأربع والعشرين، بالعربية أو بالفرنسية أو برمز مثل TN-71")
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
		return wrong("cin", "un numéro de CIN a 8 chiffres | يتكون رقم بطاقة التعريف الوطنية من 8 أرقام")
	case len(text) < 5:
		return wrong("cin", "un numéro de CIN a 8 chiffres, celui-ci en a %[1]d : trop peu pour n'avoir perdu que des zéros au début | يتكون رقم بطاقة التعريف الوطنية من 8 أرقام، وعددها هنا %[1]d: النقص أكبر من أصفار ضائعة في البداية", len(text))
	case len(text) < 8:
		b.NationalID = strings.Repeat("0", 8-len(text)) + text
		return warn("cin_padded", "les zéros du début, que les tableurs suppriment, ont été remis : %[1]s | أُعيدت أصفار البداية التي تحذفها الجداول: %[1]s", b.NationalID)
	}
	b.NationalID = text
	return nil
}

func readPassport(b *builder, c *cell) *fault {
	text := strings.ToUpper(whole(strings.NewReplacer(" ", "", "-", "").Replace(digits(c.text))))
	if len(text) < 5 || len(text) > 20 || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return wrong("passport", "un numéro de passeport a de 5 à 20 lettres et chiffres | يتكون رقم جواز السفر من 5 إلى 20 حرفا ورقما")
	}
	b.Passport = text
	return nil
}

func readEmail(b *builder, c *cell) *fault {
	parsed, err := mail.ParseAddress(c.text)
	if err != nil || parsed.Address != c.text || !strings.Contains(c.text[strings.LastIndexByte(c.text, '@'):], ".") {
		return wrong("email", "une adresse électronique, et une seule, est attendue | يُنتظر عنوان بريد إلكتروني واحد")
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
		return wrong("phone", "un seul numéro de téléphone est attendu, tel que 98 123 456 ou +216 98 123 456 | يُنتظر رقم هاتف واحد، مثل \u206698 123 456\u2069 أو \u2066+216 98 123 456\u2069")
	}
	switch {
	case plus:
	case strings.HasPrefix(text, "00"):
		text = text[2:]
	case len(text) == 8:
		text = "216" + text
	case len(text) == 11 && strings.HasPrefix(text, "216"):
	default:
		return wrong("phone", "le pays n'est pas clair : écrivez + et l'indicatif du pays, ou les 8 chiffres d'un numéro tunisien | البلد غير واضح: اكتبوا + ثم رمز البلد، أو الأرقام الثمانية لرقم تونسي")
	}
	if len(text) < 8 || len(text) > 15 || text[0] == '0' || strings.HasPrefix(text, "216") && len(text) != 11 {
		return wrong("phone", "ce n'est pas un numéro de ce pays : un numéro tunisien a 8 chiffres après +216, tout autre de 8 à 15 | ليس رقم هاتف من هذا البلد: للرقم التونسي 8 أرقام بعد \u2066+216\u2069، ولغيره من 8 إلى 15 رقما")
	}
	b.Phone = "+" + text
	return nil
}

func readPreferredLanguage(b *builder, c *cell) *fault {
	code, ok := preferred[reference.Fold(c.text)]
	if !ok {
		return wrong("language", "les messages s'écrivent en français (fr) ou en arabe (ar) | تُكتب الرسائل بالعربية (ar) أو بالفرنسية (fr)")
	}
	b.Language = code
	return nil
}

func readDiploma(b *builder, c *cell) *fault {
	d, ok := reference.FindDiploma(c.text)
	if !ok {
		return wrong("diploma", "diplôme ou niveau inconnu | شهادة أو مستوى غير معروف")
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
			return wrong("rome", "%[1]q n'est ni un code ROME tel que A1401, ni un métier connu sous ce nom | %[1]q ليس رمز ROME مثل A1401 ولا مهنة معروفة بهذا الاسم", clip(part))
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
		return 0, wrong("experience", "%[1]q n'est pas une durée telle que 24 mois ou 2 ans | %[1]q ليست مدة مثل 24 شهرا أو سنتين", clip(text))
	}
	if word := reference.Fold(text[end:]); word != "" {
		per, ok := units[word]
		if !ok {
			return 0, wrong("experience", "%[1]q : l'unité n'est ni le mois ni l'année | %[1]q: الوحدة ليست الشهر ولا السنة", clip(text))
		}
		unit = per
	}
	if unit == 0 && number != 0 {
		return 0, wrong("experience", "%[1]q : mois ou années ? nommez la colonne \"Expérience (mois)\" ou \"Expérience (années)\" | %[1]q: أشهر أم سنوات؟ سمّوا العمود \"Expérience (mois)\" أو \"Expérience (années)\"", clip(text))
	}
	months := math.Round(number * unit)
	if months < 0 || months > 720 {
		return 0, wrong("experience", "%[1]q dépasse 60 ans | %[1]q أكثر من 60 سنة", clip(text))
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
				return wrong("cefr", "%[1]s ou %[2]s ? un seul niveau est attendu | %[1]s أم %[2]s؟ يُنتظر مستوى واحد", level, word)
			}
			level = word
		}
		if level == "" {
			return wrong("cefr", "un niveau du CECRL est attendu : %[1]s | يُنتظر مستوى من الإطار الأوروبي المرجعي للغات: %[1]s", strings.Join(reference.CEFRLevels(), ", "))
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
				return wrong("licence", "quelle catégorie ? par exemple B, C ou CE | أي صنف؟ مثل B أو C أو CE")
			}
			category, ok := reference.Licence(word)
			if !ok {
				return wrong("licence", "%[1]q n'est pas une catégorie de permis telle que B, C, CE ou D | %[1]q ليس صنف رخصة سياقة مثل B أو C أو CE أو D", clip(word))
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
		return warn("competence", "%[1]q n'est pas le code OGR d'une compétence du ROME, tel que 100023 : non retenu | %[1]q ليس رمز OGR لكفاءة من ROME، مثل 100023: لم يُحتفظ به", strings.Join(other, "; "))
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
		return wrong("scheme", "%[1]s n'est pas un programme : %[2]s | %[1]s ليس برنامجا: %[2]s", f.reason, strings.Join(reference.Schemes().Codes(), ", "))
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
		return wrong("region", "%[1]s n'est pas une région de France, par son nom ou son code INSEE | %[1]s ليست جهة من جهات فرنسا، بالاسم أو برمز INSEE", f.reason)
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

// The same, as they can be written in a list.
const (
	purposesFR = "mise en relation, employeur, transfert, notification, statistiques"
	purposesAR = "المطابقة، المشغل، النقل، الإشعارات، الإحصاء"
)

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
		return wrong("consent", "à quoi ? un consentement se donne pour une finalité : "+purposesFR+", ou \"tous\" | على ماذا؟ تُعطى الموافقة لغرض محدد: "+purposesAR+"، أو \"الكل\"")
	}
	found, f := lookUp(c.text, purposes)
	if f != nil {
		return wrong("consent", "%[1]s n'est pas une finalité : %[2]s | %[1]s ليس غرضا: %[3]s", f.reason, purposesFR, purposesAR)
	}
	b.Consents = union(b.Consents, found)
	return nil
}

func readConsent(purpose string) reader {
	return func(b *builder, c *cell) *fault {
		yes, ok := yesNo[reference.Fold(c.text)]
		if !ok {
			return wrong("consent", "écrivez oui ou non | اكتبوا نعم أو لا")
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
		return warn("experience_unused", "une expérience sans métier n'est pas retenue | لا يُحتفظ بخبرة دون مهنة")
	}
	if len(b.months) > 1 && len(b.months) != len(b.rome) {
		return wrong("experience", "%[1]d durées d'expérience pour %[2]d métiers : donnez-en une pour chacun, ou une pour tous | %[1]d مدد خبرة مقابل %[2]d مهن: أعطوا مدة لكل مهنة، أو واحدة للجميع", len(b.months), len(b.rome))
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
