// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN: what changes the contents of tracked pages without a write is
 * reported, and what moves pages about without a change is not.
 */
#define _GNU_SOURCE
#include <fcntl.h>

#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

#define TIMEOUT	120

/* Memory that is populated and protected, so that no page is written. */
FIXTURE(contents) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(contents) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(contents, ANON_VER1) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, ANON_PM) { MEMORY_ANON, LAYOUT_PM };
FIXTURE_VARIANT_ADD(contents, THP_VER1) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, THP_PM) { MEMORY_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(contents, SHMEM_VER1) { MEMORY_SHMEM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, SHMEM_PM) { MEMORY_SHMEM, LAYOUT_PM };
FIXTURE_VARIANT_ADD(contents, MEMFD_VER1) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, MEMFD_PM) { MEMORY_MEMFD, LAYOUT_PM };
FIXTURE_VARIANT_ADD(contents, MEMFD_THP_VER1) { MEMORY_MEMFD_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, MEMFD_THP_PM) { MEMORY_MEMFD_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(contents, TMPFS_PRIVATE_VER1) { MEMORY_TMPFS_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, TMPFS_PRIVATE_PM) { MEMORY_TMPFS_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(contents, TMPFS_SHARED_VER1) { MEMORY_TMPFS_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, TMPFS_SHARED_PM) { MEMORY_TMPFS_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(contents, EXT4_PRIVATE_VER1) { MEMORY_EXT4_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, EXT4_PRIVATE_PM) { MEMORY_EXT4_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(contents, EXT4_SHARED_VER1) { MEMORY_EXT4_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, EXT4_SHARED_PM) { MEMORY_EXT4_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(contents, HUGETLB_PRIVATE_VER1) { MEMORY_HUGETLB_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, HUGETLB_PRIVATE_PM) { MEMORY_HUGETLB_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(contents, HUGETLB_SHARED_VER1) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, HUGETLB_SHARED_PM) { MEMORY_HUGETLB_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(contents, KSM_VER1) { MEMORY_KSM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(contents, KSM_PM) { MEMORY_KSM, LAYOUT_PM };

FIXTURE_SETUP(contents)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	ASSERT_EQ(0, tracking_populate(&self->tracking));
	self->mem = &self->tracking.mem;
}

FIXTURE_TEARDOWN(contents)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

static void read_all(struct memory *mem)
{
	size_t offset;

	for (offset = 0; offset < mem->size; offset += page_size())
		touch_read(mem->addr + offset);
}

/* Drop a set of granules from the page tables. */
static int dontneed_set(struct memory *mem, granule_set set)
{
	size_t i;

	for (i = 0; i < mem->count; i++) {
		if (set(mem, i) && madvise(mem->addr + i * mem->granule,
					   mem->granule, MADV_DONTNEED)) {
			perror("# MADV_DONTNEED");
			return -1;
		}
	}
	return 0;
}

static int punch_set(struct memory *mem, granule_set set)
{
	size_t i;

	for (i = 0; i < mem->count; i++) {
		if (set(mem, i) && memory_punch(mem, i, 1))
			return -1;
	}
	return 0;
}

/* Of a private mapping, the file's pages keep their contents; copies do not. */
static bool some_that_dontneed_drops(struct memory *mem, size_t granule)
{
	return some_granules(mem, granule) && memory_is_copied(mem, granule);
}

TEST_F_TIMEOUT(contents, dontneed_reads_as_written_if_private, TIMEOUT)
{
	ASSERT_EQ(0, dontneed_set(self->mem, some_granules));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_that_dontneed_drops));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));

	write_set(self->mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

TEST_F_TIMEOUT(contents, dontneed_and_read_reads_as_written_if_private,
	       TIMEOUT)
{
	size_t i;

	ASSERT_EQ(0, dontneed_set(self->mem, some_granules));
	for (i = 0; i < self->mem->count; i++)
		memory_read(self->mem, i);
	EXPECT_EQ(0, check_written(&self->tracking, some_that_dontneed_drops));
}

TEST_F_TIMEOUT(contents, dontneed_keeps_what_was_written, TIMEOUT)
{
	/*
	 * A page that is written and then dropped still is: the copy in a
	 * private mapping because it is lost, the shared page because no
	 * marker is made of an entry that was not protected.
	 */
	write_set(self->mem, some_granules);
	ASSERT_EQ(0, dontneed_set(self->mem, some_granules));
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

TEST_F_TIMEOUT(contents, mprotect_keeps_the_answer, TIMEOUT)
{
	struct memory *mem = self->mem;
	static const int prots[] = {
		PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE,
		PROT_READ | PROT_WRITE,
	};
	size_t i;

	write_set(mem, some_granules);
	for (i = 0; i < ARRAY_SIZE(prots); i++) {
		ASSERT_EQ(0, mprotect(mem->addr, mem->size, prots[i]));
		EXPECT_EQ(0, check_written(&self->tracking, some_granules));
	}
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	write_set(mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

TEST_F_TIMEOUT(contents, protecting_a_read_only_mapping_works, TIMEOUT)
{
	struct memory *mem = self->mem;

	write_set(mem, some_granules);
	ASSERT_EQ(0, mprotect(mem->addr, mem->size, PROT_READ));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	ASSERT_EQ(0, mprotect(mem->addr, mem->size, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

TEST_F_TIMEOUT(contents, protecting_an_inaccessible_mapping_works, TIMEOUT)
{
	struct memory *mem = self->mem;

	write_set(mem, some_granules);
	ASSERT_EQ(0, mprotect(mem->addr, mem->size, PROT_NONE));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	ASSERT_EQ(0, mprotect(mem->addr, mem->size, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

TEST_F_TIMEOUT(contents, migration_keeps_the_answer, TIMEOUT)
{
	struct memory *mem = self->mem;

	if (!machine_has(NEED_PAGE_FLAGS))
		SKIP(return, "needs page frame numbers");
	/* Written pages move as well as protected ones. */
	write_set(mem, some_granules);
	read_all(mem);
	ASSERT_EQ(0, check_written(&self->tracking, some_granules));
	ASSERT_EQ(0, memory_migrate(mem));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	ASSERT_EQ(0, memory_migrate(mem));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

TEST_F_TIMEOUT(contents, clearing_soft_dirty_keeps_the_answer, TIMEOUT)
{
	write_set(self->mem, some_granules);
	ASSERT_EQ(0, clear_soft_dirty(getpid()));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(self->mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

static int make_writable(void *addr, size_t size)
{
	return mprotect(addr, size, PROT_READ | PROT_WRITE);
}

static int munlock_all(void *addr, size_t size)
{
	return munlock(addr, size);
}

static int let_children_have(void *addr, size_t size)
{
	return madvise(addr, size, MADV_DOFORK);
}

static int map_at(char *p, size_t size, int prot)
{
	return mmap(p, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		    0) == p ? 0 : -1;
}

struct way_to_merge {
	const char *name;
	int old_prot;
	int (*make_equal)(void *addr, size_t size);
};

/* Old memory that is made like new one beside it is merged with it. */
TEST(merging_keeps_soft_dirty)
{
	static const struct way_to_merge ways[] = {
		{ "mprotect", PROT_READ, make_writable },
		{ "munlock", PROT_READ | PROT_WRITE, munlock_all },
		{ "madvise", PROT_READ | PROT_WRITE, let_children_have },
	};
	size_t i, size = 4 * page_size();
	int pagemap = pagemap_open(getpid());
	char *p;

	if (!machine_has_soft_dirty())
		SKIP(return, "needs soft-dirty");
	for (i = 0; i < 2 * ARRAY_SIZE(ways); i++) {
		const struct way_to_merge *way = &ways[i / 2];

		TH_LOG("%s%s", way->name, i % 2 ? ", with memory before" : "");
		p = reserve_addresses(5 * size, page_size());
		ASSERT_NE(NULL, p);
		p += 2 * size;
		if (i % 2)
			ASSERT_EQ(0, map_at(p - size, size,
					    PROT_READ | PROT_WRITE));
		ASSERT_EQ(0, map_at(p, size, way->old_prot));
		if (way->make_equal == munlock_all)
			ASSERT_EQ(0, mlock(p, size));
		if (way->make_equal == let_children_have)
			ASSERT_EQ(0, madvise(p, size, MADV_DONTFORK));
		ASSERT_EQ(0, clear_soft_dirty(getpid()));
		ASSERT_EQ(0, map_at(p + size, size, PROT_READ | PROT_WRITE));
		ASSERT_EQ(4, pages_with(pagemap, p + size, size,
					PAGEMAP_SOFT_DIRTY));
		ASSERT_EQ(0, way->make_equal(p, size));
		EXPECT_EQ(4, pages_with(pagemap, p + size, size,
					PAGEMAP_SOFT_DIRTY));
	}
	close(pagemap);
}

TEST_F_TIMEOUT(contents, protecting_keeps_soft_dirty, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t i, dirty;

	ASSERT_EQ(0, clear_soft_dirty(getpid()));
	write_set(mem, some_granules);
	dirty = pages_with(self->tracking.pagemap, mem->addr, mem->size,
			   PAGEMAP_SOFT_DIRTY);
	/* Without this, the case proves nothing; hugetlb has no soft-dirty. */
	if (!memory_is_hugetlb(variant->kind)) {
		for (i = 0; i < mem->count; i++) {
			bool expected = some_granules(mem, i);
			__u64 entry = pagemap_entry(self->tracking.pagemap,
						       mem->addr +
						       i * mem->granule);

			ASSERT_EQ(expected, !!(entry & PAGEMAP_SOFT_DIRTY));
		}
	}
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	EXPECT_EQ(dirty, pages_with(self->tracking.pagemap, mem->addr,
				    mem->size, PAGEMAP_SOFT_DIRTY));
	/* Taking the protection away must not look like a write, either. */
	ASSERT_EQ(0, uffd_protect(self->tracking.uffd, mem->addr, mem->size,
				  false));
	EXPECT_EQ(dirty, pages_with(self->tracking.pagemap, mem->addr,
				    mem->size, PAGEMAP_SOFT_DIRTY));
}

/* Memory whose pages reclaim can take away. */
FIXTURE(reclaimed) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(reclaimed) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(reclaimed, ANON_VER1) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(reclaimed, ANON_PM) { MEMORY_ANON, LAYOUT_PM };
FIXTURE_VARIANT_ADD(reclaimed, THP_VER1) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(reclaimed, THP_PM) { MEMORY_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(reclaimed, SHMEM_VER1) { MEMORY_SHMEM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(reclaimed, SHMEM_PM) { MEMORY_SHMEM, LAYOUT_PM };
FIXTURE_VARIANT_ADD(reclaimed, MEMFD_VER1) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(reclaimed, MEMFD_PM) { MEMORY_MEMFD, LAYOUT_PM };
FIXTURE_VARIANT_ADD(reclaimed, MEMFD_THP_VER1) { MEMORY_MEMFD_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(reclaimed, MEMFD_THP_PM) { MEMORY_MEMFD_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(reclaimed, TMPFS_PRIVATE_VER1) { MEMORY_TMPFS_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(reclaimed, TMPFS_PRIVATE_PM) { MEMORY_TMPFS_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(reclaimed, TMPFS_SHARED_VER1) { MEMORY_TMPFS_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(reclaimed, TMPFS_SHARED_PM) { MEMORY_TMPFS_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(reclaimed, EXT4_PRIVATE_VER1) { MEMORY_EXT4_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(reclaimed, EXT4_PRIVATE_PM) { MEMORY_EXT4_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(reclaimed, EXT4_SHARED_VER1) { MEMORY_EXT4_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(reclaimed, EXT4_SHARED_PM) { MEMORY_EXT4_SHARED, LAYOUT_PM };

FIXTURE_SETUP(reclaimed)
{
	if (!machine_has(memory_needs(variant->kind) | NEED_SWAP))
		SKIP(_exit(255), "needs swap, and this kind of memory");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	ASSERT_EQ(0, tracking_populate(&self->tracking));
	self->mem = &self->tracking.mem;
	/* Protecting has unmapped huge pages of a file. */
	read_all(self->mem);
	ASSERT_EQ(0, check_written(&self->tracking, no_granule));
}

FIXTURE_TEARDOWN(reclaimed)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

TEST_F_TIMEOUT(reclaimed, going_out_keeps_the_answer, TIMEOUT)
{
	write_set(self->mem, some_granules);
	ASSERT_EQ(0, memory_page_out(self->mem));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(reclaimed, coming_in_by_a_read_keeps_the_answer, TIMEOUT)
{
	write_set(self->mem, some_granules);
	ASSERT_EQ(0, memory_page_out(self->mem));
	read_all(self->mem);
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	read_all(self->mem);
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(reclaimed, write_is_reported_when_out, TIMEOUT)
{
	ASSERT_EQ(0, memory_page_out(self->mem));
	write_set(self->mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

TEST_F_TIMEOUT(reclaimed, write_is_reported_when_in_again, TIMEOUT)
{
	ASSERT_EQ(0, memory_page_out(self->mem));
	read_all(self->mem);
	ASSERT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(self->mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

TEST_F_TIMEOUT(reclaimed, pages_that_are_out_can_be_protected, TIMEOUT)
{
	write_set(self->mem, some_granules);
	ASSERT_EQ(0, memory_page_out(self->mem));
	ASSERT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	/* Protecting does not bring them in. */
	EXPECT_EQ(0, pages_with(self->tracking.pagemap, self->mem->addr,
				self->mem->size, PAGEMAP_PRESENT));
	read_all(self->mem);
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(self->mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

TEST_F_TIMEOUT(reclaimed, swapoff_keeps_the_answer, TIMEOUT)
{
	write_set(self->mem, some_granules);
	ASSERT_EQ(0, memory_page_out(self->mem));
	ASSERT_EQ(0, machine_swap_off());
	EXPECT_EQ(0, machine_swap_on());
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	write_set(self->mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

/* Memory with a file, of which parts can be cut out. */
FIXTURE(file) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(file) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(file, SHMEM_VER1) { MEMORY_SHMEM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(file, SHMEM_PM) { MEMORY_SHMEM, LAYOUT_PM };
FIXTURE_VARIANT_ADD(file, MEMFD_VER1) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(file, MEMFD_PM) { MEMORY_MEMFD, LAYOUT_PM };
FIXTURE_VARIANT_ADD(file, MEMFD_THP_VER1) { MEMORY_MEMFD_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(file, MEMFD_THP_PM) { MEMORY_MEMFD_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(file, TMPFS_PRIVATE_VER1) { MEMORY_TMPFS_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(file, TMPFS_PRIVATE_PM) { MEMORY_TMPFS_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(file, TMPFS_SHARED_VER1) { MEMORY_TMPFS_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(file, TMPFS_SHARED_PM) { MEMORY_TMPFS_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(file, EXT4_PRIVATE_VER1) { MEMORY_EXT4_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(file, EXT4_PRIVATE_PM) { MEMORY_EXT4_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(file, EXT4_SHARED_VER1) { MEMORY_EXT4_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(file, EXT4_SHARED_PM) { MEMORY_EXT4_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(file, HUGETLB_PRIVATE_VER1) { MEMORY_HUGETLB_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(file, HUGETLB_PRIVATE_PM) { MEMORY_HUGETLB_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(file, HUGETLB_SHARED_VER1) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(file, HUGETLB_SHARED_PM) { MEMORY_HUGETLB_SHARED, LAYOUT_PM };

FIXTURE_SETUP(file)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	ASSERT_EQ(0, tracking_populate(&self->tracking));
	self->mem = &self->tracking.mem;
}

FIXTURE_TEARDOWN(file)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

/* A private copy does not care for the file, but in hugetlbfs. */
static bool punching_drops(struct memory *mem, size_t granule)
{
	return mem->kind == MEMORY_HUGETLB_PRIVATE ||
	       !memory_is_copied(mem, granule);
}

static bool some_that_punching_drops(struct memory *mem, size_t granule)
{
	return some_granules(mem, granule) && punching_drops(mem, granule);
}

TEST_F_TIMEOUT(file, hole_drops_what_the_cases_below_say, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t i;

	ASSERT_EQ(0, punch_set(mem, every_granule));
	for (i = 0; i < mem->count; i++)
		ASSERT_EQ(punching_drops(mem, i) ? 0 : 0x5a5a5a5a,
			  touch_read(mem->addr + i * mem->granule));
}

TEST_F_TIMEOUT(file, hole_reads_as_written, TIMEOUT)
{
	ASSERT_EQ(0, punch_set(self->mem, some_granules));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_that_punching_drops));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(self->mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

TEST_F_TIMEOUT(file, hole_reads_as_written_when_it_is_read, TIMEOUT)
{
	ASSERT_EQ(0, punch_set(self->mem, some_granules));
	read_all(self->mem);
	EXPECT_EQ(0, check_written(&self->tracking, some_that_punching_drops));
}

TEST_F_TIMEOUT(file, hole_over_everything_reads_as_written, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t i;

	ASSERT_EQ(0, memory_punch(mem, 0, mem->count));
	for (i = 0; i < mem->count; i++) {
		struct scan scan = tracking_scan(&self->tracking, 0);
		struct page_region region;

		scan.start += i * mem->granule;
		scan.end = scan.start + mem->granule;
		scan.vec = &region;
		scan.vec_len = 1;
		ASSERT_EQ(punching_drops(mem, i),
			  scan_call(self->tracking.pagemap, &scan));
		ASSERT_EQ(0, scan_check(&scan, punching_drops(mem, i)));
	}
}

/* What is not mapped, but was protected, is a marker in the page table. */
static bool dropped_or_some(struct memory *mem, size_t granule)
{
	return memory_is_copied(mem, granule) || some_granules(mem, granule);
}

TEST_F_TIMEOUT(file, hole_where_no_page_is_mapped_reads_as_written, TIMEOUT)
{
	ASSERT_EQ(0, dontneed_set(self->mem, every_granule));
	EXPECT_EQ(0, pages_with(self->tracking.pagemap, self->mem->addr,
				self->mem->size, PAGEMAP_PRESENT));
	ASSERT_EQ(0, punch_set(self->mem, some_granules));
	EXPECT_EQ(0, check_written(&self->tracking, dropped_or_some));
}

/* Memory with a file that can be truncated. */
FIXTURE(truncated) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(truncated) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(truncated, MEMFD_VER1) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(truncated, MEMFD_PM) { MEMORY_MEMFD, LAYOUT_PM };
FIXTURE_VARIANT_ADD(truncated, MEMFD_THP_VER1) { MEMORY_MEMFD_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(truncated, MEMFD_THP_PM) { MEMORY_MEMFD_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(truncated, TMPFS_PRIVATE_VER1) { MEMORY_TMPFS_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(truncated, TMPFS_PRIVATE_PM) { MEMORY_TMPFS_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(truncated, TMPFS_SHARED_VER1) { MEMORY_TMPFS_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(truncated, TMPFS_SHARED_PM) { MEMORY_TMPFS_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(truncated, EXT4_PRIVATE_VER1) { MEMORY_EXT4_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(truncated, EXT4_PRIVATE_PM) { MEMORY_EXT4_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(truncated, EXT4_SHARED_VER1) { MEMORY_EXT4_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(truncated, EXT4_SHARED_PM) { MEMORY_EXT4_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(truncated, HUGETLB_PRIVATE_VER1) { MEMORY_HUGETLB_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(truncated, HUGETLB_PRIVATE_PM) { MEMORY_HUGETLB_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(truncated, HUGETLB_SHARED_VER1) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(truncated, HUGETLB_SHARED_PM) { MEMORY_HUGETLB_SHARED, LAYOUT_PM };

FIXTURE_SETUP(truncated)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	ASSERT_EQ(0, tracking_populate(&self->tracking));
	self->mem = &self->tracking.mem;
}

FIXTURE_TEARDOWN(truncated)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

/* Of the part that is cut off, private copies go as well. */
static bool second_half(struct memory *mem, size_t granule)
{
	return granule >= mem->count / 2;
}

TEST_F_TIMEOUT(truncated, page_reads_as_written, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, ftruncate(mem->fd, mem->size / 2));
	EXPECT_EQ(0, check_written(&self->tracking, second_half));
	ASSERT_EQ(0, ftruncate(mem->fd, mem->size));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking, second_half));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

TEST_F_TIMEOUT(truncated, page_reads_as_written_when_it_is_read, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, ftruncate(mem->fd, mem->size / 2));
	ASSERT_EQ(0, ftruncate(mem->fd, mem->size));
	read_all(mem);
	EXPECT_EQ(0, check_written(&self->tracking, second_half));
}

static bool dropped_or_second_half(struct memory *mem, size_t granule)
{
	return memory_is_copied(mem, granule) || second_half(mem, granule);
}

TEST_F_TIMEOUT(truncated, unmapped_page_reads_as_written, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, dontneed_set(mem, every_granule));
	EXPECT_EQ(0, pages_with(self->tracking.pagemap, mem->addr, mem->size,
				PAGEMAP_PRESENT));
	ASSERT_EQ(0, ftruncate(mem->fd, mem->size / 2));
	ASSERT_EQ(0, ftruncate(mem->fd, mem->size));
	EXPECT_EQ(0, check_written(&self->tracking, dropped_or_second_half));
}

/* Beyond the end of the file, protected holes stay what they are. */
TEST_F_TIMEOUT(truncated, protected_hole_is_not_written_by_growing, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, ftruncate(mem->fd, mem->size / 2));
	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, check_written(&self->tracking, no_granule));
	ASSERT_EQ(0, ftruncate(mem->fd, mem->size));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

/* Anonymous memory in both layouts, for what only it can do. */
FIXTURE(anon) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(anon) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(anon, ANON_VER1) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(anon, ANON_PM) { MEMORY_ANON, LAYOUT_PM };

FIXTURE_SETUP(anon)
{
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	self->mem = &self->tracking.mem;
}

FIXTURE_TEARDOWN(anon)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

TEST_F_TIMEOUT(anon, lazily_freed_page_reads_as_written_once_it_is_gone,
	       TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t pages = mem->size / page_size();
	int tries;

	if (!machine_has(NEED_SWAP))
		SKIP(return, "needs swap");
	ASSERT_EQ(0, tracking_populate(&self->tracking));
	drain_page_lists();
	ASSERT_EQ(0, madvise(mem->addr, mem->size, MADV_FREE));
	for (tries = 0; tries < 100; tries++) {
		drain_page_lists();
		ASSERT_EQ(0, madvise(mem->addr, mem->size, MADV_PAGEOUT));
		pages = pages_with(self->tracking.pagemap, mem->addr,
				   mem->size, PAGEMAP_PRESENT);
		if (!pages)
			break;
		usleep(10000);
	}
	ASSERT_EQ(0, pages);
	ASSERT_EQ(0, pages_with(self->tracking.pagemap, mem->addr, mem->size,
				PAGEMAP_SWAPPED));
	EXPECT_EQ(0, check_written(&self->tracking, every_granule));
}

/* Write what is there already, so that KSM can merge the pages. */
static void rewrite_set(struct memory *mem, granule_set set)
{
	size_t i;

	for (i = 0; i < mem->count; i++) {
		if (set(mem, i))
			touch_write(mem->addr + i * mem->granule, 0x5a5a5a5a);
	}
}

TEST_F_TIMEOUT(anon, merging_keeps_the_answer, TIMEOUT)
{
	if (!machine_has(memory_needs(MEMORY_KSM)))
		SKIP(return, "needs KSM");
	ASSERT_EQ(0, tracking_populate(&self->tracking));
	rewrite_set(self->mem, some_granules);
	ASSERT_EQ(0, check_written(&self->tracking, some_granules));
	ASSERT_EQ(0, memory_merge(self->mem));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	write_set(self->mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

TEST_F_TIMEOUT(anon, unmerging_keeps_the_answer, TIMEOUT)
{
	struct memory *mem = self->mem;

	if (!machine_has(memory_needs(MEMORY_KSM)))
		SKIP(return, "needs KSM");
	ASSERT_EQ(0, tracking_populate(&self->tracking));
	rewrite_set(mem, some_granules);
	ASSERT_EQ(0, memory_merge(mem));
	ASSERT_EQ(0, check_written(&self->tracking, some_granules));

	ASSERT_EQ(0, madvise(mem->addr, mem->size, MADV_UNMERGEABLE));
	ASSERT_EQ(0, memory_with_flags(mem, KPAGE_KSM));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	write_set(mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

TEST_F_TIMEOUT(anon, populating_by_madvise_loses_nothing, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, madvise(mem->addr, mem->size, MADV_POPULATE_READ));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	ASSERT_EQ(0, madvise(mem->addr, mem->size, MADV_POPULATE_WRITE));
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, no_granule));
	write_set(mem, some_granules);
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, some_granules));
}

TEST_F_TIMEOUT(anon, locking_keeps_what_was_written, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, tracking_populate(&self->tracking));
	write_set(mem, some_granules);
	ASSERT_EQ(0, mlock(mem->addr, mem->size));
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, some_granules));
	ASSERT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

static void __attribute__((constructor)) prepare(void)
{
	machine_prepare(NEED_ALL);
}

TEST_HARNESS_MAIN
