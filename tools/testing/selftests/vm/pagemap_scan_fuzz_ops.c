// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap_scan_fuzz: the operations, each with what it means for the model.
 *
 * An operation applies to those of its pages that it fits: a run of pages of
 * which the model knows what the kernel will do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/falloc.h>
#include <linux/mempolicy.h>

#include "pagemap_scan_fuzz.h"

#ifndef MADV_COLD
#define MADV_COLD	20
#define MADV_PAGEOUT	21
#endif

#define KSM		"/sys/kernel/mm/ksm/"
#define CHILD_SECONDS	600
/* What costs more than the rest is done with so many pages only. */
#define MAX_CALLS	96

/* Far below where the kernel puts what the program maps otherwise. */
#define BASE		(sizeof(long) == 8 ? 1ULL << 44 : 1ULL << 30)

const char * const op_names[OP_CODES] = {
	[OP_MAP]		= "map",
	[OP_UNMAP]		= "unmap",
	[OP_WRITE]		= "write",
	[OP_READ]		= "read",
	[OP_POPULATE]		= "populate",
	[OP_DONTNEED]		= "dontneed",
	[OP_FREE]		= "free",
	[OP_PAGEOUT]		= "pageout",
	[OP_COLD]		= "cold",
	[OP_WILLNEED]		= "willneed",
	[OP_COLLAPSE]		= "collapse",
	[OP_PUNCH]		= "punch",
	[OP_TRUNCATE]		= "truncate",
	[OP_FILE_WRITE]		= "file-write",
	[OP_SYNC]		= "sync",
	[OP_MOVE]		= "move",
	[OP_GROW]		= "grow",
	[OP_SHRINK]		= "shrink",
	[OP_MPROTECT]		= "mprotect",
	[OP_MLOCK]		= "mlock",
	[OP_MUNLOCK]		= "munlock",
	[OP_FORK]		= "fork",
	[OP_SPLIT]		= "split",
	[OP_MIGRATE]		= "migrate",
	[OP_MERGE]		= "merge",
	[OP_UNMERGE]		= "unmerge",
	[OP_ADVISE]		= "advise",
	[OP_REGISTER]		= "register",
	[OP_UNREGISTER]		= "unregister",
	[OP_PROTECT]		= "protect",
	[OP_UNPROTECT]		= "unprotect",
	[OP_COPY]		= "copy",
	[OP_SWAPOFF]		= "swapoff",
	[OP_COMPACT]		= "compact",
	[OP_CLEAR_SOFT_DIRTY]	= "clear-soft-dirty",
	[OP_DROP_CACHES]	= "drop-caches",
	[OP_SCAN]		= "scan",
	[OP_UNION]		= "union",
	[OP_SCAN_FAULT]		= "scan-fault",
};

/* A run of pages of an area. */
struct run {
	struct world *world;
	struct area *area;
	const struct op *op;
	unsigned int first;
	unsigned int end;
};

typedef bool (*page_test)(const struct area *area, const struct page *page);

static char *run_addr(const struct run *run)
{
	return run->area->addr + run->first * page_size();
}

static size_t run_size(const struct run *run)
{
	return (run->end - run->first) * page_size();
}

static void took_effect(const struct run *run)
{
	run->world->outcome->took_effect[run->op->code]++;
}

/* All pages of the operation, in whole granules. */
static struct run whole_run(struct world *world, const struct op *op)
{
	struct area *area = &world->areas[op->area % AREAS];
	struct run run = {
		.world = world,
		.area = area,
		.op = op,
		.first = op->first % area->window,
	};

	run.end = run.first + (op->count < area->window ? op->count :
							   area->window);
	run.first -= run.first % area->granule;
	run.end = (run.end + area->granule - 1) / area->granule *
		  area->granule;
	if (run.end > area->window)
		run.end = area->window;
	return run;
}

/* Go on to the next pages in a row that pass the test. */
static bool next_run(const struct run *whole, struct run *run, page_test test)
{
	struct area *area = whole->area;
	unsigned int i = run->end;

	while (i < whole->end && !test(area, &area->pages[i]))
		i++;
	run->first = i;
	while (i < whole->end && test(area, &area->pages[i]))
		i++;
	run->end = i;
	return run->first < run->end;
}

static struct run no_run(const struct run *whole)
{
	struct run run = *whole;

	run.end = whole->first;
	return run;
}

static bool is_mapped(const struct area *area, const struct page *page)
{
	return page->mapped;
}

static bool is_registered(const struct area *area, const struct page *page)
{
	return page->mapped && page->registered;
}

static bool is_unlocked(const struct area *area, const struct page *page)
{
	return page->mapped && !page->locked;
}

static bool is_missing(const struct area *area, const struct page *page)
{
	return page->mapped && page->missing;
}

static bool is_accessible(const struct area *area, const struct page *page)
{
	return page->mapped && page_has_contents(area, page) &&
	       page->prot & PROT_READ;
}

static bool is_writable(const struct area *area, const struct page *page)
{
	return is_accessible(area, page) && page->prot & PROT_WRITE;
}

static bool is_unmapped(const struct area *area, const struct page *page)
{
	return !page->mapped;
}

static bool can_merge(const struct area *area, const struct page *page)
{
	return page->mapped && !memory_is_shared(area->kind) &&
	       !memory_is_hugetlb(area->kind);
}

/* The model */

/* The pages of a run of which each may be written or not. */
static void run_undecided(const struct run *run)
{
	unsigned int i;

	for (i = run->first; i < run->end; i++)
		page_undecided(&run->area->pages[i]);
}

/*
 * After what may have copied pages of a private mapping: see which are the
 * process's own now.  Their contents are the file's.
 */
static void find_copied(const struct run *run)
{
	struct area *area = run->area;
	__u64 *entries = run->world->entries;
	unsigned int i;

	if (memory_is_anon(area->kind) || memory_is_shared(area->kind))
		return;
	pagemap_read(run->world, page_number(run->world, run_addr(run)),
		     run->end - run->first, entries);
	for (i = run->first; i < run->end; i++) {
		struct page *page = &area->pages[i];
		__u64 entry = entries[i - run->first];

		if (page->mapped && !page->copied && entry & PAGEMAP_PRESENT &&
		    !(entry & PAGEMAP_FILE)) {
			page->value = area->file[page->offset];
			page->copied = true;
		}
	}
}

