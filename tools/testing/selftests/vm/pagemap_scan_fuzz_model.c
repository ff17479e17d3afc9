// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap_scan_fuzz: what the interface promises of each page, and whether the
 * kernel keeps it.
 *
 * Two sources say what a scan must answer: the model, which knows what was
 * done to each page, and /proc/self/pagemap, which says of most categories the
 * same by other code.  From the answer for all categories follows what a call
 * with any masks and limits returns, region by region.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pagemap_scan_fuzz.h"

/* Types of swap entries from this one on are not of swapped pages. */
#define FIRST_SPECIAL_SWAP_TYPE	16
#define NO_ANSWER		0x5a5a5a5a5a5a5a5aULL

/**
 * fail() - end the run because a promise was broken
 * @world:	what it runs on
 * @format:	says which
 */
void fail(struct world *world, const char *format, ...)
{
	struct outcome *outcome = world->outcome;
	va_list args;

	va_start(args, format);
	vsnprintf(outcome->message, sizeof(outcome->message), format, args);
	va_end(args);
	_exit(1);
}

/**
 * effect() - note that something happened that the test must have
 * @world:	what the run is on
 * @effect:	what happened
 */
void effect(struct world *world, enum effect effect)
{
	world->outcome->effects[effect]++;
}

/**
 * area_at() - find the area of a page
 * @world:	the areas
 * @page:	number of the page in all of them
 * @in_area:	is set to what is known of the page
 *
 * Return: the area.
 */
struct area *area_at(struct world *world, unsigned int page,
		     struct page **in_area)
{
	struct area *area = world->areas;

	while (page >= area->window) {
		page -= area->window;
		area++;
	}
	*in_area = &area->pages[page];
	return area;
}

/**
 * page_is_own() - whether the contents are the process's, not the file's
 * @area:	the area
 * @page:	one of its pages
 *
 * Return: whether they are.
 */
bool page_is_own(const struct area *area, const struct page *page)
{
	return memory_is_anon(area->kind) || page->copied;
}

/**
 * page_has_contents() - whether an access does not end behind the file's end
 * @area:	the area
 * @page:	one of its pages
 *
 * Return: whether it does not.
 */
bool page_has_contents(const struct area *area, const struct page *page)
{
	return memory_is_anon(area->kind) || page->offset < area->file_size;
}

/**
 * page_value() - what must be read from a page
 * @area:	the area
 * @page:	one of its pages, page_has_contents()
 *
 * Return: the value, of a lazily freed page the last one before.
 */
unsigned int page_value(const struct area *area, const struct page *page)
{
	return page_is_own(area, page) ? page->value :
					 area->file[page->offset];
}

/* The page is written or its contents change, and must be reported. */
void page_written(struct page *page)
{
	page->protection = WRITTEN;
	page->lazy = false;
	page->vague = false;
}

/* The page may be reported without having been written. */
void page_undecided(struct page *page)
{
	if (page->protection == PROTECTED)
		page->protection = UNDECIDED;
}

/* The process's own contents of the page are dropped. */
void page_dropped(struct page *page)
{
	page_written(page);
	page->copied = false;
	page->value = 0;
}

/**
 * pagemap_read() - read /proc/self/pagemap
 * @world:	the areas
 * @first:	first page, in all of them
 * @count:	pages
 * @entries:	is filled in
 */
void pagemap_read(struct world *world, unsigned int first, unsigned int count,
		  __u64 *entries)
{
	off64_t offset = page_address(world, first) / page_size() *
			 sizeof(*entries);
	ssize_t size = count * sizeof(*entries), done = 0;

	while (done < size) {
		ssize_t n = pread64(world->pagemap, (char *)entries + done,
				    size - done, offset + done);

		if (n <= 0)
			fail(world, "reading pagemap: %s", strerror(errno));
		done += n;
	}
}

/**
 * entry_is_swapped() - whether an entry of pagemap is that of a page in swap
 * @entry:	the entry
 *
 * Return: whether it is, and not a marker or a page under migration.
 */
bool entry_is_swapped(__u64 entry)
{
	return entry & PAGEMAP_SWAPPED && (entry & 31) < FIRST_SPECIAL_SWAP_TYPE;
}

