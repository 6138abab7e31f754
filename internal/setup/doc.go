// Package setup turns the answers of whoever sets up an appliance into its files:
// the network's, the firewall's, smtplb's and keepalived's.
//
//	a, err := setup.Read("setup.yaml", text, machine) // what cloud-init brought
//	a, err := setup.Ask(console, machine)             // or a person at the console
//	files, err := a.Files()
//
// Both ways ask the same questions under the same rules, and the same answers make
// the same files. A wrong answer is refused with what would be right.
//
// It reads, writes and runs nothing: what the machine has goes in as a Machine,
// files come out as values. Where they go, and what has to be told, is cmd's.
package setup
