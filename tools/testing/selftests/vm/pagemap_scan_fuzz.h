/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of pagemap_scan_fuzz share.
 *
 * A program is a list of operations on some areas of memory, made from a seed
 * (_fuzz.c).  Each operation is concrete data, and does nothing where it does
 * not fit what the operations before it left, so that any part of a program
 * is a program, too (_ops.c).  Whoever runs it keeps a model of what the
 * interface promises of each page, and compares each scan with it (_model.c).
 */
#ifndef __PAGEMAP_SCAN_FUZZ_H
#define __PAGEMAP_SCAN_FUZZ_H

#include "pagemap_scan_util.h"

#define AREAS		3
#define MAX_PROGRAM	100000

/*
 * What an operation does.
 *
 * Those up to OP_LAST_MEMORY are for the pages @first to @first + @count of
 * one area; the files' for those pages of its file.
 */
enum op_code {
	OP_MAP,
	OP_UNMAP,
	OP_WRITE,
	OP_READ,
	OP_POPULATE,
	OP_DONTNEED,
	OP_FREE,
	OP_PAGEOUT,
	OP_COLD,
	OP_WILLNEED,
	OP_COLLAPSE,
	OP_PUNCH,
	OP_TRUNCATE,
	OP_FILE_WRITE,
	OP_SYNC,
	OP_MOVE,
	OP_GROW,
	OP_SHRINK,
	OP_MPROTECT,
	OP_MLOCK,
	OP_MUNLOCK,
	OP_FORK,
	OP_SPLIT,
	OP_MIGRATE,
	OP_MERGE,
	OP_UNMERGE,
	OP_ADVISE,
	OP_REGISTER,
	OP_UNREGISTER,
	OP_PROTECT,
	OP_UNPROTECT,
	OP_COPY,
	OP_LAST_MEMORY = OP_COPY,
	OP_SWAPOFF,
	OP_COMPACT,
	OP_CLEAR_SOFT_DIRTY,
	OP_DROP_CACHES,
	OP_SCAN,
	OP_UNION,
	OP_SCAN_FAULT,
	OP_CODES,
};

/**
 * struct op - an operation
 * @code:	OP_*
 * @area:	index of the area
 * @first:	first page in the area, or of all areas for a scan
 * @count:	pages
 * @arg:	what else it needs: see the operation
 */
struct op {
	unsigned int code;
	unsigned int area;
	unsigned int first;
	unsigned int count;
	unsigned int arg[4];
};

/* Arguments of a scan: the masks, vec_len, max_pages, and how. */
#define SCAN_MASK(op, n)	(((op)->arg[0] >> (8 * (n))) & 0xff)
#define SCAN_LAYOUT(op)		((op)->arg[3] & 3)
#define SCAN_FLAGS(op)		(((op)->arg[3] >> 2) & 3)
#define SCAN_SMAPS(op)		(((op)->arg[3] >> 4) & 1)

/*
 * What operations bring about, or scans meet.
 *
 * Each must happen in the fixed programs as a whole.
 */
enum effect {
	EFFECT_THP,
	EFFECT_SHMEM_THP,
	EFFECT_HUGE_ZERO,
	EFFECT_ZERO,
	EFFECT_THP_PROTECTED,
	EFFECT_THP_CUT,
	EFFECT_HUGETLB_PROTECTED,
	EFFECT_HUGETLB_HOLE,
	EFFECT_MARKER,
	EFFECT_SWAPPED,
	EFFECT_SWAPPED_PROTECTED,
	EFFECT_FILE,
	EFFECT_COPIED,
	EFFECT_SOFT_DIRTY,
	EFFECT_SOFT_CLEAN,
	EFFECT_WRITTEN,
	EFFECT_UNWRITTEN,
	EFFECT_UNREGISTERED,
	EFFECT_MAYBE,
	EFFECT_ENGAGED,
	EFFECT_STOP_VEC,
	EFFECT_STOP_PAGES,
	EFFECT_EPERM,
	EFFECT_EINVAL,
	EFFECT_EFAULT,
	EFFECT_SWAPPED_OUT,
	EFFECT_SWAPPED_IN,
	EFFECT_FREED,
	EFFECT_COLLAPSED,
	EFFECT_SPLIT,
	EFFECT_MIGRATED,
	EFFECT_MERGED,
	EFFECT_UNMERGED,
	EFFECT_MOVED_TRACKED,
	EFFECT_MOVED_UNTRACKED,
	EFFECT_COPIED_PROTECTED,
	EFFECT_CHILD_SCANNED,
	EFFECT_FORCED_WRITE,
	EFFECT_KERNEL_WRITE,
	EFFECT_SMAPS,
	EFFECT_UNION,
	EFFECTS,
};

extern const char * const op_names[OP_CODES];
extern const char * const effect_names[EFFECTS];

/**
 * struct outcome - what a run leaves for whoever started it, in shared memory
 * @position:	the operation that is being run
 * @message:	why the run failed, or empty
 * @took_effect: how often an operation did something
 * @effects:	how often each effect was there
 * @scans:	calls of PAGEMAP_SCAN that were compared
 * @pages:	pages that were compared
 * @disturbed:	scans that could not be compared, as the kernel moved pages
 */
