package reference

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unique"
)

// Sectors of the programme, as Sector returns them.
const (
	SectorAgriculture = "agriculture"
	SectorCare        = "soin"
	SectorTransport   = "transport"
	SectorIndustry    = "industrie"
	SectorHospitality = "thr"
	SectorClothing    = "confection"
	SectorOther       = "autre"
)

// Job is one occupation of ROME, the operational directory of jobs of France Travail.
type Job struct {
	Code    string `json:"code"`
	LabelFR string `json:"label"`
	// FormerLabel is the label that the sheet had before ROME 4.0 split it;
	// empty for sheets outside the programme's list.
	FormerLabel string `json:"former_label,omitempty"`
	// Parent is the sheet it was split off from; itself when it is one.
	Parent string `json:"parent"`
	// ISCO is the ISCO-08 unit group; empty when none is known.
	ISCO string `json:"isco,omitempty"`
	// Sector of the programme; SectorOther outside its list.
	Sector string `json:"sector"`
	// Mobility are the occupations that its holders move to, nearest first;
	// empty in the embedded list.
	Mobility []string `json:"mobility,omitempty"`
	// Names are the job titles (appellations) that belong to it; empty in the
	// embedded list.
	Names []string `json:"names,omitempty"`
	// Items are the competences of its sheet, by code; empty in the embedded list.
	Items []Item `json:"items,omitempty"`
}

// Item is a competence (know-how, knowledge, soft skill) on the sheet of a job.
type Item struct {
	Code string `json:"code"` // OGR code, see ItemCode
	// Core: ROME calls it a main one of the job ("Principale").
	Core bool `json:"core,omitempty"`
}

// Domain returns the code of the professional domain ("A14" of "A1401").
func (j Job) Domain() string {
	if len(j.Code) < 3 {
		return ""
	}
	return j.Code[:3]
}

// Occupations is a list of occupations: the embedded one, which knows the codes
// that the programme's schemes need, or the whole of ROME. It is immutable.
type Occupations struct {
	// Version is the number of ROME and a digest of the list, as in
	// "460-1c0ffee1": two lists of one version say the same, so that what was
	// worked out with one can be worked out again.
	Version string            `json:"version"`
	Jobs    map[string]Job    `json:"jobs"`
	Domains map[string]string `json:"domains,omitempty"` // "A" and "A14" to their labels
	// Items are the labels of ROME's competences by OGR code, also of those that
	// are on no sheet; empty in the embedded list.
	Items map[string]string `json:"items,omitempty"`
}

var embeddedOccupations = sync.OnceValue(func() *Occupations {
	o := &Occupations{Jobs: map[string]Job{}}
	for _, r := range table("occupations", "code", "label_fr", "former_label", "parent", "isco", "sector") {
		o.Jobs[r["code"]] = Job{
			Code: r["code"], LabelFR: r["label_fr"], FormerLabel: r["former_label"],
			Parent: r["parent"], ISCO: r["isco"], Sector: r["sector"],
		}
	}
	return o.named("460")
})

// named gives the list its version: the number of ROME and a digest of all it says.
func (o *Occupations) named(number string) *Occupations {
	o.Version = ""
	text, err := json.Marshal(o) // maps are written in the order of their keys
	if err != nil {
		panic(fmt.Sprintf("reference: occupations cannot be encoded: %v", err)) // they hold only texts
	}
	o.Version = fmt.Sprintf("%s-%.4x", number, sha256.Sum256(text))
	return o
}

// EmbeddedOccupations returns the occupations that are part of the program.
func EmbeddedOccupations() *Occupations { return embeddedOccupations() }

// Occupation returns an occupation of the embedded list.
func Occupation(rome string) (Job, bool) { return embeddedOccupations().Occupation(rome) }

// Sector returns the sector of the programme that a ROME code belongs to,
// SectorOther ("autre") for every code outside the programme's list. A sheet
// that was split off from a listed one belongs where its parent does.
func Sector(rome string) string { return embeddedOccupations().Sector(rome) }

// Occupation returns an occupation by its code, in any case.
func (o *Occupations) Occupation(rome string) (Job, bool) {
	j, ok := o.Jobs[strings.ToUpper(strings.TrimSpace(rome))]
	return j, ok
}

// Item returns the label of a competence by its OGR code; ok is false when the
// list does not know it, as the embedded one knows none.
func (o *Occupations) Item(code string) (label string, ok bool) {
	label, ok = o.Items[code]
	return label, ok
}

