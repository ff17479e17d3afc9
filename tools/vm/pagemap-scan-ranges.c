// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan: sets of addresses */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdlib.h>

#include "pagemap-scan-ranges.h"

/**
 * add_range - add a range to a set
 * @list: the set
 * @start: start of the range, not below the end of what the set has
 * @end: its end; an empty range is not added
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int add_range(struct range_list *list, __u64 start, __u64 end,
	      struct failure *failure)
{
	if (start >= end)
		return 0;
	if (list->count && list->ranges[list->count - 1].end == start) {
		list->ranges[list->count - 1].end = end;
		return 0;
	}
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 256;
		struct address_range *larger =
			reallocarray(list->ranges, room, sizeof(*larger));

		if (!larger)
			return fail_memory(failure);
		list->ranges = larger;
		list->room = room;
	}
	list->ranges[list->count++] = (struct address_range){ start, end };
	return 0;
}

/**
 * struct range_cursor - how far a set has been read
 * @list: the set
 * @next: the range that was not passed yet
 */
struct range_cursor {
	const struct range_list *list;
	size_t next;
};

/* Whether the set has @address, and in *@border where that changes next. */
static bool look_at(struct range_cursor *cursor, __u64 address, __u64 *border)
{
	const struct range_list *list = cursor->list;
	const struct address_range *range;

	while (cursor->next < list->count &&
	       list->ranges[cursor->next].end <= address)
		cursor->next++;
	if (cursor->next == list->count)
		return false;
	range = &list->ranges[cursor->next];
	if (address < range->start) {
		if (*border > range->start)
			*border = range->start;
		return false;
	}
	if (*border > range->end)
		*border = range->end;
	return true;
}

/**
 * combine_ranges - make a set of two others
 * @first: one of them
 * @operation: what to make of them
 * @second: the other
 * @result: receives the set, to be freed; in place of what it was
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted; @result is as before then.
 */
int combine_ranges(const struct range_list *first,
		   enum range_operation operation,
		   const struct range_list *second, struct range_list *result,
		   struct failure *failure)
{
	struct range_cursor one = { .list = first }, two = { .list = second };
	struct range_list made = {};
	__u64 address = 0;

	for (;;) {
		__u64 border = ~0ULL;
		bool in_one = look_at(&one, address, &border);
		bool in_two = look_at(&two, address, &border);
		bool wanted = operation == RANGES_UNION ? in_one || in_two :
			      operation == RANGES_BOTH ? in_one && in_two :
							 in_one && !in_two;

		if (border == ~0ULL)
			break;
		if (wanted && add_range(&made, address, border, failure)) {
			free_ranges(&made);
			return -1;
		}
		address = border;
	}
	free_ranges(result);
	*result = made;
	return 0;
}

/**
 * sum_of_ranges - tell how much a set has
 * @list: the set
 *
 * Return: bytes.
 */
__u64 sum_of_ranges(const struct range_list *list)
{
	__u64 sum = 0;
	size_t i;

	for (i = 0; i < list->count; i++)
		sum += list->ranges[i].end - list->ranges[i].start;
	return sum;
}

/**
 * free_ranges - make a set empty, and give its memory back
 * @list: the set
 */
void free_ranges(struct range_list *list)
{
	free(list->ranges);
	*list = (struct range_list){};
}
