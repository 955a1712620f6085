package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"
)

// tailCmd reads a topic without a consumer group, so that it leaves no trace.
type tailCmd struct {
	target
	Topic     string `arg:"" help:"Topic, such as masar.candidates.v1."`
	FromStart bool   `help:"Begin with the oldest message that is kept."`
	Until     bool   `name:"until-end" help:"Stop at the end of the topic instead of waiting for more."`
}

// tailLine is one printed message.
type tailLine struct {
	Partition int               `json:"partition"`
	Offset    int64             `json:"offset"`
	Time      time.Time         `json:"time"`
	Key       string            `json:"key"`
	Headers   map[string]string `json:"headers,omitempty"`
	Value     any               `json:"value"`
}

func (c tailCmd) Run(ctx context.Context) error {
	broker, err := c.broker()
	if err != nil {
		return err
	}
	brokers := strings.Split(broker, ",")
	partitions, err := partitionsOf(ctx, brokers[0], c.Topic)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	var mu sync.Mutex
	print := func(m kafka.Message) error {
		mu.Lock()
		defer mu.Unlock()
		if err := json.NewEncoder(out).Encode(line(m)); err != nil {
			return err
		}
		return out.Flush()
	}
	errs := make(chan error, len(partitions))
	for _, p := range partitions {
		go func() { errs <- c.follow(ctx, brokers, p, print) }()
	}
	for range partitions {
		err = errors.Join(err, <-errs)
	}
	return err
}

// follow prints one partition until ctx ends, or until its present end.
func (c tailCmd) follow(ctx context.Context, brokers []string, partition int, print func(kafka.Message) error) error {
	conn, err := kafka.DialLeader(ctx, "tcp", brokers[0], c.Topic, partition)
	if err != nil {
		return fmt.Errorf("partition %d of %s: %w", partition, c.Topic, err)
	}
	first, last, err := conn.ReadOffsets()
	conn.Close()
	if err != nil {
		return fmt.Errorf("partition %d of %s: %w", partition, c.Topic, err)
	}
	from := last
	if c.FromStart {
		from = first
	}
	if c.Until && from >= last {
		return nil
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers, Topic: c.Topic, Partition: partition, MinBytes: 1, MaxBytes: 10 << 20, MaxWait: 500 * time.Millisecond})
	defer r.Close()
	if err := r.SetOffset(from); err != nil {
		return err
	}
	for {
		m, err := r.ReadMessage(ctx)
		if errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("partition %d of %s: %w", partition, c.Topic, err)
		}
		if err := print(m); err != nil {
			return err
		}
		if c.Until && m.Offset+1 >= last {
			return nil
		}
	}
}

func partitionsOf(ctx context.Context, broker, topic string) ([]int, error) {
	conn, err := kafka.DialContext(ctx, "tcp", broker)
	if err != nil {
		return nil, fmt.Errorf("no Kafka broker answers at %s: %w", broker, err)
	}
	defer conn.Close()
	// Asked for all topics, a broker never creates one.
	all, err := conn.ReadPartitions()
	if err != nil {
		return nil, err
	}
	var partitions []int
	known := map[string]bool{}
	for _, p := range all {
		known[p.Topic] = true
		if p.Topic == topic {
			partitions = append(partitions, p.ID)
		}
	}
	if len(partitions) == 0 {
		names := make([]string, 0, len(known))
		for name := range known {
			if !strings.HasPrefix(name, "__") {
				names = append(names, name)
			}
		}
		return nil, fmt.Errorf("there is no topic %q; there are: %s", topic, strings.Join(sorted(names), ", "))
	}
	return partitions, nil
}

func line(m kafka.Message) tailLine {
	l := tailLine{Partition: m.Partition, Offset: m.Offset, Time: m.Time.UTC(), Key: string(m.Key)}
	if len(m.Headers) > 0 {
		l.Headers = make(map[string]string, len(m.Headers))
		for _, h := range m.Headers {
			l.Headers[h.Key] = string(h.Value)
		}
	}
	switch {
	case json.Valid(m.Value):
		l.Value = json.RawMessage(m.Value)
	case utf8.Valid(m.Value):
		l.Value = string(m.Value)
	default:
		l.Value = m.Value // base64
	}
	return l
}
