// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan report: JSON and CSV */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pagemap-scan-json.h"
#include "pagemap-scan-output.h"
#include "pagemap-scan-report.h"

/* JSON.  The schema is in man/pagemap-scan.1. */

#define REPORT_VERSION		1

/**
 * struct json - an object in the making
 * @object: the object
 * @failed: there was not enough memory for a part of it
 */
struct json {
	json_object *object;
	bool failed;
};

static void begin_object(struct json *json)
{
	json->object = json_object_new_object();
	json->failed = !json->object;
}

/* Add a member; takes the value also where that fails. */
static void add_member(struct json *json, const char *key, json_object *value)
{
	if (!json->failed && value &&
	    !json_object_object_add(json->object, key, value))
		return;
	json_object_put(value);
	json->failed = true;
}

static void add_null(struct json *json, const char *key)
{
	if (!json->failed &&
	    json_object_object_add(json->object, key, NULL))
		json->failed = true;
}

static void add_number(struct json *json, const char *key, __u64 number)
{
	add_member(json, key, json_object_new_uint64(number));
}

static void add_fraction(struct json *json, const char *key, double number)
{
	char text[REPORT_SIZE_TEXT];

	/* As few digits as tell it: 0.5, not 0.50000000000000000. */
	snprintf(text, sizeof(text), "%.15g", number);
	add_member(json, key, json_object_new_double_s(number, text));
}

static void add_flag(struct json *json, const char *key, bool flag)
{
	add_member(json, key, json_object_new_boolean(flag));
}

static void add_text(struct json *json, const char *key, const char *text)
{
	add_member(json, key, json_object_new_string(text));
}

static void add_address(struct json *json, const char *key, __u64 address)
{
	add_member(json, key, json_address(address));
}

/**
 * add_bytes - add a string that may hold any bytes
 * @json: the object
 * @key: name of the member
 * @bytes: the string
 *
 * JSON is UTF-8.  What is not becomes U+FFFD, and there is a second member then,
 * KEY_hex, with all bytes.
 */
static void add_bytes(struct json *json, const char *key, const char *bytes)
{
	char hex_key[32];
	bool replaced;

	add_member(json, key, json_text(bytes, &replaced));
	if (!replaced)
		return;
	snprintf(hex_key, sizeof(hex_key), "%s_hex", key);
	add_member(json, hex_key, json_hex(bytes));
}

/* End an object: NULL where a part of it failed. */
static json_object *end_object(struct json *json)
{
	if (!json->failed)
		return json->object;
	json_object_put(json->object);
	return NULL;
}

/* Add an element to a list; gives the list back where that fails. */
static json_object *add_element(json_object *list, json_object *element)
{
	if (list && element && !json_object_array_add(list, element))
		return list;
	json_object_put(element);
	json_object_put(list);
	return NULL;
}

static void add_start(struct json *json, const struct recording_header *header)
{
	time_t seconds = header->start_seconds;
	char text[64];
	struct tm time;
	size_t length;

	if (!gmtime_r(&seconds, &time)) {
		add_null(json, "started");
		return;
	}
	length = strftime(text, sizeof(text), "%FT%T", &time);
	snprintf(text + length, sizeof(text) - length, ".%09uZ",
		 header->start_nanoseconds);
	add_text(json, "started", text);
}

static json_object *make_recording(const struct report_figures *figures)
{
	static const char * const reasons[RECORDING_REASONS] = {
		[RECORDING_TIME_UP] = "time-up",
		[RECORDING_EXITED] = "exited",
		[RECORDING_EXECED] = "execed",
		[RECORDING_INTERRUPTED] = "interrupted",
		[RECORDING_ERROR] = "error",
	};
	const struct recording_header *header = &figures->recording->header;
	const struct recording_end *end = &figures->recording->end;
	struct json json;

	begin_object(&json);
	add_number(&json, "pid", header->pid);
	add_bytes(&json, "command", header->command);
	add_start(&json, header);
	add_number(&json, "page_size", header->page_size);
	add_number(&json, "interval_ns", header->interval);
	if (header->duration)
		add_number(&json, "planned_ns", header->duration);
	else
		add_null(&json, "planned_ns");
	add_flag(&json, "counts_pages", header->counts_pages);
	add_flag(&json, "truncated", figures->truncated);
	if (figures->truncated)
		add_null(&json, "end");
	else
		add_text(&json, "end", reasons[end->reason]);
	if (*end->text)
		add_bytes(&json, "error", end->text);
	return end_object(&json);
}

static json_object *make_total(const struct report_figures *figures)
{
	__u64 page_size = figures->recording->header.page_size;
	const struct report_interval *total = &figures->total;
	struct json json;

	begin_object(&json);
	add_number(&json, "duration_ns", figures->duration);
	add_number(&json, "intervals", figures->interval_count);
	add_number(&json, "collecting_ns", total->collecting);
	add_number(&json, "written_pages", total->written);
	add_number(&json, "written_bytes", total->written * page_size);
	add_number(&json, "distinct_pages", figures->distinct);
	add_number(&json, "distinct_bytes", figures->distinct * page_size);
	add_number(&json, "unarmed_pages", total->unarmed);
	add_number(&json, "unknown_pages", total->unknown);
	return end_object(&json);
}

