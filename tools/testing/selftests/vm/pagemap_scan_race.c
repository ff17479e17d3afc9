// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN: that no write is lost, whatever else happens to the memory at
 * the same time.
 *
 * Each case runs for some seconds, PAGEMAP_SCAN_SECONDS of them where that is
 * in the environment, and until what it is about has really taken place.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <linux/mempolicy.h>

#include "../../../../lib/test_hmm_uapi.h"
#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

/* Sized for a kernel with all debug options on an emulated processor. */
#define TIMEOUT	120

#define THP_SYSFS	"/sys/kernel/mm/transparent_hugepage/"
#define KSM_SYSFS	"/sys/kernel/mm/ksm/"
#define CGROUP_ROOT	"/sys/fs/cgroup/"

#define WRITERS		2
#define SCANNERS	3
#define REGIONS		64
#define ENOUGH_REPORTS	200
#define SMALL_PAGES	600	/* in more than one page table */
/* What populated memory is full of. */
#define FILLER		0x5a5a5a5aU

/**
 * struct race - writers, scanners and a disturber on the same memory
 * @tracking:	the memory; everything else here lies outside of it
 * @pages:	its pages
 * @slot_pages:	pages in a slot, the unit in which it is unmapped or dropped
 * @generation:	of each slot, odd while the slot is being changed
 * @locks:	of each slot, held by who writes to or changes it
 * @use_locks:	whether writers take @locks, as contents are dropped
 * @use_pages:	whether writers have pages of their own
 * @done:	of each writer and page, the last number that was written for
 *		certain; 0 if that was dropped since
 * @copy:	of each writer and page, the number in the scanner's copy
 * @checked:	how many writers, from the first on, are tracked
 * @exact:	whether pages that nobody writes must not be reported
 * @writer_pause: writers rest for up to so many microseconds after a pass
 * @scanner_passes: scanners wait for so many passes after a scan, and rest
 * @nowhere:	a vec that cannot be accessed: some calls are made with it, and
 *		fail; NULL: none
 * @write:	how the second writer writes
 * @device:	what it writes through, where it does not by itself
 * @disturb:	what happens beside, or NULL
 * @scanners:	how many scan, each a part of the memory
 * @remote:	whether the scanner is another process
 * @writes:	numbers written
 * @passes:	passes of all writers
 * @scans:	scans of all parts
 * @reports:	pages reported
 * @events:	how often what @disturb is about took place
 * @failed:	a check failed
 * @stop_writing: ends writers and disturber
 * @stop_scanning: ends scanners
 *
 * The writers store numbers that only grow, each writer in a word of its own in
 * every page, and note in @done what they have stored.  A scanner copies the
 * words of each page that is reported, after the call.  So, of a page that a
 * scan did not report, what was done before the scan began must be in the copy:
 * either it was when the copy was taken, or it was stored since, to a page that
 * had been protected, and had to be reported.
 */
struct race {
	struct tracking tracking;
	size_t pages;
	size_t slot_pages;
	unsigned int *generation;
	pthread_rwlock_t *locks;
	bool use_locks;
	bool use_pages;
	unsigned int *done[WRITERS];
	unsigned int *copy[WRITERS];
	unsigned int checked;
	bool exact;
	unsigned int writer_pause;
	unsigned int scanner_passes;
	struct page_region *nowhere;
	bool (*write)(struct race *race, size_t page, unsigned int number);
	int device;
	void *(*disturb)(void *race);
	unsigned int scanners;
	bool remote;
	unsigned long writes;
	unsigned long passes;
	unsigned long scans;
	unsigned long reports;
	unsigned long events;
	bool failed;
	bool stop_writing;
	bool stop_scanning;
};

/**
 * struct scanner - scans a part of the memory
 * @race:	the race
 * @pagemap:	its pagemap file
 * @remote:	process that has the memory, or 0 where that is this one
 * @first:	the first page of the part
 * @end:	the page behind the last
 * @seed:	of its random numbers
 * @before:	what was done before the scan
 * @generation:	the slots' before the scan
 * @reported:	pages that the scan reported
 * @missed:	pages that were reported, but could not be copied yet
 * @vec:	for a call's answer
 */
struct scanner {
	struct race *race;
	int pagemap;
	pid_t remote;
	size_t first;
	size_t end;
	unsigned int seed;
	unsigned int *before[WRITERS];
	unsigned int *generation;
	bool *reported;
	bool *missed;
	struct page_region vec[REGIONS];
};

/**
 * struct writer - writes to all of the memory
 * @race:	the race
 * @number:	its number
 * @seed:	of its random numbers
 */
struct writer {
	struct race *race;
	unsigned int number;
	unsigned int seed;
};

static unsigned int below(unsigned int *seed, unsigned int limit)
{
	return rand_r(seed) % limit;
}

static void rest(unsigned int *seed, unsigned int microseconds)
{
	if (microseconds)
		usleep(below(seed, microseconds));
}

