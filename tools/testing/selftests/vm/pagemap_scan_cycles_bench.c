// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap_scan_cycles_bench: what it costs to know which pages were written
 *
 *	pagemap_scan_cycles_bench [ROW...]
 *
 * Times whole cycles of write-tracking by each means that there is on this
 * kernel: let writes be noticed, write some of the pages, collect which ones.
 * Prints, as pagemap_scan_bench does, a line
 *
 *	ROW <tab> page <tab> NANOSECONDS
 *
 * with the time for each page of the memory, written or not, the best of
 * several rounds.  A row is MEANS-PERCENT: how many of the pages are written.
 *
 * Ends with status 0, or 1 if something failed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/userfaultfd.h>

#include "../kselftest.h"
#include "pagemap_scan_util.h"

#define PAGES		16384
#define ROUNDS		3

/**
 * struct cycle - memory, and what is known of it
 * @addr:	its first byte
 * @size:	bytes
 * @pagemap:	this process's pagemap file
 * @clear_refs:	this process's clear_refs file
 * @uffd:	a userfaultfd, or -1
 * @handler:	thread that answers it, where it is synchronous
 * @written:	for each page, whether it was found written
 */
struct cycle {
	char *addr;
	size_t size;
	int pagemap;
	int clear_refs;
	int uffd;
	pthread_t handler;
	bool written[PAGES];
};

static struct cycle cycle = { .uffd = -1 };
static struct page_region regions[PAGES];
static __u64 entries[PAGES];

/**
 * struct means - a way to know
 * @name:	its name in the output
 * @begin:	done once before the rounds
 * @arm:	begins a cycle
 * @collect:	ends it, with cycle.written filled in
 * @end:	done once behind the rounds
 *
 * All return 0, or -1 after a message or with errno; NULL: nothing to do.
 */
struct means {
	const char *name;
	int (*begin)(void);
	int (*arm)(void);
	int (*collect)(void);
	int (*end)(void);
};

static size_t page_of(const char *addr)
{
	return (addr - cycle.addr) / page_size();
}

/* The ioctl: each collecting protects what it reports, and so arms again. */

static int scan_begin(void)
{
	cycle.uffd = uffd_create_async();
	if (cycle.uffd < 0 ||
	    uffd_register(cycle.uffd, cycle.addr, cycle.size,
			  UFFDIO_REGISTER_MODE_WP, NULL))
		return -1;
	return uffd_protect(cycle.uffd, cycle.addr, cycle.size, true);
}

static int scan_collect(void)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PAGEMAP_WP_ENGAGE,
		.start = address(cycle.addr),
		.end = address(cycle.addr) + cycle.size,
		.vec = address(regions),
		.vec_len = PAGES,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int i, nr = ioctl(cycle.pagemap, PAGEMAP_SCAN_PM, &arg);

	for (i = 0; i < nr; i++) {
		size_t page = page_of((char *)(uintptr_t)regions[i].start);
		size_t end = page_of((char *)(uintptr_t)regions[i].end);

		memset(cycle.written + page, true, end - page);
	}
	return nr < 0 ? -1 : 0;
}

static int close_uffd(void)
{
	close(cycle.uffd);
	cycle.uffd = -1;
	return 0;
}

/* The same protection, armed and collected by what there was before. */

static int uffd_arm(void)
{
	return uffd_protect(cycle.uffd, cycle.addr, cycle.size, true);
}

/* Those pages are written whose entries in pagemap have @bit, or have it not. */
static int pagemap_collect(__u64 bit, __u64 written)
{
	size_t i;

	if (pread(cycle.pagemap, entries, sizeof(entries),
		  address(cycle.addr) / page_size() * sizeof(*entries)) !=
	    sizeof(entries))
		return -1;
	for (i = 0; i < PAGES; i++)
		cycle.written[i] = (entries[i] & bit) == written;
	return 0;
}

static int uffd_wp_collect(void)
{
	return pagemap_collect(PAGEMAP_UFFD_WP, 0);
}

/* Soft-dirty bits, which are cleared for all of the process. */

static int soft_dirty_arm(void)
{
	return pwrite(cycle.clear_refs, "4", 1, 0) == 1 ? 0 : -1;
}

static int soft_dirty_collect(void)
{
	return pagemap_collect(PAGEMAP_SOFT_DIRTY, PAGEMAP_SOFT_DIRTY);
}

/* A signal for the first write to each page. */

static void mprotect_handler(int signal, siginfo_t *info, void *context)
{
	char *page = (char *)((uintptr_t)info->si_addr & -page_size());

	(void)signal;
	(void)context;
	if (page < cycle.addr || page >= cycle.addr + cycle.size ||
	    mprotect(page, page_size(), PROT_READ | PROT_WRITE))
		abort();
	cycle.written[page_of(page)] = true;
}

