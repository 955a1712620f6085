package matching

import (
	"strconv"
	"strings"

	"masar.local/pkg/reference"
)

// campaignTexts are the sentences about campaigns.
var campaignTexts = map[string]Text{
	CampaignQueued:     {"en attente", "في الانتظار"},
	CampaignRunning:    {"en cours de calcul", "قيد الاحتساب"},
	CampaignDone:       {"terminée", "منتهية"},
	CampaignInfeasible: {"quotas impossibles à tenir", "حصص لا يمكن احترامها"},
	CampaignCancelled:  {"annulée", "ملغاة"},
	CampaignFailed:     {"en échec", "فشلت"},

	"phase_" + PhaseInputs:   {"lecture des offres et des candidats", "قراءة العروض والمترشحين"},
	"phase_" + PhasePairs:    {"recherche des propositions possibles", "البحث عن المقترحات الممكنة"},
	"phase_" + PhaseSolving:  {"calcul de la meilleure répartition", "احتساب أفضل توزيع"},
	"phase_" + PhaseScarcity: {"analyse des pénuries", "تحليل النقص"},
	"phase_" + PhaseStoring:  {"enregistrement", "التسجيل"},

	"conflict":        {"Ces quotas ne peuvent pas être tenus : {quotas}.", "لا يمكن احترام هذه الحصص: {quotas}."},
	"conflict_min":    {"au moins {n} pour {what}", "{n} على الأقل لـ {what}"},
	"conflict_max":    {"au plus {n} pour {what}", "{n} على الأكثر لـ {what}"},
	"conflict_people": {"Seules {n} personnes éligibles entrent en compte.", "لا يتوفر سوى {n} من الأشخاص المستوفين للشروط."},
	"conflict_posts":  {"Seuls {n} postes entrent en compte.", "لا يتوفر سوى {n} من الشغورات."},
	"conflict_lack":   {"Il manque {n} placements.", "ينقص {n} من التعيينات."},

	"quota_price": {
		"{what} : {n} placés. Assouplir le quota d'une unité : {more} placement de plus.",
		"{what}: تم تعيين {n}. تليين الحصة بوحدة واحدة: {more} تعيين إضافي.",
	},
	"occupation_candidates": {
		"{what} : {n} postes sans candidat ; les candidats manquent : un candidat éligible de plus donne un placement de plus.",
		"{what}: {n} شغورات دون مترشح؛ المترشحون نادرون: كل مترشح إضافي مستوف للشروط يعطي تعيينا إضافيا.",
	},
	"occupation_posts": {
		"{what} : {n} candidats éligibles sans place ; les postes manquent : un poste de plus donne un placement de plus.",
		"{what}: {n} من المترشحين المستوفين للشروط دون تعيين؛ الشغورات نادرة: كل شغور إضافي يعطي تعيينا إضافيا.",
	},
	"occupation_even": {
		"{what} : ni un poste ni un candidat de plus ne changerait le nombre de placements.",
		"{what}: لا شغور إضافي ولا مترشح إضافي يغير عدد التعيينات.",
	},
	"condition": {
		"{n} personnes{where} n'ont qu'un obstacle : {what}. Sans lui : {more} placements de plus.",
		"{n} من الأشخاص{where} لا ينقصهم سوى: {what}. بدون هذا العائق: {more} من التعيينات الإضافية.",
	},
	"condition_where":           {" ({what})", " ({what})"},
	"condition_" + CondLanguage: {"{lang} {cefr}", "{lang} {cefr}"},
	"condition_" + CondLicence:  {"permis {code}", "رخصة السياقة {code}"},
	"condition_" + CondDates:    {"être disponible au début du contrat", "التفرّغ عند بداية العقد"},
	"condition_" + CondScheme:   {"souhaiter le dispositif {code}", "الرغبة في البرنامج {code}"},
	"scheme":                    {"le dispositif {code}", "البرنامج {code}"},
	"whatif_more":               {"{n} placements de plus que dans la campagne.", "{n} من التعيينات الإضافية مقارنة بالحملة."},
	"whatif_less":               {"{n} placements de moins que dans la campagne.", "{n} من التعيينات أقل مقارنة بالحملة."},
	"whatif_same":               {"Autant de placements que dans la campagne.", "نفس عدد التعيينات كما في الحملة."},
	"whatif_infeasible":         {"Avec ces changements, les quotas de la campagne ne peuvent pas être tenus.", "مع هذه التغييرات لا يمكن احترام حصص الحملة."},
	"whatif_train":              {"{used} sur {n} trouvent un usage : {more} placements de plus.", "{used} من {n} تجد استعمالا: {more} من التعيينات الإضافية."},
	"whatif_withdraw":           {"L'offre est retirée.", "تم سحب العرض."},
	"whatif_posts":              {"{n} postes de plus pour l'offre.", "{n} من الشغورات الإضافية للعرض."},
}

