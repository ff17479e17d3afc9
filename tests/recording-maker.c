// SPDX-License-Identifier: GPL-2.0-only
/*
 * recording-maker: write recordings of which everything is known, for
 * tests/report
 *
 *	recording-maker KIND FILE
 *	recording-maker --mangle FILE DIRECTORY
 *
 * The kinds are at the end.  The writer is that of pagemap-scan.
 *
 * --mangle writes copies of a small recording: cut-N with the first N bytes,
 * flip-N-M with byte N exclusive-or M, and fixed-N-M, the same with the sums
 * made right again, as by one who means to do harm.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pagemap_scan.h>

#include "pagemap-scan-recording.h"

#define PAGE			4096ULL
#define MS			1000000ULL
#define HEAP			0x555555560000ULL
#define STACK			0x7ffffffde000ULL

/**
 * struct maker - the recording that is made
 * @path: its file
 * @writer: its writer
 * @time: time of the last interval
 * @failure: why it cannot be made
 */
struct maker {
	const char *path;
	struct recording_writer *writer;
	__u64 time;
	struct failure failure;
};

static void check(struct maker *maker, int error)
{
	if (!error)
		return;
	fprintf(stderr, "recording-maker: %s\n", maker->failure.text);
	exit(1);
}

static void begin(struct maker *maker, const char *command, __u64 interval,
		  __u64 duration)
{
	struct recording_header header = {
		.page_size = PAGE,
		.pid = 4711,
		.start_seconds = 1700000000,
		.start_nanoseconds = 5,
		.interval = interval,
		.duration = duration,
		.counts_pages = true,
	};

	strcpy(header.command, command);
	maker->writer = recording_create(maker->path, &header,
					 &maker->failure);
	check(maker, maker->writer ? 0 : -1);
}

static void map(struct maker *maker, const struct recording_mapping *mappings,
		size_t count)
{
	check(maker, recording_write_mappings(maker->writer, mappings, count,
					      &maker->failure));
}

static void region(struct maker *maker, __u64 start, __u64 pages, __u32 flags)
{
	check(maker, recording_add_region(maker->writer, start,
					  start + pages * PAGE, flags,
					  &maker->failure));
}

static void present(struct maker *maker, __u64 start, __u64 pages)
{
	region(maker, start, pages, PAGE_IS_WRITTEN | PAGE_IS_PRESENT);
}

static void interval(struct maker *maker, __u64 length)
{
	maker->time += length;
	check(maker, recording_write_interval(maker->writer, maker->time,
					      MS / 10, 1000, &maker->failure));
}

static void finish(struct maker *maker, enum recording_reason reason)
{
	check(maker, recording_finish(maker->writer, reason, maker->time,
				      reason == RECORDING_ERROR ?
				      "out\nof luck" : NULL,
				      &maker->failure));
}

/* Three mappings, four intervals; every kind of region. */
static void make_small(struct maker *maker)
{
	struct recording_mapping mappings[] = {
		{ 0x400000, 0x402000, RECORDING_READ | RECORDING_EXECUTE,
		  "/usr/bin/small" },
		{ HEAP, HEAP + 16 * PAGE, RECORDING_READ | RECORDING_WRITE,
		  "[heap]" },
		{ STACK, STACK + 4 * PAGE, RECORDING_READ | RECORDING_WRITE,
		  "[stack]" },
	};

	begin(maker, "small", 500 * MS, 2000 * MS);
	map(maker, mappings, 3);
	present(maker, HEAP, 4);
	present(maker, STACK + 3 * PAGE, 1);
	interval(maker, 500 * MS);

	present(maker, HEAP, 2);
	region(maker, HEAP + 8 * PAGE, 2, PAGE_IS_WRITTEN | PAGE_IS_SWAPPED);
	present(maker, STACK + 3 * PAGE, 1);
	interval(maker, 500 * MS);

	/* The heap grows, and the new part was not armed. */
	mappings[1].end += 4 * PAGE;
	map(maker, mappings, 3);
	region(maker, HEAP, 1, PAGE_IS_WRITTEN | PAGE_IS_PRESENT |
	       PAGE_IS_HUGE);
	region(maker, HEAP + 16 * PAGE, 4, RECORDING_UNARMED);
	interval(maker, 500 * MS);

	region(maker, HEAP + 12 * PAGE, 3, RECORDING_UNKNOWN);
	present(maker, STACK + 3 * PAGE, 1);
	interval(maker, 500 * MS);
	finish(maker, RECORDING_TIME_UP);
}

