"""How fast the engine is, beside others: ``python -m benchmarks`` measures, profiles and calibrates.

``workloads`` lists the work and the targets, ``peers`` says how each library does it in its best form, ``measure`` runs
each in fresh processes in turn, and ``report`` writes what came out.
"""
