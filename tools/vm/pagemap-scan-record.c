// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan record: what a process writes, into a file
 *
 * Tracks a process, or starts a command and tracks that, and writes what it
 * collects at each interval to a file, which 'report' reads.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pagemap-scan-options.h"
#include "pagemap-scan-output.h"
#include "pagemap-scan-recording.h"
#include "pagemap-scan-session.h"

/* Characters of the bar, where there is room, and where it is left out. */
#define BAR_WIDTH	30
#define NARROWEST_BAR	5
/* What is around it. */
#define BAR_FRAME	3

static const struct argp_option options[] = {
	{ "output", 'o', "FILE", 0, "the recording; one that exists is overwritten", 1 },
	{ "interval", 'i', "MS", 0,
	  "milliseconds between two collections (default: 100)", 1 },
	{ "duration", 'd', "SECONDS", 0,
	  "how long (default: until the process exits, or Ctrl-C)", 1 },
	{}
};

static const char help_text[] =
	"Record what process PID writes, or COMMAND, which is started for that, without stopping it."
	HELP_BELOW
	"'pagemap-scan report FILE' tells what is in the recording.\n"
	"A command that still runs when the time is up is left running.\n"
	"If the process starts another program, that is recorded; what it forks is not.";

/**
 * struct record_request - what the command line asks for
 * @pid: the process
 * @command: what to start, with its arguments and NULL behind them, or NULL
 * @path: name of the recording
 * @interval: nanoseconds between two collections
 * @duration: nanoseconds to record, 0 for no limit
 * @failure: receives the error
 */
struct record_request {
	pid_t pid;
	char **command;
	const char *path;
	__u64 interval;
	__u64 duration;
	struct failure *failure;
};

/**
 * struct record - a recording in progress
 * @request: the command line
 * @session: the process
 * @writer: the recording
 * @start: when it began
 * @intervals: how many were collected
 * @tracked: pages of the current interval that were looked at
 * @written: pages that were written, of all intervals together
 * @own: whether the process tracks some of its memory itself
 * @progress: whether to show it
 */
struct record {
	const struct record_request *request;
	struct session session;
	struct recording_writer *writer;
	__u64 start;
	__u64 intervals;
	__u64 tracked;
	__u64 written;
	bool own;
	bool progress;
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	struct record_request *request = state->input;
	struct failure *failure = request->failure;

	switch (key) {
	case 'o':
		request->path = argument;
		return 0;
	case 'i':
		return parse_time("interval", argument, NSEC_PER_MSEC,
				  &request->interval, failure);
	case 'd':
		return parse_time("duration", argument, NSEC_PER_SEC,
				  &request->duration, failure);
	case ARGP_KEY_ARG:
		if (state->quoted && state->next > state->quoted) {
			request->command = &state->argv[state->next - 1];
			state->next = state->argc;
			return 0;
		}
		if (request->pid)
			return fail(failure, STATUS_USAGE,
				    "'%s': one process at a time, please; a command is put behind --",
				    argument);
		return parse_pid(argument, &request->pid, failure);
	case ARGP_KEY_END:
		if (!request->path)
			return fail(failure, STATUS_USAGE,
				    "the name of the recording is missing; add -o FILE");
		if (request->pid && request->command)
			return fail(failure, STATUS_USAGE,
				    "process %d or a command: one of them, please",
				    request->pid);
		if (!request->pid && !request->command)
			return fail(failure, STATUS_USAGE,
				    "the number of a process is missing, or a command behind --; pagemap-scan record --help tells the usage");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "-o FILE PID\n-o FILE -- COMMAND [ARGUMENT...]",
	.doc = help_text,
};

/**
 * start_command - start what is to be recorded
 * @command: the command and its arguments, and NULL
 * @pid: receives its number
 * @failure: receives the error
 *
 * Return: 0 when it has started to execute, or -1 with an error noted.
 */
static int start_command(char **command, pid_t *pid, struct failure *failure)
{
	int started[2], error = 0;

	if (pipe2(started, O_CLOEXEC))
		return fail(failure, STATUS_ERROR, "cannot start %s: %s",
			    command[0], strerror(errno));
	*pid = fork();
	if (!*pid) {
		execvp(command[0], command);
		error = errno;
		_exit(write(started[1], &error, sizeof(error)) < 0 ? 126 : 127);
	}
	if (*pid < 0)
		error = errno;
	close(started[1]);
	/* Nothing comes where the descriptor was closed by the exec. */
	if (!error && read(started[0], &error, sizeof(error)) < 0)
		error = errno;
	close(started[0]);
	if (error)
		return fail(failure, STATUS_ERROR,
			    "cannot start %s: %s; it is a command with its arguments, as in: -- sort FILE",
			    command[0], strerror(error));
	return 0;
}

/* A collection. */

static __u32 permission_bits(const char *permissions)
{
	return (permissions[0] == 'r' ? RECORDING_READ : 0) |
	       (permissions[1] == 'w' ? RECORDING_WRITE : 0) |
	       (permissions[2] == 'x' ? RECORDING_EXECUTE : 0) |
	       (permissions[3] == 's' ? RECORDING_SHARED : 0);
}

static int take_mappings(void *data, const struct mapping_list *list,
			 struct failure *failure)
{
	struct record *record = data;
	struct recording_mapping *mappings;
	size_t i;
	int error;

