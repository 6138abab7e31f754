package e2e

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"smtplb/internal/smtptest"
)

// Machines of a test's own: network namespaces, joined by pairs of virtual
// interfaces. Nothing of the machine that the tests run on is touched, and two
// runs at a time do not meet: names of namespaces have the process in them, and
// names of interfaces are a namespace's own.

// space is a network namespace: a machine as far as the network goes.
type space struct {
	t    *testing.T
	name string
}

const spacePrefix = "smtplb-e2e"

// spacesMade counts them, for their names.
var spacesMade atomic.Int64

// newSpace makes a namespace that is removed when the test ends.
func newSpace(t *testing.T, role string) *space {
	t.Helper()
	ip := find(t, "ip")
	removeLitter(t)
	s := &space{t, fmt.Sprintf("%s-%d-%s-%d-%s", spacePrefix, os.Getpid(), startOf(os.Getpid()), spacesMade.Add(1), role)}
	if out, err := exec.Command(ip, "netns", "add", s.name).CombinedOutput(); err != nil {
		lacking(t, "no network namespaces, which take root: ip netns add: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command(ip, "netns", "delete", s.name).CombinedOutput(); err != nil {
			t.Errorf("ip netns delete %s: %v: %s", s.name, err, out)
		}
	})
	s.sh("ip link set lo up")
	return s
}

// removeLitter removes what processes have left that were killed: their names
// tell who they were. What ran inside was killed with them.
func removeLitter(t *testing.T) {
	t.Helper()
	all, _ := filepath.Glob("/run/netns/" + spacePrefix + "-*") // the pattern is good
	for _, path := range all {
		name := filepath.Base(path)
		words := strings.Split(strings.TrimPrefix(name, spacePrefix+"-"), "-")
		pid, err := strconv.Atoi(words[0])
		if err != nil || len(words) < 2 || startOf(pid) == words[1] {
			continue
		}
		if out, err := exec.Command(find(t, "ip"), "netns", "delete", name).CombinedOutput(); err != nil {
			t.Logf("left by a test that was killed: %s: %v: %s", name, err, out) // another run may do the same
		}
	}
}

// startOf is when a process was started, in the kernel's ticks; "" if there is
// none. With its number it is nobody else's name; see proc_pid_stat(5).
func startOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the program's name may have anything in it
	words := strings.Fields(rest)
	const start = 22 - 3 // field 22; the first after the name is 3
	if len(words) <= start {
		return ""
	}
	return words[start]
}

// join links two machines by interfaces of these names, and brings them up.
func join(a *space, nameA string, b *space, nameB string) {
	a.t.Helper()
	a.sh(fmt.Sprintf("ip link add name %s type veth peer name %s netns %s", nameA, nameB, b.name))
	a.sh("ip link set " + nameA + " up")
	b.sh("ip link set " + nameB + " up")
}

// address gives an interface addresses.
func (s *space) address(device string, prefixes ...string) {
	s.t.Helper()
	for _, p := range prefixes {
		nodad := ""
		if netip.MustParsePrefix(p).Addr().Is6() {
			nodad = " nodad" // else it takes a second until it can be used
		}
		s.sh("ip address add " + p + " dev " + device + nodad)
	}
}

// command is one that takes the place of another in the namespace.
func (s *space) command(args ...string) []string {
	return append([]string{find(s.t, "ip"), "netns", "exec", s.name}, args...)
}

// feed runs a command in the namespace, which must succeed.
func (s *space) feed(stdin string, args ...string) {
	s.t.Helper()
	args = s.command(args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%v: %v\n%s%s", args, err, out.String(), stdin)
	}
}

// sh runs lines of the shell.
func (s *space) sh(script string) { s.t.Helper(); s.feed(script, "sh", "-eu") }

// inside calls f with the namespace as its network.
func inside[T any](s *space, f func() (T, error)) (T, error) {
	return smtptest.Inside("/run/netns/"+s.name, f)
}

// relay starts one in the namespace.
func (s *space) relay(address string, script smtptest.Script) *smtptest.Relay {
	s.t.Helper()
	r, err := inside(s, func() (*smtptest.Relay, error) { return smtptest.Listen(address, script) })
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(r.Close)
	return r
}

// dial connects from an address of the namespace.
func (s *space) dial(from, to string) (*smtptest.Client, error) {
	return inside(s, func() (*smtptest.Client, error) {
		return smtptest.DialFrom(netip.MustParseAddr(from), to, patience)
	})
}

// send sends one message in a session of its own.
func (s *space) send(from, to, id string) error {
	client, err := s.dial(from, to)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Send(smtptest.Outgoing{ID: id, Size: 1000}); err != nil {
		return err
	}
	return client.Quit()
}

// balancer runs the program in the namespace with this file, and returns when it
// listens.
func (s *space) balancer(yaml string) *process {
	s.t.Helper()
	file := writeFile(s.t, "smtplb.yaml", yaml)
	p := launch(s.t, nil, nil, s.command(raced, "run", "--config", file)...)
	p.file = file
	p.waitLine(s.t, "started", nil)
	return p
}

// fenced are the blocks of a page in a language, to be used as they stand.
func fenced(t *testing.T, page, lang string) (all []string) {
	t.Helper()
	for _, b := range blocks(t) {
		if b.page == page && b.lang == lang {
			all = append(all, b.text)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s: no block of %s", page, lang)
	}
	return all
}

// warned tells whether a line of the log warns of what contains all parts.
func (p *process) warned(t *testing.T, parts ...string) bool {
	t.Helper()
	for _, line := range p.logged(t, "config") {
		has := true
		for _, part := range parts {
			has = has && strings.Contains(line.text("warning"), part)
		}
		if has {
			return true
		}
	}
	return false
}

// What a run that was killed has left is removed, and what a running one has is
// not.
func TestLeftNamespacesAreRemoved(t *testing.T) {
	newSpace(t, "first") // or there are none
	ip := find(t, "ip")
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	left := fmt.Sprintf("%s-%d-1-1-left", spacePrefix, dead.Process.Pid)
	if out, err := exec.Command(ip, "netns", "add", left).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	mine := newSpace(t, "mine")
	removeLitter(t)
	if _, err := os.Stat("/run/netns/" + left); err == nil {
		t.Errorf("%s is there still", left)
	}
	if _, err := os.Stat("/run/netns/" + mine.name); err != nil {
		t.Error(err)
	}
}
