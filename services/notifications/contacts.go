package notifications

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// Contact is how a person can be reached now. It is asked for each message and
// never stored.
type Contact struct {
	Name     string   `json:"name"`
	NameAR   string   `json:"name_ar"`
	Email    string   `json:"email"`
	Language string   `json:"language"`
	Consents []string `json:"consents"`
}

// consents says whether the person wishes to be notified.
func (c Contact) consents() bool { return slices.Contains(c.Consents, Consent) }

// greeting is the name to use in a language.
func (c Contact) greeting(language string) string {
	if language == Arabic && c.NameAR != "" {
		return c.NameAR
	}
	return c.Name
}

// ErrUnknownPerson says that the candidates service does not know the person
// (any more).
var ErrUnknownPerson = errors.New("the person is not known")

// Contacts asks the candidates service for contacts. This is the one call from
// one service to another in Masar: contact data never enters an event.
type Contacts struct{ candidates *api.Client }

// contactTimeout bounds one look-up.
const contactTimeout = 5 * time.Second

// NewContacts asks at the base URL, with the service's own token. It tries once:
// the dispatcher has its own patience.
func NewContacts(base string, tokens access.TokenSource) *Contacts {
	return &Contacts{candidates: api.NewClient(base, tokens, api.WithAttempts(1), api.WithHTTP(&http.Client{
		Timeout:       contactTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}))}
}

// Contact asks how to reach the person.
func (c *Contacts) Contact(ctx context.Context, candidate string) (Contact, error) {
	var contact Contact
	err := c.candidates.Get(ctx, "/api/candidates/candidates/"+url.PathEscape(candidate)+"/contact", &contact)
	switch {
	case errors.Is(err, &api.Error{Kind: api.KindNotFound}):
		return Contact{}, ErrUnknownPerson
	case err != nil:
		return Contact{}, fmt.Errorf("contact of the person: %w", err)
	}
	return contact, nil
}
