package source

import "time"

// mostBackoff is how many times Backoff the pause can become.
const mostBackoff = 10

// closedModel starts the clients.
func (r *runner) closedModel() {
	for range r.cfg.Concurrency {
		s := r.newSession()
		r.tasks.Go(s.work)
	}
}

// work is a client of the closed model: one session after the other. It does not
// spin on a target that refuses.
func (s *session) work() {
	var pause time.Duration
	for s.run.nextSession() {
		first, ok := s.run.nextMessage()
		if !ok {
			return
		}
		s.life(time.Now(), first, s.run.cfg.MessagesPerSession-1)
		if s.began {
			pause = 0
			continue
		}
		pause = min(max(2*pause, s.run.cfg.Backoff), mostBackoff*s.run.cfg.Backoff)
		if !s.run.pause(pause) {
			return
		}
	}
}

// openModel starts each session when it is due, whatever the others do.
func (r *runner) openModel() {
	plan := newSchedule(r.cfg.Rate, r.cfg.Poisson, r.cfg.Seed)
	for {
		offset := plan.next()
		if r.cfg.Duration > 0 && offset >= r.cfg.Duration {
			return
		}
		due := r.begun.Add(offset)
		if !r.wait(r.going, due) || !r.nextSession() {
			return
		}
		s := r.place()
		if s == nil {
			r.dropped.Add(1)
			continue
		}
		first, ok := r.nextMessage()
		if !ok {
			r.leave(s)
			return
		}
		r.tasks.Go(func() {
			s.rec.time(spanSchedule, time.Since(due))
			s.life(due, first, r.cfg.MessagesPerSession-1)
			r.leave(s)
		})
	}
}

// place returns a client that has nothing to do, or nil if there may be no more
// of them.
func (r *runner) place() *session {
	r.mu.Lock()
	if last := len(r.free) - 1; last >= 0 {
		s := r.free[last]
		r.free = r.free[:last]
		r.mu.Unlock()
		return s
	}
	full := len(r.slots) >= r.cfg.MaxOpen
	r.mu.Unlock() // only openModel adds clients, so full stays true to the end
	if full {
		return nil
	}
	return r.newSession()
}

// leave gives a client back.
func (r *runner) leave(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, s)
}
