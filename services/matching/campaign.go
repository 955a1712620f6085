package matching

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
)

// A campaign proposes whom to place where, for many offers at once, so that the
// posts are used best; people turn its proposals into decisions, it decides
// nothing itself. It is worked out in the background, by one replica at a time,
// from inputs that are recorded before: whoever works it out, and however often,
// comes to the same bytes.

// States of a campaign. The last four are final.
const (
	CampaignQueued     = "queued"
	CampaignRunning    = "running"
	CampaignDone       = "done"
	CampaignInfeasible = "infeasible" // the quotas cannot hold together
	CampaignCancelled  = "cancelled"
	CampaignFailed     = "failed"
)

// Objectives of a campaign.
const (
	// ObjectivePlacements fills as many posts as possible; of all ways to do so,
	// takes one with the highest total score; and of those, one that keeps the most
	// of the previous campaign.
	ObjectivePlacements = "placements"
	// ObjectiveStable is the stable matching that is best for every candidate: no
	// candidate and employer would both rather have each other.
	ObjectiveStable = "stable"
)

// Campaign is the document of a campaign.
type Campaign struct {
	Name        string            `bson:"name"`
	By          string            `bson:"by"` // subject of the token
	Fingerprint string            `bson:"fingerprint"`
	Objective   string            `bson:"objective"`
	Select      CampaignSelection `bson:"select"`
	Quotas      []Quota           `bson:"quotas"`
	Previous    string            `bson:"previous"`
	Seed        string            `bson:"seed"`
	Rankings    *Blob             `bson:"rankings,omitempty"` // of []Ranking
	Status      string            `bson:"status"`
	Attempt     int               `bson:"attempt"` // how often somebody began to work it out
	Progress    CampaignProgress  `bson:"progress"`
	Inputs      *Blob             `bson:"inputs,omitempty"` // of campaignInputs, recorded by the first attempt
	Result      *Blob             `bson:"result,omitempty"` // of Outcome
	Summary     *CampaignSummary  `bson:"summary,omitempty"`
	Conflict    *Conflict         `bson:"conflict,omitempty"` // of an infeasible one
	Failure     string            `bson:"failure,omitempty"`  // of a failed one, for those who run the platform
	CreatedAt   time.Time         `bson:"created_at"`
	StartedAt   time.Time         `bson:"started_at"`
	FinishedAt  time.Time         `bson:"finished_at"`
}

// CampaignSelection says which offers and candidates take part. Empty lists are
// no limit. It is cut to the scope of who started the campaign.
type CampaignSelection struct {
	OfferIDs         []string `bson:"offer_ids"`
	OfferSchemes     []string `bson:"offer_schemes"`
	OfferRegions     []string `bson:"offer_regions"`
	Governorates     []string `bson:"governorates"`
	CandidateSchemes []string `bson:"candidate_schemes"` // with an open pathway in one of these
}

// CampaignProgress says how far a campaign is.
type CampaignProgress struct {
	Phase string `bson:"phase"`
	Done  int64  `bson:"done"`
	Total int64  `bson:"total"`
}

// Phases of a campaign.
const (
	PhaseInputs   = "inputs"   // offers and people are read
	PhasePairs    = "pairs"    // the pairs that meet every condition are found and scored
	PhaseSolving  = "solving"  // the optimum is sought, and verified
	PhaseScarcity = "scarcity" // what more would bring is worked out
	PhaseStoring  = "storing"
)

// CampaignSummary is the result in numbers.
type CampaignSummary struct {
	Offers     int    `json:"offers" bson:"offers"`
	Posts      int64  `json:"posts" bson:"posts"`           // left to fill
	Filled     int64  `json:"filled" bson:"filled"`         // of them
	Candidates int    `json:"candidates" bson:"candidates"` // eligible for an offer at least
	Pairs      int    `json:"pairs" bson:"pairs"`           // that meet every condition
	Score      int64  `json:"score" bson:"score"`           // total, thousandths
	Kept       int64  `json:"kept" bson:"kept"`             // placements of the previous campaign
	Verified   string `json:"verified" bson:"verified"`     // the verifier's word: see verifiedFlow
}

