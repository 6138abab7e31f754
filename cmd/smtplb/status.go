package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const statusHelp = `Prints what the running smtplb knows: whether it takes clients, its listeners, and for each pool the relays with
their states, sessions and reasons.
` + askingHelp + `

Exit status: 0 it takes clients, 3 it does not (it drains, or listens nowhere), 1 it cannot be asked, 2 wrong usage.`

func newStatusCommand(std streams, environ []string) *cobra.Command {
	a := asking{environ: environ}
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the state of the running smtplb",
		Long:    statusHelp,
		Example: "  smtplb status\n  smtplb status --json | jq '.pools[].tiers[].backends[] | {name, state, sessions}'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			v, body, err := c.status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				_, err = std.out.Write(body)
			} else {
				_, err = io.WriteString(std.out, v.text(c.named, time.Now(), styleOf(std.out, environ)))
			}
			if err == nil && !v.Ready {
				err = fmt.Errorf("%w: %s", errNotReady, harmless(v.NotReady))
			}
			return err
		},
	}
	a.flags(cmd)
	return cmd
}

// text is the status for people.
func (v *statusView) text(address string, now time.Time, s style) string {
	var b strings.Builder
	ready := s.paint(green, "ready")
	if !v.Ready {
		ready = s.paint(red, "not ready: "+harmless(v.NotReady))
	}
	fmt.Fprintf(&b, "smtplb %s at %s: %s, up for %s, %d sessions now, %d connections so far\n\n",
		harmless(v.Version), address, ready, lasting(v.Uptime), v.Sessions.Open, v.Sessions.Accepted)
	listeners := table{columns: []column{{head: "LISTENER"}, {head: "ADDRESS"}, {head: "POOL"}, {head: "PROTOCOL"}}}
	for _, l := range v.Listeners {
		listeners.add(l.Name, l.Address, l.Pool, l.Protocol)
	}
	b.WriteString(listeners.text(s))
	for i := range v.Pools {
		p := &v.Pools[i]
		color, text := p.outlook()
		fmt.Fprintf(&b, "\npool %s: %s\n", harmless(p.Name), s.paint(color, text))
		b.WriteString(p.table(now).text(s))
	}
	if len(v.Names) > 0 {
		b.WriteString("\n" + v.names(now).text(s))
	}
	if v.Cluster != nil {
		b.WriteString("\n" + v.Cluster.text(s))
	}
	return b.String()
}

// names are those that relays are found under in DNS.
func (v *statusView) names(now time.Time) *table {
	t := &table{columns: []column{{head: "NAME"}, {head: "RELAYS", right: true}, {head: "ANSWERED"}, {head: "TROUBLE"}}}
	for _, n := range v.Names {
		answered := "never"
		if !n.Answered.IsZero() {
			answered = lasting(now.Sub(n.Answered).Seconds()) + " ago"
		}
		t.add(n.Name, n.Relays, answered, n.Error)
	}
	return t
}

// outlook is where a pool's new sessions go.
func (p *poolView) outlook() (color, text string) {
	up, warmed := 0, ""
	active := -1
	var ramp float64
	for i := range p.Tiers {
		t := &p.Tiers[i]
		if t.Warmed {
			warmed = fmt.Sprintf("; %s of them to tier %d, to keep it warm", percent(p.WarmShare), t.Tier)
			if p.WarmShare == 0 {
				warmed = fmt.Sprintf("; some to tier %d, to keep it warm", t.Tier)
			}
		}
		if t.Active {
			active, ramp = t.Tier, t.Ramp
		}
		for j := range t.Backends {
			if t.Backends[j].State == "up" && t.Backends[j].Weight > 0 {
				up++
			}
		}
	}
	switch {
	case active < 0 || up == 0:
		return red, "no relay is up, new clients read 421"
	case ramp > 0 && ramp < 1:
		return yellow, fmt.Sprintf("failover: new sessions go to tier %d, %s of them, others read 421", active, percent(ramp))
	case p.Failover:
		return yellow, fmt.Sprintf("failover: new sessions go to tier %d", active)
	default:
		return plain, fmt.Sprintf("new sessions go to tier %d", active) + warmed
	}
}

func percent(share float64) string { return strconv.FormatFloat(share*100, 'f', -1, 64) + "%" }

func (p *poolView) table(now time.Time) *table {
	t := &table{columns: []column{
		{head: "TIER"}, {head: "BACKEND"}, {head: "ADDRESS"}, {head: "SITE"}, {head: "STATE", color: stateColor},
		{head: "SESSIONS", right: true}, {head: "SERVED", right: true}, {head: "FAILED", right: true}, {head: "FOR", right: true}, {head: "WHY"},
	}}
	for i := range p.Tiers {
		for _, b := range p.Tiers[i].Backends {
			t.add(p.Tiers[i].Tier, b.Name, b.Address, b.Site, b.State, b.Sessions, b.Established, b.Failures,
				lasting(now.Sub(b.Since).Seconds()), b.why(now))
		}
	}
	return t
}

// why is what one asks of a backend that is not simply up.
func (b *backendView) why(now time.Time) string {
	switch {
	case b.State == "up" && b.Weight == 0:
		return "weight 0: no new sessions"
	case b.State == "up" && b.Part < 1:
		return fmt.Sprintf("slow start, at %.0f%% of its weight", b.Part*100)
	case b.State == "up":
		return ""
	case !b.Until.IsZero():
		return fmt.Sprintf("%s (for %s yet)", b.Reason, lasting(b.Until.Sub(now).Seconds()))
	default:
		return b.Reason
	}
}

func stateColor(state string) string {
	switch state {
	case "up":
		return green
	case "down", "ejected":
		return red
	default:
		return yellow
	}
}