static json_object *make_interval(const struct report_interval *interval)
{
	struct json json;

	begin_object(&json);
	add_number(&json, "time_ns", interval->time);
	add_number(&json, "length_ns", interval->length);
	add_number(&json, "collecting_ns", interval->collecting);
	add_number(&json, "tracked_pages", interval->tracked);
	add_number(&json, "written_pages", interval->written);
	add_number(&json, "unarmed_pages", interval->unarmed);
	add_number(&json, "unknown_pages", interval->unknown);
	return end_object(&json);
}

static json_object *make_intervals(const struct report_figures *figures)
{
	json_object *list = json_object_new_array();
	size_t i;

	for (i = 0; list && i < figures->interval_count; i++)
		list = add_element(list, make_interval(&figures->intervals[i]));
	return list;
}

static json_object *make_window(const struct report_window *window)
{
	struct json json;

	begin_object(&json);
	if (window->length)
		add_number(&json, "window_ns", window->length);
	else
		add_null(&json, "window_ns");
	add_number(&json, "windows", window->count);
	if (window->count) {
		add_fraction(&json, "mean_pages", window->mean);
		add_fraction(&json, "median_pages", window->median);
		add_number(&json, "max_pages", window->max);
	} else {
		add_null(&json, "mean_pages");
		add_null(&json, "median_pages");
		add_null(&json, "max_pages");
	}
	return end_object(&json);
}

static json_object *make_windows(const struct report_figures *figures)
{
	json_object *list = json_object_new_array();
	size_t i;

	for (i = 0; list && i < REPORT_WINDOWS; i++)
		list = add_element(list, make_window(&figures->windows[i]));
	return list;
}

static json_object *make_range(const struct report_figures *figures,
			       const struct report_range *range)
{
	__u64 page_size = figures->recording->header.page_size;
	struct json json;

	begin_object(&json);
	add_address(&json, "start", range->start * page_size);
	add_address(&json, "end", range->end * page_size);
	add_number(&json, "pages", range->end - range->start);
	add_number(&json, "intervals", range->intervals);
	if (range->mapping == REPORT_NO_MAPPING)
		add_null(&json, "mapping");
	else
		add_number(&json, "mapping", range->mapping);
	return end_object(&json);
}

static json_object *make_ranges(const struct report_figures *figures,
				size_t top)
{
	json_object *list = json_object_new_array();
	size_t i;

	for (i = 0; list && i < figures->range_count && i < top; i++)
		list = add_element(list,
				   make_range(figures, figures->hottest[i]));
	return list;
}

/* Permissions as in /proc/PID/maps. */
static const char *format_permissions(char text[5], __u32 permissions)
{
	text[0] = permissions & RECORDING_READ ? 'r' : '-';
	text[1] = permissions & RECORDING_WRITE ? 'w' : '-';
	text[2] = permissions & RECORDING_EXECUTE ? 'x' : '-';
	text[3] = permissions & RECORDING_SHARED ? 's' : 'p';
	text[4] = '\0';
	return text;
}

static json_object *make_mapping(const struct report_figures *figures,
				 size_t id)
{
	const struct recording_mapping *mapping =
		&figures->recording->mappings[id];
	const struct report_mapping *counted = &figures->mappings[id];
	char permissions[5];
	struct json json;

	begin_object(&json);
	add_number(&json, "id", id);
	add_address(&json, "start", mapping->start);
	add_address(&json, "end", mapping->end);
	add_text(&json, "permissions",
		 format_permissions(permissions, mapping->permissions));
	add_bytes(&json, "name", mapping->name);
	add_number(&json, "first_ns", counted->first);
	add_number(&json, "last_ns", counted->last);
	add_number(&json, "written_pages", counted->written);
	add_number(&json, "distinct_pages", counted->distinct);
	add_number(&json, "intervals", counted->intervals);
	add_number(&json, "unknown_pages", counted->unknown);
	return end_object(&json);
}

static json_object *make_mappings(const struct report_figures *figures)
{
	json_object *list = json_object_new_array();
	size_t i;

	for (i = 0; list && i < figures->recording->mapping_count; i++)
		list = add_element(list, make_mapping(figures, i));
	return list;
}

/* What was written in no mapping of the table. */
static json_object *make_elsewhere(const struct report_figures *figures)
{
	const struct report_mapping *counted =
		&figures->mappings[figures->mapping_count];
	struct json json;

	begin_object(&json);
	add_number(&json, "written_pages", counted->written);
	add_number(&json, "distinct_pages", counted->distinct);
	add_number(&json, "intervals", counted->intervals);
	add_number(&json, "unknown_pages", counted->unknown);
	return end_object(&json);
}

