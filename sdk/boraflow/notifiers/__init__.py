"""Notifiers: callbacks that tell people by mail, Slack or a webhook."""