/* The granule of a page is written, of which the page has a new value. */
static void model_write(struct area *area, unsigned int number,
			unsigned int value)
{
	unsigned int first = number - number % area->granule, i;

	for (i = first; i < first + area->granule; i++) {
		struct page *page = &area->pages[i];

		if (!memory_is_shared(area->kind) &&
		    !page_is_own(area, page)) {
			page->value = area->file[page->offset];
			page->copied = true;
		}
		page_written(page);
	}
	if (memory_is_shared(area->kind))
		area->file[area->pages[number].offset] = value;
	else
		area->pages[number].value = value;
}

/* Whether an access does not end in a message to the userfaultfd. */
static bool is_there(const struct run *run, unsigned int number)
{
	struct page *page = &run->area->pages[number];
	__u64 entry;

	if (!page->missing)
		return true;
	pagemap_read(run->world,
		     page_number(run->world, run->area->addr) + number, 1,
		     &entry);
	return entry & PAGEMAP_PRESENT || entry_is_swapped(entry);
}

/* Register anew, for write-protection only. */
static void settle_missing(const struct run *whole)
{
	struct world *world = whole->world;
	struct run run;
	unsigned int i;

	run = no_run(whole);
	while (next_run(whole, &run, is_missing)) {
		if (uffd_unregister(world->uffd, run_addr(&run),
				    run_size(&run)) ||
		    uffd_register(world->uffd, run_addr(&run), run_size(&run),
				  UFFDIO_REGISTER_MODE_WP, NULL))
			fail(world, "registering anew: %s", strerror(errno));
		for (i = run.first; i < run.end; i++) {
			run.area->pages[i].missing = false;
			run.area->pages[i].protection = WRITTEN;
		}
	}
}

static unsigned int count_entries(const struct run *whole,
				  bool (*test)(__u64 entry))
{
	unsigned int count = whole->end - whole->first, i, n = 0;

	pagemap_read(whole->world, page_number(whole->world, run_addr(whole)),
		     count, whole->world->entries);
	for (i = 0; i < count; i++)
		n += test(whole->world->entries[i]);
	return n;
}

/* How many pages of the run huge entries map. */
static unsigned int count_huge(const struct run *whole)
{
	struct world *world = whole->world;
	unsigned int i, n = 0, count = whole->end - whole->first;

	if (scan_categories(world->pagemap, LAYOUT_VER1, run_addr(whole),
			    run_size(whole), world->categories))
		fail(world, "counting huge pages failed");
	for (i = 0; i < count; i++)
		n += world->categories[i] != NOT_REPORTED &&
		     world->categories[i] & PAGE_IS_HUGE;
	return n;
}

/* A number of KSM's. */
static long ksm_number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY);

	read(fd, text, sizeof(text) - 1);
	close(fd);
	return strtol(text, NULL, 10);
}

/* How many pages of the run are shared by KSM, of the first ones. */
static unsigned int count_merged(const struct run *whole)
{
	unsigned int i, n = 0, most = 200;

	for (i = whole->first; i < whole->end && most; i++) {
		if (!whole->area->pages[i].mapped)
			continue;
		n += !!(page_flags(whole->world->pagemap, whole->area->addr +
				   i * page_size()) & KPAGE_KSM);
		most--;
	}
	return n;
}

/* Mapping */

static void unmap(const struct run *whole)
{
	unsigned int i;

	if (munmap(run_addr(whole), run_size(whole)))
		fail(whole->world, "munmap: %s", strerror(errno));
	for (i = whole->first; i < whole->end; i++)
		memset(&whole->area->pages[i], 0, sizeof(struct page));
}

static void op_unmap(const struct run *whole)
{
	unmap(whole);
	took_effect(whole);
}

static void op_map(const struct run *whole)
{
	struct area *area = whole->area;
	int flags = memory_is_shared(area->kind) ? MAP_SHARED : MAP_PRIVATE;
	struct run run = *whole;
	unsigned int i;
	off64_t offset;

	if (run.first < area->home)
		run.first = area->home;
	if (run.end > area->home + area->size)
		run.end = area->home + area->size;
	if (run.first >= run.end ||
	    (area->fd < 0 && !memory_is_anon(area->kind)))
		return;
	unmap(&run);

	offset = (run.first - area->home) * page_size();
	if (area->fd < 0) {
		flags |= MAP_ANONYMOUS;
		offset = 0;
	}
	if (mmap64(run_addr(&run), run_size(&run), PROT_READ | PROT_WRITE,
		   flags | MAP_FIXED, area->fd, offset) == MAP_FAILED)
		return;
	if (memory_is_thp(area->kind) &&
	    madvise(run_addr(&run), run_size(&run), MADV_HUGEPAGE))
		fail(run.world, "MADV_HUGEPAGE: %s", strerror(errno));
	for (i = run.first; i < run.end; i++) {
		area->pages[i] = (struct page) {
			.mapped = true,
			.prot = PROT_READ | PROT_WRITE,
			.offset = i - area->home,
		};
	}
	took_effect(whole);
}

/*
 * Move the pages to page @arg[0] of the window, or to where they were at first,
 * so that the mapping may join its old neighbours.
 */
static void op_move(const struct run *whole)
{
	struct world *world = whole->world;
	struct area *area = whole->area;
	struct run run = no_run(whole), to = *whole;
	unsigned int i, count;

	if (!next_run(whole, &run, is_mapped))
		return;
	count = run.end - run.first;
	to.first = whole->op->arg[0] % area->window;
	if (whole->op->arg[1] % 2)
		to.first = area->home + area->pages[run.first].offset;
	to.first -= to.first % area->granule;
	to.end = to.first + count;
	if (to.end > area->window ||
	    (to.first < run.end && run.first < to.end))
		return;
	unmap(&to);
	if (mremap(run_addr(&run), run_size(&run), run_size(&run),
		   MREMAP_MAYMOVE | MREMAP_FIXED, run_addr(&to)) == MAP_FAILED)
		return;

	for (i = 0; i < count; i++) {
		struct page *page = &area->pages[to.first + i];

		*page = area->pages[run.first + i];
		memset(&area->pages[run.first + i], 0, sizeof(*page));
		if (!page->registered)
			continue;
		effect(world, world->remap ? EFFECT_MOVED_TRACKED :
					     EFFECT_MOVED_UNTRACKED);
		if (!world->remap) {
			page->registered = false;
			page->missing = false;
			page->protection = WRITTEN;
		}
	}
	took_effect(whole);
}

