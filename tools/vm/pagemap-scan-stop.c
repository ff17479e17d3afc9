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
		if (stopped->threads[i].id == thread)
			return true;
	return false;
}

/* Have room for one thread more. */
static int make_room(struct stopped *stopped, struct failure *failure)
{
	size_t room = stopped->room ? 2 * stopped->room : 64;
	struct stopped_thread *larger;

	if (stopped->count < stopped->room)
		return 0;
	larger = reallocarray(stopped->threads, room, sizeof(*larger));
	if (!larger)
		return fail_memory(failure);
	stopped->threads = larger;
	stopped->room = room;
	return 0;
}

/* Note why a thread cannot be stopped, by errno. */
static int fail_stop(pid_t pid, pid_t thread, struct failure *failure)
{
	char path[64], line[80];
	int error = errno, tracer = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, thread);
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

/*
 * A signal may come first, and stop the thread before it is delivered; it is
 * kept, and delivered when the thread goes on.
 *
 * Return: 0, also where the thread has ended, or -1 with an error noted.
 */
static int stop_thread(struct stopped *stopped, pid_t thread,
		       struct failure *failure)
{
	int status;

	if (make_room(stopped, failure))
		return -1;
	if (ptrace(PTRACE_SEIZE, thread, NULL, NULL))
		return errno == ESRCH ? 0 :
		       fail_stop(stopped->pid, thread, failure);
	if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) ||
	    waitpid(thread, &status, __WALL) != thread ||
	    !WIFSTOPPED(status))
		return 0;
	stopped->threads[stopped->count++] = (struct stopped_thread){
		.id = thread,
		.signal = status >> 16 ? 0 : WSTOPSIG(status),
	};
	return 0;
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
		ptrace(PTRACE_DETACH, stopped->threads[i].id, NULL,
		       (long)stopped->threads[i].signal);
	free(stopped->threads);
	*stopped = (struct stopped){};
}
