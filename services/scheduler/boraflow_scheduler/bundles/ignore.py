"""``.boraflowignore`` and ``.airflowignore``: which files are not looked at for DAGs.

Patterns are those of ``.gitignore``, relative to the folder of the file that holds them; the last one that
matches wins, and what lies in an ignored folder is ignored. ``.airflowignore`` may hold regular expressions
instead, searched in the relative path, as Airflow 2 had it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

AIRFLOW = ".airflowignore"
BORAFLOW = ".boraflowignore"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of an ignore file."""

    base: str
    """Folder of the ignore file inside the bundle: empty, or with a slash at the end."""
    pattern: re.Pattern[str]
    negated: bool = False
    folders_only: bool = False
    search: bool = False
    """A regular expression of Airflow 2: found anywhere."""


def parse_rules(text: str, base: str, syntax: str = "glob") -> tuple[list[Rule], list[str]]:
    """Return the rules of an ignore file in the folder ``base``, and the lines that make no sense."""
    rules: list[Rule] = []
    bad: list[str] = []
    for raw in text.splitlines():
        try:
            rule = _regexp_rule(raw, base) if syntax == "regexp" else _glob_rule(raw, base)
        except re.error:
            bad.append(raw.strip())
            continue
        if rule is not None:
            rules.append(rule)
    return rules, bad


def ignored(path: str, is_folder: bool, rules: list[Rule]) -> bool:
    """Tell whether ``path`` (relative to the bundle) is ignored; its parents are the caller's to ask for."""
    verdict = False
    for rule in rules:
        if rule.folders_only and not is_folder:
            continue
        inner = path[len(rule.base) :]
        found = rule.pattern.search(inner) if rule.search else rule.pattern.fullmatch(inner)
        if found:
            verdict = not rule.negated
    return verdict


def _regexp_rule(raw: str, base: str) -> Rule | None:
    line = re.sub(r"\s*#.*", "", raw).strip()
    return Rule(base, re.compile(line), search=True) if line else None


def _glob_rule(raw: str, base: str) -> Rule | None:
    line = raw.rstrip("\r\n")
    if not line.endswith("\\ "):
        line = line.rstrip()
    if not line or line.startswith("#"):
        return None
    negated = line.startswith("!")
    if negated:
        line = line[1:]
    folders_only = line.endswith("/")
    line = line.rstrip("/")
    if not line:
        return None
    anchored = "/" in line
    regex = _translate(line.lstrip("/"))
    if not anchored:
        regex = "(?:.*/)?" + regex
    return Rule(base, re.compile(regex, re.DOTALL), negated, folders_only)


def _translate(glob: str) -> str:
    out: list[str] = []
    at, size = 0, len(glob)
    while at < size:
        char = glob[at]
        if glob.startswith("**/", at) and (at == 0 or glob[at - 1] == "/"):
            out.append("(?:.*/)?")
            at += 3
            continue
        if glob.startswith("**", at) and at + 2 == size and (at == 0 or glob[at - 1] == "/"):
            out.append(".+")
            at += 2
            continue
        if char == "*":
            while at + 1 < size and glob[at + 1] == "*":
                at += 1
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            end = glob.find("]", at + 2 if glob[at + 1 : at + 2] in ("!", "^") else at + 1)
            # A bracket that is the first of its set is meant literally.
            if end == at + 1 or (end == at + 2 and glob[at + 1] in "!^"):
                end = glob.find("]", end + 1)
            if end < 0:
                out.append(re.escape(char))
            else:
                body = glob[at + 1 : end].replace("\\", "\\\\")
                if body[0] in "!^":
                    body = "^" + body[1:]
                out.append(f"(?!/)[{body}]")
                at = end
        elif char == "\\" and at + 1 < size:
            at += 1
            out.append(re.escape(glob[at]))
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)
