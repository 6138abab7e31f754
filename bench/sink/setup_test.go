package sink

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestScript(t *testing.T) {
	const text = `
# a comment
relays:
  - {name: a, address: "127.0.0.1:2601"}
  - 127.0.0.1:2602
  - dr=[::1]:0
  - name: secure
    address: 127.0.0.1:2465
    implicit_tls: true
faults:
  - {relay: b, greeting: 421, at: 10s, for: 20s}
  - content: "451 4.3.0 try later"
    probability: 5%
  - {connect: black_hole, relay: a, at: 1m, for: 5s, every: 30s}
  - {greeting: byte_by_byte, pause: 20ms, probability: 0.25}
  - {mail: 1.5s, times: 3}
  - {content: reset, kept: true, delay: 2s}
seed: 7
`
	want := Config{
		Seed: 7,
		Relays: []Relay{
			{Name: "a", Address: "127.0.0.1:2601"},
			{Name: "b", Address: "127.0.0.1:2602"},
			{Name: "dr", Address: "[::1]:0"},
			{Name: "secure", Address: "127.0.0.1:2465", ImplicitTLS: true},
		},
		Faults: []Fault{
			{Relay: "b", Point: PointGreeting, Action: ActionReply, Reply: "421", At: 10 * time.Second, For: 20 * time.Second},
			{Point: PointContent, Action: ActionReply, Reply: "451 4.3.0 try later", Probability: 0.05},
			{Point: PointConnect, Action: ActionBlackHole, Relay: "a", At: time.Minute, For: 5 * time.Second, Every: 30 * time.Second},
			{Point: PointGreeting, Action: ActionByteByByte, Pause: 20 * time.Millisecond, Probability: 0.25},
			{Point: PointMAIL, Action: ActionDelay, Delay: 1500 * time.Millisecond, Times: 3},
			{Point: PointContent, Action: ActionReset, Kept: true, Delay: 2 * time.Second},
		},
	}
	var s Setup
	s.Script("faults.yaml", []byte(text))
	got, err := s.Config()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

// One line a mistake: the file, the line, the key, the value, what would be right.
func TestMistakesInAScript(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // parts of each line of the error
	}{
		{"a point of no such name", "faults:\n- {greting: 421}", []string{`x.yaml:2: faults[0].greting: "421": unknown key: must be one of relay, delay`}},
		{"no point", "faults:\n- {at: 10s}", []string{`x.yaml:2: faults[0]: says not where: must have one of connect, greeting`}},
		{"an empty fault", "faults:\n- {}", []string{`x.yaml:2: faults[0]: says not where`}},
		{"two points", "faults:\n- mail: 450\n  rcpt: 450", []string{`x.yaml:3: faults[0].rcpt: "450": a fault strikes at one point, and this one at mail already`}},
		{"a reply that is none", "faults:\n- {mail: 250}", []string{`x.yaml:2: faults[0].mail: "250": must be a reply such as 421`}},
		{"an action of another point", "faults:\n- {mail: half}\n- {middle: 450}", []string{
			`x.yaml:2: faults[0].mail: "half": must be a reply`, `x.yaml:3: faults[1].middle: "450": must be a delay such as 2s, or one of close, reset, silence`,
		}},
		{"a state of another point", "faults:\n- {connect: close}", []string{`faults[0].connect: "close": must be one of refuse, black_hole, down`}},
		{"words that stand for values", "faults:\n- {mail: reply}\n- {mail: delay}", []string{`faults[0].mail: "reply": must be`, `faults[1].mail: "delay": must be`}},
		{"times without units", "faults:\n- {mail: 450, at: 10, for: x, delay: -1s}", []string{
			`faults[0].at: "10": must be a time with its unit`, `faults[0].for: "x": must be a time`, `faults[0].delay: "-1s": must not be below 0`,
		}},
		{"a delay twice", "faults:\n- {mail: 2s, delay: 3s}", []string{`faults[0].delay: "3s": is said at mail already`}},
		{"no delay at all", "faults:\n- {mail: 0s}", []string{`faults[0].mail: "0s": must be a delay above 0`}},
		{"numbers", "faults:\n- {mail: 450, probability: 0, times: 0, kept: maybe}", []string{
			`probability: "0": must be above 0`, `times: "0": must be a number, 1 or more`, `kept: "maybe": must be true or false`,
		}},
		{"probabilities", "faults:\n- {mail: 450, probability: 101%}\n- {mail: 450, probability: NaN}\n- {mail: 450, probability: 1.5}", []string{
			`faults[0].probability: "101%"`, `faults[1].probability: "NaN"`, `faults[2].probability: "1.5"`,
		}},
		{"a repetition without an end", "faults:\n- {mail: 450, every: 10s}\n- {mail: 450, for: 10s, every: 10s}", []string{
			`faults[0].every: "10s": must be longer than for`, `faults[1].every: "10s": must be longer than for`,
		}},
		{"connect by lot", "faults:\n- {connect: refuse, probability: 5%, times: 3, delay: 1s}", []string{
			"probability", "times", "delay",
		}},
		{"kept elsewhere", "faults:\n- {mail: close, kept: true}\n- {content: 2s, kept: true}", []string{
			`faults[0].kept: "true": only belongs to content`, `faults[1].kept: "true": only belongs to content`,
		}},
		{"pause elsewhere", "faults:\n- {mail: close, pause: 1s}", []string{`faults[0].pause: "1s": only belongs to byte_by_byte`}},
		{"a relay of no such name", "faults:\n- {relay: z, mail: 45x}", []string{
			`x.yaml:2: faults[0].relay: "z": must be a relay's name: a`, `x.yaml:2: faults[0].mail: "45x"`,
		}},
		{"relays", "relays:\n- {name: x y, address: \"localhost:25\"}\n- {name: c, adress: \"1.2.3.4:5\"}\n- {name: c, address: \"1.2.3.4:99999\", implicit_tls: 2}\n- [3]", []string{
			`x.yaml:2: relays[0].name: "x y": must be 1 to 40 letters`, `x.yaml:2: relays[0].address: "localhost:25": must be IP:port`,
			`x.yaml:3: relays[1].adress: "1.2.3.4:5": unknown key: must be one of name, address, implicit_tls`,
			`x.yaml:3: relays[1].address: must be IP:port`,
			`x.yaml:4: relays[2].implicit_tls: "2": must be true or false`, `x.yaml:4: relays[2].name: "c": must be another one: "c" is taken by x.yaml:3`,
			`x.yaml:4: relays[2].address: "1.2.3.4:99999"`, `x.yaml:5: relays[3]: a list: must be a mapping`,
		}},
		{"wrong shapes", "relays: 3\nfaults: {mail: 450}\nseed: [1]\nmore: 1\nseed: 3", []string{
			`x.yaml:1: relays: "3": must be a list`, `x.yaml:2: faults: a mapping: must be a list`, `x.yaml:3: seed: a list: must be a number`,
			`x.yaml:4: more: unknown key: must be one of relays, faults, seed`, `x.yaml:5: seed: written twice: first on line 3`,
		}},
		{"values of wrong shape", "faults:\n- {mail: [450]}\n- {mail: }\n- {mail: 450, at: \"\"}\n- 450", []string{
			`x.yaml:2: faults[0].mail: a list: must be one value`, `x.yaml:3: faults[1].mail: has no value`, `x.yaml:4: faults[2].at: has no value`,
			`x.yaml:5: faults[3]: "450": must be a mapping`,
		}},
		{"a key twice", "faults:\n- mail: 450\n  mail: 451", []string{`x.yaml:3: faults[0].mail: written twice: first on line 2`}},
		{"anchors", "faults:\n- &x {mail: 450}\n- *x", []string{`x.yaml:2: faults[0]: anchors`, `x.yaml:3: faults[1]: anchors`}},
		{"keys that are no words", "faults:\n- {[a]: 3}", []string{`x.yaml:2: faults[0]: keys must be plain words`}},
		{"not a mapping", "- mail", []string{`x.yaml:1: a list: must be a mapping`}},
		{"not YAML", "faults:\n\t- {mail: 450}", []string{`x.yaml:2: not YAML: found character that cannot start any token: indent with spaces`}},
		{"not YAML either", "faults:\n  - {mail: 450\n  - {rcpt: 450}\n", []string{`x.yaml:2: not YAML: did not find expected ',' or '}'`}},
		{"two documents", "seed: 1\n---\nseed: 2", []string{`x.yaml: must be one YAML document`}},
		{"far too long", strings.Repeat("#", maxScript+1), []string{`x.yaml: must be at most 1048576 octets`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s Setup
			s.Relay("a=127.0.0.1:0")
			s.Script("x.yaml", []byte(test.text))
			_, err := s.Config()
			if err == nil {
				t.Fatal("was taken")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(test.want) {
				t.Fatalf("%d mistakes, want %d:\n%v", len(lines), len(test.want), err)
			}
			for _, want := range test.want {
				if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, want) }) {
					t.Errorf("no line with %s in\n%v", want, err)
				}
			}
		})
	}
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                              `--fault "": says not where`,
		"b greeting":                    `--fault "b greeting": must be KEY=VALUE after KEY=VALUE`,
		"b: greeting":                   `must be KEY=VALUE after KEY=VALUE`,
		`mail="450 x`:                   `the value of "mail" has no closing quote`,
		`mail="450 x"at=3s`:             `the value of "mail" must end with its quote, and a blank must follow`,
		"mail= at=3s":                   `"mail" has no value`,
		"mail=450 mail=451":             `mail: "451": written twice`,
		"mail=450 4.3.0 later":          `must be KEY=VALUE after KEY=VALUE`,
		"mail=45":                       `mail: "45": must be a reply`,
		"mail=670":                      `mail: "670": must be a reply`,
		`mail="450-more"`:               `mail: "450-more": must be a reply`,
		"connect=refuse probability=5%": "has no meaning at connect",
		"connect=refuse every=1s":       "must be longer than for",
		"mail=450 at=1s for=-1s":        `for: "-1s": must not be below 0`,
	} {
		if f, err := ParseFault(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v\nwant %s", text, f, err, want)
		}
	}
	var s Setup
	s.Relay("a=127.0.0.1:1")
	s.Relay("a=127.0.0.1:2")
	s.Relay("x=y=127.0.0.1:2")
	s.Fault("z: mail=450")
	_, err := s.Config()
	for _, want := range []string{
		`--relay "a=127.0.0.1:2": name: "a": must be another one: "a" is taken by --relay "a=127.0.0.1:1"`,
		`--relay "x=y=127.0.0.1:2": address: "y=127.0.0.1:2": must be IP:port`,
		`--fault "z: mail=450": relay: "z": must be a relay's name`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in\n%v", want, err)
		}
	}
}

