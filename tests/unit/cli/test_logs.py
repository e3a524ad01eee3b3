"""One line per event, as text or JSON, for logging and our logger alike."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

SCRIPT = """
import logging, sys
from boraflow.logs import configure, get_logger
configure("test", "{level}", {json})
log = get_logger("ours")
log.info("attached", executor="vm 1", slots=8, name="a")
log.debug("hidden")
logging.getLogger("lib").warning("plain %s", "text")
logging.getLogger("asyncio").info("noise")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("went wrong", key="v")
"""


def lines(
    json_lines: bool = False, imports: str = "", more: str = "", level: str = "info"
) -> list[str]:
    source = SCRIPT.format(json=json_lines, level=level)
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_text() -> None:
    got = lines()
    assert got[0].endswith("Z info    ours: attached executor='vm 1' slots=8 name=a")
    assert got[1].endswith("Z warning lib: plain text")
    assert got[2].endswith("Z error   ours: went wrong key=v")
    assert got[3] == "Traceback (most recent call last):"
    assert got[-1] == "ZeroDivisionError: division by zero"


def test_json() -> None:
    got: list[dict[str, Any]] = [json.loads(line) for line in lines(json_lines=True)]
    assert [g["event"] for g in got] == ["attached", "plain text", "went wrong"]
    assert got[0]["slots"] == 8
    assert {g["service"] for g in got} == {"test"}
    assert "ZeroDivisionError" in got[2]["exception"]


def test_a_bad_level_is_named() -> None:
    from boraflow.config import ConfigError
    from boraflow.logs import configure

    handlers = logging.getLogger().handlers[:]
    with pytest.raises(ConfigError, match="BORAFLOW_LOG_LEVEL: 'loud'"):
        configure("x", "loud")
    assert logging.getLogger().handlers == handlers
