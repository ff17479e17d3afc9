// SPDX-License-Identifier: GPL-2.0-only
/*
 * criu-target: a program that writes to its memory by several threads, and
 * knows what the memory must hold, for tests/criu
 *
 *	criu-target DIRECTORY	run, until it is killed
 *	criu-target --probe	whether the kernel has PAGEMAP_SCAN
 *
 * Each thread has an area of one kind of memory, and its n-th step does
 * something to one page of it that follows from n alone.  So whatever became of
 * the memory meanwhile, all of it can be compared with what the number of steps
 * says.  Files in DIRECTORY tell the program what to do; it takes them away:
 *
 *	grant	GRANT more steps for each thread
 *	track	register all areas with a userfaultfd in async mode, and from
 *		now on call PAGEMAP_SCAN to report and protect all the time
 *	untrack	close what that opened
 *	check	stop the threads, compare, and leave the outcome in 'result':
 *		'right STEPS' or 'wrong' and why
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/pagemap_scan.h>
#include <linux/userfaultfd.h>

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	0x8000
#endif

#define GRANT		300
#define HUGE_SIZE	(2ul << 20)
#define PAGE_BYTES	4096ul
/* Steps stay within so many pages for so many steps. */
#define WINDOW_PAGES	32
#define WINDOW_STEPS	128

enum kind { ANONYMOUS, PRIVATE_FILE, SHARED, HUGE, KINDS };

struct area {
	enum kind kind;
	size_t pages;
	char *addr;
	pthread_t thread;
};

/* Only this is shared between the threads; the lock protects it. */
static struct {
	pthread_mutex_t lock;
	unsigned long granted;
	unsigned long steps[KINDS];
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Nothing here can be tested after a failure, so there is nothing to undo. */
static void check(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "criu-target: %s: %s\n", what, strerror(errno));
	exit(1);
}

static char base_byte(enum kind kind, size_t offset)
{
	return kind == PRIVATE_FILE ? (char)(offset * 7 + offset / PAGE_BYTES) :
				      0;
}

static char *map_file(const char *directory, size_t size)
{
	char path[256], *addr;
	size_t i;
	int fd;

	snprintf(path, sizeof(path), "%s/file", directory);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	check(fd >= 0 && !ftruncate(fd, size), path);
	addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(addr != MAP_FAILED, "mmap");
	for (i = 0; i < size; i++)
		addr[i] = base_byte(PRIVATE_FILE, i);
	munmap(addr, size);
	addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	return addr;
}

static void area_map(struct area *area, enum kind kind, const char *directory)
{
	static const size_t pages[KINDS] = { 512, 256, 256, 1024 };
	size_t size = pages[kind] * PAGE_BYTES;
	int flags = kind == SHARED ? MAP_SHARED : MAP_PRIVATE;

	area->kind = kind;
	area->pages = pages[kind];
	if (kind == PRIVATE_FILE)
		area->addr = map_file(directory, size);
	else
		area->addr = mmap(NULL, size + HUGE_SIZE,
				  PROT_READ | PROT_WRITE,
				  flags | MAP_ANONYMOUS, -1, 0);
	check(area->addr != MAP_FAILED, "mmap");
	if (kind == HUGE) {
		area->addr = (char *)(((uintptr_t)area->addr + HUGE_SIZE) &
				      -HUGE_SIZE);
		madvise(area->addr, size, MADV_HUGEPAGE);
	}
	/* Present from the beginning, so that a first dump has all of it. */
	if (kind != PRIVATE_FILE)
		memset(area->addr, 0, size);
}

/* A step: which page it is about, and whether it writes or drops it. */
static size_t step_page(const struct area *area, unsigned long step)
{
	unsigned long window = step / WINDOW_STEPS * 5 * WINDOW_PAGES;

	return (window + (step * 2654435761ul >> 7) % WINDOW_PAGES) %
	       area->pages;
}

static bool step_drops(const struct area *area, unsigned long step)
{
	return area->kind != SHARED && step % 11 == 3;
}

static void *write_area(void *argument)
{
	struct area *area = argument;
	unsigned long step;
	bool may;

	for (;;) {
		usleep(3000);
		pthread_mutex_lock(&state.lock);
		step = state.steps[area->kind];
		may = step < state.granted;
		if (may) {
			char *page = area->addr +
				     step_page(area, step) * PAGE_BYTES;

			if (step_drops(area, step)) {
				madvise(page, PAGE_BYTES, MADV_DONTNEED);
			} else {
				memcpy(page, &step, sizeof(step));
				memcpy(page + PAGE_BYTES - sizeof(step), &step,
				       sizeof(step));
			}
			state.steps[area->kind]++;
		}
		pthread_mutex_unlock(&state.lock);
	}
	return NULL;
}

