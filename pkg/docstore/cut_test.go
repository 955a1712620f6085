package docstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"masar.local/pkg/docstore/storetest"
)

// TestACutIsOfOneMoment cuts two files while one writer writes a number into the
// first and then into the second: the second is never ahead, nor more than one
// behind.
func TestACutIsOfOneMoment(t *testing.T) {
	uris := []string{storetest.SQLite(t), storetest.SQLite(t)}
	first, second := open(t, uris[0]), open(t, uris[1])
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	for _, c := range []*Collection[account]{first, second} {
		if err := c.Insert(ctx, &Doc[account]{ID: "n"}); err != nil {
			t.Fatal(err)
		}
	}
	writing.Go(func() {
		for ctx.Err() == nil {
			for _, c := range []*Collection[account]{first, second} {
				_, err := c.Update(context.WithoutCancel(ctx), "n", func(d *Doc[account]) error { d.Body.N++; return nil })
				if err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	defer writing.Wait()
	defer stop()
	seen := map[int64]bool{}
	for began := time.Now(); len(seen) < 50; {
		if time.Since(began) > time.Minute {
			t.Fatalf("only %d different moments were seen", len(seen))
		}
		cut, err := OpenCut(ctx, uris...)
		if err != nil {
			t.Fatal(err)
		}
		var versions [2]int64
		for i := range uris {
			for k, err := range cut.Documents(ctx, i) {
				if err != nil {
					t.Fatal(err)
				}
				versions[i] = k.Version
			}
		}
		if behind := versions[0] - versions[1]; behind < 0 || behind > 1 {
			t.Fatalf("the versions are %v: not of one moment", versions)
		}
		seen[versions[0]] = true
		if err := cut.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFillTakesAnEmptyDatabase refuses to mix a backup with what is there.
func TestFillTakesAnEmptyDatabase(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		c := open(t, uri)
		if err := c.Insert(t.Context(), &Doc[account]{ID: "there"}); err != nil {
			t.Fatal(err)
		}
		e, err := Open(t.Context(), uri)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		_, err = Fill(t.Context(), e, func(yield func(Kept, error) bool) {
			yield(Kept{Collection: c.schema.Collection, ID: "new", Version: 1, Body: emptyBody}, nil)
		})
		if err == nil || !strings.Contains(err.Error(), "empty database") {
			t.Errorf("filling a database that holds something: %v", err)
		}
		if _, err := c.Get(t.Context(), "new"); !errors.Is(err, ErrNotFound) {
			t.Errorf("it was written all the same: %v", err)
		}
	})
}

// TestACutOfNothing names what is wrong.
func TestACutOfNothing(t *testing.T) {
	for _, uris := range [][]string{nil, {"sqlite:" + t.TempDir() + "/none.db"}, {storetest.SQLite(t), "mongodb://127.0.0.1:1/x"}} {
		if cut, err := OpenCut(t.Context(), uris...); err == nil {
			t.Errorf("%v gives a cut: %v", uris, cut)
		}
	}
}
