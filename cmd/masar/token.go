package main

import (
	"fmt"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/reference"
)

// tokenCmd signs a token with the local identity's key: who can read the data
// directory is its owner.
type tokenCmd struct {
	Data        string        `default:"data" env:"MASAR_DATA_DIR" help:"Data directory of the running instance." placeholder:"DIR"`
	Role        string        `required:"" help:"One of: admin, counsellor, employer, integrator, manager, officer, operator, service, statistician." placeholder:"ROLE"`
	Governorate []string      `help:"Limit to a governorate, such as TN-71 or Gafsa (repeatable)." placeholder:"CODE"`
	Scheme      []string      `help:"Limit to a scheme, such as agri (repeatable)." placeholder:"CODE"`
	Employer    string        `help:"The employer's id, for the role employer." placeholder:"ID"`
	Subject     string        `default:"local" help:"Who the token is for; shows in histories." placeholder:"NAME"`
	TTL         time.Duration `default:"12h" help:"How long it is valid."`
}

func (c tokenCmd) Run() error {
	if !access.Role(c.Role).Known() {
		return fmt.Errorf("role %q is not known; see masar token --help", c.Role)
	}
	p := access.Principal{Subject: c.Subject, Role: access.Role(c.Role), Employer: c.Employer}
	for _, text := range c.Governorate {
		g, ok := reference.FindGovernorate(text)
		if !ok {
			return fmt.Errorf("governorate %q is not known: give an ISO code such as TN-71, or a name", text)
		}
		p.Governorates = append(p.Governorates, g.Code)
	}
	now := time.Now()
	for _, code := range c.Scheme {
		if _, ok := reference.Schemes().Current(code, now); !ok {
			return fmt.Errorf("scheme %q is not known", code)
		}
		p.Schemes = append(p.Schemes, code)
	}
	i, err := target{Data: c.Data}.find()
	if err != nil {
		return err
	}
	issuer, err := access.OpenIssuer(c.Data, i.URL, time.Now)
	if err != nil {
		return err
	}
	token, err := issuer.Token(p, c.TTL)
	if err != nil {
		return err
	}
	fmt.Println(token)
	return nil
}
