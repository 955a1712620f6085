package indicators

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
)

// Document writes docs/indicators.md from the definitions: in French, for a reader
// who is not a programmer.
func Document(defs Definitions, dims []Dimension) string {
	w := writer{dims: newDimensionSet(dims)}
	w.line("<!-- Écrit par `masar indicators docs` à partir de services/indicators/definitions/ : ne pas modifier à la main. -->")
	w.line("# Les indicateurs")
	w.line("")
	w.line("Ce document dit, pour chacun des %d indicateurs de Masar, ce qu'il compte, comment, par quoi on peut le découper, et d'où il vient. Il est écrit à partir des définitions mêmes que le programme applique : ce qui est écrit ici est ce qui est compté.", len(defs))
	w.line("")
	w.line("## Comment lire")
	w.line("")
	w.line("- **Jours et mois** sont ceux de Tunis (%s). Un événement compte au jour où il s'est produit, même saisi plus tard ; une correction remplace ce qu'elle corrige. « À une date donnée », on ne compte que ce qui était alors connu.", Zone)
	w.line("- **Périodes** : %s.", w.grains(Grains))
	w.line("- **Inconnu et autre** : ce que l'événement ne disait pas est compté comme « unknown », ce qui est hors de la liste comme « other ».")
	w.line("- **Petits effectifs** : dans un découpage, un chiffre qui concerne moins de %d personnes est masqué (valeur par défaut, à confirmer).", DefaultSmallCell)
	w.line("- **Rapport de flux** : deux comptes de la même période, l'un divisé par l'autre. Ce ne sont pas forcément les mêmes personnes.")
	w.line("- **Version** : elle change quand ce qui est compté change ; un chiffre publié garde la version selon laquelle il a été compté.")
	w.line("- **Exemples** : tirés des essais que le programme passe à chaque modification. Les prénoms sont inventés.")
	w.line("- Un seul objectif chiffré est donné au programme : 2 500 personnes suivies. Tous les autres objectifs, jalons et valeurs de départ sont **à configurer** (fichier que nomme `MASAR_PROGRAMME`).")
	w.line("")
	results := map[string]Definitions{}
	for _, d := range defs {
		results[d.Result] = append(results[d.Result], d)
	}
	order := slices.SortedFunc(maps.Keys(results), func(a, b string) int {
		return cmp.Or(slices.Index([]string{"OS", "OG"}, b)-slices.Index([]string{"OS", "OG"}, a), strings.Compare(a, b))
	})
	w.line("## Les indicateurs par position dans le cadre logique")
	w.line("")
	w.line("| Position | Indicateur | Code | Unité | Objectif |")
	w.line("|---|---|---|---|---|")
	for _, r := range order {
		for _, d := range results[r] {
			w.line("| %s | [%s](#%s) · %s | `%s` | %s | %s |", r, d.LabelFR, d.Code, d.LabelAR, d.Code, unitFR(d.Unit), w.target(d))
		}
	}
	for _, r := range order {
		w.line("")
		w.line("## %s", resultFR(r))
		for _, d := range results[r] {
			w.indicator(d)
		}
	}
	w.line("")
	w.line("## Ce qui n'est pas encore compté")
	w.line("")
	w.line("Le cadre logique demande aussi ce qui suit. Aucun événement de la plateforme ne le porte encore : Masar ne l'invente pas.")
	w.line("")
	w.line("| Position | Indicateur | Pourquoi |")
	w.line("|---|---|---|")
	for _, n := range notFed {
		w.line("| %s | %s | %s |", n.result, n.label, n.reason)
	}
	return w.b.String()
}

