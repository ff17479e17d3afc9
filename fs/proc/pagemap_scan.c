// SPDX-License-Identifier: GPL-2.0-only
/*
 * The scanner behind PAGEMAP_SCAN: categories, matching, write-protection
 *
 * What is promised of a call that write-protects, the numbers being referred to
 * below:
 *
 * 1. The check of an entry and its protection happen under one hold of the page
 *    table lock, so that no write comes between them.
 * 2. When the call returns, no CPU and no secondary MMU can write a reported
 *    page without leaving the record.
 * 3. A page is protected if and only if it is reported or, without a vector,
 *    counted.
 * 4. A call that fails leaves every page that it protected unprotected again.
 */

#include <linux/cacheflush.h>
#include <linux/delay.h>
#include <linux/fault-inject-usercopy.h>
#include <linux/hugetlb.h>
#include <linux/huge_mm.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mmu_notifier.h>
#include <linux/pagewalk.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd_k.h>

#include <asm/tlbflush.h>

#include "pagemap_scan.h"

#define PAGEMAP_SCAN_CATEGORIES						\
	(PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN | PAGE_IS_FILE |		\
	 PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_PFNZERO |		\
	 PAGE_IS_HUGE | PAGE_IS_SOFT_DIRTY)

#define PAGEMAP_SCAN_FLAGS						\
	(PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED | PAGEMAP_WP_FOREIGN)

/* There, the next bit is mainline's to give a meaning. */
#define PAGEMAP_SCAN_PM_FLAGS	(PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC)

/* Regions that are gathered before they are copied out, 4 KiB with the first */
#define PAGEMAP_SCAN_MAX_REGIONS	169

/*
 * Entries that are looked at under one hold of the mmap lock while somebody
 * waits for it: 16 page tables, some tens of microseconds even where each entry
 * is to be protected.  What is dearer than an entry counts as several.
 */
#define PAGEMAP_SCAN_BUDGET		8192
#define PAGEMAP_SCAN_HUGE_COST		64

/*
 * How often as many follow where nobody waits: up to 512 MiB of small pages at
 * a time, so that the TLBs are flushed twice for each GiB.
 */
#define PAGEMAP_SCAN_MORE		15

/*
 * How often to look whether those have the mmap lock who waited for it, some
 * tens of microseconds, as long as a processor takes to wake up.
 */
#define PAGEMAP_SCAN_PATIENCE		1000

/* Length of the pieces in which a failed call takes the protection off. */
#define PAGEMAP_SCAN_UNDO_LEN		(16 * PMD_SIZE)

/* Whether it is known which bits of a page table entry tell what. */
#define PAGEMAP_SCAN_FAST \
	(IS_ENABLED(CONFIG_X86) || IS_ENABLED(CONFIG_UML))

/*
 * Whether words of 64 bits can be read from and written to user memory one by
 * one, wherever they are.
 */
#define PAGEMAP_SCAN_USER_WORDS \
	((IS_ENABLED(CONFIG_64BIT) && \
	  IS_ENABLED(CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS)) || \
	 PAGEMAP_SCAN_FAST)

/* The pragma came with gcc 8; clang unrolls by itself, and warns where it can't. */
#if CONFIG_GCC_VERSION >= 80000
#define PAGEMAP_SCAN_UNROLL(n)	_Pragma(__stringify(GCC unroll n))
#else
#define PAGEMAP_SCAN_UNROLL(n)
#endif

/*
 * A callback returns this to end the walk without an error: pos tells where,
 * and done whether for good.
 */
#define PAGEMAP_SCAN_PAUSE		(-EAGAIN)

/* The request */

static __always_inline int
pagemap_scan_decode(struct pagemap_scan_request *request,
		    const struct pagemap_scan_arg *arg,
		    struct pagemap_scan_arg __user *uarg, u64 size)
{
	u64 masks = arg->required_mask | arg->anyof_mask | arg->excluded_mask |
		    arg->return_mask;

	if (arg->flags & ~(u64)PAGEMAP_SCAN_FLAGS ||
	    masks & ~(u64)PAGEMAP_SCAN_CATEGORIES)
		return -EINVAL;
	if (arg->start + arg->len < arg->start)
		return -EINVAL;
	if (arg->start != (unsigned long)arg->start ||
	    arg->len != (unsigned long)arg->len ||
	    arg->vec != (unsigned long)arg->vec ||
	    arg->vec_len != (unsigned long)arg->vec_len ||
	    arg->max_pages != (unsigned long)arg->max_pages)
		return -EINVAL;

	request->flags = arg->flags;
	request->start = arg->start;
	request->end = arg->start + arg->len;
	request->vec = u64_to_user_ptr(arg->vec);
	request->vec_len = arg->vec_len;
	request->max_pages = arg->max_pages ? arg->max_pages : ULONG_MAX;
	request->mask = arg->required_mask | arg->excluded_mask;
	request->value = arg->required_mask;
	/* Required and excluded at once: a value that no page has */
	if (arg->required_mask & arg->excluded_mask)
		request->value = ~request->mask;
	request->anyof = arg->anyof_mask;
	request->anyof_inverted = 0;
	request->return_mask = arg->return_mask;
	request->walk_end = NULL;
	request->pages = NULL;
	if (size >= PAGEMAP_SCAN_ARG_SIZE_VER1) {
		request->walk_end = &uarg->walk_end;
		request->pages = &uarg->pages;
	}
	return 0;
}

static __always_inline int
pagemap_scan_decode_pm(struct pagemap_scan_request *request,
		       const struct pm_scan_arg *arg,
		       struct pm_scan_arg __user *uarg)
{
	u64 masks = arg->category_inverted | arg->category_mask |
		    arg->category_anyof_mask | arg->return_mask;

	if (arg->flags & ~(u64)PAGEMAP_SCAN_PM_FLAGS ||
	    masks & ~(u64)PAGEMAP_SCAN_CATEGORIES)
		return -EINVAL;
	if (arg->start != (unsigned long)arg->start ||
	    arg->end != (unsigned long)arg->end ||
	    arg->vec != (unsigned long)arg->vec ||
	    arg->vec_len != (unsigned long)arg->vec_len ||
	    arg->max_pages != (unsigned long)arg->max_pages)
		return -EINVAL;
	if (!PAGE_ALIGNED(arg->start))
		return -EINVAL;
	if (arg->end < arg->start)
		return -EFAULT;

	request->flags = arg->flags;
	request->start = arg->start;
	request->end = arg->end;
	request->vec = u64_to_user_ptr(arg->vec);
	request->vec_len = arg->vec_len;
	request->max_pages = arg->max_pages ? arg->max_pages : ULONG_MAX;
	request->mask = arg->category_mask;
	request->value = arg->category_mask & ~arg->category_inverted;
	request->anyof = arg->category_anyof_mask;
	request->anyof_inverted = arg->category_inverted;
	request->return_mask = arg->return_mask;
	request->walk_end = &uarg->walk_end;
	request->pages = NULL;
	return 0;
}

/*
 * Take a structure of the @usize bytes that its size member tells into @arg of
 * @ksize, which is at least @min bytes in its first version.
 */
static int pagemap_scan_convert_arg(void *arg, size_t ksize, size_t min,
				    void __user *uarg, u64 usize)
{
	int ret;

	if (usize < min || !IS_ALIGNED(usize, sizeof(u64)))
		return -EINVAL;

	ret = -E2BIG;
	if (usize <= PAGE_SIZE)
		ret = copy_struct_from_user(arg, ksize, uarg, usize);
	if (ret == -E2BIG && put_user((u64)ksize, (u64 __user *)uarg))
		ret = -EFAULT;
	return ret;
}

/* Whether the argument is mainline's; the size member comes first in both. */
static __always_inline bool pagemap_scan_is_pm(unsigned int cmd, u64 size)
{
	return _IOC_SIZE(cmd) != PAGEMAP_SCAN_ARG_SIZE_VER0 ||
	       size == sizeof(struct pm_scan_arg);
}

/* Take an argument of any size. */
static noinline int
pagemap_scan_get_any_arg(struct pagemap_scan_request *request,
			 unsigned int cmd, void __user *uarg)
{
	struct pagemap_scan_arg arg;
	struct pm_scan_arg pm_arg;
	u64 size;
	int ret;

	if (copy_from_user(&size, uarg, sizeof(size)))
		return -EFAULT;

	if (pagemap_scan_is_pm(cmd, size)) {
		ret = pagemap_scan_convert_arg(&pm_arg, sizeof(pm_arg),
					       sizeof(pm_arg), uarg, size);
		return ret ?: pagemap_scan_decode_pm(request, &pm_arg, uarg);
	}

	BUILD_BUG_ON(sizeof(arg) != PAGEMAP_SCAN_ARG_SIZE_VER1);
	BUILD_BUG_ON(sizeof(arg) == sizeof(pm_arg));
	ret = pagemap_scan_convert_arg(&arg, sizeof(arg),
				       PAGEMAP_SCAN_ARG_SIZE_VER0, uarg, size);
	return ret ?: pagemap_scan_decode(request, &arg, uarg, size);
}

/*
 * The same.  Mostly it is as long as the one that is known, and then made of
 * words that need no conversion: to read each and look at it where it is, in
 * place of calls that copy, saves 90 instructions.
 *
 * The size is not read again, as it may have changed.
 */
static __always_inline int
pagemap_scan_get_arg(struct pagemap_scan_request *request, unsigned int cmd,
		     void __user *uarg)
{
	u64 __user *words = uarg;
	struct pagemap_scan_arg arg;
	struct pm_scan_arg pm_arg;
	size_t i;

	if (!PAGEMAP_SCAN_USER_WORDS)
		return pagemap_scan_get_any_arg(request, cmd, uarg);
	if (should_fail_usercopy())
		return -EFAULT;
	if (!user_read_access_begin(words, max(sizeof(arg), sizeof(pm_arg))))
		return pagemap_scan_get_any_arg(request, cmd, uarg);

	unsafe_get_user(arg.size, words, fault);
	if (arg.size == sizeof(pm_arg)) {
		pm_arg.size = arg.size;
		PAGEMAP_SCAN_UNROLL(16)
		for (i = 1; i < sizeof(pm_arg) / sizeof(*words); i++)
			unsafe_get_user(((u64 *)&pm_arg)[i], &words[i], fault);
		user_read_access_end();
		return pagemap_scan_decode_pm(request, &pm_arg, uarg);
	}
	if (arg.size == sizeof(arg) && !pagemap_scan_is_pm(cmd, arg.size)) {
		PAGEMAP_SCAN_UNROLL(16)
		for (i = 1; i < sizeof(arg) / sizeof(*words); i++)
			unsafe_get_user(((u64 *)&arg)[i], &words[i], fault);
		user_read_access_end();
		return pagemap_scan_decode(request, &arg, uarg, sizeof(arg));
	}
	user_read_access_end();
	return pagemap_scan_get_any_arg(request, cmd, uarg);

fault:
	user_read_access_end();
	return -EFAULT;
}

/**
 * pagemap_scan_get_request - take and check the argument of the ioctl
 * @request:	where to store what it asks for
 * @mm:		address space that is to be scanned, of which only the size is
 *		looked at: a reference to the structure will do
 * @cmd:	command number
 * @arg:	struct pagemap_scan_arg or struct pm_scan_arg
 *
 * Return: 0, or
 * -EINVAL for a size, flag, category or value that is not possible,
 * -E2BIG for a structure longer than known that has more than 0 in it,
 * -EFAULT for an argument or vector that cannot be accessed, or a range that is
 * not in @mm.
 */
