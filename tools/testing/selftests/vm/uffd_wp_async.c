// SPDX-License-Identifier: GPL-2.0-only
/*
 * Async write-protection: a write ends it.  Where the contents of a page go, so
 * does its protection, for a page without protection reads as written.  Where
 * only the mapping goes, the protection stays.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/elf.h>
#include <linux/falloc.h>
#include <linux/fs.h>

#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

/* Enough for a debug kernel on an emulated processor. */
#define TIMEOUT		300

/* Memory of one kind, all of it populated and protected. */
struct tracked {
	struct memory mem;
	int pagemap;
	int uffd;
};

/* Register all of the memory and protect it. */
static int protect(int uffd, struct memory *mem)
{
	if (uffd_register(uffd, mem->addr, mem->size,
			  UFFDIO_REGISTER_MODE_WP, NULL)) {
		perror("# UFFDIO_REGISTER");
		return -1;
	}
	if (uffd_protect(uffd, mem->addr, mem->size, true)) {
		perror("# UFFDIO_WRITEPROTECT");
		return -1;
	}
	return 0;
}

static size_t protected_pages(struct tracked *tracked, size_t granule)
{
	struct memory *mem = &tracked->mem;

	return pages_with(tracked->pagemap, mem->addr + granule * mem->granule,
			  mem->granule, PAGEMAP_UFFD_WP);
}

static bool is_protected(struct tracked *tracked, size_t granule)
{
	return protected_pages(tracked, granule) ==
	       tracked->mem.granule / page_size();
}

static bool is_unprotected(struct tracked *tracked, size_t granule)
{
	return !protected_pages(tracked, granule);
}

/* Check that exactly the granules outside of a set are protected. */
static int check_unprotected(struct tracked *tracked, granule_set set)
{
	struct memory *mem = &tracked->mem;
	size_t i, bad = 0;

	for (i = 0; i < mem->count; i++) {
		if (set(mem, i) ? is_unprotected(tracked, i) :
				  is_protected(tracked, i))
			continue;
		if (!bad++)
			fprintf(stderr, "# granule %zu is %sprotected\n", i,
				set(mem, i) ? "" : "not ");
	}
	return bad ? -1 : 0;
}

static int begin(struct tracked *self, enum memory_kind kind)
{
	self->pagemap = pagemap_open(getpid());
	self->uffd = uffd_create_async();
	if (self->pagemap < 0 || self->uffd < 0 ||
	    memory_map(&self->mem, kind) || memory_populate(&self->mem) ||
	    protect(self->uffd, &self->mem))
		return -1;
	return check_unprotected(self, no_granule);
}

static void end(struct tracked *self)
{
	memory_unmap(&self->mem);
	close(self->uffd);
	close(self->pagemap);
}

/* Every kind. */
FIXTURE(any)
{
	struct tracked tracked;
};

FIXTURE_VARIANT(any)
{
	enum memory_kind kind;
};

FIXTURE_VARIANT_ADD(any, anon) {
	.kind = MEMORY_ANON,
};

FIXTURE_VARIANT_ADD(any, thp) {
	.kind = MEMORY_THP,
};

FIXTURE_VARIANT_ADD(any, shmem) {
	.kind = MEMORY_SHMEM,
};

FIXTURE_VARIANT_ADD(any, memfd) {
	.kind = MEMORY_MEMFD,
};

FIXTURE_VARIANT_ADD(any, memfd_thp) {
	.kind = MEMORY_MEMFD_THP,
};

FIXTURE_VARIANT_ADD(any, tmpfs_private) {
	.kind = MEMORY_TMPFS_PRIVATE,
};

FIXTURE_VARIANT_ADD(any, tmpfs_shared) {
	.kind = MEMORY_TMPFS_SHARED,
};

FIXTURE_VARIANT_ADD(any, ext4_private) {
	.kind = MEMORY_EXT4_PRIVATE,
};

