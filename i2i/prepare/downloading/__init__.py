"""The parts of `i2i data download`: one file over HTTP, and an archive from anywhere unpacked into a folder."""
