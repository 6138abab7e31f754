#!/usr/bin/env bash
# Builds the commit that is checked out twice, as two people would: out of a clone
# with the build cache that is there, and out of an archive without git, in a
# directory of another depth, with another home, umask, time zone, file times and
# an empty cache. The programs must be the same to the byte. What is not committed
# is not in it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

GO=${GO:-go}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Modules are read from where they are: both builds would fetch the same ones, by
# go.sum. Everything else of this machine's stays out.
modules=$($GO env GOMODCACHE)
cache=$($GO env GOCACHE)
build() { # DIRECTORY HOME CACHE UMASK [make's arguments]
	local dir=$1 home=$2 cache=$3 mask=$4
	shift 4
	mkdir -p "$home"
	(umask "$mask" && env -u GOFLAGS HOME="$home" GOENV=off GOMODCACHE="$modules" GOCACHE="$cache" \
		make -s -C "$dir" build "$@")
}

one=$work/one
git clone -q --no-hardlinks . "$one"
git -C "$one" checkout -q "$(git rev-parse HEAD)"
build "$one" "$work/home" "$cache" 022
version=$("$one/bin/smtplb" version | cut -d' ' -f2)

two="$work/two, and/quite/somewhere else"
mkdir -p "$two"
git archive HEAD | tar -x -C "$two"
find "$two" -exec touch -d 2001-02-03T04:05:06Z {} +
TZ=Pacific/Auckland build "$two" "$work/another/home" "$work/cache" 077 VERSION="$version"

status=0
for program in smtplb smtpbench; do
	sums=$(sha256sum "$one/bin/$program" "$two/bin/$program" | cut -d' ' -f1 | uniq)
	if [[ $sums == *$'\n'* ]]; then
		echo "reproducible: bin/$program: NOT the same:" $sums >&2
		status=1
	else
		echo "reproducible: bin/$program: $sums"
	fi
done
echo "reproducible: of $version, with $($GO env GOVERSION)"
exit $status
