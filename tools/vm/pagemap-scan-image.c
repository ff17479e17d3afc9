// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan: the directory that 'snapshot' writes and 'verify' compares */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pagemap-scan-image.h"
#include "pagemap-scan-ranges.h"

/* The version that is written, and the only one that is read. */
#define IMAGE_VERSION		1

#define INFO			"info"
#define MAPPINGS		"mappings"
#define NEW_MAPPINGS		"mappings.new"
#define MEMORY			"memory"

static int fail_image(const struct image *image, struct failure *failure)
{
	return fail(failure, STATUS_ERROR, "cannot write the snapshot in %s: %s",
		    image->path, strerror(errno));
}

static void init_image(struct image *image, const char *path)
{
	*image = (struct image){
		.path = path,
		.directory = -1,
		.memory = -1,
		.file = -1,
	};
}

static int open_directories(struct image *image)
{
	image->directory = open(image->path,
				O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (image->directory >= 0)
		image->memory = openat(image->directory, MEMORY,
				       O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return image->memory < 0 ? -1 : 0;
}

/**
 * create_image - begin a snapshot
 * @image: receives it; to be closed, also after an error
 * @path: name of the directory, which must not be there yet, and must stay valid
 * @process: the process that it is of
 * @failure: receives the error
 *
 * Only the user may look into it.
 *
 * Return: 0, or -1 with an error noted.
 */
int create_image(struct image *image, const char *path,
		 const struct process *process, struct failure *failure)
{
	char memory[4096];
	FILE *file;
	int fd;

	init_image(image, path);
	if (mkdir(path, 0700)) {
		if (errno != EEXIST)
			return fail_image(image, failure);
		return fail(failure, STATUS_ERROR,
			    "%s is there already; to bring that snapshot up to date, use --incremental, else choose another directory",
			    path);
	}
	image->made = true;
	snprintf(memory, sizeof(memory), "%s/%s", path, MEMORY);
	if (mkdir(memory, 0700) || open_directories(image))
		return fail_image(image, failure);
	fd = openat(image->directory, INFO,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file)
		return fail_image(image, failure);
	fprintf(file, "pagemap-scan snapshot %d\npid %d\npage size %llu\n",
		IMAGE_VERSION, process->pid, process->page_size);
	if (fclose(file))
		return fail_image(image, failure);
	return 0;
}

/**
 * open_image - open a snapshot
 * @image: receives it; to be closed, also after an error
 * @path: name of the directory, which must stay valid
 * @pid: receives the number of the process that it is of
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int open_image(struct image *image, const char *path, pid_t *pid,
	       struct failure *failure)
{
	int version = 0, fd = -1;
	FILE *file;

	init_image(image, path);
	if (!open_directories(image))
		fd = openat(image->directory, INFO, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(failure, STATUS_ERROR,
			    "%s is not a snapshot that can be read: %s; 'pagemap-scan snapshot PID -o DIR' makes one",
			    path, strerror(errno));
	file = fdopen(fd, "r");
	if (!file || fscanf(file, "pagemap-scan snapshot %d pid %d", &version,
			    pid) < 1)
		version = 0;
	if (file)
		fclose(file);
	if (version > IMAGE_VERSION)
		return fail(failure, STATUS_ERROR,
			    "%s is a snapshot of version %d, and this program reads version %d; use a newer one",
			    path, version, IMAGE_VERSION);
	if (version != IMAGE_VERSION)
		return fail(failure, STATUS_ERROR,
			    "%s is not a snapshot: its file 'info' does not say so",
			    path);
	return 0;
}

/* Remove the files in a directory; one that cannot be removed stays. */
static void remove_files(int directory)
{
	struct dirent *entry;
	DIR *list = fdopendir(dup(directory));

	while (list && (entry = readdir(list)))
		unlinkat(directory, entry->d_name, 0);
	if (list)
		closedir(list);
}

/**
 * remove_image - take back what create_image() began
 * @image: the snapshot, which is still to be closed
 */
void remove_image(struct image *image)
{
	if (!image->made)
		return;
	if (image->memory >= 0)
		remove_files(image->memory);
	if (image->directory >= 0) {
		unlinkat(image->directory, MEMORY, AT_REMOVEDIR);
		remove_files(image->directory);
	}
	rmdir(image->path);
}

/**
 * close_image - close a snapshot
 * @image: the snapshot
 */
void close_image(struct image *image)
{
	if (image->file >= 0)
		close(image->file);
	if (image->memory >= 0)
		close(image->memory);
	if (image->directory >= 0)
		close(image->directory);
}

/*
 * Have the file with an address open.  Return: 0, 1 if it is not there, and is
 * not to be made, or -1 with errno.
 */
static int use_file(struct image *image, __u64 address, bool write)
{
	__u64 base = address & ~(IMAGE_FILE_SIZE - 1);
	char name[20];

	if (image->file >= 0 && image->base == base &&
	    (image->writable || !write))
		return 0;
	if (image->file >= 0)
		close(image->file);
	snprintf(name, sizeof(name), "%llx", base);
	image->file = openat(image->memory, name, write ?
			     O_RDWR | O_CREAT | O_CLOEXEC :
			     O_RDONLY | O_CLOEXEC, 0600);
	image->base = base;
	image->writable = write;
	if (image->file >= 0)
		return 0;
	return errno == ENOENT && !write ? 1 : -1;
}

/**
 * write_image - put contents into a snapshot
 * @image: the snapshot
 * @address: where they are in the process; no file border may lie within
 * @data: the contents
 * @size: how many bytes
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int write_image(struct image *image, __u64 address, const void *data,
		size_t size, struct failure *failure)
{
	ssize_t written;

	if (use_file(image, address, true))
		return fail_image(image, failure);
	while (size) {
		written = pwrite(image->file, data, size, address - image->base);
		if (written < 0)
			return fail_image(image, failure);
		data = (const char *)data + written;
		address += written;
		size -= written;
	}
	return 0;
}

/**
 * punch_image - take contents out of a snapshot
 * @image: the snapshot
 * @range: which
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int punch_image(struct image *image, const struct address_range *range,
		struct failure *failure)
{
	__u64 address = range->start;

	while (address < range->end) {
		__u64 end = (address & ~(IMAGE_FILE_SIZE - 1)) +
			    IMAGE_FILE_SIZE;

		if (end > range->end)
			end = range->end;
		if (use_file(image, address, true) ||
		    fallocate(image->file,
			      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      address - image->base, end - address))
			return fail_image(image, failure);
		address = end;
	}
	return 0;
}

/**
 * read_image - get contents from a snapshot
 * @image: the snapshot
 * @address: where they are in the process; no file border may lie within
 * @data: receives them, zeros for what is not there
 * @size: how many bytes
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int read_image(struct image *image, __u64 address, void *data, size_t size,
	       struct failure *failure)
{
	int missing = use_file(image, address, false);
	ssize_t got = 0;

	if (!missing)
		got = pread(image->file, data, size, address - image->base);
	if (missing < 0 || got < 0)
		return fail(failure, STATUS_ERROR,
			    "cannot read the snapshot in %s: %s", image->path,
			    strerror(errno));
	memset((char *)data + got, 0, size - got);
	return 0;
}

/**
 * begin_mappings - begin a new list of the mappings
 * @image: the snapshot
 * @failure: receives the error
 *
 * Return: where to write them, for end_mappings(); or NULL with an error noted.
 */
FILE *begin_mappings(const struct image *image, struct failure *failure)
{
	int fd = openat(image->directory, NEW_MAPPINGS,
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (!file)
		fail_image(image, failure);
	return file;
}

/**
 * write_mapping - write a line of the list of mappings
 * @file: as begin_mappings() returned it
 * @mapping: the mapping, or a part of one
 * @state: whether it is tracked
 *
 * Return: 0, always; end_mappings() tells of errors.
 */
int write_mapping(FILE *file, const struct mapping *mapping,
		  enum track_state state)
{
	fprintf(file, "%s %llx-%llx %s %s\n",
		state == TRACK_OWN ? "own" : state == TRACK_NOT ? "not" :
		"tracked", mapping->range.start, mapping->range.end,
		mapping->permissions, mapping->name);
	return 0;
}

/**
 * end_mappings - put the new list of mappings in the place of the last
 * @image: the snapshot
 * @file: the list, which is closed
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int end_mappings(const struct image *image, FILE *file,
		 struct failure *failure)
{
	int error = ferror(file);

	if (fclose(file) || error ||
	    renameat(image->directory, NEW_MAPPINGS, image->directory,
		     MAPPINGS))
		return fail_image(image, failure);
	return 0;
}

/**
 * read_tracked - tell which addresses a snapshot follows
 * @image: the snapshot
 * @tracked: receives them, to be freed
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int read_tracked(const struct image *image, struct range_list *tracked,
		 struct failure *failure)
{
	int fd = openat(image->directory, MAPPINGS, O_RDONLY | O_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	struct address_range range;
	char *line = NULL, state[8];
	size_t room = 0;
	int error = 0;

	*tracked = (struct range_list){};
	if (!file)
		return fail(failure, STATUS_ERROR,
			    "the snapshot in %s is not complete: it has no list of mappings; make a new one",
			    image->path);
	while (!error && getline(&line, &room, file) > 0) {
		if (sscanf(line, "%7s %llx-%llx", state, &range.start,
			   &range.end) == 3 && !strcmp(state, "tracked"))
			error = add_range(tracked, range.start, range.end,
					  failure);
	}
	free(line);
	fclose(file);
	return error;
}

/**
 * image_socket - get at the one who tracks the process for a snapshot
 * @image: the snapshot
 * @serve: whether to be that one
 * @failure: receives the error
 *
 * Return: a socket that listens, or one that is connected; or -1 with an error
 * noted.
 */
int image_socket(const struct image *image, bool serve, struct failure *failure)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	const struct sockaddr *address = (const struct sockaddr *)&name;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	/* The path of the directory may be longer than there is room. */
	snprintf(name.sun_path, sizeof(name.sun_path), "/proc/self/fd/%d/%s",
		 image->directory, IMAGE_SOCKET);
	if (fd >= 0 && serve && !bind(fd, address, sizeof(name)) &&
	    !listen(fd, 1))
		return fd;
	if (fd >= 0 && !serve && !connect(fd, address, sizeof(name)))
		return fd;

	if (serve)
		fail_image(image, failure);
	else
		fail(failure, STATUS_ERROR,
		     "nobody tracks the process of the snapshot in %s any more, so that what it wrote since is not known; make a new snapshot",
		     image->path);
	if (fd >= 0)
		close(fd);
	return -1;
}
