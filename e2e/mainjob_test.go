package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"smtplb/internal/smtptest"
)

// The main job with programs that are not ours: 20,000 sessions of one message
// each, 100 at a time, over three sinks of which one is killed and comes back.
// smtp-source gives up at the first connection that breaks and at the first
// reply that is not 2xx or 3xx, so its status 0 says that no session failed.
//
// A relay killed in the middle of a message takes that session with it, with
// any balancer, and smtp-source does not send again. So the sink is taken out
// as an operator does it: its health port is closed, running sessions finish,
// no new one comes, then SIGKILL. The relay that dies in mid-message is the
// next test's.
func TestTwentyThousandMessagesWhileOneSinkIsReplaced(t *testing.T) {
	const messages = 20000
	hosts := []string{"127.0.0.11", "127.0.0.12", "127.0.0.13"}
	health, port := healthPorts(t, hosts)
	s := site{pool: fmt.Sprintf("probe: {address: \":%d\", interval: 200ms, fast_interval: 100ms, timeout: 5s, rise: 2, fall: 2}", port)}
	var addresses []netip.AddrPort
	var sinks []*sink
	for i, host := range hosts {
		addresses = append(addresses, freeAddress(t, host))
		sinks = append(sinks, startSink(t, addresses[i]))
		s.backends = append(s.backends, backend(fmt.Sprint("sink-", i), addresses[i]))
	}
	p := start(t, s)
	source := startSource(t, p.address, 100, messages)
	reached := func(n int) {
		t.Helper()
		smtptest.Eventually(t, 2*patience, func() bool { return source.accepted() >= n || len(source.done) > 0 }, "%d messages accepted", n)
	}

	reached(messages / 4)
	health[0].Stop()
	p.waitState(t, "sink-0", "down", 1)
	smtptest.Eventually(t, patience, func() bool { return connectionsTo(t, addresses[0]) == 0 }, "sink-0 has no sessions")
	sinks[0].kill()
	reached(messages / 2)
	sinks = append(sinks, startSink(t, addresses[0]))
	if err := health[0].Restart(); err != nil {
		t.Fatal(err)
	}
	p.waitState(t, "sink-0", "up", 1)
	source.wait(t)

	all := p.sessions(t, messages)
	if len(all) != messages || slices.ContainsFunc(all, func(s session) bool { return s.asked() != s.Backend+":ok" }) {
		t.Errorf("%d sessions, want %d, each served by the first relay that was asked", len(all), messages)
	}
	total := 0
	var counts []int
	for _, sink := range sinks {
		sink.kill()
		counts = append(counts, sink.messages())
		total += sink.messages()
	}
	t.Logf("accepted %d; at the sinks %v, the last being the first one after its return", source.accepted(), counts)
	if source.accepted() != messages || total != messages {
		t.Errorf("accepted %d, at the sinks %d, want %d: none lost, none twice", source.accepted(), total, messages)
	}
	if slices.Min(counts) == 0 {
		t.Error("a sink got nothing: it was not in use")
	}
}

// healthPorts returns a relay on each host, all on one port, for the checks.
func healthPorts(t *testing.T, hosts []string) (relays []*smtptest.Relay, port uint16) {
	t.Helper()
	for range 20 {
		relays = relays[:0]
		port = freeAddress(t, hosts[0]).Port()
		for _, host := range hosts {
			relay, err := smtptest.Listen(fmt.Sprintf("%s:%d", host, port), smtptest.Script{})
			if err != nil {
				break // another program has that port on this host
			}
			t.Cleanup(relay.Close)
			relays = append(relays, relay)
		}
		if len(relays) == len(hosts) {
			return relays, port
		}
	}
	t.Fatalf("no port is free on all of %v", hosts)
	return nil, 0
}

// A relay dies with sessions in every stage, and comes back. Its sessions break,
// as they would without a balancer; the sender sends again what was not
// accepted, as every mail server does. Then nothing is lost, and nothing is
// there twice but what the dead relay had taken and could not say so, which no
// one but the sender can know (RFC 1047). No other session fails: not one on
// another relay, and not one that had yet to be greeted.
func TestRelayThatDiesLosesNoMessage(t *testing.T) {
	const messages, senders, perSession = 3000, 40, 5 // at least so many messages
	relays := []*smtptest.Relay{smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})}
	p := start(t, site{pool: quick, backends: []string{
		backend("relay-a", relays[0].Addr()), backend("relay-b", relays[1].Addr()), backend("relay-c", relays[2].Addr()),
	}})

	var ledger smtptest.Ledger
	var next, broken atomic.Int64
	var returned atomic.Bool
	over := func(id int64) bool { return id > messages && returned.Load() }
	var wg sync.WaitGroup
	defer wg.Wait()
	defer returned.Store(true)
	for range senders {
		wg.Go(func() {
			for id := next.Add(1); !over(id); {
				client, err := smtptest.DialTimeout(p.address, patience)
				if err != nil {
					t.Error(err)
					return
				}
				for n := 0; n < perSession && !over(id); n++ {
					m := smtptest.Outgoing{ID: fmt.Sprint("m", id), Size: 8 << 10}
					if ledger.Record(m, client.Send(m)) != nil {
						broken.Add(1) // the same message goes again, in a new session
						break
					}
					id = next.Add(1)
				}
				client.Close()
			}
		})
	}
	smtptest.Eventually(t, 2*patience, func() bool { return ledger.Accepted() > messages/4 }, "a quarter is sent")
	relays[0].Stop()
	before := relays[0].MessageCount()
	smtptest.Eventually(t, 2*patience, func() bool { return ledger.Accepted() > messages/2 }, "half is sent")
	if err := relays[0].Restart(); err != nil {
		t.Fatal(err)
	}
	smtptest.Eventually(t, 2*patience, func() bool { return relays[0].MessageCount() > before }, "relay-a gets messages again")
	returned.Store(true)
	wg.Wait()

	report := ledger.Compare(relays[0].Messages(), relays[1].Messages(), relays[2].Messages())
	if err := report.Err(); err != nil || report.Delivered != ledger.Accepted() || report.Delivered < messages {
		t.Errorf("delivered %d of %d: %v", report.Delivered, ledger.Accepted(), err)
	}
	cut := 0
	for _, s := range p.sessions(t, int(broken.Load())) {
		switch {
		case s.Backend == "relay-a" && (s.End == "backend_reset" || s.End == "backend_closed"): // senders never QUIT
			cut++
		case s.End != "client_closed" && s.End != "client_reset":
			t.Errorf("session on %s ended as %s, asked %s", s.Backend, s.End, s.asked())
		}
	}
	t.Logf("relay-a died with %d sessions, senders saw %d broken", cut, broken.Load())
	if int64(cut) < broken.Load() {
		t.Errorf("senders saw %d sessions break, %d were on the relay that died", broken.Load(), cut)
	}
}
