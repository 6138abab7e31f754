package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a new one: who is at it, and the program's side.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// shows tells whether the terminal shows what is typed.
func shows(t *testing.T, terminal *os.File) bool {
	t.Helper()
	is, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return is.Lflag&unix.ECHO != 0
}

// interrupter is Ctrl-C by whoever is asked for the password.
type interrupter struct{ asked bool }

func (i *interrupter) Write(text []byte) (int, error) {
	if bytes.Contains(text, []byte("Password of root")) {
		i.asked = true
		return len(text), syscall.Kill(os.Getpid(), syscall.SIGINT)
	}
	return len(text), nil
}

// Ctrl-C at the password leaves a terminal that shows what is typed again, and
// nothing written.
func TestSetupInterruptedAtThePassword(t *testing.T) {
	person, program := terminal(t)
	dir := t.TempDir()
	answers := []string{"lb-a", "eth0", "192.0.2.11/24", "none", "none", "none", "10.10.1.11", "10.10.0.0/16", "none"}
	if _, err := person.WriteString(strings.Join(answers, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
	var out interrupter
	var errs strings.Builder
	status := run(t.Context(), []string{"setup", "--into", dir}, streams{in: program, out: &out, err: &errs}, nil)
	if !out.asked || status != exitError || !strings.Contains(errs.String(), "interrupted: nothing was written") {
		t.Errorf("asked %t, %d: %s", out.asked, status, &errs)
	}
	if !shows(t, program) {
		t.Error("the terminal shows nothing that is typed from now on")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("written: %v, %v", entries, err)
	}
}
