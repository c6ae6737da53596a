"""What the names in docstrings and signatures lead to: a Sphinx extension of this site alone."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import pkgutil
import re
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_type_hints

import attrs
from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxRole

import closebulk_async
from closebulk_async.policy import PollPolicy, RetryPolicy, StartPolicy, Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

NEEDS_AIRFLOW = "closebulk_async.integrations.airflow"
"""What the names of modules begin with that cannot be imported without it."""


class Code(SphinxRole):
    """Backticks in docstrings: code as it stands, and a link where it is a name of the API."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Make the node of one pair of backticks."""
        literal = nodes.literal(self.rawtext, self.text)
        if not NAME.fullmatch(self.text):
            return [literal], []
        name = addnodes.pending_xref(self.rawtext, literal, refdomain="py", reftype="obj", reftarget=self.text)
        name["refdoc"] = self.env.current_document.docname
        name["py:module"] = self.env.ref_context.get("py:module")
        name["py:class"] = self.env.ref_context.get("py:class")
        name["may_be_just_code"] = True
        return [name], []


def find_reference(
    _app: Sphinx, _env: BuildEnvironment, node: addnodes.pending_xref, contnode: nodes.TextElement
) -> nodes.Node | None:
    """What to show for a name that is no entry of the API; None where there should be one, which warns.

    A signature names entries of the API, type variables, and what other packages have: then it has to exist there.
    """
    if node.get("may_be_just_code"):
        return contnode
    found = look_up(node["reftarget"]) if node.get("refdomain") == "py" else None
    if isinstance(found, TypeVar | ParamSpec) or (found is not None and not is_ours(found)):
        return contnode
    return None


def unlink(app: Sphinx, doctree: nodes.document) -> None:
    """Keep as text what leads nowhere on the site.

    That is `type` of a signature, which is Python's, and Sphinx would take it for any field of this name; and a folder,
    which a code host shows and this site does not.
    """
    folder = app.env.doc2path(app.env.current_document.docname).parent
    for node in list(doctree.findall(addnodes.pending_xref)):
        if node["reftype"] == "class" and hasattr(builtins, node["reftarget"]):
            node.replace_self(nodes.Text(node["reftarget"]))
        elif node["reftype"] == "myst" and folder.joinpath(node["reftarget"]).is_dir():
            node.replace_self(node.children)


def is_ours(found: object) -> bool:
    """Whether an object is this package's own."""
    return str(getattr(found, "__module__", "")).partition(".")[0] == closebulk_async.__name__


@cache
def look_up(dotted: str) -> object | None:
    """What a dotted name stands for; None where there is nothing of that name."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part, None)
        return found
    return None


def modules() -> Iterator[ModuleType]:
    """All modules of the package that can be imported here."""
    for info in pkgutil.walk_packages(closebulk_async.__path__, f"{closebulk_async.__name__}."):
        if not info.name.endswith("__main__") and not info.name.startswith(NEEDS_AIRFLOW):
            yield importlib.import_module(info.name)


def import_what_types_need(module: ModuleType) -> None:
    """Run the imports that stand below `if TYPE_CHECKING:`, so that annotations can be evaluated.

    All modules are loaded by then, so that none of these imports can meet itself.
    """
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), str(module.__file__), "exec"), vars(module))  # noqa: S102 - our own


def evaluate_annotations(module: ModuleType) -> None:
    """Evaluate those of the `__init__` that attrs writes: they name what only the module of the class knows."""
    for cls in vars(module).values():
        if isinstance(cls, type) and cls.__module__ == module.__name__ and attrs.has(cls):
            hints = get_type_hints(cls)
            written = getattr(cls.__init__, "__annotations__", {})  # a class may have none of its own
            for field in attrs.fields(cls):
                if isinstance(written.get(field.alias), str):
                    written[field.alias] = hints[field.name]


def shorten_defaults(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Show a policy as what makes it, and as an ellipsis what has no short spelling in Python."""
    if signature is None:
        return None
    for policy in (Timeouts, RetryPolicy, PollPolicy, StartPolicy):
        signature = signature.replace(repr(policy()), f"{policy.__name__}()")
    # A function, and what attrs makes anew for each value.
    return re.sub(r"= (<function .*?>|NOTHING)(?=[,)])", "= ...", signature), returns


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the role and the handlers."""
    loaded = list(modules())
    for step in (import_what_types_need, evaluate_annotations):
        for module in loaded:
            step(module)
    app.add_role("code-or-name", Code())
    app.connect("doctree-read", unlink)
    app.connect("missing-reference", find_reference)
    app.connect("autodoc-process-signature", shorten_defaults)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
