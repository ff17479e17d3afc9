/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The scanner behind PAGEMAP_SCAN, as the handler of the ioctl sees it.
 *
 * The handler takes a request from the user, and has the page tables walked
 * chunk by chunk under the mmap lock:
 *
 *	pagemap_scan_get_request()
 *	for a single page: pagemap_scan_page(), which may be all
 *	pagemap_scan_init()
 *	until done:
 *		take the mmap lock for reading
 *		pagemap_scan_chunk()
 *		drop the mmap lock
 *		pagemap_scan_end_chunk()
 *	pagemap_scan_put_result()
 *	on an error in between: pagemap_scan_undo()
 *	pagemap_scan_exit()
 */
#ifndef _FS_PROC_PAGEMAP_SCAN_H
#define _FS_PROC_PAGEMAP_SCAN_H

#include <linux/types.h>
#include <linux/userfaultfd_k.h>
#include <linux/pagewalk.h>
#include <uapi/linux/fs.h>

struct mm_struct;

/**
 * struct pagemap_scan_request - what the user asks for, whichever layout told
 * @flags:	PAGEMAP_WP_* bits
 * @start:	first byte of the range, page aligned and untagged
 * @end:	end of the range, exclusive, page aligned
 * @vec:	where the regions go, or NULL
 * @vec_len:	elements of @vec; 0: no regions are reported
 * @max_pages:	how many matching pages to stop after; ULONG_MAX: no limit
 * @mask:	a matching page has (categories & @mask) == @value
 * @value:	see @mask
 * @anyof:	a matching page has ((categories ^ @anyof_inverted) & @anyof),
 *		where @anyof is not 0
 * @anyof_inverted: see @anyof
 * @return_mask: categories that are reported
 * @walk_end:	where the end of the walk is to be written, or NULL
 * @pages:	where the number of pages is to be written, or NULL
 *
 * Lives on the stack of the handler; constant once it is filled in.
 */
struct pagemap_scan_request {
	u64 flags;
	unsigned long start;
	unsigned long end;
	struct page_region __user *vec;
	unsigned long vec_len;
	unsigned long max_pages;
	u64 mask;
	u64 value;
	u64 anyof;
	u64 anyof_inverted;
	u64 return_mask;
	u64 __user *walk_end;
	u64 __user *pages;
};

/*
 * Regions that are gathered on the stack: enough for the callers that ask for
 * a page or a few, and little enough for the stack (216 bytes).
 */
#define PAGEMAP_SCAN_STACK_REGIONS	8

/**
 * struct pagemap_scan_kind - page table entries that are in the same categories
 * @value:	an entry of the kind; where @look_key is set, what no entry is like
 * @key:	bits in which the entries of the kind agree with @value, and others
 *		do not
 * @look:	how the page tells, too, that an entry is of the kind
 * @all_ones:	whether @value is 1 in all bits of @key
 * @look_value:	@value, where @look_key is set
 * @look_key:	@key, where the page has to be looked at; 0: it need not be
 * @mapped:	categories that the entry is in because of the page it maps, where
 *		@look_key is set
 * @anon:	whether @mapped says that the page is anonymous
 * @zero:	whether it says that the page is the zero page
 * @categories:	categories that are reported
 * @matches:	whether the entries match the request
 * @protects:	whether such pages are to be write-protected
 */
struct pagemap_scan_kind {
	u64 value;
	u64 key;
	enum {
		PAGEMAP_SCAN_LOOK_ANON,	/* is it anonymous? */
		PAGEMAP_SCAN_LOOK_ZERO,	/* is it the zero page? */
		PAGEMAP_SCAN_LOOK_PAGE,	/* is it a file's, or the zero page? */
	} look;
	bool all_ones;
	bool anon;
	bool zero;
	bool matches;
	bool protects;
	u64 look_value;
	u64 look_key;
	u64 mapped;
	u64 categories;
};

/* Kinds that are remembered. */
#define PAGEMAP_SCAN_KINDS	4

