"""Where things that can be made anew are kept on this machine."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$I2I_CACHE; else i2i in $XDG_CACHE_HOME, which must be absolute to count; else ~/.cache/i2i."""
    own, shared = os.environ.get("I2I_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(os.path.expanduser(own))
    if shared and os.path.isabs(shared):
        return Path(shared) / "i2i"
    return Path(os.path.expanduser("~/.cache/i2i"))
