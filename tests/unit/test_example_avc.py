"""examples/selinux_avc: what its policy allows."""

import itertools
import random
import sys
from pathlib import Path

import pytest

import pmalloc

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples"))

from selinux_avc.policy import Policy, evaluate, parse, postfix  # noqa: E402

type Question = tuple[str, str, str, str]

SHADOW = """\
type nscd_t, domain, group1_domain;
type passwd_t alias chpasswd_t, domain;
type cvs_t, domain;
type shadow_t, file_type;
bool allow_cvs_read_shadow false;
allow nscd_t shadow_t:file getattr;
allow passwd_t shadow_t:file { getattr open read write };
allow cvs_t shadow_t:file { getattr open read }; [ allow_cvs_read_shadow ]:True
"""

PERMISSIONS = "append create getattr ioctl lock map open read rename setattr unlink write".split()
CLASSES = "dir fd fifo_file file lnk_file process tcp_socket".split()
EXPRESSIONS = (
    "b0",
    "b1",
    "b2 && b3",
    "b4 || b5",
    "( b0 && b1 && b2 )",
    "! b6",
    "b7 && ! ( b0 || b3 )",
)


def a_policy() -> list[str]:
    """60 domains in 8 groups, 40 types of files in 5, 3,000 rules, some of them conditional."""
    chance = random.Random(5)
    lines = SHADOW.splitlines()
    groups = [f"group{n}_domain" for n in range(8)]
    file_groups = [f"group{n}_file" for n in range(5)]
    domains = [f"d{n}_t" for n in range(60)]
    files = [f"f{n}_t" for n in range(40)]
    lines += [
        f"type {each}, {', '.join(['domain', *chance.sample(groups, 2)])};" for each in domains
    ]
    lines += [f"type {each}, file_type, {chance.choice(file_groups)};" for each in files]
    lines += [f"bool b{n} {'true' if n % 3 == 0 else 'false'};" for n in range(8)]
    places: set[tuple[str, str, str]] = set()
    while len(places) < 3000:
        source = chance.choice(groups if chance.random() < 0.1 else domains)
        target = chance.choice(file_groups if chance.random() < 0.2 else files + domains)
        places.add((source, target, chance.choice(CLASSES)))
    for source, target, tclass in sorted(places):
        some = sorted(chance.sample(PERMISSIONS, chance.randint(1, 6)))
        words = some[0] if len(some) == 1 else f"{{ {' '.join(some)} }}"
        line = f"allow {source} {target}:{tclass} {words};"
        if chance.random() < 0.2:
            line += f" [ {chance.choice(EXPRESSIONS)} ]:{chance.choice(['True', 'False'])}"
            if chance.random() < 0.3:
                lines.append(f"allow {source} {target}:{tclass} relabelto;")
        lines.append(line)
    return lines


LINES = a_policy()


