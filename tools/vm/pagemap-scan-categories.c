// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan: the names of the categories */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "pagemap-scan-categories.h"

/* In the order of columns and lists. */
const struct category categories[CATEGORY_COUNT] = {
	{ "wpallowed", "ALLOW", PAGE_IS_WPALLOWED },
	{ "written", "WRITE", PAGE_IS_WRITTEN },
	{ "file", "FILE", PAGE_IS_FILE },
	{ "present", "PRES", PAGE_IS_PRESENT },
	{ "swapped", "SWAP", PAGE_IS_SWAPPED },
	{ "pfnzero", "ZERO", PAGE_IS_PFNZERO },
	{ "huge", "HUGE", PAGE_IS_HUGE },
	{ "soft-dirty", "DIRTY", PAGE_IS_SOFT_DIRTY },
};

/**
 * category_by_name - find a category
 * @name: its name, in small or capital letters
 * @length: number of characters of @name that belong to it
 *
 * Return: the one of categories[], or NULL.
 */
const struct category *category_by_name(const char *name, size_t length)
{
	size_t i;

	for (i = 0; i < CATEGORY_COUNT; i++)
		if (length == strlen(categories[i].name) &&
		    !strncasecmp(name, categories[i].name, length))
			return &categories[i];
	return NULL;
}

/**
 * format_categories - write names of categories, with commas between them
 * @text: where to
 * @mask: the categories
 */
void format_categories(char text[CATEGORIES_SIZE], __u64 mask)
{
	size_t length = 0;
	size_t i;

	text[0] = '\0';
	for (i = 0; i < CATEGORY_COUNT; i++)
		if (mask & categories[i].bit)
			length += snprintf(text + length,
					   CATEGORIES_SIZE - length, "%s%s",
					   length ? "," : "",
					   categories[i].name);
}

/**
 * parse_categories - read the list that an option has
 * @option: name of the option, for the error
 * @list: names with commas between them
 * @mask: receives the categories, beside those that it has
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int parse_categories(const char *option, const char *list, __u64 *mask,
		     struct failure *failure)
{
	const char *name = list;

	for (;;) {
		size_t length = strcspn(name, ",");
		const struct category *category = category_by_name(name, length);

		if (category) {
			*mask |= category->bit;
		} else if (length == strlen("all") &&
			   !strncasecmp(name, "all", length)) {
			*mask |= ALL_CATEGORIES;
		} else {
			char known[CATEGORIES_SIZE];

			format_categories(known, ALL_CATEGORIES);
			return fail(failure, STATUS_USAGE,
				    "--%s: there is no category '%.*s'; use names from %s, or all",
				    option, (int)length, name, known);
		}
		name += length;
		if (!*name)
			return 0;
		name++;
	}
}
