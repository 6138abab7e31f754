package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"smtplb/internal/smtptest"
)

// waitChange waits until a line says that this was found, or is found no more.
func (p *process) waitChange(t *testing.T, change string) {
	t.Helper()
	p.waitLine(t, "names changed", func(l logLine) bool { return slices.Contains(l.list("changes"), change) })
}

// traffic is sessions that start one after the other until it is stopped, each with a message.
type traffic struct {
	stop   chan struct{}
	ended  sync.WaitGroup
	ledger smtptest.Ledger
	count  int
	failed []error
}

func (p *process) traffic() *traffic {
	tr := &traffic{stop: make(chan struct{})}
	tr.ended.Go(func() {
		for part := 0; part < 1000; part++ { // ten seconds each hundred
			select {
			case <-tr.stop:
				return
			default:
			}
			const sessions = 10
			tr.failed = append(tr.failed, openModel(p.address, fmt.Sprint("part-", part), sessions, 10*time.Millisecond, &tr.ledger)...)
			tr.count += sessions
		}
	})
	return tr
}

// end stops it and holds what arrived to what was sent.
func (tr *traffic) end(t *testing.T, relays ...*smtptest.Relay) {
	t.Helper()
	close(tr.stop)
	tr.ended.Wait()
	for _, err := range tr.failed {
		t.Errorf("session failed: %v", err)
	}
	var messages []smtptest.Message
	for _, r := range relays {
		messages = append(messages, r.Messages()...)
	}
	report := tr.ledger.Compare(messages)
	if err := report.Err(); err != nil || report.Delivered != tr.count {
		t.Errorf("delivered %d of %d: %v", report.Delivered, tr.count, err)
	}
	t.Logf("%d sessions, %d failed", tr.count, len(tr.failed))
}

// A relay moves to another address, by way of both, while 100 sessions start each
// second. Nobody notices, and a session on the old one goes on.
func TestNameFollowsItsRecords(t *testing.T) {
	t.Parallel()
	relays, port := samePort(t, "127.0.1.1", "127.0.1.2")
	z := startZone(t, "relay.test. 1 IN A 127.0.1.1")
	s := site{
		backends: []string{fmt.Sprintf(`{name: relay-a, address: "relay.test:%d"}`, port)}, rest: z.config(),
		pool: "slow_start: 0s\nprobe: {interval: 500ms, fast_interval: 200ms}",
	}
	p := start(t, s)
	held, greeted := open(t, p)
	if greeted != "127.0.1.1" {
		t.Fatalf("greeted by %s", greeted)
	}
	tr := p.traffic()
	place := func(n int) string { return fmt.Sprintf("pools.out.backends: relay-a/127.0.1.%d:%d", n, port) }

	z.set(t, "relay.test. 1 IN A 127.0.1.2", "relay.test. 1 IN A 127.0.1.1")
	p.waitChange(t, place(2)+" is found now")
	p.reload(t, s, "reloaded") // in between: it asks too, and finds nothing new
	smtptest.Eventually(t, patience, func() bool { return relays[1].MessageCount() > 0 }, "a message at the new address")
	z.set(t, "relay.test. 1 IN A 127.0.1.2")
	p.waitChange(t, place(1)+" is found no more")
	before := relays[0].MessageCount()
	smtptest.Eventually(t, patience, func() bool { return relays[1].MessageCount() > before+50 }, "messages at the new address alone")
	tr.end(t, relays...)
	if n := relays[0].MessageCount() - before; n > 20 { // those that had begun
		t.Errorf("%d messages went to the old address after it was gone", n)
	}
	if err := held.Send(smtptest.Outgoing{ID: "held", Size: 5000}); err != nil {
		t.Errorf("the session on the old address: %v", err)
	}
	leave(t, p, held)
	for _, msg := range []string{"backend", "failover", "name not found"} {
		if lines := p.logged(t, msg); len(lines) > 0 {
			t.Errorf("lines %v", lines)
		}
	}
}

