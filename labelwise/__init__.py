"""Labelwise: scalable active learning for text, with proof of what every label was worth."""

__version__ = "0.1.0"
