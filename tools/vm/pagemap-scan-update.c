// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan: the contents of a process's memory, kept up to date
 *
 * An update copies what was reported as written since the last one, and what is
 * populated but was not before; what is populated no more is dropped.  A page
 * that is written after it was reported is reported next time, so that after an
 * update of a process that is stopped, the snapshot has all its contents.
 *
 * A page of a shared mapping may leave the page tables of the process, and keep
 * its contents: of those, only what was reported is copied, and nothing dropped
 * as long as the mapping is there.  If the process maps it without permission to
 * write, what changes in it comes from elsewhere, such as a database's own writes
 * to its file: all that is populated is copied each time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pagemap-scan-output.h"
#include "pagemap-scan-scan.h"
#include "pagemap-scan-snapshot.h"

/* Bytes that are copied at once; divides IMAGE_FILE_SIZE. */
#define COPY_SIZE	(1UL << 20)

/**
 * open_snapshot - begin a snapshot of a process
 * @snapshot: receives it; to be closed, also after an error
 * @pid: the process
 * @path: name of the directory, which must not be there yet
 * @failure: receives the error
 *
 * It is empty until the first update.
 *
 * Return: 0, or -1 with an error noted.
 */
int open_snapshot(struct snapshot *snapshot, pid_t pid, const char *path,
		  struct failure *failure)
{
	*snapshot = (struct snapshot){
		.contents = -1,
		.image = { .directory = -1, .memory = -1, .file = -1 },
	};
	if (open_session(&snapshot->session, pid, failure))
		return -1;
	snapshot->contents = openat(snapshot->session.process.directory, "mem",
				    O_RDONLY | O_CLOEXEC);
	if (snapshot->contents < 0)
		return fail(failure, STATUS_ERROR,
			    "cannot read the memory of process %d: %s", pid,
			    strerror(errno));
	return create_image(&snapshot->image, path, &snapshot->session.process,
			    failure);
}

/**
 * close_snapshot - end the tracking, and close the snapshot
 * @snapshot: the snapshot
 */
void close_snapshot(struct snapshot *snapshot)
{
	free_ranges(&snapshot->have);
	free_ranges(&snapshot->written);
	free_ranges(&snapshot->tracked);
	free_ranges(&snapshot->shared);
	free_ranges(&snapshot->foreign);
	free_ranges(&snapshot->populated);
	if (snapshot->contents >= 0)
		close(snapshot->contents);
	close_image(&snapshot->image);
	close_session(&snapshot->session);
}

/* The collection. */

static int take_range(void *data, const struct mapping *mapping,
		      const struct address_range *range, enum track_state state,
		      struct failure *failure)
{
	struct snapshot *snapshot = data;
	struct mapping part = *mapping;

	part.range = *range;
	write_mapping(snapshot->list, &part, state);
	if (state == TRACK_OWN)
		snapshot->own += range->end - range->start;
	if (state == TRACK_OWN || state == TRACK_NOT)
		return 0;
	if (mapping->permissions[3] == 's' &&
	    add_range(&snapshot->shared, range->start, range->end, failure))
		return -1;
	if (mapping->permissions[3] == 's' && mapping->permissions[1] != 'w' &&
	    add_range(&snapshot->foreign, range->start, range->end, failure))
		return -1;
	return add_range(&snapshot->tracked, range->start, range->end, failure);
}

static int take_region(void *data,
		       const struct mapping *mapping __maybe_unused,
		       const struct page_region *region,
		       enum track_state state __maybe_unused,
		       struct failure *failure)
{
	struct snapshot *snapshot = data;

	return add_range(&snapshot->written, region->start, region->end,
			 failure);
}

static int take_populated(void *context, const struct page_region *region,
			  struct failure *failure)
{
	struct snapshot *snapshot = context;

	return add_range(&snapshot->populated, region->start, region->end,
			 failure);
}

/* What is populated, after what was written has been reported. */
static int scan_populated(struct snapshot *snapshot, struct failure *failure)
{
	struct selection selection = {
		.anyof = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};
	size_t i;

	for (i = 0; i < snapshot->tracked.count; i++)
		if (scan_range(&snapshot->session.process, &selection,
			       &snapshot->tracked.ranges[i], take_populated,
			       snapshot, failure) == SCAN_FAILED)
			return -1;
	return 0;
}

static int collect(struct snapshot *snapshot, struct failure *failure)
{
	struct track_visitor visitor = {
		.range = take_range,
		.region = take_region,
		.data = snapshot,
	};
	enum session_state state;
	int error;

	snapshot->written.count = 0;
	snapshot->tracked.count = 0;
	snapshot->shared.count = 0;
	snapshot->foreign.count = 0;
	snapshot->populated.count = 0;
	snapshot->own = 0;
	snapshot->list = begin_mappings(&snapshot->image, failure);
	if (!snapshot->list)
		return -1;
	state = session_collect(&snapshot->session, &visitor, failure);
	error = end_mappings(&snapshot->image, snapshot->list, failure);
	switch (state) {
	case SESSION_FAILED:
		return -1;
	case SESSION_EXITED:
		return fail(failure, STATUS_ERROR,
			    "process %d has exited; the snapshot in %s is of the last update",
			    snapshot->session.process.pid,
			    snapshot->image.path);
	case SESSION_EXECED:
		return fail(failure, STATUS_ERROR,
			    "process %d has started another program; the snapshot in %s is of the one before, make a new one",
			    snapshot->session.process.pid,
			    snapshot->image.path);
	default:
		return error ? -1 : scan_populated(snapshot, failure);
	}
}

/* The contents. */

