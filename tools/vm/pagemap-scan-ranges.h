/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: sets of addresses */
#ifndef PAGEMAP_SCAN_RANGES_H
#define PAGEMAP_SCAN_RANGES_H

#include <stddef.h>

#include "pagemap-scan-process.h"
#include "pagemap-scan.h"

/**
 * struct range_list - a set of addresses, as ranges in order
 * @ranges: the ranges: none is empty, and none adjoins the next
 * @count: number of elements that are in use
 * @room: number of elements that are allocated
 *
 * All zeros is the empty set.
 */
struct range_list {
	struct address_range *ranges;
	size_t count;
	size_t room;
};

/**
 * enum range_operation - what combine_ranges() makes of two sets
 * @RANGES_UNION: what one of them has
 * @RANGES_BOTH: what both have
 * @RANGES_WITHOUT: what the first has and the second has not
 */
enum range_operation {
	RANGES_UNION,
	RANGES_BOTH,
	RANGES_WITHOUT,
};

int add_range(struct range_list *list, __u64 start, __u64 end,
	      struct failure *failure);
int combine_ranges(const struct range_list *first,
		   enum range_operation operation,
		   const struct range_list *second, struct range_list *result,
		   struct failure *failure);
__u64 sum_of_ranges(const struct range_list *list);
void free_ranges(struct range_list *list);

#endif /* PAGEMAP_SCAN_RANGES_H */
