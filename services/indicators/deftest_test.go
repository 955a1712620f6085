package indicators

import "testing"

func TestDefinitionsAsTheirTestsSay(t *testing.T) {
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range defs {
		if len(d.Tests) == 0 {
			t.Errorf("indicator %s has no test", d.Code)
		}
		if err := d.RunTests(Dimensions()); err != nil {
			t.Error(err)
		}
	}
}
