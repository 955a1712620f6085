package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

// Topic is a topic that must exist. Partitions 0 means 8, Replication 0 means
// the cluster's default.
type Topic struct {
	Name        string
	Partitions  int
	Replication int
}

const defaultPartitions = 8

// EnsureTopics creates the topics that do not exist yet and waits until all of
// them can be written. A topic that exists is left as it is. It asks again while
// the cluster is not reachable, until ctx ends.
func (c *Client) EnsureTopics(ctx context.Context, topics ...Topic) error {
	configs := make([]kafka.TopicConfig, 0, len(topics))
	for _, t := range topics {
		if t.Name == "" {
			return errors.New("bus: ensure topics: a topic without a name")
		}
		configs = append(configs, topicConfig(t))
	}
	return c.ensure(ctx, configs)
}

func topicConfig(t Topic) kafka.TopicConfig {
	tc := kafka.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.Replication}
	if tc.NumPartitions == 0 {
		tc.NumPartitions = defaultPartitions
	}
	if tc.ReplicationFactor == 0 {
		tc.ReplicationFactor = -1
	}
	return tc
}

// deadTopic is the configuration of a topic for dead letters, which must take
// the largest message there is and the headers that are added to it.
func deadTopic(name string) kafka.TopicConfig {
	tc := topicConfig(Topic{Name: name, Partitions: 1})
	tc.ConfigEntries = []kafka.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: strconv.Itoa(2 * maxDeadBytes)}}
	return tc
}

func (c *Client) ensure(ctx context.Context, topics []kafka.TopicConfig) error {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Topic
	}
	said := false
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		missing, err := c.missing(ctx, names)
		if err == nil && len(missing) == 0 {
			return nil
		}
		if err == nil {
			err = c.create(ctx, topics, missing)
			var refused *refusedError
			if errors.As(err, &refused) {
				return fmt.Errorf("bus: create topic %s: %w (create it by hand, or allow this client to create topics)", refused.topic, refused.err)
			}
		}
		if err != nil && !said && pause > time.Second {
			said = true
			c.log.Warn("bus: topics are not ready, still trying", "topics", missing, "error", err)
		}
		if !sleep(ctx, pause) {
			if err == nil {
				err = fmt.Errorf("not ready: %v", missing)
			}
			return fmt.Errorf("bus: ensure topics: %w: %w", ctx.Err(), err)
		}
	}
}

type refusedError struct {
	topic string
	err   error
}

func (e *refusedError) Error() string { return e.topic + ": " + e.err.Error() }

// create creates the missing topics. A refusal is a refusedError; anything else
// may pass.
func (c *Client) create(ctx context.Context, topics []kafka.TopicConfig, missing map[string]bool) error {
	var want []kafka.TopicConfig
	for _, t := range topics {
		if missing[t.Topic] {
			want = append(want, t)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.admin().CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: want})
	if err != nil {
		return err
	}
	for topic, err := range resp.Errors {
		var code kafka.Error
		switch {
		case err == nil || errors.Is(err, kafka.TopicAlreadyExists):
		case errors.As(err, &code) && code.Temporary():
			return err
		default:
			return &refusedError{topic, err}
		}
	}
	return nil
}

// missing tells which of the topics do not exist or have a partition without a
// leader.
func (c *Client) missing(ctx context.Context, names []string) (map[string]bool, error) {
	found, err := c.partitions(ctx, names)
	if err != nil {
		return nil, err
	}
	missing := make(map[string]bool)
	for _, n := range names {
		if len(found[n]) == 0 {
			missing[n] = true
		}
	}
	return missing, nil
}

// partitions returns the partition numbers of the topics; a topic that does not
// exist, or that has a partition without a leader, is left out.
func (c *Client) partitions(ctx context.Context, names []string) (map[string][]int, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.admin().Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return nil, err
	}
	found := make(map[string][]int)
topics:
	for _, t := range resp.Topics {
		if t.Error != nil {
			continue
		}
		ids := make([]int, len(t.Partitions))
		for i, p := range t.Partitions {
			if p.Error != nil || p.Leader.Host == "" {
				continue topics
			}
			ids[i] = p.ID
		}
		found[t.Name] = ids
	}
	return found, nil
}

func (c *Client) admin() *kafka.Client {
	return &kafka.Client{Addr: c.addr, Timeout: callTimeout, Transport: c.transport}
}

// PartitionLag is how far a group is behind in one partition.
type PartitionLag struct {
	Topic     string
	Partition int
	Committed int64         // next offset to be read by the group; -1: nothing committed yet
	End       int64         // offset after the last message
	Lag       int64         // messages not yet committed
	Time      time.Duration // age of the oldest message not yet committed; 0 when Lag is 0
}

