// Package manual makes the manual pages of a program of its commands' help.
package manual

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Command writes the pages of the program that it is a command of, for a section
// of the manual: "1", programs, or "8", those of administrators. It is for
// packagers, so help does not show it. SOURCE_DATE_EPOCH is the pages' date where
// it is set.
func Command(section, version string) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a directory",
		Long:   "Writes a manual page for each command, for section " + section + ", into DIR, which is made if need be.",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, root := args[0], cmd.Root()
			if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // pages are for everybody
				return err
			}
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: section, Source: root.Name() + " " + version, Manual: root.Name()}
			if err := doc.GenManTree(root, header, dir); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "man", filepath.Join(dir, root.Name()+"."+section))
			return err
		},
	}
}
