// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan: the file that 'record' writes and 'report' reads
 *
 * See man/pagemap-scan-recording.5 for the format.  A reader believes nothing
 * that a file says: a length is bounded before memory is allocated for it, and
 * what is kept grows with what was read, not with what the file promises.
 */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pagemap-scan-recording.h"

/* The first byte is no text, and the last two tell of a change of newlines. */
static const unsigned char magic[8] = {
	0x89, 'P', 'M', 'R', 'E', 'C', '\r', '\n'
};

#define PREAMBLE_SIZE		(sizeof(magic) + 4)
#define RECORD_HEADER_SIZE	8
#define RECORD_CRC_SIZE		4
/* More than that is split into several records. */
#define PAYLOAD_MAX		(1 << 20)
/* The longest form of a number. */
#define NUMBER_MAX		((size_t)10)

enum record_type {
	RECORD_HEADER = 1,
	RECORD_MAPPINGS,
	RECORD_REGIONS,
	RECORD_INTERVAL,
	RECORD_END,
};

enum mapping_change {
	MAPPING_GONE,
	MAPPING_NEW,
	MAPPING_CHANGED,
};

#define HEADER_COUNTS_PAGES	0x1
#define PERMISSIONS		(RECORDING_READ | RECORDING_WRITE | \
				 RECORDING_EXECUTE | RECORDING_SHARED)

/* A page size that a machine may have. */
static bool page_size_is_valid(__u64 size)
{
	return size >= 512 && size <= 1 << 30 && !(size & (size - 1));
}

/* The CRC-32 of Ethernet and zip, continued from that of what came before. */
static __u32 crc_of(__u32 crc, const unsigned char *bytes, size_t length)
{
	static const __u32 of_nibble[] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
		0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	size_t i;

	crc = ~crc;
	for (i = 0; i < length; i++) {
		crc ^= bytes[i];
		crc = crc >> 4 ^ of_nibble[crc & 0xf];
		crc = crc >> 4 ^ of_nibble[crc & 0xf];
	}
	return ~crc;
}

static void put_le(unsigned char *bytes, __u32 value, size_t length)
{
	size_t i;

	for (i = 0; i < length; i++)
		bytes[i] = value >> 8 * i;
}

static __u32 get_le(const unsigned char *bytes, size_t length)
{
	__u32 value = 0;
	size_t i;

	for (i = 0; i < length; i++)
		value |= (__u32)bytes[i] << 8 * i;
	return value;
}

/* Signed numbers as unsigned ones that are small where those are: 0 -1 1 -2. */
static __u64 zigzag(__s64 value)
{
	return (__u64)value << 1 ^ (value < 0 ? ULLONG_MAX : 0);
}

static __s64 unzigzag(__u64 value)
{
	return value >> 1 ^ (value & 1 ? ULLONG_MAX : 0);
}

/* Writing. */

#define NOT_WRITTEN		UINT_MAX
#define NO_ID			UINT_MAX

/**
 * struct known_name - a name that the file has, or shall have
 * @index: its number, or %NOT_WRITTEN
 * @text: the name
 */
struct known_name {
	__u32 index;
	char text[];
};

/**
 * struct written_mapping - a mapping as the file has it
 * @start: first page
 * @end: page behind the last
 * @permissions: RECORDING_* bits
 * @id: its id
 * @name: its name
 */
struct written_mapping {
	__u64 start;
	__u64 end;
	__u32 permissions;
	__u32 id;
	struct known_name *name;
};

/**
 * struct recording_writer - a recording that is written
 * @file: the file
 * @path: its name, for errors
 * @page_size: bytes in a page
 * @crc: CRC of all that was written
 * @error: errno of the first write that failed, or 0
 * @time: time of the last interval
 * @interval_count: intervals so far
 * @region_count: regions of the interval in progress, but @last
 * @last: its last region, in pages; not in @body yet as it may grow
 * @has_last: whether there is one
 * @coded_end: page behind the last region in @body
 * @coded_flags: flags of that
 * @coded_start: first page of the last mapping in @body
 * @table: the mappings, in address order
 * @table_count: number of elements of @table
 * @mapping_count: ids given so far
 * @names: the names that the file has, a tree of tsearch()
 * @name_count: how many these are
 * @length: bytes in @body
 * @body: payload of the record in progress
 */
struct recording_writer {
	FILE *file;
	char *path;
	__u64 page_size;
	__u32 crc;
	int error;
	__u64 time;
	__u64 interval_count;
	__u64 region_count;
	struct recording_region last;
	bool has_last;
	__u64 coded_end;
	__u32 coded_flags;
	__u64 coded_start;
	struct written_mapping *table;
	size_t table_count;
	__u32 mapping_count;
	void *names;
	__u32 name_count;
	size_t length;
	unsigned char body[PAYLOAD_MAX];
};

static int fail_write(const struct recording_writer *writer,
		      struct failure *failure)
{
	if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
		return fail(failure, STATUS_ERROR,
			    "cannot write %.256s: %s; 'pagemap-scan report --truncated' reports what it took, a longer interval (-i) takes less",
			    writer->path, strerror(errno));
	return fail(failure, STATUS_ERROR,
		    "cannot write %.256s: %s; record into another file (-o)",
		    writer->path, strerror(errno));
}

static int fail_writer_memory(struct failure *failure)
{
	return fail(failure, STATUS_ERROR,
		    "not enough memory to record; free some and try again");
}

