package cluster

import (
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// mute is an address where connections are taken by the kernel, and nobody reads what is sent; deaf one where they are not even taken.
func mute(t *testing.T, deaf bool) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	backlog := 100
	if deaf {
		backlog = 0
	}
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, 9}})
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort("127.0.1.9:" + strconv.Itoa(name.(*unix.SockaddrInet4).Port))
	for deaf { // until the queue is full
		c, err := net.DialTimeout("tcp", at.String(), 200*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	return at
}

// Nobody is accepted while an upgrade waits for Close, so that must not wait for a peer that does not answer.
func TestCloseWaitsForNoPeer(t *testing.T) {
	for _, deaf := range []bool{true, false} {
		peer := mute(t, deaf)
		s := openSite(t, config([]netip.AddrPort{freeAddresses(t, 1)[0], peer}, 0), 10)
		dialing := func() bool { return s.node.engine.dials.Load() > 0 }
		smtptest.Eventually(t, 10*time.Second, dialing, "the peer is greeted")
		s.closes(t, 5*time.Second) // a greeting may take ten
	}
}

// closes closes the node, which must not take longer.
func (s *site) closes(t *testing.T, most time.Duration) {
	t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- s.node.Close(false) }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(most):
		t.Fatalf("not closed after %v", most)
	}
}

// A process that was to take over may have talked, and lent, before it failed. Who goes on after it is heard, and does not use what that has
// lent.
func TestWhatAFailedSuccessorHasLentIsNotUsed(t *testing.T) {
	for _, journal := range []bool{true, false} {
		all := freeAddresses(t, 2)
		c := config(all, 1)
		if journal {
			c.Journal = filepath.Join(t.TempDir(), "cluster.json")
		}
		a, b := openSite(t, config(all, 0), 20), openSite(t, c, 20)
		eventually(t, "they hear each other", func() bool { return a.heard(InReach) && b.heard(InReach) })
		if err := b.node.Close(false); err != nil {
			t.Fatal(err)
		}
		handed := b.node.HandOver()
		c.Before = &handed
		failed := openSite(t, c, 20)
		a.set(func() { a.use = 9 })
		eventually(t, "it lends", func() bool { return a.may() > 12 })
		if err := failed.node.Close(false); err != nil {
			t.Fatal(err)
		}
		if err := b.node.Open(); err != nil {
			t.Fatal(err)
		}
		if sum := a.may() + b.may(); sum > 20 {
			t.Errorf("journal %t: %d may run in all, want 20 at most", journal, sum)
		}
		a.set(func() { a.use = 0 })
		eventually(t, "its share is back", func() bool { return b.may() >= 10 })
		if a.heard("process before") {
			t.Error("it is refused")
		}
	}
}

// What was on its way when a peer left tells of sessions that are over.
func TestWhoHasLeftHoldsNothing(t *testing.T) {
	b, say, may := lender(t)
	if err := b.receive(time.Unix(1, 0), &message{From: "b", Inc: 7, Number: 5, Stamp: 5, To: 1, Leave: true}); err != nil {
		t.Fatal(err)
	}
	say(1, 4, record{Seen: 1, Held: 4})
	if n := may(); n != 5 {
		t.Errorf("%d of 5 may run here, want all", n)
	}
}

// Whoever reaches the port may connect as often as they like: only so many are kept, and the peers are heard all the same.
func TestStrangersHoldFewConnections(t *testing.T) {
	at := freeAddresses(t, 2)
	openSite(t, config(at, 0), 10)
	var open atomic.Int64
	for range 300 {
		c, err := net.DialTimeout("tcp", at[0].String(), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		open.Add(1)
		go func() {
			_, _ = c.Read(make([]byte, 1)) // until it is closed
			open.Add(-1)
		}()
	}
	few := func() bool { return open.Load() <= mostStreams(1) }
	smtptest.Eventually(t, 5*time.Second, few, "the others are closed") // ten seconds, by themselves
}

// Connections that come while it closes hold nothing up.
func TestCloseWaitsForNoStranger(t *testing.T) {
	for range 10 {
		at := freeAddresses(t, 2)
		s := openSite(t, config(at, 0), 10)
		stop := make(chan struct{})
		var dialed atomic.Int64
		var dialing sync.WaitGroup
		for range 8 {
			dialing.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if c, err := net.DialTimeout("tcp", at[0].String(), time.Second); err == nil {
						dialed.Add(1)
						_ = c.Close()
					}
				}
			})
		}
		smtptest.Eventually(t, 10*time.Second, func() bool { return dialed.Load() > 50 }, "they connect")
		s.closes(t, 10*time.Second)
		close(stop)
		dialing.Wait()
	}
}
