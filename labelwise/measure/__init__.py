"""What it was worth, and does it still hold."""
