// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN: what its users do, step by step, as their documentation and
 * behaviour tell: write watches, sandboxes, WebAssembly instances, virtual
 * machines and checkpoints.  All of them use mainline's layout and number.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

#define TIMEOUT		120
#define ROUNDS		8

static unsigned int random_number(void)
{
	static unsigned int seed = 1;

	seed = seed * 1103515245 + 12345;
	return seed >> 8;
}

/* Write a word that was not there before. */
static void write_page(char *addr, size_t page)
{
	static unsigned int number;

	touch_write(addr + page * page_size(), ++number);
}

/* A call that must work, and whose walk must get on. */
static long scan_on(int pagemap, struct pm_scan_arg *arg)
{
	long regions;

	arg->size = sizeof(*arg);
	arg->walk_end = 0;
	regions = ioctl(pagemap, PAGEMAP_SCAN_PM, arg);
	if (regions < 0) {
		fprintf(stderr, "# PAGEMAP_SCAN: %s\n", strerror(errno));
		return -1;
	}
	if (arg->walk_end <= arg->start && arg->start < arg->end) {
		fprintf(stderr, "# the walk does not get on\n");
		return -1;
	}
	return regions;
}

/*
 * Write watches, as Wine has them.  The userfaultfd is for user mode only,
 * which an unprivileged program may have; a watch is armed and reset by
 * UFFDIO_WRITEPROTECT, read with or without a reset, and an answer with fewer
 * regions than there was room for is complete.
 */

#define WATCH_PAGES	1500
#define WATCH_REGIONS	16

FIXTURE(watch) {
	char *addr;
	int uffd;
	int pagemap;
	char expected[WATCH_PAGES];
};

