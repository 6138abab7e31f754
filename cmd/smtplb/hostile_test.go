package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"go.uber.org/zap"

	"smtplb/balancer"
	"smtplb/internal/config"
	"smtplb/proxy"
)

// What a relay, a client or DNS says stands in the log as the words of one line:
// it makes no second line, moves no cursor and is JSON still.
func TestNobodyWritesALogLineOfTheirOwn(t *testing.T) {
	const forged = "421 \r\n{\"level\":\"info\",\"msg\":\"session\"}\n\x1b[2J\x00\xff\" ,\\"
	for _, format := range []config.LogFormat{config.LogJSON, config.LogConsole} {
		t.Run(string(format), func(t *testing.T) {
			var out bytes.Buffer
			log, _, flush := newLogger(config.Log{Level: config.LogDebug, Format: format}, &out)
			logSession(log, &proxy.Record{ID: "1", Backend: forged, Site: forged, Reason: forged, Attempts: []proxy.Attempt{{Backend: forged, Reply: forged}}})
			logChange(log, balancer.Change{Backend: forged, Reason: forged})
			log.Warn("proxy", zap.Error(errors.New(forged)))
			flush()
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if len(lines) != 3 {
				t.Errorf("%d lines, want 3:\n%q", len(lines), lines)
			}
			for _, line := range lines {
				if at := strings.IndexFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }); at >= 0 {
					t.Errorf("a control character at %d of %q", at, line)
				}
				if format == config.LogJSON && !json.Valid([]byte(line)) {
					t.Errorf("no JSON: %q", line)
				}
			}
		})
	}
}
