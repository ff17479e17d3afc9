// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap_scan_others_bench: what a scan takes from others
 *
 *	pagemap_scan_others_bench [ROW...]
 *
 * Prints, as pagemap_scan_bench does, lines
 *
 *	ROW <tab> UNIT <tab> NUMBER
 *
 * flushes-1-gib: interrupts that flush the TLBs of other processors, for a call
 *	that protects each page of 1 GiB, while a thread runs elsewhere
 * mmap-wait-16-gib: the longest time, in microseconds, that one of many calls
 *	of mmap() takes while another thread scans 16 GiB again and again, once
 *	as a whole at least; the shortest that it was in a second, as the machine
 *	under a guest stops it now and then for longer than all that
 * mmap-alone: the same while nobody scans
 * memory-of-a-call: bytes of slab memory that a call holds on to while it
 *	copies its regions out; the mean of many such calls, more exact than a page
 *
 * Needs two processors, and no virtual time.  Ends with status 0, or 1 if
 * something failed.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest.h"
#include "pagemap_scan_util.h"

#define GIB		((size_t)1 << 30)
/* The shorter they are, the likelier it is that the machine stops in none. */
#define WINDOWS		20
#define SECONDS		1

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif

static bool stop;
static unsigned long passes;	/* scans of 16 GiB that are complete */

/* Interrupts of all processors that flush TLBs, or -1. */
static long flushes(void)
{
	FILE *file = fopen("/proc/interrupts", "r");
	char *line = NULL, *word;
	size_t size = 0;
	long sum = -1;

	while (file && getline(&line, &size, file) > 0) {
		word = strtok(line, " ");
		if (!word || strcmp(word, "TLB:"))
			continue;
		for (sum = 0; (word = strtok(NULL, " ")); ) {
			char *end;
			long count = strtol(word, &end, 10);

			if (end == word)
				break;
			sum += count;
		}
	}
	free(line);
	if (file)
		fclose(file);
	return sum;
}

static void *spin_elsewhere(void *arg)
{
	run_on(1);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		;
	return arg;
}

static int scan(int pagemap, const char *addr, size_t size, __u64 flags,
		__u64 categories)
{
	static struct page_region vec[1024];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = flags,
		.start = address(addr),
		.end = address(addr) + size,
		.vec = address(vec),
		.vec_len = ARRAY_SIZE(vec),
		.category_mask = categories,
		.return_mask = categories,
	};

	while (arg.start < arg.end) {
		if (ioctl(pagemap, PAGEMAP_SCAN_PM, &arg) < 0) {
			perror("# PAGEMAP_SCAN");
			return -1;
		}
		arg.start = arg.walk_end;
	}
	return 0;
}

static int count_flushes(void)
{
	char *addr = map_pages(GIB / page_size(), PROT_READ | PROT_WRITE);
	int pagemap = pagemap_open(getpid()), uffd = uffd_create_async();
	pthread_t thread;
	long before;

	if (!addr || pagemap < 0 || uffd < 0 || run_on(0))
		return -1;
	madvise(addr, GIB, MADV_NOHUGEPAGE);
	if (uffd_register(uffd, addr, GIB, UFFDIO_REGISTER_MODE_WP, NULL))
		return -1;
	memset(addr, 1, GIB);
	if (pthread_create(&thread, NULL, spin_elsewhere, NULL))
		return -1;
	usleep(100000);
	before = flushes();
	if (scan(pagemap, addr, GIB, PAGEMAP_WP_ENGAGE, PAGE_IS_WRITTEN))
		return -1;
	printf("flushes-1-gib\tcall\t%ld\n", flushes() - before);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	close(uffd);
	close(pagemap);
	return munmap(addr, GIB);
}

static void *scan_again(void *arg)
{
	int pagemap = pagemap_open(getpid());

	run_on(1);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		if (scan(pagemap, arg, 16 * GIB, 0, PAGE_IS_PRESENT))
			abort();
		__atomic_add_fetch(&passes, 1, __ATOMIC_RELAXED);
	}
	close(pagemap);
	return arg;
}

/*
 * The longest time that it takes while at least @scans scans are completed, of
 * which the first has begun before, in nanoseconds, or 0 where it fails.
 */
