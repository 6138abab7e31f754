package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"smtplb/internal/smtptest"
)

// Several balancers behind a router, each in a network namespace of its own, with
// real BIRD on both sides:
//
//	world:   a client, and relays, on the switch "back"
//	router:  between world and the switch "front", with BIRD and smtplb-ecmp
//	n1..n4:  a balancer each, with BIRD; eth0 to front and eth1 to back
//
// The VIPs are in no link's network: only BGP tells the router where they are.

const (
	birdVIP  = "10.96.0.25"
	birdVIP6 = "fd00:96::25"
)

// Where clients come from, by what they do. The kernel gives out the same port again
// within seconds where an address begins a hundred sessions a second, as the probes do;
// a balancer knows that of an earlier session for a minute or two (TIME_WAIT), and
// answers a session that moves to it as that one, in place of resetting it.
const (
	birdProbes = "10.99.0.2"
	birdHolds  = "10.99.0.3"
	birdHolds6 = "fd00:99::3"
)

type birdLab struct {
	*haLab
	nodes  []*birdNode
	router *haProcess // its BIRD
	conf   string     // of that
	ecmp   *haProcess
	all    []*smtptest.Client // the sessions that were held; they outlast a case
}

// birdNode is one balancer.
type birdNode struct {
	lab                    *birdLab
	name, own, own6        string
	config                 string
	smtplb, announce, bird *haProcess
}

// newBirdLab makes the network with so many balancers, and starts all but them.
func newBirdLab(t *testing.T, balancers int) *birdLab {
	t.Helper()
	spaces := []string{"world", "router"}
	for i := range balancers {
		spaces = append(spaces, fmt.Sprintf("n%d", i+1))
	}
	l := &birdLab{haLab: newLab(t, birdVIP, spaces, "bird", "birdc", "nft", "jq", "chrt")}
	l.probesFrom = netip.MustParseAddr(birdProbes)
	l.network(t)
	l.startSink(t)
	for i := range balancers {
		l.nodes = append(l.nodes, l.newNode(t, i+1))
	}
	l.conf = l.made(t, l.nodes[0].config, "router.conf", "router", "--self", "10.97.0.1", "--self", "fd00:97::1",
		"--balancers", "10.97.0.0/24", "--balancers", "fd00:97::/64")
	l.startRouter(t)
	return l
}

// startRouter starts what the router has.
func (l *birdLab) startRouter(t *testing.T) {
	t.Helper()
	l.router = l.startBird(t, "router", l.conf)
	l.ecmp = l.first(t, "router", "env", "BIRD_SOCKET="+filepath.Join(l.dir, "router.ctl"), filepath.Join("..", "deploy", "bird", "smtplb-ecmp"))
}

