package indicators

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"masar.local/pkg/access"
)

// sdmxRows reads an SDMX-CSV answer: a map for each line.
func sdmxRows(t *testing.T, body string) (rows []map[string]string) {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, name := range lines[0] {
			row[name] = line[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// TestSDMXSaysWhatJSONSays: one cut, in SDMX-CSV beside the figures as JSON, shown
// and hidden alike. Independent readers see all of it in tests/servers/sdmx.sh.
func TestSDMXSaysWhatJSONSays(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	for _, p := range []access.Principal{as(access.Statistician), as(access.Manager)} {
		path := "/api/indicators/values?code=people_followed&grain=month&by=governorate,sex"
		series := ask[Series](r, p, path)
		status, header, body := r.get(p, path+"&format=sdmx-csv")
		if status != http.StatusOK || header.Get("Content-Type") != "application/vnd.sdmx.data+csv;version=2.0.0;charset=utf-8" {
			t.Fatalf("%d %s %s", status, header.Get("Content-Type"), body)
		}
		var got, want []string
		for _, row := range sdmxRows(t, body) {
			if row["STRUCTURE"] != "dataflow" || row["STRUCTURE_ID"] != "MASAR:MASAR_KPI(1.0)" || row["FREQ"] != "M" || row["INDICATOR"] != "people_followed" || row["SCHEME"] != "_T" || row["UNIT_MEASURE"] != "people" {
				t.Fatalf("a line %v", row)
			}
			if (row["OBS_VALUE"] == "") != (row["OBS_STATUS"] == "Q") {
				t.Errorf("value %q with status %s", row["OBS_VALUE"], row["OBS_STATUS"])
			}
			got = append(got, fmt.Sprint(row["TIME_PERIOD"], " ", row["REF_AREA"], " ", row["SEX"], " ", row["OBS_VALUE"]))
		}
		for _, row := range series.Rows {
			want = append(want, fmt.Sprint(row.Period, " ", row.Dimensions["governorate"], " ", row.Dimensions["sex"], " ", number(row.Value)))
		}
		for _, row := range series.Totals {
			want = append(want, fmt.Sprint(row.Period, " TN _T ", number(row.Value)))
		}
		if len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("as %s got\n%s\nwant\n%s", p.Role, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}

	// What is of a part says of which.
	scoped := as(access.Manager)
	scoped.Governorates = []string{"TN-71"}
	_, _, body := r.get(scoped, "/api/indicators/sdmx/data?code=people_followed&grain=all")
	for _, row := range sdmxRows(t, body) {
		if row["COVERAGE"] != "governorate=TN-71" {
			t.Errorf("of a part: %v", row)
		}
	}
	if len(sdmxRows(t, body)) == 0 {
		t.Error("nothing for whoever has one governorate")
	}
}

// TestSDMXPeriods: every grain in the forms of SDMX.
func TestSDMXPeriods(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	for _, g := range Grains {
		_, _, body := r.get(as(access.Statistician), "/api/indicators/sdmx/data?code=people_followed&from=2026-01-01&to=2026-04-15&grain="+string(g))
		rows := sdmxRows(t, body)
		want := map[Grain]string{
			"day": "D 2026-01-01", "month": "M 2026-01", "quarter": "Q 2026-Q1", "half_year": "S 2026-S1", "year": "A 2026",
			"season": "A 2025-09-01/P1Y", "all": "_Z 2026-01-01/P105D",
		}[g]
		if len(rows) == 0 || rows[0]["FREQ"]+" "+rows[0]["TIME_PERIOD"] != want {
			t.Errorf("%s: %v, want %s", g, rows, want)
		}
	}
}

// TestSDMXStructure: every code that data may have is in the list of its dimension.
func TestSDMXStructure(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	type codelist struct {
		AgencyID, ID, Version string
		IsPartial             bool
		Codes                 []struct {
			ID    string
			Names map[string]string
		}
	}
	structure := ask[struct {
		Data struct {
			Codelists      []codelist
			DataStructures []struct {
				DataStructureComponents struct {
					DimensionList struct {
						Dimensions []struct {
							ID                  string
							LocalRepresentation struct{ Enumeration string }
						}
					}
				}
			}
		}
	}](r, as(access.Manager), "/api/indicators/sdmx/structure")
	lists := map[string]codelist{}
	for _, c := range structure.Data.Codelists {
		lists[urnCodelist+c.AgencyID+":"+c.ID+"("+c.Version+")"] = c
		if c.IsPartial != (c.AgencyID == "SDMX") {
			t.Errorf("%s: partial %v", c.ID, c.IsPartial)
		}
		for _, code := range c.Codes {
			if code.Names["fr"] == "" || code.Names["ar"] == "" || code.Names["en"] == "" {
				t.Errorf("%s %s: %v", c.ID, code.ID, code.Names)
			}
		}
	}
	of := map[string][]string{}
	for _, d := range structure.Data.DataStructures[0].DataStructureComponents.DimensionList.Dimensions {
		for _, code := range lists[d.LocalRepresentation.Enumeration].Codes {
			of[d.ID] = append(of[d.ID], code.ID)
		}
	}
	if got := strings.Join(of["SEX"], " "); got != "_T _U _O F M" {
		t.Errorf("SEX: %s", got)
	}
	if got := strings.Join(of["AGE"], " "); got != "_T _U _O Y0T14 Y15T24 Y25T29 Y30T35 Y_GE36" {
		t.Errorf("AGE: %s", got)
	}
	_, _, body := r.get(as(access.Statistician), "/api/indicators/sdmx/data")
	for _, row := range sdmxRows(t, body) {
		for name, codes := range of {
			if !slices.Contains(codes, row[name]) {
				t.Errorf("%s is %s, which is not in its list", name, row[name])
			}
		}
	}
}

// TestNothingAsSDMX: no figures is a message too.
func TestNothingAsSDMX(t *testing.T) {
	r := newRig(t, nil)
	r.folded(0)
	message := ask[struct {
		Data struct {
			DataSets []struct{ Series map[string]any }
		}
	}](r, as(access.Manager), "/api/indicators/sdmx/data?code=stage_days&format=sdmx-json")
	if len(message.Data.DataSets) != 1 || len(message.Data.DataSets[0].Series) != 0 {
		t.Errorf("%+v", message)
	}
}

// TestSDMXCodes: whatever a code is, what is written is an identifier, and no two
// codes become one.
func TestSDMXCodes(t *testing.T) {
	form := regexp.MustCompile(`^[A-Za-z0-9_@$-]+$`)
	for code, want := range map[string]string{"TN-71": "TN-71", "P06b": "P06b", "a.b/c": "a$2Eb$2Fc", "per person": "per$20person", Unknown: "_U", Other: "_O", "_T": "$5FT"} {
		if got := sdmxCode("", code); got != want {
			t.Errorf("%q: %s, want %s", code, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		dimension := rapid.SampledFrom([]string{"age", "rome"}).Draw(t, "dimension")
		a, b := rapid.StringN(1, 40, -1).Draw(t, "a"), rapid.StringN(1, 40, -1).Draw(t, "b")
		if !form.MatchString(sdmxCode(dimension, a)) {
			t.Fatalf("%q becomes %q", a, sdmxCode(dimension, a))
		}
		if a != b && dimension == "rome" && sdmxCode(dimension, a) == sdmxCode(dimension, b) {
			t.Fatalf("%q and %q become %q", a, b, sdmxCode(dimension, a))
		}
	})
}

// FuzzSDMXJSON: a message is JSON whatever codes and coverage are.
func FuzzSDMXJSON(f *testing.F) {
	f.Add("TN-71", "2026-01", 1.5, true)
	f.Add("\"\\\x00", "\"", -1.5, false)
	f.Fuzz(func(t *testing.T, code, period string, value float64, hidden bool) {
		if value != value || value > 1e300 || value < -1e300 {
			t.Skip() // no figure is
		}
		m := &sdmxMessage{dims: sdmxDimensions(Dimensions())}
		row := Row{Period: period, Dimensions: map[string]string{"rome": code}, Value: &value, Suppressed: hidden}
		m.add(Series{Code: "x", Grain: Month, By: []string{"rome"}, Rows: []Row{row}, Scope: map[string][]string{"scheme": {code}}}, true)
		var out strings.Builder
		if err := m.writeJSON(&out); err != nil || !json.Valid([]byte(out.String())) {
			t.Errorf("%v %s", err, out.String())
		}
	})
}
