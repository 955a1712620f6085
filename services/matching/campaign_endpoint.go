package matching

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
)

// CampaignEndpoints are the use cases of campaigns as typed endpoints.
type CampaignEndpoints struct {
	Start       api.Endpoint[CampaignRequest, CampaignView]
	List        api.Endpoint[CampaignsRequest, api.Page[CampaignView]]
	Get         api.Endpoint[CampaignID, CampaignView]
	Cancel      api.Endpoint[CampaignID, CampaignView]
	Assignments api.Endpoint[AssignmentsRequest, any] // api.Page[Assignment], or assignmentsCSV
	Scarcity    api.Endpoint[CampaignID, ScarcityView]
	WhatIf      api.Endpoint[WhatIfRequest, WhatIfAnswer]
	Replay      api.Endpoint[CampaignID, CampaignReplay]
}

func (c *campaigns) endpoints() CampaignEndpoints {
	return CampaignEndpoints{
		Start: c.Start, List: c.List, Get: c.Get, Cancel: c.Cancel, Scarcity: c.Scarcity, WhatIf: c.WhatIf, Replay: c.Replay,
		Assignments: func(ctx context.Context, r AssignmentsRequest) (any, error) {
			rows, err := c.Assignments(ctx, r)
			switch {
			case err != nil:
				return nil, err
			case r.Format == formatCSV:
				return assignmentsCSV{rows.Items}, nil
			}
			return rows, nil
		},
	}
}

// maxRequest bounds the body of a campaign: employers' rankings are long.
const maxRequest = 8 << 20

// solveTimeout bounds an answer that solves a campaign again.
const solveTimeout = 5 * time.Minute

// mountCampaigns adds the routes of campaigns.
func mountCampaigns(r *api.Router, e CampaignEndpoints) {
	api.Handle(r, "POST /api/matching/campaigns", access.CampaignsRun, e.Start, api.MaxBody(maxRequest))
	api.Handle(r, "GET /api/matching/campaigns", access.CampaignsRead, e.List)
	api.Handle(r, "GET /api/matching/campaigns/{id}", access.CampaignsRead, e.Get)
	api.Handle(r, "POST /api/matching/campaigns/{id}/cancel", access.CampaignsRun, e.Cancel, api.OptionalBody())
	api.Handle(r, "GET /api/matching/campaigns/{id}/assignments", access.CampaignsRead, e.Assignments, api.Produces("application/json", "text/csv"))
	api.Handle(r, "GET /api/matching/campaigns/{id}/scarcity", access.CampaignsRead, e.Scarcity)
	api.Handle(r, "POST /api/matching/campaigns/{id}/what-if", access.CampaignsRead, e.WhatIf, api.Timeout(solveTimeout))
	api.Handle(r, "GET /api/matching/campaigns/{id}/replay", access.CampaignsRead, e.Replay, api.Timeout(solveTimeout))
}

// CampaignRequest starts a campaign.
type CampaignRequest struct {
	Name       string            `json:"name"`
	Offers     OfferSelector     `json:"offers"`     // default: all that are open
	Candidates CandidateSelector `json:"candidates"` // default: all who are eligible
	Objective  string            `json:"objective"`  // ObjectivePlacements (default) or ObjectiveStable
	Quotas     []Quota           `json:"quotas"`     // only with ObjectivePlacements
	Previous   string            `json:"previous"`   // a campaign whose assignments are kept where equal
	Seed       string            `json:"seed"`       // orders equals; default: the campaign's id
	Rankings   []Ranking         `json:"rankings"`   // only with ObjectiveStable
}

// OfferSelector says which open offers take part: those named, or those of the
// schemes and regions.
type OfferSelector struct {
	IDs     []string `json:"ids"`
	Schemes []string `json:"schemes"`
	Regions []string `json:"regions"`
}

// CandidateSelector says which candidates take part: those of the governorates,
// with an open pathway in one of the schemes.
type CandidateSelector struct {
	Governorates []string `json:"governorates"`
	Schemes      []string `json:"schemes"`
}

