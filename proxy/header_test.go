package proxy

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

const sigV2 = "\r\n\r\n\x00\r\nQUIT\n"

type headerCase struct {
	name         string
	text         string // the header; what follows it is not part of the test
	length       int    // 0: not whole
	client, dest string // "": the real ends of the connection
	err          error  // of headerLength, or else of parseHeader
}

func headerCases() []headerCase {
	v1 := func(name, line, client, dest string) headerCase {
		return headerCase{name: name, text: line, length: len(line), client: client, dest: dest}
	}
	v2 := func(name string, head string, length int, rest string) headerCase {
		text := sigV2 + head + string([]byte{byte(length >> 8), byte(length)}) + rest
		return headerCase{name: name, text: text, length: len(text)}
	}
	with := func(c headerCase, client, dest string, err error) headerCase {
		c.client, c.dest, c.err = client, dest, err
		return c
	}
	four := "\x0a\x01\x02\x03\xc0\x00\x02\x19\x9c\x40\x00\x19"
	six := strings.Repeat("\x00", 15) + "\x01" + strings.Repeat("\x00", 15) + "\x02" + "\x9c\x40\x00\x19"
	mapped := strings.Repeat("\x00", 10) + "\xff\xff\x0a\x01\x02\x03" + strings.Repeat("\x00", 10) + "\xff\xff\xc0\x00\x02\x19" + "\x9c\x40\x00\x19"
	return []headerCase{
		v1("version 1, IPv4", "PROXY TCP4 10.1.2.3 192.0.2.25 40000 25\r\n", "10.1.2.3:40000", "192.0.2.25:25"),
		v1("version 1, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 40000 25\r\n", "[2001:db8::1]:40000", "[2001:db8::2]:25"),
		v1("version 1, v4-mapped", "PROXY TCP6 ::ffff:10.1.2.3 ::ffff:192.0.2.25 40000 25\r\n", "10.1.2.3:40000", "192.0.2.25:25"),
		v1("version 1, unknown", "PROXY UNKNOWN\r\n", "", ""),
		v1("version 1, unknown with addresses", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "", ""),
		with(v1("version 1, LF alone", "PROXY TCP4 10.1.2.3 192.0.2.25 40000 25\n", "", ""), "", "", errBadHeader),
		with(v1("version 1, no addresses", "PROXY TCP4\r\n", "", ""), "", "", errBadHeader),
		with(v1("version 1, not addresses", "PROXY TCP4 a b c d\r\n", "", ""), "", "", errBadHeader),
		with(v1("version 1, another protocol", "PROXY UDP4 10.1.2.3 192.0.2.25 40000 25\r\n", "", ""), "", "", errBadHeader),
		with(v1("version 1, nothing", "PROXY \r\n", "", ""), "", "", errBadHeader),
		{name: "version 1, 107 bytes without an end", text: "PROXY " + strings.Repeat("x", 101), err: errBadHeader},
		{name: "version 1, its end too late", text: "PROXY " + strings.Repeat("x", 101) + "\r\n", err: errBadHeader},
		{name: "version 1, not yet too long", text: "PROXY " + strings.Repeat("x", 100)},

		with(v2("version 2, IPv4", "\x21\x11", 12, four), "10.1.2.3:40000", "192.0.2.25:25", nil),
		with(v2("version 2, IPv6", "\x21\x21", 36, six), "[::1]:40000", "[::2]:25", nil),
		with(v2("version 2, v4-mapped", "\x21\x21", 36, mapped), "10.1.2.3:40000", "192.0.2.25:25", nil),
		with(v2("version 2, IPv4 with extensions", "\x21\x11", 12+7, four+"\x04\x00\x04abcd"), "10.1.2.3:40000", "192.0.2.25:25", nil),
		v2("version 2, local", "\x20\x00", 0, ""),
		v2("version 2, local with addresses", "\x20\x11", 12, four),
		v2("version 2, unspecified", "\x21\x00", 0, ""),
		with(v2("version 2, UDP", "\x21\x12", 12, four), "", "", errBadHeader),
		with(v2("version 2, UNIX", "\x21\x31", 216, strings.Repeat("u", 216)), "", "", errBadHeader),
		with(v2("version 2, too few bytes for its family", "\x21\x11", 4, "\x0a\x01\x02\x03"), "", "", errBadHeader),
		with(v2("version 3", "\x31\x11", 12, four), "", "", errBadHeader),
		{name: "version 2, too long", text: sigV2 + "\x21\x11\x0f\xf1", err: errBadHeader},
		{name: "version 2, as long as may be", text: sigV2 + "\x21\x11\x0f\xf0"},
		{name: "version 2, 64 KB", text: sigV2 + "\x21\x11\xff\xff", err: errBadHeader},

		{name: "nothing", text: ""},
		{name: "SMTP", text: "EHLO client.test\r\n", err: errNoHeader},
		{name: "small letters", text: "proxy TCP4 10.1.2.3 192.0.2.25 40000 25\r\n", err: errNoHeader},
		{name: "a line end", text: "\r\nQUIT\r\n", err: errNoHeader},
		{name: "TLS", text: "\x16\x03\x01", err: errNoHeader},
	}
}

