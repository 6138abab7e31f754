package setup

import (
	"fmt"
	"io"
	"strings"
)

// Console is where a person answers.
type Console struct {
	Out    io.Writer
	Line   func() (string, error) // the next line that is typed
	Quiet  func() error           // from now on nothing that is typed is shown, until Secret returns
	Secret func() (string, error) // the next line, after Quiet

	// Before are the answers of the last time, as YAML gives them; nil at the first.
	// They are suggested.
	Before []byte
}

// Asked are the answers of a person, who has said yes to all of them.
type Asked struct {
	*Answers

	Password string // of root, at the console; "": it is left as it is
}

const (
	first   = "\nThis is an smtplb appliance that has not been set up yet. It answers nobody.\n"
	again   = "\nThis smtplb appliance has been set up. The answers of that time are suggested.\n"
	welcome = `
Some questions, then it works. Nothing is written before the last one: switch it
off in between, and it starts over. "?" explains a question, "back" goes to the
one before. What stands in brackets is meant by an empty line.

`
)

// Ask asks a person all questions, each until the answer is right, and for a yes
// to the whole. The error is the console's.
func Ask(c Console, m Machine) (*Asked, error) {
	d := dialogue{Console: c, machine: m, all: questions()}
	text := first
	if c.Before != nil {
		text = again
		d.before, _ = parse(c.Before) // or nothing is suggested
	}
	fmt.Fprint(c.Out, text, welcome)
	for {
		a, err := d.round()
		if err != nil {
			return nil, err
		}
		password, err := c.password(a)
		if err != nil {
			return nil, err
		}
		fmt.Fprint(c.Out, "\n", summary(a, password), "\n")
		yes, err := c.yes("Set it up like this? yes, or no to begin again")
		if err != nil {
			return nil, err
		}
		if yes {
			return &Asked{a, password}, nil
		}
		fmt.Fprintln(c.Out)
	}
}

// dialogue is one person being asked.
type dialogue struct {
	Console

	machine Machine
	all     []question
	before  map[string][]string
}

// round asks every question once. Going back, the answers up to there are given
// again in silence.
func (d *dialogue) round() (*Answers, error) {
	var said [][]string // by question
	for {
		a, back, err := d.resume(&said)
		if err != nil {
			return nil, err
		}
		if !back {
			return a, nil
		}
	}
}

// resume goes on from what has been said. back is that a person wants to, and what
// is to be asked again has been taken away.
func (d *dialogue) resume(said *[][]string) (a *Answers, back bool, err error) {
	a = &Answers{}
	asked := 0 // where to go back to: the last question that was not passed over
	for i, q := range d.all {
		passed := q.skip != nil && q.skip(a, d.machine)
		if i == len(*said) {
			var words []string
			if passed {
				if q.suggest != nil {
					words = strings.Fields(q.suggest(a, d.machine))
				}
			} else if words, back, err = d.question(q, a); err != nil || back {
				*said = (*said)[:asked]
				return nil, back, err
			}
			*said = append(*said, words)
		}
		if err := q.set(a, d.machine, (*said)[i]); err != nil {
			return nil, false, fmt.Errorf("%s: %w", q.key, err) // only what was passed over
		}
		if !passed {
			asked = i
		}
	}
	return a, false, nil
}

// question asks one until the answer is right.
func (d *dialogue) question(q question, a *Answers) (words []string, back bool, err error) {
	var suggestion string
	if q.suggest != nil {
		suggestion = q.suggest(a, d.machine)
	}
	if before := d.before[q.key]; len(before) > 0 {
		suggestion = strings.Join(before, " ")
	}
	prompt := q.ask + ": "
	if suggestion != "" {
		prompt = fmt.Sprintf("%s [%s]: ", q.ask, suggestion)
	}
	for {
		fmt.Fprint(d.Out, prompt)
		line, err := d.Line()
		if err != nil {
			return nil, false, err
		}
		switch words = strings.Fields(line); {
		case len(words) == 1 && words[0] == "?":
			fmt.Fprintf(d.Out, "  %s\n", q.help)
			continue
		case len(words) == 1 && words[0] == "back":
			return nil, true, nil
		case len(words) == 0:
			words = strings.Fields(suggestion)
		}
		trial := *a
		if err := q.set(&trial, d.machine, words); err != nil {
			fmt.Fprintf(d.Out, "  No: %s\n", err)
			continue
		}
		return words, false, nil
	}
}

// yes asks for one or the other.
func (c Console) yes(ask string) (bool, error) {
	for {
		fmt.Fprint(c.Out, ask, ": ")
		line, err := c.Line()
		if err != nil {
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "yes":
			return true, nil
		case "no":
			return false, nil
		}
		fmt.Fprintln(c.Out, "  No: must be yes or no, the whole word")
	}
}

// summary is all that was said.
func summary(a *Answers, password string) string {
	var b strings.Builder
	line := func(what, value, otherwise string) {
		if value == "" {
			value = otherwise
		}
		fmt.Fprintf(&b, "  %-22s%s\n", what, value)
	}
	text := func(s fmt.Stringer, valid bool) string {
		if !valid {
			return ""
		}
		return s.String()
	}
	line("name", a.Hostname, "")
	line("interface", a.Interface, "")
	line("address", text(a.Address, a.Address.IsValid()), dhcp)
	line("gateway", text(a.Gateway, a.Gateway.IsValid()), none)
	line("DNS servers", strings.Join(texts(a.DNS), " "), none)
	line("clients send to", text(a.listen(), !a.DHCP), "the address that DHCP brings")
	line("other appliance", text(a.Peer, a.Peer.IsValid()), none)
	line("relays", strings.Join(a.Relays, " "), "")
	line("who may send", strings.Join(texts(a.Allow), " "), "")
	line("admin page, SSH", strings.Join(texts(a.Management), " "), "nobody")
	state := "as before, which is locked at first"
	if password != "" {
		state = "with that password"
	}
	line("root at the console", state, "")
	return b.String()
}
