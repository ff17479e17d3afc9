// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN under random programs of memory operations: each answer is
 * compared with a model of what the interface promises; see
 * pagemap_scan_fuzz.h.
 *
 * Each seed is a case.  One that fails prints the seed and the shortest list of
 * operations that still fails, which --replay runs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest.h"
#include "pagemap_scan_fuzz.h"

#define KINDS		(MEMORY_KSM + 1)
#define FIXED_SEEDS	(sizeof(long) == 8 ? 2 * KINDS : KINDS / 2)
#define FRESH_SEEDS	(sizeof(long) == 8 ? 4 : 2)
#define OPERATIONS	250
/* No further fresh seed is begun after that long without --minutes. */
#define SECONDS		150
#define PROGRAM_SECONDS	600
#define SHRINK_SECONDS	120
/* With less, as with half of the fixed seeds, a rare effect may be missing. */
#define ENOUGH_OPERATIONS 6000

const char * const effect_names[EFFECTS] = {
	[EFFECT_THP]			= "anonymous THP",
	[EFFECT_SHMEM_THP]		= "THP of a file",
	[EFFECT_HUGE_ZERO]		= "huge zero page",
	[EFFECT_ZERO]			= "zero page",
	[EFFECT_THP_PROTECTED]		= "protected THP",
	[EFFECT_THP_CUT]		= "THP protected in part",
	[EFFECT_HUGETLB_PROTECTED]	= "protected hugetlb page",
	[EFFECT_HUGETLB_HOLE]		= "protected hugetlb hole",
	[EFFECT_MARKER]			= "marker",
	[EFFECT_SWAPPED]		= "page in swap",
	[EFFECT_SWAPPED_PROTECTED]	= "protected page in swap",
	[EFFECT_FILE]			= "page of a file",
	[EFFECT_COPIED]			= "copied page of a file",
	[EFFECT_SOFT_DIRTY]		= "soft-dirty page",
	[EFFECT_SOFT_CLEAN]		= "page not soft-dirty",
	[EFFECT_WRITTEN]		= "written page",
	[EFFECT_UNWRITTEN]		= "page not written",
	[EFFECT_UNREGISTERED]		= "page not registered",
	[EFFECT_MAYBE]			= "page that may be either",
	[EFFECT_ENGAGED]		= "page protected by a scan",
	[EFFECT_STOP_VEC]		= "stop at a full vec",
	[EFFECT_STOP_PAGES]		= "stop at max_pages",
	[EFFECT_EPERM]			= "EPERM",
	[EFFECT_EINVAL]			= "EINVAL",
	[EFFECT_EFAULT]			= "EFAULT",
	[EFFECT_SWAPPED_OUT]		= "swapped out",
	[EFFECT_SWAPPED_IN]		= "swapped in by swapoff",
	[EFFECT_FREED]			= "lazily freed",
	[EFFECT_COLLAPSED]		= "collapsed",
	[EFFECT_SPLIT]			= "split",
	[EFFECT_MIGRATED]		= "migrated",
	[EFFECT_MERGED]			= "merged",
	[EFFECT_UNMERGED]		= "unmerged",
	[EFFECT_MOVED_TRACKED]		= "moved with its tracking",
	[EFFECT_MOVED_UNTRACKED]	= "moved without it",
	[EFFECT_COPIED_PROTECTED]	= "UFFDIO_COPY, protected",
	[EFFECT_CHILD_SCANNED]		= "scanned by a child",
	[EFFECT_FORCED_WRITE]		= "written by a debugger",
	[EFFECT_KERNEL_WRITE]		= "written by the kernel",
	[EFFECT_SMAPS]			= "huge pages compared with smaps",
	[EFFECT_UNION]			= "union of small calls",
};

static const char * const kind_names[KINDS] = {
	[MEMORY_ANON]		= "anon",
	[MEMORY_THP]		= "thp",
	[MEMORY_SHMEM]		= "shmem",
	[MEMORY_MEMFD]		= "memfd",
	[MEMORY_MEMFD_THP]	= "memfd-thp",
	[MEMORY_TMPFS_PRIVATE]	= "tmpfs-private",
	[MEMORY_TMPFS_SHARED]	= "tmpfs-shared",
	[MEMORY_EXT4_PRIVATE]	= "ext4-private",
	[MEMORY_EXT4_SHARED]	= "ext4-shared",
	[MEMORY_HUGETLB_PRIVATE] = "hugetlb-private",
	[MEMORY_HUGETLB_SHARED]	= "hugetlb-shared",
	[MEMORY_KSM]		= "ksm",
};

