package docstore

import (
	"context"
	"errors"
)

func openMongo(ctx context.Context, uri string, o options) (Engine, error) {
	return nil, errors.New("docstore: mongo: not yet")
}
