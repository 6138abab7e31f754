package resolve

import (
	"errors"
	"time"
)

// Fault is a way in which a look-up fails.
type Fault uint8

// The faults.
const (
	Timeout     Fault = iota // no answer in time
	Unreachable              // no server could be asked
	ServFail                 // the servers answered, but not the question: SERVFAIL, REFUSED
	NXDomain                 // there is no such name
	NoData                   // the name has no such records
	NoService                // a null MX (RFC 7505), or "." as the target of SRV: not to be used
	Invalid                  // what was said makes no sense

	lastFault = Invalid
)

// String is the fault's word in logs and metrics.
func (f Fault) String() string {
	words := [...]string{"timeout", "unreachable", "servfail", "nxdomain", "no_data", "no_service", "invalid"}
	if int(f) < len(words) {
		return words[f]
	}
	return "unknown"
}

// Error is why a look-up failed.
type Error struct {
	Fault Fault
	Text  string        // for people; names what was asked for
	TTL   time.Duration // of NXDomain and NoData: how long that holds
}

func (e *Error) Error() string { return e.Text }

// FaultOf is the fault in an error of this package.
func FaultOf(err error) Fault {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Fault
	}
	return Invalid
}

// negative tells of an answer that says that there is nothing.
func negative(err error) bool {
	if err == nil {
		return false
	}
	f := FaultOf(err)
	return f == NXDomain || f == NoData
}
