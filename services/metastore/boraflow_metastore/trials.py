"""Trying connections, each in a process of its own: hooks and drivers are not the metastore's code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys

from boraflow.api.metastore.v1 import connection_service_pb2 as pb

_SECONDS = 20.0
_AT_ONCE = 4
#: What such a process needs of ours; no token, no key and no database URL is among it.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")  # fmt: skip


class Trials:
    """Runs a few at once."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def of(self, connection: pb.Connection) -> tuple[bool, str]:
        """Return whether a connection works, and what its hook says."""
        fields = {
            "conn_id": connection.conn_id,
            "conn_type": connection.conn_type or None,
            "host": connection.host or None,
            "login": connection.login or None,
            "password": connection.password or None,
            "schema": connection.schema or None,
            "port": connection.port or None,
            "extra": connection.extra_json or None,
        }
        async with self._places:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "boraflow.runtime.connection_test",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={k: v for k, v in os.environ.items() if k in _ENVIRONMENT},
                start_new_session=True,
            )
            try:
                out, _ = await asyncio.wait_for(
                    process.communicate(json.dumps(fields).encode()), _SECONDS
                )
                answer = json.loads(out)
                return bool(answer["works"]), str(answer["message"])
            except TimeoutError:
                return False, f"no answer within {_SECONDS:g} seconds"
            except (ValueError, KeyError, TypeError):
                return (
                    False,
                    f"the driver ended the process that tried it (code {process.returncode})",
                )
            finally:
                # Only while it runs: afterwards the number may be another process's.
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()
