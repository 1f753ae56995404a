"""Versions and replicas of one service that come and go under load, behind a gateway or the router."""