/* What a page must hold after so many steps. */
static void expect_page(const struct area *area, size_t page, char *bytes)
{
	size_t i;

	for (i = 0; i < PAGE_BYTES; i++)
		bytes[i] = base_byte(area->kind, page * PAGE_BYTES + i);
}

/* Called with the lock held. */
static bool compare_area(const struct area *area, FILE *result)
{
	char *expected = malloc(area->pages * PAGE_BYTES), *page;
	unsigned long step;
	size_t i;

	for (i = 0; i < area->pages; i++)
		expect_page(area, i, expected + i * PAGE_BYTES);
	for (step = 0; step < state.steps[area->kind]; step++) {
		i = step_page(area, step);
		page = expected + i * PAGE_BYTES;
		if (step_drops(area, step)) {
			expect_page(area, i, page);
			continue;
		}
		memcpy(page, &step, sizeof(step));
		memcpy(page + PAGE_BYTES - sizeof(step), &step, sizeof(step));
	}
	for (i = 0; i < area->pages * PAGE_BYTES; i++) {
		if (area->addr[i] == expected[i])
			continue;
		fprintf(result, "wrong: area %d page %zu byte %zu\n",
			area->kind, i / PAGE_BYTES, i % PAGE_BYTES);
		break;
	}
	free(expected);
	return i == area->pages * PAGE_BYTES;
}

static void compare_all(const struct area *areas)
{
	FILE *result = fopen("result.new", "w");
	unsigned long steps = 0;
	bool right = true;
	int i;

	check(!!result, "result.new");
	pthread_mutex_lock(&state.lock);
	for (i = 0; i < KINDS; i++) {
		right = right && compare_area(&areas[i], result);
		steps += state.steps[i];
	}
	pthread_mutex_unlock(&state.lock);
	if (right)
		fprintf(result, "right %lu\n", steps);
	fclose(result);
	rename("result.new", "result");
}

/* Tracking, by the program itself */

struct tracker {
	int uffd;
	int pagemap;
};

static void track(struct tracker *tracker, const struct area *areas)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC,
	};
	int i;

	tracker->pagemap = open("/proc/self/pagemap", O_RDONLY);
	tracker->uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	check(tracker->uffd >= 0 && tracker->pagemap >= 0 &&
	      !ioctl(tracker->uffd, UFFDIO_API, &api), "userfaultfd");
	for (i = 0; i < KINDS; i++) {
		struct uffdio_register reg = {
			.range = {
				.start = (uintptr_t)areas[i].addr,
				.len = areas[i].pages * PAGE_BYTES,
			},
			.mode = UFFDIO_REGISTER_MODE_WP,
		};

		check(!ioctl(tracker->uffd, UFFDIO_REGISTER, &reg),
		      "UFFDIO_REGISTER");
	}
}

static void untrack(struct tracker *tracker)
{
	close(tracker->uffd);
	close(tracker->pagemap);
	tracker->uffd = -1;
}

static long scan(int pagemap, __u64 flags, const void *addr, size_t size)
{
	struct page_region vec[64];
	struct pagemap_scan_arg arg = {
		.size = sizeof(arg),
		.flags = flags,
		.start = (uintptr_t)addr,
		.len = size,
		.vec = (uintptr_t)vec,
		.vec_len = 64,
		.required_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN | PAGE_IS_SOFT_DIRTY,
	};

	return ioctl(pagemap, PAGEMAP_SCAN, &arg);
}

static void report_and_protect(struct tracker *tracker,
			       const struct area *areas)
{
	int i;

	for (i = 0; i < KINDS; i++)
		check(scan(tracker->pagemap,
			   PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED,
			   areas[i].addr, areas[i].pages * PAGE_BYTES) >= 0,
		      "PAGEMAP_SCAN");
}

/* Whether we are told to do something, once. */
static bool told(const char *what)
{
	return !unlink(what);
}

int main(int argc, char **argv)
{
	struct tracker tracker = { .uffd = -1 };
	struct area areas[KINDS] = {};
	int i;

	if (argc == 2 && !strcmp(argv[1], "--probe"))
		return scan(open("/proc/self/pagemap", O_RDONLY), 0, NULL,
			    0) < 0;
	check(argc == 2 && !chdir(argv[1]), "the directory");
	for (i = 0; i < KINDS; i++)
		area_map(&areas[i], i, argv[1]);
	for (i = 0; i < KINDS; i++)
		check(!pthread_create(&areas[i].thread, NULL, write_area,
				      &areas[i]), "pthread_create");
	for (;;) {
		if (told("grant")) {
			pthread_mutex_lock(&state.lock);
			state.granted += GRANT;
			pthread_mutex_unlock(&state.lock);
		}
		if (told("track"))
			track(&tracker, areas);
		if (told("untrack"))
			untrack(&tracker);
		if (tracker.uffd >= 0)
			report_and_protect(&tracker, areas);
		if (told("check"))
			compare_all(areas);
		usleep(10000);
	}
}
