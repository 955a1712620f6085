package main

import (
	"strings"
	"testing"
	"time"

	"masar.local/services/indicators"
)

func TestFrenchNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 7: "7", 999: "999", 1000: "1 000", 1234567.5: "1 234 567,5", -1234: "-1 234", -0.25: "-0,25", 100000: "100 000", 5.0 / 9: "0,5556"} {
		if got := french(&v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	if french(nil) != "-" {
		t.Error("no value")
	}
}

// TestDifferencesReadByAManager prints a comparison as a committee sees it.
func TestDifferencesReadByAManager(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	n := func(x int) *int { return &x }
	var out strings.Builder
	differences := indicators.ReviewDifferences{
		Review: indicators.Review{Name: "2026-Q1-v1"}, Compared: 12, Different: 3, Hidden: 2,
		Indicators: []indicators.IndicatorDifferences{{
			LabelFR: "Personnes suivies", Version: 1, AgainstVersion: 2, DefinitionChanged: true,
			Cells: []indicators.CellDifference{
				{Frozen: indicators.FrozenFigure{Value: v(2480)}, Against: indicators.FrozenFigure{Value: v(2512)}, Difference: v(32), Because: []indicators.Cause{indicators.ByFacts, indicators.ByLateArrival}},
				{By: []string{"governorate"}, Codes: []string{"TN-11"}, Frozen: indicators.FrozenFigure{Value: v(12.5), Count: n(3)}, Against: indicators.FrozenFigure{Value: v(12.5), Count: n(4)}, Difference: v(0), Because: []indicators.Cause{indicators.ByDefinition}},
				{By: []string{"governorate"}, Codes: []string{"TN-71"}, Hidden: true},
			},
		}},
	}
	if err := printDifferences(&out, differences, true); err != nil {
		t.Fatal(err)
	}
	const want = `Revue 2026-Q1-v1 comparée aux chiffres actuels : 12 chiffres comparés, 3 différents, 2 masqués (trop peu de personnes).

Indicateur         Coupe              Figé    Actuel  Écart                         Cause
Personnes suivies                                                                   définition changée (v1, puis v2)
Personnes suivies  total              2 480   2 512   +32                           faits appris ou corrigés depuis; faits arrivés en retard
Personnes suivies  Gouvernorat TN-11  12,5    12,5    0 (détail : faits 3, puis 4)  définition changée
Personnes suivies  Gouvernorat TN-71  masqué  masqué
`
	var lines strings.Builder
	for line := range strings.Lines(out.String()) {
		lines.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if lines.String() != want {
		t.Errorf("got\n%s\nwant\n%s", lines.String(), want)
	}
	out.Reset()
	if err := printDifferences(&out, differences, false); err != nil || strings.Contains(out.String(), "TN-11") || !strings.Contains(out.String(), "Et 2 autres lignes") {
		t.Errorf("the totals: %v\n%s", err, out.String())
	}
	if got := day(time.Date(2026, 3, 31, 23, 30, 0, 0, time.UTC)); got != "01/04/2026 00:30" {
		t.Errorf("in Tunis: %s", got)
	}
}