const maxName = 200 // bytes

// Validate implements api.Validator.
func (r *CampaignRequest) Validate() error {
	var fields []api.Field
	fault := func(path, code, reason string) {
		fields = append(fields, api.Field{Path: path, Code: code, Reason: reason})
	}
	if r.Name = strings.TrimSpace(r.Name); r.Name == "" || len(r.Name) > maxName {
		fault("name", "length", "a name of 1 to 200 bytes expected, without personal data")
	}
	if len(r.Seed) > maxSeed {
		fault("seed", "length", "at most 128 bytes expected")
	}
	if len(r.Offers.IDs) > 0 && len(r.Offers.Schemes)+len(r.Offers.Regions) > 0 {
		fault("offers", "either", "either ids, or schemes and regions")
	}
	schemes := func(path string, codes []string) {
		for i, code := range codes {
			if !slices.Contains(reference.Schemes().Codes(), code) {
				fault(fmt.Sprintf("%s[%d]", path, i), "unknown", "one of "+strings.Join(reference.Schemes().Codes(), ", "))
			}
		}
	}
	schemes("offers.schemes", r.Offers.Schemes)
	schemes("candidates.schemes", r.Candidates.Schemes)
	for i, code := range r.Candidates.Governorates {
		if !isGovernorate(code) {
			fault(fmt.Sprintf("candidates.governorates[%d]", i), "unknown", "a code such as TN-71 expected")
		}
	}
	switch r.Objective {
	case "":
		r.Objective = ObjectivePlacements
	case ObjectivePlacements, ObjectiveStable:
	default:
		fault("objective", "unknown", "placements or stable expected")
	}
	if r.Objective == ObjectiveStable && len(r.Quotas) > 0 {
		fault("quotas", "objective", "quotas only go with the objective placements: a matching that they bend is not stable")
	}
	if r.Objective == ObjectivePlacements && len(r.Rankings) > 0 {
		fault("rankings", "objective", "rankings only go with the objective stable")
	}
	seen := map[string]bool{}
	for i, q := range r.Quotas {
		path := fmt.Sprintf("quotas[%d].", i)
		switch {
		case q.By == QuotaGovernorate && !isGovernorate(q.Code):
			fault(path+"code", "unknown", "a code such as TN-71 expected")
		case q.By == QuotaScheme && !slices.Contains(reference.Schemes().Codes(), q.Code):
			fault(path+"code", "unknown", "one of "+strings.Join(reference.Schemes().Codes(), ", "))
		case q.By != QuotaGovernorate && q.By != QuotaScheme:
			fault(path+"by", "unknown", "governorate or scheme expected")
		case seen[q.By+q.Code]:
			fault(path+"code", "repeated", "one quota for each governorate or scheme")
		}
		seen[q.By+q.Code] = true
		if q.Min < 0 || q.Min > maxQuota {
			fault(path+"min", "range", "0 to 10000000 expected")
		}
		if q.Max != nil && (*q.Max < q.Min || *q.Max > maxQuota) {
			fault(path+"max", "range", "at least min, at most 10000000 expected")
		}
	}
	ranked := map[string]bool{}
	for i, ranking := range r.Rankings {
		if ranking.Offer == "" || ranked[ranking.Offer] {
			fault(fmt.Sprintf("rankings[%d].offer", i), "repeated", "the id of an offer expected, each once")
		}
		ranked[ranking.Offer] = true
		who := map[string]bool{}
		for _, group := range ranking.Candidates {
			for _, id := range group {
				if who[id] {
					fault(fmt.Sprintf("rankings[%d].candidates", i), "repeated", "each candidate once expected")
				}
				who[id] = true
			}
		}
	}
	if len(fields) > 0 {
		return api.Invalid(fields...)
	}
	return nil
}

const maxQuota = 10_000_000

func isGovernorate(code string) bool {
	return slices.ContainsFunc(reference.Governorates(), func(g reference.Governorate) bool { return g.Code == code })
}