func TestManyMistakesAreCutShort(t *testing.T) {
	var s Setup
	s.Script("x.yaml", []byte("faults:\n"+strings.Repeat("- {mail: 1}\n", 150)))
	_, err := s.Config()
	if err == nil || strings.Count(err.Error(), "\n") != maxShown || !strings.HasSuffix(err.Error(), "and 50 more") {
		t.Errorf("%v", err)
	}
}

// anyFault draws a fault without mistakes.
func anyFault(t *rapid.T) Fault {
	f := Fault{Point: rapid.SampledFrom(points()).Draw(t, "point")}
	f.Action = rapid.SampledFrom(actions(f.Point)).Draw(t, "action")
	f.Relay = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "relay")
	duration := func(name string) time.Duration {
		return time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, name))
	}
	switch f.Action {
	case ActionReply:
		f.Reply = rapid.StringMatching(`[45][0-5][0-9]( [ -~]{1,30})?`).Draw(t, "reply")
	case ActionDelay:
		f.Delay = 1
	case ActionByteByByte:
		f.Pause = duration("pause")
	}
	f.At, f.For = duration("at"), duration("for")
	if f.For > 0 && rapid.Bool().Draw(t, "repeated") {
		f.Every = f.For + 1 + duration("gap")
	}
	if f.Point != PointConnect {
		f.Delay += duration("delay")
		f.Times = rapid.Int64Range(0, 100).Draw(t, "times")
		f.Probability = float64(rapid.IntRange(0, 999).Draw(t, "probability")) / 1000
		f.Kept = f.Point == PointContent && f.Action != ActionDelay && rapid.Bool().Draw(t, "kept")
	}
	return f
}

func TestFaultReadsAsItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFault(t)
		back, err := ParseFault(f.String())
		if err != nil || back != f {
			t.Errorf("%s\nreads as %+v, %v\nwant     %+v", f, back, err, f)
		}
		if f.Kind() == "" || f.Outcome() == "" {
			t.Errorf("%s: kind %q, outcome %q", f, f.Kind(), f.Outcome())
		}
	})
}

func TestOutcomesAreTheDesignsWords(t *testing.T) {
	for text, want := range map[string]string{
		"greeting=421": "greeting_4xx", "greeting=554": "greeting_5xx", "greeting=close": "closed", "greeting=reset": "reset",
		"greeting=silence": "greeting_timeout", "greeting=half": "greeting_timeout", "greeting=not_smtp": "not_smtp", "greeting=endless": "not_smtp",
		"greeting=multi_line": "ok", "greeting=byte_by_byte": "ok", "greeting=2s": "ok",
		"connect=refuse": "refused", "connect=down": "refused", "connect=black_hole": "connect_timeout",
		"mail=450": "reply_4xx", "rcpt=550": "reply_5xx", "data=close": "closed", "content=reset": "reset", "quit=silence": "timeout",
	} {
		if got := mustFaults(t, text)[0].Outcome(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// FuzzScript: any file gives a configuration that Start would take, or an error
// whose every line names the file.
func FuzzScript(f *testing.F) {
	f.Add([]byte("relays: [\"a=127.0.0.1:0\"]\nfaults:\n- {relay: a, greeting: 421, at: 10s, for: 20s, every: 1m}\nseed: 3"))
	f.Add([]byte("faults: [{content: \"451 x\", probability: 5%}, {connect: down}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? [x]\n: - y"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Setup
		s.Relay("127.0.0.1:0")
		s.Script("x.yaml", text)
		cfg, err := s.Config()
		if err == nil {
			if err := cfg.check(); err != nil && !strings.Contains(err.Error(), "implicit TLS") {
				t.Errorf("taken, but %v", err)
			}
			newPlan(cfg.Faults, cfg.Relays, cfg.Seed, time.Time{})
			return
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !strings.HasPrefix(line, "x.yaml:") && !strings.HasPrefix(line, "--relay") && !strings.HasPrefix(line, "and ") {
				t.Errorf("no place in %q", line)
			}
		}
	})
}

// FuzzFault: any text gives a fault that reads as it is written, or an error.
func FuzzFault(f *testing.F) {
	f.Add(`b: greeting=421 at=10s for=20s`)
	f.Add(`content="451 4.3.0 \"later\"" probability=5% times=3 kept=true`)
	f.Add(`x:"=`)
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := ParseFault(text)
		if err != nil {
			return
		}
		if back, err := ParseFault(fault.String()); err != nil || back != fault {
			t.Errorf("%q is %+v, written %s, which is %+v, %v", text, fault, fault, back, err)
		}
	})
}
