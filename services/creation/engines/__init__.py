"""The engines that can make a clip; which one works is a setting."""
