package config_test

import (
	"slices"
	"strings"
	"testing"
)

func TestWhatIsRarelyMeantIsWarnedOf(t *testing.T) {
	keepWarm := func(share string) string {
		return base + "      - {address: \"10.20.1.11:25\", priority: 1}\n    failover: {keep_warm: {share: " + share + "}}\n"
	}
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", base, nil},
		{"open to all of IPv4", strings.Replace(base, "10.10.0.0/16", "0.0.0.0/0", 1),
			[]string{`f.yaml:4: listeners[0].allow[0]: "0.0.0.0/0": every address may connect: relays that trust this machine become open relays`}},
		{"open to all of IPv6", strings.Replace(base, "10.10.0.0/16", "::/0", 1),
			[]string{`f.yaml:4: listeners[0].allow[0]: "::/0": every address may connect: relays that trust this machine become open relays`}},
		{"all of IPv4, written as IPv6", strings.Replace(base, "10.10.0.0/16", "::ffff:0.0.0.0/96", 1),
			[]string{`f.yaml:4: listeners[0].allow[0]: "::ffff:0.0.0.0/96": every address may connect: relays that trust this machine become open relays`}},
		{"everybody's PROXY header", strings.Replace(base, "    allow", "    accept_proxy: [0.0.0.0/0]\n    allow", 1),
			[]string{`f.yaml:4: listeners[0].accept_proxy[0]: "0.0.0.0/0": every peer may name any client address: allow then protects nothing`}},
		{"an allow within a deny", strings.Replace(base, "    allow", "    deny: [10.10.2.0/25, 10.10.0.0, 10.9.0.0/16, 10.0.0.0/8, 10.10.0.0/16, \"2001:db8::/32\"]\n    allow", 1),
			[]string{`f.yaml:4: listeners[0].deny[3]: "10.0.0.0/8": allow names 10.10.0.0/16, which may connect all the same: the longer prefix decides`}},
		{"the same address in both", strings.Replace(base, `allow: ["10.10.0.0/16"]`, "allow: [10.10.0.1]\n    deny: [10.10.0.1]", 1), nil},
		{"pool unused", base + "  - name: spare\n    discover: mx:example.com\n",
			[]string{`f.yaml:9: pools[1]: a mapping: no listener and no route uses this pool`}},
		{"keep_warm of 5%", keepWarm("5%"), nil},
		{"keep_warm off", keepWarm("0%"), nil},
		{"keep_warm too little", keepWarm("4.9%"),
			[]string{`f.yaml:10: pools[0].failover.keep_warm.share: "4.9%": below 5% a site may get too little mail to keep its reputation`}},
		{"keep_warm without a second tier", base + "    failover: {keep_warm: {share: 5%}}\n",
			[]string{`f.yaml:9: pools[0].failover.keep_warm: a mapping: all backends have one priority: there is no tier to keep warm`}},
		{"min_healthy beyond the tier", base + "    failover: {min_healthy: 2}\n",
			[]string{`f.yaml:9: pools[0].failover.min_healthy: 2: the tier of priority 0 has 1: all of them are needed then`}},
		{"no weight at all", base + "        weight: 0\n",
			[]string{`f.yaml:7: pools[0].backends: a list: every weight is 0: the pool takes no sessions`}},
		{"port 465 asked for a greeting", strings.Replace(base, "    allow", "    protocol: tcp\n    allow", 1),
			[]string{`f.yaml:7: pools[0].probe.type: listener 192.0.2.25:25 relays tcp, the check expects an smtp greeting: for port 465 write smtps`}},
		{"port 465 asked in TLS", strings.Replace(base, "    allow", "    protocol: tcp\n    allow", 1) + "    probe: {type: smtps}\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, w := range parse(t, tt.text).Warnings {
				got = append(got, w.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}
