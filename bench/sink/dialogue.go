package sink

import (
	"bytes"
	"time"
)

// step is what a dialogue wants done, after what it has to say has been sent.
type step uint8

const (
	stepRead    step = iota // give it input
	stepWait                // call resume after the time wait
	stepClose               // close in good order; the client may still be talking
	stepQuit                // close; the client has said that it is done
	stepReset               // close with RST
	stepSilence             // throw away what comes until the client closes
	stepTLS                 // forget the input there is, shake hands, call secured
)

const (
	maxLine = 4 << 10  // of a command; RFC 5321, 4.5.3.1.4 asks for 512 octets
	maxOut  = 32 << 10 // replies that are held back for the sake of one write
	endless = 64 << 10 // octets of a greeting without a line end
	banner  = "SSH-2.0-OpenSSH_9.2\r\n"
)

type phase uint8

const (
	phaseCommands phase = iota
	phaseRefusing       // after a 4xx or 5xx greeting only QUIT is obeyed (RFC 5321, 3.1)
	phaseData
	phaseChunk // of BDAT
)

// dialogue is the relay's side of one session, without a connection: octets
// come in by input, replies gather in out, and step says what is to be done
// next. Whoever has the connection drives it:
//
//	d.begin()
//	for {
//		call d.announce(), send d.out, empty it, call d.sent()
//		do what d.step says
//	}
//	d.end()
//
// out belongs to the driver between calls, which may put another slice there.
// A dialogue is not safe for concurrent use.
type dialogue struct {
	relay *relay
	out   []byte
	step  step
	wait  time.Duration

	phase   phase
	line    []byte // the beginning of a command whose end has not come
	tooLong bool   // and it will be refused
	hello   bool
	counted bool // as a session
	secure  bool
	from    bool // there was a MAIL
	to      bool // and a RCPT
	chunked bool // and a BDAT

	chunk     chunk
	begun     bool      // octets of the message have come
	transfer  *transfer // not nil while a message is on its way
	held      *held     // not nil during a delay
	slowly    []byte    // what is left of a greeting, octet by octet
	pause     time.Duration
	strikes   []strike // faults that have struck, but are not sent yet
	announced int      // how many of them are counted
}

// held is what a delay holds up.
type held struct {
	fault *armed
	point Point
	line  string
}

// strike is a fault that has struck.
type strike struct {
	fault *armed
	point Point
}

func (s strike) count(r *relay, n int64) {
	s.fault.injected.Add(n)
	r.counts.injected(s.fault.kindAt(s.point), n)
}

// chunk is one BDAT command.
type chunk struct {
	left  int64 // octets to come
	size  int64
	last  bool
	error string // the reply, where it is none of a message's
}

// begin greets.
func (d *dialogue) begin() { d.reach(PointGreeting, nil) }

// announce is to be called before out is sent, and sent after it, each time, be
// it empty: only then have faults happened. They are counted beforehand, so that
// a client never knows of one that the sink does not.
func (d *dialogue) announce() {
	for _, s := range d.strikes[d.announced:] {
		s.count(d.relay, 1)
	}
	d.announced = len(d.strikes)
}

func (d *dialogue) sent() { d.strikes, d.announced = d.strikes[:0], 0 }

// secured is to be called after the TLS handshake: the session begins anew
// (RFC 3207, 4.2).
func (d *dialogue) secured() {
	d.secure, d.hello, d.step = true, false, stepRead
	d.clear()
}

// greetingHeld tells that the greeting is not out yet: a client that leaves now
// wants nothing more.
func (d *dialogue) greetingHeld() bool {
	return d.held != nil && d.held.point == PointGreeting || len(d.slowly) > 0
}

// end is to be called when the connection is gone. What could not be sent has
// not happened.
func (d *dialogue) end() {
	for _, s := range d.strikes[:d.announced] {
		s.count(d.relay, -1)
	}
	d.clear()
}

// resume goes on after a wait.
func (d *dialogue) resume() {
	d.step = stepRead
	switch h := d.held; {
	case len(d.slowly) > 0:
		d.saySlowly()
	case h != nil:
		d.held = nil
		d.strike(h.fault, h.point, []byte(h.line))
	}
}

// input takes octets from the client and returns how many. It takes fewer than
// all when something else must be done first: what step says, or sending out.
func (d *dialogue) input(p []byte) (n int) {
	for n < len(p) && d.step == stepRead && len(d.out) < maxOut {
		switch d.phase {
		case phaseData:
			n += d.data(p[n:])
		case phaseChunk:
			n += d.octets(p[n:])
		default:
			n += d.letters(p[n:])
		}
	}
	return n
}

