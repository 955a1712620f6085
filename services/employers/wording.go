package employers

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"masar.local/pkg/reference"
)

// Hours is the working time of an offer.
type Hours struct {
	Text     string `bson:"text,omitempty"` // as published
	Week     int32  `bson:"week,omitempty"` // hundredths of an hour; 0 when unknown
	PartTime bool   `bson:"part_time,omitempty"`
}

// isPartTime reports whether the week is known to be shorter than the legal one.
func (h Hours) isPartTime() bool { return h.PartTime || h.Week > 0 && h.Week < fullWeek }

// longestWeek in hours is the most that one week may have (48 h, code du
// travail L3121-20, 60 h with leave, L3121-21); more is not a week.
const longestWeek = 60

var weekPattern = regexp.MustCompile(`(?i)^(?:temps\s+(?:partiel|plein)\s*-?\s*)?(\d{1,3})(?:[.,](\d{1,2}))?\s*h(?:eures?)?\s?(\d{2})?(?:\D|$)`)

// readHours understands "35H Autre", "39 H", "37H30/semaine\nTravail en
// journée", "temps partiel - 19H30 Autre". kind is France Travail's own
// "Temps plein" or "Temps partiel".
func readHours(text, kind string, n *notes) Hours {
	h := Hours{Text: text}
	for _, s := range []string{kind, text} {
		h.PartTime = h.PartTime || strings.HasPrefix(reference.Fold(s), "temps partiel")
	}
	m := weekPattern.FindStringSubmatch(text)
	if m == nil {
		return h
	}
	hours, _ := strconv.Atoi(m[1]) // the pattern admits digits only
	hundredths := hours * 100
	if m[2] != "" {
		part, _ := strconv.ParseFloat("0."+m[2], 64)
		hundredths += int(math.Round(part * 100))
	} else if m[3] != "" {
		minutes, _ := strconv.Atoi(m[3])
		if minutes >= 60 {
			n.add("dureeTravailLibelle", "hours", text, "an hour has 60 minutes; the hours are ignored")
			return h
		}
		hundredths += int(math.Round(float64(minutes) * 100 / 60))
	}
	if hundredths == 0 || hundredths > longestWeek*100 {
		n.add("dureeTravailLibelle", "hours", text, "not the hours of a week; ignored")
		return h
	}
	h.Week = int32(hundredths)
	return h
}

// Experience is what an offer asks of it.
type Experience struct {
	Text   string `bson:"text,omitempty"` // as published
	Need   string `bson:"need,omitempty"` // France Travail's D (beginners welcome), S (wished), E (required); empty when unknown
	Months int32  `bson:"months,omitempty"`
}

// required is the experience without which one need not apply, in months.
func (e Experience) required() int32 {
	if e.Need == needRequired {
		return e.Months
	}
	return 0
}

// Codes of France Travail for how firmly something is asked for.
const (
	needBeginner = "D"
	needWished   = "S"
	needRequired = "E"
)

// longestExperience in months: fifty years.
const longestExperience = 600

var spanPattern = regexp.MustCompile(`(?i)(\d{1,4})\s*(ans?\b|an\(s\)|mois|jours?\b|jour\(s\)|semaines?\b|semaine\(s\))`)

// readExperience understands "Débutant accepté", "2 An(s)", "Expérience exigée
// de 1 An(s)", "3 Mois", "1 An(s) - en vente".
func readExperience(code, text string, n *notes) Experience {
	e := Experience{Text: text, Need: strings.ToUpper(code)}
	folded := reference.Fold(text)
	switch e.Need {
	case needBeginner, needWished, needRequired:
	case "":
		switch {
		case strings.HasPrefix(folded, "debutant"):
			e.Need = needBeginner
		case strings.Contains(folded, "souhait"):
			e.Need = needWished
		case strings.Contains(folded, "exig"):
			e.Need = needRequired
		}
	default:
		n.add("experienceExige", "unknown", code, "none of D, S, E; not read as a requirement")
	}
	if e.Need == needBeginner {
		return e
	}
	if months, _, ok := readSpan(text); ok {
		if months > longestExperience {
			n.add("experienceLibelle", "range", text, "longer than a working life; ignored")
			return e
		}
		e.Months = months
		if e.Need == "" && code == "" {
			e.Need = needRequired // "2 An(s)" and nothing else
		}
	}
	return e
}

// readSpan reads the first span of time in a text: whole months, and days where
// it is given in days or weeks (then the months are rounded, at least 1).
func readSpan(text string) (months, days int32, ok bool) {
	m := spanPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, 0, false
	}
	number, _ := strconv.Atoi(m[1]) // the pattern admits digits only
	switch unit := strings.ToLower(m[2]); {
	case strings.HasPrefix(unit, "an"):
		return int32(number * 12), 0, true
	case strings.HasPrefix(unit, "mois"):
		return int32(number), 0, true
	case strings.HasPrefix(unit, "sem"):
		number *= 7
	}
	if number == 0 {
		return 0, 0, true
	}
	return int32(max(1, math.Round(float64(number)*12/365.25))), int32(number), true
}

// Contract is the kind of work that an offer proposes.
type Contract struct {
	Code   string `bson:"code,omitempty"`   // France Travail's: CDI, CDD, SAI, MIS ...
	Text   string `bson:"text,omitempty"`   // as published
	Nature string `bson:"nature,omitempty"` // as published: "Contrat travail", "Contrat apprentissage" ...
	Months int32  `bson:"months,omitempty"` // 0 when open-ended or unknown
	Days   int32  `bson:"days,omitempty"`   // where it is published in days
}

// longestContract in months; the longest fixed-term contracts have 36 or 60.
const longestContract = 120

// contractWords name the contracts by the beginning of their published text,
// for rows without the code. Longest first where one begins with another.
var contractWords = []struct{ begins, code string }{
	{"contrat a duree indeterminee interimaire", "DIN"},
	{"cdi interimaire", "DIN"},
	{"contrat a duree indeterminee", "CDI"},
	{"contrat a duree determinee insertion", "DDI"},
	{"contrat a duree determinee", "CDD"},
	{"contrat travail saisonnier", "SAI"},
	{"cdi", "CDI"},
	{"cdd insertion", "DDI"},
	{"cdd", "CDD"},
	{"saisonnier", "SAI"},
	{"mission interimaire", "MIS"},
	{"interim", "MIS"},
	{"profession liberale", "LIB"},
	{"profession commerciale", "CCE"},
	{"franchise", "FRA"},
}

// readContract understands "Mission intérimaire - 6 Mois", "CDD - 4 Jour(s)",
// "Contrat à durée déterminée - 12 Mois", "Saisonnier".
func readContract(code, text, nature string, n *notes) Contract {
	c := Contract{Code: strings.ToUpper(code), Text: text, Nature: nature}
	if c.Code == "" {
		for _, w := range contractWords {
			if strings.HasPrefix(reference.Fold(text), w.begins) {
				c.Code = w.code
				n.add("typeContrat", "missing", "", "not given; read from the text as "+w.code)
				break
			}
		}
	}
	if c.Code == "CDI" || c.Code == "DIN" {
		return c // open-ended, whatever the text says
	}
	months, days, ok := readSpan(text)
	switch {
	case !ok:
	case months > longestContract:
		n.add("typeContratLibelle", "range", text, "too long for a contract; its length is ignored")
	default:
		c.Months, c.Days = months, days
	}
	return c
}
