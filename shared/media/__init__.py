"""Videos and pictures in and out: probing, decoding, encoding, colour, what is carried over, the provenance label."""