static void make_empty(struct maker *maker)
{
	begin(maker, "empty", 100 * MS, 0);
	finish(maker, RECORDING_INTERRUPTED);
}

/* Intervals, but nothing is written. */
static void make_idle(struct maker *maker)
{
	begin(maker, "idle", 100 * MS, 0);
	interval(maker, 100 * MS);
	interval(maker, 100 * MS);
	finish(maker, RECORDING_EXITED);
}

/*
 * 25 intervals of 1 s: in second n, n pages from the page n * 100 on; in
 * each, a page that is always the same.
 */
static void make_windows(struct maker *maker)
{
	struct recording_mapping mapping = {
		HEAP, HEAP + 4096 * PAGE, RECORDING_READ | RECORDING_WRITE, ""
	};
	int n;

	begin(maker, "windows", 500 * MS, 0);
	map(maker, &mapping, 1);
	for (n = 0; n < 25; n++) {
		present(maker, HEAP, 1);
		interval(maker, 500 * MS);
		present(maker, HEAP, 1);
		if (n)
			present(maker, HEAP + n * 100 * PAGE, n);
		interval(maker, 500 * MS);
	}
	finish(maker, RECORDING_EXECED);
}

/* Mappings come, go, shrink, grow at both ends, and change place. */
static void make_mappings(struct maker *maker)
{
	const __u32 access = RECORDING_READ | RECORDING_WRITE;
	struct recording_mapping first[] = {
		{ 0x10000, 0x20000, access, "stays" },
		{ 0x20000, 0x30000, access, "goes" },
		{ 0x40000, 0x50000, access, "shrinks" },
		{ 0x80000, 0x90000, access, "grows up" },
		{ 0xb0000, 0xc0000, access, "grows down" },
		{ 0xc0000, 0xd0000, access | RECORDING_SHARED, "renamed" },
	};
	struct recording_mapping second[] = {
		{ 0x10000, 0x20000, RECORDING_READ, "stays" },
		{ 0x20000, 0x30000, access, "comes" },
		{ 0x40000, 0x48000, access, "shrinks" },
		{ 0x80000, 0x98000, access, "grows up" },
		{ 0xa0000, 0xc0000, access, "grows down" },
		{ 0xc0000, 0xd0000, access | RECORDING_SHARED, "again" },
	};

	begin(maker, "mappings", 100 * MS, 0);
	map(maker, first, 6);
	present(maker, 0x10000, 0x50);
	/* One that goes on over a hole, and is in no mapping there. */
	interval(maker, 100 * MS);
	map(maker, second, 6);
	map(maker, second, 6);
	present(maker, 0x20000, 1);
	present(maker, 0x90000, 8);
	present(maker, 0xa0000, 1);
	interval(maker, 100 * MS);
	map(maker, second, 0);
	interval(maker, 100 * MS);
	finish(maker, RECORDING_ERROR);
}

/* Names and a command with all that is special somewhere. */
static void make_names(struct maker *maker)
{
	static const char * const names[] = {
		"/tmp/new\nline", "/tmp/bad\xff\xfe/ytes",
		"/tmp/\xc3\xa4\xe2\x82\xac", "/tmp/quote\"'\\,;",
		"/tmp/<a href='x'>&amp;", "/tmp/`touch gnuplot-ran`$(touch sh-ran)",
		"/tmp/%d%s%n @macro {/Bold x}^2_3", "\x1b[31m/tmp/red",
	};
	struct recording_mapping mappings[ARRAY_SIZE(names) + 1];
	char longest[RECORDING_NAME_MAX + 100];
	size_t i;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	begin(maker, "`touch ran` '<&\"\\\xff\n", 100 * MS, 0);
	for (i = 0; i < ARRAY_SIZE(mappings); i++)
		mappings[i] = (struct recording_mapping){
			HEAP + i * 16 * PAGE, HEAP + (i * 16 + 8) * PAGE,
			RECORDING_READ | RECORDING_WRITE,
			i < ARRAY_SIZE(names) ? names[i] : longest,
		};
	map(maker, mappings, ARRAY_SIZE(mappings));
	for (i = 0; i < ARRAY_SIZE(mappings); i++)
		present(maker, mappings[i].start, 4);
	interval(maker, 100 * MS);
	finish(maker, RECORDING_TIME_UP);
}

