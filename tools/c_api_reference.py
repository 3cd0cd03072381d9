#!/usr/bin/env python3
"""Writes the reference of docs/c-api.md from the comments of include/*.h.

tools/c_api_reference.py           writes it
tools/c_api_reference.py --check   says whether it is what the headers say; exit status 1 if not
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADERS = [
    ROOT / "include" / name for name in ("pmalloc.h", "pmalloc_rare_write.h", "pmalloc_static.h")
]
PAGE = ROOT / "docs" / "c-api.md"
TITLE = "## Reference\n"

FENCE = re.compile(r"(```text\n.*?\n```)", re.DOTALL)

# A comment and what it stands above, up to the next blank line; or a section's title.
ENTRY = re.compile(
    r"^/\* ---- (?P<title>[^*]+?) ---- \*/$"
    r"|^/\*(?P<comment>(?:(?!\*/).)+)\*/\n(?P<code>[^\n].*?)(?=\n\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
CODE = re.compile(
    r"(?<![\w`])(PMALLOC_\w+|_[A-Z_]{2,}\b|NULL|E[A-Z]{4,}|enum \w+|\w+\([23]?\))(?!`)"
)


def markdown(comment: str) -> str:
    """The comment's paragraphs; "name: text" with its indented lines is an item of a list, what is
    indented further a drawing."""
    lines = [re.sub(r"^ \*? ?", "", line).rstrip() for line in (" " + comment).splitlines()]
    blocks: list[str] = []
    drawing: list[str] = []
    for line in [*lines, ""]:
        if line.startswith("    "):
            drawing.append(line[4:])
            continue
        if drawing:
            blocks += ["```text", *drawing, "```"]
            drawing = []
        item = re.match(r"(\w+): (.*)", line)
        if item:
            blocks.append(f"- {item[1]}: {item[2]}")
        elif not line:
            blocks.append("")
        elif not blocks or blocks[-1] == "":
            blocks.append(line)
        else:
            blocks[-1] += " " + line.strip()
    parts = FENCE.split("\n".join(blocks).strip())
    return "".join(part if part.startswith("```") else prose(part) for part in parts)


def prose(text: str) -> str:
    """Names in code's letters, and lists as Markdown has them."""
    text = CODE.sub(r"`\1`", text)
    text = re.sub(r"^- ([a-z]\w*):", r"- `\1`:", text, flags=re.MULTILINE)
    return re.sub(
        r"([^\n])\n- (?=.)", r"\1\n- ", re.sub(r"(?m)^(?!- )(.+)\n(?=- )", r"\1\n\n", text)
    )


def wrapped(text: str) -> str:
    """Lines of at most a hundred columns; a drawing stays as it is."""
    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else wrapped_prose(part) for part in parts)


def wrapped_prose(text: str) -> str:
    """The same of what is no drawing."""
    result: list[str] = []
    for paragraph in text.split("\n"):
        indent = "  " if paragraph.startswith("- ") else ""
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + 1 + len(word) > 100:
                result.append(line)
                line = indent + word
            else:
                line = f"{line} {word}" if line else word
        result.append(line)
    return "\n".join(result)


def prototype(code: str) -> str:
    """The declaration as one reads it, without the macros before it."""
    plain = re.sub(r"PMALLOC_(API|MUST_USE|GIVES\([^)]*\))\s*", "", code)
    return re.sub(r"\*\s+", "*", re.sub(r"\s+", " ", plain))


def functions() -> dict[str, str]:
    """Every function of the headers: its name and its prototype."""
    found = {}
    text = "\n".join(header.read_text() for header in HEADERS)
    for declaration in re.findall(r"^PMALLOC_API\b[^;]*;", text, re.MULTILINE):
        plain = prototype(declaration)
        match = re.search(r"(\w+)\(", plain)
        assert match, declaration
        found[match[1]] = plain
    return found


def reference() -> str:
    """The text below the title."""
    parts: list[str] = []
    for header in HEADERS:
        parts += entries(header)
    return "\n" + "\n\n".join(parts) + "\n"


def entries(header: Path) -> list[str]:
    """What a header has up to the end of what is extern "C"."""
    end = "#ifdef __cplusplus\n}\n#endif\n"
    text = header.read_text().partition(end)[0]
    text = re.sub(r"(?ms)^#if defined\(__GNUC__\).*?^#endif\n", "", text)
    text = text.replace("#include <type_traits>\n", "")
    text = text.replace('#ifdef __cplusplus\nextern "C" {\n#endif\n', "")
    parts = []
    for entry in ENTRY.finditer(text[text.index("/* ---- ") :]):
        code = entry["code"]
        if entry["title"]:
            parts.append(f"### {entry['title'][0].upper()}{entry['title'][1:]}")
        elif code.startswith("PMALLOC_API"):
            plain = prototype(code)
            match = re.search(r"(\w+)\(", plain)
            assert match, code
            parts.append(f"#### {match[1]}\n\n```c\n{plain}\n```")
            parts.append(wrapped(markdown(entry["comment"])))
        else:
            parts += [wrapped(markdown(entry["comment"])), f"```c\n{code}\n```"]
    return parts


def main() -> int:
    """0 where the page is right, or was written."""
    text = PAGE.read_text()
    head, title, tail = text.partition(TITLE)
    if "--check" in sys.argv[1:]:
        if tail == reference():
            return 0
        print("docs/c-api.md is not what include/*.h say: run tools/c_api_reference.py")
        return 1
    PAGE.write_text(head + title + reference())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
