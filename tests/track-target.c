// SPDX-License-Identifier: GPL-2.0-only
/*
 * track-target: a process that writes on demand, for tests/tool-track
 *
 *	track-target DIRECTORY-FOR-FILES
 *
 * Maps memory of several kinds, prints a line 'KIND START END' for each
 * mapping and 'ready', and then does what the lines of its standard input say
 * (see do_command()): each is answered by one line.  Exits when the input ends.
 * Between two commands nothing is written, and a command writes what it is told
 * to, the stack and static data of the program, but no heap.
 *
 *	track-target --protected PID	how many pages of PID have bit 57
 *	track-target --signal PID N	send N queued signals
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/pagemap_scan.h>
#include <linux/seccomp.h>

#include "target.h"

#define HUGE_SIZE		(2ul << 20)
#define PAGES			64
#define MAX_AREAS		16
#define MAX_THREADS		8

#if defined(__x86_64__)
#define OWN_ARCH		AUDIT_ARCH_X86_64
#else
#define OWN_ARCH		AUDIT_ARCH_I386
#endif

/**
 * struct area - memory with a name
 * @name: the kind of memory
 * @memory: its first byte
 * @pages: how many pages it has
 */
struct area {
	char name[16];
	char *memory;
	size_t pages;
};

static struct area areas[MAX_AREAS];
static size_t area_count;
static size_t page_size;
static const char *program;
static const char *directory;
static int own_uffd = -1;
static int own_pagemap = -1;

/* Print without a buffer that would be allocated. */
static __attribute__((format(printf, 1, 2))) void say(const char *format, ...)
{
	static char text[256];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	check(write(STDOUT_FILENO, text, length) == length, "write");
}

/* A number from 1 to 255 that differs from the last one. */
static unsigned char next_value(void)
{
	static unsigned char value;

	value = value % 255 + 1;
	return value;
}

static void write_pages(const struct area *area, size_t first, size_t count)
{
	unsigned char value = next_value();
	size_t page;

	for (page = first; page < first + count; page++)
		area->memory[page * page_size + page % page_size] = value;
}

static void read_pages(const struct area *area, size_t first, size_t count)
{
	size_t page;

	for (page = first; page < first + count; page++)
		*(volatile const char *)(area->memory + page * page_size);
}

static struct area *add_area(const char *name, char *memory, size_t pages)
{
	struct area *area = &areas[area_count++];

	check(area_count < MAX_AREAS, "too many areas");
	snprintf(area->name, sizeof(area->name), "%s", name);
	area->memory = memory;
	area->pages = pages;
	say("%s %lx %lx\n", name, (unsigned long)memory,
	    (unsigned long)memory + pages * page_size);
	return area;
}

static struct area *find_area(const char *name)
{
	size_t i;

	for (i = 0; i < area_count; i++)
		if (!strcmp(areas[i].name, name))
			return &areas[i];
	errno = ENOENT;
	check(0, name);
	return NULL;
}

/* A page without access on both sides keeps neighbours apart. */
static char *map_apart(size_t size, int flags, int fd)
{
	char *memory = mmap(NULL, size + 2 * page_size, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(memory != MAP_FAILED, "mmap");
	memory = mmap(memory + page_size, size, PROT_READ | PROT_WRITE,
		      flags | MAP_FIXED, fd, 0);
	check(memory != MAP_FAILED, "mmap");
	return memory;
}

static struct area *map_anonymous(const char *name, size_t pages)
{
	char *memory = map_apart(pages * page_size,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1);

	advise(memory, pages * page_size, MADV_NOHUGEPAGE);
	return add_area(name, memory, pages);
}

static int make_file(const char *name, size_t pages)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	check(fd >= 0, path);
	check(!ftruncate(fd, pages * page_size), "ftruncate");
	return fd;
}

