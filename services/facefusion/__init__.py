"""Face fusion: put one person's face on another's, in a picture or through a whole video."""
