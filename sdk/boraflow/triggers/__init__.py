"""Triggers: what deferred tasks wait for in the async lane."""
