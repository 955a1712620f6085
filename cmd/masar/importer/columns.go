package importer

// How a list's columns are called. To accept one more name, add it here: case,
// accents, spaces and punctuation do not matter, nor does what stands in
// brackets after a known name ("Date de naissance (jj/mm/aaaa)"), nor a number
// after the name of a column that may be there several times ("Métier 2").

// column is a kind of column.
type column struct {
	field string // of the candidate record
	need  need   // columns of the same need: one of them must be in the list, and filled
	many  bool   // may be there several times
	read  reader
	names []string
}

// Needs: without these a person cannot be told from another.
var (
	needFamilyName  = need{"nom de famille", "اللقب"}
	needGivenName   = need{"prénom", "الاسم"}
	needBirthDate   = need{"date de naissance", "تاريخ الولادة"}
	needGovernorate = need{"gouvernorat", "الولاية"}
)

var needs = []need{needFamilyName, needGivenName, needBirthDate, needGovernorate}

// need is told to the reader of the list in both languages.
type need struct{ fr, ar string }

var columns = []column{
	{
		field: "ref", read: readText(func(b *builder) *string { return &b.Ref }),
		names: []string{
			"Référence", "Réf", "Ref", "Référence du dossier", "N° dossier", "Numéro de dossier", "Identifiant", "ID", "Matricule",
			"Reference", "File number", "External reference",
			"المرجع", "رقم الملف", "المعرف",
		},
	},
	{
		field: "family_name", need: needFamilyName, read: readName(func(b *builder) *string { return &b.FamilyName }),
		names: []string{
			"Nom", "Nom de famille", "Nom français", "Nom (latin)", "Nom en français", "Nom patronymique", "family_name",
			"Family name", "Last name", "Surname",
			"اللقب بالفرنسية",
		},
	},
	{
		field: "given_name", need: needGivenName, read: readName(func(b *builder) *string { return &b.GivenName }),
		names: []string{
			"Prénom", "Prénoms", "Prénom(s)", "Prénom français", "Prénom (latin)", "Prénom en français", "given_name",
			"Given name", "First name", "Forename",
			"الاسم بالفرنسية",
		},
	},
	{
		field: "family_name_ar", need: needFamilyName, read: readName(func(b *builder) *string { return &b.FamilyNameAR }),
		names: []string{
			"Nom (arabe)", "Nom arabe", "Nom en arabe", "Nom AR", "family_name_ar",
			"Family name (Arabic)", "Family name Arabic", "Last name (Arabic)", "Last name Arabic",
			"اللقب", "لقب", "اللقب بالعربية", "اسم العائلة",
		},
	},
	{
		field: "given_name_ar", need: needGivenName, read: readName(func(b *builder) *string { return &b.GivenNameAR }),
		names: []string{
			"Prénom (arabe)", "Prénom arabe", "Prénom en arabe", "Prénom AR", "given_name_ar",
			"Given name (Arabic)", "Given name Arabic", "First name (Arabic)", "First name Arabic",
			"الاسم", "اسم", "الإسم", "الاسم بالعربية", "الاسم الشخصي",
		},
	},
	{
		field: "sex", read: readSex,
		names: []string{"Sexe", "Genre", "Sex", "Gender", "الجنس", "النوع الاجتماعي"},
	},
	{
		field: "birth_date", need: needBirthDate, read: readDate(func(b *builder) *string { return &b.BirthDate }),
		names: []string{
			"Date de naissance", "Date naissance", "Né le", "Né(e) le", "Naissance", "birth_date",
			"Birth date", "Date of birth", "DOB",
			"تاريخ الولادة", "تاريخ الميلاد",
		},
	},
	{
		field: "governorate", need: needGovernorate, read: readGovernorate,
		names: []string{
			"Gouvernorat", "Gouvernorat de résidence", "Wilaya", "Gouv",
			"Governorate", "Governorate of residence",
			"الولاية", "ولاية", "ولاية الإقامة",
		},
	},
	{
		field: "national_id", read: readCIN,
		names: []string{
			"CIN", "N° CIN", "Numéro CIN", "No CIN", "Carte d'identité", "Carte d'identité nationale", "N° carte d'identité", "national_id",
			"National ID", "National identity number", "ID card", "ID card number",
			"رقم بطاقة التعريف", "رقم بطاقة التعريف الوطنية", "بطاقة التعريف الوطنية", "بطاقة التعريف", "ب ت و",
		},
	},
	{
		field: "passport", read: readPassport,
		names: []string{
			"Passeport", "N° passeport", "Numéro de passeport", "N° de passeport",
			"Passport", "Passport number", "Passport no",
			"جواز السفر", "رقم جواز السفر",
		},
	},
	{
		field: "email", read: readEmail,
		names: []string{
			"Courriel", "Email", "E-mail", "Mail", "Adresse e-mail", "Adresse mail", "Adresse électronique", "Adresse courriel", "Adresse email",
			"Email address", "E-mail address",
			"البريد الإلكتروني", "بريد إلكتروني", "العنوان الإلكتروني",
		},
	},
	{
		field: "phone", read: readPhone,
		names: []string{
			"Téléphone", "Tél", "Tel", "N° téléphone", "Numéro de téléphone", "N° de téléphone", "Mobile", "Portable", "GSM", "Téléphone portable", "Téléphone mobile",
			"Phone", "Phone number", "Telephone", "Mobile phone",
			"الهاتف", "رقم الهاتف", "الهاتف الجوال", "الجوال",
		},
	},
	{
		field: "language", read: readPreferredLanguage,
		names: []string{
			"Langue", "Langue des messages", "Langue de contact", "Langue préférée", "Langue de correspondance",
			"Language", "Preferred language", "Contact language",
			"اللغة", "لغة التواصل", "لغة المراسلة",
		},
	},
	{
		field: "diploma_level", read: readDiploma,
		names: []string{
			"Diplôme", "Niveau de diplôme", "Niveau d'études", "Niveau d'étude", "Niveau de formation", "Niveau scolaire", "diploma_level",
			"Diploma", "Diploma level", "Education", "Education level",
			"الشهادة", "المستوى التعليمي", "المستوى الدراسي", "الشهادة العلمية",
		},
	},
	{
		field: "occupations", many: true, read: readOccupations,
		names: []string{
			"Métier", "Métiers", "Code ROME", "Codes ROME", "ROME", "Métier (ROME)", "Métier ROME", "Profession", "Métier recherché", "Métiers recherchés", "occupations",
			"Occupation", "Occupations", "ROME code", "ROME codes", "Job",
			"المهنة", "المهن", "الحرفة",
		},
	},
	{
		field: "experience_months", many: true, read: readExperience(1),
		names: []string{
			"Expérience (mois)", "Expérience en mois", "Mois d'expérience", "Durée d'expérience (mois)", "experience_months",
			"Experience (months)", "Experience in months", "Months of experience",
			"الخبرة بالأشهر", "الخبرة (أشهر)", "عدد أشهر الخبرة",
		},
	},
	{
		field: "experience_years", many: true, read: readExperience(12),
		names: []string{
			"Expérience (années)", "Expérience (ans)", "Expérience en années", "Années d'expérience", "Nombre d'années d'expérience", "Durée d'expérience (années)",
			"Experience (years)", "Experience in years", "Years of experience",
			"الخبرة بالسنوات", "الخبرة (سنوات)", "عدد سنوات الخبرة", "سنوات الخبرة",
		},
	},
	{
		field: "experience", many: true, read: readExperience(0),
		names: []string{"Expérience", "Expérience professionnelle", "Durée d'expérience", "Experience", "Work experience", "الخبرة", "الخبرة المهنية"},
	},
	{
		field: "languages.fr", read: readLevel("fr"),
		names: []string{
			"Niveau de français", "Français", "Niveau français", "Niveau en français", "Niveau de langue française", "Niveau de langue", "Français (CECRL)",
			"French", "French level", "Level of French",
			"الفرنسية", "مستوى الفرنسية", "اللغة الفرنسية", "المستوى في الفرنسية",
		},
	},
	{
		field: "languages.en", read: readLevel("en"),
		names: []string{
			"Niveau d'anglais", "Anglais", "Niveau anglais", "English", "English level", "Level of English",
			"الإنجليزية", "الإنقليزية", "مستوى الإنجليزية", "اللغة الإنجليزية",
		},
	},
	{
		field: "languages.ar", read: readLevel("ar"),
		names: []string{"Niveau d'arabe", "Arabe", "Arabic level", "Level of Arabic", "مستوى العربية", "اللغة العربية"},
	},
	{
		field: "languages.it", read: readLevel("it"),
		names: []string{"Niveau d'italien", "Italien", "Italian", "Italian level", "الإيطالية", "مستوى الإيطالية"},
	},
	{
		field: "languages.de", read: readLevel("de"),
		names: []string{"Niveau d'allemand", "Allemand", "German", "German level", "الألمانية", "مستوى الألمانية"},
	},
	{
		field: "licences", many: true, read: readLicences,
		names: []string{
			"Permis", "Permis de conduire", "Catégorie de permis", "Catégories de permis", "Type de permis", "Licences",
			"Driving licence", "Driving licences", "Driving license", "Licence", "License",
			"رخصة السياقة", "رخصة القيادة", "رخص السياقة",
		},
	},
	{
		field: "competences", many: true, read: readCompetences,
		names: []string{
			"Compétences", "Compétence", "Compétences (OGR)", "Compétences ROME", "Code OGR", "Codes OGR", "OGR", "competences",
			"Competencies", "Skills", "Skill codes", "OGR code", "OGR codes",
			"الكفاءات", "المهارات", "الكفايات",
		},
	},
	{
		field: "available_from", read: readDate(func(b *builder) *string { return &b.AvailableFrom }),
		names: []string{
			"Disponible du", "Disponible à partir du", "Disponible dès le", "Disponibilité", "Date de disponibilité", "Disponibilité du", "available_from",
			"Available from", "Availability",
			"متاح من", "متوفر من", "تاريخ التوفر", "متاح ابتداء من",
		},
	},
	{
		field: "available_to", read: readDate(func(b *builder) *string { return &b.AvailableTo }),
		names: []string{
			"Disponible au", "Disponible jusqu'au", "Fin de disponibilité", "Disponibilité au", "available_to",
			"Available to", "Available until",
			"متاح إلى", "متوفر إلى", "متاح حتى",
		},
	},
	{
		field: "schemes", many: true, read: readSchemes,
		names: []string{
			"Schéma", "Schémas", "Programme", "Programmes", "Dispositif", "Dispositifs", "Filière", "schemes",
			"Scheme", "Schemes", "Program",
			"البرنامج", "البرامج", "المسار",
		},
	},
	{
		field: "regions", many: true, read: readRegions,
		names: []string{
			"Région", "Régions", "Région souhaitée", "Régions souhaitées", "Région(s) souhaitée(s)", "Région de France", "regions",
			"Region", "Wished regions", "Preferred regions",
			"الجهة", "الجهات المطلوبة",
		},
	},
	{
		field: "consents", many: true, read: readConsents,
		names: []string{"Consentement", "Consentements", "Consentement(s)", "Consents", "Consent", "الموافقة", "الموافقات"},
	},
	{
		field: "consents.matching", read: readConsent("matching"),
		names: []string{"Consentement mise en relation", "Consentement matching", "Consentement rapprochement", "Consent matching", "الموافقة على المطابقة"},
	},
	{
		field: "consents.employer_disclosure", read: readConsent("employer_disclosure"),
		names: []string{"Consentement employeur", "Consentement transmission employeur", "Consentement communication aux employeurs", "Consent employer disclosure", "الموافقة على إعلام المشغل"},
	},
	{
		field: "consents.transfer", read: readConsent("transfer"),
		names: []string{"Consentement transfert", "Consentement transfert à l'étranger", "Consent transfer", "الموافقة على النقل"},
	},
	{
		field: "consents.notification", read: readConsent("notification"),
		names: []string{"Consentement notification", "Consentement notifications", "Consentement messages", "Accepte les notifications", "Consent notification", "الموافقة على الإشعارات", "الموافقة على الإعلام"},
	},
	{
		field: "consents.statistics", read: readConsent("statistics"),
		names: []string{"Consentement statistique", "Consentement statistiques", "Consent statistics", "الموافقة على الإحصاء"},
	},
}

