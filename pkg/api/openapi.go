package api

import (
	"encoding"
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"masar.local/pkg/access"
)

// OpenAPI describes the routes of several services as one OpenAPI 3.1 document,
// in JSON. It is made from the routes themselves, so that it says what they do:
// parameters with their bounds, bodies (members that it does not name are
// refused), answers, and which roles may ask. A route that HandleHTTP added is
// listed with those of its path only.
func OpenAPI(title, version string, routers ...*Router) ([]byte, error) {
	schemas := schemaSet{made: map[string]any{}}
	paths := map[string]map[string]any{}
	for _, r := range routers {
		for _, route := range r.routes {
			path := strings.TrimSuffix(route.Pattern, "{$}")
			if paths[path] == nil {
				paths[path] = map[string]any{}
			}
			paths[path][strings.ToLower(route.Method)] = schemas.operation(route)
		}
	}
	schemas.of(reflect.TypeFor[problemBody](), false)
	return json.MarshalIndent(map[string]any{
		"openapi":  "3.1.0",
		"info":     map[string]any{"title": title, "version": version, "license": map[string]string{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"paths":    paths,
		"security": []any{map[string]any{"token": []string{}}},
		"components": map[string]any{
			"schemas":         schemas.made,
			"securitySchemes": map[string]any{"token": map[string]string{"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
		},
	}, "", " ")
}

var pathNames = regexp.MustCompile(`\{(\w+)\}`)

// operation describes one route.
func (s schemaSet) operation(route Route) map[string]any {
	var roles []string
	for _, role := range access.Roles() {
		if slices.Contains(role.Permissions(), route.Permission) {
			roles = append(roles, string(role))
		}
	}
	service := strings.Split(strings.Trim(route.Pattern, "/"), "/")[1]
	problem := map[string]any{"description": "A problem (RFC 9457); its type is stable.", "content": map[string]any{
		"application/problem+json": map[string]any{"schema": map[string]string{"$ref": "#/components/schemas/Problem"}},
	}}
	answer := map[string]any{"description": "Done."}
	out := map[string]any{
		"tags":        []string{service},
		"operationId": operationID(route),
		"description": "Permission " + string(route.Permission) + ": " + strings.Join(roles, ", ") + ".",
		"responses":   map[string]any{"2XX": answer, "4XX": problem, "5XX": problem},
	}
	if route.Permission == "" {
		out["description"], out["security"] = "Public: no token is asked for.", []any{}
	}
	if route.request == nil { // an ordinary handler, with errors of its own beside the router's
		answers := map[string]any{}
		for _, kind := range append(slices.Clone(route.options.produces), "application/json") {
			answers[kind] = map[string]any{}
		}
		answer["content"] = answers
		failure := map[string]any{"description": "A problem (RFC 9457) of the router, or an error in the handler's own form.", "content": map[string]any{
			"application/json": map[string]any{}, "application/problem+json": problem["content"].(map[string]any)["application/problem+json"],
		}}
		out["responses"] = map[string]any{"2XX": answer, "4XX": failure, "5XX": failure}
		var parameters []any
		for _, name := range pathNames.FindAllStringSubmatch(route.Pattern, -1) {
			parameters = append(parameters, map[string]any{"name": name[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
		}
		if len(parameters) > 0 {
			out["parameters"] = parameters
		}
		return out
	}
	content := map[string]any{}
	for _, kind := range route.options.produces {
		content[kind] = map[string]any{}
		switch {
		case kind != "application/json":
		case route.options.answers != nil:
			content[kind] = map[string]any{"schema": s.of(route.options.answers, false)}
		case !route.response.Implements(reflect.TypeFor[Streamer]()):
			content[kind] = map[string]any{"schema": s.of(route.response, false)}
		}
	}
	if len(content) > 0 && route.response != reflect.TypeFor[Empty]() {
		answer["content"] = content
	}
	p, _ := planFor(route.request) // Handle has made it before, without an error
	var parameters []any
	for _, b := range p.bindings {
		parameters = append(parameters, s.parameter(b, route.request))
	}
	if route.Method == http.MethodPost {
		parameters = append(parameters, map[string]any{
			"name": "Idempotency-Key", "in": "header", "schema": map[string]string{"type": "string"},
			"description": "Repeats of a command under one key have one effect and one answer.",
		})
	}
	if len(parameters) > 0 {
		out["parameters"] = parameters
	}
	if p.json && route.Method != http.MethodGet && route.Method != http.MethodHead {
		body := route.request
		if p.body != nil {
			body = body.FieldByIndex(p.body).Type
		}
		out["requestBody"] = map[string]any{
			"required": !route.options.optionalBody,
			"content":  map[string]any{"application/json": map[string]any{"schema": s.of(body, true)}},
		}
	}
	return out
}

func (s schemaSet) parameter(b binding, request reflect.Type) map[string]any {
	schema := s.of(request.FieldByIndex(b.index).Type, true)
	for name, bound := range map[string]*int64{"minimum": b.min, "maximum": b.max} {
		if bound != nil {
			schema[name] = *bound
		}
	}
	if b.fallback != "" {
		schema["default"] = b.fallback
		if schema["type"] == "integer" {
			schema["default"] = json.RawMessage(b.fallback)
		}
	}
	return map[string]any{"name": b.name, "in": b.source, "required": b.source == "path", "schema": schema}
}

var notWord = regexp.MustCompile(`[^A-Za-z0-9]+`)

// operationID is "get_offers_id_candidates" for GET /api/matching/offers/{id}/candidates.
func operationID(route Route) string {
	words := strings.Trim(notWord.ReplaceAllString(strings.TrimPrefix(route.Pattern, "/api"), "_"), "_")
	return strings.ToLower(route.Method) + "_" + words
}

// schemaSet makes JSON schemas of Go types, each struct once, under its name.
type schemaSet struct{ made map[string]any }

// of gives the schema of a type; that of a struct is a reference. Requests are
// read strictly: members they do not have are refused.
func (s schemaSet) of(t reflect.Type, request bool) map[string]any {
	if t == nil {
		return map[string]any{}
	}
	if t.Kind() == reflect.Pointer {
		if request {
			return s.of(t.Elem(), request)
		}
		return map[string]any{"anyOf": []any{s.of(t.Elem(), request), map[string]string{"type": "null"}}}
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[Date]():
		return map[string]any{"type": "string", "format": "date"}
	case reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return map[string]any{"type": "string"}
	}
	if t.Implements(reflect.TypeFor[json.Marshaler]()) || reflect.PointerTo(t).Implements(unmarshalJSON) {
		return map[string]any{} // it has its own way
	}
	switch t.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem(), request)}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "string", "contentEncoding": "base64"}
		}
		return map[string]any{"type": "array", "items": s.of(t.Elem(), request)}
	case reflect.Struct:
		return s.object(t, request)
	case reflect.Interface:
		return map[string]any{}
	}
	return map[string]any{"type": "integer"}
}

func (s schemaSet) object(t reflect.Type, request bool) map[string]any {
	name := schemaName(t)
	ref := map[string]any{"$ref": "#/components/schemas/" + name}
	if _, done := s.made[name]; done {
		return ref
	}
	properties := map[string]any{}
	schema := map[string]any{"type": "object", "properties": properties}
	if request {
		schema["additionalProperties"] = false
	}
	s.made[name] = schema // before its members: a type may hold itself
	for member, m := range membersOf(t) {
		properties[member] = s.of(m.of, request)
	}
	return ref
}

// schemaName is the type's name after its package, "candidates.Way"; that of
// the arguments of a generic type comes after it, "api.Page.employers.OfferView".
func schemaName(t reflect.Type) string {
	if t == reflect.TypeFor[problemBody]() {
		return "Problem"
	}
	name := t.String() // "api.Page[masar.local/services/employers.OfferView]"
	var parts []string
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '[' || r == ']' || r == ',' }) {
		parts = append(parts, part[strings.LastIndex(part, "/")+1:])
	}
	return strings.Join(parts, ".")
}
