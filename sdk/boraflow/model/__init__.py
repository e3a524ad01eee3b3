"""The vocabulary every part of Boraflow shares.

States, the serialised shape of a DAG, the rows that services exchange, and timetables. This package
holds words, not behaviour that touches a clock, a file or a network; it imports nothing else of ours.
"""
