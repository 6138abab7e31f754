package sink

import (
	"math"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/epoll"
	"smtplb/internal/timerwheel"
)

const (
	readBuffer  = 128 << 10
	granularity = time.Millisecond // of delays

	// budget is how many full buffers are read from one connection before it is
	// the others' turn.
	budget = 4
	// acceptBudget is how many connections are accepted before it is the turn of
	// those that there are.
	acceptBudget = 64
	acceptPause  = 50 * time.Millisecond // after a failed accept
)

// loop serves the connections of some relays, all on one thread, with one
// buffer: a session that waits holds no more than its conn. Only post and wait
// may be called from outside.
type loop struct {
	sink      *Sink
	poller    *epoll.Poller
	wheel     *timerwheel.Wheel // by slot
	origin    time.Time
	now       int64 // nanoseconds since origin, of this turn
	listeners []*listener
	conns     []*conn // by slot; those not in use stand in free
	free      []int32
	again     []epoll.Token // have more to read
	in, out   []byte
	stopped   bool

	mu    sync.Mutex // guards tasks
	tasks []func()
	done  chan struct{} // closed when run has returned
}

func newLoop(s *Sink) (*loop, error) {
	poller, err := epoll.New()
	if err != nil {
		return nil, err
	}
	return &loop{
		sink: s, poller: poller, wheel: timerwheel.New(granularity, 0), origin: time.Now(),
		in: make([]byte, readBuffer), out: make([]byte, 0, 4<<10), done: make(chan struct{}),
	}, nil
}

// add gives the loop a relay.
func (l *loop) add(ln *listener) error {
	l.listeners = append(l.listeners, ln)
	ln.token = -int32(len(l.listeners))
	return l.watch(ln)
}

func (l *loop) watch(ln *listener) error {
	return l.poller.Add(ln.fd, epoll.Token{Index: ln.token}, epoll.In)
}

// post has the loop's thread call f soon. After the end of the loop nobody does.
func (l *loop) post(f func()) {
	l.mu.Lock()
	l.tasks = append(l.tasks, f)
	l.mu.Unlock()
	l.poller.Wake()
}

// wait posts f and returns when it has been called, or the loop has ended.
func (l *loop) wait(f func()) {
	called := make(chan struct{})
	l.post(func() {
		f()
		close(called)
	})
	select {
	case <-called:
	case <-l.done:
	}
}

// run returns when a task has set stopped.
func (l *loop) run() {
	defer close(l.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for !l.stopped {
		events, err := l.poller.Wait(l.timeout())
		if err != nil { // a mistake of ours, there is no other cause: epoll_wait(2)
			panic(err)
		}
		l.now = int64(time.Since(l.origin))
		for i := range events {
			l.handle(&events[i])
		}
		l.wheel.Advance(l.now, l.fire)
		l.goOn()
		l.runTasks()
		l.tend()
	}
	for _, c := range l.conns {
		if c.fd >= 0 {
			l.drop(c)
		}
	}
	for _, ln := range l.listeners {
		ln.close()
	}
}

// timeout is how long there is nothing to do but for events.
func (l *loop) timeout() time.Duration {
	if len(l.again) > 0 {
		return 0
	}
	at, ok := l.wheel.Next()
	for _, ln := range l.listeners {
		if next := ln.wake(); next < math.MaxInt64 && (!ok || next < at) {
			at, ok = next, true
		}
	}
	if !ok {
		return -1
	}
	return max(time.Duration(at-int64(time.Since(l.origin))), 0)
}

func (l *loop) handle(e *epoll.Event) {
	t := e.Token()
	if t.Index < 0 {
		l.accept(l.listeners[-t.Index-1])
		return
	}
	c := l.conns[t.Index]
	if c.fd < 0 || c.generation != t.Generation {
		return // it was dropped in this turn
	}
	if e.Has(epoll.Hup | epoll.Err) {
		l.drop(c)
		return
	}
	if e.Has(epoll.ReadHup) {
		c.hup = true
		if c.waiting && c.greetingHeld() {
			l.drop(c)
			return
		}
	}
	if e.Has(epoll.In | epoll.ReadHup) {
		c.ready = true
	}
	l.advance(c)
}

// goOn takes up the connections that had more than their budget.
func (l *loop) goOn() {
	again := l.again
	l.again = nil
	for _, t := range again {
		if c := l.conns[t.Index]; c.fd >= 0 && c.generation == t.Generation {
			l.advance(c)
		}
	}
}

func (l *loop) runTasks() {
	l.mu.Lock()
	tasks := l.tasks
	l.tasks = nil
	l.mu.Unlock()
	for _, f := range tasks {
		f()
	}
}

// accept takes what waits at a listener.
func (l *loop) accept(ln *listener) {
	for range acceptBudget {
		// unix.Accept4 would take the trouble to return the peer's address.
		r, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(ln.fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			l.welcome(ln.relay, int(r))
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED:
		default: // for want of descriptors or memory: accept(2)
			ln.relay.counts.acceptErrors.Add(1)
			_ = l.poller.Remove(ln.fd)
			ln.paused = l.now + int64(acceptPause)
			return
		}
	}
}

// welcome begins a session.
func (l *loop) welcome(r *relay, fd int) {
	c := l.slot()
	c.fd, c.dialogue = fd, dialogue{relay: r}
	r.counts.connections.Add(1)
	r.counts.open.Add(1)
	if r.ImplicitTLS {
		l.handOver(c)
		return
	}
	if err := l.poller.Add(fd, c.token(), conditions); err != nil { // no memory
		l.drop(c)
		return
	}
	c.out = l.out
	c.begin()
	l.advance(c)
}

// slot returns a conn that is not in use.
func (l *loop) slot() *conn {
	if n := len(l.free); n > 0 {
		c := l.conns[l.free[n-1]]
		l.free = l.free[:n-1]
		return c
	}
	c := &conn{slot: int32(len(l.conns)), fd: -1}
	l.conns = append(l.conns, c)
	return c
}
