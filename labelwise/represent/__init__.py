"""Texts -> vectors and near-duplicates."""