static unsigned int load(const unsigned int *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store(unsigned int *p, unsigned int value)
{
	__atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static bool is_set(const bool *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void set(bool *p)
{
	__atomic_store_n(p, true, __ATOMIC_RELEASE);
}

static void count(unsigned long *counter, unsigned long n)
{
	__atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

/* Memory that may not be mapped, or not writable, for a moment */

struct landing {
	sigjmp_buf buffer;
};

static __thread struct landing *landing;

static void land(int signal_number)
{
	if (landing)
		siglongjmp(landing->buffer, 1);
	signal(signal_number, SIG_DFL);
}

static void catch_faults(void)
{
	struct sigaction action = {
		.sa_handler = land,
		.sa_flags = SA_NODEFER,
	};

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

static bool try_load(const unsigned int *p, unsigned int *value)
{
	struct landing here;

	if (sigsetjmp(here.buffer, 0)) {
		landing = NULL;
		return false;
	}
	landing = &here;
	*value = load(p);
	landing = NULL;
	return true;
}

static bool try_store(unsigned int *p, unsigned int value)
{
	struct landing here;

	if (sigsetjmp(here.buffer, 0)) {
		landing = NULL;
		return false;
	}
	landing = &here;
	store(p, value);
	landing = NULL;
	return true;
}

/* The memory */

static char *page_address(struct race *race, size_t page)
{
	return race->tracking.mem.addr + page * page_size();
}

static unsigned int *word_address(struct race *race, size_t page,
				  unsigned int writer)
{
	return (unsigned int *)page_address(race, page) + writer;
}

/* Pages that nobody writes; with what is protected as a whole. */
static bool is_quiet(struct race *race, size_t page)
{
	struct memory *mem = &race->tracking.mem;
	size_t granule = page * page_size() / mem->granule;

	if (mem->granule == page_size())
		return granule % 8 == 7;
	return granule == mem->count - 1;
}

static size_t slot_count(struct race *race)
{
	return race->pages / race->slot_pages;
}

/* Let scanners check nothing in the slot until slot_end(). */
static void slot_begin(struct race *race, size_t slot)
{
	size_t i, first = slot * race->slot_pages;
	unsigned int w;

	if (race->use_locks)
		pthread_rwlock_wrlock(&race->locks[slot]);
	store(&race->generation[slot], race->generation[slot] + 1);
	if (!race->use_locks)
		return;
	/* The contents are going to be dropped, and nobody writes meanwhile. */
	for (w = 0; w < WRITERS; w++) {
		for (i = first; i < first + race->slot_pages; i++)
			store(&race->done[w][i], 0);
	}
}

static void slot_end(struct race *race, size_t slot)
{
	store(&race->generation[slot], race->generation[slot] + 1);
	if (race->use_locks)
		pthread_rwlock_unlock(&race->locks[slot]);
}

/* Of a page without such a number, dropped or not written yet, it is 0. */
static unsigned int number_in(unsigned int word)
{
	return word == FILLER ? 0 : word;
}

/* Writers */

static bool write_by_processor(struct race *race, size_t page,
			       unsigned int number)
{
	return try_store(word_address(race, page, 1), number);
}

/* The kernel writes for the target: copy_to_user(). */
static bool write_by_system_call(struct race *race, size_t page,
				 unsigned int number)
{
	return pwrite(race->device, &number, sizeof(number), 0) ==
	       sizeof(number) &&
	       pread(race->device, word_address(race, page, 1), sizeof(number),
		     0) == sizeof(number);
}

static void write_page(struct writer *writer, size_t page, unsigned int number)
{
	struct race *race = writer->race;
	pthread_rwlock_t *lock = &race->locks[page / race->slot_pages];
	bool done;

	if (race->use_locks && pthread_rwlock_tryrdlock(lock))
		return;
	if (writer->number == 1)
		done = race->write(race, page, number);
	else
		done = try_store(word_address(race, page, 0), number);
	if (done) {
		store(&race->done[writer->number][page], number);
		count(&race->writes, 1);
	}
	if (race->use_locks)
		pthread_rwlock_unlock(lock);
}

/* Up or down, in steps of any size. */
static void write_pass(struct writer *writer, unsigned int number)
{
	static const int steps[] = { 1, -1, 5, -7, 64 };
	struct race *race = writer->race;
	size_t page = below(&writer->seed, race->pages), i;
	size_t step = race->pages + steps[below(&writer->seed, 5)];
	bool all = race->writer_pause;

	for (i = 0; i < race->pages; i++) {
		page = (page + step) % race->pages;
		if (is_quiet(race, page))
			continue;
		if (race->use_pages && page % WRITERS != writer->number)
			continue;
		if (!all && !below(&writer->seed, 4))
			continue;
		write_page(writer, page, number);
		/* Let others run, who may be more than there are processors. */
		if (!below(&writer->seed, 64))
			rest(&writer->seed, 200);
		if (is_set(&race->stop_writing))
			break;
	}
}

static void *write_in_passes(void *argument)
{
	struct writer *writer = argument;
	struct race *race = writer->race;
	unsigned int number = 0;

	while (!is_set(&race->stop_writing)) {
		write_pass(writer, ++number);
		count(&race->passes, 1);
		rest(&writer->seed, race->writer_pause);
	}
	return NULL;
}

/* The scanner */

/* From another process a word may be torn; what tears it is a later write. */
static void copy_words(struct scanner *scanner, size_t page)
{
	struct race *race = scanner->race;
	unsigned int words[WRITERS] = {}, w;
	struct iovec local = { words, sizeof(words) };
	struct iovec remote = { page_address(race, page), sizeof(words) };

	scanner->missed[page] = false;
	if (scanner->remote) {
		process_vm_readv(scanner->remote, &local, 1, &remote, 1, 0);
	} else {
		for (w = 0; w < WRITERS; w++) {
			if (!try_load(word_address(race, page, w), &words[w]))
				scanner->missed[page] = true;
		}
	}
	for (w = 0; w < WRITERS; w++)
		race->copy[w][page] = number_in(words[w]);
}

/* What was not mapped when it was to be copied may be back. */
static void copy_missed(struct scanner *scanner)
{
	size_t page;

	for (page = scanner->first; page < scanner->end; page++) {
		if (scanner->missed[page])
			copy_words(scanner, page);
	}
}

static int copy_regions(struct scanner *scanner, long regions)
{
	struct race *race = scanner->race;
	__u64 base = address(race->tracking.mem.addr), addr;
	long i;

	for (i = 0; i < regions; i++) {
		struct page_region *region = &scanner->vec[i];

		for (addr = region->start; addr < region->end;
		     addr += page_size()) {
			size_t page = (addr - base) / page_size();

			scanner->reported[page] = true;
			copy_words(scanner, page);
			if (race->exact && is_quiet(race, page)) {
				fprintf(stderr,
					"# page %zu is reported, and nobody wrote it\n",
					page);
				return -1;
			}
		}
	}
	count(&race->reports, scan_pages(scanner->vec, regions));
	return 0;
}

/* A call that fails after it has protected what was written. */
static int fail_to_scan(struct scanner *scanner)
{
	struct scan scan = tracking_scan(&scanner->race->tracking,
					 PAGEMAP_WP_ENGAGE);
	long regions;

	scan.vec = scanner->race->nowhere;
	scan.vec_len = REGIONS;
	regions = scan_call(scanner->pagemap, &scan);
	if (!regions || (regions < 0 && errno == EFAULT))
		return 0;
	fprintf(stderr, "# a call that had to fail returned %ld\n", regions);
	return -1;
}

/* Calls of all sizes, until the whole part has been scanned. */
static int scan_and_copy(struct scanner *scanner)
{
	struct race *race = scanner->race;
	struct scan scan = tracking_scan(&race->tracking, PAGEMAP_WP_ENGAGE);
	bool small = !below(&scanner->seed, 8);
	long regions;

	scan.start = address(page_address(race, scanner->first));
	scan.end = address(page_address(race, scanner->end));
	scan.vec = scanner->vec;
	if (race->nowhere && !below(&scanner->seed, 2) &&
	    fail_to_scan(scanner))
		return -1;
	do {
		scan.vec_len = 1 + below(&scanner->seed, small ? 4 : REGIONS);
		scan.max_pages = 0;
		if (small)
			scan.max_pages = huge_size() / page_size();
		regions = scan_call(scanner->pagemap, &scan);
		if (scan_check(&scan, regions) ||
		    copy_regions(scanner, regions))
			return -1;
		scan.start = scan.walk_end;
	} while (scan.start != scan.end);
	return 0;
}

static void look_before(struct scanner *scanner)
{
	struct race *race = scanner->race;
	size_t i;
	unsigned int w;

	for (i = 0; i < slot_count(race); i++)
		scanner->generation[i] = load(&race->generation[i]);
	for (w = 0; w < race->checked; w++) {
		for (i = scanner->first; i < scanner->end; i++)
			scanner->before[w][i] = load(&race->done[w][i]);
	}
	memset(scanner->reported, 0, race->pages * sizeof(bool));
}

/* Whether nothing but writes has happened to the page since look_before(). */
static bool stayed(struct scanner *scanner, size_t page)
{
	size_t slot = page / scanner->race->slot_pages;
	unsigned int before = scanner->generation[slot];

	return before % 2 == 0 &&
	       load(&scanner->race->generation[slot]) == before;
}

/* Of a page that is not reported: is the copy right? */
static int check_page(struct scanner *scanner, size_t page, unsigned int w)
{
	struct race *race = scanner->race;
	unsigned int copy = race->copy[w][page], word, now = copy;

	if (!scanner->remote && try_load(word_address(race, page, w), &word))
		now = number_in(word);
	if (!stayed(scanner, page))
		return 0;
	if (scanner->before[w][page] <= copy && now >= copy)
		return 0;
	fprintf(stderr,
		"# page %zu: writer %u wrote %u, the copy has %u, the page %u: lost\n",
		page, w, scanner->before[w][page], copy, now);
	return -1;
}

static int scan_once(struct scanner *scanner)
{
	size_t page;
	unsigned int w;

	look_before(scanner);
	copy_missed(scanner);
	if (scan_and_copy(scanner))
		return -1;
	for (page = scanner->first; page < scanner->end; page++) {
		if (scanner->reported[page] || scanner->missed[page])
			continue;
		for (w = 0; w < scanner->race->checked; w++) {
			if (check_page(scanner, page, w))
				return -1;
		}
	}
	count(&scanner->race->scans, 1);
	return 0;
}

static void await_passes(struct scanner *scanner)
{
	struct race *race = scanner->race;
	unsigned long passes = race->scanner_passes +
			       __atomic_load_n(&race->passes, __ATOMIC_RELAXED);

	while (!is_set(&race->stop_writing) &&
	       __atomic_load_n(&race->passes, __ATOMIC_RELAXED) < passes)
		usleep(1000);
	rest(&scanner->seed, race->scanner_passes ? 100000 : 200);
}

static void *scan_all_the_time(void *argument)
{
	struct scanner *scanner = argument;
	struct race *race = scanner->race;

	while (!is_set(&race->stop_scanning) && !is_set(&race->failed)) {
		if (scan_once(scanner))
			set(&race->failed);
		await_passes(scanner);
	}
	return NULL;
}

static void scanner_init(struct scanner *scanner, struct race *race,
			 unsigned int number)
{
	size_t unit = memory_is_hugetlb(race->tracking.mem.kind) ?
		      huge_size() / page_size() : 1;
	unsigned int w;

	scanner->race = race;
	scanner->pagemap = race->tracking.pagemap;
	scanner->first = race->pages / unit * number / race->scanners * unit;
	scanner->end = race->pages / unit * (number + 1) / race->scanners *
		       unit;
	scanner->seed = number + 1;
	for (w = 0; w < WRITERS; w++)
		scanner->before[w] = calloc(race->pages, sizeof(unsigned int));
	scanner->generation = calloc(race->pages, sizeof(unsigned int));
	scanner->reported = calloc(race->pages, sizeof(bool));
	scanner->missed = calloc(race->pages, sizeof(bool));
}

static void scanner_exit(struct scanner *scanner)
{
	unsigned int w;

	for (w = 0; w < WRITERS; w++)
		free(scanner->before[w]);
	free(scanner->generation);
	free(scanner->reported);
	free(scanner->missed);
}

/* With nobody writing any more, the copy has everything. */
static int check_copy(struct race *race)
{
	size_t page, wrong = 0;
	unsigned int w;

	for (page = 0; page < race->pages; page++) {
		for (w = 0; w < race->checked; w++) {
			unsigned int *word = word_address(race, page, w);

			wrong += number_in(load(word)) != race->copy[w][page];
		}
	}
	if (!wrong)
		return 0;
	fprintf(stderr, "# %zu words of %zu pages differ from their copy\n",
		wrong, race->pages);
	return -1;
}

/* The race */

static void *shared_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* As much memory as several page tables map, where KSM can keep up with it. */
static size_t granules(enum memory_kind kind)
{
	if (kind == MEMORY_THP)
		return 3;
	if (kind == MEMORY_MEMFD_THP || memory_is_hugetlb(kind) ||
	    kind == MEMORY_KSM)
		return 0;
	return SMALL_PAGES;
}

/* Memory that is populated, registered and protected. */
static int race_track(struct race *race, enum memory_kind kind,
		      enum layout layout, size_t count, __u64 events)
{
	__u64 features = UFFD_FEATURE_WP_ASYNC | events;
	struct tracking *tracking = &race->tracking;
	struct memory *mem = &tracking->mem;
	size_t i;
	unsigned int w;

	tracking->layout = layout;
	tracking->pagemap = pagemap_open(getpid());
	tracking->uffd = uffd_create(0, &features);
	if (tracking->pagemap < 0 || tracking->uffd < 0 ||
	    memory_map_count(mem, kind, count) ||
	    uffd_register(tracking->uffd, mem->addr, mem->size,
			  UFFDIO_REGISTER_MODE_WP, NULL))
		return -1;
	race->pages = mem->size / page_size();
	race->slot_pages = mem->granule == page_size() ?
			   8 : mem->granule / page_size();
	race->generation = shared_memory(race->pages * sizeof(unsigned int));
	race->locks = calloc(race->pages, sizeof(pthread_rwlock_t));
	for (i = 0; i < race->pages; i++)
		pthread_rwlock_init(&race->locks[i], NULL);
	for (w = 0; w < WRITERS; w++) {
		race->done[w] = shared_memory(race->pages * sizeof(int));
		race->copy[w] = shared_memory(race->pages * sizeof(int));
	}
	return tracking_populate(tracking);
}

static struct race *race_begin(enum memory_kind kind, enum layout layout,
			       size_t count, __u64 events)
{
	struct race *race = shared_memory(sizeof(*race));

	race->write = write_by_processor;
	race->device = -1;
	race->checked = WRITERS;
	race->scanners = 1;
	race->exact = true;
	catch_faults();
	return race_track(race, kind, layout, count, events) ? NULL : race;
}

static int race_end(struct race *race)
{
	if (race->device >= 0)
		close(race->device);
	return tracking_end(&race->tracking);
}

/* A scanner in another process, which has its own copy of private memory. */
static pid_t scan_from_a_process(struct scanner *scanner)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	scanner->remote = parent;
	scanner->pagemap = pagemap_open(parent);
	scan_all_the_time(scanner);
	_exit(0);
}

/* Events that block until they are taken note of. */
static void take_events(struct race *race)
{
	struct pollfd poll_uffd = {
		.fd = race->tracking.uffd,
		.events = POLLIN,
	};
	struct uffd_msg message;

	if (poll(&poll_uffd, 1, 10) > 0 &&
	    read(race->tracking.uffd, &message, sizeof(message)) > 0 &&
	    message.event != UFFD_EVENT_REMAP) {
		fprintf(stderr, "# message %#x\n", message.event);
		set(&race->failed);
	}
}

static bool enough(struct race *race)
{
	return race->scans >= 3 && race->reports >= ENOUGH_REPORTS &&
	       (!race->disturb || race->events);
}

static void race_wait(struct race *race, unsigned long normal)
{
	unsigned long begin = milliseconds(), now = 0;
	unsigned long length = test_duration(normal);
	unsigned long limit = length + TIMEOUT / 2 * 1000;

	while (!is_set(&race->failed) && now < limit) {
		take_events(race);
		now = milliseconds() - begin;
		if (now >= length && enough(race))
			break;
	}
}

/* Threads end in the order in which their checks allow it. */
static int race_run(struct race *race, unsigned long normal)
{
	pthread_t writers[WRITERS], scanners[SCANNERS], disturber;
	struct writer writer[WRITERS];
	struct scanner scanner[SCANNERS] = {};
	unsigned long begin = milliseconds();
	unsigned int i, result = 0;
	pid_t pid = -1;

	for (i = 0; i < race->scanners; i++)
		scanner_init(&scanner[i], race, i);
	if (race->remote)
		pid = scan_from_a_process(scanner);
	for (i = 0; i < WRITERS; i++) {
		writer[i] = (struct writer) { race, i, i + 100 };
		pthread_create(&writers[i], NULL, write_in_passes, &writer[i]);
	}
	if (race->disturb)
		pthread_create(&disturber, NULL, race->disturb, race);
	for (i = 0; i < race->scanners && !race->remote; i++)
		pthread_create(&scanners[i], NULL, scan_all_the_time,
			       &scanner[i]);

	race_wait(race, normal);
	set(&race->stop_writing);
	for (i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	if (race->disturb) {
		/* It may wait for an event to be taken. */
		while (pthread_tryjoin_np(disturber, NULL))
			take_events(race);
	}
	set(&race->stop_scanning);
	for (i = 0; i < race->scanners && !race->remote; i++)
		pthread_join(scanners[i], NULL);
	if (pid > 0)
		waitpid(pid, NULL, 0);

	for (i = 0; i < race->scanners && !race->failed; i++)
		result |= scan_once(&scanner[i]);
	fprintf(stderr,
		"# %lu writes, %lu scans, %lu reports, %lu events in %lu ms\n",
		race->writes, race->scans, race->reports, race->events,
		milliseconds() - begin);
	if (race->failed || result || check_copy(race))
		return -1;
	for (i = 0; i < race->scanners; i++)
		scanner_exit(&scanner[i]);
	if (enough(race))
		return 0;
	fprintf(stderr, "# which is not what the case is about\n");
	return -1;
}

/* Kinds that all can be migrated, forked and so on, in one layout each. */
FIXTURE(any) {
	struct race *race;
};

FIXTURE_VARIANT(any) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(any, ANON) { MEMORY_ANON, LAYOUT_PM };
FIXTURE_VARIANT_ADD(any, THP) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(any, SHMEM) { MEMORY_SHMEM, LAYOUT_VER0 };
FIXTURE_VARIANT_ADD(any, MEMFD) { MEMORY_MEMFD, LAYOUT_PM };
FIXTURE_VARIANT_ADD(any, MEMFD_THP) { MEMORY_MEMFD_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(any, TMPFS_PRIVATE) { MEMORY_TMPFS_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(any, TMPFS_SHARED) { MEMORY_TMPFS_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(any, EXT4_PRIVATE) { MEMORY_EXT4_PRIVATE, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(any, EXT4_SHARED) { MEMORY_EXT4_SHARED, LAYOUT_PM };
FIXTURE_VARIANT_ADD(any, HUGETLB_PRIVATE) { MEMORY_HUGETLB_PRIVATE, LAYOUT_PM };
FIXTURE_VARIANT_ADD(any, HUGETLB_SHARED) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(any, KSM) { MEMORY_KSM, LAYOUT_VER1 };

FIXTURE_SETUP(any)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->race = race_begin(variant->kind, variant->layout,
				granules(variant->kind), 0);
	ASSERT_TRUE(!!self->race);
}

FIXTURE_TEARDOWN(any)
{
	EXPECT_EQ(0, race_end(self->race));
}

TEST_F_TIMEOUT(any, writes_by_processors, TIMEOUT)
{
	EXPECT_EQ(0, race_run(self->race, 500));
}

TEST_F_TIMEOUT(any, writes_by_system_calls, TIMEOUT)
{
	struct race *race = self->race;

	race->write = write_by_system_call;
	race->device = syscall(__NR_memfd_create, "number", 0);
	ASSERT_LE(0, race->device);
	EXPECT_EQ(0, race_run(race, 500));
}

/* One cuts what another one's huge page has. */
TEST_F_TIMEOUT(any, several_scanners, TIMEOUT)
{
	self->race->scanners = SCANNERS;
	EXPECT_EQ(0, race_run(self->race, 500));
}

TEST_F_TIMEOUT(any, scanner_in_another_process, TIMEOUT)
{
	self->race->remote = true;
	/* For which it was forked. */
	self->race->exact = false;
	EXPECT_EQ(0, race_run(self->race, 500));
}

/* Each child has a copy of the page tables, and goes at once. */
static void *fork_all_the_time(void *argument)
{
	struct race *race = argument;

	while (!is_set(&race->stop_writing)) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		if (waitpid(pid, NULL, 0) == pid)
			count(&race->events, 1);
	}
	return NULL;
}

TEST_F_TIMEOUT(any, fork, TIMEOUT)
{
	self->race->disturb = fork_all_the_time;
	self->race->exact = false;
	EXPECT_EQ(0, race_run(self->race, 700));
}

/* As many at a time as do not take long, each of them with a TLB flush. */
#define MOVED_AT_ONCE	32

/* Some pages move to the other node, and once in a while all of them. */
static void *migrate_all_the_time(void *argument)
{
	struct race *race = argument;
	struct memory *mem = &race->tracking.mem;
	void *pages[MOVED_AT_ONCE];
	int nodes[MOVED_AT_ONCE], status[MOVED_AT_ONCE];
	unsigned int seed = 1, round, i, n;
	size_t first;

	n = mem->granule == page_size() ? MOVED_AT_ONCE : 1;
	for (round = 0; !is_set(&race->stop_writing); round++) {
		unsigned long from = 1 + round % 2, to = 3 - from;

		if (round % 32 == 31) {
			syscall(__NR_migrate_pages, 0, 3UL, &from, &to);
			continue;
		}
		first = below(&seed, mem->count - n + 1);
		for (i = 0; i < n; i++) {
			pages[i] = mem->addr + (first + i) * mem->granule;
			nodes[i] = round % 2;
			status[i] = -1;
		}
		syscall(__NR_move_pages, 0, (long)n, pages, nodes, status,
			MPOL_MF_MOVE_ALL);
		for (i = 0; i < n; i++)
			count(&race->events, status[i] == nodes[i]);
		rest(&seed, 1000);
	}
	return NULL;
}

TEST_F_TIMEOUT(any, migration, TIMEOUT)
{
	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "needs two nodes");
	self->race->disturb = migrate_all_the_time;
	EXPECT_EQ(0, race_run(self->race, 700));
}

/* A part of the slot, or all of it. */
static void drop_contents(struct race *race, size_t slot, unsigned int *seed)
{
	struct memory *mem = &race->tracking.mem;
	size_t first = slot * race->slot_pages, pages = race->slot_pages;

	if (!memory_is_hugetlb(mem->kind) && below(seed, 2)) {
		first += below(seed, pages);
		pages = 1 + below(seed, (slot + 1) * race->slot_pages - first);
	}
	if (memory_is_shared(mem->kind))
		memory_punch(mem, first * page_size() / mem->granule,
			     pages * page_size() / mem->granule);
	else
		madvise(page_address(race, first), pages * page_size(),
			MADV_DONTNEED);
}

static void *drop_all_the_time(void *argument)
{
	struct race *race = argument;
	unsigned int seed = 1;

	while (!is_set(&race->stop_writing)) {
		size_t slot = below(&seed, slot_count(race));

		slot_begin(race, slot);
		drop_contents(race, slot, &seed);
		slot_end(race, slot);
		count(&race->events, 1);
		rest(&seed, 2000);
	}
	return NULL;
}

TEST_F_TIMEOUT(any, dropped_contents, TIMEOUT)
{
	self->race->disturb = drop_all_the_time;
	self->race->use_locks = true;
	self->race->exact = false;
	EXPECT_EQ(0, race_run(self->race, 700));
}

/* Registration ends and begins again, with which all reads as written. */
static void *register_all_the_time(void *argument)
{
	struct race *race = argument;
	int uffd = race->tracking.uffd;
	size_t size = race->slot_pages * page_size();
	unsigned int seed = 1;

	while (!is_set(&race->stop_writing)) {
		size_t slot = below(&seed, slot_count(race));
		char *addr = page_address(race, slot * race->slot_pages);

		slot_begin(race, slot);
		if (!uffd_unregister(uffd, addr, size) &&
		    !uffd_register(uffd, addr, size, UFFDIO_REGISTER_MODE_WP,
				   NULL))
			count(&race->events, 1);
		else
			set(&race->failed);
		slot_end(race, slot);
		rest(&seed, 2000);
	}
	return NULL;
}

TEST_F_TIMEOUT(any, unregistering, TIMEOUT)
{
	self->race->disturb = register_all_the_time;
	self->race->exact = false;
	EXPECT_EQ(0, race_run(self->race, 500));
}

/* Mappings that come, go and move. */
FIXTURE(mapping) {
	struct race *race;
};

FIXTURE_VARIANT(mapping) {
	enum memory_kind kind;
	enum layout layout;
	bool follows;	/* The registration follows an mremap(). */
};

FIXTURE_VARIANT_ADD(mapping, ANON) { MEMORY_ANON, LAYOUT_VER1, false };
FIXTURE_VARIANT_ADD(mapping, ANON_EVENT) { MEMORY_ANON, LAYOUT_PM, true };
FIXTURE_VARIANT_ADD(mapping, THP) { MEMORY_THP, LAYOUT_PM, false };
FIXTURE_VARIANT_ADD(mapping, THP_EVENT) { MEMORY_THP, LAYOUT_VER1, true };
FIXTURE_VARIANT_ADD(mapping, MEMFD) { MEMORY_MEMFD, LAYOUT_VER1, false };
FIXTURE_VARIANT_ADD(mapping, MEMFD_EVENT) { MEMORY_MEMFD, LAYOUT_PM, true };
FIXTURE_VARIANT_ADD(mapping, EXT4_PRIVATE) { MEMORY_EXT4_PRIVATE, LAYOUT_PM, false };
FIXTURE_VARIANT_ADD(mapping, HUGETLB) { MEMORY_HUGETLB_SHARED, LAYOUT_PM, false };
FIXTURE_VARIANT_ADD(mapping, HUGETLB_EVENT) { MEMORY_HUGETLB_SHARED, LAYOUT_VER1, true };

FIXTURE_SETUP(mapping)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->race = race_begin(variant->kind, variant->layout,
				granules(variant->kind), variant->follows ?
				UFFD_FEATURE_EVENT_REMAP : 0);
	ASSERT_TRUE(!!self->race);
	self->race->exact = false;
}

FIXTURE_TEARDOWN(mapping)
{
	EXPECT_EQ(0, race_end(self->race));
}

static int map_again(struct race *race, char *addr, size_t size, bool at_once)
{
	struct memory *mem = &race->tracking.mem;
	int flags = MAP_FIXED;

	flags |= memory_is_shared(mem->kind) ? MAP_SHARED : MAP_PRIVATE;
	if (mem->fd < 0)
		flags |= MAP_ANONYMOUS;
	if (!at_once)
		munmap(addr, size);
	if (mmap(addr, size, PROT_READ | PROT_WRITE, flags, mem->fd,
		 addr - mem->addr) != addr)
		return -1;
	if (memory_is_thp(mem->kind))
		madvise(addr, size, MADV_HUGEPAGE);
	return uffd_register(race->tracking.uffd, addr, size,
			     UFFDIO_REGISTER_MODE_WP, NULL);
}

static void *map_all_the_time(void *argument)
{
	struct race *race = argument;
	size_t size = race->slot_pages * page_size();
	unsigned int seed = 1;

	while (!is_set(&race->stop_writing)) {
		size_t slot = below(&seed, slot_count(race));
		char *addr = page_address(race, slot * race->slot_pages);

		slot_begin(race, slot);
		if (map_again(race, addr, size, below(&seed, 2)))
			set(&race->failed);
		slot_end(race, slot);
		count(&race->events, 1);
		rest(&seed, 2000);
	}
	return NULL;
}

TEST_F_TIMEOUT(mapping, munmap_and_mmap, TIMEOUT)
{
	self->race->disturb = map_all_the_time;
	self->race->use_locks = true;
	EXPECT_EQ(0, race_run(self->race, 1000));
}

/* To another place and back; writers meet a hole meanwhile. */
static int move_slot(char *addr, size_t size, char *aside)
{
	int fixed = MREMAP_MAYMOVE | MREMAP_FIXED;

	if (mremap(addr, size, size, fixed, aside) != aside ||
	    mremap(aside, size, size, fixed, addr) != addr)
		return -1;
	return map_fixed(aside, size, PROT_NONE);
}

static void *move_all_the_time(void *argument)
{
	struct race *race = argument;
	size_t size = race->slot_pages * page_size();
	char *aside = reserve_addresses(size, huge_size());
	unsigned int seed = 1;

	while (!is_set(&race->stop_writing)) {
		size_t slot = below(&seed, slot_count(race));
		char *addr = page_address(race, slot * race->slot_pages);

		slot_begin(race, slot);
		/* Which does no harm where the registration has moved, too. */
		if (move_slot(addr, size, aside) ||
		    uffd_register(race->tracking.uffd, addr, size,
				  UFFDIO_REGISTER_MODE_WP, NULL))
			set(&race->failed);
		slot_end(race, slot);
		count(&race->events, 1);
		rest(&seed, 2000);
	}
	return NULL;
}

TEST_F_TIMEOUT(mapping, mremap, TIMEOUT)
{
	self->race->disturb = move_all_the_time;
	/* Before there are holes that another thread's mmap() may take */
	self->race->nowhere = map_pages(1, PROT_NONE);
	ASSERT_TRUE(!!self->race->nowhere);
	EXPECT_EQ(0, race_run(self->race, 1000));
}

/*
 * A page at the end of a range that takes long to scan goes out of it and comes
 * back all the time, while calls fail.
 */
struct moving {
	struct race race;
	char *home;
	char *away;
};

FIXTURE(moving) {
	struct moving moving;
};

FIXTURE_VARIANT(moving) {
	enum layout layout;
};

FIXTURE_VARIANT_ADD(moving, VER1) { LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(moving, PM) { LAYOUT_PM };

#define MOVING_PAGES	65536
#define MOVING_ENOUGH	50

FIXTURE_SETUP(moving)
{
	struct tracking *tracking = &self->moving.race.tracking;
	__u64 features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_EVENT_REMAP;

	tracking->layout = variant->layout;
	tracking->pagemap = pagemap_open(getpid());
	ASSERT_LE(0, tracking->pagemap);
	tracking->uffd = uffd_create(0, &features);
	ASSERT_LE(0, tracking->uffd);
	ASSERT_EQ(0, memory_map_count(&tracking->mem, MEMORY_ANON,
				      MOVING_PAGES));
	ASSERT_EQ(0, uffd_register(tracking->uffd, tracking->mem.addr,
				   tracking->mem.size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	self->moving.home = tracking->mem.addr + tracking->mem.size - page_size();
	self->moving.away = reserve_addresses(page_size(), page_size());
	ASSERT_TRUE(!!self->moving.away);
	self->moving.race.nowhere = map_pages(1, PROT_NONE);
	ASSERT_TRUE(!!self->moving.race.nowhere);
}

FIXTURE_TEARDOWN(moving)
{
	EXPECT_EQ(0, tracking_end(&self->moving.race.tracking));
}

static void *move_page_all_the_time(void *argument)
{
	struct moving *moving = argument;

	do {
		if (move_slot(moving->home, page_size(), moving->away))
			set(&moving->race.failed);
		count(&moving->race.events, 1);
	} while (!is_set(&moving->race.stop_writing));
	set(&moving->race.stop_scanning);
	return NULL;
}

static void *take_events_all_the_time(void *argument)
{
	struct race *race = argument;

	while (!is_set(&race->stop_scanning))
		take_events(race);
	return NULL;
}

TEST_F_TIMEOUT(moving, page_of_calls_that_fail, TIMEOUT)
{
	struct race *race = &self->moving.race;
	struct scanner scanner = {
		.race = race,
		.pagemap = race->tracking.pagemap,
	};
	unsigned long end = milliseconds() + test_duration(2000);
	unsigned int rounds = 0;

	/* Each round has a last move that the call need not have met. */
	while (milliseconds() < end || race->events < rounds + MOVING_ENOUGH) {
		pthread_t mover, taker;
		__u64 categories;

		race->stop_writing = false;
		race->stop_scanning = false;
		touch_write(self->moving.home, rounds++);
		/* In a VMA of its own the page comes after another lock. */
		ASSERT_EQ(0, madvise(self->moving.home, page_size(),
				     rounds % 2 ? MADV_DONTFORK : MADV_DOFORK));
		ASSERT_EQ(0, pthread_create(&taker, NULL,
					    take_events_all_the_time, race));
		ASSERT_EQ(0, pthread_create(&mover, NULL,
					    move_page_all_the_time,
					    &self->moving));
		ASSERT_EQ(0, fail_to_scan(&scanner));
		set(&race->stop_writing);
		pthread_join(mover, NULL);
		pthread_join(taker, NULL);
		ASSERT_FALSE(race->failed);
		ASSERT_EQ(0, scan_categories(scanner.pagemap, variant->layout,
					     self->moving.home, page_size(),
					     &categories));
		ASSERT_TRUE(categories & PAGE_IS_WRITTEN);
	}
	fprintf(stderr, "# %u failed calls, %lu moves\n", rounds,
		race->events);
}

/* Memory that others have mapped, too. */
FIXTURE(shared) {
	struct race *race;
};

FIXTURE_VARIANT(shared) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(shared, SHMEM) { MEMORY_SHMEM, LAYOUT_PM };
FIXTURE_VARIANT_ADD(shared, MEMFD_THP) { MEMORY_MEMFD_THP, LAYOUT_PM };
FIXTURE_VARIANT_ADD(shared, EXT4_SHARED) { MEMORY_EXT4_SHARED, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(shared, HUGETLB_SHARED) { MEMORY_HUGETLB_SHARED, LAYOUT_VER0 };

FIXTURE_SETUP(shared)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->race = race_begin(variant->kind, variant->layout,
				granules(variant->kind), 0);
	ASSERT_TRUE(!!self->race);
}

FIXTURE_TEARDOWN(shared)
{
	EXPECT_EQ(0, race_end(self->race));
}

/* To the pages that this process leaves alone, and to those that it writes. */
static pid_t write_from_a_process(struct race *race)
{
	pid_t pid = fork();
	unsigned int number = 0;
	size_t page;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!is_set(&race->stop_writing)) {
		number++;
		for (page = 0; page < race->pages; page++)
			store(word_address(race, page, WRITERS), number);
		count(&race->events, 1);
	}
	_exit(0);
}

TEST_F_TIMEOUT(shared, another_process_writes_too, TIMEOUT)
{
	pid_t pid = write_from_a_process(self->race);

	ASSERT_LT(0, pid);
	EXPECT_EQ(0, race_run(self->race, 1000));
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_LT(0, self->race->events);
}

/* The file keeps the contents, so that nobody has to know. */
static void *zap_all_the_time(void *argument)
{
	struct race *race = argument;
	struct memory *mem = &race->tracking.mem;
	unsigned int seed = 1;

	while (!is_set(&race->stop_writing)) {
		size_t granule = below(&seed, mem->count);
		size_t n = 1 + below(&seed, mem->count - granule);

		if (!madvise(mem->addr + granule * mem->granule,
			     n * mem->granule, MADV_DONTNEED))
			count(&race->events, 1);
		rest(&seed, 1000);
	}
	return NULL;
}

TEST_F_TIMEOUT(shared, unmapped_by_madvise, TIMEOUT)
{
	self->race->disturb = zap_all_the_time;
	EXPECT_EQ(0, race_run(self->race, 1000));
}

/* The events of a race are what the kernel has counted since. */
static void take_kernel_count(struct race *race, const char *name,
			      unsigned long before)
{
	__atomic_store_n(&race->events, kernel_count(name) - before,
			 __ATOMIC_RELAXED);
}

/* Pages that move to make room. */
FIXTURE(compaction) {
	struct race *race;
};

FIXTURE_VARIANT(compaction) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(compaction, ANON) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(compaction, MEMFD) { MEMORY_MEMFD, LAYOUT_PM };

FIXTURE_SETUP(compaction)
{
	self->race = race_begin(variant->kind, variant->layout, SMALL_PAGES, 0);
	ASSERT_TRUE(!!self->race);
}

FIXTURE_TEARDOWN(compaction)
{
	EXPECT_EQ(0, race_end(self->race));
}

static void *compact_all_the_time(void *argument)
{
	struct race *race = argument;
	unsigned long before = kernel_count("compact_isolated");

	while (!is_set(&race->stop_writing)) {
		tunable_write("/proc/sys/vm/compact_memory", "1");
		take_kernel_count(race, "compact_isolated", before);
	}
	return NULL;
}

TEST_F_TIMEOUT(compaction, of_all_memory, TIMEOUT)
{
	/* Which may have nothing to move, but not the first time. */
	tunable_write("/proc/sys/vm/drop_caches", "1");
	self->race->disturb = compact_all_the_time;
	EXPECT_EQ(0, race_run(self->race, 1000));
}

/* Huge pages that come and go. */
FIXTURE(huge) {
	struct race *race;
};

FIXTURE_VARIANT(huge) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(huge, THP_VER1) { MEMORY_THP, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(huge, THP_PM) { MEMORY_THP, LAYOUT_PM };

FIXTURE_SETUP(huge)
{
	if (!machine_has(NEED_THP))
		SKIP(_exit(255), "needs transparent huge pages");
	self->race = race_begin(variant->kind, variant->layout, 3, 0);
	ASSERT_TRUE(!!self->race);
	/* Only pages that all are written and not protected are collapsed. */
	self->race->writer_pause = 5000;
	self->race->scanner_passes = 2 * WRITERS;
}

FIXTURE_TEARDOWN(huge)
{
	tunable_write(THP_SYSFS "khugepaged/scan_sleep_millisecs", "3600000");
	EXPECT_EQ(0, race_end(self->race));
}

/* A change of protection splits the entry, a request the page itself. */
static void split(struct race *race, size_t page)
{
	char range[96], *addr = page_address(race, page);

	mprotect(addr, page_size(), PROT_READ);
	mprotect(addr, page_size(), PROT_READ | PROT_WRITE);
	snprintf(range, sizeof(range), "%d,%#llx,%#llx", getpid(),
		 (unsigned long long)address(addr),
		 (unsigned long long)address(addr) + huge_size());
	tunable_write("/sys/kernel/debug/split_huge_pages", range);
}

static void *split_all_the_time(void *argument)
{
	struct race *race = argument;
	unsigned int seed = 1;

	while (!is_set(&race->stop_writing)) {
		split(race, below(&seed, race->pages));
		rest(&seed, 50000);
	}
	return NULL;
}

static void *split_beside_khugepaged(void *argument)
{
	const char *collapsed = THP_SYSFS "khugepaged/pages_collapsed";
	struct race *race = argument;
	long before = tunable_read(collapsed);
	pthread_t splitter;

	pthread_create(&splitter, NULL, split_all_the_time, race);
	while (!is_set(&race->stop_writing)) {
		__atomic_store_n(&race->events,
				 tunable_read(collapsed) - before,
				 __ATOMIC_RELAXED);
		usleep(10000);
	}
	pthread_join(splitter, NULL);
	return NULL;
}

TEST_F_TIMEOUT(huge, split_beside_khugepaged, TIMEOUT)
{
	unsigned long pmds = kernel_count("thp_split_pmd");
	unsigned long pages = kernel_count("thp_split_page");

	/* Who writes this wakes it. */
	ASSERT_EQ(0, tunable_write(THP_SYSFS "khugepaged/scan_sleep_millisecs",
				   "1"));
	self->race->disturb = split_beside_khugepaged;
	EXPECT_EQ(0, race_run(self->race, 2000));
	EXPECT_LT(pmds, kernel_count("thp_split_pmd"));
	EXPECT_LT(pages, kernel_count("thp_split_page"));
}

static void *collapse_all_the_time(void *argument)
{
	struct race *race = argument;
	struct memory *mem = &race->tracking.mem;
	unsigned int seed = 1;

	while (!is_set(&race->stop_writing)) {
		size_t granule = below(&seed, mem->count);

		if (!madvise(mem->addr + granule * mem->granule, mem->granule,
			     MADV_COLLAPSE))
			count(&race->events, 1);
		split(race, below(&seed, race->pages));
	}
	return NULL;
}

TEST_F_TIMEOUT(huge, collapse_by_madvise, TIMEOUT)
{
	self->race->disturb = collapse_all_the_time;
	EXPECT_EQ(0, race_run(self->race, 2000));
}

/* Memory that does not fit. */
FIXTURE(swap) {
	struct race *race;
	char cgroup[64];
	char former[256];
};

FIXTURE_VARIANT(swap) {
	enum memory_kind kind;
	enum layout layout;
	size_t granules;
};

FIXTURE_VARIANT_ADD(swap, ANON) { MEMORY_ANON, LAYOUT_VER1, SMALL_PAGES };
FIXTURE_VARIANT_ADD(swap, THP) { MEMORY_THP, LAYOUT_PM, 2 };
FIXTURE_VARIANT_ADD(swap, SHMEM) { MEMORY_SHMEM, LAYOUT_PM, SMALL_PAGES };
FIXTURE_VARIANT_ADD(swap, TMPFS_PRIVATE) { MEMORY_TMPFS_PRIVATE, LAYOUT_VER1, SMALL_PAGES };

/* The group that this process is in. */
static int read_cgroup(char *path, size_t size)
{
	char line[200] = "";
	FILE *file = fopen("/proc/self/cgroup", "r");
	int result = -1;

	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "0::/", 4))
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(path, size, CGROUP_ROOT "%s", line + 4);
		result = 0;
	}
	if (file)
		fclose(file);
	return result;
}

static int write_to_cgroup(const char *cgroup, const char *name,
			   const char *value)
{
	char path[320];

	snprintf(path, sizeof(path), "%s/%s", cgroup, name);
	return tunable_write(path, value);
}

FIXTURE_SETUP(swap)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	snprintf(self->cgroup, sizeof(self->cgroup),
		 CGROUP_ROOT "pagemap_scan.%d", getpid());
	ASSERT_EQ(0, read_cgroup(self->former, sizeof(self->former)));
	ASSERT_EQ(0, mkdir(self->cgroup, 0755));
	ASSERT_EQ(0, write_to_cgroup(self->cgroup, "cgroup.procs", "0"));
	self->race = race_begin(variant->kind, variant->layout,
				variant->granules, 0);
	ASSERT_TRUE(!!self->race);
}

FIXTURE_TEARDOWN(swap)
{
	EXPECT_EQ(0, race_end(self->race));
	EXPECT_EQ(0, write_to_cgroup(self->former, "cgroup.procs", "0"));
	EXPECT_EQ(0, rmdir(self->cgroup));
}

static void *watch_pages_come_back(void *argument)
{
	struct race *race = argument;
	unsigned long before = kernel_count("pswpin");

	while (!is_set(&race->stop_writing)) {
		usleep(10000);
		take_kernel_count(race, "pswpin", before);
	}
	return NULL;
}

/* A quarter of the memory does not fit, so that each pass has to swap. */
TEST_F_TIMEOUT(swap, memory_limit, TIMEOUT)
{
	unsigned long out = kernel_count("pswpout"), in = kernel_count("pswpin");
	char path[96], limit[32];
	long used;

	snprintf(path, sizeof(path), "%s/memory.current", self->cgroup);
	used = tunable_read(path);
	ASSERT_LT((long)self->race->tracking.mem.size, used);
	snprintf(limit, sizeof(limit), "%ld",
		 used - (long)self->race->tracking.mem.size / 4);
	ASSERT_EQ(0, write_to_cgroup(self->cgroup, "memory.max", limit));
	self->race->disturb = watch_pages_come_back;
	EXPECT_EQ(0, race_run(self->race, 2000));
	fprintf(stderr, "# %lu pages swapped out, %lu in\n",
		kernel_count("pswpout") - out, kernel_count("pswpin") - in);
	EXPECT_LT(out, kernel_count("pswpout"));
	EXPECT_LT(in, kernel_count("pswpin"));
}

static void *page_out_all_the_time(void *argument)
{
	struct race *race = argument;
	unsigned long before = kernel_count("pswpout");
	unsigned int seed = 1, round;

	for (round = 0; !is_set(&race->stop_writing); round++) {
		size_t page = below(&seed, race->pages);
		size_t pages = 1 + below(&seed, race->pages - page);

		if (round % 16 == 0)
			drain_page_lists();
		if (pages > 64)
			pages = 64;
		madvise(page_address(race, page), pages * page_size(),
			MADV_PAGEOUT);
		take_kernel_count(race, "pswpout", before);
		rest(&seed, 1000);
	}
	return NULL;
}

TEST_F_TIMEOUT(swap, paged_out_by_madvise, TIMEOUT)
{
	self->race->disturb = page_out_all_the_time;
	EXPECT_EQ(0, race_run(self->race, 1000));
}

/* Pages that are merged, and written again. */
FIXTURE(ksm) {
	struct race *race;
};

FIXTURE_VARIANT(ksm) {
	enum layout layout;
};

FIXTURE_VARIANT_ADD(ksm, VER1) { LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(ksm, PM) { LAYOUT_PM };

FIXTURE_SETUP(ksm)
{
	if (!machine_has(memory_needs(MEMORY_KSM)))
		SKIP(_exit(255), "needs KSM");
	self->race = race_begin(MEMORY_KSM, variant->layout, 0, 0);
	ASSERT_TRUE(!!self->race);
	/* A pass makes all pages alike, and then there is time to merge. */
	self->race->writer_pause = 100000;
}

FIXTURE_TEARDOWN(ksm)
{
	tunable_write(KSM_SYSFS "run", "0");
	EXPECT_EQ(0, race_end(self->race));
}

/* Those that nobody writes are merged anyway. */
static void *count_merged_pages(void *argument)
{
	struct race *race = argument;
	struct memory *mem = &race->tracking.mem;
	size_t before = mem->count, now;

	while (!is_set(&race->stop_writing)) {
		now = memory_with_flags(mem, KPAGE_KSM);
		if (now > before)
			count(&race->events, now - before);
		before = now;
		usleep(1000);
	}
	return NULL;
}

TEST_F_TIMEOUT(ksm, merging, TIMEOUT)
{
	ASSERT_EQ(0, tunable_write(KSM_SYSFS "run", "1"));
	self->race->disturb = count_merged_pages;
	EXPECT_EQ(0, race_run(self->race, 2000));
}

/* The driver has no ioctl for 32-bit programs. */
#if __SIZEOF_POINTER__ == 8
/* A device with page tables of its own, and with memory of its own. */
FIXTURE(device) {
	struct race *race;
};

FIXTURE_VARIANT(device) {
	enum memory_kind kind;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(device, ANON) { MEMORY_ANON, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(device, THP) { MEMORY_THP, LAYOUT_PM };

FIXTURE_SETUP(device)
{
	if (access("/dev/hmm_dmirror0", R_OK | W_OK))
		SKIP(_exit(255), "needs CONFIG_TEST_HMM");
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->race = race_begin(variant->kind, variant->layout,
				granules(variant->kind), 0);
	ASSERT_TRUE(!!self->race);
	self->race->device = open("/dev/hmm_dmirror0", O_RDWR);
	ASSERT_LE(0, self->race->device);
}

FIXTURE_TEARDOWN(device)
{
	EXPECT_EQ(0, race_end(self->race));
}

static int device_call(struct race *race, unsigned long request, size_t page,
		       size_t pages, void *buffer)
{
	struct hmm_dmirror_cmd command = {
		.addr = address(page_address(race, page)),
		.ptr = address(buffer),
		.npages = pages,
	};

	return ioctl(race->device, request, &command);
}

/* It writes whole pages. */
static bool write_by_device(struct race *race, size_t page,
			    unsigned int number)
{
	static unsigned int buffer[16384];

	buffer[1] = number;
	return !device_call(race, HMM_DMIRROR_WRITE, page, 1, buffer);
}

TEST_F_TIMEOUT(device, writes_through_its_page_tables, TIMEOUT)
{
	size_t page, written = 0;

	self->race->write = write_by_device;
	self->race->use_pages = true;
	EXPECT_EQ(0, race_run(self->race, 1000));
	for (page = 0; page < self->race->pages; page++)
		written += !!self->race->done[1][page];
	EXPECT_LT(0, written);
}

/* Have some pages taken by the device, which a processor's access undoes. */
static void take_pages(struct race *race, unsigned long request, size_t most)
{
	char *buffer = malloc(most * page_size());
	unsigned int seed = 1;

	while (!is_set(&race->stop_writing)) {
		size_t page = below(&seed, race->pages - most);

		if (!device_call(race, request, page, 1 + below(&seed, most),
				 buffer))
			count(&race->events, 1);
		rest(&seed, 1000);
	}
	free(buffer);
}

static void *take_pages_into_device(void *argument)
{
	take_pages(argument, HMM_DMIRROR_MIGRATE_TO_DEV, 64);
	return NULL;
}

TEST_F_TIMEOUT(device, takes_pages_into_its_memory, TIMEOUT)
{
	self->race->disturb = take_pages_into_device;
	EXPECT_EQ(0, race_run(self->race, 1000));
}

/* Small pages: of a huge one, each part is unmapped and flushed by itself. */
FIXTURE(exclusive) {
	struct race *race;
};

FIXTURE_VARIANT(exclusive) {
	enum layout layout;
};

FIXTURE_VARIANT_ADD(exclusive, VER1) { LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(exclusive, PM) { LAYOUT_PM };

FIXTURE_SETUP(exclusive)
{
	if (access("/dev/hmm_dmirror0", R_OK | W_OK))
		SKIP(_exit(255), "needs CONFIG_TEST_HMM");
	self->race = race_begin(MEMORY_ANON, variant->layout, SMALL_PAGES, 0);
	ASSERT_TRUE(!!self->race);
	self->race->device = open("/dev/hmm_dmirror0", O_RDWR);
	ASSERT_LE(0, self->race->device);
}

FIXTURE_TEARDOWN(exclusive)
{
	EXPECT_EQ(0, race_end(self->race));
}

static void *take_pages_for_device(void *argument)
{
	take_pages(argument, HMM_DMIRROR_EXCLUSIVE, 1);
	return NULL;
}

TEST_F_TIMEOUT(exclusive, device_takes_pages_for_itself, TIMEOUT)
{
	self->race->disturb = take_pages_for_device;
	/* To do so, it takes write faults. */
	self->race->exact = false;
	EXPECT_EQ(0, race_run(self->race, 1000));
}
#endif

/*
 * Processes that end at any time: while they are scanned, and while they scan.
 * They share memory with the test that is not tracked.
 */
FIXTURE(end) {
	struct ending *ending;
};

FIXTURE_VARIANT(end) {
	enum memory_kind kind;
	enum layout layout;
	size_t granules;
};

FIXTURE_VARIANT_ADD(end, ANON) { MEMORY_ANON, LAYOUT_PM, 2048 };
FIXTURE_VARIANT_ADD(end, THP) { MEMORY_THP, LAYOUT_VER1, 0 };
FIXTURE_VARIANT_ADD(end, MEMFD) { MEMORY_MEMFD, LAYOUT_VER1, 2048 };
FIXTURE_VARIANT_ADD(end, HUGETLB_PRIVATE) { MEMORY_HUGETLB_PRIVATE, LAYOUT_PM, 0 };

/* Enough regions that not all of them fit into the kernel's buffer. */
#define END_REGIONS	2048

enum end_of_target { BY_EXEC, BY_EXIT, BY_SIGNAL, ENDS };

/**
 * struct ending - what the processes share
 * @vec:	for the call's answer, whole pages
 * @tracking:	the memory, of the target or of the test
 * @ready:	the target is at work, or the scanner
 * @pm:		the argument of the scanner's call, in mainline's layout
 * @arg:	the same in our own
 * @calls:	calls of which the answer was noted
 * @reported:	pages that those reported
 */
struct ending {
	struct page_region vec[END_REGIONS];
	struct tracking tracking;
	bool ready;
	struct pm_scan_arg pm;
	struct pagemap_scan_arg arg;
	unsigned long calls;
	bool reported[6 * 512];
};

FIXTURE_SETUP(end)
{
	if (!machine_has(memory_needs(variant->kind)))
		SKIP(_exit(255), "the machine lacks this kind of memory");
	self->ending = shared_memory(sizeof(*self->ending));
	ASSERT_TRUE(!!self->ending);
}

FIXTURE_TEARDOWN(end)
{
}

/* Track and write to memory of one's own, and end in some way. */
static void be_scanned(struct ending *ending, enum memory_kind kind,
		       enum layout layout, enum end_of_target way,
		       unsigned int lifetime)
{
	unsigned long end;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (tracking_begin(&ending->tracking, kind, layout))
		_exit(1);
	write_set(&ending->tracking.mem, every_granule);
	set(&ending->ready);
	end = milliseconds() + lifetime;
	while (milliseconds() < end || way == BY_SIGNAL)
		write_set(&ending->tracking.mem, some_granules);
	if (way == BY_EXEC)
		execl("/bin/true", "true", NULL);
	_exit(way != BY_EXIT);
}

/* Scan until there is nothing more to scan, which a signal brings about. */
static int scan_until_the_end(struct ending *ending, pid_t pid,
			      enum end_of_target way, unsigned int lifetime)
{
	struct scan scan = tracking_scan(&ending->tracking, PAGEMAP_WP_ENGAGE);
	unsigned long end = milliseconds() + lifetime;
	int pagemap = pagemap_open(pid), result = 0;
	long regions;

	scan.vec = ending->vec;
	scan.vec_len = END_REGIONS;
	for (;;) {
		regions = scan_call(pagemap, &scan);
		if (regions < 0)
			break;
		result |= scan_check(&scan, regions);
		if (way == BY_SIGNAL && milliseconds() >= end)
			kill(pid, SIGKILL);
	}
	if (errno != ESRCH) {
		perror("# PAGEMAP_SCAN");
		result = -1;
	}
	close(pagemap);
	return result;
}

/* Without taking it away. */
static bool has_ended(pid_t pid)
{
	siginfo_t info = {};

	return waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) ||
	       info.si_pid;
}

TEST_F_TIMEOUT(end, target_that_is_protected, TIMEOUT)
{
	unsigned long end = milliseconds() + test_duration(1500);
	unsigned int seed = 1, round;
	struct ending *ending = self->ending;

	for (round = 0; round < ENDS || milliseconds() < end; round++) {
		enum end_of_target way = round % ENDS;
		unsigned int lifetime = below(&seed, 30);
		int status;
		pid_t pid;

		ending->ready = false;
		pid = fork();
		if (!pid)
			be_scanned(ending, variant->kind, variant->layout, way,
				   lifetime);
		while (!is_set(&ending->ready) && !has_ended(pid))
			usleep(100);
		if (!is_set(&ending->ready))
			need_tracking();
		ASSERT_TRUE(is_set(&ending->ready));
		EXPECT_EQ(0, scan_until_the_end(ending, pid, way, lifetime));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(way == BY_SIGNAL ? SIGKILL : 0, status);
	}
	fprintf(stderr, "# %u targets have ended\n", round);
}

/*
 * Describe a call for all of the memory, with everything in shared memory.  The
 * vector is empty again, and none of its pages are there: where the kernel has
 * to wait for one, it looks whether the caller is being killed.
 */
static int prepare_call(struct ending *ending)
{
	struct scan scan = tracking_scan(&ending->tracking, PAGEMAP_WP_ENGAGE);

	ending->pm = (struct pm_scan_arg) {
		.size = sizeof(ending->pm),
		.flags = scan.flags,
		.start = scan.start,
		.end = scan.end,
		.vec = address(ending->vec),
		.vec_len = END_REGIONS,
		.category_mask = PAGE_IS_WRITTEN,
	};
	ending->arg = (struct pagemap_scan_arg) {
		.size = sizeof(ending->arg),
		.flags = scan.flags,
		.start = scan.start,
		.len = scan.end - scan.start,
		.vec = address(ending->vec),
		.vec_len = END_REGIONS,
		.required_mask = PAGE_IS_WRITTEN,
	};
	return madvise(ending->vec, sizeof(ending->vec), MADV_REMOVE);
}

static bool call_has_succeeded(struct ending *ending)
{
	return ending->pm.walk_end || ending->arg.walk_end;
}

/* The last thing that a call writes is walk_end, and only if it succeeds. */
static void note_answer(struct ending *ending)
{
	__u64 base = address(ending->tracking.mem.addr), addr;
	size_t i;

	if (!call_has_succeeded(ending))
		return;
	for (i = 0; i < END_REGIONS && ending->vec[i].end; i++) {
		for (addr = ending->vec[i].start; addr < ending->vec[i].end;
		     addr += page_size())
			ending->reported[(addr - base) / page_size()] = true;
	}
	ending->calls++;
}

static void scan_until_killed(struct ending *ending)
{
	bool pm = ending->tracking.layout == LAYOUT_PM;
	int pagemap = pagemap_open(getppid());

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		if (prepare_call(ending))
			_exit(1);
		set(&ending->ready);
		if (pm)
			ioctl(pagemap, PAGEMAP_SCAN_PM, &ending->pm);
		else
			ioctl(pagemap, PAGEMAP_SCAN, &ending->arg);
		note_answer(ending);
	}
}

/* Every other page is written; those of huge pages in turn. */
static void write_every_other(struct memory *mem, size_t first)
{
	size_t page;

	for (page = first; page < mem->size / page_size(); page += 2)
		touch_write(mem->addr + page * page_size(), page);
}

/* Whether each of these pages was reported, or still reads as written. */
static int check_all_are_known(struct ending *ending, size_t first)
{
	struct memory *mem = &ending->tracking.mem;
	size_t pages = mem->size / page_size(), page, lost = 0;
	__u64 *categories = calloc(pages, sizeof(*categories));
	int result;

	result = scan_categories(ending->tracking.pagemap,
				 ending->tracking.layout, mem->addr, mem->size,
				 categories);
	for (page = first; page < pages && !result; page += 2) {
		if (!ending->reported[page] &&
		    !(categories[page] & PAGE_IS_WRITTEN))
			lost++;
	}
	free(categories);
	if (!lost)
		return result;
	fprintf(stderr, "# %zu of %zu writes are lost, after %lu calls\n", lost,
		pages / 2, ending->calls);
	return -1;
}

TEST_F_TIMEOUT(end, scanner_that_protects, TIMEOUT)
{
	unsigned long end = milliseconds() + test_duration(1500);
	struct ending *ending = self->ending;
	struct memory *mem = &ending->tracking.mem;
	unsigned int seed = 1, during = 0, rounds = 0;
	/* All of its pages are in one chunk, and in one page of the vector */
	bool huge = memory_is_hugetlb(variant->kind);

	ASSERT_EQ(0, tracking_begin_count(&ending->tracking, variant->kind,
					  variant->layout, variant->granules));
	ASSERT_EQ(0, tracking_populate(&ending->tracking));
	while (milliseconds() < end || (!during && !huge)) {
		size_t first = rounds++ % 2;
		int status;
		pid_t pid;

		ending->ready = false;
		ending->calls = 0;
		memset(ending->reported, 0, sizeof(ending->reported));
		ASSERT_EQ(0, protect_written(&ending->tracking));
		write_every_other(mem, first);
		pid = fork();
		if (!pid)
			scan_until_killed(ending);
		while (!is_set(&ending->ready))
			sched_yield();
		/* The first call takes longest */
		rest(&seed, rounds % 4 ? 300 : 3000);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
		during += !call_has_succeeded(ending);
		note_answer(ending);
		ASSERT_EQ(0, check_all_are_known(ending, first));
	}
	fprintf(stderr, "# killed %u times, %u in a call\n", rounds, during);
	EXPECT_EQ(0, tracking_end(&ending->tracking));
}

/* khugepaged has nothing to wait for, once a case wakes it. */
static void __attribute__((constructor)) prepare(void)
{
	FILE *swaps = fopen("/proc/swaps", "r");
	char line[256];
	int lines = 0;

	while (swaps && fgets(line, sizeof(line), swaps))
		lines++;
	if (swaps)
		fclose(swaps);
	machine_prepare(NEED_FILES | NEED_THP | NEED_HUGETLB | NEED_KSM |
			NEED_PAGE_FLAGS | (lines < 2 ? NEED_SWAP : 0));
	tunable_set(THP_SYSFS "khugepaged/alloc_sleep_millisecs", "1");
	tunable_set(THP_SYSFS "khugepaged/pages_to_scan", "65536");
}

TEST_HARNESS_MAIN
