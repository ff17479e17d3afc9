// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN: that every write to tracked memory is reported, and nothing
 * else, on every kind of memory.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "pagemap_scan_failing.h"
#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

/* Sized for a kernel with all debug options on an emulated processor. */
#define TIMEOUT	120

/* Memory that is populated and protected, so that no page is written. */
FIXTURE(track) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(track) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(track, ANON_VER1) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, ANON_PM) { MEMORY_ANON, LAYOUT_PM };
FIXTURE_VARIANT_ADD(track, THP_VER1) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, THP_PM) { MEMORY_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(track, SHMEM_VER1) { MEMORY_SHMEM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, SHMEM_PM) { MEMORY_SHMEM, LAYOUT_PM };
FIXTURE_VARIANT_ADD(track, MEMFD_VER1) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, MEMFD_PM) { MEMORY_MEMFD, LAYOUT_PM };
FIXTURE_VARIANT_ADD(track, MEMFD_THP_VER1) { MEMORY_MEMFD_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, MEMFD_THP_PM) { MEMORY_MEMFD_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(track, TMPFS_PRIVATE_VER1) { MEMORY_TMPFS_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, TMPFS_PRIVATE_PM) { MEMORY_TMPFS_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(track, TMPFS_SHARED_VER1) { MEMORY_TMPFS_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, TMPFS_SHARED_PM) { MEMORY_TMPFS_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(track, EXT4_PRIVATE_VER1) { MEMORY_EXT4_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, EXT4_PRIVATE_PM) { MEMORY_EXT4_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(track, EXT4_SHARED_VER1) { MEMORY_EXT4_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, EXT4_SHARED_PM) { MEMORY_EXT4_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(track, HUGETLB_PRIVATE_VER1) { MEMORY_HUGETLB_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, HUGETLB_PRIVATE_PM) { MEMORY_HUGETLB_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(track, HUGETLB_SHARED_VER1) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, HUGETLB_SHARED_PM) { MEMORY_HUGETLB_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(track, KSM_VER1) { MEMORY_KSM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(track, KSM_PM) { MEMORY_KSM, LAYOUT_PM };

FIXTURE_SETUP(track)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	ASSERT_EQ(0, tracking_populate(&self->tracking));
	self->mem = &self->tracking.mem;
}

FIXTURE_TEARDOWN(track)
{
	/* In async mode no write-protect fault is ever sent. */
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

TEST_F_TIMEOUT(track, write_is_reported_once, TIMEOUT)
{
	write_set(self->mem, some_granules);
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(track, write_is_reported_in_every_round, TIMEOUT)
{
	int round;

	for (round = 0; round < 3; round++) {
		write_set(self->mem, some_granules);
		EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
							some_granules));
		write_set(self->mem, other_granules);
		EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
							other_granules));
	}
}

TEST_F_TIMEOUT(track, call_without_the_flag_protects_nothing, TIMEOUT)
{
	write_set(self->mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

TEST_F_TIMEOUT(track, call_without_vec_protects_and_counts, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	struct scan count = tracking_scan(&self->tracking, 0);

	write_set(self->mem, some_granules);
	ASSERT_EQ(0, scan_call(self->tracking.pagemap, &count));
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));

	EXPECT_EQ(0, scan_call(self->tracking.pagemap, &scan));
	if (variant->layout == LAYOUT_VER1) {
		EXPECT_LT(0, scan.pages);
		EXPECT_EQ(count.pages, scan.pages);
	}
	EXPECT_EQ(scan.end, scan.walk_end);
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(track, pages_that_do_not_match_are_not_protected, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);

	write_set(self->mem, some_granules);
	/* Written pages are present here, whatever the kind. */
	scan.excluded = PAGE_IS_PRESENT;
	EXPECT_EQ(0, scan_check(&scan, scan_call(self->tracking.pagemap,
						 &scan)));
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

TEST_F_TIMEOUT(track, read_is_not_a_write, TIMEOUT)
{
	size_t i;

	for (i = 0; i < self->mem->count; i++)
		memory_read(self->mem, i);
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

/* The kernel writes for the target: copy_to_user(). */
TEST_F_TIMEOUT(track, write_by_a_system_call_is_reported, TIMEOUT)
{
	struct memory *mem = self->mem;
	int zero = open("/dev/zero", O_RDONLY);
	size_t i;

	ASSERT_LE(0, zero);
	for (i = 0; i < mem->count; i++) {
		if (!some_granules(mem, i))
			continue;
		ASSERT_EQ(16, read(zero, mem->addr + i * mem->granule, 16));
	}
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

/* The kernel writes through the page, not through the page tables. */
TEST_F_TIMEOUT(track, write_by_process_vm_writev_is_reported, TIMEOUT)
{
	struct memory *mem = self->mem;
	char data[16] = "written";
	struct iovec from = { data, sizeof(data) }, to = { .iov_len = 16 };
	size_t i;

	for (i = 0; i < mem->count; i++) {
		if (!some_granules(mem, i))
			continue;
		to.iov_base = mem->addr + i * mem->granule;
		ASSERT_EQ(16, process_vm_writev(getpid(), &from, 1, &to, 1, 0));
		ASSERT_STREQ("written", to.iov_base);
	}
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

/* As a debugger does. */
TEST_F_TIMEOUT(track, write_to_proc_mem_is_reported, TIMEOUT)
{
	struct memory *mem = self->mem;
	int fd = open("/proc/self/mem", O_RDWR);
	size_t i;

	ASSERT_LE(0, fd);
	for (i = 0; i < mem->count; i++) {
		char *p = mem->addr + i * mem->granule;

		if (!some_granules(mem, i))
			continue;
		ASSERT_EQ(8, pwrite64(fd, "written", 8, address(p)));
		ASSERT_STREQ("written", p);
	}
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

/* The driver has no ioctl for 32-bit programs. */
#if __SIZEOF_POINTER__ == 8
/* Write as a device does that has page tables of its own. */
static int device_write(int device, struct memory *mem, granule_set set)
{
	int result = 0;
	size_t i;

	for (i = 0; i < mem->count && !result; i++) {
		if (set(mem, i))
			result = device_zero(device,
					     mem->addr + i * mem->granule,
					     page_size());
	}
	return result;
}

TEST_F_TIMEOUT(track, write_by_a_device_is_reported, TIMEOUT)
{
	int device = open("/dev/hmm_dmirror0", O_RDWR);

	if (device < 0)
		SKIP(return, "needs CONFIG_TEST_HMM");
	/* From here on, the device has all pages mapped, and may write. */
	ASSERT_EQ(0, device_write(device, self->mem, every_granule));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						every_granule));
	ASSERT_EQ(0, device_write(device, self->mem, some_granules));
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	ASSERT_EQ(0, device_write(device, self->mem, other_granules));
	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, device_write(device, self->mem, other_granules));
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
	close(device);
}
#endif

TEST_F_TIMEOUT(track, uffdio_writeprotect_works_on, TIMEOUT)
{
	struct memory *mem = self->mem;
	int uffd = self->tracking.uffd;

	write_set(mem, some_granules);
	ASSERT_EQ(0, check_written(&self->tracking, some_granules));
	ASSERT_EQ(0, uffd_protect(uffd, mem->addr, mem->size, true));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));

	write_set(mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));

	ASSERT_EQ(0, uffd_protect(uffd, mem->addr, mem->size, false));
	EXPECT_EQ(0, check_written(&self->tracking, every_granule));
}

TEST_F_TIMEOUT(track, user_mode_only_descriptor_tracks_the_kernel_too, TIMEOUT)
{
	struct memory *mem = self->mem;
	__u64 features = UFFD_FEATURE_WP_ASYNC;
	int zero = open("/dev/zero", O_RDONLY);
	size_t i;

	ASSERT_LE(0, zero);
	ASSERT_EQ(0, uffd_unregister(self->tracking.uffd, mem->addr,
				     mem->size));
	close(self->tracking.uffd);
	self->tracking.uffd = uffd_create(UFFD_USER_MODE_ONLY, &features);
	ASSERT_LE(0, self->tracking.uffd);
	ASSERT_EQ(0, uffd_register(self->tracking.uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, check_written(&self->tracking, no_granule));

	for (i = 0; i < mem->count; i++) {
		if (some_granules(mem, i))
			ASSERT_EQ(16, read(zero, mem->addr + i * mem->granule,
					   16));
	}
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	write_set(mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

/* The granules that a call which stopped early left. */
static __u64 left_from;

static bool some_granules_left(struct memory *mem, size_t granule)
{
	return some_granules(mem, granule) &&
	       address(mem->addr) + granule * mem->granule >= left_from;
}

static bool granules_left(struct memory *mem, size_t granule)
{
	return address(mem->addr) + granule * mem->granule >= left_from;
}

TEST_F_TIMEOUT(track, full_vec_leaves_the_rest_untouched, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	struct page_region region;
	unsigned int calls = 0;

	scan.vec = &region;
	scan.vec_len = 1;
	write_set(self->mem, some_granules);
	for (;;) {
		long regions = scan_call(self->tracking.pagemap, &scan);

		ASSERT_EQ(0, scan_check(&scan, regions));
		if (!regions)
			break;
		calls++;
		left_from = region.end;
		ASSERT_EQ(0, check_written(&self->tracking,
					   some_granules_left));
		ASSERT_LT(scan.start, scan.walk_end);
		scan.start = scan.walk_end;
		if (scan.start == scan.end)
			break;
	}
	/* With a region or less there is no rest. */
	EXPECT_LT(1, calls);
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(track, max_pages_leaves_the_rest_untouched, TIMEOUT)
{
	struct memory *mem = self->mem;
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	size_t pages = mem->size / page_size(), granule_pages;
	struct page_region vec[8];
	long regions;

	granule_pages = mem->granule / page_size();
	ASSERT_EQ(0, uffd_protect(self->tracking.uffd, mem->addr, mem->size,
				  false));
	scan.vec = vec;
	scan.vec_len = 8;
	scan.max_pages = 2 * granule_pages;
	regions = scan_call(self->tracking.pagemap, &scan);
	ASSERT_EQ(0, scan_check(&scan, regions));
	ASSERT_EQ(1, regions);
	EXPECT_EQ(scan.max_pages, scan_pages(vec, regions));
	EXPECT_EQ(vec[0].end, scan.walk_end);
	left_from = vec[0].end;
	EXPECT_EQ(0, check_written(&self->tracking, granules_left));

	/* Exactly as many as there are: complete. */
	scan.start = scan.walk_end;
	scan.max_pages = pages - 2 * granule_pages;
	regions = scan_call(self->tracking.pagemap, &scan);
	ASSERT_EQ(0, scan_check(&scan, regions));
	EXPECT_EQ(scan.max_pages, scan_pages(vec, regions));
	EXPECT_EQ(scan.end, scan.walk_end);
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

/* A place for one region, followed by a page that can't be accessed. */
static struct page_region *last_region_of_page(void)
{
	char *page = map_pages(1, PROT_READ | PROT_WRITE);

	return page ? (struct page_region *)(page + page_size()) - 1 : NULL;
}

TEST_F_TIMEOUT(track, fault_in_vec_loses_nothing, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);

	/* Once a call has failed, all is written, and one region enough */
	spare_ioctls();
	scan.vec = last_region_of_page();
	ASSERT_TRUE(!!scan.vec);
	scan.vec_len = self->mem->count;
	write_set(self->mem, some_granules);
	EXPECT_EQ(-1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, some_granules));
}

/* The regions can be stored, but walk_end can't be. */
TEST_F_TIMEOUT(track, fault_in_the_argument_loses_nothing, TIMEOUT)
{
	struct memory *mem = self->mem;
	struct page_region vec[64];
	void *arg = map_pages(1, PROT_READ | PROT_WRITE);
	long result;

	ASSERT_TRUE(!!arg);
	if (variant->layout == LAYOUT_PM) {
		*(struct pm_scan_arg *)arg = (struct pm_scan_arg) {
			.size = sizeof(struct pm_scan_arg),
			.flags = PAGEMAP_WP_ENGAGE,
			.start = address(mem->addr),
			.end = address(mem->addr) + mem->size,
			.vec = address(vec),
			.vec_len = 64,
			.category_mask = PAGE_IS_WRITTEN,
		};
	} else {
		*(struct pagemap_scan_arg *)arg = (struct pagemap_scan_arg) {
			.size = sizeof(struct pagemap_scan_arg),
			.flags = PAGEMAP_WP_ENGAGE,
			.start = address(mem->addr),
			.len = mem->size,
			.vec = address(vec),
			.vec_len = 64,
			.required_mask = PAGE_IS_WRITTEN,
		};
	}
	ASSERT_EQ(0, mprotect(arg, page_size(), PROT_READ));
	write_set(mem, some_granules);
	result = ioctl(self->tracking.pagemap, PAGEMAP_SCAN, arg);
	EXPECT_EQ(-1, result);
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, some_granules));
}

static bool first_half(struct memory *mem, size_t granule)
{
	return granule < mem->count / 2;
}

/* Some that do not depend on how much of the memory is looked at. */
static bool second_granule(struct memory *mem, size_t granule)
{
	return granule == 1;
}

TEST_F_TIMEOUT(track, wp_required_fails_before_it_protects, TIMEOUT)
{
	struct memory *mem = self->mem;
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE |
							  PAGEMAP_WP_REQUIRED);
	struct page_region vec[64];

	scan.vec = vec;
	scan.vec_len = 64;
	write_set(mem, second_granule);
	ASSERT_EQ(0, check_written(&self->tracking, second_granule));
	ASSERT_EQ(0, uffd_unregister(self->tracking.uffd,
				     mem->addr + mem->size / 2, mem->size / 2));

	EXPECT_EQ(-1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(EPERM, errno);
	/* Not even undone: nothing was protected, nothing unprotected. */
	mem->count /= 2;
	mem->size /= 2;
	EXPECT_EQ(0, check_written(&self->tracking, second_granule));
}

/* As callers do who watch a page. */
TEST_F_TIMEOUT(track, calls_for_a_granule_each_are_the_same, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t size = mem->size / mem->count, i, wrong = 0;

	ASSERT_EQ(0, protect_written(&self->tracking));
	write_set(mem, some_granules);
	/* So many need not each fail first */
	spare_ioctls();
	for (i = 0; i < mem->count; i++) {
		struct scan scan = tracking_scan(&self->tracking,
						 PAGEMAP_WP_ENGAGE);
		struct page_region region;
		long regions;

		scan.start += i * size;
		scan.end = scan.start + size;
		scan.vec = &region;
		scan.vec_len = 1;
		regions = scan_call(self->tracking.pagemap, &scan);
		/* Of a huge page, it may be the page alone that was written */
		wrong += scan_check(&scan, regions) ||
			 regions != some_granules(mem, i);
	}
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

TEST_F_TIMEOUT(track, wp_required_alone_checks_too, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_REQUIRED);

	EXPECT_EQ(0, scan_call(self->tracking.pagemap, &scan));
	ASSERT_EQ(0, uffd_unregister(self->tracking.uffd, self->mem->addr,
				     self->mem->size));
	EXPECT_EQ(-1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(EPERM, errno);
}

TEST_F_TIMEOUT(track, engage_passes_over_what_is_not_armed, TIMEOUT)
{
	struct memory *mem = self->mem;
	struct page_region vec[64];
	struct scan scan = {
		.layout = variant->layout,
		.flags = PAGEMAP_WP_ENGAGE,
		.start = address(mem->addr),
		.end = address(mem->addr) + mem->size,
		.vec = vec,
		.vec_len = 64,
		.returned = PAGE_IS_WPALLOWED,
	};
	__u64 half = scan.start + mem->size / 2;
	long regions;

	ASSERT_EQ(0, uffd_unregister(self->tracking.uffd, mem->addr,
				     mem->size / 2));
	write_set(mem, first_half);
	regions = scan_call(self->tracking.pagemap, &scan);
	ASSERT_EQ(0, scan_check(&scan, regions));
	ASSERT_EQ(1, regions);
	EXPECT_EQ(half, vec[0].start);
	EXPECT_EQ(scan.end, vec[0].end);
	EXPECT_EQ(PAGE_IS_WPALLOWED, vec[0].categories);
	EXPECT_EQ(scan.end, scan.walk_end);

	/* A call that does not protect passes over nothing. */
	scan.flags = 0;
	regions = scan_call(self->tracking.pagemap, &scan);
	ASSERT_EQ(0, scan_check(&scan, regions));
	ASSERT_EQ(2, regions);
	EXPECT_EQ(scan.start, vec[0].start);
	EXPECT_EQ(half, vec[0].end);
	EXPECT_EQ(0, vec[0].categories);
	EXPECT_EQ(PAGE_IS_WPALLOWED, vec[1].categories);

	/* And what was passed over is writable, without a fault to resolve. */
	write_set(mem, first_half);
}

/* Another process, and what it says to the test. */
struct helper {
	pid_t pid;
	int socket;
};

static void helper_tell(int socket)
{
	if (write(socket, "", 1) != 1)
		abort();
}

static void helper_await(int socket)
{
	char byte;

	if (read(socket, &byte, 1) != 1)
		_exit(99);
}

/* Fork a process that runs @run with its end of a socket. */
static struct helper helper_start(int (*run)(struct tracking *tracking,
					     int socket),
				  struct tracking *tracking)
{
	struct helper helper = { .pid = -1 };
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		return helper;
	helper.socket = sockets[0];
	helper.pid = fork();
	if (!helper.pid) {
		close(sockets[0]);
		_exit(run(tracking, sockets[1]));
	}
	close(sockets[1]);
	return helper;
}

/* The helper's exit status, or -1 where it did not exit by itself. */
static int helper_end(struct helper *helper)
{
	int status;

	close(helper->socket);
	if (waitpid(helper->pid, &status, 0) != helper->pid ||
	    !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static int scan_parent(struct tracking *tracking, int socket)
{
	close(tracking->pagemap);
	tracking->pagemap = pagemap_open(getppid());
	helper_tell(socket);
	helper_await(socket);
	if (tracking->pagemap < 0)
		return 1;
	if (check_reported_and_protect(tracking, some_granules))
		return 2;
	return check_written(tracking, no_granule) ? 3 : 0;
}

TEST_F_TIMEOUT(track, another_process_can_scan_and_protect, TIMEOUT)
{
	struct helper helper = helper_start(scan_parent, &self->tracking);

	ASSERT_LT(0, helper.pid);
	helper_await(helper.socket);
	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(self->mem, some_granules);
	helper_tell(helper.socket);
	EXPECT_EQ(0, helper_end(&helper));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(self->mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

/* Protect the parent's memory, with a vec that blocks on its first access. */
static int scan_parent_and_block(struct tracking *tracking, int socket)
{
	/* Both ways to ask for it: PAGEMAP_WP_REQUIRED is checked before. */
	struct scan scan = tracking_scan(tracking, PAGEMAP_WP_ENGAGE |
					 (tracking->layout == LAYOUT_PM ?
					  PAGEMAP_WP_REQUIRED : 0));
	__u64 features = 0;
	int pagemap = pagemap_open(getppid());
	int uffd = uffd_create(0, &features);

	/* The call that blocks is the one that the parent waits for */
	spare_ioctls();
	scan.vec = map_pages(1, PROT_READ | PROT_WRITE);
	scan.vec_len = tracking->mem.count;
	if (uffd < 0 || !scan.vec ||
	    uffd_register(uffd, scan.vec, page_size(),
			  UFFDIO_REGISTER_MODE_MISSING, NULL))
		return 1;
	helper_tell(socket);
	helper_await(socket);
	scan_call(pagemap, &scan);
	return 2;
}

/* As many as regions are certain to be gathered before any is copied out. */
static bool few_granules(struct memory *mem, size_t granule)
{
	return granule < 128 && some_granules(mem, granule);
}

/* Write, and wait until the helper has protected all and copies the answer out. */
static int block_scanner(struct tracking *tracking, struct helper *helper)
{
	struct scan scan = tracking_scan(tracking, 0);
	struct page_region region;
	int tries;

	scan.vec = &region;
	scan.vec_len = 1;
	helper_await(helper->socket);
	if (protect_written(tracking) || check_written(tracking, no_granule))
		return -1;
	write_set(&tracking->mem, few_granules);
	if (scan_call(tracking->pagemap, &scan) != 1)
		return -1;
	helper_tell(helper->socket);
	for (tries = 0; tries < 3000; tries++) {
		if (!scan_call(tracking->pagemap, &scan))
			return 0;
		usleep(10000);
	}
	fprintf(stderr, "# the scanner has not protected all in 30 s\n");
	return -1;
}

static int kill_scanner(struct helper *helper)
{
	int status;

	if (kill(helper->pid, SIGKILL) ||
	    waitpid(helper->pid, &status, 0) != helper->pid)
		return -1;
	return WIFSIGNALED(status) ? 0 : -1;
}

TEST_F_TIMEOUT(track, scanner_that_is_killed_loses_nothing, TIMEOUT)
{
	struct helper helper = helper_start(scan_parent_and_block,
					    &self->tracking);

	ASSERT_LT(0, helper.pid);
	ASSERT_EQ(0, block_scanner(&self->tracking, &helper));
	/* It does not keep the target from changing its mappings meanwhile. */
	ASSERT_TRUE(!!map_pages(1, PROT_READ));
	ASSERT_EQ(0, kill_scanner(&helper));
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, few_granules));
}

/* Write to one's own copy of the memory, and see that it is not tracked. */
static int write_everywhere(struct tracking *tracking, int socket)
{
	struct scan scan = tracking_scan(tracking, 0);
	struct page_region region;

	write_set(&tracking->mem, every_granule);
	tracking->pagemap = pagemap_open(getpid());
	scan.vec = &region;
	scan.vec_len = 1;
	scan.required = PAGE_IS_WPALLOWED;
	return scan_call(tracking->pagemap, &scan) ? 1 : 0;
}

TEST_F_TIMEOUT(track, fork_loses_nothing_and_child_can_write, TIMEOUT)
{
	struct helper helper;

	write_set(self->mem, some_granules);
	helper = helper_start(write_everywhere, &self->tracking);
	ASSERT_LT(0, helper.pid);
	EXPECT_EQ(0, helper_end(&helper));
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, some_granules));

	write_set(self->mem, other_granules);
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, every_granule));
	EXPECT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(self->mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

static int move_memory(struct memory *mem)
{
	char *to = reserve_addresses(mem->size, huge_size());

	if (!to ||
	    mremap(mem->addr, mem->size, mem->size,
		   MREMAP_MAYMOVE | MREMAP_FIXED, to) != to) {
		perror("# mremap");
		return -1;
	}
	mem->addr = to;
	return 0;
}

TEST_F_TIMEOUT(track, mremap_loses_nothing, TIMEOUT)
{
	struct memory *mem = self->mem;

	write_set(mem, some_granules);
	ASSERT_EQ(0, move_memory(mem));
	/* Not registered any more; every page can be written. */
	write_set(mem, some_granules);
	ASSERT_EQ(0, uffd_register(self->tracking.uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, some_granules));
	write_set(mem, other_granules);
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, every_granule));
	EXPECT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

/* A userfaultfd, and the event that it is to give. */
struct awaited {
	int uffd;
	struct uffd_msg message;
};

static void *take_event(void *argument)
{
	struct awaited *awaited = argument;
	struct pollfd poll_uffd = { .fd = awaited->uffd, .events = POLLIN };

	if (poll(&poll_uffd, 1, TIMEOUT * 1000) != 1 ||
	    read(awaited->uffd, &awaited->message, sizeof(awaited->message)) !=
	    sizeof(awaited->message))
		return NULL;
	return argument;
}

/* Register anew, so that what an event is asked for of stays registered. */
static int track_with_event(struct tracking *tracking, __u64 features)
{
	struct memory *mem = &tracking->mem;

	features |= UFFD_FEATURE_WP_ASYNC;
	if (uffd_unregister(tracking->uffd, mem->addr, mem->size))
		return -1;
	close(tracking->uffd);
	tracking->uffd = uffd_create(0, &features);
	return uffd_register(tracking->uffd, mem->addr, mem->size,
			     UFFDIO_REGISTER_MODE_WP, NULL);
}

static int move_with_event(struct tracking *tracking)
{
	struct awaited awaited = { .uffd = tracking->uffd };
	pthread_t thread;
	void *taken;

	if (pthread_create(&thread, NULL, take_event, &awaited) ||
	    move_memory(&tracking->mem) || pthread_join(thread, &taken))
		return -1;
	return taken && awaited.message.event == UFFD_EVENT_REMAP ? 0 : -1;
}

/* A child that waits to be killed, and goes on to be tracked: as *@child. */
static pid_t fork_with_event(struct tracking *tracking, struct tracking *child)
{
	struct awaited awaited = { .uffd = tracking->uffd };
	pthread_t thread;
	void *taken;
	pid_t pid;

	if (pthread_create(&thread, NULL, take_event, &awaited))
		return -1;
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	if (pthread_join(thread, &taken) || pid < 0 || !taken ||
	    awaited.message.event != UFFD_EVENT_FORK)
		return -1;
	*child = *tracking;
	child->uffd = awaited.message.arg.fork.ufd;
	child->pagemap = pagemap_open(pid);
	return pid;
}

static void end_child(pid_t pid, struct tracking *child)
{
	close(child->pagemap);
	close(child->uffd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

TEST_F_TIMEOUT(track, mremap_with_event_keeps_the_answer, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, track_with_event(&self->tracking,
				      UFFD_FEATURE_EVENT_REMAP));
	ASSERT_EQ(0, protect_written(&self->tracking));
	write_set(mem, some_granules);
	ASSERT_EQ(0, move_with_event(&self->tracking));

	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	write_set(mem, other_granules);
	EXPECT_EQ(0, check_written(&self->tracking, other_granules));
}

TEST_F_TIMEOUT(track, fork_with_event_keeps_the_answer, TIMEOUT)
{
	struct tracking child;
	pid_t pid;

	ASSERT_EQ(0, track_with_event(&self->tracking,
				      UFFD_FEATURE_EVENT_FORK));
	ASSERT_EQ(0, protect_written(&self->tracking));
	write_set(self->mem, some_granules);
	pid = fork_with_event(&self->tracking, &child);
	ASSERT_LT(0, pid);

	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
	EXPECT_EQ(0, check_reported_and_protect(&child, some_granules));
	EXPECT_EQ(0, check_written(&child, no_granule));
	end_child(pid, &child);
}

/* A call fails after what it had protected went elsewhere. */
TEST_F_TIMEOUT(track, mremap_before_a_call_fails_loses_nothing, TIMEOUT)
{
	struct helper helper = helper_start(scan_parent_and_block,
					    &self->tracking);

	ASSERT_LT(0, helper.pid);
	ASSERT_EQ(0, track_with_event(&self->tracking,
				      UFFD_FEATURE_EVENT_REMAP));
	ASSERT_EQ(0, block_scanner(&self->tracking, &helper));
	ASSERT_EQ(0, move_with_event(&self->tracking));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	ASSERT_EQ(0, kill_scanner(&helper));
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, few_granules));
}

TEST_F_TIMEOUT(track, fork_before_a_call_fails_loses_nothing, TIMEOUT)
{
	struct helper helper = helper_start(scan_parent_and_block,
					    &self->tracking);
	struct tracking child;
	pid_t pid;

	ASSERT_LT(0, helper.pid);
	ASSERT_EQ(0, track_with_event(&self->tracking,
				      UFFD_FEATURE_EVENT_FORK));
	ASSERT_EQ(0, block_scanner(&self->tracking, &helper));
	pid = fork_with_event(&self->tracking, &child);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, kill_scanner(&helper));
	EXPECT_EQ(0, check_nothing_lost(&child, few_granules));
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, few_granules));
	end_child(pid, &child);
}

