package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// succession is a program that replaces itself. Each process is a child of this
// one, by the way it is started, and writes to the same standard error.
type succession struct {
	*process
	program string // what is started at an upgrade
	pids    []int  // of the processes so far; the last one serves
	reaped  map[int]bool
}

// startSuccession is start with a copy of the program that a test may replace.
func startSuccession(t *testing.T, s site, program string) *succession {
	t.Helper()
	own := filepath.Join(t.TempDir(), "smtplb")
	install(t, program, own)
	p := &succession{process: startProgram(t, s, own), program: own, reaped: map[int]bool{}}
	p.pids = []int{p.cmd.Process.Pid}
	t.Cleanup(func() { p.end(t) })
	return p
}

// install puts a program in another's place as package managers do. It is written
// by another process: a descriptor of this one, open for writing, is for a moment
// that of every child that is started meanwhile, and the program is "text file
// busy" then.
func install(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("install", "-m", "755", from, to+".new").CombinedOutput(); err != nil {
		t.Fatalf("install: %v: %s", err, out)
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}

func (p *succession) pid() int { return p.pids[len(p.pids)-1] }

// upgrade sends SIGUSR2 and returns when a new process serves.
func (p *succession) upgrade(t *testing.T) {
	t.Helper()
	n := len(p.logged(t, "started"))
	p.kill(p.pid(), syscall.SIGUSR2)
	smtptest.Eventually(t, patience, func() bool { return len(p.logged(t, "started")) > n }, "process %d starts", n+1)
	line := p.logged(t, "started")[n]
	p.pids = append(p.pids, int(line["pid"].(float64)))
	p.waitLine(t, "handed over: this process lets its sessions finish", func(l logLine) bool { return int(l["to"].(float64)) == p.pid() })
}

// refuseUpgrade sends SIGUSR2 and returns what the process says against it.
func (p *succession) refuseUpgrade(t *testing.T) string {
	t.Helper()
	const refused = "upgrade refused: nothing changed"
	n := len(p.logged(t, refused))
	p.kill(p.pid(), syscall.SIGUSR2)
	smtptest.Eventually(t, 3*patience, func() bool { return len(p.logged(t, refused)) > n }, "a line that the upgrade is refused")
	return strings.Join(p.logged(t, refused)[n].list("errors"), "\n")
}

func (*succession) kill(pid int, s syscall.Signal) { _ = syscall.Kill(pid, s) } // of a child that is not reaped

// ended tells whether one of the processes has; its status must be 0.
func (p *succession) ended(t *testing.T, pid int) bool {
	t.Helper()
	if p.reaped[pid] {
		return true
	}
	if pid == p.pids[0] { // exec.Cmd reaps it, when all have ended
		return state(pid) == "Z" || state(pid) == ""
	}
	var status syscall.WaitStatus
	got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	if got == pid {
		p.reaped[pid] = true
		if status.ExitStatus() != 0 {
			t.Errorf("process %d has ended with status %#x", pid, status)
		}
	}
	return got == pid || errors.Is(err, syscall.ECHILD)
}

// state is a process's, proc(5): "Z" is ended; "": there is none.
func state(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))[0]
}