class Oracle:
    """The same answers, by looking at each line, without any code of the example."""

    def __init__(self, lines: list[str]) -> None:
        self.names: dict[str, set[str]] = {}
        self.rules: list[tuple[str, str, str, set[str], str]] = []
        for line in lines:
            if line.startswith("type "):
                name, *attributes = line.removeprefix("type ").rstrip(";").split(", ")
                self.names[name.split()[0]] = {name.split()[0], *attributes}
            elif line.startswith("allow "):
                rule, _, condition = line.partition(";")
                _, source, target, *permissions = rule.replace(":", " ").split()
                tclass, *permissions = permissions
                self.rules.append((source, target, tclass, set(permissions) - {*"{}"}, condition))

    def allowed(self, booleans: dict[str, bool], question: Question) -> bool:
        source, target, tclass, permission = question
        return any(
            one in self.names[source] and other in self.names[target]
            and tclass == kind and permission in permissions and self.holds(condition, booleans)
            for one, other, kind, permissions, condition in self.rules
        )  # fmt: skip

    def holds(self, condition: str, booleans: dict[str, bool]) -> bool:
        if not condition:
            return True
        expression, branch = condition.strip(" [").rsplit(" ]:", 1)
        for word, python in ("&&", " and "), ("||", " or "), ("!", " not "):
            expression = expression.replace(word, python)
        return eval(expression, {}, booleans) is (branch == "True")

    def questions(self, count: int, seed: int = 7) -> list[Question]:
        """Half of them about a rule, and so are answered by yes, if its condition holds."""
        chance = random.Random(seed)
        names = sorted(self.names)
        found: list[Question] = []
        for _ in range(count // 2):
            source, target, tclass, permissions, _ = chance.choice(self.rules)
            found.append((
                chance.choice([each for each in names if source in self.names[each]]),
                chance.choice([each for each in names if target in self.names[each]]),
                tclass, chance.choice(sorted(permissions)),
            ))  # fmt: skip
            found.append((
                chance.choice(names), chance.choice(names), chance.choice(CLASSES),
                chance.choice(PERMISSIONS),
            ))  # fmt: skip
        return found


ORACLE = Oracle(LINES)


def truth_of(policy: Policy, booleans: dict[str, bool]) -> dict[tuple[str, ...], bool]:
    return {each: evaluate(each, booleans) for each in policy.conditions}


# ---- the policy ----


@pytest.mark.parametrize("frozen", [False, True])
def test_it_allows_what_its_lines_allow(frozen: bool) -> None:
    policy = parse(LINES)
    if frozen:
        policy = pmalloc.freeze(policy)
    assert policy.count() == sum(line.startswith("allow ") for line in LINES)
    chance = random.Random(3)
    answers = []
    for question in ORACLE.questions(400):
        booleans = {name: chance.random() < 0.5 for name in policy.booleans}
        *place, permission = question
        answers.append(permission in policy.vector(truth_of(policy, booleans), *place))
        assert answers[-1] is ORACLE.allowed(booleans, question), question
    assert answers.count(True) > 100 < answers.count(False)


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("a", "a"),
        ("a && b", "a b &&"),
        ("( a && b && c )", "a b && c &&"),
        ("a || b && c", "a b c && ||"),
        ("a && ! ( b || c )", "a b c || ! &&"),
        ("! a ^ b", "a ! b ^"),
        ("a == b || c", "a b c || =="),
        ("a != b", "a b !="),
    ],
)
def test_a_condition_is_kept_postfix(expression: str, kept: str) -> None:
    condition = tuple(postfix(expression))
    assert " ".join(condition) == kept
    for values in itertools.product([False, True], repeat=3):
        named = dict(zip("abc", values, strict=True))
        python = expression
        for word, other in ("&&", "&"), ("||", "|"), ("!=", "~"), ("!", " not "), ("~", "!="):
            python = python.replace(word, other)
        if " not " not in python and "==" not in python:  # there Python binds otherwise
            assert evaluate(condition, named) is bool(eval(python, {}, named))
    assert evaluate(tuple(postfix("! a")), {"a": False})


@pytest.mark.parametrize(
    "line", ["", "allow a b:c;", "allow a b:c { };", "deny a b:c d;", "bool a;"]
)
def test_what_is_no_statement_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="no statement of a policy"):
        parse([*LINES, line])


def test_what_is_as_before_is_what_was_there_before() -> None:
    old = pmalloc.freeze(parse(LINES))
    same = parse(LINES, old)
    assert all(getattr(same, each) is getattr(old, each) for each in Policy.__slots__)
    line = "allow nscd_t shadow_t:file getattr;"
    more = "allow nscd_t shadow_t:file { getattr read };"
    changed = parse([more if each == line else each for each in LINES], old)
    assert changed.types is old.types
    assert changed.conditional is old.conditional
    others = [source for source in old.rules if changed.rules[source] is not old.rules[source]]
    assert others == ["nscd_t"]
    assert changed.rules["nscd_t"]["shadow_t"] == {"file": {"getattr", "read"}}
    assert changed == parse([more if each == line else each for each in LINES])
