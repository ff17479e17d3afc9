/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: what its parts share */
#ifndef PAGEMAP_SCAN_TOOL_H
#define PAGEMAP_SCAN_TOOL_H

#include <linux/compiler.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

enum exit_status {
	STATUS_OK = 0,
	STATUS_ERROR = 1,
	STATUS_USAGE = 2,
};

/**
 * struct failure - why the program ends without a result
 * @status: what it exits with
 * @text: cause and way out, as one line without the program's name
 */
struct failure {
	enum exit_status status;
	char text[512];
};

int fail(struct failure *failure, enum exit_status status, const char *format,
	 ...) __printf(3, 4);
int fail_memory(struct failure *failure);

/**
 * struct subcommand - a thing that the program does
 * @name: the word that selects it
 * @summary: what it does, as a line of --help
 * @run: does it; @argv[0] is not looked at.  Returns 0, or -1 with an error
 *	noted.  main() flushes the standard output, prints the error and exits.
 */
struct subcommand {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv, struct failure *failure);
};

/* Those of all files, in the files' order: the linker knows where they are. */
extern const struct subcommand *const __start_subcommands[];
extern const struct subcommand *const __stop_subcommands[];

/**
 * SUBCOMMAND - make a thing that the program does known to main()
 * @name_: the word that selects it, without quotes
 * @summary_: see struct subcommand
 * @run_: see struct subcommand
 */
#define SUBCOMMAND(name_, summary_, run_)				\
	static const struct subcommand subcommand_##name_ = {		\
		.name = #name_,						\
		.summary = (summary_),					\
		.run = (run_),						\
	};								\
	static const struct subcommand *const entry_##name_		\
		__attribute__((used, section("subcommands"))) =		\
			&subcommand_##name_

#endif /* PAGEMAP_SCAN_TOOL_H */
