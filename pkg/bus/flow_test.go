package bus

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// plan is what shall happen to one message.
type plan struct {
	part, key int
	fails     int           // tries that fail before it is done
	blocked   bool          // they fail because a dependency is down
	takes     time.Duration // of one try
}

// TestFlow lets random messages with random fates through a flow, ends it at a
// random moment and checks what a consumer promises: the order of each key, one
// handler per key at a time, no more handlers than workers, commits only of
// what is handled without gaps, a drain that ends, and a budget that is given
// back to the last byte.
func TestFlow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.IntRange(1, 4).Draw(rt, "parts")
		workers := rapid.IntRange(1, 5).Draw(rt, "workers")
		plans := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) plan {
			key := rapid.IntRange(-1, 6).Draw(rt, "key") // -1: none
			return plan{
				part:    (key + 1) % parts,
				key:     key,
				fails:   rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(rt, "fails"),
				blocked: rapid.Bool().Draw(rt, "blocked"),
				takes:   time.Duration(rapid.IntRange(0, 20).Draw(rt, "takes")) * time.Millisecond,
			}
		}), 0, 60).Draw(rt, "messages")
		lives := time.Duration(rapid.IntRange(0, 600).Draw(rt, "lives")) * time.Millisecond
		patience := time.Duration(rapid.IntRange(0, 60).Draw(rt, "patience")) * time.Millisecond

		var errs []string
		synctest.Test(t, func(*testing.T) { errs = runFlow(parts, workers, plans, lives, patience) })
		for _, e := range errs {
			rt.Error(e)
		}
	})
}

func runFlow(parts, workers int, plans []plan, lives, patience time.Duration) (errs []string) {
	var (
		mu      sync.Mutex
		running = make(map[string]bool)
		last    = make(map[string]int64) // highest offset begun, per key
		done    = make(map[topicPartition]map[int64]bool)
		tries   = make(map[*item]int)
		out     int64 // budget not given back
		frozen  bool
	)
	bad := func(format string, args ...any) { errs = append(errs, fmt.Sprintf(format, args...)) }
	fates := make(map[topicPartition][]plan)
	try := func(ctx context.Context, it *item) verdict {
		tp := it.part.topicPartition
		fate := fates[tp][it.msg.Offset]
		name := fmt.Sprint(tp, string(it.msg.Key))
		mu.Lock()
		if running[name] {
			bad("two handlers of key %s at a time", name)
		}
		running[name] = true
		if len(running) > workers {
			bad("%d handlers run, %d are allowed", len(running), workers)
		}
		if o := it.msg.Offset; o < last[name] {
			bad("key %s: offset %d after %d", name, o, last[name])
		} else {
			last[name] = o
		}
		mu.Unlock()
		cut := false
		select {
		case <-time.After(fate.takes):
		case <-ctx.Done():
			cut = true
		}
		mu.Lock()
		defer mu.Unlock()
		delete(running, name)
		if cut {
			return verdict{drop: true}
		}
		if tries[it]++; tries[it] <= fate.fails {
			return verdict{again: 5 * time.Millisecond, blocked: fate.blocked}
		}
		if !frozen {
			done[tp][it.msg.Offset] = true
		}
		return verdict{done: true}
	}
	release := func(n int64) { out -= n } // called with the flow's lock held
	f := newFlow(context.Background(), workers, 10, time.Now, try, release)
	ps := make([]*part, parts)
	next := make([]int64, parts)
	for i := range ps {
		tp := topicPartition{"t", i}
		done[tp] = make(map[int64]bool)
		ps[i] = f.assign(tp, 0, 0)
	}
	for _, p := range plans { // all are known before the first one runs: add blocks nothing
		tp := ps[p.part].topicPartition
		fates[tp] = append(fates[tp], p)
	}
	for _, p := range plans {
		m := Message{Topic: "t", Partition: p.part, Offset: next[p.part]}
		if p.key >= 0 {
			m.Key = fmt.Append(nil, p.key)
		}
		next[p.part]++
		f.mu.Lock()
		out += 10
		f.mu.Unlock()
		f.add(ps[p.part], m, m.Offset+1, 10)
	}
	prefix := func(tp topicPartition) (n int64) {
		for done[tp][n] {
			n++
		}
		return n
	}
	time.Sleep(lives) // of the bubble: a moment of the random schedule
	mu.Lock()
	for tp, o := range f.commitable() {
		if o > prefix(tp) {
			bad("%v: commit of %d, handled without gaps are %d", tp, o, prefix(tp))
		}
	}
	mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	begin := time.Now()
	f.drain(ctx, time.Second)
	if d := time.Since(begin); d > patience+time.Second {
		bad("the drain took %s", d)
	}
	mu.Lock()
	frozen = true
	mu.Unlock()
	synctest.Wait()
	s := f.state()
	if s.count != 0 || s.blocked != 0 || out != 0 {
		bad("after the drain: %d messages, %d blocked, %d of the budget", s.count, s.blocked, out)
	}
	for _, p := range s.parts {
		if want := prefix(p.topicPartition); p.next != want {
			bad("%v: may commit %d, handled without gaps are %d", p.topicPartition, p.next, want)
		}
	}
	return errs
}

// TestDrainDoesNotWaitForAHandlerForEver: one that ignores its context is left
// behind.
func TestDrainDoesNotWaitForAHandlerForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		f := newFlow(t.Context(), 1, 10, time.Now, func(context.Context, *item) verdict {
			<-free
			return verdict{done: true}
		}, func(int64) {})
		p := f.assign(topicPartition{"t", 0}, 5, 6)
		f.add(p, Message{Offset: 5, Key: []byte("k")}, 6, 1)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		f.drain(ctx, time.Second)
		if d := time.Since(begin); d != 2*time.Second {
			t.Errorf("the drain took %s, want the deadline and the grace", d)
		}
		close(free)
		synctest.Wait()
		if got := f.commitable(); got != nil {
			t.Errorf("commitable after the drain: %v: the result came too late to count", got)
		}
	})
}

func TestProgressTellsAStallFromIdleness(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	lag := func(part int, committed, end int64) PartitionLag {
		return PartitionLag{Topic: "t", Partition: part, Committed: committed, End: end, Lag: end - max(committed, 0)}
	}
	all := func(topicPartition) bool { return true }
	var p progress
	p.init(at(0))
	check := func(when string, now, want int) {
		t.Helper()
		if got := p.lastMove(at(now)); !got.Equal(at(want)) {
			t.Errorf("%s: last move at %d, want %d", when, got.Unix(), want)
		}
	}
	check("before the first look", 5, 5)
	check("when no look succeeds for long", 100, 0)
	p.observe(at(100), []PartitionLag{lag(0, 10, 10), lag(1, -1, 0)}, all)
	check("idle", 110, 110)
	p.observe(at(120), []PartitionLag{lag(0, 10, 15), lag(1, -1, 0)}, all)
	check("behind, and idle at the look before", 121, 100)
	p.observe(at(130), []PartitionLag{lag(0, 12, 15), lag(1, -1, 7)}, all)
	check("moving, another one behind since the look before", 131, 120)
	p.observe(at(140), []PartitionLag{lag(0, 14, 20), lag(1, -1, 9)}, all)
	check("one partition moves, the other does not", 141, 120)
	p.observe(at(150), []PartitionLag{lag(0, 16, 20), lag(1, -1, 9)}, func(tp topicPartition) bool { return tp.partition == 0 })
	check("the stuck one is another member's", 151, 150)
	if p.lag != 13 {
		t.Errorf("lag %d, want that of the group, 13", p.lag)
	}
}
