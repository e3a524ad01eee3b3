"""Benchmarks on a real Boraflow: own processes, own home folder, free ports, work triggered through the API.

``make bench`` runs all of them, ``make bench W=chain40`` one. One JSON object a line goes to standard
output, a table to standard error. See docs/benchmarks.md.
"""
