"""Finding what is wrong, slow or out of date in DAG files, and rewriting what can be rewritten safely.

``bora dags lint`` is the command; :func:`lint` the same for a program. A file's source is read
(:mod:`boraflow.lint.source`, :mod:`boraflow.lint.airflow`), and its DAGs are made in a child process and looked at
(:mod:`boraflow.lint.loaded`). The rules are a table: :mod:`boraflow.lint.rules`.
"""

from __future__ import annotations

from boraflow.lint.rules import RULES, Finding, Rule
from boraflow.lint.run import lint

__all__ = ["RULES", "Finding", "Rule", "lint"]