int pagemap_scan_get_request(struct pagemap_scan_request *request,
			     struct mm_struct *mm, unsigned int cmd,
			     void __user *arg)
{
	unsigned long len;
	int ret;

	ret = pagemap_scan_get_arg(request, cmd, arg);
	if (ret)
		return ret;

	if (!PAGE_ALIGNED(request->start))
		return -EINVAL;
	if (!request->vec && request->vec_len)
		return -EINVAL;

	len = request->end - request->start;
	request->start = untagged_addr(request->start);
	if (request->start > mm->task_size ||
	    len > mm->task_size - request->start)
		return -EFAULT;
	/* The size of an address space is a multiple of the page size */
	request->end = PAGE_ALIGN(request->start + len);

	if (!request->vec_len)
		return 0;
	if (request->vec_len > LONG_MAX / sizeof(struct page_region) ||
	    !access_ok(request->vec,
		       request->vec_len * sizeof(struct page_region)))
		return -EFAULT;
	return 0;
}

/* How many matching pages there are so far. */
static unsigned long pagemap_scan_pages(const struct pagemap_scan *scan)
{
	return scan->request->max_pages - scan->left;
}

/* Write back what the argument takes beside regions. */
static __always_inline int
pagemap_scan_write_back(const struct pagemap_scan_request *request,
			u64 walk_end, u64 pages)
{
	/* Where there are both, they are neighbours */
	const u64 words[] = { walk_end, pages };
	size_t size = (request->pages ? 2 : 1) * sizeof(u64);

	if (!request->walk_end)
		return 0;
	BUILD_BUG_ON(offsetof(struct pagemap_scan_arg, pages) !=
		     offsetofend(struct pagemap_scan_arg, walk_end));
	if (!PAGEMAP_SCAN_USER_WORDS)
		return copy_to_user(request->walk_end, words, size) ? -EFAULT : 0;
	if (should_fail_usercopy() ||
	    !user_write_access_begin(request->walk_end, size))
		return -EFAULT;
	unsafe_put_user(walk_end, request->walk_end, fault);
	if (request->pages)
		unsafe_put_user(pages, request->pages, fault);
	user_write_access_end();
	return 0;
fault:
	user_write_access_end();
	return -EFAULT;
}

/**
 * pagemap_scan_put_result - write back what the argument takes beside regions
 * @scan:	finished call
 *
 * Return: 0, or -EFAULT.
 */
int pagemap_scan_put_result(const struct pagemap_scan *scan)
{
	return pagemap_scan_write_back(scan->request, scan->pos,
				       pagemap_scan_pages(scan));
}

/* The regions */

static bool pagemap_scan_matches(const struct pagemap_scan *scan,
				 u64 categories)
{
	const struct pagemap_scan_request *request = scan->request;

	if ((categories & request->mask) != request->value)
		return false;
	return !request->anyof ||
	       ((categories ^ request->anyof_inverted) & request->anyof);
}

/* Whether pages of these categories are to be write-protected. */
static __always_inline bool
pagemap_scan_protects(const struct pagemap_scan *scan, u64 categories)
{
	return scan->request->flags & PAGEMAP_WP_ENGAGE &&
	       categories & PAGE_IS_WRITTEN &&
	       pagemap_scan_matches(scan, categories);
}

/* How many regions are gathered; the first element only stands for none. */
static unsigned long pagemap_scan_nr_regions(const struct pagemap_scan *scan)
{
	return scan->last - scan->regions;
}

/* Set @scan->limit, as the vector has got fuller or the array emptier. */
static void pagemap_scan_set_limit(struct pagemap_scan *scan)
{
	scan->limit = scan->regions +
		      min_t(unsigned long, scan->max_regions,
			    scan->request->vec_len - scan->copied);
}

/* Whether a page at @addr only makes the last region longer. */
static bool pagemap_scan_extends(const struct pagemap_scan *scan,
				 unsigned long addr, u64 categories)
{
	return scan->last->end == addr && scan->last->categories ==
	       (categories & scan->request->return_mask);
}

/*
 * Copy a region out.  As many a small call finds but one, it is worth the 30
 * instructions that this saves.
 */
static __always_inline int
pagemap_scan_put_region(struct page_region __user *vec,
			const struct page_region *region)
{
	if (!PAGEMAP_SCAN_USER_WORDS)
		return copy_to_user(vec, region, sizeof(*vec)) ? -EFAULT : 0;
	if (should_fail_usercopy() || !user_write_access_begin(vec, sizeof(*vec)))
		return -EFAULT;
	unsafe_put_user(region->start, &vec->start, fault);
	unsafe_put_user(region->end, &vec->end, fault);
	unsafe_put_user(region->categories, &vec->categories, fault);
	user_write_access_end();
	return 0;
fault:
	user_write_access_end();
	return -EFAULT;
}

static int pagemap_scan_put_regions(struct page_region __user *vec,
				    const struct page_region *regions,
				    unsigned long nr, bool nofault)
{
	size_t size = nr * sizeof(*regions);

	if (nofault)
		return copy_to_user_nofault(vec, regions, size);
	if (nr == 1)
		return pagemap_scan_put_region(vec, regions);
	return copy_to_user(vec, regions, size) ? -EFAULT : 0;
}

/*
 * Copy the regions out that are complete: all but the last one, or all when the
 * walk is over.  With @nofault without sleeping, while the mmap lock is held.
 */
static int pagemap_scan_copy_regions(struct pagemap_scan *scan, bool nofault)
{
	unsigned long nr = pagemap_scan_nr_regions(scan);
	struct page_region __user *vec = scan->request->vec + scan->copied;

	if (nr && !scan->done)
		nr--;
	if (!nr)
		return 0;

	if (pagemap_scan_put_regions(vec, scan->regions + 1, nr, nofault))
		return -EFAULT;
	scan->copied += nr;
	scan->last -= nr;
	if (scan->done)
		return 0;
	if (scan->last != scan->regions)
		scan->regions[1] = scan->regions[1 + nr];
	pagemap_scan_set_limit(scan);
	return 0;
}

/*
 * Make room where a walk has ended because no more regions can be gathered.
 * Mostly the vector is in memory, and the mmap lock need not be dropped.  The
 * TLBs may not be flushed yet: that is promised for the return of the call.
 *
 * Not for all architectures, as there are fault handlers that would sleep.
 */
static bool pagemap_scan_make_room(struct pagemap_scan *scan)
{
	return PAGEMAP_SCAN_FAST && !scan->done && scan->last == scan->limit &&
	       !pagemap_scan_copy_regions(scan, true);
}

/*
 * Whether there is room for the matching page at @addr.  If not, the walk ends
 * here: for good, or until the regions so far are copied out.
 */
static bool pagemap_scan_has_room(struct pagemap_scan *scan,
				  unsigned long addr, u64 categories)
{
	unsigned long vec_len = scan->request->vec_len;

	if (scan->left && (!vec_len || scan->last != scan->limit ||
			   pagemap_scan_extends(scan, addr, categories)))
		return true;

	scan->done = !scan->left ||
		     scan->copied + pagemap_scan_nr_regions(scan) == vec_len;
	scan->pos = addr;
	return false;
}

static void pagemap_scan_add_region(struct pagemap_scan *scan,
				    unsigned long addr, unsigned long end,
				    u64 categories)
{
	struct page_region *region = scan->last + 1;

	region->start = addr;
	region->end = end;
	region->categories = categories;
	scan->last = region;
}

/*
 * Take the pages from @addr to @end, which are all in @categories and match,
 * into the result, as far as they fit.  *@taken becomes the end of those that
 * are in the result.
 *
 * Return: 0, or PAGEMAP_SCAN_PAUSE where not all of the pages fit.
 */
static inline int pagemap_scan_take(struct pagemap_scan *scan,
				    unsigned long addr, unsigned long end,
				    u64 categories, unsigned long *taken)
{
	unsigned long pages = (end - addr) >> PAGE_SHIFT;

	*taken = addr;
	if (!pagemap_scan_has_room(scan, addr, categories))
		return PAGEMAP_SCAN_PAUSE;

	pages = min(pages, scan->left);
	*taken = addr + (pages << PAGE_SHIFT);
	scan->left -= pages;

	if (scan->request->vec_len) {
		if (pagemap_scan_extends(scan, addr, categories))
			scan->last->end = *taken;
		else
			pagemap_scan_add_region(scan, addr, *taken,
						categories &
						scan->request->return_mask);
	}

	if (*taken == end)
		return 0;
	scan->done = true;
	scan->pos = *taken;
	return PAGEMAP_SCAN_PAUSE;
}

/* Renew @scan->budget.  Return: as pagemap_scan_charge(). */
static noinline int pagemap_scan_renew_budget(struct pagemap_scan *scan,
					      unsigned long addr)
{
	if (!scan->more || need_resched() ||
	    fatal_signal_pending(current) ||
	    mmap_lock_is_contended(scan->mm)) {
		scan->pos = addr;
		return PAGEMAP_SCAN_PAUSE;
	}
	scan->more--;
	scan->budget += PAGEMAP_SCAN_BUDGET;
	return 0;
}

/*
 * Account @cost entries that are about to be looked at.
 *
 * Return: 0, or PAGEMAP_SCAN_PAUSE when this chunk has looked at enough.
 */
static inline int pagemap_scan_charge(struct pagemap_scan *scan,
				      unsigned long addr, int cost)
{
	if (unlikely(scan->budget <= 0) && pagemap_scan_renew_budget(scan, addr))
		return PAGEMAP_SCAN_PAUSE;
	scan->budget -= cost;
	return 0;
}

/* Who sees what */

/*
 * Whether the caller is to see that a VMA is registered for write-protection.
 *
 * What is tracked from outside, by PAGEMAP_USERFAULTFD, is seen through the
 * pagemap file that it was asked of, and by nobody else: not by the process,
 * which goes on as if nobody looked, nor by others who look from outside, as
 * who protects pages again would take what is written from the tracker.  With
 * PAGEMAP_WP_FOREIGN, the tracker sees nothing else: it must not protect what
 * the process tracks, also where that began only a moment ago.
 *
 * Called with the mmap lock held, which keeps the registration.
 */
static noinline bool
pagemap_scan_sees_registered(const struct pagemap_scan *scan,
			     struct vm_area_struct *vma)
{
	bool own = scan->mm == current->mm;

	if (!own && userfaultfd_is_tracked_by(vma, scan->pagemap))
		return true;
	return !(scan->request->flags & PAGEMAP_WP_FOREIGN) &&
	       !userfaultfd_is_foreign(vma);
}

static inline bool pagemap_scan_sees_wp(const struct pagemap_scan *scan,
					struct vm_area_struct *vma)
{
	return userfaultfd_wp(vma) && pagemap_scan_sees_registered(scan, vma);
}

/* Whether the caller can protect the pages of a VMA.  Called like that, too. */
static bool pagemap_scan_can_protect(const struct pagemap_scan *scan,
				     struct vm_area_struct *vma)
{
	return userfaultfd_wp_async(vma) && pagemap_scan_sees_wp(scan, vma);
}

/* Categories */

/* What a populated entry is in because it is protected, or is not. */
static u64 pagemap_scan_written(const struct pagemap_scan *scan, bool protected)
{
	return protected && !scan->wp_hidden ? 0 : PAGE_IS_WRITTEN;
}

static u64 pagemap_scan_page_categories(struct page *page)
{
	return page && !PageAnon(page) ? PAGE_IS_FILE : 0;
}

