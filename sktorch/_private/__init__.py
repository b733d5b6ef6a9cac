"""Every private name of torch, scikit-learn, skorch and skops that is used, one file a library.

Each docstring or comment says why the name is needed and what happens if a release drops it. A
test holds that no other file uses such a name and that the installed versions have them all.
(`preprocessing/`, which imports scikit-learn alone, keeps its one private name to itself.)
"""
