"""A Pool -> whom to ask next."""
