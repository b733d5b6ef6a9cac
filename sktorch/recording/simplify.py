"""Leave out of a recorded graph what changes no value: double transposes, and copies of results."""

from typing import Any

import torch
from torch import fx

from sktorch.recording.memory_plan import is_fresh, layout, out_variant, write_to

_ATEN = torch.ops.aten


def simplify(graph: fx.Graph) -> None:
    """Leave out transposes of transposes; compute results where they would be copied to."""
    for node in graph.nodes:
        argument: Any = next(iter(node.args), None)
        if node.target is _ATEN.t.default and argument.target is _ATEN.t.default:
            node.replace_all_uses_with(argument.args[0])
    graph.eliminate_dead_code()
    for node in [node for node in graph.nodes if node.target is _ATEN.copy_.default]:
        _leave_out(graph, node)


def _leave_out(graph: fx.Graph, copy: fx.Node) -> None:
    """Replace a copy to an input, if nothing else needs what is copied."""
    place: Any
    value: Any
    place, value, *_ = copy.args
    same_layout = layout(place.meta["value"]) == layout(value.meta["value"])
    is_first_use = next(iter(place.users)) is copy
    if place.op != "placeholder" or not (same_layout and is_first_use):
        return
    viewed = value if value.target is _ATEN.view.default else None
    computed: Any = value.args[0] if viewed else value
    variant = out_variant(computed.target) if is_fresh(computed) else None
    if variant is None or any(len(node.users) > 1 for node in (value, computed)):
        return
    copy.replace_all_uses_with(place)
    graph.erase_node(copy)
    if viewed:
        graph.erase_node(viewed)
        memory, shape = place.meta["value"], [*computed.meta["value"].shape]
        with graph.inserting_before(computed):
            place = graph.call_function(_ATEN.view.default, (place, shape))
        place.meta["value"] = memory.view(shape)
    write_to(place, computed, *variant)
