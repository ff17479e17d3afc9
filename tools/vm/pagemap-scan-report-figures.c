// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan report: compute the figures of a recording
 *
 * A region may be of one page or of a terabyte, so nothing here works page by
 * page.  The recording is read twice.  First all addresses at which a region
 * starts or ends are gathered, which cut the address space into segments: the
 * pages of a segment have been written in the same intervals.  Then all is
 * counted per segment.  Memory and time so depend on the size of the recording
 * alone, and the figures are exact.
 */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <stdlib.h>
#include <string.h>

#include "pagemap-scan-report.h"

#define SECOND			1000000000ULL

/**
 * struct segment - pages between two neighbouring boundaries
 * @intervals: number of intervals in which they were written
 * @mapping: 1 + id of the mapping when they were last written
 * @window: for each length, 1 + number of the last window counted, among
 *	those in which anything was written
 */
struct segment {
	__u32 intervals;
	__u32 mapping;
	__u32 window[REPORT_WINDOWS];
};

/**
 * struct window_counter - counts the distinct pages of windows of a length
 * @length: the length
 * @number: number of the window in progress
 * @pages: distinct pages of each window that has some
 * @count: number of elements of @pages in use
 * @room: number of elements that are allocated
 */
struct window_counter {
	__u64 length;
	__u64 number;
	__u64 *pages;
	size_t count;
	size_t room;
};

/**
 * struct computation - what is needed until the figures are there
 * @figures: the figures
 * @bounds: numbers of pages at which a segment starts or ends
 * @bound_count: how many
 * @bound_room: number of elements of @bounds that are allocated
 * @segments: the segment behind each bound
 * @windows: counters of the lengths
 * @interval: number of the interval in progress
 * @interval_room: number of elements of the figures' intervals
 */
struct computation {
	struct report_figures *figures;
	__u64 *bounds;
	size_t bound_count;
	size_t bound_room;
	struct segment *segments;
	struct window_counter windows[REPORT_WINDOWS];
	size_t interval;
	size_t interval_room;
};

/**
 * report_mapping_name - what to call a mapping
 * @figures: the figures
 * @mapping: its id, or %REPORT_NO_MAPPING
 *
 * Return: its name.
 */
const char *report_mapping_name(const struct report_figures *figures,
				__u32 mapping)
{
	const char *name;

	if (mapping == REPORT_NO_MAPPING)
		return "(in no mapping)";
	name = figures->recording->mappings[mapping].name;
	return *name ? name : "(anonymous)";
}

/**
 * report_walk_pieces - cut the regions of an interval at mappings
 * @recording: the recording, at the interval
 * @function: called for each piece, in address order
 * @context: given to it
 *
 * A region goes on across mappings where the flags are the same; and a mapping
 * that came or went meanwhile may not be in the table.
 *
 * Return: 0, or what the function returned where that was not 0.
 */
int report_walk_pieces(const struct recording *recording,
		       report_piece_function function, void *context)
{
	const struct recording_interval *interval = &recording->interval;
	__u64 page_size = recording->header.page_size;
	size_t at = 0;
	size_t i;

	for (i = 0; i < interval->region_count; i++) {
		const struct recording_region *region = &interval->regions[i];
		__u64 start = region->start;

		while (start < region->end) {
			struct report_piece piece = {
				.start = start / page_size,
				.flags = region->flags,
				.mapping = REPORT_NO_MAPPING,
			};
			const struct recording_mapping *mapping = NULL;
			__u64 end = region->end;
			int error;

			for (; at < recording->table_count; at++) {
				mapping = &recording->mappings
						[recording->table[at]];
				if (mapping->end > start)
					break;
			}
			if (at == recording->table_count) {
				/* All mappings are below. */
			} else if (mapping->start > start) {
				if (mapping->start < end)
					end = mapping->start;
			} else {
				piece.mapping = recording->table[at];
				if (mapping->end < end)
					end = mapping->end;
			}
			piece.end = end / page_size;
			error = function(&piece, context);
			if (error)
				return error;
			start = end;
		}
	}
	return 0;
}

/* The first reading. */

static int compare_numbers(const void *first, const void *second)
{
	const __u64 *one = first, *other = second;

	return (*one > *other) - (*one < *other);
}

static void sort_bounds(struct computation *computation)
{
	__u64 *bounds = computation->bounds;
	size_t i, kept = 0;

	if (!computation->bound_count)
		return;
	qsort(bounds, computation->bound_count, sizeof(*bounds),
	      compare_numbers);
	for (i = 1; i < computation->bound_count; i++)
		if (bounds[i] != bounds[kept])
			bounds[++kept] = bounds[i];
	computation->bound_count = kept + 1;
}

