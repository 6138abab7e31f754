package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"smtplb/internal/vip"
)

const haAnnounceHelp = `Has the listeners' addresses up on lo while smtplb takes clients, for BIRD to announce them. It asks smtplb ten times a
second. The addresses go at once where smtplb is gone or drains. Each time they are put up for two seconds only: so they
go by themselves where smtplb hangs, or where this command is killed and not started again.

SIGTERM takes them away, and waits for --wait until routers have heard of it; smtplb should be stopped after that, and
what was under way goes on meanwhile. Sessions need no address to be up: packets for the listeners' addresses are
taken in from the first start of this command until the machine is started again. SIGHUP reads the file again.

It takes root, or CAP_NET_ADMIN. deploy/systemd has the unit.`

// announcement is one command line of ha bird announce.
type announcement struct {
	file    string
	wait    time.Duration
	environ []string
}

func newHABirdAnnounceCommand(std streams, environ []string) *cobra.Command {
	k := &announcement{environ: environ}
	cmd := &cobra.Command{
		Use:   "announce --config FILE",
		Short: "Have the listeners' addresses up while smtplb takes clients",
		Long:  haAnnounceHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			say := func(format string, args ...any) { _, _ = fmt.Fprintf(std.err, format+"\n", args...) }
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			return k.run(ctx, hangups, say)
		},
	}
	configFlag(cmd, &k.file)
	cmd.Flags().DurationVar(&k.wait, "wait", time.Second, "for what `time` to wait at the end, so that routers have heard")
	return cmd
}

// run announces until ctx ends, from the beginning again at each hangup.
func (k *announcement) run(ctx context.Context, hangups <-chan os.Signal, say func(string, ...any)) error {
	a := &announcer{say: say, show: func(all []netip.Addr) error { return vip.Show(all, haLease) }, hide: vip.Hide}
	r, err := k.read(a)
	if err != nil {
		return err
	}
	for {
		again, err := a.run(ctx, r.ask, hangups)
		r.close()
		if err != nil {
			return err
		}
		if !again {
			break
		}
		was := a.vips
		next, err := k.read(a)
		if err != nil {
			say("not read again: %v", err)
			continue
		}
		r = next
		if err := vip.Hide(slices.DeleteFunc(was, func(v netip.Addr) bool { return slices.Contains(a.vips, v) })); err != nil {
			return err
		}
		say("read again: %v", a.vips)
	}
	if !a.up {
		return nil
	}
	if err := a.withdraw("stopped"); err != nil {
		return err
	}
	time.Sleep(k.wait)
	return nil
}

// read reads the file, and has what it says be accepted.
func (k *announcement) read(a *announcer) (*readiness, error) {
	all, err := vipsOf(k.file, k.environ)
	if err != nil {
		return nil, err
	}
	c, err := (&asking{file: k.file, environ: k.environ}).client()
	if err != nil {
		return nil, err
	}
	if err := vip.Accept(all); err != nil {
		if errors.Is(err, syscall.EPERM) {
			err = fmt.Errorf("%w: it takes root, or CAP_NET_ADMIN", err)
		}
		return nil, err
	}
	a.vips = all
	return c.readiness(), nil
}
