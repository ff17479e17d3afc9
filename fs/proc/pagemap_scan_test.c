// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what PAGEMAP_SCAN does without a page table: taking the
 * argument in both layouts and all versions, matching, building regions, telling
 * kinds of entries.
 *
 * Included by pagemap_scan.c, as the functions are static.
 */

#include <kunit/test.h>
#include <linux/kthread.h>
#include <linux/limits.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>

/* struct user_memory - an address space for a test, and memory in it */
struct user_memory {
	struct mm_struct *mm;
	void __user *addr;
};

/*
 * Memory of @size bytes that user accessors of this task reach, in an address
 * space with nothing else in it.
 */
static void user_memory_get(struct kunit *test, struct user_memory *memory,
			    unsigned long size)
{
	struct rlimit stack = { .rlim_cur = _STK_LIM, .rlim_max = _STK_LIM };
	unsigned long addr;

	memory->mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, memory->mm);
	memory->mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(memory->mm, &stack);

	kthread_use_mm(memory->mm);
	addr = vm_mmap(NULL, 0, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	memory->addr = (void __user *)addr;
}

static void user_memory_put(struct user_memory *memory)
{
	kthread_unuse_mm(memory->mm);
	mmput(memory->mm);
}

/* Arguments that are in order. */
static struct pagemap_scan_arg good_arg(void)
{
	return (struct pagemap_scan_arg) {
		.size = sizeof(struct pagemap_scan_arg),
		.flags = PAGEMAP_WP_ENGAGE,
		.start = 4 * PAGE_SIZE,
		.len = 3 * PAGE_SIZE,
		.vec = PAGE_SIZE,
		.vec_len = 7,
		.max_pages = 5,
		.required_mask = PAGE_IS_WRITTEN,
		.anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.excluded_mask = PAGE_IS_FILE,
		.return_mask = PAGE_IS_HUGE | PAGE_IS_WRITTEN,
	};
}

static struct pm_scan_arg good_pm_arg(void)
{
	return (struct pm_scan_arg) {
		.size = sizeof(struct pm_scan_arg),
		.flags = PM_SCAN_CHECK_WPASYNC,
		.start = 4 * PAGE_SIZE,
		.end = 7 * PAGE_SIZE,
		.vec = PAGE_SIZE,
		.vec_len = 7,
		.max_pages = 5,
		.category_inverted = PAGE_IS_FILE,
		.category_mask = PAGE_IS_FILE | PAGE_IS_WRITTEN,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_HUGE,
	};
}

static int decode(struct pagemap_scan_request *request,
		  const struct pagemap_scan_arg *arg)
{
	return pagemap_scan_decode(request, arg, NULL, arg->size);
}

static int decode_pm(struct pagemap_scan_request *request,
		     const struct pm_scan_arg *arg)
{
	return pagemap_scan_decode_pm(request, arg, NULL);
}

static void test_decode(struct kunit *test)
{
	struct pagemap_scan_arg __user *uarg = NULL;
	struct pagemap_scan_arg arg = good_arg();
	struct pagemap_scan_request request;

	KUNIT_ASSERT_EQ(test, pagemap_scan_decode(&request, &arg, uarg,
						  PAGEMAP_SCAN_ARG_SIZE_VER1),
			0);
	KUNIT_EXPECT_EQ(test, request.flags, (u64)PAGEMAP_WP_ENGAGE);
	KUNIT_EXPECT_EQ(test, request.start, 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, request.end, 7 * PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, (void __force *)request.vec,
			    (void *)PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, request.vec_len, 7UL);
	KUNIT_EXPECT_EQ(test, request.max_pages, 5UL);
	KUNIT_EXPECT_EQ(test, request.return_mask,
			(u64)(PAGE_IS_HUGE | PAGE_IS_WRITTEN));
	KUNIT_EXPECT_PTR_EQ(test, (void __force *)request.walk_end,
			    (void __force *)&uarg->walk_end);
	KUNIT_EXPECT_PTR_EQ(test, (void __force *)request.pages,
			    (void __force *)&uarg->pages);

	/* Version 0 has no place for the results */
	arg.max_pages = 0;
	KUNIT_ASSERT_EQ(test, pagemap_scan_decode(&request, &arg, uarg,
						  PAGEMAP_SCAN_ARG_SIZE_VER0),
			0);
	KUNIT_EXPECT_EQ(test, request.max_pages, ULONG_MAX);
	KUNIT_EXPECT_NULL(test, (void __force *)request.walk_end);
	KUNIT_EXPECT_NULL(test, (void __force *)request.pages);
}

static void test_decode_pm(struct kunit *test)
{
	struct pm_scan_arg __user *uarg = NULL;
	struct pm_scan_arg arg = good_pm_arg();
	struct pagemap_scan_request request;

	KUNIT_ASSERT_EQ(test, pagemap_scan_decode_pm(&request, &arg, uarg), 0);
	KUNIT_EXPECT_EQ(test, request.flags, (u64)PAGEMAP_WP_REQUIRED);
	KUNIT_EXPECT_EQ(test, request.start, 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, request.end, 7 * PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, (void __force *)request.vec,
			    (void *)PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, request.vec_len, 7UL);
	KUNIT_EXPECT_EQ(test, request.max_pages, 5UL);
	KUNIT_EXPECT_EQ(test, request.return_mask, (u64)PAGE_IS_HUGE);
	KUNIT_EXPECT_PTR_EQ(test, (void __force *)request.walk_end,
			    (void __force *)&uarg->walk_end);
	KUNIT_EXPECT_NULL(test, (void __force *)request.pages);

	arg.max_pages = 0;
	KUNIT_ASSERT_EQ(test, pagemap_scan_decode_pm(&request, &arg, uarg), 0);
	KUNIT_EXPECT_EQ(test, request.max_pages, ULONG_MAX);
}

/* decode() of an argument that is good but for @field. */
#define EXPECT_DECODE(field, val, expected) do {			\
	struct pagemap_scan_arg arg_ = good_arg();			\
									\
	arg_.field = (val);						\
	KUNIT_EXPECT_EQ(test, decode(&request, &arg_), expected);	\
} while (0)