/* What record hands over is wrong: not a mistake of the user. */
static int fail_caller(const char *what, struct failure *failure)
{
	return fail(failure, STATUS_ERROR,
		    "cannot record %s; please report this", what);
}

static size_t put_number(unsigned char *bytes, __u64 value)
{
	size_t length = 0;

	while (value >= 0x80) {
		bytes[length++] = value | 0x80;
		value >>= 7;
	}
	bytes[length++] = value;
	return length;
}

static void add_number(struct recording_writer *writer, __u64 value)
{
	writer->length += put_number(writer->body + writer->length, value);
}

static void add_bytes(struct recording_writer *writer, const char *bytes,
		      size_t length)
{
	add_number(writer, length);
	memcpy(writer->body + writer->length, bytes, length);
	writer->length += length;
}

/* Write bytes; an error is kept for flush_writer(). */
static void write_plain(struct recording_writer *writer,
			const unsigned char *bytes, size_t length)
{
	if (length && fwrite(bytes, 1, length, writer->file) < length &&
	    !writer->error)
		writer->error = errno;
}

/* Write bytes that the CRC covers. */
static void write_bytes(struct recording_writer *writer,
			const unsigned char *bytes, size_t length)
{
	writer->crc = crc_of(writer->crc, bytes, length);
	write_plain(writer, bytes, length);
}

/**
 * write_record - write a record
 * @writer: the recording; its body is the end of the payload, and empty then
 * @type: the record's type
 * @head: begin of the payload
 * @head_length: bytes of @head
 */
static void write_record(struct recording_writer *writer, enum record_type type,
			 const unsigned char *head, size_t head_length)
{
	unsigned char header[RECORD_HEADER_SIZE];
	unsigned char crc[RECORD_CRC_SIZE];

	put_le(header, head_length + writer->length, 4);
	header[4] = type;
	write_bytes(writer, header, 5);
	put_le(header + 5, writer->crc, 3);
	write_plain(writer, header + 5, 3);

	write_bytes(writer, head, head_length);
	write_bytes(writer, writer->body, writer->length);
	put_le(crc, writer->crc, sizeof(crc));
	write_plain(writer, crc, sizeof(crc));

	writer->length = 0;
	writer->coded_end = 0;
	writer->coded_flags = 0;
	writer->coded_start = 0;
}

static int flush_writer(struct recording_writer *writer,
			struct failure *failure)
{
	if (!writer->error && !fflush(writer->file))
		return 0;
	if (writer->error)
		errno = writer->error;
	return fail_write(writer, failure);
}

/**
 * recording_create - begin a recording
 * @path: name of its file; one that exists is overwritten
 * @header: what the recording begins with
 * @failure: receives the error
 *
 * Only the user may read the file: it tells where the process has what, which
 * the kernel does not tell everybody either.
 *
 * Return: the recording, to be given to recording_finish() or
 * recording_abandon(); or NULL with an error noted.
 */
struct recording_writer *
recording_create(const char *path, const struct recording_header *header,
		 struct failure *failure)
{
	unsigned char version[4];
	struct recording_writer *writer;
	int fd;

	if (!page_size_is_valid(header->page_size)) {
		fail_caller("with that page size", failure);
		return NULL;
	}
	writer = calloc(1, sizeof(*writer));
	if (writer)
		writer->path = strdup(path);
	if (!writer || !writer->path) {
		free(writer);
		fail_writer_memory(failure);
		return NULL;
	}
	writer->page_size = header->page_size;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0)
		writer->file = fdopen(fd, "w");
	if (!writer->file) {
		fail_write(writer, failure);
		if (fd >= 0)
			close(fd);
		goto failed;
	}

	write_bytes(writer, magic, sizeof(magic));
	put_le(version, RECORDING_VERSION, sizeof(version));
	write_bytes(writer, version, sizeof(version));

	add_number(writer, header->page_size);
	add_number(writer, header->pid);
	add_number(writer, zigzag(header->start_seconds));
	add_number(writer, header->start_nanoseconds);
	add_number(writer, header->interval);
	add_number(writer, header->duration);
	add_number(writer, header->counts_pages ? HEADER_COUNTS_PAGES : 0);
	add_bytes(writer, header->command,
		  strnlen(header->command, RECORDING_COMMAND_MAX));
	write_record(writer, RECORD_HEADER, NULL, 0);
	if (flush_writer(writer, failure))
		goto failed;
	return writer;

failed:
	recording_abandon(writer);
	return NULL;
}

/**
 * recording_abandon - give a recording back without an end
 * @writer: the recording, or NULL
 *
 * What was recorded can be read with 'report --truncated'.
 */
void recording_abandon(struct recording_writer *writer)
{
	if (!writer)
		return;
	if (writer->file)
		fclose(writer->file);
	tdestroy(writer->names, free);
	free(writer->table);
	free(writer->path);
	free(writer);
}

static int compare_names(const void *first, const void *second)
{
	const struct known_name *one = first, *other = second;

	return strcmp(one->text, other->text);
}

/**
 * know_name - find a name among the known ones, or add it
 * @writer: the recording
 * @text: the name; of a longer one than %RECORDING_NAME_MAX, the begin
 * @failure: receives the error
 *
 * Return: the name, or NULL with an error noted.
 */
