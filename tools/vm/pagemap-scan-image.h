/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: the directory that 'snapshot' writes and 'verify' compares */
#ifndef PAGEMAP_SCAN_IMAGE_H
#define PAGEMAP_SCAN_IMAGE_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "pagemap-scan-process.h"
#include "pagemap-scan-ranges.h"
#include "pagemap-scan-track.h"
#include "pagemap-scan.h"

/*
 * The directory has
 *
 *	info		the version of this format, and which process it is of
 *	mappings	a line per mapping: "tracked", "own" or "not", as in enum
 *			track_state, and the line of /proc/PID/maps
 *	memory/ADDRESS	the contents of the GiB of addresses from ADDRESS on, in
 *			hex, at the same offset; sparse: what is not there was
 *			not populated, and reads as zeros
 *	tracker		a socket, as long as the process is tracked
 */

/* Addresses in one file, which ext4 limits to 16 TiB. */
#define IMAGE_FILE_SIZE		(1ULL << 30)

/* Names in the directory. */
#define IMAGE_SOCKET		"tracker"

/**
 * struct image - an open directory
 * @path: its name, for errors
 * @directory: descriptor of it
 * @memory: descriptor of the one with the contents
 * @file: descriptor of the file that was used last, or -1
 * @base: its first address
 * @writable: whether @file was opened to write
 * @made: whether create_image() made the directory
 */
struct image {
	const char *path;
	int directory;
	int memory;
	int file;
	__u64 base;
	bool writable;
	bool made;
};

int create_image(struct image *image, const char *path,
		 const struct process *process, struct failure *failure);
int open_image(struct image *image, const char *path, pid_t *pid,
	       struct failure *failure);
void remove_image(struct image *image);
void close_image(struct image *image);
int write_image(struct image *image, __u64 address, const void *data,
		size_t size, struct failure *failure);
int punch_image(struct image *image, const struct address_range *range,
		struct failure *failure);
int read_image(struct image *image, __u64 address, void *data, size_t size,
	       struct failure *failure);
FILE *begin_mappings(const struct image *image, struct failure *failure);
int write_mapping(FILE *file, const struct mapping *mapping,
		  enum track_state state);
int end_mappings(const struct image *image, FILE *file,
		 struct failure *failure);
int read_tracked(const struct image *image, struct range_list *tracked,
		 struct failure *failure);
int image_socket(const struct image *image, bool serve,
		 struct failure *failure);

#endif /* PAGEMAP_SCAN_IMAGE_H */
