// SPDX-License-Identifier: GPL-2.0-only
/*
 * tool-target: a process of which the memory is known, for tests/tool
 *
 * Maps memory of several kinds, brings its pages into known states, prints a
 * line 'KIND START END' for each mapping and 'ready', and waits until its
 * standard input ends.  Which pages are in which state is said below, at the
 * functions; the numbers that follow from it are in tests/tool.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/pagemap_scan.h>

#include "target.h"

#define HUGE_SIZE		(2ul << 20)
#define MANY_PAGES		9000
#define MANY_MAPPINGS		1000

static size_t page_size;

static char *map(size_t pages, int flags, int fd)
{
	char *memory = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
			    flags, fd, 0);

	check(memory != MAP_FAILED, "mmap");
	return memory;
}

/* A page without access behind each mapping keeps neighbours apart. */
static char *map_anonymous(size_t pages)
{
	char *memory = map(pages + 1, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	check(!mprotect(memory + pages * page_size, page_size, PROT_NONE),
	      "mprotect");
	advise(memory, pages * page_size, MADV_NOHUGEPAGE);
	return memory;
}

static void announce(const char *kind, const char *memory, size_t size)
{
	printf("%s %lx %lx\n", kind, (unsigned long)memory,
	       (unsigned long)memory + size);
}

static void write_pages(char *memory, size_t first, size_t end)
{
	size_t page;

	for (page = first; page < end; page++)
		memory[page * page_size] = 1;
}

static void read_pages(const char *memory, size_t first, size_t end)
{
	size_t page;

	for (page = first; page < end; page++)
		*(volatile const char *)(memory + page * page_size);
}

/* 16 pages, none ever touched. */
static void make_untouched(void)
{
	announce("untouched", map_anonymous(16), 16 * page_size);
}

/* 16 pages; 0, 1 and 5 written, 8 read and so the zero page. */
static void make_touched(void)
{
	char *memory = map_anonymous(16);

	write_pages(memory, 0, 2);
	write_pages(memory, 5, 6);
	read_pages(memory, 8, 9);
	announce("touched", memory, 16 * page_size);
}

static int make_file(const char *directory, const char *name, size_t pages)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	check(fd >= 0, path);
	check(!ftruncate(fd, pages * page_size), "ftruncate");
	return fd;
}

/* 8 pages of a file, all read; 2 written and so a private copy. */
static void make_private_file(const char *directory)
{
	int fd = make_file(directory, "private", 8);
	char *memory = map(8, MAP_SHARED, fd);

	write_pages(memory, 0, 8);
	munmap(memory, 8 * page_size);
	memory = map(8, MAP_PRIVATE, fd);
	read_pages(memory, 0, 8);
	write_pages(memory, 2, 3);
	announce("private-file", memory, 8 * page_size);
}

/* 8 pages of shared memory; the first 4 written. */
static void make_shared(void)
{
	char *memory = map(8, MAP_SHARED | MAP_ANONYMOUS, -1);

	write_pages(memory, 0, 4);
	announce("shared", memory, 8 * page_size);
}

static int all_swapped(const char *memory, size_t pages)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entries[64];
	size_t page;

	check(pagemap >= 0, "/proc/self/pagemap");
	check(pread(pagemap, entries, pages * sizeof(*entries),
		    (uintptr_t)memory / page_size * sizeof(*entries)) ==
	      (ssize_t)(pages * sizeof(*entries)), "read of pagemap");
	close(pagemap);
	for (page = 0; page < pages; page++)
		if (!(entries[page] >> 62 & 1))
			return 0;
	return 1;
}

/* 8 pages, all written and swapped out. */
static void make_swapped(void)
{
	char *memory = map_anonymous(8);
	int tries;

	write_pages(memory, 0, 8);
	for (tries = 0; tries < 100 && !all_swapped(memory, 8); tries++) {
		check(!madvise(memory, 8 * page_size, MADV_PAGEOUT),
		      "MADV_PAGEOUT");
		usleep(10000);
	}
	check(all_swapped(memory, 8), "swapping out (is swap on?)");
	announce("swapped", memory, 8 * page_size);
}

