package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"smtplb/internal/ha"
)

const haBirdHelp = `Prints BIRD's configuration for this balancer, made of the listeners' addresses: it announces them to the routers by
BGP. Run it on every balancer, each with its own address as --self, on the same file of smtplb's. The routers send
each session to one of those that announce (ECMP); "router" prints the other side, for a router that has BIRD.

What is announced are those addresses that are up on lo, where "announce" has them while smtplb takes clients. A
listener's address must not be a wildcard, nor be in a network of a link: it is routed. docs/ecmp.md says more.`

// birding is one command line of ha bird, or of ha bird router.
type birding struct {
	file      string
	self      []string
	others    []string // routers, or balancers' networks
	bgp       ha.BGP
	table     int
	otherFlag string
	otherWant string // what it must be
}

func newHABirdCommand(std streams, environ []string) *cobra.Command {
	b := &birding{otherFlag: "router", otherWant: "a router's address in the network of the balancers, such as 10.0.0.1"}
	cmd := &cobra.Command{
		Use:   "bird --self ADDRESS --router ADDRESS",
		Short: "Print a bird.conf for this balancer",
		Long:  haBirdHelp,
		Example: "  smtplb ha bird --self 10.0.0.11 --router 10.0.0.1 --router 10.0.0.2 >/etc/bird/bird.conf\n" +
			"  bird -p",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return b.print(std.out, environ, b.speaker) },
	}
	b.flags(cmd.Flags())
	configFlag(cmd, &b.file)
	cmd.Flags().StringSliceVar(&b.others, "router", nil, "a router's `address` in the network of the balancers; again for each")
	cmd.AddCommand(newHABirdRouterCommand(std, environ), newHABirdAnnounceCommand(std, environ), newHABirdHandoverCommand(std, environ))
	return cmd
}

const haBirdRouterHelp = `Prints the configuration of a router that has BIRD and the balancers behind it. It takes the addresses of smtplb's
listeners from any balancer in the networks, and puts the routes in a table of the kernel that is looked at by
smtplb-ecmp alone: that makes resilient groups of them. Other routers: docs/ecmp.md.`

func newHABirdRouterCommand(std streams, environ []string) *cobra.Command {
	const table = 1025
	b := &birding{otherFlag: "balancers", otherWant: "the network that the balancers are in, such as 10.0.0.0/24"}
	cmd := &cobra.Command{
		Use:     "router --self ADDRESS --balancers NETWORK",
		Short:   "Print a bird.conf for a router",
		Long:    haBirdRouterHelp,
		Example: "  smtplb ha bird router --self 10.0.0.1 --balancers 10.0.0.0/24 >bird.conf",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return b.print(std.out, environ, b.router) },
	}
	b.flags(cmd.Flags())
	configFlag(cmd, &b.file)
	cmd.Flags().StringSliceVar(&b.others, "balancers", nil, "a `network` that the balancers are in; again for each")
	cmd.Flags().IntVar(&b.table, "table", table, "the `number` of the kernel's table for the routes")
	return cmd
}

func (b *birding) flags(f *pflag.FlagSet) {
	const balancers, routers = 65025, 65000
	f.StringSliceVar(&b.self, "self", nil, "this machine's own `address` there; again for IPv6, the first is the IPv4 one")
	f.Uint32Var(&b.bgp.AS, "as", balancers, "the `number` of the balancers' AS")
	f.Uint32Var(&b.bgp.RouterAS, "router-as", routers, "the `number` of the routers' AS")
	f.BoolVar(&b.bgp.NoBFD, "no-bfd", false, "one side cannot do BFD: a dead machine is known after 3 s, not 1 s")
}

func (b *birding) print(to io.Writer, environ []string, text func(vips, self []netip.Addr) (string, error)) error {
	switch {
	case len(b.self) == 0:
		return usageError{errors.New("--self: required: this machine's own address between balancers and routers, such as 10.0.0.11")}
	case len(b.others) == 0:
		return usageError{fmt.Errorf("--%s: required: %s", b.otherFlag, b.otherWant)}
	}
	self, err := addressesOf("self", b.self)
	if err != nil {
		return err
	}
	vips, err := vipsOf(b.file, environ)
	if err != nil {
		return err
	}
	if b.bgp.Config, err = filepath.Abs(b.file); err != nil {
		return err
	}
	conf, err := text(vips, self)
	if err != nil {
		return err
	}
	_, err = io.WriteString(to, conf)
	return err
}

func (b *birding) speaker(vips, self []netip.Addr) (string, error) {
	routers, err := addressesOf(b.otherFlag, b.others)
	if err != nil {
		return "", err
	}
	s := ha.Speaker{VIPs: vips, Self: self, Routers: routers, BGP: b.bgp}
	return s.Bird()
}

func (b *birding) router(vips, self []netip.Addr) (string, error) {
	r := ha.Router{VIPs: vips, Self: self, Table: b.table, BGP: b.bgp}
	for _, word := range b.others {
		network, err := netip.ParsePrefix(word)
		if err != nil {
			return "", usageError{fmt.Errorf("--%s %q: must be a network, such as 10.0.0.0/24", b.otherFlag, word)}
		}
		r.Balancers = append(r.Balancers, network)
	}
	return r.Bird()
}

func addressesOf(flag string, words []string) (all []netip.Addr, err error) {
	for _, word := range words {
		a, err := netip.ParseAddr(word)
		if err != nil {
			return nil, usageError{fmt.Errorf("--%s %q: must be an IP address, such as 10.0.0.1", flag, word)}
		}
		all = append(all, a)
	}
	return all, nil
}

const haBirdHandoverHelp = `Prints a file for nft, by which a balancer passes on what is for sessions of another one that drains: routers move
them here when that one is announced no more. So a drain cuts nothing. All balancers must be on one link. docs/ecmp.md
says how it is used.`

func newHABirdHandoverCommand(std streams, environ []string) *cobra.Command {
	var file, device string
	cmd := &cobra.Command{
		Use:     "handover --interface NAME",
		Short:   "Print rules for nft by which sessions outlast a drain",
		Long:    haBirdHandoverHelp,
		Example: "  smtplb ha bird handover --interface eth0 >/etc/smtplb/handover.nft",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if device == "" {
				return usageError{errors.New("--interface: required: the network interface that the other balancers are on, such as eth0")}
			}
			vips, err := vipsOf(file, environ)
			if err != nil {
				return err
			}
			whole, err := filepath.Abs(file)
			if err != nil {
				return err
			}
			text, err := ha.Handover(vips, device, whole)
			if err != nil {
				return err
			}
			_, err = io.WriteString(std.out, text)
			return err
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVarP(&device, "interface", "i", "", "the network `interface` that the other balancers are on")
	return cmd
}
