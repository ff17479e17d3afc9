// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan show: in which categories the pages of a process are
 *
 * Asks the PAGEMAP_SCAN ioctl of /proc/PID/pagemap about every mapping that
 * /proc/PID/maps lists, and prints a row per mapping with how much of it is in
 * each category, or the regions themselves, for a reader, as JSON or as CSV.
 *
 * The target runs meanwhile, so a mapping may change or go between the moment
 * that it was listed and the moment that it was scanned.  Where pages have
 * gone, the ioctl reports none, and the row shows none.
 *
 * All results are collected before the first is printed: what is printed is
 * whole, or there is an error and nothing else.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pagemap-scan-options.h"
#include "pagemap-scan-show.h"

/* The command line. */

enum option_id {
	OPTION_REQUIRED = FIRST_LONG_OPTION,
	OPTION_ANYOF,
	OPTION_EXCLUDED,
	OPTION_RETURN,
	OPTION_RANGE,
	OPTION_REGIONS,
	OPTION_SORT,
	OPTION_FOLD,
	OPTION_BYTES,
	OPTION_PAGES,
	OPTION_COLOUR,
	OPTION_JSON,
	OPTION_CSV,
};

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "Which pages:", 1 },
	{ "required", OPTION_REQUIRED, "LIST", 0,
	  "only pages in all of these categories", 0 },
	{ "anyof", OPTION_ANYOF, "LIST", 0,
	  "only pages in at least one of these categories", 0 },
	{ "excluded", OPTION_EXCLUDED, "LIST", 0,
	  "only pages in none of these categories", 0 },
	{ "range", OPTION_RANGE, "START-END", 0,
	  "only these addresses, in hex as in /proc/PID/maps", 0 },
	{ NULL, 0, NULL, 0, "What to show of them:", 2 },
	{ "return", OPTION_RETURN, "LIST", 0,
	  "show these categories (default: those that have pages)", 0 },
	{ "regions", OPTION_REGIONS, NULL, 0,
	  "show the regions themselves, that is, neighbouring pages in the same categories", 0 },
	{ "sort", OPTION_SORT, "KEY", 0,
	  "order by address (default), or descending by size or a category", 0 },
	{ "fold", OPTION_FOLD, "SIZE", 0,
	  "one row for neighbouring rows of mappings below SIZE, such as 64K", 0 },
	{ "bytes", OPTION_BYTES, NULL, 0, "sizes in bytes", 0 },
	{ "pages", OPTION_PAGES, NULL, 0, "sizes in pages", 0 },
	{ "colour", OPTION_COLOUR, "WHEN", 0,
	  "auto (default: on a terminal), always, never", 0 },
	{ "color", 0, NULL, OPTION_ALIAS, NULL, 0 },
	{ NULL, 0, NULL, 0, "For programs, with exact numbers of pages:", 3 },
	{ "json", OPTION_JSON, NULL, 0, "print one JSON object", 0 },
	{ "csv", OPTION_CSV, NULL, 0,
	  "print comma-separated values, with a row of names first", 0 },
	{}
};

static int parse_format(struct show_request *request, enum format format)
{
	if (request->format != FORMAT_TABLE && request->format != format)
		return fail(request->failure, STATUS_USAGE,
			    "--json and --csv exclude each other; leave one out");
	request->format = format;
	return 0;
}

static int parse_unit(struct show_request *request, enum unit unit)
{
	if (request->unit != UNIT_HUMAN && request->unit != unit)
		return fail(request->failure, STATUS_USAGE,
			    "--bytes and --pages exclude each other; leave one out");
	request->unit = unit;
	return 0;
}

static int parse_sort(struct show_request *request, const char *key)
{
	const struct category *category;

	if (!strcasecmp(key, "address")) {
		request->sort = SORT_ADDRESS;
		return 0;
	}
	if (!strcasecmp(key, "size")) {
		request->sort = TALLY_PAGES;
		return 0;
	}
	category = category_by_name(key, strlen(key));
	if (!category) {
		char known[CATEGORIES_SIZE];

		format_categories(known, ALL_CATEGORIES);
		return fail(request->failure, STATUS_USAGE,
			    "--sort: '%s' is not one of address,size,%s", key,
			    known);
	}
	request->sort = TALLY_CATEGORY + (category - categories);
	return 0;
}

static int parse_operand(struct show_request *request, const char *text)
{
	if (request->pid)
		return fail(request->failure, STATUS_USAGE,
			    "'%s': one process at a time, please", text);
	return parse_pid(text, &request->pid, request->failure);
}

