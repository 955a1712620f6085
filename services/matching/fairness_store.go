package matching

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// GroupRecord is the document of the groups that a person belongs to. It is the
// only place where matching keeps sex and diploma, apart from everything that
// selects: documents of people, index, log and campaigns do without. The year of
// birth is not kept here either.
//
// It serves totals, as the figures of the indicators service do, and is kept for
// everybody who is in the programme; whether it should ask for the consent
// "statistics" is to be confirmed with the data protection authority.
type GroupRecord struct {
	Groups `bson:",inline"`
	Seq    int64 `bson:"seq"` // last event of the candidate
}

var groupsSchema = docstore.Schema{Collection: "groups"}

// groupBook keeps the groups of people and makes fairness reports of them. It is
// safe for concurrent use.
type groupBook struct {
	people *docstore.Collection[GroupRecord]
}

// newGroups gives the groups of people; the engine must have the collection.
func newGroups(e docstore.Engine) *groupBook {
	return &groupBook{docstore.NewCollection[GroupRecord](e, groupsSchema)}
}

// learn takes the groups from an event that has a person's profile; other events
// change nothing, nor do repeats and events that are overtaken.
func (b *groupBook) learn(ctx context.Context, e event.Event) error {
	var p *candidatesv1.Profile
	switch data := e.Data.(type) {
	case *candidatesv1.CandidateRegistered:
		p = data.GetProfile()
	case *candidatesv1.CandidateUpdated:
		p = data.GetProfile()
	default:
		return nil
	}
	_, err := b.people.Upsert(ctx, e.Subject, func(d *docstore.Doc[GroupRecord]) error {
		if e.Seq <= d.Body.Seq {
			return docstore.Unchanged
		}
		d.Body = GroupRecord{
			Groups: Groups{Sex: p.GetSex(), Governorate: p.GetGovernorate(), Diploma: p.GetDiplomaLevel()},
			Seq:    e.Seq,
		}
		return nil
	})
	return err
}

// fewReads is up to how many people are read one by one; for more it is faster to
// walk the whole collection.
const fewReads = 2000

// of reads the groups of people, by id. Those of whom nothing is known are left
// out.
func (b *groupBook) of(ctx context.Context, ids []string) (map[string]Groups, error) {
	out := make(map[string]Groups, len(ids))
	if len(ids) <= fewReads {
		for _, id := range ids {
			d, err := b.people.Get(ctx, id)
			if errors.Is(err, docstore.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			out[id] = d.Body.Groups
		}
		return out, nil
	}
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	for d, err := range b.people.All(ctx) {
		if err != nil {
			return nil, err
		}
		if wanted[d.ID] {
			out[d.ID] = d.Body.Groups
		}
	}
	return out, nil
}

// report compares the groups of a pool: eligible are the ids of everybody who
// could be selected, selected of those who were.
func (b *groupBook) report(ctx context.Context, selected, eligible []string) (FairnessReport, error) {
	groups, err := b.of(ctx, eligible)
	if err != nil {
		return FairnessReport{}, fmt.Errorf("matching: read the groups of a pool: %w", err)
	}
	return Fairness(selected, eligible, func(id string) Groups { return groups[id] }, FairnessOptions{})
}

// errHiddenGroup is the error of a price that is asked for a group whose numbers
// are hidden: the quotas themselves would give them away.
var errHiddenGroup = errors.New("matching: the numbers of this group are hidden: there is no price of parity for it")

// parity works out the price of parity for one group of a pool, at most so many
// points. The group must be one that the report of the same pool shows alone and
// with its numbers; otherwise the error is errHiddenGroup.
func (b *groupBook) parity(ctx context.Context, attribute, code string, selected, eligible []string, points int, solve ParityVariant) (ParityPrice, error) {
	groups, err := b.of(ctx, eligible)
	if err != nil {
		return ParityPrice{}, fmt.Errorf("matching: read the groups of a pool: %w", err)
	}
	of := func(id string) Groups { return groups[id] }
	report, err := Fairness(selected, eligible, of, FairnessOptions{})
	if err != nil {
		return ParityPrice{}, err
	}
	line := report.line(attribute, code)
	if line == nil || len(line.Codes) != 1 || !line.Selected.exact() {
		return ParityPrice{}, errHiddenGroup
	}
	p, err := Parity(ctx, membersOf(attribute, code, eligible, of), len(eligible), points, solve)
	p.Attribute, p.Code, p.LabelFR, p.LabelAR = attribute, code, line.LabelFR, line.LabelAR
	return p, err
}

// line finds the line of a group; nil when the report has none.
func (r *FairnessReport) line(attribute, code string) *FairnessLine {
	for i := range r.Cuts {
		for j := range r.Cuts[i].Lines {
			if r.Cuts[i].Attribute == attribute && slices.Contains(r.Cuts[i].Lines[j].Codes, code) {
				return &r.Cuts[i].Lines[j]
			}
		}
	}
	return nil
}

// membersOf picks those of a group, in the order given.
func membersOf(attribute, code string, ids []string, groups func(string) Groups) (out []string) {
	for _, a := range fairnessAttributes() {
		if a.name != attribute {
			continue
		}
		for _, id := range ids {
			if a.of(groups(id)) == code {
				out = append(out, id)
			}
		}
	}
	return out
}
