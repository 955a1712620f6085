package embedded

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
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

// FuzzRequests sends requests that are well formed and mean nonsense, a few in a
// row: the fields are filled from the input with values at the edges.
func FuzzRequests(f *testing.F) {
	kinds := slices.Sorted(maps.Keys(served))
	for i := range kinds {
		for j := range 4 {
			f.Add(append([]byte{byte(i), byte(j)}, bytes.Repeat([]byte{byte(j), byte(3 * i), 7}, 40)...))
		}
	}
	var g target
	parent := f.TempDir()
	f.Cleanup(func() {
		if g.b != nil {
			_ = g.b.Close()
		}
	})
	probe := kmsg.NewRequestFormatter().AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 7)
	f.Fuzz(func(t *testing.T, data []byte) {
		b := g.get(t, parent)
		for range 6 {
			if len(data) < 2 {
				break
			}
			key := kinds[int(data[0])%len(kinds)]
			v := served[key]
			req := key.Request()
			req.SetVersion(v.min + int16(data[1])%(v.max-v.min+1))
			data = data[2:]
			fill(reflect.ValueOf(req).Elem(), &data)
			send(t, b.Addr(), kmsg.NewRequestFormatter(kmsg.FormatterClientID("f")).AppendRequest(nil, req, 1), false)
		}
		send(t, b.Addr(), probe, true)
	})
}

// fill sets every field of a request from the data.
func fill(v reflect.Value, data *[]byte) {
	next := func() int {
		if len(*data) == 0 {
			return 0
		}
		b := (*data)[0]
		*data = (*data)[1:]
		return int(b)
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			sf := v.Type().Field(i)
			if !sf.IsExported() || sf.Name == "Version" || sf.Name == "UnknownTags" {
				continue
			}
			if sf.Name == "Records" {
				if v.Type() == reflect.TypeFor[kmsg.RecordBatch]() {
					continue
				}
				v.Field(i).SetBytes(batch(data))
				continue
			}
			fill(v.Field(i), data)
		}
	case reflect.Slice:
		n := next() % 3
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b := make([]byte, 4*n)
			for i := range b {
				b[i] = byte(next())
			}
			v.SetBytes(b)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), data)
		}
	case reflect.Pointer:
		if next()%3 == 0 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), data)
	case reflect.String:
		v.SetString([]string{"", "t", "g", "u", "consumer", "range", "retention.ms", "..", "é\x00", "m"}[next()%10])
	case reflect.Bool:
		v.SetBool(next()%2 == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		top := int64(1)<<(v.Type().Bits()-1) - 1
		// A wait of 2^31 ms or a topic of 1,000 partitions is answered, only late.
		v.SetInt([]int64{0, 1, 2, 3, -1, -2, top, -top - 1, 10_000, 100}[next()%10])
	}
}

// batch makes a record batch with a right checksum and a few wrong fields.
func batch(data *[]byte) []byte {
	b := kmsg.NewRecordBatch()
	d := slices.Clone(*data)
	fill(reflect.ValueOf(&b).Elem(), data)
	b.Magic = 2
	b.FirstOffset = 0
	b.ProducerID = -1
	b.Records = d[:min(len(d), 20)]
	b.LastOffsetDelta = b.NumRecords - 1
	b.Attributes &^= 0x0020 | 0x0007 | 0x0010
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	raw := b.AppendTo(nil)
	b.CRC = int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

// FuzzCheckBatch checks that what passes can be read by a consumer's decoder.
func FuzzCheckBatch(f *testing.F) {
	records := []byte{12, 0, 0, 0, 1, 1, 0} // length 6: no key, no value, no headers
	for codec := range 5 {
		f.Add(uint8(codec), int32(1), records)
	}
	f.Add(uint8(0), int32(2), records)
	f.Add(uint8(0), int32(-5), records)
	f.Add(uint8(2), int32(1), []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, codec uint8, count int32, records []byte) {
		b := kmsg.NewRecordBatch()
		b.Magic, b.Attributes = 2, int16(codec&7)
		b.NumRecords, b.LastOffsetDelta = count, count-1
		b.Records = records
		b.Length = int32(len(b.AppendTo(nil)) - 12)
		raw := b.AppendTo(nil)
		if checkBatch(raw, 1<<20) != nil {
			return
		}
		got, err := kfake.BatchRecords(b)
		if err != nil || len(got) != int(count) {
			t.Errorf("passed, and holds %d of %d records: %v", len(got), count, err)
		}
	})
}
