// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan report --heatmap: show when which addresses were written
 *
 * Time goes to the right, addresses down, as in /proc/PID/maps.  A process has
 * far more addresses than memory, and far more memory than it writes to: the
 * address axis has only what was written at some time, and what lies between
 * it as long as that is little.  It is cut into groups, mostly a mapping each,
 * every one of which gets at least the height of a line of text, so that all
 * can be labelled.
 *
 * A picture is drawn by gnuplot.  All its coordinates are whole pixels, or
 * there were seams between the cells.
 */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pagemap-scan-output.h"
#include "pagemap-scan-report.h"

extern char **environ;

/**
 * struct extent - neighbouring pages that the axis has
 * @start: number of the first page
 * @end: number of the page behind the last
 * @offset: pages of the same group that are before
 * @group: number of its group
 */
struct extent {
	__u64 start;
	__u64 end;
	__u64 offset;
	size_t group;
};

/**
 * struct group - neighbouring extents with a label of their own
 * @first: number of its first extent
 * @pages: pages of all of them
 * @written: pages written there, each once per interval
 * @mapping: id of the first one's mapping
 * @mapping_count: how many mappings it has
 * @line: the line at which it begins
 * @lines: how many lines it has
 */
struct group {
	size_t first;
	__u64 pages;
	__u64 written;
	__u32 mapping;
	size_t mapping_count;
	size_t line;
	size_t lines;
};

/**
 * struct cell - a time and some addresses
 * @written: pages written, each once per interval
 * @mapped: whether there was memory
 */
struct cell {
	__u64 written;
	bool mapped;
};

/**
 * struct heatmap - a heatmap
 * @figures: figures of the recording
 * @line_count: height, in lines of text
 * @rows_per_line: rows of cells beside a line of text
 * @rows: rows of cells
 * @columns: columns of cells
 * @folded: intervals in a column
 * @extents: what the axis has, in address order
 * @extent_count: how many
 * @groups: the groups, in address order
 * @group_count: how many
 * @row_start: first page of each row
 * @cells: the cells, row by row
 * @smallest: the smallest number of pages in a cell that has some
 * @largest: the largest
 */
struct heatmap {
	const struct report_figures *figures;
	size_t line_count;
	size_t rows_per_line;
	size_t rows;
	size_t columns;
	size_t folded;
	struct extent *extents;
	size_t extent_count;
	struct group *groups;
	size_t group_count;
	__u64 *row_start;
	struct cell *cells;
	__u64 smallest;
	__u64 largest;
};

static struct cell *cell_at(const struct heatmap *heatmap, size_t row,
			    size_t column)
{
	return &heatmap->cells[row * heatmap->columns + column];
}

/* The axis of addresses. */

/* Put an extent into the last group, or into a new one. */
static void add_to_group(struct heatmap *heatmap, struct extent *extent,
			 __u32 mapping, bool is_new)
{
	struct group *group;

	if (is_new)
		heatmap->groups[heatmap->group_count++] = (struct group){
			.first = extent - heatmap->extents,
			.mapping = mapping,
			.mapping_count = 1,
		};
	group = &heatmap->groups[heatmap->group_count - 1];
	extent->group = heatmap->group_count - 1;
	extent->offset = group->pages;
	group->pages += extent->end - extent->start;
}

/*
 * Whether two are one mapping: also before and after it has grown, was split, or
 * moved at one end, which gives it another id.
 */
static bool is_same_mapping(const struct report_figures *figures, __u32 one,
			    __u32 other)
{
	const struct recording_mapping *mappings = figures->recording->mappings;

	if (one == other)
		return true;
	if (one == REPORT_NO_MAPPING || other == REPORT_NO_MAPPING)
		return false;
	return mappings[one].start < mappings[other].end &&
	       mappings[other].start < mappings[one].end &&
	       !strcmp(mappings[one].name, mappings[other].name);
}

/**
 * make_extents - find out what the axis has
 * @heatmap: receives the extents, and a group for each mapping
 *
 * Within a mapping, pages that were not written stay if they are few.
 *
 * Return: 0, or -1 where there is no memory.
 */
static int make_extents(struct heatmap *heatmap)
{
	const struct report_figures *figures = heatmap->figures;
	__u64 few = figures->distinct / 64 > 16 ? figures->distinct / 64 : 16;
	struct extent *extent = NULL;
	__u32 mapping = REPORT_NO_MAPPING;
	struct group *group;
	size_t i;

	heatmap->extents = calloc(figures->range_count,
				  sizeof(*heatmap->extents));
	heatmap->groups = calloc(figures->range_count,
				 sizeof(*heatmap->groups));
	if (!heatmap->extents || !heatmap->groups)
		return -1;
	for (i = 0; i < figures->range_count; i++) {
		const struct report_range *range = &figures->ranges[i];
		bool same = extent &&
			    is_same_mapping(figures, range->mapping, mapping);

		if (same && range->start - extent->end <= few) {
			group = &heatmap->groups[heatmap->group_count - 1];
			group->pages += range->end - extent->end;
			extent->end = range->end;
		} else {
			extent = &heatmap->extents[heatmap->extent_count++];
			extent->start = range->start;
			extent->end = range->end;
			add_to_group(heatmap, extent, range->mapping, !same);
			group = &heatmap->groups[heatmap->group_count - 1];
		}
		group->written += (range->end - range->start) *
				  range->intervals;
		mapping = range->mapping;
	}
	return 0;
}

