// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan: JSON */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagemap-scan-categories.h"
#include "pagemap-scan-json.h"
#include "pagemap-scan-output.h"

/* U+FFFD in UTF-8, which stands for what is none. */
#define REPLACEMENT		"\xef\xbf\xbd"

static void start_line(const struct json_stream *stream)
{
	printf("\n%*s", 2 * (int)stream->depth, "");
}

/* Write all that stands before a member. */
static void start_member(struct json_stream *stream, const char *key)
{
	if (stream->depth) {
		bool *filled = &stream->open[stream->depth - 1].filled;

		if (*filled)
			putchar(',');
		*filled = true;
		start_line(stream);
	}
	if (key)
		printf("\"%s\": ", key);
}

static void open_bracket(struct json_stream *stream, const char *key,
			 char opening, char closing)
{
	start_member(stream, key);
	putchar(opening);
	stream->open[stream->depth].bracket = closing;
	stream->open[stream->depth].filled = false;
	stream->depth++;
}

/**
 * json_open_object - start an object
 * @stream: the stream
 * @key: its name in the object that is open, or NULL
 */
void json_open_object(struct json_stream *stream, const char *key)
{
	open_bracket(stream, key, '{', '}');
}

/**
 * json_open_array - start an array
 * @stream: the stream
 * @key: its name in the object that is open, or NULL
 */
void json_open_array(struct json_stream *stream, const char *key)
{
	open_bracket(stream, key, '[', ']');
}

/**
 * json_close - end the object or array that was opened last
 * @stream: the stream
 */
void json_close(struct json_stream *stream)
{
	stream->depth--;
	if (stream->open[stream->depth].filled)
		start_line(stream);
	putchar(stream->open[stream->depth].bracket);
}

/**
 * json_put - write a member
 * @stream: the stream
 * @key: its name in the object that is open, or NULL
 * @value: its value, which is freed; NULL where there was no memory for it
 */
void json_put(struct json_stream *stream, const char *key,
	      struct json_object *value)
{
	const char *text = NULL;

	if (value)
		text = json_object_to_json_string_ext(value,
						      JSON_C_TO_STRING_SPACED |
						      JSON_C_TO_STRING_NOSLASHESCAPE);
	if (text) {
		start_member(stream, key);
		fputs(text, stdout);
	} else {
		stream->failed = true;
	}
	json_object_put(value);
}

/**
 * json_finish - end the outermost object
 * @stream: the stream
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted: some value could not be written.
 */
int json_finish(struct json_stream *stream, struct failure *failure)
{
	json_close(stream);
	putchar('\n');
	return stream->failed ? fail_memory(failure) : 0;
}

/**
 * json_add - give a member to an object
 * @stream: where the object will be put
 * @object: the object, or NULL where there was no memory for it
 * @key: name of the member
 * @value: its value; NULL where there was no memory for it
 */
void json_add(struct json_stream *stream, struct json_object *object,
	      const char *key, struct json_object *value)
{
	if (object && value && !json_object_object_add(object, key, value))
		return;
	json_object_put(value);
	stream->failed = true;
}

/**
 * json_address - make the value of an address
 * @address: the address
 *
 * Addresses are strings of hex digits, as many readers of JSON keep numbers
 * as floating point, which cannot hold all of the 64 bits.
 *
 * Return: the value, or NULL.
 */
struct json_object *json_address(__u64 address)
{
	char text[sizeof("0x0123456789abcdef")];

	snprintf(text, sizeof(text), "0x%llx", address);
	return json_object_new_string(text);
}

/**
 * json_categories - make the value of a set of categories
 * @mask: the categories
 *
 * Return: an array of their names, or NULL.
 */
struct json_object *json_categories(__u64 mask)
{
	struct json_object *array = json_object_new_array();
	size_t i;

	for (i = 0; array && i < CATEGORY_COUNT; i++) {
		struct json_object *name;

		if (!(mask & categories[i].bit))
			continue;
		name = json_object_new_string(categories[i].name);
		if (!name || json_object_array_add(array, name)) {
			json_object_put(name);
			json_object_put(array);
			array = NULL;
		}
	}
	return array;
}

/**
 * json_text - make the value of a text, which may hold any byte but zero
 * @text: the text
 * @replaced: receives whether it is not in the value as it is: a byte that is
 *	no UTF-8 becomes U+FFFD, the replacement character
 *
 * Return: the value, or NULL.
 */
struct json_object *json_text(const char *text, bool *replaced)
{
	struct json_object *value = NULL;
	size_t size;
	char *valid;
	FILE *file;

	*replaced = false;
	file = open_memstream(&valid, &size);
	if (!file)
		return NULL;
	while (*text) {
		size_t length = utf8_length(text);

		if (!length) {
			*replaced = true;
			fputs(REPLACEMENT, file);
			length = 1;
		} else {
			fwrite(text, length, 1, file);
		}
		text += length;
	}
	if (!fclose(file))
		value = json_object_new_string(valid);
	free(valid);
	return value;
}

/**
 * json_hex - make the value of the bytes of a text
 * @text: the text
 *
 * Return: a string with two hex digits for each byte, or NULL.
 */
struct json_object *json_hex(const char *text)
{
	struct json_object *value;
	size_t length = strlen(text);
	char *digits = malloc(2 * length + 1);
	size_t i;

	if (!digits)
		return NULL;
	for (i = 0; i < length; i++)
		snprintf(digits + 2 * i, 3, "%02x", (unsigned char)text[i]);
	digits[2 * length] = '\0';
	value = json_object_new_string(digits);
	free(digits);
	return value;
}
