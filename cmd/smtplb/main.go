// Command smtplb is a TCP load balancer for SMTP; see smtplb help.
package main

import (
	"context"
	"io"
	"os"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}, os.Environ()))
}

// streams are where a command reads and writes. Results go to out; log lines
// and errors to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}
