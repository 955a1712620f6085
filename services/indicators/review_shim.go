package indicators

import (
	"context"
	"slices"
	"time"
)

func (c *Columns) snapshot() (*view, []SourceCount) {
	sources := c.Sources()
	return c.View(), sources
}

func asOfQuery(q Query, _ time.Time) Query { return q }

func (s *service) behind(ctx context.Context, v *view, d *Definition, q Query, codes []string) ([]string, error) {
	var all []Fact
	for f, err := range s.facts.all(ctx, "") {
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	e := evidenceOf(d, s.dims, all)
	list := e.facts
	if d.Measure == Stock {
		to := q.To
		if to == "" {
			to = "2099-12-31"
		}
		list = e.presentAt(to)
	}
	var ids []string
	for _, w := range list {
		if _, has := w.Number(d.Of); d.Flow() && d.Of != "" && !has {
			continue
		}
		if d.Flow() && (q.From != "" && w.day < q.From || q.To != "" && w.day > q.To) || !e.wanted(w, q.Only) {
			continue
		}
		ok := true
		for i, name := range q.By {
			ok = ok && w.codes[slices.Index(e.names, name)] == codes[i]
		}
		if ok {
			ids = append(ids, w.ID)
		}
	}
	slices.Sort(ids)
	return ids, nil
}
