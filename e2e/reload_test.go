package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// reload gives the program another file and SIGHUP, and returns the line that
// says what came of it.
func (p *process) reload(t *testing.T, s site, want string) logLine {
	t.Helper()
	s.address, s.admin = p.address, p.admin
	return p.reloadText(t, s.text(), want, func() { p.signal(syscall.SIGHUP) })
}

func (p *process) reloadText(t *testing.T, text, want string, signal func()) logLine {
	t.Helper()
	if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const applied, refused = "reloaded", "reload refused: nothing changed"
	was := map[string]int{applied: len(p.logged(t, applied)), refused: len(p.logged(t, refused))}
	signal()
	var line logLine
	smtptest.Eventually(t, patience, func() bool {
		for _, msg := range []string{applied, refused} {
			if lines := p.logged(t, msg); len(lines) > was[msg] {
				line = lines[len(lines)-1]
				return true
			}
		}
		return false
	}, "a line about the reload")
	if line.text("msg") != want {
		t.Errorf("line %v, want %s", line, want)
	}
	return line
}

// list is a key whose value is a list of texts.
func (l logLine) list(key string) (texts []string) {
	all, _ := l[key].([]any)
	for _, v := range all {
		texts = append(texts, fmt.Sprint(v))
	}
	return texts
}

// Fifty reloads while two hundred sessions start each second: weights change,
// relays come and go, and every fifth file is broken. Nobody notices, and each
// relay's sessions are counted right after every one.
func TestFiftyReloadsCostNoSession(t *testing.T) {
	t.Parallel()
	const sessions = 1600
	relays := []*smtptest.Relay{smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})}
	s := site{pool: quick, backends: []string{backend("relay-0", relays[0].Addr()), backend("relay-1", relays[1].Addr())}}
	p := start(t, s)
	held := make([]int, len(relays)) // sessions that last as long as the test, by relay
	for range 5 {
		greeted(t, smtptest.Dial(t, p.address))
	}
	for i, r := range relays {
		held[i] = r.Active()
	}
	slots := func() map[string]int {
		counts := map[string]int{}
		for _, tier := range p.shown(t).Pools[0].Tiers {
			for _, b := range tier.Backends {
				counts[b.Name] = b.Sessions
			}
		}
		return counts
	}
	var ledger smtptest.Ledger
	failed := make(chan []error, 1)
	go func() { failed <- openModel(p.address, "m", sessions, 5*time.Millisecond, &ledger) }()
	var refused int
	began := time.Now()
	for n := range 50 {
		s.backends = nil
		for i := range relays {
			if i != n%3 || n%2 == 0 { // all three, or all but one
				s.backends = append(s.backends, backend(fmt.Sprint("relay-", i), relays[i].Addr(), fmt.Sprint("weight: ", 1+(n+i)%4)))
			}
		}
		if n%5 == 4 {
			refused++
			broken := s
			broken.backends = append(slices.Clone(s.backends), "{name: relay-x, address: nowhere, weight: -1}")
			p.reload(t, broken, "reload refused: nothing changed")
			continue
		}
		p.reload(t, s, "reloaded")
		for name, count := range slots() {
			if i := name[len(name)-1] - '0'; count < held[i] {
				t.Errorf("after reload %d %s has %d sessions, at least %d run", n, name, count, held[i])
			}
		}
	}
	t.Logf("50 reloads in %v, %d of them refused", time.Since(began).Round(time.Millisecond), refused)
	for _, err := range <-failed {
		t.Errorf("session failed: %v", err)
	}
	for _, session := range p.sessions(t, sessions) {
		if session.asked() != session.Backend+":ok" || session.End != "backend_closed" {
			t.Errorf("a session asked %s and ended as %s", session.asked(), session.End)
		}
	}
	smtptest.Eventually(t, patience, func() bool {
		for name, count := range slots() {
			if count != held[name[len(name)-1]-'0'] {
				return false
			}
		}
		return true
	}, "only the sessions that last are counted: %v", held)
	report := ledger.Compare(relays[0].Messages(), relays[1].Messages(), relays[2].Messages())
	if err := report.Err(); err != nil || report.Delivered != sessions {
		t.Errorf("delivered %d of %d: %v", report.Delivered, sessions, err)
	}
	for i, r := range relays {
		if r.MessageCount() == 0 {
			t.Errorf("relay-%d got nothing", i)
		}
	}
	for _, msg := range []string{"failover", "failback", "backend"} {
		if lines := p.logged(t, msg); len(lines) > 0 {
			t.Errorf("a reload is no event of the relays': %v", lines)
		}
	}
}