static struct known_name *know_name(struct recording_writer *writer,
				    const char *text, struct failure *failure)
{
	size_t length = strnlen(text, RECORDING_NAME_MAX);
	struct known_name *name = malloc(sizeof(*name) + length + 1);
	struct known_name **found;

	if (!name) {
		fail_writer_memory(failure);
		return NULL;
	}
	name->index = NOT_WRITTEN;
	memcpy(name->text, text, length);
	name->text[length] = '\0';
	found = tsearch(name, &writer->names, compare_names);
	if (!found) {
		free(name);
		fail_writer_memory(failure);
		return NULL;
	}
	if (*found != name)
		free(name);
	return *found;
}

static bool mapping_is_written(const struct recording_writer *writer,
			       const struct recording_mapping *mapping,
			       const struct written_mapping *written)
{
	return mapping->start == written->start * writer->page_size &&
	       mapping->end == written->end * writer->page_size &&
	       mapping->permissions == written->permissions &&
	       !strncmp(mapping->name, written->name->text, RECORDING_NAME_MAX);
}

static bool table_is_written(const struct recording_writer *writer,
			     const struct recording_mapping *mappings,
			     size_t count)
{
	size_t i;

	if (count != writer->table_count)
		return false;
	for (i = 0; i < count; i++)
		if (!mapping_is_written(writer, &mappings[i],
					&writer->table[i]))
			return false;
	return true;
}

/* Whether the mappings are those of a maps file: aligned, and in order. */
static bool table_is_valid(const struct recording_writer *writer,
			   const struct recording_mapping *mappings,
			   size_t count)
{
	__u64 in_page = writer->page_size - 1;
	__u64 end = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		const struct recording_mapping *mapping = &mappings[i];

		if (mapping->start < end || mapping->end <= mapping->start ||
		    (mapping->start | mapping->end) & in_page ||
		    mapping->permissions & ~PERMISSIONS)
			return false;
		end = mapping->end;
	}
	return true;
}

/**
 * find_ids - tell mappings that are still there from new ones
 * @old: the table so far, in address order; those that are still there lose
 *	their id
 * @old_count: how many
 * @new: the table now, in address order; receives their ids, or %NO_ID
 * @new_count: how many
 *
 * It is the same mapping if it has the same name and starts where it did, or
 * ends where it did, as that of a stack does.
 */
static void find_ids(struct written_mapping *old, size_t old_count,
		     struct written_mapping *new, size_t new_count)
{
	size_t i = 0, j = 0;

	while (i < old_count && j < new_count) {
		if (old[i].start < new[j].start) {
			i++;
		} else if (old[i].start > new[j].start) {
			j++;
		} else {
			if (old[i].name == new[j].name) {
				new[j].id = old[i].id;
				old[i].id = NO_ID;
			}
			i++;
			j++;
		}
	}
	for (i = 0, j = 0; i < old_count && j < new_count;) {
		if (old[i].end < new[j].end) {
			i++;
		} else if (old[i].end > new[j].end) {
			j++;
		} else {
			if (old[i].id != NO_ID && new[j].id == NO_ID &&
			    old[i].name == new[j].name) {
				new[j].id = old[i].id;
				old[i].id = NO_ID;
			}
			i++;
			j++;
		}
	}
}

/* Make room in the body for a change of that many bytes. */
static void room_for_change(struct recording_writer *writer, size_t length)
{
	if (writer->length + length > PAYLOAD_MAX)
		write_record(writer, RECORD_MAPPINGS, NULL, 0);
}

static void add_mapping(struct recording_writer *writer,
			struct written_mapping *mapping)
{
	const char *name = mapping->name->text;

	room_for_change(writer, 7 * NUMBER_MAX + strlen(name));
	if (mapping->id == NO_ID) {
		mapping->id = writer->mapping_count++;
		add_number(writer, MAPPING_NEW);
	} else {
		add_number(writer, MAPPING_CHANGED);
		add_number(writer, mapping->id);
		name = NULL;
	}
	add_number(writer, zigzag(mapping->start - writer->coded_start));
	add_number(writer, mapping->end - mapping->start);
	add_number(writer, mapping->permissions);
	writer->coded_start = mapping->start;
	if (!name)
		return;
	if (mapping->name->index != NOT_WRITTEN) {
		add_number(writer, mapping->name->index);
		return;
	}
	mapping->name->index = writer->name_count++;
	add_number(writer, mapping->name->index);
	add_bytes(writer, name, strlen(name));
}

static bool mapping_changed(const struct written_mapping *old, size_t *at,
			    size_t count, const struct written_mapping *new)
{
	/* Both are in address order, so the old one cannot be before @at. */
	while (*at < count && old[*at].end <= new->start)
		(*at)++;
	return *at == count || old[*at].start != new->start ||
	       old[*at].end != new->end || old[*at].name != new->name ||
	       old[*at].permissions != new->permissions;
}

/**
 * recording_write_mappings - tell the mappings from now on
 * @writer: the recording
 * @mappings: all mappings of the process, in address order
 * @count: how many
 * @failure: receives the error
 *
 * To be called before the first region of an interval, where the mappings may
 * have changed: only what did is written, so it may be called each time.
 *
 * Return: 0, or -1 with an error noted.
 */
