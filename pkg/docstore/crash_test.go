package docstore

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"masar.local/pkg/docstore/storetest"
)

// child runs one test of this binary in a process of its own, with more
// environment. It gives the lines that it prints, and a way to kill it.
func child(t *testing.T, test string, env ...string) (kill func(), lines <-chan string) {
	t.Helper()
	test, _, _ = strings.Cut(test, "/")
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=^"+test+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	to := make(chan string)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(to)
		for in := bufio.NewScanner(out); in.Scan(); {
			to <- in.Text()
		}
	})
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // SIGKILL
		for range to {         // what it said before it died
		}
		reading.Wait()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	return kill, to
}

// A process is killed at random moments while it writes; each time all that it
// acknowledged is there, with its events, and nothing is half-written.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	if uri := os.Getenv("DOCSTORE_TEST_CRASH"); uri != "" {
		writeForever(t, uri)
		return
	}
	storetest.Each(t, func(t *testing.T, uri string) {
		acknowledged := map[string]int64{} // version by id
		published := map[string]int64{}    // sequence number by id
		for range 5 {
			kill, lines := child(t, t.Name(), "DOCSTORE_TEST_CRASH="+uri)
			moment := time.After(time.Second + rand.N(500*time.Millisecond))
			killed := false
			for line := range lines {
				if !killed {
					select {
					case <-moment:
						killed = true
						go kill()
					default:
					}
				}
				id, version, ok := strings.Cut(strings.TrimPrefix(line, "ack "), " ")
				n, err := strconv.ParseInt(version, 10, 64)
				if !strings.HasPrefix(line, "ack ") || !ok || err != nil {
					continue // the last line may be cut, and so not said
				}
				acknowledged[id] = max(acknowledged[id], n)
			}
			kill()
			checkAfterCrash(t, uri, acknowledged, published)
		}
		if len(acknowledged) == 0 {
			t.Fatal("the child never wrote anything")
		}
		t.Logf("%d documents", len(acknowledged))
	})
}

// writeForever inserts and updates documents until it is killed, and says what
// was acknowledged.
func writeForever(t *testing.T, uri string) {
	c := open(t, uri)
	run := time.Now().UnixNano()
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", run, w, i/3)
				d, err := c.Upsert(t.Context(), id, func(d *Doc[account]) error {
					d.Body.N++
					d.Body.Email = fmt.Sprintf("%s-%d@example.org", id, d.Body.N)
					d.Body.Group = fmt.Sprint("g", d.Body.N)
					d.Emit(event(d))
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				fmt.Printf("ack %s %d\n", d.ID, d.Version)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func checkAfterCrash(t *testing.T, uri string, acknowledged, published map[string]int64) {
	t.Helper()
	e, err := Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := NewCollection[account](e, accounts)
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What the outboxes give, settled as a relay does.
	for {
		ps, err := e.Pending(t.Context(), accounts.Collection, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(ps) == 0 {
			break
		}
		for _, p := range ps {
			for _, ev := range p.Events {
				if published[p.ID]++; ev.Seq != published[p.ID] {
					t.Fatalf("outbox of %s: event %d where %d should be", p.ID, ev.Seq, published[p.ID])
				}
			}
		}
		if err := e.Settle(t.Context(), accounts.Collection, ps); err != nil {
			t.Fatal(err)
		}
	}
	inGroups := 0
	for g := range 3 {
		q := Query{Index: "group", Eq: []any{fmt.Sprint("g", g+1)}, Limit: 1000}
		for {
			docs, next, err := c.Find(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range docs {
				if d.Body.N != g+1 {
					t.Fatalf("the index has %+v under g%d", d, g+1)
				}
			}
			inGroups += len(docs)
			if q.After = next; next == "" {
				break
			}
		}
	}
	all := 0
	for d, err := range c.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all++
		if int64(d.Body.N) != d.Version || d.Seq != d.Version || published[d.ID] != d.Seq {
			t.Fatalf("half-written: %+v, %d events", d, published[d.ID])
		}
		if d.Version < acknowledged[d.ID] {
			t.Errorf("%s: version %d was acknowledged, %d is there", d.ID, acknowledged[d.ID], d.Version)
		}
		found, _, err := c.Find(t.Context(), Query{Index: "email", Eq: []any{d.Body.Email}})
		if err != nil || len(found) != 1 || found[0].ID != d.ID {
			t.Fatalf("%s is not found by its email: %v", d.ID, err)
		}
	}
	if inGroups != all {
		t.Errorf("%d documents, %d in the index", all, inGroups)
	}
	for id := range acknowledged {
		if _, err := c.Get(t.Context(), id); err != nil {
			t.Errorf("%s was acknowledged: %v", id, err)
		}
	}
}
