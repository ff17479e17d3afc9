// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan report: texts for a reader */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pagemap-scan-report.h"

/**
 * report_find_style - find out what the standard output can show
 * @style: receives it
 *
 * setlocale() was called before.
 */
void report_find_style(struct report_style *style)
{
	const char *no_colour = getenv("NO_COLOR");
	const char *terminal = getenv("TERM");
	bool is_terminal = isatty(STDOUT_FILENO);
	struct winsize size;

	*style = (struct report_style){ .columns = 80, .lines = 24 };
	style->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	style->cut_names = is_terminal;
	style->colour = is_terminal && !(no_colour && *no_colour) &&
			!(terminal && !strcmp(terminal, "dumb"));
	if (is_terminal && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size)) {
		if (size.ws_col)
			style->columns = size.ws_col;
		if (size.ws_row)
			style->lines = size.ws_row;
	}
}

/**
 * report_utf8_length - look for a character of UTF-8
 * @text: where to look
 *
 * Return: how many bytes the character at @text has, 0 if there is none, or
 * one that is not in its only valid form.
 */
size_t report_utf8_length(const char *text)
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
 * report_printable - make a name printable
 * @name: the name, any bytes
 * @utf8: whether more than ASCII can be shown
 *
 * What a terminal would not show, or take for a command, becomes an octal
 * number, like the newline in /proc/PID/maps.
 *
 * Return: the text, to be freed; or NULL where there is no memory.
 */
char *report_printable(const char *name, bool utf8)
{
	char *text = malloc(4 * strlen(name) + 1);
	char *at = text;

	if (!text)
		return NULL;
	while (*name) {
		const unsigned char *byte = (const unsigned char *)name;
		size_t length = report_utf8_length(name);
		bool control = byte[0] < 0x20 || byte[0] == 0x7f ||
			       (byte[0] == 0xc2 && byte[1] < 0xa0);

		if (length && !control && (utf8 || length == 1)) {
			memcpy(at, name, length);
			at += length;
			name += length;
		} else {
			at += sprintf(at, "\\%03o", byte[0]);
			name++;
		}
	}
	*at = '\0';
	return text;
}

static bool continues_character(char byte)
{
	return (byte & 0xc0) == 0x80;
}

/**
 * report_text_width - number of characters of a text
 * @text: the text, in UTF-8
 *
 * Return: how many.
 */
int report_text_width(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += !continues_character(*text);
	return width;
}

/**
 * report_fit - make a text fit
 * @text: the text, which may be changed
 * @columns: how many characters it may have
 * @utf8: whether more than ASCII can be shown
 *
 * The begin is left out: the end of a path tells more.
 *
 * Return: what of the text fits.
 */
const char *report_fit(char **text, int columns, bool utf8)
{
	const char *ellipsis = utf8 ? "\xe2\x80\xa6" : "...";
	int width = report_text_width(*text);
	int ellipsis_width = report_text_width(ellipsis);
	char *at = *text;
	char *fitted;

	if (width <= columns)
		return *text;
	if (columns <= ellipsis_width)
		ellipsis_width = 0;
	for (; *at && width > columns - ellipsis_width; width--) {
		at++;
		while (continues_character(*at))
			at++;
	}
	if (!ellipsis_width || asprintf(&fitted, "%s%s", ellipsis, at) < 0)
		return at;
	free(*text);
	*text = fitted;
	return fitted;
}

/**
 * report_format_size - write a number of bytes
 * @text: where to
 * @bytes: how many
 * @style: exactly, or with a unit and three digits
 *
 * Return: @text.
 */
const char *report_format_size(char text[REPORT_SIZE_TEXT], double bytes,
			       const struct report_style *style)
{
	static const char * const units[] = {
		"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB"
	};
	size_t unit = 0;
	int digits = 0;

	if (style->bytes) {
		snprintf(text, REPORT_SIZE_TEXT, "%.0f", bytes);
		return text;
	}
	while (bytes >= 999.5 && unit + 1 < ARRAY_SIZE(units)) {
		bytes /= 1024;
		unit++;
	}
	if (unit && bytes < 9.995)
		digits = 2;
	else if (unit && bytes < 99.95)
		digits = 1;
	snprintf(text, REPORT_SIZE_TEXT, "%.*f %s", digits, bytes,
		 units[unit]);
	return text;
}

/**
 * report_format_time - write a length of time with a unit that suits it
 * @text: where to
 * @nanoseconds: the time
 *
 * Return: @text.
 */
const char *report_format_time(char text[REPORT_SIZE_TEXT], __u64 nanoseconds)
{
	static const struct {
		const char *unit;
		double length;
	} units[] = {
		{ "s", 1e9 }, { "ms", 1e6 }, { "us", 1e3 }, { "ns", 1 },
	};
	size_t i = 0;

	while (i + 1 < ARRAY_SIZE(units) && nanoseconds < units[i].length)
		i++;
	snprintf(text, REPORT_SIZE_TEXT, "%.*g %s",
		 nanoseconds < 1000000000000ULL ? 4 : 12,
		 nanoseconds / units[i].length, units[i].unit);
	return text;
}

/**
 * report_reason - say why a recording ended
 * @figures: figures of the recording
 *
 * Return: the reason, to go on after a semicolon.
 */
const char *report_reason(const struct report_figures *figures)
{
	static const char * const reasons[RECORDING_REASONS] = {
		[RECORDING_TIME_UP] = "the time was up",
		[RECORDING_EXITED] = "the process exited",
		[RECORDING_EXECED] = "the process started another program",
		[RECORDING_INTERRUPTED] = "stopped by the user",
		[RECORDING_ERROR] = "ended by an error",
	};

	if (figures->truncated)
		return "truncated";
	return reasons[figures->recording->end.reason];
}
