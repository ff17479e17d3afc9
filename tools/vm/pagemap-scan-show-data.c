// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan show: JSON and CSV, for programs */
#include <stdio.h>

#include "pagemap-scan-json.h"
#include "pagemap-scan-show.h"

static void put_tally(struct json_stream *stream, const struct tally *tally,
		      __u64 mask)
{
	const __u64 *pages = tally->pages;
	size_t i;

	json_put(stream, "pages", json_object_new_uint64(pages[TALLY_PAGES]));
	json_put(stream, "matching",
		 json_object_new_uint64(pages[TALLY_MATCHING]));
	for (i = 0; i < CATEGORY_COUNT; i++)
		if (mask & categories[i].bit)
			json_put(stream, categories[i].name,
				 json_object_new_uint64(pages[TALLY_CATEGORY + i]));
}

static void put_region(struct json_stream *stream,
		       const struct page_region *region, __u64 page_size)
{
	struct json_object *object = json_object_new_object();
	__u64 pages = (region->end - region->start) / page_size;

	json_add(stream, object, "start", json_address(region->start));
	json_add(stream, object, "end", json_address(region->end));
	json_add(stream, object, "pages", json_object_new_uint64(pages));
	json_add(stream, object, "categories",
		 json_categories(region->categories));
	json_put(stream, NULL, object);
}

static void put_mapping(struct json_stream *stream,
			const struct shown_mapping *shown,
			const struct show_result *result,
			const struct show_request *request)
{
	const struct mapping *mapping = shown->mapping;
	bool replaced;
	size_t i;

	json_open_object(stream, NULL);
	json_put(stream, "start", json_address(mapping->range.start));
	json_put(stream, "end", json_address(mapping->range.end));
	json_put(stream, "permissions",
		 json_object_new_string(mapping->permissions));
	json_put(stream, "name", json_text(mapping->name, &replaced));
	if (replaced)
		json_put(stream, "name_hex", json_hex(mapping->name));
	json_put(stream, "scanned", json_object_new_boolean(shown->scanned));
	put_tally(stream, &shown->tally, request->selection.returned);
	if (request->regions) {
		json_open_array(stream, "regions");
		for (i = 0; i < shown->region_count; i++)
			put_region(stream, &shown->regions[i],
				   result->process.page_size);
		json_close(stream);
	}
	json_close(stream);
}

/**
 * print_json - print the result as one JSON object
 * @result: what was found
 * @request: what was asked for
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int print_json(const struct show_result *result,
	       const struct show_request *request, struct failure *failure)
{
	const struct selection *selection = &request->selection;
	struct json_stream stream = {};
	size_t i;

	json_open_object(&stream, NULL);
	json_put(&stream, "pid", json_object_new_int(request->pid));
	json_put(&stream, "page_size",
		 json_object_new_uint64(result->process.page_size));
	json_put(&stream, "required", json_categories(selection->required));
	json_put(&stream, "anyof", json_categories(selection->anyof));
	json_put(&stream, "excluded", json_categories(selection->excluded));
	json_put(&stream, "return", json_categories(selection->returned));
	json_open_array(&stream, "mappings");
	for (i = 0; i < result->list.count; i++)
		put_mapping(&stream, &result->mappings[i], result, request);
	json_close(&stream);
	json_open_object(&stream, "total");
	put_tally(&stream, &result->total, selection->returned);
	json_close(&stream);
	return json_finish(&stream, failure);
}

static void print_csv_range(__u64 start, __u64 end)
{
	printf("0x%llx,0x%llx,%llu", start, end, end - start);
}

/**
 * print_csv - print the result as a table of comma-separated values
 * @result: what was found
 * @request: what was asked for
 *
 * The numbers of a mapping where there was nothing to scan are empty.
 */
void print_csv(const struct show_result *result,
	       const struct show_request *request)
{
	__u64 mask = request->selection.returned;
	size_t i, j;

	printf("start,end,bytes,permissions,pages,matching");
	for (i = 0; i < CATEGORY_COUNT; i++)
		if (mask & categories[i].bit)
			printf(",%s", categories[i].name);
	printf(",name\n");

	for (i = 0; i < result->list.count; i++) {
		const struct shown_mapping *shown = &result->mappings[i];
		const struct mapping *mapping = shown->mapping;

		print_csv_range(mapping->range.start, mapping->range.end);
		printf(",%s,%llu", mapping->permissions,
		       shown->tally.pages[TALLY_PAGES]);
		for (j = TALLY_MATCHING; j < TALLY_SIZE; j++) {
			if (j >= TALLY_CATEGORY &&
			    !(mask & categories[j - TALLY_CATEGORY].bit))
				continue;
			putchar(',');
			if (shown->scanned)
				printf("%llu", shown->tally.pages[j]);
		}
		putchar(',');
		print_csv_field(mapping->name);
		putchar('\n');
	}
}

/**
 * print_csv_regions - print the regions as comma-separated values
 * @result: what was found
 */
void print_csv_regions(const struct show_result *result)
{
	size_t i, j;

	printf("start,end,bytes,pages,categories,name\n");
	for (i = 0; i < result->list.count; i++) {
		const struct shown_mapping *shown = &result->mappings[i];

		for (j = 0; j < shown->region_count; j++) {
			const struct page_region *region = &shown->regions[j];
			__u64 size = region->end - region->start;
			char list[CATEGORIES_SIZE];

			print_csv_range(region->start, region->end);
			printf(",%llu,", size / result->process.page_size);
			format_categories(list, region->categories);
			print_csv_field(list);
			putchar(',');
			print_csv_field(shown->mapping->name);
			putchar('\n');
		}
	}
}
