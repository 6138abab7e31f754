package proxy

import (
	"golang.org/x/sys/unix"

	"smtplb/internal/socket"
)

// pipe carries spliced bytes of one direction at a time.
type pipe struct {
	r, w int
	n    int // bytes inside
}

// pipeSize is asked of the kernel, which gives less to a user who has many,
// pipe(7). A page of the pipe can hold less than a page of bytes, so that more
// room than one splice moves is of use.
const (
	pipeSize    = 256 << 10
	spareMost   = 8
	spliceWorth = 16 << 10 // a splice that moves less was not worth its two calls
)

// pipePool keeps a loop's empty pipes. A pipe with bytes inside never enters it.
type pipePool struct {
	idle []*pipe
}

// get returns an empty pipe, or nil when no descriptors are left for one.
func (p *pipePool) get(s *Server) *pipe {
	if n := len(p.idle); n > 0 {
		pp := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return pp
	}
	if !s.reserve(2) {
		return nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		s.fds.Add(-2)
		return nil
	}
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize)
	return &pipe{r: fds[0], w: fds[1]}
}

// put takes back an empty pipe.
func (p *pipePool) put(s *Server, pp *pipe) {
	if len(p.idle) < spareMost {
		p.idle = append(p.idle, pp)
		return
	}
	p.discard(s, pp)
}

// discard closes a pipe, with whatever is inside.
func (p *pipePool) discard(s *Server, pp *pipe) {
	_ = unix.Close(pp.r)
	_ = unix.Close(pp.w)
	s.fds.Add(-2)
}

func (p *pipePool) close(s *Server) {
	for _, pp := range p.idle {
		p.discard(s, pp)
	}
	p.idle = nil
}

// takeSplice moves bytes from the source into an empty pipe and on to the sink.
// Invariant: the direction holds no pipe and no rest when it is called. The
// pipe being empty, EAGAIN means that the source has nothing.
func (l *loop) takeSplice(s *session, d *direction, src, dst int) (int, progress) {
	p := l.pipes.get(l.server)
	if p == nil {
		d.splices, d.full = false, 0
		return 0, waiting
	}
	n, err := socket.Splice(src, p.w, pipeSize)
	switch {
	case err == nil && n > 0:
		p.n = n
		d.pipe = p
		l.moved(s, d, n)
		if n < spliceWorth {
			d.splices, d.full = false, 0
		}
		if how, ok := l.flushPipe(s, d, dst); !ok {
			return n, how
		}
		return n, waiting
	case err == nil:
		d.eof = true
	case err == unix.EAGAIN:
		d.ready = false
		d.splices, d.full = false, 0
	case err == unix.EINVAL:
		d.splices, d.full = false, 0 // not a socket that can: copy
	default:
		l.pipes.put(l.server, p)
		return 0, sourceBroke
	}
	l.pipes.put(l.server, p)
	return 0, waiting
}

// flushPipe moves the pipe's bytes to the sink and gives the pipe back when it
// is empty. As there are bytes, EAGAIN means that the sink has no room.
func (l *loop) flushPipe(s *session, d *direction, dst int) (progress, bool) {
	for d.pipe.n > 0 {
		n, err := socket.Splice(d.pipe.r, dst, d.pipe.n)
		switch {
		case err == unix.EAGAIN:
			l.block(s, d)
			return waiting, false
		case err != nil || n == 0:
			return sinkBroke, false
		}
		d.pipe.n -= n
	}
	l.pipes.put(l.server, d.pipe)
	d.pipe = nil
	return waiting, true
}
