package bus

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// ConsumerProgress is the state of one running Consume. A consumer does not get
// on when LastMove is long ago: whatever the reason is, a lost assignment included,
// because what waits is asked of the cluster and not of the loop. A cluster that does
// not answer is a reason too.
type ConsumerProgress struct {
	Group     string
	Topics    []string
	Assigned  int           // partitions that this member works on
	Handled   int64         // messages handled or stored as dead letters since the start
	InFlight  int           // messages fetched and not yet handled
	Blocked   int           // of them, waiting because a dependency is down
	Lag       int64         // messages that the group has not committed, as last seen
	LastMove  time.Time     // since when some partition has messages and does not get on, or the cluster does not answer; now, if neither
	Oldest    time.Duration // age of the oldest message that is fetched and not handled; 0: none
	LastError string        // the last error of the loop, "" after it is overcome
}

// Progress returns the state of every running Consume of this client.
func (c *Client) Progress() []ConsumerProgress {
	var out []ConsumerProgress
	for _, r := range c.running() {
		out = append(out, r.snapshot())
	}
	slices.SortFunc(out, func(a, b ConsumerProgress) int { return strings.Compare(a.Group, b.Group) })
	return out
}

func (r *run) snapshot() ConsumerProgress {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.c.cfg.Now()
	p := ConsumerProgress{Group: r.k.Group, Topics: slices.Clone(r.k.Topics), Handled: r.handled, Lag: r.progress.lag, LastError: r.lastErr}
	if r.flow != nil {
		s := r.flow.state()
		p.Assigned, p.Handled, p.InFlight, p.Blocked = len(s.parts), p.Handled+s.handled, s.count, s.blocked
		for _, part := range s.parts {
			if !part.oldest.IsZero() {
				p.Oldest = max(p.Oldest, now.Sub(part.oldest))
			}
		}
	}
	if p.LastError == "" && p.Blocked > 0 {
		p.LastError = r.blockedErr
	}
	p.LastMove = r.progress.lastMove(now)
	return p
}

// progress follows the committed offsets of a group.
type progress struct {
	lag   int64
	parts map[topicPartition]*mark // partitions that count for this member
	seen  time.Time                // of the last answer; the start before the first one
}

// mark is when a partition was last seen to get on, or to have nothing to do.
type mark struct {
	committed int64
	behind    bool
	at        time.Time
}

func (p *progress) init(now time.Time) { p.seen, p.parts = now, make(map[topicPartition]*mark) }

// observe takes in what the cluster says. mine are the partitions of this
// member; with none, those of the whole group count: all members may have lost
// theirs.
func (p *progress) observe(now time.Time, lags []PartitionLag, mine func(topicPartition) bool) {
	p.seen = now
	p.lag = 0
	old := p.parts
	p.parts = make(map[topicPartition]*mark)
	for _, l := range lags {
		p.lag += l.Lag
		tp := topicPartition{l.Topic, l.Partition}
		if !mine(tp) {
			continue
		}
		m := old[tp]
		if m == nil || l.Lag == 0 || l.Committed != m.committed {
			m = &mark{committed: l.Committed, at: now}
		}
		m.behind = l.Lag > 0
		p.parts[tp] = m
	}
}

func (p *progress) lastMove(now time.Time) time.Time {
	last := now
	if now.Sub(p.seen) > 3*monitorEvery { // we do not know
		last = p.seen
	}
	for _, m := range p.parts {
		if m.behind && m.at.Before(last) {
			last = m.at
		}
	}
	return last
}

// monitor asks the cluster from time to time how far the group is.
func (r *run) monitor(ctx context.Context) {
	for {
		lags, err := r.c.lag(ctx, r.k.Group, r.k.Topics)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.failed("ask for the lag", err)
		default:
			r.observe(lags)
			r.recovered()
		}
		if !sleep(ctx, monitorEvery) {
			return
		}
	}
}

func (r *run) observe(lags []PartitionLag) {
	r.mu.Lock()
	defer r.mu.Unlock()
	mine := make(map[topicPartition]bool)
	if r.flow != nil {
		for _, p := range r.flow.state().parts {
			mine[p.topicPartition] = true
		}
	}
	r.progress.observe(r.c.cfg.Now(), lags, func(tp topicPartition) bool { return len(mine) == 0 || mine[tp] })
}

func (r *run) begin(f *flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flow, r.lastErr = f, ""
}

func (r *run) end(f *flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handled += f.state().handled
	r.flow = nil
}

// failed notes an error of the loop, and logs it now and then: an unreachable
// cluster fails every partition, several times a second.
func (r *run) failed(what string, err error) {
	now := r.c.cfg.Now()
	r.mu.Lock()
	r.lastErr = what + ": " + err.Error()
	level := slog.LevelDebug
	if now.Sub(r.lastSaid) >= monitorEvery {
		r.lastSaid, level = now, slog.LevelWarn
	}
	r.mu.Unlock()
	r.c.log.Log(context.Background(), level, "bus: consumer has difficulties, it goes on trying", "group", r.k.Group, "doing", what, "error", err)
}

// blocked notes that a dependency is down, and logs it now and then.
func (r *run) blocked(err error) {
	now := r.c.cfg.Now()
	r.mu.Lock()
	r.blockedErr = "handler is blocked: " + err.Error()
	say := now.Sub(r.blockedSaid) >= monitorEvery
	if say {
		r.blockedSaid = now
	}
	r.mu.Unlock()
	if say {
		r.c.log.Warn("bus: a dependency is down, messages wait", "group", r.k.Group, "error", err)
	}
}

func (r *run) recovered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr = ""
}
