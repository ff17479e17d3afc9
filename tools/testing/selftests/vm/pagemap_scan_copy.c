// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN: keep a copy of another program's memory by what is reported,
 * and nothing else, while the program works; then stop it and compare.
 *
 * The programs are real ones and know nothing of it.  They are made to create
 * a userfaultfd, as a checkpointer would do, by a system call that ptrace(2)
 * has them make; the rest is done from here.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <linux/falloc.h>

#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

#define TIMEOUT		240
#define REGIONS		512
#define CHUNK		(64UL << 10)
#define SHOWN_PAGES	10
/* Where the addresses of a process end, less the last page. */
#define ADDRESSES_END	0x7ffffffff000ULL

#ifndef __NR_pidfd_open
#define __NR_pidfd_open	434
#endif
#ifndef __NR_pidfd_getfd
#define __NR_pidfd_getfd 438
#endif

/**
 * struct mapping - a line of /proc/PID/maps
 * @start:	its first address
 * @end:	address behind the last
 * @private_anon: it is full of zeroes at first, and nobody else writes to it
 * @special:	it is the kernel's own
 */
struct mapping {
	__u64 start;
	__u64 end;
	bool private_anon;
	bool special;
};

#define MAX_MAPPINGS	4096

/**
 * struct copier - the copy of a process
 * @pid:	the process
 * @layout:	how to call PAGEMAP_SCAN
 * @pagemap:	its pagemap file
 * @memory:	its /proc/PID/mem
 * @uffd:	a userfaultfd of it
 * @copy:	a sparse file: what is at an address is at the same offset
 * @mappings:	its mappings, when they were last looked at
 * @mapping_count: how many
 * @reported:	pages reported by the last copy_round()
 * @read:	pages read by the last copy_round()
 * @buffer:	for CHUNK bytes of memory
 * @other:	for CHUNK bytes of the copy
 */
struct copier {
	pid_t pid;
	enum layout layout;
	int pagemap;
	int memory;
	int uffd;
	int copy;
	struct mapping mappings[MAX_MAPPINGS];
	size_t mapping_count;
	unsigned long reported;
	unsigned long read;
	char buffer[CHUNK];
	char other[CHUNK];
};

static int failed(const char *what)
{
	fprintf(stderr, "# %s: %s\n", what, strerror(errno));
	return -1;
}

static FILE *open_maps(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	return fopen(path, "r");
}

static int look_at_mappings(struct copier *copier)
{
	FILE *maps = open_maps(copier->pid);
	char line[4352], access[8], name[64];
	unsigned long long start, end, inode;

	if (!maps)
		return failed("maps");
	copier->mapping_count = 0;
	while (fgets(line, sizeof(line), maps)) {
		struct mapping *mapping =
			&copier->mappings[copier->mapping_count];

		name[0] = '\0';
		if (sscanf(line, "%llx-%llx %7s %*s %*s %llu %63s", &start,
			   &end, access, &inode, name) < 4)
			continue;
		if (copier->mapping_count++ == MAX_MAPPINGS)
			break;
		mapping->start = start;
		mapping->end = end;
		mapping->private_anon = access[3] == 'p' && !inode;
		mapping->special = !strncmp(name, "[v", 2);
	}
	fclose(maps);
	return 0;
}

/* What was mapped since the last time is all written, and so reported. */
static void register_mappings(struct copier *copier)
{
	size_t i;

	for (i = 0; i < copier->mapping_count; i++) {
		struct mapping *mapping = &copier->mappings[i];

		if (!mapping->special)
			uffd_register(copier->uffd,
				      (void *)(uintptr_t)mapping->start,
				      mapping->end - mapping->start,
				      UFFDIO_REGISTER_MODE_WP, NULL);
	}
}

/* How far from @addr, but not behind @end, it is private_anon or not. */
static __u64 same_mapping(struct copier *copier, __u64 addr, __u64 end,
			  bool *private_anon)
{
	size_t i;

	*private_anon = false;
	for (i = 0; i < copier->mapping_count; i++) {
		struct mapping *mapping = &copier->mappings[i];

		if (addr >= mapping->end)
			continue;
		if (addr < mapping->start)
			return end < mapping->start ? end : mapping->start;
		*private_anon = mapping->private_anon;
		return end < mapping->end ? end : mapping->end;
	}
	return end;
}