/* Make the mapping @arg[0] pages longer, in place. */
static void op_grow(const struct run *whole)
{
	struct area *area = whole->area;
	struct run rest = *whole, run = no_run(whole), room;
	unsigned int i, count;
	struct page last;

	rest.end = area->window;
	if (area->granule > 1 || !next_run(&rest, &run, is_mapped))
		return;
	room = run;
	if (!next_run(&rest, &room, is_unmapped) || room.first != run.end)
		return;
	last = area->pages[run.end - 1];
	count = whole->op->arg[0] % 100 + 1;
	if (count > room.end - room.first)
		count = room.end - room.first;
	if (last.offset + count >= area->window)
		return;
	settle_missing(&run);
	last = area->pages[run.end - 1];
	/* The last page alone, so that there is one mapping for certain. */
	run.first = run.end - 1;
	if (mremap(run_addr(&run), page_size(), (count + 1) * page_size(),
		   0) == MAP_FAILED)
		return;
	for (i = 0; i < count; i++) {
		struct page *page = &area->pages[run.end + i];

		*page = last;
		page->offset = last.offset + i + 1;
		page->copied = false;
		page->value = 0;
		page_written(page);
	}
	room.end = room.first + count;
	find_copied(&room);
	took_effect(whole);
}

static void op_shrink(const struct run *whole)
{
	struct run run = no_run(whole);
	unsigned int keep = whole->area->granule, i;
	char *addr;

	if (!next_run(whole, &run, is_mapped) || run.end - run.first <= keep)
		return;
	addr = run_addr(&run);
	if (mremap(addr, run_size(&run), keep * page_size(), 0) != addr)
		fail(run.world, "shrinking: %s", strerror(errno));
	for (i = run.first + keep; i < run.end; i++)
		memset(&run.area->pages[i], 0, sizeof(struct page));
	took_effect(whole);
}

static void op_mprotect(const struct run *whole)
{
	static const int prots[] = {
		PROT_READ | PROT_WRITE, PROT_READ, PROT_READ | PROT_WRITE,
		PROT_NONE,
	};
	int prot = prots[whole->op->arg[0] % 4];
	struct run run;
	unsigned int i;

	settle_missing(whole);
	run = no_run(whole);
	while (next_run(whole, &run, is_mapped)) {
		if (mprotect(run_addr(&run), run_size(&run), prot))
			fail(run.world, "mprotect: %s", strerror(errno));
		for (i = run.first; i < run.end; i++) {
			struct page *page = &run.area->pages[i];

			/* Populates a locked mapping as if by a write. */
			if (page->locked && prot & PROT_WRITE)
				page_undecided(page);
			page->prot = prot;
		}
		find_copied(&run);
		took_effect(whole);
	}
}

static void op_mlock(const struct run *whole)
{
	struct run run;
	unsigned int i;

	settle_missing(whole);
	run = no_run(whole);
	while (next_run(whole, &run, is_mapped)) {
		/* Fails where a page can't be populated, but locks all. */
		mlock(run_addr(&run), run_size(&run));
		if (!memory_is_shared(run.area->kind))
			run_undecided(&run);
		for (i = run.first; i < run.end; i++)
			run.area->pages[i].locked =
				!memory_is_hugetlb(run.area->kind);
		find_copied(&run);
		took_effect(whole);
	}
}

static void op_munlock(const struct run *whole)
{
	struct run run;
	unsigned int i;

	run = no_run(whole);
	while (next_run(whole, &run, is_mapped)) {
		if (munlock(run_addr(&run), run_size(&run)))
			fail(run.world, "munlock: %s", strerror(errno));
		for (i = run.first; i < run.end; i++)
			run.area->pages[i].locked = false;
		took_effect(whole);
	}
}

/* Access */

static bool force_write(const struct run *run, void *addr, unsigned int value)
{
	return pwrite64(run->world->mem, &value, sizeof(value),
			address(addr)) == sizeof(value);
}

static bool kernel_write(const struct run *run, void *addr, unsigned int value)
{
	pwrite(run->world->pattern, &value, sizeof(value), 0);
	return pread(run->world->pattern, addr, sizeof(value), 0) ==
	       sizeof(value);
}

static bool process_write(const struct run *run, void *addr,
			  unsigned int value)
{
	struct iovec local = { &value, sizeof(value) };
	struct iovec remote = { addr, sizeof(value) };

	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) ==
	       sizeof(value);
}

static bool store(const struct run *run, void *addr, unsigned int value)
{
	touch_write(addr, value);
	return true;
}

/* A page has its value in the first and in the last word. */
static void write_page(const struct run *run, unsigned int number,
		       unsigned int how, unsigned int value)
{
	static bool (* const ways[])(const struct run *run, void *addr,
				     unsigned int value) = {
		store, kernel_write, process_write, force_write,
	};
	char *addr = run->area->addr + number * page_size();

	if (!ways[how](run, addr, value) ||
	    !ways[how](run, addr + page_size() - sizeof(value), value))
		fail(run->world, "writing by way %u: %s", how,
		     strerror(errno));
}

/*
 * Write @arg[0] and what follows, the same to all pages where @arg[2] says so,
 * in the way that @arg[1] says.
 */
static void op_write(const struct run *whole)
{
	const struct op *op = whole->op;
	struct area *area = whole->area;
	unsigned int i, how = op->arg[1] % 4, value = op->arg[0], calls = 0;

	for (i = whole->first; i < whole->end; i++) {
		struct page *page = &area->pages[i];
		bool forced = how == 3 && !memory_is_shared(area->kind) &&
			      area->granule == 1 && page->mapped &&
			      page_has_contents(area, page);

		if ((!is_writable(area, page) && !forced) ||
		    !is_there(whole, i))
			continue;
		write_page(whole, i, how, value);
		model_write(area, i, value);
		if (forced && !(page->prot & PROT_WRITE))
			effect(whole->world, EFFECT_FORCED_WRITE);
		else if (how)
			effect(whole->world, EFFECT_KERNEL_WRITE);
		if (!op->arg[2])
			value++;
		took_effect(whole);
		if (how && ++calls == MAX_CALLS)
			how = 0;
		/* A part of a huge page that cannot be split is enough. */
		if (area->granule > 1)
			i += op->arg[3] % 300;
	}
}

