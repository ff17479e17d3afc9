// SPDX-License-Identifier: GPL-2.0-only
/* What the pagemap_scan tests share; see pagemap_scan_util.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <linux/falloc.h>
#include <linux/loop.h>
#include <linux/mempolicy.h>

#include "../kselftest.h"
#include "../../../../lib/test_hmm_uapi.h"
#include "pagemap_scan_util.h"

#define THP_SYSFS	"/sys/kernel/mm/transparent_hugepage/"
#define KSM_SYSFS	"/sys/kernel/mm/ksm/"
#define HUGETLB_PAGES	48
#define IMAGE_SIZE	(64UL << 20)

/* glibc's <sys/mount.h> and <sys/swap.h> clash with <linux/mount.h>. */
static int mount_at(const char *source, const char *target, const char *type,
		    unsigned long flags, const char *data)
{
	return syscall(__NR_mount, source, target, type, flags, data);
}

/* Say what failed and why. */
static int failed(const char *what)
{
	fprintf(stderr, "# %s: %s\n", what, strerror(errno));
	return -1;
}

size_t page_size(void)
{
	static size_t size;

	if (!size)
		size = sysconf(_SC_PAGESIZE);
	return size;
}

/* What a file in /proc or /sys says, as a string. */
static int tunable_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, text, size - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	return 0;
}

/**
 * tunable_read() - read a number from a file in /proc or /sys
 * @path:	the file
 *
 * Return: the number, or -1.
 */
long tunable_read(const char *path)
{
	char text[64];

	if (tunable_text(path, text, sizeof(text)))
		return -1;
	return strtol(text, NULL, 10);
}

/**
 * huge_size() - the size of what one entry of the second level maps
 *
 * Return: bytes.
 */
size_t huge_size(void)
{
	static long size;

	if (!size)
		size = tunable_read(THP_SYSFS "hpage_pmd_size");
	if (size <= 0)
		size = 2 << 20;
	return size;
}

/* Whether all processes have 32 bits, not only this one. */
bool kernel_is_32_bit(void)
{
	struct utsname name;

	return sizeof(long) == 4 && !uname(&name) &&
	       !strstr(name.machine, "64") && strcmp(name.machine, "s390x");
}

/* Whether a page can be mapped at an address, or is. */
static bool can_be_mapped(unsigned long addr)
{
	void *p = mmap((void *)addr, page_size(), PROT_NONE, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == MAP_FAILED)
		return errno == EEXIST;
	munmap(p, page_size());
	return true;
}

/**
 * end_of_addresses() - where the addresses of this process end
 *
 * Found by trying, as it depends on the machine and the kernel.
 *
 * Return: the first address that it can't have.
 */
__u64 end_of_addresses(void)
{
	static unsigned long end;
	unsigned long last = (uintptr_t)&end / page_size();
	unsigned long beyond = ~0UL / page_size();

	if (end)
		return end;
	while (beyond - last > 1) {
		unsigned long middle = last + (beyond - last) / 2;

		if (can_be_mapped(middle * page_size()))
			last = middle;
		else
			beyond = middle;
	}
	end = beyond * page_size();
	return end;
}

/**
 * nanoseconds() - a clock for measuring intervals
 *
 * Return: nanoseconds since some time in the past.
 */
unsigned long long nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/**
 * milliseconds() - the same in milliseconds
 *
 * Return: milliseconds since some time in the past.
 */
unsigned long milliseconds(void)
{
	return nanoseconds() / 1000000;
}

/**
 * seconds() - the same in seconds
 *
 * Return: seconds since some time in the past.
 */
time_t seconds(void)
{
	return nanoseconds() / 1000000000;
}

/**
 * asked_for() - whether the command line asks for a row, or for all
 * @name:	the row's name
 * @argc:	how many words the command line has
 * @argv:	these words; those behind the first name rows
 *
 * Return: whether @name is one of them, or there are none.
 */
bool asked_for(const char *name, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], name))
			return true;
	}
	return argc < 2;
}

/**
 * test_duration() - how long a case goes on that could do so for ever
 * @normal:	milliseconds that it takes where nobody has more time
 *
 * Return: milliseconds; PAGEMAP_SCAN_SECONDS in the environment asks for more.
 */
unsigned long test_duration(unsigned long normal)
{
	const char *text = getenv("PAGEMAP_SCAN_SECONDS");

	return text && atol(text) > 0 ? atol(text) * 1000UL : normal;
}

/* The machine */

struct tunable {
	char path[96];
	char value[64];
};

/* State of the machine that is given back when the test program ends. */
static struct {
	pid_t owner;
	unsigned int parts;
	struct tunable tunables[16];
	int tunable_count;
	char directory[64];
	char tmpfs[80];
	char ext4[80];
	char swap_device[32];
	int swap_loop;
	bool swap_on;
} machine = { .swap_loop = -1 };

bool machine_has(unsigned int parts)
{
	return (machine.parts & parts) == parts;
}

/**
 * machine_has_soft_dirty() - whether the kernel tells which pages are soft-dirty
 *
 * Told by a new mapping's flags, as the page's bits are what is tested.
 *
 * Return: whether it does; true after a message.
 */
bool machine_has_soft_dirty(void)
{
	char *p = map_pages(1, PROT_READ | PROT_WRITE);
	bool dirty = !p || vma_has_flag(p, "sd");

	munmap(p, page_size());
	return dirty;
}

/**
 * machine_tmpfs() - a directory on tmpfs that the test may write to
 *
 * Return: its path.
 */
const char *machine_tmpfs(void)
{
	return machine.tmpfs;
}

/**
 * tunable_write() - write a value to a file in /proc or /sys
 * @path:	the file
 * @value:	what to write
 *
 * Return: 0, or -1 with errno.
 */
int tunable_write(const char *path, const char *value)
{
	ssize_t n;
	int fd;

	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -1;
	n = write(fd, value, strlen(value));
	close(fd);
	return n == (ssize_t)strlen(value) ? 0 : -1;
}

/**
 * tunable_set() - the same, and write the old value when the program ends
 * @path:	the file
 * @value:	what to write
 *
 * For use before the first case only: cases run in processes of their own.
 *
 * Return: 0, or -1 with errno.
 */
int tunable_set(const char *path, const char *value)
{
	struct tunable *saved = &machine.tunables[machine.tunable_count];
	char text[64], *from;

	if (tunable_text(path, text, sizeof(text)))
		return -1;
	/* Of "always [madvise] never", the one in brackets is in force. */
	from = strchr(text, '[');
	from = from ? from + 1 : text;
	from[strcspn(from, "]\n")] = '\0';

	snprintf(saved->path, sizeof(saved->path), "%s", path);
	snprintf(saved->value, sizeof(saved->value), "%s", from);
	machine.tunable_count++;
	return tunable_write(path, value);
}

static void shrink_slabs(const char *cache)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", cache);
	tunable_write(path, "1");
}

/* Of the caches that are called like @pattern; shrinks them instead where told. */
static long count_slab_objects(const char *pattern, bool shrink)
{
	FILE *slabs = fopen("/proc/slabinfo", "r");
	char line[512], name[64];
	long objects = -1, number;

	while (slabs && fgets(line, sizeof(line), slabs)) {
		if (sscanf(line, "%63s %ld", name, &number) != 2 ||
		    fnmatch(pattern, name, 0))
			continue;
		if (shrink)
			shrink_slabs(name);
		objects = (objects < 0 ? 0 : objects) + number;
	}
	if (slabs)
		fclose(slabs);
	return objects;
}