// What the verifier says.
const (
	verifiedFlow   = "optimal"    // feasible, and the prices prove that no plan is better
	verifiedStable = "stable"     // feasible, and no pair would rather have each other
	verifiedCut    = "infeasible" // the proof was checked that no plan meets the quotas
)

// Ranking is how an employer orders candidates for an offer: groups of equals,
// the best first. Who is not in it comes after those who are, by score.
type Ranking struct {
	Offer      string     `json:"offer"`
	Candidates [][]string `json:"candidates"`
}

const byStatus = "status"

var campaignsSchema = docstore.Schema{Collection: "campaigns", Indexes: []docstore.Index{
	{Name: byCreated, Fields: []docstore.Field{{Path: "created_at", Kind: docstore.Time}}},
	list(byStatus, "status"),
}}

// campaigns is the use cases of campaigns, and the work of their background.
type campaigns struct {
	*service
	engine docstore.Engine
	docs   *docstore.Collection[Campaign]
	blobs  blobs
	log    *slog.Logger
	holder string
	poke   chan struct{} // there may be something to do
	// reached is told of each phase; only tests set it.
	reached func(ctx context.Context, phase string)
	cache   resultCache
	bases   baseCache
}

func openCampaigns(ctx context.Context, s *service, e docstore.Engine, log *slog.Logger, holder string) (*campaigns, error) {
	if err := e.Ensure(ctx, campaignsSchema, blobsSchema); err != nil {
		return nil, err
	}
	return &campaigns{
		service: s, engine: e, docs: docstore.NewCollection[Campaign](e, campaignsSchema), blobs: blobs{e}, log: log,
		holder: holder, poke: make(chan struct{}, 1), reached: func(context.Context, string) {},
		bases: baseCache{turn: make(chan struct{}, 1)},
	}, nil
}

func noCampaign() error { return api.NotFound("There is no such campaign.") }

// Start records a campaign that is to be worked out. The same command again gets
// the campaign that it made.
func (c *campaigns) Start(ctx context.Context, req CampaignRequest) (CampaignView, error) {
	who := access.From(ctx)
	body := Campaign{
		Name: req.Name, By: who.Subject, Fingerprint: api.Fingerprint(api.Body(ctx)), Objective: req.Objective,
		Quotas: req.Quotas, Previous: req.Previous, Seed: req.Seed, Status: CampaignQueued, CreatedAt: c.clock(),
	}
	var err error
	if body.Select, err = c.selection(ctx, who, req); err != nil {
		return CampaignView{}, err
	}
	if req.Previous != "" {
		if before, err := c.get(ctx, req.Previous); err != nil || before.Body.Result == nil {
			return CampaignView{}, api.Invalid(api.Field{Path: "previous", Code: "unknown", Reason: "the id of a campaign that is done expected"})
		}
	}
	id := api.NewID(ctx)
	if body.Seed == "" {
		body.Seed = id
	}
	if len(req.Rankings) > 0 {
		if who.Role == access.Manager {
			for _, r := range req.Rankings {
				for _, group := range r.Candidates {
					for i := range group {
						group[i], _ = c.names.unmask(managerNames, group[i])
					}
				}
			}
		}
		if body.Rankings, err = c.blobs.writeJSON(ctx, id+"/rankings", req.Rankings); err != nil {
			return CampaignView{}, err
		}
	}
	d := &docstore.Doc[Campaign]{ID: id, Body: body}
	if err := c.docs.Insert(ctx, d); errors.Is(err, docstore.ErrExists) {
		if d, err = c.get(ctx, id); err != nil {
			return CampaignView{}, err
		}
		if d.Body.Fingerprint != body.Fingerprint {
			return CampaignView{}, api.KeyReused()
		}
	} else if err != nil {
		return CampaignView{}, err
	}
	select {
	case c.poke <- struct{}{}:
	default:
	}
	return c.view(d, true), nil
}

// managerNames is whose pseudonyms managers see: they steer by figures and see no
// person, but may tell one from another.
const managerNames = "managers"

