"""The neural swap: faces found and recognised by insightface, rendered by one of a table of networks.

Imported only where such a swapper is chosen: insightface brings scipy and scikit-image into the process.
"""
