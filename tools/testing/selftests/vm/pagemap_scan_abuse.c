// SPDX-License-Identifier: GPL-2.0-only
/*
 * PAGEMAP_SCAN under misuse: arguments, ranges and vectors at every address,
 * of every length and of every sort; many callers; an argument that changes;
 * limits.  Never a hang, a leak, a wrong answer or an address of the kernel's.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "pagemap_scan_harness.h"
#include "pagemap_scan_util.h"

#define TIMEOUT		240
#define PAGES		8
#define ARG_PAGES	2

/* What memory has before a call, to see what was written. */
#define PATTERN		0x5a

#define EXPECT_ERROR(error, call) do {					\
	errno = 0;							\
	EXPECT_EQ(-1, (call));						\
	EXPECT_EQ(error, errno);					\
} while (0)

/* An argument of the ioctl, as bytes. */
struct raw {
	unsigned int number;
	size_t size;
	__u64 fields[13];
};

/* Fields of both layouts, by their place. */
enum own_field {
	OWN_SIZE, OWN_FLAGS, OWN_START, OWN_LEN, OWN_VEC, OWN_VEC_LEN,
	OWN_MAX_PAGES, OWN_REQUIRED, OWN_ANYOF, OWN_EXCLUDED, OWN_RETURN,
	OWN_WALK_END, OWN_PAGES,
};

enum pm_field {
	PM_SIZE, PM_FLAGS, PM_START, PM_END, PM_WALK_END, PM_VEC, PM_VEC_LEN,
	PM_MAX_PAGES, PM_INVERTED, PM_MASK, PM_ANYOF, PM_RETURN,
};

/* The bytes that the kernel would be given for a call. */
static struct raw encode(const struct scan *scan)
{
	__u64 excluded = scan->excluded;

	if (scan->layout == LAYOUT_PM)
		return (struct raw) {
			.number = PAGEMAP_SCAN_PM,
			.size = sizeof(struct pm_scan_arg),
			.fields = {
				[PM_SIZE] = sizeof(struct pm_scan_arg),
				[PM_FLAGS] = scan->flags,
				[PM_START] = scan->start,
				[PM_END] = scan->end,
				[PM_VEC] = address(scan->vec),
				[PM_VEC_LEN] = scan->vec_len,
				[PM_MAX_PAGES] = scan->max_pages,
				[PM_INVERTED] = excluded,
				[PM_MASK] = scan->required | excluded,
				[PM_ANYOF] = scan->anyof & ~excluded,
				[PM_RETURN] = scan->returned,
			},
		};
	return (struct raw) {
		.number = PAGEMAP_SCAN,
		.size = scan->layout == LAYOUT_VER0 ?
			PAGEMAP_SCAN_ARG_SIZE_VER0 : PAGEMAP_SCAN_ARG_SIZE_VER1,
		.fields = {
			[OWN_SIZE] = scan->layout == LAYOUT_VER0 ?
				     PAGEMAP_SCAN_ARG_SIZE_VER0 :
				     PAGEMAP_SCAN_ARG_SIZE_VER1,
			[OWN_FLAGS] = scan->flags,
			[OWN_START] = scan->start,
			[OWN_LEN] = scan->end - scan->start,
			[OWN_VEC] = address(scan->vec),
			[OWN_VEC_LEN] = scan->vec_len,
			[OWN_MAX_PAGES] = scan->max_pages,
			[OWN_REQUIRED] = scan->required,
			[OWN_ANYOF] = scan->anyof,
			[OWN_EXCLUDED] = excluded,
			[OWN_RETURN] = scan->returned,
		},
	};
}

/* Every place: a sweep over addresses and lengths */

/**
 * struct place - pages to scan, and two pages to put things into
 * @pagemap:	this process's pagemap file
 * @addr:	PAGES pages, of which every other one is present
 * @vec:	ARG_PAGES pages, with nothing mapped behind them
 * @arg:	the same
 */
struct place {
	int pagemap;
	char *addr;
	char *vec;
	char *arg;
};

static int place_make(struct place *place)
{
	size_t i;

	place->pagemap = pagemap_open(getpid());
	place->addr = map_pages(PAGES, PROT_READ | PROT_WRITE);
	place->vec = map_pages(ARG_PAGES, PROT_READ | PROT_WRITE);
	place->arg = map_pages(ARG_PAGES, PROT_READ | PROT_WRITE);
	if (place->pagemap < 0 || !place->addr || !place->vec || !place->arg)
		return -1;
	for (i = 0; i < PAGES; i += 2)
		touch_write(place->addr + i * page_size(), 1);
	return 0;
}

static struct scan place_scan(const struct place *place, enum layout layout)
{
	return (struct scan) {
		.layout = layout,
		.start = address(place->addr),
		.end = address(place->addr) + PAGES * page_size(),
		.vec = (struct page_region *)place->vec,
		.vec_len = PAGES,
		.required = PAGE_IS_PRESENT,
		.returned = PAGE_IS_PRESENT | PAGE_IS_FILE,
	};
}

/* The right answer: PAGES / 2 regions. */
static void place_answer(const struct place *place, struct page_region *vec)
{
	size_t i;

	for (i = 0; i < PAGES / 2; i++)
		vec[i] = (struct page_region) {
			.start = address(place->addr) + 2 * i * page_size(),
			.end = address(place->addr) +
			       (2 * i + 1) * page_size(),
			.categories = PAGE_IS_PRESENT,
		};
}

/* Whether bytes are all as memset() left them. */
static bool untouched(const char *bytes, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++) {
		if (bytes[i] != PATTERN)
			return false;
	}
	return true;
}

FIXTURE(sweep) {
	struct place place;
	struct scan scan;
	struct page_region expected[PAGES];
};

FIXTURE_VARIANT(sweep) {
	enum layout layout;
};

FIXTURE_VARIANT_ADD(sweep, VER0) { LAYOUT_VER0 };
FIXTURE_VARIANT_ADD(sweep, VER1) { LAYOUT_VER1 };
FIXTURE_VARIANT_ADD(sweep, PM) { LAYOUT_PM };

FIXTURE_SETUP(sweep)
{
	ASSERT_EQ(0, place_make(&self->place));
	self->scan = place_scan(&self->place, variant->layout);
	place_answer(&self->place, self->expected);
}

FIXTURE_TEARDOWN(sweep)
{
	close(self->place.pagemap);
}

TEST_F_TIMEOUT(sweep, every_start, TIMEOUT)
{
	size_t offset;

	for (offset = 0; offset <= 2 * page_size(); offset++) {
		struct scan scan = self->scan;
		long regions;

		scan.start += offset;
		regions = scan_call(self->place.pagemap, &scan);
		if (offset % page_size()) {
			ASSERT_EQ(-1, regions);
			ASSERT_EQ(EINVAL, errno);
			continue;
		}
		ASSERT_EQ(0, scan_check(&scan, regions));
		ASSERT_EQ(PAGES / 2 - (offset + page_size()) /
			  page_size() / 2, regions);
	}
}

TEST_F_TIMEOUT(sweep, every_length, TIMEOUT)
{
	size_t length;

	for (length = 0; length <= 3 * page_size() + 1; length++) {
		size_t pages = (length + page_size() - 1) / page_size();
		struct scan scan = self->scan;
		long regions;

		scan.end = scan.start + length;
		regions = scan_call(self->place.pagemap, &scan);
		ASSERT_EQ((pages + 1) / 2, regions);
		ASSERT_EQ(0, memcmp(self->expected, scan.vec,
				    regions * sizeof(*scan.vec)));
		if (variant->layout != LAYOUT_VER0)
			ASSERT_EQ(scan.start + pages * page_size(),
				  scan.walk_end);
	}
}

TEST_F_TIMEOUT(sweep, every_address_of_vec, TIMEOUT)
{
	size_t size = PAGES / 2 * sizeof(struct page_region), offset;
	char *vec = self->place.vec;

	for (offset = 0; offset <= page_size(); offset++) {
		struct scan scan = self->scan;

		memset(vec, PATTERN, ARG_PAGES * page_size());
		scan.vec = (struct page_region *)(vec + offset);
		ASSERT_EQ(PAGES / 2, scan_call(self->place.pagemap, &scan));
		ASSERT_EQ(0, memcmp(self->expected, vec + offset, size));
		/* Just before and just behind it, and in vec's rest. */
		ASSERT_TRUE(untouched(vec, offset));
		ASSERT_TRUE(untouched(vec + offset + size,
				      ARG_PAGES * page_size() - offset - size));
	}
}

TEST_F_TIMEOUT(sweep, every_room_for_vec, TIMEOUT)
{
	char *end = self->place.vec + ARG_PAGES * page_size();
	size_t room;
	__u64 vec_len;

	for (room = 0; room <= 5 * sizeof(struct page_region); room++) {
		for (vec_len = 1; vec_len <= PAGES; vec_len++) {
			struct scan scan = self->scan;
			long regions, expected = PAGES / 2;

			if (expected > (long)vec_len)
				expected = vec_len;
			scan.vec = (struct page_region *)(end - room);
			scan.vec_len = vec_len;
			regions = scan_call(self->place.pagemap, &scan);
			if (expected * sizeof(*scan.vec) <= room) {
				ASSERT_EQ(expected, regions);
				ASSERT_EQ(0, memcmp(self->expected, end - room,
						    regions *
						    sizeof(*scan.vec)));
				continue;
			}
			ASSERT_EQ(-1, regions);
			ASSERT_EQ(EFAULT, errno);
		}
	}
}

