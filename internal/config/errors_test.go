package config_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"smtplb/internal/config"
)

// complaints parses a text that must be refused and returns the errors, one
// line each.
func complaints(t *testing.T, text string, environ ...string) []string {
	t.Helper()
	cfg, err := config.Parse("f.yaml", []byte(text), environ)
	if err == nil {
		t.Fatalf("accepted:\n%s", text)
	}
	if cfg != nil {
		t.Error("a refused configuration must not be returned")
	}
	if errs, ok := errors.AsType[config.Errors](err); !ok || len(errs) == 0 {
		t.Fatalf("got %T, want Errors: %v", err, err)
	}
	return strings.Split(err.Error(), "\n")
}

// rule is one mistake in an otherwise good file: key and value put where they
// belong, and the one line they give.
type rule struct{ key, value, want string }

func checkRules(t *testing.T, template string, rules []rule) {
	t.Helper()
	for _, tt := range rules {
		t.Run(tt.key+"="+tt.value[:min(len(tt.value), 40)], func(t *testing.T) {
			text := strings.Replace(template, "KEY: VALUE", tt.key+": "+tt.value, 1)
			if text == template {
				t.Fatal("the template has no KEY: VALUE")
			}
			got := complaints(t, text)
			if want := []string{"f.yaml:" + tt.want}; !slices.Equal(got, want) {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
}

const withListener = `listeners:
  - pool: outbound
    allow: ["10.10.0.0/16"]
    KEY: VALUE
    address: "192.0.2.25:25"
pools:
  - name: outbound
    backends: [{address: "10.10.1.11:25"}]
`

func TestListenerMistakesNameWhatIsRight(t *testing.T) {
	const (
		listen = `must be IP:port, such as "192.0.2.25:25", "0.0.0.0:25" or "[::]:25"`
		port   = "must have a port of 1 to 65535 after the last colon"
		named  = "must begin with a letter or a digit and hold only those and . _ - : [ ] @ +, at most 300 bytes"
		mail   = `must be a domain name such as "mx.example.com", or an address literal such as "[192.0.2.1]"`
	)
	checkRules(t, withListener, []rule{
		{"name", "5", `4: listeners[0].name: 5: must be text: write it in quotes`},
		{"name", "../x", `4: listeners[0].name: "../x": ` + named},
		{"name", `"a b"`, `4: listeners[0].name: "a b": ` + named},
		{"name", "", `4: listeners[0].name: has no value: write one, or leave the key out`},
		{"name", "[a]", `4: listeners[0].name: a list: must be one value`},
		{"protocol", "imap", `4: listeners[0].protocol: "imap": must be one of smtp, tcp`},
		{"protocol", "true", `4: listeners[0].protocol: true: must be one of smtp, tcp`},
		{"denied_reply", "550", `4: listeners[0].denied_reply: 550: must be one of 421, 554, drop`},
		{"deny", "[10.0.0.1/8]", `4: listeners[0].deny[0]: "10.0.0.1/8": has bits set after the first 8: write 10.0.0.0/8, or 10.0.0.1 for that address alone`},
		{"deny", "10.0.0.0/8", `4: listeners[0].deny: "10.0.0.0/8": must be a list: [a, b], or one a line, each after a dash`},
		{"deny", "[10.0.0.0/33]", `4: listeners[0].deny[0]: "10.0.0.0/33": must be a network such as 10.10.0.0/16, or an address`},
		{"deny", "[relay]", `4: listeners[0].deny[0]: "relay": must be a network such as 10.10.0.0/16, or an address`},
		{"deny", "[5]", `4: listeners[0].deny[0]: 5: must be a network such as 10.10.0.0/16, or an address`},
		{"deny", `["fe80::1%eth0"]`, `4: listeners[0].deny[0]: "fe80::1%eth0": must have no zone: write fe80::1`},
		{"deny", `["::ffff:10.0.0.1/104"]`, `4: listeners[0].deny[0]: "::ffff:10.0.0.1/104": has bits set after the first 8: write 10.0.0.0/8, or 10.0.0.1 for that address alone`},
		{"deny", `[10.0.0.0/8, ""]`, `4: listeners[0].deny[1]: "": must be a network such as 10.10.0.0/16, or an address`},
		{"deny", "[~]", `4: listeners[0].deny[0]: has no value: write one, or leave the key out`},
		{"accept_proxy", "[x]", `4: listeners[0].accept_proxy[0]: "x": must be a network such as 10.10.0.0/16, or an address`},
		{"routes", "[{pool: outbound}]", `4: listeners[0].routes[0].from: required: the client networks this route is for, such as [10.10.2.0/24]`},
		{"routes", "[{from: [10.10.2.0/24], pool: outbond}]", "4: listeners[0].routes[0].pool: \"outbond\": no such pool: did you mean `outbound`?"},
		{"routes", "[5]", `4: listeners[0].routes[0]: 5: must be a mapping with the keys from, pool`},
		{"hostname", `"mx example"`, `4: listeners[0].hostname: "mx example": ` + mail},
		{"hostname", `"mx\r\n250 ok"`, `4: listeners[0].hostname: "mx\r\n250 ok": ` + mail},
		{"hostname", "192.0.2.1", `4: listeners[0].hostname: "192.0.2.1": ` + mail},
		{"max_sessions", "-1", `4: listeners[0].max_sessions: -1: must be 0 to 10000000`},
		{"max_sessions", "many", `4: listeners[0].max_sessions: "many": must be a whole number, such as 10`},
		{"max_sessions", "010", `4: listeners[0].max_sessions: 010: must be a whole number, such as 10`},
		{"max_sessions", "99999999999999999999", `4: listeners[0].max_sessions: 99999999999999999999: must be a whole number, such as 10`},
		{"max_rate_per_client", "{per_minute: -1}", `4: listeners[0].max_rate_per_client.per_minute: -1: must be 0 to 10000000`},
		{"max_rate_per_client", "{per_minute: 1, burst: 10000001}", `4: listeners[0].max_rate_per_client.burst: 10000001: must be 0 to 10000000`},
		{"max_rate_per_client", "{burst: 5}", `4: listeners[0].max_rate_per_client.burst: 5: has no effect without per_minute: write that too, or leave both out`},
		{"max_rate_per_client", "10/s", `4: listeners[0].max_rate_per_client: "10/s": must be a mapping with the keys per_minute, burst`},
		{"max_sessions_per_client", "10000001", `4: listeners[0].max_sessions_per_client: 10000001: must be 0 to 10000000`},
		{"Hostname", "x", "4: listeners[0].Hostname: unknown key: did you mean `hostname`?"},
		{`"a.b"`, "x", `4: listeners[0]."a.b": unknown key: must be one of name, address, pool, allow, deny, routes, protocol, denied_reply, accept_proxy, hostname, max_sessions, max_sessions_per_client, max_rate_per_client`},
		{"5", "x", `4: listeners[0].5: unknown key: must be one of name, address, pool, allow, deny, routes, protocol, denied_reply, accept_proxy, hostname, max_sessions, max_sessions_per_client, max_rate_per_client`},
		{"pool", "outbound", `4: listeners[0].pool: written twice: first on line 2`},
		{"<<", "{name: x}", `4: listeners[0]."<<": merge keys are not known here: write the keys out`},
		{"? [a, b]\n    ", "x", `4: listeners[0]."?": keys must be plain words`},
		{"name", "&n x", `4: listeners[0].name: anchors and aliases (&name, *name) are not known here: write the value out`},
		{"name", "!!binary aGk=", `4: listeners[0].name: tags (!name) are not known here: write the value alone`},
	})
	addresses := strings.Replace(strings.Replace(withListener, "    KEY: VALUE\n", "", 1), `address: "192.0.2.25:25"`, "KEY: VALUE", 1)
	checkRules(t, addresses, []rule{
		{"address", "192.0.2.25", `4: listeners[0].address: "192.0.2.25": ` + listen},
		{"address", "25", `4: listeners[0].address: 25: ` + listen},
		{"address", `":25"`, `4: listeners[0].address: ":25": ` + listen},
		{"address", "mx.example.com:25", `4: listeners[0].address: "mx.example.com:25": ` + listen},
		{"address", "192.0.2.25:0", `4: listeners[0].address: "192.0.2.25:0": ` + port},
		{"address", "192.0.2.25:65536", `4: listeners[0].address: "192.0.2.25:65536": ` + port},
		{"address", "192.0.2.25:smtp", `4: listeners[0].address: "192.0.2.25:smtp": ` + port},
		{"address", `"[fe80::1%eth0]:25"`, `4: listeners[0].address: "[fe80::1%eth0]:25": must have no zone: write fe80::1`},
		{"address", "224.0.0.1:25", `4: listeners[0].address: "224.0.0.1:25": ` + listen},
		{"address", "10.10.1.11:25", `7: pools[0].backends[0].address: "10.10.1.11:25": must be a relay, not our own listeners[0].address: mail would go in circles`},
		{"adress", "192.0.2.25:25", "4: listeners[0].adress: unknown key: did you mean `address`?"},
		{"protocol", "smtp", `2: listeners[0].address: required: the IP and port to listen on, such as "192.0.2.25:25"`},
	})
}

const withBackend = `listeners:
  - {address: "192.0.2.25:25", pool: outbound, allow: ["10.10.0.0/16"]}
pools:
  - name: outbound
    backends:
      - address: "10.10.1.11:25"
        KEY: VALUE
      - address: "relay.example.com:25"
`

func TestBackendMistakesNameWhatIsRight(t *testing.T) {
	const (
		endpoint = `must be IP:port or name:port, such as "10.10.1.11:25" or "relay.example.com:25"`
		device   = "must be a network interface, at most 15 bytes, such as eth0"
	)
	checkRules(t, withBackend, []rule{
		{"weight", "1001", `7: pools[0].backends[0].weight: 1001: must be 0 to 1000`},
		{"weight", "-1", `7: pools[0].backends[0].weight: -1: must be 0 to 1000`},
		{"weight", "1.9", `7: pools[0].backends[0].weight: 1.9: must be a whole number, such as 10`},
		{"weight", `"2"`, `7: pools[0].backends[0].weight: "2": must be a whole number, such as 10`},
		{"wieght", "2", "7: pools[0].backends[0].wieght: unknown key: did you mean `weight`?"},
		{"name", "relay.example.com:25", `8: pools[0].backends[1].name: the name "relay.example.com:25" is taken by pools[0].backends[0]`},
		{"name", "..", `7: pools[0].backends[0].name: "..": must begin with a letter or a digit and hold only those and . _ - : [ ] @ +, at most 300 bytes`},
		{"site", `"h\tq"`, `7: pools[0].backends[0].site: "h\tq": must be at most 64 bytes, without control characters`},
		{"site", strings.Repeat("x", 65), `7: pools[0].backends[0].site: "` + strings.Repeat("x", 64) + `"...: must be at most 64 bytes, without control characters`},
		{"priority", "-1", `7: pools[0].backends[0].priority: -1: must be 0 to 65535`},
		{"max_sessions", "-5", `7: pools[0].backends[0].max_sessions: -5: must be 0 to 10000000`},
		{"proxy_protocol", "v3", `7: pools[0].backends[0].proxy_protocol: "v3": must be one of "", v1, v2`},
		{"source", "10.10.1.0/24", `7: pools[0].backends[0].source: "10.10.1.0/24": must be an IP address such as 192.0.2.1 or 2001:db8::1`},
		{"source", "0.0.0.0", `7: pools[0].backends[0].source: "0.0.0.0": must be an address of this machine`},
		{"source", `"2001:db8::1"`, `7: pools[0].backends[0].source: "2001:db8::1": must be of the same family as the address, 10.10.1.11`},
		{"source", "10.0.0.1\n        transparent: true", `7: pools[0].backends[0].source: "10.0.0.1": excludes transparent: that connects from the client's own address`},
		{"interface", "a-very-long-name0", `7: pools[0].backends[0].interface: "a-very-long-name0": ` + device},
		{"interface", "eth0/1", `7: pools[0].backends[0].interface: "eth0/1": ` + device},
		{"fwmark", "-1", `7: pools[0].backends[0].fwmark: -1: must be a whole number of 0 to 4294967295`},
		{"fwmark", "4294967296", `7: pools[0].backends[0].fwmark: 4294967296: must be a whole number of 0 to 4294967295`},
		{"transparent", "yes", `7: pools[0].backends[0].transparent: "yes": must be true or false`},
		{"transparent", "1", `7: pools[0].backends[0].transparent: 1: must be true or false`},
	})
	addresses := strings.Replace(strings.Replace(withBackend, "        KEY: VALUE\n", "", 1), `address: "10.10.1.11:25"`, "KEY: VALUE", 1)
	checkRules(t, addresses, []rule{
		{"address", "10.10.1.11", `6: pools[0].backends[0].address: "10.10.1.11": ` + endpoint},
		{"address", "10.10.1.300:25", `6: pools[0].backends[0].address: "10.10.1.300:25": ` + endpoint},
		{"address", "-relay:25", `6: pools[0].backends[0].address: "-relay:25": ` + endpoint},
		{"address", "a..b:25", `6: pools[0].backends[0].address: "a..b:25": ` + endpoint},
		{"address", `"2001:db8::1:25"`, `6: pools[0].backends[0].address: "2001:db8::1:25": ` + endpoint},
		{"address", "0.0.0.0:25", `6: pools[0].backends[0].address: "0.0.0.0:25": must be the address of one machine`},
		{"address", "relay:+25", `6: pools[0].backends[0].address: "relay:+25": must have a port of 1 to 65535 after the last colon`},
		{"address", `":25"`, `6: pools[0].backends[0].address: ":25": must name a relay before the port, such as "10.10.1.11:25"`},
		{"address", `""`, `6: pools[0].backends[0].address: "": required: the relay's IP or name and its port, such as "10.10.1.11:25"`},
		{"weight", "1", `6: pools[0].backends[0].address: required: the relay's IP or name and its port, such as "10.10.1.11:25"`},
	})
}

const withPool = `listeners:
  - {address: "192.0.2.25:25", pool: outbound, allow: ["10.10.0.0/16"]}
pools:
  - name: outbound
    KEY: VALUE
    backends: [{address: "10.10.1.11:25"}]
`

func TestPoolMistakesNameWhatIsRight(t *testing.T) {
	const (
		unit    = "must be a time with its unit, such as 500ms, 15s or 2m"
		percent = "must be a share such as 5% or 2.5%"
		sender  = `must be a mailbox such as "probe@example.com", or "<>" for the null sender`
	)
	checkRules(t, withPool, []rule{
		{"balance", "roundrobin", `5: pools[0].balance: "roundrobin": must be least_connections`},
		{"discover", "mx:example.com", `5: pools[0].discover: "mx:example.com": excludes backends: the pool is either listed here or found in DNS`},
		{"discover", "a:example.com", `5: pools[0].discover: "a:example.com": must be mx:NAME or srv:NAME, such as "mx:example.com" or "srv:_smtp._tcp.example.com"`},
		{"discover", `"mx:"`, `5: pools[0].discover: "mx:": must be mx:NAME or srv:NAME, such as "mx:example.com" or "srv:_smtp._tcp.example.com"`},
		{"slow_start", "15", `5: pools[0].slow_start: 15: ` + unit},
		{"slow_start", "-1s", `5: pools[0].slow_start: "-1s": must be 0s to 1h`},
		{"slow_start", "2 minutes", `5: pools[0].slow_start: "2 minutes": ` + unit},
		{"failover", "[]", `5: pools[0].failover: []: must be a mapping with the keys min_healthy, failback_delay, keep_warm, ramp`},
		{"failover", "{min_healthy: 0}", `5: pools[0].failover.min_healthy: 0: must be 1 to 1000`},
		{"failover", "{failback_delay: 25h}", `5: pools[0].failover.failback_delay: "25h": must be 0s to 24h`},
		{"failover", "{keep_warm: {share: 5}}", `5: pools[0].failover.keep_warm.share: 5: ` + percent},
		{"failover", "{keep_warm: {share: 51%}}", `5: pools[0].failover.keep_warm.share: "51%": must be 0% to 50%`},
		{"failover", "{keep_warm: {share: 101%}}", `5: pools[0].failover.keep_warm.share: "101%": ` + percent + ", at most 100%"},
		{"failover", "{keep_warm: {share: -1%}}", `5: pools[0].failover.keep_warm.share: "-1%": ` + percent},
		{"failover", "{keep_warm: {share: 1.%}}", `5: pools[0].failover.keep_warm.share: "1.%": ` + percent},
		{"failover", "{keep_warm: {min_per_hour: -1}}", `5: pools[0].failover.keep_warm.min_per_hour: -1: must be 0 to 1000000`},
		{"failover", "{keep_warm: {max_sessions: -1}}", `5: pools[0].failover.keep_warm.max_sessions: -1: must be 0 to 10000000`},
		{"failover", "{ramp: {over: 721h}}", `5: pools[0].failover.ramp.over: "721h": must be 0s to 720h`},
		{"failover", "{ramp: {start: 0%}}", `5: pools[0].failover.ramp.start: "0%": must be 0.0001% to 100%`},
		{"probe", "{type: http}", `5: pools[0].probe.type: "http": must be one of smtp, smtps, tcp`},
		{"probe", "{interval: 0s}", `5: pools[0].probe.interval: "0s": must be 100ms to 1h`},
		{"probe", "{interval: 500ms}", `5: pools[0].probe.interval: "500ms": must be at least fast_interval (1s, the default)`},
		{"probe", "{fast_interval: 6s}", `5: pools[0].probe.fast_interval: "6s": must be at most interval (5s, the default)`},
		{"probe", "{interval: 2s, fast_interval: 6s}", `5: pools[0].probe.fast_interval: "6s": must be at most interval (2s)`},
		{"probe", "{fast_interval: 0s}", `5: pools[0].probe.fast_interval: "0s": must be 100ms to 1h`},
		{"probe", "{timeout: 0s}", `5: pools[0].probe.timeout: "0s": must be 100ms to 5m`},
		{"probe", "{rise: 0}", `5: pools[0].probe.rise: 0: must be 1 to 100`},
		{"probe", "{fall: 101}", `5: pools[0].probe.fall: 101: must be 1 to 100`},
		{"probe", `{helo: "a b"}`, `5: pools[0].probe.helo: "a b": must be a domain name such as "mx.example.com", or an address literal such as "[192.0.2.1]"`},
		{"probe", "{type: tcp, starttls: true}", `5: pools[0].probe.starttls: true: must be false with type tcp: only smtp has STARTTLS`},
		{"probe", "{type: smtps, starttls: true}", `5: pools[0].probe.starttls: true: must be false with type smtps: only smtp has STARTTLS`},
		{"probe", "{mail_from: probe}", `5: pools[0].probe.mail_from: "probe": ` + sender},
		{"probe", `{mail_from: "<a@b.example>"}`, `5: pools[0].probe.mail_from: "<a@b.example>": ` + sender},
		{"probe", `{mail_from: "a b@c.example"}`, `5: pools[0].probe.mail_from: "a b@c.example": ` + sender},
		{"probe", `{mail_from: "a..b@c.example"}`, `5: pools[0].probe.mail_from: "a..b@c.example": ` + sender},
		{"probe", `{mail_from: "a@b@c.example"}`, `5: pools[0].probe.mail_from: "a@b@c.example": ` + sender},
		{"probe", `{mail_from: "a@b c"}`, `5: pools[0].probe.mail_from: "a@b c": ` + sender},
		{"probe", `{mail_from: 7}`, `5: pools[0].probe.mail_from: 7: must be text: write it in quotes`},
		{"probe", `{mail_from: "<>", rcpt_to: "<>"}`, `5: pools[0].probe.rcpt_to: "<>": must be a mailbox such as "postmaster@example.com"`},
		{"probe", `{rcpt_to: a@b.example}`, `5: pools[0].probe.rcpt_to: "a@b.example": needs a sender: set mail_from, to "<>" for the null sender`},
		{"probe", `{mail_from: x, rcpt_to: a@b.example}`, `5: pools[0].probe.mail_from: "x": ` + sender},
		{"probe", `{type: tcp, mail_from: "<>", rcpt_to: a@b.example}`, `5: pools[0].probe.mail_from: "<>": must be empty with type tcp: that check says nothing`},
		{"probe", `{type: tcp, rcpt_to: a@b.example}`, `5: pools[0].probe.rcpt_to: "a@b.example": must be empty with type tcp: that check says nothing`},
		{"probe", "{address: x}", `5: pools[0].probe.address: "x": must be IP:port or name:port, such as "10.10.1.11:25" or "relay.example.com:25"`},
		{"passive", "{failures: 0}", `5: pools[0].passive.failures: 0: must be 1 to 1000`},
		{"passive", "{eject: 0s}", `5: pools[0].passive.eject: "0s": must be 1ms to 24h`},
		{"passive", "{max_eject: 25h}", `5: pools[0].passive.max_eject: "25h": must be 1ms to 24h`},
		{"passive", "{eject: 6m}", `5: pools[0].passive.eject: "6m": must be at most max_eject (5m, the default)`},
		{"timeouts", "{connect: 0s}", `5: pools[0].timeouts.connect: "0s": must be 1ms to 5m`},
		{"timeouts", "{connect: 61s}", `5: pools[0].timeouts.connect: "61s": must be at most session_setup (1m, the default)`},
		{"timeouts", "{greeting: 0s}", `5: pools[0].timeouts.greeting: "0s": must be 1ms to 5m`},
		{"timeouts", "{greeting: 2m, session_setup: 90s}", `5: pools[0].timeouts.greeting: "2m": must be at most session_setup (1m30s)`},
		{"timeouts", "{session_setup: 10s}", `5: pools[0].timeouts.session_setup: "10s": must be at least greeting (15s, the default)`},
		{"timeouts", "{session_setup: 6m}", `5: pools[0].timeouts.session_setup: "6m": must be 1ms to 5m: the client waits 5 minutes for its greeting (RFC 5321, 4.5.3.2.1)`},
		{"timeouts", "{session_setup: 0s}", `5: pools[0].timeouts.session_setup: "0s": must be 1ms to 5m`},
		{"timeouts", "{hedge: 15s}", `5: pools[0].timeouts.hedge: "15s": must be auto, off, or below greeting (15s): the wait is over by then`},
		{"timeouts", "{hedge: -1s}", `5: pools[0].timeouts.hedge: "-1s": must be auto, off, or a time above 0s`},
		{"timeouts", "{hedge: soon}", `5: pools[0].timeouts.hedge: "soon": must be auto, off, or a time with its unit, such as 800ms`},
		{"timeouts", "{hedge: 1}", `5: pools[0].timeouts.hedge: 1: must be auto, off, or a time with its unit, such as 800ms`},
		{"timeouts", "{idle: 10m59s}", `5: pools[0].timeouts.idle: "10m59s": must be at least 11m: the client waits 10 minutes after the final dot (RFC 5321, 4.5.3.2.6), a cut then means duplicates`},
		{"timeouts", "{idle: 25h}", `5: pools[0].timeouts.idle: "25h": must be 11m to 24h`},
		{"timeouts", "{drain: -1s}", `5: pools[0].timeouts.drain: "-1s": must be 0s to 24h`},
	})
}

func TestTopLevelMistakesNameWhatIsRight(t *testing.T) {
	checkRules(t, base+"KEY: VALUE\n", []rule{
		{"admin", `{address: "192.0.2.1:9925"}`, `9: admin.address: "192.0.2.1:9925": an address off loopback needs admin.token_file: whoever reaches it could drain every relay`},
		{"admin", `{address: ":9925"}`, `9: admin.address: ":9925": must be IP:port, such as "192.0.2.25:25", "0.0.0.0:25" or "[::]:25"`},
		{"admin", `{tls: {cert: /c.pem}}`, `9: admin.tls.key: required: admin.tls has both cert and key, or neither`},
		{"admin", `{tls: {key: /k.pem}}`, `9: admin.tls.cert: required: admin.tls has both cert and key, or neither`},
		{"admin", `{tls: {cert: "a\nb", key: /k.pem}}`, `9: admin.tls.cert: "a\nb": must be a path, without control characters`},
		{"admin", `{token_file: "a\nb"}`, `9: admin.token_file: "a\nb": must be a path, without control characters`},
		{"log", "{level: trace}", `9: log.level: "trace": must be one of debug, info, warn, error`},
		{"log", "{format: text}", `9: log.format: "text": must be one of json, console`},
		{"log", "info", `9: log: "info": must be a mapping with the keys level, format`},
		{"workers", "-1", `9: workers: -1: must be 0 to 256`},
		{"workers", "257", `9: workers: 257: must be 0 to 256`},
		{"worker", "2", "9: worker: unknown key: did you mean `workers`?"},
		{"metrics", "{}", `9: metrics: unknown key: must be one of listeners, pools, admin, log, dns, cluster, workers`},
	})
}

func TestMistakesBetweenParts(t *testing.T) {
	const second = "  - name: second\n    backends: [{address: \"10.10.1.12:25\"}]\n"
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nobody is allowed until named", strings.Replace(base, "    allow: [\"10.10.0.0/16\"]\n", "", 1),
			[]string{`f.yaml:2: listeners[0].allow: required: nobody may connect until named, such as [10.0.0.0/8]`}},
		{"an empty allow is nobody", strings.Replace(base, `["10.10.0.0/16"]`, "[]", 1),
			[]string{`f.yaml:4: listeners[0].allow: []: required: nobody may connect until named, such as [10.0.0.0/8]`}},
		{"allow with everything commented out", strings.Replace(base, `["10.10.0.0/16"]`, "\n    # - 10.10.0.0/16", 1),
			[]string{`f.yaml:4: listeners[0].allow: required: nobody may connect until named, such as [10.0.0.0/8]`}},
		{"no pool of that name", strings.Replace(base, "pool: outbound", "pool: outbuond", 1),
			[]string{"f.yaml:3: listeners[0].pool: \"outbuond\": no such pool: did you mean `outbound`?"}},
		{"which pool, of two", strings.Replace(base, "    pool: outbound\n", "", 1) + second,
			[]string{`f.yaml:2: listeners[0].pool: required: must be one of outbound, second`}},
		{"which name, of two", strings.Replace(strings.Replace(base, "  - name: outbound\n    backends", "  - backends", 1),
			"pools:", "  - {address: \"192.0.2.26:25\", pool: other, allow: [10.0.0.0/8]}\npools:", 1),
			[]string{`f.yaml:7: pools[0].name: required: listeners use several names for it: outbound, other`}},
		{"second pool unnamed", base + strings.Replace(second, "name: second\n    ", "", 1),
			[]string{`f.yaml:9: pools[1].name: required where there are several pools`}},
		{"two pools of one name", base + strings.Replace(second, "second", "outbound", 1),
			[]string{`f.yaml:9: pools[1].name: "outbound": the name "outbound" is taken by pools[0]`}},
		{"two listeners on one address", strings.Replace(base, "pools:", "  - {address: \"192.0.2.25:25\", pool: outbound, allow: [10.0.0.0/8]}\npools:", 1),
			[]string{`f.yaml:5: listeners[1].address: "192.0.2.25:25": must differ from listeners[0].address (192.0.2.25:25)`}},
		{"a wildcard takes the address", strings.Replace(base, "pools:", "  - {address: \"0.0.0.0:25\", pool: outbound, allow: [10.0.0.0/8]}\npools:", 1),
			[]string{`f.yaml:5: listeners[1].address: "0.0.0.0:25": must differ from listeners[0].address (192.0.2.25:25)`}},
		{"admin on the listener's address", strings.Replace(base, "192.0.2.25:25", "127.0.0.1:9925", 1),
			[]string{`f.yaml: admin.address: must differ from listeners[0].address (127.0.0.1:9925)`}},
		{"two listeners of one name", strings.Replace(base, "pools:", "  - {name: \"192.0.2.25:25\", address: \"192.0.2.26:25\", pool: outbound, allow: [10.0.0.0/8]}\npools:", 1),
			[]string{`f.yaml:5: listeners[1].name: "192.0.2.25:25": the name "192.0.2.25:25" is taken by listeners[0]`}},
		{"no backends", strings.Replace(base, "    backends:\n      - address: \"10.10.1.11:25\"\n", "", 1),
			[]string{`f.yaml:6: pools[0].backends: required: at least one, or discover`}},
		{"no pools", before(base, "pools:"),
			[]string{`f.yaml: pools: required: at least one, with backends`}},
		{"no listeners", strings.TrimPrefix(base, before(base, "pools:")),
			[]string{`f.yaml: listeners: required: at least one, with address, pool and allow`}},
		{"nothing known", "smtplb: 1\n", []string{
			`f.yaml: listeners: required: at least one, with address, pool and allow`,
			`f.yaml: pools: required: at least one, with backends`,
			`f.yaml:1: smtplb: unknown key: must be one of listeners, pools, admin, log, dns, cluster, workers`}},
		{"an empty element", base + "      -\n",
			[]string{`f.yaml:9: pools[0].backends[1]: is empty: write it, or remove the dash`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := complaints(t, tt.text); !slices.Equal(got, tt.want) {
				t.Errorf("\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestAllErrorsAtOnceSortedByLine(t *testing.T) {
	got := complaints(t, `workers: x
pools:
  - name: outbound
    backends:
      - {adress: "10.10.1.11:25", weight: 2000}
      - {address: "10.10.1.12:25", weight: 2000, weight: 3}
listeners:
  - address: 192.0.2.25
    pool: outbnd
log: {level: loud}
`, "SMTPLB_POOLS__0__SLOW_START=9h", "SMTPLB_NOTHING=1")
	want := []string{
		`f.yaml:1: workers: "x": must be a whole number, such as 10`,
		"f.yaml:5: pools[0].backends[0].adress: unknown key: did you mean `address`?",
		`f.yaml:5: pools[0].backends[0].weight: 2000: must be 0 to 1000`,
		`f.yaml:6: pools[0].backends[1].weight: written twice: first on line 6`,
		`f.yaml:6: pools[0].backends[1].weight: 2000: must be 0 to 1000`,
		`f.yaml:8: listeners[0].address: "192.0.2.25": must be IP:port, such as "192.0.2.25:25", "0.0.0.0:25" or "[::]:25"`,
		`f.yaml:8: listeners[0].allow: required: nobody may connect until named, such as [10.0.0.0/8]`,
		"f.yaml:9: listeners[0].pool: \"outbnd\": no such pool: did you mean `outbound`?",
		`f.yaml:10: log.level: "loud": must be one of debug, info, warn, error`,
		`environment: SMTPLB_NOTHING: "1": no such key: SMTPLB_ must go on with one of LISTENERS, POOLS, ADMIN, LOG, DNS, CLUSTER, WORKERS`,
		`environment: SMTPLB_POOLS__0__SLOW_START: pools[0].slow_start: "9h": must be 0s to 1h`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestListsAreBounded(t *testing.T) {
	checkRules(t, withListener, []rule{
		{"deny", "[" + strings.Repeat("10.0.0.1,", 10_001) + "]", `4: listeners[0].deny: a list: must have at most 10000 elements, has 10001`},
		{"routes", "[" + strings.Repeat("{},", 1001) + "]", `4: listeners[0].routes: a list: must have at most 1000 elements, has 1001`},
	})
	parse(t, strings.Replace(base, `["10.10.0.0/16"]`, "["+strings.Repeat("10.0.0.1,", 10_000)+"]", 1))
}

func TestHugeNumberOfErrorsIsCutShort(t *testing.T) {
	got := complaints(t, base+strings.Repeat("      - {}\n", 500))
	if len(got) != 101 || got[100] != "f.yaml: and 400 more" {
		t.Errorf("got %d lines, the last %q", len(got), got[len(got)-1])
	}
}

func TestProblemsCanBeTakenApart(t *testing.T) {
	_, err := config.Parse("f.yaml", []byte(base+"workers: 999\n"), nil)
	p, ok := errors.AsType[config.Problem](err)
	want := config.Problem{File: "f.yaml", Line: 9, Key: "workers", Value: "999", Want: "must be 0 to 256"}
	if !ok || p != want {
		t.Errorf("got %#v", p)
	}
}

// before is the part of s before mark.
func before(s, mark string) string {
	head, _, _ := strings.Cut(s, mark)
	return head
}
