import os
import queue
import signal

import pytest

from boraflow.cli.waiting import _interrupts_into


class Interrupted:
    """Is interrupted while it is destroyed, where Python drops what is raised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_during_a_destructor_is_not_lost():
    updates = queue.SimpleQueue()
    with _interrupts_into(updates):
        Interrupted()
    assert isinstance(updates.get(timeout=1), KeyboardInterrupt)


def test_an_interrupt_is_raised_and_the_former_handler_comes_back():
    former = signal.getsignal(signal.SIGINT)
    updates = queue.SimpleQueue()
    with pytest.raises(KeyboardInterrupt), _interrupts_into(updates):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is former


def test_a_job_in_the_background_stays_deaf_to_interrupts():
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with _interrupts_into(queue.SimpleQueue()):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)
