package matching

import (
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// replayTimeout bounds how long a shortlist may take to be made again: it may be
// of a million people.
const replayTimeout = 10 * time.Minute

// mount adds the service's routes, each with the permission that it needs.
func mount(r *api.Router, e Endpoints) {
	api.Handle(r, "GET /api/matching/offers/{id}/candidates", access.MatchingRead, e.Candidates)
	api.Handle(r, "GET /api/matching/candidates/{id}/offers", access.MatchingRead, e.Offers)
	api.Handle(r, "GET /api/matching/offers/{id}/candidates/{candidate}", access.MatchingRead, e.Pair)
	api.Handle(r, "POST /api/matching/decisions", access.MatchingDecide, e.Decide)
	api.Handle(r, "GET /api/matching/decisions", access.MatchingRead, e.Decisions)
	api.Handle(r, "GET /api/matching/refusals", access.MatchingRead, e.Refusals)
	api.Handle(r, "GET /api/matching/shortlists/{id}", access.MatchingRead, e.Shortlist)
	api.Handle(r, "GET /api/matching/shortlists/{id}/replay", access.MatchingRead, e.Replay, api.Timeout(replayTimeout))
}