FIXTURE_SETUP(watch)
{
	__u64 features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED;

	self->pagemap = pagemap_open(getpid());
	self->uffd = uffd_create(UFFD_USER_MODE_ONLY, &features);
	self->addr = map_pages(WATCH_PAGES, PROT_READ | PROT_WRITE);
	ASSERT_TRUE(self->addr && self->pagemap >= 0 && self->uffd >= 0);
	ASSERT_EQ(0, uffd_register(self->uffd, self->addr,
				   WATCH_PAGES * page_size(),
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ(0, uffd_protect(self->uffd, self->addr,
				  WATCH_PAGES * page_size(), true));
}

FIXTURE_TEARDOWN(watch)
{
	EXPECT_FALSE(uffd_has_message(self->uffd));
	close(self->uffd);
	close(self->pagemap);
}

/* Get up to so many addresses of written pages; returns how many. */
static long watch_read(int pagemap, char *addr, size_t pages, bool reset,
		       char **written, size_t count)
{
	struct page_region vec[WATCH_REGIONS];
	struct pm_scan_arg arg = {
		.flags = PM_SCAN_CHECK_WPASYNC |
			 (reset ? PM_SCAN_WP_MATCHING : 0),
		.start = address(addr),
		.end = address(addr) + pages * page_size(),
		.vec = address(vec),
		.vec_len = WATCH_REGIONS,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	size_t found = 0;
	long regions, i;
	__u64 page;

	do {
		arg.max_pages = count - found;
		regions = scan_on(pagemap, &arg);
		if (regions < 0)
			return -1;
		for (i = 0; i < regions; i++) {
			for (page = vec[i].start; page < vec[i].end;
			     page += page_size())
				written[found++] = (char *)(uintptr_t)page;
		}
		arg.start = arg.walk_end;
	} while (regions == WATCH_REGIONS && found < count &&
		 arg.start < arg.end);
	return found;
}

/*
 * Whether the pages that are read are the expected ones, in order, as far as
 * there is room; those that were reset are no longer expected.
 */
static int watch_check(int pagemap, char *addr, char *expected, bool reset,
		       size_t count)
{
	char *written[WATCH_PAGES];
	long found = watch_read(pagemap, addr, WATCH_PAGES, reset, written,
				count);
	size_t page;
	long i = 0;

	if (found < 0)
		return -1;
	for (page = 0; page < WATCH_PAGES && i < (long)count; page++) {
		if (!expected[page])
			continue;
		if (i >= found || written[i] != addr + page * page_size()) {
			fprintf(stderr, "# page %zu is missing\n", page);
			return -1;
		}
		if (reset)
			expected[page] = 0;
		i++;
	}
	if (i == found)
		return 0;
	fprintf(stderr, "# %ld pages instead of %ld\n", found, i);
	return -1;
}

TEST_F_TIMEOUT(watch, nothing_is_written_at_first, TIMEOUT)
{
	EXPECT_EQ(0, watch_check(self->pagemap, self->addr, self->expected,
				 false, WATCH_PAGES));
}

TEST_F_TIMEOUT(watch, reading_leaves_and_resetting_takes, TIMEOUT)
{
	unsigned int round, i;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < 200U >> round % 3; i++) {
			size_t page = random_number() % WATCH_PAGES;

			write_page(self->addr, page);
			touch_read(self->addr + random_number() %
				   WATCH_PAGES * page_size());
			self->expected[page] = 1;
		}
		for (i = 0; i < 3; i++)
			ASSERT_EQ(0, watch_check(self->pagemap, self->addr,
						 self->expected, i == 2,
						 WATCH_PAGES));
		ASSERT_EQ(0, watch_check(self->pagemap, self->addr,
					 self->expected, false, WATCH_PAGES));
	}
}

TEST_F_TIMEOUT(watch, only_what_there_was_room_for_is_reset, TIMEOUT)
{
	size_t page, count;

	for (page = 0; page < WATCH_PAGES; page += 1 + page % 7) {
		write_page(self->addr, page);
		self->expected[page] = 1;
	}
	for (count = 1; count < 100; count += 9)
		ASSERT_EQ(0, watch_check(self->pagemap, self->addr,
					 self->expected, true, count));
	EXPECT_EQ(0, watch_check(self->pagemap, self->addr, self->expected,
				 true, WATCH_PAGES));
	EXPECT_EQ(0, watch_check(self->pagemap, self->addr, self->expected,
				 true, WATCH_PAGES));
}

TEST_F_TIMEOUT(watch, reset_of_a_part_without_reading, TIMEOUT)
{
	size_t page;

	for (page = 0; page < WATCH_PAGES; page += 3) {
		write_page(self->addr, page);
		self->expected[page] = page < 300 || page >= 900;
	}
	ASSERT_EQ(0, uffd_protect(self->uffd, self->addr + 300 * page_size(),
				  600 * page_size(), true));
	EXPECT_EQ(0, watch_check(self->pagemap, self->addr, self->expected,
				 true, WATCH_PAGES));
}

/* A fault of the kernel's can't be sent to user space, but need not. */
TEST_F_TIMEOUT(watch, system_calls_write_to_it, TIMEOUT)
{
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(4, write(pipes[1], "abcd", 4));
	ASSERT_EQ(4, read(pipes[0], self->addr + 8 * page_size() - 2, 4));
	self->expected[7] = 1;
	self->expected[8] = 1;
	EXPECT_EQ(0, watch_check(self->pagemap, self->addr, self->expected,
				 true, WATCH_PAGES));
	/* A guard page that comes and goes changes nothing. */
	ASSERT_EQ(0, mprotect(self->addr, 9 * page_size(), PROT_NONE));
	ASSERT_EQ(0, mprotect(self->addr, 9 * page_size(),
			      PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, watch_check(self->pagemap, self->addr, self->expected,
				 true, WATCH_PAGES));
}

/*
 * Memory of a sandbox, as gVisor has it: a memory file, of which the written
 * pages are saved.  512 regions a call, both flags, and the loop ends when
 * walk_end has come to the end.
 */

#define SANDBOX_PAGES	4096
#define SANDBOX_REGIONS	512

FIXTURE(sandbox) {
	char *addr;
	char *copy;
	int fd;
	int uffd;
	int pagemap;
};

FIXTURE_SETUP(sandbox)
{
	size_t size = SANDBOX_PAGES * page_size();

	self->pagemap = pagemap_open(getpid());
	self->uffd = uffd_create_async();
	self->fd = syscall(__NR_memfd_create, "sandbox", 0);
	ASSERT_TRUE(self->pagemap >= 0 && self->uffd >= 0 && self->fd >= 0);
	ASSERT_EQ(0, ftruncate(self->fd, size));
	self->addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  self->fd, 0);
	self->copy = calloc(1, size);
	ASSERT_TRUE(self->addr != MAP_FAILED && self->copy);
	ASSERT_EQ(0, uffd_register(self->uffd, self->addr, size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
}

FIXTURE_TEARDOWN(sandbox)
{
	EXPECT_FALSE(uffd_has_message(self->uffd));
	munmap(self->addr, SANDBOX_PAGES * page_size());
	free(self->copy);
	close(self->fd);
	close(self->uffd);
	close(self->pagemap);
}

/* Save what was written; returns how many pages, and counts the calls. */
static long sandbox_save(int pagemap, char *addr, char *copy,
			 unsigned int *calls)
{
	static struct page_region vec[SANDBOX_REGIONS];
	struct pm_scan_arg arg = {
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = address(addr),
		.end = address(addr) + SANDBOX_PAGES * page_size(),
		.vec = address(vec),
		.vec_len = SANDBOX_REGIONS,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	long pages = 0, regions, i;

	for (*calls = 0; arg.start < arg.end; arg.start = arg.walk_end) {
		regions = scan_on(pagemap, &arg);
		if (regions < 0)
			return -1;
		for (i = 0; i < regions; i++) {
			size_t offset = vec[i].start - address(addr);

			memcpy(copy + offset, addr + offset,
			       vec[i].end - vec[i].start);
		}
		pages += scan_pages(vec, regions);
		*calls += 1;
	}
	return pages;
}

TEST_F_TIMEOUT(sandbox, is_saved_by_its_written_pages, TIMEOUT)
{
	size_t size = SANDBOX_PAGES * page_size(), page;
	unsigned int round, calls;

	/* All of it at first: nothing has been protected yet. */
	EXPECT_EQ(SANDBOX_PAGES, sandbox_save(self->pagemap, self->addr,
					      self->copy, &calls));
	for (round = 0; round < ROUNDS; round++) {
		long written = 0;

		/* Every second page, every third, ... */
		for (page = round; page < SANDBOX_PAGES; page += 2 + round) {
			write_page(self->addr, page);
			written++;
		}
		EXPECT_EQ(written, sandbox_save(self->pagemap, self->addr,
						self->copy, &calls));
		EXPECT_LE((written + SANDBOX_REGIONS - 1) / SANDBOX_REGIONS,
			  calls);
		ASSERT_EQ(0, memcmp(self->addr, self->copy, size));
	}
	EXPECT_EQ(0, sandbox_save(self->pagemap, self->addr, self->copy,
				  &calls));
	EXPECT_EQ(1, calls);
}

/*
 * Instances of WebAssembly, as wasmtime resets them: without userfaultfd.  A
 * linear memory is a private mapping of an image, with anonymous memory behind
 * it.  Pages that are written and present, and neither a file's nor the zero
 * page, are set back by hand up to a limit; the rest is dropped.
 */

#define IMAGE_PAGES	48
#define INSTANCE_PAGES	512
#define INSTANCE_REGIONS 32

FIXTURE(instance) {
	int image;
	char *original;
	char *addr;
	int pagemap;
};

FIXTURE_SETUP(instance)
{
	size_t size = INSTANCE_PAGES * page_size(), i;

	self->pagemap = pagemap_open(getpid());
	self->image = syscall(__NR_memfd_create, "image", 0);
	self->original = calloc(1, size);
	self->addr = map_pages(INSTANCE_PAGES, PROT_READ | PROT_WRITE);
	ASSERT_TRUE(self->image >= 0 && self->original && self->addr);
	for (i = 0; i < IMAGE_PAGES * page_size(); i++)
		self->original[i] = i % 251;
	ASSERT_EQ((ssize_t)(IMAGE_PAGES * page_size()),
		  write(self->image, self->original,
			IMAGE_PAGES * page_size()));
	ASSERT_TRUE(mmap(self->addr, IMAGE_PAGES * page_size(),
			 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
			 self->image, 0) == self->addr);
	ASSERT_EQ(0, keep_pages_small(self->addr + IMAGE_PAGES * page_size(),
				      (INSTANCE_PAGES - IMAGE_PAGES) *
				      page_size()));
}

FIXTURE_TEARDOWN(instance)
{
	close(self->image);
	close(self->pagemap);
	free(self->original);
}

static struct pm_scan_arg instance_scan(char *addr, struct page_region *vec,
					size_t max_pages)
{
	return (struct pm_scan_arg) {
		.start = address(addr),
		.end = address(addr) + INSTANCE_PAGES * page_size(),
		.vec = address(vec),
		.vec_len = INSTANCE_REGIONS,
		.max_pages = max_pages,
		.category_inverted = PAGE_IS_PFNZERO | PAGE_IS_FILE,
		.category_mask = PAGE_IS_WRITTEN | PAGE_IS_PRESENT |
				 PAGE_IS_PFNZERO | PAGE_IS_FILE,
	};
}

/* Set the instance back; returns how many pages that took by hand. */
static long instance_reset(int pagemap, char *addr, const char *original,
			   size_t keep)
{
	struct page_region vec[INSTANCE_REGIONS];
	struct pm_scan_arg arg = instance_scan(addr, vec, keep);
	long pages = 0, regions, i;

	do {
		arg.max_pages = keep - pages;
		regions = scan_on(pagemap, &arg);
		if (regions < 0)
			return -1;
		for (i = 0; i < regions; i++) {
			size_t offset = vec[i].start - address(addr);

			if (vec[i].categories)
				return -1;
			memcpy(addr + offset, original + offset,
			       vec[i].end - vec[i].start);
		}
		pages += scan_pages(vec, regions);
		arg.start = arg.walk_end;
	} while (arg.start < arg.end && pages < (long)keep);
	if (arg.start < arg.end &&
	    madvise((char *)(uintptr_t)arg.start, arg.end - arg.start,
		    MADV_DONTNEED))
		return -1;
	return pages;
}

TEST_F_TIMEOUT(instance, probe_of_an_empty_range_works, TIMEOUT)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.category_mask = ALL_CATEGORIES,
		.return_mask = ALL_CATEGORIES,
	};

	EXPECT_EQ(0, ioctl(self->pagemap, PAGEMAP_SCAN_PM, &arg));
	arg.start = address(self->addr);
	arg.end = arg.start;
	EXPECT_EQ(0, ioctl(self->pagemap, PAGEMAP_SCAN_PM, &arg));
}

TEST_F_TIMEOUT(instance, fresh_one_has_no_written_page, TIMEOUT)
{
	struct page_region vec[INSTANCE_REGIONS];
	struct pm_scan_arg arg = instance_scan(self->addr, vec, 0);
	size_t page;

	EXPECT_EQ(0, scan_on(self->pagemap, &arg));
	EXPECT_EQ(arg.end, arg.walk_end);
	/* Nor one that was only read: the file's pages, and zero pages. */
	for (page = 0; page < INSTANCE_PAGES; page++)
		touch_read(self->addr + page * page_size());
	EXPECT_EQ(0, scan_on(self->pagemap, &arg));
	/* In plain words: nothing that was never written is. */
	ASSERT_EQ(0, madvise(self->addr, INSTANCE_PAGES * page_size(),
			     MADV_DONTNEED));
	arg.category_inverted = 0;
	arg.category_mask = PAGE_IS_WRITTEN;
	EXPECT_EQ(0, scan_on(self->pagemap, &arg));
}

TEST_F_TIMEOUT(instance, is_reset_by_its_written_pages, TIMEOUT)
{
	static const size_t limits[] = { 4096, 4096, 100, 7, 1, 4096, 64, 33 };
	size_t size = INSTANCE_PAGES * page_size(), i;
	unsigned int round;

	for (round = 0; round < ROUNDS; round++) {
		char dirty[INSTANCE_PAGES] = {};
		size_t expected = 0;
		long pages;

		for (i = 0; i < 300; i++) {
			size_t page = random_number() % INSTANCE_PAGES;

			if (i % 3) {
				touch_read(self->addr + page * page_size());
				continue;
			}
			write_page(self->addr, page);
			dirty[page] = 1;
		}
		for (i = 0; i < INSTANCE_PAGES; i++)
			expected += dirty[i];
		if (expected > limits[round])
			expected = limits[round];
		pages = instance_reset(self->pagemap, self->addr,
				       self->original, limits[round]);
		/* What was kept from earlier rounds is written, too. */
		ASSERT_LE((long)expected, pages);
		ASSERT_GE((long)limits[round], pages);
		ASSERT_EQ(0, memcmp(self->addr, self->original, size));
	}
}

/*
 * A virtual machine that is restored on demand, as forks of Firecracker do:
 * registered as missing and for writes, pages come from a snapshot and arrive
 * protected; a balloon gives pages back; incremental snapshots take what was
 * written.
 */

#define GUEST_PAGES	128

/**
 * enum removed - whether a page was taken by the balloon
 * @REMOVED_NOT:	it was not, and is as the snapshot has it
 * @REMOVED_SINCE:	since the last incremental snapshot, which is to see it
 * @REMOVED_BEFORE:	before that, so that the copy has it empty, too
 */
enum removed {
	REMOVED_NOT,
	REMOVED_SINCE,
	REMOVED_BEFORE,
};

/**
 * struct machine_memory - memory of a virtual machine, and what provides it
 * @addr:	GUEST_PAGES pages
 * @snapshot:	what they hold at first
 * @copy:	what the incremental snapshots make of it
 * @removed:	which pages the balloon took: they come back empty
 * @uffd:	asks for pages, and tells of those that are taken away
 * @faults:	how many were asked for
 * @removals:	how many times some were taken away, as far as @uffd's reader
 *		has noted it; madvise() returns before that
 */
struct machine_memory {
	char *addr;
	char *snapshot;
	char *copy;
	char removed[GUEST_PAGES];
	int uffd;
	unsigned int faults;
	unsigned int removals;
};

static int machine_message(struct machine_memory *machine,
			   const struct uffd_msg *message, char *empty)
{
	size_t first, last;
	char removed;

	switch (message->event) {
	case UFFD_EVENT_REMOVE:
		first = message->arg.remove.start - address(machine->addr);
		last = message->arg.remove.end - address(machine->addr);
		for (; first < last; first += page_size())
			machine->removed[first / page_size()] =
				REMOVED_SINCE;
		__atomic_fetch_add(&machine->removals, 1, __ATOMIC_RELEASE);
		return 0;
	case UFFD_EVENT_PAGEFAULT:
		first = message->arg.pagefault.address - address(machine->addr);
		first &= -page_size();
		machine->faults++;
		if (message->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)
			return -1;
		/* A page that arrives protected is not written. */
		removed = machine->removed[first / page_size()];
		return uffd_copy(machine->uffd, machine->addr + first,
				 removed ? empty : machine->snapshot + first,
				 page_size(), removed == REMOVED_SINCE ? 0 :
				 UFFDIO_COPY_MODE_WP);
	default:
		return -1;
	}
}

/* Give a page back; all that follows finds it noted. */
static int machine_remove(struct machine_memory *machine, void *page, int advice)
{
	unsigned int removals = machine->removals + 1;

	if (madvise(page, page_size(), advice))
		return -1;
	while (__atomic_load_n(&machine->removals, __ATOMIC_ACQUIRE) < removals)
		sched_yield();
	return 0;
}

static void *provide_memory(void *argument)
{
	struct machine_memory *machine = argument;
	struct pollfd poll_uffd = { .fd = machine->uffd, .events = POLLIN };
	char *empty = calloc(1, page_size());
	struct uffd_msg message;

	while (poll(&poll_uffd, 1, -1) == 1 &&
	       read(machine->uffd, &message, sizeof(message)) ==
	       sizeof(message)) {
		if (machine_message(machine, &message, empty) < 0) {
			fprintf(stderr, "# event %d can't be served\n",
				message.event);
			abort();
		}
	}
	return NULL;
}

FIXTURE(machine) {
	struct machine_memory memory;
	int pagemap;
	pthread_t thread;
};

FIXTURE_VARIANT(machine) {
	bool memfd;
	int take;
};

FIXTURE_VARIANT_ADD(machine, anonymous) { false, MADV_DONTNEED };
FIXTURE_VARIANT_ADD(machine, memfd) { true, MADV_REMOVE };

FIXTURE_SETUP(machine)
{
	__u64 features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
			 UFFD_FEATURE_EVENT_REMOVE |
			 UFFD_FEATURE_MISSING_SHMEM;
	struct machine_memory *memory = &self->memory;
	size_t size = GUEST_PAGES * page_size(), i;

	self->pagemap = pagemap_open(getpid());
	memory->uffd = uffd_create(0, &features);
	memory->snapshot = malloc(size);
	memory->copy = malloc(size);
	memory->addr = map_pages(GUEST_PAGES, PROT_READ | PROT_WRITE);
	ASSERT_TRUE(self->pagemap >= 0 && memory->uffd >= 0 &&
		    memory->snapshot && memory->copy && memory->addr);
	for (i = 0; i < size; i++)
		memory->snapshot[i] = i / page_size() + i % 13;
	memcpy(memory->copy, memory->snapshot, size);
	if (variant->memfd) {
		int fd = syscall(__NR_memfd_create, "machine", 0);

		ASSERT_EQ(0, ftruncate(fd, size));
		ASSERT_TRUE(mmap(memory->addr, size, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED, fd, 0) ==
			    memory->addr);
		close(fd);
	} else {
		ASSERT_EQ(0, keep_pages_small(memory->addr, size));
	}
	ASSERT_EQ(0, uffd_register(memory->uffd, memory->addr, size,
				   UFFDIO_REGISTER_MODE_MISSING |
				   UFFDIO_REGISTER_MODE_WP, NULL));
	/* Pages that have not come yet are as the snapshot has them. */
	ASSERT_EQ(0, uffd_protect(memory->uffd, memory->addr, size, true));
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, provide_memory,
				    memory));
}