// ItemCode reads the OGR code of a competence: up to nine digits, not beginning
// with 0 (ROME's have five or six). ok is false for anything else; whether ROME
// knows the code is for Occupations.Item to say.
func ItemCode(text string) (code string, ok bool) {
	code = strings.TrimSpace(text)
	if code == "" || len(code) > 9 || code[0] == '0' || strings.Trim(code, "0123456789") != "" {
		return "", false
	}
	return code, true
}

// Sector is the function Sector over this list.
func (o *Occupations) Sector(rome string) string {
	if j, ok := o.Occupation(rome); ok {
		return j.Sector
	}
	return SectorOther
}

// Codes returns every code, in order.
func (o *Occupations) Codes() []string { return slices.Sorted(maps.Keys(o.Jobs)) }

// SchemeOf names the scheme that an offer falls under when nobody said which,
// "" when none: "agri" for seasonal or fixed-term contracts (SAI, CDD, DDI) in
// agriculture, "soin" for any employment contract in care. Work that is not
// under an employment contract (liberal, franchise, commercial: LIB, FRA, CCE)
// is in no scheme, because a work permit is asked for by an employer.
//
// Source: scheme variants AGRI 1.1 ("saisonnier") and SOIN 1.2 of the
// programme; that a fixed-term contract counts as seasonal work is our own
// reading, because France Travail publishes most seasonal offers as CDD.
func SchemeOf(sector, contract string) string {
	contract = strings.ToUpper(strings.TrimSpace(contract))
	switch sector {
	case SectorAgriculture:
		if contract == "SAI" || contract == "CDD" || contract == "DDI" {
			return "agri"
		}
	case SectorCare:
		if contract != "LIB" && contract != "FRA" && contract != "CCE" {
			return "soin"
		}
	}
	return ""
}

// ImportROME reads the official CSV files of ROME ("unix_..._v460_utf8.csv") in
// a directory: codes with their parents, domains, mobility links in their
// published order, appellations, and the competences of each sheet. The
// programme's own columns (sector, ISCO group) come from the embedded list; a
// sheet inherits the sector of its parent. A file that is missing, malformed or
// refers to an unknown code is an error that names the file and the line's content.
func ImportROME(dir string) (*Occupations, error) {
	codes, version, err := romeFile(dir, "referentiel_code_rome", "code_rome", "libelle_rome", "code_rome_parent")
	if err != nil {
		return nil, err
	}
	o := &Occupations{Jobs: make(map[string]Job, len(codes)), Domains: map[string]string{}, Items: map[string]string{}}
	known := embeddedOccupations()
	for _, r := range codes {
		code := r["code_rome"]
		if !romeShaped(code) || r["libelle_rome"] == "" {
			return nil, fmt.Errorf("ROME: code %q with label %q: a code is a letter and four digits and has a label", code, r["libelle_rome"])
		}
		if _, twice := o.Jobs[code]; twice {
			return nil, fmt.Errorf("ROME: code %s is there twice", code)
		}
		j := Job{Code: code, LabelFR: r["libelle_rome"], Parent: r["code_rome_parent"], Sector: SectorOther}
		if listed, ok := known.Occupation(code); ok {
			j.FormerLabel, j.ISCO, j.Sector = listed.FormerLabel, listed.ISCO, listed.Sector
		} else if parent, ok := known.Occupation(j.Parent); ok {
			j.Sector = parent.Sector
		}
		o.Jobs[code] = j
	}
	for _, j := range o.Jobs {
		if _, ok := o.Jobs[j.Parent]; !ok {
			return nil, fmt.Errorf("ROME: parent %q of %s is not a code of the list", j.Parent, j.Code)
		}
	}
	for file, columns := range map[string][2]string{
		"grand_domaine":         {"code_grand_domaine", "libelle_grand_domaine"},
		"domaine_professionnel": {"code_domaine_professionnel", "libelle_domaine_professionnel"},
	} {
		rows, _, err := romeFile(dir, file, columns[0], columns[1])
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			o.Domains[r[columns[0]]] = r[columns[1]]
		}
	}
	if err := o.importMobility(dir); err != nil {
		return nil, err
	}
	if err := o.importNames(dir); err != nil {
		return nil, err
	}
	if err := o.importItems(dir); err != nil {
		return nil, err
	}
	return o.named(version), nil
}

