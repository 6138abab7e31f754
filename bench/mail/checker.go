package mail

import (
	"bytes"
	"hash/crc32"
	"strconv"
	"strings"
)

// maxField is the longest header line of ours: 13 octets of name, 95 of fields
// at most, and CRLF.
const maxField = 128

// Arrival is what a Checker has found a message to be.
type Arrival struct {
	ID      ID
	Known   bool  // it carries our header; else there is no ID
	Corrupt bool  // its checksum or its size is not what the header says
	Size    int64 // octets, with whatever relays have put in front
}

// Checker takes the content of one message as it arrives, dots undoubled, in
// pieces of any size. The zero value is ready. It holds no content and
// allocates nothing.
type Checker struct {
	state checkState
	size  int64

	line   [maxField]byte // seeking: the line so far, its first octets
	length int            // of the line; may be more than line holds

	// Once the header has been found:
	id       ID
	declared int64  // octets from the header on
	seen     int64  // of those
	want     uint32 // checksum
	sum      uint32
}

type checkState uint8

const (
	seeking checkState = iota // in the header section, before our line
	found                     // after our line
	foreign                   // after a header section without one
)

// Reset makes the Checker ready for the next message.
func (k *Checker) Reset() { *k = Checker{} }

// Write takes the next octets. It never fails.
func (k *Checker) Write(p []byte) (int, error) {
	k.size += int64(len(p))
	rest := p
	for k.state == seeking && len(rest) > 0 {
		rest = k.seek(rest)
	}
	if k.state == found {
		k.seen += int64(len(rest))
		k.sum = crc32.Update(k.sum, castagnoli(), rest)
	}
	return len(p), nil
}

// seek takes p up to the end of a line, or whole, and returns the rest.
func (k *Checker) seek(p []byte) []byte {
	end := bytes.IndexByte(p, '\n') + 1
	part := p
	if end > 0 {
		part = p[:end]
	}
	if k.length < maxField {
		copy(k.line[k.length:], part)
	}
	k.length += len(part)
	if end == 0 {
		return nil
	}
	if k.length <= maxField {
		k.header(k.line[:k.length])
	}
	k.length = 0
	return p[end:]
}

// header looks at one whole line of the header section.
func (k *Checker) header(line []byte) {
	if string(line) == crlf || string(line) == "\n" { // RFC 5322, 2.1: the body begins
		k.state = foreign
		return
	}
	if line[0] != fieldName[0] { // most lines, and all of them where a message has no header section
		return
	}
	if id, size, sum, ok := parseField(line); ok {
		k.state = found
		k.id, k.declared, k.want = id, size, sum
		k.seen = int64(len(line))
		k.sum = crc32.Update(0, castagnoli(), line[:len(line)-len(crcField)-crcDigits-len(crlf)])
	}
}

// parseField takes our header line apart. Only what a Composer writes will do,
// to the octet: anything else was damaged.
func parseField(line []byte) (id ID, size int64, sum uint32, ok bool) {
	s := scanner{rest: line}
	s.literal(fieldName)
	s.literal("run=")
	id.Run = s.hex(16)
	s.literal(" seq=")
	id.Seq = s.decimal()
	s.literal(" size=")
	length := s.decimal()
	s.literal(crcField)
	sum = uint32(s.hex(crcDigits))
	s.literal(crlf)
	return id, int64(length), sum, !s.failed && len(s.rest) == 0 && length < 1<<63
}

// scanner takes fixed forms off the front of a line. After a failure it takes
// nothing more.
type scanner struct {
	rest   []byte
	failed bool
}

func (s *scanner) literal(text string) {
	if len(s.rest) < len(text) || string(s.rest[:len(text)]) != text {
		s.failed = true
		return
	}
	s.rest = s.rest[len(text):]
}

func (s *scanner) hex(digits int) uint64 {
	var n uint64
	if len(s.rest) < digits {
		s.failed = true
		return 0
	}
	for _, b := range s.rest[:digits] {
		digit := strings.IndexByte("0123456789abcdef", b)
		if digit < 0 {
			s.failed = true
			return 0
		}
		n = n<<4 | uint64(digit)
	}
	s.rest = s.rest[digits:]
	return n
}

// decimal takes a number without leading zeros.
func (s *scanner) decimal() uint64 {
	n := 0
	for n < len(s.rest) && n <= 20 && '0' <= s.rest[n] && s.rest[n] <= '9' {
		n++
	}
	text := s.rest[:n]
	value, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || text[0] == '0' && n > 1 {
		s.failed = true
		return 0
	}
	s.rest = s.rest[n:]
	return value
}

// Arrival tells what the message was, once all of it has been written.
func (k *Checker) Arrival() Arrival {
	a := Arrival{Size: k.size}
	if k.state == found {
		a.ID, a.Known = k.id, true
		a.Corrupt = k.seen != k.declared || k.sum != k.want
	}
	return a
}
