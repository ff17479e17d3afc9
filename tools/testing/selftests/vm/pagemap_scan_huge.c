// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN: huge pages, transparent and hugetlb, that lie partly in the
 * range, or for which there is not enough room.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "pagemap_scan_failing.h"
#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

#define TIMEOUT	120

/* Which pages of the memory read as written: one flag per page. */
static int written_pages(struct tracking *tracking, bool *written)
{
	struct memory *mem = &tracking->mem;
	size_t pages = mem->size / page_size(), i;
	__u64 *categories = calloc(pages, sizeof(*categories));
	int result = scan_categories(tracking->pagemap, tracking->layout,
				     mem->addr, mem->size, categories);

	for (i = 0; i < pages; i++)
		written[i] = categories[i] != NOT_REPORTED &&
			     categories[i] & PAGE_IS_WRITTEN;
	free(categories);
	return result;
}

/* Check that all pages read as written but for some in a row. */
static int check_all_but(struct tracking *tracking, size_t first, size_t count)
{
	size_t pages = tracking->mem.size / page_size(), i;
	bool *written = calloc(pages, sizeof(*written));
	int result = written_pages(tracking, written);

	for (i = 0; i < pages && !result; i++) {
		bool expected = i < first || i >= first + count;

		if (written[i] == expected)
			continue;
		fprintf(stderr, "# page %zu reads as %swritten\n", i,
			written[i] ? "" : "not ");
		result = -1;
	}
	free(written);
	return result;
}

static size_t huge_pages(void)
{
	return huge_size() / page_size();
}

/* Transparent huge pages, registered, populated and not protected. */
FIXTURE(thp) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(thp) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(thp, THP_VER1) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(thp, THP_PM) { MEMORY_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(thp, MEMFD_THP_VER1) { MEMORY_MEMFD_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(thp, MEMFD_THP_PM) { MEMORY_MEMFD_THP, LAYOUT_PM };

FIXTURE_SETUP(thp)
{
	if (!machine_has(NEED_THP))
		SKIP(_exit(255), "needs transparent huge pages");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	self->mem = &self->tracking.mem;
	ASSERT_EQ(0, memory_populate(self->mem));
	ASSERT_EQ(0, check_all_but(&self->tracking, 0, 0));
}

FIXTURE_TEARDOWN(thp)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

/* Protect pages of the memory, and check that they are reported as one. */
static int protect_pages(struct tracking *tracking, size_t first, size_t count)
{
	struct scan scan = tracking_scan(tracking, PAGEMAP_WP_ENGAGE);
	struct page_region vec[2];
	long regions;

	scan.end = scan.start + (first + count) * page_size();
	scan.start += first * page_size();
	scan.vec = vec;
	scan.vec_len = 2;
	regions = scan_call(tracking->pagemap, &scan);
	if (scan_check(&scan, regions))
		return -1;
	if (regions == 1 && vec[0].start == scan.start &&
	    vec[0].end == scan.end && scan.walk_end == scan.end)
		return 0;
	fprintf(stderr, "# %ld regions\n", regions);
	return -1;
}

TEST_F_TIMEOUT(thp, get_leaves_huge_pages_huge, TIMEOUT)
{
	EXPECT_EQ(0, check_written(&self->tracking, every_granule));
	EXPECT_EQ((long)self->mem->size, huge_mapped_bytes(self->mem->addr));
}

TEST_F_TIMEOUT(thp, protecting_a_part_protects_that_part, TIMEOUT)
{
	size_t inside = huge_pages() / 5;

	EXPECT_EQ(0, protect_pages(&self->tracking, inside, inside));
	EXPECT_EQ(0, check_all_but(&self->tracking, inside, inside));
	/* The page that is met in part is split, no other. */
	EXPECT_EQ((long)(self->mem->size - huge_size()),
		  huge_mapped_bytes(self->mem->addr));
}

TEST_F_TIMEOUT(thp, protecting_one_page_protects_that_page, TIMEOUT)
{
	size_t last = huge_pages() - 1;

	EXPECT_EQ(0, protect_pages(&self->tracking, last, 1));
	EXPECT_EQ(0, check_all_but(&self->tracking, last, 1));
}

TEST_F_TIMEOUT(thp, range_across_two_protects_both_parts, TIMEOUT)
{
	size_t half = huge_pages() / 2;

	EXPECT_EQ(0, protect_pages(&self->tracking, half, 2 * half));
	EXPECT_EQ(0, check_all_but(&self->tracking, half, 2 * half));
}

TEST_F_TIMEOUT(thp, max_pages_inside_protects_that_part, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	size_t room = huge_pages() + huge_pages() / 3;
	struct page_region vec[4];
	long regions;

	scan.vec = vec;
	scan.vec_len = 4;
	scan.max_pages = room;
	regions = scan_call(self->tracking.pagemap, &scan);
	ASSERT_EQ(0, scan_check(&scan, regions));
	ASSERT_EQ(1, regions);
	EXPECT_EQ(room, scan_pages(vec, 1));
	EXPECT_EQ(scan.start + room * page_size(), scan.walk_end);
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, room));
}

TEST_F_TIMEOUT(thp, max_pages_without_vec_protects_that_part, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	size_t room = huge_pages() / 3;

	scan.max_pages = room;
	ASSERT_EQ(0, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, room));
}

/*
 * Protect what is written and present, some pages a call, and add up what is
 * reported.  To protect a part of a huge page must not take the rest of it out
 * of what the next call looks for.
 */