/* Read page by page where it fails: behind the end of a file it does. */
static void read_memory(struct copier *copier, __u64 addr, size_t size,
			char *buffer)
{
	size_t done;

	if (pread64(copier->memory, buffer, size, addr) == (ssize_t)size)
		return;
	for (done = 0; done < size; done += page_size()) {
		if (pread64(copier->memory, buffer + done, page_size(),
			    addr + done) != (ssize_t)page_size())
			memset(buffer + done, 0, page_size());
	}
}

static int copy_memory(struct copier *copier, __u64 addr, __u64 end)
{
	size_t size;

	for (; addr < end; addr += size) {
		size = end - addr < CHUNK ? end - addr : CHUNK;
		read_memory(copier, addr, size, copier->buffer);
		if (pwrite64(copier->copy, copier->buffer, size, addr) !=
		    (ssize_t)size)
			return failed("writing the copy");
		copier->read += size / page_size();
	}
	return 0;
}

static int copy_zeroes(struct copier *copier, __u64 addr, __u64 end)
{
	if (fallocate(copier->copy, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      addr, end - addr))
		return failed("punching a hole in the copy");
	return 0;
}

/* Of private memory, a page that was not there is known without a look. */
static int copy_region(struct copier *copier, const struct page_region *region)
{
	bool there = region->categories & (PAGE_IS_PRESENT | PAGE_IS_SWAPPED);
	bool zero = region->categories & PAGE_IS_PFNZERO;
	__u64 addr = region->start, end;
	bool private_anon;
	int result = 0;

	for (; addr < region->end && !result; addr = end) {
		end = same_mapping(copier, addr, region->end, &private_anon);
		if (zero || (!there && private_anon))
			result = copy_zeroes(copier, addr, end);
		else
			result = copy_memory(copier, addr, end);
	}
	return result;
}

/* Ask for the whole address space, and do something with each answer. */
static int use_regions(struct copier *copier, struct scan *scan,
		       int (*use)(struct copier *copier,
				  const struct page_region *region))
{
	struct page_region vec[REGIONS];
	long regions, i;

	scan->layout = copier->layout;
	scan->start = 0;
	scan->end = ADDRESSES_END;
	scan->vec = vec;
	scan->vec_len = REGIONS;
	do {
		regions = scan_call(copier->pagemap, scan);
		if (scan_check(scan, regions))
			return -1;
		for (i = 0; i < regions; i++) {
			if (use(copier, &vec[i]))
				return -1;
		}
		copier->reported += scan->pages;
		scan->start = scan->walk_end;
	} while (scan->start < scan->end);
	return 0;
}

/* Bring the copy up to date. */
static int copy_round(struct copier *copier)
{
	struct scan scan = {
		.flags = PAGEMAP_WP_ENGAGE,
		.required = PAGE_IS_WRITTEN,
		.returned = PAGE_IS_PRESENT | PAGE_IS_SWAPPED |
			    PAGE_IS_PFNZERO,
	};

	copier->reported = 0;
	copier->read = 0;
	if (look_at_mappings(copier))
		return -1;
	register_mappings(copier);
	return use_regions(copier, &scan, copy_region);
}

/* The comparison */

static unsigned long compared, different;

static void show_difference(struct copier *copier, __u64 addr)
{
	FILE *maps = open_maps(copier->pid);
	char line[4352];
	unsigned long long start, end;

	if (different++ >= SHOWN_PAGES)
		goto out;
	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%llx-%llx", &start, &end) == 2 &&
		    start <= addr && addr < end)
			fprintf(stderr, "# page %#llx differs, of %s",
				(unsigned long long)addr, line);
	}
	fprintf(stderr, "# its entry in pagemap: %#llx\n",
		(unsigned long long)pagemap_entry(copier->pagemap,
						  (void *)(uintptr_t)addr));
out:
	if (maps)
		fclose(maps);
}

static int compare_memory(struct copier *copier, __u64 addr, __u64 end)
{
	size_t size, i;

	for (; addr < end; addr += size) {
		size = end - addr < CHUNK ? end - addr : CHUNK;
		memset(copier->other, 0, size);
		read_memory(copier, addr, size, copier->buffer);
		if (pread64(copier->copy, copier->other, size, addr) < 0)
			return failed("reading the copy");
		compared += size / page_size();
		for (i = 0; i < size; i += page_size()) {
			if (memcmp(copier->buffer + i, copier->other + i,
				   page_size()))
				show_difference(copier, addr + i);
		}
	}
	return 0;
}

