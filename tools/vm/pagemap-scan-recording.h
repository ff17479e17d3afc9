/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: the file that 'record' writes and 'report' reads */
#ifndef PAGEMAP_SCAN_RECORDING_H
#define PAGEMAP_SCAN_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include "pagemap-scan.h"

/*
 * man/pagemap-scan-recording.5 describes the format byte by byte.  In short:
 * eight bytes of magic, the version, then records, each with its length, its
 * type, and a CRC that also covers all records before.  A reader knows from
 * the end record that nothing is missing.
 *
 * Times are nanoseconds, of the monotonic clock, since the start of the
 * recording.  An end is the address behind the last byte.  Addresses are
 * multiples of the page size.
 */

/* The version that is written, and the newest that is read. */
#define RECORDING_VERSION	1

/* Bytes of the longest command and name, without the zero at their end. */
#define RECORDING_COMMAND_MAX	255
#define RECORDING_NAME_MAX	65535
/* Bytes of the longest text of the end record. */
#define RECORDING_TEXT_MAX	255

/**
 * struct recording_header - what a recording begins with
 * @page_size: bytes in a page of the recorded process, a power of two
 * @pid: its number
 * @start_seconds: start by the wall clock, seconds since 1970, UTC
 * @start_nanoseconds: the fraction of a second of that
 * @interval: planned time between two collections
 * @duration: planned length of the recording, 0 where there is no limit
 * @counts_pages: whether the kernel tells written pages one by one, so that
 *	a written region has no page that was not; otherwise a huge page is
 *	written as a whole
 * @command: name of the command, any bytes but zero
 */
struct recording_header {
	__u64 page_size;
	__u32 pid;
	__s64 start_seconds;
	__u32 start_nanoseconds;
	__u64 interval;
	__u64 duration;
	bool counts_pages;
	char command[RECORDING_COMMAND_MAX + 1];
};

/* Bits of recording_mapping.permissions. */
#define RECORDING_READ		0x1
#define RECORDING_WRITE		0x2
#define RECORDING_EXECUTE	0x4
#define RECORDING_SHARED	0x8

/**
 * struct recording_mapping - a line of /proc/PID/maps
 * @start: first address
 * @end: end
 * @permissions: RECORDING_* bits
 * @name: as in maps, any bytes but zero; empty where there is none
 */
struct recording_mapping {
	__u64 start;
	__u64 end;
	__u32 permissions;
	const char *name;
};

/*
 * Bits of recording_region.flags: the low byte is PAGE_IS_* as in struct
 * page_region, at the time of the collection; then these.
 */
/* It was not armed, new since the last collection: counted as written. */
#define RECORDING_UNARMED	0x100
/* The process tracks it itself: not known, so not counted as written. */
#define RECORDING_UNKNOWN	0x200

/**
 * struct recording_region - neighbouring pages in an interval
 * @start: first address
 * @end: end
 * @flags: PAGE_IS_* and RECORDING_* bits
 *
 * All of its pages were written, but with RECORDING_UNKNOWN.
 */
struct recording_region {
	__u64 start;
	__u64 end;
	__u32 flags;
};

/**
 * enum recording_reason - why a recording ended
 * @RECORDING_TIME_UP: it had the planned length
 * @RECORDING_EXITED: the process exited
 * @RECORDING_EXECED: the process started another program
 * @RECORDING_INTERRUPTED: the user stopped the recorder, by a signal
 * @RECORDING_ERROR: the text of the end record tells
 * @RECORDING_REASONS: how many there are
 */
enum recording_reason {
	RECORDING_TIME_UP,
	RECORDING_EXITED,
	RECORDING_EXECED,
	RECORDING_INTERRUPTED,
	RECORDING_ERROR,
	RECORDING_REASONS,
};

/* Writing. */

struct recording_writer;

struct recording_writer *
recording_create(const char *path, const struct recording_header *header,
		 struct failure *failure);
int recording_write_mappings(struct recording_writer *writer,
			     const struct recording_mapping *mappings,
			     size_t count, struct failure *failure);
int recording_add_region(struct recording_writer *writer, __u64 start,
			 __u64 end, __u32 flags, struct failure *failure);
int recording_write_interval(struct recording_writer *writer, __u64 time,
			     __u64 collecting, __u64 tracked,
			     struct failure *failure);
int recording_finish(struct recording_writer *writer,
		     enum recording_reason reason, __u64 time,
		     const char *text, struct failure *failure);
void recording_abandon(struct recording_writer *writer);

/* Reading. */

/**
 * struct recording_interval - what one collection found
 * @time: when it began, and the interval ended
 * @length: time since the last collection, or since the start
 * @collecting: how long it took
 * @tracked: pages that were looked at
 * @regions: the regions, in address order; neighbours may have equal flags
 * @region_count: number of elements of @regions
 */
struct recording_interval {
	__u64 time;
	__u64 length;
	__u64 collecting;
	__u64 tracked;
	const struct recording_region *regions;
	size_t region_count;
};

/**
 * struct recording_end - how a recording ended
 * @reason: why
 * @time: when
 * @text: what went wrong, where @reason is RECORDING_ERROR; any bytes but zero
 */
struct recording_end {
	enum recording_reason reason;
	__u64 time;
	char text[RECORDING_TEXT_MAX + 1];
};

/**
 * struct recording - a recording that is read
 * @header: what it begins with
 * @mappings: all mappings so far, also those that are gone, by their id; of
 *	one that changed, as it is now
 * @mapping_count: number of elements of @mappings
 * @table: ids of the mappings at the time of @interval, in address order
 * @table_count: number of elements of @table
 * @interval: the interval that was read last
 * @interval_count: how many were read
 * @damaged: there is no end record, as the file was cut off or is corrupt;
 *	all that was read before is whole
 * @end: how it ended, once all is read
 * @reader: what only the reader needs
 *
 * For its users all of it is constant, and valid until the next call.
 */
struct recording {
	struct recording_header header;
	struct recording_mapping *mappings;
	size_t mapping_count;
	__u32 *table;
	size_t table_count;
	struct recording_interval interval;
	__u64 interval_count;
	bool damaged;
	struct recording_end end;
	struct recording_reader *reader;
};

/**
 * enum recording_step - what recording_next() has come to
 * @RECORDING_FAILED: an error is noted
 * @RECORDING_AT_END: recording.end is valid, there is nothing more
 * @RECORDING_AT_INTERVAL: recording.interval has the next interval
 */
enum recording_step {
	RECORDING_FAILED = -1,
	RECORDING_AT_END,
	RECORDING_AT_INTERVAL,
};

struct recording *recording_open(const char *path, struct failure *failure);
enum recording_step recording_next(struct recording *recording,
				   struct failure *failure);
void recording_close(struct recording *recording);

#endif /* PAGEMAP_SCAN_RECORDING_H */
