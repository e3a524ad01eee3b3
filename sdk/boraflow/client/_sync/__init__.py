# ruff: noqa
"""The blocking client, generated from ``_aio`` by ``python -m boraflow.client._unasync``; do not edit."""

from __future__ import annotations

from boraflow.client._sync.client import Client

__all__ = ["Client"]
