package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// Floods of clients that cost nobody a session: while they last, and between
// any two handfuls of them, a client with mail gets its relay; each of them
// holds a socket and an entry of the table; and at the end all is given back.

// flood opens n connections with open, and has good clients come by all along. It
// returns the most sessions that there were at one time, and what ends those that
// are left, which would else have their deadlines.
func (r *rig) flood(n int, open func(i int) *smtptest.Client, good ...func() error) (most int64, hangUp func()) {
	r.t.Helper()
	var all []*smtptest.Client
	for i := range n {
		all = append(all, open(i))
		if i%50 != 49 {
			continue
		}
		for who, visit := range good {
			if err := visit(); err != nil {
				r.t.Fatalf("good client %d, after %d of the others: %v", who, i+1, err)
			}
		}
		most = max(most, r.Stats().Open)
	}
	return most, func() {
		for _, c := range all {
			c.Close()
		}
	}
}

// visit is a whole session from a local address, after a header, if any.
func (r *rig) visit(local, header string) error {
	c, err := smtptest.DialFrom(netip.MustParseAddr(local), r.addr.String(), patience)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c.Conn(), header); err != nil {
		return err
	}
	return errors.Join(c.Send(smtptest.Outgoing{ID: "good", Size: 1000}), c.Quit())
}

// tellMemory logs what the table of sessions takes, of which there were n.
func (r *rig) tellMemory(n int64) {
	r.t.Helper()
	chunks := 0
	var asked sync.WaitGroup
	asked.Add(len(r.loops))
	for _, l := range r.loops {
		l.post(func(l *loop) { chunks += len(l.sessions.chunks); asked.Done() })
	}
	asked.Wait()
	r.t.Logf("at most %d at a time, in a table of %d KB: %d bytes each", n, chunks*chunkSize*int(unsafe.Sizeof(session{}))>>10, unsafe.Sizeof(session{}))
}

// floodRig has descriptors for 320 sessions, so that each kind of connection
// that is not let in has room for 20.
func floodRig(t *testing.T, relays ...netip.AddrPort) *rig {
	smtptest.CheckDescriptors(t)
	r := newRig(t, relays...)
	r.limit = 640
	return r
}

const floodRoom = 320 / outsideShare

func TestSilentClientsBehindAProxyKeepNobodyOut(t *testing.T) {
	r := floodRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.listener().AcceptProxy = prefixes("127.0.0.2/32")
	r.listener().Allow = prefixes("10.1.0.0/16", "127.0.0.3/32")
	r.listener().MaxSessions = 2
	r.run()
	most, hangUp := r.flood(2000, func(i int) *smtptest.Client {
		c := r.dialFrom("127.0.0.2")
		if i%2 == 0 {
			send(t, c.Conn(), headerOfClient[:20])
		}
		return c
	}, func() error { return r.visit("127.0.0.2", headerOfClient) }, func() error { return r.visit("127.0.0.3", "") })
	if most > 2*floodRoom+2 {
		t.Errorf("%d sessions at one time, want at most %d that are silent, as many that read why, and the good ones", most, floodRoom)
	}
	r.tellMemory(most)
	if st := r.Stats(); st.Ends[Denied] < 2000-floodRoom-1 || st.Ends[ClientLimit] != 0 {
		t.Errorf("ended as %v", st.Ends)
	}
	hangUp()
	r.idle()
}

func TestStrangersThatNeverReadKeepNobodyOut(t *testing.T) {
	r := floodRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.listener().Allow = prefixes("127.0.0.3/32")
	r.run()
	most, hangUp := r.flood(2000, func(int) *smtptest.Client { return r.dialFrom("127.0.0.4") },
		func() error { return r.visit("127.0.0.3", "") })
	if most > floodRoom+1 {
		t.Errorf("%d sessions at one time, want at most %d strangers and one good client", most, floodRoom)
	}
	r.tellMemory(most)
	hangUp()
	r.idle()
}

// Strangers that send all the time are read, or they would be reset with the
// reply on its way, and that has an end too.
func TestStrangersThatSendAllTheTimeKeepNobodyOut(t *testing.T) {
	r := floodRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.listener().Allow = prefixes("127.0.0.3/32")
	r.run()
	garbage := make([]byte, 1<<20)
	var senders sync.WaitGroup
	r.flood(100, func(int) *smtptest.Client {
		c := r.dialFrom("127.0.0.4")
		senders.Go(func() {
			for {
				if _, err := limited(t, c.Conn()).Write(garbage); err != nil {
					return // let go
				}
			}
		})
		return c
	}, func() error { return r.visit("127.0.0.3", "") })
	senders.Wait()
	r.idle()
}

// Clients that are let in and have no relay read 421. Those that do not read it
// have no more room than strangers.
func TestClientsWithoutARelayThatNeverReadKeepNobodyOut(t *testing.T) {
	down := smtptest.Start(t, smtptest.Script{})
	r := floodRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.listener().Routes = []Route{{From: prefixes("127.0.0.5/32"), Pool: newPool(t, "down", down.Addr())}}
	down.StopListening()
	r.run()
	most, hangUp := r.flood(2000, func(int) *smtptest.Client { return r.dialFrom("127.0.0.5") },
		func() error { return r.visit("127.0.0.3", "") })
	if most > floodRoom+2 {
		t.Errorf("%d sessions at one time, want at most %d that do not read and the good one", most, floodRoom)
	}
	r.tellMemory(most)
	hangUp()
	r.idle()
}

