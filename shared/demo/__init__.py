"""The demonstration: one real task per capability, through the router, and one picture of all results."""
