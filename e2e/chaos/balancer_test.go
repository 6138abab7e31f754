package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"smtplb/internal/smtptest"
)

const (
	adminURL = "http://127.0.0.1:9925" // in the balancer's network
	patience = 30 * time.Second        // of the test, with the program
	// maxDescriptors is what the program may open: room for some 250 sessions.
	maxDescriptors = 600
)

// balancer is the program, through all its upgrades.
type balancer struct {
	lab          *lab
	dir, program string
	file         string // the configuration
	limit        *memoryLimit
	cmd          *exec.Cmd
	exited       chan struct{} // closed when the first process has ended and nobody writes to its standard error any more
	http         *http.Client

	settings sync.Mutex // guards both
	weights  []int
	gone     map[int]bool // relays that the file leaves out

	mu       sync.Mutex // guards all below
	pids     []int      // of the processes so far; the last one serves
	counts   map[string]int
	last     map[string]logLine
	sessions map[string][]logLine // by the client's address
	bad      []string             // what must never stand on standard error
	reaped   map[int]bool
}

// logLine is a line of its log, as far as it matters here.
type logLine struct {
	Time     time.Time
	Msg      string
	PID      int `json:"pid"`
	To       any // a process or a state
	Client   string
	Backend  string
	End      string
	Reason   string
	Duration float64 `json:"duration_ms"`
	Errors   []string
}

// began is when a session did; the log is written up to 100 ms later.
func (l logLine) began() time.Time {
	return l.Time.Add(-time.Duration(l.Duration * float64(time.Millisecond)))
}

func startBalancer(l *lab, dir, program string) (*balancer, error) {
	b := &balancer{
		lab: l, dir: dir, program: program, file: filepath.Join(dir, "smtplb.yaml"), exited: make(chan struct{}),
		weights: []int{2, 1, 1, 1, 1}, gone: map[int]bool{},
		counts: map[string]int{}, last: map[string]logLine{}, sessions: map[string][]logLine{}, reaped: map[int]bool{},
	}
	b.http = &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return smtptest.Inside(l.file("lb"), func() (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, address)
			})
		},
	}}
	var err error
	if b.limit, err = newMemoryLimit(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(b.file, []byte(b.text()), 0o600); err != nil {
		return nil, err
	}
	// The group is entered first: ip netns exec has another /sys. Each command takes
	// the place of the one before.
	limit := fmt.Sprintf("--nofile=%d:%d", maxDescriptors, maxDescriptors)
	b.cmd = exec.Command("sh", "-euc", `test -z "$0" || echo $$ >"$0"; exec "$@"`, b.limit.members(),
		"ip", "netns", "exec", l.prefix+"lb", "prlimit", limit, program, "run", "--config", b.file)
	b.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := b.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, "smtplb.log"))
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	b.pids = []int{b.cmd.Process.Pid}
	go b.collect(stderr, out)
	_, err = b.await("started", 1)
	return b, err
}

// text is the configuration. Checks and ejections are quick, so that a relay that is
// back is in use again within the time of recovery.
func (b *balancer) text() string {
	b.settings.Lock()
	defer b.settings.Unlock()
	var t strings.Builder
	fmt.Fprintf(&t, `listeners:
  - {name: in, address: "%s", pool: out, allow: [10.97.0.0/25], hostname: balancer.test}
admin: {address: "127.0.0.1:9925"}
pools:
  - name: out
    timeouts: {connect: 1s, greeting: 2s, session_setup: 15s}
    failover: {failback_delay: 2s, keep_warm: {share: 10%%}}
    probe: {interval: 500ms, fast_interval: 200ms, timeout: 2s, rise: 2, fall: 3}
    passive: {failures: 3, eject: 1s, max_eject: 4s}
    slow_start: 2s
    backends:
`, balancerAddress)
	for n, r := range relays() {
		if !b.gone[n] {
			fmt.Fprintf(&t, "      - {name: %s, address: %q, site: %s, priority: %d, weight: %d}\n", r.name, relayAddress(n), r.site, r.priority, b.weights[n])
		}
	}
	return t.String()
}

