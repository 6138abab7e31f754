#!/usr/bin/env bash
# Builds what is in the appliance twice, at two times and places, and compares the
# lists of packages, and of files with their sums. Debian's packages are those of
# the day.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
package=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export ROOTFS_ONLY=1
"$here/build.sh" "$package" "$work/one"
TZ=Pacific/Auckland LANG=C "$here/build.sh" "$package" "$work/two, elsewhere"
status=0
for list in packages files; do
	if cmp -s "$work/one/$list.txt" "$work/two, elsewhere/$list.txt"; then
		echo "appliance: $(wc -l <"$work/one/$list.txt") $list, the same in two builds"
	else
		echo "appliance: $list: NOT the same in two builds:" >&2
		{ diff "$work/one/$list.txt" "$work/two, elsewhere/$list.txt" || true; } | sed -n 1,20p >&2
		status=1
	fi
done
exit $status
