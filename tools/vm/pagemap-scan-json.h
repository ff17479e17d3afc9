/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: JSON */
#ifndef PAGEMAP_SCAN_JSON_H
#define PAGEMAP_SCAN_JSON_H

#include <stdbool.h>
#include <json-c/json.h>
#include <linux/types.h>

#include "pagemap-scan.h"

/* Objects and arrays that may be open within one another. */
#define JSON_DEPTH		8

/**
 * struct json_stream - JSON that is printed member by member
 * @depth: how many objects and arrays are open
 * @open: what these are
 * @open.bracket: the bracket that ends it
 * @open.filled: whether it has a member
 * @failed: whether there was not enough memory for a value
 *
 * The library makes and writes the values.  Objects and arrays that may become
 * large are opened and closed in the stream instead, so that only one of their
 * members is in memory.  A stream starts as all zeros.
 */
struct json_stream {
	unsigned int depth;
	struct {
		char bracket;
		bool filled;
	} open[JSON_DEPTH];
	bool failed;
};

void json_open_object(struct json_stream *stream, const char *key);
void json_open_array(struct json_stream *stream, const char *key);
void json_close(struct json_stream *stream);
void json_put(struct json_stream *stream, const char *key,
	      struct json_object *value);
int json_finish(struct json_stream *stream, struct failure *failure);

void json_add(struct json_stream *stream, struct json_object *object,
	      const char *key, struct json_object *value);
struct json_object *json_address(__u64 address);
struct json_object *json_categories(__u64 mask);
struct json_object *json_text(const char *text, bool *replaced);
struct json_object *json_hex(const char *text);

#endif /* PAGEMAP_SCAN_JSON_H */
