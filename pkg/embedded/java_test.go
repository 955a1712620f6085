package embedded

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestJavaClient uses the tools of Apache Kafka, which are what most of the
// world's producers and consumers are made of, against the embedded broker. The
// jars come with tests/servers/with-kafka.sh.
func TestJavaClient(t *testing.T) {
	jars := os.Getenv("MASAR_TEST_KAFKA_JARS")
	if jars == "" {
		t.Skip("MASAR_TEST_KAFKA_JARS is not set: run tests/servers/with-kafka.sh go test ./pkg/embedded")
	}
	dir := t.TempDir()
	b := start(t, func(c *Config) { c.Dir = dir })
	run := func(input, tool string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "java", append([]string{"-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", jars + "/*", "org.apache.kafka.tools." + tool, "--bootstrap-server", b.Addr()}, args...)...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", tool, err, out)
		}
		return string(out)
	}
	run("", "TopicCommand", "--create", "--topic", "java", "--partitions", "3")
	if out := run("", "TopicCommand", "--describe", "--topic", "java"); !strings.Contains(out, "PartitionCount: 3") {
		t.Errorf("describe: %s", out)
	}
	const n = 500
	var in strings.Builder
	for i := range n {
		fmt.Fprintf(&in, "key%d:value%d\n", i%7, i)
	}
	for _, compression := range []string{"none", "zstd"} { // idempotent and acks=all by default
		run(in.String(), "ConsoleProducer", "--topic", "java", "--compression-codec", compression, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
	}
	out := run("", "consumer.ConsoleConsumer", "--topic", "java", "--group", "g", "--from-beginning", "--max-messages", fmt.Sprint(2*n), "--timeout-ms", "60000")
	if got := strings.Count(out, "value"); got != 2*n {
		t.Errorf("the consumer read %d of %d messages:\n%.2000s", got, 2*n, out)
	}
	if out := run("", "consumer.group.ConsumerGroupCommand", "--describe", "--group", "g"); !strings.Contains(out, "java") {
		t.Errorf("group: %s", out)
	}
	var there int
	for p := range 3 {
		there += len(readAll(t, b.Addr(), "java", p))
	}
	if there != 2*n {
		t.Errorf("%d of %d messages are there", there, 2*n)
	}
	if out := run("", "TopicCommand", "--list"); !strings.Contains(out, "java") {
		t.Errorf("list: %s", out)
	}
	run("", "TopicCommand", "--delete", "--topic", "java")
}
