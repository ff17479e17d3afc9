// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN: who may, and what becomes of a pagemap descriptor.
 *
 * Opening /proc/PID/pagemap asks for ptrace read access; whoever holds the
 * descriptor may scan the address space that it was opened for, and no other,
 * and protect what that address space has registered itself.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "pagemap_scan_harness.h"
#include "pagemap_scan_target.h"
#include "pagemap_scan_util.h"

#define TIMEOUT		120
#define PAGES		TARGET_PAGES
#define TRACKED_PAGES	TARGET_TRACKED_PAGES

#define EXPECT_ERROR(error, call) do {					\
	errno = 0;							\
	EXPECT_EQ(-1, (call));						\
	EXPECT_EQ(error, errno);					\
} while (0)

static struct scan plain_scan(const struct target *target, enum layout layout,
			      struct page_region *vec)
{
	return (struct scan) {
		.layout = layout,
		.start = address(target->plain),
		.end = address(target->plain) + PAGES * page_size(),
		.vec = vec,
		.vec_len = PAGES,
		.required = PAGE_IS_PRESENT,
		.returned = PAGE_IS_PRESENT,
	};
}

/* Written pages of the tracked memory. */
static struct scan tracked_scan(const struct target *target,
				enum layout layout, struct page_region *vec)
{
	return (struct scan) {
		.layout = layout,
		.flags = PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED,
		.start = address(target->tracked),
		.end = address(target->tracked) + TRACKED_PAGES * page_size(),
		.vec = vec,
		.vec_len = PAGES,
		.required = PAGE_IS_WRITTEN,
		.returned = PAGE_IS_WRITTEN,
	};
}

/* Whether the answer to plain_scan() is right. */
static bool plain_is_right(const struct scan *scan, long regions)
{
	long i;

	if (scan_check(scan, regions) || regions != PAGES / 3)
		return false;
	for (i = 0; i < regions; i++) {
		__u64 start = scan->start + 3 * i * page_size();

		if (scan->vec[i].start != start ||
		    scan->vec[i].end != start + page_size() ||
		    scan->vec[i].categories != PAGE_IS_PRESENT)
			return false;
	}
	return true;
}

/* Who may open */

#define WRONG_ANSWER	255

/*
 * Open the target's pagemap file as someone and scan; the program that a
 * setuid target runs has other memory, of which the stack is looked for.
 */
static int open_and_scan(struct target *target, enum sort sort)
{
	struct page_region vec[PAGES];
	struct scan scan = plain_scan(target, LAYOUT_VER1, vec);
	long regions;
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", target->pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return errno;
	if (sort == SETUID) {
		scan.start = 0;
		scan.end = 1UL << 30;
		regions = scan_call(fd, &scan);
		return scan_check(&scan, regions) ? WRONG_ANSWER : 0;
	}
	regions = scan_call(fd, &scan);
	return plain_is_right(&scan, regions) ? 0 : WRONG_ANSWER;
}

FIXTURE(open) {
	struct target target;
};

FIXTURE_VARIANT(open) {
	enum sort sort;
	enum person allowed[4];
	enum person refused[6];
};

FIXTURE_VARIANT_ADD(open, plain) {
	PLAIN,
	{ OWNER, TRACER },
	{ STRANGER, READER, OWNER_IN_NAMESPACE, STRANGER_IN_NAMESPACE },
};

FIXTURE_VARIANT_ADD(open, not_dumpable) {
	NOT_DUMPABLE,
	{ TRACER },
	{ OWNER, STRANGER, READER, OWNER_IN_NAMESPACE, STRANGER_IN_NAMESPACE },
};

FIXTURE_VARIANT_ADD(open, setuid) {
	SETUID,
	{ TRACER },
	{ OWNER, STRANGER, READER, OWNER_IN_NAMESPACE, STRANGER_IN_NAMESPACE },
};

FIXTURE_VARIANT_ADD(open, in_user_namespace) {
	IN_NAMESPACE,
	{ OWNER, TRACER },
	{ STRANGER, READER, OWNER_IN_NAMESPACE, STRANGER_IN_NAMESPACE },
};

FIXTURE_SETUP(open)
{
	ASSERT_TRUE(machine_has(NEED_FILES));
	ASSERT_EQ(0, target_start(&self->target, variant->sort));
}

FIXTURE_TEARDOWN(open)
{
	end_process(self->target.pid, self->target.socket);
}

static int open_as(struct target *target, enum sort sort, enum person person)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(become(person) ? WRONG_ANSWER :
				       open_and_scan(target, sort));
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