// The remainder of the warm share survives: ten reloads among 200 sessions.
func TestWarmShareIsExactAcrossReloads(t *testing.T) {
	t.Parallel()
	hq, dr := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	s := func(n int) site {
		return site{
			pool: "probe: {interval: 500ms, fast_interval: 200ms, timeout: 3s}\nfailover: {keep_warm: {share: 10%}}\n",
			backends: []string{
				backend("hq", hq.Addr(), fmt.Sprint("weight: ", n+1)), backend("dr", dr.Addr(), "priority: 1", fmt.Sprint("weight: ", 20-n)),
			},
		}
	}
	p := start(t, s(0))
	var ledger smtptest.Ledger
	warm := 0
	for n := range 11 { // 18 or 19 sessions, so that something is owed at each reload
		count := 18
		if n >= 9 {
			count = 19
		}
		if failed := openModel(p.address, fmt.Sprint("part-", n), count, 5*time.Millisecond, &ledger); len(failed) > 0 {
			t.Error(failed)
		}
		if n < 10 {
			p.reload(t, s(n+1), "reloaded")
		}
	}
	all := p.sessions(t, 200)
	for _, session := range all {
		if session.Warm != (session.Backend == "dr") {
			t.Errorf("a session on %s has warm: %v", session.Backend, session.Warm)
		}
		if session.Warm {
			warm++
		}
	}
	t.Logf("%d of %d sessions kept dr warm, with ten reloads", warm, len(all))
	if len(all) != 200 || warm < 19 || warm > 21 {
		t.Errorf("%d of %d sessions kept dr warm, want 20 of 200, give or take one", warm, len(all))
	}
}

// A relay that the file has no more takes no new sessions and keeps those it has;
// a renamed one keeps its slots.
func TestReloadSparesRunningSessions(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a"), named(t, "b")
	full := backend("relay-a", a.Addr(), "max_sessions: 1")
	p := start(t, site{pool: quick, backends: []string{full, backend("relay-b", b.Addr(), "priority: 1")}})
	client, relay := open(t, p)
	if relay != "a" {
		t.Fatalf("the first session is on %s", relay)
	}
	renamed := site{pool: quick, backends: []string{
		backend("other-name", a.Addr(), "max_sessions: 1", "weight: 3"), backend("relay-b", b.Addr(), "priority: 1"),
	}}
	line := p.reload(t, renamed, "reloaded")
	want := []string{
		"pools.out.backends.other-name: renamed, it was relay-a", "pools.out.backends.other-name.weight: 1 -> 3",
	}
	if got := line.list("changes"); !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
	second, relay := open(t, p)
	if relay != "b" {
		t.Error("the renamed relay lost the slot of its session, and takes one more than it may")
	}
	line = p.reload(t, site{pool: quick, backends: []string{backend("relay-b", b.Addr())}}, "reloaded")
	if got := line.list("changes"); !slices.Contains(got, "pools.out.backends.other-name: removed") {
		t.Errorf("changes %q", got)
	}
	for range 4 {
		if c, relay := open(t, p); relay != "b" {
			t.Errorf("a new session on %s", relay)
		} else {
			leave(t, p, c)
		}
	}
	if err := client.Send(smtptest.Outgoing{ID: "m", Size: 5000}); err != nil {
		t.Errorf("the session on the relay that was removed: %v", err)
	}
	leave(t, p, client)
	leave(t, p, second)
	p.reload(t, renamed, "reloaded")
	if _, relay := open(t, p); relay != "a" {
		t.Errorf("the relay that is back gets nothing, %s does", relay)
	}
}

