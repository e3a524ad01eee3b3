"""Loading DAG files and running attempts; knows no network."""
