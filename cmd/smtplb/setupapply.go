package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"smtplb/internal/config"
	"smtplb/internal/setup"
)

// apply writes all files and has them take effect. The one that says that it is
// done is written last: whatever ends it before that, the next boot starts over.
func (s *settingUp) apply(ctx context.Context, asked *setup.Asked, m setup.Machine) error {
	files, err := asked.Files()
	if err != nil {
		return err
	}
	if _, err := config.Parse(setup.Config, []byte(textOf(files, setup.Config)), nil); err != nil {
		return fmt.Errorf("these answers make a configuration that smtplb does not take: %w", err)
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if s.firstBoot && s.done() {
		return errElsewhere
	}
	if err := s.untouched(m, textOf(files, setup.Config)); err != nil {
		return err
	}
	if err := s.write(asked, files); err != nil {
		return fmt.Errorf("not set up: %w", err)
	}
	if s.into != "" {
		return nil
	}
	if err := s.start(ctx, asked); err != nil {
		return fmt.Errorf("%w; the files are written: a restart of the machine may do", err)
	}
	if s.answers != "" {
		_, err := fmt.Fprintf(s.std.out, "smtplb: set up as %s says\n", s.answers)
		return err
	}
	return s.farewell(ctx, asked)
}

func textOf(files []setup.File, path string) string {
	i := slices.IndexFunc(files, func(f setup.File) bool { return f.Path == path })
	if i < 0 {
		return ""
	}
	return files[i].Text
}

// lock keeps two consoles from writing at a time.
func (s *settingUp) lock() (unlock func(), err error) {
	if s.into != "" {
		return func() {}, nil
	}
	const private = 0o600
	f, err := os.OpenFile("/run/smtplb-setup.lock", os.O_CREATE|os.O_RDWR, private)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.Name(), err), f.Close())
	}
	return func() { _ = f.Close() }, nil // nothing was written to it
}

// untouched is an error if smtplb.yaml is not what the answers of the last time
// have made of it, nor what it is to be: it is that where a set-up was cut short.
func (s *settingUp) untouched(m setup.Machine, next string) error {
	before, errBefore := os.ReadFile(s.path(setup.Done))
	is, errIs := os.ReadFile(s.path(setup.Config))
	if s.force || errors.Is(errBefore, fs.ErrNotExist) || errors.Is(errIs, fs.ErrNotExist) {
		return nil
	}
	if err := errors.Join(errBefore, errIs); err != nil {
		return err
	}
	if string(is) == next {
		return nil
	}
	if a, err := setup.Read(setup.Done, before, m); err == nil {
		if files, err := a.Files(); err == nil && textOf(files, setup.Config) == string(is) {
			return nil
		}
	}
	return fmt.Errorf("%s has been edited since it was set up, and would be replaced: change it there, or say --force", setup.Config)
}

// write has every file there, whole, or the error says which is not.
func (s *settingUp) write(asked *setup.Asked, files []setup.File) error {
	secrets, err := s.secrets(asked.Answers)
	if err != nil {
		return err
	}
	last := len(files) - 1
	for _, f := range append(secrets, files[:last]...) {
		if err := s.put(f); err != nil {
			return err
		}
	}
	if asked.Password != "" && s.into == "" {
		if err := feed("root:"+asked.Password+"\n", "chpasswd"); err != nil {
			return err
		}
		syscall.Sync()
	}
	return s.put(files[last])
}

// feed runs a program with something to read.
func feed(text, name string, args ...string) error {
	cmd := exec.Command(name, args...) //nolint:noctx // it must not be left in the middle
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// put replaces a file, or removes it. It is on the disk when put returns.
func (s *settingUp) put(f setup.File) error {
	const directory = 0o755
	name := s.path(f.Path)
	if f.Text == "" {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, directory); err != nil {
		return err
	}
	if err := s.replace(dir, name, f); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *settingUp) replace(dir, name string, f setup.File) error {
	const readable, secret fs.FileMode = 0o644, 0o640
	next, err := os.CreateTemp(dir, ".setup-*")
	if err != nil {
		return err
	}
	_, err = next.WriteString(f.Text)
	mode := readable
	if f.Secret {
		mode = secret
		err = errors.Join(err, s.toGroup(next))
	}
	err = errors.Join(err, next.Chmod(mode), next.Sync(), next.Close())
	if err == nil {
		err = os.Rename(next.Name(), name)
	}
	if err != nil {
		_ = os.Remove(next.Name()) // it says less than what went wrong
	}
	return err
}

// toGroup gives a file to the group that smtplb runs as.
func (s *settingUp) toGroup(f *os.File) error {
	if s.into != "" {
		return nil
	}
	g, err := user.LookupGroup("smtplb")
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	return f.Chown(0, gid)
}

// start has the files take effect.
func (s *settingUp) start(ctx context.Context, asked *setup.Asked) error {
	for _, c := range commands(asked.Answers) {
		if out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(c, " "), err, bytes.TrimSpace(out))
		}
	}
	if err := loadOwnRules(ctx, setup.OwnRules); err != nil {
		_, _ = fmt.Fprintf(s.std.err, "smtplb: firewall rules of your own are not in force, all others are: %v\n", err)
	}
	return nil
}

// loadOwnRules has the firewall rules in the administrator's files take effect, if
// there are any, as nftables.service does at a start: all of them or none.
func loadOwnRules(ctx context.Context, pattern string) error {
	if files, err := filepath.Glob(pattern); err != nil || len(files) == 0 {
		return err
	}
	if out, err := exec.CommandContext(ctx, "nft", "-f", setup.OwnRulesLoader).CombinedOutput(); err != nil {
		return fmt.Errorf("nft -f %s: %w: %s", setup.OwnRulesLoader, err, bytes.TrimSpace(out))
	}
	return nil
}

// commands have the files of the answers take effect, one after the other.
func commands(a *setup.Answers) [][]string {
	const keepalived = "keepalived.service"
	all := [][]string{
		{"hostname", a.Hostname},
		{"nft", "-f", setup.Firewall},
	}
	if !a.Peer.IsValid() {
		// It takes the VIP away when it ends, which the network brings from now on.
		all = append(all, []string{"systemctl", "stop", keepalived})
	}
	if !a.Keep {
		all = append(all, []string{"networkctl", "reload"}, []string{"networkctl", "reconfigure", a.Interface})
	}
	all = append(all, []string{"systemctl", "--no-block", "reload-or-restart", "smtplb.service"})
	if a.Peer.IsValid() {
		all = append(all, []string{"systemctl", "--no-block", "reload-or-restart", keepalived})
	}
	return all
}

// farewell tells what a person needs from here on.
func (s *settingUp) farewell(ctx context.Context, asked *setup.Asked) error {
	s.reach(ctx, asked.Relays)
	token, errToken := os.ReadFile(s.path(setup.Token))
	text, errText := os.ReadFile(s.path(setup.Certificate))
	if err := errors.Join(errToken, errText); err != nil {
		return err
	}
	cert, err := firstCertificate(text)
	if err != nil {
		return err
	}
	url := asked.AdminURL()
	if url == "" {
		url = fmt.Sprintf("https://THE-ADDRESS-OF-DHCP:%d/", setup.AdminPort)
	}
	_, err = fmt.Fprintf(s.std.out, "\nThe appliance is set up.\n\n"+
		"  admin page    %s\n  its token     %s\n  fingerprint   %X\n                (SHA-256 of its certificate)\n\n",
		url, bytes.TrimSpace(token), sha256.Sum256(cert.Raw))
	return err
}
