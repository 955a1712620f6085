package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/services/matching"
)

// replayCmd makes an old answer of matching again. The answer goes to stdout, the
// same bytes as it was given with, or those that come out now; a word about them
// goes to stderr.
type replayCmd struct {
	target
	ID string `arg:"" help:"The shortlist_id of a shortlist, or the id of a campaign."`
}

func (c replayCmd) Run(ctx context.Context) error {
	// A campaign of a large programme takes minutes: no time limit but ours.
	client, err := c.client(access.Admin, api.WithHTTP(&http.Client{}))
	if err != nil {
		return err
	}
	return replay(ctx, client, c.ID, os.Stdout, os.Stderr)
}

func replay(ctx context.Context, client *api.Client, id string, answer, words io.Writer) error {
	var again matching.ReplayAnswer
	what := ""
	for _, kind := range []string{"shortlist", "campaign"} {
		err := client.Get(ctx, "/api/matching/"+kind+"s/"+url.PathEscape(id)+"/replay", &again)
		if errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
			continue
		}
		if err != nil {
			return fmt.Errorf("replay of the %s %s: %w", kind, id, err)
		}
		what = kind
		break
	}
	if what == "" {
		return fmt.Errorf("there is no shortlist and no campaign %s", id)
	}
	if _, err := answer.Write(append(again.Answer, '\n')); err != nil {
		return err
	}
	if again.Same {
		fmt.Fprintf(words, "same: the %s %s comes out as it was given, sha256 %s\n", what, id, again.Sum)
		return nil
	}
	fmt.Fprintf(words, "different: the %s %s was given with sha256 %s and comes out with %s\n", what, id, again.Sum, again.Remade)
	if again.Program != again.Now {
		fmt.Fprintf(words, "the program was %s and is %s: its texts and schemes may have changed; that version gives the same bytes\n", again.Program, again.Now)
	}
	return errFailed
}
