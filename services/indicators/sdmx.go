package indicators

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// Figures as SDMX 3.0, the statisticians' exchange standard: data as SDMX-CSV 2.0
// and SDMX-JSON 2.0, and one data structure, MASAR:MASAR_KPI, with its concepts and
// code lists as an SDMX-JSON 2.0 structure message. Sources: SDMX-CSV field guide
// 2.0 and SDMX-JSON field guides 2.0 (SDMX technical working group); cross-domain
// code lists SDMX:CL_FREQ(2.1), CL_SEX(2.1), CL_OBS_STATUS(2.2), CL_DECIMALS(1.0).

const (
	sdmxAgency  = "MASAR"
	sdmxFlow    = "MASAR_KPI" // id of the structure and of its dataflow
	sdmxVersion = "1.0"       // to be raised when a dimension or an attribute comes or goes
	sdmxRef     = sdmxAgency + ":" + sdmxFlow + "(" + sdmxVersion + ")"

	urnDataflow  = "urn:sdmx:org.sdmx.infomodel.datastructure.Dataflow=" + sdmxRef
	urnStructure = "urn:sdmx:org.sdmx.infomodel.datastructure.DataStructure=" + sdmxRef
	urnCodelist  = "urn:sdmx:org.sdmx.infomodel.codelist.Codelist="
	urnConcept   = "urn:sdmx:org.sdmx.infomodel.conceptscheme.Concept=" + sdmxAgency + ":CS_MASAR(" + sdmxVersion + ")."
)

// Codes that stand for no code, as the guidelines for code lists have them.
const (
	sdmxTotal   = "_T"
	sdmxUnknown = "_U"
	sdmxOther   = "_O"
	sdmxNone    = "_Z" // not applicable
	sdmxCountry = "TN" // the whole country, in REF_AREA
)

// Codes of CL_OBS_STATUS.
const (
	statusNormal     = "A"
	statusSuppressed = "Q" // missing value; suppressed
)

// sdmxDimension is one dimension of the structure.
type sdmxDimension struct {
	ID    string
	code  string // of our dimension; "" of FREQ and INDICATOR
	list  string // its code list, "MASAR:CL_STAGE(1.0)"
	label Label
}

// sdmxDimensions are those of the structure but TIME_PERIOD, in the order of its
// key: the common ones, then ours.
func sdmxDimensions(dims []Dimension) []sdmxDimension {
	own := func(id string) string { return sdmxAgency + ":CL_" + id + "(" + sdmxVersion + ")" }
	out := []sdmxDimension{
		{ID: "FREQ", list: "SDMX:CL_FREQ(2.1)", label: Label{"Fréquence", "التواتر", "Frequency"}},
		{ID: "INDICATOR", list: own("INDICATOR"), label: Label{"Indicateur", "المؤشر", "Indicator"}},
		{ID: "REF_AREA", code: "governorate", list: own("AREA"), label: Label{"Zone de référence", "المنطقة المرجعية", "Reference area"}},
		{ID: "SEX", code: "sex", list: "SDMX:CL_SEX(2.1)", label: Label{"Sexe", "الجنس", "Sex"}},
		{ID: "AGE", code: "age", list: own("AGE"), label: Label{"Âge", "العمر", "Age"}},
	}
	for _, d := range dims {
		if !slices.ContainsFunc(out, func(o sdmxDimension) bool { return o.code == d.Code }) {
			id := strings.ToUpper(d.Code)
			out = append(out, sdmxDimension{id, d.Code, own(id), Label{d.LabelFR, d.LabelAR, d.LabelEN}})
		}
	}
	return out
}

// sdmxAttribute is one attribute of the structure.
type sdmxAttribute struct {
	ID        string
	list      string // its code list; "" when it is not coded
	dataType  string
	indicator bool // it goes with the indicator, not with each observation
	label     Label
}

