// Package indicators turns every event of the programme into a fact, and facts
// into figures: the logframe, by day, month and since the start, cut by scheme,
// sector, governorate, sex and so on.
//
// The contract: one fact for one event, whatever is repeated, restarted or
// reordered; a figure is a function of the facts and of its definition
// (definitions/*.yaml) alone, never of the order in which they came; it counts
// a fact where it happened in the world (occurred_at), in Africa/Tunis local
// time, however late we learned of it (recorded_at); and it can be counted
// again from the facts by other, simpler code (recount.go). Facts hold ids,
// codes, instants and quantities, never anything personal.
package indicators

import (
	"slices"

	"masar.local/pkg/reference"
)

// Codes that stand for a code which cannot be counted on its own.
const (
	Unknown = "unknown" // the event did not say
	Other   = "other"   // the event said something that is not in the list
)

// Dimension is something figures can be cut by.
type Dimension struct {
	Code    string `json:"code"`
	LabelFR string `json:"label_fr"`
	LabelAR string `json:"label_ar"`
	LabelEN string `json:"label_en"`
	// Protected says that the codes describe the person (sex, home, age, why
	// they left), not the programme: see the rule of small cells in smallcell.go.
	Protected bool `json:"protected"`
	// Codes is the closed list of codes; a code outside counts as Other. Nil
	// means that any code may come, which keeps the dimension out of metrics.
	Codes []string `json:"codes,omitempty"`
}

// Clean is the code under which a fact's raw code is counted: Unknown when
// empty, Other when outside of the closed list.
func (d Dimension) Clean(raw string) string {
	switch {
	case raw == "":
		return Unknown
	case d.Codes != nil && !slices.Contains(d.Codes, raw):
		return Other
	}
	return raw
}

// Dimensions lists everything that facts can be cut or selected by. The closed
// lists come from the reference data of the program.
func Dimensions() []Dimension {
	var governorates, stages, exits, sectors []string
	for _, g := range reference.Governorates() {
		governorates = append(governorates, g.Code)
	}
	for _, s := range reference.Schemes().All() {
		for _, stage := range s.Stages {
			stages = append(stages, stage.Code)
		}
	}
	slices.Sort(stages)
	stages = slices.Compact(stages)
	exits = reference.ExitCodes()
	sectors = []string{
		reference.SectorAgriculture, reference.SectorCare, reference.SectorTransport, reference.SectorIndustry,
		reference.SectorHospitality, reference.SectorClothing, reference.SectorOther,
	}
	var reasons []string
	for _, r := range reference.Refusals() {
		reasons = append(reasons, r.Code)
	}
	slices.Sort(reasons)
	reasons = slices.Compact(reasons)
	var diplomas []string
	for _, d := range reference.Diplomas() {
		diplomas = append(diplomas, d.Code)
	}
	var regions []string
	for _, r := range reference.Regions() {
		regions = append(regions, r.Code)
	}
	return []Dimension{
		{Code: "scheme", LabelFR: "Dispositif", LabelAR: "البرنامج", LabelEN: "Scheme", Codes: reference.Schemes().Codes()},
		{Code: "sector", LabelFR: "Secteur", LabelAR: "القطاع", LabelEN: "Sector", Codes: sectors},
		{Code: "governorate", LabelFR: "Gouvernorat", LabelAR: "الولاية", LabelEN: "Governorate", Protected: true, Codes: governorates},
		{Code: "sex", LabelFR: "Sexe", LabelAR: "الجنس", LabelEN: "Sex", Protected: true, Codes: []string{"F", "M"}},
		{Code: "age", LabelFR: "Tranche d'âge", LabelAR: "الفئة العمرية", LabelEN: "Age group", Protected: true, Codes: ageGroups()},
		{Code: "diploma", LabelFR: "Diplôme", LabelAR: "المستوى الدراسي", LabelEN: "Diploma level", Protected: true, Codes: diplomas},
		{Code: "stage", LabelFR: "Étape", LabelAR: "المرحلة", LabelEN: "Stage", Codes: stages},
		{Code: "from_stage", LabelFR: "Étape quittée", LabelAR: "المرحلة السابقة", LabelEN: "Stage left", Codes: stages},
		{Code: "exit", LabelFR: "Motif de sortie", LabelAR: "سبب الخروج", LabelEN: "Exit", Protected: true, Codes: exits},
		{Code: "placement", LabelFR: "Placement", LabelAR: "الإلحاق بالعمل", LabelEN: "Placement", Codes: []string{"yes", "no"}},
		{Code: "decision", LabelFR: "Décision", LabelAR: "القرار", LabelEN: "Decision", Codes: reference.Decisions()},
		{Code: "refused_by", LabelFR: "Refus par", LabelAR: "الرفض من طرف", LabelEN: "Refused by", Codes: reference.RefusalBy()},
		{Code: "reason", LabelFR: "Motif de refus", LabelAR: "سبب الرفض", LabelEN: "Reason of refusal", Protected: true, Codes: reasons},
		{Code: "closing", LabelFR: "Motif de fermeture", LabelAR: "سبب الغلق", LabelEN: "Reason of closing", Codes: []string{"filled", "withdrawn", "expired"}},
		{Code: "failure", LabelFR: "Motif d'abandon", LabelAR: "سبب الترك", LabelEN: "Reason of giving up", Codes: []string{"no_consent", "no_contact", "refused", "expired"}},
		{Code: "status", LabelFR: "Statut", LabelAR: "الحالة", LabelEN: "Status", Codes: []string{"active", "suspended"}},
		{Code: "region", LabelFR: "Région (France)", LabelAR: "الجهة (فرنسا)", LabelEN: "Region (France)", Codes: regions},
		{Code: "rome", LabelFR: "Métier (ROME)", LabelAR: "المهنة", LabelEN: "Occupation (ROME)"},
		{Code: "contract", LabelFR: "Contrat", LabelAR: "العقد", LabelEN: "Contract"},
		{Code: "language", LabelFR: "Langue", LabelAR: "اللغة", LabelEN: "Language", Codes: []string{"fr", "ar"}},
		{Code: "channel", LabelFR: "Canal", LabelAR: "القناة", LabelEN: "Channel"},
		{Code: "template", LabelFR: "Message", LabelAR: "الرسالة", LabelEN: "Message"},
	}
}

// dimensionSet is the same by code.
type dimensionSet map[string]Dimension

func newDimensionSet(list []Dimension) dimensionSet {
	set := make(dimensionSet, len(list))
	for _, d := range list {
		set[d.Code] = d
	}
	return set
}
