"""Configuration of Sphinx. ``nox -s docs`` builds the site in out/site."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bilinear import __version__

project = "bilinear"
author = "the bilinear maintainers"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "extensions.docstrings",
    "extensions.mathml",
    "extensions.measurements",
    "extensions.repository",
]
exclude_patterns = ["_templates", "extensions", "Thumbs.db", ".DS_Store"]
templates_path = ["_templates"]
suppress_warnings = ["config.cache"]

# Markdown
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 4

# docstrings
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # those of the frameworks are not reStructuredText
autodoc_typehints_format = "short"
autosummary_generate = True
autosummary_ignore_module_all = False
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
napoleon_custom_sections = [
    *("Returns", "Raises", "Shape", "Gradient", "Cost", "Precision", "Dtype", "Attributes"),
    "Specification",
]

# HTML
html_theme = "pydata_sphinx_theme"
html_title = "bilinear"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["tables.js"]
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
html_copy_source = False
html_math_renderer = "mathml"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "header_links_before_dropdown": 5,
    "navbar_align": "left",
    "show_nav_level": 1,
    "navigation_depth": 3,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
copyright = f"{author}, Apache License 2.0"
