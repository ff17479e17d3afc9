// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap_scan_bench: what PAGEMAP_SCAN costs
 *
 *	pagemap_scan_bench [ROW...]	without a ROW: all but the cold ones
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
#include <unistd.h>

#include "pagemap_scan_util.h"

#define PAGES		16384
#define ROUNDS		5
#define CALLS		1000	/* of a row that times small ones */
#define GIB		((size_t)1 << 30)

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif

enum kind {
	ANON,		/* each page written */
	SHMEM,		/* shared, each page written */
	HALF_COPIED,	/* private, of a file, every other page written */
	SPARSE,		/* anonymous, a page in each GiB written */
	READ,		/* anonymous, each page read: the zero page */
};

struct bench;

/**
 * struct row - what is timed
 * @name:	its name in the output
 * @unit:	what the time is for: "page", "GiB", "word" or "call"
 * @run:	what is timed; 0, or -1 where it failed
 * @kind:	memory
 * @gibs:	how much of it, or 0 for PAGES pages
 * @tracked:	whether it is registered for write-tracking, and protected
 * @cold:	whether what the caches hold is thrown out before each round
 * @every:	which pages are written before each scan, where @tracked: one of
 *		so many, 0 for none
 * @arg:	flags and masks of the call; vec_len 0: without a vector
 */