static int compare_sizes(const void *first, const void *second)
{
	const __u64 *one = first, *other = second;

	return (*one < *other) - (*one > *other);
}

/**
 * merge_groups - join small groups where there are too many
 * @heatmap: the heatmap
 *
 * The third of the lines goes to those with most writes, a line each; the
 * others are joined with their neighbours, so they are no more than the first,
 * and one.
 *
 * Return: 0, or -1 where there is no memory.
 */
static int merge_groups(struct heatmap *heatmap)
{
	size_t kept = heatmap->line_count / 3;
	struct group *last = NULL;
	bool last_is_small = false;
	size_t i, j, count = 0;
	__u64 *sizes, limit;

	if (heatmap->group_count <= heatmap->line_count * 2 / 3)
		return 0;
	sizes = calloc(heatmap->group_count, sizeof(*sizes));
	if (!sizes)
		return -1;
	for (i = 0; i < heatmap->group_count; i++)
		sizes[i] = heatmap->groups[i].written;
	qsort(sizes, heatmap->group_count, sizeof(*sizes), compare_sizes);
	limit = sizes[kept];
	free(sizes);

	for (i = 0; i < heatmap->group_count; i++) {
		struct group group = heatmap->groups[i];
		size_t end = i + 1 < heatmap->group_count ?
			     heatmap->groups[i + 1].first :
			     heatmap->extent_count;
		bool small = group.written <= limit;

		if (small && last_is_small) {
			for (j = group.first; j < end; j++)
				heatmap->extents[j].offset += last->pages;
			last->pages += group.pages;
			last->written += group.written;
			last->mapping_count += group.mapping_count;
		} else {
			last = &heatmap->groups[count++];
			*last = group;
		}
		for (j = group.first; j < end; j++)
			heatmap->extents[j].group = count - 1;
		last_is_small = small;
	}
	heatmap->group_count = count;
	return 0;
}

/* Share the lines out: one to each group, the others by size. */
static void share_lines(struct heatmap *heatmap)
{
	size_t spare = heatmap->line_count - heatmap->group_count;
	double pages = 0, before = 0;
	size_t i, line = 0;

	for (i = 0; i < heatmap->group_count; i++)
		pages += heatmap->groups[i].pages;
	for (i = 0; i < heatmap->group_count; i++) {
		struct group *group = &heatmap->groups[i];

		group->line = line;
		before += group->pages;
		line = i + 1 + (size_t)(before / pages * spare + 0.5);
		if (line > heatmap->line_count)
			line = heatmap->line_count;
		group->lines = line - group->line;
	}
}

/* The first page of a group that a row of it has; a row has one at least. */
static __u64 row_offset(const struct heatmap *heatmap,
			const struct group *group, size_t row)
{
	double rows = group->lines * heatmap->rows_per_line;

	return group->pages / rows * row;
}

static void find_row_starts(struct heatmap *heatmap)
{
	size_t i, row;

	for (i = 0; i < heatmap->group_count; i++) {
		const struct group *group = &heatmap->groups[i];
		const struct extent *extent = &heatmap->extents[group->first];
		const struct extent *last = heatmap->extents +
			(i + 1 < heatmap->group_count ?
			 heatmap->groups[i + 1].first :
			 heatmap->extent_count) - 1;

		for (row = 0; row < group->lines * heatmap->rows_per_line;
		     row++) {
			__u64 offset = row_offset(heatmap, group, row);

			while (extent < last && extent[1].offset <= offset)
				extent++;
			heatmap->row_start[group->line *
					   heatmap->rows_per_line + row] =
				extent->start + offset - extent->offset;
		}
	}
}

/* The cells. */

/**
 * struct filler - where the pages of an interval go
 * @heatmap: the heatmap
 * @column: first column
 * @end: column behind the last
 * @extent: the extent at which the next piece is looked for
 */
struct filler {
	struct heatmap *heatmap;
	size_t column;
	size_t end;
	size_t extent;
};

/* Count pages, which are at that offset of a group. */
static void fill_group(struct filler *filler, const struct group *group,
		       __u64 start, __u64 end)
{
	struct heatmap *heatmap = filler->heatmap;
	size_t rows = group->lines * heatmap->rows_per_line;
	size_t row = (double)start / group->pages * rows;
	size_t column;

	/* By rounding, it may be the row before. */
	for (row = row ? row - 1 : 0; row < rows; row++) {
		__u64 row_start = row_offset(heatmap, group, row);
		__u64 row_end = row_offset(heatmap, group, row + 1);
		__u64 pages;

		if (row_end == row_start)
			row_end++;
		if (row_start >= end)
			break;
		if (row_end <= start)
			continue;
		pages = (row_end < end ? row_end : end) -
			(row_start > start ? row_start : start);
		for (column = filler->column; column < filler->end; column++)
			cell_at(heatmap, group->line * heatmap->rows_per_line +
				row, column)->written += pages;
	}
}

