package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"smtplb/internal/config"
)

// asking is how a command finds the smtplb that runs.
type asking struct {
	address, file, tokenFile, ca string
	insecure, json               bool
	environ                      []string
}

const askingHelp = `
The running one is found by --address, by --config (the address, the token and the certificate are those of its
admin section; the rest of the file may be wrong), by the variable SMTPLB_ADMIN__ADDRESS, or at 127.0.0.1:9925.`

const defaultAddress = "127.0.0.1:9925"

func (a *asking) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&a.address, "address", "a", "", "where it answers, `HOST:PORT` or https://HOST:PORT (default "+defaultAddress+")")
	flags.StringVarP(&a.file, "config", "c", "", "its configuration `file`, in place of the other flags")
	flags.StringVar(&a.tokenFile, "token-file", "", "the `file` with its token, as admin.token_file has it")
	flags.StringVar(&a.ca, "ca", "", "a `file` with the certificates to trust; it answers by TLS")
	flags.BoolVar(&a.insecure, "insecure", false, "trust any certificate; it answers by TLS")
	flags.BoolVar(&a.json, "json", false, "print the answer of the API as it is")
}

// client is for the smtplb that the flags and the environment name.
func (a *asking) client() (*client, error) {
	var file config.Admin
	if a.file != "" {
		var err error
		if file, err = config.LoadAdmin(a.file, a.environ); err != nil {
			return nil, fmt.Errorf("%w\n(--address, and where needed --token-file, do without the file)", err)
		}
	}
	c := &client{}
	if err := a.place(c, file); err != nil {
		return nil, err
	}
	if err := a.credentials(c, file); err != nil {
		return nil, err
	}
	return c, nil
}

// place finds where to ask, and how.
func (a *asking) place(c *client, file config.Admin) error {
	address, secure := a.address, a.ca != "" || a.insecure
	switch {
	case address != "":
	case a.file != "":
		address = reachable(file.Address).String()
	default:
		address = variable(a.environ, "SMTPLB_ADMIN__ADDRESS")
	}
	if address == "" {
		address = defaultAddress
	}
	c.named = address
	if rest, ok := strings.CutPrefix(address, "https://"); ok {
		address, secure = strings.TrimSuffix(rest, "/"), true
	} else if rest, ok := strings.CutPrefix(address, "http://"); ok {
		address = strings.TrimSuffix(rest, "/")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" || strings.ContainsAny(address, "/?#@ ") {
		return usageError{fmt.Errorf("address %q: must be HOST:PORT, such as %s, or https://HOST:PORT", c.named, defaultAddress)}
	}
	own := a.address == "" && a.file != ""
	secure = secure || own && file.TLS.On()
	c.base = "http://" + address
	if !secure {
		return nil
	}
	c.base = "https://" + address
	switch {
	case a.insecure:
		c.tls = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // asked for by the flag
	case a.ca != "":
		c.tls, err = trusting(a.ca)
	case own:
		c.tls, err = trustingCertificate(file.TLS.Cert)
	default:
		c.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return err
}

// reachable is an address at which a program on this machine is reached that
// listens on all of them.
func reachable(a netip.AddrPort) netip.AddrPort {
	switch a.Addr() {
	case netip.IPv4Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	case netip.IPv6Unspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
	default:
		return a
	}
}

// credentials reads the token. One that the configuration names need not be
// readable: looking is allowed without it on loopback.
func (a *asking) credentials(c *client, file config.Admin) error {
	c.tokenFile = a.tokenFile
	if c.tokenFile == "" {
		c.tokenFile = file.TokenFile
	}
	if c.tokenFile == "" && a.file == "" {
		c.tokenFile = variable(a.environ, "SMTPLB_ADMIN__TOKEN_FILE")
	}
	token, err := readToken(c.tokenFile)
	if err != nil && a.tokenFile != "" {
		return fmt.Errorf("--token-file: %w", err)
	}
	c.token, c.noToken = token, err
	return nil
}

// trusting accepts what certificates of a file have signed.
func trusting(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the administrator names it
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca: %s: must hold certificates in PEM", file)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, nil
}

// trustingCertificate accepts the certificate of admin.tls.cert, which need not
// name the address: whoever reads the file knows whom it is to speak to. One that
// was renewed since is accepted if it is for the same names, and signed by whom
// this machine trusts.
func trustingCertificate(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the administrator names it
	if err != nil {
		return nil, fmt.Errorf("admin.tls.cert: %w", err)
	}
	known, err := firstCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("admin.tls.cert: %s: %w", file, err)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies
		VerifyConnection: func(state tls.ConnectionState) error {
			return sameOrRenewed(known, state.PeerCertificates, text)
		},
	}, nil
}

// sameOrRenewed reads whom this machine trusts only where it has to: that would be
// most of the work of ha check, which runs every second.
func sameOrRenewed(known *x509.Certificate, got []*x509.Certificate, file []byte) error {
	if len(got) == 0 {
		return errors.New("no certificate was shown")
	}
	if got[0].Equal(known) {
		return nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	roots.AppendCertsFromPEM(file)
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range got[1:] {
		options.Intermediates.AddCert(c)
	}
	names := known.DNSNames
	for _, ip := range known.IPAddresses {
		names = append(names, ip.String())
	}
	err = errors.New("it is for none of the names of admin.tls.cert")
	for _, name := range names {
		options.DNSName = name
		if _, err = got[0].Verify(options); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the certificate is not that of admin.tls.cert: %w; if the file was renewed, SIGHUP has it read again", err)
}
