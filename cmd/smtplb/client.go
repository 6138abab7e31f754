package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// Bounds of a request.
const (
	askTimeout     = 10 * time.Second
	reloadPatience = 3 * time.Minute // the server answers before that, whatever comes of it
	largestAnswer  = 64 << 20
)

// client asks a running smtplb.
type client struct {
	named string // the address as the user knows it
	base  string // scheme, host and port
	tls   *tls.Config

	token     string
	tokenFile string // "": none is known
	noToken   error  // why it could not be read
}

// problem is an answer that is an error.
type problem struct {
	Title  string   `json:"title"`
	Status int      `json:"status"`
	Detail string   `json:"detail"`
	Near   []string `json:"near"`
	Errors []string `json:"errors"`
}

// Error is the detail, with the names that may have been meant.
func (p *problem) Error() string {
	text := p.Detail
	if len(p.Near) > 0 {
		text += ": did you mean " + strings.Join(p.Near, " or ") + "?"
	}
	for _, e := range p.Errors {
		text += "\n" + e
	}
	return text
}

// get asks for a path; the answer is JSON.
func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	return c.ask(ctx, http.MethodGet, path, askTimeout)
}

// post has something done; the answer is JSON.
func (c *client) post(ctx context.Context, path string, patience time.Duration) ([]byte, error) {
	return c.ask(ctx, http.MethodPost, path, patience)
}

func (c *client) ask(ctx context.Context, method, path string, patience time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	// The library writes there that an answer came before it was asked for; that is
	// an error here, said in our words.
	log.SetOutput(io.Discard)
	// No proxy: the program is on this machine, or in its network.
	transport := &http.Transport{TLSClientConfig: c.tls, DisableKeepAlives: true}
	answer, err := (&http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(request)
	if err != nil {
		return nil, c.unreached(err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	body, err := io.ReadAll(io.LimitReader(answer.Body, largestAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: the answer broke off: %w", c.named, err)
	}
	return body, c.judge(answer, body)
}

// judge says what is wrong with an answer.
func (c *client) judge(answer *http.Response, body []byte) error {
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")) // what is none is not ours
	if answer.StatusCode == http.StatusOK && kind == "application/json" {
		return nil
	}
	var p problem
	if kind != "application/problem+json" || json.Unmarshal(body, &p) != nil || p.Detail == "" {
		if bytes.Contains(body, []byte("HTTP request to an HTTPS server")) {
			return fmt.Errorf("%s answers by TLS: give --address https://%s, with --ca where needed, or --config", c.named, strings.TrimPrefix(c.base, "http://"))
		}
		return c.stranger("it answered " + answer.Status)
	}
	if answer.StatusCode == http.StatusUnauthorized {
		return c.unauthorized()
	}
	return &p
}

// stranger says that what answers is something else.
func (c *client) stranger(what string) error {
	return fmt.Errorf("what answers at %s is no smtplb: %s; --address or --config says where it is", c.named, what)
}

func (c *client) unauthorized() error {
	switch {
	case c.token != "":
		return fmt.Errorf("%s refused the token of %s: it must be the file that its admin.token_file names, as it was at the start of smtplb", c.named, c.tokenFile)
	case c.noToken != nil:
		return fmt.Errorf("%s wants the token, and it cannot be read: %w", c.named, c.noToken)
	default:
		return fmt.Errorf("%s wants the token: give --token-file FILE, the file that its admin.token_file names, or --config FILE", c.named)
	}
}

// unreached says in plain words why there was no answer.
func (c *client) unreached(err error) error {
	var unknownHost *net.DNSError
	var signer x509.UnknownAuthorityError
	var name x509.HostnameError
	var certificate *tls.CertificateVerificationError
	switch text := err.Error(); {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody answers at %s: is smtplb running there? --address or --config says where it is", c.named)
	case errors.As(err, &unknownHost):
		return fmt.Errorf("%s: the name %s is not known: %s", c.named, unknownHost.Name, unknownHost.Err)
	case strings.Contains(text, "HTTP response to HTTPS client"):
		return fmt.Errorf("%s answers without TLS: give --address http://%s, and neither --ca nor --insecure", c.named, strings.TrimPrefix(c.base, "https://"))
	case strings.Contains(text, "malformed HTTP"), strings.Contains(text, "readLoopPeekFail"), // it spoke before it was asked
		strings.Contains(text, "first record does not look like a TLS handshake"), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return c.stranger("it does not speak HTTP")
	case errors.As(err, &name):
		return fmt.Errorf("%s: %w: give the address by a name of its certificate, or --config", c.named, name)
	case errors.As(err, &signer), errors.As(err, &certificate):
		return fmt.Errorf("%s: %w: give --ca FILE, --config FILE or --insecure", c.named, errors.Unwrap(err))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s did not answer in time: is it the right address?", c.named)
	default:
		return fmt.Errorf("%s: %w", c.named, errors.Unwrap(err))
	}
}

// firstCertificate is the first one of a PEM file.
func firstCertificate(text []byte) (*x509.Certificate, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("must hold a certificate in PEM")
}
