"""Packages that only some operators need: imported when they are used, with a message that names the extra."""

from __future__ import annotations

import importlib
from typing import Any

from boraflow.exceptions import AirflowOptionalProviderFeatureException


def need(module: str, extra: str, what: str) -> Any:
    """Return an optional module.

    Args:
        module: what to import.
        extra: the extra of ``boraflow`` that brings it; empty for a package that none brings.
        what: who needs it, as the message's subject.

    Raises:
        AirflowOptionalProviderFeatureException: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as err:
        package = module.partition(".")[0]
        name = f"'boraflow[{extra}]'" if extra else package
        missing = getattr(err, "name", None)
        if missing and missing.partition(".")[0] != package:
            reason = f", which cannot be imported: {err}"
        else:
            reason = f": pip install {name}"
        raise AirflowOptionalProviderFeatureException(
            f"{what} needs the Python package '{package}'{reason}"
        ) from None
