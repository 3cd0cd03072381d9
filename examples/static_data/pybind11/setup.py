from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

import pmalloc

setup(
    ext_modules=[
        Pybind11Extension(
            "gate_pybind11",
            ["gate_pybind11.cpp"],
            include_dirs=[pmalloc.get_include()],
            extra_link_args=pmalloc.get_link_args(),
            cxx_std=17,
        )
    ],
)
