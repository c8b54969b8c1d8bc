"""Runs the command line in one of several processes, and lets trouble come: python troubled.py rank1=WHAT,rank0=WHAT ARGS...

WHAT is a moment of smoke/killed.py, at which the process kills itself, or one of
stops:N      the process stands still in the place of its N-th update, as a hung machine does; silence counts after 3 s
slow:N       saving takes N seconds more, and silence counts after 3 s
differs:K=V  this process gets the override K=V, the others do not
"""

import os
import runpy
import signal
import sys
import time
from pathlib import Path

KILLED = Path(__file__).parent.parent / "smoke" / "killed.py"
mine = dict(part.partition("=")[::2] for part in sys.argv[1].split(",") if part).get(f"rank{os.environ['RANK']}", "")
kind, _, rest = mine.partition(":")
arguments = sys.argv[2:]
moment = "never:0"
if "stops:" in sys.argv[1] or "slow:" in sys.argv[1]:
    from i2i.engine import checkpoint, liveness
    from i2i.engine.runtime import Runtime

    liveness.SILENCE = 3
    if kind == "stops":
        calls, inner = [], Runtime.descend

        def descend(*args):
            calls.append(1)
            if len(calls) == int(rest):
                os.kill(os.getpid(), signal.SIGSTOP)
            inner(*args)

        Runtime.descend = descend
    if kind == "slow":
        save = checkpoint.save

        def slowly(*args):
            time.sleep(float(rest))
            return save(*args)

        checkpoint.save = slowly
elif kind == "differs":
    arguments.append(rest)
elif mine:
    moment = mine
sys.argv = [str(KILLED), moment, *arguments]
runpy.run_path(str(KILLED), run_name="__main__")
