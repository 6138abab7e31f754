// Command smtpbench tests mail systems under load; see smtpbench help.
package main

import (
	"context"
	"io"
	"os"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// streams are where a command reads and writes. Results go to out; progress,
// notices and errors to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}