static unsigned long long longest_mmap(unsigned long scans)
{
	unsigned long long longest = 0, enough;
	unsigned long last;

	enough = nanoseconds() + SECONDS * 1000000000ULL;
	last = __atomic_load_n(&passes, __ATOMIC_RELAXED) + scans;
	for (;;) {
		unsigned long long begin = nanoseconds(), time;
		void *page = mmap(NULL, page_size(), PROT_READ,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		time = nanoseconds() - begin;
		if (page == MAP_FAILED || munmap(page, page_size()))
			return 0;
		if (time > longest)
			longest = time;
		if (begin > enough &&
		    __atomic_load_n(&passes, __ATOMIC_RELAXED) >= last)
			return longest;
	}
}

static int time_mmap(const char *name, unsigned long scans)
{
	unsigned long long longest, least = 0;
	int i;

	for (i = 0; i < WINDOWS; i++) {
		longest = longest_mmap(scans);
		if (!longest)
			return -1;
		if (!least || longest < least)
			least = longest;
	}
	printf("%s\tus\t%.0f\n", name, least / 1000.);
	return 0;
}

static int time_waiting(void)
{
	char *addr = mmap(NULL, 16 * GIB, PROT_READ, MAP_PRIVATE |
			  MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pthread_t thread;

	if (addr == MAP_FAILED || run_on(0))
		return -1;
	madvise(addr, 16 * GIB, MADV_NOHUGEPAGE);
	if (madvise(addr, 16 * GIB, MADV_POPULATE_READ))
		return -1;
	if (time_mmap("mmap-alone", 0))
		return -1;
	stop = false;
	if (pthread_create(&thread, NULL, scan_again, addr))
		return -1;
	usleep(100000);
	if (time_mmap("mmap-wait-16-gib", 2))
		return -1;
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	return munmap(addr, 16 * GIB);
}

#define SCANNERS	512
#define SCANNED		4096	/* pages, every other one of which is there */

static const char *scanned;
static char *scanner_vecs;
static pthread_barrier_t ready;

static void *scan_into_page(void *arg)
{
	struct pm_scan_arg scan_arg = {
		.size = sizeof(scan_arg),
		.start = address(scanned),
		.end = address(scanned) + SCANNED * page_size(),
		.vec = address(arg),
		.vec_len = page_size() / sizeof(struct page_region),
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT,
	};
	int pagemap = pagemap_open(getpid());
	long regions;

	pthread_barrier_wait(&ready);
	regions = ioctl(pagemap, PAGEMAP_SCAN_PM, &scan_arg);
	close(pagemap);
	return regions == (long)scan_arg.vec_len ? arg : NULL;
}

/* Bytes of slab memory, or -1. */
static long slab_memory(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	long kib = -1;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Slab: %ld", &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kib < 0 ? -1 : kib * 1024;
}

static int await_scanners(int uffd)
{
	struct pollfd poll_uffd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg message;
	unsigned int i;

	for (i = 0; i < SCANNERS; i++) {
		if (poll(&poll_uffd, 1, 60000) != 1 ||
		    read(uffd, &message, sizeof(message)) != sizeof(message))
			return -1;
	}
	return 0;
}

static int measure_memory(void)
{
	static pthread_t threads[SCANNERS];
	pthread_attr_t attributes;
	__u64 features = 0;
	int uffd = uffd_create(0, &features);
	char *addr = map_pages(SCANNED, PROT_READ | PROT_WRITE), *zero;
	long i, before, during;
	void *result;

	scanned = addr;
	scanner_vecs = map_pages(SCANNERS, PROT_READ | PROT_WRITE);
	zero = map_pages(SCANNERS, PROT_READ | PROT_WRITE);
	if (uffd < 0 || !addr || !scanner_vecs || !zero)
		return -1;
	madvise(addr, SCANNED * page_size(), MADV_NOHUGEPAGE);
	for (i = 0; i < SCANNED; i += 2)
		touch_read(addr + i * page_size());
	if (uffd_register(uffd, scanner_vecs, SCANNERS * page_size(),
			  UFFDIO_REGISTER_MODE_MISSING, NULL))
		return -1;
	pthread_barrier_init(&ready, NULL, SCANNERS + 1);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 65536);
	for (i = 0; i < SCANNERS; i++) {
		if (pthread_create(&threads[i], &attributes, scan_into_page,
				   scanner_vecs + i * page_size()))
			return -1;
	}
	usleep(200000);
	before = slab_memory();
	pthread_barrier_wait(&ready);
	if (await_scanners(uffd))
		return -1;
	during = slab_memory();
	if (uffd_copy(uffd, scanner_vecs, zero, SCANNERS * page_size(), 0))
		return -1;
	for (i = 0; i < SCANNERS; i++) {
		pthread_join(threads[i], &result);
		if (!result)
			return -1;
	}
	printf("memory-of-a-call\tbyte\t%ld\n", (during - before) / SCANNERS);
	close(uffd);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} rows[] = {
	{ "flushes-1-gib", count_flushes },
	{ "mmap-wait-16-gib", time_waiting },
	{ "memory-of-a-call", measure_memory },
};

int main(int argc, char **argv)
{
	unsigned int i;
	int result = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		fprintf(stderr, "# needs two processors\n");
		return 1;
	}
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		if (asked_for(rows[i].name, argc, argv) && rows[i].run()) {
			fprintf(stderr, "# %s failed\n", rows[i].name);
			result = 1;
		}
		fflush(stdout);
	}
	return result;
}
