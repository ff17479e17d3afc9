// SPDX-License-Identifier: GPL-2.0-only
/*
 * Write-protection by userfaultfd, without the async mode: what fork(), KSM,
 * unsharing, migration, mremap(), the split of a huge page and a shortage of
 * memory must not do to it, and where it has to end.
 *
 * The tests of PAGEMAP_SCAN rely on all of this.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/io_uring.h>

#include "pagemap_scan_failing.h"
#include "pagemap_scan_harness.h"
#include "../../../../lib/test_hmm_uapi.h"
#include "pagemap_scan_util.h"

/* Enough for a debug kernel on an emulated processor. */
#define TIMEOUT		300
/* Seconds for what takes next to no time: a child's end, another write. */
#define CHILD_TIMEOUT	60

#define KSM_SYSFS	"/sys/kernel/mm/ksm/"
#define HMM_DEVICE	"/dev/hmm_dmirror0"

/* How the pages come into being that a case starts from. */
enum population {
	WRITTEN,	/* written, as memory_populate() does */
	READ,		/* only read: the zero page, where there is no file */
	NONE,		/* not touched */
};

static int create_uffd(__u64 features)
{
	int uffd = uffd_create(0, &features);

	if (uffd < 0)
		perror("# userfaultfd");
	return uffd;
}

static size_t protected_pages(const void *addr, size_t size)
{
	int fd = pagemap_open(getpid());
	size_t n = pages_with(fd, addr, size, PAGEMAP_UFFD_WP);

	close(fd);
	return n;
}

static int populate(struct memory *mem, enum population population)
{
	size_t i;

	if (population == WRITTEN)
		return memory_populate(mem);
	for (i = 0; population == READ && i < mem->count; i++)
		memory_read(mem, i);
	return 0;
}

/* Register all of the memory and protect it. */
static int protect(int uffd, struct memory *mem)
{
	size_t pages = mem->size / page_size();

	if (uffd_register(uffd, mem->addr, mem->size,
			  UFFDIO_REGISTER_MODE_WP, NULL)) {
		perror("# UFFDIO_REGISTER");
		return -1;
	}
	if (uffd_protect(uffd, mem->addr, mem->size, true)) {
		perror("# UFFDIO_WRITEPROTECT");
		return -1;
	}
	if (protected_pages(mem->addr, mem->size) != pages) {
		fprintf(stderr, "# not all pages are protected\n");
		return -1;
	}
	return 0;
}

/* Wait for a child's end; one that does not end is killed. */
static int child_status(pid_t pid)
{
	int tries, status;

	for (tries = 0; tries < CHILD_TIMEOUT * 100; tries++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		usleep(10000);
	}
	fprintf(stderr, "# the child does not end\n");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

/* In a child: 0 when as many of the pages are protected as expected. */
static int check_child(struct memory *mem, size_t expected)
{
	size_t n = protected_pages(mem->addr, mem->size);

	if (n == expected)
		return 0;
	fprintf(stderr, "# %zu of %zu pages are protected in the child\n", n,
		mem->size / page_size());
	return 1;
}

/* Resolving lets no write pass unseen by others that want to see it. */
FIXTURE(resolve)
{
	struct memory mem;
	int uffd;
};

FIXTURE_VARIANT(resolve)
{
	int (*resolve)(struct memory *mem, int uffd);
};

static int resolve_writeprotect(struct memory *mem, int uffd)
{
	return uffd_protect(uffd, mem->addr, mem->size, false);
}

static int resolve_unregister(struct memory *mem, int uffd)
{
	return uffd_unregister(uffd, mem->addr, mem->size);
}

static int resolve_close(struct memory *mem, int uffd)
{
	return close(uffd);
}

FIXTURE_VARIANT_ADD(resolve, writeprotect) {
	.resolve = resolve_writeprotect,
};

FIXTURE_VARIANT_ADD(resolve, unregister) {
	.resolve = resolve_unregister,
};

FIXTURE_VARIANT_ADD(resolve, close) {
	.resolve = resolve_close,
};

FIXTURE_SETUP(resolve)
{
	self->uffd = create_uffd(0);
	ASSERT_LE(0, self->uffd);
	ASSERT_EQ(0, memory_map(&self->mem, MEMORY_MEMFD));
	ASSERT_EQ(0, memory_populate(&self->mem));
	ASSERT_EQ(0, protect(self->uffd, &self->mem));
}

FIXTURE_TEARDOWN(resolve)
{
	memory_unmap(&self->mem);
	close(self->uffd);
}

TEST_F_TIMEOUT(resolve, soft_dirty_sees_the_next_write, TIMEOUT)
{
	struct memory *mem = &self->mem;
	int fd = pagemap_open(getpid());
	size_t i;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, tunable_write("/proc/self/clear_refs", "4"));
	ASSERT_EQ(0, pages_with(fd, mem->addr, mem->size, PAGEMAP_SOFT_DIRTY));

	ASSERT_EQ(0, variant->resolve(mem, self->uffd));
	EXPECT_EQ(0, pages_with(fd, mem->addr, mem->size, PAGEMAP_UFFD_WP));
	EXPECT_EQ(0, pages_with(fd, mem->addr, mem->size, PAGEMAP_SOFT_DIRTY));
	for (i = 0; i < mem->count; i++)
		memory_write(mem, i);
	EXPECT_EQ(mem->count,
		  pages_with(fd, mem->addr, mem->size, PAGEMAP_SOFT_DIRTY));
	close(fd);
}

