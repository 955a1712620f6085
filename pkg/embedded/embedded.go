// Package embedded runs the Kafka broker of a single-machine installation:
// franz-go's kfake with a data directory, made safe.
package embedded

import (
	"context"
	"errors"
	"log/slog"
)

// Config says where the broker keeps its data and listens.
type Config struct {
	Dir            string       // data directory; created when absent, locked while the broker runs
	Addr           string       // loopback listen address, e.g. "127.0.0.1:9092"; port 0 takes a free one
	Log            *slog.Logger // default: discards
	RetentionBytes int64        // bytes kept per partition; default 1 GiB
	MaxFrame       int          // largest request in bytes; default 16 MiB
}

// Broker is a running embedded broker.
type Broker struct{ addr string }

// Start opens the data directory and starts the broker. It runs until Close.
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	return nil, errors.New("embedded: not built yet")
}

// Addr is the address that Kafka clients connect to.
func (b *Broker) Addr() string { return b.addr }

// Close stops the broker and syncs its files.
func (b *Broker) Close() error { return nil }
