"""What people ask for: trigger, clear, mark, cancel, pause, delete.

Each is a process that ends with the reply's value, or is refused before it changed anything. Runs that
are finished are not in memory; these processes ask for them first.
"""
