// Package handover replaces the running process by a new one, a step at a time,
// so that each can be undone until the last.
//
//	old process                          new process
//	Start(program, files)         ---->  Inherit()
//	                                     reads its configuration, takes the files
//	child.Prepared(ctx)           <----  parent.Prepared(taken)
//	stops accepting, saves its state
//	child.Give(ctx, state)        ---->  restores it, accepts
//	                              <----  parent.Serving()
//	child.Release()               ---->  is on its own
//	lets its sessions finish, exits
//
// As long as Give has not returned nil, Kill ends the new process and the old one
// goes on. A new one that fails says why (Parent.Failed), or just ends.
//
// # Who is whose child
//
// The new process is not the old one's child but its sibling (CLONE_PARENT of
// clone(2)): the service manager that started the old one is the parent of each
// that follows, sees at once when it ends, and waits for it on a stop. A child of
// the old one would be nobody's it knows until the old one has ended, which may be
// an hour later. For the same reason nobody here waits for the new process: its
// end of the connection closes.
//
// It is started by the system call with exactly the descriptors that are given:
// everything else of the old process is closed on exec.
//
// # Why not a library
//
// cloudflare/tableflip was read for this (v1.2.3), and its steps are much like
// these. It refuses an upgrade while the process before the last one lives, and
// ours live for as long as a session does; what it hands over is fixed when the
// new process starts, while the state of a balancer must be that of the moment at
// which the old one has stopped to choose; and it makes the new process its child.
// systemd's descriptor store keeps sockets between two processes of which one ends
// before the other begins: clients would wait for as long as the old one drains.
package handover
