package source

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
)

// The classes of failures. The first lines are the balancer's words for a failed
// attempt; the others are for what comes after the greeting, and for troubles of
// the source's own.
const (
	classRefused         = "refused"
	classConnectTimeout  = "connect_timeout"
	classUnreachable     = "unreachable"
	classReset           = "reset"
	classClosed          = "closed"
	classGreetingTimeout = "greeting_timeout"
	classGreeting4xx     = "greeting_4xx"
	classGreeting5xx     = "greeting_5xx"
	classNotSMTP         = "not_smtp"

	classReply4xx   = "reply_4xx"
	classReply5xx   = "reply_5xx"
	classUnexpected = "reply_unexpected" // a good reply, to another question
	classTimeout    = "timeout"
	classTLS        = "tls"

	classNoPort       = "no_local_port"
	classNoDescriptor = "no_descriptor"
	classOther        = "other"
)

// The steps of a session in which something may fail.
const (
	atConnect  = "connect"
	atGreeting = "greeting"
	atEHLO     = "ehlo"
	atSTARTTLS = "starttls"
	atMAIL     = "mail"
	atRCPT     = "rcpt"
	atDATA     = "data"
	atContent  = "content"
	atRSET     = "rset"
	atQUIT     = "quit"
)

// fault is why a session or a message failed.
type fault struct {
	class, stage string
	text         string // the reply, or the error
	code         int    // of the reply; 0: there was none
	over         bool   // the connection is of no further use
	cut          bool   // the run ended it
}

// permanent tells that another try would bring the same.
func (f *fault) permanent() bool { return f.code >= 500 }

// refusal is a reply other than the one that was hoped for.
func refusal(stage string, code int, text string) *fault {
	f := &fault{stage: stage, code: code, text: text, over: code == 421} // RFC 5321, 3.8
	switch greeting := stage == atGreeting; {
	case code >= 500 && greeting:
		f.class = classGreeting5xx
	case code >= 400 && greeting:
		f.class = classGreeting4xx
	case greeting:
		f.class = classNotSMTP
	case code >= 500:
		f.class = classReply5xx
	case code >= 400:
		f.class = classReply4xx
	default: // nobody knows what the next reply will belong to
		f.class, f.over = classUnexpected, true
	}
	return f
}

// broken is an error of the connection, after it was made.
func broken(stage string, err error) *fault {
	f := &fault{stage: stage, text: bareText(err), over: true}
	switch {
	case errors.Is(err, errNotSMTP):
		f.class = classNotSMTP
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.class, f.text = classTimeout, "no reply in time"
		if stage == atGreeting {
			f.class, f.text = classGreetingTimeout, "no greeting in time"
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.class, f.text = classClosed, "connection closed"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.class = classReset
	default:
		f.class = classOther
	}
	return f
}

// unconnected is an error of connect.
func unconnected(err error) *fault {
	f := &fault{stage: atConnect, text: bareText(err), over: true}
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		f.class = classRefused
	case errors.Is(err, syscall.ECONNRESET):
		f.class = classReset
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		f.class = classNoPort
		f.text = "no local port is free for this target: those of closed connections stay in TIME_WAIT for a minute; " +
			"start fewer sessions a second, add --local addresses, or widen net.ipv4.ip_local_port_range"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		f.class = classNoDescriptor
		f.text = "too many open files: raise the limit (ulimit -n), or open fewer sessions at once"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN),
		errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		f.class = classUnreachable
	case errors.As(err, &timeout) && timeout.Timeout():
		f.class, f.text = classConnectTimeout, "no connection in time"
	default:
		f.class = classOther
	}
	return f
}

// bareText is the error without the addresses that package net puts in front,
// of which the local one is different every time.
func bareText(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	return err.Error()
}

// errNotSMTP is about bytes that no reply consists of.
var errNotSMTP = errors.New("no SMTP reply")

// notSMTP shows the bytes.
func notSMTP(text []byte) error {
	const shown = 60
	more := ""
	if len(text) > shown {
		text, more = text[:shown], "..."
	}
	return fmt.Errorf("%w: %s%s", errNotSMTP, strconv.QuoteToASCII(string(text)), more)
}