/* Also across two pages, and with nothing but its own fields written. */
TEST_F_TIMEOUT(sweep, every_address_of_the_argument, TIMEOUT)
{
	struct raw raw = encode(&self->scan);
	char *arg = self->place.arg;
	size_t offset;

	for (offset = 0; offset <= page_size(); offset++) {
		__u64 after[ARRAY_SIZE(raw.fields)];

		memset(arg, PATTERN, ARG_PAGES * page_size());
		memcpy(arg + offset, raw.fields, raw.size);
		ASSERT_EQ(PAGES / 2, ioctl(self->place.pagemap, raw.number,
					   arg + offset));
		ASSERT_EQ(0, memcmp(self->expected, self->place.vec,
				    PAGES / 2 * sizeof(*self->expected)));
		ASSERT_TRUE(untouched(arg, offset));
		ASSERT_TRUE(untouched(arg + offset + raw.size,
				      ARG_PAGES * page_size() - offset -
				      raw.size));
		memcpy(after, arg + offset, raw.size);
		if (variant->layout == LAYOUT_VER1) {
			ASSERT_EQ(self->scan.end, after[OWN_WALK_END]);
			ASSERT_EQ(PAGES / 2, after[OWN_PAGES]);
			after[OWN_WALK_END] = 0;
			after[OWN_PAGES] = 0;
		} else if (variant->layout == LAYOUT_PM) {
			ASSERT_EQ(self->scan.end, after[PM_WALK_END]);
			after[PM_WALK_END] = 0;
		}
		ASSERT_EQ(0, memcmp(after, raw.fields, raw.size));
	}
}

TEST_F_TIMEOUT(sweep, every_room_for_the_argument, TIMEOUT)
{
	struct raw raw = encode(&self->scan);
	char *end = self->place.arg + ARG_PAGES * page_size();
	size_t room;

	for (room = 0; room < raw.size; room++) {
		memcpy(end - room, raw.fields, room);
		EXPECT_ERROR(EFAULT, ioctl(self->place.pagemap, raw.number,
					   end - room));
	}
	memcpy(end - room, raw.fields, room);
	EXPECT_EQ(PAGES / 2, ioctl(self->place.pagemap, raw.number,
				   end - room));
}

/* Arguments at random */

static __u64 random_state;

/* Of xorshift's family. */
static __u64 random_number(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static __u64 random_below(__u64 limit)
{
	return (random_number() >> 11) % limit;
}

/* A number near one at which something changes. */
static __u64 odd_number(const struct place *place)
{
	__u64 bases[] = {
		0, page_size(), address(place->addr), address(place->vec),
		1ULL << random_below(64), end_of_addresses(),
		1ULL << 47, -(1ULL << random_below(64)), random_number(),
	};
	__u64 number = bases[random_below(ARRAY_SIZE(bases))];

	switch (random_below(4)) {
	case 0:
		return number + random_below(5) - 2;
	case 1:
		return number + (random_below(2 * PAGES) - 2) * page_size();
	case 2:
		return number & -(__u64)page_size();
	default:
		return number;
	}
}

/* A set of bits; mostly few, seldom ones that there are not. */
static __u64 odd_bits(__u64 known)
{
	__u64 bits = random_number() & random_number() & known;

	return random_below(16) ? bits : bits | 1ULL << random_below(64);
}

/**
 * struct verdict - what may come of a call
 * @einval:	something is wrong with a value
 * @efault:	something is wrong with an address
 * @may_efault:	it depends on how much the answer is
 * @may_eperm:	the range may have a mapping that can't be protected
 */
struct verdict {
	bool einval;
	bool efault;
	bool may_efault;
	bool may_eperm;
};

#define PM_FLAGS_KNOWN	((__u64)(PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC))
#define OWN_FLAGS_KNOWN	((__u64)(PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED | \
				 PAGEMAP_WP_FOREIGN))

static void judge_values(struct verdict *verdict, __u64 flags, __u64 known,
			 __u64 masks)
{
	if (flags & ~known ||
	    masks & ~ALL_CATEGORIES)
		verdict->einval = true;
	verdict->may_eperm = flags & PAGEMAP_WP_REQUIRED;
}

static void judge_range(struct verdict *verdict, __u64 start, __u64 len)
{
	if (start % page_size())
		verdict->einval = true;
	if (start > end_of_addresses() || len > end_of_addresses() - start)
		verdict->efault = true;
}

static void judge_vec(struct verdict *verdict, const struct place *place,
		      __u64 vec, __u64 vec_len)
{
	__u64 room = ARG_PAGES * page_size();

	if (!vec_len)
		return;
	if (!vec)
		verdict->einval = true;
	/* More than a long can say is wrong in either way. */
	if (vec_len >> 63)
		verdict->einval = true;
	if (vec >= 1ULL << 47 || vec_len >= (1ULL << 47) / 24)
		verdict->may_efault = true;
	if (vec < address(place->vec) || vec > address(place->vec) + room ||
	    vec_len > (address(place->vec) + room - vec) / 24)
		verdict->may_efault = true;
}

static struct verdict judge(const struct raw *raw, const struct place *place)
{
	const __u64 *f = raw->fields;
	struct verdict verdict = {};

	if (raw->number == PAGEMAP_SCAN_PM) {
		judge_values(&verdict, f[PM_FLAGS], PM_FLAGS_KNOWN,
			     f[PM_INVERTED] | f[PM_MASK] | f[PM_ANYOF] |
			     f[PM_RETURN]);
		judge_range(&verdict, f[PM_START],
			    f[PM_END] - f[PM_START]);
		if (f[PM_END] < f[PM_START])
			verdict.efault = true;
		judge_vec(&verdict, place, f[PM_VEC], f[PM_VEC_LEN]);
		return verdict;
	}
	judge_values(&verdict, f[OWN_FLAGS], OWN_FLAGS_KNOWN,
		     f[OWN_REQUIRED] | f[OWN_ANYOF] | f[OWN_EXCLUDED] |
		     f[OWN_RETURN]);
	judge_range(&verdict, f[OWN_START], f[OWN_LEN]);
	if (f[OWN_START] + f[OWN_LEN] < f[OWN_START])
		verdict.einval = true;
	judge_vec(&verdict, place, f[OWN_VEC], f[OWN_VEC_LEN]);
	return verdict;
}

static bool verdict_allows(const struct verdict *verdict, long result,
			   int error)
{
	if (result >= 0)
		return !verdict->einval && !verdict->efault;
	switch (error) {
	case EINVAL:
		return verdict->einval;
	case EFAULT:
		return verdict->efault || verdict->may_efault;
	case EPERM:
		return verdict->may_eperm;
	default:
		return false;
	}
}

/* No word that the call may have written is an address of the kernel's. */
static bool is_clean(const char *bytes, size_t size)
{
	__u64 word;
	size_t i;

	for (i = 0; i + sizeof(word) <= size; i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		if (word >> 47 == (1 << 17) - 1)
			return false;
	}
	return true;
}

/* A call of which each value may be anything. */
static struct raw random_call(const struct place *place, enum layout layout)
{
	struct scan scan = place_scan(place, layout);
	__u64 odd = random_number();
	struct raw raw;

	/* Mostly in order, so that what is not is what matters. */
	scan.flags = odd_bits(PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED);
	scan.required = odd_bits(ALL_CATEGORIES) & random_number();
	scan.anyof = odd_bits(ALL_CATEGORIES) & random_number();
	scan.excluded = odd_bits(ALL_CATEGORIES) & random_number();
	scan.returned = odd_bits(ALL_CATEGORIES);
	scan.vec_len = random_below(PAGES + 2);
	scan.max_pages = random_below(4) ? 0 : odd_number(place);
	if (odd & 0x3)
		scan.end = scan.start + random_below(PAGES * page_size());
	raw = encode(&scan);
	if (layout == LAYOUT_PM) {
		if (!(odd & 0x70))
			raw.fields[PM_START] = odd_number(place);
		if (!(odd & 0x700))
			raw.fields[PM_END] = odd_number(place);
		if (!(odd & 0x7000))
			raw.fields[PM_VEC] = odd_number(place);
		if (!(odd & 0x70000))
			raw.fields[PM_VEC_LEN] = odd_number(place);
		return raw;
	}
	if (!(odd & 0x70))
		raw.fields[OWN_START] = odd_number(place);
	if (!(odd & 0x700))
		raw.fields[OWN_LEN] = odd_number(place);
	if (!(odd & 0x7000))
		raw.fields[OWN_VEC] = odd_number(place);
	if (!(odd & 0x70000))
		raw.fields[OWN_VEC_LEN] = odd_number(place);
	return raw;
}

static __u64 raw_vec(const struct raw *raw)
{
	return raw->fields[raw->number == PAGEMAP_SCAN_PM ? PM_VEC : OWN_VEC];
}

/* Anything else than what is there for it may be needed otherwise. */
static bool vec_is_harmless(const struct place *place, __u64 vec)
{
	__u64 first = address(place->vec);

	return vec >= end_of_addresses() || vec < 1 << 16 ||
	       (vec >= first && vec <= first + ARG_PAGES * page_size());
}

