/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: calls of the ioctl */
#ifndef PAGEMAP_SCAN_SCAN_H
#define PAGEMAP_SCAN_SCAN_H

#include <stdbool.h>
#include <linux/pagemap_scan.h>

#include "pagemap-scan-process.h"
#include "pagemap-scan.h"

/**
 * struct selection - which pages to report, and what of them
 * @required: categories that a matching page has all of
 * @anyof: categories that a matching page has one of, or 0
 * @excluded: categories that a matching page has none of
 * @returned: categories to tell
 */
struct selection {
	__u64 required;
	__u64 anyof;
	__u64 excluded;
	__u64 returned;
};

/**
 * typedef take_region_t - what scan_range() does with each region
 * @context: as given to scan_range()
 * @region: the region, behind all that came before, and as large as can be
 * @failure: receives the error
 *
 * Return: 0 to go on, or -1 with an error noted.
 */
typedef int take_region_t(void *context, const struct page_region *region,
			  struct failure *failure);

/**
 * enum scan_result - what scan_range() came to
 * @SCAN_FAILED: an error is noted
 * @SCAN_DONE: all pages were looked at
 * @SCAN_OUTSIDE: the addresses are the kernel's, such as [vsyscall], which has
 *	no page table of the process
 */
enum scan_result {
	SCAN_FAILED = -1,
	SCAN_DONE,
	SCAN_OUTSIDE,
};

int known_categories(const struct process *process, __u64 *known,
		     struct failure *failure);
enum scan_result scan_range(const struct process *process,
			    const struct selection *selection,
			    const struct address_range *range,
			    take_region_t *take, void *context,
			    struct failure *failure);
bool has_own_kernel(const struct process *process);
int require_own_kernel(const struct process *process, const char *purpose,
		       struct failure *failure);

#endif /* PAGEMAP_SCAN_SCAN_H */
