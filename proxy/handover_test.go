package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// successor is a server with the sockets of r, which has its Listen behind it.
func (r *rig) successor(relays ...netip.AddrPort) *rig {
	r.t.Helper()
	next := newRig(r.t, relays...)
	next.Workers = r.Workers
	sockets, err := r.Sockets()
	if err != nil {
		r.t.Fatal(err)
	}
	next.Inherited = sockets
	if err := next.Listen(); err != nil {
		r.t.Fatal(err)
	}
	next.addr = next.Addresses()[0]
	return next
}

func (r *rig) serve() {
	go func() { r.served <- r.Serve() }()
	r.t.Cleanup(r.checkEnd)
}

func (r *rig) pause() {
	r.t.Helper()
	if err := r.Pause(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) handOver(taken ...netip.AddrPort) {
	r.t.Helper()
	if err := r.HandOver(taken); err != nil {
		r.t.Fatal(err)
	}
}

var anyPort = netip.MustParseAddrPort("127.0.0.1:0") // as newRig's listener is configured

// Clients come all the while, and servers take turns, each on the sockets of the
// one before. Every client is greeted, and sessions end with the server that
// they began with.
func TestHandOverLosesNobody(t *testing.T) {
	smtptest.CheckDescriptors(t)
	relay := smtptest.Start(t, smtptest.Script{})
	now := newRig(t, relay.Addr())
	now.Workers, now.Quiet = 2, 100*time.Millisecond
	now.run()
	address := now.addr
	var sessions atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := smtptest.DialTimeout(address.String(), patience)
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Send(smtptest.Outgoing{ID: "m", Size: 200}); err != nil {
					t.Error(err)
				}
				if err := c.Quit(); err != nil {
					t.Error(err)
				}
				c.Close()
				sessions.Add(1)
			}
		})
	}
	rigs := []*rig{now}
	for n := range 5 {
		smtptest.Eventually(t, patience, func() bool { return now.Stats().Accepted >= 20 }, "server %d takes part", n)
		next := now.successor(relay.Addr())
		next.Quiet = now.Quiet
		if next.addr != address {
			t.Fatalf("the next one listens on %s, want %s", next.addr, address)
		}
		now.pause()
		if err := next.Start(); err != nil {
			t.Fatal(err)
		}
		next.serve()
		now.handOver(anyPort)
		rigs, now = append(rigs, next), next
	}
	smtptest.Eventually(t, patience, func() bool { return now.Stats().Accepted >= 20 }, "the last server takes part")
	close(stop)
	clients.Wait()
	for _, r := range rigs[:5] {
		if err := r.Shutdown(t.Context()); err != nil { // waits for the last session
			t.Error(err)
		}
	}
	now.idle()
	var accepted int64
	for n, r := range rigs {
		st := r.Stats()
		accepted += st.Accepted
		if other := st.Accepted - st.Ends[BackendClosed] - st.Ends[ClientClosed]; other != 0 {
			t.Errorf("server %d: %v, want each to end in good order", n, st.Ends)
		}
	}
	if accepted != sessions.Load() {
		t.Errorf("%d connections for %d sessions", accepted, sessions.Load())
	}
}

// Who waits while it is paused belongs to the next server, and hears nothing of
// the hand-over; who waits at an address that the next one has not taken is told.
func TestHandOverLeavesTheQueueToTheNext(t *testing.T) {
	smtptest.CheckDescriptors(t)
	old, other := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{Greeting: "220 other.test ESMTP\r\n"})
	r := newRig(t, old.Addr())
	r.Workers = 2
	given := r.Listeners[0]
	given.Name, given.Address = "given up", netip.MustParseAddrPort("127.0.0.2:0")
	r.Listeners = append(r.Listeners, given)
	r.run()
	running := r.dial()
	wantGreeting(t, running, plainGreeting)

	next := newRig(t, other.Addr())
	sockets, err := r.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	next.Inherited = sockets[:1]
	closeSockets(sockets[1:])
	if err := next.Listen(); err != nil {
		t.Fatal(err)
	}
	r.pause()
	var waiting []*smtptest.Client
	for range 20 {
		waiting = append(waiting, r.dial())
	}
	refusedOne := smtptest.Dial(t, r.Addresses()[1].String())
	if n := r.Stats().Accepted; n != 1 {
		t.Errorf("%d connections were accepted, want the 1 from before the pause", n)
	}
	r.handOver(anyPort)
	if text := readAll(t, limited(t, refusedOne.Conn())); !strings.HasPrefix(text, "421 4.3.2 ") {
		t.Errorf("at an address that nobody has taken a client reads %q", text)
	}
	next.serve()
	for _, c := range waiting {
		wantGreeting(t, c, "220 other.test ESMTP\r\n")
		c.Close()
	}
	if err := running.Send(smtptest.Outgoing{ID: "m", Size: 100}); err != nil {
		t.Errorf("the session from before: %v", err)
	}
	if err := running.Quit(); err != nil {
		t.Error(err)
	}
	running.Close()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if st := r.Stats(); st.Accepted != 2 || st.Ends[Shut] != 1 {
		t.Errorf("the old one has accepted %d: %v", st.Accepted, st.Ends)
	}
}

