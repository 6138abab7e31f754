package config_test

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"smtplb/internal/config"
)

func TestEnvironmentOverridesTheFile(t *testing.T) {
	cfg := parse(t, base,
		"PATH=/bin", "SMTPLB", "SMTPLBX_WORKERS=7", // not ours
		"SMTPLB_WORKERS=3",
		"SMTPLB_ADMIN__ADDRESS=[::1]:9000",
		"SMTPLB_LOG__LEVEL='debug'",
		"SMTPLB_LISTENERS__0__ALLOW=[10.0.0.0/8, 192.0.2.7]",
		"SMTPLB_LISTENERS__0__ALLOW__1=192.0.2.8",
		"SMTPLB_LISTENERS__0__DENIED_REPLY=554",
		"SMTPLB_LISTENERS__0__HOSTNAME=\"mx.example.com\"",
		"SMTPLB_POOLS__0__BACKENDS__0__WEIGHT=5",
		"SMTPLB_POOLS__0__BACKENDS__0__NAME=123",
		"SMTPLB_POOLS__0__BACKENDS__0__FWMARK=0x20",
		"SMTPLB_POOLS__0__BACKENDS__0__TRANSPARENT=true",
		"SMTPLB_POOLS__0__FAILOVER__RAMP__START=25%",
		"SMTPLB_POOLS__0__TIMEOUTS__IDLE=20m",
	)
	l, b := cfg.Listeners[0], cfg.Pools[0].Backends[0]
	checks := []struct {
		key       string
		got, want any
	}{
		{"workers", cfg.Workers, 3},
		{"admin.address", cfg.Admin.Address, netip.MustParseAddrPort("[::1]:9000")},
		{"log.level", cfg.Log.Level, config.LogDebug},
		{"allow", l.Allow, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.8/32")}},
		{"denied_reply", l.DeniedReply, config.Deny554},
		{"hostname", l.Hostname, "mx.example.com"},
		{"weight", b.Weight, 5},
		{"name", b.Name, "123"},
		{"fwmark", b.FWMark, uint32(32)},
		{"transparent", b.Transparent, true},
		{"ramp.start", cfg.Pools[0].Failover.Ramp.Start.String(), "25%"},
		{"idle", cfg.Pools[0].Timeouts.Idle, 20 * time.Minute},
	}
	for _, c := range checks {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.key, c.got, c.want)
		}
	}
}

func TestEnvironmentAddsElementsInOrder(t *testing.T) {
	var environ []string
	for _, i := range []string{"10", "9", "8", "7", "6", "5", "4", "3", "2", "1"} {
		environ = append(environ, "SMTPLB_POOLS__0__BACKENDS__"+i+"__ADDRESS=10.10.2."+i+":25")
	}
	cfg := parse(t, base, environ...)
	backends := cfg.Pools[0].Backends
	if len(backends) != 11 || backends[10].Address.String() != "10.10.2.10:25" || backends[10].Weight != 1 {
		t.Errorf("got %+v", backends)
	}
}

func TestEnvironmentCanHoldEverything(t *testing.T) {
	cfg := parse(t, "workers: 1\n",
		"SMTPLB_LISTENERS__0__ADDRESS=192.0.2.25:25", "SMTPLB_LISTENERS__0__ALLOW__0=10.0.0.0/8",
		"SMTPLB_POOLS__0__BACKENDS__0__ADDRESS=10.10.1.11:25")
	if l := cfg.Listeners[0]; l.MaxSessions != 10000 || l.Pool != "default" || len(l.Allow) != 1 {
		t.Errorf("got %+v", l)
	}
}

