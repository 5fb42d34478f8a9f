/* load.c - the bench's clients: thousands of WebSocket sessions in one epoll loop that count what comes, as cheaply as possible. */
/* SPDX-License-Identifier: PostgreSQL */
/*
 * load PORT PATH FRAMES [track] [small]: each line of FRAMES is the text that one client sends once it is connected (its join). A client is live when
 * "has_more":false has come. A message is a text between two '@': microseconds of CLOCK_MONOTONIC when it was written, or 0. A mark is a number
 * below 64 between two '~': what has one is known to have come. With `track` clients keep their sync token and join again with it, with
 * `small` the kernel keeps little for them. Lines on stdin are commands, each answered by one JSON line:
 *   open N AT_ONCE | cut AT_ONCE [MS] | live MS | reset | wait MESSAGES MS | marks N MS | stats | stall N | beat | unstall | quit
 * `beat`: those that are stalled send a heartbeat. `marks N` waits until every client has the marks 0 to N - 1; `marked` says how many have. `closed` counts the server's close frames by code.
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
#include <time.h>
#include <unistd.h>

#define ROOM (1 << 18)
#define CARRY 64				/* of the bytes before: what may be cut in the middle */
#define STEPS 64				/* of the histogram, for each power of two */
#define POWERS 36
#define RETRY_US 200000

enum step
{
	STEP_NONE,					/* not connected; retry_us: when to try */
	STEP_CONNECTING,
	STEP_UPGRADING,
	STEP_JOINED,
	STEP_LIVE,
};

struct client
{
	int		fd;
	enum step step;
	const char *frame;
	size_t	frame_len;
	int64_t retry_us;
	uint64_t left;				/* of the frame that is coming in */
	unsigned char head[14];
	unsigned char head_len;
	unsigned char opcode;
	unsigned char carry_len;
	bool	is_stalled;
	char	carry[CARRY];
	uint64_t marks;
	char   *part;				/* of the sync token */
	char   *cursor;
};

static struct client *clients;
static size_t known;			/* lines of the file */
static size_t wanted;			/* of them to be connected */
static size_t live;
static size_t busy;				/* between connect and live */
static size_t at_once = 200;
static size_t next_try;
static size_t drops;			/* connections that the server ended */
static int	poll_fd;
static int	port;
static const char *path;
static bool	tracks;
static bool	is_small;
static size_t closed_slow;		/* close frames: 4008, */
static size_t closed_else;		/* and others */
static char room[CARRY + ROOM];

static struct
{
	uint64_t messages;
	uint64_t timed;
	uint64_t frames;
	uint64_t bytes;
	int64_t first_us;
	int64_t last_us;
	int64_t most_us;
	uint64_t counts[POWERS * STEPS];
} seen;

static int64_t
clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void
fail(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static size_t
bucket(int64_t us)
{
	int		power = 0;

	while (us >> power >= 2 * STEPS)
		power++;
	return (size_t) power * STEPS + (size_t) (us >> power);
}

static int64_t
bucket_us(size_t b)
{
	size_t	power = b < 2 * STEPS ? 0 : b / STEPS - 1;

	return (int64_t) ((b - power * STEPS) << power);
}

static void
note(int64_t written_us, int64_t now_us)
{
	if (seen.messages++ == 0)
		seen.first_us = now_us;
	seen.last_us = now_us;
	if (written_us <= 0 || written_us > now_us)
		return;
	seen.timed++;
	if (now_us - written_us > seen.most_us)
		seen.most_us = now_us - written_us;
	seen.counts[bucket(now_us - written_us)]++;
}

static int64_t
percentile(double share)
{
	uint64_t rank = (uint64_t) (share * (double) seen.timed);
	uint64_t sum = 0;

	for (size_t b = 0; b < POWERS * STEPS; b++)
		if ((sum += seen.counts[b]) > rank)
			return bucket_us(b);
	return seen.most_us;
}

static void
drop(struct client *c)
{
	if (c->fd < 0)
		return;
	close(c->fd);
	c->fd = -1;
	if (c->step == STEP_LIVE)
		live--;
	else if (c->step != STEP_NONE)
		busy--;
	c->step = STEP_NONE;
	c->left = c->head_len = c->carry_len = 0;
	c->is_stalled = false;
	c->retry_us = clock_us() + RETRY_US + rand() % RETRY_US;
}

static void
watch(struct client *c, int how, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = c};

	if (epoll_ctl(poll_fd, how, c->fd, &e) != 0)
		fail("epoll_ctl");
}

