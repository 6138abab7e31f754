package smtptest

import (
	"net"
	"net/netip"
	"time"
)

// Fault is a way in which a relay goes wrong before it has greeted.
type Fault int

// The faults. None is the zero value: greet as the Script says.
const (
	None         Fault = iota
	Silent             // accept, say nothing, stay until the peer closes
	CloseAtOnce        // accept, then FIN
	ResetAtOnce        // accept, then RST, which may reach the peer while it still is in connect
	HalfGreeting       // "220 rel", then as Silent
	Endless            // a greeting of 64 KB without a newline, then as Silent
)

// Script is what a relay does with a connection. The zero value is a healthy
// relay that accepts everything at once.
type Script struct {
	// Greeting is sent as it stands, line ends included; "" is
	// "220 relay.test ESMTP\r\n". What follows depends on its first digits, see
	// RFC 5321, 3.1: after 220 the dialogue; after 421 a close; after another
	// 4xx or 5xx only QUIT is obeyed, all else gets 503; after anything else
	// silence until the peer closes.
	Greeting string
	// GreetingDelay passes before the greeting, or before the Fault.
	GreetingDelay time.Duration
	// ByteByByte, when positive, is the pause between the single bytes of the
	// greeting, each a segment of its own.
	ByteByByte time.Duration
	Fault      Fault

	// Proxy demands a PROXY header, version 1 or 2, before anything else; a
	// connection without one is closed without a byte.
	Proxy bool

	// ReplyDelay passes before every reply to a command, and EndOfDataDelay in
	// addition before the reply to a whole message (RFC 5321, 4.5.3.2.6: the
	// client waits 10 minutes for that one).
	ReplyDelay     time.Duration
	EndOfDataDelay time.Duration
	// EndOfDataReply answers a whole message; "" is "250 2.0.0 ok\r\n". The
	// relay keeps the message only if it starts with a 2.
	EndOfDataReply string
	// CloseAfterDot and ResetAfterDot end the connection (FIN, RST) where the
	// reply to the first whole message would stand; the message is not kept.
	CloseAfterDot bool
	ResetAfterDot bool

	// OnConnect, where set, is called with the other end of each connection before
	// anything else, from the connection's goroutine. As OnMessage else.
	OnConnect func(netip.AddrPort)
	// OnMessage, where set, is called with each message just before its reply is
	// sent, from the connection's goroutine. It may call any method of the Relay
	// but Close.
	OnMessage func(Message)
	// KeepData keeps the bytes of the messages in memory too.
	KeepData bool

	// Raw takes the connection over right after accept, and nothing else in the
	// Script counts. The connection is closed when Raw returns; Raw must return
	// when the connection fails, for Stop and Close make it fail.
	Raw func(net.Conn)
}

func (s *Script) greeting() string {
	if s.Greeting == "" {
		return "220 relay.test ESMTP\r\n"
	}
	return s.Greeting
}

func (s *Script) endOfDataReply() string {
	if s.EndOfDataReply == "" {
		return "250 2.0.0 ok\r\n"
	}
	return s.EndOfDataReply
}

// FaultCase is a row of the fault matrix.
type FaultCase struct {
	Name   string
	Script Script
	// Outcome is what a balancer should call the attempt, in the words of the
	// session log line; "ok" for a relay that is healthy, if unusual.
	Outcome string
}

// Faults returns the fault matrix: the ways in which a relay that accepts
// connections greets badly, and the unusual ways of greeting well. The missing
// row, a relay that refuses connections, is [Relay.Stop].
func Faults() []FaultCase {
	return []FaultCase{
		{"fin", Script{Fault: CloseAtOnce}, "closed"},
		{"rst", Script{Fault: ResetAtOnce}, "reset"},
		{"421", Script{Greeting: "421 4.3.2 relay.test shutting down\r\n"}, "greeting_4xx"},
		{"450", Script{Greeting: "450 4.7.1 relay.test try again later\r\n"}, "greeting_4xx"},
		{"554", Script{Greeting: "554 5.7.1 relay.test no service for you\r\n"}, "greeting_5xx"},
		{"not_smtp", Script{Greeting: "SSH-2.0-OpenSSH_9.2\r\n"}, "not_smtp"},
		{"endless", Script{Fault: Endless}, "not_smtp"},
		{"silent", Script{Fault: Silent}, "greeting_timeout"},
		{"half_greeting", Script{Fault: HalfGreeting}, "greeting_timeout"},
		{"multi_line", Script{Greeting: "220-relay.test ESMTP\r\n220-no spam here\r\n220 ready\r\n"}, "ok"},
		{"byte_by_byte", Script{ByteByByte: 2 * time.Millisecond}, "ok"},
	}
}
