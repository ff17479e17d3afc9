// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN: the argument in both layouts and all versions, the errors,
 * and the form of the result.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "pagemap_scan_failing.h"
#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

#define TIMEOUT	120
#define PAGES	64

/* A number that has another size of argument. */
#define PAGEMAP_SCAN_SIZED(size)	_IOC(_IOC_READ | _IOC_WRITE, 'f', 16, size)

/* What a field had before the call, to see whether it was written. */
#define UNTOUCHED	0x5a5a5a5a5a5a5a5aULL

/* Anonymous pages, of which every other one is populated. */
FIXTURE(abi) {
	int pagemap;
	char *addr;
	struct page_region *vec;
	struct scan scan;
};

FIXTURE_VARIANT(abi) {
	enum layout layout;
};

FIXTURE_VARIANT_ADD(abi, VER0) { LAYOUT_VER0 };
FIXTURE_VARIANT_ADD(abi, VER1) { LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(abi, PM) { LAYOUT_PM };

FIXTURE_SETUP(abi)
{
	size_t i;

	self->pagemap = pagemap_open(getpid());
	ASSERT_LE(0, self->pagemap);
	self->addr = map_pages(PAGES, PROT_READ | PROT_WRITE);
	self->vec = map_pages(1, PROT_READ | PROT_WRITE);
	ASSERT_TRUE(self->addr && self->vec);
	for (i = 0; i < PAGES; i += 2)
		self->addr[i * page_size()] = 1;
	self->scan = (struct scan) {
		.layout = variant->layout,
		.start = address(self->addr),
		.end = address(self->addr) + PAGES * page_size(),
		.vec = self->vec,
		.vec_len = PAGES,
		.required = PAGE_IS_PRESENT,
		.returned = PAGE_IS_PRESENT,
	};
}

FIXTURE_TEARDOWN(abi)
{
	close(self->pagemap);
}

/* Whether a region has the pages from one to another. */
static bool region_is(const struct scan *scan, size_t number, size_t from,
		      size_t to)
{
	const struct page_region *region = &scan->vec[number];
	__u64 start = (region->start - scan->start) / page_size();
	__u64 end = (region->end - scan->start) / page_size();

	if (start == from && end == to)
		return true;
	fprintf(stderr, "# region %zu is %llu to %llu\n", number,
		(unsigned long long)start, (unsigned long long)end);
	return false;
}

TEST_F_TIMEOUT(abi, regions_are_the_populated_pages, TIMEOUT)
{
	long regions = scan_call(self->pagemap, &self->scan), i;

	ASSERT_EQ(PAGES / 2, regions);
	EXPECT_EQ(0, scan_check(&self->scan, regions));
	for (i = 0; i < regions; i++) {
		EXPECT_TRUE(region_is(&self->scan, i, 2 * i, 2 * i + 1));
		EXPECT_EQ(PAGE_IS_PRESENT, self->vec[i].categories);
	}
	/* Complete, although the range ends in a hole. */
	EXPECT_EQ(self->scan.end, self->scan.walk_end);
	EXPECT_EQ(PAGES / 2, self->scan.pages);
}

TEST_F_TIMEOUT(abi, empty_selection_matches_every_page, TIMEOUT)
{
	self->scan.required = 0;
	self->scan.returned = 0;
	ASSERT_EQ(1, scan_call(self->pagemap, &self->scan));
	EXPECT_TRUE(region_is(&self->scan, 0, 0, PAGES));
	EXPECT_EQ(0, self->vec[0].categories);
	EXPECT_EQ(PAGES, self->scan.pages);
}

TEST_F_TIMEOUT(abi, return_mask_0_reports_regions_without_categories, TIMEOUT)
{
	self->scan.returned = 0;
	ASSERT_EQ(PAGES / 2, scan_call(self->pagemap, &self->scan));
	EXPECT_EQ(0, scan_check(&self->scan, PAGES / 2));
	EXPECT_EQ(0, self->vec[0].categories);
}

TEST_F_TIMEOUT(abi, return_mask_splits_and_joins, TIMEOUT)
{
	/* Neighbours that differ in what is returned are two regions. */
	self->scan.required = 0;
	ASSERT_EQ(PAGES, scan_call(self->pagemap, &self->scan));
	EXPECT_EQ(0, scan_check(&self->scan, PAGES));
	/* In what is not returned, one. */
	self->scan.returned = PAGE_IS_SWAPPED;
	ASSERT_EQ(1, scan_call(self->pagemap, &self->scan));
}

TEST_F_TIMEOUT(abi, addresses_that_are_not_mapped_are_not_reported, TIMEOUT)
{
	ASSERT_EQ(0, munmap(self->addr + 8 * page_size(), 4 * page_size()));
	self->scan.required = 0;
	self->scan.returned = 0;
	ASSERT_EQ(2, scan_call(self->pagemap, &self->scan));
	EXPECT_TRUE(region_is(&self->scan, 0, 0, 8));
	EXPECT_TRUE(region_is(&self->scan, 1, 12, PAGES));
}

TEST_F_TIMEOUT(abi, neighbouring_vmas_with_equal_pages_are_one_region, TIMEOUT)
{
	ASSERT_EQ(0, mprotect(self->addr + 8 * page_size(), 8 * page_size(),
			      PROT_READ));
	self->scan.required = 0;
	self->scan.returned = 0;
	ASSERT_EQ(1, scan_call(self->pagemap, &self->scan));
	EXPECT_TRUE(region_is(&self->scan, 0, 0, PAGES));
}

TEST_F_TIMEOUT(abi, neighbouring_vmas_that_differ_are_not_joined, TIMEOUT)
{
	int uffd = uffd_create_async();

	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, uffd_register(uffd, self->addr + 8 * page_size(),
				   8 * page_size(), UFFDIO_REGISTER_MODE_WP,
				   NULL));
	self->scan.required = 0;
	self->scan.returned = PAGE_IS_WPALLOWED;
	ASSERT_EQ(3, scan_call(self->pagemap, &self->scan));
	EXPECT_TRUE(region_is(&self->scan, 0, 0, 8));
	EXPECT_TRUE(region_is(&self->scan, 1, 8, 16));
	EXPECT_TRUE(region_is(&self->scan, 2, 16, PAGES));
	EXPECT_EQ(PAGE_IS_WPALLOWED, self->vec[1].categories);
}

TEST_F_TIMEOUT(abi, len_0_is_allowed, TIMEOUT)
{
	self->scan.end = self->scan.start;
	EXPECT_EQ(0, scan_call(self->pagemap, &self->scan));
	EXPECT_EQ(self->scan.start, self->scan.walk_end);
	/* Also where nothing is mapped, as a probe for the ioctl does. */
	self->scan.start = 0;
	self->scan.end = 0;
	EXPECT_EQ(0, scan_call(self->pagemap, &self->scan));
}

TEST_F_TIMEOUT(abi, len_is_rounded_up, TIMEOUT)
{
	self->scan.end = self->scan.start + 1;
	ASSERT_EQ(1, scan_call(self->pagemap, &self->scan));
	EXPECT_TRUE(region_is(&self->scan, 0, 0, 1));
	if (variant->layout != LAYOUT_VER0)
		EXPECT_EQ(self->scan.start + page_size(), self->scan.walk_end);
	EXPECT_EQ(1, self->scan.pages);

	self->scan.end = self->scan.start + 2 * page_size() + 1;
	ASSERT_EQ(2, scan_call(self->pagemap, &self->scan));
	EXPECT_TRUE(region_is(&self->scan, 1, 2, 3));
}

TEST_F_TIMEOUT(abi, without_vec_nothing_is_reported, TIMEOUT)
{
	self->scan.vec = NULL;
	self->scan.vec_len = 0;
	EXPECT_EQ(0, scan_call(self->pagemap, &self->scan));
	EXPECT_EQ(self->scan.end, self->scan.walk_end);
	if (variant->layout == LAYOUT_VER1)
		EXPECT_EQ(PAGES / 2, self->scan.pages);
}