static size_t protect_present(struct tracking *tracking, size_t room)
{
	struct scan scan = tracking_scan(tracking, PAGEMAP_WP_ENGAGE);
	struct page_region vec[4];
	__u64 end = scan.end;
	size_t found = 0;
	long regions;

	scan.vec = vec;
	scan.vec_len = 4;
	scan.max_pages = room;
	scan.required |= PAGE_IS_PRESENT;
	while (scan.start < end) {
		regions = scan_call(tracking->pagemap, &scan);
		if (scan_check(&scan, regions))
			return 0;
		found += scan_pages(vec, regions);
		if (scan.walk_end == scan.start)
			return 0;
		scan.start = scan.walk_end;
	}
	return found;
}

TEST_F_TIMEOUT(thp, resuming_inside_finds_each_present_page, TIMEOUT)
{
	EXPECT_EQ(self->mem->size / page_size(),
		  protect_present(&self->tracking, huge_pages() / 5));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(thp, protecting_changes_nothing_else, TIMEOUT)
{
	const __u64 kept = PAGE_IS_PRESENT | PAGE_IS_SOFT_DIRTY;
	int pagemap = self->tracking.pagemap;
	size_t half = huge_pages() / 2;
	size_t i, pages = self->mem->size / page_size(), dirty = 0;
	__u64 *before = calloc(pages, sizeof(*before));
	__u64 *after = calloc(pages, sizeof(*after));

	ASSERT_EQ(0, clear_soft_dirty(getpid()));
	touch_write(self->mem->addr + huge_size(), 1);
	ASSERT_EQ(0, scan_categories(pagemap, variant->layout, self->mem->addr,
				     self->mem->size, before));
	/* From the middle of the first to the end: a part, and whole ones */
	ASSERT_EQ(0, protect_pages(&self->tracking, half, pages - half));
	ASSERT_EQ(0, scan_categories(pagemap, variant->layout, self->mem->addr,
				     self->mem->size, after));
	for (i = 0; i < pages; i++) {
		ASSERT_TRUE(before[i] & PAGE_IS_PRESENT) TH_LOG("page %zu", i);
		ASSERT_EQ(before[i] & kept, after[i] & kept)
			TH_LOG("page %zu", i);
		dirty += !!(before[i] & PAGE_IS_SOFT_DIRTY);
	}
	ASSERT_LT(0, dirty);
	ASSERT_GT(pages, dirty);
	free(before);
	free(after);
}

/* A full vec inside of a huge page: its parts' categories must differ. */
TEST_F_TIMEOUT(thp, full_vec_inside_protects_that_part, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	size_t quarter = huge_pages() / 4;
	struct page_region region;

	ASSERT_EQ(0, protect_pages(&self->tracking, quarter, quarter));
	scan.vec = &region;
	scan.vec_len = 1;
	ASSERT_EQ(1, scan_call(self->tracking.pagemap, &scan));
	ASSERT_EQ(0, scan_check(&scan, 1));
	EXPECT_EQ(scan.start + quarter * page_size(), region.end);
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, 2 * quarter));
}

TEST_F_TIMEOUT(thp, full_vec_before_leaves_the_huge_page, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	struct page_region region;
	size_t pages = huge_pages();

	/* A hole in what matches, in front of the second huge page. */
	ASSERT_EQ(0, protect_pages(&self->tracking, pages - 1, 1));
	scan.vec = &region;
	scan.vec_len = 1;
	ASSERT_EQ(1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(scan.start + (pages - 1) * page_size(), region.end);
	if (variant->layout != LAYOUT_VER0)
		EXPECT_EQ(scan.start + huge_size(), scan.walk_end);
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, pages));
}

/* Whole huge pages, protected by their huge entries, and then the error. */
TEST_F_TIMEOUT(thp, fault_in_vec_loses_nothing, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);

	scan.vec = map_pages(1, PROT_READ);
	scan.vec_len = 1;
	EXPECT_EQ(-1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, 0));
}

/* To undo what a failed call has protected must not touch what it has not. */
TEST_F_TIMEOUT(thp, failed_call_leaves_other_pages_alone, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	int pagemap = self->tracking.pagemap;
	size_t dirty;

	ASSERT_EQ(0, clear_soft_dirty(getpid()));
	touch_write(self->mem->addr, 1);
	dirty = pages_with(pagemap, self->mem->addr, self->mem->size,
			   PAGEMAP_SOFT_DIRTY);
	ASSERT_LE(1, dirty);
	ASSERT_EQ((long)self->mem->size, huge_mapped_bytes(self->mem->addr));

	/* From inside of the soft-dirty one, of which no page matches */
	scan.start += page_size();
	scan.excluded = PAGE_IS_SOFT_DIRTY;
	scan.vec = map_pages(1, PROT_READ);
	scan.vec_len = 1;
	EXPECT_EQ(-1, scan_call(pagemap, &scan));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, 0));
	EXPECT_EQ(dirty, pages_with(pagemap, self->mem->addr, self->mem->size,
				    PAGEMAP_SOFT_DIRTY));
	EXPECT_EQ(self->mem->size / page_size(),
		  pages_with(pagemap, self->mem->addr, self->mem->size,
			     PAGEMAP_PRESENT));
	munmap(scan.vec, page_size());
}

