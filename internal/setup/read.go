package setup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Read takes the answers from a file: a mapping in YAML, of the keys that Keys
// returns to a value or a list. The error has a line for each mistake, with the
// name of the file, the key, the value and what would be right.
//
// Where the file has no address, the network stays as it is, and the interface's
// address is taken from the machine.
func Read(name string, text []byte, m Machine) (*Answers, error) {
	given, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var errs []error
	a, failed := &Answers{}, map[string]bool{}
	for _, q := range questions() {
		words, named := given[q.key]
		delete(given, q.key)
		if failed[q.needs] {
			failed[q.key] = true
			continue
		}
		if err := q.read(a, m, words, named); err != nil {
			failed[q.key] = true
			value := ""
			if len(words) == 1 && !strings.HasPrefix(err.Error(), words[0]+": ") {
				value = words[0] + ": "
			}
			errs = append(errs, fmt.Errorf("%s: %s: %s%w", name, q.key, value, err))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		errs = append(errs, fmt.Errorf("%s: %s: unknown key: must be one of %s", name, key, strings.Join(Keys(), ", ")))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return a, nil
}

// Keys are those of a file of answers, in the order of the questions.
func Keys() []string {
	var keys []string
	for _, q := range questions() {
		keys = append(keys, q.key)
	}
	return keys
}

// read answers a question with what a file has, which may be nothing. A list that is
// there and empty is that, and does not mean what would be suggested.
func (q question) read(a *Answers, m Machine, words []string, named bool) error {
	switch {
	case len(words) > 1 && !q.list:
		return errors.New("must be one value, not a list")
	case len(words) > 0 || q.list && named:
		return q.set(a, m, words)
	case q.key == "address":
		return a.keep(m)
	case q.suggest != nil:
		words = strings.Fields(q.suggest(a, m))
	}
	return q.set(a, m, words)
}

// keep leaves the network as it is.
func (a *Answers) keep(m Machine) error {
	p := m.address(a.Interface)
	if !p.IsValid() {
		return fmt.Errorf("required, since %s has no address yet: must be one such as 192.0.2.11/24, or %s", a.Interface, dhcp)
	}
	a.Address, a.Keep = p, true
	return nil
}

// parse reads the file, without judging what is in it.
func parse(text []byte) (map[string][]string, error) {
	const largest = 1 << 20
	const want = "must be a mapping of the keys that smtplb setup --help lists"
	if len(text) > largest {
		return nil, errors.New("is larger than 1 MiB: " + want)
	}
	var document yaml.Node
	switch err := decode(text, &document); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("is empty: " + want)
	case err != nil:
		return nil, fmt.Errorf("%w: %s", err, want)
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New(want)
	}
	given := map[string][]string{}
	content := document.Content[0].Content
	for i := 0; i+1 < len(content); i += 2 {
		key, value := content[i], content[i+1]
		if _, twice := given[key.Value]; twice || key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: %q: must be a key, and be there once", key.Line, key.Value)
		}
		words, err := wordsOf(value)
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", value.Line, key.Value, err)
		}
		given[key.Value] = words
	}
	return given, nil
}

// decode is the YAML reader, whose panics over a bad file are errors here.
func decode(text []byte, document *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("is no YAML: %v", r)
		}
	}()
	return yaml.NewDecoder(bytes.NewReader(text)).Decode(document)
}

func wordsOf(value *yaml.Node) ([]string, error) {
	nodes := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		nodes = value.Content
	}
	var words []string
	for _, n := range nodes {
		if n.Kind != yaml.ScalarNode {
			return nil, errors.New("must be a text, or a list of texts")
		}
		if n.Tag != "!!null" {
			words = append(words, strings.Fields(n.Value)...)
		}
	}
	return words, nil
}

// YAML is the file that Read makes the same answers of, on the same machine.
func (a *Answers) YAML() string {
	var b strings.Builder
	b.WriteString("# What this appliance was told. Change it by smtplb setup alone.\n")
	line := func(key string, values ...string) {
		for i, v := range values {
			values[i] = fmt.Sprintf("%q", v)
		}
		fmt.Fprintf(&b, "%s: [%s]\n", key, strings.Join(values, ", "))
	}
	line("hostname", a.Hostname)
	line("interface", a.Interface)
	switch {
	case a.Keep:
	case a.DHCP:
		line("address", dhcp)
	default:
		line("address", a.Address.String())
	}
	if a.Gateway.IsValid() {
		line("gateway", a.Gateway.String())
	}
	line("dns", texts(a.DNS)...)
	if a.VIP.IsValid() {
		line("vip", a.VIP.String())
	}
	if a.Peer.IsValid() {
		line("peer", a.Peer.String())
	}
	line("relays", slices.Clone(a.Relays)...)
	line("allow", texts(a.Allow)...)
	management := texts(a.Management)
	if len(management) == 0 {
		management = []string{none}
	}
	line("management", management...)
	return b.String()
}

func texts[T fmt.Stringer](values []T) []string {
	var all []string
	for _, v := range values {
		all = append(all, v.String())
	}
	return all
}