/**
 * report_print_json - print the figures as one JSON object
 * @figures: the figures
 * @top: how many ranges to print at most
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int report_print_json(const struct report_figures *figures, size_t top,
		      struct failure *failure)
{
	const int format = JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
			   JSON_C_TO_STRING_NOSLASHESCAPE;
	const char *text = NULL;
	json_object *object;
	struct json json;

	begin_object(&json);
	add_number(&json, "version", REPORT_VERSION);
	add_member(&json, "recording", make_recording(figures));
	add_member(&json, "total", make_total(figures));
	add_member(&json, "intervals", make_intervals(figures));
	add_member(&json, "working_set", make_windows(figures));
	add_member(&json, "ranges", make_ranges(figures, top));
	add_member(&json, "mappings", make_mappings(figures));
	add_member(&json, "elsewhere", make_elsewhere(figures));
	object = end_object(&json);
	if (object)
		text = json_object_to_json_string_ext(object, format);
	if (text)
		puts(text);
	json_object_put(object);
	return text ? 0 : fail_memory(failure);
}

/* CSV, by RFC 4180 but for the newline, which is that of Unix. */

/* Print a field that may hold any bytes: what is not printable as \NNN. */
static int print_field(const char *bytes, struct failure *failure)
{
	char *text = make_printable(bytes, true);
	const char *at;

	if (!text)
		return fail_memory(failure);
	putchar('"');
	for (at = text; *at; at++) {
		if (*at == '"')
			putchar('"');
		putchar(*at);
	}
	putchar('"');
	free(text);
	return 0;
}

static void print_intervals(const struct report_figures *figures)
{
	size_t i;

	printf("time_ns,length_ns,collecting_ns,");
	printf("tracked_pages,written_pages,unarmed_pages,unknown_pages\n");
	for (i = 0; i < figures->interval_count; i++) {
		const struct report_interval *interval = &figures->intervals[i];

		printf("%llu,%llu,%llu,%llu,%llu,%llu,%llu\n", interval->time,
		       interval->length, interval->collecting,
		       interval->tracked, interval->written, interval->unarmed,
		       interval->unknown);
	}
}

static void print_windows(const struct report_figures *figures)
{
	size_t i;

	printf("window_ns,windows,mean_pages,median_pages,max_pages\n");
	for (i = 0; i < REPORT_WINDOWS; i++) {
		const struct report_window *window = &figures->windows[i];

		if (window->length)
			printf("%llu", window->length);
		if (window->count)
			printf(",%llu,%.15g,%.15g,%llu\n", window->count,
			       window->mean, window->median, window->max);
		else
			printf(",0,,,\n");
	}
}

static int print_ranges(const struct report_figures *figures,
			struct failure *failure)
{
	__u64 page_size = figures->recording->header.page_size;
	size_t i;

	printf("start,end,pages,intervals,mapping,name\n");
	for (i = 0; i < figures->range_count; i++) {
		const struct report_range *range = figures->hottest[i];

		printf("0x%llx,0x%llx,%llu,%u,", range->start * page_size,
		       range->end * page_size, range->end - range->start,
		       range->intervals);
		if (range->mapping == REPORT_NO_MAPPING) {
			printf(",\n");
			continue;
		}
		printf("%u,", range->mapping);
		if (print_field(figures->recording->mappings[range->mapping].name,
				failure))
			return -1;
		putchar('\n');
	}
	return 0;
}

static int print_mappings(const struct report_figures *figures,
			  struct failure *failure)
{
	size_t i;

	printf("id,start,end,permissions,first_ns,last_ns,");
	printf("written_pages,distinct_pages,intervals,unknown_pages,name\n");
	for (i = 0; i < figures->recording->mapping_count; i++) {
		const struct recording_mapping *mapping =
			&figures->recording->mappings[i];
		const struct report_mapping *counted = &figures->mappings[i];
		char permissions[5];

		printf("%zu,0x%llx,0x%llx,%s,%llu,%llu,%llu,%llu,%llu,%llu,", i,
		       mapping->start, mapping->end,
		       format_permissions(permissions, mapping->permissions),
		       counted->first, counted->last, counted->written,
		       counted->distinct, counted->intervals,
		       counted->unknown);
		if (print_field(mapping->name, failure))
			return -1;
		putchar('\n');
	}
	return 0;
}

/**
 * report_print_csv - print a table as CSV
 * @figures: the figures
 * @table: which table
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int report_print_csv(const struct report_figures *figures,
		     enum report_csv table, struct failure *failure)
{
	switch (table) {
	case REPORT_CSV_WINDOWS:
		print_windows(figures);
		return 0;
	case REPORT_CSV_RANGES:
		return print_ranges(figures, failure);
	case REPORT_CSV_MAPPINGS:
		return print_mappings(figures, failure);
	default:
		print_intervals(figures);
		return 0;
	}
}
