package indicators

import (
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

// The grains. A day and a month are local; All is one period, named "all".
const (
	Day   Grain = "day"
	Month Grain = "month"
	All   Grain = "all"
)

// Grains lists them.
var Grains = []Grain{Day, Month, All}

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
// first and the last month may be partial.
func periods(g Grain, first, last string) ([]period, error) {
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
	var out []period
	for at := start; at.Before(end); {
		var next time.Time
		layout := time.DateOnly
		if g == Month {
			layout = "2006-01"
			next = time.Date(at.Year(), at.Month()+1, 1, 0, 0, 0, 0, tunis)
		} else {
			next = time.Date(at.Year(), at.Month(), at.Day()+1, 0, 0, 0, 0, tunis)
		}
		if next.After(end) {
			next = end
		}
		out = append(out, period{at.Format(layout), at.UnixMilli(), next.UnixMilli()})
		at = next
	}
	return out, nil
}