/**
 * slab_objects() - how many objects are in use in caches of the slab allocator
 * @pattern:	a glob that their names match
 *
 * Shrinks them first: what a kernel with KASAN keeps of freed objects, or one
 * without it in half empty slabs, does not count.
 *
 * Return: the number, or -1 where there is no such cache.
 */
long slab_objects(const char *pattern)
{
	count_slab_objects(pattern, true);
	return count_slab_objects(pattern, false);
}

/**
 * kernel_count() - a counter of /proc/vmstat
 * @name:	its name there
 *
 * Return: its value, for the whole machine; 0 if there is none of that name.
 */
unsigned long kernel_count(const char *name)
{
	char line[96], field[64];
	unsigned long value, result = 0;
	FILE *file = fopen("/proc/vmstat", "r");

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %lu", field, &value) == 2 &&
		    !strcmp(field, name))
			result = value;
	}
	if (file)
		fclose(file);
	return result;
}

/**
 * run_on() - let the calling thread run on one processor only
 * @processor:	its number
 *
 * Return: 0, or -1 with errno.
 */
int run_on(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static void machine_restore(void)
{
	if (getpid() != machine.owner)
		return;

	while (machine.tunable_count--) {
		struct tunable *saved =
			&machine.tunables[machine.tunable_count];

		tunable_write(saved->path, saved->value);
	}
	machine_swap_off();
	if (machine.directory[0]) {
		syscall(__NR_umount2, machine.ext4, 2 /* MNT_DETACH */);
		syscall(__NR_umount2, machine.tmpfs, 2 /* MNT_DETACH */);
		rmdir(machine.tmpfs);
		rmdir(machine.ext4);
		rmdir(machine.directory);
	}
}

/* Make a file of IMAGE_SIZE into a block device that goes with its last user. */
static int loop_attach(const char *name, char *device, size_t size)
{
	struct loop_config config = {
		.block_size = 4096,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR,
	};
	char path[96];
	int image, control, tries, number, fd = -1;

	snprintf(path, sizeof(path), "%s/%s", machine.tmpfs, name);
	image = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (image < 0 || ftruncate(image, IMAGE_SIZE))
		return failed(path);
	config.fd = image;

	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return failed("/dev/loop-control");
	/* Another program may take the number that was free. */
	for (tries = 0; tries < 20; tries++) {
		number = ioctl(control, LOOP_CTL_GET_FREE);
		if (number < 0)
			break;
		snprintf(device, size, "/dev/loop%d", number);
		fd = open(device, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && !ioctl(fd, LOOP_CONFIGURE, &config))
			break;
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	close(control);
	close(image);
	return fd < 0 ? failed("no loop device") : fd;
}

/*
 * Open a block device of IMAGE_SIZE bytes of 0 that goes with its last user.
 * Needs NEED_FILES.
 *
 * Return: a file descriptor, or -1.
 */
int machine_disk(void)
{
	char device[32];

	return loop_attach("disk.image", device, sizeof(device));
}

static int prepare_ext4(void)
{
	char device[32], command[96];
	int fd, result = 0;

	fd = loop_attach("ext4.image", device, sizeof(device));
	if (fd < 0)
		return -1;
	snprintf(command, sizeof(command), "mkfs.ext4 -q -F %s >&2", device);
	if (system(command) ||
	    mount_at(device, machine.ext4, "ext4", 0, NULL))
		result = failed(command);
	close(fd);
	return result;
}

/* A mount namespace of one's own: what is mounted goes with the program. */
static int prepare_files(void)
{
	snprintf(machine.directory, sizeof(machine.directory),
		 "/tmp/pagemap_scan.XXXXXX");
	if (!mkdtemp(machine.directory)) {
		machine.directory[0] = '\0';
		return failed("mkdtemp");
	}
	snprintf(machine.tmpfs, sizeof(machine.tmpfs), "%s/tmpfs",
		 machine.directory);
	snprintf(machine.ext4, sizeof(machine.ext4), "%s/ext4",
		 machine.directory);

	if (mkdir(machine.tmpfs, 0755) || mkdir(machine.ext4, 0755))
		return failed(machine.directory);
	if (unshare(CLONE_NEWNS) ||
	    mount_at("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return failed("unshare");
	if (mount_at("tmpfs", machine.tmpfs, "tmpfs", 0, NULL))
		return failed("mount tmpfs");
	return prepare_ext4();
}

/* The header that mkswap(8) writes, as far as the kernel looks at it. */
static int swap_format(int fd)
{
	static const char magic[] = { 'S', 'W', 'A', 'P', 'S', 'P', 'A', 'C', 'E', '2' };
	char *page = calloc(1, page_size());
	__u32 *info = (__u32 *)(page + 1024);
	ssize_t n;

	info[0] = 1;
	info[1] = IMAGE_SIZE / page_size() - 1;
	memcpy(page + page_size() - sizeof(magic), magic, sizeof(magic));
	n = pwrite(fd, page, page_size(), 0);
	free(page);
	return n == (ssize_t)page_size() && !fsync(fd) ? 0 : -1;
}

/**
 * machine_swap_on() - put the test's swap device into use
 *
 * Return: 0, or -1 after a message.
 */
int machine_swap_on(void)
{
	const int prefer = 0x8000, priority = 32767;

	if (syscall(__NR_swapon, machine.swap_device, prefer | priority))
		return failed("swapon");
	machine.swap_on = true;
	return 0;
}

static int prepare_swap(void)
{
	if (!machine_has(NEED_FILES))
		return -1;
	machine.swap_loop = loop_attach("swap.image", machine.swap_device,
					sizeof(machine.swap_device));
	if (machine.swap_loop < 0)
		return -1;
	if (swap_format(machine.swap_loop))
		return failed(machine.swap_device);
	return machine_swap_on();
}

/**
 * machine_swap_off() - take the test's swap device out of use
 *
 * Return: 0, or -1 with errno.
 */
int machine_swap_off(void)
{
	if (!machine.swap_on)
		return 0;
	if (syscall(__NR_swapoff, machine.swap_device))
		return failed("swapoff");
	machine.swap_on = false;
	return 0;
}

/**
 * machine_break_swap() - make reading from the test's swap device fail
 * @broken:	or let it work again
 *
 * What lies behind the limit of a loop device can't be read.
 *
 * Return: 0, or -1 after a message.
 */
int machine_break_swap(bool broken)
{
	struct loop_info64 info;

	if (ioctl(machine.swap_loop, LOOP_GET_STATUS64, &info))
		return failed("LOOP_GET_STATUS64");
	info.lo_sizelimit = broken ? 4096 : 0;
	if (ioctl(machine.swap_loop, LOOP_SET_STATUS64, &info))
		return failed("LOOP_SET_STATUS64");
	return 0;
}

static int prepare_thp(void)
{
	/* khugepaged must not undo what a test has set up. */
	if (tunable_set(THP_SYSFS "khugepaged/scan_sleep_millisecs",
			"3600000") ||
	    tunable_set(THP_SYSFS "enabled", "madvise") ||
	    tunable_set(THP_SYSFS "defrag", "always") ||
	    tunable_set(THP_SYSFS "use_zero_page", "1") ||
	    tunable_set(THP_SYSFS "shmem_enabled", "advise"))
		return failed(THP_SYSFS);
	return 0;
}

static int prepare_hugetlb(void)
{
	char path[96], pages[16];

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%zukB/nr_hugepages",
		 huge_size() >> 10);
	snprintf(pages, sizeof(pages), "%d", HUGETLB_PAGES);
	if (tunable_read(path) < HUGETLB_PAGES && tunable_set(path, pages))
		return failed(path);
	if (tunable_read(path) < HUGETLB_PAGES) {
		errno = ENOMEM;
		return failed(path);
	}
	return 0;
}

static int prepare_ksm(void)
{
	if (tunable_set(KSM_SYSFS "run", "0") ||
	    tunable_set(KSM_SYSFS "sleep_millisecs", "1") ||
	    tunable_set(KSM_SYSFS "pages_to_scan", "2000"))
		return failed(KSM_SYSFS);
	return 0;
}

static int prepare_page_flags(void)
{
	int fd = pagemap_open(getpid());
	char here = 1;
	__u64 flags;

	if (fd < 0)
		return -1;
	flags = page_flags(fd, (void *)((uintptr_t)&here & -page_size()));
	close(fd);
	return flags & KPAGE_ANON ? 0 : -1;
}

/* Whether the kernel has the ioctl at all. */
static bool have_pagemap_scan(void)
{
	struct scan scan = { .layout = LAYOUT_VER1 };
	int fd = pagemap_open(getpid());
	long result = scan_call(fd, &scan);

	close(fd);
	return !result;
}

/**
 * machine_set_up() - set up what a program needs that does without PAGEMAP_SCAN
 * @needs:	parts, see enum machine_part
 *
 * To be called once.  What could not be set up is not in machine_has().
 */
void machine_set_up(unsigned int needs)
{
	static const struct {
		unsigned int part;
		int (*prepare)(void);
	} parts[] = {
		{ NEED_FILES,		prepare_files },
		{ NEED_SWAP,		prepare_swap },
		{ NEED_THP,		prepare_thp },
		{ NEED_HUGETLB,		prepare_hugetlb },
		{ NEED_KSM,		prepare_ksm },
		{ NEED_PAGE_FLAGS,	prepare_page_flags },
	};
	size_t i;

	machine.owner = getpid();
	atexit(machine_restore);
	for (i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		if (needs & parts[i].part && !parts[i].prepare())
			machine.parts |= parts[i].part;
	}
}

/**
 * machine_prepare() - set up what the test program needs
 * @needs:	parts, see enum machine_part
 *
 * To be called once, before the first case.  Skips the whole program where
 * the kernel has no PAGEMAP_SCAN; what else could not be set up is not in
 * machine_has().
 */
void machine_prepare(unsigned int needs)
{
	if (!have_pagemap_scan())
		ksft_exit_skip("this kernel has no PAGEMAP_SCAN\n");
	machine_set_up(needs);
}

/* Memory */

/**
 * memory_needs() - what memory of a kind needs of the machine
 * @kind:	the kind
 *
 * Return: parts, see enum machine_part.
 */
unsigned int memory_needs(enum memory_kind kind)
{
	switch (kind) {
	case MEMORY_THP:
	case MEMORY_MEMFD_THP:
		return NEED_THP;
	case MEMORY_TMPFS_PRIVATE:
	case MEMORY_TMPFS_SHARED:
	case MEMORY_EXT4_PRIVATE:
	case MEMORY_EXT4_SHARED:
		return NEED_FILES;
	case MEMORY_HUGETLB_PRIVATE:
	case MEMORY_HUGETLB_SHARED:
		return NEED_HUGETLB;
	case MEMORY_KSM:
		return NEED_KSM | NEED_PAGE_FLAGS;
	default:
		return 0;
	}
}

/* Whether there is no file behind the memory. */
bool memory_is_anon(enum memory_kind kind)
{
	return kind == MEMORY_ANON || kind == MEMORY_THP || kind == MEMORY_KSM;
}

bool memory_is_shared(enum memory_kind kind)
{
	switch (kind) {
	case MEMORY_SHMEM:
	case MEMORY_MEMFD:
	case MEMORY_MEMFD_THP:
	case MEMORY_TMPFS_SHARED:
	case MEMORY_EXT4_SHARED:
	case MEMORY_HUGETLB_SHARED:
		return true;
	default:
		return false;
	}
}

bool memory_is_thp(enum memory_kind kind)
{
	return kind == MEMORY_THP || kind == MEMORY_MEMFD_THP;
}

bool memory_is_hugetlb(enum memory_kind kind)
{
	return kind == MEMORY_HUGETLB_PRIVATE || kind == MEMORY_HUGETLB_SHARED;
}

/**
 * reserve_addresses() - find addresses where nothing is mapped near by
 * @size:	bytes
 * @alignment:	a multiple of the page size, a power of two
 *
 * The addresses are mapped without access, with as much on both sides.  What
 * is mapped there later is meant to stay until the program ends.
 *
 * Return: the first address, or NULL after a message.
 */
void *reserve_addresses(size_t size, size_t alignment)
{
	char *p = mmap(NULL, size + 2 * alignment, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		failed("mmap");
		return NULL;
	}
	return (void *)(((uintptr_t)p + alignment) & -alignment);
}

/**
 * map_fixed() - map anonymous memory in place of what is at an address
 * @addr:	the first byte
 * @size:	bytes
 * @prot:	its protection
 *
 * Return: 0, or -1 after a message.
 */
int map_fixed(void *addr, size_t size, int prot)
{
	if (mmap(addr, size, prot, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS |
		 MAP_NORESERVE, -1, 0) == MAP_FAILED)
		return failed("mmap");
	return 0;
}

/**
 * map_pages() - map anonymous pages with no neighbours
 * @count:	how many
 * @prot:	their protection
 *
 * Return: the first byte, or NULL after a message.
 */
void *map_pages(size_t count, int prot)
{
	size_t size = count * page_size();
	char *p = reserve_addresses(size, page_size());

	if (!p)
		return NULL;
	return map_fixed(p, size, prot) ? NULL : p;
}

/**
 * keep_pages_small() - ask that memory gets no transparent huge pages
 * @addr:	the first byte
 * @size:	bytes
 *
 * A kernel without them does not know the advice, and needs none.
 *
 * Return: 0, or -1 after a message.
 */
int keep_pages_small(void *addr, size_t size)
{
	if (!madvise(addr, size, MADV_NOHUGEPAGE) ||
	    (errno == EINVAL && access(THP_SYSFS, F_OK)))
		return 0;
	return failed("MADV_NOHUGEPAGE");
}

/* A file without a name in the directory, full of one byte. */
static int make_file(const char *directory, size_t size)
{
	char path[96], *page;
	size_t done;
	int fd;

	snprintf(path, sizeof(path), "%s/file.XXXXXX", directory);
	fd = mkstemp(path);
	if (fd < 0)
		return failed(path);
	unlink(path);
	page = malloc(page_size());
	memset(page, 0x5a, page_size());
	for (done = 0; done < size; done += page_size()) {
		if (write(fd, page, page_size()) != (ssize_t)page_size()) {
			failed("write");
			close(fd);
			fd = -1;
			break;
		}
	}
	free(page);
	return fd;
}

static int make_memfd(unsigned int flags, size_t size)
{
	int fd = syscall(__NR_memfd_create, "pagemap_scan", flags);

	if (fd < 0 || ftruncate(fd, size))
		return failed("memfd");
	return fd;
}

/* The pages of a hugetlbfs file are not written with write(2). */
static int fill_hugetlb_file(int fd, size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return failed("mmap of huge pages");
	memset(p, 0x5a, size);
	munmap(p, size);
	return 0;
}

static int memory_file(struct memory *mem)
{
	switch (mem->kind) {
	case MEMORY_MEMFD:
	case MEMORY_MEMFD_THP:
		return make_memfd(0, mem->size);
	case MEMORY_TMPFS_PRIVATE:
	case MEMORY_TMPFS_SHARED:
		return make_file(machine.tmpfs, mem->size);
	case MEMORY_EXT4_PRIVATE:
	case MEMORY_EXT4_SHARED:
		return make_file(machine.ext4, mem->size);
	case MEMORY_HUGETLB_PRIVATE:
	case MEMORY_HUGETLB_SHARED:
		return make_memfd(0x4 /* MFD_HUGETLB */, mem->size);
	default:
		return -1;
	}
}

/**
 * memory_map_count() - map memory of one kind, with no page of it populated
 * @mem:	is filled in
 * @kind:	the kind
 * @count:	how many granules, or 0 for as many as make sense
 *
 * Return: 0, or -1 after a message.
 */
int memory_map_count(struct memory *mem, enum memory_kind kind, size_t count)
{
	int flags = MAP_FIXED;

	memset(mem, 0, sizeof(*mem));
	mem->kind = kind;
	mem->granule = page_size();
	mem->count = 64;
	if (memory_is_hugetlb(kind) || kind == MEMORY_THP) {
		mem->granule = huge_size();
		mem->count = 6;
	} else if (kind == MEMORY_MEMFD_THP) {
		mem->count = 2 * huge_size() / page_size();
	}
	if (count)
		mem->count = count;
	mem->size = mem->count * mem->granule;
	mem->fd = memory_file(mem);
	if (mem->fd < 0 && !memory_is_anon(kind) && kind != MEMORY_SHMEM)
		return -1;
	if (kind == MEMORY_HUGETLB_PRIVATE &&
	    fill_hugetlb_file(mem->fd, mem->size))
		return -1;

	mem->reserved_size = mem->size + 2 * huge_size();
	mem->reserved = mmap(NULL, mem->reserved_size, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			     -1, 0);
	if (mem->reserved == MAP_FAILED)
		return failed("mmap");
	mem->addr = (char *)(((uintptr_t)mem->reserved + huge_size()) &
			     -huge_size());

	flags |= memory_is_shared(kind) ? MAP_SHARED : MAP_PRIVATE;
	if (mem->fd < 0)
		flags |= MAP_ANONYMOUS;
	if (mmap(mem->addr, mem->size, PROT_READ | PROT_WRITE, flags, mem->fd,
		 0) != mem->addr)
		return failed("mmap");
	if (memory_is_thp(kind) &&
	    madvise(mem->addr, mem->size, MADV_HUGEPAGE))
		return failed("MADV_HUGEPAGE");
	return 0;
}

int memory_map(struct memory *mem, enum memory_kind kind)
{
	return memory_map_count(mem, kind, 0);
}

/**
 * memory_unmap() - undo memory_map()
 * @mem:	the memory
 */
void memory_unmap(struct memory *mem)
{
	if (mem->reserved)
		munmap(mem->reserved, mem->reserved_size);
	if (mem->fd >= 0)
		close(mem->fd);
	memset(mem, 0, sizeof(*mem));
	mem->fd = -1;
}

/**
 * memory_read() - read from a granule
 * @mem:	the memory
 * @granule:	the granule's number
 */
void memory_read(struct memory *mem, size_t granule)
{
	touch_read(mem->addr + granule * mem->granule);
}

/**
 * memory_write() - write to a granule, without reading from it
 * @mem:	the memory
 * @granule:	the granule's number
 *
 * Writes a word that was not there before to the first page.
 */
void memory_write(struct memory *mem, size_t granule)
{
	static unsigned int number;

	touch_write(mem->addr + granule * mem->granule, ++number);
}

/* Of a private mapping of a file, which pages memory_populate() copies. */
bool memory_is_copied(struct memory *mem, size_t granule)
{
	return memory_is_anon(mem->kind) ||
	       (!memory_is_shared(mem->kind) && granule % 2 == 0);
}

/* Whether every page of the memory is mapped as its kind says. */
static int memory_verify(struct memory *mem)
{
	int fd = pagemap_open(getpid());
	size_t pages = mem->size / page_size(), i;
	int result = 0;

	if (fd < 0)
		return -1;
	if (pages_with(fd, mem->addr, mem->size, PAGEMAP_PRESENT) != pages) {
		fprintf(stderr, "# not all pages are present\n");
		result = -1;
	}
	if (memory_is_thp(mem->kind) &&
	    huge_mapped_bytes(mem->addr) != (long)mem->size) {
		fprintf(stderr, "# no transparent huge pages: %ld of %zu\n",
			huge_mapped_bytes(mem->addr), mem->size);
		result = -1;
	}
	for (i = 0; i < mem->count && !memory_is_shared(mem->kind); i++) {
		bool file = pagemap_entry(fd, mem->addr + i * mem->granule) &
			    PAGEMAP_FILE;

		if (file == memory_is_copied(mem, i)) {
			fprintf(stderr, "# page %zu is %sa file's\n", i,
				file ? "" : "not ");
			result = -1;
			break;
		}
	}
	close(fd);
	return result;
}

/**
 * memory_populate() - populate all pages and verify that they are of the kind
 * @mem:	the memory
 *
 * Every other page of a private file mapping is only read, so that it stays
 * the file's.
 *
 * Return: 0, or -1 after a message.
 */
int memory_populate(struct memory *mem)
{
	size_t i;

	for (i = 0; i < mem->count; i++) {
		char *p = mem->addr + i * mem->granule;

		if (memory_is_shared(mem->kind) || memory_is_copied(mem, i))
			memset(p, 0x5a, mem->granule);
		else
			memory_read(mem, i);
	}
	if (memory_verify(mem))
		return -1;
	return mem->kind == MEMORY_KSM ? memory_merge(mem) : 0;
}

/**
 * memory_with_flags() - count the granules whose first page has flags
 * @mem:	the memory
 * @flags:	KPAGE_* bits, of which a page has one
 *
 * Return: how many.
 */
size_t memory_with_flags(struct memory *mem, __u64 flags)
{
	int fd = pagemap_open(getpid());
	size_t i, n = 0;

	for (i = 0; i < mem->count; i++) {
		if (page_flags(fd, mem->addr + i * mem->granule) & flags)
			n++;
	}
	close(fd);
	return n;
}

/**
 * memory_merge() - let KSM merge the pages, which must have the same contents
 * @mem:	the memory
 *
 * Return: 0 once all pages are merged, or -1 after a message.
 */
int memory_merge(struct memory *mem)
{
	int tries, result = -1;

	if (madvise(mem->addr, mem->size, MADV_MERGEABLE))
		return failed("MADV_MERGEABLE");
	if (tunable_write(KSM_SYSFS "run", "1"))
		return failed(KSM_SYSFS "run");
	for (tries = 0; result && tries < 1000; tries++) {
		usleep(5000);
		if (memory_with_flags(mem, KPAGE_KSM) == mem->count)
			result = 0;
	}
	tunable_write(KSM_SYSFS "run", "0");
	if (result)
		fprintf(stderr, "# KSM merged %zu of %zu pages\n",
			memory_with_flags(mem, KPAGE_KSM), mem->count);
	return result;
}

/**
 * drain_page_lists() - have all processors' queues of pages emptied
 *
 * A page in such a queue can't be reclaimed yet, nor freed lazily.  A request
 * to move no pages at all empties them first.
 */
void drain_page_lists(void)
{
	int node = 0;

	syscall(__NR_move_pages, 0, 0L, NULL, &node, NULL, 0);
}

/**
 * memory_page_out() - reclaim all pages
 * @mem:	the memory
 *
 * Anonymous pages go to swap; others are unmapped, their file keeps them.
 *
 * Return: 0 once no page is present, or -1 after a message.
 */
int memory_page_out(struct memory *mem)
{
	int fd = pagemap_open(getpid());
	size_t present = 0, swapped, i, expected = 0;
	int tries;

	if (fd < 0)
		return -1;
	for (i = 0; i < mem->count; i++) {
		if (memory_is_copied(mem, i))
			expected += mem->granule / page_size();
	}
	for (tries = 0; tries < 200; tries++) {
		/* Reclaim leaves dirty pages of a file to writeback. */
		if (mem->fd >= 0 && fsync(mem->fd))
			break;
		drain_page_lists();
		if (madvise(mem->addr, mem->size, MADV_PAGEOUT)) {
			failed("MADV_PAGEOUT");
			break;
		}
		present = pages_with(fd, mem->addr, mem->size,
				     PAGEMAP_PRESENT);
		if (!present)
			break;
		usleep(10000);
	}
	swapped = pages_with(fd, mem->addr, mem->size, PAGEMAP_SWAPPED);
	close(fd);
	/* pagemap shows the markers of protected pages as swapped, too. */
	if (!present && swapped >= expected)
		return 0;
	fprintf(stderr, "# %zu pages are present, %zu swapped\n", present,
		swapped);
	return -1;
}

/* Ask where pages are; a 32-bit caller is answered right for 16 at a time. */
static void find_nodes(void **pages, int *status, size_t count)
{
	size_t i, chunk = 16;

	for (i = 0; i < count; i += chunk) {
		if (chunk > count - i)
			chunk = count - i;
		syscall(__NR_move_pages, 0, (long)chunk, pages + i, NULL,
			status + i, 0);
	}
}

/* Ask the kernel to have every page on a node; see move_pages(2). */
static int migrate_to(struct memory *mem, int node)
{
	void **pages = calloc(mem->count, sizeof(*pages));
	int *nodes = calloc(mem->count, sizeof(*nodes));
	int *status = calloc(mem->count, sizeof(*status));
	size_t i, moved = 0;
	int tries;
	long result = 0;

	for (i = 0; i < mem->count; i++) {
		pages[i] = mem->addr + i * mem->granule;
		nodes[i] = node;
	}
	/* A page may be held for a moment by another processor. */
	for (tries = 0; tries < 100 && moved < mem->count; tries++) {
		if (tries)
			usleep(10000);
		result = syscall(__NR_move_pages, 0, (long)mem->count, pages,
				 nodes, status, MPOL_MF_MOVE_ALL);
		if (result < 0)
			break;
		find_nodes(pages, status, mem->count);
		for (moved = 0, i = 0; i < mem->count; i++)
			moved += status[i] == node;
	}
	free(pages);
	free(nodes);
	free(status);
	if (result < 0)
		return failed("move_pages");
	if (moved < mem->count) {
		fprintf(stderr, "# %zu of %zu pages moved\n", moved,
			mem->count);
		return -1;
	}
	return 0;
}

/**
 * memory_migrate() - move every page to another place in memory
 * @mem:	the memory, all pages present
 *
 * Where there is one node only, the pages' old places are given up.
 *
 * Return: 0, or -1 after a message.
 */
int memory_migrate(struct memory *mem)
{
	size_t i;

	if (!access("/sys/devices/system/node/node1", F_OK))
		return migrate_to(mem, 0) || migrate_to(mem, 1) ? -1 : 0;

	for (i = 0; i < mem->count; i++) {
		if (madvise(mem->addr + i * mem->granule, page_size(),
			    MADV_SOFT_OFFLINE))
			return failed("MADV_SOFT_OFFLINE");
	}
	return 0;
}

/**
 * device_zero() - write zeros as a device does that has page tables of its own
 * @device:	/dev/hmm_dmirror0, open for this process, which has 64 bits
 * @addr:	the first byte, a multiple of the page size
 * @size:	bytes, a multiple of the page size
 *
 * Return: 0, or -1 with errno.
 */
int device_zero(int device, void *addr, size_t size)
{
	struct hmm_dmirror_cmd command = {
		.addr = address(addr),
		.npages = size / page_size(),
	};
	void *zeros = calloc(1, size);
	int result;

	command.ptr = address(zeros);
	result = ioctl(device, HMM_DMIRROR_WRITE, &command);
	free(zeros);
	return result;
}

/**
 * memory_punch() - make a hole in the file behind the memory
 * @mem:	the memory, of a kind that has a file or is shared
 * @granule:	the first granule
 * @count:	granules
 *
 * Return: 0, or -1 after a message.
 */
int memory_punch(struct memory *mem, size_t granule, size_t count)
{
	size_t offset = granule * mem->granule, size = count * mem->granule;

	if (mem->fd < 0) {
		if (madvise(mem->addr + offset, size, MADV_REMOVE))
			return failed("MADV_REMOVE");
		return 0;
	}
	if (fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      offset, size))
		return failed("fallocate");
	return 0;
}

/* What /proc says of pages */

/**
 * pagemap_open() - open /proc/PID/pagemap
 * @pid:	the process
 *
 * Return: a descriptor, or -1 after a message.
 */
int pagemap_open(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? failed(path) : fd;
}

/**
 * clear_soft_dirty() - clear the soft-dirty bits of a process
 * @pid:	the process
 *
 * Return: 0, or -1 after a message.
 */
int clear_soft_dirty(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/clear_refs", pid);
	return tunable_write(path, "4");
}

/**
 * pagemap_entry() - read what pagemap has for a page
 * @fd:		the pagemap file
 * @addr:	an address in the page
 *
 * Return: PAGEMAP_* bits and the page frame number.
 */
__u64 pagemap_entry(int fd, const void *addr)
{
	__u64 entry = 0;

	if (pread64(fd, &entry, sizeof(entry),
		    (off64_t)(address(addr) / page_size() * sizeof(entry))) !=
	    sizeof(entry)) {
		failed("reading pagemap");
		abort();
	}
	return entry;
}

/**
 * page_flags() - read the flags of a page that is present
 * @fd:		the pagemap file
 * @addr:	an address in the page
 *
 * Return: KPAGE_* bits, 0 where there is no page.
 */
__u64 page_flags(int fd, const void *addr)
{
	__u64 entry = pagemap_entry(fd, addr), flags = 0;
	int kpageflags;

	if (!(entry & PAGEMAP_PRESENT) || !(entry & PAGEMAP_PFN))
		return 0;
	kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (kpageflags < 0)
		return 0;
	if (pread64(kpageflags, &flags, sizeof(flags),
		    (off64_t)((entry & PAGEMAP_PFN) * sizeof(flags))) !=
	    sizeof(flags))
		flags = 0;
	close(kpageflags);
	return flags;
}

/**
 * pages_with() - count the pages that have bits in pagemap
 * @fd:		the pagemap file
 * @addr:	the first address
 * @size:	bytes
 * @bits:	PAGEMAP_* bits, of which a page has one
 *
 * Return: how many.
 */
size_t pages_with(int fd, const void *addr, size_t size, __u64 bits)
{
	off64_t at = (off64_t)(address(addr) / page_size() * sizeof(__u64));
	size_t pages = size / page_size(), n = 0, i;
	__u64 entries[512];	/* the kernel goes over as many for each read */

	while (pages) {
		size_t some = pages < 512 ? pages : 512;
		ssize_t bytes = pread64(fd, entries, some * sizeof(*entries),
					at);

		if (bytes < (ssize_t)sizeof(*entries)) {
			failed("reading pagemap");
			abort();
		}
		some = bytes / sizeof(*entries);
		for (i = 0; i < some; i++)
			n += !!(entries[i] & bits);
		pages -= some;
		at += bytes;
	}
	return n;
}

/* Find the mapping that begins at @addr in smaps, and a field of it. */
static bool smaps_field(const void *addr, const char *field, char *value,
			size_t size)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	char line[512], begin[32];
	bool inside = false, found = false;

	if (!smaps)
		return false;
	snprintf(begin, sizeof(begin), "%08llx-",
		 (unsigned long long)address(addr));
	while (!found && fgets(line, sizeof(line), smaps)) {
		if (!strncmp(line, begin, strlen(begin)))
			inside = true;
		else if (inside && !strncmp(line, field, strlen(field)))
			found = true;
	}
	fclose(smaps);
	if (found)
		snprintf(value, size, "%s", line + strlen(field));
	return found;
}

/**
 * huge_mapped_bytes() - how much of a mapping huge entries map
 * @addr:	where the mapping begins
 *
 * Return: bytes that are mapped by entries of the second level.
 */
long huge_mapped_bytes(const void *addr)
{
	static const char * const fields[] = {
		"AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:",
	};
	char value[64];
	long bytes = 0;
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		if (smaps_field(addr, fields[i], value, sizeof(value)))
			bytes += strtol(value, NULL, 10) << 10;
	}
	return bytes;
}

