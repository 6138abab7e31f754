package main

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"smtplb/internal/config"
)

//go:embed demo.yaml
var demoConfig []byte

const demoHelp = `
smtplb takes mail on %[1]s to relay-a and relay-b (site hq, two to one), and one session in ten to relay-c (site dr)
to keep it warm; all when hq is down, until hq is up for 10 s again. Watch http://%[2]s/ and, in another terminal, try:
  swaks --server %[1]s --from you@example.com --to me@example.net
  curl -s smtp://%[1]s/demo --mail-from you@example.com --mail-rcpt me@example.net -T - <<<$'Subject: hello\n\nfrom a shell'
Then type here:  stop relay-a  |  busy relay-a (greets 421)  |  silent relay-a  |  start relay-a  |  status  |  quit
Send again after each: no send fails while one relay is left. With all three stopped, the client reads 421 4.3.2.

`

func newDemoCommand(std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Run the balancer with three built-in relays, and say what to try",
		Long: "Runs the balancer on 127.0.0.1:2525 with three relays of its own, which print the mail that they\n" +
			"receive and can be stopped from the keyboard, so that one sees what a client sees meanwhile.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), std) },
	}
}

// runDemo runs the embedded configuration until quit or a signal.
func runDemo(ctx context.Context, std streams) error {
	cfg, err := config.Parse("demo.yaml", demoConfig, nil)
	if err != nil {
		return err
	}
	d := &demo{out: &lockedWriter{w: std.out}}
	defer d.close()
	for _, b := range cfg.Pools[0].Backends {
		r, err := startDemoRelay(b.Name, b.Site, b.Address.String(), d.out)
		if err != nil {
			return fmt.Errorf("demo relay %s: %w", b.Name, err)
		}
		d.relays = append(d.relays, r)
	}
	log, _, flush := newLogger(cfg.Log, std.err)
	defer flush()
	d.daemon, err = newDaemon(ctx, cfg, log, newNames(log), &inherited{})
	if err != nil {
		return err
	}
	if err := d.daemon.confine(); err != nil {
		return err
	}
	d.printf(demoHelp, cfg.Listeners[0].Address, d.daemon.admin.Addr())
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	go d.obey(std.in, quit)
	return d.daemon.run(ctx)
}

// demo is the balancer with its relays, and a person at the keyboard.
type demo struct {
	out    *lockedWriter
	relays []*demoRelay
	daemon *daemon
}

func (d *demo) close() {
	for _, r := range d.relays {
		r.close()
	}
}

func (d *demo) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, format, args...)
}

// obey reads commands until the end of in, which ends nothing: the demo may run
// without a terminal.
func (d *demo) obey(in io.Reader, quit func()) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0:
		case len(words) == 1 && (words[0] == "quit" || words[0] == "exit"):
			quit()
			return
		case len(words) == 1 && words[0] == "status":
			d.status()
		case len(words) == 2:
			d.change(words[0], words[1])
		default:
			d.printf("not understood: %q; write stop, busy, silent or start with a relay's name, status, or quit\n", lines.Text())
		}
	}
}

func (d *demo) change(verb, name string) {
	i := slices.IndexFunc(d.relays, func(r *demoRelay) bool { return r.name == name || r.name == "relay-"+name })
	mode := modeFor(verb)
	switch {
	case i < 0:
		d.printf("there is no relay %q: there are relay-a, relay-b and relay-c\n", name)
	case mode == "":
		d.printf("relays do not know %q: they know stop, busy, silent and start\n", verb)
	default:
		if err := d.relays[i].set(mode); err != nil {
			d.printf("%s: %v\n", d.relays[i].name, err)
			return
		}
		d.printf("%s %s\n", d.relays[i].name, mode)
	}
}

func (d *demo) status() {
	d.printf("%-10s %-5s %-7s %-8s %-8s %-9s %s\n", "relay", "site", "weight", "state", "sessions", "total", "why")
	pool := d.daemon.pools["outbound"].balancer
	for i, s := range pool.Snapshot(time.Now()) {
		d.printf("%-10s %-5s %-7d %-8s %-8d %-9d %s\n", d.relays[i].name, s.Site, s.Weight, s.State, s.Active, s.Established, s.Reason)
	}
	for _, t := range pool.Tiers(time.Now()) {
		if t.Active {
			d.printf("new sessions go to tier %d; %d went elsewhere to keep it warm\n", t.Priority, pool.WarmSessions())
		}
	}
}

// lockedWriter keeps lines of several goroutines whole.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