/* Whether the answer lies where it should, and is an answer. */
static bool answer_is_sound(const struct place *place, const struct raw *raw,
			    long regions)
{
	__u64 vec = raw_vec(raw), first = address(place->vec);
	__u64 room = ARG_PAGES * page_size();

	if (regions > 0 &&
	    (vec < first || vec + regions * 24 > first + room))
		return false;
	/* A vec at an odd address has its words there. */
	vec = vec >= first && vec < first + 8 ? vec - first : 0;
	return is_clean(place->vec + vec, 256);
}

TEST_F_TIMEOUT(sweep, anything, TIMEOUT)
{
	unsigned int outcomes[4] = {}, calls;
	int uffd = uffd_create_async();
	time_t end = seconds() + 2;
	__u64 seed = time(NULL) ^ (__u64)getpid() << 32;

	/* A part of the process can be protected, so that some of it is. */
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, uffd_register(uffd, self->place.addr + page_size(),
				   2 * page_size(), UFFDIO_REGISTER_MODE_WP,
				   NULL));
	random_state = seed;
	for (calls = 0; calls < 40000 && (calls % 256 || seconds() < end);
	     calls++) {
		struct raw raw = random_call(&self->place, variant->layout);
		struct verdict verdict = judge(&raw, &self->place);
		long result;

		if (!vec_is_harmless(&self->place, raw_vec(&raw)))
			continue;
		memset(self->place.vec, PATTERN, 512);
		memcpy(self->place.arg, raw.fields, raw.size);
		errno = 0;
		result = ioctl(self->place.pagemap, raw.number,
			       self->place.arg);
		ASSERT_TRUE(verdict_allows(&verdict, result, errno))
			TH_LOG("seed %#llx call %u: %ld errno %d",
			       (unsigned long long)seed, calls, result, errno);
		ASSERT_TRUE(answer_is_sound(&self->place, &raw, result))
			TH_LOG("seed %#llx call %u: %ld",
			       (unsigned long long)seed, calls, result);
		outcomes[result >= 0 ? 0 : errno == EINVAL ? 1 :
			 errno == EFAULT ? 2 : 3]++;
	}
	TH_LOG("%u calls: %u worked, %u EINVAL, %u EFAULT, %u EPERM", calls,
	       outcomes[0], outcomes[1], outcomes[2], outcomes[3]);
	EXPECT_TRUE(outcomes[0] && outcomes[1] && outcomes[2] && outcomes[3]);
}

/* A vec of every sort */

/* Memory of 64 pages that is tracked, of which some granules are written. */
FIXTURE(vec) {
	struct tracking tracking;
	void *vec;
};

FIXTURE_VARIANT(vec) {
	void *(*make)(struct tracking *tracking);
	bool works;
};

