package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/semaphore"
)

// Consumer says what to read and how. Group, Topics and Handle are required.
type Consumer struct {
	Group       string
	Topics      []string
	Handle      Handler
	DeadLetters string // topic of the dead letters; default Group + ".dlq"
	Attempts    int    // tries of one message before it becomes a dead letter; default 5
	Workers     int    // messages handled at the same time; those of one key never are; default 64, so that stores can commit many together
	StartAtEnd  bool   // a new group starts at the end instead of at the first message

	MinBackoff  time.Duration // pause before the second try, doubled for each further one; default 100 ms
	MaxBackoff  time.Duration // longest pause; default 15 s
	InFlight    int           // messages fetched and not yet handled, at most; default 512 (and 32 MiB)
	CommitEvery time.Duration // longest time between two commits; default 200 ms
	Drain       time.Duration // time to finish what is in flight at a stop or a rebalance; default 10 s, at most 20 s
}

const (
	commitBatch = 1000 // a commit is due after this many messages, or CommitEvery
	drainGrace  = time.Second

	// The budget of messages in flight is counted in bytes; every message
	// counts for at least minWeight, which makes InFlight the limit of small ones.
	minWeight = 64 << 10

	sessionTimeout   = 15 * time.Second
	heartbeatEvery   = time.Second
	rebalanceTimeout = 30 * time.Second
	watchEvery       = 30 * time.Second // for new partitions
	monitorEvery     = 10 * time.Second
	maxWait          = 2 * time.Second // of a fetch that finds nothing
	aheadLooks       = 3               // one second apart, before a log counts as shortened
)

func (k *Consumer) complete() error {
	var errs []error
	if k.Group == "" {
		errs = append(errs, errors.New("no Group"))
	}
	if len(k.Topics) == 0 || slices.Contains(k.Topics, "") {
		errs = append(errs, errors.New("no Topics, or an empty name among them"))
	}
	if k.Handle == nil {
		errs = append(errs, errors.New("no Handle"))
	}
	if k.DeadLetters == "" {
		k.DeadLetters = k.Group + ".dlq"
	}
	if slices.Contains(k.Topics, k.DeadLetters) {
		errs = append(errs, errors.New("DeadLetters is one of the Topics: a dead letter would be consumed for ever"))
	}
	k.Topics = slices.Clone(k.Topics)
	slices.Sort(k.Topics)
	k.Topics = slices.Compact(k.Topics)
	setDefault(&k.Attempts, 5)
	setDefault(&k.Workers, 64)
	setDefault(&k.InFlight, 512)
	setDefault(&k.MinBackoff, 100*time.Millisecond)
	setDefault(&k.MaxBackoff, 15*time.Second)
	setDefault(&k.CommitEvery, 200*time.Millisecond)
	setDefault(&k.Drain, 10*time.Second)
	if k.Attempts < 1 || k.Workers < 1 || k.InFlight < 1 || k.MinBackoff < 0 || k.MaxBackoff < k.MinBackoff || k.CommitEvery < 0 || k.Drain < 0 || k.Drain > 20*time.Second {
		errs = append(errs, errors.New("a negative number or time, or Drain over 20 s"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("bus: consumer %q: %w", k.Group, errors.Join(errs...))
	}
	return nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// run is one Consume.
type run struct {
	c      *Client
	k      Consumer
	budget *semaphore.Weighted
	limit  int64
	conns  conns

	closing sync.WaitGroup // readers being closed

	mu       sync.Mutex
	flow     *flow // of the present generation, nil between generations
	handled  int64 // in generations that are over
	progress progress
	lastErr  string
	lastSaid time.Time

	blockedErr  string
	blockedSaid time.Time
}

// Consume reads until ctx ends, then stops fetching, finishes what is in flight,
// commits, leaves the group and returns nil. It returns an error only for a
// Consumer that can never work; an unreachable cluster is waited for.
//
// Every message is handed to k.Handle at least once, in the order of its key and
// never two of one key at a time (messages without a key count as one key per
// partition). After a rebalance, the loss of the connection or a crash, messages
// handled in the last moments (up to k.CommitEvery) are delivered again.
func (c *Client) Consume(ctx context.Context, k Consumer) error {
	if err := k.complete(); err != nil {
		return err
	}
	r := &run{c: c, k: k, limit: int64(k.InFlight) * minWeight}
	r.budget = semaphore.NewWeighted(r.limit)
	r.progress.init(c.cfg.Now())
	c.meters.begins(ctx, k)
	c.mu.Lock()
	c.runs[r] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.runs, r)
		c.mu.Unlock()
	}()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	return r.consume(ctx)
}

// prepare waits for the topics to read and creates the one for dead letters.
func (r *run) prepare(ctx context.Context) error {
	for {
		err := r.c.ensure(ctx, []kafka.TopicConfig{deadTopic(r.k.DeadLetters)})
		if err == nil || ctx.Err() != nil {
			break
		}
		var code kafka.Error
		if errors.As(err, &code) && !code.Temporary() {
			return err // refused
		}
		r.failed("create the topic for dead letters", err)
	}
	said := false
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 2*time.Second) {
		missing, err := r.c.missing(ctx, r.k.Topics)
		switch {
		case err != nil:
			r.failed("look for the topics", err)
		case len(missing) == 0:
			r.recovered()
			return nil
		case !said && pause > time.Second:
			said = true
			r.c.log.Warn("bus: consumer waits for topics that do not exist", "group", r.k.Group, "topics", missing)
		}
		sleep(ctx, pause)
	}
	return nil
}

