"""Options, Hypothesis profiles and the rules that hold for every test."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# A developer's own deployment must not leak into a test.
for _name in [name for name in os.environ if name.startswith(("BORAFLOW_", "AIRFLOW_"))]:
    if not _name.startswith(("BORAFLOW_TEST_", "BORAFLOW_FLOOR")):
        del os.environ[_name]

# A shell starts what it puts into the background with Ctrl-C ignored, and programs started from it inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "default",
    deadline=None,  # a loaded machine is no bug
    derandomize=bool(os.environ.get("CI")),
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("BORAFLOW_TEST_HYPOTHESIS", "default"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder. Under xdist real deployments share one worker, other files one each."""
    for item in items:
        path = Path(item.path).relative_to(ROOT / "tests")
        layer = path.parts[0]
        if layer in ("e2e", "browser"):
            item.add_marker(getattr(pytest.mark, layer))
            item.add_marker(pytest.mark.xdist_group("processes"))
        elif layer != "unit":
            item.add_marker(pytest.mark.xdist_group(str(path)))


def missing(what: str) -> None:
    """Skip where ``what`` is not on this machine; but fail where continuous integration promised it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI=true says that it must be here")
    pytest.skip(f"{what} is missing")