/* What the present entry @pte at @addr is in because of its page. */
static u64 pagemap_scan_mapped_categories(const struct pagemap_scan *scan,
					  unsigned long addr, pte_t pte)
{
	if (is_zero_pfn(pte_pfn(pte)))
		return PAGE_IS_PFNZERO;
	if (scan->file == PAGEMAP_SCAN_FILE_NONE)
		return 0;
	if (scan->file == PAGEMAP_SCAN_FILE_ALL || pte_devmap(pte))
		return PAGE_IS_FILE;
	return pagemap_scan_page_categories(vm_normal_page(scan->vma, addr,
							   pte));
}

/*
 * Categories of the entry @pte, empty, of a page or not present, at @addr, as
 * far as they are wanted.
 */
static u64 pagemap_scan_pte_categories(const struct pagemap_scan *scan,
				       unsigned long addr, pte_t pte)
{
	u64 categories = scan->vma_categories;

	if (pte_none(pte))
		return scan->hole_categories;

	if (pte_present(pte)) {
		categories |= PAGE_IS_PRESENT;
		categories |= pagemap_scan_written(scan, pte_uffd_wp(pte));
		if (pte_soft_dirty(pte))
			categories |= PAGE_IS_SOFT_DIRTY;
		if (scan->wanted & (PAGE_IS_PFNZERO | PAGE_IS_FILE))
			categories |= pagemap_scan_mapped_categories(scan, addr,
								     pte);
	} else {
		swp_entry_t entry = pte_to_swp_entry(pte);

		if (is_hwpoison_entry(entry) || is_swapin_error_entry(entry))
			return 0;
		if (pte_swp_soft_dirty(pte))
			categories |= PAGE_IS_SOFT_DIRTY;
		/* A hole, but one that is protected */
		if (is_pte_marker_entry(entry))
			return categories & scan->wanted;

		categories |= is_migration_entry(entry) ? PAGE_IS_PRESENT :
							  PAGE_IS_SWAPPED;
		categories |= pagemap_scan_written(scan, pte_swp_uffd_wp(pte));
		if (scan->file != PAGEMAP_SCAN_FILE_NONE &&
		    is_pfn_swap_entry(entry)) {
			struct page *page = pfn_swap_entry_to_page(entry);

			categories |= pagemap_scan_page_categories(page);
		}
	}
	return categories & scan->wanted;
}

/* Kinds of entries */

/*
 * Address of the page that an entry is for.  @origin, for all entries of a
 * table, is that of an entry at the address 0: so it takes a shift and an add.
 */
static unsigned long pagemap_scan_addr(unsigned long origin, const pte_t *ptep)
{
	return origin + (unsigned long)ptep * (PAGE_SIZE / sizeof(*ptep));
}

/*
 * Neighbouring entries mostly agree in all that their categories depend on.  To
 * see that takes one to four instructions for each of them, where finding its
 * categories takes thirty, and matching these ten.
 */
#if PAGEMAP_SCAN_FAST
/* The bits that stand there, which paravirtualization would translate. */
static u64 pagemap_scan_bits(pte_t pte)
{
#ifdef CONFIG_X86
	return native_pte_val(pte);
#else
	return pte_val(pte);
#endif
}

/* The bits of the page's number. */
#ifdef CONFIG_X86
#define PAGEMAP_SCAN_PFN_BITS	((u64)PTE_PFN_MASK)
#else
#define PAGEMAP_SCAN_PFN_BITS	(~(u64)(PAGE_SIZE - 1))
#endif

/* Describe the entry @pte, to tell its kind. */
static void pagemap_scan_set_kind(const struct pagemap_scan *scan,
				  unsigned long addr, pte_t pte,
				  struct pagemap_scan_kind *kind)
{
	u64 value = pagemap_scan_bits(pte), key;
	bool looks = false;

	kind->value = value;
	kind->key = ~0ULL;
	kind->look_key = 0;
	kind->all_ones = false;
	if (!pte_present(pte)) {
		/* The page may be another one when the lock was dropped */
		if (scan->file == PAGEMAP_SCAN_FILE_LOOK && !pte_none(pte) &&
		    is_pfn_swap_entry(pte_to_swp_entry(pte)))
			kind->value = ~0ULL;
		return;
	}

	key = value & _PAGE_PRESENT ? _PAGE_PRESENT :
				      _PAGE_PRESENT | _PAGE_PROTNONE;
	if (scan->wanted & PAGE_IS_WRITTEN && !scan->wp_hidden)
		key |= pagemap_scan_bits(pte_mkuffd_wp(pte)) ^
		       pagemap_scan_bits(pte_clear_uffd_wp(pte));
	if (scan->wanted & PAGE_IS_SOFT_DIRTY)
		key |= pagemap_scan_bits(pte_mksoft_dirty(pte)) ^
		       pagemap_scan_bits(pte_clear_soft_dirty(pte));
	if (!(scan->wanted & (PAGE_IS_PFNZERO | PAGE_IS_FILE))) {
		kind->key = key;
		kind->all_ones = !(~value & key);
		return;
	}

	/* The page counts, too */
	if (pte_special(pte))
		return;
	key |= pagemap_scan_bits(pte_mkspecial(pte)) ^ value;
	if (!IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) ||
	    scan->vma->vm_flags & (VM_IO | VM_MIXEDMAP)) {
		/* The zero page may stand there like any other */
		looks = true;
		kind->look = scan->file == PAGEMAP_SCAN_FILE_LOOK ?
			     PAGEMAP_SCAN_LOOK_PAGE : PAGEMAP_SCAN_LOOK_ZERO;
	} else if (scan->file == PAGEMAP_SCAN_FILE_LOOK) {
		/* In a private mapping, a page that can be written is a copy */
		key |= pagemap_scan_bits(pte_mkwrite(pte)) ^
		       pagemap_scan_bits(pte_wrprotect(pte));
		looks = !pte_write(pte);
		kind->look = PAGEMAP_SCAN_LOOK_ANON;
	}
	if (!looks) {
		kind->key = key;
		kind->all_ones = !(~value & key);
		return;
	}
	kind->value = ~0ULL;	/* no entry is like that */
	kind->look_value = value;
	kind->look_key = key;
	kind->mapped = pagemap_scan_mapped_categories(scan, addr, pte);
	kind->anon = !kind->mapped;
	kind->zero = kind->mapped == PAGE_IS_PFNZERO;
}

static noinline bool
pagemap_scan_maps_same(const struct pagemap_scan *scan,
		       const struct pagemap_scan_kind *kind,
		       unsigned long addr, pte_t pte)
{
	return kind->mapped == pagemap_scan_mapped_categories(scan, addr, pte);
}

/* Whether an entry is of a kind for which its page has to be looked at. */
static __always_inline bool
pagemap_scan_looks_like(const struct pagemap_scan *scan,
			const struct pagemap_scan_kind *kind,
			unsigned long origin, const pte_t *ptep)
{
	pte_t pte = *ptep;

	if ((pagemap_scan_bits(pte) ^ kind->look_value) & kind->look_key)
		return false;
	/*
	 * vm_normal_page() would say the same, but cost 20 instructions more:
	 * the entry is not special, nor that of a driver.
	 */
	if (kind->look == PAGEMAP_SCAN_LOOK_ANON)
		return !!PageAnon(pte_page(pte)) == kind->anon;
	if (kind->look == PAGEMAP_SCAN_LOOK_ZERO)
		return !!is_zero_pfn(pte_pfn(pte)) == kind->zero;
	return pagemap_scan_maps_same(scan, kind,
				      pagemap_scan_addr(origin, ptep), pte);
}

static __always_inline bool
pagemap_scan_is_kind(const struct pagemap_scan_kind *kind, pte_t pte)
{
	return !((pagemap_scan_bits(pte) ^ kind->value) & kind->key);
}

#define PAGEMAP_SCAN_BLOCK	16

/*
 * How many entries of a block, from its first one on, are of @kind.  Takes four
 * instructions for an entry, or two where all the bits that count are 1, as
 * they are for a page that is still protected.
 */
static __always_inline int
pagemap_scan_count_in_block(const struct pagemap_scan_kind *kind,
			    const pte_t *ptep, bool all_ones)
{
	int i, j;

	PAGEMAP_SCAN_UNROLL(4)
	for (i = 0; i < PAGEMAP_SCAN_BLOCK; i += 4) {
		if (all_ones) {
			u64 bits = pagemap_scan_bits(ptep[i]) &
				   pagemap_scan_bits(ptep[i + 1]) &
				   pagemap_scan_bits(ptep[i + 2]) &
				   pagemap_scan_bits(ptep[i + 3]);

			if (!(~bits & kind->key))
				continue;
			/* To load an entry again is cheaper than to keep it */
			barrier();
		}
		PAGEMAP_SCAN_UNROLL(4)
		for (j = 0; j < 4; j++) {
			if (!pagemap_scan_is_kind(kind, ptep[i + j]))
				return i + j;
		}
	}
	return PAGEMAP_SCAN_BLOCK;
}

/*
 * Whether a block of entries is of one kind.  Takes two instructions for an
 * entry, or one where all the bits that count are 1, or all are 0.  The page
 * table lock keeps them as they are, but for bits that the hardware sets, which
 * do not count.
 */
static __always_inline bool
pagemap_scan_block_is_kind(u64 ones, u64 zeros, const pte_t *ptep)
{
	u64 bits;
	int i;

	if (ones) {
		bits = pagemap_scan_bits(ptep[0]);
		PAGEMAP_SCAN_UNROLL(16)
		for (i = 1; i < PAGEMAP_SCAN_BLOCK; i++)
			bits &= pagemap_scan_bits(ptep[i]);
		if (~bits & ones)
			return false;
	}
	if (zeros) {
		barrier();	/* as above */
		bits = pagemap_scan_bits(ptep[0]);
		PAGEMAP_SCAN_UNROLL(16)
		for (i = 1; i < PAGEMAP_SCAN_BLOCK; i++)
			bits |= pagemap_scan_bits(ptep[i]);
		if (bits & zeros)
			return false;
	}
	return true;
}

/*
 * The first entry from @ptep to @end that is not of @kind, which is not that of
 * the zero page, where no bit tells that one.  Takes five instructions for an
 * entry, where to look at one after the other takes seven.
 */
static pte_t *pagemap_scan_find_zero(const struct pagemap_scan_kind *kind,
				     pte_t *ptep, pte_t *end)
{
	u64 value = kind->look_value, key = kind->look_key;
	/* The entry that the zero page would have; Xen numbers pages anew */
	u64 zero = (value & ~PAGEMAP_SCAN_PFN_BITS) |
		   (pagemap_scan_bits(pfn_pte(my_zero_pfn(0), PAGE_READONLY)) &
		    PAGEMAP_SCAN_PFN_BITS);
	u64 bits, differing;
	int i;

	/* The page number in an entry without access may be inverted */
	while (value & _PAGE_PRESENT && end - ptep >= PAGEMAP_SCAN_BLOCK) {
		differing = 0;
		PAGEMAP_SCAN_UNROLL(16)
		for (i = 0; i < PAGEMAP_SCAN_BLOCK; i++) {
			bits = pagemap_scan_bits(ptep[i]) ^ zero;
			if (!(bits & PAGEMAP_SCAN_PFN_BITS))
				goto one_by_one;
			differing |= bits;
		}
		if (differing & key)
			break;
		ptep += PAGEMAP_SCAN_BLOCK;
	}
one_by_one:
	for (; ptep < end; ptep++) {
		if ((pagemap_scan_bits(*ptep) ^ value) & key ||
		    is_zero_pfn(pte_pfn(*ptep)))
			break;
	}
	return ptep;
}