static void *map_file(int fd, int prot, int flags)
{
	void *p = mmap(NULL, page_size(), prot, flags, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void *vec_unmapped(struct tracking *tracking)
{
	void *p = map_pages(1, PROT_READ | PROT_WRITE);

	return munmap(p, page_size()) ? NULL : p;
}

static void *vec_without_access(struct tracking *tracking)
{
	return map_pages(1, PROT_NONE);
}

static void *vec_of_program_text(struct tracking *tracking)
{
	return (void *)((uintptr_t)vec_of_program_text & -page_size());
}

static void *vec_read_only_file(struct tracking *tracking)
{
	return map_file(open("/proc/self/exe", O_RDONLY), PROT_READ,
			MAP_SHARED);
}

static void *vec_behind_end_of_file(struct tracking *tracking)
{
	return map_file(syscall(__NR_memfd_create, "vec", 0),
			PROT_READ | PROT_WRITE, MAP_SHARED);
}

static void *vec_in_the_kernel(struct tracking *tracking)
{
	return (void *)(-1UL << (sizeof(long) == 8 ? 47 : 12));
}

static void *vec_in_vdso(struct tracking *tracking)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long long start = 0;
	char line[256];

	while (!start && maps && fgets(line, sizeof(line), maps)) {
		if (strstr(line, "[vdso]"))
			start = strtoull(line, NULL, 16);
	}
	fclose(maps);
	return (void *)(uintptr_t)start;
}

/* A page that is missing, and stays so. */
static void *vec_of_lost_userfaultfd(struct tracking *tracking)
{
	__u64 features = UFFD_FEATURE_SIGBUS;
	int uffd = uffd_create(0, &features);
	void *p = map_pages(1, PROT_READ | PROT_WRITE);

	return uffd < 0 || uffd_register(uffd, p, page_size(),
					 UFFDIO_REGISTER_MODE_MISSING, NULL) ?
	       NULL : p;
}

static void *vec_write_only(struct tracking *tracking)
{
	return map_pages(1, PROT_WRITE);
}

static void *vec_of_zero_page(struct tracking *tracking)
{
	char *p = map_pages(1, PROT_READ | PROT_WRITE);

	touch_read(p);
	return p;
}

static void *vec_in_memfd(struct tracking *tracking)
{
	int fd = syscall(__NR_memfd_create, "vec", 0);

	return ftruncate(fd, page_size()) ? NULL :
	       map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static void *vec_in_private_file(struct tracking *tracking)
{
	return map_file(open("/proc/self/exe", O_RDONLY),
			PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

static void *vec_below_stack(struct tracking *tracking)
{
	void *p = mmap(NULL, 16 * page_size(), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void *vec_locked(struct tracking *tracking)
{
	void *p = map_pages(1, PROT_READ | PROT_WRITE);

	return mlock(p, page_size()) ? NULL : p;
}

/* Tracked as well, by another userfaultfd, and protected. */
static void *vec_protected(struct tracking *tracking)
{
	void *p = map_pages(1, PROT_READ | PROT_WRITE);
	int uffd = uffd_create_async();

	return uffd_register(uffd, p, page_size(), UFFDIO_REGISTER_MODE_WP,
			     NULL) ||
	       uffd_protect(uffd, p, page_size(), true) ? NULL : p;
}

FIXTURE_VARIANT_ADD(vec, unmapped) { .make = vec_unmapped };
FIXTURE_VARIANT_ADD(vec, without_access) { .make = vec_without_access };
FIXTURE_VARIANT_ADD(vec, program_text) { .make = vec_of_program_text };
FIXTURE_VARIANT_ADD(vec, read_only_file) { .make = vec_read_only_file };
FIXTURE_VARIANT_ADD(vec, behind_end_of_file) { .make = vec_behind_end_of_file };
FIXTURE_VARIANT_ADD(vec, in_the_kernel) { .make = vec_in_the_kernel };
FIXTURE_VARIANT_ADD(vec, in_vdso) { .make = vec_in_vdso };
FIXTURE_VARIANT_ADD(vec, lost_userfaultfd) { .make = vec_of_lost_userfaultfd };
FIXTURE_VARIANT_ADD(vec, write_only) { vec_write_only, true };
FIXTURE_VARIANT_ADD(vec, zero_page) { vec_of_zero_page, true };
FIXTURE_VARIANT_ADD(vec, memfd) { vec_in_memfd, true };
FIXTURE_VARIANT_ADD(vec, private_file) { vec_in_private_file, true };
FIXTURE_VARIANT_ADD(vec, below_stack) { vec_below_stack, true };
FIXTURE_VARIANT_ADD(vec, locked) { vec_locked, true };
FIXTURE_VARIANT_ADD(vec, protected) { vec_protected, true };

FIXTURE_SETUP(vec)
{
	ASSERT_EQ(0, tracking_begin(&self->tracking, MEMORY_ANON,
				    LAYOUT_VER1));
	ASSERT_EQ(0, tracking_populate(&self->tracking));
	write_set(&self->tracking.mem, some_granules);
	self->vec = variant->make(&self->tracking);
	ASSERT_TRUE(!!self->vec);
}

FIXTURE_TEARDOWN(vec)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

TEST_F_TIMEOUT(vec, is_filled_or_nothing_is_lost, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);

	scan.vec = self->vec;
	scan.vec_len = page_size() / sizeof(*scan.vec);
	if (variant->works) {
		long regions = scan_call(self->tracking.pagemap, &scan);

		EXPECT_EQ(0, mprotect(self->vec, page_size(), PROT_READ));
		EXPECT_EQ(0, scan_check(&scan, regions));
		EXPECT_EQ(self->tracking.mem.count / 3 + 1, regions);
		EXPECT_EQ(0, check_written(&self->tracking, no_granule));
		return;
	}
	EXPECT_ERROR(EFAULT, scan_call(self->tracking.pagemap, &scan));
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, some_granules));
}

/* A vec, or an argument, in memory that the call is about */

FIXTURE(overlap) {
	struct tracking tracking;
	struct scan scan;
};

FIXTURE_SETUP(overlap)
{
	ASSERT_EQ(0, tracking_begin(&self->tracking, MEMORY_ANON,
				    LAYOUT_VER1));
	ASSERT_EQ(0, tracking_populate(&self->tracking));
	write_set(&self->tracking.mem, some_granules);
	self->scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	self->scan.vec_len = self->tracking.mem.count;
}

FIXTURE_TEARDOWN(overlap)
{
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

static bool first_granule(struct memory *mem, size_t granule)
{
	return granule == 0;
}

/* The kernel's own writes come after the protection. */
TEST_F_TIMEOUT(overlap, vec_in_the_range_is_written_again, TIMEOUT)
{
	long regions;

	self->scan.vec = (struct page_region *)self->tracking.mem.addr;
	regions = scan_call(self->tracking.pagemap, &self->scan);
	EXPECT_EQ(0, scan_check(&self->scan, regions));
	EXPECT_EQ(self->tracking.mem.count / 3 + 1, regions);
	EXPECT_EQ(0, check_written(&self->tracking, first_granule));
}

TEST_F_TIMEOUT(overlap, argument_in_the_range_is_written_again, TIMEOUT)
{
	struct page_region *vec = map_pages(1, PROT_READ | PROT_WRITE);
	struct pagemap_scan_arg *arg = (void *)self->tracking.mem.addr;
	struct raw raw;

	self->scan.vec = vec;
	raw = encode(&self->scan);
	memcpy(arg, raw.fields, raw.size);
	/* The first granule is written as well, by that. */
	EXPECT_EQ(self->tracking.mem.count / 3 + 1,
		  ioctl(self->tracking.pagemap, PAGEMAP_SCAN, arg));
	EXPECT_EQ(self->scan.end, arg->walk_end);
	EXPECT_EQ(self->scan.start, vec[0].start);
	EXPECT_EQ(0, check_written(&self->tracking, first_granule));
}

TEST_F_TIMEOUT(overlap, vec_in_another_mapping_of_the_file, TIMEOUT)
{
	struct tracking shared;
	struct scan scan;
	long regions;
	char *other;

	ASSERT_EQ(0, tracking_begin(&shared, MEMORY_MEMFD, LAYOUT_PM));
	ASSERT_EQ(0, tracking_populate(&shared));
	write_set(&shared.mem, some_granules);
	other = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED,
		     shared.mem.fd, 0);
	ASSERT_TRUE(other != MAP_FAILED);
	scan = tracking_scan(&shared, PAGEMAP_WP_ENGAGE);
	scan.vec = (struct page_region *)other;
	scan.vec_len = shared.mem.count;
	regions = scan_call(shared.pagemap, &scan);
	EXPECT_EQ(0, scan_check(&scan, regions));
	EXPECT_EQ(shared.mem.count / 3 + 1, regions);
	EXPECT_EQ(0, memcmp(other, shared.mem.addr, regions * 24));
	/* That mapping is not the tracked one. */
	EXPECT_EQ(0, check_written(&shared, no_granule));
	munmap(other, page_size());
	EXPECT_EQ(0, tracking_end(&shared));
}

/* What the call asks for is taken once; the answer may overwrite it. */
TEST_F_TIMEOUT(overlap, vec_on_the_argument_does_not_change_the_call, TIMEOUT)
{
	size_t pages = 8192, size = pages / 2 * 24, i;
	char *p = map_pages(pages, PROT_READ | PROT_WRITE);
	struct page_region *reference = calloc(pages / 2, 24);
	struct page_region *vec = map_pages(size / page_size() + 1,
					    PROT_READ | PROT_WRITE);
	struct pagemap_scan_arg *arg = (void *)vec;
	struct scan scan = {
		.layout = LAYOUT_VER1,
		.start = address(p),
		.end = address(p) + pages * page_size(),
		.vec = reference,
		.vec_len = pages / 2,
		.required = PAGE_IS_PRESENT,
		.returned = PAGE_IS_PRESENT,
	};
	struct raw raw;

	ASSERT_TRUE(p && reference && vec);
	ASSERT_EQ(0, keep_pages_small(p, pages * page_size()));
	for (i = 0; i < pages; i += 2)
		touch_read(p + i * page_size());
	ASSERT_EQ(pages / 2, scan_call(self->tracking.pagemap, &scan));

	/* So many regions that they are copied out in several goes. */
	scan.vec = vec;
	raw = encode(&scan);
	memcpy(arg, raw.fields, raw.size);
	EXPECT_EQ(pages / 2, ioctl(self->tracking.pagemap, PAGEMAP_SCAN, arg));
	EXPECT_EQ(scan.end, arg->walk_end);
	EXPECT_EQ(pages / 2, arg->pages);
	EXPECT_EQ(0, memcmp(reference, vec, 3 * 24));
	EXPECT_EQ(0, memcmp(reference + 5, vec + 5, (pages / 2 - 5) * 24));
	free(reference);
}

/* A slow vec: a thread provides each page of it, and does things meanwhile */

struct slow {
	struct tracking *tracking;
	int uffd;
	char *vec;
	size_t size;
	unsigned int faults;
	bool take_away;
	void (*meanwhile)(struct slow *slow);	/* what else, or NULL */
};

static void *provide_pages(void *argument)
{
	struct slow *slow = argument;
	char *page = calloc(1, page_size()), *at;
	struct uffd_msg message;
	struct pollfd poll_uffd = { .fd = slow->uffd, .events = POLLIN };

	while (poll(&poll_uffd, 1, -1) == 1 &&
	       read(slow->uffd, &message, sizeof(message)) ==
	       sizeof(message)) {
		at = (char *)(uintptr_t)(message.arg.pagefault.address &
					 -(__u64)page_size());
		slow->faults++;
		if (slow->faults == 1 && slow->meanwhile)
			slow->meanwhile(slow);
		/* What the call has protected and reported is written. */
		if (slow->faults == 2)
			memory_write(&slow->tracking->mem, 1);
		usleep(20000);
		if (slow->take_away && slow->faults == 2) {
			struct uffdio_range range = {
				.start = address(slow->vec),
				.len = slow->size,
			};

			/* The fault is tried again, and finds nothing. */
			if (munmap(slow->vec, slow->size) ||
			    ioctl(slow->uffd, UFFDIO_WAKE, &range))
				break;
			continue;
		}
		if (uffd_copy(slow->uffd, at, page, page_size(), 0))
			break;
	}
	free(page);
	return NULL;
}

FIXTURE(slow) {
	struct tracking tracking;
	struct slow slow;
	pthread_t thread;
	struct scan scan;
};

#define SLOW_PAGES	4096

FIXTURE_SETUP(slow)
{
	struct tracking *tracking = &self->tracking;
	__u64 features = 0;
	size_t i;

	/* As tracking_begin(), with more pages. */
	tracking->layout = LAYOUT_VER1;
	tracking->pagemap = pagemap_open(getpid());
	tracking->uffd = uffd_create_async();
	ASSERT_EQ(0, memory_map_count(&tracking->mem, MEMORY_ANON,
				      SLOW_PAGES));
	ASSERT_EQ(0, keep_pages_small(tracking->mem.addr, tracking->mem.size));
	ASSERT_EQ(0, uffd_register(tracking->uffd, tracking->mem.addr,
				   tracking->mem.size, UFFDIO_REGISTER_MODE_WP,
				   NULL));
	ASSERT_EQ(0, protect_written(tracking));
	for (i = 1; i < SLOW_PAGES; i += 2)
		memory_write(&tracking->mem, i);

	self->slow.tracking = tracking;
	self->slow.size = SLOW_PAGES / 2 * sizeof(struct page_region);
	self->slow.vec = map_pages(self->slow.size / page_size(),
				   PROT_READ | PROT_WRITE);
	self->slow.uffd = uffd_create(0, &features);
	ASSERT_LE(0, self->slow.uffd);
	ASSERT_EQ(0, uffd_register(self->slow.uffd, self->slow.vec,
				   self->slow.size,
				   UFFDIO_REGISTER_MODE_MISSING, NULL));
	self->scan = tracking_scan(tracking, PAGEMAP_WP_ENGAGE);
	self->scan.vec = (struct page_region *)self->slow.vec;
	self->scan.vec_len = SLOW_PAGES / 2;
}

FIXTURE_TEARDOWN(slow)
{
	EXPECT_EQ(0, pthread_cancel(self->thread));
	EXPECT_EQ(0, pthread_join(self->thread, NULL));
	close(self->slow.uffd);
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

static bool second_granule(struct memory *mem, size_t granule)
{
	return granule == 1;
}

static bool odd_granules(struct memory *mem, size_t granule)
{
	return granule % 2;
}

/* The driver has no ioctl for 32-bit programs. */
#if __SIZEOF_POINTER__ == 8
static int device = -1;

static void write_last_by_device(struct slow *slow)
{
	struct memory *mem = &slow->tracking->mem;

	if (device < 0)
		device = open("/dev/hmm_dmirror0", O_RDWR);
	device_zero(device, mem->addr + mem->size - page_size(), page_size());
}

static bool second_or_last_granule(struct memory *mem, size_t granule)
{
	return granule == 1 || granule == mem->count - 1;
}

/* Which from then on has to be told of what is protected. */
TEST_F_TIMEOUT(slow, vec_lets_a_device_come_meanwhile, TIMEOUT)
{
	self->slow.meanwhile = write_last_by_device;
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, provide_pages,
				    &self->slow));
	if (access("/dev/hmm_dmirror0", R_OK | W_OK))
		SKIP(return, "needs CONFIG_TEST_HMM");
	EXPECT_EQ(SLOW_PAGES / 2,
		  scan_call(self->tracking.pagemap, &self->scan));
	write_last_by_device(&self->slow);
	EXPECT_EQ(0, check_written(&self->tracking, second_or_last_granule));
	close(device);
}
#endif

static void unregister_half(struct slow *slow)
{
	struct memory *mem = &slow->tracking->mem;

	uffd_unregister(slow->tracking->uffd, mem->addr + mem->size / 2,
			mem->size / 2);
}

TEST_F_TIMEOUT(slow, vec_of_a_range_that_is_unregistered_meanwhile, TIMEOUT)
{
	self->slow.meanwhile = unregister_half;
	self->scan.flags |= PAGEMAP_WP_REQUIRED;
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, provide_pages,
				    &self->slow));
	EXPECT_ERROR(EPERM, scan_call(self->tracking.pagemap, &self->scan));
	self->tracking.mem.size /= 2;
	self->tracking.mem.count /= 2;
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, odd_granules));
}

