package e2e

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// named is a relay whose greeting says who it is.
func named(t *testing.T, name string) *smtptest.Relay {
	t.Helper()
	return smtptest.Start(t, smtptest.Script{Greeting: "220 " + name + "\r\n"})
}

// open connects and returns the client with the name of its relay, which is
// named.
func open(t *testing.T, p *process) (client *smtptest.Client, relay string) {
	t.Helper()
	client = smtptest.Dial(t, p.address)
	greeting, err := client.Greeting()
	if err != nil {
		t.Fatalf("greeting %q: %v", greeting, err)
	}
	return client, relayOf(greeting)
}

func relayOf(greeting string) (name string) {
	_, _ = fmt.Sscanf(greeting, "220 %s", &name) // "" is nobody's name
	return name
}

// leave ends a session, and waits until the balancer knows.
func leave(t *testing.T, p *process, client *smtptest.Client) {
	t.Helper()
	address := client.Conn().LocalAddr().String()
	if err := client.Quit(); err != nil {
		t.Error(err)
	}
	p.waitLine(t, "session", func(l logLine) bool { return l.text("client") == address })
}

// Case 6. Ten of ten sessions divide evenly; while one relay holds two sessions,
// the next ten all go to the other.
func TestCaseHeldSessionsCount(t *testing.T) {
	t.Parallel()
	relayA, relayB := named(t, "a"), named(t, "b")
	p := start(t, site{pool: "timeouts: {hedge: off}", backends: []string{backend("a", relayA.Addr()), backend("b", relayB.Addr())}})
	serve := func(want map[string]int) {
		t.Helper()
		got := map[string]int{}
		for range 10 {
			client, relay := open(t, p)
			got[relay]++
			leave(t, p, client)
		}
		if !maps.Equal(got, want) {
			t.Errorf("ten sessions, one at a time: %v, want %v", got, want)
		}
	}
	serve(map[string]int{"a": 5, "b": 5})
	var onB []*smtptest.Client
	for range 4 {
		if client, relay := open(t, p); relay == "b" {
			onB = append(onB, client)
		}
	}
	if len(onB) != 2 {
		t.Fatalf("%d of 4 held sessions on b, want 2", len(onB))
	}
	for _, client := range onB {
		leave(t, p, client)
	}
	serve(map[string]int{"b": 10}) // a holds two
}

// Case 6. Weights 1, 2 and 3 are kept exactly by sessions that are held, and by
// sessions that come one at a time.
func TestCaseWeightsOneTwoThree(t *testing.T) {
	t.Parallel()
	for _, count := range []int{6, 60, 600} {
		t.Run(fmt.Sprintf("%d held", count), func(t *testing.T) {
			t.Parallel()
			p := oneTwoThree(t)
			wantShares(t, burst(t, p, count, nil), count)
		})
	}
	t.Run("one at a time", func(t *testing.T) {
		t.Parallel()
		p := oneTwoThree(t)
		const count = 24
		for range count {
			client, _ := open(t, p)
			leave(t, p, client)
		}
		wantShares(t, shares(p.sessions(t, count)), count)
	})
}

func oneTwoThree(t *testing.T) *process {
	t.Helper()
	var backends []string
	for n, name := range []string{"one", "two", "three"} {
		backends = append(backends, backend(name, named(t, name).Addr(), fmt.Sprint("weight: ", n+1)))
	}
	return start(t, site{pool: "timeouts: {hedge: off}", backends: backends})
}

func wantShares(t *testing.T, got map[string]int, count int) {
	t.Helper()
	if want := map[string]int{"one": count / 6, "two": count / 3, "three": count / 2}; !maps.Equal(got, want) {
		t.Errorf("of %d sessions %v, want %v", count, got, want)
	}
}

// burst opens sessions all at once, holds them until all have their greeting,
// and returns how many each relay greeted. greeted, if any, is added to with
// each.
func burst(t *testing.T, p *process, count int, greeted *atomic.Int64) map[string]int {
	t.Helper()
	got := map[string]int{}
	var mu sync.Mutex // guards got
	var wg sync.WaitGroup
	for range count {
		client, err := smtptest.DialTimeout(p.address, patience)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Cleanup(client.Close)
		wg.Go(func() {
			greeting, err := client.Greeting()
			if err != nil {
				t.Errorf("greeting %q: %v", greeting, err)
			}
			if greeted != nil {
				greeted.Add(1)
			}
			mu.Lock()
			defer mu.Unlock()
			got[relayOf(greeting)]++
		})
	}
	wg.Wait()
	return got
}

// Case 7. A burst divides evenly though one relay is slow to greet, or its
// kernel slow to connect at all: what is under way counts from the pick on.
func TestCaseBurstDoesNotHerd(t *testing.T) {
	t.Parallel()
	const count = 40
	even := map[string]int{"slow": count / 2, "fast": count / 2}
	health := smtptest.Start(t, smtptest.Script{})
	pool := fmt.Sprintf("timeouts: {connect: 30s, hedge: off}\nprobe: {address: %q}", health.Addr())

	t.Run("slow greeting", func(t *testing.T) {
		t.Parallel()
		slow := smtptest.Start(t, smtptest.Script{Greeting: "220 slow\r\n", GreetingDelay: time.Second})
		p := start(t, site{pool: pool, backends: []string{backend("slow", slow.Addr()), backend("fast", named(t, "fast").Addr())}})
		if got := burst(t, p, count, nil); !maps.Equal(got, even) {
			t.Errorf("%v, want %v", got, even)
		}
	})
	t.Run("slow connection", func(t *testing.T) {
		t.Parallel()
		slow := newDeaf(t, "slow")
		p := start(t, site{pool: pool, backends: []string{backend("slow", slow.address), backend("fast", named(t, "fast").Addr())}})
		var greeted atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := burst(t, p, count, &greeted); !maps.Equal(got, even) {
				t.Errorf("%v, want %v", got, even)
			}
		})
		defer wg.Wait()
		defer slow.hear(t)
		smtptest.Eventually(t, patience, func() bool { return greeted.Load() >= count/2 }, "half of the clients are greeted")
	})
}

// deaf is a relay whose kernel answers no SYN until it is told to: those that
// connect meanwhile are through with a later one.
type deaf struct {
	address netip.AddrPort
	name    string
	fd      int
	fill    []net.Conn
	tasks   sync.WaitGroup
}

func newDeaf(t *testing.T, name string) *deaf {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &deaf{name: name, fd: fd}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	d.address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(at.(*unix.SockaddrInet4).Port))
	for range 10 {
		conn, err := net.DialTimeout("tcp", d.address.String(), 300*time.Millisecond)
		if err != nil {
			return d // full
		}
		d.fill = append(d.fill, conn)
	}
	t.Fatal("the queue of one does not fill")
	return nil
}

// hear makes it a relay that greets everybody and holds them until they leave.
func (d *deaf) hear(t *testing.T) {
	t.Helper()
	if err := unix.Listen(d.fd, 1024); err != nil { // a longer queue from now on
		t.Error(err)
	}
	file := os.NewFile(uintptr(d.fd), d.name)
	listener, err := net.FileListener(file)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Error(err)
		return
	}
	for _, conn := range d.fill {
		conn.Close()
	}
	d.tasks.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			d.tasks.Go(func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, "220 "+d.name+"\r\n") // it may have left
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	t.Cleanup(func() { listener.Close() })
}
