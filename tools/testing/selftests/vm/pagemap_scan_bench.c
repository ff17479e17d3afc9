// SPDX-License-Identifier: GPL-2.0
/*
 * pagemap_scan_bench: what PAGEMAP_SCAN costs
 *
 *	pagemap_scan_bench [ROW...]
 *
 * Times scans of memory that is all there, by struct pm_scan_arg, which every
 * kernel with the ioctl has, and prints a line
 *
 *	ROW <tab> UNIT <tab> NANOSECONDS
 *
 * for each row: the time for one UNIT, the best of several rounds.  Where
 * the clock counts instructions (QEMU's icount with a shift of 0, one
 * processor), these are instructions, and the same from run to run.
 *
 * Ends with status 0, or 1 if something failed; a row that this kernel can't do
 * is left out, and named on stderr.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "pagemap_scan_util.h"

#define PAGES		16384
#define ROUNDS		5
#define CALLS		1000	/* of a row that times small ones */
#define GIB		((size_t)1 << 30)
#define TIB_GIBS	1024

enum kind {
	ANON,		/* each page written */
	SHMEM,		/* shared, each page written */
	HALF_COPIED,	/* private mapping of a file, every other page written */
	SPARSE,		/* anonymous, 1 TiB, a page in each GiB written */
};

struct bench;

/**
 * struct row - what is timed
 * @name:	its name in the output
 * @unit:	what the time is for: "page" or "call"
 * @run:	what is timed; 0, or -1 where it failed
 * @kind:	memory
 * @tracked:	whether it is registered for write-tracking, and protected
 * @every:	which pages are written then, before each scan: one of so many, 0
 *		for none
 * @arg:	flags and masks of the call; vec_len 0: without a vector
 */
struct row {
	const char *name;
	const char *unit;
	int (*run)(struct bench *bench, const struct row *row);
	enum kind kind;
	bool tracked;
	unsigned int every;
	struct pm_scan_arg arg;
};

#define IN_MEMORY	(PAGE_IS_PRESENT | PAGE_IS_SWAPPED)
/* What CRIU asks for */
#define CRIU_QUERY	.category_inverted = PAGE_IS_PFNZERO | PAGE_IS_FILE, \
			.category_mask = PAGE_IS_PFNZERO | PAGE_IS_FILE, \
			.category_anyof_mask = IN_MEMORY,		\
			.return_mask = IN_MEMORY | PAGE_IS_SOFT_DIRTY
#define WRITTEN		.category_mask = PAGE_IS_WRITTEN,		\
			.return_mask = PAGE_IS_WRITTEN

/**
 * struct bench - memory that a row is timed on
 * @addr:	its first byte
 * @size:	bytes
 * @pages:	pages of it that are there
 * @distance:	bytes from one of these to the next
 * @pagemap:	this process's pagemap file
 * @uffd:	a userfaultfd that tracks, or -1
 * @vec:	for PAGES regions
 * @regions:	how many of them were reported
 */
struct bench {
	char *addr;
	size_t size;
	size_t pages;
	size_t distance;
	int pagemap;
	int uffd;
	struct page_region *vec;
	long regions;
};

static unsigned long long nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* Write one of so many pages, each time something else. */
static void write_pages(struct bench *bench, unsigned int every)
{
	static unsigned int value;
	size_t i;

	value++;
	for (i = 0; every && i < bench->pages; i += every)
		touch_write(bench->addr + i * bench->distance, value);
}

static int map_half_copied(struct bench *bench)
{
	int fd = memfd_create("pagemap_scan_bench", 0);
	size_t i;

	if (fd < 0 || ftruncate(fd, bench->size))
		return -1;
	bench->addr = mmap(NULL, bench->size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE, fd, 0);
	close(fd);
	if (bench->addr == MAP_FAILED)
		return -1;
	for (i = 0; i < bench->pages; i++)
		touch_read(bench->addr + i * bench->distance);
	write_pages(bench, 2);
	return 0;
}

