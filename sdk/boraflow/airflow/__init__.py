"""Airflow's module names, old and new, for DAG files that were written for Airflow.

:mod:`boraflow.airflow.names` is the table; :mod:`boraflow.airflow.hook` answers ``import airflow...`` from it,
only where DAG files are loaded and run. The other modules hold what Airflow 1.10 and 2 had and Boraflow's own
API has not: they exist for old files, and each use is noted with what to write now.
"""