// Lag asks the cluster how far the group is behind in the topics. It does not
// depend on any running consumer.
func (c *Client) Lag(ctx context.Context, group string, topics ...string) ([]PartitionLag, error) {
	lags, err := c.lag(ctx, group, topics)
	if err != nil {
		return nil, fmt.Errorf("bus: lag of group %s: %w", group, err)
	}
	now := c.cfg.Now()
	for i := range lags {
		l := &lags[i]
		if l.Lag == 0 {
			continue
		}
		at, err := c.timeOf(ctx, l.Topic, l.Partition, l.End-l.Lag)
		if err != nil {
			return nil, fmt.Errorf("bus: lag of group %s: %w", group, err)
		}
		if !at.IsZero() {
			l.Time = max(0, now.Sub(at))
		}
	}
	return lags, nil
}

// lag is Lag without the times.
func (c *Client) lag(ctx context.Context, group string, topics []string) ([]PartitionLag, error) {
	parts, err := c.partitions(ctx, topics)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	first, last, err := c.bounds(ctx, parts)
	if err != nil {
		return nil, err
	}
	resp, err := c.admin().OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: parts})
	if err == nil {
		err = resp.Error
	}
	if err != nil && !errors.Is(err, kafka.GroupIdNotFound) { // a group that never committed
		return nil, fmt.Errorf("read committed offsets: %w", err)
	}
	var offsets map[string][]kafka.OffsetFetchPartition
	if resp != nil {
		offsets = resp.Topics
	}
	committed := make(map[topicPartition]int64)
	for topic, ps := range offsets {
		for _, p := range ps {
			if p.Error != nil {
				return nil, fmt.Errorf("read committed offset of %s/%d: %w", topic, p.Partition, p.Error)
			}
			committed[topicPartition{topic, p.Partition}] = p.CommittedOffset
		}
	}
	var lags []PartitionLag
	for topic, ids := range parts {
		for _, id := range ids {
			tp := topicPartition{topic, id}
			l := PartitionLag{Topic: topic, Partition: id, Committed: -1, End: last[tp]}
			from := first[tp]
			if o, ok := committed[tp]; ok && o >= 0 {
				l.Committed = o
				from = max(from, o)
			}
			l.Lag = max(0, l.End-from)
			lags = append(lags, l)
		}
	}
	return lags, nil
}

type topicPartition struct {
	topic     string
	partition int
}

// bounds returns the first offset and the offset after the last message of the
// partitions.
func (c *Client) bounds(ctx context.Context, parts map[string][]int) (first, last map[topicPartition]int64, err error) {
	// Two requests: brokers refuse a partition that is named twice in one.
	if first, err = c.offsets(ctx, parts, kafka.FirstOffset); err != nil {
		return nil, nil, err
	}
	last, err = c.offsets(ctx, parts, kafka.LastOffset)
	return first, last, err
}

func (c *Client) offsets(ctx context.Context, parts map[string][]int, at int64) (map[topicPartition]int64, error) {
	out := make(map[topicPartition]int64)
	if len(parts) == 0 {
		return out, nil
	}
	req := &kafka.ListOffsetsRequest{Topics: make(map[string][]kafka.OffsetRequest)}
	for topic, ids := range parts {
		for _, id := range ids {
			req.Topics[topic] = append(req.Topics[topic], kafka.OffsetRequest{Partition: id, Timestamp: at})
		}
	}
	resp, err := c.admin().ListOffsets(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("list offsets: %w", err)
	}
	for topic, ps := range resp.Topics {
		for _, p := range ps {
			if p.Error != nil {
				return nil, fmt.Errorf("list offsets of %s/%d: %w", topic, p.Partition, p.Error)
			}
			o := p.FirstOffset
			if at == kafka.LastOffset {
				o = p.LastOffset
			}
			out[topicPartition{topic, p.Partition}] = o
		}
	}
	return out, nil
}

// timeOf reads the timestamp of the first message at or after the offset; zero
// when there is none.
func (c *Client) timeOf(ctx context.Context, topic string, partition int, offset int64) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.admin().Fetch(ctx, &kafka.FetchRequest{
		Topic: topic, Partition: partition, Offset: offset,
		MinBytes: 1, MaxBytes: 1, // at least one record batch comes anyway
		MaxWait: 100 * time.Millisecond,
	})
	if err == nil {
		err = resp.Error
	}
	if err != nil {
		if errors.Is(err, kafka.OffsetOutOfRange) { // gone by retention meanwhile
			return time.Time{}, nil
		}
		return time.Time{}, fmt.Errorf("read the oldest message of %s/%d: %w", topic, partition, err)
	}
	for {
		rec, err := resp.Records.ReadRecord()
		if err != nil { // io.EOF: nothing there
			return time.Time{}, nil
		}
		// A batch may begin before the offset that was asked for.
		if rec.Offset >= offset {
			return rec.Time, nil
		}
	}
}
