package embedded

import (
	"fmt"
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	maxPartitions = 1024 // of one topic: kfake creates them one by one, in memory
	guardRuns     = 64
)

// topicName is Kafka's own rule; kfake takes any name.
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// guardRequests puts checks before some of kfake's handlers.
func (b *Broker) guardRequests(cfg Config) {
	b.guard(kmsg.Produce, func(req kmsg.Request) (kmsg.Response, error) {
		return b.refuseRecords(req.(*kmsg.ProduceRequest), 4*cfg.MaxFrame)
	})
	b.guard(kmsg.CreateTopics, func(req kmsg.Request) (kmsg.Response, error) {
		return refuseTopics(req.(*kmsg.CreateTopicsRequest)), nil
	})
	b.guard(kmsg.CreatePartitions, func(req kmsg.Request) (kmsg.Response, error) {
		return refusePartitions(req.(*kmsg.CreatePartitionsRequest)), nil
	})
	b.guard(kmsg.JoinGroup, func(req kmsg.Request) (kmsg.Response, error) {
		return refuseJoin(req.(*kmsg.JoinGroupRequest)), nil
	})
	if cfg.AutoCreate {
		b.guard(kmsg.Metadata, func(req kmsg.Request) (kmsg.Response, error) {
			b.createAsked(req.(*kmsg.MetadataRequest))
			return nil, nil
		})
	}
}

// guard runs check before kfake handles a request of the kind; a response that
// is not nil is the answer, an error ends the connection. kfake remembers the last request of every connection
// that ever met a control function, so the function is renewed now and then to
// let go of them.
func (b *Broker) guard(key kmsg.Key, check func(kmsg.Request) (kmsg.Response, error)) {
	runs := 0 // control functions run one at a time
	b.cluster.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if runs++; runs == guardRuns {
			b.cluster.DropControl()
			b.guard(key, check)
		} else {
			b.cluster.KeepControl()
		}
		resp, err := check(req)
		return resp, err, resp != nil || err != nil
	})
}

// refuseRecords answers a request with a record batch that no consumer could
// read. None of its batches is stored.
func (b *Broker) refuseRecords(req *kmsg.ProduceRequest, limit int) (kmsg.Response, error) {
	var bad error
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if err := checkBatch(p.Records, limit); err != nil && bad == nil {
				bad = fmt.Errorf("topic %s partition %d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	if bad == nil {
		return nil, nil
	}
	b.log.Warn("embedded broker: refusing records", "reason", bad.Error())
	if req.Acks == 0 { // the client expects no answer
		return nil, bad
	}
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition = p.Partition
			rp.ErrorCode = kerr.InvalidRecord.Code
			rp.ErrorMessage = kmsg.StringPtr(bad.Error())
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

// createAsked creates the unknown topics of a metadata request. kfake's own
// auto-creation is not written to disk, and the messages of such a topic are
// gone after a crash; CreateTopic writes first.
func (b *Broker) createAsked(req *kmsg.MetadataRequest) {
	if req.Version >= 4 && !req.AllowAutoTopicCreation {
		return
	}
	for _, t := range req.Topics {
		if t.Topic == nil || validName(*t.Topic) != nil {
			continue
		}
		if b.cluster.LeaderFor(*t.Topic, 0) >= 0 {
			continue
		}
		if err := b.cluster.CreateTopic(*t.Topic, 0, nil); err != nil {
			b.log.Warn("embedded broker: create topic on request", "topic", *t.Topic, "error", err)
		}
	}
}

// refuseTopics returns the answer to a request that may not pass, or nil. One
// bad topic refuses the whole request, so that nothing is half done.
func refuseTopics(req *kmsg.CreateTopicsRequest) kmsg.Response {
	reasons := make(map[string]error)
	for _, t := range req.Topics {
		if err := validTopic(t); err != nil {
			reasons[t.Topic] = err
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic = t.Topic
		rt.ErrorCode = kerr.PolicyViolation.Code
		reason := "another topic of the request was refused"
		if err := reasons[t.Topic]; err != nil {
			reason = err.Error()
		}
		rt.ErrorMessage = kmsg.StringPtr(reason)
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// refuseJoin answers a member that offers a protocol twice: kfake would count it
// as two members and panic when it finds none that all support.
func refuseJoin(req *kmsg.JoinGroupRequest) kmsg.Response {
	offered := make(map[string]bool)
	for _, p := range req.Protocols {
		if offered[p.Name] {
			resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
			resp.ErrorCode = kerr.InconsistentGroupProtocol.Code
			return resp
		}
		offered[p.Name] = true
	}
	return nil
}

func refusePartitions(req *kmsg.CreatePartitionsRequest) kmsg.Response {
	bad := false
	for _, t := range req.Topics {
		bad = bad || t.Count > maxPartitions
	}
	if !bad {
		return nil
	}
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewCreatePartitionsResponseTopic()
		rt.Topic = t.Topic
		rt.ErrorCode = kerr.PolicyViolation.Code
		rt.ErrorMessage = kmsg.StringPtr(fmt.Sprintf("the embedded broker allows at most %d partitions", maxPartitions))
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func validName(name string) error {
	if name == "." || name == ".." || !topicName.MatchString(name) {
		return fmt.Errorf("topic name %.60q: use 1 to 249 letters, digits, '.', '_' or '-'", name)
	}
	return nil
}

func validTopic(t kmsg.CreateTopicsRequestTopic) error {
	if err := validName(t.Topic); err != nil {
		return err
	}
	if t.NumPartitions > maxPartitions || len(t.ReplicaAssignment) > maxPartitions {
		return fmt.Errorf("topic %s: the embedded broker allows at most %d partitions", t.Topic, maxPartitions)
	}
	for _, c := range t.Configs {
		value := ""
		if c.Value != nil {
			value = *c.Value
		}
		if !allowedConfig(c.Name, value) {
			return fmt.Errorf("topic %s: the embedded broker does not support %s=%.40s (retention is by size, for all topics together; there is no compaction)", t.Topic, c.Name, value)
		}
	}
	return nil
}

// allowedConfig reports whether a topic may carry this configuration. Time
// retention and compaction can lose data or restart offsets at 0 in kfake.
func allowedConfig(name, value string) bool {
	switch name {
	case "cleanup.policy":
		return value == "delete"
	case "retention.ms":
		return value == "-1"
	case "compression.type", "max.message.bytes", "message.timestamp.type", "min.insync.replicas":
		return true
	}
	return false
}