/**
 * vma_has_flag() - whether smaps shows a flag of a mapping
 * @addr:	where the mapping begins
 * @flag:	two letters
 *
 * Return: whether it does.
 */
bool vma_has_flag(const void *addr, const char *flag)
{
	char value[256], word[8];

	snprintf(word, sizeof(word), " %s ", flag);
	return smaps_field(addr, "VmFlags:", value, sizeof(value)) &&
	       strstr(value, word);
}

/* userfaultfd */

/* Ends the case as skipped: pagemap_scan_harness.h */
void (*skip_case)(const char *reason);

static int uffd_open(int flags, __u64 *features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = *features };
	int error, uffd;

	uffd = syscall(__NR_userfaultfd, flags | O_CLOEXEC | O_NONBLOCK);
	if (uffd < 0)
		return -1;
	if (ioctl(uffd, UFFDIO_API, &api)) {
		error = errno;
		close(uffd);
		errno = error;
		return -1;
	}
	*features = api.features;
	return uffd;
}

/**
 * machine_tracks_writes() - whether userfaultfd has async write-protection
 *
 * It has none on 32 bits, and on other architectures than x86.
 *
 * Return: false only where the kernel says that it has not.
 */
bool machine_tracks_writes(void)
{
	__u64 features = 0;
	int uffd = uffd_open(UFFD_USER_MODE_ONLY, &features);

	if (uffd < 0)
		return true;
	close(uffd);
	return features & UFFD_FEATURE_WP_ASYNC;
}

