package config

import (
	"slices"
	"strings"
	"testing"
)

const beforeText = `
listeners:
  - {name: smarthost, address: "192.0.2.25:25", pool: outbound, allow: [10.0.0.0/8], routes: [{from: [10.1.0.0/16], pool: other}]}
pools:
  - name: outbound
    backends:
      - {name: relay-a, address: "10.10.1.11:25", weight: 2}
      - {name: relay-b, address: "10.10.1.12:25"}
      - {name: relay-c, address: "relay.example.com:25", source: 10.0.0.9}
    failover: {keep_warm: {share: 5%}}
  - {name: other, backends: [{address: "10.10.1.11:25"}]}
`

func TestDiffNamesWhatChanged(t *testing.T) {
	for name, test := range map[string]struct {
		old, new string
		want     []string
	}{
		"nothing": {"", "", nil},
		"order": {`      - {name: relay-a, address: "10.10.1.11:25", weight: 2}
      - {name: relay-b, address: "10.10.1.12:25"}
`, `      - {name: relay-b, address: "10.10.1.12:25"}
      - {name: relay-a, address: "10.10.1.11:25", weight: 2}
`, nil},
		"weight":   {"weight: 2", "weight: 7", []string{"pools.outbound.backends.relay-a.weight: 2 -> 7"}},
		"renamed":  {"name: relay-b", "name: relay-x", []string{"pools.outbound.backends.relay-x: renamed, it was relay-b"}},
		"moved":    {"10.10.1.12:25", "10.10.1.99:25", []string{"pools.outbound.backends.relay-b.address: 10.10.1.12:25 -> 10.10.1.99:25"}},
		"replaced": {`relay-b, address: "10.10.1.12:25"`, `relay-x, address: "10.10.1.99:25"`, []string{"pools.outbound.backends.relay-x: added", "pools.outbound.backends.relay-b: removed"}},
		"names exchanged": {`      - {name: relay-a, address: "10.10.1.11:25", weight: 2}
      - {name: relay-b, address: "10.10.1.12:25"}
`, `      - {name: relay-b, address: "10.10.1.11:25", weight: 2}
      - {name: relay-a, address: "10.10.1.12:25"}
`, []string{
			"pools.outbound.backends.relay-b.address: 10.10.1.12:25 -> 10.10.1.11:25", "pools.outbound.backends.relay-b.weight: 1 -> 2",
			"pools.outbound.backends.relay-a.address: 10.10.1.11:25 -> 10.10.1.12:25", "pools.outbound.backends.relay-a.weight: 2 -> 1",
		}},
		"share":               {"5%", "2.5%", []string{"pools.outbound.failover.keep_warm.share: 5% -> 2.5%"}},
		"networks":            {"allow: [10.0.0.0/8]", "allow: [10.0.0.0/8, 192.0.2.1]", []string{"listeners.smarthost.allow: added 192.0.2.1/32"}},
		"network for another": {"allow: [10.0.0.0/8]", "allow: [192.0.2.1]", []string{"listeners.smarthost.allow: added 192.0.2.1/32, removed 10.0.0.0/8"}},
		"many networks": {"allow: [10.0.0.0/8]", "allow: [10.0.0.0/8, 192.0.2.0, 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4, 192.0.2.5, 192.0.2.6, 192.0.2.7, 192.0.2.8, 192.0.2.9, 192.0.2.10, 192.0.2.11]", []string{
			"listeners.smarthost.allow: added 192.0.2.0/32 192.0.2.1/32 192.0.2.2/32 192.0.2.3/32 192.0.2.4/32 192.0.2.5/32 192.0.2.6/32 192.0.2.7/32 192.0.2.8/32 192.0.2.9/32 and 2 more",
		}},
		"routes": {"10.1.0.0/16", "10.2.0.0/16", []string{"listeners.smarthost.routes: changed"}},
		"none":   {", source: 10.0.0.9", "", []string{`pools.outbound.backends.relay-c.source: 10.0.0.9 -> ""`}},
		"timeouts": {"failover:", "timeouts: {idle: 20m, hedge: off}\n    failover:", []string{
			"pools.outbound.timeouts.hedge: auto -> off", "pools.outbound.timeouts.idle: 15m0s -> 20m0s",
		}},
		"a quoted name": {`address: "10.10.1.11:25"}]`, `address: "10.10.1.11:25", weight: 3}]`, []string{`pools.other.backends."10.10.1.11:25".weight: 1 -> 3`}},
		"top level":     {"pools:\n", "log: {level: debug, format: console}\nworkers: 3\npools:\n", []string{"log.level: info -> debug", "log.format: json -> console", "workers: 0 -> 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(beforeText, test.old) {
				t.Fatalf("nothing to replace: %q", test.old)
			}
			parse := func(text string) *Config {
				cfg, err := Parse("smtplb.yaml", []byte(text), nil)
				if err != nil {
					t.Fatal(err)
				}
				return cfg
			}
			var got []string
			for _, c := range Diff(parse(beforeText), parse(strings.Replace(beforeText, test.old, test.new, 1))) {
				got = append(got, c.String())
			}
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n %s\nwant\n %s", strings.Join(got, "\n "), strings.Join(test.want, "\n "))
			}
		})
	}
}
