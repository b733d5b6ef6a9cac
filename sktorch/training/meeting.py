"""Where threads that train side by side meet, once an epoch, to go through it together.

Each thread runs its own training: history, callbacks, early stopping and schedules know of no
other. Only an epoch's way through the batches is handed in. When all threads that go together
wait or have left, what they handed in is done at once, and everybody gets its own back.
"""

import threading
from collections import deque
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from math import inf

_here = threading.local()


class Cancelled(BaseException):
    """Raised in a thread whose result nobody waits for any more; nobody should catch it."""


class Ticket:
    """One call's share in a meeting point: what was started together is cancelled together.

    Parameters
    ----------
    meeting : MeetingPoint
    parent : Ticket, default=None
        Of the call that made this one; cancelling it cancels this one, too.
    order : tuple of int, default=()
        Of the task that made the call; those of its own tasks begin with it.
    """

    def __init__(self, meeting, parent=None, order=()):
        self.meeting, self._parent, self.order = meeting, parent, order
        self._cancelled = False

    def is_cancelled(self):
        """Whether nobody waits for the results."""
        return self._cancelled or (self._parent is not None and self._parent.is_cancelled())

    def cancel(self):
        """Let the threads that wait, or come to wait, end with `Cancelled`."""
        self._cancelled = True
        self.meeting.send_away_cancelled()


@dataclass(eq=False)
class _Party:
    """Threads that wait for each other only.

    Attributes
    ----------
    n_out : int
        How many of them run their own code.
    waiting : dict of Pass to _Guest
        The others, unless they are under way.
    """

    n_out: int = 0
    waiting: dict = field(default_factory=dict)


@dataclass(eq=False)
class _Guest:
    """A thread that waits for its pass."""

    thread: int = field(default_factory=threading.get_ident)
    done: threading.Event = field(default_factory=threading.Event)


class MeetingPoint:
    """Counts who takes part, and has done together what can go together.

    At first everybody waits for everybody. Then the trainer makes parties of those that go
    together, which from now on wait for their own members only: while one is on its way, the
    threads of another run their own code. When somebody new takes part, when half have left or a
    party does not belong together any more, all meet again.

    Of those who neither wait nor are apart, only a few run at a time: many threads that each hold
    Python's lock for an instant spend their time waiting for it.

    Parameters
    ----------
    trainer : Fuser
        Its ``plan`` cuts a list of passes into parties, and its ``run`` takes a party through
        their batches. Errors are written to the passes.
    """

    def __init__(self, trainer):
        self._trainer = trainer
        self._lock = threading.Lock()
        self._n_active = 0
        self._pool, self._parties, self._party_of = {}, [], {}
        self._n_planned, self._n_under_way = 0, 0
        self._work, self._n_idle = deque(), trainer.n_workers
        self._n_free, self._queue = trainer.n_workers, deque()

    def arrive(self):
        """One more takes part: until it waits or leaves, the others wait for it."""
        with self._lock:
            self._n_active += 1

    def leave(self):
        """One less takes part: the thread that calls."""
        with self._lock:
            self._n_active -= 1
            party = self._party_of.pop(threading.get_ident(), None)
            if party is not None:
                party.n_out -= 1
            self._start_what_is_complete()

    @contextmanager
    def apart(self):
        """Inside, the others do not wait for this thread."""
        self.leave()
        try:
            yield
        finally:
            self.arrive()

    def take_place(self):
        """Wait for a place to run in."""
        mine = threading.Event()
        with self._lock:
            self._queue.append(mine)
            self._fill_places()
        mine.wait()

    def give_place(self):
        """Let another thread run in this one's place."""
        with self._lock:
            self._n_free += 1
            self._fill_places()

    def _fill_places(self):
        while self._n_free and self._queue:
            self._n_free -= 1
            self._queue.popleft().set()

    def hand_in(self, one):
        """Wait until a pass is over.

        Raises
        ------
        Cancelled
            If nobody waits for it any more.
        BaseException
            What ended the pass before its time.
        """
        guest = _Guest()
        with self._lock:
            if one.cancelled():
                raise Cancelled
            party = self._party_of.get(guest.thread)
            if party is not None:
                party.n_out -= 1
            (self._pool if party is None else party.waiting)[one] = guest
            self._n_active -= 1
            self._n_free += 1
            self._fill_places()
            self._start_what_is_complete()
        guest.done.wait()
        if one.cancelled():
            raise Cancelled
        if one.error is not None:
            raise one.error

    def send_away_cancelled(self):
        """Wake those that wait in vain."""
        with self._lock:
            for waiting in [self._pool, *(party.waiting for party in self._parties)]:
                gone = {one: guest for one, guest in waiting.items() if one.cancelled()}
                for one in gone:
                    del waiting[one]
                self._wake(gone)

    def _start_what_is_complete(self):
        n_in_parties = sum(party.n_out for party in self._parties)
        halved = 2 * len(self._party_of) < self._n_planned
        meet_again = halved or self._pool or self._n_active > n_in_parties
        for party in self._parties:
            if party.n_out == 0 and party.waiting:
                present, party.waiting = party.waiting, {}
                if meet_again:
                    self._pool |= present
                else:
                    self._start(self._trainer.run, present)
        if self._n_active == 0 and self._pool and not self._n_under_way:
            present, self._pool = self._pool, {}
            self._parties, self._party_of = [], {}
            self._start(self._plan, present)

    def _start(self, function, present):
        self._n_under_way += 1
        self._work.append((function, present))
        if self._n_idle:
            self._n_idle -= 1
            # A thread of its own: whoever came last may be one that an interrupt should reach.
            threading.Thread(target=self._work_off, daemon=True).start()

    def _work_off(self):
        while True:
            with self._lock:
                if not self._work:
                    self._n_idle += 1
                    return
                function, present = self._work.popleft()
            try:
                belong_together = function([*present])
            except BaseException as error:
                belong_together = False
                for one in present:
                    one.error = one.error or error
            with self._lock:
                self._n_under_way -= 1
                if function == self._plan and belong_together:
                    self._form(belong_together, present)
                    continue
                if not belong_together:
                    self._n_planned = inf
                self._wake(present)
                self._start_what_is_complete()

    def _plan(self, passes):
        return self._trainer.plan(passes)

    def _form(self, parties, present):
        """Let parties go for the first time."""
        self._n_planned = len(present)
        for members in parties:
            party = _Party()
            self._parties.append(party)
            guests = {one: present[one] for one in members}
            self._party_of |= {guest.thread: party for guest in guests.values()}
            self._start(self._trainer.run, guests)

    def _wake(self, present):
        self._n_active += len(present)
        for guest in present.values():
            if guest.thread in self._party_of:
                self._party_of[guest.thread].n_out += 1
            self._queue.append(guest.done)
        self._fill_places()


def current_ticket():
    """The ticket of the task that this thread runs; None outside of one."""
    return getattr(_here, "ticket", None)


def current_order():
    """Where the task that this thread runs stands among all; () outside of one."""
    return getattr(_here, "order", ())


@contextmanager
def with_ticket(ticket, number=0):
    """Run a task with a ticket, the call's task of that number."""
    before = current_ticket(), current_order()
    _here.ticket, _here.order = ticket, (*ticket.order, number)
    try:
        yield
    finally:
        _here.ticket, _here.order = before


@contextmanager
def apart():
    """Inside, other tasks do not wait for this thread's; nothing outside of a task."""
    ticket = current_ticket()
    with nullcontext() if ticket is None else ticket.meeting.apart():
        yield
