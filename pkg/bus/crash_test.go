package bus_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"masar.local/pkg/bus"
)

const childConsumer = "MASAR_BUS_TEST_CONSUMER" // broker, topic, group, file

// TestMain becomes a consumer process when the environment says so: the crash
// test kills it.
func TestMain(m *testing.M) {
	if spec := os.Getenv(childConsumer); spec != "" {
		if err := consumeToFile(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// consumeToFile appends the value of every message to a file, as its effect,
// until stdin is closed.
func consumeToFile(spec string) error {
	var addr, topic, group, file string
	if _, err := fmt.Sscan(spec, &addr, &topic, &group, &file); err != nil {
		return err
	}
	out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	c, err := bus.New(bus.Config{Brokers: []string{addr}})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return c.Consume(ctx, bus.Consumer{Group: group, Topics: []string{topic}, Handle: func(_ context.Context, m bus.Message) error {
		_, err := fmt.Fprintf(out, "%s\n", m.Value) // one write: the page cache survives the process
		return err
	}})
}

func lines(t *testing.T, file string) (out []bus.Message) {
	t.Helper()
	f, err := os.Open(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		out = append(out, bus.Message{Value: append([]byte(nil), sc.Bytes()...)})
	}
	return out
}

// TestKilledConsumerLosesNothing: what it handled and did not commit comes
// again, what it did not handle comes, and the first deliveries of every key are
// in order.
func TestKilledConsumerLosesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic, group := newTopic(t, c, 4), unique("g")
		file := filepath.Join(t.TempDir(), "effects")
		const keys = 16
		each := 0
		publish := func(n int) {
			publishAll(t, c, topic, keys, each, each+n)
			each += n
		}
		start := func() (*exec.Cmd, io.Closer) {
			cmd := exec.Command(os.Args[0], "-test.run=^$")
			cmd.Env = append(os.Environ(), childConsumer+"="+fmt.Sprint(cl.addr, " ", topic, " ", group, " ", file))
			cmd.Stderr = os.Stderr
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			return cmd, in
		}
		publish(200)
		cmd, _ := start()
		eventually(t, "half of the effects", func() bool { return len(lines(t, file)) > keys*100 })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		before := len(lines(t, file))
		publish(50)

		// The group waits for the dead member until its session is over.
		cmd, in := start()
		distinct := func() int {
			seen := make(map[string]bool)
			for _, m := range lines(t, file) {
				seen[string(m.Value)] = true
			}
			return len(seen)
		}
		eventually(t, "all effects", func() bool { return distinct() == keys*each })
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the consumer did not end cleanly: %v", err)
		}
		all := lines(t, file)
		checkOrder(t, all, keys, each)
		t.Logf("killed after %d effects; %d messages, %d effects", before, keys*each, len(all))

		lags, err := c.Lag(t.Context(), group, topic)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lags {
			if l.Lag != 0 {
				t.Errorf("after a clean end: %+v", l)
			}
		}
	})
}
