package mail

import (
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
)

// MinSize is the size of the smallest message that has room for its header.
const MinSize = 320

const (
	fillerSize = 1 << 20
	lineSize   = 64 // of the filler, with CRLF; divides fillerSize
	chunkSize  = 64 << 10
	maxTail    = lineSize + 1 // the last line has 2 to 65 octets, so that any size can be reached

	fieldName = "X-Smtpbench: "
	crcField  = " crc="
	crcDigits = 8
	crlf      = "\r\n"

	// Everything that a well-meaning relay would add is there already.
	restOfHeader = "From: <source@smtpbench.invalid>\r\n" +
		"To: <sink@smtpbench.invalid>\r\n" +
		"Subject: load test\r\n" +
		"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n"
	dotLines        = ".\r\n..\r\n"
	dotLinesDoubled = "..\r\n...\r\n"
	finalDot        = ".\r\n"
)

// ID is the identity of a message: its place in a run of a source. Runs are
// numbered at random, so that the mail of one is not taken for another's.
type ID struct{ Run, Seq uint64 }

// String gives the ID as its header has it.
func (id ID) String() string { return fmt.Sprintf("run=%016x seq=%d", id.Run, id.Seq) }

// Composer makes messages out of one block of 1 MB, the same in every process.
// Its methods are safe for concurrent use.
type Composer struct {
	filler  []byte
	buffers sync.Pool // of *[chunkSize]byte
}

// NewComposer takes a few milliseconds: make one for all messages.
func NewComposer() *Composer {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	c := &Composer{filler: make([]byte, fillerSize)}
	_, _ = rand.NewChaCha8([32]byte{}).Read(c.filler) // never fails
	for i, b := range c.filler {
		switch i % lineSize {
		case lineSize - 2:
			c.filler[i] = '\r'
		case lineSize - 1:
			c.filler[i] = '\n'
		default:
			c.filler[i] = alphabet[b%64]
		}
	}
	c.buffers.New = func() any { return new([chunkSize]byte) }
	return c
}

// Message is one message, made by [Composer.Message]. It holds its header only;
// the body is the Composer's. It is not changed by being written, and may be
// copied.
type Message struct {
	composer *Composer
	size     int64
	start    int   // of the body in the filler
	body     int64 // octets out of the filler, whole lines
	head     [MinSize]byte
	headSize int
	tail     [maxTail]byte
	tailSize int
}

// Message composes the message of that identity with so many octets of content.
// Sizes below MinSize are raised to it. It costs a pass over the content, for
// the checksum.
func (c *Composer) Message(id ID, size int) Message {
	size = max(size, MinSize)
	m := Message{composer: c, size: int64(size)}
	// Fibonacci hashing spreads neighbours over the block.
	m.start = int((id.Seq^id.Run)*0x9E3779B97F4A7C15>>(64-14)) * lineSize

	head := append(m.head[:0], fieldName...)
	head = appendIdentity(head, id, m.size)
	signed := len(head)
	head = append(head, crcField...)
	place := len(head)
	head = append(head, "00000000\r\n"...)
	after := len(head)
	head = append(head, restOfHeader...)
	head = append(head, "Message-ID: <"...)
	head = appendHex(head, id.Run, 16)
	head = append(head, '.')
	head = strconv.AppendUint(head, id.Seq, 10)
	head = append(head, "@smtpbench.invalid>\r\n\r\n"...)
	m.headSize = len(head)

	rest := size - len(head) - len(dotLines)
	lines := (rest - len(crlf)) / lineSize
	m.body = int64(lines) * lineSize
	tail := append(m.tail[:0], c.filler[:rest-lines*lineSize-len(crlf)]...)
	for i, b := range tail { // it may be longer than a line of the filler
		if b == '\r' || b == '\n' {
			tail[i] = '='
		}
	}
	m.tailSize = len(append(tail, crlf...))

	appendHex(head[:place], uint64(m.checksum(signed, after)), crcDigits)
	return m
}

// appendIdentity writes the part of the header line that the checksum covers.
func appendIdentity(to []byte, id ID, size int64) []byte {
	to = append(to, "run="...)
	to = appendHex(to, id.Run, 16)
	to = append(to, " seq="...)
	to = strconv.AppendUint(to, id.Seq, 10)
	to = append(to, " size="...)
	return strconv.AppendInt(to, size, 10)
}

// appendHex writes n with so many digits, in lower case.
func appendHex(to []byte, n uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		to = append(to, "0123456789abcdef"[n>>shift&15])
	}
	return to
}

// castagnoli is the table of CRC-32C (RFC 3720, B.4), for which processors have
// an instruction. The standard library keeps one table for all callers.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// checksum covers the head's first octets, and everything from after on.
func (m *Message) checksum(signed, after int) uint32 {
	table := castagnoli()
	sum := crc32.Update(0, table, m.head[:signed])
	sum = crc32.Update(sum, table, m.head[after:m.headSize])
	sum = crc32.Update(sum, table, []byte(dotLines))
	filler := m.composer.filler
	for at, left := m.start, m.body; left > 0; at = 0 {
		piece := filler[at:min(int64(at)+left, fillerSize)]
		sum = crc32.Update(sum, table, piece)
		left -= int64(len(piece))
	}
	return crc32.Update(sum, table, m.tail[:m.tailSize])
}

// Size is the number of octets of the content, dots not doubled.
func (m *Message) Size() int64 { return m.size }

// WriteContent writes the content as BDAT carries it (RFC 3030): Size octets,
// nothing doubled, nothing after. Each Write but the last is of 64 KB.
func (m *Message) WriteContent(w io.Writer) error { return m.write(w, dotLines, "") }

// WriteDotted writes the content as DATA carries it: leading dots doubled, and
// the line with the final dot (RFC 5321, 4.5.2). Each Write but the last is of
// 64 KB.
func (m *Message) WriteDotted(w io.Writer) error { return m.write(w, dotLinesDoubled, finalDot) }

func (m *Message) write(w io.Writer, dots, end string) error {
	buffer := m.composer.buffers.Get().(*[chunkSize]byte) //nolint:errcheck // the pool holds nothing else
	defer m.composer.buffers.Put(buffer)
	n := copy(buffer[:], m.head[:m.headSize])
	n += copy(buffer[n:], dots)
	filler := m.composer.filler
	for at, left := m.start, m.body; left > 0; at %= fillerSize {
		piece := filler[at:min(int64(at)+left, fillerSize)]
		if n == 0 && len(piece) >= chunkSize { // no need to copy
			piece = piece[:chunkSize]
			if _, err := w.Write(piece); err != nil {
				return err
			}
		} else {
			piece = piece[:copy(buffer[n:], piece)]
			n += len(piece)
		}
		at += len(piece)
		left -= int64(len(piece))
		if n == chunkSize {
			if _, err := w.Write(buffer[:]); err != nil {
				return err
			}
			n = 0
		}
	}
	if n+m.tailSize+len(end) > chunkSize {
		if _, err := w.Write(buffer[:n]); err != nil {
			return err
		}
		n = 0
	}
	n += copy(buffer[n:], m.tail[:m.tailSize])
	n += copy(buffer[n:], end)
	_, err := w.Write(buffer[:n])
	return err
}
