// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagemap-scan: show in which categories the pages of a process are
 *
 * Asks the PAGEMAP_SCAN ioctl of /proc/PID/pagemap about every mapping that
 * /proc/PID/maps lists, and prints a row per mapping with the number of pages
 * in each category, or the regions themselves, for a reader or as JSON.
 *
 * The target runs meanwhile, so a mapping may change or go between the moment
 * that it was listed and the moment that it was scanned.  Where pages have
 * gone, the ioctl reports none, and the row shows none.
 *
 * All results are collected before the first is printed: what is printed is
 * whole, or there is an error and nothing else.
 */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <linux/compiler.h>
#include <linux/pagemap_scan.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

/* Regions that one call can report.  More of them cost memory, fewer calls. */
#define VEC_LEN			4096

enum exit_status {
	STATUS_OK = 0,
	STATUS_ERROR = 1,
	STATUS_USAGE = 2,
};

/* What the user calls the categories, in the order of columns and lists. */
static const struct category {
	const char *name;
	__u64 bit;
} categories[] = {
	{ "wpallowed", PAGE_IS_WPALLOWED },
	{ "written", PAGE_IS_WRITTEN },
	{ "file", PAGE_IS_FILE },
	{ "present", PAGE_IS_PRESENT },
	{ "swapped", PAGE_IS_SWAPPED },
	{ "pfnzero", PAGE_IS_PFNZERO },
	{ "huge", PAGE_IS_HUGE },
	{ "soft-dirty", PAGE_IS_SOFT_DIRTY },
};

#define CATEGORY_COUNT		ARRAY_SIZE(categories)
#define ALL_CATEGORIES		(PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN | \
				 PAGE_IS_FILE | PAGE_IS_PRESENT | \
				 PAGE_IS_SWAPPED | PAGE_IS_PFNZERO | \
				 PAGE_IS_HUGE | PAGE_IS_SOFT_DIRTY)

/**
 * struct failure - why the program ends without a result
 * @status: what it exits with
 * @text: cause and way out, as one line without the program's name
 */
struct failure {
	enum exit_status status;
	char text[512];
};

/**
 * struct request - what the command line asks for
 * @pid: the process to scan
 * @help: only print how the program is used
 * @json: print JSON instead of a table
 * @regions: print regions instead of counts; with @json, beside them
 * @start: first address of interest
 * @end: address behind the last one of interest
 * @required: categories that a matching page has all of
 * @anyof: categories that a matching page has one of, or 0
 * @excluded: categories that a matching page has none of
 * @returned: categories to show
 */
struct request {
	pid_t pid;
	bool help;
	bool json;
	bool regions;
	__u64 start;
	__u64 end;
	__u64 required;
	__u64 anyof;
	__u64 excluded;
	__u64 returned;
};

/**
 * enum tally_index - what struct tally has numbers of
 * @TALLY_PAGES: all pages
 * @TALLY_MATCHING: those that the request selects
 * @TALLY_CATEGORY: of these, those in the first of categories[]; and so on
 * @TALLY_SIZE: how many numbers there are
 */
enum tally_index {
	TALLY_PAGES,
	TALLY_MATCHING,
	TALLY_CATEGORY,
	TALLY_SIZE = TALLY_CATEGORY + CATEGORY_COUNT,
};

/**
 * struct tally - numbers of pages
 * @pages: the numbers, at the places of enum tally_index
 */
struct tally {
	__u64 pages[TALLY_SIZE];
};

/**
 * struct mapping - a line of /proc/PID/maps and what was found there
 * @start: first address, not below that of the request
 * @end: address behind the last, not above that of the request
 * @permissions: such as "rw-p"
 * @name: as in maps, may be empty; a part of process.maps
 * @scanned: false where the addresses are the kernel's, such as [vsyscall],
 *	which has no page table of the process
 * @tally: its pages
 * @regions: the regions found, in address order; where the request wants them
 * @region_count: number of elements of @regions that are in use
 * @region_room: number of elements of @regions that are allocated
 */
struct mapping {
	__u64 start;
	__u64 end;
	char permissions[5];
	const char *name;
	bool scanned;
	struct tally tally;
	struct page_region *regions;
	size_t region_count;
	size_t region_room;
};

/**
 * struct process - the scanned process and the result
 * @directory: descriptor of /proc/PID, through which the files are opened, so
 *	that they are those of one process although its number may be reused
 * @pagemap: descriptor of the pagemap file
 * @page_size: bytes in a page
 * @maps: text of the maps file, cut into strings
 * @mappings: its lines in address order, as far as the request covers them
 * @mapping_count: number of elements of @mappings that are in use
 * @total: sum over all @mappings
 * @vec: receives the regions of one call
 */
struct process {
	int directory;
	int pagemap;
	__u64 page_size;
	char *maps;
	struct mapping *mappings;
	size_t mapping_count;
	struct tally total;
	struct page_region vec[VEC_LEN];
};

