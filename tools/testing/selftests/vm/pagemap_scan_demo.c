// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap_scan_demo: find the pages that a program has written to
 *
 *	pagemap_scan_demo [MEBIBYTES]
 *
 * Shows all that tracking writes takes:
 *
 *   1. Register the memory with a userfaultfd in asynchronous
 *      write-protection mode.  A write to a protected page is then let
 *      through by the kernel, which notes it in the page table; nobody has to
 *      wait for the userfaultfd or read from it.			track()
 *   2. Protect all pages, by one PAGEMAP_SCAN call.			protect()
 *   3. Let the program run.						write_pages()
 *   4. Get the pages that were written meanwhile, and protect them again in
 *      the same call, so that no write in between is lost.	get_and_protect()
 *   5. Go on with 3.
 *
 * What is written here is a known set of pages, so the program can tell
 * whether the kernel reported exactly these.  It ends with status 0 if so, 1 if
 * not or if something failed, 4 where the kernel cannot track writes.
 */
#define _GNU_SOURCE
#define __SANE_USERSPACE_TYPES__	/* __u64 is unsigned long long */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/pagemap_scan.h>
#include <linux/userfaultfd.h>

/* Installed headers may be older than that. */
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	0x8000
#endif

#define ROUNDS			3
#define REGIONS			1024	/* that one call can report */
#define SHOWN_PAGES		10	/* of those that are wrong */

enum status {
	STATUS_OK = 0,
	STATUS_WRONG = 1,
	STATUS_SKIP = 4,	/* as kselftest has it */
};

/**
 * struct demo - the tracked memory, and what is known of it
 * @memory: its first byte
 * @size: its size in bytes, whole pages
 * @page_size: bytes in a page
 * @pages: how many pages it has
 * @uffd: the userfaultfd; closing it ends the tracking
 * @pagemap: /proc/self/pagemap, which takes PAGEMAP_SCAN
 * @written: for each page, whether it was written since it was protected
 * @reported: for each page, whether the last scan reported it
 * @random: state of the random numbers
 */
struct demo {
	char *memory;
	size_t size;
	size_t page_size;
	size_t pages;
	int uffd;
	int pagemap;
	bool *written;
	bool *reported;
	uint64_t random;
};

/**
 * struct found - what a scan has found
 * @pages: number of pages reported
 * @regions: number of regions they were in
 * @calls: number of calls it took
 */
struct found {
	size_t pages;
	size_t regions;
	size_t calls;
};

static double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static enum status say_failed(const char *what)
{
	fprintf(stderr, "pagemap_scan_demo: %s: %s\n", what, strerror(errno));
	return STATUS_WRONG;
}

static enum status say_missing(const char *what)
{
	fprintf(stderr, "pagemap_scan_demo: this kernel has no %s (%s)\n", what,
		strerror(errno));
	return STATUS_SKIP;
}

/**
 * track - have the kernel keep track of writes to the memory
 * @demo: has the memory; receives the two descriptors
 *
 * UFFD_USER_MODE_ONLY makes it work for everyone.  Without it the program
 * would need a privilege, to hold up the kernel in a page fault; but in
 * asynchronous mode no fault is ever held up, so the kernel's writes to the
 * memory, for example in read(2), are tracked all the same.
 *
 * UFFD_FEATURE_WP_ASYNC includes UFFD_FEATURE_WP_UNPOPULATED: pages that were
 * never touched can be protected too.
 */
static enum status track(struct demo *demo)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC,
	};
	struct uffdio_register registration = {
		.range.start = (uintptr_t)demo->memory,
		.range.len = demo->size,
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	demo->uffd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (demo->uffd < 0)
		return say_missing("userfaultfd: is CONFIG_USERFAULTFD set?");
	if (ioctl(demo->uffd, UFFDIO_API, &api))
		return errno == EINVAL ?
		       say_missing("UFFD_FEATURE_WP_ASYNC") :
		       say_failed("UFFDIO_API");
	if (ioctl(demo->uffd, UFFDIO_REGISTER, &registration))
		return say_failed("UFFDIO_REGISTER");

	demo->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (demo->pagemap < 0)
		return say_failed("/proc/self/pagemap");
	return STATUS_OK;
}

