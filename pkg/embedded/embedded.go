// Package embedded runs the Kafka broker of a single-machine installation:
// franz-go's kfake with a data directory, made safe.
//
// kfake was written as a test double. Used bare it loses acknowledged messages
// on a power cut, starts twice on one directory, panics on a 14-byte packet and
// forgets auto-created topics. This package closes each of those doors and
// leaves the rest of the protocol as it is, so that ordinary Kafka clients work
// and services need not know which broker they talk to.
//
// Contract: a message or a group offset that was acknowledged is there after a
// kill -9 of the process and a new Start on the same directory. Messages leave
// only by RetentionBytes. No packet that a client can send ends the process.
// There is no authentication, therefore only loopback addresses are served.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	defaultRetention = 256 << 20
	defaultMaxFrame  = 16 << 20
	minFrame         = 1 << 20
	retentionEvery   = time.Minute
	// keepOffsets is how long the offsets of a group without members are kept.
	// Kafka's 7 days would make a consumer start over after a long holiday.
	keepOffsets = 50 * 365 * 24 * time.Hour
	// DefaultPartitions is the number of partitions of a topic created without
	// a number.
	DefaultPartitions = 8
)

// Config says where the broker keeps its data and listens.
type Config struct {
	Dir  string       // data directory; created when absent, locked while the broker runs
	Addr string       // loopback listen address, e.g. "127.0.0.1:9092"; port 0 takes a free one; default "127.0.0.1:9092"
	Log  *slog.Logger // default: discards

	// RetentionBytes is how much of each partition is kept; the oldest segments
	// go first. Default 256 MiB, at least four times MaxFrame (otherwise one
	// large batch could empty a partition, and an empty partition starts again
	// at offset 0 after a crash). Recovery after a crash reads the whole log
	// into memory for a moment.
	RetentionBytes int64

	// MaxFrame is the largest request in bytes; a client that sends more is
	// disconnected before anything is read. Default 16 MiB, at least 1 MiB.
	MaxFrame int

	// AutoCreate lets a client create a topic by asking for its metadata, as
	// Kafka does with auto.create.topics.enable. Default off, as in production.
	AutoCreate bool
}

// Broker is a running embedded broker.
type Broker struct {
	cluster *kfake.Cluster
	lock    *os.File
	dir     string
	addr    string
	log     *slog.Logger

	stop    chan struct{}
	stopped sync.WaitGroup
	close   func() error
}

// Start opens the data directory and starts the broker; Close stops it. An
// error says whether the address is not loopback or taken, or the directory is
// in use or damaged.
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded broker: create data directory: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	b := &Broker{lock: lock, dir: cfg.Dir, log: cfg.Log, stop: make(chan struct{})}
	b.close = sync.OnceValue(b.shutdown)

	// The members of the last run are gone, but kfake would wait for them until
	// their session times out (up to 30 s in which nobody consumes).
	if err := removeIfThere(filepath.Join(cfg.Dir, "session_state.json")); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	raw, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("embedded broker: listen on %s: %w (is another broker running there?)", cfg.Addr, err)
	}
	ln := newListener(raw, cfg.MaxFrame, cfg.Log)
	b.addr = raw.Addr().String()

	b.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID("masar-embedded"),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return ln, nil }),
		kfake.DataDir(cfg.Dir),
		kfake.SyncWrites(),
		kfake.MaxVersions(servedVersions()),
		kfake.DefaultNumPartitions(DefaultPartitions),
		kfake.WithLogger(kfakeLog{cfg.Log}),
		kfake.BrokerConfigs(map[string]string{
			// Time retention may empty a partition, and an empty partition
			// starts again at offset 0 after a crash: by size only.
			"log.retention.ms":    "-1",
			"log.retention.bytes": strconv.FormatInt(cfg.RetentionBytes, 10),
			"log.segment.bytes":   strconv.FormatInt(cfg.RetentionBytes/4, 10),
			"offset.retention.ms": strconv.FormatInt(keepOffsets.Milliseconds(), 10),
		}),
	)
	if err != nil {
		_ = ln.Close()
		_ = lock.Close()
		return nil, fmt.Errorf("embedded broker: open %s: %w", cfg.Dir, err)
	}
	b.guardRequests(cfg)
	ln.open() // no request is read before the guards are in place

	b.stopped.Go(b.applyRetention)
	b.log.Info("embedded broker started", "addr", b.addr, "dir", cfg.Dir)
	return b, nil
}

func (cfg *Config) complete() error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dir == "" {
		return errors.New("embedded broker: no data directory given: set Config.Dir")
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:9092"
	}
	if cfg.MaxFrame == 0 {
		cfg.MaxFrame = defaultMaxFrame
	}
	if cfg.MaxFrame < minFrame {
		return fmt.Errorf("embedded broker: MaxFrame is %d bytes, at least %d are needed", cfg.MaxFrame, minFrame)
	}
	if cfg.RetentionBytes == 0 {
		cfg.RetentionBytes = max(defaultRetention, 4*int64(cfg.MaxFrame))
	}
	if cfg.RetentionBytes < 4*int64(cfg.MaxFrame) {
		return fmt.Errorf("embedded broker: RetentionBytes is %d, at least four times MaxFrame (%d) are needed", cfg.RetentionBytes, 4*int64(cfg.MaxFrame))
	}
	host, _, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return fmt.Errorf("embedded broker: address %q: %w", cfg.Addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("embedded broker: %q is not a loopback address: the broker knows no authentication, listen on 127.0.0.1, ::1 or localhost, or use a real Kafka cluster", cfg.Addr)
	}
	return nil
}

// Addr is the host:port that Kafka clients connect to.
func (b *Broker) Addr() string { return b.addr }

// Close stops the broker and syncs its files. Repeated calls return the result
// of the first.
func (b *Broker) Close() error { return b.close() }

func (b *Broker) shutdown() error {
	close(b.stop)
	b.stopped.Wait()
	b.cluster.Close()
	errs := []error{
		removeIfThere(filepath.Join(b.dir, "session_state.json")),
		syncDir(b.dir),
		b.lock.Close(), // gives the lock back
	}
	b.log.Info("embedded broker stopped", "addr", b.addr)
	return errors.Join(errs...)
}

func (b *Broker) applyRetention() {
	tick := time.NewTicker(retentionEvery)
	defer tick.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-tick.C:
			b.cluster.ApplyRetention()
		}
	}
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// kfakeLog passes kfake's own messages on, one level lower than it gives them:
// its "info" is about single requests.
type kfakeLog struct{ log *slog.Logger }

func (l kfakeLog) Logf(level kfake.LogLevel, msg string, args ...any) {
	lv := slog.LevelDebug
	switch level {
	case kfake.LogLevelError:
		lv = slog.LevelError
	case kfake.LogLevelWarn:
		lv = slog.LevelWarn
	case kfake.LogLevelNone, kfake.LogLevelInfo, kfake.LogLevelDebug:
	}
	if l.log.Enabled(context.Background(), lv) {
		l.log.Log(context.Background(), lv, "embedded broker: "+fmt.Sprintf(msg, args...))
	}
}
