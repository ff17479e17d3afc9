// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN where memory is short or copying fails: by fault injection each
 * call is made again and again, and each time another of its allocations and
 * copies fails.  Either it fails and has lost nothing, or its answer is right.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pagemap_scan_failing.h"
#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

/* Sized for a kernel with all debug options on an emulated processor. */
#define TIMEOUT	120

/* More than a call has that can fail; were they endless, a loop would be. */
#define MAX_FAILURES	2000

static long scan_call_failing(int pagemap, struct scan *scan, int fail_fd,
			      unsigned int nth, bool *failed)
{
	long regions;

	fail_nth_arm(fail_fd, nth);
	regions = scan_call(pagemap, scan);
	*failed = fail_nth_disarm(fail_fd);
	return regions;
}

/*
 * Whether the regions have the first page of each granule of @set, and no page
 * of any other: a write to a huge page may be recorded for a part of it.
 */
static bool reported_exactly(struct memory *mem, const struct page_region *vec,
			     long regions, granule_set set)
{
	long i = 0;
	size_t g;

	for (g = 0; g < mem->count; g++) {
		__u64 start = address(mem->addr) + g * mem->granule;
		__u64 end = start + mem->granule;
		bool first, any;

		while (i < regions && vec[i].end <= start)
			i++;
		first = i < regions && vec[i].start <= start;
		any = i < regions && vec[i].start < end;
		if (set(mem, g) ? !first : any)
			return false;
	}
	return true;
}

FIXTURE(fault) {
	struct tracking tracking;
	struct page_region *vec;
	size_t vec_len;
	int fail_fd;
};

