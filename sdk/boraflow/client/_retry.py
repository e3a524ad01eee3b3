"""How calls are repeated. Imported only once a call failed: most processes never need it."""

from __future__ import annotations

from typing import Any

from tenacity import RetryCallState, retry_if_exception, stop_before_delay
from tenacity.wait import wait_base

from boraflow.client._calls import asked_delay, is_unavailable


class WaitAsAsked(wait_base):
    """Wait as long as the server's RetryInfo says, else 0.1 s, doubling up to 2 s."""

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = asked_delay(error)
        if asked is not None:
            return asked
        return min(2.0, 0.1 * 2 ** (retry_state.attempt_number - 1))


def policy(patience: float) -> dict[str, Any]:
    """Return tenacity's arguments: UNAVAILABLE is repeated for ``patience`` seconds in all."""
    return {
        "retry": retry_if_exception(is_unavailable),
        "wait": WaitAsAsked(),
        "stop": stop_before_delay(patience),
        "reraise": True,
    }
