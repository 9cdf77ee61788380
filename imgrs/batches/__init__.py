"""Many files through one pipeline: which they are, when each is worked on, and what became of it.

``sources`` finds the files and names the results, ``work`` makes one of them, ``crew`` decides how many are made at once,
``done`` remembers across calls what need not be made again, and ``report`` tells.
"""
