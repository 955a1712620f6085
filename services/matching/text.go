package matching

import (
	"strconv"
	"strings"

	"masar.local/pkg/reference"
)

// Reason is why a condition holds or not, or why a part of a score is what it
// is: a key and what it is about. It becomes text only when somebody reads it.
type Reason struct {
	Key      string
	A, B, C  string
	N        int32
	From, To Day
}

// Text says one thing in the two languages of the programme.
type Text struct{ FR, AR string }

// texts has a text for every key of a Reason. {a}, {b}, {c} are codes, {n} a
// number, {from} and {to} days, {lang} the name of language {a}, {stage} the
// label of stage {a}, {kind} the name of decision {b}.
var texts = map[string]Text{
	"offer_open":         {"l'offre est ouverte", "العرض مفتوح"},
	"offer_closed":       {"l'offre n'est plus ouverte", "العرض لم يعد مفتوحا"},
	"posts_left":         {"postes à pourvoir : {n}", "الشغورات المتبقية: {n}"},
	"posts_none":         {"tous les postes sont pourvus", "كل الشغورات مسدودة"},
	"employer_active":    {"l'employeur n'est pas suspendu", "المشغّل غير موقوف"},
	"employer_suspended": {"l'employeur est suspendu", "المشغّل موقوف"},

	"occupation_exact":    {"exerce le métier demandé ({a})", "يمارس المهنة المطلوبة ({a})"},
	"occupation_family":   {"exerce un métier de la même famille ({a} pour {b})", "يمارس مهنة من نفس العائلة ({a} عوضا عن {b})"},
	"occupation_mobility": {"exerce un métier proche ({a} pour {b})", "يمارس مهنة قريبة ({a} عوضا عن {b})"},
	"occupation_none":     {"n'exerce ni le métier demandé ({a}) ni un métier proche", "لا يمارس المهنة المطلوبة ({a}) ولا مهنة قريبة منها"},

	"scheme_wished": {"le dispositif {a} lui convient", "البرنامج {a} يناسبه"},
	"scheme_other":  {"souhaite un autre dispositif que {a}", "يرغب في برنامج غير {a}"},
	"scheme_none":   {"l'offre ne relève d'aucun dispositif du programme", "العرض لا يندرج ضمن أي برنامج"},

	"pathway_takes":   {"parcours ouvert, étape {a} ({stage})", "له مسار مفتوح، المرحلة {a} ({stage})"},
	"pathway_none":    {"aucun parcours ouvert dans le dispositif {a}", "لا مسار مفتوح له في البرنامج {a}"},
	"pathway_unknown": {"étape {a} inconnue dans la version {b} du dispositif", "المرحلة {a} غير معروفة في النسخة {b} من البرنامج"},
	"pathway_stage":   {"l'étape actuelle du parcours, {a} ({stage}), ne permet pas la décision « {kind} »", "المرحلة الحالية {a} ({stage}) لا تسمح بقرار « {kind} »"},

	"free":            {"n'est pas déjà retenu", "لم يقع تشغيله بعد"},
	"hired_here":      {"déjà retenu pour cette offre", "وقع قبوله في هذا العرض"},
	"hired_elsewhere": {"déjà embauché ou placé (étape {a}, {stage})", "وقع تشغيله أو إلحاقه (المرحلة {a}، {stage})"},

	"consent":          {"consent à la mise en relation", "موافق على المطابقة مع العروض"},
	"consent_none":     {"pas de consentement à la mise en relation", "لا موافقة على المطابقة مع العروض"},
	"disclosure":       {"consent à la transmission à l'employeur", "موافق على إحالة ملفه إلى المشغّل"},
	"disclosure_later": {"consentement à la transmission à l'employeur à recueillir", "تبقى الموافقة على إحالة الملف إلى المشغّل مطلوبة"},
	"disclosure_none":  {"pas de consentement à la transmission à l'employeur", "لا موافقة على إحالة الملف إلى المشغّل"},
	"not_refused":      {"n'a pas été refusé pour cette offre", "لم يُرفض في هذا العرض"},
	"refused_here":     {"déjà refusé pour cette offre", "سبق رفضه في هذا العرض"},
	"no_show_here":     {"ne s'est pas présenté pour cette offre", "لم يحضر في إطار هذا العرض"},

	"language_reached": {"les langues exigées sont au niveau", "اللغات المطلوبة في المستوى"},
	"language_none":    {"{lang} exigé {b}, non déclaré", "لغة مطلوبة: {lang} {b}، غير مصرّح بها"},
	"language_low":     {"{lang} : {b} exigé, niveau {c}", "{lang}: المطلوب {b}، المستوى {c}"},
	"licence_held":     {"a les permis exigés", "له رخص السياقة المطلوبة"},
	"licence_none":     {"permis {a} exigé", "رخصة السياقة {a} مطلوبة"},
	"dates_fit":        {"disponible au {from}", "متفرّغ في {from}"},
	"dates_late":       {"disponible à partir du {from}, début le {to}", "متفرّغ من {from}، البداية في {to}"},
	"dates_over":       {"disponible jusqu'au {from}, début le {to}", "متفرّغ إلى {from}، البداية في {to}"},

	"part_exact":               {"métier demandé ({a}), expérience en mois : {n}", "المهنة المطلوبة ({a})، الخبرة بالأشهر: {n}"},
	"part_family":              {"métier de la même famille ({a} pour {b}), expérience en mois : {n}", "مهنة من نفس العائلة ({a} عوضا عن {b})، الخبرة بالأشهر: {n}"},
	"part_mobility":            {"métier proche ({a} pour {b}), expérience en mois : {n}", "مهنة قريبة ({a} عوضا عن {b})، الخبرة بالأشهر: {n}"},
	"part_competences_none":    {"aucune compétence déclarée", "لا كفايات مصرّح بها"},
	"part_competences_unasked": {"aucune compétence connue pour le métier {a}", "لا كفايات معروفة للمهنة {a}"},
	"part_competences_named":   {"compétences demandées par l'offre : {n} sur {b}", "الكفايات المطلوبة في العرض: {n} من {b}"},
	"part_competences_sheet":   {"compétences de la fiche {a} : {n} sur {b}", "كفايات بطاقة المهنة {a}: {n} من {b}"},
	"part_past":                {"a exercé {a}, proche de {b} à {n} %", "مارس {a}، وقربها من {b} بنسبة {n}٪"},
	"part_past_none":           {"aucune expérience déclarée", "لا خبرة مصرّح بها"},

	"part_language":       {"{lang} : niveau {c}, attendu {b}", "{lang}: المستوى {c}، المنتظر {b}"},
	"part_language_none":  {"{lang} : non déclaré, attendu {b}", "{lang}: غير مصرّح بها، المنتظر {b}"},
	"part_dates":          {"disponible du {from} au {to}", "متفرّغ من {from} إلى {to}"},
	"part_dates_none":     {"pas disponible pendant le contrat", "غير متفرّغ خلال مدة العقد"},
	"part_wishes_both":    {"région {a} et dispositif {b} souhaités", "المنطقة {a} والبرنامج {b} من رغباته"},
	"part_wishes_region":  {"région {a} souhaitée", "المنطقة {a} من رغباته"},
	"part_wishes_scheme":  {"dispositif {b} souhaité, sans souhait de région", "البرنامج {b} من رغباته، دون رغبة في منطقة"},
	"part_wishes_none":    {"aucun souhait exprimé", "لا رغبات معبّر عنها"},
	"part_wishes_against": {"souhaite d'autres régions que {a}", "يرغب في مناطق غير {a}"},

	"change_offer_closed":       {"l'offre est fermée : la personne n'y peut rien", "العرض مغلق: لا يمكن للشخص تغيير ذلك"},
	"change_posts_left":         {"il faudrait un poste de plus : la personne n'y peut rien", "يلزم شغور إضافي: لا يمكن للشخص تغيير ذلك"},
	"change_employer_suspended": {"l'employeur est suspendu : la personne n'y peut rien", "المشغّل موقوف: لا يمكن للشخص تغيير ذلك"},
	"change_occupation_none":    {"déclarer ou apprendre le métier {b}", "التصريح بالمهنة {b} أو تعلّمها"},
	"change_scheme_other":       {"accepter le dispositif {b}", "قبول البرنامج {b}"},
	"change_scheme_none":        {"l'offre ne relève d'aucun dispositif : la personne n'y peut rien", "العرض لا يندرج ضمن أي برنامج: لا يمكن للشخص تغيير ذلك"},
	"change_pathway_none":       {"ouvrir un parcours dans le dispositif {a}", "فتح مسار في البرنامج {a}"},
	"change_pathway_unknown":    {"la version du dispositif {a} n'est pas connue ici (étape {c})", "نسخة البرنامج {a} غير معروفة هنا (المرحلة {c})"},
	"change_pathway_stage":      {"amener le parcours de l'étape {c} à l'étape {b}", "نقل المسار من المرحلة {c} إلى المرحلة {b}"},
	"change_hired_here":         {"déjà retenu pour cette offre : rien à changer", "وقع قبوله في هذا العرض: لا شيء للتغيير"},
	"change_hired_elsewhere":    {"déjà embauché ou placé : possible seulement quand ce contrat aura pris fin", "وقع تشغيله أو إلحاقه: لا يمكن إلا بعد انتهاء ذلك العقد"},
	"change_consent_none":       {"consentir à la mise en relation", "الموافقة على المطابقة مع العروض"},
	"change_disclosure_none":    {"consentir à la transmission à l'employeur", "الموافقة على إحالة الملف إلى المشغّل"},
	"change_refused_here":       {"refusé pour cette offre : la décision reste", "رُفض في هذا العرض: القرار باق"},
	"change_no_show_here":       {"ne s'est pas présenté pour cette offre : la décision reste", "لم يحضر في إطار هذا العرض: القرار باق"},
	"change_language_low":       {"{lang} : passer de {c} à {b}", "{lang}: الانتقال من {c} إلى {b}"},
	"change_language_none":      {"{lang} : atteindre le niveau {b}", "{lang}: بلوغ المستوى {b}"},
	"change_licence_none":       {"obtenir le permis {a}", "الحصول على رخصة السياقة {a}"},
	"change_dates_late":         {"être disponible dès le {to} au lieu du {from}", "أن يكون متفرّغا من {to} عوضا عن {from}"},
	"change_dates_over":         {"rester disponible au moins jusqu'au {to} au lieu du {from}", "أن يبقى متفرّغا إلى {to} على الأقل عوضا عن {from}"},

	"out_dates_late": {"pas encore disponibles au {to}", "غير متفرّغين بعد في {to}"},
	"out_dates_over": {"plus disponibles au {to}", "لم يعودوا متفرّغين في {to}"},

	"order_first":   {"la décision « {kind} » vient après une présélection", "قرار « {kind} » يأتي بعد الانتقاء الأولي"},
	"order_after":   {"déjà « {state} » : la décision « {kind} » n'est plus possible", "القرار الحالي « {state} »: لم يعد ممكنا قرار « {kind} »"},
	"already_hire":  {"déjà retenu pour une autre offre dans ce parcours", "وقع قبوله في عرض آخر في هذا المسار"},
	"pathway_moves": {"une décision sur une autre offre n'a pas encore atteint le parcours ; réessayer dans un instant", "قرار بشأن عرض آخر لم يبلغ المسار بعد؛ يُعاد بعد لحظات"},
	"pathway_other": {"le parcours dans lequel la personne a été retenue n'est plus ouvert", "المسار الذي وقع فيه قبول الشخص لم يعد مفتوحا"},
	"stage_later":   {"décision datée d'avant l'entrée à l'étape {a} ({stage})", "تاريخ القرار سابق للدخول في المرحلة {a} ({stage})"},
}