static size_t protected_by_then;

static void count_protected(struct slow *slow)
{
	struct memory *mem = &slow->tracking->mem;

	protected_by_then = pages_with(slow->tracking->pagemap, mem->addr,
				       mem->size, PAGEMAP_UFFD_WP);
}

/*
 * So that a kill does not have to wait for long.  While nobody waits for the
 * mmap lock, a chunk is 16 times as long as otherwise.
 */
TEST_F_TIMEOUT(slow, vec_shows_that_chunks_end, TIMEOUT)
{
	struct tracking large;

	ASSERT_EQ(0, tracking_begin_count(&large, MEMORY_ANON, LAYOUT_VER1,
					  1 << 18));
	/* Two regions, so that one is complete, and copied, early. */
	memory_write(&large.mem, 0);
	self->slow.tracking = &large;
	self->slow.meanwhile = count_protected;
	self->scan.start = address(large.mem.addr);
	self->scan.end = self->scan.start + large.mem.size;
	self->scan.returned |= PAGE_IS_PRESENT;
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, provide_pages,
				    &self->slow));
	ASSERT_EQ(2, scan_call(large.pagemap, &self->scan));
	EXPECT_LT(0, protected_by_then);
	/* 8192 entries and what begins before they are used up. */
	EXPECT_GE(17 * 8192, protected_by_then);
	EXPECT_EQ(0, tracking_end(&large));
}

TEST_F_TIMEOUT(slow, vec_loses_no_write_meanwhile, TIMEOUT)
{
	long regions;

	ASSERT_EQ(0, pthread_create(&self->thread, NULL, provide_pages,
				    &self->slow));
	regions = scan_call(self->tracking.pagemap, &self->scan);
	EXPECT_EQ(0, scan_check(&self->scan, regions));
	EXPECT_EQ(SLOW_PAGES / 2, regions);
	EXPECT_EQ(self->slow.size / page_size(), self->slow.faults);
	EXPECT_EQ(0, check_written(&self->tracking, second_granule));
}

TEST_F_TIMEOUT(slow, vec_that_goes_away_loses_nothing, TIMEOUT)
{
	self->slow.take_away = true;
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, provide_pages,
				    &self->slow));
	EXPECT_ERROR(EFAULT, scan_call(self->tracking.pagemap, &self->scan));
	EXPECT_LE(2, self->slow.faults);
	EXPECT_EQ(0, check_nothing_lost(&self->tracking, odd_granules));
}

/* The argument changed by another thread during the call */

/**
 * struct racer_field - a field that changes
 * @field:	which one
 * @count:	how many values it has
 * @values:	what it may be
 */
struct racer_field {
	enum own_field field;
	unsigned int count;
	__u64 values[6];
};

/**
 * struct racer - a thread that writes to the argument all the time
 * @arg:	the argument
 * @fields:	which fields it changes
 * @count:	how many of those
 * @stop:	ends it
 */
struct racer {
	volatile __u64 *arg;
	struct racer_field fields[8];
	unsigned int count;
	bool stop;
};

static void *change_argument(void *argument)
{
	struct racer *racer = argument;
	unsigned int round, i;

	for (round = 0; !__atomic_load_n(&racer->stop, __ATOMIC_RELAXED);
	     round++) {
		struct racer_field *field;

		/* Strides that share no factor with the number of values. */
		i = round % racer->count;
		field = &racer->fields[i];
		racer->arg[field->field] =
			field->values[round / racer->count * 7 %
				      field->count];
	}
	return NULL;
}

FIXTURE(change) {
	struct tracking tracking;
	struct racer racer;
	pthread_t thread;
	struct page_region *vec;
	struct raw raw;
};

FIXTURE_SETUP(change)
{
	struct scan scan;

	ASSERT_EQ(0, tracking_begin(&self->tracking, MEMORY_ANON,
				    LAYOUT_VER1));
	ASSERT_EQ(0, memory_populate(&self->tracking.mem));
	self->vec = map_pages(ARG_PAGES, PROT_READ | PROT_WRITE);
	self->racer.arg = map_pages(ARG_PAGES, PROT_READ | PROT_WRITE);
	ASSERT_TRUE(self->vec && self->racer.arg);
	memset(self->vec, PATTERN, ARG_PAGES * page_size());
	scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	scan.vec = self->vec;
	scan.vec_len = self->tracking.mem.count;
	self->raw = encode(&scan);
	memcpy((void *)self->racer.arg, self->raw.fields, self->raw.size);
}

FIXTURE_TEARDOWN(change)
{
	__atomic_store_n(&self->racer.stop, true, __ATOMIC_RELAXED);
	EXPECT_EQ(0, pthread_join(self->thread, NULL));
	EXPECT_EQ(0, tracking_end(&self->tracking));
}

/*
 * So long, or until there were so many calls; but as long as it takes until
 * each thing that can happen has, up to a limit.
 */
#define CHANGE_SECONDS	1
#define CHANGE_CALLS	20000
#define CHANGE_LIMIT	60

static bool change_goes_on(unsigned int calls, time_t begin, bool complete)
{
	time_t spent = seconds() - begin;

	if (!complete)
		return spent < CHANGE_LIMIT;
	return calls < CHANGE_CALLS && spent < CHANGE_SECONDS;
}

/* How many pages of small memory are protected, by one look. */
static size_t protected_pages(int pagemap, const struct memory *mem)
{
	__u64 entries[64];
	size_t i, n = 0;

	if (pread64(pagemap, entries, sizeof(entries),
		    address(mem->addr) / page_size() * 8) != sizeof(entries))
		return -1;
	for (i = 0; i < ARRAY_SIZE(entries); i++)
		n += !!(entries[i] & PAGEMAP_UFFD_WP);
	return n;
}

/* Whatever the call read, it protects what it reports and nothing else. */
TEST_F_TIMEOUT(change, protects_what_it_reports, TIMEOUT)
{
	struct memory *mem = &self->tracking.mem;
	volatile struct pagemap_scan_arg *arg = (void *)self->racer.arg;
	unsigned int calls, worked = 0, failed = 0, partial = 0;
	time_t begin = seconds();

	self->racer.fields[0] = (struct racer_field) { OWN_START, 5, {
		address(mem->addr), address(mem->addr) + 8 * page_size(),
		address(mem->addr) + 1, address(mem->addr) + 20 * page_size(),
		address(mem->addr) + 3 * page_size(),
	} };
	self->racer.fields[1] = (struct racer_field) { OWN_LEN, 6, {
		10 * page_size(), 44 * page_size(), 1, -1ULL,
		44 * page_size(), 30 * page_size(),
	} };
	self->racer.fields[2] = (struct racer_field) { OWN_VEC_LEN, 4, {
		1, 2, 64, 5,
	} };
	self->racer.fields[3] = (struct racer_field) { OWN_MAX_PAGES, 3, {
		0, 7, 33,
	} };
	self->racer.fields[4] = (struct racer_field) { OWN_RETURN, 5, {
		0, PAGE_IS_WRITTEN, 1ULL << 40, 0, PAGE_IS_PRESENT,
	} };
	self->racer.count = 5;
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, change_argument,
				    &self->racer));
	for (calls = 0; calls % 64 ||
	     change_goes_on(calls, begin, failed && partial &&
			    partial < worked); calls++) {
		size_t protected;
		long regions;

		regions = ioctl(self->tracking.pagemap, PAGEMAP_SCAN, arg);
		protected = protected_pages(self->tracking.pagemap, mem);
		if (regions < 0) {
			ASSERT_TRUE(errno == EINVAL || errno == EFAULT);
			ASSERT_EQ(0, protected);
			failed++;
			continue;
		}
		ASSERT_EQ(protected, arg->pages);
		ASSERT_EQ(protected, scan_pages(self->vec, regions));
		ASSERT_TRUE(untouched((char *)(self->vec + 64), 4096));
		worked++;
		partial += protected < 44;
		ASSERT_EQ(0, uffd_protect(self->tracking.uffd, mem->addr,
					  mem->size, false));
	}
	TH_LOG("%u calls: %u worked, %u on a part, %u failed", calls, worked,
	       partial, failed);
	EXPECT_TRUE(worked && failed && partial && partial < worked);
}

/*
 * The size says which layout the argument has, and how much of it to read. It
 * is read before the rest is.
 */