/* The first entry from @ptep to @end that is not of @kind, of a long run. */
static noinline pte_t *
pagemap_scan_end_of_long_run(const struct pagemap_scan *scan,
			     const struct pagemap_scan_kind *kind,
			     unsigned long origin, pte_t *ptep, pte_t *end)
{
	u64 ones = kind->value & kind->key;
	u64 zeros = ~kind->value & kind->key;

	if (kind->look_key && kind->look == PAGEMAP_SCAN_LOOK_ZERO &&
	    !kind->zero)
		return pagemap_scan_find_zero(kind, ptep, end);
	if (kind->look_key) {
		while (ptep < end &&
		       pagemap_scan_looks_like(scan, kind, origin, ptep))
			ptep++;
		return ptep;
	}
	while (end - ptep >= PAGEMAP_SCAN_BLOCK &&
	       pagemap_scan_block_is_kind(ones, zeros, ptep))
		ptep += PAGEMAP_SCAN_BLOCK;
	while (ptep < end && pagemap_scan_is_kind(kind, *ptep))
		ptep++;
	return ptep;
}

/* The first entry from @ptep to @end that is not of @kind. */
static __always_inline pte_t *
pagemap_scan_end_of_kind(const struct pagemap_scan *scan,
			 const struct pagemap_scan_kind *kind,
			 unsigned long origin, pte_t *ptep, pte_t *end)
{
	int nr;

	if (ptep <= end - PAGEMAP_SCAN_BLOCK) {
		if (kind->all_ones)
			nr = pagemap_scan_count_in_block(kind, ptep, true);
		else if (!kind->look_key)
			nr = pagemap_scan_count_in_block(kind, ptep, false);
		else
			nr = PAGEMAP_SCAN_BLOCK;
		if (nr != PAGEMAP_SCAN_BLOCK)
			return ptep + nr;
	}
	/* Looks at them once more, but that is little for a long run */
	return pagemap_scan_end_of_long_run(scan, kind, origin, ptep, end);
}
#else /* !PAGEMAP_SCAN_FAST: which bits tell a present entry? */
static void pagemap_scan_set_kind(const struct pagemap_scan *scan,
				  unsigned long addr, pte_t pte,
				  struct pagemap_scan_kind *kind)
{
	kind->look_key = 0;
}

static bool pagemap_scan_looks_like(const struct pagemap_scan *scan,
				    const struct pagemap_scan_kind *kind,
				    unsigned long origin, const pte_t *ptep)
{
	return false;
}

static bool pagemap_scan_is_kind(const struct pagemap_scan_kind *kind,
				 pte_t pte)
{
	return false;
}

static pte_t *pagemap_scan_end_of_kind(const struct pagemap_scan *scan,
				       const struct pagemap_scan_kind *kind,
				       unsigned long origin, pte_t *ptep,
				       pte_t *end)
{
	return ptep;
}
#endif /* !PAGEMAP_SCAN_FAST */

/* The same where a call does not count: about ten instructions. */
static noinline pte_t *
pagemap_scan_end_of_run(const struct pagemap_scan *scan,
			const struct pagemap_scan_kind *kind,
			unsigned long origin, pte_t *ptep, pte_t *end)
{
	return pagemap_scan_end_of_kind(scan, kind, origin, ptep, end);
}

static void pagemap_scan_judge_kind(const struct pagemap_scan *scan,
				    struct pagemap_scan_kind *kind,
				    u64 categories)
{
	kind->categories = categories & scan->request->return_mask;
	kind->matches = pagemap_scan_matches(scan, categories);
	kind->protects = pagemap_scan_protects(scan, categories);
}

static __always_inline bool
pagemap_scan_fits_kind(const struct pagemap_scan *scan,
		       const struct pagemap_scan_kind *kind,
		       unsigned long origin, const pte_t *ptep)
{
	return pagemap_scan_is_kind(kind, *ptep) ||
	       (kind->look_key &&
		pagemap_scan_looks_like(scan, kind, origin, ptep));
}

/* Have a kind at hand. */
static const struct pagemap_scan_kind *
pagemap_scan_use_kind(struct pagemap_scan *scan,
		      const struct pagemap_scan_kind *kind)
{
	if (kind->matches)
		scan->take = kind;
	else
		scan->skip = kind;
	return kind;
}

/* Find the kind of an entry, and have it at hand. */
static noinline const struct pagemap_scan_kind *
pagemap_scan_find_kind(struct pagemap_scan *scan, unsigned long origin,
		       const pte_t *ptep)
{
	unsigned long addr = pagemap_scan_addr(origin, ptep);
	struct pagemap_scan_kind *kind;
	pte_t pte = *ptep;

	for (kind = scan->kinds; kind < scan->kinds + scan->nr_kinds; kind++) {
		if (pagemap_scan_fits_kind(scan, kind, origin, ptep))
			return pagemap_scan_use_kind(scan, kind);
	}

	if (scan->nr_kinds < PAGEMAP_SCAN_KINDS) {
		kind = &scan->kinds[scan->nr_kinds++];
	} else {
		do {
			kind = &scan->kinds[scan->next_kind];
			scan->next_kind = (scan->next_kind + 1) %
					  PAGEMAP_SCAN_KINDS;
		} while (kind == scan->skip || kind == scan->take);
	}
	pagemap_scan_judge_kind(scan, kind,
				pagemap_scan_pte_categories(scan, addr, pte));
	pagemap_scan_set_kind(scan, addr, pte, kind);
	return pagemap_scan_use_kind(scan, kind);
}

/* A kind that no entry is of. */
static const struct pagemap_scan_kind pagemap_scan_no_kind = {
	.value = ~0ULL,
	.key = ~0ULL,
};

/* Begin with a VMA: an entry stands for something else than in another one. */
static void pagemap_scan_forget_kinds(struct pagemap_scan *scan)
{
	scan->skip = &pagemap_scan_no_kind;
	scan->take = &pagemap_scan_no_kind;
	scan->nr_kinds = 0;
	scan->next_kind = 0;
}

/* Protection */

static void pagemap_scan_flush(struct pagemap_scan *scan,
			       struct vm_area_struct *vma)
{
	if (scan->flush_start < scan->flush_end) {
		flush_tlb_range(vma, scan->flush_start, scan->flush_end);
		scan->protected_end = max(scan->protected_end,
					  scan->flush_end);
	}
	scan->flush_start = ULONG_MAX;
	scan->flush_end = 0;
}

/* The form of a swap, migration or device entry that cannot be written. */
static swp_entry_t pagemap_scan_readable(swp_entry_t entry)
{
	pgoff_t offset = swp_offset(entry);

	if (is_writable_migration_entry(entry)) {
		if (PageAnon(pfn_swap_entry_to_page(entry)))
			return make_readable_exclusive_migration_entry(offset);
		return make_readable_migration_entry(offset);
	}
	if (is_writable_device_private_entry(entry))
		return make_readable_device_private_entry(offset);
	if (is_writable_device_exclusive_entry(entry))
		return make_readable_device_exclusive_entry(offset);
	return entry;
}

static pte_t pagemap_scan_protect_swp_pte(pte_t pte)
{
	swp_entry_t entry = pte_to_swp_entry(pte);
	swp_entry_t readable = pagemap_scan_readable(entry);

	/*
	 * An entry left writable would give write access back when the page
	 * returns, without a fault.
	 */
	if (readable.val != entry.val) {
		pte_t newpte = swp_entry_to_pte(readable);

		if (pte_swp_soft_dirty(pte))
			newpte = pte_swp_mksoft_dirty(newpte);
		pte = newpte;
	}
	return pte_swp_mkuffd_wp(pte);
}

/* Protect an entry without a page, but for a poisoned or a protected one. */
static noinline void
pagemap_scan_protect_absent_pte(struct vm_area_struct *vma, unsigned long addr,
				pte_t *ptep)
{
	pte_t pte = *ptep;

	if (pte_none(pte)) {
		set_pte_at(vma->vm_mm, addr, ptep,
			   make_pte_marker(PTE_MARKER_UFFD_WP));
	} else {
		swp_entry_t entry = pte_to_swp_entry(pte);

		if (is_hwpoison_entry(entry) || is_swapin_error_entry(entry) ||
		    is_pte_marker_entry(entry))
			return;
		set_pte_at(vma->vm_mm, addr, ptep,
			   pagemap_scan_protect_swp_pte(pte));
	}
}

static void pagemap_scan_protect_present_pte(struct vm_area_struct *vma,
					     unsigned long addr, pte_t *ptep)
{
	/* Atomic against the hardware, which sets dirty and accessed */
	pte_t old = ptep_modify_prot_start(vma, addr, ptep);

	ptep_modify_prot_commit(vma, addr, ptep, old,
				pte_wrprotect(pte_mkuffd_wp(old)));
}

/*
 * Protect the entries of the pages from @addr to @end, whatever they are.
 * Called with the page table lock held, of a VMA with async write-protection,
 * and for pages behind those that the call protected before.
 */
static noinline void pagemap_scan_protect_ptes(struct pagemap_scan *scan,
					       unsigned long addr,
					       unsigned long end, pte_t *ptep)
{
	struct vm_area_struct *vma = scan->vma;

	/*
	 * Also for an entry that is not present: reclaim and others may have
	 * replaced a writable one, and not have flushed the TLBs yet.
	 */
	scan->flush_start = min(scan->flush_start, addr);
	scan->flush_end = end;

	for (; addr < end; addr += PAGE_SIZE, ptep++) {
		if (pte_present(*ptep))
			pagemap_scan_protect_present_pte(vma, addr, ptep);
		else
			pagemap_scan_protect_absent_pte(vma, addr, ptep);
	}
}

/*
 * The same for the entries from @ptep to @end of a table, see
 * pagemap_scan_addr(), which are alike: most of all for a few present ones.
 */
static __always_inline void
pagemap_scan_protect_run(struct pagemap_scan *scan, unsigned long addr,
			 unsigned long end, pte_t *ptep, const pte_t *end_ptep)
{
	if (unlikely(!pte_present(*ptep))) {
		pagemap_scan_protect_ptes(scan, addr, end, ptep);
		return;
	}
	if (scan->flush_start > addr)
		scan->flush_start = addr;
	scan->flush_end = end;
	do {
		pagemap_scan_protect_present_pte(scan->vma, addr, ptep);
		addr += PAGE_SIZE;
	} while (++ptep != end_ptep);
}

/*
 * Announce to secondary MMUs that pages of the range are about to be protected.
 * May sleep.
 */
static void pagemap_scan_notify_start(struct mmu_notifier_range *range,
				      struct vm_area_struct *vma,
				      unsigned long addr, unsigned long end)
{
	mmu_notifier_range_init(range, MMU_NOTIFY_PROTECTION_PAGE, 0, vma,
				vma->vm_mm, addr, end);
	mmu_notifier_invalidate_range_start(range);
}

/* The TLBs come first: promise 2 */
static void pagemap_scan_notify_end(struct pagemap_scan *scan,
				    struct mmu_notifier_range *range,
				    struct vm_area_struct *vma)
{
	pagemap_scan_flush(scan, vma);
	mmu_notifier_invalidate_range_end(range);
}

/* Page tables */

/*
 * Find the entries that are going to be protected, so that only these need be
 * announced to secondary MMUs.  False where there are none.
 */
