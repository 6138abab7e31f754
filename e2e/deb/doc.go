// Package deb has no code, only tests of the Debian package: what it holds, and
// how it does in a Debian with nothing else in it, under its own systemd. They
// need root, mmdebstrap and lintian, and a minute or two, so they have the build
// tag deb: make e2e-deb runs them.
//
// The Debian is made by mmdebstrap in a directory that is gone afterwards, and
// booted in namespaces of its own (testdata/boot.sh). The tests themselves run in
// its network, where nothing of this machine's is, so that relays and clients are
// those of internal/smtptest at the addresses of the pages.
package deb
