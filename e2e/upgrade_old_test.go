package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"smtplb/internal/smtptest"
)

// openData is a client in the middle of its message.
func openData(t *testing.T, address string) *smtptest.Client {
	t.Helper()
	c := smtptest.Dial(t, address)
	for _, line := range []string{"EHLO client.test", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA"} {
		if code, text, err := c.Cmd(line); err != nil || code >= 400 {
			t.Fatalf("%s: %d %s %v", line, code, text, err)
		}
	}
	if _, err := io.WriteString(c.Conn(), "Subject: half\r\n\r\nhalf of a mes"); err != nil {
		t.Fatal(err)
	}
	return c
}

// The process that was replaced lets its sessions finish. It takes no orders any
// more, and says where they belong; the first SIGTERM, which systemd may send to
// all processes of the service, cuts nobody.
func TestReplacedProcessLetsItsSessionsFinish(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := startSuccession(t, site{backends: []string{backend("relay-a", relay.Addr(), "max_sessions: 1")}}, raced)
	old := p.pid()
	sockets := p.sockets(t)
	writing := openData(t, p.address)
	p.upgrade(t)

	if st := p.shown(t); st.Sessions.Open != 0 || st.Pools[0].Tiers[0].Backends[0].Sessions != 0 {
		t.Errorf("the new process counts the old one's session: %+v", st)
	}
	if err := visit(p.address); err != nil {
		t.Errorf("a session of the new process: %v", err)
	}
	for signal, want := range map[syscall.Signal]string{
		syscall.SIGHUP:  "reload refused: another process has taken over: send it there",
		syscall.SIGUSR2: "upgrade refused: another process has taken over: send it there",
		syscall.SIGTERM: "draining already, as another process has taken over: a second signal stops now",
	} {
		p.kill(old, signal)
		line := p.waitLine(t, want, nil)
		if pid, by := line["pid"], line["replaced_by"]; pid != float64(p.pid()) && by != float64(p.pid()) {
			t.Errorf("%v: line %v does not name process %d", signal, line, p.pid())
		}
	}
	if p.ended(t, old) {
		t.Fatal("the old process has ended, with a session in the middle of its message")
	}
	if code, text, err := writing.Cmd("sage.\r\n."); err != nil || code != 250 {
		t.Errorf("the session from before: %d %s %v", code, text, err)
	}
	if err := writing.Quit(); err != nil {
		t.Error(err)
	}
	smtptest.Eventually(t, patience, func() bool { return p.ended(t, old) }, "the old process ends")
	line := p.waitLine(t, "stopped", nil)
	if line["finished"] != 1.0 || line["replaced_by"] != float64(p.pid()) || line["accepted"] != 1.0 {
		t.Errorf("last line %v, want 1 session that it let finish", line)
	}
	if n := relay.MessageCount(); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	smtptest.Eventually(t, patience, func() bool { return socketsOf(t, p.pid()) <= sockets }, "no more sockets than the %d of the process before", sockets)
}

// The second SIGTERM stops a process that was replaced, too.
func TestReplacedProcessStopsAtTheSecondSignal(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := startSuccession(t, site{backends: []string{backend("relay-a", relay.Addr())}}, raced)
	old := p.pid()
	writing := openData(t, p.address)
	p.upgrade(t)
	p.kill(old, syscall.SIGTERM)
	p.waitLine(t, "draining already, as another process has taken over: a second signal stops now", nil)
	p.kill(old, syscall.SIGTERM)
	smtptest.Eventually(t, patience, func() bool { return p.ended(t, old) }, "the old process ends")
	if s := p.only(t); s.End != "shutdown" {
		t.Errorf("its session ended as %s", s.End)
	}
	writing.Close()
	if err := visit(p.address); err != nil {
		t.Errorf("a session of the new process: %v", err)
	}
}