TEST_F_TIMEOUT(abi, vec_len_0_counts_too, TIMEOUT)
{
	self->scan.vec_len = 0;
	memset(self->vec, 0x5a, sizeof(*self->vec));
	EXPECT_EQ(0, scan_call(self->pagemap, &self->scan));
	EXPECT_EQ(self->scan.end, self->scan.walk_end);
	if (variant->layout == LAYOUT_VER1)
		EXPECT_EQ(PAGES / 2, self->scan.pages);
	EXPECT_EQ(UNTOUCHED, self->vec[0].start);
}

TEST_F_TIMEOUT(abi, max_pages_without_vec_stops, TIMEOUT)
{
	self->scan.vec = NULL;
	self->scan.vec_len = 0;
	self->scan.max_pages = 5;
	EXPECT_EQ(0, scan_call(self->pagemap, &self->scan));
	if (variant->layout == LAYOUT_VER1)
		EXPECT_EQ(5, self->scan.pages);
	/* At the sixth that matches. */
	if (variant->layout != LAYOUT_VER0)
		EXPECT_EQ(self->scan.start + 10 * page_size(),
			  self->scan.walk_end);
}

TEST_F_TIMEOUT(abi, full_vec_stops_at_the_next_match, TIMEOUT)
{
	self->scan.vec_len = 3;
	ASSERT_EQ(3, scan_call(self->pagemap, &self->scan));
	EXPECT_EQ(0, scan_check(&self->scan, 3));
	EXPECT_TRUE(region_is(&self->scan, 2, 4, 5));
	if (variant->layout != LAYOUT_VER0)
		EXPECT_EQ(self->scan.start + 6 * page_size(),
			  self->scan.walk_end);
}

TEST_F_TIMEOUT(abi, vec_that_is_just_large_enough_completes, TIMEOUT)
{
	self->scan.vec_len = PAGES / 2;
	ASSERT_EQ(PAGES / 2, scan_call(self->pagemap, &self->scan));
	if (variant->layout != LAYOUT_VER0)
		EXPECT_EQ(self->scan.end, self->scan.walk_end);
}

TEST_F_TIMEOUT(abi, last_region_grows_though_vec_is_full, TIMEOUT)
{
	self->scan.required = 0;
	self->scan.returned = 0;
	self->scan.vec_len = 1;
	ASSERT_EQ(1, scan_call(self->pagemap, &self->scan));
	EXPECT_TRUE(region_is(&self->scan, 0, 0, PAGES));
}

TEST_F_TIMEOUT(abi, max_pages_stops_at_the_next_match, TIMEOUT)
{
	self->scan.max_pages = 3;
	ASSERT_EQ(3, scan_call(self->pagemap, &self->scan));
	EXPECT_EQ(0, scan_check(&self->scan, 3));
	EXPECT_TRUE(region_is(&self->scan, 2, 4, 5));
	if (variant->layout != LAYOUT_VER0)
		EXPECT_EQ(self->scan.start + 6 * page_size(),
			  self->scan.walk_end);
}

TEST_F_TIMEOUT(abi, max_pages_cuts_a_region, TIMEOUT)
{
	self->scan.required = 0;
	self->scan.returned = 0;
	self->scan.max_pages = 7;
	ASSERT_EQ(1, scan_call(self->pagemap, &self->scan));
	EXPECT_TRUE(region_is(&self->scan, 0, 0, 7));
	EXPECT_EQ(self->scan.start + 7 * page_size(), self->scan.walk_end);
}

TEST_F_TIMEOUT(abi, max_pages_that_is_just_large_enough_completes, TIMEOUT)
{
	self->scan.max_pages = PAGES / 2;
	ASSERT_EQ(PAGES / 2, scan_call(self->pagemap, &self->scan));
	if (variant->layout != LAYOUT_VER0)
		EXPECT_EQ(self->scan.end, self->scan.walk_end);
}

/* Small calls, each from where the last one stopped, give the same. */
static int check_resumed(int pagemap, struct scan *scan,
			 const struct page_region *expected, long count)
{
	struct page_region *vec = calloc(scan->vec_len, sizeof(*vec));
	long done = 0, regions, i;

	scan->vec = vec;
	while (scan->start < scan->end) {
		regions = scan_call(pagemap, scan);
		if (scan_check(scan, regions))
			return -1;
		for (i = 0; i < regions; i++) {
			/* max_pages may have cut a region in two. */
			if (done && expected[done - 1].start < vec[i].start &&
			    vec[i].end <= expected[done - 1].end)
				continue;
			if (done == count ||
			    vec[i].start != expected[done].start ||
			    vec[i].end > expected[done].end ||
			    vec[i].categories != expected[done].categories)
				return -1;
			done++;
		}
		if (scan->walk_end <= scan->start)
			return -1;
		scan->start = scan->walk_end;
	}
	free(vec);
	return done == count ? 0 : -1;
}

TEST_F_TIMEOUT(abi, small_calls_give_the_same_as_a_large_one, TIMEOUT)
{
	struct scan scan = self->scan;
	__u64 vec_len, max_pages;
	long regions;

	/* Regions of several lengths. */
	memset(self->addr, 1, 8 * page_size());
	memset(self->addr + 20 * page_size(), 1, 9 * page_size());
	scan.required = 0;
	scan.returned = ALL_CATEGORIES;
	regions = scan_call(self->pagemap, &scan);
	ASSERT_EQ(0, scan_check(&scan, regions));
	ASSERT_LT(10, regions);
	for (vec_len = 1; vec_len < 8; vec_len++) {
		for (max_pages = 0; max_pages < 12; max_pages++) {
			struct scan small = scan;

			small.vec_len = vec_len;
			small.max_pages = max_pages;
			ASSERT_EQ(0, check_resumed(self->pagemap, &small,
						   self->vec, regions))
				TH_LOG("vec_len %llu max_pages %llu",
				       (unsigned long long)vec_len,
				       (unsigned long long)max_pages);
		}
	}
}

/* More pages than the kernel looks at in one go, also where nobody waits. */
#define MANY_PAGES	(18 * 8192)

/*
 * More pages, page tables and regions than the kernel handles in one go, with
 * a region across every border at which it may stop.
 */
