// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_USERFAULTFD: tracking what another process writes, without its help
 * and without its notice.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "pagemap_scan_harness.h"
#include "pagemap_scan_target.h"
#include "pagemap_scan_util.h"

#define TIMEOUT		240

/**
 * struct tracked - a process that is tracked, and its tracker's view of it
 * @mem:	its memory, in shared memory, as the process fills it in
 * @uffd:	a userfaultfd of its own, which only it can use
 * @pid:	its number
 * @socket:	on which it is told what to do
 * @view:	@mem, with the tracker's descriptors
 */
struct tracked {
	struct memory *mem;
	int *uffd;
	pid_t pid;
	int socket;
	struct tracking view;
};

/* What the process can be told to do.  Return: 0, or an error number. */
typedef int (*deed)(struct tracked *tracked);

static void tracked_main(struct tracked *tracked, enum memory_kind kind,
			 int socket)
{
	deed deed;
	int error = memory_map(tracked->mem, kind) ? EINVAL : 0;

	while (write(socket, &error, sizeof(error)) == sizeof(error) &&
	       read(socket, &deed, sizeof(deed)) == sizeof(deed))
		error = deed(tracked);
	_exit(0);
}

static int tracked_answer(struct tracked *tracked)
{
	int error;

	if (read(tracked->socket, &error, sizeof(error)) != sizeof(error))
		return EPIPE;
	return error;
}

/* Have the process do something, and wait for it. */
static int have(struct tracked *tracked, deed deed)
{
	if (write(tracked->socket, &deed, sizeof(deed)) != sizeof(deed))
		return EPIPE;
	return tracked_answer(tracked);
}

static int populate(struct tracked *tracked)
{
	return memory_populate(tracked->mem) ? EINVAL : 0;
}

static int write_some(struct tracked *tracked)
{
	write_set(tracked->mem, some_granules);
	return 0;
}

static int write_others(struct tracked *tracked)
{
	write_set(tracked->mem, other_granules);
	return 0;
}

static int write_each(struct tracked *tracked)
{
	write_set(tracked->mem, every_granule);
	return 0;
}

/* The kernel writes for the process, which must not be held up either. */
static int read_into_some(struct tracked *tracked)
{
	struct memory *mem = tracked->mem;
	int fd = open("/dev/zero", O_RDONLY);
	size_t i;

	for (i = 0; i < mem->count; i++) {
		if (some_granules(mem, i) &&
		    read(fd, mem->addr + i * mem->granule, 8) != 8)
			return errno;
	}
	close(fd);
	return 0;
}

/* A userfaultfd of the tracked process's memory, in async mode. */
static int tracker_open(int pagemap)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC,
	};
	int uffd = ioctl(pagemap, PAGEMAP_USERFAULTFD, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0) {
		need_tracking();
		return -1;
	}
	if (ioctl(uffd, UFFDIO_API, &api)) {
		close(uffd);
		return -1;
	}
	return uffd;
}

static int tracker_register(struct tracked *tracked)
{
	struct memory *mem = &tracked->view.mem;

	return uffd_register(tracked->view.uffd, mem->addr, mem->size,
			     UFFDIO_REGISTER_MODE_WP, NULL);
}

static int tracked_start(struct tracked *tracked, enum memory_kind kind,
			 enum layout layout)
{
	struct { struct memory mem; int uffd; } *shared;
	int socket;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return -1;
	tracked->mem = &shared->mem;
	tracked->uffd = &shared->uffd;
	tracked->pid = start_process(&socket);
	if (!tracked->pid)
		tracked_main(tracked, kind, socket);
	tracked->socket = socket;
	if (tracked->pid < 0 || tracked_answer(tracked))
		return -1;
	tracked->view.layout = layout;
	tracked->view.mem = *tracked->mem;
	tracked->view.pagemap = pagemap_open(tracked->pid);
	tracked->view.uffd = tracker_open(tracked->view.pagemap);
	return tracked->view.uffd < 0 ? -1 : 0;
}

static void tracked_end(struct tracked *tracked)
{
	close(tracked->view.uffd);
	close(tracked->view.pagemap);
	end_process(tracked->pid, tracked->socket);
}

/* How a tracker calls: so that nothing of the process's own is touched. */
static __u64 tracker_flags(struct tracked *tracked)
{
	return tracked->view.layout == LAYOUT_PM ? 0 : PAGEMAP_WP_FOREIGN;
}

/*
 * Whether just the granules of the set are reported as written.  With
 * PAGEMAP_WP_ENGAGE they are protected again.
 */
static int reports(struct tracked *tracked, granule_set set, __u64 flags)
{
	struct memory *mem = &tracked->view.mem;
	struct scan scan = tracking_scan(&tracked->view,
					 flags | tracker_flags(tracked));
	struct page_region *vec = calloc(mem->count, sizeof(*vec));
	size_t granule, wrong = 0;
	long regions, i;

	scan.vec = vec;
	scan.vec_len = mem->count;
	regions = scan_call(tracked->view.pagemap, &scan);
	if (scan_check(&scan, regions)) {
		free(vec);
		return -1;
	}
	for (granule = 0, i = 0; granule < mem->count; granule++) {
		__u64 addr = address(mem->addr) + granule * mem->granule;

		while (i < regions && vec[i].end <= addr)
			i++;
		wrong += set(mem, granule) !=
			 (i < regions && vec[i].start <= addr);
	}
	free(vec);
	if (wrong)
		fprintf(stderr, "# %zu of %zu granules are wrong\n", wrong,
			mem->count);
	return wrong ? -1 : 0;
}

static int reports_and_protects(struct tracked *tracked, granule_set set)
{
	return reports(tracked, set, PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED);
}

/* Memory of each kind, in a process that is tracked */

FIXTURE(tracker) {
	struct tracked tracked;
};

