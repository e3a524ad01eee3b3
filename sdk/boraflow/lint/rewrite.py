"""Applying edits to a source without touching anything else of it: comments, layout, quotes. Needs libcst."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from boraflow.lint.rules import Edit

_WIDTH = 100


def rewrite(text: str, edits: Iterable[Edit]) -> str:
    """Return the source with the edits applied.

    Raises:
        SyntaxError: the result would not be Python; nothing that is asked for here should do that.
    """
    edits = list(edits)
    wrapper = MetadataWrapper(cst.parse_module(text))
    module = wrapper.visit(_Rewriter(edits))
    wanted = [e.data for e in edits if e.kind == "add_import"]
    module = _with_imports(module, wanted)
    module = _merged(
        module, {e for edit in edits if edit.kind == "move_import" for e in _targets(edit)}
    )
    ast.parse(module.code)
    return module.code


def _targets(edit: Edit) -> set[str]:
    return {module for module, _ in edit.data.values()}


def _expression(text: str) -> cst.BaseExpression:
    return cst.parse_expression(text)


def _dotted(name: str) -> Any:
    return cst.parse_expression(name)


def _import_from(module: str, names: Sequence[tuple[str, str | None]]) -> cst.ImportFrom:
    words = [name if alias is None else f"{name} as {alias}" for name, alias in names]
    text = f"from {module} import {', '.join(words)}"
    if len(text) > _WIDTH:
        text = f"from {module} import (\n" + "".join(f"    {w},\n" for w in words) + ")"
    line: Any = cst.parse_statement(text)
    statement: cst.ImportFrom = line.body[0]
    return statement


def _alias_of(alias: cst.ImportAlias) -> tuple[str, str | None]:
    name = str(alias.evaluated_name)
    return name, alias.evaluated_alias


class _Rewriter(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, edits: Iterable[Edit]) -> None:
        super().__init__()
        self.edits: dict[tuple[int, int], dict[str, Any]] = {}
        self.dropped: dict[tuple[int, int], set[str]] = {}
        for edit in edits:
            if edit.kind == "drop_import":
                self.dropped.setdefault(edit.place, set()).add(edit.data)
            elif edit.kind == "move_import":
                moves = self.edits.setdefault(edit.place, {}).setdefault("move_import", {})
                moves.update(edit.data)
            elif edit.kind == "add_keyword":
                added = self.edits.setdefault(edit.place, {}).setdefault("add_keyword", {})
                added[edit.data[0]] = edit.data[1]
            else:
                self.edits.setdefault(edit.place, {})[edit.kind] = edit.data
        self.in_text: list[Any] = []

    def _at(self, node: cst.CSTNode, kind: str) -> Any:
        return self.edits.get(self._place(node), {}).get(kind, _NOTHING)

    def _place(self, node: cst.CSTNode) -> tuple[int, int]:
        start: Any = self.get_metadata(PositionProvider, node).start  # type: ignore[arg-type]
        return start.line, start.column

    # --- names and expressions ---

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        names = self._at(original_node, "rename")
        if names is not _NOTHING and updated_node.value == names[0]:
            return updated_node.with_changes(value=names[1])
        return updated_node

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        result = super().on_leave(original_node, updated_node)
        if isinstance(
            original_node, (cst.Call, cst.SimpleString, cst.Attribute, cst.ConcatenatedString)
        ):
            text = self._at(original_node, "replace")
            # A call, and what is called, start at the same place: the outermost is meant.
            if text is not _NOTHING and not self._is_inner(original_node):
                return _expression(text)
        return result

    def _is_inner(self, node: cst.CSTNode) -> bool:
        return node in self._inner

    def visit_Call(self, node: cst.Call) -> bool:
        self._inner.add(node.func)
        return True

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        self._inner.add(node.value)
        return True

    def visit_Module(self, node: cst.Module) -> bool:
        self._inner: set[cst.CSTNode] = set()
        return True

    # --- strings ---

    def visit_ConcatenatedString(self, node: cst.ConcatenatedString) -> bool:
        change = self._at(node, "in_text")
        self.in_text.append(change)
        return True

    def leave_ConcatenatedString(
        self, original_node: cst.ConcatenatedString, updated_node: cst.ConcatenatedString
    ) -> cst.BaseExpression:
        self.in_text.pop()
        return updated_node

    def leave_SimpleString(
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.BaseExpression:
        change = self._at(original_node, "in_text")
        if change is _NOTHING and self.in_text:
            change = self.in_text[-1]
        if change is _NOTHING:
            return updated_node
        return updated_node.with_changes(value=change(updated_node.value))

    # --- arguments ---

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> Any:
        if original_node.keyword is None:
            return updated_node
        if self._at(original_node, "remove_keyword") is not _NOTHING:
            return cst.RemoveFromParent()
        new = self._at(original_node, "rename_keyword")
        if new is not _NOTHING:
            return updated_node.with_changes(keyword=cst.Name(new))
        return updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        if any(self._removed(a) for a in original_node.args):
            updated_node = self._trimmed(original_node, updated_node)
        added = self._at(original_node, "add_keyword")
        if added is _NOTHING or self._is_inner(original_node):
            return updated_node
        args = list(updated_node.args)
        for name, text in added.items():
            last = args[-1]
            args[-1] = last.with_changes(
                comma=_between(args), whitespace_after_arg=cst.SimpleWhitespace("")
            )
            args.append(
                cst.Arg(
                    _expression(text),
                    keyword=cst.Name(name),
                    equal=_EQUAL,
                    comma=last.comma,
                    whitespace_after_arg=last.whitespace_after_arg,
                )
            )
        return updated_node.with_changes(args=args)

    def _removed(self, arg: cst.Arg) -> bool:
        return arg.keyword is not None and self._at(arg, "remove_keyword") is not _NOTHING

    def _trimmed(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        """Keep the end of the call as it was when the last argument went."""
        args = list(updated.args)
        if args and self._removed(original.args[-1]):
            last = original.args[-1]
            args[-1] = args[-1].with_changes(
                comma=last.comma, whitespace_after_arg=last.whitespace_after_arg
            )
        return updated.with_changes(args=args)

    # --- dicts and decorators ---

    def leave_Dict(self, original_node: cst.Dict, updated_node: cst.Dict) -> cst.BaseExpression:
        keep = [
            (old, new)
            for old, new in zip(original_node.elements, updated_node.elements, strict=True)
            if not isinstance(old, cst.DictElement)
            or self._at(old.key, "remove_key") is _NOTHING
        ]  # fmt: skip
        if len(keep) == len(original_node.elements):
            return updated_node
        elements = [new for _, new in keep]
        if elements and keep[-1][0] is not original_node.elements[-1]:
            elements[-1] = elements[-1].with_changes(comma=original_node.elements[-1].comma)
        return updated_node.with_changes(elements=elements)

    def leave_Decorator(self, original_node: cst.Decorator, updated_node: cst.Decorator) -> Any:
        if self._at(original_node.decorator, "drop_decorator") is not _NOTHING:
            return cst.RemoveFromParent()
        return updated_node

    # --- imports ---

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> Any:
        if len(original_node.body) != 1 or not isinstance(original_node.body[0], cst.ImportFrom):
            return updated_node
        statement = original_node.body[0]
        place = self._place(statement)
        moves = self.edits.get(place, {}).get("move_import", {})
        dropped = self.dropped.get(place, set())
        if (not moves and not dropped) or isinstance(statement.names, cst.ImportStar):
            return updated_node
        stay: list[tuple[str, str | None]] = []
        targets: dict[str, list[tuple[str, str | None]]] = {}
        for alias in statement.names:
            name, local = _alias_of(alias)
            if name in dropped:
                continue
            if name in moves:
                module, new = moves[name]
                if new == local:
                    local = None
                if (new, local) not in targets.setdefault(module, []):
                    targets[module].append((new, local))
            else:
                stay.append((name, local))
        new_statements: list[cst.ImportFrom] = []
        if stay:
            module_text = cst.Module([]).code_for_node(statement.module) if statement.module else ""
            new_statements.append(_import_from(module_text, stay))
        new_statements += [_import_from(m, n) for m, n in targets.items()]
        if not new_statements:
            return cst.RemoveFromParent()
        lines = [cst.SimpleStatementLine([s]) for s in new_statements]
        lines[0] = lines[0].with_changes(leading_lines=original_node.leading_lines)
        lines[-1] = lines[-1].with_changes(trailing_whitespace=original_node.trailing_whitespace)
        return cst.FlattenSentinel(lines)


_NOTHING: Any = object()
_EQUAL = cst.AssignEqual(
    whitespace_before=cst.SimpleWhitespace(""), whitespace_after=cst.SimpleWhitespace("")
)


def _between(args: Sequence[cst.Arg]) -> cst.Comma:
    """Return a comma like the one between the last two arguments, without its comment."""
    comma = args[-2].comma if len(args) > 1 else cst.MaybeSentinel.DEFAULT
    if isinstance(comma, cst.Comma):
        space = comma.whitespace_after
        if isinstance(space, cst.ParenthesizedWhitespace):
            space = space.with_changes(first_line=cst.TrailingWhitespace(), empty_lines=[])
        return comma.with_changes(whitespace_after=space)
    return cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))


def _import_of(line: cst.CSTNode) -> cst.ImportFrom | cst.Import | None:
    if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1:
        statement = line.body[0]
        if isinstance(statement, (cst.ImportFrom, cst.Import)):
            return statement
    return None


def _module_of(statement: cst.ImportFrom) -> str:
    if statement.module is None or statement.relative:
        return ""
    return cst.Module([]).code_for_node(statement.module)


def _with_imports(module: cst.Module, wanted: list[Any]) -> cst.Module:
    """Add imports that are not there yet: after the last of the first block of imports."""
    plain = sorted({w for w in wanted if isinstance(w, str)})
    names = sorted({w for w in wanted if not isinstance(w, str)})
    body = list(module.body)
    bound = set()
    for line in body:
        statement = _import_of(line)
        if isinstance(statement, cst.Import):
            bound |= {a.evaluated_alias or a.evaluated_name for a in statement.names}
        elif statement is not None and not isinstance(statement.names, cst.ImportStar):
            bound |= {f"{_module_of(statement)}.{_alias_of(a)[0]}" for a in statement.names}
    new: list[Any] = [
        cst.SimpleStatementLine([cst.Import([cst.ImportAlias(_dotted(p))])])
        for p in plain
        if p not in bound
    ]
    new += [
        cst.SimpleStatementLine([_import_from(m, [(n, None)])])
        for m, n in names
        if f"{m}.{n}" not in bound
    ]
    if not new:
        return module
    places = [i for i, line in enumerate(body) if _import_of(line) is not None]
    at = places[-1] + 1 if places else (1 if module.get_docstring() else 0)
    if not places and at < len(body):
        new[0] = new[0].with_changes(leading_lines=[cst.EmptyLine(indent=False)])
    return _merged(module.with_changes(body=[*body[:at], *new, *body[at:]]), {m for m, _ in names})


def _merged(module: cst.Module, targets: set[str]) -> cst.Module:
    """Gather what is imported from one of ``targets`` in its first import."""
    gathered: dict[str, list[tuple[str, str | None]]] = {}
    first: dict[str, int] = {}
    body: list[Any] = []
    for line in module.body:
        statement = _import_of(line)
        name = _module_of(statement) if isinstance(statement, cst.ImportFrom) else ""
        if (
            name not in targets
            or not isinstance(statement, cst.ImportFrom)
            or isinstance(statement.names, cst.ImportStar)
        ):
            body.append(line)
            continue
        if name not in first:
            first[name] = len(body)
            body.append(line)
        found = gathered.setdefault(name, [])
        found += [pair for a in statement.names if (pair := _alias_of(a)) not in found]
    for name, at in first.items():
        line = body[at]
        statement = _import_of(line)
        assert isinstance(statement, cst.ImportFrom)
        assert not isinstance(statement.names, cst.ImportStar)
        if [_alias_of(a) for a in statement.names] != gathered[name]:
            new = _import_from(name, sorted(gathered[name], key=lambda p: p[0]))
            body[at] = line.with_changes(body=[new])
    return module.with_changes(body=body)
