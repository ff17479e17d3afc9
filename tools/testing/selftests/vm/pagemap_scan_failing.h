/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fault injection: let an allocation or a copy of the calling thread fail.
 */
#ifndef __PAGEMAP_SCAN_FAILING_H
#define __PAGEMAP_SCAN_FAILING_H

#include <stdbool.h>

bool prepare_failures(void);
int fail_nth_open(void);
void fail_nth_arm(int fd, unsigned int nth);
bool fail_nth_disarm(int fd);
void spare_ioctls(void);

#endif /* __PAGEMAP_SCAN_FAILING_H */
