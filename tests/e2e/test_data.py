"""SQL and HTTP operators in real workers and in the async lane, with stored connections."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster

pytestmark = pytest.mark.e2e
DAGS = Path(__file__).parent / "dags"


class Api(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        soon = self.path.startswith("/soon")
        type(self).asked += soon
        self.send_response(404 if soon and self.asked < 3 else 200)
        self.end_headers()
        self.wfile.write(b'{"auth": "%s"}' % self.headers.get("Authorization", "").encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("data")
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Api) as server,
        Cluster(environ={"E2E_DATA": str(folder)}) as cluster,
    ):
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            cluster.client.connections.set("data_db", conn_type="sqlite", host=f"{folder}/x.db")
            cluster.client.connections.set(
                "data_api", conn_type="http", host="127.0.0.1", port=server.server_address[1],
                login="me", password="pass-word-2",
            )  # fmt: skip
            shutil.copy(DAGS / "data.py", cluster.dags_folder / "data.py")
            cluster.wait_for_dag("data_moves")
            cluster.wait_for_dag("data_waits")
            yield cluster
        finally:
            server.shutdown()
            thread.join()


def test_rows_and_bytes_are_shown(data: Cluster) -> None:
    for _ in range(2):
        run = data.run("data_moves")
        assert run.state == "success", data.log_of(run, "load")
        written = data.xcom(run, "write")
        size = Path(written["path"]).stat().st_size
        assert written == {"rows": 2, "bytes": size, "path": written["path"]}
        assert data.xcom(run, "load") == {"rows": 2, "bytes": size, "files": 1}
        assert "-> b: 2 rows, " in data.log_of(run, "load")


def test_a_sensor_waits_for_http_in_the_lane(data: Cluster) -> None:
    run = data.run("data_waits")
    assert run.state == "success", data.log_of(run, "wait")
    assert Api.asked >= 3
    assert data.xcom(run, "call")["auth"].startswith("Basic ")
    assert "pass-word-2" not in data.log_of(run, "call")
