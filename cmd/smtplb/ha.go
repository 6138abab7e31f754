package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"smtplb/internal/config"
	"smtplb/internal/ha"
)

const haHelp = `Two balancers share the listeners' addresses by keepalived (VRRP): one has them, the other takes them over within
a second when the machine, its link or smtplb fails, or when smtplb drains. docs/ha.md says how to set that up.

Several balancers announce them by BIRD (BGP), and routers spread sessions over all of them (ECMP): docs/ecmp.md.`

func newHACommand(std streams, environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ha",
		Short: "Share the listeners' addresses with other balancers",
		Long:  haHelp,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newHAKeepalivedCommand(std, environ), newHACheckCommand(std, environ), newHABirdCommand(std, environ))
	return cmd
}

const haKeepalivedHelp = `Prints keepalived's configuration for this node, made of the listeners' addresses. Run it on both nodes, each with
the other's address as --peer, on the same file of smtplb's.

The address of a listener moves, so it must not be a wildcard, nor either node's own. It need not be up where smtplb
starts. Both nodes have the same rank: whoever has the addresses keeps them until it fails. With --preferred on one
of them, that one takes them again, --relay-delay after it is back.

A node that reaches fewer relays than the other hands over once that has been so for --relay-delay. Every session is
cut by that, so it should not be short. Where neither reaches a relay, one of them keeps the addresses, and answers.`

// keepaliving is one command line of ha keepalived.
type keepaliving struct {
	file       string
	self, peer string
	node       ha.Node
}

func newHAKeepalivedCommand(std streams, environ []string) *cobra.Command {
	k := &keepaliving{}
	cmd := &cobra.Command{
		Use:   "keepalived --interface NAME --peer ADDRESS",
		Short: "Print a keepalived.conf for this node",
		Long:  haKeepalivedHelp,
		Example: "  smtplb ha keepalived --interface eth0 --self 192.0.2.11 --peer 192.0.2.12 >/etc/keepalived/keepalived.conf\n" +
			"  keepalived --config-test",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := k.text(environ)
			if err != nil {
				return err
			}
			_, err = io.WriteString(std.out, text)
			return err
		},
	}
	configFlag(cmd, &k.file)
	f := cmd.Flags()
	f.StringVarP(&k.node.Interface, "interface", "i", "", "the network `interface` that the addresses come up on")
	f.StringVar(&k.peer, "peer", "", "the other node's own `address` on that network")
	f.StringVar(&k.self, "self", "", "this node's own `address` there (default: the first of the interface)")
	f.BoolVar(&k.node.Preferred, "preferred", false, "this node takes the addresses where all else is equal; for one of the two at most")
	f.IntVar(&k.node.RouterID, "router-id", ha.DefaultRouterID, "the `number` of this pair, 1 to 255; no other pair's in that network")
	f.DurationVar(&k.node.RelayDelay, "relay-delay", ha.DefaultRelayDelay, "for what `time` the other must reach fewer relays before this node takes over")
	f.StringVar(&k.node.TrackFile, "track-file", "/run/smtplb.relays", "the `file` by which keepalived is told of relays; written by root")
	return cmd
}

// text is the keepalived.conf.
func (k *keepaliving) text(environ []string) (string, error) {
	switch {
	case k.node.Interface == "":
		return "", usageError{errors.New("--interface: required: the network interface that clients are on, such as eth0")}
	case k.peer == "":
		return "", usageError{errors.New("--peer: required: the other node's own address on that network, such as 192.0.2.12")}
	}
	for what, flag := range map[string]struct {
		text string
		to   *netip.Addr
	}{"--self": {k.self, &k.node.Self}, "--peer": {k.peer, &k.node.Peer}} {
		if flag.text == "" {
			continue
		}
		addr, err := netip.ParseAddr(flag.text)
		if err != nil {
			return "", usageError{fmt.Errorf("%s %q: must be an IP address, such as 192.0.2.12", what, flag.text)}
		}
		*flag.to = addr.Unmap()
	}
	var err error
	if k.node.VIPs, err = vipsOf(k.file, environ); err != nil {
		return "", err
	}
	if k.node.Config, err = filepath.Abs(k.file); err != nil {
		return "", err
	}
	if k.node.Command, err = os.Executable(); err != nil {
		return "", err
	}
	return k.node.Keepalived()
}

// vipsOf are the addresses that a configuration file has to share.
func vipsOf(file string, environ []string) ([]netip.Addr, error) {
	cfg, err := config.Load(file, environ)
	if err != nil {
		return nil, err
	}
	listeners := make([]ha.Listener, len(cfg.Listeners))
	for i := range cfg.Listeners {
		listeners[i] = ha.Listener{Name: cfg.Listeners[i].Name, Address: cfg.Listeners[i].Address}
	}
	vips, err := ha.VIPs(listeners)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return vips, nil
}
