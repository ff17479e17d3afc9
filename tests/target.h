/* SPDX-License-Identifier: GPL-2.0-only */
/* What the processes that tests/tool and tests/tool-track look at share. */
#ifndef __TESTS_TARGET_H
#define __TESTS_TARGET_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/userfaultfd.h>

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	0x8000
#endif

/* Nothing can be tested after a failure, so there is nothing to undo. */
static void check(int condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
		strerror(errno));
	exit(1);
}

/* To or not to have huge pages, which not every kernel has. */
static void advise(char *memory, size_t size, int advice)
{
	check(!madvise(memory, size, advice) ||
	      (errno == EINVAL &&
	       access("/sys/kernel/mm/transparent_hugepage", F_OK)), "madvise");
}

#endif /* __TESTS_TARGET_H */
