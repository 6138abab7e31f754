package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"testing"

	"smtplb/internal/config"
	"smtplb/internal/smtptest"
	"smtplb/probes"
)

// probing runs one command line of smtplb probe.
func probing(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status = run(t.Context(), append([]string{"probe"}, args...), streams{strings.NewReader(""), &stdout, &stderr}, nil)
	return status, stdout.String(), stderr.String()
}

func TestProbeShowsWhyARelayIsUpOrDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	good := smtptest.Start(t, smtptest.Script{})
	behind := smtptest.Start(t, smtptest.Script{Proxy: true})
	busy := smtptest.Start(t, smtptest.Script{Greeting: "421 4.3.2 try later\r\n"})
	tests := []struct {
		name    string
		args    []string
		status  int
		want    []string // in the output, in this order
		verdict string   // what its last line begins with
		errs    string
	}{
		{"good", []string{"--helo", "lb.example", good.Addr().String()}, 0,
			[]string{"* connected to " + good.Addr().String(), "< 220", "> EHLO lb.example", "< 250", "> QUIT", "< 221"}, "ok in ", ""},
		{"envelope", []string{"--mail-from", "<>", "--rcpt-to", "b@example.com", good.Addr().String()}, 0,
			[]string{"> MAIL FROM:<>", "> RCPT TO:<b@example.com>", "> RSET", "> QUIT", "< 221"}, "ok in ", ""},
		{"header", []string{"--proxy-protocol", "v2", "--source", "127.0.0.9", behind.Addr().String()}, 0,
			[]string{"from 127.0.0.9:", "> PROXY v2 LOCAL", "< 220"}, "ok in ", ""},
		{"tcp", []string{"--type", "tcp", good.Addr().String()}, 0, []string{"* connected to "}, "ok in ", ""},
		{"busy", []string{busy.Addr().String()}, 1, []string{"< 421 4.3.2 try later"}, "busy: greeting: 421 4.3.2 try later", ": busy\n"},
		{"closed", []string{closed}, 1, []string{"* ", "refused"}, "failed: connect: refused", "smtplb: " + closed + ": failed\n"},
		{"no STARTTLS", []string{"--starttls", good.Addr().String()}, 1, []string{"> QUIT"}, "failed: starttls: not_smtp (STARTTLS not offered)", ": failed\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, out, errs := probing(t, test.args...)
			if status != test.status || !strings.Contains(errs, test.errs) || test.status == 0 && errs != "" {
				t.Errorf("status %d, errors %q, want %d, %q", status, errs, test.status, test.errs)
			}
			rest := out
			for _, want := range test.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("no %q in its place in\n%s", want, out)
				}
				rest = after
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, test.verdict) {
				t.Errorf("verdict %q, want %q", last, test.verdict)
			}
		})
	}
}

func TestProbeAnswersAScript(t *testing.T) {
	busy := smtptest.Start(t, smtptest.Script{Greeting: "421 4.3.2 <try> later\r\n"})
	status, out, _ := probing(t, "--json", busy.Addr().String())
	if status != 1 || !strings.Contains(out, `"text": "421 4.3.2 <try> later"`) {
		t.Errorf("status %d, want 1, and the dialogue as it was: %s", status, out)
	}
	var got probeJSON
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Address != busy.Addr().String() || got.Verdict != "busy" || got.Stage != "greeting" || got.Outcome != "greeting_4xx" ||
		got.Code != 421 || got.Reason != "greeting: 421 4.3.2 <try> later" || got.LatencyMS <= 0 || got.CertificateExpires != nil {
		t.Errorf("got %+v", got)
	}
	if n := len(got.Dialogue); n != 2 || got.Dialogue[0].Direction != "*" || got.Dialogue[1].Direction != "<" {
		t.Errorf("dialogue %+v, want a note and the greeting", got.Dialogue)
	}
}

func TestProbeNamesEveryWrongFlag(t *testing.T) {
	for _, test := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"accepts 1 arg"}},
		{[]string{"--type", "http", "--source", "x", "--timeout", "0s", "192.0.2.1"}, []string{
			`--type "http": must be one of smtp, smtps, tcp`, `--source "x": must be an IP address`, "--timeout 0s: must be more than 0s"}},
		{[]string{"--type", "tcp", "--starttls", "--mail-from", "<>", "192.0.2.1"}, []string{
			"--starttls: not with --type tcp", "--mail-from, --rcpt-to: not with --type tcp"}},
		{[]string{"--type", "smtps", "--starttls", "192.0.2.1"}, []string{"--starttls: not with --type smtps"}},
		{[]string{"--proxy-protocol", "v3", "192.0.2.1"}, []string{`proxy protocol "v3": want v1, v2`}},
		{[]string{"--rcpt-to", "a@b.example", "192.0.2.1"}, []string{"want a sender with it"}},
		{[]string{":25"}, []string{`address ":25": want IP:port or name:port`}},
		{[]string{"a:b:c"}, []string{`address "a:b:c": want IP:port or name:port`}},
		{[]string{""}, []string{`address "": want IP:port or name:port`}},
	} {
		status, out, errs := probing(t, test.args...)
		if status != exitUsage || out != "" {
			t.Errorf("%q: status %d, output %q, want 2 and none", test.args, status, out)
		}
		for _, want := range test.want {
			if !strings.Contains(errs, want) {
				t.Errorf("%q: got %q, want %q", test.args, errs, want)
			}
		}
	}
}

func TestProbedPortHasADefault(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:25", "192.0.2.1:2525": "192.0.2.1:2525", "mx.example": "mx.example:25", "mx.example:587": "mx.example:587",
		"2001:db8::1": "[2001:db8::1]:25", "[2001:db8::1]": "[2001:db8::1]:25", "[2001:db8::1]:587": "[2001:db8::1]:587",
	} {
		if got := withPort(address, "25"); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
	f := probeFlags{kind: "smtps", target: probes.Target{Timeout: 1}}
	if got, err := f.resolve("mx.example"); err != nil || got.Address != "mx.example:465" {
		t.Errorf("got %v, %v, want port 465", got.Address, err)
	}
}

// What is asked of a relay at its check is all that the file says.
func TestConfiguredProbeReachesTheCheck(t *testing.T) {
	pool := &config.Pool{Probe: config.Probe{STARTTLS: true, MailFrom: "<>", RcptTo: "a@b.example", HELO: "lb.example"}}
	backend := config.Backend{Address: config.Endpoint{Host: "mx.example", Port: 25}, ProxyProtocol: config.ProxyV2}
	at := &place{backend: backend, name: "relay-a", address: netip.MustParseAddrPort("192.0.2.1:25"), host: "mx.example"}
	want := probes.Target{
		Name: "relay-a", Address: "192.0.2.1:25", ProxyProtocol: "v2", HELO: "lb.example", ServerName: "mx.example",
		STARTTLS: true, MailFrom: "<>", RcptTo: "a@b.example",
	}
	if got := probeTarget(pool, at); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	pool.Probe.Address = config.Endpoint{Port: 2525}
	want.Address, want.ProxyProtocol = "192.0.2.1:2525", ""
	if got := probeTarget(pool, at); got != want {
		t.Errorf("another port: got %+v, want %+v", got, want)
	}
	pool.Probe.Address = config.Endpoint{Host: "health.example", Port: 25}
	want.Address, want.ServerName = "health.example:25", ""
	if got := probeTarget(pool, at); got != want {
		t.Errorf("another host: got %+v, want %+v", got, want)
	}
}
