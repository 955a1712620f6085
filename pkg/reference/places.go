package reference

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Governorate is one of the 24 governorates of Tunisia.
type Governorate struct {
	Code    string // ISO 3166-2, "TN-71"
	LabelFR string
	LabelAR string
	LabelEN string
	// Capital is the chief town, with its longitude and latitude in degrees
	// (WGS84, to the hundredth), for a point on a map.
	Capital  string
	Lon, Lat float64
}

var governorates = sync.OnceValue(func() []Governorate {
	var all []Governorate
	for _, r := range table("governorates", "code", "label_fr", "label_ar", "label_en", "capital", "lon", "lat") {
		lon, lat := point("governorates", r)
		all = append(all, Governorate{r["code"], r["label_fr"], r["label_ar"], r["label_en"], r["capital"], lon, lat})
	}
	return all
})

// point reads the coordinates of a row.
func point(list string, row map[string]string) (lon, lat float64) {
	for name, v := range map[string]*float64{"lon": &lon, "lat": &lat} {
		var err error
		if *v, err = strconv.ParseFloat(row[name], 64); err != nil {
			panic("reference: embedded list " + list + ": " + err.Error())
		}
	}
	return lon, lat
}

var governorateNames = sync.OnceValue(func() map[string]Governorate {
	names := map[string]Governorate{}
	for _, g := range governorates() {
		for _, name := range []string{g.Code, strings.TrimPrefix(g.Code, "TN-"), g.LabelFR, g.LabelAR, g.LabelEN} {
			names[placeKey(name)] = g
		}
	}
	return names
})

// Governorates returns the 24 governorates in the order of their codes.
func Governorates() []Governorate { return slices.Clone(governorates()) }

// FindGovernorate reads a governorate as people write it: "TN-71", "71",
// "Gafsa", "قفصة", "El Kef", "Gouvernorat de Béja", "ولاية الكاف". Case, accents,
// spaces and articles do not matter, ة is the same as ه.
func FindGovernorate(text string) (Governorate, bool) {
	g, ok := governorateNames()[placeKey(text)]
	return g, ok
}

// placeKey folds a place name and takes away the words and articles that people
// put before it or leave out.
func placeKey(text string) string {
	words := strings.Fields(Fold(text))
	for len(words) > 1 {
		switch words[0] {
		case "gouvernorat", "governorate", "wilaya", "wilayat", "ولايه", "de", "du", "d", "of", "le", "la", "l", "el", "al":
			words = words[1:]
			continue
		}
		break
	}
	key := strings.Join(words, "")
	// The article is written together with the word in Arabic.
	if rest, ok := strings.CutPrefix(key, "ال"); ok && rest != "" {
		key = rest
	}
	return key
}

// Departement is a department of France.
type Departement struct {
	Code    string // INSEE, "01", "2A", "974"
	LabelFR string
	Region  string // INSEE code of its region
}

var departements = sync.OnceValue(func() map[string]Departement {
	all := map[string]Departement{}
	for _, r := range table("departements", "code", "label_fr", "region") {
		all[r["code"]] = Departement{r["code"], r["label_fr"], r["region"]}
	}
	return all
})

// Departements returns the 101 departments in the order of their codes.
func Departements() []Departement {
	all := make([]Departement, 0, len(departements()))
	for _, d := range departements() {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Departement) int { return strings.Compare(a.Code, b.Code) })
	return all
}

// FindDepartement returns a department by its INSEE code, in any case.
func FindDepartement(code string) (Departement, bool) {
	d, ok := departements()[strings.ToUpper(strings.TrimSpace(code))]
	return d, ok
}

// Region returns the INSEE code of the region of a department, "" for a code
// that is not a department's.
func Region(departement string) string {
	d, _ := FindDepartement(departement)
	return d.Region
}

// DepartementOfCommune returns the department of an INSEE commune code ("01053"
// is in "01", "2A004" in "2A", "97411" in "974"), "" when there is none.
func DepartementOfCommune(insee string) string {
	insee = strings.ToUpper(strings.TrimSpace(insee))
	if len(insee) != 5 {
		return ""
	}
	return departementOf(insee)
}

// DepartementOfPostalCode returns the department that a postal code usually
// lies in, "" when there is none. Post offices do not follow the borders of
// departments, so the commune decides where it is known. Corsican codes 200 and
// 201 are in 2A, 202 and 206 in 2B.
func DepartementOfPostalCode(postal string) string {
	postal = strings.TrimSpace(postal)
	if len(postal) != 5 {
		return ""
	}
	switch postal[:3] {
	case "200", "201":
		return "2A"
	case "202", "206":
		return "2B"
	}
	return departementOf(postal)
}

func departementOf(code string) string {
	for _, n := range []int{2, 3} {
		if d, ok := departements()[code[:n]]; ok {
			return d.Code
		}
	}
	return ""
}

// InseeRegion is a region of France.
type InseeRegion struct {
	Code    string // INSEE, "84"
	LabelFR string
	// Capital is the chief town, with its longitude and latitude in degrees
	// (WGS84, to the hundredth), for a point on a map.
	Capital  string
	Lon, Lat float64
}

var regions = sync.OnceValue(func() []InseeRegion {
	var all []InseeRegion
	for _, r := range table("regions", "code", "label_fr", "capital", "lon", "lat") {
		lon, lat := point("regions", r)
		all = append(all, InseeRegion{r["code"], r["label_fr"], r["capital"], lon, lat})
	}
	return all
})

// Regions returns the 18 regions of France in the order of their codes.
func Regions() []InseeRegion { return slices.Clone(regions()) }