/**
 * fail - note why the program ends
 * @failure: where to note it
 * @status: the exit status
 * @format: as of printf(), followed by its arguments
 *
 * Return: -1, for the caller to return in turn.
 */
static __printf(3, 4)
int fail(struct failure *failure, enum exit_status status, const char *format,
	 ...)
{
	va_list arguments;

	failure->status = status;
	va_start(arguments, format);
	vsnprintf(failure->text, sizeof(failure->text), format, arguments);
	va_end(arguments);
	return -1;
}

static int fail_memory(struct failure *failure)
{
	return fail(failure, STATUS_ERROR,
		    "not enough memory for the result; use --range, or leave out --regions");
}

/* The command line. */

enum option_id {
	OPTION_REGIONS = UCHAR_MAX + 1,
	OPTION_JSON,
	OPTION_REQUIRED,
	OPTION_ANYOF,
	OPTION_EXCLUDED,
	OPTION_RETURN,
	OPTION_RANGE,
	OPTION_HELP = 'h',
};

/* The options: for getopt_long() and for --help. */
static const struct option_text {
	const char *name;
	enum option_id id;
	const char *argument;
	const char *help;
} option_texts[] = {
	{ "regions", OPTION_REGIONS, NULL,
	  "print the regions themselves instead of counts" },
	{ "json", OPTION_JSON, NULL,
	  "print one JSON object" },
	{ "required", OPTION_REQUIRED, "LIST",
	  "only pages in all of these categories" },
	{ "anyof", OPTION_ANYOF, "LIST",
	  "only pages in at least one of these categories" },
	{ "excluded", OPTION_EXCLUDED, "LIST",
	  "only pages in none of these categories" },
	{ "return", OPTION_RETURN, "LIST",
	  "show these categories (default: all)" },
	{ "range", OPTION_RANGE, "START-END",
	  "only these addresses, in hex as in /proc/PID/maps" },
	{ "help", OPTION_HELP, NULL,
	  "print this text" },
};

static void print_help(void)
{
	size_t i;

	printf("Usage: pagemap-scan [OPTION]... PID\n"
	       "Show in which categories the pages of process PID are: a row per mapping, with\n"
	       "the number of its pages in each category.\n"
	       "\n");
	for (i = 0; i < ARRAY_SIZE(option_texts); i++) {
		const struct option_text *text = &option_texts[i];
		char usage[40];

		snprintf(usage, sizeof(usage), "--%s%s%s", text->name,
			 text->argument ? " " : "",
			 text->argument ? text->argument : "");
		printf("  %-20s  %s\n", usage, text->help);
	}
	printf("\nA LIST has names of categories with commas between them, or 'all':\n ");
	for (i = 0; i < CATEGORY_COUNT; i++)
		printf(" %s", categories[i].name);
	printf("\n\n"
	       "Exit status: 0 if all is well, 1 where the process cannot be scanned, 2 for a\n"
	       "mistake in the command line.\n");
}

/**
 * category_by_name - find a category
 * @name: its name, in small or capital letters
 * @length: number of characters of @name that belong to it
 *
 * Return: its bit, those of all where the name is "all", 0 if there is none.
 */
static __u64 category_by_name(const char *name, size_t length)
{
	size_t i;

	if (length == strlen("all") && !strncasecmp(name, "all", length))
		return ALL_CATEGORIES;
	for (i = 0; i < CATEGORY_COUNT; i++)
		if (length == strlen(categories[i].name) &&
		    !strncasecmp(name, categories[i].name, length))
			return categories[i].bit;
	return 0;
}

/**
 * format_categories - write names of categories
 * @text: where to
 * @size: room there; enough for all names
 * @mask: the categories
 */
static void format_categories(char *text, size_t size, __u64 mask)
{
	size_t length = 0;
	size_t i;

	text[0] = '\0';
	for (i = 0; i < CATEGORY_COUNT; i++)
		if (mask & categories[i].bit)
			length += snprintf(text + length, size - length, "%s%s",
					   length ? "," : "",
					   categories[i].name);
}

/**
 * parse_categories - read the list that an option has
 * @option: name of the option, for the error
 * @list: names with commas between them
 * @mask: receives the categories, beside those that it has
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
static int parse_categories(const char *option, const char *list,
			    __u64 *mask, struct failure *failure)
{
	const char *name = list;

	for (;;) {
		size_t length = strcspn(name, ",");
		__u64 bits = category_by_name(name, length);

		if (!bits) {
			char known[128];

			format_categories(known, sizeof(known), ALL_CATEGORIES);
			return fail(failure, STATUS_USAGE,
				    "--%s: there is no category '%.*s'; use names from %s, or all",
				    option, (int)length, name, known);
		}
		*mask |= bits;
		name += length;
		if (!*name)
			return 0;
		name++;
	}
}

static int parse_address(const char *text, char **end, __u64 *address)
{
	errno = 0;
	*address = strtoull(text, end, 16);
	/* strtoull() would also take blanks, a sign, and no digit at all. */
	if (errno || *end == text || !strchr("0123456789abcdefABCDEF", *text))
		return -1;
	return 0;
}