// Two MX records, as Exchange's administrators write them: the preference is the tier.
// The first site dies, and its whole name; then the second is given up as well, by
// DNS. No session fails.
func TestTwoSitesByMX(t *testing.T) {
	t.Parallel()
	relays, port := samePort(t, "127.0.2.1", "127.0.2.2", "127.0.2.3")
	zoneOf := func(mx ...string) []string {
		lines := []string{"hq.test. 1 IN A 127.0.2.1", "hq.test. 1 IN A 127.0.2.2", "dr.test. 1 IN A 127.0.2.3"}
		for _, m := range mx {
			lines = append(lines, "relays.test. 1 IN MX "+m)
		}
		return lines
	}
	z := startZone(t, zoneOf("10 hq.test.", "20 dr.test.")...)
	p := start(t, site{rest: z.config(), pool: fmt.Sprintf("discover: mx:relays.test\ndiscovered: {port: %d}\n%s", port, quick)})
	tr := p.traffic()
	smtptest.Eventually(t, patience, func() bool { return relays[0].MessageCount() > 5 && relays[1].MessageCount() > 5 }, "messages at both of hq")
	if n := relays[2].MessageCount(); n > 0 {
		t.Errorf("%d messages at dr", n)
	}
	relays[0].StopListening() // sessions that have begun are another case
	relays[1].StopListening()
	if line := p.waitLine(t, "failover", nil); line["from_tier"] != 10.0 || line["to_tier"] != 20.0 {
		t.Errorf("failover %v", line)
	}
	smtptest.Eventually(t, patience, func() bool { return relays[2].MessageCount() > 20 }, "messages at dr")
	for _, r := range relays[:2] {
		if err := r.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	p.waitLine(t, "failback", nil)
	z.set(t, zoneOf("10 dr.test.")...)
	p.waitChange(t, fmt.Sprintf("pools.out.backends: hq.test/127.0.2.1:%d is found no more", port))
	p.waitChange(t, fmt.Sprintf("pools.out.backends: dr.test/127.0.2.3:%d: priority 20 -> priority 10", port))
	n := relays[2].MessageCount()
	smtptest.Eventually(t, patience, func() bool { return relays[2].MessageCount() > n+20 }, "messages at dr, the first site now")
	tr.end(t, relays...)
}

// SRV: the port and the weight are the record's. 60000 to 20000 is 3 to 1; 0 is
// a very small part.
func TestWeightsBySRV(t *testing.T) {
	t.Parallel()
	a, b, c := named(t, "a"), named(t, "b"), named(t, "c")
	z := startZone(t, "here.test. 60 IN A 127.0.0.1",
		fmt.Sprintf("_smtp._tcp.test. 60 IN SRV 5 60000 %d here.test.", a.Addr().Port()),
		fmt.Sprintf("_smtp._tcp.test. 60 IN SRV 5 20000 %d here.test.", b.Addr().Port()),
		fmt.Sprintf("_smtp._tcp.test. 60 IN SRV 5 0 %d here.test.", c.Addr().Port()))
	p := start(t, site{rest: z.config(), pool: "discover: srv:_smtp._tcp.test\n"})
	const sessions = 400
	var ledger smtptest.Ledger
	if failed := openModel(p.address, "m", sessions, 5*time.Millisecond, &ledger); len(failed) > 0 {
		t.Error(failed)
	}
	share := float64(a.MessageCount()) / sessions
	t.Logf("%d, %d and %d sessions", a.MessageCount(), b.MessageCount(), c.MessageCount())
	if math.Abs(share-0.75) > 0.02 || c.MessageCount() > 2 {
		t.Errorf("%.1f %% went to the one with 60000 of 80000, %d to the one with 0", 100*share, c.MessageCount())
	}
}

// After one good answer nothing that DNS says or does not say takes the relays
// away: a mistake there must not stop the mail. A reload does not either.
func TestNoAnswerTakesRelaysAway(t *testing.T) {
	t.Parallel()
	relays, port := samePort(t, "127.0.3.1")
	good := []string{"mx.test. 1 IN MX 10 relay.test.", "relay.test. 1 IN A 127.0.3.1"}
	z := startZone(t, good...)
	s := site{rest: z.config(), pool: fmt.Sprintf("discover: mx:mx.test\ndiscovered: {port: %d}\n", port)}
	p := start(t, s)
	for _, fault := range []struct {
		word string
		do   func()
	}{
		{"nxdomain", func() { z.fail(dns.RcodeNameError, false) }},
		{"timeout", func() { z.fail(0, true) }},
		{"servfail", func() { z.fail(dns.RcodeServerFailure, false) }},
		{"no_data", func() { z.set(t, "mx.test. 1 IN TXT nothing", "relay.test. 1 IN A 127.0.3.1") }},
		{"no_service", func() { z.set(t, "mx.test. 1 IN MX 0 .", "relay.test. 1 IN A 127.0.3.1") }},
	} {
		fault.do()
		p.reload(t, s, "reloaded") // which asks at once
		if p.nameFailures(t, "mx:mx.test:"+fmt.Sprint(port), fault.word) == 0 {
			t.Errorf("no failure of kind %s is counted", fault.word)
		}
		if err := visit(p.address); err != nil {
			t.Errorf("%s: %v", fault.word, err)
		}
	}
	if lines := p.logged(t, "name not found"); len(lines) != 1 || lines[0].text("fault") != "nxdomain" || lines[0]["relays_kept"] != 1.0 {
		t.Errorf("lines %v, want one that says it, with what is kept", lines)
	}
	z.set(t, good...)
	p.reload(t, s, "reloaded")
	p.waitLine(t, "name found again", nil)
	if len(p.logged(t, "names changed")) > 0 || relays[0].Connections() == 0 {
		t.Error("the relays changed")
	}
}

// nameFailures is a count in the status.
func (p *process) nameFailures(t *testing.T, name, fault string) uint64 {
	t.Helper()
	var st struct {
		Names []struct {
			Name     string
			Failures map[string]uint64
		}
	}
	p.statusInto(t, &st)
	for _, n := range st.Names {
		if n.Name == name {
			return n.Failures[fault]
		}
	}
	t.Fatalf("no name %s in the status: %+v", name, st.Names)
	return 0
}

func (p *process) statusInto(t *testing.T, to any) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Get("http://" + p.admin + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(to); err != nil {
		t.Fatal(err)
	}
}

// As many records as an answer holds become no more relays than a pool bears, always
// the same ones.
func TestThousandsOfRecordsAreBounded(t *testing.T) {
	t.Parallel()
	var relay *smtptest.Relay
	var err error
	for range 20 { // until a port is free at every address: other tests connect from them
		if relay, err = smtptest.Listen("0.0.0.0:0", smtptest.Script{}); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	var lines []string
	for i := range 10_000 {
		lines = append(lines, fmt.Sprintf("many.test. 1 IN A 127.10.%d.%d", i/250, i%250))
	}
	z := startZone(t, lines[:4000]...)
	p := start(t, site{rest: z.config(), backends: []string{fmt.Sprintf(`{name: farm, address: "many.test:%d"}`, relay.Addr().Port())}})
	line := p.waitLine(t, "name: left out", nil)
	if got := line.list("what"); !slices.Equal(got, []string{"3800 of 4000 addresses are left out: 200 at most are used"}) {
		t.Errorf("left out: %q", got)
	}
	slices.Reverse(lines)
	z.set(t, lines...) // ten thousand: cut short by TCP, too
	p.waitLine(t, "name: left out", func(l logLine) bool { return !strings.Contains(fmt.Sprint(l.list("what")), " of 4000 ") })
	z.set(t, lines[6000:]...) // the first four thousand, the other way round
	p.waitLine(t, "names changed", func(l logLine) bool {
		return slices.Contains(l.list("changes"), fmt.Sprintf("pools.out.backends: farm/127.10.0.0:%d is found now", relay.Addr().Port()))
	})
	n := len(p.logged(t, "names changed"))
	z.waitAsked(t, 6)
	if again := len(p.logged(t, "names changed")); again != n {
		t.Errorf("%d changes more, where the records are the same", again-n)
	}
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
}

// A reboot with DNS not up yet: what is known takes clients, who for the rest
// read 421; and when DNS comes up, so do the relays.
func TestStartBeforeDNS(t *testing.T) {
	t.Parallel()
	relays, port := samePort(t, "127.0.4.1")
	known := smtptest.Start(t, smtptest.Script{})
	z := startZone(t)
	z.fail(0, true)
	other := freeAddress(t, "127.0.0.1").String()
	s := site{
		address: freeAddress(t, "127.0.0.1").String(), admin: freeAddress(t, "127.0.0.1").String(),
		rest: z.config(), pool: fmt.Sprintf("discover: mx:relays.test\ndiscovered: {port: %d}\n", port),
	}
	text := strings.Replace(s.text(), "pools:\n", fmt.Sprintf("  - {name: two, address: %q, pool: mixed, allow: [127.0.0.0/8]}\n"+
		"pools:\n  - name: mixed\n    backends: [{address: %q}, {name: later, address: \"relay.test:%d\"}]\n", other, known.Addr(), port), 1)
	file := writeFile(t, "smtplb.yaml", text)
	if got := command(t, "check", "-c", file); got.status != 0 {
		t.Errorf("check without DNS: status %d, %s", got.status, got.stderr)
	}
	p := launch(t, nil, nil, raced, "run", "--config", file)
	p.address, p.admin, p.file = s.address, s.admin, file
	p.waitLine(t, "started", nil)
	if n := len(p.logged(t, "name not found")); n != 2 {
		t.Errorf("%d lines that names are not found", n)
	}
	client := smtptest.Dial(t, p.address)
	if code, text, err := client.ReadReply(); code != 421 || err != nil || !strings.Contains(text, "4.3.2") {
		t.Errorf("a client of the pool without relays reads %d %s, %v", code, text, err)
	}
	if err := visit(other); err != nil {
		t.Errorf("the pool that has one relay: %v", err)
	}
	z.set(t, "relays.test. 1 IN MX 10 relay.test.", "relay.test. 1 IN A 127.0.4.1")
	p.waitChange(t, fmt.Sprintf("pools.out.backends: relay.test/127.0.4.1:%d is found now (priority 10)", port))
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
	p.waitLine(t, "name found again", func(l logLine) bool { return l.text("name") == fmt.Sprintf("relay.test:%d", port) })
	smtptest.Eventually(t, patience, func() bool { return visit(other) == nil && relays[0].Connections() > 1 }, "a session at the relay that was found")
}

// A domain that says that it takes no mail is a mistake to be told at once.
func TestNullMXIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	z := startZone(t, "relays.test. 60 IN MX 0 .")
	s := site{address: freeAddress(t, "127.0.0.1").String(), admin: freeAddress(t, "127.0.0.1").String(), rest: z.config(), pool: "discover: mx:relays.test\n"}
	got := command(t, "run", "-c", writeFile(t, "smtplb.yaml", s.text()))
	if got.status != 1 || !strings.Contains(got.stderr, "pool out: discover: mx:relays.test: the record says that there is no such service") {
		t.Errorf("status %d, said %q", got.status, got.stderr)
	}
}
