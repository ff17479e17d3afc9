// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fault injection, for pagemap_scan_fault, and for every other program of the
 * suite: with PAGEMAP_SCAN_FAILING set in its environment, each ioctl of it that
 * scans, registers or protects is made to fail first, in one place after the
 * other.  An error then must have changed nothing that the next try, and so the
 * test, depends on; a success has to be a right answer, as any other.
 *
 * That takes GLIBC_TUNABLES=glibc.pthread.rseq=0, or the kernel's copies for
 * restartable sequences fail as well, which ends the process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/userfaultfd.h>

#include "../kselftest.h"
#include "pagemap_scan_failing.h"
#include "pagemap_scan_util.h"

#define DEBUGFS		"/sys/kernel/debug/"

static const char *const settings[][2] = {
	{ DEBUGFS "failslab/ignore-gfp-wait", "N" },
	{ DEBUGFS "failslab/verbose", "0" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ DEBUGFS "fail_page_alloc/min-order", "0" },
	{ DEBUGFS "fail_page_alloc/verbose", "0" },
	{ DEBUGFS "fail_usercopy/verbose", "0" },
};

/**
 * prepare_failures() - make the kernel fail on demand, and silently
 *
 * Return: whether it can.
 */
bool prepare_failures(void)
{
	size_t i;

	if (access("/proc/thread-self/fail-nth", W_OK))
		return false;
	if (access(settings[0][0], W_OK))
		mount("debugfs", DEBUGFS, "debugfs", 0, NULL);
	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		if (tunable_write(settings[i][0], settings[i][1]))
			return false;
	}
	return true;
}

/**
 * fail_nth_open() - open what makes calls of the calling thread fail
 *
 * Return: a descriptor, which is about this thread whoever uses it, or -1.
 */
int fail_nth_open(void)
{
	return open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
}

/**
 * fail_nth_arm() - let an allocation or a copy of the thread fail
 * @fd:		of fail_nth_open()
 * @nth:	which one, from now on; 0: none
 */
void fail_nth_arm(int fd, unsigned int nth)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", nth);

	/* What is left of the last time may hit the write itself, once */
	if (pwrite(fd, text, length, 0) != length &&
	    pwrite(fd, text, length, 0) != length)
		perror("# fail-nth");
}

/**
 * fail_nth_disarm() - let nothing fail any more
 * @fd:		of fail_nth_open()
 *
 * To read is to copy, and so may fail itself when one was left; then it has not.
 * Leaves errno alone.
 *
 * Return: whether it has come to the failure.
 */
bool fail_nth_disarm(int fd)
{
	int saved = errno;
	char text[16] = "";
	bool failed;

	failed = pread(fd, text, sizeof(text) - 1, 0) > 0 && atoi(text) == 0;
	fail_nth_arm(fd, 0);
	errno = saved;
	return failed;
}

static int enabled = -1;

/**
 * spare_ioctls() - let no ioctl of this process fail from now on
 *
 * For cases where a call that has failed, and then rightly left more to report,
 * makes a difference, and where there are thousands of calls.
 */
void spare_ioctls(void)
{
	enabled = 0;
}

/* Each of them may be tried again after an error. */
static bool is_retried(unsigned long request)
{
	switch (request) {
	case PAGEMAP_SCAN:
	case PAGEMAP_SCAN_PM:
	case UFFDIO_REGISTER:
	case UFFDIO_UNREGISTER:
	case UFFDIO_WRITEPROTECT:
		break;
	default:
		return false;
	}
	if (enabled < 0)
		enabled = getenv("PAGEMAP_SCAN_FAILING") && prepare_failures();
	return enabled;
}

static bool is_of_failure(int error)
{
	return error == ENOMEM || error == EFAULT;
}

/* The first ones each, then ever fewer, as a large scan copies a lot. */
static unsigned int next_nth(unsigned int nth)
{
	return nth < 8 ? nth + 1 : nth * 2;
}

/**
 * ioctl() - what every program of the suite calls instead of the C library's
 * @fd:		a descriptor
 * @request:	what to do with it
 *
 * Return: as the system call returns when nothing is made to fail, or when
 * nothing came of that; or its error, where that is not one of a failure.
 */
int ioctl(int fd, unsigned long request, ...)
{
	int saved = errno, control, result;
	unsigned int nth = 0;
	bool failed;
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	/* Which another user, in the tests of permissions, cannot open */
	control = is_retried(request) ? fail_nth_open() : -1;
	if (control < 0)
		return syscall(__NR_ioctl, fd, request, arg);
	do {
		nth = next_nth(nth);
		fail_nth_arm(control, nth);
		result = syscall(__NR_ioctl, fd, request, arg);
		failed = fail_nth_disarm(control);
	} while (failed && result < 0 && is_of_failure(errno));
	if (result < 0)
		saved = errno;
	close(control);
	errno = saved;
	return result;
}
