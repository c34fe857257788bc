"""The morning after a sweep: what its night means, against the nights before. It knows values only, no database."""
