package embedded

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	childDir  = "MASAR_EMBEDDED_TEST_DIR"
	childAddr = "MASAR_EMBEDDED_TEST_ADDR"
)

// TestMain becomes a broker process when the environment says so: the crash
// tests kill it.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		b, err := Start(context.Background(), Config{Dir: dir, Addr: os.Getenv(childAddr)})
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println("listening:", b.Addr())
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it, or kills us
		if err := b.Close(); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

func startChild(t *testing.T, dir, addr string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childAddr+"="+addr)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("broker process: %v", err)
	}
	at, ok := strings.CutPrefix(strings.TrimSpace(line), "listening: ")
	if !ok {
		t.Fatalf("broker process says %q", line)
	}
	return &child{cmd, stdin, at}
}

// kill ends the process as a power switch would, as far as a process can.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait()
}

func start(t testing.TB, change ...func(*Config)) *Broker {
	t.Helper()
	cfg := Config{Dir: t.TempDir(), Addr: "127.0.0.1:0"}
	for _, f := range change {
		f(&cfg)
	}
	b, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func client(t testing.TB, addr string) *kafka.Client {
	tr := &kafka.Transport{MetadataTTL: 100 * time.Millisecond}
	t.Cleanup(tr.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(addr), Timeout: 10 * time.Second, Transport: tr}
}

func createTopic(ctx context.Context, t testing.TB, addr string, tc kafka.TopicConfig) error {
	t.Helper()
	if tc.ReplicationFactor == 0 {
		tc.ReplicationFactor = 1
	}
	resp, err := client(t, addr).CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{tc}})
	if err != nil {
		return err
	}
	return resp.Errors[tc.Topic]
}

func writer(t testing.TB, addr, topic string) *kafka.Writer {
	tr := &kafka.Transport{MetadataTTL: 100 * time.Millisecond}
	w := &kafka.Writer{Addr: kafka.TCP(addr), Topic: topic, Transport: tr, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, MaxAttempts: 1, WriteTimeout: 2 * time.Second, ReadTimeout: 2 * time.Second}
	t.Cleanup(func() {
		_ = w.Close()
		tr.CloseIdleConnections()
	})
	return w
}

// readAll reads n messages of a partition, or until nothing comes for a while.
func readAll(t testing.TB, addr, topic string, partition int) []kafka.Message {
	t.Helper()
	conn, err := kafka.DialLeader(t.Context(), "tcp", addr, topic, partition)
	if err != nil {
		t.Fatal(err)
	}
	first, last, err := conn.ReadOffsets()
	_ = conn.Close()
	if err != nil {
		t.Fatal(err)
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{addr}, Topic: topic, Partition: partition, MaxWait: 50 * time.Millisecond})
	defer r.Close()
	if err := r.SetOffset(first); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out []kafka.Message
	for int64(len(out)) < last-first {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(out), last-first, err)
		}
		out = append(out, m)
	}
	return out
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	const topic, parts = "t", 3
	acked := make(map[string]bool)
	var ackedMu sync.Mutex
	committed := int64(-1)
	addr := "127.0.0.1:0"
	for round := range 4 {
		b := startChild(t, dir, addr)
		addr = b.addr
		if round == 0 {
			if err := createTopic(t.Context(), t, addr, kafka.TopicConfig{Topic: topic, NumPartitions: parts}); err != nil {
				t.Fatal(err)
			}
		}
		var got int64
		for p := range parts {
			got += int64(len(readAll(t, addr, topic, p)))
		}
		if got < int64(len(acked)) {
			t.Fatalf("round %d: %d messages acknowledged, %d there", round, len(acked), got)
		}
		checkCommitted(t, addr, topic, committed)

		// Several writers send one message after the other until the kill.
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var n atomic.Int64
		for w := range 4 {
			wg.Go(func() {
				kw := writer(t, addr, topic)
				for i := 0; ctx.Err() == nil; i++ {
					v := fmt.Sprintf("%d-%d-%d", round, w, i)
					if kw.WriteMessages(ctx, kafka.Message{Key: []byte(v), Value: []byte(v)}) != nil {
						return
					}
					ackedMu.Lock()
					acked[v] = true
					ackedMu.Unlock()
					n.Add(1)
				}
			})
		}
		wait(t, "messages to be written", func() bool { return n.Load() > int64(100*(round+1)) })
		committed = int64(round) + 1
		commit(t, addr, topic, committed)
		b.kill(t)
		cancel()
		wg.Wait()
	}
	b := startChild(t, dir, addr)
	there := make(map[string]bool)
	for p := range parts {
		for _, m := range readAll(t, b.addr, topic, p) {
			there[string(m.Value)] = true
		}
	}
	for v := range acked {
		if !there[v] {
			t.Errorf("message %s was acknowledged and is gone", v)
		}
	}
	checkCommitted(t, b.addr, topic, committed)
	t.Logf("%d acknowledged, %d there after 4 kills", len(acked), len(there))
}