TEST_F_TIMEOUT(track, fork_beside_a_call_keeps_sync_protection, TIMEOUT)
{
	struct helper helper = helper_start(scan_parent_and_block,
					    &self->tracking);
	__u64 features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			 UFFD_FEATURE_EVENT_FORK;
	struct tracking sync = { .uffd = uffd_create(0, &features) }, child;
	struct memory *mem = &sync.mem;
	pid_t pid;

	ASSERT_LT(0, helper.pid);
	ASSERT_EQ(0, memory_map(mem, MEMORY_ANON));
	ASSERT_EQ(0, memory_populate(mem));
	ASSERT_EQ(0, uffd_register(sync.uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ(0, uffd_protect(sync.uffd, mem->addr, mem->size, true));
	ASSERT_EQ(0, block_scanner(&self->tracking, &helper));
	pid = fork_with_event(&sync, &child);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, kill_scanner(&helper));
	EXPECT_EQ(mem->count, pages_with(child.pagemap, mem->addr, mem->size,
					 PAGEMAP_UFFD_WP));
	end_child(pid, &child);
	close(sync.uffd);
	memory_unmap(mem);
}

/* Hold the mmap lock of this process nearly all the time. */
static void *hold_mmap_lock(void *argument)
{
	size_t size = 64 << 20, i;
	int *state = argument;	/* 1: it is held, 2: that is enough */
	char *p = map_pages(size / page_size(), PROT_READ | PROT_WRITE);

	keep_pages_small(p, size);
	for (i = 0; i < size; i += page_size())
		touch_read(p + i);
	__atomic_store_n(state, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(state, __ATOMIC_ACQUIRE) == 1) {
		mprotect(p, size, PROT_READ);
		mprotect(p, size, PROT_READ | PROT_WRITE);
	}
	munmap(p, size);
	return NULL;
}

TEST_F_TIMEOUT(track, scanner_killed_while_the_lock_is_held_loses_nothing, TIMEOUT)
{
	struct helper helper = helper_start(scan_parent_and_block,
					    &self->tracking);
	static int state;
	pthread_t holder;

	ASSERT_LT(0, helper.pid);
	ASSERT_EQ(0, block_scanner(&self->tracking, &helper));
	ASSERT_EQ(0, pthread_create(&holder, NULL, hold_mmap_lock, &state));
	while (!__atomic_load_n(&state, __ATOMIC_ACQUIRE))
		usleep(1000);
	ASSERT_EQ(0, kill_scanner(&helper));
	__atomic_store_n(&state, 2, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(holder, NULL));
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, few_granules));
}

