"""The parts of `i2i recipes plan`: what a folder is, what the machine has, what is chosen and why, and its text."""