static void make_thp(void)
{
	char *memory = mmap(NULL, 4 * HUGE_SIZE, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(memory != MAP_FAILED, "mmap");
	memory = (char *)(((uintptr_t)memory + HUGE_SIZE) & ~(HUGE_SIZE - 1));
	check(!mprotect(memory, 2 * HUGE_SIZE, PROT_READ | PROT_WRITE),
	      "mprotect");
	advise(memory, 2 * HUGE_SIZE, MADV_HUGEPAGE);
	/* One huge page is there from the start. */
	memory[0] = next_value();
	add_area("thp", memory, 2 * HUGE_SIZE / page_size);
}

/* Two hugetlb pages where there are any, the first written. */
static void make_hugetlb(void)
{
	char *memory = mmap(NULL, 2 * HUGE_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (memory == MAP_FAILED)
		return;
	memory[0] = next_value();
	add_area("hugetlb", memory, 2 * HUGE_SIZE / page_size);
}

/* Of each kind, the first 16 pages are written before anybody looks. */
static void make_areas(void)
{
	int fd;

	write_pages(map_anonymous("anon", PAGES), 0, 16);
	fd = memfd_create("track-target", MFD_CLOEXEC);
	check(fd >= 0 && !ftruncate(fd, PAGES * page_size), "memfd");
	write_pages(add_area("memfd", map_apart(PAGES * page_size, MAP_SHARED,
						fd), PAGES), 0, 16);
	fd = make_file("private", PAGES);
	write_pages(add_area("private", map_apart(PAGES * page_size,
						  MAP_PRIVATE, fd), PAGES),
		    0, 16);
	fd = make_file("shared", PAGES);
	write_pages(add_area("shared", map_apart(PAGES * page_size, MAP_SHARED,
						 fd), PAGES), 0, 16);
	make_thp();
	make_hugetlb();
}

/* Commands. */

/* By MAX_THREADS threads at once, each with a part. */
struct part {
	const struct area *area;
	size_t first;
	size_t count;
};

static void *write_part(void *data)
{
	const struct part *part = data;

	write_pages(part->area, part->first, part->count);
	return NULL;
}

static void write_by_threads(const struct area *area, size_t first,
			     size_t count)
{
	static struct part parts[MAX_THREADS];
	static pthread_t threads[MAX_THREADS];
	size_t i;

	for (i = 0; i < MAX_THREADS; i++) {
		parts[i].area = area;
		parts[i].first = first + count * i / MAX_THREADS;
		parts[i].count = first + count * (i + 1) / MAX_THREADS -
				 parts[i].first;
		check(!pthread_create(&threads[i], NULL, write_part, &parts[i]),
		      "pthread_create");
	}
	for (i = 0; i < MAX_THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void grow_heap(size_t count)
{
	char *end = sbrk(0);
	struct area heap = { .pages = count };

	/* Whole pages, behind what there was. */
	check(sbrk(-(uintptr_t)end & (page_size - 1)) != (void *)-1, "sbrk");
	heap.memory = sbrk(count * page_size);
	check(heap.memory != (void *)-1, "sbrk");
	write_pages(&heap, 0, count);
}

/* A child that writes, and ends. */
static void write_in_child(const struct area *area, size_t first, size_t count)
{
	pid_t child = fork();
	int status;

	check(child >= 0, "fork");
	if (!child) {
		write_pages(area, first, count);
		_exit(0);
	}
	check(waitpid(child, &status, 0) == child && !status, "the child");
}

/* Make two mappings of one, and one of them again. */
static void split(const struct area *area, size_t first, size_t count)
{
	check(!mprotect(area->memory + first * page_size, count * page_size,
			PROT_READ), "mprotect");
}

static void unsplit(const struct area *area, size_t first, size_t count)
{
	check(!mprotect(area->memory + first * page_size, count * page_size,
			PROT_READ | PROT_WRITE), "mprotect");
}

/* In asynchronous mode, or with no features, to answer each fault itself. */
static void track_own(const struct area *area, uint64_t features)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = features,
	};
	struct uffdio_register registration = {
		.range = { (uintptr_t)area->memory, area->pages * page_size },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	own_pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	check(own_pagemap >= 0, "/proc/self/pagemap");
	own_uffd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	check(own_uffd >= 0, "userfaultfd");
	check(!ioctl(own_uffd, UFFDIO_API, &api), "UFFDIO_API");
	check(!ioctl(own_uffd, UFFDIO_REGISTER, &registration),
	      "UFFDIO_REGISTER");
}

/* How many pages were written since the last time. */
static void collect_own(const struct area *area)
{
	struct pagemap_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PAGEMAP_WP_ENGAGE,
		.start = (uintptr_t)area->memory,
		.len = area->pages * page_size,
		.required_mask = PAGE_IS_WRITTEN,
	};

	check(!ioctl(own_pagemap, PAGEMAP_SCAN, &arg), "PAGEMAP_SCAN");
	say("%u\n", (unsigned int)arg.pages);
}

/* From now on: to read commands, to answer them, and to end. */
static void forbid_all(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_read, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_write, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit_group, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog rules = {
		.len = sizeof(filter) / sizeof(filter[0]),
		.filter = filter,
	};

	check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
	check(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &rules),
	      "PR_SET_SECCOMP");
}

static volatile sig_atomic_t signals;

static void count_signal(int signal)
{
	(void)signal;
	signals++;
}

/* Every signal is counted, and interrupts what can be interrupted. */
static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = count_signal };
	int number;

	for (number = 1; number <= SIGRTMAX; number++)
		sigaction(number, &action, NULL);
}