FIXTURE_VARIANT_ADD(any, ext4_shared) {
	.kind = MEMORY_EXT4_SHARED,
};

FIXTURE_VARIANT_ADD(any, hugetlb_private) {
	.kind = MEMORY_HUGETLB_PRIVATE,
};

FIXTURE_VARIANT_ADD(any, hugetlb_shared) {
	.kind = MEMORY_HUGETLB_SHARED,
};

FIXTURE_SETUP(any)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, begin(&self->tracked, variant->kind));
}

FIXTURE_TEARDOWN(any)
{
	end(&self->tracked);
}

/* Kinds that have a file. */
FIXTURE(file)
{
	struct tracked tracked;
};

FIXTURE_VARIANT(file)
{
	enum memory_kind kind;
};

FIXTURE_VARIANT_ADD(file, memfd) {
	.kind = MEMORY_MEMFD,
};

FIXTURE_VARIANT_ADD(file, memfd_thp) {
	.kind = MEMORY_MEMFD_THP,
};

FIXTURE_VARIANT_ADD(file, tmpfs_private) {
	.kind = MEMORY_TMPFS_PRIVATE,
};

FIXTURE_VARIANT_ADD(file, tmpfs_shared) {
	.kind = MEMORY_TMPFS_SHARED,
};

FIXTURE_VARIANT_ADD(file, ext4_private) {
	.kind = MEMORY_EXT4_PRIVATE,
};

FIXTURE_VARIANT_ADD(file, ext4_shared) {
	.kind = MEMORY_EXT4_SHARED,
};

FIXTURE_VARIANT_ADD(file, hugetlb_private) {
	.kind = MEMORY_HUGETLB_PRIVATE,
};

FIXTURE_VARIANT_ADD(file, hugetlb_shared) {
	.kind = MEMORY_HUGETLB_SHARED,
};

FIXTURE_SETUP(file)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, begin(&self->tracked, variant->kind));
}

FIXTURE_TEARDOWN(file)
{
	end(&self->tracked);
}

/* Kinds that have a file and share it. */
FIXTURE(shared)
{
	struct tracked tracked;
};

FIXTURE_VARIANT(shared)
{
	enum memory_kind kind;
};

FIXTURE_VARIANT_ADD(shared, memfd) {
	.kind = MEMORY_MEMFD,
};

FIXTURE_VARIANT_ADD(shared, memfd_thp) {
	.kind = MEMORY_MEMFD_THP,
};

FIXTURE_VARIANT_ADD(shared, tmpfs_shared) {
	.kind = MEMORY_TMPFS_SHARED,
};

FIXTURE_VARIANT_ADD(shared, ext4_shared) {
	.kind = MEMORY_EXT4_SHARED,
};

FIXTURE_VARIANT_ADD(shared, hugetlb_shared) {
	.kind = MEMORY_HUGETLB_SHARED,
};

FIXTURE_SETUP(shared)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, begin(&self->tracked, variant->kind));
}

FIXTURE_TEARDOWN(shared)
{
	end(&self->tracked);
}

/* Kinds that have a file and are reclaimed page by page. */
FIXTURE(reclaimed)
{
	struct tracked tracked;
};

FIXTURE_VARIANT(reclaimed)
{
	enum memory_kind kind;
};

FIXTURE_VARIANT_ADD(reclaimed, memfd) {
	.kind = MEMORY_MEMFD,
};

FIXTURE_VARIANT_ADD(reclaimed, tmpfs_private) {
	.kind = MEMORY_TMPFS_PRIVATE,
};

FIXTURE_VARIANT_ADD(reclaimed, tmpfs_shared) {
	.kind = MEMORY_TMPFS_SHARED,
};

FIXTURE_VARIANT_ADD(reclaimed, ext4_private) {
	.kind = MEMORY_EXT4_PRIVATE,
};

FIXTURE_VARIANT_ADD(reclaimed, ext4_shared) {
	.kind = MEMORY_EXT4_SHARED,
};

