"""`python -m pmalloc` is the `pmalloc` command."""

import sys

from pmalloc.cli import main

sys.exit(main())