/* Look only where the copy has something, which must be zeroes. */
static int compare_zeroes(struct copier *copier, __u64 addr, __u64 end)
{
	off64_t data;
	size_t i;

	for (; addr < end; addr += page_size()) {
		data = lseek64(copier->copy, addr, SEEK_DATA);
		if (data < 0 || (__u64)data >= end)
			break;
		addr = data & -page_size();
		if (pread64(copier->copy, copier->other, page_size(), addr) < 0)
			return failed("reading the copy");
		compared++;
		for (i = 0; i < page_size(); i++) {
			if (!copier->other[i])
				continue;
			show_difference(copier, addr);
			break;
		}
	}
	return 0;
}

static int compare_region(struct copier *copier,
			  const struct page_region *region)
{
	bool there = region->categories & (PAGE_IS_PRESENT | PAGE_IS_SWAPPED);
	__u64 addr = region->start, end;
	bool private_anon;
	int result = 0;

	for (; addr < region->end && !result; addr = end) {
		end = same_mapping(copier, addr, region->end, &private_anon);
		if (!there && private_anon)
			result = compare_zeroes(copier, addr, end);
		else
			result = compare_memory(copier, addr, end);
	}
	return result;
}

static int compare(struct copier *copier)
{
	struct scan scan = {
		.required = PAGE_IS_WPALLOWED,
		.returned = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};

	compared = 0;
	different = 0;
	if (use_regions(copier, &scan, compare_region))
		return -1;
	if (!different && compared)
		return 0;
	fprintf(stderr, "# %lu of %lu pages differ\n", different, compared);
	return -1;
}

/* A system call that the process is made to make */

#ifdef __x86_64__
/* The code that the kernel maps into each process has such an instruction. */
static unsigned long find_syscall_instruction(struct copier *copier)
{
	static const char instruction[] = { 0x0f, 0x05 };
	FILE *maps = open_maps(copier->pid);
	unsigned long start, end, found = 0;
	char line[4352], *place;

	while (maps && !found && fgets(line, sizeof(line), maps)) {
		if (!strstr(line, "[vdso]") ||
		    sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		read_memory(copier, start, end - start, copier->buffer);
		place = memmem(copier->buffer, end - start, instruction, 2);
		if (place)
			found = start + (place - copier->buffer);
	}
	if (maps)
		fclose(maps);
	return found;
}

/* Wait until it stops for us; signals for it come later. */
static int await_stop(struct copier *copier, int wanted)
{
	int status;

	for (;;) {
		if (waitpid(copier->pid, &status, __WALL) != copier->pid ||
		    !WIFSTOPPED(status))
			return -1;
		if (WSTOPSIG(status) == SIGTRAP)
			return 0;
		kill(copier->pid, WSTOPSIG(status));
		if (ptrace(wanted, copier->pid, 0, 0))
			return -1;
	}
}

static long make_call(struct copier *copier, unsigned long instruction,
		      long number, long argument)
{
	struct user_regs_struct saved, regs;
	long result = -1;

	if (ptrace(PTRACE_GETREGS, copier->pid, 0, &saved))
		return -1;
	regs = saved;
	regs.rip = instruction;
	regs.rax = number;
	regs.rdi = argument;
	/* It was in no system call that would have to be restarted. */
	regs.orig_rax = -1;
	if (!ptrace(PTRACE_SETREGS, copier->pid, 0, &regs) &&
	    !ptrace(PTRACE_SINGLESTEP, copier->pid, 0, 0) &&
	    !await_stop(copier, PTRACE_SINGLESTEP) &&
	    !ptrace(PTRACE_GETREGS, copier->pid, 0, &regs))
		result = regs.rax;
	ptrace(PTRACE_SETREGS, copier->pid, 0, &saved);
	return result;
}

/* Have it create a userfaultfd, take it over and close it there. */
static int take_userfaultfd(struct copier *copier)
{
	unsigned long instruction = find_syscall_instruction(copier);
	int pidfd = syscall(__NR_pidfd_open, copier->pid, 0), fd = -1;
	long number;

	if (!instruction || pidfd < 0)
		return failed("no instruction for a system call");
	if (ptrace(PTRACE_SEIZE, copier->pid, 0, 0) ||
	    ptrace(PTRACE_INTERRUPT, copier->pid, 0, 0) ||
	    await_stop(copier, PTRACE_CONT))
		return failed("ptrace");
	number = make_call(copier, instruction, __NR_userfaultfd,
			   O_CLOEXEC | O_NONBLOCK);
	if (number >= 0) {
		fd = syscall(__NR_pidfd_getfd, pidfd, (int)number, 0);
		make_call(copier, instruction, __NR_close, number);
	}
	if (ptrace(PTRACE_DETACH, copier->pid, 0, 0))
		return failed("PTRACE_DETACH");
	close(pidfd);
	return fd;
}
#else
static int take_userfaultfd(struct copier *copier)
{
	errno = EOPNOTSUPP;
	return failed("making another process call the kernel");
}
#endif

static int copier_begin(struct copier *copier, pid_t pid, enum layout layout)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC,
	};
	char path[32];

	copier->pid = pid;
	copier->layout = layout;
	copier->pagemap = pagemap_open(pid);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	copier->memory = open(path, O_RDONLY | O_CLOEXEC);
	copier->copy = syscall(__NR_memfd_create, "copy", 0);
	if (copier->pagemap < 0 || copier->memory < 0 || copier->copy < 0 ||
	    ftruncate(copier->copy, ADDRESSES_END))
		return failed(path);
	copier->uffd = take_userfaultfd(copier);
	if (copier->uffd < 0)
		return -1;
	if (ioctl(copier->uffd, UFFDIO_API, &api))
		return failed("UFFDIO_API");
	return 0;
}

