package employers

import (
	"testing"

	"pgregory.net/rapid"
)

// codes lists the codes of notes.
func codes(n notes) (list []string) {
	for _, note := range n.list {
		list = append(list, note.Code)
	}
	return list
}

// Texts as France Travail publishes them, read by hand.
func TestPayAsPublished(t *testing.T) {
	week := func(hundredths int32) Hours { return Hours{Week: hundredths} }
	for _, c := range []struct {
		text     string
		hours    Hours
		period   string
		min, max int64 // for the period
		months   float64
		month    [2]int64 // at the offer's hours
		full     [2]int64 // for full time
		note     string
	}{
		{"Horaire de 11,98 Euros à 11,98 Euros", Hours{}, PerHour, 1198, 1198, 0, [2]int64{181697, 181697}, [2]int64{181697, 181697}, ""},
		// 11.88 x 151.6667 = 1,801.80: the minimum wage of 2025 as published.
		{"Horaire de 11.88 Euros sur 12.0 mois", week(3500), PerHour, 1188, 1188, 12, [2]int64{180180, 180180}, [2]int64{180180, 180180}, ""},
		{"Horaire de 13.85 Euros à 13.86 Euros sur 12.0 mois", week(3900), PerHour, 1385, 1386, 12, [2]int64{234065, 234234}, [2]int64{234065, 234234}, ""},
		{"Horaire de 12.0 Euros à 13.5 Euros sur 0.0 mois", week(2000), PerHour, 1200, 1350, 0, [2]int64{104000, 117000}, [2]int64{182000, 204750}, ""},
		{"Horaire de 11.88 Euros", Hours{PartTime: true}, PerHour, 1188, 1188, 0, [2]int64{0, 0}, [2]int64{180180, 180180}, ""},
		{"Horaire de 16,61 Euros à 25,01 Euros", Hours{}, PerHour, 1661, 2501, 0, [2]int64{251918, 379318}, [2]int64{251918, 379318}, ""},
		{"Mensuel de 1764,00 Euros", Hours{}, PerMonth, 176400, 176400, 0, [2]int64{176400, 176400}, [2]int64{176400, 176400}, ""},
		{"Mensuel de 1820 Euros sur 12 mois", Hours{}, PerMonth, 182000, 182000, 12, [2]int64{182000, 182000}, [2]int64{182000, 182000}, ""},
		{"Mensuel de 1883.1 Euros sur 12 mois", Hours{}, PerMonth, 188310, 188310, 12, [2]int64{188310, 188310}, [2]int64{188310, 188310}, ""},
		{"Mensuel de 2150.0 Euros à 2300.0 Euros sur 13.0 mois", week(3500), PerMonth, 215000, 230000, 13, [2]int64{215000, 230000}, [2]int64{215000, 230000}, ""},
		{"Mensuel de 1494,00 Euros à 1494,00 Euros", week(2900), PerMonth, 149400, 149400, 0, [2]int64{149400, 149400}, [2]int64{0, 0}, "salary_part_time"},
		{"Mensuel de 5000,00 Euros à 15000,00 Euros", Hours{}, PerMonth, 500000, 1500000, 0, [2]int64{500000, 1500000}, [2]int64{500000, 1500000}, ""},
		{"Annuel de 21622.0 Euros à 25000.0 Euros sur 12.0 mois", Hours{}, PerYear, 2162200, 2500000, 12, [2]int64{180183, 208333}, [2]int64{180183, 208333}, ""},
		{"Annuel de 25000.0 Euros à 28000.0 Euros sur 13.0 mois", Hours{}, PerYear, 2500000, 2800000, 13, [2]int64{192308, 215385}, [2]int64{192308, 215385}, ""},
		{"Annuel de 24000,00 Euros à 28000,00 Euros", Hours{}, PerYear, 2400000, 2800000, 0, [2]int64{200000, 233333}, [2]int64{200000, 233333}, ""},
		{"Annuel de 21621.6 Euros sur 12.0 mois", Hours{}, PerYear, 2162160, 2162160, 12, [2]int64{180180, 180180}, [2]int64{180180, 180180}, ""},
		{"Autre de 2300,00 Euros à 2300,00 Euros", week(3900), "", 230000, 230000, 0, [2]int64{}, [2]int64{}, "salary_period"},
		// Nothing is made up where the text is empty or cannot be meant.
		{"Annuel de", Hours{}, PerYear, 0, 0, 0, [2]int64{}, [2]int64{}, "salary_empty"},
		{"Annuel de 12,00 Euros à 28,00 Euros", Hours{}, PerYear, 0, 0, 0, [2]int64{}, [2]int64{}, "salary_range"},
		{"Annuel de 2300,00 Euros", Hours{}, PerYear, 0, 0, 0, [2]int64{}, [2]int64{}, "salary_range"},
		{"Mensuel de 11,88 Euros à 11,88 Euros", Hours{}, PerMonth, 0, 0, 0, [2]int64{}, [2]int64{}, "salary_range"},
		{"Mensuel de 45000.0 Euros à 60000.0 Euros sur 12.0 mois", Hours{}, PerMonth, 0, 0, 12, [2]int64{}, [2]int64{}, "salary_range"},
		{"Horaire de 2000,00 Euros à 2000,00 Euros", Hours{}, PerHour, 0, 0, 0, [2]int64{}, [2]int64{}, "salary_range"},
		// Shapes not in our files, which other files may have.
		{"", Hours{}, "", 0, 0, 0, [2]int64{}, [2]int64{}, ""},
		{"Mensuel de 2500,00 Euros à 2000,00 Euros", Hours{}, PerMonth, 200000, 250000, 0, [2]int64{200000, 250000}, [2]int64{200000, 250000}, "salary_reversed"},
		{"Mensuel de 1 764,50 Euros", Hours{}, PerMonth, 176450, 176450, 0, [2]int64{176450, 176450}, [2]int64{176450, 176450}, ""},
		{"Mensuel de 1\u202f764,50 €", Hours{}, PerMonth, 176450, 176450, 0, [2]int64{176450, 176450}, [2]int64{176450, 176450}, ""},
		{"Annuel de 21.622,00 Euros", Hours{}, PerYear, 2162200, 2162200, 0, [2]int64{180183, 180183}, [2]int64{180183, 180183}, ""},
		{"Annuel de 21.622 Euros", Hours{}, PerYear, 2162200, 2162200, 0, [2]int64{180183, 180183}, [2]int64{180183, 180183}, ""},
		{"Horaire de 11.884 Euros", Hours{}, PerHour, 1188, 1188, 0, [2]int64{180180, 180180}, [2]int64{180180, 180180}, ""},
		{"Mensuel de 0.0 Euros à 2500.0 Euros sur 12.0 mois", Hours{}, PerMonth, 0, 250000, 12, [2]int64{0, 250000}, [2]int64{0, 250000}, ""},
		{"Mensuel de 2000 Euros sur 99 mois", Hours{}, PerMonth, 200000, 200000, 0, [2]int64{200000, 200000}, [2]int64{200000, 200000}, "salary_months"},
		{"Cachet de 150,00 Euros", Hours{}, "", 15000, 15000, 0, [2]int64{}, [2]int64{}, "salary_period"},
		{"A négocier", Hours{}, "", 0, 0, 0, [2]int64{}, [2]int64{}, "salary_text"},
		{"Mensuel de 1 Euros à 2 Euros à 3 Euros", Hours{}, PerMonth, 0, 0, 0, [2]int64{}, [2]int64{}, "salary_text"},
		{"Mensuel de 99999999999999999999 Euros", Hours{}, PerMonth, 0, 0, 0, [2]int64{}, [2]int64{}, "salary_text"},
	} {
		var n notes
		got := readPay(c.text, c.hours, &n)
		want := Pay{
			Text: c.text, Period: c.period, MinCents: c.min, MaxCents: c.max, Months: c.months,
			MonthMinCents: c.month[0], MonthMaxCents: c.month[1], FullTimeMinCents: c.full[0], FullTimeMaxCents: c.full[1],
		}
		if got.Text != want.Text || got.Period != want.Period || got.MinCents != want.MinCents || got.MaxCents != want.MaxCents || got.Months != want.Months ||
			got.MonthMinCents != want.MonthMinCents || got.MonthMaxCents != want.MonthMaxCents ||
			got.FullTimeMinCents != want.FullTimeMinCents || got.FullTimeMaxCents != want.FullTimeMaxCents {
			t.Errorf("%q with %+v:\n got %+v\nwant %+v", c.text, c.hours, got, want)
		}
		note := ""
		if list := codes(n); len(list) > 0 {
			note = list[0]
		}
		if note != c.note {
			t.Errorf("%q: note %q, want %q", c.text, note, c.note)
		}
	}
}

