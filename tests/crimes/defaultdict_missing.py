"""A frozen defaultdict makes nothing up.

Exit: 1
Raises: KeyError: 'mallory'
"""

import collections

import pmalloc

groups = pmalloc.freeze(collections.defaultdict(list, admins=["alice"]), name="crime")
groups["mallory"].append("mallory")
