// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap_scan_bystander_bench: what memory costs that nobody tracks
 *
 *	pagemap_scan_bystander_bench [ROW...]
 *
 * Makes no use of PAGEMAP_SCAN nor userfaultfd, to see whether a kernel that
 * has them is slower for those who don't either.  Prints, as
 * pagemap_scan_bench does, lines
 *
 *	ROW <tab> UNIT <tab> NANOSECONDS
 *
 * fault-write, fault-read: a first access to a page of anonymous memory
 * fault-copy: a write to a page of a private mapping of a file
 * fork-and-copy: fork(), a write of the child to the page, and its end
 * mprotect: a change of a page to read-only and back
 * munmap: unmapping a page
 * madvise-dontneed: throwing a page away
 * swap-in: a write to a page that is on a loop device
 *
 * Ends with status 0, or 1 if something failed.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest.h"
#include "pagemap_scan_util.h"

#define PAGES	16384
#define ROUNDS	5

/**
 * struct row - what is timed
 * @name:	its name in the output
 * @run:	what is timed, of memory that is all written; 0, or -1
 * @populate:	whether the memory is written before
 * @file:	whether it is a private mapping of a file, each page of it read
 */
struct row {
	const char *name;
	int (*run)(char *addr, size_t size);
	bool populate;
	bool file;
};

static int write_all(char *addr, size_t size)
{
	size_t i;

	for (i = 0; i < size; i += page_size())
		touch_write(addr + i, i + 1);
	return 0;
}

static int read_all(char *addr, size_t size)
{
	size_t i;

	for (i = 0; i < size; i += page_size())
		touch_read(addr + i);
	return 0;
}

static int fork_and_copy(char *addr, size_t size)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(write_all(addr, size));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status ? -1 : 0;
}

static int protect_and_back(char *addr, size_t size)
{
	if (mprotect(addr, size, PROT_READ))
		return -1;
	return mprotect(addr, size, PROT_READ | PROT_WRITE);
}

static int throw_away(char *addr, size_t size)
{
	return madvise(addr, size, MADV_DONTNEED);
}

static int swap_out(char *addr, size_t size)
{
	return madvise(addr, size, MADV_PAGEOUT);
}

static int unmap(char *addr, size_t size)
{
	return munmap(addr, size);
}

static const struct row rows[] = {
	{ "fault-write", .run = write_all },
	{ "fault-read", .run = read_all },
	{ "fault-copy", .run = write_all, .file = true },
	{ "fork-and-copy", .run = fork_and_copy, .populate = true },
	{ "mprotect", .run = protect_and_back, .populate = true },
	{ "munmap", .run = unmap, .populate = true },
	{ "madvise-dontneed", .run = throw_away, .populate = true },
	{ "swap-in", .run = write_all, .populate = true },
};

static char *map_memory(const struct row *row, size_t size)
{
	char *addr;
	int fd = -1;

	if (row->file) {
		fd = memfd_create("pagemap_scan_bystander_bench", 0);
		if (fd < 0 || ftruncate(fd, size))
			return NULL;
	}
	addr = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | (row->file ? 0 : MAP_ANONYMOUS), fd, 0);
	if (fd >= 0)
		close(fd);
	if (addr == MAP_FAILED)
		return NULL;
	/* Fails where there are no huge pages to be had */
	madvise(addr, size, MADV_NOHUGEPAGE);
	if (row->file)
		read_all(addr, size);
	if (row->populate)
		write_all(addr, size);
	if (row->run == write_all && row->populate && swap_out(addr, size))
		return NULL;
	return addr;
}

static int time_row(const struct row *row)
{
	size_t size = PAGES * page_size();
	unsigned long long best = 0;
	unsigned int round;

	for (round = 0; round < ROUNDS; round++) {
		char *addr = map_memory(row, size);
		unsigned long long time;

		if (!addr)
			return -1;
		time = nanoseconds();
		if (row->run(addr, size))
			return -1;
		time = nanoseconds() - time;
		if (row->run != unmap)
			munmap(addr, size);
		if (!best || time < best)
			best = time;
	}
	printf("%s\tpage\t%.1f\n", row->name, (double)best / PAGES);
	return 0;
}

int main(int argc, char **argv)
{
	int result = 0;
	size_t i;

	machine_set_up(NEED_FILES | NEED_SWAP);
	if (!machine_has(NEED_SWAP)) {
		fprintf(stderr, "# no device to swap to\n");
		return 1;
	}
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!asked_for(rows[i].name, argc, argv))
			continue;
		if (time_row(&rows[i])) {
			fprintf(stderr, "# %s failed\n", rows[i].name);
			result = 1;
		}
		fflush(stdout);
	}
	return result;
}
