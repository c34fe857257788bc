"""The nightly sweep: what is due, what was done about it, and what a night left on record."""
