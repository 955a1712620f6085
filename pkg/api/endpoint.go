// Package api is how Masar's services speak HTTP: typed go-kit endpoints,
// strict JSON in, RFC 9457 problems out, versions as ETags, keyset paging,
// repeatable commands, and no route without a permission.
package api

import (
	"context"
	"fmt"

	"github.com/go-kit/kit/endpoint"
)

// Endpoint is one use case as a function, typed on both sides.
type Endpoint[Req, Res any] func(ctx context.Context, req Req) (Res, error)

// Middleware wraps any endpoint; it is go-kit's own type, so go-kit's rate
// limiters and circuit breakers fit.
type Middleware = endpoint.Middleware

// Kit gives the endpoint in go-kit's untyped form.
func (e Endpoint[Req, Res]) Kit() endpoint.Endpoint {
	return func(ctx context.Context, request any) (any, error) {
		req, ok := request.(Req)
		if !ok {
			return nil, fmt.Errorf("api: endpoint got a %T, not the %T that it was built for", request, req)
		}
		return e(ctx, req)
	}
}

// FromKit gives a go-kit endpoint its types back.
func FromKit[Req, Res any](e endpoint.Endpoint) Endpoint[Req, Res] {
	return func(ctx context.Context, req Req) (Res, error) {
		var none Res
		response, err := e(ctx, req)
		if err != nil {
			return none, err
		}
		res, ok := response.(Res)
		if !ok {
			return none, fmt.Errorf("api: endpoint answered a %T, not the %T that was promised", response, none)
		}
		return res, nil
	}
}
