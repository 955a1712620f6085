package indicators

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"masar.local/pkg/api"
)

// namedPeriod is a period that a reader names, as periods are named in answers.
type namedPeriod struct {
	Grain       Grain
	Label       string
	First, Last api.Date // included; both zero for "all"
}

var seasonLabel = regexp.MustCompile(`^(20\d\d)/(20\d\d)$`)

// readPeriod reads the name of a period: "2026-03-14", "2026-03", "2026-Q1",
// "2026-S1", "2026", "2025/2026" (a season, which begins on seasonStarts, "MM-DD")
// or "all". The error is an api.Field.
func readPeriod(text, seasonStarts string) (namedPeriod, error) {
	if text == "" || text == string(All) {
		return namedPeriod{Grain: All, Label: string(All)}, nil
	}
	if p, err := ParseReviewPeriod(text, ""); err == nil {
		return namedPeriod(p), nil
	}
	if day, err := api.ParseDate(text); err == nil && day.Year() >= firstYear && day.Year() < lastYear {
		return namedPeriod{Day, text, day, day}, nil
	}
	if m := seasonLabel.FindStringSubmatch(text); m != nil {
		first, _ := strconv.Atoi(m[1])
		last, _ := strconv.Atoi(m[2])
		if start, err := api.ParseDate(fmt.Sprintf("%d-%s", first, seasonStarts)); err == nil && last == first+1 {
			return namedPeriod{Grain("season"), text, start, api.NewDate(first+1, start.Month(), start.Day()-1)}, nil
		}
	}
	return namedPeriod{}, api.Field{Path: "query.period", Code: "period", Reason: "a period expected: 2026-03-14, 2026-03, 2026-Q1, 2026-S1, 2026, 2025/2026 or all"}
}

// sdmxFreq gives grains their codes of the cross-domain list CL_FREQ. A season is a
// year that begins on another day; what is since the start has no frequency.
var sdmxFreq = map[Grain]string{
	"day": "D", "month": "M", "quarter": "Q", "half_year": "S", "year": "A", "season": "A", "all": "_Z",
}

// sdmxTime is a period of a series as SDMX writes it (SDMX 3.0, section 6, 4.2):
// Gregorian days, months and years and reporting quarters and semesters as they are
// named here; a season and "all" as a time range: first day / duration.
func sdmxTime(s Series, period, seasonStarts string) string {
	switch s.Grain {
	case All:
		return fmt.Sprintf("%s/P%dD", s.First, int(s.Last.Sub(s.First.Time)/(24*time.Hour))+1)
	case "season":
		if p, err := readPeriod(period, seasonStarts); err == nil {
			return p.First.String() + "/P1Y"
		}
	}
	return period
}
