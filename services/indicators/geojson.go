package indicators

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"masar.local/pkg/api"
	"masar.local/pkg/reference"
)

// Figures on a map, as GeoJSON (RFC 7946): a feature for each governorate, or for
// each region of France. Borders are the operator's: MASAR_GOVERNORATES names a
// GeoJSON file of them. Without it a governorate is the point of its chief town, so
// that there is always a map. Regions are always points.

// mostBordersBytes is the largest file of borders.
const mostBordersBytes = 32 << 20

// borders are the shapes of governorates by code.
type borders struct {
	shapes      map[string]json.RawMessage // geometries, rings in RFC 7946's order
	boxes       map[string]box
	attribution string // as the file has it, which its licence may ask for
}

// box is what a shape lies within: west, south, east, north.
type box [4]float64

func (b *box) add(lon, lat float64) {
	*b = box{min(b[0], lon), min(b[1], lat), max(b[2], lon), max(b[3], lat)}
}

// emptyBox is around nothing.
func emptyBox() box { return box{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)} }

// loadBorders reads the file that MASAR_GOVERNORATES names; nil without one.
func loadBorders(getenv func(string) string, log *slog.Logger) (*borders, error) {
	name := ""
	if getenv != nil {
		name = getenv("MASAR_GOVERNORATES")
	}
	if name == "" {
		return nil, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("MASAR_GOVERNORATES: %w", err)
	}
	if info.Size() > mostBordersBytes {
		return nil, fmt.Errorf("MASAR_GOVERNORATES: file %s has %d bytes, want at most %d; simplify the borders", name, info.Size(), mostBordersBytes)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("MASAR_GOVERNORATES: %w", err)
	}
	b, err := readBorders(data)
	if err != nil {
		return nil, fmt.Errorf("MASAR_GOVERNORATES, file %s: %w", name, err)
	}
	if b.attribution == "" {
		log.Warn("the file of borders does not say whose they are: give it a member \"attribution\" where its licence asks for that", "file", name)
	}
	return b, nil
}