TEST_F_TIMEOUT(open, who_may_trace_it_may_scan, TIMEOUT)
{
	size_t i;

	/* The lists end in ROOT. */
	for (i = 0; i < ARRAY_SIZE(variant->allowed); i++) {
		EXPECT_EQ(0, open_as(&self->target, variant->sort,
				     variant->allowed[i]))
			TH_LOG("person %d", variant->allowed[i]);
		if (variant->allowed[i] == ROOT)
			break;
	}
}

TEST_F_TIMEOUT(open, who_may_not_trace_it_may_not_open, TIMEOUT)
{
	size_t i;

	for (i = 0; variant->refused[i] != ROOT; i++)
		EXPECT_EQ(EACCES, open_as(&self->target, variant->sort,
					  variant->refused[i]))
			TH_LOG("person %d", variant->refused[i]);
}

/* Descriptors that were handed over */

struct answer {
	struct scan scan;
	long regions;
	int error;
	struct page_region vec[PAGES];
};

/**
 * struct holder - a process that has got the descriptor over a socket
 * @pid:	its number
 * @socket:	on which it gets descriptors, then calls, and sends answers
 */
struct holder {
	pid_t pid;
	int socket;
};

static void holder_main(enum person person, int socket)
{
	struct answer answer;
	char byte = 'k';
	int fd;

	if (become(person) || write(socket, &byte, 1) != 1)
		_exit(1);
	fd = receive_descriptor(socket);
	while (read(socket, &answer.scan, sizeof(answer.scan)) ==
	       sizeof(answer.scan)) {
		answer.scan.vec = answer.scan.vec_len ? answer.vec : NULL;
		errno = 0;
		answer.regions = scan_call(fd, &answer.scan);
		answer.error = errno;
		if (write(socket, &answer, sizeof(answer)) != sizeof(answer))
			break;
	}
	_exit(0);
}

static int holder_start(struct holder *holder, enum person person)
{
	char byte = 0;
	int socket;

	holder->pid = start_process(&socket);
	if (!holder->pid)
		holder_main(person, socket);
	holder->socket = socket;
	return read(socket, &byte, 1) == 1 && byte == 'k' ? 0 : -1;
}

/* As scan_call(), by the holder. */
static long holder_call(struct holder *holder, struct scan *scan)
{
	struct page_region *vec = scan->vec;
	struct answer answer;

	if (write(holder->socket, scan, sizeof(*scan)) != sizeof(*scan) ||
	    recv(holder->socket, &answer, sizeof(answer), MSG_WAITALL) !=
	    sizeof(answer)) {
		errno = EPIPE;
		return -1;
	}
	*scan = answer.scan;
	scan->vec = vec;
	if (vec && answer.regions > 0)
		memcpy(vec, answer.vec, answer.regions * sizeof(*vec));
	errno = answer.error;
	return answer.regions;
}

/* The target belongs to the owner; root hands its descriptor to someone. */
FIXTURE(holder) {
	struct target target;
	struct holder holder;
	int pagemap;
	struct page_region vec[PAGES];
	struct scan plain;
	struct scan tracked;
};

FIXTURE_VARIANT(holder) {
	enum person person;
	enum layout layout;
};

