"""Sphinx settings: ``pip install -e ".[docs]" && sphinx-build -W docs docs/_build``."""

from importlib import metadata

project = "sktorch"
author = "The sktorch developers"
copyright = f"2026, {author}"
release = metadata.version(project)

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "literal"
suppress_warnings = [
    "ref.ref",  # inherited docstrings refer to scikit-learn's manual
    "ref.term",
    "sphinx_gallery.duplicate_filename",  # a benchmark is none of the gallery, but is counted
]

html_theme = "pydata_sphinx_theme"
html_title = project

numpydoc_show_class_members = False  # the class template lists them

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",  # run every example, not only those named plot_*
    "ignore_pattern": r"(__init__|datasets)\.py$",  # datasets.py is what examples import
    "image_scrapers": (),
    "reset_modules": (),
    "show_memory": False,
}