/* Write to single pages of protected huge ones: only they are written. */
static int check_single_writes(struct tracking *tracking)
{
	struct memory *mem = &tracking->mem;
	size_t pages = mem->size / page_size(), i;
	bool *written = calloc(pages, sizeof(*written));
	int result;

	for (i = 3; i < pages; i += 217)
		touch_write(mem->addr + i * page_size(), 1);
	result = written_pages(tracking, written);
	for (i = 0; i < pages && !result; i++) {
		if (written[i] == (i % 217 == 3))
			continue;
		fprintf(stderr, "# page %zu reads as %swritten\n", i,
			written[i] ? "" : "not ");
		result = -1;
	}
	free(written);
	return result;
}

TEST_F_TIMEOUT(thp, write_is_reported_for_its_page_only, TIMEOUT)
{
	ASSERT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, check_single_writes(&self->tracking));
}

static int drop_all(struct memory *mem)
{
	if (mem->kind == MEMORY_THP)
		return madvise(mem->addr, mem->size, MADV_DONTNEED);
	return memory_punch(mem, 0, mem->count);
}

TEST_F_TIMEOUT(thp, write_to_protected_hole_is_reported_for_its_page_only,
	       TIMEOUT)
{
	ASSERT_EQ(0, drop_all(self->mem));
	ASSERT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, check_single_writes(&self->tracking));
}

TEST_F_TIMEOUT(thp, unprotecting_a_part_gives_that_part_back, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t half = huge_pages() / 2;

	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, uffd_protect(self->tracking.uffd, mem->addr,
				  half * page_size(), false));
	EXPECT_EQ(0, check_all_but(&self->tracking, half,
				   mem->size / page_size() - half));
}

TEST_F_TIMEOUT(thp, split_by_mprotect_keeps_the_answer, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, mprotect(mem->addr + huge_size() / 2, huge_size() / 4,
			      PROT_READ));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	ASSERT_EQ(0, mprotect(mem->addr + huge_size() / 2, huge_size() / 4,
			      PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	memory_write(mem, 0);
	EXPECT_EQ(0, check_all_but(&self->tracking, 1,
				   mem->size / page_size() - 1));
}

TEST_F_TIMEOUT(thp, split_of_written_keeps_the_answer, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, mprotect(mem->addr + huge_size() / 2, huge_size() / 4,
			      PROT_READ));
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, 0));
	ASSERT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(thp, dropping_a_part_keeps_the_rest, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t pages = mem->size / page_size(), quarter = huge_pages() / 4, i;
	bool *written = calloc(pages, sizeof(*written));

	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, madvise(mem->addr, quarter * page_size(), MADV_DONTNEED));
	ASSERT_EQ(0, written_pages(&self->tracking, written));
	for (i = 0; i < pages; i++)
		ASSERT_EQ(i < quarter && variant->kind == MEMORY_THP,
			  written[i])
			TH_LOG("page %zu", i);
	free(written);
}

TEST_F_TIMEOUT(thp, dropping_a_whole_page_reads_as_written, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t pages = mem->size / page_size(), i;
	bool *written = calloc(pages, sizeof(*written));
	long huge;

	ASSERT_EQ(0, protect_written(&self->tracking));
	huge = huge_mapped_bytes(mem->addr);
	if (variant->kind == MEMORY_THP) {
		/* The entry of the second level is what has to be empty. */
		ASSERT_EQ((long)mem->size, huge);
		ASSERT_EQ(0, madvise(mem->addr, huge_size(), MADV_DONTNEED));
	} else {
		ASSERT_EQ(0, memory_punch(mem, 0, huge_pages()));
	}
	ASSERT_EQ(0, written_pages(&self->tracking, written));
	for (i = 0; i < pages; i++)
		ASSERT_EQ(i < huge_pages(), written[i]) TH_LOG("page %zu", i);
	free(written);
	/* The same answer, also when another mask takes another path. */
	EXPECT_EQ(0, check_categories(self->tracking.pagemap, variant->layout,
				      mem->addr, huge_size(), KIND_CATEGORIES,
				      PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN));
}

static bool stop_dropping;

static void *drop_all_the_time(void *argument)
{
	struct memory *mem = argument;
	size_t i;

	while (!__atomic_load_n(&stop_dropping, __ATOMIC_RELAXED)) {
		for (i = 0; i < mem->size; i += huge_size()) {
			if (mem->kind == MEMORY_THP)
				madvise(mem->addr + i, huge_size(),
					MADV_DONTNEED);
			else
				memory_punch(mem, i / mem->granule,
					     huge_size() / mem->granule);
			touch_write(mem->addr + i, 1);
		}
	}
	return NULL;
}

/* Nothing is protected, so that whatever there is, or is not, is written. */
TEST_F_TIMEOUT(thp, pages_that_come_and_go_are_reported, TIMEOUT)
{
	unsigned long end = milliseconds() + test_duration(1000);
	struct scan scan = tracking_scan(&self->tracking, 0);
	struct page_region region;
	pthread_t thread;

	scan.vec = &region;
	scan.vec_len = 1;
	ASSERT_EQ(0, pthread_create(&thread, NULL, drop_all_the_time,
				    self->mem));
	while (milliseconds() < end) {
		ASSERT_EQ(1, scan_call(self->tracking.pagemap, &scan));
		ASSERT_EQ(scan.start, region.start);
		ASSERT_EQ(scan.end, region.end);
	}
	stop_dropping = true;
	pthread_join(thread, NULL);
}

