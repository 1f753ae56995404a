"""Versions and replicas of one service that are started and stopped under load, behind a gateway or the router."""
