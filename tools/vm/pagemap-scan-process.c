// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan: a process and its mappings */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pagemap-scan-process.h"

/* Note why there is no /proc/PID, or nothing in it. */
static int fail_no_process(pid_t pid, struct failure *failure)
{
	if (access("/proc/self/maps", F_OK))
		return fail(failure, STATUS_ERROR,
			    "/proc is not mounted; do: mount -t proc none /proc");
	if (!kill(pid, 0) || errno == EPERM)
		return fail(failure, STATUS_ERROR,
			    "process %d is hidden from this user, as /proc is mounted with hidepid; run this as root",
			    pid);
	return fail(failure, STATUS_ERROR,
		    "there is no process %d; ps(1) lists those that run", pid);
}

/**
 * fail_exited - note that the process went away
 * @process: the process
 * @failure: receives the error
 *
 * Return: -1.
 */
int fail_exited(const struct process *process, struct failure *failure)
{
	return fail(failure, STATUS_ERROR,
		    "process %d exited, or started another program, while it was scanned; try again if it still runs",
		    process->pid);
}

static int fail_no_memory(pid_t pid, struct failure *failure)
{
	return fail(failure, STATUS_ERROR,
		    "process %d has no memory: it is a thread of the kernel, or it has exited and waits for its parent",
		    pid);
}

static bool process_exists(const struct process *process)
{
	return !faccessat(process->directory, "stat", F_OK, 0);
}

/* Note why a file in /proc/PID cannot be opened, by errno. */
static int fail_open(const struct process *process, const char *file,
		     struct failure *failure)
{
	pid_t pid = process->pid;

	if (errno == EACCES || errno == EPERM)
		return fail(failure, STATUS_ERROR,
			    "no permission to read /proc/%d/%s: it takes the user who runs the process (and a process that is not setuid or otherwise protected), or CAP_SYS_PTRACE; try sudo",
			    pid, file);
	/* Kernels that are newer than 6.1 open no pagemap without memory. */
	if (errno == ESRCH && process_exists(process))
		return fail_no_memory(pid, failure);
	if (errno == ENOENT && process_exists(process))
		return fail(failure, STATUS_ERROR,
			    "this kernel has no /proc/%d/%s: it must be built with CONFIG_PROC_PAGE_MONITOR",
			    pid, file);
	if (errno == ENOENT || errno == ESRCH)
		return fail_no_process(pid, failure);
	return fail(failure, STATUS_ERROR, "cannot open /proc/%d/%s: %s", pid,
		    file, strerror(errno));
}

/**
 * read_maps - read the maps file
 * @process: the process
 * @fd: the file
 * @failure: receives the error
 *
 * Return: its text, with a zero at the end, to be freed; or NULL with an error
 * noted.
 */
static char *read_maps(const struct process *process, int fd,
		       struct failure *failure)
{
	size_t length = 0;
	size_t room = 0;
	char *text = NULL;
	ssize_t got;

	do {
		if (room - length < 4096) {
			char *larger = realloc(text, room + 65536);

			if (!larger) {
				free(text);
				fail_memory(failure);
				return NULL;
			}
			text = larger;
			room += 65536;
		}
		got = read(fd, text + length, room - length - 1);
		if (got < 0) {
			free(text);
			if (errno == ESRCH)
				fail_exited(process, failure);
			else
				fail(failure, STATUS_ERROR,
				     "cannot read /proc/%d/maps: %s",
				     process->pid, strerror(errno));
			return NULL;
		}
		length += got;
	} while (got);
	text[length] = '\0';
	return text;
}

/**
 * parse_mapping - read a line of the maps file
 * @line: the line, without its end
 * @mapping: receives the mapping
 *
 * Return: whether it was such a line.
 */
static bool parse_mapping(const char *line, struct mapping *mapping)
{
	int name = 0;

	if (sscanf(line, "%llx-%llx %4s %*s %*s %*s %n",
		   &mapping->range.start, &mapping->range.end,
		   mapping->permissions, &name) != 3)
		return false;
	mapping->name = line + name;
	return name;
}

