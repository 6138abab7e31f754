package setup

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const shortestPassword = 10

// password asks for root's, twice.
func (c Console) password(a *Answers) (string, error) {
	empty := "nobody can log in here"
	if c.Before != nil {
		empty = "as before"
	}
	for {
		first, err := c.secret("Password of root at this console (empty: " + empty + "): ")
		if err != nil || first == "" {
			return "", err
		}
		if err := passwordError(first, a.Hostname); err != nil {
			fmt.Fprintf(c.Out, "  No: %s\n", err)
			continue
		}
		second, err := c.secret("The same again: ")
		if err != nil {
			return "", err
		}
		if second == first {
			return first, nil
		}
		fmt.Fprintln(c.Out, "  No: the two are different: must be the same, typed twice")
	}
}

// secret asks for a line that is not shown, even where it is typed too early.
func (c Console) secret(ask string) (string, error) {
	if err := c.Quiet(); err != nil {
		return "", err
	}
	fmt.Fprint(c.Out, ask)
	text, err := c.Secret()
	fmt.Fprintln(c.Out)
	return text, err
}

func passwordError(password, hostname string) error {
	const longest = 200
	switch {
	case utf8.RuneCountInString(password) < shortestPassword:
		return fmt.Errorf("too short: must have %d characters or more", shortestPassword)
	case len(password) > longest:
		return fmt.Errorf("too long: must have %d characters at most", longest)
	case strings.ContainsFunc(password, unicode.IsControl) || !utf8.ValidString(password):
		return errors.New("must be of letters, digits, blanks and signs")
	case strings.EqualFold(password, hostname):
		return errors.New("is the name of the appliance: must be another one")
	default:
		return nil
	}
}
