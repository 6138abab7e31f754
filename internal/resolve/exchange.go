package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpSize is what we take by UDP: what passes every path without fragments
	// (dnsflagday.net/2020).
	udpSize = 1232

	// rounds is how often each server is asked that does not answer.
	rounds = 2

	// silentFor is how long a server that did not answer is asked after the others.
	silentFor = 30 * time.Second
)

// asked is one server to ask, and for how long.
type asked struct {
	server  netip.AddrPort
	timeout time.Duration
}

// exchange asks the servers, one after the other, until one answers the question:
// that there is no such name is an answer.
func (r *Resolver) exchange(ctx context.Context, set *settings, name string, qtype uint16) (*dns.Msg, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, silence(name, qtype, ctx.Err())
	}
	var last error
	for range rounds {
		silent := false
		for _, server := range r.inOrder(set.servers) {
			in, err := asked{server, set.timeout}.question(ctx, name, qtype)
			if err == nil {
				r.heard(server, true)
				return in, nil
			}
			if ctx.Err() == nil {
				r.heard(server, FaultOf(err) != Timeout)
			}
			last = err
			silent = silent || FaultOf(err) == Timeout
			if ctx.Err() != nil {
				return nil, last
			}
		}
		if !silent {
			break // they would say the same again
		}
	}
	return nil, last
}

// inOrder are the servers as they are configured, but for those that were silent
// lately: they come last.
func (r *Resolver) inOrder(servers []netip.AddrPort) []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	var good, silent []netip.AddrPort
	for _, s := range servers {
		if time.Now().Before(r.silent[s]) {
			silent = append(silent, s)
		} else {
			good = append(good, s)
		}
	}
	return append(good, silent...)
}

// heard notes whether a server has said anything.
func (r *Resolver) heard(server netip.AddrPort, anything bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if anything {
		delete(r.silent, server)
		return
	}
	r.silent[server] = time.Now().Add(silentFor)
}

// question asks the one server. An error is an *Error.
func (a asked) question(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	out := new(dns.Msg)
	out.SetQuestion(name, qtype) // with a random ID
	out.SetEdns0(udpSize, false)
	in, err := a.byUDP(ctx, out)
	if err == nil && (in.Rcode == dns.RcodeFormatError || in.Rcode == dns.RcodeNotImplemented) {
		out.Extra = nil // a server from before EDNS0: RFC 6891, section 7
		in, err = a.byUDP(ctx, out)
	}
	if err == nil && in.Truncated {
		in, err = a.byTCP(ctx, out)
	}
	switch {
	case err != nil:
		return nil, silence(name, qtype, fmt.Errorf("server %s: %w", a.server, err))
	case in.Rcode != dns.RcodeSuccess && in.Rcode != dns.RcodeNameError:
		return nil, &Error{Fault: ServFail, Text: fmt.Sprintf("%s %s: server %s answers %s", name, dns.TypeToString[qtype], a.server, rcode(in.Rcode))}
	}
	return in, nil
}

func rcode(code int) string {
	if word, ok := dns.RcodeToString[code]; ok {
		return word
	}
	return fmt.Sprint("code ", code)
}

// silence is the error of a server that gave no answer.
func silence(name string, qtype uint16, err error) *Error {
	fault := Unreachable
	var netErr net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &netErr) && netErr.Timeout():
		fault = Timeout
	case errors.Is(err, errNoAnswer):
		fault = Invalid
	}
	return &Error{Fault: fault, Text: fmt.Sprintf("%s %s: %v", name, dns.TypeToString[qtype], err)}
}

var errNoAnswer = errors.New("what came is no answer to the question")

// dial connects until ctx ends or the timeout is over. The kernel chooses the port, at
// random.
func (a asked) dial(ctx context.Context, network string) (net.Conn, func(), error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	conn, err := (&net.Dialer{}).DialContext(ctx, network, a.server.String())
	if err != nil {
		cancel()
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); cancel(); conn.Close() }, nil
}

// byUDP waits for an answer to the question. Whatever else comes in is somebody
// else's, and passed over.
func (a asked) byUDP(ctx context.Context, out *dns.Msg) (*dns.Msg, error) {
	conn, done, err := a.dial(ctx, "udp")
	if err != nil {
		return nil, err
	}
	defer done()
	if err := (&dns.Conn{Conn: conn}).WriteMsg(out); err != nil {
		return nil, err
	}
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		in := new(dns.Msg)
		// One that was cut within a record cannot be read to its end, but is known
		// by its beginning.
		if err := in.Unpack(buf[:n]); (err == nil || in.Truncated) && answersTo(in, out) {
			return in, nil
		}
	}
}

// byTCP takes the one answer that there is. One that is cut short even here has
// no more to give.
func (a asked) byTCP(ctx context.Context, out *dns.Msg) (*dns.Msg, error) {
	conn, done, err := a.dial(ctx, "tcp")
	if err != nil {
		return nil, err
	}
	defer done()
	stream := &dns.Conn{Conn: conn}
	if err := stream.WriteMsg(out); err != nil {
		return nil, err
	}
	raw, err := stream.ReadMsgHeader(nil)
	if err != nil {
		return nil, err
	}
	in := new(dns.Msg)
	if err := in.Unpack(raw); err != nil || !answersTo(in, out) {
		return nil, errNoAnswer
	}
	return in, nil
}