/* A program and what it is run on. */
struct program {
	struct setting setting;
	unsigned int count;
	struct op *ops;
};

/* All that the test program does. */
struct session {
	unsigned int operations;
	unsigned int cases;
	struct outcome *outcome;
	struct outcome total;
	unsigned long long run_operations;
};

/* Programs from seeds */

static unsigned int draw(unsigned long long *state, unsigned int below)
{
	unsigned long long x;

	/* Steps of an odd constant, each well mixed. */
	*state += 0x9e3779b97f4a7c15ULL;
	x = *state;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return (unsigned int)((x ^ (x >> 31)) >> 32) % below;
}

static bool chance(unsigned long long *state, unsigned int percent)
{
	return draw(state, 100) < percent;
}

static unsigned int draw_code(unsigned long long *state)
{
	static const unsigned char weights[OP_CODES] = {
		[OP_MAP] = 3, [OP_UNMAP] = 2, [OP_WRITE] = 40, [OP_READ] = 12,
		[OP_POPULATE] = 4, [OP_DONTNEED] = 8, [OP_FREE] = 10,
		[OP_PAGEOUT] = 12, [OP_COLD] = 2, [OP_WILLNEED] = 3,
		[OP_COLLAPSE] = 6, [OP_PUNCH] = 7, [OP_TRUNCATE] = 4,
		[OP_FILE_WRITE] = 4, [OP_SYNC] = 3, [OP_MOVE] = 8,
		[OP_GROW] = 4, [OP_SHRINK] = 2, [OP_MPROTECT] = 6,
		[OP_MLOCK] = 2, [OP_MUNLOCK] = 3, [OP_FORK] = 4,
		[OP_SPLIT] = 5, [OP_MIGRATE] = 6, [OP_MERGE] = 6,
		[OP_UNMERGE] = 6, [OP_ADVISE] = 5, [OP_REGISTER] = 16,
		[OP_UNREGISTER] = 3, [OP_PROTECT] = 10, [OP_UNPROTECT] = 4,
		[OP_COPY] = 5, [OP_SWAPOFF] = 2, [OP_COMPACT] = 1,
		[OP_CLEAR_SOFT_DIRTY] = 2, [OP_DROP_CACHES] = 1,
		[OP_SCAN] = 70, [OP_UNION] = 10, [OP_SCAN_FAULT] = 9,
	};
	unsigned int sum = 0, i;

	for (i = 0; i < OP_CODES; i++)
		sum += weights[i];
	sum = draw(state, sum);
	for (i = 0; sum >= weights[i]; i++)
		sum -= weights[i];
	return i;
}

/* Anonymous memory has the most ways to change. */
static unsigned int draw_kind(unsigned long long *state)
{
	static const enum memory_kind kinds[] = {
		MEMORY_ANON, MEMORY_THP, MEMORY_THP, MEMORY_MEMFD_THP,
		MEMORY_KSM,
	};
	unsigned int many = sizeof(kinds) / sizeof(*kinds), kind;

	do {
		kind = chance(state, 50) ? kinds[draw(state, many)] :
					   draw(state, KINDS);
	} while (!machine_has(memory_needs(kind)));
	return kind;
}

static unsigned int draw_length(unsigned long long *state, unsigned int most)
{
	switch (draw(state, 4)) {
	case 0:
		return 1;
	case 1:
		return 1 + draw(state, 8);
	case 2:
		return 1 + draw(state, 64);
	default:
		return 1 + draw(state, most);
	}
}

/* Pages of an area, mostly where it is mapped at first. */
static void draw_range(unsigned long long *state, const struct area *area,
		       struct op *op)
{
	unsigned int huge = huge_size() / page_size();

	switch (draw(state, 8)) {
	case 0:
		op->count = area->window;
		return;
	case 1:
		op->first = area->home;
		op->count = area->size;
		return;
	case 2:
		op->first = draw(state, area->window);
		op->count = draw_length(state, area->window);
		return;
	default:
		op->first = area->home + draw(state, area->size);
		op->count = draw_length(state, area->size);
		break;
	}
	/* Whole huge pages */
	if (area->size > huge && chance(state, 30)) {
		op->first -= op->first % huge;
		op->count += huge - op->count % huge;
	}
}

