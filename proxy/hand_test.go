package proxy

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// hand is an event loop whose clock stands still until the test moves it, so
// that minutes pass in no time. The test turns it; nothing else runs in it.
type hand struct {
	*loop
	r *rig
	t *testing.T
}

// byHand readies the rig's server and one loop, and runs neither.
func (r *rig) byHand() *hand {
	r.t.Helper()
	if err := r.Listen(); err != nil {
		r.t.Fatal(err)
	}
	r.addr = r.Addresses()[0]
	l, err := newLoop(&r.Server)
	if err != nil {
		r.t.Fatal(err)
	}
	r.accepting.Add(1)
	h := &hand{loop: l, r: r, t: r.t}
	r.t.Cleanup(func() {
		l.stop()
		l.close()
		r.closeListeners()
		if st := r.Stats(); st.Open != 0 || st.Descriptors != 0 || st.Hedging != 0 {
			r.t.Errorf("after stop %d sessions are open, %d hedge and %d descriptors are held, want none",
				st.Open, st.Hedging, st.Descriptors)
		}
		r.wantNoSlots()
	})
	return h
}

// until turns the loop, its clock standing still, until cond holds.
func (h *hand) until(cond func() bool, what string) {
	h.t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			h.t.Fatalf("not within %v: %s", patience, what)
		}
		events, err := h.poller.Wait(5 * time.Millisecond)
		if err != nil {
			h.t.Fatal(err)
		}
		h.turn(events)
	}
}

// pass moves the clock and has the deadlines looked at. It goes in steps, as a
// deadline may set another.
func (h *hand) pass(d time.Duration) {
	for d > 0 {
		step := min(d, max(granularity, d/64))
		d -= step
		h.ns += int64(step)
		h.now = h.now.Add(step)
		h.turn(nil)
	}
}

// in is the first session in that state.
func (h *hand) in(want state) (found *session) {
	h.sessions.each(func(s *session) {
		if s.state == want && found == nil {
			found = s
		}
	})
	return found
}

// reach turns the loop until a session is in that state.
func (h *hand) reach(want state) *session {
	h.t.Helper()
	h.until(func() bool { return h.in(want) != nil }, "a session in the state wanted")
	return h.in(want)
}

// greeted is a client that has its greeting, and its session.
func (h *hand) greeted() (*smtptest.Client, *session) {
	h.t.Helper()
	c := h.r.dial()
	s := h.reach(stateRelaying)
	wantGreeting(h.t, c, plainGreeting)
	// What the client has not acknowledged yet is not its turn.
	h.until(func() bool { return unsent(s.client) == 0 }, "the greeting acknowledged")
	return c, s
}

// exchange sends a line to the relay and waits for its reply to go down.
func (h *hand) exchange(c *smtptest.Client, s *session, line string) {
	h.t.Helper()
	before := s.down.bytes
	send(h.t, c.Conn(), line+"\r\n")
	h.until(func() bool { return s.down.bytes > before && unsent(s.client) == 0 }, "a reply to "+line)
	if _, _, err := c.ReadReply(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hand) gone() bool { return h.sessions.used == 0 }

func (h *hand) records() int {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	return len(h.r.records)
}

// broken waits until the kernel knows that fd's peer has reset the connection,
// and leaves the error where it is.
func broken(t *testing.T, fd int) {
	t.Helper()
	smtptest.Eventually(t, patience, func() bool {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		_, err := unix.Poll(fds, 0)
		return err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	}, "no reset arrives")
}

// received is the number of bytes that conn has received and nobody has read.
func received(conn *net.TCPConn) (n int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1
	}
	if err := raw.Control(func(fd uintptr) { n = inQueue(int(fd)) }); err != nil {
		return -1
	}
	return n
}

// inQueue is the number of bytes that wait in fd to be read.
func inQueue(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return -1
	}
	return n
}

// deafAddress is where connections are neither accepted nor refused: the
// listening queue is full and the kernel drops what comes.
func deafAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	address := localAddr(fd)
	smtptest.Dial(t, address.String()) // takes the one place there is
	return address
}

// eventfds opens n descriptors of which one can tell that something was
// written to them.
func eventfds(t *testing.T, n int) []int {
	t.Helper()
	var fds []int
	for range n {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		fds = append(fds, fd)
	}
	return fds
}

func inEventfd(fd int) int {
	var b [8]byte
	if n, err := unix.Read(fd, b[:]); err != nil || n != len(b) {
		return 0
	}
	return int(b[0])
}
