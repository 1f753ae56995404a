"""Kill processes at random under load, then check the recorded history against every promise of the contract."""