// Listeners come, go and change, and what needs a restart is named.
func TestReloadChangesListenersAndLog(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	other := freeAddress(t, "127.0.0.1").String()
	s := site{backends: []string{backend("relay-a", relay.Addr())}}
	p := start(t, s)
	s.address, s.admin = p.address, p.admin
	two := strings.Replace(s.text(), "pools:", fmt.Sprintf("  - {name: more, address: %q, pool: out, allow: [127.0.0.0/8]}\npools:", other), 1)
	hup := func() { p.signal(syscall.SIGHUP) }

	line := p.reloadText(t, two, "reloaded", hup)
	if got := line.list("changes"); !slices.Equal(got, []string{"listeners.more: added"}) {
		t.Errorf("changes %q", got)
	}
	if err := visit(other); err != nil {
		t.Errorf("the listener that was added: %v", err)
	}
	closed := strings.Replace(two, "pool: out, allow: [127.0.0.0/8]}\npools:", "pool: out, allow: [192.0.2.0/24]}\npools:", 1)
	p.reloadText(t, closed, "reloaded", hup)
	client, err := smtptest.DialTimeout(other, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if code, text, err := client.ReadReply(); code != 421 || err != nil {
		t.Errorf("who is not allowed any more reads %d %s, %v", code, text, err)
	}
	line = p.reloadText(t, s.text(), "reloaded", hup)
	if got := line.list("changes"); !slices.Equal(got, []string{"listeners.more: removed"}) {
		t.Errorf("changes %q", got)
	}
	if err := visit(other); err == nil {
		t.Error("the listener that was removed serves still")
	}

	line = p.reloadText(t, s.text()+"\nworkers: 3\nlog: {level: warn, format: console}\n", "reloaded", hup)
	if got := line.list("changes"); !slices.Equal(got, []string{"log.level: info -> warn"}) {
		t.Errorf("changes %q", got)
	}
	got := p.waitLine(t, "reload: needs a restart", nil).list("changes")
	if !slices.Equal(got, []string{"log.format: json -> console", "workers: 0 -> 3"}) {
		t.Errorf("what needs a restart: %q", got)
	}
	lines := len(p.logged(t, "session"))
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
	p.reloadText(t, s.text(), "reloaded", hup) // and back
	if n := len(p.logged(t, "session")); n != lines {
		t.Errorf("%d sessions logged at level warn", n-lines)
	}
}

// A broken file changes nothing, and every mistake is named with its line. The
// signal comes as systemd sends it: ExecReload=/bin/kill -HUP $MAINPID.
func TestBrokenFileIsRefusedWithItsLines(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	s := site{backends: []string{backend("relay-a", relay.Addr())}}
	p := start(t, s)
	s.address, s.admin = p.address, p.admin
	kill := func() {
		if out, err := exec.Command("/bin/kill", "-HUP", strconv.Itoa(p.cmd.Process.Pid)).CombinedOutput(); err != nil {
			t.Errorf("kill: %v: %s", err, out)
		}
	}
	taken := smtptest.Start(t, smtptest.Script{})
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"two mistakes": {
			strings.Replace(s.text(), "pools:", "polls: 1\npools:", 1) + "workers: many\n",
			[]string{p.file + ":3: polls: unknown key", fmt.Sprintf("%s:%d: workers: \"many\": must be a whole number", p.file, strings.Count(s.text(), "\n")+2)},
		},
		"no YAML": {"listeners: [", []string{p.file + ":2: not YAML"}},
		"a port in use": {
			strings.Replace(s.text(), "pools:", fmt.Sprintf("  - {name: more, address: %q, pool: out, allow: [127.0.0.0/8]}\npools:", taken.Addr()), 1),
			[]string{"listener more: " + taken.Addr().String()},
		},
		"a name that is none": {strings.Replace(s.text(), "127.0.0.1:"+fmt.Sprint(relay.Addr().Port()), "no-such-relay.invalid:25", 1), []string{"no-such-relay.invalid"}},
	} {
		line := p.reloadText(t, test.text, "reload refused: nothing changed", kill)
		all := strings.Join(line.list("errors"), "\n")
		for _, want := range test.want {
			if !strings.Contains(all, want) {
				t.Errorf("%s: errors\n%s\nwant %q among them", name, all, want)
			}
		}
		if err := visit(p.address); err != nil {
			t.Errorf("%s: the next session: %v", name, err)
		}
	}
	if err := os.Remove(p.file); err != nil {
		t.Fatal(err)
	}
	n := len(p.logged(t, "reload refused: nothing changed"))
	kill()
	smtptest.Eventually(t, patience, func() bool { return len(p.logged(t, "reload refused: nothing changed")) > n }, "a line about the missing file")
	text, _ := json.Marshal(p.logged(t, "reload refused: nothing changed")[n])
	if !strings.Contains(string(text), "no such file") {
		t.Errorf("%s", text)
	}
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
}
