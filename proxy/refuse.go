package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"smtplb/internal/socket"
)

// refuse has the client read a 421 and ends its session. 421 is the one reply
// that a server may give at any moment (RFC 5321, section 3.8), and every
// sender keeps its mail on it; the second code is RFC 3463's.
func (l *loop) refuse(s *session, end End, enhanced, why string) {
	l.refuseWith(s, end, 421, enhanced, why)
}

// refuseWith writes the whole line or none: nothing was sent before, so that
// the socket's buffer is empty. The client of a listener without greetings
// speaks TLS and could not read a line: it sees an orderly close.
func (l *loop) refuseWith(s *session, end End, code int, enhanced, why string) {
	s.why = why
	if s.listener.Protocol == SMTP {
		line := replyLine(code, enhanced, s.listener.hostname(), why, s.id)
		if _, err := socket.Write(s.client, line); err != nil {
			l.finish(s, end, atOnce)
			return
		}
	}
	l.markReached(s)
	l.finish(s, end, orderly)
}

// maxReply is RFC 5321's limit of a reply line, section 4.5.3.1.5.
const maxReply = 512

// replyLine puts host, reason and session into one line: Exchange shows it as
// the queue's LastError, and with the id the session is found in our log.
func replyLine(code int, enhanced, host, why string, id uint64) []byte {
	tail := fmt.Sprintf(" (session %s)\r\n", sessionID(id))
	line := fmt.Sprintf("%d %s %s %s", code, enhanced, host, printable(why))
	if room := maxReply - len(tail); len(line) > room {
		line = line[:room-3] + "..."
	}
	return []byte(line + tail)
}

func sessionID(id uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], id)
	return hex.EncodeToString(b[:])
}

// printable keeps what RFC 5321's textstring allows, section 4.2.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// noBackend answers a client for which no relay could be had.
func (l *loop) noBackend(s *session, why string) {
	if len(s.tried) > 0 {
		parts := make([]string, len(s.tried))
		for i, a := range s.tried {
			parts[i] = a.backend.Name() + " " + a.outcome.String()
		}
		why = strings.Join(parts, ", ") + "; " + why
	}
	l.refuse(s, NoBackend, "4.3.2", "no relay available: "+why)
}

// markReached notes when the client was first answered.
func (l *loop) markReached(s *session) {
	if !s.reached {
		s.reached = true
		s.setup = l.ns - s.accepted
	}
}
