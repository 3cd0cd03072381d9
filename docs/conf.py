"""Sphinx: the documentation as one site, from the Markdown files where they lie.

make docs builds it, and a warning is an error: a link to nowhere, a heading out of
order, a page that no list of contents names.
"""

project = "pmalloc"
author = "the pmalloc authors"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md", "benchmarks/*.md"]
myst_heading_anchors = 4
html_theme = "alabaster"
nitpicky = True
