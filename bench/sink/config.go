package sink

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config is what a Sink is made of. One Relay is enough.
type Config struct {
	Relays []Relay
	Faults []Fault
	// Seed decides which connections a Fault with a Probability meets: the same
	// seed, the same numbers.
	Seed uint64
	// TLS, where set, has the relays offer STARTTLS, and serves those with
	// ImplicitTLS. SelfSigned makes one.
	TLS *tls.Config
	// Loops is how many threads share the relays out among themselves; 0 is one.
	// A relay belongs to one of them.
	Loops int
	// Version is the program's, for reports.
	Version string
	// Now is the clock of the schedules; nil is time.Now. Delays and pauses are
	// real in any case.
	Now func() time.Time
}

// Relay is one address that takes mail.
type Relay struct {
	Name        string // letters, digits, ".", "_" and "-"; in greetings and reports
	Address     string // IP:port; port 0 takes a free one
	ImplicitTLS bool   // TLS comes before the greeting, as on port 465
}

// Point is where in a session a Fault strikes.
type Point string

// The points, as scripts name them.
const (
	PointConnect  Point = "connect"  // before there is a connection
	PointGreeting Point = "greeting" // where the greeting would stand
	PointEHLO     Point = "ehlo"     // EHLO and HELO
	PointSTARTTLS Point = "starttls"
	PointMAIL     Point = "mail"
	PointRCPT     Point = "rcpt"
	PointDATA     Point = "data"    // where the 354 would stand
	PointBDAT     Point = "bdat"    // each BDAT, the last too
	PointMiddle   Point = "middle"  // once the first octets of a message have come
	PointContent  Point = "content" // where the reply to a whole message would stand, of DATA or the last BDAT
	PointRSET     Point = "rset"
	PointNOOP     Point = "noop"
	PointQUIT     Point = "quit"
	PointCommand  Point = "command" // every command and every whole message
)

// Action is what happens there.
type Action string

// The actions, as scripts name them; ActionReply and ActionDelay are written as
// the reply and as the delay.
const (
	ActionReply   Action = "reply"   // 4xx or 5xx instead of what should have been; after 421 the connection is closed (RFC 5321, 3.8)
	ActionDelay   Action = "delay"   // after Fault.Delay all goes on as it should
	ActionClose   Action = "close"   // in good order, with FIN
	ActionReset   Action = "reset"   // with RST
	ActionSilence Action = "silence" // nothing is said any more; what comes is thrown away, until the client leaves

	// Only at the greeting:
	ActionHalf       Action = "half"         // a few letters of a greeting, then silence
	ActionEndless    Action = "endless"      // 64 KB without a line end, then silence
	ActionNotSMTP    Action = "not_smtp"     // another protocol's banner, then silence
	ActionMultiLine  Action = "multi_line"   // a good greeting, of several lines
	ActionByteByByte Action = "byte_by_byte" // a good greeting, Fault.Pause between its octets

	// Only at connect. They are states of the relay's address, not of a
	// connection:
	ActionRefuse    Action = "refuse"     // nobody listens: connections are refused; sessions go on
	ActionBlackHole Action = "black_hole" // nothing answers: connections time out; sessions go on
	ActionDown      Action = "down"       // as refuse, and all sessions are reset when it begins
)

// Fault is one thing that goes wrong, and when. Of several that could strike at
// a point, the first does.
type Fault struct {
	Relay  string // its name; "" is every relay
	Point  Point
	Action Action

	Reply string        // for ActionReply: one line, such as "421 4.3.2 closing"
	Delay time.Duration // passes before the action
	Pause time.Duration // for ActionByteByByte; 0 is 10 ms
	Kept  bool          // at PointContent: the message counts as received all the same (RFC 1047)

	Probability float64 // above 0, to 1; 0 is 1
	Times       int64   // at most so often; 0 is no limit

	// It is on from At after the start of the sink, for the time For (0: from
	// then on), and again Every so often (0: once).
	At, For, Every time.Duration
}

const (
	defaultPause = 10 * time.Millisecond
	maxReply     = 500 // octets; RFC 5321, 4.5.3.1.5: 512 with the code and CRLF
)

// commands lists the points that are commands, in the order of a session.
func commands() []Point {
	return []Point{
		PointEHLO, PointSTARTTLS, PointMAIL, PointRCPT, PointDATA, PointBDAT,
		PointContent, PointRSET, PointNOOP, PointQUIT,
	}
}

func points() []Point {
	return append([]Point{PointConnect, PointGreeting, PointMiddle, PointCommand}, commands()...)
}

// actions lists what can happen at a point, the two without a word of their own
// last; nil for what is no point.
func actions(p Point) []Action {
	common := []Action{ActionClose, ActionReset, ActionSilence, ActionDelay}
	switch p {
	case PointConnect:
		return []Action{ActionRefuse, ActionBlackHole, ActionDown}
	case PointGreeting:
		return append([]Action{ActionHalf, ActionEndless, ActionNotSMTP, ActionMultiLine, ActionByteByByte}, append(common, ActionReply)...)
	case PointMiddle:
		return common
	}
	for _, known := range points() {
		if p == known {
			return append(common, ActionReply)
		}
	}
	return nil
}