// sdmxAttributes are those of the structure: first of the indicator, then of each
// observation, in the order in which they are written.
func sdmxAttributes() []sdmxAttribute {
	return []sdmxAttribute{
		{"UNIT_MEASURE", sdmxAgency + ":CL_UNIT_MEASURE(" + sdmxVersion + ")", "", true, Label{"Unité de mesure", "وحدة القياس", "Unit of measure"}},
		{"DECIMALS", "SDMX:CL_DECIMALS(1.0)", "", true, Label{"Décimales", "المنازل العشرية", "Decimals"}},
		{"DEF_VERSION", "", "Integer", true, Label{"Version de la définition", "نسخة التعريف", "Version of the definition"}},
		{"OBS_STATUS", "SDMX:CL_OBS_STATUS(2.2)", "", false, Label{"Statut de l'observation", "حالة الملاحظة", "Observation status"}},
		{"NUMERATOR", "", "Double", false, Label{"Numérateur d'une part", "بسط النسبة", "Numerator of a ratio"}},
		{"DENOMINATOR", "", "Double", false, Label{"Dénominateur d'une part", "مقام النسبة", "Denominator of a ratio"}},
		{"P90", "", "Double", false, Label{"90e centile d'une médiane", "المئين التسعون للوسيط", "90th percentile of a median"}},
		{"N_OBS", "", "Integer", false, Label{"Nombre de séjours d'une médiane", "عدد فترات الوسيط", "Stays that a median is of"}},
		{"COVERAGE", "", "String", false, Label{"Partie du programme couverte", "الجزء المشمول من البرنامج", "Part of the programme that is covered"}},
	}
}

var (
	ageRange = regexp.MustCompile(`^(\d+)-(\d+)$`)
	ageFrom  = regexp.MustCompile(`^(\d+)\+$`)
)

// sdmxCode is the SDMX code of one of our codes. Ages are written as CL_AGE of the
// SDG indicators has them (Y15T24, Y_GE36); what an identifier may not have becomes
// "$" and two hexadecimal digits, so that different codes stay different.
func sdmxCode(dimension, code string) string {
	switch code {
	case Unknown:
		return sdmxUnknown
	case Other:
		return sdmxOther
	}
	if dimension == "age" {
		if ageRange.MatchString(code) {
			return ageRange.ReplaceAllString(code, "Y${1}T${2}")
		}
		code = ageFrom.ReplaceAllString(code, "Y_GE${1}")
	}
	var out strings.Builder
	for i := range len(code) {
		switch c := code[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_' && i > 0, c == '-':
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "$%02X", c)
		}
	}
	return out.String()
}

// sdmxDecimals is how many decimals a measure is shown with.
func sdmxDecimals(m Measure) int {
	switch m {
	case MedianDays:
		return 2
	case Ratio:
		return 4
	}
	return 0
}

// observation of SDMX: a figure under its key.
type sdmxObservation struct {
	key      []string // codes of sdmxDimensions
	time     string
	row      Row
	coverage string
}

// sdmxMessage is figures on their way out as SDMX.
type sdmxMessage struct {
	dims         []sdmxDimension
	seasonStarts string
	defs         Definitions
	series       []sdmxSeries
	prepared     time.Time
}

// sdmxSeries are the figures of one indicator and cut.
type sdmxSeries struct {
	Series
	rows []Row
}

// add takes the figures of an indicator in: the rows, and with them the totals of a
// cut unless they are there already.
func (m *sdmxMessage) add(s Series, totals bool) {
	m.series = append(m.series, sdmxSeries{s, s.Rows})
	if totals && len(s.By) > 0 {
		t := s
		t.By = nil
		m.series = append(m.series, sdmxSeries{t, s.Totals})
	}
}

// observations gives every figure.
func (m *sdmxMessage) observations(yield func(sdmxSeries, sdmxObservation) bool) {
	for _, s := range m.series {
		base := m.key(s.Series)
		var at []int // places of the cut's dimensions in the key
		for _, name := range s.By {
			at = append(at, slices.IndexFunc(m.dims, func(d sdmxDimension) bool { return d.code == name }))
		}
		coverage := sdmxCoverage(s.Series)
		for _, r := range s.rows {
			key := slices.Clone(base)
			for i, name := range s.By {
				key[at[i]] = sdmxCode(name, r.Dimensions[name])
			}
			if !yield(s, sdmxObservation{key, sdmxTime(s.Series, r.Period, m.seasonStarts), r, coverage}) {
				return
			}
		}
	}
}

