/* SPDX-License-Identifier: GPL-2.0-only */
/* pagemap-scan: text for readers and terminals, and CSV */
#ifndef PAGEMAP_SCAN_OUTPUT_H
#define PAGEMAP_SCAN_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include "pagemap-scan.h"

/* Columns and lines where nothing tells how many there are. */
#define USUAL_WIDTH		80
#define USUAL_HEIGHT		24

/* Room for any size. */
#define SIZE_SIZE		sizeof("18446744073709551615")

/**
 * enum unit - how sizes are written
 * @UNIT_HUMAN: with a unit, rounded up, such as "1.4M", as ls -h does
 * @UNIT_BYTES: in bytes
 * @UNIT_PAGES: in pages
 */
enum unit {
	UNIT_HUMAN,
	UNIT_BYTES,
	UNIT_PAGES,
};

/**
 * enum colour_choice - when to use colours
 * @COLOUR_AUTO: on a terminal that has some, unless NO_COLOR is set
 * @COLOUR_ALWAYS: also elsewhere
 * @COLOUR_NEVER: not at all
 */
enum colour_choice {
	COLOUR_AUTO,
	COLOUR_ALWAYS,
	COLOUR_NEVER,
};

/**
 * enum style - what text looks like where there are colours
 * @STYLE_PLAIN: as the terminal has it
 * @STYLE_STRONG: titles and sums
 * @STYLE_FAINT: what can be overlooked, such as zeros
 * @STYLE_BAR: bars
 */
enum style {
	STYLE_PLAIN,
	STYLE_STRONG,
	STYLE_FAINT,
	STYLE_BAR,
};

int parse_colour(const char *option, const char *text,
		 enum colour_choice *choice, struct failure *failure);
bool use_colours(enum colour_choice choice);
void print_styled(bool colours, enum style style, const char *text);
unsigned int terminal_width(int descriptor);
unsigned int terminal_height(void);
int format_size(char text[SIZE_SIZE], __u64 bytes, enum unit unit,
		__u64 page_size);
size_t utf8_length(const char *text);
void print_name(const char *name, size_t width);
char *make_printable(const char *name, bool utf8);
void print_csv_field(const char *text);

#endif /* PAGEMAP_SCAN_OUTPUT_H */
