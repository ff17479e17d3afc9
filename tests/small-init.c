// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first process of a guest whose kernel cannot run this machine's programs:
 * what guest/init and tests/in-guest do, in one static program.
 *
 * /list has lines 'NAME TIMEOUT HUGEPAGES PROGRAM ARGUMENT...'; 'kunit' as the
 * program stands for the results of the KUnit tests.  What each prints comes out
 * between the lines '@@ start NAME' and '@@ end NAME STATUS SECONDS'.
 *
 * There is no shell.  Under the names of sh, cat and true this program does as
 * much as the tests ask of those.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/reboot.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORDS 16

static void fail(const char *what)
{
	int log = open("/dev/kmsg", O_WRONLY);

	if (log >= 0)
		dprintf(log, "small-init: %s: %s\n", what, strerror(errno));
	reboot(LINUX_REBOOT_CMD_RESTART);
	_exit(1);
}

static int copy(int from, int to)
{
	static char buffer[1 << 16];
	ssize_t n;

	while ((n = read(from, buffer, sizeof(buffer))) > 0) {
		if (write(to, buffer, n) != n)
			return -1;
	}
	return n;
}

static int copy_file(const char *from, const char *to, mode_t mode)
{
	int in = open(from, O_RDONLY);
	int out = open(to, O_WRONLY | O_CREAT, 0600);
	int result = in < 0 || out < 0 || copy(in, out) ? -1 : 0;

	if (out >= 0 && mode && fchmod(out, mode))
		result = -1;
	if (result)
		fprintf(stderr, "copying %s to %s: %s\n", from, to,
			strerror(errno));
	close(in);
	close(out);
	return result;
}

static int cat(int argc, char **argv)
{
	int i, fd;

	if (argc < 2)
		return !!copy(0, 1);
	for (i = 1; i < argc; i++) {
		fd = open(argv[i], O_RDONLY);
		if (fd < 0 || copy(fd, 1))
			return 1;
		close(fd);
	}
	return 0;
}

/* The commands that the suite gives to system(). */
static int shell(const char *command)
{
	char path[PATH_MAX], name[PATH_MAX], target[2 * PATH_MAX];

	/* A file system that the host has made, of the same size */
	if (sscanf(command, "mkfs.ext4 -q -F %4095s >&2", path) == 1)
		return !!copy_file("/ext4.image", path, 0);
	if (sscanf(command, "cd %4095s && cp /bin/cat %4095s && chmod 4755",
		   path, name) == 2) {
		snprintf(target, sizeof(target), "%s/%s", path, name);
		return !!copy_file("/init", target, 04755);
	}
	fprintf(stderr, "sh: no shell here: %s\n", command);
	return 127;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return;
	/* What the kernel does not take is not there to be tested. */
	if (write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	close(fd);
}

static void mount_all(void)
{
	static const struct {
		const char *type, *where, *options;
	} mounts[] = {
		{ "proc", "/proc", NULL },
		{ "sysfs", "/sys", NULL },
		{ "devtmpfs", "/dev", NULL },
		{ "devpts", "/dev/pts", "ptmxmode=666" },
		{ "tmpfs", "/dev/shm", "mode=1777" },
		{ "hugetlbfs", "/dev/hugepages", NULL },
		{ "debugfs", "/sys/kernel/debug", NULL },
		{ "cgroup2", "/sys/fs/cgroup", NULL },
		{ "tmpfs", "/tmp", "mode=1777" },
	};
	size_t i;

	for (i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0,
			  mounts[i].options))
			fail(mounts[i].where);
	}
}

/* A virtio port shows up when the host has answered for it. */
static int open_port(unsigned int number)
{
	unsigned int tries, device, port;
	struct dirent *entry;
	char path[64];
	DIR *dir;
	int fd;

	for (tries = 0; tries < 500; tries++) {
		dir = opendir("/dev");
		while (dir && (entry = readdir(dir))) {
			if (sscanf(entry->d_name, "vport%up%u", &device,
				   &port) != 2 || port != number)
				continue;
			snprintf(path, sizeof(path), "/dev/vport%up%u", device,
				 port);
			fd = open(path, O_WRONLY);
			if (fd >= 0) {
				closedir(dir);
				return fd;
			}
		}
		if (dir)
			closedir(dir);
		usleep(10000);
	}
	fail("no virtio port");
	return -1;
}

/* Its lines without the white space that they begin with, as TAP wants them. */
static void show_kunit(void)
{
	FILE *results = fopen("/sys/kernel/debug/kunit/pagemap_scan/results", "r");
	char line[512];

	while (results && fgets(line, sizeof(line), results))
		fputs(line + strspn(line, " "), stdout);
	exit(!results);
}

static void start(char **words)
{
	if (setpgid(0, 0) || chdir("/programs") ||
	    !freopen("/dev/null", "r", stdin))
		exit(126);
	if (!strcmp(words[0], "kunit"))
		show_kunit();
	execv(words[0], words);
	perror(words[0]);
	exit(127);
}

/* The status as timeout(1) has it. */
static int wait_for(pid_t pid, int limit)
{
	time_t end = time(NULL) + limit;
	int status;
	pid_t done;

	for (;;) {
		/* Any other is an orphan that the program has left. */
		done = waitpid(-1, &status, WNOHANG);
		if (done == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) :
						   128 + WTERMSIG(status);
		if (done > 0)
			continue;
		if (time(NULL) > end) {
			kill(-1, SIGKILL);
			waitpid(pid, &status, 0);
			return 124;
		}
		usleep(10000);
	}
}

static void run_one(char *line)
{
	char *words[MAX_WORDS + 1] = {}, *save = NULL, *word;
	time_t begin = time(NULL);
	int n = 0, status;
	pid_t pid;

	for (word = strtok_r(line, " \n", &save); word && n < MAX_WORDS;
	     word = strtok_r(NULL, " \n", &save))
		words[n++] = word;
	if (n < 4)
		return;
	printf("@@ start %s\n", words[0]);
	fflush(stdout);
	write_file("/proc/sys/vm/drop_caches", "3");
	write_file("/proc/sys/vm/nr_hugepages", words[2]);
	pid = fork();
	if (!pid)
		start(words + 3);
	status = pid < 0 ? 126 : wait_for(pid, atoi(words[1]));
	/* What it has left behind */
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	write_file("/proc/sys/vm/nr_hugepages", "0");
	printf("\n@@ end %s %d %ld\n", words[0], status,
	       (long)(time(NULL) - begin));
	fflush(stdout);
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	char line[512];
	int output, status;
	FILE *list;

	name = name ? name + 1 : argv[0];
	if (!strcmp(name, "sh"))
		return shell(argv[argc - 1]);
	if (!strcmp(name, "true"))
		return 0;
	if (getpid() != 1)
		return cat(argc, argv);

	mount_all();
	loopback_up();
	setenv("PATH", "/bin", 1);
	setenv("HOME", "/tmp", 1);
	status = open_port(1);
	output = open_port(2);
	if (dup2(output, 1) < 0 || dup2(output, 2) < 0)
		fail("dup2");
	fcntl(status, F_SETFD, FD_CLOEXEC);
	close(output);
	list = fopen("/list", "re");
	if (!list)
		fail("/list");
	while (fgets(line, sizeof(line), list))
		run_one(line);
	dprintf(status, "0\n");
	sync();
	reboot(LINUX_REBOOT_CMD_RESTART);
	return 0;
}
