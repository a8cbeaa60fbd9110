"""People and their answers -> consensus."""