/* Whether pagemap has no answer for now: the page is being moved. */
static bool entry_is_passing(__u64 entry)
{
	return entry & PAGEMAP_SWAPPED && !entry_is_swapped(entry) &&
	       !(entry & PAGEMAP_UFFD_WP);
}

/* The calls */

/* What a call returned, or must return. */
struct answer {
	int error;
	long regions;
	__u64 walk_end;
	__u64 pages;
	/* Of a failed call: where it failed, at the latest. */
	__u64 failed_at;
};

/* Call as the operation says, with another start, vec or limits. */
static struct answer call(struct world *world, const struct op *op,
			  __u64 start, __u64 end, struct page_region *vec,
			  __u64 vec_len, __u64 max_pages)
{
	struct answer answer = { .error = 0 };
	struct pagemap_scan_arg own = {
		.size = SCAN_LAYOUT(op) == LAYOUT_VER0 ?
			PAGEMAP_SCAN_ARG_SIZE_VER0 : sizeof(own),
		.flags = SCAN_FLAGS(op),
		.start = start,
		.len = end - start,
		.vec = address(vec),
		.vec_len = vec_len,
		.max_pages = max_pages,
		.required_mask = SCAN_MASK(op, 0),
		.excluded_mask = SCAN_MASK(op, 1),
		.anyof_mask = SCAN_MASK(op, 2),
		.return_mask = SCAN_MASK(op, 3),
		.walk_end = NO_ANSWER,
		.pages = NO_ANSWER,
	};
	struct pm_scan_arg pm = {
		.size = sizeof(pm),
		.flags = SCAN_FLAGS(op),
		.start = start,
		.end = end,
		.vec = address(vec),
		.vec_len = vec_len,
		.max_pages = max_pages,
		.category_inverted = SCAN_MASK(op, 0),
		.category_mask = SCAN_MASK(op, 1),
		.category_anyof_mask = SCAN_MASK(op, 2),
		.return_mask = SCAN_MASK(op, 3),
		.walk_end = NO_ANSWER,
	};

	if (SCAN_LAYOUT(op) == LAYOUT_PM)
		answer.regions = ioctl(world->pagemap, PAGEMAP_SCAN_PM, &pm);
	else
		answer.regions = ioctl(world->pagemap, PAGEMAP_SCAN, &own);
	if (answer.regions < 0)
		answer.error = errno;
	answer.walk_end = SCAN_LAYOUT(op) == LAYOUT_PM ? pm.walk_end :
							 own.walk_end;
	answer.pages = own.pages;
	world->outcome->scans++;
	return answer;
}

/* Whether a page of these categories is asked for. */
static bool matches(const struct op *op, __u64 categories)
{
	if (SCAN_LAYOUT(op) == LAYOUT_PM) {
		categories ^= SCAN_MASK(op, 0);
		if ((categories & SCAN_MASK(op, 1)) != SCAN_MASK(op, 1))
			return false;
	} else {
		if ((categories & SCAN_MASK(op, 0)) != SCAN_MASK(op, 0) ||
		    categories & SCAN_MASK(op, 1))
			return false;
	}
	return !SCAN_MASK(op, 2) || categories & SCAN_MASK(op, 2);
}

/* Whether a page that categories were taken of is asked for by the call. */
static bool selected(const struct op *op, __u64 categories)
{
	if (categories == NOT_REPORTED)
		return false;
	if (SCAN_FLAGS(op) & PAGEMAP_WP_ENGAGE &&
	    !(categories & PAGE_IS_WPALLOWED))
		return false;
	return matches(op, categories);
}

static bool engages(const struct op *op, __u64 categories)
{
	return SCAN_FLAGS(op) & PAGEMAP_WP_ENGAGE &&
	       categories & PAGE_IS_WRITTEN && selected(op, categories);
}

/* Pages that can only be taken together, from @page on, as far as in range. */
static unsigned int indivisible(struct world *world, const struct op *op,
				unsigned int page, bool *whole)
{
	struct page *in_area;
	struct area *area = area_at(world, page, &in_area);
	unsigned int granule = area->granule, index = in_area - area->pages;
	unsigned int end = op->first + op->count;
	unsigned int next = page - index % granule + granule;

	if (!(SCAN_FLAGS(op) & PAGEMAP_WP_ENGAGE))
		granule = 1;
	if (granule == 1) {
		*whole = true;
		return 1;
	}
	*whole = index % granule == 0 && next <= end;
	return (next < end ? next : end) - page;
}

