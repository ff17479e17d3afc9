// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan show: tables for a reader
 *
 * A table is laid out for the width of the terminal, or for 80 columns.  Titles
 * and gaps are wide where that leaves room for names, and narrow otherwise.
 * Names are cut only where a terminal would break the line.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pagemap-scan-show.h"

/* Columns that a name should have, and those that it gets at any rate. */
#define NAME_WISHED		16
#define NAME_LEAST		8

#define ADDRESS_SIZE		sizeof("0123456789abcdef")
#define TITLE_SIZE		sizeof("soft-dirty")

/**
 * struct line - a line that is being printed
 * @colours: whether to use colours
 * @column: where it has come to
 */
struct line {
	bool colours;
	size_t column;
};

/* Write text at a place, or a blank behind what is there already. */
static void put_left(struct line *line, size_t at, enum style style,
		     const char *text)
{
	size_t blanks = at > line->column ? at - line->column :
					    line->column > 0;

	printf("%*s", (int)blanks, "");
	print_styled(line->colours, style, text);
	line->column += blanks + strlen(text);
}

/* Write text so that it ends at a place. */
static void put_right(struct line *line, size_t end, enum style style,
		      const char *text)
{
	size_t length = strlen(text);

	put_left(line, end > length ? end - length : 0, style, text);
}

