"""Sphinx settings: ``pip install -e ".[docs]" && sphinx-build -W docs docs/_build``."""

import sys
from importlib import metadata
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

import inventories

project = "sktorch"
author = "The sktorch developers"
copyright = f"2026, {author}"
release = metadata.version(project)

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_parser",
    "short_names",
    "sphinx_codeautolink",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "tutorial"]  # the gallery makes pages of the tutorial's scripts
templates_path = ["_templates"]
default_role = "py:obj"  # `name` links where it resolves, and else is code
highlight_language = "none"  # Python has to say so, by which it is run in the tests
suppress_warnings = [
    "ref.ref",  # inherited docstrings refer to scikit-learn's manual
    "ref.term",
    "codeautolink.match_block",  # of doctests without their flags
    "codeautolink.match_name",  # in examples the gallery has linked the names already
    "sphinx_gallery.duplicate_filename",  # a benchmark is none of the gallery, but is counted
]

# Links to other packages need no internet to build: the names that can be linked are listed here.
intersphinx_mapping = inventories.write(DOCS / "_inventories")
intersphinx_disabled_reftypes = ["std:*"]

toc_object_entries_show_parents = "hide"
html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["sktorch.css"]
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_theme_options = {
    "logo": {
        "text": "sktorch",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
    },
    "icon_links": [
        {
            "name": "GitHub",
            "url": "https://github.com/sktorch/sktorch",
            "icon": "fa-brands fa-github",
        }
    ],
    "header_links_before_dropdown": 6,
    "navigation_depth": 2,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
}
html_sidebars = {"index": [], "performance": [], "faq": []}

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the sections of docstrings say types in words
numpydoc_show_class_members = False  # the class template lists them

copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

plot_formats = ["svg"]
plot_html_show_formats = False
plot_html_show_source_link = False

sphinx_gallery_conf = {
    "examples_dirs": ["tutorial", "../examples"],
    "gallery_dirs": ["auto_tutorial", "auto_examples"],
    "filename_pattern": r"\.py$",  # not only those named plot_*
    "reset_argv": "command_lines.arguments_of",
    "ignore_pattern": r"(__init__|datasets)\.py$",  # datasets.py is what examples import
    "within_subsection_order": "FileNameSortKey",
    "default_thumb_file": str(DOCS / "_static" / "thumbnail.png"),
    "image_scrapers": ("matplotlib",),
    "reset_modules": ("matplotlib",),
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "copyfile_regex": r".*\.csv$",
}
