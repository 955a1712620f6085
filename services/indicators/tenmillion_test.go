package indicators

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/reference"
)

// tenMillion yields facts of so many pathways, six to seven for each, over more
// than two years and 24 governorates, in the order of their days, with offers,
// decisions and messages beside them.
func tenMillion(pathways int, yield func(Fact)) {
	start := time.Date(2024, 1, 1, 7, 0, 0, 0, time.UTC)
	governorates, schemes := reference.Governorates(), reference.Schemes().All()
	id := uint64(0)
	next := func(at time.Time) string {
		id++
		var u ulid.ULID
		_ = u.SetTime(uint64(at.UnixMilli()))
		for i := range 8 {
			u[15-i] = byte(id * 0x9E3779B97F4A7C15 >> (8 * i))
		}
		return u.String()
	}
	random := uint64(42)
	dice := func(n int) int { // xorshift64*
		random ^= random >> 12
		random ^= random << 25
		random ^= random >> 27
		return int(random * 2685821657736338717 >> 33 % uint64(n))
	}
	person := ""
	var who Codes
	for i := range pathways {
		at := start.Add(time.Duration(dice(700*24)) * time.Hour)
		if i%10 != 0 || person == "" {
			person = next(at)
			who = Codes{Governorate: governorates[dice(len(governorates))].Code, Sex: []string{"F", "M"}[dice(2)], Age: ageGroups()[dice(5)]}
		}
		scheme := schemes[dice(len(schemes))]
		f := Fact{Kind: PathwayOpened, Subject: next(at), Person: person, Seq: 1, Codes: who}
		f.Codes.Scheme, f.Codes.SchemeVersion, f.Codes.Sector, f.Codes.Placement = scheme.Code, "1", scheme.Sector, "no"
		emit := func() {
			f.ID, f.OccurredAt, f.RecordedAt = next(at), at, at.Add(time.Minute)
			yield(f)
			f.Seq++
		}
		f.Codes.Stage = scheme.Stages[0].Code
		emit()
		for n := 1; n < min(len(scheme.Stages), 3+dice(8)); n++ {
			stay := int64(dice(40*86400) + 3600)
			at = at.Add(time.Duration(stay) * time.Second)
			f.Kind, f.Stay = StageEntered, &stay
			f.Codes.FromStage, f.Codes.Stage = f.Codes.Stage, scheme.Stages[n].Code
			f.Codes.Placement = []string{"no", "yes"}[dice(10)/9]
			emit()
		}
		if dice(4) == 0 {
			f.Kind = PathwayExited
			f.Codes.FromStage, f.Codes.Exit = f.Codes.Stage, reference.ExitCodes()[dice(len(reference.ExitCodes()))]
			emit()
		}
		if i%40 == 0 { // an offer
			regions := reference.Regions()
			o := Fact{Subject: next(at), Kind: OfferOpened, Employer: fmt.Sprintf("E%d", dice(3000)), Seq: 1, Terms: &Terms{Posts: int64(dice(9) + 1)}}
			o.Codes.Scheme, o.Codes.Sector, o.Codes.Region, o.Codes.Rome = scheme.Code, scheme.Sector, regions[dice(len(regions))].Code, fmt.Sprintf("A%d", 1101+dice(200))
			for _, k := range []Kind{OfferOpened, PostFilled, PostFilled, OfferClosed} {
				o.Kind, o.ID, o.OccurredAt, o.RecordedAt = k, next(at), at, at
				if k == OfferClosed {
					o.Codes.Reason = "filled"
				}
				yield(o)
				at = at.AddDate(0, 0, 5)
				o.Seq++
			}
		}
		if i%5 == 0 {
			d := Fact{ID: next(at), Kind: DecisionRecorded, Subject: next(at), Person: person, Seq: 1, OccurredAt: at, RecordedAt: at, Codes: who}
			d.Codes.Scheme, d.Codes.Sector = scheme.Code, scheme.Sector
			d.Codes.Decision = reference.Decisions()[dice(len(reference.Decisions()))]
			yield(d)
		}
	}
}

