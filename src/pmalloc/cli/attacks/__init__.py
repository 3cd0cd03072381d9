"""The attack table of docs/threat-model.md, tried on the machine that runs.

table is what each tier is expected to stop; tries are the attacks, made of the system calls in
calls; arena runs each in a child of its own, and judges what came of it.
"""