int recording_write_mappings(struct recording_writer *writer,
			     const struct recording_mapping *mappings,
			     size_t count, struct failure *failure)
{
	struct written_mapping *table;
	size_t i, at = 0;

	if (table_is_written(writer, mappings, count))
		return 0;
	if (writer->has_last || writer->region_count)
		return fail_caller("mappings amid an interval", failure);
	if (!table_is_valid(writer, mappings, count))
		return fail_caller("this table of mappings", failure);
	table = calloc(count ? count : 1, sizeof(*table));
	if (!table)
		return fail_writer_memory(failure);
	for (i = 0; i < count; i++) {
		table[i] = (struct written_mapping){
			.start = mappings[i].start / writer->page_size,
			.end = mappings[i].end / writer->page_size,
			.permissions = mappings[i].permissions,
			.id = NO_ID,
			.name = know_name(writer, mappings[i].name, failure),
		};
		if (!table[i].name) {
			free(table);
			return -1;
		}
	}

	find_ids(writer->table, writer->table_count, table, count);
	for (i = 0; i < writer->table_count; i++) {
		if (writer->table[i].id == NO_ID)
			continue;
		room_for_change(writer, 2 * NUMBER_MAX);
		add_number(writer, MAPPING_GONE);
		add_number(writer, writer->table[i].id);
	}
	for (i = 0; i < count; i++)
		if (mapping_changed(writer->table, &at, writer->table_count,
				    &table[i]))
			add_mapping(writer, &table[i]);
	if (writer->length)
		write_record(writer, RECORD_MAPPINGS, NULL, 0);
	free(writer->table);
	writer->table = table;
	writer->table_count = count;
	return 0;
}

/* Put the last region, which will not grow any more, into the body. */
static void add_last_region(struct recording_writer *writer)
{
	const struct recording_region *last = &writer->last;
	bool same_flags;

	if (!writer->has_last)
		return;
	if (writer->length + 3 * NUMBER_MAX > PAYLOAD_MAX)
		write_record(writer, RECORD_REGIONS, NULL, 0);
	same_flags = last->flags == writer->coded_flags;
	add_number(writer, (last->start - writer->coded_end) << 1 | !same_flags);
	if (!same_flags)
		add_number(writer, last->flags);
	add_number(writer, last->end - last->start - 1);
	writer->coded_end = last->end;
	writer->coded_flags = last->flags;
	writer->region_count++;
	writer->has_last = false;
}

/**
 * recording_add_region - tell about pages of the interval in progress
 * @writer: the recording
 * @start: address of the first page
 * @end: end of the last
 * @flags: PAGE_IS_* bits, as struct page_region has them, and RECORDING_* bits
 * @failure: receives the error
 *
 * Regions come in address order and do not overlap.  Those that adjoin and have
 * the same flags become one.
 *
 * Return: 0, or -1 with an error noted.
 */
int recording_add_region(struct recording_writer *writer, __u64 start,
			 __u64 end, __u32 flags, struct failure *failure)
{
	__u64 in_page = writer->page_size - 1;
	struct recording_region *last = &writer->last;
	__u64 first = start / writer->page_size;

	/* Of the last region, the end stays valid when it is in the body. */
	if (end <= start || (start | end) & in_page || first < last->end)
		return fail_caller("regions that are not in order", failure);
	if (writer->has_last && last->end == first && last->flags == flags) {
		last->end = end / writer->page_size;
		return 0;
	}
	add_last_region(writer);
	*last = (struct recording_region){
		.start = first,
		.end = end / writer->page_size,
		.flags = flags,
	};
	writer->has_last = true;
	return 0;
}

/**
 * recording_write_interval - end the interval in progress
 * @writer: the recording
 * @time: when its collection began, since the start of the recording
 * @collecting: how long the collection took
 * @tracked: how many pages were looked at
 * @failure: receives the error
 *
 * All is in the file then: whatever happens to the recorder, it can be read.
 *
 * Return: 0, or -1 with an error noted.
 */
int recording_write_interval(struct recording_writer *writer, __u64 time,
			     __u64 collecting, __u64 tracked,
			     struct failure *failure)
{
	unsigned char head[4 * NUMBER_MAX];
	size_t length = 0;

	if (time < writer->time)
		return fail_caller("a time that runs backwards", failure);
	add_last_region(writer);
	/* The record has this head before the regions. */
	if (writer->length + sizeof(head) > PAYLOAD_MAX)
		write_record(writer, RECORD_REGIONS, NULL, 0);
	length += put_number(head + length, time - writer->time);
	length += put_number(head + length, collecting);
	length += put_number(head + length, tracked);
	length += put_number(head + length, writer->region_count);
	write_record(writer, RECORD_INTERVAL, head, length);
	writer->time = time;
	writer->interval_count++;
	writer->region_count = 0;
	writer->last = (struct recording_region){};
	return flush_writer(writer, failure);
}

/**
 * recording_finish - end a recording
 * @writer: the recording, which is given back also after an error; regions
 *	of an interval in progress are dropped
 * @reason: why it ends
 * @time: when, since the start of the recording
 * @text: what went wrong, or NULL
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int recording_finish(struct recording_writer *writer,
		     enum recording_reason reason, __u64 time,
		     const char *text, struct failure *failure)
{
	int error;

	if (!text)
		text = "";
	if (time < writer->time)
		time = writer->time;
	writer->length = 0;
	add_number(writer, reason);
	add_number(writer, time - writer->time);
	add_number(writer, writer->interval_count);
	add_bytes(writer, text, strnlen(text, RECORDING_TEXT_MAX));
	write_record(writer, RECORD_END, NULL, 0);

	error = flush_writer(writer, failure);
	if (!error && fclose(writer->file))
		error = fail_write(writer, failure);
	else if (error)
		fclose(writer->file);
	writer->file = NULL;
	recording_abandon(writer);
	return error;
}

/* Reading. */

