// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan: calls of the ioctl
 *
 * To read, struct pm_scan_arg does, which Linux 6.7 and later have as well as
 * 6.1 with the PAGEMAP_SCAN series.  struct pagemap_scan_arg is known to the
 * latter alone; where it is needed, require_own_kernel() says so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#include "pagemap-scan-categories.h"
#include "pagemap-scan-scan.h"

/* Regions that one call can report.  More of them cost memory, fewer calls. */
#define VEC_LEN			4096

static const char *kernel_release(struct utsname *name)
{
	return uname(name) ? "?" : name->release;
}

/* Whether the kernel takes a call on no memory that returns these categories. */
static bool takes_categories(const struct process *process, __u64 mask)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.return_mask = mask,
	};

	return !ioctl(process->pagemap, PAGEMAP_SCAN_PM, &arg);
}

/**
 * known_categories - ask which categories the kernel can tell
 * @process: a process
 * @known: receives them
 * @failure: receives the error
 *
 * A call that names one which the kernel does not know would be refused.
 *
 * Return: 0, or -1 with an error noted: the kernel does not have the ioctl.
 */
int known_categories(const struct process *process, __u64 *known,
		     struct failure *failure)
{
	struct utsname name;
	size_t i;

	*known = 0;
	if (!takes_categories(process, 0)) {
		if (errno == ESRCH)
			return fail_exited(process, failure);
		return fail(failure, STATUS_ERROR,
			    "this kernel (Linux %s) does not have the ioctl PAGEMAP_SCAN: Linux 6.7 and later have it, and 6.1 with the PAGEMAP_SCAN series; boot such a kernel",
			    kernel_release(&name));
	}
	for (i = 0; i < CATEGORY_COUNT; i++)
		if (takes_categories(process, categories[i].bit))
			*known |= categories[i].bit;
	return 0;
}

/**
 * has_own_kernel - ask whether the kernel has the PAGEMAP_SCAN series
 * @process: a process
 *
 * Return: whether PAGEMAP_SCAN takes a struct pagemap_scan_arg.
 */
bool has_own_kernel(const struct process *process)
{
	struct pagemap_scan_arg arg = { .size = sizeof(arg) };

	return !ioctl(process->pagemap, PAGEMAP_SCAN, &arg);
}

/**
 * require_own_kernel - refuse what only the PAGEMAP_SCAN series can do
 * @process: a process
 * @purpose: what it is needed for, as the start of a sentence
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted: the kernel does not have the series.
 */
int require_own_kernel(const struct process *process, const char *purpose,
		       struct failure *failure)
{
	struct utsname name;

	if (has_own_kernel(process))
		return 0;
	if (errno == ESRCH)
		return fail_exited(process, failure);
	return fail(failure, STATUS_ERROR,
		    "%s takes Linux 6.1 with the PAGEMAP_SCAN series, and this kernel is Linux %s without it; boot a kernel that has it",
		    purpose, kernel_release(&name));
}

/* Note why PAGEMAP_SCAN failed, by errno. */
static int fail_scan(const struct process *process,
		     const struct address_range *range,
		     struct failure *failure)
{
	switch (errno) {
	case ESRCH:
		return fail_exited(process, failure);
	case ENOMEM:
		return fail(failure, STATUS_ERROR,
			    "the kernel has not enough memory for the scan; free some and try again");
	default:
		return fail(failure, STATUS_ERROR,
			    "cannot scan %llx-%llx of process %d: %s",
			    range->start, range->end, process->pid,
			    strerror(errno));
	}
}

/**
 * set_selection - say in mainline's terms which pages match
 * @arg: receives it
 * @selection: which pages
 *
 * There a page has each category or, where that is inverted, has the opposite;
 * all tests are on these.  So what excludes a category is that its opposite is
 * required.  Such a category in @anyof could only ask for the opposite, and no
 * page has the category itself any more, so it is left out there.
 */
static void set_selection(struct pm_scan_arg *arg,
			  const struct selection *selection)
{
	arg->category_inverted = selection->excluded;
	arg->category_mask = selection->required | selection->excluded;
	arg->category_anyof_mask = selection->anyof & ~selection->excluded;
	arg->return_mask = selection->returned;
}

/* Whether a page can match at all, which mainline's terms take for granted. */
static bool can_match(const struct selection *selection)
{
	return !(selection->required & selection->excluded) &&
	       (!selection->anyof || selection->anyof & ~selection->excluded);
}

/**
 * struct joiner - makes one region of parts that touch
 * @take: where the regions go
 * @context: for @take
 * @pending: the last region, which may go on; empty where its end is 0
 *
 * A call that stopped because vec was full may have stopped amid a region.
 */
struct joiner {
	take_region_t *take;
	void *context;
	struct page_region pending;
};

static int flush_joiner(struct joiner *joiner, struct failure *failure)
{
	if (!joiner->pending.end)
		return 0;
	return joiner->take(joiner->context, &joiner->pending, failure);
}

static int join_region(struct joiner *joiner, const struct page_region *region,
		       struct failure *failure)
{
	struct page_region *pending = &joiner->pending;

	if (pending->end == region->start &&
	    pending->categories == region->categories) {
		pending->end = region->end;
		return 0;
	}
	if (flush_joiner(joiner, failure))
		return -1;
	*pending = *region;
	return 0;
}

/**
 * scan_range - ask the kernel about the pages of a range
 * @process: the process
 * @selection: which pages match, and what to find out about them
 * @range: which addresses, multiples of the page size
 * @take: receives the regions of matching pages, in address order
 * @context: for @take
 * @failure: receives the error
 *
 * Return: SCAN_FAILED with an error noted, or what was found.
 */
enum scan_result scan_range(const struct process *process,
			    const struct selection *selection,
			    const struct address_range *range,
			    take_region_t *take, void *context,
			    struct failure *failure)
{
	struct joiner joiner = { .take = take, .context = context };
	struct page_region vec[VEC_LEN];
	__u64 address = range->start;

	if (!can_match(selection))
		return SCAN_DONE;
	while (address < range->end) {
		struct pm_scan_arg arg = {
			.size = sizeof(arg),
			.start = address,
			.end = range->end,
			.vec = (uintptr_t)vec,
			.vec_len = VEC_LEN,
		};
		__u64 reached;
		int i, found;

		set_selection(&arg, selection);
		found = ioctl(process->pagemap, PAGEMAP_SCAN_PM, &arg);
		if (found < 0 && errno == EFAULT)
			return SCAN_OUTSIDE;
		if (found < 0)
			return fail_scan(process, range, failure);
		for (i = 0; i < found; i++)
			if (join_region(&joiner, &vec[i], failure))
				return SCAN_FAILED;

		/*
		 * Linux 6.7 and later may leave walk_end where a buffer of the
		 * kernel was full, although regions behind it were reported.
		 */
		reached = arg.walk_end;
		if (found && reached < vec[found - 1].end)
			reached = vec[found - 1].end;
		/* With room for a region, a call always gets on. */
		if (reached <= address) {
			fail(failure, STATUS_ERROR,
			     "the kernel stopped at %llx without a reason; please report this",
			     address);
			return SCAN_FAILED;
		}
		address = reached;
	}
	return flush_joiner(&joiner, failure) ? SCAN_FAILED : SCAN_DONE;
}