static int fill_piece(const struct report_piece *piece, void *context)
{
	struct filler *filler = context;
	const struct heatmap *heatmap = filler->heatmap;

	if (piece->flags & RECORDING_UNKNOWN)
		return 0;
	for (; filler->extent < heatmap->extent_count; filler->extent++) {
		const struct extent *extent =
			&heatmap->extents[filler->extent];
		__u64 start = piece->start > extent->start ? piece->start :
							     extent->start;
		__u64 end = piece->end < extent->end ? piece->end : extent->end;

		if (start < end)
			fill_group(filler, &heatmap->groups[extent->group],
				   start - extent->start + extent->offset,
				   end - extent->start + extent->offset);
		/* The next piece may be in the same extent. */
		if (piece->end < extent->end)
			break;
	}
	return 0;
}

/* Note which rows have memory. */
static void fill_mapped(struct filler *filler,
			const struct recording *recording)
{
	struct heatmap *heatmap = filler->heatmap;
	__u64 page_size = recording->header.page_size;
	size_t row, column, at = 0;

	for (row = 0; row < heatmap->rows; row++) {
		__u64 address = heatmap->row_start[row] * page_size;
		const struct recording_mapping *mapping = NULL;

		for (; at < recording->table_count; at++) {
			mapping = &recording->mappings[recording->table[at]];
			if (mapping->end > address)
				break;
		}
		if (at == recording->table_count)
			break;
		if (mapping->start > address)
			continue;
		for (column = filler->column; column < filler->end; column++)
			cell_at(heatmap, row, column)->mapped = true;
	}
}

/* The columns of an interval: those that it has most of, at least one. */
static void find_columns(struct filler *filler,
			 const struct recording_interval *interval)
{
	size_t columns = filler->heatmap->columns;
	double scale = columns / (double)filler->heatmap->figures->duration;
	__u64 begin = interval->time - interval->length;

	filler->column = llround(begin * scale);
	filler->end = llround(interval->time * scale);
	if (filler->column >= filler->end) {
		filler->column = (begin + interval->length / 2.0) * scale;
		filler->end = filler->column + 1;
	}
	if (filler->end > columns)
		filler->end = columns;
	if (filler->column >= columns)
		filler->column = columns - 1;
}

/* Read the recording once more, for the cells. */
static int fill_cells(struct heatmap *heatmap, struct failure *failure)
{
	const struct report_figures *figures = heatmap->figures;
	struct recording *recording = recording_open(figures->path, failure);
	size_t i;
	int error = 0;

	if (!recording)
		return -1;
	for (i = 0; !error && i < figures->interval_count; i++) {
		struct filler filler = { .heatmap = heatmap };

		if (recording_next(recording, failure) !=
		    RECORDING_AT_INTERVAL) {
			error = -1;
			break;
		}
		find_columns(&filler, &recording->interval);
		fill_mapped(&filler, recording);
		error = report_walk_pieces(recording, fill_piece, &filler);
	}
	recording_close(recording);
	return error;
}

static void find_limits(struct heatmap *heatmap)
{
	size_t i;

	for (i = 0; i < heatmap->rows * heatmap->columns; i++) {
		__u64 written = heatmap->cells[i].written;

		if (written > heatmap->largest)
			heatmap->largest = written;
		if (written && (!heatmap->smallest ||
				written < heatmap->smallest))
			heatmap->smallest = written;
	}
}

/**
 * make_heatmap - compute a heatmap
 * @heatmap: has its figures and its height; receives all else; to be given to
 *	free_heatmap(), also after an error
 * @columns: how many columns it may have
 * @failure: receives the error
 *
 * Each column has equally many intervals, or there were stripes.
 *
 * Return: 0, or -1 with an error noted.
 */
static int make_heatmap(struct heatmap *heatmap, size_t columns,
			struct failure *failure)
{
	const struct report_figures *figures = heatmap->figures;

	if (!figures->range_count || !figures->duration)
		return fail(failure, STATUS_ERROR,
			    "nothing was written in %.256s, so there is no heatmap; record while the process works",
			    figures->path);
	heatmap->folded = (figures->interval_count + columns - 1) / columns;
	heatmap->columns = (figures->interval_count + heatmap->folded - 1) /
			   heatmap->folded;
	heatmap->rows = heatmap->line_count * heatmap->rows_per_line;
	heatmap->cells = calloc(heatmap->rows * heatmap->columns,
				sizeof(*heatmap->cells));
	heatmap->row_start = calloc(heatmap->rows,
				    sizeof(*heatmap->row_start));
	if (!heatmap->cells || !heatmap->row_start || make_extents(heatmap) ||
	    merge_groups(heatmap))
		return fail_memory(failure);
	share_lines(heatmap);
	find_row_starts(heatmap);
	if (fill_cells(heatmap, failure))
		return -1;
	find_limits(heatmap);
	return 0;
}

static void free_heatmap(struct heatmap *heatmap)
{
	free(heatmap->extents);
	free(heatmap->groups);
	free(heatmap->row_start);
	free(heatmap->cells);
}

/* Numbers of pages differ too much for colours that are in proportion. */
static bool is_logarithmic(const struct heatmap *heatmap)
{
	return heatmap->largest > 20 * heatmap->smallest;
}

