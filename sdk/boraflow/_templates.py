"""Jinja templates in operator arguments. jinja2 is imported only when a string really is a template."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from boraflow import _source
from boraflow._xcom import ResolveMixin
from boraflow.airflow.context import OLD_KEYS
from boraflow.exceptions import BoraflowException

if TYPE_CHECKING:
    from datetime import date, datetime

    from boraflow._context import Context
    from boraflow._dag import DAG

_MARKS = ("{{", "{%", "{#")
_MOST_VALUES = 10_000


class literal(ResolveMixin):  # noqa: N801 (Airflow's name)
    """Mark a value that must not be rendered: ``env={"FMT": literal("{{ user }}")}``."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def resolve(self, context: Context) -> Any:
        return self.value

    def __repr__(self) -> str:
        return f"literal({self.value!r})"


LiteralValue = literal


RENDERING = "while rendering"
"""How a note begins that says which field was rendered when an exception came."""


class TemplateError(BoraflowException):
    """A template that cannot be rendered."""


# --- filters -------------------------------------------------------------------------------------


def ds_filter(value: date | None) -> str | None:
    """Return ``2026-01-31``."""
    return None if value is None else value.strftime("%Y-%m-%d")


def ds_nodash_filter(value: date | None) -> str | None:
    """Return ``20260131``."""
    return None if value is None else value.strftime("%Y%m%d")


def ts_filter(value: datetime | None) -> str | None:
    """Return ``2026-01-31T00:00:00+00:00``."""
    return None if value is None else value.isoformat()


def ts_nodash_filter(value: datetime | None) -> str | None:
    """Return ``20260131T000000``."""
    return None if value is None else value.strftime("%Y%m%dT%H%M%S")


def ts_nodash_with_tz_filter(value: datetime | None) -> str | None:
    """Return ``20260131T000000+0000``."""
    return None if value is None else value.isoformat().replace("-", "").replace(":", "")


FILTERS = {
    "ds": ds_filter,
    "ds_nodash": ds_nodash_filter,
    "ts": ts_filter,
    "ts_nodash": ts_nodash_filter,
    "ts_nodash_with_tz": ts_nodash_with_tz_filter,
}


# --- environment ---------------------------------------------------------------------------------


def make_environment(dag: DAG | None, native: bool) -> Any:
    """Return the Jinja environment of a DAG: sandboxed, strict, with its macros and filters."""
    import jinja2
    import jinja2.nativetypes
    import jinja2.sandbox

    class _Safe:
        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            """Allow names that begin with one underscore, as Airflow does."""
            return not jinja2.sandbox.is_internal_attribute(obj, attr)

    class Sandboxed(_Safe, jinja2.sandbox.SandboxedEnvironment):
        pass

    class Native(_Safe, jinja2.nativetypes.NativeEnvironment, jinja2.sandbox.SandboxedEnvironment):
        pass

    options: dict[str, Any] = {
        "undefined": jinja2.StrictUndefined,
        "extensions": ["jinja2.ext.do"],
        "cache_size": 50,
    }
    paths: list[str] = []
    if dag is not None:
        paths = [dag.folder, *dag.template_searchpath]
        if dag.template_undefined is not None:
            options["undefined"] = dag.template_undefined
        options.update(dag.jinja_environment_kwargs or {})
    options.setdefault("loader", jinja2.FileSystemLoader(paths))
    env = (Native if native else Sandboxed)(**options)
    env.filters.update(FILTERS)
    if dag is not None:
        env.globals.update(dag.user_defined_macros or {})
        env.filters.update(dag.user_defined_filters or {})
    return env


class _Names(Mapping[str, Any]):
    """The template's names: context first, then the environment's globals. Nothing is copied."""

    __slots__ = ("context", "globals")

    def __init__(self, context: Context | Mapping[str, Any], globals_: Mapping[str, Any]) -> None:
        self.context = context
        self.globals = globals_

    def __getitem__(self, key: str) -> Any:
        if key in self.context or (key in OLD_KEYS and key not in self.globals):
            return self.context[key]
        return self.globals[key]

    def __contains__(self, key: object) -> bool:
        return key in self.context or key in self.globals or key in OLD_KEYS

    def __iter__(self) -> Any:
        yield from self.context
        yield from (k for k in self.globals if k not in self.context)

    def __len__(self) -> int:
        return len({*self.context, *self.globals})

    def copy(self) -> dict[str, Any]:
        """Return what is there already; Jinja wants it to show a template's frames in a traceback."""
        return {**self.globals, **dict(dict.items(self.context))}  # type: ignore[arg-type]