// notFed are the indicators of the logframe (DOMAIN §2) that no event feeds.
var notFed = []struct{ result, label, reason string }{
	{"OG", "Maintien en emploi à 6 et 12 mois", "Pas encore alimenté : le suivi (P17) est une étape, ses contacts à M+6 et M+12 ne sont pas des événements."},
	{"1.1, 1.2, 1.3, 1.5", "Durée totale de l'inscription au départ", "Pas encore alimenté : une entrée dans une étape ne porte que la date d'entrée dans l'étape quittée. `stage_days` donne la durée de chaque étape."},
	{"OG", "Retours à temps", "Pas encore alimenté : aucun événement ne porte la date de retour prévue. Voir `return_rate` pour les retours et non-retours."},
	{"OG", "Part des métiers en tension", "Pas encore alimenté : il faut la liste (métier × région × validité) de l'année en vigueur ; celle de 2026 n'a pas été trouvée. Les offres se découpent déjà par métier et par région."},
	{"OG", "Nouveaux et revenants parmi les personnes suivies", "Pas encore alimenté : un parcours ne dit pas si la personne en a eu un autre avant le programme. Les nouvelles saisons d'un même parcours sont dans `people_rehired`."},
	{"OG", "Découpage par handicap", "Pas encore alimenté : la donnée n'est pas recueillie (donnée sensible, à décider avec l'INPDP)."},
	{"1.1, 1.2, 1.3, 1.5", "Coût par placement", "Pas encore alimenté : aucun événement ne porte de coût."},
	{"1.1, 1.2, 1.3, 1.5", "Employeurs revenus d'une saison à l'autre", "Pas encore alimenté comme tel : `offers_per_employer` dit combien d'offres chaque employeur ouvre dans la période."},
	{"1.4", "Conventions signées, places cofinancées, embauches PPP", "Pas encore alimenté : il n'y a pas d'objet « convention »."},
	{"1.6", "Jalons de l'étude (TdR, rapport provisoire, validation, restitution)", "Pas encore alimenté : les projets et jalons ne sont pas des événements de la plateforme."},
	{"1.7", "Assiduité, gain de niveau, heures de langue", "Pas encore alimenté : seuls l'entrée au test et son issue sont connus ; voir `people_tested` et `language_test_pass_rate`."},
	{"2.1", "Produits d'information par procédure, acteur, secteur et langue", "Pas encore alimenté."},
	{"2.2", "Audience, contacts, visites du site", "Pas encore alimenté : seuls les messages envoyés aux candidats le sont."},
	{"2.3", "Sessions d'information, participants, couverture des 24 gouvernorats", "Pas encore alimenté : l'information (P01) précède tout dossier. Les inscriptions par gouvernorat sont dans `people_registered`."},
	{"3.1", "SIGAF : centres connectés, dossiers, délais, diplômes vérifiés", "Pas encore alimenté : aucune interface publiée n'a été trouvée."},
	{"3.2", "SIMT : jeux de données, délais, bulletins, utilisateurs", "Pas encore alimenté."},
	{"Formation", "Places, remplissage, achèvement, insertion à six mois", "Pas encore alimenté : les places des centres ne sont pas des événements. Les entrées en formation et leur issue sont dans `people_in_training` et `training_pass_rate`."},
	{"ODD 10.7.1", "Coût du recrutement rapporté au revenu mensuel", "Pas encore alimenté : le registre des coûts par personne n'existe pas encore."},
}

// writer writes lines of Markdown.
type writer struct {
	b    strings.Builder
	dims dimensionSet
}

func (w *writer) line(format string, args ...any) {
	if len(args) == 0 {
		w.b.WriteString(format)
	} else {
		fmt.Fprintf(&w.b, format, args...)
	}
	w.b.WriteByte('\n')
}

