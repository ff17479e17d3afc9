// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan: reading the command line
 *
 * argp(3) takes options and prints the help.  Its own messages have several
 * lines and do not tell the cause from the way out, and it exits, so both are
 * turned off and done here.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagemap-scan-categories.h"
#include "pagemap-scan-options.h"

/* The longest time that an option takes, so that no sum of times overflows. */
#define LONGEST_TIME		(1000000 * 1000000000ULL)

/**
 * struct arguments - what parse_arguments() hands to its parser
 * @name: the subcommand
 * @argp: what the subcommand takes
 * @request: for the parser of @argp
 * @help: set where the user asks for help
 * @failure: receives the error
 */
struct arguments {
	const char *name;
	const struct argp *argp;
	void *request;
	bool help;
	struct failure *failure;
};

static bool has_letter(const struct argp_option *option, char letter)
{
	return option->key == letter && !(option->flags & OPTION_DOC);
}

/* Find an option by its letter; an alias takes what its original takes. */
static const struct argp_option *
option_by_letter(const struct argp_option *options, char letter)
{
	for (; options->name || options->key || options->doc; options++)
		if (has_letter(options, letter))
			return options;
	return NULL;
}

/* Find an option by its name, or the start of it. */
static const struct argp_option *
option_by_name(const struct argp_option *options, const char *name,
	       size_t length)
{
	const struct argp_option *original = options;

	for (; options->name || options->key || options->doc; options++) {
		if (!(options->flags & OPTION_ALIAS))
			original = options;
		if (options->name && !strncmp(options->name, name, length))
			return original;
	}
	return NULL;
}

/**
 * fail_option - note what is wrong with an option that getopt(3) did not take
 * @arguments: of the subcommand
 * @word: the word of the command line that has it
 *
 * Return: -1.
 */
static int fail_option(const struct arguments *arguments, const char *word)
{
	const struct argp_option *options = arguments->argp->options;
	const struct argp_option *option;
	size_t length = strcspn(word, "=");

	if (!strncmp(word, "--", 2))
		option = option_by_name(options, word + 2, length - 2);
	else
		option = option_by_letter(options, word[1]);

	if (option && option->arg && !word[length])
		return fail(arguments->failure, STATUS_USAGE,
			    "%s must be followed by a value; pagemap-scan %s --help tells which",
			    word, arguments->name);
	if (strncmp(word, "--", 2))
		return fail(arguments->failure, STATUS_USAGE,
			    "there is no option -%c; pagemap-scan %s --help lists them",
			    word[1], arguments->name);
	return fail(arguments->failure, STATUS_USAGE,
		    "%s is not understood; pagemap-scan %s --help lists the options",
		    word, arguments->name);
}

static error_t parse_common(int key, char *argument __maybe_unused,
			    struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = arguments->request;
		return 0;
	case 'h':
		arguments->help = true;
		/* Any error ends the parsing. */
		return -1;
	case ARGP_KEY_ERROR:
		if (arguments->help || arguments->failure->status != STATUS_OK)
			return 0;
		/* getopt(3) is past the word unless more letters follow. */
		if (state->argv[state->next - 1][0] != '-')
			fail_option(arguments, state->argv[state->next]);
		else
			fail_option(arguments, state->argv[state->next - 1]);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/**
 * help_with_categories - tell what a LIST may have
 * @key: which text of the help is being printed
 * @text: that text
 * @input: unused
 *
 * This is the help_filter of a struct argp with such options.
 *
 * Return: what to print, to be freed where it is not @text.
 */
char *help_with_categories(int key, const char *text,
			   void __maybe_unused *input)
{
	char names[CATEGORIES_SIZE];
	char *note;

	if (key != ARGP_KEY_HELP_EXTRA)
		return (char *)text;
	format_categories(names, ALL_CATEGORIES);
	if (asprintf(&note,
		     "A LIST has names of categories with commas between them, or 'all':\n  %s",
		     names) < 0)
		return NULL;
	return note;
}

/**
 * parse_arguments - read the arguments of a subcommand
 * @name: its name
 * @argp: its options, and a parser that returns -1 when it has noted an error
 * @argc: as of main()
 * @argv: as of main()
 * @request: the input of the parser
 * @help: receives whether help was asked for: it is printed, and the rest of
 *	the arguments was not looked at
 * @failure: receives the error, also for the parser
 *
 * Return: 0, or -1 with an error noted.
 */
int parse_arguments(const char *name, const struct argp *argp, int argc,
		    char **argv, void *request, bool *help,
		    struct failure *failure)
{
	static const struct argp_option options[] = {
		{ "help", 'h', NULL, 0, "print this text", -1 },
		{}
	};
	struct argp_child children[] = { { argp, 0, NULL, 0 }, {} };
	struct argp root = {
		.options = options,
		.parser = parse_common,
		.children = children,
	};
	struct arguments arguments = {
		.name = name,
		.argp = argp,
		.request = request,
		.failure = failure,
	};
	error_t error;

	/* In order: what is behind -- shall not get in front of it. */
	error = argp_parse(&root, argc, argv, ARGP_SILENT | ARGP_IN_ORDER, NULL,
			   &arguments);
	*help = arguments.help;
	if (arguments.help) {
		char program[64];

		/* Two lines on what values of short options are; needless. */
		setenv("ARGP_HELP_FMT", "no-dup-args-note", 0);
		snprintf(program, sizeof(program), "pagemap-scan %s", name);
		argp_help(&root, stdout, ARGP_HELP_SHORT_USAGE |
			  ARGP_HELP_PRE_DOC | ARGP_HELP_LONG |
			  ARGP_HELP_POST_DOC, program);
		return 0;
	}
	if (error && failure->status == STATUS_OK)
		return fail(failure, STATUS_ERROR,
			    "cannot read the command line: %s",
			    strerror(error));
	return error ? -1 : 0;
}

/**
 * parse_pid - read the number of a process
 * @text: the number
 * @pid: receives it
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int parse_pid(const char *text, pid_t *pid, struct failure *failure)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || number < 1 ||
	    number > INT_MAX)
		return fail(failure, STATUS_USAGE,
			    "'%s' is not the number of a process; pidof(1) finds it by name",
			    text);
	*pid = number;
	return 0;
}

static int parse_address(const char *text, char **end, __u64 *address)
{
	errno = 0;
	*address = strtoull(text, end, 16);
	/* strtoull() would also take blanks, a sign, and no digit at all. */
	if (errno || *end == text || !strchr("0123456789abcdefABCDEF", *text))
		return -1;
	return 0;
}