/* One transparent huge page, written. */
static void make_thp(void)
{
	size_t pages = 2 * HUGE_SIZE / page_size;
	char *memory = map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uintptr_t aligned = ((uintptr_t)memory + HUGE_SIZE - 1) &
			    ~(HUGE_SIZE - 1);

	check(!mprotect(memory, 2 * HUGE_SIZE, PROT_NONE), "mprotect");
	memory = (char *)aligned;
	check(!mprotect(memory, HUGE_SIZE, PROT_READ | PROT_WRITE), "mprotect");
	advise(memory, HUGE_SIZE, MADV_HUGEPAGE);
	write_pages(memory, 0, 1);
	announce("thp", memory, HUGE_SIZE);
}

/* Two hugetlb pages, the first written. */
static void make_hugetlb(void)
{
	char *memory = map(2 * HUGE_SIZE / page_size,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);

	write_pages(memory, 0, 1);
	announce("hugetlb", memory, 2 * HUGE_SIZE);
}

/* 32 pages, tracked and protected, then 3 to 7 and 20 written. */
static void make_tracked(void)
{
	char *memory = map_anonymous(32);
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC,
	};
	struct uffdio_register registration = {
		.range = { (uintptr_t)memory, 32 * page_size },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct pagemap_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PAGEMAP_WP_ENGAGE,
		.start = (uintptr_t)memory,
		.len = 32 * page_size,
	};
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	check(pagemap >= 0, "/proc/self/pagemap");
	check(uffd >= 0, "userfaultfd");
	check(!ioctl(uffd, UFFDIO_API, &api), "UFFDIO_API with WP_ASYNC");
	check(!ioctl(uffd, UFFDIO_REGISTER, &registration), "UFFDIO_REGISTER");
	check(!ioctl(pagemap, PAGEMAP_SCAN, &arg), "PAGEMAP_SCAN");
	write_pages(memory, 3, 8);
	write_pages(memory, 20, 21);
	announce("tracked", memory, 32 * page_size);
}

/* MANY_PAGES pages, the odd ones written: more regions than a call reports. */
static void make_many_regions(void)
{
	char *memory = map_anonymous(MANY_PAGES);
	size_t page;

	for (page = 1; page < MANY_PAGES; page += 2)
		write_pages(memory, page, page + 1);
	announce("many-regions", memory, MANY_PAGES * page_size);
}

/* MANY_MAPPINGS mappings of one page, readable and writable in turn. */
static void make_many_mappings(void)
{
	char *memory = map_anonymous(MANY_MAPPINGS);
	size_t page;

	for (page = 0; page < MANY_MAPPINGS; page += 2)
		check(!mprotect(memory + page * page_size, page_size,
				PROT_READ), "mprotect");
	write_pages(memory, 1, 2);
	announce("many-mappings", memory, MANY_MAPPINGS * page_size);
}

/* A page of a file of which the name is no text. */
static void make_odd_name(const char *directory)
{
	char *memory = map(1, MAP_SHARED,
			   make_file(directory, "a\"b\\c\nd\te\351f\033g", 1));

	announce("odd-name", memory, page_size);
}

/*
 * 8 pages, all written; then the soft-dirty bits of the process were cleared,
 * and 1, 2 and 7 written.
 */
static void make_soft_dirty(void)
{
	char *memory = map_anonymous(8);
	int clear_refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	write_pages(memory, 0, 8);
	check(clear_refs >= 0, "/proc/self/clear_refs");
	check(write(clear_refs, "4", 1) == 1, "clearing soft-dirty bits");
	close(clear_refs);
	write_pages(memory, 1, 3);
	write_pages(memory, 7, 8);
	announce("soft-dirty", memory, 8 * page_size);
}

int main(int argc, char **argv)
{
	char byte;

	if (argc != 2) {
		fprintf(stderr, "usage: tool-target DIRECTORY-FOR-FILES\n");
		return 2;
	}
	page_size = sysconf(_SC_PAGESIZE);
	make_untouched();
	make_touched();
	make_private_file(argv[1]);
	make_shared();
	make_swapped();
	make_thp();
	make_hugetlb();
	make_tracked();
	make_many_regions();
	make_many_mappings();
	make_odd_name(argv[1]);
	make_soft_dirty();
	printf("ready\n");
	fflush(stdout);
	return read(STDIN_FILENO, &byte, 1) > 0;
}
