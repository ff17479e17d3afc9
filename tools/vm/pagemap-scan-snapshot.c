// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan snapshot: the contents of a process's memory
 *
 * Copies all memory of a process, and leaves a process behind that tracks what
 * is written from then on, so that the copy can be brought up to date from the
 * reports alone.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pagemap-scan-options.h"
#include "pagemap-scan-output.h"
#include "pagemap-scan-snapshot.h"

enum option_id {
	OPTION_INCREMENTAL = FIRST_LONG_OPTION,
	OPTION_END,
};

static const struct argp_option options[] = {
	{ "output", 'o', "DIR", 0, "the directory of the snapshot", 1 },
	{ "incremental", OPTION_INCREMENTAL, NULL, 0,
	  "bring the snapshot up to date: copy what was written since", 2 },
	{ "end", OPTION_END, NULL, 0,
	  "stop tracking; the snapshot stays as it is", 2 },
	{}
};

static const char help_text[] =
	"Copy the memory of process PID into DIR, without stopping it, and track what it writes from then on."
	HELP_BELOW
	"A process of pagemap-scan stays behind to track, until --end or until process PID exits.\n"
	"If the process starts another program, it takes a new snapshot.\n"
	"Memory that the process tracks by a userfaultfd of its own is left out; how much that is, is told.\n"
	"'pagemap-scan verify DIR PID' compares the two.";

/**
 * enum snapshot_deed - what to do
 * @DEED_MAKE: make a snapshot
 * @DEED_UPDATE: bring it up to date
 * @DEED_END: stop tracking
 */
enum snapshot_deed {
	DEED_MAKE,
	DEED_UPDATE,
	DEED_END,
};

/**
 * struct snapshot_request - what the command line asks for
 * @deed: what to do
 * @pid: the process; may be 0 but where a snapshot is made
 * @path: the directory
 * @failure: receives the error
 */
struct snapshot_request {
	enum snapshot_deed deed;
	pid_t pid;
	const char *path;
	struct failure *failure;
};

static int choose_deed(struct snapshot_request *request,
		       enum snapshot_deed deed)
{
	if (request->deed != DEED_MAKE && request->deed != deed)
		return fail(request->failure, STATUS_USAGE,
			    "--incremental and --end exclude each other; leave one out");
	request->deed = deed;
	return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	struct snapshot_request *request = state->input;
	struct failure *failure = request->failure;

	switch (key) {
	case 'o':
		request->path = argument;
		return 0;
	case OPTION_INCREMENTAL:
		return choose_deed(request, DEED_UPDATE);
	case OPTION_END:
		return choose_deed(request, DEED_END);
	case ARGP_KEY_ARG:
		if (request->pid)
			return fail(failure, STATUS_USAGE,
				    "'%s': one process at a time, please",
				    argument);
		return parse_pid(argument, &request->pid, failure);
	case ARGP_KEY_END:
		if (!request->path)
			return fail(failure, STATUS_USAGE,
				    "the directory of the snapshot is missing; add -o DIR");
		if (!request->pid && request->deed == DEED_MAKE)
			return fail(failure, STATUS_USAGE,
				    "the number of the process is missing; pagemap-scan snapshot --help tells the usage");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "-o DIR PID\n--incremental -o DIR [PID]\n--end -o DIR [PID]",
	.doc = help_text,
};

static void print_result(const char *path, __u64 copied, __u64 dropped,
			 __u64 total)
{
	char copied_text[SIZE_SIZE], dropped_text[SIZE_SIZE];
	char total_text[SIZE_SIZE];

	format_size(copied_text, copied, UNIT_HUMAN, 1);
	format_size(dropped_text, dropped, UNIT_HUMAN, 1);
	format_size(total_text, total, UNIT_HUMAN, 1);
	printf("copied %s, dropped %s; %s has %s\n", copied_text, dropped_text,
	       path, total_text);
}

/* A snapshot of nothing is no use; one without a part may be. */
static int check_own(const struct snapshot *snapshot, struct failure *failure)
{
	char size[SIZE_SIZE];

	if (!snapshot->own)
		return 0;
	if (!snapshot->tracked.count)
		return fail(failure, STATUS_ERROR,
			    "another tracker has process %d already, perhaps another pagemap-scan; end that first",
			    snapshot->session.process.pid);
	format_size(size, snapshot->own, UNIT_HUMAN, 1);
	fprintf(stderr,
		"pagemap-scan: %s are left out, as they are tracked by a userfaultfd of its own, or by another tracker\n",
		size);
	return 0;
}

static int make_snapshot(const struct snapshot_request *request,
			 struct failure *failure)
{
	struct snapshot snapshot;
	int error;

	error = open_snapshot(&snapshot, request->pid, request->path, failure);
	snapshot.progress = isatty(STDERR_FILENO);
	if (!error)
		error = update_snapshot(&snapshot, failure);
	if (!error)
		error = check_own(&snapshot, failure);
	if (!error)
		error = serve_snapshot(&snapshot, failure);
	if (!error)
		print_result(request->path, snapshot.copied, snapshot.dropped,
			     sum_of_ranges(&snapshot.have));
	else
		remove_image(&snapshot.image);
	close_snapshot(&snapshot);
	return error;
}

static int order(const struct snapshot_request *request,
		 struct failure *failure)
{
	struct snapshot_reply reply;
	struct image image;
	pid_t pid;
	int error;

	error = open_image(&image, request->path, &pid, failure);
	if (!error && request->pid && request->pid != pid)
		error = fail(failure, STATUS_ERROR,
			     "the snapshot in %s is of process %d, not of process %d",
			     request->path, pid, request->pid);
	if (!error)
		error = order_snapshot(&image, request->deed == DEED_END ?
				       SNAPSHOT_END : SNAPSHOT_UPDATE, &reply,
				       failure);
	if (!error && request->deed == DEED_UPDATE)
		print_result(request->path, reply.copied, reply.dropped,
			     reply.total);
	close_image(&image);
	return error;
}

static int run(int argc, char **argv, struct failure *failure)
{
	struct snapshot_request request = { .failure = failure };
	bool help;

	if (parse_arguments("snapshot", &argp, argc, argv, &request, &help,
			    failure))
		return -1;
	if (help)
		return 0;
	/* Who stays behind must not keep open what the caller has open. */
	syscall(__NR_close_range, STDERR_FILENO + 1, ~0U, 0);
	return request.deed == DEED_MAKE ? make_snapshot(&request, failure) :
					   order(&request, failure);
}

SUBCOMMAND(snapshot, "the contents of the process's memory, kept up to date", run);
