package shortage

import (
	"compress/gzip"
	"encoding/csv"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"masar.local/pkg/opendata"
)

// real reads a file of the open data, which must have no fault.
func real(t *testing.T, elem ...string) (*Dataset, Report) {
	t.Helper()
	f, err := os.Open(opendata.Path(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, report, err := Read(f)
	if err != nil || d == nil {
		t.Fatalf("%v: %v, %d faults, first %v", elem, err, report.Faults, report.Errors[:min(3, len(report.Errors))])
	}
	return d, report
}

// Every index that DARES publishes falls in the class that it publishes.
func TestPublishedClasses(t *testing.T) {
	d, report := real(t, "marche", "dares_tensions", "tensions.csv")
	if report.Rows != 31034 || len(report.Errors) != 0 {
		t.Errorf("%d rows, remarks %v; want 31034 and none", report.Rows, report.Errors)
	}
	type place struct {
		zone Zone
		code string
	}
	index, class := map[place]Observation{}, map[place]int{}
	for _, o := range d.Observations {
		p := place{o.Zone, o.Occupation.Code}
		switch o.Measure {
		case Index:
			index[p] = o
		case Class:
			class[p] = int(o.Value.IntPart())
		}
	}
	var count [6]int
	below, above := [6]float64{}, [6]float64{} // the extremes of each class
	for i := range below {
		below[i], above[i] = math.Inf(1), math.Inf(-1)
	}
	for p, want := range class {
		x, _ := index[p].Value.Float64()
		if got := FrenchClass(index[p].Value); got != want || FrenchCuts.Class(x) != want {
			t.Errorf("%s %s: T = %s is in class %d, published %d", p.zone, p.code, index[p].Value, got, want)
		}
		count[want]++
		below[want], above[want] = min(below[want], x), max(above[want], x)
	}
	if len(class) != 17143 || 31034-len(index) != 1488 || count != [6]int{0, 2715, 1367, 2000, 2275, 8786} {
		t.Errorf("%d classes, %d indices missing, by class %v", len(class), 31034-len(index), count)
	}
	// No published value lies on a cut: the file does not say to which side a cut
	// belongs, and either reading gives what it publishes.
	for k, cut := range FrenchCuts {
		if !(above[k+1] < cut && cut < below[k+2]) {
			t.Errorf("cut %d, %v, is not within the gap from %v to %v", k+1, cut, above[k+1], below[k+2])
		}
		t.Logf("between classes %d and %d: nothing from %.5f to %.5f, cut %v", k+1, k+2, above[k+1], below[k+2], cut)
	}
	// The stray "reg " and the codes "1.0" were understood.
	zones := map[Level]map[Zone]bool{Country: {}, Region: {}, Department: {}}
	for _, o := range d.Observations {
		zones[o.Zone.Level()][o.Zone] = true
	}
	if len(zones[Country]) != 1 || len(zones[Region]) != 17 || len(zones[Department]) != 100 || !zones[Region]["FR-01"] {
		t.Errorf("%d countries, %d régions, %d départements", len(zones[Country]), len(zones[Region]), len(zones[Department]))
	}
	for code, want := range map[string]int{"A0Z40": 3, "A0Z41": 4, "A0Z42": 5} {
		if class[place{"FR", code}] != want {
			t.Errorf("%s: class %d, want %d", code, class[place{"FR", code}], want)
		}
	}
}

// The survey's sums are those of the file, counted another way.
func TestBMO(t *testing.T) {
	d, report := real(t, "marche", "bmo_2025.csv.gz")
	if report.Rows != 50076 {
		t.Errorf("%d rows, want 50076", report.Rows)
	}
	f, err := os.Open(opendata.Path(t, "marche", "bmo_2025.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := map[key][3]int64{} // sum, rows, hidden
	for _, l := range lines[1:] {
		for i, m := range map[int]Measure{11: Projects, 12: Difficult, 13: Seasonal} {
			for _, zone := range []string{"FR", "FR-" + l[5], "FR-D" + l[7]} {
				k := key{Zone(zone), Occupation{FAP2021, l[1]}, "2025", m}
				w := want[k]
				if n, err := strconv.ParseInt(l[i], 10, 64); err == nil {
					w[0], w[1] = w[0]+n, w[1]+1
				} else {
					w[2]++
				}
				want[k] = w
			}
		}
	}
	total := map[Measure]int64{}
	compared := 0
	for _, o := range d.Observations {
		if o.Zone == "FR" {
			total[o.Measure] += o.Value.IntPart()
		}
		if o.Measure == DifficultHole || o.Measure == SeasonalHole {
			continue
		}
		w := want[key{o.Zone, o.Occupation, o.Period, o.Measure}]
		if o.Value.IntPart() != w[0] || int64(o.HiddenRows) != w[2] || o.Measure == Projects && int64(o.Rows) != w[1] {
			t.Fatalf("%s %s %s: %s of %d rows, %d hidden; the file has %v", o.Zone, o.Occupation, o.Measure, o.Value, o.Rows, o.HiddenRows, w)
		}
		compared++
	}
	if total[Projects] != 2401105 || total[Difficult] != 1191811 || total[Seasonal] != 745082 || compared != len(want) {
		t.Errorf("totals %v, %d sums compared of %d", total, compared, len(want))
	}
	t.Logf("%d sums compared; %d projects, %d difficult (%.1f %%), %d seasonal", compared, total[Projects], total[Difficult], 100*float64(total[Difficult])/float64(total[Projects]), total[Seasonal])

	// The share of a FAP in a région.
	b := NewBook()
	if err := b.Add(d); err != nil {
		t.Fatal(err)
	}
	table := b.Table(Query{Zone: "FR-84", Nomenclature: FAP2021, Period: "2025"}, Settings{})
	checked := 0
	for _, r := range table.Rows {
		k := key{"FR-84", Occupation{FAP2021, r.Code}, "2025", Projects}
		met := want[k]
		k.measure = Difficult
		xmet := want[k]
		if met[0] == 0 {
			if r.Components[C3] != nil {
				t.Errorf("%s has a share of nothing", r.Code)
			}
			continue
		}
		checked++
		if share := float64(xmet[0]) / float64(met[0]); *r.Components[C3] != share || r.C3High != nil && *r.C3High < share {
			t.Errorf("%s: share %v (at most %v), want %v", r.Code, *r.Components[C3], r.C3High, share)
		}
	}
	t.Logf("%d shares of FAP in FR-84, of %d rows; flags %v", checked, len(table.Rows), table.Flags)
	if checked < 100 {
		t.Errorf("only %d shares", checked)
	}
}

// The passages are as published: read in their code page, with what has no sheet.
func TestRealPassages(t *testing.T) {
	d, _ := real(t, "marche", "dares_tensions", "fap225_rome.csv")
	p, err := NewPassage(d.Links)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Labels[Occupation{ROME, "A1416"}]; got != "Polyculture, élevage" {
		t.Errorf("A1416 is %q", got)
	}
	if got := p.Across(Occupation{FAP2009, "A0Z43"}); len(got) != 1 || got[0] != (Occupation{ROME, "A1101"}) {
		t.Errorf("A0Z43 leads to %v", got)
	}
	if got := p.Across(Occupation{FAP2021, "A0Z43"}); got != nil {
		t.Errorf("a code of FAP2021 was taken for one of FAP2009: %v", got)
	}
	d, _ = real(t, "marche", "Dares_Table_passage_ROME_Qualif_to_FAP2021_pour_programme.csv")
	to, err := NewPassage(d.Links)
	if err != nil {
		t.Fatal(err)
	}
	// Every occupation of the survey is reached.
	bmo, _ := real(t, "marche", "bmo_2025.csv.gz")
	rows := map[Occupation]Inputs{}
	for _, o := range bmo.Observations {
		if o.Zone == "FR" && o.Measure == Projects {
			rows[o.Occupation] = Inputs{Projects: {Number: o.Value.InexactFloat64(), Rows: o.Rows}}
		}
	}
	spread, lost := to.Spread(rows)
	sum, known := 0.0, 0.0
	for _, in := range spread {
		sum += in[Projects].Number
	}
	for o, in := range rows {
		if !strings.Contains(strings.Join(codes(lost), " "), o.Code) {
			known += in[Projects].Number
		}
	}
	if math.Abs(sum-known) > 1e-6*known || sum < 0.9*2401105 {
		t.Errorf("%v projects became %v", known, sum)
	}
	t.Logf("%.0f of 2401105 projects spread over %d sheets of ROME; without a sheet: %v", sum, len(spread), codes(lost))
}

func codes(list []Occupation) (out []string) {
	for _, o := range list {
		out = append(out, o.Code)
	}
	return out
}

// The published series of the country, year by year: what standardisation its
// producer used can be seen in the reference years.
func TestPublishedYears(t *testing.T) {
	d, _ := real(t, "marche", "dares_tensions", "evol_tensions.csv")
	var values []float64
	for _, o := range d.Observations {
		if y := o.Period.Year(); len(o.Occupation.Code) == 5 && 2014 <= y && y <= 2018 {
			values = append(values, o.Value.InexactFloat64())
		}
	}
	mean, sd := 0.0, 0.0
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		sd += (v - mean) * (v - mean) / float64(len(values))
	}
	sd = math.Sqrt(sd)
	t.Logf("%d values of 2014-2018, mean %.4f, deviation %.4f", len(values), mean, sd)
	// Of a weighed sum of standardised components the mean is 0, and the deviation
	// is below 1, for they are not perfectly correlated: it was not standardised again.
	if math.Abs(mean) > 0.1 || sd < 0.5 || sd > 0.95 {
		t.Errorf("mean %v and deviation %v of the reference years", mean, sd)
	}
	cuts, _, _ := Quintiles(values)
	t.Logf("its quintiles over 2014-2018 are %.4f, the cuts of the file %v", cuts, FrenchCuts)
}