func TestHoursAsPublished(t *testing.T) {
	for _, c := range []struct {
		text, kind string
		week       int32
		part       bool
		note       string
	}{
		{"35H Autre", "Temps plein", 3500, false, ""},
		{"39 H", "Temps plein", 3900, false, ""},
		{"35H/semaine\nTravail en journée", "Temps plein", 3500, false, ""},
		{"37H30 Autre", "Temps plein", 3750, false, ""},
		{"35H43/semaine\nTravail en journée", "Temps plein", 3572, false, ""},
		{"36H45/semaine\nTravail en journée", "Temps plein", 3675, false, ""},
		{"temps partiel - 30H Autre", "Temps partiel", 3000, true, ""},
		{"temps partiel - 20H59 Autre", "Temps partiel", 2098, true, ""},
		{"Temps partiel - 1H15/semaine\nTravail en journée", "Temps partiel", 125, true, ""},
		{"temps partiel - 24H Autre", "", 2400, true, ""},
		{"35 H  Travail le samedi - .", "Temps plein", 3500, false, ""},
		{"24 H", "Temps partiel", 2400, true, ""},
		{"Temps plein", "", 0, false, ""},
		{"", "Temps partiel", 0, true, ""},
		{"Travail les week-ends - Travail le samedi et/ou Dimanche", "", 0, false, ""},
		{"8H à 17H", "", 800, false, ""},
		{"de 8h à 17h", "", 0, false, ""},
		{"3x8H", "", 0, false, ""},
		{"151H67 par mois", "", 0, false, "hours"},
		{"35H75", "", 0, false, "hours"},
		{"0H Autre", "", 0, false, "hours"},
		{"35,5H", "", 3550, false, ""},
		{"35 heures", "", 3500, false, ""},
	} {
		var n notes
		got := readHours(c.text, c.kind, &n)
		note := ""
		if list := codes(n); len(list) > 0 {
			note = list[0]
		}
		if got.Week != c.week || got.PartTime != c.part || note != c.note {
			t.Errorf("readHours(%q, %q) = %+v, note %q; want %d, %v, %q", c.text, c.kind, got, note, c.week, c.part, c.note)
		}
	}
}