/* How much of the scale a number of pages is: from 0 to 1. */
static double level_of(const struct heatmap *heatmap, __u64 written)
{
	if (!is_logarithmic(heatmap))
		return (double)written / heatmap->largest;
	return log((double)written / heatmap->smallest) /
	       log((double)heatmap->largest / heatmap->smallest);
}

/**
 * make_label - what to write beside a group
 * @heatmap: the heatmap
 * @group: the group
 * @utf8: whether more than ASCII can be shown
 *
 * Return: the text, to be freed; or NULL where there is no memory.
 */
static char *make_label(const struct heatmap *heatmap,
			const struct group *group, bool utf8)
{
	char *text;

	if (group->mapping_count == 1)
		return make_printable(report_mapping_name(heatmap->figures,
							    group->mapping),
					utf8);
	if (asprintf(&text, "(%zu mappings)", group->mapping_count) < 0)
		return NULL;
	return text;
}

/* The distance of the marks of an axis: 1, 2 or 5 of some unit. */
static double mark_step(double length, int marks)
{
	double unit = pow(10, floor(log10(length / marks)));
	double steps = length / marks / unit;

	if (steps <= 1)
		return unit;
	if (steps <= 2)
		return 2 * unit;
	return steps <= 5 ? 5 * unit : 10 * unit;
}

/* The picture: sizes in pixels. */

#define PICTURE_WIDTH		1280
#define PICTURE_HEIGHT		800
#define PLOT_LEFT		150
#define PLOT_TOP		76
#define PLOT_WIDTH		840
#define PLOT_HEIGHT		592
#define LINE_HEIGHT		16
#define CELL_HEIGHT		4
#define MOST_COLUMNS		210
#define LABEL_LENGTH		33
#define TITLE_LENGTH		60

/* Print a string of gnuplot: in such quotes, only the quote is special. */
static void print_string(FILE *script, const char *text)
{
	putc('\'', script);
	for (; *text; text++) {
		if (*text == '\'')
			putc('\'', script);
		putc(*text, script);
	}
	putc('\'', script);
}

/*
 * Pixels as gnuplot's screen coordinates, of which 1 is the last pixel, not the
 * edge behind it.
 */
static double screen_x(double x)
{
	return x / (PICTURE_WIDTH - 1);
}

static double screen_y(double y)
{
	return 1 - y / (PICTURE_HEIGHT - 1);
}

/**
 * print_label - put a text into the picture
 * @script: the script
 * @text: the text
 * @x: where, from the left
 * @y: where its middle is, from the top
 * @format: how, as options of gnuplot's
 */
static void print_label(FILE *script, const char *text, int x, int y,
			const char *format)
{
	fprintf(script, "set label ");
	print_string(script, text);
	fprintf(script, " at screen %.6f,%.6f noenhanced %s\n",
		screen_x(x), screen_y(y), format);
}

static int print_titles(const struct heatmap *heatmap, FILE *script)
{
	const struct report_figures *figures = heatmap->figures;
	const struct recording_header *header = &figures->recording->header;
	char duration[REPORT_SIZE_TEXT], interval[REPORT_SIZE_TEXT];
	time_t seconds = header->start_seconds;
	char *command = make_printable(header->command, true);
	char start[64] = "?", unknown[64] = "";
	char *text = NULL;
	struct tm time;

	if (command && asprintf(&text, "%s, process %u: pages written",
				report_fit_begin(&command, TITLE_LENGTH, true),
				header->pid) >= 0) {
		print_label(script, text, PLOT_LEFT, 26,
			    "left font 'Sans,16'");
		free(text);
	}
	free(command);
	if (!command)
		return -1;

	if (localtime_r(&seconds, &time))
		strftime(start, sizeof(start), "%F %T %Z", &time);
	if (figures->total.unknown)
		snprintf(unknown, sizeof(unknown),
			 "; without %llu page%s that it tracks itself",
			 figures->total.unknown,
			 figures->total.unknown == 1 ? "" : "s");
	if (asprintf(&text, "%s from %s in intervals of %s; %s%s",
		     report_format_time(duration, figures->duration), start,
		     report_format_time(interval, header->interval),
		     report_reason(figures), unknown) < 0)
		return -1;
	print_label(script, text, PLOT_LEFT, 54,
		    "left textcolor rgb '#555555'");
	free(text);
	return 0;
}

/* Addresses on the left of the groups, names on their right. */
static int print_groups(const struct heatmap *heatmap, FILE *script)
{
	const struct report_figures *figures = heatmap->figures;
	__u64 page_size = figures->recording->header.page_size;
	struct report_style style = { .utf8 = true };
	char address[sizeof("0123456789abcdef")];
	char size[REPORT_SIZE_TEXT], text[REPORT_SIZE_TEXT + 16];
	size_t i;

	for (i = 0; i < heatmap->group_count; i++) {
		const struct group *group = &heatmap->groups[i];
		int top = PLOT_TOP + group->line * LINE_HEIGHT;
		int bottom = top + group->lines * LINE_HEIGHT;
		int middle = (top + bottom) / 2;
		bool has_size = group->lines > 1;
		char *label = make_label(heatmap, group, true);

		if (!label)
			return -1;
		snprintf(address, sizeof(address), "%llx",
			 heatmap->extents[group->first].start * page_size);
		print_label(script, address, PLOT_LEFT - 8,
			    top + LINE_HEIGHT / 2,
			    "right font 'Monospace,10'");
		print_label(script, report_fit(&label, LABEL_LENGTH, true),
			    PLOT_LEFT + PLOT_WIDTH + 10,
			    middle - (has_size ? LINE_HEIGHT / 2 - 1 : 0),
			    "left font 'Monospace,10'");
		free(label);
		if (has_size) {
			snprintf(text, sizeof(text), "%s written",
				 report_format_size(size, (double)page_size *
						    group->written, &style));
			print_label(script, text, PLOT_LEFT + PLOT_WIDTH + 10,
				    middle + LINE_HEIGHT / 2 - 1,
				    "left font 'Sans,9' textcolor rgb '#777777'");
		}
		if (i)
			fprintf(script,
				"set arrow from %d,%d to %d,%d nohead front linewidth 1 linecolor rgb '#555555'\n",
				-6, top - PLOT_TOP, PLOT_WIDTH + 6,
				top - PLOT_TOP);
	}
	return 0;
}