// key is the key of a series' total.
func (m *sdmxMessage) key(s Series) []string {
	key := make([]string, len(m.dims))
	for i, d := range m.dims {
		switch d.ID {
		case "FREQ":
			key[i] = sdmxFreq[s.Grain]
		case "INDICATOR":
			key[i] = sdmxCode("", s.Code)
		case "REF_AREA":
			key[i] = sdmxNone
			if def, ok := m.defs.Get(s.Code); ok && slices.Contains(def.Dimensions, d.code) {
				key[i] = sdmxCountry
			}
		default:
			key[i] = sdmxTotal
		}
	}
	return key
}

// sdmxCoverage says in codes what part of the programme the figures of a principal
// with a limited scope are of; "" is all of it.
func sdmxCoverage(s Series) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.Scope)) {
		parts = append(parts, name+"="+strings.Join(s.Scope[name], "+"))
	}
	return strings.Join(parts, ";")
}

// attribute is the value of an attribute as a text; "" when there is none.
func (s sdmxSeries) attribute(id string, o sdmxObservation) string {
	switch id {
	case "UNIT_MEASURE":
		return sdmxCode("", s.Unit)
	case "DECIMALS":
		return strconv.Itoa(sdmxDecimals(s.Measure))
	case "DEF_VERSION":
		return strconv.Itoa(s.Version)
	case "OBS_STATUS":
		if o.row.Suppressed {
			return statusSuppressed
		}
		return statusNormal
	case "NUMERATOR":
		return number(o.row.Numerator)
	case "DENOMINATOR":
		return number(o.row.Denominator)
	case "P90":
		return number(o.row.P90)
	case "N_OBS":
		if o.row.Count != nil {
			return strconv.Itoa(*o.row.Count)
		}
	case "COVERAGE":
		return plain(o.coverage)
	}
	return ""
}

// writeCSV writes the message as SDMX-CSV 2.0.
func (m *sdmxMessage) writeCSV(w io.Writer) error {
	to := csv.NewWriter(w)
	to.UseCRLF = true
	header := []string{"STRUCTURE", "STRUCTURE_ID", "ACTION"}
	for _, d := range m.dims {
		header = append(header, d.ID)
	}
	header = append(header, "TIME_PERIOD", "OBS_VALUE")
	for _, a := range sdmxAttributes() {
		header = append(header, a.ID)
	}
	if err := to.Write(header); err != nil {
		return err
	}
	line := make([]string, 0, len(header))
	for s, o := range m.observations {
		line = append(line[:0], "dataflow", sdmxRef, "I")
		line = append(line, o.key...)
		line = append(line, o.time, number(o.row.Value))
		for _, a := range sdmxAttributes() {
			line = append(line, s.attribute(a.ID, o))
		}
		if err := to.Write(line); err != nil {
			return err
		}
	}
	to.Flush()
	return to.Error()
}

// sdmxNames are a name in the three languages, and in the main one.
type sdmxNames struct {
	Name  string            `json:"name"`
	Names map[string]string `json:"names"`
}

func named(l Label) sdmxNames {
	return sdmxNames{l.FR, map[string]string{"fr": l.FR, "ar": l.AR, "en": l.EN}}
}

// sdmxMeta is the head of a message. Its schema comes first: readers look for it at
// the beginning.
type sdmxMeta struct {
	Schema    string            `json:"schema"`
	ID        string            `json:"id"`
	Test      bool              `json:"test"`
	Prepared  string            `json:"prepared"`
	Languages []string          `json:"contentLanguages"`
	Sender    map[string]string `json:"sender"`
}