/* Whether all threads of a process have stopped. */
static bool has_stopped(pid_t pid)
{
	char path[64], line[256], state;
	struct dirent *entry;
	bool stopped = true;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && stopped && (entry = readdir(tasks))) {
		FILE *stat;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/stat", pid,
			 entry->d_name);
		stat = fopen(path, "r");
		if (!stat || !fgets(line, sizeof(line), stat) ||
		    sscanf(line, "%*d (%*[^)]) %c", &state) != 1 ||
		    state != 'T')
			stopped = false;
		if (stat)
			fclose(stat);
	}
	if (tasks)
		closedir(tasks);
	return tasks && stopped;
}

static int stop_process(pid_t pid)
{
	int tries;

	if (kill(pid, SIGSTOP))
		return failed("SIGSTOP");
	for (tries = 0; tries < 10000; tries++) {
		if (has_stopped(pid))
			return 0;
		usleep(1000);
	}
	fprintf(stderr, "# it does not stop\n");
	return -1;
}

/* The programs */

struct program {
	char directory[32];
	pid_t pid;
	pid_t load;
};

/* Start a program in the directory, with its input, if any, from a pipe. */
static pid_t start(struct program *program, const char *const *argv, int input)
{
	pid_t pid = fork();
	int null;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	null = open("/dev/null", O_RDWR);
	dup2(input < 0 ? null : input, 0);
	dup2(null, 1);
	dup2(null, 2);
	if (chdir(program->directory))
		_exit(126);
	/* The system's own ones, with no wrapper around them. */
	setenv("PATH", "/usr/bin:/usr/sbin:/bin:/sbin", 1);
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

/* Until a file is there, which the program makes when it has started. */
static int await_file(struct program *program, const char *name)
{
	char path[64];
	int tries;

	snprintf(path, sizeof(path), "%s/%s", program->directory, name);
	for (tries = 0; tries < 6000; tries++) {
		if (!access(path, F_OK))
			return 0;
		if (waitpid(program->pid, NULL, WNOHANG))
			break;
		usleep(10000);
	}
	fprintf(stderr, "# the program has not started\n");
	return -1;
}

/* Saving once a second makes it fork, too. */
static int start_redis(struct program *program)
{
	static const char *const server[] = {
		"redis-server", "--port", "0", "--unixsocket", "socket",
		"--save", "1 1", NULL,
	};
	static const char *const benchmark[] = {
		"redis-benchmark", "-s", "socket", "-l", "-q", "-n", "5000",
		"-r", "20000", "-d", "300", "-P", "8", "-t",
		"set,incr,lpush,lpop,sadd,hset,spop,zadd,mset", NULL,
	};

	program->pid = start(program, server, -1);
	if (await_file(program, "socket"))
		return -1;
	program->load = start(program, benchmark, -1);
	return 0;
}

static const char sql_begin[] =
	"PRAGMA journal_mode=WAL; PRAGMA cache_size=500;\n"
	"ATTACH ':memory:' AS m; CREATE TABLE m.u(k INTEGER PRIMARY KEY, v);\n"
	"CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB); CREATE INDEX i ON t(v);\n";

static const char sql_transaction[] =
	"BEGIN;\n"
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<50)\n"
	"REPLACE INTO t SELECT abs(random()%3000), randomblob(200) FROM c;\n"
	"REPLACE INTO m.u SELECT abs(random()%3000), v FROM t LIMIT 100;\n"
	"UPDATE t SET v=randomblob(100) WHERE k%97=abs(random()%97);\n"
	"DELETE FROM t WHERE k%89=abs(random()%89);\n"
	"COMMIT; SELECT count(*), max(v) FROM t ORDER BY v;\n";