static void
begin(struct client *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int		one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		fail("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (is_small)				/* of large segments, as the loopback has them, the server's side would keep megabytes */
	{
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &(int) {4096}, sizeof(int));
		setsockopt(c->fd, IPPROTO_TCP, TCP_MAXSEG, &(int) {536}, sizeof(int));
	}
	c->step = STEP_CONNECTING;
	busy++;
	if (connect(c->fd, (struct sockaddr *) &to, sizeof(to)) != 0 && errno != EINPROGRESS)
		drop(c);
	else
		watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

/* All that is sent is small: a socket that does not take it whole is broken. */
static void
send_all(struct client *c, const void *data, size_t len)
{
	if (send(c->fd, data, len, MSG_NOSIGNAL) != (ssize_t) len)
		drop(c);
}

/* Masked with zeros: allowed, and free. */
static void
send_frame(struct client *c, unsigned char opcode, const char *text, size_t len)
{
	unsigned char *frame = malloc(len + 14);
	size_t	head = len < 126 ? 2 : 4;

	frame[0] = 0x80 | opcode;
	frame[1] = (unsigned char) (0x80 | (len < 126 ? len : 126));
	if (head == 4)
	{
		frame[2] = (unsigned char) (len >> 8);
		frame[3] = (unsigned char) len;
	}
	memset(frame + head, 0, 4);
	memcpy(frame + head + 4, text, len);
	send_all(c, frame, head + 4 + len);
	free(frame);
}

static void
send_join(struct client *c)
{
	char   *text;
	int		len;

	if (c->part == NULL || c->cursor == NULL)
	{
		send_frame(c, 1, c->frame, c->frame_len);
		return;
	}
	len = asprintf(&text, "%.*s,\"sync_token\":\"%s.%s\"}]", (int) c->frame_len - 2, c->frame, c->part, c->cursor);
	send_frame(c, 1, text, (size_t) len);
	free(text);
}

static void
keep(char **kept, const char *data, size_t len, const char *name)
{
	const char *at = data;
	const char *found = NULL;
	const char *end;
	size_t	name_len = strlen(name);

	while ((at = memmem(at, len - (size_t) (at - data), name, name_len)) != NULL)
		found = at += name_len;
	end = found != NULL ? memchr(found, '"', len - (size_t) (found - data)) : NULL;
	if (end == NULL || (*kept != NULL && strncmp(*kept, found, (size_t) (end - found)) == 0 && (*kept)[end - found] == '\0'))
		return;
	free(*kept);
	*kept = strndup(found, (size_t) (end - found));
}

/* The headers of frames hold any byte: only one or two digits between two '~' are a mark. Where one that is cut in the middle begins. */
static const char *
scan_marks(struct client *c, const char *at, const char *end)
{
	for (; (at = memchr(at, '~', (size_t) (end - at))) != NULL; at++)
	{
		size_t	digits = 1;

		while (digits < 3 && at + digits < end && at[digits] >= '0' && at[digits] <= '9')
			digits++;
		if (at + digits == end && digits < 4)
			return at;
		if (digits > 1 && at[digits] == '~')
			c->marks |= UINT64_C(1) << (strtoul(at + 1, NULL, 10) & 63);
	}
	return end;
}

/* data begins with the carry of last time. What begins here and ends in the next piece is carried on. */
static void
scan(struct client *c, const char *data, size_t len, int64_t now_us)
{
	const char *end = data + len;
	const char *at = data;
	const char *rest = end;

	while ((at = memchr(at, '@', (size_t) (end - at))) != NULL)
	{
		const char *close = memchr(at + 1, '@', (size_t) (end - at - 1));

		if (close == NULL)
		{
			rest = at;
			break;
		}
		note(strtoll(at + 1, NULL, 10), now_us);
		at = close + 1;
	}
	if (tracks)
	{
		keep(&c->part, data, len, "\"session\":\"");
		keep(&c->cursor, data, len, "\"cursor\":\"");
	}
	if (c->step == STEP_JOINED && memmem(data, len, "\"has_more\":false", 16) != NULL)
	{
		c->step = STEP_LIVE;
		live++;
		busy--;
	}
	at = scan_marks(c, data, end);
	if (at < rest)
		rest = at;
	if (rest == end && c->step == STEP_JOINED)
		rest = len > 20 ? end - 20 : data;
	c->carry_len = (unsigned char) (end - rest < CARRY ? end - rest : CARRY);
	memcpy(c->carry, end - c->carry_len, c->carry_len);
}

/* Frame by frame, only for their number and the pings. */
static void
walk(struct client *c, const unsigned char *data, size_t len)
{
	while (len > 0 && c->fd >= 0)
	{
		size_t	part = c->left < len ? (size_t) c->left : len;
		size_t	need;

		c->left -= part;
		data += part;
		len -= part;
		if (len == 0)
			break;
		c->head[c->head_len++] = *data++;
		len--;
		if (c->head_len < 2)
			continue;
		need = (c->head[1] & 0x7f) == 126 ? 4 : (c->head[1] & 0x7f) == 127 ? 10 : 2;
		if (c->head_len < need)
			continue;
		c->left = c->head[1] & 0x7f;
		if (need > 2)
			c->left = 0;
		for (size_t i = 2; i < need; i++)
			c->left = c->left << 8 | c->head[i];
		c->head_len = 0;
		seen.frames++;
		if ((c->head[0] & 0x0f) == 8)
			*(len >= 2 && data[0] == 4008 >> 8 && data[1] == (4008 & 255) ? &closed_slow : &closed_else) += 1;
		if ((c->head[0] & 0x0f) == 9)
			send_frame(c, 10, ".", 1);
	}
}

/* The answer to the handshake; whatever follows it is frames. */
static void
upgraded(struct client *c)
{
	ssize_t n = recv(c->fd, room, ROOM, MSG_PEEK);
	char   *end = n > 0 ? memmem(room, (size_t) n, "\r\n\r\n", 4) : NULL;

	if (n <= 0 || strncmp(room, "HTTP/1.1 101", n < 12 ? (size_t) n : 12) != 0)
	{
		drop(c);
		return;
	}
	if (end == NULL)
		return;
	if (recv(c->fd, room, (size_t) (end + 4 - room), 0) < 0)
	{
		drop(c);
		return;
	}
	c->step = STEP_JOINED;
	send_join(c);
}

static void
receive(struct client *c)
{
	char   *at = room + CARRY;
	ssize_t n = recv(c->fd, at, ROOM, 0);

	if (n <= 0)
	{
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
		{
			drops++;
			drop(c);
		}
		return;
	}
	seen.bytes += (uint64_t) n;
	memcpy(at - c->carry_len, c->carry, c->carry_len);
	scan(c, at - c->carry_len, (size_t) n + c->carry_len, clock_us());
	walk(c, (unsigned char *) at, (size_t) n);
}

static void
serve(struct client *c, uint32_t events)
{
	if (c->fd < 0)
		return;
	if (c->step == STEP_CONNECTING)
	{
		char	request[512];
		int		error = 0;
		socklen_t size = sizeof(error);
		int		len = snprintf(request, sizeof(request),
							   "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
							   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
							   path, port);

		if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
		{
			drop(c);
			return;
		}
		watch(c, EPOLL_CTL_MOD, EPOLLIN);
		c->step = STEP_UPGRADING;
		send_all(c, request, (size_t) len);
	}
	else if (c->step == STEP_UPGRADING && (events & EPOLLIN))
		upgraded(c);
	else
		receive(c);
}

/* Starts connections that are wanted, at most so many at once. */
static void
connect_more(void)
{
	int64_t now_us = clock_us();

	for (size_t i = 0; i < wanted && busy < at_once && live + busy < wanted; i++)
	{
		struct client *c = &clients[next_try++ % wanted];

		if (c->fd < 0 && c->retry_us <= now_us)
			begin(c);
	}
}

static void
turn(int wait_ms)
{
	struct epoll_event events[512];
	int		n = epoll_wait(poll_fd, events, 512, wait_ms);

	for (int i = 0; i < n; i++)
		if (events[i].data.ptr != NULL)
			serve(events[i].data.ptr, events[i].events);
	if (live + busy < wanted)
		connect_more();
}

static size_t
count_marked(uint64_t wanted_marks)
{
	size_t	count = 0;

	for (size_t i = 0; i < wanted; i++)
		count += (clients[i].marks & wanted_marks) == wanted_marks;
	return count;
}

static uint64_t all_marks;		/* last asked for */

/* How far those are that are not live. */
static size_t
count_at(enum step step)
{
	size_t	count = 0;

	for (size_t i = 0; i < wanted; i++)
		count += clients[i].step == step;
	return count;
}

static void
report(int64_t begin_us)
{
	printf("{\"ms\":%.3f,\"clients\":%zu,\"live\":%zu,\"drops\":%zu,\"messages\":%" PRIu64 ",\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64
		   ",\"first_us\":%" PRId64 ",\"last_us\":%" PRId64 ",\"timed\":%" PRIu64 ",\"p50\":%" PRId64 ",\"p99\":%" PRId64 ",\"most\":%" PRId64 ",\"marked\":%zu,\"closed_slow\":%zu,\"closed_else\":%zu"
		   ",\"away\":%zu,\"connecting\":%zu,\"upgrading\":%zu,\"joined\":%zu}\n",
		   (double) (clock_us() - begin_us) / 1000, wanted, live, drops, seen.messages, seen.frames, seen.bytes, seen.first_us, seen.last_us,
		   seen.timed, percentile(0.5), percentile(0.99), seen.most_us, count_marked(all_marks), closed_slow, closed_else,
		   count_at(STEP_NONE), count_at(STEP_CONNECTING), count_at(STEP_UPGRADING), count_at(STEP_JOINED));
	fflush(stdout);
}

static void
until_live(int64_t begin_us, int64_t limit_ms)
{
	while (live < wanted && clock_us() - begin_us < limit_ms * 1000)
		turn(10);
	report(begin_us);
}

/* Connections end without a word, as when a network goes. */
static void
cut(void)
{
	struct linger now = {.l_onoff = 1};

	for (size_t i = 0; i < wanted; i++)
	{
		if (clients[i].fd >= 0)
			setsockopt(clients[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		drop(&clients[i]);
		clients[i].retry_us = 0;
	}
}

/* The first n clients read nothing any more. */
static void
stall(size_t n)
{
	for (size_t i = 0; i < n && i < wanted; i++)
		if (clients[i].fd >= 0)
		{
			watch(&clients[i], EPOLL_CTL_MOD, 0);
			clients[i].is_stalled = true;
		}
}

/* What they do not read is to be more than what the kernel took: an answer of the server's, which waits behind it. */
static void
beat(void)
{
	static const char heartbeat[] = "[null,\"2\",\"phoenix\",\"heartbeat\",{}]";

	for (size_t i = 0; i < wanted; i++)
		if (clients[i].is_stalled && clients[i].fd >= 0)
			send_frame(&clients[i], 1, heartbeat, sizeof(heartbeat) - 1);
}

static void
unstall(void)
{
	for (size_t i = 0; i < wanted; i++)
	{
		if (clients[i].is_stalled && clients[i].fd >= 0)
			watch(&clients[i], EPOLL_CTL_MOD, EPOLLIN);
		clients[i].is_stalled = false;
	}
}

static void
until_marked(int64_t begin_us, long long marks, int64_t limit_ms)
{
	all_marks = marks >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << marks) - 1;
	for (int i = 0; clock_us() - begin_us < limit_ms * 1000; i++)
	{
		turn(10);
		if (i % 16 == 0 && count_marked(all_marks) == wanted)
			break;
	}
	report(begin_us);
}

static bool
obey(char *line)
{
	int64_t begin_us = clock_us();
	long long a = 0;
	long long b = 0;

	if (sscanf(line, "open %lld %lld", &a, &b) == 2)
	{
		wanted = wanted + (size_t) a < known ? wanted + (size_t) a : known;
		at_once = (size_t) b;
		until_live(begin_us, 120000);
	}
	else if (sscanf(line, "cut %lld %lld", &a, &b) >= 1)
	{
		at_once = (size_t) a;
		cut();
		until_live(begin_us, b > 0 ? b : 120000);
	}
	else if (sscanf(line, "live %lld", &a) == 1)
		until_live(begin_us, a);
	else if (sscanf(line, "wait %lld %lld", &a, &b) == 2)
	{
		while (seen.messages < (uint64_t) a && clock_us() - begin_us < b * 1000)
			turn(10);
		report(begin_us);
	}
	else if (sscanf(line, "marks %lld %lld", &a, &b) == 2)
		until_marked(begin_us, a, b);
	else if (strncmp(line, "unstall", 7) == 0)
	{
		unstall();
		report(begin_us);
	}
	else if (sscanf(line, "stall %lld", &a) == 1)
	{
		stall((size_t) a);
		report(begin_us);
	}
	else if (strncmp(line, "beat", 4) == 0)
	{
		beat();
		report(begin_us);
	}
	else if (strncmp(line, "reset", 5) == 0)
	{
		memset(&seen, 0, sizeof(seen));
		drops = 0;
		report(begin_us);
	}
	else if (strncmp(line, "stats", 5) == 0)
		report(begin_us);
	else
		return false;
	return true;
}

static void
read_frames(const char *file)
{
	FILE   *f = fopen(file, "r");
	char   *line = NULL;
	size_t	size = 0;
	ssize_t len;

	if (f == NULL)
		fail(file);
	while ((len = getline(&line, &size, f)) > 1)
	{
		clients = realloc(clients, (known + 1) * sizeof(*clients));
		clients[known] = (struct client){.fd = -1, .frame = strndup(line, (size_t) len - 1), .frame_len = (size_t) len - 1};
		known++;
	}
	free(line);
	fclose(f);
}

int
main(int argc, char **argv)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
	char	line[256];
	size_t	len = 0;

	if (argc < 4)
		return 2;
	port = atoi(argv[1]);
	path = argv[2];
	for (int i = 4; i < argc; i++)
	{
		tracks = tracks || strcmp(argv[i], "track") == 0;
		is_small = is_small || strcmp(argv[i], "small") == 0;
	}
	read_frames(argv[3]);
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	epoll_ctl(poll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &e);
	for (;;)
	{
		ssize_t n = read(STDIN_FILENO, line + len, sizeof(line) - 1 - len);
		char   *end;

		if (n == 0)
			return 0;
		len += n > 0 ? (size_t) n : 0;
		line[len] = '\0';
		while ((end = strchr(line, '\n')) != NULL)
		{
			*end = '\0';
			if (!obey(line))
				return 0;
			len -= (size_t) (end + 1 - line);
			memmove(line, end + 1, len + 1);
		}
		turn(10);
	}
}
