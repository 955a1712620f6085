package reference

import (
	"slices"
	"sync"
)

// Who may refuse an offer for a person.
const (
	ByCandidate = "candidate"
	ByEmployer  = "employer"
	ByProgramme = "programme"
)

// RefusalUnspecified is the reason of a refusal whose reason was not given.
const RefusalUnspecified = "NON_PRECISE"

// Refusal is a reason for which an offer is refused for a person. The lists are
// data/refusals.csv.
type Refusal struct {
	By      string `json:"by"` // candidate, employer or programme
	Code    string `json:"code"`
	LabelFR string `json:"label_fr"`
	LabelAR string `json:"label_ar"`
	LabelEN string `json:"label_en"`
}

var refusals = sync.OnceValue(func() []Refusal {
	var list []Refusal
	for _, r := range table("refusals", "by", "code", "label_fr", "label_ar", "label_en") {
		list = append(list, Refusal{By: r["by"], Code: r["code"], LabelFR: r["label_fr"], LabelAR: r["label_ar"], LabelEN: r["label_en"]})
	}
	return list
})

// Refusals returns every reason of everybody, in the order of the list.
func Refusals() []Refusal { return slices.Clone(refusals()) }

// RefusalBy lists who may refuse.
func RefusalBy() []string { return []string{ByCandidate, ByEmployer, ByProgramme} }

// RefusalOf finds a reason of one who refuses.
func RefusalOf(by, code string) (Refusal, bool) {
	for _, r := range refusals() {
		if r.By == by && r.Code == code {
			return r, true
		}
	}
	return Refusal{}, false
}

// RefusalCodes lists the codes that one who refuses may give.
func RefusalCodes(by string) []string {
	var codes []string
	for _, r := range refusals() {
		if r.By == by {
			codes = append(codes, r.Code)
		}
	}
	return codes
}
