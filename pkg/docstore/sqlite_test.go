package docstore

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

type person struct {
	Name  string    `bson:"name"`
	Where string    `bson:"where,omitempty"`
	Keys  []string  `bson:"keys,omitempty"`
	Ident string    `bson:"ident,omitempty"`
	At    time.Time `bson:"at"`
}

var people = Schema{Collection: "people", Indexes: []Index{
	{Name: "by_name", Fields: []Field{{Path: "name"}}},
	{Name: "by_where", Fields: []Field{{Path: "where"}, {Path: "at", Kind: Time}}},
	{Name: "by_key", Fields: []Field{{Path: "where"}, {Path: "keys"}}},
	{Name: "ident", Fields: []Field{{Path: "ident"}}, Unique: true},
}}

func TestFirstSteps(t *testing.T) {
	ctx := context.Background()
	e, err := Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "new dir", "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := NewCollection[person](e, people)
	if err := c.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	d := &Doc[person]{ID: "a", Body: person{Name: "Amel", Where: "TN-71", Keys: []string{"ben", "benali", "amel"}, Ident: "1"}}
	d.Emit(Event{ID: "e1", Topic: "t", Key: "a", Value: []byte("{}")})
	if err := c.Insert(ctx, d); err != nil {
		t.Fatal(err)
	}
	if err := c.Insert(ctx, &Doc[person]{ID: "b", Body: person{Ident: "1"}}); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	if err := c.Insert(ctx, &Doc[person]{ID: "b", Body: person{Name: "Béchir", Where: "TN-71", Keys: []string{"bechir"}}}); err != nil {
		t.Fatal(err)
	}
	docs, next, err := c.Find(ctx, Query{Index: "by_key", Eq: []any{"TN-71"}, Prefix: "be", Limit: 1})
	if err != nil || len(docs) != 1 || docs[0].ID != "b" || next == "" {
		t.Fatal(docs, next, err)
	}
	docs, next, err = c.Find(ctx, Query{Index: "by_key", Eq: []any{"TN-71"}, Prefix: "be", Limit: 1, After: next})
	if err != nil || len(docs) != 1 || docs[0].ID != "a" || next != "" {
		t.Fatal(docs, next, err)
	}
	p, err := e.Pending(ctx, "people", 10)
	if err != nil || len(p) != 1 || p[0].ID != "a" {
		t.Fatal(p, err)
	}
	if err := e.Settle(ctx, "people", p); err != nil {
		t.Fatal(err)
	}
	if b, err := e.Backlog(ctx, "people"); err != nil || b.Documents != 0 {
		t.Fatal(b, err)
	}
	u, err := c.Update(ctx, "a", func(d *Doc[person]) error { d.Body.Where = ""; return nil })
	if err != nil || u.Version != 2 || u.Seq != 1 {
		t.Fatal(u, err)
	}
	docs, _, err = c.Find(ctx, Query{Index: "by_where", Limit: 1})
	if err != nil || len(docs) != 1 || docs[0].ID != "a" {
		t.Fatal(docs, err)
	}
}
