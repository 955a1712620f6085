package indicators

import (
	"sync"

	"masar.local/pkg/reference"
)

// Label is what a code is called.
type Label struct {
	FR string `json:"fr"`
	AR string `json:"ar"`
	EN string `json:"en"`
}

// in gives the label in a language, "fr" unless it is "ar" or "en".
func (l Label) in(lang string) string {
	switch lang {
	case "ar":
		return l.AR
	case "en":
		return l.EN
	}
	return l.FR
}

// Labels of what every dimension may have.
var (
	labelUnknown = Label{"Non renseigné", "غير مذكور", "Not stated"}
	labelOther   = Label{"Autre", "أخرى", "Other"}
	labelTotal   = Label{"Ensemble", "المجموع", "Total"}
)

// ownLabels are those of codes that no reference list names. Contracts are the
// codes of France Travail's "Offres d'emploi v2" (typeContrat).
var ownLabels = map[string]map[string]Label{
	"sex": {"F": {"Femmes", "إناث", "Women"}, "M": {"Hommes", "ذكور", "Men"}},
	"age": {
		"0-14": {"Moins de 15 ans", "أقل من 15 سنة", "Under 15"}, "15-24": {"15 à 24 ans", "من 15 إلى 24 سنة", "15 to 24"},
		"25-29": {"25 à 29 ans", "من 25 إلى 29 سنة", "25 to 29"}, "30-35": {"30 à 35 ans", "من 30 إلى 35 سنة", "30 to 35"},
		"36+": {"36 ans et plus", "36 سنة فأكثر", "36 and over"},
	},
	"sector": {
		reference.SectorAgriculture: {"Agriculture", "الفلاحة", "Agriculture"},
		reference.SectorCare:        {"Soin et accompagnement", "الرعاية والمرافقة", "Care and support"},
		reference.SectorTransport:   {"Transport et logistique", "النقل واللوجستية", "Transport and logistics"},
		reference.SectorIndustry:    {"Industrie", "الصناعة", "Industry"},
		reference.SectorHospitality: {"Tourisme, hôtellerie et restauration", "السياحة والفنادق والمطاعم", "Tourism, hotels and restaurants"},
		reference.SectorClothing:    {"Confection", "صناعة الملابس", "Clothing"},
		reference.SectorOther:       {"Autre secteur", "قطاع آخر", "Other sector"},
	},
	"placement": {"yes": {"Placé", "أُلحق بالعمل", "Placed"}, "no": {"Non placé", "لم يُلحق بالعمل", "Not placed"}},
	"decision": {
		reference.DecisionShortlisted: {"Présélection", "انتقاء أولي", "Shortlisted"},
		reference.DecisionDisclosed:   {"Transmission à l'employeur", "إحالة إلى المشغّل", "Disclosed to the employer"},
		reference.DecisionInterview:   {"Entretien", "مقابلة", "Interview"},
		reference.DecisionOffered:     {"Proposition", "عرض", "Offered"},
		reference.DecisionAccepted:    {"Acceptation", "قبول", "Accepted"},
		reference.DecisionHired:       {"Embauche", "تشغيل", "Hired"},
		reference.DecisionRefused:     {"Refus", "رفض", "Refused"},
		reference.DecisionNoShow:      {"Absence", "غياب", "No show"},
	},
	"refused_by": {
		reference.ByCandidate: {"Candidat", "المترشح", "Candidate"},
		reference.ByEmployer:  {"Employeur", "المشغّل", "Employer"},
		reference.ByProgramme: {"Programme", "البرنامج", "Programme"},
	},
	"contract": {
		"CDI": {"Contrat à durée indéterminée", "عقد غير محدد المدة", "Permanent contract"},
		"CDD": {"Contrat à durée déterminée", "عقد محدد المدة", "Fixed-term contract"},
		"SAI": {"Contrat saisonnier", "عقد موسمي", "Seasonal contract"},
		"MIS": {"Mission d'intérim", "عمل وقتي", "Temporary agency work"},
	},
	"closing": {
		"filled": {"Pourvue", "تم شغلها", "Filled"}, "withdrawn": {"Retirée", "تم سحبها", "Withdrawn"}, "expired": {"Expirée", "انتهت صلوحيتها", "Expired"},
	},
	"failure": {
		"no_consent": {"Sans consentement", "دون موافقة", "No consent"}, "no_contact": {"Sans contact", "دون وسيلة اتصال", "No contact"},
		"refused": {"Refusé par le transporteur", "رفضه الناقل", "Refused by the carrier"}, "expired": {"Délai dépassé", "انقضى الأجل", "Expired"},
	},
	"status":   {"active": {"Actif", "نشط", "Active"}, "suspended": {"Suspendu", "موقوف", "Suspended"}},
	"language": {"fr": {"Français", "الفرنسية", "French"}, "ar": {"Arabe", "العربية", "Arabic"}},
	"channel":  {"smtp": {"Courriel", "البريد الإلكتروني", "E-mail"}, "mailbox": {"Boîte locale", "صندوق محلي", "Local mailbox"}},
}

