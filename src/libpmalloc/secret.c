/* secret: 16 random bytes on a read-only page.
 *
 *     key_room |........|16 bytes, rest of the page|........|
 *                        ^ read-only from then on
 *
 * What an attacker could rewrite, and must not be able to forge, carries a digest
 * under this key: roots, the bytes of redzones, links of the metadata. Who can
 * only write does not know it. Who can read, too, does.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "secret.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

#include "pages.h"
#include "siphash.h"

/* Room for one whole page of at most 64 KiB, wherever the linker put it: the
 * page must hold nothing else, because it is made read-only. */
#define LARGEST_PAGE ((size_t)64 << 10)
static unsigned char key_room[2 * LARGEST_PAGE];
static int key_ready; /* under the list lock */

static unsigned char *key_page(void) {
  uintptr_t mask = pages_page_size() - 1;
  return (unsigned char *)(((uintptr_t)key_room + mask) & ~mask);
}

enum pmalloc_status secret_ready(void) {
  unsigned char key[16];
  size_t got = 0;
  if (key_ready)
    return PMALLOC_OK;
  while (got < sizeof key) {
    ssize_t n = getrandom(key + got, sizeof key - got, 0);
    if (n > 0) {
      got += (size_t)n;
    } else if (errno != EINTR) {
      /* No getrandom in this sandbox: the kernel gave every process 16 random
       * bytes at its start. */
      const void *given = (const void *)getauxval(AT_RANDOM);
      if (!given)
        return PMALLOC_ERR_SYSTEM;
      memcpy(key, given, sizeof key);
      break;
    }
  }
  memcpy(key_page(), key, sizeof key);
  struct pages page = {.base = (char *)key_page(), .size = pages_page_size()};
  enum pmalloc_status status = pages_protect(&page);
  key_ready = status == PMALLOC_OK;
  return status;
}

uint64_t secret_digest(const void *data, size_t n) { return siphash24(key_page(), data, n); }
