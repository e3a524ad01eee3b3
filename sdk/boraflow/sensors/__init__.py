"""Sensors, in the modules where Airflow has them."""