TEST_F_TIMEOUT(abi, long_range_gives_maximal_regions, TIMEOUT)
{
	size_t size = 1UL << 30, many = MANY_PAGES * page_size();
	size_t touched = 0, offset, length;
	char *p = reserve_addresses(size, huge_size());
	struct scan scan = self->scan;
	long regions, expected = 0;
	struct page_region *vec = calloc(8192, sizeof(*vec));

	ASSERT_TRUE(!!p);
	ASSERT_EQ(0, map_fixed(p, size, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, keep_pages_small(p, size));
	scan.start = address(p);
	scan.end = scan.start + size;
	scan.vec_len = 8192;
	scan.vec = vec;

	/* One region: nothing there. */
	scan.required = 0;
	ASSERT_EQ(1, scan_call(self->pagemap, &scan));
	EXPECT_EQ(scan.end, vec[0].end);

	/* One region: zero pages all over the first part. */
	for (offset = 0; offset < many; offset += page_size())
		touch_read(p + offset);
	ASSERT_EQ(2, scan_call(self->pagemap, &scan));
	EXPECT_EQ(scan.start + many, vec[0].end);

	/* Regions around each border of a page table, and between. */
	for (offset = many; offset < size; offset += huge_size() / 4) {
		length = (1 + offset / (huge_size() / 4) % 5) * page_size();
		memset(p + offset - page_size(), 1, length + page_size());
		touched += length / page_size() + 1;
		expected++;
	}
	scan.required = PAGE_IS_PRESENT;
	scan.excluded = PAGE_IS_PFNZERO;
	regions = scan_call(self->pagemap, &scan);
	EXPECT_EQ(0, scan_check(&scan, regions));
	EXPECT_EQ(expected, regions);
	EXPECT_EQ(touched, scan_pages(vec, regions));
	EXPECT_EQ(scan.end, scan.walk_end);
	if (variant->layout == LAYOUT_VER1)
		EXPECT_EQ(touched, scan.pages);
	munmap(p, size);
	free(vec);
}

/* Have every other page of memory there, and room for a region for each. */
static int scan_every_other(struct scan *scan, char *p, size_t pages)
{
	size_t i;

	if (!p || keep_pages_small(p, pages * page_size()))
		return -1;
	for (i = 0; i < pages; i += 2)
		touch_read(p + i * page_size());
	scan->start = address(p);
	scan->end = scan->start + pages * page_size();
	scan->vec_len = pages;
	scan->vec = calloc(scan->vec_len, sizeof(*scan->vec));
	return scan->vec ? 0 : -1;
}

TEST_F_TIMEOUT(abi, more_regions_than_fit_one_buffer, TIMEOUT)
{
	size_t pages = 16384, i;
	char *p = map_pages(pages, PROT_READ | PROT_WRITE);
	struct scan scan = self->scan;
	long regions;

	ASSERT_EQ(0, scan_every_other(&scan, p, pages));
	regions = scan_call(self->pagemap, &scan);
	EXPECT_EQ(0, scan_check(&scan, regions));
	ASSERT_EQ(pages / 2, regions);
	for (i = 0; i < pages / 2; i++)
		ASSERT_EQ(scan.start + 2 * i * page_size(), scan.vec[i].start);
	EXPECT_EQ(scan.end, scan.walk_end);

	/* And with a vec that is just too short. */
	scan.vec_len = pages / 2 - 1;
	ASSERT_EQ(pages / 2 - 1, scan_call(self->pagemap, &scan));
	if (variant->layout != LAYOUT_VER0)
		EXPECT_EQ(scan.end - 2 * page_size(), scan.walk_end);
	free(scan.vec);
	munmap(p, pages * page_size());
}

/* Those that come after a page table that was taken as a whole. */
TEST_F_TIMEOUT(abi, max_pages_are_counted_over_page_tables, TIMEOUT)
{
	size_t pages = 4 * huge_size() / page_size(), max_pages;
	char *p = map_pages(pages, PROT_READ | PROT_WRITE);
	struct scan scan = self->scan;

	ASSERT_EQ(0, scan_every_other(&scan, p, pages));
	for (max_pages = 1; max_pages < pages; max_pages += 85) {
		long regions;

		scan.max_pages = max_pages;
		regions = scan_call(self->pagemap, &scan);
		EXPECT_EQ(0, scan_check(&scan, regions));
		EXPECT_EQ(max_pages < pages / 2 ? max_pages : pages / 2,
			  scan_pages(scan.vec, regions));
	}
	free(scan.vec);
	munmap(p, pages * page_size());
}

static void *map_and_unmap(void *arg)
{
	bool *stop = arg;

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED))
		munmap(map_pages(1, PROT_READ), page_size());
	return NULL;
}

