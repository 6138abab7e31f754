package handover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

const patience = 30 * time.Second

// mode has the test program be the new process, and says how it does.
const mode = "HANDOVER_TEST_MODE"

func TestMain(m *testing.M) {
	if how := os.Getenv(mode); how != "" {
		os.Exit(beNew(how))
	}
	goleak.VerifyTestMain(m)
}

// beNew is the new process. It writes what it sees into its last file.
func beNew(how string) int {
	if how == "exit" {
		return 3
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	parent, err := Inherit()
	if err != nil || parent == nil {
		fmt.Fprintln(os.Stderr, "new process:", err)
		return 1
	}
	files := parent.Files()
	out := os.NewFile(uintptr(files[len(files)-1].FD), "out")
	switch how {
	case "fail":
		parent.Failed(errors.New("line 3: unknown key"))
		return 1
	case "hang":
		select {}
	case "babble":
		_, _ = parent.file.WriteString("220 relay ESMTP\r\n")
		return 1
	}
	state, err := parent.Prepared(ctx, []string{files[0].Name})
	if err != nil {
		fmt.Fprintln(os.Stderr, "new process:", err)
		return 1
	}
	if how == "die" {
		return 1
	}
	var open []string
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "socket:") {
			open = append(open, filepath.Base(link))
		}
	}
	if err := parent.Serving(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "new process:", err)
		return 1
	}
	_ = json.NewEncoder(out).Encode(seen{
		PID: os.Getpid(), Parent: os.Getppid(), State: state, Open: open, Names: []string{files[0].Name, files[1].Name},
		Known:    parent.Known(),
		Watchdog: os.Getenv("WATCHDOG_USEC") + "/" + os.Getenv("WATCHDOG_PID"), Variable: os.Getenv(variable),
	})
	return 0
}

// seen is what the new process sees.
type seen struct {
	PID, Parent        int
	State, Known       json.RawMessage
	Open, Names        []string
	Watchdog, Variable string
}

// again is this program in a mode.
func again(t *testing.T, how string) Program {
	t.Helper()
	p, err := Again()
	if err != nil {
		t.Fatal(err)
	}
	p.Env = append(p.Env, mode+"="+how, "GORACE=atexit_sleep_ms=0")
	return p
}

// files are a listening socket and a pipe, whose other end is out.
func files(t *testing.T) (all []File, out *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	out = os.NewFile(uintptr(fds[0]), "out")
	t.Cleanup(func() {
		_ = unix.Close(fds[1])
		_ = unix.Close(sock)
		_ = out.Close()
	})
	return []File{{"socket", sock}, {"out", fds[1]}}, out
}

func TestNewProcessTakesOver(t *testing.T) {
	smtptest.CheckDescriptors(t)
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}) // that must not be inherited
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	given, out := files(t)
	c, err := Start(t.Context(), again(t, "serve"), given, []byte(`{"relay.test":25}`))
	if err != nil {
		t.Fatal(err)
	}
	taken, err := c.Prepared(t.Context())
	if err != nil || !slices.Equal(taken, []string{"socket"}) {
		c.Kill()
		t.Fatalf("prepared: %q, %v", taken, err)
	}
	state := append([]byte(`{"much":"`), bytes.Repeat([]byte("x"), 1<<20)...)
	state = append(state, `"}`...)
	if err := c.Give(t.Context(), state); err != nil {
		c.Kill()
		t.Fatal(err)
	}
	pid := c.PID()
	c.Release()
	defer c.Forget()
	var got seen
	if err := json.NewDecoder(out).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.PID != pid || got.Parent != os.Getppid() {
		t.Errorf("it is process %d of %d, want %d, of this one's parent %d", got.PID, got.Parent, pid, os.Getppid())
	}
	if !bytes.Equal(got.State, state) {
		t.Errorf("%d bytes of state, want %d", len(got.State), len(state))
	}
	if string(got.Known) != `{"relay.test":25}` {
		t.Errorf("it knows %s before it prepares", got.Known)
	}
	if !slices.Equal(got.Names, []string{"socket", "out"}) {
		t.Errorf("files %q", got.Names)
	}
	if want := []string{"3", "4"}; !slices.Equal(got.Open, want) { // the connection, and the file
		t.Errorf("it has sockets at %q, want %q", got.Open, want)
	}
	if got.Watchdog != "30000000/" || got.Variable != "" {
		t.Errorf("watchdog %q, %s=%q", got.Watchdog, variable, got.Variable)
	}
	// It is no child of ours, and has ended once its file is closed.
	if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("wait4: %v, want that it is no child", err)
	}
}

// What is no program, or gives up, costs nothing, and the error says why.
func TestNewProcessThatFailsChangesNothing(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("\x00\x01\x02"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		how  string
		path string
		want string
	}{
		{"exit", "", "has ended before it was ready"},
		{"fail", "", "line 3: unknown key"},
		{"babble", "", "cannot unmarshal"},
		{"die", "", "has ended before it was ready"},
		{"hang", "", "took too long"},
		{"", garbage, "exec format error"},
		{"", filepath.Join(t.TempDir(), "nothing"), "no such file"},
		{"", "/bin/true", "has ended before it was ready"},
	} {
		t.Run(test.how+filepath.Base(test.path), func(t *testing.T) {
			smtptest.CheckDescriptors(t)
			program := again(t, test.how)
			if test.path != "" {
				program.Path = test.path
			}
			given, out := files(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			err := steps(ctx, program, given, func() {
				if test.how == "hang" {
					cancel(errors.New("it took too long"))
				}
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			_ = unix.Close(given[1].FD)
			if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 { // to the end: the process has ended
				t.Errorf("it wrote %q, %v", rest, err)
			}
			given[1].FD, _ = unix.FcntlInt(uintptr(given[0].FD), unix.F_DUPFD_CLOEXEC, given[1].FD) // for the clean-up
		})
	}
}

func steps(ctx context.Context, program Program, given []File, started func()) error {
	c, err := Start(ctx, program, given, nil)
	if err != nil {
		return err
	}
	started()
	if _, err = c.Prepared(ctx); err == nil {
		err = c.Give(ctx, []byte("{}"))
	}
	c.Kill()
	return err
}

func TestInheritWithoutAnOldProcess(t *testing.T) {
	if p, err := Inherit(); p != nil || err != nil {
		t.Errorf("%v, %v: want nothing", p, err)
	}
	for _, value := range []string{"", "x", "7"} {
		t.Setenv(variable, value)
		if _, err := Inherit(); err == nil || !strings.Contains(err.Error(), variable) {
			t.Errorf("%s=%s: %v", variable, value, err)
		}
	}
}
