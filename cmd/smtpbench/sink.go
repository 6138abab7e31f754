package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"smtplb/bench/sink"
)

const sinkLong = `Takes mail as one relay or many would, checks it, counts it and throws it away.

A relay goes wrong where a fault says so: --fault once for each, or a script.
A fault is a relay's name and a colon (without: every relay), then KEY=VALUE:

  POINT=ACTION    greeting, ehlo, starttls, mail, rcpt, data, bdat, middle (of
                  a message), content (the reply to a whole message), rset,
                  noop, quit, or command (all of them). The action is a reply
                  such as 421 or "450 4.2.0 busy", a delay such as 2s, or
                  close, reset, silence. At the greeting also half, endless,
                  not_smtp, multi_line, byte_by_byte (with pause=10ms).
  connect=STATE   of the relay's address: refuse (nobody listens), black_hole
                  (connections time out), down (refuse, and every session is
                  reset)
  delay=D         passes before the action
  probability=P   5% or 0.05; which connections, --seed decides
  times=N         at most so often
  at=D for=D every=D
                  the schedule, from the start of the sink
  kept=true       at content: the message is taken all the same (RFC 1047)

In a script the same keys are YAML:

  relays:
    - {name: a, address: "127.0.0.1:2601"}
    - {name: b, address: "127.0.0.1:2602"}
  faults:
    - {relay: b, greeting: 421, at: 10s, for: 20s}
    - {content: "451 4.3.0 try later", probability: 5%}
  seed: 7

The control address answers GET /report, GET /runs/RUN (which messages of a run
of smtpbench source are here) and GET /runs/RUN/relays, in JSON.

The sink runs until --for is over or a signal ends it; then it prints its
report. Exit status: 0; 1 it could not run; 2 a message came damaged; 130 it was
interrupted before --for was over.`

const sinkExample = `  smtpbench sink --relay 127.0.0.1:2601
  smtpbench sink --relay a=127.0.0.1:2601 --relay b=127.0.0.1:2602 \
      --fault "b: greeting=421 at=10s for=20s" --control 127.0.0.1:2690
  smtpbench sink --script faults.yaml --for 2m --json sink.json`

const defaultRelay = "127.0.0.1:2601"

// sinkOptions is the command line of sink.
type sinkOptions struct {
	relays, faults []string
	script         string
	seed           uint64
	tls            bool
	cert, key      string
	control        string
	controlRemote  bool
	duration       time.Duration
	json           string
	loops          int
}

func newSinkCommand(std streams) *cobra.Command {
	var o sinkOptions
	cmd := &cobra.Command{
		Use:     "sink",
		Short:   "Take mail as relays would, and go wrong as told",
		Long:    sinkLong,
		Example: sinkExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.config(cmd.Flags().Changed("seed"), std.in)
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), cfg, std)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.relays, "relay", nil, "`[NAME=]IP:PORT` of a relay; again for more (default "+defaultRelay+")")
	f.StringArrayVar(&o.faults, "fault", nil, "a `fault`, as above; again for more")
	f.StringVar(&o.script, "script", "", "`file` with relays and faults, in YAML; - is standard input")
	f.Uint64Var(&o.seed, "seed", 0, "decides which connections a probability meets; goes before the script's")
	f.BoolVar(&o.tls, "tls", false, "offer STARTTLS, with a certificate made for the occasion")
	f.StringVar(&o.cert, "cert", "", "`file` with a certificate for --tls, PEM")
	f.StringVar(&o.key, "key", "", "`file` with its key, PEM")
	f.StringVar(&o.control, "control", "", "`IP:PORT` that answers questions over HTTP")
	f.BoolVar(&o.controlRemote, "control-remote", false, "let --control be an address that other machines reach")
	f.DurationVar(&o.duration, "for", 0, "stop after this `time`")
	f.StringVar(&o.json, "json", "", "write the report as JSON to this `file`, every other second and at the end; - is standard output")
	f.IntVar(&o.loops, "loops", 1, "`threads` that share the relays")
	return cmd
}

// config is what the options and the script say, or everything that is wrong.
func (o *sinkOptions) config(seeded bool, in io.Reader) (sink.Config, error) {
	var setup sink.Setup
	if err := o.readScript(&setup, in); err != nil {
		return sink.Config{}, err
	}
	for _, relay := range o.relays {
		setup.Relay(relay)
	}
	if setup.Relays() == 0 {
		setup.Relay(defaultRelay)
	}
	for _, fault := range o.faults {
		setup.Fault(fault)
	}
	cfg, err := setup.Config()
	if seeded {
		cfg.Seed = o.seed
	}
	cfg.Loops, cfg.Version = o.loops, fullVersion()
	var tlsErr error
	cfg.TLS, tlsErr = o.tlsConfig(cfg.Relays)
	return cfg, errors.Join(err, tlsErr, o.check())
}

// check finds what is wrong with the other options.
func (o *sinkOptions) check() error {
	var errs []error
	if o.duration < 0 {
		errs = append(errs, fmt.Errorf("--for %v: must not be below 0", o.duration))
	}
	if o.loops < 1 {
		errs = append(errs, fmt.Errorf("--loops %d: must be 1 or more", o.loops))
	}
	if o.controlRemote && o.control == "" {
		errs = append(errs, errors.New("--control-remote: has no meaning without --control"))
	}
	if o.control != "" {
		errs = append(errs, o.checkControl())
	}
	return errors.Join(errs...)
}

func (o *sinkOptions) checkControl() error {
	address, err := netip.ParseAddrPort(o.control)
	switch {
	case err != nil:
		return fmt.Errorf("--control %q: must be IP:port, such as 127.0.0.1:2690", o.control)
	case !address.Addr().IsLoopback() && !o.controlRemote:
		return fmt.Errorf("--control %s: other machines reach that address, and nobody is asked for a password: "+
			"take 127.0.0.1, or add --control-remote", o.control)
	}
	return nil
}

func (o *sinkOptions) readScript(to *sink.Setup, in io.Reader) error {
	var text []byte
	var err error
	name := o.script
	switch name {
	case "":
		return nil
	case "-":
		name = "standard input"
		text, err = io.ReadAll(in)
	default:
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return fmt.Errorf("--script: %w", err)
	}
	to.Script(name, text)
	return nil
}

// tlsConfig is nil where no relay speaks TLS.
func (o *sinkOptions) tlsConfig(relays []sink.Relay) (*tls.Config, error) {
	switch {
	case (o.cert == "") != (o.key == ""):
		return nil, errors.New("--cert and --key: one is of no use without the other")
	case o.cert != "":
		cert, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, fmt.Errorf("--cert %s, --key %s: %w", o.cert, o.key, err)
		}
		return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
	}
	wanted := o.tls
	for _, r := range relays {
		wanted = wanted || r.ImplicitTLS
	}
	if !wanted {
		return nil, nil //nolint:nilnil // no TLS is no mistake
	}
	return sink.SelfSigned()
}

// serveControl answers on the control address until the context ends. The
// returned function waits for its end.
func (o *sinkOptions) serveControl(ctx context.Context, s *sink.Sink, std streams) (wait func(), err error) {
	if o.control == "" {
		return func() {}, nil
	}
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", o.control)
	if err != nil {
		return nil, fmt.Errorf("--control: %w", err)
	}
	const patience = 10 * time.Second
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: patience, ReadTimeout: patience, IdleTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln) // returns when it is closed
	}()
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Fprintf(std.err, "control: http://%s/report\n", ln.Addr())
	return func() {
		stop()
		_ = server.Close()
		<-done
	}, nil
}