TEST_F_TIMEOUT(change, of_size_keeps_within_the_vec, TIMEOUT)
{
	struct memory *mem = &self->tracking.mem;
	volatile struct pagemap_scan_arg *arg = (void *)self->racer.arg;
	char *behind = (char *)self->racer.arg + 104;
	unsigned int calls, worked = 0, failed = 0;
	time_t begin = seconds();

	self->racer.fields[0] = (struct racer_field) { OWN_SIZE, 6, {
		88, 104, 96, 112, 80, 4104,
	} };
	/* As mainline's end, and as its walk_end. */
	self->racer.fields[1] = (struct racer_field) { OWN_LEN, 2, {
		mem->size, address(mem->addr) + mem->size,
	} };
	/* As mainline's vec, which is our vec_len, and as its vec_len. */
	self->racer.fields[2] = (struct racer_field) { OWN_VEC_LEN, 2, {
		64, address(self->vec),
	} };
	self->racer.fields[3] = (struct racer_field) { OWN_MAX_PAGES, 2, {
		0, 64,
	} };
	/* What mainline's walk_end is written to. */
	self->racer.fields[4] = (struct racer_field) { OWN_VEC, 1, {
		address(self->vec),
	} };
	self->racer.count = 5;
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, change_argument,
				    &self->racer));
	for (calls = 0; calls % 64 ||
	     change_goes_on(calls, begin, worked && failed); calls++) {
		long regions = ioctl(self->tracking.pagemap, PAGEMAP_SCAN,
				     arg);

		ASSERT_TRUE(regions >= 0 || errno == EINVAL ||
			    errno == EFAULT || errno == E2BIG);
		ASSERT_GE(64, regions);
		ASSERT_TRUE(is_clean((char *)self->vec, 64 * 24));
		ASSERT_TRUE(untouched((char *)(self->vec + 64), 4096));
		/* A size was written back, or 104 bytes at the most. */
		ASSERT_EQ(0, behind[0]);
		if (regions < 0)
			failed++;
		else
			worked++;
	}
	TH_LOG("%u calls: %u worked, %u failed", calls, worked, failed);
	EXPECT_TRUE(worked && failed);
}

/* A thousand callers at once on one target */

#define CALLERS		1000
#define CALLER_STACK	(64 << 10)
#define CALLER_ROUNDS	4
#define CALLER_SECONDS	3

/**
 * struct crowd - what all callers share
 * @pid:	the target
 * @pagemap:	its pagemap file
 * @place:	PAGES pages of the target, that it leaves alone
 * @tracked:	CALLERS pages that are tracked, one for each caller
 * @begin:	lets all of them start at once
 * @end:	when they stop
 * @rounds:	how many of them all callers made
 * @done:	counts those that are through
 */
struct crowd {
	pid_t pid;
	int pagemap;
	struct place place;
	char *tracked;
	pthread_barrier_t begin;
	time_t end;
	unsigned int rounds;
	sem_t done;
};

struct caller {
	struct crowd *crowd;
	size_t number;
	pthread_t thread;
	const char *fault;
};

/* Nobody else writes to or protects this page. */
static const char *check_own_page(struct crowd *crowd, size_t number)
{
	char *page = crowd->tracked + number * page_size();
	unsigned int word = number;
	struct iovec from = { .iov_base = &word, .iov_len = sizeof(word) };
	struct iovec to = { .iov_base = page, .iov_len = sizeof(word) };
	struct page_region vec[2];
	struct scan scan = {
		.layout = number % 2 ? LAYOUT_VER1 : LAYOUT_PM,
		.flags = PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED,
		.start = address(page),
		.end = address(page) + page_size(),
		.vec = vec,
		.vec_len = 2,
		.required = PAGE_IS_WRITTEN,
		.returned = PAGE_IS_WRITTEN | PAGE_IS_PRESENT,
	};

	/* By the kernel, but through the target's page tables. */
	if (process_vm_writev(crowd->pid, &from, 1, &to, 1, 0) !=
	    sizeof(word))
		return "process_vm_writev failed";
	if (scan_call(crowd->pagemap, &scan) != 1 ||
	    vec[0].start != scan.start || vec[0].end != scan.end ||
	    vec[0].categories != (PAGE_IS_WRITTEN | PAGE_IS_PRESENT))
		return "a write was not reported";
	if (scan_call(crowd->pagemap, &scan))
		return "a page was reported that was not written";
	return NULL;
}

static const char *check_common_pages(struct crowd *crowd)
{
	struct page_region vec[PAGES], expected[PAGES / 2];
	struct scan scan = place_scan(&crowd->place, LAYOUT_VER1);

	place_answer(&crowd->place, expected);
	scan.vec = vec;
	if (scan_call(crowd->pagemap, &scan) != PAGES / 2 ||
	    memcmp(vec, expected, sizeof(expected)))
		return "a page that nobody writes to has changed";
	return NULL;
}

static void *call_many_times(void *argument)
{
	struct caller *caller = argument;
	struct crowd *crowd = caller->crowd;
	unsigned int round;

	pthread_barrier_wait(&crowd->begin);
	for (round = 0; round < CALLER_ROUNDS && !caller->fault; round++) {
		if (round && seconds() >= crowd->end)
			break;
		caller->fault = check_own_page(crowd, caller->number);
		if (!caller->fault)
			caller->fault = check_common_pages(crowd);
		__atomic_add_fetch(&crowd->rounds, 1, __ATOMIC_RELAXED);
	}
	sem_post(&crowd->done);
	/* Ends with the process: to unmap a thousand stacks takes long. */
	for (;;)
		pause();
	return NULL;
}

/* The target does nothing but have the memory. */
static void crowd_target(struct crowd *crowd, int ready)
{
	int uffd = uffd_create_async();

	if (uffd < 0 || place_make(&crowd->place) ||
	    keep_pages_small(crowd->tracked, CALLERS * page_size()) ||
	    uffd_register(uffd, crowd->tracked, CALLERS * page_size(),
			  UFFDIO_REGISTER_MODE_WP, NULL))
		_exit(1);
	memset(crowd->tracked, 1, CALLERS * page_size());
	if (write(ready, &crowd->place, sizeof(crowd->place)) !=
	    sizeof(crowd->place))
		_exit(1);
	pause();
	_exit(0);
}

FIXTURE(crowd) {
};

FIXTURE_SETUP(crowd)
{
}

FIXTURE_TEARDOWN(crowd)
{
}

TEST_F_TIMEOUT(crowd, a_thousand_callers_at_once, TIMEOUT)
{
	struct caller *callers = calloc(CALLERS, sizeof(*callers));
	struct crowd crowd = {};
	pthread_attr_t attributes;
	unsigned int faults = 0;
	int ready[2];
	ssize_t got;
	size_t i;

	crowd.tracked = map_pages(CALLERS, PROT_READ | PROT_WRITE);
	ASSERT_TRUE(callers && crowd.tracked);
	ASSERT_EQ(0, pipe(ready));
	crowd.pid = fork();
	if (!crowd.pid)
		crowd_target(&crowd, ready[1]);
	close(ready[1]);
	got = read(ready[0], &crowd.place, sizeof(crowd.place));
	if (got != sizeof(crowd.place))
		need_tracking();
	ASSERT_EQ(sizeof(crowd.place), got);
	crowd.pagemap = pagemap_open(crowd.pid);
	ASSERT_LE(0, crowd.pagemap);

	ASSERT_EQ(0, sem_init(&crowd.done, 0, 0));
	ASSERT_EQ(0, pthread_barrier_init(&crowd.begin, NULL, CALLERS + 1));
	ASSERT_EQ(0, pthread_attr_init(&attributes));
	ASSERT_EQ(0, pthread_attr_setstacksize(&attributes, CALLER_STACK));
	for (i = 0; i < CALLERS; i++) {
		callers[i].crowd = &crowd;
		callers[i].number = i;
		ASSERT_EQ(0, pthread_create(&callers[i].thread, &attributes,
					    call_many_times, &callers[i]));
	}
	crowd.end = seconds() + CALLER_SECONDS;
	pthread_barrier_wait(&crowd.begin);
	for (i = 0; i < CALLERS; i++)
		ASSERT_EQ(0, sem_wait(&crowd.done));
	for (i = 0; i < CALLERS; i++) {
		if (callers[i].fault && !faults++)
			TH_LOG("caller %zu: %s", i, callers[i].fault);
	}
	EXPECT_EQ(0, faults);
	EXPECT_LE(CALLERS, crowd.rounds);
	TH_LOG("%u rounds", crowd.rounds);
	kill(crowd.pid, SIGKILL);
	waitpid(crowd.pid, NULL, 0);
}

/* Limits of the caller that a call does not run into */

FIXTURE(limit) {
	struct tracking tracking;
	struct page_region *vec;
};

FIXTURE_VARIANT(limit) {
	int resource;
};

FIXTURE_VARIANT_ADD(limit, AS) { RLIMIT_AS };
FIXTURE_VARIANT_ADD(limit, DATA) { RLIMIT_DATA };
FIXTURE_VARIANT_ADD(limit, MEMLOCK) { RLIMIT_MEMLOCK };
FIXTURE_VARIANT_ADD(limit, NOFILE) { RLIMIT_NOFILE };
FIXTURE_VARIANT_ADD(limit, FSIZE) { RLIMIT_FSIZE };
FIXTURE_VARIANT_ADD(limit, RSS) { RLIMIT_RSS };