/**
 * struct pagemap_scan - state of one call
 * @request:	what was asked for
 * @wanted:	categories that the request looks at
 * @done:	whether the walk is over: the range is complete, or the next
 *		matching page finds @request's room used up
 * @pos:	where the walk goes on, or ended when @done
 * @left:	matching pages that may still follow
 * @copied:	regions that are in the user's vector
 * @regions:	regions that are not yet, from the second element on
 * @last:	the last one of them, which may still grow; the first element where
 *		there is none
 * @limit:	element that @last can get to
 * @max_regions: regions that there is memory for, at least
 *		PAGEMAP_SCAN_STACK_REGIONS
 * @stack_regions: @regions of a small call
 * @mm:		address space that is scanned
 * @budget:	entries that this chunk may still look at
 * @more:	how often @budget may be renewed while nobody waits for the lock
 * @notify:	whether the address space has mmu notifiers
 * @call:	what moves pages in between knows the call by
 * @begun:	whether it does
 * @allowed_end: end of what PAGEMAP_WP_REQUIRED has been checked for
 * @protected_end: end of the last page that was protected; 0: none was
 * @vma:	the VMA that is walked
 * @vma_categories: categories that every entry of the VMA has
 * @hole_categories: categories of an empty entry of the VMA
 * @wp_hidden:	whether an entry's write-protection is none, or is not for the
 *		caller to see
 * @pagemap:	the file that was called: tells what was registered through it; as
 *		@mm, it holds for the whole call
 * @file:	which pages of the VMA are in PAGE_IS_FILE
 * @kinds:	the kinds of entries that were seen last
 * @nr_kinds:	how many there are
 * @next_kind:	which of them to forget next
 * @skip:	the last of those that do not match
 * @take:	the last of those that do
 * @flush_start: first byte whose protection is not yet flushed from the TLBs
 * @flush_end:	end of the range to be flushed; not above @flush_start: nothing
 *
 * Used by the calling task alone.  From @vma on the fields belong to
 * the VMA that is walked, and hold from pre_vma() to post_vma().
 */
struct pagemap_scan {
	const struct pagemap_scan_request *request;
	u64 wanted;
	bool done;
	unsigned long pos;
	unsigned long left;
	unsigned long copied;
	struct page_region *regions;
	struct page_region *last;
	struct page_region *limit;
	unsigned int max_regions;
	struct page_region stack_regions[PAGEMAP_SCAN_STACK_REGIONS + 1];
	struct mm_struct *mm;
	int budget;
	unsigned int more;
	bool notify;
	struct userfaultfd_wp_call call;
	bool begun;
	unsigned long allowed_end;
	unsigned long protected_end;
	struct vm_area_struct *vma;
	u64 vma_categories;
	u64 hole_categories;
	bool wp_hidden;
	struct file *pagemap;
	enum {
		PAGEMAP_SCAN_FILE_NONE,	/* none is, or nobody asked */
		PAGEMAP_SCAN_FILE_ALL,
		PAGEMAP_SCAN_FILE_LOOK,	/* the struct page tells */
	} file;
	struct pagemap_scan_kind kinds[PAGEMAP_SCAN_KINDS];
	unsigned int nr_kinds;
	unsigned int next_kind;
	const struct pagemap_scan_kind *skip;
	const struct pagemap_scan_kind *take;
	unsigned long flush_start;
	unsigned long flush_end;
};

/**
 * pagemap_scan_is_cmd - whether an ioctl command is PAGEMAP_SCAN
 * @cmd:	command number, in which the size of the argument is not looked
 *		at: it tells the layout
 *
 * Return: whether it is.
 */
static inline bool pagemap_scan_is_cmd(unsigned int cmd)
{
	const unsigned int size = _IOC_SIZEMASK << _IOC_SIZESHIFT;

	return (cmd & ~size) == (PAGEMAP_SCAN & ~size);
}

/**
 * pagemap_scan_is_page - whether a request suits pagemap_scan_page()
 * @request:	what is asked for
 *
 * Return: whether it is for a single page, and nothing is to be protected.
 */
static inline bool
pagemap_scan_is_page(const struct pagemap_scan_request *request)
{
	return request->end - request->start == PAGE_SIZE &&
	       !(request->flags & PAGEMAP_WP_ENGAGE);
}

int pagemap_scan_get_request(struct pagemap_scan_request *request,
			     struct mm_struct *mm, unsigned int cmd,
			     void __user *arg);
int pagemap_scan_page(struct pagemap_scan *scan,
		      const struct pagemap_scan_request *request,
		      struct mm_struct *mm, struct file *pagemap);
int pagemap_scan_put_result(const struct pagemap_scan *scan);
void pagemap_scan_init(struct pagemap_scan *scan,
		       const struct pagemap_scan_request *request,
		       struct mm_struct *mm, struct file *pagemap);
void pagemap_scan_exit(struct pagemap_scan *scan);
int pagemap_scan_chunk(struct pagemap_scan *scan);
int pagemap_scan_end_chunk(struct pagemap_scan *scan, int err);
void pagemap_scan_undo(struct pagemap_scan *scan);

#endif /* _FS_PROC_PAGEMAP_SCAN_H */