func TestEnvironmentMistakesNameTheVariable(t *testing.T) {
	tests := []struct{ variable, value, want string }{
		{"SMTPLB_ADMIN_ADDRESS", "x", `: "x": no such key: did you mean SMTPLB_ADMIN__ADDRESS?`},
		{"SMTPLB_admin__address", "x", `: "x": no such key: did you mean SMTPLB_ADMIN__ADDRESS?`},
		{"SMTPLB_POOLS_0_BACKENDS_1_WIEGHT", "3", `: "3": no such key: did you mean SMTPLB_POOLS__0__BACKENDS__1__WEIGHT?`},
		{"SMTPLB_PORT", "tcp://10.0.0.1:25", `: "tcp://10.0.0.1:25": no such key: SMTPLB_ must go on with one of LISTENERS, POOLS, ADMIN, LOG, DNS, CLUSTER, WORKERS`},
		{"SMTPLB_", "", `: "": no such key: SMTPLB_ must go on with one of LISTENERS, POOLS, ADMIN, LOG, DNS, CLUSTER, WORKERS`},
		{"SMTPLB_POOLS__FIRST", "x", `: "x": no such key: SMTPLB_POOLS__ must go on with an index from 0`},
		{"SMTPLB_WORKERS__COUNT__MAXIMUM", "x", `: "x": no such key: SMTPLB_WORKERS is one value, nothing is below it`},
		{"SMTPLB_LOG", "{level: debug}", `: log: "{level: debug}": must name one key of this section, after two underscores: LEVEL, FORMAT`},
		{"SMTPLB_LISTENERS__0__ROUTES", "[]", `: listeners[0].routes: "[]": must name one element by its index, and its key: FROM, POOL`},
		{"SMTPLB_POOLS__0__BACKENDS__2__WEIGHT", "1", `: pools[0].backends: "1": must have an index of 0 to 1: the list has 1`},
		{"SMTPLB_POOLS__0__BACKENDS__1__WEIGHT", "1", `: pools[0].backends[1].address: required: the relay's IP or name and its port, such as "10.10.1.11:25"`},
		{"SMTPLB_POOLS__0__BACKENDS__0__WEIGHT", "many", `: pools[0].backends[0].weight: "many": must be a whole number, such as 10`},
		{"SMTPLB_POOLS__0__BACKENDS__0__WEIGHT", "", `: pools[0].backends[0].weight: "": must be one value`},
		{"SMTPLB_POOLS__0__BACKENDS__0__WEIGHT", "2000", `: pools[0].backends[0].weight: "2000": must be 0 to 1000`},
		{"SMTPLB_POOLS__0__BACKENDS__0__TRANSPARENT", "[true]", `: pools[0].backends[0].transparent: "[true]": must be one value`},
		{"SMTPLB_LISTENERS__0__ALLOW", "10.0.0.0/8", `: listeners[0].allow: "10.0.0.0/8": must be a list: [a, b]`},
		{"SMTPLB_LISTENERS__0__ALLOW", "[*x]", `: listeners[0].allow: "[*x]": must be a list: [a, b]`},
		{"SMTPLB_LISTENERS__0__ALLOW", "[10.0.0.1/8]", `: listeners[0].allow[0]: has bits set after the first 8: write 10.0.0.0/8, or 10.0.0.1 for that address alone`},
		{"SMTPLB_LISTENERS__0__HOSTNAME", `"x`, `: listeners[0].hostname: "\"x": must be one value`},
		{"SMTPLB_LISTENERS__0__HOSTNAME", "a\x00b", `: listeners[0].hostname: "a\x00b": must be a domain name such as "mx.example.com", or an address literal such as "[192.0.2.1]"`},
		{"SMTPLB_POOLS__0__TIMEOUTS__IDLE", "5", `: pools[0].timeouts.idle: "5": must be a time with its unit, such as 500ms, 15s or 2m`},
	}
	for _, tt := range tests {
		t.Run(tt.variable, func(t *testing.T) {
			got := complaints(t, base, tt.variable+"="+tt.value)
			if want := []string{"environment: " + tt.variable + tt.want}; !slices.Equal(got, want) {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
}

// A variable's name may hold anything but "=" and NUL: the error stays on its
// line all the same, and sends nothing odd to the terminal.
func TestOddVariableNamesAreQuoted(t *testing.T) {
	for name, want := range map[string]string{
		"SMTPLB_A\nB":     `environment: "SMTPLB_A\nB": "": `,
		"SMTPLB_\x1b[31m": `environment: "SMTPLB_\x1b[31m": "": `,
		"SMTPLB_\xff":     `environment: "SMTPLB_\xff": "": `,
	} {
		got := complaints(t, base, name+"=")
		if len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("got %q, want one line that begins with %s", got, want)
		}
	}
}

func TestEnvironmentMendsAWrongFile(t *testing.T) {
	cfg := parse(t, base+"log:\n", "SMTPLB_LOG__FORMAT=console")
	if cfg.Log.Format != config.LogConsole || cfg.Log.Level != config.LogInfo {
		t.Errorf("got %+v", cfg.Log)
	}
}
