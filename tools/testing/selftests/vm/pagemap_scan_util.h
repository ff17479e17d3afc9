/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the pagemap_scan tests share: the machine's set-up, memory of each
 * kind, userfaultfd, and PAGEMAP_SCAN in each layout of its argument.
 *
 * A function that can fail says why on stderr and returns -1, so that a case
 * only asserts that it returned 0.
 */
#ifndef __PAGEMAP_SCAN_UTIL_H
#define __PAGEMAP_SCAN_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <sys/types.h>
#include <linux/pagemap_scan.h>
#include <linux/userfaultfd.h>

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED	0x2000
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC		0x8000
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY		1
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE		101
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ		22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE		23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE			25
#endif

/* All categories, and all but those that depend on the VMA's history. */
#define ALL_CATEGORIES	((__u64)PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN |	\
			 PAGE_IS_FILE | PAGE_IS_PRESENT |		\
			 PAGE_IS_SWAPPED | PAGE_IS_PFNZERO |		\
			 PAGE_IS_HUGE | PAGE_IS_SOFT_DIRTY)
#define KIND_CATEGORIES	(ALL_CATEGORIES & ~(__u64)PAGE_IS_SOFT_DIRTY)
/* In place of categories: the page was not reported. */
#define NOT_REPORTED	(~(__u64)0)

/* Bits of /proc/PID/pagemap and /proc/kpageflags. */
#define PAGEMAP_PRESENT		((__u64)1 << 63)
#define PAGEMAP_SWAPPED		((__u64)1 << 62)
#define PAGEMAP_FILE		((__u64)1 << 61)
#define PAGEMAP_UFFD_WP		((__u64)1 << 57)
#define PAGEMAP_SOFT_DIRTY	((__u64)1 << 55)
#define PAGEMAP_PFN		(((__u64)1 << 55) - 1)
#define KPAGE_DIRTY		((__u64)1 << 4)
#define KPAGE_ANON		((__u64)1 << 12)
#define KPAGE_HUGETLB		((__u64)1 << 17)
#define KPAGE_HWPOISON		((__u64)1 << 19)
#define KPAGE_KSM		((__u64)1 << 21)
#define KPAGE_THP		((__u64)1 << 22)
#define KPAGE_ZERO		((__u64)1 << 24)

/**
 * enum machine_part - what a test needs besides a kernel with PAGEMAP_SCAN
 * @NEED_FILES:	directories on tmpfs and on ext4
 * @NEED_SWAP:	a swap device of the test's own, preferred to all others
 * @NEED_THP:	transparent huge pages on request, khugepaged asleep
 * @NEED_HUGETLB: a pool of huge pages of huge_size()
 * @NEED_KSM:	KSM, not running but on request
 * @NEED_PAGE_FLAGS: page frame numbers and /proc/kpageflags
 * @NEED_ALL:	all of them
 */
enum machine_part {
	NEED_FILES	= 1 << 0,
	NEED_SWAP	= 1 << 1,
	NEED_THP	= 1 << 2,
	NEED_HUGETLB	= 1 << 3,
	NEED_KSM	= 1 << 4,
	NEED_PAGE_FLAGS	= 1 << 5,
	NEED_ALL	= (1 << 6) - 1,
};

void machine_set_up(unsigned int needs);
void machine_prepare(unsigned int needs);
bool machine_has(unsigned int parts);
bool machine_has_soft_dirty(void);
const char *machine_tmpfs(void);
int machine_disk(void);
int machine_swap_on(void);
int machine_swap_off(void);
int machine_break_swap(bool broken);
long tunable_read(const char *path);
int tunable_write(const char *path, const char *value);
int tunable_set(const char *path, const char *value);
long slab_objects(const char *pattern);
unsigned long kernel_count(const char *name);
int run_on(int processor);

unsigned long long nanoseconds(void);
unsigned long milliseconds(void);
time_t seconds(void);
bool asked_for(const char *name, int argc, char **argv);
unsigned long test_duration(unsigned long normal);
size_t page_size(void);
size_t huge_size(void);
bool kernel_is_32_bit(void);
__u64 end_of_addresses(void);

