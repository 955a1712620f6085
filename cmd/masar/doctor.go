package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
	"masar.local/pkg/access"
	"masar.local/pkg/event"
	masarruntime "masar.local/pkg/runtime"
)

// doctorCmd looks at everything an operator would look at first, and says what
// to do about what is wrong. Exit 1 when something is.
type doctorCmd struct {
	target
	Ready []string `help:"Only ask these processes whether they get on with their work, and wait a little for it (repeatable); needs no token." placeholder:"URL"`
	Reach bool     `help:"Only ask, from here, what the services' settings name (MASAR_KAFKA_BROKERS, MASAR_STORE_URI_CANDIDATES and the other services', MASAR_OIDC_ISSUER, MASAR_OTLP_ENDPOINT, MASAR_SMTP_URL ...)."`

	Cluster   bool     `help:"Check a Kubernetes cluster before the chart is installed in it; uses kubectl."`
	Context   string   `help:"With --cluster: context of the kubeconfig (default: the current one)." placeholder:"NAME"`
	Namespace string   `short:"n" default:"masar" help:"With --cluster: where the chart is to be installed (default: masar)." placeholder:"NAME"`
	Values    []string `short:"f" sep:"none" help:"With --cluster: values as for helm install -f (repeatable). There is no --set: write such values into a file." placeholder:"FILE"`
	Image     string   `help:"With --cluster: image of masar for the pod that looks from inside (default: the values')." placeholder:"REF"`
}

// finding is the result of one check: an empty problem means all is well.
type finding struct{ what, detail, problem string }