func newSDMXMeta(schema string, prepared time.Time) sdmxMeta {
	return sdmxMeta{
		Schema: "https://raw.githubusercontent.com/sdmx-twg/sdmx-json/master/" + schema,
		ID:     "MASAR-" + prepared.Format("20060102T150405Z"), Prepared: prepared.Format(time.RFC3339),
		Languages: []string{"fr", "ar", "en"}, Sender: map[string]string{"id": sdmxAgency},
	}
}

// sdmxComponent is a dimension, a measure or an attribute in a data message.
type sdmxComponent struct {
	ID string `json:"id"`
	sdmxNames
	Position     *int              `json:"keyPosition,omitempty"`
	Roles        []string          `json:"roles,omitempty"`
	Relationship map[string]any    `json:"relationship,omitempty"`
	Format       map[string]string `json:"format,omitempty"`
	Values       []any             `json:"values,omitempty"`
}

type sdmxValue struct {
	ID string `json:"id"`
	sdmxNames
}

// indexed numbers values in the order in which they come.
type indexed struct {
	at   map[string]int
	list []string
}

func (x *indexed) number(v string) int {
	n, ok := x.at[v]
	if !ok {
		if x.at == nil {
			x.at = map[string]int{}
		}
		n = len(x.list)
		x.at[v] = n
		x.list = append(x.list, v)
	}
	return n
}

// writeJSON writes the message as SDMX-JSON 2.0: one series for each key without
// time, its observations by time.
func (m *sdmxMessage) writeJSON(w io.Writer) error {
	attributes := sdmxAttributes()
	values, times := make([]indexed, len(m.dims)), indexed{}
	attributeValues := make([]indexed, len(attributes))
	type series struct {
		head []string // its attributes
		obs  []string // its observations, written
	}
	all, order := map[string]*series{}, []string{}
	for s, o := range m.observations {
		var key strings.Builder
		for i, code := range o.key {
			if i > 0 {
				key.WriteByte(':')
			}
			key.WriteString(strconv.Itoa(values[i].number(code)))
		}
		of := all[key.String()]
		if of == nil {
			of = &series{}
			all[key.String()] = of
			order = append(order, key.String())
			for i, a := range attributes {
				if !a.indicator {
					continue
				}
				text := s.attribute(a.ID, o)
				if a.list != "" {
					text = strconv.Itoa(attributeValues[i].number(text))
				}
				of.head = append(of.head, text)
			}
		}
		obs := []string{"null"}
		if o.row.Value != nil {
			obs[0] = number(o.row.Value)
		}
		for i, a := range attributes {
			if a.indicator {
				continue
			}
			text := s.attribute(a.ID, o)
			switch {
			case text == "":
				text = "null"
			case a.list != "":
				text = strconv.Itoa(attributeValues[i].number(text))
			case a.dataType == "String":
				quoted, _ := json.Marshal(text) // a text: it cannot fail
				text = string(quoted)
			}
			obs = append(obs, text)
		}
		for obs[len(obs)-1] == "null" && len(obs) > 1 {
			obs = obs[:len(obs)-1]
		}
		of.obs = append(of.obs, fmt.Sprintf(`"%d":[%s]`, times.number(o.time), strings.Join(obs, ",")))
	}

	links := []map[string]string{{"urn": urnDataflow, "rel": "dataflow"}, {"urn": urnStructure, "rel": "structure"}}
	structure := map[string]any{
		"links":      links,
		"dimensions": map[string]any{"series": m.components(values), "observation": m.timeComponent(times)},
		"measures": map[string]any{"observation": []sdmxComponent{
			{ID: "OBS_VALUE", sdmxNames: named(Label{"Valeur", "القيمة", "Value"}), Format: map[string]string{"dataType": "Double"}},
		}},
		"attributes": attributeComponents(attributes, attributeValues),
		"dataSets":   []int{0},
	}
	if len(order) == 0 { // a dimension without a value is not one
		structure["dimensions"] = map[string]any{}
	}
	head, err := json.Marshal(map[string]any{
		"meta":      newSDMXMeta("data-message/tools/schemas/2.0.0/sdmx-json-data-schema.json", m.prepared),
		"structure": structure, "links": links,
	})
	if err != nil {
		return err
	}
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(head, &parts); err != nil {
		return err
	}
	to := bufio.NewWriterSize(w, 64<<10)
	fmt.Fprintf(to, `{"meta":%s,"data":{"structures":[%s],"dataSets":[{"structure":0,"action":"Information","links":%s,"series":{`,
		parts["meta"], parts["structure"], parts["links"])
	for i, key := range order {
		if i > 0 {
			to.WriteByte(',')
		}
		of := all[key]
		fmt.Fprintf(to, `"%s":{"attributes":[%s],"observations":{%s}}`, key, strings.Join(of.head, ","), strings.Join(of.obs, ","))
	}
	to.WriteString("}}]}}\n")
	return to.Flush() // an error of any write above is this one's too
}

