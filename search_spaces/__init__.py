"""Search spaces that many workloads share, with the rules that make a configuration valid; no workload and no torch."""
