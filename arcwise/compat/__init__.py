"""Foreign names: files and calls of other systems, understood as ours. One file for each system.

It is a door: it translates and calls, and holds no algorithm of its own.
"""