/* Refuse what cannot be done together. */
static int check_request(struct show_request *request)
{
	struct failure *failure = request->failure;

	if (!request->pid)
		return fail(failure, STATUS_USAGE,
			    "the number of the process is missing; pagemap-scan --help tells the usage");
	if (request->unit != UNIT_HUMAN && request->format != FORMAT_TABLE)
		return fail(failure, STATUS_USAGE,
			    "--bytes and --pages are for tables; --json and --csv have exact numbers of pages");
	if (request->fold &&
	    (request->format != FORMAT_TABLE || request->regions))
		return fail(failure, STATUS_USAGE,
			    "--fold is for the table of mappings; leave out --json, --csv and --regions");
	if (!request->selection.returned)
		request->selection.returned = ALL_CATEGORIES;
	if (request->sort >= TALLY_CATEGORY) {
		const struct category *key =
			&categories[request->sort - TALLY_CATEGORY];

		if (!(request->selection.returned & key->bit))
			return fail(failure, STATUS_USAGE,
				    "--sort: %s is not among what --return shows; add it there",
				    key->name);
	}
	return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	struct show_request *request = state->input;
	struct selection *selection = &request->selection;
	struct failure *failure = request->failure;

	switch (key) {
	case OPTION_REQUIRED:
		return parse_categories("required", argument,
					&selection->required, failure);
	case OPTION_ANYOF:
		return parse_categories("anyof", argument, &selection->anyof,
					failure);
	case OPTION_EXCLUDED:
		return parse_categories("excluded", argument,
					&selection->excluded, failure);
	case OPTION_RETURN:
		if (parse_categories("return", argument, &request->chosen,
				     failure))
			return -1;
		selection->returned = request->chosen;
		return 0;
	case OPTION_RANGE:
		return parse_range("range", argument, &request->range, failure);
	case OPTION_REGIONS:
		request->regions = true;
		return 0;
	case OPTION_SORT:
		return parse_sort(request, argument);
	case OPTION_FOLD:
		return parse_size("fold", argument, &request->fold, failure);
	case OPTION_BYTES:
		return parse_unit(request, UNIT_BYTES);
	case OPTION_PAGES:
		return parse_unit(request, UNIT_PAGES);
	case OPTION_COLOUR:
		return parse_colour("colour", argument, &request->colour,
				    failure);
	case OPTION_JSON:
		return parse_format(request, FORMAT_JSON);
	case OPTION_CSV:
		return parse_format(request, FORMAT_CSV);
	case ARGP_KEY_ARG:
		return parse_operand(request, argument);
	case ARGP_KEY_END:
		return check_request(request);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* What the kernel knows. */

/**
 * limit_categories - leave out what the kernel does not know
 * @request: what was asked for
 * @process: the process
 * @failure: receives the error
 *
 * What the user named is refused.  What is merely among all is left out, and a
 * note says so.
 *
 * Return: 0, or -1 with an error noted.
 */
static int limit_categories(struct show_request *request,
			    const struct process *process,
			    struct failure *failure)
{
	struct selection *selection = &request->selection;
	__u64 named = selection->required | selection->anyof |
		      selection->excluded | request->chosen;
	char names[CATEGORIES_SIZE];
	__u64 known;

	if (known_categories(process, &known, failure))
		return -1;
	if (request->sort >= TALLY_CATEGORY)
		named |= categories[request->sort - TALLY_CATEGORY].bit;
	if (named & ~known) {
		format_categories(names, named & ~known);
		return fail(failure, STATUS_ERROR,
			    "this kernel cannot tell which pages are %s; ask for other categories",
			    names);
	}
	if (selection->returned & ~known) {
		format_categories(names, selection->returned & ~known);
		fprintf(stderr,
			"pagemap-scan: this kernel cannot tell which pages are %s, so that is left out\n",
			names);
		selection->returned &= known;
	}
	return 0;
}

/* The scan. */

/**
 * add_tally - add numbers of pages
 * @sum: what to add to
 * @tally: the numbers
 */
void add_tally(struct tally *sum, const struct tally *tally)
{
	size_t i;

	for (i = 0; i < TALLY_SIZE; i++)
		sum->pages[i] += tally->pages[i];
}

static int keep_region(struct shown_mapping *shown,
		       const struct page_region *region,
		       struct failure *failure)
{
	if (shown->region_count == shown->region_room) {
		size_t room = shown->region_room ? 2 * shown->region_room : 8;
		struct page_region *larger = reallocarray(shown->regions, room,
							  sizeof(*larger));

		if (!larger)
			return fail_memory(failure);
		shown->regions = larger;
		shown->region_room = room;
	}
	shown->regions[shown->region_count++] = *region;
	return 0;
}

/**
 * struct show_scan - the scan of a mapping
 * @shown: receives what is found
 * @page_size: bytes in a page
 * @regions: whether to keep the regions
 */
struct show_scan {
	struct shown_mapping *shown;
	__u64 page_size;
	bool regions;
};

static int take_region(void *context, const struct page_region *region,
		       struct failure *failure)
{
	const struct show_scan *scan = context;
	__u64 pages = (region->end - region->start) / scan->page_size;
	__u64 *tally = scan->shown->tally.pages;
	size_t i;

	tally[TALLY_MATCHING] += pages;
	for (i = 0; i < CATEGORY_COUNT; i++)
		if (region->categories & categories[i].bit)
			tally[TALLY_CATEGORY + i] += pages;
	return scan->regions ? keep_region(scan->shown, region, failure) : 0;
}

static int scan_mapping(const struct process *process,
			const struct show_request *request,
			struct shown_mapping *shown, struct failure *failure)
{
	struct show_scan scan = {
		.shown = shown,
		.page_size = process->page_size,
		.regions = request->regions,
	};
	enum scan_result scanned;

	shown->tally.pages[TALLY_PAGES] = mapping_size(shown->mapping) /
					  process->page_size;
	scanned = scan_range(process, &request->selection,
			     &shown->mapping->range, take_region, &scan,
			     failure);
	shown->scanned = scanned == SCAN_DONE;
	return scanned == SCAN_FAILED ? -1 : 0;
}

static int scan_process(struct show_result *result,
			const struct show_request *request,
			struct failure *failure)
{
	size_t i;

	result->mappings = calloc(result->list.count,
				  sizeof(*result->mappings));
	if (!result->mappings && result->list.count)
		return fail_memory(failure);
	for (i = 0; i < result->list.count; i++) {
		struct shown_mapping *shown = &result->mappings[i];

		shown->mapping = &result->list.mappings[i];
		if (scan_mapping(&result->process, request, shown, failure))
			return -1;
		add_tally(&result->total, &shown->tally);
	}
	return 0;
}

/* Descending, and by address where the numbers are equal. */
static int compare_mappings(const void *left, const void *right, void *context)
{
	const struct shown_mapping *a = left, *b = right;
	const int *sort = context;
	__u64 size_a = a->tally.pages[*sort];
	__u64 size_b = b->tally.pages[*sort];

	if (size_a != size_b)
		return size_a < size_b ? 1 : -1;
	return a->mapping < b->mapping ? -1 : 1;
}

static int print_result(struct show_result *result,
			struct show_request *request, struct failure *failure)
{
	if (request->sort != SORT_ADDRESS)
		qsort_r(result->mappings, result->list.count,
			sizeof(*result->mappings), compare_mappings,
			&request->sort);
	if (request->format == FORMAT_JSON)
		return print_json(result, request, failure);
	if (request->format == FORMAT_CSV && request->regions)
		print_csv_regions(result);
	else if (request->format == FORMAT_CSV)
		print_csv(result, request);
	else if (request->regions)
		print_regions(result, request);
	else
		print_table(result, request);
	return 0;
}

static int show(struct show_result *result, struct show_request *request,
		struct failure *failure)
{
	if (open_process(&result->process, request->pid, failure) ||
	    list_mappings(&result->process, &request->range, &result->list,
			  failure) ||
	    limit_categories(request, &result->process, failure) ||
	    scan_process(result, request, failure))
		return -1;
	return print_result(result, request, failure);
}

static void free_result(struct show_result *result)
{
	size_t i;

	for (i = 0; result->mappings && i < result->list.count; i++)
		free(result->mappings[i].regions);
	free(result->mappings);
	free_mappings(&result->list);
	close_process(&result->process);
}

static int run(int argc, char **argv, struct failure *failure)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "PID",
		.doc = "Show in which categories the pages of process PID are, a row per mapping.",
		.help_filter = help_with_categories,
	};
	struct show_request request = {
		.range = { 0, ULLONG_MAX },
		.sort = SORT_ADDRESS,
		.failure = failure,
	};
	struct show_result result = {};
	bool help;
	int error;

	error = parse_arguments("show", &argp, argc, argv, &request, &help,
				failure);
	if (error || help)
		return error;
	error = show(&result, &request, failure);
	free_result(&result);
	return error;
}

SUBCOMMAND(show, "the pages of each mapping, by category (the default)", run);
