/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: a process and its mappings */
#ifndef PAGEMAP_SCAN_PROCESS_H
#define PAGEMAP_SCAN_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <linux/types.h>

#include "pagemap-scan.h"

/**
 * struct process - a process that is looked at
 * @pid: its number
 * @directory: descriptor of /proc/PID, through which the files are opened, so
 *	that they are those of one process although its number may be reused
 * @pagemap: descriptor of the pagemap file
 * @page_size: bytes in a page
 */
struct process {
	pid_t pid;
	int directory;
	int pagemap;
	__u64 page_size;
};

/**
 * struct address_range - addresses of a process
 * @start: the first
 * @end: the one behind the last
 */
struct address_range {
	__u64 start;
	__u64 end;
};

/**
 * struct mapping - a line of /proc/PID/maps
 * @range: its addresses, as far as they were asked for, in whole pages
 * @permissions: such as "rw-p"
 * @name: as in maps, may be empty; a part of mapping_list.text
 */
struct mapping {
	struct address_range range;
	char permissions[5];
	const char *name;
};

/**
 * struct mapping_list - the mappings of a process
 * @text: of the maps file, cut into strings
 * @mappings: its lines, in address order
 * @count: number of elements of @mappings that are in use
 */
struct mapping_list {
	char *text;
	struct mapping *mappings;
	size_t count;
};

int open_process(struct process *process, pid_t pid, struct failure *failure);
void close_process(struct process *process);
int list_mappings(const struct process *process,
		  const struct address_range *wanted,
		  struct mapping_list *list, struct failure *failure);
void free_mappings(struct mapping_list *list);
int fail_exited(const struct process *process, struct failure *failure);

#endif /* PAGEMAP_SCAN_PROCESS_H */