// What cannot take over changes nothing, and the log says why: a file that is no
// program, one that is another program, a configuration with mistakes. When that is
// put right, the next upgrade is one.
func TestUpgradeThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	relay, taken := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	s := site{backends: []string{backend("relay-a", relay.Addr())}}
	p := startSuccession(t, s, raced)
	s.address, s.admin = p.address, p.admin
	writing := openData(t, p.address)
	sockets := p.sockets(t)
	good, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	configure := func(text string) {
		t.Helper()
		if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		spoil func()
		want  string
	}{
		{"no program", func() { install(t, p.file, p.program) }, "exec format error"},
		{"another program", func() { install(t, "/bin/true", p.program) }, "has ended before it was ready"},
		{"nothing", func() { _ = os.Remove(p.program) }, "no such file"},
		{"one that gives up at the last moment", func() {
			install(t, writeFile(t, "fake", "#!/bin/sh\necho '{\"prepared\":{\"taken\":[]}}' >&3\n"), p.program)
		}, "has ended before it was ready"},
		{"a broken file", func() {
			install(t, raced, p.program)
			configure(strings.Replace(string(good), "pools:", "polls: 1\npools:", 1))
		}, p.file + ":3: polls: unknown key"},
		{"an address that is taken", func() {
			configure(strings.Replace(string(good), "pools:", fmt.Sprintf("  - {name: more, address: %q, pool: out, allow: [127.0.0.0/8]}\npools:", taken.Addr()), 1))
		}, "listener more: " + taken.Addr().String() + ": address already in use"},
	} {
		test.spoil()
		if got := p.refuseUpgrade(t); !strings.Contains(got, test.want) {
			t.Errorf("%s: errors\n%s\nwant %q", test.name, got, test.want)
		}
		if err := visit(p.address); err != nil {
			t.Errorf("%s: the next session: %v", test.name, err)
		}
	}
	configure(string(good))
	smtptest.Eventually(t, patience, func() bool { return p.sockets(t) <= sockets }, "no socket is kept of upgrades that failed")
	if n := len(p.logged(t, "started")); n != 1 {
		t.Errorf("%d processes have started", n)
	}
	p.upgrade(t)
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
	if code, text, err := writing.Cmd("sage.\r\n."); err != nil || code != 250 {
		t.Errorf("the session from before all that: %d %s %v", code, text, err)
	}
}

// A new process that hangs when the old one has stopped accepting for it is killed
// after a while. Who came meanwhile has waited, and is served.
func TestUpgradeThatHangsLosesNobody(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := startSuccession(t, site{backends: []string{backend("relay-a", relay.Addr())}}, raced)
	install(t, writeFile(t, "fake", "#!/bin/sh\necho '{\"prepared\":{\"taken\":[]}}' >&3\nexec sleep 1000\n"), p.program)
	refused := make(chan string, 1)
	go func() { refused <- p.refuseUpgrade(t) }()
	failed := openModel(p.address, "m", 100, 20*time.Millisecond, new(smtptest.Ledger))
	for _, err := range failed {
		t.Errorf("session failed: %v", err)
	}
	if got := <-refused; got != "the new process did not serve after 10s" {
		t.Errorf("errors %q", got)
	}
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
}

