/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process to look at, and people who try to.
 */
#ifndef __PAGEMAP_SCAN_TARGET_H
#define __PAGEMAP_SCAN_TARGET_H

#include <sys/types.h>

#define TARGET_PAGES		48
#define TARGET_TRACKED_PAGES	16

/* The name of the setuid program, in machine_tmpfs(). */
#define SETUID_PROGRAM	"./setuid-cat"

/**
 * enum person - the sorts of people that there are
 * @ROOT:	who may do all
 * @OWNER:	whom the target belongs to
 * @STRANGER:	some other user
 * @READER:	a stranger who may read all files
 * @TRACER:	one who may trace all processes as well
 * @OWNER_IN_NAMESPACE: the owner as root of a user namespace of theirs
 * @STRANGER_IN_NAMESPACE: a stranger as that
 */
enum person {
	ROOT,
	OWNER,
	STRANGER,
	READER,
	TRACER,
	OWNER_IN_NAMESPACE,
	STRANGER_IN_NAMESPACE,
};

/**
 * enum sort - the sorts of targets
 * @PLAIN:	nothing special
 * @NOT_DUMPABLE: has called prctl(PR_SET_DUMPABLE, 0)
 * @SETUID:	runs SETUID_PROGRAM
 * @IN_NAMESPACE: in a user namespace of its own
 */
enum sort {
	PLAIN,
	NOT_DUMPABLE,
	SETUID,
	IN_NAMESPACE,
};

/**
 * enum command - what a target does when it is told to
 * @COMMAND_EXEC:	executes cat(1)
 * @COMMAND_EXEC_SETUID: executes SETUID_PROGRAM
 * @COMMAND_EXIT:	exits
 * @COMMAND_HIDE:	makes itself not dumpable
 * @COMMAND_WRITE:	writes to the second tracked page
 * @COMMAND_CLOSE_UFFD:	closes its userfaultfd
 * @COMMAND_SHARE:	exits, but another process has its memory and goes on
 */
enum command {
	COMMAND_EXEC		= 'e',
	COMMAND_EXEC_SETUID	= 's',
	COMMAND_EXIT		= 'q',
	COMMAND_HIDE		= 'h',
	COMMAND_WRITE		= 'w',
	COMMAND_CLOSE_UFFD	= 'c',
	COMMAND_SHARE		= 'v',
};

/**
 * struct target - a process that is scanned
 * @pid:	its number
 * @socket:	on which it is told what to do
 * @plain:	address of TARGET_PAGES pages, of which it has each third
 * @tracked:	address of TARGET_TRACKED_PAGES pages, all present, registered
 *		by it for async write-protection
 */
struct target {
	pid_t pid;
	int socket;
	char *plain;
	char *tracked;
};

int become(enum person person);
int send_descriptor(int socket, int fd);
int receive_descriptor(int socket);
pid_t start_process(int *socket);
void end_process(pid_t pid, int socket);
int make_setuid_program(void);
int target_start(struct target *target, enum sort sort);
int target_do(struct target *target, enum command command);

#endif /* __PAGEMAP_SCAN_TARGET_H */
