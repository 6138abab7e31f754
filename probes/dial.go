package probes

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/balancer"
)

// dialer is how check gets its connection; tests have others than dial.
type dialer func(ctx context.Context, t Target) (net.Conn, error)

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
	case errors.Is(err, context.Canceled), stage == StageConnect && ownFault(err):
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
