"""Groups of read-only operations, by what they read; see ../test_reads.py."""