/* The driver has no ioctl for 32-bit programs. */
#if __SIZEOF_POINTER__ == 8
TEST_F_TIMEOUT(thp, write_by_a_device_to_a_huge_page_is_reported, TIMEOUT)
{
	struct memory *mem = self->mem;
	bool *written = calloc(mem->size / page_size(), sizeof(*written));
	int device = open("/dev/hmm_dmirror0", O_RDWR);
	size_t i;

	if (device < 0)
		SKIP(return, "needs CONFIG_TEST_HMM");
	/* The device has all pages mapped when the huge entry is protected. */
	ASSERT_EQ(0, device_zero(device, mem->addr, mem->size));
	ASSERT_EQ((long)mem->size, huge_mapped_bytes(mem->addr));
	ASSERT_EQ(0, protect_pages(&self->tracking, 0,
				   mem->size / page_size()));
	ASSERT_EQ(0, check_written(&self->tracking, no_granule));
	ASSERT_EQ(0, device_zero(device, mem->addr + page_size(),
				 page_size()));
	ASSERT_EQ(0, written_pages(&self->tracking, written));
	for (i = 0; i < mem->size / page_size(); i++)
		EXPECT_EQ(i == 1, written[i]) TH_LOG("page %zu", i);
	free(written);
	close(device);
}
#endif

/* The huge zero page, of which each huge entry is split by the first write. */
FIXTURE(zero) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(zero) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(zero, THP_VER1) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(zero, THP_PM) { MEMORY_THP, LAYOUT_PM };

FIXTURE_SETUP(zero)
{
	size_t i;

	if (!machine_has(NEED_THP))
		SKIP(_exit(255), "needs transparent huge pages");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	self->mem = &self->tracking.mem;
	for (i = 0; i < self->mem->count; i++)
		memory_read(self->mem, i);
	ASSERT_EQ(0, check_all_but(&self->tracking, 0, 0));
	ASSERT_EQ(0, check_categories(self->tracking.pagemap, variant->layout,
				      self->mem->addr, self->mem->size,
				      PAGE_IS_PFNZERO | PAGE_IS_HUGE,
				      PAGE_IS_PFNZERO | PAGE_IS_HUGE));
}

FIXTURE_TEARDOWN(zero)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

TEST_F_TIMEOUT(zero, read_is_not_a_write, TIMEOUT)
{
	size_t i;

	ASSERT_EQ(0, protect_written(&self->tracking));
	for (i = 0; i < self->mem->count; i++)
		memory_read(self->mem, i);
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(zero, write_is_reported_for_its_page_only, TIMEOUT)
{
	ASSERT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, check_single_writes(&self->tracking));
}

TEST_F_TIMEOUT(zero, protecting_a_part_protects_that_part, TIMEOUT)
{
	size_t inside = huge_pages() / 5;

	EXPECT_EQ(0, protect_pages(&self->tracking, inside, inside));
	EXPECT_EQ(0, check_all_but(&self->tracking, inside, inside));
}

static bool stop_migrating;

/* From node to node, where there are two.  A page may not be there. */
static void *migrate_all_the_time(void *argument)
{
	struct memory *mem = argument;
	size_t count = mem->size / huge_size(), i;
	int nodes[count], status[count], node;
	void *pages[count];

	for (node = 0; !__atomic_load_n(&stop_migrating, __ATOMIC_RELAXED);
	     node = !node) {
		for (i = 0; i < count; i++) {
			pages[i] = mem->addr + i * huge_size();
			nodes[i] = node;
		}
		syscall(__NR_move_pages, 0, count, pages, nodes, status,
			MPOL_MF_MOVE);
	}
	return NULL;
}

/* Map the huge pages by small entries. */
static int split_entries(struct memory *mem)
{
	size_t i;

	for (i = 0; i < mem->size; i += huge_size()) {
		if (mprotect(mem->addr + i, page_size(), PROT_READ) ||
		    mprotect(mem->addr + i, page_size(),
			     PROT_READ | PROT_WRITE))
			return -1;
	}
	return 0;
}

/*
 * Pages of its own, and fresh ones each time, as the next write splits those
 * that are protected.
 */
TEST_F_TIMEOUT(zero, protecting_beside_migration_loses_nothing, TIMEOUT)
{
	unsigned long end = milliseconds() + test_duration(2500);
	struct memory *mem = self->mem;
	size_t pages = mem->size / page_size(), round = 0, i;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, migrate_all_the_time, mem));
	while (milliseconds() < end) {
		ASSERT_EQ(0, madvise(mem->addr, mem->size, MADV_DONTNEED));
		for (i = 0; i < pages; i += huge_pages() / 2)
			touch_write(mem->addr + i * page_size(), i);
		/* A huge page, be it mapped by a page table. */
		if (round++ % 2)
			ASSERT_EQ(0, split_entries(mem));
		/* Let some of them be on their way. */
		usleep(round * 397 % 4000);
		ASSERT_EQ(0, protect_pages(&self->tracking, 0, pages));
		ASSERT_EQ(0, check_all_but(&self->tracking, 0, pages));
		touch_write(mem->addr, 1);
		ASSERT_EQ(0, check_all_but(&self->tracking, 1, pages - 1));
	}
	stop_migrating = true;
	pthread_join(thread, NULL);
}

/* Splits the first huge page by a write to its first page, when told to. */
struct splitter {
	struct memory *mem;
	unsigned int told;	/* rounds */
	unsigned int done;
	bool stop;
};

