package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// meter is a relay that greets and then waits, and knows how many sessions it had
// at most at one time.
type meter struct {
	listener net.Listener
	tasks    sync.WaitGroup

	mu    sync.Mutex
	limit int
	open  map[net.Conn]bool
	most  int
	over  int // times that it had more than the limit, for longer than a close takes to be read
}

func startMeter(t *testing.T, limit int) *meter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{listener: l, limit: limit, open: map[net.Conn]bool{}}
	m.tasks.Go(m.accept)
	t.Cleanup(func() {
		_ = l.Close()
		m.mu.Lock()
		for c := range m.open {
			_ = c.Close()
		}
		m.mu.Unlock()
		m.tasks.Wait()
	})
	return m
}

func (m *meter) addr() netip.AddrPort { return m.listener.Addr().(*net.TCPAddr).AddrPort() }

func (m *meter) accept() {
	for {
		c, err := m.listener.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		m.open[c] = true
		m.most = max(m.most, len(m.open))
		full := len(m.open) > m.limit
		m.mu.Unlock()
		if full {
			m.tasks.Go(m.doubt)
		}
		m.tasks.Go(func() { m.serve(c) })
	}
}

func (m *meter) serve(c net.Conn) {
	_, _ = c.Write([]byte("220 meter ESMTP\r\n"))
	for b := make([]byte, 512); ; {
		if _, err := c.Read(b); err != nil {
			break
		}
	}
	_ = c.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, c)
}

// doubt looks whether there are too many still once what was closed has been read.
func (m *meter) doubt() {
	for range 50 {
		if m.count() <= m.limit {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over++
}

func (m *meter) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.open)
}

// hold fails the test if there ever were more than the limit.
func (m *meter) hold(t *testing.T, when string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over > 0 {
		t.Fatalf("%s: the relay had %d sessions, and takes %d", when, m.most, m.limit)
	}
	t.Logf("%s: the relay has %d sessions, and had %d at most", when, len(m.open), m.most)
}

// together are balancers that share limits, each at an address of its own.
type together struct {
	all     []*process
	sites   []site
	command [][]string // how each is started
	held    [][]*smtptest.Client
}

// agreeing starts n balancers with the pool of s, each with the rest of s too.
func agreeing(t *testing.T, n int, s site) *together {
	t.Helper()
	dir := t.TempDir()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	file := filepath.Join(dir, "key")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(secret)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var binds []string
	for i := range n {
		binds = append(binds, fmt.Sprintf("%q", freeAddress(t, fmt.Sprintf("127.0.0.%d", 11+i))))
	}
	g := &together{held: make([][]*smtptest.Client, n)}
	for i := range n {
		peers := append(append([]string{}, binds[:i]...), binds[i+1:]...)
		own := s
		own.rest += fmt.Sprintf("cluster: {bind: %s, peers: [%s], key_file: %q}\n", binds[i], strings.Join(peers, ", "), file)
		own.address, own.admin = freeAddress(t, "127.0.0.1").String(), freeAddress(t, "127.0.0.1").String()
		state := filepath.Join(dir, fmt.Sprint("state", i))
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		g.sites = append(g.sites, own)
		g.command = append(g.command, []string{"env", "STATE_DIRECTORY=" + state, raced})
		g.all = append(g.all, startProgram(t, own, g.command[i]...))
	}
	t.Cleanup(func() {
		for i := range g.held {
			g.close(i, len(g.held[i]))
		}
	})
	for i := range n {
		g.meet(t, i)
	}
	return g
}

// meet waits until a balancer has said of all others that they are in reach.
func (g *together) meet(t *testing.T, i int) {
	t.Helper()
	smtptest.Eventually(t, patience, func() bool {
		return len(g.all[i].logged(t, "cluster: in reach")) >= len(g.all)-1
	}, "balancer %d has met its peers", i)
}

// try opens a session by a balancer, and keeps it if there was a relay for it.
func (g *together) try(t *testing.T, i int) bool {
	t.Helper()
	c, err := smtptest.DialTimeout(g.all[i].address, patience)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Greeting()
	if err == nil {
		g.held[i] = append(g.held[i], c)
		return true
	}
	c.Close()
	var refused *smtptest.ReplyError
	if !errors.As(err, &refused) || refused.Code != 421 {
		t.Fatal(err)
	}
	return false
}

// fill opens sessions until a balancer has so many.
func (g *together) fill(t *testing.T, i, want int) {
	t.Helper()
	smtptest.Eventually(t, patience, func() bool {
		for len(g.held[i]) < want && g.try(t, i) {
		}
		return len(g.held[i]) >= want
	}, "balancer %d has %d sessions", i, want)
}

