"""The site of `make docs`: the Markdown files of this repository as they stand, and the API from docstrings.

The source folder is the root of the repository, so that a relative link between two pages is the same here and on a
code host. Nothing is fetched: what a signature names of other packages is checked by importing it, not by their
inventories.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from closebulk_async.version import __version__

project = "closebulk_async"
author = "the authors of closebulk_async"
project_copyright = "the authors of closebulk_async"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "_references"]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "examples/README.md",
    "benchmarks/results/*.md",
]
exclude_patterns = [".*", "build", "dist", "docs/_*", "docs/images"]

# Each heading has an anchor by the rule of code hosts, so that a link into a page leads to the same place on both.
myst_heading_anchors = 4
# In Markdown a name in backticks is code; that it is so in docstrings too is what `_references` is for.
default_role = "code-or-name"

autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_mock_imports = ["airflow"]  # pins half the world: it has an environment of its own, and this is not there
python_maximum_signature_line_length = 88
nitpicky = True
nitpick_ignore = [
    # Airflow is not there to look into, as said above.
    ("py:class", "airflow.sdk.BaseOperator"),
    ("py:class", "airflow.triggers.base.BaseTrigger"),
    ("py:class", "TriggerEvent"),
]

html_theme = "furo"
html_title = f"closebulk_async {__version__}"
html_extra_path = ["_root"]  # `index.html`, which leads to the one in `docs/`
html_copy_source = False
html_show_sourcelink = False