/* A page of which the contents went after MADV_FREE. */
static void found_dropped(struct world *world, struct page *page)
{
	bool vague = page->vague && page->protection != WRITTEN;

	page_dropped(page);
	if (vague)
		page->protection = UNDECIDED;
	effect(world, EFFECT_FREED);
}

static void check_contents(const struct run *whole, unsigned int number)
{
	struct area *area = whole->area;
	struct page *page = &area->pages[number];
	char *addr = area->addr + number * page_size();
	unsigned int first, last, expected = page_value(area, page);

	first = touch_read(addr);
	last = touch_read(addr + page_size() - sizeof(last));
	if (first == expected && last == expected)
		return;
	if (page->lazy && !first && !last) {
		found_dropped(whole->world, page);
		return;
	}
	fail(whole->world, "page %zu has the contents %#x %#x, not %#x",
	     page_number(whole->world, addr), first, last, expected);
}

static void op_read(const struct run *whole)
{
	unsigned int i;

	for (i = whole->first; i < whole->end; i++) {
		if (!is_accessible(whole->area, &whole->area->pages[i]) ||
		    !is_there(whole, i))
			continue;
		check_contents(whole, i);
		took_effect(whole);
	}
	/* In a hole of its file, a private mapping gets a page of its own. */
	if (memory_is_hugetlb(whole->area->kind))
		find_copied(whole);
}

static void op_populate(const struct run *whole)
{
	bool write = whole->op->arg[0] % 2;
	struct run run;

	settle_missing(whole);
	run = no_run(whole);
	while (next_run(whole, &run, write ? is_writable : is_accessible)) {
		if (madvise(run_addr(&run), run_size(&run),
			    write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ))
			fail(run.world, "populating: %s", strerror(errno));
		/* A write fault that wrote nothing */
		if (write)
			run_undecided(&run);
		find_copied(&run);
		took_effect(whole);
	}
}

/* Advice */

static void op_dontneed(const struct run *whole)
{
	struct run run;
	unsigned int i;

	run = no_run(whole);
	while (next_run(whole, &run, is_unlocked)) {
		if (madvise(run_addr(&run), run_size(&run), MADV_DONTNEED))
			fail(run.world, "MADV_DONTNEED: %s", strerror(errno));
		for (i = run.first; i < run.end; i++) {
			if (page_is_own(run.area, &run.area->pages[i]))
				page_dropped(&run.area->pages[i]);
		}
		took_effect(whole);
	}
}

static void op_free(const struct run *whole)
{
	struct run run;
	unsigned int i;

	if (!memory_is_anon(whole->area->kind))
		return;
	run = no_run(whole);
	while (next_run(whole, &run, is_unlocked)) {
		if (madvise(run_addr(&run), run_size(&run), MADV_FREE))
			fail(run.world, "MADV_FREE: %s", strerror(errno));
		for (i = run.first; i < run.end; i++) {
			struct page *page = &run.area->pages[i];

			if (page->lazy)
				continue;
			page->lazy = true;
			page->vague = false;
		}
		took_effect(whole);
	}
}

static void op_pageout(const struct run *whole)
{
	unsigned int before = count_entries(whole, entry_is_swapped), after;
	struct run run;

	if (memory_is_hugetlb(whole->area->kind))
		return;
	if (whole->area->fd >= 0)
		fsync(whole->area->fd);
	drain_page_lists();
	run = no_run(whole);
	while (next_run(whole, &run, is_unlocked)) {
		if (madvise(run_addr(&run), run_size(&run), MADV_PAGEOUT))
			fail(run.world, "MADV_PAGEOUT: %s", strerror(errno));
		took_effect(whole);
	}
	after = count_entries(whole, entry_is_swapped);
	if (after > before)
		effect(whole->world, EFFECT_SWAPPED_OUT);
}

static void op_cold(const struct run *whole)
{
	struct run run;

	if (memory_is_hugetlb(whole->area->kind))
		return;
	run = no_run(whole);
	while (next_run(whole, &run, is_unlocked)) {
		if (madvise(run_addr(&run), run_size(&run), MADV_COLD))
			fail(run.world, "MADV_COLD: %s", strerror(errno));
		took_effect(whole);
	}
}

static void op_willneed(const struct run *whole)
{
	struct run run;

	run = no_run(whole);
	while (next_run(whole, &run, is_mapped)) {
		if (!madvise(run_addr(&run), run_size(&run), MADV_WILLNEED))
			took_effect(whole);
	}
}

/* Attributes that split and join mappings. */
static void op_advise(const struct run *whole)
{
	static const int advices[] = {
		MADV_DONTFORK, MADV_DOFORK, MADV_DONTDUMP, MADV_DODUMP,
		MADV_SEQUENTIAL, MADV_RANDOM, MADV_NORMAL,
	};
	int advice = advices[whole->op->arg[0] % 7];
	struct run run;
	unsigned int i;

	run = no_run(whole);
	while (next_run(whole, &run, is_mapped)) {
		if (madvise(run_addr(&run), run_size(&run), advice))
			continue;
		for (i = run.first; i < run.end; i++) {
			struct page *page = &run.area->pages[i];

			if (advice == MADV_DONTFORK || advice == MADV_DOFORK)
				page->dontfork = advice == MADV_DONTFORK;
		}
		took_effect(whole);
	}
}

/* Files */

/* The run as pages of the file. */
static struct run file_run(const struct run *whole)
{
	unsigned int home = whole->area->home;
	struct run run = *whole;

	run.first = run.first > home ? run.first - home : 0;
	run.end = run.end > home ? run.end - home : 0;
	return run;
}

