// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan: text for readers and terminals, and CSV */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "pagemap-scan-output.h"

/* Stands for what was cut out of a name. */
#define CUT			"..."

/**
 * parse_colour - read when to use colours
 * @option: name of the option, for the error
 * @text: one of auto, always, never
 * @choice: receives it
 * @failure: receives the error
 *
 * Return: 0, or -1 with an error noted.
 */
int parse_colour(const char *option, const char *text,
		 enum colour_choice *choice, struct failure *failure)
{
	static const char * const names[] = {
		[COLOUR_AUTO] = "auto",
		[COLOUR_ALWAYS] = "always",
		[COLOUR_NEVER] = "never",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(text, names[i])) {
			*choice = i;
			return 0;
		}
	}
	return fail(failure, STATUS_USAGE,
		    "--%s: '%s' is not one of auto, always, never", option,
		    text);
}

static bool is_set(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value;
}

/**
 * use_colours - decide on colours for the standard output
 * @choice: what the user wants
 *
 * Return: whether to use them.
 */
bool use_colours(enum colour_choice choice)
{
	const char *terminal = getenv("TERM");

	if (choice != COLOUR_AUTO)
		return choice == COLOUR_ALWAYS;
	return isatty(STDOUT_FILENO) && !is_set("NO_COLOR") && terminal &&
	       strcmp(terminal, "dumb");
}

/**
 * print_styled - write text in a style
 * @colours: whether to use any
 * @style: the style
 * @text: the text
 */
void print_styled(bool colours, enum style style, const char *text)
{
	static const char * const starts[] = {
		[STYLE_STRONG] = "\033[1m",
		[STYLE_FAINT] = "\033[2m",
		[STYLE_BAR] = "\033[36m",
	};

	if (colours && style != STYLE_PLAIN)
		printf("%s%s\033[0m", starts[style], text);
	else
		fputs(text, stdout);
}

/**
 * terminal_width - ask how wide the terminal is
 * @descriptor: what is written to
 *
 * Return: number of columns, 0 where that is no terminal.
 */
unsigned int terminal_width(int descriptor)
{
	struct winsize size;

	if (!isatty(descriptor))
		return 0;
	if (ioctl(descriptor, TIOCGWINSZ, &size) || !size.ws_col)
		return USUAL_WIDTH;
	return size.ws_col;
}

/**
 * terminal_height - ask how high the terminal is
 *
 * Return: number of lines, a usual one where the standard output is no terminal.
 */
unsigned int terminal_height(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row)
		return USUAL_HEIGHT;
	return size.ws_row;
}

static __u64 divide_up(__u64 number, unsigned int shift)
{
	return (number >> shift) + !!(number & ((1ull << shift) - 1));
}

static int format_human_size(char text[SIZE_SIZE], __u64 bytes)
{
	unsigned int shift = 0;
	__u64 fraction, tenths;

	while (divide_up(bytes, shift) >= 1024)
		shift += 10;
	if (!shift)
		return snprintf(text, SIZE_SIZE, "%llu", bytes);

	fraction = bytes & ((1ull << shift) - 1);
	tenths = (bytes >> shift) * 10 + divide_up(fraction * 10, shift);
	if (tenths >= 100)
		return snprintf(text, SIZE_SIZE, "%llu%c",
				divide_up(bytes, shift), " KMGTPE"[shift / 10]);
	return snprintf(text, SIZE_SIZE, "%llu.%llu%c", tenths / 10,
			tenths % 10, " KMGTPE"[shift / 10]);
}

/**
 * format_size - write a size
 * @text: where to
 * @bytes: the size
 * @unit: how
 * @page_size: bytes in a page
 *
 * Return: length of the text.
 */
int format_size(char text[SIZE_SIZE], __u64 bytes, enum unit unit,
		__u64 page_size)
{
	if (unit == UNIT_HUMAN)
		return format_human_size(text, bytes);
	return snprintf(text, SIZE_SIZE, "%llu",
			unit == UNIT_PAGES ? bytes / page_size : bytes);
}