static unsigned int draw_mask(unsigned long long *state)
{
	switch (draw(state, 5)) {
	case 0:
	case 1:
		return 0;
	case 2:
		return 1 << draw(state, 8);
	case 3:
		return 1 << draw(state, 8) | 1 << draw(state, 8);
	default:
		return draw(state, 256) & draw(state, 256);
	}
}

static unsigned int draw_masks(unsigned long long *state, unsigned int layout)
{
	unsigned int returned = chance(state, 50) ? ALL_CATEGORIES :
						    draw(state, 256);
	unsigned int first = draw_mask(state), second = draw_mask(state);

	/* What all its users ask for */
	if (chance(state, 40)) {
		first = layout == LAYOUT_PM ? 0 : PAGE_IS_WRITTEN;
		second = layout == LAYOUT_PM ? PAGE_IS_WRITTEN : 0;
		return returned << 24 | second << 8 | first;
	}
	return returned << 24 | draw_mask(state) << 16 | second << 8 | first;
}

static unsigned int draw_limit(unsigned long long *state, unsigned int none)
{
	switch (draw(state, 6)) {
	case 0:
		return 1 + draw(state, 3);
	case 1:
		return 1 + draw(state, 40);
	case 2:
		return 500 + draw(state, 600);
	default:
		return none;
	}
}

static unsigned int draw_flags(unsigned long long *state)
{
	static const unsigned int flags[] = {
		0, 0, 0, 0, 0, PAGEMAP_WP_ENGAGE, PAGEMAP_WP_ENGAGE,
		PAGEMAP_WP_ENGAGE, PAGEMAP_WP_REQUIRED,
		PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED,
	};

	return flags[draw(state, sizeof(flags) / sizeof(*flags))];
}

static void draw_scan(unsigned long long *state, const struct area *areas,
		      unsigned int pages, struct op *op)
{
	unsigned int layout = draw(state, 3), a, i;

	switch (draw(state, 8)) {
	case 0:
		op->count = pages;
		break;
	case 1:
		op->first = draw(state, pages);
		op->count = draw_length(state, pages);
		break;
	default:
		a = draw(state, AREAS);
		draw_range(state, &areas[a], op);
		for (i = 0; i < a; i++)
			op->first += areas[i].window;
		break;
	}
	op->arg[0] = draw_masks(state, layout);
	op->arg[1] = chance(state, 10) ? 0 : draw_limit(state, 1 << 20);
	op->arg[2] = draw_limit(state, 0);
	op->arg[3] = draw_flags(state) << 2 | layout | chance(state, 10) << 4 |
		     draw(state, 2) << 20;
	/* A length that is to be rounded up */
	if (chance(state, 20))
		op->arg[3] |= draw(state, page_size()) << 8;

	if (op->code == OP_SCAN)
		return;
	op->arg[1] = 1 + draw(state, op->code == OP_UNION ? 8 : 20);
	if (op->code != OP_UNION || !(op->arg[3] & PAGEMAP_WP_ENGAGE << 2))
		return;
	/* Protecting splits huge pages, and so changes all other categories. */
	op->arg[0] &= 0x01010101 * (PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN);
	op->arg[2] = 0;
}

/* What the kind of memory is there for. */
static void draw_kind_op(unsigned long long *state, const struct area *area,
			 struct op *op)
{
	static const unsigned int thp[] = {
		OP_SPLIT, OP_COLLAPSE, OP_COLLAPSE, OP_POPULATE, OP_MAP,
		OP_PROTECT,
	};
	static const unsigned int ksm[] = { OP_MERGE, OP_UNMERGE, OP_MERGE };

	if (area->kind == MEMORY_KSM || area->kind == MEMORY_ANON)
		op->code = ksm[draw(state, 3)];
	if (memory_is_thp(area->kind)) {
		op->code = thp[draw(state, 6)];
		op->first = area->home;
		op->count = area->size;
	}
}

