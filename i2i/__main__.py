"""`python -m i2i` is `i2i`."""

from i2i.cli import main

main()
