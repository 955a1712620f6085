package promapi

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"pgregory.net/rapid"
)

// TestResultIsWrittenAsPrometheusDoes: what we write is, read again, what
// Prometheus' own types write.
func TestResultIsWrittenAsPrometheusDoes(t *testing.T) {
	value := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1, -1, 0.1, 1e21, 1e-9, math.NaN(), math.Inf(1), math.Inf(-1)}))
	point := rapid.Custom(func(t *rapid.T) promql.FPoint {
		return promql.FPoint{T: rapid.Int64Range(-1e12, 1e14).Draw(t, "t"), F: value.Draw(t, "f")}
	})
	series := rapid.Custom(func(t *rapid.T) promql.Series {
		s := promql.Series{Metric: labels.FromMap(rapid.MapOf(rapid.StringMatching("[a-z]{1,4}"), rapid.String()).Draw(t, "labels"))}
		s.Floats = rapid.SliceOf(point).Draw(t, "points")
		if rapid.IntRange(0, 9).Draw(t, "histogram") == 0 {
			s.Histograms = []promql.HPoint{{T: 1, H: &histogram.FloatHistogram{Count: 3, Sum: 2, ZeroCount: 3}}}
		}
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		var of parser.Value
		switch rapid.IntRange(0, 3).Draw(t, "type") {
		case 0:
			of = promql.Scalar{T: rapid.Int64Range(0, 1e13).Draw(t, "t"), V: value.Draw(t, "v")}
		case 1:
			of = promql.String{T: 5, V: rapid.String().Draw(t, "s")}
		case 2:
			p := point.Draw(t, "point")
			of = promql.Vector{{Metric: labels.FromStrings("a", rapid.String().Draw(t, "label")), T: p.T, F: p.F}}
		default:
			of = promql.Matrix(rapid.SliceOf(series).Draw(t, "matrix"))
		}
		theirs, err := json.Marshal(struct {
			Type   parser.ValueType `json:"resultType"`
			Result parser.Value     `json:"result"`
		}{of.Type(), of})
		if err != nil {
			t.Fatal(err)
		}
		ours, err := result{of.Type(), of}.append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := json.Unmarshal(theirs, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(ours, &got); err != nil {
			t.Fatalf("%s: %v", ours, err)
		}
		if m, ok := of.(promql.Matrix); ok && len(m) > 0 || !ok {
			for _, s := range m {
				if len(s.Floats) == 0 && len(s.Histograms) == 0 {
					return // the engine gives no such series
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s\nwant %s", ours, theirs)
			}
		}
	})
}
