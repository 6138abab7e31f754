package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The machines are network namespaces, named after this process, so that two runs
// do not meet, and what a run left that was killed can be told from what a
// running one has. Every relay and the clients have a link of their own to the
// balancer, a pair of virtual interfaces.

const labPrefix = "smtplb-chaos-"

// relaySpec is a relay as the configuration has it.
type relaySpec struct {
	name, site string
	priority   int
}

func relays() []relaySpec {
	return []relaySpec{{"hq-a", "hq", 0}, {"hq-b", "hq", 0}, {"hq-c", "hq", 0}, {"dr-a", "dr", 1}, {"dr-b", "dr", 1}}
}

// The addresses: link n is 10.97.n.0/24, the balancer's end .1, the other .2; link
// 0 is the clients'.
const (
	balancerAddress = "10.97.0.1:25"
	clientAddress   = "10.97.0.2"
	nuisanceAddress = "10.97.0.3"   // of clients that are no mail servers
	outsiderAddress = "10.97.0.200" // is not on allow
)

func relayAddress(n int) string { return fmt.Sprintf("10.97.%d.2:25", n+1) }

// device is the balancer's end of link n.
func device(n int) string { return "link" + strconv.Itoa(n) }

type lab struct{ prefix string }

// newLab makes the network, and removes it when the test ends.
func newLab(t *testing.T) *lab {
	t.Helper()
	removeLitter()
	l := &lab{prefix: fmt.Sprintf("%s%d-%s-", labPrefix, os.Getpid(), startOf(os.Getpid()))}
	t.Cleanup(l.remove)
	machines := []string{"lb", "clients"}
	for _, r := range relays() {
		machines = append(machines, r.name)
	}
	for _, m := range machines {
		if out, err := exec.Command("ip", "netns", "add", l.prefix+m).CombinedOutput(); err != nil {
			t.Fatalf("ip netns add: %v: %s", err, out)
		}
	}
	for n, m := range machines[1:] {
		for _, err := range []error{
			l.sh("lb", "ip link set lo up"),
			l.sh(m, "ip link set lo up"),
			l.sh("lb", fmt.Sprintf("ip link add name %s type veth peer name eth0 netns %s", device(n), l.prefix+m)),
			l.sh("lb", fmt.Sprintf("ip address add 10.97.%d.1/24 dev %s; ip link set %s up", n, device(n), device(n))),
			l.sh(m, fmt.Sprintf("ip address add 10.97.%d.2/24 dev eth0; ip link set eth0 up", n)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.sh("clients", "ip address add "+nuisanceAddress+"/24 dev eth0; ip address add "+outsiderAddress+"/24 dev eth0"); err != nil {
		t.Fatal(err)
	}
	return l
}

// file is a machine's network, for smtptest.Inside.
func (l *lab) file(machine string) string { return "/run/netns/" + l.prefix + machine }

// sh runs lines of the shell on a machine.
func (l *lab) sh(machine, script string) error {
	cmd := exec.Command("ip", "netns", "exec", l.prefix+machine, "sh", "-eu")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("on %s: %w: %s%s", machine, err, out, script)
	}
	return nil
}

// machineAt is the one at the other end of link n.
func machineAt(n int) string {
	if n == 0 {
		return "clients"
	}
	return relays()[n-1].name
}

// cut takes a link down, or brings it up: at the balancer's end for the clients, for
// whom the address is then as far away as ever, at the far end for relays.
func (l *lab) cut(link int, is bool) error {
	machine, dev := machineAt(link), "eth0"
	if link == 0 {
		machine, dev = "lb", device(link)
	}
	return l.sh(machine, "ip link set "+dev+" "+choose(is, "down", "up"))
}

// lose has either end of a link drop so many packets of a thousand, at random; 0
// stops that.
func (l *lab) lose(link, perMille int) error {
	for machine, dev := range map[string]string{"lb": device(link), machineAt(link): "eth0"} {
		script := "nft delete table inet loss_" + dev
		if perMille > 0 {
			script = fmt.Sprintf(`nft -f - <<end
table inet loss_%s {
	chain in {
		type filter hook input priority 0
		iifname "%s" numgen random mod 1000 < %d drop
	}
}
end
`, dev, dev, perMille)
		}
		if err := l.sh(machine, script); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) remove() { removeSpaces(l.prefix) }

// removeLitter removes what runs have left that are no more.
func removeLitter() {
	all, _ := filepath.Glob("/run/netns/" + labPrefix + "*") // the pattern is good
	for _, path := range all {
		words := strings.SplitN(strings.TrimPrefix(filepath.Base(path), labPrefix), "-", 3)
		pid, err := strconv.Atoi(words[0])
		if err == nil && len(words) == 3 && startOf(pid) != words[1] {
			removeSpaces(labPrefix + words[0] + "-" + words[1] + "-")
		}
	}
}

// removeSpaces ends what runs in namespaces, and removes them.
func removeSpaces(prefix string) {
	all, _ := filepath.Glob("/run/netns/" + prefix + "*") // the pattern is good
	for _, path := range all {
		name := filepath.Base(path)
		pids, _ := exec.Command("ip", "netns", "pids", name).Output() // none, if it is gone
		for _, pid := range strings.Fields(string(pids)) {
			if n, err := strconv.Atoi(pid); err == nil {
				_ = syscall.Kill(n, syscall.SIGKILL) // it may be gone
			}
		}
		_ = exec.Command("ip", "netns", "delete", name).Run() // another run may do the same
	}
}

// startOf is when a process was started, in the kernel's ticks, "" if there is
// none: proc_pid_stat(5), field 22.
func startOf(pid int) string {
	words := statOf(pid)
	const start = 22 - 3 // the first after the name is field 3
	if len(words) <= start {
		return ""
	}
	return words[start]
}

// statOf are the fields of /proc/PID/stat after the name, which may have anything in it.
func statOf(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.Fields(rest)
}
