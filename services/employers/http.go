package employers

import (
	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// maxImport is the largest body of an import, in bytes.
const maxImport = 16 << 20

// routes offers the endpoints over HTTP.
func routes(r *api.Router, e Endpoints) {
	api.Handle(r, "POST /api/employers/employers", access.EmployersWrite, e.Register)
	api.Handle(r, "GET /api/employers/employers", access.EmployersRead, e.Employers)
	api.Handle(r, "GET /api/employers/employers/{id}", access.EmployersRead, e.Employer)
	api.Handle(r, "PUT /api/employers/employers/{id}", access.EmployersWrite, e.UpdateEmployer)

	api.Handle(r, "POST /api/employers/offers", access.OffersWrite, e.Post)
	api.Handle(r, "GET /api/employers/offers", access.OffersRead, e.Offers)
	api.Handle(r, "GET /api/employers/offers/{id}", access.OffersRead, e.Offer)
	api.Handle(r, "PUT /api/employers/offers/{id}", access.OffersWrite, e.UpdateOffer)
	api.Handle(r, "POST /api/employers/offers/{id}/close", access.OffersWrite, e.Close)
	api.Handle(r, "POST /api/employers/offers/{id}/fill", access.OffersWrite, e.Fill, api.OptionalBody())

	api.Handle(r, "POST /api/employers/imports", access.OffersWrite, e.Import, api.MaxBody(maxImport))
}
