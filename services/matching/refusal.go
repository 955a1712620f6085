package matching

import (
	"context"

	"masar.local/pkg/reference"
)

// RefusalsRequest asks for the reasons that a refusal may have.
type RefusalsRequest struct{}

// RefusalList is the reasons, by who refuses: see reference.Refusals.
type RefusalList struct {
	Items []reference.Refusal `json:"items"`
}

// refusals lists the reasons; they are the same for everybody.
func refusals(context.Context, RefusalsRequest) (RefusalList, error) {
	return RefusalList{reference.Refusals()}, nil
}