static int map_memory(struct bench *bench, enum kind kind)
{
	int flags = kind == SHMEM ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE;

	bench->pages = kind == SPARSE ? TIB_GIBS : PAGES;
	bench->distance = kind == SPARSE ? GIB : page_size();
	bench->size = bench->pages * bench->distance;
	if (kind == HALF_COPIED)
		return map_half_copied(bench);
	bench->addr = mmap(NULL, bench->size, PROT_READ | PROT_WRITE,
			   flags | MAP_ANONYMOUS, -1, 0);
	if (bench->addr == MAP_FAILED)
		return -1;
	/* Fails where there are no huge pages to be had */
	madvise(bench->addr, bench->size, MADV_NOHUGEPAGE);
	write_pages(bench, 1);
	return 0;
}

static int track(struct bench *bench)
{
	bench->uffd = uffd_create_async();
	if (bench->uffd < 0)
		return -1;
	if (uffd_register(bench->uffd, bench->addr, bench->size,
			  UFFDIO_REGISTER_MODE_WP, NULL))
		return -1;
	return uffd_protect(bench->uffd, bench->addr, bench->size, true);
}

/* All calls that the range takes; the regions come one behind the other. */
static int scan_range(struct bench *bench, const struct row *row)
{
	struct pm_scan_arg arg = row->arg;
	int regions;

	arg.size = sizeof(arg);
	arg.vec = arg.vec_len ? address(bench->vec) : 0;
	arg.start = address(bench->addr);
	arg.end = arg.start + bench->size;
	bench->regions = 0;
	do {
		regions = ioctl(bench->pagemap, PAGEMAP_SCAN_PM, &arg);
		if (regions < 0) {
			perror("# PAGEMAP_SCAN");
			return -1;
		}
		bench->regions += regions;
		if (arg.vec) {
			arg.vec += regions * sizeof(*bench->vec);
			arg.vec_len -= regions;
		}
		arg.start = arg.walk_end;
	} while (arg.start < arg.end);
	return 0;
}

static int scan_page_again(struct bench *bench, const struct row *row)
{
	struct pm_scan_arg arg = row->arg;
	unsigned int i;

	arg.size = sizeof(arg);
	arg.vec = address(bench->vec);
	arg.start = address(bench->addr);
	arg.end = arg.start + page_size();
	for (i = 0; i < CALLS; i++) {
		if (ioctl(bench->pagemap, PAGEMAP_SCAN_PM, &arg) != 1)
			return -1;
	}
	bench->regions = 1;
	return 0;
}

/* What reads the same from /proc/PID/pagemap. */
static int read_pagemap(struct bench *bench, const struct row *row)
{
	__u64 *entries = (void *)bench->vec;
	unsigned int i, present = 0;
	ssize_t n;

	n = pread(bench->pagemap, entries, PAGES * sizeof(*entries),
		  address(bench->addr) / page_size() * sizeof(*entries));
	for (i = 0; i < PAGES; i++)
		present += !!(entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED));
	bench->regions = 0;
	return n == PAGES * sizeof(*entries) && present == PAGES ? 0 : -1;
}

/* How many pages a round has to report. */
static size_t expected_pages(const struct bench *bench, const struct row *row)
{
	if (!row->arg.vec_len)
		return 0;
	if (row->run == scan_page_again)
		return 1;
	if (row->tracked)
		return row->every ? bench->pages / row->every : 0;
	return row->kind == HALF_COPIED ? bench->pages / 2 : bench->pages;
}

/* One round.  Return: nanoseconds, or 0 where it failed. */
static unsigned long long time_round(struct bench *bench,
				     const struct row *row)
{
	unsigned long long begin, time;
	size_t pages;

	if (row->tracked)
		write_pages(bench, row->every);
	begin = nanoseconds();
	if (row->run(bench, row))
		return 0;
	time = nanoseconds() - begin;
	pages = scan_pages(bench->vec, bench->regions);
	if (pages == expected_pages(bench, row))
		return time;
	fprintf(stderr, "# %s: %zu pages reported, not %zu\n", row->name,
		pages, expected_pages(bench, row));
	return 0;
}