#define EXPECT_DECODE_PM(field, val, expected) do {			\
	struct pm_scan_arg arg_ = good_pm_arg();			\
									\
	arg_.field = (val);						\
	KUNIT_EXPECT_EQ(test, decode_pm(&request, &arg_), expected);	\
} while (0)

static void test_decode_knows_each_bit(struct kunit *test)
{
	struct pagemap_scan_request request;
	int bit;

	for (bit = 0; bit < 64; bit++) {
		int flag = bit < 3 ? 0 : -EINVAL;
		int pm_flag = bit < 2 ? 0 : -EINVAL;
		int category = bit < 8 ? 0 : -EINVAL;

		EXPECT_DECODE(flags, 1ULL << bit, flag);
		EXPECT_DECODE(required_mask, 1ULL << bit, category);
		EXPECT_DECODE(anyof_mask, 1ULL << bit, category);
		EXPECT_DECODE(excluded_mask, 1ULL << bit, category);
		EXPECT_DECODE(return_mask, 1ULL << bit, category);
		EXPECT_DECODE_PM(flags, 1ULL << bit, pm_flag);
		EXPECT_DECODE_PM(category_inverted, 1ULL << bit, category);
		EXPECT_DECODE_PM(category_mask, 1ULL << bit, category);
		EXPECT_DECODE_PM(category_anyof_mask, 1ULL << bit, category);
		EXPECT_DECODE_PM(return_mask, 1ULL << bit, category);
	}
}

static void test_decode_checks_ranges(struct kunit *test)
{
	int long_only = sizeof(long) < sizeof(u64) ? -EINVAL : 0;
	struct pagemap_scan_request request;

	EXPECT_DECODE(len, U64_MAX - 4 * PAGE_SIZE + 1, -EINVAL);
	EXPECT_DECODE(len, 0, 0);
	EXPECT_DECODE(len, 1ULL << 40, long_only);
	EXPECT_DECODE(start, 1ULL << 40, long_only);
	EXPECT_DECODE(vec, 1ULL << 40, long_only);
	EXPECT_DECODE(vec_len, 1ULL << 40, long_only);
	EXPECT_DECODE(max_pages, 1ULL << 40, long_only);

	EXPECT_DECODE_PM(end, 4 * PAGE_SIZE, 0);
	EXPECT_DECODE_PM(end, 4 * PAGE_SIZE - 1, -EFAULT);
	EXPECT_DECODE_PM(end, 0, -EFAULT);
	EXPECT_DECODE_PM(start, 4 * PAGE_SIZE + 1, -EINVAL);
	EXPECT_DECODE_PM(end, 1ULL << 40, long_only);
	EXPECT_DECODE_PM(vec, 1ULL << 40, long_only);
	EXPECT_DECODE_PM(vec_len, 1ULL << 40, long_only);
	EXPECT_DECODE_PM(max_pages, 1ULL << 40, long_only);
}

static void test_command_numbers(struct kunit *test)
{
	unsigned int dir, type, nr, size;

	for (dir = 0; dir <= _IOC_DIRMASK; dir++)
		for (type = 0; type <= _IOC_TYPEMASK; type++)
			for (nr = 0; nr <= _IOC_NRMASK; nr++) {
				bool is = pagemap_scan_is_cmd(_IOC(dir, type,
								   nr, 88));

				if (is != (dir == (_IOC_READ | _IOC_WRITE) &&
					   type == 'f' && nr == 16))
					KUNIT_FAIL(test, "_IOC(%u, %u, %u, 88)",
						   dir, type, nr);
			}

	for (size = 0; size <= _IOC_SIZEMASK; size++)
		if (!pagemap_scan_is_cmd(_IOC(_IOC_READ | _IOC_WRITE, 'f', 16,
					      size)))
			KUNIT_FAIL(test, "size %u", size);
}

/* Write @used bytes that are good, and fill up to @size with @filler. */
static int put_arg(struct user_memory *memory, const void *arg, size_t used,
		   u64 size, u8 filler)
{
	u64 pos, end = min_t(u64, size, 2 * PAGE_SIZE);
	u8 fill[128];

	/* Called in long loops */
	cond_resched();

	if (copy_to_user(memory->addr, arg, used))
		return -EFAULT;
	memset(fill, filler, sizeof(fill));
	for (pos = used; pos < end; pos += sizeof(fill))
		if (copy_to_user((u8 __user *)memory->addr + pos, fill,
				 min_t(u64, end - pos, sizeof(fill))))
			return -EFAULT;
	return put_user(size, (u64 __user *)memory->addr);
}

static void test_versions(struct kunit *test)
{
	struct pagemap_scan_arg arg = good_arg();
	struct pagemap_scan_request request;
	struct user_memory memory;
	u64 size, back;

	user_memory_get(test, &memory, 3 * PAGE_SIZE);
	for (size = 0; size <= PAGE_SIZE + 16; size++) {
		int filler, expected, err;

		if (size == sizeof(struct pm_scan_arg))
			continue;
		for (filler = 0; filler < 2; filler++) {
			expected = 0;
			if (size < PAGEMAP_SCAN_ARG_SIZE_VER0 || size % 8)
				expected = -EINVAL;
			else if (size > PAGE_SIZE ||
				 (filler && size > sizeof(arg)))
				expected = -E2BIG;

			err = put_arg(&memory, &arg, sizeof(arg), size, filler);
			KUNIT_ASSERT_EQ(test, err, 0);
			err = pagemap_scan_get_request(&request, memory.mm,
						       PAGEMAP_SCAN,
						       memory.addr);
			KUNIT_ASSERT_EQ_MSG(test, err, expected, "size %llu",
					    size);
			if (!err)
				KUNIT_EXPECT_EQ(test, !!request.pages,
						size >= sizeof(arg));

			err = get_user(back, (u64 __user *)memory.addr);
			KUNIT_ASSERT_EQ(test, err, 0);
			KUNIT_EXPECT_EQ(test, back, expected == -E2BIG ?
					(u64)sizeof(arg) : size);
		}
	}
	user_memory_put(&memory);
}

