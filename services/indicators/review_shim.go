package indicators

import "time"

func (c *Columns) snapshot() (*view, []SourceCount) {
	sources := c.Sources()
	return c.View(), sources
}

func asOfQuery(q Query, _ time.Time) Query { return q }
