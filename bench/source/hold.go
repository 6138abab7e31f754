package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// holdAtOnce is how many sessions are opened, or closed, at the same time.
const holdAtOnce = 64

// Held is sessions that wait after EHLO. Its methods are safe for concurrent
// use.
type Held struct {
	conns []net.Conn
	close sync.Once
}

// Hold opens n sessions up to the reply to EHLO, or TLS where cfg says so, and
// keeps them. Beside its socket a session costs this process some hundred bytes,
// no goroutine and no buffer, so that what is measured is the target's. Of cfg
// only the targets and what concerns the opening counts. If one session cannot
// be opened, all are closed, and the error says why.
func Hold(ctx context.Context, cfg Config, n int) (*Held, error) {
	cfg.Concurrency, cfg.Rate = holdAtOnce, 0
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	targets, err := resolve(ctx, cfg.Targets)
	if err != nil {
		return nil, err
	}
	r := newRunner(cfg, targets)
	r.alive = ctx
	h := &Held{conns: make([]net.Conn, n)}
	if err := h.open(r); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (h *Held) open(r *runner) error {
	var next atomic.Int64
	failed := make(chan error, holdAtOnce)
	for range min(holdAtOnce, len(h.conns)) {
		s := r.newSession()
		r.tasks.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(h.conns)); i = next.Add(1) - 1 {
				s.target = r.nextTarget()
				f := s.establish(time.Now())
				if f != nil {
					s.hangUp(f)
					next.Store(int64(len(h.conns))) // the others need not go on
					failed <- fmt.Errorf("session %d of %d to %s: %s: %s", i+1, len(h.conns), s.target, f.class, f.text)
					return
				}
				h.conns[i], s.conn = s.conn, nil
				s.in.reset()
			}
		})
	}
	r.tasks.Wait()
	if err := r.alive.Err(); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// Open is how many of the sessions the target has not closed.
func (h *Held) Open() int {
	open := 0
	for _, conn := range h.conns {
		if conn != nil && alive(conn) {
			open++
		}
	}
	return open
}

// alive looks at the socket under a connection, and takes nothing out of it.
func alive(conn net.Conn) bool {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = over.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	open := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		open = n > 0 || errors.Is(err, unix.EAGAIN)
	})
	return err == nil && open
}

// Close says QUIT in every session and closes it.
func (h *Held) Close() {
	h.close.Do(func() {
		var tasks sync.WaitGroup
		var next atomic.Int64
		for range min(holdAtOnce, len(h.conns)) {
			tasks.Go(func() {
				for i := next.Add(1) - 1; i < int64(len(h.conns)); i = next.Add(1) - 1 {
					if conn := h.conns[i]; conn != nil {
						goodbye(conn)
					}
				}
			})
		}
		tasks.Wait()
	})
}

// goodbye leaves the first close to the target.
func goodbye(conn net.Conn) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(farewell)) != nil {
		return
	}
	if _, err := io.WriteString(conn, "QUIT\r\n"); err == nil {
		_, _ = io.Copy(io.Discard, conn) // until the end, or the deadline
	}
}