/**
 * need_tracking() - skip the case where writes are not tracked
 *
 * To be called when something failed.  Keeps errno.
 */
void need_tracking(void)
{
	int error = errno;

	if (skip_case && !machine_tracks_writes())
		skip_case("this kernel does not track writes");
	errno = error;
}

/**
 * uffd_create() - create a userfaultfd
 * @flags:	of the system call, besides O_CLOEXEC and O_NONBLOCK
 * @features:	in: what to ask for; out: what the kernel offers
 *
 * Return: a descriptor, or -1 with errno.
 */
int uffd_create(int flags, __u64 *features)
{
	int uffd = uffd_open(flags, features);

	if (uffd < 0)
		need_tracking();
	return uffd;
}

/**
 * uffd_create_async() - create a userfaultfd for async write-protection
 *
 * Return: a descriptor, or -1 after a message.
 */
int uffd_create_async(void)
{
	__u64 features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED;
	int uffd = uffd_create(0, &features);

	return uffd < 0 ? failed("userfaultfd in async mode") : uffd;
}

/**
 * uffd_register() - register a range
 * @uffd:	the userfaultfd
 * @addr:	the first byte
 * @size:	bytes
 * @mode:	UFFDIO_REGISTER_MODE_* bits
 * @ioctls:	where what works on the range is returned, or NULL
 *
 * Return: 0, or -1 with errno.
 */
