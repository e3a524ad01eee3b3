"""Hooks: how tasks reach other systems through connections."""