struct outcome {
	unsigned int position;
	char message[512];
	unsigned long long took_effect[OP_CODES];
	unsigned long long effects[EFFECTS];
	unsigned long long scans;
	unsigned long long pages;
	unsigned long long disturbed;
};

/**
 * enum protection - what is promised of a page
 * @WRITTEN:	it must be reported as written, if it is registered
 * @PROTECTED:	it must not be
 * @UNDECIDED:	either: a false positive is allowed.  The next scan decides.
 */
enum protection {
	WRITTEN,
	PROTECTED,
	UNDECIDED,
};

/**
 * struct page - what is known of a page of an area
 * @mapped:	whether it is
 * @registered:	with the userfaultfd, in async mode
 * @missing:	registered for missing pages as well
 * @locked:	by mlock()
 * @dontfork:	by MADV_DONTFORK
 * @copied:	of a private mapping of a file: not the file's page any more
 * @lazy:	by MADV_FREE: the contents may have become 0
 * @vague:	it was protected while @lazy, so that it may have become 0
 *		before or after that
 * @prot:	PROT_* bits
 * @protection:	see there
 * @offset:	page of the file
 * @value:	contents where they are not the file's
 */
struct page {
	bool mapped;
	bool registered;
	bool missing;
	bool locked;
	bool dontfork;
	bool copied;
	bool lazy;
	bool vague;
	unsigned char prot;
	unsigned char protection;
	unsigned int offset;
	unsigned int value;
};

/**
 * struct area - memory of one kind, with addresses that it can be moved to
 * @kind:	its kind
 * @addr:	its first byte, a multiple of huge_size()
 * @window:	pages of address space
 * @home:	where in the window the file's first page belongs
 * @size:	pages that are mapped there at first
 * @granule:	pages that can only be protected together
 * @fd:		the file, or -1
 * @file_size:	pages of it
 * @file:	contents of its pages
 * @pages:	of the window
 */
struct area {
	enum memory_kind kind;
	char *addr;
	unsigned int window;
	unsigned int home;
	unsigned int size;
	unsigned int granule;
	int fd;
	unsigned int file_size;
	unsigned int *file;
	struct page *pages;
};

/**
 * struct world - all that a program runs on
 * @areas:	the memory, without gaps between the windows
 * @pages:	sum of the windows
 * @base:	address of the first window
 * @uffd:	the userfaultfd
 * @remap:	whether it follows mremap()
 * @pagemap:	the process's pagemap file
 * @pattern:	a file from which the kernel writes to memory
 * @mem:	/proc/self/mem
 * @outcome:	where to say what happened
 * @entries:	pagemap before a scan
 * @entries_after: the same after it
 * @categories:	of each page of the scanned range, or NOT_REPORTED
 * @spread:	the same, put together from several calls; or pagemap before
 *		one
 * @expected:	the regions that a call must return
 * @vec_end:	the end of room for all regions, where a page begins that is
 *		not mapped
 * @zero_pfn:	number of the zero page
 */
struct world {
	struct area areas[AREAS];
	unsigned int pages;
	char *base;
	int uffd;
	bool remap;
	int pagemap;
	int pattern;
	int mem;
	struct outcome *outcome;
	__u64 *entries;
	__u64 *entries_after;
	__u64 *categories;
	__u64 *spread;
	struct page_region *expected;
	char *vec_end;
	__u64 zero_pfn;
};

/**
 * struct setting - what a program is run on
 * @seed:	of the program
 * @kinds:	of the areas
 * @remap:	whether the userfaultfd follows mremap()
 */
struct setting {
	unsigned long long seed;
	enum memory_kind kinds[AREAS];
	bool remap;
};

/* pagemap_scan_fuzz_ops.c */
void area_layout(struct area *area);
void world_create(struct world *world, const struct setting *setting,
		  struct outcome *outcome);
void op_run(struct world *world, const struct op *op);
void world_check(struct world *world);

/* pagemap_scan_fuzz_model.c */
__attribute__((format(printf, 2, 3), noreturn))
void fail(struct world *world, const char *format, ...);
void effect(struct world *world, enum effect effect);
struct area *area_at(struct world *world, unsigned int page,
		     struct page **in_area);
bool page_is_own(const struct area *area, const struct page *page);
bool page_has_contents(const struct area *area, const struct page *page);
unsigned int page_value(const struct area *area, const struct page *page);
void page_written(struct page *page);
void page_undecided(struct page *page);
void page_dropped(struct page *page);
void pagemap_read(struct world *world, unsigned int first, unsigned int count,
		  __u64 *entries);
bool entry_is_swapped(__u64 entry);
void check_range(struct world *world, unsigned int first, unsigned int count,
		 enum layout layout);
void check_huge(struct world *world, struct area *area);
void check_scan(struct world *world, const struct op *op);
void check_union(struct world *world, const struct op *op);
void check_fault(struct world *world, const struct op *op);

static inline size_t page_number(const struct world *world, const void *addr)
{
	return (address(addr) - address(world->base)) / page_size();
}

static inline __u64 page_address(const struct world *world, unsigned int page)
{
	return address(world->base) + (__u64)page * page_size();
}

#endif /* __PAGEMAP_SCAN_FUZZ_H */
