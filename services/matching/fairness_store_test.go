package matching

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

func openTestGroups(t testing.TB) *groupBook {
	t.Helper()
	e, err := docstore.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "groups.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	if err := e.Ensure(t.Context(), groupsSchema); err != nil {
		t.Fatal(err)
	}
	return newGroups(e)
}

func TestGroupsAreLearnedOnceInOrder(t *testing.T) {
	b := openTestGroups(t)
	tell := func(seq int64, data proto.Message) {
		t.Helper()
		e := event.New("/test", id(1), at("2026-02-01"), at("2026-02-01"), data)
		e.Seq = seq
		for range 2 { // a repeat changes nothing
			if err := b.learn(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	profile := func(governorate string) *candidatesv1.Profile {
		return &candidatesv1.Profile{Sex: "F", Governorate: governorate, DiplomaLevel: "cap", BirthYear: 1990}
	}
	tell(2, &candidatesv1.CandidateUpdated{Profile: profile("TN-72")})
	tell(1, &candidatesv1.CandidateRegistered{Profile: profile("TN-71")}) // overtaken
	tell(3, &candidatesv1.PathwayOpened{CandidateId: id(1), Person: &candidatesv1.Person{Sex: "M"}})
	got, err := b.of(t.Context(), []string{id(1), id(2)})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[id(1)] != (Groups{"F", "TN-72", "cap"}) {
		t.Errorf("%+v", got)
	}
	d, err := b.people.Get(t.Context(), id(1))
	if err != nil || d.Version != 1 || d.Body.Seq != 2 {
		t.Errorf("%+v, %v", d, err)
	}
}

// Few people are read one by one, many by walking the collection: both find the same.
func TestReportFromTheStore(t *testing.T) {
	b := openTestGroups(t)
	var p pool
	p.add(Groups{"F", "TN-71", "bac"}, 30, 8)
	p.add(Groups{"M", "TN-11", "cap"}, 40, 25)
	for who, g := range p.groups {
		d := &docstore.Doc[GroupRecord]{ID: who, Body: GroupRecord{Groups: g, Seq: 1}}
		if err := b.people.Insert(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.report(t.Context(), p.selected, p.eligible)
	if err != nil {
		t.Fatal(err)
	}
	if f := r.line(BySex, "F"); f.Eligible != 30 || f.Selected != exactly(8) || f.FourFifths != "below" {
		t.Errorf("%+v", f)
	}
	strangers := append([]string{}, p.eligible...)
	for i := range fewReads {
		strangers = append(strangers, id(10_000+i))
	}
	if r, err = b.report(t.Context(), p.selected, strangers); err != nil {
		t.Fatal(err)
	}
	if f := r.line(BySex, "F"); f.Eligible != 30 || f.Selected != exactly(8) || r.Eligible != exactly(70+fewReads) {
		t.Errorf("%+v", f)
	}

	// The price goes to a group whose numbers are shown, with its members and no
	// others; a group that is hidden has none.
	var asked []string
	solve := func(_ context.Context, members []string, least int) (ParityOutcome, error) {
		asked = members
		if least > 9 {
			return ParityOutcome{}, ErrParityUnattainable
		}
		return ParityOutcome{Placed: 33, Members: max(8, least), Score: -int64(least)}, nil
	}
	price, err := b.parity(t.Context(), BySex, "F", p.selected, p.eligible, 5, solve)
	if err != nil {
		t.Fatal(err)
	}
	if len(asked) != 30 || p.of(asked[0]).Sex != "F" || price.LabelFR != "Femmes" || len(price.Steps) == 0 {
		t.Errorf("%d members, %+v", len(asked), price)
	}
	for _, hidden := range [][2]string{{BySex, "X"}, {ByGovernorate, "TN-83"}, {ByDiploma, "8"}} {
		if _, err := b.parity(t.Context(), hidden[0], hidden[1], p.selected, p.eligible, 5, solve); !errors.Is(err, errHiddenGroup) {
			t.Errorf("%v: %v", hidden, err)
		}
	}
}

func BenchmarkFairness(b *testing.B) {
	var p pool
	for i, g := range []string{"TN-11", "TN-71", "TN-81", "TN-42"} {
		p.add(Groups{"F", g, "cap"}, 12_500, 2_000+i)
		p.add(Groups{"M", g, "bac"}, 12_500, 3_000+i)
	}
	for b.Loop() {
		if _, err := Fairness(p.selected, p.eligible, p.of, FairnessOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