// Kind is the name under which injections of the fault are counted:
// greeting_4xx, greeting_silence, mail_5xx, content_reset, quit_delay, not_smtp.
func (f Fault) Kind() string { return f.kindAt(f.Point) }

// kindAt is the kind at a point, which is another one than the fault's own
// where that is PointCommand.
func (f Fault) kindAt(p Point) string {
	switch f.Action {
	case ActionReply:
		return string(p) + "_" + class(f.Reply)
	case ActionClose:
		return string(p) + "_closed"
	case ActionNotSMTP:
		return "not_smtp"
	case ActionRefuse, ActionBlackHole, ActionDown:
		return string(f.Action)
	default:
		return string(p) + "_" + string(f.Action)
	}
}

// class is 4xx or 5xx.
func class(reply string) string {
	if reply == "" {
		return "xxx"
	}
	return reply[:1] + "xx"
}

// Outcome is what a client that does nothing about the fault should call it, in
// the words of smtplb's session log line; "ok" for one that only takes time or
// looks unusual. Replies to commands are reply_4xx and reply_5xx, and silence
// after the greeting is timeout.
func (f Fault) Outcome() string {
	switch f.Action {
	case ActionReply:
		if f.Point == PointGreeting {
			return f.Kind()
		}
		return "reply_" + class(f.Reply)
	case ActionClose:
		return "closed"
	case ActionReset:
		return "reset"
	case ActionHalf:
		return "greeting_timeout"
	case ActionSilence:
		if f.Point == PointGreeting {
			return "greeting_timeout"
		}
		return "timeout"
	case ActionNotSMTP, ActionEndless:
		return "not_smtp"
	case ActionRefuse, ActionDown:
		return "refused"
	case ActionBlackHole:
		return "connect_timeout"
	}
	return "ok"
}

// String gives the fault as ParseFault reads it.
func (f Fault) String() string {
	var b strings.Builder
	if f.Relay != "" {
		b.WriteString(f.Relay + ": ")
	}
	value := string(f.Action)
	delay := f.Delay
	switch f.Action {
	case ActionReply:
		value = f.Reply
		if strings.Contains(value, " ") {
			value = strconv.Quote(value)
		}
	case ActionDelay:
		value, delay = short(f.Delay), 0
	}
	b.WriteString(string(f.Point) + "=" + value)
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"delay", delay}, {"pause", f.Pause}, {"at", f.At}, {"for", f.For}, {"every", f.Every}} {
		if d.value != 0 {
			b.WriteString(" " + d.key + "=" + short(d.value))
		}
	}
	if f.Probability != 0 {
		b.WriteString(" probability=" + strconv.FormatFloat(f.Probability, 'g', -1, 64))
	}
	if f.Times != 0 {
		b.WriteString(" times=" + strconv.FormatInt(f.Times, 10))
	}
	if f.Kept {
		b.WriteString(" kept=true")
	}
	return b.String()
}

// short writes a duration as a person would: 15m, not 15m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// check returns every mistake in the configuration.
func (c *Config) check() error {
	var problems []error
	names := make(map[string]bool)
	for i, r := range c.Relays {
		place := fmt.Sprintf("relay %d (%q at %q)", i+1, r.Name, r.Address)
		if want := badName(r.Name); want != "" {
			problems = append(problems, fmt.Errorf("%s: its name %s", place, want))
		} else if names[r.Name] {
			problems = append(problems, fmt.Errorf("%s: another relay has that name", place))
		}
		names[r.Name] = true
		if want := badAddress(r.Address); want != "" {
			problems = append(problems, fmt.Errorf("%s: its address %s", place, want))
		}
		if r.ImplicitTLS && c.TLS == nil {
			problems = append(problems, fmt.Errorf("%s: implicit TLS needs a certificate", place))
		}
	}
	if len(c.Relays) == 0 {
		problems = append(problems, errors.New("no relay: name an address to listen on"))
	}
	return errors.Join(append(problems, checkFaults(c.Faults, c.Relays)...)...)
}

func checkFaults(faults []Fault, relays []Relay) (problems []error) {
	for i, f := range faults {
		for _, p := range f.problems(relays) {
			problems = append(problems, fmt.Errorf("fault %d: %s: %s", i+1, p.key, p.want))
		}
	}
	return problems
}

// badName says what a relay's name must be, or "" where it is right.
func badName(name string) string {
	ok := name != "" && len(name) <= 40
	for _, b := range []byte(name) {
		ok = ok && (b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("._-", b) >= 0)
	}
	if ok {
		return ""
	}
	return `must be 1 to 40 letters, digits, ".", "_" or "-"`
}

// badAddress says what an address to listen on must be, or "".
func badAddress(address string) string {
	const want = `must be IP:port, such as "127.0.0.1:2601" or "[::1]:2601"; port 0 takes a free one`
	host, port, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host) == nil {
		return want
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return want
	}
	return ""
}
