from setuptools import Extension, setup

import pmalloc

setup(
    ext_modules=[
        Extension(
            "gate_c",
            ["gate_c.c"],
            include_dirs=[pmalloc.get_include()],
            extra_link_args=pmalloc.get_link_args(),
        )
    ],
)
