"""Targets: from what the user gives as y to what a loss compares with, and back.

Each kind of target is a class with the same methods. *Encoded* targets are an ndarray that can be
indexed by rows: class codes, indicators or numbers.
"""