// slowly puts a program in the place of p's that takes until the returned function
// is called to begin, as one does that looks up names.
func (p *succession) slowly(t *testing.T) (goOn func()) {
	t.Helper()
	gate, script := filepath.Join(t.TempDir(), "go"), filepath.Join(t.TempDir(), "slow")
	text := fmt.Sprintf("#!/bin/sh\nwhile [ ! -e %s ]; do sleep 0.05; done\nexec %s \"$@\"\n", gate, raced)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	install(t, script, p.program)
	return func() {
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// While a new process prepares, a second upgrade is refused, and a reload waits for
// the new one.
func TestOneUpgradeAtATime(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := startSuccession(t, site{backends: []string{backend("relay-a", relay.Addr())}}, raced)
	goOn := p.slowly(t)
	p.kill(p.pid(), syscall.SIGUSR2)
	p.waitLine(t, "upgrade: a new process prepares", nil)
	p.kill(p.pid(), syscall.SIGUSR2)
	p.waitLine(t, "upgrade refused: one is under way", nil)
	p.kill(p.pid(), syscall.SIGHUP)
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
	goOn()
	line := p.waitLine(t, "started", func(l logLine) bool { return int(l["pid"].(float64)) != p.pid() })
	p.pids = append(p.pids, int(line["pid"].(float64)))
	if line := p.waitLine(t, "reload: passed on", nil); line["to"] != float64(p.pid()) {
		t.Errorf("line %v, want process %d", line, p.pid())
	}
	p.waitLine(t, "reloaded", nil)
	smtptest.Eventually(t, patience, func() bool { return p.ended(t, p.pids[0]) }, "the old process ends")
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
	if n := len(p.logged(t, "started")); n != 2 {
		t.Errorf("%d processes have started, want 2", n)
	}
}

// Who stops the program while a new one prepares stops both.
func TestSigtermEndsAnUpgradeUnderWay(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := startSuccession(t, site{backends: []string{backend("relay-a", relay.Addr())}}, raced)
	p.slowly(t)
	p.kill(p.pid(), syscall.SIGUSR2)
	p.waitLine(t, "upgrade: a new process prepares", nil)
	p.kill(p.pid(), syscall.SIGTERM)
	p.waitLine(t, "stopped", nil)
	if got := p.waitLine(t, "upgrade refused: nothing changed", nil).list("errors"); !slices.Equal(got, []string{"this process was told to stop meanwhile"}) {
		t.Errorf("errors %q", got)
	}
	if status := p.waitExit(t); status != 0 { // the end of standard error: nobody has it open
		t.Errorf("exit status %d", status)
	}
}

// A failover outlasts an upgrade: the relay that is down is down since then and for
// the reason that it was, the standby stays in use for as long as it would have, and
// the clock of its last session goes on.
func TestFailoverOutlastsAnUpgrade(t *testing.T) {
	t.Parallel()
	hq, dr := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	p := startSuccession(t, site{
		pool: "probe: {interval: 300ms, fast_interval: 100ms, timeout: 3s, rise: 2, fall: 2}\nfailover: {failback_delay: 1h}\n",
		backends: []string{
			backend("hq", hq.Addr()), backend("dr", dr.Addr(), "priority: 1"),
		},
	}, raced)
	hq.Stop()
	p.waitLine(t, "failover", nil)
	if err := visit(p.address); err != nil {
		t.Fatal(err)
	}
	before := p.shown(t).Pools[0]
	p.upgrade(t)
	after := p.shown(t).Pools[0]
	was, is := before.Tiers[0].Backends[0], after.Tiers[0].Backends[0]
	if is.State != "down" || is.Reason != was.Reason || !is.Since.Equal(was.Since) {
		t.Errorf("hq is %+v, want %+v", is, was)
	}
	if !after.Tiers[1].Active || after.Tiers[1].LastSession.IsZero() || !after.Tiers[1].LastSession.Equal(before.Tiers[1].LastSession) {
		t.Errorf("the standby is %+v, want %+v", after.Tiers[1], before.Tiers[1])
	}
	if err := hq.Restart(); err != nil {
		t.Fatal(err)
	}
	p.waitState(t, "hq", "up", 1)
	p.upgrade(t)
	if st := p.shown(t).Pools[0]; !st.Tiers[1].Active || st.Tiers[0].Backends[0].State != "up" {
		t.Errorf("an hour is not over, and the pool is %+v", st)
	}
	if err := visit(p.address); err != nil || dr.Active() < 0 {
		t.Error(err)
	}
	for _, s := range p.sessions(t, 2) {
		if s.Backend != "dr" {
			t.Errorf("a session on %s", s.Backend)
		}
	}
	if lines := p.logged(t, "failover"); len(lines) != 1 {
		t.Errorf("%d failovers, want 1: %v", len(lines), lines)
	}
}

// Postfix's smtp-source, which gives up at the first fault, sees no upgrade.
func TestSmtpSourceSeesNoUpgrade(t *testing.T) {
	t.Parallel()
	const messages = 3000
	a, b := freeAddress(t, "127.0.0.1"), freeAddress(t, "127.0.0.1")
	first, second := startSink(t, a), startSink(t, b)
	p := startSuccession(t, site{backends: []string{backend("relay-a", a), backend("relay-b", b)}}, released)
	load := startSource(t, p.address, 20, messages)
	for n := range 5 {
		want := messages / 8 * (n + 1)
		smtptest.Eventually(t, patience, func() bool { return load.accepted() > want }, "%d messages", want)
		p.upgrade(t)
	}
	load.wait(t)
	p.sessions(t, messages)
	for _, pid := range p.pids[:5] {
		smtptest.Eventually(t, patience, func() bool { return p.ended(t, pid) }, "process %d ends", pid)
	}
	smtptest.Eventually(t, patience, func() bool { return first.messages()+second.messages() == messages },
		"%d messages, and none twice", messages)
	t.Logf("%d + %d messages", first.messages(), second.messages())
}

// Relays that were found in DNS outlast an upgrade while DNS is away: what the old
// process had found is used on.
func TestUpgradeWhileDNSIsAway(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	z := startZone(t, "relay.test. 1 IN A 127.0.0.1")
	p := startSuccession(t, site{
		pool: quick, rest: z.config(),
		backends: []string{fmt.Sprintf("{name: named, address: \"relay.test:%d\"}", relay.Addr().Port())},
	}, raced)
	if err := visit(p.address); err != nil {
		t.Fatal(err)
	}
	z.fail(dns.RcodeServerFailure, false)
	p.upgrade(t)
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
	p.upgrade(t)
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
}
