"""How it runs: bootstrap, topology, command line, HTTP, local stack, importers."""