FIXTURE_SETUP(reclaimed)
{
	if (!machine_has(memory_needs(variant->kind) | NEED_SWAP))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, begin(&self->tracked, variant->kind));
}

FIXTURE_TEARDOWN(reclaimed)
{
	end(&self->tracked);
}

/* Of the granules below, what a case takes the contents of. */
static bool in_hole(struct memory *mem, size_t granule)
{
	return granule == 1 || granule == 2;
}

/* A hole in a file leaves copies alone, but those of huge pages. */
static bool punched(struct memory *mem, size_t granule)
{
	return in_hole(mem, granule) && (memory_is_hugetlb(mem->kind) ||
					 !memory_is_copied(mem, granule));
}

static bool all_but_first(struct memory *mem, size_t granule)
{
	return granule > 0;
}

static int dontneed(struct memory *mem)
{
	return madvise(mem->addr, mem->size, MADV_DONTNEED);
}

/* Nobody has to resolve the fault; of a huge page one small page is written. */
TEST_F_TIMEOUT(any, a_write_ends_the_protection_of_its_page, TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;
	size_t written = memory_is_hugetlb(variant->kind) ? mem->granule :
							    page_size();

	memory_write(mem, 1);
	EXPECT_EQ((mem->size - written) / page_size(),
		  pages_with(self->tracked.pagemap, mem->addr, mem->size,
			     PAGEMAP_UFFD_WP));
	EXPECT_FALSE(is_protected(&self->tracked, 1));
	EXPECT_FALSE(uffd_has_message(self->tracked.uffd));
}

TEST_F_TIMEOUT(any, dropped_copies_lose_the_protection, TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;

	ASSERT_EQ(0, dontneed(mem));
	EXPECT_EQ(0, check_unprotected(&self->tracked, memory_is_copied));
}

TEST_F_TIMEOUT(reclaimed, dropped_swap_entries_lose_the_protection, TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;

	ASSERT_EQ(0, memory_page_out(mem));
	ASSERT_EQ(0, check_unprotected(&self->tracked, no_granule));
	ASSERT_EQ(0, dontneed(mem));
	EXPECT_EQ(0, check_unprotected(&self->tracked, memory_is_copied));
}

TEST_F_TIMEOUT(any, migrated_pages_keep_the_protection, TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;
	size_t i;

	/* To protect a huge page of a file is to unmap it. */
	for (i = 0; i < mem->count; i++)
		memory_read(mem, i);
	ASSERT_EQ(0, memory_migrate(mem));
	EXPECT_EQ(0, check_unprotected(&self->tracked, no_granule));
}

TEST_F_TIMEOUT(file, punched_pages_lose_the_protection, TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;

	ASSERT_EQ(0, memory_punch(mem, 1, 2));
	EXPECT_EQ(0, check_unprotected(&self->tracked, punched));
}

TEST_F_TIMEOUT(file, a_hole_in_a_page_leaves_the_protection, TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;

	/* Parts of granules 1 and 2, and no granule as a whole. */
	ASSERT_EQ(0, fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, mem->granule + 512,
			       mem->granule));
	EXPECT_EQ(0, check_unprotected(&self->tracked, no_granule));
}

TEST_F_TIMEOUT(shared, unmapped_pages_lose_the_protection_when_punched,
	       TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;

	ASSERT_EQ(0, dontneed(mem));
	ASSERT_EQ(0, check_unprotected(&self->tracked, no_granule));
	ASSERT_EQ(0, memory_punch(mem, 1, 2));
	EXPECT_EQ(0, check_unprotected(&self->tracked, punched));
	/* Also where there is nothing that could be removed from the file. */
	ASSERT_EQ(0, uffd_protect(self->tracked.uffd, mem->addr, mem->size,
				  true));
	ASSERT_EQ(0, check_unprotected(&self->tracked, no_granule));
	ASSERT_EQ(0, memory_punch(mem, 1, 2));
	EXPECT_EQ(0, check_unprotected(&self->tracked, punched));
}