func TestExperienceAsPublished(t *testing.T) {
	for _, c := range []struct {
		code, text string
		need       string
		months     int32
		required   int32
	}{
		{"D", "Débutant accepté", "D", 0, 0},
		{"D", "Débutant accepté - expérience ou CAP ", "D", 0, 0},
		{"D", "", "D", 0, 0},
		{"E", "", "E", 0, 0},
		{"E", "Expérience exigée", "E", 0, 0},
		{"E", "Expérience exigée de 1 An(s)", "E", 12, 12},
		{"E", "Expérience exigée de 4 An(s) (+ 4 ans, confirmé)", "E", 48, 48},
		{"E", "2 An(s)", "E", 24, 24},
		{"E", "2 An(s) - Expérience 2 ans exigée", "E", 24, 24},
		{"E", "10 An(s) - dans le domaine du secretariat ", "E", 120, 120},
		{"E", "3 Mois", "E", 3, 3},
		{"E", "6 Mois - TECHNIQUE DE VENTE", "E", 6, 6},
		{"S", "Expérience souhaitée de 1 An(s)", "S", 12, 0},
		{"S", "Expérience souhaitée", "S", 0, 0},
		{"", "Expérience exigée de 2 An(s)", "E", 24, 24},
		{"", "Débutant accepté", "D", 0, 0},
		{"", "2 An(s)", "E", 24, 24},
		{"", "", "", 0, 0},
		{"E", "99 An(s)", "E", 0, 0},
		{"X", "2 An(s)", "X", 24, 0},
		{"E", "dans la banque", "E", 0, 0},
	} {
		var n notes
		got := readExperience(c.code, c.text, &n)
		if got.Need != c.need || got.Months != c.months || got.required() != c.required {
			t.Errorf("readExperience(%q, %q) = %+v, requires %d; want %s, %d, %d", c.code, c.text, got, got.required(), c.need, c.months, c.required)
		}
	}
}

