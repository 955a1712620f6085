package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// A Kafka request starts with its size (4 bytes), API key (2), API version (2)
// and correlation id (4).
const (
	sizeBytes = 4
	peekBytes = sizeBytes + 2 + 2
	minBody   = 2 + 2 + 4
	maxTagged = 64 << 10 // of the kinds that are read as a whole before they pass
)

type versions struct{ min, max int16 }

// served is what the broker answers: what producers, consumers and the usual
// tools need. Left out on purpose: everything that alters configurations or
// deletes records (it could bring back time retention or compaction, or empty a
// partition), transactions, ACLs, SASL (kfake's is a test double) and share
// groups.
//
// The highest version of each is the last one without tagged fields: the decoder
// believes a count of tags that no frame could hold, and one packet of 25 bytes
// keeps a processor busy for minutes. All clients of the last years speak these
// versions (Kafka 4 demands them of a broker). InitProducerID is the exception,
// see checkProducerID.
var served = map[kmsg.Key]versions{
	kmsg.Produce:              {3, 8},
	kmsg.Fetch:                {4, 11},
	kmsg.ListOffsets:          {0, 5},
	kmsg.Metadata:             {0, 8},
	kmsg.OffsetCommit:         {0, 7},
	kmsg.OffsetFetch:          {0, 5},
	kmsg.FindCoordinator:      {0, 2},
	kmsg.JoinGroup:            {0, 5},
	kmsg.Heartbeat:            {0, 3},
	kmsg.LeaveGroup:           {0, 3},
	kmsg.SyncGroup:            {0, 3},
	kmsg.DescribeGroups:       {0, 4},
	kmsg.ListGroups:           {0, 2},
	kmsg.ApiVersions:          {0, 2},
	kmsg.CreateTopics:         {0, 4},
	kmsg.DeleteTopics:         {0, 3},
	kmsg.InitProducerID:       {0, 5}, // idempotent producers: the default of the Java client
	kmsg.OffsetForLeaderEpoch: {3, 3},
	kmsg.DescribeConfigs:      {0, 3},
	kmsg.DescribeLogDirs:      {0, 1},
	kmsg.CreatePartitions:     {0, 1},
	kmsg.DeleteGroups:         {0, 1},
	kmsg.OffsetDelete:         {0, 0},
}

// servedVersions tells kfake to advertise what the listener lets through.
func servedVersions() *kversion.Versions {
	vs := new(kversion.Versions)
	for key, v := range served {
		vs.SetMaxKeyVersion(key.Int16(), v.max)
	}
	return vs
}

// checkHead judges a request by its first eight bytes. kfake trusts them: it
// allocates the size that is announced (up to 4 GiB) and calls a nil decoder for
// a key that it does not know.
func checkHead(head []byte, maxFrame int) (size int, err error) {
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

// tagged reports whether the request has tagged fields and must be looked at as
// a whole.
func tagged(head []byte) bool {
	version := int16(binary.BigEndian.Uint16(head[sizeBytes+2:]))
	switch kmsg.Key(binary.BigEndian.Uint16(head[sizeBytes:])) {
	case kmsg.ApiVersions:
		return version > served[kmsg.ApiVersions].max
	case kmsg.InitProducerID:
		return version >= 2
	}
	return false
}

// checkTagged judges a whole request with tagged fields and returns what kfake
// is to read instead.
func checkTagged(frame []byte) ([]byte, error) {
	if kmsg.Key(binary.BigEndian.Uint16(frame[sizeBytes:])) == kmsg.InitProducerID {
		return frame, checkProducerID(frame[sizeBytes:])
	}
	// The answer to a version of ApiVersions that is too new does not depend on
	// its content: an empty request of that version gets the same.
	clean := append([]byte(nil), frame[:sizeBytes+minBody]...)
	clean = append(clean,
		0xff, 0xff, 0, // no client id, no tags
		2, 'x', 2, 'x', 0, // name and version of the client's software, no tags
	)
	if version := binary.BigEndian.Uint16(frame[sizeBytes+2:]); version >= 5 {
		clean = append(clean[:len(clean)-1], 0, 0xff, 0xff, 0xff, 0xff, 0) // no cluster id, no node id, no tags
	}
	binary.BigEndian.PutUint32(clean, uint32(len(clean)-sizeBytes))
	return clean, nil
}

// checkProducerID accepts an InitProducerID request without tags, which no
// client sends. Its version cannot be held back like the others': below version
// 3 kfake behaves as brokers before Kafka 2.5 and refuses the producers that
// were at work when it crashed.
func checkProducerID(body []byte) error {
	r := kbin.Reader{Src: body}
	r.Int16()
	version := r.Int16()
	r.Int32()
	r.NullableString() // client id
	tags := r.Uvarint()
	r.CompactNullableString() // transactional id
	r.Int32()                 // its timeout
	if version >= 3 {
		r.Int64() // producer id
		r.Int16() // and epoch
	}
	tags += r.Uvarint()
	if err := r.Complete(); err != nil || tags != 0 {
		return errors.New("malformed request for a producer id")
	}
	return nil
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
	pending []byte // read and judged, not yet passed on
	left    int    // bytes of the present request that follow pending
}

func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(c.pending) == 0 && c.left == 0 {
		if _, err := io.ReadFull(c.Conn, c.head[:]); err != nil {
			return 0, err
		}
		if err := c.next(); err != nil {
			return 0, err
		}
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

// next judges the request whose head was read.
func (c *conn) next() error {
	size, err := checkHead(c.head[:], c.maxFrame)
	if err == nil && !tagged(c.head[:]) {
		c.pending, c.left = c.head[:], size-(peekBytes-sizeBytes)
		return nil
	}
	if err == nil && size > maxTagged {
		err = fmt.Errorf("request of %d bytes, %d are allowed for its kind", size, maxTagged)
	}
	if err == nil {
		frame := make([]byte, sizeBytes+size)
		copy(frame, c.head[:])
		if _, err := io.ReadFull(c.Conn, frame[peekBytes:]); err != nil {
			return err
		}
		c.pending, err = checkTagged(frame)
	}
	if err != nil {
		c.log.Warn("embedded broker: disconnecting a client", "client", c.RemoteAddr().String(), "reason", err.Error())
		_ = c.Close()
	}
	return err
}