/* The contents of pages of the file from @first on become 0. */
static void file_dropped(struct area *area, unsigned int first,
			 unsigned int end)
{
	unsigned int i;

	for (i = first; i < end; i++)
		area->file[i] = 0;
}

static void op_punch(const struct run *whole)
{
	struct area *area = whole->area;
	struct run run = file_run(whole);
	unsigned int i;

	if (area->fd < 0 || run.first >= run.end)
		return;
	if (fallocate64(area->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off64_t)run.first * page_size(), run_size(&run)))
		fail(run.world, "punching: %s", strerror(errno));
	file_dropped(area, run.first, run.end);
	for (i = 0; i < area->window; i++) {
		struct page *page = &area->pages[i];

		if (!page->mapped || page->offset < run.first ||
		    page->offset >= run.end)
			continue;
		/* hugetlbfs takes the copies as well. */
		if (page->copied && memory_is_hugetlb(area->kind))
			page_dropped(page);
		else if (page->copied)
			continue;
		else if (page_has_contents(area, page))
			page_written(page);
		else
			page_undecided(page);
	}
	took_effect(whole);
}

/* To where the operation begins, or rather to the first size again. */
static void op_truncate(const struct run *whole)
{
	struct area *area = whole->area;
	unsigned int i, size = file_run(whole).first;

	if (area->fd < 0)
		return;
	if (whole->op->arg[0] % 2 || size > area->size)
		size = area->size;
	if (ftruncate64(area->fd, (off64_t)size * page_size()))
		fail(whole->world, "truncating: %s", strerror(errno));
	for (i = 0; i < area->window; i++) {
		struct page *page = &area->pages[i];

		if (!page->mapped || page->offset < size)
			continue;
		if (size <= area->file_size &&
		    (page->copied || page->offset < area->file_size))
			page_dropped(page);
		else
			page_undecided(page);
	}
	file_dropped(area, size, area->window);
	area->file_size = size;
	took_effect(whole);
}

/* By write(2), which is not tracked. */
static void op_file_write(const struct run *whole)
{
	unsigned int value = whole->op->arg[0], i;
	struct area *area = whole->area;
	struct run run = file_run(whole);

	if (area->fd < 0 || memory_is_hugetlb(area->kind))
		return;
	for (i = run.first; i < run.end && i < area->file_size; i++) {
		off64_t offset = (off64_t)i * page_size();

		value++;
		if (pwrite64(area->fd, &value, sizeof(value), offset) !=
		    sizeof(value) ||
		    pwrite64(area->fd, &value, sizeof(value),
			     offset + page_size() - sizeof(value)) !=
		    sizeof(value))
			fail(run.world, "writing to the file: %s",
			     strerror(errno));
		area->file[i] = value;
		took_effect(whole);
	}
}

static void op_sync(const struct run *whole)
{
	if (whole->area->fd < 0)
		return;
	fsync(whole->area->fd);
	took_effect(whole);
}

/* Pages that move about */

static void op_split(const struct run *whole)
{
	unsigned int before;
	char text[80];

	if (memory_is_hugetlb(whole->area->kind))
		return;
	before = count_huge(whole);
	if (!before)
		return;
	snprintf(text, sizeof(text), "%d,%#llx,%#llx", getpid(),
		 (unsigned long long)address(run_addr(whole)),
		 (unsigned long long)address(run_addr(whole)) +
		 run_size(whole));
	tunable_write("/sys/kernel/debug/split_huge_pages", text);
	took_effect(whole);
	if (count_huge(whole) < before)
		effect(whole->world, EFFECT_SPLIT);
}

static void move_to_node(const struct run *run, int node)
{
	const unsigned int step = run->area->granule;
	unsigned int i, n = 0;
	int nodes[16], status[16];
	void *pages[16];

	/* A 32-bit caller gets the right answer for 16 pages at a time. */
	for (i = run->first; i < run->end; i += step) {
		pages[n] = run->area->addr + i * page_size();
		nodes[n++] = node;
		if (n < 16 && i + step < run->end)
			continue;
		syscall(__NR_move_pages, 0, (long)n, pages, nodes, status,
			MPOL_MF_MOVE_ALL);
		n = 0;
	}
}

/* To node @arg[0]; where there is one only, to somewhere else. */
static void op_migrate(const struct run *whole)
{
	struct world *world = whole->world;
	unsigned int first = page_number(world, run_addr(whole)), i, n;
	struct run run;

	n = whole->end - whole->first;
	pagemap_read(world, first, n, world->entries_after);
	run = no_run(whole);
	while (next_run(whole, &run, is_mapped)) {
		if (!access("/sys/devices/system/node/node1", F_OK)) {
			move_to_node(&run, whole->op->arg[0] % 2);
		} else if (whole->area->granule == 1) {
			for (i = run.first; i < run.end && i < run.first + 3;
			     i++)
				madvise(whole->area->addr + i * page_size(),
					page_size(), MADV_SOFT_OFFLINE);
		}
		took_effect(whole);
	}
	pagemap_read(world, first, n, world->entries);
	for (i = 0; i < n; i++) {
		__u64 before = world->entries_after[i];
		__u64 after = world->entries[i];

		if (before & after & PAGEMAP_PRESENT &&
		    (before ^ after) & PAGEMAP_PFN) {
			effect(world, EFFECT_MIGRATED);
			break;
		}
	}
}

static void op_merge(const struct run *whole)
{
	struct run some = *whole;
	long scans = ksm_number(KSM "full_scans");
	long before = ksm_number(KSM "pages_sharing");
	struct run run;
	int tries;

	/* Not too many, but whole granules. */
	while (some.end - some.first >= MAX_CALLS + some.area->granule)
		some.end -= some.area->granule;
	settle_missing(&some);
	run = no_run(&some);
	while (next_run(&some, &run, can_merge)) {
		if (madvise(run_addr(&run), run_size(&run), MADV_MERGEABLE))
			fail(run.world, "MADV_MERGEABLE: %s", strerror(errno));
		took_effect(whole);
	}
	if (!whole->world->outcome->took_effect[OP_MERGE])
		return;
	tunable_write(KSM "run", "1");
	/* A page must have been the same in two scans. */
	for (tries = 0;
	     tries < 300 && ksm_number(KSM "full_scans") < scans + 3; tries++)
		usleep(3000);
	tunable_write(KSM "run", "0");
	if (ksm_number(KSM "pages_sharing") > before)
		effect(whole->world, EFFECT_MERGED);
}

