#!/usr/bin/env bash
# sbom.sh DIR VERSION writes beside each program in DIR what modules it is made of,
# as CycloneDX: what go version -m says, read from the program itself. Without a
# serial number and a time, so that the same program has the same list.
set -euo pipefail
dir=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for program in smtplb smtpbench; do
	${GO:-go} tool -modfile=internal/tools/go.mod cyclonedx-gomod bin -json -std -noserial -notimestamp \
		-version "$2" -output "$dir/$program.cdx.json" "$dir/$program"
done
