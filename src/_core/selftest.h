/* The check at import that hand-built objects are what the interpreter builds.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_SELFTEST_H
#define PM_SELFTEST_H

/* 0, or -1 with an ImportError that names the first difference. */
int pm_selftest(void);

#endif
