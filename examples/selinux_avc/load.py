"""Reloads of the policy while threads ask, and a check of each answer.

Reload number N changes 1% of the rules, those of a few domains: each of them allows the permission
`reload-N` besides, and no other of that kind. So an answer tells of which policy it is: "yes" to
`reload-7` of number 7, "no" of any other. A policy that is read whole must have one number
everywhere, or it is a mixture.

`done` is the last number that was surely published when a question was put, `begun` the last that
may have been when it was answered: what none of done..begun would answer is wrong.
"""

from __future__ import annotations

import dataclasses
import random
import sys
import threading
from dataclasses import dataclass, field
from time import perf_counter

import pmalloc

from .avc import AVC
from .policy import Policy, Vector

Place = tuple[str, str, str]
MARK = "reload-"


@dataclass
class Load:
    """What happened."""

    reloads: int = 0
    asked: int = 0
    answered: int = 0
    wrong: list[str] = field(default_factory=list[str])
    failed: list[BaseException] = field(default_factory=list[BaseException])
    publish: list[float] = field(default_factory=list[float])  # seconds of each
    seconds: float = 0.0


def some_domains(policy: Policy, share: float = 0.01, seed: int = 1) -> list[str]:
    """Types at random that are together the source of that share of all rules, or a bit less."""
    names = sorted(set(policy.rules) & set(policy.types))
    room = policy.count() * share
    chosen: list[str] = []
    for name in random.Random(seed).sample(names, len(names)):
        size = sum(map(len, policy.rules[name].values()))
        if size <= room:
            chosen.append(name)
            room -= size
    return chosen


def reloaded(policy: Policy, domains: list[str], number: int) -> Policy:
    """The policy with the rules of these domains changed. All others are the parts of `policy`."""
    mark: Vector = frozenset({f"{MARK}{number}"})
    known: dict[Vector, Vector] = {}  # equal vectors stay one object
    changed = {
        domain: {
            target: {
                tclass: known.setdefault(vector, vector | mark)
                for tclass, vector in classes.items()
            }
            for target, classes in policy.rules[domain].items()
        }
        for domain in domains
    }
    return dataclasses.replace(policy, rules={**policy.rules, **changed})


def type_like(policy: Policy, name: str) -> str:
    """The type itself, or one that has the attribute of that name."""
    return next(each for each, names in policy.types.items() if name in names)


def reloads_in(policy: Policy, domains: list[str]) -> set[int]:
    """The numbers of the reloads that these domains' rules are of; 0 is that of none."""
    found: set[int] = set()
    for domain in domains:
        for classes in policy.rules[domain].values():
            for vector in classes.values():
                marks = [one for one in vector if one.startswith(MARK)]
                found.update(int(one.removeprefix(MARK)) for one in marks or [f"{MARK}0"])
    return found


def under_load(
    cell: pmalloc.Cell[Policy], avc: AVC, *, readers: int = 4, reloads: int = 100, seed: int = 1
) -> Load:
    """Publishes `reloads` policies while `readers` threads ask the cache and read the cell."""
    base = cell.get()
    domains = some_domains(base)
    steady, changing = questions(base, avc, domains, random.Random(seed))
    result = Load()
    begun = done = 0
    ended = threading.Event()
    counts = [[0, 0] for _ in range(readers)]  # asked and answered, of each reader

    def ask(number: int) -> None:
        chance = random.Random(seed + number)
        count = counts[number]
        while not ended.is_set():
            count[0] += 1
            kind = chance.random()
            before = done
            if kind < 0.5:
                (source, target, tclass, permission), expected = chance.choice(steady)
                wrong = avc.allowed(source, target, tclass, permission) is not expected
            elif kind < 0.98:
                about = max(1, done + chance.randint(-1, 1))
                answer = avc.allowed(*chance.choice(changing), f"{MARK}{about}")
                after = begun
                wrong = not before <= about <= after if answer else before == after == about
            else:
                numbers = reloads_in(cell.get(), domains)
                after = begun
                wrong = len(numbers) != 1 or not before <= numbers.pop() <= after
            count[1] += 1
            if wrong:
                result.wrong.append(f"reload {before}..{begun}: reader {number}, kind {kind:.2f}")

    def reader(number: int) -> None:
        try:
            ask(number)
        except BaseException as error:
            result.failed.append(error)

    threads = [threading.Thread(target=reader, args=(each,)) for each in range(readers)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # as many meetings as can be had
    start = perf_counter()
    try:
        for thread in threads:
            thread.start()
        for number in range(1, reloads + 1):
            policy = reloaded(base, domains, number)
            begun = number
            moment = perf_counter()
            cell.publish(policy)
            result.publish.append(perf_counter() - moment)
            done = number
            result.reloads = number
            # Each of them goes on asking before there is another.
            goals = [answered + 10 for _, answered in counts]
            while not result.failed and any(
                answered < goal for (_, answered), goal in zip(counts, goals, strict=True)
            ):
                ended.wait(0.0005)
    finally:
        ended.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        sys.setswitchinterval(interval)
    result.seconds = perf_counter() - start
    result.asked, result.answered = (sum(each) for each in zip(*counts, strict=True))
    return result


def questions(
    policy: Policy, avc: AVC, domains: list[str], chance: random.Random
) -> tuple[list[tuple[tuple[str, str, str, str], bool]], list[Place]]:
    """Questions that no reload matters to, with their answers; and places where each one does."""
    truth = avc.flush().truth
    steady: list[tuple[tuple[str, str, str, str], bool]] = []
    sources = sorted(set(policy.rules) & set(policy.types) - set(domains))
    for source in chance.choices(sources, k=500):
        target, classes = chance.choice(list(policy.rules[source].items()))
        target, tclass = type_like(policy, target), chance.choice(list(classes))
        vector = policy.vector(truth, source, target, tclass)
        permission = chance.choice([*sorted(vector), "entrypoint"])
        steady.append(((source, target, tclass, permission), permission in vector))
    changing: list[Place] = []
    for source in domains:
        target, classes = chance.choice(list(policy.rules[source].items()))
        changing.append((source, type_like(policy, target), chance.choice(list(classes))))
    return steady, changing
