#!/usr/bin/env bash
# build.sh DIR VERSION makes the Debian package of the programs in DIR, and prints
# where it is: DIR/smtplb_DEBIANVERSION_ARCH.deb, the only one there. VERSION is what
# git describe says. The same programs give the same package to the byte:
# SOURCE_DATE_EPOCH, or else the commit, is the time of everything in it.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC
dir=$(realpath "$1")
version=$2
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
DEB_ARCH=$(${GO:-go} env GOARCH)
DEB_VERSION=$(deploy/deb/version.sh "$version" "$SOURCE_DATE_EPOCH")
DEB_MAINTAINER=${DEB_MAINTAINER:-smtplb maintainers <smtplb@packages.example.org>}
STAGE=$(mktemp -d)
export DEB_ARCH DEB_VERSION DEB_MAINTAINER STAGE
trap 'rm -rf "$STAGE"' EXIT

mkdir "$STAGE"/{bash,zsh,fish}
section=8 # smtplb is for administrators
for program in smtplb smtpbench; do
	cp "$dir/$program" "$STAGE"
	"$dir/$program" man "$STAGE/man/man$section" >"$STAGE/log"
	"$dir/$program" completion bash >"$STAGE/bash/$program"
	"$dir/$program" completion zsh >"$STAGE/zsh/_$program"
	"$dir/$program" completion fish >"$STAGE/fish/$program.fish"
	section=1
done
cat >"$STAGE/changelog" <<END
smtplb ($DEB_VERSION) unstable; urgency=medium

  * Version $version: what changed is told by git log.

 -- $DEB_MAINTAINER  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
gzip -9n "$STAGE"/changelog "$STAGE"/man/man*/*

rm -f "$dir"/smtplb_*.deb
package=$dir/smtplb_${DEB_VERSION}_$DEB_ARCH.deb
${GO:-go} tool -modfile=internal/tools/nfpm/go.mod nfpm package --config deploy/deb/nfpm.yaml --packager deb --target "$package" >"$STAGE/log" ||
	{ cat "$STAGE/log" >&2; exit 1; }
echo "$package"
