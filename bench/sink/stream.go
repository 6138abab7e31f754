package sink

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	handshakeTime = 30 * time.Second
	streamBuffer  = 16 << 10 // a TLS record
)

// handOver gives a connection to a goroutine of its own, which speaks TLS.
func (l *loop) handOver(c *conn) {
	_ = l.poller.Remove(c.fd) // with implicit TLS it is not there yet
	file := os.NewFile(uintptr(c.fd), "")
	raw, err := net.FileConn(file) // a duplicate
	_ = file.Close()
	d := c.dialogue
	c.dialogue = dialogue{relay: d.relay}
	l.forget(c)
	tcp, ok := raw.(*net.TCPConn)
	if err != nil || !ok { // for want of descriptors
		d.end()
		d.relay.counts.open.Add(-1)
		return
	}
	d.out = nil
	l.sink.streams.start(&stream{raw: tcp, dialogue: d}, l.sink.tls)
}

// stream is a session over TLS, on a goroutine.
type stream struct {
	raw  *net.TCPConn
	conn *tls.Conn
	dialogue
}

// streams are those that there are. Safe for concurrent use.
type streams struct {
	tasks sync.WaitGroup

	mu   sync.Mutex // guards all below
	open map[*stream]context.CancelFunc
	over bool
}

func (all *streams) start(s *stream, config *tls.Config) {
	all.mu.Lock()
	defer all.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	if all.over {
		cancel()
	}
	if all.open == nil {
		all.open = make(map[*stream]context.CancelFunc)
	}
	all.open[s] = cancel
	all.tasks.Go(func() {
		defer all.forget(s)
		defer cancel()
		stop := context.AfterFunc(ctx, func() { _ = s.raw.Close() })
		defer stop()
		s.run(ctx, config)
	})
}

func (all *streams) forget(s *stream) {
	s.end()
	_ = s.raw.Close()
	s.relay.counts.open.Add(-1)
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.open, s)
}

// resetAll resets the sessions of a relay, and calls count before each.
func (all *streams) resetAll(r *relay, count func()) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for s, cancel := range all.open {
		if s.relay == r {
			count()
			_ = s.raw.SetLinger(0)
			cancel()
		}
	}
}

// close ends all sessions and waits for their goroutines.
func (all *streams) close() {
	all.mu.Lock()
	all.over = true
	for _, cancel := range all.open {
		cancel()
	}
	all.mu.Unlock()
	all.tasks.Wait()
}

// run shakes hands and drives the dialogue to its end.
func (s *stream) run(ctx context.Context, config *tls.Config) {
	s.conn = tls.Server(s.raw, config)
	_ = s.raw.SetDeadline(time.Now().Add(handshakeTime)) // a connection that is closed already fails at once
	if s.conn.HandshakeContext(ctx) != nil {
		return
	}
	_ = s.raw.SetDeadline(time.Time{})
	if s.secured(); s.relay.ImplicitTLS {
		s.begin()
	}
	buffer := make([]byte, streamBuffer)
	for rest := buffer[:0]; ; {
		s.announce()
		if len(s.out) > 0 {
			if _, err := s.conn.Write(s.out); err != nil {
				return
			}
			s.out = s.out[:0]
		}
		s.sent()
		if !s.follow(ctx) {
			return
		}
		if s.step != stepRead { // a wait was over
			continue
		}
		if len(rest) == 0 && len(s.out) == 0 {
			n, err := s.conn.Read(buffer)
			if n == 0 && err != nil {
				return
			}
			rest = buffer[:n]
		}
		rest = rest[s.input(rest):]
	}
}

// follow does what the dialogue's step says, and is false at the end.
func (s *stream) follow(ctx context.Context) bool {
	switch s.step {
	case stepWait:
		timer := time.NewTimer(s.wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			s.resume()
		case <-ctx.Done():
			return false
		}
		return true
	case stepClose:
		_ = s.conn.CloseWrite() // an error here is one of the read as well
		_ = s.raw.CloseWrite()
		_ = s.raw.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.Copy(io.Discard, s.raw)
	case stepQuit:
		_ = s.conn.Close()
	case stepReset:
		_ = s.raw.SetLinger(0)
		_ = s.raw.Close()
	case stepSilence:
		_, _ = io.Copy(io.Discard, s.raw)
	default:
		return true
	}
	return false
}
