"""Portfolio: a few configurations for many problems, and the rule that picks among them; measuring is in `matrix`."""
