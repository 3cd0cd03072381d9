/* usercopy: may these bytes be copied?
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_USERCOPY_H
#define PMALLOC_USERCOPY_H

#include <pmalloc.h> /* enum pmalloc_bounds, pmalloc_check_object_size() */

#endif
