package smtptest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// defaultTimeout bounds each single wait of a client made by Dial.
const defaultTimeout = 30 * time.Second

// wireChunk is the most that one write hands to the kernel, so that a large
// message on a slow path has many deadlines rather than one.
const wireChunk = 256 << 10

// ReplyError is a reply that refuses.
type ReplyError struct {
	Command string // "greeting", "EHLO", "MAIL", "RCPT", "DATA", "message", ...
	Code    int
	Text    string // without the codes; lines separated by "\n"
}

func (e *ReplyError) Error() string {
	return fmt.Sprintf("smtptest: %s refused: %d %s", e.Command, e.Code, e.Text)
}

// Outgoing is a message to send.
type Outgoing struct {
	From string   // "" is sender@client.test
	To   []string // none is recipient@relay.test
	ID   string   // goes into Body, and into the Ledger
	Size int      // for Body, if there is no Body yet
	// Body is the message; nil is Body(ID, Size). One that does not end with CRLF
	// is sent with one.
	Body []byte
	// Chunked sends it with BDAT (RFC 3030), in two chunks, rather than DATA.
	Chunked bool
}

// content is the message as it leaves and as its sum is taken.
func (m Outgoing) content() []byte {
	content := m.Body
	if content == nil {
		content = Body(m.ID, m.Size)
	}
	if !bytes.HasSuffix(content, []byte("\r\n")) {
		content = append(bytes.Clone(content), '\r', '\n')
	}
	return content
}

// Client is one SMTP connection seen from the client's end. One goroutine at a
// time may use it; Close may be called from any.
type Client struct {
	conn *net.TCPConn
	in   *bufio.Reader
	out  *bufio.Writer

	greeting    []byte // verbatim; nil until a reply was read
	greetingErr error
	refusal     *ReplyError
	hello       bool
}

// Dial connects, and closes the connection when the test ends. Every wait, for
// the connection, for a reply, for room to write, is bounded by 30 s.
func Dial(tb TB, addr string) *Client {
	tb.Helper()
	c, err := DialTimeout(addr, defaultTimeout)
	if err != nil {
		tb.Fatalf("%v", err)
		return nil
	}
	tb.Cleanup(c.Close)
	return c
}

// DialTimeout connects without a test. Each single wait, for the connection, for
// a reply, for room to write, is bounded by timeout.
func DialTimeout(addr string, timeout time.Duration) (*Client, error) {
	return DialFrom(netip.Addr{}, addr, timeout)
}

// DialFrom is DialTimeout from a given local address; any of 127.0.0.0/8 can be
// had. The zero Addr leaves the choice to the kernel.
func DialFrom(local netip.Addr, addr string, timeout time.Duration) (*Client, error) {
	dialer := net.Dialer{Timeout: timeout}
	if local.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("smtptest: %w", err)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("smtptest: dial %s gave a %T, want a *net.TCPConn", addr, conn)
	}
	w := wire{tcp, timeout}
	return &Client{conn: tcp, in: bufio.NewReader(w), out: bufio.NewWriter(w)}, nil
}

// wire bounds each read and each piece of a write by timeout.
type wire struct {
	conn    *net.TCPConn
	timeout time.Duration
}

func (w wire) Read(p []byte) (int, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(w.timeout)); err != nil {
		return 0, err
	}
	return w.conn.Read(p)
}

func (w wire) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		if err := w.conn.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
			return written, err
		}
		n, err := w.conn.Write(p[:min(len(p), wireChunk)])
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// Conn is the connection itself, for half-closes, resets and early bytes.
func (c *Client) Conn() *net.TCPConn { return c.conn }

// Close drops the connection without a word.
func (c *Client) Close() { _ = c.conn.Close() } // closing twice is no error here

// Greeting returns the whole greeting, of one line or many, verbatim. It reads
// it at the first call. With an error it returns the part that came.
func (c *Client) Greeting() (string, error) {
	err := c.greetingErr
	if c.greeting == nil {
		_, _, err = c.ReadReply()
	}
	if err != nil {
		err = fmt.Errorf("smtptest: greeting: %w", err)
	}
	return string(c.greeting), err
}

// ReadReply reads the next reply; the first one is the greeting. text has the
// lines without their codes, separated by "\n". The end of the connection is
// io.EOF between replies, io.ErrUnexpectedEOF within one.
func (c *Client) ReadReply() (code int, text string, err error) {
	raw, code, text, err := readReply(c.in)
	if c.greeting == nil && len(raw) > 0 {
		c.greeting, c.greetingErr = raw, err
		if err == nil && code != 220 {
			c.refusal = &ReplyError{"greeting", code, text}
		}
	}
	return code, text, err
}

// readReply returns the reply of RFC 5321, 4.2, that in begins with, and its
// bytes, as far as they came.
func readReply(in *bufio.Reader) (raw []byte, code int, text string, err error) {
	var lines []string
	for {
		line, err := in.ReadSlice('\n')
		raw = append(raw, line...)
		if err != nil {
			if errors.Is(err, io.EOF) && len(raw) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return raw, 0, "", err
		}
		bare := strings.TrimRight(string(line), "\r\n")
		digits := bare[:min(3, len(bare))]
		number, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || len(digits) < 3 || (len(bare) > 3 && bare[3] != ' ' && bare[3] != '-') {
			return raw, 0, "", fmt.Errorf("smtptest: %q is not an SMTP reply line", bare)
		}
		if code != 0 && code != int(number) {
			return raw, 0, "", fmt.Errorf("smtptest: reply changes its code from %d to %d", code, number)
		}
		code = int(number)
		lines = append(lines, bare[min(4, len(bare)):])
		if len(bare) == 3 || bare[3] == ' ' {
			return raw, code, strings.Join(lines, "\n"), nil
		}
	}
}