// letters takes a command, or the part of it that there is.
func (d *dialogue) letters(p []byte) (n int) {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		d.append(p)
		return len(p)
	}
	line := p[:end]
	if d.line != nil || d.tooLong {
		d.append(line)
		line = d.line
	}
	tooLong := d.tooLong || len(line) > maxLine
	d.line, d.tooLong = nil, false
	switch {
	case tooLong:
		d.say("500 5.5.6 line too long")
	case d.phase == phaseRefusing:
		d.refused(bytes.TrimRight(line, "\r"))
	default:
		d.command(bytes.TrimRight(line, "\r"))
	}
	return end + 1
}

func (d *dialogue) append(p []byte) {
	if d.tooLong = d.tooLong || len(d.line)+len(p) > maxLine; d.tooLong {
		d.line = nil
		return
	}
	d.line = append(d.line, p...)
}

// say gathers one line.
func (d *dialogue) say(line string) {
	d.out = append(d.out, line...)
	d.out = append(d.out, "\r\n"...)
}

// reach comes to a point, where a fault may strike, at once or after a delay;
// else it goes on as it should. line is the command, if it is one.
func (d *dialogue) reach(p Point, line []byte) {
	switch a := d.relay.draw(p); {
	case a == nil:
		d.perform(p, line)
	case a.Delay > 0:
		d.held = &held{a, p, string(line)}
		d.step, d.wait = stepWait, a.Delay
		if a.Action == ActionDelay {
			d.strikes = append(d.strikes, strike{a, p})
		}
	default:
		d.strike(a, p, line)
	}
}

// strike does what a fault is for.
func (d *dialogue) strike(a *armed, p Point, line []byte) {
	if a.Action == ActionDelay {
		d.perform(p, line)
		return
	}
	d.strikes = append(d.strikes, strike{a, p})
	if a.Kept {
		d.keep()
	}
	switch a.Action {
	case ActionReply:
		d.refuse(a.Reply, p, line)
	case ActionClose:
		d.step = stepClose
	case ActionReset:
		d.step = stepReset
	case ActionSilence:
		d.step = stepSilence
	default:
		d.greetBadly(a)
	}
	if d.step != stepRead && d.step != stepWait {
		d.clear()
	}
}

// greetBadly is what can only happen at the greeting.
func (d *dialogue) greetBadly(a *armed) {
	host := d.relay.host
	switch a.Action {
	case ActionHalf:
		d.out = append(d.out, "220 "+host[:1]...)
		d.step = stepSilence
	case ActionEndless:
		d.out = append(d.out, "220 "...)
		d.out = append(d.out, bytes.Repeat([]byte("x"), endless-4)...)
		d.step = stepSilence
	case ActionNotSMTP:
		d.out = append(d.out, banner...)
		d.step = stepSilence
	case ActionMultiLine:
		d.say("220-" + host + " ESMTP smtpbench")
		d.say("220-a greeting may have several lines")
		d.say("220 (RFC 5321, 4.2.1)")
	case ActionByteByByte:
		d.slowly, d.pause = d.relay.greeting, a.Pause
		if d.pause == 0 {
			d.pause = defaultPause
		}
		d.saySlowly()
	}
}

// saySlowly says one octet.
func (d *dialogue) saySlowly() {
	d.out = append(d.out, d.slowly[0])
	if d.slowly = d.slowly[1:]; len(d.slowly) > 0 {
		d.step, d.wait = stepWait, d.pause
	}
}

// refuse says a fault's reply in place of what should have been.
func (d *dialogue) refuse(reply string, p Point, line []byte) {
	closing := reply[:3] == "421" // RFC 5321, 3.8
	if len(reply) == 3 {
		status := ".3.0 " // RFC 3463, 3.4: other or undefined mail system status
		if closing {
			status = ".3.2 " // system not accepting network messages
		}
		reply += " " + reply[:1] + status + d.relay.Name + ": injected fault"
	}
	if p == PointBDAT && !closing {
		// The octets are on their way, whatever is said (RFC 3030, 2).
		if c, ok := parseBDAT(line); ok {
			d.clear()
			c.error = reply
			d.take(c)
			return
		}
	}
	d.say(reply)
	switch {
	case closing:
		d.step = stepClose
	case p == PointGreeting:
		d.phase = phaseRefusing
	case p == PointContent:
		d.clear()
	}
}
