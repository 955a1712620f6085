package candidates

import (
	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// maxImport is the largest body of an import: 500 rows of several kilobytes.
const maxImport = 8 << 20

// mount adds the service's routes, each with the permission that it needs.
func mount(r *api.Router, e Endpoints) {
	api.Handle(r, "POST /api/candidates/candidates", access.CandidatesWrite, e.Register)
	api.Handle(r, "GET /api/candidates/candidates", access.CandidatesRead, e.Candidates)
	api.Handle(r, "GET /api/candidates/candidates/{id}", access.CandidatesRead, e.Candidate)
	api.Handle(r, "PUT /api/candidates/candidates/{id}", access.CandidatesWrite, e.Update)
	api.Handle(r, "GET /api/candidates/candidates/{id}/contact", access.CandidatesContact, e.Contact)
	api.Handle(r, "POST /api/candidates/imports", access.CandidatesWrite, e.Import, api.MaxBody(maxImport))
	api.Handle(r, "POST /api/candidates/pathways", access.PathwaysMove, e.OpenPathway)
	api.Handle(r, "GET /api/candidates/pathways", access.CandidatesRead, e.Pathways)
	api.Handle(r, "GET /api/candidates/pathways/{id}", access.CandidatesRead, e.Pathway)
	api.Handle(r, "POST /api/candidates/pathways/{id}/moves", access.PathwaysMove, e.Move)
	api.Handle(r, "POST /api/candidates/pathways/{id}/exit", access.PathwaysMove, e.Exit)
	api.Handle(r, "POST /api/candidates/pathways/{id}/completion", access.PathwaysMove, e.Complete, api.OptionalBody())
	api.Handle(r, "POST /api/candidates/pathways/{id}/corrections", access.PathwaysMove, e.Correct)
	api.Handle(r, "POST /api/candidates/pathways/{id}/retractions", access.PathwaysMove, e.Retract)
	api.Handle(r, "GET /api/candidates/schemes", access.CandidatesRead, e.Schemes)
}