static void print_axes(const struct heatmap *heatmap, FILE *script)
{
	double seconds = heatmap->figures->duration / 1e9;
	double step = mark_step(seconds, 10);
	char text[128], length[REPORT_SIZE_TEXT];
	int i;

	fprintf(script, "set xtics out nomirror (");
	for (i = 0; i * step <= seconds * 1.000001; i++)
		fprintf(script, "%s'%g' %.3f", i ? ", " : "", i * step,
			i * step / seconds * PLOT_WIDTH);
	fprintf(script, ")\n");
	print_label(script, "time in seconds", PLOT_LEFT + PLOT_WIDTH / 2,
		    PLOT_TOP + PLOT_HEIGHT + 42, "center");
	print_label(script, "address of the first page", 24,
		    PLOT_TOP + PLOT_HEIGHT / 2, "center rotate by 90");

	snprintf(text, sizeof(text),
		 "pages written per cell, in %s; at most %llu",
		 report_format_time(length, heatmap->figures->duration /
				    heatmap->columns), heatmap->largest);
	print_label(script, text, PLOT_LEFT, PLOT_TOP + PLOT_HEIGHT + 66,
		    "left");
	print_label(script, "mapped, not written",
		    PLOT_LEFT + PLOT_WIDTH + 32, PLOT_TOP + PLOT_HEIGHT + 66,
		    "left");
	print_label(script, "not mapped",
		    PLOT_LEFT + PLOT_WIDTH + 32, PLOT_TOP + PLOT_HEIGHT + 90,
		    "left");
	/* All that was there at the start, above all. */
	if (heatmap->figures->total.unarmed)
		print_label(script, "what is new counts as written",
			    PLOT_LEFT + PLOT_WIDTH + 10,
			    PLOT_TOP + PLOT_HEIGHT + 114,
			    "left textcolor rgb '#555555'");
}

static int column_edge(const struct heatmap *heatmap, size_t column)
{
	return column * PLOT_WIDTH / heatmap->columns;
}

static void print_box(const struct heatmap *heatmap, FILE *script, size_t row,
		      size_t column, size_t end)
{
	int left = column_edge(heatmap, column);
	int right = column_edge(heatmap, end);
	int top = row * CELL_HEIGHT;

	fprintf(script, "%.1f %.1f %d %d %d %d", (left + right) / 2.0,
		top + CELL_HEIGHT / 2.0, left, right, top, top + CELL_HEIGHT);
}

/* The cells with memory that was not written, joined from left to right. */
static bool print_mapped(const struct heatmap *heatmap, FILE *script)
{
	size_t row, column, end;
	bool any = false;

	fprintf(script, "$mapped << EOD\n");
	for (row = 0; row < heatmap->rows; row++) {
		for (column = 0; column < heatmap->columns; column = end + 1) {
			for (end = column; end < heatmap->columns; end++) {
				const struct cell *cell =
					cell_at(heatmap, row, end);

				if (!cell->mapped || cell->written)
					break;
			}
			if (end == column)
				continue;
			print_box(heatmap, script, row, column, end);
			fprintf(script, "\n");
			any = true;
		}
	}
	fprintf(script, "EOD\n");
	return any;
}

static void print_cells(const struct heatmap *heatmap, FILE *script)
{
	size_t row, column;

	fprintf(script, "$written << EOD\n");
	for (row = 0; row < heatmap->rows; row++) {
		for (column = 0; column < heatmap->columns; column++) {
			__u64 written = cell_at(heatmap, row, column)->written;

			if (!written)
				continue;
			print_box(heatmap, script, row, column, column + 1);
			fprintf(script, " %llu\n", written);
		}
	}
	fprintf(script, "EOD\n");
}

