package telemetry

// Every metric and attribute name that Masar emits. Prometheus turns dots into
// underscores and adds the unit and, for counters, "_total":
// http.server.request.duration in seconds is http_server_request_duration_seconds.

// Metrics of HTTP, by the stable semantic conventions.
const (
	HTTPServerDuration = "http.server.request.duration" // s, histogram
)

// Attributes of HTTP.
const (
	HTTPMethod = "http.request.method"
	HTTPRoute  = "http.route" // the pattern, never the address: that holds ids
	HTTPStatus = "http.response.status_code"
	URLScheme  = "url.scheme"
	ErrorType  = "error.type"
)

// Metrics and attributes of documents, by the stable semantic conventions.
const (
	DBDuration   = "db.client.operation.duration" // s, histogram
	DBSystem     = "db.system.name"
	DBCollection = "db.collection.name"
	DBOperation  = "db.operation.name"
)

// Metrics and attributes of messages. The conventions are still in development
// (semconv 1.44): when they change, they change here.
const (
	MessagingDuration        = "messaging.client.operation.duration" // s, histogram
	MessagingSent            = "messaging.client.sent.messages"      // counter
	MessagingConsumed        = "messaging.client.consumed.messages"  // counter
	MessagingProcessDuration = "messaging.process.duration"          // s, histogram
	MessagingSystem          = "messaging.system"
	MessagingDestination     = "messaging.destination.name"
	MessagingPartition       = "messaging.destination.partition.id"
	MessagingGroup           = "messaging.consumer.group.name"
	MessagingOperation       = "messaging.operation.name"
	MessagingOperationType   = "messaging.operation.type"
	MessagingBatchCount      = "messaging.batch.message_count"
	MessagingOffset          = "messaging.kafka.offset"
)

// Metrics of our own.
const (
	OutboxPending    = "masar.outbox.pending"         // documents with events that wait, gauge
	OutboxAge        = "masar.outbox.age"             // s since the oldest of them was written, gauge
	OutboxPublished  = "masar.outbox.published"       // events published, counter
	ConsumerLag      = "masar.consumer.lag"           // messages not yet handled, gauge
	ConsumerTimeLag  = "masar.consumer.time_lag"      // s that the group is behind, gauge
	ConsumerRetries  = "masar.consumer.retries"       // counter
	ConsumerOffset   = "masar.consumer.committed"     // committed offset of a partition, gauge
	ConsumerInFlight = "masar.consumer.in_flight"     // messages fetched and not yet handled, gauge
	DeadLetters      = "masar.consumer.dead_letters"  // counter
	Ready            = "masar.ready"                  // 1 while ready, by check, gauge
	Messages         = "masar.notifications.messages" // messages to people that were sent or given up, counter
	MessageWait      = "masar.notifications.wait"     // s from planning a message to its acceptance, histogram
	FiguresBehind    = "masar.figures.behind"         // s since when not everything published on a topic is in the figures, gauge
	FiguresMissing   = "masar.figures.missing"        // events of a topic that never came, gauge
	FiguresWrong     = "masar.figures.wrong"          // figures that the last recount found to be wrong, gauge
	FiguresVerified  = "masar.figures.verified"       // s since the last recount, gauge
	PathwaysLost     = "masar.pathways.lost"          // d that people waited longer than the stage's reference, by scheme and stage, gauge
	KPIPrefix        = "masar.kpi."                   // + an indicator's code: its present value, gauge
	CodePrefix       = "masar.code."                  // + a dimension: what its codes are called, 1, of the KPI endpoint only
	ShortageClass    = "masar.shortage.class"         // 1 to 5, of an occupation in a zone, of the KPI endpoint only
	ShortageIndex    = "masar.shortage.index"         // what the class is made of, as above
	ScarcityPrefix   = "masar.scarcity."              // + a number of the last campaign, by occupation, as above
	ReviewPrefix     = "masar.review."                // + frozen or now: an indicator in the last review's period, as above
	BehindMilestone  = KPIPrefix + "behind_milestone" // what is lacking of the last milestone that is due, gauge
)

// Attributes of our own. None may name or number a person. The indicators' gauges
// have their dimensions besides (scheme, sector, sex ...), which their definitions
// name.
const (
	Collection = "masar.collection"
	Reason     = "masar.reason"
	CheckName  = "masar.check"

	// Of what pathways lose: dimensions, by the codes of their scheme.
	Scheme = "scheme"
	Stage  = "stage"

	// Of the indicators' gauges, beside their dimensions.
	Budget        = "budget"    // code of a delay budget
	Window        = "window"    // of a burn rate, such as "30d"
	MilestoneDate = "date"      // on which a milestone is to be reached
	Indicator     = "indicator" // its code

	// Of messages to people.
	MessageStatus   = "masar.message.status"
	MessageTemplate = "masar.message.template"
	MessageLanguage = "masar.message.language"
	MessageChannel  = "masar.message.channel"
	MessageID       = "masar.message.id"      // of spans only
	MessageAttempt  = "masar.message.attempt" // of spans only
)
