package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"smtplb/cmd/internal/manual"
	versions "smtplb/internal/version"
)

// The exit statuses.
const (
	exitOK          = 0
	exitError       = 1   // it could not run: wrong flags, an unreachable target, a port in use
	exitFindings    = 2   // it ran, and found what should not be: failed sessions, lost mail, a bar that was missed
	exitInterrupted = 130 // a signal cut it off; what there was until then has been reported
)

// errFindings and errInterrupted end a command whose report is out already: only
// the exit status is left to say.
var (
	errFindings    = errors.New("not all went well: see the report")
	errInterrupted = errors.New("interrupted: the report holds what there was until then")
)

// run executes one command line and returns the exit status. SIGINT and SIGTERM
// end the command's context, so that it reports what it has; a second one kills.
func run(ctx context.Context, args []string, std streams) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal does what signals do
	root := newRoot(std)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(std.err, "smtpbench:", err)
	}
	return exitStatus(err)
}

func exitStatus(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, errFindings):
		return exitFindings
	default:
		return exitError
	}
}

func newRoot(std streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "smtpbench",
		Short: "A load-testing harness for SMTP: source, sink, and a comparison of balancers",
		Long: "smtpbench sends mail as a crowd of clients would (source), takes it as relays would, faults\n" +
			"included (sink), and measures smtplb beside other balancers on this machine (compare).\n\n" +
			"Exit status: 0 all went well; 1 it could not run; 2 it ran and found failures, such as failed\n" +
			"sessions, lost mail or a bar that was missed; 130 it was interrupted, and reported what it had.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.AddCommand(newSourceCommand(std), newSinkCommand(std), newCompareCommand(std), newSimCommand(std), newIocopyCommand(), newFloorCommand(), newVersionCommand(std),
		manual.Command("1", version))
	return root
}

func newVersionCommand(std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(std.out, versions.Line("smtpbench", version))
			return err
		},
	}
}

// fullVersion is the version that runs.
func fullVersion() string { return versions.Full(version) }
