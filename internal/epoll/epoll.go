// Package epoll is one edge-triggered epoll instance that another goroutine can
// wake: what an event loop waits on.
//
//	p, err := epoll.New()
//	p.Add(fd, epoll.MakeToken(index, generation), epoll.In|epoll.Edge)
//	for {
//		events, err := p.Wait(timeout)
//		for i := range events { ... events[i].Token() ... }
//	}
//
// What an event means is in its Token, two numbers of the caller's: usually a
// slot and the slot's generation, so that an event that was already fetched
// when its descriptor was closed and reused is recognised and dropped.
//
// A Poller belongs to one goroutine, except Wake. Source: epoll(7), epoll_ctl(2).
//
// # Waiting without the scheduler
//
// A goroutine that waits in a system call gives its processor (the P of Go's
// scheduler) away, if it waits for long, and the runtime's monitor thread looks
// every 20 us whether it does. A loop that sleeps and wakes thousands of times a
// second keeps that thread busy with nothing else, at half the loop's own cost.
// [Poller.WaitBusy] tells the scheduler nothing: the P is kept. It is for loops
// that leave at least one P to everybody else, and for times with traffic: the
// runtime interrupts such a wait every 10 ms.
package epoll

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The conditions to ask for, and those that an event reports.
const (
	In        = unix.EPOLLIN
	Out       = unix.EPOLLOUT
	ReadHup   = unix.EPOLLRDHUP // the peer has sent its last byte
	Hup       = unix.EPOLLHUP
	Err       = unix.EPOLLERR
	Edge      = unix.EPOLLET
	Exclusive = unix.EPOLLEXCLUSIVE // wake one of the loops that share a listening socket
)

// Token is what a registration carries and its events return.
type Token struct {
	Index      int32
	Generation int32
}

// wakeIndex marks the poller's own wake-up; callers use indexes above it.
const wakeIndex = -1 << 31

// Event is one ready descriptor.
type Event unix.EpollEvent

// Token is the one that the descriptor was added with.
func (e *Event) Token() Token { return Token{Index: e.Fd, Generation: e.Pad} }

// Has tells whether any of the given conditions holds.
func (e *Event) Has(conditions uint32) bool { return e.Events&conditions != 0 }

// Poller is one epoll instance with its wake-up.
type Poller struct {
	fd     int
	wake   int
	woken  atomic.Bool
	raw    []unix.EpollEvent
	events []Event
}

// New opens a poller: two descriptors, until Close.
func New() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &Poller{fd: fd, wake: wake, raw: make([]unix.EpollEvent, 256), events: make([]Event, 0, 256)}
	if err := p.Add(wake, Token{Index: wakeIndex}, In|Edge); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// Close gives the descriptors back. Descriptors that were added stay open.
func (p *Poller) Close() error {
	_ = unix.Close(p.wake)
	return unix.Close(p.fd)
}

// Add watches fd for the conditions. Closing the descriptor ends it, as long as
// no duplicate of it is open.
func (p *Poller) Add(fd int, t Token, conditions uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, t, conditions)
}

// Modify replaces the conditions and the token of fd; what is already true is
// reported again.
func (p *Poller) Modify(fd int, t Token, conditions uint32) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, t, conditions)
}

// Remove stops watching fd.
func (p *Poller) Remove(fd int) error {
	return p.control(unix.EPOLL_CTL_DEL, fd, Token{}, 0)
}

func (p *Poller) control(op, fd int, t Token, conditions uint32) error {
	ev := unix.EpollEvent{Events: conditions, Fd: t.Index, Pad: t.Generation}
	if err := unix.EpollCtl(p.fd, op, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// Wait returns what is ready, at the latest after timeout (negative: no limit;
// rounded up to a millisecond), or early and possibly empty after Wake. The
// slice is valid until the next call.
func (p *Poller) Wait(timeout time.Duration) ([]Event, error) {
	n, err := unix.EpollWait(p.fd, p.raw, milliseconds(timeout))
	if err != nil && err != unix.EINTR {
		return nil, fmt.Errorf("epoll_wait: %w", err)
	}
	return p.take(n), nil
}

// WaitBusy is Wait for a busy loop: the goroutine keeps its P while it waits.
// It may return early and empty at any time.
func (p *Poller) WaitBusy(timeout time.Duration) ([]Event, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.raw[0])),
		uintptr(len(p.raw)), uintptr(milliseconds(timeout)), 0, 0)
	switch errno {
	case 0:
		return p.take(int(n)), nil
	case unix.EINTR:
		return nil, nil
	default:
		return nil, fmt.Errorf("epoll_pwait: %w", errno)
	}
}

// milliseconds is a timeout as the kernel wants it, rounded up.
func milliseconds(timeout time.Duration) int {
	if timeout < 0 {
		return -1
	}
	return int((timeout + time.Millisecond - 1) / time.Millisecond)
}

// take makes events of the first n raw ones.
func (p *Poller) take(n int) []Event {
	p.events = p.events[:0]
	for i := range max(n, 0) {
		e := Event(p.raw[i])
		if e.Fd == wakeIndex {
			p.rearm()
			continue
		}
		p.events = append(p.events, e)
	}
	return p.events
}

// rearm empties the eventfd before it lets the next Wake write again: a Wake
// between the two finds the flag set and is covered by the return of this Wait.
func (p *Poller) rearm() {
	var b [8]byte
	_, _ = unix.Read(p.wake, b[:])
	p.woken.Store(false)
}

// Wake makes the current or the next Wait return soon. Safe for concurrent use;
// several calls before that Wait cost one system call. Call it after what the
// loop should see has been published.
func (p *Poller) Wake() {
	if !p.woken.CompareAndSwap(false, true) {
		return
	}
	_, _ = unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}
