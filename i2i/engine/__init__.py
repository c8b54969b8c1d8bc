"""The one loop and what it needs to survive: runtime, schedule, EMA, checkpoint, run folder, samples."""
