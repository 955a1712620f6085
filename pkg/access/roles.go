package access

import (
	"maps"
	"slices"
)

// Role names a job in the programme. A principal has exactly one.
type Role string

// The roles. Who they are: DESIGN §1.
const (
	Counsellor   Role = "counsellor"   // ANETI counsellor, international employment unit
	Officer      Role = "officer"      // OFII officer
	Employer     Role = "employer"     // French employer or federation
	Manager      Role = "manager"      // programme manager, digitalisation coordinator, ministry
	Statistician Role = "statistician" // ONEQ, labour-market watch
	Integrator   Role = "integrator"   // system of a partner (SIGAF, SIMT, federations)
	Operator     Role = "operator"     // runs the platform
	Service      Role = "service"      // one of our own services calling another
	Admin        Role = "admin"        // the owner of a local installation: everything
)

// Permission names one thing that may be done.
type Permission string

// The permissions, "what:how".
const (
	CandidatesRead    Permission = "candidates:read"
	CandidatesWrite   Permission = "candidates:write"
	CandidatesContact Permission = "candidates:contact"
	PathwaysMove      Permission = "pathways:move"
	EmployersRead     Permission = "employers:read"
	EmployersWrite    Permission = "employers:write"
	OffersRead        Permission = "offers:read"
	OffersWrite       Permission = "offers:write"
	MatchingRead      Permission = "matching:read"
	MatchingDecide    Permission = "matching:decide"
	CampaignsRead     Permission = "campaigns:read"
	CampaignsRun      Permission = "campaigns:run"
	FairnessRead      Permission = "fairness:read"
	IndicatorsRead    Permission = "indicators:read"
	IndicatorsFacts   Permission = "indicators:facts"
	IndicatorsFreeze  Permission = "indicators:freeze"
	IndicatorsImport  Permission = "indicators:import" // official series of the labour market
	IndicatorsDefine  Permission = "indicators:define" // sees what another definition would count
	NotificationsRead Permission = "notifications:read"
	JournalRead       Permission = "journal:read"
	PlatformRead      Permission = "platform:read"
)

// Known reports whether r is one of the roles.
func (r Role) Known() bool { _, ok := permissions[r]; return ok }

// Permissions lists what the role may do.
func (r Role) Permissions() []Permission { return slices.Clone(permissions[r]) }

// Roles lists the roles by name.
func Roles() []Role { return slices.Sorted(maps.Keys(permissions)) }

// Permissions lists every permission there is.
func Permissions() []Permission { return slices.Clone(allPermissions) }

func roleNames() (names []string) {
	for _, r := range Roles() {
		names = append(names, string(r))
	}
	return names
}

var allPermissions = []Permission{
	CandidatesRead, CandidatesWrite, CandidatesContact, PathwaysMove,
	EmployersRead, EmployersWrite, OffersRead, OffersWrite,
	MatchingRead, MatchingDecide, CampaignsRead, CampaignsRun, FairnessRead,
	IndicatorsRead, IndicatorsFacts, IndicatorsFreeze, IndicatorsImport, IndicatorsDefine, NotificationsRead, JournalRead, PlatformRead,
}

// permissions is the whole table of who may do what.
var permissions = map[Role][]Permission{
	// Follows people from registration to departure, imports lists, decides on shortlists.
	Counsellor: {
		CandidatesRead, CandidatesWrite, CandidatesContact, PathwaysMove,
		EmployersRead, OffersRead, MatchingRead, MatchingDecide, CampaignsRead,
		IndicatorsRead, NotificationsRead,
	},
	// Same people, seen from the French side: also registers employers and takes in offers.
	Officer: {
		CandidatesRead, CandidatesWrite, CandidatesContact, PathwaysMove,
		EmployersRead, EmployersWrite, OffersRead, OffersWrite, MatchingRead, MatchingDecide, CampaignsRead,
		IndicatorsRead, NotificationsRead,
	},
	// Posts its offers, reads its shortlists and decides; sees no register of people.
	Employer: {EmployersRead, OffersRead, OffersWrite, MatchingRead, MatchingDecide},
	// Steers by figures, how fair a selection was among them, and by campaigns, in which
	// people go by pseudonyms; freezes the figures of a period for a review; sees no person.
	Manager: {EmployersRead, OffersRead, CampaignsRead, CampaignsRun, FairnessRead, IndicatorsRead, IndicatorsFreeze, IndicatorsImport, IndicatorsDefine, PlatformRead},
	// Exports figures and the facts under them (facts carry no personal data); sees no person.
	Statistician: {OffersRead, FairnessRead, IndicatorsRead, IndicatorsFacts, IndicatorsImport, IndicatorsDefine},
	// Feeds registers from another system.
	Integrator: {CandidatesRead, CandidatesWrite, EmployersRead, EmployersWrite, OffersRead, OffersWrite, IndicatorsRead},
	// Keeps the platform running: journals, health, notifications' state; sees no person.
	Operator: {JournalRead, PlatformRead, IndicatorsRead, IndicatorsFacts, NotificationsRead},
	// One service asking another: a person's contact at the moment of sending, nothing else of the person.
	Service: {CandidatesContact, OffersRead, IndicatorsRead, JournalRead, PlatformRead},
	// The owner of the machine that `masar up` runs on.
	Admin: allPermissions,
}

// Exists reports whether p is one of the permissions.
func Exists(p Permission) bool { return slices.Contains(allPermissions, p) }