/**
 * enum memory_kind - the kinds of memory that can be tracked
 * @MEMORY_ANON:	anonymous pages
 * @MEMORY_THP:		anonymous transparent huge pages
 * @MEMORY_SHMEM:	shared anonymous memory
 * @MEMORY_MEMFD:	shared mapping of a memfd
 * @MEMORY_MEMFD_THP:	the same with transparent huge pages
 * @MEMORY_TMPFS_PRIVATE: private mapping of a file on tmpfs, half copied
 * @MEMORY_TMPFS_SHARED: shared mapping of a file on tmpfs
 * @MEMORY_EXT4_PRIVATE: private mapping of a file on ext4, half copied
 * @MEMORY_EXT4_SHARED:	shared mapping of a file on ext4
 * @MEMORY_HUGETLB_PRIVATE: private mapping of a hugetlbfs file, half copied
 * @MEMORY_HUGETLB_SHARED: shared mapping of a hugetlbfs file
 * @MEMORY_KSM:		anonymous pages, merged by KSM when populated
 */
enum memory_kind {
	MEMORY_ANON,
	MEMORY_THP,
	MEMORY_SHMEM,
	MEMORY_MEMFD,
	MEMORY_MEMFD_THP,
	MEMORY_TMPFS_PRIVATE,
	MEMORY_TMPFS_SHARED,
	MEMORY_EXT4_PRIVATE,
	MEMORY_EXT4_SHARED,
	MEMORY_HUGETLB_PRIVATE,
	MEMORY_HUGETLB_SHARED,
	MEMORY_KSM,
};

unsigned int memory_needs(enum memory_kind kind);
bool memory_is_anon(enum memory_kind kind);
bool memory_is_shared(enum memory_kind kind);
bool memory_is_thp(enum memory_kind kind);
bool memory_is_hugetlb(enum memory_kind kind);

/**
 * struct memory - a mapping of one kind, with unmapped addresses around it
 * @kind:	its kind
 * @addr:	its first byte, a multiple of huge_size()
 * @size:	bytes
 * @granule:	bytes of the smallest part that can be protected by itself
 * @count:	granules
 * @fd:		the file that it maps, or -1
 * @reserved:	the address range that the mapping lies in
 * @reserved_size: bytes of it
 */
struct memory {
	enum memory_kind kind;
	char *addr;
	size_t size;
	size_t granule;
	size_t count;
	int fd;
	char *reserved;
	size_t reserved_size;
};

int memory_map(struct memory *mem, enum memory_kind kind);
int memory_map_count(struct memory *mem, enum memory_kind kind, size_t count);
void memory_unmap(struct memory *mem);
int memory_populate(struct memory *mem);
int memory_merge(struct memory *mem);
int device_zero(int device, void *addr, size_t size);
size_t memory_with_flags(struct memory *mem, __u64 flags);
void drain_page_lists(void);
int memory_page_out(struct memory *mem);
int memory_migrate(struct memory *mem);
void memory_read(struct memory *mem, size_t granule);
void memory_write(struct memory *mem, size_t granule);
int memory_punch(struct memory *mem, size_t granule, size_t count);
bool memory_is_copied(struct memory *mem, size_t granule);
void *reserve_addresses(size_t size, size_t alignment);
int map_fixed(void *addr, size_t size, int prot);
void *map_pages(size_t count, int prot);
int keep_pages_small(void *addr, size_t size);

int pagemap_open(pid_t pid);
int clear_soft_dirty(pid_t pid);
__u64 pagemap_entry(int fd, const void *addr);
__u64 page_flags(int fd, const void *addr);
size_t pages_with(int fd, const void *addr, size_t size, __u64 bits);
long huge_mapped_bytes(const void *addr);
bool vma_has_flag(const void *addr, const char *flag);

extern void (*skip_case)(const char *reason);
bool machine_tracks_writes(void);
void need_tracking(void);
int uffd_create(int flags, __u64 *features);
int uffd_create_async(void);
int uffd_register(int uffd, void *addr, size_t size, __u64 mode,
		  __u64 *ioctls);
int uffd_unregister(int uffd, void *addr, size_t size);
int uffd_protect(int uffd, void *addr, size_t size, bool protect);
int uffd_copy(int uffd, void *addr, const void *from, size_t size, __u64 mode);
bool uffd_has_message(int uffd);