// components are the dimensions with the values that occur.
func (m *sdmxMessage) components(values []indexed) []sdmxComponent {
	var out []sdmxComponent
	for i, d := range m.dims {
		c := sdmxComponent{ID: d.ID, sdmxNames: named(d.label), Position: &i}
		names := m.codeNames(d)
		for _, code := range values[i].list {
			c.Values = append(c.Values, sdmxValue{code, named(names(code))})
		}
		out = append(out, c)
	}
	return out
}

func (m *sdmxMessage) timeComponent(times indexed) []sdmxComponent {
	place := len(m.dims)
	c := sdmxComponent{
		ID: "TIME_PERIOD", sdmxNames: named(Label{"Période", "الفترة", "Time period"}), Position: &place,
		Roles: []string{"TIME_PERIOD"}, Format: map[string]string{"dataType": "ObservationalTimePeriod"},
	}
	for _, t := range times.list {
		c.Values = append(c.Values, map[string]string{"value": t})
	}
	return []sdmxComponent{c}
}

func attributeComponents(attributes []sdmxAttribute, values []indexed) map[string]any {
	ofSeries, ofObservation := []sdmxComponent{}, []sdmxComponent{}
	for i, a := range attributes {
		c := sdmxComponent{ID: a.ID, sdmxNames: named(a.label)}
		if a.dataType != "" {
			c.Format = map[string]string{"dataType": a.dataType}
		}
		for _, v := range values[i].list {
			c.Values = append(c.Values, sdmxValue{v, named(attributeName(a.ID, v))})
		}
		if a.indicator {
			c.Relationship = map[string]any{"dimensions": []string{"INDICATOR"}}
			ofSeries = append(ofSeries, c)
		} else {
			c.Relationship = map[string]any{"observation": map[string]any{}}
			ofObservation = append(ofObservation, c)
		}
	}
	return map[string]any{"series": ofSeries, "observation": ofObservation}
}

// attributeName names a code of a coded attribute.
func attributeName(id, code string) Label {
	switch {
	case id == "UNIT_MEASURE":
		for unit, l := range unitLabels {
			if sdmxCode("", unit) == code {
				return l
			}
		}
	case id == "OBS_STATUS" && code == statusNormal:
		return Label{"Valeur normale", "قيمة عادية", "Normal value"}
	case id == "OBS_STATUS" && code == statusSuppressed:
		return Label{"Valeur manquante ; supprimée", "قيمة غير منشورة ; محجوبة", "Missing value; suppressed"}
	}
	return Label{code, code, code}
}

// codeNames gives the codes of a dimension their names.
func (m *sdmxMessage) codeNames(d sdmxDimension) func(code string) Label {
	names := map[string]Label{}
	for _, c := range m.codes(d, nil) {
		names[c.code] = c.label
	}
	return func(code string) Label {
		if l, ok := names[code]; ok {
			return l
		}
		return codeLabel(d.code, code)
	}
}

// namedCode is a code of a list.
type namedCode struct {
	code   string
	label  Label
	parent string
}