FIXTURE_VARIANT(fault) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(fault, ANON_VER1) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(fault, ANON_PM) { MEMORY_ANON, LAYOUT_PM };
FIXTURE_VARIANT_ADD(fault, THP_VER1) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(fault, THP_PM) { MEMORY_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(fault, MEMFD_VER1) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(fault, MEMFD_THP_PM) { MEMORY_MEMFD_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(fault, EXT4_PRIVATE_VER1) { MEMORY_EXT4_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(fault, EXT4_SHARED_PM) { MEMORY_EXT4_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(fault, HUGETLB_PRIVATE_PM) { MEMORY_HUGETLB_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(fault, HUGETLB_SHARED_VER1) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };

FIXTURE_SETUP(fault)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	if (!prepare_failures())
		SKIP(_exit(255), "the kernel has no fault injection");
	self->fail_fd = fail_nth_open();
	ASSERT_LE(0, self->fail_fd);
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	self->vec_len = self->tracking.mem.size / page_size();
	self->vec = calloc(self->vec_len, sizeof(*self->vec));
	ASSERT_TRUE(!!self->vec);
	/* Present, so that copying to it is all that can fail */
	memset(self->vec, 1, self->vec_len * sizeof(*self->vec));
}

FIXTURE_TEARDOWN(fault)
{
	free(self->vec);
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

static struct scan full_scan(struct tracking *tracking, __u64 flags,
			     struct page_region *vec, size_t vec_len)
{
	struct scan scan = tracking_scan(tracking, flags);

	scan.vec = vec;
	scan.vec_len = vec_len;
	return scan;
}

TEST_F_TIMEOUT(fault, get_fails_or_is_right, TIMEOUT)
{
	struct tracking *tracking = &self->tracking;
	unsigned int nth, failures = 0;
	bool failed = true;

	ASSERT_EQ(0, tracking_populate(tracking));
	write_set(&tracking->mem, some_granules);
	for (nth = 1; failed && nth < MAX_FAILURES; nth++) {
		struct scan scan = full_scan(tracking, 0, self->vec,
					     self->vec_len);
		long regions = scan_call_failing(tracking->pagemap, &scan,
						 self->fail_fd, nth, &failed);

		if (regions < 0) {
			/* A vector of regions is not needed for an answer */
			ASSERT_EQ(EFAULT, errno);
			ASSERT_TRUE(failed);
			failures++;
		} else {
			ASSERT_EQ(0, scan_check(&scan, regions));
			ASSERT_TRUE(reported_exactly(&tracking->mem, self->vec,
						     regions, some_granules));
		}
	}
	EXPECT_FALSE(failed);
	EXPECT_LT(0, failures);
	EXPECT_EQ(0, check_written(tracking, some_granules));
}

TEST_F_TIMEOUT(fault, protecting_pages_fails_or_is_right, TIMEOUT)
{
	struct tracking *tracking = &self->tracking;
	unsigned int nth, failures = 0;
	bool failed = true;

	ASSERT_EQ(0, tracking_populate(tracking));
	for (nth = 1; failed && nth < MAX_FAILURES; nth++) {
		struct scan scan = full_scan(tracking, PAGEMAP_WP_ENGAGE,
					     self->vec, self->vec_len);
		long regions;

		write_set(&tracking->mem, some_granules);
		regions = scan_call_failing(tracking->pagemap, &scan,
					    self->fail_fd, nth, &failed);
		if (regions < 0) {
			ASSERT_TRUE(errno == EFAULT || errno == ENOMEM);
			ASSERT_TRUE(failed);
			failures++;
			ASSERT_EQ(0, check_nothing_lost(tracking,
							some_granules));
			ASSERT_EQ(0, protect_written(tracking));
		} else {
			ASSERT_EQ(0, scan_check(&scan, regions));
			ASSERT_TRUE(reported_exactly(&tracking->mem, self->vec,
						     regions, some_granules));
		}
		ASSERT_EQ(0, check_written(tracking, no_granule));
	}
	EXPECT_FALSE(failed);
	EXPECT_LT(0, failures);
}

/* Protect holes with the @nth failure, in memory that has no page table. */
static int protect_untouched(struct tracking *tracking, int fail_fd,
			     unsigned int nth, bool *failed, bool *refused)
{
	struct scan scan = tracking_scan(tracking, PAGEMAP_WP_ENGAGE);
	long regions = scan_call_failing(tracking->pagemap, &scan, fail_fd,
					 nth, failed);

	*refused = regions < 0;
	if (!*refused)
		return check_written(tracking, no_granule);
	if (errno != ENOMEM && errno != EFAULT)
		return -1;
	return check_written(tracking, every_granule);
}

TEST_F_TIMEOUT(fault, protecting_holes_fails_or_is_right, TIMEOUT)
{
	struct tracking *tracking = &self->tracking;
	unsigned int nth, failures = 0;
	bool failed = true;

	for (nth = 1; failed && nth < MAX_FAILURES; nth++) {
		bool refused;

		ASSERT_EQ(0, protect_untouched(tracking, self->fail_fd, nth,
					       &failed, &refused));
		failures += refused;
		/* Other memory of the kind, without page tables again */
		ASSERT_EQ(0, tracking_end(tracking));
		ASSERT_EQ(0, tracking_begin(tracking, variant->kind,
					    variant->layout));
	}
	EXPECT_FALSE(failed);
	EXPECT_LT(0, failures);
}

/* One page of a huge one: the huge one has to be split. */
TEST_F_TIMEOUT(fault, protecting_a_part_fails_or_is_right, TIMEOUT)
{
	struct tracking *tracking = &self->tracking;
	unsigned int nth, failures = 0;
	bool failed = true;

	if (!memory_is_thp(variant->kind))
		return;
	for (nth = 1; failed && nth < MAX_FAILURES; nth++) {
		struct scan scan = full_scan(tracking, PAGEMAP_WP_ENGAGE,
					     self->vec, self->vec_len);
		long regions;

		ASSERT_EQ(0, memory_populate(&tracking->mem));
		scan.max_pages = 1;
		regions = scan_call_failing(tracking->pagemap, &scan,
					    self->fail_fd, nth, &failed);
		if (regions < 0) {
			ASSERT_TRUE(errno == EFAULT || errno == ENOMEM);
			failures++;
			ASSERT_EQ(0, check_written(tracking, every_granule));
		} else {
			ASSERT_EQ(0, scan_check(&scan, regions));
			ASSERT_EQ(1, scan_pages(self->vec, regions));
			scan.start += page_size();
			scan.max_pages = 0;
			scan.vec = NULL;
			scan.vec_len = 0;
			ASSERT_EQ(0, scan_call(tracking->pagemap, &scan));
			ASSERT_EQ(0, check_written(tracking, no_granule));
		}
		ASSERT_EQ(0, tracking_end(tracking));
		ASSERT_EQ(0, tracking_begin(tracking, variant->kind,
					    variant->layout));
	}
	EXPECT_FALSE(failed);
	EXPECT_LT(0, failures);
}

TEST_F_TIMEOUT(fault, uffdio_writeprotect_fails_or_protects, TIMEOUT)
{
	struct tracking *tracking = &self->tracking;
	struct memory *mem = &tracking->mem;
	unsigned int nth, failures = 0;
	bool failed = true;

	for (nth = 1; failed && nth < MAX_FAILURES; nth++) {
		int result;

		fail_nth_arm(self->fail_fd, nth);
		result = uffd_protect(tracking->uffd, mem->addr, mem->size,
				      true);
		failed = fail_nth_disarm(self->fail_fd);
		failures += !!result;
		if (result)
			ASSERT_EQ(0, uffd_protect(tracking->uffd, mem->addr,
						  mem->size, true));
		ASSERT_EQ(0, check_written(tracking, no_granule));
		ASSERT_EQ(0, tracking_end(tracking));
		ASSERT_EQ(0, tracking_begin(tracking, variant->kind,
					    variant->layout));
	}
	EXPECT_FALSE(failed);
	EXPECT_LT(0, failures);
}

/* A fault that finds no memory is taken again. */
TEST_F_TIMEOUT(fault, write_whose_fault_fails_is_reported, TIMEOUT)
{
	struct tracking *tracking = &self->tracking;
	bool failed = true;
	unsigned int nth;

	ASSERT_EQ(0, tracking_populate(tracking));
	for (nth = 1; failed && nth < MAX_FAILURES; nth++) {
		fail_nth_arm(self->fail_fd, nth);
		write_set(&tracking->mem, some_granules);
		failed = fail_nth_disarm(self->fail_fd);
		ASSERT_EQ(0, check_reported_and_protect(tracking,
							some_granules));
	}
	EXPECT_FALSE(failed);
}

/* Pages that hold page tables, and 16 KiB objects: a buffer of regions is one. */
static long kernel_memory(void)
{
	return kernel_count("nr_page_table_pages") + slab_objects("kmalloc-16k");
}

TEST_F_TIMEOUT(fault, failed_calls_leak_nothing, TIMEOUT)
{
	struct tracking *tracking = &self->tracking;
	const int calls = 300;
	long before = 0, after;
	int i;

	ASSERT_EQ(0, tracking_populate(tracking));
	for (i = -10; i < calls; i++) {
		struct scan scan = full_scan(tracking, 0, self->vec,
					     self->vec_len);

		/* The first ten fill what is kept for the next */
		if (i == 0)
			before = kernel_memory();
		scan.required = 0;
		scan.vec = (void *)page_size();
		ASSERT_EQ(-1, scan_call(tracking->pagemap, &scan));
		ASSERT_EQ(EFAULT, errno);
	}
	after = kernel_memory();
	ASSERT_LT(0, before);
	EXPECT_GT(calls / 2, after - before);
}

static void __attribute__((constructor)) prepare(void)
{
	machine_prepare(NEED_ALL & ~NEED_KSM);
}

TEST_HARNESS_MAIN
