// Code generated from registry.yaml by go generate; DO NOT EDIT.

package telemetry

// HTTP. Names of OpenTelemetry's semantic conventions 1.44 (stable).
const (
	// HTTPServerDuration (histogram, s): Duration of HTTP requests that were answered.
	HTTPServerDuration = "http.server.request.duration"

	// HTTPMethod: the method; whatever is none is _OTHER.
	HTTPMethod = "http.request.method"
	// HTTPRoute: the pattern of the route, never the address: that holds ids; absent where no route fits.
	HTTPRoute = "http.route"
	// HTTPStatus: the status of the answer.
	HTTPStatus = "http.response.status_code"
	// URLScheme: how the request came.
	URLScheme = "url.scheme"
	// ErrorType: the class of the error, absent where there was none: of HTTP a status from 500 on or aborted, of documents and of messages one of a few words.
	ErrorType = "error.type"
)

// Documents. Names of OpenTelemetry's semantic conventions 1.44 (stable).
const (
	// DBDuration (histogram, s): Duration of operations on documents.
	DBDuration = "db.client.operation.duration"

	// DBSystem: the engine.
	DBSystem = "db.system.name"
	// DBCollection: the collection, never a document in it.
	DBCollection = "db.collection.name"
	// DBOperation: what was done, by docstore's own words.
	DBOperation = "db.operation.name"
)

// Messages of Kafka. Names of OpenTelemetry's semantic conventions 1.44 (development). When the conventions change, they change here.
const (
	// MessagingDuration (histogram, s): Duration of one Publish call.
	MessagingDuration = "messaging.client.operation.duration"
	// MessagingSent (counter, {message}): Messages acknowledged by the cluster, or refused (error.type).
	MessagingSent = "messaging.client.sent.messages"
	// MessagingConsumed (counter, {message}): Tries to handle a message.
	MessagingConsumed = "messaging.client.consumed.messages"
	// MessagingProcessDuration (histogram, s): Duration of one try to handle a message.
	MessagingProcessDuration = "messaging.process.duration"

	// MessagingSystem (of spans only): the broker's kind.
	MessagingSystem = "messaging.system"
	// MessagingDestination: the topic.
	MessagingDestination = "messaging.destination.name"
	// MessagingPartition: the number of the partition.
	MessagingPartition = "messaging.destination.partition.id"
	// MessagingGroup: the consumer group.
	MessagingGroup = "messaging.consumer.group.name"
	// MessagingOperation: what was done with the message.
	MessagingOperation = "messaging.operation.name"
	// MessagingOperationType (of spans only): the same in the words of the conventions.
	MessagingOperationType = "messaging.operation.type"
	// MessagingBatchCount (of spans only): how many messages one Publish call had.
	MessagingBatchCount = "messaging.batch.message_count"
	// MessagingOffset (of spans only): the offset of the message in its partition.
	MessagingOffset = "messaging.kafka.offset"
)

// Outbox and consumers. Names of Masar's own.
const (
	// OutboxPending (gauge, {document}): Documents with events that wait to be published.
	OutboxPending = "masar.outbox.pending"
	// OutboxAge (gauge, s): How long the oldest event has waited to be published.
	OutboxAge = "masar.outbox.age"
	// OutboxPublished (counter, {event}): Events published from the outbox.
	OutboxPublished = "masar.outbox.published"
	// ConsumerLag (gauge, {message}): Messages not yet handled in a partition of this member.
	ConsumerLag = "masar.consumer.lag"
	// ConsumerTimeLag (gauge, s): Age of the oldest message that is fetched and not handled.
	ConsumerTimeLag = "masar.consumer.time_lag"
	// ConsumerRetries (counter, {try}): Messages put back for another try.
	ConsumerRetries = "masar.consumer.retries"
	// ConsumerOffset (gauge, {message}): Committed offset of a partition of this member.
	ConsumerOffset = "masar.consumer.committed"
	// ConsumerInFlight (gauge, {message}): Messages fetched and not yet handled.
	ConsumerInFlight = "masar.consumer.in_flight"
	// DeadLetters (counter, {message}): Messages stored as dead letters.
	DeadLetters = "masar.consumer.dead_letters"

	// Collection: the collection whose events wait.
	Collection = "masar.collection"
)

// Readiness. Names of Masar's own.
const (
	// Ready (gauge): 1 while the check is passed.
	Ready = "masar.ready"

	// CheckName: the check, as /healthz/ready has it.
	CheckName = "masar.check"
)

// Messages to people. Names of Masar's own. How messages end, never to whom or what they say.
const (
	// Messages (counter, {message}): Messages to people, by how they ended.
	Messages = "masar.notifications.messages"
	// MessageWait (histogram, s): Time from planning a message to its acceptance by the carrier.
	MessageWait = "masar.notifications.wait"

	// Reason: why it was not sent; empty where it was.
	Reason = "masar.reason"
	// MessageStatus: how it ended.
	MessageStatus = "masar.message.status"
	// MessageTemplate: the kind of text; none tells of health or why somebody left.
	MessageTemplate = "masar.message.template"
	// MessageLanguage: the language of the text; empty where it was not asked for.
	MessageLanguage = "masar.message.language"
	// MessageChannel: what carried it; empty where nothing was tried.
	MessageChannel = "masar.message.channel"
	// MessageID (of spans only): the message, by a hash: only the service's own documents say whose it is.
	MessageID = "masar.message.id"
	// MessageAttempt (of spans only): which try it is.
	MessageAttempt = "masar.message.attempt"
)

