/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: the contents of a process's memory, kept up to date */
#ifndef PAGEMAP_SCAN_SNAPSHOT_H
#define PAGEMAP_SCAN_SNAPSHOT_H

#include <stdbool.h>
#include <linux/types.h>

#include "pagemap-scan-image.h"
#include "pagemap-scan-ranges.h"
#include "pagemap-scan-session.h"
#include "pagemap-scan.h"

/**
 * struct snapshot - a snapshot that is kept up to date
 * @session: the process
 * @image: where it is kept
 * @contents: descriptor of /proc/PID/mem
 * @have: addresses of which the image has the contents
 * @written: what was written since the last update
 * @tracked: mappings of which the writes are known
 * @shared: those of them whose pages may be there without being populated
 * @foreign: those of @shared that the process itself cannot write
 * @populated: what is populated of @tracked
 * @list: the new list of mappings
 * @copied: bytes that the last update copied
 * @dropped: bytes that it took out
 * @own: bytes of mappings that the process, or somebody else, tracks
 * @progress: whether to show it
 */
struct snapshot {
	struct session session;
	struct image image;
	int contents;
	struct range_list have;
	struct range_list written;
	struct range_list tracked;
	struct range_list shared;
	struct range_list foreign;
	struct range_list populated;
	FILE *list;
	__u64 copied;
	__u64 dropped;
	__u64 own;
	bool progress;
};

/**
 * struct snapshot_reply - what the tracker of a snapshot answers
 * @failure: why it could not be done; status is STATUS_OK if it could
 * @copied: bytes that were copied
 * @dropped: bytes that were taken out
 * @total: bytes that the snapshot has
 */
struct snapshot_reply {
	struct failure failure;
	__u64 copied;
	__u64 dropped;
	__u64 total;
};

/**
 * enum snapshot_order - what to ask the tracker of a snapshot for
 * @SNAPSHOT_UPDATE: to bring it up to date
 * @SNAPSHOT_END: to stop tracking
 */
enum snapshot_order {
	SNAPSHOT_UPDATE = 'u',
	SNAPSHOT_END = 'e',
};

int open_snapshot(struct snapshot *snapshot, pid_t pid, const char *path,
		  struct failure *failure);
void close_snapshot(struct snapshot *snapshot);
int update_snapshot(struct snapshot *snapshot, struct failure *failure);
int serve_snapshot(struct snapshot *snapshot, struct failure *failure);
int order_snapshot(const struct image *image, enum snapshot_order order,
		   struct snapshot_reply *reply, struct failure *failure);

#endif /* PAGEMAP_SCAN_SNAPSHOT_H */
