#!/usr/bin/env bash
# Installs the balancers that smtpbench compare measures smtplb with: HAProxy,
# and nginx with its stream module. Does nothing where they are there; where it
# cannot install, it says what is missing, and the comparison says so too. It
# starts no service. With CI=true something missing is an error.
set -euo pipefail

export PATH="$PATH:/usr/sbin:/sbin"

missing=() # what is
packages=() # the Debian packages that bring it
look() {
	missing=() packages=()
	command -v haproxy >/dev/null || { missing+=(haproxy); packages+=(haproxy); }
	if ! command -v nginx >/dev/null; then
		missing+=(nginx)
		packages+=(nginx-light libnginx-mod-stream)
	elif ! streams; then
		missing+=("nginx's stream module")
		packages+=(libnginx-mod-stream)
	fi
}

# streams tells whether nginx has the stream module, built in or as a file.
streams() {
	local built modules
	built=$(nginx -V 2>&1)
	[[ $built == *--with-stream=dynamic* ]] || { [[ $built == *--with-stream* ]]; return; }
	modules=${built#*--modules-path=}
	[[ -e ${modules%% *}/ngx_stream_module.so ]]
}

# give_up says what is missing and why it stays so.
give_up() {
	local IFS=,
	echo "compare: missing: ${missing[*]} ($1)" >&2
	IFS=' '
	echo "compare: on Debian: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
	echo "compare: these peers are not measured" >&2
	[[ ${CI:-} == true ]] && exit 1
	exit 0
}

# The programs are wanted, not their services: the policy keeps the packages'
# scripts from starting any, and what they have enabled for the next boot is
# disabled again, for those that were not here before.
forbid_services() {
	local policy=/usr/sbin/policy-rc.d
	[[ -e $policy ]] && return
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f /usr/sbin/policy-rc.d' EXIT
}

look
[[ ${#missing[@]} -eq 0 ]] && exit 0
command -v apt-get >/dev/null || give_up "not a Debian system"
[[ $(id -u) -eq 0 ]] || give_up "not root"

echo "compare: installing ${packages[*]}" >&2
new=("${packages[@]}")
export DEBIAN_FRONTEND=noninteractive
forbid_services
apt-get update -qq </dev/null || true # perhaps the lists here are good enough
apt-get install -qq -y --no-install-recommends --no-remove "${packages[@]}" </dev/null >&2 ||
	give_up "apt-get failed"
if command -v systemctl >/dev/null; then
	[[ " ${new[*]} " == *" haproxy "* ]] && { systemctl disable -q haproxy 2>/dev/null || true; }
	[[ " ${new[*]} " == *" nginx-light "* ]] && { systemctl disable -q nginx 2>/dev/null || true; }
fi

look
[[ ${#missing[@]} -eq 0 ]] || give_up "not in the packages installed"