TEST_F_TIMEOUT(file, truncated_pages_lose_the_protection, TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;

	ASSERT_EQ(0, ftruncate(mem->fd, mem->granule));
	EXPECT_EQ(0, check_unprotected(&self->tracked, all_but_first));
}

TEST_F_TIMEOUT(shared, unmapped_pages_lose_the_protection_when_truncated,
	       TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;

	ASSERT_EQ(0, dontneed(mem));
	ASSERT_EQ(0, ftruncate(mem->fd, mem->granule));
	EXPECT_EQ(0, check_unprotected(&self->tracked, all_but_first));
}

TEST_F_TIMEOUT(reclaimed, swapped_pages_lose_the_protection_when_truncated,
	       TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;

	ASSERT_EQ(0, memory_page_out(mem));
	ASSERT_EQ(0, ftruncate(mem->fd, mem->granule));
	EXPECT_EQ(0, check_unprotected(&self->tracked, all_but_first));
}

/* Shared memory, where each mapping of a page can be left to the userfaultfd. */
FIXTURE(minor)
{
	struct tracked tracked;
};

FIXTURE_VARIANT(minor)
{
	enum memory_kind kind;
};

FIXTURE_VARIANT_ADD(minor, memfd) {
	.kind = MEMORY_MEMFD,
};

FIXTURE_VARIANT_ADD(minor, hugetlb_shared) {
	.kind = MEMORY_HUGETLB_SHARED,
};

FIXTURE_SETUP(minor)
{
	struct memory *mem = &self->tracked.mem;

	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, begin(&self->tracked, variant->kind));
	ASSERT_EQ(0, uffd_register(self->tracked.uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_WP |
				   UFFDIO_REGISTER_MODE_MINOR, NULL));
}

FIXTURE_TEARDOWN(minor)
{
	end(&self->tracked);
}

TEST_F_TIMEOUT(minor, pages_that_are_mapped_again_keep_the_protection, TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;
	struct uffdio_continue go_on = {
		.range.start = (unsigned long)mem->addr,
		.range.len = mem->size,
	};

	ASSERT_EQ(0, dontneed(mem));
	ASSERT_EQ(0, check_unprotected(&self->tracked, no_granule));
	ASSERT_EQ(0, ioctl(self->tracked.uffd, UFFDIO_CONTINUE, &go_on));
	EXPECT_EQ(mem->size / page_size(),
		  pages_with(self->tracked.pagemap, mem->addr, mem->size,
			     PAGEMAP_PRESENT));
	EXPECT_EQ(0, check_unprotected(&self->tracked, no_granule));
}

/* Memory that was never touched. */
FIXTURE(hole)
{
	struct tracked tracked;
};

FIXTURE_VARIANT(hole)
{
	enum memory_kind kind;
};

FIXTURE_VARIANT_ADD(hole, anon) {
	.kind = MEMORY_ANON,
};

FIXTURE_VARIANT_ADD(hole, memfd) {
	.kind = MEMORY_MEMFD,
};

FIXTURE_VARIANT_ADD(hole, ext4_private) {
	.kind = MEMORY_EXT4_PRIVATE,
};

FIXTURE_VARIANT_ADD(hole, ext4_shared) {
	.kind = MEMORY_EXT4_SHARED,
};

FIXTURE_VARIANT_ADD(hole, hugetlb_shared) {
	.kind = MEMORY_HUGETLB_SHARED,
};

FIXTURE_SETUP(hole)
{
	struct tracked *tracked = &self->tracked;

	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	tracked->pagemap = pagemap_open(getpid());
	tracked->uffd = uffd_create_async();
	ASSERT_LE(0, tracked->pagemap);
	ASSERT_LE(0, tracked->uffd);
	ASSERT_EQ(0, memory_map(&tracked->mem, variant->kind));
	ASSERT_EQ(0, protect(tracked->uffd, &tracked->mem));
}

