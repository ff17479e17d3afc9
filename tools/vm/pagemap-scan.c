// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan: what the PAGEMAP_SCAN ioctl tells of a process
 *
 * The subcommands are in files of their own, pagemap-scan-NAME.c; here is the
 * choice between them.
 */
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "pagemap-scan.h"

#define TOOL_VERSION		"1.0"

static void print_help(void)
{
	const struct subcommand *const *each;

	printf("Usage: pagemap-scan [OPTION...] PID\n"
	       "  or:  pagemap-scan COMMAND [OPTION...] [ARGUMENT...]\n"
	       "Tell which pages of a process are present, swapped, written, of a file and so on.\n"
	       "\n"
	       "Commands:\n");
	for (each = __start_subcommands; each < __stop_subcommands; each++)
		printf("  %-10s  %s\n", (*each)->name, (*each)->summary);
	printf("\n"
	       "'pagemap-scan COMMAND --help' describes one; without a command, it is 'show'.\n"
	       "\n"
	       "  -h, --help     print this text\n"
	       "  -V, --version  print the version\n"
	       "\n"
	       "Exit status: 0 if all is well, 1 if the result cannot be had, 2 for a mistake in\n"
	       "the command line.\n");
}

static int run_named(const char *name, int argc, char **argv,
		     struct failure *failure)
{
	const struct subcommand *const *each;

	for (each = __start_subcommands; each < __stop_subcommands; each++)
		if (!strcmp(name, (*each)->name))
			return (*each)->run(argc, argv, failure);
	return fail(failure, STATUS_USAGE,
		    "there is no command '%s', and it is not the number of a process; pagemap-scan --help lists the commands",
		    name);
}

/* Only a word that starts with a letter can name a subcommand. */
static int run(int argc, char **argv, struct failure *failure)
{
	const char *first = argc > 1 ? argv[1] : "";

	if (!strcmp(first, "--help") || !strcmp(first, "-h")) {
		print_help();
		return 0;
	}
	if (!strcmp(first, "--version") || !strcmp(first, "-V")) {
		printf("pagemap-scan " TOOL_VERSION "\n");
		return 0;
	}
	if (isalpha((unsigned char)*first))
		return run_named(first, argc - 1, argv + 1, failure);
	return run_named("show", argc, argv, failure);
}

/* A full disk must not look like a short result. */
static int finish_output(struct failure *failure)
{
	if (fflush(stdout) || ferror(stdout))
		return fail(failure, STATUS_ERROR,
			    "cannot write the result: %s", strerror(errno));
	return 0;
}

int main(int argc, char **argv)
{
	struct failure failure = { .status = STATUS_OK };
	int error;

	/* Names are UTF-8 whatever the user's locale; wcwidth() is told so. */
	setlocale(LC_CTYPE, "C.UTF-8");
	error = run(argc, argv, &failure);
	if (!error)
		error = finish_output(&failure);
	if (error)
		fprintf(stderr, "pagemap-scan: %s\n", failure.text);
	return failure.status;
}
