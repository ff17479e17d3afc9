// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan watch: what a process writes, live
 *
 * Tracks the process, collects what it wrote at each interval, and prints that
 * per second: for the process and its busiest mappings on a terminal, in place;
 * a line per interval elsewhere.
 *
 * The first collection has all that was populated before, so it only starts
 * the clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <json-c/json.h>

#include "pagemap-scan-json.h"
#include "pagemap-scan-options.h"
#include "pagemap-scan-output.h"
#include "pagemap-scan-session.h"

/* Lines of the view that are not rows of mappings. */
#define VIEW_LINES	6
/* Room for a line of it without names: each number has a SIZE_SIZE. */
#define LINE_SIZE	256
/* Columns that a name takes at least, or else it is left out. */
#define NARROWEST_NAME	8
/* Mappings that a line in a pipe names. */
#define LINE_MAPPINGS	3

enum option_id {
	OPTION_JSON = FIRST_LONG_OPTION,
	OPTION_CSV,
	OPTION_BYTES,
	OPTION_COLOUR,
};

static const struct argp_option options[] = {
	{ "interval", 'i', "SECONDS", 0,
	  "time between two collections (default: 1)", 1 },
	{ "count", 'n', "COUNT", 0,
	  "end after so many intervals (default: when the process does)", 1 },
	{ "bytes", OPTION_BYTES, NULL, 0, "sizes in bytes", 2 },
	{ "colour", OPTION_COLOUR, "WHEN", 0,
	  "auto (default: on a terminal), always, never", 2 },
	{ "color", 0, NULL, OPTION_ALIAS, NULL, 2 },
	{ "json", OPTION_JSON, NULL, 0, "print a JSON object per interval", 3 },
	{ "csv", OPTION_CSV, NULL, 0,
	  "print a row of comma-separated values per interval and mapping that was written", 3 },
	{}
};

static const char help_text[] =
	"Show what process PID writes, live, without stopping it: pages and bytes per second, for all of it and for its busiest mappings."
	HELP_BELOW
	"A page counts once per interval, however often it was written.\n"
	"Memory that the process tracks by a userfaultfd of its own, or that another tracker has, cannot be watched; how much that is, is told.\n"
	"If the process starts another program, that is watched; what it forks is not.";

/**
 * enum watch_form - what is printed
 * @WATCH_VIEW: a table in place
 * @WATCH_LINES: a line per interval
 * @WATCH_JSON: an object per interval
 * @WATCH_CSV: rows
 */
enum watch_form {
	WATCH_VIEW,
	WATCH_LINES,
	WATCH_JSON,
	WATCH_CSV,
};

/**
 * struct watch_request - what the command line asks for
 * @pid: the process
 * @interval: nanoseconds between two collections
 * @count: how many intervals to show, 0 for no limit
 * @form: what to print
 * @unit: how to print sizes
 * @colour: when to use colours
 * @failure: receives the error
 */
struct watch_request {
	pid_t pid;
	__u64 interval;
	__u64 count;
	enum watch_form form;
	enum unit unit;
	enum colour_choice colour;
	struct failure *failure;
};

/**
 * struct watch_row - a mapping in an interval
 * @mapping: the mapping
 * @pages: how many of its pages were written
 */
struct watch_row {
	const struct mapping *mapping;
	__u64 pages;
};

/**
 * struct watch - what an interval had
 * @request: the command line
 * @session: the process
 * @start: when the first interval began
 * @length: nanoseconds of the interval
 * @number: of the interval, the first is 1
 * @rows: the mappings that were written; by pages, when the interval is over
 * @row_count: number of elements of @rows that are in use
 * @row_room: number of elements of @rows that are allocated
 * @pages: sum over @rows
 * @tracked: bytes in mappings that are tracked
 * @own: bytes in those that the process, or somebody else, tracks
 * @noted_own: whether that was told
 */
struct watch {
	const struct watch_request *request;
	struct session session;
	__u64 start;
	__u64 length;
	__u64 number;
	struct watch_row *rows;
	size_t row_count;
	size_t row_room;
	__u64 pages;
	__u64 tracked;
	__u64 own;
	bool noted_own;
};

/* The command line. */