/* Regions of a terabyte, at both ends of the address space. */
static void make_huge(struct maker *maker)
{
	begin(maker, "huge", 100 * MS, 0);
	present(maker, 0, 1ULL << 28);
	present(maker, 1ULL << 63, (1ULL << 51) - 1);
	interval(maker, 100 * MS);
	present(maker, PAGE, 1);
	interval(maker, ~0ULL - 200 * MS);
	finish(maker, RECORDING_TIME_UP);
}

/* More regions, and more mappings, than fit into a record. */
static void make_many(struct maker *maker)
{
	const size_t count = 40000;
	struct recording_mapping *mappings = calloc(count, sizeof(*mappings));
	size_t i;

	check(maker, mappings ? 0 : -1);
	begin(maker, "many", 100 * MS, 0);
	for (i = 0; i < count; i++) {
		char name[64];

		snprintf(name, sizeof(name),
			 "/usr/lib/x86_64-linux-gnu/libnumber%zu.so", i);
		mappings[i] = (struct recording_mapping){
			HEAP + i * 4 * PAGE, HEAP + (i * 4 + 3) * PAGE,
			RECORDING_READ, strdup(name),
		};
	}
	map(maker, mappings, count);
	for (i = 0; i < 600000; i++)
		present(maker, HEAP + 2 * i * PAGE, 1);
	interval(maker, 100 * MS);
	for (i = 0; i < count; i++)
		mappings[i].end += PAGE;
	map(maker, mappings, count);
	interval(maker, 100 * MS);
	finish(maker, RECORDING_TIME_UP);
	for (i = 0; i < count; i++)
		free((char *)mappings[i].name);
	free(mappings);
}

