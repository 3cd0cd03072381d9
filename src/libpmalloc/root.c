/* root: the one pointer that says where a pool's contents begin.
 *
 *     hot                     cold, read-only          key page, read-only
 *   +-----------+           +------------------+      +----------+
 *   | pool      |---------->| id  name  root   |      | 16 bytes |
 *   | name cold |           | root_check ------+--- = siphash(key, address of
 *   +-----------+           +------------------+      cold, id, root, name)
 *
 * The way to the cold metadata leads over writable memory, so a write primitive
 * can send a lookup elsewhere: to another pool's metadata, to an older copy, to
 * a forgery. The check word ties the root to its name and to the address it lies
 * at, under a key that an attacker who can only write does not know; and the
 * metadata of a protected pool must really be read-only. What the lookup reads,
 * it reads through pages_peek: a garbage pointer is an answer, not a crash.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <string.h>

#include "hardened.h"
#include "pool_internal.h"
#include "secret.h"

static uint64_t check_word(const struct cold *address, uintptr_t id, uintptr_t root,
                           const char *name) {
  struct {
    uintptr_t address, id, root;
    char name[PMALLOC_NAME_MAX + 1];
  } said;
  size_t n = strnlen(name, PMALLOC_NAME_MAX);
  said.address = (uintptr_t)address;
  said.id = id;
  said.root = root;
  memcpy(said.name, name, n);
  return secret_digest(&said, 3 * sizeof(uintptr_t) + n);
}

enum pmalloc_status pmalloc_pool_set_root(pmalloc_pool *pool, void *root) {
  pools_lock();
  enum pmalloc_status status = secret_ready();
  pools_unlock();
  if (status != PMALLOC_OK)
    return status;
  pool_lock_to_map(pool);
  status = hardened_enter_open(pool);
  if (status == PMALLOC_OK && !pool->cold)
    status = cold_open(pool, 0);
  if (status == PMALLOC_OK) {
    struct cold *cold = pool->cold;
    cold->root = (uintptr_t)root;
    cold->root_check = check_word(cold, cold->id, cold->root, cold->name);
  }
  if (status != PMALLOC_ERR_CORRUPT)
    hardened_leave(pool);
  pthread_mutex_unlock(&pool->lock);
  return status;
}

static int read_root(const pmalloc_pool *pool, const char *name, void **root) {
  struct cold copy;
  if (!pool->cold)
    return 0;
  if (pages_peek(&copy, pool->cold, sizeof copy) != 0)
    return -1;
  if (copy.magic != COLD_MAGIC || copy.id != pool->id ||
      strncmp(copy.name, name, sizeof copy.name) != 0)
    return -1;
  if ((pool->state == PMALLOC_PROTECTED || copy.state == PMALLOC_PROTECTED) &&
      (copy.state != PMALLOC_PROTECTED ||
       (copy.policy != PMALLOC_OFF && pages_is_readonly(pool->cold) == 0)))
    return -1;
  if (copy.root == 0 && copy.root_check == 0)
    return 0;
  if (copy.root_check != check_word(pool->cold, copy.id, copy.root, name))
    return -1;
  if (copy.root == 0)
    return 0;
  *root = (void *)copy.root;
  return 1;
}

int pmalloc_root_lookup(const char *name, void **root) {
  int answer = 0, found = 0;
  pools_lock();
  for (pmalloc_pool *pool = pools_newest(); pool && !found; pool = pools_older(pool)) {
    if (strcmp(pool->name, name) != 0)
      continue;
    pthread_mutex_lock(&pool->lock);
    if (pool->state != PMALLOC_DESTROYED_STATE) {
      found = 1;
      answer = read_root(pool, name, root);
    }
    pthread_mutex_unlock(&pool->lock);
  }
  if (!found && pools_damaged())
    answer = -1; /* the list ends where it was cut */
  pools_unlock();
  return answer;
}
