"""Arguments that the tasks of a call share: they are sent to a worker once, apart from tasks."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sktorch.workers.chunks import Call


@dataclass(frozen=True)
class Place:
    """Stands for an argument that is sent apart."""

    number: int


class SharedArguments:
    """The objects that are arguments of more than one call, and calls without them."""

    def __init__(self, calls: Iterable[Call]) -> None:
        arguments = [argument for call in calls for argument in _arguments_of(call)]
        n_uses = Counter(map(id, arguments))
        # Kept here, so that no other object gets the id of one of them.
        self._by_id = {id(argument): argument for argument in arguments if n_uses[id(argument)] > 1}
        self._places = {key: Place(number) for number, key in enumerate(self._by_id)}

    @property
    def values(self) -> tuple[Any, ...]:
        """The objects, in the order of their places."""
        return tuple(self._by_id.values())

    def leave_out(self, call: Call) -> Call:
        """Return a call with places instead of the objects."""
        function, arguments, keywords = call
        return (
            function,
            [self._places.get(id(value), value) for value in arguments],
            {name: self._places.get(id(value), value) for name, value in keywords.items()},
        )


def fill_in(call: Call, values: Sequence[Any]) -> Call:
    """Return a call with the objects in their places again."""
    function, arguments, keywords = call
    return (
        function,
        [_filled(value, values) for value in arguments],
        {name: _filled(value, values) for name, value in keywords.items()},
    )


def _filled(value: Any, values: Sequence[Any]) -> Any:
    return values[value.number] if isinstance(value, Place) else value


def _arguments_of(call: Call) -> list[Any]:
    _, arguments, keywords = call
    return [*arguments, *keywords.values()]