func (b *balancer) collect(from io.Reader, to *os.File) {
	in := bufio.NewReader(from)
	for {
		raw, err := in.ReadBytes('\n')
		_, _ = to.Write(raw) // it is for people who look after a failure
		b.note(raw)
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_ = b.cmd.Wait() // its status is looked at in stop
	close(b.exited)
}

func (b *balancer) note(raw []byte) {
	if len(raw) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var line logLine
	if err := json.Unmarshal(raw, &line); err != nil {
		if len(b.bad) < 50 { // a stack
			b.bad = append(b.bad, string(raw))
		}
		return
	}
	b.counts[line.Msg]++
	if line.Msg == "session" {
		b.sessions[line.Client] = append(b.sessions[line.Client], line)
		return
	}
	b.last[line.Msg] = line
}

// count is how many lines with that msg there were.
func (b *balancer) count(msg string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts[msg]
}

// await waits for the n-th line with that msg.
func (b *balancer) await(msg string, n int) (logLine, error) {
	end := time.Now().Add(patience)
	for b.count(msg) < n {
		select {
		case <-b.exited:
			return logLine{}, fmt.Errorf("smtplb has ended: %v: see its log", b.cmd.ProcessState)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(end) {
			return logLine{}, fmt.Errorf("smtplb has not said %q for %v", msg, patience)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last[msg], nil
}

func (b *balancer) pid() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pids[len(b.pids)-1]
}

// living are the processes that have not ended: the one that serves, and those
// whose sessions are not over.
func (b *balancer) living() (pids []int) {
	b.mu.Lock()
	all := slices.Clone(b.pids)
	b.mu.Unlock()
	for _, pid := range all {
		if !b.ended(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// reload has it read the file, which must come to what is wanted.
func (b *balancer) reload(want string) error {
	was := b.count(want)
	if err := syscall.Kill(b.pid(), syscall.SIGHUP); err != nil {
		return err
	}
	_, err := b.await(want, was+1)
	return err
}

// change has the settings changed and reloaded.
func (b *balancer) change(how func()) error {
	b.settings.Lock()
	how()
	b.settings.Unlock()
	if err := os.WriteFile(b.file, []byte(b.text()), 0o600); err != nil {
		return err
	}
	return b.reload("reloaded")
}

// mistake has a file with mistakes refused.
func (b *balancer) mistake() error {
	text := b.text()
	if err := os.WriteFile(b.file, []byte(strings.Replace(text, "weight: ", "wieght: ", 1)+"pools: 7\n"), 0o600); err != nil {
		return err
	}
	err := b.reload("reload refused: nothing changed")
	return errors.Join(err, os.WriteFile(b.file, []byte(text), 0o600))
}

// upgrade returns when another process serves.
func (b *balancer) upgrade() error {
	const handed = "handed over: this process lets its sessions finish"
	was := b.count(handed)
	if err := syscall.Kill(b.pid(), syscall.SIGUSR2); err != nil {
		return err
	}
	line, err := b.await(handed, was+1)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	to, _ := line.To.(float64)
	b.pids = append(b.pids, int(to))
	return nil
}

// order has a relay drained or enabled.
func (b *balancer) order(backend, verb string) error {
	answer, err := b.http.Post(adminURL+"/api/v1/backends/out/"+backend+"/"+verb, "", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", verb, backend, answer.Status, text)
	}
	return nil
}

// ended tells whether a process has, and takes note if its status is not 0. The
// kernel has them as children of this process, by the way they are started.
func (b *balancer) ended(pid int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reaped[pid] {
		return true
	}
	if pid == b.cmd.Process.Pid { // exec.Cmd reaps it, when all have ended
		words := statOf(pid)
		return len(words) == 0 || words[0] == "Z"
	}
	var status syscall.WaitStatus
	got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	if got == pid {
		b.reaped[pid] = true
		if status.ExitStatus() != 0 {
			b.bad = append(b.bad, fmt.Sprintf("process %d has ended with status %#x", pid, status))
		}
	}
	return got == pid || errors.Is(err, syscall.ECHILD)
}

// stop ends it, and returns what was bad about it.
func (b *balancer) stop() (problems []string) {
	for at := len(b.pids) - 1; at >= 0; at-- {
		pid, end := b.pids[at], time.Now().Add(patience)
		for n := 0; !b.ended(pid); n++ {
			switch {
			case time.Now().After(end):
				problems = append(problems, fmt.Sprintf("process %d does not end", pid))
				_ = syscall.Kill(pid, syscall.SIGKILL) // a child that is not reaped
			case n%50 == 0:
				_ = syscall.Kill(pid, syscall.SIGTERM) // the same
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	<-b.exited
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		problems = append(problems, fmt.Sprintf("the first process has ended: %v", b.cmd.ProcessState))
	}
	problems = append(problems, b.limit.remove()...)
	return append(problems, b.bad...)
}