int uffd_register(int uffd, void *addr, size_t size, __u64 mode, __u64 *ioctls)
{
	struct uffdio_register reg = {
		.range = { .start = address(addr), .len = size },
		.mode = mode,
	};

	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		return -1;
	if (ioctls)
		*ioctls = reg.ioctls;
	return 0;
}

int uffd_unregister(int uffd, void *addr, size_t size)
{
	struct uffdio_range range = { .start = address(addr), .len = size };

	return ioctl(uffd, UFFDIO_UNREGISTER, &range);
}

/**
 * uffd_protect() - UFFDIO_WRITEPROTECT
 * @uffd:	the userfaultfd
 * @addr:	the first byte
 * @size:	bytes
 * @protect:	whether to protect, or to take the protection away
 *
 * Return: 0, or -1 with errno.
 */
int uffd_protect(int uffd, void *addr, size_t size, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = address(addr), .len = size },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
}

/**
 * uffd_copy() - UFFDIO_COPY
 * @uffd:	the userfaultfd
 * @addr:	the first byte of the missing pages
 * @from:	their contents
 * @size:	bytes
 * @mode:	UFFDIO_COPY_MODE_* bits
 *
 * Return: 0, or -1 with errno.
 */
int uffd_copy(int uffd, void *addr, const void *from, size_t size, __u64 mode)
{
	struct uffdio_copy copy = {
		.dst = address(addr),
		.src = address(from),
		.len = size,
		.mode = mode,
	};

	return ioctl(uffd, UFFDIO_COPY, &copy);
}

