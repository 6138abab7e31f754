package proxy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// Sessions end in every way there is, many at a time. Nothing of them may stay:
// no descriptor, slot, place or goroutine.
func TestTwoThousandSessionsLeaveNothingBehind(t *testing.T) {
	smtptest.CheckDescriptors(t)
	good := smtptest.Start(t, smtptest.Script{})
	resetting := bare(t, resetNow)
	busy := smtptest.Start(t, smtptest.Script{Greeting: "450 4.7.1 no\r\n"})
	down := smtptest.Start(t, smtptest.Script{})
	down.StopListening()
	r := newRig(t, busy.Addr(), down.Addr(), good.Addr())
	l := r.listener()
	l.MaxSessionsPerClient = 1 << 20
	l.Deny = prefixes("127.0.0.9/32")
	l.AcceptProxy = prefixes("127.0.0.8/32")
	l.Routes = []Route{
		{From: prefixes("127.0.0.7/32"), Pool: newPool(t, "resetting", resetting.Addr())},
		{From: prefixes("127.0.0.6/32"), Pool: newPool(t, "none", down.Addr(), busy.Addr())},
	}
	r.Workers = 2
	r.run()
	if err := r.session(0); err != nil { // so that every loop is there to be counted
		t.Fatal(err)
	}
	r.idle()
	goroutines := runtime.NumGoroutine()

	const workers, each = 8, 250
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range each {
				if err := r.session(1 + w*each + i); err != nil {
					t.Errorf("session %d: %v", w*each+i, err)
					return
				}
			}
		})
	}
	all.Wait()
	r.idle()
	st := r.Stats()
	if st.Accepted != 1+workers*each {
		t.Errorf("%d connections, want %d", st.Accepted, 1+workers*each)
	}
	var ends int64
	for _, n := range st.Ends {
		ends += n
	}
	if ends != st.Accepted {
		t.Errorf("%d ends of %d sessions: %v", ends, st.Accepted, st.Ends)
	}
	if pipes := int64(2 * 2 * spareMost); st.Descriptors > pipes {
		t.Errorf("%d descriptors are held, at most %d may be, in pipes", st.Descriptors, pipes)
	}
	for _, p := range []*Pool{l.Pool, l.Routes[0].Pool, l.Routes[1].Pool} {
		for _, b := range p.Balancer.Snapshot(time.Now()) {
			if b.Active != 0 {
				t.Errorf("%d slots are taken on %s of %s", b.Active, b.Name, p.Balancer.Name())
			}
		}
	}
	if n := r.listeners[0].open.Load(); n != 0 || len(r.listeners[0].clients) != 0 {
		t.Errorf("%d places are taken, by %d clients", n, len(r.listeners[0].clients))
	}
	smtptest.Eventually(t, patience, func() bool { return runtime.NumGoroutine() <= goroutines },
		"%d goroutines, %d before the sessions", runtime.NumGoroutine(), goroutines)
}

// session is one of several kinds, by its number; the error is of those that
// must work.
func (r *rig) session(n int) error {
	from := map[int]string{3: "127.0.0.9", 4: "127.0.0.8", 5: "127.0.0.7", 6: "127.0.0.6"}[n%9]
	if from == "" {
		from = "127.0.0.1"
	}
	c, err := smtptest.DialFrom(netip.MustParseAddr(from), r.addr.String(), patience)
	if n%9 == 5 && errors.Is(err, unix.ECONNRESET) {
		return nil // the reset was here before dial had looked
	}
	if err != nil {
		return err
	}
	defer c.Close()
	switch n % 9 {
	case 0, 1:
		if err := c.Send(smtptest.Outgoing{ID: "m", Size: 2000}); err != nil {
			return err
		}
		return c.Quit()
	case 2: // gone without a word
		_, err := c.Greeting()
		return err
	case 4: // half a PROXY header
		_, err := io.WriteString(c.Conn(), "PROXY TCP4")
		return err
	case 7: // reset in the middle
		if _, err := c.Greeting(); err != nil {
			return err
		}
		return c.Conn().SetLinger(0)
	case 8: // reset before anything
		return c.Conn().SetLinger(0)
	default: // refused, or reset by the relay: whatever comes, and then the end
		_, _ = io.Copy(io.Discard, c.Conn())
		return nil
	}
}

func resetNow(conn *net.TCPConn) { _ = conn.SetLinger(0) }

// A thousand idle sessions at once: each costs two descriptors and no goroutine.
func TestAThousandIdleSessionsCostNoGoroutine(t *testing.T) {
	smtptest.CheckDescriptors(t)
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.Workers = 2
	r.run()
	goroutines := runtime.NumGoroutine()
	const n = 1000
	clients := make([]*smtptest.Client, n)
	for i := range clients {
		clients[i] = r.dial()
		wantGreeting(t, clients[i], plainGreeting)
	}
	if st := r.Stats(); st.Open != n || st.Descriptors != 2*n {
		t.Errorf("%d sessions, %d descriptors, want %d and twice as many", st.Open, st.Descriptors, n)
	}
	if got := runtime.NumGoroutine() - goroutines; got > n+10 { // the relay has one for each
		t.Errorf("%d goroutines more for %d sessions, of which the relay has one each", got, n)
	}
	for _, c := range clients { // each still works
		if code, _, err := c.Cmd("NOOP"); code != 250 || err != nil {
			t.Fatalf("NOOP: %d %v", code, err)
		}
		c.Close()
	}
	r.idle()
}