static int64_t microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static volatile bool feeding;

/* A byte every two milliseconds. */
static void *feed(void *data)
{
	while (feeding) {
		usleep(2000);
		check(write(*(int *)data, "", 1) == 1, "write to a pipe");
	}
	return NULL;
}

/*
 * Sleep, wait, read and write, each of which a signal, a stop or a failed
 * access would disturb.
 */
static void stay_calm(const struct area *area, int64_t milliseconds)
{
	const struct timespec moment = { .tv_nsec = 2000000 };
	int64_t end = microseconds() + milliseconds * 1000;
	unsigned int rounds = 0, interrupted = 0, shortened = 0, lost = 0;
	int waiting = epoll_create1(EPOLL_CLOEXEC);
	int ends[2];
	pthread_t feeder;
	char byte;

	check(waiting >= 0 && !pipe2(ends, O_CLOEXEC), "pipe");
	catch_signals();
	signals = 0;
	feeding = true;
	check(!pthread_create(&feeder, NULL, feed, &ends[1]), "pthread_create");
	while (microseconds() < end) {
		int64_t start = microseconds();
		struct epoll_event event;
		size_t i;

		if (clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL))
			interrupted++;
		if (microseconds() - start < 2000)
			shortened++;
		start = microseconds();
		if (epoll_wait(waiting, &event, 1, 2) < 0)
			interrupted++;
		if (microseconds() - start < 1900)
			shortened++;
		if (read(ends[0], &byte, 1) != 1)
			interrupted++;
		write_pages(area, 0, area->pages);
		for (i = 1; i < area->pages; i++)
			lost += area->memory[i * page_size + i] !=
				area->memory[0];
		rounds++;
	}
	feeding = false;
	pthread_join(feeder, NULL);
	close(ends[0]);
	close(ends[1]);
	close(waiting);
	say("%s %u interrupted %d signals %u short %u lost\n",
	    rounds > 10 ? "calm" : "too-few-rounds", interrupted, signals,
	    shortened, lost);
}

/* Wait until that many signals have come, or the time is up. */
static void await_signals(int wanted, int64_t milliseconds)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	int64_t end = microseconds() + milliseconds * 1000;

	catch_signals();
	signals = 0;
	say("listening\n");
	while (signals < wanted && microseconds() < end)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
	say("%d\n", signals);
}

static void unmap(const char *name)
{
	struct area *area = find_area(name);

	check(!munmap(area->memory, area->pages * page_size), "munmap");
	*area = areas[--area_count];
}