static int parse_range(const char *text, struct request *request,
		       struct failure *failure)
{
	char *end;

	if (parse_address(text, &end, &request->start) || *end != '-' ||
	    parse_address(end + 1, &end, &request->end) || *end)
		return fail(failure, STATUS_USAGE,
			    "--range: '%s' is not START-END in hex, as in 7f0012000000-7f0012345000",
			    text);
	if (request->start >= request->end)
		return fail(failure, STATUS_USAGE,
			    "--range: the end of '%s' is not above its start", text);
	return 0;
}

static int parse_pid(const char *text, struct request *request,
		     struct failure *failure)
{
	char *end;
	long pid;

	errno = 0;
	pid = strtol(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || pid < 1 ||
	    pid > INT_MAX)
		return fail(failure, STATUS_USAGE,
			    "'%s' is not the number of a process; pidof(1) finds it by name",
			    text);
	request->pid = pid;
	return 0;
}

static int parse_option(int id, const char *argument, struct request *request,
			struct failure *failure)
{
	switch (id) {
	case OPTION_REGIONS:
		request->regions = true;
		return 0;
	case OPTION_JSON:
		request->json = true;
		return 0;
	case OPTION_REQUIRED:
		return parse_categories("required", argument,
					&request->required, failure);
	case OPTION_ANYOF:
		return parse_categories("anyof", argument, &request->anyof,
					failure);
	case OPTION_EXCLUDED:
		return parse_categories("excluded", argument,
					&request->excluded, failure);
	case OPTION_RETURN:
		return parse_categories("return", argument,
					&request->returned, failure);
	case OPTION_RANGE:
		return parse_range(argument, request, failure);
	default:
		request->help = true;
		return 0;
	}
}

/**
 * parse_command_line - read all arguments
 * @argc: as of main()
 * @argv: as of main()
 * @request: receives what they ask for
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
static int parse_command_line(int argc, char **argv, struct request *request,
			      struct failure *failure)
{
	struct option options[ARRAY_SIZE(option_texts) + 1] = {};
	size_t i;
	int id;

	for (i = 0; i < ARRAY_SIZE(option_texts); i++) {
		options[i].name = option_texts[i].name;
		options[i].has_arg = option_texts[i].argument ?
				     required_argument : no_argument;
		options[i].val = option_texts[i].id;
	}

	*request = (struct request){ .end = ULLONG_MAX };
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (id == ':')
			return fail(failure, STATUS_USAGE,
				    "%s must be followed by a value; --help tells which",
				    argv[optind - 1]);
		if (id == '?' && optopt > 0 && optopt <= UCHAR_MAX)
			return fail(failure, STATUS_USAGE,
				    "there is no option -%c; --help lists them",
				    optopt);
		if (id == '?')
			return fail(failure, STATUS_USAGE,
				    "%s is not understood; --help lists the options",
				    argv[optind - 1]);
		if (parse_option(id, optarg, request, failure))
			return -1;
	}
	if (!request->returned)
		request->returned = ALL_CATEGORIES;
	if (request->help)
		return 0;
	if (optind == argc)
		return fail(failure, STATUS_USAGE,
			    "the number of the process is missing; --help tells the usage");
	if (optind + 1 < argc)
		return fail(failure, STATUS_USAGE,
			    "'%s': one process at a time, please",
			    argv[optind + 1]);
	return parse_pid(argv[optind], request, failure);
}

/* The process and its mappings. */

/* Note why there is no /proc/PID, or nothing in it. */
static int fail_no_process(pid_t pid, struct failure *failure)
{
	if (access("/proc/self/maps", F_OK))
		return fail(failure, STATUS_ERROR,
			    "/proc is not mounted; do: mount -t proc none /proc");
	if (!kill(pid, 0) || errno == EPERM)
		return fail(failure, STATUS_ERROR,
			    "process %d is hidden from this user, as /proc is mounted with hidepid; run this as root",
			    pid);
	return fail(failure, STATUS_ERROR,
		    "there is no process %d; ps(1) lists those that run", pid);
}

static int fail_exited(pid_t pid, struct failure *failure)
{
	return fail(failure, STATUS_ERROR,
		    "process %d exited, or started another program, while it was scanned; try again if it still runs",
		    pid);
}

static int fail_no_memory(pid_t pid, struct failure *failure)
{
	return fail(failure, STATUS_ERROR,
		    "process %d has no memory: it is a thread of the kernel, or it has exited and waits for its parent",
		    pid);
}