/* Add pages to regions, which have room. */
static long add_region(const struct world *world, struct page_region *vec,
		       long regions, unsigned int page, unsigned int count,
		       __u64 categories)
{
	__u64 start = page_address(world, page);
	__u64 end = page_address(world, page + count);

	if (regions && vec[regions - 1].end == start &&
	    vec[regions - 1].categories == categories) {
		vec[regions - 1].end = end;
		return regions;
	}
	vec[regions] = (struct page_region) { start, end, categories };
	return regions + 1;
}

/*
 * What a call must answer where world->categories are as they are.  The
 * regions go into @vec, which has room for one per page.
 */
static struct answer predict(struct world *world, const struct op *op,
			     struct page_region *vec, __u64 vec_len,
			     __u64 max_pages)
{
	struct answer answer = {
		.walk_end = page_address(world, op->first + op->count),
	};
	unsigned int i, n;
	bool whole;

	answer.failed_at = answer.walk_end;
	if (SCAN_FLAGS(op) & PAGEMAP_WP_REQUIRED) {
		for (i = 0; i < op->count; i++) {
			if (world->categories[i] != NOT_REPORTED &&
			    !(world->categories[i] & PAGE_IS_WPALLOWED)) {
				answer.error = EPERM;
				answer.failed_at = page_address(world,
								op->first);
				return answer;
			}
		}
	}

	for (i = 0; i < op->count; i += n) {
		__u64 categories = world->categories[i];
		__u64 returned = categories & SCAN_MASK(op, 3);
		__u64 here = page_address(world, op->first + i);
		struct page_region *last = &vec[answer.regions - 1];

		n = 1;
		if (!selected(op, categories))
			continue;
		n = indivisible(world, op, op->first + i, &whole);
		if (max_pages && answer.pages == max_pages)
			goto stop_pages;
		if (vec_len && (__u64)answer.regions == vec_len &&
		    (last->end != here || last->categories != returned))
			goto stop_vec;
		if (engages(op, categories) && !whole)
			goto invalid;
		if (max_pages && max_pages - answer.pages < n) {
			if (!answer.pages)
				goto invalid;
			goto stop_pages;
		}
		answer.pages += n;
		if (vec_len)
			answer.regions = add_region(world, vec, answer.regions,
						    op->first + i, n, returned);
		continue;

invalid:
		answer.error = EINVAL;
		answer.failed_at = page_address(world, op->first + i + n);
		return answer;
stop_vec:
		effect(world, EFFECT_STOP_VEC);
		answer.walk_end = here;
		return answer;
stop_pages:
		effect(world, EFFECT_STOP_PAGES);
		answer.walk_end = here;
		return answer;
	}
	return answer;
}

/* The pages */

/* The model against the answer for a page; whichever is open is decided. */
static void decide_written(struct world *world, unsigned int number,
			   struct page *page, bool written)
{
	bool lazily_dropped = page->lazy && page->protection == PROTECTED;

	if (page->protection == WRITTEN && !written)
		fail(world, "page %u was written, but does not read so",
		     number);
	if (page->protection == PROTECTED && written && !lazily_dropped)
		fail(world, "page %u reads as written, but was not", number);

	if (page->protection == UNDECIDED)
		effect(world, EFFECT_MAYBE);
	if (written && lazily_dropped)
		page_dropped(page);
	else
		page->protection = written ? WRITTEN : PROTECTED;
	effect(world, written ? EFFECT_WRITTEN : EFFECT_UNWRITTEN);
}

static bool is_zero_page(struct world *world, __u64 entry)
{
	return entry & PAGEMAP_PRESENT &&
	       (entry & PAGEMAP_PFN) == world->zero_pfn;
}

