# SPDX-License-Identifier: GPL-2.0
# The only entry point; 'make help' lists the targets.

CONFIG ?= plain
export KERNEL

.PHONY: help
help:
	@sed -n 's/^#: //p' Makefile

#: make run       set up what is missing, build, boot, scan a real program
#: make test      all tests in the guest; T=PATTERN: those only; CONFIG=debug
#: make kernel    build/bzImage; CONFIG=debug, stock, stock-debug: the others
#: make refresh   STEP=NNNN: put edits made in build/linux back into that step
#: make check     checkpatch --strict, sparse, kernel-doc, shellcheck
#: make baseline  record the stock kernel's results in its own tests
#: make shell     a shell in the guest
#: make setup     install the Debian packages that are missing
#: make clean     remove build/
#: KERNEL=/path   with any of them: another 6.1.y source tree, left untouched

.PHONY: setup
setup:
	@scripts/setup

.PHONY: tree
tree: setup
	@scripts/prepare-tree --stock

.PHONY: kernel
kernel: tree
	@scripts/build-kernel $(CONFIG)

.PHONY: refresh
refresh:
	@scripts/refresh "$(STEP)" "$(NAME)"

.PHONY: shell
shell: kernel
	@guest/run --tty --timeout 0 bash

.PHONY: clean
clean:
	rm -rf build