static bool process_exists(const struct process *process)
{
	return !faccessat(process->directory, "stat", F_OK, 0);
}

/* Note why a file in /proc/PID cannot be opened, by errno. */
static int fail_open(const struct process *process, pid_t pid, const char *file,
		     struct failure *failure)
{
	if (errno == EACCES || errno == EPERM)
		return fail(failure, STATUS_ERROR,
			    "no permission to read /proc/%d/%s: it takes the user who runs the process (and a process that is not setuid or otherwise protected), or CAP_SYS_PTRACE; try sudo",
			    pid, file);
	/* Kernels that are newer than 6.1 open no pagemap without memory. */
	if (errno == ESRCH && process_exists(process))
		return fail_no_memory(pid, failure);
	if (errno == ENOENT && process_exists(process))
		return fail(failure, STATUS_ERROR,
			    "this kernel has no /proc/%d/%s: it must be built with CONFIG_PROC_PAGE_MONITOR",
			    pid, file);
	if (errno == ENOENT || errno == ESRCH)
		return fail_no_process(pid, failure);
	return fail(failure, STATUS_ERROR, "cannot open /proc/%d/%s: %s", pid,
		    file, strerror(errno));
}

/**
 * read_maps - read the maps file
 * @fd: the file
 * @pid: the process, for the error
 * @failure: receives the error
 *
 * Return: its text, with a zero at the end, to be freed; or NULL with an error
 * noted.
 */
static char *read_maps(int fd, pid_t pid, struct failure *failure)
{
	size_t length = 0;
	size_t room = 0;
	char *text = NULL;
	ssize_t got;

	do {
		if (room - length < 4096) {
			char *larger = realloc(text, room + 65536);

			if (!larger) {
				free(text);
				fail_memory(failure);
				return NULL;
			}
			text = larger;
			room += 65536;
		}
		got = read(fd, text + length, room - length - 1);
		if (got < 0) {
			free(text);
			if (errno == ESRCH)
				fail_exited(pid, failure);
			else
				fail(failure, STATUS_ERROR,
				     "cannot read /proc/%d/maps: %s", pid,
				     strerror(errno));
			return NULL;
		}
		length += got;
	} while (got);
	text[length] = '\0';
	return text;
}

/**
 * parse_mapping - read a line of the maps file
 * @line: the line, without its end
 * @mapping: receives the mapping, with an unused result
 *
 * Return: whether it was such a line.
 */
static bool parse_mapping(const char *line, struct mapping *mapping)
{
	int name = 0;

	*mapping = (struct mapping){};
	if (sscanf(line, "%llx-%llx %4s %*s %*s %*s %n",
		   &mapping->start, &mapping->end, mapping->permissions,
		   &name) != 3)
		return false;
	mapping->name = line + name;
	return name;
}

/**
 * list_mappings - cut the text of the maps file into mappings
 * @process: has the text, receives the mappings
 * @request: which addresses are of interest
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
static int list_mappings(struct process *process, const struct request *request,
			 struct failure *failure)
{
	/* Whole pages are scanned; a range may start or end within one. */
	__u64 in_page = process->page_size - 1;
	__u64 next = request->start & ~in_page;
	__u64 limit = request->end > ~in_page ? ULLONG_MAX :
		      (request->end + in_page) & ~in_page;
	size_t room = 0;
	char *line, *rest = process->maps;

	while ((line = strsep(&rest, "\n")) && *line) {
		struct mapping mapping;

		if (!parse_mapping(line, &mapping))
			return fail(failure, STATUS_ERROR,
				    "this line of /proc/%d/maps is not understood: %s",
				    request->pid, line);

		/*
		 * The file is read in pieces.  In between a mapping may grow
		 * or be joined with its neighbour, and then be listed again.
		 */
		if (mapping.start < next)
			mapping.start = next;
		if (mapping.end > limit)
			mapping.end = limit;
		if (mapping.start >= mapping.end)
			continue;
		next = mapping.end;

		if (process->mapping_count == room) {
			struct mapping *larger;

			room = room ? 2 * room : 256;
			larger = reallocarray(process->mappings, room,
					      sizeof(*larger));
			if (!larger)
				return fail_memory(failure);
			process->mappings = larger;
		}
		process->mappings[process->mapping_count++] = mapping;
	}
	return 0;
}

/**
 * open_process - open the files of the process and list its mappings
 * @process: receives all of that; close_process() gives it back, also after
 *	an error
 * @request: which process
 * @failure: receives the error
 *
 * The pagemap file comes first: it stays with the address space that it was
 * opened on, so if the process changes that by exec before maps is opened,
 * the scan says so instead of mixing the two.
 *
 * Return: 0, or -1 with an error noted.
 */
static int open_process(struct process *process, const struct request *request,
			struct failure *failure)
{
	char path[32];
	int maps;