/* The answer for a page against its entry in pagemap, bit by bit. */
static void check_entry(struct world *world, unsigned int number,
			struct area *area, struct page *page, __u64 categories,
			__u64 entry)
{
	bool present = entry & PAGEMAP_PRESENT;
	bool swapped = entry_is_swapped(entry);
	__u64 expected = 0, mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED |
				   PAGE_IS_FILE | PAGE_IS_SOFT_DIRTY |
				   PAGE_IS_WRITTEN;

	if (present)
		expected |= PAGE_IS_PRESENT;
	if (swapped)
		expected |= PAGE_IS_SWAPPED;
	if (present && entry & PAGEMAP_FILE)
		expected |= PAGE_IS_FILE;
	if (entry & PAGEMAP_SOFT_DIRTY)
		expected |= PAGE_IS_SOFT_DIRTY;
	if (!(entry & PAGEMAP_UFFD_WP) &&
	    (page->registered || present || swapped))
		expected |= PAGE_IS_WRITTEN;
	if (memory_is_hugetlb(area->kind)) {
		mask |= PAGE_IS_HUGE | PAGE_IS_PFNZERO;
		if (present)
			expected |= PAGE_IS_HUGE;
	} else if (!(categories & PAGE_IS_HUGE)) {
		mask |= PAGE_IS_PFNZERO;
		if (is_zero_page(world, entry))
			expected |= PAGE_IS_PFNZERO;
	} else if (categories & PAGE_IS_PFNZERO) {
		/* Which pagemap takes for a file's: it is not anonymous. */
		expected &= ~(__u64)PAGE_IS_FILE;
	}
	if ((categories & mask) != expected)
		fail(world, "page %u: categories %#llx, but pagemap has %#llx",
		     number, (unsigned long long)categories,
		     (unsigned long long)entry);
	if (!page->registered && entry & PAGEMAP_UFFD_WP)
		fail(world, "page %u is protected, but not registered", number);
}

/* The answer for a page that is there against the kind of its memory. */
static void check_kind(struct world *world, unsigned int number,
		       struct area *area, struct page *page, __u64 categories)
{
	bool zero = categories & PAGE_IS_PFNZERO;
	bool file = categories & PAGE_IS_FILE;

	if (!(categories & PAGE_IS_PRESENT))
		return;
	if (zero && !memory_is_anon(area->kind))
		fail(world, "page %u of a file is the zero page", number);
	if (zero && page->value && !page->lazy)
		fail(world, "page %u is the zero page, but has contents",
		     number);
	if (file && page_is_own(area, page))
		fail(world, "page %u is the file's, but is not", number);
	if (!file && !page_is_own(area, page))
		fail(world, "page %u is not the file's, but should be", number);
}

static void note_effects(struct world *world, struct area *area,
			 struct page *page, __u64 categories, __u64 entry)
{
	bool written = categories & PAGE_IS_WRITTEN;
	bool present = categories & PAGE_IS_PRESENT;
	bool swapped = categories & PAGE_IS_SWAPPED;
	bool hugetlb = memory_is_hugetlb(area->kind);
	bool thp = categories & PAGE_IS_HUGE && !hugetlb;
	const struct {
		bool there;
		enum effect effect;
	} effects[] = {
		{ thp && !(categories & PAGE_IS_FILE), EFFECT_THP },
		{ thp && categories & PAGE_IS_FILE, EFFECT_SHMEM_THP },
		{ thp && categories & PAGE_IS_PFNZERO, EFFECT_HUGE_ZERO },
		{ !thp && categories & PAGE_IS_PFNZERO, EFFECT_ZERO },
		{ thp && page->registered && !written, EFFECT_THP_PROTECTED },
		{ hugetlb && present && page->registered && !written,
		  EFFECT_HUGETLB_PROTECTED },
		{ hugetlb && !present && page->registered && !written,
		  EFFECT_HUGETLB_HOLE },
		{ !hugetlb && !present && !swapped && entry & PAGEMAP_UFFD_WP,
		  EFFECT_MARKER },
		{ swapped, EFFECT_SWAPPED },
		{ swapped && page->registered && !written,
		  EFFECT_SWAPPED_PROTECTED },
		{ categories & PAGE_IS_FILE, EFFECT_FILE },
		{ present && page->copied, EFFECT_COPIED },
		{ categories & PAGE_IS_SOFT_DIRTY, EFFECT_SOFT_DIRTY },
		{ present && !(categories & PAGE_IS_SOFT_DIRTY),
		  EFFECT_SOFT_CLEAN },
		{ !page->registered && present, EFFECT_UNREGISTERED },
	};
	size_t i;