// labels name conditions, parts of a score and decisions.
var labels = map[string]Text{
	CondOffer:      {"offre ouverte", "عرض مفتوح"},
	CondPosts:      {"postes à pourvoir", "شغورات متبقية"},
	CondEmployer:   {"employeur non suspendu", "مشغّل غير موقوف"},
	CondOccupation: {"métier", "المهنة"},
	CondScheme:     {"dispositif", "البرنامج"},
	CondPathway:    {"parcours", "المسار"},
	CondFree:       {"pas déjà embauché", "غير مشغَّل بعد"},
	CondConsent:    {"consentement à la mise en relation", "الموافقة على المطابقة"},
	CondDisclosure: {"consentement à la transmission", "الموافقة على الإحالة"},
	CondRefused:    {"pas déjà refusé", "غير مرفوض سابقا"},
	CondLanguage:   {"langue", "اللغة"},
	CondLicence:    {"permis", "رخصة السياقة"},
	CondDates:      {"disponibilité", "التفرّغ"},

	PartCompetences:  {"compétences", "الكفايات"},
	PartPast:         {"proximité des métiers exercés", "قرب المهن السابقة"},
	PartAvailability: {"disponibilité", "التفرّغ"},
	PartWishes:       {"souhaits", "الرغبات"},

	Shortlisted: {"présélection", "انتقاء أولي"},
	Interview:   {"entretien", "مقابلة"},
	Disclosed:   {"transmission à l'employeur", "إحالة الملف إلى المشغّل"},
	Offered:     {"proposition d'embauche", "عرض التشغيل"},
	Accepted:    {"acceptation par le candidat", "قبول المترشح"},
	Hired:       {"embauche", "تشغيل"},
	Refused:     {"refus", "رفض"},
	NoShow:      {"absence", "عدم الحضور"},
}

