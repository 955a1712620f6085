package notifications

import (
	"masar.local/pkg/docstore"
)

// Collection is where the messages are.
const Collection = "messages"

// Indexes of the messages.
const (
	byTime            = "planned"
	byStatus          = "status"
	byCandidate       = "candidate"
	byCandidateStatus = "candidate_status"
	byDue             = "due"
)

var schema = docstore.Schema{
	Collection: Collection,
	Indexes: []docstore.Index{
		{Name: byTime, Fields: []docstore.Field{
			{Path: "planned_at", Kind: docstore.Time},
		}},
		{Name: byStatus, Fields: []docstore.Field{
			{Path: "status", Kind: docstore.String},
			{Path: "planned_at", Kind: docstore.Time},
		}},
		{Name: byCandidate, Fields: []docstore.Field{
			{Path: "candidate_id", Kind: docstore.String},
			{Path: "planned_at", Kind: docstore.Time},
		}},
		{Name: byCandidateStatus, Fields: []docstore.Field{
			{Path: "candidate_id", Kind: docstore.String},
			{Path: "status", Kind: docstore.String},
			{Path: "planned_at", Kind: docstore.Time},
		}},
		{Name: byDue, Fields: []docstore.Field{
			{Path: "status", Kind: docstore.String},
			{Path: "next_attempt_at", Kind: docstore.Time},
		}},
	},
}

// Messages is the collection of message documents in the store.
func Messages(store docstore.Engine) *docstore.Collection[Message] {
	return docstore.NewCollection[Message](store, schema)
}