FIXTURE_TEARDOWN(machine)
{
	EXPECT_EQ(0, pthread_cancel(self->thread));
	EXPECT_EQ(0, pthread_join(self->thread, NULL));
	close(self->memory.uffd);
	close(self->pagemap);
	free(self->memory.snapshot);
	free(self->memory.copy);
}

/* Take what was written into the copy, an entry for each page it was. */
static int machine_snapshot(int pagemap, struct machine_memory *memory,
			    char *reported)
{
	struct page_region vec[20];
	struct pm_scan_arg arg = {
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = address(memory->addr),
		.end = address(memory->addr) + GUEST_PAGES * page_size(),
		.vec = address(vec),
		.vec_len = ARRAY_SIZE(vec),
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN | PAGE_IS_PRESENT,
	};
	long regions, i;

	memset(reported, 0, GUEST_PAGES);
	for (; arg.start < arg.end; arg.start = arg.walk_end) {
		regions = scan_on(pagemap, &arg);
		if (regions < 0)
			return -1;
		for (i = 0; i < regions; i++) {
			size_t offset = vec[i].start - address(memory->addr);
			size_t size = vec[i].end - vec[i].start;

			memset(reported + offset / page_size(), 1,
			       size / page_size());
			/* What is not there was taken, and is empty. */
			if (vec[i].categories & PAGE_IS_PRESENT)
				memcpy(memory->copy + offset,
				       memory->addr + offset, size);
			else
				memset(memory->copy + offset, 0, size);
		}
	}
	for (i = 0; i < GUEST_PAGES; i++) {
		if (memory->removed[i])
			memory->removed[i] = REMOVED_BEFORE;
	}
	return 0;
}

