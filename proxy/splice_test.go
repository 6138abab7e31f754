package proxy

import (
	"crypto/sha256"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// bulk writes total bytes of a pattern whose period fits no buffer, counts them
// as they go and returns their sum.
func bulk(to io.Writer, total int64, count *atomic.Int64) (sum [32]byte, err error) {
	block := stream(99, 255_989) // a prime
	h := sha256.New()
	for sent := int64(0); sent < total; {
		b := block[:min(int64(len(block)), total-sent)]
		n, err := to.Write(b)
		_, _ = h.Write(b[:n]) // never fails
		sent += int64(n)
		count.Add(int64(n))
		if err != nil {
			return sum, err
		}
	}
	h.Sum(sum[:0])
	return sum, nil
}

func drained(from io.Reader) (sum [32]byte, n int64, err error) {
	h := sha256.New()
	n, err = io.CopyBuffer(h, struct{ io.Reader }{from}, make([]byte, 256<<10))
	h.Sum(sum[:0])
	return sum, n, err
}

// transfer is what one end has sent and received.
type transfer struct {
	sent, got [32]byte
	n         int64
	err       error
}

// bothWays sends up bytes and reads to the other end's end, at once.
func bothWays(conn *net.TCPConn, up int64) transfer {
	var t transfer
	done := make(chan struct{})
	go func() {
		defer close(done)
		var count atomic.Int64
		if t.sent, t.err = bulk(struct{ io.Writer }{conn}, up, &count); t.err == nil {
			t.err = conn.CloseWrite()
		}
	}()
	got, n, err := drained(conn)
	<-done
	t.got, t.n = got, n
	if t.err == nil {
		t.err = err
	}
	return t
}

const mail100MB = 100 << 20

func TestMailOf100MBArrivesByteForByte(t *testing.T) {
	for _, test := range []struct {
		name     string
		up, down int64
	}{
		{"up", mail100MB, 0},
		{"down", 0, mail100MB},
		{"both ways at once", mail100MB, mail100MB},
	} {
		t.Run(test.name, func(t *testing.T) {
			relayEnd := make(chan transfer, 1)
			relay := bare(t, func(conn *net.TCPConn) { relayEnd <- bothWays(conn, test.down) })
			r := newRig(t, relay.Addr()).run()
			conn := r.raw()
			wantRead(t, conn, plainGreeting)
			c := bothWays(conn, test.up)
			b := <-relayEnd
			if c.err != nil || b.err != nil {
				t.Fatalf("client: %v, relay: %v", c.err, b.err)
			}
			if b.n != test.up || b.got != c.sent {
				t.Errorf("the relay got %d bytes, or other ones, want %d", b.n, test.up)
			}
			if c.n != test.down || c.got != b.sent {
				t.Errorf("the client got %d bytes, or other ones, want %d", c.n, test.down)
			}
			rec := r.ended(1)
			if rec.BytesUp != test.up || rec.BytesDown != test.down+int64(len(plainGreeting)) {
				t.Errorf("recorded %d bytes up, %d down", rec.BytesUp, rec.BytesDown)
			}
			if st := r.Stats(); st.BytesUp != rec.BytesUp || st.BytesDown != rec.BytesDown {
				t.Errorf("counted %d bytes up, %d down", st.BytesUp, st.BytesDown)
			}
		})
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A reader that does not read stops the writer, and costs no memory but a
// buffer; when it reads on, all is there.
func TestSlowReaderHoldsTheWriterAndLittleMemory(t *testing.T) {
	const size = 200 << 20
	release, end := make(chan struct{}), make(chan transfer, 1)
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	relay := bare(t, func(conn *net.TCPConn) {
		<-release
		var b transfer
		b.got, b.n, b.err = drained(conn)
		end <- b
	})
	r := newRig(t, relay.Addr()).run()
	conn := r.raw()
	wantRead(t, conn, plainGreeting)
	before := heapInUse()
	var count atomic.Int64
	sent := make(chan transfer, 1)
	go func() {
		var c transfer
		if c.sent, c.err = bulk(conn, size, &count); c.err == nil {
			c.err = conn.CloseWrite()
		}
		sent <- c
	}()
	last, same := int64(-1), 0
	smtptest.Eventually(t, patience, func() bool {
		if n := count.Load(); n != last || n == 0 {
			last, same = n, 0
		}
		same++
		return same > 40
	}, "the writer is not held up")
	if last >= size {
		t.Fatal("nothing held the writer up: all of it is under way somewhere")
	}
	// The writer's own block and sum are in it too.
	if after := heapInUse(); after > before+1<<20 {
		t.Errorf("the heap grew by %d bytes for a reader that does not read", after-before)
	}
	free()
	c, b := <-sent, <-end
	if c.err != nil || b.err != nil || b.n != size || b.got != c.sent {
		t.Errorf("%d of %d bytes arrived, or other ones; client: %v, relay: %v", b.n, size, c.err, b.err)
	}
}

// One large mail must not hold up everybody else: its loop has one thread.
func TestLargeMailLetsOthersIn(t *testing.T) {
	var heavy atomic.Int64
	relay := smtptest.Start(t, smtptest.Script{})
	sink := bare(t, func(conn *net.TCPConn) {
		buffer := make([]byte, 256<<10)
		for {
			n, err := conn.Read(buffer)
			heavy.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	r := newRig(t, relay.Addr())
	r.listener().Routes = []Route{{From: prefixes("127.0.0.9/32"), Pool: newPool(t, "sink", sink.Addr())}}
	r.run()
	conn := r.dialFrom("127.0.0.9").Conn()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		var count atomic.Int64
		_, _ = bulk(conn, 1<<50, &count) // until the connection is closed
	}()
	smtptest.Eventually(t, patience, func() bool { return heavy.Load() > 8<<20 }, "the large mail does not move")
	before := heavy.Load()
	for range 50 {
		c := r.dial()
		wantGreeting(t, c, plainGreeting)
		if err := c.Quit(); err != nil {
			t.Fatal(err)
		}
	}
	smtptest.Eventually(t, patience, func() bool { return heavy.Load() > before+8<<20 }, "the large mail stands still")
	_ = conn.Close()
	<-stopped
	r.ended(51)
}

// However much there is to move, a turn moves a share of it: more than that is
// on its way from this source, and this sink has room for it.
func TestEndlessSourceEndsItsTurn(t *testing.T) {
	h := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
	_, s := h.greeted()
	for range 3 {
		source, sender := socketPair(t)
		if n := fill(t, sender); n < share+2*pipeSize {
			t.Fatalf("the sender's socket took %d bytes, too few for a turn", n)
		}
		sink, _ := socketPair(t)
		before := s.up.bytes
		s.up.ready = true
		if p := h.pump(s, &s.up, source, sink); p != unfinished {
			t.Fatalf("progress %d, want unfinished", p)
		}
		if n := s.up.bytes - before; n < share || n > share+pipeSize {
			t.Errorf("%d bytes in one turn, want %d to %d", n, share, share+pipeSize)
		}
	}
}

// fill writes as much as the connection takes without a reader.
func fill(t *testing.T, conn *net.TCPConn) (total int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<10)
	err = raw.Write(func(fd uintptr) bool {
		for {
			n, err := unix.Write(int(fd), block)
			if err != nil {
				return true
			}
			total += n
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// Moving bytes allocates nothing: not for each, not for each buffer of them.
func TestMovingBytesAllocatesNothing(t *testing.T) {
	relay := bare(t, func(conn *net.TCPConn) {
		buffer := make([]byte, 256<<10)
		for {
			n, err := conn.Read(buffer)
			if n > 0 {
				_, err = conn.Write(buffer[:n])
			}
			if err != nil {
				return
			}
		}
	})
	r := newRig(t, relay.Addr()).run()
	conn := r.raw()
	wantRead(t, conn, plainGreeting)
	block := stream(5, 256<<10)
	back := make([]byte, len(block))
	round := func(total int) {
		go func() {
			for sent := 0; sent < total; sent += len(block) {
				if _, err := conn.Write(block); err != nil {
					return // the reader sees it
				}
			}
		}()
		for got := 0; got < total; got += len(back) {
			if _, err := io.ReadFull(conn, back); err != nil {
				t.Error(err)
				return
			}
		}
	}
	round(16 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	round(64 << 20)
	runtime.ReadMemStats(&after)
	// 64 MB each way are at least a thousand buffers each way; what is left is
	// the test's own.
	if n := after.Mallocs - before.Mallocs; n > 200 {
		t.Errorf("%d allocations for 64 MB each way", n)
	}
}

// gulps is a relay that reads nothing but 256 KB for each gulp, and the rest
// once there are no more gulps to come.
func gulps(t *testing.T) (relay *smtptest.Relay, gulp chan struct{}, free func()) {
	t.Helper()
	gulp = make(chan struct{})
	relay = bare(t, func(conn *net.TCPConn) {
		for range gulp {
			if _, err := io.CopyN(io.Discard, conn, 256<<10); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, struct{ io.Reader }{conn})
	})
	free = sync.OnceFunc(func() { close(gulp) })
	t.Cleanup(free)
	return relay, gulp, free
}

// held turns the loop until bytes wait in a pipe for a relay that does not read.
// Each turn finds more than two full buffers, so that the way up splices.
func (h *hand) held(c *smtptest.Client, s *session, gulp chan struct{}, total int64) (stopped chan struct{}) {
	h.t.Helper()
	if err := unix.SetsockoptInt(s.client, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20); err != nil {
		h.t.Fatal(err)
	}
	stopped = make(chan struct{})
	go func() {
		defer close(stopped)
		var count atomic.Int64
		_, _ = bulk(c.Conn(), total, &count) // the test looks at what arrives
	}()
	h.until(func() bool {
		switch {
		case s.up.rest != nil: // it was still copying when the relay had enough
			select {
			case gulp <- struct{}{}:
			default:
			}
		case s.up.pipe == nil:
			smtptest.Eventually(h.t, patience, func() bool { return inQueue(s.client) >= 2*bufferSize }, "nothing comes")
		}
		return s.up.pipe != nil
	}, "bytes wait in a pipe")
	return stopped
}

// A direction goes over to splicing while much comes, holds its pipe no longer
// than bytes are in it, and goes back to copying.
func TestPipesAreHeldOnlyWhileBytesAreInThem(t *testing.T) {
	relay, gulp, free := gulps(t)
	h := newRig(t, relay.Addr()).byHand()
	c, s := h.greeted()
	const total = 64 << 20
	stopped := h.held(c, s, gulp, total)
	if got := h.r.Stats().Descriptors; got != 4 || !s.up.blocked {
		t.Errorf("%d descriptors are held, want two sockets and a pipe", got)
	}
	free()
	h.until(func() bool { return s.up.bytes == total && !s.up.holds() && !s.up.ready }, "all has gone")
	<-stopped
	if s.up.splices {
		t.Error("still splicing when nothing comes")
	}
	if len(h.pipes.idle) != 1 {
		t.Errorf("%d pipes in the pool, want 1", len(h.pipes.idle))
	}
}

// A session that ends with bytes in its pipe must not leave them to the next.
func TestPipeWithBytesInsideIsNotUsedAgain(t *testing.T) {
	relay, gulp, _ := gulps(t)
	h := newRig(t, relay.Addr()).byHand()
	c, s := h.greeted()
	stopped := h.held(c, s, gulp, 1<<40)
	resets(t, c.Conn())
	<-stopped
	h.until(h.gone, "the session is over")
	if st := h.r.Stats(); len(h.pipes.idle) != 0 || st.Descriptors != 0 {
		t.Errorf("%d pipes in the pool and %d descriptors held, want none", len(h.pipes.idle), st.Descriptors)
	}
}
