"""What clustered.py imports from beside it."""

NUMBER = 42
