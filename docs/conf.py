"""How the site is built from the pages of this folder: `make docs`."""

import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import cast

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from docstrings import as_rst  # noqa: E402  of this folder
from gallery_pages import build_gallery, index  # noqa: E402

project = "lyapunov"
author = "The lyapunov developers"
project_copyright = author
release = version = installed_version("lyapunov")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_static", "_templates", "**/.ipynb_checkpoints"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!lyapunov).*")]  # the inventories of other projects would need a network

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

# Pages are executed by tests/test_documentation.py; only notebooks run here, and only those that changed since the last build.
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE.parent / "build" / "notebooks")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_param = True
napoleon_custom_sections = [("Attributes", "params_style"), ("Methods take", "params_style")]
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"lyapunov {release}"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

ENTRY = re.compile(r"^\.\. auto(?:class|function|data):: (\S+)", re.MULTILINE)
LINKED = [name for page in (HERE / "reference").glob("*.md") for name in ENTRY.findall(page.read_text())]
SHAPE = re.compile(r"^(\([\w, ]+\)): ")
LINK = re.compile(r"\]\(([\w./-]+\.(?:md|ipynb))(?:#[\w-]+)?\)")
FENCE = re.compile(r"^(```|~~~|:::).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def contents(source: str) -> str:
    """The table of contents that follows from the links of an index page, one part for each of its sections.

    An index is thus an ordinary page, as readable on a code host as on the site, and what it does not link is a warning.
    """
    parts, met = [], set()
    for section in re.split(r"^## ", FENCE.sub("", source), flags=re.MULTILINE):
        caption, _, body = section.partition("\n")
        named = [name for name in LINK.findall(body) if not name.startswith("..")]
        pages = [name for name in dict.fromkeys(named) if name not in met]
        met |= set(pages)
        if pages:
            heading = "" if caption.startswith("# ") else f":caption: {caption.strip()}\n"
            lines = "\n".join(page.rpartition(".")[0] for page in pages)
            parts.append(f"```{{toctree}}\n:hidden:\n{heading}\n{lines}\n```\n")
    return "\n".join(parts)


def prepare_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give an index page its table of contents, and let links to files outside this folder be downloads."""
    up = "../" * (docname.count("/") + 1)
    source[0] = re.sub(rf"\]\(({re.escape(up)}[^)#]*)(?:#[^)]*)?\)", r"](path:\1)", source[0])  # a download has no anchors
    if docname == "gallery/index":
        source[0] = index(source[0])
    if docname.rpartition("/")[2] == "index" and Path(app.env.doc2path(docname)).suffix == ".md":
        source[0] = f"{source[0]}\n\n{contents(source[0])}"


def prepare_docstring(*event: object) -> None:
    """Before napoleon reads the sections of a docstring, whose lines come last."""
    kind, lines = event[1], cast("list[str]", event[-1])
    if kind in ("attribute", "property") and lines:
        lines[0] = SHAPE.sub(r"`\1`, ", lines[0])  # napoleon would take the shape for a type, and look it up
    lines[:] = as_rst(lines, LINKED)


def add_live_report(app: Sphinx, failure: Exception | None) -> None:
    """Write the report of the bundled runs, which docs/live.md links, next to the pages."""
    if failure is None and app.builder.name == "html":
        from lyapunov import Run
        from lyapunov.report import write_report

        runs = [Run.load(HERE / "live" / "bundle" / name) for name in ("healthy", "vanishing", "chaotic")]
        write_report(runs, Path(app.outdir) / "three-runs.html")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda _: build_gallery())
    app.connect("build-finished", add_live_report)
    app.connect("source-read", prepare_page)
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)
