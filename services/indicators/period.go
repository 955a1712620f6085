package indicators

import (
	"fmt"
	"time"
	_ "time/tzdata" // a container without zone files still knows Africa/Tunis
)

// Zone is the time zone of days and months: where the programme's people are.
const Zone = "Africa/Tunis"

var tunis = func() *time.Location {
	loc, err := time.LoadLocation(Zone)
	if err != nil {
		panic(err) // the zone data are compiled in
	}
	return loc
}()

// Grain is the length of the periods of a series.
type Grain string

// The grains, and how their periods are named. All are local; the two halves of a
// year are S1 and S2 (semestres), as in SDMX.
const (
	Day      Grain = "day"       // 2026-03-14
	Month    Grain = "month"     // 2026-03
	Quarter  Grain = "quarter"   // 2026-Q1
	HalfYear Grain = "half_year" // 2026-S1
	Year     Grain = "year"      // 2026
	Season   Grain = "season"    // 2025/2026, or 2026 when it begins on 1 January
	All      Grain = "all"       // one period, named "all"
)

// Grains lists them.
var Grains = []Grain{Day, Month, Quarter, HalfYear, Year, Season, All}

// DefaultSeason is the day on which a season begins, as MM-DD, where the
// programme's settings do not say: that of the Tunisian agricultural season
// (campagne agricole). Our own reading, to be confirmed; see programme.yaml.
const DefaultSeason = "09-01"

// period is one span of a series: the instants from start, included, to end,
// excluded, in Unix milliseconds.
type period struct {
	label      string
	start, end int64
}

// localDay is the day on which an instant falls, as YYYY-MM-DD.
func localDay(ms int64) string { return time.UnixMilli(ms).In(tunis).Format(time.DateOnly) }

// dayStart is the first instant of a local day; later is how many days after it.
func dayStart(day string, later int) (time.Time, error) {
	t, err := time.ParseInLocation(time.DateOnly, day, tunis)
	if err != nil {
		return time.Time{}, err
	}
	return time.Date(t.Year(), t.Month(), t.Day()+later, 0, 0, 0, 0, tunis), nil
}

// periods cuts the days from first to last, both included, into periods. The
// first and the last may be partial. season is the day, as MM-DD, on which a
// season begins, "" for DefaultSeason.
func periods(g Grain, first, last, season string) ([]period, error) {
	start, err := dayStart(first, 0)
	if err != nil {
		return nil, err
	}
	end, err := dayStart(last, 1)
	if err != nil {
		return nil, err
	}
	if g == All {
		return []period{{string(All), start.UnixMilli(), end.UnixMilli()}}, nil
	}
	begins, err := seasonStart(season)
	if err != nil {
		return nil, err
	}
	var out []period
	for at := start; at.Before(end); {
		label, next := around(g, at, begins)
		if next.After(end) {
			next = end
		}
		out = append(out, period{label, at.UnixMilli(), next.UnixMilli()})
		at = next
	}
	return out, nil
}

// seasonStart reads the day on which a season begins. 29 February is none: it
// does not come every year.
func seasonStart(season string) (time.Time, error) {
	if season == "" {
		season = DefaultSeason
	}
	t, err := time.Parse("2006-01-02", "2001-"+season)
	if err != nil {
		return time.Time{}, fmt.Errorf("the day on which a season begins is %q: want a month and a day of every year, as MM-DD", season)
	}
	return t, nil
}

// around is the period that an instant falls into: its name, and when the next
// one begins.
func around(g Grain, at, season time.Time) (label string, next time.Time) {
	year, month, day := at.Date()
	from := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, tunis) }
	switch g {
	case Month:
		return at.Format("2006-01"), from(year, month+1, 1)
	case Quarter:
		n := (int(month) + 2) / 3
		return fmt.Sprintf("%04d-Q%d", year, n), from(year, time.Month(3*n+1), 1)
	case HalfYear:
		n := (int(month) + 5) / 6
		return fmt.Sprintf("%04d-S%d", year, n), from(year, time.Month(6*n+1), 1)
	case Year:
		return fmt.Sprintf("%04d", year), from(year+1, 1, 1)
	case Season:
		if at.Before(from(year, season.Month(), season.Day())) {
			year--
		}
		next = from(year+1, season.Month(), season.Day())
		if season.YearDay() == 1 {
			return fmt.Sprintf("%04d", year), next
		}
		return fmt.Sprintf("%04d/%04d", year, year+1), next
	}
	return at.Format(time.DateOnly), from(year, month, day+1)
}
