"""One address for all models of a workspace: names, loading on demand, and passing requests on."""
