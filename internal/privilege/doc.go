// Package privilege has the process give up what it does not need, once, before it
// serves: capabilities(7), what a program that it starts could gain
// (no_new_privs), and writing files (landlock(7)).
//
//	now, err := privilege.Now()
//	plan := privilege.Decide(now, privilege.Needs{Mark: true})
//	err = plan.Apply(stateDirectory)
//
// What is kept is decided by Decide alone, a function of plain values.
//
// A process started as root was given everything, and nobody decided that: it keeps
// CAP_NET_BIND_SERVICE, as a reload may ask for another port below 1024, and what
// the configuration needs. It stays root by name, so that files which are root's
// alone can be read again at a reload. Another one was given its capabilities by
// somebody, for this program: it keeps those of the three that it may ever need, so
// that a reload may use them.
//
// Nothing can be had back: a configuration that needs more needs a restart, which
// proxy.Target.Try tells before anything changes. A program that takes over in an upgrade
// inherits what is left.
//
// System calls are not filtered here. What Go's runtime needs changes with its
// version, and what is forgotten ends the process: that is the service manager's
// (SystemCallFilter=, in deploy/systemd/smtplb.service). For the same reason files
// are left alone where a filter is in force: it may not know landlock's calls.
package privilege
