package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"smtplb/bench/mail"
	"smtplb/bench/source"
)

const (
	defaultConcurrency = 20
	defaultFor         = 30 * time.Second
)

const sourceLong = `Sends mail to one or several targets, and reports what the clients saw: latencies of connect, greeting,
commands and whole messages, throughput, and every failure with the reply. A target is host:port.

The closed model (--concurrency) has so many clients, each of which begins its next session when its
last one is over. The open model (--rate) begins sessions on a schedule, whatever the target does, and
counts latencies from when a session was due: so a target that stalls for a second shows as what
everybody who came in that second would have met, not as one slow session of each client.

--profile exchange sends as one Exchange server does: 20 connections to each target, renewed after
20 messages, PIPELINING and BDAT where they are offered, the sizes of an office's mail. Flags beside
it override it; --concurrency 60 is three servers.

Without --for, --messages and --sessions it runs for 30 s. Ctrl-C ends it early, with a report.`

const sourceExample = `  smtpbench source 127.0.0.1:2525
  smtpbench source --rate 200 --for 1m --html report.html 192.0.2.25:25
  smtpbench source --profile exchange --starttls --messages 10000 vip.example.com:25
  smtpbench source --messages 20000 --retry 5 --sink 127.0.0.1:8025 127.0.0.1:2525
  smtpbench source --idle 5000 --for 5m 127.0.0.1:2525`

// sourceOptions is the command line of the source.
type sourceOptions struct {
	profile     string
	cfg         source.Config
	size        string
	recipients  string
	local       []string
	sinks       []string
	json, html  string
	quiet       bool
	idle        int
	flags       *pflag.FlagSet
	concurrency int
}

func newSourceCommand(std streams) *cobra.Command {
	cmd, _ := sourceCommand(std)
	return cmd
}

// sourceCommand is the command with where its flags go.
func sourceCommand(std streams) (*cobra.Command, *sourceOptions) {
	o := &sourceOptions{}
	cmd := &cobra.Command{
		Use:     "source [flags] TARGET...",
		Short:   "Send mail as a crowd of clients would, and report latencies and failures",
		Long:    sourceLong,
		Example: sourceExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no target: name at least one, such as 127.0.0.1:25")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.config(args)
			if err != nil {
				return err
			}
			if o.idle > 0 {
				return holdIdle(cmd.Context(), cfg, o.idle, std.err)
			}
			return o.send(cmd.Context(), cfg, std)
		},
	}
	o.flags = cmd.Flags()
	o.flags.SortFlags = false
	o.addFlags()
	return cmd, o
}

// addFlags stands in the order of the help text.
func (o *sourceOptions) addFlags() {
	f, c := o.flags, &o.cfg
	f.StringVar(&o.profile, "profile", "", "`exchange`: as an Exchange server sends")
	f.IntVarP(&o.concurrency, "concurrency", "c", defaultConcurrency, "closed model: so many clients")
	f.Float64VarP(&c.Rate, "rate", "r", 0, "open model: sessions a second")
	f.BoolVar(&c.Poisson, "poisson", false, "open model: random gaps instead of even ones")
	f.IntVar(&c.MaxOpen, "max-open", source.DefaultMaxOpen, "open model: at most so many sessions at once; what is due beyond is dropped")
	f.DurationVar(&c.Duration, "for", 0, "how long to begin sessions")
	f.Int64VarP(&c.Messages, "messages", "m", 0, "how many messages to send; 0: no limit")
	f.Int64Var(&c.Sessions, "sessions", 0, "how many sessions to begin; 0: no limit")
	f.IntVar(&c.MessagesPerSession, "messages-per-session", 1, "before the connection is renewed")
	f.StringVarP(&o.size, "size", "l", "4KB", "of a message: 4KB, a range such as 1KB-1MB (log-uniform), or mix (an office's)")
	f.StringVar(&o.recipients, "recipients", "1", "of a message: a number, or mix (one, at times two to five)")
	f.BoolVar(&c.Pipelining, "pipelining", false, "send MAIL, RCPT and DATA together, where PIPELINING is offered")
	f.BoolVar(&c.BDAT, "bdat", false, "send content with BDAT, where CHUNKING is offered")
	f.BoolVar(&c.STARTTLS, "starttls", false, "encrypt where STARTTLS is offered; certificates are not verified")
	f.StringVar(&c.HELO, "helo", "", "the name in EHLO; default the machine's")
	f.StringVar(&c.From, "from", source.DefaultFrom, "envelope sender")
	f.StringVar(&c.To, "to", source.DefaultTo, "envelope recipient; further ones get a number before the @")
	f.IntVar(&c.Retry, "retry", 1, "how often a message is tried until it is accepted; a 5xx is final")
	f.DurationVar(&c.RetryPause, "retry-pause", source.DefaultRetryPause, "before another try")
	f.DurationVar(&c.Timeout, "timeout", source.DefaultTimeout, "for each reply")
	f.DurationVar(&c.ConnectTimeout, "connect-timeout", source.DefaultConnectTimeout, "for the connection")
	f.StringSliceVar(&o.local, "local", nil, "`address` to connect from; several are used in turn")
	f.Uint64Var(&c.Seed, "seed", 1, "of sizes, recipients and gaps")
	f.StringSliceVar(&o.sinks, "sink", nil, "control `address` of a smtpbench sink, to tell what was lost or duplicated; repeat it for several")
	f.IntVar(&o.idle, "idle", 0, "send nothing: hold so many sessions after EHLO")
	f.StringVar(&o.json, "json", "", "write the result as JSON to this `file`; - is standard output")
	f.StringVar(&o.html, "html", "", "write a page with plots to this `file`")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
}