static int add_bound(struct computation *computation, __u64 page)
{
	size_t room = computation->bound_room;

	if (computation->bound_count == room) {
		/* Most are there already, as the same pages are written. */
		sort_bounds(computation);
		if (computation->bound_count >= room / 2) {
			__u64 *larger;

			room = room ? 2 * room : 4096;
			larger = reallocarray(computation->bounds, room,
					      sizeof(*larger));
			if (!larger)
				return -1;
			computation->bounds = larger;
			computation->bound_room = room;
		}
	}
	computation->bounds[computation->bound_count++] = page;
	return 0;
}

static int note_piece(const struct report_piece *piece, void *context)
{
	struct computation *computation = context;
	struct report_interval *interval =
		&computation->figures->intervals[computation->interval];
	__u64 pages = piece->end - piece->start;

	if (piece->flags & RECORDING_UNKNOWN) {
		interval->unknown += pages;
		return 0;
	}
	interval->written += pages;
	if (piece->flags & RECORDING_UNARMED)
		interval->unarmed += pages;
	if (add_bound(computation, piece->start) ||
	    add_bound(computation, piece->end))
		return -1;
	return 0;
}

static int note_interval(struct computation *computation,
			 const struct recording *recording)
{
	struct report_figures *figures = computation->figures;

	if (figures->interval_count == computation->interval_room) {
		size_t room = 2 * computation->interval_room + 64;
		struct report_interval *larger =
			reallocarray(figures->intervals, room,
				     sizeof(*larger));

		if (!larger)
			return -1;
		figures->intervals = larger;
		computation->interval_room = room;
	}
	computation->interval = figures->interval_count++;
	figures->intervals[computation->interval] = (struct report_interval){
		.time = recording->interval.time,
		.length = recording->interval.length,
		.collecting = recording->interval.collecting,
		.tracked = recording->interval.tracked,
	};
	return report_walk_pieces(recording, note_piece, computation);
}

/**
 * read_first - read the recording for the first time
 * @computation: receives the bounds, and the intervals
 * @truncated: take the whole part of a recording that has no end
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
static int read_first(struct computation *computation, bool truncated,
		      struct failure *failure)
{
	struct report_figures *figures = computation->figures;
	struct recording *recording = recording_open(figures->path, failure);
	enum recording_step step;
	int error = 0;

	if (!recording)
		return -1;
	while (!error) {
		step = recording_next(recording, failure);
		if (step != RECORDING_AT_INTERVAL)
			break;
		error = note_interval(computation, recording);
		if (error)
			fail_memory(failure);
	}
	if (!error && step == RECORDING_FAILED) {
		if (truncated && recording->damaged &&
		    recording->interval_count) {
			failure->status = STATUS_OK;
			figures->truncated = true;
		} else {
			error = -1;
		}
	}
	figures->duration = figures->truncated ? recording->interval.time :
						 recording->end.time;
	figures->mapping_count = recording->mapping_count;
	recording_close(recording);
	return error;
}

/* The second reading. */

