package e2e

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// haProbe is one attempt to begin a session.
type haProbe struct {
	began, ended time.Time
	code         string // that begins the greeting; "" where there was none
}

// haProber begins a session every few milliseconds, from several threads, as a
// new client each time.
type haProber struct {
	stop chan struct{}
	wg   sync.WaitGroup

	mu  sync.Mutex
	all []haProbe
}

// probe begins sessions at the VIP from the namespace of the clients.
func (l *haLab) probe(t *testing.T) *haProber {
	t.Helper()
	const threads = 4
	p := &haProber{stop: make(chan struct{})}
	for range threads {
		p.wg.Go(func() { p.run("/run/netns/"+l.ns("world"), l.probesFrom, l.vip+":25") })
	}
	t.Cleanup(p.end)
	return p
}

func (p *haProber) run(netns string, from netip.Addr, target string) {
	const pause, patience = 40 * time.Millisecond, 100 * time.Millisecond
	leave, err := smtptest.EnterNetwork(netns)
	if err != nil {
		return // seen by there being no probes
	}
	defer leave() //nolint:errcheck // the thread ends with the goroutine then
	ticks := time.NewTicker(pause)
	defer ticks.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticks.C:
		}
		one := haProbe{began: time.Now()}
		// A literal address: the socket is made by this thread, so in its namespace.
		if client, err := smtptest.DialFrom(from, target, patience); err == nil {
			text, _ := client.Greeting() // none is what there is to tell
			one.code, _, _ = strings.Cut(strings.TrimSpace(text), " ")
			client.Close()
		}
		one.ended = time.Now()
		p.mu.Lock()
		p.all = append(p.all, one)
		p.mu.Unlock()
	}
}

func (p *haProber) end() {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.wg.Wait()
}

// since are the attempts from a moment on, by their beginning.
func (p *haProber) since(from time.Time) []haProbe {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Clone(p.all)
	slices.SortFunc(all, func(a, b haProbe) int { return a.began.Compare(b.began) })
	return slices.DeleteFunc(all, func(one haProbe) bool { return one.began.Before(from) })
}

// good waits for so many attempts in a row, from now, that read a code.
func (p *haProber) good(t *testing.T, n int, code string) {
	t.Helper()
	from := time.Now()
	smtptest.Eventually(t, patience, func() bool {
		all := p.since(from)
		run := 0
		for _, one := range all {
			if run++; one.code != code {
				run = 0
			}
		}
		return run >= n
	}, "%d sessions in a row that read %s", n, code)
}

// outage is how long after a moment a new session read a code again, after the
// longest run of attempts that did not, and how many those were; 0 and 0: all did.
func (p *haProber) outage(from time.Time, code string) (took time.Duration, failed int) {
	run := 0
	for _, one := range p.since(from) {
		if one.code != code {
			run++
			continue
		}
		if run > failed {
			took, failed = one.ended.Sub(from), run
		}
		run = 0
	}
	return took, failed
}
