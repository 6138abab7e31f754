package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// heldSessions are open and silent, by the balancer that has them.
type heldSessions map[*birdNode][]*smtptest.Client

// hold begins sessions, over IPv4 and IPv6, until each balancer has as many as
// wanted; some have a few more.
func (l *birdLab) hold(t *testing.T, h heldSessions, want int, nodes ...*birdNode) {
	t.Helper()
	targets := []struct{ from, to string }{{birdHolds, birdVIP}, {birdHolds6, birdVIP6}}
	for try := range 100 * len(nodes) {
		least := want
		for _, n := range nodes {
			least = min(least, len(h[n]))
		}
		if least >= want {
			return
		}
		leave, err := smtptest.EnterNetwork("/run/netns/" + l.ns("world"))
		if err != nil {
			t.Fatal(err)
		}
		target := targets[try%len(targets)]
		client, err := smtptest.DialFrom(netip.MustParseAddr(target.from), net.JoinHostPort(target.to, "25"), patience)
		if err := leave(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		l.all = append(l.all, client)
		if code, text, err := client.Cmd("EHLO held.test"); err != nil || code != 250 {
			t.Fatalf("EHLO: %d %s %v", code, text, err)
		}
		at := l.at(t, client)
		if len(at) != 1 {
			client.Close()
			continue
		}
		h[at[0]] = append(h[at[0]], client)
	}
	t.Fatalf("not every balancer has %d sessions", want)
}

// at are the balancers that have a session of a client's address: the one that has
// the client, and any where an earlier client of the same port left one when the routers
// moved it.
func (l *birdLab) at(t *testing.T, client *smtptest.Client) (nodes []*birdNode) {
	t.Helper()
	for _, n := range l.nodes {
		if n.smtplb != nil && n.sessions(t)[client.Conn().LocalAddr().String()] {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// broken tells of each held session of a balancer that does not go on, with what the
// balancer's log has of it; they are no longer held then.
func (h heldSessions) broken(n *birdNode) (stories []string) {
	var alive []*smtptest.Client
	for _, client := range h[n] {
		code, _, err := client.Cmd("NOOP")
		if err == nil && code == 250 {
			alive = append(alive, client)
			continue
		}
		address := client.Conn().LocalAddr().String()
		story := fmt.Sprintf("%s %s: %d %v", time.Now().Format("15:04:05.000"), address, code, err)
		for line := range strings.Lines(n.smtplb.log.text()) {
			if strings.Contains(line, `"`+address+`"`) {
				story += "\n\t" + strings.TrimSpace(line)
			}
		}
		stories = append(stories, story)
		client.Close()
	}
	h[n] = alive
	return stories
}

// quit ends those of a balancer in order.
func (h heldSessions) quit(t *testing.T, n *birdNode) {
	t.Helper()
	for _, client := range h[n] {
		if err := client.Quit(); err != nil {
			t.Error(err)
		}
		client.Close()
	}
	h[n] = nil
}

// birdCase is something that happens to one balancer while mail flows through all.
type birdCase struct {
	name   string
	happen func(t *testing.T, l *birdLab, n *birdNode)
	gone   bool // it is announced no more, and comes back afterwards
	gentle bool // nothing is cut and nothing refused, at this one neither
	back   func(t *testing.T, l *birdLab, n *birdNode)
}

func birdCases() []birdCase {
	link := func(t *testing.T, l *birdLab, n *birdNode, state string) {
		t.Helper()
		ip(t, "-n", l.ns("router"), "link", "set", "front-"+n.name, state)
	}
	return []birdCase{
		{
			name: "smtplb is killed", gone: true,
			happen: func(_ *testing.T, _ *birdLab, n *birdNode) { n.smtplb.signal(syscall.SIGKILL) },
		},
		{
			name: "a balancer is drained, with a handover", gone: true, gentle: true,
			happen: func(t *testing.T, l *birdLab, n *birdNode) { l.handOver(t, n, "add"); n.announce.stop(t) },
			back: func(t *testing.T, l *birdLab, n *birdNode) { // as docs/ecmp.md has it
				smtptest.Eventually(t, patience, func() bool { return len(n.sessions(t)) == 0 }, "its last session has ended")
				n.smtplb.stop(t)
				l.handOver(t, n, "delete")
			},
		},
		{
			name: "a balancer is drained, without", gone: true,
			happen: func(t *testing.T, _ *birdLab, n *birdNode) { n.announce.stop(t) },
		},
		{
			name: "smtplb drains by itself (SIGTERM)", gone: true,
			happen: func(_ *testing.T, _ *birdLab, n *birdNode) { n.smtplb.signal(syscall.SIGTERM) },
			back: func(t *testing.T, _ *birdLab, n *birdNode) {
				smtptest.Eventually(t, patience, func() bool { return !n.smtplb.runs() }, "it has drained")
			},
		},
		{
			name: "smtplb hangs", gone: true,
			happen: func(_ *testing.T, _ *birdLab, n *birdNode) { n.smtplb.signal(syscall.SIGSTOP) },
			back:   func(_ *testing.T, _ *birdLab, n *birdNode) { n.smtplb.signal(syscall.SIGCONT) },
		},
		{
			name: "the announcer is killed, and started again", gentle: true,
			happen: func(t *testing.T, _ *birdLab, n *birdNode) {
				n.announce.signal(syscall.SIGKILL)
				<-n.announce.done
				n.start(t)
			},
		},
		{
			name: "the announcer is killed, and not started again", gone: true,
			happen: func(_ *testing.T, _ *birdLab, n *birdNode) { n.announce.signal(syscall.SIGKILL) },
		},
		{
			name: "BIRD is killed", gone: true,
			happen: func(_ *testing.T, _ *birdLab, n *birdNode) { n.bird.killAll() },
		},
		{
			name: "the router's BIRD and smtplb-ecmp are killed, and started again", gentle: true,
			happen: func(t *testing.T, l *birdLab, _ *birdNode) {
				l.router.killAll()
				l.ecmp.killAll()
				<-l.router.done
				l.startRouter(t)
				smtptest.Eventually(t, patience, func() bool {
					text, _ := exec.Command("birdc", "-s", filepath.Join(l.dir, "router.ctl"), "show", "protocols").Output() // it may not listen yet
					return strings.Count(string(text), "Established") == 6
				}, "BIRD knows all balancers again")
			},
		},
		{
			name: "the machine's link is cut", gone: true,
			happen: func(t *testing.T, l *birdLab, n *birdNode) { link(t, l, n, "down") },
			back:   func(t *testing.T, l *birdLab, n *birdNode) { link(t, l, n, "up") },
		},
	}
}

// birdHeld is how many sessions each balancer holds open at least in each case, and
// birdMessages how many are sent meanwhile.
const (
	birdHeld     = 5
	birdMessages = 450
)

// Whatever happens to one of three balancers that routers know by BGP, no session of
// the others breaks, and no message is lost. What breaks at the one that it happens
// to, and how long new sessions fail, is logged, and stands in docs/ecmp.md.
func TestSeveralBalancersAnnounceAnAddress(t *testing.T) {
	t.Parallel()
	l := newBirdLab(t, 4)
	t.Cleanup(func() { l.end(t) })
	three := l.nodes[:3]
	for _, n := range three {
		n.start(t)
	}
	l.converged(t, three...)
	prober := l.probe(t)
	prober.good(t, 20, "220")
	h := heldSessions{}
	for i, c := range birdCases() {
		t.Run(c.name, func(t *testing.T) { c.run(t, l, h, prober, i%len(three)) })
	}
	t.Run("one is added", func(t *testing.T) { addOne(t, l, h, prober) })
	t.Logf("messages twice, in all cases together: %d (RFC 1047)", l.copies(t))
}

func (c *birdCase) run(t *testing.T, l *birdLab, h heldSessions, prober *haProber, which int) {
	three := l.nodes[:3]
	n, others := three[which], append(append([]*birdNode{}, three[:which]...), three[which+1:]...)
	l.hold(t, h, birdHeld, three...)
	before, known := map[*birdNode]int{}, map[*birdNode]map[string]bool{}
	for _, o := range three {
		before[o], known[o] = len(h[o]), o.sessions(t)
	}
	source := l.source(t, birdMessages)
	prober.good(t, 40, "220") // while mail flows
	began := time.Now()
	c.happen(t, l, n)
	if c.gone {
		l.converged(t, others...)
	}
	moved := time.Since(began)
	prober.good(t, 50, "220")
	took, failed := prober.outage(began, "220")
	cut, refused, unsure := l.sent(t, source, birdMessages)
	for _, o := range others {
		if broken := h.broken(o); len(broken) > 0 {
			t.Errorf("of %d sessions there broke at %s, to which nothing happened:\n%s", before[o], o.name, strings.Join(broken, "\n"))
		}
	}
	noOrphans(t, known, others...)
	broken := len(h.broken(n))
	// Not the probes: a tenth of a second is all that they wait.
	if c.gentle && int64(broken)+cut+refused+unsure > 0 {
		t.Errorf("sessions broken %d, cut %d, not begun %d, want none", broken, cut, refused)
	}
	t.Logf("%s: routers have moved after %d ms; new sessions read 220 after %d ms (%d of the probes failed); "+
		"idle sessions broken: at the others 0 of %d, there %d of %d; with mail: cut %d, not begun %d; messages lost 0",
		c.name, moved.Milliseconds(), took.Milliseconds(), failed, before[others[0]]+before[others[1]], broken, before[n], cut, refused)
	if c.gentle {
		h.quit(t, n)
	}
	if c.back != nil {
		c.back(t, l, n)
	}
	n.start(t)
	l.converged(t, three...)
	prober.good(t, 20, "220")
	for _, o := range others {
		if broken := h.broken(o); len(broken) > 0 {
			t.Errorf("there broke at %s, when %s came back:\n%s", o.name, n.name, strings.Join(broken, "\n"))
		}
	}
	h.broken(n)
}

// noOrphans waits until balancers have no session that they had not before: the
// packets of one that stays go elsewhere.
func noOrphans(t *testing.T, known map[*birdNode]map[string]bool, nodes ...*birdNode) {
	t.Helper()
	for _, n := range nodes {
		smtptest.Eventually(t, patience, func() bool {
			for client := range n.sessions(t) {
				if !known[n][client] {
					return false
				}
			}
			return true
		}, "%s has no session that nobody is at the other end of", n.name)
	}
}

// addOne adds a fourth balancer: no session breaks, and it gets new ones.
func addOne(t *testing.T, l *birdLab, h heldSessions, prober *haProber) {
	three, fourth := l.nodes[:3], l.nodes[3]
	l.hold(t, h, birdHeld, three...)
	known := map[*birdNode]map[string]bool{}
	for _, n := range three {
		known[n] = n.sessions(t)
	}
	source := l.source(t, birdMessages)
	prober.good(t, 40, "220")
	began := time.Now()
	fourth.start(t)
	l.converged(t, l.nodes...)
	prober.good(t, 50, "220")
	took, failed := prober.outage(began, "220")
	cut, refused, unsure := l.sent(t, source, birdMessages)
	broken, all := 0, 0
	for _, n := range three {
		all += len(h[n])
		broken += len(h.broken(n))
	}
	noOrphans(t, known, three...)
	if int64(broken)+cut+refused+unsure > 0 {
		t.Errorf("sessions broken %d of %d, cut %d, not begun %d, want none", broken, all, cut, refused)
	}
	t.Logf("one is added: new sessions read 220 after %d ms (%d of the probes failed); idle sessions broken 0 of %d; "+
		"with mail: cut 0, not begun 0; messages lost 0", took.Milliseconds(), failed, all)
	l.hold(t, h, 1, fourth) // fails if new ones never come to it
}
