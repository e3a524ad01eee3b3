"""Warning classes that DAG files filter or raise; Boraflow itself notes what is old in other ways."""

from __future__ import annotations


class RemovedInAirflow3Warning(DeprecationWarning):
    """Of Airflow 2: something that Airflow 3 has no more."""


class RemovedInAirflow4Warning(DeprecationWarning):
    """Of Airflow 3: something that Airflow 4 has no more."""


class AirflowProviderDeprecationWarning(DeprecationWarning):
    """Of a provider: something that goes with its next major version."""
