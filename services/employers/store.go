package employers

import (
	"context"
	"fmt"

	"masar.local/pkg/docstore"
)

// Collections of the service.
const (
	employerCollection = "employers"
	offerCollection    = "offers"
)

// Indexes, by the question they answer. Lists of offers have the newest first.
// Whether an offer is open is in one of them only: the open ones are nearly all
// among the newest, so a list by another question meets them first.
const (
	bySIRET      = "siret"       // is this establishment known?
	byName       = "name"        // who is called so?
	byIdentity   = "identity"    // is this offer known?
	byPublished  = "published"   // every offer
	byStatus     = "status"      // open offers
	bySector     = "sector"      // offers of a sector
	byROME       = "rome"        // ... for an occupation
	byPlace      = "departement" // ... in a department
	byEmployer   = "employer"    // ... of an employer
	byLastDay    = "ends_on"     // which open offers are over?
	bySchemeCode = "scheme"      // offers under a scheme
)

var employerSchema = docstore.Schema{Collection: employerCollection, Indexes: []docstore.Index{
	{Name: bySIRET, Fields: []docstore.Field{{Path: "siret"}}, Unique: true},
	{Name: byName, Fields: []docstore.Field{{Path: "name_key"}}},
}}

var offerSchema = docstore.Schema{Collection: offerCollection, Indexes: []docstore.Index{
	{Name: byIdentity, Fields: []docstore.Field{{Path: "identity"}}, Unique: true},
	{Name: byPublished, Fields: []docstore.Field{publishedAt}},
	{Name: byStatus, Fields: []docstore.Field{{Path: "status"}, publishedAt}},
	{Name: bySector, Fields: []docstore.Field{{Path: "content.sector"}, publishedAt}},
	{Name: bySchemeCode, Fields: []docstore.Field{{Path: "content.scheme"}, publishedAt}},
	{Name: byROME, Fields: []docstore.Field{{Path: "content.rome"}, publishedAt}},
	{Name: byPlace, Fields: []docstore.Field{{Path: "content.place.departement"}, publishedAt}},
	{Name: byEmployer, Fields: []docstore.Field{{Path: "content.employer_id"}, publishedAt}},
	{Name: byLastDay, Fields: []docstore.Field{{Path: "status"}, {Path: "content.ends_on"}}},
}}

var publishedAt = docstore.Field{Path: "content.published_at", Kind: docstore.Time}

// collections are the service's documents.
type collections struct {
	employers *docstore.Collection[Employer]
	offers    *docstore.Collection[Offer]
}

func openCollections(ctx context.Context, e docstore.Engine) (collections, error) {
	c := collections{
		employers: docstore.NewCollection[Employer](e, employerSchema),
		offers:    docstore.NewCollection[Offer](e, offerSchema),
	}
	if err := c.employers.Ensure(ctx); err != nil {
		return c, fmt.Errorf("employers: preparing the store: %w", err)
	}
	if err := c.offers.Ensure(ctx); err != nil {
		return c, fmt.Errorf("employers: preparing the store: %w", err)
	}
	return c, nil
}

// find reads pages of offers until limit of them pass keep, or most were looked
// at: what no index answers alone is filtered here, within bounds. The cursor
// goes on behind the last that was looked at, so a page may be short.
func (c collections) find(ctx context.Context, q docstore.Query, keep func(*Offer) bool) (found []*docstore.Doc[Offer], next string, err error) {
	const most = 500
	limit := q.Limit
	for looked := 0; looked < most; {
		// Never more than still fits, so that the page's cursor is ours.
		q.Limit = limit - len(found)
		page, after, err := c.offers.Find(ctx, q)
		if err != nil {
			return nil, "", err
		}
		for _, d := range page {
			if keep(&d.Body) {
				found = append(found, d)
			}
		}
		looked += len(page)
		if q.After, next = after, after; after == "" || len(found) == limit {
			break
		}
	}
	return found, next, nil
}
