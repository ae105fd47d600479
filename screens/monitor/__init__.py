"""The monitor screen: the machine, its past, processes, engines and alerts."""
