#!/usr/bin/env bash
# vuln.sh [PACKAGES] looks for known vulnerabilities that the packages (./... by
# default) call. A finding is a failure. The database is the Go project's, or the
# one at GOVULNDB, file:///DIR say.
#
# Where the Go project's cannot be reached nothing was checked: that is said, and is
# no failure, so that a machine without a network can build. One that GOVULNDB names
# must be there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# govulncheck finds nothing in a directory that is no database, or not there.
if [[ ${GOVULNDB:-} == file://* && ! -f ${GOVULNDB#file://}/index/db.json ]]; then
	echo "vuln: GOVULNDB=$GOVULNDB: no index/db.json there: it must be the root of a database" >&2
	exit 1
fi

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
status=0
${GO:-go} tool -modfile=internal/tools/go.mod govulncheck ${GOVULNDB:+-db "$GOVULNDB"} "${@:-./...}" 2>"$errors" || status=$?
cat "$errors" >&2
if [[ $status -eq 0 || -n ${GOVULNDB:-} ]] || ! grep -q 'fetching vulnerabilities: ' "$errors"; then
	exit "$status"
fi
echo "vuln: NOT CHECKED: the vulnerability database is out of reach, so nothing is known about findings" >&2