static int choose_form(struct watch_request *request, enum watch_form form)
{
	if (request->form >= WATCH_JSON && request->form != form)
		return fail(request->failure, STATUS_USAGE,
			    "--json and --csv exclude each other; leave one out");
	request->form = form;
	return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	struct watch_request *request = state->input;
	struct failure *failure = request->failure;

	switch (key) {
	case 'i':
		return parse_time("interval", argument, NSEC_PER_SEC,
				  &request->interval, failure);
	case 'n':
		return parse_count("count", argument, &request->count, failure);
	case OPTION_BYTES:
		request->unit = UNIT_BYTES;
		return 0;
	case OPTION_COLOUR:
		return parse_colour("colour", argument, &request->colour,
				    failure);
	case OPTION_JSON:
		return choose_form(request, WATCH_JSON);
	case OPTION_CSV:
		return choose_form(request, WATCH_CSV);
	case ARGP_KEY_ARG:
		if (request->pid)
			return fail(failure, STATUS_USAGE,
				    "'%s': one process at a time, please",
				    argument);
		return parse_pid(argument, &request->pid, failure);
	case ARGP_KEY_END:
		if (!request->pid)
			return fail(failure, STATUS_USAGE,
				    "the number of the process is missing; pagemap-scan watch --help tells the usage");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "PID",
	.doc = help_text,
};

/* A collection. */

static int take_range(void *data, const struct mapping *mapping,
		      const struct address_range *range, enum track_state state,
		      struct failure *failure)
{
	struct watch *watch = data;
	__u64 size = range->end - range->start;

	if (state == TRACK_OWN)
		watch->own += size;
	if (state != TRACK_ARMED && state != TRACK_NEW)
		return 0;
	watch->tracked += size;
	if (watch->row_count &&
	    watch->rows[watch->row_count - 1].mapping == mapping)
		return 0;
	if (watch->row_count == watch->row_room) {
		size_t room = watch->row_room ? 2 * watch->row_room : 256;
		struct watch_row *larger = reallocarray(watch->rows, room,
							sizeof(*larger));

		if (!larger)
			return fail_memory(failure);
		watch->rows = larger;
		watch->row_room = room;
	}
	watch->rows[watch->row_count++] = (struct watch_row){
		.mapping = mapping,
	};
	return 0;
}

static int take_region(void *data, const struct mapping *mapping,
		       const struct page_region *region,
		       enum track_state state __maybe_unused,
		       struct failure *failure __maybe_unused)
{
	struct watch *watch = data;
	__u64 pages = (region->end - region->start) /
		      watch->session.process.page_size;

	if (!is_write(mapping, region))
		return 0;
	watch->rows[watch->row_count - 1].pages += pages;
	watch->pages += pages;
	return 0;
}

static int compare_rows(const void *one, const void *other)
{
	const struct watch_row *a = one;
	const struct watch_row *b = other;

	if (a->pages != b->pages)
		return a->pages < b->pages ? 1 : -1;
	return a->mapping < b->mapping ? -1 : 1;
}

/* Collect, and leave only the rows that have something, the busiest first. */
static enum session_state collect(struct watch *watch, struct failure *failure)
{
	struct track_visitor visitor = {
		.range = take_range,
		.region = take_region,
		.data = watch,
	};
	__u64 last = watch->session.time;
	enum session_state state;

	watch->row_count = 0;
	watch->pages = 0;
	watch->tracked = 0;
	watch->own = 0;
	state = session_collect(&watch->session, &visitor, failure);
	watch->length = watch->session.time - last;
	qsort(watch->rows, watch->row_count, sizeof(*watch->rows),
	      compare_rows);
	while (watch->row_count && !watch->rows[watch->row_count - 1].pages)
		watch->row_count--;
	return state;
}

static __u64 per_second(const struct watch *watch, __u64 number)
{
	return watch->length ?
	       ((double)number * NSEC_PER_SEC / watch->length) + 0.5 : 0;
}

static double seconds(const struct watch *watch)
{
	return (double)(watch->session.time - watch->start) / NSEC_PER_SEC;
}

/* Text. */

static const char *mapping_label(const struct mapping *mapping)
{
	return *mapping->name ? mapping->name : "(anonymous)";
}

static void format_rate(char text[SIZE_SIZE], const struct watch *watch,
			__u64 pages)
{
	__u64 page_size = watch->session.process.page_size;

	format_size(text, per_second(watch, pages * page_size),
		    watch->request->unit, page_size);
}

static void print_line(const struct watch *watch)
{
	char rate[SIZE_SIZE];
	size_t i;

	format_rate(rate, watch, watch->pages);
	printf("%9.3f s  %8llu pages/s  %7s/s ", seconds(watch),
	       per_second(watch, watch->pages), rate);
	for (i = 0; i < watch->row_count && i < LINE_MAPPINGS; i++) {
		const struct mapping *mapping = watch->rows[i].mapping;

		printf("%s %llu%% ", i ? "," : "",
		       100 * watch->rows[i].pages / watch->pages);
		if (*mapping->name)
			print_name(mapping->name, SIZE_MAX);
		else
			printf("%llx", mapping->range.start);
	}
	putchar('\n');
}

/* The end of a line: what was there before goes. */
static void end_line(void)
{
	printf("\033[K\n");
}

/* A line that is cut at the right border. */
static void print_cut(bool colours, enum style style, const char *text,
		      unsigned int width)
{
	char line[LINE_SIZE];

	snprintf(line, sizeof(line), "%.*s", (int)width, text);
	print_styled(colours, style, line);
	end_line();
}

/* A row of the view: the name gets what the numbers leave. */
static void print_row(const struct watch *watch, const struct watch_row *row,
		      unsigned int width)
{
	const struct mapping *mapping = row->mapping;
	char rate[SIZE_SIZE], size[SIZE_SIZE], line[LINE_SIZE];
	unsigned int length;

	format_rate(rate, watch, row->pages);
	format_size(size, mapping->range.end - mapping->range.start,
		    watch->request->unit, watch->session.process.page_size);
	length = snprintf(line, sizeof(line), "%12llx %7s %9llu %9s  ",
			  mapping->range.start, size,
			  per_second(watch, row->pages), rate);
	printf("%.*s", (int)width, line);
	if (length + NARROWEST_NAME <= width)
		print_name(mapping_label(mapping), width - length);
	end_line();
}

static void print_view(const struct watch *watch, bool colours)
{
	unsigned int height = terminal_height(), width = terminal_width(STDOUT_FILENO);
	__u64 page_size = watch->session.process.page_size;
	char rate[SIZE_SIZE], size[SIZE_SIZE], own[SIZE_SIZE];
	char command[COMMAND_SIZE], line[LINE_SIZE];
	size_t i, rows = height > VIEW_LINES ? height - VIEW_LINES : 1;
	unsigned int length;

	printf("\033[H");
	session_command(&watch->session, command);
	length = snprintf(line, sizeof(line), "%d ", watch->request->pid);
	print_styled(colours, STYLE_STRONG, line);
	if (length + NARROWEST_NAME <= width)
		print_name(command, width - length);
	end_line();
	format_rate(rate, watch, watch->pages);
	format_size(size, watch->tracked, watch->request->unit, page_size);
	format_size(own, watch->own, watch->request->unit, page_size);
	snprintf(line, sizeof(line),
		 "%.1f s: %llu pages/s, %s/s, of %s tracked%s%s",
		 seconds(watch), per_second(watch, watch->pages), rate, size,
		 watch->own ? "; not tracked: " : "", watch->own ? own : "");
	print_cut(colours, STYLE_PLAIN, line, width);
	end_line();
	snprintf(line, sizeof(line), "%-12s %7s %9s %9s  NAME", "ADDRESS",
		 "SIZE", "PAGES/S", "BYTES/S");
	print_cut(colours, STYLE_STRONG, line, width);
	for (i = 0; i < watch->row_count && i < rows; i++)
		print_row(watch, &watch->rows[i], width);
	if (i < watch->row_count) {
		snprintf(line, sizeof(line), "and %zu mappings more",
			 watch->row_count - i);
		print_cut(colours, STYLE_FAINT, line, width);
	}
	printf("\033[J");
	fflush(stdout);
}

/* For programs. */

static struct json_object *json_row(const struct watch *watch,
				    const struct watch_row *row)
{
	struct json_object *object = json_object_new_object();
	const struct mapping *mapping = row->mapping;
	bool replaced;

	json_object_object_add(object, "start",
			       json_address(mapping->range.start));
	json_object_object_add(object, "end", json_address(mapping->range.end));
	json_object_object_add(object, "permissions",
			       json_object_new_string(mapping->permissions));
	json_object_object_add(object, "name",
			       json_text(mapping->name, &replaced));
	if (replaced)
		json_object_object_add(object, "name_hex",
				       json_hex(mapping->name));
	json_object_object_add(object, "pages",
			       json_object_new_uint64(row->pages));
	json_object_object_add(object, "pages_per_second",
			       json_object_new_uint64(per_second(watch, row->pages)));
	return object;
}

static int print_json(const struct watch *watch, struct failure *failure)
{
	struct json_object *object = json_object_new_object();
	struct json_object *rows = json_object_new_array();
	__u64 page_size = watch->session.process.page_size;
	const char *text;
	size_t i;

	json_object_object_add(object, "pid",
			       json_object_new_int(watch->request->pid));
	json_object_object_add(object, "seconds",
			       json_object_new_double(seconds(watch)));
	json_object_object_add(object, "interval",
			       json_object_new_double((double)watch->length /
						      NSEC_PER_SEC));
	json_object_object_add(object, "page_size",
			       json_object_new_uint64(page_size));
	json_object_object_add(object, "pages",
			       json_object_new_uint64(watch->pages));
	json_object_object_add(object, "pages_per_second",
			       json_object_new_uint64(per_second(watch, watch->pages)));
	json_object_object_add(object, "tracked_bytes",
			       json_object_new_uint64(watch->tracked));
	json_object_object_add(object, "not_tracked_bytes",
			       json_object_new_uint64(watch->own));
	for (i = 0; i < watch->row_count; i++)
		json_object_array_add(rows, json_row(watch, &watch->rows[i]));
	json_object_object_add(object, "mappings", rows);
	text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
					      JSON_C_TO_STRING_NOSLASHESCAPE);
	if (text)
		puts(text);
	json_object_put(object);
	return text ? 0 : fail_memory(failure);
}