static void end_line(struct line *line)
{
	putchar('\n');
	line->column = 0;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static size_t format_address(char text[ADDRESS_SIZE], __u64 address)
{
	return snprintf(text, ADDRESS_SIZE, "%08llx", address);
}

/*
 * Width of the column of addresses.  Those of the kernel are longer than those
 * of the process; they do not count, as the other rows would get wide in vain.
 */
static size_t address_width(const struct show_result *result)
{
	size_t width = strlen("ADDRESS");
	size_t i;

	for (i = 0; i < result->list.count; i++) {
		const struct shown_mapping *shown = &result->mappings[i];
		char text[ADDRESS_SIZE];

		if (shown->scanned)
			width = larger(width, format_address(text, shown->mapping->range.start));
	}
	return width;
}

static const char *size_title(enum unit unit)
{
	static const char * const titles[] = {
		[UNIT_HUMAN] = "SIZE",
		[UNIT_BYTES] = "BYTES",
		[UNIT_PAGES] = "PAGES",
	};

	return titles[unit];
}

/* The place of names must leave them some room where lines must not be long. */
static size_t name_width(size_t at)
{
	size_t width = terminal_width(STDOUT_FILENO);

	if (!width)
		return SIZE_MAX;
	return at + NAME_LEAST > width ? NAME_LEAST : width - at;
}

/**
 * struct row - a row of the table of mappings
 * @shown: the first of its mappings
 * @count: how many mappings it has
 * @tally: their pages
 */
struct row {
	const struct shown_mapping *shown;
	size_t count;
	struct tally tally;
};

/**
 * next_row - find a row of the table of mappings
 * @result: what was found
 * @request: tells what to fold
 * @first: index of the first mapping in it
 * @row: receives it
 *
 * Return: index of the first mapping in the next row.
 */
static size_t next_row(const struct show_result *result,
		       const struct show_request *request, size_t first,
		       struct row *row)
{
	size_t i = first;

	*row = (struct row){ .shown = &result->mappings[first] };
	do
		add_tally(&row->tally, &result->mappings[i].tally);
	while (mapping_size(result->mappings[i++].mapping) < request->fold &&
	       i < result->list.count &&
	       mapping_size(result->mappings[i].mapping) < request->fold);
	row->count = i - first;
	return i;
}

/**
 * struct column - a column of numbers
 * @title: its title
 * @index: which of the numbers of struct tally it has
 * @end: where it ends in the line
 */
struct column {
	char title[TITLE_SIZE];
	enum tally_index index;
	size_t end;
};

/**
 * struct layout - the columns of the table of mappings
 * @unit: how numbers are written
 * @page_size: bytes in a page
 * @permissions: where the permissions start
 * @columns: the columns of numbers; the first is the size, and stands before
 *	the permissions
 * @column_count: how many there are
 * @name: where the name starts
 * @name_width: columns that there are for it
 */
struct layout {
	enum unit unit;
	__u64 page_size;
	size_t permissions;
	struct column columns[TALLY_SIZE];
	size_t column_count;
	size_t name;
	size_t name_width;
};

static size_t format_pages(char text[SIZE_SIZE], const struct layout *layout,
			   __u64 pages)
{
	return format_size(text, pages * layout->page_size, layout->unit,
			   layout->page_size);
}

static void add_column(struct layout *layout, const char *title,
		       enum tally_index index)
{
	struct column *column = &layout->columns[layout->column_count++];
	size_t i;

	for (i = 0; title[i] && i < sizeof(column->title) - 1; i++)
		column->title[i] = toupper((unsigned char)title[i]);
	column->title[i] = '\0';
	column->index = index;
}

/*
 * A category that no page is in has no column unless it was asked for.  The
 * number of matching pages is told where something was selected; otherwise
 * every page matches.
 */
static void choose_columns(struct layout *layout,
			   const struct show_result *result,
			   const struct show_request *request, bool wide)
{
	size_t i;

	layout->column_count = 0;
	add_column(layout, size_title(request->unit), TALLY_PAGES);
	if (selects(&request->selection))
		add_column(layout, wide ? "matching" : "match", TALLY_MATCHING);
	for (i = 0; i < CATEGORY_COUNT; i++) {
		const struct category *category = &categories[i];

		if (request->selection.returned & category->bit &&
		    (request->chosen & category->bit ||
		     result->total.pages[TALLY_CATEGORY + i]))
			add_column(layout,
				   wide ? category->name : category->title,
				   TALLY_CATEGORY + i);
	}
}

static size_t column_width(const struct layout *layout,
			   const struct show_result *result,
			   const struct show_request *request,
			   const struct column *column)
{
	char text[SIZE_SIZE];
	size_t width = larger(strlen(column->title),
			      format_pages(text, layout,
					   result->total.pages[column->index]));
	struct row row;
	size_t i;

	for (i = 0; i < result->list.count;) {
		i = next_row(result, request, i, &row);
		width = larger(width, format_pages(text, layout,
						   row.tally.pages[column->index]));
	}
	return width;
}

static void place_columns(struct layout *layout,
			  const struct show_result *result,
			  const struct show_request *request, size_t gap)
{
	size_t at = address_width(result);
	size_t i;

	for (i = 0; i < layout->column_count; i++) {
		struct column *column = &layout->columns[i];

		column->end = at + gap +
			      column_width(layout, result, request, column);
		at = column->end;
		if (column->index == TALLY_PAGES) {
			layout->permissions = at + gap;
			at += gap + strlen("rwxp");
		}
	}
	layout->name = at + gap;
	layout->name_width = name_width(layout->name);
}

static void lay_out(struct layout *layout, const struct show_result *result,
		    const struct show_request *request)
{
	size_t width = terminal_width(STDOUT_FILENO);

	layout->unit = request->unit;
	layout->page_size = result->process.page_size;
	choose_columns(layout, result, request, true);
	place_columns(layout, result, request, 2);
	if (layout->name + NAME_WISHED > (width ? width : USUAL_WIDTH)) {
		choose_columns(layout, result, request, false);
		place_columns(layout, result, request, 1);
	}
}

static void put_number(struct line *line, const struct layout *layout,
		       const struct column *column, const struct tally *tally,
		       enum style style)
{
	__u64 pages = tally->pages[column->index];
	char text[SIZE_SIZE];

	format_pages(text, layout, pages);
	put_right(line, column->end, pages ? style : STYLE_FAINT, text);
}

static void put_titles(struct line *line, const struct layout *layout)
{
	size_t i;

	put_left(line, 0, STYLE_STRONG, "ADDRESS");
	for (i = 0; i < layout->column_count; i++) {
		const struct column *column = &layout->columns[i];

		put_right(line, column->end, STYLE_STRONG, column->title);
		if (column->index == TALLY_PAGES)
			put_left(line, layout->permissions, STYLE_STRONG,
				 "PERM");
	}
	put_left(line, layout->name, STYLE_STRONG, "NAME");
	end_line(line);
}

static void put_mapping(struct line *line, const struct layout *layout,
			const struct shown_mapping *shown)
{
	const struct mapping *mapping = shown->mapping;
	char address[ADDRESS_SIZE];
	size_t i;

	format_address(address, mapping->range.start);
	put_left(line, 0, STYLE_PLAIN, address);
	for (i = 0; i < layout->column_count; i++) {
		const struct column *column = &layout->columns[i];

		/* The size is known without a scan, all else is not. */
		if (column->index == TALLY_PAGES || shown->scanned)
			put_number(line, layout, column, &shown->tally,
				   STYLE_PLAIN);
		else
			put_right(line, column->end, STYLE_FAINT, "-");
		if (column->index == TALLY_PAGES)
			put_left(line, layout->permissions, STYLE_PLAIN,
				 mapping->permissions);
	}
	if (*mapping->name) {
		put_left(line, layout->name, STYLE_PLAIN, "");
		print_name(mapping->name, layout->name_width);
	}
	end_line(line);
}

/* Write a row of several mappings, which has neither address nor permissions. */
static void put_sum(struct line *line, const struct layout *layout,
		    const struct tally *tally, enum style style,
		    const char *first, const char *name)
{
	size_t i;

	put_left(line, 0, style, first);
	for (i = 0; i < layout->column_count; i++)
		put_number(line, layout, &layout->columns[i], tally, style);
	put_left(line, layout->name, style, name);
	end_line(line);
}

/**
 * print_table - print a row for each mapping
 * @result: what was found
 * @request: what was asked for
 */
void print_table(const struct show_result *result,
		 const struct show_request *request)
{
	struct line line = { .colours = use_colours(request->colour) };
	struct layout layout;
	struct row row;
	char count[64];
	size_t i;

	lay_out(&layout, result, request);
	put_titles(&line, &layout);
	for (i = 0; i < result->list.count;) {
		i = next_row(result, request, i, &row);
		if (row.count == 1) {
			put_mapping(&line, &layout, row.shown);
		} else {
			snprintf(count, sizeof(count), "(%zu small mappings)",
				 row.count);
			put_sum(&line, &layout, &row.tally, STYLE_PLAIN, "",
				count);
		}
	}
	snprintf(count, sizeof(count), "%zu mapping%s", result->list.count,
		 result->list.count == 1 ? "" : "s");
	put_sum(&line, &layout, &result->total, STYLE_STRONG, "total", count);
}

/**
 * struct region_layout - the columns of the table of regions
 * @size_end: where the size ends
 * @categories: where the categories start
 * @name: where the name starts
 * @name_width: columns that there are for it
 * @region_count: number of regions
 */
struct region_layout {
	size_t size_end;
	size_t categories;
	size_t name;
	size_t name_width;
	size_t region_count;
};

static size_t format_region_size(char text[SIZE_SIZE],
				 const struct page_region *region,
				 const struct show_result *result,
				 const struct show_request *request)
{
	return format_size(text, region->end - region->start, request->unit,
			   result->process.page_size);
}

static void lay_out_regions(struct region_layout *layout,
			    const struct show_result *result,
			    const struct show_request *request)
{
	__u64 matching = result->total.pages[TALLY_MATCHING];
	__u64 page_size = result->process.page_size;
	size_t list_width = strlen("CATEGORIES");
	char text[SIZE_SIZE];
	size_t size_width;
	size_t i, j;

	size_width = larger(strlen(size_title(request->unit)),
			    format_size(text, matching * page_size,
					request->unit, page_size));
	layout->region_count = 0;
	for (i = 0; i < result->list.count; i++) {
		const struct shown_mapping *shown = &result->mappings[i];

		for (j = 0; j < shown->region_count; j++) {
			const struct page_region *region = &shown->regions[j];
			char list[CATEGORIES_SIZE];

			size_width = larger(size_width,
					    format_region_size(text, region,
							       result, request));
			format_categories(list, region->categories);
			list_width = larger(list_width, strlen(list));
		}
		layout->region_count += shown->region_count;
	}
	layout->size_end = address_width(result) + 2 + size_width;
	layout->categories = layout->size_end + 2;
	layout->name = layout->categories + list_width + 2;
	layout->name_width = name_width(layout->name);
}

static void put_region(struct line *line, const struct region_layout *layout,
		       const struct page_region *region, const char *size,
		       const char *name)
{
	char address[ADDRESS_SIZE];
	char list[CATEGORIES_SIZE];

	format_address(address, region->start);
	format_categories(list, region->categories);
	put_left(line, 0, STYLE_PLAIN, address);
	put_right(line, layout->size_end, STYLE_PLAIN, size);
	if (*list)
		put_left(line, layout->categories, STYLE_PLAIN, list);
	else
		put_left(line, layout->categories, STYLE_FAINT, "-");
	if (*name) {
		put_left(line, layout->name, STYLE_PLAIN, "");
		print_name(name, layout->name_width);
	}
	end_line(line);
}

/**
 * print_regions - print a row for each region
 * @result: what was found
 * @request: what was asked for
 */
void print_regions(const struct show_result *result,
		   const struct show_request *request)
{
	struct line line = { .colours = use_colours(request->colour) };
	__u64 page_size = result->process.page_size;
	struct region_layout layout;
	char size[SIZE_SIZE];
	char count[64];
	size_t i, j;

	lay_out_regions(&layout, result, request);
	put_left(&line, 0, STYLE_STRONG, "ADDRESS");
	put_right(&line, layout.size_end, STYLE_STRONG,
		  size_title(request->unit));
	put_left(&line, layout.categories, STYLE_STRONG, "CATEGORIES");
	put_left(&line, layout.name, STYLE_STRONG, "NAME");
	end_line(&line);

	for (i = 0; i < result->list.count; i++) {
		const struct shown_mapping *shown = &result->mappings[i];

		for (j = 0; j < shown->region_count; j++) {
			format_region_size(size, &shown->regions[j], result,
					   request);
			put_region(&line, &layout, &shown->regions[j], size,
				   shown->mapping->name);
		}
	}

	format_size(size, result->total.pages[TALLY_MATCHING] * page_size,
		    request->unit, page_size);
	snprintf(count, sizeof(count), "%zu region%s", layout.region_count,
		 layout.region_count == 1 ? "" : "s");
	put_left(&line, 0, STYLE_STRONG, "total");
	put_right(&line, layout.size_end, STYLE_STRONG, size);
	put_left(&line, layout.categories, STYLE_STRONG, count);
	end_line(&line);
}
