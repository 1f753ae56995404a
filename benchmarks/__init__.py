"""Measurements of the whole system and of its parts; no test asserts any of them."""
