"""A SELinux policy as a graph of dicts, and what it allows.

It is read from the text that setools prints (`tools/selinux-policy.sh` makes that of Debian):

    type sshd_exec_t, entry_type, exec_type, file_type;
    bool ssh_sysadm_login false;
    allow sshd_t sshd_exec_t:file { execute map read };
    allow sshd_t unpriv_userdomain:process transition; [ ssh_sysadm_login ]:False

Attributes are kept as `sesearch -A` prints them, not expanded: a type knows its attributes, and
a question is put to all pairs of them, as the security server of the kernel does it. Expanded, the
rules would be millions. For the same reason there is a cache, in avc.py.

    policy.rules                   {"sshd_t": ...}         source: type or attribute
      row of a source              {"sshd_exec_t": ...}    target: type or attribute
        classes of a target        {"file": ...}           class
          vector                   frozenset({"execute", "map", "read"})

A change to one domain leaves the rows of all others as they are. Nothing here knows that a policy
may be frozen: it is read as the ordinary dicts are.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

type Vector = frozenset[str]
type Condition = tuple[str, ...]  # booleans and operators, postfix: ("a", "b", "!", "&&")
type Guarded = tuple[tuple[Condition, bool, Vector], ...]  # what holds where the condition is so
type Table[T] = dict[str, dict[str, dict[str, T]]]  # source, target, class

NOTHING: Vector = frozenset()

STATEMENT = re.compile(
    r"allow (?P<source>\S+) (?P<target>\S+):(?P<tclass>\S+) (?:\{ (?P<many>.+?) \}|(?P<one>\S+));"
    r"(?: \[ (?P<condition>.+) \]:(?P<branch>True|False))?"
    r"|type (?P<type>\w+)(?: alias [^,;]+)?(?P<attributes>[^;]*);"
    r"|bool (?P<boolean>\w+) (?P<default>true|false);"
)

# How tight an operator binds when setools prints it, and what it does.
OPERATORS: dict[str, tuple[int, Callable[[bool, bool], bool]]] = {
    "&&": (4, operator.and_),
    "||": (3, operator.or_),
    "^": (2, operator.xor),
    "==": (1, operator.eq),
    "!=": (1, operator.ne),
}
NOT = 5


@dataclass(frozen=True, slots=True)
class Policy:
    types: dict[str, tuple[str, ...]]  # a type, and itself and its attributes
    rules: Table[Vector]
    conditional: Table[Guarded]
    conditions: tuple[Condition, ...]
    booleans: dict[str, bool]  # as they are when the system starts

    def vector(
        self, truth: Mapping[Condition, bool], source: str, target: str, tclass: str
    ) -> Vector:
        """The permissions that a process of type `source` has on an object of type `target`.

        `truth` says which conditions hold, as `evaluate` does. KeyError: there is no such type.
        """
        found = NOTHING
        targets = self.types[target]
        for one in self.types[source]:
            row = self.rules.get(one)
            if row is not None:
                for other in targets:
                    if other in row:
                        found |= row[other].get(tclass, NOTHING)
            guarded = self.conditional.get(one)
            if guarded is not None:
                for other in targets:
                    if other in guarded:
                        for condition, branch, more in guarded[other].get(tclass, ()):
                            if truth[condition] == branch:
                                found |= more
        return found

    def count(self) -> int:
        """How many allow rules there are, conditional ones among them."""
        plain = sum(len(classes) for row in self.rules.values() for classes in row.values())
        return plain + sum(
            len(guarded)
            for row in self.conditional.values()
            for classes in row.values()
            for guarded in classes.values()
        )


def parse(lines: Iterable[str], old: Policy | None = None) -> Policy:
    """The policy that the statements make; whatever is as in `old` is taken from there.

    Raises:
        ValueError: a line is none of the statements above.
    """
    names: dict[str, str] = {}  # each name once, and that of `old` if it has it
    vectors: dict[str, Vector] = {}
    conditions: dict[str, Condition] = {}
    types: dict[str, tuple[str, ...]] = {}
    rules: Table[Vector] = {}
    conditional: Table[Guarded] = {}
    booleans: dict[str, bool] = {}
    if old is not None:
        for type_names in old.types.values():
            names.update(zip(type_names, type_names, strict=True))

    def name(text: str) -> str:
        return names.setdefault(text, text)

    for line in lines:
        match = STATEMENT.fullmatch(line.rstrip())
        if match is None:
            raise ValueError(f"this is no statement of a policy: {line.rstrip()!r}")
        if match["type"]:
            attributes = match["attributes"].replace(",", " ").split()
            types[name(match["type"])] = (name(match["type"]), *map(name, attributes))
        elif match["boolean"]:
            booleans[name(match["boolean"])] = match["default"] == "true"
        else:
            place = name(match["source"]), name(match["target"]), name(match["tclass"])
            text = match["many"] or match["one"]
            vector = vectors.get(text)
            if vector is None:
                vector = vectors[text] = frozenset(map(name, text.split()))
            if match["condition"]:
                expression = match["condition"]
                if expression not in conditions:
                    conditions[expression] = tuple(map(name, postfix(expression)))
                guarded = (conditions[expression], match["branch"] == "True", vector)
                put(conditional, place, (guarded,), operator.add)
            else:
                put(rules, place, vector, operator.or_)

    policy = Policy(types, rules, conditional, tuple(conditions.values()), booleans)
    return policy if old is None else with_parts_of(old, policy)


def put[T](
    table: Table[T], place: tuple[str, str, str], value: T, join: Callable[[T, T], T]
) -> None:
    source, target, tclass = place
    classes = table.setdefault(source, {}).setdefault(target, {})
    classes[tclass] = join(classes[tclass], value) if tclass in classes else value


def with_parts_of(old: Policy, new: Policy) -> Policy:
    """`new`, in which every part that is equal to that of `old` is that of `old`."""

    def shared(part: Any, before: Any) -> Any:
        if not isinstance(part, dict) or not isinstance(before, dict):
            return before if part == before else part
        parts = {key: shared(value, before.get(key)) for key, value in part.items()}
        same = len(parts) == len(before) and all(before.get(key) is parts[key] for key in parts)
        return before if same else parts

    return Policy(*(shared(getattr(new, each), getattr(old, each)) for each in Policy.__slots__))


def postfix(expression: str) -> list[str]:
    """`a && ! ( b || c )`, as setools prints it, the way the kernel keeps it: a b c || ! &&."""
    output: list[str] = []
    waiting: list[tuple[int, str]] = []
    for word in expression.replace("(", " ( ").replace(")", " ) ").split():
        if word in OPERATORS:
            while waiting and waiting[-1][0] >= OPERATORS[word][0]:
                output.append(waiting.pop()[1])
            waiting.append((OPERATORS[word][0], word))
        elif word == "!":
            waiting.append((NOT, word))
        elif word == "(":
            waiting.append((0, word))
        elif word == ")":
            while waiting[-1][1] != "(":
                output.append(waiting.pop()[1])
            waiting.pop()
        else:
            output.append(word)
    return output + [word for _, word in reversed(waiting)]


def evaluate(condition: Condition, values: Mapping[str, bool]) -> bool:
    """Whether the condition holds for these booleans."""
    stack: list[bool] = []
    for word in condition:
        if word in OPERATORS:
            right = stack.pop()
            stack.append(OPERATORS[word][1](stack.pop(), right))
        elif word == "!":
            stack.append(not stack.pop())
        else:
            stack.append(values[word])
    return stack.pop()