// BenchmarkTenMillion holds ten million facts and asks for every declared cut of
// every definition, by month, beside a plain loop over one column. Run it with
// -benchtime 1x -timeout 30m.
func BenchmarkTenMillion(b *testing.B) {
	defs, err := Embedded()
	if err != nil {
		b.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	columns := NewColumns(Dimensions(), defs)
	began, adding := time.Now(), time.Duration(0)
	const pathways = 1_720_000
	batch := make([]Fact, 0, 4096)
	add := func() {
		began := time.Now()
		for i := range batch {
			columns.Add(batch[i])
		}
		adding += time.Since(began)
		batch = batch[:0]
	}
	tenMillion(pathways, func(f Fact) {
		if batch = append(batch, f); len(batch) == cap(batch) {
			add()
		}
	})
	add()
	generated := time.Since(began) - adding
	began = time.Now()
	v := columns.View()
	laid := time.Since(began)
	b.Logf("%d facts: added in %v, laid out in %v: %.0f facts/s (made in %v); %.1f bytes a fact; %d and %d combinations",
		v.facts, adding, laid, float64(v.facts)/(adding+laid).Seconds(), generated, float64(heap()-before)/float64(v.facts), len(columns.own.of), len(columns.other.of))

	b.Run("bare", func(b *testing.B) {
		for range b.N {
			var total uint64
			for _, x := range v.segments[0].amount {
				total += uint64(x)
			}
			if total == 0 {
				b.Fatal("nothing")
			}
		}
	})
	type timing struct {
		name string
		took time.Duration
	}
	measure := func(b *testing.B, what string, asOf time.Time, grain Grain) {
		var all []timing
		for _, d := range defs {
			cuts := [][]string{nil}
			for _, name := range d.Dimensions {
				cuts = append(cuts, []string{name})
			}
			for _, by := range append(cuts, d.Cuts...) {
				began := time.Now()
				if _, err := v.Cells(d, Query{Grain: grain, By: by, Today: "2026-06-30", AsOf: asOf}); err != nil {
					b.Fatal(err)
				}
				all = append(all, timing{fmt.Sprintf("%s by %v", d.Code, by), time.Since(began)})
			}
		}
		slices.SortFunc(all, func(a, b timing) int { return int(b.took - a.took) })
		b.ReportMetric(float64(all[0].took.Microseconds())/1000, "ms-slowest")
		b.ReportMetric(float64(all[len(all)/2].took.Microseconds())/1000, "ms-p50")
		b.Logf("%s: %d cuts, p50 %v, slowest: %v", what, len(all), all[len(all)/2].took, all[:8])
	}
	b.Run("cuts", func(b *testing.B) {
		for range b.N {
			measure(b, "every declared cut by month", time.Time{}, Month)
		}
	})
	b.Run("cuts_as_of", func(b *testing.B) {
		for range b.N {
			measure(b, "every declared cut by month as of a past day", time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC), Month)
		}
	})
	daily := func(code string, by ...string) func(b *testing.B) {
		return func(b *testing.B) {
			d, _ := defs.Get(code)
			for range b.N {
				series, err := v.Daily(d, Query{By: by, Today: "2026-06-30"})
				if err != nil {
					b.Fatal(err)
				}
				n, values := 0, 0
				for s := range series {
					n, values = n+1, values+len(s.Values)
				}
				b.ReportMetric(float64(n), "series")
				b.ReportMetric(float64(values), "values")
			}
		}
	}
	b.Run("daily_flow", daily("stage_entries", "stage", "scheme"))
	b.Run("daily_stock", daily("people_by_stage", "stage", "governorate"))
	b.Run("behind", func(b *testing.B) {
		d, _ := defs.Get("people_followed")
		for range b.N {
			if _, err := v.Behind(d, Query{Grain: Month, By: []string{"governorate"}, Today: "2026-06-30"}, "2025-03", []string{"TN-11"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("every_gauge", func(b *testing.B) {
		for range b.N {
			n := 0
			for _, d := range defs {
				for _, by := range append([][]string{nil}, d.Gauges...) {
					n++
					if _, err := v.Cells(d, Query{Grain: All, By: by, Today: "2026-06-30"}); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(n), "gauges")
		}
	})
	b.Run("loading", func(b *testing.B) { // a question after every thousand facts
		d, _ := defs.Get("people_by_stage")
		var took []time.Duration
		for range b.N {
			facts := make([]Fact, 0, 40_000)
			tenMillion(5000, func(f Fact) {
				f.ID = "late-" + f.ID
				facts = append(facts, f)
			})
			for i, f := range facts {
				columns.Add(f)
				if i%1000 == 0 {
					began := time.Now()
					if _, err := columns.View().Cells(d, Query{Grain: Month, By: []string{"governorate"}, Today: "2026-06-30"}); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(began))
				}
			}
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
		b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms-slowest")
	})
}
