package notifications

import (
	"masar.local/pkg/api"
	"masar.local/pkg/event"
)

// Endpoints are the use cases as typed go-kit endpoints; transports are built
// on them.
type Endpoints struct {
	Learn    api.Endpoint[event.Event, struct{}]
	Messages api.Endpoint[MessagesQuery, api.Page[View]]
}

// NewEndpoints makes the endpoints of a service.
func NewEndpoints(s Service) Endpoints {
	return Endpoints{
		Learn:    s.Learn,
		Messages: s.Messages,
	}
}
