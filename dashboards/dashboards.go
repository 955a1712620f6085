// Package dashboards has the Grafana boards (*.json) and the alert rules
// (alerts/*.yaml) of the platform, and brings them into a Grafana.
package dashboards

import "embed"

// Boards are the boards, as Grafana's JSON.
//
//go:embed *.json
var Boards embed.FS

// Alerts are the alert rules, as Prometheus' rule files.
//
//go:embed alerts/*.yaml
var Alerts embed.FS
