"""Measurements of autotune and of its workloads; each module says its command, results/ holds the figures."""