func commit(t *testing.T, addr, topic string, offset int64) {
	t.Helper()
	resp, err := client(t, addr).OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
		GroupID: "g", GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: offset}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Topics[topic][0].Error; err != nil {
		t.Fatal(err)
	}
}

func checkCommitted(t *testing.T, addr, topic string, want int64) {
	t.Helper()
	resp, err := client(t, addr).OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: "g", Topics: map[string][]int{topic: {0}}})
	if err != nil {
		t.Fatal(err)
	}
	got := int64(-1) // a group that does not exist has no entry
	for _, p := range resp.Topics[topic] {
		got = p.CommittedOffset
	}
	if got != want {
		t.Errorf("committed offset after a kill: %d, want %d", got, want)
	}
}

func wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatal("timed out waiting for ", what)
		case <-tick.C:
		}
	}
}

func TestAutoCreatedTopicSurvivesAKill(t *testing.T) {
	// In this process, so that AutoCreate can be set; the copy of the directory
	// is what a kill would leave.
	dir := t.TempDir()
	b := start(t, func(c *Config) { c.Dir, c.AutoCreate = dir, true })
	w := writer(t, b.Addr(), "made.by.asking")
	w.AllowAutoTopicCreation = true
	wait(t, "the topic", func() bool {
		return w.WriteMessages(t.Context(), kafka.Message{Value: []byte("v")}) == nil
	})
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	again := start(t, func(c *Config) { c.Dir = left })
	n := 0
	for p := range DefaultPartitions {
		n += len(readAll(t, again.Addr(), "made.by.asking", p))
	}
	if n == 0 {
		t.Error("the message of an auto-created topic is gone")
	}
}

func TestUnknownTopicIsNotCreated(t *testing.T) {
	b := start(t)
	w := writer(t, b.Addr(), "typo")
	w.AllowAutoTopicCreation = true
	if err := w.WriteMessages(t.Context(), kafka.Message{Value: []byte("v")}); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("write to an unknown topic: %v", err)
	}
	resp, err := client(t, b.Addr()).Metadata(t.Context(), &kafka.MetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Topics) != 0 {
		t.Errorf("topics: %v", resp.Topics)
	}
}

func TestSecondBrokerOnADirectory(t *testing.T) {
	dir := t.TempDir()
	b := start(t, func(c *Config) { c.Dir = dir })
	_, err := Start(t.Context(), Config{Dir: dir, Addr: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("second broker: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := Start(t.Context(), Config{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatalf("after the first one closed: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "session_state.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("session_state.json is still there: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for _, addr := range []string{":9092", "0.0.0.0:0", "192.0.2.1:9092", "example.org:9092", "[::]:0", "nonsense"} {
		if b, err := Start(t.Context(), Config{Dir: t.TempDir(), Addr: addr}); err == nil {
			_ = b.Close()
			t.Errorf("%s was accepted", addr)
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:0"} {
		b, err := Start(t.Context(), Config{Dir: t.TempDir(), Addr: addr})
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		_ = b.Close()
	}
	b := start(t)
	if _, err := Start(t.Context(), Config{Dir: t.TempDir(), Addr: b.Addr()}); err == nil || !strings.Contains(err.Error(), "listen") {
		t.Errorf("address in use: %v", err)
	}
}

func TestTopicPolicy(t *testing.T) {
	b := start(t)
	refused := []kafka.TopicConfig{
		{Topic: "a", NumPartitions: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "compact"}}},
		{Topic: "b", NumPartitions: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "1000"}}},
		{Topic: "c", NumPartitions: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.bytes", ConfigValue: "1"}}},
		{Topic: "d", NumPartitions: 1 << 30},
		{Topic: "../etc", NumPartitions: 1},
		{Topic: "..", NumPartitions: 1},
		{Topic: "é", NumPartitions: 1},
	}
	for _, tc := range refused {
		if err := createTopic(t.Context(), t, b.Addr(), tc); !errors.Is(err, kafka.PolicyViolation) {
			t.Errorf("%+v: %v, want a policy violation", tc, err)
		}
	}
	ok := kafka.TopicConfig{Topic: "fine", NumPartitions: 2, ConfigEntries: []kafka.ConfigEntry{
		{ConfigName: "cleanup.policy", ConfigValue: "delete"}, {ConfigName: "retention.ms", ConfigValue: "-1"}, {ConfigName: "max.message.bytes", ConfigValue: "2000000"},
	}}
	if err := createTopic(t.Context(), t, b.Addr(), ok); err != nil {
		t.Errorf("%+v: %v", ok, err)
	}
	resp, err := client(t, b.Addr()).CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: "fine", Count: 1 << 30}}})
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(resp.Errors["fine"], kafka.PolicyViolation) {
		t.Errorf("2^30 partitions: %v", resp.Errors["fine"])
	}
}

