package bus

import (
	"context"
	"math"
	"strconv"
	"sync"
	"time"
)

// A flow carries the messages of one group generation from the partitions to
// the handler. It keeps the order of every key, runs at most a number of
// handlers at a time, lets a message that waits for its next try hold up only
// its own key, and knows of every partition how far it is handled without gaps.
type flow struct {
	try   func(ctx context.Context, it *item) verdict
	now   func() time.Time
	ctx   context.Context // of the handlers
	abort context.CancelFunc

	mu      sync.Mutex
	wake    sync.Cond // a lane is ready, or the flow ends
	idle    sync.Cond // a lane became empty, or a worker ended
	lanes   map[string]*lane
	ready   []*lane
	parts   map[topicPartition]*part
	running int
	count   int // items in lanes
	blocked int
	closing bool // give up what waits, finish what runs
	closed  bool // results do not count any more
	moved   chan struct{}
	since   int // handled since the last signal on moved
	handled int64
	batch   int
	release func(n int64)
}

// verdict is what one try of a message led to.
type verdict struct {
	done    bool          // handled, or stored as a dead letter
	again   time.Duration // try again after this pause
	blocked bool          // because a dependency is down
	drop    bool          // give up without a result: it will be delivered again
}

// item is one message in the flow.
type item struct {
	msg      Message // emptied when done, the offset and the time remain
	part     *part
	done     bool
	weight   int64
	attempts int
	blocked  bool
	dead     error // set when the message is to be stored as a dead letter
	waits    int   // pauses so far
}

// lane holds the messages of one key, in order. Its head is the only one that
// may be worked on.
type lane struct {
	key    string
	items  []*item
	active bool        // the head is with a worker
	timer  *time.Timer // the head waits for its next try
}

// part is what is known of one assigned partition.
type part struct {
	topicPartition
	window    []*item // fetched and not yet passed, by offset
	next      int64   // first offset that is not handled
	committed int64   // next offset known to be committed
	end       int64   // offset after the last message, as last seen
	stuck     int64   // lowest offset that was given up
}

func newFlow(ctx context.Context, workers, commitBatch int, now func() time.Time, try func(context.Context, *item) verdict, release func(int64)) *flow {
	f := &flow{
		try: try, now: now,
		lanes:   make(map[string]*lane),
		parts:   make(map[topicPartition]*part),
		moved:   make(chan struct{}, 1),
		batch:   commitBatch,
		release: release,
	}
	f.wake.L, f.idle.L = &f.mu, &f.mu
	f.ctx, f.abort = context.WithCancel(ctx)
	f.running = workers
	for range workers {
		go f.work()
	}
	return f
}

// assign adds a partition that is read from an offset on.
func (f *flow) assign(tp topicPartition, offset, end int64) *part {
	p := &part{topicPartition: tp, next: offset, committed: offset, end: end, stuck: math.MaxInt64}
	f.mu.Lock()
	f.parts[tp] = p
	f.mu.Unlock()
	return p
}

// add takes a message. Messages of one partition come in the order of offsets.
func (f *flow) add(p *part, m Message, end, weight int64) {
	key := string(m.Key)
	if m.Key == nil {
		key = "\x00" + p.topic + "/" + strconv.Itoa(p.partition) // no key: keep the order of the partition
	}
	it := &item{msg: m, part: p, weight: weight}

	f.mu.Lock()
	defer f.mu.Unlock()
	p.end = max(end, m.Offset+1)
	p.window = append(p.window, it)
	f.count++
	l := f.lanes[key]
	if l == nil {
		l = &lane{key: key}
		f.lanes[key] = l
	}
	l.items = append(l.items, it)
	if len(l.items) == 1 {
		f.push(l)
	}
}

func (f *flow) push(l *lane) {
	f.ready = append(f.ready, l)
	f.wake.Signal()
}

func (f *flow) work() {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() {
		f.running--
		f.idle.Broadcast()
	}()
	for {
		for len(f.ready) == 0 && !f.closing {
			f.wake.Wait()
		}
		if len(f.ready) == 0 {
			return
		}
		l := f.ready[0]
		f.ready = f.ready[1:]
		it := l.items[0]
		if f.closed || (f.closing && it.msg.Offset > it.part.stuck) {
			f.dropLane(l) // it would be delivered again anyway
			continue
		}
		l.active = true
		f.mu.Unlock()
		v := f.try(f.ctx, it)
		f.mu.Lock()
		l.active = false
		f.settle(l, it, v)
	}
}