/* A call goes on from where it dropped the lock, and for whom it did so. */
TEST_F_TIMEOUT(abi, waiting_for_the_lock_changes_no_answer, TIMEOUT)
{
	size_t pages = MANY_PAGES, i, round, wrong = 0;
	char *p = reserve_addresses(pages * page_size(), huge_size());
	struct scan scan = self->scan;
	pthread_t thread;
	bool stop = false;

	/* The page is there at which a page table, and maybe a chunk, begins. */
	ASSERT_TRUE(!!p);
	ASSERT_EQ(0, map_fixed(p, pages * page_size(), PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, scan_every_other(&scan, p, pages));
	ASSERT_EQ(0, pthread_create(&thread, NULL, map_and_unmap, &stop));
	for (round = 0; round < 10 && !wrong; round++) {
		long regions = scan_call(self->pagemap, &scan);

		wrong += scan_check(&scan, regions) ||
			 regions != (long)pages / 2 ||
			 scan.walk_end != scan.end;
		for (i = 0; i < pages / 2 && !wrong; i++)
			wrong += scan.vec[i].start !=
				 scan.start + 2 * i * page_size();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, wrong);
	free(scan.vec);
	munmap(p, pages * page_size());
}

TEST_F_TIMEOUT(abi, whole_address_space_can_be_scanned, TIMEOUT)
{
	__u64 pages = 0;
	long regions, i;
	bool found = false;

	self->scan.start = 0;
	self->scan.end = end_of_addresses();
	self->scan.vec_len = 4096;
	self->scan.vec = calloc(4096, sizeof(*self->scan.vec));
	regions = scan_call(self->pagemap, &self->scan);
	ASSERT_EQ(0, scan_check(&self->scan, regions));
	for (i = 0; i < regions; i++) {
		pages += (self->scan.vec[i].end - self->scan.vec[i].start) /
			 page_size();
		if (self->scan.vec[i].start == address(self->addr))
			found = true;
	}
	EXPECT_TRUE(found);
	EXPECT_LT(PAGES / 2, pages);
	EXPECT_EQ(self->scan.end, self->scan.walk_end);
	free(self->scan.vec);
}

TEST_F_TIMEOUT(abi, range_outside_the_address_space_is_efault, TIMEOUT)
{
	self->scan.start = 1ULL << 62;
	self->scan.end = self->scan.start + page_size();
	/* It does not fit a long of 32 bits. */
	EXPECT_ERROR(kernel_is_32_bit() ? EINVAL : EFAULT,
		     scan_call(self->pagemap, &self->scan));
	/* Half in, half out. */
	self->scan.start = end_of_addresses() - page_size();
	self->scan.end = self->scan.start + 2 * page_size();
	EXPECT_ERROR(EFAULT, scan_call(self->pagemap, &self->scan));
	self->scan.end = end_of_addresses() + 1;
	EXPECT_ERROR(EFAULT, scan_call(self->pagemap, &self->scan));
	self->scan.end = end_of_addresses();
	EXPECT_LE(0, scan_call(self->pagemap, &self->scan));
}

TEST_F_TIMEOUT(abi, unknown_flag_is_einval, TIMEOUT)
{
	/* PAGEMAP_WP_FOREIGN came later than mainline's argument. */
	int bit = variant->layout == LAYOUT_PM ? 2 : 3;

	for (; bit < 64; bit++) {
		self->scan.flags = 1ULL << bit;
		EXPECT_ERROR(EINVAL, scan_call(self->pagemap, &self->scan));
	}
}

TEST_F_TIMEOUT(abi, unknown_category_is_einval, TIMEOUT)
{
	__u64 *masks[] = {
		&self->scan.required, &self->scan.anyof, &self->scan.excluded,
		&self->scan.returned,
	};
	size_t i;
	int bit;

	for (i = 0; i < ARRAY_SIZE(masks); i++) {
		for (bit = 8; bit < 64; bit++) {
			__u64 known = *masks[i];

			*masks[i] |= 1ULL << bit;
			EXPECT_ERROR(EINVAL, scan_call(self->pagemap,
						       &self->scan));
			*masks[i] = known;
		}
	}
	EXPECT_LT(0, scan_call(self->pagemap, &self->scan));
}

/* An unknown category is found before an empty range ends the call. */
TEST_F_TIMEOUT(abi, unknown_category_is_einval_for_an_empty_range, TIMEOUT)
{
	self->scan.end = self->scan.start;
	self->scan.vec = NULL;
	self->scan.vec_len = 0;
	self->scan.required = ALL_CATEGORIES;
	EXPECT_EQ(0, scan_call(self->pagemap, &self->scan));
	self->scan.required = ALL_CATEGORIES + 1;
	EXPECT_ERROR(EINVAL, scan_call(self->pagemap, &self->scan));
}

TEST_F_TIMEOUT(abi, start_that_is_not_aligned_is_einval, TIMEOUT)
{
	size_t offset;

	for (offset = 1; offset < page_size(); offset *= 2) {
		self->scan.start = address(self->addr) + offset;
		EXPECT_ERROR(EINVAL, scan_call(self->pagemap, &self->scan));
	}
}

TEST_F_TIMEOUT(abi, vec_len_without_vec_is_einval, TIMEOUT)
{
	self->scan.vec = NULL;
	EXPECT_ERROR(EINVAL, scan_call(self->pagemap, &self->scan));
}

TEST_F_TIMEOUT(abi, unmapped_vec_is_efault, TIMEOUT)
{
	ASSERT_EQ(0, mprotect(self->vec, page_size(), PROT_NONE));
	EXPECT_ERROR(EFAULT, scan_call(self->pagemap, &self->scan));
	ASSERT_EQ(0, munmap(self->vec, page_size()));
	EXPECT_ERROR(EFAULT, scan_call(self->pagemap, &self->scan));
}

TEST_F_TIMEOUT(abi, read_only_vec_is_efault, TIMEOUT)
{
	ASSERT_EQ(0, mprotect(self->vec, page_size(), PROT_READ));
	EXPECT_ERROR(EFAULT, scan_call(self->pagemap, &self->scan));
}

TEST_F_TIMEOUT(abi, vec_that_ends_in_an_unmapped_page_is_efault, TIMEOUT)
{
	char *end = (char *)self->vec + page_size();

	/* Two regions fit, the third does not. */
	self->scan.vec = (struct page_region *)end - 2;
	EXPECT_ERROR(EFAULT, scan_call(self->pagemap, &self->scan));
	self->scan.vec_len = 2;
	EXPECT_EQ(2, scan_call(self->pagemap, &self->scan));
	EXPECT_EQ(address(self->addr), self->scan.vec[0].start);
}

TEST_F_TIMEOUT(abi, vec_may_lie_at_an_odd_address, TIMEOUT)
{
	struct page_region copy[2];

	self->scan.vec = (struct page_region *)((char *)self->vec + 1);
	self->scan.vec_len = 2;
	ASSERT_EQ(2, scan_call(self->pagemap, &self->scan));
	memcpy(copy, self->scan.vec, sizeof(copy));
	EXPECT_EQ(address(self->addr), copy[0].start);
	EXPECT_EQ(address(self->addr) + 3 * page_size(), copy[1].end);
}

TEST_F_TIMEOUT(abi, vec_may_lie_in_the_range_that_is_scanned, TIMEOUT)
{
	/* In a page that is populated already, as the answer says. */
	self->scan.vec = (struct page_region *)self->addr;
	ASSERT_EQ(PAGES / 2, scan_call(self->pagemap, &self->scan));
	EXPECT_EQ(address(self->addr), self->scan.vec[0].start);
}

TEST_F_TIMEOUT(abi, other_ioctls_are_enotty, TIMEOUT)
{
	char argument[256] = {};

	EXPECT_ERROR(ENOTTY, ioctl(self->pagemap,
				   _IOC(_IOC_READ | _IOC_WRITE, 'f', 17, 88),
				   argument));
	EXPECT_ERROR(ENOTTY, ioctl(self->pagemap,
				   _IOC(_IOC_READ | _IOC_WRITE, 'g', 16, 88),
				   argument));
	EXPECT_ERROR(ENOTTY, ioctl(self->pagemap, _IOC(_IOC_NONE, 'f', 16, 0),
				   argument));
	EXPECT_ERROR(ENOTTY, ioctl(self->pagemap, 0x5401 /* TCGETS */,
				   argument));
	EXPECT_ERROR(ENOTTY, ioctl(self->pagemap, 0, argument));
}

/* A process that is scanned, and does what it is told. */
struct target {
	pid_t pid;
	int socket;
	int pagemap;
};

static int target_start(struct target *target)
{
	int sockets[2];
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		return -1;
	target->socket = sockets[0];
	target->pid = fork();
	if (!target->pid) {
		close(sockets[0]);
		if (read(sockets[1], &byte, 1) != 1 || byte == 'q')
			_exit(0);
		dup2(sockets[1], 0);
		dup2(sockets[1], 1);
		execl("/bin/cat", "cat", NULL);
		_exit(1);
	}
	close(sockets[1]);
	target->pagemap = pagemap_open(target->pid);
	return target->pid < 0 || target->pagemap < 0 ? -1 : 0;
}

TEST_F_TIMEOUT(abi, target_that_has_exited_is_esrch, TIMEOUT)
{
	struct target target;
	siginfo_t info;

	ASSERT_EQ(0, target_start(&target));
	ASSERT_EQ(PAGES / 2, scan_call(target.pagemap, &self->scan));
	ASSERT_EQ(1, write(target.socket, "q", 1));
	/* A zombie, and then nothing at all. */
	ASSERT_EQ(0, waitid(P_PID, target.pid, &info, WEXITED | WNOWAIT));
	EXPECT_ERROR(ESRCH, scan_call(target.pagemap, &self->scan));
	ASSERT_EQ(target.pid, waitpid(target.pid, NULL, 0));
	EXPECT_ERROR(ESRCH, scan_call(target.pagemap, &self->scan));
}

TEST_F_TIMEOUT(abi, target_that_has_called_exec_is_esrch, TIMEOUT)
{
	struct target target;
	char byte = 0;

	ASSERT_EQ(0, target_start(&target));
	ASSERT_EQ(PAGES / 2, scan_call(target.pagemap, &self->scan));
	/* cat(1) gives back what it is sent, so it runs then. */
	ASSERT_EQ(2, write(target.socket, "xy", 2));
	ASSERT_EQ(1, read(target.socket, &byte, 1));
	ASSERT_EQ('y', byte);
	EXPECT_ERROR(ESRCH, scan_call(target.pagemap, &self->scan));
	/* Opened anew, it is the new address space. */
	close(target.pagemap);
	target.pagemap = pagemap_open(target.pid);
	EXPECT_LE(0, scan_call(target.pagemap, &self->scan));
	kill(target.pid, SIGKILL);
	waitpid(target.pid, NULL, 0);
}

/* Scan a process that exits at some time, until it has. */
TEST_F_TIMEOUT(abi, target_may_exit_during_the_call, TIMEOUT)
{
	struct target target;
	unsigned int round;

	for (round = 0; round < 20; round++) {
		unsigned int calls = 0;
		long regions;

		ASSERT_EQ(0, target_start(&target));
		while ((regions = scan_call(target.pagemap, &self->scan)) >= 0) {
			/* All of it, or, on the way out, a part. */
			ASSERT_EQ(0, scan_check(&self->scan, regions));
			ASSERT_GE(PAGES / 2, regions);
			if (calls++ == 10 + round)
				ASSERT_EQ(1, write(target.socket, "q", 1));
		}
		EXPECT_EQ(ESRCH, errno);
		EXPECT_LT(10, calls);
		close(target.pagemap);
		close(target.socket);
		ASSERT_EQ(target.pid, waitpid(target.pid, NULL, 0));
	}
}

/* It has no address space. */
TEST_F_TIMEOUT(abi, kernel_thread_is_esrch, TIMEOUT)
{
	int pagemap = open("/proc/2/pagemap", O_RDONLY);
	char name[16] = "";
	int comm = open("/proc/2/comm", O_RDONLY);

	if (comm < 0 || read(comm, name, 8) != 8 || strcmp(name, "kthreadd") ||
	    pagemap < 0)
		SKIP(return, "process 2 is no kernel thread to be opened");
	EXPECT_ERROR(ESRCH, scan_call(pagemap, &self->scan));
	self->scan.end = self->scan.start;
	EXPECT_ERROR(ESRCH, scan_call(pagemap, &self->scan));
}

TEST_F_TIMEOUT(abi, another_process_gets_the_same_answer, TIMEOUT)
{
	struct page_region own[PAGES];
	struct target target;
	long regions;

	ASSERT_EQ(0, target_start(&target));
	regions = scan_call(self->pagemap, &self->scan);
	memcpy(own, self->vec, sizeof(own));
	memset(self->vec, 0, sizeof(own));
	EXPECT_EQ(regions, scan_call(target.pagemap, &self->scan));
	EXPECT_EQ(0, memcmp(own, self->vec, regions * sizeof(*own)));
	ASSERT_EQ(1, write(target.socket, "q", 1));
	waitpid(target.pid, NULL, 0);
}

/* The vec is memory that another thread has to provide first. */
struct slow_scan {
	int pagemap;
	struct scan *scan;
};

static void *scan_into_missing_page(void *argument)
{
	struct slow_scan *slow = argument;

	return (void *)(intptr_t)scan_call(slow->pagemap, slow->scan);
}

TEST_F_TIMEOUT(abi, slow_vec_does_not_hold_up_the_target, TIMEOUT)
{
	struct slow_scan slow_scan = { self->pagemap, &self->scan };
	__u64 features = 0;
	int uffd = uffd_create(0, &features), tries;
	char *slow = map_pages(1, PROT_READ | PROT_WRITE);
	char *page = calloc(1, page_size());
	pthread_t thread;
	void *regions;

	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, uffd_register(uffd, slow, page_size(),
				   UFFDIO_REGISTER_MODE_MISSING, NULL));
	self->scan.vec = (struct page_region *)slow;
	ASSERT_EQ(0, pthread_create(&thread, NULL, scan_into_missing_page,
				    &slow_scan));
	for (tries = 0; !uffd_has_message(uffd) && tries < 1000; tries++)
		usleep(10000);
	ASSERT_TRUE(uffd_has_message(uffd));

	/* The call waits for the page: mappings can change meanwhile. */
	ASSERT_TRUE(!!map_pages(1, PROT_READ));
	ASSERT_EQ(0, uffd_copy(uffd, slow, page, page_size(), 0));
	ASSERT_EQ(0, pthread_join(thread, &regions));
	EXPECT_EQ(PAGES / 2, (intptr_t)regions);
	EXPECT_EQ(0, scan_check(&self->scan, (intptr_t)regions));
}

