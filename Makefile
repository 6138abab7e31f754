# Everything a person does with this tree. Tools are pinned in
# internal/tools/go.mod and built by go itself; nothing is installed but what
# the black-box tests drive (e2e/install-deps.sh).
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
TOOL := $(GO) tool -modfile=internal/tools/go.mod
VERSION ?= $(shell git describe --tags --always --abbrev=12 --dirty 2>/dev/null || echo dev)
# Of tests that make test leaves to a target of their own; the linters see them.
TAGS := deb,appliance
TESTFLAGS ?=
TESTTIMEOUT ?= 15m
FUZZTIME ?= 3s
FOR ?= 2m
SEED ?=
RACE ?=
SENDERS ?= 6
FUZZFOR ?=

# smtp-source and smtp-sink live where only root looks.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help run build reproducible sbom vuln man deb appliance appliance-reproducible test chaos e2e-ha e2e-deb e2e-appliance deps lint bench compare fuzz fuzz-keep clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build, then start the demo: three relays behind 127.0.0.1:2525
	bin/smtplb demo

# -trimpath and -buildvcs=false keep the place of the tree and the state of git out
# of the programs; twelve digits of the commit, as git's own choice goes by how
# much there is in a clone.
build: ## build bin/smtplb and bin/smtpbench, static binaries
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/smtplb ./cmd/smtpbench

reproducible: ## build the commit in two different places: the programs must be the same to the byte
	@GO='$(GO)' internal/tools/reproduce.sh

sbom: build ## list what modules each program is made of, in bin/*.cdx.json (CycloneDX)
	@internal/tools/sbom.sh bin $(VERSION)

vuln: ## look for known vulnerabilities in what the programs call
	@internal/tools/vuln.sh

man: build ## the manual pages, in bin/man
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || date +%s) bin/smtplb man bin/man/man8
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || date +%s) bin/smtpbench man bin/man/man1

deb: build ## the Debian package, bin/smtplb_VERSION_ARCH.deb
	@deploy/deb/build.sh bin '$(VERSION)'

appliance: deb ## the appliance, disk images to boot, in bin/appliance; needs root
	@deploy/appliance/install-deps.sh
	@deploy/appliance/build.sh bin/smtplb_*.deb

appliance-reproducible: deb ## build what is in the appliance twice: packages and files must be the same
	@deploy/appliance/install-deps.sh
	@deploy/appliance/reproduce.sh bin/smtplb_*.deb

test: deps ## every test, with the race detector; the black-box ones too
	$(GO) test -race -timeout $(TESTTIMEOUT) $(TESTFLAGS) ./...

# The test bounds itself, so that go's limit of ten minutes does not.
chaos: ## everything around it goes wrong for FOR (2m), as SEED says (something new); RACE=1 with the race detector; needs root
	@e2e/install-deps.sh
	$(GO) test -count=1 -v -timeout 0 -run '^TestChaos$$' ./e2e/chaos -chaos.for=$(FOR) -chaos.senders=$(SENDERS) \
		$(if $(SEED),-chaos.seed=$(SEED)) $(if $(RACE),-chaos.race)

e2e-ha: deps ## what happens to mail when one of two balancers fails, or of several (ECMP), case by case; needs root
	E2E_FIGURES=1 $(GO) test -count=1 -v -parallel 1 -timeout $(TESTTIMEOUT) -run '^(TestTwoBalancersShareAnAddress|TestSeveralBalancersAnnounceAnAddress)$$' ./e2e | grep -v '^ *\(===\|---\)'

e2e-deb: ## the package in a Debian of its own, under its systemd; needs root
	@e2e/install-deps.sh deb
	$(GO) test -tags deb -count=1 $(TESTFLAGS) -timeout $(TESTTIMEOUT) ./e2e/deb

e2e-appliance: ## boot bin/appliance, set it up in every way, send mail through it; needs root
	@deploy/appliance/install-deps.sh
	$(GO) test -tags appliance -count=1 $(TESTFLAGS) -timeout $(TESTTIMEOUT) ./e2e/appliance

deps:
	@e2e/install-deps.sh
	@bench/compare/install-peers.sh

lint: ## gofmt, go vet, staticcheck, golangci-lint
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt -w needed:" $$unformatted >&2; exit 1; }
	$(GO) vet -tags $(TAGS) ./...
	$(TOOL) staticcheck -tags $(TAGS) ./...
	$(TOOL) golangci-lint run --allow-parallel-runners --build-tags $(TAGS) ./...

bench: ## Go benchmarks, with allocations
	$(GO) test -run '^$$' -bench . -benchmem ./...

compare: build ## measure smtplb beside HAProxy, nginx and io.Copy: a table, and bin/compare.html
	@bench/compare/install-peers.sh
	bin/smtpbench compare --html bin/compare.html --json bin/compare.json

fuzz: ## each fuzz target for FUZZTIME (3s, or 10000x), or all together for FUZZFOR (1h)
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' FUZZFOR='$(FUZZFOR)' internal/tools/fuzz.sh

fuzz-keep: ## take what fuzzing on this machine found that is new into testdata/fuzz
	@GO='$(GO)' internal/tools/fuzz.sh keep

clean: ## remove what was built
	rm -rf bin
	find . -name .git -prune -o -type f \( -name '*.out' -o -name '*.test' -o -name '*.prof' -o -name '*.pprof' \) -exec rm -f {} +