func (w *writer) indicator(d *Definition) {
	w.line("")
	w.line(`<a id="%s"></a>`, d.Code)
	w.line("")
	w.line("### %s", d.LabelFR)
	w.line("")
	w.line(`<p dir="rtl" lang="ar"><strong>%s</strong> — %s</p>`, d.LabelAR, d.MeaningAR)
	w.line("")
	w.line("%s", d.MeaningFR)
	w.line("")
	w.line("| | |")
	w.line("|---|---|")
	w.line("| Code, version | `%s`, version %d |", d.Code, d.Version)
	for i, p := range d.Parts() {
		name := "Comment"
		if d.Measure == Ratio {
			name = []string{"Comment : en haut", "Comment : en bas"}[i]
		}
		w.line("| %s | %s |", name, w.how(p))
	}
	w.line("| Unité | %s |", unitFR(d.Unit))
	cuts := "aucun"
	if len(d.Dimensions) > 0 {
		cuts = w.names(d.Dimensions, ", ")
	}
	var crossed []string
	for _, c := range d.Cuts {
		crossed = append(crossed, w.names(c, " × "))
	}
	if len(crossed) > 0 {
		cuts += " ; croisements courants : " + strings.Join(crossed, ", ")
	}
	w.line("| Découpages | %s |", cuts)
	w.line("| Périodes | %s |", w.grains(d.Grains))
	w.line("| Source | %s |", d.Source)
	w.line("| Objectif | %s |", w.target(d))
	milestones := "à configurer"
	if len(d.Milestones) > 0 {
		var list []string
		for _, m := range d.Milestones {
			list = append(list, fmt.Sprintf("%s : %v (%s)", m.Date, m.Value, m.Source))
		}
		milestones = strings.Join(list, " ; ")
	}
	w.line("| Jalons | %s |", milestones)
	baseline := "à configurer"
	if d.Baseline != nil {
		baseline = fmt.Sprintf("%v (%s)", d.Baseline.Value, d.Baseline.Source)
	}
	w.line("| Valeur de départ | %s |", baseline)
	w.line("| Responsable, rythme | %s ; %s |", d.Owner, grainFR(d.Frequency))
	if d.GERF != "" {
		w.line("| Cadre de résultats UE (GERF) | %s |", d.GERF)
	}
	if d.SDG != "" {
		w.line("| ODD | %s |", d.SDG)
	}
	metric := func(name string) string { return "`" + strings.ReplaceAll(name, ".", "_") + "`" } // as Prometheus has it
	metrics := []string{metric(gaugeName(d, nil))}
	for _, by := range d.Gauges {
		metrics = append(metrics, metric(gaugeName(d, by)))
	}
	if d.Target != nil {
		metrics = append(metrics, metric(gaugeName(d, nil)+"_target"))
	}
	w.line("| Métriques | %s |", strings.Join(metrics, ", "))
	if len(d.Tests) > 0 {
		w.example(d, d.Tests[0])
	}
}

// how says what a part counts, in words.
func (w *writer) how(p Part) string {
	var of string
	switch p.Measure {
	case DistinctPeople:
		of = "Personnes différentes qui ont dans la période un événement "
	case DistinctEmployers:
		of = "Employeurs différents qui ont dans la période un événement "
	case Count:
		of = "Nombre d'événements de la période "
	case Sum:
		of = "Somme des " + numberFR(p.Of) + ", sur les événements de la période "
	case MedianDays:
		of = "Médiane et 90e centile de " + numberFR(p.Of) + ", sur les événements de la période "
	case Stock:
		what := map[string]string{OfPeople: "Personnes", OfSubjects: "Dossiers"}[p.Of]
		if what == "" {
			what = "Somme des " + numberFR(p.Of)
		}
		text := what + " à la fin de la période. Entre par un événement " + w.condition(p.Enters)
		if p.Changes != nil {
			text += " ; change par " + w.condition(p.Changes)
		}
		return text + " ; sort par " + w.condition(p.Leaves) + "."
	}
	text := of + w.condition(p.Facts)
	for _, name := range slices.Sorted(maps.Keys(p.From)) {
		text += fmt.Sprintf(". « %s » est ici « %s »", w.dims[name].LabelFR, w.dims[p.From[name]].LabelFR)
	}
	return text + "."
}

// condition says in French what a selector is true of.
func (w *writer) condition(s *Selector) string {
	if s == nil || s.tree == nil {
		return ""
	}
	return w.words(s.tree, false)
}