func TestProxyHeaderNamesTheClientOrIsRefused(t *testing.T) {
	for _, test := range headerCases() {
		t.Run(test.name, func(t *testing.T) {
			n, err := headerLength([]byte(test.text + "EHLO client.test\r\n")[:max(len(test.text), test.length)])
			if n != test.length {
				t.Fatalf("length %d (%v), want %d", n, err, test.length)
			}
			if n == 0 {
				if !errors.Is(err, test.err) {
					t.Errorf("error %v, want %v", err, test.err)
				}
				return
			}
			client, dest, err := parseHeader([]byte(test.text)[:n])
			if !errors.Is(err, test.err) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if got, want := client, parsed(test.client); got != want {
				t.Errorf("client %v, want %v", got, want)
			}
			if got, want := dest, parsed(test.dest); got != want {
				t.Errorf("destination %v, want %v", got, want)
			}
		})
	}
}

func parsed(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}

// What was taken for a header, or not, must not depend on how many bytes came
// in the first read.
func TestProxyHeaderCutAnywhereIsTheSame(t *testing.T) {
	for _, test := range headerCases() {
		sameLength(t, []byte(test.text+"EHLO client.test\r\n"))
	}
}

func sameLength(t testing.TB, text []byte) {
	length, failed := 0, false
	for n := range len(text) + 1 {
		got, err := headerLength(text[:n])
		switch {
		case got < 0 || got > n || got > maxHeader:
			t.Fatalf("%q: a header of %d bytes in %d", text, got, n)
		case got > 0 && err != nil:
			t.Fatalf("%q: %d bytes and %v", text, got, err)
		case failed && err == nil:
			t.Fatalf("%q: refused before, but %d bytes are length %d", text, n, got)
		case length > 0 && (got != length || err != nil):
			t.Fatalf("%q: %d bytes are length %d (%v), fewer were %d", text, n, got, err, length)
		}
		length, failed = got, err != nil
	}
}

func FuzzProxyHeader(f *testing.F) {
	for _, test := range headerCases() {
		f.Add([]byte(test.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		sameLength(t, text[:min(len(text), maxHeader)])
		n, err := headerLength(text)
		if err != nil || n == 0 {
			return
		}
		client, dest, err := parseHeader(text[:n])
		if client.IsValid() != dest.IsValid() || err != nil && client.IsValid() {
			t.Fatalf("%q: %v, %v, %v", text, client, dest, err)
		}
		if client.IsValid() {
			roundTrip(t, client, dest)
		}
	})
}

// roundTrip formats the two ends as the header to a relay and reads it back.
func roundTrip(t *testing.T, client, dest netip.AddrPort) {
	t.Helper()
	for version := byte(1); version <= 2; version++ {
		h := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(client), net.TCPAddrFromAddrPort(dest))
		b, err := h.Format()
		if err != nil {
			t.Fatalf("%v to %v, version %d: %v", client, dest, version, err)
		}
		n, err := headerLength(append(bytes.Clone(b), "EHLO"...))
		if n != len(b) || err != nil {
			t.Fatalf("%q: length %d (%v), want %d", b, n, err, len(b))
		}
		c, d, err := parseHeader(b)
		if c != client || d != dest || err != nil {
			t.Fatalf("%q: %v, %v, %v, want %v and %v", b, c, d, err, client, dest)
		}
	}
}

func TestProxyHeaderOfEveryFamilySurvivesTheWayOut(t *testing.T) {
	for _, ends := range [][2]string{
		{"10.1.2.3:40000", "192.0.2.25:25"},
		{"[2001:db8::1]:40000", "[2001:db8::2]:25"},
		{"0.0.0.0:0", "255.255.255.255:65535"},
	} {
		roundTrip(t, parsed(ends[0]), parsed(ends[1]))
	}
}
