# SPDX-License-Identifier: GPL-2.0-only
# The only entry point; 'make help' lists the targets.

CONFIG ?= plain
export KERNEL

.PHONY: help
help:
	@sed -n 's/^#: //p' Makefile

#: make run       set up what is missing, build, boot, scan and track a real program
#: make test      all tests in the guest; T=PATTERN: those only; CONFIG=debug, nothp,
#:                la57, i386: on other kernels
#: make full      all that can tell whether the series is right, in some hours
#: make kernel    build/bzImage; CONFIG=debug, stock, stock-debug: the others
#: make refresh   STEP=NNNN: put edits made in build/linux back into that step
#: make check     static checks of all sorts; T=sparse, clang, tidy ...: one of them
#: make series    build/series/: what git send-email sends and git am applies
#: make bisect    each step builds, boots, passes its tests; STEPS=NNNN-NNNN
#: make matrix    compile what the series touches in other configurations, for other
#:                architectures; T=PATTERN: those only
#: make docs      build/docs/: the pages of the series; any warning is an error
#: make deb       Debian packages; FLAVOUR=amd64, cloud-amd64, guest; REVISION=1
#: make deb-test  install and boot them in a Debian root; FLAVOUR=guest ...
#: make soak      MINUTES=n: random programs and races for so long; CONFIG=debug
#: make mutants   break the kernel on purpose: each time a test must fail
#: make bench     what a scan costs, beside Linux 6.12: tables, pictures
#: make bench-native  the same on this machine itself, where caches are real
#: make coverage  the suite on a kernel with gcov: every line must have run
#: make baseline  record the stock kernel's results in its own tests
#: make shell     a shell in the guest
#: make tree      build/linux as patches/ and our files say
#: make setup     install the Debian packages that are missing
#: make clean     remove build/
#: KERNEL=/path   with any of them: another 6.1.y source tree, left untouched

.PHONY: setup
setup:
	@scripts/setup

# tools/ is built against its own copy of the header.
uapi := include/uapi/linux/pagemap_scan.h
tools_uapi := $(patsubst %,tools/%,$(wildcard $(uapi)))

$(tools_uapi): $(uapi)
	@mkdir -p $(@D)
	@cmp -s $< $@ || cp $< $@
	@touch $@

.PHONY: tree
tree: setup $(tools_uapi)
	@scripts/prepare-tree --stock

.PHONY: kernel
kernel: tree
	@scripts/build-kernel $(CONFIG)

# Both boot build/bzImage.
run shell: override CONFIG := plain

.PHONY: run
run: kernel
	@scripts/run

.PHONY: test
test: tree
	@tests/run --kernel $(CONFIG) $(if $(BRIEF),--brief) '$(T)'

.PHONY: soak
soak: tree
	@scripts/soak '$(MINUTES)' $(CONFIG)

# A case that does not give the same result in each round is kept as flaky.
ROUNDS ?= 3
.PHONY: baseline
baseline: tree
	@tests/run --kernel $(CONFIG) --baseline $(ROUNDS)

# Each mutant's case has to fail that often.
ROUNDS_OF_MUTANTS := 3
.PHONY: mutants
mutants: tree
	@scripts/mutants $(ROUNDS_OF_MUTANTS) '$(T)'

.PHONY: coverage
coverage: tree
	@scripts/coverage

.PHONY: bench
bench: tree
	@scripts/bench

.PHONY: bench-native
bench-native: tree
	@scripts/bench-native

.PHONY: check
check: setup
	@scripts/check '$(T)'

.PHONY: full
full: tree
	@scripts/full

.PHONY: matrix
matrix: tree
	@scripts/matrix '$(T)'

.PHONY: series
series: tree
	@scripts/series

.PHONY: bisect
bisect: tree
	@scripts/bisect '$(STEPS)'

.PHONY: docs
docs: tree
	@scripts/docs

FLAVOUR ?= amd64
REVISION ?= 1
.PHONY: deb deb-test
deb: tree
	@scripts/deb '$(FLAVOUR)' '$(REVISION)'

deb-test: deb
	@tests/deb '$(FLAVOUR)'

.PHONY: refresh
refresh:
	@scripts/refresh '$(STEP)' '$(NAME)'

.PHONY: shell
shell: kernel
	@guest/run --tty --timeout 0 bash

.PHONY: clean
clean:
	rm -rf build
