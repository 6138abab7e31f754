package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"smtplb/internal/admin"
)

const reloadHelp = `Has the running smtplb read its configuration file again: all of it takes effect, and what changed is printed, or
nothing does, and every mistake is. Running sessions go on. It is what SIGHUP does, with an answer.

The file is the one that smtplb was started with; --config only says where to ask.
`

func newReloadCommand(std streams, environ []string) *cobra.Command {
	a := asking{environ: environ}
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the configuration file read again",
		Long:  reloadHelp + askingHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			body, err := c.post(cmd.Context(), "/api/v1/reload", reloadPatience)
			if err != nil {
				return err
			}
			var done admin.Reloaded
			if err := json.Unmarshal(body, &done); err != nil || done.Changes == nil {
				return c.stranger("its answer is another program's")
			}
			text := string(body)
			if !a.json {
				text = reloadedText(&done)
			}
			_, err = fmt.Fprint(std.out, text)
			return err
		},
	}
	a.flags(cmd)
	return cmd
}

// reloadedText is what a reload has led to, for people.
func reloadedText(done *admin.Reloaded) string {
	var b strings.Builder
	if len(done.Changes) == 0 {
		b.WriteString("reloaded: nothing is different\n")
	} else {
		b.WriteString("reloaded:\n")
	}
	for _, c := range done.Changes {
		b.WriteString("  " + harmless(c) + "\n")
	}
	if len(done.NeedsRestart) > 0 {
		b.WriteString("needs a restart:\n")
	}
	for _, c := range done.NeedsRestart {
		b.WriteString("  " + harmless(c) + "\n")
	}
	return b.String()
}