FIXTURE_SETUP(limit)
{
	ASSERT_EQ(0, tracking_begin(&self->tracking, MEMORY_ANON,
				    LAYOUT_VER1));
	self->vec = map_pages(1, PROT_READ | PROT_WRITE);
	ASSERT_TRUE(!!self->vec);
}

FIXTURE_TEARDOWN(limit)
{
	close(self->tracking.uffd);
	close(self->tracking.pagemap);
}

/* Also where page tables and regions have to be allocated. */
TEST_F_TIMEOUT(limit, of_nothing_leaves_the_answer_right, TIMEOUT)
{
	struct scan scan = tracking_scan(&self->tracking, PAGEMAP_WP_ENGAGE);
	struct memory *mem = &self->tracking.mem;
	struct rlimit former, none = {};
	struct page_region seen[2];
	int pagemap;

	scan.vec = self->vec;
	scan.vec_len = 64;
	ASSERT_EQ(0, getrlimit(variant->resource, &former));
	none.rlim_max = former.rlim_max;
	ASSERT_EQ(0, setrlimit(variant->resource, &none));

	pagemap = open("/proc/self/pagemap", O_RDONLY);
	memset(seen, 0, sizeof(seen));
	if (scan_call(self->tracking.pagemap, &scan) == 1)
		seen[0] = self->vec[0];
	touch_write(mem->addr + page_size(), 1);
	if (scan_call(self->tracking.pagemap, &scan) == 1)
		seen[1] = self->vec[0];
	ASSERT_EQ(0, setrlimit(variant->resource, &former));

	EXPECT_EQ(variant->resource == RLIMIT_NOFILE, pagemap < 0);
	EXPECT_EQ(address(mem->addr), seen[0].start);
	EXPECT_EQ(address(mem->addr) + mem->size, seen[0].end);
	EXPECT_EQ(address(mem->addr) + page_size(), seen[1].start);
	EXPECT_EQ(address(mem->addr) + 2 * page_size(), seen[1].end);
}

/* Limits of a memory cgroup */

#define CGROUPS		"/sys/fs/cgroup/"

static int group_make(char *path, size_t size)
{
	snprintf(path, size, CGROUPS "pagemap_scan.%d", getpid());
	return mkdir(path, 0755);
}

static int group_write(const char *group, const char *file, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", group, file);
	return tunable_write(path, value);
}

static long group_usage(const char *group)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/memory.current", group);
	return tunable_read(path);
}

/* Wait for a number to fall; what is freed may be so a little later. */
static long wait_below(long (*read_value)(const char *of), const char *of,
		       long limit)
{
	time_t end = seconds() + 10;
	long value;

	while ((value = read_value(of)) > limit && seconds() < end)
		usleep(10000);
	return value;
}

/* A field of /proc/meminfo in bytes. */
static long memory_total(const char *field)
{
	FILE *file = fopen("/proc/meminfo", "r");
	long value = -1;
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, field, strlen(field)))
			value = strtol(line + strlen(field) + 1, NULL, 10)
				<< 10;
	}
	if (file)
		fclose(file);
	return value;
}

/* A field of memory.stat of a cgroup. */
static long group_stat(const char *group, const char *field)
{
	char path[128], line[128];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "%s/memory.stat", group);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, field, strlen(field)) &&
		    line[strlen(field)] == ' ')
			value = strtol(line + strlen(field), NULL, 10);
	}
	if (file)
		fclose(file);
	return value;
}

static long group_tables(const char *group)
{
	return group_stat(group, "pagetables");
}

/*
 * The caller is in the group and the target, this process, is not.  The memory
 * is reserved and empty but for some pages, so that protecting it takes a page
 * table for every huge_size().
 */
FIXTURE(group) {
	char group[64];
	int uffd;
	int pagemap;
	char *addr;
	size_t size;
	size_t tables;
	long tables_before;
};

#define TABLES	512

