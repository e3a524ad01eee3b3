"""Outcomes on disk, while the metastore cannot take them.

On the hot path an outcome is in memory for the milliseconds until it is acknowledged; an agent killed then loses
attempts that are run again. During an outage of the metastore that time is long, so outcomes are kept here,
and the next session reports them before it attaches.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from google.protobuf.message import DecodeError

from boraflow.api.metastore.v1 import execution_service_pb2 as pb

log = logging.getLogger("boraflow.executor")

_HEAD = struct.Struct("!I")


class Journal:
    """One file of outcomes, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: tuple[str, ...] = ()

    def save(self, reports: Iterable[pb.AttemptReport]) -> None:
        """Keep exactly these. A disk that is full is no reason to stop: they are in memory too."""
        reports = list(reports)
        names = tuple(report.result.attempt_id for report in reports)
        if names == self._kept:
            return
        part = self._path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                for report in reports:
                    data = report.SerializeToString()
                    file.write(_HEAD.pack(len(data)) + data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            log.warning("outcomes cannot be kept on disk: %s", error)
        else:
            self._kept = names

    def clear(self) -> None:
        """All were acknowledged."""
        if self._kept:
            self._path.unlink(missing_ok=True)
            self._kept = ()

    def load(self) -> list[pb.AttemptReport]:
        """Return what an earlier session kept; a torn end is dropped."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return []
        reports = []
        at = 0
        while at + 4 <= len(data):
            (size,) = _HEAD.unpack_from(data, at)
            piece = data[at + 4 : at + 4 + size]
            at += 4 + size
            if len(piece) < size:
                break
            try:
                reports.append(pb.AttemptReport.FromString(piece))
            except DecodeError:
                break
        self._kept = tuple(report.result.attempt_id for report in reports)
        return reports