/* Read a character of which only the length is known to be right. */
static __u32 decode_utf8(const unsigned char *byte, size_t length)
{
	__u32 character = length > 1 ? byte[0] & (0x7f >> length) : byte[0];
	size_t i;

	for (i = 1; i < length; i++)
		character = character << 6 | (byte[i] & 0x3f);
	return character;
}

/**
 * utf8_length - look for a character of UTF-8
 * @text: where to look
 *
 * Return: how many bytes the character at @text has, 0 if there is none, or
 * one that is not in its only valid form.
 */
size_t utf8_length(const char *text)
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

	for (i = 1; i < length; i++)
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
	character = decode_utf8(byte, length);
	if (character < smallest[length] || character > 0x10ffff ||
	    (character >= 0xd800 && character <= 0xdfff))
		return 0;
	return length;
}

/**
 * struct glyph - what a part of a name looks like
 * @length: number of bytes
 * @width: number of columns that it takes
 * @text: what to print
 */
struct glyph {
	size_t length;
	size_t width;
	char text[sizeof("\\377")];
};

/*
 * What a terminal would not show, or take for a command, is written as octal
 * numbers, like the newline in /proc/PID/maps; if @utf8 is not set, also what is
 * not ASCII.
 */
static struct glyph next_glyph(const char *name, bool utf8)
{
	const unsigned char *byte = (const unsigned char *)name;
	struct glyph glyph = { .length = utf8_length(name) };
	__u32 character = decode_utf8(byte, glyph.length);

	if (!glyph.length || (glyph.length > 1 && !utf8) || character < 0x20 ||
	    (character >= 0x7f && character < 0xa0)) {
		glyph.length = 1;
		glyph.width = snprintf(glyph.text, sizeof(glyph.text), "\\%03o",
				       byte[0]);
	} else {
		int width = wcwidth(character);

		memcpy(glyph.text, name, glyph.length);
		glyph.width = width < 0 ? 1 : width;
	}
	return glyph;
}

static size_t name_width(const char *name)
{
	size_t width = 0;

	while (*name) {
		struct glyph glyph = next_glyph(name, true);

		width += glyph.width;
		name += glyph.length;
	}
	return width;
}

/* Write a part of a name, and return what comes behind it. */
static const char *print_part(const char *name, size_t width)
{
	while (*name) {
		struct glyph glyph = next_glyph(name, true);

		if (glyph.width > width)
			break;
		fputs(glyph.text, stdout);
		width -= glyph.width;
		name += glyph.length;
	}
	return name;
}

/**
 * print_name - write a name, which may hold any byte but zero, for a reader
 * @name: the name
 * @width: columns that there are for it; SIZE_MAX: enough
 *
 * A name that is too wide loses its middle.
 */
void print_name(const char *name, size_t width)
{
	size_t wanted = name_width(name);
	size_t room;

	if (wanted > width) {
		room = width > strlen(CUT) ? width - strlen(CUT) : 0;
		name = print_part(name, room / 2);
		fputs(CUT, stdout);
		wanted = name_width(name);
		while (wanted > room - room / 2) {
			struct glyph glyph = next_glyph(name, true);

			wanted -= glyph.width;
			name += glyph.length;
		}
	}
	print_part(name, SIZE_MAX);
}

/**
 * make_printable - make a name, which may hold any byte but zero, fit to print
 * @name: the name
 * @utf8: whether more than ASCII can be shown
 *
 * Return: the text, to be freed; or NULL if there is not enough memory.
 */
char *make_printable(const char *name, bool utf8)
{
	struct glyph glyph;
	char *text = malloc(strlen("\\377") * strlen(name) + 1);
	char *at = text;

	if (!text)
		return NULL;
	for (; *name; name += glyph.length) {
		glyph = next_glyph(name, utf8);
		at = stpcpy(at, glyph.text);
	}
	*at = '\0';
	return text;
}

/**
 * print_csv_field - write a field of CSV, by the rules of RFC 4180
 * @text: its value, of which every byte is kept
 */
void print_csv_field(const char *text)
{
	if (!text[strcspn(text, "\",\r\n")]) {
		fputs(text, stdout);
		return;
	}
	putchar('"');
	for (; *text; text++) {
		if (*text == '"')
			putchar('"');
		putchar(*text);
	}
	putchar('"');
}
