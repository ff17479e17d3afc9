// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan report: show what a process wrote while it was recorded
 *
 * All figures are computed before the first is printed: what is printed is
 * whole, or there is an error and nothing else.
 */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pagemap-scan-report.h"

/**
 * struct request - what the command line asks for
 * @path: name of the recording's file
 * @rows: how many rows the write rate may have, 0 for no limit
 * @top: how many rows the tables of ranges and of mappings may have
 * @bytes: print sizes exactly
 * @truncated: report the whole part of a recording that has no end
 * @help: only print how the program is used
 * @json: print JSON
 * @csv: print this table as CSV
 * @heatmap: draw a heatmap into that file; "-" for the terminal
 * @failure: receives the error
 */
struct request {
	const char *path;
	size_t rows;
	size_t top;
	bool bytes;
	bool truncated;
	bool help;
	bool json;
	enum report_csv csv;
	const char *heatmap;
	struct failure *failure;
};

/* The command line. */

enum option_id {
	OPTION_ROWS = UCHAR_MAX + 1,
	OPTION_TOP,
	OPTION_BYTES,
	OPTION_TRUNCATED,
	OPTION_JSON,
	OPTION_CSV,
	OPTION_HEATMAP,
	OPTION_HELP = 'h',
};

static const struct argp_option options[] = {
	{ "rows", OPTION_ROWS, "N", 0,
	  "At most N rows for the write rate, 0: one per interval (default: 20)",
	  0 },
	{ "top", OPTION_TOP, "N", 0,
	  "At most N ranges and mappings, those with most writes, 0: all (default: 10)",
	  0 },
	{ "bytes", OPTION_BYTES, NULL, 0, "Exact numbers of bytes", 0 },
	{ "heatmap", OPTION_HEATMAP, "OUT", 0,
	  "Only draw when which addresses were written, into OUT.svg or OUT.png, or '-': on the terminal",
	  0 },
	{ "json", OPTION_JSON, NULL, 0, "Print one JSON object", 0 },
	{ "csv", OPTION_CSV, "TABLE", OPTION_ARG_OPTIONAL,
	  "Print a table as CSV: intervals (default), windows, ranges or mappings",
	  0 },
	{ "truncated", OPTION_TRUNCATED, NULL, 0,
	  "Report the whole part of a recording that has no end, or is corrupt",
	  0 },
	{ "help", OPTION_HELP, NULL, 0, "Print this text", 0 },
	{ NULL, 0, NULL, 0, NULL, 0 },
};

static int parse_count(const char *option, const char *text, size_t *count,
		       struct failure *failure)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9')
		return fail(failure, STATUS_USAGE,
			    "--%s: '%s' is not a number of rows, as in 20",
			    option, text);
	*count = value;
	return 0;
}

static int parse_table(const char *text, enum report_csv *table,
		       struct failure *failure)
{
	static const char * const names[] = {
		[REPORT_CSV_INTERVALS] = "intervals",
		[REPORT_CSV_WINDOWS] = "windows",
		[REPORT_CSV_RANGES] = "ranges",
		[REPORT_CSV_MAPPINGS] = "mappings",
	};
	size_t i;

	if (!text)
		text = names[REPORT_CSV_INTERVALS];
	for (i = REPORT_CSV_INTERVALS; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(text, names[i])) {
			*table = i;
			return 0;
		}
	}
	return fail(failure, STATUS_USAGE,
		    "--csv: there is no table '%s'; use intervals, windows, ranges or mappings",
		    text);
}

static int parse_heatmap(const char *text, const char **heatmap,
			 struct failure *failure)
{
	const char *suffix = strrchr(text, '.');

	if (strcmp(text, "-") &&
	    (!suffix || (strcmp(suffix, ".svg") && strcmp(suffix, ".png"))))
		return fail(failure, STATUS_USAGE,
			    "--heatmap: '%s' ends neither in .svg nor in .png; use such a name, or - for the terminal",
			    text);
	*heatmap = text;
	return 0;
}

/* Note what is wrong with the argument that argp does not understand. */
static int fail_argument(const struct argp_state *state,
			 struct failure *failure)
{
	const char *argument = state->argv[state->next - 1];
	size_t i;

