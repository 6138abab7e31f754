package proxy

import (
	"net/netip"
	"time"

	"smtplb/balancer"
)

// End is why a session ended.
type End uint8

// The ends of a session.
const (
	ClientClosed  End = iota // the client closed first
	BackendClosed            // the relay closed first
	ClientReset              // the client's connection broke
	BackendReset             // the relay's connection broke
	Idle                     // no byte moved for Timeouts.Idle, in the client's turn
	Drained                  // let go in the client's turn, after Shutdown
	Denied                   // not on Allow, on Deny, or no PROXY header where one is due
	ClientLimit              // MaxSessions, MaxSessionsPerClient or MaxRatePerClient
	NoBackend                // no relay could be had
	Shut                     // cut or refused because the server stops
	numEnds
)

// String is the word for the end that logs and metrics use.
func (e End) String() string {
	switch e {
	case ClientClosed:
		return "client_closed"
	case BackendClosed:
		return "backend_closed"
	case ClientReset:
		return "client_reset"
	case BackendReset:
		return "backend_reset"
	case Idle:
		return "idle"
	case Drained:
		return "drained"
	case Denied:
		return "denied"
	case ClientLimit:
		return "client_limit"
	case NoBackend:
		return "no_backend"
	case Shut:
		return "shutdown"
	default:
		return "unknown"
	}
}

// Attempt is one relay that was asked for a session.
type Attempt struct {
	Backend string
	Outcome balancer.Outcome
	Took    time.Duration // from the pick to the outcome
	Reply   string        // the first line of a greeting that was refused, else empty
}

// Record is what is left of a session at its end.
type Record struct {
	ID       string // 16 hexadecimal digits; our own refusals show it to the client
	Listener string
	Client   netip.AddrPort // the real client where a PROXY header names it
	Pool     string         // empty where the session ended before one was chosen
	Backend  string         // the relay that carried the session, or empty
	Site     string
	Tier     int
	Warm     bool // it was sent there to keep the tier warm

	// Attempts are in the order of their ends; the last is ok where a relay
	// carried the session. A late relay that was overtaken by a second one is
	// there with connect_timeout or greeting_timeout, one that was asked beside
	// it in vain is not.
	Attempts []Attempt

	GreetingCode int           // of the relay's greeting that the client saw; 0 for none
	Greeting     time.Duration // from the connection to that relay until its greeting was complete
	Setup        time.Duration // from accept until the client was answered
	Duration     time.Duration // from accept to the end

	Reason string // why a client was refused, else empty

	BytesUp, BytesDown int64 // client to relay; relay to client, the greeting included
	End                End
}
