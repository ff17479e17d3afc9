/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kselftest_harness.h with a choice of the cases: each program takes up to two
 * shell patterns as arguments,
 *
 *	PROGRAM [CASE [VARIANT]]
 *
 * for the name of a case, with or without that of its fixture before it
 * ("fixture.case"), and for the name of a variant.
 */
#ifndef __PAGEMAP_SCAN_HARNESS_H
#define __PAGEMAP_SCAN_HARNESS_H

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include "../kselftest_harness.h"
#include "pagemap_scan_util.h"

/* A call that returns -1 and sets errno */
#define EXPECT_ERROR(error, call) do {					\
	errno = 0;							\
	EXPECT_EQ(-1, (call));						\
	EXPECT_EQ(error, errno);					\
} while (0)

static bool case_is_wanted(const char *pattern, const char *fixture,
			   const char *name)
{
	char full[256];

	snprintf(full, sizeof(full), "%s.%s", fixture, name);
	return !fnmatch(pattern, name, 0) || !fnmatch(pattern, full, 0);
}

/* In the case's own process; its results are the only ones that are there. */
static void skip_this_case(const char *reason)
{
	struct __fixture_metadata *f;
	struct __test_metadata *t;

	for (f = __fixture_list; f; f = f->next) {
		for (t = f->tests; t; t = t->next) {
			if (t->results)
				snprintf(t->results->reason,
					 sizeof(t->results->reason), "%s",
					 reason);
		}
	}
	_exit(255);
}

/* The lists are walked by ->next alone once all cases are registered. */
static int run_wanted_cases(int argc, char **argv)
{
	struct __fixture_variant_metadata **v;
	struct __fixture_metadata *f;
	struct __test_metadata **t;
	bool any = argc < 2;

	skip_case = skip_this_case;
	for (f = __fixture_list; f; f = f->next) {
		t = &f->tests;
		while (argc > 1 && *t) {
			if (case_is_wanted(argv[1], f->name, (*t)->name))
				t = &(*t)->next;
			else
				*t = (*t)->next;
		}
		v = &f->variant;
		while (argc > 2 && *v) {
			if (!fnmatch(argv[2], (*v)->name, 0))
				v = &(*v)->next;
			else
				*v = (*v)->next;
		}
		/* A fixture without variants counts as having one */
		if (argc > 2 && !f->variant)
			f->tests = NULL;
		any |= !!f->tests;
	}
	if (!any) {
		fprintf(stderr, "%s: no case is called '%s'\n", argv[0],
			argv[1]);
		return KSFT_FAIL;
	}
	return test_harness_run(argc, argv);
}

/* What TEST_HARNESS_MAIN calls */
#define test_harness_run run_wanted_cases

#endif /* __PAGEMAP_SCAN_HARNESS_H */
