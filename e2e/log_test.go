package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// The words that an operator learns once.
var (
	endWords = []string{
		"client_closed", "backend_closed", "client_reset", "backend_reset", "idle", "drained", "denied",
		"client_limit", "no_backend", "shutdown",
	}
	outcomeWords = []string{
		"ok", "refused", "connect_timeout", "unreachable", "reset", "closed", "greeting_timeout", "greeting_4xx",
		"greeting_5xx", "not_smtp",
	}
)

// The session line is what dashboards and auditors read: each field is there
// whatever became of the session, and of one type.
func TestSessionLineHasEveryField(t *testing.T) {
	t.Parallel()
	good := smtptest.Start(t, smtptest.Script{})
	busy := smtptest.Start(t, smtptest.Script{Greeting: "421 4.3.2 busy\r\n"})
	tests := []struct {
		name     string
		s        site
		end      string
		asked    string
		code     float64
		backend  string
		siteName string
	}{
		{"good", site{backends: []string{backend("relay-a", good.Addr(), "site: hq")}}, "backend_closed", "relay-a:ok", 220, "relay-a", "hq"},
		{"retried", site{pool: unchecked, backends: []string{backend("relay-a", busy.Addr(), "site: hq"), backend("relay-b", good.Addr(), "site: dr", "priority: 1")}},
			"backend_closed", "relay-a:greeting_4xx relay-b:ok", 220, "relay-b", "dr"},
		{"no relay", site{pool: unchecked, backends: []string{backend("relay-a", busy.Addr())}}, "no_backend", "relay-a:greeting_4xx", 0, "", ""},
		{"denied", site{listener: "allow: [10.0.0.0/8]", backends: []string{backend("relay-a", good.Addr())}}, "denied", "", 0, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, test.s)
			client := smtptest.Dial(t, p.address)
			if code, _, err := client.ReadReply(); err != nil {
				t.Fatalf("reply %d: %v", code, err)
			} else if code == 220 {
				if err := client.Quit(); err != nil {
					t.Error(err)
				}
			}
			client.Close()
			s := p.only(t)
			line := p.logged(t, "session")[0]
			checkFields(t, line)
			if s.End != test.end || s.asked() != test.asked || s.Backend != test.backend || s.Site != test.siteName {
				t.Errorf("end %s, asked %q, backend %q, site %q", s.End, s.asked(), s.Backend, s.Site)
			}
			if line["greeting_code"] != test.code || s.Listener != "in" || line.text("level") != "info" {
				t.Errorf("greeting_code %v, listener %s, level %v", line["greeting_code"], s.Listener, line["level"])
			}
			if got := client.Conn().LocalAddr().String(); s.Client != got {
				t.Errorf("client %s, want %s", s.Client, got)
			}
			if want := map[bool]string{true: "", false: "out"}[test.end == "denied"]; s.Pool != want {
				t.Errorf("pool %q, want %q", s.Pool, want)
			}
		})
	}
}

// checkFields looks for each field of the contract and its JSON type.
func checkFields(t *testing.T, line logLine) {
	t.Helper()
	isTime := func(v any) bool { n, ok := v.(float64); return ok && n >= 0 && n < 60_000 }
	isCount := func(v any) bool { n, ok := v.(float64); return ok && n >= 0 && n == math.Trunc(n) }
	isText := func(v any) bool { _, ok := v.(string); return ok }
	isWord := func(words []string) func(any) bool {
		return func(v any) bool { s, ok := v.(string); return ok && slices.Contains(words, s) }
	}
	isStamp := func(v any) bool { s, _ := v.(string); _, err := time.Parse(time.RFC3339Nano, s); return err == nil }
	isAddress := func(v any) bool { s, _ := v.(string); _, err := netip.ParseAddrPort(s); return err == nil }
	isID := func(v any) bool {
		s, _ := v.(string)
		return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == ""
	}
	isBool := func(v any) bool { _, ok := v.(bool); return ok }
	check := func(where string, fields map[string]any, key string, good func(any) bool) {
		if v, there := fields[key]; !there || !good(v) {
			t.Errorf("%s %s is %#v (there: %v)", where, key, v, there)
		}
	}
	for key, good := range map[string]func(any) bool{
		"time": isStamp, "level": isText, "msg": isText,
		"id": isID, "listener": isText, "client": isAddress, "pool": isText, "backend": isText, "tier": isCount, "site": isText,
		"warm": isBool, "greeting_code": isCount, "greeting_ms": isTime, "setup_ms": isTime, "bytes_up": isCount,
		"bytes_down": isCount, "duration_ms": isTime, "end": isWord(endWords),
	} {
		check("field", line, key, good)
	}
	attempts, ok := line["attempts"].([]any)
	if !ok {
		t.Fatalf("attempts is %#v, want a list", line["attempts"])
	}
	for i, v := range attempts {
		fields, _ := v.(map[string]any)
		where := fmt.Sprintf("attempt %d", i)
		check(where, fields, "backend", isText)
		check(where, fields, "outcome", isWord(outcomeWords))
		check(where, fields, "ms", isTime)
	}
}

// Each byte is counted, the greeting's included, and no other.
func TestSessionLineCountsBytesExactly(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := start(t, site{backends: []string{backend("relay-a", relay.Addr())}})
	client := smtptest.Dial(t, p.address)
	const commands = "EHLO a.test\r\nNOOP\r\nQUIT\r\n" // pipelined, before the greeting
	if _, err := io.WriteString(client.Conn(), commands); err != nil {
		t.Fatal(err)
	}
	if err := client.Conn().SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	replies, err := io.ReadAll(client.Conn())
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	s := p.only(t)
	if s.BytesUp != int64(len(commands)) || s.BytesDown != int64(len(replies)) {
		t.Errorf("bytes up %d, down %d; the client sent %d and read %d", s.BytesUp, s.BytesDown, len(commands), len(replies))
	}
	if s.GreetingMS > s.SetupMS || s.SetupMS > s.DurationMS {
		t.Errorf("greeting %v ms, setup %v ms, duration %v ms: each is a part of the next", s.GreetingMS, s.SetupMS, s.DurationMS)
	}
}

// The lines at start say what runs, and every line is JSON.
func TestStartIsLogged(t *testing.T) {
	t.Parallel()
	p := start(t, site{backends: []string{backend("relay-a", freeAddress(t, "127.0.0.1"))}})
	listening := p.waitLine(t, "listening", nil)
	if listening.text("listener") != "in" || listening.text("address") != p.address || listening.text("pool") != "out" ||
		listening.text("protocol") != "smtp" || fmt.Sprint(listening["allow"]) != "[127.0.0.0/8]" {
		t.Errorf("listening line %v", listening)
	}
	started := p.waitLine(t, "started", nil)
	if started.text("version") != testVersion || started["pid"] != float64(p.cmd.Process.Pid) {
		t.Errorf("started line %v", started)
	}
	for line := range strings.Lines(p.stderr()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %q", line)
		}
	}
}
