#!/usr/bin/env bash
# fuzz.sh runs every fuzz target, one after the other as go test wants it: each for
# FUZZTIME (3s; or a count, 10000x), or all of them together for FUZZFOR (1h, 90m).
# One that fails leaves its input in testdata/fuzz, and the others go on.
#
# fuzz.sh keep takes what the runs on this machine have found into the tree: of
# the inputs in go's cache those that reach code that no input of the tree reaches,
# the shortest first, in testdata/fuzz. From then on every go test runs them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
go=${GO:-go}

# A package's "ok" line comes after the names of its targets.
targets() {
	$go test -list '^Fuzz' ./... | awk '/^Fuzz/ { name[n++] = $1 } /^ok/ { for (i = 0; i < n; i++) print $2, name[i]; n = 0 }'
}

seconds() {
	[[ $1 =~ ^([0-9]+)([smh])$ ]] || { echo "fuzz: FUZZFOR=$1: want a number and s, m or h, such as 1h" >&2; return 1; }
	case ${BASH_REMATCH[2]} in
	s) echo "${BASH_REMATCH[1]}" ;;
	m) echo $((BASH_REMATCH[1] * 60)) ;;
	h) echo $((BASH_REMATCH[1] * 3600)) ;;
	esac
}

run() {
	local each=${FUZZTIME:-3s} all package target failed=()
	all=$(targets)
	[[ -n $all ]] || { echo "fuzz: no targets found" >&2; exit 1; }
	if [[ -n ${FUZZFOR:-} ]]; then
		each=$(seconds "$FUZZFOR")
		each=$(((each + $(wc -l <<<"$all") - 1) / $(wc -l <<<"$all")))s
	fi
	while read -r package target; do
		echo "fuzz: $package $target for $each"
		# Sessions do not reach the same code twice over: a minute of trying to
		# make an input smaller, which is go's default, is lost.
		$go test -run '^$' -fuzz "^$target\$" -fuzztime "$each" -fuzzminimizetime 20x "$package" </dev/null ||
			failed+=("$target")
	done <<<"$all"
	[[ ${#failed[@]} -eq 0 ]] || { echo "fuzz: failed: ${failed[*]}; the inputs are in testdata/fuzz" >&2; exit 1; }
}

# reached lists the blocks that a run of the test binary got to.
reached() { # BINARY PATTERN
	(cd "$work/run" && timeout 60 "$1" -test.run "$2" -test.coverprofile "$work/profile" >/dev/null) || return 1
	awk 'NR > 1 && $3 > 0 { print $1 }' "$work/profile" | sort -u
}

keep() {
	local cache package target dir found
	cache=$($go env GOCACHE)/fuzz
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	while read -r package target; do
		found=$cache/$package/$target
		[[ -d $found ]] || continue
		dir=$($go list -f '{{.Dir}}' "$package")
		rm -rf "$work/run" && mkdir -p "$work/run/testdata/fuzz"
		[[ ! -d $dir/testdata ]] || cp -r "$dir/testdata" "$work/run/"
		$go test -c -cover -coverpkg "$package" -o "$work/binary" "$package"
		reached "$work/binary" "^$target\$" >"$work/known"
		mkdir -p "$work/run/testdata/fuzz/$target"
		local kept=0 tried=0 file name
		while read -r _ file; do
			name=$(basename "$file")
			[[ ! -e $dir/testdata/fuzz/$target/$name ]] || continue
			tried=$((tried + 1))
			cp "$file" "$work/run/testdata/fuzz/$target/$name"
			# One that fails is no corpus but a bug; it is in the tree already.
			if reached "$work/binary" "^$target\$/^$name\$" >"$work/now" && [[ -n $(comm -13 "$work/known" "$work/now") ]]; then
				mkdir -p "$dir/testdata/fuzz/$target"
				cp "$file" "$dir/testdata/fuzz/$target/$name"
				sort -u -o "$work/known" "$work/known" "$work/now"
				kept=$((kept + 1))
			fi
			rm "$work/run/testdata/fuzz/$target/$name"
		done < <(find "$found" -type f -size -16k -printf '%s %p\n' | sort -n)
		echo "fuzz: $package $target: kept $kept of $tried"
	done < <(targets)
}

case ${1:-run} in
run) run ;;
keep) keep ;;
*) echo "fuzz.sh [run|keep]" >&2; exit 2 ;;
esac
