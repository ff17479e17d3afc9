// SPDX-License-Identifier: GPL-2.0-only
/* pagemap-scan: why it ends without a result */
#include <stdarg.h>
#include <stdio.h>

#include "pagemap-scan.h"

/**
 * fail - note why the program ends
 * @failure: where to note it
 * @status: the exit status
 * @format: as of printf(), followed by its arguments
 *
 * Return: -1, for the caller to return in turn.
 */
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

/**
 * fail_memory - note that an allocation failed
 * @failure: where to note it
 *
 * Return: -1.
 */
int fail_memory(struct failure *failure)
{
	return fail(failure, STATUS_ERROR,
		    "not enough memory for the result; free some, or ask for less of the process");
}