func (c doctorCmd) Run(ctx context.Context) error {
	limit := 20 * time.Second
	if c.Cluster {
		limit = time.Minute // a pod has to start
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var all []finding
	switch {
	case c.Cluster:
		values, err := readValues(c.Values)
		if err != nil {
			return err
		}
		all = checkCluster(ctx, kubectl{c.Context, c.Namespace}, values, c.Image)
		if parent.Err() != nil {
			return errors.New("stopped before the end") // what is wrong now may be so for that
		}
	case c.Reach:
		all = reach(ctx, os.Environ())
	case len(c.Ready) > 0:
		for _, base := range c.Ready {
			all = append(all, waitReady(ctx, base)...)
		}
	case c.URL == "":
		all = append(all, checkData(c.Data)...)
		fallthrough
	default:
		all = append(all, c.checkPlatform(ctx)...)
		all = append(all, c.checkBroker(ctx)...)
	}

	bad := 0
	for _, f := range all {
		mark := "ok  "
		if f.problem != "" {
			mark, bad = "FAIL", bad+1
		}
		fmt.Printf("%s  %-18s %s\n", mark, f.what, strings.TrimSpace(f.detail+" "+f.problem))
	}
	if bad > 0 {
		fmt.Printf("%d of %d checks failed\n", bad, len(all))
		return errFailed
	}
	fmt.Printf("all %d checks passed (masar %s, %s %s/%s)\n", len(all), version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// leastFree is the free space below which an operator should act: SQLite and
// the broker stop writing when the disk is full.
const leastFree = 1 << 30

func checkData(data string) []finding {
	info, err := os.Stat(data)
	if err != nil {
		return []finding{{"data directory", data, "cannot be read: " + err.Error()}}
	}
	out := []finding{{what: "data directory", detail: data}}
	if info.Mode().Perm()&0o077 != 0 {
		out[0].problem = fmt.Sprintf("is open to others (%v): chmod 700 %s", info.Mode().Perm(), data)
	}
	if key, err := os.Stat(filepath.Join(data, "identity.key")); err == nil && key.Mode().Perm()&0o077 != 0 {
		out = append(out, finding{"identity key", key.Name(), fmt.Sprintf("is open to others (%v): chmod 600", key.Mode().Perm())})
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(data, &fs); err == nil {
		free := uint64(fs.Bsize) * fs.Bavail
		f := finding{what: "free space", detail: fmt.Sprintf("%.1f GiB", float64(free)/(1<<30))}
		if free < leastFree {
			f.problem = "is little: make room before the stores stop writing"
		}
		out = append(out, f)
	}
	return out
}

func (c doctorCmd) checkPlatform(ctx context.Context) []finding {
	if c.URL != "" {
		return c.checkAnswers(ctx, c.URL)
	}
	i, err := c.find()
	if err != nil {
		return []finding{{"running instance", "", err.Error()}}
	}
	f := finding{what: "running instance", detail: fmt.Sprintf("pid %d since %s", i.PID, i.Started.Format(time.RFC3339))}
	return append([]finding{f}, c.checkAnswers(ctx, i.URL)...)
}

func (c doctorCmd) checkAnswers(ctx context.Context, base string) []finding {
	out := checkReady(ctx, base)
	client, err := c.client(access.Operator)
	if err != nil {
		return append(out, finding{"token", "", err.Error()})
	}
	token := finding{what: "token", detail: "accepted"}
	var freshness any
	if err := client.Do(ctx, http.MethodGet, "/api/indicators/freshness", nil, &freshness); err != nil {
		token.problem = "not accepted: " + err.Error()
	}
	return append(out, token)
}

// waitReady asks until the process is ready, for as long as there is time: after a
// start or a move it may need some.
func waitReady(ctx context.Context, base string) []finding {
	for {
		// Of the last answer, not of the end of the time.
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		out := checkReady(once, base)
		cancel()
		if out[0].problem == "" {
			return out
		}
		select {
		case <-ctx.Done():
			return out
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// checkReady asks a process whether it gets on with its work, and for the time.
func checkReady(ctx context.Context, base string) []finding {
	ready := finding{what: "readiness", detail: base + "/healthz/ready"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ready.detail, nil)
	if err != nil {
		return []finding{{"address", base, err.Error()}}
	}
	before := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		ready.problem = "does not answer: " + err.Error()
		return []finding{ready}
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		ready.problem = fmt.Sprintf("is %d", res.StatusCode)
		var report masarruntime.Report
		if json.NewDecoder(res.Body).Decode(&report) == nil {
			ready.problem += ": " + report.Reason
			for _, check := range report.Checks {
				if !check.OK {
					ready.problem += fmt.Sprintf(" %s: %s;", check.Name, check.Reason)
				}
			}
		}
	}
	out := []finding{ready}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		f := finding{what: "clock", detail: "in step with the platform's"}
		if skew := before.Sub(date).Abs(); skew > 5*time.Second {
			f.problem = fmt.Sprintf("differs from the platform's by %s: set the clocks by NTP", skew.Round(time.Second))
		}
		out = append(out, f)
	}
	return out
}

func (c doctorCmd) checkBroker(ctx context.Context) []finding {
	broker, err := c.broker()
	if err != nil {
		return nil // said already
	}
	f := finding{what: "Kafka", detail: broker}
	conn, err := kafka.DialContext(ctx, "tcp", strings.Split(broker, ",")[0])
	if err != nil {
		f.problem = "does not answer: " + err.Error()
		return []finding{f}
	}
	defer conn.Close()
	all, err := conn.ReadPartitions()
	if err != nil {
		f.problem = "does not list its topics: " + err.Error()
		return []finding{f}
	}
	have := map[string][]int{}
	for _, p := range all {
		have[p.Topic] = append(have[p.Topic], p.ID)
	}
	for _, topic := range []string{event.TopicCandidates, event.TopicEmployers, event.TopicMatching, event.TopicNotifications} {
		if len(have[topic]) == 0 {
			f.problem += " topic " + topic + " is missing;"
		}
	}
	out := []finding{f}
	dead := finding{what: "dead letters", detail: "none"}
	var counts []string
	for topic, partitions := range have {
		if !strings.HasSuffix(topic, ".dlq") {
			continue
		}
		var n int64
		for _, id := range partitions {
			leader, err := kafka.DialLeader(ctx, "tcp", strings.Split(broker, ",")[0], topic, id)
			if err != nil {
				continue
			}
			if first, last, err := leader.ReadOffsets(); err == nil {
				n += last - first
			}
			leader.Close()
		}
		if n > 0 {
			counts = append(counts, fmt.Sprintf("%d in %s", n, topic))
		}
	}
	if len(counts) > 0 {
		dead.detail = strings.Join(sorted(counts), ", ")
		dead.problem = "(read them with `masar tail TOPIC --from-start --until-end`; the header dlq_reason says why)"
	}
	return append(out, dead)
}
