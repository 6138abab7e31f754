package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// The exit statuses.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2 // the command line is wrong; nothing was done
	exitNotReady = 3 // status: it was answered, and it takes no clients
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errNotReady ends status when no clients are taken.
var errNotReady = errors.New("not ready")

// exitStatus is the status for what a command line led to. An error from before
// the command began is one of usage: cobra has no name for those.
func exitStatus(err error, began bool) int {
	switch {
	case err == nil:
		return exitOK
	case isUsage(err, began):
		return exitUsage
	case errors.Is(err, errNotReady):
		return exitNotReady
	default:
		return exitError
	}
}

func isUsage(err error, began bool) bool {
	_, wrong := errors.AsType[usageError](err)
	return wrong || !began
}

// hint names the command that tells how a wrong one is used.
func hint(cmd *cobra.Command) string { return "see: " + cmd.CommandPath() + " --help" }
