"""Vectors under the names of their photos: in memory, in files, in the cache, in a work folder."""
