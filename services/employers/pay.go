package employers

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"masar.local/pkg/reference"
)

// Periods for which a pay is stated.
const (
	PerHour  = "hour"
	PerMonth = "month"
	PerYear  = "year"
)

// fullWeek is the legal working week, in hundredths of an hour: 35 hours (code
// du travail L3121-27), which make 35 x 52 / 12 = 151.67 hours a month.
const fullWeek = 3500

// Pay is what an offer says about gross pay. Whatever is not said, or cannot be
// understood, is 0 or empty; the text is kept in any case. All amounts are in
// euro cents.
type Pay struct {
	Text    string   `bson:"text,omitempty"`    // as published
	Comment string   `bson:"comment,omitempty"` // as published
	Extras  []string `bson:"extras,omitempty"`  // as published: bonus, meals ...

	Period   string  `bson:"period,omitempty"` // PerHour, PerMonth or PerYear; empty when not stated
	MinCents int64   `bson:"min_cents,omitempty"`
	MaxCents int64   `bson:"max_cents,omitempty"`
	Months   float64 `bson:"months,omitempty"` // monthly payments in a year, 12 or 13 or 13.5

	// What a month brings at the offer's own hours.
	MonthMinCents int64 `bson:"month_min_cents,omitempty"`
	MonthMaxCents int64 `bson:"month_max_cents,omitempty"`
	// The same for a full-time post: the figures by which offers are compared.
	FullTimeMinCents int64 `bson:"full_time_min_cents,omitempty"`
	FullTimeMaxCents int64 `bson:"full_time_max_cents,omitempty"`
}

// plausible are the bounds, in cents, outside of which an amount cannot be what
// its period says ("Annuel de 12,00 Euros" is an hourly rate in the wrong box,
// "Mensuel de 45000 Euros" a year's pay). Own choice, wide on purpose: an
// apprentice's part-time month and a surgeon's both pass.
var plausible = map[string][2]int64{
	PerHour:  {5_00, 200_00},
	PerMonth: {100_00, 30_000_00},
	PerYear:  {3_000_00, 400_000_00},
}

var periodWords = map[string]string{
	"horaire": PerHour, "mensuel": PerMonth, "annuel": PerYear,
	// A period that no month can be made from.
	"autre": "", "cachet": "", "journalier": "", "hebdomadaire": "", "forfait": "",
}

var (
	amountPattern = regexp.MustCompile(`(?i)(\d[\d\s\x{00a0}\x{202f}.,]*?)\s*(?:euros?\b|eur\b|€)`)
	monthsPattern = regexp.MustCompile(`(?i)\bsur\s+(\d{1,3}(?:[.,]\d{1,2})?)\s+mois\b`)
)

// readPay understands France Travail's pay text: "Horaire de 11,98 Euros à
// 12,50 Euros", "Annuel de 21622.0 Euros sur 12.0 mois", "Mensuel de 1764,00
// Euros". week are the offer's weekly hours (0 when unknown), from which an
// hourly pay becomes a monthly one; the legal week is taken when they are unknown.
func readPay(text string, week Hours, n *notes) Pay {
	p := Pay{Text: text}
	if text == "" {
		return p
	}
	first, _, _ := strings.Cut(reference.Fold(text), " ")
	period, known := periodWords[first]
	if !known {
		n.add("salaire.libelle", "salary_text", text, "begins with none of Horaire, Mensuel, Annuel, Autre; kept as text")
		return p
	}
	p.Period = period
	if m := monthsPattern.FindStringSubmatch(text); m != nil {
		months, _ := strconv.ParseFloat(strings.Replace(m[1], ",", ".", 1), 64) // the pattern admits numbers only
		switch {
		case months >= 1 && months <= 18:
			p.Months = months
		case months != 0:
			n.add("salaire.libelle", "salary_months", m[1], "nobody is paid this many months in a year; ignored")
		}
	}

	var amounts []int64
	for _, m := range amountPattern.FindAllStringSubmatch(text, -1) {
		cents, ok := readCents(m[1], period)
		if !ok {
			n.add("salaire.libelle", "salary_text", text, "amount "+strings.TrimSpace(m[1])+" cannot be read; kept as text")
			return p
		}
		amounts = append(amounts, cents)
	}
	switch {
	case len(amounts) == 0:
		n.add("salaire.libelle", "salary_empty", text, "names no amount")
		return p
	case len(amounts) > 2:
		n.add("salaire.libelle", "salary_text", text, "more than two amounts; kept as text")
		return p
	}
	low, high := amounts[0], amounts[len(amounts)-1]
	if high == 0 && low > 0 {
		n.add("salaire.libelle", "salary_range", text, "the higher amount is 0, which is nobody's pay; the lower one is read alone")
		high = low
	}
	if low > high {
		n.add("salaire.libelle", "salary_reversed", text, "the lower amount comes second; read in order")
		low, high = high, low
	}
	if bounds, ok := plausible[period]; ok {
		for _, a := range []int64{low, high} {
			if a != 0 && (a < bounds[0] || a > bounds[1]) {
				n.add("salaire.libelle", "salary_range", text, "not a gross pay by the "+period+"; kept as text")
				return p
			}
		}
	}
	p.MinCents, p.MaxCents = low, high
	p.convert(week, n)
	return p
}

