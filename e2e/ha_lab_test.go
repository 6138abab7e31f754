package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// Two balancers in network namespaces of their own, with real keepalived:
//
//	world: a client, on the switch "front", and relays, on the switch "back"
//	a, b:  a balancer each, eth0 to front and eth1 to back
//
// Nothing outside is touched: the names have this process's ID in them, and are
// removed at the end; those of a run that was killed, at the next start.

const (
	haVIP     = "10.99.0.25"
	haVIP6    = "fd00:99::25"
	haPrefix  = "smtplb-ha-"
	haControl = "127.0.0.1:2690" // of the sink, in world
)

// haLab is one such network.
type haLab struct {
	prefix string   // of the namespaces' names
	dir    string   // only root may write there: keepalived runs nothing from elsewhere
	spaces []string // the namespaces, but for the prefix
	vip    string   // what clients connect to
	nodes  [2]*haNode
	sink   *haProcess

	probesFrom netip.Addr // zero: as the kernel has it
}

// haNode is one balancer.
type haNode struct {
	lab                *haLab
	name, own, peer    string
	program, config    string
	smtplb, keepalived *haProcess
}

// What makes a node's own address of its number, 11 or 12.
const (
	haIPv4 = "10.99.0.%d"
	haIPv6 = "fd00:99::%d"
)

// newHALab makes the network and starts everything; one of the nodes has the
// VIPs when it returns. The nodes hear each other at addresses of one family.
// The flags are of ha keepalived, for both nodes.
func newHALab(t *testing.T, own string, flags ...string) *haLab {
	t.Helper()
	l := newLab(t, haVIP, []string{"world", "a", "b"}, "nft", "keepalived")
	l.network(t)
	l.startSink(t)
	for i, name := range []string{"a", "b"} {
		l.nodes[i] = l.newNode(t, name, fmt.Sprintf(own, 11+i), fmt.Sprintf(own, 12-i))
		l.nodes[i].start(t, flags)
	}
	l.holder(t)
	return l
}

// newLab makes the namespaces, with nothing in them.
func newLab(t *testing.T, vip string, spaces []string, programs ...string) *haLab {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "network namespaces and routing need root")
	}
	find(t, "ip")
	for _, program := range programs {
		find(t, program)
	}
	removeOldHA(t)
	dir, err := os.MkdirTemp("/run", fmt.Sprintf("%s%d-", haPrefix, os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	l := &haLab{prefix: filepath.Base(dir) + "-", dir: dir, spaces: spaces, vip: vip}
	t.Cleanup(func() { l.remove(t) })
	// cp, as the program must not be open for writing in this process while another
	// test forks: it could not be run then.
	if out, err := exec.Command("cp", released, filepath.Join(dir, "smtplb")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, ns := range spaces {
		ip(t, "netns", "add", l.ns(ns))
		ip(t, "-n", l.ns(ns), "link", "set", "lo", "up")
	}
	return l
}

// startSink starts the relays, in world.
func (l *haLab) startSink(t *testing.T) {
	t.Helper()
	l.sink = l.launch(t, "world", smtpbench(t), "sink", "--relay", "r1=10.98.0.1:2501", "--relay", "r2=10.98.0.1:2502",
		"--control", haControl, "--json", filepath.Join(l.dir, "sink.json"), "--fault", "content=100ms")
}

// removeOldHA removes what a run left that was killed.
func removeOldHA(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{"/run/netns/" + haPrefix + "*", "/run/" + haPrefix + "*"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(name), haPrefix), "-")
			if _, err := os.Stat("/proc/" + pid); err == nil {
				continue
			}
			// Another run may be quicker.
			_ = exec.Command("ip", "netns", "del", filepath.Base(name)).Run()
			_ = os.RemoveAll(name)
		}
	}
}

func (l *haLab) ns(name string) string { return l.prefix + name }

// network makes the switches and the links.
func (l *haLab) network(t *testing.T) {
	t.Helper()
	world := l.ns("world")
	for bridge, addresses := range map[string][]string{"front": {"10.99.0.1/24", "fd00:99::1/64"}, "back": {"10.98.0.1/24"}} {
		ip(t, "-n", world, "link", "add", bridge, "type", "bridge")
		for _, a := range addresses {
			ip(t, "-n", world, "address", "add", a, "dev", bridge, "nodad")
		}
		ip(t, "-n", world, "link", "set", bridge, "up")
	}
	for i, node := range []string{"a", "b"} {
		for j, bridge := range []string{"front", "back"} {
			port, dev := bridge+"-"+node, "eth"+strconv.Itoa(j)
			ip(t, "-n", world, "link", "add", port, "type", "veth", "peer", "name", dev, "netns", l.ns(node))
			ip(t, "-n", world, "link", "set", port, "master", bridge, "up")
			ip(t, "-n", l.ns(node), "address", "add", fmt.Sprintf("10.%d.0.%d/24", 99-j, 11+i), "dev", dev)
			ip(t, "-n", l.ns(node), "link", "set", dev, "up")
		}
		ip(t, "-n", l.ns(node), "address", "add", fmt.Sprintf("fd00:99::%d/64", 11+i), "dev", "eth0", "nodad")
	}
}

