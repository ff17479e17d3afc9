// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan: what a process writes
 *
 * Without its help: PAGEMAP_USERFAULTFD gives a userfaultfd of its address
 * space, mappings are registered with it as they are found, and PAGEMAP_SCAN
 * tells, and protects again, what was written.  The process is not stopped and
 * cannot tell the difference; when the descriptors are closed, all is as it was.
 *
 * In private memory only what is populated is protected: nothing is allocated
 * in the process for the holes of a large reservation.  What is written to a
 * hole is then populated and not protected, so nothing is missed.  In shared
 * memory a page may leave the page tables of the process, and the record of a
 * write with it, so that there holes are protected too, which takes page tables:
 * 8 bytes for each page.  A shared mapping that is larger than the memory and
 * swap of the machine is taken as private, for it can only be sparse.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/userfaultfd.h>

#include "pagemap-scan-ranges.h"
#include "pagemap-scan-scan.h"
#include "pagemap-scan-track.h"

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	(1ULL << 15)
#endif

/* Regions that one call can report. */
#define VEC_LEN			4096

/**
 * struct tracker - a process that is tracked
 * @process: the process
 * @uffd: its userfaultfd
 * @memory: bytes of memory and swap that the machine has
 * @armed: what the last collection found, or left, registered
 * @arming: the same of the one that goes on
 * @vec: receives the regions of one call
 */
struct tracker {
	const struct process *process;
	int uffd;
	__u64 memory;
	struct range_list armed;
	struct range_list arming;
	struct page_region vec[VEC_LEN];
};

/* Bytes of memory and swap; if that cannot be told, as much as can be. */
static __u64 machine_memory(void)
{
	FILE *meminfo = fopen("/proc/meminfo", "re");
	__u64 size, memory = 0, swap = 0;
	char line[128];

	while (meminfo && fgets(line, sizeof(line), meminfo)) {
		if (sscanf(line, "MemTotal: %llu", &size) == 1)
			memory = size;
		else if (sscanf(line, "SwapTotal: %llu", &size) == 1)
			swap = size;
	}
	if (meminfo)
		fclose(meminfo);
	return memory ? (memory + swap) * 1024 : ~0ULL;
}

/* Note why there is no userfaultfd of the process, by errno. */
static int fail_tracker(const struct process *process, struct failure *failure)
{
	switch (errno) {
	case ENOTTY:
	case EINVAL:	/* mainline: has no such ioctl either */
		if (require_own_kernel(process, "to track another process",
				       failure))
			return -1;
		return fail(failure, STATUS_ERROR,
			    "this kernel cannot track another process: it was built without CONFIG_PTE_MARKER_UFFD_WP, or is not for x86-64");
	case EACCES:
	case EPERM:
		return fail(failure, STATUS_ERROR,
			    "no permission to track process %d: it takes what a debugger needs, the same user (and a process that is not setuid or otherwise protected), or CAP_SYS_PTRACE; try sudo, and see /proc/sys/kernel/yama/ptrace_scope",
			    process->pid);
	case ESRCH:
		return fail(failure, STATUS_ERROR,
			    "process %d has no memory that could be tracked: it is a thread of the kernel, or it exits or starts another program just now",
			    process->pid);
	default:
		return fail(failure, STATUS_ERROR,
			    "cannot track process %d: %s", process->pid,
			    strerror(errno));
	}
}

/**
 * open_tracker - begin to track a process
 * @process: the process, which must stay open
 * @failure: receives the error
 *
 * Nothing is tracked before the first collection.
 *
 * Return: the tracker, to be closed, or NULL with an error noted.
 */
struct tracker *open_tracker(const struct process *process,
			     struct failure *failure)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC,
	};
	struct tracker *tracker = calloc(1, sizeof(*tracker));

	if (!tracker) {
		fail_memory(failure);
		return NULL;
	}
	tracker->process = process;
	tracker->uffd = ioctl(process->pagemap, PAGEMAP_USERFAULTFD, O_CLOEXEC);
	if (tracker->uffd < 0 || ioctl(tracker->uffd, UFFDIO_API, &api)) {
		fail_tracker(process, failure);
		close_tracker(tracker);
		return NULL;
	}
	tracker->memory = machine_memory();
	return tracker;
}

/**
 * require_tracking - ask whether processes can be tracked at all
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted: the kernel cannot do it.
 */
