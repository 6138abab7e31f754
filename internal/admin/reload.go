package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// ErrNoFile is what Server.Reload returns where there is no configuration file.
var ErrNoFile = errors.New("there is no configuration file to reload")

// ErrStopping is what Server.Reload returns once the program stops.
var ErrStopping = errors.New("it is draining, and reloads no more")

// reloadTimeout bounds a reload that is waited for: names may have to be looked
// up, each for some seconds.
const reloadTimeout = 2 * time.Minute

// Reloaded is what a reload has led to: the keys that differ, each with its two
// values.
type Reloaded struct {
	Changes      []string `json:"changes"`
	NeedsRestart []string `json:"needs_restart"` // differ too, and wait for a restart
}

// serveReload has the configuration file read again.
func (s *Server) serveReload(w http.ResponseWriter, r *http.Request) {
	if s.Reload == nil {
		noReload(ErrNoFile).write(w)
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(reloadTimeout + writeTimeout)) // not in a test without a connection
	ctx, cancel := context.WithTimeout(r.Context(), reloadTimeout)
	defer cancel()
	done, err := s.Reload(ctx)
	if err != nil {
		noReload(err).write(w)
		return
	}
	done.Changes, done.NeedsRestart = listed(done.Changes), listed(done.NeedsRestart)
	writeJSON(w, http.StatusOK, "application/json", done)
}

// noReload says why nothing was reloaded.
func noReload(err error) *problem {
	switch {
	case errors.Is(err, ErrNoFile):
		return &problem{Status: http.StatusNotImplemented, Detail: err.Error()}
	case errors.Is(err, ErrStopping):
		return &problem{Status: http.StatusConflict, Detail: err.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &problem{Status: http.StatusServiceUnavailable, Detail: "the reload goes on: its end is an event, and a line in the log"}
	}
	return &problem{
		Status: http.StatusUnprocessableEntity, Errors: Mistakes(err),
		Detail: "the configuration was refused and nothing changed: errors has every mistake",
	}
}

// Mistakes are the errors that err joins, one by one.
func Mistakes(err error) []string { return strings.Split(err.Error(), "\n") }

// listed is a list that is never null in JSON.
func listed(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}