// namer gives the id under which a principal sees a candidate.
func (c *campaigns) namer(who access.Principal) func(candidate string) string {
	if who.Role == access.Manager {
		return func(id string) string { return c.names.mask(managerNames, id) }
	}
	return func(id string) string { return id }
}

// selection checks what a campaign is to be about and cuts it to the scope of who
// asks.
func (c *campaigns) selection(ctx context.Context, who access.Principal, req CampaignRequest) (CampaignSelection, error) {
	var fields []api.Field
	cut := func(path string, wanted, allowed []string) []string {
		if len(wanted) == 0 {
			return allowed
		}
		for _, code := range wanted {
			if len(allowed) > 0 && !slices.Contains(allowed, code) {
				fields = append(fields, api.Field{Path: path, Code: "scope", Reason: "within your scope expected: " + strings.Join(allowed, ", ")})
			}
		}
		return wanted
	}
	sel := CampaignSelection{
		OfferIDs: req.Offers.IDs, OfferRegions: req.Offers.Regions,
		OfferSchemes:     cut("offers.schemes", req.Offers.Schemes, who.Schemes),
		Governorates:     cut("candidates.governorates", req.Candidates.Governorates, who.Governorates),
		CandidateSchemes: cut("candidates.schemes", req.Candidates.Schemes, who.Schemes),
	}
	for _, id := range sel.OfferIDs {
		d, err := c.offers.Get(ctx, id)
		switch {
		case errors.Is(err, docstore.ErrNotFound) || err == nil && !sees(who, d.Body.EmployerID, d.Body.Scheme):
			fields = append(fields, api.Field{Path: "offers.ids", Code: "unknown", Reason: "there is no such offer, or not for you: " + id})
		case err != nil:
			return sel, err
		}
	}
	if len(fields) > 0 {
		return sel, api.Invalid(fields...)
	}
	return sel, nil
}

func (c *campaigns) get(ctx context.Context, id string) (*docstore.Doc[Campaign], error) {
	d, err := c.docs.Get(ctx, id)
	if errors.Is(err, docstore.ErrNotFound) {
		return nil, noCampaign()
	}
	return d, err
}

// List lists campaigns, newest first.
func (c *campaigns) List(ctx context.Context, req CampaignsRequest) (api.Page[CampaignView], error) {
	docs, next, err := c.docs.Find(ctx, docstore.Query{Index: byCreated, Desc: true, After: req.Cursor, Limit: req.Limit})
	if err != nil {
		return api.Page[CampaignView]{}, err
	}
	items := []CampaignView{}
	for _, d := range docs {
		items = append(items, c.view(d, false))
	}
	return api.NewPage(items, next), nil
}

// Get shows one campaign.
func (c *campaigns) Get(ctx context.Context, req CampaignID) (CampaignView, error) {
	d, err := c.get(ctx, req.ID)
	if err != nil {
		return CampaignView{}, err
	}
	return c.view(d, false), nil
}

// Cancel ends a campaign that is not finished. Whoever works on it stops soon.
func (c *campaigns) Cancel(ctx context.Context, req CampaignID) (CampaignView, error) {
	d, err := c.docs.Update(ctx, req.ID, func(d *docstore.Doc[Campaign]) error {
		switch d.Body.Status {
		case CampaignQueued, CampaignRunning:
			d.Body.Status, d.Body.FinishedAt = CampaignCancelled, c.clock()
			return nil
		case CampaignCancelled:
			return docstore.Unchanged
		}
		return api.Conflict("The campaign is finished already: it is %s.", d.Body.Status)
	})
	if errors.Is(err, docstore.ErrNotFound) {
		return CampaignView{}, noCampaign()
	}
	if err != nil {
		return CampaignView{}, err
	}
	return c.view(d, false), nil
}