TEST_F_TIMEOUT(abi, fatal_signal_ends_the_call, TIMEOUT)
{
	int sockets[2], status;
	pid_t pid;
	char byte;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	pid = fork();
	if (!pid) {
		__u64 features = 0;
		int uffd = uffd_create(0, &features);
		char *slow = map_pages(1, PROT_READ | PROT_WRITE);

		if (uffd < 0 ||
		    uffd_register(uffd, slow, page_size(),
				  UFFDIO_REGISTER_MODE_MISSING, NULL))
			_exit(1);
		self->scan.vec = (struct page_region *)slow;
		if (write(sockets[1], "", 1) != 1)
			_exit(2);
		scan_call(self->pagemap, &self->scan);
		_exit(3);
	}
	ASSERT_EQ(1, read(sockets[0], &byte, 1));
	usleep(200000);
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
}

/* KiB of page tables that this process has, of the lowest level; or -1. */
static long page_tables(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	long size = -1;
	char line[200];

	while (status && fgets(line, sizeof(line), status))
		sscanf(line, "VmPTE: %ld", &size);
	if (status)
		fclose(status);
	return size;
}

/* A call that its caller's own timer interrupts by a signal that is fatal. */
struct timed_call {
	struct scan *scan;
	int pagemap;
};

static int end_in_a_call(void *argument)
{
	const struct timed_call *call = argument;
	struct itimerval timer = { .it_value.tv_usec = 3000 };

	signal(SIGALRM, SIG_DFL);
	_exit(setitimer(ITIMER_REAL, &timer, NULL) ||
	      scan_call(call->pagemap, call->scan));
}

/*
 * Have a process that shares this one's memory end in a call. Its timer
 * interrupts the processor that the call runs on: however busy the machine is,
 * nobody has to be scheduled for the signal to get there.
 */
static int end_process_in_a_call(int pagemap, struct scan *scan)
{
	static char stack[65536];
	struct timed_call call = { .scan = scan, .pagemap = pagemap };
	int status;
	pid_t pid;

	pid = clone(end_in_a_call, stack + sizeof(stack), CLONE_VM | SIGCHLD,
		    &call);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return (WIFSIGNALED(status) ? WTERMSIG(status) == SIGALRM :
				      !status) ? 0 : -1;
}

TEST_F_TIMEOUT(abi, fatal_signal_ends_a_long_call, TIMEOUT)
{
	size_t size = (size_t)1 << (sizeof(long) == 8 ? 32 : 31);
	long tables = size / huge_size() * page_size() / 1024;
	struct scan scan = {
		.layout = variant->layout,
		.flags = PAGEMAP_WP_ENGAGE,
	};
	char *p = reserve_addresses(size, huge_size());
	int uffd = uffd_create_async(), tries, ended = 0;

	/* A page table and a marker for each page make the call long. */
	spare_ioctls();
	ASSERT_TRUE(uffd >= 0 && p);
	scan.start = address(p);
	scan.end = scan.start + size;
	/* The timer may end the process before the call, or after it. */
	for (tries = 0; tries < 60 && ended < 5; tries++) {
		struct page_region protected;
		struct scan look = {
			.layout = variant->layout,
			.start = scan.start,
			.end = scan.end,
			.vec = &protected,
			.vec_len = 1,
			.excluded = PAGE_IS_WRITTEN,
		};
		long made;

		ASSERT_EQ(0, map_fixed(p, size, PROT_READ | PROT_WRITE));
		ASSERT_EQ(0, uffd_register(uffd, p, size,
					   UFFDIO_REGISTER_MODE_WP, NULL));
		made = -page_tables();
		ASSERT_EQ(0, end_process_in_a_call(self->pagemap, &scan));
		made += page_tables();
		ASSERT_LE(0, made);
		/* The page tables stay, what was protected there does not. */
		if (made > tables / 64 && made < tables - tables / 64) {
			ASSERT_EQ(0, scan_call(self->pagemap, &look));
			ended++;
		}
	}
	EXPECT_EQ(5, ended);
	munmap(p, size);
	close(uffd);
}

/* All masks, against what they mean, over pages of several sorts. */
static unsigned int random_number(void)
{
	static unsigned int seed = 1;

	seed = seed * 1103515245 + 12345;
	return seed >> 8;
}

