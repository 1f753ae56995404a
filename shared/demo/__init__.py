"""The demonstration: one real task per capability, through the router, to a real receiver, and a picture of it all."""