TEST_F_TIMEOUT(machine, pages_that_come_are_not_written, TIMEOUT)
{
	char reported[GUEST_PAGES], none[GUEST_PAGES] = {};
	size_t page;

	ASSERT_EQ(0, machine_snapshot(self->pagemap, &self->memory, reported));
	EXPECT_EQ(0, memcmp(none, reported, GUEST_PAGES));
	for (page = 0; page < GUEST_PAGES; page++)
		touch_read(self->memory.addr + page * page_size());
	EXPECT_EQ(GUEST_PAGES, self->memory.faults);
	ASSERT_EQ(0, machine_snapshot(self->pagemap, &self->memory, reported));
	EXPECT_EQ(0, memcmp(none, reported, GUEST_PAGES));
}

TEST_F_TIMEOUT(machine, snapshots_hold_what_the_machine_has, TIMEOUT)
{
	struct machine_memory *memory = &self->memory;
	size_t size = GUEST_PAGES * page_size();
	unsigned int round, i;

	for (round = 0; round < ROUNDS; round++) {
		char expected[GUEST_PAGES] = {}, reported[GUEST_PAGES];

		for (i = 0; i < 60; i++) {
			size_t page = random_number() % GUEST_PAGES;
			char *p = memory->addr + page * page_size();

			switch (random_number() % 4) {
			case 0:
				touch_read(p);
				break;
			case 1:
				ASSERT_EQ(0, machine_remove(memory, p,
							    variant->take));
				expected[page] = 1;
				break;
			default:
				write_page(memory->addr, page);
				expected[page] = 1;
				break;
			}
		}
		ASSERT_EQ(0, machine_snapshot(self->pagemap, memory,
					      reported));
		ASSERT_EQ(0, memcmp(expected, reported, GUEST_PAGES));
		/* Every page comes, if it has to, and is not written by that. */
		ASSERT_EQ(0, memcmp(memory->copy, memory->addr, size));
	}
	EXPECT_LT(0, memory->faults);
}