/* The scale of the colours, and what the two without a number mean. */
static void print_scale(const struct heatmap *heatmap, FILE *script)
{
	fprintf(script,
		"set palette defined (0 '#fde725', 1 '#7ad151', 2 '#22a884', 3 '#2a788e', 4 '#414487', 5 '#440154')\n");
	if (is_logarithmic(heatmap))
		fprintf(script, "set logscale cb\nset cbrange [%llu:%llu]\n",
			heatmap->smallest, heatmap->largest);
	else
		fprintf(script, "set cbrange [0:%llu]\nset cbtics %.0f\n",
			heatmap->largest,
			fmax(mark_step(heatmap->largest, 6), 1));
	fprintf(script, "set cbtics out nomirror format '%%.0f'\n");
	fprintf(script,
		"set colorbox horizontal user origin screen %.6f,%.6f size screen %.6f,%.6f\n",
		screen_x(PLOT_LEFT), screen_y(PLOT_TOP + PLOT_HEIGHT + 90),
		screen_x(600), 1 - screen_y(12));
	fprintf(script,
		"set object 1 rectangle from %d,%d to %d,%d fillcolor rgb '#e8e8e8' fillstyle solid border linecolor rgb '#999999'\n",
		PLOT_WIDTH + 10, PLOT_HEIGHT + 60, PLOT_WIDTH + 24,
		PLOT_HEIGHT + 72);
	fprintf(script,
		"set object 2 rectangle from %d,%d to %d,%d fillcolor rgb 'white' fillstyle solid border linecolor rgb '#999999'\n",
		PLOT_WIDTH + 10, PLOT_HEIGHT + 84, PLOT_WIDTH + 24,
		PLOT_HEIGHT + 96);
	fprintf(script, "set object 1 noclip\nset object 2 noclip\n");
}

/**
 * write_script - write what gnuplot is to do
 * @heatmap: the heatmap
 * @svg: draw an SVG, otherwise a PNG
 * @script: where to
 *
 * The picture goes to the standard output.
 *
 * Return: 0, or -1 where there is no memory, or no room.
 */
static int write_script(const struct heatmap *heatmap, bool svg, FILE *script)
{
	/* Of a PNG, cairo blurs the edges unless there is a line on them. */
	const char *border = svg ? "noborder" : "border linewidth 1";
	bool any_mapped;

	fprintf(script,
		"set encoding utf8\nset terminal %s size %d,%d font 'Sans,11' background 'white'\n",
		svg ? "svg noenhanced" : "pngcairo noenhanced", PICTURE_WIDTH,
		PICTURE_HEIGHT);
	fprintf(script,
		"set lmargin at screen %.8f\nset rmargin at screen %.8f\nset tmargin at screen %.8f\nset bmargin at screen %.8f\n",
		screen_x(PLOT_LEFT), screen_x(PLOT_LEFT + PLOT_WIDTH),
		screen_y(PLOT_TOP), screen_y(PLOT_TOP + PLOT_HEIGHT));
	fprintf(script,
		"set xrange [0:%d]\nset yrange [%d:0]\nunset ytics\nunset key\nset border linecolor rgb '#555555'\n",
		PLOT_WIDTH, PLOT_HEIGHT);
	if (print_titles(heatmap, script) || print_groups(heatmap, script))
		return -1;
	print_axes(heatmap, script);
	print_scale(heatmap, script);
	any_mapped = print_mapped(heatmap, script);
	print_cells(heatmap, script);
	fprintf(script, "plot ");
	if (any_mapped)
		fprintf(script,
			"$mapped using 1:2:3:4:5:6 with boxxyerror fillstyle solid %s linecolor rgb '#e8e8e8', ",
			border);
	fprintf(script,
		"$written using 1:2:3:4:5:6:7 with boxxyerror fillstyle solid %s linecolor palette\n",
		border);
	return fflush(script) || ferror(script) ? -1 : 0;
}

/* Note what gnuplot has to say, which is some lines. */
static int fail_gnuplot(FILE *errors, struct failure *failure)
{
	char line[160] = "";

	rewind(errors);
	while (fgets(line, sizeof(line), errors)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[strspn(line, " ^\t")])
			break;
	}
	return fail(failure, STATUS_ERROR,
		    "gnuplot cannot draw the heatmap (%s); --heatmap - shows it on the terminal",
		    line);
}

