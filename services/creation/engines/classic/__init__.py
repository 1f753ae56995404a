"""The built-in engine: camera moves over a picture and filters over a video, without a generative model."""