FIXTURE_TEARDOWN(hole)
{
	end(&self->tracked);
}

/* A checkpointer takes what is swapped for contents that have to be saved. */
TEST_F_TIMEOUT(hole, that_is_protected_is_not_swapped, TIMEOUT)
{
	struct tracked *tracked = &self->tracked;
	struct memory *mem = &tracked->mem;

	EXPECT_EQ(0, check_unprotected(tracked, no_granule));
	EXPECT_EQ(0, pages_with(tracked->pagemap, mem->addr, mem->size,
				PAGEMAP_SWAPPED));
	EXPECT_EQ(0, pages_with(tracked->pagemap, mem->addr, mem->size,
				PAGEMAP_PRESENT));
}

/* The page cache goes, the file's contents do not. */
TEST(invalidated_pages_keep_the_protection)
{
	struct tracked tracked;
	struct memory *mem = &tracked.mem;
	char path[32], *page;
	ssize_t n;
	int fd;

	if (!machine_has(memory_needs(MEMORY_EXT4_SHARED)))
		SKIP(return, "the machine lacks this kind of memory");
	ASSERT_EQ(0, begin(&tracked, MEMORY_EXT4_SHARED));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mem->fd);
	fd = open(path, O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	page = map_pages(1, PROT_READ | PROT_WRITE);
	ASSERT_NE(NULL, page);
	memset(page, 1, page_size());
	ASSERT_EQ(0, fsync(mem->fd));
	n = pwrite(fd, page, page_size(), mem->granule);
	ASSERT_EQ((ssize_t)page_size(), n);
	EXPECT_EQ(0, check_unprotected(&tracked, no_granule));
	close(fd);
	end(&tracked);
}