FIXTURE_SETUP(group)
{
	size_t i;

	self->tables = TABLES;
	self->size = TABLES * huge_size();
	self->tables_before = memory_total("PageTables");
	self->pagemap = pagemap_open(getpid());
	self->uffd = uffd_create_async();
	self->addr = reserve_addresses(self->size, huge_size());
	ASSERT_TRUE(self->addr && self->uffd >= 0 && self->pagemap >= 0);
	ASSERT_EQ(0, map_fixed(self->addr, self->size, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, keep_pages_small(self->addr, self->size));
	ASSERT_EQ(0, madvise(self->addr, self->size, MADV_DONTFORK));
	ASSERT_EQ(0, uffd_register(self->uffd, self->addr, self->size,
				   UFFDIO_REGISTER_MODE_WP, NULL));
	for (i = 0; i < 64; i++)
		touch_write(self->addr + i * page_size(), 1);
	ASSERT_EQ(0, group_make(self->group, sizeof(self->group)));
	ASSERT_EQ(0, group_write(self->group, "memory.swap.max", "0"));
}

FIXTURE_TEARDOWN(group)
{
	int tries;

	EXPECT_EQ(0, munmap(self->addr, self->size));
	close(self->uffd);
	close(self->pagemap);
	for (tries = 0; rmdir(self->group) && tries < 500; tries++)
		usleep(10000);
	EXPECT_EQ(-1, rmdir(self->group));
	EXPECT_EQ(ENOENT, errno);
	/* Up to what this process needs in other places. */
	EXPECT_GE(self->tables_before + (256 << 10),
		  wait_below(memory_total, "PageTables",
			     self->tables_before + (256 << 10)));
}

static struct scan group_scan(char *addr, size_t size, __u64 flags)
{
	return (struct scan) {
		.layout = LAYOUT_VER1,
		.flags = flags,
		.start = address(addr),
		.end = address(addr) + size,
		.required = PAGE_IS_WRITTEN,
		.returned = PAGE_IS_WRITTEN,
	};
}

/*
 * Go into the group with all pages that may be needed: one that can't be killed
 * would wait for a page for ever.
 */
static int join_group(const char *group, bool unkillable)
{
	if (unkillable && (mlockall(MCL_CURRENT) ||
			   tunable_write("/proc/self/oom_score_adj", "-1000")))
		return -1;
	return group_write(group, "cgroup.procs", "0");
}

/* Protect all of it from within the group; the exit code is the error. */
static int protect_in_group(const char *group, int pagemap, struct scan *scan,
			    bool unkillable)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (join_group(group, unkillable))
			_exit(255);
		_exit(scan_call(pagemap, scan) < 0 ? errno : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

TEST_F_TIMEOUT(group, tables_are_charged_to_who_asks_for_them, TIMEOUT)
{
	struct scan scan = group_scan(self->addr, self->size,
				      PAGEMAP_WP_ENGAGE);
	long expected = (self->tables - 1) * page_size();

	ASSERT_EQ(0, protect_in_group(self->group, self->pagemap, &scan,
				      false));
	EXPECT_LE(expected, group_tables(self->group));
	EXPECT_GE(2 * expected, group_tables(self->group));
	/* They go with the memory that they map, not with who paid. */
	ASSERT_EQ(0, munmap(self->addr, self->size));
	EXPECT_GE(16 * (long)page_size(),
		  wait_below(group_tables, self->group, 16 * page_size()));
}

/* All of it reads as written: one region, of all pages. */
static bool nothing_lost(int pagemap, char *addr, size_t size)
{
	struct page_region vec[2];
	struct scan scan = group_scan(addr, size, 0);

	scan.vec = vec;
	scan.vec_len = 2;
	return scan_call(pagemap, &scan) == 1 && vec[0].start == scan.start &&
	       vec[0].end == scan.end;
}

TEST_F_TIMEOUT(group, at_its_limit_is_enomem_and_loses_nothing, TIMEOUT)
{
	struct scan scan = group_scan(self->addr, self->size,
				      PAGEMAP_WP_ENGAGE);

	ASSERT_EQ(0, group_write(self->group, "memory.max", "1M"));
	EXPECT_EQ(ENOMEM, protect_in_group(self->group, self->pagemap, &scan,
					   true));
	EXPECT_TRUE(nothing_lost(self->pagemap, self->addr, self->size));
	EXPECT_EQ(0, pages_with(self->pagemap, self->addr, 64 * page_size(),
				PAGEMAP_UFFD_WP));
	/* With the limit gone, it goes on as if nothing had been. */
	ASSERT_EQ(0, group_write(self->group, "memory.max", "max"));
	EXPECT_EQ(0, protect_in_group(self->group, self->pagemap, &scan,
				      true));
	scan.flags = 0;
	EXPECT_EQ(0, scan_call(self->pagemap, &scan));
	EXPECT_EQ(0, scan.pages);
}

TEST_F_TIMEOUT(group, whose_caller_is_killed_loses_nothing, TIMEOUT)
{
	struct scan scan = group_scan(self->addr, self->size,
				      PAGEMAP_WP_ENGAGE);

	ASSERT_EQ(0, group_write(self->group, "memory.max", "1M"));
	EXPECT_EQ(-SIGKILL, protect_in_group(self->group, self->pagemap, &scan,
					     false));
	EXPECT_LE(1, group_stat(self->group, "pgfault"));
	EXPECT_TRUE(nothing_lost(self->pagemap, self->addr, self->size));
}

/* UFFDIO_WRITEPROTECT says so as well. */
TEST_F_TIMEOUT(group, at_its_limit_holds_for_userfaultfd_too, TIMEOUT)
{
	int status;
	pid_t pid;

	ASSERT_EQ(0, group_write(self->group, "memory.max", "1M"));
	pid = fork();
	if (!pid) {
		if (join_group(self->group, true))
			_exit(255);
		_exit(uffd_protect(self->uffd, self->addr, self->size, true) ?
		      errno : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(ENOMEM, WEXITSTATUS(status));
}

TEST_F_TIMEOUT(group, at_its_limit_can_still_look, TIMEOUT)
{
	struct page_region *vec = map_pages(1, PROT_READ | PROT_WRITE);
	struct scan protect = group_scan(self->addr, self->size,
					 PAGEMAP_WP_ENGAGE);
	struct scan scan = group_scan(self->addr, self->size, 0);

	memset(vec, 0, page_size());
	ASSERT_EQ(0, group_write(self->group, "memory.max", "1M"));
	ASSERT_EQ(ENOMEM, protect_in_group(self->group, self->pagemap, &protect,
					   true));
	scan.vec = vec;
	scan.vec_len = 64;
	EXPECT_EQ(0, protect_in_group(self->group, self->pagemap, &scan,
				      true));
}

/* Nothing is left behind */

/**
 * struct leak_call - a way in which a call can end
 * @error:	how
 * @flags:	PAGEMAP_WP_* bits
 * @start:	beyond the start of the range, bytes
 * @length:	added to that of the range
 * @bad_vec:	the vec can't be written
 * @bad_arg:	neither can the argument
 * @size:	of the argument, or 0 for what is right
 */
struct leak_call {
	int error;
	__u64 flags;
	size_t start;
	size_t length;
	bool bad_vec;
	bool bad_arg;
	__u64 size;
};

static const struct leak_call leak_calls[] = {
	{ 0 },
	{ 0, .flags = PAGEMAP_WP_ENGAGE },
	{ EINVAL, .flags = 1 << 7 },
	{ EINVAL, .start = 1 },
	{ EINVAL, .size = 80 },
	{ E2BIG, .size = 8192 },
	{ EFAULT, .length = (size_t)1 << (8 * sizeof(long) - 1) },
	{ EFAULT, .bad_vec = true },
	{ EFAULT, .bad_vec = true, .flags = PAGEMAP_WP_ENGAGE },
	{ EFAULT, .bad_arg = true },
	{ EFAULT, .bad_arg = true, .flags = PAGEMAP_WP_ENGAGE },
	{ EPERM, .flags = PAGEMAP_WP_ENGAGE | PAGEMAP_WP_REQUIRED },
};

/* So many that regions are gathered in memory that is allocated for them. */
#define LEAK_PAGES	1536

/**
 * struct leak - memory to call about
 * @addr:	LEAK_PAGES pages, every other one present, the first half tracked
 * @vec:	LEAK_PAGES regions
 * @arg:	pages for an argument, of which the second can't be written
 */
struct leak {
	char *addr;
	struct page_region *vec;
	char *arg;
};

static int leak_make(struct leak *leak)
{
	leak->addr = map_pages(LEAK_PAGES, PROT_READ | PROT_WRITE);
	leak->vec = map_pages(LEAK_PAGES * 24 / page_size(),
			      PROT_READ | PROT_WRITE);
	leak->arg = map_pages(2, PROT_READ | PROT_WRITE);
	if (!leak->addr || !leak->vec || !leak->arg)
		return -1;
	return mprotect(leak->arg + page_size(), page_size(), PROT_READ);
}

/* Fill the memory, by the process that is going to have it. */
static int leak_fill(struct leak *leak)
{
	int uffd = uffd_create_async();
	size_t i;

	if (uffd < 0 ||
	    keep_pages_small(leak->addr, LEAK_PAGES * page_size()) ||
	    uffd_register(uffd, leak->addr, LEAK_PAGES / 2 * page_size(),
			  UFFDIO_REGISTER_MODE_WP, NULL))
		return -1;
	for (i = 0; i < LEAK_PAGES; i += 2)
		touch_write(leak->addr + i * page_size(), 1);
	return uffd;
}

static int leak_call(struct leak *leak, int pagemap,
		     const struct leak_call *call)
{
	struct scan scan = {
		.layout = LAYOUT_VER1,
		.flags = call->flags,
		.start = address(leak->addr) + call->start,
		.end = address(leak->addr) + LEAK_PAGES * page_size() +
		       call->length,
		.vec = leak->vec,
		.vec_len = LEAK_PAGES,
		.required = PAGE_IS_PRESENT,
		.returned = PAGE_IS_PRESENT,
	};
	struct raw raw;
	char *arg = leak->arg;

	if (call->bad_vec)
		scan.vec = (struct page_region *)(leak->arg + page_size());
	raw = encode(&scan);
	if (call->size)
		raw.fields[OWN_SIZE] = call->size;
	if (call->bad_arg) {
		/* Where the results go is another page. */
		arg += page_size() - PAGEMAP_SCAN_ARG_SIZE_VER0;
		raw.size = PAGEMAP_SCAN_ARG_SIZE_VER0;
	}
	memcpy(arg, raw.fields, raw.size);
	return ioctl(pagemap, raw.number, arg) < 0 ? errno : 0;
}

TEST_F_TIMEOUT(group, of_a_target_is_empty_whatever_call_there_was, TIMEOUT)
{
	struct leak leak;
	size_t i;

	ASSERT_EQ(0, leak_make(&leak));
	for (i = 0; i < ARRAY_SIZE(leak_calls); i++) {
		int ready[2], pagemap;
		char byte = 0;
		pid_t pid;

		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		if (!pid) {
			if (group_write(self->group, "cgroup.procs", "0") ||
			    leak_fill(&leak) < 0 ||
			    write(ready[1], &byte, 1) != 1)
				_exit(1);
			pause();
		}
		close(ready[1]);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		close(ready[0]);
		pagemap = pagemap_open(pid);
		EXPECT_EQ(leak_calls[i].error,
			  leak_call(&leak, pagemap, &leak_calls[i]))
			TH_LOG("call %zu", i);
		EXPECT_LE(LEAK_PAGES / 2 * (long)page_size(),
			  group_usage(self->group));
		/* The descriptor does not keep the memory. */
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
		EXPECT_GE(1 << 20, wait_below(group_usage, self->group,
					      1 << 20))
			TH_LOG("call %zu", i);
		close(pagemap);
	}
}

TEST_F_TIMEOUT(crowd, many_calls_leave_nothing_in_the_slabs, TIMEOUT)
{
	const long rounds = 1000, others = 500;
	int pagemap = pagemap_open(getpid());
	long objects, round;
	struct leak leak;
	size_t i;

	ASSERT_EQ(0, leak_make(&leak));
	ASSERT_LE(0, leak_fill(&leak));
	objects = slab_objects("kmalloc-*");
	ASSERT_LT(0, objects);
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < ARRAY_SIZE(leak_calls); i++)
			ASSERT_EQ(leak_calls[i].error,
				  leak_call(&leak, pagemap, &leak_calls[i]));
	}
	objects = slab_objects("kmalloc-*") - objects;
	TH_LOG("%ld objects more", objects);
	/* Less than one for each call of any sort, but for other processes'. */
	EXPECT_GE(others, objects);
	close(pagemap);
}

/*
 * More than are checked in one go, also where nobody waits.  To make them takes
 * a debug kernel minutes.
 */
TEST_F_TIMEOUT(crowd, more_mappings_than_a_chunk_are_checked_first, 3 * TIMEOUT)
{
	const size_t pages = 17 * 8192 + 1, size = pages * page_size();
	int uffd = uffd_create_async(), pagemap = pagemap_open(getpid());
	char *p = map_pages(pages, PROT_READ | PROT_WRITE);
	struct scan scan = group_scan(p, size, PAGEMAP_WP_ENGAGE |
					       PAGEMAP_WP_REQUIRED);
	size_t i;

	ASSERT_EQ(0, tunable_write("/proc/sys/vm/max_map_count", "200000"));
	ASSERT_EQ(0, uffd_register(uffd, p, size, UFFDIO_REGISTER_MODE_WP,
				   NULL));
	for (i = 1; i < pages; i += 2)
		ASSERT_EQ(0, mprotect(p + i * page_size(), page_size(),
				      PROT_READ));
	ASSERT_EQ(0, scan_call(pagemap, &scan));
	EXPECT_EQ(pages, scan.pages);
	ASSERT_EQ(0, uffd_unregister(uffd, p + size - page_size(),
				     page_size()));
	touch_write(p, 1);
	EXPECT_ERROR(EPERM, scan_call(pagemap, &scan));
	EXPECT_EQ(pages - 2, pages_with(pagemap, p, size, PAGEMAP_UFFD_WP));
	close(pagemap);
	close(uffd);
	munmap(p, size);
}

static void __attribute__((constructor)) prepare(void)
{
	machine_prepare(0);
}

TEST_HARNESS_MAIN