// Matching. Names of Masar's own. How matching stands now. Every replica says the same: take the greatest. Of a campaign's fill the figures tell (masar.kpi.matching_fill, masar.scarcity.).
const (
	// MatchingCampaigns (gauge, {campaign}): Campaigns, by status.
	MatchingCampaigns = "masar.matching.campaigns"
	// MatchingAwaited (gauge, {decision}): Decisions that people are awaited to make about a candidate for an offer, by the step that was reached.
	MatchingAwaited = "masar.matching.awaited"
	// MatchingAwaitedAge (gauge, s): How long the first of these decisions has been awaited; 0 when none is.
	MatchingAwaitedAge = "masar.matching.awaited_age"
	// MatchingImpactRatio (gauge, {ratio}): Lowest selection rate of a group in the last campaign by that of the group compared with; absent where the report hides it.
	MatchingImpactRatio = "masar.matching.impact_ratio"

	// CampaignStatus: where the campaign is.
	CampaignStatus = "masar.campaign.status"
	// DecisionStep: the decision that was made last, or proposed where a campaign proposes and nobody has decided.
	DecisionStep = "masar.decision.step"
	// FairnessAttribute: by what the groups differ; no group is named.
	FairnessAttribute = "masar.fairness.attribute"
)

// Whether the figures are right. Names of Masar's own.
const (
	// FiguresBehind (gauge, s): How old the newest moment is up to which everything published on a topic is in the figures.
	FiguresBehind = "masar.figures.behind"
	// FiguresMissing (gauge, {event}): Events of a topic that have never come.
	FiguresMissing = "masar.figures.missing"
	// FiguresWrong (gauge, {figure}): Figures that the last recount of the stored facts found to be wrong.
	FiguresWrong = "masar.figures.wrong"
	// FiguresVerified (gauge, s): Time since the last recount of the stored facts.
	FiguresVerified = "masar.figures.verified"
)

// Figures. Names of Masar's own. The present values, one instrument for each indicator and each cut that its definition declares; docs/indicators.md has them, docs/boards.md says how names are made. The dimensions of a cut are attributes too (scheme, sector, sex ...), as definitions name them; cuts by what describes a person leave out small cells.
const (
	// KPIPrefix (gauge, {of the definition}): + an indicator's code: its present value, whole and by its cuts, its target and its milestones.
	KPIPrefix = "masar.kpi."
	// BehindMilestone (gauge, {of the indicator's unit}): What an indicator lacks of the last milestone whose day has passed.
	BehindMilestone = "masar.kpi.behind_milestone"
	// DelayBudgetRemaining (gauge, {share}): Part of the delay budget that is left, below 0 when it is overspent.
	DelayBudgetRemaining = "masar.kpi.delay_budget_remaining"
	// DelayBudgetBurnRate (gauge, {times}): How many times faster than it may the delay budget is spent.
	DelayBudgetBurnRate = "masar.kpi.delay_budget_burn_rate"
	// PathwaysLost (gauge, d): Days that people stayed at a stage beyond its reference, all together.
	PathwaysLost = "masar.pathways.lost"

	// Scheme: the scheme's code.
	Scheme = "scheme"
	// Stage: the stage's code.
	Stage = "stage"
	// Budget: the delay budget's code, of the programme's file.
	Budget = "budget"
	// Window: the days over which a burn rate is taken.
	Window = "window"
	// MilestoneDate: the day on which the milestone is to be reached.
	MilestoneDate = "date"
	// Indicator: the indicator's code.
	Indicator = "indicator"
)

// Beside the figures, on the KPI endpoint. Names of Masar's own. /api/indicators/prometheus answers these beside the figures, each as it is now; they are not at /metrics.
const (
	// CodePrefix (gauge, of the KPI endpoint only): + a dimension: 1, with what each of its codes is called.
	CodePrefix = "masar.code."
	// ShortageClass (gauge, of the KPI endpoint only): How short an occupation is of people in a zone, 1 to 5.
	ShortageClass = "masar.shortage.class"
	// ShortageIndex (gauge, of the KPI endpoint only): The index that the class of shortage is made of.
	ShortageIndex = "masar.shortage.index"
	// ScarcityPrefix (gauge, of the KPI endpoint only): + posts, filled, candidates, unplaced, one_more_candidate or one_more_post: of the last campaign of matching, by occupation.
	ScarcityPrefix = "masar.scarcity."
	// ReviewPrefix (gauge, of the KPI endpoint only): + frozen or now: an indicator, whole, in the last review, or the same period's figure now.
	ReviewPrefix = "masar.review."
)
