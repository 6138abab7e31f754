package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"smtplb/cmd/internal/manual"
	"smtplb/internal/config"
	versions "smtplb/internal/version"
)

// run executes one command line and returns the exit status. An error has been
// printed.
func run(ctx context.Context, args []string, std streams, environ []string) int {
	root := newRoot(std, environ)
	root.SetArgs(args)
	began := false
	root.PersistentPreRun = func(*cobra.Command, []string) { began = true }
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errTold) {
		return exitError
	}
	_, _ = fmt.Fprintln(std.err, "smtplb:", harmlessLines(err.Error()))
	if isUsage(err, began) {
		_, _ = fmt.Fprintln(std.err, hint(cmd))
	}
	return exitStatus(err, began)
}

func newRoot(std streams, environ []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "smtplb",
		Short: "A TCP load balancer for SMTP: one address for Exchange, several relays behind it",
		Long: "smtplb takes SMTP connections on one address to the relays behind it. It reads a relay's\n" +
			"greeting before the client does, and asks the next relay when one refuses, greets badly or\n" +
			"stays silent, so that no client sees the fault of a single relay.\n\n" +
			"Exit status: 0 ok, 1 an error, 2 a wrong command line; status has one more.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.AddCommand(newRunCommand(std, environ), newCheckCommand(std, environ), newDemoCommand(std), newProbeCommand(std),
		newStatusCommand(std, environ), newSessionsCommand(std, environ), newReloadCommand(std, environ),
		newVersionCommand(std), newHACommand(std, environ), newSetupCommand(std), manual.Command("8", version))
	for _, v := range verbs() {
		root.AddCommand(newOrderCommand(std, environ, v))
	}
	return root
}

func newRunCommand(std streams, environ []string) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Run the balancer in the foreground",
		Long: "Runs the balancer until SIGTERM or SIGINT: then it accepts no more and lets the sessions finish,\n" +
			"at most for timeouts.drain; one that waits for its relay's reply is not cut. A second signal\n" +
			"stops at once. SIGHUP reloads the file, or changes nothing if there is any error in it: running sessions\n" +
			"go on, and the log says what changed. SIGUSR2 upgrades: the program that lies at this one's path by now\n" +
			"takes over the listening sockets and what is known of the relays, or nothing changes; this process lets\n" +
			"its sessions finish. Log lines go to standard error.\n\n" +
			"Once its ports are open it gives up what the file does not need. Started as root it keeps the capability for\n" +
			"ports below 1024, and the one for fwmark and transparent if the file has them; better start it as another user.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*config.Config, error) { return config.Load(file, environ) }
			return runDaemon(cmd.Context(), load, std)
		},
	}
	configFlag(cmd, &file)
	return cmd
}

func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "/etc/smtplb/smtplb.yaml", "the configuration `file`")
}

func newVersionCommand(std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(std.out, versions.Line("smtplb", version))
			return err
		},
	}
}

// fullVersion is the version that runs.
func fullVersion() string { return versions.Full(version) }