static int time_row(const struct row *row)
{
	struct bench bench = { .uffd = -1 };
	unsigned long long best = 0;
	unsigned int round;
	int result = -1;

	bench.pagemap = pagemap_open(getpid());
	bench.vec = calloc(PAGES, sizeof(*bench.vec));
	if (bench.pagemap < 0 || !bench.vec || map_memory(&bench, row->kind)) {
		fprintf(stderr, "# %s: %s\n", row->name, strerror(errno));
		return -1;
	}
	if (row->tracked && track(&bench)) {
		fprintf(stderr, "# %s: this kernel can't track writes\n",
			row->name);
		goto out;
	}
	for (round = 0; round < ROUNDS; round++) {
		unsigned long long time = time_round(&bench, row);

		if (!time)
			goto out;
		if (!best || time < best)
			best = time;
	}
	printf("%s\t%s\t%.1f\n", row->name, row->unit,
	       (double)best / (row->run == scan_page_again ? CALLS :
			       bench.pages));
	result = 0;
out:
	munmap(bench.addr, bench.size);
	if (bench.uffd >= 0)
		close(bench.uffd);
	free(bench.vec);
	close(bench.pagemap);
	return result;
}

static const struct row rows[] = {
	{ "present-dense-anon", "page", scan_range, ANON, .arg = {
		.category_anyof_mask = IN_MEMORY, .return_mask = IN_MEMORY, .vec_len = PAGES } },
	{ "criu-dense-anon", "page", scan_range, ANON, .arg = {
		CRIU_QUERY, .vec_len = PAGES } },
	{ "all-dense-anon", "page", scan_range, ANON, .arg = {
		.return_mask = ALL_CATEGORIES, .vec_len = PAGES } },
	{ "file-present-dense-shmem", "page", scan_range, SHMEM, .arg = {
		.category_mask = PAGE_IS_FILE | PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_FILE | PAGE_IS_PRESENT,
		.vec_len = PAGES } },
	{ "criu-half-copied-file", "page", scan_range, HALF_COPIED, .arg = {
		CRIU_QUERY, .vec_len = PAGES } },
	{ "written-none", "page", scan_range, ANON, true, .arg = {
		WRITTEN, .vec_len = PAGES } },
	{ "written-every-2nd", "page", scan_range, ANON, true, 2, .arg = {
		WRITTEN, .vec_len = PAGES } },
	{ "written-present-every-2nd", "page", scan_range, ANON, true, 2, .arg = {
		.category_mask = PAGE_IS_WRITTEN | PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_WRITTEN | PAGE_IS_FILE | IN_MEMORY,
		.vec_len = PAGES } },
	{ "protect-none", "page", scan_range, ANON, true, .arg = {
		WRITTEN, .flags = PAGEMAP_WP_ENGAGE, .vec_len = PAGES } },
	{ "protect-every-16th", "page", scan_range, ANON, true, 16, .arg = {
		WRITTEN, .flags = PAGEMAP_WP_ENGAGE, .vec_len = PAGES } },
	{ "protect-all", "page", scan_range, ANON, true, 1, .arg = {
		WRITTEN, .flags = PAGEMAP_WP_ENGAGE, .vec_len = PAGES } },
	{ "protect-all-without-vec", "page", scan_range, ANON, true, 1, .arg = {
		WRITTEN, .flags = PAGEMAP_WP_ENGAGE } },
	{ "sparse-1-tib", "page", scan_range, SPARSE, .arg = {
		.category_anyof_mask = IN_MEMORY, .return_mask = IN_MEMORY, .vec_len = PAGES } },
	{ "one-page", "call", scan_page_again, ANON, .arg = {
		.category_anyof_mask = IN_MEMORY, .return_mask = IN_MEMORY, .vec_len = 1 } },
	/* Beside them */
	{ "pagemap-dense-anon", "page", read_pagemap, ANON },
};

static bool asked_for(const char *name, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], name))
			return true;
	}
	return argc <= 1;
}

int main(int argc, char **argv)
{
	int result = 0;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (asked_for(rows[i].name, argc, argv) && time_row(&rows[i]))
			result = 1;
	}
	return result;
}