static void *split_when_told(void *argument)
{
	struct splitter *splitter = argument;
	unsigned int told, i;

	while (!__atomic_load_n(&splitter->stop, __ATOMIC_RELAXED)) {
		told = __atomic_load_n(&splitter->told, __ATOMIC_ACQUIRE);
		if (told == splitter->done) {
			sched_yield();
			continue;
		}
		/* At another moment of what goes on beside it in each round */
		for (i = 0; i < told % 97 * 101; i++)
			__asm__ volatile ("");
		touch_write(splitter->mem->addr, told);
		__atomic_store_n(&splitter->done, told, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void tell(struct splitter *splitter)
{
	__atomic_store_n(&splitter->told, splitter->told + 1, __ATOMIC_RELEASE);
}

static bool has_split(struct splitter *splitter)
{
	return __atomic_load_n(&splitter->done, __ATOMIC_ACQUIRE) ==
	       splitter->told;
}

/*
 * The first huge page is the huge zero page again, and not protected.  It is
 * mapped anew, as the page table of one that was split would stay.
 */
static int make_zero_again(struct tracking *tracking)
{
	struct memory *mem = &tracking->mem;

	if (map_fixed(mem->addr, huge_size(), PROT_READ | PROT_WRITE) ||
	    madvise(mem->addr, huge_size(), MADV_HUGEPAGE) ||
	    uffd_register(tracking->uffd, mem->addr, huge_size(),
			  UFFDIO_REGISTER_MODE_WP, NULL))
		return -1;
	touch_read(mem->addr);
	return 0;
}

TEST_F_TIMEOUT(zero, answer_beside_a_split_is_the_same, TIMEOUT)
{
	struct splitter splitter = { .mem = self->mem };
	unsigned long end = milliseconds() + test_duration(1500);
	struct scan scan = tracking_scan(&self->tracking, 0);
	size_t rounds = 0, wrong = 0, huge = 0;
	struct page_region region;
	pthread_t thread;

	/* The last of the pages, to which nobody writes */
	scan.start = address(self->mem->addr) + huge_size() - page_size();
	scan.end = scan.start + page_size();
	scan.required = 0;
	scan.returned = KIND_CATEGORIES;
	scan.vec = &region;
	scan.vec_len = 1;
	ASSERT_EQ(0, pthread_create(&thread, NULL, split_when_told, &splitter));
	for (; rounds < 10 || milliseconds() < end; rounds++) {
		ASSERT_EQ(0, make_zero_again(&self->tracking));
		ASSERT_EQ(0, protect_pages(&self->tracking, 0, huge_pages()));
		tell(&splitter);
		do {
			ASSERT_EQ(1, scan_call(self->tracking.pagemap, &scan));
			huge += !!(region.categories & PAGE_IS_HUGE);
			wrong += (region.categories & ~(__u64)PAGE_IS_HUGE) !=
				 (PAGE_IS_WPALLOWED | PAGE_IS_PRESENT |
				  PAGE_IS_PFNZERO);
		} while (!has_split(&splitter));
	}
	__atomic_store_n(&splitter.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, wrong);
	EXPECT_LT(0, huge);
}

TEST_F_TIMEOUT(zero, failed_call_beside_a_split_loses_nothing, TIMEOUT)
{
	struct splitter splitter = { .mem = self->mem };
	unsigned long end = milliseconds() + test_duration(1500);
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	size_t rounds = 0, lost = 0;
	pthread_t thread;

	/* Once a call has failed, all is written */
	spare_ioctls();
	scan.end = scan.start + huge_size();
	scan.vec = map_pages(1, PROT_NONE);
	ASSERT_TRUE(!!scan.vec);
	scan.vec_len = 1;
	ASSERT_EQ(0, pthread_create(&thread, NULL, split_when_told, &splitter));
	for (; rounds < 10 || milliseconds() < end; rounds++) {
		ASSERT_EQ(0, make_zero_again(&self->tracking));
		tell(&splitter);
		do {
			ASSERT_EQ(-1, scan_call(self->tracking.pagemap, &scan));
			ASSERT_EQ(EFAULT, errno);
		} while (!has_split(&splitter));
		lost += pages_with(self->tracking.pagemap, self->mem->addr,
				   huge_size(), PAGEMAP_UFFD_WP);
	}
	__atomic_store_n(&splitter.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, lost);
}

/* More huge entries than are looked at under one hold of the mmap lock. */
TEST_F_TIMEOUT(zero, many_are_one_region, TIMEOUT)
{
	size_t size = 200 * huge_size(), i;
	struct scan scan = tracking_scan(&self->tracking, 0);
	char *p = reserve_addresses(size, huge_size());
	struct page_region vec[2];

	ASSERT_TRUE(!!p);
	ASSERT_EQ(0, map_fixed(p, size, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, madvise(p, size, MADV_HUGEPAGE));
	for (i = 0; i < size; i += huge_size())
		touch_read(p + i);
	scan.start = address(p);
	scan.end = address(p) + size;
	scan.vec = vec;
	scan.vec_len = 2;
	scan.required = PAGE_IS_PFNZERO | PAGE_IS_HUGE;
	ASSERT_EQ(1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(scan.start, vec[0].start);
	EXPECT_EQ(scan.end, vec[0].end);
	EXPECT_EQ(scan.end, scan.walk_end);
	munmap(p, size);
}

/* Pages of base size in one huge page's place, some protected. */
static int make_small_pages(struct tracking *tracking)
{
	struct memory *mem = &tracking->mem;

	if (keep_pages_small(mem->addr, mem->size) ||
	    madvise(mem->addr, mem->size, MADV_DONTNEED))
		return -1;
	memset(mem->addr, 0x5a, mem->size);
	if (huge_mapped_bytes(mem->addr))
		return -1;
	return madvise(mem->addr, mem->size, MADV_HUGEPAGE);
}

FIXTURE(collapse) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(collapse) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(collapse, THP_VER1) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(collapse, THP_PM) { MEMORY_THP, LAYOUT_PM };

FIXTURE_SETUP(collapse)
{
	if (!machine_has(NEED_THP))
		SKIP(_exit(255), "needs transparent huge pages");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	self->mem = &self->tracking.mem;
}

FIXTURE_TEARDOWN(collapse)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

/* Without this, the cases below that expect no change would prove nothing. */
TEST_F_TIMEOUT(collapse, of_written_pages_succeeds_and_they_stay_so, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, make_small_pages(&self->tracking));
	ASSERT_EQ(0, madvise(mem->addr, mem->size, MADV_COLLAPSE));
	ASSERT_EQ((long)mem->size, huge_mapped_bytes(mem->addr));
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, 0));
	EXPECT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(collapse, keeps_the_answer_where_pages_are_protected, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t quarter = huge_pages() / 4;

	ASSERT_EQ(0, make_small_pages(&self->tracking));
	ASSERT_EQ(0, protect_pages(&self->tracking, quarter, quarter));
	madvise(mem->addr, mem->size, MADV_COLLAPSE);
	EXPECT_EQ(0, check_all_but(&self->tracking, quarter, quarter));
}

TEST_F_TIMEOUT(collapse, keeps_the_answer_where_all_are_protected, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, make_small_pages(&self->tracking));
	ASSERT_EQ(0, protect_written(&self->tracking));
	madvise(mem->addr, mem->size, MADV_COLLAPSE);
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	memory_write(mem, 0);
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, no_granule));
	EXPECT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

struct collapser {
	struct memory *mem;
	bool done;
};

static void *collapse_once(void *argument)
{
	struct collapser *collapser = argument;

	madvise(collapser->mem->addr, huge_size(), MADV_COLLAPSE);
	__atomic_store_n(&collapser->done, true, __ATOMIC_RELAXED);
	return NULL;
}

/*
 * Have this thread take the processor from all that it starts, for which it has
 * only to sleep: to look in between does not depend on a second processor.
 */
static int take_turns(void)
{
	struct sched_param param = { .sched_priority = 1 };

	return run_on(0) ||
	       sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param);
}