func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// remove ends what runs, and removes everything.
func (l *haLab) remove(t *testing.T) {
	t.Helper()
	for _, n := range l.nodes {
		if n == nil {
			continue
		}
		for _, p := range []*haProcess{n.keepalived, n.smtplb} {
			if p == nil {
				continue
			}
			p.end()
			if t.Failed() {
				t.Logf("%s, %s:\n%s", n.name, filepath.Base(p.cmd.Args[4]), p.log.tail())
			}
		}
	}
	for _, ns := range l.spaces {
		// The sink, and what is another process by an upgrade.
		pids, _ := exec.Command("ip", "netns", "pids", l.ns(ns)).Output() // none, if the namespace was not made yet
		for _, pid := range strings.Fields(string(pids)) {
			if n, err := strconv.Atoi(pid); err == nil {
				_ = syscall.Kill(n, syscall.SIGKILL) // it may be gone
			}
		}
		_ = exec.Command("ip", "netns", "del", l.ns(ns)).Run()
	}
	if err := os.RemoveAll(l.dir); err != nil {
		t.Error(err)
	}
}

func (l *haLab) newNode(t *testing.T, name, own, peer string) *haNode {
	t.Helper()
	dir := filepath.Join(l.dir, name)
	n := &haNode{
		lab: l, name: name, own: own, peer: peer,
		program: filepath.Join(l.dir, "smtplb"), config: filepath.Join(dir, "smtplb.yaml"),
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	err := os.WriteFile(n.config, []byte(`listeners:
  - {name: in, address: "`+haVIP+`:25", pool: out, allow: [10.99.0.0/24]}
  - {name: in6, address: "[`+haVIP6+`]:25", pool: out, allow: ["fd00:99::/64"]}
pools:
  - name: out
    backends: [{name: r1, address: "10.98.0.1:2501"}, {name: r2, address: "10.98.0.1:2502"}]
    timeouts: {connect: 1s, greeting: 2s, session_setup: 5s, drain: 2s}
    probe: {interval: 300ms, fast_interval: 100ms, timeout: 1s, rise: 2, fall: 2}
    slow_start: 0s
`), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// start starts the balancer, and keepalived with what smtplb makes of its own
// configuration, which keepalived itself must find good.
func (n *haNode) start(t *testing.T, flags []string) {
	t.Helper()
	dir := filepath.Dir(n.config)
	n.smtplb = n.lab.launch(t, n.name, n.program, "run", "--config", n.config)
	made := exec.Command(n.program, append([]string{"ha", "keepalived", "--config", n.config, "--interface", "eth0",
		"--self", n.own, "--peer", n.peer, "--track-file", filepath.Join(dir, "relays")}, flags...)...)
	text, err := made.Output()
	if err != nil {
		t.Fatalf("%v: %v", made.Args, err)
	}
	file := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	own := []string{find(t, "keepalived"), "--use-file", file, "--vrrp",
		"--pid", filepath.Join(dir, "parent.pid"), "--vrrp_pid", filepath.Join(dir, "vrrp.pid")}
	test := exec.Command("ip", append(append([]string{"netns", "exec", n.lab.ns(n.name)}, own...), "--config-test")...)
	if out, err := test.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("keepalived --config-test: %v: %s\n%s", err, out, text)
	}
	n.keepalived = n.lab.launch(t, n.name, append(own, "--dont-fork", "--log-console", "--log-detail")...)
}

// has tells whether an address is up on the node.
func (n *haNode) has(t *testing.T, address string) bool {
	t.Helper()
	return strings.Contains(ip(t, "-n", n.lab.ns(n.name), "-o", "address", "show", "dev", "eth0"), " "+address+"/")
}

// master tells what keepalived said last of whether the node has the VIPs.
func (n *haNode) master() bool {
	text := n.keepalived.log.text()
	at := strings.LastIndex(text, "Entering ")
	return n.keepalived.runs() && at >= 0 && strings.HasPrefix(text[at:], "Entering MASTER")
}

// holder waits until one node has the VIPs and the other has not.
func (l *haLab) holder(t *testing.T) (holder, other *haNode) {
	t.Helper()
	smtptest.Eventually(t, patience, func() bool {
		a, b := l.nodes[0], l.nodes[1]
		if b.master() {
			a, b = b, a
		}
		holder, other = a, b
		return a.master() && !b.master() && a.has(t, haVIP) && a.has(t, haVIP6)
	}, "one node has the VIPs")
	return holder, other
}

// haProcess is a program in a namespace, which a test may end as it likes.
type haProcess struct {
	cmd  *exec.Cmd
	log  output
	done chan struct{}
}

func (l *haLab) launch(t *testing.T, ns string, command ...string) *haProcess {
	t.Helper()
	p := &haProcess{done: make(chan struct{})}
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", l.ns(ns)}, command...)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // ip becomes the command, it stays its parent's
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the test knows how it ended
		close(p.done)
	}()
	return p
}

func (p *haProcess) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // fails only when it has exited

func (p *haProcess) runs() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// end ends it and waits for that, however it was left.
func (p *haProcess) end() {
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGTERM) // smtplb drains at the first
	select {
	case <-p.done:
	case <-time.After(patience / 6):
		p.killAll() // what it has become by an upgrade is left to remove
	}
}

// killAll kills the process and its children, none of which can do anything more.
func (p *haProcess) killAll() {
	pid := p.cmd.Process.Pid
	p.signal(syscall.SIGSTOP) // else it would begin others
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err == nil {
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				_ = syscall.Kill(n, syscall.SIGKILL) // it may be gone
			}
		}
	}
	p.signal(syscall.SIGKILL)
}