TEST(another_mapping_that_is_not_async_keeps_its_markers)
{
	struct tracked tracked;
	struct memory *mem = &tracked.mem;
	__u64 features = 0;
	char *other;
	int uffd;

	if (!machine_has(memory_needs(MEMORY_MEMFD)))
		SKIP(return, "the machine lacks this kind of memory");
	ASSERT_EQ(0, begin(&tracked, MEMORY_MEMFD));
	uffd = uffd_create(0, &features);
	ASSERT_LE(0, uffd);
	other = mmap(NULL, mem->size, PROT_READ | PROT_WRITE, MAP_SHARED,
		     mem->fd, 0);
	ASSERT_NE(MAP_FAILED, other);
	ASSERT_EQ(0, uffd_register(uffd, other, mem->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ(0, uffd_protect(uffd, other, mem->size, true));
	ASSERT_EQ(0, memory_punch(mem, 1, 2));
	EXPECT_EQ(0, check_unprotected(&tracked, punched));
	EXPECT_EQ(mem->size / page_size(),
		  pages_with(tracked.pagemap, other, mem->size,
			     PAGEMAP_UFFD_WP));
	munmap(other, mem->size);
	close(uffd);
	end(&tracked);
}

struct puncher {
	struct memory *mem;
	pthread_barrier_t barrier;
	int rounds;
};

static void *punch_again(void *arg)
{
	struct puncher *puncher = arg;
	int round, result = 0;

	for (round = 0; round < puncher->rounds; round++) {
		pthread_barrier_wait(&puncher->barrier);
		if (memory_punch(puncher->mem, 0, puncher->mem->count))
			result = -1;
		pthread_barrier_wait(&puncher->barrier);
	}
	return (void *)(intptr_t)result;
}

/*
 * What is protected while the file is punched, and is still protected after
 * that, has the contents that it had when it was protected.
 */
TEST_F_TIMEOUT(shared, a_protected_page_keeps_its_contents, TIMEOUT)
{
	struct memory *mem = &self->tracked.mem;
	struct puncher puncher = { .mem = mem, .rounds = 100 };
	size_t i, seen[mem->count], lost = 0;
	pthread_t thread;
	void *result;
	int round;

	ASSERT_EQ(0, pthread_barrier_init(&puncher.barrier, NULL, 2));
	ASSERT_EQ(0, pthread_create(&thread, NULL, punch_again, &puncher));
	for (round = 0; round < puncher.rounds; round++) {
		for (i = 0; i < mem->count; i++)
			*(size_t *)(mem->addr + i * mem->granule) = i + 1;
		pthread_barrier_wait(&puncher.barrier);
		for (i = 0; i < mem->count; i++) {
			char *p = mem->addr + i * mem->granule;

			if (uffd_protect(self->tracked.uffd, p, mem->granule, true))
				break;
			/* Also what is not in the page table. */
			if (round % 2)
				madvise(p, mem->granule, MADV_DONTNEED);
			seen[i] = __atomic_load_n((size_t *)p, __ATOMIC_RELAXED);
		}
		pthread_barrier_wait(&puncher.barrier);
		ASSERT_EQ(mem->count, i);
		for (i = 0; i < mem->count; i++) {
			size_t *p = (void *)(mem->addr + i * mem->granule);

			if (is_protected(&self->tracked, i) &&
			    __atomic_load_n(p, __ATOMIC_RELAXED) != seen[i])
				lost++;
		}
	}
	ASSERT_EQ(0, pthread_join(thread, &result));
	EXPECT_EQ(NULL, result);
	EXPECT_EQ(0, lost);
}

/* Memory whose holes are left out of a core dump. */
#define MAX_DUMPED	4096

struct dump {
	struct memory mem;
	bool present[MAX_DUMPED];
};

FIXTURE(core)
{
	/* Shared with the child that dumps core. */
	struct dump *dump;
	char directory[64];
	pid_t child;
	int status;
};

FIXTURE_VARIANT(core)
{
	enum memory_kind kind;
};

FIXTURE_VARIANT_ADD(core, anon) {
	.kind = MEMORY_ANON,
};

FIXTURE_VARIANT_ADD(core, thp) {
	.kind = MEMORY_THP,
};

FIXTURE_VARIANT_ADD(core, hugetlb_shared) {
	.kind = MEMORY_HUGETLB_SHARED,
};

/* Protect memory of which one granule is there, and dump core. */
static void dump_core(struct dump *dump, enum memory_kind kind,
		      const char *directory)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct memory *mem = &dump->mem;
	int pagemap = pagemap_open(getpid());
	int uffd = uffd_create_async();
	size_t i;

	if (pagemap < 0 || uffd < 0 || memory_map(mem, kind) ||
	    mem->size / page_size() > MAX_DUMPED)
		return;
	memset(mem->addr + mem->granule, 0x5a, mem->granule);
	if (protect(uffd, mem) ||
	    pages_with(pagemap, mem->addr, mem->size, PAGEMAP_UFFD_WP) !=
	    mem->size / page_size())
		return;
	for (i = 0; i < mem->size / page_size(); i++)
		dump->present[i] = pagemap_entry(pagemap, mem->addr +
						 i * page_size()) &
				   PAGEMAP_PRESENT;
	if (setrlimit(RLIMIT_CORE, &unlimited) || chdir(directory) ||
	    tunable_write("/proc/self/coredump_filter", "0x7f"))
		return;
	abort();
}

FIXTURE_SETUP(core)
{
	if (!machine_has(memory_needs(variant->kind) | NEED_FILES))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->dump = mmap(NULL, sizeof(*self->dump), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->dump);
	snprintf(self->directory, sizeof(self->directory), "%s/core.XXXXXX",
		 machine_tmpfs());
	ASSERT_NE(NULL, mkdtemp(self->directory));
	self->child = fork();
	ASSERT_LE(0, self->child);
	if (!self->child) {
		dump_core(self->dump, variant->kind, self->directory);
		_exit(1);
	}
	ASSERT_EQ(self->child, waitpid(self->child, &self->status, 0));
}

FIXTURE_TEARDOWN(core)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/core", self->directory);
	unlink(path);
	EXPECT_EQ(0, rmdir(self->directory));
	munmap(self->dump, sizeof(*self->dump));
}

