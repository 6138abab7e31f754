package sink

import (
	"fmt"
	"slices"
	"strings"
)

// mistake is one thing that is wrong with a fault: the key that would have to
// change, and what would be right.
type mistake struct{ key, want string }

// problems returns every mistake of a fault among those relays.
func (f *Fault) problems(relays []Relay) (found []mistake) {
	fail := func(key, want string, args ...any) {
		found = append(found, mistake{key, fmt.Sprintf(want, args...)})
	}
	if f.Relay != "" && !slices.ContainsFunc(relays, func(r Relay) bool { return r.Name == f.Relay }) {
		fail("relay", "must be a relay's name: %s", strings.Join(names(relays), ", "))
	}
	allowed := actions(f.Point)
	switch {
	case allowed == nil:
		fail("point", "must be one of %s", join(points()))
	case !slices.Contains(allowed, f.Action):
		fail(string(f.Point), "%s", wantAction(f.Point))
	case f.Action == ActionReply:
		if want := badReply(f.Reply); want != "" {
			fail(string(f.Point), "%s", want)
		}
	}
	if f.Action == ActionDelay && f.Delay <= 0 {
		fail("delay", "must be above 0")
	}
	if f.Probability < 0 || f.Probability > 1 || f.Probability != f.Probability {
		fail("probability", "must be above 0 and at most 1, or 100%%")
	}
	if f.Times < 0 {
		fail("times", "must be 1 or more")
	}
	if f.Kept && (f.Point != PointContent || f.Action == ActionDelay) {
		fail("kept", "only belongs to content and an error, a close, a reset or silence there")
	}
	if f.Pause != 0 && f.Action != ActionByteByByte {
		fail("pause", "only belongs to byte_by_byte")
	}
	f.checkTimes(fail)
	if f.Point == PointConnect {
		f.checkState(fail)
	}
	return found
}

func (f *Fault) checkTimes(fail func(key, want string, args ...any)) {
	if f.Delay < 0 {
		fail("delay", "must not be below 0")
	}
	if f.Pause < 0 {
		fail("pause", "must not be below 0")
	}
	if f.At < 0 {
		fail("at", "must not be below 0")
	}
	if f.For < 0 {
		fail("for", "must not be below 0")
	}
	if f.Every != 0 && (f.For == 0 || f.Every <= f.For) {
		fail("every", "must be longer than for, which must be there")
	}
}

// checkState: a state of the address meets all connections alike, and the sink
// does not see them.
func (f *Fault) checkState(fail func(key, want string, args ...any)) {
	if f.Probability != 0 && f.Probability != 1 {
		fail("probability", "has no meaning at connect, which all connections meet: give it a schedule (at, for, every)")
	}
	if f.Times != 0 {
		fail("times", "has no meaning at connect: give it a schedule (at, for, every)")
	}
	if f.Delay != 0 {
		fail("delay", "has no meaning at connect: see at")
	}
}

// wantAction says what can be written at a point.
func wantAction(p Point) string {
	allowed := actions(p)
	words := slices.DeleteFunc(slices.Clone(allowed), func(a Action) bool { return a == ActionReply || a == ActionDelay })
	var forms []string
	if slices.Contains(allowed, ActionReply) {
		forms = append(forms, `a reply such as 421 or "450 4.2.0 busy"`)
	}
	if slices.Contains(allowed, ActionDelay) {
		forms = append(forms, "a delay such as 2s")
	}
	if len(forms) == 0 {
		return "must be one of " + join(words)
	}
	return "must be " + strings.Join(forms, ", ") + ", or one of " + join(words)
}

// badReply says what a reply must be, or "".
func badReply(reply string) string {
	const want = `must be a 4xx or 5xx code, alone or with one line of text, such as "450 4.2.0 busy"`
	if len(reply) < 3 || len(reply) > maxReply || reply[0] != '4' && reply[0] != '5' ||
		reply[1] < '0' || reply[1] > '5' || reply[2] < '0' || reply[2] > '9' {
		return want
	}
	if len(reply) > 3 && reply[3] != ' ' {
		return want
	}
	for _, b := range []byte(reply) {
		if b < ' ' || b > '~' {
			return want + ", in printable ASCII"
		}
	}
	return ""
}

func names(relays []Relay) []string {
	all := make([]string, len(relays))
	for i, r := range relays {
		all[i] = r.Name
	}
	return all
}

func join[S ~string](words []S) string { return strings.Join(texts(words), ", ") }

func texts[S ~string](words []S) []string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = string(w)
	}
	return all
}
