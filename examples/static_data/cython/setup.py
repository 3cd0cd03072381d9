from Cython.Build import cythonize
from setuptools import Extension, setup

import pmalloc

setup(
    ext_modules=cythonize(
        Extension(
            "gate_cython",
            ["gate_cython.pyx"],
            include_dirs=[pmalloc.get_include()],
            extra_link_args=pmalloc.get_link_args(),
        )
    ),
)
