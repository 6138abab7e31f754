package sink

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Setup gathers relays and faults from scripts and from a command line, with
// every mistake in them. The zero value is empty.
type Setup struct {
	relays   []placed[Relay]
	faults   []placed[Fault]
	problems Problems
	seed     uint64
}

// placed is a value and where it was written.
type placed[T any] struct {
	value  T
	place  string
	key    string             // in the file, such as faults[2]; "" on the command line
	line   int                // of the whole
	places map[string]setting // of its keys
	broken bool               // it has a mistake, which is known
}

// Relay adds one relay, "NAME=IP:PORT" or "IP:PORT". Without a name the first is
// called a, the second b.
func (s *Setup) Relay(text string) {
	s.addRelay(text, "--relay "+strconv.Quote(text), "", 0)
}

func (s *Setup) addRelay(text, place, key string, line int) {
	name, address, named := strings.Cut(text, "=")
	if !named {
		name, address = "", text
	}
	s.relays = append(s.relays, placed[Relay]{
		value: Relay{Name: name, Address: address}, place: place, key: key, line: line,
		places: map[string]setting{"name": {"name", name, line}, "address": {"address", address, line}},
	})
}

// Relays is how many relays there are so far.
func (s *Setup) Relays() int { return len(s.relays) }

// Fault adds one fault, as [ParseFault] reads it.
func (s *Setup) Fault(text string) {
	place := "--fault " + strconv.Quote(text)
	settings, err := splitFault(text)
	if err != nil {
		s.problems = append(s.problems, Problem{Place: place, Want: err.Error()})
		return
	}
	s.addFault(settings, place, "", 0)
}

func (s *Setup) addFault(settings []setting, place, key string, line int) {
	fault, places, failures := readFault(settings)
	for _, f := range failures {
		s.failSetting(place, key, line, f.setting, f.want)
	}
	s.faults = append(s.faults, placed[Fault]{fault, place, key, line, places, len(failures) > 0})
}

func (s *Setup) failSetting(place, key string, line int, at setting, want string) {
	p := Problem{Place: place, Line: at.line, Key: under(key, at.key), Want: want}
	if p.Line == 0 {
		p.Line = line
	}
	if at.value != "" {
		p.Value = quote(at.value)
	}
	s.problems = append(s.problems, p)
}

// Config is what was gathered, or every mistake, as Problems.
func (s *Setup) Config() (Config, error) {
	c := Config{Seed: s.seed}
	first := make(map[string]placed[Relay])
	for i, r := range s.relays {
		if r.value.Name == "" && r.places["name"].value == "" {
			r.value.Name = defaultName(i)
		}
		s.checkRelay(r, first)
		c.Relays = append(c.Relays, r.value)
	}
	for _, f := range s.faults {
		for _, m := range f.value.problems(c.Relays) {
			if f.broken && m.key != "relay" {
				continue
			}
			at, written := f.places[m.key]
			if !written {
				at = setting{key: m.key}
			}
			s.failSetting(f.place, f.key, f.line, at, m.want)
		}
		c.Faults = append(c.Faults, f.value)
	}
	if len(s.problems) > 0 {
		s.problems.sort()
		return Config{}, s.problems
	}
	return c, nil
}

func (s *Setup) checkRelay(r placed[Relay], first map[string]placed[Relay]) {
	fail := func(key, want string) {
		s.failSetting(r.place, r.key, r.line, r.places[key], want)
	}
	if want := badName(r.value.Name); want != "" {
		fail("name", want)
	} else if other, taken := first[r.value.Name]; taken {
		where := other.place
		if other.line > 0 {
			where += fmt.Sprintf(":%d", other.line)
		}
		fail("name", fmt.Sprintf("must be another one: %q is taken by %s", r.value.Name, where))
	} else {
		first[r.value.Name] = r
	}
	if want := badAddress(r.value.Address); want != "" {
		fail("address", want)
	}
}

// defaultName names the relays a to z, then relay-27.
func defaultName(i int) string {
	if i < 26 {
		return string(rune('a' + i))
	}
	return fmt.Sprintf("relay-%d", i+1)
}

// ParseFault reads a fault of one line: a relay and a colon, unless it is for
// all, then keys and values as a script has them, a value with blanks in double
// quotes:
//
//	b: greeting=421 at=10s for=20s
//	content="451 4.3.0 try later" probability=5%
func ParseFault(text string) (Fault, error) {
	var s Setup
	s.Fault(text)
	if len(s.problems) > 0 {
		return Fault{}, s.problems
	}
	f := s.faults[0].value
	for _, m := range f.problems([]Relay{{Name: f.Relay}}) {
		s.failSetting(s.faults[0].place, "", 0, setting{key: m.key}, m.want)
	}
	if len(s.problems) > 0 {
		return Fault{}, s.problems
	}
	return f, nil
}

// splitFault takes the one line apart.
func splitFault(text string) ([]setting, error) {
	var settings []setting
	rest := strings.TrimSpace(text)
	if relay, after, ok := strings.Cut(rest, ":"); ok && !strings.ContainsAny(relay, "= \"") {
		settings = append(settings, setting{key: "relay", value: relay})
		rest = strings.TrimSpace(after)
	}
	for rest != "" {
		key, after, ok := strings.Cut(rest, "=")
		if !ok || strings.ContainsAny(key, " \"") {
			return nil, errors.New(`must be KEY=VALUE after KEY=VALUE, such as "b: greeting=421 at=10s for=20s"`)
		}
		var value string
		if strings.HasPrefix(after, `"`) {
			quoted, err := strconv.QuotedPrefix(after)
			if err != nil {
				return nil, errors.New("the value of " + quote(key) + " has no closing quote")
			}
			rest = after[len(quoted):]
			if value, err = strconv.Unquote(quoted); err != nil || rest != "" && rest[0] != ' ' {
				return nil, errors.New("the value of " + quote(key) + " must end with its quote, and a blank must follow")
			}
		} else {
			value, rest, _ = strings.Cut(after, " ")
		}
		if value == "" {
			return nil, errors.New(quote(key) + " has no value")
		}
		settings = append(settings, setting{key: key, value: value})
		rest = strings.TrimSpace(rest)
	}
	return settings, nil
}