/**
 * protect - start anew: protect all pages without a report
 * @demo: the memory
 *
 * Until a page is protected it counts as written.  There is no vec, so the
 * call only protects, and counts what it protected.
 */
static enum status protect(struct demo *demo)
{
	struct pagemap_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PAGEMAP_WP_ENGAGE,
		.start = (uintptr_t)demo->memory,
		.len = demo->size,
		.required_mask = PAGE_IS_WRITTEN,
	};
	double before = milliseconds();

	if (ioctl(demo->pagemap, PAGEMAP_SCAN, &arg) < 0)
		return errno == ENOTTY || errno == EINVAL ?
		       say_missing("PAGEMAP_SCAN with struct pagemap_scan_arg") :
		       say_failed("PAGEMAP_SCAN");
	printf("Protected %llu pages in one call (%.1f ms).\n", arg.pages,
	       milliseconds() - before);
	if (arg.pages != demo->pages) {
		printf("These should have been %zu.\n", demo->pages);
		return STATUS_WRONG;
	}
	return STATUS_OK;
}

/* Take note that the kernel reported a region. */
static enum status note_region(struct demo *demo,
			       const struct page_region *region)
{
	uint64_t memory = (uintptr_t)demo->memory;
	uint64_t address;

	if (region->start < memory || region->end > memory + demo->size ||
	    region->start >= region->end) {
		printf("Reported %#llx-%#llx, which is no part of the memory.\n",
		       region->start, region->end);
		return STATUS_WRONG;
	}
	for (address = region->start; address < region->end;
	     address += demo->page_size)
		demo->reported[(address - memory) / demo->page_size] = true;
	return STATUS_OK;
}

/**
 * get_and_protect - find the pages that were written since the last time
 * @demo: the memory; its @reported is filled
 * @found: receives the numbers
 *
 * A call ends when vec is full.  The pages from walk_end on are then as they
 * were, neither reported nor protected, and the next call starts there.
 */
static enum status get_and_protect(struct demo *demo, struct found *found)
{
	uint64_t address = (uintptr_t)demo->memory;
	uint64_t end = address + demo->size;
	struct page_region vec[REGIONS];

	*found = (struct found){};
	memset(demo->reported, 0, demo->pages * sizeof(*demo->reported));
	while (address < end) {
		struct pagemap_scan_arg arg = {
			.size = sizeof(arg),
			.flags = PAGEMAP_WP_ENGAGE,
			.start = address,
			.len = end - address,
			.vec = (uintptr_t)vec,
			.vec_len = REGIONS,
			.required_mask = PAGE_IS_WRITTEN,
			.return_mask = PAGE_IS_WRITTEN,
		};
		int i, regions;

		regions = ioctl(demo->pagemap, PAGEMAP_SCAN, &arg);
		if (regions < 0)
			return say_failed("PAGEMAP_SCAN");
		for (i = 0; i < regions; i++) {
			if (note_region(demo, &vec[i]))
				return STATUS_WRONG;
			found->pages += (vec[i].end - vec[i].start) /
					demo->page_size;
		}
		found->regions += regions;
		found->calls++;
		if (arg.walk_end <= address) {
			printf("The scan stopped at %#llx, where it started.\n",
			       arg.walk_end);
			return STATUS_WRONG;
		}
		address = arg.walk_end;
	}
	return STATUS_OK;
}

/* Marsaglia's xorshift: random enough, and the same in every run. */
static uint64_t random_number(struct demo *demo)
{
	demo->random ^= demo->random << 13;
	demo->random ^= demo->random >> 7;
	demo->random ^= demo->random << 17;
	return demo->random;
}

/**
 * write_pages - write to about every sixteenth page, one byte somewhere in it
 * @demo: the memory; its @written is filled
 *
 * The first and the last page are always among them.
 *
 * Return: to how many pages.
 */
static size_t write_pages(struct demo *demo)
{
	size_t count = 0;
	size_t page;

	for (page = 0; page < demo->pages; page++) {
		uint64_t random = random_number(demo);
		char *address = demo->memory + page * demo->page_size;

		demo->written[page] = random % 16 == 0 || page == 0 ||
				      page == demo->pages - 1;
		if (!demo->written[page])
			continue;
		address[(random >> 32) % demo->page_size]++;
		count++;
	}
	return count;
}