/**
 * struct recording_reader - what only the reader needs
 * @file: the file
 * @path: its name, for errors
 * @position: bytes read so far
 * @crc: CRC of these
 * @mapped: for each mapping, whether it is in the table
 * @mapping_room: number of elements that the mappings and @mapped have
 * @table_changed: whether the table is to be made again
 * @names: the names, by number
 * @name_count: how many
 * @name_room: number of elements of @names that are allocated
 * @regions: the regions of the interval in progress
 * @region_count: how many
 * @region_room: number of elements of @regions that are allocated
 * @type: type of the record
 * @length: bytes of its payload
 * @at: how many of these were decoded
 * @payload: the payload
 */
struct recording_reader {
	FILE *file;
	char *path;
	__u64 position;
	__u32 crc;
	bool *mapped;
	size_t mapping_room;
	bool table_changed;
	char **names;
	size_t name_count;
	size_t name_room;
	struct recording_region *regions;
	size_t region_count;
	size_t region_room;
	enum record_type type;
	size_t length;
	size_t at;
	unsigned char payload[PAYLOAD_MAX];
};

static int fail_reader_memory(const struct recording *recording,
			      struct failure *failure)
{
	return fail(failure, STATUS_ERROR,
		    "not enough memory for %.256s; free some and try again",
		    recording->reader->path);
}

static int fail_foreign(const char *path, struct failure *failure)
{
	return fail(failure, STATUS_ERROR,
		    "%.256s is no recording; 'pagemap-scan record' makes one",
		    path);
}

/* How much of the recording was read, for an error. */
static void describe_whole_part(const struct recording *recording,
				char *text, size_t size)
{
	__u64 milliseconds = recording->interval.time / 1000000;

	if (recording->interval_count)
		snprintf(text, size,
			 "it is whole up to second %llu.%03llu (%llu interval%s), which 'pagemap-scan report --truncated' reports",
			 milliseconds / 1000, milliseconds % 1000,
			 recording->interval_count,
			 recording->interval_count == 1 ? "" : "s");
	else
		snprintf(text, size,
			 "no interval in it is whole, record again");
}

static int fail_truncated(struct recording *recording,
			  struct failure *failure)
{
	char whole[160];

	recording->damaged = true;
	describe_whole_part(recording, whole, sizeof(whole));
	return fail(failure, STATUS_ERROR,
		    "%.256s is truncated, as the recorder was killed or still runs; %s",
		    recording->reader->path, whole);
}

static int fail_corrupt(struct recording *recording, struct failure *failure)
{
	char whole[160];

	recording->damaged = true;
	describe_whole_part(recording, whole, sizeof(whole));
	return fail(failure, STATUS_ERROR,
		    "%.256s is corrupt before byte %llu; %s",
		    recording->reader->path, recording->reader->position,
		    whole);
}

/**
 * read_bytes - read bytes
 * @recording: the recording
 * @bytes: where to
 * @length: how many
 * @failure: receives the error
 *
 * Return: how many there were; or -1 with an error noted.
 */
static long read_bytes(struct recording *recording, unsigned char *bytes,
		       size_t length, struct failure *failure)
{
	struct recording_reader *reader = recording->reader;
	size_t got = fread(bytes, 1, length, reader->file);

	reader->position += got;
	if (ferror(reader->file))
		return fail(failure, STATUS_ERROR, "cannot read %.256s: %s",
			    reader->path, strerror(errno));
	return got;
}

/* The same where it must be all of them. */
static int read_all(struct recording *recording, unsigned char *bytes,
		    size_t length, struct failure *failure)
{
	long got = read_bytes(recording, bytes, length, failure);

	if (got < 0)
		return -1;
	if ((size_t)got < length)
		return fail_truncated(recording, failure);
	return 0;
}

/**
 * read_record - read a record
 * @recording: the recording; its reader receives the payload
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
static int read_record(struct recording *recording, struct failure *failure)
{
	struct recording_reader *reader = recording->reader;
	unsigned char header[RECORD_HEADER_SIZE];
	unsigned char crc[RECORD_CRC_SIZE];

	if (read_all(recording, header, sizeof(header), failure))
		return -1;
	reader->crc = crc_of(reader->crc, header, 5);
	reader->length = get_le(header, 4);
	reader->type = header[4];
	reader->at = 0;
	if (get_le(header + 5, 3) != (reader->crc & 0xffffff) ||
	    reader->length > PAYLOAD_MAX)
		return fail_corrupt(recording, failure);

	if (read_all(recording, reader->payload, reader->length, failure) ||
	    read_all(recording, crc, sizeof(crc), failure))
		return -1;
	reader->crc = crc_of(reader->crc, reader->payload, reader->length);
	if (get_le(crc, sizeof(crc)) != reader->crc)
		return fail_corrupt(recording, failure);
	return 0;
}

/**
 * get_number - decode a number of the payload
 * @reader: the reader
 * @largest: what it may be at most
 * @value: receives it
 *
 * Return: whether there is such a number.
 */