/* VERB [KIND] [FIRST COUNT], both in pages */
static void do_command(const char *verb, const char *kind, long first,
		       long count)
{
	const struct area *area = NULL;
	char *memory = NULL;

	if (!strcmp(verb, "grow")) {
		grow_heap(first);
	} else if (!strcmp(verb, "map")) {
		write_pages(map_anonymous(kind, first), 0, first);
		return;
	} else if (!strcmp(verb, "unmap")) {
		unmap(kind);
	} else if (!strcmp(verb, "strict")) {
		forbid_all();
	} else if (!strcmp(verb, "undumpable")) {
		check(!prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE");
	} else if (!strcmp(verb, "exec")) {
		execl(program, program, directory, NULL);
		check(0, program);
	} else if (!strcmp(verb, "signals")) {
		await_signals(first, count);
		return;
	} else {
		area = find_area(kind);
		memory = area->memory + first * page_size;
	}

	if (!area) {
		say("done\n");
		return;
	}
	if (!strcmp(verb, "write"))
		write_pages(area, first, count);
	else if (!strcmp(verb, "read"))
		read_pages(area, first, count);
	else if (!strcmp(verb, "threads"))
		write_by_threads(area, first, count);
	else if (!strcmp(verb, "drop"))
		check(!madvise(memory, count * page_size, MADV_DONTNEED),
		      "MADV_DONTNEED");
	else if (!strcmp(verb, "remove"))
		check(!madvise(memory, count * page_size, MADV_REMOVE),
		      "MADV_REMOVE");
	else if (!strcmp(verb, "pageout"))
		check(!madvise(memory, count * page_size, MADV_PAGEOUT),
		      "MADV_PAGEOUT");
	else if (!strcmp(verb, "fork"))
		write_in_child(area, first, count);
	else if (!strcmp(verb, "split"))
		split(area, first, count);
	else if (!strcmp(verb, "unsplit"))
		unsplit(area, first, count);
	else if (!strcmp(verb, "own"))
		track_own(area, UFFD_FEATURE_WP_ASYNC);
	else if (!strcmp(verb, "own-synchronous"))
		track_own(area, 0);
	else if (!strcmp(verb, "calm"))
		return stay_calm(area, first);
	else if (!strcmp(verb, "own-written"))
		return collect_own(area);
	else
		check(0, verb);
	say("done\n");
}

/* A line of the input. */
static bool read_line(char *line, size_t size)
{
	size_t length = 0;

	while (length + 1 < size && read(STDIN_FILENO, line + length, 1) == 1) {
		if (line[length] == '\n') {
			line[length] = '\0';
			return true;
		}
		length++;
	}
	return false;
}

static int serve(void)
{
	static char line[256], verb[16], kind[16];

	make_areas();
	say("ready\n");
	while (read_line(line, sizeof(line))) {
		long first = 0, count = 0;

		*kind = '\0';
		if (sscanf(line, "%15s %15[a-z] %ld %ld", verb, kind, &first,
			   &count) == 1)
			sscanf(line, "%*s %ld %ld", &first, &count);
		do_command(verb, kind, first, count);
	}
	return 0;
}

/* Looking at others. */

static int count_protected(const char *pid)
{
	unsigned long long start, end;
	static uint64_t entries[4096];
	unsigned long found = 0;
	char path[64], line[4096];
	FILE *maps;
	int pagemap;

	snprintf(path, sizeof(path), "/proc/%s/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	check(pagemap >= 0, path);
	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	maps = fopen(path, "re");
	check(maps != NULL, path);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%llx-%llx", &start, &end) != 2)
			continue;
		for (start /= page_size; start < end / page_size;) {
			uint64_t count = end / page_size - start;
			ssize_t got;

			if (count > sizeof(entries) / sizeof(*entries))
				count = sizeof(entries) / sizeof(*entries);
			got = pread(pagemap, entries, count * sizeof(*entries),
				    start * sizeof(*entries));
			if (got <= 0)
				break;
			start += got / sizeof(*entries);
			while (got) {
				got -= sizeof(*entries);
				found += entries[got / sizeof(*entries)] >> 57 &
					 1;
			}
		}
	}
	printf("%lu\n", found);
	return 0;
}

static int send_signals(pid_t pid, int count)
{
	union sigval value = {};
	int sent;

	for (sent = 0; sent < count; sent++)
		while (sigqueue(pid, SIGRTMIN, value) && errno == EAGAIN)
			usleep(100);
	return 0;
}

int main(int argc, char **argv)
{
	page_size = sysconf(_SC_PAGESIZE);
	program = argv[0];
	if (argc == 3 && !strcmp(argv[1], "--protected"))
		return count_protected(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "--signal"))
		return send_signals(atoi(argv[2]), atoi(argv[3]));
	if (argc != 2) {
		fprintf(stderr, "usage: track-target DIRECTORY-FOR-FILES\n");
		return 2;
	}
	directory = argv[1];
	return serve();
}
