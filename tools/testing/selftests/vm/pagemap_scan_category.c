// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN: the categories of each kind of page table entry, which are
 * the same whatever is asked and however the page got where it is.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/mempolicy.h>

#include "pagemap_scan_failing.h"
#include "pagemap_scan_harness.h"
#include "../../../../lib/test_hmm_uapi.h"
#include "pagemap_scan_util.h"

#define TIMEOUT	120

/* Memory of each kind, in each of the states of write tracking. */
FIXTURE(kind) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(kind) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(kind, ANON_VER1) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, ANON_PM) { MEMORY_ANON, LAYOUT_PM };
FIXTURE_VARIANT_ADD(kind, THP_VER1) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, THP_PM) { MEMORY_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(kind, SHMEM_VER1) { MEMORY_SHMEM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, SHMEM_PM) { MEMORY_SHMEM, LAYOUT_PM };
FIXTURE_VARIANT_ADD(kind, MEMFD_VER1) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, MEMFD_PM) { MEMORY_MEMFD, LAYOUT_PM };
FIXTURE_VARIANT_ADD(kind, MEMFD_THP_VER1) { MEMORY_MEMFD_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, MEMFD_THP_PM) { MEMORY_MEMFD_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(kind, TMPFS_PRIVATE_VER1) { MEMORY_TMPFS_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, TMPFS_PRIVATE_PM) { MEMORY_TMPFS_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(kind, TMPFS_SHARED_VER1) { MEMORY_TMPFS_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, TMPFS_SHARED_PM) { MEMORY_TMPFS_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(kind, EXT4_PRIVATE_VER1) { MEMORY_EXT4_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, EXT4_PRIVATE_PM) { MEMORY_EXT4_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(kind, EXT4_SHARED_VER1) { MEMORY_EXT4_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, EXT4_SHARED_PM) { MEMORY_EXT4_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(kind, HUGETLB_PRIVATE_VER1) { MEMORY_HUGETLB_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, HUGETLB_PRIVATE_PM) { MEMORY_HUGETLB_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(kind, HUGETLB_SHARED_VER1) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, HUGETLB_SHARED_PM) { MEMORY_HUGETLB_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(kind, KSM_VER1) { MEMORY_KSM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(kind, KSM_PM) { MEMORY_KSM, LAYOUT_PM };

FIXTURE_SETUP(kind)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	self->mem = &self->tracking.mem;
	ASSERT_EQ(0, memory_populate(self->mem));
}

FIXTURE_TEARDOWN(kind)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

/* Check all pages; every other granule may be a file's. */
static int check_granules(struct tracking *tracking, __u64 expected)
{
	struct memory *mem = &tracking->mem;
	size_t pages = mem->size / page_size(), i;
	__u64 *categories = calloc(pages, sizeof(*categories));
	int result = scan_categories(tracking->pagemap, tracking->layout,
				     mem->addr, mem->size, categories);

	for (i = 0; i < pages && !result; i++) {
		size_t granule = i * page_size() / mem->granule;
		__u64 file = memory_is_copied(mem, granule) ? 0 : PAGE_IS_FILE;

		if ((categories[i] & KIND_CATEGORIES) == (expected | file))
			continue;
		fprintf(stderr, "# page %zu of %zu has %#llx, not %#llx\n", i,
			pages, (unsigned long long)categories[i],
			(unsigned long long)(expected | file));
		result = -1;
	}
	free(categories);
	/* By all combinations of masks, for one page of each sort. */
	for (i = 0; i < 2 && !result; i++) {
		__u64 file = memory_is_copied(mem, i) ? 0 : PAGE_IS_FILE;

		result = check_categories(tracking->pagemap, tracking->layout,
					  mem->addr + i * mem->granule,
					  mem->granule, KIND_CATEGORIES,
					  expected | file);
	}
	/* And for two of one sort: there is no walk for a page alone. */
	if (!result && memory_is_copied(mem, 0) == memory_is_copied(mem, 1)) {
		__u64 file = memory_is_copied(mem, 0) ? 0 : PAGE_IS_FILE;

		result = check_categories(tracking->pagemap, tracking->layout,
					  mem->addr, 2 * mem->granule,
					  KIND_CATEGORIES, expected | file);
	}
	return result;
}

static __u64 huge_if(bool huge)
{
	return huge ? PAGE_IS_HUGE : 0;
}

TEST_F_TIMEOUT(kind, registered_page_is_present_and_written, TIMEOUT)
{
	bool huge = memory_is_thp(variant->kind) ||
		    memory_is_hugetlb(variant->kind);

	EXPECT_EQ(0, check_granules(&self->tracking, PAGE_IS_PRESENT |
				    PAGE_IS_WRITTEN | PAGE_IS_WPALLOWED |
				    huge_if(huge)));
}

TEST_F_TIMEOUT(kind, unregistered_page_is_present_and_written, TIMEOUT)
{
	bool huge = memory_is_thp(variant->kind) ||
		    memory_is_hugetlb(variant->kind);

	ASSERT_EQ(0, uffd_unregister(self->tracking.uffd, self->mem->addr,
				     self->mem->size));
	EXPECT_EQ(0, check_granules(&self->tracking, PAGE_IS_PRESENT |
				    PAGE_IS_WRITTEN | huge_if(huge)));
}

static void read_all(struct memory *mem)
{
	size_t offset;

	for (offset = 0; offset < mem->size; offset += page_size())
		touch_read(mem->addr + offset);
}

TEST_F_TIMEOUT(kind, protected_page_is_present, TIMEOUT)
{
	struct memory *mem = self->mem;
	/* Small entries protect huge pages of a file. */
	bool huge = variant->kind == MEMORY_THP ||
		    memory_is_hugetlb(variant->kind);

	ASSERT_EQ(0, protect_written(&self->tracking));
	read_all(mem);
	EXPECT_EQ(mem->size / page_size(),
		  pages_with(self->tracking.pagemap, mem->addr, mem->size,
			     PAGEMAP_UFFD_WP));
	EXPECT_EQ(0, check_granules(&self->tracking, PAGE_IS_PRESENT |
				    PAGE_IS_WPALLOWED | huge_if(huge)));
}

TEST_F_TIMEOUT(kind, inaccessible_page_is_present, TIMEOUT)
{
	bool huge = memory_is_thp(variant->kind) ||
		    memory_is_hugetlb(variant->kind);

	ASSERT_EQ(0, mprotect(self->mem->addr, self->mem->size, PROT_NONE));
	EXPECT_EQ(0, check_granules(&self->tracking, PAGE_IS_PRESENT |
				    PAGE_IS_WRITTEN | PAGE_IS_WPALLOWED |
				    huge_if(huge)));
}

/*
 * A page that is protected and then unmapped, while its file keeps it, leaves
 * a marker: not a swapped page.
 */
TEST_F_TIMEOUT(kind, unmapped_page_is_not_swapped, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t i, markers = 0;
	__u64 entry;

	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, madvise(mem->addr, mem->size, MADV_DONTNEED));
	for (i = 0; i < mem->count; i++) {
		__u64 written = memory_is_copied(mem, i) ? PAGE_IS_WRITTEN : 0;
		char *addr = mem->addr + i * mem->granule;

		entry = pagemap_entry(self->tracking.pagemap, addr);
		if ((entry & PAGEMAP_UFFD_WP) && !(entry & PAGEMAP_PRESENT))
			markers++;
		if (i > 2)
			continue;
		EXPECT_EQ(0, check_categories(self->tracking.pagemap,
					      variant->layout, addr,
					      mem->granule, KIND_CATEGORIES,
					      PAGE_IS_WPALLOWED | written));
	}
	/* Of hugetlb's markers, pagemap says nothing. */
	if (!memory_is_anon(variant->kind) &&
	    !memory_is_hugetlb(variant->kind))
		EXPECT_LE(mem->count / 2, markers);
}

/* Pages are moved in some way while they are scanned. */
struct moving {
	struct memory *mem;
	unsigned long moves;
	bool stop;
};

static void *move_all_the_time(void *argument)
{
	struct moving *moving = argument;
	struct memory *mem = moving->mem;
	size_t count = mem->count, i;
	void **pages = calloc(count, sizeof(*pages));
	int *nodes = calloc(count, sizeof(*nodes));
	int *status = calloc(count, sizeof(*status));
	int node = 0;

	for (i = 0; i < count; i++)
		pages[i] = mem->addr + i * mem->granule;
	while (!__atomic_load_n(&moving->stop, __ATOMIC_RELAXED)) {
		node = !node;
		for (i = 0; i < count; i++)
			nodes[i] = node;
		syscall(__NR_move_pages, 0, count, pages, nodes, status,
			MPOL_MF_MOVE_ALL);
	}
	free(pages);
	free(nodes);
	free(status);
	return NULL;
}

static void *swap_all_the_time(void *argument)
{
	struct moving *moving = argument;
	struct memory *mem = moving->mem;

	while (!__atomic_load_n(&moving->stop, __ATOMIC_RELAXED)) {
		madvise(mem->addr, mem->size, MADV_PAGEOUT);
		read_all(mem);
	}
	return NULL;
}

/* Huge entries come, by a fault, and go. */
static void *drop_all_the_time(void *argument)
{
	struct moving *moving = argument;
	struct memory *mem = moving->mem;

	while (!__atomic_load_n(&moving->stop, __ATOMIC_RELAXED)) {
		madvise(mem->addr, mem->size, MADV_DONTNEED);
		write_set(mem, every_granule);
		moving->moves++;
	}
	return NULL;
}

/* Huge entries become small ones, and small ones huge ones. */
static void *collapse_all_the_time(void *argument)
{
	struct moving *moving = argument;
	struct memory *mem = moving->mem;
	char *inside = mem->addr + page_size();

	while (!__atomic_load_n(&moving->stop, __ATOMIC_RELAXED)) {
		mprotect(inside, page_size(), PROT_READ);
		mprotect(inside, page_size(), PROT_READ | PROT_WRITE);
		if (!madvise(mem->addr, mem->size, MADV_COLLAPSE))
			moving->moves++;
	}
	return NULL;
}

/* Huge pages, not registered. */
FIXTURE(page_in_motion) {
	struct memory mem;
	int pagemap;
};

FIXTURE_VARIANT(page_in_motion) {
	enum layout layout;
};

FIXTURE_VARIANT_ADD(page_in_motion, VER1) { LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(page_in_motion, PM) { LAYOUT_PM };

FIXTURE_SETUP(page_in_motion)
{
	if (!machine_has(NEED_THP))
		SKIP(_exit(255), "needs transparent huge pages");
	self->pagemap = pagemap_open(getpid());
	ASSERT_EQ(0, memory_map(&self->mem, MEMORY_THP));
	ASSERT_EQ(0, memory_populate(&self->mem));
}

FIXTURE_TEARDOWN(page_in_motion)
{
	close(self->pagemap);
	memory_unmap(&self->mem);
}

TEST_F_TIMEOUT(kind, page_on_the_move_is_present, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t pages = mem->size / page_size(), i, seen = 0;
	__u64 *before = calloc(pages, sizeof(*before));
	__u64 *now = calloc(pages, sizeof(*now));
	struct moving moving = { .mem = mem };
	time_t end = seconds() + TIMEOUT / 2;
	pthread_t mover;
	int round;

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "needs two nodes");
	ASSERT_EQ(0, scan_categories(self->tracking.pagemap, variant->layout,
				     mem->addr, mem->size, before));
	ASSERT_EQ(0, pthread_create(&mover, NULL, move_all_the_time, &moving));
	/*
	 * pagemap does not show a page on the move as present: that the case
	 * saw some between its scans tells that the scans met some, too.
	 */
	for (round = 0; (round < 15 || seen < 3) && seconds() < end; round++) {
		size_t wrong = 0;

		ASSERT_EQ(0, scan_categories(self->tracking.pagemap,
					     variant->layout, mem->addr,
					     mem->size, now));
		for (i = 0; i < pages; i++)
			wrong += now[i] != before[i];
		EXPECT_EQ(0, wrong);
		seen += pages_with(self->tracking.pagemap, mem->addr,
				   mem->size, PAGEMAP_PRESENT) != pages;
	}
	__atomic_store_n(&moving.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(mover, NULL));
	EXPECT_LE(3, seen);
	free(before);
	free(now);
}

TEST_F_TIMEOUT(page_in_motion, swapping_never_hides_a_page, TIMEOUT)
{
	struct memory *mem = &self->mem;
	size_t pages = mem->size / page_size(), i, swapped = 0, present = 0;
	struct moving moving = { .mem = mem };
	__u64 *now = calloc(pages, sizeof(*now));
	time_t end = seconds() + TIMEOUT / 2;
	pthread_t swapper;
	int round;

	if (!machine_has(NEED_SWAP))
		SKIP(return, "needs swap");
	ASSERT_EQ(0, pthread_create(&swapper, NULL, swap_all_the_time,
				    &moving));
	for (round = 0; (round < 200 || !swapped || !present) &&
	     seconds() < end; round++) {
		size_t wrong = 0;

		ASSERT_EQ(0, scan_categories(self->pagemap, variant->layout,
					     mem->addr, mem->size, now));
		for (i = 0; i < pages; i++) {
			__u64 c = now[i] & ~(__u64)PAGE_IS_HUGE &
				  KIND_CATEGORIES;

			swapped += c == (PAGE_IS_SWAPPED | PAGE_IS_WRITTEN);
			present += c == (PAGE_IS_PRESENT | PAGE_IS_WRITTEN);
			wrong += c != (PAGE_IS_SWAPPED | PAGE_IS_WRITTEN) &&
				 c != (PAGE_IS_PRESENT | PAGE_IS_WRITTEN);
		}
		EXPECT_EQ(0, wrong);
	}
	__atomic_store_n(&moving.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(swapper, NULL));
	EXPECT_LT(0, swapped);
	EXPECT_LT(0, present);
	free(now);
}

TEST_F_TIMEOUT(page_in_motion, dropping_never_hides_a_page, TIMEOUT)
{
	struct memory *mem = &self->mem;
	size_t pages = mem->size / page_size(), i, present = 0, holes = 0;
	struct moving moving = { .mem = mem };
	__u64 *now = calloc(pages, sizeof(*now));
	time_t end = seconds() + TIMEOUT / 2;
	pthread_t dropper;
	int round;

	ASSERT_EQ(0, pthread_create(&dropper, NULL, drop_all_the_time,
				    &moving));
	for (round = 0; (round < 500 || !present || !holes) &&
	     seconds() < end; round++) {
		size_t wrong = 0;

		ASSERT_EQ(0, scan_categories(self->pagemap, variant->layout,
					     mem->addr, mem->size, now));
		for (i = 0; i < pages; i++) {
			__u64 c = now[i] & KIND_CATEGORIES;

			present += !!(c & PAGE_IS_PRESENT);
			holes += !c;
			wrong += c && c != (PAGE_IS_PRESENT | PAGE_IS_WRITTEN |
					    PAGE_IS_HUGE);
		}
		EXPECT_EQ(0, wrong);
	}
	__atomic_store_n(&moving.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(dropper, NULL));
	EXPECT_LT(0, moving.moves);
	EXPECT_LT(0, present);
	EXPECT_LT(0, holes);
	free(now);
}

TEST_F_TIMEOUT(page_in_motion, collapsing_never_hides_a_page, TIMEOUT)
{
	struct memory *mem = &self->mem;
	size_t pages = mem->size / page_size(), i, huge = 0, small = 0;
	struct moving moving = { .mem = mem };
	__u64 *now = calloc(pages, sizeof(*now));
	time_t end = seconds() + TIMEOUT / 2;
	pthread_t collapser;
	int round;

	ASSERT_EQ(0, madvise(mem->addr, mem->size, MADV_HUGEPAGE));
	ASSERT_EQ(0, pthread_create(&collapser, NULL, collapse_all_the_time,
				    &moving));
	for (round = 0; (round < 200 || !huge || !small) && seconds() < end;
	     round++) {
		size_t wrong = 0;

		ASSERT_EQ(0, scan_categories(self->pagemap, variant->layout,
					     mem->addr, mem->size, now));
		for (i = 0; i < pages; i++) {
			__u64 c = now[i] & KIND_CATEGORIES;

			huge += !!(c & PAGE_IS_HUGE);
			small += !(c & PAGE_IS_HUGE);
			wrong += (c & ~(__u64)PAGE_IS_HUGE) !=
				 (PAGE_IS_PRESENT | PAGE_IS_WRITTEN);
		}
		EXPECT_EQ(0, wrong);
	}
	__atomic_store_n(&moving.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(collapser, NULL));
	EXPECT_LT(0, moving.moves);
	EXPECT_LT(0, huge);
	EXPECT_LT(0, small);
	free(now);
}

/* The pagemap file, and how to ask it. */
struct question {
	int pagemap;
	enum layout layout;
};

/* Single pages, in every layout. */
FIXTURE(page) {
	struct question question;
};

FIXTURE_VARIANT(page) {
	enum layout layout;
};

FIXTURE_VARIANT_ADD(page, VER0) { LAYOUT_VER0 };
FIXTURE_VARIANT_ADD(page, VER1) { LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(page, PM) { LAYOUT_PM };

FIXTURE_SETUP(page)
{
	self->question.layout = variant->layout;
	self->question.pagemap = pagemap_open(getpid());
	ASSERT_LE(0, self->question.pagemap);
}

FIXTURE_TEARDOWN(page)
{
	close(self->question.pagemap);
}

static int check(const struct question *question, const void *addr, size_t pages,
		 __u64 expected)
{
	return check_categories(question->pagemap, question->layout, addr,
				pages * page_size(), KIND_CATEGORIES, expected);
}

/* Two anonymous huge pages' worth of addresses, for which THP is on. */
static char *map_for_huge_pages(void)
{
	char *p = reserve_addresses(2 * huge_size(), huge_size());

	if (!p || map_fixed(p, 2 * huge_size(), PROT_READ | PROT_WRITE) ||
	    madvise(p, 2 * huge_size(), MADV_HUGEPAGE))
		return NULL;
	return p;
}

TEST_F_TIMEOUT(page, zero_page, TIMEOUT)
{
	char *p = map_pages(4, PROT_READ | PROT_WRITE);

	ASSERT_TRUE(!!p);
	touch_read(p);
	touch_read(p + page_size());
	EXPECT_EQ(0, check(&self->question, p, 2, PAGE_IS_PRESENT | PAGE_IS_PFNZERO |
			   PAGE_IS_WRITTEN));
	/* The first write makes it a page like any other. */
	touch_write(p, 1);
	EXPECT_EQ(0, check(&self->question, p, 1, PAGE_IS_PRESENT | PAGE_IS_WRITTEN));
}

TEST_F_TIMEOUT(page, huge_zero_page, TIMEOUT)
{
	char *p = map_for_huge_pages();

	if (!machine_has(NEED_THP | NEED_PAGE_FLAGS))
		SKIP(return, "needs transparent huge pages");
	ASSERT_TRUE(!!p);
	touch_read(p);
	ASSERT_EQ(KPAGE_ZERO | KPAGE_THP, page_flags(self->question.pagemap, p) &
		  (KPAGE_ZERO | KPAGE_THP));
	EXPECT_EQ(0, check(&self->question, p, huge_size() / page_size(),
			   PAGE_IS_PRESENT | PAGE_IS_PFNZERO | PAGE_IS_HUGE |
			   PAGE_IS_WRITTEN));
	/* Split into small ones. */
	ASSERT_EQ(0, mprotect(p, page_size(), PROT_READ));
	EXPECT_EQ(0, check(&self->question, p, 8, PAGE_IS_PRESENT | PAGE_IS_PFNZERO |
			   PAGE_IS_WRITTEN));
}

TEST_F_TIMEOUT(page, huge_page_mapped_by_small_entries, TIMEOUT)
{
	char *p = map_for_huge_pages();

	if (!machine_has(NEED_THP | NEED_PAGE_FLAGS))
		SKIP(return, "needs transparent huge pages");
	ASSERT_TRUE(!!p);
	touch_write(p, 1);
	EXPECT_EQ(0, check(&self->question, p, huge_size() / page_size(),
			   PAGE_IS_PRESENT | PAGE_IS_HUGE | PAGE_IS_WRITTEN));
	ASSERT_EQ(0, mprotect(p, page_size(), PROT_READ));
	/* The page is still huge, but its entries are not. */
	ASSERT_TRUE(page_flags(self->question.pagemap, p) & KPAGE_THP);
	EXPECT_EQ(0, check(&self->question, p, huge_size() / page_size(),
			   PAGE_IS_PRESENT | PAGE_IS_WRITTEN));
}

/* In a private mapping the page tells: there may be anonymous ones beside it. */
TEST_F_TIMEOUT(page, huge_page_of_a_file_that_is_mapped_privately, TIMEOUT)
{
	char *p = reserve_addresses(huge_size(), huge_size());
	struct memory mem;

	if (!machine_has(NEED_THP))
		SKIP(return, "needs transparent huge pages");
	ASSERT_TRUE(!!p);
	ASSERT_EQ(0, memory_map(&mem, MEMORY_MEMFD_THP));
	ASSERT_EQ(0, memory_populate(&mem));
	ASSERT_EQ(p, mmap(p, huge_size(), PROT_READ | PROT_WRITE, MAP_FIXED |
			  MAP_PRIVATE, mem.fd, 0));
	ASSERT_EQ(0, madvise(p, huge_size(), MADV_HUGEPAGE));
	touch_read(p);
	ASSERT_EQ((long)huge_size(), huge_mapped_bytes(p));
	EXPECT_EQ(0, check(&self->question, p, huge_size() / page_size(),
			   PAGE_IS_PRESENT | PAGE_IS_FILE | PAGE_IS_HUGE |
			   PAGE_IS_WRITTEN));
	/* A copy of one of them, and small entries for the others. */
	touch_write(p, 1);
	EXPECT_EQ(0, check(&self->question, p, 1, PAGE_IS_PRESENT |
			   PAGE_IS_WRITTEN));
	touch_read(p + page_size());
	EXPECT_EQ(0, check(&self->question, p + page_size(), 1,
			   PAGE_IS_PRESENT | PAGE_IS_FILE | PAGE_IS_WRITTEN));
	memory_unmap(&mem);
}

TEST_F_TIMEOUT(page, swapped_page, TIMEOUT)
{
	struct memory mem;

	if (!machine_has(NEED_SWAP))
		SKIP(return, "needs swap");
	ASSERT_EQ(0, memory_map(&mem, MEMORY_ANON));
	ASSERT_EQ(0, memory_populate(&mem));
	ASSERT_EQ(0, memory_page_out(&mem));
	EXPECT_EQ(0, check(&self->question, mem.addr, mem.count, PAGE_IS_SWAPPED |
			   PAGE_IS_WRITTEN));
	memory_read(&mem, 0);
	EXPECT_EQ(0, check(&self->question, mem.addr, 1, PAGE_IS_PRESENT |
			   PAGE_IS_WRITTEN));
	memory_unmap(&mem);
}

TEST_F_TIMEOUT(page, swapped_page_that_is_protected, TIMEOUT)
{
	struct tracking tracking;

	if (!machine_has(NEED_SWAP))
		SKIP(return, "needs swap");
	ASSERT_EQ(0, tracking_begin(&tracking, MEMORY_ANON, self->question.layout));
	ASSERT_EQ(0, tracking_populate(&tracking));
	ASSERT_EQ(0, memory_page_out(&tracking.mem));
	EXPECT_EQ(0, check(&self->question, tracking.mem.addr, tracking.mem.count,
			   PAGE_IS_SWAPPED | PAGE_IS_WPALLOWED));
	EXPECT_EQ(0, tracking_end(&tracking));
}

/* The page cache has the swap entry, the page table has nothing. */
TEST_F_TIMEOUT(page, swapped_page_of_shared_memory, TIMEOUT)
{
	struct memory mem;

	if (!machine_has(NEED_SWAP))
		SKIP(return, "needs swap");
	ASSERT_EQ(0, memory_map(&mem, MEMORY_SHMEM));
	ASSERT_EQ(0, memory_populate(&mem));
	ASSERT_EQ(0, memory_page_out(&mem));
	EXPECT_EQ(0, check(&self->question, mem.addr, mem.count, 0));
	memory_unmap(&mem);
}

/* An entry of which swapoff(2) could not read the page. */
TEST_F_TIMEOUT(page, swapin_error, TIMEOUT)
{
	struct tracking tracking;
	struct memory *mem = &tracking.mem;
	size_t i, broken = 0;
	int off;

	if (!machine_has(NEED_SWAP))
		SKIP(return, "needs swap");
	ASSERT_EQ(0, tracking_begin(&tracking, MEMORY_ANON, self->question.layout));
	ASSERT_EQ(0, memory_populate(mem));
	ASSERT_EQ(0, memory_page_out(mem));
	/* When they go out unchanged, they also leave the swap cache. */
	read_all(mem);
	ASSERT_EQ(0, memory_page_out(mem));
	ASSERT_EQ(0, machine_break_swap(true));
	off = machine_swap_off();
	ASSERT_EQ(0, machine_break_swap(false));
	ASSERT_EQ(0, off);
	ASSERT_EQ(0, machine_swap_on());

	/* A call for each page */
	spare_ioctls();
	/*
	 * Reading such a page is a bus error; pagemap shows it as swapped.  A
	 * few may have been in the swap cache all the same.
	 */
	for (i = 0; i < mem->count; i++) {
		char *p = mem->addr + i * page_size();

		if (!(pagemap_entry(self->question.pagemap, p) &
		      PAGEMAP_SWAPPED))
			continue;
		broken++;
		EXPECT_EQ(0, check_categories(self->question.pagemap,
					      self->question.layout, p,
					      page_size(), KIND_CATEGORIES &
					      ~(__u64)PAGE_IS_WPALLOWED, 0));
	}
	EXPECT_LE(mem->count / 2, broken);
	EXPECT_EQ(0, protect_written(&tracking));
	EXPECT_EQ(0, check_written(&tracking, no_granule));
	EXPECT_EQ(0, tracking_end(&tracking));
}

TEST_F_TIMEOUT(page, poisoned_page, TIMEOUT)
{
	struct tracking tracking;
	char *p;

	ASSERT_EQ(0, tracking_begin(&tracking, MEMORY_ANON, self->question.layout));
	ASSERT_EQ(0, memory_populate(&tracking.mem));
	p = tracking.mem.addr + page_size();
	if (madvise(p, page_size(), MADV_HWPOISON))
		SKIP(return, "needs MADV_HWPOISON");
	ASSERT_FALSE(pagemap_entry(self->question.pagemap, p) & PAGEMAP_PRESENT);
	EXPECT_EQ(0, check_categories(self->question.pagemap, self->question.layout, p,
				      page_size(), KIND_CATEGORIES &
				      ~(__u64)PAGE_IS_WPALLOWED, 0));
	EXPECT_EQ(0, check(&self->question, p + page_size(), 1, PAGE_IS_PRESENT |
			   PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN));
	/* It does not get in the way of protecting the others. */
	EXPECT_EQ(0, protect_written(&tracking));
	EXPECT_EQ(0, check_written(&tracking, no_granule));
	EXPECT_EQ(0, tracking_end(&tracking));
}

TEST_F_TIMEOUT(page, poisoned_hugetlb_page, TIMEOUT)
{
	struct tracking tracking;
	char *p;

	if (!machine_has(NEED_HUGETLB))
		SKIP(return, "needs huge pages");
	ASSERT_EQ(0, tracking_begin(&tracking, MEMORY_HUGETLB_PRIVATE,
				    self->question.layout));
	ASSERT_EQ(0, memory_populate(&tracking.mem));
	p = tracking.mem.addr + 2 * huge_size();
	if (madvise(p, page_size(), MADV_HWPOISON))
		SKIP(return, "needs MADV_HWPOISON");
	ASSERT_FALSE(pagemap_entry(self->question.pagemap, p) & PAGEMAP_PRESENT);
	EXPECT_EQ(0, check_categories(self->question.pagemap, self->question.layout, p,
				      huge_size(), KIND_CATEGORIES &
				      ~(__u64)PAGE_IS_WPALLOWED, 0));
	EXPECT_EQ(0, protect_written(&tracking));
	EXPECT_EQ(0, check_written(&tracking, no_granule));
	EXPECT_EQ(0, tracking_end(&tracking));
}

/*
 * Pages that a device has taken, by the driver that exists for tests, which
 * has no ioctl for 32-bit programs.
 */
#if __SIZEOF_POINTER__ == 8
static int open_device(struct memory *mem, struct hmm_dmirror_cmd *command)
{
	int fd = open("/dev/hmm_dmirror0", O_RDWR);

	*command = (struct hmm_dmirror_cmd) {
		.addr = address(mem->addr),
		.ptr = address(malloc(mem->size)),
		.npages = mem->size / page_size(),
	};
	return fd;
}

static int check_device_pages(const struct question *question, unsigned long request,
			      struct tracking *tracking)
{
	struct memory *mem = &tracking->mem;
	struct hmm_dmirror_cmd command;
	int device = open_device(mem, &command);

	if (ioctl(device, request, &command)) {
		perror("# hmm_dmirror");
		return -1;
	}
	/* pagemap, too, shows them as swapped. */
	if (pages_with(question->pagemap, mem->addr, mem->size,
		       PAGEMAP_SWAPPED) != mem->count)
		return -1;
	if (check(question, mem->addr, mem->count, PAGE_IS_SWAPPED |
		  PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN))
		return -1;

	/* They are tracked like others: protected, read, and written. */
	if (protect_written(tracking) ||
	    check(question, mem->addr, mem->count, PAGE_IS_SWAPPED |
		  PAGE_IS_WPALLOWED))
		return -1;
	memory_read(mem, 0);
	if (check_written(tracking, no_granule) ||
	    check(question, mem->addr, 1, PAGE_IS_PRESENT | PAGE_IS_WPALLOWED))
		return -1;
	write_set(mem, some_granules);
	if (check_written(tracking, some_granules))
		return -1;
	close(device);
	return 0;
}

TEST_F_TIMEOUT(page, device_private_page, TIMEOUT)
{
	struct tracking tracking;

	if (access("/dev/hmm_dmirror0", R_OK | W_OK))
		SKIP(return, "needs CONFIG_TEST_HMM");
	ASSERT_EQ(0, tracking_begin(&tracking, MEMORY_ANON, self->question.layout));
	ASSERT_EQ(0, memory_populate(&tracking.mem));
	EXPECT_EQ(0, check_device_pages(&self->question, HMM_DMIRROR_MIGRATE_TO_DEV,
					&tracking));
	EXPECT_EQ(0, tracking_end(&tracking));
}

/* A writable entry, which protecting has to replace. */
TEST_F_TIMEOUT(page, device_private_page_keeps_soft_dirty, TIMEOUT)
{
	struct hmm_dmirror_cmd command;
	struct tracking tracking;
	struct memory *mem = &tracking.mem;
	int device;
	size_t i;

	if (access("/dev/hmm_dmirror0", R_OK | W_OK))
		SKIP(return, "needs CONFIG_TEST_HMM");
	ASSERT_EQ(0, tracking_begin(&tracking, MEMORY_ANON, variant->layout));
	ASSERT_EQ(0, memory_populate(mem));
	ASSERT_EQ(0, tunable_write("/proc/self/clear_refs", "4"));
	write_set(mem, some_granules);
	device = open_device(mem, &command);
	ASSERT_EQ(0, ioctl(device, HMM_DMIRROR_MIGRATE_TO_DEV, &command));
	ASSERT_EQ(0, protect_written(&tracking));
	ASSERT_EQ(mem->count, pages_with(tracking.pagemap, mem->addr,
					 mem->size, PAGEMAP_SWAPPED));
	/* A call for each page */
	spare_ioctls();
	for (i = 0; i < mem->count; i++) {
		const char *p = mem->addr + i * page_size();

		ASSERT_EQ(some_granules(mem, i),
			  !!(pagemap_entry(tracking.pagemap, p) &
			     PAGEMAP_SOFT_DIRTY));
		ASSERT_EQ(0, check_categories(tracking.pagemap, variant->layout,
					      p, page_size(),
					      PAGE_IS_SOFT_DIRTY,
					      some_granules(mem, i) ?
					      PAGE_IS_SOFT_DIRTY : 0));
	}
	close(device);
	EXPECT_EQ(0, tracking_end(&tracking));
}

TEST_F_TIMEOUT(page, device_exclusive_page, TIMEOUT)
{
	struct tracking tracking;

	if (access("/dev/hmm_dmirror0", R_OK | W_OK))
		SKIP(return, "needs CONFIG_TEST_HMM");
	ASSERT_EQ(0, tracking_begin(&tracking, MEMORY_ANON, self->question.layout));
	ASSERT_EQ(0, memory_populate(&tracking.mem));
	EXPECT_EQ(0, check_device_pages(&self->question, HMM_DMIRROR_EXCLUSIVE,
					&tracking));
	EXPECT_EQ(0, tracking_end(&tracking));
}

#endif /* __SIZEOF_POINTER__ == 8 */

/* A driver's own page, which it maps itself and not by a fault. */
TEST_F_TIMEOUT(page, page_of_a_driver, TIMEOUT)
{
	int fd = open("/dev/hmm_dmirror0", O_RDWR), status;
	pid_t pid;
	char *p;

	if (fd < 0)
		SKIP(return, "needs CONFIG_TEST_HMM");
	p = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	EXPECT_EQ(0, check(&self->question, p, 1, PAGE_IS_PRESENT |
			   PAGE_IS_FILE | PAGE_IS_WRITTEN));

	/* Once it is gone, nobody brings it back. */
	ASSERT_EQ(0, madvise(p, page_size(), MADV_DONTNEED));
	EXPECT_EQ(0, check(&self->question, p, 1, 0));
	pid = fork();
	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		touch_read(p);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	munmap(p, page_size());
	close(fd);
}

/* Write-protection that is not async. */
TEST_F_TIMEOUT(page, sync_write_protection, TIMEOUT)
{
	__u64 features = UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	int uffd = uffd_create(0, &features);
	char *p = map_pages(4, PROT_READ | PROT_WRITE);

	ASSERT_LE(0, uffd);
	ASSERT_TRUE(!!p);
	memset(p, 1, 2 * page_size());
	ASSERT_EQ(0, uffd_register(uffd, p, 4 * page_size(),
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ(0, uffd_protect(uffd, p, page_size(), true));
	EXPECT_EQ(0, check(&self->question, p, 1, PAGE_IS_PRESENT));
	EXPECT_EQ(0, check(&self->question, p + page_size(), 1, PAGE_IS_PRESENT |
			   PAGE_IS_WRITTEN));
	/* Never touched, and not protected. */
	EXPECT_EQ(0, check(&self->question, p + 2 * page_size(), 2, PAGE_IS_WRITTEN));
	close(uffd);
}

TEST_F_TIMEOUT(page, untouched_page, TIMEOUT)
{
	char *p = map_pages(8, PROT_READ | PROT_WRITE);

	ASSERT_TRUE(!!p);
	EXPECT_EQ(0, check(&self->question, p, 8, 0));
	/* An empty entry beside others. */
	p[3 * page_size()] = 1;
	EXPECT_EQ(0, check(&self->question, p, 3, 0));
	EXPECT_EQ(0, check(&self->question, p + 4 * page_size(), 4, 0));
	ASSERT_EQ(0, munmap(p, page_size()));
}

/*
 * A range of addresses with a page in the middle, so large that the tables of
 * all levels lack on both sides of it, registered or not.
 */
static int check_sparse(const struct question *question, size_t size, bool registered)
{
	size_t middle = size / 2 + 5 * page_size();
	__u64 armed = registered ? PAGE_IS_WPALLOWED : 0;
	__u64 hole = registered ? PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN : 0;
	char *p = reserve_addresses(size, huge_size());
	struct page_region vec[4];
	struct scan scan = {
		.layout = question->layout,
		.start = address(p),
		.end = address(p) + size,
		.vec = vec,
		.vec_len = 4,
		.returned = KIND_CATEGORIES,
	};
	int uffd = uffd_create_async(), result = -1;
	struct page_region expected[] = {
		{ scan.start, scan.start + middle, hole },
		{ scan.start + middle, scan.start + middle + page_size(),
		  PAGE_IS_PRESENT | PAGE_IS_WRITTEN | armed },
		{ scan.start + middle + page_size(), scan.end, hole },
	};
	long regions;

	if (!p || uffd < 0 || map_fixed(p, size, PROT_READ | PROT_WRITE) ||
	    keep_pages_small(p, size) ||
	    (registered && uffd_register(uffd, p, size, UFFDIO_REGISTER_MODE_WP,
					 NULL)))
		return -1;
	p[middle] = 1;
	regions = scan_call(question->pagemap, &scan);
	if (!scan_check(&scan, regions) && regions == 3 &&
	    !memcmp(vec, expected, sizeof(expected)))
		result = 0;
	else
		fprintf(stderr, "# %ld regions, first %#llx to %#llx has %#llx\n",
			regions, (unsigned long long)vec[0].start,
			(unsigned long long)vec[0].end,
			(unsigned long long)vec[0].categories);

	/* The same question for one mask only. */
	scan.required = PAGE_IS_WRITTEN;
	scan.returned = PAGE_IS_WRITTEN;
	regions = scan_call(question->pagemap, &scan);
	if (scan_check(&scan, regions) || regions != 1 ||
	    vec[0].start != (registered ? scan.start : expected[1].start) ||
	    vec[0].end != (registered ? scan.end : expected[1].end))
		result = -1;
	close(uffd);
	munmap(p, size);
	return result;
}

#define GIB	(1024UL * 1024 * 1024)

TEST_F_TIMEOUT(page, hole_in_a_page_table, TIMEOUT)
{
	EXPECT_EQ(0, check_sparse(&self->question, 64 * page_size(), false));
	EXPECT_EQ(0, check_sparse(&self->question, 64 * page_size(), true));
}

TEST_F_TIMEOUT(page, hole_without_page_table, TIMEOUT)
{
	EXPECT_EQ(0, check_sparse(&self->question, 16 * huge_size(), false));
	EXPECT_EQ(0, check_sparse(&self->question, 16 * huge_size(), true));
}

TEST_F_TIMEOUT(page, hole_without_middle_table, TIMEOUT)
{
	size_t size = sizeof(long) == 8 ? 16 * GIB : GIB;

	EXPECT_EQ(0, check_sparse(&self->question, size, false));
	EXPECT_EQ(0, check_sparse(&self->question, size, true));
}

#if __SIZEOF_POINTER__ == 8
TEST_F_TIMEOUT(page, hole_without_upper_table, TIMEOUT)
{
	EXPECT_EQ(0, check_sparse(&self->question, 4096 * GIB, false));
	EXPECT_EQ(0, check_sparse(&self->question, 4096 * GIB, true));
}
#endif

/* Find a mapping by the name that maps gives it. */
static bool find_mapping(const char *name, __u64 *start, __u64 *end)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool found = false;

	while (maps && !found && fgets(line, sizeof(line), maps)) {
		unsigned long long first, last;

		if (strstr(line, name) &&
		    sscanf(line, "%llx-%llx", &first, &last) == 2) {
			*start = first;
			*end = last;
			found = true;
		}
	}
	if (maps)
		fclose(maps);
	return found;
}

TEST_F_TIMEOUT(page, mapping_of_frame_numbers_is_passed_over, TIMEOUT)
{
	struct page_region vec[4];
	__u64 start, end, vdso, vdso_end;
	struct scan scan = {
		.layout = self->question.layout,
		.vec = vec,
		.vec_len = 4,
	};
	struct timespec now;

	/* The kernel's data page is mapped by frame number, and touched. */
	if (!find_mapping("[vvar]", &start, &end) ||
	    !find_mapping("[vdso]", &vdso, &vdso_end))
		SKIP(return, "needs a vdso");
	clock_gettime(CLOCK_MONOTONIC, &now);
	ASSERT_TRUE(vma_has_flag((void *)(uintptr_t)start, "pf"));

	scan.start = start;
	scan.end = end;
	EXPECT_EQ(0, scan_call(self->question.pagemap, &scan));
	EXPECT_EQ(end, scan.walk_end);

	/* Its neighbour is not. */
	ASSERT_EQ(end, vdso);
	scan.end = vdso_end;
	ASSERT_EQ(1, scan_call(self->question.pagemap, &scan));
	EXPECT_EQ(vdso, vec[0].start);
	EXPECT_EQ(vdso_end, vec[0].end);
}

/* Soft-dirty, which must be what bit 55 of pagemap says. */
static int compare_soft_dirty(const struct question *question, char *p, size_t pages,
			      size_t *dirty)
{
	__u64 *categories = calloc(pages, sizeof(*categories));
	size_t i;
	int result = scan_categories(question->pagemap, question->layout, p,
				     pages * page_size(), categories);

	*dirty = 0;
	for (i = 0; i < pages && !result; i++) {
		bool expected = pagemap_entry(question->pagemap,
					      p + i * page_size()) &
				PAGEMAP_SOFT_DIRTY;

		*dirty += expected;
		if (expected == !!(categories[i] & PAGE_IS_SOFT_DIRTY))
			continue;
		fprintf(stderr, "# page %zu of %zu has %#llx\n", i, pages,
			(unsigned long long)categories[i]);
		result = -1;
	}
	free(categories);
	return result;
}

TEST_F_TIMEOUT(page, soft_dirty_is_bit_55_of_pagemap, TIMEOUT)
{
	static const enum memory_kind kinds[] = {
		MEMORY_ANON, MEMORY_THP, MEMORY_MEMFD, MEMORY_MEMFD_THP,
		MEMORY_EXT4_PRIVATE, MEMORY_EXT4_SHARED, MEMORY_HUGETLB_PRIVATE,
		MEMORY_HUGETLB_SHARED,
	};
	size_t i, dirty, pages, granules;

	if (!machine_has_soft_dirty())
		SKIP(return, "needs soft-dirty");
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct memory mem;

		if (!machine_has(memory_needs(kinds[i])))
			continue;
		ASSERT_EQ(0, memory_map(&mem, kinds[i]));
		pages = mem.size / page_size();
		granules = mem.granule / page_size();

		/* A new mapping is dirty all over, holes included. */
		EXPECT_EQ(0, compare_soft_dirty(&self->question, mem.addr, pages, &dirty));
		ASSERT_EQ(pages, dirty);
		memory_write(&mem, 0);
		EXPECT_EQ(0, compare_soft_dirty(&self->question, mem.addr, pages, &dirty));

		/* Then, only what is written. */
		ASSERT_EQ(0, tunable_write("/proc/self/clear_refs", "4"));
		EXPECT_EQ(0, compare_soft_dirty(&self->question, mem.addr, pages, &dirty));
		ASSERT_EQ(0, dirty);
		memory_write(&mem, 1);
		EXPECT_EQ(0, compare_soft_dirty(&self->question, mem.addr, pages, &dirty));
		if (!memory_is_hugetlb(kinds[i])) {
			EXPECT_LE(1, dirty);
			EXPECT_GE(granules + huge_size() / page_size(), dirty);
		}
		memory_unmap(&mem);
	}
}

TEST_F_TIMEOUT(page, soft_dirty_of_swapped_pages, TIMEOUT)
{
	struct memory mem;
	size_t dirty;

	if (!machine_has(NEED_SWAP) || !machine_has_soft_dirty())
		SKIP(return, "needs swap, and soft-dirty");
	ASSERT_EQ(0, memory_map(&mem, MEMORY_ANON));
	ASSERT_EQ(0, memory_populate(&mem));
	ASSERT_EQ(0, tunable_write("/proc/self/clear_refs", "4"));
	memory_write(&mem, 1);
	ASSERT_EQ(0, memory_page_out(&mem));
	EXPECT_EQ(0, compare_soft_dirty(&self->question, mem.addr, mem.count, &dirty));
	EXPECT_EQ(1, dirty);
	memory_unmap(&mem);
}

/* All mappings of the process: the answer agrees with pagemap's. */
static int compare_with_pagemap(const struct question *question, __u64 start,
				__u64 end, size_t *compared)
{
	size_t pages = (end - start) / page_size(), i, chances = 3;
	__u64 *categories = calloc(pages, sizeof(*categories));
	char *p = (char *)(uintptr_t)start;
	int result = -1;

	/* What this function itself touches may change in between. */
	while (result && chances--) {
		if (scan_categories(question->pagemap, question->layout, p, end - start,
				    categories))
			break;
		for (i = 0; i < pages; i++) {
			__u64 entry = pagemap_entry(question->pagemap,
						       p + i * page_size());
			__u64 expected =
				(entry & PAGEMAP_PRESENT ? PAGE_IS_PRESENT : 0) |
				(entry & PAGEMAP_SWAPPED ? PAGE_IS_SWAPPED : 0) |
				(entry & PAGEMAP_FILE ? PAGE_IS_FILE : 0) |
				(entry & PAGEMAP_SOFT_DIRTY ?
				 PAGE_IS_SOFT_DIRTY : 0);
			__u64 seen = categories[i] &
				     (PAGE_IS_PRESENT | PAGE_IS_SWAPPED |
				      PAGE_IS_FILE | PAGE_IS_SOFT_DIRTY);

			if (categories[i] == NOT_REPORTED || seen != expected) {
				fprintf(stderr, "# %p has %#llx\n",
					p + i * page_size(),
					(unsigned long long)categories[i]);
				break;
			}
		}
		if (i == pages)
			result = 0;
	}
	*compared += pages;
	free(categories);
	return result;
}

TEST_F_TIMEOUT(page, all_mappings_of_the_process_agree_with_pagemap, TIMEOUT)
{
	static char maps[65536];
	size_t compared = 0, length = 0;
	char *line;
	ssize_t n;
	int fd;

	/* Read first, and walk then: the walk allocates. */
	fd = open("/proc/self/maps", O_RDONLY);
	ASSERT_LE(0, fd);
	while ((n = read(fd, maps + length, sizeof(maps) - 1 - length)) > 0)
		length += n;
	close(fd);
	for (line = strtok(maps, "\n"); line; line = strtok(NULL, "\n")) {
		unsigned long long start, end;

		start = strtoull(line, &line, 16);
		end = strtoull(line + 1, &line, 16);
		if (strstr(line, "[vvar]") || strstr(line, "[vsyscall]") ||
		    strstr(line, "[heap]") || strstr(line, "[stack]"))
			continue;
		EXPECT_EQ(0, compare_with_pagemap(&self->question, start, end, &compared))
			TH_LOG("%s", line);
	}
	EXPECT_LT(100, compared);
}

static void __attribute__((constructor)) prepare(void)
{
	machine_prepare(NEED_ALL);
}

TEST_HARNESS_MAIN