	for (i = 0; i < sizeof(effects) / sizeof(*effects); i++) {
		if (effects[i].there)
			effect(world, effects[i].effect);
	}
}

static void check_page(struct world *world, unsigned int number,
		       __u64 categories, __u64 entry, bool stable)
{
	struct page *page;
	struct area *area = area_at(world, number, &page);

	world->outcome->pages++;
	if (!page->mapped) {
		if (categories != NOT_REPORTED)
			fail(world, "page %u is not mapped, but reported",
			     number);
		return;
	}
	if (categories == NOT_REPORTED)
		fail(world, "page %u is mapped, but not reported", number);
	if (!!(categories & PAGE_IS_WPALLOWED) != page->registered)
		fail(world, "page %u is %sregistered, but has %#llx", number,
		     page->registered ? "" : "not ",
		     (unsigned long long)categories);
	if (page->registered)
		decide_written(world, number, page,
			       categories & PAGE_IS_WRITTEN);
	check_kind(world, number, area, page, categories);
	if (stable && !entry_is_passing(entry))
		check_entry(world, number, area, page, categories, entry);
	note_effects(world, area, page, categories, entry);
}

/* A huge page is one: all of it has the same answer, and its flags say so. */
static void check_huge_page(struct world *world, unsigned int number,
			    const __u64 *categories, bool stable)
{
	unsigned int size = huge_size() / page_size(), i;
	struct page *page;
	struct area *area = area_at(world, number, &page);
	__u64 flags;

	for (i = 1; i < size; i++) {
		if (categories[i] == categories[0] ||
		    !((categories[i] ^ categories[0]) & PAGE_IS_HUGE &&
		      categories[i] != NOT_REPORTED))
			continue;
		fail(world, "page %u is huge, page %u is not", number,
		     number + i);
	}
	if (!(categories[0] & PAGE_IS_HUGE) || !stable)
		return;
	for (i = 1; i < size; i++) {
		if (categories[i] != categories[0])
			fail(world, "page %u of a huge page has %#llx, not %#llx",
			     number + i, (unsigned long long)categories[i],
			     (unsigned long long)categories[0]);
	}
	flags = page_flags(world->pagemap,
			   world->base + number * page_size());
	if (!flags)
		return;
	if (!(flags & (memory_is_hugetlb(area->kind) ? KPAGE_HUGETLB :
						       KPAGE_THP)) &&
	    !(flags & KPAGE_ZERO))
		fail(world, "page %u is huge, but has the flags %#llx",
		     number, (unsigned long long)flags);
	if (!!(categories[0] & PAGE_IS_PFNZERO) != !!(flags & KPAGE_ZERO))
		fail(world, "huge page %u has %#llx, and the flags %#llx",
		     number, (unsigned long long)categories[0],
		     (unsigned long long)flags);
}

static void check_huge_pages(struct world *world, unsigned int first,
			     unsigned int count)
{
	unsigned int size = huge_size() / page_size();
	unsigned int page = (first + size - 1) / size * size;

	for (; page + size <= first + count; page += size) {
		unsigned int i = page - first;
		bool stable = !memcmp(&world->entries[i],
				      &world->entries_after[i],
				      size * sizeof(*world->entries));

		if (world->categories[i] != NOT_REPORTED)
			check_huge_page(world, page, &world->categories[i],
					stable);
	}
}

/**
 * check_range() - check the answer for all categories, page by page
 * @world:	the areas
 * @first:	first page, in all of them
 * @count:	pages
 * @layout:	how to ask
 *
 * Leaves the answer in world->categories.
 */
void check_range(struct world *world, unsigned int first, unsigned int count,
		 enum layout layout)
{
	unsigned int i;

	pagemap_read(world, first, count, world->entries);
	world->outcome->scans++;
	if (scan_categories(world->pagemap, layout,
			    world->base + first * page_size(),
			    count * page_size(), world->categories))
		fail(world, "a scan of all categories failed");
	pagemap_read(world, first, count, world->entries_after);

	for (i = 0; i < count; i++)
		check_page(world, first + i, world->categories[i],
			   world->entries[i],
			   world->entries[i] == world->entries_after[i]);
	check_huge_pages(world, first, count);
}