static bool is_zero(const char *data, size_t size)
{
	return !*data && !memcmp(data, data + 1, size - 1);
}

/* Put pages into the image; those of zeros as holes. */
static int put_pages(struct snapshot *snapshot, __u64 address, const char *data,
		     size_t size, struct failure *failure)
{
	size_t page = snapshot->session.process.page_size;
	size_t from = 0, to;

	for (; from < size; from = to) {
		bool zero = is_zero(data + from, page);
		struct address_range hole;
		int error;

		for (to = from + page; to < size &&
		     is_zero(data + to, page) == zero; to += page)
			;
		if (zero) {
			hole.start = address + from;
			hole.end = address + to;
			error = punch_image(&snapshot->image, &hole, failure);
		} else {
			error = write_image(&snapshot->image, address + from,
					    data + from, to - from, failure);
		}
		if (error)
			return -1;
	}
	return 0;
}

static void show_progress(const struct snapshot *snapshot, __u64 total)
{
	char done[SIZE_SIZE], all[SIZE_SIZE];

	if (!snapshot->progress)
		return;
	format_size(done, snapshot->copied, UNIT_HUMAN, 1);
	format_size(all, total, UNIT_HUMAN, 1);
	fprintf(stderr, "\rcopied %s of %s\033[K", done, all);
}

/*
 * Copy what is in @wanted.  What is gone meanwhile, or cannot be read, does not
 * come into snapshot.have; if it comes back, it is copied then.
 */
static int copy_contents(struct snapshot *snapshot,
			 const struct range_list *wanted,
			 struct failure *failure)
{
	size_t page = snapshot->session.process.page_size;
	__u64 total = sum_of_ranges(wanted);
	struct range_list copied = {};
	char *buffer = malloc(COPY_SIZE);
	int error = 0;
	size_t i;

	if (!buffer)
		return fail_memory(failure);
	for (i = 0; i < wanted->count && !error; i++) {
		__u64 address = wanted->ranges[i].start;
		__u64 last = wanted->ranges[i].end;

		while (address < last && !error) {
			/* No border of a file within */
			__u64 end = (address & ~(COPY_SIZE - 1)) + COPY_SIZE;
			ssize_t got;

			if (end > last)
				end = last;
			got = pread(snapshot->contents, buffer, end - address,
				    address);
			got = got > 0 ? got & ~(page - 1) : 0;
			if (!got) {
				/* The page at address is gone. */
				address += page;
				continue;
			}
			error = put_pages(snapshot, address, buffer, got,
					  failure) ||
				add_range(&copied, address, address + got,
					  failure);
			address += got;
			snapshot->copied += got;
			show_progress(snapshot, total);
		}
	}
	free(buffer);
	if (!error)
		error = combine_ranges(&snapshot->have, RANGES_UNION, &copied,
				       &snapshot->have, failure);
	free_ranges(&copied);
	if (snapshot->progress)
		fprintf(stderr, "\r\033[K");
	return error;
}

/* Take out what is not @kept. */
static int drop_contents(struct snapshot *snapshot,
			 const struct range_list *kept, struct failure *failure)
{
	struct range_list dropped = {};
	size_t i;
	int error;

	error = combine_ranges(&snapshot->have, RANGES_WITHOUT, kept, &dropped,
			       failure);
	for (i = 0; i < dropped.count && !error; i++)
		error = punch_image(&snapshot->image, &dropped.ranges[i],
				    failure);
	snapshot->dropped = sum_of_ranges(&dropped);
	free_ranges(&dropped);
	if (!error)
		error = combine_ranges(&snapshot->have, RANGES_BOTH, kept,
				       &snapshot->have, failure);
	return error;
}

/**
 * update_snapshot - bring a snapshot up to date
 * @snapshot: the snapshot
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted; the snapshot is of no use then, unless
 * the process has exited, when it is as it was.
 */
int update_snapshot(struct snapshot *snapshot, struct failure *failure)
{
	struct range_list kept = {}, wanted = {}, fresh = {}, foreign = {};
	int error;

	snapshot->copied = 0;
	snapshot->dropped = 0;
	if (collect(snapshot, failure))
		return -1;

	error = combine_ranges(&snapshot->populated, RANGES_UNION,
			       &snapshot->shared, &kept, failure) ||
		drop_contents(snapshot, &kept, failure) ||
		/* Of what was written, all that is populated or was copied */
		combine_ranges(&snapshot->populated, RANGES_UNION,
			       &snapshot->have, &wanted, failure) ||
		combine_ranges(&snapshot->written, RANGES_BOTH, &wanted,
			       &wanted, failure) ||
		combine_ranges(&snapshot->populated, RANGES_WITHOUT,
			       &snapshot->have, &fresh, failure) ||
		combine_ranges(&wanted, RANGES_UNION, &fresh, &wanted,
			       failure) ||
		combine_ranges(&snapshot->populated, RANGES_BOTH,
			       &snapshot->foreign, &foreign, failure) ||
		combine_ranges(&wanted, RANGES_UNION, &foreign, &wanted,
			       failure) ||
		copy_contents(snapshot, &wanted, failure);
	/* What could not be read any more must not look like a snapshot. */
	if (!error && tracker_is_orphan(snapshot->session.tracker))
		error = fail(failure, STATUS_ERROR,
			     "process %d exited, or started another program, while it was copied; the snapshot in %s is not whole",
			     snapshot->session.process.pid,
			     snapshot->image.path);
	free_ranges(&kept);
	free_ranges(&wanted);
	free_ranges(&fresh);
	free_ranges(&foreign);
	return error ? -1 : 0;
}
