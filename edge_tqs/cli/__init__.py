"""The command: it parses, calls and prints. Comes in: arguments. Goes out: text, JSON, an exit code."""
