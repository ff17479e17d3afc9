// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan: one process, collection after collection */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pagemap-scan-session.h"

/* How long a process may have no memory before that is an error. */
#define EXIT_PATIENCE	(5 * NSEC_PER_SEC)

/**
 * monotonic_time - read the clock that sessions go by
 *
 * Return: nanoseconds.
 */
__u64 monotonic_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

/* From now on, read these from the descriptor. */
static int open_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGWINCH);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Track the program that the process runs now. */
static int open_program(struct session *session, pid_t pid,
			struct failure *failure)
{
	if (open_process(&session->process, pid, failure))
		return -1;
	session->tracker = open_tracker(&session->process, failure);
	return session->tracker ? 0 : -1;
}

static void close_program(struct session *session)
{
	close_tracker(session->tracker);
	session->tracker = NULL;
	close_process(&session->process);
}

/**
 * open_session - begin to track a process
 * @session: receives what is needed; close_session() gives it back, also after
 *	an error
 * @pid: the process
 * @failure: receives the error
 *
 * Signals that ask this program to end are held back from now on, until
 * session_wait() tells of them.
 *
 * Return: 0, or -1 with an error noted.
 */
int open_session(struct session *session, pid_t pid, struct failure *failure)
{
	*session = (struct session){
		.pidfd = -1,
		.signals = -1,
		.requests = -1,
	};
	if (open_program(session, pid, failure))
		return -1;
	session->pidfd = syscall(__NR_pidfd_open, pid, 0);
	if (session->pidfd < 0 && errno == ESRCH)
		return fail_exited(&session->process, failure);
	if (session->pidfd < 0)
		return fail(failure, STATUS_ERROR, "cannot watch process %d: %s",
			    pid, strerror(errno));
	session->signals = open_signals();
	if (session->signals < 0)
		return fail(failure, STATUS_ERROR, "cannot wait for signals: %s",
			    strerror(errno));
	session->time = monotonic_time();
	return 0;
}

/**
 * close_session - end the tracking
 * @session: as open_session() left it
 */
void close_session(struct session *session)
{
	free_mappings(&session->mappings);
	close_program(session);
	if (session->pidfd >= 0)
		close(session->pidfd);
	if (session->signals >= 0)
		close(session->signals);
}

static bool has_exited(const struct session *session, int milliseconds)
{
	struct pollfd poll_exit = { .fd = session->pidfd, .events = POLLIN };

	return poll(&poll_exit, 1, milliseconds) > 0;
}

/*
 * The address space is gone: find out whether the process is, too.  Between
 * the two moments of an exit there is a while in which it is neither here nor
 * there.
 */
static enum session_state follow_process(struct session *session,
					 struct failure *failure)
{
	__u64 patience = monotonic_time() + EXIT_PATIENCE;
	struct failure attempt = {};

	do {
		close_program(session);
		if (!open_program(session, session->process.pid, &attempt))
			return SESSION_EXECED;
		if (has_exited(session, 10))
			return SESSION_EXITED;
	} while (monotonic_time() < patience);
	*failure = attempt;
	return SESSION_FAILED;
}

/**
 * session_collect - get what the process wrote since the last collection
 * @session: the session
 * @visitor: takes what is found; also a part of it where the process exits or
 *	executes another program meanwhile
 * @failure: receives the error
 */
enum session_state session_collect(struct session *session,
				   const struct track_visitor *visitor,
				   struct failure *failure)
{
	struct address_range all = { 0, ~0ULL };
	enum track_result result = TRACK_GONE;
	struct failure attempt = {};

	session->time = monotonic_time();
	free_mappings(&session->mappings);
	if (!list_mappings(&session->process, &all, &session->mappings,
			   &attempt))
		result = collect_written(session->tracker, &session->mappings,
					 visitor, &attempt);
	else if (!tracker_is_orphan(session->tracker))
		result = TRACK_FAILED;
	session->collecting = monotonic_time() - session->time;

	switch (result) {
	case TRACK_OK:
		return SESSION_RUNS;
	case TRACK_GONE:
		return follow_process(session, failure);
	default:
		*failure = attempt;
		return SESSION_FAILED;
	}
}

/**
 * session_wait - wait for the next collection
 * @session: the session
 * @until: nanoseconds of the monotonic clock, or SESSION_FOREVER
 */
enum session_event session_wait(struct session *session, __u64 until)
{
	struct pollfd events[] = {
		{ .fd = session->signals, .events = POLLIN },
		{ .fd = session->pidfd, .events = POLLIN },
		{ .fd = session->requests, .events = POLLIN },
	};
	struct signalfd_siginfo signal;

	for (;;) {
		__u64 now = monotonic_time();
		__u64 left = until > now ? until - now : 0;
		struct timespec time = {
			.tv_sec = left / NSEC_PER_SEC,
			.tv_nsec = left % NSEC_PER_SEC,
		};

		switch (ppoll(events, ARRAY_SIZE(events),
			      until == SESSION_FOREVER ? NULL : &time, NULL)) {
		case 0:
			return SESSION_TIME;
		case -1:
			continue;
		}
		if (read(session->signals, &signal, sizeof(signal)) ==
		    sizeof(signal))
			return signal.ssi_signo == SIGWINCH ?
			       SESSION_RESIZED : SESSION_INTERRUPTED;
		if (events[1].revents)
			return SESSION_ENDED;
		if (events[2].revents)
			return SESSION_REQUESTED;
	}
}

/**
 * session_command - tell what the process runs
 * @session: the session
 * @command: receives its name and arguments, cut to the room there is; or "?"
 *	if that cannot be read
 */
void session_command(const struct session *session, char command[COMMAND_SIZE])
{
	ssize_t length = 0, i;
	int fd;

	fd = openat(session->process.directory, "cmdline", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, command, COMMAND_SIZE - 1);
		close(fd);
	}
	/* A process may have overwritten its arguments by a title. */
	while (length > 0 && !command[length - 1])
		length--;
	if (length <= 0) {
		command[0] = '?';
		length = 1;
	}
	for (i = 0; i < length; i++)
		if (!command[i])
			command[i] = ' ';
	command[length] = '\0';
}
