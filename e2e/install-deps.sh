#!/usr/bin/env bash
# Installs the programs that the black-box tests drive: Postfix and its
# smtp-source and smtp-sink, swaks, curl, node, Chromium, iproute2, nftables,
# keepalived, BIRD, jq and promtool from Debian, Haraka from npm.
# With the argument deb also what e2e/deb needs: mmdebstrap and lintian.
# Does nothing where they are there; where it cannot install, it says what is
# missing. With CI=true something missing is an error, so that no test is passed
# over unseen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

export PATH="$PATH:/usr/sbin:/sbin"

# program and the Debian package that brings it
needed=(postfix:postfix smtp-source:postfix smtp-sink:postfix swaks:swaks curl:curl node:nodejs npm:npm chromium:chromium
	ip:iproute2 nft:nftables keepalived:keepalived bird:bird2 birdc:bird2 jq:jq)
[[ ${1:-} != deb ]] || needed+=(mmdebstrap:mmdebstrap lintian:lintian)

programs=() # missing ones
packages=()
look() {
	local entry program package
	programs=() packages=()
	for entry in "${needed[@]}"; do
		program=${entry%%:*} package=${entry#*:}
		command -v "$program" >/dev/null && continue
		programs+=("$program")
		[[ " ${packages[*]} " == *" $package "* ]] || packages+=("$package")
	done
}

# give_up says what is missing and why it stays so.
give_up() {
	echo "e2e: missing: $1 ($2)" >&2
	[[ -z ${3:-} ]] || echo "e2e: $3" >&2
	echo "e2e: tests that need that cannot run" >&2
	[[ ${CI:-} == true ]] && exit 1
	exit 0
}

lack_packages() {
	give_up "${programs[*]}" "$1" "on Debian: sudo apt-get install --no-install-recommends ${packages[*]}"
}

litter=() # what must not stay, however this ends
trap '[[ ${#litter[@]} -eq 0 ]] || rm -rf "${litter[@]}"' EXIT

# The tests run a Postfix of their own, with their own configuration. "No
# configuration" leaves the system's without main.cf, and a service without that
# does not start, now or at boot; the policy keeps the package's scripts from
# starting anything meanwhile.
forbid_services() {
	local policy=/usr/sbin/policy-rc.d
	[[ -e $policy ]] && return
	litter+=("$policy")
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

install_packages() {
	look
	[[ ${#programs[@]} -eq 0 ]] && return
	command -v apt-get >/dev/null || lack_packages "not a Debian system"
	[[ $(id -u) -eq 0 ]] || lack_packages "not root"

	echo "e2e: installing ${packages[*]}" >&2
	export DEBIAN_FRONTEND=noninteractive
	forbid_services
	apt-get update -qq </dev/null || true # perhaps the lists here are good enough
	if [[ " ${packages[*]} " == *" postfix "* ]]; then
		# debconf-set-selections comes with debconf, which apt needs itself.
		echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
	fi
	# The package would have a BIRD run at every boot, which sets the machine's routes.
	if [[ " ${packages[*]} " == *" bird2 "* && -d /etc/systemd/system && ! -e /etc/systemd/system/bird.service ]]; then
		ln -s /dev/null /etc/systemd/system/bird.service
	fi
	# --no-remove: another mail server on this machine is not put out for a test.
	apt-get install -qq -y --no-install-recommends --no-remove "${packages[@]}" </dev/null >&2 ||
		lack_packages "apt-get failed"

	look
	[[ ${#programs[@]} -eq 0 ]] || lack_packages "not in the packages installed"
}

# install_haraka puts it where the tests look for it, in the user's cache, at
# the versions that haraka/package-lock.json pins with their sums. Nothing of
# what npm fetches is run here.
install_haraka() {
	local version cache target new
	version=$(sed -n 's/.*"haraka": "\(.*\)".*/\1/p' haraka/package.json)
	cache=${XDG_CACHE_HOME:-${HOME:?is needed for its .cache}/.cache}/smtplb
	target=$cache/haraka-$version
	cmp -s haraka/package-lock.json "$target/package-lock.json" && return

	echo "e2e: installing Haraka $version in $target" >&2
	mkdir -p "$cache"
	new=$(mktemp -d "$target.XXXXXX")
	litter+=("$new")
	cp haraka/package.json haraka/package-lock.json "$new"
	npm ci --prefix "$new" --ignore-scripts --omit=dev --omit=optional --no-audit --no-fund \
		--no-update-notifier --no-progress --loglevel=error </dev/null >&2 ||
		give_up "Haraka $version" "npm failed"
	rm -rf "$target"
	mv -T "$new" "$target"
}

# install_promtool takes the one program out of the Debian package: the package
# itself would run a Prometheus at every boot.
install_promtool() {
	local cache dir
	command -v promtool >/dev/null && return
	cache=${XDG_CACHE_HOME:-${HOME:?is needed for its .cache}/.cache}/smtplb
	[[ -x $cache/promtool ]] && return

	echo "e2e: installing promtool in $cache" >&2
	mkdir -p "$cache"
	dir=$(mktemp -d)
	litter+=("$dir" "$cache/promtool.new")
	# As root apt would drop to a user who may not write there.
	(cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root prometheus </dev/null >&2) ||
		{ apt-get update -qq </dev/null >&2 && cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root prometheus </dev/null >&2; } ||
		give_up promtool "apt-get download failed"
	dpkg-deb --fsys-tarfile "$dir"/prometheus_*.deb | tar -xO ./usr/bin/promtool >"$cache/promtool.new"
	chmod 755 "$cache/promtool.new"
	mv "$cache/promtool.new" "$cache/promtool"
}

install_packages
install_haraka
install_promtool