static bool pagemap_scan_look(struct pagemap_scan *scan, pmd_t *pmd,
			      unsigned long addr, unsigned long end,
			      unsigned long *first, unsigned long *last)
{
	const struct pagemap_scan_kind *kind;
	pte_t *start_pte, *end_pte, *ptep, *run;
	unsigned long origin;
	bool found = false;
	spinlock_t *ptl;

	start_pte = pte_offset_map_lock(scan->vma->vm_mm, pmd, addr, &ptl);
	end_pte = start_pte + ((end - addr) >> PAGE_SHIFT);
	origin = addr - pagemap_scan_addr(0, start_pte);
	for (ptep = start_pte; ptep < end_pte; ) {
		kind = pagemap_scan_find_kind(scan, origin, ptep);
		run = ptep;
		ptep = pagemap_scan_end_of_run(scan, kind, origin, ptep + 1,
					       end_pte);
		if (!kind->protects)
			continue;
		if (!found)
			*first = pagemap_scan_addr(origin, run);
		*last = pagemap_scan_addr(origin, ptep);
		found = true;
	}
	pte_unmap_unlock(start_pte, ptl);
	return found;
}

/*
 * Take the pages from @addr to @end, whose entries are of @kind, into the
 * result, and protect them where that is asked for and between @first and
 * @last.  *@taken becomes where that ended; where that is before @end, the scan
 * of the table ends, too.
 *
 * Return: 0, or PAGEMAP_SCAN_PAUSE.
 */
static noinline int
pagemap_scan_take_run(struct pagemap_scan *scan,
		      const struct pagemap_scan_kind *kind, pte_t *ptep,
		      unsigned long addr, unsigned long end,
		      unsigned long first, unsigned long last,
		      unsigned long *taken)
{
	int ret;

	*taken = addr;
	if (kind->protects) {
		/* What lies outside was not announced */
		if (addr < first || addr >= last)
			return 0;
		end = min(end, last);
	}
	ret = pagemap_scan_take(scan, addr, end, kind->categories, taken);
	if (kind->protects && *taken > addr)
		pagemap_scan_protect_ptes(scan, addr, *taken, ptep);
	return ret;
}

/*
 * The same for the entries from @ptep to @end, where all the pages fit, but for
 * the vector, and have been announced.  False where that takes
 * pagemap_scan_take_run().
 */
static __always_inline bool
pagemap_scan_take_run_quickly(struct pagemap_scan *scan,
			      const struct pagemap_scan_kind *kind,
			      unsigned long origin, pte_t *ptep,
			      const pte_t *end_ptep,
			      const struct page_region *limit)
{
	unsigned long addr = pagemap_scan_addr(origin, ptep);
	unsigned long end = pagemap_scan_addr(origin, end_ptep);

	if (unlikely(scan->last >= limit || scan->last->end == addr))
		return false;
	pagemap_scan_add_region(scan, addr, end, kind->categories);
	if (kind->protects)
		pagemap_scan_protect_run(scan, addr, end, ptep, end_ptep);
	return true;
}

/*
 * Scan the entries of a page table from *@addr to @end, and protect where that
 * is asked for and between @first and @last.  *@addr becomes where it ended,
 * which is before @end only with PAGEMAP_SCAN_PAUSE, or at a page that is to be
 * protected but was not announced.
 *
 * Often pages that match alternate with others: the entry behind a run of the
 * ones is first compared with what the last of the others was like.  That, and
 * no call in between, makes a page cost 24 instructions where every other one
 * is reported, in place of 150.
 */
static int pagemap_scan_ptes(struct pagemap_scan *scan, pmd_t *pmd,
			     unsigned long *addr, unsigned long end,
			     unsigned long first, unsigned long last)
{
	const struct pagemap_scan_kind *kind, *skip = scan->skip;
	const struct pagemap_scan_kind *take = scan->take;
	unsigned long origin, from = *addr, to, taken, quickly = 0;
	const struct page_region *limit = scan->limit;
	pte_t *start_pte, *end_pte, *ptep, *run;
	spinlock_t *ptl;
	int ret = 0;

	/* Then nothing is taken quickly */
	if (scan->left < (end - from) >> PAGE_SHIFT || scan->notify)
		limit = scan->regions;

	start_pte = pte_offset_map_lock(scan->vma->vm_mm, pmd, from, &ptl);
	end_pte = start_pte + ((end - from) >> PAGE_SHIFT);
	origin = from - pagemap_scan_addr(0, start_pte);
	arch_enter_lazy_mmu_mode();
	ptep = start_pte;
	*addr = end;
	for (;;) {
		if (!pagemap_scan_fits_kind(scan, take, origin, ptep)) {
			if (!pagemap_scan_fits_kind(scan, skip, origin, ptep)) {
				kind = pagemap_scan_find_kind(scan, origin,
							      ptep);
				skip = scan->skip;
				take = scan->take;
				if (kind->matches)
					goto taking;
			}
skipping:		/* an entry of the kind 'skip' */
			if (++ptep == end_pte)
				break;
			if (!pagemap_scan_fits_kind(scan, take, origin, ptep)) {
				ptep = pagemap_scan_end_of_kind(scan, skip,
								origin, ptep,
								end_pte);
				if (ptep == end_pte)
					break;
				continue;
			}
		}

taking:			/* an entry of the kind 'take' */
		run = ptep++;
		if (ptep != end_pte &&
		    pagemap_scan_fits_kind(scan, skip, origin, ptep)) {
			if (pagemap_scan_take_run_quickly(scan, take, origin,
							  run, ptep, limit)) {
				quickly += ptep - run;
				goto skipping;
			}
		} else {
			if (ptep != end_pte)
				ptep = pagemap_scan_end_of_run(scan, take,
							       origin, ptep,
							       end_pte);
			if (pagemap_scan_take_run_quickly(scan, take, origin,
							  run, ptep, limit)) {
				quickly += ptep - run;
				if (ptep == end_pte)
					break;
				continue;
			}
		}

		from = pagemap_scan_addr(origin, run);
		to = pagemap_scan_addr(origin, ptep);
		scan->left -= quickly;
		quickly = 0;
		ret = pagemap_scan_take_run(scan, take, run, from, to, first,
					    last, &taken);
		if (ret || taken != to) {
			*addr = taken;
			break;
		}
		if (ptep == end_pte)
			break;
	}
	arch_leave_lazy_mmu_mode();
	pte_unmap_unlock(start_pte, ptl);

	scan->left -= quickly;
	return ret;
}

