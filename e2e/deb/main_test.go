//go:build deb

package deb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const (
	// dirVariable names the directory that the first process has made for the one
	// in the Debian's network.
	dirVariable = "DEB_TEST_DIR"
	// suiteVariable is the Debian to test with; bookworm has the oldest systemd.
	suiteVariable = "DEB_TEST_SUITE"

	buildTime = 10 * time.Minute
	testTime  = 10 * time.Minute
)

// The first process makes what needs the network and the module cache: the
// Debian and the packages. The tests run in a second one, in namespaces of its
// own: when that ends, everything in them does.
func TestMain(m *testing.M) {
	if os.Getenv(dirVariable) != "" {
		os.Exit(m.Run())
	}
	code, err := supervise()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e/deb:", err)
		code = 1
	}
	os.Exit(code)
}

func supervise() (code int, err error) {
	if err := able(); err != nil {
		if os.Getenv("CI") == "true" {
			return 1, err
		}
		fmt.Println("skipped:", err)
		return 0, nil
	}
	dir, err := os.MkdirTemp("", "smtplb-deb-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	began := time.Now()
	if err := prepare(dir); err != nil {
		return 1, err
	}
	fmt.Printf("the Debian and the packages took %.0f s\n", time.Since(began).Seconds())

	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	inside := append([]string{
		"--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", `ip link set lo up && exec "$@"`, "sh",
	}, os.Args...)
	cmd := exec.CommandContext(ctx, "unshare", inside...)
	cmd.Env = append(os.Environ(), dirVariable+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) && ctx.Err() == nil {
		return exit.ExitCode(), nil
	} else if err != nil {
		return 1, err
	}
	return 0, nil
}

// able tells what is missing here.
func able() error {
	if os.Geteuid() != 0 {
		return errors.New("booting a Debian takes root")
	}
	for _, program := range []string{"mmdebstrap", "lintian", "unshare", "nsenter", "ip", "dpkg-deb", "swaks"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: e2e/install-deps.sh deb installs it", err)
		}
	}
	return nil
}

// The versions of the packages: before, after, and before again to the byte.
var built = []struct{ dir, version string }{{"before", "v1.0.0"}, {"after", "v1.0.1"}, {"again", "v1.0.0"}}

// prepare makes in dir a Debian, root, and the packages, each in a directory.
func prepare(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), buildTime)
	defer cancel()
	root := make(chan error, 1)
	go func() { root <- debootstrap(ctx, filepath.Join(dir, "root")) }()
	return errors.Join(packages(ctx, dir), <-root)
}

func debootstrap(ctx context.Context, root string) error {
	suite := os.Getenv(suiteVariable)
	if suite == "" {
		suite = "bookworm"
	}
	return quietly(ctx, nil, "mmdebstrap", "--quiet", "--variant=apt", "--include=systemd-sysv",
		"--aptopt=Acquire::Languages none", "--dpkgopt=force-unsafe-io", suite, root)
}

func packages(ctx context.Context, dir string) error {
	for i, b := range built {
		to := filepath.Join(dir, b.dir)
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
		err := quietly(ctx, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-buildvcs=false",
			"-ldflags", "-X main.version="+b.version, "-o", to, "smtplb/cmd/smtplb", "smtplb/cmd/smtpbench")
		if err != nil {
			return err
		}
		// Whatever is of the builder and not of the build must not matter.
		env := []string{"SOURCE_DATE_EPOCH=1700000000", "TZ=Pacific/Auckland"}
		script := "umask 077; exec ../../deploy/deb/build.sh \"$@\""
		if i == 0 {
			env[1], script = "TZ=UTC", "umask 022; exec ../../deploy/deb/build.sh \"$@\""
		}
		if err := quietly(ctx, env, "sh", "-c", script, "sh", to, b.version); err != nil {
			return err
		}
	}
	return nil
}

// quietly runs a command of which only a failure is of interest.
func quietly(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
	}
	return nil
}
