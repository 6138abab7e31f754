package main

import (
	"github.com/spf13/cobra"

	"smtplb/bench/sim"
)

func newSimECMPCommand(std streams) *cobra.Command {
	cfg := sim.DefaultSpread()
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ecmp",
		Short: "Simulate balancers that share one address: how far each one's choice is from a global one",
		Long: "Routers send each session to one of several balancers by its hash (ECMP), and each has smtplb's own choice\n" +
			"of relays over the sessions that it has itself. Each number of balancers is given the same mail, once for each\n" +
			"number of sessions; one balancer is the standard, least connections over all. The same report for the same flags.\n\n" +
			"Loads are by weight, as multiples of the mean: of the worst relay in each second, and of the relay that a\n" +
			"session is given when it begins (seen). \"Too many\" are sessions of the relay that has most beyond its share. At\n" +
			"the end a relay with the highest weight begins to refuse: the last column is how many sessions asked it in\n" +
			"vain within 30 s, as each balancer has to find out by itself; each of them got another relay.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, cost, err := simulated(cmd.Context(), cfg, sim.RunSpread)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(std.out, struct {
					*sim.SpreadReport
					Cost simCost `json:"cost"`
				}{report, cost})
			}
			return report.WriteText(std.out)
		},
	}
	flags := cmd.Flags()
	flags.IntSliceVar(&cfg.Balancers, "balancers", cfg.Balancers, "`numbers` of balancers")
	flags.IntSliceVar(&cfg.Sessions, "sessions", cfg.Sessions, "`numbers` of sessions that run at once, on average")
	flags.IntVar(&cfg.Relays, "relays", cfg.Relays, "relays, the same for every balancer")
	flags.IntVar(&cfg.Weights, "weights", cfg.Weights, "their weights are 1 to this")
	flags.DurationVar(&cfg.For, "for", cfg.For, "how long mail flows")
	flags.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "of the random numbers")
	flags.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}
