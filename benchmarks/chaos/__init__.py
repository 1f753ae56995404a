"""Kill everything at random under load, then prove from the recorded history that every promise was kept."""