/* How much of an area smaps says is mapped by huge entries, in pages. */
static unsigned int smaps_huge_pages(struct world *world, struct area *area)
{
	__u64 start = address(area->addr), low, high;
	__u64 end = start + area->window * page_size();
	FILE *smaps = fopen("/proc/self/smaps", "r");
	unsigned long long from, to, size;
	unsigned long sum = 0;
	bool inside = false;
	char line[512];

	if (!smaps)
		fail(world, "smaps: %s", strerror(errno));
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2) {
			low = from;
			high = to;
			inside = low >= start && high <= end;
		} else if (inside &&
			   (sscanf(line, "AnonHugePages: %llu", &size) == 1 ||
			    sscanf(line, "ShmemPmdMapped: %llu", &size) == 1 ||
			    sscanf(line, "FilePmdMapped: %llu", &size) == 1)) {
			sum += size * 1024 / page_size();
		}
	}
	fclose(smaps);
	return sum;
}

/**
 * check_huge() - check the number of pages in huge ones against smaps
 * @world:	the areas
 * @area:	one of them
 */
void check_huge(struct world *world, struct area *area)
{
	unsigned int first = page_number(world, area->addr), i;
	unsigned int before, after, scanned = 0;

	if (memory_is_hugetlb(area->kind))
		return;
	before = smaps_huge_pages(world, area);
	check_range(world, first, area->window, LAYOUT_VER1);
	after = smaps_huge_pages(world, area);
	for (i = 0; i < area->window; i++) {
		__u64 categories = world->categories[i];

		/* smaps passes over what can't be accessed. */
		if (categories != NOT_REPORTED && categories & PAGE_IS_HUGE &&
		    !(categories & PAGE_IS_PFNZERO) && area->pages[i].prot)
			scanned++;
	}
	if (before != after)
		return;
	if (scanned != before)
		fail(world, "%u pages are in huge ones, smaps says %u",
		     scanned, before);
	if (scanned)
		effect(world, EFFECT_SMAPS);
}

/* The operations */

/* Whether something else changed the pages since check_range(). */
static bool disturbed(struct world *world, unsigned int first,
		      unsigned int count)
{
	const __u64 bits = PAGEMAP_PRESENT | PAGEMAP_SWAPPED | PAGEMAP_FILE |
			   PAGEMAP_SOFT_DIRTY;
	unsigned int i;

	pagemap_read(world, first, count, world->entries);
	for (i = 0; i < count; i++) {
		if ((world->entries[i] ^ world->entries_after[i]) & bits) {
			world->outcome->disturbed++;
			return true;
		}
	}
	return false;
}

/* Note that the pages of a call that engaged are protected. */
static void note_engaged(struct world *world, const struct op *op, __u64 end)
{
	unsigned int size = huge_size() / page_size(), huge, i;

	for (i = 0; i < op->count; i++) {
		struct page *page;
		struct area *area = area_at(world, op->first + i, &page);

		if (page_address(world, op->first + i) >= end)
			break;
		if (!engages(op, world->categories[i]))
			continue;
		if (page->lazy)
			page->vague = true;
		page->protection = PROTECTED;
		effect(world, EFFECT_ENGAGED);
		huge = (op->first + i) / size * size;
		if (world->categories[i] & PAGE_IS_HUGE &&
		    !memory_is_hugetlb(area->kind) &&
		    (huge < op->first ||
		     page_address(world, huge + size) > end))
			effect(world, EFFECT_THP_CUT);
	}
}

/*
 * A call changes nothing but the protection: a page stays where it is, as
 * soft-dirty as it was.  Before the call, pagemap had world->spread.
 */
static void check_unchanged(struct world *world, const struct op *op)
{
	unsigned int i;

	for (i = 0; i < op->count; i++) {
		__u64 before = world->spread[i], after = world->entries[i];
		struct page *page;

		area_at(world, op->first + i, &page);
		if (!page->mapped || !(before & PAGEMAP_PRESENT) ||
		    (after & PAGEMAP_PRESENT && (before ^ after) & PAGEMAP_PFN))
			continue;
		if ((before ^ after) & (PAGEMAP_PRESENT | PAGEMAP_SOFT_DIRTY))
			fail(world, "a scan changed page %u from %#llx to %#llx",
			     op->first + i, (unsigned long long)before,
			     (unsigned long long)after);
	}
}

