"""KeyboardInterrupt at every single instruction of some files, one after the other."""

import dis
import itertools
import sys
import threading
from pathlib import Path


def interrupted_everywhere(function, files, *, after_calls=False):
    """Call a function again and again, interrupted one instruction later each time.

    Only instructions in functions of the files count, or only those ``after_calls``, where Python
    itself looks for signals. Yields after every interrupt; ends when the function comes through.
    """
    for n in itertools.count(1):
        try:
            _interrupted_at(n, function, files, after_calls)
        except KeyboardInterrupt:
            yield n
        else:
            return


def _interrupted_at(n, function, files, after_calls):
    left, last = itertools.count(n - 1, -1), {}

    def counts(frame):
        before = last.get(frame, -1)
        last[frame] = frame.f_lasti
        code = frame.f_code.co_code
        return not after_calls or (before >= 0 and dis.opname[code[before]].startswith("CALL"))

    def look(frame, event, argument):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and counts(frame) and next(left) == 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return look

    def begin(frame, event, argument):
        return look if Path(frame.f_code.co_filename).name in files else None

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        function()
    finally:
        sys.settrace(before)


def in_another_thread(function):
    """Return whether a function comes to its end in another thread."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()