static void op_unmerge(const struct run *whole)
{
	unsigned int before = count_merged(whole);
	struct run run;

	settle_missing(whole);
	run = no_run(whole);
	while (next_run(whole, &run, can_merge)) {
		if (madvise(run_addr(&run), run_size(&run), MADV_UNMERGEABLE))
			fail(run.world, "MADV_UNMERGEABLE: %s",
			     strerror(errno));
		took_effect(whole);
	}
	if (count_merged(whole) < before)
		effect(whole->world, EFFECT_UNMERGED);
}

/* userfaultfd */

static void op_register(const struct run *whole)
{
	struct run run;
	unsigned int i;

	run = no_run(whole);
	while (next_run(whole, &run, is_mapped)) {
		if (uffd_register(run.world->uffd, run_addr(&run),
				  run_size(&run), UFFDIO_REGISTER_MODE_WP,
				  NULL))
			fail(run.world, "UFFDIO_REGISTER: %s",
			     strerror(errno));
		for (i = run.first; i < run.end; i++) {
			struct page *page = &run.area->pages[i];

			if (!page->registered)
				page->protection = WRITTEN;
			page->registered = true;
		}
		took_effect(whole);
	}
}

static void op_unregister(const struct run *whole)
{
	struct run run;
	unsigned int i;

	run = no_run(whole);
	while (next_run(whole, &run, is_registered)) {
		if (uffd_unregister(run.world->uffd, run_addr(&run),
				    run_size(&run)))
			fail(run.world, "UFFDIO_UNREGISTER: %s",
			     strerror(errno));
		for (i = run.first; i < run.end; i++) {
			run.area->pages[i].registered = false;
			run.area->pages[i].missing = false;
			run.area->pages[i].protection = WRITTEN;
		}
		took_effect(whole);
	}
}

/* Of one mapping; false where the pages are not in one. */
static bool protect_run(const struct run *run, bool protect)
{
	unsigned int i, tries = 0;

	while (uffd_protect(run->world->uffd, run_addr(run), run_size(run),
			    protect)) {
		/* The message of mremap() is being delivered. */
		if (errno == EAGAIN && ++tries < 1000) {
			usleep(1000);
			continue;
		}
		if (errno == ENOENT)
			return false;
		fail(run->world, "UFFDIO_WRITEPROTECT: %s", strerror(errno));
	}
	for (i = run->first; i < run->end; i++) {
		struct page *page = &run->area->pages[i];

		if (protect && page->lazy)
			page->vague = true;
		page->protection = protect ? PROTECTED : WRITTEN;
	}
	return true;
}

static void change_protection(const struct run *whole, bool protect)
{
	unsigned int step = whole->area->granule;
	struct run run, part;

	run = no_run(whole);
	while (next_run(whole, &run, is_registered)) {
		if (protect_run(&run, protect))
			continue;
		part = run;
		for (; part.first < run.end; part.first += step) {
			part.end = part.first + step;
			if (!protect_run(&part, protect))
				fail(run.world, "one page was not found");
		}
	}
}

static void op_protect(const struct run *whole)
{
	change_protection(whole, true);
	took_effect(whole);
}

static void op_unprotect(const struct run *whole)
{
	change_protection(whole, false);
	took_effect(whole);
}

/* Protected pages are not collapsed: where @arg[0] says so, there are none. */
static void op_collapse(const struct run *whole)
{
	unsigned int huge = huge_size() / page_size(), before, after;
	struct run aligned = *whole, run;

	if (memory_is_hugetlb(whole->area->kind))
		return;
	aligned.first -= aligned.first % huge;
	aligned.end = (aligned.end + huge - 1) / huge * huge;
	if (whole->op->arg[0] % 2)
		change_protection(&aligned, false);
	before = count_huge(&aligned);
	run = no_run(&aligned);
	while (next_run(&aligned, &run, is_mapped)) {
		if (!madvise(run_addr(&run), run_size(&run), MADV_COLLAPSE))
			took_effect(whole);
	}
	after = count_huge(&aligned);
	if (after > before)
		effect(whole->world, EFFECT_COLLAPSED);
}

/* What a granule that is copied has: the value in its first page. */
static void copy_granule(const struct run *whole, unsigned int first,
			 char *source, bool protect)
{
	struct area *area = whole->area;
	unsigned int value = touch_read(source), i;

	if (uffd_copy(whole->world->uffd, area->addr + first * page_size(),
		      source, area->granule * page_size(),
		      protect ? UFFDIO_COPY_MODE_WP : 0)) {
		if (errno != EEXIST && errno != EFAULT && errno != ENOENT)
			fail(whole->world, "UFFDIO_COPY: %s", strerror(errno));
		return;
	}
	for (i = 0; i < area->granule; i++)
		model_write(area, first + i, i ? 0 : value);
	for (i = 0; i < area->granule; i++)
		area->pages[first + i].protection = protect ? PROTECTED :
							      WRITTEN;
	if (protect)
		effect(whole->world, EFFECT_COPIED_PROTECTED);
	took_effect(whole);
}

/*
 * Copy to pages that are missing: protected where @arg[1] says so, and with
 * protection before where @arg[2] does.
 */
static void op_copy(const struct run *whole)
{
	struct world *world = whole->world;
	struct area *area = whole->area;
	unsigned int value = whole->op->arg[0], i;
	struct run run = no_run(whole);
	char *source;

	if (area->kind == MEMORY_EXT4_PRIVATE ||
	    area->kind == MEMORY_EXT4_SHARED ||
	    !next_run(whole, &run, is_registered))
		return;
	if (uffd_unregister(world->uffd, run_addr(&run), run_size(&run)) ||
	    uffd_register(world->uffd, run_addr(&run), run_size(&run),
			  UFFDIO_REGISTER_MODE_WP |
			  UFFDIO_REGISTER_MODE_MISSING, NULL))
		fail(world, "registering for missing pages: %s",
		     strerror(errno));
	for (i = run.first; i < run.end; i++) {
		area->pages[i].missing = true;
		area->pages[i].protection = WRITTEN;
	}
	if (whole->op->arg[2] % 2)
		change_protection(&run, true);

	source = calloc(area->granule, page_size());
	for (i = run.first; i < run.end; i += area->granule) {
		value++;
		touch_write(source, value);
		touch_write(source + page_size() - sizeof(value), value);
		if (page_has_contents(area, &area->pages[i]))
			copy_granule(&run, i, source, whole->op->arg[1] % 2);
	}
	free(source);
}