// Nothing has changed after Pause and Resume.
func TestResumeTakesWhoHasWaited(t *testing.T) {
	smtptest.CheckDescriptors(t)
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.Workers = 2
	r.run()
	first := r.dial() // so that it serves
	wantGreeting(t, first, plainGreeting)
	first.Close()
	r.idle()
	for range 3 {
		r.pause()
		c := r.dial()
		l := *r.listener() // a reload in between does not end the pause
		r.reload(l)
		if n := r.Stats().Open; n != 0 {
			t.Errorf("%d sessions in a pause", n)
		}
		if err := r.Resume(); err != nil {
			t.Fatal(err)
		}
		wantGreeting(t, c, plainGreeting)
		c.Close()
		r.idle()
	}
	// The end of a pause for want of descriptors does not end this one.
	r.pause()
	c := r.dial()
	for range 2 {
		if err := r.everyLoop(func(l *loop) { l.resumeAt = l.ns }); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Stats().Open; n != 0 {
		t.Errorf("%d sessions in a pause", n)
	}
	if err := r.Resume(); err != nil {
		t.Fatal(err)
	}
	wantGreeting(t, c, plainGreeting)
	c.Close()
	r.idle()

	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Pause": r.Pause(), "Resume": r.Resume(), "HandOver": r.HandOver(nil)} {
		if err == nil {
			t.Errorf("%s of a server that was shut down: no error", what)
		}
	}
}

func TestInheritedSocketsMustFit(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	open := func(address string) Socket {
		t.Helper()
		at := netip.MustParseAddrPort(address)
		fd, err := openSocket(at, false)
		if err != nil {
			t.Fatal(err)
		}
		return Socket{at, fd}
	}
	plain := func(kind, protocol int) Socket {
		t.Helper()
		fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			t.Fatal(err)
		}
		return Socket{anyPort, fd}
	}
	unixSocket := func() Socket {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + t.Name()})
		}
		if err == nil {
			err = unix.Listen(fd, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		return Socket{anyPort, fd}
	}
	for _, test := range []struct {
		name      string
		inherited func() Socket
		listener  string
		want      string
	}{
		{"nobody wants it", func() Socket { return open("127.0.0.3:0") }, "127.0.0.1:0", "no listener has the address 127.0.0.3:0"},
		{"it does not listen", func() Socket { return plain(unix.SOCK_STREAM, 0) }, "127.0.0.1:0", "no listening socket"},
		{"not TCP", func() Socket { return plain(unix.SOCK_DGRAM, 0) }, "127.0.0.1:0", "no listening socket"},
		{"a Unix socket", unixSocket, "127.0.0.1:0", "no TCP socket"},
		{"another address", func() Socket { s := open("127.0.0.3:0"); s.Address = anyPort; return s }, "127.0.0.1:0", "listens on 127.0.0.3:"},
		{"another port", func() Socket {
			s := open("127.0.0.1:0")
			s.Address = netip.MustParseAddrPort("127.0.0.1:9")
			return s
		}, "127.0.0.1:9", "listens on 127.0.0.1:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			smtptest.CheckDescriptors(t)
			r := newRig(t, relay.Addr())
			r.listener().Address = netip.MustParseAddrPort(test.listener)
			r.Inherited = []Socket{test.inherited()}
			err := r.Listen()
			if err == nil {
				_ = r.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not say %q", err, test.want)
			}
		})
	}
}

// A socket that systemd has opened is blocking, and may be inherited by programs
// that are started.
func TestInheritedSocketIsMadeOurs(t *testing.T) {
	smtptest.CheckDescriptors(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 10); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.Inherited = []Socket{{anyPort, fd}}
	r.run()
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v: want FD_CLOEXEC", flags, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %#x, %v: want O_NONBLOCK", flags, err)
	}
	c := r.dial()
	wantGreeting(t, c, plainGreeting)
	c.Close()
}

// A loop that is stuck is noticed, and so is that it is not any more.
func TestAnswerNoticesALoopThatIsStuck(t *testing.T) {
	smtptest.CheckDescriptors(t)
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.Workers = 2
	stuck, release := make(chan struct{}), make(chan struct{})
	r.OnSession = func(*Record) {
		close(stuck)
		<-release
	}
	if err := r.Answer(t.Context()); err != nil {
		t.Errorf("before it serves: %v", err)
	}
	r.run()
	if err := r.Answer(t.Context()); err != nil {
		t.Error(err)
	}
	conn, err := net.Dial("tcp", r.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	<-stuck
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Answer(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a stuck loop: %v, want the context's error", err)
	}
	close(release)
	if err := r.Answer(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Answer(t.Context()); err != nil {
		t.Errorf("after its end: %v", err)
	}
}
