package promapi

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// result is what a query gave.
type result struct {
	Type   parser.ValueType `json:"resultType"`
	Result parser.Value     `json:"result"`
}

// MarshalJSON implements json.Marshaler.
func (r result) MarshalJSON() ([]byte, error) { return r.append(nil) }

// append appends the result as JSON. Years of hundreds of series by day are hundreds
// of thousands of points, each of which encoding/json would look at by reflection.
func (r result) append(to []byte) ([]byte, error) {
	matrix, ok := r.Result.(promql.Matrix)
	if !ok {
		value, err := json.Marshal(r.Result)
		return append(append(append(append(to, `{"resultType":"`...), r.Type...), `","result":`...), append(value, '}')...), err
	}
	points := 0
	for _, series := range matrix {
		points += len(series.Floats)
	}
	to = append(slices.Grow(to, 24*points+256*len(matrix)), `{"resultType":"matrix","result":[`...)
	for i, series := range matrix {
		if i > 0 {
			to = append(to, ',')
		}
		if len(series.Histograms) > 0 {
			one, err := json.Marshal(series)
			if err != nil {
				return nil, err
			}
			to = append(to, one...)
			continue
		}
		labels, err := json.Marshal(series.Metric)
		if err != nil {
			return nil, err
		}
		to = append(append(append(to, `{"metric":`...), labels...), `,"values":[`...)
		for j, p := range series.Floats {
			if j > 0 {
				to = append(to, ',')
			}
			to = appendNumber(append(to, '['), float64(p.T)/1000)
			to = append(appendNumber(append(to, `,"`...), p.F), `"]`...)
		}
		to = append(to, `]}`...)
	}
	return append(to, `]}`...), nil
}

// appendNumber appends a number without an exponent; most are whole.
func appendNumber(to []byte, n float64) []byte {
	if whole := int64(n); float64(whole) == n && whole > -1<<53 && whole < 1<<53 && (whole != 0 || !math.Signbit(n)) {
		return strconv.AppendInt(to, whole, 10)
	}
	return strconv.AppendFloat(to, n, 'f', -1, 64)
}
