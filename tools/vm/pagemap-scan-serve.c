// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan: who tracks the process of a snapshot
 *
 * To know later what was written since, somebody has to hold the userfaultfd:
 * a process of this program, which waits at a socket in the snapshot's directory
 * for orders, until it is told to end or the tracked process exits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "pagemap-scan-snapshot.h"

/* How long to wait for the order of somebody who has connected. */
#define ORDER_SECONDS	5

/* Serve one who has connected.  Return: whether to go on. */
static bool serve_client(struct snapshot *snapshot, int client)
{
	struct timeval patience = { .tv_sec = ORDER_SECONDS };
	struct snapshot_reply reply = {};
	bool go_on = true;
	char order;

	setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience,
		   sizeof(patience));
	if (recv(client, &order, 1, 0) != 1)
		return true;
	switch (order) {
	case SNAPSHOT_UPDATE:
		if (update_snapshot(snapshot, &reply.failure))
			go_on = false;
		break;
	default:
		go_on = false;
		break;
	}
	reply.copied = snapshot->copied;
	reply.dropped = snapshot->dropped;
	reply.total = sum_of_ranges(&snapshot->have);
	/* Nobody else is to connect to one who is about to end. */
	if (!go_on)
		unlinkat(snapshot->image.directory, IMAGE_SOCKET, 0);
	send(client, &reply, sizeof(reply), MSG_NOSIGNAL);
	return go_on;
}

static void serve(struct snapshot *snapshot)
{
	bool go_on = true;
	int client;

	while (go_on) {
		switch (session_wait(&snapshot->session, SESSION_FOREVER)) {
		case SESSION_REQUESTED:
			client = accept4(snapshot->session.requests, NULL, NULL,
					 SOCK_CLOEXEC);
			if (client < 0)
				break;
			go_on = serve_client(snapshot, client);
			close(client);
			break;
		case SESSION_ENDED:
		case SESSION_INTERRUPTED:
			go_on = false;
			break;
		default:
			break;
		}
	}
	unlinkat(snapshot->image.directory, IMAGE_SOCKET, 0);
}

/**
 * serve_snapshot - leave a process behind that tracks
 * @snapshot: the snapshot, after its first update
 * @failure: receives the error
 *
 * The new process has the session from now on; this one may close it.
 *
 * Return: 0, or -1 with an error noted.
 */
int serve_snapshot(struct snapshot *snapshot, struct failure *failure)
{
	int null;
	pid_t pid;

	snapshot->session.requests = image_socket(&snapshot->image, true,
						  failure);
	if (snapshot->session.requests < 0)
		return -1;
	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		fail(failure, STATUS_ERROR,
		     "cannot leave a process behind that tracks: %s",
		     strerror(errno));
		unlinkat(snapshot->image.directory, IMAGE_SOCKET, 0);
	}
	if (pid) {
		close(snapshot->session.requests);
		return pid < 0 ? -1 : 0;
	}
	/* Whoever waits for the output of the command has all of it. */
	setsid();
	null = open("/dev/null", O_RDWR);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
	if (chdir("/"))
		_exit(STATUS_ERROR);
	snapshot->progress = false;
	serve(snapshot);
	_exit(STATUS_OK);
}

/**
 * order_snapshot - have the one who tracks do something
 * @image: the snapshot
 * @order: what to do
 * @reply: receives the answer
 * @failure: receives the error, also that of the other
 *
 * Return: 0, or -1 with an error noted.
 */
int order_snapshot(const struct image *image, enum snapshot_order order,
		   struct snapshot_reply *reply, struct failure *failure)
{
	int fd = image_socket(image, false, failure);
	char byte = order;
	ssize_t got;

	if (fd < 0)
		return -1;
	got = send(fd, &byte, 1, MSG_NOSIGNAL);
	if (got == 1)
		got = recv(fd, reply, sizeof(*reply), 0);
	close(fd);
	if (got != sizeof(*reply))
		return fail(failure, STATUS_ERROR,
			    "the process that tracked for the snapshot in %s has died; make a new snapshot",
			    image->path);
	if (reply->failure.status != STATUS_OK) {
		*failure = reply->failure;
		return -1;
	}
	return 0;
}