	process->pagemap = -1;
	process->page_size = sysconf(_SC_PAGESIZE);
	snprintf(path, sizeof(path), "/proc/%d", request->pid);
	process->directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process->directory < 0)
		return fail_no_process(request->pid, failure);

	process->pagemap = openat(process->directory, "pagemap",
				  O_RDONLY | O_CLOEXEC);
	if (process->pagemap < 0)
		return fail_open(process, request->pid, "pagemap", failure);

	maps = openat(process->directory, "maps", O_RDONLY | O_CLOEXEC);
	if (maps < 0)
		return fail_open(process, request->pid, "maps", failure);
	process->maps = read_maps(maps, request->pid, failure);
	close(maps);
	if (!process->maps)
		return -1;
	if (!*process->maps)
		return fail_no_memory(request->pid, failure);
	return list_mappings(process, request, failure);
}

static void close_process(struct process *process)
{
	size_t i;

	for (i = 0; i < process->mapping_count; i++)
		free(process->mappings[i].regions);
	free(process->mappings);
	free(process->maps);
	if (process->pagemap >= 0)
		close(process->pagemap);
	if (process->directory >= 0)
		close(process->directory);
}

/* The scan. */

/**
 * keep_region - add a region to those of its mapping
 * @mapping: the mapping
 * @region: the region, behind all that the mapping has
 * @failure: receives the error
 *
 * A call that stopped because vec was full may have stopped amid what is one
 * region for the reader.
 *
 * Return: 0, or -1 with an error noted.
 */
static int keep_region(struct mapping *mapping,
		       const struct page_region *region,
		       struct failure *failure)
{
	if (mapping->region_count) {
		struct page_region *last =
			&mapping->regions[mapping->region_count - 1];

		if (last->end == region->start &&
		    last->categories == region->categories) {
			last->end = region->end;
			return 0;
		}
	}
	if (mapping->region_count == mapping->region_room) {
		size_t room = mapping->region_room ? 2 * mapping->region_room :
						     8;
		struct page_region *larger = reallocarray(mapping->regions,
							  room,
							  sizeof(*larger));

		if (!larger)
			return fail_memory(failure);
		mapping->regions = larger;
		mapping->region_room = room;
	}
	mapping->regions[mapping->region_count++] = *region;
	return 0;
}

static void count_region(struct tally *tally, const struct page_region *region,
			 __u64 page_size)
{
	__u64 pages = (region->end - region->start) / page_size;
	size_t i;

	tally->pages[TALLY_MATCHING] += pages;
	for (i = 0; i < CATEGORY_COUNT; i++)
		if (region->categories & categories[i].bit)
			tally->pages[TALLY_CATEGORY + i] += pages;
}

static void add_tally(struct tally *sum, const struct tally *tally)
{
	size_t i;

	for (i = 0; i < TALLY_SIZE; i++)
		sum->pages[i] += tally->pages[i];
}

/* Note why PAGEMAP_SCAN failed, by errno. */
static int fail_scan(const struct request *request,
		     const struct mapping *mapping, struct failure *failure)
{
	struct utsname name;

	switch (errno) {
	case ENOTTY:	/* has no such ioctl */
	case EINVAL:	/* 6.7 or later: has it in another form */
		uname(&name);
		return fail(failure, STATUS_ERROR,
			    "this kernel (Linux %s) does not have the PAGEMAP_SCAN that this program uses: it comes with the PAGEMAP_SCAN series for Linux 6.1; boot a kernel that has it",
			    name.release);
	case ESRCH:
		return fail_exited(request->pid, failure);
	case ENOMEM:
		return fail(failure, STATUS_ERROR,
			    "the kernel has not enough memory for the scan; free some and try again");
	default:
		return fail(failure, STATUS_ERROR,
			    "cannot scan %llx-%llx of process %d: %s",
			    mapping->start, mapping->end, request->pid,
			    strerror(errno));
	}
}

/**
 * scan_mapping - ask the kernel about the pages of a mapping
 * @process: the process
 * @request: which pages match, and what to find out about them
 * @mapping: which addresses; receives the result
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
static int scan_mapping(struct process *process, const struct request *request,
			struct mapping *mapping, struct failure *failure)
{
	__u64 address = mapping->start;

	mapping->tally.pages[TALLY_PAGES] = (mapping->end - mapping->start) /
					    process->page_size;
	while (address < mapping->end) {
		struct pagemap_scan_arg arg = {
			.size = sizeof(arg),
			.start = address,
			.len = mapping->end - address,
			.vec = (uintptr_t)process->vec,
			.vec_len = VEC_LEN,
			.required_mask = request->required,
			.anyof_mask = request->anyof,
			.excluded_mask = request->excluded,
			.return_mask = request->returned,
		};
		int i, found;

		found = ioctl(process->pagemap, PAGEMAP_SCAN, &arg);
		if (found < 0 && errno == EFAULT)
			return 0;
		if (found < 0)
			return fail_scan(request, mapping, failure);
		for (i = 0; i < found; i++) {
			count_region(&mapping->tally, &process->vec[i],
				     process->page_size);
			if (request->regions &&
			    keep_region(mapping, &process->vec[i], failure))
				return -1;
		}
		/* With room for a region, a call always gets on. */
		if (arg.walk_end <= address)
			return fail(failure, STATUS_ERROR,
				    "the kernel stopped at %llx without a reason; please report this",
				    address);
		address = arg.walk_end;
		mapping->scanned = true;
	}
	return 0;
}

