"""Videos and pictures in and out: probing, decoding, encoding, colour, copied streams, the provenance label."""