static pid_t feed(int pipe)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (write(pipe, sql_begin, sizeof(sql_begin) - 1) < 0)
		_exit(1);
	while (write(pipe, sql_transaction, sizeof(sql_transaction) - 1) > 0)
		;
	_exit(0);
}

static int start_sqlite(struct program *program)
{
	static const char *const shell[] = { "sqlite3", "database", NULL };
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC))
		return -1;
	program->pid = start(program, shell, pipes[0]);
	program->load = feed(pipes[1]);
	close(pipes[0]);
	close(pipes[1]);
	return await_file(program, "database");
}

static const char python_script[] =
	"import gc, mmap, random, threading\n"
	"shared = mmap.mmap(-1, 1 << 20)\n"
	"private = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE)\n"
	"table = {}\n"
	"def work(seed):\n"
	"    rand = random.Random(seed)\n"
	"    blocks = []\n"
	"    while True:\n"
	"        table[rand.randrange(5000)] = [str(rand.random())] * 20\n"
	"        table.pop(rand.randrange(5000), None)\n"
	"        blocks.append(bytearray(rand.randbytes(rand.randrange(300000))))\n"
	"        if len(blocks) > 20:\n"
	"            blocks.pop(rand.randrange(20))\n"
	"        block = rand.choice(blocks)\n"
	"        if block:\n"
	"            block[rand.randrange(len(block))] ^= 255\n"
	"        for m in shared, private:\n"
	"            m[rand.randrange(1 << 20)] = rand.randrange(256)\n"
	"        if not rand.randrange(50):\n"
	"            gc.collect()\n"
	"            with open('/dev/urandom', 'rb', 0) as f:\n"
	"                f.readinto(blocks[0])\n"
	"for i in range(3):\n"
	"    threading.Thread(target=work, args=(i,)).start()\n"
	"open('started', 'w').close()\n";

static int start_python(struct program *program)
{
	static const char *const python[] = {
		"python3", "-c", python_script, NULL,
	};

	program->pid = start(program, python, -1);
	return await_file(program, "started");
}

FIXTURE(copy) {
	struct program program;
	struct copier *copier;
};

FIXTURE_VARIANT(copy) {
	int (*start)(struct program *program);
	enum layout layout;
};

FIXTURE_VARIANT_ADD(copy, redis) { start_redis, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(copy, sqlite) { start_sqlite, LAYOUT_PM };
FIXTURE_VARIANT_ADD(copy, python) { start_python, LAYOUT_VER1 };

FIXTURE_SETUP(copy)
{
	strcpy(self->program.directory, "/tmp/pagemap_scan.XXXXXX");
	ASSERT_TRUE(!!mkdtemp(self->program.directory));
	self->copier = calloc(1, sizeof(*self->copier));
	ASSERT_EQ(0, variant->start(&self->program));
	ASSERT_EQ(0, copier_begin(self->copier, self->program.pid,
				  variant->layout));
}

static void end_process(pid_t pid)
{
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

FIXTURE_TEARDOWN(copy)
{
	char command[64];

	end_process(self->program.load);
	end_process(self->program.pid);
	snprintf(command, sizeof(command), "rm -rf %s",
		 self->program.directory);
	EXPECT_EQ(0, system(command));
}

TEST_F_TIMEOUT(copy, has_every_byte_of_a_program_at_work, TIMEOUT)
{
	struct copier *copier = self->copier;
	unsigned long end, rounds = 0, first, updated = 0;

	ASSERT_EQ(0, copy_round(copier));
	first = copier->read;
	end = milliseconds() + test_duration(8000);
	do {
		ASSERT_EQ(0, copy_round(copier));
		updated += copier->read;
		rounds++;
	} while (rounds < 5 || milliseconds() < end);
	/* It is still at work. */
	ASSERT_EQ(0, waitpid(self->program.pid, NULL, WNOHANG));

	ASSERT_EQ(0, stop_process(self->program.pid));
	ASSERT_EQ(0, copy_round(copier));
	EXPECT_EQ(0, compare(copier));
	fprintf(stderr,
		"# copied %lu pages first, %lu in %lu rounds, %lu last; compared %lu\n",
		first, updated, rounds, copier->read, compared);
	EXPECT_LT(0, updated);
	/* The last was an update, too. */
	EXPECT_GT(compared, copier->read);
}

static void __attribute__((constructor)) prepare(void)
{
	machine_prepare(0);
}

TEST_HARNESS_MAIN
