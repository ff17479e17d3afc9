/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_PAGEMAP_SCAN_H
#define _UAPI_LINUX_PAGEMAP_SCAN_H

/*
 * PAGEMAP_SCAN, an ioctl of /proc/PID/pagemap: report the pages of a range
 * that are in given categories, and write-protect the written ones again.
 *
 * See Documentation/admin-guide/mm/pagemap_scan.rst for what each category
 * means and what write tracking promises.
 *
 * The header may be copied beside a user's source.  The first include below
 * then brings what the installed <linux/fs.h> knows of this interface, and
 * only what that lacks is added, so that both may be used together.
 */
#ifndef __KERNEL__
#include <linux/fs.h>
#endif
#include <linux/ioctl.h>
#include <linux/types.h>

/* Categories of a page, and bits of the masks below. */
#ifndef PAGE_IS_WPALLOWED
#define PAGE_IS_WPALLOWED	0x01 /* async write-protection is armed */
#define PAGE_IS_WRITTEN		0x02 /* written since it was protected */
#define PAGE_IS_FILE		0x04 /* not an anonymous page */
#define PAGE_IS_PRESENT		0x08 /* in memory */
#define PAGE_IS_SWAPPED		0x10 /* in swap, or in device memory */
#define PAGE_IS_PFNZERO		0x20 /* the shared zero page */
#define PAGE_IS_HUGE		0x40 /* part of a PMD-mapped or hugetlb page */
#endif
#ifndef PAGE_IS_SOFT_DIRTY
#define PAGE_IS_SOFT_DIRTY	0x80 /* as bit 55 of a pagemap entry */
#endif

#ifndef PM_SCAN_WP_MATCHING
/**
 * struct page_region - neighbouring pages that are in the same categories
 * @start:	out: address of the first byte
 * @end:	out: address behind the last byte, never equal to @start
 * @categories:	out: PAGE_IS_* bits, as far as the return mask has them
 *
 * Both addresses are multiples of the page size.
 */
struct page_region {
	__u64 start;
	__u64 end;
	__u64 categories;
};
#endif

/* Values of pagemap_scan_arg.flags. */
/* Write-protect the matching pages that are written. */
#define PAGEMAP_WP_ENGAGE	0x01
/* Fail with EPERM where the range meets a VMA that can't be protected. */
#define PAGEMAP_WP_REQUIRED	0x02
/*
 * Look through the eyes of one who tracks another process: only what is
 * registered by PAGEMAP_USERFAULTFD of this same descriptor, from outside,
 * counts as write-protected or can be.  What the process itself tracks is left
 * alone.  Not with a struct pm_scan_arg.
 */
#define PAGEMAP_WP_FOREIGN	0x04

/* Values of pagemap_scan_arg.size: the versions of the structure. */
#define PAGEMAP_SCAN_ARG_SIZE_VER0	88
#define PAGEMAP_SCAN_ARG_SIZE_VER1	104

/**
 * struct pagemap_scan_arg - argument of PAGEMAP_SCAN
 * @size:	in: sizeof(struct pagemap_scan_arg) in bytes, tells the version;
 *		out: on E2BIG, the size in bytes that the kernel knows
 * @flags:	in: PAGEMAP_WP_* bits
 * @start:	in: address of the first byte, a multiple of the page size
 * @len:	in: length of the range in bytes, rounded up to whole pages
 * @vec:	in: address of struct page_region[@vec_len], or 0
 * @vec_len:	in: number of elements of @vec; 0: report nothing, only count
 *		and protect
 * @max_pages:	in: stop after that many matching pages; 0: no limit
 * @required_mask: in: PAGE_IS_* bits that a matching page has all of
 * @anyof_mask:	in: PAGE_IS_* bits that a matching page has at least one of;
 *		0: no such condition
 * @excluded_mask: in: PAGE_IS_* bits that a matching page has none of
 * @return_mask: in: PAGE_IS_* bits that page_region.categories reports
 * @walk_end:	out (version 1): address where the walk stopped, from which to
 *		continue; the rounded-up end of the range when it is complete
 * @pages:	out (version 1): number of pages that matched, also without @vec
 *
 * An address is that of the scanned process, but for @vec, which is the
 * caller's.  Written back on success only, but for @size.
 */
struct pagemap_scan_arg {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 len;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 required_mask;
	__u64 anyof_mask;
	__u64 excluded_mask;
	__u64 return_mask;
	/* version 0 ends here */
	__u64 walk_end;
	__u64 pages;
};

#ifndef PM_SCAN_WP_MATCHING
/* Values of pm_scan_arg.flags, the same as PAGEMAP_WP_*. */
#define PM_SCAN_WP_MATCHING	0x01
#define PM_SCAN_CHECK_WPASYNC	0x02

/**
 * struct pm_scan_arg - argument of PAGEMAP_SCAN as Linux 6.7 has it
 * @size:	in: sizeof(struct pm_scan_arg) in bytes
 * @flags:	in: PM_SCAN_* bits
 * @start:	in: address of the first byte, a multiple of the page size
 * @end:	in: address behind the last byte, rounded up to whole pages
 * @walk_end:	out: address where the walk stopped
 * @vec:	in: address of struct page_region[@vec_len], or 0
 * @vec_len:	in: number of elements of @vec
 * @max_pages:	in: stop after that many matching pages; 0: no limit
 * @category_inverted: in: PAGE_IS_* bits to invert before the two masks below
 *		are tested
 * @category_mask: in: PAGE_IS_* bits that a matching page has all of
 * @category_anyof_mask: in: PAGE_IS_* bits that a matching page has at least
 *		one of; 0: no such condition
 * @return_mask: in: PAGE_IS_* bits that page_region.categories reports
 *
 * Told from struct pagemap_scan_arg by its size.
 */
struct pm_scan_arg {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};
#endif

/*
 * The number holds the size of version 0 and never changes.  Where <linux/fs.h>
 * of 6.7 or later defined it, that number would be wrong for a struct
 * pagemap_scan_arg.  With a struct pm_scan_arg it works too, by the size member,
 * but on kernels with this header's ioctl only: Linux 6.7 and later take
 * PAGEMAP_SCAN_PM.
 */
#undef PAGEMAP_SCAN
#define PAGEMAP_SCAN	_IOC(_IOC_READ | _IOC_WRITE, 'f', 16, \
			     PAGEMAP_SCAN_ARG_SIZE_VER0)
/* The number that Linux 6.7 has, for a struct pm_scan_arg; works on both. */
#define PAGEMAP_SCAN_PM	_IOC(_IOC_READ | _IOC_WRITE, 'f', 16, \
			     sizeof(struct pm_scan_arg))

/*
 * An ioctl of /proc/PID/pagemap: a userfaultfd of that address space, to track
 * what the process writes.  The argument is O_CLOEXEC | O_NONBLOCK, or less.
 * Takes what ptrace(2) asks for to attach to the process.
 *
 * UFFDIO_API takes UFFD_FEATURE_WP_ASYNC, which it must have, and
 * UFFD_FEATURE_WP_UNPOPULATED; UFFDIO_REGISTER takes UFFDIO_REGISTER_MODE_WP.
 * UFFDIO_WRITEPROTECT and UFFDIO_UNREGISTER work on what it has registered.
 * There is never anything to read.
 */
#define PAGEMAP_USERFAULTFD	_IO('f', 96)

#endif /* _UAPI_LINUX_PAGEMAP_SCAN_H */
