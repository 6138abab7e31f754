package e2e

import (
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// 5,000 clients that are connected and silent: all of them are still served.
func TestFiveThousandIdleSessionsStayAlive(t *testing.T) {
	const sessions = 5000
	// Both ends of each are this process's, and the program's two are of the same limit.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < 2*sessions*10/8 {
		lacking(t, "%d descriptors are allowed, %d are needed: ulimit -n", limit.Cur, 2*sessions*10/8)
	}
	var entries []string
	for n := range 4 {
		relay := smtptest.Start(t, smtptest.Script{})
		entries = append(entries, backend(fmt.Sprint("relay-", n), relay.Addr()))
	}
	p := startReleased(t, site{backends: entries})
	before := p.procStatus(t, "VmRSS")
	clients := make([]*smtptest.Client, sessions)
	eachOf(sessions, func(n int) {
		client, err := smtptest.DialTimeout(p.address, patience)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := client.Greeting(); err != nil {
			t.Error(err)
		}
		clients[n] = client
	})
	if t.Failed() {
		return
	}
	t.Logf("%d sessions: %d KB resident, %d before; %d descriptors", sessions, p.procStatus(t, "VmRSS"), before, p.descriptors(t))
	if n := p.descriptors(t); n < 2*sessions {
		t.Errorf("%d descriptors: not all %d sessions are open at once", n, sessions)
	}
	eachOf(sessions, func(n int) {
		if err := clients[n].Quit(); err != nil {
			t.Errorf("client %d: %v", n, err)
		}
	})
	all := p.sessions(t, sessions)
	if got := ends(all); got != fmt.Sprintf("map[backend_closed:%d]", sessions) {
		t.Errorf("ends %s, want %d that the relay closed after QUIT", got, sessions)
	}
}

// eachOf calls f with 0 to n-1, some at a time.
func eachOf(n int, f func(int)) {
	var wg sync.WaitGroup
	work := make(chan int)
	for range 16 {
		wg.Go(func() {
			for i := range work {
				f(i)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
}

// After 10,000 sessions the process is what it was after the second thousand.
func TestTenThousandSessionsLeaveNothingBehind(t *testing.T) {
	sinks := []string{}
	for n := range 2 {
		address := freeAddress(t, "127.0.0.1")
		startSink(t, address)
		sinks = append(sinks, backend(fmt.Sprint("sink-", n), address))
	}
	p := startReleased(t, site{backends: sinks})
	idle := p.descriptors(t)
	run := func(messages, total int) {
		t.Helper()
		startSource(t, p.address, 50, messages).wait(t)
		if n := len(p.sessions(t, total)); n != total {
			t.Fatalf("%d sessions, want %d", n, total)
		}
	}
	run(1000, 1000)
	run(1000, 2000)
	memory, threads := p.procStatus(t, "VmRSS"), p.procStatus(t, "Threads")
	run(8000, 10000)
	// A check of a sink may be under way, with a descriptor of its own.
	smtptest.Eventually(t, patience, func() bool { return p.descriptors(t) <= idle }, "as many descriptors as before, %d", idle)
	memoryNow, threadsNow := p.procStatus(t, "VmRSS"), p.procStatus(t, "Threads")
	t.Logf("after 2,000 and 10,000 sessions: %d and %d KB resident, %d and %d threads, %d descriptors", memory, memoryNow, threads, threadsNow, p.descriptors(t))
	if memoryNow > memory+8<<10 {
		t.Errorf("grew from %d KB to %d KB, want at most 8 MB more", memory, memoryNow)
	}
	if threadsNow > threads+2 {
		t.Errorf("%d threads, %d before", threadsNow, threads)
	}
	if err := visit(p.address); err != nil {
		t.Errorf("the next session: %v", err)
	}
}