func (r *run) consume(ctx context.Context) error {
	dialer := r.c.dialer()
	dialer.DialFunc = r.conns.dial
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: r.k.Group, Brokers: r.c.cfg.Brokers, Topics: r.k.Topics, Dialer: dialer,
		HeartbeatInterval: heartbeatEvery, SessionTimeout: sessionTimeout, RebalanceTimeout: rebalanceTimeout,
		JoinGroupBackoff: 500 * time.Millisecond, Timeout: callTimeout,
		WatchPartitionChanges: true, PartitionWatchInterval: watchEvery,
		StartOffset: kafka.FirstOffset,
		ErrorLogger: r.c.kafkaLog("group " + r.k.Group),
	})
	if err != nil {
		return fmt.Errorf("bus: consumer %q: %w", r.k.Group, err)
	}
	monitored := make(chan struct{})
	go func() {
		defer close(monitored)
		r.monitor(ctx)
	}()
	for ctx.Err() == nil {
		gen, err := group.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				r.failed("join the group", err)
			}
			continue
		}
		over := make(chan struct{})
		gen.Start(func(genCtx context.Context) {
			defer close(over)
			r.generation(ctx, genCtx, gen)
		})
		<-over
	}
	r.leave(group)
	r.closing.Wait()
	<-monitored
	return nil
}

// leave closes the group. A member in the middle of a join would wait for the
// others; cutting its connections ends that, and it leaves by a new one.
func (r *run) leave(group *kafka.ConsumerGroup) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = group.Close()
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		r.conns.cut()
		<-done
	}
	r.conns.cut()
}

// generation works on the partitions that the group gave us, until it is over or
// ctx ends.
func (r *run) generation(ctx, genCtx context.Context, gen *kafka.Generation) {
	fetching, stopFetching := context.WithCancel(ctx)
	defer stopFetching()
	defer context.AfterFunc(genCtx, stopFetching)()

	starts, err := r.positions(fetching, gen)
	if err != nil {
		if fetching.Err() == nil {
			r.failed("find where to start", err)
			sleep(fetching, time.Second)
		}
		return
	}
	f := newFlow(context.WithoutCancel(ctx), r.k.Workers, commitBatch, r.c.cfg.Now, r.try, r.budget.Release)
	r.begin(f)
	r.c.log.Info("bus: partitions assigned", "group", r.k.Group, "partitions", len(starts), "generation", gen.ID)

	var fetchers sync.WaitGroup
	for tp, s := range starts {
		p := f.assign(tp, s.offset, s.end)
		fetchers.Go(func() {
			if err := r.fetch(fetching, f, p, s.offset); err != nil {
				r.failed(fmt.Sprintf("fetch from %s/%d", p.topic, p.partition), err)
				stopFetching() // a new generation finds a position that is valid
			}
		})
	}
	r.commitLoop(fetching, f, gen)
	stopFetching()
	fetchers.Wait()

	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.k.Drain)
	f.drain(deadline, drainGrace)
	cancel()
	r.commit(f, gen, true)
	r.end(f)
}

type start struct{ offset, end int64 }

