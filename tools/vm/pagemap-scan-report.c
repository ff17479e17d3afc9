// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan report: show what a process wrote while it was recorded
 *
 * All figures are computed before the first is printed: what is printed is
 * whole, or there is an error and nothing else.
 */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pagemap-scan-options.h"
#include "pagemap-scan-output.h"
#include "pagemap-scan-report.h"

/**
 * struct request - what the command line asks for
 * @path: name of the recording's file
 * @rows: how many rows the write rate may have, 0 for no limit
 * @top: how many rows the tables of ranges and of mappings may have
 * @bytes: print sizes exactly
 * @truncated: report the whole part of a recording that has no end
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
	bool json;
	enum report_csv csv;
	const char *heatmap;
	struct failure *failure;
};

/* The command line. */

enum option_id {
	OPTION_ROWS = FIRST_LONG_OPTION,
	OPTION_TOP,
	OPTION_BYTES,
	OPTION_TRUNCATED,
	OPTION_JSON,
	OPTION_CSV,
	OPTION_HEATMAP,
};

static const struct argp_option options[] = {
	{ "truncated", OPTION_TRUNCATED, NULL, 0,
	  "report the whole part of a recording that has no end, or is corrupt",
	  1 },
	{ "rows", OPTION_ROWS, "N", 0,
	  "at most N rows for the write rate, 0: one per interval (default: 20)",
	  2 },
	{ "top", OPTION_TOP, "N", 0,
	  "at most N ranges and mappings, those with most writes, 0: all (default: 10)",
	  2 },
	{ "bytes", OPTION_BYTES, NULL, 0, "sizes in bytes", 2 },
	{ "heatmap", OPTION_HEATMAP, "OUT", 0,
	  "only draw when which addresses were written, into OUT.svg or OUT.png, or '-': on the terminal",
	  2 },
	{ "json", OPTION_JSON, NULL, 0, "print one JSON object", 3 },
	{ "csv", OPTION_CSV, "TABLE", OPTION_ARG_OPTIONAL,
	  "print a table as comma-separated values: intervals (default), windows, ranges or mappings",
	  3 },
	{}
};

static const char help_text[] =
	"Show what a process wrote while 'pagemap-scan record' made FILE: how much, how fast, its working set, and what it writes most often."
	HELP_BELOW
	"A page counts once per interval, however often it was written.\n"
	"A picture takes gnuplot.";

static int parse_rows(const char *option, const char *text, size_t *count,
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

static int check_request(const struct request *request)
{
	if (!request->path)
		return fail(request->failure, STATUS_USAGE,
			    "the name of the recording is missing; pagemap-scan report --help tells the usage");
	if (!!request->json + !!request->csv + !!request->heatmap > 1)
		return fail(request->failure, STATUS_USAGE,
			    "--json, --csv and --heatmap exclude each other; use one at a time");
	return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	struct request *request = state->input;
	struct failure *failure = request->failure;

	switch (key) {
	case OPTION_ROWS:
		return parse_rows("rows", argument, &request->rows, failure);
	case OPTION_TOP:
		return parse_rows("top", argument, &request->top, failure);
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
	case ARGP_KEY_ARG:
		if (request->path)
			return fail(failure, STATUS_USAGE,
				    "'%s': one recording at a time, please",
				    argument);
		request->path = argument;
		return 0;
	case ARGP_KEY_END:
		return check_request(request);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "FILE",
	.doc = help_text,
};

/* Tables. */

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

static void print_title(const struct printer *printer, const char *title)
{
	putchar('\n');
	print_styled(printer->style.colour, STYLE_STRONG, title);
	putchar('\n');
}

/* What a table leaves out, as its last line. */
static __printf(2, 3) void print_rest(const struct printer *printer,
				      const char *format, ...)
{
	va_list arguments;
	char text[80];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	printf("%16s ", "");
	print_styled(printer->style.colour, STYLE_FAINT, text);
	putchar('\n');
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
static int print_fitting(const struct printer *printer, const char *name,
			 int column, struct failure *failure)
{
	const struct report_style *style = &printer->style;
	char *text = make_printable(name, style->utf8);
	int room = style->columns - column;

	if (!text)
		return fail_memory(failure);
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
	command = make_printable(header->command, printer->style.utf8);
	if (!command)
		return fail_memory(failure);
	print_styled(printer->style.colour, STYLE_STRONG, command);
	printf(", process %u, recorded %s\n", header->pid, start);
	free(command);
	printf("%s in %zu interval%s of %s; %s\n",
	       report_format_time(duration, figures->duration),
	       figures->interval_count, plural(figures->interval_count),
	       report_format_time(interval, header->interval),
	       report_reason(figures));
	if (*figures->recording->end.text)
		return print_fitting(printer, figures->recording->end.text, 0,
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

/* Characters of the longest bar on a very wide terminal. */
#define MAX_BAR			500

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
	int length;
	char bar[3 * (MAX_BAR + 1) + 1];
	char *at = bar;
	int i;

	if (width > MAX_BAR)
		width = MAX_BAR;
	length = lround(share * width * 8);

	/* Something written is never shown as nothing. */
	if (share > 0 && length < (utf8 ? 1 : 8))
		length = utf8 ? 1 : 8;
	for (i = 0; i < length / 8; i++)
		at = stpcpy(at, utf8 ? "\xe2\x96\x88" : "#");
	if (utf8)
		at = stpcpy(at, eighths[length % 8]);
	*at = '\0';
	print_styled(printer->style.colour, STYLE_BAR, bar);
	putchar('\n');
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
		if (print_fitting(printer,
				  report_mapping_name(figures, range->mapping),
				  47, failure))
			return -1;
	}
	if (i < figures->range_count)
		print_rest(printer, "and %zu more range%s",
			   figures->range_count - i,
			   plural(figures->range_count - i));
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
	return print_fitting(printer, report_mapping_name(figures, id), 51,
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
		return fail_memory(failure);
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
		print_rest(printer, "and %zu more that %s written", count - i,
			   count - i == 1 ? "was" : "were");
	if (!error && count && left)
		print_rest(printer, "and %zu that %s not", left,
			   left == 1 ? "was" : "were");
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

static int run(int argc, char **argv, struct failure *failure)
{
	struct request request = { .rows = 20, .top = 10, .failure = failure };
	struct report_figures figures;
	bool help;
	int error;

	if (parse_arguments("report", &argp, argc, argv, &request, &help,
			    failure))
		return -1;
	if (help)
		return 0;
	/* Bars and shades are for a terminal, which may be of ASCII alone. */
	setlocale(LC_CTYPE, "");
	if (!request.top)
		request.top = SIZE_MAX;
	error = report_compute(&figures, request.path, request.truncated,
			       failure);
	if (!error)
		error = print_report(&figures, &request, failure);
	report_free(&figures);
	return error;
}

SUBCOMMAND(report, "what a recording has", run);