// CampaignsRequest lists campaigns.
type CampaignsRequest struct{ api.Paging }

// CampaignID names a campaign.
type CampaignID struct {
	ID string `path:"id"`
}

// CampaignView is a campaign as it is shown.
type CampaignView struct {
	ID         string            `json:"campaign_id"`
	Name       string            `json:"name"`
	State      string            `json:"status"`
	LabelFR    string            `json:"label_fr"`
	LabelAR    string            `json:"label_ar"`
	Progress   ProgressView      `json:"progress"`
	Objective  string            `json:"objective"`
	Offers     OfferSelector     `json:"offers"`
	Candidates CandidateSelector `json:"candidates"`
	Quotas     []Quota           `json:"quotas"`
	Previous   string            `json:"previous,omitempty"`
	Seed       string            `json:"seed"`
	Summary    *CampaignSummary  `json:"summary,omitempty"`
	Reasons    []Sentence        `json:"reasons,omitempty"` // why the quotas cannot hold
	InputsSHA  string            `json:"inputs_sha256,omitempty"`
	ResultSHA  string            `json:"result_sha256,omitempty"`
	CreatedAt  time.Time         `json:"created_at"`
	StartedAt  time.Time         `json:"started_at,omitzero"`
	FinishedAt time.Time         `json:"finished_at,omitzero"`

	started bool
}

// Sentence is a reason in both languages.
type Sentence struct {
	FR string `json:"reason_fr"`
	AR string `json:"reason_ar"`
}

// ProgressView says how far a campaign is.
type ProgressView struct {
	Phase   string `json:"phase,omitempty"`
	LabelFR string `json:"label_fr,omitempty"`
	LabelAR string `json:"label_ar,omitempty"`
	Done    int64  `json:"done"`
	Total   int64  `json:"total"`
}

// Status is 202 for a campaign that was just started: it goes on without us.
func (v CampaignView) Status() int {
	if v.started {
		return 202
	}
	return 200
}

// Location is where a campaign that was just started is found.
func (v CampaignView) Location() string {
	if v.started {
		return "/api/matching/campaigns/" + v.ID
	}
	return ""
}

func (c *campaigns) view(d *docstore.Doc[Campaign], started bool) CampaignView {
	b := &d.Body
	label := campaignText(b.Status)
	v := CampaignView{
		ID: d.ID, Name: b.Name, State: b.Status, LabelFR: label.FR, LabelAR: label.AR, Objective: b.Objective,
		Offers:     OfferSelector{orEmpty(b.Select.OfferIDs), orEmpty(b.Select.OfferSchemes), orEmpty(b.Select.OfferRegions)},
		Candidates: CandidateSelector{orEmpty(b.Select.Governorates), orEmpty(b.Select.CandidateSchemes)},
		Quotas:     orEmpty(b.Quotas), Previous: b.Previous, Seed: b.Seed, Summary: b.Summary,
		CreatedAt: b.CreatedAt.UTC(), StartedAt: b.StartedAt.UTC(), FinishedAt: b.FinishedAt.UTC(), started: started,
	}
	if b.Progress.Phase != "" {
		phase := campaignText("phase_" + b.Progress.Phase)
		v.Progress = ProgressView{b.Progress.Phase, phase.FR, phase.AR, b.Progress.Done, b.Progress.Total}
	}
	if b.Inputs != nil {
		v.InputsSHA = b.Inputs.SHA256
	}
	if b.Result != nil {
		v.ResultSHA = b.Result.SHA256
	}
	if b.Conflict != nil {
		v.Reasons = b.Conflict.reasons()
	}
	return v
}

// orEmpty makes no list an empty one, for JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// formatCSV is the format of assignments for spreadsheets.
const formatCSV = "csv"

// AssignmentsRequest lists the placements of a campaign.
type AssignmentsRequest struct {
	api.Paging
	ID     string   `path:"id"`
	Offer  string   `query:"offer"`
	Format string   `query:"format"` // "json" (default) or "csv", which has all
	Accept []string `header:"Accept"`
}