// others are words in brackets by which a column is about somebody else.
var others = map[string]bool{
	"pere": true, "mere": true, "parent": true, "parents": true, "conjoint": true, "conjointe": true, "epoux": true, "epouse": true, "mari": true,
	"tuteur": true, "employeur": true, "urgence": true, "contact": true, "father": true, "mother": true, "spouse": true, "emergency": true, "employer": true,
	"الاب": true, "الام": true, "الزوج": true, "الزوجه": true, "الولي": true,
}

// Words in cells, folded like the names of columns.
var (
	sexes = map[string]string{
		"f": "F", "femme": "F", "feminin": "F", "female": "F", "woman": "F", "fille": "F", "mme": "F", "انثي": "F", "امراه": "F", "مونث": "F",
		"m": "M", "h": "M", "homme": "M", "masculin": "M", "male": "M", "man": "M", "garcon": "M", "mr": "M", "ذكر": "M", "رجل": "M", "مذكر": "M",
	}
	yesNo = map[string]bool{
		"oui": true, "o": true, "yes": true, "y": true, "1": true, "vrai": true, "true": true, "x": true, "نعم": true,
		"non": false, "n": false, "no": false, "0": false, "faux": false, "false": false, "لا": false,
	}
	// none are ways to write that there is nothing.
	none = map[string]bool{"": true, "non": true, "no": true, "neant": true, "aucun": true, "aucune": true, "none": true, "sans": true, "لا": true, "لا يوجد": true, "بدون": true}

	preferred = map[string]string{
		"fr": "fr", "francais": "fr", "french": "fr", "الفرنسيه": "fr", "فرنسيه": "fr",
		"ar": "ar", "arabe": "ar", "arabic": "ar", "العربيه": "ar", "عربيه": "ar",
	}
	// Keys of these lists are folded, as reference.Fold does it.
	purposes = map[string]string{
		"matching": "matching", "mise en relation": "matching", "rapprochement": "matching", "المطابقه": "matching",
		"employer disclosure": "employer_disclosure", "employeur": "employer_disclosure", "employeurs": "employer_disclosure",
		"transmission employeur": "employer_disclosure", "communication aux employeurs": "employer_disclosure", "المشغل": "employer_disclosure",
		"transfer": "transfer", "transfert": "transfer", "transfert a l etranger": "transfer", "النقل": "transfer",
		"notification": "notification", "notifications": "notification", "message": "notification", "messages": "notification", "sms": "notification", "الاشعارات": "notification",
		"statistics": "statistics", "statistique": "statistics", "statistiques": "statistics", "الاحصاا": "statistics",
	}
	everyPurpose = map[string]bool{"tous": true, "toutes": true, "all": true, "الكل": true, "جميع الموافقات": true}
	units        = map[string]float64{
		"m": 1, "mois": 1, "month": 1, "months": 1, "شهر": 1, "اشهر": 1, "شهرا": 1, "شهور": 1,
		"a": 12, "an": 12, "ans": 12, "annee": 12, "annees": 12, "year": 12, "years": 12, "سنه": 12, "سنوات": 12, "عام": 12, "اعوام": 12,
	}
)
