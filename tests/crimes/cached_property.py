"""A cached_property's own __get__ would write to the __dict__ of a frozen instance.

Exit: 1
Stdout:
    ['alpha']
Raises:
    TypeError: The '__dict__' attribute on 'Config' instance does not support item assignment \
        for caching 'hosts' property.
"""

import functools

import pmalloc


class Config:
    @functools.cached_property
    def hosts(self):
        return ["alpha"]


config = pmalloc.freeze(Config(), name="crime")
print(config.hosts)
Config.hosts.__get__(config)
