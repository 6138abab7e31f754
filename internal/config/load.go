package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// maxSize bounds the file: a hundred times what a large site writes.
const maxSize = 1 << 20

// Load reads the file at path and the variables of environ ("NAME=value", as
// os.Environ gives them). A file that cannot be read wraps the reason of the
// operating system; what is wrong in it is an Errors.
func Load(path string, environ []string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, environ)
}

// readFile reads at most maxSize bytes, whatever the path turns out to be.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		reason := err
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			reason = pe.Err
		}
		return nil, fmt.Errorf("%s: cannot be read: %w", path, reason)
	}
	defer func() { _ = f.Close() }() // nothing was written that could be lost
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	if info.IsDir() {
		return nil, Errors{{File: path, Want: "is a directory: must be a file, such as " + strings.TrimRight(path, "/") + "/smtplb.yaml"}}
	}
	if info.Size() > maxSize {
		return nil, tooLarge(path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	return data, nil
}

func tooLarge(file string) Errors {
	return Errors{{File: file, Want: "is larger than 1 MiB: must be the configuration file"}}
}

// Parse reads a configuration from the bytes of a file, which it calls
// filename in errors, and the variables of environ. It opens nothing. On error
// it returns no Config and an Errors that holds all that is wrong.
func Parse(filename string, data []byte, environ []string) (*Config, error) {
	cfg, r, err := read(filename, data, environ)
	if err != nil {
		return nil, err
	}
	errs, warnings := r.result()
	if len(errs) > 0 {
		return nil, errs
	}
	cfg.Warnings = warnings
	return cfg, nil
}

// read is a configuration with what is wrong in it, as far as it could be read:
// an error says that it could not be at all.
func read(filename string, data []byte, environ []string) (*Config, *report, error) {
	if len(data) > maxSize {
		return nil, nil, tooLarge(filename)
	}
	if p := checkText(data); p != nil {
		p.File = filename
		return nil, nil, Errors{*p}
	}
	root, p := parseYAML(data)
	if p != nil {
		p.File = filename
		return nil, nil, Errors{*p}
	}

	r := newReport(filename)
	k := koanf.New(".")
	values := r.section(root, reflect.TypeFor[Config](), "")
	if err := k.Load(confmap.Provider(values, ""), nil); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", filename, err)
	}
	if err := r.loadEnvironment(k, environ); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", filename, err)
	}
	cfg := defaultConfig()
	r.decode(k, &cfg)
	cfg.fillNames()
	r.checkListeners(&cfg)
	r.checkPools(&cfg)
	r.checkAdmin(cfg.Admin)
	r.checkDNS(&cfg.DNS)
	r.checkCluster(&cfg)
	r.between("workers", cfg.Workers, 0, 256)
	return &cfg, r, nil
}

// lineAt is the line, from 1, of an offset.
func lineAt(data []byte, offset int) int {
	return 1 + bytes.Count(data[:offset], []byte{'\n'})
}