// convert sets the monthly figures from the stated ones. A year's pay is spread
// over the months in which it is paid, which is what a pay slip shows.
func (p *Pay) convert(week Hours, n *notes) {
	p.MonthMinCents, p.MonthMaxCents, p.FullTimeMinCents, p.FullTimeMaxCents = 0, 0, 0, 0
	switch p.Period {
	case PerHour:
		own := int64(week.Week)
		if own == 0 && !week.PartTime {
			own = fullWeek
		}
		full := max(own, fullWeek)
		p.MonthMinCents, p.MonthMaxCents = perMonth(p.MinCents, own), perMonth(p.MaxCents, own)
		p.FullTimeMinCents, p.FullTimeMaxCents = perMonth(p.MinCents, full), perMonth(p.MaxCents, full)
		return
	case PerMonth:
		p.MonthMinCents, p.MonthMaxCents = p.MinCents, p.MaxCents
	case PerYear:
		months := p.Months
		if months == 0 {
			months = 12
		}
		p.MonthMinCents, p.MonthMaxCents = spread(p.MinCents, months), spread(p.MaxCents, months)
	default:
		if p.MaxCents > 0 {
			n.add("salaire.libelle", "salary_period", p.Text, "the period of the amount is not stated")
		}
		return
	}
	if week.isPartTime() {
		// Seen in both senses: 1,494 € for 29 hours is the pay of those hours,
		// 2,188 € for 9 hours that of a full-time post.
		if p.MaxCents > 0 {
			n.add("salaire.libelle", "salary_part_time", p.Text, "part-time, and not stated whether the amount is for these hours or for full time; not compared with other offers")
		}
		return
	}
	p.FullTimeMinCents, p.FullTimeMaxCents = p.MonthMinCents, p.MonthMaxCents
}

// perMonth is a month's pay in cents at an hourly rate, for weekly hours in
// hundredths: 52 weeks in 12 months, rounded to the cent.
func perMonth(rate, week int64) int64 { return (rate*week*52 + 600) / 1200 }

func spread(year int64, months float64) int64 { return int64(math.Round(float64(year) / months)) }

// readCents reads an amount in euros as France Travail and its partners write
// it: "1764,00", "21622.0", "1 764,50", "2000". One sign followed by exactly three
// digits is a thousands mark, except in an hourly rate.
func readCents(text, period string) (cents int64, ok bool) {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\u00a0' || r == '\u202f'
	}), "")
	text = strings.TrimRight(text, ".,")
	at := strings.LastIndexAny(text, ".,")
	whole, part := text, ""
	if at >= 0 {
		whole, part = text[:at], text[at+1:]
		if strings.ContainsAny(whole, text[at:at+1]) || len(part) == 3 && period != PerHour {
			whole, part = text, "" // the same sign twice, or before three digits: thousands
		}
	}
	whole = strings.NewReplacer(".", "", ",", "").Replace(whole)
	if len(whole) == 0 || len(whole) > 9 {
		return 0, false
	}
	euros, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return 0, false
	}
	if part == "" {
		return euros * 100, true
	}
	fraction, err := strconv.ParseFloat("0."+part, 64)
	if err != nil {
		return 0, false
	}
	return euros*100 + int64(math.Round(fraction*100)), true
}