	mappings = calloc(list->count + 1, sizeof(*mappings));
	if (!mappings)
		return fail_memory(failure);
	for (i = 0; i < list->count; i++) {
		const struct mapping *mapping = &list->mappings[i];

		mappings[i] = (struct recording_mapping){
			.start = mapping->range.start,
			.end = mapping->range.end,
			.permissions = permission_bits(mapping->permissions),
			.name = mapping->name,
		};
	}
	error = recording_write_mappings(record->writer, mappings, list->count,
					 failure);
	free(mappings);
	return error;
}

static int take_range(void *data, const struct mapping *mapping __maybe_unused,
		      const struct address_range *range, enum track_state state,
		      struct failure *failure)
{
	struct record *record = data;

	switch (state) {
	case TRACK_ARMED:
	case TRACK_NEW:
		record->tracked += (range->end - range->start) /
				   record->session.process.page_size;
		return 0;
	case TRACK_OWN:
		record->own = true;
		return recording_add_region(record->writer, range->start,
					    range->end, RECORDING_UNKNOWN,
					    failure);
	default:
		return 0;
	}
}

static int take_region(void *data, const struct mapping *mapping,
		       const struct page_region *region,
		       enum track_state state, struct failure *failure)
{
	struct record *record = data;

	if (!is_write(mapping, region))
		return 0;
	record->written += (region->end - region->start) /
			   record->session.process.page_size;
	return recording_add_region(record->writer, region->start, region->end,
				    region->categories |
				    (state == TRACK_NEW ? RECORDING_UNARMED : 0),
				    failure);
}

static enum session_state collect(struct record *record,
				  struct failure *failure)
{
	struct track_visitor visitor = {
		.mappings = take_mappings,
		.range = take_range,
		.region = take_region,
		.data = record,
	};
	enum session_state state;

