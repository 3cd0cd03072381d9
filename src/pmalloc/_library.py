"""Where the C library of this installation lies, for those who build on it."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _folder(name: str, witness: str) -> str:
    folder = _PACKAGE / name
    if not (folder / witness).is_file():
        raise FileNotFoundError(
            f"this pmalloc was installed without its C library: there is no {witness} in {folder}; "
            "install pmalloc with pip"
        )
    return str(folder)


def get_include() -> str:
    """The folder that holds `pmalloc.h` and what it needs, for the compiler's ``-I``.

    ::

        Extension(
            "routes",
            ["routes.c"],
            include_dirs=[pmalloc.get_include()],
            library_dirs=[pmalloc.get_library_dir()],
            libraries=["pmalloc"],
        )

    Returns:
        An absolute path. It belongs to this installation: ask at build time, store it nowhere.

    Raises:
        FileNotFoundError: this pmalloc was installed without its C library.

    Idea: NumPy's `numpy.get_include`.
    """
    return _folder("include", "pmalloc.h")


def get_library_dir() -> str:
    """The folder that holds the C library, for the linker's ``-L``; link with ``-lpmalloc``.

    An extension that was linked so needs no run path, if it is imported after pmalloc: it is given
    the ``libpmalloc.so.0`` that pmalloc has loaded. There must be no second copy in a process with
    Python. The static ``libpmalloc.a``, in ``static/`` below the folder, is for programs without.

    Returns:
        An absolute path. It belongs to this installation: ask at build time, store it nowhere.

    Raises:
        FileNotFoundError: this pmalloc was installed without its C library.
    """
    return _folder("lib", "libpmalloc.so.0")


def get_linker_script() -> str:
    """`pmalloc.ld`, which gives static data that is ``__ro_after_init`` pages of its own.

    For the linker's ``-T``: beside its own script, not instead of it. GNU ld and lld take it.

    Returns:
        An absolute path. It belongs to this installation: ask at build time, store it nowhere.

    Raises:
        FileNotFoundError: this pmalloc was installed without its C library.
    """
    return str(Path(_folder("include", "pmalloc.ld")) / "pmalloc.ld")


def get_link_args() -> list[str]:
    """What the linker wants to be told of pmalloc: its library, and `get_linker_script()`.

    ::

        Extension(
            "routes",
            ["routes.c"],
            include_dirs=[pmalloc.get_include()],
            extra_link_args=pmalloc.get_link_args(),
        )

    Returns:
        Arguments for a compiler that links, in a new list.

    Raises:
        FileNotFoundError: this pmalloc was installed without its C library.
    """
    return [f"-L{get_library_dir()}", "-lpmalloc", f"-Wl,-T,{get_linker_script()}"]
