/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: one process, collection after collection */
#ifndef PAGEMAP_SCAN_SESSION_H
#define PAGEMAP_SCAN_SESSION_H

#include <stdbool.h>
#include <linux/types.h>

#include "pagemap-scan-process.h"
#include "pagemap-scan-track.h"
#include "pagemap-scan.h"

#define NSEC_PER_SEC	1000000000ULL
#define NSEC_PER_MSEC	1000000ULL

/* For session_wait(): no time. */
#define SESSION_FOREVER	(~0ULL)

/* Room for a command, as session_command() gives it. */
#define COMMAND_SIZE	256

/**
 * enum session_state - what became of the process
 * @SESSION_FAILED: an error is noted
 * @SESSION_RUNS: it runs on
 * @SESSION_EXECED: it has executed another program, which is tracked from now
 *	on; what it wrote to its last memory since the collection before is lost
 * @SESSION_EXITED: it has exited
 */
enum session_state {
	SESSION_FAILED = -1,
	SESSION_RUNS,
	SESSION_EXECED,
	SESSION_EXITED,
};

/**
 * enum session_event - why session_wait() returned
 * @SESSION_TIME: it is time
 * @SESSION_ENDED: the process has exited
 * @SESSION_INTERRUPTED: a signal asks this program to end
 * @SESSION_RESIZED: the terminal has another size
 * @SESSION_REQUESTED: session.requests can be read
 */
enum session_event {
	SESSION_TIME,
	SESSION_ENDED,
	SESSION_INTERRUPTED,
	SESSION_RESIZED,
	SESSION_REQUESTED,
};

/**
 * struct session - a process that is tracked
 * @process: the process
 * @tracker: tracks it
 * @mappings: of the last collection
 * @pidfd: tells when it exits
 * @signals: receives the signals that ask this program to end
 * @requests: another descriptor to wait for, the caller's, or -1
 * @time: nanoseconds of the monotonic clock, when the last collection began
 * @collecting: nanoseconds that it took
 */
struct session {
	struct process process;
	struct tracker *tracker;
	struct mapping_list mappings;
	int pidfd;
	int signals;
	int requests;
	__u64 time;
	__u64 collecting;
};

__u64 monotonic_time(void);
int open_session(struct session *session, pid_t pid, struct failure *failure);
void close_session(struct session *session);
enum session_state session_collect(struct session *session,
				   const struct track_visitor *visitor,
				   struct failure *failure);
enum session_event session_wait(struct session *session, __u64 until);
void session_command(const struct session *session,
		     char command[COMMAND_SIZE]);

#endif /* PAGEMAP_SCAN_SESSION_H */
