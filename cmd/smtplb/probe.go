package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smtplb/internal/config"
	"smtplb/probes"
)

// The words of the verdict, one of them for each check.
const (
	verdictOK           = "ok"
	verdictBusy         = "busy"         // 421: it is alive and takes no sessions for now
	verdictFailed       = "failed"       // the relay's fault, or that of the way to it
	verdictInconclusive = "inconclusive" // this machine's fault
)

const probeHelp = `Makes one health check of a relay and prints what was said, each line with the time since the check
began: > was sent, < received, * is a note. Below it stands the verdict:

  ok in 3ms                       the relay takes sessions; in brackets what was odd, such as a
                                  certificate that has expired or will within 14 days
  busy: greeting: 421 ...         it is alive and takes none for now
  failed: connect: refused        the step that failed, and how
  inconclusive: connect: ...      the check could not be made: this machine's trouble, not the relay's

ADDRESS is host:port, or a host alone: port 25, with --type smtps 465. The check is that of the running
balancer if it is given the same settings: the flags are named like the keys of a backend and of its
pool's probe. --mail-from and --rcpt-to ask whether the relay would take such a message and take the
question back; none is ever sent.

Exit status: 0 ok, 1 anything else, 2 wrong flags.`

// probeFlags is a check as the command line asks for it.
type probeFlags struct {
	kind, source string
	json         bool
	target       probes.Target
}

func newProbeCommand(std streams) *cobra.Command {
	f := probeFlags{}
	cmd := &cobra.Command{
		Use:   "probe ADDRESS",
		Short: "Check one relay once, and show the dialogue",
		Long:  probeHelp,
		Example: "  smtplb probe 10.10.1.11\n" +
			"  smtplb probe --starttls --mail-from '<>' --rcpt-to postmaster@example.com relay.example.com:25",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := f.resolve(args[0])
			if err != nil {
				return usageError{err}
			}
			result := check(config.ProbeType(f.kind))(cmd.Context(), target)
			write := writeProbe
			if f.json {
				write = writeProbeJSON
			}
			if err := write(std.out, target, &result); err != nil {
				return err
			}
			if !result.OK {
				return fmt.Errorf("%s: %s", target.Address, probeVerdict(&result))
			}
			return nil
		},
	}
	t, flags := &f.target, cmd.Flags()
	flags.StringVar(&f.kind, "type", string(config.ProbeSMTP), "the dialogue: smtp, smtps (inside TLS) or tcp (connect only)")
	flags.StringVar(&t.HELO, "helo", "", "the `name` said in EHLO (default the machine's name)")
	flags.BoolVar(&t.STARTTLS, "starttls", false, "go on inside TLS after EHLO; certificates are not verified")
	flags.StringVar(&t.MailFrom, "mail-from", "", "a `sender` that the relay must take; <> is the null sender")
	flags.StringVar(&t.RcptTo, "rcpt-to", "", "a `recipient` that the relay must take; needs --mail-from")
	flags.StringVar(&t.ProxyProtocol, "proxy-protocol", "", "send a PROXY header first, `v1 or v2`")
	flags.StringVar(&f.source, "source", "", "the local `address` to connect from")
	flags.StringVar(&t.Interface, "interface", "", "the network interface to connect through, by its `name`")
	flags.Uint32Var(&t.FWMark, "fwmark", 0, "the firewall `mark` set on the connection")
	flags.DurationVar(&t.Timeout, "timeout", probes.DefaultTimeout, "the most `time` for the whole check")
	flags.BoolVar(&f.json, "json", false, "print one JSON object instead")
	return cmd
}

// resolve is the target that the flags describe; nothing is looked up yet. All
// that is wrong is said at once.
func (f *probeFlags) resolve(address string) (probes.Target, error) {
	t := f.target
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	port := "25"
	switch kind := config.ProbeType(f.kind); kind {
	case config.ProbeSMTP:
	case config.ProbeSMTPS, config.ProbeTCP:
		if kind == config.ProbeSMTPS {
			port = "465"
		}
		if t.STARTTLS {
			fail("--starttls: not with --type %s: only smtp has STARTTLS", kind)
		}
		if kind == config.ProbeTCP && t.MailFrom+t.RcptTo != "" {
			fail("--mail-from, --rcpt-to: not with --type tcp: that check says nothing")
		}
	default:
		fail("--type %q: must be one of smtp, smtps, tcp", f.kind)
	}
	if f.source != "" {
		source, err := netip.ParseAddr(f.source)
		if err != nil {
			fail("--source %q: must be an IP address of this machine", f.source)
		}
		t.Source = source
	}
	if t.Timeout <= 0 {
		fail("--timeout %s: must be more than 0s", t.Timeout)
	}
	t.ConnectTimeout = t.Timeout // no second limit that no flag names
	t.Address = withPort(address, port)
	t.Name = t.Address
	if err := t.Validate(); err != nil {
		errs = append(errs, err)
	}
	return t, errors.Join(errs...)
}

// withPort is address with a port, where it has none: an IPv6 address alone is
// one without.
func withPort(address, port string) string {
	bare := strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	if ip, err := netip.ParseAddr(bare); err == nil {
		return net.JoinHostPort(ip.String(), port)
	}
	if address == "" || strings.Contains(address, ":") {
		return address
	}
	return net.JoinHostPort(address, port)
}

func probeVerdict(r *probes.Result) string {
	switch {
	case r.OK:
		return verdictOK
	case r.Inconclusive:
		return verdictInconclusive
	case r.Busy():
		return verdictBusy
	default:
		return verdictFailed
	}
}

func writeProbe(out io.Writer, _ probes.Target, r *probes.Result) error {
	var text strings.Builder
	for _, line := range r.Dialogue {
		fmt.Fprintln(&text, line)
	}
	if r.OK {
		fmt.Fprintln(&text, r)
	} else {
		fmt.Fprintf(&text, "%s: %s\n", probeVerdict(r), r)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// probeJSON is the answer of probe --json. Times are milliseconds.
type probeJSON struct {
	Address            string      `json:"address"`
	Verdict            string      `json:"verdict"`
	Reason             string      `json:"reason"`
	Stage              string      `json:"stage"`
	Outcome            string      `json:"outcome,omitempty"` // none where inconclusive
	Code               int         `json:"code,omitempty"`
	Greeting           string      `json:"greeting,omitempty"`
	Note               string      `json:"note,omitempty"`
	CertificateExpires *time.Time  `json:"certificate_expires,omitempty"`
	LatencyMS          float64     `json:"latency_ms"`
	Dialogue           []probeLine `json:"dialogue"`
}

type probeLine struct {
	MS        float64 `json:"ms"`
	Direction string  `json:"direction"` // > sent, < received, * a note
	Text      string  `json:"text"`
}

func writeProbeJSON(out io.Writer, t probes.Target, r *probes.Result) error {
	answer := probeJSON{
		Address: t.Address, Verdict: probeVerdict(r), Reason: r.Reason(), Stage: string(r.Stage), Code: r.Code,
		Greeting: r.Greeting, Note: r.Note, LatencyMS: ms(r.Latency), Dialogue: []probeLine{},
	}
	if !r.Inconclusive {
		answer.Outcome = r.Outcome.String()
	}
	if !r.CertExpires.IsZero() {
		answer.CertificateExpires = &r.CertExpires
	}
	for _, line := range r.Dialogue {
		answer.Dialogue = append(answer.Dialogue, probeLine{ms(line.At), string(rune(line.Direction)), line.Text})
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false) // < and > are half of the dialogue
	encoder.SetIndent("", "  ")
	return encoder.Encode(answer)
}