static void test_versions_pm(struct kunit *test)
{
	unsigned int cmd = _IOWR('f', 16, struct pm_scan_arg);
	unsigned int later = _IOC(_IOC_READ | _IOC_WRITE, 'f', 16, 120);
	struct pm_scan_arg arg = good_pm_arg();
	struct pagemap_scan_request request;
	struct user_memory memory;
	u64 size, back;

	user_memory_get(test, &memory, 3 * PAGE_SIZE);
	for (size = 0; size <= PAGE_SIZE + 16; size++) {
		int filler, expected, err;

		for (filler = 0; filler < 2; filler++) {
			expected = 0;
			if (size < sizeof(arg) || size % 8)
				expected = -EINVAL;
			else if (size > PAGE_SIZE ||
				 (filler && size > sizeof(arg)))
				expected = -E2BIG;

			err = put_arg(&memory, &arg, sizeof(arg), size, filler);
			KUNIT_ASSERT_EQ(test, err, 0);
			err = pagemap_scan_get_request(&request, memory.mm,
						       size % 16 ? cmd : later,
						       memory.addr);
			KUNIT_ASSERT_EQ_MSG(test, err, expected, "size %llu",
					    size);

			err = get_user(back, (u64 __user *)memory.addr);
			KUNIT_ASSERT_EQ(test, err, 0);
			KUNIT_EXPECT_EQ(test, back, expected == -E2BIG ?
					(u64)sizeof(arg) : size);
		}
	}

	/* The size member alone tells it, too; by the inverted mask we see */
	KUNIT_ASSERT_EQ(test, put_arg(&memory, &arg, sizeof(arg), sizeof(arg),
				      0), 0);
	KUNIT_ASSERT_EQ(test, pagemap_scan_get_request(&request, memory.mm,
						       PAGEMAP_SCAN,
						       memory.addr), 0);
	KUNIT_EXPECT_EQ(test, request.anyof_inverted, (u64)PAGE_IS_FILE);
	KUNIT_EXPECT_EQ(test, request.end, 7 * PAGE_SIZE);
	user_memory_put(&memory);
}

/* What pagemap_scan_get_request() says of a range and a vector. */
static int request_range(struct user_memory *memory, u64 start, u64 len,
			 u64 vec, u64 vec_len)
{
	struct pagemap_scan_arg arg = good_arg();
	struct pagemap_scan_request request;

	arg.start = start;
	arg.len = len;
	arg.vec = vec;
	arg.vec_len = vec_len;
	if (put_arg(memory, &arg, sizeof(arg), sizeof(arg), 0))
		return -EFAULT;
	return pagemap_scan_get_request(&request, memory->mm, PAGEMAP_SCAN,
					memory->addr);
}

