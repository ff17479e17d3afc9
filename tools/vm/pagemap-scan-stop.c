// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan: a process that stands still for a moment
 *
 * By ptrace(2), which sends no signal: nobody but the process is concerned, and
 * a parent is not told.  If this program dies, the kernel lets it go on.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "pagemap-scan-stop.h"

static bool is_stopped(const struct stopped *stopped, pid_t thread)
{
	size_t i;

	for (i = 0; i < stopped->count; i++)
		if (stopped->threads[i] == thread)
			return true;
	return false;
}

static int add_thread(struct stopped *stopped, pid_t thread,
		      struct failure *failure)
{
	if (stopped->count == stopped->room) {
		size_t room = stopped->room ? 2 * stopped->room : 64;
		pid_t *larger = reallocarray(stopped->threads, room,
					     sizeof(*larger));

		if (!larger)
			return fail_memory(failure);
		stopped->threads = larger;
		stopped->room = room;
	}
	stopped->threads[stopped->count++] = thread;
	return 0;
}

/* Note why a process cannot be stopped, by errno. */
static int fail_stop(pid_t pid, struct failure *failure)
{
	char path[40], line[80];
	int error = errno, tracer = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = fopen(path, "re");
	while (status && fgets(line, sizeof(line), status))
		sscanf(line, "TracerPid: %d", &tracer);
	if (status)
		fclose(status);
	if (error == EPERM && tracer)
		return fail(failure, STATUS_ERROR,
			    "process %d cannot be stopped, as process %d traces it already (a debugger?); end that first",
			    pid, tracer);
	if (error == EPERM)
		return fail(failure, STATUS_ERROR,
			    "no permission to stop process %d; try sudo", pid);
	return fail(failure, STATUS_ERROR, "cannot stop process %d: %s", pid,
		    strerror(error));
}

/* Return: 0, also where the thread has ended, or -1 with errno. */
static int stop_thread(struct stopped *stopped, pid_t thread,
		       struct failure *failure)
{
	int status;

	if (ptrace(PTRACE_SEIZE, thread, NULL, NULL))
		return errno == ESRCH ? 0 : fail_stop(stopped->pid, failure);
	if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) ||
	    waitpid(thread, &status, __WALL) != thread ||
	    !WIFSTOPPED(status))
		return 0;
	return add_thread(stopped, thread, failure);
}

/**
 * stop_process - stop all threads of a process
 * @stopped: receives them; continue_process() lets them go, also after an error
 * @pid: the process
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int stop_process(struct stopped *stopped, pid_t pid, struct failure *failure)
{
	struct dirent *entry;
	size_t before;
	char path[40];
	DIR *tasks;
	int error = 0;

	*stopped = (struct stopped){ .pid = pid };
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	/* Until there is no thread that one of the others began meanwhile */
	do {
		before = stopped->count;
		tasks = opendir(path);
		if (!tasks)
			return fail(failure, STATUS_ERROR,
				    "there is no process %d any more", pid);
		while (!error && (entry = readdir(tasks))) {
			pid_t thread = atoi(entry->d_name);

			if (thread && !is_stopped(stopped, thread))
				error = stop_thread(stopped, thread, failure);
		}
		closedir(tasks);
	} while (!error && stopped->count != before);
	if (!error && !stopped->count)
		error = fail(failure, STATUS_ERROR,
			     "there is no process %d any more", pid);
	return error;
}

/**
 * continue_process - let a process go on
 * @stopped: what was stopped of it
 */
void continue_process(struct stopped *stopped)
{
	size_t i;

	for (i = 0; i < stopped->count; i++)
		ptrace(PTRACE_DETACH, stopped->threads[i], NULL, NULL);
	free(stopped->threads);
	*stopped = (struct stopped){};
}
