package proxy

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// More clients than descriptors: those that do not fit wait in the kernel's
// queue, and are served; none is refused, and who is in goes on.
func TestClientsBeyondTheDescriptorsWaitAndAreServed(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.limit = 8
	r.Workers = 2
	r.run()
	running := r.dial()
	if err := running.Send(smtptest.Outgoing{ID: "first", Size: 1000}); err != nil {
		t.Fatal(err)
	}
	const clients = 20
	results := make(chan error, clients)
	for i := range clients {
		go func() {
			c, err := smtptest.DialTimeout(r.addr.String(), patience)
			if err == nil {
				defer c.Close()
				err = errors.Join(c.Send(smtptest.Outgoing{ID: string(rune('a' + i)), Size: 1000}), c.Quit())
			}
			results <- err
		}()
	}
	for i := range clients {
		if err := <-results; err != nil {
			t.Errorf("a client that had to wait: %v", err)
		}
		if err := running.Send(smtptest.Outgoing{ID: "more" + string(rune('a'+i)), Size: 1000}); err != nil {
			t.Errorf("the session that ran: %v", err)
		}
	}
	if !r.told("accepting pauses") {
		t.Error("OnError was not told that accepting pauses")
	}
	if got, want := relay.MessageCount(), 2*clients+1; got != want {
		t.Errorf("the relay has %d messages, want %d", got, want)
	}
	if st := r.Stats(); st.Ends[NoBackend]+st.Ends[Shut]+st.Ends[Denied] != 0 {
		t.Errorf("somebody was refused: %v", st.Ends)
	}
}

// While accepting pauses, a client in the queue is no event: nothing spins.
func TestPauseInAcceptingDoesNotSpin(t *testing.T) {
	h := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
	h.server.fdLimit.Store(2)
	first, _ := h.greeted()
	waiting := h.r.dial()
	h.until(func() bool { return !h.watching }, "accepting pauses")
	if !h.r.told("accepting pauses, running sessions go on: too many open files") {
		t.Errorf("OnError was told %v", h.r.errs)
	}
	if events, err := h.poller.Wait(10 * time.Millisecond); len(events) != 0 || err != nil {
		t.Errorf("%d events (%v) while there is nothing to do: the loop spins", len(events), err)
	}
	if d, _ := h.timeout(); d <= 0 {
		t.Errorf("the loop does not sleep: %v", d)
	}
	for range 5 { // and each look that is in vain begins another pause
		h.pass(acceptPause)
		h.until(func() bool { return !h.watching }, "accepting pauses again")
	}
	first.Close()
	h.until(h.gone, "the first session ends")
	h.pass(acceptPause)
	h.reach(stateRelaying)
	wantGreeting(t, waiting, plainGreeting)
}

// Pipes that lie idle are no reason to keep a client waiting.
func TestIdlePipesGiveWayToClients(t *testing.T) {
	h := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
	h.server.fdLimit.Store(2)
	h.pipes.put(h.server, h.pipes.get(h.server))
	c := h.r.dial()
	h.until(func() bool { return !h.watching }, "accepting pauses")
	h.pass(acceptPause)
	h.reach(stateRelaying)
	wantGreeting(t, c, plainGreeting)
}

// Without descriptors for a pipe, bytes are copied.
func TestLargeMailWithoutADescriptorForAPipe(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.limit = 2
	r.run()
	c := r.dial()
	if err := c.Send(smtptest.Outgoing{ID: "m", Size: 20 << 20}); err != nil {
		t.Fatal(err)
	}
	if got := r.Stats().Descriptors; got != 2 {
		t.Errorf("%d descriptors held, want 2", got)
	}
}

// When one listener cannot be watched again none is, until all can: a socket
// that is watched but not read would be reported for ever.
func TestListenerThatCannotBeWatchedDoesNotSpin(t *testing.T) {
	h := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
	whole := h.listeners
	h.unwatchListeners()
	h.listeners = append(slices.Clone(whole), newListener(&Listener{Name: "broken"}, &port{fd: -1, index: 1}))
	h.resumeAccept()
	c := h.r.dial()
	if events, err := h.poller.Wait(10 * time.Millisecond); len(events) != 0 || err != nil {
		t.Errorf("%d events (%v) of a listener that nobody reads", len(events), err)
	}
	if !h.r.told("listener broken") {
		t.Errorf("OnError was told %v", h.r.errs)
	}
	h.listeners = whole
	h.pass(acceptPause)
	h.reach(stateRelaying)
	wantGreeting(t, c, plainGreeting)
}

// accept(2) passes the troubles of single connections on. They are no reason to
// stop, and neither are those of the machine a reason to stop for good.
func TestFailedAcceptIsNotTheEnd(t *testing.T) {
	for _, test := range []struct {
		err         error
		more, pause bool
	}{
		{unix.EAGAIN, false, false},
		{unix.EINTR, true, false},
		{unix.ECONNABORTED, true, false},
		{unix.EHOSTUNREACH, true, false},
		{unix.EMFILE, false, true},
		{unix.ENFILE, false, true},
		{unix.ENOMEM, false, true},
		{unix.EBADF, false, true},
	} {
		h := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
		if more := h.acceptError(test.err); more != test.more || h.watching == test.pause {
			t.Errorf("%v: more %v, watching %v", test.err, more, h.watching)
		}
		h.pass(2 * acceptPause)
		if !h.watching {
			t.Errorf("%v: accepting does not go on", test.err)
		}
	}
}

// A backend that cannot be reached as its target says is one relay's fault: the
// next may be reached another way.
func TestRelayWhoseWayOutIsMissingIsPassedOver(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	for name, target := range map[string]Target{
		"source":    {Source: netip.MustParseAddr("192.0.2.77")},
		"interface": {Interface: "nowhere0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, relay.Addr(), relay.Addr())
			target.Address = relay.Addr()
			r.listener().Pool.Targets[0] = target
			r.run()
			c := r.dial()
			wantGreeting(t, c, plainGreeting)
			c.Close()
			if got, want := outcomes(r.ended(1)), "a unreachable, b ok"; got != want {
				t.Errorf("attempts %q, want %q", got, want)
			}
			if !r.told(name) {
				t.Errorf("OnError was told %v, want the %s", r.errs, name)
			}
		})
	}
}

func TestRelayIsReachedFromItsSource(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.listener().Pool.Targets[0].Source = netip.MustParseAddr("127.0.0.77")
	r.run()
	if err := r.dial().Send(smtptest.Outgoing{ID: "m", Size: 1000}); err != nil {
		t.Fatal(err)
	}
	if m := relay.Messages(); m[0].Peer.Addr().String() != "127.0.0.77" {
		t.Errorf("the relay was reached from %v, want 127.0.0.77", m[0].Peer)
	}
}
