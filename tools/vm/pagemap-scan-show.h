/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan show: what its parts share */
#ifndef PAGEMAP_SCAN_SHOW_H
#define PAGEMAP_SCAN_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/pagemap_scan.h>

#include "pagemap-scan-categories.h"
#include "pagemap-scan-output.h"
#include "pagemap-scan-process.h"
#include "pagemap-scan-scan.h"
#include "pagemap-scan.h"

/**
 * enum tally_index - what struct tally has numbers of
 * @TALLY_PAGES: all pages
 * @TALLY_MATCHING: those that the request selects
 * @TALLY_CATEGORY: of these, those in the first of categories[]; and so on
 * @TALLY_SIZE: how many numbers there are
 */
enum tally_index {
	TALLY_PAGES,
	TALLY_MATCHING,
	TALLY_CATEGORY,
	TALLY_SIZE = TALLY_CATEGORY + CATEGORY_COUNT,
};

/**
 * struct tally - numbers of pages
 * @pages: the numbers, at the places of enum tally_index
 */
struct tally {
	__u64 pages[TALLY_SIZE];
};

/**
 * enum format - what the result looks like
 * @FORMAT_TABLE: a table for a reader
 * @FORMAT_JSON: one JSON object
 * @FORMAT_CSV: comma-separated values
 */
enum format {
	FORMAT_TABLE,
	FORMAT_JSON,
	FORMAT_CSV,
};

/* The order of mappings that is not by a number of struct tally. */
#define SORT_ADDRESS		(-1)

/**
 * struct show_request - what the command line asks for
 * @pid: the process; 0 until it was read
 * @range: addresses of interest
 * @selection: which pages count, and which categories to show
 * @chosen: categories that the user wants to see although they may be empty
 * @regions: show regions instead of counts; in JSON, beside them
 * @format: what to print
 * @unit: how sizes are written in a table
 * @sort: SORT_ADDRESS, or that of enum tally_index by which the mappings are
 *	in descending order
 * @fold: neighbouring rows of mappings smaller than that are one row; 0: none
 * @colour: when to use colours
 * @failure: receives the error of an option
 */
struct show_request {
	pid_t pid;
	struct address_range range;
	struct selection selection;
	__u64 chosen;
	bool regions;
	enum format format;
	enum unit unit;
	int sort;
	__u64 fold;
	enum colour_choice colour;
	struct failure *failure;
};

/**
 * struct shown_mapping - what was found in a mapping
 * @mapping: the mapping
 * @scanned: false where there was nothing to scan
 * @tally: its pages
 * @regions: the regions found, in address order; where the request wants them
 * @region_count: number of elements of @regions that are in use
 * @region_room: number of elements of @regions that are allocated
 */
struct shown_mapping {
	const struct mapping *mapping;
	bool scanned;
	struct tally tally;
	struct page_region *regions;
	size_t region_count;
	size_t region_room;
};

/**
 * struct show_result - what was found in a process
 * @process: the process
 * @list: its mappings
 * @mappings: what was found in each, in the order of the output
 * @total: sum over all @mappings
 */
struct show_result {
	struct process process;
	struct mapping_list list;
	struct shown_mapping *mappings;
	struct tally total;
};

static inline bool selects(const struct selection *selection)
{
	return selection->required || selection->anyof || selection->excluded;
}

static inline __u64 mapping_size(const struct mapping *mapping)
{
	return mapping->range.end - mapping->range.start;
}

void add_tally(struct tally *sum, const struct tally *tally);
void print_table(const struct show_result *result,
		 const struct show_request *request);
void print_regions(const struct show_result *result,
		   const struct show_request *request);
int print_json(const struct show_result *result,
	       const struct show_request *request, struct failure *failure);
void print_csv(const struct show_result *result,
	       const struct show_request *request);
void print_csv_regions(const struct show_result *result);

#endif /* PAGEMAP_SCAN_SHOW_H */
