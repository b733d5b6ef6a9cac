"""A function of tensors, recorded once as a flat list of operations and replayed."""