func campaignText(key string) Text {
	if t, ok := campaignTexts[key]; ok {
		return t
	}
	return Text{key, key}
}

// fill puts values, text or number, into a sentence; those in Arabic isolated.
func (t Text) fill(pairs ...any) Text {
	var fr, ar []string
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i].(string)
		switch v := pairs[i+1].(type) {
		case Text:
			fr, ar = append(fr, name, v.FR), append(ar, name, v.AR)
		case string:
			fr, ar = append(fr, name, v), append(ar, name, isolate(v))
		case int64:
			fr, ar = append(fr, name, strconv.FormatInt(v, 10)), append(ar, name, isolate(strconv.FormatInt(v, 10)))
		}
	}
	return Text{strings.NewReplacer(fr...).Replace(t.FR), strings.NewReplacer(ar...).Replace(t.AR)}
}

func governorateText(code string) Text {
	for _, g := range reference.Governorates() {
		if g.Code == code {
			return Text{g.LabelFR + " (" + code + ")", g.LabelAR + " (" + isolate(code) + ")"}
		}
	}
	return Text{code, isolate(code)}
}

func quotaText(q Quota) Text {
	if q.By == QuotaGovernorate {
		return governorateText(q.Code)
	}
	return campaignText("scheme").fill("{code}", q.Code)
}

// reasons says why quotas cannot hold: which, what there is, what is missing.
func (c *Conflict) reasons() []Sentence {
	var fr, ar []string
	for _, q := range c.Quotas {
		key, n := "conflict_min", q.Min
		if q.Max != nil {
			key, n = "conflict_max", *q.Max
		}
		t := campaignText(key).fill("{n}", n, "{what}", quotaText(q))
		fr, ar = append(fr, t.FR), append(ar, t.AR)
	}
	out := []Sentence{Sentence(campaignText("conflict").fill("{quotas}", Text{strings.Join(fr, ", "), strings.Join(ar, "، ")}))}
	if c.People >= 0 {
		out = append(out, Sentence(campaignText("conflict_people").fill("{n}", c.People)))
	}
	if c.Posts >= 0 {
		out = append(out, Sentence(campaignText("conflict_posts").fill("{n}", c.Posts)))
	}
	return append(out, Sentence(campaignText("conflict_lack").fill("{n}", c.Missing)))
}

func quotaReason(q OutcomeQuota) Text {
	return campaignText("quota_price").fill("{what}", quotaText(q.Quota), "{n}", q.Placed, "{more}", q.Looser)
}

func occupationReason(o OccupationScarcity) Text {
	what := Text{o.Rome, isolate(o.Rome)}
	if j, ok := reference.Occupation(o.Rome); ok {
		what = Text{j.LabelFR + " (" + o.Rome + ")", isolate(j.LabelFR + " (" + o.Rome + ")")} // ROME has no Arabic
	}
	switch {
	case o.OneMoreCandidate > 0:
		return campaignText("occupation_candidates").fill("{what}", what, "{n}", o.Posts-o.Filled)
	case o.OneMorePost > 0:
		return campaignText("occupation_posts").fill("{what}", what, "{n}", o.Unplaced)
	}
	return campaignText("occupation_even").fill("{what}", what)
}

func lackText(condition, code, level string) Text {
	lang, ok := languages[code]
	if !ok {
		lang = Text{code, isolate(code)}
	}
	t := campaignText("condition_"+condition).fill("{lang}", lang, "{cefr}", level, "{code}", code)
	return Text{strings.TrimSpace(t.FR), strings.TrimSpace(t.AR)}
}

func conditionReason(c ConditionScarcity) Text {
	where := Text{}
	if c.Governorate != "" {
		where = campaignText("condition_where").fill("{what}", governorateText(c.Governorate))
	}
	return campaignText("condition").fill("{n}", int64(c.People), "{where}", where,
		"{what}", lackText(c.Condition, c.Code, c.CEFR), "{more}", c.Placements)
}

func effectReason(e *WhatIfEffect) Text {
	switch {
	case e.AddLanguage != nil:
		return campaignText("whatif_train").fill("{used}", e.Used, "{n}", e.AddLanguage.Count, "{more}", e.Placements)
	case e.AddLicence != nil:
		return campaignText("whatif_train").fill("{used}", e.Used, "{n}", e.AddLicence.Count, "{more}", e.Placements)
	case e.AddPosts != nil:
		return campaignText("whatif_posts").fill("{n}", e.AddPosts.Count)
	}
	return campaignText("whatif_withdraw")
}

func whatIfReason(a *WhatIfAnswer) Text {
	switch {
	case a.More > 0:
		return campaignText("whatif_more").fill("{n}", a.More)
	case a.More < 0:
		return campaignText("whatif_less").fill("{n}", -a.More)
	}
	return campaignText("whatif_same")
}