static int scan_process(struct process *process, const struct request *request,
			struct failure *failure)
{
	size_t i;

	for (i = 0; i < process->mapping_count; i++) {
		struct mapping *mapping = &process->mappings[i];

		if (scan_mapping(process, request, mapping, failure))
			return -1;
		add_tally(&process->total, &mapping->tally);
	}
	return 0;
}

/* Names of files, which may hold any byte but zero. */

/**
 * utf8_length - look for a character of UTF-8
 * @text: where to look
 *
 * Return: how many bytes the character at @text has, 0 if there is none, or
 * one that is not in its only valid form.
 */
static size_t utf8_length(const char *text)
{
	static const __u32 smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *byte = (const unsigned char *)text;
	__u32 character;
	size_t length, i;

	if (byte[0] < 0x80)
		return byte[0] ? 1 : 0;
	if ((byte[0] & 0xe0) == 0xc0)
		length = 2;
	else if ((byte[0] & 0xf0) == 0xe0)
		length = 3;
	else if ((byte[0] & 0xf8) == 0xf0)
		length = 4;
	else
		return 0;

	character = byte[0] & (0x7f >> length);
	for (i = 1; i < length; i++) {
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | (byte[i] & 0x3f);
	}
	if (character < smallest[length] || character > 0x10ffff ||
	    (character >= 0xd800 && character <= 0xdfff))
		return 0;
	return length;
}

/**
 * print_name - write a name for a reader
 * @name: the name
 *
 * What a terminal would not show, or take for a command, is written as octal
 * numbers, like the newline in /proc/PID/maps.
 */
static void print_name(const char *name)
{
	while (*name) {
		const unsigned char *byte = (const unsigned char *)name;
		size_t length = utf8_length(name);
		bool control = byte[0] < 0x20 || byte[0] == 0x7f ||
			       (byte[0] == 0xc2 && byte[1] < 0xa0);

		if (length && !control) {
			printf("%.*s", (int)length, name);
			name += length;
		} else {
			printf("\\%03o", byte[0]);
			name++;
		}
	}
}

/**
 * print_json_string - write a string of JSON
 * @text: the string
 *
 * JSON is UTF-8: a byte that is not becomes U+FFFD, the replacement character.
 *
 * Return: whether that had to be done.
 */
static bool print_json_string(const char *text)
{
	bool replaced = false;

	putchar('"');
	while (*text) {
		unsigned char byte = *text;
		size_t length = utf8_length(text);

		if (!length) {
			printf("\\ufffd");
			replaced = true;
			length = 1;
		} else if (byte == '"' || byte == '\\') {
			printf("\\%c", byte);
		} else if (byte < 0x20 || byte == 0x7f) {
			printf("\\u%04x", byte);
		} else {
			printf("%.*s", (int)length, text);
		}
		text += length;
	}
	putchar('"');
	return replaced;
}

/* Tables. */

#define ADDRESS_SIZE		sizeof("0123456789abcdef-0123456789abcdef")
#define NUMBER_SIZE		sizeof("18446744073709551615")
#define LIST_SIZE		128

static int format_addresses(char text[ADDRESS_SIZE], __u64 start,
			    __u64 end)
{
	return snprintf(text, ADDRESS_SIZE, "%08llx-%08llx", start,
			end);
}

/* Width of a column of numbers: that of its sum, which is the widest. */
static int number_width(const char *title, __u64 sum)
{
	char text[NUMBER_SIZE];
	int width = snprintf(text, sizeof(text), "%llu", sum);
	int title_width = strlen(title);

	return width > title_width ? width : title_width;
}

/* Width of the column of addresses: as titles go, at least that of "total". */
static int address_width(const struct process *process)
{
	int widest = strlen("ADDRESS");
	size_t i;

	for (i = 0; i < process->mapping_count; i++) {
		const struct mapping *mapping = &process->mappings[i];
		char text[ADDRESS_SIZE];
		int width = format_addresses(text, mapping->start,
					     mapping->end);

		if (width > widest)
			widest = width;
	}
	return widest;
}

/**
 * struct column - a column of numbers
 * @title: its title
 * @width: its width
 * @index: which of the numbers of struct tally it has
 */
struct column {
	char title[16];
	int width;
	size_t index;
};