/*
 * The pages of the second half are read from swap one by one.  Before its turn
 * comes, the last one is dropped and its hole protected: that is no page to be
 * read.
 */
TEST_F_TIMEOUT(collapse, keeps_the_answer_of_a_hole_that_is_protected_meanwhile,
	       TIMEOUT)
{
	unsigned long end = milliseconds() + TIMEOUT * 1000 / 2;
	struct collapser collapser = { .mem = self->mem };
	size_t half = huge_size() / 2, meanwhile = 0;
	int pagemap = self->tracking.pagemap;
	struct memory *mem = self->mem;
	char *hole = mem->addr + huge_size() - page_size();
	pthread_t thread;

	if (!machine_has(NEED_SWAP))
		SKIP(return, "needs swap space");
	ASSERT_EQ(0, take_turns());
	while (meanwhile < 8 && milliseconds() < end) {
		collapser.done = false;
		ASSERT_EQ(0, make_small_pages(&self->tracking));
		ASSERT_EQ(0, madvise(mem->addr + half, half, MADV_PAGEOUT));
		ASSERT_EQ(0, pthread_create(&thread, NULL, collapse_once,
					    &collapser));
		while (pagemap_entry(pagemap, mem->addr + half) &
		       PAGEMAP_SWAPPED &&
		       !__atomic_load_n(&collapser.done, __ATOMIC_RELAXED))
			usleep(20);
		if (pagemap_entry(pagemap, hole) & PAGEMAP_SWAPPED)
			meanwhile++;
		ASSERT_EQ(0, madvise(hole, page_size(), MADV_DONTNEED));
		ASSERT_EQ(0, uffd_protect(self->tracking.uffd, hole,
					  page_size(), true));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_EQ(0, check_categories(pagemap, variant->layout, hole,
					      page_size(), PAGE_IS_WRITTEN, 0));
	}
	EXPECT_LT(0, meanwhile);
}

TEST_F_TIMEOUT(collapse, keeps_the_answer_where_holes_are_protected, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t pages = huge_pages(), i;

	ASSERT_EQ(0, keep_pages_small(mem->addr, mem->size));
	ASSERT_EQ(0, protect_written(&self->tracking));
	for (i = 0; i < pages; i++) {
		if (i != pages / 2)
			mem->addr[i * page_size()] = 1;
	}
	ASSERT_EQ(0, madvise(mem->addr, mem->size, MADV_HUGEPAGE));
	madvise(mem->addr, mem->size, MADV_COLLAPSE);
	for (i = 0; i < pages; i++) {
		struct scan scan = tracking_scan(&self->tracking, 0);
		struct page_region region;

		scan.start += i * page_size();
		scan.end = scan.start + page_size();
		scan.vec = &region;
		scan.vec_len = 1;
		ASSERT_EQ(i != pages / 2,
			  scan_call(self->tracking.pagemap, &scan))
			TH_LOG("page %zu", i);
	}
	/* Nor was the hole filled in order to try. */
	EXPECT_EQ(0, check_categories(self->tracking.pagemap, variant->layout,
				      mem->addr + pages / 2 * page_size(),
				      page_size(), KIND_CATEGORIES,
				      PAGE_IS_WPALLOWED));
}