static void print_csv(const struct watch *watch)
{
	size_t i;

	for (i = 0; i < watch->row_count; i++) {
		const struct watch_row *row = &watch->rows[i];

		printf("%.3f,0x%llx,0x%llx,%s,%llu,%llu,", seconds(watch),
		       row->mapping->range.start, row->mapping->range.end,
		       row->mapping->permissions, row->pages,
		       per_second(watch, row->pages));
		print_csv_field(row->mapping->name);
		printf("\n");
	}
}

static int print_interval(const struct watch *watch, bool colours,
			  struct failure *failure)
{
	switch (watch->request->form) {
	case WATCH_VIEW:
		print_view(watch, colours);
		break;
	case WATCH_LINES:
		print_line(watch);
		break;
	case WATCH_JSON:
		if (print_json(watch, failure))
			return -1;
		break;
	case WATCH_CSV:
		print_csv(watch);
		break;
	}
	/* Who reads a pipe wants each line when it is due. */
	if (fflush(stdout) || ferror(stdout))
		return fail(failure, STATUS_ERROR,
			    "cannot write the result: %s", strerror(errno));
	return 0;
}

static void note(const struct watch *watch, const char *text)
{
	fprintf(stderr, "pagemap-scan: process %d %s\n", watch->request->pid,
		text);
}

