/* floor.c - the bench's floor: a bare epoll server that puts ready frames on WebSockets, and does nothing else. */
/* SPDX-License-Identifier: PostgreSQL */
/*
 * floor PORT; on stdin: `send TEXT` (one frame to everybody), `burst FRAMES BYTES PER_TURN` (so many, so many joined in one send() for each
 * client), `quit`. Whoever connects is upgraded without a look, and any frame of theirs is answered by {"has_more":false}.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESCRIPTORS 65536

/* What everybody gets is one stream; each client has a place in it. */
static char *stream;
static size_t stream_len;
static size_t stream_room;

static struct
{
	bool	is_open;
	bool	is_upgraded;
	bool	is_blocked;
	size_t	place;
} clients[DESCRIPTORS];

static int	top;
static int	poll_fd;

static void
put_frame(const char *text, size_t len)
{
	if (stream_len + len + 4 > stream_room)
	{
		stream_room = (stream_len + len + 4) * 2;
		stream = realloc(stream, stream_room);
	}
	stream[stream_len++] = (char) 0x81;
	if (len < 126)
		stream[stream_len++] = (char) len;
	else
	{
		stream[stream_len++] = 126;
		stream[stream_len++] = (char) (len >> 8);
		stream[stream_len++] = (char) len;
	}
	memcpy(stream + stream_len, text, len);
	stream_len += len;
}

static void
watch(int fd, int how, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	epoll_ctl(poll_fd, how, fd, &e);
}

static void
push(int fd)
{
	while (clients[fd].place < stream_len)
	{
		ssize_t n = send(fd, stream + clients[fd].place, stream_len - clients[fd].place, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			break;
		clients[fd].place += (size_t) n;
	}
	if ((clients[fd].place < stream_len) == clients[fd].is_blocked)
		return;
	clients[fd].is_blocked = !clients[fd].is_blocked;
	watch(fd, EPOLL_CTL_MOD, EPOLLIN | (clients[fd].is_blocked ? EPOLLOUT : 0));
}

static void
push_all(void)
{
	for (int fd = 0; fd <= top; fd++)
		if (clients[fd].is_upgraded && !clients[fd].is_blocked)
			push(fd);
}

static void
take_client(int listener)
{
	int		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int		one = 1;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	memset(&clients[fd], 0, sizeof(clients[fd]));
	clients[fd].is_open = true;
	if (fd > top)
		top = fd;
	watch(fd, EPOLL_CTL_ADD, EPOLLIN);
}

static void
hear(int fd)
{
	static const char upgrade[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
	static const char live[] = "\x81\x12{\"has_more\":false}";
	char	data[4096];
	ssize_t n = recv(fd, data, sizeof(data), 0);

	if (n <= 0)
	{
		close(fd);
		clients[fd].is_open = clients[fd].is_upgraded = false;
	}
	else if (memcmp(data, "GET ", 4) == 0)
		n = send(fd, upgrade, sizeof(upgrade) - 1, MSG_NOSIGNAL);
	else if (!clients[fd].is_upgraded)
	{
		n = send(fd, live, sizeof(live) - 1, MSG_NOSIGNAL);
		clients[fd].is_upgraded = true;
		clients[fd].place = stream_len;
	}
}

static void serve(int listener, int wait_ms);

static void
burst(int listener, long frames, long bytes, long per_turn)
{
	char   *text = malloc((size_t) bytes);

	memset(text, 'x', (size_t) bytes);
	memcpy(text, "@0@", 3);
	for (long i = 0; i < frames; i++)
	{
		put_frame(text, (size_t) bytes);
		if ((i + 1) % per_turn == 0)
		{
			push_all();
			serve(listener, 0);
		}
	}
	push_all();
	free(text);
}

static void
command(int listener, char *line)
{
	long	frames;
	long	bytes;
	long	per_turn;

	if (sscanf(line, "burst %ld %ld %ld", &frames, &bytes, &per_turn) == 3)
		burst(listener, frames, bytes, per_turn);
	else if (strncmp(line, "send ", 5) == 0)
	{
		put_frame(line + 5, strlen(line + 5));
		push_all();
	}
	else
		exit(0);
}

static void
commands(int listener)
{
	static char line[8192];
	static size_t len;
	ssize_t n = read(STDIN_FILENO, line + len, sizeof(line) - 1 - len);
	char   *end;

	if (n == 0)
		exit(0);
	len += n > 0 ? (size_t) n : 0;
	line[len] = '\0';
	while ((end = strchr(line, '\n')) != NULL)
	{
		*end = '\0';
		command(listener, line);
		len -= (size_t) (end + 1 - line);
		memmove(line, end + 1, len + 1);
	}
}

static void
serve(int listener, int wait_ms)
{
	struct epoll_event events[512];
	int		n = epoll_wait(poll_fd, events, 512, wait_ms);
	bool	is_commanded = false;

	for (int i = 0; i < n; i++)
	{
		int		fd = events[i].data.fd;

		if (fd == STDIN_FILENO)
			is_commanded = true;
		else if (fd == listener)
			take_client(listener);
		else if (events[i].events & EPOLLIN)
			hear(fd);
		else if (clients[fd].is_upgraded)
			push(fd);
	}
	if (is_commanded && wait_ms != 0)
		commands(listener);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int		listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int		one = 1;

	if (argc < 2)
		return 2;
	at.sin_port = htons((uint16_t) atoi(argv[1]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *) &at, sizeof(at)) != 0 || listen(listener, 4096) != 0)
	{
		perror("floor");
		return 1;
	}
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	watch(listener, EPOLL_CTL_ADD, EPOLLIN);
	watch(STDIN_FILENO, EPOLL_CTL_ADD, EPOLLIN);
	printf("ready\n");
	fflush(stdout);
	for (;;)
		serve(listener, 1000);
}