// freqNames are those of CL_FREQ that are used.
var freqNames = []namedCode{
	{"A", Label{"Annuelle", "سنوي", "Annual"}, ""},
	{"S", Label{"Semestrielle", "نصف سنوي", "Half-yearly, semester"}, ""},
	{"Q", Label{"Trimestrielle", "ثلاثي", "Quarterly"}, ""},
	{"M", Label{"Mensuelle", "شهري", "Monthly"}, ""},
	{"D", Label{"Quotidienne", "يومي", "Daily"}, ""},
	{sdmxNone, Label{"Sans objet", "لا ينطبق", "Not applicable"}, ""},
}

// codes are the codes of a dimension: those of its closed list, or of the reference
// list and those seen, and what stands for a total and for no code.
func (m *sdmxMessage) codes(d sdmxDimension, seen []string) (out []namedCode) {
	switch d.ID {
	case "FREQ":
		return freqNames
	case "INDICATOR":
		for _, def := range m.defs {
			out = append(out, namedCode{sdmxCode("", def.Code), Label{def.LabelFR, def.LabelAR, def.LabelEN}, ""})
		}
		return out
	}
	parent := ""
	if d.ID == "REF_AREA" {
		parent = sdmxCountry
		out = append(out, namedCode{sdmxCountry, Label{"Tunisie", "تونس", "Tunisia"}, ""},
			namedCode{sdmxNone, Label{"Sans objet", "لا ينطبق", "Not applicable"}, ""})
	} else {
		out = append(out, namedCode{sdmxTotal, labelTotal, ""})
	}
	out = append(out, namedCode{sdmxUnknown, labelUnknown, ""}, namedCode{sdmxOther, labelOther, ""})
	listed := slices.Clone(seen)
	for _, own := range Dimensions() {
		if own.Code == d.code {
			listed = append(slices.Clone(own.Codes), seen...)
		}
	}
	there := map[string]bool{Unknown: true, Other: true}
	for _, code := range listed {
		if !there[code] {
			there[code] = true
			out = append(out, namedCode{sdmxCode(d.code, code), codeLabel(d.code, code), parent})
		}
	}
	return out
}

// sdmxStructureMessage is a structure message.
type sdmxStructureMessage struct {
	Meta sdmxMeta       `json:"meta"`
	Data map[string]any `json:"data"`
}

