package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"smtplb/bench/mail"
)

const (
	holdingTimeout = 30 * time.Second
	maxHolding     = 1 << 30 // bytes of an answer
)

// Holdings asks the control endpoint of each sink, host:port, what it has of a
// run. The error joins those of all sinks.
func Holdings(ctx context.Context, sinks []string, run uint64) ([]mail.Holding, error) {
	ctx, cancel := context.WithTimeout(ctx, holdingTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var all []mail.Holding
	var problems []error
	for _, sink := range sinks {
		h, err := holding(ctx, client, sink, run)
		if err != nil {
			problems = append(problems, fmt.Errorf("sink %q: %w", sink, err))
			continue
		}
		all = append(all, h)
	}
	return all, errors.Join(problems...)
}

func holding(ctx context.Context, client *http.Client, sink string, run uint64) (h mail.Holding, err error) {
	if _, _, err := net.SplitHostPort(sink); err != nil {
		return h, errors.New("want host:port of the sink's control endpoint, not of its SMTP")
	}
	url := fmt.Sprintf("http://%s/runs/%016x", sink, run)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return h, err
	}
	response, err := client.Do(request)
	if err != nil {
		return h, err
	}
	defer func() { _ = response.Body.Close() }() // it was read, or is of no use
	if response.StatusCode != http.StatusOK {
		return h, fmt.Errorf("GET %s: %s", url, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxHolding)).Decode(&h); err != nil {
		return h, fmt.Errorf("GET %s: %w", url, err)
	}
	if h.Run != run {
		return h, fmt.Errorf("GET %s: the answer is about run %016x", url, h.Run)
	}
	return h, nil
}
