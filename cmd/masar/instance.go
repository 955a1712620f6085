package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// target is how every command but `up` finds the platform and its right to
// speak: through the data directory of a `masar up` on this machine, or by
// address and token.
type target struct {
	Data  string `default:"data" env:"MASAR_DATA_DIR" help:"Data directory of the running instance." placeholder:"DIR"`
	URL   string `env:"MASAR_URL" help:"Address of a platform elsewhere, such as https://masar.example.org." placeholder:"URL"`
	Token string `env:"MASAR_TOKEN" help:"Access token (default: one of the local identity)." placeholder:"TOKEN"`
	Kafka string `env:"MASAR_KAFKA_BROKERS" help:"Kafka broker (default: the running instance's)." placeholder:"ADDR"`
}

// instance is what a running `masar up` leaves in its data directory.
type instance struct {
	PID     int       `json:"pid"`
	URL     string    `json:"url"`
	Kafka   string    `json:"kafka"`
	Started time.Time `json:"started"`
}

func instanceFile(data string) string { return filepath.Join(data, "run.json") }

// write is atomic, so that no reader sees half a file.
func (i instance) write(data string) error {
	b, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	tmp := instanceFile(data) + ".tmp"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, instanceFile(data))
}

// errNoInstance is wrapped by find when nothing runs on the data directory.
var errNoInstance = errors.New("no platform runs on the data directory")

// find reads the instance that runs on the data directory.
func (t target) find() (instance, error) {
	hint := fmt.Sprintf("start one with `masar up --data %s`, or name one with --url and --token", t.Data)
	b, err := os.ReadFile(instanceFile(t.Data))
	if errors.Is(err, os.ErrNotExist) {
		return instance{}, fmt.Errorf("%w %s: %s", errNoInstance, t.Data, hint)
	}
	if err != nil {
		return instance{}, err
	}
	var i instance
	if err := json.Unmarshal(b, &i); err != nil {
		return instance{}, fmt.Errorf("%s is damaged (%w): stop and start `masar up`", instanceFile(t.Data), err)
	}
	if process, err := os.FindProcess(i.PID); err != nil || process.Signal(syscall.Signal(0)) != nil {
		return i, fmt.Errorf("%w %s any more (it ended without a word; nothing acknowledged is lost): %s", errNoInstance, t.Data, hint)
	}
	return i, nil
}

// client returns an API client that speaks with the given role, unless a token
// was given.
func (t target) client(role access.Role, opts ...api.ClientOption) (*api.Client, error) {
	base := t.URL
	if base == "" {
		i, err := t.find()
		if err != nil {
			return nil, err
		}
		base = i.URL
	}
	if t.Token != "" {
		return api.NewClient(base, access.Static(t.Token), opts...), nil
	}
	if t.URL != "" {
		return nil, errors.New("--url needs --token (or MASAR_TOKEN)")
	}
	issuer, err := access.OpenIssuer(t.Data, base, time.Now)
	if err != nil {
		return nil, err
	}
	return api.NewClient(base, issuer.Source(access.Principal{Subject: "local", Role: role}, time.Hour), opts...), nil
}

// broker returns the Kafka address.
func (t target) broker() (string, error) {
	if t.Kafka != "" {
		return t.Kafka, nil
	}
	if t.URL != "" {
		return "", errors.New("--url needs --kafka (or MASAR_KAFKA_BROKERS) for topics")
	}
	i, err := t.find()
	return i.Kafka, err
}