static int start_gnuplot(pid_t *child, FILE *script, FILE *output, FILE *errors)
{
	char *const arguments[] = { "gnuplot", "--default-settings", NULL };
	posix_spawn_file_actions_t actions;
	int error;

	error = posix_spawn_file_actions_init(&actions);
	if (error)
		return error;
	rewind(script);
	error = posix_spawn_file_actions_adddup2(&actions, fileno(script), 0);
	if (!error)
		error = posix_spawn_file_actions_adddup2(&actions,
							 fileno(output), 1);
	if (!error)
		error = posix_spawn_file_actions_adddup2(&actions,
							 fileno(errors), 2);
	if (!error)
		error = posix_spawnp(child, arguments[0], &actions, NULL,
				     arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

static int run_gnuplot(FILE *script, FILE *output, FILE *errors,
		       struct failure *failure)
{
	pid_t child;
	int status;
	int error = start_gnuplot(&child, script, output, errors);

	if (error == ENOENT)
		return fail(failure, STATUS_ERROR,
			    "gnuplot is not installed; do: apt install gnuplot-nox, or use --heatmap -");
	if (error)
		return fail(failure, STATUS_ERROR,
			    "cannot start gnuplot: %s; --heatmap - shows the heatmap on the terminal",
			    strerror(error));
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return fail_gnuplot(errors, failure);
	if (status || !lseek(fileno(output), 0, SEEK_END))
		return fail_gnuplot(errors, failure);
	return 0;
}

/**
 * copy_picture - write the picture where it is to be
 * @picture: the picture
 * @path: where to
 * @svg: whether it is an SVG
 * @failure: receives the error
 *
 * The edges in an SVG are made crisp, which gnuplot has no option for: where a
 * viewer scales it, there were seams between the cells.
 *
 * Return: 0, or -1 with an error noted.
 */
static int copy_picture(FILE *picture, const char *path, bool svg,
			struct failure *failure)
{
	static const char crisp[] = " shape-rendering=\"crispEdges\"";
	FILE *copy = fopen(path, "we");
	char buffer[16384], *tag;
	size_t length, head;
	bool failed = !copy;

	rewind(picture);
	while (!failed && (length = fread(buffer, 1, sizeof(buffer), picture))) {
		head = 0;
		tag = svg ? memmem(buffer, length, "<svg", 4) : NULL;
		if (tag) {
			head = tag + 4 - buffer;
			fwrite(buffer, 1, head, copy);
			fputs(crisp, copy);
			svg = false;
		}
		fwrite(buffer + head, 1, length - head, copy);
		failed = ferror(copy);
	}
	if (copy && fclose(copy))
		failed = true;
	if (failed)
		return fail(failure, STATUS_ERROR,
			    "cannot write %.256s: %s; give --heatmap another file",
			    path, strerror(errno));
	return 0;
}

static int draw_picture(const struct heatmap *heatmap, const char *output,
			struct failure *failure)
{
	bool svg = !strcmp(strrchr(output, '.'), ".svg");
	FILE *script = tmpfile();
	FILE *picture = tmpfile();
	FILE *errors = tmpfile();
	int error;

	if (!script || !picture || !errors ||
	    write_script(heatmap, svg, script))
		error = fail(failure, STATUS_ERROR,
			     "cannot write a temporary file for gnuplot; make room in /tmp");
	else
		error = run_gnuplot(script, picture, errors, failure);
	if (!error)
		error = copy_picture(picture, output, svg, failure);
	if (script)
		fclose(script);
	if (picture)
		fclose(picture);
	if (errors)
		fclose(errors);
	return error;
}

/**
 * report_draw_heatmap - draw a heatmap into a file
 * @figures: figures of the recording
 * @output: name of the file, which ends in .svg or .png
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int report_draw_heatmap(const struct report_figures *figures,
			const char *output, struct failure *failure)
{
	struct heatmap heatmap = {
		.figures = figures,
		.line_count = PLOT_HEIGHT / LINE_HEIGHT,
		.rows_per_line = LINE_HEIGHT / CELL_HEIGHT,
	};
	int error = make_heatmap(&heatmap, MOST_COLUMNS, failure);

	if (!error)
		error = draw_picture(&heatmap, output, failure);
	free_heatmap(&heatmap);
	return error;
}

/* The terminal. */

#define SIDE_WIDTH		22
#define COLOUR_MAPPED		236

/* From dark red to light yellow, of the 256 colours. */
static const unsigned char heat[] = {
	52, 88, 124, 160, 196, 202, 208, 214, 220, 227, 230
};

/**
 * struct screen - how the terminal shows cells
 * @heatmap: the heatmap
 * @style: what it can show
 * @shades: without colours: from least to most written
 * @shade_count: how many
 * @mapped: without colours: memory that was not written
 * @width: columns for the cells
 */
struct screen {
	const struct heatmap *heatmap;
	const struct report_style *style;
	const char * const *shades;
	size_t shade_count;
	const char *mapped;
	int width;
};

/* Which of so many steps a number of pages is on. */
static size_t step_of(const struct heatmap *heatmap, __u64 written,
		      size_t steps)
{
	return llround(level_of(heatmap, written) * (steps - 1));
}

/* The colour of a cell, or -1 for that of the background. */
static int colour_of(const struct heatmap *heatmap, const struct cell *cell)
{
	if (cell->written)
		return heat[step_of(heatmap, cell->written, ARRAY_SIZE(heat))];
	return cell->mapped ? COLOUR_MAPPED : -1;
}

/* Two cells as one character: the upper half, and the background. */
static void print_halves(int upper, int lower)
{
	if (upper < 0 && lower < 0)
		printf("\033[0m ");
	else if (upper < 0)
		printf("\033[0;38;5;%dm\xe2\x96\x84", lower);
	else if (lower < 0)
		printf("\033[0;38;5;%dm\xe2\x96\x80", upper);
	else
		printf("\033[38;5;%d;48;5;%dm\xe2\x96\x80", upper, lower);
}

static void print_shade(const struct screen *screen, const struct cell *cell)
{
	if (cell->written)
		printf("%s", screen->shades[step_of(screen->heatmap,
						    cell->written,
						    screen->shade_count)]);
	else
		printf("%s", cell->mapped ? screen->mapped : " ");
}

static void print_line_cells(const struct screen *screen, size_t line)
{
	const struct heatmap *heatmap = screen->heatmap;
	size_t row = line * heatmap->rows_per_line;
	int x;

	for (x = 0; x < screen->width; x++) {
		size_t column = x * heatmap->columns / screen->width;

		if (heatmap->rows_per_line == 2)
			print_halves(colour_of(heatmap,
					       cell_at(heatmap, row, column)),
				     colour_of(heatmap,
					       cell_at(heatmap, row + 1,
						       column)));
		else
			print_shade(screen, cell_at(heatmap, row, column));
	}
	if (heatmap->rows_per_line == 2)
		printf("\033[0m");
}

/* Print a group: its name on the first line, its address on the second. */
static int print_group(const struct screen *screen, const struct group *group,
		       struct failure *failure)
{
	const struct heatmap *heatmap = screen->heatmap;
	bool utf8 = screen->style->utf8;
	char *label = make_label(heatmap, group, utf8);
	const char *text;
	char address[sizeof("0123456789abcdef")];
	size_t i;

	if (!label)
		return fail_memory(failure);
	text = report_fit(&label, SIDE_WIDTH - 1, utf8);
	snprintf(address, sizeof(address), "%llx",
		 heatmap->extents[group->first].start *
		 heatmap->figures->recording->header.page_size);
	for (i = 0; i < group->lines; i++) {
		const char *side = i == 0 ? text : i == 1 ? address : "";

		printf("%*s%s ", SIDE_WIDTH - 1 - report_text_width(side), "",
		       side);
		print_line_cells(screen, group->line + i);
		printf("\n");
	}
	free(label);
	return 0;
}

static void print_time_axis(const struct screen *screen)
{
	double seconds = screen->heatmap->figures->duration / 1e9;
	double step = mark_step(seconds, screen->width / 12 + 1);
	int at = 0, i;

	printf("%*s", SIDE_WIDTH, "");
	for (i = 0; i * step <= seconds; i++) {
		int column = i * step / seconds * screen->width;
		char mark[32];
		int length = snprintf(mark, sizeof(mark), "|%gs", i * step);

		if (column < at || column + length > screen->width)
			continue;
		printf("%*s%s", column - at, "", mark);
		at = column + length;
	}
	printf("\n");
}

static void print_legend(const struct screen *screen)
{
	const struct heatmap *heatmap = screen->heatmap;
	bool halves = heatmap->rows_per_line == 2;
	char time[REPORT_SIZE_TEXT];
	size_t i;

	printf("%*s %llu ", SIDE_WIDTH - 1, "pages per cell",
	       is_logarithmic(heatmap) ? heatmap->smallest : 0);
	for (i = 0; halves && i < ARRAY_SIZE(heat); i++)
		printf("\033[48;5;%dm ", heat[i]);
	for (i = 0; !halves && i < screen->shade_count; i++)
		printf("%s", screen->shades[i]);
	printf("%s %llu in %s  ", halves ? "\033[0m" : "", heatmap->largest,
	       report_format_time(time, heatmap->figures->duration /
				  heatmap->columns));
	if (halves)
		printf("\033[48;5;%dm \033[0m not written\n", COLOUR_MAPPED);
	else
		printf("%s not written\n", screen->mapped);
}

static int print_screen(const struct screen *screen, struct failure *failure)
{
	const struct report_figures *figures = screen->heatmap->figures;
	const struct recording_header *header = &figures->recording->header;
	bool utf8 = screen->style->utf8;
	char duration[REPORT_SIZE_TEXT], interval[REPORT_SIZE_TEXT];
	char *command = make_printable(header->command, utf8);
	int room = screen->style->columns - 48;
	size_t i;

	if (!command)
		return fail_memory(failure);
	printf("%s, process %u: %s in intervals of %s\n",
	       report_fit_begin(&command, room > 12 ? room : 12, utf8),
	       header->pid, report_format_time(duration, figures->duration),
	       report_format_time(interval, header->interval));
	free(command);
	for (i = 0; i < screen->heatmap->group_count; i++)
		if (print_group(screen, &screen->heatmap->groups[i], failure))
			return -1;
	print_time_axis(screen);
	print_legend(screen);
	return 0;
}

/**
 * report_print_heatmap - show a heatmap on the terminal
 * @figures: figures of the recording
 * @style: what the terminal can show
 * @failure: receives the error
 *
 * Fits into the terminal, with a line left for the next prompt.
 *
 * Return: 0, or -1 with an error noted.
 */
int report_print_heatmap(const struct report_figures *figures,
			 const struct report_style *style,
			 struct failure *failure)
{
	static const char * const blocks[] = {
		"\xe2\x96\x91", "\xe2\x96\x92", "\xe2\x96\x93", "\xe2\x96\x88"
	};
	static const char * const ascii[] = {
		":", "-", "=", "+", "*", "#", "%", "@"
	};
	int lines = style->lines - 4 > 6 ? style->lines - 4 : 6;
	int width = style->columns - SIDE_WIDTH;
	struct heatmap heatmap = {
		.figures = figures,
		.line_count = lines,
		.rows_per_line = style->colour && style->utf8 ? 2 : 1,
	};
	struct screen screen = {
		.heatmap = &heatmap,
		.style = style,
		.shades = style->utf8 ? blocks : ascii,
		.shade_count = style->utf8 ? ARRAY_SIZE(blocks) :
					     ARRAY_SIZE(ascii),
		.mapped = style->utf8 ? "\xc2\xb7" : ".",
		.width = width > 10 ? width : 10,
	};
	int error = make_heatmap(&heatmap, screen.width, failure);

	if (!error)
		error = print_screen(&screen, failure);
	free_heatmap(&heatmap);
	return error;
}
