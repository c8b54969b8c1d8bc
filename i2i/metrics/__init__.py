"""Metrics: sets of pictures -> numbers. Well-kept libraries compute them; they are imported when a metric is called."""
