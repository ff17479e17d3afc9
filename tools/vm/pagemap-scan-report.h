/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan report: what its parts share */
#ifndef PAGEMAP_SCAN_REPORT_H
#define PAGEMAP_SCAN_REPORT_H

#include "pagemap-scan-recording.h"

/* The figures: pagemap-scan-report-figures.c. */

/**
 * struct report_interval - figures of an interval
 * @time: its end, since the start of the recording
 * @length: how long it was
 * @collecting: how long the collection at its end took
 * @tracked: pages that were looked at
 * @written: pages written
 * @unarmed: those of @written that are only taken for written
 * @unknown: pages of which it is not known
 */
struct report_interval {
	__u64 time;
	__u64 length;
	__u64 collecting;
	__u64 tracked;
	__u64 written;
	__u64 unarmed;
	__u64 unknown;
};

/**
 * struct report_window - distinct pages written in windows of the same length
 * @length: their length, 0 for that of the whole recording
 * @count: number of whole windows that the recording has
 * @mean: pages of a window, on average
 * @median: as many windows have more as have fewer
 * @max: pages of the largest
 */
struct report_window {
	__u64 length;
	__u64 count;
	double mean;
	double median;
	__u64 max;
};

/* Windows of 1 s, of 10 s, and the whole. */
#define REPORT_WINDOWS		3

/**
 * struct report_range - neighbouring pages written in equally many intervals
 * @start: number of the first page
 * @end: number of the page behind the last
 * @intervals: in how many intervals each was written
 * @mapping: id of the mapping when they were last written, or
 *	%REPORT_NO_MAPPING
 */
struct report_range {
	__u64 start;
	__u64 end;
	__u32 intervals;
	__u32 mapping;
};

#define REPORT_NO_MAPPING	0xffffffffU

/**
 * struct report_mapping - figures of a mapping
 * @first: time of the first interval that has it
 * @last: time of the last one
 * @written: pages written, each counted once in each interval
 * @distinct: pages written, each counted once
 * @intervals: number of intervals in which there were some
 * @unknown: pages of which it is not known, in that interval that has most
 * @seen: for the computation: 1 + number of the last interval counted
 * @unknown_now: for the computation: @unknown of that interval
 */
struct report_mapping {
	__u64 first;
	__u64 last;
	__u64 written;
	__u64 distinct;
	__u64 intervals;
	__u64 unknown;
	__u64 seen;
	__u64 unknown_now;
};

/**
 * struct report_figures - the figures of a recording
 * @path: name of its file
 * @recording: the recording, all of which was read
 * @truncated: there is no end, and that was asked for
 * @duration: length of the recording
 * @intervals: its intervals
 * @interval_count: how many
 * @mappings: its mappings by id, and one more for the pages in none
 * @mapping_count: how many, without that one
 * @ranges: all pages that were written, in address order
 * @hottest: the same, those written most often first
 * @range_count: number of elements of @ranges and of @hottest
 * @windows: the working set
 * @total: sums over all intervals, but for its time, which is @duration
 * @distinct: pages written, each counted once
 */
struct report_figures {
	const char *path;
	struct recording *recording;
	bool truncated;
	__u64 duration;
	struct report_interval *intervals;
	size_t interval_count;
	struct report_mapping *mappings;
	__u32 mapping_count;
	struct report_range *ranges;
	const struct report_range **hottest;
	size_t range_count;
	struct report_window windows[REPORT_WINDOWS];
	struct report_interval total;
	__u64 distinct;
};

int report_compute(struct report_figures *figures, const char *path,
		   bool truncated, struct failure *failure);
void report_free(struct report_figures *figures);

/**
 * struct report_piece - a part of a region that is in one mapping
 * @start: number of the first page
 * @end: number of the page behind the last
 * @flags: as the region has them
 * @mapping: id of the mapping, or %REPORT_NO_MAPPING
 */
struct report_piece {
	__u64 start;
	__u64 end;
	__u32 flags;
	__u32 mapping;
};

/**
 * typedef report_piece_function - what to do with a piece
 * @piece: the piece
 * @context: as given to report_walk_pieces()
 *
 * Return: 0, or -1 where there is no memory.
 */
typedef int (*report_piece_function)(const struct report_piece *piece,
				     void *context);

int report_walk_pieces(const struct recording *recording,
		       report_piece_function function, void *context);
const char *report_mapping_name(const struct report_figures *figures,
				__u32 mapping);

/* Text: pagemap-scan-report-text.c. */

/**
 * struct report_style - how to print
 * @utf8: whether more than ASCII can be shown
 * @colour: whether to use colours
 * @bytes: print sizes exactly
 * @cut_names: whether names are made to fit @columns
 * @columns: width of the terminal
 * @lines: its height
 */
struct report_style {
	bool utf8;
	bool colour;
	bool bytes;
	bool cut_names;
	int columns;
	int lines;
};

#define REPORT_SIZE_TEXT	32

void report_find_style(struct report_style *style);
int report_text_width(const char *text);
const char *report_fit(char **text, int columns, bool utf8);
const char *report_fit_begin(char **text, int columns, bool utf8);
const char *report_format_size(char text[REPORT_SIZE_TEXT], double bytes,
			       const struct report_style *style);
const char *report_format_time(char text[REPORT_SIZE_TEXT], __u64 nanoseconds);
const char *report_reason(const struct report_figures *figures);

/* Formats for programs: pagemap-scan-report-data.c. */

enum report_csv {
	REPORT_CSV_NONE,
	REPORT_CSV_INTERVALS,
	REPORT_CSV_WINDOWS,
	REPORT_CSV_RANGES,
	REPORT_CSV_MAPPINGS,
};

int report_print_json(const struct report_figures *figures, size_t top,
		      struct failure *failure);
int report_print_csv(const struct report_figures *figures,
		     enum report_csv table, struct failure *failure);

/* The picture: pagemap-scan-heatmap.c. */

int report_draw_heatmap(const struct report_figures *figures,
			const char *output, struct failure *failure);
int report_print_heatmap(const struct report_figures *figures,
			 const struct report_style *style,
			 struct failure *failure);

#endif /* PAGEMAP_SCAN_REPORT_H */