TEST_F_TIMEOUT(abi, masks_select_what_they_say, TIMEOUT)
{
	int uffd = uffd_create_async(), round;
	__u64 categories[PAGES];
	size_t i;

	/* Registered and protected pages, zero pages, holes, written ones. */
	ASSERT_LE(0, uffd);
	for (i = 1; i < PAGES; i += 6)
		touch_read(self->addr + i * page_size());
	ASSERT_EQ(0, uffd_register(uffd, self->addr, PAGES / 2 * page_size(),
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ(0, uffd_protect(uffd, self->addr, PAGES / 4 * page_size(),
				  true));
	ASSERT_EQ(0, scan_categories(self->pagemap, variant->layout, self->addr,
				     PAGES * page_size(), categories));

	for (round = 0; round < 3000; round++) {
		__u64 seen[PAGES];
		long regions, j;

		/* Few bits each, so that something matches. */
		self->scan.required = random_number() & random_number() &
				      random_number() & ALL_CATEGORIES;
		self->scan.anyof = random_number() & random_number() &
				   ALL_CATEGORIES;
		self->scan.excluded = random_number() & random_number() &
				      random_number() & ALL_CATEGORIES;
		self->scan.returned = random_number() & ALL_CATEGORIES;
		if (variant->layout == LAYOUT_PM) {
			/* What that layout can't express, see struct scan. */
			self->scan.excluded &= ~self->scan.required;
			self->scan.anyof &= ~self->scan.excluded;
		}
		regions = scan_call(self->pagemap, &self->scan);
		ASSERT_EQ(0, scan_check(&self->scan, regions));

		for (i = 0; i < PAGES; i++)
			seen[i] = NOT_REPORTED;
		for (j = 0; j < regions; j++) {
			i = (self->vec[j].start - self->scan.start) /
			    page_size();
			for (; self->scan.start + i * page_size() <
			     self->vec[j].end; i++)
				seen[i] = self->vec[j].categories;
		}
		for (i = 0; i < PAGES; i++) {
			__u64 c = categories[i];
			bool match = (c & self->scan.required) ==
				     self->scan.required &&
				     !(c & self->scan.excluded) &&
				     (!self->scan.anyof ||
				      c & self->scan.anyof);

			ASSERT_EQ(match ? c & self->scan.returned :
				  NOT_REPORTED, seen[i])
				TH_LOG("page %zu round %d", i, round);
		}
	}
}

#if __SIZEOF_POINTER__ == 8
/* The addresses from here on need five levels of page tables on x86. */
#define FIFTH_LEVEL_START	((__u64)1 << 47)
/* Here the second entry of the fifth level begins. */
#define SECOND_ENTRY_START	((__u64)1 << 48)

/* Tracked memory at low addresses, across two entries, and in the last pages. */
enum { LOW, ACROSS, LAST, MAPPINGS };

FIXTURE(five_level) {
	int pagemap;
	int uffd;
	char *addr[MAPPINGS];
	struct page_region vec[PAGES];
	struct scan scan;
};

FIXTURE_VARIANT(five_level) {
	enum layout layout;
};

FIXTURE_VARIANT_ADD(five_level, VER0) { LAYOUT_VER0 };
FIXTURE_VARIANT_ADD(five_level, VER1) { LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(five_level, PM) { LAYOUT_PM };

static char *map_at(__u64 addr)
{
	return mmap((void *)addr, PAGES * page_size(), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static void write_page(char *addr, size_t page)
{
	touch_write(addr + page * page_size(), 1);
}

/* Whether a region has the pages from one to another of a mapping. */
static bool region_covers(const struct page_region *region, const char *addr,
			  size_t from, size_t to)
{
	return region->start == address(addr) + from * page_size() &&
	       region->end == address(addr) + to * page_size();
}

FIXTURE_SETUP(five_level)
{
	const size_t size = PAGES * page_size();
	int i;

	if (end_of_addresses() <= SECOND_ENTRY_START)
		SKIP(_exit(255), "needs five levels of page tables");
	self->uffd = uffd_create_async();
	self->pagemap = pagemap_open(getpid());
	ASSERT_TRUE(self->uffd >= 0 && self->pagemap >= 0);
	self->addr[LOW] = map_pages(PAGES, PROT_READ | PROT_WRITE);
	ASSERT_NE(NULL, self->addr[LOW]);
	ASSERT_GT(FIFTH_LEVEL_START, address(self->addr[LOW]));
	self->addr[ACROSS] = map_at(SECOND_ENTRY_START - size / 2);
	self->addr[LAST] = map_at(end_of_addresses() - size);
	for (i = 0; i < MAPPINGS; i++) {
		ASSERT_NE(MAP_FAILED, self->addr[i]);
		ASSERT_EQ(0, uffd_register(self->uffd, self->addr[i], size,
					   UFFDIO_REGISTER_MODE_WP, NULL));
	}
	self->scan = (struct scan) {
		.layout = variant->layout,
		.flags = PAGEMAP_WP_ENGAGE,
		.end = end_of_addresses(),
		.required = PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN,
		.returned = PAGE_IS_WRITTEN,
	};
	ASSERT_EQ(0, scan_call(self->pagemap, &self->scan));
	self->scan.vec = self->vec;
	self->scan.vec_len = PAGES;
}

FIXTURE_TEARDOWN(five_level)
{
	EXPECT_FALSE(uffd_has_message(self->uffd));
	close(self->uffd);
	close(self->pagemap);
}

TEST_F_TIMEOUT(five_level, write_is_reported_once, TIMEOUT)
{
	char *addr = self->addr[ACROSS];
	int round;

	self->scan.start = address(addr);
	self->scan.end = address(addr) + PAGES * page_size();
	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, scan_call(self->pagemap, &self->scan));
		EXPECT_EQ(self->scan.end, self->scan.walk_end);

		write_page(addr, 1);
		write_page(addr, PAGES / 2 - 1);
		write_page(addr, PAGES / 2);
		write_page(addr, PAGES - 2);
		ASSERT_EQ(3, scan_call(self->pagemap, &self->scan));
		EXPECT_EQ(0, scan_check(&self->scan, 3));
		EXPECT_TRUE(region_covers(&self->vec[0], addr, 1, 2));
		EXPECT_TRUE(region_covers(&self->vec[1], addr, PAGES / 2 - 1,
					  PAGES / 2 + 1));
		EXPECT_TRUE(region_covers(&self->vec[2], addr, PAGES - 2,
					  PAGES - 1));
		EXPECT_EQ(self->scan.end, self->scan.walk_end);
	}
}

TEST_F_TIMEOUT(five_level, walk_end_continues_a_full_vec, TIMEOUT)
{
	char *addr = self->addr[ACROSS];

	/* A call that fails gives back more than it has protected. */
	spare_ioctls();
	write_page(addr, PAGES / 2 - 2);
	write_page(addr, PAGES / 2);
	self->scan.start = address(addr);
	self->scan.end = address(addr) + PAGES * page_size();
	self->scan.vec_len = 1;
	ASSERT_EQ(1, scan_call(self->pagemap, &self->scan));
	EXPECT_TRUE(region_covers(&self->vec[0], addr, PAGES / 2 - 2,
				  PAGES / 2 - 1));
	if (variant->layout != LAYOUT_VER0)
		EXPECT_EQ(SECOND_ENTRY_START, self->scan.walk_end);

	/* The other one is not protected yet. */
	ASSERT_EQ(1, scan_call(self->pagemap, &self->scan));
	EXPECT_TRUE(region_covers(&self->vec[0], addr, PAGES / 2,
				  PAGES / 2 + 1));
}

TEST_F_TIMEOUT(five_level, range_may_begin_in_the_lower_four, TIMEOUT)
{
	write_page(self->addr[LOW], 3);
	write_page(self->addr[ACROSS], 0);
	write_page(self->addr[ACROSS], 1);
	self->scan.start = address(self->addr[LOW]);
	self->scan.end = address(self->addr[ACROSS]) + page_size();
	ASSERT_EQ(2, scan_call(self->pagemap, &self->scan));
	EXPECT_EQ(0, scan_check(&self->scan, 2));
	EXPECT_TRUE(region_covers(&self->vec[0], self->addr[LOW], 3, 4));
	EXPECT_TRUE(region_covers(&self->vec[1], self->addr[ACROSS], 0, 1));
	EXPECT_EQ(self->scan.end, self->scan.walk_end);
	EXPECT_EQ(0, scan_call(self->pagemap, &self->scan));
}

TEST_F_TIMEOUT(five_level, scan_of_all_addresses_finds_them, TIMEOUT)
{
	int i;

	for (i = 0; i < MAPPINGS; i++)
		write_page(self->addr[i], PAGES - 1);
	ASSERT_EQ(MAPPINGS, scan_call(self->pagemap, &self->scan));
	EXPECT_EQ(0, scan_check(&self->scan, MAPPINGS));
	for (i = 0; i < MAPPINGS; i++)
		EXPECT_TRUE(region_covers(&self->vec[i], self->addr[i],
					  PAGES - 1, PAGES));
	EXPECT_EQ(end_of_addresses(), self->vec[LAST].end);
	EXPECT_EQ(end_of_addresses(), self->scan.walk_end);
	EXPECT_EQ(0, scan_call(self->pagemap, &self->scan));
}
#endif /* __SIZEOF_POINTER__ == 8 */

/* What is particular to one layout. */
struct call {
	char *addr;
	struct page_region *vec;
	union {
		struct pagemap_scan_arg own;
		struct pm_scan_arg pm;
		char bytes[16384];
	} *arg;
};

FIXTURE(version) {
	int pagemap;
	struct call call;
};

FIXTURE_SETUP(version)
{
	self->pagemap = pagemap_open(getpid());
	self->call.addr = map_pages(1, PROT_READ | PROT_WRITE);
	self->call.vec = map_pages(1, PROT_READ | PROT_WRITE);
	self->call.arg = map_pages(sizeof(*self->call.arg) / page_size(),
				   PROT_READ | PROT_WRITE);
	ASSERT_TRUE(self->call.addr && self->call.vec && self->call.arg);
	*self->call.addr = 1;
	self->call.arg->own = (struct pagemap_scan_arg) {
		.size = PAGEMAP_SCAN_ARG_SIZE_VER1,
		.start = address(self->call.addr),
		.len = page_size(),
		.vec = address(self->call.vec),
		.vec_len = 4,
		.return_mask = PAGE_IS_PRESENT,
		.walk_end = UNTOUCHED,
		.pages = UNTOUCHED,
	};
}

FIXTURE_TEARDOWN(version)
{
	close(self->pagemap);
}

/* Make the argument one in mainline's layout. */
static struct pm_scan_arg *use_pm(struct call *call)
{
	memset(call->arg, 0, sizeof(*call->arg));
	call->arg->pm = (struct pm_scan_arg) {
		.size = sizeof(struct pm_scan_arg),
		.start = address(call->addr),
		.end = address(call->addr) + page_size(),
		.walk_end = UNTOUCHED,
		.vec = address(call->vec),
		.vec_len = 4,
		.return_mask = PAGE_IS_PRESENT,
	};
	return &call->arg->pm;
}

TEST_F(version, number_is_that_of_version_0)
{
	EXPECT_EQ(0xc0586610, (unsigned int)PAGEMAP_SCAN);
	EXPECT_EQ(0xc0606610, (unsigned int)PAGEMAP_SCAN_PM);
	EXPECT_EQ(88, offsetof(struct pagemap_scan_arg, walk_end));
	EXPECT_EQ(104, sizeof(struct pagemap_scan_arg));
	EXPECT_EQ(96, sizeof(struct pm_scan_arg));
	EXPECT_EQ(24, sizeof(struct page_region));
}

TEST_F(version, version_0_gets_nothing_written_behind_it)
{
	struct pagemap_scan_arg *arg = &self->call.arg->own;

	arg->size = PAGEMAP_SCAN_ARG_SIZE_VER0;
	EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
	EXPECT_EQ(UNTOUCHED, arg->walk_end);
	EXPECT_EQ(UNTOUCHED, arg->pages);
	EXPECT_EQ(PAGEMAP_SCAN_ARG_SIZE_VER0, arg->size);
}

TEST_F(version, version_1_gets_walk_end_and_pages)
{
	struct pagemap_scan_arg *arg = &self->call.arg->own;

	EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
	EXPECT_EQ(arg->start + page_size(), arg->walk_end);
	EXPECT_EQ(1, arg->pages);
	EXPECT_EQ(PAGEMAP_SCAN_ARG_SIZE_VER1, arg->size);
}

TEST_F(version, output_fields_are_not_read)
{
	struct pagemap_scan_arg *arg = &self->call.arg->own;

	arg->walk_end = ~0ULL;
	arg->pages = ~0ULL;
	EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
	use_pm(&self->call)->walk_end = ~0ULL;
	EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN_PM, &self->call.arg->pm));
}

TEST_F(version, failed_call_writes_nothing_back)
{
	struct pagemap_scan_arg *arg = &self->call.arg->own;

	arg->flags = 1 << 9;
	EXPECT_ERROR(EINVAL, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
	EXPECT_EQ(UNTOUCHED, arg->walk_end);
	EXPECT_EQ(UNTOUCHED, arg->pages);
	EXPECT_EQ(PAGEMAP_SCAN_ARG_SIZE_VER1, arg->size);
}

TEST_F(version, size_96_means_mainlines_layout)
{
	struct pagemap_scan_arg *arg = &self->call.arg->own;

	/*
	 * 96 is mainline's layout, where len is the end: here it lies before
	 * the start.
	 */
	arg->size = 96;
	arg->walk_end = 0;
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
}

TEST_F(version, short_size_is_einval)
{
	__u64 size;

	for (size = 0; size < PAGEMAP_SCAN_ARG_SIZE_VER0; size++) {
		self->call.arg->own.size = size;
		EXPECT_ERROR(EINVAL, ioctl(self->pagemap, PAGEMAP_SCAN,
					   self->call.arg));
		EXPECT_EQ(size, self->call.arg->own.size);
	}
}

TEST_F(version, size_that_is_no_multiple_of_8_is_einval)
{
	__u64 size;

	for (size = 88; size < 200; size++) {
		if (size % 8 == 0)
			continue;
		self->call.arg->own.size = size;
		EXPECT_ERROR(EINVAL, ioctl(self->pagemap, PAGEMAP_SCAN,
					   self->call.arg));
		EXPECT_EQ(size, self->call.arg->own.size);
	}
}

TEST_F(version, longer_argument_must_be_zero)
{
	struct pagemap_scan_arg *arg = &self->call.arg->own;
	__u64 size;

	for (size = 112; size <= page_size(); size += 8) {
		char *last = (char *)arg + size - 1;

		arg->size = size;
		EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
		EXPECT_EQ(arg->start + page_size(), arg->walk_end);
		EXPECT_EQ(size, arg->size);

		*last = 1;
		EXPECT_ERROR(E2BIG, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
		EXPECT_EQ(PAGEMAP_SCAN_ARG_SIZE_VER1, arg->size);
		*last = 0;
	}
}

TEST_F(version, argument_longer_than_a_page_is_not_read)
{
	static const __u64 sizes[] = { 8, 4096, 1 << 20, 1ULL << 40,
				       (1ULL << 63), ~7ULL - 8192 };
	char *last = (char *)self->call.addr + page_size() - 8;
	size_t i;

	/* Zero all over, and yet. */
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		self->call.arg->own.size = page_size() + sizes[i];
		EXPECT_ERROR(E2BIG, ioctl(self->pagemap, PAGEMAP_SCAN,
					  self->call.arg));
		EXPECT_EQ(PAGEMAP_SCAN_ARG_SIZE_VER1, self->call.arg->own.size);

		/* Only the size is mapped. */
		*(__u64 *)last = page_size() + sizes[i];
		EXPECT_ERROR(E2BIG, ioctl(self->pagemap, PAGEMAP_SCAN, last));
		EXPECT_EQ(PAGEMAP_SCAN_ARG_SIZE_VER1, *(__u64 *)last);
	}
}

TEST_F(version, argument_in_the_last_bytes_of_a_page)
{
	char *end = (char *)self->call.vec + page_size();
	struct pagemap_scan_arg arg = self->call.arg->own;
	char *last = end - PAGEMAP_SCAN_ARG_SIZE_VER0;

	arg.size = PAGEMAP_SCAN_ARG_SIZE_VER0;
	memcpy(last, &arg, arg.size);
	EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN, last));
	/* Too near to the end by a byte, by a member, by all but the size. */
	memcpy(last + 1, &arg, arg.size - 1);
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, last + 1));
	memcpy(last + 8, &arg, arg.size - 8);
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, last + 8));
	memcpy(last + 80, &arg, 8);
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, last + 80));
	/* And so near that the size is not whole. */
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, last + 84));

	last = end - PAGEMAP_SCAN_ARG_SIZE_VER1;
	arg.size = PAGEMAP_SCAN_ARG_SIZE_VER1;
	memcpy(last, &arg, arg.size);
	EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN, last));
	last += 8;
	memcpy(last, &arg, arg.size - 8);
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, last));

	last = end - sizeof(struct pm_scan_arg);
	memcpy(last, use_pm(&self->call), sizeof(struct pm_scan_arg));
	EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN_PM, last));
	EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN, last));
	last += 8;
	memcpy(last, use_pm(&self->call), sizeof(struct pm_scan_arg) - 8);
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN_PM, last));
}

