"""Evaluation: small supervised fits on real data, feature nets, and where fits are kept."""