/**
 * enum layout - the layouts that the argument of PAGEMAP_SCAN can have
 * @LAYOUT_VER0: struct pagemap_scan_arg, version 0
 * @LAYOUT_VER1: struct pagemap_scan_arg, version 1
 * @LAYOUT_PM:	struct pm_scan_arg, by the number that has its size
 */
enum layout {
	LAYOUT_VER0,
	LAYOUT_VER1,
	LAYOUT_PM,
};

/**
 * struct scan - a call of PAGEMAP_SCAN, whatever the layout
 * @layout:	in which layout to pass it
 * @flags:	in: PAGEMAP_WP_* bits
 * @start:	in: first address
 * @end:	in: address behind the last
 * @vec:	in: where the regions go, or NULL
 * @vec_len:	in: elements of @vec
 * @max_pages:	in: how many pages may match, 0 for any number
 * @required:	in: categories that a page must all be in
 * @anyof:	in: categories of which a page must be in one; where they
 *		overlap @excluded, LAYOUT_PM can't express it
 * @excluded:	in: categories that a page must not be in; where they overlap
 *		@required, LAYOUT_PM can't express it
 * @returned:	in: categories to report
 * @walk_end:	out: where the call stopped; LAYOUT_VER0 tells no more than
 *		the last region
 * @pages:	out: matching pages; LAYOUT_VER1 only, else those in @vec
 */
struct scan {
	enum layout layout;
	__u64 flags;
	__u64 start;
	__u64 end;
	struct page_region *vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 required;
	__u64 anyof;
	__u64 excluded;
	__u64 returned;
	__u64 walk_end;
	__u64 pages;
};

long scan_call(int fd, struct scan *scan);
int scan_check(const struct scan *scan, long regions);
__u64 scan_pages(const struct page_region *vec, long regions);
int scan_categories(int fd, enum layout layout, const void *addr, size_t size,
		    __u64 *categories);
int check_categories(int fd, enum layout layout, const void *addr,
		     size_t size, __u64 mask, __u64 expected);

/**
 * struct tracking - memory whose writes are tracked
 * @mem:	the memory
 * @uffd:	the userfaultfd that it is registered with
 * @pagemap:	this process's pagemap file
 * @layout:	how to call PAGEMAP_SCAN
 */
struct tracking {
	struct memory mem;
	int uffd;
	int pagemap;
	enum layout layout;
};

int tracking_begin(struct tracking *tracking, enum memory_kind kind,
		   enum layout layout);
int tracking_begin_count(struct tracking *tracking, enum memory_kind kind,
			 enum layout layout, size_t count);
int tracking_populate(struct tracking *tracking);
int tracking_end(struct tracking *tracking);

/**
 * typedef granule_set - name a set of granules
 * @mem:	the memory
 * @granule:	one of its granules
 *
 * Return: whether the set has @granule.
 */
typedef bool (*granule_set)(struct memory *mem, size_t granule);

bool no_granule(struct memory *mem, size_t granule);
bool every_granule(struct memory *mem, size_t granule);
bool some_granules(struct memory *mem, size_t granule);
bool other_granules(struct memory *mem, size_t granule);
void write_set(struct memory *mem, granule_set set);

struct scan tracking_scan(struct tracking *tracking, __u64 flags);
int protect_written(struct tracking *tracking);
int check_written(struct tracking *tracking, granule_set written);
int check_reported_and_protect(struct tracking *tracking, granule_set written);
int check_nothing_lost(struct tracking *tracking, granule_set written);

/* An address as the interface has it; pointers of a 32-bit build are short. */
static inline __u64 address(const void *pointer)
{
	return (uintptr_t)pointer;
}

/* Accesses that the compiler keeps. */
static inline unsigned int touch_read(const void *addr)
{
	return __atomic_load_n((const unsigned int *)addr, __ATOMIC_RELAXED);
}

static inline void touch_write(void *addr, unsigned int value)
{
	__atomic_store_n((unsigned int *)addr, value, __ATOMIC_RELAXED);
}

#endif /* __PAGEMAP_SCAN_UTIL_H */
