"""A host of plugins whose hook table is protected. `make plugins` runs it."""