// importItems reads the competences: their labels, and on which sheet each is.
func (o *Occupations) importItems(dir string) error {
	_, err := eachROME(dir, "item", []string{"code_ogr", "libelle"}, func(cells []string) error {
		code, ok := ItemCode(cells[0])
		if _, twice := o.Items[code]; !ok || twice || cells[1] == "" {
			return fmt.Errorf("item %q with label %q: a code is up to nine digits, has a label and is there once", cells[0], cells[1])
		}
		o.Items[strings.Clone(code)] = strings.Clone(cells[1])
		return nil
	})
	if err != nil {
		return err
	}
	items := make(map[string][]Item, len(o.Jobs))
	_, err = eachROME(dir, "coherence_item", []string{"code_rome", "code_ogr", "coeur_metier"}, func(cells []string) error {
		job, known := o.Jobs[cells[0]]
		if _, item := o.Items[cells[1]]; !known || !item {
			return fmt.Errorf("item %q of %q: both must be codes of the lists", cells[1], cells[0])
		}
		items[job.Code] = append(items[job.Code], Item{Code: shared(cells[1]), Core: cells[2] == "Principale"})
		return nil
	})
	if err != nil {
		return err
	}
	for code, list := range items {
		slices.SortFunc(list, func(a, b Item) int { return strings.Compare(a.Code, b.Code) })
		j := o.Jobs[code]
		for i := range list {
			if i > 0 && list[i].Code == list[i-1].Code {
				return fmt.Errorf("ROME: item %s is on the sheet %s twice", list[i].Code, code)
			}
		}
		j.Items = list
		o.Jobs[code] = j
	}
	return nil
}

// shared gives the one copy of a code: a competence is on several sheets.
func shared(code string) string { return unique.Make(code).Value() }

func (o *Occupations) importMobility(dir string) error {
	rows, _, err := romeFile(dir, "rubrique_mobilite", "code_rome", "code_rome_cible", "numero_ordre")
	if err != nil {
		return err
	}
	type link struct {
		to    string
		order int
	}
	links := map[string][]link{}
	for _, r := range rows {
		order, err := strconv.Atoi(r["numero_ordre"])
		_, from := o.Jobs[r["code_rome"]]
		_, to := o.Jobs[r["code_rome_cible"]]
		if err != nil || !from || !to {
			return fmt.Errorf("ROME: mobility %q to %q, order %q: both must be codes of the list and the order a number", r["code_rome"], r["code_rome_cible"], r["numero_ordre"])
		}
		links[r["code_rome"]] = append(links[r["code_rome"]], link{r["code_rome_cible"], order})
	}
	for code, list := range links {
		slices.SortStableFunc(list, func(a, b link) int { return a.order - b.order })
		j := o.Jobs[code]
		for _, l := range list {
			j.Mobility = append(j.Mobility, l.to)
		}
		o.Jobs[code] = j
	}
	return nil
}

func (o *Occupations) importNames(dir string) error {
	rows, _, err := romeFile(dir, "referentiel_appellation", "libelle_appellation_long", "code_rome")
	if err != nil {
		return err
	}
	for _, r := range rows {
		j, ok := o.Jobs[r["code_rome"]]
		if !ok {
			return fmt.Errorf("ROME: appellation %q belongs to %q, which is not a code of the list", r["libelle_appellation_long"], r["code_rome"])
		}
		j.Names = append(j.Names, r["libelle_appellation_long"])
		o.Jobs[j.Code] = j
	}
	return nil
}

func romeShaped(code string) bool {
	if len(code) != 5 || code[0] < 'A' || code[0] > 'Z' {
		return false
	}
	for _, c := range code[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// romeFile reads dir/unix_<name>_v<version>_utf8.csv, whatever the version, a map a row.
func romeFile(dir, name string, columns ...string) (rows []map[string]string, version string, err error) {
	version, err = eachROME(dir, name, columns, func(cells []string) error {
		row := make(map[string]string, len(columns))
		for i, column := range columns {
			row[column] = cells[i]
		}
		rows = append(rows, row)
		return nil
	})
	return rows, version, err
}

// eachROME reads the columns of dir/unix_<name>_v<version>_utf8.csv, whatever the
// version, row by row. The cells are overwritten by those of the next row.
func eachROME(dir, name string, columns []string, visit func(cells []string) error) (version string, err error) {
	found, err := filepath.Glob(filepath.Join(dir, "unix_"+name+"_v*_utf8.csv"))
	if err != nil {
		return "", fmt.Errorf("ROME: %w", err)
	}
	if len(found) != 1 {
		return "", fmt.Errorf("ROME: %d files unix_%s_v*_utf8.csv in %s: there must be exactly one", len(found), name, dir)
	}
	version = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), "unix_"+name+"_v"), "_utf8.csv")
	f, err := os.Open(found[0])
	if err != nil {
		return "", fmt.Errorf("ROME: %w", err)
	}
	defer f.Close()
	cells := make([]string, len(columns))
	err = eachCSV(f, columns, func(head, record []string) error {
		for i, column := range columns {
			cells[i] = strings.TrimSpace(record[slices.Index(head, column)])
		}
		return visit(cells)
	})
	if err != nil {
		return "", fmt.Errorf("ROME: file %s: %w", found[0], err)
	}
	return version, nil
}

