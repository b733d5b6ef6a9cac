"""Bridges to packages that search and track; each module imports its own package."""
