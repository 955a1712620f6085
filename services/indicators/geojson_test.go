package indicators

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"masar.local/pkg/access"
	"masar.local/pkg/opendata"
	"masar.local/pkg/reference"
)

// geometry is a GeoJSON geometry as a reader sees it.
type geometry struct {
	Type        string
	Coordinates json.RawMessage
}

// mapOf asks for a map.
func mapOf(r *rig, p access.Principal, query string) (m struct {
	Type        string
	BBox        []float64
	Attribution string
	Period      string
	Features    []struct {
		Type       string
		ID         string
		BBox       []float64
		Geometry   geometry
		Properties geoProperties
	}
	Elsewhere []geoProperties
	Total     *float64
},
) {
	r.t.Helper()
	status, header, body := r.get(p, "/api/indicators/geo?"+query)
	if status != http.StatusOK || header.Get("Content-Type") != "application/geo+json" || header.Get("ETag") == "" {
		r.t.Fatalf("%s: %d %v %s", query, status, header, body)
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		r.t.Fatal(err)
	}
	return m
}

// TestMapOfPoints: without a file every governorate is the point of its chief town,
// with the figure that JSON has.
func TestMapOfPoints(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	m := mapOf(r, as(access.Statistician), "code=people_followed&period=2026-Q1")
	if m.Type != "FeatureCollection" || len(m.Features) != 24 || m.Period != "2026-Q1" || m.Attribution == "" || len(m.BBox) != 4 {
		t.Fatalf("%s, %d features, %s", m.Type, len(m.Features), m.Period)
	}
	sum := 0.0
	for i, f := range m.Features {
		g := reference.Governorates()[i]
		var at []float64
		if err := json.Unmarshal(f.Geometry.Coordinates, &at); err != nil || f.Geometry.Type != "Point" || !slices.Equal(at, []float64{g.Lon, g.Lat}) {
			t.Errorf("%s is at %s", f.ID, f.Geometry.Coordinates)
		}
		if f.Type != "Feature" || f.ID != g.Code || f.Properties.LabelAR != g.LabelAR || f.Properties.Unit != "people" || f.Properties.Value == nil {
			t.Errorf("%+v", f)
		}
		sum += *f.Properties.Value
	}
	for _, e := range m.Elsewhere {
		sum += *e.Value
	}
	if m.Total == nil || sum != *m.Total || sum == 0 {
		t.Errorf("the places add up to %v, the total is %v", sum, m.Total)
	}

	// A manager sees no cell of few people, and whoever has one governorate no other.
	for _, f := range mapOf(r, as(access.Manager), "code=people_followed").Features {
		if f.ID == "TN-71" && (f.Properties.Value != nil || !f.Properties.Suppressed) {
			t.Errorf("a small cell: %+v", f.Properties)
		}
	}
	scoped := as(access.Statistician)
	scoped.Governorates = []string{"TN-71"}
	for _, f := range mapOf(r, scoped, "code=people_followed").Features {
		if f.Properties.InScope != (f.ID == "TN-71") || (f.Properties.Value != nil) != (f.ID == "TN-71") {
			t.Errorf("with one governorate: %+v", f.Properties)
		}
	}

	regions := mapOf(r, as(access.Manager), "code=posts_open")
	if len(regions.Features) != len(reference.Regions()) || regions.Features[0].Geometry.Type != "Point" {
		t.Errorf("%d regions", len(regions.Features))
	}
	for _, f := range regions.Features {
		if f.ID == "76" && (f.Properties.Value == nil || *f.Properties.Value != 8 || f.Properties.LabelFR != "Occitanie") {
			t.Errorf("Occitanie: %+v", f.Properties)
		}
	}
	for query, want := range map[string]string{
		"code=messages_sent": "neither", "code=people_followed&by=region": "governorate", "code=people_followed&period=soon": "2026-Q1",
		"code=people_followed&period=2026&from=2026-01-01": "not both",
	} {
		if status, _, body := r.get(as(access.Manager), "/api/indicators/geo?"+query); status != http.StatusUnprocessableEntity || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

// TestShapesForAnybody: another site's page can read the shapes without a token, and
// learns nothing of the programme.
func TestShapesForAnybody(t *testing.T) {
	r := newRig(t, nil)
	status, header, body := r.get(access.Principal{}, "/api/indicators/geo/governorates")
	if status != http.StatusOK || header.Get("Access-Control-Allow-Origin") != "*" || header.Get("Content-Type") != typeGeoJSON {
		t.Fatalf("%d %v", status, header)
	}
	b, err := readBorders([]byte(body)) // it is a file of borders itself
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range reference.Governorates() {
		if around := b.boxes[g.Code]; around[0] >= g.Lon || around[2] <= g.Lon || around[1] >= g.Lat || around[3] <= g.Lat {
			t.Errorf("%s is not around its chief town: %v", g.Code, around)
		}
	}
	if strings.Contains(body, "value") || strings.Contains(body, "people") {
		t.Error("it says more than shapes and names")
	}
	if status, _, _ := r.getWith(access.Principal{}, "/api/indicators/geo/governorates", "If-None-Match", header.Get("ETag")); status != http.StatusNotModified {
		t.Errorf("again: %d", status)
	}
	if status, _, _ := r.get(access.Principal{}, "/api/indicators/geo?code=people_followed"); status != http.StatusUnauthorized {
		t.Errorf("figures without a token: %d", status)
	}
	// With the operator's borders, those.
	path := opendata.Path(t, "geo", "tn_gouvernorats_osm_simplifie.geojson")
	_, _, body = newRig(t, map[string]string{"MASAR_GOVERNORATES": path}).get(access.Principal{}, "/api/indicators/geo/governorates")
	if !strings.Contains(body, "MultiPolygon") {
		t.Errorf("%.200s", body)
	}
}

// TestMapOfBorders: with the operator's file a governorate has its borders, turned
// as the standard has them, and the file's attribution.
func TestMapOfBorders(t *testing.T) {
	data, err := os.ReadFile(opendata.Path(t, "geo", "tn_gouvernorats_osm_simplifie.geojson"))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	file["attribution"] = "© les contributeurs d'OpenStreetMap, ODbL"
	data, _ = json.Marshal(file)
	path := filepath.Join(t.TempDir(), "borders.geojson")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, map[string]string{"MASAR_GOVERNORATES": path})
	r.folded(0)
	m := mapOf(r, as(access.Manager), "code=people_followed")
	if m.Attribution != "© les contributeurs d'OpenStreetMap, ODbL" || len(m.Features) != 24 {
		t.Errorf("%d features, attribution %q", len(m.Features), m.Attribution)
	}
	for _, f := range m.Features {
		var polygons [][]ring
		if f.Geometry.Type != "MultiPolygon" {
			t.Fatalf("%s is a %s", f.ID, f.Geometry.Type)
		}
		if err := json.Unmarshal(f.Geometry.Coordinates, &polygons); err != nil {
			t.Fatal(err)
		}
		for _, rings := range polygons {
			for i, r := range rings {
				if r.counterclockwise() != (i == 0) {
					t.Errorf("%s: ring %d is turned the wrong way", f.ID, i)
				}
				for _, p := range r {
					if p[0] < f.BBox[0] || p[0] > f.BBox[2] || p[1] < f.BBox[1] || p[1] > f.BBox[3] || f.BBox[0] < m.BBox[0] || f.BBox[3] > m.BBox[3] {
						t.Fatalf("%s: %v is outside its box %v", f.ID, p, f.BBox)
					}
				}
			}
		}
	}
}

// inside says whether a point lies in a polygon: whether a ray from it crosses the
// rings an odd number of times.
func inside(lon, lat float64, polygons [][]ring) bool {
	in := false
	for _, rings := range polygons {
		for _, r := range rings {
			for i := 1; i < len(r); i++ {
				a, b := r[i-1], r[i]
				if (a[1] > lat) != (b[1] > lat) && lon < (b[0]-a[0])*(lat-a[1])/(b[1]-a[1])+a[0] {
					in = !in
				}
			}
		}
	}
	return in
}

// TestChiefTownsLieWithinTheirBorders checks the reference points with real borders.
func TestChiefTownsLieWithinTheirBorders(t *testing.T) {
	type place struct{ lon, lat float64 }
	places := map[string]place{}
	for _, g := range reference.Governorates() {
		places[g.Code] = place{g.Lon, g.Lat}
	}
	for _, r := range reference.Regions() {
		places[r.Code] = place{r.Lon, r.Lat}
	}
	checked := 0
	for _, name := range []string{"tn_gouvernorats_osm_simplifie.geojson", "regions-version-simplifiee.geojson"} {
		data, err := os.ReadFile(opendata.Path(t, "geo", name))
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Features []struct {
				Properties struct{ Iso, Code string }
				Geometry   geometry
			}
		}
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		for _, f := range file.Features {
			polygons := make([][]ring, 1)
			to := any(&polygons)
			if f.Geometry.Type == "Polygon" {
				to = &polygons[0]
			}
			if err := json.Unmarshal(f.Geometry.Coordinates, to); err != nil {
				t.Fatal(err)
			}
			code := f.Properties.Iso + f.Properties.Code
			if p, ok := places[code]; !ok || !inside(p.lon, p.lat, polygons) {
				t.Errorf("%s: the chief town is not within its borders: %v", code, p)
			}
			checked++
		}
	}
	if checked != 24+13 {
		t.Errorf("%d places checked, want 37", checked)
	}
}