FIXTURE_VARIANT(tracker) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(tracker, ANON_VER1) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(tracker, ANON_PM) { MEMORY_ANON, LAYOUT_PM };
FIXTURE_VARIANT_ADD(tracker, THP_VER1) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(tracker, SHMEM_VER1) { MEMORY_SHMEM, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(tracker, MEMFD_VER1) { MEMORY_MEMFD, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(tracker, MEMFD_THP_PM) { MEMORY_MEMFD_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(tracker, TMPFS_PRIVATE_VER1) { MEMORY_TMPFS_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(tracker, TMPFS_SHARED_VER1) { MEMORY_TMPFS_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(tracker, EXT4_PRIVATE_VER1) { MEMORY_EXT4_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(tracker, EXT4_SHARED_PM) { MEMORY_EXT4_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(tracker, HUGETLB_PRIVATE_VER1) { MEMORY_HUGETLB_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(tracker, HUGETLB_SHARED_VER1) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(tracker, KSM_VER1) { MEMORY_KSM, LAYOUT_VER1 };

FIXTURE_SETUP(tracker)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	ASSERT_EQ(0, tracked_start(&self->tracked, variant->kind,
				   variant->layout));
	ASSERT_EQ(0, have(&self->tracked, populate));
}

FIXTURE_TEARDOWN(tracker)
{
	tracked_end(&self->tracked);
}

TEST_F_TIMEOUT(tracker, sees_each_write, TIMEOUT)
{
	struct tracked *tracked = &self->tracked;

	ASSERT_EQ(0, tracker_register(tracked));
	ASSERT_EQ(0, reports_and_protects(tracked, every_granule));
	EXPECT_EQ(0, reports(tracked, no_granule, 0));
	ASSERT_EQ(0, have(tracked, write_some));
	EXPECT_EQ(0, reports_and_protects(tracked, some_granules));
	ASSERT_EQ(0, have(tracked, write_others));
	EXPECT_EQ(0, reports_and_protects(tracked, other_granules));
	ASSERT_EQ(0, have(tracked, read_into_some));
	EXPECT_EQ(0, reports_and_protects(tracked, some_granules));
	EXPECT_EQ(0, reports(tracked, no_granule, 0));
}

TEST_F_TIMEOUT(tracker, may_use_writeprotect, TIMEOUT)
{
	struct tracked *tracked = &self->tracked;
	struct memory *mem = &tracked->view.mem;

	ASSERT_EQ(0, tracker_register(tracked));
	ASSERT_EQ(0, uffd_protect(tracked->view.uffd, mem->addr, mem->size,
				  true));
	EXPECT_EQ(0, reports(tracked, no_granule, 0));
	ASSERT_EQ(0, have(tracked, write_some));
	EXPECT_EQ(0, reports(tracked, some_granules, 0));
	ASSERT_EQ(0, uffd_protect(tracked->view.uffd, mem->addr, mem->size,
				  false));
	EXPECT_EQ(0, reports(tracked, every_granule, 0));
}

/* Whether a call that looks at what is foreign finds nothing to protect. */
static int protects_nothing(struct tracked *tracked)
{
	struct scan scan = tracking_scan(&tracked->view, PAGEMAP_WP_ENGAGE |
							 PAGEMAP_WP_FOREIGN);

	return scan_call(tracked->view.pagemap, &scan) || scan.pages ? -1 : 0;
}

/* What the process sees of itself */

#define MAX_PAGES	(8 * 512)

/* Each page's categories, as the process has got them before. */
static __u64 *categories_before;

static int get_categories(struct memory *mem, __u64 *categories)
{
	int pagemap = pagemap_open(getpid());
	int result = scan_categories(pagemap, LAYOUT_VER1, mem->addr,
				     mem->size, categories);

	close(pagemap);
	return result;
}

static int note_categories(struct tracked *tracked)
{
	if (tracked->mem->size / page_size() > MAX_PAGES)
		return E2BIG;
	categories_before = calloc(MAX_PAGES, sizeof(*categories_before));
	return get_categories(tracked->mem, categories_before) ? EINVAL : 0;
}

/*
 * Whether a page is in the same categories as before: soft-dirty aside, as the
 * process writes meanwhile.  Protection splits the huge pages of a file, which
 * leaves their pages to be mapped again where they are next accessed.
 */
static bool is_as_before(__u64 now, __u64 before)
{
	if (before & PAGE_IS_HUGE && before & PAGE_IS_FILE &&
	    !(now & KIND_CATEGORIES))
		return true;
	return !((now ^ before) & KIND_CATEGORIES & ~(__u64)PAGE_IS_HUGE);
}

static int compare_categories(struct tracked *tracked)
{
	__u64 *categories = calloc(MAX_PAGES, sizeof(*categories));
	size_t i, different = 0;

	if (get_categories(tracked->mem, categories))
		return EINVAL;
	for (i = 0; i < tracked->mem->size / page_size(); i++) {
		if (!is_as_before(categories[i], categories_before[i]) &&
		    !different++)
			fprintf(stderr, "# page %zu: %llx, before %llx\n", i,
				categories[i], categories_before[i]);
	}
	free(categories);
	return different ? EBADMSG : 0;
}

/* The process has nothing of its own that it could protect. */
static int try_to_protect(struct tracked *tracked)
{
	struct tracking own = {
		.mem = *tracked->mem,
		.pagemap = pagemap_open(getpid()),
		.layout = LAYOUT_VER1,
	};
	struct scan scan = tracking_scan(&own, PAGEMAP_WP_ENGAGE);
	long regions = scan_call(own.pagemap, &scan);

	if (regions || scan.pages)
		return EBADMSG;
	scan.flags |= PAGEMAP_WP_REQUIRED;
	regions = scan_call(own.pagemap, &scan);
	if (regions >= 0 || errno != EPERM)
		return EBADE;
	/* Nor can it take from the tracker what that is to see. */
	scan.flags = PAGEMAP_WP_ENGAGE | PAGEMAP_WP_FOREIGN;
	regions = scan_call(own.pagemap, &scan);
	close(own.pagemap);
	return regions || scan.pages ? EBADMSG : 0;
}

TEST_F_TIMEOUT(tracker, is_not_seen_by_the_process, TIMEOUT)
{
	struct tracked *tracked = &self->tracked;

	ASSERT_EQ(0, have(tracked, write_each));
	ASSERT_EQ(0, have(tracked, note_categories));
	ASSERT_EQ(0, tracker_register(tracked));
	EXPECT_EQ(0, have(tracked, compare_categories));
	ASSERT_EQ(0, reports_and_protects(tracked, every_granule));
	EXPECT_EQ(0, have(tracked, compare_categories));
	EXPECT_EQ(0, have(tracked, try_to_protect));
	EXPECT_EQ(0, reports(tracked, no_granule, 0));
	ASSERT_EQ(0, have(tracked, write_some));
	EXPECT_EQ(0, have(tracked, compare_categories));
	EXPECT_EQ(0, have(tracked, try_to_protect));
	EXPECT_EQ(0, reports(tracked, some_granules, 0));
}

/* The end */

/* A line of /proc/PID/smaps for @mem's VMAs: how many, and their flags. */
static int describe_vmas(struct tracked *tracked, char *text, size_t size)
{
	unsigned long start, end, from = (unsigned long)tracked->view.mem.addr;
	unsigned long to = from + tracked->view.mem.size;
	bool inside = false;
	char path[64], line[512];
	FILE *smaps;
	size_t used = 0;

	snprintf(path, sizeof(path), "/proc/%d/smaps", tracked->pid);
	smaps = fopen(path, "r");
	if (!smaps)
		return -1;
	text[0] = 0;
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start < to && end > from;
		else if (strncmp(line, "VmFlags:", 8))
			continue;
		if (inside && used + strlen(line) < size)
			used += snprintf(text + used, size - used, "%s", line);
	}
	fclose(smaps);
	return used ? 0 : -1;
}

/* Nothing is there that was not before. */
static int has_no_trace(struct tracked *tracked, const char *before)
{
	struct memory *mem = &tracked->view.mem;
	char after[4096];

	if (describe_vmas(tracked, after, sizeof(after)))
		return -1;
	if (strcmp(before, after)) {
		fprintf(stderr, "# before: %s# after: %s", before, after);
		return -1;
	}
	if (pages_with(tracked->view.pagemap, mem->addr, mem->size,
		       PAGEMAP_UFFD_WP)) {
		fprintf(stderr, "# entries are still protected\n");
		return -1;
	}
	return 0;
}

TEST_F_TIMEOUT(tracker, that_closes_leaves_no_trace, TIMEOUT)
{
	struct tracked *tracked = &self->tracked;
	char before[4096];

	ASSERT_EQ(0, have(tracked, write_each));
	ASSERT_EQ(0, have(tracked, note_categories));
	ASSERT_EQ(0, describe_vmas(tracked, before, sizeof(before)));
	ASSERT_EQ(0, tracker_register(tracked));
	ASSERT_EQ(0, reports_and_protects(tracked, every_granule));
	ASSERT_EQ(0, have(tracked, write_some));
	ASSERT_EQ(0, close(tracked->view.uffd));
	EXPECT_EQ(0, has_no_trace(tracked, before));
	EXPECT_EQ(0, have(tracked, compare_categories));
	EXPECT_EQ(0, have(tracked, write_each));
}

TEST_F_TIMEOUT(tracker, that_is_killed_leaves_no_trace, TIMEOUT)
{
	struct tracked *tracked = &self->tracked;
	char before[4096], ready = 0;
	int socket;
	pid_t pid;

	ASSERT_EQ(0, have(tracked, write_each));
	ASSERT_EQ(0, describe_vmas(tracked, before, sizeof(before)));
	ASSERT_EQ(0, close(tracked->view.uffd));
	pid = start_process(&socket);
	if (!pid) {
		tracked->view.uffd = tracker_open(tracked->view.pagemap);
		if (tracker_register(tracked) ||
		    reports_and_protects(tracked, every_granule))
			_exit(1);
		if (write(socket, "k", 1) == 1)
			pause();
		_exit(1);
	}
	ASSERT_EQ(1, read(socket, &ready, 1));
	EXPECT_NE(0, has_no_trace(tracked, before));
	end_process(pid, socket);
	EXPECT_EQ(0, has_no_trace(tracked, before));
	EXPECT_EQ(0, have(tracked, write_each));
}

TEST_F_TIMEOUT(tracker, that_unregisters_leaves_no_trace, TIMEOUT)
{
	struct tracked *tracked = &self->tracked;
	struct memory *mem = &tracked->view.mem;
	char before[4096];

	ASSERT_EQ(0, describe_vmas(tracked, before, sizeof(before)));
	ASSERT_EQ(0, tracker_register(tracked));
	ASSERT_EQ(0, reports_and_protects(tracked, every_granule));
	ASSERT_EQ(0, uffd_unregister(tracked->view.uffd, mem->addr, mem->size));
	EXPECT_EQ(0, has_no_trace(tracked, before));
}

/* Beside a userfaultfd of the process's own */

static int open_own(struct tracked *tracked)
{
	__u64 features = 0;

	*tracked->uffd = uffd_create(0, &features);
	return *tracked->uffd < 0 ? errno : 0;
}

static int open_own_async(struct tracked *tracked)
{
	*tracked->uffd = uffd_create_async();
	return *tracked->uffd < 0 ? errno : 0;
}

static int close_own(struct tracked *tracked)
{
	return close(*tracked->uffd) ? errno : 0;
}

static int register_own(struct tracked *tracked)
{
	return uffd_register(*tracked->uffd, tracked->mem->addr,
			     tracked->mem->size, UFFDIO_REGISTER_MODE_WP,
			     NULL) ? errno : 0;
}

/* For faults that wait until the process itself has resolved them. */
static int register_own_for_missing(struct tracked *tracked)
{
	return uffd_register(*tracked->uffd, tracked->mem->addr,
			     tracked->mem->size, UFFDIO_REGISTER_MODE_MISSING,
			     NULL) ? errno : 0;
}

static int unregister_own(struct tracked *tracked)
{
	return uffd_unregister(*tracked->uffd, tracked->mem->addr,
			       tracked->mem->size) ? errno : 0;
}

static int protect_own(struct tracked *tracked)
{
	return uffd_protect(*tracked->uffd, tracked->mem->addr,
			    tracked->mem->size, true) ? errno : 0;
}

static int unprotect_own(struct tracked *tracked)
{
	return uffd_protect(*tracked->uffd, tracked->mem->addr,
			    tracked->mem->size, false) ? errno : 0;
}

static int copy_own(struct tracked *tracked)
{
	size_t size = tracked->mem->granule;
	void *from = calloc(1, size);
	int result = uffd_copy(*tracked->uffd, tracked->mem->addr, from, size,
			       UFFDIO_COPY_MODE_WP);
	int error = errno;

	free(from);
	return result ? error : 0;
}

/* Whether the process itself sees just these granules as written. */
static int own_reports(struct tracked *tracked, granule_set set)
{
	struct tracking own = {
		.mem = *tracked->mem,
		.pagemap = pagemap_open(getpid()),
		.layout = LAYOUT_VER1,
	};
	int result = check_written(&own, set);

	close(own.pagemap);
	return result ? EBADMSG : 0;
}

static int own_reports_none(struct tracked *tracked)
{
	return own_reports(tracked, no_granule);
}

static int own_reports_some(struct tracked *tracked)
{
	return own_reports(tracked, some_granules);
}

TEST_F_TIMEOUT(tracker, gives_way_to_the_process, TIMEOUT)
{
	struct tracked *tracked = &self->tracked;
	struct memory *mem = &tracked->view.mem;
	struct scan scan;

	ASSERT_EQ(0, tracker_register(tracked));
	ASSERT_EQ(0, reports_and_protects(tracked, every_granule));
	ASSERT_EQ(0, have(tracked, open_own_async));
	ASSERT_EQ(0, have(tracked, register_own));
	EXPECT_EQ(0, pages_with(tracked->view.pagemap, mem->addr, mem->size,
				PAGEMAP_UFFD_WP));
	ASSERT_EQ(0, have(tracked, protect_own));
	ASSERT_EQ(0, have(tracked, write_some));

	/* Now it is the process that tracks, and the other cannot meddle. */
	EXPECT_ERROR(EBUSY, tracker_register(tracked));
	EXPECT_ERROR(ENOENT, uffd_protect(tracked->view.uffd, mem->addr,
					  mem->size, true));
	EXPECT_EQ(0, uffd_unregister(tracked->view.uffd, mem->addr,
				     mem->size));
	scan = tracking_scan(&tracked->view,
			     PAGEMAP_WP_ENGAGE | tracker_flags(tracked));
	if (variant->layout != LAYOUT_PM) {
		EXPECT_EQ(0, scan_call(tracked->view.pagemap, &scan));
		EXPECT_EQ(0, scan.pages);
		scan.flags |= PAGEMAP_WP_REQUIRED;
		EXPECT_ERROR(EPERM, scan_call(tracked->view.pagemap, &scan));
		/* Nor does it see what is written: so all is that is there. */
		EXPECT_EQ(0, reports(tracked, every_granule, 0));
	}
	EXPECT_EQ(0, have(tracked, own_reports_some));

	ASSERT_EQ(0, have(tracked, close_own));
	ASSERT_EQ(0, tracker_register(tracked));
	EXPECT_EQ(0, reports_and_protects(tracked, every_granule));
	ASSERT_EQ(0, have(tracked, write_some));
	EXPECT_EQ(0, reports(tracked, some_granules, 0));
}

/* The errors are those that there would be if nobody tracked. */
TEST_F_TIMEOUT(tracker, is_out_of_reach_of_the_process, TIMEOUT)
{
	struct tracked *tracked = &self->tracked;
	int unregister;

	ASSERT_EQ(0, have(tracked, open_own));
	unregister = have(tracked, unregister_own);
	ASSERT_EQ(0, tracker_register(tracked));
	ASSERT_EQ(0, reports_and_protects(tracked, every_granule));
	ASSERT_EQ(0, have(tracked, write_some));
	EXPECT_EQ(ENOENT, have(tracked, protect_own));
	EXPECT_EQ(ENOENT, have(tracked, unprotect_own));
	EXPECT_EQ(ENOENT, have(tracked, copy_own));
	EXPECT_EQ(unregister, have(tracked, unregister_own));
	EXPECT_EQ(0, reports(tracked, some_granules, 0));
}

TEST_F_TIMEOUT(tracker, cannot_take_what_the_process_tracks, TIMEOUT)
{
	struct tracked *tracked = &self->tracked;
	struct memory *mem = &tracked->view.mem;

	ASSERT_EQ(0, have(tracked, open_own_async));
	ASSERT_EQ(0, have(tracked, register_own));
	ASSERT_EQ(0, have(tracked, protect_own));
	EXPECT_ERROR(EBUSY, tracker_register(tracked));
	EXPECT_ERROR(ENOENT, uffd_protect(tracked->view.uffd, mem->addr,
					  mem->size, false));
	EXPECT_EQ(0, uffd_unregister(tracked->view.uffd, mem->addr,
				     mem->size));
	EXPECT_EQ(0, have(tracked, own_reports_none));
	ASSERT_EQ(0, close(tracked->view.uffd));
	EXPECT_EQ(0, have(tracked, own_reports_none));
	ASSERT_EQ(0, have(tracked, write_some));
	EXPECT_EQ(0, have(tracked, own_reports_some));
}

/* A child of the process */

static int child_is_not_tracked(struct tracked *tracked)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct memory *mem = tracked->mem;
		int pagemap = pagemap_open(getpid());

		if (pages_with(pagemap, mem->addr, mem->size,
			       PAGEMAP_UFFD_WP) ||
		    vma_has_flag(mem->addr, "uw") ||
		    vma_has_flag(mem->addr, "ua"))
			_exit(1);
		write_set(mem, every_granule);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		return ECHILD;
	return 0;
}

TEST_F_TIMEOUT(tracker, does_not_track_a_child, TIMEOUT)
{
	struct tracked *tracked = &self->tracked;
	bool shared = memory_is_shared(variant->kind);

	ASSERT_EQ(0, tracker_register(tracked));
	ASSERT_EQ(0, reports_and_protects(tracked, every_granule));
	ASSERT_EQ(0, have(tracked, child_is_not_tracked));
	/* It has written through page tables of its own. */
	EXPECT_EQ(0, shared ? reports(tracked, no_granule, 0) : 0);
	ASSERT_EQ(0, have(tracked, write_some));
	EXPECT_EQ(0, check_nothing_lost(&tracked->view, some_granules));
}

/* One who does not track memory of a certain kind */

FIXTURE(single) {
	struct tracked tracked;
};

FIXTURE_SETUP(single)
{
	ASSERT_EQ(0, tracked_start(&self->tracked, MEMORY_ANON, LAYOUT_VER1));
	ASSERT_EQ(0, have(&self->tracked, populate));
}

FIXTURE_TEARDOWN(single)
{
	tracked_end(&self->tracked);
}

static int api(int uffd, __u64 *features, __u64 *ioctls)
{
	struct uffdio_api api = { .api = UFFD_API, .features = *features };
	int result = ioctl(uffd, UFFDIO_API, &api);

	*features = api.features;
	*ioctls = api.ioctls;
	return result;
}

TEST_F(single, takes_the_flags_of_a_descriptor_and_no_others)
{
	int pagemap = self->tracked.view.pagemap;
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		int flag = 1U << bit;
		int uffd = ioctl(pagemap, PAGEMAP_USERFAULTFD, flag);

		if (flag == O_CLOEXEC || flag == O_NONBLOCK) {
			ASSERT_LE(0, uffd);
			EXPECT_EQ(flag == O_CLOEXEC,
				  fcntl(uffd, F_GETFD) & FD_CLOEXEC);
			EXPECT_EQ(flag == O_NONBLOCK ? O_NONBLOCK : 0,
				  fcntl(uffd, F_GETFL) & O_NONBLOCK);
			close(uffd);
		} else {
			EXPECT_EQ(-1, uffd);
			EXPECT_EQ(EINVAL, errno);
		}
	}
}

TEST_F(single, has_no_features_but_async_protection)
{
	int pagemap = self->tracked.view.pagemap;
	const __u64 both = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED;
	__u64 features, ioctls;
	unsigned int bit;
	int uffd;

	for (bit = 0; bit < 64; bit++) {
		uffd = ioctl(pagemap, PAGEMAP_USERFAULTFD, 0);
		ASSERT_LE(0, uffd);
		features = UFFD_FEATURE_WP_ASYNC | 1ULL << bit;
		if (1ULL << bit & both) {
			EXPECT_EQ(0, api(uffd, &features, &ioctls));
			EXPECT_EQ(both, features);
		} else {
			EXPECT_ERROR(EINVAL, api(uffd, &features, &ioctls));
		}
		close(uffd);
	}

	/* And it has to have that one. */
	uffd = ioctl(pagemap, PAGEMAP_USERFAULTFD, 0);
	features = 0;
	EXPECT_ERROR(EINVAL, api(uffd, &features, &ioctls));
	features = UFFD_FEATURE_WP_UNPOPULATED;
	EXPECT_ERROR(EINVAL, api(uffd, &features, &ioctls));
	close(uffd);
}

TEST_F(single, registers_for_write_protection_alone)
{
	struct memory *mem = &self->tracked.view.mem;
	int uffd = self->tracked.view.uffd;
	__u64 mode, ioctls;

	for (mode = 0; mode < 16; mode++) {
		if (mode == UFFDIO_REGISTER_MODE_WP)
			continue;
		EXPECT_ERROR(EINVAL, uffd_register(uffd, mem->addr, mem->size,
						   mode, NULL));
	}
	ASSERT_EQ(0, uffd_register(uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_WP, &ioctls));
	EXPECT_EQ(1ULL << _UFFDIO_WRITEPROTECT, ioctls);
}

TEST_F(single, cannot_touch_what_is_in_the_memory)
{
	struct memory *mem = &self->tracked.view.mem;
	int uffd = self->tracked.view.uffd;
	struct uffdio_range range = { address(mem->addr), mem->size };
	struct uffdio_copy copy = {
		.dst = address(mem->addr),
		.src = address(map_pages(1, PROT_READ)),
		.len = page_size(),
	};
	struct uffdio_zeropage zero = { .range = range };
	struct uffdio_continue more = { .range = range };

	ASSERT_EQ(0, tracker_register(&self->tracked));
	EXPECT_ERROR(EINVAL, ioctl(uffd, UFFDIO_COPY, &copy));
	EXPECT_ERROR(EINVAL, ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	EXPECT_ERROR(EINVAL, ioctl(uffd, UFFDIO_CONTINUE, &more));
	EXPECT_ERROR(EINVAL, ioctl(uffd, UFFDIO_WAKE, &range));
	EXPECT_ERROR(EINVAL, ioctl(uffd, 0, 0));
}

static void do_nothing(int signal)
{
}

TEST_F_TIMEOUT(single, has_nothing_to_read_ever, TIMEOUT)
{
	struct sigaction action = { .sa_handler = do_nothing };
	struct tracked *tracked = &self->tracked;
	struct uffd_msg message;
	struct pollfd poll_for = { .events = POLLIN };
	__u64 features = UFFD_FEATURE_WP_ASYNC, ioctls;
	int uffd = ioctl(tracked->view.pagemap, PAGEMAP_USERFAULTFD, 0);

	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, api(uffd, &features, &ioctls));
	close(tracked->view.uffd);
	tracked->view.uffd = uffd;
	ASSERT_EQ(0, tracker_register(tracked));
	ASSERT_EQ(0, reports_and_protects(tracked, every_granule));
	ASSERT_EQ(0, have(tracked, write_each));
	ASSERT_EQ(0, have(tracked, child_is_not_tracked));

	poll_for.fd = uffd;
	EXPECT_EQ(0, poll(&poll_for, 1, 200));
	sigaction(SIGALRM, &action, NULL);
	alarm(1);
	EXPECT_ERROR(EINTR, read(uffd, &message, sizeof(message)));
	/* Also when the process is no more. */
	end_process(tracked->pid, tracked->socket);
	tracked->pid = -1;
	EXPECT_EQ(0, poll(&poll_for, 1, 200));
	ASSERT_EQ(0, fcntl(uffd, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(0, poll(&poll_for, 1, 0));
	EXPECT_ERROR(EAGAIN, read(uffd, &message, sizeof(message)));
}

TEST_F(single, is_the_only_one_for_a_range)
{
	struct tracked second = self->tracked;

	second.view.uffd = tracker_open(second.view.pagemap);
	ASSERT_LE(0, second.view.uffd);
	ASSERT_EQ(0, tracker_register(&self->tracked));
	EXPECT_ERROR(EBUSY, tracker_register(&second));
	ASSERT_EQ(0, close(self->tracked.view.uffd));
	EXPECT_EQ(0, tracker_register(&second));
	close(second.view.uffd);
}

/* The protection of a process that answers the faults itself is not touched. */
TEST_F(single, leaves_alone_what_is_synchronous)
{
	struct tracked *tracked = &self->tracked;
	struct memory *mem = &tracked->view.mem;
	size_t pages = mem->size / page_size();

	ASSERT_EQ(0, have(tracked, open_own));
	ASSERT_EQ(0, have(tracked, register_own));
	ASSERT_EQ(0, have(tracked, protect_own));
	EXPECT_ERROR(EBUSY, tracker_register(tracked));
	EXPECT_ERROR(ENOENT, uffd_protect(tracked->view.uffd, mem->addr,
					  mem->size, false));
	EXPECT_EQ(0, uffd_unregister(tracked->view.uffd, mem->addr,
				     mem->size));
	EXPECT_EQ(0, protects_nothing(tracked));
	EXPECT_EQ(pages, pages_with(tracked->view.pagemap, mem->addr,
				    mem->size, PAGEMAP_UFFD_WP));

	/* Nor is what it has registered for another purpose. */
	ASSERT_EQ(0, have(tracked, unregister_own));
	ASSERT_EQ(0, have(tracked, register_own_for_missing));
	EXPECT_ERROR(EBUSY, tracker_register(tracked));
	ASSERT_EQ(0, have(tracked, close_own));
	EXPECT_EQ(0, tracker_register(tracked));
	EXPECT_EQ(0, reports_and_protects(tracked, every_granule));
}

/* Those who only look do not see it, and so do not protect it either. */
TEST_F(single, is_not_seen_by_others)
{
	struct tracked *tracked = &self->tracked;
	struct tracking other = tracked->view;
	enum layout layout;
	struct scan scan;

	other.pagemap = pagemap_open(tracked->pid);
	ASSERT_LE(0, other.pagemap);
	ASSERT_EQ(0, tracker_register(tracked));
	ASSERT_EQ(0, reports_and_protects(tracked, every_granule));
	ASSERT_EQ(0, have(tracked, write_some));
	for (layout = LAYOUT_VER0; layout <= LAYOUT_PM; layout++) {
		other.layout = layout;
		EXPECT_EQ(0, check_written(&other, every_granule));
		scan = tracking_scan(&other, PAGEMAP_WP_ENGAGE);
		EXPECT_EQ(0, scan_call(other.pagemap, &scan));
		scan.flags |= PAGEMAP_WP_REQUIRED;
		EXPECT_ERROR(EPERM, scan_call(other.pagemap, &scan));
	}
	EXPECT_EQ(0, reports_and_protects(tracked, some_granules));
	close(other.pagemap);
}

/* Nor does a second one protect what the first is to see. */
TEST_F(single, leaves_alone_what_others_track)
{
	struct tracked *first = &self->tracked, second = self->tracked;

	ASSERT_EQ(0, have(first, populate));
	second.view.pagemap = pagemap_open(first->pid);
	second.view.uffd = tracker_open(second.view.pagemap);
	ASSERT_LE(0, second.view.uffd);
	ASSERT_EQ(0, tracker_register(first));
	ASSERT_EQ(0, reports_and_protects(first, every_granule));
	ASSERT_EQ(0, have(first, write_some));
	EXPECT_EQ(0, protects_nothing(&second));
	EXPECT_EQ(0, reports_and_protects(first, some_granules));

	/* And the other way round. */
	ASSERT_EQ(0, close(first->view.uffd));
	ASSERT_EQ(0, tracker_register(&second));
	ASSERT_EQ(0, reports_and_protects(&second, every_granule));
	ASSERT_EQ(0, have(first, write_others));
	EXPECT_EQ(0, protects_nothing(first));
	EXPECT_EQ(0, reports_and_protects(&second, other_granules));
	close(second.view.uffd);
	close(second.view.pagemap);
	first->view.uffd = tracker_open(first->view.pagemap);
}

/* One's own process is not foreign: it sees what it tracks. */
TEST(process_may_track_itself)
{
	struct tracking tracking = { .layout = LAYOUT_VER1 };
	struct memory *mem = &tracking.mem;

	tracking.pagemap = pagemap_open(getpid());
	tracking.uffd = tracker_open(tracking.pagemap);
	ASSERT_LE(0, tracking.uffd);
	ASSERT_EQ(0, memory_map(mem, MEMORY_ANON));
	ASSERT_EQ(0, uffd_register(tracking.uffd, mem->addr, mem->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ(0, protect_written(&tracking));
	EXPECT_EQ(0, check_written(&tracking, no_granule));
	write_set(mem, some_granules);
	EXPECT_EQ(0, check_written(&tracking, some_granules));
	EXPECT_EQ(0, tracking_end(&tracking));
}

/* A process whose memory grows, and its tracker follows */

#define GROWTH_STEPS	16

/**
 * struct growth - memory that grows at its end, as a heap does
 * @start:	its address
 * @pages:	those that are mapped
 * @step:	by how many pages it grows at a time
 * @fd:		of the file that is mapped, shared; -1: anonymous memory
 */
struct growth {
	char *start;
	size_t pages;
	size_t step;
	int fd;
};

FIXTURE(growing) {
	struct tracked tracked;
	char before[4096];
};

FIXTURE_VARIANT(growing) {
	bool file;
};

FIXTURE_VARIANT_ADD(growing, ANON) { false };
FIXTURE_VARIANT_ADD(growing, MEMFD) { true };

static struct growth *growth;

static size_t growth_size(void) { return growth->pages * page_size(); }

static int map_more(struct tracked *tracked)
{
	size_t size = growth->step * page_size();
	int flags = growth->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	char *end = growth->start + growth_size();

	if (mmap(end, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED,
		 growth->fd, end - growth->start) != end)
		return errno;
	growth->pages += growth->step;
	return 0;
}

static int grow(struct tracked *tracked)
{
	int error = map_more(tracked);

	if (!error)
		memset(growth->start, 1, growth_size());
	return error;
}

static int begin_to_grow(struct tracked *tracked)
{
	/* Something else is at both ends. */
	growth->start = reserve_addresses((GROWTH_STEPS + 2) * growth->step *
					  page_size(), page_size());
	if (!growth->start)
		return ENOMEM;
	growth->start += page_size();
	return grow(tracked);
}

static int clear_own_soft_dirty(struct tracked *tracked)
{
	return clear_soft_dirty(getpid()) ? EIO : 0;
}

static int read_the_end(struct tracked *tracked)
{
	size_t page;

	for (page = growth->pages - growth->step; page < growth->pages; page++)
		*(volatile char *)(growth->start + page * page_size());
	return 0;
}

static int write_the_end(struct tracked *tracked)
{
	growth->start[growth_size() - 1] = 2;
	return 0;
}

static size_t soft_dirty_at_the_end(struct tracked *tracked)
{
	size_t size = growth->step * page_size();

	return pages_with(tracked->view.pagemap,
			  growth->start + growth_size() - size, size,
			  PAGEMAP_SOFT_DIRTY);
}

static size_t vmas(struct tracked *tracked)
{
	char text[8192], *line = text;
	size_t lines = 0;

	tracked->view.mem.addr = growth->start;
	tracked->view.mem.size = growth_size();
	if (describe_vmas(tracked, text, sizeof(text)))
		return 0;
	while ((line = strchr(line, '\n'))) {
		lines++;
		line++;
	}
	/* A VMA has a line of addresses and one of flags. */
	return lines / 2;
}

static int register_growth(struct tracked *tracked)
{
	return uffd_register(tracked->view.uffd, growth->start, growth_size(),
			     UFFDIO_REGISTER_MODE_WP, NULL);
}

FIXTURE_SETUP(growing)
{
	growth = mmap(NULL, sizeof(*growth), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)growth);
	growth->step = 4;
	growth->fd = -1;
	if (variant->file) {
		growth->fd = memfd_create("growth", MFD_CLOEXEC);
		ASSERT_LE(0, growth->fd);
		ASSERT_EQ(0, ftruncate(growth->fd, GROWTH_STEPS * growth->step *
						   page_size()));
	}
	ASSERT_EQ(0, tracked_start(&self->tracked, MEMORY_ANON, LAYOUT_VER1));
	ASSERT_EQ(0, have(&self->tracked, begin_to_grow));
}

FIXTURE_TEARDOWN(growing)
{
	tracked_end(&self->tracked);
	close(growth->fd);
	munmap(growth, sizeof(*growth));
}

/* What is written before it is registered is one VMA with the rest even so. */
TEST_F(growing, stays_one_vma)
{
	struct tracked *tracked = &self->tracked;
	int step;

	ASSERT_EQ(1, vmas(tracked));
	for (step = 1; step < GROWTH_STEPS; step++) {
		ASSERT_EQ(0, register_growth(tracked));
		ASSERT_EQ(1, vmas(tracked));
		ASSERT_EQ(0, have(tracked, grow));
		ASSERT_EQ(2, vmas(tracked));
	}
	ASSERT_EQ(0, close(tracked->view.uffd));
	EXPECT_EQ(1, vmas(tracked));
}

static int remap_all(struct tracked *tracked)
{
	return syscall(__NR_remap_file_pages, growth->start, growth_size(), 0, 0,
		       0) ? errno : 0;
}

/* It goes on as it would if nobody looked: over a part that is tracked, too. */
TEST_F(growing, can_be_remapped)
{
	struct tracked *tracked = &self->tracked;

	ASSERT_EQ(0, register_growth(tracked));
	ASSERT_EQ(0, have(tracked, map_more));
	ASSERT_EQ(2, vmas(tracked));
	/* What is private cannot be, ever. */
	EXPECT_EQ(variant->file ? 0 : EINVAL, have(tracked, remap_all));
}

/* The end of tracking merges what is new with what is not. */
TEST_F(growing, stays_soft_dirty)
{
	struct tracked *tracked = &self->tracked;

	ASSERT_EQ(0, register_growth(tracked));
	ASSERT_EQ(0, have(tracked, clear_own_soft_dirty));
	ASSERT_EQ(0, have(tracked, map_more));
	/* Without a page, anonymous memory would not be merged. */
	ASSERT_EQ(0, have(tracked, write_the_end));
	ASSERT_EQ(growth->step, soft_dirty_at_the_end(tracked));
	ASSERT_EQ(2, vmas(tracked));
	ASSERT_EQ(0, close(tracked->view.uffd));
	ASSERT_EQ(1, vmas(tracked));
	EXPECT_EQ(growth->step, soft_dirty_at_the_end(tracked));

	/* It goes on from there, also with pages that were read first. */
	ASSERT_EQ(0, have(tracked, clear_own_soft_dirty));
	EXPECT_EQ(0, soft_dirty_at_the_end(tracked));
	ASSERT_EQ(0, have(tracked, read_the_end));
	EXPECT_EQ(0, soft_dirty_at_the_end(tracked));
	ASSERT_EQ(0, have(tracked, write_the_end));
	EXPECT_EQ(1, soft_dirty_at_the_end(tracked));
}

TEST_F_TIMEOUT(single, leaks_nothing_however_often, TIMEOUT)
{
	static const char *const caches[] = {
		"userfaultfd_ctx_cache", "vm_area_struct", "mm_struct", "filp",
	};
	struct tracked *tracked = &self->tracked;
	long before[ARRAY_SIZE(caches)];
	const int cycles = 4000;
	unsigned long end;
	int i;

	close(tracked->view.uffd);
	for (i = 0; i < (int)ARRAY_SIZE(caches); i++)
		before[i] = slab_objects(caches[i]);
	for (i = 0; i < cycles; i++) {
		tracked->view.uffd = tracker_open(tracked->view.pagemap);
		ASSERT_LE(0, tracked->view.uffd);
		ASSERT_EQ(0, tracker_register(tracked));
		ASSERT_EQ(0, reports_and_protects(tracked, every_granule));
		close(tracked->view.uffd);
	}
	/*
	 * Others use these caches, too, but not that much.  What is freed after
	 * a grace period of RCU may take its time where the machine is busy.
	 */
	end = milliseconds() + 30000;
	for (i = 0; i < (int)ARRAY_SIZE(caches); i++) {
		long limit = before[i] + cycles / 4;

		if (before[i] < 0)
			continue;
		while (slab_objects(caches[i]) >= limit && milliseconds() < end)
			usleep(100000);
		EXPECT_GT(limit, slab_objects(caches[i]))
			TH_LOG("%s", caches[i]);
	}
}

/* Who may */

FIXTURE(who) {
	struct target target;
	int pagemap;
};

FIXTURE_VARIANT(who) {
	enum sort sort;
	enum person allowed[3];
	enum person refused[6];
};

FIXTURE_VARIANT_ADD(who, plain) {
	PLAIN,
	{ OWNER, TRACER },
	{ STRANGER, READER, OWNER_IN_NAMESPACE, STRANGER_IN_NAMESPACE },
};

FIXTURE_VARIANT_ADD(who, not_dumpable) {
	NOT_DUMPABLE,
	{ TRACER },
	{ OWNER, STRANGER, READER, OWNER_IN_NAMESPACE, STRANGER_IN_NAMESPACE },
};

FIXTURE_VARIANT_ADD(who, setuid) {
	SETUID,
	{ TRACER },
	{ OWNER, STRANGER, READER, OWNER_IN_NAMESPACE, STRANGER_IN_NAMESPACE },
};

FIXTURE_VARIANT_ADD(who, in_user_namespace) {
	IN_NAMESPACE,
	{ OWNER, TRACER },
	{ STRANGER, READER, OWNER_IN_NAMESPACE, STRANGER_IN_NAMESPACE },
};

FIXTURE_SETUP(who)
{
	ASSERT_TRUE(machine_has(NEED_FILES));
	ASSERT_EQ(0, target_start(&self->target, variant->sort));
	self->pagemap = pagemap_open(self->target.pid);
	ASSERT_LE(0, self->pagemap);
}

FIXTURE_TEARDOWN(who)
{
	close(self->pagemap);
	end_process(self->target.pid, self->target.socket);
}

#define WRONG_ANSWER	255

/* Someone who was given root's descriptor.  Return: 0, or an error number. */
static int track_as(int pagemap, enum person person)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (become(person))
			_exit(WRONG_ANSWER);
		_exit(tracker_open(pagemap) < 0 ? errno : 0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return WRONG_ANSWER;
	return WEXITSTATUS(status);
}

TEST_F_TIMEOUT(who, may_trace_may_track, TIMEOUT)
{
	size_t i;

	/* The lists end in ROOT.  That sysctl is for those who hold faults up. */
	ASSERT_EQ(0, tunable_set("/proc/sys/vm/unprivileged_userfaultfd", "0"));
	for (i = 0; i < ARRAY_SIZE(variant->allowed); i++) {
		EXPECT_EQ(0, track_as(self->pagemap, variant->allowed[i]))
			TH_LOG("person %d", variant->allowed[i]);
		if (variant->allowed[i] == ROOT)
			break;
	}
}

TEST_F_TIMEOUT(who, may_not_trace_may_not_track, TIMEOUT)
{
	size_t i;

	for (i = 0; variant->refused[i] != ROOT; i++)
		EXPECT_EQ(EACCES, track_as(self->pagemap, variant->refused[i]))
			TH_LOG("person %d", variant->refused[i]);
}

/* The process that is no more */

FIXTURE(gone) {
	struct target target;
	int pagemap;
	int uffd;
	char *addr;
	size_t size;
};

FIXTURE_SETUP(gone)
{
	ASSERT_TRUE(machine_has(NEED_FILES));
	ASSERT_EQ(0, target_start(&self->target, PLAIN));
	self->pagemap = pagemap_open(self->target.pid);
	self->uffd = tracker_open(self->pagemap);
	ASSERT_LE(0, self->uffd);
	self->addr = self->target.plain;
	self->size = TARGET_PAGES * page_size();
	ASSERT_EQ(0, uffd_register(self->uffd, self->addr, self->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	ASSERT_EQ(0, uffd_protect(self->uffd, self->addr, self->size, true));
}

FIXTURE_TEARDOWN(gone)
{
	close(self->uffd);
	close(self->pagemap);
	end_process(self->target.pid, self->target.socket);
}

/* Nothing works any more, and nothing breaks. */
static int refuses_all(struct __test_metadata *_metadata, int pagemap,
		       int uffd, char *addr, size_t size)
{
	EXPECT_ERROR(ESRCH, ioctl(pagemap, PAGEMAP_USERFAULTFD, 0));
	EXPECT_ERROR(ENOMEM, uffd_register(uffd, addr, size,
					   UFFDIO_REGISTER_MODE_WP, NULL));
	EXPECT_ERROR(ENOMEM, uffd_unregister(uffd, addr, size));
	EXPECT_ERROR(ESRCH, uffd_protect(uffd, addr, size, true));
	return 0;
}

TEST_F_TIMEOUT(gone, after_exec, TIMEOUT)
{
	ASSERT_EQ(0, target_do(&self->target, COMMAND_EXEC));
	refuses_all(_metadata, self->pagemap, self->uffd, self->addr,
		    self->size);
}

TEST_F_TIMEOUT(gone, after_exec_of_a_setuid_program, TIMEOUT)
{
	ASSERT_EQ(0, target_do(&self->target, COMMAND_EXEC_SETUID));
	refuses_all(_metadata, self->pagemap, self->uffd, self->addr,
		    self->size);
}

TEST_F_TIMEOUT(gone, after_exit, TIMEOUT)
{
	siginfo_t info;

	ASSERT_EQ(0, target_do(&self->target, COMMAND_EXIT));
	ASSERT_EQ(0, waitid(P_PID, self->target.pid, &info,
			    WEXITED | WNOWAIT));
	refuses_all(_metadata, self->pagemap, self->uffd, self->addr,
		    self->size);
	ASSERT_EQ(self->target.pid, waitpid(self->target.pid, NULL, 0));
	self->target.pid = -1;
	refuses_all(_metadata, self->pagemap, self->uffd, self->addr,
		    self->size);
}

/* Its own registration, in async mode, is not there for a tracker. */
TEST_F_TIMEOUT(gone, not_what_it_has_registered_itself, TIMEOUT)
{
	size_t size = TARGET_TRACKED_PAGES * page_size();
	char *addr = self->target.tracked;

	EXPECT_ERROR(EBUSY, uffd_register(self->uffd, addr, size,
					  UFFDIO_REGISTER_MODE_WP, NULL));
	EXPECT_ERROR(ENOENT, uffd_protect(self->uffd, addr, size, true));
	EXPECT_EQ(0, uffd_unregister(self->uffd, addr, size));
	EXPECT_EQ(0, check_categories(self->pagemap, LAYOUT_VER1, addr, size,
				      PAGE_IS_WPALLOWED, PAGE_IS_WPALLOWED));
}

/* A kernel thread has no memory. */
TEST(kernel_thread_cannot_be_tracked)
{
	int pagemap = pagemap_open(2);

	ASSERT_LE(0, pagemap);
	EXPECT_ERROR(ESRCH, ioctl(pagemap, PAGEMAP_USERFAULTFD, 0));
	close(pagemap);
}

/* A process between two programs */

#define EXECUTE_AGAIN	"--execute-again"

static void execute_again(void)
{
	execl("/proc/self/exe", "pagemap_scan_tracker", EXECUTE_AGAIN, NULL);
	_exit(1);
}

/* How many mappings a process has, and the first of them. */
static int first_mapping(pid_t pid, __u64 *start, __u64 *end)
{
	char path[64], line[512];
	int mappings = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		unsigned long long from, to;

		if (strstr(line, "[vsyscall]") ||
		    sscanf(line, "%llx-%llx", &from, &to) != 2)
			continue;
		if (!mappings++) {
			*start = from;
			*end = to;
		}
	}
	if (file)
		fclose(file);
	return mappings;
}

/*
 * Register the stack of a process that has no other mapping yet.
 *
 * Return: 1 where the kernel says that it is too early, 0, or -1 where what was
 * registered is not some moments later.
 */
static int register_first_stack(int pagemap, pid_t pid)
{
	struct uffdio_register registration = {
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect protection = {
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	__u64 start, end;
	int uffd, result = 0;

	if (first_mapping(pid, &start, &end) != 1)
		return 0;
	uffd = tracker_open(pagemap);
	if (uffd < 0)
		return 0;
	registration.range.start = start;
	registration.range.len = end - start;
	protection.range = registration.range;
	if (!ioctl(uffd, UFFDIO_REGISTER, &registration)) {
		usleep(200);
		if (ioctl(uffd, UFFDIO_WRITEPROTECT, &protection) &&
		    errno == ENOENT)
			result = -1;
	} else {
		/* One of 32 bits has it where it has no addresses. */
		result = errno == EAGAIN ||
			 (errno == EINVAL && start != (uintptr_t)start);
	}
	close(uffd);
	return result;
}

/*
 * When a program is started its stack is made at one place and moved to another,
 * with flags that are set anew: registered in between, it would have a
 * userfaultfd, but no flag that says so.
 *
 * Who waits for the process to be accessible again, is more urgent and shares
 * its processor, comes right in between.
 */
TEST(stack_of_a_program_that_is_being_started_is_refused)
{
	const struct sched_param urgent = { .sched_priority = 1 };
	unsigned long end = milliseconds() + 20000;
	unsigned int refused = 0, round = 0;
	pid_t pid;

	ASSERT_EQ(0, run_on(0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		execute_again();
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_FIFO, &urgent));
	while (refused < 3 && milliseconds() < end) {
		int pagemap, result;

		usleep(50 + round++ % 97 * 10);
		pagemap = pagemap_open(pid);
		ASSERT_LE(0, pagemap);
		result = register_first_stack(pagemap, pid);
		close(pagemap);
		ASSERT_LE(0, result);
		refused += result;
	}
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	TH_LOG("refused %u times in %u rounds", refused, round);
	EXPECT_LT(0, refused);
}

static void __attribute__((constructor)) prepare(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], EXECUTE_AGAIN))
		execute_again();
	machine_prepare(NEED_ALL & ~NEED_SWAP);
	if (make_setuid_program())
		exit(1);
}

TEST_HARNESS_MAIN