static int mprotect_begin(void)
{
	struct sigaction action = {
		.sa_sigaction = mprotect_handler,
		.sa_flags = SA_SIGINFO,
	};

	return sigaction(SIGSEGV, &action, NULL);
}

static int mprotect_arm(void)
{
	return mprotect(cycle.addr, cycle.size, PROT_READ);
}

static int mprotect_end(void)
{
	signal(SIGSEGV, SIG_DFL);
	return mprotect(cycle.addr, cycle.size, PROT_READ | PROT_WRITE);
}

/* A message to a thread for the first write to each page. */

static void *uffd_handler(void *arg)
{
	struct pollfd pollfd = { .fd = cycle.uffd, .events = POLLIN };
	struct uffd_msg message;

	while (poll(&pollfd, 1, -1) == 1 &&
	       read(cycle.uffd, &message, sizeof(message)) == sizeof(message)) {
		__u64 page = message.arg.pagefault.address & -page_size();

		cycle.written[page_of((char *)(uintptr_t)page)] = true;
		if (uffd_protect(cycle.uffd, (void *)(uintptr_t)page,
				 page_size(), false))
			abort();
	}
	return arg;
}

static int uffd_begin(void)
{
	__u64 features = UFFD_FEATURE_PAGEFAULT_FLAG_WP;

	cycle.uffd = uffd_create(O_CLOEXEC | O_NONBLOCK, &features);
	if (cycle.uffd < 0 ||
	    uffd_register(cycle.uffd, cycle.addr, cycle.size,
			  UFFDIO_REGISTER_MODE_WP, NULL))
		return -1;
	return pthread_create(&cycle.handler, NULL, uffd_handler, NULL) ?
	       -1 : 0;
}

static int uffd_end(void)
{
	if (pthread_cancel(cycle.handler) ||
	    pthread_join(cycle.handler, NULL))
		return -1;
	return close_uffd();
}

static const struct means all_means[] = {
	{ "pagemap-scan", scan_begin, NULL, scan_collect, close_uffd },
	{ "uffd-wp-async-pagemap", scan_begin, uffd_arm, uffd_wp_collect,
	  close_uffd },
	{ "soft-dirty", NULL, soft_dirty_arm, soft_dirty_collect, NULL },
	{ "mprotect", mprotect_begin, mprotect_arm, NULL, mprotect_end },
	{ "uffd-wp-sync", uffd_begin, uffd_arm, NULL, uffd_end },
};

static const unsigned int percents[] = { 1, 10, 100 };

/* One round.  Return: nanoseconds, or 0 where it failed. */
static unsigned long long time_cycle(const struct means *means,
				     unsigned int percent)
{
	static unsigned int value;
	unsigned int distance = 100 / percent;
	unsigned long long begin, time;
	size_t i;

	memset(cycle.written, 0, sizeof(cycle.written));
	value++;
	begin = nanoseconds();
	if (means->arm && means->arm())
		return 0;
	for (i = 0; i < PAGES; i += distance)
		touch_write(cycle.addr + i * page_size(), value);
	if (means->collect && means->collect())
		return 0;
	time = nanoseconds() - begin;
	for (i = 0; i < PAGES; i++) {
		if (cycle.written[i] == !(i % distance))
			continue;
		fprintf(stderr, "# %s: page %zu is %sfound written\n",
			means->name, i, cycle.written[i] ? "" : "not ");
		return 0;
	}
	return time;
}

static int time_row(const struct means *means, const char *name,
		    unsigned int percent)
{
	unsigned long long best = 0, time = 1;
	unsigned int round;

	if (means->begin && means->begin()) {
		perror("# begin");
		return -1;
	}
	for (round = 0; round < ROUNDS && time; round++) {
		time = time_cycle(means, percent);
		if (!best || time < best)
			best = time;
	}
	if ((means->end && means->end()) || !time) {
		fprintf(stderr, "# %s failed\n", name);
		return -1;
	}
	printf("%s\tpage\t%.1f\n", name, (double)best / PAGES);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int i, j;
	int result = 0;
	char name[64];

	cycle.size = PAGES * page_size();
	cycle.addr = map_pages(PAGES, PROT_READ | PROT_WRITE);
	cycle.pagemap = pagemap_open(getpid());
	cycle.clear_refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	if (!cycle.addr || cycle.pagemap < 0 || cycle.clear_refs < 0) {
		perror("# memory");
		return 1;
	}
	/* Fails where there are no huge pages to be had */
	madvise(cycle.addr, cycle.size, MADV_NOHUGEPAGE);
	memset(cycle.addr, 1, cycle.size);
	for (i = 0; i < ARRAY_SIZE(all_means); i++) {
		for (j = 0; j < ARRAY_SIZE(percents); j++) {
			snprintf(name, sizeof(name), "%s-%u", all_means[i].name,
				 percents[j]);
			if (asked_for(name, argc, argv) &&
			    time_row(&all_means[i], name, percents[j]))
				result = 1;
		}
	}
	return result;
}