// languages name the languages that offers ask for; others go by their code.
var languages = map[string]Text{
	"fr": {"français", "الفرنسية"},
	"ar": {"arabe", "العربية"},
	"en": {"anglais", "الإنجليزية"},
	"de": {"allemand", "الألمانية"},
	"it": {"italien", "الإيطالية"},
	"es": {"espagnol", "الإسبانية"},
	"pt": {"portugais", "البرتغالية"},
}

// Label names a condition, a part or a decision.
func Label(name string) Text {
	if t, ok := labels[name]; ok {
		return t
	}
	return Text{name, name}
}

// Text says the reason. Codes, numbers and dates inside Arabic are isolated
// (U+2068, U+2069), so that they do not turn the sentence round.
func (r Reason) Text() Text {
	key := r.Key
	if key == "posts_left" && r.N == 0 {
		key = "posts_none"
	}
	t, ok := texts[key]
	if !ok {
		return Text{key, key}
	}
	return Text{
		FR: fill(t.FR, func(name string) string { return r.value(name, Text.french) }),
		AR: fill(t.AR, func(name string) string {
			switch name {
			case "lang", "stage", "kind", "state": // words, in Arabic
				return r.value(name, Text.arabic)
			}
			return isolate(r.value(name, Text.arabic))
		}),
	}
}

