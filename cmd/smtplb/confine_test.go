package main

import (
	"fmt"
	"testing"

	"smtplb/internal/config"
	"smtplb/internal/privilege"
)

func TestNeedsAreReadFromEveryBackend(t *testing.T) {
	for _, test := range []struct {
		backend, discovered string
		want                privilege.Needs
	}{
		{"", "", privilege.Needs{}},
		{", source: 127.0.0.1", "", privilege.Needs{}},
		{", fwmark: 7", "", privilege.Needs{Mark: true}},
		{", interface: lo", "", privilege.Needs{Interface: true}},
		{", transparent: true", "", privilege.Needs{Transparent: true}},
		{"", "fwmark: 7", privilege.Needs{Mark: true}},
		{"", "interface: lo", privilege.Needs{Interface: true}},
		{", transparent: true", "fwmark: 7, interface: lo", privilege.Needs{Mark: true, Interface: true, Transparent: true}},
	} {
		text := fmt.Sprintf(`
listeners: [{address: "127.0.0.1:25", pool: a, allow: [127.0.0.1]}, {address: "127.0.0.2:25", pool: b, allow: [127.0.0.1]}]
pools:
  - {name: a, backends: [{address: "127.0.0.1:26"}, {address: "127.0.0.1:27"%s}]}
  - {name: b, discover: "mx:example.com", discovered: {%s}}
`, test.backend, test.discovered)
		cfg, err := config.Parse("test.yaml", []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := needs(cfg); got != test.want {
			t.Errorf("%q and %q need %+v, want %+v", test.backend, test.discovered, got, test.want)
		}
	}
}