// grab opens as many sessions as balancers take, and again for a while.
func (g *together) grab(t *testing.T, balancers ...int) {
	t.Helper()
	for range 20 {
		for _, i := range balancers {
			for n := 0; n < 50 && g.try(t, i); n++ { // more than any limit here
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// close ends sessions of a balancer.
func (g *together) close(i, n int) {
	for _, c := range g.held[i][:n] {
		c.Close()
	}
	g.held[i] = g.held[i][n:]
}

// quotas is how many sessions all balancers may have at their one relay.
func (g *together) quotas(t *testing.T) (sum int) {
	t.Helper()
	for _, p := range g.all {
		limits := p.shown(t).Cluster.Limits
		if len(limits) != 1 {
			t.Fatalf("limits %+v, want one", limits)
		}
		sum += limits[0].Quota
	}
	return sum
}

// kill kills a balancer and waits until the others know.
func (g *together) kill(t *testing.T, i int) {
	t.Helper()
	p := g.all[i]
	g.silence(t, i, syscall.SIGKILL)
	p.waitExit(t)
	p.status = 0 // as it was meant
	g.close(i, len(g.held[i]))
}

// silence sends a signal to a balancer, and waits until the others miss it.
func (g *together) silence(t *testing.T, i int, s syscall.Signal) {
	t.Helper()
	before := make([]int, len(g.all))
	for j, p := range g.all {
		before[j] = len(p.logged(t, "cluster: out of reach"))
	}
	g.all[i].signal(s)
	for j, p := range g.all {
		if j != i {
			smtptest.Eventually(t, patience, func() bool { return len(p.logged(t, "cluster: out of reach")) > before[j] }, "balancer %d misses %d", j, i)
		}
	}
}

func (g *together) restart(t *testing.T, i int) {
	t.Helper()
	g.all[i] = startProgram(t, g.sites[i], g.command[i]...)
	g.meet(t, i)
}

// sharing is a pool of one relay that takes so many sessions, and is checked elsewhere.
func sharing(t *testing.T, m *meter) site {
	t.Helper()
	checked := smtptest.Start(t, smtptest.Script{})
	return site{
		backends: []string{backend("relay", m.addr(), fmt.Sprint("max_sessions: ", m.limit))},
		pool: fmt.Sprintf("probe: {address: %q, interval: 1s, timeout: 5s, fall: 10}\npassive: {failures: 1000}\ntimeouts: {hedge: off}\n",
			checked.Addr()),
	}
}

// One relay takes 30 sessions, and three balancers share it. Load is uneven, a
// balancer is killed and started again, one stands still, limits are changed: the
// relay never has more, and what nobody else uses may be used.
func TestBalancersShareALimit(t *testing.T) {
	t.Parallel()
	m := startMeter(t, 30)
	g := agreeing(t, 3, sharing(t, m))

	g.fill(t, 0, 20) // a third is its own
	g.grab(t, 0, 1, 2)
	m.hold(t, "one has more than its share")
	if len(g.held[0]) < 20 || len(g.held[1]) < 1 || len(g.held[2]) < 1 {
		t.Errorf("sessions: %d, %d and %d", len(g.held[0]), len(g.held[1]), len(g.held[2]))
	}

	g.close(0, len(g.held[0])-4)
	g.fill(t, 1, 10) // what was lent is back
	g.grab(t, 0, 1, 2)
	m.hold(t, "another has its share back")

	g.kill(t, 0)
	g.grab(t, 1, 2)
	m.hold(t, "one was killed")
	g.close(1, len(g.held[1]))
	g.close(2, len(g.held[2]))
	g.restart(t, 0)
	g.grab(t, 1, 0, 2)
	g.fill(t, 0, 7)
	m.hold(t, "it was started again")

	for i := range 3 {
		g.close(i, len(g.held[i]))
	}
	g.fill(t, 2, 18)
	g.silence(t, 2, syscall.SIGSTOP)
	g.grab(t, 0, 1)
	m.hold(t, "one stands still")
	if n := len(g.held[0]) + len(g.held[1]); n == 0 {
		t.Error("the others take no session while one stands still")
	}
	g.all[2].signal(syscall.SIGCONT)
	g.grab(t, 2, 0, 1)
	m.hold(t, "it goes on")

	for i := range 3 {
		g.close(i, len(g.held[i]))
	}
	smtptest.Eventually(t, patience, func() bool { return m.count() == 0 }, "all sessions are over")
	m.mu.Lock()
	m.limit = 9
	m.mu.Unlock()
	for i, p := range g.all {
		text := strings.Replace(g.sites[i].text(), "max_sessions: 30", "max_sessions: 9", 1)
		p.reloadText(t, text, "reloaded", func() { p.signal(syscall.SIGHUP) })
	}
	smtptest.Eventually(t, patience, func() bool { return g.quotas(t) <= 9 }, "what was lent of the former limit is back")
	g.fill(t, 1, 5)
	g.grab(t, 0, 1, 2)
	m.hold(t, "another limit")
}

// A process that was replaced has sessions yet, and they count.
func TestSessionsOfAReplacedProcessCount(t *testing.T) {
	t.Parallel()
	m := startMeter(t, 20)
	g := agreeing(t, 2, sharing(t, m))
	p := &succession{process: g.all[0], reaped: map[int]bool{}}
	p.pids = []int{p.cmd.Process.Pid}
	t.Cleanup(func() { p.end(t) })
	g.fill(t, 0, 12)
	for n := range 2 {
		p.upgrade(t)
		g.grab(t, 0, 1)
		m.hold(t, fmt.Sprintf("after upgrade %d", n+1))
	}
	g.close(0, len(g.held[0]))
	g.fill(t, 0, 5) // of which the old ones keep nothing
	g.grab(t, 1, 0)
	m.hold(t, "the old ones have ended")
	for i := range 2 {
		g.close(i, len(g.held[i]))
	}
}

// Of sessions that keep the standby warm each hour has so many, and not as many
// from each balancer.
func TestBalancersKeepTheStandbyWarmTogether(t *testing.T) {
	t.Parallel()
	hq, dr := named(t, "hq"), named(t, "dr")
	g := agreeing(t, 2, site{
		backends: []string{backend("hq", hq.Addr()), backend("dr", dr.Addr(), "priority: 1")},
		pool: "timeouts: {hedge: off}\nprobe: {interval: 1s, timeout: 3s, fall: 10}\n" +
			"failover: {keep_warm: {min_per_hour: 2}}\n",
	})
	hold(t, g.all[0].address, 1, 20)
	if n := shares(g.all[0].sessions(t, 20))["dr"]; n != 1 {
		t.Errorf("%d of 20 sessions kept the standby warm, want the one that was due", n)
	}
	smtptest.Eventually(t, patience, func() bool {
		return !g.all[1].shown(t).Pools[0].Tiers[1].LastSession.IsZero()
	}, "the other balancer knows of the session")
	hold(t, g.all[1].address, 1, 20)
	if n := shares(g.all[1].sessions(t, 20))["dr"]; n != 0 {
		t.Errorf("%d of 20 sessions of the other balancer kept the standby warm, want none: one is enough", n)
	}
}

// Who leaves says so, who has another key is refused, and whoever wants an address
// that is taken is told.
func TestAStrangerIsRefused(t *testing.T) {
	t.Parallel()
	hq := named(t, "hq")
	g := agreeing(t, 2, site{backends: []string{backend("hq", hq.Addr(), "max_sessions: 4")}})
	own := g.sites[1]
	g.all[1].signal(syscall.SIGTERM)
	g.all[1].waitExit(t)
	left := g.all[0].waitLine(t, "cluster: left", nil)
	if !strings.Contains(own.rest, left.text("peer")) || left.text("share") != "1/2" {
		t.Errorf("it says %v", left)
	}
	before, _, _ := strings.Cut(own.rest, "key_file: ")
	own.rest = before + fmt.Sprintf("key_file: %q}\n", writeFile(t, "key", base64.StdEncoding.EncodeToString(make([]byte, 16))))
	stranger := startProgram(t, own, raced)
	for _, p := range []*process{stranger, g.all[0]} {
		smtptest.Eventually(t, patience, func() bool {
			return strings.Contains(p.stderr(), "has another key than cluster.key_file here")
		}, "a line that the keys are not the same")
	}
	stranger.waitLine(t, "cluster: out of reach", nil)

	third := g.sites[0]
	third.address, third.admin = freeAddress(t, "127.0.0.1").String(), freeAddress(t, "127.0.0.1").String()
	p := launch(t, nil, nil, raced, "run", "--config", writeFile(t, "taken.yaml", third.text()))
	if status := p.waitExit(t); status != 1 || !strings.Contains(p.stderr(), "cluster.bind: ") || !strings.Contains(p.stderr(), "address already in use") {
		t.Errorf("status %d: %s", status, p.stderr())
	}
	p.status = 0
}
