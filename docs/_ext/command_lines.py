"""Choose the command lines by which the gallery runs the examples."""


def arguments_of(gallery_conf, script_vars):
    """Return the arguments of a script: a part of a large data set is enough to show it."""
    is_large = script_vars["src_file"].endswith("fashion_mnist.py")
    return ["--rows", "6000", "--epochs", "3"] if is_large else []
