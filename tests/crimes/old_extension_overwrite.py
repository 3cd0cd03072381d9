"""The same extension forges a reference count: a violation, after the warning.

Exit: SIGSEGV
Stderr:
    pmalloc: old_extension_refcounts_lib.so writes reference counts of frozen objects; they are \
        immortal, so it was let pass. Rebuild it against Python 3.12 or newer headers.
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 0
      path         crime
      thread       PID/PID 'python'
      instruction  0x* old_extension_refcounts_lib.so+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "old_extension_overwrite.py", line {here} in <module>
"""

import importlib.machinery
import importlib.util
import sys

import pmalloc

path = f"{sys.argv[1]}/old_extension_refcounts_lib.so"
loader = importlib.machinery.ExtensionFileLoader("old_extension", path)
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("old_extension", loader))
loader.exec_module(module)

frozen = pmalloc.freeze([1.5], name="crime")
module.touch(frozen)
module.add_two(frozen)  # here
