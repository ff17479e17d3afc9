// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN: mappings of device DAX, whose pages are of 4 KiB, 2 MiB or
 * 1 GiB, and cannot be tracked.
 *
 * It needs /dev/dax0.0 with room for a page of 1 GiB, which a kernel with
 * CONFIG_DEV_DAX_HMEM and CONFIG_FS_DAX makes of memory that is set aside at boot
 * by the parameter
 *
 *	memmap=1G%4G-1+0xefffffff
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <linux/userfaultfd.h>

#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

#define TIMEOUT	120
#define DRIVER	"/sys/bus/dax/drivers/device_dax"
#define DEVICE	"dax0.0"

/* Pages that a case maps; of 1 GiB there is one. */
static size_t pages_of(size_t size)
{
	return size < huge_size() ? 16 : size < 1UL << 30 ? 4 : 1;
}

/* Have the device map pages of @size bytes. */
static int set_page_size(size_t size)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu", size);
	/* It fails where the last case could not bind it again */
	tunable_write(DRIVER "/unbind", DEVICE);
	if (tunable_write("/sys/bus/dax/devices/" DEVICE "/align", text))
		return -1;
	return tunable_write(DRIVER "/bind", DEVICE);
}

FIXTURE(dax) {
	int device;
	int pagemap;
	size_t size;
	char *addr;
};

FIXTURE_VARIANT(dax) {
	size_t page;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(dax, 4K_VER1) { 1UL << 12, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(dax, 4K_PM) { 1UL << 12, LAYOUT_PM };
FIXTURE_VARIANT_ADD(dax, 2M_VER1) { 1UL << 21, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(dax, 2M_PM) { 1UL << 21, LAYOUT_PM };
FIXTURE_VARIANT_ADD(dax, 1G_VER1) { 1UL << 30, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(dax, 1G_PM) { 1UL << 30, LAYOUT_PM };

FIXTURE_SETUP(dax)
{
	if (access("/dev/" DEVICE, F_OK))
		SKIP(_exit(255), "needs device DAX");
	ASSERT_EQ(0, set_page_size(variant->page));
	self->device = open("/dev/" DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->device, 0);
	self->pagemap = pagemap_open(getpid());
	ASSERT_GE(self->pagemap, 0);
	self->size = pages_of(variant->page) * variant->page;
	self->addr = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  self->device, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	ASSERT_EQ(0, (uintptr_t)self->addr % variant->page);
}

FIXTURE_TEARDOWN(dax)
{
	EXPECT_EQ(0, munmap(self->addr, self->size));
	close(self->pagemap);
	close(self->device);
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* The categories of a page that was written. */
static __u64 written_page(size_t size)
{
	return PAGE_IS_PRESENT | PAGE_IS_FILE | PAGE_IS_WRITTEN |
	       PAGE_IS_SOFT_DIRTY | (size >= huge_size() ? PAGE_IS_HUGE : 0);
}

/* A mapping that is new is soft-dirty as a whole. */
TEST_F_TIMEOUT(dax, page_that_was_not_touched_is_a_hole, TIMEOUT)
{
	EXPECT_EQ(0, check_categories(self->pagemap, variant->layout,
				      self->addr, variant->page,
				      KIND_CATEGORIES, 0));
}

TEST_F_TIMEOUT(dax, page_has_the_categories_of_a_files, TIMEOUT)
{
	size_t i;

	for (i = 0; i < self->size; i += variant->page)
		touch_write(self->addr + i, 1);
	EXPECT_EQ(0, check_categories(self->pagemap, variant->layout,
				      self->addr, variant->page, ALL_CATEGORIES,
				      written_page(variant->page)));
	EXPECT_EQ(0, check_categories(self->pagemap, variant->layout,
				      self->addr, self->size, ALL_CATEGORIES,
				      written_page(variant->page)));
}

/* A part of it in the range, a page alone too. */
TEST_F_TIMEOUT(dax, part_of_a_page_is_found, TIMEOUT)
{
	__u64 expected = written_page(variant->page);

	touch_write(self->addr, 1);
	EXPECT_EQ(0, check_categories(self->pagemap, variant->layout,
				      self->addr + variant->page - page_size(),
				      page_size(), ALL_CATEGORIES, expected));
	if (variant->page > page_size()) {
		EXPECT_EQ(0, check_categories(self->pagemap, variant->layout,
					      self->addr + page_size(),
					      3 * page_size(), ALL_CATEGORIES,
					      expected));
	}
}

TEST_F_TIMEOUT(dax, scan_leaves_the_page_mapped, TIMEOUT)
{
	long before;

	touch_write(self->addr, 1);
	ASSERT_EQ(0, check_categories(self->pagemap, variant->layout,
				      self->addr, variant->page, ALL_CATEGORIES,
				      written_page(variant->page)));
	before = faults();
	touch_write(self->addr, 2);
	EXPECT_EQ(before, faults());
}

TEST_F_TIMEOUT(dax, page_is_soft_dirty_if_it_was_written_since, TIMEOUT)
{
	__u64 expected = written_page(variant->page);

	ASSERT_EQ(0, clear_soft_dirty(getpid()));
	touch_read(self->addr);
	EXPECT_EQ(0, check_categories(self->pagemap, variant->layout,
				      self->addr, variant->page, ALL_CATEGORIES,
				      expected & ~(__u64)PAGE_IS_SOFT_DIRTY));
	touch_write(self->addr, 1);
	EXPECT_EQ(0, check_categories(self->pagemap, variant->layout,
				      self->addr, variant->page, ALL_CATEGORIES,
				      expected));
}

/* Calls that each stop after some pages find all of them. */
TEST_F_TIMEOUT(dax, small_calls_find_all_pages, TIMEOUT)
{
	size_t step = self->size / page_size() / 8 + 1, i;
	__u64 pages = 0, calls = 0;
	struct page_region vec[2];
	struct scan scan = {
		.layout = variant->layout,
		.start = address(self->addr),
		.end = address(self->addr) + self->size,
		.vec = vec,
		.vec_len = 2,
		.max_pages = step,
		.required = PAGE_IS_PRESENT,
		.returned = PAGE_IS_PRESENT,
	};

	for (i = 0; i < self->size; i += variant->page)
		touch_write(self->addr + i, 1);
	while (scan.start < scan.end) {
		long regions = scan_call(self->pagemap, &scan);

		ASSERT_EQ(0, scan_check(&scan, regions));
		ASSERT_GT(scan.walk_end, scan.start);
		pages += scan_pages(vec, regions);
		calls++;
		scan.start = scan.walk_end;
	}
	EXPECT_EQ(self->size / page_size(), pages);
	EXPECT_GE(calls, 2);
}

/* Its pages cannot be protected, so that it is refused, and not by silence. */
TEST_F_TIMEOUT(dax, it_cannot_be_tracked, TIMEOUT)
{
	struct page_region vec[2];
	struct scan scan = {
		.layout = variant->layout,
		.flags = PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED,
		.start = address(self->addr),
		.end = address(self->addr) + self->size,
		.vec = vec,
		.vec_len = 2,
		.required = PAGE_IS_WRITTEN,
		.returned = PAGE_IS_WRITTEN,
	};
	int uffd;

	need_tracking();
	touch_write(self->addr, 1);
	uffd = uffd_create_async();
	ASSERT_GE(uffd, 0);
	EXPECT_EQ(-1, uffd_register(uffd, self->addr, self->size,
				    UFFDIO_REGISTER_MODE_WP, NULL));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, scan_call(self->pagemap, &scan));
	EXPECT_EQ(EPERM, errno);
	close(uffd);
}

TEST_HARNESS_MAIN
