package main

import (
	"context"
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"smtplb/bench"
)

const iocopyName = "iocopy"

// newIocopyCommand is a peer of compare: a process of its own, so that its CPU
// time and its memory can be told from the load's.
func newIocopyCommand() *cobra.Command {
	return &cobra.Command{
		Use:    iocopyName + " LISTEN RELAY",
		Short:  "Proxy every connection to one relay with io.Copy, as a baseline for compare",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			listen, relay, err := twoAddresses(args)
			if err != nil {
				return err
			}
			return serveIocopy(cmd.Context(), listen, relay)
		},
	}
}

// serveIocopy proxies until ctx ends and the last session is over.
func serveIocopy(ctx context.Context, listen, relay netip.AddrPort) error {
	// ListenTCP makes a plain TCP socket, as smtplb has: no MPTCP.
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(listen))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	return bench.Baseline{Target: relay}.Serve(ln)
}
