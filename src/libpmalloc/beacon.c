/* beacon: what pools look like, told to whoever looks from outside.
 *
 * A process cannot be asked for its pools when it hangs, is stopped, or must not be disturbed;
 * and names of mappings are a thing many kernels have not. So the library carries a struct that
 * is found by its first 16 bytes, in the read-only data of the file it is linked into, and that
 * says where everything else is. A reader needs to know no struct of ours:
 *
 *   /proc/PID/maps           beacon, read-only               pool (newest)      pool
 *   +---------------+        +---------------------+   +---->+---------+   +--->+------
 *   | ...           |        | magic format size   |   |     | older --+---+    |
 *   | r--p  file ---+-scan-->| self (= own address)|   |     | state   |
 *   | ...           |        | pools ---> word ----+---+     | cold ---+--> cold: chunks ...
 *   +---------------+        | fields:             |         | name    |
 *                            |  "pool.older" 48, 8 |         +---------+
 *                            |  "pool.state" 64, 4 |
 *                            +---------------------+
 *
 * The table of fields is made by offsetof, so it follows the structs. What a name means must not
 * change; a member that goes, goes from the table, and a reader says that it does not know this
 * version.
 *
 * Everything behind the beacon is writable by the process that is looked at, and may be forged
 * or half-changed: a reader checks every word.
 *
 * SPDX-License-Identifier: MIT
 */
#include "beacon.h"

#include <stddef.h>

#include "pool_internal.h"

#define LIBRARY_VERSION "0.1.0"

#define FIELD(name, type, member) {name, offsetof(type, member), sizeof(((type *)0)->member)}
#define SIZE(name, type) {name, 0, sizeof(type)}
#define POOL(member) FIELD("pool." #member, struct pmalloc_pool, member)
#define COLD(member) FIELD("cold." #member, struct cold, member)
#define CHUNK(member) FIELD("chunk." #member, struct cold_chunk, member)
#define SYMBOLS(member) FIELD("symbols." #member, struct cold_symbols, member)
#define SYMBOL(member) FIELD("symbol." #member, struct cold_symbol, member)
#define SLAB(member) FIELD("slab." #member, struct cold_slab, member)
#define PAGES(member) FIELD("pages." #member, struct pages, member)

static const
    __attribute__((used, aligned(64))) struct beacon beacon =
        {
            .magic = BEACON_MAGIC,
            .format = BEACON_FORMAT,
            .size = sizeof(struct beacon),
            .self = &beacon,
            .pools = &pools_head,
            .version = LIBRARY_VERSION,
            .field_size = sizeof(struct beacon_field),
            .field_count = BEACON_FIELDS,
            .states =
                {
                    [PMALLOC_OPEN] = "open",
                    [PMALLOC_PROTECTED] = "protected",
                    [PMALLOC_DESTROYED_STATE] = "destroyed",
                },
            .tiers =
                {
                    [PMALLOC_PLAIN] = "protected",
                    [PMALLOC_SEALED] = "sealed",
                    [PMALLOC_IMMUTABLE] = "immutable",
                },
            .fields =
                {
                    SIZE("pool", struct pmalloc_pool),
                    FIELD("pool.older", struct pmalloc_pool, older.to),
                    POOL(state),
                    POOL(tier),
                    POOL(backing),
                    POOL(mode),
                    POOL(id),
                    POOL(cold),
                    POOL(record),
                    POOL(slabs),
                    POOL(reserved_bytes),
                    POOL(used_bytes),
                    POOL(allocations),
                    POOL(objects),
                    /* A flexible array has no size; the name ends at its NUL. */
                    {"pool.name", offsetof(struct pmalloc_pool, name), PMALLOC_NAME_MAX + 1},

                    SIZE("cold", struct cold),
                    COLD(magic),
                    COLD(id),
                    COLD(state),
                    COLD(policy),
                    COLD(mode),
                    COLD(chunks),
                    COLD(segment),
                    COLD(name),
                    /* The first segment holds this many chunks, each one after it twice as many. */
                    {"cold.first_segment", COLD_FIRST_SEGMENT, 0},

                    SIZE("chunk", struct cold_chunk),
                    CHUNK(pages),
                    CHUNK(index),
                    CHUNK(kind),
                    CHUNK(used),
                    CHUNK(closed),
                    CHUNK(symbols),
                    CHUNK(symbols_bytes),

                    /* Static data: a count, and behind the table's head so many symbols. */
                    SIZE("symbols", struct cold_symbols),
                    SYMBOLS(count),
                    SIZE("symbol", struct cold_symbol),
                    SYMBOL(offset),
                    SYMBOL(size),
                    SYMBOL(name),

                    SIZE("record", struct registry_record),
                    FIELD("record.violations", struct registry_record, tally.violations),
                    FIELD("record.tainted", struct registry_record, tally.tainted),
                    FIELD("record.rare_writes", struct registry_record, tally.rare_writes),

                    SIZE("slab", struct cold_slab),
                    SLAB(pages),
                    SLAB(older),

                    SIZE("pages", struct pages),
                    PAGES(base),
                    PAGES(size),
                    PAGES(outer),
                    PAGES(outer_size),
                },
};

_Static_assert(sizeof BEACON_MAGIC == 16, "the magic is 16 bytes");
_Static_assert(offsetof(struct beacon, self) == 24 && offsetof(struct beacon, states) == 64 &&
                   offsetof(struct beacon, fields) == 256,
               "readers know these offsets");

void beacon_keep(void) { __asm__ volatile("" : : "r"(&beacon)); }