// config is what the flags say, with everything that is wrong in one error.
func (o *sourceOptions) config(targets []string) (source.Config, error) {
	cfg := o.cfg
	var problems []error
	note := func(err error) { problems = append(problems, err) }
	var err error
	if cfg.Size, err = source.ParseSizes(o.size); err != nil {
		note(err)
	}
	if cfg.Recipients, err = source.ParseRecipients(o.recipients); err != nil {
		note(err)
	}
	for _, text := range o.local {
		address, err := netip.ParseAddr(text)
		if err != nil {
			note(fmt.Errorf("local address %q: want an IP address of this machine", text))
		}
		cfg.Local = append(cfg.Local, address)
	}
	cfg.Targets, cfg.Concurrency = targets, o.concurrency
	switch o.profile {
	case "":
	case "exchange":
		o.profiled(&cfg, source.Exchange(targets...))
	default:
		note(fmt.Errorf("profile %q: the only one is exchange", o.profile))
	}
	if o.flags.Changed("rate") {
		if o.flags.Changed("concurrency") {
			note(errors.New("--rate and --concurrency: choose one, the open or the closed model"))
		}
		cfg.Concurrency = 0
		if cfg.Rate == 0 {
			note(errors.New("rate 0: want sessions a second"))
			cfg.Rate = 1 // for the sake of the other checks
		}
	}
	if cfg.Duration == 0 && cfg.Messages == 0 && cfg.Sessions == 0 && o.idle == 0 {
		cfg.Duration = defaultFor
	}
	if o.idle < 0 {
		note(fmt.Errorf("idle %d: must not be negative", o.idle))
	}
	if o.idle > 0 && (o.json != "" || o.html != "" || len(o.sinks) > 0 || o.flags.Changed("rate")) {
		note(errors.New("--idle sends and measures nothing: it goes with no --rate, --sink, --json or --html"))
	}
	if err := cfg.Check(); err != nil {
		note(err)
	}
	cfg.Run = rand.Uint64()
	if len(o.sinks) > 0 {
		cfg.Ledger = new(mail.Ledger)
	}
	return cfg, errors.Join(problems...)
}

// profiled takes from the profile what no flag says.
func (o *sourceOptions) profiled(cfg *source.Config, profile source.Config) {
	for name, take := range map[string]func(){
		"concurrency":          func() { cfg.Concurrency = profile.Concurrency },
		"messages-per-session": func() { cfg.MessagesPerSession = profile.MessagesPerSession },
		"size":                 func() { cfg.Size = profile.Size },
		"recipients":           func() { cfg.Recipients = profile.Recipients },
		"pipelining":           func() { cfg.Pipelining = profile.Pipelining },
		"bdat":                 func() { cfg.BDAT = profile.BDAT },
	} {
		if !o.flags.Changed(name) {
			take()
		}
	}
}
