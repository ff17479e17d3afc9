// SPDX-License-Identifier: GPL-2.0-only
/*
 * deb-layouts: track writes with each argument that PAGEMAP_SCAN takes
 *
 *	deb-layouts LAYOUT
 *
 * For tests/deb: all that is needed comes from the installed <linux/fs.h> and
 * <linux/userfaultfd.h>.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>

#define PAGES		16
#define PAGE(n)		(1UL << (n))
#define ALL		(PAGE(PAGES) - 1)

static char *memory;
static size_t page_size;
static int pagemap;

static unsigned long pages_of(const struct page_region *vec, int regions)
{
	unsigned long pages = 0;
	uint64_t address;
	int i;

	for (i = 0; i < regions; i++) {
		if (vec[i].categories != PAGE_IS_WRITTEN)
			errx(1, "categories are %#llx", vec[i].categories);
		for (address = vec[i].start; address < vec[i].end;
		     address += page_size)
			pages |= PAGE((address - (uintptr_t)memory) / page_size);
	}
	return pages;
}

static unsigned long scan_pm(unsigned long command)
{
	struct page_region vec[PAGES];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)memory,
		.end = (uintptr_t)memory + PAGES * page_size,
		.vec = (uintptr_t)vec,
		.vec_len = PAGES,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int regions = ioctl(pagemap, command, &arg);

	if (regions < 0)
		err(1, "a struct pm_scan_arg");
	if (arg.walk_end != arg.end)
		errx(1, "ends at %#llx, not at %#llx", arg.walk_end, arg.end);
	return pages_of(vec, regions);
}

/* What Linux 6.7 takes too. */
static unsigned long scan_pm_scan_arg(void)
{
	return scan_pm(PAGEMAP_SCAN_PM);
}

/* A source that was written for Linux 6.7. */
static unsigned long scan_pm_scan_arg_by_size(void)
{
	return scan_pm(PAGEMAP_SCAN);
}

static unsigned long scan_pagemap_scan_arg(void)
{
	struct page_region vec[PAGES];
	struct pagemap_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED,
		.start = (uintptr_t)memory,
		.len = PAGES * page_size,
		.vec = (uintptr_t)vec,
		.vec_len = PAGES,
		.required_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int regions = ioctl(pagemap, PAGEMAP_SCAN, &arg);
	unsigned long pages;

	if (regions < 0)
		err(1, "a struct pagemap_scan_arg");
	if (arg.walk_end != arg.start + arg.len)
		errx(1, "ends at %#llx", arg.walk_end);
	pages = pages_of(vec, regions);
	if (arg.pages != (unsigned int)__builtin_popcountl(pages))
		errx(1, "%llu pages counted, of %#lx", arg.pages, pages);
	return pages;
}

static const struct layout {
	const char *name;
	unsigned long (*scan)(void);
} layouts[] = {
	{ "pagemap_scan_arg", scan_pagemap_scan_arg },
	{ "pm_scan_arg", scan_pm_scan_arg },
	{ "pm_scan_arg_by_size", scan_pm_scan_arg_by_size },
};

static const struct layout *find_layout(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		if (!strcmp(layouts[i].name, name))
			return &layouts[i];
	}
	errx(2, "no layout is called '%s'", name);
}

static void get_memory(void)
{
	page_size = sysconf(_SC_PAGESIZE);
	memory = mmap(NULL, PAGES * page_size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	/* A huge page would be written as a whole. */
	if (madvise(memory, PAGES * page_size, MADV_NOHUGEPAGE))
		err(1, "MADV_NOHUGEPAGE");
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		err(1, "/proc/self/pagemap");
}

static void register_memory(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC,
	};
	struct uffdio_register registration = {
		.range.start = (uintptr_t)memory,
		.range.len = PAGES * page_size,
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (uffd < 0)
		err(1, "userfaultfd");
	if (ioctl(uffd, UFFDIO_API, &api))
		err(1, "UFFD_FEATURE_WP_ASYNC");
	if (ioctl(uffd, UFFDIO_REGISTER, &registration))
		err(1, "UFFDIO_REGISTER");
}

static void write_pages(unsigned long pages)
{
	int page;

	for (page = 0; page < PAGES; page++) {
		if (pages & PAGE(page))
			*(volatile char *)(memory + page * page_size) = 'w';
	}
}

static void expect(const struct layout *layout, unsigned long pages)
{
	unsigned long found = layout->scan();

	if (found != pages)
		errx(1, "pages %#lx, and not %#lx", found, pages);
}

int main(int argc, char **argv)
{
	const unsigned long some = PAGE(0) | PAGE(3) | PAGE(4) | PAGE(15);
	const struct layout *layout;

	if (argc != 2)
		errx(2, "usage: deb-layouts LAYOUT");
	layout = find_layout(argv[1]);
	get_memory();
	register_memory();
	write_pages(ALL);
	expect(layout, ALL);
	expect(layout, 0);
	write_pages(some);
	expect(layout, some);
	write_pages(PAGE(7));
	expect(layout, PAGE(7));
	expect(layout, 0);
	return 0;
}
