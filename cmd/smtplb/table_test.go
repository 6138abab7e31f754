package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTablesAreAligned(t *testing.T) {
	tab := table{columns: []column{{head: "NAME"}, {head: "STATE", color: stateColor}, {head: "N", right: true}, {head: "WHY"}}}
	tab.add("relay-a", "up", 12, "")
	tab.add("b", "draining", 3, "421 \x1b[2Jtry\r\nlater, when there is room again")
	want := "NAME     STATE      N  WHY\n" +
		"relay-a  up        12\n" +
		"b        draining   3  421 ?[2Jtry??later, when there is room again\n"
	if got := tab.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	narrow := tab.text(style{width: 40, color: true})
	if want := "b        \x1b[33mdraining\x1b[0m   3  421 ?[2Jtry??lat…\n"; !strings.HasSuffix(narrow, want) {
		t.Errorf("got %q, want its end to be %q", narrow, want)
	}
	if !strings.Contains(narrow, "\x1b[32mup\x1b[0m      ") {
		t.Errorf("%q: the colour moves the columns", narrow)
	}
}

// Whatever the words, a table has its lines, no control characters, and its
// columns begin where their heads do.
func TestTablesHoldWhateverTheyAreGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.String()
		tab := table{columns: []column{{head: "A"}, {head: "B", right: rapid.Bool().Draw(t, "right")}, {head: "C"}}}
		rows := rapid.IntRange(0, 5).Draw(t, "rows")
		for range rows {
			tab.add(cell.Draw(t, "a"), cell.Draw(t, "b"), "x"+cell.Draw(t, "c"))
		}
		lines := strings.Split(tab.text(style{width: rapid.IntRange(0, 50).Draw(t, "width")}), "\n")
		if len(lines) != rows+2 || lines[rows+1] != "" {
			t.Fatalf("%d lines for %d rows: %q", len(lines), rows, lines)
		}
		at := strings.IndexByte(lines[0], 'C')
		for _, line := range lines[1 : rows+1] {
			if runes := []rune(line); harmless(line) != line || len(runes) <= at || runes[at] != 'x' {
				t.Fatalf("line %q, want x in column %d", line, at)
			}
		}
	})
}

func TestThereIsColourOnlyWhereItIsWanted(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if s := styleOf(file, nil); s.color || s.width != 0 {
		t.Errorf("a file is written with %+v", s)
	}
	if s := styleOf(&strings.Builder{}, nil); s.color {
		t.Errorf("text in memory is written with %+v", s)
	}
}

func TestTimesAndSizesArePlain(t *testing.T) {
	for seconds, want := range map[float64]string{
		-1: "0s", 0.9: "0s", 59: "59s", 60: "1m0s", 3599: "59m59s", 3600: "1h0m", 86399: "23h59m", 86400: "1d0h", 100 * 86400: "100d0h",
	} {
		if got := lasting(seconds); got != want {
			t.Errorf("%v s are %q, want %q", seconds, got, want)
		}
	}
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 1_500_000: "1.5 MB", 2e9: "2.0 GB", 5e12: "5.0 TB", 9e18: "9000000.0 TB",
	} {
		if got := sized(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
		if utf8.RuneCountInString(sized(n)) > 12 {
			t.Errorf("%q is long", sized(n))
		}
	}
}

func TestABackendSaysWhyItIsOut(t *testing.T) {
	now := time.Now()
	for want, b := range map[string]backendView{
		"":                                  {State: "up", Weight: 1, Part: 1, Reason: "2 good checks in a row"},
		"weight 0: no new sessions":         {State: "up", Part: 1},
		"slow start, at 40% of its weight":  {State: "up", Weight: 1, Part: 0.4},
		"drained":                           {State: "draining", Weight: 1, Part: 1, Reason: "drained"},
		"3 failed sessions (for 30s yet)":   {State: "ejected", Weight: 1, Part: 1, Reason: "3 failed sessions", Until: now.Add(30 * time.Second)},
		"3 failed checks in a row: refused": {State: "down", Weight: 1, Part: 1, Reason: "3 failed checks in a row: refused"},
	} {
		if got := b.why(now); got != want {
			t.Errorf("%+v: %q, want %q", b, got, want)
		}
	}
}

func TestAPoolSaysWhereSessionsGo(t *testing.T) {
	up, down := []backendView{{State: "up", Weight: 1}}, []backendView{{State: "down", Weight: 1}}
	for _, test := range []struct {
		pool  poolView
		color string
		want  string
	}{
		{poolView{Tiers: []tierView{{Active: true, Ramp: 1, Backends: up}}}, plain, "new sessions go to tier 0"},
		{poolView{WarmShare: 0.1, Tiers: []tierView{{Active: true, Ramp: 1, Backends: up}, {Tier: 1, Warmed: true, Backends: up}}}, plain,
			"new sessions go to tier 0; 10% of them to tier 1, to keep it warm"},
		{poolView{Tiers: []tierView{{Active: true, Ramp: 1, Backends: up}, {Tier: 1, Warmed: true, Backends: up}}}, plain,
			"new sessions go to tier 0; some to tier 1, to keep it warm"},
		{poolView{Failover: true, Tiers: []tierView{{Backends: down}, {Tier: 1, Active: true, Ramp: 1, Backends: up}}}, yellow, "failover: new sessions go to tier 1"},
		{poolView{Failover: true, Tiers: []tierView{{Backends: down}, {Tier: 1, Active: true, Ramp: 0.25, Backends: up}}}, yellow,
			"failover: new sessions go to tier 1, 25% of them, others read 421"},
		{poolView{Tiers: []tierView{{Active: true, Ramp: 1, Backends: down}}}, red, "no relay is up, new clients read 421"},
		{poolView{}, red, "no relay is up, new clients read 421"},
	} {
		if color, text := test.pool.outlook(); text != test.want || color != test.color {
			t.Errorf("%q in %q, want %q in %q", text, color, test.want, test.color)
		}
	}
}
