"""A weights file becomes a translator of pictures. Nothing here knows how to train."""