int require_tracking(struct failure *failure)
{
	struct process self;
	struct tracker *tracker = NULL;

	if (!open_process(&self, getpid(), failure))
		tracker = open_tracker(&self, failure);
	close_tracker(tracker);
	close_process(&self);
	return tracker ? 0 : -1;
}

/*
 * To close the userfaultfd takes all protection off with the process's mmap lock
 * held: its page faults wait for gigabytes to be walked.  Do it mapping by
 * mapping before that.  What fails here is left to close().
 */
static void unregister_all(const struct tracker *tracker)
{
	size_t i;

	for (i = 0; i < tracker->armed.count; i++) {
		const struct address_range *range = &tracker->armed.ranges[i];
		struct uffdio_range part = {
			.start = range->start,
			.len = range->end - range->start,
		};

		ioctl(tracker->uffd, UFFDIO_UNREGISTER, &part);
	}
}

/**
 * close_tracker - stop tracking
 * @tracker: the tracker, or NULL
 */
void close_tracker(struct tracker *tracker)
{
	if (!tracker)
		return;
	if (tracker->uffd >= 0) {
		unregister_all(tracker);
		close(tracker->uffd);
	}
	free_ranges(&tracker->armed);
	free_ranges(&tracker->arming);
	free(tracker);
}

/**
 * tracker_is_orphan - ask whether the address space is gone
 * @tracker: the tracker
 *
 * Return: whether the process has exited, or executed another program.
 */
bool tracker_is_orphan(const struct tracker *tracker)
{
	struct pagemap_scan_arg arg = { .size = sizeof(arg) };

	return ioctl(tracker->process->pagemap, PAGEMAP_SCAN, &arg) < 0 &&
	       errno == ESRCH;
}

/**
 * arm - have the writes to a mapping tracked
 * @tracker: the tracker
 * @mapping: the mapping
 * @state: receives TRACK_NEW, TRACK_OWN or TRACK_NOT
 * @failure: receives the error
 *
 * Also where it is thought to be: the process may have replaced the mapping by
 * another one, or may have registered it itself.
 */
static enum track_result arm(struct tracker *tracker,
			     const struct mapping *mapping,
			     enum track_state *state, struct failure *failure)
{
	struct uffdio_register registration = {
		.range.start = mapping->range.start,
		.range.len = mapping->range.end - mapping->range.start,
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	*state = TRACK_NEW;
	do {
		if (!ioctl(tracker->uffd, UFFDIO_REGISTER, &registration))
			return TRACK_OK;
		/* It is just being started: a moment later, its stack is there */
	} while (errno == EAGAIN && !usleep(1000));
	switch (errno) {
	case EBUSY:
		*state = TRACK_OWN;
		return TRACK_OK;
	case EINVAL:	/* gone meanwhile, or of a device */
	case EPERM:	/* can never be written */
		*state = TRACK_NOT;
		return TRACK_OK;
	case ENOMEM:
		if (tracker_is_orphan(tracker))
			return TRACK_GONE;
		fail(failure, STATUS_ERROR,
		     "the kernel has not enough memory to track process %d; free some and try again",
		     tracker->process->pid);
		return TRACK_FAILED;
	case ESRCH:
		return TRACK_GONE;
	default:
		fail(failure, STATUS_ERROR,
		     "cannot track %llx-%llx of process %d: %s",
		     mapping->range.start, mapping->range.end,
		     tracker->process->pid, strerror(errno));
		return TRACK_FAILED;
	}
}

/* Whether a page may leave the page tables of the process as it was. */
static bool may_be_unmapped(const struct tracker *tracker,
			    const struct mapping *mapping)
{
	return mapping->permissions[3] == 's' &&
	       mapping->range.end - mapping->range.start <= tracker->memory;
}

/* Get, and protect, what was written in a range that is registered. */
static enum track_result collect_range(struct tracker *tracker,
				       const struct mapping *mapping,
				       const struct address_range *range,
				       enum track_state state,
				       const struct track_visitor *visitor,
				       struct failure *failure)
{
	bool holes = may_be_unmapped(tracker, mapping);
	__u64 address = range->start;

