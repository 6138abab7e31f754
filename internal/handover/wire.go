package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// version of the messages. A new process of another version says so and fails;
// the old one goes on.
const version = 1

// variable tells the new process which descriptor the old one is at.
const variable = "HANDOVER_FD"

const (
	controlFD = 3 // of the new process
	firstFD   = 4 // the files follow each other from here
)

// messageMost bounds what one side sends to the other.
const messageMost = 64 << 20

// message is one step. Exactly one of the fields is set.
type message struct {
	Hello    *hello          `json:"hello,omitempty"`    // old to new
	Prepared *prepared       `json:"prepared,omitempty"` // new to old
	State    json.RawMessage `json:"state,omitempty"`    // old to new
	Serving  bool            `json:"serving,omitempty"`  // new to old
	Released bool            `json:"released,omitempty"` // old to new
	Failed   string          `json:"failed,omitempty"`   // new to old, at any time
}

type hello struct {
	Version int             `json:"version"`
	Files   []string        `json:"files"` // names, by descriptor from firstFD on
	Known   json.RawMessage `json:"known,omitempty"`
}

type prepared struct {
	Taken []string `json:"taken"`
}

// line is one side's end of the connection. It is for one goroutine at a time.
type line struct {
	file *os.File
	in   *json.Decoder
}

func newLine(fd int) *line {
	file := os.NewFile(uintptr(fd), "handover")
	return &line{file: file, in: json.NewDecoder(io.LimitReader(file, messageMost))}
}

func (l *line) send(ctx context.Context, m *message) error {
	defer l.until(ctx)()
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = l.file.Write(text)
	return waited(ctx, err)
}

// receive returns the next message. The other side's failure is an error.
func (l *line) receive(ctx context.Context) (*message, error) {
	defer l.until(ctx)()
	var m message
	switch err := l.in.Decode(&m); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errEnded
	case err != nil:
		return nil, waited(ctx, err)
	case m.Failed != "":
		return nil, &FailedError{m.Failed}
	}
	return &m, nil
}

// until has what is under way end with ctx; what it returns undoes that.
func (l *line) until(ctx context.Context) (undo func()) {
	stop := context.AfterFunc(ctx, func() { _ = l.file.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// waited says why a wait has ended.
func waited(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

var errEnded = errors.New("the other process has ended")

// FailedError is what the new process says of its failure.
type FailedError struct{ Text string }

func (e *FailedError) Error() string { return e.Text }

func unexpected(m *message, want string) error {
	return fmt.Errorf("the other process said %+v, want %s", *m, want)
}
