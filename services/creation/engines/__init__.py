"""The engines that can make a clip; the settings say which one does."""