/* Protected memory of each kind, and a userfaultfd that knows of no events. */
FIXTURE(memory)
{
	struct memory mem;
	size_t pages;
	int uffd;
};

FIXTURE_VARIANT(memory)
{
	enum memory_kind kind;
	enum population population;
};

FIXTURE_VARIANT_ADD(memory, anon) {
	.kind = MEMORY_ANON,
};

FIXTURE_VARIANT_ADD(memory, anon_zero_page) {
	.kind = MEMORY_ANON,
	.population = READ,
};

FIXTURE_VARIANT_ADD(memory, thp) {
	.kind = MEMORY_THP,
};

FIXTURE_VARIANT_ADD(memory, thp_zero_page) {
	.kind = MEMORY_THP,
	.population = READ,
};

FIXTURE_VARIANT_ADD(memory, ksm) {
	.kind = MEMORY_KSM,
};

FIXTURE_VARIANT_ADD(memory, shmem) {
	.kind = MEMORY_SHMEM,
};

FIXTURE_VARIANT_ADD(memory, shmem_hole) {
	.kind = MEMORY_SHMEM,
	.population = NONE,
};

FIXTURE_VARIANT_ADD(memory, hugetlb_private) {
	.kind = MEMORY_HUGETLB_PRIVATE,
};

FIXTURE_VARIANT_ADD(memory, hugetlb_private_hole) {
	.kind = MEMORY_HUGETLB_PRIVATE,
	.population = NONE,
};

FIXTURE_VARIANT_ADD(memory, hugetlb_shared) {
	.kind = MEMORY_HUGETLB_SHARED,
};

FIXTURE_VARIANT_ADD(memory, hugetlb_shared_hole) {
	.kind = MEMORY_HUGETLB_SHARED,
	.population = NONE,
};

FIXTURE_SETUP(memory)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->uffd = create_uffd(0);
	ASSERT_LE(0, self->uffd);
	ASSERT_EQ(0, memory_map(&self->mem, variant->kind));
	ASSERT_EQ(0, populate(&self->mem, variant->population));
	ASSERT_EQ(0, protect(self->uffd, &self->mem));
	self->pages = self->mem.size / page_size();
}

FIXTURE_TEARDOWN(memory)
{
	memory_unmap(&self->mem);
	close(self->uffd);
}

/* Writes to a granule again and again. */
struct rewriter {
	struct memory *mem;
	unsigned long writes;
	bool stop;
};

