/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: what a process writes */
#ifndef PAGEMAP_SCAN_TRACK_H
#define PAGEMAP_SCAN_TRACK_H

#include <stdbool.h>
#include <linux/pagemap_scan.h>

#include "pagemap-scan-process.h"
#include "pagemap-scan.h"

/* What is told of the pages that were written. */
#define TRACK_CATEGORIES	(PAGE_IS_PRESENT | PAGE_IS_SWAPPED | \
				 PAGE_IS_HUGE | PAGE_IS_FILE | PAGE_IS_PFNZERO)

/**
 * enum track_state - what is known of the writes to a range
 * @TRACK_ARMED: every write since the last collection
 * @TRACK_NEW: that it is tracked from now on; all that is populated there
 *	counts as written
 * @TRACK_OWN: nothing, as the process has registered it with a userfaultfd of
 *	its own, or another tracker has
 * @TRACK_NOT: that nothing can be written there, or that the kernel cannot
 *	tell, as in device memory
 */
enum track_state {
	TRACK_ARMED,
	TRACK_NEW,
	TRACK_OWN,
	TRACK_NOT,
};

struct tracker;

/**
 * typedef track_range_fn - take note of a range, before what was written there
 * @data: the caller's
 * @mapping: the mapping that it is in
 * @range: the range
 * @state: what is known of it
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted, which ends the collection.
 */
typedef int track_range_fn(void *data, const struct mapping *mapping,
			   const struct address_range *range,
			   enum track_state state, struct failure *failure);

/**
 * typedef track_region_fn - take note of pages that were written
 * @data: the caller's
 * @mapping: the mapping that they are in
 * @region: the pages, with those of TRACK_CATEGORIES that they are in; if
 *	neither present nor swapped, their contents were dropped
 * @state: TRACK_ARMED, or TRACK_NEW for those that count as written
 * @failure: receives the error
 *
 * In the order of addresses.
 *
 * Return: 0, or -1 with an error noted, which ends the collection.
 */
typedef int track_region_fn(void *data, const struct mapping *mapping,
			    const struct page_region *region,
			    enum track_state state, struct failure *failure);

/**
 * typedef track_mappings_fn - take note of what the process has mapped
 * @data: the caller's
 * @mappings: the mappings that are about to be collected from
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted, which ends the collection.
 */
typedef int track_mappings_fn(void *data, const struct mapping_list *mappings,
			      struct failure *failure);

/**
 * struct track_visitor - who takes what a collection finds
 * @mappings: called once before the others, or NULL
 * @range: called for each range of each mapping
 * @region: called for all that was written in it, after that
 * @data: their first argument
 */
struct track_visitor {
	track_mappings_fn *mappings;
	track_range_fn *range;
	track_region_fn *region;
	void *data;
};

/**
 * enum track_result - how a collection ended
 * @TRACK_OK: it is whole
 * @TRACK_GONE: the address space is gone: the process has exited, or executed
 *	another program; what was found before is right, but not all
 * @TRACK_FAILED: an error is noted
 */
enum track_result {
	TRACK_OK,
	TRACK_GONE,
	TRACK_FAILED,
};

int require_tracking(struct failure *failure);
struct tracker *open_tracker(const struct process *process,
			     struct failure *failure);
bool tracker_is_orphan(const struct tracker *tracker);
bool is_write(const struct mapping *mapping, const struct page_region *region);
enum track_result collect_written(struct tracker *tracker,
				  const struct mapping_list *mappings,
				  const struct track_visitor *visitor,
				  struct failure *failure);
void close_tracker(struct tracker *tracker);

#endif /* PAGEMAP_SCAN_TRACK_H */
