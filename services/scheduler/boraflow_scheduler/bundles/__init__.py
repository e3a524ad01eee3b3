"""From DAG files to published DAGs.

:mod:`~boraflow_scheduler.bundles.folder` knows what files there are and what is in them,
:mod:`~boraflow_scheduler.bundles.watcher` when to look again, :mod:`~boraflow_scheduler.bundles.parsers`
has files parsed by children, and :mod:`~boraflow_scheduler.bundles.processor` decides which, stores what
they are made of and publishes what was found. User code is never imported here.
"""
