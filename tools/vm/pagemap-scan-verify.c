// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan verify: whether a snapshot has what the process has
 *
 * The one command that stops the process, for as long as an update and the
 * comparison take.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pagemap-scan-options.h"
#include "pagemap-scan-output.h"
#include "pagemap-scan-scan.h"
#include "pagemap-scan-snapshot.h"
#include "pagemap-scan-stop.h"

/* Bytes that are compared at once; divides IMAGE_FILE_SIZE. */
#define COMPARE_SIZE	(1UL << 20)

/* Differences that are printed. */
#define MOST_DIFFERENCES	10

static const struct argp_option options[] = {
	{}
};

static const char help_text[] =
	"Bring the snapshot in DIR up to date with process PID, which is stopped for that, and compare the two byte by byte."
	HELP_BELOW
	"Exits with 0 if not one byte differs, and with 1 otherwise.";

/**
 * struct verify_request - what the command line asks for
 * @path: the directory
 * @pid: the process
 * @failure: receives the error
 */
struct verify_request {
	const char *path;
	pid_t pid;
	struct failure *failure;
};

/**
 * struct verify - a comparison
 * @process: the process, stopped
 * @image: the snapshot
 * @contents: descriptor of /proc/PID/mem
 * @ours: room for contents of the snapshot
 * @theirs: room for contents of the process
 * @compared: bytes that were compared
 * @different: bytes in pages that differ
 * @unreadable: bytes that the process cannot read itself
 */
struct verify {
	struct process process;
	struct image image;
	int contents;
	char *ours;
	char *theirs;
	__u64 compared;
	__u64 different;
	__u64 unreadable;
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	struct verify_request *request = state->input;
	struct failure *failure = request->failure;

	switch (key) {
	case ARGP_KEY_ARG:
		if (!request->path) {
			request->path = argument;
			return 0;
		}
		if (request->pid)
			return fail(failure, STATUS_USAGE,
				    "'%s': one process at a time, please",
				    argument);
		return parse_pid(argument, &request->pid, failure);
	case ARGP_KEY_END:
		if (!request->pid)
			return fail(failure, STATUS_USAGE,
				    "the directory or the number of the process is missing: pagemap-scan verify DIR PID");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "DIR PID",
	.doc = help_text,
};

static void compare_pages(struct verify *verify, __u64 address, size_t size)
{
	size_t page = verify->process.page_size, offset;

	for (offset = 0; offset < size; offset += page) {
		if (!memcmp(verify->ours + offset, verify->theirs + offset,
			    page))
			continue;
		if (verify->different < MOST_DIFFERENCES * page)
			printf("the page at %llx differs\n", address + offset);
		verify->different += page;
	}
	verify->compared += size;
}

static int compare_region(void *context, const struct page_region *region,
			  struct failure *failure)
{
	struct verify *verify = context;
	__u64 address = region->start;

	while (address < region->end) {
		__u64 end = (address & ~(COMPARE_SIZE - 1)) + COMPARE_SIZE;
		ssize_t got;

		if (end > region->end)
			end = region->end;
		got = pread(verify->contents, verify->theirs, end - address,
			    address);
		if (got <= 0) {
			verify->unreadable += verify->process.page_size;
			address += verify->process.page_size;
			continue;
		}
		if (read_image(&verify->image, address, verify->ours, got,
			       failure))
			return -1;
		compare_pages(verify, address, got);
		address += got;
	}
	return 0;
}

static int compare_process(struct verify *verify, struct failure *failure)
{
	struct selection selection = {
		.anyof = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};
	struct range_list tracked;
	int error;
	size_t i;

	error = read_tracked(&verify->image, &tracked, failure);
	for (i = 0; i < tracked.count && !error; i++)
		error = scan_range(&verify->process, &selection,
				   &tracked.ranges[i], compare_region, verify,
				   failure) == SCAN_FAILED;
	free_ranges(&tracked);
	return error ? -1 : 0;
}

static double milliseconds_since(__u64 start)
{
	return (double)(monotonic_time() - start) / NSEC_PER_MSEC;
}

/* With the process stopped: an update, and then the comparison. */
static int verify_stopped(struct verify *verify, struct failure *failure)
{
	struct snapshot_reply reply;

	if (order_snapshot(&verify->image, SNAPSHOT_UPDATE, &reply, failure))
		return -1;
	return compare_process(verify, failure);
}

static int verify_snapshot(struct verify *verify,
			   const struct verify_request *request,
			   struct failure *failure)
{
	char compared[SIZE_SIZE], different[SIZE_SIZE];
	struct stopped stopped;
	__u64 start = monotonic_time();
	double time;
	int error;

	error = stop_process(&stopped, request->pid, failure);
	if (!error)
		error = verify_stopped(verify, failure);
	continue_process(&stopped);
	time = milliseconds_since(start);
	if (error)
		return -1;

	format_size(compared, verify->compared, UNIT_HUMAN, 1);
	format_size(different, verify->different, UNIT_HUMAN, 1);
	if (verify->different)
		return fail(failure, STATUS_ERROR,
			    "%s of %s differ between the snapshot in %s and process %d",
			    different, compared, request->path, request->pid);
	printf("all %s are the same; process %d was stopped for %.0f ms\n",
	       compared, request->pid, time);
	if (verify->unreadable)
		printf("%llu bytes cannot be read, and were not compared\n",
		       verify->unreadable);
	return 0;
}

static int open_verify(struct verify *verify,
		       const struct verify_request *request,
		       struct failure *failure)
{
	pid_t pid;

	verify->contents = -1;
	if (open_process(&verify->process, request->pid, failure) ||
	    open_image(&verify->image, request->path, &pid, failure))
		return -1;
	if (pid != request->pid)
		return fail(failure, STATUS_ERROR,
			    "the snapshot in %s is of process %d, not of process %d",
			    request->path, pid, request->pid);
	verify->contents = openat(verify->process.directory, "mem",
				  O_RDONLY | O_CLOEXEC);
	if (verify->contents < 0)
		return fail(failure, STATUS_ERROR,
			    "cannot read the memory of process %d: %s", pid,
			    strerror(errno));
	verify->ours = malloc(COMPARE_SIZE);
	verify->theirs = malloc(COMPARE_SIZE);
	return verify->ours && verify->theirs ? 0 : fail_memory(failure);
}

static int run(int argc, char **argv, struct failure *failure)
{
	struct verify_request request = { .failure = failure };
	struct verify verify = {
		.process = { .directory = -1, .pagemap = -1 },
		.image = { .directory = -1, .memory = -1, .file = -1 },
	};
	bool help;
	int error;

	if (parse_arguments("verify", &argp, argc, argv, &request, &help,
			    failure))
		return -1;
	if (help)
		return 0;
	error = open_verify(&verify, &request, failure);
	if (!error)
		error = verify_snapshot(&verify, &request, failure);
	free(verify.ours);
	free(verify.theirs);
	if (verify.contents >= 0)
		close(verify.contents);
	close_image(&verify.image);
	close_process(&verify.process);
	return error;
}

SUBCOMMAND(verify, "compare a snapshot with the process", run);
