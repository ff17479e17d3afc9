/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: a process that stands still for a moment */
#ifndef PAGEMAP_SCAN_STOP_H
#define PAGEMAP_SCAN_STOP_H

#include <stddef.h>
#include <sys/types.h>

#include "pagemap-scan.h"

/**
 * struct stopped_thread - a thread that is stopped
 * @id: the thread
 * @signal: what was about to be delivered to it, or 0
 */
struct stopped_thread {
	pid_t id;
	int signal;
};

/**
 * struct stopped - a process that is stopped
 * @pid: the process
 * @threads: its threads
 * @count: number of elements of @threads that are in use
 * @room: number of elements of @threads that are allocated
 */
struct stopped {
	pid_t pid;
	struct stopped_thread *threads;
	size_t count;
	size_t room;
};

int stop_process(struct stopped *stopped, pid_t pid, struct failure *failure);
void continue_process(struct stopped *stopped);

#endif /* PAGEMAP_SCAN_STOP_H */