func TestGuardsOutliveTheirRenewal(t *testing.T) {
	b := start(t)
	bad := kafka.TopicConfig{Topic: "..", NumPartitions: 1, ReplicationFactor: 1}
	c := client(t, b.Addr())
	for i := range 2*guardRuns + 3 {
		resp, err := c.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{bad}})
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(resp.Errors[".."], kafka.PolicyViolation) {
			t.Fatalf("request %d passed the guard: %v", i, resp.Errors)
		}
	}
}

func TestRetentionKeepsTheEndOfTheLog(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, Addr: "127.0.0.1:0", MaxFrame: minFrame, RetentionBytes: 4 * minFrame}
	b, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := createTopic(t.Context(), t, b.Addr(), kafka.TopicConfig{Topic: "t", NumPartitions: 1}); err != nil {
		t.Fatal(err)
	}
	w := writer(t, b.Addr(), "t")
	w.BatchBytes = minFrame / 2
	value := make([]byte, minFrame/8)
	const n = 64
	for i := range n {
		if err := w.WriteMessages(t.Context(), kafka.Message{Key: fmt.Append(nil, i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	b.cluster.ApplyRetention()
	check := func(addr string) {
		t.Helper()
		msgs := readAll(t, addr, "t", 0)
		if len(msgs) == 0 || len(msgs) == n {
			t.Fatalf("%d of %d messages left", len(msgs), n)
		}
		if last := msgs[len(msgs)-1]; last.Offset != n-1 {
			t.Errorf("last offset %d, want %d", last.Offset, n-1)
		}
	}
	check(b.Addr())
	left := t.TempDir() // what a kill leaves
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, left} {
		again := start(t, func(c *Config) { *c = cfg; c.Dir = d })
		check(again.Addr())
	}
}

func TestRecordsOfEveryCompression(t *testing.T) {
	b := start(t)
	if err := createTopic(t.Context(), t, b.Addr(), kafka.TopicConfig{Topic: "t", NumPartitions: 1}); err != nil {
		t.Fatal(err)
	}
	const each = 50
	codecs := []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd}
	for _, codec := range codecs {
		w := writer(t, b.Addr(), "t")
		w.Compression = codec
		msgs := make([]kafka.Message, each)
		for i := range msgs {
			msgs[i] = kafka.Message{Key: fmt.Append(nil, i), Value: []byte(strings.Repeat("value ", 1000)), Headers: []kafka.Header{{Key: "h", Value: []byte("v")}}}
		}
		if err := w.WriteMessages(t.Context(), msgs...); err != nil {
			t.Errorf("%s: %v", codec, err)
		}
	}
	if n := len(readAll(t, b.Addr(), "t", 0)); n != len(codecs)*each {
		t.Errorf("%d of %d messages are there", n, len(codecs)*each)
	}
}

func TestRecordsThatNobodyCouldRead(t *testing.T) {
	b := start(t)
	if err := createTopic(t.Context(), t, b.Addr(), kafka.TopicConfig{Topic: "t", NumPartitions: 1}); err != nil {
		t.Fatal(err)
	}
	good := []byte{12, 0, 0, 0, 1, 1, 0}
	for name, change := range map[string]func(*kmsg.RecordBatch){
		"fewer records than announced": func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 2, 1 },
		"a negative number of them":    func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = -5, -6 },
		"none":                         func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta, b.Records = 0, -1, nil },
		"record longer than the batch": func(b *kmsg.RecordBatch) { b.Records = append([]byte{0xfe, 0xff, 0xff, 0x0f}, good[1:]...) },
		"not what it is compressed by": func(b *kmsg.RecordBatch) { b.Attributes = 4 },
		"rubbish after the records":    func(b *kmsg.RecordBatch) { b.Records = append(bytes.Clone(good), 1, 2, 3) },
	} {
		rb := kmsg.NewRecordBatch()
		rb.Magic, rb.ProducerID, rb.NumRecords, rb.Records = 2, -1, 1, good
		change(&rb)
		rb.Length = int32(len(rb.AppendTo(nil)) - 12)
		rb.CRC = int32(crc32.Checksum(rb.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli)))
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks, req.TimeoutMillis = 7, -1, 1000
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = rb.AppendTo(nil)
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic, rt.Partitions = "t", append(rt.Partitions, p)
		req.Topics = append(req.Topics, rt)

		resp := ask(t, b.Addr(), req).(*kmsg.ProduceResponse)
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != kerr.InvalidRecord.Code {
			t.Errorf("%s: error code %d, want %d", name, code, kerr.InvalidRecord.Code)
		}
	}
	if n := len(readAll(t, b.Addr(), "t", 0)); n != 0 {
		t.Errorf("%d messages were stored", n)
	}
}

