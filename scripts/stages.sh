# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
# Stages of .ci/run and make full: one after the other, also behind one that
# failed, and the sum of their counts.  Sourced by bash scripts only, at the top
# of the repository.

stages_log=$(mktemp)
trap 'rm -f "$stages_log"' EXIT
stages_passed=0 stages_failed=0 stages_skipped=0 stages_bad=()

# stage NAME COMMAND...: prints its minutes.  Its last line of counts is added
# up; where there is none, the stage counts as a case by its status.
stage()
{
	local name=$1 start=$SECONDS status counts passed=0 failed=0 skipped=0
	shift
	echo "== $name"
	"$@" 2>&1 | tee "$stages_log"
	status=${PIPESTATUS[0]}
	counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$stages_log" |
		tail -1)
	if [ -n "$counts" ]; then
		read -r passed _ failed _ skipped _ <<< "$counts"
	elif [ "$status" = 0 ]; then
		passed=1
	fi
	[ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
	stages_passed=$((stages_passed + passed))
	stages_failed=$((stages_failed + failed))
	stages_skipped=$((stages_skipped + skipped))
	[ "$failed" = 0 ] || stages_bad+=("$name")
	awk -v n="$name" -v t=$((SECONDS - start)) \
		'BEGIN { printf "== %s: %.1f minutes\n\n", n, t / 60 }'
}

# The last line, and whether all is well.
stages_sum_up()
{
	[ $stages_failed = 0 ] || echo "failed: ${stages_bad[*]}"
	echo "$stages_passed passed, $stages_failed failed, $stages_skipped skipped"
	[ $stages_failed = 0 ]
}
