"""dataclasses.replace of a frozen instance: the copy is ordinary, the original is not.

Exit: 0
Stdout:
    Config(debug=5) Config(debug=False) False
"""

import dataclasses

import pmalloc


@dataclasses.dataclass
class Config:
    debug: bool = False


config = pmalloc.freeze(Config(), name="crime")
changed = dataclasses.replace(config, debug=True)
changed.debug = 5
print(changed, config, pmalloc.is_protected(changed))
