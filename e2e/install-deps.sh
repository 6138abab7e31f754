#!/usr/bin/env bash
# Installs the programs that the black-box tests drive: smtp-source and
# smtp-sink (Debian's postfix), swaks and curl. Does nothing where they are
# there; where it cannot install, it says what is missing. With CI=true
# something missing is an error, so that no test is passed over unseen.
set -euo pipefail

export PATH="$PATH:/usr/sbin:/sbin"

# program and the Debian package that brings it
needed=(smtp-source:postfix smtp-sink:postfix swaks:swaks curl:curl)

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
	echo "e2e: missing: ${programs[*]} ($1)" >&2
	echo "e2e: on Debian: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
	echo "e2e: tests that need them cannot run" >&2
	[[ ${CI:-} == true ]] && exit 1
	exit 0
}

# Postfix is wanted for its test programs only. "No configuration" leaves it
# without main.cf, and a service without that does not start, now or at boot;
# the policy keeps the package's scripts from starting anything meanwhile.
forbid_services() {
	local policy=/usr/sbin/policy-rc.d
	[[ -e $policy ]] && return
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f /usr/sbin/policy-rc.d' EXIT
}

look
[[ ${#programs[@]} -eq 0 ]] && exit 0
command -v apt-get >/dev/null || give_up "not a Debian system"
[[ $(id -u) -eq 0 ]] || give_up "not root"

echo "e2e: installing ${packages[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
forbid_services
apt-get update -qq </dev/null || true # perhaps the lists here are good enough
if [[ " ${packages[*]} " == *" postfix "* ]]; then
	# debconf-set-selections comes with debconf, which apt needs itself.
	echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
fi
# --no-remove: another mail server on this machine is not put out for a test.
apt-get install -qq -y --no-install-recommends --no-remove "${packages[@]}" </dev/null >&2 ||
	give_up "apt-get failed"

look
[[ ${#programs[@]} -eq 0 ]] || give_up "not in the packages installed"