static bool get_number(struct recording_reader *reader, __u64 largest,
		       __u64 *value)
{
	unsigned int shift;

	*value = 0;
	for (shift = 0; reader->at < reader->length && shift < 64; shift += 7) {
		unsigned char byte = reader->payload[reader->at++];
		__u64 bits = byte & 0x7f;

		if (bits << shift >> shift != bits)
			return false;
		*value |= bits << shift;
		if (!(byte & 0x80))
			return *value <= largest;
	}
	return false;
}

/**
 * get_bytes - decode a string of the payload
 * @reader: the reader
 * @longest: how long it may be at most
 * @text: receives where it is
 * @length: receives how long it is
 *
 * Return: whether there is such a string, without a zero in it.
 */
static bool get_bytes(struct recording_reader *reader, size_t longest,
		      const char **text, size_t *length)
{
	__u64 value;

	if (!get_number(reader, longest, &value) ||
	    value > reader->length - reader->at)
		return false;
	*length = value;
	*text = (const char *)reader->payload + reader->at;
	reader->at += value;
	return !memchr(*text, '\0', *length);
}

/* The last page that has an end; that at the end of 64 bits has none. */
static __u64 last_page(const struct recording *recording)
{
	return ULLONG_MAX / recording->header.page_size - 1;
}

static bool decode_header(struct recording *recording)
{
	struct recording_header *header = &recording->header;
	struct recording_reader *reader = recording->reader;
	__u64 pid, seconds, nanoseconds, flags;
	const char *command;
	size_t length;

	if (!get_number(reader, 1 << 30, &header->page_size) ||
	    !page_size_is_valid(header->page_size) ||
	    !get_number(reader, INT_MAX, &pid) ||
	    !get_number(reader, ULLONG_MAX, &seconds) ||
	    !get_number(reader, 999999999, &nanoseconds) ||
	    !get_number(reader, ULLONG_MAX, &header->interval) ||
	    !get_number(reader, ULLONG_MAX, &header->duration) ||
	    !get_number(reader, HEADER_COUNTS_PAGES, &flags) ||
	    !get_bytes(reader, RECORDING_COMMAND_MAX, &command, &length))
		return false;
	header->pid = pid;
	header->start_seconds = unzigzag(seconds);
	header->start_nanoseconds = nanoseconds;
	header->counts_pages = flags & HEADER_COUNTS_PAGES;
	memcpy(header->command, command, length);
	header->command[length] = '\0';
	return reader->at == reader->length;
}

/**
 * enum decoded - what became of a part of the payload
 * @DECODED: it is well
 * @DECODED_CORRUPT: it is not what a writer writes
 * @DECODED_NO_MEMORY: there was no memory for it
 */
enum decoded {
	DECODED,
	DECODED_CORRUPT,
	DECODED_NO_MEMORY,
};

static int fail_decoded(struct recording *recording, enum decoded decoded,
			struct failure *failure)
{
	if (decoded == DECODED)
		return 0;
	if (decoded == DECODED_NO_MEMORY)
		return fail_reader_memory(recording, failure);
	return fail_corrupt(recording, failure);
}

/* Decode the number of a name, and the name where it is new. */
static enum decoded decode_name(struct recording_reader *reader,
				const char **name)
{
	const char *bytes;
	size_t length;
	__u64 index;

	if (!get_number(reader, reader->name_count, &index))
		return DECODED_CORRUPT;
	if (index < reader->name_count) {
		*name = reader->names[index];
		return DECODED;
	}
	if (!get_bytes(reader, RECORDING_NAME_MAX, &bytes, &length))
		return DECODED_CORRUPT;
	if (reader->name_count == reader->name_room) {
		size_t room = reader->name_room ? 2 * reader->name_room : 64;
		char **larger = reallocarray(reader->names, room,
					     sizeof(*larger));

		if (!larger)
			return DECODED_NO_MEMORY;
		reader->names = larger;
		reader->name_room = room;
	}
	reader->names[index] = strndup(bytes, length);
	if (!reader->names[index])
		return DECODED_NO_MEMORY;
	reader->name_count++;
	*name = reader->names[index];
	return DECODED;
}

/* Make room for a mapping more. */
static bool grow_mappings(struct recording *recording)
{
	struct recording_reader *reader = recording->reader;
	struct recording_mapping *mappings;
	size_t room;
	bool *mapped;
	__u32 *table;

	if (recording->mapping_count < reader->mapping_room)
		return true;
	room = reader->mapping_room ? 2 * reader->mapping_room : 64;
	mappings = reallocarray(recording->mappings, room, sizeof(*mappings));
	if (mappings)
		recording->mappings = mappings;
	mapped = reallocarray(reader->mapped, room, sizeof(*mapped));
	if (mapped)
		reader->mapped = mapped;
	table = reallocarray(recording->table, room, sizeof(*table));
	if (table)
		recording->table = table;
	if (!mappings || !mapped || !table)
		return false;
	reader->mapping_room = room;
	return true;
}

/**
 * decode_mapping - decode a change of the table of mappings
 * @recording: the recording
 * @last_start: first page of the mapping before in the same record
 *
 * Return: what became of it.
 */
