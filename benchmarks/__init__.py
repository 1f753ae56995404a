"""Measurements of the whole and its parts; nothing in here is asserted by a test."""
