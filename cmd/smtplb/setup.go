package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"smtplb/internal/setup"
)

const setupHelp = `Sets an appliance up: asks for its address, the VIP, the relays, who may send and the other appliance, each with a
check, and makes of that the configuration of smtplb, of the network, the firewall and keepalived. Nothing is
written before the last answer.

With --answers they are taken from a file instead, in YAML, under the same rules. Its keys are
%s.
Every mistake in it is told, and then nothing is done.

It is for the appliance image alone, as it replaces the network's and the firewall's files of the machine. With --into
it writes below a directory and touches nothing else, on any machine. See docs/appliance.md.`

// applianceMark is there in the image, and nowhere else.
const applianceMark = "/usr/lib/smtplb/appliance"

// settingUp is one command line of setup.
type settingUp struct {
	answers   string
	into      string
	firstBoot bool
	force     bool
	std       streams
}

func newSetupCommand(std streams) *cobra.Command {
	s := &settingUp{std: std}
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Set up an appliance: ask what it must know, and write it down",
		Long:  fmt.Sprintf(setupHelp, strings.Join(setup.Keys(), ", ")),
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&s.answers, "answers", "", "take the answers from this `file`; - is standard input")
	f.StringVar(&s.into, "into", "", "write below this `directory`, and run nothing")
	f.BoolVar(&s.firstBoot, "first-boot", false, "do nothing where it has been done, here or at another console meanwhile")
	f.BoolVar(&s.force, "force", false, "replace an smtplb.yaml that was edited")
	return cmd
}

// errElsewhere ends a dialogue that somebody else has finished.
var errElsewhere = errors.New("set up meanwhile, at another console or by cloud-init")

func (s *settingUp) run(ctx context.Context) error {
	_, err := os.Stat(applianceMark)
	elsewhere := err != nil
	if elsewhere && s.into == "" {
		return errors.New("this machine is not an smtplb appliance, and setup would replace its network and its firewall: " +
			"for smtplb alone write /etc/smtplb/smtplb.yaml, see docs/configuration.md; --into DIR writes what setup would, for you to see")
	}
	if s.firstBoot && s.done() {
		return nil
	}
	machine := anAppliance()
	if !elsewhere {
		if machine, err = machineNow(); err != nil {
			return err
		}
	}
	asked, err := s.ask(ctx, machine)
	if err == nil {
		err = s.apply(ctx, asked, machine)
	}
	if errors.Is(err, errElsewhere) {
		_, err = fmt.Fprintf(s.std.out, "\n%s\n", errElsewhere)
	}
	return err
}

// ask has the answers, from the file or from a person.
func (s *settingUp) ask(ctx context.Context, m setup.Machine) (*setup.Asked, error) {
	var text []byte
	var err error
	switch s.answers {
	case "":
		return s.askPerson(ctx, m)
	case "-":
		text, err = io.ReadAll(s.std.in)
	default:
		text, err = os.ReadFile(s.answers)
	}
	if err != nil {
		return nil, fmt.Errorf("--answers: %w", err)
	}
	a, err := setup.Read(s.answers, text, m)
	if err != nil {
		return nil, err
	}
	return &setup.Asked{Answers: a}, nil
}

func (s *settingUp) askPerson(ctx context.Context, m setup.Machine) (*setup.Asked, error) {
	before, err := os.ReadFile(s.path(setup.Done))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	c := newConsole(ctx, s)
	defer c.restore() // also where Ctrl-C ends it while nothing is shown
	return setup.Ask(setup.Console{Out: s.std.out, Line: c.line, Quiet: c.quiet, Secret: c.secret, Before: before}, m)
}

// path is where a file goes.
func (s *settingUp) path(name string) string { return filepath.Join(s.into, name) }

func (s *settingUp) done() bool {
	_, err := os.Stat(s.path(setup.Done))
	return err == nil
}

// anAppliance is one that is not this machine: its network cards are called so, and
// what addresses they have is not known.
func anAppliance() (m setup.Machine) {
	const cards = 4
	for i := range cards {
		m.Interfaces = append(m.Interfaces, setup.Interface{Name: fmt.Sprintf("eth%d", i)})
	}
	return m
}

// machineNow is what there is of a network.
func machineNow() (setup.Machine, error) {
	var m setup.Machine
	all, err := net.Interfaces()
	if err != nil {
		return m, err
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 || len(i.HardwareAddr) == 0 {
			continue
		}
		found := setup.Interface{Name: i.Name}
		addresses, err := i.Addrs()
		if err != nil {
			return m, err
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				found.Addresses = append(found.Addresses, p)
			}
		}
		m.Interfaces = append(m.Interfaces, found)
	}
	return m, nil
}

// reach says which relays do not answer, once the network is there. That is no
// mistake: they may come later.
func (s *settingUp) reach(ctx context.Context, relays []string) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	faults := make(chan error, len(relays))
	for _, r := range relays {
		go func() { faults <- answers(ctx, r) }()
	}
	for range relays {
		if err := <-faults; err != nil {
			fmt.Fprintln(s.std.out, "warning: a relay cannot be reached yet:", err)
		}
	}
}

// answers tries to connect until the end of the context.
func answers(ctx context.Context, relay string) error {
	const pace = time.Second
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", relay)
		if err == nil {
			conn.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pace):
		}
	}
}