class Renderer:
    """Renders the arguments of one task in one context."""

    def __init__(
        self,
        context: Context | Mapping[str, Any],
        *,
        dag: DAG | None = None,
        native: bool = False,
        template_ext: Collection[str] = (),
        env: Any = None,
        seen: set[int] | None = None,
    ) -> None:
        self.context = context
        self.dag = dag
        self.native = native
        self.template_ext = tuple(template_ext)
        self._env = env
        self.seen: set[int] = set() if seen is None else seen
        self._plain = env is None and (dag is None or not dag.jinja_environment_kwargs)

    @property
    def env(self) -> Any:
        if self._env is None:
            if self.dag is not None:
                self._env = self.dag.get_template_env(native=self.native)
            else:
                self._env = make_environment(None, self.native)
        return self._env

    def render(self, value: Any) -> Any:
        """Return ``value`` with templates rendered and references resolved, containers included."""
        cls = value.__class__
        if cls is str:
            return value if self.seen and id(value) in self.seen else self.text(value)
        if value is None or cls is int or cls is bool or cls is float:
            return value
        oid = id(value)
        if oid in self.seen:
            return value
        if isinstance(value, ResolveMixin):
            return value.resolve(self.context)  # type: ignore[arg-type]
        if cls is tuple:
            return tuple(self.render(v) for v in value)
        if isinstance(value, tuple):  # a named tuple
            return cls(*(self.render(v) for v in value))
        if isinstance(value, list):
            return [self.render(v) for v in value]
        if isinstance(value, dict):
            return {k: self.render(v) for k, v in value.items()}
        if isinstance(value, set):
            return {self.render(v) for v in value}
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, os.PathLike) and any(m in os.fspath(value) for m in _MARKS):
            return type(value)(self.text(os.fspath(value)))  # type: ignore[call-arg]
        nested = getattr(value, "template_fields", None)
        if isinstance(nested, (list, tuple)) and not isinstance(value, type):
            self.seen.add(oid)
            self.fields(value, nested)
        return value

    def fields(self, parent: Any, names: Iterable[str]) -> None:
        """Render the named attributes of ``parent`` in place."""
        for name in names:
            try:
                value = getattr(parent, name)
            except AttributeError:
                raise AttributeError(
                    f"{name!r} is configured as a template field but "
                    f"{type(parent).__name__} does not have this attribute"
                ) from None
            if value is None or (not value and value.__class__ in (str, list, dict, tuple)):
                continue
            try:
                rendered = self.render(value)
            except Exception as err:
                at = getattr(parent, "_defined_at", None)
                place = f" ({_source.show(at)})" if at else ""
                err.add_note(f"{RENDERING} {type(parent).__name__}.{name}{place}")
                raise
            if rendered is not value:
                setattr(parent, name, rendered)

    def text(self, value: str) -> Any:
        """Render one template string, or the file it names."""
        if self.template_ext and value.endswith(self.template_ext):
            return self._run(self._load(value))
        if (
            self._plain
            and "{{" not in value
            and "{%" not in value
            and "{#" not in value
            and "\r" not in value
        ):
            if not self.native:
                return value.removesuffix("\n")
            if not value or not _maybe_literal(value):
                return value
        return self._run(self.env.from_string(value))

    def _load(self, name: str) -> Any:
        import jinja2

        try:
            return self.env.get_template(name)
        except jinja2.TemplateNotFound:
            looked = getattr(self.env.loader, "searchpath", [])
            raise TemplateError(
                f"template file {name!r} not found; looked in {', '.join(map(str, looked)) or 'no folder'}. "
                "Add its folder to the DAG's template_searchpath, or end the text with a space if it is "
                "no file name"
            ) from None

    def _run(self, template: Any) -> Any:
        env = template.environment
        names = _Names(self.context, template.globals)
        try:
            nodes = template.root_render_func(
                env.context_class(env, names, template.name, template.blocks)
            )
            if self.native:
                from jinja2.nativetypes import native_concat

                return native_concat(nodes)
            return "".join(nodes)
        except Exception:
            env.handle_exception()  # raises, with the template's own lines in the traceback
            raise


def _maybe_literal(value: str) -> bool:
    """Say whether native rendering could read the text as a Python literal."""
    first = value.lstrip()[:1]
    return (
        first.isdigit()
        or first in "'\"[({-+."
        or value.strip() in ("True", "False", "None")
        or (first in "bBrRuUfF" and len(value) > 1 and value.lstrip()[1:2] in "'\"")
    )


def uses_jinja(dag: DAG) -> bool:
    """Return whether rendering a task of the DAG may need Jinja; cheap, and no promise that it does."""
    if dag.render_template_as_native_obj or dag.jinja_environment_kwargs:
        return True
    for task in dag.tasks:
        ends = tuple(task.template_ext or ())
        if task.is_mapped:
            left: list[Any] = [task.partial_kwargs, *vars(task.expand_input).values()]
        else:
            left = [getattr(task, name, None) for name in task.template_fields]
        seen: set[int] = set()
        while left and len(seen) < _MOST_VALUES:
            value = left.pop()
            if isinstance(value, str):
                if any(mark in value for mark in _MARKS) or (ends and value.endswith(ends)):
                    return True
            elif isinstance(value, os.PathLike):
                left.append(os.fspath(value))
            elif isinstance(value, (dict, list, tuple, set)) and id(value) not in seen:
                seen.add(id(value))
                left.extend(value.values() if isinstance(value, dict) else value)
            elif isinstance(nested := getattr(value, "template_fields", None), (list, tuple)):
                if not isinstance(value, type) and id(value) not in seen:
                    seen.add(id(value))
                    left.extend(getattr(value, name, None) for name in nested)
    return False