// Validate implements api.Validator.
func (r *AssignmentsRequest) Validate() error {
	switch r.Format {
	case "":
		if r.Format = "json"; len(r.Accept) > 0 && strings.HasPrefix(r.Accept[0], "text/csv") {
			r.Format = formatCSV
		}
	case "json", formatCSV:
	default:
		return api.Invalid(api.Field{Path: "query.format", Code: "unknown", Reason: "json or csv expected"})
	}
	return nil
}

// offsetOf reads the cursor of a page of a result, which never changes: how many
// rows come before.
func offsetOf(cursor string, rows int) (int, error) {
	if cursor == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(cursor)
	if err != nil || n < 0 || n > rows {
		return 0, docstore.ErrInvalidCursor
	}
	return n, nil
}

// assignmentsCSV writes assignments as CSV (RFC 4180, UTF-8, with a header).
type assignmentsCSV struct{ rows []Assignment }

// ContentType says that the first line is a header.
func (assignmentsCSV) ContentType() string { return "text/csv; charset=utf-8; header=present" }

// Stream writes the lines.
func (a assignmentsCSV) Stream(w io.Writer) error {
	to := csv.NewWriter(w)
	to.UseCRLF = true
	if err := to.Write([]string{"offer_id", "candidate_id", "governorate", "scheme", "score", "kept"}); err != nil {
		return err
	}
	for _, r := range a.rows {
		// Ids, codes and numbers: a spreadsheet takes none of them for a formula.
		if err := to.Write([]string{r.OfferID, r.CandidateID, r.Governorate, r.Scheme, strconv.Itoa(int(r.Score)), strconv.FormatBool(r.Kept)}); err != nil {
			return err
		}
	}
	to.Flush()
	return to.Error()
}

// ScarcityView says what more would bring most.
type ScarcityView struct {
	ID          string           `json:"campaign_id"`
	Unfilled    int64            `json:"unfilled"` // posts
	Offers      []OutcomeOffer   `json:"offers"`   // those where one more brings something
	Quotas      []QuotaView      `json:"quotas"`
	Occupations []OccupationView `json:"occupations"` // the most unfilled posts first
	Conditions  []ConditionView  `json:"conditions"`  // the most placements first
}

// QuotaView is a quota and what it costs.
type QuotaView struct {
	OutcomeQuota
	ReasonFR string `json:"reason_fr"`
	ReasonAR string `json:"reason_ar"`
}

// OccupationView is the scarcity of an occupation in words.
type OccupationView struct {
	OccupationScarcity
	ReasonFR string `json:"reason_fr"`
	ReasonAR string `json:"reason_ar"`
}

// ConditionView is the scarcity of a condition in words.
type ConditionView struct {
	ConditionScarcity
	ReasonFR string `json:"reason_fr"`
	ReasonAR string `json:"reason_ar"`
}

func scarcityView(id string, out *Outcome) ScarcityView {
	v := ScarcityView{ID: id, Unfilled: out.Summary.Posts - out.Summary.Filled, Offers: []OutcomeOffer{}, Quotas: []QuotaView{}, Occupations: []OccupationView{}, Conditions: []ConditionView{}}
	for _, o := range out.Offers {
		if o.OneMorePost > 0 || o.OneMoreCandidate > 0 {
			v.Offers = append(v.Offers, o)
		}
	}
	for _, q := range out.Quotas {
		t := quotaReason(q)
		v.Quotas = append(v.Quotas, QuotaView{q, t.FR, t.AR})
	}
	for _, o := range out.Occupations {
		t := occupationReason(o)
		v.Occupations = append(v.Occupations, OccupationView{o, t.FR, t.AR})
	}
	slices.SortStableFunc(v.Occupations, func(a, b OccupationView) int {
		return int((b.Posts - b.Filled) - (a.Posts - a.Filled))
	})
	for _, c := range out.Conditions {
		t := conditionReason(c)
		v.Conditions = append(v.Conditions, ConditionView{c, t.FR, t.AR})
	}
	return v
}

