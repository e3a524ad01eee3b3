"""Variables: key/value settings, from the environment first, then from the metastore."""

from __future__ import annotations

import json
import os
from typing import Any

from boraflow._comms import current_comms, need_comms
from boraflow._notset import NOTSET, is_arg_set
from boraflow.exceptions import BoraflowException, VariableNotFound
from boraflow.model.secret_names import looks_secret


def _from_environment(key: str) -> str | None:
    for prefix in ("BORAFLOW_VAR_", "AIRFLOW_VAR_"):
        value = os.environ.get(prefix + key.upper())
        if value is not None:
            if looks_secret(key) and (comms := current_comms()) is not None:
                comms.mask(value)
            return value
    return None


def get_raw(key: str) -> str | None:
    """Return a variable's text, or None."""
    from boraflow import secrets

    value = secrets.find_variable(key)
    if value is None:
        value = _from_environment(key)
    elif looks_secret(key) and (comms := current_comms()) is not None:
        comms.mask(value)
    if value is None and (comms := current_comms()) is not None:
        value = comms.get_variable(key)
    return value


class Variable:
    """A variable. Use the static methods; an instance is only a value with its key."""

    def __init__(
        self, key: str, value: Any = None, description: str | None = None, **_: Any
    ) -> None:
        self.key = key
        self.value = value
        self.val = value
        self.description = description

    @staticmethod
    def get(
        key: str,
        default: Any = NOTSET,
        deserialize_json: bool = False,
        *,
        default_var: Any = NOTSET,
    ) -> Any:
        """Return a variable's value.

        Raises:
            VariableNotFound: there is none, and no default is given.
        """
        value = get_raw(key)
        if value is None:
            if is_arg_set(default):
                return default
            if is_arg_set(default_var):
                return default_var
            raise VariableNotFound(
                f"Variable '{key}' is not defined; set it with: bora variables set {key} VALUE "
                f"(or by BORAFLOW_VAR_{key.upper()}), or give a default"
            )
        if deserialize_json:
            try:
                return json.loads(value)
            except ValueError as err:
                raise BoraflowException(
                    f"Variable '{key}' does not hold valid JSON: {err}"
                ) from None
        return value

    @staticmethod
    def set(
        key: str, value: Any, description: str | None = None, serialize_json: bool = False
    ) -> None:
        """Store a variable."""
        text = json.dumps(value, indent=2) if serialize_json else str(value)
        need_comms(f"setting variable '{key}'").set_variable(key, text, description)

    @staticmethod
    def setdefault(
        key: str, default: Any, description: str | None = None, deserialize_json: bool = False
    ) -> Any:
        """Return a variable's value; store ``default`` if there is none."""
        found = Variable.get(key, default=None, deserialize_json=deserialize_json)
        if found is not None:
            return found
        if default is None:
            raise ValueError("Default Value must be set")
        Variable.set(key, default, description, serialize_json=deserialize_json)
        return default

    @staticmethod
    def update(key: str, value: Any, serialize_json: bool = False) -> None:
        """Change a variable that exists."""
        if get_raw(key) is None:
            raise VariableNotFound(f"Variable '{key}' is not defined")
        Variable.set(key, value, serialize_json=serialize_json)

    @staticmethod
    def delete(key: str) -> None:
        """Delete a variable."""
        need_comms(f"deleting variable '{key}'").delete_variable(key)


class VariableAccessor:
    """``var.value`` and ``var.json`` in templates."""

    def __init__(self, *, deserialize_json: bool) -> None:
        self._json = deserialize_json

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        return Variable.get(key, deserialize_json=self._json)

    def __getitem__(self, key: str) -> Any:
        return Variable.get(key, deserialize_json=self._json)

    def get(self, key: str, default: Any = NOTSET) -> Any:
        """Return a variable's value or the default."""
        return Variable.get(key, default, deserialize_json=self._json)

    def __repr__(self) -> str:
        return "<VariableAccessor>"


class VariableNamespace:
    """``var`` in templates."""

    def __init__(self) -> None:
        self.value = VariableAccessor(deserialize_json=False)
        self.json = VariableAccessor(deserialize_json=True)
