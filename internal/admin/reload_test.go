package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestReloadAnswersWhatCameOfIt(t *testing.T) {
	for _, test := range []struct {
		name   string
		reload func(context.Context) (Reloaded, error)
		status int
		part   string // of the answer
		errors []string
	}{
		{"changes", func(context.Context) (Reloaded, error) {
			return Reloaded{Changes: []string{"log.level: info -> debug"}}, nil
		}, http.StatusOK, `"needs_restart": []`, nil},
		{"nothing is different", func(context.Context) (Reloaded, error) { return Reloaded{}, nil }, http.StatusOK, `"changes": []`, nil},
		{"mistakes", func(context.Context) (Reloaded, error) {
			return Reloaded{}, errors.Join(errors.New("f:1: a"), errors.New("f:2: b"))
		}, http.StatusUnprocessableEntity, "nothing changed", []string{"f:1: a", "f:2: b"}},
		{"no file", func(context.Context) (Reloaded, error) { return Reloaded{}, ErrNoFile }, http.StatusNotImplemented, "no configuration file", nil},
		{"nobody to do it", nil, http.StatusNotImplemented, "no configuration file", nil},
		{"draining", func(context.Context) (Reloaded, error) { return Reloaded{}, ErrStopping }, http.StatusConflict, "draining", nil},
		{"too slow", func(context.Context) (Reloaded, error) { return Reloaded{}, context.DeadlineExceeded }, http.StatusServiceUnavailable, "goes on", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			r.Reload = test.reload
			answer := r.ask(t, "POST", "/api/v1/reload")
			check(t, answer, test.status)
			if body := answer.Body.String(); !strings.Contains(body, test.part) {
				t.Errorf("answer %s, want %s in it", body, test.part)
			}
			if test.errors != nil {
				if got := read[problem](t, answer).Errors; !slices.Equal(got, test.errors) {
					t.Errorf("errors %q, want %q", got, test.errors)
				}
			}
		})
	}
}

// Who may drain a relay may reload, and nobody else.
func TestReloadNeedsTheToken(t *testing.T) {
	r := newRig(t)
	reloads := 0
	r.Reload = func(context.Context) (Reloaded, error) {
		reloads++
		return Reloaded{}, nil
	}
	r.Token = token
	check(t, r.ask(t, "POST", "/api/v1/reload"), http.StatusUnauthorized)
	check(t, r.ask(t, "POST", "/api/v1/reload", header("Authorization", "Bearer wrong")), http.StatusUnauthorized)
	if reloads != 0 {
		t.Errorf("%d reloads without the token", reloads)
	}
	check(t, r.ask(t, "POST", "/api/v1/reload", header("Authorization", "Bearer "+token)), http.StatusOK)
	r.Token = ""
	check(t, r.ask(t, "POST", "/api/v1/reload", header("Sec-Fetch-Site", "cross-site")), http.StatusForbidden)
	if reloads != 1 {
		t.Errorf("%d reloads, want 1", reloads)
	}
}
