"""Stacks on every worker: fits of a call are cut in chunks, each of which trains as one program."""