FIXTURE_VARIANT_ADD(holder, stranger) { STRANGER, LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(holder, stranger_in_namespace) {
	STRANGER_IN_NAMESPACE, LAYOUT_PM
};

FIXTURE_SETUP(holder)
{
	ASSERT_TRUE(machine_has(NEED_FILES));
	ASSERT_EQ(0, target_start(&self->target, PLAIN));
	ASSERT_EQ(0, holder_start(&self->holder, variant->person));
	self->pagemap = pagemap_open(self->target.pid);
	ASSERT_LE(0, self->pagemap);
	ASSERT_EQ(0, send_descriptor(self->holder.socket, self->pagemap));
	self->plain = plain_scan(&self->target, variant->layout, self->vec);
	self->tracked = tracked_scan(&self->target, variant->layout, self->vec);
}

FIXTURE_TEARDOWN(holder)
{
	end_process(self->holder.pid, self->holder.socket);
	end_process(self->target.pid, self->target.socket);
	close(self->pagemap);
}

TEST_F_TIMEOUT(holder, may_scan, TIMEOUT)
{
	long regions = holder_call(&self->holder, &self->plain);

	EXPECT_TRUE(plain_is_right(&self->plain, regions));
}

TEST_F_TIMEOUT(holder, may_scan_a_target_that_hides_later, TIMEOUT)
{
	long regions;

	ASSERT_EQ(0, target_do(&self->target, COMMAND_HIDE));
	regions = holder_call(&self->holder, &self->plain);
	EXPECT_TRUE(plain_is_right(&self->plain, regions));
}

TEST_F_TIMEOUT(holder, may_protect_what_the_target_registered, TIMEOUT)
{
	__u64 written = self->tracked.start + page_size();

	ASSERT_EQ(1, holder_call(&self->holder, &self->tracked));
	EXPECT_EQ(TRACKED_PAGES, self->tracked.pages);
	EXPECT_EQ(0, holder_call(&self->holder, &self->tracked));
	ASSERT_EQ(0, target_do(&self->target, COMMAND_WRITE));
	ASSERT_EQ(1, holder_call(&self->holder, &self->tracked));
	EXPECT_EQ(written, self->vec[0].start);
	EXPECT_EQ(written + page_size(), self->vec[0].end);
}

TEST_F_TIMEOUT(holder, may_not_protect_anything_else, TIMEOUT)
{
	self->plain.flags = PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED;
	self->plain.required = 0;
	EXPECT_ERROR(EPERM, holder_call(&self->holder, &self->plain));
	/* Or it is passed over. */
	self->plain.flags = PAGEMAP_WP_ENGAGE;
	EXPECT_EQ(0, holder_call(&self->holder, &self->plain));
	EXPECT_EQ(0, pages_with(self->pagemap, self->target.plain,
				PAGES * page_size(), PAGEMAP_UFFD_WP));
}

TEST_F_TIMEOUT(holder, may_not_protect_once_the_target_unregisters, TIMEOUT)
{
	ASSERT_EQ(1, holder_call(&self->holder, &self->tracked));
	ASSERT_EQ(0, target_do(&self->target, COMMAND_CLOSE_UFFD));
	EXPECT_ERROR(EPERM, holder_call(&self->holder, &self->tracked));
	EXPECT_EQ(0, pages_with(self->pagemap, self->target.tracked,
				TRACKED_PAGES * page_size(), PAGEMAP_UFFD_WP));
}

TEST_F_TIMEOUT(holder, has_nothing_after_exec, TIMEOUT)
{
	ASSERT_EQ(0, target_do(&self->target, COMMAND_EXEC));
	EXPECT_ERROR(ESRCH, holder_call(&self->holder, &self->plain));
	EXPECT_ERROR(ESRCH, holder_call(&self->holder, &self->tracked));
	/* Not even where there is nothing to see. */
	self->plain.end = self->plain.start;
	EXPECT_ERROR(ESRCH, holder_call(&self->holder, &self->plain));
}

TEST_F_TIMEOUT(holder, has_nothing_after_exec_of_a_setuid_program, TIMEOUT)
{
	struct page_region *vec = self->vec;

	ASSERT_EQ(0, target_do(&self->target, COMMAND_EXEC_SETUID));
	EXPECT_EQ(EACCES, open_as(&self->target, SETUID, OWNER));
	EXPECT_ERROR(ESRCH, holder_call(&self->holder, &self->plain));
	/* Where the program lies is not told either. */
	self->plain = (struct scan) {
		.layout = variant->layout,
		.end = 1UL << 31,
		.vec = vec,
		.vec_len = PAGES,
	};
	EXPECT_ERROR(ESRCH, holder_call(&self->holder, &self->plain));
}

TEST_F_TIMEOUT(holder, has_nothing_after_exit, TIMEOUT)
{
	siginfo_t info;

	ASSERT_EQ(0, target_do(&self->target, COMMAND_EXIT));
	ASSERT_EQ(0, waitid(P_PID, self->target.pid, &info,
			    WEXITED | WNOWAIT));
	EXPECT_ERROR(ESRCH, holder_call(&self->holder, &self->plain));
	EXPECT_ERROR(ESRCH, holder_call(&self->holder, &self->tracked));
	ASSERT_EQ(self->target.pid, waitpid(self->target.pid, NULL, 0));
	self->target.pid = -1;
	EXPECT_ERROR(ESRCH, holder_call(&self->holder, &self->plain));
}

/* Another process of the same number is another address space. */
TEST_F_TIMEOUT(holder, has_nothing_of_a_process_of_the_same_number, TIMEOUT)
{
	pid_t number = self->target.pid;
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = address(&number),
		.set_tid_size = 1,
	};
	pid_t pid;

	ASSERT_EQ(0, target_do(&self->target, COMMAND_EXIT));
	ASSERT_EQ(number, waitpid(number, NULL, 0));
	close(self->target.socket);
	self->target.pid = -1;
	pid = syscall(__NR_clone3, &args, sizeof(args));
	if (!pid) {
		pause();
		_exit(0);
	}
	ASSERT_EQ(number, pid);
	EXPECT_ERROR(ESRCH, holder_call(&self->holder, &self->plain));
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
}