static enum decoded decode_mapping(struct recording *recording,
				   __u64 *last_start)
{
	struct recording_reader *reader = recording->reader;
	__u64 page_size = recording->header.page_size;
	__u64 change, id, delta, start, length, permissions;
	enum decoded decoded;
	const char *name;

	if (!get_number(reader, MAPPING_CHANGED, &change))
		return DECODED_CORRUPT;
	id = recording->mapping_count;
	if (change != MAPPING_NEW &&
	    (!get_number(reader, ULLONG_MAX, &id) ||
	     id >= recording->mapping_count || !reader->mapped[id]))
		return DECODED_CORRUPT;
	if (change == MAPPING_GONE) {
		reader->mapped[id] = false;
		return DECODED;
	}

	if (!get_number(reader, ULLONG_MAX, &delta))
		return DECODED_CORRUPT;
	start = *last_start + unzigzag(delta);
	if (start > last_page(recording) ||
	    !get_number(reader, last_page(recording) - start + 1, &length) ||
	    !length || !get_number(reader, PERMISSIONS, &permissions))
		return DECODED_CORRUPT;
	*last_start = start;
	if (change == MAPPING_NEW) {
		decoded = decode_name(reader, &name);
		if (decoded)
			return decoded;
		if (!grow_mappings(recording))
			return DECODED_NO_MEMORY;
		recording->mappings[id].name = name;
		reader->mapped[id] = true;
		recording->mapping_count++;
	}
	recording->mappings[id].start = start * page_size;
	recording->mappings[id].end = (start + length) * page_size;
	recording->mappings[id].permissions = permissions;
	return DECODED;
}

static enum decoded decode_mappings(struct recording *recording)
{
	struct recording_reader *reader = recording->reader;
	enum decoded decoded = DECODED;
	__u64 last_start = 0;

	while (decoded == DECODED && reader->at < reader->length)
		decoded = decode_mapping(recording, &last_start);
	reader->table_changed = true;
	return decoded;
}

static int compare_ids(const void *first, const void *second, void *context)
{
	const struct recording_mapping *mappings = context;
	const __u32 *one = first, *other = second;

	if (mappings[*one].start != mappings[*other].start)
		return mappings[*one].start < mappings[*other].start ? -1 : 1;
	return 0;
}

/* Bring the mappings that there are now in order. */
static enum decoded make_table(struct recording *recording)
{
	struct recording_reader *reader = recording->reader;
	__u64 end = 0;
	size_t i;

	if (!reader->table_changed)
		return DECODED;
	recording->table_count = 0;
	for (i = 0; i < recording->mapping_count; i++)
		if (reader->mapped[i])
			recording->table[recording->table_count++] = i;
	if (recording->table_count)
		qsort_r(recording->table, recording->table_count,
			sizeof(*recording->table), compare_ids,
			recording->mappings);
	for (i = 0; i < recording->table_count; i++) {
		const struct recording_mapping *mapping =
			&recording->mappings[recording->table[i]];

		if (mapping->start < end)
			return DECODED_CORRUPT;
		end = mapping->end;
	}
	reader->table_changed = false;
	return DECODED;
}

static enum decoded keep_region(struct recording_reader *reader,
				const struct recording_region *region)
{
	if (reader->region_count == reader->region_room) {
		size_t room = reader->region_room ? 2 * reader->region_room :
						    256;
		struct recording_region *larger =
			reallocarray(reader->regions, room, sizeof(*larger));

		if (!larger)
			return DECODED_NO_MEMORY;
		reader->regions = larger;
		reader->region_room = room;
	}
	reader->regions[reader->region_count++] = *region;
	return DECODED;
}

/* Decode the regions of which the rest of the payload consists. */
static enum decoded decode_regions(struct recording *recording)
{
	struct recording_reader *reader = recording->reader;
	__u64 page_size = recording->header.page_size;
	__u64 last = last_page(recording);
	__u64 next = 0, flags = 0;

	while (reader->at < reader->length) {
		struct recording_region region;
		enum decoded decoded;
		__u64 head, length;

		if (!get_number(reader, ULLONG_MAX, &head) ||
		    head >> 1 > last || next > last - (head >> 1) ||
		    (head & 1 && !get_number(reader, UINT_MAX, &flags)))
			return DECODED_CORRUPT;
		next += head >> 1;
		if (!get_number(reader, last - next, &length))
			return DECODED_CORRUPT;
		region.start = next * page_size;
		next += length + 1;
		region.end = next * page_size;
		region.flags = flags;
		if (reader->region_count && region.start <
		    reader->regions[reader->region_count - 1].end)
			return DECODED_CORRUPT;
		decoded = keep_region(reader, &region);
		if (decoded)
			return decoded;
	}
	return DECODED;
}

static enum decoded decode_interval(struct recording *recording)
{
	struct recording_interval *interval = &recording->interval;
	struct recording_reader *reader = recording->reader;
	struct recording_interval next;
	enum decoded decoded;
	__u64 regions;

	if (!get_number(reader, ULLONG_MAX - interval->time, &next.length) ||
	    !get_number(reader, ULLONG_MAX, &next.collecting) ||
	    !get_number(reader, ULLONG_MAX, &next.tracked) ||
	    !get_number(reader, ULLONG_MAX, &regions))
		return DECODED_CORRUPT;
	decoded = decode_regions(recording);
	if (!decoded && regions != reader->region_count)
		decoded = DECODED_CORRUPT;
	if (!decoded)
		decoded = make_table(recording);
	if (decoded)
		return decoded;

	next.time = interval->time + next.length;
	next.regions = reader->regions;
	next.region_count = reader->region_count;
	*interval = next;
	recording->interval_count++;
	return DECODED;
}