/**
 * struct layout - the columns of a table of mappings
 * @address_width: width of the first column
 * @columns: the columns of numbers
 * @column_count: how many there are
 */
struct layout {
	int address_width;
	struct column columns[TALLY_SIZE];
	size_t column_count;
};

static void add_column(struct layout *layout, const struct process *process,
		       const char *name, size_t index)
{
	struct column *column = &layout->columns[layout->column_count++];
	size_t i;

	for (i = 0; name[i] && i < sizeof(column->title) - 1; i++)
		column->title[i] = name[i] >= 'a' && name[i] <= 'z' ?
				   name[i] - 'a' + 'A' : name[i];
	column->title[i] = '\0';
	column->index = index;
	column->width = number_width(column->title,
				     process->total.pages[index]);
}

/**
 * lay_out - choose the columns of a table of mappings
 * @layout: receives them
 * @process: the result to be printed
 * @request: what was asked for
 *
 * The number of matching pages is told where something was selected;
 * otherwise every page matches.
 */
static void lay_out(struct layout *layout, const struct process *process,
		    const struct request *request)
{
	size_t i;

	layout->address_width = address_width(process);
	layout->column_count = 0;
	add_column(layout, process, "pages", TALLY_PAGES);
	if (request->required || request->anyof || request->excluded)
		add_column(layout, process, "matching", TALLY_MATCHING);
	for (i = 0; i < CATEGORY_COUNT; i++)
		if (request->returned & categories[i].bit)
			add_column(layout, process, categories[i].name,
				   TALLY_CATEGORY + i);
}

static void print_numbers(const struct layout *layout,
			  const struct tally *tally, bool scanned)
{
	size_t i;

	for (i = 0; i < layout->column_count; i++) {
		const struct column *column = &layout->columns[i];

		/* The size is known without a scan, all else is not. */
		if (scanned || column->index == TALLY_PAGES)
			printf("  %*llu", column->width,
			       tally->pages[column->index]);
		else
			printf("  %*s", column->width, "-");
	}
}

static void print_table(const struct process *process,
			const struct request *request)
{
	struct layout layout;
	size_t i;

	lay_out(&layout, process, request);
	printf("%-*s  PERM", layout.address_width, "ADDRESS");
	for (i = 0; i < layout.column_count; i++)
		printf("  %*s", layout.columns[i].width,
		       layout.columns[i].title);
	printf("  NAME\n");

	for (i = 0; i < process->mapping_count; i++) {
		const struct mapping *mapping = &process->mappings[i];
		char addresses[ADDRESS_SIZE];

		format_addresses(addresses, mapping->start, mapping->end);
		printf("%-*s  %s", layout.address_width, addresses,
		       mapping->permissions);
		print_numbers(&layout, &mapping->tally, mapping->scanned);
		if (*mapping->name) {
			printf("  ");
			print_name(mapping->name);
		}
		putchar('\n');
	}

	printf("%-*s      ", layout.address_width, "total");
	print_numbers(&layout, &process->total, true);
	printf("  %zu mapping%s\n", process->mapping_count,
	       process->mapping_count == 1 ? "" : "s");
}

/* Width of the column of categories in a table of regions. */
static int list_width(const struct process *process)
{
	int widest = strlen("CATEGORIES");
	size_t i, j;

	for (i = 0; i < process->mapping_count; i++) {
		const struct mapping *mapping = &process->mappings[i];

		for (j = 0; j < mapping->region_count; j++) {
			char list[LIST_SIZE];
			int width;

			format_categories(list, sizeof(list),
					  mapping->regions[j].categories);
			width = strlen(list);
			if (width > widest)
				widest = width;
		}
	}
	return widest;
}

static void print_regions(const struct process *process)
{
	int addresses_width = address_width(process);
	__u64 matching = process->total.pages[TALLY_MATCHING];
	int pages_width = number_width("PAGES", matching);
	int categories_width = list_width(process);
	size_t count = 0;
	size_t i, j;

	printf("%-*s  %*s  %-*s  NAME\n", addresses_width, "ADDRESS",
	       pages_width, "PAGES", categories_width, "CATEGORIES");
	for (i = 0; i < process->mapping_count; i++) {
		const struct mapping *mapping = &process->mappings[i];

		for (j = 0; j < mapping->region_count; j++) {
			const struct page_region *region = &mapping->regions[j];
			char addresses[ADDRESS_SIZE];
			char list[LIST_SIZE];

			format_addresses(addresses, region->start, region->end);
			format_categories(list, sizeof(list),
					  region->categories);
			printf("%-*s  %*llu  ", addresses_width,
			       addresses, pages_width,
			       (region->end - region->start) /
			       process->page_size);
			if (*mapping->name) {
				printf("%-*s  ", categories_width,
				       *list ? list : "-");
				print_name(mapping->name);
			} else {
				printf("%s", *list ? list : "-");
			}
			putchar('\n');
		}
		count += mapping->region_count;
	}
	printf("%-*s  %*llu  %zu region%s\n", addresses_width, "total",
	       pages_width, matching, count, count == 1 ? "" : "s");
}

