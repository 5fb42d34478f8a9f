/* failing_malloc.c - linked into a streamer of its own for tests: counts every place that allocates, ours and the libraries', and lets one fail on demand. */
/* SPDX-License-Identifier: PostgreSQL */
/*
 * The program's own malloc goes before all others, so libraries come here too; AddressSanitizer's stands behind it.
 * Orders and counts are in a file that the test maps too (SYNC_FAULTS): see test/lib/faults.js for its layout.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

#define EXPORTED __attribute__((visibility("default")))
#define DEPTH 24				/* frames that tell places apart */
#define KEPT 12					/* of the program's own, kept for the test to name */
#define PLACES 32768
#define MODULES 64

void   *__interceptor_malloc(size_t size);
void   *__interceptor_calloc(size_t count, size_t size);
void   *__interceptor_realloc(void *old, size_t size);

struct place
{
	uint64_t key;				/* of its stack; 0: free */
	uint32_t step;				/* what the test was doing when it was first seen */
	uint32_t hits;
	uint32_t is_own;			/* called by the program itself, not by a library */
	uint32_t depth;
	uint64_t frames[KEPT];		/* addresses within the program, innermost first */
};

struct control
{
	uint64_t armed;				/* the place that fails; 0: none; all ones: any */
	uint32_t skip;				/* after so many more hits */
	uint32_t lasts;				/* 1: from then on everything fails */
	uint32_t fired;				/* how many failed */
	uint32_t step;				/* set by the test */
	uint32_t count;				/* places found */
	uint32_t unused;
	uint64_t last;				/* the place that failed last */
	struct place places[PLACES];
};

struct module
{
	uintptr_t start;
	uintptr_t end;
	uint64_t name;				/* hash; 0: the program */
};

struct trace
{
	uint64_t key;
	int		depth;
	int		own_depth;
	bool	is_own;
	uint64_t frames[KEPT];
};

static struct control *control;
static struct module modules[MODULES];
static int module_count;
static __thread bool is_inside;

static int
add_module(struct dl_phdr_info *info, size_t size, void *data)
{
	struct module *m = &modules[module_count];

	(void) size;
	(void) data;
	if (module_count == MODULES)
		return 1;
	*m = (struct module) {.start = UINTPTR_MAX};
	for (int i = 0; i < info->dlpi_phnum; i++)
	{
		uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type != PT_LOAD)
			continue;
		m->start = start < m->start ? start : m->start;
		m->end = start + info->dlpi_phdr[i].p_memsz > m->end ? start + info->dlpi_phdr[i].p_memsz : m->end;
	}
	for (const char *p = info->dlpi_name; *p != '\0'; p++)
		m->name = m->name * 31 + (unsigned char) *p;
	module_count++;
	return 0;
}

static const struct module *
search_modules(uintptr_t pc)
{
	for (int i = 0; i < module_count; i++)
		if (pc >= modules[i].start && pc < modules[i].end)
			return &modules[i];
	return NULL;
}

static const struct module *
find_module(uintptr_t pc)
{
	const struct module *m = search_modules(pc);

	if (m != NULL || pc == 0)
		return m;
	module_count = 0;			/* one more was loaded */
	dl_iterate_phdr(add_module, NULL);
	return search_modules(pc);
}

static _Unwind_Reason_Code
add_frame(struct _Unwind_Context *context, void *data)
{
	struct trace *t = data;
	uintptr_t pc = _Unwind_GetIP(context);
	const struct module *m = find_module(pc);
	bool	is_program = m != NULL && m->name == 0;
	uint64_t at = m != NULL ? pc - m->start : 0;

	/* the first two are trace_of and malloc */
	if (t->depth++ < 2)
		return _URC_NO_REASON;
	if (t->depth == 3)
		t->is_own = is_program;
	/* of the program's own places a few callers tell enough; a library's differ by all that led there */
	if (!t->is_own || t->own_depth < 7)
		t->key = (t->key ^ at ^ (m != NULL ? m->name : 0)) * UINT64_C(0x100000001b3);
	if (is_program && t->own_depth < KEPT)
		t->frames[t->own_depth++] = at;
	return t->depth < DEPTH ? _URC_NO_REASON : _URC_END_OF_STACK;
}

static struct place *
find_place(const struct trace *t)
{
	size_t	i = t->key % PLACES;

	while (control->places[i].key != 0 && control->places[i].key != t->key)
		i = (i + 1) % PLACES;
	if (control->places[i].key == 0 && control->count < PLACES - 1)
	{
		struct place *p = &control->places[i];

		*p = (struct place) {.key = t->key, .step = control->step, .is_own = t->is_own, .depth = (uint32_t) t->own_depth};
		memcpy(p->frames, t->frames, sizeof(p->frames));
		control->count++;
	}
	return &control->places[i];
}

/* Noted; and is it this one that fails? */
static __attribute__((noinline)) bool
fails(void)
{
	struct trace t = {.key = UINT64_C(0xcbf29ce484222325)};
	bool	is_failure = false;

	if (control == NULL || is_inside)
		return false;
	is_inside = true;
	_Unwind_Backtrace(add_frame, &t);
	t.key |= t.key == 0;
	find_place(&t)->hits++;
	if (control->lasts == 1 && control->fired > 0)
		is_failure = true;
	else if ((control->armed == t.key || control->armed == UINT64_MAX) && control->skip-- == 0)
	{
		is_failure = true;
		control->armed = 0;
	}
	if (is_failure)
	{
		control->fired++;
		control->last = t.key;
		errno = ENOMEM;
	}
	is_inside = false;
	return is_failure;
}

EXPORTED void *
malloc(size_t size)
{
	return fails() ? NULL : __interceptor_malloc(size);
}

EXPORTED void *
calloc(size_t count, size_t size)
{
	return fails() ? NULL : __interceptor_calloc(count, size);
}

EXPORTED void *
realloc(void *old, size_t size)
{
	return fails() ? NULL : __interceptor_realloc(old, size);
}

EXPORTED void *
reallocarray(void *old, size_t count, size_t size)
{
	size_t	bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
	{
		errno = ENOMEM;
		return NULL;
	}
	return fails() ? NULL : __interceptor_realloc(old, bytes);
}

EXPORTED char *
strndup(const char *text, size_t most)
{
	size_t	len = strnlen(text, most);
	char   *copy = fails() ? NULL : __interceptor_malloc(len + 1);

	if (copy == NULL)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

EXPORTED char *
strdup(const char *text)
{
	size_t	len = strlen(text);
	char   *copy = fails() ? NULL : __interceptor_malloc(len + 1);

	return copy != NULL ? memcpy(copy, text, len + 1) : NULL;
}

static __attribute__((constructor)) void
map_control(void)
{
	const char *path = getenv("SYNC_FAULTS");
	int		fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void   *p = fd >= 0 ? mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	if (p != MAP_FAILED)
		control = p;
}