// Cmd sends one command line, without its CRLF in format, and reads the reply.
// It reads the greeting first, if nobody has.
func (c *Client) Cmd(format string, args ...any) (code int, text string, err error) {
	if _, err := c.Greeting(); err != nil {
		return 0, "", err
	}
	_, _ = fmt.Fprintf(c.out, format+"\r\n", args...) // Flush returns the error too
	if err := c.out.Flush(); err != nil {
		return 0, "", fmt.Errorf("smtptest: write: %w", err)
	}
	return c.ReadReply()
}

// expect is Cmd with one welcome code.
func (c *Client) expect(want int, command, argument string) error {
	code, text, err := c.Cmd("%s%s", command, argument)
	return verdict(want, command, code, text, err)
}

func verdict(want int, what string, code int, text string, err error) error {
	if err != nil {
		return fmt.Errorf("smtptest: reply to %s: %w", what, err)
	}
	if code != want {
		return &ReplyError{what, code, text}
	}
	return nil
}

// Send sends one message, after greeting and EHLO the first time, and waits for
// its 250. A refusal is a *ReplyError, and the connection can send the next
// message after it, if the relay keeps it open; any other error ends the
// connection's use. [Unsure] tells what the error means for the message.
func (c *Client) Send(m Outgoing) error {
	err := c.begin(m)
	if err == nil {
		err = c.transfer(m)
	}
	var refused *ReplyError
	if errors.As(err, &refused) && refused.Code != 421 && c.hello {
		_, _, _ = c.Cmd("RSET") // if that fails too, the next message shows it
	}
	return err
}

// begin goes up to the last RCPT.
func (c *Client) begin(m Outgoing) error {
	if _, err := c.Greeting(); err != nil {
		return err
	}
	if c.refusal != nil {
		return c.refusal
	}
	if !c.hello {
		if err := c.expect(250, "EHLO", " client.test"); err != nil {
			return err
		}
		c.hello = true
	}
	from, to := m.From, m.To
	if from == "" {
		from = "sender@client.test"
	}
	if len(to) == 0 {
		to = []string{"recipient@relay.test"}
	}
	if err := c.expect(250, "MAIL", " FROM:<"+from+">"); err != nil {
		return err
	}
	for _, recipient := range to {
		if err := c.expect(250, "RCPT", " TO:<"+recipient+">"); err != nil {
			return err
		}
	}
	return nil
}

// transfer goes from DATA or BDAT to the reply to the message.
func (c *Client) transfer(m Outgoing) error {
	content := m.content()
	if m.Chunked {
		half := len(content) / 2
		_, _ = fmt.Fprintf(c.out, "BDAT %d\r\n", half) // Flush returns the errors
		_, _ = c.out.Write(content[:half])
		if err := c.out.Flush(); err != nil {
			return fmt.Errorf("smtptest: write: %w", err)
		}
		code, text, err := c.ReadReply()
		if err := verdict(250, "BDAT", code, text, err); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(c.out, "BDAT %d LAST\r\n", len(content)-half)
		_, _ = c.out.Write(content[half:])
	} else {
		if err := c.expect(354, "DATA", ""); err != nil {
			return err
		}
		writeDotted(c.out, content)
	}
	if err := c.out.Flush(); err != nil {
		// The end of the message did not leave, so the relay cannot have it.
		return fmt.Errorf("smtptest: write message: %w", err)
	}
	code, text, err := c.ReadReply()
	if err != nil {
		return &unsureError{fmt.Errorf("smtptest: reply to message: %w", err)}
	}
	return verdict(250, "message", code, text, nil)
}

// unsureError marks the failures after which the relay may have the message.
type unsureError struct{ error }

func (e *unsureError) Unwrap() error { return e.error }

// Unsure reports whether err, from Send, leaves open if the relay has taken the
// message: the connection broke between the end of the message and the reply. Sending it again may make two of it (RFC 1047).
func Unsure(err error) bool {
	var unsure *unsureError
	return errors.As(err, &unsure)
}

// writeDotted writes the message with dots put before those that begin a line,
// and the final dot (RFC 5321, 4.5.2). Errors stay in out.
func writeDotted(out *bufio.Writer, content []byte) {
	if len(content) > 0 && content[0] == '.' {
		_ = out.WriteByte('.')
	}
	for {
		i := bytes.Index(content, []byte("\r\n."))
		if i < 0 {
			break
		}
		_, _ = out.Write(content[:i+2])
		_ = out.WriteByte('.')
		content = content[i+2:]
	}
	_, _ = out.Write(content)
	_, _ = out.WriteString(".\r\n")
}

// Quit sends QUIT, expects 221 and then the peer's close, and closes.
func (c *Client) Quit() error {
	defer c.Close()
	if err := c.expect(221, "QUIT", ""); err != nil {
		return err
	}
	if _, err := c.in.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("more bytes came")
		}
		return fmt.Errorf("smtptest: after the reply to QUIT: %w, want the end of the connection", err)
	}
	return nil
}