/**
 * uffd_has_message() - whether a userfaultfd has an event to read
 * @uffd:	the userfaultfd
 *
 * Return: whether it has.
 */
bool uffd_has_message(int uffd)
{
	struct pollfd poll_uffd = { .fd = uffd, .events = POLLIN };

	return poll(&poll_uffd, 1, 0) != 0;
}

/* PAGEMAP_SCAN */

static long scan_call_own(int fd, struct scan *scan, __u64 size)
{
	struct pagemap_scan_arg arg = {
		.size = size,
		.flags = scan->flags,
		.start = scan->start,
		.len = scan->end - scan->start,
		.vec = address(scan->vec),
		.vec_len = scan->vec_len,
		.max_pages = scan->max_pages,
		.required_mask = scan->required,
		.anyof_mask = scan->anyof,
		.excluded_mask = scan->excluded,
		.return_mask = scan->returned,
	};
	long regions = ioctl(fd, PAGEMAP_SCAN, &arg);

	scan->walk_end = arg.walk_end;
	scan->pages = arg.pages;
	return regions;
}

static long scan_call_pm(int fd, struct scan *scan)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = scan->flags,
		.start = scan->start,
		.end = scan->end,
		.vec = address(scan->vec),
		.vec_len = scan->vec_len,
		.max_pages = scan->max_pages,
		.category_inverted = scan->excluded,
		.category_mask = scan->required | scan->excluded,
		.category_anyof_mask = scan->anyof & ~scan->excluded,
		.return_mask = scan->returned,
	};
	long regions = ioctl(fd, PAGEMAP_SCAN_PM, &arg);

	scan->walk_end = arg.walk_end;
	return regions;
}

