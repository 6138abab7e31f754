package source

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestConfigSaysEverythingThatIsWrong(t *testing.T) {
	good := Config{Targets: []string{"127.0.0.1:25"}, Concurrency: 1}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	exchange := Exchange("a:25", "b:25")
	if err := exchange.Check(); err != nil || exchange.Concurrency != 40 {
		t.Errorf("%v, concurrency %d", err, exchange.Concurrency)
	}
	for want, change := range map[string]func(*Config){
		"no target":                                      func(c *Config) { c.Targets = nil },
		`target "a:b"`:                                   func(c *Config) { c.Targets = []string{"a:b"} },
		"concurrency 0 and rate 0: exactly one":          func(c *Config) { c.Concurrency = 0 },
		"concurrency 1 and rate 5: exactly one":          func(c *Config) { c.Rate = 5 },
		"rate NaN: want at most":                         func(c *Config) { c.Rate = math.NaN() },
		"rate -1: must not be negative":                  func(c *Config) { c.Concurrency, c.Rate = 0, -1 },
		"concurrency -1: must not be negative":           func(c *Config) { c.Concurrency = -1 },
		"messages -1: must not be negative":              func(c *Config) { c.Messages = -1 },
		"tries of a message -2: must not be negative":    func(c *Config) { c.Retry = -2 },
		"timeout -1: must not be negative":               func(c *Config) { c.Timeout = -time.Second },
		`sender "anna": want an address`:                 func(c *Config) { c.From = "anna" },
		`recipient "a@b\r\nDATA": want an address`:       func(c *Config) { c.To = "a@b\r\nDATA" },
		`recipient "a@b> NOTIFY=NEVER": want an address`: func(c *Config) { c.To = "a@b> NOTIFY=NEVER" },
		`helo name "a b": want a host name`:              func(c *Config) { c.HELO = "a b" },
	} {
		cfg := good
		change(&cfg)
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	all := Config{Concurrency: 1, Rate: 1, Messages: -1, From: "x"}
	if err := all.Check(); err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("%v, want four errors", err)
	}
}

func TestDefaultsFillOnlyWhatIsNotSet(t *testing.T) {
	cfg := Config{Retry: 3, Timeout: time.Second}.withDefaults()
	if cfg.Retry != 3 || cfg.Timeout != time.Second || cfg.MessagesPerSession != 1 || cfg.ConnectTimeout != DefaultConnectTimeout || cfg.HELO == "" {
		t.Errorf("%+v", cfg)
	}
}