/* JSON. */

/*
 * Addresses are strings of hex digits, as many readers of JSON keep numbers
 * as floating point, which cannot hold all of the 64 bits.
 */
static void print_json_addresses(__u64 start, __u64 end)
{
	printf("\"start\": \"0x%llx\", \"end\": \"0x%llx\"", start, end);
}

static void print_json_categories(__u64 mask)
{
	const char *separator = "";
	size_t i;

	putchar('[');
	for (i = 0; i < CATEGORY_COUNT; i++) {
		if (!(mask & categories[i].bit))
			continue;
		printf("%s\"%s\"", separator, categories[i].name);
		separator = ", ";
	}
	putchar(']');
}

static void print_json_tally(const struct tally *tally, __u64 mask)
{
	size_t i;

	printf("\"pages\": %llu, \"matching\": %llu",
	       tally->pages[TALLY_PAGES], tally->pages[TALLY_MATCHING]);
	for (i = 0; i < CATEGORY_COUNT; i++)
		if (mask & categories[i].bit)
			printf(", \"%s\": %llu", categories[i].name,
			       tally->pages[TALLY_CATEGORY + i]);
}

static void print_json_regions(const struct mapping *mapping,
			       __u64 page_size)
{
	size_t i;

	printf(",\n      \"regions\": [");
	for (i = 0; i < mapping->region_count; i++) {
		const struct page_region *region = &mapping->regions[i];

		printf("%s\n        {", i ? "," : "");
		print_json_addresses(region->start, region->end);
		printf(", \"pages\": %llu, \"categories\": ",
		       (region->end - region->start) / page_size);
		print_json_categories(region->categories);
		putchar('}');
	}
	printf("%s]", mapping->region_count ? "\n      " : "");
}

static void print_json_mapping(const struct mapping *mapping,
			       const struct process *process,
			       const struct request *request)
{
	const char *byte;

	printf("\n    {\n      ");
	print_json_addresses(mapping->start, mapping->end);
	printf(", \"permissions\": \"%s\",\n      \"name\": ",
	       mapping->permissions);
	if (print_json_string(mapping->name)) {
		printf(", \"name_hex\": \"");
		for (byte = mapping->name; *byte; byte++)
			printf("%02x", (unsigned char)*byte);
		putchar('"');
	}
	printf(",\n      \"scanned\": %s, ",
	       mapping->scanned ? "true" : "false");
	print_json_tally(&mapping->tally, request->returned);
	if (request->regions)
		print_json_regions(mapping, process->page_size);
	printf("\n    }");
}

static void print_json(const struct process *process,
		       const struct request *request)
{
	size_t i;

	printf("{\n  \"pid\": %d,\n  \"page_size\": %llu,\n",
	       request->pid, process->page_size);
	printf("  \"required\": ");
	print_json_categories(request->required);
	printf(",\n  \"anyof\": ");
	print_json_categories(request->anyof);
	printf(",\n  \"excluded\": ");
	print_json_categories(request->excluded);
	printf(",\n  \"return\": ");
	print_json_categories(request->returned);
	printf(",\n  \"mappings\": [");
	for (i = 0; i < process->mapping_count; i++) {
		if (i)
			putchar(',');
		print_json_mapping(&process->mappings[i], process, request);
	}
	printf("%s],\n  \"total\": {", process->mapping_count ? "\n  " : "");
	print_json_tally(&process->total, request->returned);
	printf("}\n}\n");
}

static int run(const struct request *request, struct failure *failure)
{
	struct process *process = calloc(1, sizeof(*process));
	int error;

	if (!process)
		return fail_memory(failure);
	error = open_process(process, request, failure);
	if (!error)
		error = scan_process(process, request, failure);
	if (!error) {
		if (request->json)
			print_json(process, request);
		else if (request->regions)
			print_regions(process);
		else
			print_table(process, request);
	}
	close_process(process);
	free(process);
	return error;
}

/* A full disk must not look like a short result. */
static int finish_output(struct failure *failure)
{
	if (fflush(stdout) || ferror(stdout))
		return fail(failure, STATUS_ERROR,
			    "cannot write the result: %s", strerror(errno));
	return 0;
}

int main(int argc, char **argv)
{
	struct failure failure = { .status = STATUS_OK };
	struct request request;
	int error;

	error = parse_command_line(argc, argv, &request, &failure);
	if (!error && request.help)
		print_help();
	else if (!error)
		error = run(&request, &failure);
	if (!error)
		error = finish_output(&failure);
	if (error)
		fprintf(stderr, "pagemap-scan: %s\n", failure.text);
	return failure.status;
}