struct row {
	const char *name;
	const char *unit;
	int (*run)(struct bench *bench, const struct row *row);
	enum kind kind;
	unsigned int gibs;
	bool tracked;
	bool cold;
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

static int map_memory(struct bench *bench, const struct row *row)
{
	enum kind kind = row->kind;
	int flags = kind == SHMEM ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE;

	bench->distance = kind == SPARSE ? GIB : page_size();
	bench->size = row->gibs ? row->gibs * GIB : PAGES * page_size();
	bench->pages = bench->size / bench->distance;
	if (kind == HALF_COPIED)
		return map_half_copied(bench);
	bench->addr = mmap(NULL, bench->size, PROT_READ | PROT_WRITE,
			   flags | MAP_ANONYMOUS, -1, 0);
	if (bench->addr == MAP_FAILED)
		return -1;
	/* Fails where there are no huge pages to be had */
	madvise(bench->addr, bench->size, MADV_NOHUGEPAGE);
	if (kind == READ)
		return madvise(bench->addr, bench->size, MADV_POPULATE_READ);
	/* Faults are slow under ARCH=um */
	if (row->cold)
		return madvise(bench->addr, bench->size, MADV_POPULATE_WRITE);
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

#define WORDS		(2 * GIB / 4096) /* page table entries of 2 GiB */

/* What a scan of as many page table entries can at best cost. */
static int add_words(struct bench *bench, const struct row *row)
{
	const __u64 *words = (void *)bench->addr;
	__u64 sum = 0;
	size_t i;

	for (i = 0; i < WORDS; i++)
		sum += words[i];
	bench->regions = 0;
	/* Nobody has written to them */
	return sum ? -1 : 0;
}

/* Read more than caches hold. */
static void evict_caches(void)
{
	static const size_t size = 256 << 20;
	static char *memory;
	size_t i;

	if (!memory) {
		memory = map_pages(size / page_size(), PROT_READ | PROT_WRITE);
		memset(memory, 1, size);
	}
	for (i = 0; i < size; i += 64)
		touch_read(memory + i);
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

/* How many pages were reported, and how many of them for the second time. */
static size_t reported_pages(const struct bench *bench, size_t *twice)
{
	__u64 end = 0;
	long i;

	*twice = 0;
	for (i = 0; i < bench->regions; i++) {
		const struct page_region *region = &bench->vec[i];

		if (region->start < end)
			*twice += scan_pages(region, 1);
		else
			end = region->end;
	}
	return scan_pages(bench->vec, bench->regions);
}

/* One round.  Return: nanoseconds, or 0 where it failed. */
static unsigned long long time_round(struct bench *bench,
				     const struct row *row)
{
	unsigned long long begin, time;
	static const struct row *noted;
	size_t pages, twice;

	if (row->tracked)
		write_pages(bench, row->every);
	if (row->cold)
		evict_caches();
	begin = nanoseconds();
	if (row->run(bench, row))
		return 0;
	time = nanoseconds() - begin;
	pages = reported_pages(bench, &twice);
	/* Linux 6.12 does so: wrong, but nothing is lost */
	if (twice && noted != row) {
		fprintf(stderr, "# %s: %zu pages reported twice\n", row->name,
			twice);
		noted = row;
	}
	if (pages - twice == expected_pages(bench, row))
		return time;
	fprintf(stderr, "# %s: %zu pages reported, not %zu\n", row->name,
		pages, expected_pages(bench, row));
	return 0;
}

static size_t units(const struct bench *bench, const struct row *row)
{
	if (!strcmp(row->unit, "call"))
		return CALLS;
	if (!strcmp(row->unit, "word"))
		return WORDS;
	return strcmp(row->unit, "GiB") ? bench->pages : row->gibs;
}

static int time_row(const struct row *row)
{
	struct bench bench = { .uffd = -1 };
	unsigned long long best = 0;
	unsigned int round;
	int result = -1;
	double cost;

	bench.pagemap = pagemap_open(getpid());
	bench.vec = calloc(PAGES, sizeof(*bench.vec));
	if (bench.pagemap < 0 || !bench.vec || map_memory(&bench, row)) {
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
	cost = (double)best / units(&bench, row);
	printf("%s\t%s\t%.*f\n", row->name, row->unit, cost < 10 ? 2 : 1,
	       cost);
	fflush(stdout);
	result = 0;
out:
	munmap(bench.addr, bench.size);
	if (bench.uffd >= 0)
		close(bench.uffd);
	free(bench.vec);
	close(bench.pagemap);
	return result;
}

#define QUERY(...)	.arg = { __VA_ARGS__, .vec_len = PAGES }
#define PRESENT		.category_anyof_mask = IN_MEMORY,		\
			.return_mask = IN_MEMORY
#define PROTECT		WRITTEN, .flags = PAGEMAP_WP_ENGAGE
#define TRACKED		.tracked = true

static const struct row rows[] = {
	{ "present-dense-anon", "page", scan_range, ANON, QUERY(PRESENT) },
	{ "criu-dense-anon", "page", scan_range, ANON, QUERY(CRIU_QUERY) },
	{ "all-dense-anon", "page", scan_range, ANON,
	  QUERY(.return_mask = ALL_CATEGORIES) },
	{ "file-present-dense-shmem", "page", scan_range, SHMEM,
	  QUERY(.category_mask = PAGE_IS_FILE | PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_FILE | PAGE_IS_PRESENT) },
	{ "criu-half-copied-file", "page", scan_range, HALF_COPIED,
	  QUERY(CRIU_QUERY) },
	{ "written-none", "page", scan_range, ANON, TRACKED, QUERY(WRITTEN) },
	{ "written-every-2nd", "page", scan_range, ANON, TRACKED, .every = 2,
	  QUERY(WRITTEN) },
	{ "written-present-every-2nd", "page", scan_range, ANON, TRACKED,
	  .every = 2,
	  QUERY(.category_mask = PAGE_IS_WRITTEN | PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_WRITTEN | PAGE_IS_FILE | IN_MEMORY) },
	{ "protect-none", "page", scan_range, ANON, TRACKED, QUERY(PROTECT) },
	{ "protect-every-16th", "page", scan_range, ANON, TRACKED, .every = 16,
	  QUERY(PROTECT) },
	{ "protect-all", "page", scan_range, ANON, TRACKED, .every = 1,
	  QUERY(PROTECT) },
	{ "protect-all-without-vec", "page", scan_range, ANON, TRACKED,
	  .every = 1, .arg = { PROTECT } },
	{ "sparse-1-tib", "page", scan_range, SPARSE, .gibs = 1024,
	  QUERY(PRESENT) },
	{ "one-page", "call", scan_page_again, ANON,
	  .arg = { PRESENT, .vec_len = 1 } },
	/* Growth, which is to be with the range and not faster */
	{ "dense-1-gib", "GiB", scan_range, READ, 1, QUERY(PRESENT) },
	{ "dense-4-gib", "GiB", scan_range, READ, 4, QUERY(PRESENT) },
	{ "dense-16-gib", "GiB", scan_range, READ, 16, QUERY(PRESENT) },
	{ "dense-64-gib", "GiB", scan_range, READ, 64, QUERY(PRESENT) },
	{ "sparse-1-gib", "GiB", scan_range, SPARSE, 1, QUERY(PRESENT) },
	{ "sparse-4-gib", "GiB", scan_range, SPARSE, 4, QUERY(PRESENT) },
	{ "sparse-16-gib", "GiB", scan_range, SPARSE, 16, QUERY(PRESENT) },
	{ "sparse-64-gib", "GiB", scan_range, SPARSE, 64, QUERY(PRESENT) },
	/* Beside them */
	{ "pagemap-dense-anon", "page", read_pagemap, .kind = ANON },
	/* Where caches are real; WORDS * 8 bytes and 2 GiB of memory */
	{ "cold-criu-dense-anon", "page", scan_range, ANON, 2, .cold = true,
	  QUERY(CRIU_QUERY) },
	{ "cold-present-dense-anon", "page", scan_range, ANON, 2, .cold = true,
	  QUERY(PRESENT) },
	{ "cold-words", "word", add_words, ANON, .cold = true },
};

int main(int argc, char **argv)
{
	int result = 0;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (!asked_for(rows[i].name, argc, argv) ||
		    (rows[i].cold && argc < 2))
			continue;
		if (time_row(&rows[i]))
			result = 1;
	}
	return result;
}