// network makes the switches and the links, and the routes that are no VIP's.
func (l *birdLab) network(t *testing.T) {
	t.Helper()
	sh := func(space string, lines ...string) {
		t.Helper()
		l.inside(t, space, "sh", "-eu", "-c", strings.Join(lines, "\n"))
	}
	sh("world",
		"ip link add back type bridge", "ip address add 10.98.0.1/24 dev back", "ip link set back up",
		"ip link add eth0 type veth peer name world netns "+l.ns("router"), "ip link set eth0 up",
		"ip address add 10.99.0.1/24 dev eth0", "ip address add fd00:99::1/64 dev eth0 nodad",
		"ip address add "+birdProbes+"/24 dev eth0", "ip address add "+birdHolds+"/24 dev eth0",
		"ip address add "+birdHolds6+"/64 dev eth0 nodad")
	sh("router",
		"ip link set world up", "ip address add 10.99.0.254/24 dev world", "ip address add fd00:99::254/64 dev world nodad",
		"ip link add front type bridge", "ip link set front up",
		"ip address add 10.97.0.1/24 dev front", "ip address add fd00:97::1/64 dev front nodad",
		"sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
		// As docs/ecmp.md has it. Policy 1 would go by what the client's socket says, which
		// thinks of something else when a packet is late.
		"sysctl -qw net.ipv4.fib_multipath_hash_policy=3 net.ipv4.fib_multipath_hash_fields=0x37",
		"sysctl -qw net.ipv6.fib_multipath_hash_policy=3 net.ipv6.fib_multipath_hash_fields=0x37")
	sh("world", "ip route add default via 10.99.0.254", "ip route add default via fd00:99::254")
	for i, node := range l.spaces[2:] {
		sh("router", fmt.Sprintf("ip link add front-%s type veth peer name eth0 netns %s", node, l.ns(node)),
			fmt.Sprintf("ip link set front-%s master front up", node))
		sh("world", fmt.Sprintf("ip link add back-%s type veth peer name eth1 netns %s", node, l.ns(node)),
			fmt.Sprintf("ip link set back-%s master back up", node))
		sh(node, fmt.Sprintf("ip address add 10.97.0.%d/24 dev eth0", 11+i), fmt.Sprintf("ip address add fd00:97::%d/64 dev eth0 nodad", 11+i),
			fmt.Sprintf("ip address add 10.98.0.%d/24 dev eth1", 11+i), "ip link set eth0 up", "ip link set eth1 up",
			"ip route add default via 10.97.0.1", "ip route add default via fd00:97::1")
	}
}

// inside runs a command in a namespace, which must succeed.
func (l *birdLab) inside(t *testing.T, space string, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", l.ns(space)}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %v: %s", space, args, err, out)
	}
	return string(out)
}

// made writes a file that smtplb ha bird makes of a configuration.
func (l *birdLab) made(t *testing.T, config, name string, args ...string) (file string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(l.dir, "smtplb"), append(append([]string{"ha", "bird"}, args...), "--config", config)...)
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	file = filepath.Join(filepath.Dir(config), name)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// startBird starts it with a configuration that it must find good.
func (l *birdLab) startBird(t *testing.T, space, conf string) *haProcess {
	t.Helper()
	if out, err := exec.Command(find(t, "bird"), "-p", "-c", conf).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("bird -p: %v: %s", err, out)
	}
	return l.first(t, space, find(t, "bird"), "-d", "-c", conf, "-s", filepath.Join(l.dir, space+".ctl"))
}

// first starts a program that comes before others: what is late by a second or two is
// as good as dead, and here all machines share the processors of one, with other tests:
// so in real time, which costs those little.
func (l *birdLab) first(t *testing.T, space string, command ...string) *haProcess {
	t.Helper()
	return l.launch(t, space, append([]string{"chrt", "--rr", "1"}, command...)...)
}

