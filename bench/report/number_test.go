package report

import (
	"math"
	"testing"
)

func TestFigures(t *testing.T) {
	tests := []struct {
		v    float64
		want string
	}{
		{0, "0"}, {math.Copysign(0, -1), "0"},
		{0.071234, "0.0712"}, {0.5, "0.500"}, {7.125, "7.12"}, {71.25, "71.2"}, {712.4, "712"}, {7124, "7,120"}, {71_234_567, "71,200,000"},
		{9.996, "10.0"}, {99.96, "100"}, {999.6, "1,000"}, {-1234, "-1,230"}, {-123, "-123"},
		{1e-9, "1.00e-09"}, {3e18, "3.00e+18"}, {math.MaxFloat64, "1.80e+308"},
		{math.NaN(), none}, {math.Inf(1), none}, {math.Inf(-1), none},
	}
	for _, test := range tests {
		if got := figures(test.v); got != test.want {
			t.Errorf("figures(%v) is %q, want %q", test.v, got, test.want)
		}
	}
}

func TestLatencyChoosesItsUnit(t *testing.T) {
	tests := []struct {
		ms   float64
		want string
	}{
		{0, "0 ms"}, {0.0005, "0.500 µs"}, {0.0831, "83.1 µs"}, {0.9994, "999 µs"}, {0.9996, "1.00 ms"},
		{1, "1.00 ms"}, {12.34, "12.3 ms"}, {999.4, "999 ms"}, {999.6, "1.00 s"}, {61_000, "61.0 s"}, {3_600_000, "3,600 s"},
		{math.NaN(), none}, {math.Inf(1), none}, {math.MaxFloat64, none},
	}
	for _, test := range tests {
		got := latency(test.ms)
		if words := got.Number + " " + got.Unit; words != test.want && got.Number != test.want {
			t.Errorf("latency(%v) is %q, want %q", test.ms, words, test.want)
		}
	}
	if got, want := latencyTick(2000), "2"+nbsp+"s"; got != want {
		t.Errorf("a tick at 2,000 ms says %q, want %q", got, want)
	}
}

func TestPlainNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", math.Copysign(0, -1): "0", 3 * 0.1: "0.3", 20_000: "20,000", -1500: "-1,500", 1.5: "1.5", 1e-8: "1e-08", math.Inf(1): none,
	} {
		if got := plain(v); got != want {
			t.Errorf("plain(%v) is %q, want %q", v, got, want)
		}
	}
}

func TestVolume(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.00 KB", 999_600: "1.00 MB", 1_764_360_000: "1.76 GB", 5e12: "5.00 TB", 7e15: "7,000 TB",
	} {
		if got := volume(bytes); got != want {
			t.Errorf("volume(%d) is %q, want %q", bytes, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for seconds, want := range map[float64]string{
		0.25: "250" + nbsp + "ms", 1.5: "1.50 s", 60: "60.0 s", 99.9: "99.9 s", 99.96: "1 min 40 s", 750: "12 min 30 s", 3599.6: "1 h",
		3600: "1 h", 3900: "1 h 5 min", math.Inf(1): none,
	} {
		if got := span(seconds); got != want {
			t.Errorf("span(%v) is %q, want %q", seconds, got, want)
		}
	}
}

// Nothing but none is 0 %, and nothing but all is 100 %.
func TestShare(t *testing.T) {
	tests := []struct {
		part, whole int64
		want        string
	}{
		{0, 10, "0 %"}, {10, 10, "100 %"}, {0, 0, none}, {1, -1, none}, {29, 100, "29.0 %"}, {1, 3, "33.3 %"},
		{1, 1000, "0.10 %"}, {1, 1_000_000, "< 0.01 %"}, {999_999, 1_000_000, "> 99.99 %"}, {9995, 10_000, "99.95 %"}, {12, 10, "120.0 %"},
	}
	for _, test := range tests {
		want := test.want
		if got := share(test.part, test.whole); got != want {
			t.Errorf("share(%d, %d) is %q, want %q", test.part, test.whole, got, want)
		}
	}
}

func TestVisible(t *testing.T) {
	tests := []struct{ s, want string }{
		{"250 ok", "250 ok"}, {"Grüße, 世界", "Grüße, 世界"}, {"a\r\nb\tc\n", "a\nb\tc\n"}, {"a\rb", `a\rb`},
		{"\x1b[31mred\x07", `\x1b[31mred\a`}, {"\x00", `\x00`}, {"caf\xe9", `caf\xe9`}, {"a\u202eb", `a\u202eb`}, {"�", "�"},
	}
	for _, test := range tests {
		if got := visible(test.s); got != test.want {
			t.Errorf("visible(%q) is %q, want %q", test.s, got, test.want)
		}
	}
	if got, want := oneLine(" a\r\n b\t\x1b "), `a b \x1b`; got != want {
		t.Errorf("oneLine gives %q, want %q", got, want)
	}
}

func TestClock(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0 s", 37: "37 s", 99: "99 s", 125: "2:05", 3599: "59:59", 3725: "1:02:05"} {
		if got := clock(seconds); got != want {
			t.Errorf("clock(%v) is %q, want %q", seconds, got, want)
		}
	}
}
