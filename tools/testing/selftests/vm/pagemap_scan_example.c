// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap_scan_example: find pages, and track which ones are written
 *
 * Documentation/admin-guide/mm/pagemap_scan.rst shows this program piece by
 * piece.  What it has to find is known, so it can tell whether the kernel is
 * right: it ends with status 0 if so, 1 if not or if something failed, and 4
 * where the kernel cannot do this.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/pagemap_scan.h>
#include <linux/userfaultfd.h>

#ifndef UFFD_FEATURE_WP_ASYNC	/* the installed headers may be older */
#define UFFD_FEATURE_WP_ASYNC	(1 << 15)
#endif

#define FAILED		1
#define SKIPPED		4

#define PAGES		16
#define REGIONS		2	/* few, so that it takes several calls */

/*
 * The memory: PAGES pages from start to end, and a descriptor of the pagemap
 * file of the process that it belongs to.
 */
struct memory {
	char *addr;
	size_t page_size;
	uint64_t start;
	uint64_t end;
	int pagemap;
};

/* The set of all pages, and of one: a bit stands for a page. */
#define ALL		((1UL << PAGES) - 1)
#define PAGE(n)		(1UL << (n))

/* Print a region, and return the set of its pages. */
static unsigned long note_region(const struct memory *memory,
				 const struct page_region *region)
{
	int first = (region->start - memory->start) / memory->page_size;
	int last = (region->end - memory->start) / memory->page_size - 1;
	unsigned long pages = 0;
	int page;

	printf("  pages %d to %d\n", first, last);
	for (page = first; page <= last; page++)
		pages |= PAGE(page);
	return pages;
}

/* Scan all of the memory, for what the rest of arg asks. */
static unsigned long scan(const struct memory *memory,
			  struct pagemap_scan_arg arg)
{
	struct page_region vec[REGIONS];
	unsigned long pages = 0;
	int i, regions;

	arg.size = sizeof(arg);
	arg.vec = (uintptr_t)vec;
	arg.vec_len = REGIONS;
	arg.start = memory->start;
	while (arg.start < memory->end) {
		arg.len = memory->end - arg.start;
		regions = ioctl(memory->pagemap, PAGEMAP_SCAN, &arg);
		if (regions < 0)
			err(FAILED, "PAGEMAP_SCAN");
		for (i = 0; i < regions; i++)
			pages |= note_region(memory, &vec[i]);
		/* vec was full: go on where the call has stopped */
		arg.start = arg.walk_end;
	}
	return pages;
}

/* The pages that hold something which is in no file: what a dump has to keep. */
static unsigned long find_contents(const struct memory *memory)
{
	struct pagemap_scan_arg arg = {
		.anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.excluded_mask = PAGE_IS_FILE | PAGE_IS_PFNZERO,
	};

	return scan(memory, arg);
}

/*
 * Have the kernel keep track of writes.  Returns a userfaultfd, which has only
 * to be kept open: there is nothing to read from it.
 */
static int track(const struct memory *memory)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC,
	};
	struct uffdio_register registration = {
		.range.start = memory->start,
		.range.len = memory->end - memory->start,
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (uffd < 0)
		err(SKIPPED, "userfaultfd");
	if (ioctl(uffd, UFFDIO_API, &api))
		err(errno == EINVAL ? SKIPPED : FAILED, "UFFD_FEATURE_WP_ASYNC");
	if (ioctl(uffd, UFFDIO_REGISTER, &registration))
		err(FAILED, "UFFDIO_REGISTER");
	return uffd;
}

/*
 * The pages that were written since the last time, which are protected again in
 * the same step.  The first time these are all, as none was protected before.
 */
static unsigned long get_written(const struct memory *memory)
{
	struct pagemap_scan_arg arg = {
		.flags = PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED,
		.required_mask = PAGE_IS_WRITTEN,
	};

	return scan(memory, arg);
}

/* The end of the example: the rest is to have something to find. */

static void get_memory(struct memory *memory)
{
	size_t size;

	memory->page_size = sysconf(_SC_PAGESIZE);
	size = PAGES * memory->page_size;
	memory->addr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory->addr == MAP_FAILED)
		err(FAILED, "mmap");
	/* A huge page would be there as a whole.  Not all kernels have them. */
	madvise(memory->addr, size, MADV_NOHUGEPAGE);
	memory->start = (uintptr_t)memory->addr;
	memory->end = memory->start + size;
	memory->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (memory->pagemap < 0)
		err(FAILED, "/proc/self/pagemap");
}

/*
 * A call that asks for nothing.  Linux 6.7 refuses it, as its ioctl has another
 * argument; kernels before that, as they have none.
 */
static void find_ioctl(const struct memory *memory)
{
	struct pagemap_scan_arg arg = { .size = sizeof(arg) };

	if (ioctl(memory->pagemap, PAGEMAP_SCAN, &arg))
		err(errno == ENOTTY || errno == EINVAL ? SKIPPED : FAILED,
		    "PAGEMAP_SCAN");
}

static volatile char *page_addr(const struct memory *memory, int page)
{
	return memory->addr + page * memory->page_size;
}

static void write_pages(const struct memory *memory, unsigned long pages)
{
	int page;

	for (page = 0; page < PAGES; page++) {
		if (pages & PAGE(page))
			*page_addr(memory, page) = 'w';
	}
}

/* The kernel writes too, on behalf of the process. */
static void read_into_page(const struct memory *memory, int page)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, (char *)page_addr(memory, page), 1) != 1)
		err(FAILED, "/dev/zero");
	close(fd);
}

static void expect(const char *what, unsigned long expected,
		   unsigned long found)
{
	if (found != expected)
		errx(FAILED, "%s: pages %#lx, and not %#lx", what, found,
		     expected);
}

int main(void)
{
	const unsigned long contents = PAGE(1) | PAGE(2) | PAGE(3) | PAGE(9);
	const unsigned long written = PAGE(0) | PAGE(2) | PAGE(7) | PAGE(15);
	struct memory memory;
	int uffd;

	setlinebuf(stdout);	/* in order with the errors, also in a pipe */
	get_memory(&memory);
	find_ioctl(&memory);

	write_pages(&memory, contents);
	(void)*page_addr(&memory, 5);	/* gets the zero page */
	printf("with contents:\n");
	expect("with contents", contents, find_contents(&memory));

	uffd = track(&memory);
	printf("when the tracking starts:\n");
	expect("when the tracking starts", ALL, get_written(&memory));

	write_pages(&memory, written);
	(void)*page_addr(&memory, 1);
	read_into_page(&memory, 12);
	printf("written:\n");
	expect("written", written | PAGE(12), get_written(&memory));

	write_pages(&memory, contents);
	printf("written since:\n");
	expect("written since", contents, get_written(&memory));
	printf("written since that:\n");
	expect("written since that", 0, get_written(&memory));

	close(uffd);
	return 0;
}
