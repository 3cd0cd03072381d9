"""A SELinux policy in a `pmalloc.Cell`, and the cache that answers from it. `make avc` runs it."""