/* What goes well behind the last operation, which had the same pages. */
static unsigned int draw_next(unsigned long long *state, unsigned int last,
			      unsigned int code)
{
	switch (last) {
	case OP_FREE:
		return OP_PAGEOUT;
	case OP_PAGEOUT:
		return chance(state, 20) ? OP_SWAPOFF : OP_READ;
	case OP_MERGE:
		return chance(state, 50) ? OP_UNMERGE : OP_WRITE;
	case OP_MAP:
		return OP_REGISTER;
	case OP_MPROTECT:
		return OP_WRITE;
	default:
		return code;
	}
}

static void draw_op(unsigned long long *state, const struct area *areas,
		    unsigned int pages, struct op *last, struct op *op)
{
	unsigned int before = last->code, i;

	memset(op, 0, sizeof(*op));
	op->code = draw_code(state);
	if (chance(state, 40))
		op->code = draw_next(state, last->code, op->code);
	if (op->code > OP_LAST_MEMORY) {
		if (op->code >= OP_SCAN)
			draw_scan(state, areas, pages, op);
		return;
	}
	/* Much needs several operations on the same pages. */
	if (last->count && chance(state, 50)) {
		op->area = last->area;
		op->first = last->first;
		op->count = last->count;
	} else {
		op->area = draw(state, AREAS);
		draw_range(state, &areas[op->area], op);
	}
	if (chance(state, 12))
		draw_kind_op(state, &areas[op->area], op);
	*last = *op;
	for (i = 0; i < 4; i++)
		op->arg[i] = draw(state, 1 << 30);
	/* The same for all pages, and so that KSM finds it elsewhere */
	if (op->code == OP_WRITE) {
		op->arg[2] = chance(state, 30);
		if (op->arg[2])
			op->arg[0] = 1 + draw(state, 2);
		if (chance(state, 60))
			op->arg[1] = 0;
		/* As debuggers do, where programs can't */
		if (before == OP_MPROTECT)
			op->arg[1] = 3;
	}
	if (op->code == OP_MOVE && areas[op->area].size > 512 &&
	    chance(state, 60))
		op->arg[0] &= ~511U;
}

/*
 * Programs mostly begin with memory that is tracked, read (so that what is
 * written later is in a zero page first), written and protected: the further
 * they got, the more there is to see.
 */
static void draw_start(unsigned long long *state, const struct area *areas,
		       unsigned int position, struct op *op)
{
	static const struct {
		unsigned int code;
		unsigned int percent;
	} phases[] = {
		{ OP_REGISTER, 90 }, { OP_READ, 40 }, { OP_WRITE, 60 },
		{ OP_PROTECT, 50 },
	};
	unsigned int phase = position / AREAS, area = position % AREAS;

	if (phase >= sizeof(phases) / sizeof(*phases) ||
	    !chance(state, phases[phase].percent))
		return;
	*op = (struct op) {
		.code = phases[phase].code,
		.area = area,
		.count = areas[area].window,
		.arg[0] = 0x10000 * (area + 1),
	};
}

static void draw_program(struct program *program, unsigned long long seed,
			 unsigned int operations)
{
	unsigned long long state = seed * 0x2545f4914f6cdd1dULL;
	struct area areas[AREAS] = { 0 };
	unsigned int i, pages = 0;
	struct op last = { 0 };

	memset(program, 0, sizeof(*program));
	program->setting.seed = seed;
	program->setting.remap = chance(&state, 50);
	for (i = 0; i < AREAS; i++) {
		areas[i].kind = seed % KINDS;
		if (i || !machine_has(memory_needs(areas[i].kind)))
			areas[i].kind = draw_kind(&state);
		program->setting.kinds[i] = areas[i].kind;
		area_layout(&areas[i]);
		pages += areas[i].window;
	}
	program->count = operations;
	program->ops = calloc(operations, sizeof(*program->ops));
	for (i = 0; i < operations; i++) {
		struct op *op = &program->ops[i];

		draw_op(&state, areas, pages, &last, op);
		draw_start(&state, areas, i, op);
	}
}

/* Programs as text */

static void print_program(const struct program *program)
{
	const struct setting *setting = &program->setting;
	unsigned int i, j;

	ksft_print_msg("setting %llu %d", setting->seed, setting->remap);
	for (i = 0; i < AREAS; i++)
		printf(" %s", kind_names[setting->kinds[i]]);
	printf("\n");
	for (i = 0; i < program->count; i++) {
		const struct op *op = &program->ops[i];

		ksft_print_msg("%s %u %u %u", op_names[op->code], op->area,
			       op->first, op->count);
		for (j = 0; j < 4; j++)
			printf(" %#x", op->arg[j]);
		printf("\n");
	}
}

