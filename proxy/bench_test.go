package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/epoll"
)

// BenchmarkGreeting is what a greeting costs until it is known to be good: a
// parse of all that has come, each time that something has. Bytewise is a relay
// that sends single bytes; the longest has as many lines as fit.
func BenchmarkGreeting(b *testing.B) {
	long := "220-mail.example.com ESMTP ready at your service\r\n"
	greetings := []struct {
		name string
		text string
	}{
		{"lines=1", "220 mail.example.com ESMTP Postfix (Debian/GNU)\r\n"},
		{"lines=4", strings.Repeat(long, 3) + "220 go ahead\r\n"},
		{"longest", strings.Repeat("220-\r\n", maxGreeting/6-1) + "220\r\n"},
	}
	for _, g := range greetings {
		text := []byte(g.text)
		for _, way := range []struct {
			name string
			step int
		}{{"whole", len(text)}, {"bytewise", 1}} {
			b.Run(g.name+"/"+way.name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					var j judgement
					for n := way.step; n <= len(text); n += way.step {
						j = parseGreeting(text[:n], j.seen)
					}
					if j.verdict != good {
						b.Fatalf("verdict %d", j.verdict)
					}
				}
			})
		}
	}
}

// BenchmarkCopyPath moves messages of one size through a direction, client to
// relay, and waits for each to arrive. The loop's steps are its own; only the
// choice between copy and splice is taken out of its hands before each, but in
// mode=adaptive. cpu-s/GB is the loop's thread alone: sender and receiver have
// theirs.
func BenchmarkCopyPath(b *testing.B) {
	modes := []struct {
		name  string
		force func(*direction)
	}{
		{"copy", func(d *direction) { d.splices, d.full = false, 0 }},
		{"splice", func(d *direction) { d.splices = true }},
		{"adaptive", func(*direction) {}},
	}
	for _, size := range []int{4 << 10, 64 << 10, 256 << 10, 1 << 20, 20 << 20} {
		for _, mode := range modes {
			b.Run(fmt.Sprintf("size=%dKB/mode=%s", size>>10, mode.name), func(b *testing.B) {
				c := newConveyor(b, mode.force)
				c.carry(size) // the sockets' buffers grow, the pipe is made
				b.SetBytes(int64(size))
				b.ReportAllocs()
				before := threadCPU(b)
				b.ResetTimer()
				for range b.N {
					c.carry(size)
				}
				b.StopTimer()
				used := threadCPU(b) - before
				b.ReportMetric(used.Seconds()/(float64(size)*float64(b.N)/1e9), "cpu-s/GB")
			})
		}
	}
}

// conveyor is a loop with one session that relays, turned by the benchmark.
type conveyor struct {
	b       *testing.B
	loop    *loop
	session *session
	force   func(*direction)
	orders  []chan int // sizes, to the sender and to the receiver
	arrived chan error // from the receiver, or what went wrong
	hands   sync.WaitGroup
}

func newConveyor(b *testing.B, force func(*direction)) *conveyor {
	b.Helper()
	runtime.LockOSThread() // as a loop's goroutine, and for threadCPU
	b.Cleanup(runtime.UnlockOSThread)
	server := &Server{base: time.Now()}
	server.fdLimit.Store(1 << 10)
	l, err := newLoop(server)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(l.close)
	client, sender := socketPair(b)
	backend, receiver := socketPair(b)
	s := l.sessions.get()
	s.client, s.backend, s.state = client, backend, stateRelaying
	watch := func(fd int, side uint8, conditions uint32) {
		if err := l.poller.Add(fd, s.token(side), conditions|epoll.In|epoll.ReadHup|epoll.Edge); err != nil {
			b.Fatal(err)
		}
	}
	watch(client, sideClient, 0)
	watch(backend, sideBackend, epoll.Out)
	c := &conveyor{b: b, loop: l, session: s, force: force, arrived: make(chan error, 4)}
	out, in := make([]byte, 256<<10), make([]byte, 256<<10)
	c.employ(false, func(left int) (int, error) { return sender.Write(out[:min(left, len(out))]) })
	c.employ(true, func(int) (int, error) { return receiver.Read(in) })
	b.Cleanup(func() {
		_ = sender.Close() // whatever it is waiting for
		_ = receiver.Close()
		for _, o := range c.orders {
			close(o)
		}
		c.hands.Wait()
	})
	return c
}

// employ has a goroutine move as many bytes as every order says. It tells of
// an error, and of each order that was carried out if it is the one to tell.
func (c *conveyor) employ(tells bool, move func(left int) (int, error)) {
	orders := make(chan int)
	c.orders = append(c.orders, orders)
	c.hands.Go(func() {
		for left := range orders {
			for left > 0 {
				n, err := move(left)
				if left -= n; err != nil {
					c.arrived <- err
					return
				}
			}
			if tells {
				c.arrived <- nil
			}
		}
	})
}

// carry takes size bytes from the sender to the receiver.
func (c *conveyor) carry(size int) {
	for _, o := range c.orders {
		o <- size
	}
	d := &c.session.up
	for end := d.bytes + int64(size); d.bytes < end || d.holds(); {
		for _, e := range c.loop.wait() {
			d.ready = d.ready || e.Token() == c.session.token(sideClient)
			d.blocked = d.blocked && !e.Has(epoll.Out)
		}
		c.turn(d)
	}
	if err := <-c.arrived; err != nil {
		c.b.Fatal(err)
	}
}

// turn is pump without a share and without ends, and with the mode forced.
func (c *conveyor) turn(d *direction) {
	l, s := c.loop, c.session
	for !d.blocked {
		p, flushed := l.flush(s, d, s.backend)
		if flushed && d.ready {
			c.force(d)
			_, p = l.take(s, d, s.client, s.backend)
		} else if p == waiting {
			return
		}
		if p != waiting || d.eof {
			c.b.Fatalf("a connection broke or ended: progress %d", p)
		}
	}
}

// socketPair is one TCP connection over loopback: a bare non-blocking end as
// the loop's and an end for the other side.
func socketPair(tb testing.TB) (int, *net.TCPConn) {
	tb.Helper()
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Connect(fd, sockaddr(netip.MustParseAddrPort(ln.Addr().String()), 0)); err != nil {
		tb.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		tb.Fatal(err)
	}
	if err := setNoDelay(fd); err != nil {
		tb.Fatal(err)
	}
	conn, err := ln.AcceptTCP()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return fd, conn
}

// threadCPU is what the calling thread has used so far, user and system.
func threadCPU(b *testing.B) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
