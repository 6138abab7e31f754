package privilege

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	libcap "kernel.org/pub/linux/libs/security/libcap/cap"
)

// writing is all that changes a file or a directory. Reading is not in it: at a
// reload or an upgrade the configuration may name files at other places.
const writing = landlock.AccessFSSet(ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSRemoveDir | ll.AccessFSRemoveFile |
	ll.AccessFSMakeChar | ll.AccessFSMakeDir | ll.AccessFSMakeReg | ll.AccessFSMakeSock | ll.AccessFSMakeFifo | ll.AccessFSMakeBlock |
	ll.AccessFSMakeSym)

// inState is what is done in the state directory.
const inState = landlock.AccessFSSet(ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSRemoveFile | ll.AccessFSMakeReg)

// Apply has every thread of the process give up what the plan says, and all that a
// program it starts could gain. state is the directory that may be written to
// still, "" for none; files that are open already, such as a log, are not touched.
// It is called once. After an error some of it may be given up.
func (p Plan) Apply(state string) error {
	if _, err := libcap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := p.reduce(); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if !p.ReadOnly {
		return nil
	}
	var rules []landlock.Rule
	if state != "" {
		rules = append(rules, landlock.PathAccess(inState, state).IgnoreIfMissing())
	}
	// What this kernel knows of it, which may be nothing.
	writes := landlock.Config{HandledAccessFS: writing}
	if err := writes.BestEffort().RestrictPaths(rules...); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}

// reduce leaves the capabilities that are kept. Those that a new program is given
// (inheritable, and with them ambient ones) are left where they are kept. The
// bounding set is left: with no_new_privs nothing is gained from it.
func (p Plan) reduce() error {
	if len(p.Drop) == 0 {
		return nil
	}
	was, left := libcap.GetProc(), libcap.NewSet()
	var errs []error
	for _, c := range p.Keep {
		for _, flag := range []libcap.Flag{libcap.Effective, libcap.Permitted, libcap.Inheritable} {
			has, err := was.GetFlag(flag, c)
			errs = append(errs, err, left.SetFlag(flag, has, c))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return left.SetProc()
}

// Names are those of capabilities as capabilities(7) writes them, sorted.
func Names(all []libcap.Value) []string {
	names := make([]string, 0, len(all))
	for _, c := range all {
		names = append(names, strings.ToUpper(c.String()))
	}
	slices.Sort(names)
	return names
}
