//go:build deb

package deb

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"smtplb/internal/smtptest"
)

const senders = 16

// traffic sends messages from all sides until it is stopped, and holds what became
// of them.
type traffic struct {
	ledger smtptest.Ledger
	stop   atomic.Bool
	wg     sync.WaitGroup
	next   atomic.Int64
}

func startTraffic(t *testing.T, name string) *traffic {
	tr := &traffic{}
	for range senders {
		tr.wg.Go(func() {
			for !tr.stop.Load() {
				if err := tr.session(name); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	t.Cleanup(tr.end)
	smtptest.Eventually(t, patience, func() bool { return tr.ledger.Accepted() > 10*senders }, "mail flows")
	return tr
}

// session sends two messages in a session.
func (tr *traffic) session(name string) error {
	client, err := smtptest.DialFrom(netip.MustParseAddr(allowed), vip, patience)
	if err != nil {
		return err
	}
	defer client.Close()
	for range 2 {
		m := smtptest.Outgoing{ID: fmt.Sprint(name, "-", tr.next.Add(1)), Size: 4000}
		if err := tr.ledger.Record(m, client.Send(m)); err != nil {
			return err
		}
	}
	return client.Quit()
}

func (tr *traffic) end() {
	tr.stop.Store(true)
	tr.wg.Wait()
}

// compare ends it and looks whether each message is there once.
func (tr *traffic) compare(t *testing.T, name string, relays []*smtptest.Relay) {
	t.Helper()
	tr.end()
	var got []smtptest.Message
	for _, r := range relays {
		for _, m := range r.Messages() {
			if strings.HasPrefix(m.ID, name+"-") {
				got = append(got, m)
			}
		}
	}
	report := tr.ledger.Compare(got)
	if err := report.Err(); err != nil || report.Delivered != tr.ledger.Accepted() {
		t.Errorf("%d of %d delivered: %v", report.Delivered, tr.ledger.Accepted(), err)
	}
	t.Logf("%d messages, each there once", report.Delivered)
}

// open is a session in the middle of a message: of what it has sent not all is
// answered. One in its own turn may be let go when smtplb hands over.
type open struct{ client *smtptest.Client }

func openSession(t *testing.T) open {
	t.Helper()
	client, err := smtptest.DialFrom(netip.MustParseAddr(allowed), vip, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := client.Greeting(); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<b@relay.test>", "DATA"} {
		if code, text, err := client.Cmd("%s", command); err != nil || code >= 400 {
			t.Fatalf("%s: %d %s, %v", command, code, text, err)
		}
	}
	if _, err := client.Conn().Write([]byte("Subject: la")); err != nil {
		t.Fatal(err)
	}
	return open{client}
}

// finish sends the rest of the message.
func (o open) finish(t *testing.T) {
	t.Helper()
	if code, text, err := o.client.Cmd("te\r\n\r\nlate\r\n."); err != nil || code != 250 {
		t.Errorf("the session that was open: %d %s, %v", code, text, err)
	}
	if err := o.client.Quit(); err != nil {
		t.Errorf("the session that was open: %v", err)
	}
}

func (s *site) upgrade(t *testing.T) {
	before := s.mainPID()
	session, flow := openSession(t), startTraffic(t, "upgrade")
	out := s.install("after")
	has(t, out, "has taken over")
	flow.compare(t, "upgrade", s.relays)
	now := s.mainPID()
	if now == before {
		t.Errorf("process %s serves as before:\n%s", now, out)
	}
	has(t, s.run("smtplb", "status"), "v1.0.1")
	if restarts := s.property("NRestarts"); restarts != "0" {
		t.Errorf("%s restarts", restarts)
	}
	if err := s.signal(before, "0"); err != nil {
		t.Errorf("with a session open on it: %v", err)
	}
	session.finish(t)
	smtptest.Eventually(t, patience, func() bool { return s.signal(before, "0") != nil }, "process %s ends with its last session", before)
	if got := s.property("ActiveState") + " " + s.mainPID(); got != "active "+now {
		t.Errorf("the unit is %s after the old process has ended, want active %s", got, now)
	}
}

// The file is broken when the next package comes, and with it the way back: the
// installation goes well, the program that runs goes on, and somebody is told.
func (s *site) refusedUpgrade(t *testing.T) {
	before := s.mainPID()
	s.write(file, "listeners: []\n")
	flow := startTraffic(t, "refused")
	has(t, s.install("before"), "has not taken over, and the old one goes on", "upgrade refused: nothing changed", "listeners")
	flow.compare(t, "refused", s.relays)
	if now := s.mainPID(); now != before {
		t.Errorf("process %s has taken over, with a broken file", now)
	}
	has(t, s.run("smtplb", "status"), "v1.0.1")
	s.write(file, configuration(relayA, relayB))
	s.run("systemctl", "kill", "--kill-whom=main", "--signal=SIGUSR2", "smtplb")
	s.returns(before)
	has(t, s.run("smtplb", "status"), "v1.0.0")
}
