"""Why a process ended, in words."""

from __future__ import annotations

import pytest

from boraflow_executor.exits import code_of, reason_of


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (0, 0, "exited with code 0 before the task was done"),
        (3 << 8, 3, "exited with code 3"),
        (11, -11, "SIGSEGV: a segmentation fault"),
        (9, -9, "SIGKILL"),
        (40, -40, "signal 40"),
    ],
)
def test_reasons(status: int, code: int, words: str) -> None:
    assert code_of(status) == code
    assert words in reason_of(status)


def test_out_of_memory_is_said() -> None:
    assert "out of memory" in reason_of(9, out_of_memory=True)