/* Numbers that are the same on every machine, and look like any. */
static __u32 random_number(__u32 *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

/*
 * What a server may look like: a minute of a heap that grows, with a part that
 * is hot, a log that is written from begin to end again and again, a burst, and
 * threads that come and go.
 */
static void make_server(struct maker *maker)
{
	const __u32 access = RECORDING_READ | RECORDING_WRITE;
	const __u64 arena = 0x7f3200000000ULL, log = 0x7f3280000000ULL;
	const __u64 library = 0x7f32a01d4000ULL;
	struct recording_mapping mappings[] = {
		{ 0x400000, 0x5a0000, RECORDING_READ | RECORDING_EXECUTE,
		  "/usr/sbin/server" },
		{ 0x5a0000, 0x5b0000, access, "/usr/sbin/server" },
		{ HEAP, HEAP + 2000 * PAGE, access, "[heap]" },
		{ arena, arena + 16384 * PAGE, access, "" },
		{ log, log + 4096 * PAGE, access | RECORDING_SHARED,
		  "/var/lib/server/journal/write-ahead.log" },
		{ library, library + 16 * PAGE, access,
		  "/usr/lib/x86_64-linux-gnu/libc.so.6" },
		{ library + 32 * PAGE, library + 36 * PAGE, access,
		  "/usr/lib/x86_64-linux-gnu/libssl.so.3" },
		{ library + 4096 * PAGE, library + 6144 * PAGE, access,
		  "[anon: thread stack]" },
		{ STACK, STACK + 33 * PAGE, access, "[stack]" },
	};
	__u32 state = 1;
	__u64 page;
	int n;

	begin(maker, "server", 100 * MS, 60000 * MS);
	for (n = 0; n < 600; n++) {
		size_t count = ARRAY_SIZE(mappings);
		struct recording_mapping now[ARRAY_SIZE(mappings)];

		memcpy(now, mappings, sizeof(now));
		now[2].end += n * 10 * PAGE;
		if (n < 150 || n >= 420) {
			now[7] = now[8];
			count--;
		}
		map(maker, now, count);
		if (n % 10 == 0)
			present(maker, 0x5a3000, 2);
		for (page = 0; page < 400; page += 1 + random_number(&state) % 4)
			present(maker, HEAP + page * PAGE, 1);
		present(maker, HEAP + (1990 + n * 10) * PAGE, 10);
		for (page = n >= 300 && n < 360 ? 0 : 16384; page < 16384;
		     page += 1 + random_number(&state) % 8)
			present(maker, arena + page * PAGE, 1);
		present(maker, log + n * 24 % 4080 * PAGE, 16);
		present(maker, library + 3 * PAGE, 1);
		if (n % 50 < 5)
			present(maker, library + 33 * PAGE, 1);
		if (count == ARRAY_SIZE(mappings))
			present(maker, library + (4096 + n % 300 * 4) * PAGE,
				20);
		present(maker, STACK + (30 - n / 100) * PAGE, 2);
		interval(maker, 100 * MS + random_number(&state) % 1000000 -
			 500000);
	}
	finish(maker, RECORDING_TIME_UP);
}

/*
 * An arena that grows at its start.  What is new is a mapping of its own, until
 * it is tracked as well: some pages were last written when the arena was this
 * mapping, and some when it was that one.
 */
static void make_growing(struct maker *maker)
{
	const __u32 access = RECORDING_READ | RECORDING_WRITE;
	const __u64 end = 0x7f3200000000ULL;
	struct recording_mapping mappings[] = {
		{ end - 64 * PAGE, end - 64 * PAGE, access, "" },
		{ end - 64 * PAGE, end, access, "" },
	};
	int n, page;

	begin(maker, "growing", 100 * MS, 0);
	for (n = 0; n < 40; n++) {
		if (n % 2 == 0) {
			mappings[0].end = mappings[1].start;
			mappings[0].start -= 4 * PAGE;
			map(maker, mappings, 2);
		} else {
			mappings[1].start = mappings[0].start;
			map(maker, mappings + 1, 1);
		}
		for (page = n % 7; page < 64; page += 7)
			present(maker, end - (64 - page) * PAGE, 1);
		interval(maker, 100 * MS);
	}
	finish(maker, RECORDING_TIME_UP);
}

/* More mappings than can be labelled, two of them large. */
static void make_crowd(struct maker *maker)
{
	struct recording_mapping mappings[300];
	char names[300][32];
	int i, n;

	begin(maker, "crowd", 20 * MS, 0);
	for (i = 0; i < 300; i++) {
		__u64 pages = i == 100 || i == 200 ? 1000 : 1 + i % 7;

		snprintf(names[i], sizeof(names[i]), "/opt/plugin-%03d.so", i);
		mappings[i] = (struct recording_mapping){
			HEAP + i * 2048 * PAGE, HEAP + (i * 2048 + pages) *
			PAGE, RECORDING_READ | RECORDING_WRITE, names[i],
		};
	}
	map(maker, mappings, 300);
	for (n = 0; n < 50; n++) {
		for (i = 0; i < 300; i++)
			if ((i + n) % 3 == 0)
				present(maker, mappings[i].start,
					(mappings[i].end - mappings[i].start) /
					PAGE);
		interval(maker, 20 * MS);
	}
	finish(maker, RECORDING_TIME_UP);
}

/* A recorder that is killed in the second interval; or fills the disk. */
static void make_killed(struct maker *maker)
{
	begin(maker, "killed", 100 * MS, 0);
	present(maker, HEAP, 7);
	interval(maker, 100 * MS);
	present(maker, HEAP, 8);
	quick_exit(0);
}

/* What a writer must refuse; none of it gets into the file. */
static void make_refused(struct maker *maker)
{
	struct recording_mapping mappings[] = {
		{ HEAP + PAGE, HEAP + 2 * PAGE, 0, "" },
		{ HEAP, HEAP + 2 * PAGE, 0, "" },
	};
	struct failure *failure = &maker->failure;

	begin(maker, "refused", 100 * MS, 0);
	if (!recording_write_mappings(maker->writer, mappings, 2, failure) ||
	    !recording_add_region(maker->writer, HEAP, HEAP, 0, failure) ||
	    !recording_add_region(maker->writer, HEAP, HEAP + 1, 0, failure))
		exit(1);
	present(maker, HEAP, 2);
	if (!recording_add_region(maker->writer, HEAP + PAGE, HEAP + 2 * PAGE,
				  0, failure) ||
	    !recording_write_mappings(maker->writer, mappings, 1, failure))
		exit(1);
	interval(maker, 100 * MS);
	if (!recording_write_interval(maker->writer, 5, 0, 0, failure))
		exit(1);
	finish(maker, RECORDING_TIME_UP);
}

static const struct kind {
	const char *name;
	void (*make)(struct maker *maker);
} kinds[] = {
	{ "small", make_small },
	{ "empty", make_empty },
	{ "idle", make_idle },
	{ "windows", make_windows },
	{ "mappings", make_mappings },
	{ "names", make_names },
	{ "huge", make_huge },
	{ "many", make_many },
	{ "server", make_server },
	{ "growing", make_growing },
	{ "crowd", make_crowd },
	{ "killed", make_killed },
	{ "refused", make_refused },
};

/* CRC-32 as its definition says it, not as the tool computes it. */
static __u32 crc_of(__u32 crc, const unsigned char *bytes, size_t length)
{
	size_t i;
	int bit;

	crc = ~crc;
	for (i = 0; i < length; i++) {
		crc ^= bytes[i];
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void put_le(unsigned char *bytes, __u32 value, int length)
{
	for (; length; length--, value >>= 8)
		*bytes++ = value;
}

/* Make the sums of a recording right, as far as the lengths lead. */
static void fix_sums(unsigned char *file, size_t size)
{
	__u32 crc = crc_of(0, file, 12);
	size_t at = 12;

	while (at + 12 <= size) {
		__u32 length = file[at] | file[at + 1] << 8 |
			       file[at + 2] << 16 | (__u32)file[at + 3] << 24;

		crc = crc_of(crc, file + at, 5);
		put_le(file + at + 5, crc, 3);
		if (length > size - at - 12)
			return;
		crc = crc_of(crc, file + at + 8, length);
		put_le(file + at + 8 + length, crc, 4);
		at += 12 + length;
	}
}

static void put_file(const char *directory, const char *name,
		     const unsigned char *bytes, size_t size)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) {
		perror(path);
		exit(1);
	}
}

static int mangle(const char *path, const char *directory)
{
	static const unsigned char masks[] = { 0x01, 0x80, 0xff };
	unsigned char whole[4096], copy[4096];
	FILE *file = fopen(path, "r");
	size_t size, i, j;
	char name[64];

	if (!file)
		return 1;
	size = fread(whole, 1, sizeof(whole), file);
	fclose(file);
	if (size == sizeof(whole))
		return 1;
	memcpy(copy, whole, size);
	fix_sums(copy, size);
	put_file(directory, "same", copy, size);
	for (i = 0; i < size; i++) {
		snprintf(name, sizeof(name), "cut-%04zu", i);
		put_file(directory, name, whole, i);
		for (j = 0; j < ARRAY_SIZE(masks); j++) {
			memcpy(copy, whole, size);
			copy[i] ^= masks[j];
			snprintf(name, sizeof(name), "flip-%04zu-%02x", i,
				 masks[j]);
			put_file(directory, name, copy, size);
			fix_sums(copy, size);
			snprintf(name, sizeof(name), "fixed-%04zu-%02x", i,
				 masks[j]);
			put_file(directory, name, copy, size);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct maker maker = {};
	size_t i;

	if (argc == 4 && !strcmp(argv[1], "--mangle"))
		return mangle(argv[2], argv[3]);
	if (argc != 3)
		return 2;
	maker.path = argv[2];
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i].name, argv[1]))
			continue;
		kinds[i].make(&maker);
		return 0;
	}
	return 2;
}
