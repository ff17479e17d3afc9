# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What the scripts share.  Sourced, after set -eu, by bash scripts only.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Another source tree (KERNEL=/path) gets a build directory of its own.
if [ -n "${KERNEL:-}" ]; then
	KERNEL=$(cd "$KERNEL" && pwd -P)
	build=$top/build/from/$(basename "$KERNEL")
else
	build=$top/build
fi
# shellcheck disable=SC2034 # for the scripts that source this
linux=$build/linux
# shellcheck disable=SC2034
stock_linux=$build/stock-linux

# What the suite needs of the guest's kernel: two nodes, secretmem, KUnit tests, and
# device DAX of the memory at 4 GiB, where there is any.
# shellcheck disable=SC2034
guest_options='numa=fake=2 secretmem.enable=1 kunit.enable=1 memmap=1G%4G-1+0xefffffff'

say() { printf '%s\n' "$*" >&2; }
# A script whose status 1 has a meaning of its own sets failure.
die() { say "${0#"$top"/}: $*"; exit "${failure:-1}"; }

# git in the built tree, with nothing taken from the caller's configuration.
tree_name="tree" tree_email=tree@localhost tree_date='1700000000 +0000'
tree_git()
{
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null \
	GIT_AUTHOR_NAME=$tree_name GIT_AUTHOR_EMAIL=$tree_email \
	GIT_COMMITTER_NAME=$tree_name GIT_COMMITTER_EMAIL=$tree_email \
	GIT_AUTHOR_DATE=$tree_date GIT_COMMITTER_DATE=$tree_date \
		git -C "$linux" "$@"
}

# The version of a kernel tree, as its Makefile says it.
kernel_version()
{
	awk '$2 == "=" && $1 ~ /^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)$/ {
		v[$1] = $3
	}
	FNR > 20 { exit }
	END { print v["VERSION"] "." v["PATCHLEVEL"] "." v["SUBLEVEL"] v["EXTRAVERSION"] }
	' "$1/Makefile"
}

# The steps of the series, in order.
list_patches()
{
	local patch
	for patch in "$top"/patches/[0-9][0-9][0-9][0-9]-*.patch; do
		[ ! -e "$patch" ] || printf '%s\n' "$patch"
	done
}

# A patch file is a header (Subject:, body, New-file: and New-section: lines),
# '---', the diff.
patch_header() { sed '/^---$/,$d; /^diff --git /,$d' "$1"; }
patch_diff() { sed -n '/^diff --git /,$p' "$1"; }
patch_message()
{
	patch_header "$1" | sed '1s/^Subject: *//; /^New-\(file\|section\): /d' |
		git stripspace
}
step_new_files() { patch_header "$1" | sed -n 's|^New-file: *\(.*[^ ]\) *$|\1|p'; }
# Our part of MAINTAINERS comes in the step that says so.
step_section() { patch_header "$1" | sed -n 's|^New-section: *||p'; }

# The files that the series adds whole, by their paths in the kernel tree.
list_our_files()
{
	(
		cd "$top" || exit
		for dir in fs include tools Documentation mm lib; do
			[ ! -d "$dir" ] || find "$dir" -type f \
				! -name '*~' ! -name '.*.sw?' \
				! -name '*.orig' ! -name '*.rej' ! -name '*.o'
		done
	) | sort
}

# Those, and the files that the series changes.
list_touched_files()
{
	{ tree_git diff --name-only base HEAD; list_our_files; } | sort -u
}

# A sum of what the series makes of the kernel, for figures that were measured of it.
kernel_side_sum()
{
	{
		tree_git diff base HEAD -- . ':!tools' ':!Documentation' ':!MAINTAINERS'
		(cd "$top" && list_our_files | grep -E '^(fs|include|mm|lib)/' |
			grep -v '_test\.c$' | xargs cat)
	} | sha1sum | cut -d' ' -f1
}

# The kernel's C files and headers that the series touches.
touched_code()
{
	local patch
	{
		list_patches | while read -r patch; do
			patch_diff "$patch" | sed -n 's|^+++ b/\(.*\.[ch]\)$|\1|p'
		done
		list_our_files | grep '\.[ch]$' || :
	} | grep -vE '^(tools|Documentation|samples)/' | sort -u
}

# Those that are compiled by themselves, and not as a part of another.
touched_sources()
{
	local file
	touched_code | grep '\.c$' | while read -r file; do
		grep -qF "#include \"${file##*/}\"" "$linux/${file%/*}"/*.c ||
			echo "$file"
	done
}

# only_new STOCK OURS: the remarks that only we cause, whatever their line numbers.
only_new()
{
	awk '
	function key(remark)
	{
		gsub(/:[0-9]+(:[0-9-]+)?:/, ":", remark)
		gsub(/line [0-9]+/, "line", remark)
		return remark
	}
	FILENAME == ARGV[1] { known[key($0)]++; next }
	known[key($0)]-- <= 0' "$1" "$2"
}

# copy_files DIRECTORY: those that stdin names, out of the patched tree.
copy_files() { tar -C "$linux" -h -T - -cf - | tar -C "$1" -xf -; }

# list_selftests TREE VARIABLE: what the selftests' Makefile adds to it.
list_selftests()
{
	awk -v name="$2" '$1 == name && NF == 3 { print $3 }' \
		"$1/tools/testing/selftests/vm/Makefile"
}

# Lines 'STEP PATH' for every New-file: line.
list_new_files()
{
	local patch
	list_patches | while read -r patch; do
		step_new_files "$patch" | sed "s|^|$(basename "$patch") |"
	done
}

# One writer at a time per build directory.
lock()
{
	mkdir -p "$build"
	exec 9> "$build/.lock-$1"
	if ! flock -n 9; then
		say "waiting for another ${0##*/} to finish"
		flock 9
	fi
}