TEST_F(version, argument_that_is_not_mapped_is_efault)
{
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, NULL));
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN_PM, NULL));
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN,
				   (void *)~7UL));
	ASSERT_EQ(0, mprotect(self->call.arg, page_size(), PROT_NONE));
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, self->call.arg));
}

TEST_F(version, read_only_argument_serves_version_0_only)
{
	self->call.arg->own.size = PAGEMAP_SCAN_ARG_SIZE_VER0;
	ASSERT_EQ(0, mprotect(self->call.arg, page_size(), PROT_READ));
	EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN, self->call.arg));

	ASSERT_EQ(0, mprotect(self->call.arg, page_size(), PROT_READ | PROT_WRITE));
	self->call.arg->own.size = PAGEMAP_SCAN_ARG_SIZE_VER1;
	ASSERT_EQ(0, mprotect(self->call.arg, page_size(), PROT_READ));
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, self->call.arg));

	ASSERT_EQ(0, mprotect(self->call.arg, page_size(), PROT_READ | PROT_WRITE));
	use_pm(&self->call);
	ASSERT_EQ(0, mprotect(self->call.arg, page_size(), PROT_READ));
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN_PM, self->call.arg));
}

TEST_F(version, range_that_wraps_is_einval)
{
	struct pagemap_scan_arg *arg = &self->call.arg->own;

	arg->len = -arg->start;
	EXPECT_ERROR(EINVAL, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
	arg->len = ~0ULL;
	EXPECT_ERROR(EINVAL, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
}

/* The greatest number that fits an unsigned long of the kernel's. */
static __u64 greatest_number(void)
{
	return kernel_is_32_bit() ? ~0U : ~0ULL;
}

/* It ends outside the address space, but is not found to once rounded up. */
TEST_F(version, range_that_wraps_by_rounding_is_efault)
{
	struct pagemap_scan_arg *arg = &self->call.arg->own;
	struct pm_scan_arg *pm;

	arg->len = greatest_number() - arg->start;
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
	arg->start = 0;
	arg->len = greatest_number();
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, arg));

	pm = use_pm(&self->call);
	pm->end = greatest_number();
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN_PM, pm));
	pm->start = 0;
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN_PM, pm));
}