/**
 * scan_call() - call PAGEMAP_SCAN
 * @fd:		the pagemap file
 * @scan:	the call; walk_end and pages are filled in also where the
 *		layout does not return them
 *
 * Return: what the ioctl returned, with errno.
 */
long scan_call(int fd, struct scan *scan)
{
	long regions;

	switch (scan->layout) {
	case LAYOUT_VER0:
		regions = scan_call_own(fd, scan, PAGEMAP_SCAN_ARG_SIZE_VER0);
		break;
	case LAYOUT_VER1:
		return scan_call_own(fd, scan, PAGEMAP_SCAN_ARG_SIZE_VER1);
	default:
		regions = scan_call_pm(fd, scan);
		break;
	}
	if (regions < 0)
		return regions;
	scan->pages = scan_pages(scan->vec, regions);
	if (scan->layout != LAYOUT_VER0)
		return regions;
	/* Without walk_end, a vec that is not full tells the range is done. */
	if (!scan->max_pages && (__u64)regions < scan->vec_len)
		scan->walk_end = scan->end;
	else
		scan->walk_end = regions ? scan->vec[regions - 1].end :
					   scan->end;
	return regions;
}

/**
 * scan_pages() - count the pages in regions
 * @vec:	the regions
 * @regions:	how many
 *
 * Return: the sum of their pages.
 */
__u64 scan_pages(const struct page_region *vec, long regions)
{
	__u64 pages = 0;
	long i;

	for (i = 0; i < regions; i++)
		pages += (vec[i].end - vec[i].start) / page_size();
	return pages;
}

/**
 * scan_check() - check what every answer promises
 * @scan:	the call
 * @regions:	what it returned, not an error
 *
 * That the regions are in the range, in order, not empty, maximal and have
 * only categories that were asked for; that pages and walk_end agree with
 * them.
 *
 * Return: 0, or -1 after a message.
 */
int scan_check(const struct scan *scan, long regions)
{
	const struct page_region *vec = scan->vec;
	__u64 last = scan->start;
	const char *fault = NULL;
	long i;

	if (regions < 0)
		return failed("PAGEMAP_SCAN");
	if ((__u64)regions > scan->vec_len)
		fault = "more regions than vec has room for";
	for (i = 0; i < regions && !fault; i++) {
		if ((vec[i].start | vec[i].end) & (page_size() - 1))
			fault = "region is not page aligned";
		else if (vec[i].start >= vec[i].end)
			fault = "region is empty";
		else if (vec[i].start < last)
			fault = "region overlaps, or is not in order";
		else if (vec[i].end > ((scan->end + page_size() - 1) &
				       -(__u64)page_size()))
			fault = "region exceeds the range";
		else if (vec[i].categories & ~scan->returned)
			fault = "region has categories that were not asked for";
		else if (i && vec[i].start == vec[i - 1].end &&
			 vec[i].categories == vec[i - 1].categories)
			fault = "region is not maximal";
		last = vec[i].end;
	}
	if (!fault && scan->max_pages &&
	    scan_pages(vec, regions) > scan->max_pages)
		fault = "more than max_pages";
	if (!fault && scan->walk_end < last)
		fault = "walk_end lies before the last region's end";
	if (!fault && scan->vec_len && scan->pages != scan_pages(vec, regions))
		fault = "pages differs from the regions'";
	if (!fault)
		return 0;
	fprintf(stderr, "# %s: region %ld of %ld\n", fault, i - 1, regions);
	return -1;
}

/* Hand the pages of regions out to an array that has one element per page. */
static void spread_regions(const struct page_region *vec, long regions,
			   __u64 start, __u64 *categories)
{
	__u64 page;
	long i;

	for (i = 0; i < regions; i++) {
		for (page = vec[i].start; page < vec[i].end;
		     page += page_size())
			categories[(page - start) / page_size()] =
				vec[i].categories;
	}
}

/* Run a call whose vec has room for every page, and spread its answer. */
static int scan_spread(int fd, struct scan *scan, __u64 *categories)
{
	size_t pages = (scan->end - scan->start) / page_size(), i;
	long regions;
	int result;

	for (i = 0; i < pages; i++)
		categories[i] = NOT_REPORTED;
	scan->vec_len = pages + 1;
	scan->vec = malloc(scan->vec_len * sizeof(*scan->vec));
	regions = scan_call(fd, scan);
	result = scan_check(scan, regions);
	if (!result)
		spread_regions(scan->vec, regions, scan->start, categories);
	free(scan->vec);
	scan->vec = NULL;
	return result;
}

/**
 * scan_categories() - get the categories of each page
 * @fd:		the pagemap file
 * @layout:	how to ask
 * @addr:	the first byte
 * @size:	bytes
 * @categories:	is filled in: PAGE_IS_* bits of each page, or NOT_REPORTED
 *
 * Return: 0, or -1 after a message.
 */
int scan_categories(int fd, enum layout layout, const void *addr, size_t size,
		    __u64 *categories)
{
	struct scan scan = {
		.layout = layout,
		.start = address(addr),
		.end = address(addr) + size,
		.returned = ALL_CATEGORIES,
	};

	return scan_spread(fd, &scan, categories);
}

/* Ask for pages by masks, and compare with what their categories imply. */
static int check_masks(int fd, enum layout layout, __u64 start, size_t pages,
		       __u64 required, __u64 excluded, __u64 anyof,
		       __u64 categories)
{
	struct page_region vec[2];
	struct scan scan = {
		.layout = layout,
		.start = start,
		.end = start + pages * page_size(),
		.vec = vec,
		.vec_len = 2,
		.required = required,
		.excluded = excluded,
		.anyof = anyof,
		.returned = required | excluded | anyof,
	};
	bool expected = (categories & required) == required &&
			!(categories & excluded) &&
			(!anyof || categories & anyof);
	long regions = scan_call(fd, &scan);

	if (scan_check(&scan, regions))
		return -1;
	if (regions == expected &&
	    (!expected || (vec[0].categories == (categories & scan.returned) &&
			   vec[0].start == scan.start && vec[0].end == scan.end)))
		return 0;
	fprintf(stderr,
		"# required %#llx excluded %#llx any of %#llx: %ld regions, categories %#llx of %zu pages with %#llx\n",
		(unsigned long long)required, (unsigned long long)excluded,
		(unsigned long long)anyof, regions,
		(unsigned long long)(regions > 0 ? vec[0].categories : 0),
		pages, (unsigned long long)categories);
	return -1;
}

/* Whether the answer for pages is the same whatever is asked. */
static int check_all_masks(int fd, enum layout layout, __u64 start,
			   size_t pages, __u64 categories)
{
	__u64 mask;

	for (mask = 1; mask <= ALL_CATEGORIES; mask++) {
		__u64 has = mask & categories, lacks = mask & ~categories;

		/* As it is; each alone; any of them. */
		if (check_masks(fd, layout, start, pages, has, lacks, 0,
				categories) ||
		    check_masks(fd, layout, start, pages, mask, 0, 0,
				categories) ||
		    check_masks(fd, layout, start, pages, 0, mask, 0,
				categories) ||
		    check_masks(fd, layout, start, pages, 0, 0, mask,
				categories))
			return -1;
	}
	return 0;
}

