package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"smtplb/balancer"
	"smtplb/internal/smtptest"
)

// patience bounds the waits of tests that pass long before it.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server with one pool under test: backends a, b, c, ..., each a tier
// of its own, so that a is asked first and b only when a fails.
type rig struct {
	Server
	t      *testing.T
	addr   netip.AddrPort // of the first listener
	served chan error
	limit  int64 // of descriptors, in place of the machine's

	mu      sync.Mutex
	records []Record
	errs    []error
}

// newRig returns a rig that does not run yet: its fields may be changed until run.
func newRig(t *testing.T, relays ...netip.AddrPort) *rig {
	t.Helper()
	r := &rig{t: t, served: make(chan error, 1)}
	r.Listeners = []Listener{{
		Name:     "test",
		Address:  netip.MustParseAddrPort("127.0.0.1:0"),
		Allow:    prefixes("127.0.0.0/8", "::1/128"),
		Hostname: "lb.test",
		Pool:     newPool(t, "pool", relays...),
	}}
	r.Workers = 1
	r.OnSession = func(rec *Record) {
		own := *rec
		own.Attempts = slices.Clone(rec.Attempts)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.records = append(r.records, own)
	}
	r.OnError = func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.errs = append(r.errs, err)
	}
	return r
}

// newPool has backends that stay up whatever sessions say of them: what a
// session asks must not depend on the sessions before it. It never hedges.
func newPool(t *testing.T, name string, relays ...netip.AddrPort) *Pool {
	t.Helper()
	return hedgingPool(t, name, -1, relays...)
}

// hedgingPool is such a pool with relays that are late after a time.
func hedgingPool(t *testing.T, name string, after time.Duration, relays ...netip.AddrPort) *Pool {
	t.Helper()
	cfg := balancer.Config{Name: name, Fall: 1 << 30, Failures: 1 << 30, Hedge: after}
	p := &Pool{Timeouts: Timeouts{Greeting: 1500 * time.Millisecond}}
	for i, address := range relays {
		cfg.Backends = append(cfg.Backends, balancer.BackendConfig{
			Name: string(rune('a' + i)), Weight: 1, Priority: i, Site: "site-" + string(rune('a'+i)),
		})
		p.Targets = append(p.Targets, Target{Address: address})
	}
	b, err := balancer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.Balancer = b
	return p
}

// run starts the server; at the test's end everything must be given back.
func (r *rig) run() *rig {
	r.t.Helper()
	if err := r.Listen(); err != nil {
		r.t.Fatal(err)
	}
	r.addr = r.Addresses()[0]
	if r.limit > 0 {
		r.fdLimit.Store(r.limit)
	}
	go func() { r.served <- r.Serve() }()
	r.t.Cleanup(r.checkEnd)
	return r
}

// checkEnd stops the server and looks for what it has kept.
func (r *rig) checkEnd() {
	if err := r.Close(); err != nil {
		r.t.Errorf("Close: %v", err)
	}
	if err := <-r.served; !errors.Is(err, ErrServerClosed) {
		r.t.Errorf("Serve returned %v, want ErrServerClosed", err)
	}
	if st := r.Stats(); st.Open != 0 || st.Descriptors != 0 || st.Hedging != 0 {
		r.t.Errorf("after Serve %d sessions are open, %d hedge and %d descriptors are held, want none",
			st.Open, st.Hedging, st.Descriptors)
	}
	r.wantNoSlots()
}

func (r *rig) wantNoSlots() {
	r.t.Helper()
	for i := range r.Listeners {
		for _, b := range r.Listeners[i].Pool.Balancer.Snapshot(time.Now()) {
			if b.Active != 0 {
				r.t.Errorf("at the end %d sessions hold a slot on %s, want none", b.Active, b.Name)
			}
		}
	}
}

func (r *rig) listener() *Listener { return &r.Listeners[0] }

func (r *rig) dial() *smtptest.Client {
	r.t.Helper()
	return smtptest.Dial(r.t, r.addr.String())
}

// dialFrom connects from a local address, such as 127.0.0.2.
func (r *rig) dialFrom(local string) *smtptest.Client {
	r.t.Helper()
	c, err := smtptest.DialFrom(netip.MustParseAddr(local), r.addr.String(), patience)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

// raw is a connection whose every wait ends after patience.
func (r *rig) raw() *net.TCPConn {
	r.t.Helper()
	return limited(r.t, r.dial().Conn())
}

func limited(t *testing.T, conn *net.TCPConn) *net.TCPConn {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// ended waits for the n-th record.
func (r *rig) ended(n int) Record {
	r.t.Helper()
	var rec Record
	smtptest.Eventually(r.t, patience, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.records) < n {
			return false
		}
		rec = r.records[n-1]
		return true
	}, "session %d has not ended", n)
	return rec
}

// idle waits until no session is left.
func (r *rig) idle() {
	r.t.Helper()
	smtptest.Eventually(r.t, patience, func() bool { return r.Stats().Open == 0 }, "sessions are left")
}

func (r *rig) told(part string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.errs, func(err error) bool { return strings.Contains(err.Error(), part) })
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// outcomes is a record's attempts as "a refused, b ok".
func outcomes(rec Record) string {
	var parts []string
	for _, a := range rec.Attempts {
		parts = append(parts, a.Backend+" "+a.Outcome.String())
	}
	return strings.Join(parts, ", ")
}

const plainGreeting = "220 relay.test ESMTP\r\n"

func wantGreeting(t *testing.T, c *smtptest.Client, want string) {
	t.Helper()
	if got, err := c.Greeting(); got != want || err != nil {
		t.Fatalf("greeting %q (%v), want %q", got, err, want)
	}
}

// readAll reads up to the end of the connection, which must not be a reset.
func readAll(t *testing.T, conn net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("read %q, then %v, want the end of the connection", b, err)
	}
	return string(b)
}

// wantRead reads exactly the bytes of want.
func wantRead(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); string(got[:n]) != want {
		t.Fatalf("read %q (%v), want %q", got[:n], err, want)
	}
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("write %q: %v", text, err)
	}
}

// resets closes conn so that its peer sees a reset.
func resets(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	if err := errors.Join(conn.SetLinger(0), conn.Close()); err != nil {
		t.Fatal(err)
	}
}

// bare starts a relay that greets and then leaves the connection to f.
func bare(t *testing.T, f func(conn *net.TCPConn)) *smtptest.Relay {
	t.Helper()
	return smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		if _, err := io.WriteString(conn, plainGreeting); err == nil {
			f(conn.(*net.TCPConn))
		}
	}})
}

func wantEnd(t *testing.T, rec Record, want End) {
	t.Helper()
	if rec.End != want {
		t.Errorf("the session's end is %v, want %v (%s)", rec.End, want, fmt.Sprintf("%+v", rec))
	}
}
