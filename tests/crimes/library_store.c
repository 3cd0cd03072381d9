/* A library that clears what it is pointed to. See library_store.py.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stddef.h>

void clear_words(volatile long *words, size_t n) {
  for (size_t i = 0; i < n; i++)
    words[i] = 0;
}
