package proxy

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// tcpRig is a rig of protocol TCP: as on port 465, nobody is greeted.
func tcpRig(t *testing.T, relays ...*smtptest.Relay) *rig {
	t.Helper()
	var addresses []netip.AddrPort
	for _, relay := range relays {
		addresses = append(addresses, relay.Addr())
	}
	r := newRig(t, addresses...)
	r.listener().Protocol = TCP
	return r
}

// hello is a relay that waits for a hello of the client's and answers.
func hello(t *testing.T) *smtptest.Relay {
	t.Helper()
	return smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		b := make([]byte, 5)
		if _, err := io.ReadFull(conn, b); err == nil && string(b) == "hello" {
			_, _ = io.WriteString(conn, "and hello")
		}
		_, _ = io.Copy(io.Discard, conn)
	}})
}

func TestTLSClientSpeaksFirst(t *testing.T) {
	r := tcpRig(t, hello(t)).run()
	conn := r.raw()
	send(t, conn, "hello")
	wantRead(t, conn, "and hello")
	_ = conn.Close()
	rec := r.ended(1)
	wantEnd(t, rec, ClientClosed)
	if rec.GreetingCode != 0 || rec.Greeting != 0 || rec.BytesUp != 5 || rec.BytesDown != 9 || outcomes(rec) != "a ok" {
		t.Errorf("recorded as %+v", rec)
	}
}

func TestTLSClientIsPassedOnToTheNextRelay(t *testing.T) {
	down := hello(t)
	down.Stop()
	r := tcpRig(t, down, hello(t)).run()
	conn := r.raw()
	send(t, conn, "hello")
	wantRead(t, conn, "and hello")
	_ = conn.Close()
	if got, want := outcomes(r.ended(1)), "a refused, b ok"; got != want {
		t.Errorf("attempts %q, want %q", got, want)
	}
}

// A TLS client cannot read a reply line: it sees the connection close.
func TestTLSClientThatIsRefusedReadsNothing(t *testing.T) {
	down := hello(t)
	down.Stop()
	for _, test := range []struct {
		name   string
		change func(*Listener)
		end    End
	}{
		{"not allowed", func(l *Listener) { l.Allow = nil }, Denied},
		{"denied with 554", func(l *Listener) { l.Allow, l.DeniedReply = nil, Denied554 }, Denied},
		{"no relay", func(*Listener) {}, NoBackend},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := tcpRig(t, down)
			test.change(r.listener())
			r.run()
			conn := r.raw()
			send(t, conn, "hello")
			if got := readAll(t, conn); got != "" {
				t.Errorf("read %q, want nothing", got)
			}
			rec := r.ended(1)
			wantEnd(t, rec, test.end)
			if rec.Reason == "" {
				t.Error("the record does not say why")
			}
		})
	}
}

// The relay learns the client's address before the client's own bytes.
func TestTLSRelayLearnsTheClientToo(t *testing.T) {
	relay, headers := relayOfHeaders(t)
	r := tcpRig(t, relay)
	r.listener().Pool.Targets[0].ProxyProtocol = 2
	r.run()
	conn := r.raw()
	send(t, conn, "hello")
	h := <-headers
	want := conn.LocalAddr().String()
	if h == nil || h.SourceAddr.String() != want {
		t.Errorf("header %+v, want one from %s", h, want)
	}
}

func TestTLSClientWaitsForADeafRelayOnlySoLong(t *testing.T) {
	r := newRig(t, deafAddress(t), hello(t).Addr())
	r.listener().Protocol = TCP
	h := r.byHand()
	conn := r.raw()
	send(t, conn, "hello")
	h.reach(stateConnect)
	h.pass(defaultConnect - time.Second)
	if h.in(stateConnect) == nil {
		t.Fatal("the relay was given up before its time")
	}
	h.pass(2 * time.Second)
	s := h.reach(stateRelaying)
	h.until(func() bool { return s.down.bytes == 9 }, "the next relay answers")
	wantRead(t, conn, "and hello")
	_ = conn.Close()
	h.until(h.gone, "the session ends")
	if got, want := outcomes(r.ended(1)), "a connect_timeout, b ok"; got != want {
		t.Errorf("attempts %q, want %q", got, want)
	}
}
