package main

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"smtplb/bench"
)

const floorName = "floor"

// newFloorCommand is a peer of compare: the least that a proxy in Go can do.
func newFloorCommand() *cobra.Command {
	return &cobra.Command{
		Use:    floorName + " LISTEN RELAY",
		Short:  "Make a session's system calls and nothing else, as a baseline for compare",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			listen, relay, err := twoAddresses(args)
			if err != nil {
				return err
			}
			ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(listen))
			if err != nil {
				return err
			}
			file, err := ln.File() // a descriptor that Go's own poller does not watch
			_ = ln.Close()
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			fd := int(file.Fd())
			if err := unix.SetNonblock(fd, true); err != nil { // Fd made it blocking
				return fmt.Errorf("listening socket: %w", err)
			}
			runtime.GOMAXPROCS(3) // the loop's, and two as smtplb has to spare
			return bench.Floor{Target: relay}.Serve(cmd.Context(), fd)
		},
	}
}

// twoAddresses are where a baseline listens and its relay.
func twoAddresses(args []string) (listen, relay netip.AddrPort, err error) {
	if listen, err = netip.ParseAddrPort(args[0]); err != nil {
		return listen, relay, fmt.Errorf("address to listen on: %w", err)
	}
	if relay, err = netip.ParseAddrPort(args[1]); err != nil {
		return listen, relay, fmt.Errorf("address of the relay: %w", err)
	}
	return listen, relay, nil
}