// structure is the structure of the messages; seen are the codes of dimensions
// without a closed list.
func (m *sdmxMessage) structure(seen func(dimension string) []string) sdmxStructureMessage {
	type item = map[string]any
	with := func(l Label, more item) item {
		n := named(l)
		more["name"], more["names"] = n.Name, n.Names
		return more
	}
	maintained := func(id string, l Label, more item) item {
		more["id"], more["agencyID"], more["version"], more["isExternalReference"] = id, sdmxAgency, sdmxVersion, false
		return with(l, more)
	}
	concepts, codelists := []item{}, []item{}
	list := func(ref string, l Label, codes []namedCode) {
		agency, rest, _ := strings.Cut(ref, ":")
		id, version, _ := strings.Cut(strings.TrimSuffix(rest, ")"), "(")
		out := []item{}
		for _, c := range codes {
			code := with(c.label, item{"id": c.code})
			if c.parent != "" {
				code["parent"] = c.parent
			}
			out = append(out, code)
		}
		codelists = append(codelists, with(l, item{
			// Of the cross-domain lists only the codes that are used are repeated.
			"id": id, "agencyID": agency, "version": version, "isExternalReference": false, "isPartial": agency != sdmxAgency, "codes": out,
		}))
	}
	concept := func(id string, l Label) string {
		concepts = append(concepts, with(l, item{"id": id}))
		return urnConcept + id
	}

	dimensions := []item{}
	for i, d := range m.dims {
		dimensions = append(dimensions, item{
			"id": d.ID, "position": i, "conceptIdentity": concept(d.ID, d.label),
			"localRepresentation": item{"enumeration": urnCodelist + d.list},
		})
		list(d.list, d.label, m.codes(d, seen(d.code)))
	}
	attributes := []item{}
	for _, a := range sdmxAttributes() {
		representation := item{"format": item{"dataType": a.dataType}}
		if a.list != "" {
			representation = item{"enumeration": urnCodelist + a.list}
			var codes []namedCode
			for _, code := range m.attributeCodes(a.ID) {
				codes = append(codes, namedCode{code, attributeName(a.ID, code), ""})
			}
			list(a.list, a.label, codes)
		}
		usage, relationship := "optional", item{"observation": item{}}
		if a.indicator {
			relationship = item{"dimensions": []string{"INDICATOR"}}
		}
		if a.list != "" {
			usage = "mandatory"
		}
		attributes = append(attributes, item{
			"id": a.ID, "conceptIdentity": concept(a.ID, a.label), "usage": usage,
			"attributeRelationship": relationship, "localRepresentation": representation,
		})
	}
	name := Label{"Indicateurs du programme de mobilité Tunisie-France", "مؤشرات برنامج التنقل المهني بين تونس وفرنسا", "Indicators of the Tunisia-France labour mobility programme"}
	components := item{
		"dimensionList": item{
			"id": "DimensionDescriptor", "dimensions": dimensions,
			"timeDimension": item{
				"id": "TIME_PERIOD", "conceptIdentity": concept("TIME_PERIOD", Label{"Période", "الفترة", "Time period"}),
				"localRepresentation": item{"format": item{"dataType": "ObservationalTimePeriod"}},
			},
		},
		"measureList": item{"id": "MeasureDescriptor", "measures": []item{{
			"id": "OBS_VALUE", "usage": "optional", "conceptIdentity": concept("OBS_VALUE", Label{"Valeur", "القيمة", "Value"}),
			"localRepresentation": item{"format": item{"dataType": "Double"}},
		}}},
		"attributeList": item{"id": "AttributeDescriptor", "attributes": attributes},
	}
	return sdmxStructureMessage{
		Meta: newSDMXMeta("structure-message/tools/schemas/2.0.0/sdmx-json-structure-schema.json", m.prepared),
		Data: item{
			"conceptSchemes": []item{maintained("CS_MASAR", Label{"Concepts de Masar", "مفاهيم مسار", "Concepts of Masar"}, item{"concepts": concepts})},
			"codelists":      codelists,
			"dataStructures": []item{maintained(sdmxFlow, name, item{"dataStructureComponents": components})},
			"dataflows":      []item{maintained(sdmxFlow, name, item{"structure": urnStructure})},
		},
	}
}