// Where a platform keeps the whole of ROME, under its data directory: the list in
// force, and each version that ever was.
const (
	occupationsFile = "reference/rome.json.gz"
	versionPattern  = "reference/rome-%s.json.gz"
)

// Save keeps the list under a platform's data directory, whole or not at all:
// under its version, for LoadVersion to find, and as the one in force, for Load.
// The list that was in force stays to be found under its version.
func (o *Occupations) Save(dataDir string) error {
	path := filepath.Join(dataDir, filepath.FromSlash(occupationsFile))
	if before, err := loadFile(path); err == nil {
		// Kept by a program that knew no versions, it is there only once.
		if _, err := os.Stat(versionFile(dataDir, before.Version)); errors.Is(err, fs.ErrNotExist) {
			if err := before.write(versionFile(dataDir, before.Version)); err != nil {
				return err
			}
		}
	}
	if err := o.write(versionFile(dataDir, o.Version)); err != nil {
		return err
	}
	return o.write(path)
}

func versionFile(dataDir, version string) string {
	return filepath.Join(dataDir, filepath.FromSlash(fmt.Sprintf(versionPattern, version)))
}

func (o *Occupations) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("reference: keep the occupations: %w", err)
	}
	draft, err := os.CreateTemp(filepath.Dir(path), ".rome-*")
	if err != nil {
		return fmt.Errorf("reference: keep the occupations: %w", err)
	}
	defer os.Remove(draft.Name())
	packed := gzip.NewWriter(draft)
	err = errors.Join(json.NewEncoder(packed).Encode(o), packed.Close(), draft.Sync(), draft.Close())
	if err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("reference: keep the occupations in %s: %w", path, err)
	}
	return nil
}

// maxOccupations bounds what Load unpacks, in bytes; ROME v460 takes 5 MB.
const maxOccupations = 64 << 20

// Load returns the occupations in force under a platform's data directory, which
// are those that were saved last, and the embedded ones when there are none.
func Load(dataDir string) (*Occupations, error) {
	o, err := loadFile(filepath.Join(dataDir, filepath.FromSlash(occupationsFile)))
	if errors.Is(err, fs.ErrNotExist) {
		return embeddedOccupations(), nil
	}
	return o, err
}

// LoadVersion returns the occupations of a version, as Occupations.Version names
// it: the embedded ones, those in force, or any that were saved before under the
// data directory. A version that is not there is an error which says what is.
func LoadVersion(dataDir, version string) (*Occupations, error) {
	if version == embeddedOccupations().Version {
		return embeddedOccupations(), nil
	}
	current, err := Load(dataDir)
	if err != nil {
		return nil, err
	}
	if current.Version == version {
		return current, nil
	}
	if version != "" && filepath.Base(version) == version {
		o, err := loadFile(versionFile(dataDir, version))
		if err == nil && o.Version == version {
			return o, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	there := []string{embeddedOccupations().Version, current.Version}
	before, after, _ := strings.Cut(filepath.Base(versionPattern), "%s")
	kept, _ := os.ReadDir(filepath.Dir(versionFile(dataDir, ""))) // where there is none, nothing is kept
	for _, file := range kept {
		if name, ok := strings.CutPrefix(file.Name(), before); ok && strings.HasSuffix(name, after) {
			there = append(there, strings.TrimSuffix(name, after))
		}
	}
	slices.Sort(there)
	return nil, fmt.Errorf("reference: no occupations of version %q in %s (there are %s): import the files of that version of ROME again",
		version, dataDir, strings.Join(slices.Compact(there), ", "))
}

func loadFile(path string) (*Occupations, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reference: occupations: %w", err)
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reference: occupations in %s: %w; import ROME again", path, err)
	}
	var o Occupations
	if err := json.NewDecoder(io.LimitReader(packed, maxOccupations)).Decode(&o); err != nil {
		return nil, fmt.Errorf("reference: occupations in %s: %w; import ROME again", path, err)
	}
	if len(o.Jobs) == 0 {
		return nil, fmt.Errorf("reference: no occupation in %s; import ROME again", path)
	}
	for code, j := range o.Jobs {
		for i := range j.Items {
			j.Items[i].Code = shared(j.Items[i].Code)
		}
		// The list stays for good: no room behind its ends.
		j.Items, j.Names = slices.Clone(j.Items), slices.Clone(j.Names)
		o.Jobs[code] = j
	}
	return &o, nil
}