/* After a failed or a disturbed call, protection may be gone from pages. */
static void note_failed(struct world *world, const struct op *op, __u64 end)
{
	unsigned int i;

	for (i = 0; i < op->count; i++) {
		struct page *page;

		area_at(world, op->first + i, &page);
		if (page_address(world, op->first + i) >= end)
			break;
		page_undecided(page);
	}
}

static const char *compare_regions(const struct page_region *vec,
				   const struct page_region *expected,
				   long regions)
{
	static char text[160];
	long i;

	for (i = 0; i < regions; i++) {
		if (!memcmp(&vec[i], &expected[i], sizeof(*vec)))
			continue;
		snprintf(text, sizeof(text),
			 "region %ld is %llx-%llx %#llx, not %llx-%llx %#llx",
			 i, (unsigned long long)vec[i].start,
			 (unsigned long long)vec[i].end,
			 (unsigned long long)vec[i].categories,
			 (unsigned long long)expected[i].start,
			 (unsigned long long)expected[i].end,
			 (unsigned long long)expected[i].categories);
		return text;
	}
	return NULL;
}

/* Compare a call that did not fail with what it should have answered. */
static const char *compare(const struct op *op, const struct page_region *vec,
			   const struct answer *got,
			   const struct answer *expected,
			   const struct page_region *expected_vec)
{
	static char text[160];
	__u64 walk_end = expected->walk_end, pages = NO_ANSWER;
	long common = got->regions < expected->regions ? got->regions :
							 expected->regions;
	const char *difference = compare_regions(vec, expected_vec, common);

	if (difference)
		return difference;
	if (SCAN_LAYOUT(op) == LAYOUT_VER0)
		walk_end = NO_ANSWER;
	if (SCAN_LAYOUT(op) == LAYOUT_VER1)
		pages = expected->pages;
	if (got->regions == expected->regions && got->walk_end == walk_end &&
	    got->pages == pages)
		return NULL;
	snprintf(text, sizeof(text),
		 "%ld regions, walk_end %llx, %llu pages, not %ld, %llx, %llu",
		 got->regions, (unsigned long long)got->walk_end,
		 (unsigned long long)got->pages, expected->regions,
		 (unsigned long long)walk_end, (unsigned long long)pages);
	return text;
}

/*
 * One call, whose vec has room for @vec_len regions but only @fits of them in
 * memory that can be written.
 */
static void check_call(struct world *world, const struct op *op, __u64 vec_len,
		       __u64 fits)
{
	__u64 start = page_address(world, op->first);
	__u64 end = page_address(world, op->first + op->count);
	__u64 trim = op->arg[3] >> 8 & (page_size() - 1);
	struct page_region *vec = (struct page_region *)world->vec_end - fits;
	struct answer expected, got;
	const char *difference;

	check_range(world, op->first, op->count, op->arg[3] >> 20 & 1);
	memcpy(world->spread, world->entries_after,
	       op->count * sizeof(*world->spread));
	expected = predict(world, op, world->expected, vec_len, op->arg[2]);
	got = call(world, op, start, end - trim, vec_len ? vec : NULL, vec_len,
		   op->arg[2]);

	if ((__u64)expected.regions > fits && got.error == EFAULT) {
		effect(world, EFFECT_EFAULT);
		note_failed(world, op, expected.failed_at);
	} else if (expected.error && got.error == expected.error) {
		effect(world, expected.error == EPERM ? EFFECT_EPERM :
							EFFECT_EINVAL);
		note_failed(world, op, expected.failed_at);
	} else if (got.error || expected.error ||
		   (__u64)expected.regions > fits) {
		if (!disturbed(world, op->first, op->count))
			fail(world, "the scan's error is %d, not %d", got.error,
			     expected.error);
		note_failed(world, op, end);
	} else {
		difference = compare(op, vec, &got, &expected, world->expected);
		if (difference && !disturbed(world, op->first, op->count))
			fail(world, "%s", difference);
		note_engaged(world, op, expected.walk_end);
		if (difference)
			note_failed(world, op, end);
	}
	if (!SCAN_FLAGS(op))
		return;
	check_range(world, op->first, op->count, LAYOUT_PM);
	check_unchanged(world, op);
}

/**
 * check_scan() - one call, compared with what check_range() tells
 * @world:	the areas
 * @op:		the operation
 */
