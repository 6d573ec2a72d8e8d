"""The engines that do the simple job, each in a process of its own: ``python -m`` this package.

Every module has ``run(job, meter)``, which does not return: ``meter.finish`` ends the process.
"""
