"""Resolve `TorchClassifier` as `sktorch.TorchClassifier`, wherever the name stands."""


def resolve(app, env, node, contnode):
    """Link a name without dots to the one object of sktorch that ends with it."""
    name = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not name.isidentifier():
        return None
    domain = env.get_domain("py")
    found = {
        known
        for known, entry in domain.objects.items()
        if known.rpartition(".")[2] == name
        and entry.objtype in {"class", "function", "exception"}
        and not entry.aliased
    }
    if len(found) != 1:
        return None
    exact = node.copy()
    exact["reftarget"] = found.pop()
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", exact["reftarget"], exact, contnode
    )


def setup(app):
    """Register the resolver, before intersphinx asks other packages."""
    app.connect("missing-reference", resolve, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