// WhatIfRequest asks how a campaign would end in a changed world.
type WhatIfRequest struct {
	ID      string         `path:"id" json:"-"`
	Changes []WhatIfChange `json:"changes"`
}

// WhatIfChange is one change; exactly one of its members is given.
type WhatIfChange struct {
	AddLanguage   *AddLanguage `json:"add_language,omitempty"`
	AddLicence    *AddLicence  `json:"add_licence,omitempty"`
	WithdrawOffer string       `json:"withdraw_offer,omitempty"`
	AddPosts      *AddPosts    `json:"add_posts,omitempty"`
}

// AddLanguage gives count people a language at a level.
type AddLanguage struct {
	Code        string `json:"code"`
	CEFR        string `json:"cefr"`
	Governorate string `json:"governorate,omitempty"` // default: people of any
	Count       int64  `json:"count"`
}

// AddLicence gives count people a driving licence.
type AddLicence struct {
	Category    string `json:"category"`
	Governorate string `json:"governorate,omitempty"` // default: people of any
	Count       int64  `json:"count"`
}

// AddPosts gives an offer of the campaign count more posts.
type AddPosts struct {
	Offer string `json:"offer"`
	Count int64  `json:"count"`
}

const (
	maxChanges = 20
	maxAdded   = 100_000
)

// Validate implements api.Validator.
func (r *WhatIfRequest) Validate() error {
	var fields []api.Field
	if len(r.Changes) < 1 || len(r.Changes) > maxChanges {
		fields = append(fields, api.Field{Path: "changes", Code: "length", Reason: "1 to 20 changes expected"})
	}
	for i, c := range r.Changes {
		path := fmt.Sprintf("changes[%d]", i)
		fault := func(member, code, reason string) {
			fields = append(fields, api.Field{Path: path + member, Code: code, Reason: reason})
		}
		amount := func(member string, governorate string, count int64) {
			if governorate != "" && !isGovernorate(governorate) {
				fault(member+".governorate", "unknown", "a code such as TN-71 expected")
			}
			if count < 1 || count > maxAdded {
				fault(member+".count", "range", "1 to 100000 expected")
			}
		}
		given := 0
		if l := c.AddLanguage; l != nil {
			given++
			if _, ok := reference.CEFR(l.CEFR); !ok || !slices.Contains(reference.CEFRLevels(), l.CEFR) {
				fault(".add_language.cefr", "unknown", "one of "+strings.Join(reference.CEFRLevels(), ", "))
			}
			if l.Code == "" {
				fault(".add_language.code", "required", "the code of a language expected, such as fr")
			}
			amount(".add_language", l.Governorate, l.Count)
		}
		if l := c.AddLicence; l != nil {
			given++
			if category, ok := reference.Licence(l.Category); !ok || category != l.Category {
				fault(".add_licence.category", "unknown", "a category of driving licence expected, such as C")
			}
			amount(".add_licence", l.Governorate, l.Count)
		}
		if c.WithdrawOffer != "" {
			given++
		}
		if c.AddPosts != nil {
			given++
			amount(".add_posts", "", c.AddPosts.Count)
		}
		if given != 1 {
			fault("", "either", "one of add_language, add_licence, withdraw_offer and add_posts expected")
		}
	}
	if len(fields) > 0 {
		return api.Invalid(fields...)
	}
	return nil
}

// WhatIfAnswer is how a campaign would end.
type WhatIfAnswer struct {
	ID       string       `json:"campaign_id"`
	Feasible bool         `json:"feasible"` // the quotas can hold
	Verified string       `json:"verified"` // the verifier's word
	Before   WhatIfTotals `json:"before"`
	After    WhatIfTotals `json:"after"`
	// More is how many more are placed than in the campaign; fewer when negative.
	More        int64          `json:"more"`
	ScoreChange int64          `json:"score_change"`
	Changes     []WhatIfEffect `json:"changes"`
	Gained      WhatIfPeople   `json:"gained"` // placed now, not in the campaign
	Lost        WhatIfPeople   `json:"lost"`   // the other way round
	Moved       int            `json:"moved"`  // placed in both, with another offer
	ReasonFR    string         `json:"reason_fr"`
	ReasonAR    string         `json:"reason_ar"`
	Reasons     []Sentence     `json:"reasons,omitempty"` // why the quotas cannot hold
}