// One client that is allowed, and connects to a relay that never greets, has its
// own limit; it is answered when session_setup is over.
func TestSilentClientOfASilentRelayKeepsNobodyOut(t *testing.T) {
	silent := smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }})
	r := floodRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	pool := newPool(t, "silent", silent.Addr())
	pool.Timeouts = Timeouts{SessionSetup: 2 * time.Second, Greeting: 2 * time.Second}
	r.listener().Routes = []Route{{From: prefixes("127.0.0.5/32"), Pool: pool}}
	r.listener().MaxSessionsPerClient = 40
	r.run()
	most, _ := r.flood(1000, func(int) *smtptest.Client { return r.dialFrom("127.0.0.5") },
		func() error { return r.visit("127.0.0.3", "") })
	if most > 40+2*floodRoom+1 {
		t.Errorf("%d sessions at one time, want at most 40 of that client, %d that were refused, %d whose time is over", most, floodRoom, floodRoom)
	}
	r.idle()
	if st := r.Stats(); st.Ends[NoBackend] < 40 || st.Ends[ClientLimit]+st.Ends[NoBackend] != 1000 {
		t.Errorf("ended as %v, want 1000 by the limit or for want of a relay", st.Ends)
	}
}

// What a client sends before its greeting stays in its socket, whose size is the
// kernel's affair, and keeps the client from sending more.
func TestMegabytesBeforeTheGreetingTakeNoMemory(t *testing.T) {
	const clients, size = 100, 16 << 20
	greet := make(chan struct{})
	slow := smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		<-greet
		_ = conn.Close()
	}})
	r := floodRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	pool := newPool(t, "slow", slow.Addr())
	pool.Timeouts = Timeouts{Greeting: patience, SessionSetup: patience}
	r.listener().Routes = []Route{{From: prefixes("127.0.0.5/32"), Pool: pool}}
	r.run()
	garbage := make([]byte, size)
	before := int64(heapInUse())
	var senders sync.WaitGroup
	var done atomic.Int64
	r.flood(clients, func(int) *smtptest.Client {
		c := r.dialFrom("127.0.0.5")
		senders.Go(func() {
			_, _ = limited(t, c.Conn()).Write(garbage)
			done.Add(1)
		})
		return c
	}, func() error { return r.visit("127.0.0.3", "") })
	smtptest.Eventually(t, patience, func() bool { return slow.Active() == clients }, "every client waits for its relay")
	if grown := int64(heapInUse()) - before; grown > clients*16<<10 {
		t.Errorf("%d bytes more for each of %d clients", grown/clients, clients)
	}
	if n := done.Load(); n > 0 {
		t.Errorf("%d clients got rid of %d bytes before there was a greeting", n, size)
	}
	close(greet) // nobody is left: they read 421, or not
	senders.Wait()
	r.idle()
}

// Clients that take nothing of what their relay says hold it back, and are let go
// when they have done nothing for timeouts.idle.
func TestClientsThatDoNotReadAreIdle(t *testing.T) {
	const clients = 100
	more := []byte(strings.Repeat("250-more\r\n", 10_000))
	endless := smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		_, _ = io.WriteString(conn, plainGreeting)
		for {
			if _, err := conn.Write(more); err != nil {
				return
			}
		}
	}})
	r := floodRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	pool := newPool(t, "endless", endless.Addr())
	pool.Timeouts = Timeouts{Idle: 3 * time.Second}
	r.listener().Routes = []Route{{From: prefixes("127.0.0.5/32"), Pool: pool}}
	r.run()
	before := int64(heapInUse())
	r.flood(clients, func(int) *smtptest.Client { return r.dialFrom("127.0.0.5") },
		func() error { return r.visit("127.0.0.3", "") })
	grown := (int64(heapInUse()) - before) / clients
	t.Logf("%d bytes for each client that does not read", grown)
	if grown > bufferSize+32<<10 {
		t.Errorf("%d bytes for each client that does not read, want its buffer at most", grown)
	}
	r.idle()
	if st := r.Stats(); st.Ends[Idle] != clients {
		t.Errorf("ended as %v, want %d for being idle", st.Ends, clients)
	}
}

// Connections that nobody has accepted yet wait in a queue as long as the kernel
// allows, and are served in their turn: a flood of them is the kernel's affair
// (tcp(7), tcp_max_syn_backlog and tcp_syncookies).
func TestQueueOfAListenerIsAsLongAsTheKernelAllows(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	r := floodRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	r.addr = r.Addresses()[0]
	// Of a listening socket these two are the queue's length and its limit,
	// net/ipv4/tcp.c, tcp_get_info.
	info, err := unix.GetsockoptTCPInfo(r.listeners[0].fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	if got := uint64(info.Sacked); got != min(most, backlog) {
		t.Errorf("%d may wait, want %d", got, min(most, backlog))
	}
	var all []*smtptest.Client
	for range min(most, 300) {
		all = append(all, r.dial())
	}
	if st := r.Stats(); st.Open != 0 || st.Descriptors != 0 {
		t.Errorf("%d that wait hold %d sessions and %d descriptors", len(all), st.Open, st.Descriptors)
	}
	go func() { r.served <- r.Serve() }()
	t.Cleanup(r.checkEnd)
	for i, c := range all {
		if err := errors.Join(c.Send(smtptest.Outgoing{ID: fmt.Sprint("m", i), Size: 100}), c.Quit()); err != nil {
			t.Fatalf("client %d of the queue: %v", i, err)
		}
	}
}