// positions turns the group's offsets into valid ones. kafka-go's own reader
// skips silently over what retention removed and waits for ever behind the end
// of a log that became shorter.
func (r *run) positions(ctx context.Context, gen *kafka.Generation) (map[topicPartition]start, error) {
	parts := make(map[string][]int)
	committed := make(map[topicPartition]int64)
	for topic, as := range gen.Assignments {
		for _, a := range as {
			parts[topic] = append(parts[topic], a.ID)
			committed[topicPartition{topic, a.ID}] = a.Offset
		}
	}
	first, last, err := r.c.bounds(ctx, parts)
	if err != nil {
		return nil, err
	}
	// A partition's new leader may know the end of its log a moment late.
	for range aheadLooks {
		if !aheadOf(committed, last) {
			break
		}
		if !sleep(ctx, time.Second) {
			return nil, ctx.Err()
		}
		if first, last, err = r.c.bounds(ctx, parts); err != nil {
			return nil, err
		}
	}
	starts := make(map[topicPartition]start)
	fresh := make(map[topicPartition]int64)
	for tp, offset := range committed {
		s := start{offset: offset, end: last[tp]}
		switch {
		case offset < 0 && r.k.StartAtEnd:
			s.offset = last[tp]
			fresh[tp] = s.offset // or a restart would skip what comes until the first commit
		case offset < 0:
			s.offset = first[tp]
		case offset < first[tp]:
			r.removed(tp, offset, first[tp])
			s.offset = first[tp]
		case offset > last[tp]:
			r.c.log.Error("bus: the group is ahead of the log, which became shorter (a lost or recreated topic); reading it from its start",
				"group", r.k.Group, "topic", tp.topic, "partition", tp.partition, "committed", offset, "end", last[tp])
			s.offset = first[tp]
		}
		starts[tp] = s
	}
	if len(fresh) > 0 {
		if err := gen.CommitOffsets(byTopic(fresh)); err != nil {
			return nil, fmt.Errorf("commit the start position: %w", err)
		}
	}
	return starts, nil
}

func aheadOf(committed, last map[topicPartition]int64) bool {
	for tp, offset := range committed {
		if offset > last[tp] {
			return true
		}
	}
	return false
}

// removed tells that the group lost messages.
func (r *run) removed(tp topicPartition, next, first int64) {
	r.c.log.Error("bus: messages were removed by retention before the group read them; going on with the first that is left",
		"group", r.k.Group, "topic", tp.topic, "partition", tp.partition, "next", next, "first", first)
}

// fetch moves the messages of one partition into the flow until ctx ends (nil),
// or the position is not valid any more (error).
func (r *run) fetch(ctx context.Context, f *flow, p *part, offset int64) error {
	var wires conns
	dialer := r.c.dialer()
	dialer.DialFunc = wires.dial
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: r.c.cfg.Brokers, Topic: p.topic, Partition: p.partition, Dialer: dialer,
		MinBytes: 1, MaxBytes: 4 << 20, MaxWait: maxWait,
		QueueCapacity: 64, ReadLagInterval: -1,
		ReadBackoffMin: 50 * time.Millisecond, ReadBackoffMax: time.Second, MaxAttempts: 5,
		IsolationLevel: kafka.ReadCommitted, OffsetOutOfRangeError: true,
		ErrorLogger: r.c.kafkaLog("reader of " + p.topic),
	})
	r.closing.Add(1)
	defer func() {
		go func() {
			defer r.closing.Done()
			_ = reader.Close()
		}()
		wires.close() // or Close would wait for the fetch that is under way
	}()
	if err := reader.SetOffset(offset); err != nil {
		return err
	}
	for {
		m, err := reader.FetchMessage(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, kafka.OffsetOutOfRange) {
				return err
			}
			r.failed(fmt.Sprintf("fetch from %s/%d", p.topic, p.partition), err)
			if !sleep(ctx, 100*time.Millisecond) {
				return nil
			}
			continue // the reader goes on by itself
		}
		if m.Offset > offset { // rarely: retention, or the marks of transactions
			if first, err := r.c.offsets(ctx, map[string][]int{p.topic: {p.partition}}, kafka.FirstOffset); err == nil && first[p.topicPartition] > offset {
				r.removed(p.topicPartition, offset, first[p.topicPartition])
			}
		}
		offset = m.Offset + 1
		weight := min(max(minWeight, int64(len(m.Key)+len(m.Value))), r.limit)
		if err := r.budget.Acquire(ctx, weight); err != nil {
			return nil
		}
		f.add(p, received(m), m.HighWaterMark, weight)
	}
}

func received(m kafka.Message) Message {
	out := Message{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value, Time: m.Time.UTC()}
	if len(m.Headers) > 0 {
		out.Headers = make([]Header, len(m.Headers))
		for i, h := range m.Headers {
			out.Headers[i] = Header{Key: h.Key, Value: h.Value}
		}
	}
	return out
}

// commitLoop commits in batches until ctx ends, or the group says that we are
// not a member any more.
func (r *run) commitLoop(ctx context.Context, f *flow, gen *kafka.Generation) {
	tick := time.NewTicker(r.k.CommitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-f.moved:
		}
		if err := r.commit(f, gen, false); expelled(err) {
			return
		}
	}
}

