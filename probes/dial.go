package probes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/balancer"
)

// dialer is how check gets its connection; tests have others than dial.
type dialer func(ctx context.Context, t Target) (net.Conn, error)

func dial(ctx context.Context, t Target) (net.Conn, error) {
	d := net.Dialer{
		Timeout:   t.connectTimeout(),
		KeepAlive: -1, // a check is shorter than the first keep-alive
	}
	if t.Source.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: t.Source.AsSlice(), Zone: t.Source.Zone()}
	}
	if t.Interface != "" || t.FWMark != 0 {
		d.Control = t.control
	}
	return d.DialContext(ctx, "tcp", t.Address)
}

// control makes the check leave through the same door as the sessions:
// SO_BINDTODEVICE and SO_MARK of socket(7).
func (t Target) control(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		if t.Interface != "" {
			if err := unix.BindToDevice(int(fd), t.Interface); err != nil {
				failed = fmt.Errorf("interface %q: %w", t.Interface, err)
				return
			}
		}
		if t.FWMark != 0 {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(t.FWMark)); err != nil {
				failed = fmt.Errorf("fwmark %d: %w", t.FWMark, err)
			}
		}
	})
	return errors.Join(err, failed)
}

// check is what all checks have in common: connect, the PROXY header, what talk
// has to say, and an orderly end, all within the target's Timeout.
func check(ctx context.Context, t Target, connect dialer, talk func(context.Context, *dialogue, Target, *Result)) Result {
	d := &dialogue{start: time.Now()}
	r := Result{Stage: StageConnect}
	if err := t.Validate(); err != nil {
		r.Outcome, r.Err = balancer.Unreachable, err
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, t.timeout())
	defer cancel()

	conn, err := connect(ctx, t)
	if err != nil {
		d.note(err.Error())
		r.Outcome, r.Inconclusive = outcomeOf(StageConnect, err)
		r.Err, r.Latency, r.Dialogue = err, time.Since(d.start), d.lines
		return r
	}
	d.open(conn)
	stop := context.AfterFunc(ctx, d.interrupt)
	defer stop()
	d.note("connected to " + conn.RemoteAddr().String() + " from " + conn.LocalAddr().String())

	err = d.introduce(t)
	if err != nil {
		r.Stage, r.Err, r.Latency = StageProxy, err, time.Since(d.start)
		r.Outcome, r.Inconclusive = outcomeOf(StageProxy, err)
	} else {
		talk(ctx, d, t, &r)
	}
	if !r.OK && errors.Is(ctx.Err(), context.Canceled) {
		r.Inconclusive, r.Err = true, ctx.Err()
	}
	d.close(ctx)
	r.Dialogue = d.lines
	return r
}

// outcomeOf puts an error into the words of the balancer. Inconclusive are
// those that are about this machine: were they held against the relays, a
// balancer short of descriptors would take all of them down at once.
func outcomeOf(stage Stage, err error) (outcome balancer.Outcome, inconclusive bool) {
	var dns *net.DNSError
	var timeout net.Error
	var secrecy *tlsError
	switch {
	case errors.Is(err, context.Canceled),
		errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE),
		errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return balancer.Unreachable, true
	case errors.As(err, &dns):
		return balancer.Unreachable, !dns.IsNotFound
	case errors.Is(err, errNotSMTP):
		return balancer.NotSMTP, false
	case errors.Is(err, unix.ECONNREFUSED):
		return balancer.Refused, false
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return balancer.Reset, false
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return balancer.Closed, false
	case errors.As(err, &timeout) && timeout.Timeout(): // ETIMEDOUT is one too
		if stage == StageConnect {
			return balancer.ConnectTimeout, false
		}
		return balancer.GreetingTimeout, false
	case errors.As(err, &secrecy): // last: most errors of a TLS stream are its connection's
		return balancer.NotSMTP, false
	default:
		return balancer.Unreachable, false
	}
}
