package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// role, set in the environment, makes of the test binary a program to run.
const role = "SMTPLB_PROC_ROLE"

// spun is what each spinning thread uses up.
const spun = 150 * time.Millisecond

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		goleak.VerifyTestMain(m)
	case "spin":
		spin(spun)
		say("done")
		select {}
	case "parent":
		if err := parent(); err != nil {
			say(err.Error())
			os.Exit(1)
		}
		select {}
	case "stubborn":
		signal.Ignore(unix.SIGTERM)
		say("done")
		select {}
	case "fail":
		say("a reason")
		os.Exit(3)
	case "cpus":
		cpus, err := Available()
		say(fmt.Sprint(cpus, " ", err))
	}
}

func say(text string) { fmt.Fprintln(os.Stdout, text) }

// spin uses up CPU time on a thread that ends before it returns.
func spin(d time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocks: the thread ends here
		var ts unix.Timespec
		for time.Duration(ts.Nano()) < d {
			_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
		}
	}()
	<-done
}

// parent has a child spin and then spins itself.
func parent() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(exe)
	child.Env = append(os.Environ(), role+"=spin")
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		return err
	}
	if n, err := out.Read(make([]byte, 16)); n == 0 {
		return errors.Join(errors.New("the child says nothing"), err)
	}
	spin(spun)
	say(fmt.Sprintf("child %d", child.Process.Pid))
	return nil
}