	for (i = 0; options[i].name; i++)
		if (!strncmp(argument, "--", 2) &&
		    !strcmp(argument + 2, options[i].name) && options[i].arg)
			return fail(failure, STATUS_USAGE,
				    "%s must be followed by a value; --help tells which",
				    argument);
	return fail(failure, STATUS_USAGE,
		    "%s is not understood; --help lists the options",
		    argument);
}

static int parse_option(int id, char *argument, struct request *request)
{
	struct failure *failure = request->failure;

	switch (id) {
	case OPTION_ROWS:
		return parse_count("rows", argument, &request->rows, failure);
	case OPTION_TOP:
		return parse_count("top", argument, &request->top, failure);
	case OPTION_BYTES:
		request->bytes = true;
		return 0;
	case OPTION_TRUNCATED:
		request->truncated = true;
		return 0;
	case OPTION_JSON:
		request->json = true;
		return 0;
	case OPTION_CSV:
		return parse_table(argument, &request->csv, failure);
	case OPTION_HEATMAP:
		return parse_heatmap(argument, &request->heatmap, failure);
	case OPTION_HELP:
		request->help = true;
		return 0;
	case ARGP_KEY_ARG:
		if (request->path)
			return fail(failure, STATUS_USAGE,
				    "'%s': one recording at a time, please",
				    argument);
		request->path = argument;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* What argp calls; an error ends it with EINVAL, and is noted. */
static error_t parse_key(int key, char *argument, struct argp_state *state)
{
	struct request *request = state->input;
	int error;

	if (key == ARGP_KEY_ERROR) {
		if (request->failure->status == STATUS_OK)
			fail_argument(state, request->failure);
		return 0;
	}
	error = parse_option(key, argument, request);
	return error < 0 ? EINVAL : error;
}

static const struct argp parser = {
	.options = options,
	.parser = parse_key,
	.args_doc = "FILE",
	.doc = "Show what a process wrote while 'pagemap-scan record' made FILE:\n"
	       "how much, how fast, its working set, and what it writes most often.\n"
	       "\vExit status: 0 if all is well, 1 where there can be no report,\n"
	       "2 for a mistake in the command line.",
};

static void print_help(void)
{
	char name[] = "pagemap-scan report";

	argp_help(&parser, stdout, ARGP_HELP_USAGE | ARGP_HELP_LONG |
		  ARGP_HELP_DOC, name);
}

static int parse_command_line(int argc, char **argv, struct request *request)
{
	struct failure *failure = request->failure;
	int error;

	failure->status = STATUS_OK;
	error = argp_parse(&parser, argc, argv,
			   ARGP_NO_EXIT | ARGP_NO_ERRS | ARGP_NO_HELP, NULL,
			   request);
	if (error == ENOMEM)
		return report_fail_memory(failure);
	if (error)
		return -1;
	if (request->help)
		return 0;
	if (!request->path)
		return fail(failure, STATUS_USAGE,
			    "the name of the recording is missing; --help tells the usage");
	if (!!request->json + !!request->csv + !!request->heatmap > 1)
		return fail(failure, STATUS_USAGE,
			    "--json, --csv and --heatmap exclude each other; use one at a time");
	return 0;
}

/* Tables. */

#define COLOUR_TITLE		"\033[1m"
#define COLOUR_BAR		"\033[36m"
#define COLOUR_FAINT		"\033[2m"
#define COLOUR_OFF		"\033[0m"

/**
 * struct printer - what the tables are printed from
 * @figures: the figures
 * @request: what was asked for
 * @style: how to print
 */
struct printer {
	const struct report_figures *figures;
	const struct request *request;
	struct report_style style;
};

static const char *colour(const struct printer *printer, const char *code)
{
	return printer->style.colour ? code : "";
}

static void print_title(const struct printer *printer, const char *title)
{
	printf("\n%s%s%s\n", colour(printer, COLOUR_TITLE), title,
	       colour(printer, COLOUR_OFF));
}

static const char *format_pages(const struct printer *printer,
				char text[REPORT_SIZE_TEXT], double pages)
{
	__u64 page_size = printer->figures->recording->header.page_size;

	return report_format_size(text, pages * page_size, &printer->style);
}

static const char *plural(__u64 count)
{
	return count == 1 ? "" : "s";
}

/* Print a text of any bytes that begins at a column, and end the line. */
static int print_name(const struct printer *printer, const char *name,
		      int column, struct failure *failure)
{
	const struct report_style *style = &printer->style;
	char *text = report_printable(name, style->utf8);
	int room = style->columns - column;

	if (!text)
		return report_fail_memory(failure);
	if (style->cut_names)
		printf("%s\n", report_fit(&text, room > 12 ? room : 12,
					  style->utf8));
	else
		printf("%s\n", text);
	free(text);
	return 0;
}

static int print_recording(const struct printer *printer,
			   struct failure *failure)
{
	const struct report_figures *figures = printer->figures;
	const struct recording_header *header = &figures->recording->header;
	time_t seconds = header->start_seconds;
	char duration[REPORT_SIZE_TEXT], interval[REPORT_SIZE_TEXT];
	char start[64] = "?";
	struct tm time;
	char *command;

	if (localtime_r(&seconds, &time))
		strftime(start, sizeof(start), "%F %T %Z", &time);
	command = report_printable(header->command, printer->style.utf8);
	if (!command)
		return report_fail_memory(failure);
	printf("%s%s%s, process %u, recorded %s\n",
	       colour(printer, COLOUR_TITLE), command,
	       colour(printer, COLOUR_OFF), header->pid, start);
	free(command);
	printf("%s in %zu interval%s of %s; %s\n",
	       report_format_time(duration, figures->duration),
	       figures->interval_count, plural(figures->interval_count),
	       report_format_time(interval, header->interval),
	       report_reason(figures));
	if (*figures->recording->end.text)
		return print_name(printer, figures->recording->end.text, 0,
				  failure);
	return 0;
}

static void print_total(const struct printer *printer, const char *title,
			__u64 pages, const char *remark)
{
	char size[REPORT_SIZE_TEXT];

	printf("  %-12s %14s  %12llu page%-1s  %s\n", title,
	       format_pages(printer, size, pages), pages, plural(pages),
	       remark);
}

static void print_totals(const struct printer *printer)
{
	const struct report_figures *figures = printer->figures;
	const struct report_interval *total = &figures->total;

	print_title(printer, "Totals");
	print_total(printer, "written", total->written,
		    "once per interval");
	print_total(printer, "distinct", figures->distinct,
		    "counted once");
	if (total->unarmed)
		print_total(printer, "new", total->unarmed,
			    "taken for written");
	if (total->unknown)
		print_total(printer, "not known", total->unknown,
			    "tracked by itself");
	if (figures->duration) {
		char rate[REPORT_SIZE_TEXT];

		format_pages(printer, rate,
			     total->written / (figures->duration / 1e9));
		printf("  %-12s %14s/s\n", "rate", rate);
		printf("  %-12s %14.2f %%            of the time\n",
		       "collecting",
		       100.0 * total->collecting / figures->duration);
	}
}

/**
 * print_bar - print a bar, and end the line
 * @printer: how to print
 * @share: its length, 1 for that of the longest
 * @width: columns of the longest
 */
static void print_bar(const struct printer *printer, double share, int width)
{
	static const char * const eighths[] = {
		"", "\xe2\x96\x8f", "\xe2\x96\x8e", "\xe2\x96\x8d",
		"\xe2\x96\x8c", "\xe2\x96\x8b", "\xe2\x96\x8a",
		"\xe2\x96\x89",
	};
	bool utf8 = printer->style.utf8;
	int length = share * width * 8 + 0.5;
	int i;

	/* Something written is never shown as nothing. */
	if (share > 0 && length < (utf8 ? 1 : 8))
		length = utf8 ? 1 : 8;
	printf("%s", colour(printer, COLOUR_BAR));
	for (i = 0; i < length / 8; i++)
		printf("%s", utf8 ? "\xe2\x96\x88" : "#");
	if (utf8)
		printf("%s", eighths[length % 8]);
	printf("%s\n", colour(printer, COLOUR_OFF));
}

/**
 * struct rate - a row of the write rate
 * @from: when it begins
 * @to: when it ends
 * @pages: pages written meanwhile
 */
struct rate {
	__u64 from;
	__u64 to;
	__u64 pages;
};

/* Pages in a second; of no time at all, none. */
static double rate_of(const struct rate *rate)
{
	if (rate->to == rate->from)
		return 0;
	return rate->pages / ((rate->to - rate->from) / 1e9);
}

/* Fold intervals into a row. */
static struct rate fold(const struct report_figures *figures, size_t first,
			size_t count)
{
	const struct report_interval *interval = &figures->intervals[first];
	struct rate rate = { .from = interval->time - interval->length };
	size_t i;

	for (i = first; i < first + count && i < figures->interval_count; i++) {
		rate.to = figures->intervals[i].time;
		rate.pages += figures->intervals[i].written;
	}
	return rate;
}

static void print_rates(const struct printer *printer)
{
	const struct report_figures *figures = printer->figures;
	size_t rows = printer->request->rows;
	size_t folded = 1;
	double largest = 0;
	size_t i;

	if (!figures->interval_count)
		return;
	if (rows && figures->interval_count > rows)
		folded = (figures->interval_count + rows - 1) / rows;
	for (i = 0; i < figures->interval_count; i += folded) {
		struct rate rate = fold(figures, i, folded);

		if (largest < rate_of(&rate))
			largest = rate_of(&rate);
	}

	print_title(printer, "Write rate");
	if (folded > 1)
		printf("%11s %14s   %zu intervals a row\n", "FROM", "WRITTEN/s",
		       folded);
	else
		printf("%11s %14s\n", "FROM", "WRITTEN/s");
	for (i = 0; i < figures->interval_count; i += folded) {
		struct rate rate = fold(figures, i, folded);
		char text[REPORT_SIZE_TEXT];

		printf("%9.3f s %14s  ", rate.from / 1e9,
		       format_pages(printer, text, rate_of(&rate)));
		print_bar(printer, largest > 0 ? rate_of(&rate) / largest : 0,
			  printer->style.columns - 30);
	}
}

static void print_windows(const struct printer *printer)
{
	const struct report_figures *figures = printer->figures;
	char mean[REPORT_SIZE_TEXT], median[REPORT_SIZE_TEXT];
	char max[REPORT_SIZE_TEXT], length[REPORT_SIZE_TEXT];
	size_t i;

	if (!figures->interval_count)
		return;
	print_title(printer, "Working set: distinct pages written in a time of");
	printf("%11s %9s %14s %14s %14s\n", "LENGTH", "TIMES", "MEAN",
	       "MEDIAN", "MAX");
	for (i = 0; i < REPORT_WINDOWS; i++) {
		const struct report_window *window = &figures->windows[i];

		if (!window->count)
			continue;
		printf("%11s %9llu %14s %14s %14s\n", window->length ?
		       report_format_time(length, window->length) : "all",
		       window->count, format_pages(printer, mean, window->mean),
		       format_pages(printer, median, window->median),
		       format_pages(printer, max, window->max));
	}
}

static int print_ranges(const struct printer *printer, struct failure *failure)
{
	const struct report_figures *figures = printer->figures;
	__u64 page_size = figures->recording->header.page_size;
	size_t i;

	if (!figures->range_count)
		return 0;
	print_title(printer, "Written most often");
	printf("%16s %10s %10s %6s  NAME\n", "ADDRESS", "SIZE", "INTERVALS",
	       "SHARE");
	for (i = 0; i < figures->range_count &&
	     i < printer->request->top; i++) {
		const struct report_range *range = figures->hottest[i];
		char size[REPORT_SIZE_TEXT];

		printf("%16llx %10s %10u %4.0f %%  ",
		       range->start * page_size,
		       format_pages(printer, size, range->end - range->start),
		       range->intervals,
		       100.0 * range->intervals / figures->interval_count);
		if (print_name(printer,
			       report_mapping_name(figures, range->mapping), 47,
			       failure))
			return -1;
	}
	if (i < figures->range_count)
		printf("%s%16s and %zu more range%s%s\n",
		       colour(printer, COLOUR_FAINT), "",
		       figures->range_count - i,
		       plural(figures->range_count - i),
		       colour(printer, COLOUR_OFF));
	return 0;
}

static int compare_written(const void *first, const void *second,
			   void *context)
{
	const struct report_mapping *mappings = context;
	const __u32 *one = first, *other = second;

	if (mappings[*one].written != mappings[*other].written)
		return mappings[*one].written > mappings[*other].written ?
		       -1 : 1;
	return (*one > *other) - (*one < *other);
}

static int print_mapping(const struct printer *printer, __u32 id,
			 struct failure *failure)
{
	const struct report_figures *figures = printer->figures;
	const struct report_mapping *counted = &figures->mappings[id];
	char size[REPORT_SIZE_TEXT] = "", written[REPORT_SIZE_TEXT];
	char distinct[REPORT_SIZE_TEXT];

	if (id < figures->recording->mapping_count) {
		const struct recording_mapping *mapping =
			&figures->recording->mappings[id];

		printf("%16llx %10s", mapping->start,
		       report_format_size(size, mapping->end - mapping->start,
					  &printer->style));
	} else {
		printf("%16s %10s", "-", "-");
		id = REPORT_NO_MAPPING;
	}
	printf(" %10s %10s  ", format_pages(printer, written, counted->written),
	       format_pages(printer, distinct, counted->distinct));
	return print_name(printer, report_mapping_name(figures, id), 51,
			  failure);
}

/* The mappings that were written, or of which that is not known. */
static int print_mappings(const struct printer *printer,
			  struct failure *failure)
{
	const struct report_figures *figures = printer->figures;
	size_t count = 0, left = 0, i;
	__u32 *ids;
	int error = 0;

	ids = calloc((size_t)figures->mapping_count + 1, sizeof(*ids));
	if (!ids)
		return report_fail_memory(failure);
	for (i = 0; i <= figures->mapping_count; i++) {
		if (figures->mappings[i].written)
			ids[count++] = i;
		else if (i < figures->recording->mapping_count)
			left++;
	}
	if (count) {
		qsort_r(ids, count, sizeof(*ids), compare_written,
			figures->mappings);
		print_title(printer, "Mappings");
		printf("%16s %10s %10s %10s  NAME\n", "ADDRESS", "SIZE",
		       "WRITTEN", "DISTINCT");
	}
	for (i = 0; !error && i < count && i < printer->request->top; i++)
		error = print_mapping(printer, ids[i], failure);
	if (!error && i < count)
		printf("%s%16s and %zu more that %s written%s\n",
		       colour(printer, COLOUR_FAINT), "", count - i,
		       count - i == 1 ? "was" : "were",
		       colour(printer, COLOUR_OFF));
	if (!error && count && left)
		printf("%s%16s and %zu that %s not%s\n",
		       colour(printer, COLOUR_FAINT), "", left,
		       left == 1 ? "was" : "were",
		       colour(printer, COLOUR_OFF));
	free(ids);
	return error;
}

static int print_tables(const struct report_figures *figures,
			const struct request *request, struct failure *failure)
{
	struct printer printer = { .figures = figures, .request = request };

	report_find_style(&printer.style);
	printer.style.bytes = request->bytes;
	if (print_recording(&printer, failure))
		return -1;
	print_totals(&printer);
	print_rates(&printer);
	print_windows(&printer);
	if (print_ranges(&printer, failure))
		return -1;
	return print_mappings(&printer, failure);
}

static int print_heatmap(const struct report_figures *figures,
			 const struct request *request,
			 struct failure *failure)
{
	struct report_style style;

	if (strcmp(request->heatmap, "-"))
		return report_draw_heatmap(figures, request->heatmap, failure);
	report_find_style(&style);
	style.bytes = request->bytes;
	return report_print_heatmap(figures, &style, failure);
}

static int print_report(const struct report_figures *figures,
			const struct request *request, struct failure *failure)
{
	if (request->heatmap)
		return print_heatmap(figures, request, failure);
	if (request->json)
		return report_print_json(figures, request->top, failure);
	if (request->csv != REPORT_CSV_NONE)
		return report_print_csv(figures, request->csv, failure);
	return print_tables(figures, request, failure);
}

/* A full disk must not look like a short result. */
static int finish_output(struct failure *failure)
{
	if (fflush(stdout) || ferror(stdout))
		return fail(failure, STATUS_ERROR,
			    "cannot write the result: %s", strerror(errno));
	return 0;
}

/**
 * report_main - the subcommand 'report'
 * @argc: number of its arguments
 * @argv: the arguments, the first of which is its name
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int report_main(int argc, char **argv, struct failure *failure)
{
	struct request request = { .rows = 20, .top = 10, .failure = failure };
	struct report_figures figures;
	int error;

	setlocale(LC_CTYPE, "");
	if (parse_command_line(argc, argv, &request))
		return -1;
	if (request.help) {
		print_help();
		return finish_output(failure);
	}
	if (!request.top)
		request.top = SIZE_MAX;
	error = report_compute(&figures, request.path, request.truncated,
			       failure);
	if (!error)
		error = print_report(&figures, &request, failure);
	if (!error)
		error = finish_output(failure);
	report_free(&figures);
	return error;
}