static enum decoded decode_end(struct recording *recording)
{
	struct recording_reader *reader = recording->reader;
	__u64 reason, time, intervals;
	const char *text;
	size_t length;

	if (!get_number(reader, RECORDING_REASONS - 1, &reason) ||
	    !get_number(reader, ULLONG_MAX - recording->interval.time, &time) ||
	    !get_number(reader, ULLONG_MAX, &intervals) ||
	    intervals != recording->interval_count ||
	    !get_bytes(reader, RECORDING_TEXT_MAX, &text, &length) ||
	    reader->at != reader->length)
		return DECODED_CORRUPT;
	recording->end.reason = reason;
	recording->end.time = recording->interval.time + time;
	memcpy(recording->end.text, text, length);
	recording->end.text[length] = '\0';
	return make_table(recording);
}

static enum decoded decode_record(struct recording *recording)
{
	switch (recording->reader->type) {
	case RECORD_MAPPINGS:
		return decode_mappings(recording);
	case RECORD_REGIONS:
		return decode_regions(recording);
	case RECORD_INTERVAL:
		return decode_interval(recording);
	case RECORD_END:
		return decode_end(recording);
	default:
		return DECODED_CORRUPT;
	}
}

/* The end record is the last that a file has. */
static int expect_end_of_file(struct recording *recording,
			      struct failure *failure)
{
	unsigned char byte;
	long got = read_bytes(recording, &byte, 1, failure);

	return got > 0 ? fail_corrupt(recording, failure) : got;
}

/**
 * recording_next - read up to the end of the next interval
 * @recording: the recording
 * @failure: receives the error
 *
 * Where it fails as the file is damaged, recording.damaged is set, and all
 * that was read so far holds.  It is not to be called again then, nor behind
 * the end.
 *
 * Return: what it has come to.
 */
enum recording_step recording_next(struct recording *recording,
				   struct failure *failure)
{
	struct recording_reader *reader = recording->reader;

	reader->region_count = 0;
	do {
		if (read_record(recording, failure) ||
		    fail_decoded(recording, decode_record(recording), failure))
			return RECORDING_FAILED;
	} while (reader->type != RECORD_INTERVAL && reader->type != RECORD_END);
	if (reader->type == RECORD_INTERVAL)
		return RECORDING_AT_INTERVAL;
	if (expect_end_of_file(recording, failure))
		return RECORDING_FAILED;
	return RECORDING_AT_END;
}

/* Read what is before the first record. */
static int read_preamble(struct recording *recording, struct failure *failure)
{
	struct recording_reader *reader = recording->reader;
	unsigned char preamble[PREAMBLE_SIZE];
	long got = read_bytes(recording, preamble, sizeof(preamble), failure);
	__u32 version;

	if (got < 0)
		return -1;
	if (memcmp(preamble, magic, (size_t)got < sizeof(magic) ?
				    (size_t)got : sizeof(magic)))
		return fail_foreign(reader->path, failure);
	if ((size_t)got < sizeof(preamble))
		return fail_truncated(recording, failure);
	version = get_le(preamble + sizeof(magic), 4);
	if (version > RECORDING_VERSION)
		return fail(failure, STATUS_ERROR,
			    "%.256s has version %u of the format, and this pagemap-scan knows up to %u; use the pagemap-scan that made it, or a newer one",
			    reader->path, version, RECORDING_VERSION);
	if (!version)
		return fail_corrupt(recording, failure);
	reader->crc = crc_of(0, preamble, sizeof(preamble));
	return 0;
}

/**
 * recording_open - begin to read a recording
 * @path: name of its file
 * @failure: receives the error
 *
 * Return: the recording, with its header, to be given to recording_close(); or
 * NULL with an error noted.
 */
struct recording *recording_open(const char *path, struct failure *failure)
{
	struct recording *recording = calloc(1, sizeof(*recording));

	if (recording)
		recording->reader = calloc(1, sizeof(*recording->reader));
	if (recording && recording->reader)
		recording->reader->path = strdup(path);
	if (!recording || !recording->reader || !recording->reader->path) {
		fail(failure, STATUS_ERROR,
		     "not enough memory to read %.256s; free some and try again",
		     path);
		goto failed;
	}
	recording->reader->file = fopen(path, "re");
	if (!recording->reader->file) {
		fail(failure, STATUS_ERROR,
		     "cannot open %.256s: %s; 'pagemap-scan record' makes a recording",
		     path, strerror(errno));
		goto failed;
	}
	if (read_preamble(recording, failure) ||
	    read_record(recording, failure))
		goto failed;
	if (recording->reader->type != RECORD_HEADER ||
	    !decode_header(recording)) {
		fail_corrupt(recording, failure);
		goto failed;
	}
	return recording;

failed:
	recording_close(recording);
	return NULL;
}

/**
 * recording_close - give a recording back
 * @recording: the recording, or NULL
 */
void recording_close(struct recording *recording)
{
	struct recording_reader *reader = recording ? recording->reader : NULL;
	size_t i;

	if (reader) {
		if (reader->file)
			fclose(reader->file);
		for (i = 0; i < reader->name_count; i++)
			free(reader->names[i]);
		free(reader->names);
		free(reader->mapped);
		free(reader->regions);
		free(reader->path);
		free(reader);
	}
	if (recording) {
		free(recording->mappings);
		free(recording->table);
		free(recording);
	}
}