static int find_name(const char *name, const char * const *names, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		if (!strcmp(name, names[i]))
			return i;
	}
	ksft_exit_fail_msg("%s: no such name\n", name);
	return -1;
}

static bool read_setting(const char *line, struct setting *setting)
{
	char kinds[AREAS][32];
	int remap, i;

	if (sscanf(line, "setting %llu %d %31s %31s %31s", &setting->seed,
		   &remap, kinds[0], kinds[1], kinds[2]) != 2 + AREAS)
		return false;
	setting->remap = remap;
	for (i = 0; i < AREAS; i++)
		setting->kinds[i] = find_name(kinds[i], kind_names, KINDS);
	return true;
}

static bool read_op(const char *line, struct op *op)
{
	char name[32];

	if (sscanf(line, "%31s %u %u %u %i %i %i %i", name, &op->area,
		   &op->first, &op->count, (int *)&op->arg[0],
		   (int *)&op->arg[1], (int *)&op->arg[2],
		   (int *)&op->arg[3]) != 8)
		return false;
	op->code = find_name(name, op_names, OP_CODES);
	return true;
}

static void read_program(struct program *program, const char *path)
{
	FILE *file = strcmp(path, "-") ? fopen(path, "r") : stdin;
	bool have_setting = false;
	char text[512], *line;

	if (!file)
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
	memset(program, 0, sizeof(*program));
	program->ops = calloc(MAX_PROGRAM, sizeof(*program->ops));
	while (fgets(text, sizeof(text), file)) {
		line = text + strspn(text, "# ");
		if (read_setting(line, &program->setting))
			have_setting = true;
		else if (have_setting && program->count < MAX_PROGRAM &&
			 read_op(line, &program->ops[program->count]))
			program->count++;
	}
	if (!have_setting)
		ksft_exit_fail_msg("%s has no program\n", path);
	fclose(file);
}

/* Running */

static void run_child(const struct program *program, struct outcome *outcome)
{
	static struct world world;
	unsigned int i;

	alarm(PROGRAM_SECONDS);
	world_create(&world, &program->setting, outcome);
	for (i = 0; i < program->count; i++) {
		outcome->position = i;
		op_run(&world, &program->ops[i]);
	}
	outcome->position = program->count;
	world_check(&world);
	_exit(0);
}

/* Returns whether the program passes; session->outcome has the rest. */
static bool run_program(struct session *session, const struct program *program)
{
	struct outcome *outcome = session->outcome;
	int status;
	pid_t pid;

	memset(outcome, 0, sizeof(*outcome));
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_msg("fork: %s\n", strerror(errno));
	if (!pid)
		run_child(program, outcome);
	while (waitpid(pid, &status, 0) != pid)
		;
	if (!status)
		return true;
	tunable_write("/sys/kernel/mm/ksm/run", "0");
	if (!outcome->message[0])
		snprintf(outcome->message, sizeof(outcome->message),
			 "ended by signal %s",
			 WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) :
					       "no");
	return false;
}

static void add_outcome(struct session *session, unsigned int operations)
{
	struct outcome *from = session->outcome, *to = &session->total;
	unsigned int i;

	for (i = 0; i < OP_CODES; i++)
		to->took_effect[i] += from->took_effect[i];
	for (i = 0; i < EFFECTS; i++)
		to->effects[i] += from->effects[i];
	to->scans += from->scans;
	to->pages += from->pages;
	to->disturbed += from->disturbed;
	session->run_operations += operations;
}

/* Shrinking */

/* The same failure may name other pages. */
static void without_numbers(char *to, const char *from)
{
	for (; *from; from++) {
		if (!strchr("0123456789abcdefx", *from))
			*to++ = *from;
	}
	*to = '\0';
}

static bool still_fails(struct session *session, const struct program *program,
			const char *message, unsigned int tries)
{
	char kind[sizeof(session->outcome->message)];

	while (tries--) {
		if (run_program(session, program))
			continue;
		without_numbers(kind, session->outcome->message);
		if (!strcmp(kind, message))
			return true;
	}
	return false;
}

