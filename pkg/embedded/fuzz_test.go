package embedded

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// seedRequests are requests of every kind and version that is served, with one
// element in each list where that makes a difference.
func seedRequests() []kmsg.Request {
	topic := "t"
	var out []kmsg.Request
	for key, v := range served {
		last := v.max
		if key == kmsg.ApiVersions {
			last = 5
		}
		for ver := v.min; ver <= last; ver++ {
			req := key.Request()
			switch r := req.(type) {
			case *kmsg.ProduceRequest:
				r.Acks = -1
				p := kmsg.NewProduceRequestTopicPartition()
				p.Records = make([]byte, 61)
				rt := kmsg.NewProduceRequestTopic()
				rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
				r.Topics = append(r.Topics, rt)
			case *kmsg.FetchRequest:
				rt := kmsg.NewFetchRequestTopic()
				rt.Topic, rt.Partitions = topic, append(rt.Partitions, kmsg.NewFetchRequestTopicPartition())
				r.Topics = append(r.Topics, rt)
			case *kmsg.ListOffsetsRequest:
				rt := kmsg.NewListOffsetsRequestTopic()
				rt.Topic, rt.Partitions = topic, append(rt.Partitions, kmsg.NewListOffsetsRequestTopicPartition())
				r.Topics = append(r.Topics, rt)
			case *kmsg.MetadataRequest:
				rt := kmsg.NewMetadataRequestTopic()
				rt.Topic = &topic
				r.Topics = append(r.Topics, rt)
			case *kmsg.OffsetCommitRequest:
				r.Group = "g"
				rt := kmsg.NewOffsetCommitRequestTopic()
				rt.Topic, rt.Partitions = topic, append(rt.Partitions, kmsg.NewOffsetCommitRequestTopicPartition())
				r.Topics = append(r.Topics, rt)
			case *kmsg.JoinGroupRequest:
				r.Group, r.ProtocolType, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = "g", "consumer", 10000, 10000
				p := kmsg.NewJoinGroupRequestProtocol()
				p.Name, p.Metadata = "range", []byte{0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 0}
				r.Protocols = append(r.Protocols, p)
			case *kmsg.CreateTopicsRequest:
				rt := kmsg.NewCreateTopicsRequestTopic()
				rt.Topic, rt.NumPartitions, rt.ReplicationFactor = "u", 1, 1
				rt.Configs = append(rt.Configs, kmsg.NewCreateTopicsRequestTopicConfig())
				r.Topics = append(r.Topics, rt)
			case *kmsg.CreatePartitionsRequest:
				rt := kmsg.NewCreatePartitionsRequestTopic()
				rt.Topic, rt.Count = topic, 2
				r.Topics = append(r.Topics, rt)
			case *kmsg.DescribeConfigsRequest:
				rr := kmsg.NewDescribeConfigsRequestResource()
				rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, topic
				r.Resources = append(r.Resources, rr)
			case *kmsg.ApiVersionsRequest:
				r.ClientSoftwareName, r.ClientSoftwareVersion = "a", "1"
			}
			req.SetVersion(ver)
			out = append(out, req)
		}
	}
	return out
}

// target is a broker that many inputs share, and that is renewed from time to
// time because some of them create things.
type target struct {
	mu   sync.Mutex
	b    *Broker
	used int
}

func (g *target) get(t *testing.T, parent string) *Broker {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.used++; g.b == nil || g.used%3000 == 0 {
		if g.b != nil {
			_ = g.b.Close()
		}
		dir, err := os.MkdirTemp(parent, "broker")
		if err != nil {
			t.Fatal(err)
		}
		b, err := Start(t.Context(), Config{Dir: dir, Addr: "127.0.0.1:0", AutoCreate: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.cluster.CreateTopic("t", 2, nil); err != nil {
			t.Fatal(err)
		}
		g.b = b
	}
	return g.b
}

// FuzzFrames sends arbitrary requests, well framed and not, to a live broker. A
// panic in any of its goroutines ends the fuzzer.
func FuzzFrames(f *testing.F) {
	for _, req := range seedRequests() {
		body := kmsg.NewRequestFormatter(kmsg.FormatterClientID("f")).AppendRequest(nil, req, 1)
		f.Add(body, false)
	}
	f.Add([]byte{0, 0, 0, 10, 0x27, 0x0f, 0, 0, 0, 0, 0, 1, 0xff, 0xff}, true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, true)

	var g target
	parent := f.TempDir()
	f.Cleanup(func() {
		if g.b != nil {
			_ = g.b.Close()
		}
	})
	probe := kmsg.NewRequestFormatter().AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 7)
	f.Fuzz(func(t *testing.T, frame []byte, raw bool) {
		b := g.get(t, parent)
		if !raw && len(frame) >= 4 { // put the right size in front
			frame = append([]byte(nil), frame...)
			binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
		}
		send(t, b.Addr(), frame, false)
		// Requests are handled in the order in which they arrive: when this one
		// is answered, the one before has been handled.
		send(t, b.Addr(), probe, true)
	})
}

func send(t *testing.T, addr string, frame []byte, answer bool) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = c.Write(frame) // may be cut off half-way, rightly
	if answer {
		if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
			t.Fatalf("the broker does not answer: %v", err)
		}
		return
	}
	_ = c.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}

// FuzzCheckHead checks the judge alone: what it lets through is small enough,
// long enough and of a kind that kfake can decode.
func FuzzCheckHead(f *testing.F) {
	f.Add(uint32(10), uint16(3), uint16(1))
	f.Add(uint32(10), uint16(9999), uint16(0))
	f.Fuzz(func(t *testing.T, size uint32, key, version uint16) {
		head := binary.BigEndian.AppendUint32(nil, size)
		head = binary.BigEndian.AppendUint16(head, key)
		head = binary.BigEndian.AppendUint16(head, version)
		n, err := checkHead(head, 1000)
		if err != nil {
			return
		}
		if n != int(size) || n > 1000 || n < minBody {
			t.Errorf("size %d passed as %d", size, n)
		}
		if kmsg.RequestForKey(int16(key)) == nil || int16(version) < 0 {
			t.Errorf("key %d version %d passed", key, version)
		}
	})
}
