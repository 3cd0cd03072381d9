"""examples/selinux_avc: what its policy allows, and that no answer is lost or of no policy.

Most of it runs with a policy of 3,000 rules that is made here; in the end that of Debian, where it
can be had.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pmalloc

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples"))

from selinux_avc.avc import AVC, new_booleans  # noqa: E402
from selinux_avc.load import Load, under_load  # noqa: E402
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
DEFAULTS = dict(parse(LINES).booleans)


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


# ---- the cache ----


@pytest.fixture
def avc(name: str) -> AVC:
    return an_avc(parse(LINES), name)


def an_avc(policy: Policy, name: str, of: type[AVC] = AVC) -> AVC:
    pool = pmalloc.Pool(f"{name}-booleans", mode="wr")
    booleans = new_booleans(pool, policy)
    pool.protect()
    return of(pmalloc.Cell(policy, name=name), booleans)


def test_the_cache_answers_as_the_policy(avc: AVC) -> None:
    questions = ORACLE.questions(300)
    for _ in range(2):  # computed, and from the cache
        for question in questions:
            assert avc.allowed(*question) is ORACLE.allowed(DEFAULTS, question), question
    with pytest.raises(KeyError, match="nobody_t"):
        avc.allowed("nobody_t", "shadow_t", "file", "read")


def test_the_cache_stays_small(name: str) -> None:
    avc = an_avc(parse(LINES), name)
    for size in 10, 0:
        avc.size = size
        avc.flush()
        for question in ORACLE.questions(100):
            assert avc.allowed(*question) is ORACLE.allowed(DEFAULTS, question), question
            assert len(avc._cache.answers) <= size


def test_a_new_policy_leaves_nothing_of_the_old_one_in_the_cache(avc: AVC) -> None:
    question = "nscd_t", "shadow_t", "file", "read"
    assert not avc.allowed(*question)
    old = avc.cell.get()
    lines = [line.replace(":file getattr;", ":file { getattr read };") for line in LINES]
    avc.cell.publish(parse(lines, old))
    assert avc._cache.policy is not old  # at once, by the callback
    assert avc.allowed(*question)
    avc.cell.publish(old)
    assert not avc.allowed(*question)


def test_a_boolean_is_changed_by_a_rare_write_alone(avc: AVC) -> None:
    question = "cvs_t", "shadow_t", "file", "read"
    assert not avc.allowed(*question)
    with pytest.raises(pmalloc.ProtectedError):
        avc.booleans.allow_cvs_read_shadow = True
    assert not avc.allowed(*question)
    avc.set_booleans(allow_cvs_read_shadow=True, b1=True)
    assert avc.allowed(*question)
    with pytest.raises((AttributeError, TypeError)):
        avc.set_booleans(allow_cvs_read_shadow=False, no_such_boolean=True)
    assert avc.allowed(*question)  # all, or nothing
    booleans = {**DEFAULTS, "allow_cvs_read_shadow": True, "b1": True}
    for other in ORACLE.questions(200, seed=8):
        assert avc.allowed(*other) is ORACLE.allowed(booleans, other), other


# ---- reloads under load ----


def check(load: Load, reloads: int) -> None:
    assert load.failed == []
    assert load.wrong == []
    assert load.reloads == len(load.publish) == reloads
    assert load.asked == load.answered >= reloads * 4 * 10


def test_a_hundred_reloads_lose_no_question_and_none_is_answered_by_no_policy(avc: AVC) -> None:
    versions = len(avc.cell.versions())
    check(under_load(avc.cell, avc, readers=4, reloads=100), 100)
    assert len(avc.cell.versions()) == versions + 100


class Stale(AVC):
    """Looks at the cell when it is made, and never again."""

    def flush(self, *, only_if_old: bool = False):  # type: ignore[no-untyped-def]
        return super().flush() if not only_if_old else self._cache


class Mixed:
    """A cell whose readers now and then get the rows of one version with those of the last."""

    def __init__(self, cell: "pmalloc.Cell[Policy]") -> None:
        self.cell = cell
        self.last = cell.get()

    def get(self) -> Policy:
        now = self.cell.get()
        domains = [each for each in now.rules if now.rules[each] is not self.last.rules[each]]
        if len(domains) < 2:
            return now
        return parse_like(now, {domains[0]: self.last.rules[domains[0]]})

    def publish(self, policy: Policy) -> int:
        self.last = self.cell.get()
        return self.cell.publish(policy)


def parse_like(policy: Policy, rows: dict) -> Policy:  # type: ignore[type-arg]
    return Policy(policy.types, {**policy.rules, **rows}, policy.conditional, policy.conditions,
                  policy.booleans)  # fmt: skip


def test_the_check_finds_answers_of_an_old_policy(name: str) -> None:
    avc = an_avc(parse(LINES), name, Stale)
    assert under_load(avc.cell, avc, readers=2, reloads=10).wrong


def test_the_check_finds_mixtures(avc: AVC) -> None:
    assert under_load(Mixed(avc.cell), avc, readers=2, reloads=30).wrong  # type: ignore[arg-type]


# ---- the program ----


def run(policy: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT / "examples"), *sys.path]
    return subprocess.run(
        [sys.executable, "-m", "selinux_avc", str(policy)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip


def check_output(done: subprocess.CompletedProcess[str], rules: int) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert f"allow rules {rules:,}" in lines
    assert "ordinary dicts: may nscd_t write shadow_t? True exit status 0" in lines
    assert f"in the cell: signal {signal.SIGSEGV}" in lines
    assert [line for line in lines if "shadow_t?" in line][:2] == [
        "may cvs_t read shadow_t? False",
        "may cvs_t read shadow_t? True",
    ]
    assert "questions without an answer 0" in lines
    assert "answers that neither policy would give 0" in lines
    path = next(line for line in lines if line.startswith("path "))
    assert path.endswith(".rules['nscd_t']['shadow_t']")


def test_it_runs_and_catches_the_rogue_write(tmp_path: Path) -> None:
    policy = tmp_path / "policy.txt"
    policy.write_text("\n".join(LINES) + "\n")
    check_output(run(policy, 300), sum(line.startswith("allow ") for line in LINES))
    (tmp_path / "none.txt").touch()
    assert run(tmp_path / "none.txt", 60).returncode != 0


@pytest.mark.slow
def test_the_policy_of_debian() -> None:
    got = subprocess.run(
        [ROOT / "tools/selinux-policy.sh"], capture_output=True, text=True, timeout=900
    )
    if got.returncode == 77:
        pytest.skip(f"Debian's policy is not to be had here: {got.stderr.splitlines()[-1]}")
    assert got.returncode == 0, got.stderr
    policy = Path(got.stdout.strip())
    rules = sum(line.startswith("allow ") for line in policy.read_text().splitlines())
    assert rules > 100_000
    check_output(run(policy, 600), rules)
