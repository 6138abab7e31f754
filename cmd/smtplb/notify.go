package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"smtplb/balancer"
)

// notifier tells systemd how this process does, sd_notify(3). Systemd listens to
// the main process alone (NotifyAccess=main): one that replaces another is silent
// until that one has said that it is the main process now. Without systemd, or as
// nil, it says nothing.
type notifier struct {
	log    *zap.Logger
	silent atomic.Bool
}

// newNotifier returns nil where nobody listens.
func newNotifier(log *zap.Logger) *notifier {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return &notifier{log: log}
}

func (n *notifier) say(assignments ...string) {
	if n == nil || n.silent.Load() {
		return
	}
	if _, err := systemd.SdNotify(false, strings.Join(assignments, "\n")); err != nil {
		n.log.Warn("systemd", zap.Error(err))
	}
}

// leave says that another process is the main one, and nothing from then on.
func (n *notifier) leave(pid int) {
	n.say(fmt.Sprintf("MAINPID=%d", pid))
	n.hush(true)
}

func (n *notifier) hush(silent bool) {
	if n != nil {
		n.silent.Store(silent)
	}
}

// statusInterval is how often systemctl status gets another line.
const statusInterval = 10 * time.Second

// attend says how the daemon does until ctx ends. The watchdog hears of it only
// as long as every event loop answers.
func (d *daemon) attend(ctx context.Context) {
	if d.notify == nil {
		return
	}
	watchdog, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		d.log.Warn("systemd", zap.Error(err))
	}
	interval := statusInterval
	if watchdog > 0 {
		interval = min(interval, watchdog/3)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		d.ping(ctx, watchdog, interval)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (d *daemon) ping(ctx context.Context, watchdog, patience time.Duration) {
	status := "STATUS=" + d.summary()
	if watchdog <= 0 {
		d.notify.say(status)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.server.Answer(ctx); err != nil {
		if ctx.Err() == context.DeadlineExceeded {
			d.log.Error("watchdog: not told that all is well", zap.Error(err))
		}
		return
	}
	d.notify.say("WATCHDOG=1", status)
}

// summary is the line of systemctl status.
func (d *daemon) summary() string {
	relays, up := 0, 0
	for _, p := range d.view.Load().pools {
		for _, b := range p.Balancer.Snapshot(time.Now()) {
			relays++
			if b.State == balancer.Up {
				up++
			}
		}
	}
	text := fmt.Sprintf("%d sessions, %d of %d relays up", d.server.Stats().Open, up, relays)
	if d.draining.Load() {
		text = "draining: " + text
	}
	return text
}