/**
 * compare - hold what was reported against what was written
 * @demo: has both
 */
static enum status compare(const struct demo *demo)
{
	size_t missed = 0;
	size_t invented = 0;
	size_t page;

	for (page = 0; page < demo->pages; page++) {
		const char *address = demo->memory + page * demo->page_size;

		if (demo->written[page] == demo->reported[page])
			continue;
		if (missed + invented < SHOWN_PAGES)
			printf("  %p was %s\n", address, demo->written[page] ?
			       "written, but not reported" :
			       "reported, but not written");
		if (demo->written[page])
			missed++;
		else
			invented++;
	}
	if (missed || invented) {
		printf("  WRONG: %zu pages missed, %zu invented\n", missed,
		       invented);
		return STATUS_WRONG;
	}
	return STATUS_OK;
}

/**
 * run_round - write, get the written pages, and see that nothing is left
 * @demo: the memory, all of it protected
 * @round: number of the round, from 1
 */
static enum status run_round(struct demo *demo, int round)
{
	struct found found;
	double before;
	size_t count;

	before = milliseconds();
	count = write_pages(demo);
	printf("Round %d: wrote to %zu pages (%.1f ms).\n", round, count,
	       milliseconds() - before);

	before = milliseconds();
	if (get_and_protect(demo, &found))
		return STATUS_WRONG;
	printf("  reported: %zu pages in %zu regions (calls: %zu, %.1f ms)\n",
	       found.pages, found.regions, found.calls,
	       milliseconds() - before);
	if (compare(demo))
		return STATUS_WRONG;
	printf("  exactly those, none missed and none invented\n");

	before = milliseconds();
	if (get_and_protect(demo, &found))
		return STATUS_WRONG;
	printf("  and again: %zu pages (calls: %zu, %.1f ms)\n", found.pages,
	       found.calls, milliseconds() - before);
	memset(demo->written, 0, demo->pages * sizeof(*demo->written));
	return compare(demo);
}

/**
 * set_up - get the memory
 * @demo: receives it
 * @mebibytes: its size
 *
 * The first half is in use when the tracking starts.  The second half was never
 * touched and has no pages yet; the tracking does not mind.
 */
static enum status set_up(struct demo *demo, size_t mebibytes)
{
	demo->random = 0x9e3779b97f4a7c15ull;
	demo->page_size = sysconf(_SC_PAGESIZE);
	demo->size = mebibytes << 20;
	demo->pages = demo->size / demo->page_size;
	demo->written = calloc(demo->pages, sizeof(*demo->written));
	demo->reported = calloc(demo->pages, sizeof(*demo->reported));
	if (!demo->written || !demo->reported)
		return say_failed("memory for the notes");
	demo->memory = mmap(NULL, demo->size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (demo->memory == MAP_FAILED)
		return say_failed("memory to track");
	memset(demo->memory, 1, demo->size / 2);
	printf("Tracking %zu MiB: %zu pages of %zu bytes at %p.\n", mebibytes,
	       demo->pages, demo->page_size, demo->memory);
	return STATUS_OK;
}

static enum status run_demo(struct demo *demo, size_t mebibytes)
{
	enum status status;
	int round;

	status = set_up(demo, mebibytes);
	if (!status)
		status = track(demo);
	if (!status)
		status = protect(demo);
	for (round = 1; !status && round <= ROUNDS; round++)
		status = run_round(demo, round);
	return status;
}

int main(int argc, char **argv)
{
	struct demo demo = {};
	size_t mebibytes = 256;
	enum status status;
	char *end = "";

	if (argc > 1)
		mebibytes = strtoul(argv[1], &end, 10);
	if (argc > 2 || *end || !mebibytes || mebibytes > SIZE_MAX >> 20) {
		fprintf(stderr, "usage: pagemap_scan_demo [MEBIBYTES]\n");
		return STATUS_WRONG;
	}

	setlinebuf(stdout);	/* in order with the errors, also in a pipe */
	status = run_demo(&demo, mebibytes);
	if (status == STATUS_OK)
		printf("All is well: every write was reported, and nothing else.\n");
	else if (status == STATUS_WRONG)
		printf("FAILED\n");
	return status;
}