/* hugetlb pages, registered, populated and not protected. */
FIXTURE(hugetlb) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(hugetlb) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(hugetlb, HUGETLB_PRIVATE_VER1) { MEMORY_HUGETLB_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(hugetlb, HUGETLB_PRIVATE_PM) { MEMORY_HUGETLB_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(hugetlb, HUGETLB_SHARED_VER1) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(hugetlb, HUGETLB_SHARED_PM) { MEMORY_HUGETLB_SHARED, LAYOUT_PM };

FIXTURE_SETUP(hugetlb)
{
	if (!machine_has(NEED_HUGETLB))
		SKIP(_exit(255), "needs huge pages");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	self->mem = &self->tracking.mem;
	ASSERT_EQ(0, memory_populate(self->mem));
	ASSERT_EQ(0, check_all_but(&self->tracking, 0, 0));
}

FIXTURE_TEARDOWN(hugetlb)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

TEST_F_TIMEOUT(hugetlb, range_that_cuts_the_end_is_refused, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);

	scan.end = scan.start + 2 * huge_size() - page_size();
	EXPECT_EQ(-1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(EINVAL, errno);
	/* The first page was whole in the range: it is not lost, either. */
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, 0));
}

TEST_F_TIMEOUT(hugetlb, range_that_cuts_the_start_is_refused, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);

	scan.start += page_size();
	EXPECT_EQ(-1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, 0));
}

TEST_F_TIMEOUT(hugetlb, range_may_cut_what_is_not_to_be_protected, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	struct page_region region;

	ASSERT_EQ(0, uffd_protect(self->tracking.uffd,
				  self->mem->addr + huge_size(),
				  self->mem->size - huge_size(), true));
	scan.end = scan.start + 2 * huge_size() - page_size();
	scan.vec = &region;
	scan.vec_len = 1;
	ASSERT_EQ(1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(scan.start + huge_size(), region.end);
	EXPECT_EQ(scan.end, scan.walk_end);
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(hugetlb, get_may_cut, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, 0);
	struct page_region region;

	scan.start += page_size();
	scan.end -= 3 * page_size();
	scan.vec = &region;
	scan.vec_len = 1;
	ASSERT_EQ(1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(scan.start, region.start);
	EXPECT_EQ(scan.end, region.end);
	EXPECT_EQ(scan.end, scan.walk_end);
}

TEST_F_TIMEOUT(hugetlb, max_pages_too_small_for_the_first_is_refused, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);

	scan.max_pages = huge_pages() - 1;
	EXPECT_EQ(-1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, 0));
}

TEST_F_TIMEOUT(hugetlb, call_stops_before_the_page_that_does_not_fit, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	struct page_region region;

	scan.max_pages = huge_pages() + 1;
	scan.vec = &region;
	scan.vec_len = 1;
	ASSERT_EQ(1, scan_call(self->tracking.pagemap, &scan));
	ASSERT_EQ(0, scan_check(&scan, 1));
	EXPECT_EQ(scan.start + huge_size(), region.end);
	EXPECT_EQ(region.end, scan.walk_end);
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, huge_pages()));
}

