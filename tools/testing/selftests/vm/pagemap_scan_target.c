// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process to look at, and people who try to.
 */
#define _GNU_SOURCE
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "pagemap_scan_target.h"
#include "pagemap_scan_util.h"

#define OWNER_ID	1000
#define STRANGER_ID	1001

static int set_capabilities(__u32 capabilities)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = { {
		.effective = capabilities,
		.permitted = capabilities,
	} };

	return syscall(__NR_capset, &header, data);
}

/**
 * become() - let this process belong to someone else, for good
 * @person:	whom
 *
 * Return: 0, or -1.
 */
int become(enum person person)
{
	bool owner = person == OWNER || person == OWNER_IN_NAMESPACE;
	uid_t id = owner ? OWNER_ID : STRANGER_ID;
	__u32 capabilities = 0;

	if (person == ROOT)
		return 0;
	if (person == READER)
		capabilities = 1 << CAP_DAC_READ_SEARCH;
	else if (person == TRACER)
		capabilities = 1 << CAP_DAC_READ_SEARCH | 1 << CAP_SYS_PTRACE;
	if (prctl(PR_SET_KEEPCAPS, 1) || setgroups(0, NULL) ||
	    setresgid(id, id, id) || setresuid(id, id, id) ||
	    set_capabilities(capabilities))
		return -1;
	if (person == OWNER_IN_NAMESPACE || person == STRANGER_IN_NAMESPACE) {
		if (unshare(CLONE_NEWUSER))
			return -1;
	}
	/* A change of users makes a process one that can't be looked into. */
	return prctl(PR_SET_DUMPABLE, 1);
}

/**
 * send_descriptor() - hand a file descriptor to another process
 * @socket:	a Unix socket on which it waits with receive_descriptor()
 * @fd:		the descriptor
 *
 * Return: 0, or -1.
 */
int send_descriptor(int socket, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { .iov_base = "", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
}

/**
 * receive_descriptor() - get a file descriptor of another process
 * @socket:	a Unix socket
 *
 * Return: the descriptor, or -1.
 */
int receive_descriptor(int socket)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;
	int fd;

	if (recvmsg(socket, &message, 0) != 1)
		return -1;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/**
 * start_process() - fork, with a socket between the two processes
 * @socket:	where each finds its end
 *
 * Return: as fork().
 */
pid_t start_process(int *socket)
{
	int sockets[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		return -1;
	pid = fork();
	close(sockets[!pid ? 0 : 1]);
	*socket = sockets[!pid ? 1 : 0];
	return pid;
}

/**
 * end_process() - kill a process, and wait for its end
 * @pid:	what start_process() returned; below 1: there is none
 * @socket:	its end of the socket, to be closed
 */
void end_process(pid_t pid, int socket)
{
	if (pid <= 0)
		return;
	close(socket);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* The target */

static void target_exec(int socket, const char *program)
{
	dup2(socket, 0);
	dup2(socket, 1);
	execl(program, "cat", NULL);
	_exit(1);
}

static void target_run(struct target *target, int socket, int uffd);

/* Another process with the same memory, which outlives this one. */
static int target_heir(void *argument)
{
	struct target *target = argument;

	target_run(target, target->socket, -1);
	return 0;
}

static void target_share(struct target *target)
{
	static char stack[65536];

	clone(target_heir, stack + sizeof(stack), CLONE_VM, target);
	_exit(0);
}

static void target_run(struct target *target, int socket, int uffd)
{
	char command, answer = 'k';

	while (write(socket, &answer, 1) == 1 &&
	       read(socket, &command, 1) == 1) {
		switch (command) {
		case COMMAND_EXEC:
			target_exec(socket, "/bin/cat");
			break;
		case COMMAND_EXEC_SETUID:
			target_exec(socket, SETUID_PROGRAM);
			break;
		case COMMAND_HIDE:
			prctl(PR_SET_DUMPABLE, 0);
			break;
		case COMMAND_WRITE:
			touch_write(target->tracked + page_size(), 1);
			break;
		case COMMAND_CLOSE_UFFD:
			close(uffd);
			break;
		case COMMAND_SHARE:
			target_share(target);
			break;
		default:
			_exit(0);
		}
	}
	_exit(0);
}

static void target_main(struct target *target, enum sort sort, int socket)
{
	int uffd = uffd_create_async();
	size_t i;

	for (i = 0; i < TARGET_PAGES; i += 3)
		touch_write(target->plain + i * page_size(), 1);
	memset(target->tracked, 1, TARGET_TRACKED_PAGES * page_size());
	if (uffd < 0 ||
	    uffd_register(uffd, target->tracked,
			  TARGET_TRACKED_PAGES * page_size(),
			  UFFDIO_REGISTER_MODE_WP, NULL) ||
	    chdir(machine_tmpfs()) ||
	    become(sort == IN_NAMESPACE ? OWNER_IN_NAMESPACE : OWNER))
		_exit(1);
	if (sort == NOT_DUMPABLE && prctl(PR_SET_DUMPABLE, 0))
		_exit(1);
	if (sort == SETUID)
		target_exec(socket, SETUID_PROGRAM);
	target->socket = socket;
	target_run(target, socket, uffd);
}

/**
 * target_do() - tell a target what to do
 * @target:	the target
 * @command:	what
 *
 * Return: 0 once it has, or -1.
 */
int target_do(struct target *target, enum command command)
{
	char bytes[2] = { command, 'k' }, answer = 0;
	bool exec = command == COMMAND_EXEC || command == COMMAND_EXEC_SETUID;

	/* cat(1) answers with what it is sent. */
	if (write(target->socket, bytes, 1 + exec) != 1 + exec)
		return -1;
	if (command == COMMAND_EXIT)
		return 0;
	return read(target->socket, &answer, 1) == 1 && answer == 'k' ? 0 : -1;
}

/**
 * target_start() - start a process of OWNER to look at
 * @target:	where to describe it
 * @sort:	what makes it hard to look at
 *
 * Its memory lies where this process has mappings too, but no pages.
 *
 * Return: 0, or -1.
 */
int target_start(struct target *target, enum sort sort)
{
	char answer = 0;
	int socket = -1;

	target->plain = map_pages(TARGET_PAGES, PROT_READ | PROT_WRITE);
	target->tracked = map_pages(TARGET_TRACKED_PAGES,
				    PROT_READ | PROT_WRITE);
	if (!target->plain || !target->tracked)
		return -1;
	target->pid = start_process(&socket);
	if (!target->pid)
		target_main(target, sort, socket);
	target->socket = socket;
	if (sort == SETUID && write(socket, "k", 1) != 1)
		return -1;
	if (target->pid < 0 || read(socket, &answer, 1) != 1 || answer != 'k') {
		need_tracking();
		return -1;
	}
	return 0;
}

/**
 * make_setuid_program() - make the program that a setuid target runs
 *
 * A copy of cat(1) that belongs to root, whoever starts it.  A program calls
 * this before its first case, when it has the machine's NEED_FILES.
 *
 * Return: 0, or something else.
 */
int make_setuid_program(void)
{
	char command[160];

	snprintf(command, sizeof(command),
		 "cd %s && cp /bin/cat " SETUID_PROGRAM
		 " && chmod 4755 " SETUID_PROGRAM, machine_tmpfs());
	return system(command);
}