void check_scan(struct world *world, const struct op *op)
{
	__u64 vec_len = op->arg[1] < world->pages ? op->arg[1] : world->pages;

	check_call(world, op, vec_len, vec_len);
	if (SCAN_SMAPS(op)) {
		struct page *page;

		check_huge(world, area_at(world, op->first, &page));
	}
}

/**
 * check_fault() - the same where only a part of vec can be written
 * @world:	the areas
 * @op:		the operation
 */
void check_fault(struct world *world, const struct op *op)
{
	__u64 vec_len = op->arg[1] < world->pages ? op->arg[1] : world->pages;

	check_call(world, op, vec_len, vec_len / 3);
}

/* Where to go on after a call that may have ended early. */
static __u64 next_start(const struct op *op, const struct answer *answer,
			const struct page_region *vec, __u64 vec_len,
			__u64 max_pages, __u64 end)
{
	if (SCAN_LAYOUT(op) != LAYOUT_VER0)
		return answer->walk_end;
	if (!answer->regions ||
	    (!max_pages && (__u64)answer->regions < vec_len))
		return end;
	return vec[answer->regions - 1].end;
}

/* Hand the pages of a small call's regions out to the union. */
static void spread(struct world *world, const struct op *op, __u64 *pages,
		   const struct page_region *vec, long regions, __u64 start,
		   __u64 end)
{
	__u64 first = page_address(world, op->first), at;
	long i;

	for (i = 0; i < regions; i++) {
		if (vec[i].start < start || vec[i].end > end ||
		    vec[i].start >= vec[i].end)
			fail(world, "region %llx-%llx of a call for %llx-%llx",
			     (unsigned long long)vec[i].start,
			     (unsigned long long)vec[i].end,
			     (unsigned long long)start,
			     (unsigned long long)end);
		for (at = vec[i].start; at < vec[i].end; at += page_size())
			pages[(at - first) / page_size()] = vec[i].categories;
		start = vec[i].end;
	}
}

static void compare_union(struct world *world, const struct op *op,
			  const __u64 *pages)
{
	unsigned int i;

	for (i = 0; i < op->count; i++) {
		__u64 expected = NOT_REPORTED;

		if (selected(op, world->categories[i]))
			expected = world->categories[i] & SCAN_MASK(op, 3);
		if (pages[i] == expected)
			continue;
		if (disturbed(world, op->first, op->count)) {
			note_failed(world, op, ~(__u64)0);
			return;
		}
		fail(world, "page %u: %#llx in small calls, %#llx in a large one",
		     op->first + i, (unsigned long long)pages[i],
		     (unsigned long long)expected);
	}
}

/**
 * check_union() - many small calls, compared with one large one
 * @world:	the areas
 * @op:		the operation
 */
void check_union(struct world *world, const struct op *op)
{
	__u64 end = page_address(world, op->first + op->count);
	__u64 start = page_address(world, op->first), next;
	__u64 vec_len = op->arg[1], max_pages = op->arg[2];
	struct answer answer;
	unsigned int i, calls = 0;

	check_range(world, op->first, op->count, LAYOUT_VER1);
	answer = predict(world, op, world->expected, world->pages, 0);
	if (answer.error)
		return;
	for (i = 0; i < op->count; i++)
		world->spread[i] = NOT_REPORTED;
	while (start < end) {
		struct page_region *vec = (struct page_region *)
					  world->vec_end - vec_len;

		answer = call(world, op, start, end, vec, vec_len, max_pages);
		if (answer.error)
			fail(world, "a small call at %llx failed: %s",
			     (unsigned long long)start,
			     strerror(answer.error));
		next = next_start(op, &answer, vec, vec_len, max_pages, end);
		if (next <= start || next > end)
			fail(world, "a small call at %llx went to %llx",
			     (unsigned long long)start,
			     (unsigned long long)next);
		spread(world, op, world->spread, vec, answer.regions, start,
		       next);
		start = next;
		/* Enough of them; the rest in one. */
		if (++calls == 100) {
			vec_len = world->pages;
			max_pages = 0;
		}
	}
	note_engaged(world, op, end);
	compare_union(world, op, world->spread);
	if (calls > 1)
		effect(world, EFFECT_UNION);
	check_range(world, op->first, op->count, LAYOUT_VER0);
}
