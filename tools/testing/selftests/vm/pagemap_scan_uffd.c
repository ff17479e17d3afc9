// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN: the userfaultfd features that it stands on, async
 * write-protection and the protection of pages that are not populated.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

#define TIMEOUT	120

TEST(probe_reports_both_features)
{
	__u64 features = 0;
	int uffd = uffd_create(0, &features);

	ASSERT_LE(0, uffd);
	/* Both or neither. */
	if (!(features & (UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC |
			  UFFD_FEATURE_PAGEFAULT_FLAG_WP)))
		SKIP(return, "this kernel does not track writes");
	EXPECT_TRUE(features & UFFD_FEATURE_WP_UNPOPULATED);
	EXPECT_TRUE(features & UFFD_FEATURE_WP_ASYNC);
	/* And what was there before. */
	EXPECT_TRUE(features & UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	EXPECT_TRUE(features & UFFD_FEATURE_EXACT_ADDRESS);
	close(uffd);
}

TEST(features_are_the_bits_that_mainline_has)
{
	EXPECT_EQ(1 << 13, UFFD_FEATURE_WP_UNPOPULATED);
	EXPECT_EQ(1 << 15, UFFD_FEATURE_WP_ASYNC);
}

TEST(unknown_feature_is_refused)
{
	__u64 features = 1ULL << 40;

	EXPECT_EQ(-1, uffd_create(0, &features));
	EXPECT_EQ(EINVAL, errno);
	/* Not one of ours, though mainline has it. */
	features = UFFD_FEATURE_WP_ASYNC | 1 << 14;
	EXPECT_EQ(-1, uffd_create(0, &features));
	EXPECT_EQ(EINVAL, errno);
}

TEST(async_implies_unpopulated)
{
	__u64 features = UFFD_FEATURE_WP_ASYNC;
	struct tracking tracking = { .layout = LAYOUT_VER1 };

	tracking.pagemap = pagemap_open(getpid());
	tracking.uffd = uffd_create(0, &features);
	ASSERT_LE(0, tracking.uffd);
	ASSERT_EQ(0, memory_map(&tracking.mem, MEMORY_ANON));
	ASSERT_EQ(0, uffd_register(tracking.uffd, tracking.mem.addr,
				   tracking.mem.size, UFFDIO_REGISTER_MODE_WP,
				   NULL));
	ASSERT_EQ(0, uffd_protect(tracking.uffd, tracking.mem.addr,
				  tracking.mem.size, true));
	EXPECT_EQ(0, check_written(&tracking, no_granule));
	write_set(&tracking.mem, some_granules);
	EXPECT_EQ(0, check_written(&tracking, some_granules));
	EXPECT_EQ(0, tracking_end(&tracking));
}

/* Ranges that only async mode, asked for alone, can be registered on. */
static void *find_vdso(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned long start = 0;

	while (maps && fgets(line, sizeof(line), maps)) {
		if (strstr(line, "[vdso]"))
			start = strtoul(line, NULL, 16);
	}
	if (maps)
		fclose(maps);
	return (void *)start;
}

TEST(special_mapping_is_refused)
{
	int uffd = uffd_create_async();
	void *start = find_vdso();

	ASSERT_LE(0, uffd);
	if (!start)
		SKIP(return, "needs a vdso");
	EXPECT_EQ(-1, uffd_register(uffd, start, page_size(),
				    UFFDIO_REGISTER_MODE_WP, NULL));
	EXPECT_EQ(EINVAL, errno);
	close(uffd);
}

/*
 * A clean page of a file must not become writable without the file system's
 * knowing, or what is written to it is never stored.
 */
TEST(written_page_of_a_file_is_dirty)
{
	struct tracking tracking;
	struct memory *mem = &tracking.mem;
	size_t i;

	if (!machine_has(NEED_FILES | NEED_PAGE_FLAGS))
		SKIP(return, "needs ext4 and page flags");
	ASSERT_EQ(0, tracking_begin(&tracking, MEMORY_EXT4_SHARED,
				    LAYOUT_VER1));
	ASSERT_EQ(0, fsync(mem->fd));
	for (i = 0; i < mem->count; i++)
		memory_read(mem, i);
	ASSERT_EQ(0, protect_written(&tracking));
	ASSERT_EQ(0, memory_with_flags(mem, KPAGE_DIRTY));

	/* By a fault in async mode, by UFFDIO_WRITEPROTECT, and in the end. */
	memory_write(mem, 0);
	EXPECT_EQ(1, memory_with_flags(mem, KPAGE_DIRTY));
	ASSERT_EQ(0, uffd_protect(tracking.uffd, mem->addr, 4 * mem->granule,
				  false));
	memory_write(mem, 1);
	EXPECT_EQ(2, memory_with_flags(mem, KPAGE_DIRTY));
	close(tracking.uffd);
	write_set(mem, every_granule);
	EXPECT_EQ(mem->count, memory_with_flags(mem, KPAGE_DIRTY));
}

/* Each kind of memory. */
FIXTURE(uffd) {
	struct memory mem;
	int pagemap;
};

FIXTURE_VARIANT(uffd) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(uffd, ANON) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(uffd, THP) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(uffd, SHMEM) { MEMORY_SHMEM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(uffd, MEMFD) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(uffd, MEMFD_THP) { MEMORY_MEMFD_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(uffd, TMPFS_PRIVATE) { MEMORY_TMPFS_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(uffd, TMPFS_SHARED) { MEMORY_TMPFS_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(uffd, EXT4_PRIVATE) { MEMORY_EXT4_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(uffd, EXT4_SHARED) { MEMORY_EXT4_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(uffd, HUGETLB_PRIVATE) { MEMORY_HUGETLB_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(uffd, HUGETLB_SHARED) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(uffd, KSM) { MEMORY_KSM, LAYOUT_VER1 };

FIXTURE_SETUP(uffd)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->pagemap = pagemap_open(getpid());
	ASSERT_LE(0, self->pagemap);
	ASSERT_EQ(0, memory_map(&self->mem, variant->kind));
}

FIXTURE_TEARDOWN(uffd)
{
	close(self->pagemap);
	memory_unmap(&self->mem);
}

static bool is_ext4(enum memory_kind kind)
{
	return kind == MEMORY_EXT4_PRIVATE || kind == MEMORY_EXT4_SHARED;
}

TEST_F_TIMEOUT(uffd, async_mode_registers, TIMEOUT)
{
	int uffd = uffd_create_async();
	__u64 ioctls = 0;

	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, uffd_register(uffd, self->mem.addr, self->mem.size,
				   UFFDIO_REGISTER_MODE_WP, &ioctls));
	EXPECT_TRUE(ioctls & 1ULL << _UFFDIO_WRITEPROTECT);
	EXPECT_TRUE(vma_has_flag(self->mem.addr, "uw"));
	close(uffd);
}

TEST_F_TIMEOUT(uffd, sync_mode_registers_as_before, TIMEOUT)
{
	__u64 features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			 UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
			 UFFD_FEATURE_WP_UNPOPULATED, ioctls = 0;
	int uffd = uffd_create(0, &features), result;

	ASSERT_LE(0, uffd);
	errno = 0;
	result = uffd_register(uffd, self->mem.addr, self->mem.size,
			       UFFDIO_REGISTER_MODE_WP, &ioctls);
	if (is_ext4(variant->kind)) {
		EXPECT_EQ(-1, result);
		EXPECT_EQ(EINVAL, errno);
	} else {
		EXPECT_EQ(0, result);
		EXPECT_TRUE(ioctls & 1ULL << _UFFDIO_WRITEPROTECT);
	}
	close(uffd);
}

/* Async mode only opens the door to a file if no other mode is asked for. */
TEST_F_TIMEOUT(uffd, missing_and_async_registers_as_missing_does, TIMEOUT)
{
	int uffd = uffd_create_async();
	int result;

	ASSERT_LE(0, uffd);
	errno = 0;
	result = uffd_register(uffd, self->mem.addr, self->mem.size,
			       UFFDIO_REGISTER_MODE_WP |
			       UFFDIO_REGISTER_MODE_MISSING, NULL);
	EXPECT_EQ(is_ext4(variant->kind) ? -1 : 0, result);
	EXPECT_EQ(is_ext4(variant->kind) ? EINVAL : 0, errno);
	close(uffd);
}

/* What is left of the tracking once it is over: nothing. */
static int check_untracked(struct memory *mem, int pagemap)
{
	struct page_region region;
	struct scan scan = {
		.layout = LAYOUT_VER1,
		.start = address(mem->addr),
		.end = address(mem->addr) + mem->size,
		.vec = &region,
		.vec_len = 1,
		.required = PAGE_IS_WPALLOWED,
	};
	size_t present = pages_with(pagemap, mem->addr, mem->size,
				    PAGEMAP_PRESENT);

	if (pages_with(pagemap, mem->addr, mem->size, PAGEMAP_UFFD_WP)) {
		fprintf(stderr, "# pages are still protected\n");
		return -1;
	}
	if (scan_call(pagemap, &scan) || vma_has_flag(mem->addr, "uw")) {
		fprintf(stderr, "# the range is still registered\n");
		return -1;
	}
	/* All that is populated reads as written, as anywhere. */
	scan.required = PAGE_IS_WRITTEN;
	scan.vec = NULL;
	scan.vec_len = 0;
	if (scan_call(pagemap, &scan) || scan.pages != present) {
		fprintf(stderr, "# %llu pages are written, %zu present\n",
			(unsigned long long)scan.pages, present);
		return -1;
	}
	write_set(mem, every_granule);
	return 0;
}

TEST_F_TIMEOUT(uffd, unregistering_leaves_nothing, TIMEOUT)
{
	struct tracking tracking = { .layout = LAYOUT_VER1 };

	tracking.mem = self->mem;
	tracking.pagemap = self->pagemap;
	tracking.uffd = uffd_create_async();
	ASSERT_LE(0, tracking.uffd);
	ASSERT_EQ(0, uffd_register(tracking.uffd, self->mem.addr,
				   self->mem.size, UFFDIO_REGISTER_MODE_WP,
				   NULL));
	ASSERT_EQ(0, tracking_populate(&tracking));
	ASSERT_EQ(0, uffd_unregister(tracking.uffd, self->mem.addr,
				     self->mem.size));
	EXPECT_EQ(0, check_untracked(&self->mem, self->pagemap));
	close(tracking.uffd);
}

TEST_F_TIMEOUT(uffd, closing_leaves_nothing, TIMEOUT)
{
	struct tracking tracking = { .layout = LAYOUT_VER1 };

	tracking.mem = self->mem;
	tracking.pagemap = self->pagemap;
	tracking.uffd = uffd_create_async();
	ASSERT_LE(0, tracking.uffd);
	ASSERT_EQ(0, uffd_register(tracking.uffd, self->mem.addr,
				   self->mem.size, UFFDIO_REGISTER_MODE_WP,
				   NULL));
	ASSERT_EQ(0, tracking_populate(&tracking));
	close(tracking.uffd);
	EXPECT_EQ(0, check_untracked(&self->mem, self->pagemap));
}

/* Markers of pages that were never populated go as well. */
TEST_F_TIMEOUT(uffd, unregistering_untouched_memory_leaves_nothing, TIMEOUT)
{
	int uffd = uffd_create_async();

	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, uffd_register(uffd, self->mem.addr, self->mem.size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ(0, uffd_protect(uffd, self->mem.addr, self->mem.size, true));
	ASSERT_EQ(0, uffd_unregister(uffd, self->mem.addr, self->mem.size));
	EXPECT_EQ(0, pages_with(self->pagemap, self->mem.addr, self->mem.size,
				PAGEMAP_SWAPPED));
	EXPECT_EQ(0, check_untracked(&self->mem, self->pagemap));
	close(uffd);
}

/* Memory that can be registered for missing pages as well. */
/* Nor does a registration that comes in place of it. */
TEST_F_TIMEOUT(uffd, other_mode_leaves_no_protection, TIMEOUT)
{
	struct tracking tracking = {
		.mem = self->mem,
		.uffd = uffd_create_async(),
		.pagemap = self->pagemap,
		.layout = variant->layout,
	};
	struct memory *mem = &self->mem;

	/* Which cannot be registered in another mode. */
	if (is_ext4(variant->kind))
		return;
	ASSERT_EQ(0, uffd_register(tracking.uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ(0, tracking_populate(&tracking));
	ASSERT_EQ(0, uffd_register(tracking.uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_MISSING, NULL));
	ASSERT_EQ(0, pages_with(tracking.pagemap, mem->addr, mem->size,
				PAGEMAP_UFFD_WP));
	write_set(mem, every_granule);
	ASSERT_EQ(0, uffd_register(tracking.uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	EXPECT_EQ(0, check_written(&tracking, every_granule));
	close(tracking.uffd);
}

FIXTURE(missing) {
	struct tracking tracking;
	struct memory *mem;
	char *page;
};

FIXTURE_VARIANT(missing) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(missing, ANON_VER1) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(missing, ANON_PM) { MEMORY_ANON, LAYOUT_PM };
FIXTURE_VARIANT_ADD(missing, SHMEM_VER1) { MEMORY_SHMEM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(missing, SHMEM_PM) { MEMORY_SHMEM, LAYOUT_PM };
FIXTURE_VARIANT_ADD(missing, MEMFD_VER1) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(missing, MEMFD_PM) { MEMORY_MEMFD, LAYOUT_PM };
FIXTURE_VARIANT_ADD(missing, HUGETLB_SHARED_VER1) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(missing, HUGETLB_SHARED_PM) { MEMORY_HUGETLB_SHARED, LAYOUT_PM };

FIXTURE_SETUP(missing)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	self->mem = &self->tracking.mem;
	ASSERT_EQ(0, uffd_register(self->tracking.uffd, self->mem->addr,
				   self->mem->size, UFFDIO_REGISTER_MODE_WP |
				   UFFDIO_REGISTER_MODE_MISSING, NULL));
	self->page = calloc(1, self->mem->granule);
}

FIXTURE_TEARDOWN(missing)
{
	free(self->page);
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

/* Fill the memory through the userfaultfd. */
static int copy_all(struct tracking *tracking, const char *page, __u64 mode)
{
	struct memory *mem = &tracking->mem;
	size_t i;

	for (i = 0; i < mem->count; i++) {
		if (uffd_copy(tracking->uffd, mem->addr + i * mem->granule,
			      page, mem->granule, mode)) {
			perror("# UFFDIO_COPY");
			return -1;
		}
	}
	return 0;
}

TEST_F_TIMEOUT(missing, page_that_is_copied_in_protected_is_not_written,
	       TIMEOUT)
{
	ASSERT_EQ(0, copy_all(&self->tracking, self->page,
			      UFFDIO_COPY_MODE_WP));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(self->mem, some_granules);
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(missing, page_that_is_copied_in_reads_as_written, TIMEOUT)
{
	ASSERT_EQ(0, copy_all(&self->tracking, self->page, 0));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						every_granule));
	write_set(self->mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

/* A thread that touches one granule, and the message that it causes. */
struct toucher {
	struct memory *mem;
	size_t granule;
	bool write;
};

static void *touch(void *argument)
{
	struct toucher *toucher = argument;

	if (toucher->write)
		memory_write(toucher->mem, toucher->granule);
	else
		memory_read(toucher->mem, toucher->granule);
	return NULL;
}

static int await_message(int uffd, struct uffd_msg *message)
{
	struct pollfd poll_uffd = { .fd = uffd, .events = POLLIN };

	if (poll(&poll_uffd, 1, TIMEOUT / 2 * 1000) != 1 ||
	    read(uffd, message, sizeof(*message)) != sizeof(*message)) {
		fprintf(stderr, "# no message\n");
		return -1;
	}
	return 0;
}

TEST_F_TIMEOUT(missing, fault_is_still_sent, TIMEOUT)
{
	struct toucher toucher = { .mem = self->mem };
	struct uffd_msg message;
	pthread_t thread;

	for (toucher.granule = 0; toucher.granule < 4; toucher.granule++) {
		char *addr = self->mem->addr +
			     toucher.granule * self->mem->granule;

		toucher.write = toucher.granule % 2;
		ASSERT_EQ(0, pthread_create(&thread, NULL, touch, &toucher));
		ASSERT_EQ(0, await_message(self->tracking.uffd, &message));
		EXPECT_EQ(UFFD_EVENT_PAGEFAULT, message.event);
		EXPECT_EQ(address(addr), message.arg.pagefault.address &
			  -(__u64)self->mem->granule);
		EXPECT_FALSE(message.arg.pagefault.flags &
			     UFFD_PAGEFAULT_FLAG_WP);
		/* The write that follows must not cause a second one. */
		ASSERT_EQ(0, uffd_copy(self->tracking.uffd, addr, self->page,
				       self->mem->granule,
				       UFFDIO_COPY_MODE_WP));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_FALSE(uffd_has_message(self->tracking.uffd));
	}
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, no_granule));
}

static bool first_granule(struct memory *mem, size_t granule)
{
	return granule == 0;
}

/* The faults of missing pages are sent although a marker is there. */
TEST_F_TIMEOUT(missing, fault_of_a_protected_hole_is_still_sent, TIMEOUT)
{
	struct toucher toucher = { .mem = self->mem, .write = true };
	struct uffd_msg message;
	pthread_t thread;

	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, check_written(&self->tracking, no_granule));
	ASSERT_EQ(0, pthread_create(&thread, NULL, touch, &toucher));
	ASSERT_EQ(0, await_message(self->tracking.uffd, &message));
	EXPECT_FALSE(message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
	ASSERT_EQ(0, uffd_copy(self->tracking.uffd, self->mem->addr,
			       self->page, self->mem->granule,
			       UFFDIO_COPY_MODE_WP));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, check_written(&self->tracking, first_granule));
}

/* Memory that can be registered for minor faults as well. */
TEST_F_TIMEOUT(missing, protected_hole_takes_the_zero_page, TIMEOUT)
{
	struct uffdio_zeropage zero = {
		.range.start = address(self->mem->addr),
		.range.len = self->mem->granule,
	};

	/* Which has none. */
	if (memory_is_hugetlb(variant->kind))
		return;
	ASSERT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, ioctl(self->tracking.uffd, UFFDIO_ZEROPAGE, &zero));
	EXPECT_EQ(0, check_written(&self->tracking, first_granule));
}

FIXTURE(minor) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(minor) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(minor, MEMFD_VER1) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(minor, MEMFD_PM) { MEMORY_MEMFD, LAYOUT_PM };
FIXTURE_VARIANT_ADD(minor, HUGETLB_SHARED_VER1) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(minor, HUGETLB_SHARED_PM) { MEMORY_HUGETLB_SHARED, LAYOUT_PM };

FIXTURE_SETUP(minor)
{
	char *other;

	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	self->mem = &self->tracking.mem;
	ASSERT_EQ(0, uffd_register(self->tracking.uffd, self->mem->addr,
				   self->mem->size, UFFDIO_REGISTER_MODE_WP |
				   UFFDIO_REGISTER_MODE_MINOR, NULL));
	/* The pages are there, but not in these page tables. */
	other = mmap(NULL, self->mem->size, PROT_READ | PROT_WRITE, MAP_SHARED,
		     self->mem->fd, 0);
	ASSERT_TRUE(other != MAP_FAILED);
	memset(other, 1, self->mem->size);
	munmap(other, self->mem->size);
}

FIXTURE_TEARDOWN(minor)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

TEST_F_TIMEOUT(minor, fault_is_still_sent, TIMEOUT)
{
	struct toucher toucher = { .mem = self->mem, .write = true };
	struct uffdio_continue go_on = {
		.range.start = address(self->mem->addr),
		.range.len = self->mem->granule,
	};
	struct uffd_msg message;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, touch, &toucher));
	ASSERT_EQ(0, await_message(self->tracking.uffd, &message));
	EXPECT_TRUE(message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_FALSE(message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
	ASSERT_EQ(0, ioctl(self->tracking.uffd, UFFDIO_CONTINUE, &go_on));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, first_granule));
}

TEST_F_TIMEOUT(minor, page_that_is_mapped_again_stays_protected, TIMEOUT)
{
	struct toucher toucher = { .mem = self->mem };
	struct uffdio_continue go_on = {
		.range.start = address(self->mem->addr),
		.range.len = self->mem->granule,
	};
	struct uffd_msg message;
	pthread_t thread;

	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, pthread_create(&thread, NULL, touch, &toucher));
	ASSERT_EQ(0, await_message(self->tracking.uffd, &message));
	ASSERT_EQ(0, ioctl(self->tracking.uffd, UFFDIO_CONTINUE, &go_on));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	memory_write(self->mem, 0);
	EXPECT_EQ(0, check_written(&self->tracking, first_granule));
}

/* What async mode is not: faults go to the userfaultfd, as ever. */
FIXTURE(sync) {
	struct memory mem;
	int uffd;
};

FIXTURE_VARIANT(sync) {
	enum memory_kind kind;
	__u64 features;
	bool unpopulated;
};

FIXTURE_VARIANT_ADD(sync, plain) {
	.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP,
};

FIXTURE_VARIANT_ADD(sync, unpopulated) {
	.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
		    UFFD_FEATURE_WP_UNPOPULATED,
	.unpopulated = true,
};

/* What has a file keeps markers without the feature, too. */
FIXTURE_VARIANT_ADD(sync, hugetlb_private) {
	.kind = MEMORY_HUGETLB_PRIVATE,
	.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
		    UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	.unpopulated = true,
};

FIXTURE_VARIANT_ADD(sync, hugetlb_shared) {
	.kind = MEMORY_HUGETLB_SHARED,
	.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
		    UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	.unpopulated = true,
};

FIXTURE_SETUP(sync)
{
	__u64 features = variant->features;

	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");

	self->uffd = uffd_create(0, &features);
	ASSERT_LE(0, self->uffd);
	ASSERT_EQ(0, memory_map(&self->mem, variant->kind));
	ASSERT_EQ(0, uffd_register(self->uffd, self->mem.addr, self->mem.size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
}

FIXTURE_TEARDOWN(sync)
{
	close(self->uffd);
	memory_unmap(&self->mem);
}

/* Write, and see that it is held up until the protection is taken away. */
static int check_held_up(int uffd, struct memory *mem)
{
	struct toucher toucher = { .mem = mem, .write = true };
	struct uffd_msg message;
	pthread_t thread;

	if (pthread_create(&thread, NULL, touch, &toucher) ||
	    await_message(uffd, &message) ||
	    message.event != UFFD_EVENT_PAGEFAULT ||
	    !(message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) ||
	    uffd_protect(uffd, mem->addr, mem->granule, false) ||
	    pthread_join(thread, NULL))
		return -1;
	return 0;
}

TEST_F_TIMEOUT(sync, write_fault_is_sent, TIMEOUT)
{
	ASSERT_EQ(0, memory_populate(&self->mem));
	ASSERT_EQ(0, uffd_protect(self->uffd, self->mem.addr, self->mem.size,
				  true));
	EXPECT_EQ(0, check_held_up(self->uffd, &self->mem));
}

TEST_F_TIMEOUT(sync, hole_is_protected_only_on_request, TIMEOUT)
{
	ASSERT_EQ(0, uffd_protect(self->uffd, self->mem.addr, self->mem.size,
				  true));
	if (variant->unpopulated) {
		EXPECT_EQ(0, check_held_up(self->uffd, &self->mem));
		return;
	}
	write_set(&self->mem, every_granule);
	EXPECT_FALSE(uffd_has_message(self->uffd));
}

TEST_F_TIMEOUT(sync, scan_does_not_protect, TIMEOUT)
{
	struct tracking tracking = {
		.mem = self->mem,
		.uffd = self->uffd,
		.layout = LAYOUT_VER1,
	};
	struct scan scan = tracking_scan(&tracking, PAGEMAP_WP_ENGAGE);
	int pagemap = pagemap_open(getpid());

	ASSERT_EQ(0, memory_populate(&self->mem));
	EXPECT_EQ(0, scan_call(pagemap, &scan));
	EXPECT_EQ(0, scan.pages);
	scan.flags |= PAGEMAP_WP_REQUIRED;
	EXPECT_EQ(-1, scan_call(pagemap, &scan));
	EXPECT_EQ(EPERM, errno);
	write_set(&self->mem, every_granule);
	EXPECT_FALSE(uffd_has_message(self->uffd));
	close(pagemap);
}

/* A call that fails gives back what it has taken, and that only. */
TEST(failed_scan_leaves_sync_protection)
{
	size_t half = 2 * page_size(), size = 2 * half;
	__u64 features = UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	int sync = uffd_create(0, &features), async = uffd_create_async();
	int pagemap = pagemap_open(getpid());
	char *p = map_pages(4, PROT_READ | PROT_WRITE);
	struct scan scan = {
		.layout = LAYOUT_VER1,
		.flags = PAGEMAP_WP_ENGAGE,
		.start = address(p),
		.end = address(p) + size,
		.vec = map_pages(1, PROT_READ),
		.vec_len = 1,
		.required = PAGE_IS_WRITTEN,
	};

	memset(p, 1, size);
	ASSERT_EQ(0, uffd_register(sync, p, half, UFFDIO_REGISTER_MODE_WP,
				   NULL));
	ASSERT_EQ(0, uffd_protect(sync, p, half, true));
	ASSERT_EQ(0, uffd_register(async, p + half, half,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	EXPECT_EQ(-1, scan_call(pagemap, &scan));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(2, pages_with(pagemap, p, size, PAGEMAP_UFFD_WP));
	close(pagemap);
	close(async);
	close(sync);
}

static void __attribute__((constructor)) prepare(void)
{
	machine_prepare(NEED_FILES | NEED_THP | NEED_HUGETLB | NEED_KSM |
			NEED_PAGE_FLAGS);
}

TEST_HARNESS_MAIN
