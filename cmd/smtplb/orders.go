package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// verb is what a person may have done with a backend.
type verb struct {
	name, short, long string
	waits             bool // it has --wait
}

const nameHelp = `
NAME is a backend's name, or pool/name where several pools have one of that name.
`

func verbs() []verb {
	return []verb{
		{
			"drain", "Give a backend no new sessions; those that run go on",
			"Gives a backend no new sessions; those that run on it go on, and it is still checked. With --wait the command\n" +
				"ends when no session is left on it.\n", true,
		},
		{
			"disable", "As drain, for a backend that is to be out for longer",
			"Gives a backend no new sessions, as drain does, by a word that says that it is out for longer. Those that run on it\n" +
				"go on.\n", false,
		},
		{"enable", "Undo drain and disable", "Has a backend take sessions again, if its checks are good.\n", false},
	}
}

// doneView is what commands read of the answer to an order.
type doneView struct {
	Pool    string      `json:"pool"`
	Changed bool        `json:"changed"`
	Backend backendView `json:"backend"`
}

// ordering is one command line of drain, disable or enable.
type ordering struct {
	asking
	verb

	std     streams
	wait    bool
	timeout time.Duration
	pace    time.Duration // between looks at a backend that is drained
}

func newOrderCommand(std streams, environ []string, v verb) *cobra.Command {
	o := &ordering{asking: asking{environ: environ}, verb: v, std: std, pace: time.Second}
	cmd := &cobra.Command{
		Use:   v.name + " NAME",
		Short: v.short,
		Long:  v.long + nameHelp + askingHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.timeout < 0 || cmd.Flags().Changed("timeout") && (!o.wait || o.timeout == 0) {
				return usageError{fmt.Errorf("--timeout %s: must be more than 0s, and goes with --wait", o.timeout)}
			}
			return o.run(cmd.Context(), args[0])
		},
		ValidArgsFunction: completeBackends(&o.asking),
	}
	o.flags(cmd)
	if v.waits {
		cmd.Flags().BoolVar(&o.wait, "wait", false, "end when no session is left on it")
		cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "with --wait: give up after this `time`, with an error (default: never)")
	}
	return cmd
}

func (o *ordering) run(ctx context.Context, name string) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	v, _, err := c.status(ctx)
	if err != nil {
		return err
	}
	m, err := pick(name, v.members())
	if err != nil {
		return err
	}
	body, err := c.post(ctx, "/api/v1/backends/"+url.PathEscape(m.pool)+"/"+url.PathEscape(m.Name)+"/"+o.name, askTimeout)
	if err != nil {
		return err
	}
	var done doneView
	if err := json.Unmarshal(body, &done); err != nil || done.Backend.Name == "" {
		return c.stranger("its answer is another program's")
	}
	text := string(body)
	if !o.json {
		text = o.tell(&m, &done)
	}
	if _, err := fmt.Fprint(o.std.out, text); err != nil || !o.wait {
		return err
	}
	return o.until(ctx, c, &m, done.Backend.Sessions)
}

// tell is what came of the order, for people.
func (o *ordering) tell(was *member, done *doneView) string {
	is := &done.Backend
	text := fmt.Sprintf("%s: %s", was, is.State)
	if done.Changed {
		text += ", was " + was.State
	} else {
		text += " already"
	}
	if is.State != "up" && o.name == "enable" {
		text += ": " + harmless(is.Reason)
	}
	switch {
	case o.name == "enable":
	case is.Sessions == 0:
		text += "; no session is on it"
	default:
		text += fmt.Sprintf("; %s on it", count(is.Sessions))
	}
	return text + "\n"
}

func count(sessions int) string {
	if sessions == 1 {
		return "1 session"
	}
	return fmt.Sprintf("%d sessions", sessions)
}

// until waits until no session is left on a drained backend, which has some yet.
func (o *ordering) until(ctx context.Context, c *client, m *member, left int) error {
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	ticks := time.NewTicker(o.pace)
	defer ticks.Stop()
	for said := 0; left > 0; {
		if left != said && !o.json {
			_, _ = fmt.Fprintf(o.std.err, "%s: waiting for %s\n", m, count(left))
		}
		said = left
		select {
		case <-ctx.Done():
		case <-ticks.C:
		}
		v, _, err := c.status(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %s left after %s; it stays drained", m, count(left), o.timeout)
		}
		if err != nil {
			return err
		}
		now, there := v.find(m)
		switch {
		case !there:
			return fmt.Errorf("%s is gone: a reload took it out", m)
		case now.State != "draining" && now.State != "disabled":
			return fmt.Errorf("%s is %s: somebody has enabled it, or smtplb was started anew", m, now.State)
		}
		left = now.Sessions
	}
	if o.json {
		return nil
	}
	_, err := fmt.Fprintf(o.std.out, "%s: no session is left\n", m)
	return err
}

// completeBackends offers the names of the running backends; where nobody can be
// asked, nothing, and says nothing.
func completeBackends(a *asking) cobra.CompletionFunc {
	const patience = time.Second
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const no = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 {
			return nil, no
		}
		c, err := a.client()
		if err != nil {
			return nil, no
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		v, _, err := c.status(ctx)
		if err != nil {
			return nil, no
		}
		return offers(v.members(), begun), no
	}
}

// offers are the names that begin so: short ones where they are enough.
func offers(all []member, begun string) []cobra.Completion {
	times := map[string]int{}
	for i := range all {
		times[all[i].Name]++
	}
	var names []cobra.Completion
	for i := range all {
		m := &all[i]
		name := m.Name
		if times[name] > 1 || strings.HasPrefix(begun, m.pool+"/") {
			name = m.String()
		}
		if strings.HasPrefix(name, begun) {
			names = append(names, cobra.CompletionWithDesc(name, fmt.Sprintf("%s, %s", m.State, count(m.Sessions))))
		}
	}
	return names
}
