"""Video creation: text, image and video to video."""