func (w *writer) words(e celast.Expr, inner bool) string {
	call := e.AsCall()
	args := call.Args()
	compare := func(name, code celast.Expr, not string) string {
		if name.Kind() != celast.IdentKind {
			name, code = code, name
		}
		if code.Kind() == celast.IdentKind {
			return w.dims[name.AsIdent()].LabelFR + " : " + not + "le même que " + w.dims[code.AsIdent()].LabelFR
		}
		text, _ := textOf(code)
		return w.subject(name.AsIdent()) + not + w.code(name.AsIdent(), text)
	}
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr:
		word := map[string]string{operators.LogicalAnd: ", avec ", operators.LogicalOr: " ; ou bien "}[call.FunctionName()]
		text := w.words(args[0], true) + word + w.words(args[1], true)
		if inner && call.FunctionName() == operators.LogicalOr {
			text = "(" + text + ")"
		}
		return text
	case operators.LogicalNot:
		return "à l'exclusion de (" + w.words(args[0], false) + ")"
	case operators.Equals:
		return compare(args[0], args[1], "")
	case operators.NotEquals:
		return compare(args[0], args[1], "pas ")
	case operators.In:
		var codes []string
		for _, item := range args[1].AsList().Elements() {
			text, _ := textOf(item)
			codes = append(codes, w.code(args[0].AsIdent(), text))
		}
		return w.subject(args[0].AsIdent()) + strings.Join(codes, " ou ")
	}
	begin, _ := textOf(args[0]) // startsWith: a selector has nothing else
	return fmt.Sprintf("%squi commence par « %s »", w.subject(call.Target().AsIdent()), begin)
}

// subject begins a condition: a kind needs no name.
func (w *writer) subject(name string) string {
	if name == KindName {
		return ""
	}
	return w.dims[name].LabelFR + " : "
}

func (w *writer) code(name, code string) string {
	if name == KindName {
		return "« " + kindFR[Kind(code)] + " »"
	}
	label := codeLabel(name, code).FR
	switch name {
	case "placement":
		return map[string]string{"yes": "oui", "no": "non"}[code]
	case "stage", "from_stage", "exit", "rome":
		if label != code && code != Unknown && code != Other {
			return code + " (" + label + ")"
		}
	}
	return label
}

func (w *writer) names(dims []string, between string) string {
	var out []string
	for _, name := range dims {
		out = append(out, w.dims[name].LabelFR)
	}
	return strings.Join(out, between)
}

func (w *writer) grains(list []Grain) string {
	var out []string
	for _, g := range list {
		out = append(out, grainFR(g))
	}
	return strings.Join(out, ", ")
}

func (w *writer) target(d *Definition) string {
	if d.Target == nil {
		return d.TargetStatus
	}
	return fmt.Sprintf("**%v** (%s)", d.Target.Value, d.Target.Source)
}

// example writes a test as a small story.
func (w *writer) example(d *Definition, t DefinitionTest) {
	w.line("")
	w.line("*Exemple : %s.*", t.Name)
	w.line("")
	for _, e := range t.Events {
		text := func(name string) string {
			if v, ok := e[name]; ok {
				return fmt.Sprint(v)
			}
			return ""
		}
		var about []string
		who := cmp.Or(text("person"), text("offer"), text("subject"))
		for _, name := range slices.SortedFunc(maps.Keys(e), func(a, b string) int {
			order := []string{"subject", "offer", "employer", "from_stage", "stage"}
			place := func(n string) int {
				if i := slices.Index(order, n); i >= 0 {
					return i
				}
				return len(order)
			}
			return cmp.Or(place(a)-place(b), strings.Compare(a, b))
		}) {
			value := text(name)
			switch name {
			case "kind", "when", "person", "id", "seq":
			case "subject", "offer", "employer":
				if value != who {
					about = append(about, value)
				}
			case "recorded":
				about = append(about, "connu le "+dayFR(value))
			case "supersedes":
				about = append(about, "remplace « "+value+" »")
			case "stay_days":
				about = append(about, value+" jours dans l'étape")
			case "posts":
				about = append(about, value+" postes")
			case "filled":
				about = append(about, value+" pourvus")
			default:
				about = append(about, w.dims[name].LabelFR+" "+w.code(name, value))
			}
		}
		line := fmt.Sprintf("- %s, %s : %s", dayFR(text("when")), who, kindFR[Kind(text("kind"))])
		if len(about) > 0 {
			line += " (" + strings.Join(about, ", ") + ")"
		}
		w.line("%s", line)
	}
	w.line("")
	for _, e := range t.Expect {
		question := grainFR(e.grain())
		if len(e.By) > 0 {
			question += ", par " + strings.ToLower(w.names(e.By, " et "))
		}
		if e.From != "" {
			question += ", à partir du " + dayFR(e.From)
		}
		if e.To != "" {
			question += ", jusqu'au " + dayFR(e.To)
		}
		if e.AsOf != "" {
			question += ", selon ce qui était connu le " + dayFR(e.AsOf)
		}
		var answers []string
		for _, key := range slices.Sorted(maps.Keys(e.Figures)) {
			text, err := figureText(d, e.Figures[key])
			if err != nil {
				continue // RunTests has said it
			}
			if text == noFigure {
				text = "pas de chiffre"
			}
			var of []string
			parts := strings.Fields(key)
			if len(parts) == 0 {
				continue // so has RunTests
			}
			if parts[0] != string(All) {
				of = append(of, parts[0])
			}
			for i, code := range parts[1:] {
				if i < len(e.By) {
					of = append(of, w.code(e.By[i], code))
				}
			}
			if len(of) > 0 {
				text = strings.Join(of, ", ") + " : " + text
			}
			answers = append(answers, text)
		}
		w.line("→ %s : **%s**  ", question, strings.Join(answers, " ; "))
	}
}