	if (visitor->range(visitor->data, mapping, range, state, failure))
		return TRACK_FAILED;
	while (address < range->end) {
		struct pagemap_scan_arg arg = {
			.size = sizeof(arg),
			.flags = PAGEMAP_WP_ENGAGE | PAGEMAP_WP_FOREIGN,
			.start = address,
			.len = range->end - address,
			.vec = (uintptr_t)tracker->vec,
			.vec_len = VEC_LEN,
			.required_mask = PAGE_IS_WRITTEN,
			.anyof_mask = holes ? 0 : PAGE_IS_PRESENT |
						  PAGE_IS_SWAPPED,
			.return_mask = TRACK_CATEGORIES,
		};
		int i, found;

		found = ioctl(tracker->process->pagemap, PAGEMAP_SCAN, &arg);
		if (found < 0 && errno == ESRCH)
			return TRACK_GONE;
		if (found < 0) {
			fail(failure, STATUS_ERROR,
			     "cannot collect what process %d wrote at %llx-%llx: %s",
			     tracker->process->pid, address, range->end,
			     strerror(errno));
			return TRACK_FAILED;
		}
		for (i = 0; i < found; i++) {
			const struct page_region *region = &tracker->vec[i];

			/* Was not known to be populated before. */
			if (state == TRACK_NEW &&
			    !(region->categories &
			      (PAGE_IS_PRESENT | PAGE_IS_SWAPPED)))
				continue;
			if (visitor->region(visitor->data, mapping, region,
					    state, failure))
				return TRACK_FAILED;
		}
		address = arg.walk_end;
	}
	return TRACK_OK;
}

/**
 * is_write - tell a write from what merely reads as one
 * @mapping: the mapping that was private or shared
 * @region: a region that was reported of it
 *
 * In a private mapping, a page that was only read since it was dropped, or for
 * the first time, is the zero page or that of the file.
 *
 * Return: whether the process wrote, or dropped, the pages of @region.
 */
bool is_write(const struct mapping *mapping, const struct page_region *region)
{
	return mapping->permissions[3] == 's' ||
	       !(region->categories & (PAGE_IS_FILE | PAGE_IS_PFNZERO));
}

/**
 * collect_written - get what was written since the last collection
 * @tracker: the tracker
 * @mappings: what the process has mapped now, in the order of addresses
 * @visitor: takes what is found
 * @failure: receives the error
 *
 * All that is reported is protected again.  What is written from that moment on
 * is in the next collection, so that contents which are read after this returns
 * are at least as new as what was reported.
 */
enum track_result collect_written(struct tracker *tracker,
				  const struct mapping_list *mappings,
				  const struct track_visitor *visitor,
				  struct failure *failure)
{
	struct range_list spare = tracker->armed;
	enum track_result result = TRACK_OK;
	size_t i, next = 0;

	if (visitor->mappings &&
	    visitor->mappings(visitor->data, mappings, failure))
		return TRACK_FAILED;
	tracker->arming.count = 0;
	for (i = 0; i < mappings->count && result == TRACK_OK; i++) {
		const struct mapping *mapping = &mappings->mappings[i];
		struct address_range rest = mapping->range;
		enum track_state state;

		result = arm(tracker, mapping, &state, failure);
		if (result != TRACK_OK)
			break;
		if (state != TRACK_NEW) {
			if (visitor->range(visitor->data, mapping, &rest,
					   state, failure))
				result = TRACK_FAILED;
			continue;
		}
		if (add_range(&tracker->arming, rest.start, rest.end,
			      failure)) {
			result = TRACK_FAILED;
			break;
		}
		/* A part of it may have been there, and armed, before. */
		while (rest.start < rest.end && result == TRACK_OK) {
			const struct range_list *armed = &tracker->armed;
			struct address_range part = rest;

			while (next < armed->count &&
			       armed->ranges[next].end <= rest.start)
				next++;
			state = TRACK_NEW;
			if (next < armed->count &&
			    armed->ranges[next].start <= rest.start) {
				state = TRACK_ARMED;
				if (armed->ranges[next].end < part.end)
					part.end = armed->ranges[next].end;
			} else if (next < armed->count &&
				   armed->ranges[next].start < part.end) {
				part.end = armed->ranges[next].start;
			}
			result = collect_range(tracker, mapping, &part, state,
					       visitor, failure);
			rest.start = part.end;
		}
	}
	tracker->armed = tracker->arming;
	tracker->arming = spare;
	return result;
}
