package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"

	"smtplb/internal/socket"
)

// The PROXY protocol, versions 1 and 2: go-proxyproto formats and parses; the
// length of a header is found here, because a socket that must not block has to
// know that the header is whole before it is parsed. Specification: HAProxy's
// proxy-protocol.txt, sections 2.1 and 2.2.

const (
	maxHeader   = 4 << 10 // version 2 allows 64 KB of extensions; nobody needs them
	maxHeaderV1 = 107     // section 2.1, its terminator included
	headBytesV2 = 16      // signature, command, family, length

	prefixV1 = "PROXY "
	prefixV2 = "\r\n\r\n\x00\r\nQUIT\n"
)

var (
	errNoHeader  = errors.New("PROXY header missing")
	errBadHeader = errors.New("PROXY header not understood")
)

// headerLength is the length of the PROXY header that b begins with; 0 while
// that cannot be told yet, and an error when b begins with none.
func headerLength(b []byte) (int, error) {
	switch {
	case begins(b, prefixV1):
		end := bytes.IndexByte(b[:min(len(b), maxHeaderV1)], '\n')
		if end < 0 && len(b) >= maxHeaderV1 {
			return 0, errBadHeader
		}
		return end + 1, nil
	case begins(b, prefixV2):
		if len(b) < headBytesV2 {
			return 0, nil
		}
		n := headBytesV2 + int(binary.BigEndian.Uint16(b[14:]))
		if n > maxHeader {
			return 0, fmt.Errorf("%w: %d bytes", errBadHeader, n)
		}
		if n > len(b) {
			return 0, nil
		}
		return n, nil
	default:
		return 0, errNoHeader
	}
}

// begins tells whether b begins with prefix, as far as there is any of it.
func begins(b []byte, prefix string) bool {
	n := min(len(b), len(prefix))
	return string(b[:n]) == prefix[:n]
}

// parseHeader returns the two ends of the connection that a whole header
// describes. Both are invalid where it says to use the real ones: a proxy's own
// checks (LOCAL) and addresses that it does not know (UNKNOWN, UNSPEC).
func parseHeader(b []byte) (client, dest netip.AddrPort, err error) {
	if unspecified(b) {
		return client, dest, nil
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		return client, dest, fmt.Errorf("%w: %w", errBadHeader, err)
	}
	if h.Command.IsLocal() || h.TransportProtocol.IsUnspec() {
		return client, dest, nil
	}
	from, ok1 := h.SourceAddr.(*net.TCPAddr)
	to, ok2 := h.DestinationAddr.(*net.TCPAddr)
	if !h.TransportProtocol.IsStream() || !ok1 || !ok2 {
		return client, dest, fmt.Errorf("%w: not about TCP", errBadHeader)
	}
	client, dest = unmapped(from.AddrPort()), unmapped(to.AddrPort())
	if !client.IsValid() || !dest.IsValid() {
		return netip.AddrPort{}, netip.AddrPort{}, fmt.Errorf("%w: no addresses", errBadHeader)
	}
	return client, dest, nil
}

// unspecified tells that b is a version 2 PROXY header of family and protocol
// UNSPEC. Section 2.2 lets the receiver use the real ends; go-proxyproto does not.
func unspecified(b []byte) bool {
	return begins(b, prefixV2) && len(b) >= headBytesV2 && b[12] == 0x21 && b[13] == 0
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// readHeader takes the PROXY header off the front of the client's bytes once
// it is whole. Until then, and all that follows it, stays in the socket.
func (l *loop) readHeader(s *session) {
	n, err := socket.Peek(s.client, l.buffer[:maxHeader])
	if err == unix.EAGAIN {
		return
	}
	if err != nil {
		l.finish(s, ClientReset, atOnce)
		return
	}
	if n == 0 {
		l.finish(s, ClientClosed, atOnce)
		return
	}
	length, err := headerLength(l.buffer[:n])
	if err != nil {
		l.deny(s, err.Error())
		return
	}
	if length == 0 {
		if s.up.ending {
			l.deny(s, errNoHeader.Error()) // no more will come
		}
		return
	}
	if _, err := socket.Read(s.client, l.buffer[:length]); err != nil {
		l.finish(s, ClientReset, atOnce)
		return
	}
	client, dest, err := parseHeader(l.buffer[:length])
	if err != nil {
		l.deny(s, errBadHeader.Error())
		return
	}
	if client.IsValid() {
		s.addr, s.dest = client, dest
	}
	l.enter(s)
}

// writeHeader tells the relay who the client is, in one write and before
// anything else, as the specification wants it.
func writeHeader(s *session, c *contender, version int) error {
	dest := s.dest
	if !dest.IsValid() {
		dest = localAddr(s.client)
	}
	h := proxyproto.HeaderProxyFromAddrs(byte(version), net.TCPAddrFromAddrPort(s.addr), net.TCPAddrFromAddrPort(dest))
	b, err := h.Format()
	if err != nil {
		return fmt.Errorf("PROXY header: %w", err)
	}
	n, err := socket.Write(c.backend, b)
	if err == nil && n < len(b) {
		return unix.ENOBUFS // never seen: the socket's buffer is empty
	}
	return err
}