/*
 * Checkpoints, as CRIU 4 makes them: a stopped process, a call for each range,
 * resumed at walk_end, for the pages that have to be saved, with soft-dirty to
 * tell those that have to be saved again; it is cleared between rounds.
 */

FIXTURE(checkpoint) {
	pid_t pid;
	int pagemap;
	int go;
	int done;
};

#define CHECKPOINT_KINDS	6

/* What the target does in each round: some of everything. */
static void checkpoint_work(struct memory *mem, unsigned int round)
{
	size_t i, j;

	for (i = 0; i < CHECKPOINT_KINDS; i++) {
		for (j = 0; j < mem[i].count; j++) {
			if ((j + i) % (3 + round) == 0)
				memory_write(&mem[i], j);
			else if ((j + i) % 5 == round)
				memory_read(&mem[i], j);
		}
		if (!memory_is_shared(mem[i].kind))
			madvise(mem[i].addr + round * mem[i].granule,
				mem[i].granule, MADV_DONTNEED);
	}
	if (round == 1) {
		drain_page_lists();
		madvise(mem[0].addr, mem[0].size, MADV_PAGEOUT);
	}
	if (round == 3)
		mprotect(mem[0].addr, mem[0].size / 2, PROT_NONE);
}

static void checkpoint_target(int go, int done)
{
	enum memory_kind kinds[CHECKPOINT_KINDS] = {
		MEMORY_ANON, MEMORY_SHMEM, MEMORY_TMPFS_PRIVATE,
		MEMORY_EXT4_PRIVATE, MEMORY_EXT4_SHARED,
		machine_has(NEED_THP) ? MEMORY_THP : MEMORY_ANON,
	};
	struct memory mem[CHECKPOINT_KINDS];
	unsigned int round, i;
	char byte;

	for (i = 0; i < CHECKPOINT_KINDS; i++) {
		if (memory_map(&mem[i], kinds[i]))
			_exit(1);
	}
	for (round = 0; read(go, &byte, 1) == 1; round++) {
		checkpoint_work(mem, round);
		if (write(done, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

FIXTURE_SETUP(checkpoint)
{
	int go[2], done[2];

	ASSERT_TRUE(machine_has(NEED_FILES | NEED_SWAP | NEED_PAGE_FLAGS));
	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(done));
	self->pid = fork();
	if (!self->pid) {
		close(go[1]);
		checkpoint_target(go[0], done[1]);
	}
	close(go[0]);
	close(done[1]);
	self->go = go[1];
	self->done = done[0];
	self->pagemap = pagemap_open(self->pid);
	ASSERT_LE(0, self->pagemap);
}

FIXTURE_TEARDOWN(checkpoint)
{
	kill(self->pid, SIGKILL);
	waitpid(self->pid, NULL, 0);
	close(self->pagemap);
}

static int checkpoint_stop(pid_t pid, bool stop)
{
	int status;

	if (kill(pid, stop ? SIGSTOP : SIGCONT))
		return -1;
	if (!stop)
		return 0;
	return waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) ?
	       0 : -1;
}

static struct pm_scan_arg checkpoint_scan(struct page_region *vec,
					  __u64 vec_len)
{
	return (struct pm_scan_arg) {
		.size = sizeof(struct pm_scan_arg),
		.vec = address(vec),
		.vec_len = vec_len,
		.category_inverted = PAGE_IS_PFNZERO | PAGE_IS_FILE,
		.category_mask = PAGE_IS_PFNZERO | PAGE_IS_FILE,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED |
			       PAGE_IS_SOFT_DIRTY,
	};
}

TEST_F_TIMEOUT(checkpoint, probe_tells_what_the_kernel_knows, TIMEOUT)
{
	struct pm_scan_arg arg = checkpoint_scan(NULL, 0);

	EXPECT_EQ(0, ioctl(self->pagemap, PAGEMAP_SCAN_PM, &arg));
	arg.return_mask |= 1 << 20;
	EXPECT_EQ(-1, ioctl(self->pagemap, PAGEMAP_SCAN_PM, &arg));
	EXPECT_EQ(EINVAL, errno);
	arg = checkpoint_scan(NULL, 0);
	arg.category_mask |= 1 << 20;
	EXPECT_EQ(-1, ioctl(self->pagemap, PAGEMAP_SCAN_PM, &arg));
	EXPECT_EQ(EINVAL, errno);
}

/* What pagemap says of a page, in the same terms. */
static __u64 checkpoint_expected(int pagemap, __u64 page)
{
	void *addr = (void *)(uintptr_t)page;
	__u64 entry = pagemap_entry(pagemap, addr), categories = 0;

	if (entry & PAGEMAP_PRESENT)
		categories = PAGE_IS_PRESENT;
	else if (entry & PAGEMAP_SWAPPED)
		categories = PAGE_IS_SWAPPED;
	if (!categories || entry & PAGEMAP_FILE ||
	    page_flags(pagemap, addr) & KPAGE_ZERO)
		return NOT_REPORTED;
	if (entry & PAGEMAP_SOFT_DIRTY)
		categories |= PAGE_IS_SOFT_DIRTY;
	return categories;
}

/**
 * struct checkpoint_count - how many pages of what there were
 * @present:	in memory
 * @swapped:	in swap
 * @dirty:	of both
 * @left:	not to be saved
 */
struct checkpoint_count {
	unsigned int present;
	unsigned int swapped;
	unsigned int dirty;
	unsigned int left;
};

/* Compare one range, by a cache that is filled anew where it ends. */
static int checkpoint_range(int pagemap, __u64 start, __u64 end,
			    struct checkpoint_count *count)
{
	struct page_region vec[9], *region = vec;
	struct pm_scan_arg arg = checkpoint_scan(vec, ARRAY_SIZE(vec));
	long left = 0;
	__u64 page;

	arg.walk_end = start;
	arg.end = end;
	for (page = start; page < end; page += page_size()) {
		__u64 expected = checkpoint_expected(pagemap, page);
		__u64 seen = NOT_REPORTED;

		if (left && page >= region->end) {
			region++;
			left--;
		}
		if (!left && page >= arg.walk_end) {
			arg.start = arg.walk_end;
			left = scan_on(pagemap, &arg);
			if (left < 0)
				return -1;
			region = vec;
		}
		if (left && page >= region->start)
			seen = region->categories;
		if (seen != expected) {
			fprintf(stderr, "# page %#llx is %#llx, not %#llx\n",
				(unsigned long long)page,
				(unsigned long long)seen,
				(unsigned long long)expected);
			return -1;
		}
		if (seen == NOT_REPORTED) {
			count->left++;
			continue;
		}
		count->present += !!(seen & PAGE_IS_PRESENT);
		count->swapped += !!(seen & PAGE_IS_SWAPPED);
		count->dirty += !!(seen & PAGE_IS_SOFT_DIRTY);
	}
	return 0;
}

/* Compare all memory of a process that is stopped. */
static int checkpoint_compare(pid_t pid, int pagemap,
			      struct checkpoint_count *count)
{
	unsigned long long start, end;
	char path[32], line[512];
	int result = 0;
	FILE *maps;

	memset(count, 0, sizeof(*count));
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "r");
	if (!maps)
		return -1;
	while (!result && fgets(line, sizeof(line), maps)) {
		/* What is the kernel's, and what only reserves addresses. */
		if (strstr(line, "[v") || strstr(line, "---p 00000000 00:00"))
			continue;
		if (sscanf(line, "%llx-%llx", &start, &end) != 2)
			result = -1;
		else
			result = checkpoint_range(pagemap, start, end, count);
	}
	fclose(maps);
	return result;
}

TEST_F_TIMEOUT(checkpoint, saves_what_pagemap_says, TIMEOUT)
{
	struct checkpoint_count count, again;
	unsigned int round, swapped = 0;
	char byte = 0;

	for (round = 0; round < 4; round++) {
		ASSERT_EQ(1, write(self->go, &byte, 1));
		ASSERT_EQ(1, read(self->done, &byte, 1));
		ASSERT_EQ(0, checkpoint_stop(self->pid, true));
		ASSERT_EQ(0, checkpoint_compare(self->pid, self->pagemap,
						&count));
		EXPECT_TRUE(count.present && count.left);
		EXPECT_EQ(machine_has_soft_dirty(), count.dirty > 0);
		swapped += count.swapped;

		ASSERT_EQ(0, clear_soft_dirty(self->pid));
		ASSERT_EQ(0, checkpoint_compare(self->pid, self->pagemap,
						&again));
		EXPECT_EQ(count.present, again.present);
		EXPECT_EQ(0, again.dirty);
		ASSERT_EQ(0, checkpoint_stop(self->pid, false));
		TH_LOG("%u present, %u swapped, %u dirty, %u not to be saved",
		       count.present, count.swapped, count.dirty, count.left);
	}
	EXPECT_LT(0, swapped);
}

static void __attribute__((constructor)) prepare(void)
{
	machine_prepare(NEED_FILES | NEED_SWAP | NEED_THP | NEED_PAGE_FLAGS);
}

TEST_HARNESS_MAIN
