package source

import (
	"errors"
	"time"
)

// errCut stands for a connection that the run itself has ended.
var errCut = errors.New("the run was interrupted")

// cutOr is f, unless the run has cut the session: then that is the reason.
func (s *session) cutOr(f *fault) *fault {
	if s.run.alive.Err() == nil {
		return f
	}
	return s.run.cutFault(f.stage)
}

// send writes the commands in s.out at once, and gives the reply the time that
// it may take. If that fails, a reply may have come before, which says why.
func (s *session) send(stage string) (begin time.Time, f *fault) {
	begin = time.Now()
	err := s.conn.SetDeadline(begin.Add(s.run.cfg.Timeout))
	if err == nil {
		_, err = s.conn.Write(s.out)
	}
	if err != nil {
		return begin, s.parting(stage, err)
	}
	return begin, nil
}

// parting is the fault of a write that failed.
func (s *session) parting(stage string, err error) *fault {
	f := s.cutOr(broken(stage, err))
	if f.cut || s.conn.SetReadDeadline(time.Now().Add(lastWords)) != nil {
		return f
	}
	if code, text, err := s.in.reply(s.conn); err == nil && code >= 400 {
		f = refusal(stage, code, printable(text))
		f.over = true
	}
	return f
}

// answer reads the next reply. Its fault is one of the connection.
func (s *session) answer(stage string) (code int, text []byte, f *fault) {
	code, text, err := s.in.reply(s.conn)
	if err != nil {
		return 0, nil, s.cutOr(broken(stage, err))
	}
	return code, text, nil
}

// expect reads the next reply, whose first digit should be good.
func (s *session) expect(stage string, good int) *fault {
	code, text, f := s.answer(stage)
	switch {
	case f != nil:
		return f
	case code/100 != good:
		return refusal(stage, code, printable(text))
	}
	return nil
}

// ask sends the command in s.out and expects a 2xx. Any reply is one to be timed.
func (s *session) ask(stage string) *fault {
	begin, f := s.send(stage)
	if f != nil {
		return f
	}
	f = s.expect(stage, 2)
	if f == nil || f.code != 0 {
		s.rec.time(spanCommand, time.Since(begin))
	}
	return f
}

// Write sends a piece of a message, behind the command that waits in s.out if
// there is one, with a time limit of its own.
func (s *session) Write(p []byte) (int, error) {
	if err := s.conn.SetDeadline(time.Now().Add(s.run.cfg.Timeout)); err != nil {
		return 0, err
	}
	if len(s.out) == 0 {
		return s.conn.Write(p)
	}
	s.pieces = [2][]byte{s.out, p}
	s.vector = s.pieces[:]
	_, err := s.vector.WriteTo(s.conn) // one system call
	s.out = s.out[:0]
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