// settle takes note of a verdict. The lock is held.
func (f *flow) settle(l *lane, it *item, v verdict) {
	if f.closed {
		return
	}
	if it.blocked != v.blocked {
		it.blocked = v.blocked
		if v.blocked {
			f.blocked++
		} else {
			f.blocked--
		}
	}
	switch {
	case v.done:
		f.handled++
		f.pass(it)
		f.pop(l)
		if len(l.items) > 0 {
			f.push(l)
		} else {
			f.dropLane(l)
		}
	case v.drop || f.closing:
		f.dropLane(l)
	default:
		l.timer = time.AfterFunc(v.again, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if l.timer != nil { // not given up meanwhile
				l.timer = nil
				f.push(l)
			}
		})
	}
}

// pass marks an item as handled and moves its partition on over everything that
// is handled without gaps.
func (f *flow) pass(it *item) {
	it.done = true
	it.msg = Message{Offset: it.msg.Offset, Time: it.msg.Time}
	p := it.part
	n := 0
	for n < len(p.window) && p.window[n].done {
		p.next = p.window[n].msg.Offset + 1
		n++
	}
	if n == 0 {
		return
	}
	p.window = p.window[n:]
	if f.since += n; f.since >= f.batch {
		f.since = 0
		select {
		case f.moved <- struct{}{}:
		default:
		}
	}
}

// pop takes the head off a lane.
func (f *flow) pop(l *lane) {
	it := l.items[0]
	l.items[0] = nil
	l.items = l.items[1:]
	f.count--
	f.release(it.weight)
}

// dropLane gives up everything in a lane and forgets it.
func (f *flow) dropLane(l *lane) {
	for len(l.items) > 0 {
		it := l.items[0]
		it.part.stuck = min(it.part.stuck, it.msg.Offset)
		if it.blocked {
			f.blocked--
		}
		f.pop(l)
	}
	delete(f.lanes, l.key)
	f.idle.Broadcast()
}

// drain finishes what can be finished without waiting for a next try, until the
// context ends; then it cancels the handlers and gives them grace to return.
// Afterwards the partitions do not move any more.
func (f *flow) drain(ctx context.Context, grace time.Duration) {
	f.mu.Lock()
	f.closing = true
	for _, l := range f.lanes {
		if l.timer != nil {
			l.timer.Stop()
			l.timer = nil
			f.dropLane(l)
		}
	}
	f.wake.Broadcast()
	f.mu.Unlock()

	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		for _, l := range f.lanes {
			if !l.active {
				f.dropLane(l)
			}
		}
		f.ready = nil
		f.mu.Unlock()
		f.abort()
		time.AfterFunc(grace, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.closed = true
			f.idle.Broadcast()
		})
	})
	defer stop()

	f.mu.Lock()
	for f.running > 0 && !f.closed {
		f.idle.Wait()
	}
	f.closed = true
	for _, l := range f.lanes { // handlers that did not return in time
		f.dropLane(l)
	}
	f.mu.Unlock()
	f.abort()
}

// commitable returns what may be committed and is not yet.
func (f *flow) commitable() map[topicPartition]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out map[topicPartition]int64
	for tp, p := range f.parts {
		if p.next > p.committed {
			if out == nil {
				out = make(map[topicPartition]int64)
			}
			out[tp] = p.next
		}
	}
	return out
}

// commited takes note of a commit that succeeded.
func (f *flow) commited(offsets map[topicPartition]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for tp, o := range offsets {
		p := f.parts[tp]
		p.committed = max(p.committed, o)
	}
}

// flowState is a picture of a flow.
type flowState struct {
	count, blocked int
	handled        int64
	parts          []partState
}

type partState struct {
	topicPartition
	next, committed, end int64
	oldest               time.Time // of the messages that are fetched and not handled; zero: none
}

func (f *flow) state() flowState {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := flowState{count: f.count, blocked: f.blocked, handled: f.handled}
	for _, p := range f.parts {
		ps := partState{topicPartition: p.topicPartition, next: p.next, committed: p.committed, end: p.end}
		if len(p.window) > 0 {
			ps.oldest = p.window[0].msg.Time
		}
		s.parts = append(s.parts, ps)
	}
	return s
}
