/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: the names of the categories */
#ifndef PAGEMAP_SCAN_CATEGORIES_H
#define PAGEMAP_SCAN_CATEGORIES_H

#include <stddef.h>
#include <linux/pagemap_scan.h>

#include "pagemap-scan.h"

#define CATEGORY_COUNT		8
#define ALL_CATEGORIES		(PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN | \
				 PAGE_IS_FILE | PAGE_IS_PRESENT | \
				 PAGE_IS_SWAPPED | PAGE_IS_PFNZERO | \
				 PAGE_IS_HUGE | PAGE_IS_SOFT_DIRTY)

/* Room for the names of all categories with commas between them. */
#define CATEGORIES_SIZE		128

/**
 * struct category - what the user calls a category
 * @name: the name in options, JSON and CSV
 * @title: a title of at most five letters, for a narrow column
 * @bit: its bit
 */
struct category {
	const char *name;
	const char *title;
	__u64 bit;
};

extern const struct category categories[CATEGORY_COUNT];

const struct category *category_by_name(const char *name, size_t length);
void format_categories(char text[CATEGORIES_SIZE], __u64 mask);
int parse_categories(const char *option, const char *list, __u64 *mask,
		     struct failure *failure);

#endif /* PAGEMAP_SCAN_CATEGORIES_H */