static void test_ranges(struct kunit *test)
{
	unsigned long limit = TASK_SIZE;
	struct user_memory memory;
	u64 vec;

	user_memory_get(test, &memory, PAGE_SIZE);
	vec = (unsigned long)memory.addr;

	KUNIT_EXPECT_EQ(test, request_range(&memory, 0, limit, vec, 1), 0);
	KUNIT_EXPECT_EQ(test, request_range(&memory, limit, 0, vec, 1), 0);
	KUNIT_EXPECT_EQ(test, request_range(&memory, limit - PAGE_SIZE,
					    PAGE_SIZE, vec, 1), 0);
	KUNIT_EXPECT_EQ(test, request_range(&memory, limit - PAGE_SIZE, 1, vec,
					    1), 0);
	KUNIT_EXPECT_EQ(test, request_range(&memory, limit - PAGE_SIZE,
					    PAGE_SIZE + 1, vec, 1), -EFAULT);
	KUNIT_EXPECT_EQ(test, request_range(&memory, limit, 1, vec, 1),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, request_range(&memory, 0, (u64)limit + 1, vec, 1),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, request_range(&memory, 1, PAGE_SIZE, vec, 1),
			-EINVAL);

	KUNIT_EXPECT_EQ(test, request_range(&memory, 0, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, request_range(&memory, 0, 0, 0, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, request_range(&memory, 0, 0, vec, 0), 0);
	KUNIT_EXPECT_EQ(test, request_range(&memory, 0, 0, vec,
					    LONG_MAX / 24 + 1), -EFAULT);
	KUNIT_EXPECT_EQ(test, request_range(&memory, 0, 0, vec, ULONG_MAX),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, request_range(&memory, 0, 0,
					    (unsigned long)-PAGE_SIZE, 4096),
			-EFAULT);
	user_memory_put(&memory);
}

/*
 * Four categories at a time say it all: a fifth would be treated as one of
 * them is.
 */
static void test_match(struct kunit *test)
{
	struct pagemap_scan_request request;
	struct pagemap_scan scan = { .request = &request };
	unsigned int combination, shift;

	for (shift = 0; shift <= 4; shift++) {
		for (combination = 0; combination < 1 << 16; combination++) {
			struct pagemap_scan_arg arg = good_arg();
			u64 categories, bit;
			bool matches = true, any = false;

			categories = (combination & 15) << shift;
			arg.required_mask = (combination >> 4 & 15) << shift;
			arg.anyof_mask = (combination >> 8 & 15) << shift;
			arg.excluded_mask = (combination >> 12 & 15) << shift;

			for (bit = 1; bit <= PAGE_IS_SOFT_DIRTY; bit <<= 1) {
				bool has = categories & bit;

				if (arg.required_mask & bit && !has)
					matches = false;
				if (arg.excluded_mask & bit && has)
					matches = false;
				if (arg.anyof_mask & bit && has)
					any = true;
			}
			if (arg.anyof_mask && !any)
				matches = false;

			KUNIT_ASSERT_EQ(test, decode(&request, &arg), 0);
			if (pagemap_scan_matches(&scan, categories) != matches)
				KUNIT_FAIL(test, "combination %x of bit %u",
					   combination, shift);
		}
		cond_resched();
	}
}

static void test_match_pm(struct kunit *test)
{
	struct pagemap_scan_request request;
	struct pagemap_scan scan = { .request = &request };
	unsigned int combination, shift;

	for (shift = 0; shift <= 4; shift++) {
		for (combination = 0; combination < 1 << 16; combination++) {
			struct pm_scan_arg arg = good_pm_arg();
			u64 categories, seen;
			bool matches;

			categories = (combination & 15) << shift;
			arg.category_inverted = (combination >> 4 & 15) << shift;
			arg.category_mask = (combination >> 8 & 15) << shift;
			arg.category_anyof_mask = (combination >> 12) << shift;

			seen = categories ^ arg.category_inverted;
			matches = (seen & arg.category_mask) ==
				  arg.category_mask;
			if (arg.category_anyof_mask)
				matches &= !!(seen & arg.category_anyof_mask);

			KUNIT_ASSERT_EQ(test, decode_pm(&request, &arg), 0);
			if (pagemap_scan_matches(&scan, categories) != matches)
				KUNIT_FAIL(test, "combination %x of bit %u",
					   combination, shift);
		}
		cond_resched();
	}
}

static void test_protects(struct kunit *test)
{
	struct pagemap_scan_request request;
	struct pagemap_scan scan = { .request = &request };
	struct pagemap_scan_arg arg = good_arg();

	arg.required_mask = PAGE_IS_PRESENT;
	arg.anyof_mask = 0;
	arg.excluded_mask = 0;
	KUNIT_ASSERT_EQ(test, decode(&request, &arg), 0);
	KUNIT_EXPECT_TRUE(test, pagemap_scan_protects(&scan, PAGE_IS_PRESENT |
						      PAGE_IS_WRITTEN));
	KUNIT_EXPECT_FALSE(test, pagemap_scan_protects(&scan,
						       PAGE_IS_PRESENT));
	KUNIT_EXPECT_FALSE(test, pagemap_scan_protects(&scan,
						       PAGE_IS_WRITTEN));
	request.flags = PAGEMAP_WP_REQUIRED;
	KUNIT_EXPECT_FALSE(test, pagemap_scan_protects(&scan, PAGE_IS_PRESENT |
						       PAGE_IS_WRITTEN));
}

#define BUILDER_PAGES	7
#define BUILDER_START	(16 * PAGE_SIZE)

/*
 * Pages of three sorts: in two categories that are told apart, and such as do
 * not match.
 */
static const u64 builder_categories[] = {
	PAGE_IS_PRESENT, PAGE_IS_PRESENT | PAGE_IS_FILE, PAGE_IS_SWAPPED,
};

struct builder_result {
	struct page_region regions[BUILDER_PAGES];
	unsigned long nr;
	unsigned long pages;
	unsigned long end;
};

/* What is to come out for the pages of @sorts, a page at a time. */
static void builder_expect(struct builder_result *expected, const u8 *sorts,
			   unsigned long vec_len, unsigned long max_pages)
{
	unsigned long addr = BUILDER_START;
	int i;

	memset(expected, 0, sizeof(*expected));
	for (i = 0; i < BUILDER_PAGES; i++, addr += PAGE_SIZE) {
		u64 categories = builder_categories[sorts[i]];
		bool longer = i && sorts[i - 1] == sorts[i];

		if (sorts[i] == 2)
			continue;
		if (max_pages && expected->pages == max_pages)
			break;
		if (vec_len && !longer) {
			if (expected->nr == vec_len)
				break;
			expected->regions[expected->nr].start = addr;
			expected->regions[expected->nr].categories = categories;
			expected->nr++;
		}
		if (vec_len)
			expected->regions[expected->nr - 1].end =
				addr + PAGE_SIZE;
		expected->pages++;
	}
	expected->end = addr;
}

/*
 * Feed pages in runs, as a walk does; a bit of @cuts is set where a run ends
 * although the next page is of the same sort, and of @pauses where a chunk ends.
 */
static int builder_feed(struct pagemap_scan *scan, const u8 *sorts,
			unsigned int cuts, unsigned int pauses)
{
	unsigned long taken;
	int i, first, err;
	u64 categories;

	for (;;) {
		err = 0;
		i = (scan->pos - BUILDER_START) >> PAGE_SHIFT;
		while (!err && i < BUILDER_PAGES) {
			for (first = i++; i < BUILDER_PAGES; i++)
				if (sorts[i] != sorts[first] || cuts & 1 << i)
					break;
			categories = builder_categories[sorts[first]];
			if (pagemap_scan_matches(scan, categories))
				err = pagemap_scan_take(scan, BUILDER_START +
							first * PAGE_SIZE,
							BUILDER_START +
							i * PAGE_SIZE,
							categories, &taken);
			if (!err && i < BUILDER_PAGES && pauses & 1 << i) {
				pauses &= ~(1 << i);
				scan->pos = BUILDER_START + i * PAGE_SIZE;
				err = PAGEMAP_SCAN_PAUSE;
			}
		}
		err = pagemap_scan_end_chunk(scan, err);
		if (err || scan->done)
			return err;
	}
}

/* Apart from builder_check(): a scan and what KUnit adds fill a stack frame. */
static noinline_for_stack int
builder_scan(struct builder_result *got, struct user_memory *memory,
	     const struct pagemap_scan_request *request, const u8 *sorts,
	     unsigned int cuts, unsigned int pauses)
{
	struct pagemap_scan scan;
	int err;

	pagemap_scan_init(&scan, request, memory->mm, NULL);
	/* As small as a buffer may be: it has to be emptied on the way */
	scan.max_regions = 2;
	pagemap_scan_set_limit(&scan);
	err = builder_feed(&scan, sorts, cuts, pauses);
	got->nr = scan.copied;
	got->pages = pagemap_scan_pages(&scan);
	got->end = scan.pos;
	pagemap_scan_exit(&scan);
	return err;
}

static noinline_for_stack void
builder_check(struct kunit *test, struct user_memory *memory, const u8 *sorts,
	      unsigned long vec_len, unsigned long max_pages, unsigned int cuts,
	      unsigned int pauses)
{
	struct pagemap_scan_request request = {
		.start = BUILDER_START,
		.end = BUILDER_START + BUILDER_PAGES * PAGE_SIZE,
		.vec = memory->addr,
		.vec_len = vec_len,
		.max_pages = max_pages ?: ULONG_MAX,
		.mask = PAGE_IS_PRESENT,
		.value = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_FILE,
	};
	struct builder_result expected, got;
	int err;

	builder_expect(&expected, sorts, vec_len, max_pages);

	memset(&got, 0, sizeof(got));
	err = copy_to_user(memory->addr, &got, sizeof(got));
	KUNIT_ASSERT_EQ(test, err, 0);
	err = builder_scan(&got, memory, &request, sorts, cuts, pauses);
	KUNIT_ASSERT_EQ(test, err, 0);
	err = copy_from_user(got.regions, memory->addr, sizeof(got.regions));
	KUNIT_ASSERT_EQ(test, err, 0);

	if (memcmp(&got, &expected, sizeof(got)))
		KUNIT_FAIL(test,
			   "sorts %d%d%d%d%d%d%d vec_len %lu max_pages %lu cuts %x pauses %x: %lu regions of %lu, %lu pages of %lu, end %lx of %lx",
			   sorts[0], sorts[1], sorts[2], sorts[3], sorts[4],
			   sorts[5], sorts[6], vec_len, max_pages, cuts, pauses,
			   got.nr, expected.nr, got.pages, expected.pages,
			   got.end, expected.end);
}

static void test_regions(struct kunit *test)
{
	unsigned int combination, rest, i;
	struct user_memory memory;
	u8 sorts[BUILDER_PAGES];

	user_memory_get(test, &memory, PAGE_SIZE);
	/* 3 to the 7th: every row of pages */
	for (combination = 0; combination < 2187; combination++) {
		unsigned long vec_len, max_pages;

		for (i = 0, rest = combination; i < BUILDER_PAGES; i++) {
			sorts[i] = rest % 3;
			rest /= 3;
		}
		for (vec_len = 0; vec_len <= 4; vec_len++) {
			/* Other cuts and pauses for each, all in all */
			unsigned int cuts = combination * 5 + vec_len;

			for (max_pages = 0; max_pages <= BUILDER_PAGES;
			     max_pages++)
				builder_check(test, &memory, sorts, vec_len,
					      max_pages, cuts,
					      cuts * 3 + max_pages);
		}
		cond_resched();
	}
	user_memory_put(&memory);
}

/* A run as long as the address space, and one that max_pages cuts. */
static void test_regions_of_any_length(struct kunit *test)
{
	unsigned long end = TASK_SIZE, taken, pages = end >> PAGE_SHIFT;
	struct pagemap_scan_request request = {
		.end = end,
		.vec_len = ULONG_MAX,
		.max_pages = ULONG_MAX,
	};
	struct pagemap_scan scan;

	pagemap_scan_init(&scan, &request, NULL, NULL);
	KUNIT_EXPECT_EQ(test, pagemap_scan_take(&scan, 0, end, 0, &taken), 0);
	KUNIT_EXPECT_EQ(test, taken, end);
	KUNIT_EXPECT_EQ(test, pagemap_scan_pages(&scan), pages);
	KUNIT_EXPECT_EQ(test, pagemap_scan_nr_regions(&scan), 1UL);
	pagemap_scan_exit(&scan);

	request.max_pages = pages;
	pagemap_scan_init(&scan, &request, NULL, NULL);
	KUNIT_EXPECT_EQ(test, pagemap_scan_take(&scan, 0, end, 0, &taken), 0);
	KUNIT_EXPECT_FALSE(test, scan.done);
	pagemap_scan_exit(&scan);

	request.max_pages = pages - 1;
	pagemap_scan_init(&scan, &request, NULL, NULL);
	KUNIT_EXPECT_EQ(test, pagemap_scan_take(&scan, 0, end, 0, &taken),
			PAGEMAP_SCAN_PAUSE);
	KUNIT_EXPECT_EQ(test, taken, end - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, scan.pos, end - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, pagemap_scan_pages(&scan), pages - 1);
	KUNIT_EXPECT_TRUE(test, scan.done);
	pagemap_scan_exit(&scan);
}

static void test_chunk_ends_when_its_budget_does(struct kunit *test)
{
	struct pagemap_scan scan = { .budget = 3, .pos = 1 };
	struct user_memory memory;

	user_memory_get(test, &memory, PAGE_SIZE);
	scan.mm = memory.mm;
	KUNIT_EXPECT_EQ(test, pagemap_scan_charge(&scan, PAGE_SIZE, 2), 0);
	KUNIT_EXPECT_EQ(test, pagemap_scan_charge(&scan, PAGE_SIZE, 2), 0);
	KUNIT_EXPECT_EQ(test, scan.pos, 1UL);
	KUNIT_EXPECT_EQ(test, pagemap_scan_charge(&scan, PAGE_SIZE, 2),
			PAGEMAP_SCAN_PAUSE);
	KUNIT_EXPECT_EQ(test, scan.pos, PAGE_SIZE);
	user_memory_put(&memory);
}

static int wait_for_lock(void *data)
{
	struct mm_struct *mm = data;

	mmap_write_lock(mm);
	mmap_write_unlock(mm);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

/* Whether a chunk goes on with its budget used up. */
static bool goes_on(struct pagemap_scan *scan)
{
	do {
		cond_resched();
		scan->budget = 0;
		if (!pagemap_scan_charge(scan, PAGE_SIZE, 2))
			return true;
	} while (need_resched());
	return false;
}

/* A chunk is a small one for somebody who waits for the lock. */
static void test_chunk_goes_on_while_nobody_waits(struct kunit *test)
{
	struct user_memory memory;
	struct pagemap_scan scan = { .more = 3 };
	struct task_struct *task;
	unsigned int i;

	user_memory_get(test, &memory, PAGE_SIZE);
	scan.mm = memory.mm;
	mmap_read_lock(memory.mm);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_TRUE(test, goes_on(&scan));
	KUNIT_EXPECT_EQ(test, scan.budget, PAGEMAP_SCAN_BUDGET - 2);
	KUNIT_EXPECT_EQ(test, scan.pos, 0UL);
	KUNIT_EXPECT_FALSE(test, goes_on(&scan));
	KUNIT_EXPECT_EQ(test, scan.pos, PAGE_SIZE);

	scan.more = 3;
	scan.pos = 0;
	task = kthread_run(wait_for_lock, memory.mm, "pagemap_scan_test");
	if (IS_ERR(task)) {
		mmap_read_unlock(memory.mm);
		KUNIT_FAIL(test, "no thread: %ld", PTR_ERR(task));
		goto out;
	}
	for (i = 0; i < 500 && !mmap_lock_is_contended(memory.mm); i++)
		msleep(20);
	KUNIT_EXPECT_FALSE(test, goes_on(&scan));
	KUNIT_EXPECT_EQ(test, scan.pos, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, scan.more, 3U);
	mmap_read_unlock(memory.mm);
	kthread_stop(task);
out:
	user_memory_put(&memory);
}

/* A vector that cannot be written ends the call, and so does no other error. */
static void test_chunk_reports_errors(struct kunit *test)
{
	struct pagemap_scan_request request = {
		.end = 4 * PAGE_SIZE,
		.vec_len = 4,
		.max_pages = ULONG_MAX,
	};
	struct user_memory memory;
	struct pagemap_scan scan;
	unsigned long taken;

	user_memory_get(test, &memory, PAGE_SIZE);
	/* Behind the only page there is */
	request.vec = memory.addr + PAGE_SIZE;

	pagemap_scan_init(&scan, &request, memory.mm, NULL);
	KUNIT_EXPECT_EQ(test, pagemap_scan_take(&scan, 0, PAGE_SIZE, 0, &taken),
			0);
	KUNIT_EXPECT_EQ(test, pagemap_scan_end_chunk(&scan, -ENOMEM), -ENOMEM);
	KUNIT_EXPECT_EQ(test, pagemap_scan_end_chunk(&scan, PAGEMAP_SCAN_PAUSE),
			0);
	KUNIT_EXPECT_FALSE(test, scan.done);
	KUNIT_EXPECT_EQ(test, pagemap_scan_end_chunk(&scan, 0), -EFAULT);
	pagemap_scan_exit(&scan);
	user_memory_put(&memory);
}

/* A swap entry: reclaim may not have flushed the TLBs of the page's yet. */
static void test_page_that_is_out_is_flushed(struct kunit *test)
{
	struct vm_area_struct vma = { .vm_mm = &init_mm };
	struct pagemap_scan scan = { .vma = &vma, .flush_start = ULONG_MAX };
	pte_t pte = swp_entry_to_pte(swp_entry(0, 1));

	pagemap_scan_protect_ptes(&scan, PAGE_SIZE, 2 * PAGE_SIZE, &pte);
	KUNIT_EXPECT_EQ(test, scan.flush_start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, scan.flush_end, 2 * PAGE_SIZE);
}

/* Else every later flush would be a full one, for good. */
static void test_flush_is_pending_while_a_vma_is_walked(struct kunit *test)
{
	struct pagemap_scan_request request = { .flags = PAGEMAP_WP_ENGAGE };
	struct pagemap_scan *scan = kunit_kzalloc(test, sizeof(*scan), GFP_KERNEL);
	struct vm_area_struct vma = { .vm_mm = &init_mm };
	struct mm_walk walk = {
		.mm = &init_mm,
		.vma = &vma,
		.private = scan,
	};

	KUNIT_ASSERT_NOT_NULL(test, scan);
	scan->request = &request;
	KUNIT_ASSERT_EQ(test, 0, pagemap_scan_pre_vma(0, PAGE_SIZE, &walk));
	KUNIT_EXPECT_TRUE(test, mm_tlb_flush_pending(&init_mm));
	pagemap_scan_post_vma(&walk);
	KUNIT_EXPECT_FALSE(test, mm_tlb_flush_pending(&init_mm));
}

/* struct kinds - VMAs, and entries that may stand in their page tables */
struct kinds {
	struct vm_area_struct vma;
	struct pagemap_scan_request request;
	struct pagemap_scan scan;
	struct page *pages[2];	/* of a file, and anonymous */
	unsigned int nr;
	pte_t entries[256];
	pte_t table[PTRS_PER_PTE];
};

static const struct vm_operations_struct kinds_of_a_file = {};

static const struct {
	unsigned long flags;
	const struct vm_operations_struct *ops;
} kinds_vmas[] = {
	{ VM_READ | VM_WRITE, NULL },
	{ VM_READ | VM_WRITE | VM_SOFTDIRTY, NULL },
	{ VM_READ | VM_WRITE | VM_UFFD_WP, NULL },
	{ VM_READ | VM_WRITE, &kinds_of_a_file },
	{ VM_READ | VM_WRITE | VM_SHARED, &kinds_of_a_file },
	{ VM_READ | VM_WRITE | VM_SHARED | VM_UFFD_WP, &kinds_of_a_file },
	{ VM_READ | VM_WRITE | VM_MIXEDMAP, NULL },
	{ VM_READ | VM_WRITE | VM_MIXEDMAP, &kinds_of_a_file },
	{ VM_READ | VM_WRITE | VM_IO | VM_SHARED, &kinds_of_a_file },
};

static const u64 kinds_masks[] = {
	PAGE_IS_WRITTEN,
	PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	PAGE_IS_SOFT_DIRTY,
	PAGE_IS_PFNZERO,
	PAGE_IS_FILE,
	PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_PFNZERO | PAGE_IS_FILE |
		PAGE_IS_SOFT_DIRTY,
	PAGEMAP_SCAN_CATEGORIES,
};

/* All that a present entry may say of a page, but what contradicts itself. */
static void kinds_add_present(struct kinds *kinds, struct page *page,
			      pgprot_t prot)
{
	unsigned int bits;

	for (bits = 0; bits < 32; bits++) {
		pte_t pte = mk_pte(page, prot);

		pte = bits & 1 ? pte_mkwrite(pte) : pte_wrprotect(pte);
		pte = bits & 2 ? pte_mkdirty(pte) : pte_mkclean(pte);
		pte = bits & 4 ? pte_mkyoung(pte) : pte_mkold(pte);
		pte = bits & 8 ? pte_mksoft_dirty(pte) :
				 pte_clear_soft_dirty(pte);
		pte = bits & 16 ? pte_mkuffd_wp(pte) : pte_clear_uffd_wp(pte);
		kinds->entries[kinds->nr++] = pte;
	}
}

static struct kinds *kinds_get(struct kunit *test)
{
	struct kinds *kinds = kunit_kzalloc(test, sizeof(*kinds), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, kinds);
	for (i = 0; i < ARRAY_SIZE(kinds->pages); i++) {
		kinds->pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, kinds->pages[i]);
		kinds_add_present(kinds, kinds->pages[i], PAGE_SHARED);
		kinds_add_present(kinds, kinds->pages[i], PAGE_NONE);
	}
	kinds->pages[1]->mapping = (void *)PAGE_MAPPING_ANON;

	for (i = 0; i < 4; i++) {
		pte_t zero = mk_pte(ZERO_PAGE(0), vm_get_page_prot(VM_READ));
		pte_t swapped = swp_entry_to_pte(swp_entry(0, 1 + i / 2));

		if (i & 1) {
			zero = pte_mkuffd_wp(zero);
			swapped = pte_swp_mksoft_dirty(swapped);
		}
		kinds->entries[kinds->nr++] = pte_mkspecial(zero);
		kinds->entries[kinds->nr++] = zero;
		kinds->entries[kinds->nr++] = swapped;
		kinds->entries[kinds->nr++] = pte_swp_mkuffd_wp(swapped);
	}
	kinds->entries[kinds->nr++] = __pte(0);
	if (IS_ENABLED(CONFIG_PTE_MARKER))
		kinds->entries[kinds->nr++] =
			make_pte_marker(PTE_MARKER_UFFD_WP);
	KUNIT_ASSERT_LE(test, kinds->nr,
			(unsigned int)ARRAY_SIZE(kinds->entries));

	kinds->scan.request = &kinds->request;
	kinds->vma.vm_mm = &init_mm;
	return kinds;
}

static void kinds_put(struct kinds *kinds)
{
	unsigned int i;

	kinds->pages[1]->mapping = NULL;
	for (i = 0; i < ARRAY_SIZE(kinds->pages); i++)
		__free_page(kinds->pages[i]);
}

/* The next VMA and mask.  False when there are no more. */
static bool kinds_next(struct kinds *kinds, unsigned int *number)
{
	struct mm_walk walk = {
		.mm = &init_mm,
		.vma = &kinds->vma,
		.private = &kinds->scan,
	};
	unsigned int vma = *number / ARRAY_SIZE(kinds_masks);

	if (vma == ARRAY_SIZE(kinds_vmas))
		return false;
	kinds->vma.vm_flags = kinds_vmas[vma].flags;
	kinds->vma.vm_ops = kinds_vmas[vma].ops;
	kinds->scan.wanted = kinds_masks[*number % ARRAY_SIZE(kinds_masks)];
	kinds->request.return_mask = kinds->scan.wanted;
	(*number)++;
	pagemap_scan_pre_vma(0, PAGE_SIZE, &walk);
	pagemap_scan_post_vma(&walk);
	return true;
}

/*
 * A page of a file cannot be written through a private mapping of it, and only
 * drivers map the zero page like any other.
 */
static bool kinds_can_be(const struct kinds *kinds, pte_t pte)
{
	unsigned long flags = kinds->vma.vm_flags;

	if (!pte_present(pte))
		return true;
	if (is_zero_pfn(pte_pfn(pte)))
		return !IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) ||
		       pte_special(pte) || flags & (VM_IO | VM_MIXEDMAP);
	return !pte_write(pte) || pte_page(pte) != kinds->pages[0] ||
	       !kinds->vma.vm_ops || flags & (VM_SHARED | VM_MIXEDMAP);
}

/* Entries of one kind are in the same categories, whatever the kind is of. */
static void test_kinds_agree_in_categories(struct kunit *test)
{
	struct kinds *kinds = kinds_get(test);
	struct pagemap_scan *scan = &kinds->scan;
	const struct pagemap_scan_kind *kind;
	unsigned int number = 0, i, j, wrong = 0;

	while (kinds_next(kinds, &number)) {
		for (i = 0; i < kinds->nr; i++) {
			if (!kinds_can_be(kinds, kinds->entries[i]))
				continue;
			pagemap_scan_forget_kinds(scan);
			kind = pagemap_scan_find_kind(scan, 0,
						      &kinds->entries[i]);
			for (j = 0; j < kinds->nr; j++) {
				pte_t *ptep = &kinds->entries[j];

				if (!kinds_can_be(kinds, *ptep) ||
				    !pagemap_scan_fits_kind(scan, kind, 0,
							    ptep))
					continue;
				if (pagemap_scan_pte_categories(scan, 0,
								*ptep) !=
				    kind->categories)
					wrong++;
			}
		}
		cond_resched();
	}
	KUNIT_EXPECT_EQ(test, wrong, 0U);
	kinds_put(kinds);
}

/* All kinds that were seen, one of which is found again, tell the truth. */
static void test_kinds_are_remembered(struct kunit *test)
{
	struct kinds *kinds = kinds_get(test);
	struct pagemap_scan *scan = &kinds->scan;
	const struct pagemap_scan_kind *kind;
	unsigned int number = 0, i, wrong = 0, x = 1;

	while (kinds_next(kinds, &number)) {
		kinds->request.anyof = PAGE_IS_WRITTEN | PAGE_IS_FILE;
		kinds->request.flags = PAGEMAP_WP_ENGAGE;
		for (i = 0; i < 4 * kinds->nr; i++) {
			pte_t *ptep;
			u64 categories;

			/* Mostly one of a few */
			x = x * 1103515245 + 12345;
			ptep = &kinds->entries[(x >> 16 & 3 ? number : x >> 18) %
					       kinds->nr];
			kind = pagemap_scan_find_kind(scan, 0, ptep);
			categories = pagemap_scan_pte_categories(scan, 0,
								 *ptep);
			if (!kinds_can_be(kinds, *ptep)) {
				pagemap_scan_forget_kinds(scan);
				continue;
			}
			wrong += kind->categories != categories;
			wrong += kind->matches !=
				 pagemap_scan_matches(scan, categories);
			wrong += kind->protects !=
				 pagemap_scan_protects(scan, categories);
			wrong += kind != (kind->matches ? scan->take :
					  scan->skip);
		}
		kinds->request.anyof = 0;
		kinds->request.flags = 0;
		cond_resched();
	}
	KUNIT_EXPECT_EQ(test, wrong, 0U);
	kinds_put(kinds);
}

static bool kinds_run_ends_wrongly(struct kinds *kinds,
				   const struct pagemap_scan_kind *kind)
{
	pte_t *end = kinds->table + PTRS_PER_PTE, *expected;

	for (expected = kinds->table; expected < end; expected++) {
		if (!pagemap_scan_fits_kind(&kinds->scan, kind, 0, expected))
			break;
	}
	return pagemap_scan_end_of_run(&kinds->scan, kind, 0, kinds->table,
				       end) != expected;
}

/* A run ends at the first entry of another kind, wherever in a block that is. */
static void test_runs_end_where_the_kind_does(struct kunit *test)
{
	struct kinds *kinds = kinds_get(test);
	struct pagemap_scan *scan = &kinds->scan;
	const struct pagemap_scan_kind *kind;
	unsigned int number = 0, i, j, wrong = 0, x = 1;

	while (kinds_next(kinds, &number)) {
		for (i = 0; i < kinds->nr; i++) {
			unsigned int length;

			x = x * 1103515245 + 12345;
			length = (x >> 16) % (x & 0x800 ? 70 : PTRS_PER_PTE);
			pagemap_scan_forget_kinds(scan);
			kind = pagemap_scan_find_kind(scan, 0,
						      &kinds->entries[i]);
			for (j = 0; j < PTRS_PER_PTE; j++) {
				pte_t *ptep = &kinds->entries[(i + j) %
							      kinds->nr];

				kinds->table[j] = kinds->entries[i];
				if (j >= length ||
				    pagemap_scan_fits_kind(scan, kind, 0, ptep))
					kinds->table[j] = *ptep;
			}
			wrong += kinds_run_ends_wrongly(kinds, kind);

			/* A single one among many of the kind */
			for (j = 0; j < PTRS_PER_PTE; j++)
				kinds->table[j] = kinds->entries[i];
			kinds->table[length] =
				kinds->entries[(x >> 9) % kinds->nr];
			wrong += kinds_run_ends_wrongly(kinds, kind);
		}
		cond_resched();
	}
	KUNIT_EXPECT_EQ(test, wrong, 0U);
	kinds_put(kinds);
}

/*
 * What does not count is not looked at: else each answer would be right, and
 * take thirty times as long.
 */
static void test_kinds_leave_out_what_does_not_count(struct kunit *test)
{
	struct kinds *kinds = kinds_get(test);
	struct pagemap_scan *scan = &kinds->scan;
	const struct pagemap_scan_kind *kind;
	unsigned int number = 5, i;

	if (!PAGEMAP_SCAN_FAST) {
		kinds_put(kinds);
		kunit_skip(test, "each entry is looked at");
	}

	/* CRIU's query of anonymous memory: pages that are not soft-dirty */
	kinds_next(kinds, &number);
	kind = pagemap_scan_find_kind(scan, 0, &kinds->entries[0]);
	for (i = 0; i < 32; i++) {
		KUNIT_EXPECT_EQ(test, !pte_soft_dirty(kinds->entries[i]),
				pagemap_scan_fits_kind(scan, kind, 0,
						       &kinds->entries[i]));
	}
	kinds_put(kinds);
}

static struct kunit_case pagemap_scan_cases[] = {
	KUNIT_CASE(test_decode),
	KUNIT_CASE(test_decode_pm),
	KUNIT_CASE(test_decode_knows_each_bit),
	KUNIT_CASE(test_decode_checks_ranges),
	KUNIT_CASE(test_command_numbers),
	KUNIT_CASE(test_versions),
	KUNIT_CASE(test_versions_pm),
	KUNIT_CASE(test_ranges),
	KUNIT_CASE(test_match),
	KUNIT_CASE(test_match_pm),
	KUNIT_CASE(test_protects),
	KUNIT_CASE(test_regions),
	KUNIT_CASE(test_regions_of_any_length),
	KUNIT_CASE(test_kinds_agree_in_categories),
	KUNIT_CASE(test_kinds_are_remembered),
	KUNIT_CASE(test_runs_end_where_the_kind_does),
	KUNIT_CASE(test_kinds_leave_out_what_does_not_count),
	KUNIT_CASE(test_chunk_ends_when_its_budget_does),
	KUNIT_CASE(test_chunk_goes_on_while_nobody_waits),
	KUNIT_CASE(test_chunk_reports_errors),
	KUNIT_CASE(test_page_that_is_out_is_flushed),
	KUNIT_CASE(test_flush_is_pending_while_a_vma_is_walked),
	{}
};

static struct kunit_suite pagemap_scan_suite = {
	.name = "pagemap_scan",
	.test_cases = pagemap_scan_cases,
};

kunit_test_suite(pagemap_scan_suite);
