"""name_holders(): who else refers to an object, in words."""

import gc
import importlib.util
import sys
import threading
import types

from child import in_child

import pmalloc
from pmalloc._held import name_holders

HERE = __name__
MODULE_LIST = [1]
NESTED = [0, [MODULE_LIST]]


def names(obj, ignore=lambda holder: False):
    (found,) = name_holders([obj], ignore)
    return found


class Slotted:
    __slots__ = ("value",)


class Plain:
    pass


def test_variables_of_modules():
    found = names(MODULE_LIST)
    assert f"variable MODULE_LIST of module {HERE}" in found
    assert f"item [0] of item [1] of variable NESTED of module {HERE}" in found


def test_local_variables():
    def holds():
        here = target  # noqa: F841
        return names(target)

    target = [1]
    lines = {text.rpartition(":")[0] for text in holds()}
    here = "test_local_variables()"
    assert {
        f"local variable here of test_local_variables.<locals>.holds() at {__file__}",
        f"local variable target of test_local_variables.<locals>.holds() at {__file__}",
        f"local variable target of {here} at {__file__}",
    } < lines


def test_local_variables_of_other_threads():
    def work():
        there = obj()  # noqa: F841
        ready.set()
        done.wait()

    def obj():
        return targets[0]

    targets = [[1]]
    ready, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    found = names(targets[0])
    done.set()
    thread.join()
    assert any(
        text.startswith(
            "local variable there of test_local_variables_of_other_threads.<locals>.work()"
        )
        for text in found
    )


def test_attributes():
    target = [1]
    plain, slotted = Plain(), Slotted()
    plain.value = slotted.value = target
    Plain.shared = target
    try:
        found = names(target)
    finally:
        del Plain.shared
    assert f"attribute value of {HERE}.Plain object" in found
    assert f"attribute value of {HERE}.Slotted object" in found
    assert f"attribute shared of class {HERE}.Plain" in found


def test_attributes_of_an_instance_with_a_dict():
    target, plain = [1], Plain()
    plain.__dict__ = {"value": target}
    assert f"attribute value of {HERE}.Plain object" in names(target)


def test_an_attribute_of_something_in_a_list():
    target, plain = [1], Plain()
    plain.values = {"key": target}
    found = names(target)
    assert f"item ['key'] of attribute values of {HERE}.Plain object" in found


def test_functions():
    def make(target):
        def default(a=target):
            return a

        def keyword(*, a=target):
            return a

        def closure():
            return target

        return default, keyword, closure

    functions = make([1])
    functions[0].attribute = functions[0].__defaults__[0]
    found = names(functions[0].__defaults__[0])
    prefix = f"{HERE}.test_functions.<locals>.make.<locals>"
    assert f"item [0] of a default of {prefix}.default()" in found
    assert f"item ['a'] of a default of {prefix}.keyword()" in found
    assert any("the closure of" in text and ".closure()" in text for text in found)
    assert f"attribute attribute of {prefix}.default()" in found


def test_generators_and_coroutines():
    def gen(inside):
        yield

    async def coro(inside):
        await types.coroutine(lambda: (yield))()

    target = [1]
    generator, coroutine = gen(target), coro(target)
    next(generator)
    coroutine.send(None)
    found = names(target)
    coroutine.close()
    for name in ("gen", "coro"):
        start = f"local variable inside of test_generators_and_coroutines.<locals>.{name}() at"
        assert any(text.startswith(start) for text in found)


def test_bound_methods():
    class Counter(list):
        def go(self):
            pass

    counter = Counter()
    bound = counter.go
    assert any(text.startswith("bound method ") for text in names(counter)), bound


def test_a_list_that_nobody_is_found_to_hold():
    target = [1]
    iterator = iter([target])
    found = names(target)
    assert any(text.startswith("item [0] of") for text in found), (found, iterator)


def test_what_is_ignored_is_no_holder():
    target = [1]
    ours, theirs = [target], [target]
    found = names(target, lambda holder: holder is ours)
    assert not any("variable ours" in text for text in found)
    assert any("item [0] of local variable theirs" in text for text in found)
    assert theirs


def test_many_objects_at_once():
    targets = [[n] for n in range(300)]
    holder = dict(enumerate(targets))
    found = name_holders(targets, lambda obj: obj is targets)
    assert len(found) == 300
    assert all(
        any(f"item [{n}] of local variable holder" in text for text in texts)
        for n, texts in enumerate(found[:100])
    ), found[0]
    assert found[100:] == [[]] * 200
    assert holder


def test_lazy_modules_are_not_loaded():
    spec = importlib.util.find_spec("wave") or importlib.util.find_spec("colorsys")
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["lazy_of_test_held"] = module
    loader.exec_module(module)
    try:
        names([1])
        assert type(module).__name__ == "_LazyModule"
    finally:
        del sys.modules["lazy_of_test_held"]


def test_no_cycle_is_left():
    gc.collect()
    gc.disable()
    try:
        target = [1]
        before = sys.getrefcount(target)
        names(target)
        assert sys.getrefcount(target) == before
        assert gc.collect() == 0 or sys.getrefcount(target) == before
    finally:
        gc.enable()


# ---- paths, by way of an end ----


class Settings:
    def __init__(self, roles):
        self.roles = roles


def test_paths():
    def work() -> None:
        roles = [["admin"], ("x", ["y"]), {"z": ["w"]}, Settings(["attribute"])]
        held = [roles[0], roles[1][1], roles[2]["z"], roles[3].roles]
        pmalloc.ro_after_init({"roles": roles}, name="settings")
        pmalloc.ro_after_init([{1: [held[0]]}], name="list")
        del roles
        report = pmalloc.mark_rodata_ro()
        paths = [each.path for each in report.held]
        assert "global['settings']['roles'][1][1]" in paths
        assert "global['settings']['roles'][2]['z']" in paths
        assert "global['settings']['roles'][3].roles" in paths
        assert {"global['settings']['roles'][0]", "global['list'][0][1][0]"} & set(paths)
        assert len(paths) == 4
        for each in report.held:
            assert any("local variable held" in text for text in each.holders), each

    in_child(work)