// end ends all, the one that serves first: those that it has replaced have nothing
// to wait for once their sessions are over.
func (p *succession) end(t *testing.T) {
	t.Helper()
	for at := len(p.pids) - 1; at >= 0; at-- {
		pid, deadline := p.pids[at], time.Now().Add(patience)
		for n := 0; !p.ended(t, pid); n++ {
			switch {
			case time.Now().After(deadline):
				t.Errorf("process %d does not end", pid)
				p.kill(pid, syscall.SIGKILL)
			case n%20 == 0:
				p.kill(pid, syscall.SIGTERM)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// status is the answer of /api/v1/status.
type status struct {
	Sessions struct{ Accepted, Open int }
	Cluster  struct{ Limits []struct{ Quota int } }
	Pools    []struct {
		Since time.Time
		Tiers []struct {
			LastSession time.Time `json:"last_session"`
			Active      bool
			Backends    []struct {
				Name, State, Reason string
				Since               time.Time
				Sessions            int
			}
		}
	}
}

func (p *process) shown(t *testing.T) (s status) {
	t.Helper()
	answer, err := http.Get("http://" + p.admin + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return s
}

func (p *process) order(t *testing.T, backend, verb string) {
	t.Helper()
	answer, err := http.Post("http://"+p.admin+"/api/v1/backends/out/"+backend+"/"+verb, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Errorf("%s %s: %s: %s", verb, backend, answer.Status, text)
	}
	http.DefaultClient.CloseIdleConnections()
}

// Five upgrades and as many reloads while two hundred sessions start each second,
// over real sockets and processes. Nobody notices: no session fails, no message is
// lost or sent twice, a relay that a person has taken out stays out, and the share
// that keeps the standby warm is exact over all.
func TestFiveUpgradesCostNoSession(t *testing.T) {
	t.Parallel()
	const sessions, rounds = 1600, 5
	hq, out, dr := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	s := site{
		pool: "timeouts: {hedge: off}\nfailover: {keep_warm: {share: 10%}}\nprobe: {interval: 1s, timeout: 5s, fall: 10}\n",
		backends: []string{
			backend("hq", hq.Addr()), backend("out", out.Addr()), backend("dr", dr.Addr(), "priority: 1"),
		},
	}
	p := startSuccession(t, s, raced)
	sockets := p.sockets(t)
	p.order(t, "out", "drain")
	began := p.shown(t).Pools[0]
	var ledger smtptest.Ledger
	failed := make(chan []error, 1)
	go func() { failed <- openModel(p.address, "m", sessions, 5*time.Millisecond, &ledger) }()
	for n := range rounds {
		ended := len(p.rawLines(t, "session"))
		smtptest.Eventually(t, patience, func() bool { return len(p.rawLines(t, "session")) > ended+100 }, "a hundred sessions")
		before := time.Now()
		p.upgrade(t)
		t.Logf("upgrade %d took %v", n+1, time.Since(before).Round(time.Millisecond))
		now := p.shown(t)
		held := 0
		for _, tier := range now.Pools[0].Tiers {
			for _, b := range tier.Backends {
				held += b.Sessions
				if b.Name == "out" && (b.State != "draining" || b.Reason != "drained" || !b.Since.Equal(began.Tiers[0].Backends[1].Since)) {
					t.Errorf("after upgrade %d the relay that was taken out is %+v", n+1, b)
				}
			}
		}
		if held > now.Sessions.Accepted {
			t.Errorf("after upgrade %d: %d slots are held, of %d sessions that were accepted", n+1, held, now.Sessions.Accepted)
		}
		if !now.Pools[0].Since.Equal(began.Since) {
			t.Errorf("the pool is there since %v, want %v", now.Pools[0].Since, began.Since)
		}
		s.backends[0] = backend("hq", hq.Addr(), fmt.Sprint("weight: ", n+2))
		s.address, s.admin = p.address, p.admin
		p.reloadText(t, s.text(), "reloaded", func() { p.kill(p.pid(), syscall.SIGHUP) })
	}
	for _, err := range <-failed {
		t.Errorf("session failed: %v", err)
	}
	warm := 0
	for _, session := range p.sessions(t, sessions) {
		if session.asked() != session.Backend+":ok" || session.End != "backend_closed" {
			t.Errorf("a session asked %s and ended as %s %s", session.asked(), session.End, session.Reason)
		}
		if session.Warm {
			warm++
		}
	}
	t.Logf("%d of %d sessions kept the standby warm, over %d processes", warm, sessions, rounds+1)
	if want := sessions / 10; warm < want-1 || warm > want+1 {
		t.Errorf("%d of %d sessions kept the standby warm, want %d, give or take one", warm, sessions, want)
	}
	report := ledger.Compare(hq.Messages(), out.Messages(), dr.Messages())
	if err := report.Err(); err != nil || report.Delivered != sessions {
		t.Errorf("delivered %d of %d: %v", report.Delivered, sessions, err)
	}
	if n := out.MessageCount(); n != 0 {
		t.Errorf("the relay that was taken out has %d messages", n)
	}
	for _, pid := range p.pids[:rounds] {
		smtptest.Eventually(t, patience, func() bool { return p.ended(t, pid) }, "process %d ends, its sessions are over", pid)
	}
	smtptest.Eventually(t, patience, func() bool { return p.shown(t).Sessions.Open == 0 }, "no session is left")
	for _, tier := range p.shown(t).Pools[0].Tiers {
		for _, b := range tier.Backends {
			if b.Sessions != 0 {
				t.Errorf("%d slots of %s are held", b.Sessions, b.Name)
			}
		}
	}
	smtptest.Eventually(t, patience, func() bool { return socketsOf(t, p.pid()) <= sockets },
		"the last process has no more than the %d sockets of the first", sockets)
	var finished float64
	for _, line := range p.logged(t, "stopped") {
		finished += line["finished"].(float64)
	}
	if lines := p.logged(t, "stopped"); len(lines) != rounds || slices.ContainsFunc(lines, func(l logLine) bool { return l["replaced_by"] == nil }) {
		t.Errorf("lines %v, want one for each process that was replaced", lines)
	}
	t.Logf("the processes before let %v sessions finish", finished)
}
