package indicators

import (
	"net/http"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/services/indicators/promapi"
)

// mount adds the service's routes, each with the permission that it needs.
func mount(r *api.Router, e Endpoints, kpi, places http.Handler) {
	api.Handle(r, "GET /api/indicators/indicators", access.IndicatorsRead, e.Indicators, api.Answers[Catalogue]())
	api.Handle(r, "GET /api/indicators/values", access.IndicatorsRead, e.Values, api.Answers[Series](typeCSV, typeXLSX, typeSDMXCSV, typeSDMXData))
	api.Handle(r, "GET /api/indicators/geo", access.IndicatorsRead, e.Geo, api.Produces(typeGeoJSON, typeJSON))
	api.HandleOpen(r, "GET /api/indicators/geo/governorates", typeGeoJSON, places)
	api.Handle(r, "GET /api/indicators/workbook", access.IndicatorsRead, e.Workbook, api.Produces(typeXLSX))
	api.Handle(r, "GET /api/indicators/sdmx/data", access.IndicatorsRead, e.SDMX, api.Produces(typeSDMXCSV, typeSDMXData))
	api.Handle(r, "GET /api/indicators/sdmx/structure", access.IndicatorsRead, e.Structure, api.Produces(typeSDMXStructure))
	api.Handle(r, "GET /api/indicators/summary", access.IndicatorsRead, e.Summary, api.Answers[Summary]())
	api.Handle(r, "GET /api/indicators/freshness", access.IndicatorsRead, e.Freshness)
	api.Handle(r, "GET /api/indicators/facts", access.IndicatorsFacts, e.Facts, api.Produces("application/x-ndjson"))
	api.Handle(r, "POST /api/indicators/preview", access.IndicatorsDefine, e.Preview, api.MaxBody(2*mostDefinitionBytes))
	mountPathways(r, e.Pathways)
	api.Handle(r, "GET /api/indicators/verify", access.IndicatorsFacts, e.Verify, api.Produces("application/json"))
	mountReviews(r, e.reviewEndpoints)
	mountShortage(r, e.Shortage)
	for _, route := range promapi.Routes {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			api.HandleHTTP(r, method+" "+prometheusPath+route, access.IndicatorsRead, http.StripPrefix(prometheusPath, kpi))
		}
	}
}

// prometheusPath is where the KPI query API is: the address of the data source.
const prometheusPath = "/api/indicators/prometheus"
