"""An extension with the reference counting of Python 3.8 inlined: survives, one warning.

Exit: 0
Stdout:
    True True
Stderr:
    pmalloc: old_extension_refcounts_lib.so writes reference counts of frozen objects; they are \
        immortal, so it was let pass. Rebuild it against Python 3.12 or newer headers.
"""

import importlib.machinery
import importlib.util
import sys

import pmalloc

path = f"{sys.argv[1]}/old_extension_refcounts_lib.so"
loader = importlib.machinery.ExtensionFileLoader("old_extension", path)
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("old_extension", loader))
loader.exec_module(module)

frozen = pmalloc.freeze([{"a": "x" * 50}, ("b", 10**50), 1.5, {"c"}, frozenset("d")], name="crime")
before = sys.getrefcount(frozen[0])
for _ in range(20_000):
    for item in frozen:
        assert module.touch(item) is item
print(sys.getrefcount(frozen[0]) == before, pmalloc.is_protected(frozen))
