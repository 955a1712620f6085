package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"masar.local/pkg/bus"
)

// publishCmd sends each line of a file as one message, byte for byte.
type publishCmd struct {
	target
	Topic  string   `arg:"" help:"Topic, such as masar.in.offers.v1."`
	File   string   `arg:"" help:"File of one message a line; - reads standard input." placeholder:"FILE.jsonl"`
	Key    string   `help:"JSON field of the line to use as the message key." placeholder:"FIELD"`
	Header []string `help:"Header of every message, name=value (repeatable)." placeholder:"NAME=VALUE"`
}

// maxLine is the longest message that publish sends, in bytes; the embedded
// broker takes no more either.
const maxLine = 1 << 20

func (c publishCmd) Run(ctx context.Context) error {
	headers, err := c.headers()
	if err != nil {
		return err
	}
	in, err := openInput(c.File)
	if err != nil {
		return err
	}
	defer in.Close()
	client, err := c.bus()
	if err != nil {
		return err
	}
	defer client.Close()

	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	var batch []bus.Message
	sent, line := 0, 0
	flush := func() error {
		if err := client.Publish(ctx, batch...); err != nil {
			return fmt.Errorf("after %d messages: %w", sent, err)
		}
		sent += len(batch)
		batch = batch[:0]
		return nil
	}
	for lines.Scan() {
		line++
		value := bytes.TrimSpace(lines.Bytes())
		if len(value) == 0 {
			continue
		}
		key, err := c.key(value)
		if err != nil {
			return fmt.Errorf("line %d: %w (%d messages were sent before)", line, err, sent)
		}
		batch = append(batch, bus.Message{Topic: c.Topic, Key: key, Value: bytes.Clone(value), Headers: headers})
		if len(batch) == 500 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d bytes; %d messages were sent before", line+1, maxLine, sent)
	}
	if lines.Err() != nil {
		return lines.Err()
	}
	if len(batch) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	fmt.Printf("%d messages published to %s\n", sent, c.Topic)
	return nil
}

func (c publishCmd) headers() ([]bus.Header, error) {
	var headers []bus.Header
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--header %q is not name=value", h)
		}
		headers = append(headers, bus.Header{Key: name, Value: []byte(value)})
	}
	return headers, nil
}

func (c publishCmd) key(value []byte) ([]byte, error) {
	if c.Key == "" {
		return nil, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil {
		return nil, fmt.Errorf("is not a JSON object, so --key %s cannot be read", c.Key)
	}
	raw, ok := fields[c.Key]
	if !ok {
		return nil, fmt.Errorf("has no field %q for --key", c.Key)
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []byte(text), nil
	}
	return raw, nil
}

// bus returns a Kafka client for the platform's broker.
func (t target) bus() (*bus.Client, error) {
	broker, err := t.broker()
	if err != nil {
		return nil, err
	}
	return bus.New(bus.Config{Brokers: strings.Split(broker, ","), ClientID: "masar-cli"})
}

// openInput opens a file, or standard input for "-".
func openInput(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(name)
}
