"""The command line: overrides, choices, resolvers, and one module per command."""
