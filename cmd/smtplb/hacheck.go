package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"smtplb/internal/ha"
)

// haPatience is how long smtplb may take to answer keepalived's check. One that
// is gone is known at once, so that this is for one that hangs, and long enough
// for a machine that is busy.
const haPatience = 2 * time.Second

// haPace is the time between two looks of one check.
const haPace = 100 * time.Millisecond

const haCheckHelp = `What keepalived runs: ends with 0 where smtplb takes clients, with 1 where it is gone, hangs, drains or listens
nowhere. With --for it looks on for that time, and ends at once when that changes. Relays that are down are no
failure. How many relays this node cannot reach is left in --track-file, as a negative number, for keepalived to
compare the nodes by.`

// checking is one command line of ha check.
type checking struct {
	asking

	file string
	look time.Duration
}

func newHACheckCommand(std streams, environ []string) *cobra.Command {
	k := checking{asking: asking{environ: environ}}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Tell keepalived whether this node can have the addresses",
		Long:  haCheckHelp + "\n" + askingHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			unreached, err := k.run(cmd.Context())
			if err != nil {
				return err
			}
			if k.json {
				_, err = fmt.Fprintf(std.out, "{\"ready\": true, \"relays_unreached\": %d}\n", unreached)
			} else {
				_, err = fmt.Fprintf(std.out, "ready; relays that this node does not reach: %d\n", unreached)
			}
			return err
		},
	}
	k.flags(cmd)
	cmd.Flags().StringVar(&k.file, "track-file", "", "the `file` of keepalived's track_file")
	cmd.Flags().DurationVar(&k.look, "for", 0, "look on for this `time`")
	return cmd
}

// run tells how many relays the running smtplb does not reach; the error is why
// it should not have the addresses.
func (k *checking) run(ctx context.Context) (unreached int, err error) {
	end := time.NewTimer(k.look)
	defer end.Stop()
	c, err := k.client()
	if err != nil {
		return 0, err
	}
	soon, cancel := context.WithTimeout(ctx, haPatience)
	defer cancel()
	v, _, err := c.status(soon)
	if err != nil {
		return 0, err
	}
	if !v.Ready {
		return 0, fmt.Errorf("smtplb takes no clients: %s", harmless(v.NotReady))
	}
	for _, m := range v.members() {
		if m.State == "down" {
			unreached++
		}
	}
	if k.file != "" {
		if err := leave(k.file, ha.Handicap(unreached)); err != nil {
			return 0, fmt.Errorf("--track-file: %w", err)
		}
	}
	return unreached, c.staysReady(ctx, end.C)
}

// staysReady looks until the end; the error is why it is not ready any more.
func (c *client) staysReady(ctx context.Context, end <-chan time.Time) error {
	r := c.readiness()
	defer r.close()
	pace := time.NewTicker(haPace)
	defer pace.Stop()
	for {
		select {
		case <-end:
			return nil
		case <-pace.C:
		}
		if err := r.ask(ctx); err != nil {
			return err
		}
	}
}

// readiness asks the running smtplb again and again whether it takes clients.
type readiness struct {
	c         *client
	transport *http.Transport
	web       *http.Client
}

func (c *client) readiness() *readiness {
	transport := &http.Transport{TLSClientConfig: c.tls}
	return &readiness{c, transport, &http.Client{Transport: transport, Timeout: haPatience}}
}

func (r *readiness) close() { r.transport.CloseIdleConnections() }

// ask returns why no clients are taken. Bad news are asked for again, over a new
// connection: in an upgrade the old process says on the old one that it drains,
// while the new process takes clients.
func (r *readiness) ask(ctx context.Context) error {
	began := time.Now()
	err := r.c.askReady(ctx, r.web)
	if err == nil || time.Since(began) >= haPatience {
		return err // it hangs, and was given the time
	}
	r.close()
	return r.c.askReady(ctx, r.web)
}

// askReady asks once.
func (c *client) askReady(ctx context.Context, web *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := web.Do(request)
	if err != nil {
		return c.unreached(err)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, largestReason))
	err = errors.Join(err, answer.Body.Close())
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("smtplb takes no clients any more: %s", harmless(string(bytes.TrimSpace(text))))
	}
	return err
}

const largestReason = 4 << 10

// leave has a file hold a number. keepalived never reads half of it, and is not
// woken where it holds that already.
func leave(file string, number int) error {
	text := []byte(strconv.Itoa(number) + "\n")
	was, err := os.ReadFile(file) //nolint:gosec // the administrator names it
	if err == nil && bytes.Equal(was, text) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it says less than what went wrong
	}
	return err
}
