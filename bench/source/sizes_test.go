package source

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"smtplb/bench/mail"
)

func TestSizesAreReadAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]Sizes{
		"4KB": FixedSize(4096), "4k": FixedSize(4096), "1024": FixedSize(1024), "1024B": FixedSize(1024), "1.5MB": FixedSize(3 << 19),
		"1KB-1MB": SizeRange(1024, 1<<20), "320 - 640": SizeRange(320, 640), "mix": MixedSizes(), "MIX": MixedSizes(), "1024MB": FixedSize(1 << 30),
	} {
		got, err := ParseSizes(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v %v, want %+v", text, got, err, want)
		}
		if again, err := ParseSizes(got.String()); err != nil || again != got {
			t.Errorf("%q becomes %q, which is read as %+v %v", text, got, again, err)
		}
	}
	if text := (Sizes{}).String(); text != "4KB" {
		t.Errorf("the zero value is %s", text)
	}
}

func TestBadSizesAreExplained(t *testing.T) {
	for text, want := range map[string]string{
		"":          "not a size",
		"big":       "not a size",
		"4GB":       "no unit that is known",
		"4KBB":      "no unit that is known",
		"-4KB":      "not a size",
		"1e3":       "not a size",
		"NaN":       "not a size",
		"1KB-":      "not a size",
		"1KB-2KB-3": "not a size",
		"2MB-1MB":   "below the first",
		"100":       "at least 320 bytes",
		"0":         "at least 320 bytes",
		"1025MB":    "1024MB at most",
	} {
		_, err := ParseSizes(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

func FuzzSizes(f *testing.F) {
	for _, seed := range []string{"4KB", "1KB-1MB", "mix", "", "-", "1.5M", "9999999999999999999999", "1KB-inf", "0x10"} {
		f.Add(seed, uint64(1))
	}
	f.Fuzz(func(t *testing.T, text string, u uint64) {
		s, err := ParseSizes(text)
		if err != nil {
			return
		}
		if n := s.Size(u); n < mail.MinSize || n > maxSize {
			t.Errorf("%q gives %d bytes", text, n)
		}
	})
}

func TestSizesStayWithinTheirBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.IntRange(mail.MinSize, 1<<20).Draw(t, "low")
		high := rapid.IntRange(low, 1<<25).Draw(t, "high")
		u := rapid.Uint64().Draw(t, "u")
		if n := SizeRange(low, high).Size(u); n < low || n > high {
			t.Errorf("%d-%d gives %d", low, high, n)
		}
		if n := MixedSizes().Size(u); n < mixLow || n > mixHigh {
			t.Errorf("the mix gives %d", n)
		}
	})
}

// sample draws as a run does, which is the same every time.
func sample(s Sizes) []int {
	sizes := make([]int, 200_000)
	for i := range sizes {
		sizes[i] = s.Size(draw(1, 2*uint64(i)))
	}
	slices.Sort(sizes)
	return sizes
}

func TestMixHasTheMeanAndTheMedianThatItClaims(t *testing.T) {
	sizes := sample(MixedSizes())
	sum := 0
	for _, n := range sizes {
		sum += n
	}
	near := func(what string, got, want, within float64) {
		if math.Abs(got-want) > within*want {
			t.Errorf("%s: %.0f bytes, want %.0f", what, got, want)
		}
	}
	at := func(p float64) float64 { return float64(sizes[int(p*float64(len(sizes)))]) }
	near("mean", float64(sum)/float64(len(sizes)), 75<<10, 0.05)
	near("median", at(0.5), 16<<10, 0.02)
	near("one in ten", at(0.9), 150<<10, 0.05)
	near("one in a hundred", at(0.99), 1<<20, 0.1)
}

func TestRangeIsLogUniform(t *testing.T) {
	sizes := sample(SizeRange(1000, 1000_000))
	for i, want := range []float64{10_000, 100_000} { // a third of the messages each
		if got := float64(sizes[(i+1)*len(sizes)/3]); math.Abs(got-want) > 0.05*want {
			t.Errorf("third %d ends at %.0f, want %.0f", i+1, got, want)
		}
	}
}

func TestRecipients(t *testing.T) {
	for text, want := range map[string]Recipients{"1": FixedRecipients(1), "100": FixedRecipients(100), "mix": MixedRecipients()} {
		if got, err := ParseRecipients(text); err != nil || got != want || got.String() != text {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "101", "many", "1.5"} {
		if _, err := ParseRecipients(text); err == nil || !strings.Contains(err.Error(), "from 1 to 100, or mix") {
			t.Errorf("%q: %v", text, err)
		}
	}
	counts := map[int]int{}
	for i := range 100_000 {
		counts[MixedRecipients().count(draw(1, 2*uint64(i)+1))]++
	}
	if counts[1] < 89_000 || counts[1] > 91_000 || len(counts) != 5 || counts[5] < 2000 {
		t.Errorf("the mix gives %v", counts)
	}
}
