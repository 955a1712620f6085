package matching

import (
	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// mount adds the service's routes, each with the permission that it needs.
func mount(r *api.Router, e Endpoints) {
	api.Handle(r, "GET /api/matching/offers/{id}/candidates", access.MatchingRead, e.Candidates)
	api.Handle(r, "GET /api/matching/candidates/{id}/offers", access.MatchingRead, e.Offers)
	api.Handle(r, "POST /api/matching/decisions", access.MatchingDecide, e.Decide)
	api.Handle(r, "GET /api/matching/decisions", access.MatchingRead, e.Decisions)
}
