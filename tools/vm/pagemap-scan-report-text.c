// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan report: texts for a reader */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pagemap-scan-output.h"
#include "pagemap-scan-report.h"

/**
 * report_find_style - find out what the standard output can show
 * @style: receives it
 *
 * setlocale() was called before.
 */
void report_find_style(struct report_style *style)
{
	unsigned int width = terminal_width(STDOUT_FILENO);

	*style = (struct report_style){
		.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8"),
		.colour = use_colours(COLOUR_AUTO),
		.cut_names = width,
		.columns = width ? width : USUAL_WIDTH,
		.lines = terminal_height(),
	};
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
 * report_fit_begin - make the line of a command fit
 * @text: the text, which may be changed
 * @columns: how many characters it may have
 * @utf8: whether more than ASCII can be shown
 *
 * The end is left out: its name tells more than its last arguments.
 *
 * Return: what of the text fits.
 */
const char *report_fit_begin(char **text, int columns, bool utf8)
{
	const char *ellipsis = utf8 ? "\xe2\x80\xa6" : "...";
	int kept = columns - report_text_width(ellipsis);
	char *end = *text;
	char *fitted;

	if (report_text_width(*text) <= columns)
		return *text;
	for (; kept > 0; kept--) {
		end++;
		while (continues_character(*end))
			end++;
	}
	*end = '\0';
	if (asprintf(&fitted, "%s%s", *text, ellipsis) < 0)
		return *text;
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
