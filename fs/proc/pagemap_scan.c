// SPDX-License-Identifier: GPL-2.0
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

#define PAGEMAP_SCAN_FLAGS	(PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED)

/*
 * Regions that are gathered before they are copied out, 12 KiB of them.  With a
 * region for every second page, the least favourable case, the mmap lock is
 * then dropped every 1024 pages.
 */
#define PAGEMAP_SCAN_MAX_REGIONS	512

/*
 * Entries that are looked at under one hold of the mmap lock: 16 page tables,
 * some tens of microseconds even where each entry is to be protected.  What is
 * dearer than an entry counts as several.
 */
#define PAGEMAP_SCAN_BUDGET		8192
#define PAGEMAP_SCAN_HUGE_COST		64

/* Length of the pieces in which a failed call takes the protection off. */
#define PAGEMAP_SCAN_UNDO_LEN		(16 * PMD_SIZE)

/*
 * A callback returns this to end the walk without an error: pos tells where,
 * and done whether for good.
 */
#define PAGEMAP_SCAN_PAUSE		(-EAGAIN)

/* The request */

static int pagemap_scan_decode(struct pagemap_scan_request *request,
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

static int pagemap_scan_decode_pm(struct pagemap_scan_request *request,
				  const struct pm_scan_arg *arg,
				  struct pm_scan_arg __user *uarg)
{
	u64 masks = arg->category_inverted | arg->category_mask |
		    arg->category_anyof_mask | arg->return_mask;

	if (arg->flags & ~(u64)PAGEMAP_SCAN_FLAGS ||
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
static int pagemap_scan_copy_arg(void *arg, size_t ksize, size_t min,
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

/**
 * pagemap_scan_is_cmd - whether an ioctl command is PAGEMAP_SCAN
 * @cmd:	command number, in which the size of the argument is not looked
 *		at: it tells the layout
 *
 * Return: whether it is.
 */
bool pagemap_scan_is_cmd(unsigned int cmd)
{
	return _IOC_TYPE(cmd) == _IOC_TYPE(PAGEMAP_SCAN) &&
	       _IOC_NR(cmd) == _IOC_NR(PAGEMAP_SCAN) &&
	       _IOC_DIR(cmd) == _IOC_DIR(PAGEMAP_SCAN);
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
	u64 size;
	int ret;

	/* The size member comes first in both layouts */
	if (get_user(size, (u64 __user *)arg))
		return -EFAULT;

	if (_IOC_SIZE(cmd) != PAGEMAP_SCAN_ARG_SIZE_VER0 ||
	    size == sizeof(struct pm_scan_arg)) {
		struct pm_scan_arg pm_arg;

		ret = pagemap_scan_copy_arg(&pm_arg, sizeof(pm_arg),
					    sizeof(pm_arg), arg, size);
		if (!ret)
			ret = pagemap_scan_decode_pm(request, &pm_arg, arg);
	} else {
		struct pagemap_scan_arg scan_arg;

		BUILD_BUG_ON(sizeof(scan_arg) != PAGEMAP_SCAN_ARG_SIZE_VER1);
		BUILD_BUG_ON(sizeof(scan_arg) == sizeof(struct pm_scan_arg));
		ret = pagemap_scan_copy_arg(&scan_arg, sizeof(scan_arg),
					    PAGEMAP_SCAN_ARG_SIZE_VER0, arg,
					    size);
		if (!ret)
			ret = pagemap_scan_decode(request, &scan_arg, arg,
						  size);
	}
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

/**
 * pagemap_scan_put_result - write back what the argument takes beside regions
 * @scan:	finished call
 *
 * Return: 0, or -EFAULT.
 */
int pagemap_scan_put_result(const struct pagemap_scan *scan)
{
	const struct pagemap_scan_request *request = scan->request;

	if (request->walk_end && put_user((u64)scan->pos, request->walk_end))
		return -EFAULT;
	if (request->pages && put_user((u64)scan->pages, request->pages))
		return -EFAULT;
	return 0;
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
static bool pagemap_scan_protects(const struct pagemap_scan *scan,
				  u64 categories)
{
	return scan->request->flags & PAGEMAP_WP_ENGAGE &&
	       categories & PAGE_IS_WRITTEN &&
	       pagemap_scan_matches(scan, categories);
}

static unsigned long pagemap_scan_pages_left(const struct pagemap_scan *scan)
{
	return scan->request->max_pages - scan->pages;
}

/* Whether a page at @addr only makes the last region longer. */
static bool pagemap_scan_extends(const struct pagemap_scan *scan,
				 unsigned long addr, u64 categories)
{
	const struct page_region *last;

	if (!scan->nr_regions)
		return false;
	last = &scan->regions[scan->nr_regions - 1];
	return last->end == addr && last->categories ==
	       (categories & scan->request->return_mask);
}

/*
 * Whether there is room for the matching page at @addr.  If not, the walk ends
 * here: for good, or until the regions so far are copied out.
 */
static bool pagemap_scan_has_room(struct pagemap_scan *scan,
				  unsigned long addr, u64 categories)
{
	unsigned long vec_len = scan->request->vec_len;

	if (pagemap_scan_pages_left(scan)) {
		if (!vec_len || pagemap_scan_extends(scan, addr, categories))
			return true;
		if (scan->copied + scan->nr_regions < vec_len &&
		    scan->nr_regions < scan->max_regions)
			return true;
	}

	scan->done = !pagemap_scan_pages_left(scan) ||
		     scan->copied + scan->nr_regions == vec_len;
	scan->pos = addr;
	return false;
}

/*
 * Take the pages from @addr to @end, which are all in @categories, into the
 * result if they match, and as far as they fit.  *@taken becomes the end of
 * those that are in the result.
 *
 * Return: 0, or PAGEMAP_SCAN_PAUSE where not all of the matching pages fit.
 */
static int pagemap_scan_take(struct pagemap_scan *scan, unsigned long addr,
			     unsigned long end, u64 categories,
			     unsigned long *taken)
{
	unsigned long pages = (end - addr) >> PAGE_SHIFT;
	unsigned long left = pagemap_scan_pages_left(scan);

	*taken = addr;
	if (!pagemap_scan_matches(scan, categories))
		return 0;
	if (!pagemap_scan_has_room(scan, addr, categories))
		return PAGEMAP_SCAN_PAUSE;

	pages = min(pages, left);
	*taken = addr + (pages << PAGE_SHIFT);
	scan->pages += pages;

	if (scan->request->vec_len) {
		if (pagemap_scan_extends(scan, addr, categories)) {
			scan->regions[scan->nr_regions - 1].end = *taken;
		} else {
			struct page_region *region;

			region = &scan->regions[scan->nr_regions++];
			region->start = addr;
			region->end = *taken;
			region->categories = categories &
					     scan->request->return_mask;
		}
	}

	if (*taken == end)
		return 0;
	scan->done = true;
	scan->pos = *taken;
	return PAGEMAP_SCAN_PAUSE;
}

/*
 * Copy the regions out that are complete: all but the last one, or all when the
 * walk is over.
 */
static int pagemap_scan_copy_regions(struct pagemap_scan *scan)
{
	unsigned int nr = scan->nr_regions;

	if (nr && !scan->done)
		nr--;
	if (!nr)
		return 0;

	if (copy_to_user(scan->request->vec + scan->copied, scan->regions,
			 nr * sizeof(*scan->regions)))
		return -EFAULT;
	scan->copied += nr;
	scan->nr_regions -= nr;
	if (scan->nr_regions)
		scan->regions[0] = scan->regions[nr];
	return 0;
}

/*
 * Account @cost entries that are about to be looked at.
 *
 * Return: 0, or PAGEMAP_SCAN_PAUSE when this chunk has looked at enough.
 */
static int pagemap_scan_charge(struct pagemap_scan *scan, unsigned long addr,
			       int cost)
{
	if (scan->budget <= 0) {
		scan->pos = addr;
		return PAGEMAP_SCAN_PAUSE;
	}
	scan->budget -= cost;
	return 0;
}

/* Categories */

static u64 pagemap_scan_page_categories(struct page *page)
{
	return page && !PageAnon(page) ? PAGE_IS_FILE : 0;
}

/*
 * Categories of the entry @pte, empty, of a page or not present, at @addr, as
 * far as they are wanted.
 */
static u64 pagemap_scan_pte_categories(const struct pagemap_scan *scan,
				       struct vm_area_struct *vma,
				       unsigned long addr, pte_t pte)
{
	u64 categories = scan->vma_categories;
	struct page *page = NULL;

	if (pte_none(pte))
		return scan->hole_categories;

	if (pte_present(pte)) {
		categories |= PAGE_IS_PRESENT;
		if (!pte_uffd_wp(pte))
			categories |= PAGE_IS_WRITTEN;
		if (pte_soft_dirty(pte))
			categories |= PAGE_IS_SOFT_DIRTY;
		if (is_zero_pfn(pte_pfn(pte)))
			categories |= PAGE_IS_PFNZERO;
		else if (scan->file == PAGEMAP_SCAN_FILE_ALL ||
			 (scan->file == PAGEMAP_SCAN_FILE_LOOK &&
			  pte_devmap(pte)))
			categories |= PAGE_IS_FILE;
		else if (scan->file == PAGEMAP_SCAN_FILE_LOOK)
			page = vm_normal_page(vma, addr, pte);
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
		if (!pte_swp_uffd_wp(pte))
			categories |= PAGE_IS_WRITTEN;
		if (scan->file != PAGEMAP_SCAN_FILE_NONE &&
		    is_pfn_swap_entry(entry))
			page = pfn_swap_entry_to_page(entry);
	}
	categories |= pagemap_scan_page_categories(page);
	return categories & scan->wanted;
}

/* Protection */

static void pagemap_scan_flush(struct pagemap_scan *scan,
			       struct vm_area_struct *vma)
{
	if (scan->flush_start < scan->flush_end)
		flush_tlb_range(vma, scan->flush_start, scan->flush_end);
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

/*
 * Protect the entry at @ptep whatever it is, but for a poisoned or a protected
 * one.  Called with the page table lock held, of a VMA with async
 * write-protection.
 */
static void pagemap_scan_protect_pte(struct pagemap_scan *scan,
				     struct vm_area_struct *vma,
				     unsigned long addr, pte_t *ptep)
{
	pte_t pte = *ptep;

	if (pte_present(pte)) {
		/* Atomic against the hardware, which sets dirty and accessed */
		pte_t old = ptep_modify_prot_start(vma, addr, ptep);

		pte = pte_wrprotect(pte_mkuffd_wp(old));
		ptep_modify_prot_commit(vma, addr, ptep, old, pte);
	} else if (pte_none(pte)) {
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

	/*
	 * Also for an entry that is not present: reclaim and others may have
	 * replaced a writable one, and not have flushed the TLBs yet.
	 */
	scan->flush_start = min(scan->flush_start, addr);
	scan->flush_end = max(scan->flush_end, addr + PAGE_SIZE);
	scan->protected_end = max(scan->protected_end, addr + PAGE_SIZE);
}

static void pagemap_scan_protect_ptes(struct pagemap_scan *scan,
				      struct vm_area_struct *vma,
				      unsigned long addr, unsigned long end,
				      pte_t *ptep)
{
	for (; addr < end; addr += PAGE_SIZE, ptep++)
		pagemap_scan_protect_pte(scan, vma, addr, ptep);
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
static bool pagemap_scan_look(struct pagemap_scan *scan,
			      struct vm_area_struct *vma, pmd_t *pmd,
			      unsigned long addr, unsigned long end,
			      unsigned long *first, unsigned long *last)
{
	bool found = false;
	pte_t *start_pte, *ptep;
	spinlock_t *ptl;

	start_pte = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	ptep = start_pte;
	for (; addr < end; addr += PAGE_SIZE, ptep++) {
		u64 categories;

		categories = pagemap_scan_pte_categories(scan, vma, addr,
							 *ptep);
		if (!pagemap_scan_protects(scan, categories))
			continue;
		if (!found)
			*first = addr;
		*last = addr + PAGE_SIZE;
		found = true;
	}
	pte_unmap_unlock(start_pte, ptl);
	return found;
}

/*
 * Scan the entries of a page table from *@addr to @end, and protect where that
 * is asked for and between @first and @last.  *@addr becomes where it ended,
 * which is before @end only with PAGEMAP_SCAN_PAUSE, or at a page that is to be
 * protected but was not announced.
 */
static int pagemap_scan_ptes(struct pagemap_scan *scan,
			     struct vm_area_struct *vma, pmd_t *pmd,
			     unsigned long *addr, unsigned long end,
			     unsigned long first, unsigned long last)
{
	unsigned long start = *addr, next, taken;
	pte_t *start_pte, *ptep;
	spinlock_t *ptl;
	int ret = 0;

	start_pte = pte_offset_map_lock(vma->vm_mm, pmd, start, &ptl);
	ptep = start_pte;
	arch_enter_lazy_mmu_mode();
	for (; start < end; start = next) {
		pte_t *run = ptep;
		bool protects;
		u64 categories;

		categories = pagemap_scan_pte_categories(scan, vma, start,
							 *ptep);
		for (next = start + PAGE_SIZE, ptep++; next < end;
		     next += PAGE_SIZE, ptep++) {
			if (pagemap_scan_pte_categories(scan, vma, next,
							*ptep) != categories)
				break;
		}

		protects = pagemap_scan_protects(scan, categories);
		if (protects) {
			if (start < first || start >= last)
				break;
			/* What lies behind was not announced */
			next = min(next, last);
			ptep = run + ((next - start) >> PAGE_SHIFT);
		}

		ret = pagemap_scan_take(scan, start, next, categories, &taken);
		if (protects)
			pagemap_scan_protect_ptes(scan, vma, start, taken, run);
		if (ret)
			break;
	}
	arch_leave_lazy_mmu_mode();
	pte_unmap_unlock(start_pte, ptl);

	*addr = start;
	return ret;
}

static int pagemap_scan_pte_table(struct pagemap_scan *scan,
				  struct vm_area_struct *vma, pmd_t *pmd,
				  unsigned long addr, unsigned long end)
{
	int ret;

	if (!scan->notify)
		return pagemap_scan_ptes(scan, vma, pmd, &addr, end, addr, end);

	/*
	 * What is to be announced must be known before, and may have changed
	 * when the lock is held again: take it in steps.
	 */
	do {
		struct mmu_notifier_range range;
		unsigned long first = 0, last = 0;
		bool found;

		found = pagemap_scan_look(scan, vma, pmd, addr, end, &first,
					  &last);
		if (found)
			pagemap_scan_notify_start(&range, vma, first, last);
		ret = pagemap_scan_ptes(scan, vma, pmd, &addr, end, first,
					last);
		if (found)
			pagemap_scan_notify_end(scan, &range, vma);
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
		if (!pmd_uffd_wp(pmd))
			categories |= PAGE_IS_WRITTEN;
		if (pmd_soft_dirty(pmd))
			categories |= PAGE_IS_SOFT_DIRTY;
		if (is_huge_zero_pmd(pmd))
			categories |= PAGE_IS_PFNZERO;
		else if (scan->file != PAGEMAP_SCAN_FILE_NONE)
			page = pmd_page(pmd);
	} else {
		/* Only a huge page under migration stands in such a PMD */
		if (!pmd_swp_uffd_wp(pmd))
			categories |= PAGE_IS_WRITTEN;
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
	scan->protected_end = max(scan->protected_end, addr + HPAGE_PMD_SIZE);
}

/*
 * Protect the pages from @addr to @end, which are in the result already, but
 * stood in a huge PMD that they are only a part of, or that is of a file.
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

	do {
		/* That of a file is zapped, and leaves an empty PMD */
		split_huge_pmd(vma, pmd, addr);
		if (pte_alloc(vma->vm_mm, pmd))
			return -ENOMEM;
		cond_resched();
	} while (pmd_trans_unstable(pmd));

	/* A page table, and an entry for each page of it */
	scan->budget -= HPAGE_PMD_NR;

	if (scan->notify)
		pagemap_scan_notify_start(&range, vma, addr, end);
	ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	arch_enter_lazy_mmu_mode();
	pagemap_scan_protect_ptes(scan, vma, addr, end, ptep);
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
		pagemap_scan_pages_left(scan) >= HPAGE_PMD_NR;

	if (protects && whole && scan->notify && !announced) {
		spin_unlock(ptl);
		pagemap_scan_notify_start(&range, vma, addr, end);
		announced = true;
		goto retry;
	}

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

static int pagemap_scan_pmd_entry(pmd_t *pmd, unsigned long addr,
				  unsigned long end, struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	bool again = true;
	int ret;

	if (is_swap_pmd(*pmd) || pmd_trans_huge(*pmd) || pmd_devmap(*pmd)) {
		ret = pagemap_scan_charge(scan, addr, PAGEMAP_SCAN_HUGE_COST);
		if (ret)
			return ret;
		again = false;
		ret = pagemap_scan_huge_pmd(scan, walk->vma, pmd, addr, end,
					    &again);
		if (!again)
			return ret;
	}

	/*
	 * A huge page came or went: not to be taken for a page table, and not
	 * to be passed over either.
	 */
	if (pmd_trans_unstable(pmd)) {
		walk->action = ACTION_AGAIN;
		return 0;
	}

	ret = pagemap_scan_charge(scan, addr, (end - addr) >> PAGE_SHIFT);
	if (ret)
		return ret;
	return pagemap_scan_pte_table(scan, walk->vma, pmd, addr, end);
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
		if (!huge_pte_uffd_wp(pte))
			categories |= PAGE_IS_WRITTEN;
		if (scan->file != PAGEMAP_SCAN_FILE_NONE)
			page = pte_page(pte);
	} else {
		swp_entry_t entry = pte_to_swp_entry(pte);

		if (is_pte_marker_entry(entry))
			return categories & scan->wanted;
		if (!is_migration_entry(entry))
			return 0;
		if (!pte_swp_uffd_wp(pte))
			categories |= PAGE_IS_WRITTEN;
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
	scan->protected_end = max(scan->protected_end, end);
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
	if (pagemap_scan_pages_left(scan) < (end - addr) >> PAGE_SHIFT) {
		if (!scan->pages)
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

	if (!pagemap_scan_protects(scan, scan->hole_categories))
		return pagemap_scan_take(scan, addr, end,
					 scan->hole_categories, &taken);
	if (is_vm_hugetlb_page(walk->vma))
		return pagemap_scan_fill_hugetlb_hole(addr, end, walk);
	return pagemap_scan_fill_hole(addr, end, walk);
}

static int pagemap_scan_test_walk(unsigned long start, unsigned long end,
				  struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	struct vm_area_struct *vma = walk->vma;
	u64 flags = scan->request->flags;
	int ret;

	ret = pagemap_scan_charge(scan, start, 1);
	if (ret)
		return ret;

	if (!userfaultfd_wp_async(vma)) {
		if (flags & PAGEMAP_WP_REQUIRED)
			return -EPERM;
		if (flags & PAGEMAP_WP_ENGAGE)
			return 1;
	}
	return vma->vm_flags & VM_PFNMAP ? 1 : 0;
}

static int pagemap_scan_pre_vma(unsigned long start, unsigned long end,
				struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	struct vm_area_struct *vma = walk->vma;
	u64 categories = 0;

	if (userfaultfd_wp_async(vma))
		categories |= PAGE_IS_WPALLOWED;
	if (IS_ENABLED(CONFIG_MEM_SOFT_DIRTY) && vma->vm_flags & VM_SOFTDIRTY)
		categories |= PAGE_IS_SOFT_DIRTY;
	scan->vma_categories = categories;
	if (userfaultfd_wp(vma))
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

	scan->flush_start = ULONG_MAX;
	scan->flush_end = 0;
	if (scan->request->flags & PAGEMAP_WP_ENGAGE) {
		flush_cache_range(vma, start, end);
		/*
		 * The TLBs are flushed once at the end; until then, others that
		 * change these page tables must know that it is yet to come.
		 */
		inc_tlb_flush_pending(walk->mm);
	}

	pagemap_scan_lock_hugetlb(vma);
	return 0;
}

static void pagemap_scan_post_vma(struct mm_walk *walk)
{
	struct pagemap_scan *scan = walk->private;
	struct vm_area_struct *vma = walk->vma;

	pagemap_scan_unlock_hugetlb(vma);

	if (scan->request->flags & PAGEMAP_WP_ENGAGE) {
		pagemap_scan_flush(scan, vma);
		dec_tlb_flush_pending(walk->mm);
	}
}

/*
 * The callbacks of walk_page_range(), with a struct pagemap_scan.
 *
 * They return -EAGAIN where pagemap_scan_end_chunk() is to decide.
 */
const struct mm_walk_ops pagemap_scan_ops = {
	.test_walk	= pagemap_scan_test_walk,
	.pre_vma	= pagemap_scan_pre_vma,
	.post_vma	= pagemap_scan_post_vma,
	.pmd_entry	= pagemap_scan_pmd_entry,
	.pte_hole	= pagemap_scan_pte_hole,
	.hugetlb_entry	= pagemap_scan_hugetlb_entry,
};

/**
 * pagemap_scan_init - begin a call
 * @scan:	state to set up; pagemap_scan_exit() gives up what it holds
 * @request:	what is asked for, must stay until then
 *
 * May sleep.  Does not fail: where there is no memory for many regions, fewer
 * are gathered at a time.
 */
void pagemap_scan_init(struct pagemap_scan *scan,
		       const struct pagemap_scan_request *request)
{
	unsigned long nr_regions = (request->end - request->start) >> PAGE_SHIFT;

	scan->request = request;
	scan->wanted = request->mask | request->anyof | request->return_mask;
	if (request->flags & PAGEMAP_WP_ENGAGE)
		scan->wanted |= PAGE_IS_WRITTEN;
	scan->done = request->start == request->end;
	scan->pos = request->start;
	scan->pages = 0;
	scan->copied = 0;
	scan->nr_regions = 0;
	scan->begun = false;
	scan->allowed_end = request->start;
	scan->protected_end = 0;

	scan->regions = NULL;
	nr_regions = min3(nr_regions, request->vec_len,
			  (unsigned long)PAGEMAP_SCAN_MAX_REGIONS);
	if (nr_regions > PAGEMAP_SCAN_STACK_REGIONS)
		scan->regions = kmalloc_array(nr_regions,
					      sizeof(*scan->regions),
					      GFP_KERNEL | __GFP_NOWARN |
					      __GFP_NORETRY);
	scan->max_regions = nr_regions;
	if (!scan->regions) {
		scan->regions = scan->stack_regions;
		scan->max_regions = PAGEMAP_SCAN_STACK_REGIONS;
	}
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
		if (!userfaultfd_wp_async(vma))
			return -EPERM;
		if (pagemap_scan_charge(scan, scan->pos, 1))
			return PAGEMAP_SCAN_PAUSE;
		scan->allowed_end = vma->vm_end;
	}
	scan->allowed_end = scan->request->end;
	return 0;
}

/**
 * pagemap_scan_begin_chunk - prepare for walk_page_range() from @scan->pos
 * @scan:	state of the call
 * @mm:		address space, the mmap lock of which is held for reading
 *
 * Return: 0; -EAGAIN where there is nothing to walk in this chunk, which
 * pagemap_scan_end_chunk() ends all the same; or -EPERM where
 * PAGEMAP_WP_REQUIRED forbids the whole call.
 */
int pagemap_scan_begin_chunk(struct pagemap_scan *scan, struct mm_struct *mm)
{
	const struct pagemap_scan_request *request = scan->request;
	int ret;

	scan->budget = PAGEMAP_SCAN_BUDGET;
	/* None can be registered while the mmap lock is held */
	scan->notify = request->flags & PAGEMAP_WP_ENGAGE &&
		       mm_has_notifiers(mm);

	/* Nothing is protected before the whole range is known to be allowed */
	if (request->flags & PAGEMAP_WP_REQUIRED &&
	    scan->allowed_end < request->end) {
		ret = pagemap_scan_check_allowed(scan, mm);
		if (ret)
			return ret;
	}

	if (request->flags & PAGEMAP_WP_ENGAGE && !scan->begun) {
		userfaultfd_wp_call_begin(&scan->call, mm);
		scan->begun = true;
	}
	return 0;
}

/**
 * pagemap_scan_end_chunk - finish a chunk and copy its regions out
 * @scan:	state of the call
 * @err:	what walk_page_range() returned
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

	err = pagemap_scan_copy_regions(scan);
	if (err)
		return err;
	if (!scan->done) {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/**
 * pagemap_scan_undo - take the protection off what a failed call protected
 * @scan:	state of the call
 * @mm:		address space, the mmap lock of which is not held
 *
 * So that a page of which the user never hears does not go for unwritten:
 * promise 4.  Goes from the start of the range to the last page that was
 * protected, over pages too that were protected before; where pages may have
 * moved elsewhere, over all of the address space.  Cannot fail, and does not
 * stop for a signal: the tracked process lives on when the caller dies.
 */
void pagemap_scan_undo(struct pagemap_scan *scan, struct mm_struct *mm)
{
	unsigned long addr = scan->request->start;
	unsigned long last = scan->protected_end;
	struct vm_area_struct *vma;

	if (scan->begun && userfaultfd_wp_call_undo(&scan->call)) {
		addr = 0;
		last = mm->task_size;
	}

	while (addr < last) {
		unsigned long first, end;

		mmap_read_lock(mm);
		vma = find_vma(mm, addr);
		if (!vma || vma->vm_start >= last) {
			mmap_read_unlock(mm);
			break;
		}

		addr = max(addr, vma->vm_start);
		end = min(last, vma->vm_end);
		if (userfaultfd_wp_async(vma)) {
			unsigned long size = vma_kernel_pagesize(vma);

			/* A hugetlb page that the range cuts was left alone */
			first = ALIGN(addr, size);
			if (first < ALIGN_DOWN(end, size)) {
				end = min(ALIGN_DOWN(end, size), first +
					  max(PAGEMAP_SCAN_UNDO_LEN, size));
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