/* In the same call, pages of base size were protected before the error. */
TEST_F_TIMEOUT(hugetlb, refused_range_loses_no_page_before_it, TIMEOUT)
{
	struct memory *mem = self->mem;
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	size_t size = 16 * page_size();
	char *small = mem->addr - size;
	struct page_region vec[2];

	ASSERT_EQ(0, map_fixed(small, size, PROT_READ | PROT_WRITE));
	memset(small, 1, size);
	ASSERT_EQ(0, uffd_register(self->tracking.uffd, small, size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	scan.start = address(small);
	scan.end -= page_size();
	EXPECT_EQ(-1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(EINVAL, errno);

	scan.flags = 0;
	scan.vec = vec;
	scan.vec_len = 2;
	ASSERT_EQ(1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(scan.start, vec[0].start);
	EXPECT_EQ(scan.end, vec[0].end);
}

/* Protect from inside a protected huge page on, and fail. */
static int fail_behind_a_cut_page(struct tracking *tracking, char *start,
				  char *end)
{
	struct scan scan = tracking_scan(tracking, PAGEMAP_WP_ENGAGE);

	scan.start = address(start);
	scan.end = address(end);
	scan.vec = map_pages(1, PROT_READ);
	scan.vec_len = 1;
	return scan_call(tracking->pagemap, &scan) == -1 && errno == EFAULT ?
	       0 : -1;
}

TEST_F_TIMEOUT(hugetlb, failed_call_loses_no_small_page_behind_a_cut_one, TIMEOUT)
{
	char *small = self->mem->addr + self->mem->size;
	__u64 categories[2];

	ASSERT_EQ(0, map_fixed(small, 2 * page_size(), PROT_READ | PROT_WRITE));
	memset(small, 1, 2 * page_size());
	ASSERT_EQ(0, uffd_register(self->tracking.uffd, small, 2 * page_size(),
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, fail_behind_a_cut_page(&self->tracking,
					    small - page_size(),
					    small + 2 * page_size()));
	ASSERT_EQ(0, scan_categories(self->tracking.pagemap, variant->layout,
				     small, 2 * page_size(), categories));
	EXPECT_TRUE(categories[0] & PAGE_IS_WRITTEN);
	EXPECT_TRUE(categories[1] & PAGE_IS_WRITTEN);
}

TEST_F_TIMEOUT(hugetlb, failed_call_loses_no_huge_page_behind_a_cut_one, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t last = mem->count - 1;
	char *huge = mem->addr + last * huge_size();

	/* In a VMA of its own */
	ASSERT_EQ(0, madvise(huge, huge_size(), MADV_DONTFORK));
	ASSERT_EQ(0, protect_written(&self->tracking));
	memory_write(mem, last);
	ASSERT_EQ(0, fail_behind_a_cut_page(&self->tracking,
					    huge - page_size(),
					    huge + huge_size()));
	EXPECT_EQ(0, check_all_but(&self->tracking, 0, last * huge_pages()));
}

/*
 * A hugetlb mapping where nothing was touched yet, so large that there is no
 * page table for it: the range of a third-level entry, 1 GiB.
 */
FIXTURE(hugetlb_hole) {
	struct tracking tracking;
	char *reserved;
	char *addr;
	size_t size;
	int fd;
};

FIXTURE_VARIANT(hugetlb_hole) {
	bool shared;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(hugetlb_hole, PRIVATE_VER1) { false, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(hugetlb_hole, PRIVATE_PM) { false, LAYOUT_PM };
FIXTURE_VARIANT_ADD(hugetlb_hole, SHARED_VER1) { true, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(hugetlb_hole, SHARED_PM) { true, LAYOUT_PM };

FIXTURE_SETUP(hugetlb_hole)
{
	if (!machine_has(NEED_HUGETLB))
		SKIP(_exit(255), "needs huge pages");
	ASSERT_EQ(0, tracking_begin(&self->tracking, MEMORY_ANON,
				    variant->layout));
	self->size = huge_size() * huge_pages();
	/* 32-bit programs have no room for more. */
	self->reserved = mmap(NULL, 2 * self->size, PROT_NONE, MAP_PRIVATE |
			      MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_TRUE(self->reserved != MAP_FAILED);
	self->addr = (char *)(((uintptr_t)self->reserved + self->size - 1) &
			      -self->size);
	self->fd = syscall(__NR_memfd_create, "hugetlb", MFD_HUGETLB);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->size));
	ASSERT_TRUE(mmap(self->addr, self->size, PROT_READ | PROT_WRITE,
			 (variant->shared ? MAP_SHARED : MAP_PRIVATE) |
			 MAP_FIXED | MAP_NORESERVE, self->fd, 0) == self->addr);
	ASSERT_EQ(0, uffd_register(self->tracking.uffd, self->addr, self->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
}

FIXTURE_TEARDOWN(hugetlb_hole)
{
	munmap(self->reserved, 2 * self->size);
	close(self->fd);
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

/* Calls, and checks that what is written lies in one region, or in none. */
static int scan_hole(struct tracking *tracking, __u64 flags, char *addr,
		     size_t size, char *written, size_t written_size)
{
	struct scan scan = tracking_scan(tracking, flags);
	struct page_region vec[2] = {};
	long regions;

	scan.start = address(addr);
	scan.end = address(addr) + size;
	scan.vec = vec;
	scan.vec_len = 2;
	regions = scan_call(tracking->pagemap, &scan);
	if (regions == !!written_size && scan.walk_end == scan.end &&
	    (!regions || (vec[0].start == address(written) &&
			  vec[0].end == address(written) + written_size)))
		return 0;
	fprintf(stderr, "# %ld regions, the first from %#llx to %#llx\n",
		regions, vec[0].start, vec[0].end);
	return -1;
}

TEST_F_TIMEOUT(hugetlb_hole, is_protected_and_written_to, TIMEOUT)
{
	struct tracking *tracking = &self->tracking;
	char *middle = self->addr + self->size / 2;

	EXPECT_EQ(0, scan_hole(tracking, 0, self->addr, self->size, self->addr,
			       self->size));
	ASSERT_EQ(0, scan_hole(tracking, PAGEMAP_WP_ENGAGE, self->addr,
			       self->size, self->addr, self->size));
	EXPECT_EQ(0, scan_hole(tracking, 0, self->addr, self->size, NULL, 0));
	/* A call that fails gives back more than it has protected. */
	spare_ioctls();
	touch_read(middle + 2 * huge_size());
	touch_write(middle, 1);
	EXPECT_EQ(0, scan_hole(tracking, PAGEMAP_WP_ENGAGE, self->addr,
			       self->size, middle, huge_size()));
	EXPECT_EQ(0, scan_hole(tracking, 0, self->addr, self->size, NULL, 0));
}

TEST_F_TIMEOUT(hugetlb_hole, range_that_cuts_a_page_is_refused, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);

	scan.start = address(self->addr) + page_size();
	scan.end = address(self->addr) + 2 * huge_size();
	EXPECT_EQ(-1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, scan_hole(&self->tracking, 0, self->addr, self->size,
			       self->addr, self->size));
}

TEST_F_TIMEOUT(hugetlb_hole, punch_without_page_tables_does_no_harm, TIMEOUT)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	ASSERT_EQ(0, fallocate(self->fd, mode, 0, self->size));
	EXPECT_EQ(0, scan_hole(&self->tracking, PAGEMAP_WP_ENGAGE, self->addr,
			       self->size, self->addr, self->size));
	/* What is dropped from a shared mapping reads as written, holes too. */
	if (!variant->shared)
		return;
	ASSERT_EQ(0, fallocate(self->fd, mode, 0, huge_size()));
	EXPECT_EQ(0, scan_hole(&self->tracking, 0, self->addr, self->size,
			       self->addr, huge_size()));
}

static void __attribute__((constructor)) prepare(void)
{
	machine_prepare(NEED_THP | NEED_HUGETLB | NEED_FILES | NEED_SWAP);
}

TEST_HARNESS_MAIN
