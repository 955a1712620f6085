package indicators

import "context"

// behind lists the facts behind a cell of a query that has one period.
func (s *service) behind(_ context.Context, v *view, d *Definition, q Query, codes []string) ([]string, error) {
	spans, err := v.periods(d, q)
	if err != nil || len(spans) == 0 {
		return nil, err
	}
	return v.Behind(d, q, spans[len(spans)-1].label, codes)
}