// kindFR names the kinds of facts for readers.
var kindFR = map[Kind]string{
	CandidateRegistered: "personne inscrite",
	CandidateUpdated:    "fiche de la personne modifiée",
	PathwayOpened:       "parcours ouvert",
	StageEntered:        "entrée dans une étape",
	PathwayExited:       "sortie du parcours",
	PathwayCompleted:    "parcours achevé",
	EmployerRegistered:  "employeur inscrit",
	EmployerUpdated:     "employeur modifié",
	OfferOpened:         "offre ouverte",
	OfferUpdated:        "offre modifiée",
	PostFilled:          "poste pourvu",
	PostReleased:        "poste libéré",
	OfferClosed:         "offre fermée",
	DecisionRecorded:    "décision d'appariement",
	CampaignCompleted:   "campagne d'appariement calculée",
	MessageSent:         "message envoyé",
	MessageFailed:       "message abandonné",
	Retracted:           "saisie retirée",
}

func numberFR(name string) string {
	text := map[string]string{
		Posts: "postes de l'offre", PostsFilled: "postes pourvus de l'offre", PostsOpen: "postes restant à pourvoir de l'offre",
		StaySeconds: "la durée passée dans l'étape quittée",
	}[name]
	return cmp.Or(text, name)
}

// dayFR writes 2026-01-31 as 31/01/2026, with the time of day if there is one.
func dayFR(text string) string {
	day, clock, _ := strings.Cut(text, " ")
	parts := strings.Split(day, "-")
	slices.Reverse(parts)
	return strings.TrimSpace(strings.Join(parts, "/") + " " + clock)
}

func grainFR(g Grain) string {
	text := map[Grain]string{
		"day": "jour", "month": "mois", "quarter": "trimestre", "half_year": "semestre", "year": "année", "season": "saison", "all": "depuis le début",
	}[g]
	return cmp.Or(text, string(g))
}

func unitFR(unit string) string {
	text := map[string]string{
		"people": "personnes", "days": "jours", "offers": "offres", "posts": "postes", "decisions": "décisions", "messages": "messages",
		"pathways": "parcours", "employers": "employeurs", "contracts": "contrats", "campaigns": "campagnes",
		"share": "part (de 0 à 1)", "per person": "rapport", "days per person": "jours",
	}[unit]
	return cmp.Or(text, unit)
}

func resultFR(result string) string {
	text := map[string]string{
		"OG": "Objectif général", "OS": "Objectif spécifique", "1.2": "Résultat 1.2 : soins", "1.7": "Résultat 1.7 : langue",
		"2.2": "Résultat 2.2 : communication", "2.3": "Résultat 2.3 : information et inscription",
	}[result]
	return cmp.Or(text, "Résultat "+result)
}
