"""An interrupt at any instruction leaves settings and locks as they were."""

import threading

import pytest
import torch

from sktorch.training.cpu import flushes_subnormals, subnormals_flushed, threads_for
from sktorch.training.interrupts import exclusively, leaves_as_found, undone_on_failure
from sktorch.training.precision import Precision
from sktorch.training.settings import OF_INFERENCE, OF_PRECISION, OF_TRAINING
from tests.training.interrupting import in_another_thread, interrupted_everywhere

FILES = ("interrupts.py", "cpu.py", "precision.py", "contextlib.py", "autocast_mode.py")


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def state():
    return [setting.read() for setting in OF_TRAINING] + [
        torch.get_float32_matmul_precision(),
        torch.is_inference_mode_enabled(),
    ]


def train(precision):
    with threads_for(0), subnormals_flushed(), torch.no_grad():
        precision = Precision.named(precision, "cpu")
        with precision.autocast():
            torch.ones(2, 2) @ torch.ones(2, 2)
        with precision.backward():
            assert torch.get_num_threads() == 1


CHANGED = {
    "float32": lambda: train("float32"),
    "tf32": lambda: train("tf32"),
    "bfloat16": lambda: train("bfloat16"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_an_interrupt_anywhere_leaves_settings_as_they_were(name):
    before, n_interrupts = state(), 0
    for _ in interrupted_everywhere(leaves_as_found(*OF_TRAINING)(CHANGED[name]), FILES):
        n_interrupts += 1
        assert state() == before
    assert n_interrupts > 200
    assert in_another_thread(CHANGED["tf32"])
    assert state() == before


@pytest.mark.parametrize("context", [lambda: threads_for(0), subnormals_flushed])
def test_contexts_alone_restore_after_an_interrupt_in_themselves(context):
    def use():
        with context():
            pass

    before = state()
    for _ in interrupted_everywhere(use, ("cpu.py",)):
        assert state() == before


def change_all():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.set_autocast_enabled("cpu", True)
    torch.set_autocast_dtype("cpu", torch.float16)
    torch.autocast_increment_nesting()
    Precision.named("tf32", "cpu").autocast().__enter__()
    torch.set_flush_denormal(True)


@pytest.mark.parametrize(
    "settings", [[*OF_INFERENCE, *OF_PRECISION], OF_TRAINING], ids=["inference", "training"]
)
def test_every_setting_is_given_back(settings):
    before = state()
    leaves_as_found(*settings)(change_all)()
    if settings is not OF_TRAINING:
        assert flushes_subnormals() or not torch.set_flush_denormal(True)
        torch.set_flush_denormal(False)
    assert state() == before


def test_a_function_keeps_its_name_arguments_and_value():
    @leaves_as_found()
    def divided(a, b=1):
        """Divide."""
        return a / b

    assert (divided.__name__, divided.__doc__, divided(6, b=3)) == ("divided", "Divide.", 2)


def test_tf32_of_one_thread_stays_while_another_leaves_it():
    entered, leave, seen = threading.Event(), threading.Event(), []
    before = torch.get_float32_matmul_precision()

    def other():
        with Precision.named("tf32", "cpu").autocast():
            entered.set()
            leave.wait(20)
            seen.append(torch.get_float32_matmul_precision())

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(20)
    leaves_as_found(*OF_PRECISION)(CHANGED["tf32"])()
    assert torch.get_float32_matmul_precision() == "high"
    leave.set()
    thread.join()
    assert seen == ["high"]
    assert torch.get_float32_matmul_precision() == before


def test_a_lock_is_free_after_an_interrupt_anywhere():
    lock, values = threading.RLock(), []
    for _ in interrupted_everywhere(lambda: exclusively(lock, values.append, 1), FILES):
        assert in_another_thread(lambda: exclusively(lock, values.append, 2))
    assert values[-1] == 1


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
def test_what_fails_is_undone(error):
    values = [1]

    def fail():
        values.append(2)
        raise error

    with pytest.raises(error):
        undone_on_failure(lambda: values.__setitem__(slice(1, None), []), fail)
    assert values == [1]
    assert undone_on_failure(values.clear, lambda: 3) == 3
    assert values == [1]


def test_what_an_interrupt_breaks_off_is_done_or_undone():
    before, after = {"a": 1, "b": 1}, {"a": 2, "b": 2}
    values = before.copy()

    def change():
        values["a"] = 2
        values["b"] = 2

    seen = []
    files = ("interrupts.py", "test_interrupts.py")
    for _ in interrupted_everywhere(
        lambda: undone_on_failure(lambda: values.update(before), change), files
    ):
        seen.append(values.copy())
        values.update(before)
    assert seen[0] == before
    assert seen[-1] == after
    assert all(found in (before, after) for found in seen)