// commit commits what is handled without gaps. A commit that fails is harmless:
// the next one covers it, or the messages come again.
func (r *run) commit(f *flow, gen *kafka.Generation, final bool) error {
	offsets := f.commitable()
	if len(offsets) == 0 {
		return nil
	}
	err := gen.CommitOffsets(byTopic(offsets))
	if err != nil {
		r.failed("commit", err)
		if final {
			r.c.log.Warn("bus: last commit of a generation failed, the messages handled since the one before come again", "group", r.k.Group, "error", err)
		}
		return err
	}
	f.commited(offsets)
	r.recovered()
	return nil
}

func expelled(err error) bool {
	return errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) ||
		errors.Is(err, kafka.RebalanceInProgress) || errors.Is(err, kafka.NotCoordinatorForGroup)
}

func byTopic(offsets map[topicPartition]int64) map[string]map[int]int64 {
	out := make(map[string]map[int]int64)
	for tp, o := range offsets {
		if out[tp.topic] == nil {
			out[tp.topic] = make(map[int]int64)
		}
		out[tp.topic][tp.partition] = o
	}
	return out
}

// try runs the handler once, or stores the dead letter of a message whose tries
// are used up.
func (r *run) try(ctx context.Context, it *item) verdict {
	if it.dead != nil {
		return r.bury(ctx, it)
	}
	it.attempts++
	err := r.handle(ctx, it)
	switch {
	case err == nil:
		return verdict{done: true}
	case ctx.Err() != nil:
		return verdict{drop: true} // cut short by the end of the drain: not the message's fault
	case IsBlocked(err):
		it.attempts--
		it.waits++
		r.c.meters.retried(ctx, it.msg, r.k.Group, err)
		r.blocked(err)
		return verdict{again: r.pause(it.waits), blocked: true}
	case IsPermanent(err) || it.attempts >= r.k.Attempts:
		it.dead, it.waits = err, 0
		return r.bury(ctx, it)
	default:
		it.waits++
		r.c.meters.retried(ctx, it.msg, r.k.Group, err)
		r.c.log.Debug("bus: message will be tried again", "group", r.k.Group, "topic", it.msg.Topic, "partition", it.msg.Partition, "offset", it.msg.Offset, "attempt", it.attempts, "error", err)
		return verdict{again: r.pause(it.waits)}
	}
}

// pause is the time before the next try: doubled each time, capped, and spread
// by half so that messages which failed together do not return together.
func (r *run) pause(waits int) time.Duration {
	d := r.k.MaxBackoff
	if waits < 30 {
		d = min(d, r.k.MinBackoff<<(waits-1))
	}
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
}

// handle runs the handler once. A panic is an error of this try.
func (r *run) handle(ctx context.Context, it *item) (err error) {
	ctx, finish := r.c.startProcess(ctx, it.msg, r.k.Group)
	ctx = context.WithValue(ctx, attemptKey{}, attempt{it.attempts, r.k.Attempts})
	defer func() { finish(err) }()
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		// The value of a panic may quote the message; only the runtime's own
		// errors are known not to.
		text := fmt.Sprintf("%T", v)
		if re, ok := v.(runtime.Error); ok {
			text = re.Error()
		}
		r.c.log.Error("bus: handler panicked", "group", r.k.Group, "topic", it.msg.Topic, "partition", it.msg.Partition, "offset", it.msg.Offset, "panic", text, "stack", string(debug.Stack()))
		err = fmt.Errorf("handler panicked: %v", v)
	}()
	return r.c.cfg.Classify(r.k.Handle(ctx, it.msg))
}

type (
	attemptKey struct{}
	attempt    struct{ n, of int }
)

// Attempt tells a Handler which try of the message this is, from 1, and after
// how many the message becomes a dead letter; 0, 0 outside of a Handler. Tries
// that ended Blocked do not count.
func Attempt(ctx context.Context) (n, of int) {
	a, _ := ctx.Value(attemptKey{}).(attempt)
	return a.n, a.of
}

// conns knows the connections that it dialed, to cut them.
type conns struct {
	mu     sync.Mutex
	open   map[*tracked]struct{}
	closed bool
}

type tracked struct {
	net.Conn
	from *conns
}

func (cs *conns) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	t := &tracked{c, cs}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	if cs.open == nil {
		cs.open = make(map[*tracked]struct{})
	}
	cs.open[t] = struct{}{}
	return t, nil
}

func (t *tracked) Close() error {
	t.from.mu.Lock()
	delete(t.from.open, t)
	t.from.mu.Unlock()
	return t.Conn.Close()
}

// cut closes the connections that are open.
func (cs *conns) cut() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for t := range cs.open {
		_ = t.Conn.Close()
	}
}

// close cuts and dials no more.
func (cs *conns) close() {
	cs.mu.Lock()
	cs.closed = true
	cs.mu.Unlock()
	cs.cut()
}
