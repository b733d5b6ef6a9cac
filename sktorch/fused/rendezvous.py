"""Where threads that train side by side meet, once an epoch, to go through it together.

Each thread runs its own training: history, callbacks, early stopping and schedules know of no
other. Only an epoch's way through the batches is handed in. When every thread that takes part
waits or has left, all that was handed in is done at once, and everybody gets its own back.
"""

import threading
from collections import deque
from contextlib import contextmanager, nullcontext
from weakref import WeakValueDictionary

_here = threading.local()


class Cancelled(BaseException):
    """Raised in a thread whose result nobody waits for any more; nobody should catch it."""


class TaskHandle:
    """One call's share in a meeting point: what was started together is cancelled together.

    Parameters
    ----------
    meeting : Rendezvous
    parent : TaskHandle, default=None
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


class Rendezvous:
    """Counts who takes part, and has done together what all of them hand in.

    Of those who neither wait nor are apart, only a few run at a time: many threads that each hold
    Python's lock for an instant spend their time waiting for it.

    Parameters
    ----------
    together : callable
        Takes a list of passes through their batches; writes errors to them and raises none.
    n_slots : int
        How many threads run at a time.

    Attributes
    ----------
    tensors : mapping of digests to torch.Tensor
        Those that threads share, for as long as one of them has them.
    """

    def __init__(self, together, n_slots):
        self._together, self.tensors = together, WeakValueDictionary()
        self._lock = threading.Lock()
        self._n_active, self._waiting, self._under_way = 0, {}, False
        self._n_places, self._most, self._n_free, self._queue = n_slots, 1, n_slots, deque()

    def arrive(self):
        """One more takes part: until it waits or leaves, the others wait for it."""
        with self._lock:
            self._n_active += 1
            self._most = max(self._most, self._n_active + len(self._waiting))

    @property
    def n_threads(self):
        """Of arithmetic, for each of those that took part at once; one who hands out tasks too."""
        return max(self._n_places // max(self._most - 1, 1), 1)

    def leave(self):
        """One less takes part."""
        with self._lock:
            self._n_active -= 1
            self._start_if_complete()

    @contextmanager
    def apart(self):
        """Inside, the others do not wait for this thread."""
        self.leave()
        try:
            yield
        finally:
            self.arrive()

    def acquire_slot(self):
        """Wait for a place to run in."""
        mine = threading.Event()
        with self._lock:
            self._queue.append(mine)
            self._fill_places()
        mine.wait()

    def release_slot(self):
        """Let another thread run in this one's place."""
        with self._lock:
            self._n_free += 1
            self._fill_places()

    def _fill_places(self):
        while self._n_free and self._queue:
            self._n_free -= 1
            self._queue.popleft().set()

    def run(self, one):
        """Wait until a pass is over.

        Raises
        ------
        Cancelled
            If nobody waits for it any more.
        BaseException
            What ended the pass before its time.
        """
        done = threading.Event()
        with self._lock:
            if one.cancelled():
                raise Cancelled
            self._waiting[one] = done
            self._n_active -= 1
            self._n_free += 1
            self._fill_places()
            self._start_if_complete()
        done.wait()
        if one.cancelled():
            raise Cancelled
        if one.error is not None:
            raise one.error

    def send_away_cancelled(self):
        """Wake those that wait in vain."""
        with self._lock:
            gone = {one: done for one, done in self._waiting.items() if one.cancelled()}
            for one in gone:
                del self._waiting[one]
            self._wake(gone)

    def _start_if_complete(self):
        if self._n_active == 0 and self._waiting and not self._under_way:
            self._under_way, present = True, self._waiting
            self._waiting = {}
            # A thread of its own: whoever came last may be one that an interrupt should reach. No
            # daemon: Python's end waits for it, rather than break it off within torch.
            threading.Thread(target=self._meet, args=(present,), daemon=False).start()

    def _meet(self, present):
        try:
            self._together(list(present))
        except BaseException as error:
            for one in present:
                one.error = one.error or error
        with self._lock:
            self._under_way = False
            self._wake(present)
            self._start_if_complete()

    def _wake(self, present):
        self._n_active += len(present)
        self._queue.extend(present.values())
        self._fill_places()


def current_task():
    """The ticket of the task that this thread runs; None outside of one."""
    return getattr(_here, "ticket", None)


def threads_of_a_task():
    """How many threads of arithmetic each task may have; None outside of one."""
    ticket = current_task()
    return None if ticket is None else ticket.meeting.n_threads


def current_order():
    """Where the task that this thread runs stands among all; () outside of one."""
    return getattr(_here, "order", ())


@contextmanager
def task_running(ticket, number=0):
    """Run a task with a ticket, the call's task of that number."""
    before = current_task(), current_order()
    _here.ticket, _here.order = ticket, (*ticket.order, number)
    try:
        yield
    finally:
        _here.ticket, _here.order = before


@contextmanager
def apart():
    """Inside, other tasks do not wait for this thread's; nothing outside of a task."""
    ticket = current_task()
    with nullcontext() if ticket is None else ticket.meeting.apart():
        yield