/* Once, and not where it would be amid the view, which says so itself. */
static void note_own(struct watch *watch)
{
	char size[SIZE_SIZE];

	if (!watch->own || watch->noted_own ||
	    watch->request->form == WATCH_VIEW)
		return;
	watch->noted_own = true;
	format_size(size, watch->own, UNIT_HUMAN, 1);
	fprintf(stderr,
		"pagemap-scan: %s cannot be watched, as they are tracked by a userfaultfd of its own, or by another tracker\n",
		size);
}

/* Wait for the end of an interval; draws again when the terminal changes. */
static enum session_event wait_interval(struct watch *watch, __u64 until,
					bool colours)
{
	enum session_event event;

	for (;;) {
		event = session_wait(&watch->session, until);
		if (event != SESSION_RESIZED)
			return event;
		if (watch->request->form == WATCH_VIEW && watch->number)
			print_view(watch, colours);
	}
}

static int watch_session(struct watch *watch, struct failure *failure)
{
	const struct watch_request *request = watch->request;
	bool colours = use_colours(request->colour);
	enum session_state state = collect(watch, failure);
	__u64 next = watch->session.time;

	watch->start = watch->session.time;
	if (request->form == WATCH_VIEW)
		printf("\033[2J");
	if (request->form == WATCH_CSV)
		printf("seconds,start,end,permissions,pages,pages_per_second,name\n");
	while (state != SESSION_FAILED) {
		if (state == SESSION_EXITED) {
			note(watch, "has exited");
			return 0;
		}
		if (state == SESSION_EXECED) {
			note(watch, "has started another program");
			/* All of its memory is new: start the clock again. */
			state = collect(watch, failure);
			if (state != SESSION_RUNS)
				continue;
			next = watch->session.time;
		} else if (watch->number) {
			note_own(watch);
			if (print_interval(watch, colours, failure))
				return -1;
			if (watch->number == request->count)
				return 0;
		}
		next += request->interval;
		/* Late, as a collection took longer than that. */
		if (next < monotonic_time())
			next = monotonic_time();
		switch (wait_interval(watch, next, colours)) {
		case SESSION_INTERRUPTED:
			return 0;
		case SESSION_ENDED:
			note(watch, "has exited");
			return 0;
		default:
			break;
		}
		watch->number++;
		state = collect(watch, failure);
	}
	return -1;
}

static int run(int argc, char **argv, struct failure *failure)
{
	struct watch_request request = {
		.interval = NSEC_PER_SEC,
		.form = isatty(STDOUT_FILENO) ? WATCH_VIEW : WATCH_LINES,
		.failure = failure,
	};
	struct watch watch = { .request = &request };
	bool help;
	int error;

	if (parse_arguments("watch", &argp, argc, argv, &request, &help,
			    failure))
		return -1;
	if (help)
		return 0;
	error = open_session(&watch.session, request.pid, failure);
	if (!error)
		error = watch_session(&watch, failure);
	close_session(&watch.session);
	free(watch.rows);
	return error;
}

SUBCOMMAND(watch, "what the process writes, live", run);
