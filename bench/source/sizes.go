package source

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"smtplb/bench/mail"
)

// Sizes is how large messages are. The zero value is 4 KB for each.
type Sizes struct {
	low, high int // equal: fixed; both 0: the default
	mix       bool
}

const (
	kilobyte    = 1 << 10
	megabyte    = 1 << 20
	defaultSize = 4 * kilobyte
	maxSize     = 1 << 30
)

// The mix: a log-normal distribution, cut off at both ends. That the sizes of
// the mail of an organisation follow such a curve was found by Matsubara and
// Musashi in six years of a campus's logs ("Fluctuations in email size", EPJ Plus
// 132, 2017). The mean of 75 KB is what Microsoft plans Exchange for ("Mailbox
// server role design example", Exchange 2010, and the sizing calculators
// since). The median of 16 KB is an assumption: some paragraphs in HTML under a
// Received line or five. The two together give the spread: one in ten is above
// 150 KB, one in a hundred above 1 MB. The largest is what a Send connector lets
// through by default, 25 MB.
const (
	mixMedian = 16 * kilobyte
	mixMean   = 75 * kilobyte
	mixLow    = 2 * kilobyte
	mixHigh   = 25 * megabyte
)

// MixedSizes is the mail of an office: a log-normal distribution with a median
// of 16 KB and a mean of 75 KB, from 2 KB to 25 MB.
func MixedSizes() Sizes { return Sizes{mix: true} }

// FixedSize is n bytes for each message, and mail.MinSize at least.
func FixedSize(n int) Sizes { return Sizes{low: n, high: n} }

// SizeRange is anything between: log-uniform, which is as often between 1 and 10
// KB as between 100 KB and 1 MB.
func SizeRange(low, high int) Sizes { return Sizes{low: low, high: high} }

// ParseSizes reads "4KB", "1KB-1MB" or "mix". KB and MB are 1024 and 1024*1024
// bytes, as mail systems count limits.
func ParseSizes(text string) (Sizes, error) {
	if strings.EqualFold(text, "mix") {
		return MixedSizes(), nil
	}
	first, second, ranged := strings.Cut(text, "-")
	low, err := parseSize(first)
	if err != nil {
		return Sizes{}, fmt.Errorf("size %q: %w", text, err)
	}
	if !ranged {
		return FixedSize(low), nil
	}
	high, err := parseSize(second)
	switch {
	case err != nil:
		return Sizes{}, fmt.Errorf("size %q: %w", text, err)
	case high < low:
		return Sizes{}, fmt.Errorf("size %q: the second is below the first", text)
	}
	return SizeRange(low, high), nil
}

func parseSize(text string) (int, error) {
	text = strings.TrimSpace(text)
	number := strings.TrimRight(text, "BKMGbkmg")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, digits+".") != "" {
		return 0, fmt.Errorf("%q is not a size: want 4KB, a range such as 1KB-1MB, or mix", text)
	}
	switch strings.ToUpper(text[len(number):]) {
	case "", "B":
	case "K", "KB":
		n *= kilobyte
	case "M", "MB":
		n *= megabyte
	default:
		return 0, fmt.Errorf("%q has no unit that is known: want bytes, KB or MB, such as 4KB", text)
	}
	switch {
	case n < mail.MinSize:
		return 0, fmt.Errorf("%q is too small: a message has at least %d bytes, for its header", text, mail.MinSize)
	case n > maxSize:
		return 0, fmt.Errorf("%q is too large: want 1024MB at most", text)
	default:
		return int(n), nil
	}
}

// String is what ParseSizes reads.
func (s Sizes) String() string {
	switch low, high := s.bounds(); {
	case s.mix:
		return "mix"
	case low == high:
		return sizeText(low)
	default:
		return sizeText(low) + "-" + sizeText(high)
	}
}

func sizeText(n int) string {
	switch {
	case n >= megabyte && n%megabyte == 0:
		return strconv.Itoa(n/megabyte) + "MB"
	case n >= kilobyte && n%kilobyte == 0:
		return strconv.Itoa(n/kilobyte) + "KB"
	default:
		return strconv.Itoa(n)
	}
}

func (s Sizes) bounds() (low, high int) {
	switch {
	case s.mix:
		return mixLow, mixHigh
	case s.low == 0 && s.high == 0:
		return defaultSize, defaultSize
	default:
		return s.low, s.high
	}
}

// Size is the size of a message that has drawn u, of all 64-bit numbers.
func (s Sizes) Size(u uint64) int {
	low, high := s.bounds()
	if low >= high {
		return low
	}
	p := (float64(u>>11) + 0.5) / (1 << 53) // within 0 and 1, both excluded
	var size float64
	if s.mix {
		sigma := math.Sqrt(2 * math.Log(float64(mixMean)/mixMedian))
		size = mixMedian * math.Exp(sigma*math.Sqrt2*math.Erfinv(2*p-1))
	} else {
		size = float64(low) * math.Pow(float64(high)/float64(low), p)
	}
	return min(max(int(size), low), high)
}

// Recipients is how many recipients messages have. The zero value is one.
type Recipients struct {
	n   int
	mix bool
}

// maxRecipients is what any server takes in one message (RFC 5321, 4.5.3.1.8).
const maxRecipients = 100

// MixedRecipients is one for nine messages in ten, else two to five: an
// assumption.
func MixedRecipients() Recipients { return Recipients{mix: true} }

// FixedRecipients is n for each message.
func FixedRecipients(n int) Recipients { return Recipients{n: n} }

// ParseRecipients reads a number or "mix".
func ParseRecipients(text string) (Recipients, error) {
	if strings.EqualFold(text, "mix") {
		return MixedRecipients(), nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxRecipients {
		return Recipients{}, fmt.Errorf("recipients %q: want a number from 1 to %d, or mix", text, maxRecipients)
	}
	return FixedRecipients(n), nil
}

// String is what ParseRecipients reads.
func (r Recipients) String() string {
	if r.mix {
		return "mix"
	}
	return strconv.Itoa(max(r.n, 1))
}

// count is the number for a message that has drawn u.
func (r Recipients) count(u uint64) int {
	if !r.mix {
		return min(max(r.n, 1), maxRecipients)
	}
	if u%10 != 0 {
		return 1
	}
	return 2 + int(u/10%4)
}

// draw is the random number of a message: the same for the same seed and
// sequence number, whoever sends it and however often (SplitMix64, Steele et
// al., OOPSLA 2014).
func draw(seed, seq uint64) uint64 {
	z := seed + seq*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}