/* Other processes */

/* As a child sees it: nothing is registered. */
static void become_child(struct world *world)
{
	unsigned int a, i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(CHILD_SECONDS);
	close(world->pagemap);
	world->pagemap = pagemap_open(getpid());
	for (a = 0; a < AREAS; a++) {
		struct area *area = &world->areas[a];

		for (i = 0; i < area->window; i++) {
			struct page *page = &area->pages[i];

			page->registered = false;
			page->missing = false;
			page->locked = false;
			if (page->dontfork)
				memset(page, 0, sizeof(*page));
		}
	}
}

static void in_child(const struct run *whole)
{
	struct world *world = whole->world;
	unsigned int first = page_number(world, run_addr(whole));

	/* The parent, which waits, and then the child itself. */
	check_range(world, first, whole->end - whole->first, LAYOUT_PM);
	become_child(world);
	check_range(world, first, whole->end - whole->first, LAYOUT_VER1);
	op_read(whole);
	op_write(whole);
	op_read(whole);
	check_range(world, first, whole->end - whole->first, LAYOUT_VER0);
	_exit(0);
}

/* The child reads, writes and scans. */
static void op_fork(const struct run *whole)
{
	struct area *area = whole->area;
	unsigned int value = whole->op->arg[0], i;
	struct op write = *whole->op;
	struct run child = *whole;
	int status;
	pid_t pid;

	write.code = OP_WRITE;
	write.arg[1] = 0;
	write.arg[2] = 0;
	write.arg[3] = 0;
	child.op = &write;
	pid = fork();
	if (pid < 0)
		fail(whole->world, "fork: %s", strerror(errno));
	if (!pid)
		in_child(&child);
	if (waitpid(pid, &status, 0) != pid || status) {
		if (!whole->world->outcome->message[0])
			fail(whole->world, "a child ended with status %#x",
			     status);
		_exit(1);
	}
	effect(whole->world, EFFECT_CHILD_SCANNED);
	took_effect(whole);

	/* What it wrote to files is seen, but not tracked. */
	for (i = whole->first; i < whole->end; i++) {
		struct page *page = &area->pages[i];

		if (page->dontfork || !is_writable(area, page))
			continue;
		if (memory_is_shared(area->kind))
			area->file[page->offset] = value;
		value++;
	}
}

/* The machine */

static void op_swapoff(struct world *world)
{
	unsigned int i, before = 0, after = 0;

	pagemap_read(world, 0, world->pages, world->entries);
	for (i = 0; i < world->pages; i++)
		before += entry_is_swapped(world->entries[i]);
	if (machine_swap_off())
		return;
	if (machine_swap_on())
		fail(world, "swap can't be switched on again");
	pagemap_read(world, 0, world->pages, world->entries);
	for (i = 0; i < world->pages; i++)
		after += entry_is_swapped(world->entries[i]);
	if (after < before)
		effect(world, EFFECT_SWAPPED_IN);
	world->outcome->took_effect[OP_SWAPOFF]++;
}

static void tunable_op(struct world *world, const struct op *op,
		       const char *path, const char *value)
{
	if (!tunable_write(path, value))
		world->outcome->took_effect[op->code]++;
}

/* The pages of a scan, in all areas. */
static struct op scan_op(struct world *world, const struct op *op)
{
	struct op scan = *op;

	scan.first %= world->pages;
	if (!scan.count)
		scan.count = 1;
	if (scan.count > world->pages - scan.first)
		scan.count = world->pages - scan.first;
	return scan;
}

/**
 * op_run() - carry out an operation
 * @world:	what it is run on
 * @op:		the operation
 */
void op_run(struct world *world, const struct op *op)
{
	static void (* const memory_ops[])(const struct run *whole) = {
		[OP_MAP] = op_map,
		[OP_UNMAP] = op_unmap,
		[OP_WRITE] = op_write,
		[OP_READ] = op_read,
		[OP_POPULATE] = op_populate,
		[OP_DONTNEED] = op_dontneed,
		[OP_FREE] = op_free,
		[OP_PAGEOUT] = op_pageout,
		[OP_COLD] = op_cold,
		[OP_WILLNEED] = op_willneed,
		[OP_COLLAPSE] = op_collapse,
		[OP_PUNCH] = op_punch,
		[OP_TRUNCATE] = op_truncate,
		[OP_FILE_WRITE] = op_file_write,
		[OP_SYNC] = op_sync,
		[OP_MOVE] = op_move,
		[OP_GROW] = op_grow,
		[OP_SHRINK] = op_shrink,
		[OP_MPROTECT] = op_mprotect,
		[OP_MLOCK] = op_mlock,
		[OP_MUNLOCK] = op_munlock,
		[OP_FORK] = op_fork,
		[OP_SPLIT] = op_split,
		[OP_MIGRATE] = op_migrate,
		[OP_MERGE] = op_merge,
		[OP_UNMERGE] = op_unmerge,
		[OP_ADVISE] = op_advise,
		[OP_REGISTER] = op_register,
		[OP_UNREGISTER] = op_unregister,
		[OP_PROTECT] = op_protect,
		[OP_UNPROTECT] = op_unprotect,
		[OP_COPY] = op_copy,
	};
	struct op scan = scan_op(world, op);
	struct run run;

	switch (op->code) {
	case OP_SWAPOFF:
		op_swapoff(world);
		return;
	case OP_COMPACT:
		tunable_op(world, op, "/proc/sys/vm/compact_memory", "1");
		return;
	case OP_CLEAR_SOFT_DIRTY:
		tunable_op(world, op, "/proc/self/clear_refs", "4");
		return;
	case OP_DROP_CACHES:
		tunable_op(world, op, "/proc/sys/vm/drop_caches", "1");
		return;
	case OP_SCAN:
		check_scan(world, &scan);
		break;
	case OP_UNION:
		check_union(world, &scan);
		break;
	case OP_SCAN_FAULT:
		check_fault(world, &scan);
		break;
	default:
		run = whole_run(world, op);
		memory_ops[op->code](&run);
		return;
	}
	world->outcome->took_effect[op->code]++;
}