// codeLabels are the labels by dimension and code.
var codeLabels = sync.OnceValue(func() map[string]map[string]Label {
	all := map[string]map[string]Label{}
	for _, d := range Dimensions() {
		all[d.Code] = map[string]Label{}
	}
	put := func(dimension, code string, l Label) {
		if all[dimension] == nil {
			all[dimension] = map[string]Label{}
		}
		if _, named := all[dimension][code]; named {
			return // an earlier scheme's name of a stage that schemes share
		}
		if l.AR == "" {
			l.AR = l.FR
		}
		if l.EN == "" {
			l.EN = l.FR
		}
		all[dimension][code] = l
	}
	for dimension, labels := range ownLabels {
		for code, l := range labels {
			put(dimension, code, l)
		}
	}
	for _, g := range reference.Governorates() {
		put("governorate", g.Code, Label{g.LabelFR, g.LabelAR, g.LabelEN})
	}
	for _, r := range reference.Regions() {
		put("region", r.Code, Label{FR: r.LabelFR})
	}
	for _, s := range reference.Schemes().All() {
		put("scheme", s.Code, Label{s.LabelFR, s.LabelAR, s.LabelEN})
		for _, st := range s.Stages {
			put("stage", st.Code, Label{st.LabelFR, st.LabelAR, st.LabelEN})
			put("from_stage", st.Code, Label{st.LabelFR, st.LabelAR, st.LabelEN})
		}
		for _, e := range s.Exits {
			put("exit", e.Code, Label{e.LabelFR, e.LabelAR, e.LabelEN})
		}
	}
	for _, r := range reference.Refusals() {
		put("reason", r.Code, Label{r.LabelFR, r.LabelAR, r.LabelEN})
	}
	for _, d := range reference.Diplomas() {
		put("diploma", d.Code, Label{FR: d.LabelFR, AR: d.LabelAR})
	}
	return all
})

// codeLabel is what a code of a dimension is called; a code that no list names is
// called by itself.
func codeLabel(dimension, code string) Label {
	switch code {
	case Unknown:
		return labelUnknown
	case Other:
		return labelOther
	}
	if l, ok := codeLabels()[dimension][code]; ok {
		return l
	}
	if dimension == "rome" {
		if job, ok := reference.Occupation(code); ok {
			return Label{job.LabelFR, job.LabelFR, job.LabelFR}
		}
	}
	return Label{code, code, code}
}

// labelsOf are the labels of the codes that the rows have, by dimension.
func labelsOf(by []string, rows []Row) map[string]map[string]Label {
	if len(by) == 0 {
		return nil
	}
	all := make(map[string]map[string]Label, len(by))
	for _, name := range by {
		all[name] = map[string]Label{}
		for _, r := range rows {
			code := r.Dimensions[name]
			if _, there := all[name][code]; !there {
				all[name][code] = codeLabel(name, code)
			}
		}
	}
	return all
}

// unitLabels are what the units are called.
var unitLabels = map[string]Label{
	"people": {"personnes", "أشخاص", "people"}, "employers": {"employeurs", "مشغّلون", "employers"},
	"days": {"jours", "أيام", "days"}, "offers": {"offres", "عروض", "offers"}, "posts": {"postes", "مواطن شغل", "posts"},
	"pathways": {"parcours", "مسارات", "pathways"}, "decisions": {"décisions", "قرارات", "decisions"},
	"messages": {"messages", "رسائل", "messages"}, "share": {"part", "نسبة", "share"},
	"campaigns": {"campagnes", "حملات", "campaigns"}, "contracts": {"contrats", "عقود", "contracts"},
	"per person": {"par personne", "لكل شخص", "per person"},
}

// unitLabel is what a unit is called; one that is not listed, by itself.
func unitLabel(unit string) Label {
	if l, ok := unitLabels[unit]; ok {
		return l
	}
	return Label{unit, unit, unit}
}
