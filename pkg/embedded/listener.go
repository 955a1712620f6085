package embedded

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// A Kafka request starts with its size (4 bytes), API key (2), API version (2)
// and correlation id (4).
const (
	sizeBytes = 4
	peekBytes = sizeBytes + 2 + 2
	minBody   = 2 + 2 + 4
)

type versions struct{ min, max int16 }

// served is what the broker answers: what producers, consumers and the usual
// tools need. Left out on purpose: everything that alters configurations or
// deletes records (it could bring back time retention or compaction, or empty a
// partition), transactions, ACLs, SASL (kfake's is a test double) and share
// groups. The ranges are those that kfake knows; a test compares.
var served = map[kmsg.Key]versions{
	kmsg.Produce:                    {3, 13},
	kmsg.Fetch:                      {4, 18},
	kmsg.ListOffsets:                {0, 10},
	kmsg.Metadata:                   {0, 13},
	kmsg.OffsetCommit:               {0, 10},
	kmsg.OffsetFetch:                {0, 10},
	kmsg.FindCoordinator:            {0, 6},
	kmsg.JoinGroup:                  {0, 9},
	kmsg.Heartbeat:                  {0, 4},
	kmsg.LeaveGroup:                 {0, 5},
	kmsg.SyncGroup:                  {0, 5},
	kmsg.DescribeGroups:             {0, 6},
	kmsg.ListGroups:                 {0, 5},
	kmsg.ApiVersions:                {0, 5},
	kmsg.CreateTopics:               {0, 7},
	kmsg.DeleteTopics:               {0, 6},
	kmsg.InitProducerID:             {0, 5}, // idempotent producers: the default of the Java client
	kmsg.OffsetForLeaderEpoch:       {3, 4},
	kmsg.DescribeConfigs:            {0, 4},
	kmsg.DescribeLogDirs:            {0, 5},
	kmsg.CreatePartitions:           {0, 3},
	kmsg.DeleteGroups:               {0, 3},
	kmsg.ListPartitionReassignments: {0, 0},
	kmsg.OffsetDelete:               {0, 0},
	kmsg.DescribeCluster:            {0, 2},
	kmsg.ConsumerGroupHeartbeat:     {0, 1},
	kmsg.ConsumerGroupDescribe:      {0, 1},
	kmsg.DescribeTopicPartitions:    {0, 0},
}

// servedVersions tells kfake to advertise what the listener lets through.
func servedVersions() *kversion.Versions {
	vs := new(kversion.Versions)
	for key, v := range served {
		vs.SetMaxKeyVersion(key.Int16(), v.max)
	}
	return vs
}

// checkFrame judges a request by its first eight bytes. kfake trusts them: it
// allocates the size that is announced (up to 4 GiB) and calls a nil decoder for
// a key that it does not know.
func checkFrame(head []byte, maxFrame int) (size int, err error) {
	announced := binary.BigEndian.Uint32(head)
	key := int16(binary.BigEndian.Uint16(head[sizeBytes:]))
	version := int16(binary.BigEndian.Uint16(head[sizeBytes+2:]))
	if uint64(announced) > uint64(maxFrame) {
		return 0, fmt.Errorf("request of %d bytes, %d are allowed", announced, maxFrame)
	}
	if announced < minBody {
		return 0, fmt.Errorf("request of %d bytes is shorter than its header", announced)
	}
	known, ok := served[kmsg.Key(key)]
	if !ok {
		return 0, fmt.Errorf("request kind %d is not served", key)
	}
	// A client opens with the newest ApiVersions it knows and is told which
	// version to use instead: any version of that one must pass.
	if version < known.min || (version > known.max && kmsg.Key(key) != kmsg.ApiVersions) {
		return 0, fmt.Errorf("version %d of request kind %d is not served", version, key)
	}
	return int(announced), nil
}

// listener hands out connections that let only well-framed requests through.
// Accept waits until open is called.
type listener struct {
	net.Listener
	maxFrame int
	log      *slog.Logger

	ready  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newListener(ln net.Listener, maxFrame int, log *slog.Logger) *listener {
	return &listener{Listener: ln, maxFrame: maxFrame, log: log, ready: make(chan struct{}), closed: make(chan struct{})}
}

func (l *listener) open() { close(l.ready) }

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.ready:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, maxFrame: l.maxFrame, log: l.log}, nil
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// conn checks the head of every request before the reader sees any of it. Read
// is called by one goroutine at a time, as kfake does.
type conn struct {
	net.Conn
	maxFrame int
	log      *slog.Logger

	head    [peekBytes]byte
	pending []byte // part of head that the reader has not seen yet
	left    int    // bytes of the present request after head
}

func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(c.pending) == 0 && c.left == 0 {
		if _, err := io.ReadFull(c.Conn, c.head[:]); err != nil {
			return 0, err
		}
		size, err := checkFrame(c.head[:], c.maxFrame)
		if err != nil {
			c.log.Warn("embedded broker: disconnecting a client", "client", c.RemoteAddr().String(), "reason", err.Error())
			_ = c.Close()
			return 0, err
		}
		c.pending, c.left = c.head[:], size-(peekBytes-sizeBytes)
	}
	if len(c.pending) > 0 {
		n := copy(p, c.pending)
		c.pending = c.pending[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