static size_t find_segment(const struct computation *computation, __u64 page)
{
	size_t low = 0, high = computation->bound_count;

	/* The bound is at low, or behind it and before high. */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (computation->bounds[middle] <= page)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Count a segment that was written in this interval. */
static void count_segment(struct computation *computation, size_t at,
			  __u32 mapping)
{
	struct report_figures *figures = computation->figures;
	struct segment *segment = &computation->segments[at];
	__u64 pages = computation->bounds[at + 1] - computation->bounds[at];
	size_t i;

	if (!segment->intervals)
		figures->distinct += pages;
	segment->intervals++;
	if (segment->mapping != mapping + 1) {
		segment->mapping = mapping + 1;
		figures->mappings[mapping].distinct += pages;
	}
	for (i = 0; i < REPORT_WINDOWS; i++) {
		struct window_counter *window = &computation->windows[i];

		if (segment->window[i] == window->count)
			continue;
		segment->window[i] = window->count;
		window->pages[window->count - 1] += pages;
	}
}

static int count_piece(const struct report_piece *piece, void *context)
{
	struct computation *computation = context;
	struct report_figures *figures = computation->figures;
	__u32 id = piece->mapping == REPORT_NO_MAPPING ?
		   figures->mapping_count : piece->mapping;
	struct report_mapping *mapping = &figures->mappings[id];
	__u64 pages = piece->end - piece->start;
	size_t at;

	if (piece->flags & RECORDING_UNKNOWN) {
		mapping->unknown_now += pages;
		if (mapping->unknown < mapping->unknown_now)
			mapping->unknown = mapping->unknown_now;
		return 0;
	}
	mapping->written += pages;
	if (mapping->seen != computation->interval + 1) {
		mapping->seen = computation->interval + 1;
		mapping->intervals++;
	}
	/* Its end is a bound, if the file is still the same. */
	for (at = find_segment(computation, piece->start);
	     at + 1 < computation->bound_count &&
	     computation->bounds[at] < piece->end; at++)
		count_segment(computation, at, id);
	return 0;
}

/* Begin the window in which an interval is, by its middle. */
static int enter_window(struct window_counter *window,
			const struct report_interval *interval)
{
	__u64 number = 0;

	if (window->length)
		number = (interval->time - interval->length / 2) /
			 window->length;
	if (window->count && number == window->number)
		return 0;
	if (window->count == window->room) {
		size_t room = 2 * window->room + 64;
		__u64 *larger = reallocarray(window->pages, room,
					     sizeof(*larger));

		if (!larger)
			return -1;
		window->pages = larger;
		window->room = room;
	}
	window->number = number;
	window->pages[window->count++] = 0;
	return 0;
}

static int count_interval(struct computation *computation)
{
	struct report_figures *figures = computation->figures;
	const struct recording *recording = figures->recording;
	const struct report_interval *interval =
		&figures->intervals[computation->interval];
	size_t i;

	for (i = 0; i < REPORT_WINDOWS; i++)
		if (enter_window(&computation->windows[i], interval))
			return -1;
	for (i = 0; i < recording->table_count; i++) {
		struct report_mapping *mapping =
			&figures->mappings[recording->table[i]];

		if (!mapping->first)
			mapping->first = interval->time;
		mapping->last = interval->time;
		mapping->unknown_now = 0;
	}
	figures->mappings[figures->mapping_count].unknown_now = 0;
	return report_walk_pieces(recording, count_piece, computation);
}

/**
 * read_again - read the recording for the second time
 * @computation: has the segments, receives what was counted
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
static int read_again(struct computation *computation, struct failure *failure)
{
	struct report_figures *figures = computation->figures;
	enum recording_step step;

	figures->mappings = calloc((size_t)figures->mapping_count + 1,
				   sizeof(*figures->mappings));
	if (!figures->mappings)
		return fail_memory(failure);
	figures->recording = recording_open(figures->path, failure);
	if (!figures->recording)
		return -1;
	for (computation->interval = 0;
	     computation->interval < figures->interval_count;
	     computation->interval++) {
		step = recording_next(figures->recording, failure);
		if (step == RECORDING_FAILED)
			return -1;
		if (step == RECORDING_AT_END ||
		    figures->recording->mapping_count > figures->mapping_count)
			return fail(failure, STATUS_ERROR,
				    "%.256s was changed meanwhile; try again",
				    figures->path);
		if (count_interval(computation))
			return fail_memory(failure);
	}
	if (!figures->truncated &&
	    recording_next(figures->recording, failure) == RECORDING_FAILED)
		return -1;
	return 0;
}

/* What follows from what was counted. */

static int compare_hotness(const void *first, const void *second)
{
	const struct report_range *one = *(const struct report_range **)first;
	const struct report_range *other =
		*(const struct report_range **)second;

	if (one->intervals != other->intervals)
		return one->intervals > other->intervals ? -1 : 1;
	if (one->end - one->start != other->end - other->start)
		return one->end - one->start > other->end - other->start ?
		       -1 : 1;
	return (one->start > other->start) - (one->start < other->start);
}

/* Join neighbouring segments that do not differ for the reader. */
static int make_ranges(struct computation *computation)
{
	struct report_figures *figures = computation->figures;
	struct report_range *range = NULL;
	size_t i;

	figures->ranges = calloc(computation->bound_count + 1,
				 sizeof(*figures->ranges));
	figures->hottest = calloc(computation->bound_count + 1,
				  sizeof(*figures->hottest));
	if (!figures->ranges || !figures->hottest)
		return -1;
	for (i = 0; i + 1 < computation->bound_count; i++) {
		const struct segment *segment = &computation->segments[i];
		__u32 mapping = segment->mapping - 1;

		if (!segment->intervals)
			continue;
		if (mapping == figures->mapping_count)
			mapping = REPORT_NO_MAPPING;
		if (!range || range->end != computation->bounds[i] ||
		    range->intervals != segment->intervals ||
		    range->mapping != mapping) {
			range = &figures->ranges[figures->range_count];
			figures->hottest[figures->range_count++] = range;
			range->start = computation->bounds[i];
			range->intervals = segment->intervals;
			range->mapping = mapping;
		}
		range->end = computation->bounds[i + 1];
	}
	if (figures->range_count)
		qsort(figures->hottest, figures->range_count,
		      sizeof(*figures->hottest), compare_hotness);
	return 0;
}

/* The number at a place of a sorted list, with empty windows before it. */
static __u64 number_at(const __u64 *sorted, __u64 empty, __u64 place)
{
	return place < empty ? 0 : sorted[place - empty];
}

/**
 * finish_window - compute mean, median and maximum
 * @window: receives them
 * @counter: what was counted
 * @figures: has the length of the recording, and its interval
 *
 * Only whole windows count, or the last would be smaller than the others.  A
 * recorder that woke up a little early for the last time has made a whole one.
 */
static void finish_window(struct report_window *window,
			  struct window_counter *counter,
			  const struct report_figures *figures)
{
	__u64 interval = figures->recording->header.interval;
	__u64 duration = figures->duration;
	size_t used = counter->count;
	__u64 sum = 0, empty;
	size_t i;

	window->length = counter->length;
	window->count = 1;
	if (counter->length) {
		window->count = duration / counter->length;
		if (counter->length - duration % counter->length <=
		    interval / 2)
			window->count++;
	}
	if (interval > counter->length && counter->length)
		window->count = 0;
	if (used && counter->number >= window->count)
		used--;
	if (!window->count)
		return;
	if (used)
		qsort(counter->pages, used, sizeof(*counter->pages),
		      compare_numbers);
	for (i = 0; i < used; i++)
		sum += counter->pages[i];
	empty = window->count - used;
	window->mean = (double)sum / window->count;
	window->median = (number_at(counter->pages, empty,
				    (window->count - 1) / 2) / 2.0 +
			  number_at(counter->pages, empty,
				    window->count / 2) / 2.0);
	window->max = used ? counter->pages[used - 1] : 0;
}

static void sum_up(struct report_figures *figures)
{
	struct report_interval *total = &figures->total;
	size_t i;

	total->time = figures->duration;
	for (i = 0; i < figures->interval_count; i++) {
		const struct report_interval *interval = &figures->intervals[i];

		total->length += interval->length;
		total->collecting += interval->collecting;
		total->written += interval->written;
		total->unarmed += interval->unarmed;
		if (total->tracked < interval->tracked)
			total->tracked = interval->tracked;
		if (total->unknown < interval->unknown)
			total->unknown = interval->unknown;
	}
}

static int compute(struct computation *computation, bool truncated,
		   struct failure *failure)
{
	struct report_figures *figures = computation->figures;
	size_t i;

	if (read_first(computation, truncated, failure))
		return -1;
	sort_bounds(computation);
	computation->segments = calloc(computation->bound_count + 1,
				       sizeof(*computation->segments));
	if (!computation->segments)
		return fail_memory(failure);
	if (read_again(computation, failure))
		return -1;
	if (make_ranges(computation))
		return fail_memory(failure);
	for (i = 0; i < REPORT_WINDOWS; i++)
		finish_window(&figures->windows[i], &computation->windows[i],
			      figures);
	sum_up(figures);
	return 0;
}

/**
 * report_compute - compute the figures of a recording
 * @figures: receives them; to be given to report_free(), also after an error
 * @path: name of the recording's file, which stays with the figures
 * @truncated: take the whole part of a recording that has no end
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int report_compute(struct report_figures *figures, const char *path,
		   bool truncated, struct failure *failure)
{
	struct computation computation = {
		.figures = figures,
		.windows = {
			{ .length = SECOND },
			{ .length = 10 * SECOND },
			{ .length = 0 },
		},
	};
	size_t i;
	int error;

	*figures = (struct report_figures){ .path = path };
	error = compute(&computation, truncated, failure);
	for (i = 0; i < REPORT_WINDOWS; i++)
		free(computation.windows[i].pages);
	free(computation.segments);
	free(computation.bounds);
	return error;
}

/**
 * report_free - give figures back
 * @figures: the figures
 */
void report_free(struct report_figures *figures)
{
	recording_close(figures->recording);
	free(figures->intervals);
	free(figures->mappings);
	free(figures->ranges);
	free(figures->hottest);
}
