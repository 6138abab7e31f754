package config

import (
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

func TestShareIsExact(t *testing.T) {
	tests := []struct {
		text string
		want Share
		back string
	}{
		{"0%", 0, "0%"}, {"5%", 50_000, "5%"}, {"10%", 100_000, "10%"}, {"100%", 1_000_000, "100%"},
		{"2.5%", 25_000, "2.5%"}, {"0.0001%", 1, "0.0001%"}, {"33.3333%", 333_333, "33.3333%"}, {"05.50%", 55_000, "5.5%"},
	}
	for _, tt := range tests {
		got, err := parseShare(tt.text)
		if err != nil || got != tt.want || got.String() != tt.back {
			t.Errorf("%s: got %d (%s), %v, want %d (%s)", tt.text, got, got, err, tt.want, tt.back)
		}
	}
	for _, text := range []string{"", "%", "5", "5 %", ".5%", "5.%", "-5%", "+5%", "1e1%", "0.00001%", "100.0001%", "1000%", "5%%", "0x5%", "٥%"} {
		if got, err := parseShare(text); err == nil {
			t.Errorf("%q: accepted as %s", text, got)
		}
	}
	if f := (5 * percent).Fraction(); f != 0.05 {
		t.Errorf("Fraction of 5%%: %v", f)
	}
}

func TestEveryShareReadsBackAsItIsShown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Share(rapid.Int64Range(0, 1_000_000).Draw(t, "share"))
		if got, err := parseShare(s.String()); err != nil || got != s {
			t.Fatalf("%d shows as %s, reads as %d: %v", s, s, got, err)
		}
		exact, ok := new(big.Rat).SetString(strings.TrimSuffix(s.String(), "%"))
		if !ok || exact.Cmp(big.NewRat(int64(s), int64(percent))) != 0 {
			t.Fatalf("%d shows as %s", s, s)
		}
	})
}

func TestTimesAreShownAsAPersonWritesThem(t *testing.T) {
	for text, d := range map[string]time.Duration{
		"0s": 0, "15s": 15 * time.Second, "15m": 15 * time.Minute, "1h": time.Hour, "720h": 720 * time.Hour,
		"1m30s": 90 * time.Second, "1h0m5s": time.Hour + 5*time.Second, "1h30m": 90 * time.Minute, "100ms": 100 * time.Millisecond,
		"10m": 10 * time.Minute, "10h": 10 * time.Hour,
	} {
		if got := short(d); got != text {
			t.Errorf("%v: got %s, want %s", d, got, text)
		}
	}
}

func TestEndpointKeepsNameAndAddress(t *testing.T) {
	tests := []struct {
		text, host, back string
		isIP             bool
	}{
		{"10.0.0.1:25", "10.0.0.1", "10.0.0.1:25", true},
		{"[2001:DB8::0001]:25", "2001:db8::1", "[2001:db8::1]:25", true},
		{"[::ffff:10.0.0.1]:25", "10.0.0.1", "10.0.0.1:25", true},
		{"Relay.Example.com.:587", "relay.example.com.", "relay.example.com.:587", false},
		{"localhost:2525", "localhost", "localhost:2525", false},
		{":465", "", ":465", false},
	}
	for _, tt := range tests {
		e, err := parseEndpoint(tt.text)
		addr, ok := e.AddrPort()
		if err != nil || e.Host != tt.host || e.String() != tt.back || ok != tt.isIP {
			t.Errorf("%s: got %+v, %v", tt.text, e, err)
		}
		if ok && addr.String() != tt.back {
			t.Errorf("%s: dials %s", tt.text, addr)
		}
	}
	if e, err := parseEndpoint(""); err != nil || e != (Endpoint{}) || e.String() != "" {
		t.Errorf("empty: got %+v, %v", e, err)
	}
}

func TestValuesShowAsTheyAreWritten(t *testing.T) {
	for _, text := range []string{"", "mx:example.com", "srv:_smtp._tcp.example.com"} {
		if d, err := parseDiscover(text); err != nil || d.String() != text {
			t.Errorf("%q: got %q, %v", text, d, err)
		}
	}
	for _, text := range []string{"auto", "off", "800ms"} {
		if h, err := parseHedge(text); err != nil || h.String() != text {
			t.Errorf("%q: got %q, %v", text, h, err)
		}
	}
}

func TestSlipsFindTheWordMeant(t *testing.T) {
	known := []string{"address", "weight", "timeouts", "hostname", "pool"}
	for slip, want := range map[string]string{
		"adress": "address", "Address": "address", "wieght": "weight", "timeout": "timeouts", "host": "hostname",
		"pools": "pool", "adr": "", "metrics": "", "": "", strings.Repeat("address", 100): "",
	} {
		if got := nearest(slip, known); got != want {
			t.Errorf("%q: got %q, want %q", slip, got, want)
		}
	}
}

type panicky struct{}

func (panicky) Decode(any) error { panic("attempted to parse unknown event") }

func TestPanicOfTheYAMLReaderIsAnError(t *testing.T) {
	err := decodeNode(panicky{}, new(yaml.Node))
	if err == nil || err.Error() != "yaml: attempted to parse unknown event" {
		t.Errorf("got %v", err)
	}
}

func TestErrorsOfTheDecoderAreNeverLost(t *testing.T) {
	r := newReport("f.yaml")
	r.failDecode(errors.Join(errors.New("first"), nil))
	r.failDecode(nil)
	if len(r.errors) != 1 || r.errors[0].Error() != "f.yaml: first" {
		t.Errorf("got %v", r.errors)
	}
}

func TestMachineNameMayStandInAReply(t *testing.T) {
	if name := machineName(); !isMailName(name) {
		t.Errorf("got %q", name)
	}
}
