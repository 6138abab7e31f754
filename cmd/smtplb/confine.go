package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"smtplb/internal/config"
	"smtplb/internal/privilege"
)

// needs are what a configuration asks of the process beyond plain connections.
func needs(cfg *config.Config) (n privilege.Needs) {
	for _, w := range ways(cfg) {
		n.Mark = n.Mark || w.target.Mark != 0
		n.Interface = n.Interface || w.target.Interface != ""
		n.Transparent = n.Transparent || w.target.Transparent
	}
	return n
}

// errGivenUp goes with what a process of root, or the one that takes over from it,
// may not do any more.
var errGivenUp = errors.New("root keeps only the capabilities that the configuration needs at the start: restart it")

// sinceGivenUp is what is forbidden to a process that has given up what it did not
// need.
func sinceGivenUp(forbidden []error) error {
	err := errors.Join(forbidden...)
	if err != nil && os.Geteuid() == 0 {
		return errors.Join(err, errGivenUp)
	}
	return err
}

// confine has the process give up what it does not need, before it serves.
// Everything is bound by then.
func (d *daemon) confine() error {
	now, err := privilege.Now()
	if err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	plan := privilege.Decide(now, needs(d.cfg))
	var state string
	if file := stateFile(); file != "" {
		state = filepath.Dir(file)
	}
	if err := plan.Apply(state); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	kept := zap.Strings("capabilities", privilege.Names(plan.Keep))
	if !plan.Root || d.load == nil { // the demo is no service
		d.log.Info("privileges", kept)
		return nil
	}
	d.log.Warn("privileges: runs as root, and has given up all but these capabilities: better run it as another user, by "+
		"deploy/systemd/smtplb.service, or after: setcap cap_net_bind_service=+ep smtplb, or: sysctl net.ipv4.ip_unprivileged_port_start=25", kept)
	d.warnUnreadable()
	return nil
}

// warnUnreadable tells of files that root without its capabilities cannot read, as
// they are another user's alone: the next reload would be refused.
func (d *daemon) warnUnreadable() {
	_, err := d.load()
	_, _, wrong := d.certificate.again()
	if err := errors.Join(err, wrong); err != nil {
		d.log.Warn("privileges: a reload will be refused: give the file to root, or let everybody read it", zap.Error(err))
	}
}
