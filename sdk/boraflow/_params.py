"""Params: typed, validated inputs of a run, and where they become the trigger form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from boraflow._notset import NOTSET, is_arg_set
from boraflow._xcom import ResolveMixin
from boraflow.exceptions import ParamValidationError

if TYPE_CHECKING:
    from boraflow._context import Context
    from boraflow._dag import DAG


class Param:
    """One input of a run: a default, a description and a JSON schema given as keyword arguments.

    ``Param(5, type="integer", minimum=1)``. Without a default the param is required.
    """

    CLASS_IDENTIFIER = "__class"

    def __init__(
        self,
        default: Any = NOTSET,
        description: str | None = None,
        source: str | None = None,
        **kwargs: Any,
    ) -> None:
        if is_arg_set(default):
            _check_json(default)
        self.value = default
        self.description = description
        self.source = source
        self.schema: dict[str, Any] = kwargs.pop("schema") if "schema" in kwargs else kwargs

    @property
    def has_value(self) -> bool:
        """Whether there is a value (a default of None counts only if the schema allows null)."""
        return is_arg_set(self.value) and not (self.value is None and not self._allows_null())

    def _allows_null(self) -> bool:
        kind = self.schema.get("type")
        return kind is None or kind == "null" or (isinstance(kind, list) and "null" in kind)

    def resolve(self, value: Any = NOTSET, suppress_exception: bool = False) -> Any:
        """Return ``value`` (or the default) after validation.

        Raises:
            ParamValidationError: there is no value, or it does not fit the schema.
        """
        final = value if is_arg_set(value) else self.value
        if not is_arg_set(final):
            if suppress_exception:
                return None
            raise ParamValidationError("No value passed and Param has no default value")
        try:
            _check_json(final)
            if self.schema:
                validate_schema(final, self.schema)
        except ParamValidationError:
            if suppress_exception:
                return None
            raise
        self.value = final
        return final

    def dump(self) -> dict[str, Any]:
        """Return value, schema and description as a dict."""
        out: dict[str, Any] = {"schema": self.schema, "description": self.description}
        if is_arg_set(self.value):
            out["value"] = self.value
        return out

    def copy(self) -> Param:
        """Return a copy that can take another value."""
        return Param(self.value, self.description, self.source, schema=self.schema)

    def __repr__(self) -> str:
        return f"Param({self.value!r})"


def _check_json(value: Any) -> None:
    try:
        json.dumps(value)
    except (TypeError, ValueError) as err:
        raise ParamValidationError(
            f"All provided parameters must be json-serializable; {type(value).__name__} is not"
        ) from err


def validate_schema(value: Any, schema: Mapping[str, Any]) -> None:
    """Check a value against a JSON schema.

    Raises:
        ParamValidationError: it does not fit, or the schema itself is wrong.
    """
    import jsonschema

    from boraflow.model.params import format_checker

    try:
        jsonschema.validate(value, dict(schema), format_checker=format_checker())
    except jsonschema.ValidationError as err:
        raise ParamValidationError(err.message) from None
    except jsonschema.SchemaError as err:
        raise ParamValidationError(f"the schema itself is not valid: {err.message}") from None


class ParamsDict(MutableMapping[str, Any]):
    """Params by name. Reading gives the value; writing a plain value keeps description and schema."""

    __slots__ = ("_params", "suppress_exception")

    def __init__(
        self, dict_obj: Mapping[str, Any] | None = None, suppress_exception: bool = False
    ) -> None:
        self._params: dict[str, Param] = {}
        self.suppress_exception = suppress_exception
        for name, value in (
            dict_obj._params if isinstance(dict_obj, ParamsDict) else dict_obj or {}
        ).items():
            if not isinstance(name, str):
                raise ParamValidationError(f"the name of a param must be a str, got {name!r}")
            self._params[name] = value.copy() if isinstance(value, Param) else Param(value)

    def __getitem__(self, key: str) -> Any:
        return self._params[key].resolve(suppress_exception=self.suppress_exception)

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, Param):
            self._params[key] = value
        elif key in self._params:
            try:
                self._params[key].resolve(value, suppress_exception=self.suppress_exception)
            except ParamValidationError as err:
                raise ParamValidationError(f"Invalid input for param {key}: {err}") from None
        else:
            self._params[key] = Param(value)

    def __delitem__(self, key: str) -> None:
        del self._params[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)

    def __contains__(self, key: object) -> bool:
        return key in self._params

    def __repr__(self) -> str:
        return repr(self.dump())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ParamsDict):
            return self.dump() == other.dump()
        if isinstance(other, dict):
            return self.dump() == other
        return NotImplemented

    __hash__ = None

    def __copy__(self) -> ParamsDict:
        return ParamsDict(self, self.suppress_exception)

    def deep_merge(self, other: Mapping[str, Any] | None) -> ParamsDict:
        """Return these params with ``other``'s added, which win."""
        merged = ParamsDict(self, self.suppress_exception)
        for name, param in ParamsDict(other)._params.items():
            merged._params[name] = param
        return merged

    def get_param(self, key: str) -> Param:
        """Return the :class:`Param` itself."""
        return self._params[key]

    def items(self) -> Any:
        """Return (name, Param) pairs, as Airflow does."""
        return self._params.items()

    def values(self) -> Any:
        """Return the :class:`Param` objects, as Airflow does."""
        return self._params.values()

    def dump(self) -> dict[str, Any]:
        """Return the values by name, without validating them."""
        return {k: (p.value if is_arg_set(p.value) else None) for k, p in self._params.items()}

    def validate(self) -> dict[str, Any]:
        """Return all values by name after validation.

        Raises:
            ParamValidationError: names the param that is wrong.
        """
        out: dict[str, Any] = {}
        for name, param in self._params.items():
            try:
                out[name] = param.resolve(suppress_exception=self.suppress_exception)
            except ParamValidationError as err:
                raise ParamValidationError(f"Invalid input for param {name}: {err}") from None
        return out


class DagParam(ResolveMixin):
    """A DAG's param used as an argument: what a ``@dag`` function receives in place of its arguments."""

    def __init__(self, current_dag: DAG, name: str, default: Any = NOTSET) -> None:
        if is_arg_set(default):
            current_dag.params[name] = default
        self.current_dag = current_dag
        self._name = name
        self._default = default

    def resolve(self, context: Context) -> Any:
        params = context["params"]
        if self._name in params:
            return params[self._name]
        if is_arg_set(self._default):
            return self._default
        raise ParamValidationError(
            f"No value could be resolved for parameter '{self._name}' of DAG '{self.current_dag.dag_id}'"
        )

    def __repr__(self) -> str:
        return f"DagParam({self._name!r})"
