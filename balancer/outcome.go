package balancer

// Outcome is how an attempt to get a session from a backend ended. The words of String are the same in logs, metrics and
// probes.
type Outcome uint8

// The outcomes of an attempt.
const (
	OK              Outcome = iota // the relay greeted with 220, or was connected where no greeting is expected
	Refused                        // connection refused
	ConnectTimeout                 // no connection in time
	Unreachable                    // no route, network or host unreachable
	Reset                          // reset before the greeting was whole
	Closed                         // closed before the greeting was whole
	GreetingTimeout                // connected, no whole greeting in time
	Greeting4xx                    // greeted, with a temporary refusal (RFC 5321, section 3.1 and 4.2.1)
	Greeting5xx                    // greeted, with a permanent refusal
	NotSMTP                        // said something that is no SMTP greeting
)

// String returns the outcome's word, such as "greeting_4xx"; "unknown" for a value that is none of the constants.
func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case Refused:
		return "refused"
	case ConnectTimeout:
		return "connect_timeout"
	case Unreachable:
		return "unreachable"
	case Reset:
		return "reset"
	case Closed:
		return "closed"
	case GreetingTimeout:
		return "greeting_timeout"
	case Greeting4xx:
		return "greeting_4xx"
	case Greeting5xx:
		return "greeting_5xx"
	case NotSMTP:
		return "not_smtp"
	}
	return "unknown"
}
