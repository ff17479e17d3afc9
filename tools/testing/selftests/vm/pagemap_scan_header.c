// SPDX-License-Identifier: GPL-2.0-only
/*
 * <linux/pagemap_scan.h> compiles alone, as the first header of a source, and
 * beside whatever <linux/fs.h> is installed; nothing in it depends on the
 * size of a long.  What programs are compiled with is what it was.
 */
#include <linux/pagemap_scan.h>
#include <linux/fs.h>
#include <linux/pagemap_scan.h>
#include <linux/userfaultfd.h>
#include <assert.h>
#include <stddef.h>

#include "pagemap_scan_harness.h"

#define SAME(a, b)	static_assert((a) == (b), #a)

SAME(PAGEMAP_SCAN, 0xc0586610);
SAME(PAGEMAP_SCAN_PM, 0xc0606610);
SAME(PAGEMAP_USERFAULTFD, 0x6660);
SAME(PAGEMAP_SCAN_ARG_SIZE_VER0, 88);
SAME(PAGEMAP_SCAN_ARG_SIZE_VER1, 104);

SAME(PAGE_IS_WPALLOWED, 1);
SAME(PAGE_IS_WRITTEN, 2);
SAME(PAGE_IS_FILE, 4);
SAME(PAGE_IS_PRESENT, 8);
SAME(PAGE_IS_SWAPPED, 16);
SAME(PAGE_IS_PFNZERO, 32);
SAME(PAGE_IS_HUGE, 64);
SAME(PAGE_IS_SOFT_DIRTY, 128);
SAME(PAGEMAP_WP_ENGAGE, 1);
SAME(PAGEMAP_WP_REQUIRED, 2);
SAME(PAGEMAP_WP_FOREIGN, 4);
SAME(PM_SCAN_WP_MATCHING, 1);
SAME(PM_SCAN_CHECK_WPASYNC, 2);

/* The features that write-tracking stands on, as in mainline. */
SAME(UFFD_API, 0xAA);
SAME(UFFD_FEATURE_WP_UNPOPULATED, 1 << 13);
SAME(UFFD_FEATURE_WP_ASYNC, 1 << 15);
SAME(UFFDIO_REGISTER_MODE_WP, 2);

SAME(sizeof(struct page_region), 24);
SAME(offsetof(struct page_region, start), 0);
SAME(offsetof(struct page_region, end), 8);
SAME(offsetof(struct page_region, categories), 16);

SAME(sizeof(struct pagemap_scan_arg), 104);
SAME(offsetof(struct pagemap_scan_arg, size), 0);
SAME(offsetof(struct pagemap_scan_arg, flags), 8);
SAME(offsetof(struct pagemap_scan_arg, start), 16);
SAME(offsetof(struct pagemap_scan_arg, len), 24);
SAME(offsetof(struct pagemap_scan_arg, vec), 32);
SAME(offsetof(struct pagemap_scan_arg, vec_len), 40);
SAME(offsetof(struct pagemap_scan_arg, max_pages), 48);
SAME(offsetof(struct pagemap_scan_arg, required_mask), 56);
SAME(offsetof(struct pagemap_scan_arg, anyof_mask), 64);
SAME(offsetof(struct pagemap_scan_arg, excluded_mask), 72);
SAME(offsetof(struct pagemap_scan_arg, return_mask), 80);
SAME(offsetof(struct pagemap_scan_arg, walk_end), 88);
SAME(offsetof(struct pagemap_scan_arg, pages), 96);

SAME(sizeof(struct pm_scan_arg), 96);
SAME(offsetof(struct pm_scan_arg, size), 0);
SAME(offsetof(struct pm_scan_arg, flags), 8);
SAME(offsetof(struct pm_scan_arg, start), 16);
SAME(offsetof(struct pm_scan_arg, end), 24);
SAME(offsetof(struct pm_scan_arg, walk_end), 32);
SAME(offsetof(struct pm_scan_arg, vec), 40);
SAME(offsetof(struct pm_scan_arg, vec_len), 48);
SAME(offsetof(struct pm_scan_arg, max_pages), 56);
SAME(offsetof(struct pm_scan_arg, category_inverted), 64);
SAME(offsetof(struct pm_scan_arg, category_mask), 72);
SAME(offsetof(struct pm_scan_arg, category_anyof_mask), 80);
SAME(offsetof(struct pm_scan_arg, return_mask), 88);

/* What a source that was written for Linux 6.7 contains. */
TEST(source_for_mainline_compiles)
{
	struct page_region vec[4];
	struct pm_scan_arg arg = {
		.size = sizeof(struct pm_scan_arg),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.vec = (__u64)(uintptr_t)vec,
		.vec_len = 4,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};

	EXPECT_EQ(96, arg.size);
	EXPECT_EQ(16, PAGEMAP_SCAN & 0xff);
}

TEST_HARNESS_MAIN