func (t Text) french() string { return t.FR }
func (t Text) arabic() string { return t.AR }

// value is what stands for a name in a reason's text, in one of the languages.
func (r Reason) value(name string, in func(Text) string) string {
	switch name {
	case "a":
		return r.A
	case "b":
		return orDash(r.B)
	case "c":
		return orDash(r.C)
	case "n":
		return strconv.Itoa(int(r.N))
	case "from":
		return r.From.String()
	case "to":
		return r.To.String()
	case "lang":
		if lang, ok := languages[r.A]; ok {
			return in(lang)
		}
		return r.A
	case "stage":
		return in(stageLabel(r.A))
	case "kind":
		return in(Label(r.B))
	case "state":
		return in(Label(r.C))
	}
	return "{" + name + "}" // a test forbids it
}

// fill puts values where a text has their names in braces.
func fill(text string, value func(name string) string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		out.WriteString(value(name))
		text = after
	}
}

func orDash(s string) string {
	if s == "" {
		return "—"
	}
	return s
}

func isolate(s string) string { return "\u2068" + s + "\u2069" }

// stageLabel names a stage by the first scheme that has it: the common stages
// are called the same in all.
func stageLabel(code string) Text {
	for _, s := range reference.Schemes().All() {
		if st, ok := s.Stage(code); ok {
			return Text{st.LabelFR, st.LabelAR}
		}
	}
	return Text{code, code}
}
