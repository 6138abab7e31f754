package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"

	"smtplb/proxy"
)

// Server answers on Address. Set the fields, then call Listen and Serve; change
// no field afterwards. The functions are called for each request, several at a
// time, and must not block; one that is nil has nothing to tell. The methods are
// safe for concurrent use.
type Server struct {
	// Address is where it listens. One off loopback needs a Token.
	Address netip.AddrPort

	// Inherited is a listener of Address that is open already; Listen makes it
	// the server's own. nil: Address is bound.
	Inherited net.Listener

	// Token is what changing needs, and off loopback reading too; "": none.
	Token string

	// TLS, with a certificate, makes it HTTPS; nil: HTTP.
	TLS *tls.Config

	Pools     func() []Pool                   // the pools now
	Listeners func() []Listener               // the listeners now
	Names     func() []Name                   // what relays are found under now
	Cluster   func() *Cluster                 // the agreement with other balancers now; nil: there are none
	Stats     func() proxy.Stats              // the proxy's counts now
	Ready     func() (ok bool, reason string) // whether clients are accepted now, and why not; nil: they are

	// Sessions lists the sessions that run now, as proxy.Server.Sessions does. It
	// may wait for the event loops until its context ends.
	Sessions func(context.Context, proxy.SessionQuery) (proxy.SessionList, error)

	// Reload applies the configuration file as it is now: all of it, or nothing
	// with an error that joins every mistake, ErrNoFile or ErrStopping. A reload
	// that has begun goes on when the context ends.
	Reload func(context.Context) (Reloaded, error)

	Version   string    // of the program
	StartedAt time.Time // of the program; zero: when Listen is called

	// OnError, if set, is told of what goes wrong outside a request's answer. It
	// may be called by several goroutines at a time.
	OnError func(error)

	now   func() time.Time // nil: time.Now
	began time.Time        // set by Listen

	observations observations
	events       events
	feed         *feed       // set by Listen
	refused      atomic.Bool // the last reload

	mu       sync.Mutex
	listener net.Listener
	bound    net.Listener // under listener
	http     *http.Server
	stopped  bool
}

// Bounds of what one client may cost. The descriptors are the balancer's, too.
const (
	maxConnections    = 100
	maxHeader         = 16 << 10
	maxBody           = 4 << 10
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = time.Minute
)

// Listen checks the fields and binds Address. The error names all that is wrong.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil || s.stopped {
		return errors.New("admin: Listen on a server that was started before")
	}
	if err := s.check(); err != nil {
		return err
	}
	s.began = s.StartedAt
	if s.began.IsZero() {
		s.began = s.time()
	}
	s.feed = newFeed(s)
	handler, err := s.handler()
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	listener := s.Inherited
	if listener == nil {
		listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", s.Address.String())
		if err != nil {
			return fmt.Errorf("admin: address %s: %w", s.Address, err)
		}
	}
	s.bound = listener
	s.listener = netutil.LimitListener(listener, maxConnections)
	s.http = &http.Server{
		Handler:           handler,
		TLSConfig:         s.TLS.Clone(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(lines(s.report), "", 0),
	}
	return nil
}

// check returns every mistake in the fields, joined.
func (s *Server) check() error {
	var errs []error
	switch {
	case !s.Address.IsValid():
		errs = append(errs, errors.New("admin: no address: give one, such as 127.0.0.1:9925"))
	case !s.loopback() && s.Token == "":
		errs = append(errs, fmt.Errorf("admin: address %s is off loopback and there is no token: whoever reaches it could "+
			"drain every relay; give a token, or an address such as 127.0.0.1:9925", s.Address))
	}
	if !sendable(s.Token) {
		errs = append(errs, errors.New("admin: token: must be printable ASCII without spaces, as it is sent in a header"))
	}
	if t := s.TLS; t != nil && len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil {
		errs = append(errs, errors.New("admin: TLS without a certificate"))
	}
	return errors.Join(errs...)
}

// Addr is where it listens, with the port that the kernel chose; the zero value
// before Listen.
func (s *Server) Addr() netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return netip.AddrPort{}
	}
	if a, ok := s.listener.Addr().(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

// Socket returns a duplicate of the listening socket, closed on exec, which is the
// caller's to close: another process can answer there from now on, too.
func (s *Server) Socket() (fd int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn, ok := s.bound.(syscall.Conn)
	if !ok {
		return -1, errors.New("admin: there is no socket to give")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("admin: %w", err)
	}
	var dupErr error
	err = raw.Control(func(own uintptr) { fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) })
	if err = errors.Join(err, dupErr); err != nil {
		return -1, fmt.Errorf("admin: duplicate of the socket: %w", err)
	}
	return fd, nil
}

// Serve answers requests. It returns http.ErrServerClosed once Shutdown was
// called, at once and without waiting for it, or what went wrong.
func (s *Server) Serve() error {
	s.mu.Lock()
	server, listener, stopped := s.http, s.listener, s.stopped
	s.mu.Unlock()
	switch {
	case stopped:
		return http.ErrServerClosed
	case server == nil:
		return errors.New("admin: Serve without Listen")
	}
	s.feed.keepHistory()
	if s.TLS != nil {
		return server.ServeTLS(listener, "", "")
	}
	return server.Serve(listener)
}

// Shutdown stops accepting, ends the streams, and waits for answers under way, or
// until ctx ends: then it cuts them and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	server, listener := s.http, s.listener
	s.stopped = true
	s.mu.Unlock()
	if server == nil {
		return nil
	}
	s.feed.close()
	err := server.Shutdown(ctx)
	if err != nil {
		_ = server.Close()
	}
	_ = listener.Close() // the server does not know it before Serve
	return err
}

// loopback reports whether only this machine reaches the server.
func (s *Server) loopback() bool { return s.Address.Addr().Unmap().IsLoopback() }

func (s *Server) time() time.Time {
	if s.now != nil {
		return s.now()
	}
	return time.Now()
}

func (s *Server) report(err error) {
	if s.OnError != nil {
		s.OnError(fmt.Errorf("admin: %w", err))
	}
}

// lines takes what a log.Logger writes, a line at a time.
type lines func(error)

func (l lines) Write(line []byte) (int, error) {
	l(errors.New(strings.TrimSpace(string(line))))
	return len(line), nil
}

// Println makes it the logger of promhttp.
func (l lines) Println(v ...any) { l(errors.New(strings.TrimSpace(fmt.Sprintln(v...)))) }
