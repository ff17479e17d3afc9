// SPDX-License-Identifier: GPL-2.0-only
/*
 * tool-mainline: a library to preload, for tests/tool
 *
 * Makes PAGEMAP_SCAN what it was in Linux 6.7: without soft-dirty pages, without
 * struct pagemap_scan_arg, with no PAGEMAP_USERFAULTFD beside it, and with a
 * walk_end that stays where a buffer of the kernel was full last, although
 * regions behind it were reported.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/pagemap_scan.h>

/* Regions that fit the kernel's buffer. */
#define BUFFER_LEN		512

static int scan(int fd, struct pm_scan_arg *arg)
{
	const struct page_region *vec = (void *)(uintptr_t)arg->vec;
	int found;

	if ((arg->category_inverted | arg->category_mask |
	     arg->category_anyof_mask | arg->return_mask) &
	    PAGE_IS_SOFT_DIRTY) {
		errno = EINVAL;
		return -1;
	}
	found = syscall(SYS_ioctl, fd, PAGEMAP_SCAN_PM, arg);
	if (found > BUFFER_LEN)
		arg->walk_end = vec[(found - 1) / BUFFER_LEN * BUFFER_LEN - 1].end;
	return found;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *arg;

	va_start(arguments, request);
	arg = va_arg(arguments, void *);
	va_end(arguments);
	if (request == PAGEMAP_SCAN_PM)
		return scan(fd, arg);
	if (request == PAGEMAP_SCAN || request == PAGEMAP_USERFAULTFD) {
		errno = EINVAL;
		return -1;
	}
	return syscall(SYS_ioctl, fd, request, arg);
}