// attributeCodes are the codes of a coded attribute.
func (m *sdmxMessage) attributeCodes(id string) (codes []string) {
	switch id {
	case "UNIT_MEASURE":
		for _, d := range m.defs {
			codes = append(codes, sdmxCode("", d.Unit))
		}
	case "DECIMALS":
		for _, d := range m.defs {
			codes = append(codes, strconv.Itoa(sdmxDecimals(d.Measure)))
		}
	case "OBS_STATUS":
		codes = []string{statusNormal, statusSuppressed}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// write writes the message in one of its forms.
func (m *sdmxMessage) write(w io.Writer, form string) error {
	if form == formSDMXJSON {
		return m.writeJSON(w)
	}
	return m.writeCSV(w)
}

// sdmxTypes are the full media types of the forms, with their versions.
var sdmxTypes = map[string]string{
	formSDMXCSV: typeSDMXCSV + ";version=2.0.0;charset=utf-8", formSDMXJSON: typeSDMXData + ";version=2.0.0",
}

// sdmxOutput answers with the figures of indicators with all their declared cuts.
func sdmxOutput(ctx context.Context, s Service, r sdmxRequest) (output, error) {
	catalogue, err := s.Indicators(ctx)
	if err != nil {
		return output{}, err
	}
	queries := r.values(catalogue.Indicators)
	stamp, err := s.Stamp(ctx, queries...)
	if err != nil {
		return output{}, err
	}
	return output{etag: tag(stamp, r.Format, r.SDMXQuery), kind: sdmxTypes[r.Format], write: func(w io.Writer) error {
		m, err := s.SDMX(ctx, queries...)
		if err != nil {
			return err
		}
		return m.write(w, r.Format)
	}}, nil
}

// sdmxStructureOutput answers with the structure message.
func sdmxStructureOutput(ctx context.Context, s Service) (output, error) {
	stamp, err := s.Stamp(ctx)
	if err != nil {
		return output{}, err
	}
	return output{etag: tag(stamp, "structure", nil), kind: typeSDMXStructure + ";version=2.0.0", write: func(w io.Writer) error {
		m, err := s.SDMXStructure(ctx)
		if err != nil {
			return err
		}
		return writeJSON(w, m)
	}}, nil
}

// SDMXQuery asks for the figures of indicators with all their declared cuts.
type SDMXQuery struct {
	Code  []string `query:"code"` // none: every indicator
	Grain Grain    `query:"grain" default:"month"`
	From  api.Date `query:"from"`
	To    api.Date `query:"to"`
	AsOf  string   `query:"as_of"`
}

// sdmxRequest is a query with the form of its answer.
type sdmxRequest struct {
	SDMXQuery
	Format string   `query:"format"` // "sdmx-csv" (default) or "sdmx-json"
	Accept []string `header:"Accept" json:"-"`
}

// Validate checks the form.
func (r *sdmxRequest) Validate() (err error) {
	r.Format, err = form(r.Format, r.Accept, formSDMXCSV, formSDMXJSON)
	return err
}

// values are the queries that it stands for: of each indicator that has the grain
// the total, then each declared cut.
func (q SDMXQuery) values(defs Definitions) (all []ValuesQuery) {
	codes := q.Code
	if len(codes) == 0 {
		for _, d := range defs {
			if slices.Contains(d.Grains, q.Grain) {
				codes = append(codes, d.Code)
			}
		}
	}
	for _, code := range codes {
		cuts := [][]string{nil}
		if d, ok := defs.Get(code); ok {
			cuts = reviewCuts(d)
		}
		for _, by := range cuts {
			all = append(all, ValuesQuery{Code: code, Grain: q.Grain, By: by, From: q.From, To: q.To, AsOf: q.AsOf})
		}
	}
	return all
}

// SDMX gives the answers to the queries as one message; the answer to a single one
// with its totals.
func (s *service) SDMX(ctx context.Context, queries ...ValuesQuery) (*sdmxMessage, error) {
	m := s.sdmx()
	cells := 0
	for _, q := range queries {
		series, err := s.Values(ctx, q)
		if err != nil {
			return nil, err
		}
		if cells += len(series.Rows); cells > mostCells {
			return nil, tooMuch("more than %d figures", mostCells)
		}
		m.add(series, len(queries) == 1)
	}
	return m, nil
}

// sdmx is an empty message.
func (s *service) sdmx() *sdmxMessage {
	return &sdmxMessage{dims: sdmxDimensions(s.dims), seasonStarts: s.programme.SeasonStarts, defs: s.defs, prepared: s.now().UTC()}
}

// SDMXStructure gives the structure message. Of dimensions without a closed list it
// has the codes that facts have had.
func (s *service) SDMXStructure(ctx context.Context) (sdmxStructureMessage, error) {
	if err := s.loading(); err != nil {
		return sdmxStructureMessage{}, err
	}
	return s.sdmx().structure(func(dimension string) []string {
		if len(access.From(ctx).Governorates)+len(access.From(ctx).Schemes) > 0 {
			return nil // what there is elsewhere is not for everybody
		}
		return s.codesSeen(dimension)
	}), nil
}

// codesSeen are the codes of a dimension that facts have had, in order.
func (s *service) codesSeen(dimension string) []string {
	codes := slices.Clone(s.columns.View().dicts[dimension])
	slices.Sort(codes)
	return codes
}
