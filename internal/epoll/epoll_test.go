package epoll

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func socketPair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func TestEventCarriesItsToken(t *testing.T) {
	p := newPoller(t)
	a, b := socketPair(t)
	want := Token{Index: 1<<31 - 1, Generation: -5}
	if err := p.Add(a, want, In|ReadHup|Edge); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(b, []byte("x")); err != nil {
		t.Fatal(err)
	}
	events, err := p.Wait(time.Minute)
	if err != nil || len(events) != 1 || events[0].Token() != want || !events[0].Has(In) || events[0].Has(ReadHup) {
		t.Fatalf("got %v, %v", events, err)
	}
	if events, _ = p.Wait(0); len(events) != 0 {
		t.Fatalf("an edge was reported twice: %v", events)
	}
	if err := unix.Shutdown(b, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if events, _ = p.Wait(time.Minute); len(events) != 1 || !events[0].Has(ReadHup) {
		t.Fatalf("half-close gave %v", events)
	}
	if err := p.Modify(a, want, In|Out|Edge); err != nil {
		t.Fatal(err)
	}
	if events, _ = p.Wait(time.Minute); len(events) != 1 || !events[0].Has(Out) {
		t.Fatalf("after Modify: %v", events)
	}
	if err := p.Remove(a); err != nil {
		t.Fatal(err)
	}
}

func TestWakeIsNeverLost(t *testing.T) {
	p := newPoller(t)
	const wakers, each = 4, 500
	var mu sync.Mutex
	published, seen := 0, 0
	var wg sync.WaitGroup
	for range wakers {
		wg.Go(func() {
			for range each {
				mu.Lock()
				published++
				mu.Unlock()
				p.Wake()
			}
		})
	}
	for seen < wakers*each {
		// A lost wake-up would hang here, with everything published.
		if _, err := p.Wait(-1); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		seen = published
		mu.Unlock()
	}
	wg.Wait()
}

func TestBadDescriptorIsAnError(t *testing.T) {
	p := newPoller(t)
	if err := p.Add(-1, Token{}, In); err == nil {
		t.Fatal("no error")
	}
}
