"""Programs that end with the process that started them, however that ends."""

import os
import signal
import sys
from collections.abc import Sequence

# Asks the kernel (Linux only) to signal the program at its parent's end, then becomes the program.
# This takes an interpreter of its own because code between fork and exec is unsafe beside threads.
_DIE_WITH_PARENT = """
import ctypes, os, sys
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(sys.argv[2]))
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone already")
os.execvp(sys.argv[3], sys.argv[3:])
"""


def dying_with_this_process(
    command: Sequence[str], by: signal.Signals = signal.SIGKILL
) -> list[str]:
    """Returns the command that starts a program which is signalled when this process is gone.

    Args:
        command: the program and its arguments.
        by: the signal; one that can be caught for a program that has children of its own.
    """
    wrapper = [sys.executable, "-S", "-E", "-c", _DIE_WITH_PARENT, str(os.getpid()), str(int(by))]
    return [*wrapper, *command]