/*
 * A writer, and a scanner that keeps a copy.  In each round every granule is
 * written once while the scanner runs, and once the scanner has looked again,
 * the copy must be right: so each write that is lost shows.
 */
struct copying {
	struct memory *mem;
	unsigned int copy[1024];
	unsigned long reported;
	unsigned int round;
	unsigned int written;
	size_t granule;
	long faults;
	bool stop;
};

static void *write_in_rounds(void *argument)
{
	struct copying *copying = argument;
	struct memory *mem = copying->mem;
	unsigned int round = 0;
	size_t i;

	while (!__atomic_load_n(&copying->stop, __ATOMIC_RELAXED)) {
		if (__atomic_load_n(&copying->round, __ATOMIC_ACQUIRE) ==
		    round) {
			sched_yield();
			continue;
		}
		round++;
		/* Against the direction of the scan, too. */
		for (i = 0; i < mem->count; i++) {
			__atomic_store_n(&copying->granule, i, __ATOMIC_RELAXED);
			memory_write(mem, (i * 5 + round) % mem->count);
		}
		__atomic_store_n(&copying->written, round, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Each child has a copy of the page tables, and goes at once. */
static void *fork_all_the_time(void *argument)
{
	struct copying *copying = argument;

	while (!__atomic_load_n(&copying->stop, __ATOMIC_RELAXED)) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
	return NULL;
}

static unsigned int first_word(struct memory *mem, size_t granule)
{
	return touch_read(mem->addr + granule * mem->granule);
}

static int copy_what_is_reported(struct tracking *tracking,
				 struct copying *copying)
{
	struct memory *mem = copying->mem;
	struct scan scan = tracking_scan(tracking, PAGEMAP_WP_ENGAGE);
	struct page_region vec[16];
	long regions, i;
	__u64 addr;

	scan.vec = vec;
	scan.vec_len = 16;
	do {
		regions = scan_call(tracking->pagemap, &scan);
		if (scan_check(&scan, regions))
			return -1;
		for (i = 0; i < regions; i++) {
			for (addr = vec[i].start; addr < vec[i].end;
			     addr += page_size()) {
				__u64 offset = addr - address(mem->addr);
				size_t granule = offset / mem->granule;

				if (offset % mem->granule)
					continue;
				copying->copy[granule] =
					first_word(mem, granule);
				copying->reported++;
			}
		}
		scan.start = scan.walk_end;
	} while (scan.start != scan.end);
	return 0;
}

static size_t wrong_copies(struct copying *copying)
{
	size_t i, wrong = 0;

	for (i = 0; i < copying->mem->count; i++)
		wrong += first_word(copying->mem, i) != copying->copy[i];
	return wrong;
}

/* Scan and copy until the writer is through with a round. */
static int copy_round(struct tracking *tracking, struct copying *copying,
		      unsigned int round, time_t end)
{
	unsigned long scans;

	for (scans = 1; __atomic_load_n(&copying->written, __ATOMIC_ACQUIRE) <
			round; scans++) {
		if (copy_what_is_reported(tracking, copying))
			return -1;
		if (seconds() > end) {
			fprintf(stderr, "# round %u: granule %zu not written in %lu scans\n",
				round, copying->granule, scans);
			return -1;
		}
	}
	return copy_what_is_reported(tracking, copying);
}

#define FEWEST_ROUNDS	10

/* Scan and copy beside a writer and another thread, for some rounds or time. */
static int copy_beside(struct tracking *tracking, unsigned int rounds,
		       void *(*disturb)(void *copying))
{
	static struct copying copying;
	struct memory *mem = &tracking->mem;
	unsigned long enough = milliseconds() + test_duration(1000);
	time_t end = seconds() + TIMEOUT / 4 * 3;
	pthread_t writer, other;
	size_t i, wrong = 0;
	unsigned int round;

	copying.mem = mem;
	for (i = 0; i < mem->count; i++)
		copying.copy[i] = first_word(mem, i);
	if (pthread_create(&writer, NULL, write_in_rounds, &copying) ||
	    (disturb && pthread_create(&other, NULL, disturb, &copying)))
		return -1;
	for (round = 1; round <= rounds && !wrong; round++) {
		if (round > FEWEST_ROUNDS && milliseconds() > enough)
			break;
		__atomic_store_n(&copying.round, round, __ATOMIC_RELEASE);
		if (copy_round(tracking, &copying, round, end))
			return -1;
		wrong = wrong_copies(&copying);
	}
	__atomic_store_n(&copying.stop, true, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
	if (disturb)
		pthread_join(other, NULL);

	if (!wrong && copying.reported >= mem->count)
		return 0;
	fprintf(stderr, "# round %u: %zu of %zu writes are lost, %lu reported\n",
		round, wrong, mem->count, copying.reported);
	return -1;
}

TEST_F_TIMEOUT(track, writes_beside_the_scanner_are_not_lost, TIMEOUT)
{
	EXPECT_EQ(0, copy_beside(&self->tracking, 100, NULL));
}

TEST_F_TIMEOUT(track, fork_beside_the_scanner_loses_nothing, TIMEOUT)
{
	EXPECT_EQ(0, copy_beside(&self->tracking, 20, fork_all_the_time));
}

/*
 * Kinds of which a write fault drops the page table lock, and how many faults a
 * granule needs that do not let the write go to the page as it is.
 */
FIXTURE(progress) {
	struct tracking tracking;
};

FIXTURE_VARIANT(progress) {
	enum memory_kind kind;
	enum layout layout;
	int copies;
};

FIXTURE_VARIANT_ADD(progress, ANON) { MEMORY_ANON, LAYOUT_VER1, 0 };
FIXTURE_VARIANT_ADD(progress, THP) { MEMORY_THP, LAYOUT_PM, 0 };
FIXTURE_VARIANT_ADD(progress, TMPFS_PRIVATE) { MEMORY_TMPFS_PRIVATE, LAYOUT_VER1, 1 };
FIXTURE_VARIANT_ADD(progress, EXT4_PRIVATE) { MEMORY_EXT4_PRIVATE, LAYOUT_PM, 1 };
FIXTURE_VARIANT_ADD(progress, EXT4_SHARED) { MEMORY_EXT4_SHARED, LAYOUT_VER1, 0 };
/* None of its faults is counted as one that reuses the page */
FIXTURE_VARIANT_ADD(progress, HUGETLB_PRIVATE) { MEMORY_HUGETLB_PRIVATE, LAYOUT_PM, 16 };
FIXTURE_VARIANT_ADD(progress, KSM) { MEMORY_KSM, LAYOUT_PM, 1 };

FIXTURE_SETUP(progress)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	ASSERT_EQ(0, tracking_populate(&self->tracking));
}

FIXTURE_TEARDOWN(progress)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

/* Each write to a page that a fault has to copy first. */
static void *write_once(void *argument)
{
	struct copying *copying = argument;
	struct rusage usage;
	size_t i;

	for (i = 0; i < copying->mem->count; i++) {
		__atomic_store_n(&copying->granule, i, __ATOMIC_RELAXED);
		memory_write(copying->mem, i);
	}
	getrusage(RUSAGE_THREAD, &usage);
	copying->faults = usage.ru_minflt;
	__atomic_store_n(&copying->stop, true, __ATOMIC_RELEASE);
	return NULL;
}

/*
 * However often its pages are protected again: once a fault has begun, there is
 * nothing to protect until it is through, so that it does not start over.
 */
TEST_F_TIMEOUT(progress, writer_gets_through_beside_the_scanner, TIMEOUT)
{
	struct memory *mem = &self->tracking.mem;
	static struct copying copying;
	time_t end = seconds() + TIMEOUT / 3;
	unsigned long scans = 0;
	pthread_t writer;
	long reused;

	copying.mem = mem;
	ASSERT_EQ(0, protect_written(&self->tracking));
	reused = kernel_count("pgreuse");
	ASSERT_EQ(0, pthread_create(&writer, NULL, write_once, &copying));
	while (!__atomic_load_n(&copying.stop, __ATOMIC_ACQUIRE)) {
		ASSERT_EQ(0, protect_written(&self->tracking));
		scans++;
		if (seconds() > end) {
			fprintf(stderr, "# granule %zu not written in %lu scans\n",
				copying.granule, scans);
			ASSERT_LT(seconds(), end);
		}
	}
	EXPECT_EQ(0, pthread_join(writer, NULL));
	reused = kernel_count("pgreuse") - reused;
	fprintf(stderr, "# %ld faults for %zu granules, %ld reused, %lu scans\n",
		copying.faults, mem->count, reused, scans);
	/*
	 * A fault that was through may have been in vain: the page is protected
	 * again before the write to it is tried again.  How often depends on
	 * how fast the scanner is.  Not so the faults that were not through.
	 */
	EXPECT_GT((long)mem->count * variant->copies + 16,
		  copying.faults - reused);
}

/* Memory that is registered, and of which no page has been touched. */
FIXTURE(untouched) {
	struct tracking tracking;
	struct memory *mem;
};

FIXTURE_VARIANT(untouched) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(untouched, ANON_VER1) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(untouched, ANON_PM) { MEMORY_ANON, LAYOUT_PM };
FIXTURE_VARIANT_ADD(untouched, THP_VER1) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(untouched, THP_PM) { MEMORY_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(untouched, SHMEM_VER1) { MEMORY_SHMEM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(untouched, SHMEM_PM) { MEMORY_SHMEM, LAYOUT_PM };
FIXTURE_VARIANT_ADD(untouched, MEMFD_VER1) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(untouched, MEMFD_PM) { MEMORY_MEMFD, LAYOUT_PM };
FIXTURE_VARIANT_ADD(untouched, MEMFD_THP_VER1) { MEMORY_MEMFD_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(untouched, MEMFD_THP_PM) { MEMORY_MEMFD_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(untouched, TMPFS_PRIVATE_VER1) { MEMORY_TMPFS_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(untouched, TMPFS_PRIVATE_PM) { MEMORY_TMPFS_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(untouched, TMPFS_SHARED_VER1) { MEMORY_TMPFS_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(untouched, TMPFS_SHARED_PM) { MEMORY_TMPFS_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(untouched, EXT4_PRIVATE_VER1) { MEMORY_EXT4_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(untouched, EXT4_PRIVATE_PM) { MEMORY_EXT4_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(untouched, EXT4_SHARED_VER1) { MEMORY_EXT4_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(untouched, EXT4_SHARED_PM) { MEMORY_EXT4_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(untouched, HUGETLB_PRIVATE_VER1) { MEMORY_HUGETLB_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(untouched, HUGETLB_PRIVATE_PM) { MEMORY_HUGETLB_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(untouched, HUGETLB_SHARED_VER1) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(untouched, HUGETLB_SHARED_PM) { MEMORY_HUGETLB_SHARED, LAYOUT_PM };

FIXTURE_SETUP(untouched)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, tracking_begin(&self->tracking, variant->kind,
				    variant->layout));
	self->mem = &self->tracking.mem;
}

FIXTURE_TEARDOWN(untouched)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

static size_t present_pages(struct tracking *tracking)
{
	return pages_with(tracking->pagemap, tracking->mem.addr,
			  tracking->mem.size, PAGEMAP_PRESENT);
}

TEST_F_TIMEOUT(untouched, reads_as_written_until_it_is_protected, TIMEOUT)
{
	EXPECT_EQ(0, check_categories(self->tracking.pagemap, variant->layout,
				      self->mem->addr, self->mem->size,
				      KIND_CATEGORIES,
				      PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN));
	ASSERT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, check_categories(self->tracking.pagemap, variant->layout,
				      self->mem->addr, self->mem->size,
				      KIND_CATEGORIES, PAGE_IS_WPALLOWED));
	EXPECT_EQ(0, present_pages(&self->tracking));
}

/* Moving memory makes it soft-dirty, also where there is none. */
TEST_F_TIMEOUT(untouched, moved_hole_is_as_soft_dirty_as_pagemap_says, TIMEOUT)
{
	struct memory *mem = self->mem;
	size_t pages = mem->size / page_size(), i;

	ASSERT_EQ(0, track_with_event(&self->tracking,
				      UFFD_FEATURE_EVENT_REMAP));
	ASSERT_EQ(0, protect_written(&self->tracking));
	ASSERT_EQ(0, tunable_write("/proc/self/clear_refs", "4"));
	ASSERT_EQ(0, move_with_event(&self->tracking));
	for (i = 0; i < pages; i += 1 + pages / 32) {
		char *addr = mem->addr + i * page_size();
		bool dirty = pagemap_entry(self->tracking.pagemap, addr) &
			     PAGEMAP_SOFT_DIRTY;

		ASSERT_EQ(0, check_categories(self->tracking.pagemap,
					      variant->layout, addr, page_size(),
					      PAGE_IS_SOFT_DIRTY,
					      dirty ? PAGE_IS_SOFT_DIRTY : 0));
	}
}

TEST_F_TIMEOUT(untouched, read_is_not_a_write, TIMEOUT)
{
	size_t i;

	ASSERT_EQ(0, protect_written(&self->tracking));
	for (i = 0; i < self->mem->count; i++)
		memory_read(self->mem, i);
	EXPECT_LE(self->mem->count, present_pages(&self->tracking));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));

	write_set(self->mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

TEST_F_TIMEOUT(untouched, write_is_reported, TIMEOUT)
{
	ASSERT_EQ(0, protect_written(&self->tracking));
	write_set(self->mem, some_granules);
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						some_granules));
	write_set(self->mem, other_granules);
	EXPECT_EQ(0, check_reported_and_protect(&self->tracking,
						other_granules));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
}

TEST_F_TIMEOUT(untouched, write_by_a_system_call_is_reported, TIMEOUT)
{
	struct memory *mem = self->mem;
	int zero = open("/dev/zero", O_RDONLY);
	size_t i;

	ASSERT_LE(0, zero);
	ASSERT_EQ(0, protect_written(&self->tracking));
	for (i = 0; i < mem->count; i++) {
		if (some_granules(mem, i))
			ASSERT_EQ(16, read(zero, mem->addr + i * mem->granule,
					   16));
	}
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

TEST_F_TIMEOUT(untouched, uffdio_writeprotect_protects_holes, TIMEOUT)
{
	struct memory *mem = self->mem;

	ASSERT_EQ(0, uffd_protect(self->tracking.uffd, mem->addr, mem->size,
				  true));
	EXPECT_EQ(0, check_written(&self->tracking, no_granule));
	write_set(mem, some_granules);
	EXPECT_EQ(0, check_written(&self->tracking, some_granules));
}

/* Who reads pagemap to save a process must not look for it in swap. */
TEST_F_TIMEOUT(untouched, pagemap_shows_a_protected_hole_as_a_hole, TIMEOUT)
{
	struct memory *mem = self->mem;
	int pagemap = self->tracking.pagemap;

	ASSERT_EQ(0, protect_written(&self->tracking));
	EXPECT_EQ(0, pages_with(pagemap, mem->addr, mem->size,
				PAGEMAP_SWAPPED));
	EXPECT_EQ(0, pages_with(pagemap, mem->addr, mem->size,
				PAGEMAP_PRESENT));
	EXPECT_EQ(mem->size / page_size(),
		  pages_with(pagemap, mem->addr, mem->size, PAGEMAP_UFFD_WP));
}

TEST_F_TIMEOUT(untouched, max_pages_leaves_the_rest_untouched, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	struct page_region region;

	scan.vec = &region;
	scan.vec_len = 1;
	scan.max_pages = 2 * self->mem->granule / page_size();
	ASSERT_EQ(1, scan_call(self->tracking.pagemap, &scan));
	ASSERT_EQ(0, scan_check(&scan, 1));
	EXPECT_EQ(scan.max_pages, scan_pages(&region, 1));
	EXPECT_EQ(region.end, scan.walk_end);
	left_from = region.end;
	EXPECT_EQ(0, check_written(&self->tracking, granules_left));
}

TEST_F_TIMEOUT(untouched, fault_in_vec_loses_nothing, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);

	spare_ioctls();
	ASSERT_EQ(0, protect_written(&self->tracking));
	write_set(self->mem, some_granules);
	scan.vec = last_region_of_page();
	ASSERT_TRUE(!!scan.vec);
	scan.vec_len = self->mem->count;
	EXPECT_EQ(-1, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, some_granules));
}

static void __attribute__((constructor)) prepare(void)
{
	machine_prepare(NEED_FILES | NEED_THP | NEED_HUGETLB | NEED_KSM |
			NEED_PAGE_FLAGS);
}

TEST_HARNESS_MAIN