// WhatIfTotals are the totals of a plan.
type WhatIfTotals struct {
	Posts      int64 `json:"posts"`
	Placements int64 `json:"placements"`
	Score      int64 `json:"score"`
}

// WhatIfEffect is what one change comes to.
type WhatIfEffect struct {
	WhatIfChange
	// Used is how many of what was added find a use, Placements what they bring;
	// for offers and posts, see the totals.
	Used       int64         `json:"used"`
	Placements int64         `json:"placements"`
	Trained    *WhatIfPeople `json:"trained,omitempty"` // who would get it
	ReasonFR   string        `json:"reason_fr"`
	ReasonAR   string        `json:"reason_ar"`
}

// WhatIfPeople are people and the offers that they are placed with: those in the
// scope of who asks, at most 1000 of them.
type WhatIfPeople struct {
	Count  int            `json:"count"` // all, listed or not
	People []WhatIfPerson `json:"people"`
}

// WhatIfPerson is a candidate and an offer.
type WhatIfPerson struct {
	CandidateID string `json:"candidate_id"`
	Governorate string `json:"governorate"`
	OfferID     string `json:"offer_id"`
}

const listed = 1000

func (l *WhatIfPeople) add(t *task, who access.Principal, name func(string) string, person, offer int32) {
	l.Count++
	p, o := &t.people[person], &t.offers[offer]
	if len(l.People) < listed && who.Covers(p.person.Governorate, o.demand.Scheme) {
		l.People = append(l.People, WhatIfPerson{name(p.id), p.person.Governorate, o.id})
	}
}

func (x *hypothesis) view(id string, changes []WhatIfChange, who access.Principal, name func(string) string) WhatIfAnswer {
	none := WhatIfPeople{People: []WhatIfPerson{}}
	a := WhatIfAnswer{
		ID: id, Feasible: x.conflict == nil, Verified: verifiedFlow, Changes: []WhatIfEffect{}, Gained: none, Lost: none,
		Before: WhatIfTotals{sum(x.before.net.posts), x.before.placed, x.before.total},
	}
	if x.conflict != nil {
		a.Verified, a.Reasons = verifiedCut, x.conflict.reasons()
		t := campaignText("whatif_infeasible")
		a.ReasonFR, a.ReasonAR = t.FR, t.AR
		return a
	}
	a.After = WhatIfTotals{sum(x.task.posts), x.after.placed, x.after.total}
	a.More, a.ScoreChange = a.After.Placements-a.Before.Placements, a.After.Score-a.Before.Score
	effects := x.effects
	for _, c := range changes {
		e := WhatIfEffect{WhatIfChange: c}
		if _, _, _, trains := c.training(); trains {
			e.Used, e.Placements = effects[0].used, effects[0].placements
			people := WhatIfPeople{People: []WhatIfPerson{}}
			for _, t := range effects[0].trained {
				people.add(x.task, who, name, t.person, t.offer)
			}
			e.Trained = &people
			effects = effects[1:]
		}
		t := effectReason(&e)
		e.ReasonFR, e.ReasonAR = t.FR, t.AR
		a.Changes = append(a.Changes, e)
	}
	for p, now := range x.after.offer {
		switch was := x.before.offer[p]; {
		case was < 0 && now >= 0:
			a.Gained.add(x.task, who, name, int32(p), now)
		case was >= 0 && now < 0:
			a.Lost.add(x.task, who, name, int32(p), was)
		case was != now:
			a.Moved++
		}
	}
	t := whatIfReason(&a)
	a.ReasonFR, a.ReasonAR = t.FR, t.AR
	return a
}

func sum(list []int64) (total int64) {
	for _, n := range list {
		total += n
	}
	return total
}
