"""The HTML of estimators in notebooks, by private names of scikit-learn.

scikit-learn documents the attributes that link to the documentation to those who extend its
estimators. Without the names of attributes and methods here, estimators are shown without links and
details; without the imported class importing sktorch fails.
"""

import inspect
import sys
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils._repr_html.fitted_attributes import AttrsDict

DOCUMENTATION = "https://sktorch.readthedocs.io/en/stable/"
# Attributes whose full repr may take seconds, and what is shown instead.
_LONG = {"history_": "see below", "module_": "see below", "net_": "", "optimizer_": ""}


class Documented(BaseEstimator):
    """An estimator whose HTML links to its page of the documentation."""

    _doc_link_module = "sktorch"
    _doc_link_template = f"{DOCUMENTATION}generated/{{module}}.{{name}}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        name, module = type(self).__name__, type(self).__module__.partition("._")[0]
        is_on_top = hasattr(sys.modules["sktorch"], name)
        return {"module": "sktorch" if is_on_top else module, "name": name}


class ShownWithDetails(Documented):
    """An estimator whose HTML shows, once it is fitted, what `_details_html` returns."""

    def _details_html(self) -> str:
        """Return HTML to show below the fitted attributes."""
        return ""

    def _get_fitted_attr_html(self, doc_link: str = "") -> AttrsDict:
        shown = super()._get_fitted_attr_html(doc_link)
        for name in _LONG.keys() & shown.keys():
            shown[name] = {"type_name": shown[name]["type_name"], "value": _Text(_LONG[name])}
        shown = _AttributesAndDetails(
            fitted_attrs=shown.data, estimator_class=type(self), doc_link=doc_link
        )
        try:
            shown.details = self._details_html()
        except Exception:  # Whatever a module or a history holds, an estimator can be shown.
            shown.details = ""
        return shown

    def _get_params_html(self, deep: bool = True, doc_link: str = "") -> Any:
        shown = super()._get_params_html(deep, doc_link)
        of_components = [name for name in shown if "__" in name]
        if of_components:
            shown.estimator_class = _described(self, of_components)
        return shown


class _AttributesAndDetails(AttrsDict):
    """Fitted attributes, and what is shown below them."""

    details: str

    def _repr_html_inner(self) -> str:
        return super()._repr_html_inner() + self.details


class _Text(str):
    """A text whose repr is itself."""

    __slots__ = ()
    __repr__ = str.__str__


def _described(estimator: Any, names: list[str]) -> type:
    """Return a class whose docstring describes parameters of components as well, for tooltips."""
    doc = inspect.getdoc(type(estimator)) or ""
    entries = []
    for name in names:
        component, _, parameter = name.partition("__")
        default = getattr(estimator, f"_default_{component}", component)
        owner = getattr(estimator, component, None) or default
        if not isinstance(owner, str):
            owner = getattr(owner, "__name__", type(owner).__name__)
        entries.append(f"{name} : parameter of {component}\n    ``{parameter}`` of ``{owner}``.")
    parts = doc.partition("\n\nAttributes\n")
    doc = parts[0] + "\n" + "\n".join(entries) + "".join(parts[1:])
    return type(type(estimator).__name__, (), {"__doc__": doc})