/* Where a core file has an address, or -1. */
static off_t core_offset(int fd, const void *addr)
{
	struct elf64_hdr header;
	struct elf64_phdr segment;
	int i;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header))
		return -1;
	for (i = 0; i < header.e_phnum; i++) {
		if (pread(fd, &segment, sizeof(segment), header.e_phoff +
			  i * header.e_phentsize) != sizeof(segment))
			return -1;
		if (segment.p_type == PT_LOAD &&
		    (uintptr_t)addr - segment.p_vaddr < segment.p_filesz)
			return segment.p_offset + (uintptr_t)addr -
			       segment.p_vaddr;
	}
	return -1;
}

TEST_F_TIMEOUT(core, protected_holes_are_left_out, TIMEOUT)
{
	struct memory *mem = &self->dump->mem;
	size_t i, present = 0, different = 0;
	char path[80], *page;
	off_t start;
	int fd;

	ASSERT_TRUE(WCOREDUMP(self->status));
	snprintf(path, sizeof(path), "%s/core", self->directory);
	fd = open(path, O_RDONLY);
	ASSERT_LE(0, fd);
	start = core_offset(fd, mem->addr);
	ASSERT_LT(0, start);
	page = malloc(page_size());
	ASSERT_NE(NULL, page);
	for (i = 0; i < mem->size / page_size(); i++) {
		off_t offset = start + i * page_size();

		present += self->dump->present[i];
		different += self->dump->present[i] !=
			     (lseek(fd, offset, SEEK_DATA) == offset);
	}
	EXPECT_LE(mem->granule / page_size(), present);
	EXPECT_GT(mem->size / page_size(), present);
	EXPECT_EQ(0, different);
	for (i = 0; i < mem->granule; i += page_size()) {
		ASSERT_EQ((ssize_t)page_size(),
			  pread(fd, page, page_size(),
				start + mem->granule + i));
		EXPECT_EQ(0x5a, page[0]);
		EXPECT_EQ(0, memcmp(page, page + 1, page_size() - 1));
	}
	free(page);
	close(fd);
}

/* What is discarded on a block device is a hole, too. */
TEST(discarded_blocks_lose_the_protection)
{
	const size_t size = 16 * page_size();
	const unsigned long range[] = { page_size(), 2 * page_size() };
	int pagemap = pagemap_open(getpid());
	int uffd = uffd_create_async();
	int fd = machine_disk();
	char *p;

	ASSERT_LE(0, fd);
	ASSERT_LE(0, uffd);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	memset(p, 1, size);
	ASSERT_EQ(0, uffd_register(uffd, p, size, UFFDIO_REGISTER_MODE_WP,
				   NULL));
	ASSERT_EQ(0, uffd_protect(uffd, p, size, true));
	/* One of the two is only unmapped. */
	ASSERT_EQ(0, madvise(p + page_size(), page_size(), MADV_DONTNEED));
	ASSERT_EQ(16, pages_with(pagemap, p, size, PAGEMAP_UFFD_WP));
	ASSERT_EQ(0, ioctl(fd, BLKZEROOUT, range));
	EXPECT_EQ(14, pages_with(pagemap, p, size, PAGEMAP_UFFD_WP));
	EXPECT_EQ(0, pages_with(pagemap, p + page_size(), 2 * page_size(),
				PAGEMAP_UFFD_WP));
	EXPECT_EQ(0, p[page_size()]);
	munmap(p, size);
	close(fd);
	close(uffd);
	close(pagemap);
}

int main(int argc, char **argv)
{
	machine_set_up(NEED_ALL & ~NEED_KSM);
	if (tunable_set("/proc/sys/kernel/core_pattern", "core") ||
	    tunable_set("/proc/sys/kernel/core_uses_pid", "0"))
		perror("# core_pattern");
	return test_harness_run(argc, argv);
}
