// Package importer reads the files that `masar import` takes in: job offers in
// JSON, candidate lists as CSV or Excel workbooks.
//
// The contract: files are read as streams, in memory that does not grow with
// them; what can be read is yielded and what cannot is reported, each with its
// true place in the file (line, column, value) and a reason, so that nothing is
// refused silently and nothing is guessed silently; nothing here knows a
// service or a network.
package importer

import (
	"fmt"
	"strings"
)

// Column is a column of a list, as it stands in the file.
type Column struct {
	Letter string // as spreadsheets call it: A, B ... AA
	Name   string // header text
	Field  string // field of the candidate record that it feeds, "" if none
}

// Problem is one thing wrong, or noteworthy, in a row.
type Problem struct {
	Line    int    // in the file, from 1; of a row over several lines, the first
	Column  string // header text, "" when the whole row is meant
	Letter  string // of the column
	Value   string // as in the file
	Code    string // stable: "date", "cin", "phone" ...
	Reason  string // for the reader of the list: "French | Arabic"
	Warning bool   // the row is used all the same, as the reason says
}

func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ligne %d", p.Line)
	if p.Letter != "" {
		fmt.Fprintf(&b, ", colonne %s (%s)", p.Letter, p.Column)
	}
	if p.Value != "" {
		fmt.Fprintf(&b, ", %q", p.Value)
	}
	b.WriteString(" : " + p.Reason)
	return b.String()
}

// Candidate is a row in the shape of the API's candidate record. What the list
// does not say is left out.
type Candidate struct {
	Ref           string       `json:"ref,omitempty"`
	NationalID    string       `json:"national_id,omitempty"`
	Passport      string       `json:"passport,omitempty"`
	FamilyName    string       `json:"family_name,omitempty"`
	GivenName     string       `json:"given_name,omitempty"`
	FamilyNameAR  string       `json:"family_name_ar,omitempty"`
	GivenNameAR   string       `json:"given_name_ar,omitempty"`
	Sex           string       `json:"sex,omitempty"`
	BirthDate     string       `json:"birth_date,omitempty"`
	Governorate   string       `json:"governorate,omitempty"`
	Email         string       `json:"email,omitempty"`
	Phone         string       `json:"phone,omitempty"`
	Language      string       `json:"language,omitempty"`
	DiplomaLevel  string       `json:"diploma_level,omitempty"`
	Occupations   []Occupation `json:"occupations,omitempty"`
	Languages     []Language   `json:"languages,omitempty"`
	Licences      []string     `json:"licences,omitempty"`
	Competences   []string     `json:"competences,omitempty"` // OGR codes of ROME items
	AvailableFrom string       `json:"available_from,omitempty"`
	AvailableTo   string       `json:"available_to,omitempty"`
	Schemes       []string     `json:"schemes,omitempty"`
	Regions       []string     `json:"regions,omitempty"`
	Consents      []string     `json:"consents,omitempty"`
}

// Occupation is one the person can exercise.
type Occupation struct {
	ROME             string `json:"rome"`
	ExperienceMonths int    `json:"experience_months"`
}

// Language is a level in a language.
type Language struct {
	Code string `json:"code"`
	CEFR string `json:"cefr"`
}
