package access

import (
	"context"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEveryPermissionIsHeldByAWorkingRole(t *testing.T) {
	for _, p := range Permissions() {
		held := false
		for _, r := range Roles() {
			held = held || r != Admin && slices.Contains(r.Permissions(), p)
		}
		if !held {
			t.Errorf("nobody but the local owner holds %s", p)
		}
		if !slices.Contains(Admin.Permissions(), p) {
			t.Errorf("the local owner does not hold %s", p)
		}
	}
	for _, r := range Roles() {
		for _, p := range r.Permissions() {
			if !Exists(p) {
				t.Errorf("%s holds %q, which is no permission", r, p)
			}
		}
	}
}

func TestWhoeverSteersByFiguresSeesNoPerson(t *testing.T) {
	for _, r := range []Role{Manager, Statistician, Operator, Employer} {
		for _, p := range r.Permissions() {
			if strings.HasPrefix(string(p), "candidates:") || strings.HasPrefix(string(p), "pathways:") {
				t.Errorf("%s holds %s", r, p)
			}
		}
	}
	if got := (Principal{Subject: "notifications", Role: Service}); got.Can(CandidatesRead) || got.Can(CandidatesWrite) || !got.Can(CandidatesContact) {
		t.Error("a service may ask for a person's contact and for nothing else of the person")
	}
}

func TestTheZeroPrincipalCanDoNothing(t *testing.T) {
	for _, p := range []Principal{{}, {Role: Admin}, From(context.Background())} {
		if p.Known() || p.Covers("", "") || p.ActsFor("") || slices.ContainsFunc(Permissions(), p.Can) {
			t.Errorf("%+v may do something", p)
		}
	}
	if (Principal{Subject: "x", Role: "root"}).Can(IndicatorsRead) {
		t.Error("an unknown role may do something")
	}
}

func TestScope(t *testing.T) {
	codes := []string{"TN-11", "TN-71", "TN-52", "TN-83"}
	schemes := []string{"agri", "soin", "btp"}
	rapid.Check(t, func(t *rapid.T) {
		p := Principal{
			Subject: "s", Role: Counsellor,
			Governorates: rapid.SliceOfDistinct(rapid.SampledFrom(codes), rapid.ID).Draw(t, "governorates"),
			Schemes:      rapid.SliceOfDistinct(rapid.SampledFrom(schemes), rapid.ID).Draw(t, "schemes"),
		}
		g := rapid.SampledFrom(append(codes, "")).Draw(t, "governorate")
		s := rapid.SampledFrom(append(schemes, "")).Draw(t, "scheme")
		inside := func(list []string, v string) bool { return len(list) == 0 || v == "" || slices.Contains(list, v) }
		if got, want := p.Covers(g, s), inside(p.Governorates, g) && inside(p.Schemes, s); got != want {
			t.Fatalf("%+v covers %q, %q: %t, want %t", p, g, s, got, want)
		}
	})
	if p := (Principal{Subject: "e", Role: Employer, Employer: "E1"}); !p.ActsFor("E1") || p.ActsFor("E2") || p.ActsFor("") {
		t.Error("an employer acts for itself only")
	}
	if p := (Principal{Subject: "o", Role: Officer}); !p.ActsFor("E1") {
		t.Error("an officer acts for any employer")
	}
}

func TestPrincipalTravelsInTheContext(t *testing.T) {
	p := Principal{Subject: "c1", Role: Counsellor, Governorates: []string{"TN-71"}}
	if got := From(With(t.Context(), p)); got.Subject != p.Subject || got.Role != p.Role {
		t.Errorf("got %+v", got)
	}
}