static void without_ops(struct program *to, const struct program *from,
			unsigned int first, unsigned int count)
{
	to->setting = from->setting;
	to->count = from->count - count;
	memcpy(to->ops, from->ops, first * sizeof(*to->ops));
	memcpy(to->ops + first, from->ops + first + count,
	       (to->count - first) * sizeof(*to->ops));
}

/*
 * Leave out what is not needed for the failure: halves, quarters, and so on to
 * single operations.
 */
static void shrink(struct session *session, struct program *program,
		   const char *message, unsigned int tries)
{
	time_t end = seconds() + SHRINK_SECONDS;
	struct program part = { 0 };
	unsigned int size, first;

	part.ops = calloc(program->count + 1, sizeof(*part.ops));
	for (size = (program->count + 1) / 2; size; size = size / 2) {
		for (first = 0; first < program->count;) {
			unsigned int count = program->count - first;

			if (seconds() > end) {
				ksft_print_msg("no time to try more\n");
				goto out;
			}
			if (count > size)
				count = size;
			without_ops(&part, program, first, count);
			if (still_fails(session, &part, message, tries))
				without_ops(program, &part, 0, 0);
			else
				first += count;
		}
	}
out:
	free(part.ops);
}

static void report_failure(struct session *session, struct program *program)
{
	char message[sizeof(session->outcome->message)];
	unsigned int tries = 1;

	ksft_print_msg("seed %llu, %u operations: %s, after operation %u\n",
		       program->setting.seed, program->count,
		       session->outcome->message, session->outcome->position);
	if (session->outcome->position < program->count)
		program->count = session->outcome->position + 1;
	without_numbers(message, session->outcome->message);
	if (!still_fails(session, program, message, 1))
		tries = 4;
	shrink(session, program, message, tries);
	ksft_print_msg("the shortest program that was found, for --replay%s:\n",
		       tries > 1 ? " (fails sometimes)" : "");
	print_program(program);
}

/* Cases */

static void print_effects(const struct session *session)
{
	const struct outcome *total = &session->total;
	unsigned int i;

	ksft_print_msg("%llu operations, %llu scans, %llu pages compared, %llu scans disturbed\n",
		       session->run_operations, total->scans, total->pages,
		       total->disturbed);
	for (i = 0; i < OP_CODES; i++)
		ksft_print_msg("%8llu  %s\n", total->took_effect[i],
			       op_names[i]);
	for (i = 0; i < EFFECTS; i++)
		ksft_print_msg("%8llu  %s\n", total->effects[i],
			       effect_names[i]);
}

static void test_effects(struct session *session)
{
	/* What happens to transparent huge pages only */
	static const bool thp_ops[OP_CODES] = {
		[OP_COLLAPSE] = true, [OP_SPLIT] = true,
	};
	static const bool thp_effects[EFFECTS] = {
		[EFFECT_THP] = true, [EFFECT_SHMEM_THP] = true,
		[EFFECT_HUGE_ZERO] = true, [EFFECT_THP_PROTECTED] = true,
		[EFFECT_THP_CUT] = true, [EFFECT_COLLAPSED] = true,
		[EFFECT_SPLIT] = true, [EFFECT_SMAPS] = true,
	};
	const struct outcome *total = &session->total;
	bool all = true, thp = machine_has(NEED_THP);
	unsigned int i;

	print_effects(session);
	if (session->run_operations < ENOUGH_OPERATIONS)
		return;
	for (i = 0; i < OP_CODES; i++) {
		if (total->took_effect[i] || (thp_ops[i] && !thp))
			continue;
		ksft_print_msg("no %s took effect\n", op_names[i]);
		all = false;
	}
	for (i = 0; i < EFFECTS; i++) {
		if (total->effects[i] || (thp_effects[i] && !thp))
			continue;
		ksft_print_msg("there was no '%s'\n", effect_names[i]);
		all = false;
	}
	session->cases++;
	ksft_test_result(all, "every operation took effect\n");
}

static void test_program(struct session *session, struct program *program,
			 const char *name)
{
	unsigned int operations = program->count;
	bool pass = run_program(session, program);

	add_outcome(session, operations);
	if (!pass)
		report_failure(session, program);
	session->cases++;
	ksft_test_result(pass, "%s\n", name);
}

