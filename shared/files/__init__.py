"""Where requests may read and write, and the descriptors through which they do."""
