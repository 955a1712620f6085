package indicators

import (
	"context"
	"slices"
)

func (s *service) behind(ctx context.Context, v *view, d *Definition, q Query, codes []string) ([]string, error) {
	var all []Fact
	for f, err := range s.facts.all(ctx, "") {
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	whole := evidenceOf(d, s.dims, all)
	if d.Measure != Ratio {
		whole.parts = []evidence{whole}
	}
	var ids []string
	for _, e := range whole.parts {
		e = e.knownAt(q.AsOf)
		ids = append(ids, behindPart(e, q, codes)...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func behindPart(e evidence, q Query, codes []string) (ids []string) {
	d, list := e.definition, e.facts
	if d.Measure == Stock {
		to := q.To
		if to == "" {
			to = "2099-12-31"
		}
		list = e.presentAt(to)
	}
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
	return ids
}
