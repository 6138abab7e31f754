package admin

import (
	"net/http"
	"time"
)

// streamPatience is how long a watcher may take to take a frame.
const streamPatience = 5 * time.Second

// serveStream tells a watcher of the state, for as long as it listens. The
// server's deadline for writing is for answers that end, so it sets another, for
// each frame. The one for reading is net/http's to lift, and lifted once the
// request is read.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	conn := http.NewResponseController(w) // recorders of tests know no deadlines
	watcher, err := s.feed.join(func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
	if err != nil {
		w.Header().Set("Retry-After", "5")
		(&problem{Status: http.StatusServiceUnavailable, Detail: err.Error() + "; the state is at /api/v1/status, too"}).write(w)
		return
	}
	defer s.feed.leave(watcher)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx in front of it must not hold frames back
	for {
		select {
		case frame, ok := <-watcher.frames:
			// The deadline first: one who is dropped after this look is cut.
			_ = conn.SetWriteDeadline(time.Now().Add(streamPatience))
			if !ok || s.feed.gone(watcher) {
				return
			}
			if _, err := w.Write(frame); err != nil {
				return
			}
			if err := conn.Flush(); err != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