/**
 * check_categories() - check the categories of pages that are all alike
 * @fd:		the pagemap file
 * @layout:	how to ask
 * @addr:	the first byte
 * @size:	bytes
 * @mask:	categories to compare
 * @expected:	what they must be
 *
 * For the first page, all combinations of masks must give the same answer, and
 * for the first two: there is no walk for a page alone.
 *
 * Return: 0, or -1 after a message.
 */
int check_categories(int fd, enum layout layout, const void *addr, size_t size,
		     __u64 mask, __u64 expected)
{
	size_t pages = size / page_size(), i;
	__u64 *categories = calloc(pages, sizeof(*categories));
	int result;

	result = scan_categories(fd, layout, addr, size, categories);
	for (i = 0; i < pages && !result; i++) {
		if (categories[i] != NOT_REPORTED &&
		    (categories[i] & mask) == expected)
			continue;
		fprintf(stderr, "# page %zu of %zu has %#llx, not %#llx\n", i,
			pages, (unsigned long long)categories[i],
			(unsigned long long)expected);
		result = -1;
	}
	for (i = 1; i <= 2 && i <= pages && !result; i++) {
		if (categories[i - 1] == categories[0])
			result = check_all_masks(fd, layout, address(addr), i,
						 categories[0]);
	}
	free(categories);
	return result;
}

/* Tracking */

/**
 * tracking_begin_count() - map memory and register it in async mode
 * @tracking:	is filled in
 * @kind:	the kind of memory
 * @layout:	how to call PAGEMAP_SCAN
 * @count:	how many granules, or 0 for as many as make sense
 *
 * Return: 0, or -1 after a message.
 */
int tracking_begin_count(struct tracking *tracking, enum memory_kind kind,
			 enum layout layout, size_t count)
{
	struct memory *mem = &tracking->mem;

	tracking->layout = layout;
	tracking->pagemap = pagemap_open(getpid());
	tracking->uffd = uffd_create_async();
	if (tracking->pagemap < 0 || tracking->uffd < 0)
		return -1;
	if (memory_map_count(mem, kind, count))
		return -1;
	if (uffd_register(tracking->uffd, mem->addr, mem->size,
			  UFFDIO_REGISTER_MODE_WP, NULL))
		return failed("UFFDIO_REGISTER in async mode");
	return 0;
}

int tracking_begin(struct tracking *tracking, enum memory_kind kind,
		   enum layout layout)
{
	return tracking_begin_count(tracking, kind, layout, 0);
}

/**
 * tracking_populate() - populate the memory and protect it
 * @tracking:	the memory, just registered
 *
 * Return: 0 if no page reads as written then, or -1 after a message.
 */
int tracking_populate(struct tracking *tracking)
{
	if (memory_populate(&tracking->mem) ||
	    check_written(tracking, every_granule) ||
	    protect_written(tracking))
		return -1;
	return check_written(tracking, no_granule);
}

/**
 * tracking_end() - undo tracking_begin()
 * @tracking:	the memory
 *
 * Return: 0, or -1 after a message: the userfaultfd had one, too.
 */
int tracking_end(struct tracking *tracking)
{
	int result = 0;

	if (uffd_has_message(tracking->uffd)) {
		fprintf(stderr, "# the userfaultfd got a message\n");
		result = -1;
	}
	close(tracking->uffd);
	close(tracking->pagemap);
	memory_unmap(&tracking->mem);
	return result;
}

bool no_granule(struct memory *mem, size_t granule)
{
	return false;
}

bool every_granule(struct memory *mem, size_t granule)
{
	return true;
}

/* Some of each kind of page that memory_populate() makes. */
bool some_granules(struct memory *mem, size_t granule)
{
	return granule % 3 == 1 || granule + 1 == mem->count;
}

bool other_granules(struct memory *mem, size_t granule)
{
	return !some_granules(mem, granule);
}

void write_set(struct memory *mem, granule_set set)
{
	size_t i;

	for (i = 0; i < mem->count; i++) {
		if (set(mem, i))
			memory_write(mem, i);
	}
}

/**
 * tracking_scan() - prepare a call that asks for the written pages
 * @tracking:	the memory
 * @flags:	PAGEMAP_WP_* bits
 *
 * Return: the call, with no vec.
 */
struct scan tracking_scan(struct tracking *tracking, __u64 flags)
{
	struct memory *mem = &tracking->mem;

	return (struct scan) {
		.layout = tracking->layout,
		.flags = flags,
		.start = address(mem->addr),
		.end = address(mem->addr) + mem->size,
		.required = PAGE_IS_WRITTEN,
		.returned = PAGE_IS_WRITTEN,
	};
}

/**
 * protect_written() - protect every written page, and report none
 * @tracking:	the memory
 *
 * Return: 0, or -1 after a message.
 */
int protect_written(struct tracking *tracking)
{
	struct scan scan = tracking_scan(tracking, PAGEMAP_WP_ENGAGE |
						   PAGEMAP_WP_REQUIRED);

	return scan_check(&scan, scan_call(tracking->pagemap, &scan));
}

/*
 * A write is recorded for the first page of its granule at least; pages of
 * granules that were not written must not be reported, but where that is
 * allowed.
 */
static int compare_written(struct memory *mem, const __u64 *categories,
			   granule_set written, bool allow_others)
{
	size_t pages = mem->granule / page_size(), i, j;

	for (i = 0; i < mem->count; i++) {
		bool expected = written(mem, i);

		for (j = 0; j < pages; j++) {
			bool reported = categories[i * pages + j] !=
					NOT_REPORTED;

			if (reported && !expected && !allow_others) {
				fprintf(stderr,
					"# granule %zu of %zu reads as written at page %zu\n",
					i, mem->count, j);
				return -1;
			}
			if (!reported && expected && j == 0) {
				fprintf(stderr,
					"# granule %zu of %zu does not read as written\n",
					i, mem->count);
				return -1;
			}
		}
	}
	return 0;
}

static int scan_written(struct tracking *tracking, granule_set written,
			__u64 flags, bool allow_others)
{
	struct memory *mem = &tracking->mem;
	struct scan scan = tracking_scan(tracking, flags);
	__u64 *categories = calloc(mem->size / page_size(), sizeof(__u64));
	int result;

	result = scan_spread(tracking->pagemap, &scan, categories);
	if (!result)
		result = compare_written(mem, categories, written,
					 allow_others);
	free(categories);
	return result;
}

/**
 * check_written() - check which granules read as written
 * @tracking:	the memory
 * @written:	names the granules that must, all others must not
 *
 * Return: 0, or -1 after a message.
 */
int check_written(struct tracking *tracking, granule_set written)
{
	return scan_written(tracking, written, 0, false);
}

/**
 * check_reported_and_protect() - the same, and protect them by the same call
 * @tracking:	the memory
 * @written:	names the granules that must be reported, all others must not
 *
 * Return: 0, or -1 after a message.
 */
int check_reported_and_protect(struct tracking *tracking, granule_set written)
{
	return scan_written(tracking, written, PAGEMAP_WP_ENGAGE, false);
}

/**
 * check_nothing_lost() - check that granules read as written, at least
 * @tracking:	the memory
 * @written:	names the granules that must, others may
 *
 * Return: 0, or -1 after a message.
 */
int check_nothing_lost(struct tracking *tracking, granule_set written)
{
	return scan_written(tracking, written, 0, true);
}
