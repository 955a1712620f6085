package notifications

import (
	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// AddRoutes adds the service's HTTP interface to the router.
func AddRoutes(r *api.Router, e Endpoints) {
	api.Handle(r, "GET /api/notifications/messages", access.NotificationsRead, e.Messages)
}