// readBorders reads a GeoJSON feature collection with a polygon for each of the 24
// governorates, which is found by the feature's id, or by its property iso, code or
// shapeISO, as an ISO 3166-2 code. Members attribution, license (licence),
// copyright and source of the collection are kept as the attribution.
func readBorders(data []byte) (*borders, error) {
	var file struct {
		Type        string
		Attribution string
		License     string
		Licence     string
		Copyright   string
		Source      string
		Features    []struct {
			ID         any
			Properties map[string]any
			Geometry   struct {
				Type        string
				Coordinates json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("not GeoJSON: %w", err)
	}
	if file.Type != "FeatureCollection" {
		return nil, fmt.Errorf("type is %q, want FeatureCollection", clip(file.Type))
	}
	b := &borders{shapes: map[string]json.RawMessage{}, boxes: map[string]box{}}
	var texts []string
	for _, text := range []string{file.Attribution, file.Copyright, file.License, file.Licence, file.Source} {
		if text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	b.attribution = strings.Join(texts, "; ")
	var faults []error
	for i, f := range file.Features {
		code := ""
		for _, id := range []any{f.ID, f.Properties["iso"], f.Properties["code"], f.Properties["shapeISO"]} {
			if text, ok := id.(string); ok {
				if g, ok := reference.FindGovernorate(text); ok && g.Code == strings.ToUpper(text) {
					code = g.Code
					break
				}
			}
		}
		if code == "" {
			faults = append(faults, fmt.Errorf("feature %d: neither its id nor its property iso is the code of a governorate, such as TN-71", i+1))
			continue
		}
		if _, twice := b.shapes[code]; twice {
			faults = append(faults, fmt.Errorf("feature %d: %s is there twice", i+1, code))
			continue
		}
		shape, around, err := shape(f.Geometry.Type, f.Geometry.Coordinates)
		if err != nil {
			faults = append(faults, fmt.Errorf("feature %d (%s): %w", i+1, code, err))
			continue
		}
		b.shapes[code], b.boxes[code] = shape, around
	}
	for _, g := range reference.Governorates() {
		if _, ok := b.shapes[g.Code]; !ok && len(faults) == 0 {
			faults = append(faults, fmt.Errorf("there is no feature for %s (%s)", g.Code, g.LabelFR))
		}
	}
	return b, errors.Join(faults...)
}

// ring is a closed line of positions.
type ring [][]float64

// shape reads the coordinates of a Polygon or a MultiPolygon, checks them and turns
// the rings as RFC 7946, 3.1.6 has them: the outer one counter-clockwise, holes
// clockwise.
func shape(kind string, coordinates json.RawMessage) (json.RawMessage, box, error) {
	var polygons [][]ring
	around := emptyBox()
	var err error
	switch kind {
	case "Polygon":
		polygons = make([][]ring, 1)
		err = json.Unmarshal(coordinates, &polygons[0])
	case "MultiPolygon":
		err = json.Unmarshal(coordinates, &polygons)
	default:
		return nil, around, fmt.Errorf("geometry is a %q, want Polygon or MultiPolygon", clip(kind))
	}
	if err != nil {
		return nil, around, fmt.Errorf("coordinates: %w", err)
	}
	if len(polygons) == 0 {
		return nil, around, errors.New("coordinates: there are none")
	}
	for _, rings := range polygons {
		if len(rings) == 0 {
			return nil, around, errors.New("coordinates: a polygon has no ring")
		}
		for i, r := range rings {
			if len(r) < 4 || !slices.Equal(r[0], r[len(r)-1]) {
				return nil, around, errors.New("coordinates: a ring has four positions or more, and ends where it begins")
			}
			for n, p := range r {
				if len(p) < 2 || math.Abs(p[0]) > 180 || math.Abs(p[1]) > 90 {
					return nil, around, fmt.Errorf("coordinates: position %v, want longitude and latitude in degrees", p)
				}
				r[n] = p[:2] // heights are of no use here
				around.add(p[0], p[1])
			}
			if r.counterclockwise() != (i == 0) {
				slices.Reverse(r)
			}
		}
	}
	var out any = polygons
	if kind == "Polygon" {
		out = polygons[0]
	}
	text, err := json.Marshal(map[string]any{"type": kind, "coordinates": out})
	return text, around, err
}

// counterclockwise says which way the ring turns, by its signed area.
func (r ring) counterclockwise() bool {
	area := 0.0
	for i := 1; i < len(r); i++ {
		area += r[i-1][0]*r[i][1] - r[i][0]*r[i-1][1]
	}
	return area >= 0
}

// GeoQuery asks for the figures of one indicator in one period on a map.
type GeoQuery struct {
	Code string `query:"code"`
	// By is "governorate" (Tunisia) or "region" (France); "": the first of them that
	// the indicator has.
	By string `query:"by"`
	// Period by its name: 2026-03-14, 2026-03, 2026-Q1, 2026-S1, 2026, 2025/2026 or
	// all. Instead of it From and To name the first and the last day.
	Period string   `query:"period"`
	From   api.Date `query:"from"`
	To     api.Date `query:"to"`
	AsOf   string   `query:"as_of"`
}

// geoFeature is one place of the map.
type geoFeature struct {
	Type       string          `json:"type"`
	ID         string          `json:"id"`
	BBox       *box            `json:"bbox,omitempty"`
	Geometry   json.RawMessage `json:"geometry"`
	Properties geoProperties   `json:"properties"`
}

// geoProperties are what is said of a place.
type geoProperties struct {
	Code    string `json:"code"` // ISO 3166-2, or INSEE
	LabelFR string `json:"label_fr"`
	LabelAR string `json:"label_ar"`
	LabelEN string `json:"label_en"`
	Unit    string `json:"unit"`
	// Value is null when it is suppressed, outside the reader's scope, or a median or
	// a ratio of nothing.
	Value       *float64 `json:"value"`
	P90         *float64 `json:"p90,omitempty"`
	Count       *int     `json:"count,omitempty"`
	Numerator   *float64 `json:"numerator,omitempty"`
	Denominator *float64 `json:"denominator,omitempty"`
	Suppressed  bool     `json:"suppressed"`
	InScope     bool     `json:"in_scope"`
}

// GeoMap is the feature collection. Members beside those of GeoJSON say what is
// shown.
type GeoMap struct {
	Type        string       `json:"type"`
	BBox        box          `json:"bbox"`
	Attribution string       `json:"attribution"` // whose borders or points they are
	Code        string       `json:"code"`
	Version     int          `json:"version"`
	LabelFR     string       `json:"label_fr"`
	LabelAR     string       `json:"label_ar"`
	LabelEN     string       `json:"label_en"`
	Unit        string       `json:"unit"`
	Measure     Measure      `json:"measure"`
	By          string       `json:"by"`
	Period      string       `json:"period"`
	First       api.Date     `json:"first,omitzero"`
	Last        api.Date     `json:"last,omitzero"`
	AsOf        time.Time    `json:"as_of,omitzero"`
	KnownTo     time.Time    `json:"known_to,omitzero"`
	SmallCell   int          `json:"small_cell,omitempty"`
	Features    []geoFeature `json:"features"`
	// Elsewhere are the figures of no place on the map: what was not stated.
	Elsewhere []geoProperties `json:"elsewhere"`
	Total     *float64        `json:"total"` // null when it is suppressed or there is none
}

// geoValues is the query of the figures behind a map.
func (s *service) geoValues(q GeoQuery) (ValuesQuery, namedPeriod, error) {
	out := ValuesQuery{Code: q.Code, Grain: All, From: q.From, To: q.To, AsOf: q.AsOf}
	d, err := s.check(ValuesQuery{Code: q.Code, Grain: All})
	if err != nil {
		return out, namedPeriod{}, err
	}
	var faults []api.Field
	places := slices.DeleteFunc([]string{"governorate", "region"}, func(name string) bool { return !slices.Contains(d.Dimensions, name) })
	switch {
	case len(places) == 0:
		faults = append(faults, api.Field{Path: "query.code", Code: "unknown", Reason: d.Code + " has neither governorates nor regions to be shown on a map"})
	case q.By == "":
		out.By = places[:1]
	case slices.Contains(places, q.By):
		out.By = []string{q.By}
	default:
		faults = append(faults, api.Field{Path: "query.by", Code: "unknown", Reason: fmt.Sprintf("%s can be shown by %s", d.Code, strings.Join(places, ", "))})
	}
	period, err := readPeriod(q.Period, s.programme.SeasonStarts)
	if f := (api.Field{}); errors.As(err, &f) {
		faults = append(faults, f)
	}
	if q.Period != "" && (!q.From.IsZero() || !q.To.IsZero()) {
		faults = append(faults, api.Field{Path: "query.period", Code: "conflict", Reason: "a period, or from and to, expected; not both"})
	}
	if len(faults) > 0 {
		return out, period, api.Invalid(faults...)
	}
	if !period.First.IsZero() {
		out.From, out.To = period.First, period.Last
	}
	return out, period, nil
}

// Geo gives the figures of one indicator on a map.
func (s *service) Geo(ctx context.Context, q GeoQuery) (GeoMap, error) {
	values, period, err := s.geoValues(q)
	if err != nil {
		return GeoMap{}, err
	}
	series, err := s.Values(ctx, values)
	if err != nil {
		return GeoMap{}, err
	}
	by := values.By[0]
	out := GeoMap{
		Type: "FeatureCollection", BBox: emptyBox(), Code: series.Code, Version: series.Version,
		LabelFR: series.LabelFR, LabelAR: series.LabelAR, LabelEN: series.LabelEN, Unit: series.Unit, Measure: series.Measure,
		By: by, Period: period.Label, First: series.First, Last: series.Last, AsOf: series.AsOf, KnownTo: series.KnownTo,
		SmallCell: series.SmallCell, Elsewhere: []geoProperties{},
	}
	if len(series.Totals) > 0 {
		out.Total = series.Totals[0].Value
	}
	rows := map[string]Row{}
	for _, r := range series.Rows {
		rows[r.Dimensions[by]] = r
	}
	mine := series.Scope[by]
	about := func(code string) geoProperties {
		l := codeLabel(by, code)
		p := geoProperties{Code: code, LabelFR: l.FR, LabelAR: l.AR, LabelEN: l.EN, Unit: series.Unit, InScope: mine == nil || slices.Contains(mine, code)}
		r, ok := rows[code]
		delete(rows, code)
		p.Value, p.P90, p.Count, p.Numerator, p.Denominator, p.Suppressed = r.Value, r.P90, r.Count, r.Numerator, r.Denominator, r.Suppressed
		if !ok && p.InScope && series.Measure != MedianDays && series.Measure != Ratio {
			p.Value = new(float64) // what has no row is 0
		}
		return p
	}
	place := func(code string, lon, lat float64) error {
		f := geoFeature{Type: "Feature", ID: code, Properties: about(code)}
		if s.borders != nil && by == "governorate" {
			around := s.borders.boxes[code]
			f.Geometry, f.BBox = s.borders.shapes[code], &around
			out.BBox.add(around[0], around[1])
			out.BBox.add(around[2], around[3])
		} else {
			point, err := json.Marshal(map[string]any{"type": "Point", "coordinates": []float64{lon, lat}})
			if err != nil {
				return err
			}
			f.Geometry = point
			out.BBox.add(lon, lat)
		}
		out.Features = append(out.Features, f)
		return nil
	}
	if by == "governorate" {
		for _, g := range reference.Governorates() {
			err = errors.Join(err, place(g.Code, g.Lon, g.Lat))
		}
	} else {
		for _, r := range reference.Regions() {
			err = errors.Join(err, place(r.Code, r.Lon, r.Lat))
		}
	}
	out.Attribution = "Masar: points of the chief towns, to the hundredth of a degree"
	if s.borders != nil && by == "governorate" {
		out.Attribution = s.borders.attribution
	}
	for _, r := range series.Rows {
		if code := r.Dimensions[by]; rows[code].Period != "" {
			out.Elsewhere = append(out.Elsewhere, about(code))
		}
	}
	return out, err
}

// placesOf gives the shapes of the governorates and nothing else, for maps that have
// the figures from elsewhere: the geomap panel of Grafana reads it in the browser,
// without a token. Features have the code as their id and the labels as properties.
// Without a file of borders a governorate is a disc around its chief town, as that
// panel colours areas only.
func placesOf(b *borders) ([]byte, error) {
	type feature struct {
		Type       string            `json:"type"`
		ID         string            `json:"id"`
		Geometry   json.RawMessage   `json:"geometry"`
		Properties map[string]string `json:"properties"`
	}
	out := struct {
		Type        string    `json:"type"`
		Attribution string    `json:"attribution,omitempty"`
		Features    []feature `json:"features"`
	}{Type: "FeatureCollection"}
	if b != nil {
		out.Attribution = b.attribution
	}
	for _, g := range reference.Governorates() {
		f := feature{"Feature", g.Code, nil, map[string]string{"code": g.Code, "label_fr": g.LabelFR, "label_ar": g.LabelAR, "label_en": g.LabelEN}}
		if b != nil {
			f.Geometry = b.shapes[g.Code]
		} else {
			const corners, radius = 32, 0.1 // degrees of latitude, some 11 km
			disc := make(ring, corners+1)
			for i := range disc {
				angle := 2 * math.Pi * float64(i%corners) / corners
				disc[i] = []float64{
					math.Round((g.Lon+radius*math.Cos(angle)/math.Cos(g.Lat*math.Pi/180))*1e4) / 1e4,
					math.Round((g.Lat+radius*math.Sin(angle))*1e4) / 1e4,
				}
			}
			text, err := json.Marshal(map[string]any{"type": "Polygon", "coordinates": []ring{disc}})
			if err != nil {
				return nil, err
			}
			f.Geometry = text
		}
		out.Features = append(out.Features, f)
	}
	return json.Marshal(out)
}

// places answers with placesOf, which never changes while the service runs.
func places(b *borders) (http.Handler, error) {
	text, err := placesOf(b)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	etag := fmt.Sprintf("%q", hex.EncodeToString(sum[:8]))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", typeGeoJSON)
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	}), nil
}

// GeoStamp is Stamp for a map.
func (s *service) GeoStamp(ctx context.Context, q GeoQuery) (string, error) {
	values, _, err := s.geoValues(q)
	if err != nil {
		return "", err
	}
	return s.Stamp(ctx, values)
}

// geoOutput answers with a map.
func geoOutput(ctx context.Context, s Service, q GeoQuery) (output, error) {
	stamp, err := s.GeoStamp(ctx, q)
	if err != nil {
		return output{}, err
	}
	return output{etag: tag(stamp, "geo", q), kind: typeGeoJSON, write: func(w io.Writer) error {
		m, err := s.Geo(ctx, q)
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if err := writeJSON(&text, m); err != nil {
			return err
		}
		_, err = text.WriteTo(w)
		return err
	}}, nil
}