	record->tracked = 0;
	state = session_collect(&record->session, &visitor, failure);
	/* Also where the process went meanwhile: what was found is right. */
	if (state != SESSION_FAILED &&
	    recording_write_interval(record->writer,
				     record->session.time - record->start,
				     record->session.collecting,
				     record->tracked, failure))
		return SESSION_FAILED;
	record->intervals++;
	return state;
}

/* Progress. */

/* A bar for the part of the time that has passed, if there is room for it. */
static void show_bar(double part, int width)
{
	int done;

	if (width > BAR_WIDTH)
		width = BAR_WIDTH;
	if (width < NARROWEST_BAR)
		return;
	done = part < 1 ? part * width : width;
	fprintf(stderr, "[%.*s%*s] ", done, "##############################",
		width - done, "");
}

/* The line is rewritten in place, which takes one that is not wrapped. */
static void show_progress(const struct record *record)
{
	__u64 passed = record->session.time - record->start;
	__u64 duration = record->request->duration;
	int width = terminal_width(STDERR_FILENO), length = 0;
	char text[128];

	if (!record->progress)
		return;
	length += snprintf(text, sizeof(text), "%.1f",
			   (double)passed / NSEC_PER_SEC);
	if (duration)
		length += snprintf(text + length, sizeof(text) - length,
				   " of %.1f",
				   (double)duration / NSEC_PER_SEC);
	length += snprintf(text + length, sizeof(text) - length,
			   " s, %llu pages written", record->written);
	fprintf(stderr, "\r");
	if (duration)
		show_bar((double)passed / duration,
			 width - length - BAR_FRAME - 1);
	fprintf(stderr, "%.*s\033[K", width - 1, text);
}

static void show_result(const struct record *record, const char *why)
{
	char size[SIZE_SIZE];
	struct stat status;

	if (stat(record->request->path, &status))
		status.st_size = 0;
	format_size(size, status.st_size, UNIT_HUMAN, 1);
	if (record->progress)
		fprintf(stderr, "\r\033[K");
	fprintf(stderr,
		"pagemap-scan: recorded %.1f s of process %d, %s: %llu collections, %llu pages written, %s in %s\n",
		(double)(record->session.time - record->start) / NSEC_PER_SEC,
		record->session.process.pid, why, record->intervals,
		record->written, size, record->request->path);
	if (record->own)
		fprintf(stderr,
			"pagemap-scan: a part of its memory is tracked by a userfaultfd of its own, or by another tracker; what it writes there is not known\n");
}

/* The recording. */

static int create_recording(struct record *record, struct failure *failure)
{
	struct recording_header header = {
		.page_size = record->session.process.page_size,
		.pid = record->session.process.pid,
		.interval = record->request->interval,
		.duration = record->request->duration,
		.counts_pages = true,
	};
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	header.start_seconds = now.tv_sec;
	header.start_nanoseconds = now.tv_nsec;
	session_command(&record->session, header.command);
	record->writer = recording_create(record->request->path, &header,
					  failure);
	return record->writer ? 0 : -1;
}

/**
 * record_session - collect until there is a reason to end
 * @record: the recording, which was begun
 * @reason: receives the reason
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
static int record_session(struct record *record, enum recording_reason *reason,
			  struct failure *failure)
{
	const struct record_request *request = record->request;
	__u64 next = record->start;
	__u64 end = request->duration ? next + request->duration : ~0ULL;
	enum session_state state;
	enum session_event event;

	*reason = RECORDING_ERROR;
	for (;;) {
		state = collect(record, failure);
		if (state == SESSION_FAILED)
			return -1;
		if (state == SESSION_EXITED) {
			*reason = RECORDING_EXITED;
			return 0;
		}
		show_progress(record);
		/* Another program: arm its memory at once. */
		if (state == SESSION_EXECED)
			continue;
		if (record->session.time >= end) {
			*reason = RECORDING_TIME_UP;
			return 0;
		}
		next += request->interval;
		if (next > end)
			next = end;
		/* Late, as a collection took longer than that. */
		if (next < monotonic_time())
			next = monotonic_time();
		do {
			event = session_wait(&record->session, next);
		} while (event == SESSION_RESIZED);
		if (event == SESSION_INTERRUPTED) {
			*reason = RECORDING_INTERRUPTED;
			/* What was written up to now. */
			state = collect(record, failure);
			return state == SESSION_FAILED ? -1 : 0;
		}
		if (event == SESSION_ENDED) {
			*reason = RECORDING_EXITED;
			return 0;
		}
	}
}

static int record_process(struct record *record, struct failure *failure)
{
	static const char *const why[RECORDING_REASONS] = {
		[RECORDING_TIME_UP] = "as long as asked for",
		[RECORDING_EXITED] = "which has exited",
		[RECORDING_EXECED] = "which has started another program",
		[RECORDING_INTERRUPTED] = "up to the interruption",
		[RECORDING_ERROR] = "up to the error",
	};
	struct failure second = {};
	enum recording_reason reason;
	int error;

	if (create_recording(record, failure))
		return -1;
	record->start = record->session.time;
	error = record_session(record, &reason, failure);
	if (error) {
		/* The first error is the one to tell. */
		recording_finish(record->writer, reason,
				 monotonic_time() - record->start,
				 failure->text, &second);
	} else {
		error = recording_finish(record->writer, reason,
					 monotonic_time() - record->start,
					 NULL, failure);
	}
	show_result(record, why[reason]);
	return error;
}

static int run(int argc, char **argv, struct failure *failure)
{
	struct record_request request = {
		.interval = 100 * NSEC_PER_MSEC,
		.failure = failure,
	};
	struct record record = {
		.request = &request,
		.progress = isatty(STDERR_FILENO),
	};
	bool help;
	int error;

	if (parse_arguments("record", &argp, argc, argv, &request, &help,
			    failure))
		return -1;
	if (help)
		return 0;
	/* Better not to start it than to leave it to itself. */
	if (request.command &&
	    (require_tracking(failure) ||
	     start_command(request.command, &request.pid, failure)))
		return -1;
	error = open_session(&record.session, request.pid, failure);
	if (!error)
		error = record_process(&record, failure);
	close_session(&record.session);
	return error;
}

SUBCOMMAND(record, "what the process writes, into a file", run);
