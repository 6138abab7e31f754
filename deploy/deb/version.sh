#!/usr/bin/env bash
# version.sh VERSION EPOCH makes a Debian version of what git describe says, so that
# of two commits the later one is the higher one:
#
#   v1.2.3              1.2.3
#   v1.2.3-rc1          1.2.3~rc1        before 1.2.3
#   v1.2.3-5-gabcdef    1.2.3+5.gabcdef  after 1.2.3, before 1.2.4
#   abcdef              0.0~git20261125.185006.abcdef  where nothing is tagged: by the
#                       time of the commit, EPOCH, and before any version
#   anything-dirty      ...+dirty        what is not committed is in it
set -euo pipefail
version=$1 epoch=$2

dirty=
if [[ $version == *-dirty ]]; then
	version=${version%-dirty} dirty=+dirty
fi
if [[ $version =~ ^[0-9a-f]{7,40}$ ]]; then
	debian="0.0~git$(date -u -d "@$epoch" +%Y%m%d.%H%M%S).$version"
elif [[ $version =~ ^v?([0-9]+(\.[0-9]+)*)(-([a-zA-Z]+[0-9.]*))?(-([0-9]+)-(g[0-9a-f]+))?$ ]]; then
	m=("${BASH_REMATCH[@]}")
	debian=${m[1]}${m[4]:+~${m[4]}}${m[6]:++${m[6]}.${m[7]}}
elif [[ $version =~ ^[a-zA-Z][a-zA-Z0-9.]*$ ]]; then
	debian="0.0~$version"
else
	echo "version.sh: $version: must be as git describe has it, such as v1.2.3 or v1.2.3-5-gabcdef" >&2
	exit 1
fi
echo "$debian$dirty"
