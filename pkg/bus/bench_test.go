package bus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"masar.local/pkg/bus"
)

// The benchmarks come in pairs: what the bus does, and the bare client doing the
// least that could be called the same, on one broker and in one run. The ratio
// is what counts.

const benchKeys = 500

func benchMessages(topic string, n int) []bus.Message {
	msgs := make([]bus.Message, n)
	value := make([]byte, 300) // an event of Masar
	for i := range msgs {
		msgs[i] = bus.Message{
			Topic: topic, Key: fmt.Appendf(nil, "01J9Z%021d", i%benchKeys), Value: value,
			Headers: []bus.Header{{"ce_id", []byte("01J9ZC4XV0M8T5H2R3B6N7K8P9")}, {"ce_type", []byte("masar.candidates.v1.StageEntered")}, {"content-type", []byte("application/json")}},
		}
	}
	return msgs
}

const benchPartitions = 8

func BenchmarkConsume(b *testing.B) {
	cl := startEmbedded(b)
	c := newClient(b, cl)
	topic := newTopic(b, c, benchPartitions)
	const stock = 50_000
	if err := c.Publish(b.Context(), benchMessages(topic, stock)...); err != nil {
		b.Fatal(err)
	}
	// Each pass reads the whole topic.
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			var n atomic.Int64
			var wg sync.WaitGroup
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			for p := range benchPartitions {
				wg.Go(func() {
					r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{cl.addr}, Topic: topic, Partition: p, MaxWait: 10 * time.Millisecond, QueueCapacity: 64})
					defer r.Close()
					for {
						if _, err := r.FetchMessage(ctx); err != nil {
							return
						}
						if n.Add(1) == stock {
							cancel()
						}
					}
				})
			}
			wg.Wait()
		}
		b.ReportMetric(float64(b.N)*stock/b.Elapsed().Seconds(), "msgs/s")
	})
	b.Run("bus", func(b *testing.B) {
		for b.Loop() {
			var n atomic.Int64
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			err := c.Consume(ctx, bus.Consumer{Group: unique("g"), Topics: []string{topic}, Handle: func(context.Context, bus.Message) error {
				if n.Add(1) == stock {
					cancel()
				}
				return nil
			}})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*stock/b.Elapsed().Seconds(), "msgs/s")
	})
}

func BenchmarkPublish(b *testing.B) {
	cl := startEmbedded(b)
	c := newClient(b, cl)
	topic := newTopic(b, c, benchPartitions)
	w := &kafka.Writer{Addr: kafka.TCP(cl.addr), Topic: topic, RequiredAcks: kafka.RequireAll, Balancer: &kafka.Hash{}, BatchTimeout: 2 * time.Millisecond, BatchSize: 2000}
	b.Cleanup(func() { _ = w.Close() })
	for _, callers := range []int{1, 64} {
		for _, size := range []int{1, 500} {
			msgs := benchMessages(topic, size)
			bare := make([]kafka.Message, size)
			for i, m := range msgs {
				bare[i] = kafka.Message{Key: m.Key, Value: m.Value, Time: time.Now()}
				for _, h := range m.Headers {
					bare[i].Headers = append(bare[i].Headers, kafka.Header{Key: h.Key, Value: h.Value})
				}
			}
			one := func(name string, publish func() error) {
				b.Run(fmt.Sprintf("callers=%d/messages=%d/%s", callers, size, name), func(b *testing.B) {
					b.SetParallelism(callers)
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							if err := publish(); err != nil {
								b.Error(err)
							}
						}
					})
					b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "msgs/s")
				})
			}
			one("bare", func() error { return w.WriteMessages(b.Context(), bare...) })
			one("bus", func() error { return c.Publish(b.Context(), msgs...) })
		}
	}
}
