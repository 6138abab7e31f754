package chaos

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"smtplb/internal/smtptest"
)

// A relay is a process of its own, this test's program once more, so that it can be
// killed and hung like any other. Before it answers a message it writes it down in
// a file, as a mail server has it in its queue: what stands there it has taken,
// however it ended.

// relayVariable holds a relayOrder for a process that is to be a relay.
const relayVariable = "SMTPLB_CHAOS_RELAY"

type relayOrder struct{ Address, Journal string }

// receipt is a line of the file.
type receipt struct {
	ID  string
	Sum string
	At  time.Time
}

// How long a relay takes with a message, before and after it has written it down.
// A connection that breaks in the second time is RFC 1047's case: the relay has the
// message, and nobody was told.
const (
	thinks  = 15 * time.Millisecond
	answers = 10 * time.Millisecond
)

// beRelay is the life of such a process: it reads scripts, a line each, and ends with
// its input.
func beRelay(text string) error {
	var order relayOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return err
	}
	journal, err := os.OpenFile(order.Journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer journal.Close()
	scripted := func(s smtptest.Script) smtptest.Script {
		s.EndOfDataDelay = thinks
		s.OnMessage = func(m smtptest.Message) {
			line, err := json.Marshal(receipt{m.ID, hex.EncodeToString(m.Sum[:]), time.Now()})
			if err == nil {
				_, err = journal.Write(append(line, '\n'))
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "journal:", err)
				os.Exit(1) // rather than say 250
			}
			time.Sleep(answers)
		}
		return s
	}
	relay, err := smtptest.Listen(order.Address, scripted(smtptest.Script{}))
	if err != nil {
		return err
	}
	defer relay.Close()
	fmt.Println("ready")
	orders := json.NewDecoder(os.Stdin)
	for {
		var s smtptest.Script
		if err := orders.Decode(&s); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		relay.SetScript(scripted(s))
		fmt.Println("done")
	}
}

// relay is such a process, seen from the test.
type relay struct {
	relaySpec
	lab     *lab
	order   relayOrder
	journal string

	mu  sync.Mutex // one fault at a time
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func newRelay(l *lab, n int, dir string) (*relay, error) {
	spec := relays()[n]
	journal := filepath.Join(dir, spec.name+".journal")
	r := &relay{relaySpec: spec, lab: l, journal: journal, order: relayOrder{relayAddress(n), journal}}
	err := r.start()
	return r, err
}

// start returns when it listens.
func (r *relay) start() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	order, err := json.Marshal(r.order)
	if err != nil {
		return err
	}
	r.cmd = exec.Command("ip", "netns", "exec", r.lab.prefix+r.name, program)
	r.cmd.Env = append(os.Environ(), relayVariable+"="+string(order))
	r.cmd.Stderr = os.Stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	r.out = bufio.NewReader(out)
	if err := r.cmd.Start(); err != nil {
		return err
	}
	return r.answered("ready")
}

func (r *relay) answered(want string) error {
	line, err := r.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		return fmt.Errorf("relay %s says %q: %w", r.name, line, err)
	}
	return nil
}

// script holds for connections from now on.
func (r *relay) script(s smtptest.Script) error {
	text, err := json.Marshal(struct {
		Greeting       string
		ByteByByte     time.Duration
		Fault          smtptest.Fault
		EndOfDataReply string
		ResetAfterDot  bool
	}{s.Greeting, s.ByteByByte, s.Fault, s.EndOfDataReply, s.ResetAfterDot})
	if err != nil {
		return err
	}
	if _, err := r.in.Write(append(text, '\n')); err != nil {
		return err
	}
	return r.answered("done")
}

// kill ends it as a crash does.
func (r *relay) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait() // killed
}

func (r *relay) signal(s syscall.Signal) error { return r.cmd.Process.Signal(s) }

// stop ends it for good.
func (r *relay) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.in.Close()
	return r.cmd.Wait()
}

// taken are the messages that the relay has, however often it was killed.
func (r *relay) taken() (all []receipt, err error) {
	text, err := os.ReadFile(r.journal)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		var one receipt
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", r.journal, line, err)
		}
		all = append(all, one)
	}
	return all, nil
}
