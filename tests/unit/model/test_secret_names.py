"""One list says which names are secret: tasks, executors, the metastore, the CLI and the dashboard agree."""

import pytest

from boraflow.model.secret_names import looks_secret


@pytest.mark.parametrize(
    "name",
    [
        "aws_access_key_id",
        "gcp_credentials",
        "DB_PASSWORD",
        "Api-Key",
        "auth_token",
        "keyfile_path",
    ],
)
def test_names_that_stand_for_secrets(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["region", "key", "monkey", "path", "owner"])
def test_names_that_do_not(name: str) -> None:
    assert not looks_secret(name)