/**
 * parse_range - read a range of addresses
 * @option: name of the option, for the error
 * @text: START-END in hex
 * @range: receives it
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int parse_range(const char *option, const char *text,
		struct address_range *range, struct failure *failure)
{
	char *end;

	if (parse_address(text, &end, &range->start) || *end != '-' ||
	    parse_address(end + 1, &end, &range->end) || *end)
		return fail(failure, STATUS_USAGE,
			    "--%s: '%s' is not START-END in hex, as in 7f0012000000-7f0012345000",
			    option, text);
	if (range->start >= range->end)
		return fail(failure, STATUS_USAGE,
			    "--%s: the end of '%s' is not above its start",
			    option, text);
	return 0;
}

/**
 * parse_size - read a size
 * @option: name of the option, for the error
 * @text: a number of bytes, or of the units K, M, G and T, which are powers of
 *	1024
 * @size: receives it in bytes
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int parse_size(const char *option, const char *text, __u64 *size,
	       struct failure *failure)
{
	static const char units[] = "KMGT";
	const char *unit;
	int shift = 0;
	char *end;

	errno = 0;
	*size = strtoull(text, &end, 10);
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		shift = 10 * (unit - units + 1);
		end++;
	}
	if (errno || *end || *text < '0' || *text > '9' ||
	    *size > ULLONG_MAX >> shift)
		return fail(failure, STATUS_USAGE,
			    "--%s: '%s' is not a size, such as 65536, 64K, 2M or 1G",
			    option, text);
	*size <<= shift;
	return 0;
}

/**
 * parse_time - read a length of time
 * @option: name of the option, for the error
 * @text: a number, also with a fraction, above 0
 * @unit: nanoseconds in what it counts
 * @nanoseconds: receives the time
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int parse_time(const char *option, const char *text, __u64 unit,
	       __u64 *nanoseconds, struct failure *failure)
{
	double number;
	char *end;

	errno = 0;
	number = strtod(text, &end) * unit;
	/* strtod() would also take blanks, a sign, hex and infinity. */
	if (errno || *end || text[strspn(text, "0123456789.")] ||
	    !(number >= 1) || number > LONGEST_TIME)
		return fail(failure, STATUS_USAGE,
			    "--%s: '%s' is not a time above 0, such as 0.5 or 10",
			    option, text);
	*nanoseconds = number;
	return 0;
}

/**
 * parse_count - read a number of things
 * @option: name of the option, for the error
 * @text: the number, above 0
 * @count: receives it
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int parse_count(const char *option, const char *text, __u64 *count,
		struct failure *failure)
{
	char *end;

	errno = 0;
	*count = strtoull(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || !*count)
		return fail(failure, STATUS_USAGE,
			    "--%s: '%s' is not a number above 0", option, text);
	return 0;
}