static void *write_again(void *argument)
{
	struct rewriter *rewriter = argument;

	run_on(1);
	while (!__atomic_load_n(&rewriter->stop, __ATOMIC_RELAXED)) {
		unsigned int i, pause = rewriter->writes % 61 * 100;

		/* Else the fault begins before the protection has ended. */
		for (i = 0; i < pause; i++)
			__asm__ volatile ("");
		memory_write(rewriter->mem, 0);
		__atomic_fetch_add(&rewriter->writes, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Whether there is another write, sooner than never. */
static bool next_write(struct rewriter *rewriter)
{
	unsigned long end = milliseconds() + CHILD_TIMEOUT * 1000;
	unsigned long writes = __atomic_load_n(&rewriter->writes,
					       __ATOMIC_RELAXED);

	while (__atomic_load_n(&rewriter->writes, __ATOMIC_RELAXED) == writes) {
		if (milliseconds() > end)
			return false;
		sched_yield();
	}
	return true;
}

/*
 * A fault that finds the page protected may be slower than the one who takes
 * the protection off and wakes who waits: it must not begin to wait then.
 */
TEST_F_TIMEOUT(memory, writer_waits_only_while_it_is_protected, TIMEOUT)
{
	struct rewriter rewriter = { .mem = &self->mem };
	unsigned long end = milliseconds() + test_duration(500);
	/* A machine that is busy needs more time to meet the race. */
	unsigned long late_end = end + 10000;
	struct memory *mem = &self->mem;
	unsigned int round, i;
	bool stuck = false;
	pthread_t thread;

	ASSERT_EQ(0, uffd_protect(self->uffd, mem->addr, mem->size, false));
	run_on(0);
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_again, &rewriter));
	for (round = 0;
	     !stuck && (round < 50 ||
			milliseconds() < (round < 2000 ? late_end : end));
	     round++) {
		ASSERT_EQ(0, uffd_protect(self->uffd, mem->addr, mem->granule,
					  true));
		/* The faults take some time, and never the same. */
		for (i = 0; i < round % 64 * 100; i++)
			__asm__ volatile ("");
		ASSERT_EQ(0, uffd_protect(self->uffd, mem->addr, mem->granule,
					  false));
		stuck = !next_write(&rewriter);
	}
	EXPECT_FALSE(stuck);
	__atomic_store_n(&rewriter.stop, true, __ATOMIC_RELAXED);
	uffd_protect(self->uffd, mem->addr, mem->granule, false);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	fprintf(stderr, "# %u rounds\n", round);
}

/* The huge zero page, which is split when a part of it is dropped. */
FIXTURE(zero)
{
	struct memory mem;
	int pagemap;
};

FIXTURE_SETUP(zero)
{
	if (!machine_has(memory_needs(MEMORY_THP)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->pagemap = pagemap_open(getpid());
	ASSERT_LE(0, self->pagemap);
	ASSERT_EQ(0, memory_map(&self->mem, MEMORY_THP));
}

FIXTURE_TEARDOWN(zero)
{
	memory_unmap(&self->mem);
	close(self->pagemap);
}

struct dropper {
	char *page;
	unsigned int told;	/* rounds */
	unsigned int done;
	bool stop;
};

static void *drop_when_told(void *argument)
{
	struct dropper *dropper = argument;
	unsigned int told;

	while (!__atomic_load_n(&dropper->stop, __ATOMIC_RELAXED)) {
		told = __atomic_load_n(&dropper->told, __ATOMIC_ACQUIRE);
		if (told == dropper->done) {
			sched_yield();
			continue;
		}
		madvise(dropper->page, page_size(), MADV_DONTNEED);
		__atomic_store_n(&dropper->done, told, __ATOMIC_RELEASE);
	}
	return NULL;
}

/*
 * Who looks without the lock, as the read of pagemap does, and as resolving
 * does, which would pass over a hole.
 */
TEST_F_TIMEOUT(zero, a_split_is_not_taken_for_a_hole, TIMEOUT)
{
	unsigned long end = milliseconds() + test_duration(1500);
	struct memory *mem = &self->mem;
	struct dropper dropper = { .page = mem->addr };
	char *last = mem->addr + huge_size() - page_size();
	unsigned int round, holes = 0;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, drop_when_told, &dropper));
	for (round = 1; round < 10 || milliseconds() < end; round++) {
		/* Anew, as the page table of a split one would stay */
		ASSERT_EQ(0, map_fixed(mem->addr, huge_size(),
				       PROT_READ | PROT_WRITE));
		ASSERT_EQ(0, madvise(mem->addr, huge_size(), MADV_HUGEPAGE));
		touch_read(mem->addr);
		ASSERT_TRUE(pagemap_entry(self->pagemap, last) &
			    PAGEMAP_PRESENT);
		__atomic_store_n(&dropper.told, round, __ATOMIC_RELEASE);
		while (__atomic_load_n(&dropper.done, __ATOMIC_ACQUIRE) !=
		       round)
			holes += !(pagemap_entry(self->pagemap, last) &
				   PAGEMAP_PRESENT);
	}
	__atomic_store_n(&dropper.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, holes);
}

/* Moving a huge page makes it soft-dirty, also one that was only read. */
TEST_F_TIMEOUT(zero, a_split_keeps_soft_dirty, TIMEOUT)
{
	struct memory *mem = &self->mem;
	char *to = mem->addr + huge_size();
	size_t pages = huge_size() / page_size();

	touch_read(mem->addr);
	ASSERT_EQ(0, clear_soft_dirty(getpid()));
	ASSERT_EQ(to, mremap(mem->addr, huge_size(), huge_size(),
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	ASSERT_EQ(pages, pages_with(self->pagemap, to, huge_size(),
				    PAGEMAP_SOFT_DIRTY));
	ASSERT_EQ(0, madvise(to, page_size(), MADV_DONTNEED));
	EXPECT_EQ(pages - 1, pages_with(self->pagemap, to, huge_size(),
					PAGEMAP_SOFT_DIRTY));
}

/* A huge page of a file, which has to be split to be protected. */
FIXTURE(huge_file)
{
	struct memory mem;
	int pagemap;
	int uffd;
};

FIXTURE_SETUP(huge_file)
{
	if (!machine_has(memory_needs(MEMORY_MEMFD_THP)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->pagemap = pagemap_open(getpid());
	ASSERT_LE(0, self->pagemap);
	self->uffd = create_uffd(0);
	ASSERT_LE(0, self->uffd);
	ASSERT_EQ(0, memory_map(&self->mem, MEMORY_MEMFD_THP));
	ASSERT_EQ(0, memory_populate(&self->mem));
	ASSERT_EQ((long)self->mem.size, huge_mapped_bytes(self->mem.addr));
}

FIXTURE_TEARDOWN(huge_file)
{
	memory_unmap(&self->mem);
	close(self->uffd);
	close(self->pagemap);
}

TEST_F_TIMEOUT(huge_file, protecting_keeps_it_mapped, TIMEOUT)
{
	struct memory *mem = &self->mem;

	ASSERT_EQ(0, protect(self->uffd, mem));
	EXPECT_EQ(mem->size / page_size(),
		  pages_with(self->pagemap, mem->addr, mem->size,
			     PAGEMAP_PRESENT));
}

TEST_F_TIMEOUT(huge_file, protecting_keeps_soft_dirty, TIMEOUT)
{
	struct memory *mem = &self->mem;
	size_t dirty;

	ASSERT_EQ(0, clear_soft_dirty(getpid()));
	ASSERT_EQ(0, pages_with(self->pagemap, mem->addr, mem->size,
				PAGEMAP_SOFT_DIRTY));
	touch_write(mem->addr, 1);
	dirty = pages_with(self->pagemap, mem->addr, mem->size,
			   PAGEMAP_SOFT_DIRTY);
	ASSERT_LT(0, dirty);
	ASSERT_EQ(0, protect(self->uffd, mem));
	EXPECT_EQ(dirty, pages_with(self->pagemap, mem->addr, mem->size,
				    PAGEMAP_SOFT_DIRTY));
}

/*
 * The kernel has not seen the writes, only the PMD has.  A page that passes for
 * clean afterwards would be dropped where memory is short.
 */
TEST_F_TIMEOUT(huge_file, protecting_keeps_it_dirty, TIMEOUT)
{
	struct memory *mem = &self->mem;
	size_t i;

	/* New pages, mapped by reading */
	ASSERT_EQ(0, memory_punch(mem, 0, mem->count));
	for (i = 0; i < mem->count; i++)
		memory_read(mem, i);
	ASSERT_EQ((long)mem->size, huge_mapped_bytes(mem->addr));
	ASSERT_FALSE(page_flags(self->pagemap, mem->addr) & KPAGE_DIRTY);

	touch_write(mem->addr, 1);
	ASSERT_EQ((long)mem->size, huge_mapped_bytes(mem->addr));
	ASSERT_EQ(0, protect(self->uffd, mem));
	EXPECT_TRUE(page_flags(self->pagemap, mem->addr) & KPAGE_DIRTY);
}

/* What was never protected has nothing to be resolved. */
TEST_F_TIMEOUT(huge_file, resolving_leaves_it_alone, TIMEOUT)
{
	struct memory *mem = &self->mem;
	size_t dirty, part = 3 * page_size();

	ASSERT_EQ(0, clear_soft_dirty(getpid()));
	touch_write(mem->addr, 1);
	ASSERT_EQ(0, uffd_register(self->uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ((long)mem->size, huge_mapped_bytes(mem->addr));
	dirty = pages_with(self->pagemap, mem->addr, mem->size,
			   PAGEMAP_SOFT_DIRTY);
	ASSERT_LT(0, dirty);

	ASSERT_EQ(0, uffd_protect(self->uffd, mem->addr + part, part, false));
	EXPECT_EQ((long)mem->size, huge_mapped_bytes(mem->addr));
	ASSERT_EQ(0, uffd_unregister(self->uffd, mem->addr, mem->size));
	touch_write(mem->addr + part, 1);
	EXPECT_EQ(dirty, pages_with(self->pagemap, mem->addr, mem->size,
				    PAGEMAP_SOFT_DIRTY));
}

TEST_F_TIMEOUT(memory, forked_child_is_not_protected, TIMEOUT)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(check_child(&self->mem, 0));
	EXPECT_EQ(0, child_status(pid));
}

TEST_F_TIMEOUT(memory, forked_child_can_write, TIMEOUT)
{
	pid_t pid = fork();
	size_t i;

	ASSERT_LE(0, pid);
	if (!pid) {
		for (i = 0; i < self->mem.count; i++)
			memory_write(&self->mem, i);
		_exit(check_child(&self->mem, 0));
	}
	EXPECT_EQ(0, child_status(pid));
	EXPECT_FALSE(uffd_has_message(self->uffd));
}

TEST_F_TIMEOUT(memory, fork_leaves_the_parent_protected, TIMEOUT)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(0);
	EXPECT_EQ(0, child_status(pid));
	EXPECT_EQ(self->pages,
		  protected_pages(self->mem.addr, self->mem.size));
}

/* To read the memory like this takes a pin, which must not be shared. */
static int read_by_pin(struct memory *mem)
{
	struct iovec local, remote;
	size_t i, word;

	for (i = 0; i < mem->count; i++) {
		local.iov_base = &word;
		local.iov_len = sizeof(word);
		remote.iov_base = mem->addr + i * mem->granule;
		remote.iov_len = sizeof(word);
		if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) !=
		    sizeof(word)) {
			perror("# process_vm_readv");
			return -1;
		}
	}
	return 0;
}

TEST_F_TIMEOUT(memory, unsharing_keeps_the_protection, TIMEOUT)
{
	int release[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(release));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* Share the pages until the parent is done. */
		close(release[1]);
		_exit(read(release[0], &byte, 1));
	}
	close(release[0]);
	EXPECT_EQ(0, read_by_pin(&self->mem));
	EXPECT_EQ(self->pages,
		  protected_pages(self->mem.addr, self->mem.size));
	EXPECT_FALSE(uffd_has_message(self->uffd));
	close(release[1]);
	EXPECT_EQ(0, child_status(pid));
}

TEST_F_TIMEOUT(memory, moved_pages_are_not_protected, TIMEOUT)
{
	struct memory *mem = &self->mem;
	char *to = reserve_addresses(mem->size, huge_size());
	size_t i;

	ASSERT_NE(NULL, to);
	ASSERT_EQ((void *)to, mremap(mem->addr, mem->size, mem->size,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(0, protected_pages(to, mem->size));
	for (i = 0; i < mem->count; i++)
		__atomic_store_n(to + i * mem->granule, 1, __ATOMIC_RELAXED);
	EXPECT_EQ(0, protected_pages(to, mem->size));
	EXPECT_FALSE(uffd_has_message(self->uffd));
	munmap(to, mem->size);
}

/* What has no page table entry has a marker, if the user asks for it. */
TEST(untouched_memory_is_protected_on_request)
{
	int uffd = create_uffd(UFFD_FEATURE_WP_UNPOPULATED);
	struct memory mem;
	size_t i;

	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, memory_map(&mem, MEMORY_ANON));
	ASSERT_EQ(0, protect(uffd, &mem));
	for (i = 0; i < mem.count; i += 2)
		memory_read(&mem, i);
	EXPECT_EQ(mem.count, protected_pages(mem.addr, mem.size));
	ASSERT_EQ(0, uffd_protect(uffd, mem.addr, mem.size, false));
	EXPECT_EQ(0, protected_pages(mem.addr, mem.size));
	for (i = 0; i < mem.count; i++)
		memory_write(&mem, i);
	EXPECT_FALSE(uffd_has_message(uffd));
	memory_unmap(&mem);
	close(uffd);
}

/* When the range is registered for it again, nobody would know of the writes. */
TEST_F_TIMEOUT(memory, another_mode_leaves_no_protection, TIMEOUT)
{
	struct memory *mem = &self->mem;

	ASSERT_EQ(0, uffd_register(self->uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_MISSING, NULL));
	EXPECT_EQ(0, protected_pages(mem->addr, mem->size));
	EXPECT_EQ(0, uffd_register(self->uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	EXPECT_EQ(0, protected_pages(mem->addr, mem->size));
}

/*
 * What is moved is no longer registered.  What it comes to lie beside must stay
 * so, where the two could be one VMA: never touched, or moved back.
 */
TEST(moving_unregisters_no_neighbour)
{
	const size_t size = page_size();
	char *p = reserve_addresses(8 * size, size);
	char *elsewhere = reserve_addresses(size, size);
	int uffd = create_uffd(0);

	ASSERT_LE(0, uffd);
	ASSERT_TRUE(p && elsewhere);
	ASSERT_EQ(0, map_fixed(p, 4 * size, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, uffd_register(uffd, p, 4 * size, UFFDIO_REGISTER_MODE_WP,
				   NULL));
	ASSERT_TRUE(vma_has_flag(p, "uw"));
	ASSERT_EQ((void *)(p + 4 * size),
		  mremap(p + 3 * size, size, size,
			 MREMAP_MAYMOVE | MREMAP_FIXED, p + 4 * size));
	EXPECT_TRUE(vma_has_flag(p, "uw"));
	EXPECT_FALSE(vma_has_flag(p + 4 * size, "uw"));

	memset(p, 1, 3 * size);
	ASSERT_EQ(0, uffd_protect(uffd, p, 3 * size, true));
	ASSERT_EQ((void *)elsewhere,
		  mremap(p + 2 * size, size, size,
			 MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere));
	ASSERT_EQ(0, uffd_register(uffd, elsewhere, size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ((void *)(p + 2 * size),
		  mremap(elsewhere, size, size,
			 MREMAP_MAYMOVE | MREMAP_FIXED, p + 2 * size));
	EXPECT_TRUE(vma_has_flag(p, "uw"));
	EXPECT_FALSE(vma_has_flag(p + 2 * size, "uw"));
	EXPECT_EQ(2, protected_pages(p, 3 * size));
	close(uffd);
}

/* Memory that can migrate to a device. */
FIXTURE(device)
{
	struct memory mem;
	size_t pages;
	int uffd;
};

FIXTURE_VARIANT(device)
{
	enum memory_kind kind;
	enum population population;
};

FIXTURE_VARIANT_ADD(device, anon) {
	.kind = MEMORY_ANON,
};

FIXTURE_VARIANT_ADD(device, anon_zero_page) {
	.kind = MEMORY_ANON,
	.population = READ,
};

FIXTURE_VARIANT_ADD(device, thp) {
	.kind = MEMORY_THP,
};

FIXTURE_VARIANT_ADD(device, thp_zero_page) {
	.kind = MEMORY_THP,
	.population = READ,
};

FIXTURE_SETUP(device)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->uffd = create_uffd(0);
	ASSERT_LE(0, self->uffd);
	ASSERT_EQ(0, memory_map(&self->mem, variant->kind));
	ASSERT_EQ(0, populate(&self->mem, variant->population));
	ASSERT_EQ(0, protect(self->uffd, &self->mem));
	self->pages = self->mem.size / page_size();
}

FIXTURE_TEARDOWN(device)
{
	memory_unmap(&self->mem);
	close(self->uffd);
}

/* The driver makes no node for its device. */
static int open_device(void)
{
	FILE *devices = fopen("/proc/devices", "r");
	char line[80];
	int major;

	while (devices && fgets(line, sizeof(line), devices)) {
		if (strstr(line, "HMM_DMIRROR") &&
		    sscanf(line, "%d", &major) == 1)
			mknod(HMM_DEVICE, S_IFCHR | 0600, makedev(major, 0));
	}
	if (devices)
		fclose(devices);
	return open(HMM_DEVICE, O_RDWR | O_CLOEXEC);
}

TEST_F_TIMEOUT(device, migration_keeps_the_protection, TIMEOUT)
{
	struct memory *mem = &self->mem;
	struct hmm_dmirror_cmd command = {
		.addr = address(mem->addr),
		.npages = mem->size / page_size(),
	};
	void *copy;
	int fd;

	fd = open_device();
	if (fd < 0)
		SKIP(return, "needs CONFIG_TEST_HMM");
	copy = malloc(mem->size);
	command.ptr = address(copy);
	/* The device then misses the pages that were left alone. */
	if (ioctl(fd, HMM_DMIRROR_MIGRATE_TO_DEV, &command)) {
		EXPECT_EQ(ENOENT, errno);
		EXPECT_EQ(READ, variant->population);
	}
	EXPECT_EQ(self->pages, protected_pages(mem->addr, mem->size));
	free(copy);
	close(fd);
}

/* A child that inherits the registration. */
FIXTURE(inherit)
{
	struct memory mem;
	size_t pages;
	int uffd;
	int ring;
};

FIXTURE_VARIANT(inherit)
{
	enum memory_kind kind;
	enum population population;
	bool pinned;
};

FIXTURE_VARIANT_ADD(inherit, anon) {
	.kind = MEMORY_ANON,
};

FIXTURE_VARIANT_ADD(inherit, anon_pinned) {
	.kind = MEMORY_ANON,
	.pinned = true,
};

FIXTURE_VARIANT_ADD(inherit, thp) {
	.kind = MEMORY_THP,
};

FIXTURE_VARIANT_ADD(inherit, thp_pinned) {
	.kind = MEMORY_THP,
	.pinned = true,
};

FIXTURE_VARIANT_ADD(inherit, shmem) {
	.kind = MEMORY_SHMEM,
};

FIXTURE_VARIANT_ADD(inherit, shmem_hole) {
	.kind = MEMORY_SHMEM,
	.population = NONE,
};

FIXTURE_VARIANT_ADD(inherit, hugetlb_private) {
	.kind = MEMORY_HUGETLB_PRIVATE,
};

FIXTURE_VARIANT_ADD(inherit, hugetlb_private_hole) {
	.kind = MEMORY_HUGETLB_PRIVATE,
	.population = NONE,
};

FIXTURE_VARIANT_ADD(inherit, hugetlb_private_pinned) {
	.kind = MEMORY_HUGETLB_PRIVATE,
	.pinned = true,
};

FIXTURE_VARIANT_ADD(inherit, hugetlb_shared) {
	.kind = MEMORY_HUGETLB_SHARED,
};

/* Have the kernel pin the memory for as long as the descriptor is open. */
static int pin(struct memory *mem)
{
	struct iovec buffer = { .iov_base = mem->addr, .iov_len = mem->size };
	struct io_uring_params params = { };
	int ring = syscall(__NR_io_uring_setup, 1, &params);

	if (ring < 0 || syscall(__NR_io_uring_register, ring,
				IORING_REGISTER_BUFFERS, &buffer, 1)) {
		perror("# io_uring");
		return -1;
	}
	return ring;
}

FIXTURE_SETUP(inherit)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->ring = -1;
	self->uffd = create_uffd(UFFD_FEATURE_EVENT_FORK);
	ASSERT_LE(0, self->uffd);
	ASSERT_EQ(0, memory_map(&self->mem, variant->kind));
	ASSERT_EQ(0, populate(&self->mem, variant->population));
	if (variant->pinned) {
		self->ring = pin(&self->mem);
		ASSERT_LE(0, self->ring);
	}
	ASSERT_EQ(0, protect(self->uffd, &self->mem));
	self->pages = self->mem.size / page_size();
}

FIXTURE_TEARDOWN(inherit)
{
	close(self->ring);
	memory_unmap(&self->mem);
	close(self->uffd);
}

/* fork() waits until someone has read of it. */
static void *read_fork_event(void *arg)
{
	int uffd = *(int *)arg;
	struct uffd_msg msg;

	while (read(uffd, &msg, sizeof(msg)) != sizeof(msg))
		usleep(1000);
	return (void *)(intptr_t)(msg.event == UFFD_EVENT_FORK ?
				  (int)msg.arg.fork.ufd : -1);
}

TEST_F_TIMEOUT(inherit, child_stays_protected, TIMEOUT)
{
	pthread_t reader;
	void *child_uffd;
	pid_t pid;

	ASSERT_EQ(0, pthread_create(&reader, NULL, read_fork_event,
				    &self->uffd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(check_child(&self->mem, self->pages));
	ASSERT_EQ(0, pthread_join(reader, &child_uffd));
	EXPECT_EQ(0, child_status(pid));
	EXPECT_LE(0, (int)(intptr_t)child_uffd);
	EXPECT_EQ(self->pages,
		  protected_pages(self->mem.addr, self->mem.size));
	close((int)(intptr_t)child_uffd);
}

TEST_F_TIMEOUT(inherit, write_of_the_child_is_seen, TIMEOUT)
{
	pthread_t reader;
	void *child_uffd;
	int tries;
	pid_t pid;

	ASSERT_EQ(0, pthread_create(&reader, NULL, read_fork_event,
				    &self->uffd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		memory_write(&self->mem, 0);
		_exit(0);
	}
	ASSERT_EQ(0, pthread_join(reader, &child_uffd));
	for (tries = 0; tries < 500; tries++) {
		if (uffd_has_message((int)(intptr_t)child_uffd))
			break;
		usleep(10000);
	}
	EXPECT_GT(500, tries);
	/* Which lets the child go on. */
	close((int)(intptr_t)child_uffd);
	EXPECT_EQ(0, child_status(pid));
}

static void *close_soon(void *arg)
{
	usleep(500000);
	close(*(int *)arg);
	return NULL;
}

/* The child shares the descriptors, so that the close ends the userfaultfd. */
TEST_F_TIMEOUT(inherit, child_of_a_closed_uffd_is_not_protected, TIMEOUT)
{
	pthread_t closer;
	pid_t pid;

	ASSERT_EQ(0, pthread_create(&closer, NULL, close_soon, &self->uffd));
	pid = syscall(__NR_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL,
		      NULL);
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(check_child(&self->mem, 0));
	ASSERT_EQ(0, pthread_join(closer, NULL));
	EXPECT_EQ(0, child_status(pid));
}

/* KSM changes no contents, so it is none of a tracker's business. */
FIXTURE(ksm)
{
	struct memory mem;
	int pagemap;
	int uffd;
};

FIXTURE_SETUP(ksm)
{
	self->uffd = create_uffd(0);
	ASSERT_LE(0, self->uffd);
	self->pagemap = pagemap_open(getpid());
	ASSERT_LE(0, self->pagemap);
	ASSERT_EQ(0, memory_map(&self->mem, MEMORY_ANON));
}

FIXTURE_TEARDOWN(ksm)
{
	tunable_write(KSM_SYSFS "use_zero_pages", "0");
	memory_unmap(&self->mem);
	close(self->pagemap);
	close(self->uffd);
}

static size_t ksm_pages(int pagemap, struct memory *mem)
{
	size_t i, n = 0;

	for (i = 0; i < mem->count; i++)
		n += !!(page_flags(pagemap, mem->addr + i * mem->granule) &
			KPAGE_KSM);
	return n;
}

static int unmerge(struct memory *mem)
{
	return madvise(mem->addr, mem->size, MADV_UNMERGEABLE);
}

TEST_F_TIMEOUT(ksm, merging_keeps_the_protection, TIMEOUT)
{
	struct memory *mem = &self->mem;

	ASSERT_EQ(0, memory_populate(mem));
	ASSERT_EQ(0, protect(self->uffd, mem));
	ASSERT_EQ(0, memory_merge(mem));
	EXPECT_EQ(mem->count, protected_pages(mem->addr, mem->size));
}

TEST_F_TIMEOUT(ksm, merging_with_the_zero_page_keeps_the_protection, TIMEOUT)
{
	struct memory *mem = &self->mem;
	size_t i, zero = 0;
	int tries;

	ASSERT_EQ(0, tunable_write(KSM_SYSFS "use_zero_pages", "1"));
	memset(mem->addr, 0, mem->size);
	ASSERT_EQ(0, protect(self->uffd, mem));
	ASSERT_EQ(0, madvise(mem->addr, mem->size, MADV_MERGEABLE));
	ASSERT_EQ(0, tunable_write(KSM_SYSFS "run", "1"));
	for (tries = 0; zero < mem->count && tries < 1000; tries++) {
		usleep(5000);
		for (i = 0, zero = 0; i < mem->count; i++)
			zero += !!(page_flags(self->pagemap,
					      mem->addr + i * mem->granule) &
				   KPAGE_ZERO);
	}
	ASSERT_EQ(0, tunable_write(KSM_SYSFS "run", "0"));
	ASSERT_EQ(mem->count, zero);
	EXPECT_EQ(mem->count, protected_pages(mem->addr, mem->size));
}

TEST_F_TIMEOUT(ksm, unmerging_keeps_the_protection, TIMEOUT)
{
	struct memory *mem = &self->mem;

	ASSERT_EQ(0, memory_populate(mem));
	ASSERT_EQ(0, memory_merge(mem));
	ASSERT_EQ(0, protect(self->uffd, mem));
	EXPECT_EQ(0, unmerge(mem));
	EXPECT_EQ(mem->count, protected_pages(mem->addr, mem->size));
}

TEST_F_TIMEOUT(ksm, unmerging_unmerges_protected_pages, TIMEOUT)
{
	struct memory *mem = &self->mem;
	size_t i;

	ASSERT_EQ(0, memory_populate(mem));
	ASSERT_EQ(0, memory_merge(mem));
	ASSERT_EQ(0, protect(self->uffd, mem));
	EXPECT_EQ(0, unmerge(mem));
	EXPECT_EQ(0, ksm_pages(self->pagemap, mem));
	EXPECT_FALSE(uffd_has_message(self->uffd));
	for (i = 0; i < mem->size; i++) {
		if (mem->addr[i] != 0x5a)
			break;
	}
	EXPECT_EQ(mem->size, i);
}

TEST_F_TIMEOUT(ksm, merging_and_unmerging_keep_soft_dirty, TIMEOUT)
{
	struct memory *mem = &self->mem;
	size_t i;

	ASSERT_EQ(0, memory_populate(mem));
	ASSERT_EQ(0, tunable_write("/proc/self/clear_refs", "4"));
	for (i = 0; i < mem->count; i += 2)
		memset(mem->addr + i * mem->granule, 0x5a, mem->granule);
	ASSERT_EQ(0, protect(self->uffd, mem));
	ASSERT_EQ(0, memory_merge(mem));
	EXPECT_EQ(0, unmerge(mem));
	for (i = 0; i < mem->count; i++) {
		EXPECT_EQ(i % 2 ? 0 : PAGEMAP_SOFT_DIRTY,
			  pagemap_entry(self->pagemap,
					mem->addr + i * mem->granule) &
			  PAGEMAP_SOFT_DIRTY);
	}
}

TEST_F_TIMEOUT(ksm, unmerged_pages_can_be_written, TIMEOUT)
{
	struct memory *mem = &self->mem;
	size_t i;

	ASSERT_EQ(0, memory_populate(mem));
	ASSERT_EQ(0, memory_merge(mem));
	ASSERT_EQ(0, protect(self->uffd, mem));
	EXPECT_EQ(0, unmerge(mem));
	ASSERT_EQ(0, uffd_protect(self->uffd, mem->addr, mem->size, false));
	for (i = 0; i < mem->count; i++)
		memory_write(mem, i);
	EXPECT_EQ(0, protected_pages(mem->addr, mem->size));
	EXPECT_FALSE(uffd_has_message(self->uffd));
}

/* Without memory for page tables, there is no protection, and no silence. */
FIXTURE(shortage)
{
	char *addr;
	size_t size;
	int fail_nth;
	int uffd;
};

FIXTURE_VARIANT(shortage)
{
	int flags;
};

FIXTURE_VARIANT_ADD(shortage, shmem) {
	.flags = MAP_SHARED | MAP_ANONYMOUS,
};

FIXTURE_VARIANT_ADD(shortage, hugetlb_shared) {
	.flags = MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB,
};

FIXTURE_VARIANT_ADD(shortage, hugetlb_private) {
	.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
};

FIXTURE_SETUP(shortage)
{
	if (!prepare_failures())
		SKIP(_exit(255), "the kernel has no fault injection");
	self->fail_nth = fail_nth_open();
	ASSERT_LE(0, self->fail_nth);
	self->uffd = create_uffd(0);
	ASSERT_LE(0, self->uffd);
	self->size = 2 * huge_size();
}

FIXTURE_TEARDOWN(shortage)
{
	close(self->fail_nth);
	close(self->uffd);
}

TEST_F_TIMEOUT(shortage, protecting_says_so, TIMEOUT)
{
	/* What a table of the third level maps. */
	const size_t table = huge_size() * (page_size() / 8);
	int nth, failures = 0, result;
	bool failed = true;

	for (nth = 1; failed && nth < 100; nth++) {
		/* Where no page table exists yet. */
		char *addr = reserve_addresses(self->size, table);
		size_t n;

		ASSERT_NE(NULL, addr);
		ASSERT_EQ((void *)addr, mmap(addr, self->size,
					     PROT_READ | PROT_WRITE,
					     variant->flags | MAP_FIXED |
					     MAP_NORESERVE, -1, 0));
		ASSERT_EQ(0, uffd_register(self->uffd, addr, self->size,
					   UFFDIO_REGISTER_MODE_WP, NULL));
		fail_nth_arm(self->fail_nth, nth);
		errno = 0;
		result = uffd_protect(self->uffd, addr, self->size, true);
		if (result)
			result = errno;
		failed = fail_nth_disarm(self->fail_nth);
		n = protected_pages(addr, self->size);
		if (result == ENOMEM) {
			failures++;
		} else if (result) {
			/* Access to user memory can be made to fail, too. */
			EXPECT_EQ(EFAULT, result);
		} else {
			EXPECT_EQ(self->size / page_size(), n);
		}
		munmap(addr, self->size);
	}
	EXPECT_LT(0, failures);
	EXPECT_FALSE(failed);
}

int main(int argc, char **argv)
{
	machine_set_up(NEED_THP | NEED_HUGETLB | NEED_KSM | NEED_PAGE_FLAGS);
	return test_harness_run(argc, argv);
}
