"""The report shows the whole Python stack of the thread.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "deep_stack.py", line {here} in run
      File "deep_stack.py", line {again} in run
      File "deep_stack.py", line {again} in run
      File "deep_stack.py", line {outer} in main
      File "deep_stack.py", line {main} in <module>
"""

import ctypes

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")


class Plugin:
    def run(self, n: int) -> None:
        if n:
            self.run(n - 1)  # again
        ctypes.memset(id(hosts) + 16, 0, 8)  # here


def main() -> None:
    Plugin().run(2)  # outer


main()  # main
