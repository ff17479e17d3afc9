/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: reading the command line */
#ifndef PAGEMAP_SCAN_OPTIONS_H
#define PAGEMAP_SCAN_OPTIONS_H

#include <argp.h>
#include <limits.h>
#include <sys/types.h>

#include "pagemap-scan-process.h"
#include "pagemap-scan.h"

/* In the text of --help, between what is above the options and what is below. */
#define HELP_BELOW		"\v"

/* Keys of options that have no letter start here. */
#define FIRST_LONG_OPTION	(UCHAR_MAX + 1)

char *help_with_categories(int key, const char *text, void *input);
int parse_arguments(const char *name, const struct argp *argp, int argc,
		    char **argv, void *request, bool *help,
		    struct failure *failure);
int parse_pid(const char *text, pid_t *pid, struct failure *failure);
int parse_range(const char *option, const char *text,
		struct address_range *range, struct failure *failure);
int parse_time(const char *option, const char *text, __u64 unit,
	       __u64 *nanoseconds, struct failure *failure);
int parse_count(const char *option, const char *text, __u64 *count,
		struct failure *failure);
int parse_size(const char *option, const char *text, __u64 *size,
	       struct failure *failure);

#endif /* PAGEMAP_SCAN_OPTIONS_H */