static int pagemap_scan_pte_table(struct pagemap_scan *scan, pmd_t *pmd,
				  unsigned long addr, unsigned long end)
{
	int ret;

	if (!scan->notify) {
		do {
			ret = pagemap_scan_ptes(scan, pmd, &addr, end, addr,
						end);
		} while (ret && pagemap_scan_make_room(scan));
		return ret;
	}

	/*
	 * What is to be announced must be known before, and may have changed
	 * when the lock is held again: take it in steps.
	 */
	do {
		struct mmu_notifier_range range;
		unsigned long first = 0, last = 0;
		bool found;

		found = pagemap_scan_look(scan, pmd, addr, end, &first,
					  &last);
		if (found)
			pagemap_scan_notify_start(&range, scan->vma, first,
						  last);
		ret = pagemap_scan_ptes(scan, pmd, &addr, end, first, last);
		if (found)
			pagemap_scan_notify_end(scan, &range, scan->vma);
	} while (!ret && addr < end);
	return ret;
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
static u64 pagemap_scan_pmd_categories(const struct pagemap_scan *scan,
				       pmd_t pmd)
{
	u64 categories = scan->vma_categories | PAGE_IS_PRESENT | PAGE_IS_HUGE;
	struct page *page = NULL;

	if (pmd_present(pmd)) {
		categories |= pagemap_scan_written(scan, pmd_uffd_wp(pmd));
		if (pmd_soft_dirty(pmd))
			categories |= PAGE_IS_SOFT_DIRTY;
		if (is_huge_zero_pmd(pmd))
			categories |= PAGE_IS_PFNZERO;
		else if (scan->file == PAGEMAP_SCAN_FILE_ALL || pmd_devmap(pmd))
			categories |= PAGE_IS_FILE;
		else if (scan->file == PAGEMAP_SCAN_FILE_LOOK)
			page = pmd_page(pmd);
	} else {
		/* Only a huge page under migration stands in such a PMD */
		categories |= pagemap_scan_written(scan, pmd_swp_uffd_wp(pmd));
		if (pmd_swp_soft_dirty(pmd))
			categories |= PAGE_IS_SOFT_DIRTY;
		if (scan->file != PAGEMAP_SCAN_FILE_NONE)
			page = pfn_swap_entry_to_page(pmd_to_swp_entry(pmd));
	}
	categories |= pagemap_scan_page_categories(page);
	return categories & scan->wanted;
}

/* Protect a PMD of anonymous memory.  Called with the page table lock held. */
static void pagemap_scan_protect_pmd(struct pagemap_scan *scan,
				     struct vm_area_struct *vma,
				     unsigned long addr, pmd_t *pmdp)
{
	pmd_t pmd = *pmdp;

	if (pmd_present(pmd)) {
		/* Flushes the TLBs: a split or a copy may follow at once */
		pmd = pmdp_invalidate(vma, addr, pmdp);
		set_pmd_at(vma->vm_mm, addr, pmdp,
			   pmd_wrprotect(pmd_mkuffd_wp(pmd)));
	} else {
		swp_entry_t entry = pmd_to_swp_entry(pmd);
		swp_entry_t readable = pagemap_scan_readable(entry);

		if (readable.val != entry.val) {
			pmd_t newpmd = swp_entry_to_pmd(readable);

			if (pmd_swp_soft_dirty(pmd))
				newpmd = pmd_swp_mksoft_dirty(newpmd);
			pmd = newpmd;
		}
		set_pmd_at(vma->vm_mm, addr, pmdp, pmd_swp_mkuffd_wp(pmd));
	}
	scan->protected_end = addr + HPAGE_PMD_SIZE;
}

/*
 * Protect the pages from @addr to @end, which are in the result already, but
 * stood in a huge PMD that they are only a part of, or that is of a file.  The
 * rest of its pages stay as they are: the next call has to find them.
 *
 * Promise 1 holds although the lock was dropped in between: each of the pages is
 * reported as written, so that it does not matter what became of it since, and
 * whatever stands there now is protected under the lock.
 */
static int pagemap_scan_protect_split(struct pagemap_scan *scan,
				      struct vm_area_struct *vma, pmd_t *pmd,
				      unsigned long addr, unsigned long end)
{
	struct mmu_notifier_range range;
	pte_t *ptep;
	spinlock_t *ptl;
	int err = 0;

	do {
		if (vma_is_anonymous(vma))
			split_huge_pmd(vma, pmd, addr);
		else
			err = split_huge_file_pmd(vma, pmd, addr);
		/* It may also be gone */
		if (err || pte_alloc(vma->vm_mm, pmd))
			return -ENOMEM;
		cond_resched();
	} while (pmd_trans_unstable(pmd));

	/* A page table, and an entry for each page of it */
	scan->budget -= HPAGE_PMD_NR;

	if (scan->notify)
		pagemap_scan_notify_start(&range, vma, addr, end);
	ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	arch_enter_lazy_mmu_mode();
	pagemap_scan_protect_ptes(scan, addr, end, ptep);
	arch_leave_lazy_mmu_mode();
	pte_unmap_unlock(ptep, ptl);
	if (scan->notify)
		pagemap_scan_notify_end(scan, &range, vma);
	return 0;
}

/*
 * Scan a huge PMD, from @addr to @end in it.  *@again is set where it is not,
 * or no longer, a huge one.
 */
static int pagemap_scan_huge_pmd(struct pagemap_scan *scan,
				 struct vm_area_struct *vma, pmd_t *pmd,
				 unsigned long addr, unsigned long end,
				 bool *again)
{
	struct mmu_notifier_range range;
	bool announced = false, protects, whole;
	unsigned long taken;
	spinlock_t *ptl;
	u64 categories;
	int ret, err;

retry:
	ptl = pmd_trans_huge_lock(pmd, vma);
	if (!ptl) {
		*again = true;
		ret = 0;
		goto out;
	}
	__acquire(ptl);		/* sparse does not see into the call */

	categories = pagemap_scan_pmd_categories(scan, *pmd);
	protects = pagemap_scan_protects(scan, categories);
	whole = end - addr == HPAGE_PMD_SIZE && vma_is_anonymous(vma) &&
		scan->left >= HPAGE_PMD_NR;

	if (protects && whole && scan->notify && !announced) {
		spin_unlock(ptl);
		pagemap_scan_notify_start(&range, vma, addr, end);
		announced = true;
		goto retry;
	}

	taken = addr;
	ret = 0;
	if (pagemap_scan_matches(scan, categories))
		ret = pagemap_scan_take(scan, addr, end, categories, &taken);
	if (protects && whole && taken == end)
		pagemap_scan_protect_pmd(scan, vma, addr, pmd);
	spin_unlock(ptl);

	if (protects && !whole && taken > addr) {
		err = pagemap_scan_protect_split(scan, vma, pmd, addr, taken);
		if (err)
			ret = err;
	}
out:
	if (announced)
		mmu_notifier_invalidate_range_end(&range);
	return ret;
}
#else /* !CONFIG_TRANSPARENT_HUGEPAGE */
static int pagemap_scan_huge_pmd(struct pagemap_scan *scan,
				 struct vm_area_struct *vma, pmd_t *pmd,
				 unsigned long addr, unsigned long end,
				 bool *again)
{
	*again = true;
	return 0;
}
#endif /* !CONFIG_TRANSPARENT_HUGEPAGE */

/*
 * Scan what is not, or not for certain, a page table.  *@table is set where it
 * is one after all.
 */
static int pagemap_scan_odd_pmd(struct pagemap_scan *scan, pmd_t *pmd,
				unsigned long addr, unsigned long end,
				struct mm_walk *walk, bool *table)
{
	bool again = false;
	int ret;

	*table = false;
	if (is_swap_pmd(*pmd) || pmd_trans_huge(*pmd) || pmd_devmap(*pmd)) {
		ret = pagemap_scan_charge(scan, addr, PAGEMAP_SCAN_HUGE_COST);
		if (ret)
			return ret;
		ret = pagemap_scan_huge_pmd(scan, walk->vma, pmd, addr, end,
					    &again);
		if (!again)
			return ret;
	}

	/*
	 * A huge page came or went: not to be taken for a page table, and not
	 * to be passed over either.
	 */
	*table = !pmd_trans_unstable(pmd);
	if (!*table)
		walk->action = ACTION_AGAIN;
	return 0;
}

/* Whether it is a page table for certain: it stays one under the mmap lock. */
static inline bool pagemap_scan_is_table(pmd_t *pmd)
{
	pmd_t pmdval = pmd_read_atomic(pmd);

	/* As pmd_none_or_trans_huge_or_clear_bad() does: all tests of one value */
	barrier();
	return likely(pmd_present(pmdval) && !pmd_trans_huge(pmdval) &&
		      !pmd_devmap(pmdval) && !pmd_bad(pmdval));
}

static int pagemap_scan_pmd_entry(pmd_t *pmd, unsigned long addr,
				  unsigned long end, struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	bool table;
	int ret;

	if (!pagemap_scan_is_table(pmd)) {
		ret = pagemap_scan_odd_pmd(scan, pmd, addr, end, walk, &table);
		if (!table)
			return ret;
	}

	ret = pagemap_scan_charge(scan, addr, (end - addr) >> PAGE_SHIFT);
	if (ret)
		return ret;
	return pagemap_scan_pte_table(scan, pmd, addr, end);
}

static pmd_t *pagemap_scan_alloc_pmd(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d = p4d_alloc(mm, pgd, addr);
	pud_t *pud;

	if (!p4d)
		return NULL;
	pud = pud_alloc(mm, p4d, addr);
	if (!pud)
		return NULL;
	return pmd_alloc(mm, pud, addr);
}

/*
 * Protect a range that has no page tables, each page by a marker.  A page may
 * have come meanwhile, so that the answer is taken from the tables once they
 * are there.
 */
static int pagemap_scan_fill_hole(unsigned long addr, unsigned long end,
				  struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	unsigned long next;
	pmd_t *pmd;
	int ret;

	for (; addr < end; addr = next) {
		next = pmd_addr_end(addr, end);
		/* No table for a page that would not be taken */
		if (!pagemap_scan_has_room(scan, addr, scan->hole_categories))
			return PAGEMAP_SCAN_PAUSE;
		do {
			pmd = pagemap_scan_alloc_pmd(walk->mm, addr);
			if (!pmd || pte_alloc(walk->mm, pmd))
				return -ENOMEM;
			walk->action = ACTION_SUBTREE;
			ret = pagemap_scan_pmd_entry(pmd, addr, next, walk);
			if (ret)
				return ret;
			cond_resched();
		} while (walk->action == ACTION_AGAIN);
	}
	return 0;
}

/* Huge pages of hugetlbfs */

#ifdef CONFIG_HUGETLB_PAGE
static u64 pagemap_scan_hugetlb_categories(const struct pagemap_scan *scan,
					   pte_t pte)
{
	u64 categories = scan->vma_categories;
	struct page *page = NULL;

	if (huge_pte_none(pte))
		return scan->hole_categories;

	if (pte_present(pte)) {
		categories |= pagemap_scan_written(scan, huge_pte_uffd_wp(pte));
		if (scan->file != PAGEMAP_SCAN_FILE_NONE)
			page = pte_page(pte);
	} else {
		swp_entry_t entry = pte_to_swp_entry(pte);

		if (is_pte_marker_entry(entry))
			return categories & scan->wanted;
		if (!is_migration_entry(entry))
			return 0;
		categories |= pagemap_scan_written(scan, pte_swp_uffd_wp(pte));
		if (scan->file != PAGEMAP_SCAN_FILE_NONE)
			page = pfn_swap_entry_to_page(entry);
	}
	categories |= PAGE_IS_PRESENT | PAGE_IS_HUGE;
	categories |= pagemap_scan_page_categories(page);
	return categories & scan->wanted;
}

/* Called with the page table lock held. */
static void pagemap_scan_protect_hugetlb(struct pagemap_scan *scan,
					 struct vm_area_struct *vma,
					 unsigned long addr, unsigned long end,
					 pte_t *ptep)
{
	pte_t pte = huge_ptep_get(ptep);

	if (huge_pte_none(pte)) {
		set_huge_pte_at(vma->vm_mm, addr, ptep,
				make_pte_marker(PTE_MARKER_UFFD_WP));
	} else if (pte_present(pte)) {
		pte_t old = huge_ptep_modify_prot_start(vma, addr, ptep);

		pte = huge_pte_wrprotect(huge_pte_mkuffd_wp(old));
		huge_ptep_modify_prot_commit(vma, addr, ptep, old, pte);
	} else {
		set_huge_pte_at(vma->vm_mm, addr, ptep,
				pagemap_scan_protect_swp_pte(pte));
	}
	flush_hugetlb_tlb_range(vma, addr, end);
	scan->protected_end = end;
}

/*
 * Whether the hugetlb page that [@addr, @end) is all or a part of can go into
 * the result of a call that protects: it cannot be split, so that it goes in
 * whole or not at all.  That holds for a matching page too that is protected
 * already: were the call to end inside it, the next one could not go on from
 * there once the page is written.
 *
 * Return: 0, PAGEMAP_SCAN_PAUSE where the walk ends before it, or -EINVAL.
 */
static int pagemap_scan_hugetlb_fits(struct pagemap_scan *scan,
				     struct vm_area_struct *vma,
				     unsigned long addr, unsigned long end,
				     u64 categories)
{
	if (!(scan->request->flags & PAGEMAP_WP_ENGAGE) ||
	    !pagemap_scan_matches(scan, categories))
		return 0;
	if (!pagemap_scan_has_room(scan, addr, categories))
		return PAGEMAP_SCAN_PAUSE;
	if (pagemap_scan_protects(scan, categories) &&
	    end - addr != huge_page_size(hstate_vma(vma)))
		return -EINVAL;
	if (scan->left < (end - addr) >> PAGE_SHIFT) {
		if (!pagemap_scan_pages(scan))
			return -EINVAL;
		scan->done = true;
		scan->pos = addr;
		return PAGEMAP_SCAN_PAUSE;
	}
	return 0;
}

/*
 * Keep a shared page table from being unshared, and so freed, by another task.
 * Those of a private mapping are never shared: the mmap lock keeps them.  The
 * lock would do harm there, because truncation passes over a private mapping
 * the lock of which it does not get at once.
 */
static void pagemap_scan_lock_hugetlb(struct vm_area_struct *vma)
{
	if (is_vm_hugetlb_page(vma) && vma->vm_flags & VM_MAYSHARE)
		hugetlb_vma_lock_read(vma);
}

static void pagemap_scan_unlock_hugetlb(struct vm_area_struct *vma)
{
	if (is_vm_hugetlb_page(vma) && vma->vm_flags & VM_MAYSHARE)
		hugetlb_vma_unlock_read(vma);
}

/* The table stays: pagemap_scan_pre_vma() took the locks. */
static int pagemap_scan_hugetlb_entry(pte_t *ptep, unsigned long hmask,
				      unsigned long addr, unsigned long end,
				      struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	struct vm_area_struct *vma = walk->vma;
	struct mmu_notifier_range range;
	bool announced = false, protects;
	unsigned long taken;
	spinlock_t *ptl;
	u64 categories;
	int ret;

	ret = pagemap_scan_charge(scan, addr, PAGEMAP_SCAN_HUGE_COST);
	if (ret)
		return ret;

retry:
	ptl = huge_pte_lock(hstate_vma(vma), walk->mm, ptep);
	categories = pagemap_scan_hugetlb_categories(scan, huge_ptep_get(ptep));
	protects = pagemap_scan_protects(scan, categories);
	ret = pagemap_scan_hugetlb_fits(scan, vma, addr, end, categories);
	if (ret)
		goto unlock;
	if (protects && scan->notify && !announced) {
		spin_unlock(ptl);
		pagemap_scan_notify_start(&range, vma, addr, end);
		announced = true;
		goto retry;
	}
	if (pagemap_scan_matches(scan, categories))
		ret = pagemap_scan_take(scan, addr, end, categories, &taken);
	if (protects)
		pagemap_scan_protect_hugetlb(scan, vma, addr, end, ptep);
unlock:
	spin_unlock(ptl);
	if (announced)
		mmu_notifier_invalidate_range_end(&range);
	cond_resched();
	return ret;
}

static int pagemap_scan_fill_hugetlb_hole(unsigned long addr,
					  unsigned long end,
					  struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	struct hstate *h = hstate_vma(walk->vma);
	pte_t *ptep;
	int ret;

	ret = pagemap_scan_hugetlb_fits(scan, walk->vma, addr, end,
					scan->hole_categories);
	if (ret)
		return ret;
	ptep = huge_pte_alloc(walk->mm, walk->vma, addr, huge_page_size(h));
	if (!ptep)
		return -ENOMEM;
	return pagemap_scan_hugetlb_entry(ptep, huge_page_mask(h), addr, end,
					  walk);
}
#else /* !CONFIG_HUGETLB_PAGE */
#define pagemap_scan_hugetlb_entry	NULL

static void pagemap_scan_lock_hugetlb(struct vm_area_struct *vma)
{
}

static void pagemap_scan_unlock_hugetlb(struct vm_area_struct *vma)
{
}

static int pagemap_scan_fill_hugetlb_hole(unsigned long addr,
					  unsigned long end,
					  struct mm_walk *walk)
{
	return -EINVAL;
}
#endif /* !CONFIG_HUGETLB_PAGE */

/* The walk */

static int pagemap_scan_pte_hole(unsigned long addr, unsigned long end,
				 int depth, struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	unsigned long taken;
	int ret;

	/* Between VMAs there are no pages */
	if (!walk->vma)
		return 0;

	ret = pagemap_scan_charge(scan, addr, 1);
	if (ret)
		return ret;

	if (!pagemap_scan_matches(scan, scan->hole_categories))
		return 0;
	if (!pagemap_scan_protects(scan, scan->hole_categories))
		return pagemap_scan_take(scan, addr, end,
					 scan->hole_categories, &taken);
	if (is_vm_hugetlb_page(walk->vma))
		return pagemap_scan_fill_hugetlb_hole(addr, end, walk);
	return pagemap_scan_fill_hole(addr, end, walk);
}

/* The first entry from @pmd to @end that is not empty. */
static pmd_t *pagemap_scan_end_of_hole(pmd_t *pmd, pmd_t *end)
{
	int i;

	for (; end - pmd >= 8; pmd += 8) {
		PAGEMAP_SCAN_UNROLL(8)
		for (i = 0; i < 8; i++) {
			if (!pmd_none(pmd[i]))
				return pmd + i;
		}
	}
	while (pmd < end && pmd_none(*pmd))
		pmd++;
	return pmd;
}

#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
/*
 * Scan a huge PUD, which maps a page of device DAX: walk_page_range() would
 * drop it, for a page table that is empty.  Nothing is protected there.
 */
static int pagemap_scan_huge_pud(struct pagemap_scan *scan, pud_t *pud,
				 unsigned long addr, unsigned long end,
				 struct mm_walk *walk)
{
	u64 categories = scan->vma_categories | PAGE_IS_WRITTEN | PAGE_IS_FILE |
			 PAGE_IS_PRESENT | PAGE_IS_HUGE;
	unsigned long taken;
	spinlock_t *ptl;
	int ret;

	ret = pagemap_scan_charge(scan, addr, PAGEMAP_SCAN_HUGE_COST);
	if (ret)
		return ret;
	ptl = pud_trans_huge_lock(pud, walk->vma);
	if (!ptl) {
		walk->action = ACTION_AGAIN;
		return 0;
	}
	__acquire(ptl);		/* sparse does not see into the call */

	if (pud_soft_dirty(*pud))
		categories |= PAGE_IS_SOFT_DIRTY;
	categories &= scan->wanted;
	if (pagemap_scan_matches(scan, categories))
		ret = pagemap_scan_take(scan, addr, end, categories, &taken);
	spin_unlock(ptl);
	walk->action = ACTION_CONTINUE;
	return ret;
}
#else
static int pagemap_scan_huge_pud(struct pagemap_scan *scan, pud_t *pud,
				 unsigned long addr, unsigned long end,
				 struct mm_walk *walk)
{
	return 0;
}
#endif

/*
 * Scan a table of PMDs as walk_page_range() would, but pass over a run of empty
 * ones at once: that saves 80 instructions for each 2 MiB of a hole.
 */
static int pagemap_scan_pud_entry(pud_t *pud, unsigned long addr,
				  unsigned long end, struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	pud_t pudval = READ_ONCE(*pud);
	pmd_t *pmd, *end_pmd, *hole;
	unsigned long next;
	int ret;

	if (pud_trans_huge(pudval) || pud_devmap(pudval))
		return pagemap_scan_huge_pud(scan, pud, addr, end, walk);
	/* A table stays one */
	if (pud_leaf(pudval) || !pud_present(pudval))
		return 0;

	pmd = pmd_offset(pud, addr);
	end_pmd = pmd + (((end - 1) >> PMD_SHIFT) - (addr >> PMD_SHIFT) + 1);
	for (; addr < end; addr = next) {
		hole = pmd;
		pmd = pagemap_scan_end_of_hole(pmd, end_pmd);
		if (pmd != hole) {
			next = end;
			if (pmd != end_pmd)
				next = (addr & PMD_MASK) +
				       (pmd - hole) * PMD_SIZE;
			scan->budget -= pmd - hole - 1;
			ret = pagemap_scan_pte_hole(addr, next, 3, walk);
		} else {
			next = pmd_addr_end(addr, end);
			walk->action = ACTION_SUBTREE;
			ret = pagemap_scan_pmd_entry(pmd, addr, next, walk);
			if (walk->action == ACTION_AGAIN)
				next = addr;
			else
				pmd++;
		}
		if (ret)
			return ret;
	}
	walk->action = ACTION_CONTINUE;
	return 0;
}

/* Whether to walk a VMA.  Return: 0, 1 to pass over it, or -EPERM. */
static __always_inline int pagemap_scan_test_vma(struct pagemap_scan *scan,
						 struct vm_area_struct *vma)
{
	u64 flags = scan->request->flags;

	if (!pagemap_scan_can_protect(scan, vma)) {
		if (flags & PAGEMAP_WP_REQUIRED)
			return -EPERM;
		if (flags & PAGEMAP_WP_ENGAGE)
			return 1;
	}
	return vma->vm_flags & VM_PFNMAP ? 1 : 0;
}

static int pagemap_scan_test_walk(unsigned long start, unsigned long end,
				  struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	int ret;

	ret = pagemap_scan_charge(scan, start, 1);
	if (ret)
		return ret;
	return pagemap_scan_test_vma(scan, walk->vma);
}

/* Set up what holds for a VMA, of which the range lies in @vma. */
static __always_inline void
pagemap_scan_begin_vma(struct pagemap_scan *scan, struct vm_area_struct *vma,
		       unsigned long start, unsigned long end)
{
	u64 categories = 0;

	if (pagemap_scan_can_protect(scan, vma))
		categories |= PAGE_IS_WPALLOWED;
	if (IS_ENABLED(CONFIG_MEM_SOFT_DIRTY) && vma->vm_flags & VM_SOFTDIRTY)
		categories |= PAGE_IS_SOFT_DIRTY;
	scan->vma = vma;
	scan->vma_categories = categories;
	scan->wp_hidden = !pagemap_scan_sees_wp(scan, vma);
	if (!scan->wp_hidden)
		categories |= PAGE_IS_WRITTEN;
	scan->hole_categories = categories & scan->wanted;

	/* Drivers map pages of their own into VMAs of any kind */
	if (!(scan->wanted & PAGE_IS_FILE))
		scan->file = PAGEMAP_SCAN_FILE_NONE;
	else if (vma->vm_flags & (VM_IO | VM_MIXEDMAP))
		scan->file = PAGEMAP_SCAN_FILE_LOOK;
	else if (vma_is_anonymous(vma))
		scan->file = PAGEMAP_SCAN_FILE_NONE;
	else if (vma->vm_flags & VM_SHARED)
		scan->file = PAGEMAP_SCAN_FILE_ALL;
	else
		scan->file = PAGEMAP_SCAN_FILE_LOOK;

	if (scan->request->flags & PAGEMAP_WP_ENGAGE) {
		scan->flush_start = ULONG_MAX;
		scan->flush_end = 0;
		flush_cache_range(vma, start, end);
		/*
		 * The TLBs are flushed once at the end; until then, others that
		 * change these page tables must know that it is yet to come.
		 */
		inc_tlb_flush_pending(vma->vm_mm);
	}
}

/* The end of pagemap_scan_begin_vma() */
static __always_inline void pagemap_scan_end_vma(struct pagemap_scan *scan,
						 struct vm_area_struct *vma)
{
	if (scan->request->flags & PAGEMAP_WP_ENGAGE) {
		pagemap_scan_flush(scan, vma);
		dec_tlb_flush_pending(vma->vm_mm);
	}
}

static int pagemap_scan_pre_vma(unsigned long start, unsigned long end,
				struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	struct vm_area_struct *vma = walk->vma;

	pagemap_scan_begin_vma(scan, vma, start, end);
	pagemap_scan_forget_kinds(scan);
	/* Who waits for its lock is not seen */
	if (is_vm_hugetlb_page(vma))
		scan->more = 0;
	pagemap_scan_lock_hugetlb(vma);
	return 0;
}

static void pagemap_scan_post_vma(struct mm_walk *walk)
{
	pagemap_scan_unlock_hugetlb(walk->vma);
	pagemap_scan_end_vma(walk->private, walk->vma);
}

static const struct mm_walk_ops pagemap_scan_ops = {
	.test_walk	= pagemap_scan_test_walk,
	.pre_vma	= pagemap_scan_pre_vma,
	.post_vma	= pagemap_scan_post_vma,
	.pud_entry	= pagemap_scan_pud_entry,
	.pmd_entry	= pagemap_scan_pmd_entry,
	.pte_hole	= pagemap_scan_pte_hole,
	.hugetlb_entry	= pagemap_scan_hugetlb_entry,
};

/* The PMD of @addr, or NULL where there is none. */
static __always_inline pmd_t *
pagemap_scan_find_pmd(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	pud_t *pud, pudval;
	p4d_t *p4d;

	if (!pgd_present(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (!p4d_present(*p4d))
		return NULL;
	pud = pud_offset(p4d, addr);
	pudval = READ_ONCE(*pud);
	if (!pud_present(pudval) || pud_leaf(pudval))
		return NULL;
	return pmd_offset(pud, addr);
}

/* Walk a range in @vma that lies in @pmd, whatever that is. */
static noinline int pagemap_scan_walk_pmd(struct pagemap_scan *scan,
					  struct vm_area_struct *vma,
					  pmd_t *pmd, unsigned long addr,
					  unsigned long end)
{
	struct mm_walk walk = {
		.ops = &pagemap_scan_ops,
		.mm = scan->mm,
		.vma = vma,
		.private = scan,
	};
	int err;

	pagemap_scan_forget_kinds(scan);
	do {
		walk.action = ACTION_SUBTREE;
		if (pmd_none(*pmd))
			err = pagemap_scan_pte_hole(addr, end, 3, &walk);
		else
			err = pagemap_scan_pmd_entry(pmd, addr, end, &walk);
	} while (!err && walk.action == ACTION_AGAIN);
	return err;
}

/*
 * Scan the entry of one page, as many a small call does: to describe its kind
 * for others to come would cost 200 instructions.
 */
static int pagemap_scan_one_pte(struct pagemap_scan *scan, pmd_t *pmd,
				unsigned long addr)
{
	unsigned long taken;
	spinlock_t *ptl;
	u64 categories;
	int ret = 0;
	pte_t *ptep;

	ptep = pte_offset_map_lock(scan->vma->vm_mm, pmd, addr, &ptl);
	categories = pagemap_scan_pte_categories(scan, addr, *ptep);
	if (pagemap_scan_matches(scan, categories)) {
		ret = pagemap_scan_take(scan, addr, addr + PAGE_SIZE,
					categories, &taken);
		if (!ret && pagemap_scan_protects(scan, categories))
			pagemap_scan_protect_ptes(scan, addr, taken, ptep);
	}
	pte_unmap_unlock(ptep, ptl);
	return ret;
}

/*
 * Walk a range that lies in one page table and one VMA, as that of most small
 * calls does.  To go straight there saves 700 instructions.
 *
 * Return: whether it is such a range; *@err as from walk_page_range().
 */
static bool pagemap_scan_walk_table(struct pagemap_scan *scan,
				    struct mm_struct *mm, int *err)
{
	unsigned long addr = scan->pos, end = scan->request->end;
	struct vm_area_struct *vma;
	pmd_t *pmd;

	if ((addr ^ (end - 1)) & PMD_MASK)
		return false;
	vma = vma_lookup(mm, addr);
	if (!vma || vma->vm_end < end || is_vm_hugetlb_page(vma))
		return false;
	pmd = pagemap_scan_find_pmd(mm, addr);
	if (!pmd)
		return false;

	*err = pagemap_scan_test_vma(scan, vma);
	if (*err) {
		*err = min(*err, 0);
		return true;
	}
	pagemap_scan_begin_vma(scan, vma, addr, end);
	if (end - addr == PAGE_SIZE && !scan->notify &&
	    pagemap_scan_is_table(pmd))
		*err = pagemap_scan_one_pte(scan, pmd, addr);
	else
		*err = pagemap_scan_walk_pmd(scan, vma, pmd, addr, end);
	pagemap_scan_end_vma(scan, vma);
	return true;
}

/* Set up what a call for a single page needs, too. */
static __always_inline void
pagemap_scan_set_request(struct pagemap_scan *scan,
			 const struct pagemap_scan_request *request,
			 struct mm_struct *mm, struct file *pagemap)
{
	scan->request = request;
	scan->mm = mm;
	scan->pagemap = pagemap;
	scan->wanted = request->mask | request->anyof | request->return_mask;
}

/**
 * pagemap_scan_page - do a call for a single page, if it is a simple one
 * @scan:	room for its state, not set up
 * @request:	what is asked for, of which pagemap_scan_is_page() is true
 * @mm:		address space that is scanned, which must stay
 * @pagemap:	the file that was called
 *
 * Some programs ask for one page time and again.  There is little to be
 * remembered for a walk that has one step: it saves 160 instructions to take
 * that step alone, with the same functions.
 *
 * Takes the mmap lock.
 *
 * Return: as the ioctl does, or -EAGAIN where it takes a walk, and nothing is
 * done.
 */
int pagemap_scan_page(struct pagemap_scan *scan,
		      const struct pagemap_scan_request *request,
		      struct mm_struct *mm, struct file *pagemap)
{
	unsigned long addr = request->start, end = request->end;
	struct vm_area_struct *vma;
	bool matches = false;
	u64 categories = 0;
	spinlock_t *ptl;
	pte_t *ptep;
	pmd_t *pmd;
	int ret;

	ret = mmap_read_lock_killable(mm);
	if (ret)
		return ret;

	ret = -EAGAIN;
	vma = vma_lookup(mm, addr);
	if (!vma || is_vm_hugetlb_page(vma))
		goto out_unlock;
	pmd = pagemap_scan_find_pmd(mm, addr);
	if (!pmd || !pagemap_scan_is_table(pmd))
		goto out_unlock;

	pagemap_scan_set_request(scan, request, mm, pagemap);
	ret = pagemap_scan_test_vma(scan, vma);
	if (ret < 0)
		goto out_unlock;
	if (!ret) {
		pagemap_scan_begin_vma(scan, vma, addr, end);
		ptep = pte_offset_map_lock(mm, pmd, addr, &ptl);
		categories = pagemap_scan_pte_categories(scan, addr, *ptep);
		pte_unmap_unlock(ptep, ptl);
		matches = pagemap_scan_matches(scan, categories);
	}
	mmap_read_unlock(mm);

	ret = 0;
	if (matches && request->vec_len) {
		struct page_region region = {
			.start = addr,
			.end = end,
			.categories = categories & request->return_mask,
		};

		if (pagemap_scan_put_region(request->vec, &region))
			return -EFAULT;
		ret = 1;
	}
	if (pagemap_scan_write_back(request, end, matches))
		return -EFAULT;
	return ret;

out_unlock:
	mmap_read_unlock(mm);
	return ret;
}

/**
 * pagemap_scan_init - begin a call
 * @scan:	state to set up; pagemap_scan_exit() gives up what it holds
 * @request:	what is asked for, must stay until then
 * @mm:		address space that is scanned, which must stay, too
 * @pagemap:	the file that was called
 *
 * May sleep.  Does not fail: where there is no memory for many regions, fewer
 * are gathered at a time.
 */
void pagemap_scan_init(struct pagemap_scan *scan,
		       const struct pagemap_scan_request *request,
		       struct mm_struct *mm, struct file *pagemap)
{
	unsigned long start = request->start, end = request->end;
	unsigned long nr_regions = (end - start) >> PAGE_SHIFT;

	pagemap_scan_set_request(scan, request, mm, pagemap);
	if (request->flags & PAGEMAP_WP_ENGAGE)
		scan->wanted |= PAGE_IS_WRITTEN;
	scan->done = start == end;
	scan->pos = start;
	scan->left = request->max_pages;
	scan->copied = 0;
	scan->begun = false;
	scan->allowed_end = start;
	scan->protected_end = 0;

	scan->regions = NULL;
	nr_regions = min3(nr_regions, request->vec_len,
			  (unsigned long)PAGEMAP_SCAN_MAX_REGIONS);
	if (nr_regions > PAGEMAP_SCAN_STACK_REGIONS)
		scan->regions = kmalloc_array(nr_regions + 1,
					      sizeof(*scan->regions),
					      GFP_KERNEL | __GFP_NOWARN |
					      __GFP_NORETRY);
	scan->max_regions = nr_regions;
	if (!scan->regions) {
		scan->regions = scan->stack_regions;
		scan->max_regions = PAGEMAP_SCAN_STACK_REGIONS;
	}
	/* No page begins there, so that none makes it longer */
	scan->regions[0].end = 1;
	scan->last = scan->regions;
	pagemap_scan_set_limit(scan);
}

/**
 * pagemap_scan_exit - end a call
 * @scan:	state from pagemap_scan_init()
 */
void pagemap_scan_exit(struct pagemap_scan *scan)
{
	if (scan->begun)
		userfaultfd_wp_call_end(&scan->call);
	if (scan->regions != scan->stack_regions)
		kfree(scan->regions);
}

/*
 * Check the VMAs of the range, from @scan->allowed_end on, for whether they can
 * be protected.
 *
 * Return: 0, -EPERM, or PAGEMAP_SCAN_PAUSE when there are more than a chunk of
 * them.
 */
static int pagemap_scan_check_allowed(struct pagemap_scan *scan,
				      struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, scan->allowed_end);
	struct vm_area_struct *vma;

	for_each_vma_range(vmi, vma, scan->request->end) {
		if (!pagemap_scan_can_protect(scan, vma))
			return -EPERM;
		if (pagemap_scan_charge(scan, scan->pos, 1))
			return PAGEMAP_SCAN_PAUSE;
		scan->allowed_end = vma->vm_end;
	}
	scan->allowed_end = scan->request->end;
	return 0;
}

/**
 * pagemap_scan_chunk - scan from @scan->pos on, for a while
 * @scan:	state of the call
 *
 * Called with the mmap lock held for reading.
 *
 * Return: what pagemap_scan_end_chunk() takes.
 */
int pagemap_scan_chunk(struct pagemap_scan *scan)
{
	const struct pagemap_scan_request *request = scan->request;
	struct mm_struct *mm = scan->mm;
	int ret;

	scan->budget = PAGEMAP_SCAN_BUDGET;
	scan->more = PAGEMAP_SCAN_MORE;
	scan->notify = false;

	/* Nothing is protected before the whole range is known to be allowed */
	if (request->flags & PAGEMAP_WP_REQUIRED &&
	    scan->allowed_end < request->end) {
		ret = pagemap_scan_check_allowed(scan, mm);
		if (ret)
			return ret;
	}

	if (request->flags & PAGEMAP_WP_ENGAGE) {
		/* None can be registered while the mmap lock is held */
		scan->notify = mm_has_notifiers(mm);
		if (!scan->begun)
			userfaultfd_wp_call_begin(&scan->call, mm);
		scan->begun = true;
	}

	if (pagemap_scan_walk_table(scan, mm, &ret))
		return ret;
	return walk_page_range(mm, scan->pos, request->end, &pagemap_scan_ops,
			       scan);
}

/*
 * Let those have the mmap lock who wait for it.  A reader that comes back at
 * once gets it before a writer that is only just waking up, time and again for
 * up to a tick.
 */
static void pagemap_scan_make_way(struct mm_struct *mm)
{
	unsigned int i;

	for (i = 0; i < PAGEMAP_SCAN_PATIENCE && !need_resched() &&
	     mmap_lock_is_contended(mm); i++)
		cpu_relax();
	/* It may be this very processor that they wait for */
	if (i == PAGEMAP_SCAN_PATIENCE)
		usleep_range(20, 100);
	cond_resched();
}

/**
 * pagemap_scan_end_chunk - finish a chunk and copy its regions out
 * @scan:	state of the call
 * @err:	what pagemap_scan_chunk() returned
 *
 * Called without the mmap lock, as it accesses the memory of the user.
 *
 * Return: 0, and @scan->done tells whether there is more to do; or
 * -EFAULT where the vector cannot be accessed, -EINTR where the caller is being
 * killed, or @err where that is an error.
 */
int pagemap_scan_end_chunk(struct pagemap_scan *scan, int err)
{
	if (err && err != PAGEMAP_SCAN_PAUSE)
		return err;
	if (!err) {
		scan->pos = scan->request->end;
		scan->done = true;
	}

	err = pagemap_scan_copy_regions(scan, false);
	if (err)
		return err;
	if (!scan->done) {
		if (fatal_signal_pending(current))
			return -EINTR;
		pagemap_scan_make_way(scan->mm);
	}
	return 0;
}

/**
 * pagemap_scan_undo - take the protection off what a failed call protected
 * @scan:	state of the call
 *
 * Called without the mmap lock.
 *
 * So that a page of which the user never hears does not go for unwritten:
 * promise 4.  Goes from the start of the range to the last page that was
 * protected, over pages too that were protected before; where pages may have
 * moved elsewhere, over all of the address space.  Cannot fail, and does not
 * stop for a signal: the tracked process lives on when the caller dies.
 */
void pagemap_scan_undo(struct pagemap_scan *scan)
{
	struct mm_struct *mm = scan->mm;
	unsigned long addr = scan->request->start;
	unsigned long last = scan->protected_end;
	struct vm_area_struct *vma;

	if (scan->begun && userfaultfd_wp_call_undo(&scan->call)) {
		addr = 0;
		last = mm->task_size;
	}

	while (addr < last) {
		unsigned long first, next, end;

		mmap_read_lock(mm);
		vma = find_vma(mm, addr);
		if (!vma || vma->vm_start >= last) {
			mmap_read_unlock(mm);
			break;
		}

		addr = max(addr, vma->vm_start);
		end = min(last, vma->vm_end);
		if (pagemap_scan_can_protect(scan, vma)) {
			unsigned long size = vma_kernel_pagesize(vma);

			/* A hugetlb page that the range cuts was left alone */
			first = ALIGN(addr, size);
			if (first < ALIGN_DOWN(end, size)) {
				/* Pieces that cut no huge page: it would be split */
				next = ALIGN_DOWN(first +
						  max(PAGEMAP_SCAN_UNDO_LEN, size),
						  max(PMD_SIZE, size));
				end = min(ALIGN_DOWN(end, size), next);
				uffd_wp_range(mm, vma, first, end - first,
					      false);
			}
		}
		addr = end;
		mmap_read_unlock(mm);
		cond_resched();
	}
}

#ifdef CONFIG_PROC_PAGEMAP_SCAN_KUNIT_TEST
#include "pagemap_scan_test.c"
#endif
