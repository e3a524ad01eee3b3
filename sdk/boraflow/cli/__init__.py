"""The ``bora`` command: one module per noun; :mod:`boraflow.cli.main` is the entry.

Modules import gRPC and Rich inside functions only, so that ``bora --help`` and ``bora version`` are quick.
"""