func TestContractAsPublished(t *testing.T) {
	for _, c := range []struct {
		code, text   string
		want         string
		months, days int32
	}{
		{"CDI", "Contrat à durée indéterminée", "CDI", 0, 0},
		{"MIS", "Mission intérimaire - 6 Mois", "MIS", 6, 0},
		{"MIS", "Intérim - 18 Mois", "MIS", 18, 0},
		{"MIS", "Mission intérimaire - 5 Jour(s)", "MIS", 1, 5},
		{"MIS", "Mission intérimaire - 31 Jour(s)", "MIS", 1, 31},
		{"CDD", "Contrat à durée déterminée - 82 Jour(s)", "CDD", 3, 82},
		{"CDD", "CDD - 12 Mois", "CDD", 12, 0},
		{"SAI", "Saisonnier - 3 Mois", "SAI", 3, 0},
		{"SAI", "Saisonnier", "SAI", 0, 0},
		{"LIB", "Profession libérale", "LIB", 0, 0},
		{"", "Contrat à durée déterminée - 3 Mois", "CDD", 3, 0},
		{"", "Contrat à durée indéterminée", "CDI", 0, 0},
		{"", "CDI Intérimaire", "DIN", 0, 0},
		{"", "Contrat travail saisonnier - 2 Mois", "SAI", 2, 0},
		{"cdd", "CDD - 999 Mois", "CDD", 0, 0},
		{"NEW", "Contrat nouveau", "NEW", 0, 0},
		{"", "", "", 0, 0},
	} {
		var n notes
		got := readContract(c.code, c.text, "", &n)
		if got.Code != c.want || got.Months != c.months || got.Days != c.days {
			t.Errorf("readContract(%q, %q) = %+v; want %s, %d months, %d days", c.code, c.text, got, c.want, c.months, c.days)
		}
	}
}

func TestPayRoundTripsThroughItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom([]string{"Horaire", "Mensuel", "Annuel"}).Draw(t, "period")
		bounds := plausible[periodWords[map[string]string{"Horaire": "horaire", "Mensuel": "mensuel", "Annuel": "annuel"}[word]]]
		low := rapid.Int64Range(bounds[0], bounds[1]).Draw(t, "low")
		high := rapid.Int64Range(low, bounds[1]).Draw(t, "high")
		sign := rapid.SampledFrom([]string{",", "."}).Draw(t, "sign")
		text := word + " de " + euros(low, sign) + " Euros à " + euros(high, sign) + " Euros"
		var n notes
		got := readPay(text, Hours{}, &n)
		if got.MinCents != low || got.MaxCents != high || len(n.list) > 0 {
			t.Fatalf("%q gives %+v with notes %v", text, got, n.list)
		}
		if got.MonthMinCents > got.MonthMaxCents || got.FullTimeMaxCents == 0 {
			t.Fatalf("%q gives a month of %+v", text, got)
		}
	})
}

func euros(cents int64, sign string) string {
	whole, part := cents/100, cents%100
	digit := func(n int64) string { return string(rune('0' + n)) }
	text := ""
	for ; whole > 0; whole /= 10 {
		text = digit(whole%10) + text
	}
	if text == "" {
		text = "0"
	}
	return text + sign + digit(part/10) + digit(part%10)
}

func FuzzPay(f *testing.F) {
	for _, s := range []string{"Horaire de 11,98 Euros à 11,98 Euros", "Annuel de 21622.0 Euros sur 12.0 mois", "Annuel de", "Mensuel de 1.764,00 €", "Autre de 9 Euros", "Horaire de 10 Euros à 0 Euros"} {
		f.Add(s, int32(3500), false)
	}
	f.Fuzz(func(t *testing.T, text string, week int32, part bool) {
		if week < 0 || week > longestWeek*100 {
			return
		}
		var n notes
		p := readPay(text, Hours{Week: week, PartTime: part}, &n)
		if p.MinCents < 0 || p.MaxCents < p.MinCents || p.MonthMaxCents < p.MonthMinCents || p.FullTimeMaxCents < p.FullTimeMinCents {
			t.Fatalf("%q gives %+v", text, p)
		}
		if bounds, ok := plausible[p.Period]; ok && p.MaxCents != 0 && (p.MaxCents < bounds[0] || p.MaxCents > bounds[1]) {
			t.Fatalf("%q gives an implausible %+v", text, p)
		}
	})
}

func FuzzWording(f *testing.F) {
	for _, s := range []string{"temps partiel - 19H30 Autre", "35,5H", "2 An(s) - en vente", "Mission intérimaire - 31 Jour(s)", "9999 An(s)"} {
		f.Add(s, "E", "Temps partiel")
	}
	f.Fuzz(func(t *testing.T, text, code, kind string) {
		var n notes
		if h := readHours(text, kind, &n); h.Week < 0 || h.Week > longestWeek*100 {
			t.Fatalf("hours %q give %+v", text, h)
		}
		if e := readExperience(code, text, &n); e.Months < 0 || e.Months > longestExperience {
			t.Fatalf("experience %q gives %+v", text, e)
		}
		if c := readContract(code, text, "", &n); c.Months < 0 || c.Months > longestContract || c.Days < 0 {
			t.Fatalf("contract %q gives %+v", text, c)
		}
	})
}
