"""Named ways to score a trained model, one per file."""
