"""The generative engine: Wan's video diffusion, for clips from texts, pictures and videos."""
