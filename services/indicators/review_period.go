package indicators

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"masar.local/pkg/api"
)

// ReviewGrains are the lengths of the periods that can be frozen.
var ReviewGrains = []Grain{Month, Quarter, HalfYear, Year}

// ReviewPeriod is one period of the calendar, in local days of Zone.
type ReviewPeriod struct {
	Grain Grain    `bson:"grain" json:"grain"` // month, quarter, half_year or year
	Label string   `bson:"label" json:"label"` // "2026-03", "2026-Q1", "2026-S1" or "2026"
	First api.Date `bson:"-" json:"first"`     // first day, included
	Last  api.Date `bson:"-" json:"last"`      // last day, included
}

// months is how many a period of the grain has; 0 when no such period is frozen.
func months(g Grain) int {
	switch g {
	case Month:
		return 1
	case Quarter:
		return 3
	case HalfYear:
		return 6
	case Year:
		return 12
	}
	return 0
}

// newReviewPeriod is the period of a grain that begins in a month, which must be
// the first month of one.
func newReviewPeriod(g Grain, year int, month time.Month) ReviewPeriod {
	p := ReviewPeriod{Grain: g, First: api.NewDate(year, month, 1), Last: api.NewDate(year, month+time.Month(months(g)), 0)}
	switch g {
	case Quarter:
		p.Label = fmt.Sprintf("%04d-Q%d", year, (int(month)+2)/3)
	case HalfYear:
		p.Label = fmt.Sprintf("%04d-S%d", year, (int(month)+5)/6)
	case Year:
		p.Label = fmt.Sprintf("%04d", year)
	default:
		p.Label = fmt.Sprintf("%04d-%02d", year, month)
	}
	return p
}

var (
	periodLabel = regexp.MustCompile(`^(20\d\d)(?:-(?:Q([1-4])|S([12])|(0[1-9]|1[0-2])))?$`)
	errPeriod   = api.Field{Path: "period", Code: "period", Reason: "a period expected: 2026-03, 2026-Q1, 2026-S1 or 2026, or its first day together with a grain (month, quarter, half_year, year)"}
)

// ParseReviewPeriod reads the name of a period ("2026-03", "2026-Q1", "2026-S1",
// "2026"), or its first day together with the grain. With a name the grain may
// be "", or must be the name's. The error is an api.Field.
func ParseReviewPeriod(text string, g Grain) (ReviewPeriod, error) {
	if g != "" && months(g) == 0 {
		return ReviewPeriod{}, api.Field{Path: "grain", Code: "unknown", Reason: "month, quarter, half_year or year expected"}
	}
	var p ReviewPeriod
	if m := periodLabel.FindStringSubmatch(text); m != nil {
		year, _ := strconv.Atoi(m[1]) // four digits
		number := func(s string) int { n, _ := strconv.Atoi(s); return n }
		switch {
		case m[2] != "":
			p = newReviewPeriod(Quarter, year, time.Month(3*number(m[2])-2))
		case m[3] != "":
			p = newReviewPeriod(HalfYear, year, time.Month(6*number(m[3])-5))
		case m[4] != "":
			p = newReviewPeriod(Month, year, time.Month(number(m[4])))
		default:
			p = newReviewPeriod(Year, year, time.January)
		}
		if g != "" && g != p.Grain {
			return ReviewPeriod{}, api.Field{Path: "grain", Code: "mismatch", Reason: fmt.Sprintf("%s is a %s, not a %s", p.Label, p.Grain, g)}
		}
		return p, nil
	}
	day, err := api.ParseDate(text)
	if err != nil || g == "" || day.Year() < firstYear || day.Year() >= lastYear {
		return ReviewPeriod{}, errPeriod
	}
	if day.Day() != 1 || (int(day.Month())-1)%months(g) != 0 {
		return ReviewPeriod{}, api.Field{Path: "period", Code: "period", Reason: fmt.Sprintf("no %s begins on this day", g)}
	}
	return newReviewPeriod(g, day.Year(), day.Month()), nil
}

// query asks for the figures of the period: of a flow what happened in it, of a
// stock what is there at its end.
// asOf is what was known then; zero: everything.
func (p ReviewPeriod) query(by []string, asOf time.Time) Query {
	return Query{Grain: All, By: by, From: p.First.String(), To: p.Last.String(), Today: p.Last.String(), AsOf: asOf}
}
