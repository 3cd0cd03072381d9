"""A coroutine of an init function, made during init, is awaited after its end.

Exit: 1
Raises:
    pmalloc.InitError: cannot start load(): it is of an init function, and init is over; do it \
        before pmalloc.mark_rodata_ro(), or take @pmalloc.init off
"""

import asyncio

import pmalloc


@pmalloc.init
async def load():
    print("never printed")


waiting = load()
pmalloc.mark_rodata_ro()
asyncio.run(waiting)
