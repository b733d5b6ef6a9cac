"""Targets: y as users give it, encoded for a loss, and outputs of a module decoded.

`codec` says what each kind of targets does, the other files are a kind each, and `choice` chooses
one by y. *Encoded* targets are an ndarray of rows: class codes, indicators or numbers.
"""