TEST_F(version, vec_that_wraps_is_an_error)
{
	struct pagemap_scan_arg *arg = &self->call.arg->own;
	int result;

	/* So many elements that their size wraps to a few bytes. */
	arg->vec_len = greatest_number() / sizeof(struct page_region) + 2;
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
	/* So many that their end wraps, or lies in the kernel. */
	arg->vec_len = greatest_number() / sizeof(struct page_region);
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
	arg->vec_len = (greatest_number() / 2 + 1) / sizeof(struct page_region);
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
	/* More than a long can say. */
	arg->vec_len = 1ULL << 63;
	result = ioctl(self->pagemap, PAGEMAP_SCAN, arg);
	EXPECT_EQ(-1, result);
	EXPECT_TRUE(errno == EFAULT || errno == EINVAL);

	/* Where the kernel's addresses are. */
	arg->vec_len = 4;
	arg->vec = ~0ULL - 4095;
	result = ioctl(self->pagemap, PAGEMAP_SCAN, arg);
	EXPECT_EQ(-1, result);
	EXPECT_TRUE(errno == EFAULT || errno == EINVAL);
	arg->vec = ~0ULL - 40;
	result = ioctl(self->pagemap, PAGEMAP_SCAN, arg);
	EXPECT_EQ(-1, result);
	EXPECT_TRUE(errno == EFAULT || errno == EINVAL);
}

TEST_F(version, mainlines_layout_goes_by_the_size_in_the_number)
{
	static const unsigned int sizes[] = { 96, 104, 112, 192 };
	struct pm_scan_arg *arg;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		arg = use_pm(&self->call);
		EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN_SIZED(sizes[i]),
				   arg));
		EXPECT_EQ(arg->end, arg->walk_end);
		EXPECT_EQ(address(self->call.addr), self->call.vec[0].start);
		/* A struct that has grown. */
		arg->size = sizes[i];
		arg->walk_end = UNTOUCHED;
		EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN_SIZED(sizes[i]),
				   arg));
		EXPECT_EQ(arg->end, arg->walk_end);
	}
}

TEST_F(version, mainlines_layout_goes_by_the_size_member)
{
	struct pm_scan_arg *arg = use_pm(&self->call);

	EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN, arg));
	EXPECT_EQ(arg->end, arg->walk_end);
	EXPECT_EQ(address(self->call.addr), self->call.vec[0].start);
	EXPECT_EQ(sizeof(*arg), arg->size);
}

TEST_F(version, mainlines_layout_has_the_same_rules_for_size)
{
	struct pm_scan_arg *arg = use_pm(&self->call);
	__u64 size;

	for (size = 0; size < 128; size++) {
		if (size >= 96 && size % 8 == 0)
			continue;
		arg->size = size;
		EXPECT_ERROR(EINVAL, ioctl(self->pagemap, PAGEMAP_SCAN_PM,
					   arg));
		EXPECT_EQ(size, arg->size);
	}
	arg->size = 104;
	self->call.arg->bytes[103] = 1;
	EXPECT_ERROR(E2BIG, ioctl(self->pagemap, PAGEMAP_SCAN_PM, arg));
	EXPECT_EQ(96, arg->size);
	arg->size = page_size() + 8;
	EXPECT_ERROR(E2BIG, ioctl(self->pagemap, PAGEMAP_SCAN_PM, arg));
	EXPECT_EQ(96, arg->size);
}

TEST_F(version, mainlines_end_before_start_is_efault)
{
	struct pm_scan_arg *arg = use_pm(&self->call);

	arg->end = arg->start - page_size();
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN_PM, arg));
	arg->end = 0;
	EXPECT_ERROR(EFAULT, ioctl(self->pagemap, PAGEMAP_SCAN_PM, arg));
}

TEST_F(version, mainlines_end_is_rounded_up)
{
	struct pm_scan_arg *arg = use_pm(&self->call);

	arg->end = arg->start + 1;
	EXPECT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN_PM, arg));
	EXPECT_EQ(arg->start + page_size(), self->call.vec[0].end);
	EXPECT_EQ(arg->start + page_size(), arg->walk_end);
}

/* The formula of that layout, for a page that is present, written, dirty. */
TEST_F_TIMEOUT(version, mainlines_masks_are_inverted_first, TIMEOUT)
{
	struct pm_scan_arg *arg = use_pm(&self->call);
	__u64 categories;
	int round;

	/* One call after the other that differ in their masks only */
	spare_ioctls();
	arg->return_mask = ALL_CATEGORIES;
	ASSERT_EQ(1, ioctl(self->pagemap, PAGEMAP_SCAN_PM, arg));
	categories = self->call.vec[0].categories;
	ASSERT_TRUE(categories & PAGE_IS_PRESENT);
	for (round = 0; round < 20000; round++) {
		__u64 inverted;
		bool match;

		arg->category_inverted = random_number() & ALL_CATEGORIES;
		arg->category_mask = random_number() & random_number() &
				     ALL_CATEGORIES;
		arg->category_anyof_mask = random_number() & ALL_CATEGORIES;
		inverted = categories ^ arg->category_inverted;
		match = (inverted & arg->category_mask) == arg->category_mask &&
			(!arg->category_anyof_mask ||
			 inverted & arg->category_anyof_mask);
		ASSERT_EQ(match, ioctl(self->pagemap, PAGEMAP_SCAN_PM, arg));
		if (match)
			ASSERT_EQ(categories, self->call.vec[0].categories);
	}
}

/* Every argument is checked in both layouts, also inverted categories. */
TEST_F(version, mainlines_unknown_inverted_category_is_einval)
{
	struct pm_scan_arg *arg = use_pm(&self->call);

	arg->category_inverted = ALL_CATEGORIES + 1;
	EXPECT_ERROR(EINVAL, ioctl(self->pagemap, PAGEMAP_SCAN_PM, arg));
}

static void __attribute__((constructor)) prepare(void)
{
	machine_prepare(0);
}

TEST_HARNESS_MAIN