// newNode makes a balancer's files, and has its kernel know its sessions from the
// first one on.
func (l *birdLab) newNode(t *testing.T, number int) *birdNode {
	t.Helper()
	name := fmt.Sprintf("n%d", number)
	dir := filepath.Join(l.dir, name)
	n := &birdNode{
		lab: l, name: name, own: fmt.Sprintf("10.97.0.%d", 10+number), own6: fmt.Sprintf("fd00:97::%d", 10+number),
		config: filepath.Join(dir, "smtplb.yaml"),
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	err := os.WriteFile(n.config, []byte(`listeners:
  - {name: in, address: "`+birdVIP+`:25", pool: out, allow: [10.99.0.0/24]}
  - {name: in6, address: "[`+birdVIP6+`]:25", pool: out, allow: ["fd00:99::/64"]}
pools:
  - name: out
    backends: [{name: r1, address: "10.98.0.1:2501"}, {name: r2, address: "10.98.0.1:2502"}]
    timeouts: {connect: 1s, greeting: 2s, session_setup: 5s, drain: 2s}
`), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	l.inside(t, name, "nft", "-f", l.made(t, n.config, "handover.nft", "handover", "--interface", "eth0"))
	l.inside(t, name, "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0", "net.netfilter.nf_conntrack_tcp_be_liberal=1")
	return n
}

// start starts what of the balancer does not run.
func (n *birdNode) start(t *testing.T) {
	t.Helper()
	l := n.lab
	program := filepath.Join(l.dir, "smtplb")
	if n.smtplb == nil || !n.smtplb.runs() {
		n.smtplb = l.first(t, n.name, program, "run", "--config", n.config)
	}
	if n.bird == nil || !n.bird.runs() {
		conf := l.made(t, n.config, "bird.conf", "--self", n.own, "--self", n.own6, "--router", "10.97.0.1", "--router", "fd00:97::1")
		n.bird = l.startBird(t, n.name, conf)
	}
	if n.announce == nil || !n.announce.runs() {
		n.announce = l.first(t, n.name, program, "ha", "bird", "announce", "--config", n.config)
	}
}

// end ends what was started, before the namespaces go.
func (l *birdLab) end(t *testing.T) {
	t.Helper()
	for _, client := range l.all {
		client.Close()
	}
	for _, n := range l.nodes {
		for _, p := range []*haProcess{n.announce, n.bird, n.smtplb} {
			if p == nil {
				continue
			}
			p.killAll()
			if t.Failed() {
				t.Logf("%s, %v:\n%s", n.name, p.cmd.Args[4:], p.log.tail())
			}
		}
	}
	if t.Failed() {
		t.Logf("smtplb-ecmp:\n%s", l.ecmp.log.tail())
	}
}

// routed tells whether the router sends sessions for both VIPs to these balancers,
// and to no other.
func (l *birdLab) routed(t *testing.T, nodes ...*birdNode) bool {
	t.Helper()
	four, six := l.inside(t, "router", "ip", "-4", "route", "show", "proto", "125"), l.inside(t, "router", "ip", "-6", "route", "show", "proto", "125")
	if strings.Count(four, "via ") != len(nodes) || strings.Count(six, "via ") != len(nodes) {
		return false
	}
	for _, n := range nodes {
		if !strings.Contains(four, "via "+n.own+" ") || !strings.Contains(six, "via "+n.own6+" ") {
			return false
		}
	}
	return true
}

// converged waits until it is so.
func (l *birdLab) converged(t *testing.T, nodes ...*birdNode) {
	t.Helper()
	smtptest.Eventually(t, patience, func() bool { return l.routed(t, nodes...) }, "the router sends to %d balancers", len(nodes))
}

// handOver tells the other balancers that one drains ("add"), or does no more ("delete").
func (l *birdLab) handOver(t *testing.T, drained *birdNode, verb string) {
	t.Helper()
	for _, n := range l.nodes {
		if n != drained {
			l.inside(t, n.name, "nft", verb, "element", "ip", "smtplb_handover", "drained", "{ "+birdVIP+" timeout 30m : "+drained.own+" }")
			l.inside(t, n.name, "nft", verb, "element", "ip6", "smtplb_handover", "drained", "{ "+birdVIP6+" timeout 30m : "+drained.own6+" }")
		}
	}
}

// sessions are the clients' addresses of the sessions that a balancer has.
func (n *birdNode) sessions(t *testing.T) map[string]bool {
	t.Helper()
	var view struct{ Sessions []struct{ Client string } }
	text := n.lab.inside(t, n.name, filepath.Join(n.lab.dir, "smtplb"), "sessions", "--json", "--limit", "1000")
	if err := json.Unmarshal([]byte(text), &view); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	all := map[string]bool{}
	for _, s := range view.Sessions {
		all[s.Client] = true
	}
	return all
}

// stop ends a process in order, and waits for that.
func (p *haProcess) stop(t *testing.T) {
	t.Helper()
	p.signal(syscall.SIGTERM)
	smtptest.Eventually(t, patience, func() bool { return !p.runs() }, "%v has ended", p.cmd.Args)
}