/* It is the memory that counts, not the process that was opened. */
TEST_F_TIMEOUT(holder, may_scan_while_another_process_has_the_memory, TIMEOUT)
{
	long regions;
	siginfo_t info;

	ASSERT_EQ(0, target_do(&self->target, COMMAND_SHARE));
	ASSERT_EQ(0, waitid(P_PID, self->target.pid, &info,
			    WEXITED | WNOWAIT));
	regions = holder_call(&self->holder, &self->plain);
	EXPECT_TRUE(plain_is_right(&self->plain, regions));
	EXPECT_EQ(1, holder_call(&self->holder, &self->tracked));
	/* It ends when nobody talks to it any more. */
}

/* Scan while the target becomes another program; then it is over for good. */
TEST_F_TIMEOUT(holder, sees_the_old_memory_or_none_during_exec, TIMEOUT)
{
	char bytes[2] = { COMMAND_EXEC_SETUID, 'k' };
	int calls, gone = 0;
	long regions;

	for (calls = 0; gone < 20; calls++) {
		if (calls == 10)
			ASSERT_EQ(2, write(self->target.socket, bytes, 2));
		regions = holder_call(&self->holder, &self->plain);
		if (regions < 0) {
			ASSERT_EQ(ESRCH, errno);
			gone++;
			continue;
		}
		ASSERT_EQ(0, gone);
		/* All of it or, when it is being taken away, a part. */
		ASSERT_EQ(0, scan_check(&self->plain, regions));
		ASSERT_GE(PAGES / 3, regions);
	}
	EXPECT_LE(10, calls);
}

/* Descriptors of other kinds */

FIXTURE(descriptor) {
	struct target target;
	struct page_region vec[PAGES];
	struct scan plain;
};

FIXTURE_SETUP(descriptor)
{
	ASSERT_TRUE(machine_has(NEED_FILES));
	ASSERT_EQ(0, target_start(&self->target, PLAIN));
	self->plain = plain_scan(&self->target, LAYOUT_VER1, self->vec);
}

FIXTURE_TEARDOWN(descriptor)
{
	end_process(self->target.pid, self->target.socket);
}

TEST_F_TIMEOUT(descriptor, of_a_thread_serves_as_well, TIMEOUT)
{
	char path[64];
	long regions;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/pagemap",
		 self->target.pid, self->target.pid);
	fd = open(path, O_RDONLY);
	ASSERT_LE(0, fd);
	regions = scan_call(fd, &self->plain);
	EXPECT_TRUE(plain_is_right(&self->plain, regions));
	close(fd);
}

TEST_F_TIMEOUT(descriptor, that_is_only_a_path_does_not, TIMEOUT)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", self->target.pid);
	fd = open(path, O_PATH);
	ASSERT_LE(0, fd);
	EXPECT_ERROR(EBADF, scan_call(fd, &self->plain));
	close(fd);
}

/* Its own file says whose memory it is, not who calls or where. */
TEST_F_TIMEOUT(descriptor, of_its_own_that_a_process_gives_away, TIMEOUT)
{
	int socket, fd;
	long regions;
	pid_t pid = start_process(&socket);
	char byte;

	if (!pid) {
		size_t i;

		for (i = 0; i < PAGES; i += 3)
			touch_write(self->target.plain + i * page_size(), 1);
		if (become(STRANGER) ||
		    send_descriptor(socket, pagemap_open(getpid())) ||
		    read(socket, &byte, 1) != 1)
			_exit(1);
		_exit(0);
	}
	fd = receive_descriptor(socket);
	ASSERT_LE(0, fd);
	regions = scan_call(fd, &self->plain);
	EXPECT_TRUE(plain_is_right(&self->plain, regions));
	end_process(pid, socket);
	EXPECT_ERROR(ESRCH, scan_call(fd, &self->plain));
	close(fd);
}

/* A program of 64 bits, also where this one has 32. */
TEST_F_TIMEOUT(descriptor, shows_addresses_that_the_caller_cannot_have, TIMEOUT)
{
	struct page_region *vec = calloc(4096, sizeof(*vec));
	struct scan scan = {
		.layout = LAYOUT_VER1,
		.end = (1ULL << 47) - page_size(),
		.vec = vec,
		.vec_len = 4096,
		.required = PAGE_IS_PRESENT,
	};
	long regions;
	int fd;

	ASSERT_EQ(0, target_do(&self->target, COMMAND_EXEC));
	fd = pagemap_open(self->target.pid);
	ASSERT_LE(0, fd);
	regions = scan_call(fd, &scan);
	EXPECT_EQ(0, scan_check(&scan, regions));
	ASSERT_LT(1, regions);
	EXPECT_LT(1ULL << 32, vec[regions - 1].start);
	EXPECT_EQ(scan.end, scan.walk_end);
	free(vec);
	close(fd);
}

static void __attribute__((constructor)) prepare(void)
{
	machine_prepare(NEED_FILES);
	if (make_setuid_program())
		exit(1);
}

TEST_HARNESS_MAIN