/* The world */

/* Async mode sends no message of a write; mremap() waits for its own. */
static void *read_events(void *arg)
{
	struct world *world = arg;
	struct pollfd events = { .fd = world->uffd, .events = POLLIN };
	struct uffd_msg message;

	for (;;) {
		if (poll(&events, 1, -1) < 0)
			continue;
		if (read(world->uffd, &message, sizeof(message)) !=
		    sizeof(message))
			continue;
		if (message.event != UFFD_EVENT_REMAP)
			fail(world, "the userfaultfd got the message %#x, flags %#llx, at %#llx",
			     message.event,
			     (unsigned long long)message.arg.pagefault.flags,
			     (unsigned long long)message.arg.pagefault.address);
	}
	return NULL;
}

static void create_uffd(struct world *world)
{
	__u64 features = UFFD_FEATURE_WP_ASYNC;
	pthread_t thread;

	if (world->remap)
		features |= UFFD_FEATURE_EVENT_REMAP;
	world->uffd = uffd_create(0, &features);
	if (world->uffd < 0 ||
	    pthread_create(&thread, NULL, read_events, world))
		fail(world, "userfaultfd: %s", strerror(errno));
}

/**
 * area_layout() - set how large an area is
 * @area:	of which the kind is known
 */
void area_layout(struct area *area)
{
	unsigned int huge = huge_size() / page_size();

	area->granule = 1;
	if (memory_is_hugetlb(area->kind)) {
		area->granule = huge;
		area->home = huge;
		area->size = 3 * huge;
		area->window = 6 * huge;
	} else if (memory_is_thp(area->kind)) {
		area->home = huge;
		area->size = 2 * huge + huge / 2;
		area->window = 5 * huge;
	} else {
		/* Across the border of two page tables */
		area->home = huge - 32;
		area->size = 96;
		area->window = 2 * huge;
	}
}

/* The file behind shared anonymous memory. */
static int open_shmem(struct area *area)
{
	unsigned long long size = area->size * page_size();
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/map_files/%llx-%llx",
		 (unsigned long long)address(p),
		 (unsigned long long)address(p) + size);
	fd = open(path, O_RDWR | O_CLOEXEC);
	munmap(p, size);
	return fd;
}

static void create_file(struct world *world, struct area *area)
{
	struct memory memory;
	unsigned int i;

	area->file = calloc(area->window, sizeof(*area->file));
	area->fd = -1;
	if (memory_is_anon(area->kind))
		return;
	if (area->kind == MEMORY_SHMEM) {
		area->fd = open_shmem(area);
	} else if (!memory_map(&memory, area->kind)) {
		area->fd = dup(memory.fd);
		memory_unmap(&memory);
	}
	area->file_size = area->size;
	if (area->fd < 0 ||
	    ftruncate64(area->fd, (off64_t)area->size * page_size()))
		fail(world, "a file: %s", strerror(errno));
	for (i = 0; i < area->size; i++) {
		if (pread64(area->fd, &area->file[i], sizeof(*area->file),
			    (off64_t)i * page_size()) != sizeof(*area->file))
			fail(world, "reading a file: %s", strerror(errno));
	}
}

static void create_buffers(struct world *world)
{
	size_t size = ((world->pages + 1) * sizeof(struct page_region) |
		       (page_size() - 1)) + 1;
	char *vec = mmap(NULL, size + page_size(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(vec + size, page_size(), PROT_NONE);
	memset(vec, 0, size);
	world->vec_end = vec + size;
	world->entries = calloc(world->pages, sizeof(__u64));
	world->entries_after = calloc(world->pages, sizeof(__u64));
	world->categories = calloc(world->pages, sizeof(__u64));
	world->spread = calloc(world->pages, sizeof(__u64));
	world->expected = calloc(world->pages + 1, sizeof(*world->expected));
}

static void find_zero_page(struct world *world)
{
	char *p = map_pages(1, PROT_READ);

	touch_read(p);
	world->zero_pfn = pagemap_entry(world->pagemap, p) & PAGEMAP_PFN;
	munmap(p, page_size());
}

/**
 * world_create() - make what a program is run on
 * @world:	is filled in
 * @setting:	what it shall be
 * @outcome:	where to say what happens
 */
void world_create(struct world *world, const struct setting *setting,
		  struct outcome *outcome)
{
	unsigned int i;

	memset(world, 0, sizeof(*world));
	world->outcome = outcome;
	world->remap = setting->remap;
	world->base = (char *)(uintptr_t)BASE;
	world->pagemap = pagemap_open(getpid());
	world->mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	world->pattern = syscall(__NR_memfd_create, "pattern", 0);
	/* A run that failed may have left it off. */
	machine_swap_off();
	machine_swap_on();
	for (i = 0; i < AREAS; i++) {
		struct area *area = &world->areas[i];

		area->kind = setting->kinds[i];
		area_layout(area);
		area->addr = world->base + world->pages * page_size();
		area->pages = calloc(area->window, sizeof(struct page));
		create_file(world, area);
		world->pages += area->window;
	}
	create_buffers(world);
	find_zero_page(world);
	create_uffd(world);
	for (i = 0; i < AREAS; i++) {
		struct op map = {
			.code = OP_MAP,
			.area = i,
			.count = world->areas[i].window,
		};

		op_run(world, &map);
	}
}

/**
 * world_check() - check all answers, all contents, and all answers again
 * @world:	what a program was run on
 */
void world_check(struct world *world)
{
	unsigned int i;

	for (i = 0; i < AREAS; i++)
		check_huge(world, &world->areas[i]);
	check_range(world, 0, world->pages, LAYOUT_VER1);
	for (i = 0; i < AREAS; i++) {
		struct op read = {
			.code = OP_READ,
			.area = i,
			.count = world->areas[i].window,
		};

		op_run(world, &read);
	}
	check_range(world, 0, world->pages, LAYOUT_PM);
}
