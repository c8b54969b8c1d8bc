"""What makes a training faster without changing its mathematics: one measure a file, tried out before the first step.

`choosing` asks each of `MEASURES` (see `measure.Measure`) whether it pays on this machine with the run's own shapes;
what is chosen is plain JSON, which the run keeps. No network, method or loss knows of this room: a measure changes
objects that are already built.
"""
