# SPDX-License-Identifier: GPL-2.0-only
# Tables of results, for the scripts that measure.
# shellcheck shell=bash disable=SC2034,SC2154

results=$build/bench/results	# what programs printed: ROW <tab> UNIT <tab> NUMBER
status=0			# 1: a goal is not reached
mkdir -p "$results"

# prepare KERNEL...: build those, and the programs
prepare()
{
	local kernel
	"$top/scripts/setup" bench
	"$top/scripts/prepare-peer"
	"$top/scripts/build-selftests" ours
	for kernel; do
		"$top/scripts/build-kernel" "$kernel"
	done
}

# compare NAME TITLE THEIRS: a table of two results, and the goals of its rows.
# A goal with % is that much of theirs.  Status 1 where one is not reached.
compare()
{
	awk -F '\t' -v OFS='\t' -v name="$1" -v theirs="$3" '
	FNR == 1 { file++ }
	/^#/ || NF == 0 { next }
	file == 1 { if ($1 == name) goal[$2] = $3; next }
	file == 2 { unit[$1] = $2; a[$1] = $3; order[++n] = $1; next }
	{ b[$1] = $3 }
	END {
		print "row", "unit", "ours", theirs, "ratio", "goal", ""
		for (i = 1; i <= n; i++) {
			row = order[i]
			limit = row in goal ? goal[row] : "-"
			if (sub(/%$/, "", limit))
				limit = row in b ? b[row] * limit / 100 : "-"
			miss = limit != "-" && a[row] > limit + 0
			missed += miss
			print row, unit[row], a[row], row in b ? b[row] : "-", \
				b[row] && a[row] ? \
				sprintf("%.*f", b[row] < 2 * a[row] ? 3 : 1, \
					b[row] / a[row]) : "-", \
				limit, miss ? "not reached" : ""
		}
		exit missed != 0
	}' "$top/tests/goals" "$results/$1.ours" "$results/$1.theirs" \
		> "$build/bench/$1.tsv" || status=1
	show "$1" "$2"
}

# show NAME TITLE: print a table
show()
{
	printf '\n%s\n\n' "$2"
	column -t -s "$(printf '\t')" "$build/bench/$1.tsv"
}

# median FILE...: a file of the medians of each row's numbers
median()
{
	awk -F '\t' -v OFS='\t' '
	!($1 in unit) { order[++n] = $1; unit[$1] = $2 }
	{ number[$1, ++count[$1]] = $3 }
	END {
		for (i = 1; i <= n; i++) {
			row = order[i]
			for (j = 2; j <= count[row]; j++) {
				x = number[row, j]
				for (k = j - 1; k && number[row, k] > x; k--)
					number[row, k + 1] = number[row, k]
				number[row, k + 1] = x
			}
			print row, unit[row], number[row, int((count[row] + 1) / 2)]
		}
	}' "$@"
}
