// SPDX-License-Identifier: GPL-2.0-only
/*
 * deb-module: a module that is built with linux-headers alone, for tests/deb
 */
#include <linux/module.h>

static int __init deb_module_init(void)
{
	return 0;
}
module_init(deb_module_init);

static void __exit deb_module_exit(void)
{
}
module_exit(deb_module_exit);

MODULE_DESCRIPTION("Test of the linux-headers package");
MODULE_LICENSE("GPL");
