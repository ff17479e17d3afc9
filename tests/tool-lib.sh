# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What the tests of tools/vm/pagemap-scan share: where things are, how they are
# built, and results in TAP.  Sourced, after set -eu, by bash scripts only.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# make says where another kernel tree (KERNEL=/path) is built.
build=${build:-$top/build}
# shellcheck disable=SC2034 # for the scripts that source this
{
linux=${linux:-$build/linux}
built=$build/tool
tool=$built/pagemap-scan
}
# Of what gcc-multilib has, gcc-12-multilib lacks where <asm/...> is.
m32=(-m32 -idirafter "/usr/include/$(gcc -print-multiarch)")

# build_program NAME [OPTION...]: of tests/NAME.c, for 32 and for 64 bits.
build_program()
{
	local name=$1
	shift
	local command=(-O2 -Wall -Wextra -Werror -I"$top/include/uapi"
		"$@" "$top/tests/$name.c")
	gcc "${m32[@]}" -o "$built/${name}32" "${command[@]}"
	gcc -o "$built/${name}64" "${command[@]}"
}

# build_tool: the tool itself, also for 32 bits.
build_tool()
{
	local json
	mkdir -p "$built"
	make -s -C "$linux/tools/vm" pagemap-scan
	cp "$linux/tools/vm/pagemap-scan" "$tool"
	# Debian has json-c for 32 bits in another architecture only; this
	# build is for the rest of the tool.
	mapfile -t json < <(nm -u "$tool" |
		sed -n 's/^ *U \(json_[a-z0-9_]*\).*/-Wl,--defsym=\1=json_is_absent/p')
	gcc "${m32[@]}" -Wall -Wextra -Werror \
		-I"$linux/tools/include/uapi" -I"$linux/tools/include" \
		-o "$tool"32 "${json[@]}" "$linux"/tools/vm/pagemap-scan*.c -lm -x c - \
		<<< 'void json_is_absent(void); void json_is_absent(void) { __builtin_trap(); }'
	gcc -shared -fPIC -O2 -Wall -Wextra -Werror -I"$top/include/uapi" \
		-o "$built/mainline.so" "$top/tests/tool-mainline.c"
}

# require_built FILE: end with a hint where it is missing.
require_built()
{
	[ -x "$1" ] || {
		echo "${0#"$top"/}: not built yet; on the host: ${0#"$top"/} --build" >&2
		exit 1
	}
}

# begin: a directory for the test's own files, and the first line of the TAP.
begin()
{
	work=$(mktemp -d)
	# Some programs run as another user.
	chmod 711 "$work"
	trap 'rm -rf "$work"' EXIT
	echo "TAP version 13"
}

count=0 failed=0
ok() { count=$((count + 1)); echo "ok $count - $1"; }
not_ok()
{
	count=$((count + 1)) failed=$((failed + 1))
	# shellcheck disable=SC2001 # each line
	sed 's/^/# /' <<< "$2"
	echo "not ok $count - $1"
}
skip() { count=$((count + 1)); echo "ok $count - $1 # SKIP $2"; }

# huge_pages: whether the kernel has transparent ones.
huge_pages() { [ -e /sys/kernel/mm/transparent_hugepage ]; }

# finish: the end of the TAP; the status is the script's.
finish()
{
	echo "1..$count"
	[ $failed = 0 ]
}

# same NAME EXPECTED ACTUAL
same()
{
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		diff <(echo "$2") <(echo "$3") | head -20 | sed 's/^/# /'
		not_ok "$1" "expected (<) and actual (>) differ"
	fi
}

# has NAME PATTERN: a line of $work/out matches
has()
{
	if grep -qE -- "$2" "$work/out"; then
		ok "$1"
	else
		head -60 "$work/out" | sed 's/^/# /'
		not_ok "$1" "there is no '$2'"
	fi
}

# by_schema NAME KIND FILE: its JSON is as the documentation says.
by_schema()
{
	local result
	result=$(/usr/bin/python3 "$top/tests/tool-schema" "$2" < "$3" 2>&1) || :
	same "$1" valid "$result"
}

# refused NAME STATUS PATTERN COMMAND...: prints nothing but an error of one
# line that has all of PATTERN.
refused()
{
	local name=$1 expected=$2 pattern=$3 status=0
	shift 3
	"$@" > "$work/out" 2> "$work/err" < /dev/null || status=$?
	if [ $status != "$expected" ]; then
		not_ok "$name" "exit status $status instead of $expected: $(cat "$work/err")"
	elif [ -s "$work/out" ]; then
		not_ok "$name" "printed: $(head -1 "$work/out")"
	elif [ "$(wc -l < "$work/err")" != 1 ] ||
	     ! grep -q "^pagemap-scan: .*$pattern" "$work/err"; then
		not_ok "$name" "the error has no '$pattern': $(cat "$work/err")"
	else
		ok "$name"
	fi
}

as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }

# address KIND OFFSET: in hex
address() { printf '%x' $((0x${range[$1]%-*} + $2)); }

declare -A range=()
target=''
# start_target PROGRAM NAME [COMMAND...]: start it (through a command); it has
# $work/files, reads descriptor 7 and answers on 8.  Its mappings come to be
# known as range[KIND].
start_target()
{
	local program=$1 name=$2 kind start end
	shift 2
	rm -rf "$work/files" "$work/input" "$work/answers"
	mkdir "$work/files"
	chmod 777 "$work/files"
	mkfifo "$work/input" "$work/answers"
	"$@" "$program" "$work/files" < "$work/input" > "$work/answers" \
		2> "$work/target-error" &
	target=$!
	exec 7> "$work/input" 8< "$work/answers"
	if learn_mappings; then
		ok "$name"
	else
		not_ok "$name" "$(cat "$work/target-error")"
		exec 7>&- 8<&-
		return 1
	fi
}

# learn_mappings: what the target prints up to 'ready'
learn_mappings()
{
	local kind start end
	range=()
	while read -r -u 8 kind start end; do
		[ "$kind" != ready ] || return 0
		range[$kind]=$start-$end
	done
	return 1
}

# stop_target: by the end of its input
stop_target()
{
	exec 7>&- 8<&-
	wait "$target" || :
}
