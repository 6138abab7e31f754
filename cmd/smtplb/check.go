package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"smtplb/internal/config"
)

func newCheckCommand(std streams, environ []string) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Find every error in a configuration file",
		Long: "Prints every error in the file, with its line and what would be right, and exits with 1 if there is any.\n" +
			"Warnings are no errors; some are about the machine and the user that check is run on and by.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := config.Load(file, environ)
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings {
				_, _ = fmt.Fprintln(std.err, "warning:", w)
			}
			for _, text := range lacksOf(cfg) {
				_, _ = fmt.Fprintln(std.err, "warning: on this machine:", text)
			}
			_, err = fmt.Fprintf(std.out, "%s: ok: %d listeners, %d pools\n", file, len(cfg.Listeners), len(cfg.Pools))
			return err
		},
	}
	configFlag(cmd, &file)
	return cmd
}

// lacksOf is all that this machine, or this user, lacks for a configuration, as far
// as that is known without looking up names.
func lacksOf(cfg *config.Config) []string {
	var texts []string
	forbidden, absent := lacks(cfg)
	for _, err := range slices.Concat(forbidden, absent, secretsLackOf(cfg)) {
		texts = append(texts, err.Error())
	}
	plans, err := planPools(cfg, unlooked)
	if err != nil {
		return texts // said where it matters
	}
	return append(texts, unanswered(cfg, plans)...)
}

// secretsLackOf is what is wrong with the files that hold keys and the token.
func secretsLackOf(cfg *config.Config) (errs []error) {
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	_, err := adminToken(cfg)
	note(err)
	cert, err := newCertificate(cfg.Admin.TLS)
	note(err)
	if text := cert.expired(time.Now()); text != "" {
		note(errors.New(text))
	}
	_, err = clusterKey(&cfg.Cluster)
	note(err)
	return errs
}
