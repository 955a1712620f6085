package importer

import (
	"regexp"
	"strings"
)

// reasons are what the services say of a row, by the stable code of api.Field,
// in the languages of those who read the list. A code that means different
// things in different fields is under its field too: "birth_date range".
var reasons = map[string]string{
	// Of any field.
	"cefr":        "un niveau du CECRL est attendu, de A1 à C2 | يُنتظر مستوى من الإطار الأوروبي المرجعي، من A1 إلى C2",
	"future":      "cette date n'est pas encore venue | هذا التاريخ لم يحل بعد",
	"closed":      "l'offre a été close ici et le reste | أُغلق العرض هنا ويبقى مغلقا",
	"date":        "ce n'est pas une date du calendrier | ليس تاريخا صحيحا",
	"duplicate":   "donné deux fois | مذكور مرتين",
	"filled":      "des postes sont déjà pourvus : il ne peut pas y en avoir moins | شُغلت مواطن شغل بعد: لا يمكن أن يقل عددها عن ذلك",
	"form":        "ce n'est ni une offre de France Travail (intitule), ni une offre de notre forme (title) | ليس عرضا من France Travail (intitule) ولا عرضا بصيغتنا (title)",
	"format":      "écrit sous une forme qui n'est pas acceptée | مكتوب في شكل غير مقبول",
	"instant":     "un instant avec son fuseau horaire est attendu | يُنتظر تاريخ وساعة مع المنطقة الزمنية",
	"json":        "ce n'est pas un objet JSON | ليس عنصر JSON",
	"length":      "texte ou liste trop long : la fin est laissée de côté | نص طويل أو قائمة طويلة: تُركت النهاية",
	"malformed":   "la ligne ne peut pas être lue comme du JSON | تعذرت قراءة السطر بوصفه JSON",
	"missing":     "non donné ; une valeur usuelle est retenue | غير مذكور؛ اعتُمدت قيمة معتادة",
	"older":       "plus ancien que ce que l'on sait déjà de cette offre : ignoré | أقدم مما هو معروف عن هذا العرض: أُهمل",
	"order":       "la fin est avant le début | النهاية قبل البداية",
	"range":       "valeur hors des limites admises | قيمة خارج الحدود المقبولة",
	"refused":     "la ligne n'a pas été prise | لم يُقبل السطر",
	"required":    "une valeur obligatoire manque | تنقص قيمة وجوبية",
	"scope":       "hors de votre périmètre (gouvernorat ou programme) | خارج مجالكم (الولاية أو البرنامج)",
	"script":      "écrivez ce nom en lettres arabes, ou laissez la cellule vide | اكتبوا هذا الاسم بحروف عربية أو اتركوا الخانة فارغة",
	"text":        "caractères illisibles : le texte a été abîmé avant d'arriver ici | حروف لا تُقرأ: تلف النص قبل وصوله",
	"too_long":    "texte trop long | نص طويل جدا",
	"too_many":    "trop d'éléments dans ce champ | عناصر أكثر من المقبول في هذه الخانة",
	"type":        "pas de la forme attendue ; repris au mieux ou laissé de côté | ليس في الشكل المنتظر؛ أُخذ على أقرب وجه أو تُرك",
	"unknown":     "valeur ou champ inconnu | قيمة أو خانة غير معروفة",
	"commune":     "ce n'est pas le code d'une commune d'un département de France : laissé de côté | ليس رمز بلدية في مقاطعة فرنسية: تُرك",
	"competence":  "des compétences n'ont pas de code OGR du ROME : gardées comme texte, sans mise en relation | كفاءات دون رمز OGR من ROME: حُفظت نصا ولا تدخل في المطابقة",
	"departement": "le département ne peut pas être déterminé | تعذر تحديد المقاطعة",
	"diploma":     "ce niveau n'est pas dans la liste de référence : gardé comme texte | هذا المستوى ليس في القائمة المرجعية: حُفظ نصا",
	"hours":       "la durée de travail par semaine ne se lit pas : ignorée | تعذرت قراءة ساعات العمل الأسبوعية: أُهملت",
	"language":    "langue inconnue : gardée comme texte | لغة غير معروفة: حُفظت نصا",
	"licence":     "ce n'est pas une catégorie de permis : gardé comme texte | ليس صنف رخصة سياقة: حُفظ نصا",
	"rome":        "ce n'est pas un code ROME (une lettre et quatre chiffres) : gardé tel quel | ليس رمز ROME (حرف وأربعة أرقام): حُفظ كما هو",

	"salary_empty":     "aucun montant n'est donné | لم يُذكر أي مبلغ",
	"salary_months":    "personne n'est payé autant de mois par an : ignoré | لا يُدفع أجر بهذا العدد من الأشهر في السنة: أُهمل",
	"salary_part_time": "temps partiel, sans dire si le montant vaut pour ces heures ou pour un temps plein : non comparé aux autres offres | عمل لوقت جزئي دون بيان هل المبلغ لهذه الساعات أم لوقت كامل: لا يُقارن بالعروض الأخرى",
	"salary_period":    "la période du montant n'est pas dite | لم تُذكر الفترة التي يخصها المبلغ",
	"salary_range":     "montant invraisemblable pour un salaire brut : non retenu | مبلغ غير معقول لأجر خام: لم يُعتمد",
	"salary_reversed":  "le montant le plus bas vient en second : lus dans l'ordre | المبلغ الأدنى مذكور ثانيا: قُرئ المبلغان بالترتيب",
	"salary_text":      "le salaire ne se lit pas en montants : gardé comme texte | تعذرت قراءة الأجر بالأرقام: حُفظ نصا",

	"identity_conflict": "les numéros sont ceux de deux personnes différentes, inscrites toutes deux | الأرقام لشخصين مختلفين مسجلين كليهما",
	"minor":             "la personne est mineure : les mineurs ne sont pas inscrits | الشخص قاصر: لا يُسجَّل القصّر",

	// Of candidates.
	"available_to order":            "la fin de la disponibilité est avant son début | نهاية فترة التوفر قبل بدايتها",
	"birth_date range":              "la date de naissance est trop ancienne | تاريخ الولادة قديم جدا",
	"birth_date required":           "il manque la date de naissance | ينقص تاريخ الولادة",
	"cefr unknown":                  "un niveau du CECRL est l'un de A1, A2, B1, B2, C1, C2 | مستوى الإطار الأوروبي المرجعي واحد من: A1, A2, B1, B2, C1, C2",
	"code duplicate":                "la langue est donnée deux fois | اللغة مذكورة مرتين",
	"code format":                   "un code de langue a deux lettres, tel que fr | رمز اللغة حرفان، مثل fr",
	"competences format":            "le code OGR d'une compétence du ROME n'a que des chiffres, tel que 100023 | رمز OGR لكفاءة من ROME أرقام فقط، مثل 100023",
	"competences unknown":           "cette compétence n'est pas dans le ROME | هذه الكفاءة ليست في ROME",
	"consents unknown":              "ce n'est pas une finalité de consentement | ليس غرضا من أغراض الموافقة",
	"diploma_level unknown":         "ce diplôme n'est pas dans la liste de référence | هذه الشهادة ليست في القائمة المرجعية",
	"email format":                  "ce n'est pas une adresse électronique | ليس عنوان بريد إلكتروني",
	"experience_months range":       "l'expérience, en mois, est hors des limites admises | الخبرة بالأشهر خارج الحدود المقبولة",
	"family_name format":            "un nom s'écrit avec des lettres, sans chiffres | يُكتب الاسم بالحروف دون أرقام",
	"family_name required":          "il manque le nom de famille, en lettres latines ou arabes | ينقص اللقب، بحروف عربية أو لاتينية",
	"family_name_ar format":         "un nom s'écrit avec des lettres, sans chiffres | يُكتب الاسم بالحروف دون أرقام",
	"given_name format":             "un nom s'écrit avec des lettres, sans chiffres | يُكتب الاسم بالحروف دون أرقام",
	"given_name required":           "il manque le prénom, en lettres latines ou arabes | ينقص الاسم، بحروف عربية أو لاتينية",
	"given_name_ar format":          "un nom s'écrit avec des lettres, sans chiffres | يُكتب الاسم بالحروف دون أرقام",
	"governorate required":          "il manque le gouvernorat de résidence | تنقص ولاية الإقامة",
	"governorate scope":             "ce gouvernorat est hors de votre périmètre | هذه الولاية خارج مجالكم",
	"governorate unknown":           "ce n'est pas l'un des 24 gouvernorats | ليست من الولايات الأربع والعشرين",
	"language unknown":              "les messages s'écrivent en français (fr) ou en arabe (ar) | تُكتب الرسائل بالعربية (ar) أو بالفرنسية (fr)",
	"licences unknown":              "ce n'est pas une catégorie de permis de conduire | ليس صنف رخصة سياقة",
	"national_id format":            "un numéro de CIN a 8 chiffres | يتكون رقم بطاقة التعريف الوطنية من 8 أرقام",
	"national_id identity_conflict": "la personne est inscrite avec un autre numéro de CIN : corrigez sa fiche à la main | الشخص مسجل برقم بطاقة تعريف آخر: أصلحوا بطاقته يدويا",
	"passport format":               "un numéro de passeport a de 5 à 20 lettres et chiffres | يتكون رقم جواز السفر من 5 إلى 20 حرفا ورقما",
	"passport identity_conflict":    "la personne est inscrite avec un autre numéro de passeport : corrigez sa fiche à la main | الشخص مسجل برقم جواز سفر آخر: أصلحوا بطاقته يدويا",
	"phone format":                  "ce n'est pas un numéro de téléphone avec l'indicatif du pays | ليس رقم هاتف مع رمز البلد",
	"regions unknown":               "ce n'est pas le code INSEE d'une région de France | ليس رمز INSEE لجهة من جهات فرنسا",
	"rome duplicate":                "le métier est donné deux fois | المهنة مذكورة مرتين",
	"rome format":                   "un code ROME est une lettre et quatre chiffres, tel que A1401 | رمز ROME حرف وأربعة أرقام، مثل A1401",
	"schemes unknown":               "programme inconnu | برنامج غير معروف",
	"sex unknown":                   "écrivez F ou M | اكتبوا F أو M",

	// Of offers.
	"dateCreation missing":     "non donnée ; dateActualisation est retenue | غير مذكور؛ اعتُمد dateActualisation",
	"dateCreation required":    "ni dateCreation ni dateActualisation : l'ordre des versions n'est pas connu | لا dateCreation ولا dateActualisation: ترتيب النسخ غير معروف",
	"experienceExige unknown":  "ni D, ni S, ni E : non lu comme une exigence | ليس D ولا S ولا E: لم يُقرأ بوصفه شرطا",
	"experienceLibelle range":  "plus long qu'une vie de travail : ignoré | أطول من حياة مهنية: أُهمل",
	"exigence unknown":         "ni E ni S : compris comme souhaité | ليس E ولا S: فُهم على أنه مرغوب فيه",
	"id length":                "ce n'est pas un numéro d'offre de France Travail, qui a sept caractères | ليس رقم عرض من France Travail، وهو سبعة حروف",
	"id required":              "toute offre de France Travail a un numéro (id) | لكل عرض من France Travail رقم (id)",
	"intitule required":        "toute offre a un intitulé | لكل عرض تسمية",
	"latitude range":           "hors des limites admises : laissé de côté | خارج الحدود المقبولة: تُرك",
	"longitude range":          "hors des limites admises : laissé de côté | خارج الحدود المقبولة: تُرك",
	"nombrePostes missing":     "non donné : compté comme 1 | غير مذكور: حُسب 1",
	"nombrePostes range":       "un nombre de 1 à 10 000 est attendu : compté comme 1 | يُنتظر عدد بين 1 و10000: حُسب 1",
	"scheme scope":             "le programme de cette offre est hors de votre périmètre | برنامج هذا العرض خارج مجالكم",
	"typeContrat missing":      "non donné : lu dans le texte | غير مذكور: قُرئ من النص",
	"typeContratLibelle range": "trop long pour un contrat : sa durée est ignorée | أطول من أن يكون عقدا: أُهملت مدته",
}

var indexes = regexp.MustCompile(`\[\d+\]`)

// Reason words what a service says of a field of a row: "French | Arabic", or
// the service's own reason where the code has no words here.
func Reason(path, code, own string) string {
	path = indexes.ReplaceAllString(path, "")
	last := path[strings.LastIndexByte(path, '.')+1:]
	for _, key := range []string{path + " " + code, last + " " + code, code} {
		if words, ok := reasons[key]; ok {
			return words
		}
	}
	return own
}
