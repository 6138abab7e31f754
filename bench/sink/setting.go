package sink

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// setting is one key of a relay or of a fault with its value, wherever it was
// written.
type setting struct {
	key, value string
	line       int // 0 on the command line
}

// failure is a setting that is wrong.
type failure struct {
	setting
	want string
}

const (
	wantDuration    = "must be a time with its unit, such as 500ms, 10s or 2m"
	wantProbability = "must be above 0 and at most 1, or a share such as 5%"
)

func faultKeys() []string {
	return append([]string{"relay", "delay", "pause", "kept", "probability", "times", "at", "for", "every"}, texts(points())...)
}

// faultReader makes a fault out of settings.
type faultReader struct {
	fault    Fault
	places   map[string]setting // by key
	failures []failure
}

// readFault returns the fault, where each of its keys was written, and every
// mistake that shows without knowing the relays.
func readFault(settings []setting) (Fault, map[string]setting, []failure) {
	r := faultReader{places: make(map[string]setting)}
	var where []setting // the points
	unknown := false
	for _, s := range settings {
		if first, twice := r.places[s.key]; twice {
			r.fail(s, "written twice"+onLine(first.line))
			continue
		}
		r.places[s.key] = s
		switch {
		case slices.Contains(points(), Point(s.key)):
			where = append(where, s)
		case !slices.Contains(faultKeys(), s.key):
			unknown = true
			r.fail(s, "unknown key: must be one of "+strings.Join(faultKeys(), ", "))
		default:
			r.read(s)
		}
	}
	switch {
	case len(where) == 0 && unknown: // one of them was meant to be the point
	case len(where) == 0:
		first := setting{}
		if len(settings) > 0 {
			first.line = settings[0].line
		}
		r.fail(first, "says not where: must have one of "+join(points()))
	case len(where) == 1:
		r.readAction(where[0])
	default:
		r.fail(where[1], "a fault strikes at one point, and this one at "+where[0].key+" already: write another fault")
	}
	return r.fault, r.places, r.failures
}

func onLine(line int) string {
	if line == 0 {
		return ""
	}
	return ": first on line " + strconv.Itoa(line)
}

func (r *faultReader) fail(s setting, want string) {
	r.failures = append(r.failures, failure{s, want})
}

// read takes a key that is not a point.
func (r *faultReader) read(s setting) {
	switch s.key {
	case "relay":
		r.fault.Relay = s.value
	case "delay":
		r.duration(s, &r.fault.Delay)
	case "pause":
		r.duration(s, &r.fault.Pause)
	case "at":
		r.duration(s, &r.fault.At)
	case "for":
		r.duration(s, &r.fault.For)
	case "every":
		r.duration(s, &r.fault.Every)
	case "probability":
		r.probability(s)
	case "times":
		n, err := strconv.ParseInt(s.value, 10, 64)
		if err != nil || n < 1 {
			r.fail(s, "must be a number, 1 or more")
			return
		}
		r.fault.Times = n
	case "kept":
		if s.value != "true" && s.value != "false" {
			r.fail(s, "must be true or false")
		}
		r.fault.Kept = s.value == "true"
	}
}

func (r *faultReader) duration(s setting, to *time.Duration) {
	d, err := time.ParseDuration(s.value)
	switch {
	case err != nil:
		r.fail(s, wantDuration)
	case d < 0:
		r.fail(s, "must not be below 0")
	default:
		*to = d
	}
}

func (r *faultReader) probability(s setting) {
	number, percent := strings.CutSuffix(s.value, "%")
	p, err := strconv.ParseFloat(number, 64)
	if percent {
		p /= 100
	}
	if err != nil || !(p > 0 && p <= 1) {
		r.fail(s, wantProbability)
		return
	}
	r.fault.Probability = p
}

// readAction takes the key that is a point: its value is a reply, a delay or an
// action's word.
func (r *faultReader) readAction(s setting) {
	f := &r.fault
	f.Point = Point(s.key)
	allowed := actions(f.Point)
	word := Action(s.value)
	if word != ActionReply && word != ActionDelay && slices.Contains(allowed, word) {
		f.Action = word
		return
	}
	if slices.Contains(allowed, ActionReply) && badReply(s.value) == "" {
		f.Action, f.Reply = ActionReply, s.value
		return
	}
	d, err := time.ParseDuration(s.value)
	if err != nil || !slices.Contains(allowed, ActionDelay) {
		r.fail(s, wantAction(f.Point))
		return
	}
	f.Action = ActionDelay
	if _, twice := r.places["delay"]; twice {
		r.fail(r.places["delay"], "is said at "+s.key+" already")
		return
	}
	f.Delay = d
	if d <= 0 {
		r.fail(s, "must be a delay above 0")
	}
}
