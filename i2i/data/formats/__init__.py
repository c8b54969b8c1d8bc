"""One module a family of picture files: how it is told, what its header says, whether it is whole, its pixels."""
