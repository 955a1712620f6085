package indicators

// DefinitionTest is a small history with the figures that a definition must give.
type DefinitionTest struct {
	Name   string           `yaml:"name"`
	Events []map[string]any `yaml:"events"`
	Expect []map[string]any `yaml:"expect"`
}