static void test_seed(struct session *session, unsigned long long seed,
		      const char *name)
{
	time_t begin = seconds();
	struct program program;
	unsigned int i;

	draw_program(&program, seed, session->operations);
	ksft_print_msg("seed %llu:", seed);
	for (i = 0; i < AREAS; i++)
		printf(" %s", kind_names[program.setting.kinds[i]]);
	printf("\n");
	test_program(session, &program, name);
	ksft_print_msg("%ld s\n", (long)(seconds() - begin));
	free(program.ops);
}

static void test_fresh(struct session *session, unsigned int number)
{
	unsigned int seed;
	char name[32];

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		ksft_exit_fail_msg("getrandom: %s\n", strerror(errno));
	snprintf(name, sizeof(name), "fresh seed %u", number);
	test_seed(session, seed, name);
}

static void test_fixed(struct session *session, unsigned long long seed)
{
	char name[48];

	snprintf(name, sizeof(name), "seed %llu", seed);
	test_seed(session, seed, name);
}

static void test_default(struct session *session)
{
	time_t end = seconds() + SECONDS;
	unsigned int i;

	for (i = 1; i <= FIXED_SEEDS; i++)
		test_fixed(session, i);
	for (i = 1; i <= FRESH_SEEDS && seconds() < end; i++)
		test_fresh(session, i);
}

static void test_minutes(struct session *session, unsigned int minutes)
{
	time_t end = seconds() + 60 * minutes;
	unsigned int i;

	for (i = 1; seconds() < end; i++)
		test_fresh(session, i);
}

static void print_help(void)
{
	printf("usage: pagemap_scan_fuzz [OPTION...]\n"
	       "\n"
	       "Without options: the fixed seeds, and some fresh ones.\n"
	       "\n"
	       "  --seed N        the program of this seed only\n"
	       "  --seeds N       so many fresh seeds\n"
	       "  --minutes N     fresh seeds for so long\n"
	       "  --operations N  operations of each program (default: %d)\n"
	       "  --replay FILE   a program as a failure prints it; -: standard input\n"
	       "  --help          this text\n", OPERATIONS);
}

static unsigned long long parse_number(const char *text)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || !*text || *end) {
		print_help();
		ksft_exit_fail_msg("%s is no number\n", text);
	}
	return value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed",	required_argument, NULL, 's' },
		{ "seeds",	required_argument, NULL, 'n' },
		{ "minutes",	required_argument, NULL, 'm' },
		{ "operations",	required_argument, NULL, 'o' },
		{ "replay",	required_argument, NULL, 'r' },
		{ "help",	no_argument,	   NULL, 'h' },
		{ }
	};
	struct session session = { .operations = OPERATIONS };
	unsigned long long seed = 0;
	unsigned int seeds = 0, minutes = 0, i;
	const char *replay = NULL;
	struct program program;
	bool have_seed = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			seed = parse_number(optarg);
			have_seed = true;
			break;
		case 'n':
			seeds = parse_number(optarg);
			break;
		case 'm':
			minutes = parse_number(optarg);
			break;
		case 'o':
			session.operations = parse_number(optarg);
			break;
		case 'r':
			replay = optarg;
			break;
		case 'h':
			print_help();
			return 0;
		default:
			print_help();
			return KSFT_FAIL;
		}
	}

	ksft_print_header();
	machine_prepare(NEED_ALL);
	if (!machine_has(NEED_ALL & ~NEED_THP))
		ksft_exit_skip("the machine lacks a kind of memory, or swap\n");
	if (!machine_tracks_writes())
		ksft_exit_skip("this kernel does not track writes\n");
	session.outcome = mmap(NULL, sizeof(*session.outcome),
			       PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (session.outcome == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));

	if (replay) {
		read_program(&program, replay);
		test_program(&session, &program, "replay");
	} else if (have_seed) {
		test_fixed(&session, seed);
	} else if (seeds) {
		for (i = 1; i <= seeds; i++)
			test_fresh(&session, i);
	} else if (minutes) {
		test_minutes(&session, minutes);
	} else {
		test_default(&session);
	}
	test_effects(&session);
	ksft_set_plan(session.cases);
	if (ksft_cnt.ksft_fail)
		ksft_exit_fail();
	ksft_exit_pass();
}