// outcome gives the result of a campaign that has one.
func (c *campaigns) outcome(ctx context.Context, id string) (*docstore.Doc[Campaign], *Outcome, error) {
	d, err := c.get(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if d.Body.Result == nil {
		return nil, nil, api.Conflict("The campaign has no result: it is %s.", d.Body.Status)
	}
	if out := c.cache.get(id); out != nil {
		return d, out, nil
	}
	var out Outcome
	if err := c.blobs.readJSON(ctx, d.Body.Result, &out); err != nil {
		return nil, nil, err
	}
	c.cache.put(id, &out)
	return d, &out, nil
}

// Assignments lists the placements of a campaign: those of people and offers in
// the scope of who asks. As CSV they come all at once.
func (c *campaigns) Assignments(ctx context.Context, req AssignmentsRequest) (api.Page[Assignment], error) {
	who, none := access.From(ctx), api.Page[Assignment]{}
	_, out, err := c.outcome(ctx, req.ID)
	if err != nil {
		return none, err
	}
	rows, name := []Assignment{}, c.namer(who)
	for _, a := range out.Assignments {
		if who.Covers(a.Governorate, a.Scheme) && (req.Offer == "" || a.OfferID == req.Offer) {
			a.CandidateID = name(a.CandidateID)
			rows = append(rows, a)
		}
	}
	if req.Format == formatCSV {
		return api.NewPage(rows, ""), nil
	}
	from, err := offsetOf(req.Cursor, len(rows))
	if err != nil {
		return none, err
	}
	to, next := min(len(rows), from+req.Limit), ""
	if to < len(rows) {
		next = strconv.Itoa(to)
	}
	return api.NewPage(rows[from:to], next), nil
}

// Scarcity says what is scarce.
func (c *campaigns) Scarcity(ctx context.Context, req CampaignID) (ScarcityView, error) {
	_, out, err := c.outcome(ctx, req.ID)
	if err != nil {
		return ScarcityView{}, err
	}
	return scarcityView(req.ID, out), nil
}

// CampaignReplay says whether a campaign, worked out again from its recorded
// inputs, comes to the bytes that were stored.
type CampaignReplay struct {
	ID     string `json:"campaign_id"`
	Same   bool   `json:"same"`          // byte by byte
	Sum    string `json:"sha256"`        // of the result as it was stored
	Remade string `json:"sha256_remade"` // of the result as it was made now
	// Answer is the result as it was made now, byte by byte but for the line end;
	// managers, who see no person, do not get it.
	Answer json.RawMessage `json:"answer,omitempty"`
}

// Replay works a finished campaign out again, as it was, whatever has changed
// since.
func (c *campaigns) Replay(ctx context.Context, req CampaignID) (CampaignReplay, error) {
	d, err := c.get(ctx, req.ID)
	if err != nil {
		return CampaignReplay{}, err
	}
	if d.Body.Status != CampaignDone && d.Body.Status != CampaignInfeasible {
		return CampaignReplay{}, api.Conflict("The campaign has nothing to repeat: it is %s.", d.Body.Status)
	}
	unlock, err := c.bases.lock(ctx) // one at a time: it takes a machine's memory
	if err != nil {
		return CampaignReplay{}, err
	}
	defer unlock()
	var in campaignInputs
	if err := c.blobs.readJSON(ctx, d.Body.Inputs, &in); err != nil {
		return CampaignReplay{}, err
	}
	offers, people, err := c.recall(ctx, &in)
	if err != nil {
		return CampaignReplay{}, missing(err)
	}
	out, conflict, err := c.compute(ctx, &d.Body, &in, offers, people, func(string, int64, int64) {})
	if err != nil {
		return CampaignReplay{}, err
	}
	var answer any = out
	r := CampaignReplay{ID: d.ID}
	if conflict != nil {
		was, err := canonical(d.Body.Conflict)
		if err != nil {
			return r, err
		}
		answer, r.Sum = conflict, digest(was)
	} else if d.Body.Result != nil {
		r.Sum = d.Body.Result.SHA256
	}
	if r.Answer, err = canonical(answer); err != nil {
		return r, err
	}
	r.Remade = digest(r.Answer)
	if r.Same = r.Remade == r.Sum; access.From(ctx).Role == access.Manager {
		r.Answer = nil
	}
	return r, nil
}