static int add_mapping(struct mapping_list *list, size_t *room,
		       const struct mapping *mapping, struct failure *failure)
{
	if (list->count == *room) {
		size_t doubled = *room ? 2 * *room : 256;
		struct mapping *larger = reallocarray(list->mappings, doubled,
						      sizeof(*larger));

		if (!larger)
			return fail_memory(failure);
		list->mappings = larger;
		*room = doubled;
	}
	list->mappings[list->count++] = *mapping;
	return 0;
}

/**
 * parse_maps - cut the text of the maps file into mappings
 * @process: the process
 * @wanted: which addresses are of interest
 * @list: has the text, receives the mappings
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
static int parse_maps(const struct process *process,
		      const struct address_range *wanted,
		      struct mapping_list *list, struct failure *failure)
{
	/* Whole pages are scanned; a range may start or end within one. */
	__u64 in_page = process->page_size - 1;
	__u64 next = wanted->start & ~in_page;
	__u64 limit = wanted->end > ~in_page ? ULLONG_MAX :
		      (wanted->end + in_page) & ~in_page;
	char *line, *rest = list->text;
	size_t room = 0;

	while ((line = strsep(&rest, "\n")) && *line) {
		struct mapping mapping;

		if (!parse_mapping(line, &mapping))
			return fail(failure, STATUS_ERROR,
				    "this line of /proc/%d/maps is not understood: %s",
				    process->pid, line);

		/*
		 * The file is read in pieces.  In between a mapping may grow
		 * or be joined with its neighbour, and then be listed again.
		 */
		if (mapping.range.start < next)
			mapping.range.start = next;
		if (mapping.range.end > limit)
			mapping.range.end = limit;
		if (mapping.range.start >= mapping.range.end)
			continue;
		next = mapping.range.end;
		if (add_mapping(list, &room, &mapping, failure))
			return -1;
	}
	return 0;
}

/**
 * list_mappings - read which mappings the process has
 * @process: the process
 * @wanted: which addresses are of interest; mappings are cut to these
 * @list: receives the mappings, to be given back by free_mappings(), also
 *	after an error
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int list_mappings(const struct process *process,
		  const struct address_range *wanted,
		  struct mapping_list *list, struct failure *failure)
{
	int fd = openat(process->directory, "maps", O_RDONLY | O_CLOEXEC);

	*list = (struct mapping_list){};
	if (fd < 0)
		return fail_open(process, "maps", failure);
	list->text = read_maps(process, fd, failure);
	close(fd);
	if (!list->text)
		return -1;
	if (!*list->text)
		return fail_no_memory(process->pid, failure);
	return parse_maps(process, wanted, list, failure);
}

/**
 * free_mappings - give back what list_mappings() made
 * @list: the list, which may also be all zeros
 */
void free_mappings(struct mapping_list *list)
{
	free(list->mappings);
	free(list->text);
}

/**
 * open_process - open the pagemap file of a process
 * @process: receives it; close_process() gives it back, also after an error
 * @pid: the number of the process
 * @failure: receives the error
 *
 * The pagemap file comes before the mappings are read: it stays with the
 * address space that it was opened on, so if the process changes that by exec
 * before maps is opened, the scan says so instead of mixing the two.
 *
 * Return: 0, or -1 with an error noted.
 */
int open_process(struct process *process, pid_t pid, struct failure *failure)
{
	char path[32];

	process->pid = pid;
	process->pagemap = -1;
	process->page_size = sysconf(_SC_PAGESIZE);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	process->directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process->directory < 0)
		return fail_no_process(pid, failure);

	process->pagemap = openat(process->directory, "pagemap",
				  O_RDONLY | O_CLOEXEC);
	if (process->pagemap < 0)
		return fail_open(process, "pagemap", failure);
	return 0;
}

/**
 * close_process - close what open_process() opened
 * @process: the process
 */
void close_process(struct process *process)
{
	if (process->pagemap >= 0)
		close(process->pagemap);
	if (process->directory >= 0)
		close(process->directory);
}
