# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What those share who boot a kernel under QEMU.  Sourced, after set -eu, by
# bash scripts only.

# KVM where the processor and the device both offer it.
accelerator()
{
	if [ -w /dev/kvm ] && [ "${GUEST_ACCEL:-kvm}" = kvm ] &&
	   grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
		echo kvm
	else
		echo tcg
	fi
}

# Emulated, a string instruction takes a step for each byte, and clearing a
# page eight times as long as by stores of words.
emulated_cpu=max,erms=off,fsrm=off

# The accelerator's arguments, added to args.
add_accelerator()
{
	if [ "$(accelerator)" = kvm ]; then
		args+=(-accel kvm -cpu host)
	else
		args+=(-accel "tcg,thread=multi" -cpu "$emulated_cpu")
	fi
}

# The kernel's arguments in any guest.  One that the host did not run for half
# a minute has no lockup: the detectors wait as long as the one for hung tasks
# does.
# shellcheck disable=SC2034 # for the scripts that source this
kernel_arguments="console=ttyS0 nokaslr panic=-1 oops=panic random.trust_cpu=on \
tsc=reliable no_timer_check watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120"