// ask sends one request and reads its answer.
func ask(t *testing.T, addr string, req kmsg.Request) kmsg.Response {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
		t.Fatal(err)
	}
	size := make([]byte, 4)
	if _, err := io.ReadFull(c, size); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size))
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(body[4:]); err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestUnservedRequestsAreNotAdvertised(t *testing.T) {
	b := start(t)
	resp, err := client(t, b.Addr()).ApiVersions(t.Context(), &kafka.ApiVersionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[kmsg.Key]versions)
	for _, k := range resp.ApiKeys {
		got[kmsg.Key(k.ApiKey)] = versions{int16(k.MinVersion), int16(k.MaxVersion)}
	}
	for k, v := range got {
		if served[k] != v {
			t.Errorf("%s: advertised %v, let through %v", k.Name(), v, served[k])
		}
	}
	for k := range served {
		if _, ok := got[k]; !ok {
			t.Errorf("%s is let through and not advertised", k.Name())
		}
	}
}

func TestNoServedVersionHasTags(t *testing.T) {
	for key, v := range served {
		req := key.Request()
		for ver := v.min; ver <= v.max; ver++ {
			req.SetVersion(ver)
			head := packet(key.Int16(), ver)
			if req.IsFlexible() && !tagged(head) {
				t.Errorf("%s version %d has tagged fields and is let through unseen", key.Name(), ver)
			}
		}
	}
	for ver := int16(3); ver < 8; ver++ {
		if !tagged(packet(kmsg.ApiVersions.Int16(), ver)) {
			t.Errorf("ApiVersions %d is let through unseen", ver)
		}
	}
}

// packet frames a request.
func packet(key, version int16, rest ...byte) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(4+len(rest)))
	p = binary.BigEndian.AppendUint16(p, uint16(key))
	p = binary.BigEndian.AppendUint16(p, uint16(version))
	return append(p, rest...)
}

func TestHostilePackets(t *testing.T) {
	b := start(t)
	for name, p := range map[string][]byte{
		"unknown key":         packet(9999, 0, 0, 0, 0, 1, 0xff, 0xff), // the 14 bytes that end a bare kfake
		"negative key":        packet(-1, 0, 0, 0, 0, 1, 0xff, 0xff),
		"unknown version":     packet(3, 99, 0, 0, 0, 1, 0xff, 0xff),
		"negative version":    packet(18, -1, 0, 0, 0, 1, 0xff, 0xff),
		"4 GiB":               {0xff, 0xff, 0xff, 0xff, 0, 3, 0, 1, 0, 0, 0, 1},
		"larger than allowed": append([]byte{1, 0, 0, 1}, packet(3, 1, 0, 0, 0, 1)[4:]...),
		"empty":               {0, 0, 0, 0, 0, 3, 0, 1},
		"no correlation id":   packet(3, 1),
		"sasl handshake":      packet(17, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 5, 'P', 'L', 'A', 'I', 'N'),
		"delete records":      packet(21, 0, 0, 0, 0, 1, 0xff, 0xff),
		"half a head":         {0, 0},
		"2^32 tags":           packet(22, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0),
		"large tagged":        append([]byte{0, 2, 0, 0}, packet(22, 4, 0, 0, 0, 1)[4:]...),
	} {
		c, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := io.Copy(io.Discard, c); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: answered with %d bytes (%v), want the connection closed", name, n, err)
		}
		_ = c.Close()
	}
	if err := createTopic(t.Context(), t, b.Addr(), kafka.TopicConfig{Topic: "alive", NumPartitions: 1}); err != nil {
		t.Errorf("the broker does not answer any more: %v", err)
	}
}