// TestBordersThatCannotBeUsed: the file is refused at start, with what to do.
func TestBordersThatCannotBeUsed(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	square := `{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}`
	for text, want := range map[string]string{
		``:                   "not GeoJSON",
		`{"type":"Feature"}`: "want FeatureCollection",
		`{"type":"FeatureCollection","features":[{"id":"TN-99","geometry":` + square + `}]}`:                                                          "code of a governorate",
		`{"type":"FeatureCollection","features":[{"id":"TN-11","geometry":` + square + `}]}`:                                                          "no feature for TN-12",
		`{"type":"FeatureCollection","features":[{"id":"TN-11","geometry":` + square + `},{"id":"TN-11","geometry":` + square + `}]}`:                 "there twice",
		`{"type":"FeatureCollection","features":[{"id":"TN-11","geometry":{"type":"Point","coordinates":[1,2]}}]}`:                                    "want Polygon",
		`{"type":"FeatureCollection","features":[{"id":"TN-11","geometry":{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,1]]]}}]}`:            "ends where it begins",
		`{"type":"FeatureCollection","features":[{"id":"TN-11","geometry":{"type":"Polygon","coordinates":[[[0,0],[1000,0],[1,1],[0,0]]]}}]}`:         "in degrees",
		`{"type":"FeatureCollection","features":[{"id":"TN-11","geometry":{"type":"MultiPolygon","coordinates":[[]]}}]}`:                              "no ring",
		`{"type":"FeatureCollection","features":[{"id":"TN-11","geometry":{"type":"Polygon","coordinates":"far"}}]}`:                                  "coordinates",
		`{"type":"FeatureCollection","features":[{"properties":{"iso":"TN-11"},"geometry":{"type":"Polygon","coordinates":[[[],[],[],[]]]}}]}`:        "in degrees",
		`{"type":"FeatureCollection","features":[{"properties":{"iso":7},"geometry":{"type":"MultiPolygon","coordinates":[[[[0,0],[1,1],[0,0]]]]}}]}`: "code of a governorate",
	} {
		path := filepath.Join(dir, "borders.geojson")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadBorders(func(string) string { return path }, quiet)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "MASAR_GOVERNORATES") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := loadBorders(func(string) string { return filepath.Join(dir, "absent") }, quiet); err == nil {
		t.Error("a file that is not there is taken")
	}
}

// FuzzBorders: no file makes the program fail otherwise than with an error.
func FuzzBorders(f *testing.F) {
	f.Add([]byte(`{"type":"FeatureCollection","attribution":"a","features":[{"id":"TN-11","geometry":{"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]]]}}]}`))
	f.Add([]byte(`{"type":"FeatureCollection","features":[{"properties":{"code":"TN-12"},"geometry":{"type":"Polygon","coordinates":[[[1e999,0],null,[],[0]]]}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := readBorders(data)
		if err == nil && len(b.shapes) != 24 {
			t.Errorf("%d governorates without an error", len(b.shapes))
		}
	})
}
